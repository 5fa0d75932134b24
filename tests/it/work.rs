//! Put workers by the real binary: many tables in one stream, resharding while they run, what goes wrong, where they go on.

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use serde_json::{Value, json};
use sluicegate::cloud::Cloud;

use crate::running::{Server, Sluice, block_on, count, create_stream, create_table, signal, until};

/// A put request of version `v` of item `id`.
pub fn put(table: &str, id: &str, v: u64) -> Value {
    json!({ "TableName": table, "Item": { "id": { "S": id }, "v": { "N": v.to_string() } } })
}

/// The same, which fails unless it is newer than what is there: with it, every record that comes twice or out of order
/// counts as skipped.
pub fn put_newer(table: &str, id: &str, v: u64) -> Value {
    let mut request = put(table, id, v);
    request["ConditionExpression"] = json!("attribute_not_exists(id) OR v < :v");
    request["ExpressionAttributeValues"] = json!({ ":v": { "N": v.to_string() } });
    request
}

/// Puts `requests` onto the stream, each under the partition key beside it, in order.
pub fn send(cloud: &Cloud, stream: &str, requests: &[(String, String)]) {
    for batch in requests.chunks(500) {
        let mut left: Vec<&(String, String)> = batch.iter().collect();
        while !left.is_empty() {
            let entry = |(key, data): &&(String, String)| {
                let data = Blob::new(data.as_bytes());
                PutRecordsRequestEntry::builder().partition_key(key).data(data).build().unwrap()
            };
            let entries = left.iter().map(entry).collect();
            let Ok(reply) = block_on(cloud.kinesis.put_records().stream_name(stream).set_records(Some(entries)).send())
            else {
                continue;
            };
            let failed = |n: usize| reply.records()[n].error_code().is_some();
            left = left.into_iter().enumerate().filter(|(n, _)| failed(*n)).map(|(_, entry)| entry).collect();
        }
    }
}

fn plain(requests: impl IntoIterator<Item = Value>) -> Vec<(String, String)> {
    let keyed = |request: Value| {
        let key = request["Item"]["id"]["S"].as_str().unwrap_or("none").to_owned();
        (key, request.to_string())
    };
    requests.into_iter().map(keyed).collect()
}

/// The open shards, with their hash keys.
pub fn open_shards(cloud: &Cloud, stream: &str) -> Vec<(String, u128, u128)> {
    let shards = block_on(cloud.kinesis.list_shards().stream_name(stream).send()).unwrap().shards.unwrap();
    let open = shards.into_iter().filter(|shard| {
        shard.sequence_number_range.as_ref().is_none_or(|range| range.ending_sequence_number.is_none())
    });
    let mut open: Vec<_> = open
        .map(|shard| {
            let range = shard.hash_key_range.unwrap();
            (shard.shard_id, range.starting_hash_key.parse().unwrap(), range.ending_hash_key.parse().unwrap())
        })
        .collect();
    open.sort_by_key(|(_, first, _)| *first);
    open
}

fn active(cloud: &Cloud, stream: &str) {
    until("the stream is active", || {
        let described = block_on(cloud.kinesis.describe_stream_summary().stream_name(stream).send()).ok()?;
        (described.stream_description_summary?.stream_status.as_str() == "ACTIVE").then_some(())
    });
}

/// Splits the widest open shard in the middle.
pub fn split(cloud: &Cloud, stream: &str) {
    let open = open_shards(cloud, stream);
    let (id, first, last) = open.iter().max_by_key(|(_, first, last)| last - first).unwrap();
    let middle = (first + (last - first) / 2 + 1).to_string();
    let split = cloud.kinesis.split_shard().stream_name(stream).shard_to_split(id).new_starting_hash_key(middle);
    block_on(split.send()).unwrap();
    active(cloud, stream);
}

/// Merges the two neighbours that are the narrowest together.
pub fn merge(cloud: &Cloud, stream: &str) {
    let open = open_shards(cloud, stream);
    let pair = open.windows(2).min_by_key(|pair| pair[1].2 - pair[0].1).unwrap();
    let merge = cloud.kinesis.merge_shards().stream_name(stream);
    block_on(merge.shard_to_merge(&pair[0].0).adjacent_shard_to_merge(&pair[1].0).send()).unwrap();
    active(cloud, stream);
}

/// A server with stream `s` and the tables named.
fn scene(args: &[&str], shards: i32, tables: &[&str]) -> (Server, Sluice, Cloud) {
    let server = Server::start(&[&["--limits", "off"], args].concat());
    let cloud = server.cloud();
    create_stream(&cloud, "s", shards);
    tables.iter().for_each(|table| create_table(&cloud, table, 1_000));
    let sluice = Sluice::at(&server.endpoint);
    (server, sluice, cloud)
}

const DRAIN: [&str; 5] = ["work", "-k", "s", "--drain", "--json"];

#[test]
fn each_request_reaches_its_table_and_what_can_not_is_a_dead_letter_that_can_be_replayed() {
    let (_server, sluice, cloud) = scene(&[], 2, &["aaa", "bbb"]);
    let mut requests: Vec<Value> =
        (0..200).map(|n| put(if n % 3 == 0 { "aaa" } else { "bbb" }, &format!("k{n}"), 1)).collect();
    requests.push(put_newer("aaa", "k0", 1));
    requests.push(json!({ "TableName": "aaa", "Key": { "id": { "S": "k3" } } }));
    requests.push(put("later", "lost", 1));
    requests.push(json!({ "id": { "S": "a bare item" } }));
    // One key, one shard: what follows k3's put comes after it.
    let keyed: Vec<(String, String)> = requests.iter().map(|request| ("one".to_owned(), request.to_string())).collect();
    send(&cloud, "s", &keyed);
    let ended = sluice.run(&DRAIN).expect(3).last_json();
    let told = |field: &str| ended[field].as_u64().unwrap();
    assert_eq!((told("read"), told("written"), told("deleted")), (204, 200, 1), "{ended}");
    assert_eq!((told("skipped"), told("dead")), (1, 2), "{ended}");
    assert_eq!((count(&cloud, "aaa"), count(&cloud, "bbb")), (66, 133));
    let tables = ended["tables"].as_array().unwrap();
    assert_eq!(
        (&tables[0]["table"], &tables[0]["written"], &tables[0]["skipped"]),
        (&json!("aaa"), &json!(67), &json!(1))
    );
    assert_eq!((&tables[1]["table"], &tables[1]["written"]), (&json!("bbb"), &json!(133)));

    let job = ended["job"].as_str().unwrap();
    create_table(&cloud, "later", 100);
    let listed = sluice.run(&["dead", "list", job, "--json"]).expect(0).out;
    let mut letters = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let letter = letters.find(|dead| dead["reason"].as_str().unwrap().contains("no table later")).unwrap();
    sluice.run(&["dead", "replay", job, &letter["number"].to_string(), "--yes"]).expect(0);
    assert_eq!(count(&cloud, "later"), 1);
}

#[test]
fn the_next_job_goes_on_where_the_last_one_stopped_whatever_from_says() {
    let (server, sluice, cloud) = scene(&[], 2, &["aaa"]);
    send(&cloud, "s", &plain((0..300).map(|n| put("aaa", &format!("k{n}"), 1))));
    assert_eq!(sluice.run(&DRAIN).expect(0).last_json()["read"], 300);
    send(&cloud, "s", &plain((0..40).map(|n| put("aaa", &format!("k{n}"), 2))));
    let again = sluice.run(&[&DRAIN[..], &["--from", "trim-horizon"]].concat()).expect(0).last_json();
    assert_eq!((&again["read"], &again["written"]), (&json!(40), &json!(40)));
    assert_eq!(sluice.run(&DRAIN).expect(0).last_json()["read"], 0);
    // Another journal knows nothing of that.
    let other = Sluice::at(&server.endpoint);
    assert_eq!(other.run(&DRAIN).expect(0).last_json()["read"], 340);
}

#[test]
fn what_comes_while_nobody_reads_is_read_by_the_next_job_that_once_began_at_the_newest_record() {
    let (_server, sluice, cloud) = scene(&[], 2, &["aaa"]);
    let latest = [&DRAIN[..], &["--from", "latest"]].concat();
    assert_eq!(sluice.run(&latest).expect(0).last_json()["read"], 0);
    send(&cloud, "s", &plain((0..50).map(|n| put("aaa", &format!("k{n}"), 1))));
    assert_eq!(sluice.run(&latest).expect(0).last_json()["read"], 50);
}

#[test]
fn a_worker_that_is_killed_loses_nothing_and_one_that_is_told_to_end_checkpoints() {
    let (_server, sluice, cloud) = scene(&[], 2, &["aaa"]);
    send(&cloud, "s", &plain((0..4_000).map(|n| put("aaa", &format!("k{n}"), 1))));
    let mut worker = sluice.start(&["work", "-k", "s", "--rate", "400"]);
    until("something is written", || (count(&cloud, "aaa") > 400).then_some(()));
    worker.kill().unwrap();
    worker.wait().unwrap();
    let mut worker = sluice.start(&["work", "-k", "s", "--rate", "2000"]);
    until("the half is written", || (count(&cloud, "aaa") > 2_000).then_some(()));
    signal(worker.id(), "TERM");
    assert_eq!(worker.wait().unwrap().code(), Some(130));
    let left = sluice.run(&DRAIN).expect(0).last_json()["read"].as_u64().unwrap();
    assert!(left < 2_000, "{left} read again");
    assert_eq!(count(&cloud, "aaa"), 4_000);
}

#[test]
fn only_one_job_keeps_its_place_in_a_stream() {
    let (_server, sluice, _cloud) = scene(&[], 1, &[]);
    let mut first = sluice.start(&["work", "-k", "s"]);
    until("it runs", || sluice.run(&["jobs", "--json"]).out.contains("\"running\"").then_some(()));
    let second = sluice.run(&DRAIN).expect(1);
    assert!(second.err.contains("--lease-table"), "{second:?}");
    signal(first.id(), "TERM");
    assert_eq!(first.wait().unwrap().code(), Some(130));
    sluice.run(&DRAIN).expect(0);
}

#[test]
fn splits_and_merges_while_it_runs_lose_nothing_repeat_nothing_and_keep_each_keys_order() {
    let faults = "throttle=5%,error=3%,partial=5%,expire-iterators=3%";
    let (_server, sluice, cloud) = scene(&["--faults", faults, "--seed", "5"], 3, &["aaa"]);
    let mut worker = sluice.start(&["work", "-k", "s", "--json"]);
    let (keys, versions) = (60, 60);
    for v in 1..=versions {
        send(&cloud, "s", &plain((0..keys).map(|n| put_newer("aaa", &format!("k{n}"), v))));
        match v % 12 {
            3 => split(&cloud, "s"),
            9 => merge(&cloud, "s"),
            _ => {}
        }
    }
    let newest = || {
        let pages = cloud.dynamodb.scan().table_name("aaa").consistent_read(true).send();
        let items = block_on(pages).ok()?.items?;
        let is_newest = |v: &str| v == versions.to_string();
        let all = items.iter().filter(|item| is_newest(item["v"].as_n().unwrap())).count();
        (all == keys as usize).then_some(())
    };
    until("the last version of each key is there", newest);
    signal(worker.id(), "TERM");
    assert_eq!(worker.wait().unwrap().code(), Some(130));
    let jobs = sluice.run(&["jobs", "--json"]).out;
    let job: Value = serde_json::from_str(jobs.lines().next().unwrap()).unwrap();
    let told = |field: &str| job[field].as_u64().unwrap();
    assert_eq!((told("read"), told("written"), told("skipped")), (keys * versions, keys * versions, 0), "{job}");
    assert_eq!(open_shards(&cloud, "s").len(), 3);
}

#[test]
fn a_stream_that_is_deleted_under_us_ends_the_job_in_words() {
    let (_server, sluice, cloud) = scene(&[], 1, &["aaa"]);
    send(&cloud, "s", &plain((0..10).map(|n| put("aaa", &format!("k{n}"), 1))));
    let worker = sluice.start(&["work", "-k", "s"]);
    until("all is written", || (count(&cloud, "aaa") == 10).then_some(()));
    block_on(cloud.kinesis.delete_stream().stream_name("s").send()).unwrap();
    let ended = worker.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("stream s is gone"), "{said}");
}

#[test]
fn a_dry_run_prints_what_it_would_write_and_keeps_no_place() {
    let (_server, sluice, cloud) = scene(&[], 1, &["aaa"]);
    send(&cloud, "s", &plain((0..3).map(|n| put("aaa", &format!("k{n}"), 1))));
    let dry = sluice.run(&[&DRAIN[..], &["--dry-run"]].concat()).expect(0);
    assert!(dry.out.contains("BatchWriteItem"), "{dry:?}");
    assert_eq!(count(&cloud, "aaa"), 0);
    assert_eq!(sluice.run(&DRAIN).expect(0).last_json()["read"], 3);
}

#[test]
fn the_shards_send_their_records_where_fan_out_is_asked_for() {
    let (_server, sluice, cloud) = scene(&[], 2, &["aaa"]);
    send(&cloud, "s", &plain((0..100).map(|n| put("aaa", &format!("k{n}"), 1))));
    let sent = [&DRAIN[..], &["--fan-out", "mine"]].concat();
    assert_eq!(sluice.run(&sent).expect(0).last_json()["read"], 100);
    send(&cloud, "s", &plain((0..7).map(|n| put("aaa", &format!("k{n}"), 2))));
    assert_eq!(sluice.run(&sent).expect(0).last_json()["read"], 7);
}
