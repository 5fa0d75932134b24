//! The shapes of a backup's lines: which one a file has, and the item in a line.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::{DecodeError, DecodeSliceError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::error::BackupError;
use super::location::Location;
use super::reader::Change;
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
    /// A `DynamoDB` export, full (`{"Item":…}`) or incremental (`{"Metadata":…,"Keys":…,"NewImage":…}`).
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
/// What UTF-8 files of some systems begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The first line of a file without the byte order mark that it may begin with.
pub(super) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
}

/// The format of the text that begins with `head`. A text without a line is `csv64` of no items.
///
/// Lines that fit no format don't decide anything: they will be dead letters, one by one. But some line has to fit, and
/// all that fit must agree. `{"Item":…}` alone is a line of JSON lines as of a full export, which read it alike.
///
/// # Errors
/// [`BackupError::UnknownFormat`] and [`BackupError::AmbiguousFormat`], which name the candidates.
pub fn detect(location: &Location, head: &[u8]) -> Result<Format, BackupError> {
    let mut lines = without_mark(head)
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .peekable();
    let Some(first) = lines.peek().copied() else { return Ok(Format::Csv64) };
    let fitting: Vec<&[Format]> =
        lines.take(LINES_LOOKED_AT).map(looks_like).filter(|formats| !formats.is_empty()).collect();
    let all = [Format::Csv64, Format::Csv, Format::Jsonl, Format::Export];
    if fitting.is_empty() {
        return Err(BackupError::UnknownFormat {
            location: location.clone(),
            begins: String::from_utf8_lossy(first).chars().take(40).collect(),
        });
    }
    let of_all = all.into_iter().find(|format| fitting.iter().all(|formats| formats.contains(format)));
    of_all.ok_or_else(|| {
        let met = all.iter().filter(|format| fitting.iter().any(|formats| formats.contains(format)));
        BackupError::AmbiguousFormat {
            location: location.clone(),
            candidates: met.map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }
    })
}

/// The formats that one line, which may be cut short at its end, can be of.
fn looks_like(line: &[u8]) -> &'static [Format] {
    match line {
        [b'{', ..] if is_increment(line) => return &[Format::Export],
        [b'{', ..] if wrapped(line).is_some() => return &[Format::Jsonl, Format::Export],
        [b'{', ..] => return &[Format::Jsonl],
        [b'"', b'{', ..] => return &[Format::Csv],
        _ => {}
    }
    let text = line.strip_prefix(b"\"").unwrap_or(line);
    let (quads, _) = text.as_chunks::<4>();
    // A few quads tell: all must be base64 (the last may be padded), and JSON of an object must come of them.
    let start = &quads[..quads.len().min(16)];
    let unpadded = start.as_flattened().trim_ascii_end();
    let unpadded = unpadded.strip_suffix(b"==").or_else(|| unpadded.strip_suffix(b"=")).unwrap_or(unpadded);
    match STANDARD_NO_PAD.decode(unpadded) {
        Ok(json) if json.trim_ascii_start().starts_with(b"{") => &[Format::Csv64],
        _ => &[],
    }
}

/// True for a line of an incremental export. No item is like it: `WriteTimestampMicros` is no type of an attribute.
fn is_increment(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Stamped {
        #[serde(rename = "Metadata")]
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "WriteTimestampMicros")]
        _written: serde::de::IgnoredAny,
    }
    // As AWS writes it, which tells of a line cut short too; or with its members in another order.
    after(line, 0, &[b"{", b"\"Metadata\"", b":", b"{", b"\"WriteTimestampMicros\""]).is_some()
        || serde_json::from_slice::<Stamped>(line).is_ok_and(|Stamped { metadata: Metadata { .. } }| true)
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
    /// What `line` (without its line ending) puts or deletes, on its own.
    ///
    /// # Errors
    /// There is no item in it.
    pub fn item(self, line: &Bytes) -> Result<(Change, Bytes), Refusal> {
        let mut decoded = Vec::new();
        let (change, item) = self.item_in(line, &mut decoded)?;
        Ok((
            change,
            match item {
                ItemIn::Line(range) => line.slice(range),
                ItemIn::Decoded(range) => Bytes::from(decoded).slice(range),
            },
        ))
    }

    /// Finds what `line` (without its line ending) puts or deletes, appending to `decoded` what has to be decoded.
    pub(super) fn item_in(self, line: &[u8], decoded: &mut Vec<u8>) -> Result<(Change, ItemIn), Refusal> {
        match self {
            Self::Csv64 => base64_item(line, decoded).map(put),
            Self::Csv => csv_item(line, decoded).map(put),
            Self::Export if wrapped(line).is_none() => change_in(line),
            Self::Jsonl | Self::Export => Ok(put(ItemIn::Line(unwrapped(line)))),
        }
    }
}

fn put(item: ItemIn) -> (Change, ItemIn) {
    (Change::Put, item)
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

/// The index behind all of `wanted`, which stand in `line` from `at` on with nothing but white space between them.
fn after(line: &[u8], mut at: usize, wanted: &[&[u8]]) -> Option<usize> {
    for token in wanted {
        at += line.get(at..)?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        at = line[at..].starts_with(token).then_some(at + token.len())?;
    }
    Some(at)
}

/// Where the item's brace is in a line that begins with `{"Item":{`.
fn wrapped(line: &[u8]) -> Option<usize> {
    let inner = after(line, 0, &[b"{", b"\"Item\"", b":", b"{"])?;
    // An item whose only attribute is called Item is a key alone: {"Item":{"S":"x"}}. Then a string follows the type,
    // where in an export an attribute follows its name.
    let is_attribute =
        [&b"\"S\""[..], b"\"N\"", b"\"B\""].iter().any(|tag| after(line, inner, &[tag, b":", b"\""]).is_some());
    (!is_attribute).then(|| inner - 1)
}

/// The item in `{…}` or `{"Item":{…}}`. Well-formedness is left to the check of the item.
fn unwrapped(line: &[u8]) -> Range<usize> {
    let end = line.trim_ascii_end().len();
    match wrapped(line) {
        Some(start) if line[..end].ends_with(b"}") && end > start + 1 => start..end - 1,
        _ => 0..line.len(),
    }
}

/// A line of an incremental export.
#[derive(Deserialize)]
// A member that we don't know may change what the others mean: a misspelt NewImage would be a delete.
#[serde(deny_unknown_fields)]
struct Changed<'line> {
    #[serde(rename = "Metadata")]
    _metadata: Option<serde::de::IgnoredAny>,
    #[serde(rename = "Keys", borrow)]
    keys: Option<&'line RawValue>,
    #[serde(rename = "NewImage", borrow)]
    new_image: Option<&'line RawValue>,
    #[serde(rename = "OldImage")]
    _old_image: Option<serde::de::IgnoredAny>,
}

/// What a line of an incremental export does: it puts its new image, or deletes its keys when there is none.
fn change_in(line: &[u8]) -> Result<(Change, ItemIn), Refusal> {
    let changed: Changed<'_> = serde_json::from_slice(line).map_err(|error| {
        let said = error.to_string();
        let what = said.split(" at line ").next().unwrap_or_default();
        let reason = format!("{what} at byte {}", error.column().saturating_sub(1));
        if error.classify() == Category::Data { Refusal::NotAnExportLine(reason) } else { Refusal::NotJson(reason) }
    })?;
    let within = |value: &RawValue| {
        let start = value.get().as_ptr().addr() - line.as_ptr().addr();
        ItemIn::Line(start..start + value.get().len())
    };
    match (changed.new_image, changed.keys) {
        (Some(image), _) => Ok((Change::Put, within(image))),
        (None, Some(keys)) => Ok((Change::Delete, within(keys))),
        (None, None) => Err(Refusal::NotAnExportLine("it has neither Item nor Keys".to_owned())),
    }
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
            Ok((Change::Delete, ItemIn::Line(range))) => Ok(format!("delete {}", &line[range])),
            Ok((_, ItemIn::Line(range))) => Ok(line[range].to_owned()),
            Ok((_, ItemIn::Decoded(range))) => Ok(String::from_utf8(decoded[range].to_vec()).unwrap()),
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
            ("\u{feff}e30=\n", Format::Csv64),
            ("\u{feff}{\"id\":{\"S\":\"x\"}}\n", Format::Jsonl),
            // A full export is JSON lines that are all wrapped; only increments have a shape of their own.
            (r#"{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"id":{"S":"x"}}}"#, Format::Export),
            (r#"{"Metadata": {"WriteTimestampMicros": 1}, "Keys":{"id":{"S":"cut sho"#, Format::Export),
            (r#"{"Keys":{"id":{"S":"x"}},"Metadata":{"WriteTimestampMicros":"1"}}"#, Format::Export),
            ("{\"Item\":{\"id\":{\"S\":\"x\"}}}\n{\"Metadata\":{\"WriteTimestampMicros\":1}", Format::Export),
            ("{\"Item\":{\"id\":{\"S\":\"x\"}}}\n{\"id\":{\"S\":\"x\"}}", Format::Jsonl),
            // Items that happen to have such attributes.
            (r#"{"Metadata":{"M":{}},"Keys":{"S":"x"}}"#, Format::Jsonl),
            (r#"{"Item":{"S":"x"}}"#, Format::Jsonl),
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
        let increment = r#"{"Metadata":{"WriteTimestampMicros":1},"Keys":{"id":{"S":"x"}}}"#;
        let error = detect(&place(), format!("{{\"id\":{{\"S\":\"x\"}}}}\n{increment}").as_bytes()).unwrap_err();
        assert!(error.to_string().contains("(jsonl, export)"), "{error}");
    }

    #[test]
    fn an_increment_puts_its_new_image_and_without_one_deletes_its_keys() {
        let keys = r#"{"id":{"S":"x"}}"#;
        let image = r#"{"id":{"S":"x"},"n":{"N":"1.50"}}"#;
        for written in [r#"{"N":"1680109764000000"}"#, r#""1680109764000000""#, "1680109764000000"] {
            let line =
                |rest: &str| format!(r#"{{"Metadata":{{"WriteTimestampMicros":{written}}},"Keys":{keys}{rest}}}"#);
            let put = line(&format!(r#","NewImage": {image} ,"OldImage":{{"id":{{"S":"old"}}}}"#));
            assert_eq!(item(Format::Export, &put).unwrap(), image);
            assert_eq!(item(Format::Export, &line(&format!(r#","NewImage":{image}"#))).unwrap(), image);
            assert_eq!(item(Format::Export, &line("")).unwrap(), format!("delete {keys}"));
            let deleted = line(r#","OldImage":{"id":{"S":"old"}}"#);
            assert_eq!(item(Format::Export, &deleted).unwrap(), format!("delete {keys}"));
        }
        assert_eq!(item(Format::Export, r#"{"Item":{"id":{"S":"x"}}}"#).unwrap(), keys);
    }

    #[test]
    fn a_line_that_is_not_quite_a_change_never_deletes() {
        let refused = |line: &str| item(Format::Export, line).unwrap_err();
        let said = refused(r#"{"Keys":{"id":{"S":"x"}},"NewImag":{"id":{"S":"x"}}}"#);
        assert!(said.contains("not a line of an export: unknown field `NewImag`"), "{said}");
        let said = refused(r#"{"Keys":{"id":{"S":"x"}},"NewImage":{"id":{"S":"x"#);
        assert!(said.starts_with("not JSON: EOF"), "{said}");
        assert!(refused(r#"{"Metadata":{"WriteTimestampMicros":1}}"#).contains("neither Item nor Keys"));
        assert!(refused(r#"{"Keys":{"a":{"S":"x"}},"Keys":{"b":{"S":"x"}}}"#).contains("duplicate field `Keys`"));
        assert!(refused(r#"{"id":{"S":"x"}}"#).contains("unknown field `id`"));
        assert!(refused("").starts_with("not JSON"));
        // Cut short, it is left to the check of items, which says where it ends.
        assert_eq!(item(Format::Export, r#"{"Item":{"id":{"S":"x"#).unwrap(), r#"{"Item":{"id":{"S":"x"#);
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
            for format in [Format::Csv64, Format::Csv, Format::Jsonl, Format::Export] {
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
