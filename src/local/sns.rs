//! SNS, as far as it takes messages: `Publish` keeps them, so that a test can read what would have been sent.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use http::{Response, StatusCode, header};

use super::{Body, full};

/// Messages that are kept.
const KEPT: usize = 1_000;

/// A message that was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The ARN of its topic.
    pub topic: String,
    /// Its subject; may be empty.
    pub subject: String,
    /// Its text.
    pub message: String,
}

/// SNS in memory. Every topic with a well-formed ARN is there.
#[derive(Debug, Default)]
pub struct Sns {
    published: Mutex<VecDeque<Published>>,
}

impl Sns {
    /// True for a request of the query protocol that is SNS's.
    pub fn is_meant(body: &[u8]) -> bool {
        body.split(|byte| *byte == b'&').any(|pair| pair == b"Action=Publish")
    }

    /// Answers a `Publish`.
    pub fn publish(&self, body: &[u8]) -> Response<Body> {
        let mut published = Published::default();
        for pair in body.split(|byte| *byte == b'&') {
            let text = String::from_utf8_lossy(pair);
            let Some((name, value)) = text.split_once('=') else { continue };
            let field = match name {
                "TopicArn" => &mut published.topic,
                "Subject" => &mut published.subject,
                "Message" => &mut published.message,
                _ => continue,
            };
            *field = decoded(value);
        }
        if published.topic.split(':').count() != 6 || !published.topic.starts_with("arn:") {
            return refused("Invalid parameter: TopicArn");
        }
        if published.message.is_empty() {
            return refused("Invalid parameter: Empty message");
        }
        if published.subject.chars().count() > 100 {
            return refused("Invalid parameter: Subject");
        }
        let mut all = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back(published);
        if all.len() > KEPT {
            all.pop_front();
        }
        xml(
            StatusCode::OK,
            "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
             <MessageId>00000000-0000-0000-0000-000000000000</MessageId></PublishResult><ResponseMetadata>\
             <RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata></PublishResponse>"
                .to_owned(),
        )
    }

    /// What was published, oldest first.
    pub fn published(&self) -> Vec<Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn refused(message: &str) -> Response<Body> {
    xml(
        StatusCode::BAD_REQUEST,
        format!(
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
             <Code>InvalidParameter</Code><Message>{message}</Message></Error>\
             <RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
        ),
    )
}

fn xml(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/xml"));
    response
}

/// A value of a form, decoded.
fn decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = if bytes[at] == b'%' { value.get(at + 1..at + 3) } else { None };
        match (bytes[at], escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (_, Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (b'+', None) => {
                decoded.push(b' ');
                at += 1;
            }
            (byte, None) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_kept_as_it_was_meant() {
        let sns = Sns::default();
        let body = b"Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A000000000000%3At&Subject=a+b&Message=%7B%22x%22%3A%C3%A9%7D";
        assert!(Sns::is_meant(body));
        assert_eq!(sns.publish(body).status(), StatusCode::OK);
        let published = &sns.published()[0];
        assert_eq!(published.topic, "arn:aws:sns:eu-west-1:000000000000:t");
        assert_eq!((published.subject.as_str(), published.message.as_str()), ("a b", "{\"x\":é}"));
    }

    #[test]
    fn a_topic_without_an_arn_is_refused() {
        let sns = Sns::default();
        assert_eq!(sns.publish(b"Action=Publish&TopicArn=t&Message=x").status(), StatusCode::BAD_REQUEST);
        assert_eq!(sns.published(), []);
    }
}
