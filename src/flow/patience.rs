//! How long errors that may pass are borne before the job gives up, resumable.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bears errors that may pass for a while: shortly before anything ever worked (a wrong endpoint should be told at
/// once), long afterwards (an outage at night should not end a restore).
#[derive(Debug)]
pub struct Patience {
    at_start: Duration,
    later: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ever_worked: bool,
    failing_since: Option<Duration>,
    passed: Passed,
}

/// How requests fared so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Did what they were sent for.
    pub got_through: u64,
    /// Failed for a reason that may pass.
    pub failed: u64,
}

impl Patience {
    /// Two more connection attempts of 2.5 s fit between this and the 10 s that a wrong endpoint may take to be told.
    pub const AT_START: Duration = Duration::from_secs(5);
    /// Long enough for a network that is restarted.
    pub const LATER: Duration = Duration::from_mins(15);

    /// Bears `at_start` before anything worked and `later` afterwards.
    pub fn new(at_start: Duration, later: Duration) -> Self {
        Self { at_start, later, state: Mutex::default() }
    }

    /// The service answered.
    pub fn answered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.ever_worked, state.failing_since) = (true, None);
    }

    /// The service did what it was asked for.
    pub fn worked(&self) {
        self.answered();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).passed.got_through += 1;
    }

    /// A request failed for a reason that may pass. How all fared with it: one that fails while others get through fails
    /// for a reason of its own.
    pub fn failed(&self) -> Passed {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.passed.failed += 1;
        state.passed
    }

    /// A request that was sent at `sent` failed at `now`: true when that has gone on for too long.
    pub fn is_over(&self, sent: Duration, now: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *state.failing_since.get_or_insert(sent);
        now.saturating_sub(since) >= if state.ever_worked { self.later } else { self.at_start }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(Self::AT_START, Self::LATER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_wrong_endpoint_is_told_soon_and_an_outage_is_borne() {
        let patience = Patience::default();
        assert!(!patience.is_over(s(0), s(3)));
        assert!(patience.is_over(s(3), s(6)));
        patience.answered();
        assert!(!patience.is_over(s(100), s(200)));
        assert!(!patience.is_over(s(900), s(999)));
        assert!(patience.is_over(s(1000), s(1001)));
        patience.answered();
        assert!(!patience.is_over(s(2000), s(2001)));
    }
}
