//! The table's side: a paced scan in parallel segments, with consistent reads.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use futures::future::try_join_all;
use tokio::time::Instant;

use super::super::worker::{JobError, Session};
use super::Batch;
use crate::cloud::inventory::Table;
use crate::cloud::{CloudError, error};
use crate::flow::Backoff;
use crate::item::{Key, digest_of_attributes};

/// Segments read side by side.
const SEGMENTS: i32 = 4;

/// Share of a table's provisioned read capacity that is taken when no budget is given: the rest is left to live
/// traffic.
const DEFAULT_SHARE: f64 = 0.5;

/// Tries of one page before the verify fails: with waits of up to 5 s, some ten minutes.
pub(super) const TRIES: u32 = 250;

/// The backoff of reads.
pub(super) fn patient() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(5), rand::random())
}

/// Spaces reads so that they consume at most so many RCU a second.
pub(super) struct ReadPace {
    rcu: Option<f64>,
    next: Mutex<Instant>,
}

impl ReadPace {
    /// At most `budget` RCU a second; else half of what `table` has; no cap on demand.
    pub fn new(table: &Table, budget: Option<f64>) -> Self {
        let rcu = budget.or(table.provisioned.map(|p| (p.read as f64 * DEFAULT_SHARE).max(1.0)));
        Self { rcu, next: Mutex::new(Instant::now()) }
    }

    /// Waits until reads so far are paid for.
    pub async fn wait(&self) {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::sleep_until(next).await;
    }

    /// Pays for a read that consumed `units` RCU.
    pub fn pay(&self, units: f64) {
        if let Some(rcu) = self.rcu {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = (*next).max(Instant::now()) + Duration::from_secs_f64(units / rcu);
        }
    }
}

/// Scans the whole table and hands on the key and digest of each item.
pub(super) async fn scan<F, G>(
    session: &Session<'_>,
    table: &Table,
    budget: Option<f64>,
    hand_on: F,
) -> Result<(), JobError>
where
    F: Fn(Batch) -> G,
    G: Future<Output = bool>,
{
    let pace = ReadPace::new(table, budget);
    try_join_all((0..SEGMENTS).map(|number| segment(session, table, number, &pace, &hand_on))).await.map(drop)
}

async fn segment<F, G>(
    session: &Session<'_>,
    table: &Table,
    number: i32,
    pace: &ReadPace,
    hand_on: &F,
) -> Result<(), JobError>
where
    F: Fn(Batch) -> G,
    G: Future<Output = bool>,
{
    let mut after = None;
    let mut backoff = patient();
    loop {
        pace.wait().await;
        let answer = session
            .cloud
            .bulk
            .dynamodb
            .scan()
            .table_name(&table.name)
            .consistent_read(true)
            .segment(number)
            .total_segments(SEGMENTS)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .set_exclusive_start_key(after.clone())
            .send()
            .await;
        let read = match answer {
            Ok(read) => read,
            Err(e) if error::classify(&e).is_retryable() && backoff.tries() < TRIES => {
                tokio::time::sleep(backoff.wait()).await;
                continue;
            }
            Err(e) => return Err(CloudError::of(&format!("scan table {}", table.name), &e).into()),
        };
        backoff.reset();
        pace.pay(read.consumed_capacity().and_then(ConsumedCapacity::capacity_units).unwrap_or_default());
        let batch = read.items().iter().filter_map(|item| {
            // A scanned item always has its table's key.
            Some((Key::of_attributes(&table.key, item)?, digest_of_attributes(item)))
        });
        if !hand_on(batch.collect()).await {
            return Ok(());
        }
        after = read.last_evaluated_key;
        if after.is_none() {
            return Ok(());
        }
    }
}
