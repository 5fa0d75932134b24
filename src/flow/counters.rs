//! What became of records: counters, outcomes and dead letters.

use std::ops::{Add, AddAssign};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Records counted by what became of them, and the effort that it took.
///
/// `read = written + deleted + skipped + dead` for what a [`super::Ledger`] settled into a table, and
/// `read = on_stream + skipped + dead` for what it settled onto a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Records taken from the source.
    pub read: u64,
    /// Records that a stream accepted.
    pub on_stream: u64,
    /// Records that are in the table, or whose place a later version of the same key took.
    pub written: u64,
    /// Records that were a delete, and are deleted.
    pub deleted: u64,
    /// Records left out on purpose: a condition did not hold, or dry run.
    pub skipped: u64,
    /// Records that can never succeed: dead letters.
    pub dead: u64,
    /// Of `written`: those whose place a later version of the same key took before they were sent.
    pub replaced: u64,
    /// Times that a record was sent again.
    pub retried: u64,
    /// Times that a record was refused for want of capacity.
    pub throttled: u64,
    /// Source bytes of the records read.
    pub bytes: u64,
    /// Write capacity consumed, WCU, as the service told it; indexes included.
    pub wcu: f64,
    /// Read capacity consumed, RCU, as the service told it.
    pub rcu: f64,
}

impl Counters {
    /// Records whose fate in a table is known: written, deleted, left out or dead.
    pub fn settled(&self) -> u64 {
        self.written + self.deleted + self.skipped + self.dead
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.on_stream += other.on_stream;
        self.written += other.written;
        self.deleted += other.deleted;
        self.skipped += other.skipped;
        self.dead += other.dead;
        self.replaced += other.replaced;
        self.retried += other.retried;
        self.throttled += other.throttled;
        self.bytes += other.bytes;
        self.wcu += other.wcu;
        self.rcu += other.rcu;
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the table.
    Written,
    /// A later version of the same key took its place before it was sent: counts as written.
    Replaced,
    /// Its key was deleted.
    Deleted,
    /// Left out on purpose: the condition did not hold, or dry run.
    Skipped,
    /// The stream accepted it.
    OnStream,
    /// It can never succeed. The ledger adds where it came from.
    Dead {
        /// Why, in words.
        reason: String,
        /// The record as it came.
        payload: Bytes,
    },
    /// It was not ours to count: the position moves on, and nothing else.
    Passed,
}

impl Outcome {
    /// What becomes of a record whose place a later one of the same key took, when this becomes of that one.
    pub fn of_replaced(&self) -> &Self {
        if matches!(self, Self::Written | Self::Deleted) { &Self::Replaced } else { self }
    }

    /// Adds this outcome of a record of `bytes` source bytes to `counters`.
    pub fn count(&self, bytes: u64, counters: &mut Counters) {
        match self {
            Self::Written => counters.written += 1,
            Self::Replaced => {
                counters.written += 1;
                counters.replaced += 1;
            }
            Self::Deleted => counters.deleted += 1,
            Self::Skipped => counters.skipped += 1,
            Self::OnStream => counters.on_stream += 1,
            Self::Dead { .. } => counters.dead += 1,
            Self::Passed => return,
        }
        counters.read += 1;
        counters.bytes += bytes;
    }
}

/// A record that can never succeed, kept with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The file, `s3://` address or stream that it came from.
    pub source: String,
    /// Its line in the file, 1-based.
    pub line: Option<u64>,
    /// Byte offset of its line in the decompressed text.
    pub offset: Option<u64>,
    /// Its shard.
    pub shard: Option<String>,
    /// Its sequence number in the shard.
    pub sequence: Option<String>,
    /// Why it can never succeed.
    pub reason: String,
    /// The record as it came.
    pub payload: Bytes,
}
