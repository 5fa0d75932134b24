//! The gateway's `DynamoDB` under a clock that the test moves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::Dynamo;
use super::control::CHANGE_MS;
use crate::local::Options;
use crate::local::faults::Faults;
use crate::local::metrics::Metrics;

pub(super) const NOON: i64 = 20_000 * 86_400_000 + 43_200_000;

/// A `DynamoDB` and its clock.
pub(super) struct Bench {
    pub(super) dynamo: Dynamo,
    clock: Arc<AtomicI64>,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(None, true, "").await
    }

    pub(super) async fn with(folder: Option<&Path>, limits: bool, faults: &str) -> Self {
        Self::at(&Options { data: folder.map(Path::to_owned), limits, ..Options::default() }, faults).await
    }

    pub(super) async fn at(options: &Options, faults: &str) -> Self {
        let clock = Arc::new(AtomicI64::new(NOON));
        let read = Arc::clone(&clock);
        let faults = Arc::new(faults.parse::<Faults>().unwrap());
        let now = Arc::new(move || read.load(Ordering::Relaxed));
        let dynamo = Dynamo::open_at(options, Metrics::new(), faults, now).await.unwrap();
        Self { dynamo, clock }
    }

    pub(super) fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    /// Status and body of one operation.
    pub(super) async fn ask(&self, operation: &str, body: Value) -> (u16, Value) {
        let response = self.dynamo.handle(operation, Bytes::from(body.to_string())).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(super) async fn done(&self, operation: &str, body: Value) -> Value {
        let (status, reply) = self.ask(operation, body).await;
        assert_eq!(status, 200, "{operation}: {reply}");
        reply
    }

    /// The name and the message of the error.
    pub(super) async fn refused(&self, operation: &str, body: Value) -> (String, Value) {
        let (status, reply) = self.ask(operation, body).await;
        assert_eq!(status, 400, "{operation}: {reply}");
        let name = reply["__type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
        (name, reply)
    }

    pub(super) async fn create(&self, write: u64) {
        self.done(
            "CreateTable",
            json!({
                "TableName": "quotes",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": write},
            }),
        )
        .await;
    }

    pub(super) async fn create_with_index(&self, write: u64, index_write: u64) {
        self.done(
            "CreateTable",
            json!({
                "TableName": "quotes",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [
                    {"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "S"},
                ],
                "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": write},
                "GlobalSecondaryIndexes": [{
                    "IndexName": "by-g",
                    "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                    "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": index_write},
                }],
            }),
        )
        .await;
    }

    pub(super) async fn update(&self, write: u64) -> (u16, Value) {
        let bought = json!({"ReadCapacityUnits": 1, "WriteCapacityUnits": write});
        self.ask("UpdateTable", json!({"TableName": "quotes", "ProvisionedThroughput": bought})).await
    }

    pub(super) async fn describe(&self) -> Value {
        self.done("DescribeTable", json!({"TableName": "quotes"})).await["Table"].clone()
    }
}

/// A put of an item of a little over `kib` KiB.
fn put(id: &str, kib: usize) -> Value {
    json!({"PutRequest": {"Item": {"id": {"S": id}, "pad": {"S": "x".repeat(kib * 1024)}}}})
}

fn batch(writes: impl IntoIterator<Item = Value>) -> Value {
    let writes: Vec<Value> = writes.into_iter().collect();
    json!({"RequestItems": {"quotes": writes}, "ReturnConsumedCapacity": "TOTAL"})
}

#[tokio::test]
async fn a_batch_beyond_capacity_comes_back_in_part_and_then_as_an_error() {
    let bench = Bench::new().await;
    bench.create(1).await;
    // 300 WCU are stored; ten items of 36 WCU overdraw them with the ninth.
    let reply = bench.done("BatchWriteItem", batch((0..10).map(|n| put(&n.to_string(), 35)))).await;
    let back = reply["UnprocessedItems"]["quotes"].as_array().unwrap();
    assert_eq!(back.len(), 1);
    assert_eq!(back[0], put("9", 35));
    assert_eq!(reply["ConsumedCapacity"][0]["CapacityUnits"], 324.0);

    let (name, reply) = bench.refused("BatchWriteItem", batch([put("9", 35)])).await;
    assert_eq!(name, "ProvisionedThroughputExceededException");
    assert!(
        reply["message"].as_str().unwrap().starts_with("The level of configured provisioned throughput for the table")
    );
    assert_eq!(reply["ThrottlingReasons"][0]["reason"], "TableWriteProvisionedThroughputExceeded");
    assert!(reply["ThrottlingReasons"][0]["resource"].as_str().unwrap().ends_with(":table/quotes"));

    // The debt of 24 WCU is paid after 24 s, at 1 WCU.
    bench.pass(24_000);
    bench.refused("PutItem", json!({"TableName": "quotes", "Item": {"id": {"S": "a"}}})).await;
    bench.pass(1);
    bench.done("PutItem", json!({"TableName": "quotes", "Item": {"id": {"S": "a"}}})).await;
}

#[tokio::test]
async fn overwriting_costs_the_larger_of_the_old_and_the_new_item() {
    let bench = Bench::new().await;
    bench.create(1).await;
    bench.done("BatchWriteItem", batch([put("big", 199)])).await;
    // 100 WCU are left. The small item is taken for 1 WCU, and billed 200.
    let reply = bench.done("BatchWriteItem", batch([put("big", 0)])).await;
    assert_eq!(reply["ConsumedCapacity"][0]["CapacityUnits"], 200.0);
    bench.pass(100_000);
    bench.refused("BatchWriteItem", batch([put("other", 0)])).await;
    bench.pass(1);
    bench.done("BatchWriteItem", batch([put("other", 0)])).await;
}

#[tokio::test]
async fn a_full_partition_says_that_it_is_one_and_the_table_is_not_full() {
    let bench = Bench::new().await;
    bench.create(4000).await;
    // One partition takes 1,000 WCU at once: 27 items of 37 WCU fill it and overdraw it with the 28th.
    let hot = put("hot", 36);
    for _ in 0..28 {
        bench.done("BatchWriteItem", batch([hot.clone()])).await;
    }
    let (name, reply) = bench.refused("BatchWriteItem", batch([hot])).await;
    assert_eq!(name, "ProvisionedThroughputExceededException");
    assert_eq!(reply["ThrottlingReasons"][0]["reason"], "TableWriteKeyRangeThroughputExceeded");
    let others = (0..24).map(|n| put(&n.to_string(), 0));
    let reply = bench.done("BatchWriteItem", batch(others)).await;
    let back = reply["UnprocessedItems"]["quotes"].as_array().map_or(0, Vec::len);
    assert!((1..24).contains(&back), "{back} of 24 live in the same partition");
}

#[tokio::test]
async fn a_full_index_throttles_writes_to_its_table() {
    let bench = Bench::new().await;
    bench.create_with_index(1000, 1).await;
    let item = |n: usize| json!({"PutRequest": {"Item": {"id": {"S": n.to_string()}, "g": {"S": "x"}}}});
    let mut written = 0;
    let mut refusal = None;
    for n in 0..20 {
        let (status, reply) = bench.ask("BatchWriteItem", batch((0..25).map(|m| item(n * 25 + m)))).await;
        if status == 400 {
            refusal = Some(reply);
            break;
        }
        written += 25 - reply["UnprocessedItems"]["quotes"].as_array().map_or(0, Vec::len);
    }
    assert_eq!(written, 300, "the index has 300 s of 1 WCU stored");
    let refusal = refusal.unwrap();
    assert_eq!(refusal["ThrottlingReasons"][0]["reason"], "IndexWriteProvisionedThroughputExceeded");
    assert!(refusal["ThrottlingReasons"][0]["resource"].as_str().unwrap().ends_with("/index/by-g"));
    assert!(refusal["message"].as_str().unwrap().contains("global secondary indexes"));
    // An item that is not in the index still passes.
    bench.done("BatchWriteItem", batch([put("plain", 0)])).await;
}

#[tokio::test]
async fn reads_are_limited_too_and_a_batch_of_keys_comes_back_in_part() {
    let bench = Bench::new().await;
    bench.create(1000).await;
    bench.done("BatchWriteItem", batch([put("big", 390)])).await;
    // Reading 391 KiB consistently takes 98 RCU; 300 are stored.
    let get = json!({"TableName": "quotes", "Key": {"id": {"S": "big"}}, "ConsistentRead": true});
    for _ in 0..4 {
        bench.done("GetItem", get.clone()).await;
    }
    let (name, reply) = bench.refused("GetItem", get.clone()).await;
    assert_eq!(name, "ProvisionedThroughputExceededException");
    assert_eq!(reply["ThrottlingReasons"][0]["reason"], "TableReadProvisionedThroughputExceeded");
    bench.refused("Scan", json!({"TableName": "quotes"})).await;
    // 92 s pay the debt; half a unit more admits the first key, whose half unit closes the door again.
    bench.pass(92_500);
    let keys: Vec<_> = ["a", "b", "c"].map(|id| json!({"id": {"S": id}})).into();
    let reply =
        bench.done("BatchGetItem", json!({"RequestItems": {"quotes": {"Keys": keys, "ConsistentRead": false}}})).await;
    let back = &reply["UnprocessedKeys"]["quotes"];
    assert_eq!(back["Keys"], json!([{"id": {"S": "b"}}, {"id": {"S": "c"}}]));
    assert_eq!(back["ConsistentRead"], false);
}

#[tokio::test]
async fn without_limits_nothing_is_refused_and_capacity_is_still_told() {
    let bench = Bench::with(None, false, "").await;
    bench.create(1).await;
    for _ in 0..5 {
        let reply = bench.done("BatchWriteItem", batch((0..4).map(|n| put(&n.to_string(), 99)))).await;
        assert_eq!(reply["UnprocessedItems"], json!({}));
        assert_eq!(reply["ConsumedCapacity"][0]["CapacityUnits"], 400.0);
    }
}

#[tokio::test]
async fn capacity_is_told_only_when_asked_for() {
    let bench = Bench::new().await;
    bench.create_with_index(10, 10).await;
    let item = |mode: &str| json!({"TableName": "quotes", "Item": {"id": {"S": "a"}, "g": {"S": mode}}, "ReturnConsumedCapacity": mode});
    assert!(bench.done("PutItem", item("NONE")).await.get("ConsumedCapacity").is_none());
    let total = bench.done("PutItem", item("TOTAL")).await["ConsumedCapacity"].clone();
    // Moving the item in the index costs a delete and a put there.
    assert_eq!(total, json!({"TableName": "quotes", "CapacityUnits": 3.0}));
    let indexes = bench.done("PutItem", item("INDEXES")).await["ConsumedCapacity"].clone();
    assert_eq!(indexes["GlobalSecondaryIndexes"]["by-g"]["CapacityUnits"], 2.0);
}

#[tokio::test]
async fn a_raise_is_updating_for_a_moment_and_takes_effect_at_its_end() {
    let bench = Bench::new().await;
    bench.create(130).await;
    let (status, reply) = bench.update(195).await;
    assert_eq!(status, 200);
    assert_eq!(reply["TableDescription"]["TableStatus"], "UPDATING");
    assert_eq!(reply["TableDescription"]["ProvisionedThroughput"]["WriteCapacityUnits"], 130);
    let (name, _) =
        bench.refused("UpdateTable", json!({"TableName": "quotes", "BillingMode": "PAY_PER_REQUEST"})).await;
    assert_eq!(name, "ResourceInUseException");
    bench.pass(CHANGE_MS);
    let table = bench.describe().await;
    assert_eq!(table["TableStatus"], "ACTIVE");
    assert_eq!(table["ProvisionedThroughput"]["WriteCapacityUnits"], 195);
    assert_eq!(table["ProvisionedThroughput"]["NumberOfDecreasesToday"], 0);
    let raised = table["ProvisionedThroughput"]["LastIncreaseDateTime"].as_f64().unwrap();
    assert!((raised - (NOON + CHANGE_MS) as f64 / 1000.0).abs() < 1e-6);
}

#[tokio::test]
async fn the_fifth_decrease_within_an_hour_is_refused_and_the_reason_says_when() {
    let bench = Bench::new().await;
    bench.create(100).await;
    for write in [90, 80, 70, 60] {
        assert_eq!(bench.update(write).await.0, 200);
        bench.pass(CHANGE_MS);
    }
    let (status, reply) = bench.update(50).await;
    assert_eq!(status, 400);
    assert!(reply["__type"].as_str().unwrap().ends_with("#LimitExceededException"));
    let message = reply["message"].as_str().unwrap();
    assert!(message.contains("Number of decreases today: 4"), "{message}");
    assert!(message.contains("Next decrease can be made at"), "{message}");
    assert_eq!(bench.describe().await["ProvisionedThroughput"]["NumberOfDecreasesToday"], 4);
    assert_eq!(bench.update(61).await.0, 200, "raising is always allowed");
    bench.pass(3_600_000);
    assert_eq!(bench.update(50).await.0, 200);
}

#[tokio::test]
async fn a_change_that_changes_nothing_or_asks_too_much_is_refused() {
    let bench = Bench::new().await;
    bench.create(10).await;
    let (status, reply) = bench.update(10).await;
    assert_eq!(status, 400);
    assert!(reply["message"].as_str().unwrap().contains("will not change"));
    let (_, reply) = bench.update(40_001).await;
    assert!(reply["__type"].as_str().unwrap().ends_with("#LimitExceededException"));
    let (_, reply) = bench.update(0).await;
    assert!(reply["__type"].as_str().unwrap().ends_with("#ValidationException"));
    let (name, _) = bench.refused("UpdateTable", json!({"TableName": "quotes"})).await;
    assert_eq!(name, "ValidationException");
    let (name, _) =
        bench.refused("UpdateTable", json!({"TableName": "nowhere", "BillingMode": "PAY_PER_REQUEST"})).await;
    assert_eq!(name, "ResourceNotFoundException");
}

#[tokio::test]
async fn an_index_is_raised_by_itself_and_updating_meanwhile() {
    let bench = Bench::new().await;
    bench.create_with_index(100, 1).await;
    let update = json!({"Update": {
        "IndexName": "by-g", "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 50},
    }});
    let reply =
        bench.done("UpdateTable", json!({"TableName": "quotes", "GlobalSecondaryIndexUpdates": [update]})).await;
    assert_eq!(reply["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexStatus"], "UPDATING");
    bench.pass(CHANGE_MS);
    let index = bench.describe().await["GlobalSecondaryIndexes"][0].clone();
    assert_eq!(index["IndexStatus"], "ACTIVE");
    assert_eq!(index["ProvisionedThroughput"]["WriteCapacityUnits"], 50);
}

#[tokio::test]
async fn a_table_goes_to_on_demand_and_back() {
    let bench = Bench::new().await;
    bench.create(1).await;
    bench.done("UpdateTable", json!({"TableName": "quotes", "BillingMode": "PAY_PER_REQUEST"})).await;
    bench.pass(CHANGE_MS);
    let table = bench.describe().await;
    assert_eq!(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(table["ProvisionedThroughput"]["WriteCapacityUnits"], 0);
    bench.done("BatchWriteItem", batch((0..5).map(|n| put(&n.to_string(), 99)))).await;
    let (name, _) = bench.refused("UpdateTable", json!({"TableName": "quotes", "BillingMode": "PROVISIONED"})).await;
    assert_eq!(name, "ValidationException");
    let bought = json!({"ReadCapacityUnits": 1, "WriteCapacityUnits": 7});
    bench
        .done(
            "UpdateTable",
            json!({"TableName": "quotes", "BillingMode": "PROVISIONED", "ProvisionedThroughput": bought}),
        )
        .await;
    bench.pass(CHANGE_MS);
    let table = bench.describe().await;
    assert!(table.get("BillingModeSummary").is_none());
    assert_eq!(table["ProvisionedThroughput"]["WriteCapacityUnits"], 7);
}

#[tokio::test]
async fn an_index_is_added_to_a_live_table_with_its_own_throughput() {
    let bench = Bench::new().await;
    bench.create(100).await;
    let create = json!({"Create": {
        "IndexName": "by-g",
        "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
    }});
    bench
        .done(
            "UpdateTable",
            json!({
                "TableName": "quotes",
                "AttributeDefinitions": [{"AttributeName": "g", "AttributeType": "S"}],
                "GlobalSecondaryIndexUpdates": [create],
            }),
        )
        .await;
    let index = bench.describe().await["GlobalSecondaryIndexes"][0].clone();
    assert_eq!(index["ProvisionedThroughput"]["WriteCapacityUnits"], 4);
}

#[tokio::test]
async fn an_index_of_a_provisioned_table_must_be_given_throughput() {
    let bench = Bench::new().await;
    let keys = |name: &str| json!([{"AttributeName": name, "KeyType": "HASH"}]);
    let bare = json!({"IndexName": "by-g", "KeySchema": keys("g"), "Projection": {"ProjectionType": "ALL"}});
    let attributes =
        json!([{"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "S"}]);
    let (name, _) = bench
        .refused(
            "CreateTable",
            json!({
                "TableName": "quotes", "KeySchema": keys("id"), "AttributeDefinitions": attributes,
                "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
                "GlobalSecondaryIndexes": [bare],
            }),
        )
        .await;
    assert_eq!(name, "ValidationException");
    bench.create(1).await;
    let update = json!({
        "TableName": "quotes", "AttributeDefinitions": attributes, "GlobalSecondaryIndexUpdates": [{"Create": bare}],
    });
    assert_eq!(bench.refused("UpdateTable", update.clone()).await.0, "ValidationException");
    bench.done("UpdateTable", json!({"TableName": "quotes", "BillingMode": "PAY_PER_REQUEST"})).await;
    bench.pass(CHANGE_MS);
    bench.done("UpdateTable", update).await;
}

#[tokio::test]
async fn a_table_that_is_being_updated_is_not_deleted() {
    let bench = Bench::new().await;
    bench.create(1).await;
    assert_eq!(bench.update(2).await.0, 200);
    let delete = json!({"TableName": "quotes"});
    assert_eq!(bench.refused("DeleteTable", delete.clone()).await.0, "ResourceInUseException");
    bench.pass(CHANGE_MS);
    let reply = bench.done("DeleteTable", delete.clone()).await;
    assert_eq!(reply["TableDescription"]["TableStatus"], "DELETING");
    assert_eq!(bench.refused("DescribeTable", delete).await.0, "ResourceNotFoundException");
}

#[tokio::test]
async fn faults_throttle_and_split_batches_and_lose_nothing() {
    let bench = Bench::with(None, true, "partial=100%").await;
    bench.create(1000).await;
    let mut left: Vec<Value> = (0..25).map(|n| put(&n.to_string(), 0)).collect();
    let mut rounds = 0;
    while left.len() > 1 {
        let reply = bench.done("BatchWriteItem", batch(left.clone())).await;
        let back = reply["UnprocessedItems"]["quotes"].as_array().unwrap().clone();
        assert!(!back.is_empty() && back.len() < left.len(), "some come back, some don't");
        left = back;
        rounds += 1;
    }
    assert!(rounds > 1);
    assert_eq!(bench.describe().await["ItemCount"], 24);

    let bench = Bench::with(None, false, "throttle=100%").await;
    bench.create(1000).await;
    let (name, _) = bench.refused("BatchWriteItem", batch([put("a", 0)])).await;
    assert_eq!(name, "ProvisionedThroughputExceededException");
}

#[tokio::test]
async fn a_run_with_faults_repeats_itself() {
    let run = async || {
        let bench = Bench::with(None, true, "partial=30%,throttle=30%").await;
        bench.create(1000).await;
        let mut replies = Vec::new();
        for n in 0..40 {
            let mut reply = bench.ask("BatchWriteItem", batch((0..5).map(|m| put(&(n * 5 + m).to_string(), 0)))).await;
            reply.1["ConsumedCapacity"].take();
            replies.push(reply);
        }
        replies
    };
    let first = run().await;
    assert_eq!(first, run().await);
    assert!(first.iter().any(|(status, _)| *status == 400), "some are throttled");
    assert!(first.iter().any(|(_, reply)| reply.pointer("/UnprocessedItems/quotes").is_some()), "some are split");
    assert!(first.iter().any(|(_, reply)| reply["UnprocessedItems"] == json!({})), "some pass");
}

#[tokio::test]
async fn a_failed_condition_costs_capacity_and_a_bad_request_does_not() {
    let bench = Bench::new().await;
    bench.create(1).await;
    bench.done("BatchWriteItem", batch([put("a", 297)])).await;
    // 2 WCU are left.
    bench.refused("PutItem", json!({"TableName": "quotes", "Item": {"id": {"N": "1"}}})).await;
    let conditional = json!({
        "TableName": "quotes", "Item": {"id": {"S": "b"}}, "ConditionExpression": "attribute_exists(id)",
    });
    for _ in 0..2 {
        assert_eq!(bench.refused("PutItem", conditional.clone()).await.0, "ConditionalCheckFailedException");
    }
    assert_eq!(bench.refused("PutItem", conditional).await.0, "ProvisionedThroughputExceededException");
}

#[tokio::test]
async fn a_transaction_beyond_capacity_is_cancelled_as_a_whole() {
    let bench = Bench::new().await;
    bench.create(1).await;
    let put = |id: &str| json!({"Put": {"TableName": "quotes", "Item": {"id": {"S": id}}}});
    bench.done("TransactWriteItems", json!({"TransactItems": [put("a"), put("b")]})).await;
    bench.done("BatchWriteItem", batch([self::put("c", 294)])).await;
    // 1 WCU is left: the first put takes 2 of it, the second finds none.
    let (name, reply) = bench.refused("TransactWriteItems", json!({"TransactItems": [put("d"), put("e")]})).await;
    assert_eq!(name, "TransactionCanceledException");
    assert_eq!(reply["CancellationReasons"][1]["Code"], "ProvisionedThroughputExceeded");
    // What the first took was given back.
    bench.done("PutItem", json!({"TableName": "quotes", "Item": {"id": {"S": "d"}}})).await;
    assert_eq!(bench.describe().await["ItemCount"], 4);
}

/// The sum of a metric in whole units, at whatever time.
fn sum(bench: &Bench, metric: &str, dimensions: &[(&str, &str)]) -> i64 {
    let id = crate::local::metrics::SeriesId::new("AWS/DynamoDB", metric, dimensions);
    bench.dynamo.metrics.query(&id, 0, 2 * NOON, 60_000).iter().map(|(_, it)| it.sum.ceil() as i64).sum()
}

#[tokio::test]
async fn what_passed_and_what_was_refused_is_measured() {
    let bench = Bench::new().await;
    bench.create_with_index(1000, 1).await;
    let item = |n: usize| json!({"PutRequest": {"Item": {"id": {"S": n.to_string()}, "g": {"S": "x"}}}});
    for n in 0..13 {
        bench.ask("BatchWriteItem", batch((0..25).map(|m| item(n * 25 + m)))).await;
    }
    let table = [("TableName", "quotes")];
    let index = [("TableName", "quotes"), ("GlobalSecondaryIndexName", "by-g")];
    assert_eq!(sum(&bench, "ConsumedWriteCapacityUnits", &table), 300);
    assert_eq!(sum(&bench, "ConsumedWriteCapacityUnits", &index), 300);
    assert_eq!(sum(&bench, "WriteThrottleEvents", &index), 25);
    assert_eq!(sum(&bench, "WriteThrottleEvents", &table), 0);
    assert_eq!(sum(&bench, "ThrottledRequests", &[("TableName", "quotes"), ("Operation", "BatchWriteItem")]), 1);
    assert_eq!(sum(&bench, "ProvisionedWriteCapacityUnits", &table), 1000);
    bench.done("Scan", json!({"TableName": "quotes"})).await;
    assert!(sum(&bench, "ConsumedReadCapacityUnits", &table) > 0);
}

#[tokio::test]
async fn metrics_are_kept_without_limits_too() {
    let bench = Bench::with(None, false, "").await;
    bench.create(1).await;
    bench.done("BatchWriteItem", batch([put("a", 399)])).await;
    assert_eq!(sum(&bench, "ConsumedWriteCapacityUnits", &[("TableName", "quotes")]), 400);
}

#[tokio::test]
async fn a_stream_is_read_by_the_arns_that_were_shown() {
    let bench = Bench::new().await;
    bench.create(100).await;
    let stream = json!({"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"});
    bench.done("UpdateTable", json!({"TableName": "quotes", "StreamSpecification": stream})).await;
    bench.done("BatchWriteItem", batch([put("a", 0)])).await;
    let table = bench.describe().await;
    assert_eq!(table["TableArn"], "arn:aws:dynamodb:us-east-1:000000000000:table/quotes");
    let arn = table["LatestStreamArn"].clone();
    let stream = bench.done("DescribeStream", json!({"StreamArn": arn})).await["StreamDescription"].clone();
    let shard = stream["Shards"][0]["ShardId"].clone();
    let iterator = bench
        .done("GetShardIterator", json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}))
        .await;
    let records = bench.done("GetRecords", json!({"ShardIterator": iterator["ShardIterator"]})).await;
    assert_eq!(records["Records"][0]["eventName"], "INSERT");
    assert_eq!(records["Records"][0]["dynamodb"]["NewImage"]["id"], json!({"S": "a"}));
}

#[tokio::test]
async fn items_and_settings_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::with(Some(folder.path()), true, "").await;
    bench.create_with_index(100, 5).await;
    bench.done("BatchWriteItem", batch([put("a", 0)])).await;
    assert_eq!(bench.update(50).await.0, 200);
    bench.dynamo.close().await.unwrap();

    let bench = Bench::with(Some(folder.path()), true, "").await;
    let table = bench.describe().await;
    assert_eq!(table["TableStatus"], "ACTIVE");
    assert_eq!(table["ProvisionedThroughput"]["WriteCapacityUnits"], 50);
    assert_eq!(table["ProvisionedThroughput"]["NumberOfDecreasesToday"], 1);
    assert_eq!(table["GlobalSecondaryIndexes"][0]["ProvisionedThroughput"]["WriteCapacityUnits"], 5);
    let reply = bench.done("GetItem", json!({"TableName": "quotes", "Key": {"id": {"S": "a"}}})).await;
    assert_eq!(reply["Item"]["id"], json!({"S": "a"}));
}

#[tokio::test]
async fn what_was_answered_survives_a_server_that_never_closed() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::with(Some(folder.path()), true, "").await;
    bench.create(100).await;
    bench.done("BatchWriteItem", batch([put("a", 0)])).await;
    // A copy of the files as they are now is what a killed process leaves behind.
    let killed = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), killed.path().join(file.file_name())).unwrap();
    }
    let bench = Bench::with(Some(killed.path()), true, "").await;
    assert_eq!(bench.describe().await["ItemCount"], 1);
}
