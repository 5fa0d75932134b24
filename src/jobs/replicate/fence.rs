//! What keeps a scanned item from overwriting a newer change: the keys that the stream has handed on since the bootstrap
//! began.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Keys of one stripe wait for each other while one of them is handed to the replica.
const STRIPES: usize = 256;

/// Keys that a fence remembers: about 150 MB. Above, the stream waits until the scan is through.
pub(super) const KEYS: usize = 4_000_000;

/// The fence of one bootstrap.
///
/// A scanned item and a change of the same key may meet in any order. Who hands one of them to the replica does so in the
/// key's turn: a change first notes its key, and an item is left out whose key is noted. So either the item goes before the
/// change, and the replica keeps that order, or it does not go at all.
#[derive(Debug)]
pub(super) struct Fence {
    stripes: Vec<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    most: usize,
    fell: Notify,
}

#[derive(Debug)]
struct State {
    keys: HashSet<u128>,
    stands: bool,
}

impl Fence {
    /// A fence that stands until [`Fence::fall`].
    pub fn new(most: usize) -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| tokio::sync::Mutex::default()).collect(),
            state: Mutex::new(State { keys: HashSet::new(), stands: true }),
            most,
            fell: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the bootstrap is still on.
    pub fn stands(&self) -> bool {
        self.state().stands
    }

    /// Waits for the key's turn: hold what it gives until the row is handed on.
    pub async fn turn(&self, key: u128) -> tokio::sync::MutexGuard<'_, ()> {
        self.stripes[(key % STRIPES as u128) as usize].lock().await
    }

    /// Notes that a change of `key` is handed on. It waits while the fence holds as many keys as it may.
    pub async fn note(&self, key: u128) {
        loop {
            let fell = self.fell.notified();
            tokio::pin!(fell);
            fell.as_mut().enable();
            {
                let mut state = self.state();
                if !state.stands || state.keys.contains(&key) {
                    return;
                }
                if state.keys.len() < self.most {
                    state.keys.insert(key);
                    return;
                }
            }
            fell.await;
        }
    }

    /// True when a change of `key` was handed on.
    pub fn has(&self, key: u128) -> bool {
        self.state().keys.contains(&key)
    }

    /// True when it holds as many keys as it may: the stream waits for the scan.
    pub fn is_full(&self) -> bool {
        let state = self.state();
        state.stands && state.keys.len() >= self.most
    }

    /// The bootstrap is through.
    pub fn fall(&self) {
        let mut state = self.state();
        state.stands = false;
        state.keys = HashSet::new();
        drop(state);
        self.fell.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_key_that_changed_is_known_until_the_bootstrap_is_through() {
        let fence = Fence::new(9);
        fence.note(7).now_or_never().unwrap();
        assert!(fence.has(7) && !fence.has(8));
        fence.fall();
        assert!(!fence.has(7) && !fence.stands());
    }

    #[test]
    fn a_full_fence_makes_the_stream_wait_for_the_scan() {
        let fence = Fence::new(1);
        fence.note(7).now_or_never().unwrap();
        assert!(fence.is_full());
        fence.note(7).now_or_never().expect("a key that it knows takes no room");
        let mut waits = Box::pin(fence.note(8));
        assert!(waits.as_mut().now_or_never().is_none());
        fence.fall();
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn rows_of_one_key_have_their_turns() {
        let fence = Fence::new(9);
        let turn = fence.turn(7).now_or_never().unwrap();
        assert!(fence.turn(7).now_or_never().is_none());
        assert!(fence.turn(8).now_or_never().is_some());
        drop(turn);
        assert!(fence.turn(7).now_or_never().is_some());
    }
}
