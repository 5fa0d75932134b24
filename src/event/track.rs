//! What an HTTP request to the tracker asks for: the record that it becomes, and how it is answered.
//!
//! `GET /track.gif?name=value&…` becomes the JSON of its query; `POST /events` and `POST /claps/create` become their body,
//! byte for byte. Knows nothing of servers: `sluice track` and Lambda hand it method, path, query and body.

use bytes::Bytes;
use rand::RngExt as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// The answer to a pixel: a transparent GIF of 1×1 (FORMATS.md 5).
pub const PIXEL: &[u8] = &[
    0x47, 0x49, 0x46, 0x38, 0x39, 0x61, 0x01, 0x00, 0x01, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
    0x21, 0xf9, 0x04, 0x01, 0x00, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x02,
    0x01, 0x44, 0x00, 0x3b,
];

/// Bytes of the largest event, its partition key included: Kinesis takes records of 1 MiB.
pub const LARGEST: usize = 1 << 20;

/// The longest partition key, characters ("`PutRecords`" of the Kinesis API reference).
const LONGEST_KEY: usize = 256;

/// A record for the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its bytes.
    pub data: Bytes,
    /// Its partition key: the event's `EntityId` where it has one, else a random UUID.
    pub partition_key: String,
}

/// How a record is answered once the stream has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// With the pixel.
    Pixel,
    /// With its sequence number as JSON.
    Json,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Put this onto the stream, then answer so.
    Put(Record, Reply),
    /// Say whether the tracker works.
    Health,
}

/// A request that is answered with an error of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with it.
    pub words: String,
}

fn refused<T>(status: u16, words: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { status, words: words.into() })
}

/// True when requests to `path` carry a body that matters.
pub fn takes_body(path: &str) -> bool {
    matches!(path, "/events" | "/claps/create")
}

/// What a request asks for.
///
/// # Errors
/// It can't be answered with anything but an error of 400 to 499.
pub fn wanted(method: &str, path: &str, query: Option<&str>, body: Bytes) -> Result<Wanted, Refused> {
    match (method, path) {
        ("GET" | "HEAD", "/healthz") => Ok(Wanted::Health),
        ("GET", "/track.gif") => {
            let data = of_query(query.unwrap_or_default());
            Ok(Wanted::Put(record(data)?, Reply::Pixel))
        }
        ("POST", "/events" | "/claps/create") => Ok(Wanted::Put(record(body)?, Reply::Json)),
        (_, "/healthz" | "/track.gif") => refused(405, "GET it"),
        (_, "/events" | "/claps/create") => refused(405, "POST to it"),
        _ => refused(404, "there are GET /track.gif, POST /events, POST /claps/create and GET /healthz"),
    }
}

/// The record of an event: a JSON object or array, as it is.
fn record(data: Bytes) -> Result<Record, Refused> {
    let first = data.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(first, Some(b'{' | b'[')) {
        return refused(400, "an event is a JSON object or array");
    }
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(&data) {
        return refused(400, format!("the event is no JSON: {error}"));
    }
    let partition_key = entity_of(&data).unwrap_or_else(uuid);
    if data.len() + partition_key.len() > LARGEST {
        return refused(413, format!("an event may have {LARGEST} bytes, its partition key included"));
    }
    Ok(Record { data, partition_key })
}

/// The `EntityId` of an event, where it is a string that may be a partition key.
fn entity_of(data: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Entity {
        #[serde(rename = "EntityId", default)]
        entity: Option<Value>,
    }
    // An array reads as a struct too, by position.
    if data.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let entity = serde_json::from_slice::<Entity>(data).ok()?.entity?;
    entity.as_str().filter(|id| (1..=LONGEST_KEY).contains(&id.chars().count())).map(str::to_owned)
}

/// A random UUID, version 4.
pub fn uuid() -> String {
    let bits: u128 = rand::rng().random();
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The JSON of a query: its names in their order, each with its text; a name that comes again makes a list.
fn of_query(query: &str) -> Bytes {
    let mut pairs: Vec<(String, Vec<String>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name), decoded(value));
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => pairs.push((name, vec![value])),
        }
    }
    let parts: Vec<String> = pairs
        .into_iter()
        .map(|(name, mut values)| {
            let value = if values.len() == 1 { Value::from(values.remove(0)) } else { Value::from(values) };
            format!("{}:{value}", Value::from(name))
        })
        .collect();
    Bytes::from(format!("{{{}}}", parts.join(",")))
}

/// A name or value of a query; what is no UTF-8 is replaced.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        rest = if escaped.is_some() { &after[2..] } else { after };
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The original's made-up event: a member claps for a post.
pub fn clap(at: jiff::Timestamp) -> Record {
    let (member, post): (u8, u8) = (rand::rng().random(), rand::rng().random());
    let entity = format!("Claps-{member:02x}-{post:02x}");
    let data = format!(
        r#"{{"MessageType":"Claps","MemberId":"{member:02x}","PostId":"{post:02x}","EntityId":"{entity}","@timestamp":"{at:.3}"}}"#
    );
    Record { data: Bytes::from(data), partition_key: entity }
}

/// The record of an event whose bytes are given, whatever they are.
pub fn record_of(data: Bytes) -> Record {
    let partition_key = entity_of(&data).unwrap_or_else(uuid);
    Record { data, partition_key }
}

/// What a put record is answered with, as JSON.
pub fn kept(shard: &str, sequence: &str) -> String {
    let mut reply = Map::new();
    reply.insert("SequenceNumber".to_owned(), sequence.into());
    reply.insert("ShardId".to_owned(), shard.into());
    Value::Object(reply).to_string()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    fn put(method: &str, path: &str, query: Option<&str>, body: &'static str) -> Result<(Record, Reply), Refused> {
        match wanted(method, path, query, Bytes::from_static(body.as_bytes()))? {
            Wanted::Put(record, reply) => Ok((record, reply)),
            Wanted::Health => panic!("it asks for health"),
        }
    }

    #[test]
    fn the_pixel_is_the_originals() {
        let original = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
        assert_eq!(base64::engine::general_purpose::STANDARD.encode(PIXEL), original);
    }

    #[test]
    fn a_query_becomes_an_object_in_its_order() {
        let (record, reply) =
            put("GET", "/track.gif", Some("z=1.10&a=b+c%26d&z=2&empty=&flag&%e2%82%ac=%zz"), "").unwrap();
        assert_eq!(&record.data[..], r#"{"z":["1.10","2"],"a":"b c&d","empty":"","flag":"","€":"%zz"}"#.as_bytes());
        assert_eq!(reply, Reply::Pixel);
        assert_eq!(&put("GET", "/track.gif", None, "").unwrap().0.data[..], b"{}");
    }

    #[test]
    fn a_body_is_kept_byte_for_byte_and_keyed_by_its_entity() {
        let body = " {\"id\":12345678901234567890,\"z\":1.10, \"EntityId\":\"Claps-1-2\"}\n";
        let (record, reply) = put("POST", "/events", None, body).unwrap();
        assert_eq!((&record.data[..], record.partition_key.as_str()), (body.as_bytes(), "Claps-1-2"));
        assert_eq!(reply, Reply::Json);
        let (record, _) = put("POST", "/claps/create", None, r#"[{"EntityId":"x"}]"#).unwrap();
        assert_eq!(record.partition_key.len(), 36);
        assert_eq!(&record.partition_key[14..15], "4");
        assert!(put("POST", "/events", None, r#"{"EntityId":""}"#).unwrap().0.partition_key.len() == 36);
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_reason() {
        let status = |method, path, body| put(method, path, None, body).unwrap_err().status;
        for body in ["", "x", "1", "\"x\"", "null", "{", "{}{}", r#"{"a":}"#] {
            assert_eq!(status("POST", "/events", body), 400, "{body:?}");
        }
        assert_eq!(status("GET", "/events", ""), 405);
        assert_eq!(status("POST", "/track.gif", ""), 405);
        assert_eq!(status("GET", "/", ""), 404);
        let large = Bytes::from(format!("[\"{}\"]", "x".repeat(LARGEST)));
        assert_eq!(wanted("POST", "/events", None, large).unwrap_err().status, 413);
    }

    #[test]
    fn a_clap_is_keyed_by_its_entity() {
        let record = clap("2018-03-04T14:59:44.031Z".parse().unwrap());
        let event: Value = serde_json::from_slice(&record.data).unwrap();
        assert_eq!(event["EntityId"], record.partition_key.as_str());
        assert_eq!(event["@timestamp"], "2018-03-04T14:59:44.031Z");
        assert_eq!(event["MemberId"].as_str().unwrap().len(), 2);
    }
}
