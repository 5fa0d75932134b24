//! Reading a stream by polling and by enhanced fan-out, against the embedded AWS with faults on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ScalingType};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sluicegate::cloud::{Class, Cloud, CloudError};
use sluicegate::flow::{
    AwsStream, AwsTable, Clock, Consumer, ConsumerOptions, Counters, FanOutStream, Pacer, ShardCheckpoint, Sink,
    StreamSource, SystemClock, Tables, Writer, WriterOptions, consumers, deregister,
};
use sluicegate::item::{Checker, KeyAttr, KeyKind, KeySchema, request};

use crate::running::{Server, Sluice, block_on, create_stream, create_table, until};

const KEYS: usize = 200;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// Whatever table the requests name, they go to this one.
struct AllInto(Sink);

impl Tables for AllInto {
    fn sink<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>> {
        async { Ok(self.0.clone()) }.boxed()
    }
}

fn tables(cloud: &Cloud, table: &str) -> Arc<dyn Tables> {
    let schema = KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None };
    let put = Arc::new(AwsTable::new(cloud.bulk.dynamodb.clone(), table, schema.clone()));
    let pacer = Arc::new(Pacer::new(clock()));
    let writer = Arc::new(Writer::start(WriterOptions::new(table, "id"), put, pacer, clock()));
    Arc::new(AllInto(Sink { checker: Arc::new(Checker::new(schema)), writer }))
}

fn polled(cloud: &Cloud) -> Arc<dyn StreamSource> {
    Arc::new(AwsStream::new(cloud.kinesis.clone(), cloud.bulk.kinesis.clone(), "s"))
}

async fn pushed(cloud: &Cloud, name: &str) -> FanOutStream {
    FanOutStream::open(cloud.kinesis.clone(), cloud.bulk.kinesis.clone(), "s", name).await.expect("it opens")
}

fn consumer(cloud: &Cloud, source: Arc<dyn StreamSource>, table: &str, resume: Vec<ShardCheckpoint>) -> Consumer {
    let mut options = ConsumerOptions::new("s");
    options.resume = resume;
    Consumer::start(options, source, tables(cloud, table), clock())
}

/// Puts the requests of `numbers`, of which each key is given its versions in order.
fn put(cloud: &Cloud, numbers: std::ops::Range<usize>) {
    let numbers: Vec<usize> = numbers.collect();
    for chunk in numbers.chunks(400) {
        let mut left: Vec<PutRecordsRequestEntry> = chunk
            .iter()
            .map(|n| {
                let item = format!(r#"{{"id":{{"S":"k{}"}},"v":{{"N":"{n}"}}}}"#, n % KEYS);
                let data = Blob::new(request::encode("puts", &bytes::Bytes::from(item)).to_vec());
                PutRecordsRequestEntry::builder().data(data).partition_key(format!("k{}", n % KEYS)).build().unwrap()
            })
            .collect();
        // A reply that is lost or throttled is sent again: the same versions once more.
        while !left.is_empty() {
            let sent = cloud.kinesis.put_records().stream_name("s").set_records(Some(left.clone())).send();
            let Ok(reply) = block_on(sent) else { continue };
            let failed = reply.records().iter().map(|record| record.error_code.is_some());
            left = left.into_iter().zip(failed).filter_map(|(record, failed)| failed.then_some(record)).collect();
        }
    }
}

fn versions(cloud: &Cloud, table: &str) -> BTreeMap<String, usize> {
    block_on(async {
        let mut pages = cloud.dynamodb.scan().table_name(table).into_paginator().items().send();
        let mut versions = BTreeMap::new();
        while let Some(item) = pages.next().await {
            let item = item.expect("the table can be read");
            let text = |name: &str| match &item[name] {
                aws_sdk_dynamodb::types::AttributeValue::S(text) | aws_sdk_dynamodb::types::AttributeValue::N(text) => {
                    text.clone()
                }
                other => panic!("{other:?}"),
            };
            versions.insert(text("id"), text("v").parse().unwrap());
        }
        versions
    })
}

fn latest(count: usize) -> BTreeMap<String, usize> {
    (count - KEYS..count).map(|n| (format!("k{}", n % KEYS), n)).collect()
}

fn read_counts(consumer: &Consumer) -> Counters {
    consumer.settled().into_iter().fold(Counters::default(), |sum, settled| sum + settled.checkpoint.counters)
}

#[test]
fn by_fan_out_the_same_is_read_as_by_polling_whatever_fails_on_the_way() {
    let faults = "expire-iterators=20%,reset=5%,throttle=10%,error=5%";
    let server = Server::start(&["--limits", "off", "--faults", faults, "--seed", "5"]);
    let cloud = server.cloud();
    create_stream(&cloud, "s", 3);
    create_table(&cloud, "polled", 40_000);
    create_table(&cloud, "pushed", 40_000);
    put(&cloud, 0..1_500);
    let by_fan_out = block_on(pushed(&cloud, "work"));
    assert!(by_fan_out.was_registered());
    let (push, poll) = block_on(async {
        (
            consumer(&cloud, Arc::new(by_fan_out), "pushed", Vec::new()),
            consumer(&cloud, polled(&cloud), "polled", Vec::new()),
        )
    });
    // Half of it while they read.
    put(&cloud, 1_500..3_000);
    for consumer in [&push, &poll] {
        block_on(async {
            tokio::select! {
                () = consumer.caught_up() => {}
                error = consumer.failed() => panic!("{error}"),
            }
        });
    }
    let (by_push, by_poll) = (read_counts(&push), read_counts(&poll));
    assert_eq!((by_push.read, by_push.dead), (by_poll.read, 0));
    assert!(by_push.read >= 3_000);
    assert_eq!(versions(&cloud, "pushed"), latest(3_000));
    assert_eq!(versions(&cloud, "polled"), latest(3_000));
    assert!(push.progress().iter().all(|shard| shard.behind_records == Some(0)), "{:?}", push.progress());
    assert_eq!((push.take_notes(), poll.take_notes()), (vec![], vec![]));
}

#[test]
fn children_are_pushed_after_their_parents_and_a_restart_goes_on_from_its_checkpoints() {
    let server = Server::start(&["--limits", "off", "--faults", "reset=5%", "--seed", "9"]);
    let cloud = server.cloud();
    create_stream(&cloud, "s", 2);
    create_table(&cloud, "puts", 40_000);
    put(&cloud, 0..1_000);
    let first = block_on(async {
        let consumer = consumer(&cloud, Arc::new(pushed(&cloud, "work").await), "puts", Vec::new());
        consumer.caught_up().await;
        consumer
    });
    let update = cloud.kinesis.update_shard_count().stream_name("s").target_shard_count(4);
    block_on(update.scaling_type(ScalingType::UniformScaling).send()).expect("the shards are split");
    put(&cloud, 1_000..2_000);
    block_on(first.caught_up());
    until("the children are read", || (first.progress().len() == 6).then_some(()));
    block_on(first.caught_up());
    let progress = first.progress();
    assert_eq!(progress.iter().filter(|shard| shard.done).count(), 2, "{progress:?}");
    assert_eq!(versions(&cloud, "puts"), latest(2_000));
    let stored: Vec<ShardCheckpoint> = first.settled().into_iter().map(|settled| settled.checkpoint).collect();
    drop(first);

    put(&cloud, 2_000..3_000);
    let again = block_on(async {
        let stream = pushed(&cloud, "work").await;
        assert!(!stream.was_registered());
        let consumer = consumer(&cloud, Arc::new(stream), "puts", stored.clone());
        consumer.caught_up().await;
        consumer
    });
    let mut counts: BTreeMap<String, Counters> = stored.into_iter().map(|c| (c.shard.clone(), c.counters)).collect();
    counts.extend(again.settled().into_iter().map(|s| (s.checkpoint.shard.clone(), s.checkpoint.counters)));
    let read: u64 = counts.values().map(|counters| counters.read).sum();
    assert!(read >= 3_000, "{read}");
    assert_eq!(versions(&cloud, "puts"), latest(3_000));
    assert_eq!(again.take_notes(), Vec::<String>::new());
}

#[test]
fn within_the_limits_a_subscription_that_breaks_waits_for_its_turn_and_loses_nothing() {
    let server = Server::start(&["--faults", "reset=20%", "--seed", "3"]);
    let cloud = server.cloud();
    create_stream(&cloud, "s", 1);
    create_table(&cloud, "puts", 40_000);
    put(&cloud, 0..600);
    let consumer = block_on(async {
        let consumer = consumer(&cloud, Arc::new(pushed(&cloud, "work").await), "puts", Vec::new());
        tokio::select! {
            () = consumer.caught_up() => {}
            error = consumer.failed() => panic!("{error}"),
        }
        consumer
    });
    assert_eq!(read_counts(&consumer).dead, 0);
    assert_eq!(versions(&cloud, "puts"), latest(600));
}

#[test]
fn a_consumer_that_is_deregistered_and_a_stream_that_is_deleted_end_the_reading_with_words() {
    let server = Server::start(&["--limits", "off"]);
    let cloud = server.cloud();
    create_stream(&cloud, "s", 1);
    create_table(&cloud, "puts", 40_000);
    put(&cloud, 0..300);
    let (push, poll) = block_on(async {
        let push = consumer(&cloud, Arc::new(pushed(&cloud, "work").await), "puts", Vec::new());
        let poll = consumer(&cloud, polled(&cloud), "puts", Vec::new());
        tokio::join!(push.caught_up(), poll.caught_up());
        (push, poll)
    });
    let named = block_on(consumers(&cloud.kinesis, "s")).unwrap();
    assert_eq!(named.iter().map(|c| (c.name.as_str(), c.status.as_str())).collect::<Vec<_>>(), [("work", "ACTIVE")]);
    block_on(deregister(&cloud.kinesis, "s", "work")).unwrap();
    let error = block_on(push.failed());
    assert_eq!(error.class, Class::NotFound);
    assert!(error.to_string().contains("stream s can't be read any more"), "{error}");
    assert!(error.to_string().contains("deregistered"), "{error}");
    until("the consumer is gone", || block_on(consumers(&cloud.kinesis, "s")).unwrap().is_empty().then_some(()));

    block_on(cloud.kinesis.delete_stream().stream_name("s").send()).unwrap();
    let error = block_on(poll.failed());
    assert_eq!(error.class, Class::NotFound);
    assert!(error.to_string().contains("stream s can't be read any more"), "{error}");
}

#[test]
fn a_checkpoint_of_an_earlier_stream_of_the_same_name_is_told_and_all_there_is_gets_read() {
    let server = Server::start(&["--limits", "off"]);
    let cloud = server.cloud();
    create_stream(&cloud, "s", 1);
    create_table(&cloud, "puts", 40_000);
    put(&cloud, 0..400);
    let first = block_on(async {
        let consumer = consumer(&cloud, polled(&cloud), "puts", Vec::new());
        consumer.caught_up().await;
        consumer
    });
    let stored: Vec<ShardCheckpoint> = first.settled().into_iter().map(|settled| settled.checkpoint).collect();
    drop(first);
    let second = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let made = second();
    block_on(cloud.kinesis.delete_stream().stream_name("s").send()).unwrap();
    until("the stream is gone", || {
        block_on(cloud.kinesis.describe_stream_summary().stream_name("s").send()).is_err().then_some(())
    });
    // The embedded Kinesis tells streams of one name apart by the second in which they were made.
    until("it is another second", || (second() > made).then_some(()));
    create_stream(&cloud, "s", 1);
    put(&cloud, 400..800);
    let sources: [Arc<dyn StreamSource>; 2] = [polled(&cloud), Arc::new(block_on(pushed(&cloud, "work")))];
    for source in sources {
        let again = block_on(async {
            let consumer = consumer(&cloud, source, "puts", stored.clone());
            consumer.caught_up().await;
            consumer
        });
        let notes = again.take_notes();
        assert!(notes.len() == 1 && notes[0].contains("does not know the record"), "{notes:?}");
        assert_eq!(read_counts(&again).read, 800);
    }
    assert_eq!(versions(&cloud, "puts"), latest(800));
}

#[test]
fn a_put_worker_reads_by_fan_out_and_its_consumer_stays_for_the_next_one() {
    let server = Server::start(&["--limits", "off", "--faults", "reset=5%,expire-iterators=10%", "--seed", "2"]);
    let cloud = server.cloud();
    create_stream(&cloud, "s", 2);
    create_table(&cloud, "puts", 40_000);
    let sluice = Sluice::at(&server.endpoint);
    let work = ["work", "-k", "s", "--fan-out", "night", "--drain", "--json"];
    put(&cloud, 0..900);
    let first = sluice.run(&work).expect(0).last_json();
    put(&cloud, 900..1_200);
    let second = sluice.run(&work).expect(0).last_json();
    let written = |report: &serde_json::Value| report["written"].as_u64().unwrap_or_default();
    assert!(written(&first) >= 900 && written(&first) + written(&second) >= 1_200, "{first} {second}");
    assert_eq!(versions(&cloud, "puts"), latest(1_200));
    assert_eq!(block_on(consumers(&cloud.kinesis, "s")).unwrap().len(), 1);
    let refused = sluice.run(&["--read-only", "work", "-k", "s", "--fan-out", "other", "--drain"]);
    assert_ne!(refused.code, 0);
    assert_eq!(block_on(consumers(&cloud.kinesis, "s")).unwrap().len(), 1, "read-only mode registers nothing");
}
