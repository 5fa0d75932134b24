//! `track`: requests of a function's URL, an HTTP API or a load balancer become records of a stream.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_sdk_kinesis::primitives::Blob;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::{Cloud, CloudError};
use crate::event::track::{self, PIXEL, Refused, Reply, Wanted};

/// A request, whoever brought it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
// The names are Lambda's.
#[allow(clippy::struct_field_names)]
struct Request<'a> {
    // Function URLs and HTTP APIs, payload format 2.0.
    #[serde(borrow, default)]
    raw_path: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    raw_query_string: Option<Cow<'a, str>>,
    // Load balancers, and REST APIs.
    #[serde(borrow, default)]
    http_method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    path: Option<Cow<'a, str>>,
    #[serde(default)]
    query_string_parameters: Option<serde_json::Map<String, Value>>,
    #[serde(default)]
    multi_value_query_string_parameters: Option<BTreeMap<String, Vec<String>>>,
    #[serde(borrow, default)]
    request_context: Option<Around<'a>>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
struct Around<'a> {
    #[serde(borrow, default)]
    http: Option<Http<'a>>,
    #[serde(default)]
    elb: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

impl Request<'_> {
    fn method(&self) -> Option<&str> {
        let http = self.request_context.as_ref().and_then(|around| around.http.as_ref());
        http.map(|http| &*http.method).or(self.http_method.as_deref())
    }

    fn path(&self) -> Option<&str> {
        self.raw_path.as_deref().or(self.path.as_deref())
    }

    fn query(&self) -> String {
        if let Some(raw) = &self.raw_query_string {
            return raw.clone().into_owned();
        }
        // A load balancer hands names and values over as they were sent, a REST API decoded.
        let as_sent = self.request_context.as_ref().is_some_and(|around| around.elb.is_some());
        let spelt = |text: &str| if as_sent { text.to_owned() } else { encoded(text) };
        let mut pairs = Vec::new();
        if let Some(many) = &self.multi_value_query_string_parameters {
            for (name, values) in many {
                pairs.extend(values.iter().map(|value| format!("{}={}", spelt(name), spelt(value))));
            }
        } else if let Some(one) = &self.query_string_parameters {
            let pair = |(name, value): (&String, &Value)| {
                format!("{}={}", spelt(name), spelt(value.as_str().unwrap_or_default()))
            };
            pairs.extend(one.iter().map(pair));
        }
        pairs.join("&")
    }

    fn body(&self) -> Result<Bytes, Refused> {
        let text = self.body.as_deref().unwrap_or_default();
        if !self.is_base64_encoded {
            return Ok(Bytes::copy_from_slice(text.as_bytes()));
        }
        BASE64_STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|_| Refused { status: 400, words: "no base64".to_owned() })
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn answer(status: u16, kind: &str, body: &[u8], more: &[(&str, &str)]) -> Value {
    let mut headers = json!({ "content-type": kind, "cache-control": "no-store" });
    for (name, value) in more {
        headers[*name] = Value::from(*value);
    }
    json!({ "statusCode": status, "headers": headers, "body": BASE64_STANDARD.encode(body), "isBase64Encoded": true })
}

fn told(status: u16, words: &str, more: &[(&str, &str)]) -> Value {
    answer(status, "text/plain; charset=utf-8", format!("{words}\n").as_bytes(), more)
}

/// The stream did not take a record.
pub(super) fn unavailable() -> (u16, Value) {
    (503, told(503, "the stream did not take it: try again", &[("retry-after", "1")]))
}

/// Answers `event`: 200 only once `stream` has the record.
///
/// # Errors
/// It is no request.
pub(super) async fn handle(cloud: &Cloud, stream: &str, event: &Bytes) -> Result<(u16, Value), String> {
    let request: Request =
        serde_json::from_slice(event).map_err(|error| format!("this is no HTTP request: {error}"))?;
    let (Some(method), Some(path)) = (request.method(), request.path()) else {
        return Err("this is no HTTP request: it has no method or no path".to_owned());
    };
    let query = request.query();
    let wanted = request.body().and_then(|body| track::wanted(method, path, Some(&query), body));
    let answered = match wanted {
        Err(Refused { status, words }) => (status, told(status, &words, &[])),
        Ok(Wanted::Health) => (200, told(200, "ok", &[])),
        Ok(Wanted::Put(record, reply)) => match put(cloud, stream, record).await {
            Ok((shard, sequence)) => {
                let number = [("x-sequencenumber", sequence.as_str())];
                let value = match reply {
                    Reply::Pixel => answer(200, "image/gif", PIXEL, &number),
                    Reply::Json => answer(200, "application/json", track::kept(&shard, &sequence).as_bytes(), &number),
                };
                (200, value)
            }
            Err(error) => {
                tracing::error!(class = ?error.class, "{error}");
                unavailable()
            }
        },
    };
    Ok(answered)
}

async fn put(cloud: &Cloud, stream: &str, record: track::Record) -> Result<(String, String), CloudError> {
    let sent = cloud
        .kinesis
        .put_record()
        .stream_name(stream)
        .partition_key(record.partition_key)
        .data(Blob::new(record.data))
        .send()
        .await
        .map_err(|error| CloudError::of(&format!("put an event onto stream {stream}"), &error))?;
    Ok((sent.shard_id, sent.sequence_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &Value) -> (String, String, String, Bytes) {
        let text = event.to_string();
        let request: Request = serde_json::from_str(&text).unwrap();
        let text = |text: Option<&str>| text.unwrap().to_owned();
        (text(request.method()), text(request.path()), request.query(), request.body().unwrap())
    }

    #[test]
    fn function_urls_load_balancers_and_rest_apis_say_the_same() {
        let url = json!({"version": "2.0", "rawPath": "/events", "rawQueryString": "a=b%20c", "isBase64Encoded": true,
            "body": "e30=", "requestContext": {"http": {"method": "POST", "path": "/events"}}});
        let balancer = json!({"requestContext": {"elb": {"targetGroupArn": "x"}}, "httpMethod": "POST", "path": "/events",
            "queryStringParameters": {"a": "b%20c"}, "body": "{}", "isBase64Encoded": false});
        let rest = json!({"httpMethod": "POST", "path": "/events", "multiValueQueryStringParameters": {"a": ["b c"]},
            "queryStringParameters": {"a": "b c"}, "body": "{}", "requestContext": {}});
        for event in [url, balancer, rest] {
            let wanted = ("POST".to_owned(), "/events".to_owned(), "a=b%20c".to_owned(), Bytes::from_static(b"{}"));
            assert_eq!(read(&event), wanted, "{event}");
        }
    }
}
