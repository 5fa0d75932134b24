//! The flow against the embedded AWS, over its port, through the SDK, with faults on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ProvisionedThroughput, ScalarAttributeType,
};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::ledger::tests::Line;
use super::*;
use crate::cloud::{Class, Cloud, CloudError, Context, Guard, Mode, guard::NoWitness};
use crate::item::{Checked, Checker, KeyAttr, KeyKind, KeySchema};
use crate::local::{Local, Options};

const FAULTS: &str = "throttle=10%,error=5%,partial=15%,reset=2%,lose-reply=3%,expire-iterators=5%";

fn schema() -> KeySchema {
    KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None }
}

fn item(n: u64, keys: u64) -> Checked {
    let json = format!(r#"{{"id":{{"S":"k{}\n"}},"v":{{"N":"{n}"}}}}"#, n % keys);
    Checker::new(schema()).check(Bytes::from(json)).unwrap()
}

async fn local(faults: &str) -> Local {
    let faults: crate::local::Faults = faults.parse().unwrap();
    Local::start(Options { faults: faults.seeded(11), seed: 11, ..Options::default() }).await.unwrap()
}

async fn cloud_in(local: &Local, mode: Mode) -> Cloud {
    let context =
        Context { region: Some("eu-west-1".into()), endpoint_url: Some(local.endpoint().into()), ..Context::default() };
    Cloud::connect(&context, Guard::new(mode, Arc::new(NoWitness))).await.unwrap()
}

/// A table `quotes` of 40,000 WCU, and one shard for each of `shards` of a stream `s`.
async fn prepare(cloud: &Cloud, shards: i32) {
    let attribute =
        |name, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap();
    let hash = |name| KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap();
    let bought =
        || ProvisionedThroughput::builder().read_capacity_units(5000).write_capacity_units(40_000).build().unwrap();
    cloud
        .dynamodb
        .create_table()
        .table_name("quotes")
        .key_schema(hash("id"))
        .attribute_definitions(attribute("id", ScalarAttributeType::S))
        .attribute_definitions(attribute("tag", ScalarAttributeType::S))
        .global_secondary_indexes(
            GlobalSecondaryIndex::builder()
                .index_name("by-tag")
                .key_schema(hash("tag"))
                .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
                .provisioned_throughput(bought())
                .build()
                .unwrap(),
        )
        .provisioned_throughput(bought())
        .send()
        .await
        .unwrap();
    if shards > 0 {
        cloud.kinesis.create_stream().stream_name("s").shard_count(shards).send().await.unwrap();
        loop {
            let stream = cloud.kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
            if stream.stream_description_summary.unwrap().stream_status.as_str() == "ACTIVE" {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn writer(cloud: &Cloud, change: impl FnOnce(&mut WriterOptions)) -> Writer {
    let mut options = WriterOptions::new("quotes", "id");
    change(&mut options);
    let clock = clock();
    let pacer = Arc::new(Pacer::new(Arc::clone(&clock)));
    Writer::start(options, Arc::new(AwsTable::new(cloud.bulk.dynamodb.clone(), "quotes", schema())), pacer, clock)
}

/// The version of each key in the table. A fault may meet this scan too: then it is taken again.
async fn versions(cloud: &Cloud) -> HashMap<String, u64> {
    loop {
        let pages = cloud.dynamodb.scan().table_name("quotes").into_paginator().items().send();
        let Ok(found) = pages.collect::<Result<Vec<_>, _>>().await else { continue };
        let version = |item: &HashMap<String, AttributeValue>| {
            let (AttributeValue::S(id), AttributeValue::N(v)) = (&item["id"], &item["v"]) else { panic!("{item:?}") };
            (id.clone(), v.parse().unwrap())
        };
        return found.iter().map(version).collect();
    }
}

#[tokio::test]
async fn with_faults_on_every_item_is_written_once_counted_and_the_last_version_stays() {
    let local = local(FAULTS).await;
    let cloud = cloud_in(&local, Mode::Normal).await;
    prepare(&cloud, 0).await;
    let writer = writer(&cloud, |_| {});
    let ledger = Arc::new(Ledger::new(1_000));
    for n in 0..3_000 {
        writer.put(item(n, 1_000), ledger.open(Line(n)).await.unwrap()).await.unwrap();
    }
    ledger.drained().await;
    let counters = ledger.mark().0;
    assert_eq!((counters.read, counters.written, counters.dead), (3_000, 3_000, 0));
    let effort = writer.effort();
    assert!(effort.throttled > 0 && effort.retried > 0, "{effort:?}");
    assert!(effort.wcu > 0.0 && effort.wcu <= 1.3 * 3_000.0, "{effort:?}");
    writer.finish().await.unwrap();
    let versions = versions(&cloud).await;
    assert_eq!(versions.len(), 1_000);
    assert!((0..1_000).all(|k| versions[&format!("k{k}\n")] == 2_000 + k));
}

#[tokio::test]
async fn what_the_service_refuses_for_good_is_a_dead_letter_in_its_own_words() {
    let local = local("").await;
    let cloud = cloud_in(&local, Mode::Normal).await;
    prepare(&cloud, 0).await;
    let writer = writer(&cloud, |options| options.lanes = 1);
    let ledger = Arc::new(Ledger::new(100));
    for n in 0..50 {
        // The index wants a string.
        let bad = Bytes::from(format!(r#"{{"id":{{"S":"k{n}\n"}},"v":{{"N":"{n}"}},"tag":{{"N":"1"}}}}"#));
        let item = if n == 17 { Checker::new(schema()).check(bad).unwrap() } else { item(n, 1_000) };
        writer.put(item, ledger.open(Line(n)).await.unwrap()).await.unwrap();
    }
    ledger.drained().await;
    let settled = ledger.take_settled();
    assert_eq!((settled.counters.written, settled.counters.dead), (49, 1));
    assert_eq!(settled.letters[0].line, Some(17));
    assert!(settled.letters[0].reason.contains("ype mismatch"), "{}", settled.letters[0].reason);
    assert_eq!(versions(&cloud).await.len(), 49);
}

#[tokio::test]
async fn existing_items_stay_and_dry_runs_and_read_only_write_nothing() {
    let local = local("").await;
    let cloud = cloud_in(&local, Mode::Normal).await;
    prepare(&cloud, 0).await;
    let put = async |writer: &Writer, items: std::ops::Range<u64>| {
        let ledger = Arc::new(Ledger::new(1_000));
        for n in items {
            writer.put(item(n, 1_000), ledger.open(Line(n)).await.unwrap()).await?;
        }
        tokio::select! {
            () = ledger.drained() => Ok::<Counters, CloudError>(ledger.mark().0),
            error = writer.failed() => Err(error),
        }
    };
    assert_eq!(put(&writer(&cloud, |_| {}), 0..40).await.unwrap().written, 40);
    let careful = put(&writer(&cloud, |options| options.if_not_exists = true), 0..60).await.unwrap();
    assert_eq!((careful.written, careful.skipped), (20, 40));
    let dry = put(&writer(&cloud_in(&local, Mode::DryRun).await, |_| {}), 60..90).await.unwrap();
    assert_eq!((dry.written, dry.skipped), (0, 30));
    let refused = put(&writer(&cloud_in(&local, Mode::ReadOnly).await, |_| {}), 60..90).await.unwrap_err();
    assert_eq!(refused.class, Class::ReadOnly);
    assert_eq!(versions(&cloud).await.len(), 60);
    // Deletes go the same way.
    let writer = writer(&cloud, |_| {});
    let ledger = Arc::new(Ledger::new(1_000));
    for n in 0..30 {
        writer.delete(item(n, 1_000).key, ledger.open(Line(n)).await.unwrap()).await.unwrap();
    }
    ledger.drained().await;
    assert_eq!((ledger.mark().0.deleted, versions(&cloud).await.len()), (30, 30));
}

#[tokio::test]
async fn an_unknown_table_ends_the_writer_with_its_class_and_nothing_more_is_taken() {
    let local = local("").await;
    let cloud = cloud_in(&local, Mode::Normal).await;
    let ledger = Arc::new(Ledger::new(10));
    let to_nowhere = writer(&cloud, |_| {});
    to_nowhere.put(item(1, 9), ledger.open(Line(1)).await.unwrap()).await.unwrap();
    assert_eq!(to_nowhere.failed().await.class, Class::NotFound);
    assert!(to_nowhere.put(item(2, 9), ledger.open(Line(2)).await.unwrap()).await.is_err());
}

struct OneTable(Sink);

impl Tables for OneTable {
    fn sink<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>> {
        async { Ok(self.0.clone()) }.boxed()
    }
}

fn stream(cloud: &Cloud) -> Arc<AwsStream> {
    Arc::new(AwsStream::new(cloud.kinesis.clone(), cloud.bulk.kinesis.clone(), "s"))
}

fn consumer(cloud: &Cloud, resume: Vec<ShardCheckpoint>) -> Consumer {
    let sink = Sink { checker: Arc::new(Checker::new(schema())), writer: Arc::new(writer(cloud, |_| {})) };
    let mut options = ConsumerOptions::new("s");
    (options.job, options.resume) = (Some("r-1".into()), resume);
    Consumer::start(options, stream(cloud), Arc::new(OneTable(sink)), clock())
}

async fn produce(cloud: &Cloud, items: std::ops::Range<u64>) {
    let producer = Producer::start(ProducerOptions::new("s", "r-1"), stream(cloud), clock()).await.unwrap();
    let ledger = Arc::new(Ledger::new(1_000));
    let count = items.end - items.start;
    for n in items {
        producer.put("quotes", &item(n, 1_000), n, ledger.open(Line(n)).await.unwrap()).await.unwrap();
    }
    ledger.drained().await;
    assert_eq!(ledger.mark().0.on_stream, count);
    producer.finish().await.unwrap();
}

#[tokio::test]
async fn through_a_stream_with_faults_on_each_record_counts_once_across_a_crash() {
    let local = local(FAULTS).await;
    let cloud = cloud_in(&local, Mode::Normal).await;
    prepare(&cloud, 4).await;
    produce(&cloud, 0..2_000).await;
    let first = consumer(&cloud, Vec::new());
    while first.live().written < 500 {
        tokio::task::yield_now().await;
    }
    let mut stored: HashMap<String, ShardCheckpoint> =
        first.settled().into_iter().map(|settled| (settled.checkpoint.shard.clone(), settled.checkpoint)).collect();
    drop(first);
    // The producer crashed as well, and sends the last 500 again.
    produce(&cloud, 1_500..3_000).await;
    let second = consumer(&cloud, stored.values().cloned().collect());
    second.caught_up().await;
    for settled in second.settled() {
        stored.insert(settled.checkpoint.shard.clone(), settled.checkpoint);
    }
    let total = stored.values().fold(Counters::default(), |sum, checkpoint| sum + checkpoint.counters);
    assert_eq!((total.read, total.written, total.dead), (3_000, 3_000, 0));
    assert!(stored.len() == 4 && stored.values().all(|checkpoint| checkpoint.counters.read > 500));
    let versions = versions(&cloud).await;
    assert!((0..1_000).all(|k| versions[&format!("k{k}\n")] == 2_000 + k));
}

#[tokio::test]
async fn children_of_a_split_shard_are_read_after_it_and_count_nothing_again() {
    let local = local("").await;
    let cloud = cloud_in(&local, Mode::Normal).await;
    prepare(&cloud, 1).await;
    let consumer = consumer(&cloud, Vec::new());
    produce(&cloud, 0..1_000).await;
    let middle = (u128::MAX / 2).to_string();
    let parent = cloud.kinesis.list_shards().stream_name("s").send().await.unwrap().shards()[0].shard_id().to_owned();
    let split = cloud.kinesis.split_shard().stream_name("s").shard_to_split(&parent).new_starting_hash_key(middle);
    split.send().await.unwrap();
    while cloud.kinesis.list_shards().stream_name("s").send().await.unwrap().shards().len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What a producer that crashed before the split sends again goes to the children.
    produce(&cloud, 500..2_000).await;
    consumer.caught_up().await;
    let live = consumer.live();
    assert_eq!((live.read, live.written), (2_000, 2_000));
    let progress = consumer.progress();
    assert_eq!(
        progress.iter().filter(|shard| shard.done).map(|shard| shard.shard.as_str()).collect::<HashSet<_>>(),
        HashSet::from([parent.as_str()])
    );
    assert_eq!(progress.len(), 3);
    let versions = versions(&cloud).await;
    assert!((0..1_000).all(|k| versions[&format!("k{k}\n")] == 1_000 + k));
}
