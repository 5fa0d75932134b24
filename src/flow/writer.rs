//! Puts checked items into one table: lanes that keep the order of each key, batches of spliced bodies, and exactly
//! what came back unprocessed sent again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::backoff::Backoff;
use super::batch::{BODY, REQUESTS, Request, batch_body, delete_body, put_body};
use super::clock::Clock;
use super::counters::{Counters, Outcome};
use super::ledger::Receipt;
use super::limit::Limit;
use super::pacer::Pacer;
use super::patience::Patience;
use super::table::{BatchReply, Consumed, TablePut};
use super::waiting::{Waiting, Write, WriteKind};
use crate::cloud::{Class, CloudError};
use crate::item::{Checked, Key};

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
            seed: 0,
        }
    }
}

/// Items that wait in a lane's own queue, and as many again in its inbox.
const QUEUE: usize = 64;
/// Waits after a refusal: short, since the pacer does the pacing.
const BASE: Duration = Duration::from_millis(25);
const CAP: Duration = Duration::from_secs(5);

/// Puts items into one table. Dropped, it sends nothing more; what was not settled stays open in its ledger.
#[derive(Debug)]
pub struct Writer {
    inboxes: Vec<mpsc::Sender<Write>>,
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    options: WriterOptions,
    put: Put,
    pacer: Arc<Pacer>,
    clock: Arc<dyn Clock>,
    patience: Patience,
    memory: Arc<Semaphore>,
    effort: Mutex<Counters>,
    failure: watch::Sender<Option<CloudError>>,
    /// When the source last found no room, microseconds of the clock: then the lanes are what is slow.
    full_at: AtomicU64,
}

struct Put(Arc<dyn TablePut>);

impl std::fmt::Debug for Put {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Put")
    }
}

impl Writer {
    /// Starts the lanes; needs a tokio runtime.
    pub fn start(options: WriterOptions, put: Arc<dyn TablePut>, pacer: Arc<Pacer>, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared {
            put: Put(put),
            pacer,
            clock,
            patience: Patience::default(),
            memory: Arc::new(Semaphore::new(options.memory.max(1))),
            effort: Mutex::default(),
            failure: watch::Sender::new(None),
            full_at: AtomicU64::new(u64::MAX),
            options,
        });
        let mut lanes = JoinSet::new();
        let inboxes = (0..shared.options.lanes.max(1))
            .map(|n| {
                let (inbox, waiting) = mpsc::channel(QUEUE);
                lanes.spawn(lane(Arc::clone(&shared), waiting, n as u64));
                inbox
            })
            .collect();
        Self { inboxes, shared, lanes }
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

    async fn write(&self, key: Key, kind: WriteKind, wcu: f64, receipt: Receipt) -> Result<(), CloudError> {
        let size = kind.len().clamp(1, self.shared.options.memory);
        let memory = match Arc::clone(&self.shared.memory).try_acquire_many_owned(size as u32) {
            Ok(memory) => memory,
            Err(_) => self.room(size).await?,
        };
        let lane = (key.hash % self.inboxes.len() as u128) as usize;
        let write = Write::new(key, kind, wcu, receipt, Some(memory));
        match self.inboxes[lane].try_send(write) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(write)) => {
                self.shared.full_at.store(self.shared.clock.now().as_micros() as u64, Ordering::Relaxed);
                self.inboxes[lane].send(write).await.map_err(|_| self.shared.failed())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.shared.failed()),
        }
    }

    async fn room(&self, size: usize) -> Result<OwnedSemaphorePermit, CloudError> {
        self.shared.full_at.store(self.shared.clock.now().as_micros() as u64, Ordering::Relaxed);
        let memory = Arc::clone(&self.shared.memory);
        memory.acquire_many_owned(size as u32).await.map_err(|_| self.shared.failed())
    }

    /// What it took so far: `retried`, `throttled` and `wcu`; the rest is the ledger's to count.
    pub fn effort(&self) -> Counters {
        *self.shared.effort()
    }

    /// The pacer that it writes by.
    pub fn pacer(&self) -> &Arc<Pacer> {
        &self.shared.pacer
    }

    /// What binds now.
    pub fn limit(&self) -> Limit {
        match self.shared.pacer.limit() {
            Limit::Source if self.was_full() => Limit::Service,
            limit => limit,
        }
    }

    fn was_full(&self) -> bool {
        let full_at = Duration::from_micros(self.shared.full_at.load(Ordering::Relaxed));
        self.shared.clock.now().checked_sub(full_at).is_some_and(|ago| ago < Duration::from_secs(1))
    }

    /// Ends when the writer fails, with the reason.
    pub async fn failed(&self) -> CloudError {
        let mut failure = self.shared.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or_else(stopped),
            Err(_) => stopped(),
        }
    }

    /// Writes what it was given, and ends.
    ///
    /// # Errors
    /// What made it fail.
    pub async fn finish(mut self) -> Result<(), CloudError> {
        self.inboxes.clear();
        while self.lanes.join_next().await.is_some() {}
        let failure = self.shared.failure.borrow().clone();
        failure.map_or(Ok(()), Err)
    }
}

fn stopped() -> CloudError {
    CloudError::new(Class::Unknown, "the writer was stopped", "")
}

impl Shared {
    fn effort(&self) -> std::sync::MutexGuard<'_, Counters> {
        self.effort.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> CloudError {
        self.failure.borrow().clone().unwrap_or_else(stopped)
    }

    /// Ends the writer with `error`: lanes stop, and whoever waits for room is told.
    fn fail(&self, error: CloudError) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(error);
            }
            first
        });
        self.memory.close();
    }

    fn is_alone(&self, write: &Write) -> bool {
        write.alone || self.options.if_not_exists || matches!(write.kind, WriteKind::Request { .. })
    }

    /// The next writes to send together, in order.
    fn next(&self, waiting: &mut Waiting) -> Vec<Write> {
        let most_wcu = self.pacer.batch_wcu();
        let (mut bytes, mut wcu) = (0, 0.0);
        let mut batch: Vec<Write> = Vec::with_capacity(REQUESTS);
        while let Some(next) = waiting.front() {
            bytes += next.kind.len() + 32;
            wcu += next.wcu;
            let fits = batch.len() < REQUESTS && bytes <= BODY && wcu <= most_wcu && !self.is_alone(next);
            if !batch.is_empty() && !fits {
                break;
            }
            let alone = self.is_alone(next);
            batch.extend(waiting.pop_front());
            if alone {
                break;
            }
        }
        batch
    }

    async fn send(&self, batch: &[Write]) -> Result<BatchReply, CloudError> {
        let table = &self.options.table;
        if let [write] = batch
            && self.is_alone(write)
        {
            let absent = self.options.if_not_exists.then_some(self.options.partition_key.as_str());
            let consumed: Option<Consumed> = match &write.kind {
                WriteKind::Put(item) => self.put.0.put(put_body(table, item, absent)).await?,
                WriteKind::Delete(key) => self.put.0.delete(delete_body(table, key)).await?,
                WriteKind::Request { request, .. } => self.put.0.put(request.clone()).await?,
            };
            return Ok(BatchReply { unprocessed: Vec::new(), consumed });
        }
        let requests = batch.iter().map(|write| match &write.kind {
            WriteKind::Put(item) | WriteKind::Request { item, .. } => Request::Put(item),
            WriteKind::Delete(key) => Request::Delete(key),
        });
        self.put.0.batch(batch_body(table, requests)).await
    }
}

/// What a lane does after a batch.
enum After {
    /// Goes on.
    Next,
    /// Waits a moment first.
    BackOff,
    /// Ends: the writer failed.
    End,
}

async fn lane(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Write>, n: u64) {
    let mut waiting = Waiting::new(!shared.options.if_not_exists);
    let mut backoff = Backoff::new(BASE, CAP, shared.options.seed ^ n);
    loop {
        if waiting.is_empty() {
            let Some(write) = inbox.recv().await else { return };
            waiting.push(write);
        }
        while waiting.len() < QUEUE
            && let Ok(write) = inbox.try_recv()
        {
            waiting.push(write);
        }
        let batch = shared.next(&mut waiting);
        shared.pacer.acquire(batch.iter().map(|write| write.wcu).sum(), batch.len()).await;
        if shared.failure.borrow().is_some() {
            return;
        }
        let sent = shared.clock.now();
        let reply = shared.send(&batch).await;
        match shared.settle(sent, batch, reply, &mut waiting) {
            After::Next => backoff.reset(),
            After::BackOff => shared.clock.sleep(backoff.wait()).await,
            After::End => return,
        }
    }
}

impl Shared {
    /// Settles what `reply` says of `batch`, and puts the rest back in front.
    fn settle(
        &self,
        sent: Duration,
        batch: Vec<Write>,
        reply: Result<BatchReply, CloudError>,
        waiting: &mut Waiting,
    ) -> After {
        let error = match reply {
            Ok(reply) => return self.settle_reply(batch, &reply, waiting),
            Err(error) => error,
        };
        match error.class {
            Class::Throttled => {
                self.patience.answered();
                self.refused(batch.len());
                self.pacer.reply(batch.len(), batch.len(), 0.0, None);
                waiting.put_back(batch);
                After::BackOff
            }
            Class::Transient | Class::Unknown | Class::InUse => {
                if self.patience.is_over(sent, self.clock.now()) {
                    self.fail(error);
                    return After::End;
                }
                self.effort().retried += batch.len() as u64;
                waiting.put_back(batch);
                After::BackOff
            }
            Class::Invalid if batch.len() > 1 => {
                // One of them is bad, and the service does not say which: each goes alone.
                self.patience.answered();
                self.effort().retried += batch.len() as u64;
                waiting.put_back(
                    batch
                        .into_iter()
                        .map(|mut write| {
                            write.alone = true;
                            write
                        })
                        .collect(),
                );
                After::Next
            }
            Class::Invalid => {
                self.patience.answered();
                for write in batch {
                    // What it would have replaced is the last good version.
                    waiting.put_back(write.refused(said(&error)).into_iter().collect());
                }
                After::Next
            }
            Class::Condition | Class::DryRun => {
                for write in batch {
                    write.done(&Outcome::Skipped);
                }
                After::Next
            }
            Class::Auth | Class::NotFound | Class::ReadOnly => {
                self.fail(error);
                After::End
            }
        }
    }

    fn settle_reply(&self, batch: Vec<Write>, reply: &BatchReply, waiting: &mut Waiting) -> After {
        self.patience.answered();
        let total = batch.len();
        let mut unprocessed: HashSet<u128> = reply.unprocessed.iter().map(|key| key.hash).collect();
        let sent: HashSet<u128> =
            if unprocessed.is_empty() { HashSet::new() } else { batch.iter().map(|write| write.key.hash).collect() };
        if !unprocessed.is_subset(&sent) {
            // A key that we did not send: the reply can't be read, and putting all of it again does no harm.
            unprocessed = sent;
        }
        let (again, done): (Vec<Write>, Vec<Write>) =
            batch.into_iter().partition(|write| unprocessed.contains(&write.key.hash));
        let wcu = done.iter().map(|write| write.wcu).sum();
        self.pacer.reply(total, again.len(), wcu, reply.consumed.as_ref());
        if let Some(consumed) = &reply.consumed {
            self.effort().wcu += consumed.total();
        }
        for write in done {
            let outcome = if matches!(write.kind, WriteKind::Delete(_)) { Outcome::Deleted } else { Outcome::Written };
            write.done(&outcome);
        }
        if again.is_empty() {
            return After::Next;
        }
        self.refused(again.len());
        waiting.put_back(again);
        After::BackOff
    }

    fn refused(&self, writes: usize) {
        let mut effort = self.effort();
        effort.throttled += writes as u64;
        effort.retried += writes as u64;
    }
}

/// The service's own words, for a dead letter.
pub(super) fn said(error: &CloudError) -> String {
    if error.hint.is_empty() { error.what.clone() } else { error.hint.clone() }
}
