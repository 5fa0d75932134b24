//! Holds reads to so many units a second: capacity or items.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clock;

/// A token bucket without a bucket: nothing is saved up while nothing is read, so that a cap holds in every second.
///
/// What a read takes is known only afterwards: it is reserved by estimate before, and corrected when it is known. Many
/// readers side by side therefore keep to the cap together.
pub struct ReadPace {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    per_second: Option<f64>,
    /// When all that is reserved is paid for, s of the clock.
    free_at: f64,
}

impl fmt::Debug for ReadPace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadPace").field("state", &*self.lock()).finish_non_exhaustive()
    }
}

impl ReadPace {
    /// At most `per_second` units a second; `None` does not hold back.
    pub fn new(clock: Arc<dyn Clock>, per_second: Option<f64>) -> Self {
        Self { clock, state: Mutex::new(State { per_second, free_at: 0.0 }) }
    }

    /// The cap, units a second.
    pub fn per_second(&self) -> Option<f64> {
        self.lock().per_second
    }

    /// Another cap from now on; what was reserved stays reserved.
    pub fn set(&self, per_second: Option<f64>) {
        self.lock().per_second = per_second;
    }

    /// Reserves `units` and waits until those before it are paid for.
    pub async fn reserve(&self, units: f64) {
        let wait = {
            let now = self.clock.now().as_secs_f64();
            let mut state = self.lock();
            let Some(per_second) = state.per_second else { return };
            let from = state.free_at.max(now);
            state.free_at = from + units / per_second;
            from - now
        };
        if wait > 0.0 {
            self.clock.sleep(Duration::from_secs_f64(wait)).await;
        }
    }

    /// What was reserved as `reserved` took `used` units.
    pub fn settle(&self, reserved: f64, used: f64) {
        let now = self.clock.now().as_secs_f64();
        let mut state = self.lock();
        if let Some(per_second) = state.per_second {
            // Debts count from now on: time that has passed unused is not saved up.
            let from = if used > reserved { state.free_at.max(now) } else { state.free_at };
            state.free_at = from + (used - reserved) / per_second;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::ManualClock;
    use super::*;

    fn seconds(clock: &ManualClock) -> f64 {
        clock.now().as_secs_f64()
    }

    #[test]
    fn what_was_read_is_waited_for_before_the_next_read() {
        let clock = ManualClock::default();
        clock.run(async {
            let pace = ReadPace::new(Arc::new(clock.clone()), Some(10.0));
            pace.reserve(0.0).await;
            pace.settle(0.0, 25.0);
            assert!(seconds(&clock) < 0.001);
            pace.reserve(0.0).await;
            assert!((seconds(&clock) - 2.5).abs() < 0.001, "{}", seconds(&clock));
        });
    }

    #[test]
    fn readers_side_by_side_keep_to_the_cap_together() {
        let clock = ManualClock::default();
        clock.run(async {
            let pace = ReadPace::new(Arc::new(clock.clone()), Some(10.0));
            let reads = (0..8).map(|_| async {
                for _ in 0..5 {
                    pace.reserve(10.0).await;
                    pace.settle(10.0, 10.0);
                }
            });
            futures::future::join_all(reads).await;
            // 400 units at 10 a second, the last 10 of which are paid for after it was sent.
            assert!((seconds(&clock) - 39.0).abs() < 0.001, "{}", seconds(&clock));
        });
    }

    #[test]
    fn what_was_reserved_too_much_is_given_back() {
        let clock = ManualClock::default();
        clock.run(async {
            let pace = ReadPace::new(Arc::new(clock.clone()), Some(10.0));
            pace.reserve(100.0).await;
            pace.settle(100.0, 10.0);
            pace.reserve(0.0).await;
            assert!((seconds(&clock) - 1.0).abs() < 0.001, "{}", seconds(&clock));
        });
    }

    #[test]
    fn without_a_cap_nothing_waits() {
        let clock = ManualClock::default();
        clock.run(async {
            let pace = ReadPace::new(Arc::new(clock.clone()), None);
            pace.reserve(1e9).await;
            pace.settle(0.0, 1e9);
            pace.reserve(1e9).await;
            assert!(clock.now().is_zero());
        });
    }
}
