//! Puts items as put requests onto a stream: lanes over the hash keys that keep the order of each key, and exactly the
//! records that failed sent again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;

use super::backoff::Backoff;
use super::clock::Clock;
use super::counters::{Counters, Outcome};
use super::lanes::{Health, INBOX, Lanes};
use super::ledger::Receipt;
use super::limit::Limit;
use super::records::{RECORDS, Record, records_body};
use super::shard_pace::ShardPaces;
use super::stopwatch::LaneTimes;
use super::stream::{PutReply, StreamPut};
use super::writer::said;
use crate::cloud::{Class, CloudError};
use crate::item::{Checked, Key, explicit_hash_key, request};

/// How a producer puts.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// The stream.
    pub stream: String,
    /// The job, first part of each partition key: its consumer knows its records by it.
    pub job: String,
    /// Largest record, bytes with its partition key. Kinesis takes 1 MiB unless the stream was set otherwise.
    pub record_bytes: usize,
    /// Largest `PutRecords`, bytes of records with their partition keys. Kinesis takes 5 MiB.
    pub request_bytes: usize,
    /// Records held for all lanes together, bytes: backpressure sets in above.
    pub memory: usize,
    /// Seeds the jitter of the backoffs.
    pub seed: u64,
}

impl ProducerOptions {
    /// The usual producer of job `job` on `stream`.
    pub fn new(stream: impl Into<String>, job: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            job: job.into(),
            record_bytes: 1 << 20,
            request_bytes: 5 << 20,
            memory: 64 << 20,
            seed: 0,
        }
    }
}

/// The partition key of record `ordinal` of `job`. The shard follows from the explicit hash key; this tells a consumer
/// whose record it is, and which.
pub fn partition_key(job: &str, ordinal: u64) -> String {
    format!("{job}/{ordinal}")
}

/// The ordinal in a partition key, when it is one of `job`.
pub(super) fn ordinal_of(job: &str, partition_key: &str) -> Option<u64> {
    partition_key.strip_prefix(job)?.strip_prefix('/')?.parse().ok()
}

/// Lanes at most; more shards share them.
const MOST_LANES: usize = 64;
/// How often the stream is asked for its shards.
const REFRESH: Duration = Duration::from_secs(15);
const BASE: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(5);

/// Puts items onto a stream. Dropped, it sends nothing more; what was not settled stays open in its ledger.
#[derive(Debug)]
pub struct Producer {
    lanes: Lanes<Outgoing>,
    shared: Arc<Shared>,
    refresh: AbortHandle,
}

struct Shared {
    options: ProducerOptions,
    put: Arc<dyn StreamPut>,
    paces: ShardPaces,
    health: Arc<Health>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A record on its way onto the stream.
#[derive(Debug)]
struct Outgoing {
    data: Bytes,
    partition_key: String,
    hash_key: u128,
    alone: bool,
    receipt: Receipt,
    /// Its share of the producer's memory, given back when it is settled.
    _memory: OwnedSemaphorePermit,
}

impl Outgoing {
    /// What it counts towards Kinesis's limits, bytes.
    fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

impl Producer {
    /// Lists the stream's shards and starts a lane for each.
    ///
    /// # Errors
    /// When the shards can't be listed: the stream is unknown, for one.
    pub async fn start(
        options: ProducerOptions,
        put: Arc<dyn StreamPut>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CloudError> {
        let paces = ShardPaces::new(Arc::clone(&clock), put.shards().await?);
        let health = Arc::new(Health::new(clock, options.memory));
        let count = paces.count().clamp(1, MOST_LANES);
        let shared = Arc::new(Shared { options, put, paces, health: Arc::clone(&health) });
        let mut lanes = Lanes::start(count, health, |n, inbox| lane(Arc::clone(&shared), inbox, n));
        let refresh = lanes.beside(refresh(Arc::clone(&shared)));
        Ok(Self { lanes, shared, refresh })
    }

    /// Puts `item` for `table`, as record `ordinal` of the job, after all earlier ones of its key; waits while there is
    /// no room. A record that is too large is settled as dead.
    ///
    /// # Errors
    /// What made the producer fail. The job stops, and can go on later from its checkpoint.
    pub async fn put(&self, table: &str, item: &Checked, ordinal: u64, receipt: Receipt) -> Result<(), CloudError> {
        self.send(table, &item.key, request::encode(table, &item.json), &item.json, ordinal, receipt).await
    }

    /// The same, as a request that leaves alone what the table holds under the item's key; `partition_key` is the name
    /// of the table's.
    ///
    /// # Errors
    /// As [`Producer::put`].
    pub async fn put_if_absent(
        &self,
        table: &str,
        partition_key: &str,
        item: &Checked,
        ordinal: u64,
        receipt: Receipt,
    ) -> Result<(), CloudError> {
        let request = request::encode_if_absent(table, partition_key, &item.json);
        self.send(table, &item.key, request, &item.json, ordinal, receipt).await
    }

    /// The same for the removal of the item of `key`. Only our own consumers know this request.
    ///
    /// # Errors
    /// As [`Producer::put`].
    pub async fn delete(&self, table: &str, key: &Key, ordinal: u64, receipt: Receipt) -> Result<(), CloudError> {
        self.send(table, key, request::encode_delete(table, &key.json), &key.json, ordinal, receipt).await
    }

    /// Puts a record of somebody else's as it was: `partition_key` and bytes, on the shard that they choose, after all
    /// earlier ones of its key. Consumers see what the first producer sent.
    ///
    /// # Errors
    /// As [`Producer::put`].
    pub async fn put_record(&self, partition_key: &str, data: Bytes, receipt: Receipt) -> Result<(), CloudError> {
        // What Kinesis itself makes of a partition key ("PutRecords" of its API reference).
        let hash_key = u128::from_be_bytes(Md5::digest(partition_key).into());
        let (size, most) = (data.len() + partition_key.len(), self.shared.options.record_bytes);
        if size > most {
            receipt.dead(format!("record of {size} bytes: the stream takes at most {most}"), data);
            return Ok(());
        }
        let memory = self.shared.health.room(size).await?;
        let lane = (((hash_key >> 64) * self.lanes.count() as u128) >> 64) as usize;
        let partition_key = partition_key.to_owned();
        let outgoing = Outgoing { data, partition_key, hash_key, alone: false, receipt, _memory: memory };
        self.lanes.give(lane, outgoing).await
    }

    async fn send(
        &self,
        table: &str,
        key: &Key,
        request: Bytes,
        json: &Bytes,
        ordinal: u64,
        receipt: Receipt,
    ) -> Result<(), CloudError> {
        let hash_key = explicit_hash_key(table, key);
        let partition_key = partition_key(&self.shared.options.job, ordinal);
        let (size, most) = (request.len() + partition_key.len(), self.shared.options.record_bytes);
        if size > most {
            receipt.dead(format!("record of {size} bytes: the stream takes at most {most}"), json.clone());
            return Ok(());
        }
        let memory = self.shared.health.room(size).await?;
        // Even slices of the hash keys: where the shards are even as well, a lane is a shard.
        let lane = (((hash_key >> 64) * self.lanes.count() as u128) >> 64) as usize;
        let outgoing = Outgoing { data: request, partition_key, hash_key, alone: false, receipt, _memory: memory };
        self.lanes.give(lane, outgoing).await
    }

    /// What it took so far: `retried` and `throttled`; the rest is the ledger's to count.
    pub fn effort(&self) -> Counters {
        *self.shared.health.effort()
    }

    /// What its lanes did with their time.
    pub fn times(&self) -> LaneTimes {
        self.shared.health.watch.times(self.lanes.count())
    }

    /// What of the stream held it back within the last second.
    pub fn held_back_by(&self) -> Option<Limit> {
        self.shared.paces.limit()
    }

    /// What binds now.
    pub fn limit(&self) -> Limit {
        let otherwise = || if self.shared.health.was_full() { Limit::Service } else { Limit::Source };
        self.shared.paces.limit().unwrap_or_else(otherwise)
    }

    /// Ends when the producer fails, with the reason.
    pub async fn failed(&self) -> CloudError {
        self.shared.health.failed().await
    }

    /// Puts what it was given, and ends.
    ///
    /// # Errors
    /// What made it fail.
    pub async fn finish(self) -> Result<(), CloudError> {
        self.refresh.abort();
        self.lanes.finish().await
    }
}

/// Follows resharding. A list that can't be had now is had later: the old one only paces worse.
async fn refresh(shared: Arc<Shared>) {
    loop {
        shared.health.clock.sleep(REFRESH).await;
        if let Ok(shards) = shared.put.shards().await {
            shared.paces.update(shards);
        }
    }
}

async fn lane(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Outgoing>, n: u64) {
    let mut waiting: VecDeque<Outgoing> = VecDeque::new();
    let mut backoff = Backoff::new(BASE, CAP, shared.options.seed ^ n);
    let watch = &shared.health.watch;
    loop {
        if waiting.is_empty() {
            let Some(outgoing) = watch.idle.during(inbox.recv()).await else { return };
            waiting.push_back(outgoing);
        }
        while waiting.len() < RECORDS + INBOX
            && let Ok(outgoing) = inbox.try_recv()
        {
            waiting.push_back(outgoing);
        }
        let batch = shared.next(&mut waiting);
        watch.paced.during(shared.pace(&batch)).await;
        if shared.health.is_over() {
            return;
        }
        let sent = shared.health.clock.now();
        let records = batch.iter().map(|outgoing| Record {
            data: &outgoing.data,
            partition_key: &outgoing.partition_key,
            hash_key: outgoing.hash_key,
        });
        let reply = watch.send(shared.put.put_records(records_body(&shared.options.stream, records))).await;
        let Ok(again) = shared.settle(sent, batch, reply) else { return };
        if again.is_empty() {
            backoff.reset();
        } else {
            let alone = again.iter().all(|outgoing| outgoing.alone);
            again.into_iter().rev().for_each(|outgoing| waiting.push_front(outgoing));
            if !alone {
                watch.backing_off.during(shared.health.clock.sleep(backoff.wait())).await;
            }
        }
    }
}

impl Shared {
    /// The next records to send together. A hash key comes once: within a request that fails in part, a later version
    /// could overtake an earlier one.
    fn next(&self, waiting: &mut VecDeque<Outgoing>) -> Vec<Outgoing> {
        let mut batch: Vec<Outgoing> = Vec::new();
        let mut left = VecDeque::new();
        let (mut keys, mut bytes) = (HashSet::new(), 0);
        let mut portions: HashMap<usize, (usize, usize)> = HashMap::new();
        while let Some(next) = waiting.pop_front() {
            let full = batch.len() == RECORDS
                || batch.first().is_some_and(|first| first.alone)
                || (!batch.is_empty() && (bytes + next.size() > self.options.request_bytes || next.alone));
            if full {
                waiting.push_front(next);
                break;
            }
            let (shard, most_records, most_bytes) = self.paces.portion(next.hash_key);
            let portion = portions.entry(shard).or_default();
            let fits = portion.0 == 0 || (portion.0 < most_records && portion.1 + next.size() <= most_bytes);
            // A key that must wait makes its later versions wait too: it is noted as if it had gone.
            if keys.insert(next.hash_key) && fits {
                *portion = (portion.0 + 1, portion.1 + next.size());
                bytes += next.size();
                batch.push(next);
            } else {
                left.push_back(next);
            }
        }
        left.append(waiting);
        *waiting = left;
        batch
    }

    /// Records, bytes and a hash key for each shard of `batch`.
    fn portions(&self, batch: &[Outgoing]) -> HashMap<usize, (usize, usize, u128)> {
        let mut portions: HashMap<usize, (usize, usize, u128)> = HashMap::new();
        for outgoing in batch {
            let portion = portions.entry(self.paces.portion(outgoing.hash_key).0).or_default();
            *portion = (portion.0 + 1, portion.1 + outgoing.size(), outgoing.hash_key);
        }
        portions
    }

    /// Waits until the shards of `batch` take it.
    async fn pace(&self, batch: &[Outgoing]) {
        for (records, bytes, hash_key) in self.portions(batch).into_values() {
            while let Err(wait) = self.paces.take(hash_key, records, bytes) {
                // The pace may have been raised meanwhile, so look again soon.
                self.health.clock.sleep(wait.min(Duration::from_millis(250))).await;
                if self.health.is_over() {
                    return;
                }
            }
        }
    }

    /// Settles what `reply` says of `batch` and gives what is to be sent again, in order; `Err` when the producer
    /// failed.
    fn settle(
        &self,
        sent: Duration,
        batch: Vec<Outgoing>,
        reply: Result<PutReply, CloudError>,
    ) -> Result<Vec<Outgoing>, ()> {
        let error = match reply {
            Ok(reply) => return Ok(self.settle_reply(batch, &reply)),
            Err(error) => error,
        };
        match error.class {
            Class::Throttled => {
                self.health.patience.answered();
                self.health.throttled(batch.len());
                for (records, _, hash_key) in self.portions(&batch).into_values() {
                    self.paces.reply(hash_key, records as u64, records as u64);
                }
                Ok(batch)
            }
            // A stream that is being resharded is `InUse` for a moment.
            Class::Transient | Class::Unknown | Class::InUse => {
                if self.health.patience.is_over(sent, self.health.clock.now()) {
                    self.health.fail(error);
                    return Err(());
                }
                self.health.effort().retried += batch.len() as u64;
                Ok(batch)
            }
            Class::Invalid if batch.len() > 1 => {
                // One of them is bad, and the service does not say which: each goes alone.
                self.health.patience.answered();
                self.health.effort().retried += batch.len() as u64;
                Ok(batch.into_iter().map(|outgoing| Outgoing { alone: true, ..outgoing }).collect())
            }
            Class::Invalid => {
                self.health.patience.answered();
                for outgoing in batch {
                    outgoing.receipt.dead(said(&error), outgoing.data);
                }
                Ok(Vec::new())
            }
            Class::Condition | Class::DryRun => {
                for outgoing in batch {
                    outgoing.receipt.settle(Outcome::Skipped);
                }
                Ok(Vec::new())
            }
            Class::Auth | Class::NotFound | Class::ReadOnly => {
                self.health.fail(error);
                Err(())
            }
        }
    }

    fn settle_reply(&self, batch: Vec<Outgoing>, reply: &PutReply) -> Vec<Outgoing> {
        self.health.patience.answered();
        let failed: HashMap<usize, bool> = reply.failed.iter().map(|failed| (failed.index, failed.throttled)).collect();
        let mut shards: HashMap<usize, (u64, u64, u128)> = HashMap::new();
        let mut again = Vec::new();
        let mut throttled = 0;
        for (n, outgoing) in batch.into_iter().enumerate() {
            let refused = failed.get(&n).copied();
            let shard = shards.entry(self.paces.portion(outgoing.hash_key).0).or_default();
            *shard = (shard.0 + 1, shard.1 + u64::from(refused == Some(true)), outgoing.hash_key);
            throttled += usize::from(refused == Some(true));
            match refused {
                None => outgoing.receipt.settle(Outcome::OnStream),
                Some(_) => again.push(outgoing),
            }
        }
        for (records, refused, hash_key) in shards.into_values() {
            self.paces.reply(hash_key, records, refused);
        }
        self.health.throttled(throttled);
        self.health.effort().retried += (again.len() - throttled) as u64;
        again
    }
}
