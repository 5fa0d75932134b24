//! Kinesis: streams and shards are ferrokinesis', records are kept here.
//!
//! ferrokinesis' own records would have whole-second arrival times, be always at the tip and, with two producers on a
//! shard, let a reader pass a record that is numbered but not stored yet. Patching replies does not help against the
//! last, and [`log`] is shorter than patches for the others would be.

mod budget;
mod control;
mod get;
mod log;
mod put;
mod subscribe;
#[cfg(test)]
mod tests;
mod topology;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Router;
use bytes::Bytes;
use ferrokinesis::store::{Store, StoreOptions};
use ferrokinesis::types::{Stream, StreamStatus};
use http::{HeaderMap, Response};

use self::log::Log;
use self::subscribe::Subscriptions;
use self::wire::{Refusal, Wire};
use super::Body;
use super::faults::Faults;
use super::metrics::Metrics;

/// Shards of all streams together: AWS's default quota in its large regions.
const SHARD_LIMIT: u32 = 20_000;
/// `UpdateShardCount` of one stream in any 24 hours.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>
const CHANGES: usize = 10;
/// The span that they are counted over, ms.
const CHANGES_MS: u64 = 24 * 3_600_000;
const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// A stream's name and when it was made (s since epoch): another stream of the same name has other records.
type Incarnation = (String, u64);

/// Kinesis in memory.
#[derive(Clone)]
pub struct Kinesis {
    limits: bool,
    metrics: Arc<Metrics>,
    faults: Arc<Faults>,
    store: Store,
    router: Router,
    logs: Arc<Mutex<HashMap<Incarnation, Arc<Mutex<Log>>>>>,
    /// When the shards of each stream were changed in the last 24 hours, ms since epoch.
    changes: Arc<Mutex<HashMap<Incarnation, Vec<u64>>>>,
    subscriptions: Arc<Mutex<Subscriptions>>,
}

impl std::fmt::Debug for Kinesis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kinesis").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Kinesis {
    /// An account without streams. Without `limits` a shard takes and gives what it can; sizes are checked either way.
    pub fn new(limits: bool, metrics: Arc<Metrics>, faults: Arc<Faults>) -> Self {
        let options = StoreOptions { shard_limit: SHARD_LIMIT, ..StoreOptions::default() };
        let store = Store::new(options);
        let router = ferrokinesis::create_router(store.clone());
        Self {
            limits,
            metrics,
            faults,
            store,
            router,
            logs: Arc::default(),
            changes: Arc::default(),
            subscriptions: Arc::default(),
        }
    }

    /// Answers one operation.
    pub async fn handle(&self, operation: &str, headers: &HeaderMap, body: Bytes) -> Response<Body> {
        let wire = Wire::of(headers);
        let done = match operation {
            "PutRecords" => self.put_records(wire, &body).await,
            "PutRecord" => self.put_record(wire, &body).await,
            "GetRecords" => self.get_records(wire, &body).await,
            "GetShardIterator" => self.get_shard_iterator(wire, &body).await,
            "SubscribeToShard" => self.subscribe_to_shard(wire, &body).await,
            _ => self.control(wire, operation, &body).await,
        };
        done.unwrap_or_else(|refusal| wire.refuse(&refusal))
    }

    /// The stream, when it can take and give records.
    async fn stream(&self, name: &str) -> Result<Stream, Refusal> {
        let stream = self.store.get_stream(name).await?;
        match stream.stream_status {
            StreamStatus::Active | StreamStatus::Updating => Ok(stream),
            StreamStatus::Creating | StreamStatus::Deleting => Err(self.no_such_stream(name)),
        }
    }

    fn no_such_stream(&self, name: &str) -> Refusal {
        let account = &self.store.aws_account_id;
        Refusal::new("ResourceNotFoundException", format!("Stream {name} under account {account} not found."))
    }

    fn log(&self, stream: &Stream) -> Arc<Mutex<Log>> {
        Arc::clone(locked(&self.logs).entry((stream.stream_name.clone(), made(stream))).or_default())
    }

    /// Counts a change of a stream's shards, unless there were too many in the last 24 hours.
    fn count_change(&self, stream: &Stream, now_ms: u64) -> Result<(), Refusal> {
        let mut changes = locked(&self.changes);
        let changes = changes.entry((stream.stream_name.clone(), made(stream))).or_default();
        changes.retain(|at| now_ms < at + CHANGES_MS);
        if changes.len() >= CHANGES {
            let (name, account) = (&stream.stream_name, &self.store.aws_account_id);
            let message = format!(
                "UpdateShardCount was called {CHANGES} times in 24 hours for stream {name} under account {account}."
            );
            return Err(Refusal::new("LimitExceededException", message));
        }
        changes.push(now_ms);
        Ok(())
    }

    /// What a refusal says when `shard_id` took or gave all it can in this second.
    fn rate_exceeded(&self, stream: &str, shard_id: &str) -> String {
        let account = &self.store.aws_account_id;
        format!("Rate exceeded for shard {shard_id} in stream {stream} under account {account}.")
    }

    /// A whole call throttled on demand.
    fn throttled_call(&self, stream: &str, metric: &'static str, count: usize) -> Refusal {
        self.measure(stream, metric, count as f64);
        let account = &self.store.aws_account_id;
        Refusal::new(THROTTLED, format!("Rate exceeded for stream {stream} under account {account}."))
    }

    fn measure(&self, stream: &str, metric: &'static str, value: f64) {
        self.metrics.record("AWS/Kinesis", metric, &[("StreamName", stream)], now_ms() as i64, value);
    }
}

/// When the oldest record that `stream` still keeps arrived, ms since epoch.
fn kept_since_ms(stream: &Stream, now_ms: u64) -> u64 {
    now_ms.saturating_sub(u64::from(stream.retention_period_hours) * 3_600_000)
}

/// When `stream` was made, s since epoch.
fn made(stream: &Stream) -> u64 {
    stream.stream_creation_timestamp.0 as u64
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, ms since epoch.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
