//! The stream of a table's changes (DynamoDB Streams) behind the SDK: shards with their lineage, and pages of records whose
//! images stay the bytes that the service wrote.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsError;
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::scan::TakeBody;
use super::stream::{Allowance, Page, ReadError, SequenceNumber, Shard, StartAt, StreamRecord, StreamSource};
use crate::cloud::{Budget, Class, Cloud, CloudError};

/// Records asked for at once: as many as a page may have (FORMATS.md 4).
const PAGE: i32 = 1_000;

/// Shards that one `DescribeStream` lists (API reference of `DynamoDB` Streams).
const SHARDS: i32 = 100;

/// Reads a second of one shard, as of a Kinesis one: AWS names no limit but that of two readers at the same time. A shard takes
/// at most 1,000 writes a second, so that this reads five times as fast as changes come.
const READS: f64 = 5.0;

/// A page may be empty although more is to come, and nothing says so ("it might take multiple calls to get to a portion of
/// the shard that contains stream records", `GetRecords`): so many empty pages in a row are the shard's tip.
const EMPTY_AT_TIP: u32 = 10;

/// How often all shards are listed. Between, only those are asked for that come after the last one known: a table with a
/// thousand partitions has six thousand shards, and `DescribeStream` may be called ten times a second in an account.
const LIST_ALL: Duration = Duration::from_mins(1);

/// The stream of a table's changes behind the SDK.
#[derive(Debug)]
pub struct TableStream {
    control: aws_sdk_dynamodbstreams::Client,
    bulk: aws_sdk_dynamodbstreams::Client,
    budget: Arc<Budget>,
    arn: String,
    table: String,
    listed: tokio::sync::Mutex<Listed>,
    /// Shards whose place is no longer kept: the next iterator of theirs says so.
    trimmed: Mutex<HashSet<String>>,
}

#[derive(Debug, Default)]
struct Listed {
    shards: BTreeMap<String, Shard>,
    all_at: Option<Instant>,
}

/// An iterator with what is known of its place, in one string: how many pages in a row were empty before it, the shard, and
/// the service's own iterator.
struct Cursor<'a> {
    empty: u32,
    shard: &'a str,
    iterator: &'a str,
}

impl<'a> Cursor<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = text.splitn(3, ' ');
        let (empty, shard, iterator) = (parts.next(), parts.next(), parts.next());
        Self {
            empty: empty.and_then(|empty| empty.parse().ok()).unwrap_or_default(),
            shard: shard.unwrap_or_default(),
            iterator: iterator.unwrap_or_default(),
        }
    }

    fn write(empty: u32, shard: &str, iterator: &str) -> String {
        format!("{empty} {shard} {iterator}")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply<'a> {
    #[serde(borrow, default)]
    records: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    next_shard_iterator: Option<Cow<'a, str>>,
}

/// What a reader needs of a record before anything is made of it.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    dynamodb: HeadBody<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HeadBody<'a> {
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    #[serde(default)]
    approximate_creation_date_time: f64,
}

impl TableStream {
    /// The stream `arn` of `table`, read through the clients of `cloud`.
    pub fn new(cloud: &Cloud, table: impl Into<String>, arn: impl Into<String>) -> Self {
        Self {
            control: cloud.table_streams.clone(),
            bulk: cloud.bulk.table_streams.clone(),
            budget: Arc::clone(cloud.budget()),
            arn: arn.into(),
            table: table.into(),
            listed: tokio::sync::Mutex::default(),
            trimmed: Mutex::default(),
        }
    }

    /// Its ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// One page of shards after `after`, and whether there are more.
    async fn shards_after(&self, after: Option<String>) -> Result<(Vec<Shard>, Option<String>), CloudError> {
        self.budget.turn().await;
        let asked = self.control.describe_stream().stream_arn(&self.arn).limit(SHARDS);
        let reply = asked.set_exclusive_start_shard_id(after).send().await;
        let reply = reply.map_err(|e| CloudError::of(&format!("list the shards of {}'s changes", self.table), &e))?;
        let description = reply.stream_description;
        let last = description.as_ref().and_then(|it| it.last_evaluated_shard_id.clone());
        let shards = description.and_then(|it| it.shards).unwrap_or_default().into_iter().filter_map(|shard| {
            Some(Shard {
                id: shard.shard_id?,
                parents: shard.parent_shard_id.into_iter().collect(),
                hash_keys: (0, u128::MAX),
                open: shard.sequence_number_range.is_none_or(|range| range.ending_sequence_number.is_none()),
            })
        });
        Ok((shards.collect(), last))
    }

    async fn list(&self) -> Result<Vec<Shard>, CloudError> {
        let mut listed = self.listed.lock().await;
        let all = listed.all_at.is_none_or(|at| at.elapsed() >= LIST_ALL);
        let mut found = BTreeMap::new();
        let mut after = if all { None } else { listed.shards.keys().next_back().cloned() };
        loop {
            let (shards, last) = self.shards_after(after).await?;
            found.extend(shards.into_iter().map(|shard| (shard.id.clone(), shard)));
            after = last;
            if after.is_none() {
                break;
            }
        }
        if all {
            *listed = Listed { shards: found, all_at: Some(Instant::now()) };
        } else {
            listed.shards.extend(found);
        }
        Ok(listed.shards.values().cloned().collect())
    }

    /// All shards, from the service and not from what is remembered.
    ///
    /// # Errors
    /// The stream can't be described.
    pub async fn all_shards(&self) -> Result<Vec<Shard>, CloudError> {
        self.listed.lock().await.all_at = None;
        self.list().await
    }

    async fn begin(&self, shard: &str, start: &StartAt) -> Result<String, CloudError> {
        let action = || format!("read shard {shard} of {}'s changes", self.table);
        let is_place = matches!(start, StartAt::At(_) | StartAt::After(_));
        if self.trimmed.lock().unwrap_or_else(PoisonError::into_inner).remove(shard) && is_place {
            return Err(trimmed(&action()));
        }
        let request = self.control.get_shard_iterator().stream_arn(&self.arn).shard_id(shard);
        let request = match start {
            // There is no beginning at a time: who wants one leaves out what is older.
            StartAt::TrimHorizon | StartAt::Time(_) => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            StartAt::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            StartAt::At(sequence) => {
                request.shard_iterator_type(ShardIteratorType::AtSequenceNumber).sequence_number(&sequence.0)
            }
            StartAt::After(sequence) => {
                request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(&sequence.0)
            }
        };
        let reply = match request.send().await {
            Ok(reply) => reply,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_trimmed_data_access_exception()) => {
                return Err(trimmed(&action()));
            }
            Err(error) => return Err(CloudError::of(&action(), &error)),
        };
        let missing = || CloudError::new(Class::Transient, format!("could not {}: no iterator", action()), "");
        let iterator = reply.shard_iterator.ok_or_else(missing)?;
        Ok(Cursor::write(0, shard, &iterator))
    }

    async fn read(&self, cursor: Cursor<'_>) -> Result<Page, ReadError> {
        let action = || format!("read shard {} of {}'s changes", cursor.shard, self.table);
        let taken = TakeBody::default();
        let sent = self
            .bulk
            .get_records()
            .shard_iterator(cursor.iterator)
            .limit(PAGE)
            .customize()
            .interceptor(taken.clone())
            .send()
            .await;
        if let Err(error) = sent {
            return Err(match error.as_service_error() {
                Some(GetRecordsError::ExpiredIteratorException(_)) => ReadError::Expired,
                Some(GetRecordsError::TrimmedDataAccessException(_)) => {
                    // Whoever reads asks for another iterator of the same place, and is told then.
                    self.trimmed.lock().unwrap_or_else(PoisonError::into_inner).insert(cursor.shard.to_owned());
                    ReadError::Expired
                }
                _ => CloudError::of(&action(), &error).into(),
            });
        }
        let body = taken.bytes(&action).await?;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        page(&body, &cursor, now_ms).map_err(|why| {
            CloudError::new(Class::Transient, format!("could not {}: {why}", action()), "try again in a moment").into()
        })
    }
}

fn trimmed(action: &str) -> CloudError {
    CloudError::new(
        Class::Invalid,
        format!("could not {action}: the place where reading stopped is older than 24 hours, and no longer kept"),
        "TrimmedDataAccessException",
    )
}

/// A page from a reply's body.
fn page(body: &Bytes, cursor: &Cursor<'_>, now_ms: i64) -> Result<Page, String> {
    let reply: Reply = serde_json::from_slice(body).map_err(|error| format!("the reply can't be read ({error})"))?;
    let mut heads: Vec<Option<Head>> = reply.records.iter().map(|raw| serde_json::from_str(raw.get()).ok()).collect();
    // A record whose place can't be read stands with its neighbour, so that it becomes a dead letter of its own.
    let known = heads.iter().flatten().next().map(|head| (head.dynamodb.sequence_number.to_string(), 0.0));
    if !heads.is_empty() && known.is_none() {
        return Err("no record of the page has a sequence number".to_owned());
    }
    let mut last = known.unwrap_or_default();
    let records = reply.records.iter().zip(heads.drain(..)).map(|(raw, head)| {
        if let Some(head) = head {
            last = (head.dynamodb.sequence_number.into_owned(), head.dynamodb.approximate_creation_date_time);
        }
        StreamRecord {
            sequence: SequenceNumber(last.0.clone()),
            partition_key: String::new(),
            data: body.slice_ref(raw.get().as_bytes()),
            arrived_us: (last.1 * 1e6).round() as i64,
        }
    });
    let records: Vec<StreamRecord> = records.collect();
    // Once the tip was reached, one empty page says that it is reached again.
    let empty = match (records.is_empty(), cursor.empty >= EMPTY_AT_TIP - 1) {
        (true, _) => (cursor.empty + 1).min(EMPTY_AT_TIP),
        (false, true) => EMPTY_AT_TIP - 1,
        (false, false) => 0,
    };
    let behind_ms = match records.last() {
        Some(last) => u64::try_from(now_ms - last.arrived_us / 1_000).unwrap_or_default().max(1),
        None => u64::from(empty < EMPTY_AT_TIP),
    };
    let next = reply.next_shard_iterator.map(|next| Cursor::write(empty, cursor.shard, &next));
    Ok(Page { records, next, behind_ms })
}

impl StreamSource for TableStream {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        self.list().boxed()
    }

    fn iterator<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>> {
        self.begin(shard, start).boxed()
    }

    fn page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Page, ReadError>> {
        self.read(Cursor::read(iterator)).boxed()
    }

    fn allowance(&self) -> Allowance {
        Allowance { reads: READS, bytes: f64::INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: &str, at: f64) -> String {
        format!(
            r#"{{"eventName":"INSERT","dynamodb":{{"ApproximateCreationDateTime":{at},"Keys":{{"id":{{"S":"a"}}}},"NewImage":{{"n":{{"N":"1.50"}}}},"SequenceNumber":"{sequence}"}}}}"#
        )
    }

    fn read(records: &[String], next: Option<&str>, empty: u32) -> Page {
        let next = next.map_or(String::from("null"), |next| format!("{next:?}"));
        let body = Bytes::from(format!(r#"{{"Records":[{}],"NextShardIterator":{next}}}"#, records.join(",")));
        page(&body, &Cursor { empty, shard: "s", iterator: "i" }, 1_520_175_590_000).unwrap()
    }

    #[test]
    fn a_record_keeps_its_bytes_its_place_and_its_time() {
        let wanted = record("300000000000000499659", 1_520_175_584.0);
        let page = read(std::slice::from_ref(&wanted), Some("n"), 0);
        assert_eq!(page.records[0].data, wanted.as_bytes());
        assert_eq!(page.records[0].sequence.0, "300000000000000499659");
        assert_eq!(page.records[0].arrived_us, 1_520_175_584_000_000);
        assert_eq!(page.behind_ms, 6_000, "it is as late as its last record is old");
    }

    #[test]
    fn a_shard_is_at_its_tip_after_ten_empty_pages_and_then_after_each() {
        let mut iterator = Cursor::write(0, "s", "i");
        for n in 1..=EMPTY_AT_TIP {
            let cursor = Cursor::read(&iterator);
            let page = read(&[], Some("i"), cursor.empty);
            assert_eq!(page.behind_ms == 0, n == EMPTY_AT_TIP, "page {n}");
            iterator = page.next.unwrap();
        }
        let page = read(&[record("1", 1.0)], Some("i"), Cursor::read(&iterator).empty);
        let page = read(&[], Some("i"), Cursor::read(&page.next.unwrap()).empty);
        assert_eq!(page.behind_ms, 0);
        // Before the tip was seen, records begin the count again.
        let page = read(&[record("1", 1.0)], Some("i"), 4);
        assert_eq!(Cursor::read(&page.next.unwrap()).empty, 0);
    }

    #[test]
    fn a_closed_shard_has_no_next_page() {
        assert_eq!(read(&[], None, 0).next, None);
    }

    #[test]
    fn a_record_without_a_place_stands_with_its_neighbour() {
        let page = read(&["{}".into(), record("7", 1.0), "[1]".into()], Some("n"), 0);
        let places: Vec<&str> = page.records.iter().map(|record| record.sequence.0.as_str()).collect();
        assert_eq!(places, ["7", "7", "7"]);
        let body = Bytes::from_static(br#"{"Records":[{}],"NextShardIterator":"n"}"#);
        let cursor = Cursor { empty: 0, shard: "s", iterator: "i" };
        assert!(super::page(&body, &cursor, 0).is_err());
    }
}
