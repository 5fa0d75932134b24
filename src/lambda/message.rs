//! What Lambda hands to a function of a stream, and what it takes back.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A record of a Kinesis stream as Lambda hands it over.
#[derive(Clone, Debug, PartialEq)]
// Named as in the flow.
#[allow(clippy::struct_field_names)]
pub(super) struct Arrived {
    /// The ARN of its stream.
    pub source: String,
    /// Its shard.
    pub shard: String,
    /// Its place there.
    pub sequence: String,
    /// Its partition key.
    pub partition_key: String,
    /// When it arrived, microseconds since the epoch.
    pub arrived_us: i64,
    /// Its bytes; where they are no base64, the text in their place and why.
    pub data: Result<Bytes, (Bytes, String)>,
}

#[derive(Deserialize)]
struct KinesisEvent<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<KinesisRecord<'a>>,
}

#[derive(Deserialize)]
struct KinesisRecord<'a> {
    #[serde(borrow)]
    kinesis: Kinesis<'a>,
    #[serde(rename = "eventSourceARN", borrow)]
    source: Cow<'a, str>,
    #[serde(rename = "eventID", borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kinesis<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    #[serde(borrow, default)]
    partition_key: Cow<'a, str>,
    #[serde(default)]
    approximate_arrival_timestamp: f64,
}

/// Reads an event of a Kinesis stream.
///
/// # Errors
/// It is none.
pub(super) fn kinesis(event: &Bytes) -> Result<Vec<Arrived>, String> {
    let read: KinesisEvent =
        serde_json::from_slice(event).map_err(|error| format!("this is no event of a Kinesis stream: {error}"))?;
    let records = read.records.into_iter().map(|record| {
        let data = BASE64_STANDARD
            .decode(record.kinesis.data.as_bytes())
            .map(Bytes::from)
            .map_err(|error| (Bytes::copy_from_slice(record.kinesis.data.as_bytes()), format!("not base64: {error}")));
        Arrived {
            source: record.source.into_owned(),
            shard: record.id.split(':').next().unwrap_or_default().to_owned(),
            sequence: record.kinesis.sequence_number.into_owned(),
            partition_key: record.kinesis.partition_key.into_owned(),
            arrived_us: (record.kinesis.approximate_arrival_timestamp * 1e6).round() as i64,
            data,
        }
    });
    Ok(records.collect())
}

/// A record of a table's stream as Lambda hands it over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changed {
    /// The ARN of its stream.
    pub source: String,
    /// Its place there.
    pub sequence: String,
    /// When it happened, about: ms since the epoch.
    pub at_ms: i64,
    /// The whole record, JSON.
    pub record: Bytes,
}

#[derive(Deserialize)]
struct TableEvent<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct TableRecord<'a> {
    #[serde(rename = "eventSourceARN", borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    dynamodb: Sequence<'a>,
}

#[derive(Deserialize)]
struct Sequence<'a> {
    #[serde(rename = "SequenceNumber", borrow)]
    sequence: Cow<'a, str>,
    #[serde(rename = "ApproximateCreationDateTime", default)]
    at: f64,
}

/// Reads an event of a table's stream.
///
/// # Errors
/// It is none.
pub(super) fn dynamodb(event: &Bytes) -> Result<Vec<Changed>, String> {
    let no_event = |error: serde_json::Error| format!("this is no event of a table's stream: {error}");
    let read: TableEvent = serde_json::from_slice(event).map_err(no_event)?;
    let changed = |record: &RawValue| {
        let read: TableRecord = serde_json::from_str(record.get()).map_err(no_event)?;
        Ok(Changed {
            source: read.source.into_owned(),
            sequence: read.dynamodb.sequence.into_owned(),
            at_ms: (read.dynamodb.at * 1000.0).round() as i64,
            record: event.slice_ref(record.get().as_bytes()),
        })
    };
    read.records.into_iter().map(changed).collect()
}

/// What Lambda is told: from the record of `first_open` on, everything is to be handed over again.
pub(super) fn answer(first_open: Option<&str>) -> Value {
    let failures = first_open.map(|sequence| json!({ "itemIdentifier": sequence }));
    json!({ "batchItemFailures": failures.into_iter().collect::<Vec<_>>() })
}

/// The stream, table or whatever else an ARN names last: `stream/orders`, `table/orders/stream/2026…` -> `orders`.
pub(super) fn name_of(arn: &str) -> &str {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or(arn);
    resource.split('/').nth(1).unwrap_or(resource)
}

/// The region that an ARN names.
pub(super) fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

/// The label of the stream of a table: `…/stream/2026-11-20T00:00:00.000` -> `2026-11-20T00:00:00.000`.
pub(super) fn label_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinesis_event_gives_its_records_with_shard_sequence_and_the_very_bytes() {
        let event = Bytes::from_static(
            br#"{"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"p","sequenceNumber":"495",
              "data":"SGVsbG8=","approximateArrivalTimestamp":1520175584.0304},"eventSource":"aws:kinesis",
              "eventID":"shardId-000000000006:495","eventName":"aws:kinesis:record","awsRegion":"us-east-1",
              "eventSourceARN":"arn:aws:kinesis:us-east-1:123456789012:stream/orders"},
              {"kinesis":{"sequenceNumber":"496","data":"*"},"eventID":"s:496","eventSourceARN":"a"}]}"#,
        );
        let records = kinesis(&event).unwrap();
        assert_eq!((records[0].shard.as_str(), records[0].sequence.as_str()), ("shardId-000000000006", "495"));
        assert_eq!(records[0].data, Ok(Bytes::from_static(b"Hello")));
        assert_eq!(records[0].arrived_us, 1_520_175_584_030_400);
        assert_eq!(name_of(&records[0].source), "orders");
        assert!(records[1].data.as_ref().is_err_and(|(raw, why)| raw == "*" && why.contains("base64")));
        assert!(kinesis(&Bytes::from_static(b"{}")).is_err());
    }

    #[test]
    fn a_table_event_gives_its_records_as_slices() {
        let event = Bytes::from_static(
            br#"{"Records":[{"eventName":"REMOVE","dynamodb":{"Keys":{},"SequenceNumber":"7"},
              "eventSourceARN":"arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-11-20T00:00:00.000"}]}"#,
        );
        let records = dynamodb(&event).unwrap();
        assert_eq!(records[0].sequence, "7");
        assert!(event.as_ptr_range().contains(&records[0].record.as_ptr()));
        let arn = &records[0].source;
        assert_eq!((name_of(arn), region_of(arn)), ("orders", "eu-west-1"));
        assert_eq!(label_of(arn), "2026-11-20T00:00:00.000");
        assert!(dynamodb(&Bytes::from_static(br#"{"Records":[{}]}"#)).is_err());
    }

    #[test]
    fn lambda_is_told_the_first_record_that_is_open_or_nothing() {
        assert_eq!(answer(None).to_string(), r#"{"batchItemFailures":[]}"#);
        assert_eq!(answer(Some("495")).to_string(), r#"{"batchItemFailures":[{"itemIdentifier":"495"}]}"#);
    }
}
