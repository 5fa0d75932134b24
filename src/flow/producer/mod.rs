//! Puts items as put requests onto a stream: lanes over the hash keys that keep the order of each key, requests packed
//! together into records, and exactly the records that failed sent again.

mod parcels;
mod records;
mod shard_pace;
mod slices;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::backoff::Backoff;
use super::clock::Clock;
use super::counters::{Counters, Outcome};
use super::lanes::{Health, INBOX, Lanes};
use super::ledger::Receipt;
use super::limit::Limit;
use super::stopwatch::LaneTimes;
use super::stream::{PutReply, StreamPut};
use super::writer::said;
use crate::cloud::{Class, CloudError};
use crate::item::{Checked, Key, explicit_hash_key, request};
use parcels::{Outgoing, Parcel, Riding, Sizes, Waiting};
use records::{RECORDS, records_body};
use shard_pace::{Load, ShardPaces};
use slices::SLICES;

/// How a producer puts.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// The stream.
    pub stream: String,
    /// The job, first part of each partition key: its consumer knows its records by it.
    pub job: String,
    /// Packs put requests that wait together into one record, as the KPL does. Without, each is a record of its own, for
    /// readers that can't take them apart.
    pub aggregate: bool,
    /// Largest record, bytes with its partition key; `None` asks the stream.
    pub record_bytes: Option<usize>,
    /// Records held for all lanes together, bytes: backpressure sets in above.
    pub memory: usize,
    /// Seeds the jitter of the backoffs.
    pub seed: u64,
}

impl ProducerOptions {
    /// The usual producer of job `job` on `stream`.
    pub fn new(stream: impl Into<String>, job: impl Into<String>) -> Self {
        Self { stream: stream.into(), job: job.into(), aggregate: true, record_bytes: None, memory: 64 << 20, seed: 0 }
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
/// Requests that wait for each slice at most, on average. A slice has its turn when it holds twice as many, so a stream
/// that is slower than the source gets records of 16 requests, and a shard its MiB a second even where they have 70 bytes.
const PER_SLICE: usize = 8;
/// Largest record of a stream that was not set otherwise, and largest `PutRecords` of such a stream and of others, bytes
/// with partition keys. <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const RECORD_BYTES: usize = 1 << 20;
const REQUEST_BYTES: usize = 5 << 20;
const REQUEST_BYTES_LARGE: usize = 10 << 20;
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
    sizes: Sizes,
    /// Requests that a lane lets wait.
    most_waiting: usize,
    put: Arc<dyn StreamPut>,
    paces: ShardPaces,
    health: Arc<Health>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Producer {
    /// Lists the stream's shards and starts a lane for each.
    ///
    /// # Errors
    /// When the stream can't be looked at: it is unknown, for one.
    pub async fn start(
        options: ProducerOptions,
        put: Arc<dyn StreamPut>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CloudError> {
        let paces = ShardPaces::new(Arc::clone(&clock), put.shards().await?);
        let health = Arc::new(Health::new(clock, options.memory));
        let count = paces.count().clamp(1, MOST_LANES);
        let record = match options.record_bytes {
            Some(bytes) => bytes,
            None => put.record_bytes().await?.unwrap_or(RECORD_BYTES),
        };
        let request = if record > RECORD_BYTES { REQUEST_BYTES_LARGE } else { REQUEST_BYTES };
        let packed = if options.aggregate { PER_SLICE * SLICES.div_ceil(count) } else { 0 };
        let shared = Arc::new(Shared {
            options,
            sizes: Sizes { record, request },
            most_waiting: packed.max(RECORDS + INBOX),
            put,
            paces,
            health: Arc::clone(&health),
        });
        let mut lanes = Lanes::start(count, INBOX, health, |n, inbox| lane(Arc::clone(&shared), inbox, n));
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
        let hash = u128::from_be_bytes(Md5::digest(partition_key).into());
        let (size, most) = (data.len() + partition_key.len(), self.shared.sizes.record);
        if size > most {
            receipt.dead(format!("record of {size} bytes: the stream takes at most {most}"), data);
            return Ok(());
        }
        let riding = Riding { receipt, _memory: self.shared.health.room(size).await? };
        let partition_key = partition_key.to_owned();
        let outgoing = Outgoing { data, partition_key, hash_key: hash, strand: hash, packs: false, riding };
        self.lanes.give(self.lane(hash), outgoing).await
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
        let hash = explicit_hash_key(table, key);
        let partition_key = partition_key(&self.shared.options.job, ordinal);
        let (size, most) = (request.len() + partition_key.len(), self.shared.sizes.record);
        if size > most {
            receipt.dead(format!("record of {size} bytes: the stream takes at most {most}"), json.clone());
            return Ok(());
        }
        let riding = Riding { receipt, _memory: self.shared.health.room(size).await? };
        let packs = self.shared.options.aggregate;
        let hash_key = slices::of(hash);
        // Where nothing is packed each key is a strand of its own, so that a request holds many records of one slice.
        let strand = if packs { hash_key } else { hash };
        let outgoing = Outgoing { data: request, partition_key, hash_key, strand, packs, riding };
        self.lanes.give(self.lane(hash), outgoing).await
    }

    /// Even slices of the hash keys: where the shards are even as the lanes are, a lane is a shard.
    fn lane(&self, hash: u128) -> usize {
        slices::number(hash) * self.lanes.count() / SLICES
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
    let mut waiting = Waiting::default();
    let mut backoff = Backoff::new(BASE, CAP, shared.options.seed ^ n);
    let watch = &shared.health.watch;
    loop {
        if waiting.is_empty() {
            let Some(outgoing) = watch.idle.during(inbox.recv()).await else { return };
            waiting.push(outgoing);
        }
        while waiting.len() < shared.most_waiting
            && let Ok(outgoing) = inbox.try_recv()
        {
            waiting.push(outgoing);
        }
        // Nothing waits for more to come: what is here when the lane can send goes, and is packed together.
        let batch = waiting.next(&shared.paces, shared.sizes);
        let sending = async {
            watch.paced.during(shared.pace(&batch)).await;
            if shared.health.is_over() {
                return None;
            }
            let sent = shared.health.clock.now();
            let body = records_body(&shared.options.stream, batch.iter().map(Parcel::record));
            Some((sent, watch.send(shared.put.put_records(body)).await))
        };
        let Some((sent, reply)) = shared.meanwhile(&mut inbox, &mut waiting, sending).await else { return };
        let Ok(again) = shared.settle(sent, batch, reply) else { return };
        if again.is_empty() {
            backoff.reset();
        } else {
            let alone = again.iter().all(|parcel| parcel.alone);
            waiting.again(again);
            if !alone {
                let pause = watch.backing_off.during(shared.health.clock.sleep(backoff.wait()));
                shared.meanwhile(&mut inbox, &mut waiting, pause).await;
            }
        }
    }
}

impl Shared {
    /// Waits for `done`, and takes in what comes meanwhile: the more waits, the more goes into one record.
    async fn meanwhile<T>(
        &self,
        inbox: &mut mpsc::Receiver<Outgoing>,
        waiting: &mut Waiting,
        done: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(done);
        loop {
            tokio::select! {
                biased;
                done = &mut done => return done,
                Some(outgoing) = inbox.recv(), if waiting.len() < self.most_waiting => waiting.push(outgoing),
            }
        }
    }

    /// What `batch` puts on each shard, and a hash key of that shard.
    fn portions(&self, batch: &[Parcel]) -> HashMap<usize, (Load, u128)> {
        let mut portions: HashMap<usize, (Load, u128)> = HashMap::new();
        for parcel in batch {
            let (load, hash_key) = portions.entry(self.paces.portion(parcel.hash_key).0).or_default();
            load.add(parcel.size());
            *hash_key = parcel.hash_key;
        }
        portions
    }

    /// Waits until the shards of `batch` take it.
    async fn pace(&self, batch: &[Parcel]) {
        for (load, hash_key) in self.portions(batch).into_values() {
            while let Err(wait) = self.paces.take(hash_key, load) {
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
        batch: Vec<Parcel>,
        reply: Result<PutReply, CloudError>,
    ) -> Result<Vec<Parcel>, ()> {
        let error = match reply {
            Ok(reply) => return Ok(self.settle_reply(sent, batch, &reply)),
            Err(error) => error,
        };
        let requests = requests_in(&batch);
        match error.class {
            Class::Throttled => {
                self.health.patience.answered();
                self.health.throttled(requests);
                for (load, hash_key) in self.portions(&batch).into_values() {
                    self.paces.reply(hash_key, sent, load, load);
                }
                Ok(batch)
            }
            // A stream that is being resharded is `InUse` for a moment.
            Class::Transient | Class::Unknown | Class::InUse => {
                if self.health.patience.is_over(sent, self.health.clock.now()) {
                    self.health.fail(error);
                    return Err(());
                }
                self.health.effort().retried += requests as u64;
                Ok(batch)
            }
            Class::Invalid if requests > 1 => {
                // One of them is bad, and the service does not say which: each goes alone.
                self.health.patience.answered();
                self.health.effort().retried += requests as u64;
                Ok(batch.into_iter().flat_map(Parcel::apart).collect())
            }
            Class::Invalid => {
                self.health.patience.answered();
                for Parcel { data, riding, .. } in batch {
                    riding.into_iter().for_each(|riding| riding.receipt.dead(said(&error), data.clone()));
                }
                Ok(Vec::new())
            }
            Class::Condition | Class::DryRun => {
                for riding in batch.into_iter().flat_map(|parcel| parcel.riding) {
                    riding.receipt.settle(Outcome::Skipped);
                }
                Ok(Vec::new())
            }
            Class::Auth | Class::NotFound | Class::ReadOnly => {
                self.health.fail(error);
                Err(())
            }
        }
    }

    fn settle_reply(&self, sent: Duration, batch: Vec<Parcel>, reply: &PutReply) -> Vec<Parcel> {
        self.health.patience.answered();
        let failed: HashMap<usize, bool> = reply.failed.iter().map(|failed| (failed.index, failed.throttled)).collect();
        let mut shards: HashMap<usize, (Load, Load, u128)> = HashMap::new();
        let mut again = Vec::new();
        let mut throttled = 0;
        for (n, parcel) in batch.into_iter().enumerate() {
            let refused = failed.get(&n).copied();
            let (load, refused_load, hash_key) = shards.entry(self.paces.portion(parcel.hash_key).0).or_default();
            load.add(parcel.size());
            *hash_key = parcel.hash_key;
            if refused == Some(true) {
                refused_load.add(parcel.size());
                throttled += parcel.riding.len();
            }
            match refused {
                None => parcel.riding.into_iter().for_each(|riding| riding.receipt.settle(Outcome::OnStream)),
                Some(_) => again.push(parcel),
            }
        }
        for (load, refused, hash_key) in shards.into_values() {
            self.paces.reply(hash_key, sent, load, refused);
        }
        self.health.throttled(throttled);
        self.health.effort().retried += (requests_in(&again) - throttled) as u64;
        again
    }
}

/// How many put requests the parcels hold together.
fn requests_in(parcels: &[Parcel]) -> usize {
    parcels.iter().map(|parcel| parcel.riding.len()).sum()
}
