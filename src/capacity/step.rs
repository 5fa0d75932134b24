//! By how much `+` and `-` change a capacity.

use super::LARGEST;

/// A share of what is there, such as 50 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step(f64);

impl Default for Step {
    /// Half, as FORMATS.md 7 has it.
    fn default() -> Self {
        Self(0.5)
    }
}

impl Step {
    /// `percent` % of what is there; over 0 and at most 1,000.
    pub fn percent(percent: f64) -> Option<Self> {
        (percent > 0.0 && percent <= 1000.0).then_some(Self(percent / 100.0))
    }

    /// In percent.
    pub fn as_percent(self) -> f64 {
        self.0 * 100.0
    }

    /// One step more than `from`, rounded up; at most what AWS gives a table.
    pub fn up(self, from: u64) -> u64 {
        (from + ceil_share(from, self.0)).min(LARGEST.max(from))
    }

    /// One step less than `from`, rounded as FORMATS.md 7 does; never below 1.
    pub fn down(self, from: u64) -> u64 {
        from.saturating_sub(floor_share(from, self.0)).max(1)
    }
}

impl std::str::FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').map(str::trim).and_then(|number| number.parse().ok());
        number.and_then(Self::percent).ok_or_else(|| format!("{text:?} is no step: write 50%, at most 1000%"))
    }
}

/// Room for the error of a share that is no binary fraction: 20 % of 5 is 1, not 1.0000000000000002.
const ROUNDING: f64 = 1e-9;

/// `share` of `of`, rounded up.
pub(super) fn ceil_share(of: u64, share: f64) -> u64 {
    (of as f64 * share - ROUNDING).ceil().max(0.0) as u64
}

/// `share` of `of`, rounded down.
pub(super) fn floor_share(of: u64, share: f64) -> u64 {
    (of as f64 * share + ROUNDING).floor().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_more_is_rounded_up_and_half_less_keeps_the_odd_one() {
        let half = Step::default();
        assert_eq!([1, 2, 3, 130].map(|from| half.up(from)), [2, 3, 5, 195]);
        assert_eq!([1, 2, 3, 125, 500].map(|from| half.down(from)), [1, 1, 2, 63, 250]);
    }

    #[test]
    fn a_raise_ends_at_what_aws_gives_and_never_lowers() {
        assert_eq!(Step::default().up(30_000), 40_000);
        assert_eq!(Step::default().up(60_000), 60_000);
    }

    #[test]
    fn a_step_is_written_in_percent() {
        assert_eq!("20%".parse::<Step>().unwrap().up(5), 6);
        assert_eq!("100 %".parse::<Step>().unwrap().up(5), 10);
        for wrong in ["50", "0%", "-5%", "x%", "2000%", "NaN%"] {
            assert!(wrong.parse::<Step>().is_err(), "{wrong}");
        }
    }
}
