//! Streams as their readers see them, under a clock that the test moves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::records::Sequence;
use crate::local::dynamo::tests::{Bench, NOON};
use crate::local::{Options, Roll, TableStreams};

/// A record, in short: what happened, and the images.
type Seen = (String, Value, Value);

impl Bench {
    async fn streaming(options: TableStreams, limits: bool, view: &str) -> Self {
        let bench = Self::at(&Options { limits, table_streams: options, ..Options::default() }, "").await;
        bench.create(900).await;
        bench.enable(view).await;
        bench
    }

    async fn enable(&self, view: &str) {
        let stream = json!({"StreamEnabled": true, "StreamViewType": view});
        self.done("UpdateTable", json!({"TableName": "quotes", "StreamSpecification": stream})).await;
        self.pass(2_000);
    }

    async fn disable(&self) {
        let stream = json!({"StreamEnabled": false});
        self.done("UpdateTable", json!({"TableName": "quotes", "StreamSpecification": stream})).await;
        self.pass(2_000);
    }

    async fn arn(&self) -> Value {
        self.describe().await["LatestStreamArn"].clone()
    }

    async fn shards(&self, arn: &Value) -> Vec<Value> {
        let mut shards = Vec::new();
        let mut after = Value::Null;
        loop {
            let request = json!({"StreamArn": arn, "ExclusiveStartShardId": after, "Limit": 3});
            let page = self.done("DescribeStream", request).await["StreamDescription"].take();
            shards.extend(page["Shards"].as_array().unwrap().iter().cloned());
            after = page["LastEvaluatedShardId"].clone();
            if after.is_null() {
                return shards;
            }
        }
    }

    async fn iterator(&self, arn: &Value, shard: &Value, kind: &str, number: Option<&str>) -> Value {
        let request = json!({
            "StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": kind, "SequenceNumber": number,
        });
        self.done("GetShardIterator", request).await["ShardIterator"].clone()
    }

    /// All records of a shard, and whether it has ended.
    async fn shard_records(&self, arn: &Value, shard: &Value) -> (Vec<Value>, bool) {
        let mut iterator = self.iterator(arn, shard, "TRIM_HORIZON", None).await;
        let mut records = Vec::new();
        loop {
            let mut page = self.done("GetRecords", json!({"ShardIterator": iterator})).await;
            iterator = page["NextShardIterator"].take();
            let page = page["Records"].as_array().unwrap();
            records.extend(page.iter().cloned());
            if iterator.is_null() || page.is_empty() {
                return (records, iterator.is_null());
            }
        }
    }

    /// Everything on the stream, parents before children.
    async fn records(&self, arn: &Value) -> Vec<Value> {
        let mut records = Vec::new();
        for shard in self.shards(arn).await {
            records.extend(self.shard_records(arn, &shard).await.0);
        }
        records
    }

    async fn seen(&self) -> Vec<Seen> {
        let records = self.records(&self.arn().await).await;
        let short = |record: &Value| {
            let name = record["eventName"].as_str().unwrap().to_owned();
            (name, record["dynamodb"]["OldImage"].clone(), record["dynamodb"]["NewImage"].clone())
        };
        records.iter().map(short).collect()
    }

    async fn put(&self, item: Value) {
        self.done("PutItem", json!({"TableName": "quotes", "Item": item})).await;
    }
}

fn number(record: &Value) -> Sequence {
    record["dynamodb"]["SequenceNumber"].as_str().unwrap().parse().unwrap()
}

fn item(id: &str, n: i64) -> Value {
    json!({"id": {"S": id}, "n": {"N": n.to_string()}})
}

fn seen(name: &str, old: Value, new: Value) -> Seen {
    (name.to_owned(), old, new)
}

#[tokio::test]
async fn every_way_of_writing_is_recorded_once_and_in_order() {
    let bench = Bench::streaming(TableStreams::default(), true, "NEW_AND_OLD_IMAGES").await;
    let key = |id: &str| json!({"id": {"S": id}});
    bench.put(item("a", 1)).await;
    let update = json!({
        "TableName": "quotes", "Key": key("a"), "UpdateExpression": "SET n = n + :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    });
    bench.done("UpdateItem", update).await;
    bench.done("DeleteItem", json!({"TableName": "quotes", "Key": key("a")})).await;
    let writes = json!([{"PutRequest": {"Item": item("b", 1)}}]);
    bench.done("BatchWriteItem", json!({"RequestItems": {"quotes": writes}})).await;
    bench.done("BatchWriteItem", json!({"RequestItems": {"quotes": [{"DeleteRequest": {"Key": key("b")}}]}})).await;
    let transact = json!({"ClientRequestToken": "once", "TransactItems": [
        {"Put": {"TableName": "quotes", "Item": item("c", 1)}},
        {"ConditionCheck": {"TableName": "quotes", "Key": key("z"), "ConditionExpression": "attribute_not_exists(id)"}},
    ]});
    bench.done("TransactWriteItems", transact.clone()).await;
    bench.done("TransactWriteItems", transact).await;
    for statement in [
        "INSERT INTO \"quotes\" VALUE {'id': 'd', 'n': 1}",
        "UPDATE quotes SET n = 2 WHERE id = 'd'",
        "SELECT * FROM quotes WHERE id = 'd'",
        "DELETE FROM quotes WHERE id = 'd'",
    ] {
        bench.done("ExecuteStatement", json!({ "Statement": statement })).await;
    }
    bench
        .done("ExecuteTransaction", json!({"TransactStatements": [{"Statement": "DELETE FROM quotes WHERE id = 'c'"}]}))
        .await;
    assert_eq!(
        bench.seen().await,
        [
            seen("INSERT", Value::Null, item("a", 1)),
            seen("MODIFY", item("a", 1), item("a", 2)),
            seen("REMOVE", item("a", 2), Value::Null),
            seen("INSERT", Value::Null, item("b", 1)),
            seen("REMOVE", item("b", 1), Value::Null),
            seen("INSERT", Value::Null, item("c", 1)),
            seen("INSERT", Value::Null, item("d", 1)),
            seen("MODIFY", item("d", 1), item("d", 2)),
            seen("REMOVE", item("d", 2), Value::Null),
            seen("REMOVE", item("c", 1), Value::Null),
        ]
    );
}

#[tokio::test]
async fn what_changes_nothing_and_what_fails_leave_no_record() {
    let bench = Bench::streaming(TableStreams::default(), true, "NEW_AND_OLD_IMAGES").await;
    let everything = json!({
        "id": {"S": "a"}, "n": {"N": "1.50"}, "ns": {"NS": ["2", "1"]}, "m": {"M": {"l": {"L": [{"NULL": true}]}}},
    });
    bench.put(everything.clone()).await;
    bench.put(everything).await;
    // The same numbers and sets, written otherwise.
    bench.put(json!({
        "id": {"S": "a"}, "n": {"N": "15e-1"}, "ns": {"NS": ["1.0", "2"]}, "m": {"M": {"l": {"L": [{"NULL": true}]}}},
    }))
    .await;
    let conditional = json!({
        "TableName": "quotes", "Item": item("a", 2), "ConditionExpression": "attribute_not_exists(id)",
    });
    bench.refused("PutItem", conditional).await;
    bench.done("DeleteItem", json!({"TableName": "quotes", "Key": {"id": {"S": "nobody"}}})).await;
    let cancelled = json!({"TransactItems": [
        {"Put": {"TableName": "quotes", "Item": item("b", 1)}},
        {"Delete": {"TableName": "quotes", "Key": {"id": {"S": "c"}}, "ConditionExpression": "attribute_exists(id)"}},
    ]});
    bench.refused("TransactWriteItems", cancelled).await;
    assert_eq!(bench.seen().await.len(), 1);
}

#[tokio::test]
async fn one_number_as_a_key_is_one_item_in_one_shard_however_it_is_written() {
    let many = TableStreams { shards: 16.try_into().ok(), ..TableStreams::default() };
    let bench = Bench::at(&Options { limits: false, table_streams: many, ..Options::default() }, "").await;
    let request = json!({
        "TableName": "quotes", "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "n", "AttributeType": "N"}], "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
    });
    bench.done("CreateTable", request).await;
    let key = |n: &str| json!({"n": {"N": n}});
    bench.put(key("100.0")).await;
    let request = json!({
        "TableName": "quotes", "Key": key("1e2"), "UpdateExpression": "SET v = :v",
        "ExpressionAttributeValues": {":v": {"S": ""}},
    });
    bench.done("UpdateItem", request).await;
    bench.done("BatchWriteItem", json!({"RequestItems": {"quotes": [{"PutRequest": {"Item": key("0100")}}]}})).await;
    bench.done("DeleteItem", json!({"TableName": "quotes", "Key": key("100.00")})).await;
    let arn = bench.arn().await;
    let mut records = Vec::new();
    for shard in bench.shards(&arn).await {
        records.push(bench.shard_records(&arn, &shard).await.0);
    }
    records.retain(|records| !records.is_empty());
    assert_eq!(records.len(), 1);
    let names: Vec<&Value> = records[0].iter().map(|record| &record["eventName"]).collect();
    assert_eq!(names, ["INSERT", "MODIFY", "MODIFY", "REMOVE"]);
    assert!(records[0].iter().all(|record| record["dynamodb"]["Keys"] == key("100")));
}

#[tokio::test]
async fn a_record_carries_what_its_view_says_and_is_dated_to_the_second() {
    for (view, old, new) in [
        ("KEYS_ONLY", false, false),
        ("NEW_IMAGE", false, true),
        ("OLD_IMAGE", true, false),
        ("NEW_AND_OLD_IMAGES", true, true),
    ] {
        let bench = Bench::streaming(TableStreams::default(), true, view).await;
        bench.put(item("a", 1)).await;
        bench.pass(1_999);
        bench.put(item("a", 2)).await;
        let records = bench.records(&bench.arn().await).await;
        let record = &records[1]["dynamodb"];
        assert_eq!(record["Keys"], json!({"id": {"S": "a"}}), "{view}");
        assert_eq!(record["OldImage"], if old { item("a", 1) } else { Value::Null }, "{view}");
        assert_eq!(record["NewImage"], if new { item("a", 2) } else { Value::Null }, "{view}");
        assert_eq!(record["StreamViewType"], view);
        // id and a: 3 bytes; an item of id, a, n and a digit: 6.
        assert_eq!(record["SizeBytes"], 3 + 6 * (i64::from(old) + i64::from(new)), "{view}");
        assert_eq!(record["ApproximateCreationDateTime"], (NOON + 2_000) / 1_000 + 1);
        let head = &records[1];
        assert_eq!(
            (&head["eventVersion"], &head["eventSource"], &head["awsRegion"]),
            (&json!("1.1"), &json!("aws:dynamodb"), &json!("us-east-1"))
        );
        assert_eq!(head["eventID"].as_str().unwrap().len(), 32);
        assert_ne!(head["eventID"], records[0]["eventID"]);
    }
}

#[tokio::test]
async fn what_expired_says_who_deleted_it_and_the_rest_stays() {
    let bench = Bench::streaming(TableStreams::default(), true, "NEW_AND_OLD_IMAGES").await;
    let ttl = json!({"AttributeName": "until", "Enabled": true});
    bench.done("UpdateTimeToLive", json!({"TableName": "quotes", "TimeToLiveSpecification": ttl})).await;
    let noon_s = NOON / 1_000;
    let until = |id: &str, until: Value| json!({"id": {"S": id}, "until": until});
    let number = |n: i64| json!({ "N": n.to_string() });
    for n in 0..250 {
        bench.put(until(&n.to_string(), number(noon_s + 10))).await;
    }
    bench.put(until("later", number(noon_s + 1_000))).await;
    bench.put(until("text", json!({"S": "1"}))).await;
    bench.put(until("long ago", number(1_000))).await;
    bench.put(json!({"id": {"S": "never"}})).await;
    bench.pass(60_000);
    bench.dynamo.tick();
    // The sweep lets others in between its pages: it is done when a second one finds nothing to wait for.
    while bench.done("Scan", json!({"TableName": "quotes", "Select": "COUNT"})).await["Count"] != 4 {}
    let records = bench.records(&bench.arn().await).await;
    let removed: Vec<&Value> = records.iter().filter(|record| record["eventName"] == "REMOVE").collect();
    assert_eq!(removed.len(), 250);
    for record in removed {
        assert_eq!(record["userIdentity"], json!({"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}));
        assert_eq!(record["dynamodb"]["OldImage"]["until"], number(noon_s + 10));
    }
    bench.done("DeleteItem", json!({"TableName": "quotes", "Key": {"id": {"S": "later"}}})).await;
    let last = bench.records(&bench.arn().await).await.pop().unwrap();
    assert_eq!((&last["eventName"], &last["userIdentity"]), (&json!("REMOVE"), &Value::Null));
}

#[tokio::test]
async fn shards_follow_the_partitions_of_the_table_and_a_setting_overrides_them() {
    let bench = Bench::with(None, true, "").await;
    bench.create(2_500).await;
    bench.enable("KEYS_ONLY").await;
    let arn = bench.arn().await;
    assert_eq!(bench.shards(&arn).await.len(), 3);
    assert_eq!(bench.update(4_500).await.0, 200);
    let shards = bench.shards(&arn).await;
    let open: Vec<_> =
        shards.iter().filter(|it| it["SequenceNumberRange"].get("EndingSequenceNumber").is_none()).collect();
    assert_eq!((shards.len(), open.len()), (7, 5), "two of three split");
    assert_eq!(open.iter().filter(|shard| shard.get("ParentShardId").is_some()).count(), 4);

    let fixed = TableStreams { shards: 4.try_into().ok(), ..TableStreams::default() };
    let bench = Bench::streaming(fixed, true, "KEYS_ONLY").await;
    assert_eq!(bench.update(4_500).await.0, 200);
    assert_eq!(bench.shards(&bench.arn().await).await.len(), 4);
}

#[tokio::test]
async fn a_closed_shard_ends_and_its_children_go_on_key_by_key_in_order() {
    let bench = Bench::streaming(TableStreams::default(), false, "NEW_IMAGE").await;
    let mut written: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for n in 0..300 {
        if n == 100 || n == 200 {
            let action = if n == 100 { "split" } else { "roll" };
            bench.dynamo.streams.control(&format!("/_sluice/table-streams/quotes/{action}")).unwrap();
        }
        let id = format!("k{}", n % 7);
        bench.put(item(&id, n)).await;
        written.entry(id).or_default().push(n.to_string());
    }
    let arn = bench.arn().await;
    let shards = bench.shards(&arn).await;
    assert_eq!(shards.len(), 1 + 2 + 2);
    let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: BTreeMap<String, Sequence> = BTreeMap::new();
    for (at, shard) in shards.iter().enumerate() {
        let (records, ended) = bench.shard_records(&arn, shard).await;
        assert_eq!(ended, at < 3);
        for record in records {
            let new = &record["dynamodb"]["NewImage"];
            let id = new["id"]["S"].as_str().unwrap().to_owned();
            let before = last.insert(id.clone(), number(&record)).unwrap_or(0);
            assert!(before < number(&record), "{id}");
            read.entry(id).or_default().push(new["n"]["N"].as_str().unwrap().to_owned());
        }
        if let Some(parent) = shard.get("ParentShardId") {
            let parent = shards.iter().find(|it| it["ShardId"] == *parent).unwrap();
            let of = |shard: &Value, member: &str| -> Sequence {
                shard["SequenceNumberRange"][member].as_str().unwrap().parse().unwrap()
            };
            assert!(of(shard, "StartingSequenceNumber") > of(parent, "EndingSequenceNumber"));
            let filter = json!({"Type": "CHILD_SHARDS", "ShardId": parent["ShardId"]});
            let children = bench.done("DescribeStream", json!({"StreamArn": arn, "ShardFilter": filter})).await;
            let children = children["StreamDescription"]["Shards"].as_array().unwrap();
            assert!(children.contains(shard));
            assert!(children.iter().all(|it| it["ParentShardId"] == parent["ShardId"]));
        }
    }
    assert_eq!(read, written);
}

#[tokio::test]
async fn a_closed_shard_that_is_empty_or_exactly_read_has_no_next_iterator() {
    let bench = Bench::streaming(TableStreams::default(), false, "KEYS_ONLY").await;
    bench.put(item("a", 1)).await;
    bench.put(item("a", 2)).await;
    bench.dynamo.streams.control("/_sluice/table-streams/quotes/roll").unwrap();
    bench.dynamo.streams.control("/_sluice/table-streams/quotes/roll").unwrap();
    let arn = bench.arn().await;
    let shards = bench.shards(&arn).await;
    let page = async |at: usize, limit: usize| {
        let iterator = bench.iterator(&arn, &shards[at], "TRIM_HORIZON", None).await;
        let page = bench.done("GetRecords", json!({"ShardIterator": iterator, "Limit": limit})).await;
        (page["Records"].as_array().unwrap().len(), page.get("NextShardIterator").is_some())
    };
    assert_eq!(page(0, 1).await, (1, true));
    assert_eq!(page(0, 2).await, (2, false));
    assert_eq!(page(1, 1).await, (0, false));
    assert_eq!(page(2, 1).await, (0, true), "an open one goes on");
}

#[tokio::test]
async fn shards_roll_over_with_time_and_with_records() {
    let by_time = TableStreams { roll: Roll::After(Duration::from_secs(30)), ..TableStreams::default() };
    let bench = Bench::streaming(by_time, true, "KEYS_ONLY").await;
    bench.pass(30_000);
    assert_eq!(bench.shards(&bench.arn().await).await.len(), 2);
    let by_records = TableStreams { roll: "2".parse().unwrap(), ..TableStreams::default() };
    let bench = Bench::streaming(by_records, true, "KEYS_ONLY").await;
    for n in 0..5 {
        bench.put(item("a", n)).await;
    }
    let arn = bench.arn().await;
    assert_eq!(bench.shards(&arn).await.len(), 3);
    assert_eq!(bench.records(&arn).await.len(), 5);
}

#[tokio::test]
async fn an_iterator_begins_where_it_was_asked_to() {
    let bench = Bench::streaming(TableStreams::default(), false, "NEW_IMAGE").await;
    for n in 0..5 {
        bench.put(item("a", n)).await;
    }
    let arn = bench.arn().await;
    let shard = bench.shards(&arn).await.remove(0);
    let records = bench.records(&arn).await;
    let text = |at: usize| records[at]["dynamodb"]["SequenceNumber"].as_str().unwrap();
    for (kind, number, first) in [
        ("TRIM_HORIZON", None, 0),
        ("AT_SEQUENCE_NUMBER", Some(text(2)), 2),
        ("AFTER_SEQUENCE_NUMBER", Some(text(2)), 3),
        ("AFTER_SEQUENCE_NUMBER", Some(text(4)), 5),
        ("LATEST", None, 5),
    ] {
        let iterator = bench.iterator(&arn, &shard, kind, number).await;
        let page = bench.done("GetRecords", json!({"ShardIterator": iterator})).await;
        assert_eq!(page["Records"].as_array().unwrap(), &records[first..], "{kind}");
    }
    let latest = bench.iterator(&arn, &shard, "LATEST", None).await;
    bench.put(item("a", 9)).await;
    let page = bench.done("GetRecords", json!({"ShardIterator": latest, "Limit": 1})).await;
    assert_eq!(page["Records"][0]["dynamodb"]["NewImage"], item("a", 9));

    let refused = async |change: Value| {
        let mut request = json!({"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"});
        request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        bench.refused("GetShardIterator", request).await.0
    };
    assert_eq!(
        refused(json!({"StreamArn": "arn:aws:dynamodb:us-east-1:0:table/x/stream/y"})).await,
        "ResourceNotFoundException"
    );
    assert_eq!(refused(json!({"ShardId": "shardId-0"})).await, "ResourceNotFoundException");
    assert_eq!(refused(json!({"ShardIteratorType": "YESTERDAY"})).await, "ValidationException");
    assert_eq!(refused(json!({"SequenceNumber": text(0)})).await, "ValidationException");
    assert_eq!(refused(json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER"})).await, "ValidationException");
    let beyond = json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "9".repeat(30)});
    assert_eq!(refused(beyond).await, "ValidationException");
    let (name, _) = bench.refused("GetRecords", json!({"ShardIterator": "nonsense"})).await;
    assert_eq!(name, "ValidationException");
}

#[tokio::test]
async fn an_iterator_expires_after_fifteen_minutes() {
    let bench = Bench::streaming(TableStreams::default(), true, "NEW_IMAGE").await;
    let arn = bench.arn().await;
    let shard = bench.shards(&arn).await.remove(0);
    let iterator = bench.iterator(&arn, &shard, "TRIM_HORIZON", None).await;
    bench.pass(15 * 60_000);
    bench.done("GetRecords", json!({"ShardIterator": iterator})).await;
    bench.pass(1);
    let (name, _) = bench.refused("GetRecords", json!({"ShardIterator": iterator})).await;
    assert_eq!(name, "ExpiredIteratorException");
}

#[tokio::test]
async fn what_is_older_than_the_retention_is_trimmed_and_asking_for_it_is_an_error() {
    let options = TableStreams { retention: Duration::from_mins(1), ..TableStreams::default() };
    let bench = Bench::streaming(options, true, "NEW_IMAGE").await;
    let arn = bench.arn().await;
    let shard = bench.shards(&arn).await.remove(0);
    let slow = bench.iterator(&arn, &shard, "TRIM_HORIZON", None).await;
    bench.put(item("a", 1)).await;
    let first = bench.records(&arn).await[0]["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned();
    bench.pass(61_000);
    bench.put(item("a", 2)).await;
    let left = bench.records(&arn).await;
    assert_eq!(left.len(), 1, "the horizon has moved");
    assert_eq!(left[0]["dynamodb"]["NewImage"], item("a", 2));
    assert_eq!(bench.refused("GetRecords", json!({"ShardIterator": slow})).await.0, "TrimmedDataAccessException");
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
        let request = json!({
            "StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": kind, "SequenceNumber": first,
        });
        assert_eq!(bench.refused("GetShardIterator", request).await.0, "TrimmedDataAccessException");
    }
    bench.dynamo.streams.control("/_sluice/table-streams/quotes/trim").unwrap();
    assert_eq!(bench.records(&arn).await.len(), 0);
}

#[tokio::test]
async fn a_disabled_stream_is_readable_until_its_records_are_gone_and_a_new_one_is_another() {
    let bench = Bench::streaming(TableStreams::default(), true, "NEW_IMAGE").await;
    bench.put(item("a", 1)).await;
    let first = bench.arn().await;
    let again = json!({"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"});
    let request = json!({"TableName": "quotes", "StreamSpecification": again});
    assert_eq!(bench.refused("UpdateTable", request).await.0, "ValidationException");
    bench.disable().await;
    let table = bench.describe().await;
    assert_eq!((table.get("StreamSpecification"), &table["LatestStreamArn"]), (None, &first));
    let request = json!({"TableName": "quotes", "StreamSpecification": {"StreamEnabled": false}});
    assert_eq!(bench.refused("UpdateTable", request).await.0, "ValidationException");
    bench.put(item("b", 1)).await;
    let status = bench.done("DescribeStream", json!({"StreamArn": first})).await;
    assert_eq!(status["StreamDescription"]["StreamStatus"], "DISABLED");
    let shard = bench.shards(&first).await.remove(0);
    let (records, ended) = bench.shard_records(&first, &shard).await;
    assert_eq!((records.len(), ended), (1, true), "its shards are closed");

    bench.enable("KEYS_ONLY").await;
    let second = bench.arn().await;
    assert_ne!(first, second);
    bench.put(item("a", 2)).await;
    let after = bench.records(&second).await;
    assert_eq!(after.len(), 1);
    assert!(number(&after[0]) > number(&records[0]));
    let listed = async || {
        let page = bench.done("ListStreams", json!({"TableName": "quotes"})).await;
        page["Streams"].as_array().unwrap().iter().map(|it| it["StreamArn"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [first.clone(), second.clone()]);
    let page = bench.done("ListStreams", json!({"Limit": 1})).await;
    assert_eq!(page["LastEvaluatedStreamArn"], first);
    let page = bench.done("ListStreams", json!({"ExclusiveStartStreamArn": first})).await;
    assert_eq!((page["Streams"].as_array().unwrap().len(), page.get("LastEvaluatedStreamArn")), (1, None));

    bench.pass(24 * 3_600_000 - 2_000);
    assert_eq!(listed().await, [second]);
    assert_eq!(bench.refused("DescribeStream", json!({"StreamArn": first})).await.0, "ResourceNotFoundException");
}

#[tokio::test]
async fn the_stream_of_a_deleted_table_stays_readable() {
    let bench = Bench::streaming(TableStreams::default(), true, "NEW_IMAGE").await;
    bench.put(item("a", 1)).await;
    let arn = bench.arn().await;
    bench.done("DeleteTable", json!({"TableName": "quotes"})).await;
    assert_eq!(bench.records(&arn).await.len(), 1, "deleting a table removes no item from its stream");
    bench.create(1).await;
    bench.put(item("a", 2)).await;
    assert_eq!(bench.records(&arn).await.len(), 1);
    bench.enable("NEW_IMAGE").await;
    assert_ne!(bench.arn().await, arn);
}

#[tokio::test]
async fn a_table_is_created_with_its_stream() {
    let bench = Bench::new().await;
    let create = |stream: Value| {
        json!({
            "TableName": "quotes", "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST", "StreamSpecification": stream,
        })
    };
    for wrong in [
        json!({"StreamEnabled": true}),
        json!({"StreamEnabled": true, "StreamViewType": "EVERYTHING"}),
        json!({"StreamEnabled": false, "StreamViewType": "KEYS_ONLY"}),
    ] {
        assert_eq!(bench.refused("CreateTable", create(wrong)).await.0, "ValidationException");
    }
    let table = bench.done("CreateTable", create(json!({"StreamEnabled": true, "StreamViewType": "OLD_IMAGE"}))).await;
    let table = &table["TableDescription"];
    assert_eq!(table["StreamSpecification"], json!({"StreamEnabled": true, "StreamViewType": "OLD_IMAGE"}));
    let arn = &table["LatestStreamArn"];
    assert_eq!(
        arn.as_str().unwrap(),
        format!(
            "arn:aws:dynamodb:us-east-1:000000000000:table/quotes/stream/{}",
            table["LatestStreamLabel"].as_str().unwrap()
        )
    );
    assert_eq!(bench.shards(arn).await.len(), 4, "an on-demand table begins with four partitions");
    let stream = bench.done("DescribeStream", json!({"StreamArn": arn})).await["StreamDescription"].take();
    assert_eq!(stream["KeySchema"], json!([{"AttributeName": "id", "KeyType": "HASH"}]));
}

#[tokio::test]
async fn a_page_holds_a_thousand_records_or_a_mebibyte_and_a_shard_five_calls_a_second() {
    let bench = Bench::streaming(TableStreams::default(), true, "NEW_IMAGE").await;
    for n in 0..12 {
        bench.put(json!({"id": {"S": n.to_string()}, "pad": {"S": "x".repeat(300 * 1024)}})).await;
        // 301 of the 1,000 WCU that a partition has in a second.
        bench.pass(1_000);
    }
    let arn = bench.arn().await;
    let shard = bench.shards(&arn).await.remove(0);
    let iterator = bench.iterator(&arn, &shard, "TRIM_HORIZON", None).await;
    let page = bench.done("GetRecords", json!({"ShardIterator": iterator})).await;
    assert_eq!(page["Records"].as_array().unwrap().len(), 3);
    for _ in 0..4 {
        bench.done("GetRecords", json!({"ShardIterator": iterator})).await;
    }
    let (name, _) = bench.refused("GetRecords", json!({"ShardIterator": iterator})).await;
    assert_eq!(name, "LimitExceededException");
    bench.pass(200);
    bench.done("GetRecords", json!({"ShardIterator": iterator})).await;
    let (name, _) = bench.refused("GetRecords", json!({"ShardIterator": iterator, "Limit": 1001})).await;
    assert_eq!(name, "ValidationException");
    bench.pass(1_000);
    for _ in 0..10 {
        bench.done("DescribeStream", json!({"StreamArn": arn})).await;
    }
    let (name, _) = bench.refused("DescribeStream", json!({"StreamArn": arn})).await;
    assert_eq!(name, "LimitExceededException");
}

#[tokio::test]
async fn a_stream_outlives_a_restart_and_one_that_was_cut_off_says_so_by_its_arn() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { data: Some(folder.path().to_owned()), limits: false, ..Options::default() };
    let bench = Bench::at(&options(), "").await;
    bench.create(900).await;
    bench.pass(60_000);
    bench.enable("NEW_AND_OLD_IMAGES").await;
    for n in 0..600 {
        bench.put(item("a", n)).await;
    }
    bench.dynamo.streams.control("/_sluice/table-streams/quotes/split").unwrap();
    bench.put(item("a", 600)).await;
    let arn = bench.arn().await;
    let (shards, records) = (bench.shards(&arn).await, bench.records(&arn).await);
    bench.dynamo.close().await.unwrap();
    drop(bench);

    let bench = Bench::at(&options(), "").await;
    assert_eq!(bench.arn().await, arn);
    assert_eq!(bench.shards(&arn).await, shards);
    assert_eq!(bench.records(&arn).await, records);
    bench.put(item("a", 601)).await;
    assert_eq!(bench.records(&arn).await.len(), 602);
    // Never closed: a write may be missing in what was kept before.
    drop(bench);
    let bench = Bench::at(&options(), "").await;
    let table = bench.describe().await;
    assert_eq!(table["StreamSpecification"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
    assert_ne!(table["LatestStreamArn"], arn);
    assert_eq!(bench.refused("DescribeStream", json!({"StreamArn": arn})).await.0, "ResourceNotFoundException");
}

#[tokio::test]
async fn faults_strike_those_who_read_streams_too() {
    let options = Options { limits: false, ..Options::default() };
    for (faults, operation, expected) in [
        ("throttle=100%", "DescribeStream", "LimitExceededException"),
        ("throttle=100%", "GetShardIterator", "LimitExceededException"),
        ("throttle=100%", "GetRecords", "LimitExceededException"),
        ("expire-iterators=100%", "GetRecords", "ExpiredIteratorException"),
    ] {
        let bench = Bench::at(&options, faults).await;
        assert_eq!(bench.refused(operation, json!({})).await.0, expected);
    }
}
