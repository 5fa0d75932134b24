//! Rows of the store's tables as `DynamoDB` JSON: written and read byte for byte.
//!
//! ```text
//!   buffer     partition_key = sha256(source ARN + event ID)                   event_id, event_time_stamp (ms, N),
//!                                                                              record_payload, stream_partition_key
//!   event      event_time_slot + event_key  (ordered)                          event_id, event_time_stamp (S),
//!              event_time_slot + event_id   (original)                         record_payload, partition_key
//!   directory  event_time_slot = directory#<hour>, second key = <slot>         count, first, last
//! ```
//!
//! A payload that is UTF-8 is an S, so that it can be read in any tool; any other one is a B. Both are the exact bytes.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::record::{Event, EventId, Layout};
use super::slot::{Slot, SlotLength};
use crate::item::{KeyAttr, KeyKind, KeySchema};

/// The buffer's partition key, and in the event table the event's own partition key on its stream.
pub const PARTITION_KEY: &str = "partition_key";
/// The event's partition key on its stream, in the buffer.
pub const STREAM_PARTITION_KEY: &str = "stream_partition_key";
/// The event table's partition key.
pub const SLOT: &str = "event_time_slot";
/// The event table's sort key, ordered layout.
pub const EVENT_KEY: &str = "event_key";
/// The event's ID, and the event table's sort key in the original layout.
pub const EVENT_ID: &str = "event_id";
/// When it arrived: in the buffer a number of ms since the epoch, in the event table ISO time.
pub const TIME: &str = "event_time_stamp";
/// The original layout's local index, by time within a slot.
pub const TIME_INDEX: &str = "event_time_stamp";
/// The bytes that were sent.
pub const PAYLOAD: &str = "record_payload";
/// Events in a slot.
pub const COUNT: &str = "count";
/// Time of a slot's first event.
pub const FIRST: &str = "first";
/// Time of a slot's last event.
pub const LAST: &str = "last";

/// Digits that a sequence number is padded to in an `event_key`: as many as Kinesis uses today.
const SEQUENCE_DIGITS: usize = 56;
/// Digits of the place in an aggregated record: one of 10 MiB can't hold a million events.
const SUB_DIGITS: usize = 7;

/// A row that can't be read: what of it is wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRow(pub String);

impl Layout {
    /// The event table's key.
    pub fn key(self) -> KeySchema {
        KeySchema { partition: string_key(SLOT), sort: Some(string_key(self.sort_key())) }
    }

    /// The name of its sort key.
    pub fn sort_key(self) -> &'static str {
        match self {
            Self::Ordered => EVENT_KEY,
            Self::Original => EVENT_ID,
        }
    }

    /// The layout of an event table with this key; `None` when it is no event table's.
    pub fn of_key(key: &KeySchema) -> Option<Self> {
        [Self::Ordered, Self::Original].into_iter().find(|layout| layout.key() == *key)
    }

    /// An event's time as this layout keeps it: exact, or in the original one whole milliseconds, rounded up.
    pub fn time(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Ordered => time,
            Self::Original => {
                let ms = -(-time.as_microsecond()).div_euclid(1000);
                // The last instant that can be written stays what it is.
                Timestamp::from_millisecond(ms).unwrap_or(time)
            }
        }
    }
}

/// The buffer's key.
pub fn buffer_key_schema() -> KeySchema {
    KeySchema { partition: string_key(PARTITION_KEY), sort: None }
}

fn string_key(name: &str) -> KeyAttr {
    KeyAttr { name: name.to_owned(), kind: KeyKind::S }
}

/// The key of event `id` of stream `source` (its ARN) in the buffer: hex sha256 of both.
pub fn buffer_key(source: &str, id: &EventId) -> String {
    let digest = Sha256::new().chain_update(source).chain_update(id.to_string()).finalize();
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The row of `event` of stream `source` (its ARN) in the buffer.
pub fn buffer_row(source: &str, event: &Event) -> Bytes {
    let mut row = Row::new(event.payload.len());
    row.text(PARTITION_KEY, &buffer_key(source, &event.id));
    row.text(EVENT_ID, &event.id.to_string());
    row.number(TIME, &ms_of(event.time));
    row.text(STREAM_PARTITION_KEY, &event.partition_key);
    row.payload(&event.payload);
    row.finish()
}

/// The row of `event` in the event table, and the slot that it is in.
pub fn event_row(event: &Event, layout: Layout, slots: SlotLength) -> (Slot, Bytes) {
    let time = layout.time(event.time);
    let slot = slots.slot_of(time);
    let mut row = Row::new(event.payload.len());
    row.text(SLOT, &slot.to_string());
    if layout == Layout::Ordered {
        row.text(EVENT_KEY, &event_key(time, &event.id));
    }
    row.text(EVENT_ID, &event.id.to_string());
    let shown = match layout {
        Layout::Ordered => format!("{time:.6}"),
        Layout::Original => format!("{time:.3}"),
    };
    row.text(TIME, &shown);
    row.text(PARTITION_KEY, &event.partition_key);
    row.payload(&event.payload);
    (slot, row.finish())
}

/// The sort key of an event in the ordered layout: as text it sorts by time, then shard, then sequence.
pub fn event_key(time: Timestamp, id: &EventId) -> String {
    let EventId { shard, sequence, sub } = id;
    let mut key = format!("{time:.6}#{shard}#{:0>SEQUENCE_DIGITS$}", sequence.0);
    if let Some(sub) = sub {
        // Writing to a string can't fail.
        let _ = write!(key, "#{sub:0SUB_DIGITS$}");
    }
    key
}

/// What the directory knows of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotCount {
    /// The slot.
    pub slot: Slot,
    /// Events in it.
    pub count: u64,
    /// Time of the first.
    pub first: Timestamp,
    /// Time of the last.
    pub last: Timestamp,
}

/// The partition of the event table that holds the directory of an hour: a row for each slot with events, by the
/// slot's name.
pub fn directory_of(hour: Slot) -> String {
    format!("directory#{}", hour.hour())
}

/// The directory's row of a slot.
pub fn directory_row(layout: Layout, counted: &SlotCount) -> Bytes {
    let mut row = Row::new(0);
    row.text(SLOT, &directory_of(counted.slot));
    row.text(layout.sort_key(), &counted.slot.to_string());
    row.number(COUNT, &counted.count.to_string());
    row.text(FIRST, &format!("{:.6}", counted.first));
    row.text(LAST, &format!("{:.6}", counted.last));
    row.finish()
}

/// Reads a row of the buffer, the `DynamoDB` JSON that the service wrote: its key, and the event.
///
/// # Errors
/// What is wrong with it.
pub fn read_buffer_row(row: &[u8]) -> Result<(String, Event), BadRow> {
    let mut row = Attributes::parse(row)?;
    let key = row.text(PARTITION_KEY)?;
    let id = row.id()?;
    let time = row.take(TIME).ok_or_else(|| missing(TIME))?;
    let time = number(&time).and_then(time_of_ms).ok_or_else(|| {
        BadRow(format!("{TIME} is {}, not a number of milliseconds of the years 1970 to 9999", short(&time)))
    })?;
    // The original's rows have no partition key of the stream: the row's own stands for it.
    let partition_key = row.take(STREAM_PARTITION_KEY).and_then(|value| text(&value).map(str::to_owned));
    let payload = row.payload()?;
    Ok((key.clone(), Event { time, id, partition_key: partition_key.unwrap_or(key), payload }))
}

/// Reads a row of the event table, of either layout, the `DynamoDB` JSON that the service wrote.
///
/// # Errors
/// What is wrong with it.
pub fn read_event_row(row: &[u8]) -> Result<Event, BadRow> {
    event_of(Attributes::parse(row)?)
}

/// The same for a row that came through the SDK's types.
///
/// # Errors
/// What is wrong with it.
pub fn read_event_attributes<S: std::hash::BuildHasher>(
    row: &HashMap<String, AttributeValue, S>,
) -> Result<Event, BadRow> {
    event_of(Attributes::of_sdk(row))
}

fn event_of(mut row: Attributes) -> Result<Event, BadRow> {
    let id = row.id()?;
    let time = row.time(TIME)?;
    let partition_key = row.take(PARTITION_KEY).and_then(|value| text(&value).map(str::to_owned)).unwrap_or_default();
    Ok(Event { time, id, partition_key, payload: row.payload()? })
}

/// Reads a directory's row that came through the SDK's types.
///
/// # Errors
/// What is wrong with it.
pub fn read_directory_attributes<S: std::hash::BuildHasher>(
    layout: Layout,
    row: &HashMap<String, AttributeValue, S>,
) -> Result<SlotCount, BadRow> {
    let mut row = Attributes::of_sdk(row);
    let start = row.time(layout.sort_key())?;
    let count = row.take(COUNT).as_ref().and_then(number).and_then(|n| n.parse().ok());
    let count = count.ok_or_else(|| BadRow(format!("{COUNT} is no whole number")))?;
    Ok(SlotCount {
        slot: Slot { start_us: start.as_microsecond() },
        count,
        first: row.time(FIRST)?,
        last: row.time(LAST)?,
    })
}

/// Milliseconds since the epoch, with as many decimals as it takes.
fn ms_of(time: Timestamp) -> String {
    let micros = time.as_microsecond();
    let (ms, rest) = (micros.div_euclid(1000), micros.rem_euclid(1000));
    if rest == 0 { ms.to_string() } else { format!("{ms}.{rest:03}").trim_end_matches('0').to_owned() }
}

/// The time of a number of milliseconds; below microseconds it is cut off.
fn time_of_ms(ms: &str) -> Option<Timestamp> {
    let (whole, part) = ms.split_once('.').unwrap_or((ms, ""));
    let whole: i64 = whole.parse().ok().filter(|ms| *ms >= 0)?;
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    let micros = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok())??;
    Timestamp::from_microsecond(whole.checked_mul(1000)?.checked_add(micros)?).ok()
}

/// A row being written.
struct Row(Vec<u8>);

impl Row {
    fn new(payload: usize) -> Self {
        let mut json = Vec::with_capacity(payload + payload / 2 + 512);
        json.push(b'{');
        Self(json)
    }

    fn attribute(&mut self, name: &str, kind: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.extend_from_slice(format!("\"{name}\":{{\"{kind}\":").as_bytes());
    }

    fn string(&mut self, name: &str, kind: &str, value: &str) {
        self.attribute(name, kind);
        // Writing a string to memory can't fail.
        let _ = serde_json::to_writer(&mut self.0, value);
        self.0.push(b'}');
    }

    fn text(&mut self, name: &str, value: &str) {
        self.string(name, "S", value);
    }

    fn number(&mut self, name: &str, value: &str) {
        self.string(name, "N", value);
    }

    fn payload(&mut self, payload: &[u8]) {
        match std::str::from_utf8(payload) {
            Ok(text) => self.text(PAYLOAD, text),
            Err(_) => self.string(PAYLOAD, "B", &STANDARD.encode(payload)),
        }
    }

    fn finish(mut self) -> Bytes {
        self.0.push(b'}');
        Bytes::from(self.0)
    }
}

/// A row being read: the attributes that the store knows, each as `{"TYPE":value}`.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Attributes(HashMap<String, Value>);

impl Attributes {
    fn parse(row: &[u8]) -> Result<Self, BadRow> {
        serde_json::from_slice(row).map_err(|error| BadRow(format!("it is no item: {error}")))
    }

    fn of_sdk<S: std::hash::BuildHasher>(row: &HashMap<String, AttributeValue, S>) -> Self {
        Self(row.iter().map(|(name, value)| (name.clone(), typed(value))).collect())
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<String, BadRow> {
        let value = self.take(name).ok_or_else(|| missing(name))?;
        text(&value).map(str::to_owned).ok_or_else(|| BadRow(format!("{name} is {}, not a string", short(&value))))
    }

    fn id(&mut self) -> Result<EventId, BadRow> {
        self.text(EVENT_ID)?.parse().map_err(BadRow)
    }

    fn time(&mut self, name: &str) -> Result<Timestamp, BadRow> {
        let shown = self.text(name)?;
        shown.parse().map_err(|_| BadRow(format!("{name} is {shown:?}, which is no time")))
    }

    fn payload(&mut self) -> Result<Bytes, BadRow> {
        let value = self.take(PAYLOAD).ok_or_else(|| missing(PAYLOAD))?;
        if let Some(text) = text(&value) {
            return Ok(Bytes::copy_from_slice(text.as_bytes()));
        }
        match value.get("B").and_then(Value::as_str) {
            Some(base64) => STANDARD
                .decode(base64)
                .map(Bytes::from)
                .map_err(|error| BadRow(format!("{PAYLOAD} is no base64: {error}"))),
            // The original also kept payloads as documents: what they meant is all that is left of their bytes.
            None => plain(&value).map(Bytes::from).ok_or_else(|| BadRow(format!("{PAYLOAD} is {}", short(&value)))),
        }
    }
}

fn missing(name: &str) -> BadRow {
    BadRow(format!("it has no {name}"))
}

fn text(value: &Value) -> Option<&str> {
    value.get("S")?.as_str()
}

fn number(value: &Value) -> Option<&str> {
    value.get("N").or_else(|| value.get("S"))?.as_str()
}

/// A value for a message: its beginning.
fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { text.chars().take(60).chain(['…']).collect() } else { text }
}

/// A value of the SDK's as `DynamoDB` JSON has it.
pub(super) fn typed(value: &AttributeValue) -> Value {
    let of = |kind: &str, value: Value| serde_json::json!({ kind: value });
    match value {
        AttributeValue::S(text) => of("S", text.as_str().into()),
        AttributeValue::N(number) => of("N", number.as_str().into()),
        AttributeValue::B(blob) => of("B", STANDARD.encode(blob.as_ref()).into()),
        AttributeValue::Bool(value) => of("BOOL", (*value).into()),
        AttributeValue::Null(value) => of("NULL", (*value).into()),
        AttributeValue::L(list) => of("L", list.iter().map(typed).collect()),
        AttributeValue::M(map) => {
            of("M", Value::Object(map.iter().map(|(name, value)| (name.clone(), typed(value))).collect()))
        }
        _ => Value::Null,
    }
}

/// A document as plain JSON, its numbers with every digit they have.
fn plain(value: &Value) -> Option<String> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let joined = |parts: Option<Vec<String>>| parts.map(|parts| parts.join(","));
    match kind.as_str() {
        "S" => Some(value.to_string()),
        "N" => value.as_str().map(str::to_owned),
        "BOOL" => Some(value.to_string()),
        "NULL" => Some("null".to_owned()),
        "L" => joined(value.as_array()?.iter().map(plain).collect()).map(|list| format!("[{list}]")),
        "M" => {
            let pair =
                |(name, value): (&String, &Value)| Some(format!("{}:{}", Value::from(name.as_str()), plain(value)?));
            joined(value.as_object()?.iter().map(pair).collect()).map(|map| format!("{{{map}}}"))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
