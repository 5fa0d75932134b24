//! The event store's way in, by the real binary: load, pump, kills, poison, layouts, repair.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use bytes::Bytes;
use sluicegate::cloud::Cloud;
use sluicegate::event::row::{self, read_event_attributes};
use sluicegate::event::{Event, Layout, SlotLength, watermark};
use sluicegate::flow::aggregate::pack;
use sluicegate::jobs::journal::{Job, State};
use sluicegate::jobs::{JobId, Journal};

use crate::running::{Ended, Server, Sluice, block_on, create_stream, signal, until};

const FAULTS: &str = "throttle=5%,error=5%,partial=10%,reset=2%,lose-reply=2%,expire-iterators=2%,latency=3ms";

struct Scene {
    server: Server,
    sluice: Sluice,
    cloud: Cloud,
}

impl Scene {
    fn new(server: &[&str], shards: i32) -> Self {
        let server = Server::start(server);
        let cloud = server.cloud();
        create_stream(&cloud, "es-stream", shards);
        Self { sluice: Sluice::at(&server.endpoint), server, cloud }
    }

    /// Puts events onto the stream until it has each; what was lost on the way back may be there twice.
    fn send(&self, payloads: &[Vec<u8>]) {
        let mut left: Vec<&Vec<u8>> = payloads.iter().collect();
        while !left.is_empty() {
            let entry = |payload: &&Vec<u8>| {
                let key = format!("key-{}", payload.len() % 7);
                PutRecordsRequestEntry::builder()
                    .data(Blob::new(payload.as_slice()))
                    .partition_key(key)
                    .build()
                    .expect("whole")
            };
            let batch: Vec<_> = left.iter().take(200).map(entry).collect();
            let sent = batch.len();
            let put = self.cloud.kinesis.put_records().stream_name("es-stream").set_records(Some(batch)).send();
            let Ok(reply) = block_on(put) else { continue };
            let failed = |n: usize| n >= sent || reply.records()[n].error_code().is_some();
            left = left.into_iter().enumerate().filter(|(n, _)| failed(*n)).map(|(_, payload)| payload).collect();
        }
    }

    fn pump(&self, args: &[&str]) -> Ended {
        let base = ["pump", "--store", "es", "--json"];
        self.sluice.run(&[&base, args].concat())
    }

    fn count(&self, table: &str) -> usize {
        self.rows(table).len()
    }

    fn job(&self, id: &str) -> Job {
        let journal = Journal::open(&self.sluice.state.path().join("journal.sqlite")).unwrap();
        journal.job(&JobId(id.to_owned())).unwrap()
    }

    fn rows(&self, table: &str) -> Vec<HashMap<String, AttributeValue>> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let scan = self.cloud.dynamodb.scan().table_name(table).consistent_read(true);
            let Ok(page) = block_on(scan.set_exclusive_start_key(after.clone()).send()) else { continue };
            rows.extend_from_slice(page.items());
            after = page.last_evaluated_key;
            if after.is_none() {
                return rows;
            }
        }
    }

    /// Events by slot, and what the directory says of each slot.
    fn store(&self, layout: Layout) -> (Vec<Event>, BTreeMap<String, u64>, BTreeMap<String, u64>) {
        let (mut events, mut held, mut said) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for row in self.rows("es-event-table") {
            let slot = row[row::SLOT].as_s().unwrap().clone();
            if let Some(hour) = slot.strip_prefix("directory#") {
                if hour.starts_with(|first: char| first.is_ascii_digit()) {
                    let counted = row::read_directory_attributes(layout, &row).unwrap();
                    said.insert(counted.slot.to_string(), counted.count);
                }
                continue;
            }
            let event = read_event_attributes(&row).unwrap();
            assert_eq!(SlotLength::default().slot_of(event.time).to_string(), slot, "in its slot");
            if layout == Layout::Ordered {
                assert_eq!(row[row::EVENT_KEY].as_s().unwrap(), &row::event_key(event.time, &event.id));
            }
            *held.entry(slot).or_insert(0) += 1;
            events.push(event);
        }
        (events, held, said)
    }
}

/// Every kind of payload, each of its own.
fn payload(n: usize) -> Vec<u8> {
    match n % 5 {
        0 => format!(r#"{{"id":12345678901234567890,"z":1.10,"a":1,"n":{n}}}"#).into_bytes(),
        1 => vec![0xff, 0x00, 0xfe, (n >> 8) as u8, n as u8],
        2 => format!("é 😀 \u{2028} \" \\ \n \u{0} {n}").into_bytes(),
        3 => format!("  {{ \"spaced\" : {n} }}  ").into_bytes(),
        _ => format!("{}{n}", "x".repeat(2_000)).into_bytes(),
    }
}

#[test]
fn a_pump_killed_ten_times_stores_every_event_once_with_its_bytes() {
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "6"], 2);
    scene.pump(&["--create-tables", "--once"]).expect(0);
    let mut sent = Vec::new();
    for kill in 0..10_usize {
        let more: Vec<Vec<u8>> = (sent.len()..sent.len() + 150).map(payload).collect();
        scene.send(&more);
        sent.extend(more);
        let (stored, buffered) = (scene.count("es-event-table"), scene.count("es-buffer-table"));
        let mut child = scene.sluice.start(&["pump", "--store", "es", "--every", "1s", "--json"]);
        // Killed while it fills the buffer, or while it empties it.
        until("the pump has begun", || {
            let moved = if kill % 2 == 0 {
                scene.count("es-buffer-table") > buffered
            } else {
                scene.count("es-event-table") > stored + 5
            };
            assert!(child.try_wait().unwrap().is_none(), "the pump ended by itself");
            moved.then_some(())
        });
        signal(child.id(), "KILL");
        child.wait().unwrap();
    }
    let ended = scene.pump(&["--once"]).expect(0).last_json();
    assert_eq!(scene.count("es-buffer-table"), 0, "{ended}");

    let (events, held, said) = scene.store(Layout::Ordered);
    assert_eq!(held, said, "the directory counts each slot");
    let mut once: HashMap<String, &Bytes> = HashMap::new();
    for event in &events {
        assert!(once.insert(event.id.to_string(), &event.payload).is_none(), "{} is there twice", event.id);
    }
    // A put whose reply was lost is on the stream twice: two events. Of the others each is there once.
    let mut found: Vec<&[u8]> = events.iter().map(|event| &event.payload[..]).collect();
    found.sort_unstable();
    found.dedup();
    let mut wanted: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
    wanted.sort_unstable();
    assert!(found == wanted, "{} payloads were sent, {} different ones are stored", wanted.len(), found.len());
    // In the order of each shard, times never go back.
    let mut by_shard: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    events.iter().for_each(|event| by_shard.entry(&event.id.shard).or_default().push(event));
    for events in by_shard.values_mut() {
        events.sort_by_key(|event| &event.id);
        assert!(events.is_sorted_by_key(|event| event.time));
    }
}

#[test]
fn each_event_of_an_aggregated_record_is_an_event_of_its_own() {
    let scene = Scene::new(&["--limits", "off"], 1);
    let records = (0..5).map(|n| (format!("member-{n}"), Bytes::from(payload(n))));
    scene.send(&[payload(7), pack(1, records).to_vec(), payload(8)]);
    // What begins like an aggregated record and is none is an event like any other.
    let mut damaged = pack(1, [("x".to_owned(), Bytes::from_static(b"{}"))]).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    scene.send(std::slice::from_ref(&damaged));
    let ended = scene.pump(&["--create-tables", "--once"]).expect(0).last_json();
    assert_eq!((&ended["stored"], &ended["read"]), (&8.into(), &8.into()));
    let (mut events, ..) = scene.store(Layout::Ordered);
    events.sort_by(|a, b| a.order().cmp(&b.order()));
    let found: Vec<(Option<u64>, &[u8])> = events.iter().map(|event| (event.id.sub, &event.payload[..])).collect();
    let packed: Vec<Vec<u8>> = (0..5).map(payload).collect();
    assert_eq!(found[0], (None, &payload(7)[..]));
    for (n, payload) in packed.iter().enumerate() {
        assert_eq!(found[n + 1], (Some(n as u64), &payload[..]));
        assert_eq!(events[n + 1].partition_key, format!("member-{n}"));
    }
    assert_eq!((found[6], found[7]), ((None, &payload(8)[..]), (None, &damaged[..])));
}

#[test]
fn an_idle_stream_advances_the_watermark_and_a_repetition_changes_nothing() {
    let scene = Scene::new(&["--limits", "off"], 2);
    scene.send(&(0..20).map(payload).collect::<Vec<_>>());
    let first = scene.pump(&["--create-tables", "--once"]).expect(0).last_json();
    assert_eq!((&first["stored"], &first["read"]), (&20.into(), &20.into()));
    let time = |line: &serde_json::Value| line["watermark"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let (events, ..) = scene.store(Layout::Ordered);
    let mut before = time(&first);
    let last = until("an idle stream has taken the watermark past every event", || {
        let again = scene.pump(&["--once"]).expect(0).last_json();
        assert_eq!((&again["stored"], &again["read"]), (&0.into(), &0.into()));
        assert!(time(&again) >= before, "the watermark went back: {again}");
        before = time(&again);
        events.iter().all(|event| event.time < before).then_some(before)
    });
    let mark = block_on(watermark::read(&scene.cloud.dynamodb, "es-event-table", Layout::Ordered)).unwrap();
    assert_eq!(mark.at, Some(last));
}

#[test]
fn a_poison_row_is_dead_lettered_and_the_rows_behind_it_go_on() {
    let scene = Scene::new(&["--limits", "off"], 1);
    scene.pump(&["--create-tables", "--once"]).expect(0);
    for n in 0..3 {
        let key = AttributeValue::S(format!("junk-{n}"));
        let put = scene.cloud.dynamodb.put_item().table_name("es-buffer-table").item("partition_key", key);
        block_on(put.item("event_id", AttributeValue::N("1".into())).send()).unwrap();
    }
    // One event that no item can hold.
    let large: Vec<u8> = vec![b'x'; 500_000];
    scene.send(&[payload(0), large, payload(1)]);
    let ended = scene.pump(&["--once"]).expect(3).last_json();
    assert_eq!((&ended["stored"], &ended["dead"]), (&2.into(), &4.into()));
    assert_eq!(scene.count("es-buffer-table"), 3);
    let job = ended["job"].as_str().unwrap();
    let letters = scene.sluice.run(&["dead", "list", job, "--json"]).expect(0).out;
    assert_eq!(letters.lines().count(), 4, "{letters}");
    assert!(letters.contains("409,600") && letters.contains("event_id is"), "{letters}");
    assert_eq!(scene.store(Layout::Ordered).0.len(), 2);
}

#[test]
fn the_originals_tables_are_written_as_it_wrote_them() {
    let scene = Scene::new(&["--limits", "off"], 1);
    scene.send(&(0..10).map(payload).collect::<Vec<_>>());
    scene.pump(&["--create-tables=original", "--layout", "original", "--once"]).expect(0);
    let described = block_on(scene.cloud.dynamodb.describe_table().table_name("es-event-table").send()).unwrap();
    let table = described.table.unwrap();
    let bought = table.provisioned_throughput().unwrap();
    assert_eq!((bought.read_capacity_units, bought.write_capacity_units), (Some(10), Some(25)));
    assert_eq!(table.local_secondary_indexes()[0].index_name(), Some("event_time_stamp"));
    let (events, held, said) = scene.store(Layout::Original);
    assert_eq!((events.len(), &held), (10, &said));
    let mut found: Vec<Bytes> = events.into_iter().map(|event| event.payload).collect();
    found.sort_unstable();
    let mut wanted: Vec<Bytes> = (0..10).map(payload).map(Bytes::from).collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    // The layout is recognised without being named, and another one is refused by name.
    scene.pump(&["--once"]).expect(0);
    let refused = scene.pump(&["--once", "--layout", "ordered"]).expect(1).err;
    assert!(refused.contains("has the original layout"), "{refused}");
}

#[test]
fn tables_of_another_kind_are_named() {
    let scene = Scene::new(&["--limits", "off"], 1);
    let absent = scene.pump(&["--once"]).expect(1).err;
    assert!(absent.contains("--create-tables"), "{absent}");
    scene.pump(&["--create-tables", "--once", "--slot", "100ms"]).expect(0);
    let swapped = scene.pump(&["--once", "--buffer", "es-event-table"]).expect(1).err;
    assert!(swapped.contains("is an event table of the ordered layout, not a buffer"), "{swapped}");
    let swapped = scene.pump(&["--once", "--events", "es-buffer-table"]).expect(1).err;
    assert!(swapped.contains("a buffer's key"), "{swapped}");
    let longer = scene.pump(&["--once", "--slot", "1m"]).expect(1);
    assert!(format!("{}{}", longer.out, longer.err).contains("are 100ms long, not 1m"), "{longer:?}");
}

#[test]
fn a_directory_that_disagrees_with_the_slots_is_repaired() {
    let scene = Scene::new(&["--limits", "off"], 1);
    scene.send(&(0..30).map(payload).collect::<Vec<_>>());
    scene.pump(&["--create-tables", "--once"]).expect(0);
    let (_, held, said) = scene.store(Layout::Ordered);
    assert_eq!(held, said);
    let wrong = |slot: &str, count: u64| {
        let slot = SlotLength::default().slot_of(slot.parse().unwrap());
        let row = row::SlotCount { slot, count, first: slot.start(), last: slot.start() };
        let row: HashMap<String, HashMap<String, String>> =
            serde_json::from_slice(&row::directory_row(Layout::Ordered, &row)).unwrap();
        let row = row.into_iter().map(|(name, value)| match (value.get("S"), value.get("N")) {
            (Some(text), _) => (name, AttributeValue::S(text.clone())),
            (_, Some(number)) => (name, AttributeValue::N(number.clone())),
            _ => panic!("a row of strings and numbers"),
        });
        let put = scene.cloud.dynamodb.put_item().table_name("es-event-table").set_item(Some(row.collect()));
        block_on(put.send()).unwrap();
    };
    // One says too much, one tells of a slot that holds nothing.
    wrong(held.keys().next().unwrap(), 1_000);
    wrong("2001-01-01T00:00:00Z", 5);
    let mended = scene.sluice.run(&["pump", "--repair", "--store", "es", "--json"]).expect(0).last_json();
    assert_eq!((&mended["recounted"], &mended["forgotten"], &mended["events"]), (&1.into(), &1.into(), &30.into()));
    let (_, held, said) = scene.store(Layout::Ordered);
    assert_eq!(held, said);
}

#[test]
fn a_pass_is_made_when_asked_for_and_one_pump_reads_a_stream() {
    let scene = Scene::new(&["--limits", "off"], 1);
    scene.pump(&["--create-tables", "--once"]).expect(0);
    let started =
        scene.sluice.run(&["pump", "--store", "es", "--every", "1h", "--detach", "--json"]).expect(0).last_json();
    let job = started["job"].as_str().unwrap().to_owned();
    until("it runs", || (scene.job(&job).state == State::Running).then_some(()));
    scene.send(&[payload(0)]);
    until("the event is in the buffer", || (scene.count("es-buffer-table") == 1).then_some(()));
    let other = scene.pump(&["--once"]).expect(1).err;
    assert!(other.contains(&job), "{other}");
    scene.sluice.run(&["pump", "--now", &job]).expect(0);
    until("the event is stored", || (scene.store(Layout::Ordered).0.len() == 1).then_some(()));
    scene.sluice.run(&["cancel", &job]).expect(0);
    until("it has ended", || (scene.job(&job).state == State::Cancelled).then_some(()));
}

#[test]
fn load_reports_the_rate_that_it_achieved_and_every_event_is_stored() {
    let scene = Scene::new(&["--limits", "off"], 2);
    let args = ["load", "-k", "es-stream", "--rate", "2000", "--count", "3000", "--json"];
    let line = scene.sluice.run(&args).expect(0).last_json();
    assert_eq!((&line["on_stream"], &line["state"]), (&3_000.into(), &"done".into()));
    assert!(line["achieved"].as_f64().unwrap() <= 2_000.5 * 1.05, "{line}");
    assert!(line["latency_ms"]["p99"].as_f64().unwrap() > 0.0, "{line}");
    let ended = scene.pump(&["--create-tables", "--once"]).expect(0).last_json();
    assert_eq!(ended["stored"], 3_000);
    let (events, ..) = scene.store(Layout::Ordered);
    let clap: serde_json::Value = serde_json::from_slice(&events[0].payload).unwrap();
    assert_eq!((&clap["MessageType"], &clap["EntityId"]), (&"Claps".into(), &events[0].partition_key.clone().into()));
}

#[test]
fn a_plan_says_what_a_rate_takes_and_fails_above_the_ceiling() {
    let sluice = Sluice::new();
    let plan = sluice.run(&["pump", "--plan", "1000", "--json"]).expect(0).last_json();
    assert_eq!(plan["partitions"], 61);
    let above = sluice.run(&["pump", "--plan", "5000", "--slot", "1h"]).expect(1).out;
    assert!(above.contains("TOO MUCH"), "{above}");
}

#[test]
fn a_dry_run_stores_nothing_and_a_read_only_one_is_refused() {
    let scene = Scene::new(&["--limits", "off"], 1);
    scene.pump(&["--create-tables", "--once"]).expect(0);
    scene.send(&[payload(0)]);
    let dry = scene.pump(&["--once", "--dry-run"]).expect(0);
    assert!(dry.out.contains("BatchWriteItem"), "{dry:?}");
    assert_eq!(scene.count("es-buffer-table"), 0);
    scene.pump(&["--once", "--read-only"]).expect(1);
    assert_eq!(scene.server.stop(), 0);
}
