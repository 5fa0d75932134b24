//! What all shards of a consumer share, and how far each of them is.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::poll::Polling;
use super::sink::{Intake, RecordAt, Sink, Tables};
use crate::cloud::{Class, CloudError};
use crate::flow::lanes::Health;
use crate::flow::ledger::Ledger;
use crate::flow::room::Room;
use crate::flow::stream::{SequenceNumber, ShardPages, StartAt, StreamSource};

/// What all shards of a consumer share.
pub(super) struct Course {
    pub stream: Arc<str>,
    pub job: Option<String>,
    pub source: Arc<dyn StreamSource>,
    pub tables: Arc<dyn Tables>,
    /// What takes the records instead of `tables`.
    pub intake: Option<Arc<dyn Intake>>,
    pub health: Arc<Health>,
    /// Sinks already looked up, for all shards.
    pub sinks: tokio::sync::Mutex<HashMap<String, Sink>>,
    /// Tables that were not there, and when: asked for again after a while.
    pub missing: Mutex<HashMap<String, (Duration, String)>>,
    /// What pages on their way may take of memory.
    pub room: Room,
    /// What a person must be told.
    pub notes: Mutex<Vec<String>>,
    /// Wait for the writers of `sinks` to fail.
    pub watches: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course").field("stream", &self.stream).field("job", &self.job).finish_non_exhaustive()
    }
}

/// How far a shard is.
#[derive(Debug)]
pub(super) struct ShardState {
    pub id: Arc<str>,
    pub ledger: Arc<Ledger<RecordAt>>,
    pub lag_ms: AtomicU64,
    /// About how many records are still to be read; `u64::MAX` when that is not known.
    pub behind_records: AtomicU64,
    pub records: AtomicU64,
    pub foreign: AtomicU64,
    /// Records that an aggregated one held and whose hash keys belong to other shards.
    pub outside: AtomicU64,
    /// First and last hash key that the shard takes, once it was listed.
    pub hash_keys: OnceLock<(u128, u128)>,
    /// Of the aggregated record that the last run was in the middle of: the last one in it that was settled.
    pub resumed: Option<(SequenceNumber, u64)>,
    /// One past the moment at which the last page was asked for that was empty and without lag, microseconds of the
    /// clock; 0 when there was none yet.
    pub caught_up_at: AtomicU64,
    pub done: AtomicBool,
    /// Whether `done` was told to the host.
    pub done_told: AtomicBool,
}

impl ShardState {
    /// About how many records are still to be read.
    pub fn behind_records(&self) -> Option<u64> {
        Some(self.behind_records.load(Ordering::Relaxed)).filter(|records| *records != u64::MAX)
    }
}

/// How long a missing table is not asked for again.
const MISSING: Duration = Duration::from_secs(10);

impl Course {
    /// The sink of `table`: `Ok(Err(reason))` when there is no such table.
    pub async fn sink(&self, table: &str) -> Result<Result<Sink, String>, CloudError> {
        let now = self.health.clock.now();
        let missing = |missing: &HashMap<String, (Duration, String)>| {
            missing.get(table).filter(|(at, _)| now.saturating_sub(*at) < MISSING).map(|(_, reason)| reason.clone())
        };
        if let Some(reason) = missing(&self.missing.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Err(reason));
        }
        let mut sinks = self.sinks.lock().await;
        if let Some(sink) = sinks.get(table) {
            return Ok(Ok(sink.clone()));
        }
        match self.tables.sink(table).await {
            Ok(sink) => {
                // A failed writer settles nothing more, so everyone who waits for it must be told.
                let (health, failure) = (Arc::clone(&self.health), sink.writer.failure());
                let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
                watches.spawn(async move { health.fail(failure.await) });
                sinks.insert(table.to_owned(), sink.clone());
                Ok(Ok(sink))
            }
            Err(error) if error.class == Class::NotFound => {
                let reason = format!("there is no table {table}");
                let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
                missing.insert(table.to_owned(), (now, reason.clone()));
                Ok(Err(reason))
            }
            Err(error) => Err(error),
        }
    }

    /// The pages of `shard` from `start` on.
    pub fn pages(&self, shard: &Arc<str>, start: StartAt, seed: u64) -> Box<dyn ShardPages> {
        let clock = &self.health.clock;
        self.source.subscribe(shard, &start, clock, seed).unwrap_or_else(|| {
            let (source, clock) = (Arc::clone(&self.source), Arc::clone(clock));
            Box::new(Polling::new(source, clock, self.room.clone(), Arc::clone(shard), start, seed))
        })
    }

    /// The stream, or the consumer that it was read by, went away meanwhile.
    pub fn gone(&self, error: &CloudError) -> CloudError {
        CloudError::new(
            Class::NotFound,
            format!("stream {} can't be read any more: {}", self.stream, error.what),
            "it was deleted meanwhile, or the consumer of --fan-out was deregistered. What was written is kept and \
             counted; what was not read is lost with a deleted stream",
        )
    }
}
