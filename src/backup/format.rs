//! The shapes of a backup's lines: which one a file has, and the item in a line.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::{DecodeError, DecodeSliceError};
use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::location::Location;
use crate::item::Refusal;

/// The shape of a backup's lines (FORMATS.md 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One CSV column without header: base64 of the item's JSON.
    #[default]
    Csv64,
    /// One quoted CSV column holding the JSON itself.
    Csv,
    /// An item a line, `{…}` or `{"Item":{…}}`.
    Jsonl,
    /// A DynamoDB export, full (`{"Item":…}`) or incremental (`{"Keys":…,"NewImage":…}`).
    Export,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Csv64 => "csv64",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Export => "export",
        })
    }
}

impl FromStr for Format {
    type Err = BackupError;

    fn from_str(text: &str) -> Result<Self, BackupError> {
        match text {
            "csv64" => Ok(Self::Csv64),
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::Jsonl),
            "export" => Ok(Self::Export),
            _ => Err(BackupError::NoSuchFormat { given: text.to_owned() }),
        }
    }
}

/// How many lines [`detect`] looks at.
const LINES_LOOKED_AT: usize = 100;

/// The format of the text that begins with `head`. A text without a line is `csv64` of no items.
///
/// Lines that fit no format don't decide anything: they will be dead letters, one by one. But some line has to fit, and
/// all that fit must agree.
///
/// # Errors
/// [`BackupError::UnknownFormat`] and [`BackupError::AmbiguousFormat`], which name the candidates.
pub fn detect(location: &Location, head: &[u8]) -> Result<Format, BackupError> {
    let mut lines =
        head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).peekable();
    let Some(first) = lines.peek().copied() else { return Ok(Format::Csv64) };
    let found: BTreeSet<Format> = lines.take(LINES_LOOKED_AT).filter_map(looks_like).collect();
    let mut found_one = found.iter();
    match (found_one.next(), found_one.next()) {
        (Some(format), None) => Ok(*format),
        (None, _) => Err(BackupError::UnknownFormat {
            location: location.clone(),
            begins: String::from_utf8_lossy(first).chars().take(40).collect(),
        }),
        _ => Err(BackupError::AmbiguousFormat {
            location: location.clone(),
            candidates: found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// The format of one line, which may be cut short at its end.
fn looks_like(line: &[u8]) -> Option<Format> {
    match line {
        [b'{', ..] => return Some(Format::Jsonl),
        [b'"', b'{', ..] => return Some(Format::Csv),
        _ => {}
    }
    let text = line.strip_prefix(b"\"").unwrap_or(line);
    let (quads, _) = text.as_chunks::<4>();
    // A few quads tell: all must be base64 (the last may be padded), and JSON of an object must come of them.
    let start = &quads[..quads.len().min(16)];
    let unpadded = start.as_flattened().trim_ascii_end();
    let unpadded = unpadded.strip_suffix(b"==").or_else(|| unpadded.strip_suffix(b"=")).unwrap_or(unpadded);
    let json = STANDARD_NO_PAD.decode(unpadded).ok()?;
    json.trim_ascii_start().starts_with(b"{").then_some(Format::Csv64)
}

/// Where the item of a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ItemIn {
    /// In the line itself.
    Line(Range<usize>),
    /// In what was appended to the buffer of decoded items.
    Decoded(Range<usize>),
}

impl Format {
    /// Finds the item of `line` (without its line ending), appending to `decoded` what has to be decoded.
    pub(super) fn item_in(self, line: &[u8], decoded: &mut Vec<u8>) -> Result<ItemIn, Refusal> {
        match self {
            Self::Csv64 => base64_item(line, decoded),
            Self::Csv => csv_item(line, decoded),
            Self::Jsonl | Self::Export => Ok(ItemIn::Line(unwrapped(line))),
        }
    }
}

fn base64_item(line: &[u8], decoded: &mut Vec<u8>) -> Result<ItemIn, Refusal> {
    let field = match line {
        [b'"', field @ .., b'"'] => field,
        _ => line,
    };
    if field.is_empty() {
        return Err(Refusal::NotBase64("an empty line".into()));
    }
    let start = decoded.len();
    // In place: the vector's own growth is the only allocation for a whole chunk of lines.
    decoded.resize(start + base64::decoded_len_estimate(field.len()), 0);
    match STANDARD.decode_slice(field, &mut decoded[start..]) {
        Ok(len) => {
            decoded.truncate(start + len);
            Ok(ItemIn::Decoded(start..start + len))
        }
        Err(error) => {
            decoded.truncate(start);
            Err(Refusal::NotBase64(match error {
                DecodeSliceError::DecodeError(DecodeError::InvalidByte(at, byte)) => {
                    format!("'{}' at byte {at} of the line", char::from(byte).escape_default())
                }
                DecodeSliceError::DecodeError(DecodeError::InvalidLength(len)) => {
                    format!("cut short, {len} characters are no whole number of fours")
                }
                DecodeSliceError::DecodeError(DecodeError::InvalidPadding) => {
                    "cut short, its padding is missing".into()
                }
                DecodeSliceError::DecodeError(DecodeError::InvalidLastSymbol { .. }) => {
                    "cut short, bits are left over at its end".into()
                }
                DecodeSliceError::OutputSliceTooSmall => "longer than its length says".into(),
            }))
        }
    }
}

fn csv_item(line: &[u8], decoded: &mut Vec<u8>) -> Result<ItemIn, Refusal> {
    let [b'"', field @ ..] = line else { return Ok(ItemIn::Line(0..line.len())) };
    let [field @ .., b'"'] = field else {
        return Err(Refusal::NotJson("the CSV field has no closing quote".into()));
    };
    let start = decoded.len();
    let mut rest = field;
    while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
        if rest.get(at + 1) != Some(&b'"') {
            decoded.truncate(start);
            return Err(Refusal::NotJson("a quote inside the CSV field is not doubled".into()));
        }
        decoded.extend_from_slice(&rest[..=at]);
        rest = &rest[at + 2..];
    }
    decoded.extend_from_slice(rest);
    Ok(ItemIn::Decoded(start..decoded.len()))
}

/// The item in `{…}` or `{"Item":{…}}`. Well-formedness is left to the check of the item.
fn unwrapped(line: &[u8]) -> Range<usize> {
    let whole = 0..line.len();
    let skip = |mut at: usize, wanted: &[u8]| {
        at += line.get(at..)?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        line.get(at..)?.starts_with(wanted).then_some(at + wanted.len())
    };
    let inner = || {
        let inner = skip(skip(skip(skip(0, b"{")?, b"\"Item\"")?, b":")?, b"{")?;
        // An item whose only attribute is called Item is a key alone: {"Item":{"S":"x"}}. Then a string follows the
        // type, where in an export an attribute follows its name.
        for tag in [&b"\"S\""[..], b"\"N\"", b"\"B\""] {
            if skip(inner, tag).and_then(|at| skip(at, b":")).and_then(|at| skip(at, b"\"")).is_some() {
                return None;
            }
        }
        let end = line.len() - line.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
        (line.get(end - 1) == Some(&b'}') && end > inner).then(|| inner - 1..end - 1)
    };
    inner().unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place() -> Location {
        Location::File("b.csv".into())
    }

    fn item(format: Format, line: &str) -> Result<String, String> {
        let mut decoded = b"before".to_vec();
        match format.item_in(line.as_bytes(), &mut decoded) {
            Ok(ItemIn::Line(range)) => Ok(line[range].to_owned()),
            Ok(ItemIn::Decoded(range)) => Ok(String::from_utf8(decoded[range].to_vec()).unwrap()),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[test]
    fn each_format_is_known_by_its_lines() {
        for (head, format) in [
            ("", Format::Csv64),
            ("\n\r\n", Format::Csv64),
            ("eyJpZCI6eyJTIjoiYjEifX0=", Format::Csv64),
            ("\"eyJpZCI6eyJTIjoiYjEifX0=\"\r\n", Format::Csv64),
            ("e30=\n", Format::Csv64),
            ("eyJpZCI6eyJTIjoiYjEifSwiYiI6eyJCIjoiQV", Format::Csv64),
            ("not base64!\nW10=\neyJpZCI6MX0=\n", Format::Csv64),
            (r#"{"id":{"S":"x"}}"#, Format::Jsonl),
            (r#"{"Item":{"id":{"S":"x"}}}"#, Format::Jsonl),
            (r#""{""id"":{""S"":""x""}}""#, Format::Csv),
        ] {
            assert_eq!(detect(&place(), head.as_bytes()).unwrap(), format, "{head}");
        }
    }

    #[test]
    fn what_fits_no_format_or_several_is_an_error_that_suggests_to_name_it() {
        for head in ["not base64!\nnor this\n", "W10=", "id,name\n1,2\n", "\u{1}\u{2}"] {
            let error = detect(&place(), head.as_bytes()).unwrap_err();
            assert!(matches!(error, BackupError::UnknownFormat { .. }), "{head}");
            assert!(error.to_string().contains("--format"), "{error}");
        }
        let error = detect(&place(), b"e30=\n{}\n").unwrap_err();
        assert!(error.to_string().contains("csv64, jsonl"), "{error}");
    }

    #[test]
    fn a_line_of_each_format_gives_the_same_item() {
        let wanted = Ok(r#"{"id":{"S":"x"}}"#.to_owned());
        assert_eq!(item(Format::Csv64, "eyJpZCI6eyJTIjoieCJ9fQ=="), wanted);
        assert_eq!(item(Format::Csv64, "\"eyJpZCI6eyJTIjoieCJ9fQ==\""), wanted);
        assert_eq!(item(Format::Csv, r#""{""id"":{""S"":""x""}}""#), wanted);
        assert_eq!(item(Format::Jsonl, r#"{"id":{"S":"x"}}"#), wanted);
        assert_eq!(item(Format::Jsonl, r#"{ "Item" : {"id":{"S":"x"}}} "#), wanted);
    }

    #[test]
    fn an_item_whose_only_attribute_is_called_item_is_not_unwrapped() {
        let bare = r#"{"Item":{"S":"x"}}"#;
        assert_eq!(item(Format::Jsonl, bare).unwrap(), bare);
        assert_eq!(item(Format::Jsonl, r#"{"Item":{"S":{"S":"x"}}}"#).unwrap(), r#"{"S":{"S":"x"}}"#);
    }

    #[test]
    fn broken_lines_are_refused_with_where_they_broke() {
        assert_eq!(item(Format::Csv64, "not base64!").unwrap_err(), "not base64: ' ' at byte 3 of the line");
        assert!(item(Format::Csv64, "eyJpZCI6eyJTIjoieCJ9fQ=").unwrap_err().contains("cut short"));
        assert!(item(Format::Csv64, "eyJpZCI6eyJTI").unwrap_err().contains("cut short"));
        assert!(item(Format::Csv64, "").unwrap_err().contains("empty line"));
        assert!(item(Format::Csv, r#""{""id"":"#).unwrap_err().contains("quote"));
        assert!(item(Format::Csv, r#""{"id"}""#).unwrap_err().contains("not doubled"));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = detect(&place(), &line);
            for format in [Format::Csv64, Format::Csv, Format::Jsonl] {
                let _ = format.item_in(&line, &mut Vec::new());
            }
        }

        #[test]
        fn a_csv_field_comes_back_as_it_was(text in "[^\n\r]{1,40}") {
            let line = format!("\"{}\"", text.replace('"', "\"\""));
            prop_assert_eq!(item(Format::Csv, &line).unwrap(), text);
        }
    }
}
