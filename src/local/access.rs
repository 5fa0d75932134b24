//! Who may do what here: the IAM action that each request needs, those that are denied on demand, and those that were
//! asked for so far.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use serde_json::Value;

use super::{Body, full};

/// Whom STS names here: a role with a path, as single sign-on makes them. Its session ARN leaves the path out.
pub const SESSION_ARN: &str = "arn:aws:sts::000000000000:assumed-role/local/sluice";
/// The same role, as IAM knows it.
pub const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/sluice/local";

/// IAM actions that are denied. The default denies none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied(Vec<String>);

impl Denied {
    /// Whether `action`, such as `kinesis:PutRecords`, is denied. IAM does not tell upper from lower case.
    pub fn denies(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(begin) => action.starts_with(begin),
            None => action == *pattern,
        })
    }
}

impl FromStr for Denied {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let action = |part: &str| match part.split_once(':') {
            Some((service, name)) if !service.is_empty() && !name.is_empty() => Ok(part.to_ascii_lowercase()),
            _ => Err(format!("{part:?} is no action: write kinesis:PutRecords, or s3:*")),
        };
        parts.map(action).collect::<Result<_, _>>().map(Self)
    }
}

/// What is denied, and what was asked for.
#[derive(Debug, Default)]
pub struct Access {
    denied: Denied,
    asked: Mutex<BTreeSet<String>>,
}

impl Access {
    /// Access to everything but what is `denied`.
    pub fn new(denied: Denied) -> Self {
        Self { denied, asked: Mutex::default() }
    }

    /// What is denied.
    pub fn denied(&self) -> &Denied {
        &self.denied
    }

    /// Remembers that `action` was asked for; false when it is denied.
    pub fn allows(&self, action: &str) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.contains(action) {
            asked.insert(action.to_owned());
        }
        !self.denied.denies(action)
    }

    /// The actions asked for since the last call, sorted.
    pub fn take_asked(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The action of an S3 request.
pub fn of_s3(method: &Method, uri: &Uri) -> &'static str {
    let key = uri.path().trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    let bucket = uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let has = |name: &str| uri.query().is_some_and(|q| q.split('&').any(|p| p.split('=').next() == Some(name)));
    match (bucket.is_empty(), key.is_empty(), method.as_str()) {
        (true, ..) => "s3:ListAllMyBuckets",
        (_, true, "GET") if has("location") => "s3:GetBucketLocation",
        (_, true, "GET") if has("uploads") => "s3:ListBucketMultipartUploads",
        (_, true, "GET" | "HEAD") => "s3:ListBucket",
        (_, true, "POST") => "s3:DeleteObject",
        (_, true, "DELETE") => "s3:DeleteBucket",
        (_, true, _) => "s3:CreateBucket",
        (_, _, "GET") if has("uploadId") => "s3:ListMultipartUploadParts",
        (_, _, "GET" | "HEAD") => "s3:GetObject",
        (_, _, "DELETE") if has("uploadId") => "s3:AbortMultipartUpload",
        (_, _, "DELETE") => "s3:DeleteObject",
        _ => "s3:PutObject",
    }
}

/// The action of a request of the query protocol, which STS, IAM, SNS and older `CloudWatch` clients speak.
pub fn of_query(body: &[u8]) -> String {
    let action = body.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"Action="));
    let action = action.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
    let service = match action.as_str() {
        "GetCallerIdentity" => "sts",
        "SimulatePrincipalPolicy" | "GetRole" => "iam",
        "Publish" => "sns",
        _ => "cloudwatch",
    };
    format!("{service}:{action}")
}

/// How a refusal travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AWS JSON 1.0 and 1.1, and REST JSON.
    Json,
    /// Form in, XML out.
    Query,
    /// S3's XML.
    S3,
    /// RPC v2 CBOR.
    Cbor,
}

/// The reply to a denied request; `body` tells on what.
///
/// # Panics
/// Never: CBOR is written into memory.
pub fn denial(protocol: Protocol, action: &str, body: &[u8]) -> Response<Body> {
    let message = format!(
        "User: {SESSION_ARN} is not authorized to perform: {action} on resource: {} because no identity-based policy \
         allows the {action} action",
        resource(action, body)
    );
    let (status, kind, text) = match protocol {
        Protocol::Json => (
            StatusCode::BAD_REQUEST,
            "application/x-amz-json-1.1",
            serde_json::json!({ "__type": "AccessDeniedException", "message": message, "Message": message })
                .to_string()
                .into_bytes(),
        ),
        Protocol::Query => (
            StatusCode::FORBIDDEN,
            "text/xml",
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{message}</Message></Error>\
                 <RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
            )
            .into_bytes(),
        ),
        Protocol::S3 => (
            StatusCode::FORBIDDEN,
            "application/xml",
            format!("<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>").into_bytes(),
        ),
        Protocol::Cbor => {
            let text = |text: &str| ciborium::Value::Text(text.to_owned());
            let value = ciborium::Value::Map(vec![
                (text("__type"), text("com.amazonaws.cloudwatch#AccessDeniedException")),
                (text("message"), text(&message)),
            ]);
            let mut body = Vec::new();
            ciborium::into_writer(&value, &mut body).expect("writing into memory can't fail");
            (StatusCode::BAD_REQUEST, "application/cbor", body)
        }
    };
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    match protocol {
        Protocol::Json => drop(headers.insert("x-amzn-errortype", HeaderValue::from_static("AccessDeniedException"))),
        Protocol::Cbor => drop(headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"))),
        Protocol::Query | Protocol::S3 => {}
    }
    response
}

/// The ARN of what a JSON body names, else `*`.
fn resource(action: &str, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let first = body["RequestItems"].as_object().and_then(|items| items.keys().next().cloned());
    if action.starts_with("dynamodb:")
        && let Some(table) = text("TableName").or(first)
    {
        return if table.starts_with("arn:") {
            table
        } else {
            format!("arn:aws:dynamodb:us-east-1:000000000000:table/{table}")
        };
    }
    let stream = text("StreamName").map(|name| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}"));
    text("StreamARN").or(stream).unwrap_or_else(|| "*".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_denied_by_name_and_by_prefix() {
        let denied: Denied = "kinesis:PutRecords, s3:*".parse().unwrap();
        assert!(denied.denies("kinesis:PutRecords"));
        assert!(denied.denies("Kinesis:putrecords"));
        assert!(denied.denies("s3:GetObject"));
        assert!(!denied.denies("kinesis:PutRecord"));
        assert!("PutRecords".parse::<Denied>().unwrap_err().contains("no action"));
        assert_eq!("".parse(), Ok(Denied::default()));
    }

    #[test]
    fn s3_requests_need_the_actions_that_aws_documents() {
        let action = |method: Method, uri: &'static str| of_s3(&method, &uri.parse().unwrap());
        assert_eq!(action(Method::GET, "/b?list-type=2&prefix=p"), "s3:ListBucket");
        assert_eq!(action(Method::HEAD, "/b/k"), "s3:GetObject");
        assert_eq!(action(Method::POST, "/b/k?uploads"), "s3:PutObject");
        assert_eq!(action(Method::PUT, "/b/k?partNumber=1&uploadId=u"), "s3:PutObject");
        assert_eq!(action(Method::DELETE, "/b/k?uploadId=u"), "s3:AbortMultipartUpload");
        assert_eq!(action(Method::DELETE, "/b/k"), "s3:DeleteObject");
    }

    #[test]
    fn a_denial_names_what_was_asked_for() {
        assert_eq!(
            resource("dynamodb:BatchWriteItem", br#"{"RequestItems":{"quotes":[]}}"#),
            "arn:aws:dynamodb:us-east-1:000000000000:table/quotes"
        );
        assert_eq!(
            resource("kinesis:PutRecords", br#"{"StreamName":"s"}"#),
            "arn:aws:kinesis:us-east-1:000000000000:stream/s"
        );
        assert_eq!(resource("kinesis:ListStreams", b"{}"), "*");
    }
}
