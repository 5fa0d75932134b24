//! `DynamoDB`'s JSON protocol: bodies in, replies and errors out.

use std::sync::atomic::{AtomicU64, Ordering};

use dynoxide::DynoxideError;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::local::{Body, full};

/// What an operation comes to: the body of a 200, or a failure.
pub(super) type Outcome = Result<Vec<u8>, Failure>;

/// An error reply.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: Vec<u8>,
}

impl Failure {
    /// A client error by its name in `DynamoDB`'s model.
    pub(super) fn named(name: &str, message: &str) -> Self {
        let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": message});
        Self { status: StatusCode::BAD_REQUEST, body: body.to_string().into_bytes() }
    }

    /// A request that can't be right.
    pub(super) fn invalid(message: &str) -> Self {
        DynoxideError::ValidationException(message.to_owned()).into()
    }

    /// An operation that `DynamoDB` does not have.
    pub(super) fn unknown_operation() -> Self {
        let body = br#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;
        Self { status: StatusCode::BAD_REQUEST, body: body.to_vec() }
    }

    /// A stream's iterator that is too old.
    pub(super) fn expired_iterator() -> Self {
        Self::named(
            "ExpiredIteratorException",
            "The shard iterator has expired. Shard iterators are only valid for 15 minutes",
        )
    }

    /// Throughput is used up. `resources` are the reasons and the ARNs they concern.
    pub(super) fn throttled(error: &str, message: &str, resources: &[(String, String)]) -> Self {
        let reasons: Vec<_> =
            resources.iter().map(|(reason, resource)| json!({"reason": reason, "resource": resource})).collect();
        let body = json!({
            "__type": format!("com.amazonaws.dynamodb.v20120810#{error}"),
            "message": message,
            "ThrottlingReasons": reasons,
        });
        Self { status: StatusCode::BAD_REQUEST, body: body.to_string().into_bytes() }
    }
}

impl From<DynoxideError> for Failure {
    fn from(error: DynoxideError) -> Self {
        Self {
            status: StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            body: error.to_json().into_bytes(),
        }
    }
}

/// `DynamoDB` puts some refusals of these three operations into an envelope, and of the others not.
pub(super) fn enveloped(operation: &str, error: DynoxideError) -> DynoxideError {
    match error {
        DynoxideError::EnvelopedValidation(message) if matches!(operation, "PutItem" | "UpdateItem" | "DeleteItem") => {
            DynoxideError::ValidationException(format!("1 validation error detected: {message}"))
        }
        other => other,
    }
}

/// How dynoxide begins an ARN: its region is its own name.
const ENGINE_ARN: &str = "arn:aws:dynamodb:dynoxide:";
/// How the gateway does.
const AWS_ARN: &str = "arn:aws:dynamodb:us-east-1:";

/// ARNs of the engine, as the gateway shows them.
pub(super) fn shown(text: &str) -> String {
    text.replace(ENGINE_ARN, AWS_ARN)
}

/// ARNs that the gateway showed, as the engine knows them.
pub(super) fn known(text: &str) -> String {
    text.replace(AWS_ARN, ENGINE_ARN)
}

/// Reads a request. Dynoxide's own types mark what kind of error a refused value is.
pub(super) fn parse<T: DeserializeOwned>(operation: &str, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        // The position that serde_json adds is not AWS's.
        let bare = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
        let of = |marker: &str| bare.strip_prefix(marker).map(str::to_owned);
        let refusal = if error.is_syntax() || error.is_eof() {
            DynoxideError::SerializationException(String::new())
        } else if let Some(message) = of("VALIDATION_REQUEST:") {
            DynoxideError::EnvelopedValidation(message)
        } else if let Some(message) = of("VALIDATION_AS_READ:").or_else(|| of("VALIDATION:")) {
            DynoxideError::ValidationException(message)
        } else if let Some(message) = of("SERIALIZATION_AS_READ:").or_else(|| of("SERIALIZATION:")) {
            DynoxideError::SerializationException(message)
        } else if [
            "missing field",
            "unknown variant",
            "invalid type: null",
            "Supplied AttributeValue",
            "empty AttributeValue",
        ]
        .iter()
        .any(|known| bare.contains(known))
        {
            DynoxideError::ValidationException(bare.to_owned())
        } else {
            DynoxideError::SerializationException(bare.to_owned())
        };
        enveloped(operation, refusal).into()
    })
}

/// Writes a reply.
pub(super) fn written<T: Serialize>(reply: &T) -> Outcome {
    serde_json::to_vec(reply).map_err(|error| DynoxideError::InternalServerError(error.to_string()).into())
}

/// The HTTP response of an outcome, with the request ID and the checksum that the SDKs verify.
pub(super) fn respond(outcome: Outcome) -> Response<Body> {
    let (status, body) = match outcome {
        Ok(body) => (StatusCode::OK, body),
        Err(failure) => (failure.status, failure.body),
    };
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    headers.insert("x-amz-crc32", HeaderValue::from(crc.sum()));
    headers.insert("x-amzn-requestid", request_id());
    response
}

/// 52 characters as AWS's; unique within the process, which is all that is asked of it.
fn request_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mixed = xxhash_rust::xxh3::xxh3_128(&number.to_le_bytes());
    HeaderValue::from_str(&format!("{mixed:032X}{number:020X}")).expect("hexadecimal digits are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynoxide::actions::describe_table::DescribeTableRequest;
    use http_body_util::BodyExt;

    async fn text(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_error_carries_its_full_name_and_the_checksum_of_its_body() {
        let response = respond(Err(Failure::named("ResourceNotFoundException", "Requested resource not found")));
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["x-amzn-requestid"].len(), 52);
        let crc = response.headers()["x-amz-crc32"].to_str().unwrap().to_owned();
        let body = text(response).await;
        assert!(body.contains(r#""__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException""#), "{body}");
        let mut expected = flate2::Crc::new();
        expected.update(body.as_bytes());
        assert_eq!(crc, expected.sum().to_string());
    }

    #[tokio::test]
    async fn a_refused_request_is_told_without_markers_or_positions() {
        let failure = parse::<DescribeTableRequest>("DescribeTable", b"{}").map(|_| ()).unwrap_err();
        let body = text(respond(Err(failure))).await;
        assert!(body.contains("ValidationException"), "{body}");
        assert!(
            body.contains("\"The parameter 'TableName' is required but was not present in the request\""),
            "{body}"
        );
    }

    #[test]
    fn arns_have_a_region_that_exists_and_come_back_as_they_were() {
        let inside = "arn:aws:dynamodb:dynoxide:000000000000:table/quotes/index/by-g";
        assert_eq!(shown(inside), "arn:aws:dynamodb:us-east-1:000000000000:table/quotes/index/by-g");
        assert_eq!(known(&shown(inside)), inside);
    }

    #[tokio::test]
    async fn what_is_not_json_is_a_serialization_exception() {
        let failure = parse::<DescribeTableRequest>("DescribeTable", b"{\"Tab").map(|_| ()).unwrap_err();
        assert!(text(respond(Err(failure))).await.contains("SerializationException"));
    }
}
