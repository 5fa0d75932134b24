//! Where the records of a stream go, and where they were on it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::cloud::{Class, CloudError};
use crate::flow::counters::Letter;
use crate::flow::ledger::{Ledger, Position};
use crate::flow::stream::SequenceNumber;
use crate::flow::writer::Writer;
use crate::item::Checker;

/// Where a record is on its stream.
#[derive(Clone, Debug)]
pub struct RecordAt {
    /// The stream.
    pub stream: Arc<str>,
    /// The shard.
    pub shard: Arc<str>,
    /// The record.
    pub sequence: SequenceNumber,
    /// Its place in an aggregated record, from 0; `None` when it is a record of its own.
    pub sub: Option<u64>,
    /// Its number within our own job.
    pub ordinal: Option<u64>,
    /// Its size, bytes.
    pub size: u32,
    /// The time that its [`Intake`] gave it, microseconds since the epoch; `None` for a put request.
    pub time_us: Option<i64>,
}

impl Position for RecordAt {
    fn letter(&self, reason: String, payload: Bytes) -> Letter {
        Letter {
            source: self.stream.to_string(),
            line: None,
            offset: None,
            shard: Some(self.shard.to_string()),
            sequence: Some(match self.sub {
                Some(sub) => format!("{}/{sub}", self.sequence),
                None => self.sequence.to_string(),
            }),
            reason,
            payload,
        }
    }

    fn bytes(&self) -> u64 {
        u64::from(self.size)
    }

    fn ordinal(&self) -> Option<u64> {
        self.ordinal
    }
}

/// Where the put requests for one table go.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The check by the table's key.
    pub checker: Arc<Checker>,
    /// The table's writer.
    pub writer: Arc<Writer>,
}

/// The tables that a stream's put requests name.
pub trait Tables: Send + Sync + 'static {
    /// The sink of `table`; asked once for each table while it succeeds. [`Class::NotFound`] makes dead letters of the
    /// table's records, any other error ends the consumer.
    fn sink<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>>;
}

/// A record that comes to an [`Intake`].
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Where it is.
    pub at: RecordAt,
    /// Its place in an aggregated record, from 0; `None` when it came as a record of its own.
    pub sub: Option<u64>,
    /// Its partition key.
    pub partition_key: String,
    /// Its bytes.
    pub data: Bytes,
    /// When it arrived, about: microseconds since the epoch.
    pub arrived_us: i64,
}

/// What becomes of a stream's records where they are something else than put requests.
pub trait Intake: Send + Sync + 'static {
    /// Opens the record in its shard's `ledger` and sees to the receipt. Called for the records of a shard in their
    /// order, one at a time; an error ends the consumer.
    fn take<'a>(&'a self, ledger: &'a Arc<Ledger<RecordAt>>, arrival: Arrival)
    -> BoxFuture<'a, Result<(), CloudError>>;
}

/// The tables of a stream that carries no put requests.
pub(super) struct NoTables;

impl Tables for NoTables {
    fn sink<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>> {
        let error = CloudError::new(Class::NotFound, format!("this stream carries no put requests for {table}"), "");
        Box::pin(std::future::ready(Err(error)))
    }
}
