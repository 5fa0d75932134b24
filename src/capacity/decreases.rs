//! How often AWS lets the capacity of one table or index come down.
//!
//! Four decreases are free on each UTC day. After those, one more is allowed whenever an hour has passed without any,
//! and never more than 27 a day.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>

use std::fmt;

use crate::cloud::inventory::Provisioned;

/// Decreases that a UTC day begins with.
const FREE: u64 = 4;
/// Decreases of one UTC day at the most.
const MOST: u64 = 27;
/// How long after the last one another is allowed, ms.
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The decreases of one table or index so far, as `DescribeTable` tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decreases {
    /// `NumberOfDecreasesToday`.
    pub today: u64,
    /// `LastDecreaseDateTime`, ms since epoch; `None` when there never was one.
    pub last_ms: Option<i64>,
}

/// How many decreases are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Allowed right now.
    pub now: u64,
    /// Used since midnight UTC.
    pub used: u64,
    /// When the next one is allowed, ms since epoch; `None` while some are left.
    pub next_ms: Option<i64>,
}

impl From<Provisioned> for Decreases {
    fn from(provisioned: Provisioned) -> Self {
        Self { today: provisioned.decreases_today, last_ms: provisioned.last_decrease_ms }
    }
}

impl Decreases {
    /// What is left at `now_ms` (ms since epoch).
    pub fn left(self, now_ms: i64) -> Left {
        let day = |at: i64| at.div_euclid(DAY_MS);
        // A count that was told before midnight says nothing of the new day.
        let used = if self.last_ms.is_some_and(|last| day(last) < day(now_ms)) { 0 } else { self.today };
        let midnight_ms = (day(now_ms) + 1) * DAY_MS;
        if used < FREE {
            return Left { now: FREE - used, used, next_ms: None };
        }
        if used >= MOST {
            return Left { now: 0, used, next_ms: Some(midnight_ms) };
        }
        // Not told when the last one was: an hour from now is the latest that the next can be.
        let next_ms = self.last_ms.map_or(now_ms + HOUR_MS, |last| last + HOUR_MS).min(midnight_ms);
        if next_ms <= now_ms {
            return Left { now: 1, used, next_ms: None };
        }
        Left { now: 0, used, next_ms: Some(next_ms) }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.next_ms {
            Some(at) => write!(f, "none left ({} used since midnight UTC); the next at {} UTC", self.used, clock(at)),
            None => write!(f, "{} left now ({} used since midnight UTC)", self.now, self.used),
        }
    }
}

/// `14:03` of a moment in UTC.
pub fn clock(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| "?".to_owned(), |at| at.strftime("%H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: i64 = 20_000 * DAY_MS;
    const NOON: i64 = MIDNIGHT + 12 * HOUR_MS;

    fn left(today: u64, last_ms: Option<i64>, now_ms: i64) -> (u64, Option<i64>) {
        let left = Decreases { today, last_ms }.left(now_ms);
        (left.now, left.next_ms)
    }

    #[test]
    fn a_day_begins_with_four() {
        assert_eq!(left(0, None, NOON), (4, None));
        assert_eq!(left(3, Some(NOON), NOON), (1, None));
    }

    #[test]
    fn after_four_one_more_is_allowed_an_hour_after_the_last() {
        assert_eq!(left(4, Some(NOON), NOON), (0, Some(NOON + HOUR_MS)));
        assert_eq!(left(4, Some(NOON), NOON + HOUR_MS - 1), (0, Some(NOON + HOUR_MS)));
        assert_eq!(left(4, Some(NOON), NOON + HOUR_MS), (1, None));
    }

    #[test]
    fn after_27_the_next_is_tomorrows() {
        assert_eq!(left(27, Some(NOON), NOON + 2 * HOUR_MS), (0, Some(MIDNIGHT + DAY_MS)));
    }

    #[test]
    fn the_next_is_never_later_than_midnight() {
        let late = MIDNIGHT + DAY_MS - 60_000;
        assert_eq!(left(4, Some(late), late), (0, Some(MIDNIGHT + DAY_MS)));
    }

    #[test]
    fn yesterdays_decreases_do_not_count() {
        assert_eq!(left(9, Some(MIDNIGHT - 1), MIDNIGHT), (4, None));
    }

    #[test]
    fn what_is_left_is_said_with_the_time_of_the_next() {
        let words = Decreases { today: 4, last_ms: Some(NOON) }.left(NOON).to_string();
        assert_eq!(words, "none left (4 used since midnight UTC); the next at 13:00 UTC");
    }
}
