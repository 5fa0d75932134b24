//! The watermark: the time up to which the event table is complete.
//!
//! ```text
//!   arrivals ──Floors::stamp──▶ buffer ──pass──▶ event table
//!      no time of a shard            │
//!      is below its floor            └─ bound() of all shards ─▶ promise ─▶ a whole pass ─▶ publish
//! ```
//!
//! Three facts make it true whatever the clocks do. An event's time is its arrival, but never below its shard's floor,
//! which only rises. Before a bound is used, the shards' places are stored and the bound is promised: written down, and
//! every floor raised to it, so that nothing stamped later is below it, in this process or the next, and nothing that
//! was stamped is read again and stamped anew. And it is published only after a pass that began after the
//! promise has stored every row it met, so that nothing stamped earlier is missing.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::record::Layout;
use super::row::SLOT;
use crate::cloud::{Class, CloudError};
use crate::flow::{Shard, ShardProgress};

/// The partition of the event table that holds the watermarks: a row for each stream that is pumped into it, by its ARN.
pub const PARTITION: &str = "directory#watermark";

/// The time that the row has published.
const WATERMARK: &str = "watermark";
/// The time below which no event will be stamped any more.
const PROMISED: &str = "promised";

/// How far behind our own clock an idle shard's bound stays, µs. It only keeps arrivals from being stamped later than
/// they were where our clock is a little ahead of AWS's: no choice of it makes the watermark wrong.
const IDLE_MARGIN: i64 = 1_000_000;

/// The earliest time that each shard's next event may have, microseconds since the epoch.
#[derive(Clone, Debug, Default)]
pub struct Floors {
    promised: i64,
    shards: HashMap<String, i64>,
}

impl Floors {
    /// Floors after `promised` was promised.
    pub fn new(promised: Option<Timestamp>) -> Self {
        Self { promised: promised.map_or(0, Timestamp::as_microsecond), shards: HashMap::new() }
    }

    /// Goes on with `shard` where its last settled event left it.
    pub fn resume(&mut self, shard: &str, time_us: Option<i64>) {
        if let Some(time_us) = time_us {
            let floor = self.shards.entry(shard.to_owned()).or_default();
            *floor = (*floor).max(time_us);
        }
    }

    /// True once `shard` has a floor of its own.
    pub fn knows(&self, shard: &str) -> bool {
        self.shards.contains_key(shard)
    }

    /// Begins `shard` where its parents end, so that the order of a partition key holds through a split or a merge.
    pub fn begin(&mut self, shard: &str, parents: &[String]) {
        let floor = parents.iter().filter_map(|parent| self.shards.get(parent)).copied().max();
        self.resume(shard, floor);
    }

    /// The time of the next event of `shard`, which arrived at `arrived_us`.
    pub fn stamp(&mut self, shard: &str, arrived_us: i64) -> i64 {
        let promised = self.promised;
        let floor = match self.shards.get_mut(shard) {
            Some(floor) => floor,
            None => self.shards.entry(shard.to_owned()).or_default(),
        };
        *floor = (*floor).max(promised).max(arrived_us);
        *floor
    }

    /// What was promised, microseconds since the epoch.
    pub fn promised(&self) -> i64 {
        self.promised
    }

    /// Stamps nothing below `at` (microseconds since the epoch) from now on. Call it once that is written down.
    pub fn promise(&mut self, at: i64) {
        self.promised = self.promised.max(at);
    }
}

/// The time below which every event of a stream is in the buffer or further, microseconds since the epoch, now that
/// its shards are `listing` and stand as `progress` says: never below `promised`. `None` while a shard has not begun
/// that nothing is known of.
///
/// `wall_us` is the time of day and `clock_us` the consumer's clock at one moment. The caller keeps the intake from
/// stamping events between the look at `progress` and the promise of what comes out.
pub fn bound(listing: &[Shard], progress: &[ShardProgress], promised: i64, wall_us: i64, clock_us: i64) -> Option<i64> {
    let of = |id: &str| progress.iter().find(|shard| shard.shard == id);
    let settled = |id: &str| of(id).and_then(|shard| shard.settled_us);
    let mut bound = i64::MAX;
    for shard in listing {
        let is_parent = || listing.iter().any(|child| child.parents.contains(&shard.id));
        let here = match of(&shard.id) {
            // Its children speak for it; as long as none is listed, it does so itself.
            Some(done) if done.done && is_parent() => continue,
            Some(done) if done.done => done.settled_us,
            Some(open) => {
                // Nothing came, and nothing is on its way to the buffer: what comes now arrives later than that.
                let idle = open.caught_up.filter(|_| open.open == 0).map(|at| {
                    let ago = clock_us.saturating_sub(at.as_micros() as i64);
                    wall_us.saturating_sub(ago).saturating_sub(IDLE_MARGIN)
                });
                open.settled_us.max(idle)
            }
            // It begins where its parents end, so it can't hold anything earlier than they settled.
            None => shard.parents.iter().map(|parent| settled(parent)).max().flatten(),
        };
        match here {
            Some(here) => bound = bound.min(here),
            None => return (promised > 0).then_some(promised),
        }
    }
    (bound != i64::MAX).then(|| bound.max(promised)).or_else(|| (promised > 0).then_some(promised))
}

/// The watermark of an event table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Complete up to here: no event before it will come any more. `None` while a stream that is pumped into the table
    /// has published nothing.
    pub at: Option<Timestamp>,
    /// What each stream has published, by its ARN.
    pub sources: Vec<(String, Option<Timestamp>)>,
}

/// Reads the watermark of event table `table`.
///
/// # Errors
/// When the table can't be read.
pub async fn read(client: &aws_sdk_dynamodb::Client, table: &str, layout: Layout) -> Result<Watermark, CloudError> {
    let rows = client
        .query()
        .table_name(table)
        .key_condition_expression("#slot = :slot")
        .expression_attribute_names("#slot", SLOT)
        .expression_attribute_values(":slot", AttributeValue::S(PARTITION.to_owned()))
        .consistent_read(true)
        .send()
        .await
        .map_err(|error| CloudError::of(&format!("read the watermark of {table}"), &error))?;
    let sources: Vec<(String, Option<Timestamp>)> = rows
        .items()
        .iter()
        .map(|row| {
            let source = row.get(layout.sort_key()).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
            (source, time_in(row, WATERMARK))
        })
        .collect();
    // A stream without a word of its own is the earliest of all.
    let at = sources.iter().map(|(_, at)| *at).min().flatten();
    Ok(Watermark { at, sources })
}

fn time_in(row: &HashMap<String, AttributeValue>, name: &str) -> Option<Timestamp> {
    row.get(name)?.as_s().ok()?.parse().ok()
}

/// Where a pump of one stream writes what it promises and publishes.
#[derive(Clone, Debug)]
pub struct Mark {
    client: aws_sdk_dynamodb::Client,
    table: String,
    layout: Layout,
    source: String,
}

impl Mark {
    /// The row of stream `source` (its ARN) in event table `table`.
    pub fn new(
        client: aws_sdk_dynamodb::Client,
        table: impl Into<String>,
        layout: Layout,
        source: impl Into<String>,
    ) -> Self {
        Self { client, table: table.into(), layout, source: source.into() }
    }

    fn key(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (SLOT.to_owned(), AttributeValue::S(PARTITION.to_owned())),
            (self.layout.sort_key().to_owned(), AttributeValue::S(self.source.clone())),
        ])
    }

    /// What was promised and published before.
    ///
    /// # Errors
    /// When the row can't be read.
    pub async fn read(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), CloudError> {
        let read = self.client.get_item().table_name(&self.table).set_key(Some(self.key())).consistent_read(true);
        let row = read
            .send()
            .await
            .map_err(|error| CloudError::of(&format!("read the watermark of {}", self.table), &error))?
            .item
            .unwrap_or_default();
        Ok((time_in(&row, PROMISED), time_in(&row, WATERMARK)))
    }

    /// Writes down that nothing will be stamped below `at` any more.
    ///
    /// # Errors
    /// When that is not certain to be written: nothing may be built on it then.
    pub async fn promise(&self, at: Timestamp) -> Result<(), CloudError> {
        self.raise(PROMISED, at).await
    }

    /// Publishes that all before `at` is in the event table. It never goes back.
    ///
    /// # Errors
    /// When it could not be written; it is written with the next one then.
    pub async fn publish(&self, at: Timestamp) -> Result<(), CloudError> {
        self.raise(WATERMARK, at).await
    }

    async fn raise(&self, name: &str, at: Timestamp) -> Result<(), CloudError> {
        let raised = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.key()))
            .update_expression("SET #name = :at")
            // Times of the years 1970 to 9999 in one form: as text they sort as times.
            .condition_expression("attribute_not_exists(#name) OR #name < :at")
            .expression_attribute_names("#name", name)
            .expression_attribute_values(":at", AttributeValue::S(format!("{at:.6}")))
            .send()
            .await
            .map_err(|error| CloudError::of(&format!("write the watermark of {}", self.table), &error));
        match raised {
            // It is as high already.
            Err(error) if error.class == Class::Condition => Ok(()),
            other => other.map(drop),
        }
    }
}

#[cfg(test)]
#[path = "watermark_tests.rs"]
mod tests;
