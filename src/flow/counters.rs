//! What became of the records of a job.
use serde::{Deserialize, Serialize};

/// Running totals of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Records read from the source.
    pub read: u64,
    /// Records that the stream took.
    pub on_stream: u64,
    /// Items written, counting replaced ones.
    pub written: u64,
    /// Items deleted.
    pub deleted: u64,
    /// Records left out by an option.
    pub skipped: u64,
    /// Records that can never succeed.
    pub dead: u64,
    /// Of `written`: items replaced by a later version of the same key before they were sent.
    pub replaced: u64,
    /// Requests or records sent again.
    pub retried: u64,
    /// Records refused for lack of capacity.
    pub throttled: u64,
    /// Bytes of the items settled.
    pub bytes: u64,
    /// Write capacity consumed, WCU.
    pub wcu: f64,
}
