//! Lambda, as far as event source mappings go: a list in memory that can be made, listed, read, changed and deleted.
//! Nothing runs behind them.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use serde_json::{Map, Value, json};

use super::s3::percent_decoded;
use super::{Body, full};

/// Where the calls live.
const PATH: &str = "/2015-03-31/event-source-mappings";
/// Mappings that one page lists at most (Lambda API reference, `ListEventSourceMappings`).
const PAGE: usize = 100;

/// True for a path that is Lambda's.
pub fn is_meant(path: &str) -> bool {
    path == PATH || path.strip_prefix(PATH).is_some_and(|rest| rest.starts_with('/'))
}

/// The IAM action of a request.
pub fn action(method: &Method, path: &str) -> &'static str {
    match (method.as_str(), uuid_of(path).is_empty()) {
        ("GET", true) => "lambda:ListEventSourceMappings",
        ("GET", false) => "lambda:GetEventSourceMapping",
        ("POST", _) => "lambda:CreateEventSourceMapping",
        ("DELETE", _) => "lambda:DeleteEventSourceMapping",
        _ => "lambda:UpdateEventSourceMapping",
    }
}

fn uuid_of(path: &str) -> &str {
    path.strip_prefix(PATH).unwrap_or_default().trim_matches('/')
}

/// Event source mappings in memory.
#[derive(Debug, Default)]
pub struct Lambda {
    mappings: Mutex<Vec<Map<String, Value>>>,
}

impl Lambda {
    /// Answers one request.
    pub fn answer(&self, method: &Method, uri: &Uri, body: &[u8]) -> Response<Body> {
        let mut mappings = self.mappings.lock().unwrap_or_else(PoisonError::into_inner);
        let uuid = uuid_of(uri.path());
        let asked: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        match (method.as_str(), uuid) {
            ("GET", "") => list(&mappings, uri),
            ("POST", "") => match created(&asked) {
                Ok(mapping) => {
                    let reply = in_state(&mapping, "Creating");
                    mappings.push(mapping);
                    json_reply(StatusCode::ACCEPTED, &reply)
                }
                Err(message) => refuse(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &message),
            },
            (_, uuid) => {
                let Some(at) = mappings.iter().position(|mapping| mapping["UUID"] == uuid) else {
                    let message = "The resource you requested does not exist.";
                    return refuse(StatusCode::NOT_FOUND, "ResourceNotFoundException", message);
                };
                match method.as_str() {
                    "GET" => json_reply(StatusCode::OK, &Value::Object(mappings[at].clone())),
                    "DELETE" => json_reply(StatusCode::ACCEPTED, &in_state(&mappings.remove(at), "Deleting")),
                    _ => json_reply(StatusCode::ACCEPTED, &changed(&mut mappings[at], &asked)),
                }
            }
        }
    }
}

fn list(mappings: &[Map<String, Value>], uri: &Uri) -> Response<Body> {
    let asked = |name: &str| {
        let pairs = uri.query().unwrap_or_default().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(n, _)| *n == name).and_then(|(_, v)| percent_decoded(v))
    };
    let (source, function) = (asked("EventSourceArn"), asked("FunctionName"));
    let most = asked("MaxItems").and_then(|n| n.parse().ok()).unwrap_or(PAGE).clamp(1, PAGE);
    let from = asked("Marker").and_then(|n| n.parse().ok()).unwrap_or(0_usize);
    let is_function = |arn: &str, name: &str| arn == name || arn.ends_with(&format!(":function:{name}"));
    let meant: Vec<&Map<String, Value>> = mappings
        .iter()
        .filter(|m| source.as_ref().is_none_or(|arn| m["EventSourceArn"] == **arn))
        .filter(|m| function.as_ref().is_none_or(|f| is_function(m["FunctionArn"].as_str().unwrap_or_default(), f)))
        .collect();
    let page: Vec<_> = meant.iter().skip(from).take(most).collect();
    let mut reply = json!({ "EventSourceMappings": page });
    if from + page.len() < meant.len() {
        reply["NextMarker"] = (from + page.len()).to_string().into();
    }
    json_reply(StatusCode::OK, &reply)
}

fn created(asked: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let text = |name: &str| asked.get(name).and_then(Value::as_str).unwrap_or_default();
    let (function, source) = (text("FunctionName"), text("EventSourceArn"));
    if function.is_empty() || !source.starts_with("arn:") {
        return Err("FunctionName and EventSourceArn are needed.".to_owned());
    }
    let function = if function.starts_with("arn:") {
        function.to_owned()
    } else {
        format!("arn:aws:lambda:us-east-1:000000000000:function:{function}")
    };
    let uuid = format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        rand::random::<u32>(),
        rand::random::<u16>(),
        rand::random::<u16>() & 0xfff,
        rand::random::<u16>() & 0xfff,
        rand::random::<u64>() >> 16
    );
    let mut mapping = asked.clone();
    mapping.remove("FunctionName");
    let is_enabled = mapping.remove("Enabled").is_none_or(|enabled| enabled == true);
    // The defaults for Kinesis (Lambda API reference, CreateEventSourceMapping).
    mapping.entry("BatchSize").or_insert(100.into());
    mapping.entry("ParallelizationFactor").or_insert(1.into());
    mapping.insert("UUID".into(), uuid.into());
    mapping.insert("FunctionArn".into(), function.into());
    mapping.insert("LastProcessingResult".into(), "No records processed".into());
    set_state(&mut mapping, is_enabled);
    Ok(mapping)
}

/// Applies a change; what it replies is on its way, what is read next is there.
fn changed(mapping: &mut Map<String, Value>, asked: &Map<String, Value>) -> Value {
    for (name, value) in asked.iter().filter(|(name, _)| !matches!(name.as_str(), "Enabled" | "UUID")) {
        mapping.insert(name.clone(), value.clone());
    }
    match asked.get("Enabled").and_then(Value::as_bool) {
        Some(enabled) => {
            set_state(mapping, enabled);
            in_state(mapping, if enabled { "Enabling" } else { "Disabling" })
        }
        None => in_state(mapping, "Updating"),
    }
}

fn set_state(mapping: &mut Map<String, Value>, is_enabled: bool) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    mapping.insert("State".into(), if is_enabled { "Enabled" } else { "Disabled" }.into());
    mapping.insert("StateTransitionReason".into(), "User action".into());
    mapping.insert("LastModified".into(), now.into());
}

fn in_state(mapping: &Map<String, Value>, state: &str) -> Value {
    let mut reply = mapping.clone();
    reply.insert("State".into(), state.into());
    Value::Object(reply)
}

fn json_reply(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(status: StatusCode, code: &'static str, message: &str) -> Response<Body> {
    let mut response = json_reply(status, &json!({ "Type": "User", "Message": message, "message": message }));
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(code));
    response
}
