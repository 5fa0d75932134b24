//! The autoscaler's rules, dynamic-dynamodb's as the fleet knows them: what a load makes of a capacity.

use std::fmt;

use super::LARGEST;
use super::step::{ceil_share, floor_share};

/// What one direction (reads or writes) of a table or index is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Never lowered below this, units.
    pub min: u64,
    /// Never raised above this, units.
    pub max: u64,
    /// Raised when strictly more than this is used, percent.
    pub raise_over: f64,
    /// By how much it is raised, percent.
    pub raise_by: f64,
    /// Lowered when strictly less than this is used, percent.
    pub lower_under: f64,
    /// By how much it is lowered, percent.
    pub lower_by: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { min: 1, max: 500, raise_over: 90.0, raise_by: 50.0, lower_under: 30.0, lower_by: 50.0 }
    }
}

/// What one direction has, and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Provisioned, units.
    pub provisioned: u64,
    /// Consumed each second, units.
    pub consumed: f64,
}

impl Load {
    /// Consumed of provisioned, percent.
    pub fn percent(self) -> f64 {
        if self.provisioned == 0 { 0.0 } else { self.consumed * 100.0 / self.provisioned as f64 }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} of {} used each second ({:.1} %)", self.consumed, self.provisioned, self.percent())
    }
}

/// What the rules make of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Raise to this.
    Raise(u64),
    /// Lower to this.
    Lower(u64),
    /// Leave it: the load is within the thresholds.
    Fits,
    /// Leave it: the load asks for more, and it is at its maximum.
    AtMost,
    /// Leave it: the load asks for less, and it is at its minimum, or at what is consumed.
    AtLeast,
}

/// What a rounding error of a division by 60 may come to, in percent points.
const ROUNDING: f64 = 1e-9;

/// What `bounds` make of `load`.
pub fn decide(bounds: &Bounds, load: Load) -> Verdict {
    let Load { provisioned, consumed } = load;
    let percent = load.percent();
    if percent > bounds.raise_over + ROUNDING {
        let base = provisioned.max(ceil_share(1, consumed));
        let to = (base + ceil_share(base, bounds.raise_by / 100.0)).min(bounds.max).min(LARGEST);
        return if to > provisioned { Verdict::Raise(to) } else { Verdict::AtMost };
    }
    if percent < bounds.lower_under - ROUNDING {
        let less = provisioned.saturating_sub(floor_share(provisioned, bounds.lower_by / 100.0));
        let to = less.max(bounds.min).max(ceil_share(1, consumed)).max(1);
        return if to < provisioned { Verdict::Lower(to) } else { Verdict::AtLeast };
    }
    Verdict::Fits
}

/// How the minutes that CloudWatch tells are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How long CloudWatch may take to tell a minute, minutes: only after that a missing minute counts as nothing used.
    pub lag: i64,
    /// Over how many of the latest complete minutes the mean is taken.
    pub over: i64,
}

impl Default for Reading {
    fn default() -> Self {
        Self { lag: 2, over: 2 }
    }
}

const MINUTE_MS: i64 = 60_000;

impl Reading {
    /// The first minute that is looked at, ms since epoch.
    pub fn from_ms(self, now_ms: i64) -> i64 {
        (now_ms.div_euclid(MINUTE_MS) - self.lag - self.over) * MINUTE_MS
    }

    /// What was consumed each second, units. `sums` are the sums of minutes by their start (ms since epoch).
    ///
    /// The mean of the latest minutes that are surely told, or a newer complete minute when that is busier: load that
    /// rises is answered at once, load that falls only when it is sure. A minute that is told in part sums up to less
    /// than it was, never to more.
    pub fn consumed(self, sums: &[(i64, f64)], now_ms: i64) -> f64 {
        let this_minute = now_ms.div_euclid(MINUTE_MS);
        let settled = this_minute - self.lag;
        let of = |from: i64, to: i64| {
            sums.iter().filter(move |(at, _)| (from..to).contains(&at.div_euclid(MINUTE_MS))).map(|(_, sum)| sum / 60.0)
        };
        let mean = of(settled - self.over, settled).sum::<f64>() / self.over.max(1) as f64;
        of(settled, this_minute).fold(mean, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(provisioned: u64, percent: f64) -> Load {
        Load { provisioned, consumed: provisioned as f64 * percent / 100.0 }
    }

    /// FORMATS.md 7, the first three rows.
    #[test]
    fn a_busy_table_is_raised_by_half_of_what_it_needs_up_to_its_maximum() {
        let bounds = Bounds::default();
        assert_eq!(decide(&bounds, at(130, 95.0)), Verdict::Raise(195));
        assert_eq!(decide(&bounds, at(130, 190.0)), Verdict::Raise(371));
        assert_eq!(decide(&bounds, at(400, 95.0)), Verdict::Raise(500));
    }

    fn run(mut provisioned: u64, percent: f64) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            match decide(&Bounds::default(), at(provisioned, percent)) {
                Verdict::Raise(to) | Verdict::Lower(to) => all.push(to),
                _ => return all,
            }
            provisioned = *all.last().unwrap();
        }
    }

    /// FORMATS.md 7, the last two rows.
    #[test]
    fn always_full_climbs_from_1_to_500_and_always_idle_comes_down_to_1() {
        assert_eq!(run(1, 100.0), [2, 3, 5, 8, 12, 18, 27, 41, 62, 93, 140, 210, 315, 473, 500]);
        assert_eq!(run(500, 0.0), [250, 125, 63, 32, 16, 8, 4, 2, 1]);
    }

    #[test]
    fn exactly_90_and_exactly_30_percent_change_nothing() {
        for provisioned in [1, 3, 7, 10, 130, 333, 500] {
            for percent in [90.0, 30.0] {
                assert_eq!(decide(&Bounds::default(), at(provisioned, percent)), Verdict::Fits, "{provisioned}");
                // As it comes out of a minute's sum.
                let sum = provisioned as f64 * percent / 100.0 * 60.0;
                let load = Load { provisioned, consumed: sum / 60.0 };
                assert_eq!(decide(&Bounds::default(), load), Verdict::Fits, "{provisioned}");
            }
        }
        assert_eq!(decide(&Bounds::default(), at(100, 90.01)), Verdict::Raise(150));
        assert_eq!(decide(&Bounds::default(), at(100, 29.99)), Verdict::Lower(50));
    }

    #[test]
    fn it_is_never_lowered_under_its_minimum_or_under_what_is_consumed_now() {
        let bounds = Bounds { min: 40, ..Bounds::default() };
        assert_eq!(decide(&bounds, at(50, 0.0)), Verdict::Lower(40));
        assert_eq!(decide(&bounds, at(40, 0.0)), Verdict::AtLeast);
        let steep = Bounds { lower_by: 90.0, ..Bounds::default() };
        assert_eq!(decide(&steep, Load { provisioned: 100, consumed: 28.2 }), Verdict::Lower(29));
    }

    #[test]
    fn at_its_maximum_or_above_it_stays_and_is_not_lowered_by_a_raise() {
        assert_eq!(decide(&Bounds::default(), at(500, 100.0)), Verdict::AtMost);
        assert_eq!(decide(&Bounds::default(), at(700, 100.0)), Verdict::AtMost);
        let high = Bounds { max: 1_000_000, ..Bounds::default() };
        assert_eq!(decide(&high, at(39_000, 100.0)), Verdict::Raise(40_000));
    }

    const NOW: i64 = 1_000 * MINUTE_MS + 5_000;

    fn minute(ago: i64, per_second: f64) -> (i64, f64) {
        ((1_000 - ago) * MINUTE_MS, per_second * 60.0)
    }

    fn consumed(sums: &[(i64, f64)]) -> f64 {
        Reading::default().consumed(sums, NOW)
    }

    #[test]
    fn the_mean_of_the_latest_settled_minutes_is_what_counts() {
        assert!((consumed(&[minute(5, 900.0), minute(4, 10.0), minute(3, 20.0)]) - 15.0).abs() < 1e-9);
    }

    #[test]
    fn a_newer_complete_minute_counts_when_it_is_busier_and_not_when_it_is_missing_or_told_in_part() {
        let settled = [minute(4, 100.0), minute(3, 100.0)];
        assert!((consumed(&settled) - 100.0).abs() < 1e-9, "missing");
        assert!((consumed(&[settled[0], settled[1], minute(1, 3.0)]) - 100.0).abs() < 1e-9, "in part");
        assert!((consumed(&[settled[0], settled[1], minute(1, 300.0)]) - 300.0).abs() < 1e-9, "busier");
    }

    #[test]
    fn the_minute_under_way_counts_for_nothing() {
        assert!(consumed(&[minute(0, 500.0)]).abs() < 1e-9);
    }

    #[test]
    fn a_table_that_nobody_uses_has_no_points_and_counts_as_idle() {
        assert!(consumed(&[]).abs() < 1e-9);
        assert_eq!(decide(&Bounds::default(), Load { provisioned: 500, consumed: 0.0 }), Verdict::Lower(250));
    }

    proptest! {
        #[test]
        fn no_verdict_leaves_its_bounds(
            provisioned in 1_u64..50_000, consumed in 0.0_f64..60_000.0,
            min in 1_u64..100, max in 100_u64..50_000,
        ) {
            let bounds = Bounds { min, max, ..Bounds::default() };
            match decide(&bounds, Load { provisioned, consumed }) {
                Verdict::Raise(to) => prop_assert!(to > provisioned && to <= max && to <= LARGEST),
                Verdict::Lower(to) => prop_assert!(to < provisioned && to >= min && to as f64 >= consumed.floor()),
                _ => {}
            }
        }
    }
}
