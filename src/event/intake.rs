//! The way in: records of a stream as rows of the buffer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{RwLock, RwLockWriteGuard};

use super::directory::answered;
use super::record::{Event, EventId, Layout};
use super::row;
use super::slot::SlotLength;
use super::watermark::Floors;
use crate::cloud::{Class, CloudError};
use crate::flow::{Arrival, Clock, Intake, Ledger, RecordAt, StreamSource, Writer};
use crate::item::{Checked, Checker, Refusal};

/// Above this many bytes it is looked at whether an event's row fits into the event table as well: there it takes some
/// hundred bytes more than in the buffer.
const LOOK_ABOVE: usize = 300_000;

/// The row of `event` in the buffer, checked against the limits of both tables.
///
/// # Errors
/// It can't be stored: an item takes at most 409,600 bytes, a record of Kinesis may have 10 MiB.
pub fn checked_buffer_row(checker: &Checker, source: &str, event: &Event, layout: Layout) -> Result<Checked, Refusal> {
    if event.payload.len() > LOOK_ABOVE {
        let (_, row) = row::event_row(event, layout, SlotLength::default());
        Checker::new(layout.key()).check(row)?;
    }
    checker.check(row::buffer_row(source, event))
}

/// Puts the records of one stream into the buffer.
pub struct BufferIntake {
    source: String,
    layout: Layout,
    writer: Arc<Writer>,
    checker: Checker,
    stream: Arc<dyn StreamSource>,
    clock: Arc<dyn Clock>,
    floors: Mutex<Floors>,
    /// Held while a record is stamped and opened; held whole, nothing is stamped.
    gate: RwLock<()>,
    /// A promise is on its way: until it is known to be written down, nothing is stamped.
    promising: AtomicBool,
}

impl std::fmt::Debug for BufferIntake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferIntake").field("source", &self.source).finish_non_exhaustive()
    }
}

impl BufferIntake {
    /// Puts the records of `stream`, whose ARN is `source`, by `writer`, none below its shard's floor.
    pub fn new(
        source: impl Into<String>,
        layout: Layout,
        stream: Arc<dyn StreamSource>,
        writer: Arc<Writer>,
        floors: Floors,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source: source.into(),
            layout,
            writer,
            checker: Checker::new(row::buffer_key_schema()),
            stream,
            clock,
            floors: Mutex::new(floors),
            gate: RwLock::default(),
            promising: AtomicBool::new(false),
        }
    }

    /// Stamps nothing while this is held.
    pub async fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// A promise is about to be written down. Should that never come to an end, nothing is stamped any more: what was
    /// promised would not hold for it, here or in the next process.
    pub fn promising(&self) {
        self.promising.store(true, Ordering::Release);
    }

    /// `at` (microseconds since the epoch) is promised: nothing is stamped below it.
    pub fn promised(&self, at: i64) {
        self.floors().promise(at);
        self.promising.store(false, Ordering::Release);
    }

    /// The floors of its shards.
    pub fn floors(&self) -> MutexGuard<'_, Floors> {
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a shard that was not met before where its parents end.
    async fn begin(&self, shard: &str) -> Result<(), CloudError> {
        if !self.floors().knows(shard) {
            let listing = answered(self.clock.as_ref(), || self.stream.shards()).await?;
            let parents = listing.into_iter().find(|listed| listed.id == shard).map(|listed| listed.parents);
            self.floors().begin(shard, &parents.unwrap_or_default());
        }
        Ok(())
    }
}

impl Intake for BufferIntake {
    fn take<'a>(
        &'a self,
        ledger: &'a Arc<Ledger<RecordAt>>,
        arrival: Arrival,
    ) -> BoxFuture<'a, Result<(), CloudError>> {
        async move {
            let Arrival { mut at, sub, partition_key, data, arrived_us } = arrival;
            let receipt = {
                let _stamping = self.gate.read().await;
                if self.promising.load(Ordering::Acquire) {
                    // Whoever promised is gone, and the pump is ending.
                    return std::future::pending().await;
                }
                self.begin(&at.shard).await?;
                let time_us = self.floors().stamp(&at.shard, arrived_us);
                at.time_us = Some(time_us);
                let closed = |_| CloudError::new(Class::Unknown, "the pump was stopped", "");
                ledger.open(at.clone()).await.map_err(closed)?
            };
            let Ok(time) = Timestamp::from_microsecond(at.time_us.unwrap_or(arrived_us)) else {
                receipt.dead(format!("it arrived {arrived_us} µs after 1970, which is no time"), data);
                return Ok(());
            };
            let id = EventId { shard: at.shard.to_string(), sequence: at.sequence, sub };
            let event = Event { time, id, partition_key, payload: data };
            match checked_buffer_row(&self.checker, &self.source, &event, self.layout) {
                Ok(row) => self.writer.put(row, receipt).await,
                Err(refusal) => {
                    receipt.dead(refusal.to_string(), event.payload);
                    Ok(())
                }
            }
        }
        .boxed()
    }
}
