//! The embedded AWS as the SDK sees it, over its port.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, KeySchemaElement, KeyType, ProvisionedThroughput, PutRequest,
    ScalarAttributeType, TableStatus, WriteRequest,
};

use super::{Local, Options};
use crate::cloud::{Cloud, Context, Guard};

async fn cloud(local: &Local) -> Cloud {
    let context =
        Context { region: Some("eu-west-1".into()), endpoint_url: Some(local.endpoint().into()), ..Context::default() };
    Cloud::connect(&context, Guard::open()).await.unwrap()
}

fn bought(write: i64) -> ProvisionedThroughput {
    ProvisionedThroughput::builder().read_capacity_units(5).write_capacity_units(write).build().unwrap()
}

async fn create(cloud: &Cloud, table: &str, write: i64) {
    cloud
        .dynamodb
        .create_table()
        .table_name(table)
        .key_schema(KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap())
        .attribute_definitions(
            AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build().unwrap(),
        )
        .provisioned_throughput(bought(write))
        .send()
        .await
        .unwrap();
}

fn put(id: usize, kib: usize) -> WriteRequest {
    let item = PutRequest::builder()
        .item("id", AttributeValue::S(id.to_string()))
        .item("pad", AttributeValue::S("x".repeat(kib * 1024)));
    WriteRequest::builder().put_request(item.build().unwrap()).build()
}

async fn status(cloud: &Cloud, table: &str) -> (TableStatus, i64) {
    let reply = cloud.dynamodb.describe_table().table_name(table).send().await.unwrap();
    let table = reply.table.unwrap();
    let write = table.provisioned_throughput.unwrap().write_capacity_units.unwrap();
    (table.table_status.unwrap(), write)
}

#[tokio::test]
async fn a_table_is_made_filled_beyond_its_capacity_and_raised() {
    let local = Local::start(Options::default()).await.unwrap();
    let cloud = cloud(&local).await;
    create(&cloud, "quotes", 1).await;
    let writes = (0..10).map(|n| put(n, 35)).collect();
    let reply = cloud.bulk.dynamodb.batch_write_item().request_items("quotes", writes).send().await.unwrap();
    assert_eq!(reply.unprocessed_items.unwrap()["quotes"].len(), 1);

    let refused = cloud
        .bulk
        .dynamodb
        .put_item()
        .table_name("quotes")
        .item("id", AttributeValue::S("x".into()))
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_provisioned_throughput_exceeded_exception(), "{refused:?}");

    let update = cloud.dynamodb.update_table().table_name("quotes").provisioned_throughput(bought(9));
    update.send().await.unwrap();
    assert_eq!(status(&cloud, "quotes").await, (TableStatus::Updating, 1));
    while status(&cloud, "quotes").await.0 == TableStatus::Updating {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&cloud, "quotes").await, (TableStatus::Active, 9));
    local.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_kept_in_a_folder_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { data: Some(folder.path().to_owned()), ..Options::default() };
    let local = Local::start(options()).await.unwrap();
    let cloud_before = cloud(&local).await;
    create(&cloud_before, "quotes", 100).await;
    let writes = (0..25).map(|n| put(n, 0)).collect();
    cloud_before.bulk.dynamodb.batch_write_item().request_items("quotes", writes).send().await.unwrap();
    local.stop().await.unwrap();

    let local = Local::start(options()).await.unwrap();
    let second = Local::start(options()).await.unwrap_err().to_string();
    assert!(second.contains("another sluice"), "{second}");
    assert_eq!(local.s3_folder(), folder.path().join("s3"));
    let reply = cloud(&local).await.dynamodb.scan().table_name("quotes").send().await.unwrap();
    assert_eq!(reply.count, 25);
    local.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_folder_s3_lives_until_the_stop() {
    let local = Local::start(Options::default()).await.unwrap();
    let folder = local.s3_folder().to_owned();
    assert!(folder.is_dir());
    local.stop().await.unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let local = Local::start(Options::default()).await.unwrap();
    let listen = local.endpoint().trim_start_matches("http://").parse().unwrap();
    let error = Local::start(Options { listen, ..Options::default() }).await.unwrap_err().to_string();
    assert!(error.contains(&listen.to_string()) && error.contains("--listen"), "{error}");
}

#[tokio::test]
async fn a_lost_reply_is_a_request_done_and_an_error_one_that_is_not() {
    let count = async |faults: &str| {
        let local = Local::start(Options { faults: faults.parse().unwrap(), ..Options::default() }).await.unwrap();
        let cloud = cloud(&local).await;
        create(&cloud, "quotes", 100).await;
        let put = cloud.bulk.dynamodb.put_item().table_name("quotes").item("id", AttributeValue::S("x".into()));
        put.send().await.unwrap_err();
        let reply = cloud.dynamodb.describe_table().table_name("quotes").send().await.unwrap();
        reply.table.unwrap().item_count.unwrap()
    };
    assert_eq!(count("lose-reply=100%").await, 1);
    assert_eq!(count("reset=100%").await, 1);
    assert_eq!(count("error=100%").await, 0);
    assert_eq!(count("throttle=100%").await, 0);
}

#[tokio::test]
async fn sts_says_who_asks() {
    let local = Local::start(Options::default()).await.unwrap();
    let reply = cloud(&local).await.sts.get_caller_identity().send().await.unwrap();
    assert_eq!(reply.account(), Some("000000000000"));
}

#[tokio::test]
async fn metrics_are_asked_for_five_hundred_a_call_and_counted() {
    use crate::cloud::metrics::{self, Query};
    let local = Local::start(Options::default()).await.unwrap();
    let cloud = cloud(&local).await;
    let queries: Vec<Query> =
        (0..600).flat_map(|n| ["A", "B"].map(|metric| Query::table_sum(metric, &format!("t{n}")))).collect();
    let series = metrics::series(&cloud, &queries, 0, 3_600_000, 60).await.unwrap();
    assert_eq!(series.len(), 1_200);
    let asked = cloud.budget().asked();
    assert_eq!((cloud.guard.requests(), asked.questions, asked.metrics), (3, 3, 1_200));
    local.stop().await.unwrap();
}
