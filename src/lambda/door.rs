//! The tables that a function writes, kept warm from one invocation to the next: key, pace, and a writer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::gate::Gate;
use crate::cloud::{Class, Cloud, CloudError, inventory};
use crate::flow::{AwsTable, Caps, Clock, Counters, Pacer, Provisioned, Writer, WriterOptions};
use crate::item::{Checker, KeySchema};

/// How long what `DescribeTable` said is believed; capacity may be raised meanwhile, and a table made anew.
const BELIEVED: Duration = Duration::from_mins(1);

/// How often a table's capacity is asked for within an invocation, so that a raise is followed while it lasts.
const FOLLOWED: Duration = Duration::from_secs(5);

/// The tables written so far.
#[derive(Debug)]
pub(super) struct Doors {
    cloud: Cloud,
    clock: Arc<dyn Clock>,
    max_wcu: Option<f64>,
    by_table: tokio::sync::Mutex<HashMap<String, Arc<Door>>>,
}

/// One table.
#[derive(Debug)]
pub(super) struct Door {
    /// Its name, as the records spell it.
    pub name: String,
    /// The check by its key.
    pub checker: Checker,
    cloud: Cloud,
    clock: Arc<dyn Clock>,
    pacer: Arc<Pacer>,
    described: Duration,
    warm: Mutex<Option<Warm>>,
}

/// A writer that has nothing left of the invocations before.
#[derive(Clone, Debug)]
pub(super) struct Warm {
    pub writer: Arc<Writer>,
    pub gate: Arc<Gate>,
}

impl Doors {
    /// Tables of `cloud`; a process of the function uses at most `max_wcu` WCU a second of each.
    pub fn new(cloud: Cloud, clock: Arc<dyn Clock>, max_wcu: Option<f64>) -> Self {
        Self { cloud, clock, max_wcu, by_table: tokio::sync::Mutex::default() }
    }

    /// Where they are.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// The door to `table`.
    ///
    /// # Errors
    /// [`Class::NotFound`] when there is no such table.
    pub async fn door(&self, table: &str) -> Result<Arc<Door>, CloudError> {
        let mut doors = self.by_table.lock().await;
        let now = self.clock.now();
        let known = doors.get(table).cloned();
        if let Some(door) = known.as_ref().filter(|door| now.saturating_sub(door.described) < BELIEVED) {
            return Ok(Arc::clone(door));
        }
        let described = match inventory::table(&self.cloud, table).await {
            Ok(described) => described,
            Err(error) => {
                let gone = error.class == Class::NotFound;
                if gone {
                    doors.remove(table);
                }
                // What was known a minute ago is a better guess than nothing.
                return known.filter(|_| !gone).ok_or(error);
            }
        };
        let (pacer, warm) = match known.filter(|door| *door.checker.schema() == described.key) {
            Some(door) => (Arc::clone(&door.pacer), door.take()),
            None => (Arc::new(Pacer::new(Arc::clone(&self.clock))), None),
        };
        pacer.set_provisioned(provisioned(&described));
        pacer.set_caps(Caps { items_per_second: None, wcu: self.max_wcu });
        let door = Arc::new(Door {
            name: table.to_owned(),
            checker: Checker::new(described.key),
            cloud: self.cloud.clone(),
            clock: Arc::clone(&self.clock),
            pacer,
            described: now,
            warm: Mutex::new(warm),
        });
        doors.insert(table.to_owned(), Arc::clone(&door));
        Ok(door)
    }
}

fn provisioned(table: &inventory::Table) -> Option<Provisioned> {
    let indexes = table.indexes.iter();
    Some(Provisioned {
        table: table.provisioned?.write as f64,
        indexes: indexes.filter_map(|index| Some((index.name.clone(), index.provisioned?.write as f64))).collect(),
    })
}

impl Door {
    fn schema(&self) -> &KeySchema {
        self.checker.schema()
    }

    /// Its writer: the one of the invocation before, or a new one.
    pub fn writer(&self) -> Warm {
        let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
        warm.get_or_insert_with(|| {
            let put = AwsTable::new(self.cloud.bulk.dynamodb.clone(), &self.name, self.schema().clone());
            let gate = Arc::new(Gate::new(Arc::new(put)));
            let options = WriterOptions::new(&self.name, &self.schema().partition.name);
            let (pacer, clock) = (Arc::clone(&self.pacer), Arc::clone(&self.clock));
            Warm { writer: Arc::new(Writer::start(options, Arc::clone(&gate) as _, pacer, clock)), gate }
        })
        .clone()
    }

    fn take(&self) -> Option<Warm> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Follows the table's capacity, for ever.
    pub async fn follow_capacity(&self) {
        loop {
            self.clock.sleep(FOLLOWED).await;
            // A failed look leaves the pacer with what it knows; the writer meets the error itself.
            if let Ok(table) = inventory::table(&self.cloud, &self.name).await {
                self.pacer.set_provisioned(provisioned(&table));
            }
        }
    }

    /// Gives its writer up with all that is queued in it, once what is on its way came back or `patience` is over.
    pub async fn shut(&self, patience: Duration) {
        let Some(warm) = self.take() else { return };
        warm.gate.shut();
        tokio::select! {
            () = warm.gate.landed() => {}
            () = self.clock.sleep(patience) => {}
        }
    }
}

/// What a writer did between two looks at [`Writer::effort`].
pub(super) fn effort_since(before: Counters, after: Counters) -> Counters {
    Counters {
        retried: after.retried - before.retried,
        throttled: after.throttled - before.throttled,
        wcu: after.wcu - before.wcu,
        ..Counters::default()
    }
}
