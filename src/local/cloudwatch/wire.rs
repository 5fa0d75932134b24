//! How `CloudWatch` requests and replies travel: RPC v2 CBOR, which today's SDKs speak, AWS JSON 1.0, and the query
//! protocol of older ones.
//!
//! All are read into the same types: a request becomes a JSON value first, with timestamps as seconds since epoch.

use std::borrow::Cow;
use std::io::Read;

use ciborium::Value;
use flate2::read::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode, request};
use serde::de::DeserializeOwned;

use super::query;
use crate::local::{Body, full};

/// CBOR's tag for "seconds since epoch" (RFC 8949, 3.4.2).
const EPOCH: u64 = 1;
/// Path of RPC v2 requests, before the operation's name.
const RPC_PATH: &str = "/service/GraniteServiceVersion20100801/operation/";
/// Target of JSON requests, before the operation's name.
const JSON_TARGET: &str = "GraniteServiceVersion20100801.";

/// The protocol of a request, and so of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Cbor,
    Json,
    Query,
}

/// Why a request is refused: `CloudWatch`'s error code and message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The exception's name where it differs from the code that the query protocol knew.
    fn exception(&self) -> &'static str {
        match self.code {
            "InvalidParameterValue" => "InvalidParameterValueException",
            "InvalidParameterCombination" => "InvalidParameterCombinationException",
            "MissingParameter" => "MissingRequiredParameterException",
            code => code,
        }
    }
}

impl Wire {
    /// The protocol and the operation of a request.
    pub(super) fn of(parts: &request::Parts, body: &[u8]) -> Option<(Self, String)> {
        if let Some(operation) = parts.uri.path().strip_prefix(RPC_PATH) {
            return Some((Self::Cbor, operation.to_owned()));
        }
        if let Some(target) = parts.headers.get("x-amz-target") {
            return Some((Self::Json, target.to_str().ok()?.strip_prefix(JSON_TARGET)?.to_owned()));
        }
        let body = unpacked(parts, body).ok()?;
        Some((Self::Query, query::action(&body)?))
    }

    /// Reads a request's body.
    pub(super) fn decode<T: DeserializeOwned>(self, parts: &request::Parts, body: &[u8]) -> Result<T, Refusal> {
        let malformed = |reason: String| Refusal::new("SerializationException", reason);
        let body = unpacked(parts, body).map_err(|error| malformed(error.to_string()))?;
        let request = match self {
            _ if body.is_empty() => serde_json::Value::Object(serde_json::Map::new()),
            Self::Cbor => {
                let request: Value = ciborium::from_reader(&body[..]).map_err(|error| malformed(error.to_string()))?;
                to_json(request)
            }
            Self::Json => serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?,
            Self::Query => query::decode(&body),
        };
        serde_json::from_value(request).map_err(|error| malformed(error.to_string()))
    }

    /// The reply to an operation that was carried out; no value is an empty reply.
    pub(super) fn reply(self, operation: &str, value: Option<&Value>) -> Response<Body> {
        let body = match self {
            Self::Query => query::encode(operation, value),
            _ => value.map_or_else(Vec::new, |value| self.encode(value)),
        };
        self.response(StatusCode::OK, body)
    }

    /// The reply to a request that is refused.
    pub(super) fn refuse(self, refusal: &Refusal) -> Response<Body> {
        if self == Self::Query {
            return self.response(StatusCode::BAD_REQUEST, query::encode_refusal(refusal.code, &refusal.message));
        }
        let body = self.encode(&map([
            ("__type", text(format!("com.amazonaws.cloudwatch#{}", refusal.exception()))),
            ("message", text(refusal.message.as_str())),
        ]));
        let mut reply = self.response(StatusCode::BAD_REQUEST, body);
        // SDKs whose service once spoke the query protocol take the code from here.
        if let Ok(code) = HeaderValue::from_str(&format!("{};Sender", refusal.code)) {
            reply.headers_mut().insert("x-amzn-query-error", code);
        }
        reply
    }

    fn encode(self, value: &Value) -> Vec<u8> {
        if self == Self::Json {
            return to_json(value.clone()).to_string().into_bytes();
        }
        let mut body = Vec::new();
        ciborium::into_writer(value, &mut body).expect("writing into memory can't fail");
        body
    }

    fn response(self, status: StatusCode, body: Vec<u8>) -> Response<Body> {
        let mut reply = Response::new(full(body));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        match self {
            Self::Cbor => {
                headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
            }
            Self::Json => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
            }
            Self::Query => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
            }
        }
        reply
    }
}

/// A request's body as it was before the SDK compressed it, which it does with long ones.
fn unpacked<'a>(parts: &request::Parts, body: &'a [u8]) -> std::io::Result<Cow<'a, [u8]>> {
    if parts.headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding != "gzip") {
        return Ok(Cow::Borrowed(body));
    }
    let mut whole = Vec::new();
    MultiGzDecoder::new(body).read_to_end(&mut whole)?;
    Ok(Cow::Owned(whole))
}

/// A text value.
pub(super) fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

/// A map with these members.
pub(super) fn map<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(members.into_iter().map(|(name, value)| (text(name), value)).collect())
}

/// A timestamp, from ms since epoch.
pub(super) fn timestamp(ms: i64) -> Value {
    Value::Tag(EPOCH, Box::new(Value::Float(ms as f64 / 1000.0)))
}

fn to_json(value: Value) -> serde_json::Value {
    match value {
        Value::Integer(number) => i64::try_from(number).map_or(serde_json::Value::Null, Into::into),
        Value::Float(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::Bool(flag) => flag.into(),
        Value::Tag(_, inner) => to_json(*inner),
        Value::Array(members) => members.into_iter().map(to_json).collect(),
        Value::Map(members) => members
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_text().ok()?, to_json(value))))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        // No CloudWatch call that is served here has binary members.
        _ => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tagged_timestamp_is_read_as_seconds_whether_it_is_an_integer_or_a_float() {
        let (parts, ()) = http::Request::new(()).into_parts();
        for number in [Value::Integer(90.into()), Value::Float(90.0)] {
            let mut body = Vec::new();
            let request = Value::Map(vec![(text("StartTime"), Value::Tag(EPOCH, Box::new(number)))]);
            ciborium::into_writer(&request, &mut body).unwrap();
            let read: std::collections::HashMap<String, f64> = Wire::Cbor.decode(&parts, &body).unwrap();
            assert!((read["StartTime"] - 90.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn the_operation_is_in_the_path_or_in_the_target_or_in_the_form() {
        let uri = "/service/GraniteServiceVersion20100801/operation/ListMetrics";
        let (parts, ()) = http::Request::post(uri).body(()).unwrap().into_parts();
        assert_eq!(Wire::of(&parts, b""), Some((Wire::Cbor, "ListMetrics".to_owned())));
        let target = http::Request::post("/").header("x-amz-target", "GraniteServiceVersion20100801.GetMetricData");
        let (parts, ()) = target.body(()).unwrap().into_parts();
        assert_eq!(Wire::of(&parts, b""), Some((Wire::Json, "GetMetricData".to_owned())));
        let (parts, ()) = http::Request::post("/").body(()).unwrap().into_parts();
        assert_eq!(Wire::of(&parts, b"Version=1&Action=A"), Some((Wire::Query, "A".to_owned())));
        assert_eq!(Wire::of(&parts, b"hello"), None);
    }
}
