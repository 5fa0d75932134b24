//! A record that was looked at: what it is, in one line, on several, and as JSON.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::flow::SequenceNumber;
use crate::item::legible::{as_json, hex, hex_lines, set_out};
use crate::item::{KeySchema, request};

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
    /// It, whole.
    pub data: Bytes,
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
            Err(_) if is_container(bytes) => Self::Event(bytes.clone()),
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
            let text = set_out(bytes);
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
            "bytes": self.data.len(), "what": self.what.kind(),
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

/// Whether these are a JSON object or array: a number alone may be anything.
fn is_container(bytes: &[u8]) -> bool {
    as_json(bytes).is_some_and(|json| json.trim_start().starts_with(['{', '[']))
}

fn left_out(text: &str, most: usize) -> String {
    let at = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n… {} bytes more", &text[..at], text.len() - at)
}

/// The beginning of `bytes` in hex, about `most` characters of it.
fn dump(bytes: &[u8], most: usize) -> Vec<String> {
    // A line of sixteen bytes takes seventy-six.
    let shown = &bytes[..bytes.len().min(most / 76 * 16)];
    let mut lines: Vec<String> = hex_lines(shown).collect();
    if shown.len() < bytes.len() {
        lines.push(format!("… {} bytes more", bytes.len() - shown.len()));
    }
    lines
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
            data: data.clone(),
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
        fn any_bytes_are_shown(bytes in prop::collection::vec(any::<u8>(), 0..300), most in 0_usize..400) {
            let what = What::of(&Bytes::from(bytes), schema);
            let _ = (what.line(most), what.pretty(most));
        }
    }
}
