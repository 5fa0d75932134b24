//! The seam to a replica: the changes of a table, and the items of a scan of it, on their way into another table or into
//! BigQuery.

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::change::ChangeKind;
use super::counters::Counters;
use super::ledger::Receipt;
use super::limit::Limit;
use super::pacer::Caps;
use super::stream::SequenceNumber;
use super::writer::Writer;
use crate::cloud::CloudError;

/// One row on its way into a replica: filters, new values and renames have been applied.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaRow {
    /// Its primary key as the replica has it, `DynamoDB` JSON.
    pub key: Bytes,
    /// The item as the replica is to hold it, `DynamoDB` JSON; `None` removes the row of `key`.
    pub image: Option<Bytes>,
    /// Where it comes from.
    pub origin: RowOrigin,
}

/// Where a row comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum RowOrigin {
    /// A scan of the source: any change of its key counts as newer.
    Scan,
    /// A record of the source's stream.
    Change {
        /// What happened to the item. A modified item that no longer passes the filter comes without an image.
        kind: ChangeKind,
        /// The record's place in its shard: of one key, a later change has the larger number, in child shards too.
        sequence: SequenceNumber,
        /// When it happened, about: ms since the epoch. `DynamoDB` says whole seconds.
        at_ms: i64,
        /// The item expired, and the service deleted it.
        by_ttl: bool,
        /// The item as it was before, in the names of the source, where the stream carries that.
        old: Option<Bytes>,
    },
}

/// Where the rows of a replica go.
///
/// The same row may come again after a crash, with those of its key that came after it, in the same order. When the ends
/// of a ledger's records are stored, they are in the replica for good: a row's receipt is settled only then.
pub trait Replica: Send + Sync + 'static {
    /// Takes `row`, to be applied after all rows of its key that came before it; waits while there is no room. A row that
    /// can never be applied is settled as a dead letter, and its neighbours go on.
    fn take(&self, row: ReplicaRow, receipt: Receipt) -> BoxFuture<'_, Result<(), CloudError>>;

    /// Ends when the replica can't be written any more, with the reason: the job stops, and goes on from its checkpoint
    /// when it is started again.
    fn failed(&self) -> BoxFuture<'_, CloudError>;

    /// What an operator caps, and whether nothing is to be written for now.
    fn pace(&self, caps: Caps, held: bool);

    /// What the writing took so far: `retried`, `throttled`, `wcu`; the rest is the ledgers' to count.
    fn effort(&self) -> Counters;

    /// What binds now.
    fn limit(&self) -> Limit;

    /// The writer behind it, where it is a table.
    fn writer(&self) -> Option<&Writer> {
        None
    }

    /// What is done beside while the job runs (such as following the table's capacity): runs until it is dropped.
    fn upkeep(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }

    /// What a person must be told since the last call: `info` or `warn`, and the words.
    fn take_notes(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
