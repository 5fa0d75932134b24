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

#[test]
fn whatever_fails_on_the_way_every_item_is_written_and_the_last_version_stays() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(ALL);
        let writer = writer(&fake, &clock, |_| {});
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..3_200u64 {
            let receipt = ledger.open(Line(n)).await.unwrap();
            writer.put(item(&format!("k{}", n % 400), n), receipt).await.unwrap();
        }
        ledger.drained().await;
        let (counters, position) = ledger.mark();
        assert_eq!((counters.read, counters.written, counters.dead), (3_200, 3_200, 0));
        assert_eq!(position, Some(Line(3_199)));
        let effort = writer.effort();
        assert!(effort.retried > 0 && effort.throttled > 0 && effort.throttled <= effort.retried);
        writer.finish().await.unwrap();
        let versions = fake.versions();
        assert!((0..400).all(|k| versions[&format!("k{k}")] == 2_800 + k), "a later version was overwritten");
        let state = fake.state.lock().unwrap();
        assert!(state.history.values().all(|versions| versions.is_sorted()), "an earlier version came after a later");
    });
}

#[test]
fn an_unprocessed_item_is_sent_again_and_its_neighbours_are_not() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults { partial: 0.3, ..Faults::default() });
        let writer = writer(&fake, &clock, |options| options.lanes = 1);
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..200u64 {
            writer.put(item(&format!("k{n}"), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        ledger.drained().await;
        let sent: usize = fake.state.lock().unwrap().requests.iter().map(Vec::len).sum();
        assert_eq!(sent as u64, 200 + writer.effort().retried);
        assert!(fake.state.lock().unwrap().history.values().all(|versions| versions.len() == 1));
        assert!((writer.effort().wcu - 200.0).abs() < f64::EPSILON);
    });
}

#[test]
fn a_poison_item_is_a_dead_letter_its_neighbours_are_written_and_the_version_before_it_stays() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::poisoned(Faults::default(), &["k7"]);
        let writer = writer(&fake, &clock, |options| options.lanes = 1);
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..30u64 {
            writer.put(item(&format!("k{n}"), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        ledger.drained().await;
        let settled = ledger.take_settled();
        assert_eq!((settled.counters.written, settled.counters.dead), (29, 1));
        let letter = &settled.letters[0];
        assert_eq!((letter.line, letter.reason.as_str()), (Some(7), "type mismatch for index key"));
        assert_eq!(letter.payload, item("k7", 7).json);
        assert_eq!(fake.versions().len(), 29);
    });
}

#[test]
fn a_record_that_the_service_fails_on_again_and_again_is_a_dead_letter_after_twenty_tries() {
    for class in [Class::Transient, Class::Unknown] {
        let clock = ManualClock::default();
        clock.run(async {
            let fake = Fake::refusing(Faults::default(), &["k7"], class);
            let writer = writer(&fake, &clock, |_| {});
            // The window is full long before the last try: those behind it wait for it.
            let ledger = Arc::new(Ledger::new(500));
            for n in 0..3_000u64 {
                let receipt = ledger.open(Line(n)).await.unwrap();
                writer.put(item(&format!("k{n}"), n), receipt).await.unwrap();
            }
            ledger.drained().await;
            let settled = ledger.take_settled();
            assert_eq!((settled.counters.written, settled.letters.len()), (2_999, 1), "its neighbours are written");
            let letter = &settled.letters[0];
            assert_eq!(letter.line, Some(7));
            assert!(letter.reason.starts_with("failed 20 times while others got through"), "{}", letter.reason);
            let tries = fake.state.lock().unwrap().requests.iter().filter(|ids| ids.contains(&"k7".into())).count();
            assert!((20..=26).contains(&tries), "{tries}");
            assert!((10..120).contains(&clock.now().as_secs()), "{:?}", clock.now());
        });
    }
}

#[test]
fn in_an_outage_no_record_is_given_up() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let writer = writer(&fake, &clock, |_| {});
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..300u64 {
            if n == 100 {
                ledger.drained().await;
                *fake.down.lock().unwrap() = Some(error(Class::Unknown, "down"));
            }
            writer.put(item(&format!("k{n}"), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        clock.sleep(Duration::from_mins(10)).await;
        *fake.down.lock().unwrap() = None;
        ledger.drained().await;
        let counters = ledger.mark().0;
        assert_eq!((counters.written, counters.dead), (300, 0));
    });
}

#[test]
fn a_later_version_takes_the_place_of_one_that_waits() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let writer = writer(&fake, &clock, |options| options.lanes = 1);
        writer.pacer().hold(true);
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..60u64 {
            writer.put(item(&format!("k{}", n % 2), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
            tokio::task::yield_now().await;
        }
        writer.pacer().hold(false);
        ledger.drained().await;
        let counters = ledger.mark().0;
        assert_eq!((counters.read, counters.written), (60, 60));
        let sent: usize = fake.state.lock().unwrap().requests.iter().map(Vec::len).sum();
        assert_eq!(counters.replaced, 60 - sent as u64);
        assert!(counters.replaced >= 50, "{}", counters.replaced);
        assert_eq!(fake.versions(), HashMap::from([("k0".into(), 58), ("k1".into(), 59)]));
    });
}

#[test]
fn a_put_whose_place_a_delete_took_counts_as_written_for_the_table_too() {
    let clock = ManualClock::default();
    clock.run(async {
        let writer = writer(&Fake::new(Faults::default()), &clock, |options| options.lanes = 1);
        writer.pacer().hold(true);
        let ledger = Arc::new(Ledger::new(500));
        writer.put(item("held", 0), ledger.open(Line(0)).await.unwrap()).await.unwrap();
        writer.put(item("k", 1), ledger.open(Line(1)).await.unwrap()).await.unwrap();
        writer.delete(item("k", 2).key, ledger.open(Line(2)).await.unwrap()).await.unwrap();
        writer.pacer().hold(false);
        ledger.drained().await;
        let (all, of_table) = (ledger.mark().0, writer.outcomes());
        assert_eq!((all.written, all.deleted), (2, 1));
        assert_eq!((of_table.written, of_table.deleted), (2, 1));
    });
}

#[test]
fn items_that_exist_are_left_alone_when_asked() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let writer = writer(&fake, &clock, |options| options.if_not_exists = true);
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..50u64 {
            writer.put(item(&format!("k{}", n % 10), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        ledger.drained().await;
        let counters = ledger.mark().0;
        assert_eq!((counters.written, counters.skipped), (10, 40));
        assert!(fake.versions().values().all(|version| *version < 10));
    });
}

#[test]
fn deletes_and_puts_of_a_key_keep_their_order() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults { partial: 0.3, reset: 0.1, ..Faults::default() });
        let writer = writer(&fake, &clock, |_| {});
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..400u64 {
            let (id, receipt) = (format!("k{}", n % 20), ledger.open(Line(n)).await.unwrap());
            let item = item(&id, n);
            if n / 20 % 2 == 1 && n % 3 == 0 {
                writer.delete(item.key, receipt).await.unwrap();
            } else {
                writer.put(item, receipt).await.unwrap();
            }
        }
        ledger.drained().await;
        let counters = ledger.mark().0;
        assert_eq!(counters.written + counters.deleted, 400);
        // The last round, 380..400, deletes every third number.
        let left: HashSet<u64> = fake.versions().values().copied().collect();
        assert_eq!(left, (380..400).filter(|n| n % 3 != 0).collect());
    });
}

#[test]
fn a_wrong_endpoint_is_told_within_ten_seconds_and_refused_credentials_at_once() {
    for (class, most) in [(Class::Transient, 10), (Class::Auth, 0), (Class::NotFound, 0), (Class::ReadOnly, 0)] {
        let clock = ManualClock::default();
        clock.run(async {
            let fake = Fake::new(Faults::default());
            *fake.down.lock().unwrap() = Some(error(class, "down"));
            let writer = writer(&fake, &clock, |_| {});
            let ledger = Arc::new(Ledger::new(500));
            writer.put(item("k", 1), ledger.open(Line(1)).await.unwrap()).await.unwrap();
            assert_eq!(writer.failed().await.class, class);
            assert!(clock.now() <= Duration::from_secs(most), "{:?}", clock.now());
            // What was not written stays open: it is read again.
            assert_eq!((ledger.open_records(), ledger.mark().1), (1, None));
            assert_eq!(writer.finish().await.unwrap_err().class, class);
        });
    }
}

#[test]
fn an_outage_of_minutes_is_borne() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let writer = writer(&fake, &clock, |_| {});
        let ledger = Arc::new(Ledger::new(500));
        writer.put(item("k", 1), ledger.open(Line(1)).await.unwrap()).await.unwrap();
        ledger.drained().await;
        *fake.down.lock().unwrap() = Some(error(Class::Transient, "down"));
        writer.put(item("k", 2), ledger.open(Line(2)).await.unwrap()).await.unwrap();
        clock.sleep(Duration::from_mins(10)).await;
        *fake.down.lock().unwrap() = None;
        ledger.drained().await;
        assert_eq!(fake.versions()["k"], 2);
    });
}

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

#[test]
fn exactly_the_records_that_failed_are_sent_again_in_order_for_each_key() {
    for aggregate in [true, false] {
        let clock = ManualClock::default();
        clock.run(async {
            let fake = Fake::new(Faults { partial: 0.2, throttle: 0.1, ..Faults::default() });
            let options = ProducerOptions { aggregate, ..ProducerOptions::new("s", "r-1") };
            let counters = produce_as(options, &fake, &clock, 0..5_000, 300).await;
            assert_eq!((counters.read, counters.on_stream), (5_000, 5_000));
            assert!(counters.throttled > 0 && counters.throttled <= counters.retried);
            let state = fake.state.lock().unwrap();
            let shards: Vec<Vec<u64>> = state.shards.iter().map(|shard| numbers(shard)).collect();
            assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), 5_000);
            assert!(shards.iter().all(|shard| shard.len() > 1_000), "keys spread unevenly");
            for shard in shards {
                let mut last: HashMap<u64, u64> = HashMap::new();
                for n in shard {
                    assert!(last.insert(n % 300, n).is_none_or(|before| before < n), "a key's order was lost");
                }
            }
            let records: usize = state.shards.iter().map(Vec::len).sum();
            assert!(if aggregate { records < 4_000 } else { records == 5_000 }, "{records} records");
        });
    }
}

#[test]
fn a_record_that_no_stream_takes_is_a_dead_letter_before_it_is_sent() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let put = Arc::clone(&fake) as Arc<dyn StreamPut>;
        let mut options = ProducerOptions::new("s", "r-1");
        options.record_bytes = Some(60);
        let producer = Producer::start(options, put, Arc::new(clock.clone())).await.unwrap();
        let ledger = Arc::new(Ledger::new(10));
        let fits = item("k", 1);
        assert_eq!(request::encode("t", &fits.json).len() + "r-1/1".len(), 60);
        producer.put("t", &fits, 1, ledger.open(Line(1)).await.unwrap()).await.unwrap();
        producer.put("t", &item("kk", 2), 2, ledger.open(Line(2)).await.unwrap()).await.unwrap();
        ledger.drained().await;
        let settled = ledger.take_settled();
        assert_eq!((settled.counters.on_stream, settled.counters.dead), (1, 1));
        assert_eq!(settled.letters[0].reason, "record of 61 bytes: the stream takes at most 60");
    });
}

#[test]
fn through_a_stream_with_every_fault_each_record_counts_once_and_the_last_version_stays() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(ALL);
        produce(&fake, &clock, 0..2_000, 300).await;
        // A crash of the producer: what it had not stored is sent again.
        produce(&fake, &clock, 1_500..3_000, 300).await;
        let own: usize = fake.state.lock().unwrap().shards.iter().map(|shard| numbers(shard).len()).sum();
        assert!(own > 3_500, "lost replies should have doubled some");
        let consumer = consumer(&fake, &clock, |options| options.job = Some("r-1".into()));
        consumer.caught_up().await;
        let live = consumer.live();
        assert_eq!((live.read, live.written, live.dead), (3_000, 3_000, 0));
        assert!(consumer.settled().iter().map(|settled| settled.checkpoint.counters.read).sum::<u64>() == 3_000);
        let versions = fake.versions();
        assert!((0..300).all(|k| versions[&format!("k{k}")] == 2_700 + k));
    });
}

#[test]
fn a_consumer_that_is_killed_again_and_again_counts_as_if_it_never_was() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults { partial: 0.1, lose_reply: 0.1, ..Faults::default() });
        produce(&fake, &clock, 0..3_000, 300).await;
        let mut stored: HashMap<String, ShardCheckpoint> = HashMap::new();
        for life in 1..=6u64 {
            let resume = stored.values().cloned().collect();
            let consumer = consumer(&fake, &clock, |options| {
                (options.job, options.resume, options.window) = (Some("r-1".into()), resume, 100);
            });
            if life < 6 {
                clock.sleep(Duration::from_millis(300 * life)).await;
            } else {
                consumer.caught_up().await;
            }
            for ShardSettled { checkpoint, .. } in consumer.settled() {
                // As in a journal.
                let text = serde_json::to_string(&checkpoint).unwrap();
                stored.insert(checkpoint.shard.clone(), serde_json::from_str(&text).unwrap());
            }
            if life < 6 {
                // It goes on a little, and none of that is stored.
                clock.sleep(Duration::from_millis(150)).await;
            }
        }
        let total = stored.values().fold(Counters::default(), |sum, checkpoint| sum + checkpoint.counters);
        assert_eq!((total.read, total.written), (3_000, 3_000));
        assert!((0..300).all(|k| fake.versions()[&format!("k{k}")] == 2_700 + k));
    });
}

#[test]
fn a_bad_record_is_a_dead_letter_at_once_and_foreign_ones_are_left_alone() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let good = request::encode("t", &item("good", 1).json);
        let lost = request::encode("gone", &item("x", 1).json);
        let records =
            [("r-1/0", good.clone()), ("r-1/1", Bytes::from_static(b"nonsense")), ("r-1/2", lost), ("other", good)];
        for (n, (partition_key, data)) in records.into_iter().enumerate() {
            let sequence = SequenceNumber((n + 1).to_string());
            let record = StreamRecord { sequence, partition_key: partition_key.into(), data, arrived_us: 0 };
            fake.state.lock().unwrap().shards[2].push(record);
        }
        let consumer = consumer(&fake, &clock, |options| options.job = Some("r-1".into()));
        consumer.caught_up().await;
        let settled = consumer.settled();
        assert_eq!(settled.len(), 1);
        let ShardSettled { checkpoint, letters, .. } = &settled[0];
        let counters = checkpoint.counters;
        assert_eq!((counters.read, counters.written, counters.dead), (3, 1, 2));
        assert_eq!(checkpoint.position, Some(SequenceNumber("4".into())));
        assert_eq!(letters[0].sequence.as_deref(), Some("2"));
        assert_eq!(letters[1].reason, "there is no table gone");
        assert_eq!(consumer.progress().iter().map(|shard| shard.foreign).sum::<u64>(), 1);
        assert!(consumer.settled().is_empty());
    });
}

#[test]
fn records_that_the_stream_no_longer_keeps_when_they_are_to_be_read_are_told() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let plain = || ProducerOptions { aggregate: false, ..ProducerOptions::new("s", "r-1") };
        produce_as(plain(), &fake, &clock, 0..800, 300).await;
        let first = consumer(&fake, &clock, |_| {});
        first.caught_up().await;
        let resume: Vec<ShardCheckpoint> = first.settled().into_iter().map(|settled| settled.checkpoint).collect();
        assert_eq!((resume.len(), first.take_notes()), (4, vec![]));
        drop(first);
        produce_as(plain(), &fake, &clock, 800..1_600, 300).await;
        // Nobody read for longer than records are kept.
        fake.state.lock().unwrap().shards[2].drain(..300);
        let again = consumer(&fake, &clock, |options| options.resume = resume);
        again.caught_up().await;
        let notes = again.take_notes();
        assert!(notes.len() == 1 && notes[0].starts_with("shard shardId-000000000002: the record"), "{notes:?}");
        assert_eq!(again.take_notes(), Vec::<String>::new());
        let left: usize = fake.state.lock().unwrap().shards.iter().map(Vec::len).sum();
        let read: u64 = again.settled().iter().map(|settled| settled.checkpoint.counters.read).sum();
        assert!(read as usize > left && left == 1_300, "{read} {left}");
    });
}

#[test]
fn a_put_that_is_on_the_stream_again_does_not_undo_the_delete_after_it() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let item = item("k", 1);
        let put = request::encode("t", &item.json);
        let records = [("r-1/0", put.clone()), ("r-1/1", request::encode_delete("t", &item.key.json)), ("r-1/0", put)];
        for (n, (partition_key, data)) in records.into_iter().enumerate() {
            let sequence = SequenceNumber((n + 1).to_string());
            let record = StreamRecord { sequence, partition_key: partition_key.into(), data, arrived_us: 0 };
            fake.state.lock().unwrap().shards[2].push(record);
        }
        let consumer = consumer(&fake, &clock, |options| options.job = Some("r-1".into()));
        consumer.caught_up().await;
        let counters = consumer.live();
        assert_eq!((counters.read, counters.written, counters.deleted), (2, 1, 1));
        assert_eq!(fake.versions(), HashMap::new());
    });
}

#[test]
fn a_consumer_whose_table_refuses_us_ends_with_the_reason() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        produce(&fake, &clock, 0..500, 300).await;
        let consumer = consumer(&fake, &clock, |options| options.window = 10);
        *fake.down.lock().unwrap() = Some(error(Class::Auth, "expired"));
        assert_eq!(consumer.failed().await.class, Class::Auth);
    });
}
