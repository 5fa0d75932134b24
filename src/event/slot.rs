//! Slots: the time units of the event table.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The length of a slot: 100 ms to 1 h, a whole part of an hour, so that no slot reaches over the hour of its
/// directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct SlotLength {
    micros: i64,
}

const SHORTEST: i64 = 100_000;
const HOUR: i64 = 3_600_000_000;

impl SlotLength {
    /// A slot of `length`.
    ///
    /// # Errors
    /// When it is too short, too long, or no whole part of an hour.
    pub fn new(length: Duration) -> Result<Self, String> {
        let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        if (SHORTEST..=HOUR).contains(&micros) && HOUR % micros == 0 && length.subsec_nanos().is_multiple_of(1_000_000)
        {
            Ok(Self { micros })
        } else {
            Err("a slot is 100 ms to 1 h long, whole milliseconds, and an hour holds a whole number of them: 100ms, 1s, 1m, 1h"
                .to_owned())
        }
    }

    /// Its length, microseconds.
    pub fn micros(self) -> i64 {
        self.micros
    }

    /// The slot that `time` falls into.
    pub fn slot_of(self, time: Timestamp) -> Slot {
        let micros = time.as_microsecond();
        Slot { start_us: micros - micros.rem_euclid(self.micros) }
    }

    /// The slot after `slot`.
    pub fn after(self, slot: Slot) -> Slot {
        Slot { start_us: slot.start_us + self.micros }
    }
}

impl Default for SlotLength {
    fn default() -> Self {
        Self { micros: 1_000_000 }
    }
}

impl TryFrom<u64> for SlotLength {
    type Error = String;

    /// From milliseconds.
    fn try_from(ms: u64) -> Result<Self, String> {
        Self::new(Duration::from_millis(ms))
    }
}

impl From<SlotLength> for u64 {
    /// In milliseconds.
    fn from(length: SlotLength) -> Self {
        length.micros.unsigned_abs() / 1000
    }
}

impl FromStr for SlotLength {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let length = humantime::parse_duration(text).map_err(|error| format!("{text:?} is no duration: {error}"))?;
        Self::new(length)
    }
}

impl fmt::Display for SlotLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from_micros(self.micros.unsigned_abs())).fmt(f)
    }
}

/// A time unit of the event table, by its start, microseconds since the epoch. The name that a table knows it by is its
/// start as ISO time with milliseconds: `2018-03-04T14:59:44.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Its start, microseconds since the epoch.
    pub start_us: i64,
}

impl Slot {
    /// The start of the hour that it is in: the row of the directory that counts it.
    #[must_use]
    pub fn hour(self) -> Self {
        Self { start_us: self.start_us - self.start_us.rem_euclid(HOUR) }
    }

    /// Its start.
    pub fn start(self) -> Timestamp {
        // A slot is made of a time that jiff holds, rounded towards the past; the very first is the only one that could
        // leave its range.
        Timestamp::from_microsecond(self.start_us).unwrap_or(Timestamp::MIN)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_slot_that_starts_at_or_before_it() {
        let time: Timestamp = "2018-03-04T14:59:44.0304Z".parse().unwrap();
        assert_eq!(SlotLength::default().slot_of(time).to_string(), "2018-03-04T14:59:44.000Z");
        let tenth: SlotLength = "100ms".parse().unwrap();
        assert_eq!(tenth.slot_of("2018-03-04T14:59:44.9996Z".parse().unwrap()).to_string(), "2018-03-04T14:59:44.900Z");
        let hour: SlotLength = "1h".parse().unwrap();
        assert_eq!(hour.slot_of(time).to_string(), "2018-03-04T14:00:00.000Z");
        assert_eq!(hour.after(hour.slot_of(time)).to_string(), "2018-03-04T15:00:00.000Z");
    }

    #[test]
    fn a_slot_is_a_whole_part_of_an_hour() {
        for wrong in ["99ms", "2h", "7s", "0s", "1500us", "x"] {
            assert!(wrong.parse::<SlotLength>().is_err(), "{wrong}");
        }
        assert_eq!("250ms".parse::<SlotLength>().unwrap().to_string(), "250ms");
    }
}
