//! An event as the store knows it.

use std::fmt;

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

/// What an event is known by: identical messages are distinct events. Displayed as `<shard id>:<sequence number>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// The shard that it arrived on.
    pub shard: String,
    /// Its place there.
    pub sequence: SequenceNumber,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard, self.sequence)
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it arrived on its stream.
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
