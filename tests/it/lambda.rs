//! The Lambda host: the real `sluice-lambda` under a runtime API, against the embedded AWS.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lambda_simulator::{InvocationBuilder, Simulator};
use serde_json::{Value, json};
use sluicegate::cloud::Cloud;
use sluicegate::flow::{LetterLine, aggregate};
use sluicegate::item::request;

use crate::running::{Server, Sluice, block_on, count, create_stream, create_table, item, until};

/// A process of a function, and the Lambda that invokes it.
struct Function {
    simulator: Simulator,
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
}

const LETTERS: (&str, &str) = ("SLUICE_DEAD_LETTERS", "s3://letters/dead");

fn program(simulator: &Simulator, endpoint: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-lambda"));
    command.env_clear().envs(simulator.lambda_env_vars()).env("AWS_ENDPOINT_URL", endpoint);
    command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

fn simulator() -> Simulator {
    block_on(Simulator::builder().function_name("a-function").build()).unwrap()
}

impl Function {
    fn start(server: &Server, environment: &[(&str, &str)]) -> Self {
        let simulator = simulator();
        let mut process = program(&simulator, &server.endpoint, environment).spawn().unwrap();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (lines, kept) = (BufReader::new(process.stdout.take().unwrap()).lines(), Arc::clone(&log));
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        Self { simulator, process, log }
    }

    fn put(server: &Server) -> Self {
        Self::start(server, &[("SLUICE_HANDLER", "put"), LETTERS])
    }

    /// Invokes it with a timeout of `seconds`: its answer, or the error that it reported.
    fn invoke(&self, event: Value, seconds: u64) -> Result<Value, String> {
        let invocation = InvocationBuilder::new().payload(event).timeout_ms(seconds * 1_000).build().unwrap();
        block_on(async {
            let id = self.simulator.enqueue(invocation).await;
            let done = self.simulator.wait_for_invocation_complete(&id, Duration::from_mins(5)).await.unwrap();
            match (done.response, done.error) {
                (Some(response), _) => Ok(response.payload),
                (None, Some(error)) => Err(error.error_message),
                (None, None) => panic!("{:?}", done.status),
            }
        })
    }

    /// The sequence number from which on records are to be handed over once more.
    #[track_caller]
    fn first_open(&self, event: Value, seconds: u64) -> Option<String> {
        let answer = self.invoke(event, seconds).unwrap();
        let failures = answer["batchItemFailures"].as_array().unwrap();
        assert!(failures.len() <= 1, "{answer}");
        failures.first().map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned())
    }

    /// The first line of its log that `wanted` picks.
    fn line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let log = self.log.lock().unwrap();
            log.iter().filter_map(|line| serde_json::from_str(line).ok()).find(&wanted)
        })
    }

    /// The `n`th line of metrics of the whole stream.
    fn metrics(&self, n: usize) -> Value {
        until("the metrics are told", || {
            let log = self.log.lock().unwrap();
            let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter(|line| line["_aws"].is_object() && line["table"].is_null()).nth(n)
        })
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sequence(n: usize) -> String {
    format!("4954511524349098501828006771497314458218006259324420{n:04}")
}

/// An event of a Kinesis stream, its first record numbered `from`.
fn kinesis_event(from: usize, records: &[Vec<u8>]) -> Value {
    let record = |(n, data): (usize, &Vec<u8>)| {
        let sequence = sequence(from + n);
        json!({
            "kinesis": {
                "kinesisSchemaVersion": "1.0", "partitionKey": format!("p-{n}"), "sequenceNumber": sequence,
                "data": BASE64_STANDARD.encode(data), "approximateArrivalTimestamp": 1_520_175_584.030_4,
            },
            "eventSource": "aws:kinesis", "eventVersion": "1.0",
            "eventID": format!("shardId-000000000006:{sequence}"), "eventName": "aws:kinesis:record",
            "awsRegion": "us-east-1", "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
        })
    };
    json!({ "Records": records.iter().enumerate().map(record).collect::<Vec<_>>() })
}

fn put_request(table: &str, item: &str) -> Vec<u8> {
    request::encode(table, item.as_bytes()).to_vec()
}

fn create_bucket(cloud: &Cloud, name: &str) {
    block_on(cloud.s3.create_bucket().bucket(name).send()).unwrap();
}

/// All dead letters in the bucket, and how many objects hold them.
fn letters(cloud: &Cloud) -> (usize, Vec<LetterLine>) {
    block_on(async {
        let listed = cloud.s3.list_objects_v2().bucket("letters").prefix("dead/").send().await.unwrap();
        let mut lines = Vec::new();
        for object in listed.contents() {
            let read = cloud.s3.get_object().bucket("letters").key(object.key().unwrap()).send().await.unwrap();
            let body = String::from_utf8(read.body.collect().await.unwrap().to_vec()).unwrap();
            lines.extend(body.lines().map(|line| serde_json::from_str::<LetterLine>(line).unwrap()));
        }
        (listed.contents().len(), lines)
    })
}

/// Attribute `v` of the item with key `id`; `None` without such an item.
fn value(cloud: &Cloud, table: &str, id: &str) -> Option<AttributeValue> {
    let key = AttributeValue::S(id.to_owned());
    let get = || cloud.dynamodb.get_item().table_name(table).key("id", key.clone()).consistent_read(true).send();
    // The embedded AWS may have faults on.
    let found = until("an item is read", || block_on(get()).ok());
    found.item?.remove("v")
}

fn scene(options: &[&str], tables: &[&str]) -> (Server, Cloud) {
    let server = Server::start(options);
    let cloud = server.cloud();
    tables.iter().for_each(|table| create_table(&cloud, table, 1_000));
    create_bucket(&cloud, "letters");
    (server, cloud)
}

#[test]
fn put_runs_the_requests_of_a_batch_for_many_tables_cold_and_warm() {
    let (server, cloud) = scene(&["--limits", "off"], &["one", "two"]);
    let function = Function::put(&server);
    let mut records: Vec<Vec<u8>> =
        (0..400).map(|n| put_request(if n % 2 == 0 { "one" } else { "two" }, &item(n))).collect();
    records.push(put_request("one", r#"{"id":{"S":"gone"}}"#));
    records.push(request::encode_delete("one", br#"{"id":{"S":"gone"}}"#).to_vec());
    // The first version is the one that counts: its condition fails the second.
    records.push(request::encode_if_absent("one", "id", br#"{"id":{"S":"c"},"v":{"S":"first"}}"#).to_vec());
    records.push(request::encode_if_absent("one", "id", br#"{"id":{"S":"c"},"v":{"S":"second"}}"#).to_vec());
    assert_eq!(function.first_open(kinesis_event(0, &records), 60), None);
    assert_eq!((count(&cloud, "one"), count(&cloud, "two")), (201, 200));
    assert_eq!(value(&cloud, "one", "c"), Some(AttributeValue::S("first".into())));
    let told = function.metrics(0);
    assert_eq!((&told["function"], &told["stream"]), (&json!("a-function"), &json!("orders")));
    assert_eq!((&told["records"], &told["written"], &told["deleted"]), (&json!(404), &json!(402), &json!(1)));
    assert_eq!((&told["skipped"], &told["dead"], &told["handed_back"]), (&json!(1), &json!(0), &json!(0)));
    assert!(told["iterator_age"].as_f64().unwrap() > 0.0);
    let of_table = function.line("a table is told", |line| line["table"] == "two" && line["_aws"].is_object());
    assert_eq!(of_table["written"], 200);

    let more: Vec<Vec<u8>> = (400..500).map(|n| put_request("two", &item(n))).collect();
    assert_eq!(function.first_open(kinesis_event(500, &more), 60), None);
    assert_eq!(count(&cloud, "two"), 300);
    assert_eq!(function.metrics(1)["written"], 100);
    let cold: Vec<String> =
        function.log.lock().unwrap().iter().filter(|line| line.contains("\"change\"")).cloned().collect();
    assert!(cold.iter().any(|line| line.contains("BatchWriteItem") && line.contains("two")), "it is audited: {cold:?}");
}

#[test]
fn requests_that_share_a_record_are_run_in_order_and_a_bad_one_among_them_dies_alone() {
    let (server, cloud) = scene(&["--limits", "off"], &["one"]);
    let function = Function::put(&server);
    let version = |id: &str, v: u32| put_request("one", &format!(r#"{{"id":{{"S":"{id}"}},"v":{{"N":"{v}"}}}}"#));
    let shared = [version("a", 1), b"poison".to_vec(), version("b", 1), version("a", 2)];
    let packed = aggregate::pack(7, shared.into_iter().enumerate().map(|(n, data)| (format!("p-{n}"), data.into())));
    let mut broken = packed.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(function.first_open(kinesis_event(0, &[version("b", 0), packed.to_vec(), broken.clone()]), 60), None);
    assert_eq!(value(&cloud, "one", "a"), Some(AttributeValue::N("2".into())));
    assert_eq!(value(&cloud, "one", "b"), Some(AttributeValue::N("1".into())));
    let (_, kept) = letters(&cloud);
    assert_eq!(kept[0].sequence, Some(format!("{}/1", sequence(1))));
    assert_eq!(BASE64_STANDARD.decode(&kept[0].bytes).unwrap(), b"poison");
    assert!(kept[1].reason.contains("checksum"), "{kept:?}");
    assert_eq!(BASE64_STANDARD.decode(&kept[1].bytes).unwrap(), broken);
}

#[test]
fn of_many_versions_of_a_key_the_last_one_stays_with_faults_on() {
    let (server, cloud) =
        scene(&["--limits", "off", "--faults", "partial=20%,error=10%,throttle=10%", "--seed", "7"], &["one"]);
    let function = Function::put(&server);
    let version = |n: usize| put_request("one", &format!(r#"{{"id":{{"S":"k{}"}},"v":{{"N":"{n}"}}}}"#, n % 50));
    let records: Vec<Vec<u8>> = (0..1_000).map(version).collect();
    assert_eq!(function.first_open(kinesis_event(0, &records), 120), None);
    for key in 0..50 {
        let last = AttributeValue::N((950 + key).to_string());
        assert_eq!(value(&cloud, "one", &format!("k{key}")), Some(last));
    }
    assert_eq!(function.metrics(0)["written"], 1_000);
}

#[test]
fn a_record_that_can_never_succeed_is_a_dead_letter_in_s3_and_its_neighbours_are_written() {
    let (server, cloud) = scene(&["--limits", "off"], &["one"]);
    let function = Function::put(&server);
    let poison: [&[u8]; 4] = [
        b"no json \x00\xff",
        br#"{"id":{"S":"bare"}}"#,
        br#"{"TableName":"nowhere","Item":{"id":{"S":"x"}}}"#,
        br#"{"TableName":"one","Item":{"id":{"N":"7"}}}"#,
    ];
    let mut records: Vec<Vec<u8>> = Vec::new();
    for (n, bad) in poison.iter().enumerate() {
        records.extend([put_request("one", &item(n)), bad.to_vec()]);
    }
    let mut event = kinesis_event(0, &records);
    let bad_base64 = json!({
        "kinesis": { "sequenceNumber": sequence(8), "data": "not base64!" }, "eventID": "shardId-000000000006:8",
        "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    });
    event["Records"].as_array_mut().unwrap().push(bad_base64);
    assert_eq!(function.first_open(event.clone(), 60), None);
    assert_eq!(count(&cloud, "one"), 4);
    let (objects, kept) = letters(&cloud);
    assert_eq!((objects, kept.len()), (1, 5));
    for (n, bad) in poison.iter().enumerate() {
        let letter = &kept[n];
        assert_eq!((letter.source.as_str(), letter.shard.as_deref()), ("orders", Some("shardId-000000000006")));
        assert_eq!(letter.sequence.as_deref(), Some(&*sequence(n * 2 + 1)));
        assert_eq!(BASE64_STANDARD.decode(&letter.bytes).unwrap(), *bad);
    }
    for (letter, why) in kept.iter().zip(["not a JSON object", "bare item", "no table nowhere", "type N", "base64"]) {
        assert!(letter.reason.contains(why), "{letter:?}");
    }
    assert_eq!((&function.metrics(0)["dead"], &function.metrics(0)["written"]), (&json!(5), &json!(4)));

    // Lambda hands over at least once: the same letters again are the same object.
    assert_eq!(function.first_open(event, 60), None);
    assert_eq!(letters(&cloud).0, 1);
}

#[test]
fn a_record_whose_letter_can_not_be_kept_is_not_settled() {
    let (server, cloud) = scene(&["--limits", "off"], &["one"]);
    let function = Function::put(&server);
    let records = [put_request("one", &item(1)), b"poison".to_vec(), put_request("one", &item(2))];
    // The embedded S3 is a folder: where an object has the name of the prefix, nothing can be below it.
    let in_the_way = cloud.s3.put_object().bucket("letters").key("dead").body(b"x".to_vec().into());
    block_on(in_the_way.send()).unwrap();
    assert_eq!(function.first_open(kinesis_event(0, &records), 60), Some(sequence(1)));
    function.line("it says why", |line| {
        line["message"].as_str().is_some_and(|words| words.contains("store 1 dead letters"))
    });
    block_on(cloud.s3.delete_object().bucket("letters").key("dead").send()).unwrap();
    assert_eq!(function.first_open(kinesis_event(1, &records[1..]), 60), None);
    assert_eq!((count(&cloud, "one"), letters(&cloud).1.len()), (2, 1));
}

/// An item that takes 300 WCU: all that a table of 1 WCU can ever have saved.
fn heavy(id: &str, version: u32) -> Vec<u8> {
    let filling = "x".repeat(299 * 1024);
    put_request("slow", &format!(r#"{{"id":{{"S":"{id}"}},"v":{{"N":"{version}"}},"f":{{"S":"{filling}"}}}}"#))
}

#[test]
fn at_the_deadline_lambda_is_told_where_to_begin_once_more_and_nothing_is_left_behind() {
    let (server, cloud) = scene(&[], &["fast"]);
    create_table(&cloud, "slow", 1);
    let function = Function::put(&server);
    let light = |id: &str, v: u32| put_request("fast", &format!(r#"{{"id":{{"S":"{id}"}},"v":{{"N":"{v}"}}}}"#));
    let records = [
        light("a", 1),
        heavy("h1", 1),
        heavy("h2", 1),
        heavy("h3", 1),
        light("a", 2),
        heavy("h2", 2),
        b"poison behind the first open record".to_vec(),
    ];
    let first = function.first_open(kinesis_event(0, &records), 6).expect("the table is too slow");
    assert_ne!(first, sequence(0), "the other table was not held up");
    assert_eq!(value(&cloud, "fast", "a"), Some(AttributeValue::N("2".into())));
    assert_eq!(letters(&cloud).0, 0, "the record behind is met again, so its letter is not kept yet");
    let told = function.metrics(0);
    assert!(told["handed_back"].as_u64().unwrap() >= 4, "{told}");
    let written_before = count(&cloud, "slow");
    assert!(written_before < 3);

    // Another process is given the rest; what was queued in this one must never go out on top of it.
    block_on(async {
        use aws_sdk_dynamodb::types::ProvisionedThroughput;
        let more = ProvisionedThroughput::builder().read_capacity_units(1_000).write_capacity_units(4_000).build();
        cloud.dynamodb.update_table().table_name("slow").provisioned_throughput(more.unwrap()).send().await.unwrap();
    });
    let at = (0..records.len()).find(|n| sequence(*n) == first).unwrap();
    let other = Function::put(&server);
    assert_eq!(other.first_open(kinesis_event(at, &records[at..]), 60), None);
    assert_eq!(value(&cloud, "slow", "h2"), Some(AttributeValue::N("2".into())));
    assert_eq!((count(&cloud, "slow"), letters(&cloud).1.len()), (3, 1));

    // The first process thaws for other records: had it kept the first version of h2, it would write it now.
    assert_eq!(function.first_open(kinesis_event(100, &[light("b", 1), heavy("h4", 1)]), 60), None);
    assert_eq!(value(&cloud, "slow", "h2"), Some(AttributeValue::N("2".into())));
    assert_eq!(value(&cloud, "fast", "a"), Some(AttributeValue::N("2".into())));
}

/// A change as a table's stream tells it.
fn change(n: usize, kind: &str, keys: &str, image: Option<&str>) -> Value {
    let parsed = |json: &str| serde_json::from_str::<Value>(json).unwrap();
    let mut body = json!({
        "ApproximateCreationDateTime": 1_520_175_584, "Keys": parsed(keys), "SequenceNumber": sequence(n), "SizeBytes": 26,
        "StreamViewType": if image.is_some() || kind == "REMOVE" { "NEW_AND_OLD_IMAGES" } else { "KEYS_ONLY" },
    });
    if let Some(image) = image {
        body["NewImage"] = parsed(image);
    }
    json!({
        "eventID": n.to_string(), "eventName": kind, "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1", "dynamodb": body,
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/origin/stream/2026-11-20T00:00:00.000",
    })
}

#[test]
fn replicate_puts_new_images_as_they_are_and_deletes_by_key() {
    let (server, cloud) = scene(&["--limits", "off"], &["copy"]);
    let environment = [("SLUICE_HANDLER", "replicate"), ("SLUICE_TARGET_TABLE", "copy"), LETTERS];
    let function = Function::start(&server, &environment);
    let key = |id: &str| format!(r#"{{"id":{{"S":"{id}"}}}}"#);
    let image = |id: &str, v: &str| format!(r#"{{"id":{{"S":"{id}"}},"v":{v}}}"#);
    let types = [
        ("n", r#"{"N":"1.50"}"#),
        ("digits", r#"{"N":"12345678901234567890123456789012345678"}"#),
        ("b", r#"{"B":"AQL/"}"#),
        ("ss", r#"{"SS":["b","a"]}"#),
        ("m", r#"{"M":{"l":{"L":[{"NULL":true},{"BOOL":false},{"M":{}},{"L":[]}]}}}"#),
    ];
    let mut records: Vec<Value> =
        types.iter().enumerate().map(|(n, (id, v))| change(n, "INSERT", &key(id), Some(&image(id, v)))).collect();
    records.push(change(10, "INSERT", &key("gone"), Some(&image("gone", r#"{"S":"x"}"#))));
    records.push(change(11, "REMOVE", &key("gone"), None));
    records.push(change(12, "MODIFY", &key("again"), Some(&image("again", r#"{"S":"old"}"#))));
    records.push(change(13, "REMOVE", &key("again"), None));
    records.push(change(14, "INSERT", &key("again"), Some(&image("again", r#"{"S":"new"}"#))));
    records.push(change(15, "MODIFY", &key("no image"), None));
    let mut expired = change(16, "REMOVE", &key("n"), None);
    expired["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    assert_eq!(function.first_open(json!({ "Records": records }), 60), None);
    assert_eq!(count(&cloud, "copy"), 6);
    assert_eq!(value(&cloud, "copy", "again"), Some(AttributeValue::S("new".into())));
    let digits = value(&cloud, "copy", "digits").unwrap();
    assert_eq!(digits.as_n().unwrap(), "12345678901234567890123456789012345678");
    assert_eq!(value(&cloud, "copy", "b").unwrap().as_b().unwrap().as_ref(), [1, 2, 255]);
    let (_, kept) = letters(&cloud);
    assert_eq!(kept.len(), 1);
    assert!(kept[0].reason.contains("KEYS_ONLY") && kept[0].source == "origin", "{kept:?}");

    assert_eq!(function.first_open(json!({ "Records": [expired] }), 60), None);
    assert_eq!(value(&cloud, "copy", "n"), None, "expired items are deleted too, unless told otherwise");
}

#[test]
fn replicate_leaves_out_expired_items_when_told_and_never_writes_into_its_own_source() {
    let (server, cloud) = scene(&["--limits", "off"], &["copy", "origin"]);
    let common = [("SLUICE_HANDLER", "replicate"), ("SLUICE_SKIP_EXPIRED", "true"), LETTERS];
    let function = Function::start(&server, &[&common[..], &[("SLUICE_TARGET_TABLE", "copy")]].concat());
    let (key, image) = (r#"{"id":{"S":"a"}}"#, r#"{"id":{"S":"a"},"v":{"S":"x"}}"#);
    let mut expired = change(1, "REMOVE", key, None);
    expired["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    let records = [change(0, "INSERT", key, Some(image)), expired];
    assert_eq!(function.first_open(json!({ "Records": records }), 60), None);
    assert!(value(&cloud, "copy", "a").is_some());
    assert_eq!(function.metrics(0)["skipped"], 1);

    let function = Function::start(&server, &[&common[..], &[("SLUICE_TARGET_TABLE", "origin")]].concat());
    let refused = function.invoke(json!({ "Records": records }), 60).unwrap_err();
    assert!(refused.contains("target table itself"), "{refused}");
    assert_eq!(count(&cloud, "origin"), 0);
}

/// All records of a stream of one shard, as Lambda hands them over.
fn records_of(cloud: &Cloud, stream: &str) -> Vec<Value> {
    use aws_sdk_kinesis::types::ShardIteratorType;
    block_on(async {
        let summary = cloud.kinesis.describe_stream_summary().stream_name(stream).send().await.unwrap();
        let arn = summary.stream_description_summary.unwrap().stream_arn;
        let shards = cloud.kinesis.list_shards().stream_name(stream).send().await.unwrap();
        let shard = shards.shards()[0].shard_id().to_owned();
        let start = cloud.kinesis.get_shard_iterator().stream_name(stream).shard_id(&shard);
        let start = start.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let page = cloud.kinesis.get_records().set_shard_iterator(start.shard_iterator).send().await.unwrap();
        let record = |record: &aws_sdk_kinesis::types::Record| {
            json!({
                "kinesis": {
                    "partitionKey": record.partition_key(), "sequenceNumber": record.sequence_number(),
                    "data": BASE64_STANDARD.encode(record.data().clone().into_inner()),
                    "approximateArrivalTimestamp": record.approximate_arrival_timestamp().unwrap().as_secs_f64(),
                },
                "eventID": format!("{shard}:{}", record.sequence_number()), "eventSourceARN": arn,
            })
        };
        page.records().iter().map(record).collect()
    })
}

fn put_event(cloud: &Cloud, stream: &str, key: &str, data: &[u8]) {
    let data = aws_sdk_kinesis::primitives::Blob::new(data);
    let put = cloud.kinesis.put_record().stream_name(stream).partition_key(key).data(data);
    block_on(put.send()).unwrap();
}

#[test]
fn pump_and_scan_bring_every_event_into_the_event_table_once_with_its_very_bytes() {
    let (server, cloud) = scene(&["--limits", "off"], &[]);
    create_stream(&cloud, "events", 1);
    let sluice = Sluice::at(&server.endpoint);
    let store = ["-k", "events", "--buffer", "buffer", "--events", "stored"];
    sluice.run(&[&["pump"][..], &store[..], &["--create-tables", "--once"]].concat()).expect(0);

    let bodies: Vec<Vec<u8>> = (0..100)
        .map(|n| format!(r#"{{"id":12345678901234567890,"z":1.10,"n":{n}}}"#).into_bytes())
        .chain([vec![0, 255, 1]])
        .collect();
    bodies.iter().for_each(|body| put_event(&cloud, "events", "k", body));
    let records = records_of(&cloud, "events");
    let source = records[0]["eventSourceARN"].as_str().unwrap().to_owned();
    let tables = [("SLUICE_BUFFER_TABLE", "buffer"), ("SLUICE_EVENT_TABLE", "stored")];
    let pump = Function::start(&server, &[&[("SLUICE_HANDLER", "pump"), LETTERS][..], &tables[..]].concat());
    assert_eq!(pump.first_open(json!({ "Records": records[..60] }), 60), None);
    assert_eq!(count(&cloud, "buffer"), 60);
    let scan = [&[("SLUICE_HANDLER", "scan"), ("SLUICE_STREAM_ARN", source.as_str())][..], &tables[..]].concat();
    let scan = Function::start(&server, &scan);
    let turn = scan.invoke(json!({ "source": "aws.events" }), 60).unwrap();
    assert_eq!((&turn["met"], &turn["stored"], &turn["poison"]), (&json!(60), &json!(60), &json!(0)));
    assert_eq!(count(&cloud, "buffer"), 0);

    // Handed over once more with the rest: what is stored is not stored again.
    assert_eq!(pump.first_open(json!({ "Records": records }), 60), None);
    assert_eq!(count(&cloud, "buffer"), 41);
    let turn = scan.invoke(json!({}), 60).unwrap();
    assert_eq!(turn["stored"], 41);
    assert!(turn["watermark"].is_string(), "nothing is behind the place of the shard: {turn}");
    let played =
        sluice.run(&["playback", "--events", "stored", "--from", "1h", "--to", "now", "--speed", "max", "--out", "-"]);
    let mut found: Vec<Vec<u8>> = Vec::new();
    for line in played.out.lines().filter(|line| line.contains("\"event_id\"")) {
        let event: Value = serde_json::from_str(line).unwrap();
        found.push(BASE64_STANDARD.decode(event["data"].as_str().unwrap()).unwrap());
    }
    assert_eq!(found, bodies, "{}", played.err);

    // A job goes on where the functions stopped.
    put_event(&cloud, "events", "k", b"{}");
    let ended = sluice.run(&[&["pump"][..], &store[..], &["--once", "--json"]].concat()).expect(0);
    assert_eq!(ended.last_json()["read"], 1, "{}", ended.out);
}

#[test]
fn track_answers_once_the_stream_has_the_event() {
    let (server, cloud) = scene(&["--limits", "off"], &[]);
    create_stream(&cloud, "events", 1);
    let track = Function::start(&server, &[("SLUICE_HANDLER", "track"), ("SLUICE_STREAM", "events")]);
    let url = |method: &str, path: &str, query: &str, body: &str| {
        json!({
            "version": "2.0", "rawPath": path, "rawQueryString": query, "body": body, "isBase64Encoded": false,
            "requestContext": { "http": { "method": method, "path": path } },
        })
    };
    let pixel = track.invoke(url("GET", "/track.gif", "a=1&b=x%20y", ""), 15).unwrap();
    assert_eq!((&pixel["statusCode"], &pixel["headers"]["content-type"]), (&json!(200), &json!("image/gif")));
    assert_eq!(pixel["body"], "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7");
    let body = r#"{"id":12345678901234567890,"z":1.10,"EntityId":"e"}"#;
    let kept = track.invoke(url("POST", "/events", "", body), 15).unwrap();
    assert_eq!(kept["statusCode"], 200);
    let records = records_of(&cloud, "events");
    assert_eq!(records[1]["kinesis"]["data"], BASE64_STANDARD.encode(body));
    assert_eq!(records[1]["kinesis"]["partitionKey"], "e");
    assert_eq!(kept["headers"]["x-sequencenumber"], records[1]["kinesis"]["sequenceNumber"]);
    assert_eq!(track.invoke(url("GET", "/healthz", "", ""), 15).unwrap()["statusCode"], 200);
    assert_eq!(track.invoke(url("POST", "/events", "", "no json"), 15).unwrap()["statusCode"], 400);
    assert!(track.invoke(json!({ "Records": [] }), 15).unwrap_err().contains("no HTTP request"));

    let nowhere = Function::start(&server, &[("SLUICE_HANDLER", "track"), ("SLUICE_STREAM", "nowhere")]);
    let refused = nowhere.invoke(url("POST", "/events", "", "{}"), 15).unwrap();
    assert_eq!((&refused["statusCode"], &refused["headers"]["retry-after"]), (&json!(503), &json!("1")));
}

#[test]
fn what_is_no_event_of_its_stream_is_an_error_that_says_so() {
    let (server, _) = scene(&["--limits", "off"], &[]);
    let function = Function::put(&server);
    let refused = function.invoke(json!({ "Records": [change(0, "REMOVE", "{}", None)] }), 60).unwrap_err();
    assert!(refused.contains("no event of a Kinesis stream") && refused.contains("SLUICE_HANDLER"), "{refused}");
}

#[test]
fn a_function_that_is_set_up_wrong_ends_at_once_with_what_to_set() {
    let simulator = simulator();
    for (environment, why) in [
        (&[][..], "SLUICE_HANDLER is not set"),
        (&[("SLUICE_HANDLER", "puts")][..], "set it to one of"),
        (&[("SLUICE_HANDLER", "put")][..], "SLUICE_DEAD_LETTERS is not set"),
    ] {
        let ended = program(&simulator, "http://127.0.0.1:1", environment).output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
        let log = String::from_utf8(ended.stdout).unwrap();
        let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert!(line["message"].as_str().unwrap().contains(why), "{line}");
    }
    let by_hand =
        Command::new(env!("CARGO_BIN_EXE_sluice-lambda")).env_remove("AWS_LAMBDA_RUNTIME_API").output().unwrap();
    assert_eq!(by_hand.status.code(), Some(1));
    assert!(String::from_utf8(by_hand.stdout).unwrap().contains("deploy/README.md"));
}

#[test]
fn letters_that_a_function_left_are_brought_into_the_journal_once_and_replayed() {
    let (server, cloud) = scene(&["--limits", "off"], &["one", "copy"]);
    let function = Function::put(&server);
    let records = [b"poison \x1b[2J".to_vec(), put_request("later", r#"{"id":{"S":"waits"},"v":{"S":"x"}}"#)];
    assert_eq!(function.first_open(kinesis_event(0, &records), 60), None);
    let replica =
        Function::start(&server, &[("SLUICE_HANDLER", "replicate"), ("SLUICE_TARGET_TABLE", "copy"), LETTERS]);
    let changes = [change(0, "INSERT", r#"{"id":{"N":"1"}}"#, Some(r#"{"id":{"N":"1"},"v":{"S":"x"}}"#))];
    assert_eq!(replica.first_open(json!({ "Records": changes }), 60), None);

    let sluice = Sluice::at(&server.endpoint);
    let brought = sluice.run(&["dead", "import", "s3://letters/dead", "--json"]).expect(0);
    let lines: Vec<Value> = brought.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["stream"], &lines[0]["new"]), (&json!("orders"), &json!(2)));
    assert_eq!((&lines[1]["stream"], &lines[1]["new"]), (&json!("origin"), &json!(1)));
    let again = sluice.run(&["dead", "import", "s3://letters/dead", "--json"]).expect(0);
    let first: Value = serde_json::from_str(again.out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["job"], &first["new"], &first["known"]), (&lines[0]["job"], &json!(0), &json!(2)));

    let job = lines[0]["job"].as_str().unwrap();
    create_table(&cloud, "later", 100);
    let replayed = sluice.run(&["dead", "replay", job, "--reason", "no table", "--json"]).expect(0);
    assert_eq!(replayed.last_json()["written"], 1);
    assert_eq!(value(&cloud, "later", "waits"), Some(AttributeValue::S("x".into())));
    let listed = sluice.run(&["dead", "list", job]).expect(0).out;
    assert!(listed.contains("orders shardId-000000000006") && !listed.contains("later"), "{listed}");
    let shown = sluice.run(&["jobs", job, "--json"]).expect(0);
    assert!(shown.out.contains("\"letters\""), "{}", shown.out);

    // A change's letter is the put request that it comes to: its key can be mended, and it goes where the replica is.
    let job = lines[1]["job"].as_str().unwrap();
    let number = sluice.run(&["dead", "list", job, "--json"]).expect(0).last_json()["number"].to_string();
    let mend = r#"sed -i 's/"N"/"S"/'"#;
    let edit = crate::running::ended(
        sluice.command().args(["dead", "edit", job, &number]).env("EDITOR", mend).env("VISUAL", ""),
    );
    edit.expect(0);
    sluice.run(&["dead", "replay", job, &number]).expect(0);
    assert_eq!(value(&cloud, "copy", "1"), Some(AttributeValue::S("x".into())));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("x.jsonl"), "{\"no\":\"letter\"}\n").unwrap();
    let refused = sluice.run(&["dead", "import", folder.path().to_str().unwrap()]).expect(1);
    assert!(refused.err.contains("line 1") && refused.err.contains("Nothing was brought"), "{}", refused.err);
}
