//! A look at what travels over a stream: its newest records, decoded, without a checkpoint and without taking more than
//! one read a second of a shard from its consumers.
//!
//! ```text
//!   shards in turn ──GetRecords, 1 a second each──▶ record ──▶ put │ delete │ event │ aggregated │ bytes
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use aws_sdk_kinesis::operation::get_records::GetRecordsError;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::aws_stream::starting;
use super::{SequenceNumber, StartAt, aggregate};
use crate::cloud::inventory::{self, Shard};
use crate::cloud::{Class, Cloud, CloudError};
use crate::item::{KeySchema, request};

/// How often one shard is read at most: a fifth of its five reads a second, which its consumers share
/// (Amazon Kinesis Data Streams quotas).
pub const EVERY: Duration = Duration::from_secs(1);
/// How long a shard is left alone whose reads are used up: its consumers come first.
const LEAVE_ALONE: Duration = Duration::from_secs(5);
/// Records of one read at most.
const PAGE: i32 = 100;
/// Shards that one tail follows at most.
pub const MOST_SHARDS: usize = 1_000;

/// What a record turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A put request.
    Put {
        /// The table.
        table: String,
        /// The key, where the table is known: names and values.
        key: String,
        /// The item's `DynamoDB` JSON.
        item: Bytes,
        /// It carries other `PutItem` parameters: the whole request.
        whole: Option<Bytes>,
    },
    /// A delete request.
    Delete {
        /// The table.
        table: String,
        /// The key's `DynamoDB` JSON.
        key: Bytes,
    },
    /// Some other JSON.
    Event(Bytes),
    /// Begins as an aggregated record of the Kinesis Producer Library, and is damaged: why.
    Aggregated(String, Bytes),
    /// Anything else.
    Other(Bytes),
}

/// A record that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its shard.
    pub shard: String,
    /// Its place there.
    pub sequence: SequenceNumber,
    /// Its place in an aggregated record.
    pub sub: Option<u64>,
    /// When it arrived, µs since the epoch.
    pub arrived_us: i64,
    /// Its partition key.
    pub partition_key: String,
    /// Its size, bytes.
    pub bytes: usize,
    /// What it is.
    pub what: What,
}

impl What {
    /// What `bytes` are; `schema` knows the keys of tables.
    pub fn of(bytes: &Bytes, schema: impl Fn(&str) -> Option<KeySchema>) -> Self {
        match request::parse(bytes) {
            Ok(request::Request::Put(put)) => {
                let key = schema(&put.table).map(|schema| key_in_words(&schema, &put.item)).unwrap_or_default();
                Self::Put { key, table: put.table, item: put.item, whole: put.other }
            }
            Ok(request::Request::Delete { table, key }) => Self::Delete { table, key },
            Err(_) if is_json(bytes) => Self::Event(bytes.clone()),
            Err(_) => Self::Other(bytes.clone()),
        }
    }

    /// One word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Delete { .. } => "delete",
            Self::Event(_) => "event",
            Self::Aggregated(..) => "aggregated",
            Self::Other(_) => "bytes",
        }
    }

    /// The table that it names.
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::Put { table, .. } | Self::Delete { table, .. } => Some(table),
            _ => None,
        }
    }

    /// The record in one line: its table and key, or the beginning of it, about `most` characters. Not escaped.
    pub fn line(&self, most: usize) -> String {
        let begin = |bytes: &[u8]| {
            let cut = &bytes[..bytes.len().min(most * 4)];
            String::from_utf8_lossy(cut).chars().take(most).collect::<String>()
        };
        match self {
            Self::Put { table, key, item, whole } => {
                let condition = if whole.is_some() { " with parameters of its own" } else { "" };
                let what = if key.is_empty() { begin(item) } else { key.clone() };
                format!("{table}{condition}  {what}")
            }
            Self::Delete { table, key } => format!("{table}  {}", begin(key)),
            Self::Event(json) => begin(json),
            Self::Aggregated(why, bytes) => format!("{} bytes, {why}", bytes.len()),
            Self::Other(bytes) => hex(&bytes[..bytes.len().min(most / 3)]),
        }
    }

    /// The record on several lines: JSON indented with every number as it was sent, anything else as a dump. What goes
    /// beyond `most` bytes is left out, and said. Not escaped.
    pub fn pretty(&self, most: usize) -> Vec<String> {
        let json = |bytes: &[u8]| {
            let text = pretty(bytes);
            if text.len() <= most { text } else { left_out(&text, most) }.lines().map(str::to_owned).collect()
        };
        match self {
            Self::Put { table, key, item, whole } => {
                let mut lines = vec![format!("put into {table}{}{key}", if key.is_empty() { "" } else { ": " })];
                lines.extend::<Vec<String>>(json(whole.as_ref().unwrap_or(item)));
                lines
            }
            Self::Delete { table, key } => {
                let mut lines = vec![format!("delete from {table}")];
                lines.extend::<Vec<String>>(json(key));
                lines
            }
            Self::Event(bytes) => json(bytes),
            Self::Aggregated(why, bytes) => {
                let mut lines = vec![format!("aggregated, {} bytes: {why}", bytes.len())];
                lines.extend(dump(bytes, most));
                lines
            }
            Self::Other(bytes) => dump(bytes, most),
        }
    }
}

impl Seen {
    /// The record as one JSON object, nothing of it changed or left out.
    pub fn to_json(&self) -> Value {
        let raw = |bytes: &Bytes| {
            let text = String::from_utf8(bytes.to_vec()).ok();
            let raw: Option<Box<RawValue>> = text.and_then(|text| RawValue::from_string(text).ok());
            raw
        };
        let mut line = json!({
            "time": jiff::Timestamp::from_microsecond(self.arrived_us).map(|t| t.to_string()).unwrap_or_default(),
            "shard": self.shard, "sequence": self.sequence.0, "sub": self.sub, "partition_key": self.partition_key,
            "bytes": self.bytes, "what": self.what.kind(),
        });
        let mut put = |name: &str, value: Value| line[name] = value;
        match &self.what {
            What::Put { table, item, whole, .. } => {
                put("table", table.clone().into());
                put("item", json!(raw(item)));
                if let Some(whole) = whole {
                    put("request", json!(raw(whole)));
                }
            }
            What::Delete { table, key } => {
                put("table", table.clone().into());
                put("key", json!(raw(key)));
            }
            // Its numbers may hold more digits than a JSON library keeps: the bytes are sent along.
            What::Event(bytes) | What::Other(bytes) | What::Aggregated(_, bytes) => {
                put("data", BASE64_STANDARD.encode(bytes).into());
            }
        }
        line
    }
}

fn key_in_words(schema: &KeySchema, item: &[u8]) -> String {
    let Ok(item) = serde_json::from_slice::<Value>(item) else { return String::new() };
    let attributes = std::iter::once(&schema.partition).chain(&schema.sort);
    let words = attributes.map(|attribute| {
        let value = item[&attribute.name].as_object().and_then(|typed| typed.values().next());
        let value = value.and_then(Value::as_str).unwrap_or("?");
        format!("{}={value}", attribute.name)
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_json(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'[')) && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// Well-formed JSON, indented by two: only the white space between its tokens changes, so that `1.10` stays `1.10`.
fn pretty(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let (mut out, mut depth, mut in_string, mut escaped) =
        (String::with_capacity(text.len() * 2), 0_usize, false, false);
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.peek().is_some_and(char::is_ascii_whitespace) {
                    chars.next();
                }
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn left_out(text: &str, most: usize) -> String {
    let at = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n… {} bytes more", &text[..at], text.len() - at)
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        // Writing into a string can't fail.
        let _ = write!(out, "{byte:02x} ");
    }
    out
}

/// Sixteen bytes a line: where, as hex, and as text.
fn dump(bytes: &[u8], most: usize) -> Vec<String> {
    // A line of sixteen bytes takes seventy-six.
    let shown = &bytes[..bytes.len().min(most / 76 * 16)];
    let text = |chunk: &[u8]| {
        chunk.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { *b as char } else { '.' }).collect::<String>()
    };
    let mut lines: Vec<String> = shown
        .chunks(16)
        .enumerate()
        .map(|(i, chunk)| format!("{:08x}  {:<48} {}", i * 16, hex(chunk), text(chunk)))
        .collect();
    if shown.len() < bytes.len() {
        lines.push(format!("… {} bytes more", bytes.len() - shown.len()));
    }
    lines
}

/// One shard of a tail.
#[derive(Clone, Debug)]
struct Place {
    shard: String,
    start: StartAt,
    iterator: Option<String>,
    due: Instant,
}

/// A tail of a stream, or of one of its shards.
#[derive(Debug)]
pub struct Tail {
    cloud: Cloud,
    stream: String,
    only: Option<String>,
    places: VecDeque<Place>,
    /// Shards that were followed at some time.
    known: HashSet<String>,
    schemas: HashMap<String, Option<KeySchema>>,
    behind_ms: HashMap<String, u64>,
    /// Reads so far.
    pub reads: u64,
    /// Shards that are not followed, because there are more than [`MOST_SHARDS`].
    pub unfollowed: usize,
}

/// Where a tail was when it stopped: each shard, and where it goes on.
pub type Positions = Vec<(String, StartAt)>;

impl Tail {
    /// A tail of `stream` from `start` on; of its shard `only`, when one is given.
    ///
    /// # Errors
    /// No such stream or shard.
    pub async fn open(cloud: &Cloud, stream: &str, only: Option<&str>, start: &StartAt) -> Result<Self, CloudError> {
        let shards = inventory::stream(cloud, stream).await?.shards;
        if let Some(only) = only
            && !shards.iter().any(|shard| shard.id == only)
        {
            let ids: Vec<String> = shards.iter().map(|shard| shard.id.clone()).collect();
            let near = inventory::nearest(only, &ids);
            return Err(CloudError::new(Class::NotFound, format!("stream {stream} has no shard {only}"), near));
        }
        // Closed shards get no new records.
        let is_meant = |shard: &Shard| match only {
            Some(only) => shard.id == only,
            None => shard.open || !matches!(start, StartAt::Latest),
        };
        let positions = shards.into_iter().filter(is_meant).map(|shard| (shard.id, start.clone())).collect();
        Ok(Self::resume(cloud, stream, only, positions))
    }

    /// A tail that goes on at `positions`.
    pub fn resume(cloud: &Cloud, stream: &str, only: Option<&str>, positions: Positions) -> Self {
        let unfollowed = positions.len().saturating_sub(MOST_SHARDS);
        let due = Instant::now();
        let known = positions.iter().map(|(shard, _)| shard.clone()).collect();
        let places = positions.into_iter().take(MOST_SHARDS);
        let places = places.map(|(shard, start)| Place { shard, start, iterator: None, due }).collect();
        Self {
            cloud: cloud.clone(),
            stream: stream.to_owned(),
            only: only.map(str::to_owned),
            places,
            known,
            schemas: HashMap::new(),
            behind_ms: HashMap::new(),
            reads: 0,
            unfollowed,
        }
    }

    /// Where it would go on.
    pub fn positions(&self) -> Positions {
        self.places.iter().map(|place| (place.shard.clone(), place.start.clone())).collect()
    }

    /// How many shards it follows.
    pub fn shards(&self) -> usize {
        self.places.len()
    }

    /// The furthest that any shard is behind its newest record, ms.
    pub fn behind_ms(&self) -> Option<u64> {
        self.behind_ms.values().max().copied()
    }

    /// The next records, in the order of one shard; empty when it had none. Waits for the shard's turn. `None` at the end
    /// of a closed shard that was asked for alone.
    ///
    /// # Errors
    /// What AWS refuses for good. Used-up reads and expired iterators are waited for.
    pub async fn next(&mut self) -> Result<Option<Vec<Seen>>, CloudError> {
        // It stays in the queue while it is read: a tail that is stopped in the middle knows where it goes on.
        let Some(mut place) = self.places.front().cloned() else { return Ok(None) };
        tokio::time::sleep_until(place.due).await;
        let read = self.read(&mut place).await;
        let (records, more) = match read {
            Ok((records, more)) => (records, more),
            Err(error) if matches!(error.class, Class::Throttled) => {
                place.due = Instant::now() + LEAVE_ALONE;
                self.places.pop_front();
                self.places.push_back(place);
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        self.places.pop_front();
        if more {
            place.due = Instant::now() + EVERY;
            self.places.push_back(place);
        } else {
            self.behind_ms.remove(&place.shard);
            self.follow_children().await?;
        }
        if records.is_empty() && self.places.is_empty() {
            return Ok(None);
        }
        Ok(Some(records))
    }

    async fn read(&mut self, place: &mut Place) -> Result<(Vec<Seen>, bool), CloudError> {
        let action = format!("read shard {} of stream {}", place.shard, self.stream);
        self.cloud.budget().turn().await;
        let iterator = match place.iterator.take() {
            Some(iterator) => iterator,
            None => self.iterator(place, &action).await?,
        };
        self.reads += 1;
        let reply = self.cloud.kinesis.get_records().shard_iterator(&iterator).limit(PAGE).send().await;
        let page = match reply {
            Ok(page) => page,
            // Five minutes without a turn: the next read gets another one.
            Err(e) if e.as_service_error().is_some_and(GetRecordsError::is_expired_iterator_exception) => {
                return Ok((Vec::new(), true));
            }
            Err(e) => {
                place.iterator = Some(iterator);
                return Err(CloudError::of(&action, &e));
            }
        };
        let behind = page.millis_behind_latest.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default();
        self.behind_ms.insert(place.shard.clone(), behind);
        place.iterator = page.next_shard_iterator;
        if let Some(last) = page.records.last() {
            place.start = StartAt::After(SequenceNumber(last.sequence_number.clone()));
        }
        let mut seen = Vec::with_capacity(page.records.len());
        for record in page.records {
            let arrived_us = record
                .approximate_arrival_timestamp
                .map_or(0, |at| at.secs() * 1_000_000 + i64::from(at.subsec_nanos()) / 1000);
            let data = Bytes::from(record.data.into_inner());
            let whole = Seen {
                shard: place.shard.clone(),
                sequence: SequenceNumber(record.sequence_number),
                sub: None,
                arrived_us,
                partition_key: record.partition_key.unwrap_or_default(),
                bytes: data.len(),
                what: What::Other(data.clone()),
            };
            seen.extend(self.decoded(whole, data).await);
        }
        Ok((seen, place.iterator.is_some()))
    }

    async fn decoded(&mut self, whole: Seen, data: Bytes) -> Vec<Seen> {
        let records = match aggregate::unpack(&data) {
            Ok(None) => vec![(None, whole.partition_key.clone(), data)],
            Ok(Some(aggregated)) => aggregated
                .records()
                .enumerate()
                .map(|(sub, record)| (Some(sub as u64), record.partition_key.to_owned(), record.data))
                .collect(),
            Err(damage) => return vec![Seen { what: What::Aggregated(damage.to_string(), data), ..whole }],
        };
        let mut seen = Vec::with_capacity(records.len());
        for (sub, partition_key, data) in records {
            if let Ok(request) = request::parse(&data) {
                self.know(request.table()).await;
            }
            let what = What::of(&data, |table| self.schemas.get(table).cloned().flatten());
            seen.push(Seen { sub, partition_key, bytes: data.len(), what, ..whole.clone() });
        }
        seen
    }

    /// Looks a table's key up once; without it records are shown without theirs.
    async fn know(&mut self, table: &str) {
        if !self.schemas.contains_key(table) {
            let schema = inventory::table(&self.cloud, table).await.ok().map(|table| table.key);
            self.schemas.insert(table.to_owned(), schema);
        }
    }

    async fn iterator(&self, place: &Place, action: &str) -> Result<String, CloudError> {
        let request = self.cloud.kinesis.get_shard_iterator().stream_name(&self.stream).shard_id(&place.shard);
        let request = starting(request, &place.start);
        let reply = request.send().await.map_err(|e| CloudError::of(action, &e))?;
        reply
            .shard_iterator
            .ok_or_else(|| CloudError::new(Class::Transient, format!("could not {action}: no iterator"), ""))
    }

    /// A shard that was split or merged goes on in its children, from their beginning.
    async fn follow_children(&mut self) -> Result<(), CloudError> {
        if self.only.is_some() {
            return Ok(());
        }
        for shard in inventory::shards(&self.cloud, &self.stream).await? {
            let parents = [&shard.parent, &shard.adjacent_parent];
            let is_child = parents.into_iter().flatten().any(|parent| self.known.contains(parent));
            if is_child && self.places.len() < MOST_SHARDS && self.known.insert(shard.id.clone()) {
                let (start, due) = (StartAt::TrimHorizon, Instant::now());
                self.places.push_back(Place { shard: shard.id, start, iterator: None, due });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::item::{KeyAttr, KeyKind};

    fn schema(_: &str) -> Option<KeySchema> {
        Some(KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None })
    }

    fn what(bytes: &'static [u8]) -> What {
        What::of(&Bytes::from_static(bytes), schema)
    }

    #[test]
    fn a_put_request_is_shown_with_its_table_and_its_key() {
        let put = what(br#"{"TableName":"quotes","Item":{"id":{"S":"a"},"rate":{"N":"1.10"}}}"#);
        assert_eq!(put.kind(), "put");
        assert_eq!(put.line(80), "quotes  id=a");
        assert_eq!(
            put.pretty(10_000),
            [
                "put into quotes: id=a",
                "{",
                "  \"id\": {",
                "    \"S\": \"a\"",
                "  },",
                "  \"rate\": {",
                "    \"N\": \"1.10\"",
                "  }",
                "}"
            ]
        );
    }

    #[test]
    fn an_event_keeps_every_digit_and_anything_else_is_a_dump() {
        let event = what(br#"{"id":12345678901234567890123,"z":1.10,"a":[],"s":"a,b:{\"}"}"#);
        assert_eq!(event.kind(), "event");
        let lines = event.pretty(10_000);
        assert_eq!(lines[1], "  \"id\": 12345678901234567890123,");
        assert_eq!(lines[2], "  \"z\": 1.10,");
        assert_eq!(lines[3], "  \"a\": [],");
        assert_eq!(lines[4], r#"  "s": "a,b:{\"}""#);
        let other = what(b"\x1b[2Jhello, world\xff\x00");
        assert_eq!(other.kind(), "bytes");
        let dump = other.pretty(10_000);
        assert_eq!(dump[0], "00000000  1b 5b 32 4a 68 65 6c 6c 6f 2c 20 77 6f 72 6c 64  .[2Jhello, world");
        assert_eq!(dump.len(), 2);
    }

    #[test]
    fn what_is_too_long_says_how_much_is_left_out() {
        let long = Bytes::from(format!("[\"{}\"]", "x".repeat(1000)));
        let lines = What::of(&long, schema).pretty(100);
        assert_eq!(lines.last().unwrap(), "… 908 bytes more");
        let lines = What::of(&Bytes::from(vec![0; 1000]), schema).pretty(200);
        assert_eq!(lines.last().unwrap(), "… 968 bytes more");
    }

    #[test]
    fn a_json_line_keeps_the_items_bytes() {
        let data = Bytes::from_static(br#"{"TableName":"t","Item":{"id":{"S":"a"}}}"#);
        let seen = Seen {
            shard: "shardId-000000000000".into(),
            sequence: SequenceNumber("7".into()),
            sub: None,
            arrived_us: 1_520_175_584_030_400,
            partition_key: "k".into(),
            bytes: data.len(),
            what: What::of(&data, schema),
        };
        let line = seen.to_json();
        assert_eq!(line["time"], "2018-03-04T14:59:44.0304Z");
        assert_eq!(
            (&line["what"], &line["table"], &line["item"]["id"]["S"]),
            (&"put".into(), &"t".into(), &"a".into())
        );
    }

    proptest! {
        #[test]
        fn indenting_changes_nothing_but_white_space(keys in prop::collection::vec("[ -~]{0,8}", 0..6)) {
            let value = json!({ "keys": keys, "deep": [[{}, []], { "a": keys }] });
            let text = value.to_string();
            let indented = pretty(text.as_bytes());
            prop_assert_eq!(serde_json::from_str::<Value>(&indented).unwrap(), value.clone());
            prop_assert_eq!(indented, serde_json::to_string_pretty(&value).unwrap());
        }

        #[test]
        fn any_bytes_are_shown(bytes in prop::collection::vec(any::<u8>(), 0..300), most in 0_usize..400) {
            let what = What::of(&Bytes::from(bytes), schema);
            let _ = (what.line(most), what.pretty(most));
        }
    }
}
