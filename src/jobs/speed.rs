//! How fast a job goes, over its last seconds.

use std::collections::VecDeque;

use tokio::time::Instant;

/// Looks that a rate is averaged over: one a second.
const LOOKS: usize = 10;

/// Records settled at the last few looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Speed {
    looks: VecDeque<(Instant, u64)>,
}

impl Speed {
    /// `settled` records are settled at `now`: how many a second that is, once there are two looks.
    pub fn next(&mut self, now: Instant, settled: u64) -> Option<f64> {
        self.looks.push_back((now, settled));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        let (then, before) = self.looks.front()?;
        let seconds = now.duration_since(*then).as_secs_f64();
        (seconds > 0.0).then(|| settled.saturating_sub(*before) as f64 / seconds)
    }
}
