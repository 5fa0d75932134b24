//! Follows what a restore's table has while it runs: its provisioned capacity.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::cloud::inventory::{self, Table};
use crate::flow::{Pacer, Provisioned};
use crate::jobs::worker::Session;

/// How often the table's capacity is asked for, so that a raise is followed within seconds.
const DESCRIBE: Duration = Duration::from_secs(2);

/// What the pacer is told of `table`: `None` on demand.
pub(super) fn capacity(table: &Table) -> Option<Provisioned> {
    table.provisioned.map(|p| Provisioned {
        table: p.write as f64,
        indexes: table.indexes.iter().filter_map(|i| Some((i.name.clone(), i.provisioned?.write as f64))).collect(),
    })
}

/// Tells the pacer what the table has, every few seconds, for ever.
pub(super) async fn follow_capacity(session: &Session<'_>, table: &str, pacer: &Pacer, provisioned: &AtomicU64) {
    let mut every = tokio::time::interval(DESCRIBE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        // A failed look leaves the pacer with what it knows; the writer meets the error itself.
        if let Ok(table) = inventory::table(&session.cloud, table).await {
            let write = table.provisioned.map_or(0, |p| p.write);
            let before = provisioned.swap(write, Ordering::Relaxed);
            if before != write {
                session.note("info", &format!("{} went from {before} to {write} WCU", table.name));
            }
            pacer.set_provisioned(capacity(&table));
        }
    }
}
