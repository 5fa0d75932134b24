//! Kinesis as the SDK sees it, over the port.

mod fan_out;

use std::collections::BTreeSet;
use std::time::SystemTime;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::operation::put_records::{PutRecordsError, PutRecordsOutput};
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, ScalingType, Shard, ShardFilter, ShardFilterType, ShardIteratorType, StreamMode,
    StreamModeDetails, StreamStatus,
};

use crate::cloud::{Class, Cloud, Context, Guard};
use crate::local::metrics::{Metrics, SeriesId};
use crate::local::{Local, Options};

/// A running AWS and clients of it.
async fn aws(limits: bool, faults: &str) -> (Local, Cloud) {
    let options = Options { limits, faults: faults.parse().unwrap(), ..Options::default() };
    let local = Local::start(options).await.unwrap();
    let context = Context {
        region: Some("us-east-1".into()),
        endpoint_url: Some(local.endpoint().to_owned()),
        ..Context::default()
    };
    (local, Cloud::connect(&context, Guard::open()).await.unwrap())
}

async fn active(cloud: &Cloud, stream: &str) {
    loop {
        let summary = cloud.kinesis.describe_stream_summary().stream_name(stream).send().await.unwrap();
        if summary.stream_description_summary.unwrap().stream_status == StreamStatus::Active {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn stream(cloud: &Cloud, stream: &str, shards: i32) {
    cloud.kinesis.create_stream().stream_name(stream).shard_count(shards).send().await.unwrap();
    active(cloud, stream).await;
}

fn entry(n: usize) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .data(Blob::new(n.to_string()))
        .partition_key(format!("key-{}", n % 50))
        .build()
        .unwrap()
}

async fn put(cloud: &Cloud, stream: &str, numbers: &[usize]) -> PutRecordsOutput {
    let entries = numbers.iter().map(|n| entry(*n)).collect();
    cloud.bulk.kinesis.put_records().stream_name(stream).set_records(Some(entries)).send().await.unwrap()
}

/// The numbers whose records failed, in their order.
fn failed(numbers: &[usize], reply: &PutRecordsOutput) -> Vec<usize> {
    let failed: Vec<usize> =
        numbers.iter().zip(&reply.records).filter(|(_, r)| r.error_code.is_some()).map(|(n, _)| *n).collect();
    assert_eq!(reply.failed_record_count, Some(i32::try_from(failed.len()).unwrap()));
    failed
}

fn code(refused: Result<PutRecordsOutput, SdkError<PutRecordsError>>) -> Option<String> {
    refused.unwrap_err().into_service_error().code().map(str::to_owned)
}

async fn iterator(cloud: &Cloud, stream: &str, shard: &str, kind: ShardIteratorType) -> String {
    let ask = cloud.kinesis.get_shard_iterator().stream_name(stream).shard_id(shard).shard_iterator_type(kind);
    ask.send().await.unwrap().shard_iterator.unwrap()
}

async fn read(cloud: &Cloud, iterator: &str) -> GetRecordsOutput {
    cloud.bulk.kinesis.get_records().shard_iterator(iterator).send().await.unwrap()
}

async fn shards(cloud: &Cloud, stream: &str) -> Vec<Shard> {
    cloud.kinesis.list_shards().stream_name(stream).send().await.unwrap().shards.unwrap()
}

fn numbers(reply: &GetRecordsOutput) -> Vec<usize> {
    reply.records.iter().map(|r| std::str::from_utf8(r.data.as_ref()).unwrap().parse().unwrap()).collect()
}

/// Everything in a stream: each shard from its horizon to its tip or end.
async fn everything(cloud: &Cloud, stream: &str) -> Vec<usize> {
    let mut all = Vec::new();
    for shard in shards(cloud, stream).await {
        let mut next = Some(iterator(cloud, stream, &shard.shard_id, ShardIteratorType::TrimHorizon).await);
        while let Some(iterator) = next {
            let reply = read(cloud, &iterator).await;
            all.extend(numbers(&reply));
            next = reply.next_shard_iterator.filter(|_| reply.millis_behind_latest != Some(0));
        }
    }
    all.sort_unstable();
    all
}

#[tokio::test]
async fn a_full_shard_fails_single_records_and_resending_those_loses_and_doubles_nothing() {
    let (_local, cloud) = aws(true, "").await;
    stream(&cloud, "s", 1).await;
    let mut left = Vec::new();
    let mut count = 0;
    while left.is_empty() {
        let batch: Vec<usize> = (count..count + 500).collect();
        left = failed(&batch, &put(&cloud, "s", &batch).await);
        count += 500;
    }
    while !left.is_empty() {
        let batch: Vec<usize> = left.drain(..left.len().min(500)).collect();
        let reply = put(&cloud, "s", &batch).await;
        for result in reply.records.iter().filter(|result| result.error_code.is_some()) {
            assert_eq!(result.error_code.as_deref(), Some("ProvisionedThroughputExceededException"));
            assert!(result.error_message.as_ref().unwrap().contains("shardId-000000000000 in stream s"));
        }
        left.splice(..0, failed(&batch, &reply));
    }
    assert_eq!(everything(&cloud, "s").await, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn without_limits_a_shard_takes_all_but_sizes_still_hold() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    for batch in (0..3000).collect::<Vec<_>>().chunks(500) {
        assert_eq!(failed(batch, &put(&cloud, "s", batch).await), Vec::<usize>::new());
    }
    let put = |bytes: usize, count: usize| {
        let record =
            PutRecordsRequestEntry::builder().data(Blob::new(vec![0; bytes])).partition_key("k").build().unwrap();
        cloud.bulk.kinesis.put_records().stream_name("s").set_records(Some(vec![record; count])).send()
    };
    assert_eq!(code(put(1 << 20, 1).await).as_deref(), Some("ValidationException"), "the key counts");
    assert!(put((1 << 20) - 1, 1).await.is_ok());
    assert_eq!(code(put(1, 501).await).as_deref(), Some("ValidationException"));
    assert_eq!(code(put(600_000, 9).await).as_deref(), Some("InvalidArgumentException"));
}

#[tokio::test]
async fn a_backlog_is_behind_and_the_tip_is_not_and_arrivals_have_milliseconds() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let before = SystemTime::now();
    for n in 0..20 {
        put(&cloud, "s", &[n]).await;
    }
    let horizon = iterator(&cloud, "s", "0", ShardIteratorType::TrimHorizon).await;
    let part = cloud.kinesis.get_records().shard_iterator(&horizon).limit(5).send().await.unwrap();
    assert_eq!(numbers(&part), [0, 1, 2, 3, 4]);
    assert!(part.millis_behind_latest.unwrap() > 0);
    let rest = read(&cloud, &part.next_shard_iterator.unwrap()).await;
    assert_eq!((numbers(&rest).len(), rest.millis_behind_latest), (15, Some(0)));

    let arrivals: Vec<i64> = part
        .records
        .iter()
        .chain(&rest.records)
        .map(|record| record.approximate_arrival_timestamp.unwrap().to_millis().unwrap())
        .collect();
    assert!(arrivals.is_sorted());
    assert!(arrivals.iter().any(|ms| ms % 1000 != 0), "20 requests do not all arrive on whole seconds");
    assert!(arrivals[0] >= DateTime::from(before).to_millis().unwrap());
}

#[tokio::test]
async fn iterators_start_where_they_are_asked_to() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let sequence = put(&cloud, "s", &[0, 1, 2]).await.records[1].sequence_number.clone().unwrap();
    let latest = iterator(&cloud, "s", "0", ShardIteratorType::Latest).await;
    let at_number = async |kind: ShardIteratorType| {
        let ask = cloud.kinesis.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
        let ask = ask.shard_iterator_type(kind).starting_sequence_number(&sequence);
        numbers(&read(&cloud, &ask.send().await.unwrap().shard_iterator.unwrap()).await)
    };
    assert_eq!(at_number(ShardIteratorType::AtSequenceNumber).await, [1, 2]);
    assert_eq!(at_number(ShardIteratorType::AfterSequenceNumber).await, [2]);

    let last = put(&cloud, "s", &[3]).await;
    assert_eq!(failed(&[3], &last), Vec::<usize>::new());
    assert_eq!(numbers(&read(&cloud, &latest).await), [3]);
    let horizon = iterator(&cloud, "s", "0", ShardIteratorType::TrimHorizon).await;
    let arrival = read(&cloud, &horizon).await.records[3].approximate_arrival_timestamp.unwrap();
    let at_time = cloud.kinesis.get_shard_iterator().stream_name("s").shard_id("0");
    let at_time = at_time.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(arrival);
    let found = numbers(&read(&cloud, &at_time.send().await.unwrap().shard_iterator.unwrap()).await);
    assert_eq!(found.last(), Some(&3));
    assert!(found.len() == 1 || found == [0, 1, 2, 3], "only records of the same ms may come before: {found:?}");
}

#[tokio::test]
async fn a_split_and_a_merge_are_followed_from_parent_to_child() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let all: Vec<usize> = (0..300).collect();
    put(&cloud, "s", &all[..100]).await;
    let middle = (u128::MAX / 2 + 1).to_string();
    let split = cloud.kinesis.split_shard().stream_name("s").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key(middle).send().await.unwrap();
    active(&cloud, "s").await;
    put(&cloud, "s", &all[100..200]).await;

    let parent = read(&cloud, &iterator(&cloud, "s", "0", ShardIteratorType::TrimHorizon).await).await;
    assert_eq!(numbers(&parent), all[..100]);
    assert_eq!(parent.next_shard_iterator, None);
    assert_eq!(parent.millis_behind_latest, Some(0));
    let children = parent.child_shards.unwrap();
    assert_eq!(children.len(), 2);
    assert_eq!(children[0].parent_shards, ["shardId-000000000000"]);

    let merge = cloud.kinesis.merge_shards().stream_name("s");
    merge.shard_to_merge(&children[0].shard_id).adjacent_shard_to_merge(&children[1].shard_id).send().await.unwrap();
    active(&cloud, "s").await;
    put(&cloud, "s", &all[200..]).await;
    let child = read(&cloud, &iterator(&cloud, "s", &children[0].shard_id, ShardIteratorType::TrimHorizon).await).await;
    let grandchildren = child.child_shards.unwrap();
    assert_eq!(grandchildren.len(), 1);
    assert_eq!(grandchildren[0].parent_shards.len(), 2);
    assert_eq!(everything(&cloud, "s").await, all);
}

#[tokio::test]
async fn the_shard_count_doubles_with_lineage_and_no_further() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 3).await;
    let update = |target| {
        let update = cloud.kinesis.update_shard_count().stream_name("s").target_shard_count(target);
        update.scaling_type(ScalingType::UniformScaling).send()
    };
    assert!(update(7).await.is_err());
    assert!(update(1).await.is_err());
    update(6).await.unwrap();
    active(&cloud, "s").await;
    let all = shards(&cloud, "s").await;
    assert_eq!(all.len(), 9);
    assert!(all[3..].iter().all(|shard| shard.parent_shard_id.is_some()));

    let filter = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build().unwrap();
    let open = cloud.kinesis.list_shards().stream_name("s").shard_filter(filter).send().await.unwrap();
    assert_eq!(open.shards().len(), 6);

    let mut seen = BTreeSet::new();
    let mut page = cloud.kinesis.list_shards().stream_name("s").max_results(4).send().await.unwrap();
    seen.extend(page.shards().iter().map(|shard| shard.shard_id.clone()));
    while let Some(token) = page.next_token {
        page = cloud.kinesis.list_shards().next_token(token).send().await.unwrap();
        seen.extend(page.shards().iter().map(|shard| shard.shard_id.clone()));
    }
    assert_eq!(seen.len(), 9);
}

#[tokio::test]
async fn streams_are_found_by_arn_and_made_on_demand() {
    let (_local, cloud) = aws(true, "").await;
    let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().unwrap();
    cloud.kinesis.create_stream().stream_name("s").stream_mode_details(mode).send().await.unwrap();
    active(&cloud, "s").await;
    let summary = cloud.kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(summary.open_shard_count, 4);
    assert_eq!(summary.stream_mode_details.unwrap().stream_mode, StreamMode::OnDemand);
    let arn = summary.stream_arn;
    let listed = cloud.kinesis.list_shards().stream_arn(&arn).send().await.unwrap();
    assert_eq!(listed.shards().len(), 4);
    let put = cloud.kinesis.put_record().stream_arn(&arn).partition_key("k").data(Blob::new("7"));
    put.send().await.unwrap();
    assert_eq!(everything(&cloud, "s").await, [7]);
    cloud.kinesis.delete_stream().stream_arn(&arn).send().await.unwrap();
    let gone = async || cloud.kinesis.describe_stream_summary().stream_arn(&arn).send().await.is_err();
    while !gone().await {
        tokio::task::yield_now().await;
    }
    stream(&cloud, "s", 1).await;
    assert_eq!(everything(&cloud, "s").await, Vec::<usize>::new(), "another stream of the same name is empty");
}

#[tokio::test]
async fn an_unknown_stream_is_named_and_classed() {
    let (_local, cloud) = aws(true, "").await;
    let put = cloud.kinesis.put_record().stream_name("none").partition_key("k").data(Blob::new("7"));
    let error = put.send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_not_found_exception());
    let error = crate::cloud::CloudError::of("stream none", &error);
    assert_eq!(error.class, Class::NotFound);
}

#[tokio::test]
async fn five_reads_a_second_are_answered() {
    let (_local, cloud) = aws(true, "").await;
    stream(&cloud, "s", 1).await;
    let horizon = iterator(&cloud, "s", "0", ShardIteratorType::TrimHorizon).await;
    let mut refused = Vec::new();
    while refused.is_empty() {
        let reads = (0..30).map(|_| cloud.bulk.kinesis.get_records().shard_iterator(&horizon).send());
        refused.extend(futures::future::join_all(reads).await.into_iter().filter_map(Result::err));
    }
    for error in refused {
        assert!(error.into_service_error().is_provisioned_throughput_exceeded_exception());
    }
}

#[tokio::test]
async fn faults_fail_single_records_and_expire_iterators() {
    let (_local, cloud) = aws(true, "partial=100%,expire-iterators=100%").await;
    stream(&cloud, "s", 1).await;
    let batch: Vec<usize> = (0..9).collect();
    assert_eq!(failed(&batch, &put(&cloud, "s", &batch).await), [0, 3, 6]);
    let horizon = iterator(&cloud, "s", "0", ShardIteratorType::TrimHorizon).await;
    let error = cloud.bulk.kinesis.get_records().shard_iterator(&horizon).send().await.unwrap_err();
    assert!(error.into_service_error().is_expired_iterator_exception());
}

#[tokio::test]
async fn a_reader_beside_many_producers_misses_nothing() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let producers = (0..8).map(|producer| {
        let cloud = cloud.clone();
        tokio::spawn(async move {
            for batch in 0..10 {
                let numbers: Vec<usize> = (0..20).map(|n| producer * 1000 + batch * 20 + n).collect();
                put(&cloud, "s", &numbers).await;
            }
        })
    });
    let producers: Vec<_> = producers.collect();
    let mut seen = Vec::new();
    let mut next = iterator(&cloud, "s", "0", ShardIteratorType::TrimHorizon).await;
    while seen.len() < 1600 {
        let finished = producers.iter().all(tokio::task::JoinHandle::is_finished);
        let reply = read(&cloud, &next).await;
        seen.extend(numbers(&reply));
        assert!(!finished || !reply.records.is_empty() || seen.len() == 1600, "{} of 1,600 were seen", seen.len());
        next = reply.next_shard_iterator.unwrap();
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 1600);
}

#[tokio::test]
async fn records_put_while_shards_split_are_all_found_by_following_the_children() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 2).await;
    let update = cloud.kinesis.update_shard_count().stream_name("s").target_shard_count(4);
    update.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
    let (mut put_so_far, mut after) = (0, 0);
    let mut next = Vec::new();
    for shard in shards(&cloud, "s").await {
        next.push(iterator(&cloud, "s", &shard.shard_id, ShardIteratorType::TrimHorizon).await);
    }
    let mut seen = Vec::new();
    // Readers go to the end of the parents while records keep coming, then on in the children.
    while after < 10 || seen.len() < put_so_far {
        if after < 10 {
            put(&cloud, "s", &(put_so_far..put_so_far + 50).collect::<Vec<_>>()).await;
            put_so_far += 50;
        }
        let mut following = Vec::new();
        for iterator_now in next.drain(..) {
            let reply = read(&cloud, &iterator_now).await;
            seen.extend(numbers(&reply));
            following.extend(reply.next_shard_iterator);
            for child in reply.child_shards.unwrap_or_default() {
                let start = iterator(&cloud, "s", &child.shard_id, ShardIteratorType::TrimHorizon).await;
                following.push(start);
            }
        }
        next = following;
        after += usize::from(next.len() == 4);
        assert!(after < 20, "{} of {put_so_far} records were found", seen.len());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..put_so_far).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_passes_is_measured() {
    let metrics = Metrics::new();
    let kinesis = super::Kinesis::new(true, std::sync::Arc::clone(&metrics), std::sync::Arc::default());
    let call = async |operation: &str, body: serde_json::Value| {
        let reply = kinesis.handle(operation, &http::HeaderMap::new(), body.to_string().into()).await;
        let body = http_body_util::BodyExt::collect(reply.into_body()).await.unwrap().to_bytes();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default()
    };
    call("CreateStream", serde_json::json!({"StreamName": "s", "ShardCount": 1})).await;
    let status = async || {
        let summary = call("DescribeStreamSummary", serde_json::json!({"StreamName": "s"})).await;
        summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
    };
    while !status().await {
        tokio::task::yield_now().await;
    }
    let record = serde_json::json!({"Data": "aGVsbG8=", "PartitionKey": "key"});
    let mut count = 0.0;
    let mut failed = 0.0;
    while failed == 0.0 {
        let reply = call("PutRecords", serde_json::json!({"StreamName": "s", "Records": vec![&record; 500]})).await;
        failed = reply["FailedRecordCount"].as_f64().unwrap();
        count += 500.0;
    }
    let sum = |metric: &str| {
        let id = SeriesId::new("AWS/Kinesis", metric, &[("StreamName", "s")]);
        let now_ms = i64::try_from(super::now_ms()).unwrap() + 60_000;
        metrics.query(&id, now_ms - 600_000, now_ms, 60_000).iter().map(|(_, s)| s.sum).sum::<f64>()
    };
    let stored = sum("IncomingRecords");
    let throttled = sum("WriteProvisionedThroughputExceeded");
    assert!((throttled - failed).abs() < 0.5 && (stored + throttled - count).abs() < 0.5);
    assert!((sum("IncomingBytes") - stored * 8.0).abs() < 0.5);
    assert!((sum("PutRecords.ThrottledRecords") - throttled).abs() < 0.5);

    let ask =
        serde_json::json!({"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = call("GetShardIterator", ask).await["ShardIterator"].clone();
    let reply = call("GetRecords", serde_json::json!({"ShardIterator": iterator, "Limit": 10})).await;
    assert!((sum("GetRecords.Records") - 10.0).abs() < 0.5);
    let behind = reply["MillisBehindLatest"].as_f64().unwrap();
    assert!((sum("GetRecords.IteratorAgeMilliseconds") - behind).abs() < 0.5 && behind > 0.0);
}

#[tokio::test]
async fn shards_are_changed_ten_times_in_24_hours_and_no_more() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 4).await;
    for n in 0..10 {
        let update =
            cloud.kinesis.update_shard_count().stream_name("s").target_shard_count(if n % 2 == 0 { 5 } else { 4 });
        update.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
        active(&cloud, "s").await;
    }
    let update = cloud.kinesis.update_shard_count().stream_name("s").target_shard_count(6);
    let refused = update.scaling_type(ScalingType::UniformScaling).send().await.unwrap_err();
    assert_eq!(refused.into_service_error().code(), Some("LimitExceededException"));
}
