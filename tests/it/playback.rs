//! Playback against the embedded AWS: order, bytes, resume, and what goes wrong.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use sluicegate::cloud::Cloud;
use sluicegate::event::{Event, Layout, Slot, SlotLength, row};
use sluicegate::flow::{AwsTable, TablePut as _};

use super::running::{Server, Sluice, block_on, create_stream, create_table, signal, until};

/// Events of three hours, the middle one empty: bursts that share microseconds over three shards, big numbers, bytes
/// that are no text.
fn events(count: u64) -> Vec<Event> {
    let start: Timestamp = "2018-03-04T14:59:50Z".parse().unwrap();
    let mut made: Vec<Event> = (0..count)
        .map(|n| {
            let us = n / 7 * 13_000 + if n % 3 == 2 { 7_200_000_000 } else { 0 };
            let payload = match n % 4 {
                0 => Bytes::from(format!(r#"{{"id":12345678901234567890,"z":1.10,"n":{n}}}"#)),
                1 => Bytes::from(vec![0xff, 0x00, (n % 256) as u8]),
                2 => Bytes::from(format!("text \u{1b}[2J é {n}")),
                _ => Bytes::from(format!(r#"{{ "spaces" : [ 1 , 2 ], "n": {n} }}"#)),
            };
            Event {
                time: Timestamp::from_microsecond(start.as_microsecond() + us as i64).unwrap(),
                id: format!("shardId-{:012}:{n:056}", n * 31 % 3).parse().unwrap(),
                partition_key: format!("key-{}", n % 11),
                payload,
            }
        })
        .collect();
    made.sort_by(|a, b| a.order().cmp(&b.order()));
    made
}

fn create(cloud: &Cloud, table: &str, layout: Layout) {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, LocalSecondaryIndex, Projection, ProjectionType,
        ScalarAttributeType,
    };
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let text = |name: &str| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let mut request = cloud
        .dynamodb
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(row::SLOT, KeyType::Hash))
        .key_schema(key(layout.sort_key(), KeyType::Range))
        .attribute_definitions(text(row::SLOT))
        .attribute_definitions(text(layout.sort_key()));
    if layout == Layout::Original {
        let index = LocalSecondaryIndex::builder()
            .index_name(row::TIME_INDEX)
            .key_schema(key(row::SLOT, KeyType::Hash))
            .key_schema(key(row::TIME, KeyType::Range))
            .projection(Projection::builder().projection_type(ProjectionType::All).build())
            .build()
            .unwrap();
        request = request.attribute_definitions(text(row::TIME)).local_secondary_indexes(index);
    }
    // A fault may lose the request or only its reply.
    until("the table is made", || {
        let _ = block_on(request.clone().send());
        block_on(cloud.dynamodb.describe_table().table_name(table).send()).ok().map(drop)
    });
}

fn put(cloud: &Cloud, table: &str, layout: Layout, rows: &[Bytes]) {
    let to = AwsTable::new(cloud.bulk.dynamodb.clone(), table, layout.key());
    for rows in rows.chunks(25) {
        let requests: Vec<Value> = rows
            .iter()
            .map(|row| json!({"PutRequest": {"Item": serde_json::from_slice::<Value>(row).unwrap()}}))
            .collect();
        let mut body = json!({"RequestItems": {table: requests}});
        // What faults leave unprocessed is put again: a row is the same each time.
        until("the rows are in the table", || {
            let reply = block_on(to.batch(Bytes::from(body.to_string()))).ok()?;
            let again: Vec<Value> = body["RequestItems"][table].as_array().unwrap().clone();
            body = json!({"RequestItems": {table: again}});
            reply.unprocessed.is_empty().then_some(())
        });
    }
}

/// An event table as a pump leaves it, its directory and its watermark with it; the events as the table knows them.
fn store(cloud: &Cloud, table: &str, layout: Layout, events: &[Event], watermark: Option<&str>) -> Vec<Event> {
    create(cloud, table, layout);
    fill(cloud, table, layout, events, watermark)
}

fn fill(cloud: &Cloud, table: &str, layout: Layout, events: &[Event], watermark: Option<&str>) -> Vec<Event> {
    let slots = SlotLength::default();
    let mut stored: Vec<Event> =
        events.iter().map(|event| Event { time: layout.time(event.time), ..event.clone() }).collect();
    stored.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut directory: BTreeMap<Slot, row::SlotCount> = BTreeMap::new();
    for event in &stored {
        let slot = slots.slot_of(event.time);
        let (first, last) = (event.time, event.time);
        let counted = directory.entry(slot).or_insert(row::SlotCount { slot, count: 0, first, last });
        counted.count += 1;
        counted.last = event.time;
    }
    let mut rows: Vec<Bytes> = events.iter().map(|event| row::event_row(event, layout, slots).1).collect();
    rows.extend(directory.values().map(|counted| row::directory_row(layout, counted)));
    if let Some(watermark) = watermark {
        let of = |text: &str| json!({ "S": text });
        let row = json!({
            row::SLOT: of("directory#watermark"), layout.sort_key(): of("arn:stream"), "watermark": of(watermark),
        });
        rows.push(Bytes::from(row.to_string()));
    }
    put(cloud, table, layout, &rows);
    stored
}

/// What a line of output says.
fn line(event: &Event) -> Value {
    json!({
        "time": format!("{:.6}", event.time),
        "event_id": event.id.to_string(),
        "partition_key": event.partition_key,
        "data": BASE64_STANDARD.encode(&event.payload),
    })
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn expected<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Value> {
    events.into_iter().map(line).collect()
}

const COMPLETE: Option<&str> = Some("2018-03-05T00:00:00.000000Z");

#[test]
fn every_event_comes_back_in_order_and_byte_for_byte_in_both_layouts_whatever_fails_on_the_way() {
    let server = Server::start(&["--faults", "error=5%,reset=2%,throttle=5%", "--seed", "11"]);
    let cloud = server.cloud();
    let sluice = Sluice::at(&server.endpoint);
    for (table, layout) in [("ordered", Layout::Ordered), ("original", Layout::Original)] {
        create(&cloud, table, layout);
        let stored = fill(&cloud, table, layout, &events(2_000), COMPLETE);
        let ended = sluice.run(&["playback", "--events", table, "--from", "2018-03-04", "--out", "-"]).expect(0);
        assert_eq!(lines(&ended.out), expected(&stored), "{table}");
    }
}

#[test]
fn a_range_is_half_open_to_the_microsecond_and_a_filter_leaves_events_out() {
    let server = Server::start(&[]);
    let sluice = Sluice::at(&server.endpoint);
    let stored = store(&server.cloud(), "events", Layout::Ordered, &events(700), COMPLETE);
    let (from, to) = (stored[100].time, stored[300].time);
    let range = ["playback", "--events", "events", "--from", &from.to_string(), "--to", &to.to_string(), "--out", "-"];
    let wanted = || stored.iter().filter(|event| from <= event.time && event.time < to);
    assert_eq!(lines(&sluice.run(&range).expect(0).out), expected(wanted()));
    let filtered = sluice.run(&[&range[..], &["--filter", "key-3"]].concat()).expect(0);
    assert_eq!(lines(&filtered.out), expected(wanted().filter(|event| event.partition_key == "key-3")));
}

#[test]
fn a_histogram_counts_what_a_playback_plays() {
    let server = Server::start(&[]);
    let sluice = Sluice::at(&server.endpoint);
    let stored = store(&server.cloud(), "events", Layout::Ordered, &events(700), Some("2018-03-04T16:59:50.500000Z"));
    let range = ["--events", "events", "--from", "2018-03-04T14:59:50.123456Z", "--to", "2018-03-04T17:00:00Z"];
    let ended = sluice.run(&[&["playback", "--histogram", "--buckets", "7", "--json"][..], &range].concat()).expect(0);
    let buckets = lines(&ended.out);
    assert_eq!(buckets.len(), 8);
    for bucket in &buckets[..7] {
        let of = |end: &str| bucket[end].as_str().unwrap().parse::<Timestamp>().unwrap();
        let there = stored.iter().filter(|event| of("from") <= event.time && event.time < of("to")).count();
        assert_eq!(bucket["events"], there, "{bucket}");
    }
    assert_eq!((&buckets[0]["complete"], &buckets[6]["complete"]), (&json!(true), &json!(false)));
}

#[test]
fn a_day_with_three_events_takes_a_read_for_each_hour_and_each_slot() {
    let server = Server::start(&[]);
    let sluice = Sluice::at(&server.endpoint);
    let three: Vec<Event> = [0, 7_000, 9_000].iter().map(|n| events(9_001)[*n as usize].clone()).collect();
    store(&server.cloud(), "events", Layout::Ordered, &three, COMPLETE);
    let file = sluice.state.path().join("day.jsonl");
    let out = file.to_str().unwrap();
    let day = ["playback", "--events", "events", "--from", "2018-03-04", "--to", "2018-03-05", "--json", "--out", out];
    let report = sluice.run(&day).expect(0).last_json();
    assert_eq!((&report["written"], &report["requests"]), (&json!(3), &json!(24 + 3 + 1)), "{report}");
}

#[test]
fn a_killed_playback_into_a_file_goes_on_where_it_was_and_the_file_is_as_if_nothing_had_happened() {
    let server = Server::start(&[]);
    let sluice = Sluice::at(&server.endpoint);
    let stored = store(&server.cloud(), "events", Layout::Original, &events(3_000), COMPLETE);
    let file = sluice.state.path().join("out.jsonl");
    let out = file.to_str().unwrap();
    // Slow enough that it is under way when it is killed: 5.6 s of events, then two hours of nothing.
    let to = ["playback", "--events", "events", "--from", "2018-03-04", "--to", "2018-03-04T16:00:00Z", "--out", out];
    let mut child = sluice.start(&[&to[..], &["--speed", "1"]].concat());
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let id = until("something of it is stored", || {
        let jobs = sluice.run(&["jobs", "--json"]).expect(0);
        let job = lines(&jobs.out).into_iter().next()?;
        (job["written"].as_u64()? > 50 && size(&file) > 0).then(|| job["job"].as_str().unwrap().to_owned())
    });
    signal(child.id(), "KILL");
    child.wait().unwrap();
    // Half a line behind the checkpoint, as a crash may leave one.
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"time\":\"20").unwrap();
    sluice.run(&["playback", "--resume", &id]).expect(0);
    let end: Timestamp = "2018-03-04T16:00:00Z".parse().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(lines(&text), expected(stored.iter().filter(|event| event.time < end)));
}

#[test]
fn events_go_onto_a_stream_with_their_keys_and_bytes_in_the_order_of_each_key() {
    let server = Server::start(&["--faults", "partial=20%,error=5%", "--seed", "5"]);
    let cloud = server.cloud();
    let sluice = Sluice::at(&server.endpoint);
    create(&cloud, "events", Layout::Ordered);
    let stored = fill(&cloud, "events", Layout::Ordered, &events(1_000), COMPLETE);
    create_stream(&cloud, "back", 3);
    let ended = sluice
        .run(&["playback", "--events", "events", "--from", "2018-03-04", "--to-stream", "back", "--json"])
        .expect(0);
    assert_eq!(ended.last_json()["on_stream"], 1_000);
    let mut came: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    for (key, payload) in read_all(&cloud, "back") {
        let of_key = came.entry(key).or_default();
        // A record whose reply was lost is there twice, one after the other.
        if of_key.last() != Some(&payload) {
            of_key.push(payload);
        }
    }
    let mut sent: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    for event in stored {
        sent.entry(event.partition_key).or_default().push(event.payload);
    }
    assert_eq!(came, sent);
}

fn read_all(cloud: &Cloud, stream: &str) -> Vec<(String, Bytes)> {
    use aws_sdk_kinesis::types::ShardIteratorType;
    let mut records = Vec::new();
    let shards = until("shards are listed", || block_on(cloud.kinesis.list_shards().stream_name(stream).send()).ok());
    for shard in shards.shards() {
        let start = || {
            let request = cloud.kinesis.get_shard_iterator().stream_name(stream).shard_id(shard.shard_id());
            block_on(request.shard_iterator_type(ShardIteratorType::TrimHorizon).send()).ok()
        };
        let mut iterator = until("a shard is begun", start).shard_iterator;
        while let Some(at) = iterator {
            let page =
                until("a page is read", || block_on(cloud.kinesis.get_records().shard_iterator(&at).send()).ok());
            let is_end = page.records().is_empty();
            for record in page.records() {
                let key = record.partition_key().unwrap_or_default().to_owned();
                records.push((key, Bytes::copy_from_slice(record.data().as_ref())));
            }
            iterator = page.next_shard_iterator.filter(|_| !is_end);
        }
    }
    records
}

#[test]
fn events_become_put_requests_and_those_that_are_none_dead_letters() {
    let server = Server::start(&[]);
    let cloud = server.cloud();
    let sluice = Sluice::at(&server.endpoint);
    let mut made = events(40);
    for (n, event) in made.iter_mut().enumerate() {
        event.payload = if n == 7 {
            Bytes::from_static(b"no JSON")
        } else {
            Bytes::from(format!(r#"{{"id":"i-{n}","big":12345678901234567890}}"#))
        };
    }
    store(&cloud, "events", Layout::Ordered, &made, COMPLETE);
    create_stream(&cloud, "puts", 2);
    create_table(&cloud, "puts", 1_000);
    let command = [
        "playback",
        "--events",
        "events",
        "--from",
        "2018-03-04",
        "--to-puts",
        "puts",
        "--table",
        "puts",
        "--no-aggregate",
        "--json",
    ];
    let report = sluice.run(&command).expect(3).last_json();
    assert_eq!((&report["on_stream"], &report["dead"]), (&json!(39), &json!(1)));
    let records = read_all(&cloud, "puts");
    assert_eq!(records.len(), 39);
    let request: Value = serde_json::from_slice(&records[0].1).unwrap();
    assert_eq!(request["TableName"], "puts");
    assert_eq!(request["Item"]["big"], json!({"N": "12345678901234567890"}));
}

#[test]
fn following_waits_behind_the_watermark_so_that_a_late_event_is_in_its_place() {
    let server = Server::start(&[]);
    let cloud = server.cloud();
    let sluice = Sluice::at(&server.endpoint);
    let made = events(300);
    let at = made[150].time;
    let (early, late): (Vec<Event>, Vec<Event>) = made.iter().cloned().partition(|event| event.time < at);
    store(&cloud, "events", Layout::Ordered, &early, Some(&format!("{at:.6}")));
    // Beyond the watermark: not complete, so not played yet.
    fill(&cloud, "events", Layout::Ordered, &late[late.len() / 2..], None);
    let file = sluice.state.path().join("follow.jsonl");
    let out = file.to_str().unwrap();
    let mut child = sluice.start(&[
        "playback",
        "--events",
        "events",
        "--from",
        "2018-03-04",
        "--follow",
        "--out",
        out,
        "--to",
        "2018-03-05",
    ]);
    let written = || std::fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    until("what is complete is played", || (written() == early.len()).then_some(()));
    let stored = fill(&cloud, "events", Layout::Ordered, &made, COMPLETE);
    assert!(child.wait().unwrap().success());
    assert_eq!(lines(&std::fs::read_to_string(&file).unwrap()), expected(&stored));
}

#[test]
fn what_can_not_be_played_says_what_can() {
    let server = Server::start(&[]);
    let cloud = server.cloud();
    let sluice = Sluice::at(&server.endpoint);
    create_table(&cloud, "plain", 10);
    create(&cloud, "empty", Layout::Original);
    let out = sluice.state.path().join("x").to_str().unwrap().to_owned();
    let says = |args: &[&str], code: i32, words: &[&str]| {
        let ended = sluice.run(&[&["playback"], args].concat()).expect(code);
        for word in words {
            assert!(ended.err.contains(word), "no {word:?} in {}", ended.err);
        }
    };
    says(&["--events", "plain", "--from", "1h", "--out", &out], 1, &["no event table", "event_time_slot"]);
    says(
        &["--events", "events", "--from", "2018-03-04", "--to", "2018-03-03", "--out", &out],
        2,
        &["ends before it starts"],
    );
    says(&["--events", "events", "--from", "teatime", "--out", &out], 2, &["RFC 3339", "15m"]);
    says(&["--events", "empty", "--from", "1h", "--out", &out], 1, &["--repair", "--every-slot"]);
    says(&["--events", "empty", "--from", "1h", "--follow", "--out", &out], 1, &["sluice pump"]);
    store(&cloud, "old", Layout::Ordered, &events(20), COMPLETE);
    says(&["--events", "old", "--from", "1h", "--out", &out], 1, &["complete up to 2018-03-05", "--follow"]);
    says(&["--events", "empty", "--from", "1h"], 2, &["--out", "--to-stream"]);
    says(&["--events", "empty", "--from", "1h", "--to-stream", "nowhere"], 1, &["nowhere"]);
}

#[test]
fn a_table_without_a_directory_is_played_slot_by_slot_when_asked() {
    let server = Server::start(&[]);
    let cloud = server.cloud();
    let sluice = Sluice::at(&server.endpoint);
    create(&cloud, "old", Layout::Original);
    let made = events(60);
    let rows: Vec<Bytes> =
        made.iter().map(|event| row::event_row(event, Layout::Original, SlotLength::default()).1).collect();
    put(&cloud, "old", Layout::Original, &rows);
    let range = ["playback", "--events", "old", "--from", "2018-03-04T14:59:50Z", "--to", "2018-03-04T15:00:10Z"];
    let ended = sluice.run(&[&range[..], &["--every-slot", "1s", "--out", "-"]].concat()).expect(0);
    let end: Timestamp = "2018-03-04T15:00:10Z".parse().unwrap();
    let mut stored: Vec<Event> =
        made.iter().map(|event| Event { time: Layout::Original.time(event.time), ..event.clone() }).collect();
    stored.sort_by(|a, b| a.order().cmp(&b.order()));
    assert_eq!(lines(&ended.out), expected(stored.iter().filter(|event| event.time < end)));
}

#[test]
fn a_row_that_is_no_event_is_a_dead_letter_and_those_around_it_are_played() {
    let server = Server::start(&[]);
    let cloud = server.cloud();
    let sluice = Sluice::at(&server.endpoint);
    let made = events(60);
    let stored = store(&cloud, "events", Layout::Ordered, &made, COMPLETE);
    let slot = SlotLength::default().slot_of(made[3].time);
    let odd = json!({
        row::SLOT: {"S": slot.to_string()},
        row::EVENT_KEY: {"S": row::event_key(made[3].time, &"shardId-000000000009:1".parse().unwrap())},
    });
    put(&cloud, "events", Layout::Ordered, &[Bytes::from(odd.to_string())]);
    create_stream(&cloud, "back", 1);
    let ended = sluice.run(&["playback", "--events", "events", "--from", "2018-03-04", "--out", "-"]).expect(3);
    assert_eq!(lines(&ended.out), expected(&stored));
    let onto = ["playback", "--events", "events", "--from", "2018-03-04", "--to-stream", "back", "--json"];
    let report = sluice.run(&onto).expect(3).last_json();
    assert_eq!((&report["on_stream"], &report["dead"]), (&json!(60), &json!(1)));
    let letters = sluice.run(&["dead", "list", report["job"].as_str().unwrap()]);
    assert!(letters.out.contains("is no event"), "{letters:?}");
}
