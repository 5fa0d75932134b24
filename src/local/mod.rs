//! The embedded AWS: `DynamoDB`, Kinesis, S3 and `CloudWatch` on one loopback port, with AWS's real limits.
//!
//! ```text
//!   any SDK ── http ──▶ server ── faults ──┬── X-Amz-Target: DynamoDB… ──▶ dynamo (throughput) ──▶ dynoxide
//!                                          ├── X-Amz-Target: Kinesis…  ──▶ kinesis             ──▶ ferrokinesis
//!                                          ├── /service/Granite…       ──▶ cloudwatch  ◀── metrics of all
//!                                          ├── Action=Publish          ──▶ sns, which keeps it for tests
//!                                          ├── Action=Simulate…        ──▶ iam: what --deny names is denied (access)
//!                                          ├── /2015-03-31/event-…     ──▶ lambda: event source mappings
//!                                          ├── /_sluice/table-streams… ──▶ dynamo: shards closed on demand
//!                                          └── everything else         ──▶ s3                  ──▶ a folder
//! ```

pub mod access;
pub mod cloudwatch;
mod dynamo;
pub mod faults;
mod iam;
pub mod kinesis;
mod lambda;
pub mod metrics;
pub mod s3;
mod server;
pub mod sns;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod throughput;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};

pub use access::Denied;
pub use faults::{Fault, Faults};
pub use server::Local;

/// Any error that can end a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every reply.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// A body that is complete in memory.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// How the embedded AWS is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `DynamoDB` and S3 are kept across restarts; without it they end with the process.
    pub data: Option<PathBuf>,
    /// Whether throughput, partition and shard limits are enforced. Metrics are made either way.
    pub limits: bool,
    /// Faults on demand.
    pub faults: Faults,
    /// Makes the faults of a run repeatable.
    pub seed: u64,
    /// IAM actions that are denied, in simulation and when they are asked for.
    pub deny: Denied,
    /// How the streams of tables behave.
    pub table_streams: TableStreams,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: None,
            limits: true,
            faults: Faults::default(),
            seed: 0,
            deny: Denied::default(),
            table_streams: TableStreams::default(),
        }
    }
}

/// How `DynamoDB` Streams behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableStreams {
    /// Open shards of each stream; without it as many as its table has partitions.
    pub shards: Option<NonZeroUsize>,
    /// How long records are kept. AWS: 24 hours.
    pub retention: Duration,
    /// When a shard closes and goes on in a child.
    pub roll: Roll,
}

impl Default for TableStreams {
    fn default() -> Self {
        // AWS rolls shards over about every four hours.
        Self { shards: None, retention: Duration::from_hours(24), roll: Roll::After(Duration::from_hours(4)) }
    }
}

/// When a shard of a table's stream closes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roll {
    /// So long after it was opened.
    After(Duration),
    /// After so many records.
    Records(NonZeroU64),
}

impl FromStr for Roll {
    type Err = String;

    /// Reads a duration (`4h`, `30s`) or a number of records (`500`).
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(records) = text.parse() {
            return Ok(Self::Records(records));
        }
        match humantime::parse_duration(text) {
            Ok(open) if !open.is_zero() => Ok(Self::After(open)),
            _ => Err("write a duration, such as 4h or 30s, or a number of records, such as 500".to_owned()),
        }
    }
}

/// Why the embedded AWS could not start, or could not keep what it holds.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The address can't be listened on.
    #[error("can't listen on {0}: {1}; choose another address with --listen")]
    Listen(SocketAddr, std::io::Error),
    /// Another process serves the same folder.
    #[error("{0} is served by another sluice; stop that one, or choose another folder with --data")]
    InUse(PathBuf),
    /// The folder of `--data`, or a temporary one, can't be used.
    #[error("can't use the folder {0}: {1}")]
    Folder(PathBuf, std::io::Error),
    /// `DynamoDB`'s engine failed.
    #[error("the embedded DynamoDB failed: {0}")]
    DynamoDb(String),
    /// S3's engine failed.
    #[error("the embedded S3 failed: {0}")]
    S3(String),
}

impl LocalError {
    /// What an I/O error about `path` becomes.
    fn folder(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Folder(path, error)
    }
}
