//! The one exponential backoff, with full jitter.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

/// Waits that grow: each is drawn evenly from zero to `base × 2ⁿ`, at most `cap`.
///
/// Full jitter is what AWS's architecture blog measured to need the fewest calls when many clients back off at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    tries: u32,
    rng: SmallRng,
}

impl Backoff {
    /// A backoff whose first wait is at most `base` and no wait longer than `cap`; equal seeds give equal waits.
    pub fn new(base: Duration, cap: Duration, seed: u64) -> Self {
        Self { base, cap, tries: 0, rng: SmallRng::seed_from_u64(seed) }
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let ceiling = self.base.saturating_mul(2u32.saturating_pow(self.tries)).min(self.cap);
        self.tries = self.tries.saturating_add(1);
        ceiling.mul_f64(self.rng.random_range(0.0..=1.0))
    }

    /// An even draw between 0 and 1, for waits that do not grow.
    pub fn dice(&mut self) -> f64 {
        self.rng.random_range(0.0..=1.0)
    }

    /// It worked: the next wait is short again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// How often in a row it did not work.
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(Duration::from_millis(50), Duration::from_secs(5), seed)
    }

    #[test]
    fn waits_stay_under_a_ceiling_that_doubles_until_the_cap() {
        for seed in 0..50 {
            let mut backoff = backoff(seed);
            for n in 0..70 {
                let ceiling =
                    Duration::from_millis(50).saturating_mul(2u32.saturating_pow(n)).min(Duration::from_secs(5));
                assert!(backoff.wait() <= ceiling);
            }
        }
    }

    #[test]
    fn equal_seeds_wait_equally_and_different_ones_do_not() {
        let waits = |seed| {
            let mut b = backoff(seed);
            (0..8).map(|_| b.wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }

    #[test]
    fn after_a_success_waits_are_short_again() {
        let mut backoff = backoff(1);
        for _ in 0..10 {
            backoff.wait();
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(50));
    }
}
