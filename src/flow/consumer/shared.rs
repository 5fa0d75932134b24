//! What a consumer and what reads for it know of the shards.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::watch;

use super::ConsumerOptions;
use super::checkpoint::ShardCheckpoint;
use super::course::{Course, ShardState};
use crate::flow::counters::Counters;
use crate::flow::leases::{Fence, Held, Leases};
use crate::flow::ledger::Ledger;
use crate::flow::tally::Tally;

#[derive(Debug)]
pub(super) struct Shared {
    pub options: ConsumerOptions,
    pub course: Course,
    pub shards: Mutex<Vec<Arc<ShardState>>>,
    /// False while a shard ended whose children may not be listed yet.
    pub listed: AtomicBool,
    /// Where several workers share the stream.
    pub leases: Option<Arc<Leases>>,
    /// Shards that are held by a lease.
    pub holds: Mutex<HashMap<Arc<str>, Hold>>,
    /// What each shard had counted when the host took it last.
    pub taken: Mutex<HashMap<Arc<str>, Counters>>,
    /// The same of shards that are no longer ours.
    pub retired: Mutex<Counters>,
    /// Once true, nothing more is read.
    pub stopped: watch::Sender<bool>,
    /// Alive while a reader may still hand a record on.
    pub readers: Mutex<Vec<Weak<()>>>,
}

/// A shard that is held by a lease.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub fence: Fence,
    /// Its reader, which may run for a moment after it was told to end.
    pub reader: Weak<()>,
    /// Another worker waits for it.
    pub hand_over: bool,
    /// That nothing more comes of it was told to the host.
    pub told: bool,
}

impl ConsumerOptions {
    pub(super) fn state(&self, checkpoint: &ShardCheckpoint) -> Arc<ShardState> {
        self.fenced_state(checkpoint, None)
    }

    fn fenced_state(&self, checkpoint: &ShardCheckpoint, fence: Option<Fence>) -> Arc<ShardState> {
        let ledger = Ledger::new(self.window).resumed(checkpoint.counters);
        let ledger = match fence {
            Some(fence) => ledger.fenced(fence),
            None => ledger,
        };
        let ledger = match (&self.job, &checkpoint.tally) {
            (None, _) => ledger,
            (Some(_), Some(tally)) => ledger.tallied(tally.clone()),
            (Some(_), None) => ledger.tallied(Tally::new(self.tally_window)),
        };
        Arc::new(ShardState {
            id: checkpoint.shard.as_str().into(),
            ledger: Arc::new(ledger),
            lag_ms: AtomicU64::new(0),
            behind_records: AtomicU64::new(u64::MAX),
            records: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            outside: AtomicU64::new(0),
            hash_keys: OnceLock::new(),
            resumed: checkpoint.position.clone().zip(checkpoint.sub),
            caught_up_at: AtomicU64::new(0),
            done: AtomicBool::new(checkpoint.done),
            done_told: AtomicBool::new(checkpoint.done),
        })
    }
}

impl Shared {
    /// Begins a shard that is held; what was begun of it before is forgotten.
    pub fn hold(&self, held: &Held, reader: &Arc<()>) -> Arc<ShardState> {
        let checkpoint = ShardCheckpoint {
            shard: held.shard.clone(),
            position: held.settled.as_ref().map(|(sequence, _)| sequence.clone()),
            sub: held.settled.as_ref().map(|(_, sub)| *sub),
            done: false,
            counters: Counters::default(),
            tally: None,
            time_us: None,
        };
        let state = self.options.fenced_state(&checkpoint, Some(held.fence.clone()));
        if let Some(hash_keys) = held.hash_keys {
            // Made a line above.
            let _ = state.hash_keys.set(hash_keys);
        }
        self.shards().push(Arc::clone(&state));
        let hold = Hold { fence: held.fence.clone(), reader: Arc::downgrade(reader), hand_over: false, told: false };
        self.holds().insert(Arc::clone(&state.id), hold);
        state
    }

    /// Forgets a shard that is no longer ours, but for what was counted below its mark.
    pub fn retire(&self, shard: &str) {
        self.holds().remove(shard);
        let mut shards = self.shards();
        shards.retain(|state| *state.id != *shard);
        if let Some(counted) = self.taken().remove(shard) {
            *self.retired.lock().unwrap_or_else(PoisonError::into_inner) += counted;
        }
    }

    /// What a reader keeps for as long as it may hand a record on.
    pub fn reader(&self) -> Arc<()> {
        let alive = Arc::new(());
        let mut readers = self.readers();
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&alive));
        alive
    }

    pub fn readers(&self) -> MutexGuard<'_, Vec<Weak<()>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn taken(&self) -> MutexGuard<'_, HashMap<Arc<str>, Counters>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn retired(&self) -> Counters {
        *self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn holds(&self) -> MutexGuard<'_, HashMap<Arc<str>, Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True, once, when another worker may have the shard.
    pub fn is_handed_over(&self, state: &ShardState) -> bool {
        let mut holds = self.holds();
        let Some(hold) = holds.get_mut(&state.id).filter(|hold| hold.hand_over && !hold.told) else { return false };
        // In this order: what ended hands nothing on.
        hold.told = hold.reader.strong_count() == 0 && state.ledger.open_records() == 0;
        hold.told
    }

    /// Whether just what is `held` is being read.
    pub fn reads_all(&self, held: &[Held]) -> bool {
        let holds = self.holds();
        holds.len() == held.len()
            && held.iter().all(|held| holds.get(held.shard.as_str()).is_some_and(|hold| hold.fence.is(&held.fence)))
    }

    /// All shards are known.
    pub fn all_listed(&self) {
        self.listed.store(true, Ordering::Release);
    }

    pub fn shards(&self) -> MutexGuard<'_, Vec<Arc<ShardState>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn find(&self, shard: &str) -> Option<Arc<ShardState>> {
        self.shards().iter().find(|state| *state.id == *shard).cloned()
    }
}
