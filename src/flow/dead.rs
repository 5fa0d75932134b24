//! Dead letters.
use bytes::Bytes;

/// A record that can never succeed, kept with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// File, object or stream it came from.
    pub source: String,
    /// Line in the source, from 1.
    pub line: Option<u64>,
    /// Byte offset of the line in the decompressed source.
    pub offset: Option<u64>,
    /// Shard, when it came from a stream.
    pub shard: Option<String>,
    /// Sequence number, when it came from a stream.
    pub sequence: Option<String>,
    /// Why it can never succeed.
    pub reason: String,
    /// The record as it came.
    pub payload: Bytes,
}
