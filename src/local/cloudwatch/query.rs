//! The query protocol, which SDKs and AWS CLIs spoke to `CloudWatch` until 2025: a form in, XML out.

use std::fmt::Write;

use ciborium::Value;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use crate::local::s3::percent_decoded;

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";
/// There is nothing to look a request up by, so all have this ID.
const REQUEST_ID: &str = "00000000-0000-0000-0000-000000000000";

/// The operation that a form asks for.
pub(super) fn action(form: &[u8]) -> Option<String> {
    pairs(form).find(|(name, _)| name == "Action").map(|(_, value)| value)
}

/// A form as the value that the other protocols would have sent: `A.member.1.B=c` becomes `{"A":[{"B":"c"}]}`.
pub(super) fn decode(form: &[u8]) -> Json {
    let mut whole = Json::Object(Map::new());
    for (name, value) in pairs(form) {
        let path: Vec<&str> = name.split('.').collect();
        insert(&mut whole, &path, typed(&path, value));
    }
    whole
}

fn pairs(form: &[u8]) -> impl Iterator<Item = (String, String)> {
    form.split(|byte| *byte == b'&').filter_map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?.replace('+', " ");
        let (name, value) = pair.split_once('=')?;
        Some((percent_decoded(name)?, percent_decoded(value)?))
    })
}

fn insert(at: &mut Json, path: &[&str], value: Json) {
    match path {
        [] => *at = value,
        ["member", index, rest @ ..] => {
            let Ok(index @ 1..=10_000) = index.parse::<usize>() else { return };
            if !at.is_array() {
                *at = Json::Array(Vec::new());
            }
            if let Json::Array(members) = at {
                if members.len() < index {
                    members.resize(index, Json::Object(Map::new()));
                }
                insert(&mut members[index - 1], rest, value);
            }
        }
        [name, rest @ ..] => {
            if let Json::Object(members) = at {
                insert(members.entry(*name).or_insert_with(|| Json::Object(Map::new())), rest, value);
            }
        }
    }
}

/// A form knows only text: what a member is, its name tells.
fn typed(path: &[&str], text: String) -> Json {
    let name = path.iter().rfind(|part| **part != "member" && part.parse::<u32>().is_err()).copied();
    let in_dimension = path.contains(&"Dimensions");
    let typed = match name.unwrap_or_default() {
        "Timestamp" | "StartTime" | "EndTime" => {
            text.parse::<Timestamp>().ok().map(|at| Json::from(at.as_millisecond() as f64 / 1000.0))
        }
        "Period" => text.parse::<i64>().ok().map(Json::from),
        "Value" if in_dimension => None,
        "Value" | "Values" | "Counts" | "SampleCount" | "Sum" | "Minimum" | "Maximum" => {
            text.parse::<f64>().ok().map(Json::from)
        }
        "ReturnData" => text.parse::<bool>().ok().map(Json::from),
        _ => None,
    };
    typed.unwrap_or(Json::String(text))
}

/// The reply to `operation`.
pub(super) fn encode(operation: &str, value: Option<&Value>) -> Vec<u8> {
    let mut xml = format!("<{operation}Response xmlns=\"{NAMESPACE}\">");
    if let Some(value) = value {
        element(&mut xml, &format!("{operation}Result"), value);
    }
    let _ =
        write!(xml, "<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></{operation}Response>");
    xml.into_bytes()
}

/// The reply to a request that is refused.
pub(super) fn encode_refusal(code: &str, message: &str) -> Vec<u8> {
    let mut xml = format!("<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>");
    element(&mut xml, "Message", &Value::Text(message.to_owned()));
    let _ = write!(xml, "</Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>");
    xml.into_bytes()
}

// Writing into a string can't fail.
fn element(xml: &mut String, name: &str, value: &Value) {
    let _ = write!(xml, "<{name}>");
    match value {
        Value::Text(text) => xml.push_str(&text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")),
        Value::Float(number) => {
            let _ = write!(xml, "{number}");
        }
        Value::Tag(_, seconds) => {
            let ms = seconds.as_float().map_or(0, |seconds| (seconds * 1000.0).round() as i64);
            let at = Timestamp::from_millisecond(ms).unwrap_or_default();
            let _ = write!(xml, "{at}");
        }
        Value::Array(members) => members.iter().for_each(|member| element(xml, "member", member)),
        Value::Map(members) => {
            for (name, value) in members {
                element(xml, name.as_text().unwrap_or_default(), value);
            }
        }
        // Replies hold nothing else.
        _ => {}
    }
    let _ = write!(xml, "</{name}>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_the_value_that_other_protocols_send() {
        let form = b"Action=GetMetricData&Version=2010-08-01&StartTime=1970-01-01T00%3A01%3A00Z\
            &MetricDataQueries.member.1.Id=a&MetricDataQueries.member.1.MetricStat.Period=60\
            &MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.1.Value=12\
            &MetricDataQueries.member.2.Id=b+c";
        assert_eq!(action(form).as_deref(), Some("GetMetricData"));
        let read = decode(form);
        assert_eq!(read["StartTime"], 60.0);
        let query = &read["MetricDataQueries"][0];
        assert_eq!(query["MetricStat"]["Period"], 60);
        assert_eq!(query["MetricStat"]["Metric"]["Dimensions"][0]["Value"], "12");
        assert_eq!(read["MetricDataQueries"][1]["Id"], "b c");
        assert_eq!(decode(b"MetricData.member.1.Values.member.2=1.5")["MetricData"][0]["Values"][1], 1.5);
    }

    #[test]
    fn a_reply_is_xml_with_times_as_text_and_lists_as_members() {
        let member = |name: &str, value| (Value::Text(name.into()), value);
        let value = Value::Map(vec![
            member("At", Value::Tag(1, Box::new(Value::Float(60.5)))),
            member("List", Value::Array(vec![Value::Float(2.0), Value::Text("<&>".into())])),
        ]);
        let xml = String::from_utf8(encode("Op", Some(&value))).unwrap();
        assert!(xml.contains(
            "<OpResult><At>1970-01-01T00:01:00.5Z</At><List><member>2</member><member>&lt;&amp;&gt;</member></List>"
        ));
    }
}
