//! A table's side: a paced scan in parallel segments, with consistent reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;

use super::super::backup::read_budget;
use super::super::worker::JobError;
use super::Batch;
use super::spill::Version;
use crate::cloud::Cloud;
use crate::cloud::inventory::Table;
use crate::flow::{AwsTable, Backoff, ReadPace, ScanOptions, Scanner, SystemClock};
use crate::item::{Checker, Key};

/// Segments read side by side.
const SEGMENTS: u32 = 4;

/// Tries of one page before the verify fails: with waits of up to 5 s, some ten minutes.
pub(super) const TRIES: u32 = 250;

/// The backoff of reads.
pub(super) fn patient() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(5), rand::random())
}

/// A pace of reads within that budget.
pub(super) fn pace(table: &Table, asked: Option<f64>) -> ReadPace {
    ReadPace::new(Arc::new(SystemClock::new()), read_budget(table, asked))
}

/// A scan of the whole table.
pub(super) fn scanner(cloud: &Cloud, table: &Table, asked: Option<f64>) -> Arc<Scanner> {
    let options = ScanOptions { table: table.name.clone(), segments: SEGMENTS, consistent: true };
    let source = AwsTable::new(cloud.bulk.dynamodb.clone(), &table.name, table.key.clone());
    Arc::new(Scanner::new(Arc::new(source), options, read_budget(table, asked), Arc::new(SystemClock::new())))
}

/// Scans the whole table and hands on the key and digest of each item.
pub(super) async fn scan<F, G>(scanner: &Scanner, table: &Table, hand_on: F) -> Result<(), JobError>
where
    F: Fn(Batch) -> G,
    G: Future<Output = bool>,
{
    let checker = Checker::new(table.key.clone());
    let take = |item| match checker.check(item) {
        Ok(item) => Ok(Some((item.key, Version::of_table(item.digest)))),
        Err(refusal) => {
            Err(JobError::Unfit(format!("table {} holds an item that could not be restored: {refusal}", table.name)))
        }
    };
    scan_as(scanner, take, hand_on).await
}

/// Scans the whole table and hands on what `take` makes of each item.
pub(super) async fn scan_as<T, F, G>(scanner: &Scanner, take: T, hand_on: F) -> Result<(), JobError>
where
    T: Fn(Bytes) -> Result<Option<(Key, Version)>, JobError>,
    F: Fn(Batch) -> G,
    G: Future<Output = bool>,
{
    try_join_all((0..SEGMENTS).map(|number| segment(scanner, &take, number, &hand_on))).await.map(drop)
}

async fn segment<T, F, G>(scanner: &Scanner, take: &T, number: u32, hand_on: &F) -> Result<(), JobError>
where
    T: Fn(Bytes) -> Result<Option<(Key, Version)>, JobError>,
    F: Fn(Batch) -> G,
    G: Future<Output = bool>,
{
    let mut after = None;
    loop {
        let page = scanner.page(number, after.as_ref()).await?;
        let batch = page.items.into_iter().filter_map(|item| take(item).transpose());
        if !hand_on(batch.collect::<Result<_, _>>()?).await {
            return Ok(());
        }
        after = page.after;
        if after.is_none() {
            return Ok(());
        }
    }
}
