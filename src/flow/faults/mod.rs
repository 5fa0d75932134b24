//! A table and a stream in memory, with faults, and what the flow makes of them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::clock::ManualClock;
use super::ledger::tests::Line;
use super::*;
use crate::cloud::{Class, CloudError};
use crate::item::{Checked, Checker, Key, KeyAttr, KeyKind, KeySchema, request};

mod resharding;
mod streaming;
mod writing;

fn schema() -> KeySchema {
    KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None }
}

fn key(item: &Value) -> Key {
    let id = AttributeValue::S(item["id"]["S"].as_str().unwrap().to_owned());
    Key::of_attributes(&schema(), &HashMap::from([("id".to_owned(), id)])).unwrap()
}

fn item(id: &str, version: u64) -> Checked {
    let json = format!(r#"{{"id":{{"S":"{id}"}},"v":{{"N":"{version}"}}}}"#);
    Checker::new(schema()).check(Bytes::from(json)).unwrap()
}

fn error(class: Class, said: &str) -> CloudError {
    CloudError::new(class, "could not do it", said)
}

/// Shares of requests that meet a fault.
#[derive(Clone, Copy, Default)]
struct Faults {
    throttle: f64,
    partial: f64,
    reset: f64,
    lose_reply: f64,
}

/// A service in memory.
struct Fake {
    faults: Faults,
    rng: Mutex<SmallRng>,
    /// Refused for good, as by the type of an index key.
    poison: HashSet<String>,
    /// How they are refused.
    refusal: Class,
    down: Mutex<Option<CloudError>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    items: HashMap<String, Value>,
    /// Every version of a key that was written, in order.
    history: HashMap<String, Vec<u64>>,
    /// Items of every request, by their ids.
    requests: Vec<Vec<String>>,
    shards: Vec<Vec<StreamRecord>>,
    sequence: u64,
}

impl Fake {
    fn new(faults: Faults) -> Arc<Self> {
        Self::poisoned(faults, &[])
    }

    fn poisoned(faults: Faults, poison: &[&str]) -> Arc<Self> {
        Self::refusing(faults, poison, Class::Invalid)
    }

    fn refusing(faults: Faults, poison: &[&str], refusal: Class) -> Arc<Self> {
        Arc::new(Self {
            refusal,
            faults,
            rng: Mutex::new(SmallRng::seed_from_u64(7)),
            poison: poison.iter().map(|id| (*id).to_owned()).collect(),
            down: Mutex::default(),
            state: Mutex::new(State { shards: vec![Vec::new(); 4], ..State::default() }),
        })
    }

    fn meets(&self, share: f64) -> bool {
        share > 0.0 && self.rng.lock().unwrap().random_range(0.0..1.0) < share
    }

    fn before(&self) -> Result<(), CloudError> {
        if let Some(error) = self.down.lock().unwrap().clone() {
            return Err(error);
        }
        if self.meets(self.faults.throttle) {
            return Err(error(Class::Throttled, "slow down"));
        }
        if self.meets(self.faults.reset) { Err(error(Class::Transient, "reset")) } else { Ok(()) }
    }

    fn after(&self) -> Result<(), CloudError> {
        if self.meets(self.faults.lose_reply) { Err(error(Class::Transient, "reply lost")) } else { Ok(()) }
    }

    fn write(&self, item: &Value) {
        let id = item["id"]["S"].as_str().unwrap().to_owned();
        let mut state = self.state.lock().unwrap();
        if let Some(version) = item["v"]["N"].as_str() {
            state.history.entry(id.clone()).or_default().push(version.parse().unwrap());
        }
        state.items.insert(id, item.clone());
    }

    fn versions(&self) -> HashMap<String, u64> {
        let version = |item: &Value| item["v"]["N"].as_str().unwrap().parse().unwrap();
        self.state.lock().unwrap().items.iter().map(|(id, item)| (id.clone(), version(item))).collect()
    }
}

impl TablePut for Fake {
    fn batch(&self, body: Bytes) -> BoxFuture<'_, Result<BatchReply, CloudError>> {
        async move {
            tokio::task::yield_now().await;
            self.before()?;
            let body: Value = serde_json::from_slice(&body).unwrap();
            let requests = body["RequestItems"]["t"].as_array().unwrap();
            assert!(requests.len() <= 25);
            let ids: Vec<String> = requests
                .iter()
                .map(|r| {
                    let item = r.pointer("/PutRequest/Item").or(r.pointer("/DeleteRequest/Key")).unwrap();
                    item["id"]["S"].as_str().unwrap().to_owned()
                })
                .collect();
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "a key twice in one batch");
            self.state.lock().unwrap().requests.push(ids.clone());
            if ids.iter().any(|id| self.poison.contains(id)) {
                return Err(error(self.refusal, "type mismatch for index key"));
            }
            let mut reply = BatchReply::default();
            let mut written = 0.0;
            for (request, id) in requests.iter().zip(ids) {
                let item = request.pointer("/PutRequest/Item").or(request.pointer("/DeleteRequest/Key")).unwrap();
                if self.meets(self.faults.partial) {
                    reply.unprocessed.push(key(item));
                } else if request.get("DeleteRequest").is_some() {
                    self.state.lock().unwrap().items.remove(&id);
                } else {
                    self.write(item);
                    written += 1.0;
                }
            }
            reply.consumed = Some(Consumed { table: written, indexes: Vec::new() });
            self.after()?;
            Ok(reply)
        }
        .boxed()
    }

    fn put(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async move {
            tokio::task::yield_now().await;
            self.before()?;
            let body: Value = serde_json::from_slice(&body).unwrap();
            let id = body["Item"]["id"]["S"].as_str().unwrap().to_owned();
            self.state.lock().unwrap().requests.push(vec![id.clone()]);
            if self.poison.contains(&id) {
                return Err(error(self.refusal, "type mismatch for index key"));
            }
            if body.get("ConditionExpression").is_some() && self.state.lock().unwrap().items.contains_key(&id) {
                return Err(error(Class::Condition, ""));
            }
            self.write(&body["Item"]);
            self.after()?;
            Ok(None)
        }
        .boxed()
    }

    fn delete(&self, _: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async { Ok(None) }.boxed()
    }
}

fn shards() -> Vec<Shard> {
    let quarter = u128::MAX / 4;
    (0..4)
        .map(|n| Shard {
            id: format!("shardId-{n:012}"),
            parents: Vec::new(),
            hash_keys: (n * quarter + n.min(1), if n == 3 { u128::MAX } else { (n + 1) * quarter }),
            open: true,
        })
        .collect()
}

impl StreamPut for Fake {
    fn put_records(&self, body: Bytes) -> BoxFuture<'_, Result<PutReply, CloudError>> {
        async move {
            tokio::task::yield_now().await;
            self.before()?;
            let body: Value = serde_json::from_slice(&body).unwrap();
            let records = body["Records"].as_array().unwrap();
            let mut reply = PutReply::default();
            let mut bytes = 0;
            for (index, record) in records.iter().enumerate() {
                let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
                let partition_key = record["PartitionKey"].as_str().unwrap().to_owned();
                bytes += data.len() + partition_key.len();
                if self.meets(self.faults.partial) {
                    reply.failed.push(Failed { index, throttled: true });
                    continue;
                }
                let hash_key: u128 = record["ExplicitHashKey"].as_str().unwrap().parse().unwrap();
                let shard = shards().iter().position(|s| hash_key <= s.hash_keys.1).unwrap();
                let mut state = self.state.lock().unwrap();
                state.sequence += 1;
                let sequence = SequenceNumber(state.sequence.to_string());
                state.shards[shard].push(StreamRecord { sequence, partition_key, data: data.into(), arrived_us: 0 });
            }
            assert!(records.len() <= 500 && bytes <= 5 << 20, "{} records, {bytes} bytes", records.len());
            self.after()?;
            Ok(reply)
        }
        .boxed()
    }

    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        async { Ok(shards()) }.boxed()
    }
}

impl StreamSource for Fake {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        async { Ok(shards()) }.boxed()
    }

    /// An iterator is `<shard>:<place>`.
    fn iterator<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>> {
        async move {
            let n: usize = shard.strip_prefix("shardId-").unwrap().parse().unwrap();
            let place = match start {
                StartAt::After(at) | StartAt::At(at) => {
                    let shard = &self.state.lock().unwrap().shards[n];
                    let is_before = |record: &StreamRecord| match start {
                        StartAt::After(_) => record.sequence <= *at,
                        _ => record.sequence < *at,
                    };
                    // The oldest record that is kept where this one is gone, as AWS does.
                    shard.iter().take_while(|record| is_before(record)).count()
                }
                _ => 0,
            };
            Ok(format!("{n}:{place}"))
        }
        .boxed()
    }

    fn page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Page, ReadError>> {
        async move {
            self.before()?;
            if self.meets(self.faults.partial) {
                return Err(ReadError::Expired);
            }
            let (shard, place) = iterator.split_once(':').unwrap();
            let (shard, place): (usize, usize) = (shard.parse().unwrap(), place.parse().unwrap());
            let state = self.state.lock().unwrap();
            let records: Vec<StreamRecord> = state.shards[shard].iter().skip(place).take(50).cloned().collect();
            let next = place + records.len();
            let behind_ms = if next < state.shards[shard].len() { 1000 } else { 0 };
            Ok(Page { records, next: Some(format!("{shard}:{next}")), behind_ms })
        }
        .boxed()
    }
}

fn writer(fake: &Arc<Fake>, clock: &ManualClock, change: impl FnOnce(&mut WriterOptions)) -> Writer {
    let mut options = WriterOptions::new("t", "id");
    options.lanes = 4;
    change(&mut options);
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    Writer::start(options, Arc::clone(fake) as Arc<dyn TablePut>, Arc::new(Pacer::new(Arc::clone(&clock))), clock)
}

const ALL: Faults = Faults { throttle: 0.2, partial: 0.2, reset: 0.1, lose_reply: 0.1 };

struct OneTable {
    sink: Sink,
}

impl Tables for OneTable {
    fn sink<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>> {
        let found = if table == "t" { Ok(self.sink.clone()) } else { Err(error(Class::NotFound, "")) };
        async { found }.boxed()
    }
}

fn consumer(fake: &Arc<Fake>, clock: &ManualClock, change: impl FnOnce(&mut ConsumerOptions)) -> Consumer {
    let writer = Arc::new(writer(fake, clock, |_| {}));
    let sink = Sink { checker: Arc::new(Checker::new(schema())), writer };
    let mut options = ConsumerOptions::new("s");
    change(&mut options);
    let source = Arc::clone(fake) as Arc<dyn StreamSource>;
    Consumer::start(options, source, Arc::new(OneTable { sink }), Arc::new(clock.clone()))
}

async fn produce(fake: &Arc<Fake>, clock: &ManualClock, items: std::ops::Range<u64>, keys: u64) -> Counters {
    produce_as(ProducerOptions::new("s", "r-1"), fake, clock, items, keys).await
}

async fn produce_as(
    options: ProducerOptions,
    fake: &Arc<Fake>,
    clock: &ManualClock,
    items: std::ops::Range<u64>,
    keys: u64,
) -> Counters {
    let put = Arc::clone(fake) as Arc<dyn StreamPut>;
    let producer = Producer::start(options, put, Arc::new(clock.clone())).await.unwrap();
    let ledger = Arc::new(Ledger::new(2_000));
    for n in items {
        let receipt = ledger.open(Line(n)).await.unwrap();
        producer.put("t", &item(&format!("k{}", n % keys), n), n, receipt).await.unwrap();
    }
    ledger.drained().await;
    let effort = producer.effort();
    producer.finish().await.unwrap();
    ledger.mark().0 + effort
}

/// The numbers of the put requests on a shard, in order, however they are packed.
fn numbers(shard: &[StreamRecord]) -> Vec<u64> {
    let number = |partition_key: &str| partition_key.strip_prefix("r-1/").unwrap().parse().unwrap();
    let of = |record: &StreamRecord| match aggregate::unpack(&record.data).unwrap() {
        Some(packed) => packed.records().map(|record| number(record.partition_key)).collect(),
        None => vec![number(&record.partition_key)],
    };
    shard.iter().flat_map(of).collect()
}
