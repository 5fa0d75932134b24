//! Putting and pumping: batches, keys, sinks and failures, and nothing about who calls it.
//!
//! ```text
//!   source ──> Ledger::open ──> Writer ── lanes ──> BatchWriteItem        Pacer holds the table at its limit
//!                 │                └─ settle: written, replaced, skipped, dead
//!                 │
//!              Producer ── lanes ──> PutRecords ──> stream ──> Consumer ── shards ──> Writer
//!                 │                                               └─ a Ledger and a Tally for each shard
//!                 └─ what passed the low-water mark is what a checkpoint stores: counters, position, letters
//! ```
//!
//! A host (a worker process, Lambda) opens a ticket in a [`Ledger`] for each record that it reads, hands the record
//! with its [`Receipt`] to a [`Writer`] or [`Producer`], and stores what [`Ledger::take_settled`] gives whenever it
//! likes. After a crash it goes on from the stored position: what was above the mark is read and counted again.

pub mod aggregate;
mod aws_stream;
mod backoff;
mod change;
mod clock;
mod consumer;
mod counters;
mod fan_out;
mod lanes;
pub mod leases;
mod ledger;
mod letter_line;
mod limit;
mod pacer;
mod patience;
mod place;
mod producer;
mod read_pace;
mod replica;
mod room;
mod scan;
mod stopwatch;
mod stream;
mod table;
mod table_stream;
pub mod tail;
mod tally;
mod writer;

#[cfg(all(test, feature = "local"))]
mod against_local;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod many_tables;

pub use aws_stream::AwsStream;
pub use backoff::Backoff;
pub use change::{ChangeKind, Effect, TableChange};
pub use clock::{Clock, SystemClock};
pub(crate) use consumer::with_item;
pub use consumer::{
    Arrival, Consumer, ConsumerOptions, Intake, RecordAt, ShardCheckpoint, ShardProgress, ShardSettled, Sink, Tables,
};
pub use counters::{Counters, Letter, Outcome};
pub use fan_out::{FanOutConsumer, FanOutStream, consumers, deregister, find_consumer};
pub use ledger::{Closed, Ledger, Position, Receipt, Settle, Settled, Ticket};
pub use letter_line::LetterLine;
pub use limit::Limit;
pub(crate) use limit::hot_keys;
pub use pacer::{Caps, Left, Pacer, PacerSnapshot, Provisioned};
pub use patience::Patience;
pub use producer::{Producer, ProducerOptions, partition_key};
pub use read_pace::ReadPace;
pub use replica::{Replica, ReplicaRow, RowOrigin};
pub use scan::{ScanOptions, ScanPage, ScanTimes, Scanner, TableScan};
pub use stopwatch::{Inside, LaneTimes, Stopwatch};
pub use stream::{
    Allowance, Failed, Page, PutReply, ReadError, Reading, SequenceNumber, Shard, ShardPages, StartAt, StreamPut,
    StreamRecord, StreamSource,
};
pub use table::{AwsTable, BatchReply, Consumed, TablePut};
pub use table_stream::TableStream;
pub use tally::Tally;
pub use writer::{Writer, WriterOptions};
