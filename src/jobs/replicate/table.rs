//! A DynamoDB table as a replica: rows through the writer that restores use, in the order of each key.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::cloud::inventory::Table;
use crate::cloud::{Cloud, CloudError};
use crate::flow::{
    AwsTable, Caps, Clock, Counters, Left, Limit, Pacer, Receipt, Replica, ReplicaRow, Writer, WriterOptions,
};
use crate::item::{Checker, request};
use crate::jobs::restore::follow;

/// Bytes of rows that wait for the table's lanes.
const MEMORY: usize = 32 << 20;

/// A table that is written.
pub(super) struct TableReplica {
    name: String,
    checker: Checker,
    writer: Writer,
    /// Its write capacity, WCU; 0 on demand.
    pub provisioned: AtomicU64,
}

impl TableReplica {
    /// Starts to write `table`; needs a tokio runtime.
    pub fn start(cloud: &Cloud, table: &Table, leave: Option<f64>, clock: &Arc<dyn Clock>) -> Self {
        let pacer = Arc::new(Pacer::new(Arc::clone(clock)));
        pacer.set_provisioned(follow::capacity(table));
        pacer.set_left(leave.map(|share| Left { share, ..Left::default() }));
        let put = AwsTable::new(cloud.bulk.dynamodb.clone(), &table.name, table.key.clone());
        let options = WriterOptions {
            memory: MEMORY,
            letters_name_table: true,
            ..WriterOptions::new(&table.name, &table.key.partition.name)
        };
        Self {
            name: table.name.clone(),
            checker: Checker::new(table.key.clone()),
            writer: Writer::start(options, Arc::new(put), pacer, Arc::clone(clock)),
            provisioned: AtomicU64::new(table.provisioned.map_or(0, |p| p.write)),
        }
    }

    async fn write(&self, row: ReplicaRow, receipt: Receipt) -> Result<(), CloudError> {
        let json = row.image.as_ref().unwrap_or(&row.key);
        let item = match self.checker.check(json.clone()) {
            Ok(item) => item,
            Err(refusal) => {
                let letter = match &row.image {
                    Some(image) => request::encode(&self.name, image),
                    None => request::encode_delete(&self.name, &row.key),
                };
                receipt.dead(refusal.to_string(), letter);
                return Ok(());
            }
        };
        match row.image {
            Some(_) => self.writer.put(item, receipt).await,
            None => self.writer.delete(item.key, receipt).await,
        }
    }
}

impl TableReplica {
    /// The pacer that it writes by.
    pub fn pacer(&self) -> &Pacer {
        self.writer.pacer()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The check by its key.
    pub fn checker(&self) -> &Checker {
        &self.checker
    }

    /// What writes it.
    pub fn writer_of(&self) -> &Writer {
        &self.writer
    }
}

impl Replica for TableReplica {
    fn take(&self, row: ReplicaRow, receipt: Receipt) -> BoxFuture<'_, Result<(), CloudError>> {
        self.write(row, receipt).boxed()
    }

    fn failed(&self) -> BoxFuture<'_, CloudError> {
        self.writer.failed().boxed()
    }

    fn pace(&self, caps: Caps, held: bool) {
        self.writer.pacer().set_caps(caps);
        self.writer.pacer().hold(held);
    }

    fn effort(&self) -> Counters {
        self.writer.effort()
    }

    fn limit(&self) -> Limit {
        self.writer.limit()
    }

    fn writer(&self) -> Option<&Writer> {
        Some(&self.writer)
    }
}
