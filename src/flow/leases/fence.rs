//! How long a worker may write what it read of a shard, without hearing from the lease table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::flow::clock::Clock;

/// The right to write what was read of one shard. It lapses by itself: a process that was paused, or that can't reach
/// the lease table, stops writing before anybody else may begin.
#[derive(Clone, Debug)]
pub struct Fence {
    clock: Arc<dyn Clock>,
    /// Until when, microseconds of the clock; 0 once it was taken away.
    until: Arc<AtomicU64>,
}

impl Fence {
    /// The right to write until `until` of `clock`.
    pub fn new(clock: Arc<dyn Clock>, until: Duration) -> Self {
        Self { clock, until: Arc::new(AtomicU64::new(micros(until))) }
    }

    /// Extends it to `until`, unless it was taken away.
    pub fn extend(&self, until: Duration) {
        let later = |held: u64| (held > 0).then(|| held.max(micros(until)));
        // Nothing to do for one that was taken away.
        let _ = self.until.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Lets it hold for `more` beyond its end, if it holds now.
    pub fn prolong(&self, more: Duration) {
        let now = micros(self.clock.now());
        let later = |held: u64| (held > now).then(|| held + micros(more));
        // Nothing to do for one that lapsed.
        let _ = self.until.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Takes it away, for good.
    pub fn revoke(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// Whether writing is allowed now.
    pub fn holds(&self) -> bool {
        self.left().is_some()
    }

    /// How long it still holds, if nobody extends it; `None` when it does not.
    pub fn left(&self) -> Option<Duration> {
        let until = Duration::from_micros(self.until.load(Ordering::Acquire));
        until.checked_sub(self.clock.now()).filter(|left| !left.is_zero())
    }

    /// True for the same right, extended or not.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.until, &other.until)
    }

    /// Ends when it does not hold any more.
    pub async fn lapsed(&self) {
        while let Some(left) = self.left() {
            self.clock.sleep(left).await;
        }
    }
}

fn micros(time: Duration) -> u64 {
    (time.as_micros() as u64).max(1)
}
