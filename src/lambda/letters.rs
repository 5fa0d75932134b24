//! Dead letters of a function: one object of JSON lines for each invocation that has any.

use aws_sdk_s3::primitives::ByteStream;
use jiff::Timestamp;

use crate::cloud::{Class, Cloud, CloudError};
use crate::flow::{Letter, LetterLine};

/// Where dead letters go: `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letterbox {
    bucket: String,
    prefix: String,
}

impl Letterbox {
    /// Reads `s3://bucket/prefix`.
    pub fn parse(address: &str) -> Result<Self, String> {
        let rest = address.strip_prefix("s3://");
        let (bucket, prefix) = rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))).unwrap_or_default();
        if bucket.is_empty() {
            return Err(format!("{address:?} is no address of dead letters: write s3://bucket/prefix"));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.trim_end_matches('/').to_owned() })
    }

    /// The key of an object of `letters`, which come from one shard: named by what is in it, so that an invocation that
    /// is repeated writes the same object again.
    fn key(&self, letters: &[Letter]) -> String {
        let first = letters.first();
        let source = first.map(|letter| letter.source.as_str()).unwrap_or_default();
        let shard = first.and_then(|letter| letter.shard.as_deref()).unwrap_or("none");
        // A part of an aggregated record has a slash in its number, which would make a folder.
        let sequence = |letter: Option<&Letter>| {
            letter.and_then(|it| it.sequence.as_deref()).unwrap_or_default().replace('/', ".")
        };
        let name = format!("{source}/{shard}/{}-{}.jsonl", sequence(first), sequence(letters.last()));
        if self.prefix.is_empty() { name } else { format!("{}/{name}", self.prefix) }
    }

    /// Stores `letters`, which must not be none.
    ///
    /// # Errors
    /// They are not stored.
    pub async fn put(&self, cloud: &Cloud, letters: &[Letter], now: Timestamp) -> Result<String, CloudError> {
        let time = now.to_string();
        let mut body = String::new();
        for letter in letters {
            let line = serde_json::to_string(&LetterLine::of(letter, &time)).map_err(|error| {
                CloudError::new(Class::Unknown, format!("a dead letter can't be written: {error}"), "")
            })?;
            body.push_str(&line);
            body.push('\n');
        }
        let key = self.key(letters);
        let address = format!("s3://{}/{key}", self.bucket);
        let sent = cloud
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .content_type("application/x-ndjson")
            .body(ByteStream::from(body.into_bytes()))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(address),
            Err(error) => Err(CloudError::of(&format!("store {} dead letters in {address}", letters.len()), &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(sequence: &str) -> Letter {
        Letter {
            source: "orders".into(),
            line: None,
            offset: None,
            shard: Some("shardId-000000000001".into()),
            sequence: Some(sequence.into()),
            reason: "bad".into(),
            payload: bytes::Bytes::new(),
        }
    }

    #[test]
    fn the_same_letters_are_the_same_object() {
        let letterbox = Letterbox::parse("s3://bucket/dead/put/").unwrap();
        let key = letterbox.key(&[letter("7"), letter("9")]);
        assert_eq!(key, "dead/put/orders/shardId-000000000001/7-9.jsonl");
        assert_eq!(
            Letterbox::parse("s3://bucket").unwrap().key(&[letter("7")]),
            "orders/shardId-000000000001/7-7.jsonl"
        );
        for wrong in ["bucket/prefix", "s3://", "s3:///x", ""] {
            assert!(Letterbox::parse(wrong).is_err(), "{wrong}");
        }
    }
}
