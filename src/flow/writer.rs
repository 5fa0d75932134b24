//! Puts checked items into one table: lanes that keep the order of each key, batches of spliced bodies, and exactly
//! what came back unprocessed sent again.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::batch::{BODY, REQUESTS, Request, batch_body, delete_body, put_body};
use super::clock::Clock;
use super::counters::{Counters, Outcome};
use super::hot::{Answer, Cause};
use super::lanes::{Health, INBOX, Lanes};
use super::leases::Fence;
use super::ledger::Receipt;
use super::limit::Limit;
use super::pacer::Pacer;
use super::parked::Parked;
use super::patience::Patience;
use super::stopwatch::LaneTimes;
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

/// Waits after a refusal: short, since the pacer does the pacing.
const BASE: Duration = Duration::from_millis(25);
const CAP: Duration = Duration::from_secs(5);

/// Neighbours of a hot key that its full partition refused are tried again together, so long after the first of them:
/// tried at once, they would be refused again and again.
const NEIGHBOURS: Duration = Duration::from_millis(100);

/// How long a table that is gone is waited for: one that is made anew is there by then.
const GONE: Duration = Duration::from_secs(15);

/// So often may a batch fail in a row before its writes go alone, to find the one that is to blame.
const TOGETHER: u32 = 3;

/// So often may a write fail on its own while others get through before it is a dead letter: about half a minute, which
/// a fault of one partition may last, and as many tries as the original put function made.
const TRIES: u32 = 20;

/// How long a lane waits at most for the turn of a hot key's write before it looks again.
const LOOK: Duration = Duration::from_millis(100);

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

    /// Leaves out of `batch` what is no longer ours to write.
    fn still_ours(batch: Vec<Write>, queues: &mut Queues) -> Vec<Write> {
        if batch.iter().all(Write::is_ours) {
            return batch;
        }
        let (ours, lost): (Vec<Write>, Vec<Write>) = batch.into_iter().partition(Write::is_ours);
        queues.put_back(lost.into_iter().filter_map(Write::still_ours).collect());
        ours
    }

    /// Sends `batch`; `None` when it was broken off because a record in it is no longer ours to write.
    async fn send_while_ours(&self, batch: &[Write]) -> Option<Result<BatchReply, CloudError>> {
        let fences: Vec<&Fence> = batch.iter().filter_map(Write::fence).collect();
        if fences.is_empty() {
            return Some(self.send(batch).await);
        }
        let lapsed = async {
            while let Some(left) = fences.iter().map(|fence| fence.left()).min().flatten() {
                self.health.clock.sleep(left).await;
            }
        };
        tokio::select! {
            reply = self.send(batch) => Some(reply),
            () = lapsed => None,
        }
    }

    fn is_alone(&self, write: &Write) -> bool {
        write.alone || self.options.if_not_exists || !write.is_plain()
    }

    /// The next writes to send together, in order; none when only writes of hot keys wait, with how long they must.
    fn next(&self, queues: &mut Queues) -> Result<Vec<Write>, Duration> {
        if queues.waiting.front().is_some_and(|write| write.was_refused) && self.pacer.asks() {
            return Ok(queues.waiting.pop_front().into_iter().collect());
        }
        let now = self.health.clock.now();
        let (hot, neighbours_at) = (Arc::clone(&queues.hot), queues.neighbours_at);
        let is_neighbour = |partition: u64| !hot.contains(&partition);
        if now >= neighbours_at && queues.parked.any(is_neighbour) && self.pacer.asks() {
            let mut asked = false;
            return Ok(queues.parked.take(|next| is_neighbour(next.partition) && !std::mem::replace(&mut asked, true)));
        }
        let mut room = Room { most_wcu: self.pacer.batch_wcu(), ..Room::default() };
        let mut wait = Duration::MAX;
        let mut batch = queues.parked.take(|next| {
            if now < neighbours_at && is_neighbour(next.partition) {
                wait = wait.min(neighbours_at.saturating_sub(now));
                return false;
            }
            room.fits(next, self.is_alone(next))
                && match self.pacer.take_hot(next.partition, next.wcu) {
                    Ok(()) => room.fill(next, self.is_alone(next)),
                    Err(longer) => {
                        wait = wait.min(longer);
                        false
                    }
                }
        });
        while queues
            .waiting
            .front()
            .is_some_and(|next| room.fits(next, self.is_alone(next)) && room.fill(next, self.is_alone(next)))
        {
            batch.extend(queues.waiting.pop_front());
        }
        if batch.is_empty() { Err(wait) } else { Ok(batch) }
    }

    async fn send(&self, batch: &[Write]) -> Result<BatchReply, CloudError> {
        let table = &self.options.table;
        if let [write] = batch
            && self.is_alone(write)
        {
            let absent = self.options.if_not_exists.then_some(self.options.partition_key.as_str());
            let consumed: Option<Consumed> = match &write.kind {
                WriteKind::Put(item) => self.put.put(put_body(table, item, absent)).await?,
                WriteKind::Delete(key) => self.put.delete(delete_body(table, key)).await?,
                WriteKind::Request { request, .. } => self.put.put(request.clone()).await?,
                WriteKind::Conditional { request, updates: false } => self.put.delete(request.clone()).await?,
                WriteKind::Conditional { request, updates: true } => self.put.update(request.clone()).await?,
            };
            return Ok(BatchReply { unprocessed: Vec::new(), consumed });
        }
        let requests = batch.iter().map(|write| match &write.kind {
            WriteKind::Put(item) | WriteKind::Request { item, .. } => Request::Put(item),
            WriteKind::Delete(key) => Request::Delete(key),
            WriteKind::Conditional { .. } => unreachable!("a write with a condition goes alone"),
        });
        self.put.batch(batch_body(table, requests)).await
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

/// What a batch holds so far.
#[derive(Default)]
struct Room {
    most_wcu: f64,
    writes: usize,
    bytes: usize,
    wcu: f64,
    alone: bool,
}

impl Room {
    fn fits(&self, next: &Write, is_alone: bool) -> bool {
        let fits = self.writes < REQUESTS
            && self.bytes + next.kind.len() + 32 <= BODY
            && self.wcu + next.wcu <= self.most_wcu
            && !is_alone;
        !self.alone && (self.writes == 0 || fits)
    }

    fn fill(&mut self, next: &Write, is_alone: bool) -> bool {
        self.writes += 1;
        self.bytes += next.kind.len() + 32;
        self.wcu += next.wcu;
        self.alone = is_alone;
        true
    }
}

/// What waits in a lane.
struct Queues {
    waiting: Waiting,
    /// Writes of hot keys, which the others may pass, and of neighbours that were refused with them.
    parked: Parked,
    /// When the neighbours are tried again.
    neighbours_at: Duration,
    /// Partition keys that are hot.
    hot: Arc<HashSet<u64>>,
}

impl Queues {
    fn is_parked(&self, partition: u64) -> bool {
        self.hot.contains(&partition) || self.parked.holds(partition)
    }

    /// Adds a later write.
    fn push(&mut self, write: Write) {
        if self.is_parked(write.partition) { self.parked.push(write) } else { self.waiting.push(write) }
    }

    /// Puts writes that did not get through back in front.
    fn put_back(&mut self, writes: Vec<Write>) {
        let (hot, others): (Vec<Write>, Vec<Write>) =
            writes.into_iter().partition(|write| self.is_parked(write.partition));
        self.waiting.put_back(others);
        hot.into_iter().rev().for_each(|write| self.parked.put_back(write));
    }

    /// Puts writes that were refused at `now` back: while a key is hot they wait a moment, and others pass them.
    fn put_back_refused(&mut self, now: Duration, writes: Vec<Write>) {
        if self.hot.is_empty() {
            return self.put_back(writes);
        }
        if now >= self.neighbours_at {
            self.neighbours_at = now + NEIGHBOURS;
        }
        writes.into_iter().rev().for_each(|write| self.parked.put_back(write));
        // Later writes of the same keys stay behind them.
        for write in self.waiting.take_hot(|partition| self.parked.holds(partition)) {
            self.parked.push(write);
        }
    }

    /// These keys are hot now.
    fn heat(&mut self, hot: Arc<HashSet<u64>>) {
        if !Arc::ptr_eq(&self.hot, &hot) {
            self.hot = hot;
            for write in self.waiting.take_hot(|partition| self.hot.contains(&partition)) {
                self.parked.push(write);
            }
        }
    }
}

async fn lane(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Write>, n: u64) {
    let last_wins = !shared.options.if_not_exists;
    let room = shared.options.memory / 2 / shared.options.lanes.max(1);
    let mut queues = Queues {
        waiting: Waiting::new(last_wins),
        parked: Parked::new(last_wins, room),
        neighbours_at: Duration::ZERO,
        hot: Arc::default(),
    };
    let mut backoff = Backoff::new(BASE, CAP, shared.options.seed ^ n);
    let watch = &shared.health.watch;
    loop {
        queues.heat(shared.pacer.hot());
        if queues.waiting.is_empty() && queues.parked.is_empty() {
            let Some(write) = watch.idle.during(inbox.recv()).await else { return };
            queues.push(write);
        }
        while queues.waiting.len() < INBOX
            && !queues.parked.is_full()
            && let Ok(write) = inbox.try_recv()
        {
            queues.push(write);
        }
        if queues.parked.is_full() {
            shared.pacer.parked_full();
        }
        let batch = match shared.next(&mut queues) {
            Ok(batch) => batch,
            Err(wait) => {
                let clock = &shared.health.clock;
                // Waiting for the turn of a hot key is waiting by the pace.
                let _paced = watch.paced.enter();
                tokio::select! {
                    Some(write) = inbox.recv(), if !queues.parked.is_full() => queues.push(write),
                    () = clock.sleep(wait.min(LOOK)) => {}
                }
                if shared.health.is_over() {
                    return;
                }
                continue;
            }
        };
        let batch = Shared::still_ours(batch, &mut queues);
        if batch.is_empty() {
            continue;
        }
        watch.paced.during(shared.pacer.acquire(wcu_of(&batch), batch.len())).await;
        if shared.health.is_over() {
            return;
        }
        // The wait may have been long.
        let batch = Shared::still_ours(batch, &mut queues);
        if batch.is_empty() {
            continue;
        }
        let sent = shared.health.clock.now();
        let Some(reply) = watch.send(shared.send_while_ours(&batch)).await else {
            queues.put_back(batch);
            continue;
        };
        match shared.settle(sent, batch, reply, &mut queues) {
            // Others that got through say nothing of one that is waited for.
            After::Next if queues.waiting.holds_failed(REQUESTS + 1) => {}
            After::Next => backoff.reset(),
            After::BackOff => watch.backing_off.during(shared.health.clock.sleep(backoff.wait())).await,
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
        queues: &mut Queues,
    ) -> After {
        let error = match reply {
            Ok(reply) => return self.settle_reply(sent, batch, &reply, queues),
            Err(error) => error,
        };
        match error.class {
            Class::Throttled => {
                self.health.patience.answered();
                self.health.throttled(batch.len());
                self.pacer.reply(sent, &answers(&[], &batch), Cause::of(&error), None);
                queues.heat(self.pacer.hot());
                let again = batch.into_iter().map(Write::refused_for_now).collect();
                queues.put_back_refused(self.health.clock.now(), again);
                After::BackOff
            }
            Class::Transient | Class::Unknown | Class::InUse => {
                if self.health.patience.is_over(sent, self.health.clock.now()) {
                    self.health.fail(error);
                    return After::End;
                }
                self.health.effort().retried += batch.len() as u64;
                self.put_back_failed(&error, batch, queues);
                After::BackOff
            }
            Class::NotFound if self.options.outlives_table => {
                self.health.patience.answered();
                if self.gone.is_over(sent, self.health.clock.now()) {
                    let reason = format!("there is no table {} any more", self.options.table);
                    for write in batch {
                        queues.put_back(self.refused(write, reason.clone()));
                    }
                    return After::Next;
                }
                self.health.effort().retried += batch.len() as u64;
                queues.put_back(batch);
                After::BackOff
            }
            Class::Invalid if batch.len() > 1 => {
                // One of them is bad, and the service does not say which: each goes alone.
                self.health.patience.answered();
                self.health.effort().retried += batch.len() as u64;
                queues.put_back(batch.into_iter().map(Write::on_its_own).collect());
                After::Next
            }
            Class::Invalid => {
                self.health.patience.answered();
                for write in batch {
                    // What it would have replaced is the last good version.
                    queues.put_back(self.refused(write, said(&error)));
                }
                After::Next
            }
            Class::Condition | Class::DryRun => {
                for write in batch {
                    self.done(write, &Outcome::Skipped);
                }
                After::Next
            }
            Class::Auth | Class::NotFound | Class::ReadOnly => {
                self.health.fail(error);
                After::End
            }
        }
    }

    /// Puts writes that failed back: those that fail again and again go alone, with others between their tries, and then
    /// no more.
    fn put_back_failed(&self, error: &CloudError, batch: Vec<Write>, queues: &mut Queues) {
        let now = self.health.patience.failed();
        let mut batch: Vec<Write> = batch.into_iter().map(|write| write.failed(now)).collect();
        if batch.len() > 1 {
            if batch.iter().any(|write| write.failures >= TOGETHER) {
                batch = batch.into_iter().map(Write::on_its_own).collect();
            }
            return queues.put_back(batch);
        }
        let (given_up, again) = batch.into_iter().partition(|write| write.own_failures >= TRIES);
        queues.put_back(again);
        queues.waiting.let_pass(REQUESTS);
        for write in given_up {
            let reason = format!("failed {TRIES} times while others got through: {error}");
            queues.put_back(self.refused(write, reason));
        }
    }

    fn settle_reply(&self, sent_at: Duration, batch: Vec<Write>, reply: &BatchReply, queues: &mut Queues) -> After {
        self.health.patience.worked();
        self.gone.answered();
        let sent_count = batch.len();
        let mut unprocessed: HashSet<u128> = reply.unprocessed.iter().map(|key| key.hash).collect();
        let sent: HashSet<u128> =
            if unprocessed.is_empty() { HashSet::new() } else { batch.iter().map(|write| write.key.hash).collect() };
        if !unprocessed.is_subset(&sent) {
            // A key that we did not send: the reply can't be read, and putting all of it again does no harm.
            unprocessed = sent;
        }
        let (again, done): (Vec<Write>, Vec<Write>) =
            batch.into_iter().partition(|write| unprocessed.contains(&write.key.hash));
        self.pacer.reply(sent_at, &answers(&done, &again), Cause::Unsaid, reply.consumed.as_ref());
        if let Some(consumed) = &reply.consumed {
            self.health.effort().wcu += consumed.total();
        }
        for write in done {
            let outcome = match write.kind {
                WriteKind::Put(_) | WriteKind::Request { .. } => Outcome::Written,
                WriteKind::Delete(_) | WriteKind::Conditional { updates: false, .. } => Outcome::Deleted,
                WriteKind::Conditional { updates: true, .. } => Outcome::Skipped,
            };
            self.done(write, &outcome);
        }
        if again.is_empty() {
            return After::Next;
        }
        self.health.throttled(again.len());
        // Where most got through, the pacer's word is enough: a lane that slept for one write of a full partition would
        // hold up those of all others.
        let after = if again.len() * 2 > sent_count { After::BackOff } else { After::Next };
        // Before they go back, so that those of a key that just turned hot go to its queue.
        queues.heat(self.pacer.hot());
        for write in again.iter().filter(|write| queues.hot.contains(&write.partition)) {
            self.pacer.call_hot(write.partition, || partition_value(&write.key, &self.options.partition_key));
        }
        let again = again.into_iter().map(Write::refused_for_now).collect();
        queues.put_back_refused(self.health.clock.now(), again);
        after
    }
}

/// What a pacer learns from a reply.
fn answers(done: &[Write], again: &[Write]) -> Vec<Answer> {
    let answer = |refused| {
        move |write: &Write| Answer { partition: write.partition, wcu: write.wcu, refused, again: write.was_refused }
    };
    done.iter().map(answer(false)).chain(again.iter().map(answer(true))).collect()
}

/// The value of `key`'s partition key, such as `user#1`.
fn partition_value(key: &Key, partition_key: &str) -> String {
    let key: serde_json::Value = serde_json::from_slice(&key.json).unwrap_or_default();
    let typed = key.get(partition_key).and_then(serde_json::Value::as_object).and_then(|typed| typed.values().next());
    typed.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn wcu_of(writes: &[Write]) -> f64 {
    writes.iter().map(|write| write.wcu).sum()
}

/// The service's own words, for a dead letter.
pub(super) fn said(error: &CloudError) -> String {
    if error.hint.is_empty() { error.what.clone() } else { error.hint.clone() }
}
