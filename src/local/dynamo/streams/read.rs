//! What readers ask: `ListStreams`, `DescribeStream`, `GetShardIterator` and `GetRecords`.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::log::Shard;
use super::records::{Record, Sequence};
use super::{Stream, Streams};
use crate::local::dynamo::control::CHANGE_MS;
use crate::local::dynamo::wire::{Failure, Outcome, parse, written};
use crate::local::throughput::Millis;

/// How long a shard iterator can be used, ms.
const ITERATOR_MS: Millis = 15 * 60 * 1_000;
/// Records that one call gives at most.
const PAGE_RECORDS: usize = 1_000;
/// Bytes of keys and images that one call gives at most, though always one record.
const PAGE_BYTES: usize = 1024 * 1024;
/// Shards, or streams, that one page lists at most.
const LIST_PAGE: usize = 100;
/// AWS's words for a record that is gone.
const TRIMMED: &str = "The operation attempted to read past the oldest stream record in a shard.";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListStreams {
    table_name: Option<String>,
    limit: Option<i64>,
    exclusive_start_stream_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStream {
    #[serde(default)]
    stream_arn: String,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
    shard_filter: Option<ShardFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    r#type: Option<String>,
    shard_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetShardIterator {
    #[serde(default)]
    stream_arn: String,
    #[serde(default)]
    shard_id: String,
    #[serde(default)]
    shard_iterator_type: String,
    sequence_number: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecords {
    #[serde(default)]
    shard_iterator: String,
    limit: Option<i64>,
}

/// What a `GetRecords` came to, for the metrics.
#[derive(Debug)]
pub(in super::super) struct Returned {
    pub(in super::super) table: String,
    pub(in super::super) label: String,
    pub(in super::super) records: usize,
    /// Of keys and images.
    pub(in super::super) bytes: usize,
}

impl Streams {
    pub(in super::super) fn list(&self, body: &[u8]) -> Outcome {
        let asked: ListStreams = parse("ListStreams", body)?;
        let most = page_size(asked.limit, LIST_PAGE)?;
        // The stream that the last page ended with may be gone: they are sorted, so its place is known all the same.
        let after = asked.exclusive_start_stream_arn.as_deref().unwrap_or_default();
        let is_meant =
            |it: &&Arc<Stream>| *it.arn > *after && asked.table_name.as_ref().is_none_or(|table| it.table == *table);
        let all = self.all();
        let mut streams = all.iter().filter(is_meant);
        let page: Vec<&Arc<Stream>> = streams.by_ref().take(most).collect();
        let shown = |it: &&Arc<Stream>| json!({"StreamArn": it.arn, "TableName": it.table, "StreamLabel": it.label});
        let mut reply = json!({ "Streams": page.iter().map(shown).collect::<Vec<_>>() });
        if let (Some(last), Some(_)) = (page.last(), streams.next()) {
            reply["LastEvaluatedStreamArn"] = last.arn.as_str().into();
        }
        written(&reply)
    }

    pub(in super::super) fn describe_stream(&self, body: &[u8]) -> Outcome {
        let asked: DescribeStream = parse("DescribeStream", body)?;
        let now = self.now();
        if self.limits && !self.describes.lock().unwrap_or_else(PoisonError::into_inner).admits(now) {
            return Err(too_often("DescribeStream", "the account"));
        }
        let most = page_size(asked.limit, LIST_PAGE)?;
        let stream = self.asked_for(&asked.stream_arn)?;
        let mut log = stream.log();
        log.advance(self.kept_ms, now);
        let children_of = asked.shard_filter.as_ref().map(ShardFilter::parent).transpose()?;
        if let Some(parent) = children_of
            && !log.shards().iter().any(|shard| shard.id == parent)
        {
            return Err(no_shard(&stream, parent));
        }
        // The shard that the last page ended with may be gone: IDs grow, so its place is known all the same.
        let after = asked.exclusive_start_shard_id.as_deref().unwrap_or_default();
        let is_meant = |shard: &&Shard| {
            *shard.id > *after && children_of.is_none_or(|parent| shard.parent.as_deref() == Some(parent))
        };
        let mut shards = log.shards().iter().filter(is_meant);
        let page: Vec<&Shard> = shards.by_ref().take(most).collect();
        let mut description = json!({
            "StreamArn": stream.arn,
            "StreamLabel": stream.label,
            "StreamStatus": status(log.ended_ms(), stream.created_ms, now),
            "StreamViewType": stream.view.name(),
            "CreationRequestDateTime": stream.created_ms as f64 / 1_000.0,
            "TableName": stream.table,
            "KeySchema": stream.keys,
            "Shards": page.iter().map(|shard| described(shard)).collect::<Vec<_>>(),
        });
        if let (Some(last), Some(_)) = (page.last(), shards.next()) {
            description["LastEvaluatedShardId"] = last.id.as_str().into();
        }
        written(&json!({ "StreamDescription": description }))
    }

    pub(in super::super) fn shard_iterator(&self, body: &[u8]) -> Outcome {
        let asked: GetShardIterator = parse("GetShardIterator", body)?;
        let stream = self.asked_for(&asked.stream_arn)?;
        let kind = asked.shard_iterator_type.as_str();
        let given = asked.sequence_number.as_deref().map(sequence).transpose()?;
        let now = self.now();
        let mut log = stream.log();
        log.advance(self.kept_ms, now);
        let shard = log.shard(&asked.shard_id).ok_or_else(|| no_shard(&stream, &asked.shard_id))?;
        let from = match (kind, given) {
            ("TRIM_HORIZON", None) => shard.records.trimmed() + 1,
            ("LATEST", None) => shard.last + 1,
            ("TRIM_HORIZON" | "LATEST", Some(_)) => {
                return Err(Failure::invalid(
                    "One or more parameter values were invalid: SequenceNumber should not be passed for this iterator \
                     type",
                ));
            }
            ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", None) => {
                return Err(Failure::invalid(
                    "One or more parameter values were invalid: SequenceNumber must be passed for this iterator type",
                ));
            }
            ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", Some(number)) => {
                if number < shard.start || number > shard.last {
                    return Err(Failure::invalid(&format!(
                        "Invalid SequenceNumber: {number} is not in the shard {}",
                        shard.id
                    )));
                }
                if number <= shard.records.trimmed() {
                    return Err(Failure::named("TrimmedDataAccessException", TRIMMED));
                }
                number + Sequence::from(kind == "AFTER_SEQUENCE_NUMBER")
            }
            _ => {
                return Err(Failure::invalid(&format!(
                    "1 validation error detected: Value '{kind}' at 'shardIteratorType' failed to satisfy constraint: \
                     Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_SEQUENCE_NUMBER, \
                     TRIM_HORIZON]"
                )));
            }
        };
        let cursor = Cursor { arn: &stream.arn, shard: &shard.id, from, made_ms: now };
        written(&json!({ "ShardIterator": cursor.encode() }))
    }

    /// The reply to `GetRecords`, and what it holds.
    pub(in super::super) fn get_records(&self, body: &[u8]) -> Result<(Vec<u8>, Returned), Failure> {
        let asked: GetRecords = parse("GetRecords", body)?;
        let most = page_size(asked.limit, PAGE_RECORDS)?;
        let invalid = || Failure::invalid("Invalid ShardIterator");
        let text = Cursor::text(&asked.shard_iterator).ok_or_else(invalid)?;
        let cursor = Cursor::decode(&text).ok_or_else(invalid)?;
        let now = self.now();
        if now - cursor.made_ms > ITERATOR_MS {
            return Err(Failure::expired_iterator());
        }
        let stream = self.asked_for(cursor.arn)?;
        let limits = self.limits;
        let mut log = stream.log();
        log.advance(self.kept_ms, now);
        let shard = log.shard(cursor.shard).ok_or_else(|| no_shard(&stream, cursor.shard))?;
        if limits && !shard.calls.admits(now) {
            return Err(too_often("GetRecords", &format!("the shard {}", shard.id)));
        }
        if cursor.from <= shard.records.trimmed() {
            return Err(Failure::named("TrimmedDataAccessException", TRIMMED));
        }

        let mut reply = b"{\"Records\":[".to_vec();
        let mut returned = Returned { table: stream.table.clone(), label: stream.label.clone(), records: 0, bytes: 0 };
        let (mut next, mut is_more) = (cursor.from, false);
        shard.records.each(cursor.from, |record| {
            let bytes = returned.bytes + record.size as usize;
            if returned.records == most || (returned.records > 0 && bytes > PAGE_BYTES) {
                is_more = true;
                return false;
            }
            if returned.records > 0 {
                reply.push(b',');
            }
            write_record(&mut reply, record, &stream);
            returned.records += 1;
            returned.bytes = bytes;
            next = record.sequence + 1;
            true
        });
        reply.push(b']');
        // A closed shard has ended too where it never held anything.
        if shard.is_open() || is_more {
            let next = Cursor { arn: &stream.arn, shard: &shard.id, from: next, made_ms: now };
            reply.extend_from_slice(format!(",\"NextShardIterator\":\"{}\"", next.encode()).as_bytes());
        }
        reply.push(b'}');
        Ok((reply, returned))
    }

    fn asked_for(&self, arn: &str) -> Result<Arc<Stream>, Failure> {
        self.named(arn).ok_or_else(|| not_found(arn))
    }
}

impl ShardFilter {
    /// The shard whose children are asked for.
    fn parent(&self) -> Result<&str, Failure> {
        match (self.r#type.as_deref(), self.shard_id.as_deref()) {
            (Some("CHILD_SHARDS"), Some(parent)) => Ok(parent),
            _ => Err(Failure::invalid(
                "One or more parameter values were invalid: ShardFilter must have the Type CHILD_SHARDS and a ShardId",
            )),
        }
    }
}

fn described(shard: &Shard) -> Value {
    let mut range = json!({ "StartingSequenceNumber": shard.start.to_string() });
    if !shard.is_open() {
        range["EndingSequenceNumber"] = shard.last.to_string().into();
    }
    let mut described = json!({ "ShardId": shard.id, "SequenceNumberRange": range });
    if let Some(parent) = &shard.parent {
        described["ParentShardId"] = parent.as_str().into();
    }
    described
}

/// A change of a stream takes as long as one of its table.
fn status(ended_ms: Option<Millis>, created_ms: Millis, now: Millis) -> &'static str {
    match ended_ms {
        Some(ended_ms) if now < ended_ms + CHANGE_MS => "DISABLING",
        Some(_) => "DISABLED",
        None if now < created_ms + CHANGE_MS => "ENABLING",
        None => "ENABLED",
    }
}

/// A record on the wire. Its items are JSON already.
fn write_record(to: &mut Vec<u8>, record: &Record, stream: &Stream) {
    let id = xxhash_rust::xxh3::xxh3_128_with_seed(
        &record.sequence.to_le_bytes(),
        xxhash_rust::xxh3::xxh3_64(stream.arn.as_bytes()),
    );
    let mut head = format!(
        "{{\"eventID\":\"{id:032x}\",\"eventName\":\"{}\",\"eventVersion\":\"1.1\",\"eventSource\":\"aws:dynamodb\",\
         \"awsRegion\":\"us-east-1\",",
        record.change.name()
    );
    if record.expired {
        head.push_str("\"userIdentity\":{\"Type\":\"Service\",\"PrincipalId\":\"dynamodb.amazonaws.com\"},");
    }
    // Whole seconds, rounded down, as AWS says of this member.
    let seconds = record.created_ms.div_euclid(1_000);
    // Writing to a String does not fail.
    write!(
        head,
        "\"dynamodb\":{{\"ApproximateCreationDateTime\":{seconds},\"SequenceNumber\":\"{}\",\"SizeBytes\":{},\
         \"StreamViewType\":\"{}\",",
        record.sequence,
        record.size,
        stream.view.name()
    )
    .ok();
    to.extend_from_slice(head.as_bytes());
    to.extend_from_slice(&record.images);
    to.extend_from_slice(b"}}");
}

/// How many a page may hold.
fn page_size(limit: Option<i64>, most: usize) -> Result<usize, Failure> {
    let Some(limit) = limit else { return Ok(most) };
    usize::try_from(limit).ok().filter(|limit| (1..=most).contains(limit)).ok_or_else(|| {
        Failure::invalid(&format!(
            "One or more parameter values were invalid: Limit should be between 1 and {most}, and is {limit}"
        ))
    })
}

/// A sequence number as readers give it: 21 to 40 digits.
fn sequence(text: &str) -> Result<Sequence, Failure> {
    let is_long_enough = (21..=40).contains(&text.len());
    text.parse().ok().filter(|_| is_long_enough && text.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(|| {
        Failure::invalid(
            "1 validation error detected: Value at 'sequenceNumber' failed to satisfy constraint: Member must be a number \
             of 21 to 40 digits that this stream has given",
        )
    })
}

fn not_found(arn: &str) -> Failure {
    Failure::named("ResourceNotFoundException", &format!("Requested resource not found: Stream: {arn} not found"))
}

fn no_shard(stream: &Stream, shard: &str) -> Failure {
    let message = format!("Requested resource not found: Shard: {shard} in Stream: {} not found", stream.arn);
    Failure::named("ResourceNotFoundException", &message)
}

fn too_often(operation: &str, of: &str) -> Failure {
    Failure::named("LimitExceededException", &format!("Rate of {operation} exceeded for {of}; try again later"))
}

/// What a shard iterator says.
#[derive(Debug, PartialEq, Eq)]
struct Cursor<'a> {
    arn: &'a str,
    shard: &'a str,
    /// The lowest number that is read next.
    from: Sequence,
    made_ms: Millis,
}

impl<'a> Cursor<'a> {
    /// The stream's ARN, a version and what only we read: AWS's look so too.
    fn encode(&self) -> String {
        let Self { arn, shard, from, made_ms } = self;
        format!("{arn}|1|{}", URL_SAFE_NO_PAD.encode(format!("{arn}|{shard}|{from}|{made_ms}")))
    }

    fn text(token: &str) -> Option<String> {
        let (_, coded) = token.rsplit_once('|')?;
        String::from_utf8(URL_SAFE_NO_PAD.decode(coded).ok()?).ok()
    }

    fn decode(text: &'a str) -> Option<Self> {
        let mut parts = text.split('|');
        Some(Self {
            arn: parts.next()?,
            shard: parts.next()?,
            from: parts.next()?.parse().ok()?,
            made_ms: parts.next()?.parse().ok()?,
        })
    }
}
