//! A dead letter as a line of JSON: how one host hands it to another, a Lambda function to an operator's journal.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::counters::Letter;

/// The line; the same names as `sluice dead list --json` has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterLine {
    /// When it was met, RFC 3339.
    pub time: String,
    /// The file, `s3://` address or stream that it came from.
    pub source: String,
    /// Its line in the file, 1-based.
    pub line: Option<u64>,
    /// Byte offset of its line in the decompressed text.
    pub offset: Option<u64>,
    /// Its shard.
    pub shard: Option<String>,
    /// Its sequence number in the shard.
    pub sequence: Option<String>,
    /// Why it can never succeed.
    pub reason: String,
    /// The record as it came, base64.
    pub bytes: String,
}

impl LetterLine {
    /// The line of `letter`, met at `time` (RFC 3339).
    pub fn of(letter: &Letter, time: &str) -> Self {
        Self {
            time: time.to_owned(),
            source: letter.source.clone(),
            line: letter.line,
            offset: letter.offset,
            shard: letter.shard.clone(),
            sequence: letter.sequence.clone(),
            reason: letter.reason.clone(),
            bytes: BASE64_STANDARD.encode(&letter.payload),
        }
    }

    /// The letter of `line`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(line: &str) -> Result<Letter, String> {
        let read: Self = serde_json::from_str(line).map_err(|error| format!("it is no dead letter: {error}"))?;
        let payload =
            BASE64_STANDARD.decode(&read.bytes).map_err(|error| format!("its bytes are no base64: {error}"))?;
        Ok(Letter {
            source: read.source,
            line: read.line,
            offset: read.offset,
            shard: read.shard,
            sequence: read.sequence,
            reason: read.reason,
            payload: payload.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_comes_back_from_its_line_whatever_its_bytes_are() {
        let letter = Letter {
            source: "orders".into(),
            line: None,
            offset: None,
            shard: Some("shardId-000000000001".into()),
            sequence: Some("495".into()),
            reason: "not a put request: \"x\"\n".into(),
            payload: vec![0, 255, b'\n', b'"'].into(),
        };
        let line = serde_json::to_string(&LetterLine::of(&letter, "2026-11-20T00:00:00Z")).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(LetterLine::read(&line), Ok(letter));
        assert!(LetterLine::read("{}").is_err());
        assert!(LetterLine::read(&line.replace("AP8", "***")).unwrap_err().contains("base64"));
    }
}
