//! Ranges of time, half-open, in UTC and whole microseconds, and the words that people write moments in.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Slot;

/// What a moment may be written as: part of every error about one.
pub const MOMENTS: &str =
    "write RFC 3339 (2018-03-04T14:03:00Z), a date (2018-03-04, midnight UTC), now, or how long ago (15m, 2h 30m)";

const HOUR: i64 = 3_600_000_000;

/// From a moment, and before another one. Never ends before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Ends", into = "Ends")]
pub struct Range {
    from: Timestamp,
    to: Timestamp,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Ends {
    from: Timestamp,
    to: Timestamp,
}

impl TryFrom<Ends> for Range {
    type Error = String;

    fn try_from(Ends { from, to }: Ends) -> Result<Self, String> {
        Self::new(from, to)
    }
}

impl From<Range> for Ends {
    fn from(Range { from, to }: Range) -> Self {
        Self { from, to }
    }
}

impl Range {
    /// From `from` on, and before `to`; both are cut to whole microseconds.
    ///
    /// # Errors
    /// When it would end before it starts; an empty range is one.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self, String> {
        let (from, to) = (whole(from), whole(to));
        if to < from {
            Err(format!("the range ends before it starts: from {from} to {to}"))
        } else {
            Ok(Self { from, to })
        }
    }

    /// Its first moment.
    pub fn from(self) -> Timestamp {
        self.from
    }

    /// The first moment after it.
    pub fn to(self) -> Timestamp {
        self.to
    }

    /// True when `time` is in it.
    pub fn contains(self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }

    /// How long it is, microseconds.
    pub fn micros(self) -> i64 {
        self.to.as_microsecond() - self.from.as_microsecond()
    }

    /// The hours that it touches, oldest first, each by its start.
    pub fn hours(self) -> impl Iterator<Item = Slot> + Send {
        let first = self.from.as_microsecond().div_euclid(HOUR);
        let end = (self.to.as_microsecond() + HOUR - 1).div_euclid(HOUR);
        let end = if self.from == self.to { first } else { end };
        (first..end).map(|hour| Slot { start_us: hour * HOUR })
    }

    /// What is left of it from `time` on.
    #[must_use]
    pub fn after(self, time: Timestamp) -> Self {
        Self { from: whole(time).clamp(self.from, self.to), to: self.to }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

fn whole(time: Timestamp) -> Timestamp {
    // Towards the past: no moment that jiff holds leaves its range by that, but the very first.
    let micros = time.as_nanosecond().div_euclid(1000);
    i64::try_from(micros).ok().and_then(|us| Timestamp::from_microsecond(us).ok()).unwrap_or(time)
}

/// The moment that `text` means: RFC 3339, a date or a time of day without offset (UTC), `now`, or a duration ago.
///
/// # Errors
/// What can be written instead, when it is none of these or not of the years 1970 to 9999.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let utc = |civil: DateTime| TimeZone::UTC.to_timestamp(civil).ok();
    let parsed = if text == "now" {
        Some(now)
    } else if let Ok(time) = text.parse::<Timestamp>() {
        Some(time)
    } else if let Ok(time) = text.parse::<DateTime>() {
        utc(time)
    } else if let Ok(date) = text.parse::<Date>() {
        utc(date.to_datetime(jiff::civil::Time::midnight()))
    } else if let Ok(ago) = humantime::parse_duration(text) {
        jiff::SignedDuration::try_from(ago).ok().and_then(|ago| now.checked_sub(ago).ok())
    } else {
        return Err(format!("{text:?} is no time: {MOMENTS}"));
    };
    let year = |time: Timestamp| TimeZone::UTC.to_datetime(time).year();
    match parsed.filter(|time| (1970..=9999).contains(&year(*time))) {
        Some(time) => Ok(whole(time)),
        None => Err(format!("{text:?} is outside of the years 1970 to 9999: {MOMENTS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NOW: &str = "2026-11-20T12:00:00Z";

    #[test]
    fn a_moment_is_rfc_3339_a_date_now_or_a_duration_ago() {
        for (text, means) in [
            ("2018-03-04T14:59:44.030400Z", "2018-03-04T14:59:44.0304Z"),
            ("2018-03-04T14:59:44+01:00", "2018-03-04T13:59:44Z"),
            ("2018-03-04", "2018-03-04T00:00:00Z"),
            ("2018-03-04T14:59", "2018-03-04T14:59:00Z"),
            ("now", NOW),
            (" 15m ", "2026-11-20T11:45:00Z"),
            ("2h 30m", "2026-11-20T09:30:00Z"),
            ("2018-03-04T00:00:00.000000999Z", "2018-03-04T00:00:00Z"),
            ("1970-01-01", "1970-01-01T00:00:00Z"),
            ("9999-12-30", "9999-12-30T00:00:00Z"),
        ] {
            assert_eq!(moment(text, at(NOW)), Ok(at(means)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_told_what_is() {
        for text in ["yesterday", "", "2018-13-04", "14:03", "-5m", "1969-12-31", "99999999y"] {
            let error = moment(text, at(NOW)).unwrap_err();
            assert!(error.contains("RFC 3339") && error.contains("15m"), "{error}");
        }
    }

    #[test]
    fn a_range_is_half_open_and_never_backwards() {
        let range = Range::new(at("2018-03-04T14:00:00Z"), at("2018-03-04T15:00:00Z")).unwrap();
        assert!(range.contains(range.from()) && !range.contains(range.to()));
        assert!(Range::new(range.to(), range.from()).unwrap_err().contains("ends before it starts"));
        assert_eq!(Range::new(range.to(), range.to()).unwrap().hours().count(), 0);
    }

    #[test]
    fn a_range_touches_the_hours_of_its_ends() {
        let hours = |from, to| -> Vec<String> {
            Range::new(at(from), at(to)).unwrap().hours().map(|hour| hour.to_string()).collect()
        };
        assert_eq!(hours("2018-03-04T14:00:00Z", "2018-03-04T15:00:00Z"), ["2018-03-04T14:00:00.000Z"]);
        assert_eq!(
            hours("2018-03-04T14:59:59.999999Z", "2018-03-04T15:00:00.000001Z"),
            ["2018-03-04T14:00:00.000Z", "2018-03-04T15:00:00.000Z"]
        );
    }

    #[test]
    fn a_stored_range_that_is_backwards_is_not_read() {
        let range = Range::new(at("2018-03-04T14:00:00Z"), at("2018-03-04T15:00:00Z")).unwrap();
        let stored = serde_json::to_string(&range).unwrap();
        assert_eq!(serde_json::from_str::<Range>(&stored).unwrap(), range);
        let backwards = r#"{"from":"2018-03-04T15:00:00Z","to":"2018-03-04T14:00:00Z"}"#;
        assert!(serde_json::from_str::<Range>(backwards).is_err());
    }
}
