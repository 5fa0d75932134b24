//! How far each shard was read: what the host stores, and what it shows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::flow::counters::{Counters, Letter};
use crate::flow::stream::SequenceNumber;
use crate::flow::tally::Tally;

/// How far a shard was read: all of it was written in one transaction, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardCheckpoint {
    /// The shard.
    pub shard: String,
    /// The last record below the mark.
    pub position: Option<SequenceNumber>,
    /// Where the record at `position` is an aggregated one: the last record in it below the mark, from 0, as KCL's
    /// `checkpointSubSequenceNumber`.
    #[serde(default)]
    pub sub: Option<u64>,
    /// Read to its end: it is closed, and its children may begin.
    pub done: bool,
    /// What was counted in it, from the beginning.
    pub counters: Counters,
    /// Which of the job's records it has counted.
    pub tally: Option<Tally>,
    /// The time that an [`Intake`](super::Intake) gave the last record below the mark, microseconds since the epoch.
    #[serde(default)]
    pub time_us: Option<i64>,
}

/// What a shard settled since the last time.
#[derive(Clone, Debug)]
pub struct ShardSettled {
    /// Store this.
    pub checkpoint: ShardCheckpoint,
    /// And these with it.
    pub letters: Vec<Letter>,
    /// Another worker waits for the shard, and nothing more of it comes from this one.
    pub handed_over: bool,
}

/// How a shard fares, for display.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardProgress {
    /// The shard.
    pub shard: String,
    /// How far behind its newest record it is read, ms.
    pub lag_ms: u64,
    /// About how many records of the stream are still to be read: lag times the rate at which the last ones read had
    /// arrived. `None` while that rate is not known.
    #[serde(default)]
    pub behind_records: Option<u64>,
    /// Records read, repetitions included.
    pub records: u64,
    /// Records of others, left alone.
    pub foreign: u64,
    /// Records that an aggregated one held and whose hash keys belong to other shards: left out, as the KCL does.
    #[serde(default)]
    pub outside: u64,
    /// Read to its end.
    pub done: bool,
    /// The time that an [`Intake`](super::Intake) gave the last record below the mark, microseconds since the epoch.
    pub settled_us: Option<i64>,
    /// Records that are read and not settled.
    pub open: usize,
    /// When, by the consumer's clock, the last page was asked for that was empty and without lag.
    pub caught_up: Option<Duration>,
}
