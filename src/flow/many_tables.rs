//! What becomes of one table's trouble in a stream whose requests name several: tests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;

use super::clock::ManualClock;
use super::leases::Fence;
use super::ledger::tests::Line;
use super::*;
use crate::cloud::{Class, CloudError};
use crate::item::{Checked, Checker, KeyAttr, KeyKind, KeySchema, request};

fn checker() -> Checker {
    Checker::new(KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None })
}

fn item(id: &str) -> Checked {
    checker().check(Bytes::from(format!(r#"{{"id":{{"S":"{id}"}}}}"#))).unwrap()
}

/// A table that fails each request with `fault`.
#[derive(Default)]
struct OneTable {
    fault: Mutex<Option<CloudError>>,
    written: AtomicU64,
}

impl OneTable {
    fn write(&self, body: &Bytes) -> Result<(), CloudError> {
        let text = std::str::from_utf8(body).unwrap();
        if let Some(fault) = self.fault.lock().unwrap().clone() {
            return Err(fault);
        }
        let items = text.matches(r#""id""#).count() as u64;
        self.written.fetch_add(items, Ordering::Relaxed);
        Ok(())
    }
}

impl TablePut for OneTable {
    fn batch(&self, body: Bytes) -> BoxFuture<'_, Result<BatchReply, CloudError>> {
        async move { self.write(&body).map(|()| BatchReply::default()) }.boxed()
    }

    fn put(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async move { self.write(&body).map(|()| None) }.boxed()
    }

    fn delete(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async move { self.write(&body).map(|()| None) }.boxed()
    }
}

fn writer(table: &Arc<OneTable>, name: &str, clock: &ManualClock, change: impl FnOnce(&mut WriterOptions)) -> Writer {
    let mut options = WriterOptions {
        outlives_table: true,
        letters_name_table: true,
        queue: 100_000,
        ..WriterOptions::new(name, "id")
    };
    change(&mut options);
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let pacer = Arc::new(Pacer::new(Arc::clone(&clock)));
    Writer::start(options, Arc::clone(table) as _, pacer, clock)
}

fn fault(class: Class) -> CloudError {
    CloudError::new(class, "could not write", "the service's word")
}

#[test]
fn an_outage_makes_no_dead_letters() {
    let clock = ManualClock::default();
    clock.run(async {
        let table = Arc::new(OneTable::default());
        let writer = writer(&table, "t", &clock, |options| options.lanes = 1);
        let ledger = Arc::new(Ledger::new(100));
        writer.put(item("first"), ledger.open(Line(0)).await.unwrap()).await.unwrap();
        ledger.drained().await;
        *table.fault.lock().unwrap() = Some(fault(Class::Transient));
        writer.put(item("second"), ledger.open(Line(1)).await.unwrap()).await.unwrap();
        clock.sleep(Duration::from_mins(10)).await;
        assert_eq!(ledger.open_records(), 1);
        *table.fault.lock().unwrap() = None;
        ledger.drained().await;
        assert_eq!(ledger.take_settled().counters.written, 2);
    });
}

#[test]
fn records_of_a_table_that_is_gone_are_dead_letters_after_a_while_and_one_made_anew_is_written() {
    let clock = ManualClock::default();
    clock.run(async {
        let table = Arc::new(OneTable::default());
        let writer = writer(&table, "t", &clock, |_| {});
        let ledger = Arc::new(Ledger::new(100));
        *table.fault.lock().unwrap() = Some(fault(Class::NotFound));
        writer.put(item("waits"), ledger.open(Line(0)).await.unwrap()).await.unwrap();
        clock.sleep(Duration::from_secs(10)).await;
        assert_eq!(ledger.open_records(), 1);
        *table.fault.lock().unwrap() = None;
        ledger.drained().await;
        *table.fault.lock().unwrap() = Some(fault(Class::NotFound));
        writer.put(item("lost"), ledger.open(Line(1)).await.unwrap()).await.unwrap();
        ledger.drained().await;
        let settled = ledger.take_settled();
        assert_eq!((settled.counters.written, settled.counters.dead), (1, 1));
        let letter = &settled.letters[0];
        assert!(letter.reason.contains("no table t any more"), "{}", letter.reason);
        assert_eq!(letter.payload, request::encode("t", &item("lost").json));
        assert!(writer.failed().now_or_never().is_none());
    });
}

#[test]
fn what_is_no_longer_ours_is_not_written_and_what_is_still_ours_is() {
    let clock = ManualClock::default();
    clock.run(async {
        let table = Arc::new(OneTable::default());
        let writer = writer(&table, "t", &clock, |options| options.lanes = 1);
        writer.pacer().hold(true);
        let fence = Fence::new(Arc::new(clock.clone()), Duration::from_secs(8));
        let lost = Arc::new(Ledger::new(100).fenced(fence));
        let ours = Arc::new(Ledger::new(100));
        for n in 0..10u64 {
            writer.put(item(&format!("lost{n}")), lost.open(Line(n)).await.unwrap()).await.unwrap();
            writer.put(item(&format!("ours{n}")), ours.open(Line(n)).await.unwrap()).await.unwrap();
        }
        // A later version of ours takes the place of one that was lost, and one that is lost that of ours.
        writer.put(item("lost0"), ours.open(Line(10)).await.unwrap()).await.unwrap();
        writer.put(item("ours0"), lost.open(Line(10)).await.unwrap()).await.unwrap();
        clock.sleep(Duration::from_secs(9)).await;
        writer.pacer().hold(false);
        ours.drained().await;
        assert_eq!(ours.take_settled().counters.written, 11);
        assert_eq!(table.written.load(Ordering::Relaxed), 11);
        assert!(lost.open_records() > 0);
    });
}

/// Two tables of which one may be held, and a stream of one shard whose records name them in turn.
struct Scene {
    sinks: HashMap<&'static str, Sink>,
    records: u64,
}

impl Tables for Scene {
    fn sink<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>> {
        std::future::ready(self.sinks.get(table).cloned().ok_or_else(|| fault(Class::NotFound))).boxed()
    }
}

struct Alternating(u64);

impl StreamSource for Alternating {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        let shard = Shard { id: "0".into(), parents: Vec::new(), hash_keys: (0, u128::MAX), open: true };
        std::future::ready(Ok(vec![shard])).boxed()
    }

    fn iterator<'a>(&'a self, _: &'a str, _: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>> {
        std::future::ready(Ok("0".to_owned())).boxed()
    }

    fn page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Page, ReadError>> {
        let from: u64 = iterator.parse().unwrap();
        let to = (from + 500).min(self.0);
        let record = |n: u64| {
            let table = if n.is_multiple_of(2) { "slow" } else { "fast" };
            let body: Value = serde_json::json!({ "TableName": table, "Item": { "id": { "S": format!("k{n}") } } });
            StreamRecord {
                sequence: SequenceNumber((n + 1).to_string()),
                partition_key: "p".into(),
                data: Bytes::from(body.to_string()),
                arrived_us: 0,
            }
        };
        let records = (from..to).map(record).collect();
        let behind_ms = if to == self.0 { 0 } else { 1_000 };
        std::future::ready(Ok(Page { records, next: Some(to.to_string()), behind_ms })).boxed()
    }
}

/// How many records of the fast table are written while the slow one takes none and has room for `queue` writes a lane
/// and `memory` bytes; and whether all get through once the slow one goes on.
fn fast_while_slow_stands(queue: usize, memory: usize) -> u64 {
    let clock = ManualClock::default();
    clock.run(async {
        let (slow, fast) = (Arc::new(OneTable::default()), Arc::new(OneTable::default()));
        let bounded = |options: &mut WriterOptions| (options.queue, options.memory) = (queue, memory);
        let slow_writer = Arc::new(writer(&slow, "slow", &clock, bounded));
        let fast_writer = Arc::new(writer(&fast, "fast", &clock, bounded));
        slow_writer.pacer().hold(true);
        let sink = |writer: &Arc<Writer>| Sink { checker: Arc::new(checker()), writer: Arc::clone(writer) };
        let sinks = HashMap::from([("slow", sink(&slow_writer)), ("fast", sink(&fast_writer))]);
        let scene = Scene { sinks, records: 4_000 };
        let source = Arc::new(Alternating(scene.records));
        let options = ConsumerOptions { window: 10_000, ..ConsumerOptions::new("s") };
        let consumer = Consumer::start(options, source, Arc::new(scene), Arc::new(clock.clone()));
        clock.sleep(Duration::from_mins(5)).await;
        let got = fast.written.load(Ordering::Relaxed);
        assert_eq!(slow.written.load(Ordering::Relaxed), 0);
        slow_writer.pacer().hold(false);
        consumer.caught_up().await;
        assert_eq!((slow.written.load(Ordering::Relaxed), fast.written.load(Ordering::Relaxed)), (2_000, 2_000));
        got
    })
}

#[test]
fn a_table_that_takes_nothing_does_not_stall_another_until_its_own_queue_is_full() {
    assert_eq!(fast_while_slow_stands(10_000, 16 << 20), 2_000);
    // Room for some 250 items of 20 bytes: then the shard waits.
    let got = fast_while_slow_stands(10_000, 5_000);
    assert!((200..1_000).contains(&got), "{got}");
}

/// A shard whose end comes when it is told.
struct Parting {
    may_end: AtomicBool,
}

impl StreamSource for Parting {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        let shard = |id: &str, parents: &[&str], open| Shard {
            id: id.into(),
            parents: parents.iter().map(|p| (*p).to_owned()).collect(),
            hash_keys: (0, u128::MAX),
            open,
        };
        std::future::ready(Ok(vec![shard("a", &[], false), shard("b", &[], false), shard("c", &["a", "b"], true)]))
            .boxed()
    }

    fn iterator<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>> {
        assert!(*start == StartAt::Time(7), "{start:?} for {shard}");
        assert!(shard != "c" || self.may_end.load(Ordering::Relaxed), "the child began before its parents ended");
        std::future::ready(Ok(shard.to_owned())).boxed()
    }

    fn page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Page, ReadError>> {
        let ends = iterator == "a" || (iterator == "b" && self.may_end.load(Ordering::Relaxed));
        std::future::ready(Ok(Page { next: (!ends).then(|| iterator.to_owned()), ..Page::default() })).boxed()
    }
}

#[test]
fn a_merged_shard_begins_when_both_parents_ended_and_at_the_time_that_was_asked_for() {
    let clock = ManualClock::default();
    clock.run(async {
        let source = Arc::new(Parting { may_end: AtomicBool::new(false) });
        let options = ConsumerOptions { from: StartAt::Time(7), ..ConsumerOptions::new("s") };
        let scene = Arc::new(Scene { sinks: HashMap::new(), records: 0 });
        let consumer = Consumer::start(options, Arc::clone(&source) as _, scene, Arc::new(clock.clone()));
        clock.sleep(Duration::from_mins(1)).await;
        assert_eq!(consumer.progress().len(), 2);
        source.may_end.store(true, Ordering::Relaxed);
        consumer.caught_up().await;
        let done: Vec<bool> = consumer.progress().iter().map(|shard| shard.done).collect();
        assert_eq!(done, [true, true, false]);
    });
}
