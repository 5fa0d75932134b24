//! What the console asks of AWS, as its header tells it: questions a second, what CloudWatch bills for an hour of it, and
//! whether the budget holds anything back.

use std::collections::VecDeque;

use crate::cloud::budget::{Asked, DOLLARS_PER_1000_METRICS};

/// The bill is reckoned over so long, ms: several rounds of questions.
const OVER_MS: i64 = 120_000;

/// What was asked, and at what rate.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// The newest counts.
    pub asked: Asked,
    /// Questions a second that the budget allows.
    pub budget: f64,
    /// When the counts were taken, ms since epoch, and the metrics asked for until then.
    seen: VecDeque<(i64, u64)>,
    /// Since when questions wait without a break, ms since epoch.
    pub waiting_since_ms: Option<i64>,
}

impl Api {
    /// Takes in the counts of `now_ms`.
    pub fn take(&mut self, now_ms: i64, asked: Asked, budget: f64) {
        if asked.waiting == 0 {
            self.waiting_since_ms = None;
        } else {
            self.waiting_since_ms.get_or_insert(now_ms);
        }
        if self.seen.back().is_none_or(|(at, _)| now_ms - at >= 1000) {
            self.seen.push_back((now_ms, asked.metrics));
        }
        while self.seen.len() > 2 && self.seen.get(1).is_some_and(|(at, _)| now_ms - at >= OVER_MS) {
            self.seen.pop_front();
        }
        self.asked = asked;
        self.budget = budget;
    }

    /// US dollars an hour that CloudWatch bills for what is asked of it now; `None` until that is known.
    pub fn dollars_per_hour(&self) -> Option<f64> {
        let ((from, before), (to, after)) = (self.seen.front()?, self.seen.back()?);
        let ms = to - from;
        // Less than a round of questions tells nothing of an hour.
        if ms < 20_000 {
            return None;
        }
        let an_hour = after.saturating_sub(*before) as f64 * 3_600_000.0 / ms as f64;
        Some(an_hour / 1000.0 * DOLLARS_PER_1000_METRICS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_cloudwatch_is_reckoned_from_the_last_two_minutes() {
        let mut api = Api::default();
        assert_eq!(api.dollars_per_hour(), None);
        for second in 0..600 {
            // Six metrics each half minute.
            let asked = Asked { metrics: second / 30 * 6, ..Asked::default() };
            api.take(second as i64 * 1000, asked, 10.0);
        }
        let dollars = api.dollars_per_hour().unwrap();
        // 720 metrics an hour.
        assert!((0.006..0.0085).contains(&dollars), "{dollars}");
    }

    #[test]
    fn waiting_is_told_from_its_beginning() {
        let mut api = Api::default();
        let waiting = |waiting| Asked { waiting, ..Asked::default() };
        api.take(1_000, waiting(2), 10.0);
        api.take(9_000, waiting(5), 10.0);
        assert_eq!(api.waiting_since_ms, Some(1_000));
        api.take(10_000, waiting(0), 10.0);
        assert_eq!(api.waiting_since_ms, None);
    }
}
