//! How Kinesis requests and replies travel: AWS JSON 1.1, and the CBOR that Java SDKs prefer.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ferrokinesis::error::KinesisErrorResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::log::Stored;
use super::topology::sequence_number;
use crate::local::{Body, full};

/// The protocol of a request, and so of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Json,
    Cbor,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        // All but this one are the caller's.
        let own = code == "InternalFailure";
        let status = if own { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST };
        Self { status, code: code.to_owned(), message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("InvalidArgumentException", message)
    }

    /// A member that breaks its shape, as the service's front end words it.
    pub(super) fn constraint(value: &str, member: &str, constraint: &str) -> Self {
        let message = format!(
            "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: Member must \
             {constraint}"
        );
        Self::new("ValidationException", message)
    }
}

impl From<KinesisErrorResponse> for Refusal {
    fn from(error: KinesisErrorResponse) -> Self {
        Self {
            status: StatusCode::from_u16(error.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: error.body.error_type,
            message: error.body.message.unwrap_or_default(),
        }
    }
}

impl Wire {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let cbor = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-amz-cbor"));
        if cbor { Self::Cbor } else { Self::Json }
    }

    pub(super) fn decode<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, Refusal> {
        let malformed = |reason: String| Refusal::new("SerializationException", reason);
        match self {
            Self::Json => serde_json::from_slice(body).map_err(|error| malformed(error.to_string())),
            Self::Cbor => ciborium::from_reader(body).map_err(|error| malformed(error.to_string())),
        }
    }

    pub(super) fn reply<T: Serialize>(self, value: &T) -> Response<Body> {
        self.response(StatusCode::OK, value)
    }

    pub(super) fn refuse(self, refusal: &Refusal) -> Response<Body> {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(rename = "__type")]
            code: &'a str,
            message: &'a str,
        }
        let mut reply = self.response(refusal.status, &Shape { code: &refusal.code, message: &refusal.message });
        if let Ok(code) = HeaderValue::from_str(&refusal.code) {
            reply.headers_mut().insert("x-amzn-errortype", code);
        }
        reply
    }

    /// The reply of operations that have nothing to say.
    pub(super) fn empty(self) -> Response<Body> {
        let mut reply = Response::new(full(Bytes::new()));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        reply
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    pub(super) fn encode<T: Serialize>(self, value: &T) -> Vec<u8> {
        let body = match self {
            Self::Json => serde_json::to_vec(value).map_err(|error| error.to_string()),
            Self::Cbor => {
                let mut body = Vec::new();
                ciborium::into_writer(value, &mut body).map(|()| body).map_err(|error| error.to_string())
            }
        };
        body.expect("the replies' types serialise, and memory takes all bytes")
    }

    fn response<T: Serialize>(self, status: StatusCode, value: &T) -> Response<Body> {
        let mut reply = Response::new(full(self.encode(value)));
        *reply.status_mut() = status;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        reply
    }
}

/// Bytes: base64 in JSON, as they are in CBOR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Bytes);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text or bytes")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
                STANDARD.decode(text).map(|bytes| Blob(bytes.into_boxed_slice().into())).map_err(E::custom)
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }
            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Either)
        } else {
            deserializer.deserialize_byte_buf(Either)
        }
    }
}

/// A moment, ms since epoch: seconds in JSON; ms in CBOR, where the Java SDK reads them as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = |seconds: f64| Self((seconds * 1000.0).round() as u64);
        if deserializer.is_human_readable() {
            return f64::deserialize(deserializer).map(seconds);
        }
        match ciborium::Value::deserialize(deserializer)? {
            ciborium::Value::Integer(ms) => u64::try_from(ms).map(Self).map_err(D::Error::custom),
            ciborium::Value::Float(value) => Ok(seconds(value)),
            _ => Err(D::Error::custom("not a timestamp")),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_f64(self.0 as f64 / 1000.0)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordRequest {
    pub(super) stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<String>,
    pub(super) data: Option<Blob>,
    pub(super) partition_key: Option<String>,
    pub(super) explicit_hash_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordsRequest {
    pub(super) stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<String>,
    pub(super) records: Option<Vec<PutRecordsEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordsEntry {
    pub(super) data: Option<Blob>,
    pub(super) partition_key: Option<String>,
    pub(super) explicit_hash_key: Option<String>,
}

/// The stream's name: given itself, or the end of its ARN.
pub(super) fn stream_of<'a>(name: Option<&'a str>, arn: Option<&'a str>) -> Result<&'a str, Refusal> {
    let of_arn = arn.and_then(|arn| arn.rsplit_once(":stream/")).map(|(_, name)| name);
    match (name, of_arn) {
        (Some(name), Some(of_arn)) if name != of_arn => {
            Err(Refusal::invalid("StreamARN and StreamName do not name the same stream."))
        }
        (Some(name), _) => Ok(name),
        (None, Some(of_arn)) => Ok(of_arn),
        (None, None) if arn.is_some() => Err(Refusal::invalid("StreamARN is not the ARN of a stream.")),
        (None, None) => Err(Refusal::invalid("Either StreamName or StreamARN must be provided.")),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordReply {
    pub(super) shard_id: String,
    pub(super) sequence_number: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRecordsReply {
    pub(super) failed_record_count: usize,
    pub(super) records: Vec<PutRecordsResult>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum PutRecordsResult {
    #[serde(rename_all = "PascalCase")]
    Stored { sequence_number: String, shard_id: String },
    #[serde(rename_all = "PascalCase")]
    Failed { error_code: &'static str, error_message: String },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetShardIteratorRequest {
    pub(super) stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<String>,
    pub(super) shard_id: String,
    pub(super) shard_iterator_type: String,
    pub(super) starting_sequence_number: Option<String>,
    pub(super) timestamp: Option<Moment>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SubscribeToShardRequest {
    #[serde(rename = "ConsumerARN")]
    pub(super) consumer_arn: String,
    pub(super) shard_id: String,
    pub(super) starting_position: StartingPosition,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartingPosition {
    pub(super) r#type: String,
    pub(super) sequence_number: Option<String>,
    pub(super) timestamp: Option<Moment>,
}

/// What a subscription pushes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SubscribeToShardEvent {
    pub(super) records: Vec<ReadRecord>,
    /// Missing at the end of a closed shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) continuation_sequence_number: Option<String>,
    pub(super) millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) child_shards: Option<Vec<ChildShard>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecordsRequest {
    pub(super) shard_iterator: String,
    pub(super) limit: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRecordsReply {
    pub(super) records: Vec<ReadRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_shard_iterator: Option<String>,
    pub(super) millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) child_shards: Option<Vec<ChildShard>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChildShard {
    pub(super) shard_id: String,
    pub(super) parent_shards: Vec<String>,
    pub(super) hash_key_range: ferrokinesis::types::HashKeyRange,
}

/// A record as `GetRecords` gives it.
#[derive(Debug)]
pub(super) struct ReadRecord {
    pub(super) stored: Arc<Stored>,
    pub(super) shard: usize,
    /// When the shard was made, ms since epoch: part of its sequence numbers.
    pub(super) shard_created_ms: u64,
}

impl Serialize for ReadRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Base64<'a>(&'a [u8]);
        impl Serialize for Base64<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&STANDARD.encode(self.0))
                } else {
                    serializer.serialize_bytes(self.0)
                }
            }
        }
        let stored = &self.stored;
        let number = sequence_number(self.shard, self.shard_created_ms, stored.position, stored.arrival_ms);
        let mut record = serializer.serialize_struct("Record", 4)?;
        record.serialize_field("SequenceNumber", &number)?;
        record.serialize_field("ApproximateArrivalTimestamp", &Moment(stored.arrival_ms))?;
        record.serialize_field("Data", &Base64(&stored.data))?;
        record.serialize_field("PartitionKey", &stored.partition_key)?;
        record.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read() -> GetRecordsReply {
        let data = Bytes::from_static(&[0, 255]);
        let stored = Stored { position: 0, arrival_ms: 1_520_175_584_031, partition_key: "k".into(), data };
        let record = ReadRecord { stored: Arc::new(stored), shard: 0, shard_created_ms: 1_520_175_000_000 };
        GetRecordsReply {
            records: vec![record],
            next_shard_iterator: None,
            millis_behind_latest: 0,
            child_shards: None,
        }
    }

    #[test]
    fn in_json_bytes_are_base64_and_times_are_seconds_with_their_milliseconds() {
        let reply = serde_json::to_value(read()).unwrap();
        assert_eq!(reply["Records"][0]["Data"], "AP8=");
        assert_eq!(reply["Records"][0]["ApproximateArrivalTimestamp"].to_string(), "1520175584.031");
        assert!(reply.get("NextShardIterator").is_none());
        let entry: PutRecordsEntry = Wire::Json.decode(br#"{"Data":"AP8=","PartitionKey":"k"}"#).unwrap();
        assert_eq!(entry.data, Some(Blob(Bytes::from_static(&[0, 255]))));
        assert!(serde_json::from_str::<Moment>("1520175584.031").unwrap() == Moment(1_520_175_584_031));
    }

    #[test]
    fn in_cbor_bytes_are_bytes_and_times_are_milliseconds() {
        let mut body = Vec::new();
        ciborium::into_writer(&read(), &mut body).unwrap();
        let reply: ciborium::Value = ciborium::from_reader(&body[..]).unwrap();
        let text = format!("{reply:?}");
        assert!(text.contains("Bytes([0, 255])"), "{text}");
        assert!(text.contains("1520175584031"), "{text}");

        let long = vec![7; 100_000];
        let entry = ciborium::Value::Map(vec![
            (ciborium::Value::Text("Data".into()), ciborium::Value::Bytes(long.clone())),
            (ciborium::Value::Text("PartitionKey".into()), ciborium::Value::Text("k".repeat(256))),
        ]);
        let mut body = Vec::new();
        ciborium::into_writer(&entry, &mut body).unwrap();
        let entry: PutRecordsEntry = Wire::Cbor.decode(&body).unwrap();
        assert_eq!(entry.data, Some(Blob(long.into())));
        let mut body = Vec::new();
        ciborium::into_writer(&1_520_175_584_031_u64, &mut body).unwrap();
        assert_eq!(Wire::Cbor.decode::<Moment>(&body).unwrap(), Moment(1_520_175_584_031));
    }

    #[test]
    fn a_stream_is_named_or_has_an_arn() {
        let arn = Some("arn:aws:kinesis:us-east-1:000000000000:stream/s");
        assert_eq!(stream_of(None, arn), Ok("s"));
        assert_eq!(stream_of(Some("s"), arn), Ok("s"));
        assert!(stream_of(Some("t"), arn).is_err());
        assert!(stream_of(None, None).is_err());
    }
}
