//! An event as the store knows it.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::flow::SequenceNumber;

/// How rows of the event table are keyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// By `event_key`, which sorts a slot in the order of playback.
    #[default]
    Ordered,
    /// By `event_id`, with a local index on `event_time_stamp`: the original event store's.
    Original,
}

impl Layout {
    /// As an option spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Original => "original",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ordered" => Ok(Self::Ordered),
            "original" => Ok(Self::Original),
            _ => Err(format!("{text:?} is no layout: write ordered or original")),
        }
    }
}

/// What an event is known by: identical messages are distinct events.
///
/// Displayed as `<shard id>:<sequence number>`; an event that came in an aggregated record, which has one sequence
/// number for all that it holds, as `<shard id>:<sequence number>:<place in the record, from 0>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The shard that it arrived on.
    pub shard: String,
    /// Its place there.
    pub sequence: SequenceNumber,
    /// Its place in an aggregated record, from 0; `None` when it came as a record of its own.
    pub sub: Option<u64>,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard, self.sequence)?;
        self.sub.map_or(Ok(()), |sub| write!(f, ":{sub}"))
    }
}

impl FromStr for EventId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no event ID: <shard>:<sequence number>, with :<number> if it was aggregated");
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let mut parts = text.splitn(3, ':');
        let shard = parts.next().filter(|shard| !shard.is_empty()).ok_or_else(wrong)?;
        let sequence = parts.next().filter(|part| digits(part)).ok_or_else(wrong)?;
        let sub = parts.next().map(|sub| if digits(sub) { sub.parse().map_err(|_| wrong()) } else { Err(wrong()) });
        Ok(Self { shard: shard.to_owned(), sequence: SequenceNumber(sequence.to_owned()), sub: sub.transpose()? })
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it arrived on its stream; where the clock of the stream went back, when the one before it on its shard did.
    pub time: Timestamp,
    /// What it is known by.
    pub id: EventId,
    /// Its partition key on the stream.
    pub partition_key: String,
    /// Its bytes, as they were sent.
    pub payload: Bytes,
}

impl Event {
    /// Where it stands in playback: by time, then shard, then sequence.
    pub fn order(&self) -> (Timestamp, &EventId) {
        (self.time, &self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_read_as_it_is_shown() {
        for text in ["shardId-000000000000:495", "shardId-000000000000:495:0", "shardId-000000000001:1:12"] {
            assert_eq!(text.parse::<EventId>().unwrap().to_string(), text);
        }
        for wrong in ["", "shard", ":1", "s:", "s:x", "s:1:", "s:1:x", "s:1:2:3", "s:-1", "s:+1"] {
            assert!(wrong.parse::<EventId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn events_of_one_time_are_ordered_by_shard_then_number_then_place_in_their_record() {
        let ordered = ["a:9", "a:10", "a:10:0", "a:10:2", "a:10:11", "b:1"].map(|id| id.parse::<EventId>().unwrap());
        assert!(ordered.is_sorted());
    }
}
