//! What became of a change, as far as the reply tells.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::interceptors::context::{Error as Failure, Output};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse as Response, OrchestratorError};

use super::error::{Class, by_code};

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Done,
    /// It surely was not made: the error's code and words.
    Refused(String),
    /// It may have been made: no reply came, or one that does not say. Empty when nothing was ever heard, as when the
    /// process ended before.
    Unknown(String),
}

impl Outcome {
    /// What one try came to.
    pub(super) fn of_attempt(
        result: Option<Result<&Output, &OrchestratorError<Failure>>>,
        response: Option<&Response>,
    ) -> Self {
        let failed = match result {
            Some(Ok(_)) => return Self::Done,
            Some(Err(error)) => Some(error),
            None => None,
        };
        let Some(response) = response else {
            return Self::Unknown(failed.map_or_else(|| "no reply".to_owned(), |error| innermost(error)));
        };
        let body = String::from_utf8_lossy(response.body().bytes().unwrap_or_default()).into_owned();
        let (code, words) = said(response.headers().get("x-amzn-errortype"), &body);
        let status = response.status();
        let told = match (code.is_empty(), words.is_empty()) {
            (true, _) => format!("HTTP {}", status.as_u16()),
            (false, true) => code.clone(),
            (false, false) => format!("{code}: {words}"),
        };
        // An internal error may come after the act; what is throttled, whatever its status, came before.
        if status.is_client_error() || by_code(&code) == Class::Throttled {
            Self::Refused(told)
        } else {
            Self::Unknown(told)
        }
    }

    /// What an operation came to whose earlier tries came to `self` and whose last came to `last`.
    #[must_use]
    pub(super) fn then(self, last: Self) -> Self {
        match (self, last) {
            // The try whose reply was lost may have made the change that the next one was refused for.
            (Self::Unknown(lost), Self::Refused(words)) => {
                Self::Unknown(format!("{words} (but an earlier try: {lost})"))
            }
            (_, last) => last,
        }
    }

    /// True when the change surely was not made.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// `done`, `refused` or `unknown`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => "unknown",
        }
    }

    /// What was said of it: of an error its code and words.
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::Done => None,
            Self::Refused(words) | Self::Unknown(words) => Some(words.as_str()).filter(|w| !w.is_empty()),
        }
    }
}

/// In few words: of an error its code.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.words()) {
            (Self::Refused(_), Some(words)) => {
                write!(f, "refused: {}", words.split(": ").next().unwrap_or_default())
            }
            _ => f.write_str(self.name()),
        }
    }
}

/// The code and the words of an error's reply, as JSON or as XML.
fn said(header: Option<&str>, body: &str) -> (String, String) {
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let of_json = |names: &[&str]| names.iter().find_map(|name| json[*name].as_str()).map(str::to_owned);
    let of_xml = |name: &str| {
        let rest = body.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    let code = header.map(str::to_owned).or_else(|| of_json(&["__type", "code"])).or_else(|| of_xml("Code"));
    let code = code.unwrap_or_default();
    // `com.amazonaws…#Code`, and `Code:http://…` in a header.
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default().to_owned();
    let words = of_json(&["message", "Message", "errorMessage"]).or_else(|| of_xml("Message"));
    (code, words.unwrap_or_default())
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_the_words_of_an_error_are_found_in_what_each_service_sends() {
        let words = ("ValidationException".to_owned(), "no such value".to_owned());
        let json = r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"no such value"}"#;
        assert_eq!(said(None, json), words);
        let rest = r#"{"Message":"no such value"}"#;
        assert_eq!(said(Some("ValidationException:http://internal.amazon.com/"), rest), words);
        let xml =
            "<?xml version=\"1.0\"?><Error><Code>ValidationException</Code><Message>no such value</Message></Error>";
        assert_eq!(said(None, xml), words);
        assert_eq!(said(None, "<html>"), (String::new(), String::new()));
    }

    #[test]
    fn what_is_refused_after_a_lost_reply_may_have_been_done() {
        let refused = || Outcome::Refused("ValidationException: has that capacity already".into());
        let lost = || Outcome::Unknown("connection reset".into());
        assert_eq!(lost().then(Outcome::Done), Outcome::Done);
        assert_eq!(refused().then(refused()), refused());
        assert_eq!(refused().then(lost()), lost());
        let both = lost().then(refused());
        assert!(!both.is_refused() && both.words().unwrap().contains("connection reset"), "{both:?}");
        assert_eq!(refused().to_string(), "refused: ValidationException");
        assert_eq!(both.to_string(), "unknown");
    }
}
