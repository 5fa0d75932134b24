//! The one place where an AWS error gets its class, and the sentence that a person reads.

use std::error::Error as _;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::guard::Refused;

/// What an error means for whoever called. Code elsewhere matches the class, never a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Credentials are missing, expired or not allowed to do this.
    Auth,
    /// The service asks for less: capacity or request rate. Try again later.
    Throttled,
    /// The table, stream, bucket or object does not exist.
    NotFound,
    /// It exists, or is being changed.
    InUse,
    /// The request can never succeed as it is.
    Invalid,
    /// A condition of the request did not hold: an outcome, not a fault.
    Condition,
    /// Network, timeout or a 5xx: try again.
    Transient,
    /// The guard refused: read-only mode.
    ReadOnly,
    /// The guard printed the request instead of sending it.
    DryRun,
    /// None of these.
    Unknown,
}

impl Class {
    /// True when the same request may succeed later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Throttled | Self::Transient | Self::Unknown)
    }
}

/// Why `DynamoDB` throttled a request, as the error's `ThrottlingReasons` tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThrottlingReason {
    /// Resource, operation and limit in one word, such as `TableWriteKeyRangeThroughputExceeded`.
    pub reason: String,
    /// The ARN of the table or index.
    pub resource: String,
}

/// An error that a person can act on: what happened, and what to do next.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}{}{hint}", if hint.is_empty() { "" } else { ": " })]
pub struct CloudError {
    /// Its class.
    pub class: Class,
    /// What happened, to what.
    pub what: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// What was full, where the service said so.
    pub reasons: Vec<ThrottlingReason>,
    /// The credentials themselves are missing, expired or wrong: a new login mends it. Not so where good ones may not do this.
    pub is_login: bool,
}

impl CloudError {
    /// An error of our own making.
    pub fn new(class: Class, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { class, what: what.into(), hint: hint.into(), reasons: Vec::new(), is_login: false }
    }

    /// The same, mended by a new login.
    #[must_use]
    pub fn of_login(self) -> Self {
        Self { is_login: true, ..self }
    }

    /// An SDK error, met while doing `action` (such as `describe table quotes`).
    pub fn of<E, R>(action: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let class = classify(error);
        let said = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let (what, hint) = match class {
            Class::Auth if code.is_empty() => (
                format!("could not {action}: no usable AWS credentials"),
                "log in again (aws sso login), or set AWS_PROFILE or AWS_ACCESS_KEY_ID".to_owned(),
            ),
            Class::Auth if is_about_time(code, said) => (
                format!("could not {action}: AWS refused the signature for its time ({code})"),
                format!("set this machine's clock (timedatectl set-ntp true) and start again. AWS said: {said}"),
            ),
            Class::Auth => (
                format!("could not {action}: AWS refused the credentials ({code})"),
                if code.contains("AccessDenied") {
                    not_granted(said)
                } else {
                    "they have expired or are wrong: log in again (aws sso login) or pass --profile".to_owned()
                },
            ),
            // A limit with rules of its own, such as the decreases of a day: AWS says when it is over.
            Class::Throttled if code == "LimitExceededException" && !said.is_empty() => {
                (format!("could not {action}: AWS has a limit for it"), said.to_owned())
            }
            Class::Throttled => {
                (format!("could not {action}: AWS throttled it ({code})"), "try again in a moment".to_owned())
            }
            Class::NotFound => (format!("could not {action}: not found"), said.to_owned()),
            Class::Condition => (format!("could not {action}: its condition did not hold"), said.to_owned()),
            Class::Transient if code.is_empty() => (
                format!("could not {action}: no answer from the endpoint ({})", innermost(error)),
                "check --endpoint-url, --region and the network".to_owned(),
            ),
            Class::Transient => {
                (format!("could not {action}: AWS answered {code}"), "try again in a moment".to_owned())
            }
            Class::ReadOnly => (
                format!("could not {action}: read-only mode"),
                "start without --read-only to change anything; what config.toml makes read-only, --read-write lifts for one \
                 run"
                    .to_owned(),
            ),
            Class::DryRun => (format!("did not {action}"), "dry run: the request was printed, not sent".to_owned()),
            Class::InUse | Class::Invalid | Class::Unknown => (
                format!("could not {action}: {}", if code.is_empty() { innermost(error) } else { code.to_owned() }),
                said.to_owned(),
            ),
        };
        let is_login = class == Class::Auth && !code.contains("AccessDenied") && !is_about_time(code, said);
        Self { class, what, hint, reasons: Vec::new(), is_login }
    }
}

/// What a denied request lacks and how it is got, from what AWS said of it: `… is not authorized to perform: ACTION on
/// resource: ARN because …`.
fn not_granted(said: &str) -> String {
    let named = said.split_once("is not authorized to perform: ").map(|(_, rest)| rest);
    let Some(named) = named else { return format!("{said} Grant that action, or use another --profile") };
    let named = named.split(" because ").next().unwrap_or(named).replace(" on resource: ", " on ");
    let named = named.trim_end_matches(['.', ' ']);
    format!("grant {named} (sluice iam prints all that a job needs), or use another --profile")
}

/// Whether a request was refused because our clock and AWS's differ: a signature holds for five minutes, for S3 for
/// fifteen. Some services have a code for it, others say it in words under the code of any bad signature.
fn is_about_time(code: &str, said: &str) -> bool {
    matches!(code, "RequestExpired" | "RequestInTheFuture" | "RequestTimeTooSkewed")
        || ["Signature expired", "Signature not yet current"].iter().any(|words| said.contains(words))
}

/// The class of an SDK error.
pub fn classify<E, R>(error: &SdkError<E, R>) -> Class
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    match refused(error) {
        Some(Refused::ReadOnly) => return Class::ReadOnly,
        Some(Refused::DryRun) => return Class::DryRun,
        None => {}
    }
    match error {
        SdkError::ServiceError(service) => by_code(service.err().code().unwrap_or_default()),
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Class::Transient,
        SdkError::DispatchFailure(failure) => {
            let text = chain(error);
            if !failure.is_io() && !failure.is_timeout() && (text.contains("redential") || text.contains("oken")) {
                Class::Auth
            } else {
                Class::Transient
            }
        }
        SdkError::ConstructionFailure(_) => {
            let text = chain(error);
            if text.contains("redential") || text.contains("dentity") { Class::Auth } else { Class::Invalid }
        }
        _ => Class::Unknown,
    }
}

/// The class of an error code as AWS spells it, with or without its namespace.
pub fn by_code(code: &str) -> Class {
    match code.rsplit('#').next().unwrap_or(code) {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "SlowDown"
        | "TooManyRequestsException"
        | "ThrottledException" => Class::Throttled,
        "ResourceNotFoundException" | "NoSuchKey" | "NoSuchBucket" | "NotFound" | "TableNotFoundException" => {
            Class::NotFound
        }
        "ResourceInUseException"
        | "TableAlreadyExistsException"
        | "TableInUseException"
        | "BucketAlreadyOwnedByYou" => Class::InUse,
        "ConditionalCheckFailedException" => Class::Condition,
        "AccessDeniedException"
        | "AccessDenied"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationTokenException"
        | "InvalidAccessKeyId"
        | "IncompleteSignature"
        | "RequestExpired"
        | "RequestInTheFuture"
        | "RequestTimeTooSkewed"
        | "AuthFailure" => Class::Auth,
        "InternalServerError"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "InternalServerErrorException"
        | "ServiceUnavailableException"
        | "KMSThrottlingException" => Class::Transient,
        "ValidationException"
        | "SerializationException"
        | "InvalidArgumentException"
        | "ItemCollectionSizeLimitExceededException"
        | "ExpiredIteratorException"
        | "InvalidArgument" => Class::Invalid,
        _ => Class::Unknown,
    }
}

fn refused<E, R>(error: &SdkError<E, R>) -> Option<Refused>
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Some(*refused);
        }
        next = cause.source();
    }
    None
}

fn chain<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn innermost<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod denied {
    use super::not_granted;

    #[test]
    fn a_denied_request_names_the_action_the_resource_and_the_command_that_prints_the_policy() {
        let said = "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: kinesis:PutRecords on resource: \
                    arn:aws:kinesis:eu-west-1:1:stream/s because no identity-based policy allows the kinesis:PutRecords action";
        assert_eq!(
            not_granted(said),
            "grant kinesis:PutRecords on arn:aws:kinesis:eu-west-1:1:stream/s (sluice iam prints all that a job needs), \
             or use another --profile"
        );
        assert_eq!(not_granted("Access Denied"), "Access Denied Grant that action, or use another --profile");
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::error::ErrorMetadata;
    use aws_sdk_kinesis::operation::get_records::GetRecordsError;

    use super::*;

    fn told(code: &str, said: &str) -> CloudError {
        let error = GetRecordsError::generic(ErrorMetadata::builder().code(code).message(said).build());
        CloudError::of("read stream s", &SdkError::service_error(error, ()))
    }

    #[test]
    fn a_clock_that_is_wrong_by_an_hour_is_told_as_such_and_not_as_bad_credentials() {
        let said =
            "Signature expired: 20261121T093000Z is now earlier than 20261121T102500Z (20261121T103000Z - 5 min.)";
        for (code, said) in [
            ("InvalidSignatureException", said),
            (
                "SignatureDoesNotMatch",
                "Signature not yet current: 20261121T113000Z is still later than 20261121T103500Z",
            ),
            ("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
            ("RequestExpired", "Request has expired."),
        ] {
            let error = told(code, said);
            assert_eq!(error.class, Class::Auth, "{code}");
            assert!(error.to_string().contains("clock") && error.to_string().contains(said), "{error}");
        }
        let error = told("InvalidSignatureException", "The request signature we calculated does not match.");
        assert!(!error.to_string().contains("clock"), "{error}");
    }

    #[test]
    fn a_new_login_mends_credentials_that_are_gone_and_not_those_that_may_not() {
        assert!(told("ExpiredTokenException", "The security token included in the request is expired").is_login);
        assert!(told("UnrecognizedClientException", "The security token is invalid").is_login);
        assert!(!told("AccessDeniedException", "not authorized").is_login);
        assert!(!told("RequestExpired", "Request has expired.").is_login);
        assert!(!told("ResourceNotFoundException", "").is_login);
    }
}
