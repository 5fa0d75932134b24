//! How long work stays in each stage: what the limit that binds is judged by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clock;

/// Time that any number of tasks spend in one stage, added up: two tasks for one second are two seconds.
#[derive(Debug)]
pub struct Stopwatch {
    clock: Arc<dyn Clock>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    inside: u32,
    /// When `inside` changed last.
    since: Duration,
    total: Duration,
}

impl Running {
    fn advance(&mut self, now: Duration) {
        self.total += now.saturating_sub(self.since) * self.inside;
        self.since = now;
    }
}

impl Stopwatch {
    /// A stopwatch that has measured nothing.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more task is in the stage until what is returned is dropped.
    pub fn enter(&self) -> Inside<'_> {
        let mut running = self.running();
        running.advance(self.clock.now());
        running.inside += 1;
        Inside(self)
    }

    /// Does `work` in the stage. Work that is broken off counts until then.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let _inside = self.enter();
        work.await
    }

    /// Time spent in the stage so far, by those who are still in it too.
    pub fn total(&self) -> Duration {
        let mut running = self.running();
        running.advance(self.clock.now());
        running.total
    }
}

/// A task is in a stage.
#[derive(Debug)]
pub struct Inside<'a>(&'a Stopwatch);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut running = self.0.running();
        running.advance(self.0.clock.now());
        running.inside -= 1;
    }
}

/// What lanes do with their time.
#[derive(Debug)]
pub(super) struct LaneWatch {
    /// Nothing to do.
    pub idle: Stopwatch,
    /// Waiting for their turn by the pace.
    pub paced: Stopwatch,
    /// Waiting for a reply.
    pub sending: Stopwatch,
    /// Waiting after a refusal or an error.
    pub backing_off: Stopwatch,
    /// Whoever feeds them waits for room.
    pub full: Stopwatch,
    /// Replies that came.
    pub replies: AtomicU64,
}

impl LaneWatch {
    pub fn new(clock: &Arc<dyn Clock>) -> Self {
        let watch = || Stopwatch::new(Arc::clone(clock));
        Self {
            idle: watch(),
            paced: watch(),
            sending: watch(),
            backing_off: watch(),
            full: watch(),
            replies: AtomicU64::new(0),
        }
    }

    /// Sends: waits for the reply of `request`.
    pub async fn send<T>(&self, request: impl Future<Output = T>) -> T {
        let reply = self.sending.during(request).await;
        self.replies.fetch_add(1, Ordering::Relaxed);
        reply
    }

    pub fn times(&self, lanes: usize) -> LaneTimes {
        LaneTimes {
            lanes,
            idle: self.idle.total(),
            paced: self.paced.total(),
            sending: self.sending.total(),
            backing_off: self.backing_off.total(),
            full: self.full.total(),
            replies: self.replies.load(Ordering::Relaxed),
        }
    }
}

/// What a set of lanes did with its time since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneTimes {
    /// How many lanes there are.
    pub lanes: usize,
    /// Nothing to do, all lanes together.
    pub idle: Duration,
    /// Waiting for their turn by the pace.
    pub paced: Duration,
    /// Waiting for replies.
    pub sending: Duration,
    /// Waiting after a refusal or an error.
    pub backing_off: Duration,
    /// Whoever feeds them found no room.
    pub full: Duration,
    /// Replies that came.
    pub replies: u64,
}

#[cfg(test)]
mod tests {
    use super::super::clock::ManualClock;
    use super::*;

    #[test]
    fn two_tasks_for_a_second_are_two_seconds_and_one_that_is_still_inside_counts() {
        let clock = ManualClock::default();
        clock.run(async {
            let watch = Stopwatch::new(Arc::new(clock.clone()));
            let (first, second) = (watch.enter(), watch.enter());
            clock.sleep(Duration::from_secs(1)).await;
            drop(first);
            clock.sleep(Duration::from_secs(3)).await;
            assert_eq!(watch.total(), Duration::from_secs(5));
            drop(second);
            clock.sleep(Duration::from_mins(1)).await;
            assert_eq!(watch.total(), Duration::from_secs(5));
        });
    }
}
