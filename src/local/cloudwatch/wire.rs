//! How `CloudWatch` requests and replies travel: RPC v2 CBOR, which today's SDKs speak, and AWS JSON 1.0.
//!
//! Both are read into the same types: a request becomes a JSON value first, with timestamps as seconds since epoch.

use bytes::Bytes;
use ciborium::Value;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode, request};
use serde::de::DeserializeOwned;

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
    pub(super) fn of(parts: &request::Parts) -> Option<(Self, &str)> {
        if let Some(operation) = parts.uri.path().strip_prefix(RPC_PATH) {
            return Some((Self::Cbor, operation));
        }
        let target = parts.headers.get("x-amz-target")?.to_str().ok()?;
        Some((Self::Json, target.strip_prefix(JSON_TARGET)?))
    }

    /// Reads a request's body.
    pub(super) fn decode<T: DeserializeOwned>(self, parts: &request::Parts, body: &Bytes) -> Result<T, Refusal> {
        let malformed = |reason: String| Refusal::new("SerializationException", reason);
        let gzipped = parts.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
        let body = if gzipped { gunzip(body).map_err(|error| malformed(error.to_string()))? } else { body.clone() };
        let request = match self {
            _ if body.is_empty() => serde_json::Value::Object(serde_json::Map::new()),
            Self::Cbor => {
                let request: Value = ciborium::from_reader(&body[..]).map_err(|error| malformed(error.to_string()))?;
                to_json(request)
            }
            Self::Json => serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?,
        };
        serde_json::from_value(request).map_err(|error| malformed(error.to_string()))
    }

    /// The reply to a request that was carried out; no value is an empty reply.
    pub(super) fn reply(self, value: Option<Value>) -> Response<Body> {
        let body = value.map_or_else(Vec::new, |value| self.encode(value));
        self.response(StatusCode::OK, body)
    }

    /// The reply to a request that is refused.
    pub(super) fn refuse(self, refusal: &Refusal) -> Response<Body> {
        let body = self.encode(map([
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

    fn encode(self, value: Value) -> Vec<u8> {
        match self {
            Self::Cbor => {
                let mut body = Vec::new();
                ciborium::into_writer(&value, &mut body).expect("writing into memory can't fail");
                body
            }
            Self::Json => to_json(value).to_string().into_bytes(),
        }
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
        }
        reply
    }
}

fn gunzip(body: &Bytes) -> std::io::Result<Bytes> {
    let mut whole = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&body[..]), &mut whole)?;
    Ok(whole.into())
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
            let read: std::collections::HashMap<String, f64> = Wire::Cbor.decode(&parts, &body.into()).unwrap();
            assert!((read["StartTime"] - 90.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn the_operation_is_in_the_path_or_in_the_target() {
        let uri = "/service/GraniteServiceVersion20100801/operation/ListMetrics";
        let (parts, ()) = http::Request::post(uri).body(()).unwrap().into_parts();
        assert_eq!(Wire::of(&parts), Some((Wire::Cbor, "ListMetrics")));
        let target = http::Request::post("/").header("x-amz-target", "GraniteServiceVersion20100801.GetMetricData");
        let (parts, ()) = target.body(()).unwrap().into_parts();
        assert_eq!(Wire::of(&parts), Some((Wire::Json, "GetMetricData")));
    }
}
