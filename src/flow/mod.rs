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

mod backoff;
mod batch;
mod clock;
mod counters;
mod ledger;
mod limit;
mod pace;
mod pacer;
mod patience;
mod table;
mod tally;
mod waiting;
mod writer;

pub use backoff::Backoff;
pub use clock::{Clock, SystemClock};
pub use counters::{Counters, Letter, Outcome};
pub use ledger::{Closed, Ledger, Position, Receipt, Settle, Settled, Ticket};
pub use limit::Limit;
pub use pacer::{Caps, Pacer, PacerSnapshot, Provisioned};
pub use patience::Patience;
pub use table::{AwsTable, BatchReply, Consumed, TablePut};
pub use tally::Tally;
pub use writer::{Writer, WriterOptions};
