//! A Kinesis stream behind the SDK.

use aws_sdk_kinesis::operation::get_records::GetRecordsError;
use aws_sdk_kinesis::operation::get_shard_iterator::builders::GetShardIteratorFluentBuilder;
use aws_sdk_kinesis::types::{HashKeyRange, ShardIteratorType};
use aws_smithy_types::DateTime;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::stream::{
    Failed, Page, PutReply, ReadError, SequenceNumber, Shard, StartAt, StreamPut, StreamRecord, StreamSource,
};
use super::table::splice;
use crate::cloud::error::by_code;
use crate::cloud::{Class, CloudError};

/// Records asked for at once. A shard gives five pages a second, so this is 10,000 records a second, ten times what
/// may come in, while a page of many shards at once stays small in memory.
const PAGE: i32 = 2_000;

/// A Kinesis stream behind the SDK. `bulk` should not retry by itself: the flow has the one backoff.
#[derive(Clone, Debug)]
pub struct AwsStream {
    control: aws_sdk_kinesis::Client,
    bulk: aws_sdk_kinesis::Client,
    stream: String,
}

impl AwsStream {
    /// The stream named `stream`; `control` lists its shards, `bulk` carries records.
    pub fn new(control: aws_sdk_kinesis::Client, bulk: aws_sdk_kinesis::Client, stream: impl Into<String>) -> Self {
        Self { control, bulk, stream: stream.into() }
    }

    async fn list(&self) -> Result<Vec<Shard>, CloudError> {
        let mut shards = Vec::new();
        let mut next: Option<String> = None;
        loop {
            // A page is named by its token alone.
            let named = next.is_none().then(|| self.stream.clone());
            let page = self
                .control
                .list_shards()
                .set_stream_name(named)
                .set_next_token(next)
                .send()
                .await
                .map_err(|e| CloudError::of(&format!("list the shards of stream {}", self.stream), &e))?;
            for shard in page.shards() {
                let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
                let bound = |text: Option<&str>, otherwise| text.and_then(|t| t.parse().ok()).unwrap_or(otherwise);
                let range = shard.hash_key_range();
                shards.push(Shard {
                    id: shard.shard_id().to_owned(),
                    parents: parents.into_iter().flatten().map(str::to_owned).collect(),
                    hash_keys: (
                        bound(range.map(HashKeyRange::starting_hash_key), 0),
                        bound(range.map(HashKeyRange::ending_hash_key), u128::MAX),
                    ),
                    open: shard.sequence_number_range().is_none_or(|r| r.ending_sequence_number().is_none()),
                });
            }
            next = page.next_token().map(str::to_owned);
            if next.is_none() {
                return Ok(shards);
            }
        }
    }
}

impl StreamSource for AwsStream {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        self.list().boxed()
    }

    fn iterator<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>> {
        async move {
            let request = self.control.get_shard_iterator().stream_name(&self.stream).shard_id(shard);
            let request = starting(request, start);
            let action = || format!("read shard {shard} of stream {}", self.stream);
            let reply = request.send().await.map_err(|e| CloudError::of(&action(), &e))?;
            let missing = || CloudError::new(Class::Transient, format!("could not {}: no iterator", action()), "");
            reply.shard_iterator.ok_or_else(missing)
        }
        .boxed()
    }

    fn page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Page, ReadError>> {
        async move {
            let reply = self.bulk.get_records().shard_iterator(iterator).limit(PAGE).send().await.map_err(|e| {
                if e.as_service_error().is_some_and(GetRecordsError::is_expired_iterator_exception) {
                    ReadError::Expired
                } else {
                    CloudError::of(&format!("read stream {}", self.stream), &e).into()
                }
            })?;
            Ok(Page {
                records: reply.records.into_iter().map(record).collect(),
                next: reply.next_shard_iterator,
                behind_ms: reply.millis_behind_latest.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default(),
            })
        }
        .boxed()
    }
}

/// A record as the SDK has it.
pub(super) fn record(record: aws_sdk_kinesis::types::Record) -> StreamRecord {
    StreamRecord {
        sequence: SequenceNumber(record.sequence_number),
        partition_key: record.partition_key.unwrap_or_default(),
        arrived_us: record.approximate_arrival_timestamp.map_or(0, micros),
        data: Bytes::from(record.data.into_inner()),
    }
}

/// `request` for an iterator that begins at `start`.
pub(super) fn starting(request: GetShardIteratorFluentBuilder, start: &StartAt) -> GetShardIteratorFluentBuilder {
    match start {
        StartAt::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
        StartAt::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
        StartAt::Time(ms) => {
            request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*ms))
        }
        StartAt::At(sequence) => {
            request.shard_iterator_type(ShardIteratorType::AtSequenceNumber).starting_sequence_number(&sequence.0)
        }
        StartAt::After(sequence) => {
            request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(&sequence.0)
        }
    }
}

/// Microseconds since the epoch.
fn micros(time: DateTime) -> i64 {
    time.secs() * 1_000_000 + i64::from(time.subsec_nanos()) / 1000
}

impl StreamPut for AwsStream {
    fn put_records(&self, body: Bytes) -> BoxFuture<'_, Result<PutReply, CloudError>> {
        async move {
            let reply = self
                .bulk
                .put_records()
                // The stream's name alone, for the SDK's endpoint rules; the body is replaced.
                .stream_name(&self.stream)
                .set_records(Some(Vec::new()))
                .customize()
                .mutate_request(splice(body))
                .send()
                .await
                .map_err(|e| CloudError::of(&format!("put records on stream {}", self.stream), &e))?;
            if reply.failed_record_count() == Some(0) {
                return Ok(PutReply::default());
            }
            let failed = reply.records().iter().enumerate().filter_map(|(index, record)| {
                let code = record.error_code()?;
                Some(Failed { index, throttled: by_code(code) == Class::Throttled })
            });
            Ok(PutReply { failed: failed.collect() })
        }
        .boxed()
    }

    fn record_bytes(&self) -> BoxFuture<'_, Result<Option<usize>, CloudError>> {
        async move {
            let asked = self.control.describe_stream_summary().stream_name(&self.stream).send().await;
            let reply = asked.map_err(|e| CloudError::of(&format!("describe stream {}", self.stream), &e))?;
            let kib = reply.stream_description_summary.and_then(|summary| summary.max_record_size_in_kib);
            Ok(kib.and_then(|kib| usize::try_from(kib).ok()).filter(|kib| *kib > 0).map(|kib| kib << 10))
        }
        .boxed()
    }

    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        self.list().boxed()
    }
}
