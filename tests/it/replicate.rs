//! Replicas by the real binary: the original's case, kills in the middle of changes, a bootstrap under writes, both ways, and
//! what goes wrong.

use std::collections::HashMap;
use std::process::Stdio;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, StreamSpecification, StreamViewType, WriteRequest};
use serde_json::{Value, json};
use sluicegate::cloud::Cloud;

use crate::running::{Server, Sluice, block_on, create_table, signal, until};
use crate::table_streams::close_shards;

type Item = HashMap<String, AttributeValue>;

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: &str) -> AttributeValue {
    AttributeValue::N(number.to_owned())
}

/// A value of each type in turn, some of which the original lost.
fn value(turn: u64) -> AttributeValue {
    let blob = |bytes: &[u8]| aws_sdk_dynamodb::primitives::Blob::new(bytes);
    match turn % 10 {
        0 => n("1.50"),
        1 => n("12345678901234567890123456789012345678"),
        2 => AttributeValue::B(blob(&[1, 2, 255])),
        3 => s("é😀\u{2028}"),
        4 => AttributeValue::Ss(vec!["a".into(), "b".into()]),
        5 => AttributeValue::Ns(vec!["1".into(), "2.5".into()]),
        6 => AttributeValue::Bs(vec![blob(&[1]), blob(&[255, 0])]),
        7 => AttributeValue::Bool(true),
        8 => AttributeValue::Null(true),
        _ => AttributeValue::M(HashMap::from([("l".into(), AttributeValue::L(vec![n("1"), s("")]))])),
    }
}

/// Puts, updates and deletes of `keys` keys, told apart by `seed`: repeatable, and of every type.
fn churn(cloud: &Cloud, table: &str, keys: u64, changes: std::ops::Range<u64>) {
    for turn in changes {
        // A step that meets all keys and kinds in an order of its own.
        let mixed = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let key = format!("k{}", mixed % keys);
        let dynamodb = &cloud.dynamodb;
        let done = match mixed / keys % 4 {
            0 => block_on(dynamodb.delete_item().table_name(table).key("id", s(&key)).send()).is_ok(),
            1 => {
                let update = dynamodb.update_item().table_name(table).key("id", s(&key));
                let update = update.update_expression("SET u = :u").expression_attribute_values(":u", value(turn));
                block_on(update.send()).is_ok()
            }
            _ => {
                let put = dynamodb.put_item().table_name(table).item("id", s(&key)).item("v", value(turn));
                block_on(put.item("turn", n(&turn.to_string())).send()).is_ok()
            }
        };
        assert!(done, "change {turn} was refused");
    }
}

/// Everything in a table, by its key, as JSON text of ordered values.
fn contents(cloud: &Cloud, table: &str) -> std::collections::BTreeMap<String, Item> {
    let (mut items, mut after) = (std::collections::BTreeMap::new(), None);
    loop {
        let page = cloud.dynamodb.scan().table_name(table).consistent_read(true).set_exclusive_start_key(after);
        let page = block_on(page.send()).expect("the table can be read");
        for mut item in page.items.unwrap_or_default() {
            for value in item.values_mut() {
                match value {
                    AttributeValue::Ss(members) | AttributeValue::Ns(members) => members.sort_unstable(),
                    AttributeValue::Bs(members) => members.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref())),
                    _ => {}
                }
            }
            items.insert(format!("{:?}", item["id"]), item);
        }
        after = page.last_evaluated_key;
        if after.is_none() {
            return items;
        }
    }
}

#[track_caller]
fn assert_equal(cloud: &Cloud, one: &str, other: &str) {
    let (one, other) = (contents(cloud, one), contents(cloud, other));
    let keys = one.keys().chain(other.keys()).filter(|key| one.get(*key) != other.get(*key));
    let differ: Vec<_> = keys.take(3).map(|key| (key, one.get(key), other.get(key))).collect();
    assert!(differ.is_empty(), "{} and {} items, such as {differ:?}", one.len(), other.len());
}

fn begin_stream(cloud: &Cloud, table: &str, view: StreamViewType) {
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build().unwrap();
    set_stream(cloud, table, &stream);
}

/// One change of a table at a time: another one is waited for.
fn set_stream(cloud: &Cloud, table: &str, stream: &StreamSpecification) {
    until("the table can be changed", || {
        let update = cloud.dynamodb.update_table().table_name(table).stream_specification(stream.clone());
        block_on(update.send()).ok()
    });
    until("the table is active", || {
        let described = block_on(cloud.dynamodb.describe_table().table_name(table).send()).ok()?.table?;
        (described.table_status?.as_str() == "ACTIVE").then_some(())
    });
}

fn put_many(cloud: &Cloud, table: &str, items: impl IntoIterator<Item = Item>) {
    let items: Vec<Item> = items.into_iter().collect();
    for batch in items.chunks(25) {
        let request = |item: &Item| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        };
        let mut left: Vec<WriteRequest> = batch.iter().map(request).collect();
        while !left.is_empty() {
            if let Ok(reply) = block_on(cloud.dynamodb.batch_write_item().request_items(table, left.clone()).send()) {
                left = reply.unprocessed_items.unwrap_or_default().remove(table).unwrap_or_default();
            }
        }
    }
}

fn item(key: &str, value: &str) -> Item {
    HashMap::from([("id".into(), s(key)), ("v".into(), s(value))])
}

fn scene(args: &[&str], tables: &[&str]) -> (Server, Sluice, Cloud) {
    let server = Server::start(&[&["--limits", "off"], args].concat());
    let cloud = server.cloud();
    tables.iter().for_each(|table| create_table(&cloud, table, 1_000));
    let sluice = Sluice::at(&server.endpoint);
    (server, sluice, cloud)
}

const ONCE: [&str; 8] = ["replicate", "-t", "source", "--to", "target", "--until-caught-up", "--yes", "--json"];

#[test]
fn the_originals_table_is_copied_with_its_index_and_followed_through_every_kind_of_change() {
    let (_server, sluice, cloud) = scene(&["--faults", "error=3%,partial=5%,lose-reply=2%", "--seed", "7"], &[]);
    let schema = json!({
        "TableName": "source", "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" },
            { "AttributeName": "GSI_1_PK", "AttributeType": "S" }],
        "ProvisionedThroughput": { "ReadCapacityUnits": 4000, "WriteCapacityUnits": 400 },
        "GlobalSecondaryIndexes": [{ "IndexName": "GSI_1",
            "KeySchema": [{ "AttributeName": "GSI_1_PK", "KeyType": "HASH" }],
            "Projection": { "ProjectionType": "INCLUDE", "NonKeyAttributes": ["bytessent", "requestid", "host"] },
            "ProvisionedThroughput": { "ReadCapacityUnits": 10, "WriteCapacityUnits": 400 } }],
    });
    let made = sluicegate::cloud::schema::Schema::from_json(&schema.to_string()).unwrap();
    let new =
        sluicegate::jobs::create_table::NewTable { schema: made, expires: None, from: String::new(), left_out: vec![] };
    block_on(sluicegate::jobs::create_table::create(&cloud, &new, Default::default(), &|_| {})).unwrap();
    put_many(
        &cloud,
        "source",
        (0..300).map(|k| {
            let mut item = item(&format!("k{k}"), "before");
            item.insert("GSI_1_PK".into(), s("h"));
            item.insert("host".into(), value(k));
            item
        }),
    );
    let first = sluice.run(&[&ONCE[..], &["--create"]].concat()).expect(0).last_json();
    assert_eq!((&first["changes"]["scanned"], &first["dead"]), (&json!(300), &json!(0)), "{first}");
    assert_equal(&cloud, "source", "target");
    let described = block_on(cloud.dynamodb.describe_table().table_name("target").send()).unwrap().table.unwrap();
    let index = &described.global_secondary_indexes()[0];
    let mut held = index.projection().unwrap().non_key_attributes().to_vec();
    held.sort_unstable();
    assert_eq!(held, ["bytessent", "host", "requestid"]);
    assert_eq!(index.provisioned_throughput().unwrap().write_capacity_units(), Some(400));

    put_many(&cloud, "source", (0..40).map(|k| item(&format!("k{k}"), "after")));
    for k in 40..60 {
        until("the item is deleted", || {
            block_on(cloud.dynamodb.delete_item().table_name("source").key("id", s(&format!("k{k}"))).send()).ok()
        });
    }
    let second = sluice.run(&ONCE).expect(0).last_json();
    assert_eq!(second["changes"]["scanned"], 0, "it goes on where the first one stopped: {second}");
    assert_eq!(second["changes"]["removed"], 20, "{second}");
    assert_equal(&cloud, "source", "target");
}

#[test]
fn a_worker_that_is_killed_five_times_in_the_middle_of_changes_loses_none() {
    let (server, sluice, cloud) = scene(&[], &["source", "target"]);
    begin_stream(&cloud, "source", StreamViewType::NewImage);
    let args = ["replicate", "-t", "source", "--to", "target", "--json"];
    for life in 0..5_u64 {
        let mut worker = sluice.command().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        churn(&cloud, "source", 60, life * 120..life * 120 + 60);
        until("something of this life is in the replica", || {
            let jobs = sluice.run(&["jobs", "--json"]).out;
            let job: Value = serde_json::from_str(jobs.lines().next()?).ok()?;
            (job["read"].as_u64()? > 0).then_some(())
        });
        // Each key's changes go on in a child, and may not pass those in the parent.
        close_shards(&server.endpoint, "source", if life == 0 { "split" } else { "roll" });
        churn(&cloud, "source", 60, life * 120 + 60..life * 120 + 120);
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let ended = sluice.run(&ONCE).expect(0).last_json();
    assert_eq!(ended["dead"], 0, "{ended}");
    assert!(ended.get("gap").is_none(), "{ended}");
    assert_equal(&cloud, "source", "target");
}

#[test]
fn a_bootstrap_under_writes_never_puts_an_older_item_over_a_newer_change() {
    let (_server, sluice, cloud) = scene(&[], &["source", "target"]);
    let long = "before".repeat(70);
    put_many(&cloud, "source", (0..600).map(|k| item(&format!("k{k}"), &long)));
    begin_stream(&cloud, "source", StreamViewType::NewImage);
    // Slow enough that the changes come into the middle of it.
    let args = ["replicate", "-t", "source", "--to", "target", "--json", "--read-budget", "10"];
    let worker = sluice.start(&args);
    until("the scan is under way", || {
        let jobs = sluice.run(&["jobs", "--json"]).out;
        let job: Value = serde_json::from_str(jobs.lines().next()?).ok()?;
        (job["read"].as_u64()? > 20).then_some(())
    });
    churn(&cloud, "source", 600, 0..150);
    signal(worker.id(), "KILL");
    let killed = worker.wait_with_output().unwrap();
    assert!(!killed.status.success());
    churn(&cloud, "source", 600, 150..200);
    let ended = sluice.run(&ONCE).expect(0).last_json();
    assert_equal(&cloud, "source", "target");
    let told = |field: &str| ended["changes"][field].as_u64().unwrap();
    assert!(told("scanned") > 0 && told("inserted") + told("modified") >= 100, "both were read anew: {ended}");
    // From now on it is through.
    assert_eq!(sluice.run(&ONCE).expect(0).last_json()["changes"]["scanned"], 0);
}

/// Changes of a few keys on both sides at once.
fn conflicts(cloud: &Cloud, tables: [&str; 2], ranked: bool) {
    for turn in 0..160_u64 {
        let mixed = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        let (table, key) = (tables[(mixed % 2) as usize], format!("k{}", mixed / 2 % 7));
        let rank = n(&(turn / 8 + mixed / 14 % 4).to_string());
        match mixed / 56 % 4 {
            0 => drop(block_on(cloud.dynamodb.delete_item().table_name(table).key("id", s(&key)).send()).unwrap()),
            1 => {
                let update = cloud.dynamodb.update_item().table_name(table).key("id", s(&key));
                let update = update.expression_attribute_values(":u", value(turn));
                let update = if ranked {
                    update.update_expression("SET u = :u, at_time = :r").expression_attribute_values(":r", rank)
                } else {
                    update.update_expression("SET u = :u")
                };
                drop(block_on(update.send()).unwrap());
            }
            _ => {
                let put =
                    cloud.dynamodb.put_item().table_name(table).item("id", s(&key)).item("v", n(&turn.to_string()));
                let put = if ranked { put.item("at_time", rank) } else { put };
                drop(block_on(put.send()).unwrap());
            }
        }
    }
}

fn both_ways(rule: &str, ranked: bool) {
    let (_server, sluice, cloud) = scene(&[], &["source", "target"]);
    begin_stream(&cloud, "source", StreamViewType::NewAndOldImages);
    begin_stream(&cloud, "target", StreamViewType::NewAndOldImages);
    let args = ["replicate", "-t", "source", "--to", "target", "--two-way", rule, "--json"];
    let worker = sluice.start(&args);
    until("it reads", || sluice.run(&["jobs", "--json"]).out.contains("running").then_some(()));
    conflicts(&cloud, ["source", "target"], ranked);
    signal(worker.id(), "KILL");
    worker.wait_with_output().unwrap();
    conflicts(&cloud, ["target", "source"], ranked);
    let once = [&args[..], &["--until-caught-up"]].concat();
    let ended = sluice.run(&once).expect(0).last_json();
    assert_eq!(ended["dead"], 0, "{ended}");
    assert_equal(&cloud, "source", "target");
    // Nothing goes round any more.
    let quiet = sluice.run(&once).expect(0).last_json();
    assert_eq!((&quiet["written"], &quiet["deleted"]), (&json!(0), &json!(0)), "{quiet}");
}

#[test]
fn both_sides_come_to_the_same_by_the_rank_of_an_attribute() {
    both_ways("last-writer:at_time", true);
}

#[test]
fn both_sides_come_to_the_same_by_arrival() {
    both_ways("arrival", false);
}

#[test]
fn what_a_filter_leaves_out_leaves_the_replica_and_a_renamed_key_is_found_by_its_deletes() {
    let (_server, sluice, cloud) = scene(&[], &["source"]);
    put_many(&cloud, "source", [item("a", "in"), item("b", "out"), item("c", "in"), item("d", "in")]);
    let shaped = ["--create", "--filter", ".v == \"in\"", "--rename", "id=key", "--rename", "v=w"];
    let args = [&ONCE[..], &shaped].concat();
    sluice.run(&args).expect(0);
    let keys = || {
        let page = block_on(cloud.dynamodb.scan().table_name("target").send()).unwrap();
        let mut keys: Vec<String> = page.items().iter().map(|item| item["key"].as_s().unwrap().clone()).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(), ["a", "c", "d"]);
    put_many(&cloud, "source", [item("a", "out"), item("b", "in")]);
    block_on(cloud.dynamodb.delete_item().table_name("source").key("id", s("d")).send()).unwrap();
    sluice.run(&args).expect(0);
    assert_eq!(keys(), ["b", "c"]);
}

#[test]
fn a_stream_that_carries_too_little_is_explained_and_changed_only_when_that_is_asked_for() {
    let (_server, sluice, cloud) = scene(&[], &["source", "target"]);
    put_many(&cloud, "source", [item("a", "1")]);
    begin_stream(&cloud, "source", StreamViewType::KeysOnly);
    let refused = sluice.run(&ONCE).expect(1);
    assert!(refused.err.contains("KEYS_ONLY") && refused.err.contains("--switch-stream"), "{}", refused.err);
    assert_eq!(contents(&cloud, "target").len(), 0);
    sluice.run(&[&ONCE[..], &["--switch-stream"]].concat()).expect(0);
    assert_equal(&cloud, "source", "target");
    let described = block_on(cloud.dynamodb.describe_table().table_name("source").send()).unwrap().table.unwrap();
    let view = described.stream_specification().unwrap().stream_view_type().cloned();
    assert_eq!(view, Some(StreamViewType::NewImage));
}

#[test]
fn a_stream_that_was_ended_meanwhile_is_a_gap_that_is_said_until_a_new_bootstrap_repairs_it() {
    let (_server, sluice, cloud) = scene(&[], &["source", "target"]);
    put_many(&cloud, "source", (0..40).map(|k| item(&format!("k{k}"), "1")));
    sluice.run(&ONCE).expect(0);
    let off = StreamSpecification::builder().stream_enabled(false).build().unwrap();
    set_stream(&cloud, "source", &off);
    // Nobody is told of these.
    block_on(cloud.dynamodb.delete_item().table_name("source").key("id", s("k1")).send()).unwrap();
    put_many(&cloud, "source", [item("k2", "2")]);
    begin_stream(&cloud, "source", StreamViewType::NewImage);
    put_many(&cloud, "source", [item("k3", "3")]);
    let gap = sluice.run(&ONCE).expect(3).last_json();
    assert!(gap["gap"].as_str().unwrap().contains("--rebootstrap"), "{gap}");
    sluice.run(&ONCE).expect(3);
    let repaired = sluice.run(&[&ONCE[..], &["--rebootstrap"]].concat()).expect(0).last_json();
    assert_eq!(repaired["changes"]["swept"], 1, "{repaired}");
    assert_equal(&cloud, "source", "target");
    assert!(sluice.run(&ONCE).expect(0).last_json().get("gap").is_none());
}

/// Lets the journal say of the last replica that its shards were never seen read to their ends.
fn forget_tips(sluice: &Sluice) {
    let journal = sluicegate::jobs::Journal::open(&sluice.state.path().join("journal.sqlite")).unwrap();
    let job = &journal.jobs().unwrap()[0];
    let mut row: Value = serde_json::from_slice(&journal.checkpoint(&job.id, "replica").unwrap().unwrap()).unwrap();
    row["tips"] = json!({});
    journal.leave_word(&job.id, "replica", row.to_string().as_bytes()).unwrap();
}

#[test]
fn changes_that_left_the_stream_unread_are_a_gap_and_a_shard_that_was_read_to_its_end_is_none() {
    let (server, sluice, cloud) = scene(&[], &["source", "target"]);
    begin_stream(&cloud, "source", StreamViewType::NewImage);
    put_many(&cloud, "source", (0..40).map(|k| item(&format!("k{k}"), "1")));
    sluice.run(&[&ONCE[..], &["--bootstrap", "none"]].concat()).expect(0);
    // All that was read leaves the stream: nothing is missing.
    close_shards(&server.endpoint, "source", "trim");
    assert!(sluice.run(&ONCE).expect(0).last_json().get("gap").is_none());
    assert_equal(&cloud, "source", "target");

    put_many(&cloud, "source", [item("k2", "2")]);
    close_shards(&server.endpoint, "source", "trim");
    forget_tips(&sluice);
    let gap = sluice.run(&ONCE).expect(3);
    assert!(gap.last_json()["gap"].as_str().unwrap().contains("24 hours"), "{gap:?}");
    sluice.run(&[&ONCE[..], &["--rebootstrap"]].concat()).expect(0);
    assert_equal(&cloud, "source", "target");
}

#[test]
fn what_can_not_be_replicated_is_refused_in_words() {
    let (_server, sluice, cloud) = scene(&[], &["source", "target"]);
    let itself = sluice.run(&["replicate", "-t", "source", "--to", "source", "-y"]).expect(1);
    assert!(itself.err.contains("its own replica"), "{}", itself.err);
    let absent = sluice.run(&["replicate", "-t", "source", "--to", "nowhere", "-y"]).expect(1);
    assert!(absent.err.contains("--create"), "{}", absent.err);
    let renamed = sluice.run(&[&ONCE[..], &["--rename", "id=key"]].concat()).expect(1);
    assert!(renamed.err.contains("another key") && renamed.err.contains("--rename"), "{}", renamed.err);
    let unasked = sluice.run(&["replicate", "-t", "source", "--to", "target"]).expect(2);
    assert!(unasked.err.contains("no stream") && unasked.err.contains("--yes"), "{}", unasked.err);
    let read_only = sluice.run(&[&ONCE[..], &["--read-only"]].concat()).expect(1);
    assert!(read_only.err.contains("read-only"), "{}", read_only.err);
    let stream = block_on(cloud.dynamodb.describe_table().table_name("source").send()).unwrap().table.unwrap();
    assert!(stream.stream_specification().is_none(), "nothing was changed");
    let plan = sluice.run(&[&ONCE[..7], &["--plan", "--json"]].concat()).expect(0).last_json();
    assert!(plan["streams"][0].as_str().unwrap().contains("NEW_IMAGE"), "{plan}");
}

#[test]
fn a_row_that_can_not_be_is_a_dead_letter_that_can_be_replayed_and_its_neighbours_go_on() {
    let (_server, sluice, cloud) = scene(&[], &["source", "target"]);
    begin_stream(&cloud, "source", StreamViewType::NewImage);
    let large = "x".repeat(409_000);
    put_many(&cloud, "source", [item("a", "1"), item("large", &large), item("b", "2")]);
    // The new name is longer than what is left of 400 KB.
    let name = "v".repeat(2_000);
    let rename = format!("v={name}");
    let from = ["--bootstrap", "none", "--rename", &rename];
    let ended = sluice.run(&[&ONCE[..], &from].concat()).expect(3).last_json();
    assert_eq!((&ended["written"], &ended["dead"]), (&json!(2), &json!(1)), "{ended}");
    let listed = sluice.run(&["dead", "list", ended["job"].as_str().unwrap(), "--json"]).expect(0).out;
    assert!(listed.contains("409,600"), "{}", &listed[..listed.len().min(300)]);
    assert_eq!(contents(&cloud, "target").len(), 2);
}
