//! A DynamoDB table as a replica: rows through the writer that restores use, in the order of each key.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::rule::{Applied, Rule};
use crate::cloud::inventory::Table;
use crate::cloud::{Class, Cloud, CloudError};
use crate::flow::{
    AwsTable, Caps, Clock, Counters, Left, Limit, Pacer, Receipt, Replica, ReplicaRow, Writer, WriterOptions,
};
use crate::item::{Checker, Key, request};
use crate::jobs::restore::follow;

/// Bytes of rows that wait for the table's lanes.
const MEMORY: usize = 32 << 20;

/// A table that is written.
pub(super) struct TableReplica {
    name: String,
    checker: Checker,
    writer: Writer,
    /// Who wins, where changes go both ways.
    rule: Option<Arc<Rule>>,
    other: OnceLock<Weak<Self>>,
    /// Its write capacity, WCU; 0 on demand.
    pub provisioned: AtomicU64,
}

impl TableReplica {
    /// Starts to write `table`; needs a tokio runtime.
    pub fn start(
        cloud: &Cloud,
        table: &Table,
        leave: Option<f64>,
        rule: Option<Arc<Rule>>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
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
            rule,
            other: OnceLock::new(),
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
        match &self.rule {
            None if row.image.is_some() => self.writer.put(item, receipt).await,
            None => self.writer.delete(item.key, receipt).await,
            Some(rule) => match rule.apply(&self.name, &row, &item) {
                Applied::Put(request) => self.writer.request(item, request, receipt).await,
                Applied::Delete(request) => self.writer.delete_if(item.key, request, receipt).await,
                Applied::DeleteBack(request) => self.back(item.key, request, None, receipt).await,
                Applied::Stamp(request) => {
                    let wcu = f64::from(item.wcu());
                    self.back(item.key, request, Some(wcu), receipt).await
                }
                Applied::Dead(reason) => {
                    receipt.dead(reason, request::encode(&self.name, json));
                    Ok(())
                }
            },
        }
    }
}

impl TableReplica {
    /// The pacer that it writes by.
    pub fn pacer(&self) -> &Pacer {
        self.writer.pacer()
    }

    /// The replica of the other direction, which writes the table that these rows come from.
    pub fn pair(&self, other: &Arc<Self>) {
        // Set once, by who made both.
        let _ = self.other.set(Arc::downgrade(other));
    }

    /// Deletes or updates (taking so much WCU) an item of the table that the row came from.
    async fn back(&self, key: Key, request: Bytes, update: Option<f64>, receipt: Receipt) -> Result<(), CloudError> {
        let Some(other) = self.other.get().and_then(Weak::upgrade) else {
            return Err(CloudError::new(Class::Transient, "the job is ending", ""));
        };
        match update {
            Some(wcu) => other.writer.update(key, request, wcu, receipt).await,
            None => other.writer.delete_if(key, request, receipt).await,
        }
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
