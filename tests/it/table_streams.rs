//! `DynamoDB` Streams of `sluice local`, as the SDK reads them while others write.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use aws_sdk_dynamodb::types::{AttributeValue, StreamSpecification, StreamViewType};
use aws_sdk_dynamodbstreams::config::retry::RetryConfig;
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Region};
use aws_sdk_dynamodbstreams::types::{AttributeValue as Streamed, Record, Shard, ShardIteratorType, StreamRecord};
use aws_sdk_dynamodbstreams::{Client, Config};
use sluicegate::cloud::Cloud;

use crate::running::{Server, block_on, create_table, until};

/// Closes every open shard of the stream of `table`, each with one child (`roll`) or two (`split`).
pub fn close_shards(endpoint: &str, table: &str, how: &str) {
    let address = endpoint.strip_prefix("http://").expect("the embedded AWS speaks HTTP");
    let mut connection = TcpStream::connect(address).expect("the server listens");
    let request = format!(
        "POST /_sluice/table-streams/{table}/{how} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).expect("the server reads");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).expect("the server answers in text");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

/// Enables the stream of a table and returns its ARN.
pub fn enable_stream(cloud: &Cloud, table: &str, view: StreamViewType) -> String {
    let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build().expect("whole");
    let update = cloud.dynamodb.update_table().table_name(table).stream_specification(stream);
    let updated = block_on(update.send()).expect("the stream is enabled");
    updated.table_description.and_then(|table| table.latest_stream_arn).expect("an enabled stream has an ARN")
}

/// The SDK's reader of table streams.
pub fn reader(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(aws_credential_types::Credentials::new("local", "local", None, None, "test"))
        .retry_config(
            RetryConfig::standard().with_max_attempts(10).with_initial_backoff(std::time::Duration::from_millis(1)),
        )
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

/// Every shard, a page of two at a time.
fn shards(reader: &Client, arn: &str) -> Vec<Shard> {
    block_on(async {
        let (mut shards, mut after) = (Vec::new(), None);
        loop {
            let asked = reader.describe_stream().stream_arn(arn).limit(2);
            let page = asked.set_exclusive_start_shard_id(after).send().await.expect("the stream is described");
            let page = page.stream_description.expect("a description");
            shards.extend(page.shards.unwrap_or_default());
            after = page.last_evaluated_shard_id;
            if after.is_none() {
                return shards;
            }
        }
    })
}

/// All records of a shard from its beginning, asking again where a fault struck.
fn records(reader: &Client, arn: &str, shard: &Shard) -> Vec<Record> {
    block_on(async {
        let mut records: Vec<Record> = Vec::new();
        let mut iterator = None;
        loop {
            if iterator.is_none() {
                let last = records.last().and_then(|record| record.dynamodb()?.sequence_number());
                let kind = if last.is_some() {
                    ShardIteratorType::AfterSequenceNumber
                } else {
                    ShardIteratorType::TrimHorizon
                };
                let asked = reader.get_shard_iterator().stream_arn(arn).shard_iterator_type(kind);
                let asked = asked.set_shard_id(shard.shard_id.clone()).set_sequence_number(last.map(str::to_owned));
                iterator = asked.send().await.expect("the shard is there").shard_iterator;
            }
            let Ok(page) = reader.get_records().set_shard_iterator(iterator.take()).send().await else {
                continue;
            };
            let page_records = page.records.unwrap_or_default();
            let is_empty = page_records.is_empty();
            records.extend(page_records);
            iterator = page.next_shard_iterator;
            if iterator.is_none() || is_empty {
                return records;
            }
        }
    })
}

fn number(record: &Record) -> u128 {
    let number = record.dynamodb().and_then(StreamRecord::sequence_number).expect("every record is numbered");
    number.parse().expect("digits")
}

#[test]
fn eight_writers_to_the_same_keys_are_told_in_the_order_of_their_writes_through_closing_shards_and_faults() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 60;
    const KEYS: usize = 5;
    let server = Server::start(&[
        "--limits",
        "off",
        "--table-stream-shards",
        "3",
        "--faults",
        "error=3%,lose-reply=3%,reset=2%,expire-iterators=5%,throttle=5%",
        "--seed",
        "7",
    ]);
    let (cloud, reader) = (server.cloud(), reader(&server.endpoint));
    create_table(&cloud, "counters", 40_000);
    let arn = enable_stream(&cloud, "counters", StreamViewType::NewAndOldImages);
    let add = async |id: String| {
        // A lost reply makes the client ask again, and the counter counts both: what the stream says must too.
        loop {
            let asked = cloud.dynamodb.update_item().table_name("counters").key("id", AttributeValue::S(id.clone()));
            let asked = asked
                .update_expression("ADD n :one")
                .expression_attribute_values(":one", AttributeValue::N("1".into()));
            if asked.send().await.is_ok() {
                return;
            }
        }
    };
    for round in 0..ROUNDS {
        block_on(futures::future::join_all(
            (0..WRITERS).map(|writer| add(format!("k{}", (writer * 7 + round) % KEYS))),
        ));
        match round {
            20 => close_shards(&server.endpoint, "counters", "roll"),
            40 => close_shards(&server.endpoint, "counters", "split"),
            _ => {}
        }
    }
    let shards = shards(&reader, &arn);
    assert_eq!(shards.len(), 3 + 3 + 6);
    let mut counted: BTreeMap<String, (usize, u128)> = BTreeMap::new();
    for shard in &shards {
        for record in records(&reader, &arn, shard) {
            let sequence = number(&record);
            let record = record.dynamodb.unwrap();
            let Some(Streamed::S(id)) = record.keys.as_ref().and_then(|keys| keys.get("id").cloned()) else { panic!() };
            let value = |image: &Option<std::collections::HashMap<String, Streamed>>| {
                image.as_ref().map_or(0, |it| it["n"].as_n().unwrap().parse().unwrap())
            };
            let (last, before) = counted.entry(id).or_default();
            assert_eq!(value(&record.old_image), *last);
            assert_eq!(value(&record.new_image), *last + 1);
            assert!(sequence > *before, "numbers grow along a key, from parent to child");
            (*last, *before) = (*last + 1, sequence);
        }
    }
    assert_eq!(counted.len(), KEYS);
    assert!(counted.values().map(|(count, _)| count).sum::<usize>() >= WRITERS * ROUNDS);
    for (id, (count, _)) in counted {
        let asked = cloud.dynamodb.get_item().table_name("counters").key("id", AttributeValue::S(id.clone()));
        let item = block_on(asked.consistent_read(true).send()).unwrap().item.unwrap();
        assert_eq!(item["n"].as_n().unwrap(), &count.to_string(), "{id}");
    }
}

#[test]
fn a_shard_rolls_over_by_itself_and_its_lineage_is_listed() {
    let server = Server::start(&["--limits", "off", "--table-stream-shards", "1", "--table-stream-roll", "10"]);
    let (cloud, reader) = (server.cloud(), reader(&server.endpoint));
    create_table(&cloud, "quotes", 10);
    let arn = enable_stream(&cloud, "quotes", StreamViewType::KeysOnly);
    for n in 0..35 {
        let put = cloud.dynamodb.put_item().table_name("quotes").item("id", AttributeValue::S(n.to_string()));
        block_on(put.send()).expect("the item is put");
    }
    let shards = shards(&reader, &arn);
    assert_eq!(shards.len(), 4);
    for pair in shards.windows(2) {
        assert_eq!(pair[1].parent_shard_id, pair[0].shard_id);
    }
    let counts: Vec<usize> = shards.iter().map(|shard| records(&reader, &arn, shard).len()).collect();
    assert_eq!(counts, [10, 10, 10, 5]);
}

#[test]
fn trimmed_records_are_an_error_of_their_own() {
    let server = Server::start(&["--limits", "off", "--table-stream-retention", "1ms"]);
    let (cloud, reader) = (server.cloud(), reader(&server.endpoint));
    create_table(&cloud, "quotes", 10);
    let arn = enable_stream(&cloud, "quotes", StreamViewType::KeysOnly);
    let shard = shards(&reader, &arn).remove(0).shard_id;
    let asked = reader.get_shard_iterator().stream_arn(&arn).set_shard_id(shard);
    let asked = asked.shard_iterator_type(ShardIteratorType::TrimHorizon);
    let iterator = block_on(asked.send()).unwrap().shard_iterator;
    let put = cloud.dynamodb.put_item().table_name("quotes").item("id", AttributeValue::S("a".into()));
    block_on(put.send()).expect("the item is put");
    let refused = until("the record is trimmed", || {
        let asked = reader.get_records().set_shard_iterator(iterator.clone());
        block_on(asked.send()).err()
    });
    assert!(refused.into_service_error().is_trimmed_data_access_exception());
}

#[test]
fn wrong_settings_and_wrong_controls_say_what_is_right() {
    let sluice = crate::running::Sluice::new();
    let ended = sluice.run(&["local", "--table-stream-roll", "often"]).expect(2);
    assert!(ended.err.contains("a duration, such as 4h or 30s, or a number of records, such as 500"), "{ended:?}");
    let ended = sluice.run(&["local", "--table-stream-shards", "0"]).expect(2);
    assert!(ended.err.contains("--table-stream-shards"), "{ended:?}");
}
