//! Measures how a stream is read, by polling and by enhanced fan-out: `cargo run --release --example reading -- ENDPOINT
//! RECORDS SHARDS`, beside `sluice local --limits off`. Records are read, counted and passed by, not written, so that
//! the reading alone is measured.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};
use futures::future::BoxFuture;
use sluicegate::cloud::{Class, Cloud, CloudError, Context, Guard};
use sluicegate::flow::{
    AwsStream, Consumer, ConsumerOptions, FanOutStream, Sink, StartAt, StreamSource, SystemClock, Tables,
};

/// Bytes of a record, as an item of the historical data has with its put request.
const BYTES: usize = 300;
/// How many records are put one by one to measure the time that each takes.
const SINGLE: usize = 200;

/// Nothing is written.
struct Nowhere;

impl Tables for Nowhere {
    fn sink<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>> {
        Box::pin(std::future::ready(Err(CloudError::new(Class::NotFound, format!("no table {table}"), ""))))
    }
}

fn consumer(source: Arc<dyn StreamSource>, from: StartAt) -> Consumer {
    let mut options = ConsumerOptions::new("reading");
    // All records are another job's.
    (options.job, options.from) = (Some("none".into()), from);
    Consumer::start(options, source, Arc::new(Nowhere), Arc::new(SystemClock::new()))
}

fn seen(consumer: &Consumer) -> usize {
    consumer.progress().iter().map(|shard| usize::try_from(shard.foreign).unwrap_or(usize::MAX)).sum()
}

/// Processor time of this process, µs: user and system, in ticks of 10 ms as Linux counts them.
fn processor_us() -> Result<u64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<u64> = after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() * 10_000)
}

fn record(n: usize) -> Result<PutRecordsRequestEntry, Box<dyn Error>> {
    let data = Blob::new(vec![b'x'; BYTES]);
    Ok(PutRecordsRequestEntry::builder().data(data).partition_key(format!("key-{n}")).build()?)
}

async fn source(cloud: &Cloud, how: &str) -> Result<Arc<dyn StreamSource>, CloudError> {
    let (control, bulk) = (cloud.kinesis.clone(), cloud.bulk.kinesis.clone());
    if how == "polling" {
        return Ok(Arc::new(AwsStream::new(control, bulk, "reading")));
    }
    Ok(Arc::new(FanOutStream::open(control, bulk, "reading", "reading").await?))
}

async fn wait_until(consumer: &Consumer, count: usize) {
    while seen(consumer) < count {
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, records, shards] = arguments.as_slice() else {
        return Err("usage: reading ENDPOINT RECORDS SHARDS".into());
    };
    let (records, shards): (usize, i32) = (records.parse()?, shards.parse()?);
    let context = Context { endpoint_url: Some(endpoint.clone()), ..Context::default() };
    let cloud = Cloud::connect(&context, Guard::open()).await?;
    cloud.kinesis.create_stream().stream_name("reading").shard_count(shards).send().await?;
    loop {
        let summary = cloud.kinesis.describe_stream_summary().stream_name("reading").send().await?;
        if summary.stream_description_summary.is_some_and(|summary| summary.stream_status == StreamStatus::Active) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for chunk in (0..records).collect::<Vec<_>>().chunks(500) {
        let entries = chunk.iter().map(|n| record(*n)).collect::<Result<Vec<_>, _>>()?;
        let reply = cloud.bulk.kinesis.put_records().stream_name("reading").set_records(Some(entries)).send().await?;
        assert_eq!(reply.failed_record_count, Some(0), "the server has limits: start it with --limits off");
    }

    for how in ["polling", "fan-out"] {
        let from = source(&cloud, how).await?;
        let (began, processor) = (Instant::now(), processor_us()?);
        let reading = consumer(from, StartAt::TrimHorizon);
        wait_until(&reading, records).await;
        let (seconds, processor) = (began.elapsed().as_secs_f64(), processor_us()? - processor);
        println!(
            "{how}: {records} records from {shards} shards in {seconds:.2} s: {:.0} records/s, {:.2} µs of processor each",
            records as f64 / seconds,
            processor as f64 / records as f64
        );
        drop(reading);
    }
    for how in ["polling", "fan-out"] {
        let reading = consumer(source(&cloud, how).await?, StartAt::Latest);
        // Until every shard is read at its tip.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut took = Vec::with_capacity(SINGLE);
        for n in 0..SINGLE {
            // Not in step with the reads.
            tokio::time::sleep(Duration::from_millis(40 + (n as u64 * 37) % 120)).await;
            let began = Instant::now();
            let entries = vec![record(n)?];
            cloud.bulk.kinesis.put_records().stream_name("reading").set_records(Some(entries)).send().await?;
            wait_until(&reading, n + 1).await;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        println!(
            "{how}: from put to page, median {:.1} ms, 99th percentile {:.1} ms of {SINGLE}",
            took[SINGLE / 2].as_secs_f64() * 1e3,
            took[SINGLE * 99 / 100].as_secs_f64() * 1e3
        );
    }
    Ok(())
}
