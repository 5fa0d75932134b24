//! Puts checked items into one table: lanes that keep the order of each key, batches of spliced bodies, and exactly
//! what came back unprocessed sent again.

mod batch;
mod lane;
mod parked;
mod queues;
mod settle;
mod waiting;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::clock::Clock;
use super::counters::{Counters, Outcome};
use super::lanes::{Health, INBOX, Lanes};
use super::ledger::Receipt;
use super::limit::Limit;
use super::pacer::Pacer;
use super::patience::Patience;
use super::stopwatch::LaneTimes;
use super::table::TablePut;
use crate::cloud::CloudError;
use crate::item::{Checked, Key};
use lane::lane;
pub(super) use settle::said;
use waiting::{Write, WriteKind};

/// How a writer puts.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The table.
    pub table: String,
    /// Name of its partition key, for the condition of `if_not_exists`.
    pub partition_key: String,
    /// Lanes: one request is in flight for each, and all versions of a key go through one.
    pub lanes: usize,
    /// Leaves items alone that exist already: each is one `PutItem` with a condition, and counts as skipped.
    pub if_not_exists: bool,
    /// Items held for all lanes together, bytes: backpressure sets in above.
    pub memory: usize,
    /// Writes that may wait for each lane, beside those that it holds: with `memory`, how much of a table that is slow may
    /// wait before its source does.
    pub queue: usize,
    /// When its table is gone, its records become dead letters instead of the end of all: there are other tables.
    pub outlives_table: bool,
    /// Its dead letters are whole requests that name the table.
    pub letters_name_table: bool,
    /// Seeds the jitter of the backoffs.
    pub seed: u64,
}

impl WriterOptions {
    /// The usual writer of `table`, whose partition key is named `partition_key`.
    pub fn new(table: impl Into<String>, partition_key: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            partition_key: partition_key.into(),
            lanes: 16,
            if_not_exists: false,
            memory: 32 << 20,
            queue: INBOX,
            outlives_table: false,
            letters_name_table: false,
            seed: 0,
        }
    }
}

/// How long a table that is gone is waited for: one that is made anew is there by then.
const GONE: Duration = Duration::from_secs(15);

/// Puts items into one table. Dropped, it sends nothing more; what was not settled stays open in its ledger.
#[derive(Debug)]
pub struct Writer {
    lanes: Lanes<Write>,
    shared: Arc<Shared>,
}

struct Shared {
    options: WriterOptions,
    put: Arc<dyn TablePut>,
    pacer: Arc<Pacer>,
    health: Arc<Health>,
    /// How long the table has been gone.
    gone: Patience,
    /// What became of the records, for display: the ledgers count what is certain.
    outcomes: Mutex<Counters>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the lanes; needs a tokio runtime.
    pub fn start(options: WriterOptions, put: Arc<dyn TablePut>, pacer: Arc<Pacer>, clock: Arc<dyn Clock>) -> Self {
        let health = Arc::new(Health::new(clock, options.memory));
        let shared = Arc::new(Shared {
            options,
            put,
            pacer,
            health: Arc::clone(&health),
            gone: Patience::new(GONE, GONE),
            outcomes: Mutex::default(),
        });
        let lanes = Lanes::start(shared.options.lanes, shared.options.queue, health, |n, inbox| {
            lane(Arc::clone(&shared), inbox, n)
        });
        Self { lanes, shared }
    }

    /// Puts `item`, after all earlier writes of its key; waits while there is no room.
    ///
    /// # Errors
    /// What made the writer fail. The job stops, and can go on later from its checkpoint.
    pub async fn put(&self, item: Checked, receipt: Receipt) -> Result<(), CloudError> {
        let wcu = f64::from(item.wcu());
        self.write(item.key, WriteKind::Put(item.json), wcu, receipt).await
    }

    /// Deletes the item of `key`, after all earlier writes of it.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub async fn delete(&self, key: Key, receipt: Receipt) -> Result<(), CloudError> {
        let json = key.json.clone();
        self.write(key, WriteKind::Delete(json), 1.0, receipt).await
    }

    /// Sends `request`, a whole `PutItem` for `item` with parameters of its own. A failed condition counts as skipped.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub async fn request(&self, item: Checked, request: Bytes, receipt: Receipt) -> Result<(), CloudError> {
        let wcu = f64::from(item.wcu());
        self.write(item.key, WriteKind::Request { request, item: item.json }, wcu, receipt).await
    }

    /// Sends `request`, a whole `DeleteItem` of `key` with a condition. One that does not hold counts as skipped.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub async fn delete_if(&self, key: Key, request: Bytes, receipt: Receipt) -> Result<(), CloudError> {
        self.write(key, WriteKind::Conditional { request, updates: false }, 1.0, receipt).await
    }

    /// Sends `request`, a whole `UpdateItem` of `key` that takes about `wcu`. It counts as skipped whether its condition
    /// holds or not: the item is none that was brought.
    ///
    /// # Errors
    /// As [`Writer::put`].
    pub async fn update(&self, key: Key, request: Bytes, wcu: f64, receipt: Receipt) -> Result<(), CloudError> {
        self.write(key, WriteKind::Conditional { request, updates: true }, wcu, receipt).await
    }

    async fn write(&self, key: Key, kind: WriteKind, wcu: f64, receipt: Receipt) -> Result<(), CloudError> {
        let memory = self.shared.health.room(kind.len()).await?;
        let lane = (key.hash % self.lanes.count() as u128) as usize;
        self.lanes.give(lane, Write::new(key, kind, wcu, receipt, Some(memory))).await
    }

    /// What it took so far: `retried`, `throttled` and `wcu`; the rest is the ledger's to count.
    pub fn effort(&self) -> Counters {
        *self.shared.health.effort()
    }

    /// What became of the records that it was given: ahead of what is certain, and with what is done again after a crash.
    pub fn outcomes(&self) -> Counters {
        *self.shared.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its lanes did with their time.
    pub fn times(&self) -> LaneTimes {
        self.shared.health.watch.times(self.lanes.count())
    }

    /// The pacer that it writes by.
    pub fn pacer(&self) -> &Arc<Pacer> {
        &self.shared.pacer
    }

    /// What binds now.
    pub fn limit(&self) -> Limit {
        match self.shared.pacer.limit() {
            Limit::Source if self.shared.health.was_full() => Limit::Service,
            limit => limit,
        }
    }

    /// Ends when the writer fails, with the reason.
    pub async fn failed(&self) -> CloudError {
        self.shared.health.failed().await
    }

    /// The same, for a task of its own that does not keep the writer alive.
    pub(super) fn failure(&self) -> impl Future<Output = CloudError> + Send + 'static + use<> {
        let health = Arc::clone(&self.shared.health);
        async move { health.failed().await }
    }

    /// Writes what it was given, and ends.
    ///
    /// # Errors
    /// What made it fail.
    pub async fn finish(self) -> Result<(), CloudError> {
        self.lanes.finish().await
    }
}

impl Shared {
    /// Settles `write`.
    fn done(&self, write: Write, outcome: &Outcome) {
        let mut counters = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.count(0, &mut counters);
        for _ in 0..write.replaces() {
            outcome.of_replaced().count(0, &mut counters);
        }
        drop(counters);
        write.done(outcome);
    }

    /// Settles `write` as refused for good, and gives what is to be written in its place.
    fn refused(&self, write: Write, reason: String) -> Vec<Write> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).dead += 1;
        let table = self.options.letters_name_table.then_some(self.options.table.as_str());
        write.refused(reason, table).into_iter().collect()
    }
}
