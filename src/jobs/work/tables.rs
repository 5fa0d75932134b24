//! The tables that a stream's requests name: each has a checker, a writer with a queue of its own, and a pace, made when
//! it is first met.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::WINDOW;
use crate::cloud::inventory::{self, Table};
use crate::cloud::{Class, Cloud, CloudError};
use crate::flow::{AwsTable, Caps, Clock, Counters, Pacer, Sink, Tables, Writer, WriterOptions};
use crate::item::Checker;
use crate::jobs::restore::follow;
use crate::jobs::worker::Session;

/// What may wait for one table, bytes. Above, the shards whose records it is wait for it, and with them others' records.
const QUEUE: usize = 16 << 20;

/// How often each table's capacity is asked for, and the least time between two questions of many tables.
const DESCRIBE: Duration = Duration::from_secs(2);
const DESCRIBE_EACH: Duration = Duration::from_millis(200);

/// How long a table that can't be described, or that is being made, is waited for.
const PATIENCE: Duration = Duration::from_mins(5);

/// A table that requests named.
#[derive(Debug)]
pub(super) struct One {
    pub name: String,
    pub writer: Arc<Writer>,
    /// Its write capacity, WCU; 0 on demand.
    pub provisioned: AtomicU64,
}

/// What the operator says of all tables.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    pub caps: Caps,
    pub held: bool,
}

/// All tables met so far.
pub(super) struct ManyTables {
    cloud: Cloud,
    clock: Arc<dyn Clock>,
    met: Mutex<BTreeMap<String, (Sink, Arc<One>)>>,
    orders: Mutex<Orders>,
}

impl ManyTables {
    pub fn new(cloud: Cloud, clock: Arc<dyn Clock>, orders: Orders) -> Self {
        Self { cloud, clock, met: Mutex::default(), orders: Mutex::new(orders) }
    }

    fn met(&self) -> MutexGuard<'_, BTreeMap<String, (Sink, Arc<One>)>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables met so far, by name.
    pub fn all(&self) -> Vec<Arc<One>> {
        self.met().values().map(|(_, one)| Arc::clone(one)).collect()
    }

    /// What it took to write them all.
    pub fn effort(&self) -> Counters {
        self.all().iter().fold(Counters::default(), |sum, one| sum + one.writer.effort())
    }

    /// Caps items per second and WCU of each table, and holds or lets go.
    pub fn set(&self, items_per_second: Option<f64>, wcu: Option<f64>, held: bool) {
        let orders = Orders { caps: Caps { items_per_second, wcu }, held };
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = orders;
        for one in self.all() {
            follow_orders(one.writer.pacer(), orders);
        }
    }

    /// Tells each table's pacer what the table has, every few seconds, for ever.
    pub async fn follow(&self, session: &Session<'_>) {
        loop {
            let all = self.all();
            self.clock.sleep(DESCRIBE.max(DESCRIBE_EACH * all.len() as u32)).await;
            for one in all {
                // A failed look leaves the pacer with what it knows; the writer meets the error itself.
                let Ok(table) = inventory::table(&self.cloud, &one.name).await else { continue };
                let write = table.provisioned.map_or(0, |p| p.write);
                let before = one.provisioned.swap(write, Ordering::Relaxed);
                if before != write {
                    session.note("info", &format!("{} went from {before} to {write} WCU", table.name));
                }
                one.writer.pacer().set_provisioned(follow::capacity(&table));
            }
        }
    }

    /// The table that is named, once it can be written.
    async fn look(&self, name: &str) -> Result<Table, CloudError> {
        let began = self.clock.now();
        let gone = || CloudError::new(Class::NotFound, format!("there is no table {name}"), "");
        loop {
            let error = match inventory::table(&self.cloud, name).await {
                Ok(table) if table.status == "CREATING" => CloudError::new(
                    Class::InUse,
                    format!("table {name} is still being made"),
                    "wait until it is ACTIVE",
                ),
                Ok(table) if matches!(table.status.as_str(), "ACTIVE" | "UPDATING") => return Ok(table),
                Ok(_) => return Err(gone()),
                // No table can have such a name.
                Err(error) if error.class == Class::Invalid => return Err(gone()),
                Err(error) => error,
            };
            let passes = matches!(error.class, Class::Throttled | Class::Transient | Class::Unknown | Class::InUse);
            if !passes || self.clock.now().saturating_sub(began) > PATIENCE {
                return Err(error);
            }
            self.clock.sleep(Duration::from_secs(1)).await;
        }
    }
}

fn follow_orders(pacer: &Pacer, orders: Orders) {
    pacer.set_caps(orders.caps);
    pacer.hold(orders.held);
}

impl Tables for ManyTables {
    fn sink<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>> {
        async move {
            let found = self.look(table).await?;
            // A table may be named by its ARN as well: one writer keeps the order of its keys.
            if let Some((sink, _)) = self.met().get(&found.name) {
                return Ok(sink.clone());
            }
            let pacer = Arc::new(Pacer::new(Arc::clone(&self.clock)));
            pacer.set_provisioned(follow::capacity(&found));
            follow_orders(&pacer, *self.orders.lock().unwrap_or_else(PoisonError::into_inner));
            let options = WriterOptions {
                memory: QUEUE,
                queue: WINDOW,
                outlives_table: true,
                letters_name_table: true,
                ..WriterOptions::new(&found.name, &found.key.partition.name)
            };
            let put = AwsTable::new(self.cloud.bulk.dynamodb.clone(), &found.name, found.key.clone());
            let writer = Arc::new(Writer::start(options, Arc::new(put), pacer, Arc::clone(&self.clock)));
            let sink = Sink { checker: Arc::new(Checker::new(found.key)), writer: Arc::clone(&writer) };
            let provisioned = AtomicU64::new(found.provisioned.map_or(0, |p| p.write));
            let one = Arc::new(One { name: found.name.clone(), writer, provisioned });
            self.met().insert(found.name, (sink.clone(), one));
            Ok(sink)
        }
        .boxed()
    }
}
