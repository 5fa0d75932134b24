//! The seam to a stream: shards, pages of records, and calls that put records.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::room::Taken;
use crate::cloud::CloudError;

/// The place of a record in its shard: a decimal number of up to 56 digits and more, ordered as such.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SequenceNumber(pub String);

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let digits = |number: &Self| number.0.trim_start_matches('0').len();
        digits(self)
            .cmp(&digits(other))
            .then_with(|| self.0.trim_start_matches('0').cmp(other.0.trim_start_matches('0')))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A shard of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its id, such as `shardId-000000000007`.
    pub id: String,
    /// The shards that it came from: one after a split, two after a merge.
    pub parents: Vec<String>,
    /// First and last hash key that it takes.
    pub hash_keys: (u128, u128),
    /// False once it was split or merged: it takes no more records.
    pub open: bool,
}

/// Where reading of a shard begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At its oldest record.
    TrimHorizon,
    /// After its newest record.
    Latest,
    /// At the first record that arrived at this time or later, ms since the epoch.
    Time(i64),
    /// At this record.
    At(SequenceNumber),
    /// After this record.
    After(SequenceNumber),
}

/// A record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its place in the shard.
    pub sequence: SequenceNumber,
    /// Its partition key.
    pub partition_key: String,
    /// Its bytes.
    pub data: Bytes,
    /// When it arrived, about: microseconds since the epoch (AWS says milliseconds).
    pub arrived_us: i64,
}

/// What one `GetRecords` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records, in order.
    pub records: Vec<StreamRecord>,
    /// Where the next page begins; `None` at the end of a closed shard.
    pub next: Option<String>,
    /// How far behind the newest record the page ends, ms.
    pub behind_ms: u64,
}

/// Why a page could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The iterator is older than five minutes: get another one.
    #[error("the shard iterator expired")]
    Expired,
    /// Anything else.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

/// What a reader of a shard is given at once.
#[derive(Debug, Default)]
pub struct Reading {
    /// The records, in order.
    pub records: Vec<StreamRecord>,
    /// How far behind the newest record they end, ms.
    pub behind_ms: u64,
    /// All that was on the shard at this time of the clock was given, with this or before; `None` when that is not
    /// known.
    pub as_of: Option<Duration>,
    /// What a person must know of it: that records were no longer kept.
    pub note: Option<String>,
    /// Its share of the consumer's memory, given back when it is dropped.
    pub(super) room: Option<Taken>,
}

/// Gives a shard's records, page after page: because it asks for them, or because they are sent to it.
pub trait ShardPages: Send {
    /// The next page; `None` after the last one of a closed shard. After an error it goes on where it was, and waits
    /// by itself where that is called for.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Reading>, ReadError>>;
}

/// How often and how much a shard may be asked, by all its consumers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// Reads a second.
    pub reads: f64,
    /// Bytes a second.
    pub bytes: f64,
}

impl Allowance {
    /// A shard of Kinesis (FORMATS.md 4).
    pub const KINESIS: Self = Self { reads: 5.0, bytes: 2.0 * 1024.0 * 1024.0 };
}

/// Where a [`super::Consumer`] reads.
pub trait StreamSource: Send + Sync + 'static {
    /// All shards that still hold records, open or closed.
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>>;
    /// An iterator of `shard` that begins at `start`.
    fn iterator<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>>;
    /// The page at `iterator`.
    fn page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Page, ReadError>>;
    /// How often and how much each shard may be asked.
    fn allowance(&self) -> Allowance {
        Allowance::KINESIS
    }
    /// The pages of `shard` from `start` on, where the stream sends them by itself; `None` where it has to be asked for
    /// each.
    fn subscribe(
        &self,
        _shard: &str,
        _start: &StartAt,
        _clock: &Arc<dyn Clock>,
        _seed: u64,
    ) -> Option<Box<dyn ShardPages>> {
        None
    }
}

/// Why a record was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its place in the request.
    pub index: usize,
    /// Whether its shard asks for less; otherwise the service had a fault of its own.
    pub throttled: bool,
}

/// What came back from `PutRecords`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The records that were not accepted, in order; all others are on the stream.
    pub failed: Vec<Failed>,
}

/// Where a [`super::Producer`] puts.
pub trait StreamPut: Send + Sync + 'static {
    /// Sends a whole `PutRecords` body.
    fn put_records(&self, body: Bytes) -> BoxFuture<'_, Result<PutReply, CloudError>>;
    /// All shards, open or closed.
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>>;
    /// Largest record that the stream takes, bytes with its partition key; `None` where it does not say.
    fn record_bytes(&self) -> BoxFuture<'_, Result<Option<usize>, CloudError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_ordered_as_numbers() {
        let number = |digits: &str| SequenceNumber(digits.to_owned());
        assert!(number("9") < number("10"));
        assert!(number("0009") < number("10"));
        assert!(number("49545115243490985018280067714973144582180062593244200961") > number("495"));
    }
}
