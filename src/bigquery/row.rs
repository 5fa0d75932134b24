//! A row on its way: an item's cells under a table's columns, as the message of the Storage Write API or as JSON.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use prost::encoding;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};
use serde_json::{Map, Value as Json, json};

use super::column::{ColumnType, Columns, Keeps, Place, log};
use super::conflict::Conflict;
use super::met::Met;
use super::sequence::{BOOTSTRAP, NoSequence, change_sequence};
use super::value::{Attribute, Cell, Misfit, Value, attributes, cell};

/// The pseudo column that says what a row does ("Specify changes to existing records").
pub(super) const CHANGE_TYPE: &str = "_CHANGE_TYPE";
/// The pseudo column that says which row of a key is the latest ("Manage custom ordering").
pub(super) const CHANGE_SEQUENCE: &str = "_CHANGE_SEQUENCE_NUMBER";

/// One change on its way.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The key alone, `DynamoDB` JSON.
    pub key: Bytes,
    /// The item; `None` is a delete.
    pub image: Option<Bytes>,
    /// Its stream's sequence number; `None` for what the bootstrap copied.
    pub sequence: Option<String>,
    /// When it happened, ms since the epoch.
    pub at_ms: Option<i64>,
    /// The item expired.
    pub by_ttl: bool,
}

impl Change {
    /// The bytes that it is made of.
    pub fn item(&self) -> &Bytes {
        self.image.as_ref().unwrap_or(&self.key)
    }
}

/// Why a change can't become a row.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("not an item: {0}")]
    NoItem(#[from] serde_json::Error),
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error("{0}")]
    Conflict(#[from] Conflict),
    #[error(
        "attribute {0} has no column, and the table has as many as BigQuery allows: name a column for such \
             (--unknown-into)"
    )]
    NoRoom(String),
    #[error("key attribute {0} is missing")]
    NoKey(String),
    #[error(transparent)]
    NoSequence(#[from] NoSequence),
}

/// A change as cells, by the index of their columns.
#[derive(Debug)]
pub(super) struct Row<'a> {
    cells: Vec<(usize, Cell<'a>)>,
    /// UPSERT or DELETE, and the sequence.
    change: Option<(&'static str, Cow<'a, str>)>,
}

impl<'a> Row<'a> {
    /// `change` under `columns`. Attributes that have no column and could have one are noted in `met`, and their values are
    /// not in the row.
    pub fn of(change: &'a Change, columns: &Columns, met: &mut Met) -> Result<Self, Refused> {
        let read = attributes(change.item())?;
        let mut cells: Vec<(usize, Cell<'a>)> = Vec::with_capacity(read.len() + 4);
        let mut unknown: Vec<&Attribute<'a>> = Vec::new();
        for attribute in &read {
            let fits = match columns.place(&attribute.name) {
                Ok(Place::Column(at)) => {
                    cell(attribute, &columns.all()[at]).map(|cell| cell.map(|cell| (at, cell))).map_err(Refused::from)
                }
                // NULL needs no column.
                Ok(Place::Free(_)) if matches!(attribute.value, Value::Null(_)) => continue,
                Ok(Place::Free(_)) if columns.unknown().is_none() => {
                    met.meet(attribute);
                    continue;
                }
                Ok(Place::Free(_)) => {
                    unknown.push(attribute);
                    continue;
                }
                Err(conflict) => Err(conflict.into()),
            };
            match fits {
                Ok(None) => {}
                Ok(Some((at, _))) if cells.iter().any(|(other, _)| *other == at) => {
                    let column = columns.all()[at].name.clone();
                    return Err(Conflict::SameColumn {
                        first: column.clone(),
                        second: attribute.name.to_string(),
                        column,
                    }
                    .into());
                }
                Ok(Some(placed)) => cells.push(placed),
                // A key must stand in its columns; NULL is nothing that would be lost.
                Err(_) if matches!(attribute.value, Value::Null(_)) => {}
                Err(_) if columns.unknown().is_some() && !is_of_key(&attribute.name, columns) => {
                    unknown.push(attribute);
                }
                Err(refused) => return Err(refused),
            }
        }
        if let Some(at) = columns.unknown().filter(|_| !unknown.is_empty()) {
            cells.push((at, Cell::Json(gathered(&unknown).into())));
        }
        for name in columns.key() {
            if !columns.named(name).is_some_and(|at| cells.iter().any(|(there, _)| *there == at)) {
                return Err(Refused::NoKey(name.clone()));
            }
        }
        let is_put = change.image.is_some();
        let change = match columns.keeps() {
            Keeps::Rows => {
                let sequence = match &change.sequence {
                    Some(sequence) => Cow::Owned(change_sequence(sequence)?),
                    None => Cow::Borrowed(BOOTSTRAP),
                };
                Some((if is_put { "UPSERT" } else { "DELETE" }, sequence))
            }
            Keeps::Log => {
                let mut add = |name: &str, cell: Cell<'a>| {
                    if let Some(at) = columns.named(name) {
                        cells.push((at, cell));
                    }
                };
                add(log::CHANGE, Cell::Text(if is_put { "PUT" } else { "DELETE" }.into()));
                let sequence = change.sequence.as_deref().unwrap_or_default();
                add(log::SEQUENCE, Cell::Text(format!("{sequence:0>40}").into()));
                if let Some(at_ms) = change.at_ms {
                    add(log::TIME, Cell::Int(at_ms.saturating_mul(1000)));
                }
                add(log::BY_TTL, Cell::Bool(change.by_ttl));
                None
            }
        };
        Ok(Self { cells, change })
    }

    /// As the message of [`descriptor`].
    pub fn to_proto(&self, columns: &Columns) -> Bytes {
        let mut out = Vec::new();
        for (at, cell) in &self.cells {
            let tag = tag(*at);
            match cell {
                Cell::Text(text) | Cell::Json(text) => put_text(tag, text, &mut out),
                Cell::Bytes(bytes) => encoding::bytes::encode(tag, bytes, &mut out),
                Cell::Bool(value) => encoding::bool::encode(tag, value, &mut out),
                Cell::Int(value) => encoding::int64::encode(tag, value, &mut out),
                Cell::Float(value) => encoding::double::encode(tag, value, &mut out),
                Cell::Texts(texts) => texts.iter().for_each(|text| put_text(tag, text, &mut out)),
                Cell::ByteStrings(all) => all.iter().for_each(|bytes| encoding::bytes::encode(tag, bytes, &mut out)),
            }
        }
        if let Some((kind, sequence)) = &self.change {
            put_text(tag(columns.all().len()), kind, &mut out);
            put_text(tag(columns.all().len() + 1), sequence, &mut out);
        }
        out.into()
    }

    /// As `tabledata.insertAll` takes it: decimals as text, BYTES as base64, JSON as its text.
    pub fn to_json(&self, columns: &Columns) -> Json {
        let mut out = Map::new();
        for (at, cell) in &self.cells {
            let column = &columns.all()[*at];
            let value = match cell {
                Cell::Text(text) | Cell::Json(text) => json!(text),
                Cell::Bytes(bytes) => json!(STANDARD.encode(bytes)),
                Cell::Bool(value) => json!(value),
                Cell::Int(micros) if column.kind == ColumnType::Timestamp => {
                    json!(Timestamp::from_microsecond(*micros).map(|time| time.to_string()).unwrap_or_default())
                }
                Cell::Int(value) => json!(value.to_string()),
                Cell::Float(value) => json!(value),
                Cell::Texts(texts) => json!(texts),
                Cell::ByteStrings(all) => all.iter().map(|bytes| json!(STANDARD.encode(bytes))).collect(),
            };
            out.insert(column.name.clone(), value);
        }
        if let Some((kind, sequence)) = &self.change {
            out.insert(CHANGE_TYPE.to_owned(), json!(kind));
            out.insert(CHANGE_SEQUENCE.to_owned(), json!(sequence));
        }
        out.into()
    }
}

fn is_of_key(attribute: &str, columns: &Columns) -> bool {
    matches!(columns.place(attribute), Ok(Place::Column(at)) if columns.key().contains(&columns.all()[at].name))
}

/// `{"name":{"TYPE":value},…}` of attributes, their bytes as they came.
fn gathered(attributes: &[&Attribute<'_>]) -> String {
    let mut out = String::from("{");
    for attribute in attributes {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&json!(attribute.name).to_string());
        out.push(':');
        out.push_str(attribute.json);
    }
    out.push('}');
    out
}

/// The field number of the column at `at`.
fn tag(at: usize) -> u32 {
    at as u32 + 1
}

fn put_text(tag: u32, text: &str, out: &mut Vec<u8>) {
    encoding::encode_key(tag, encoding::WireType::LengthDelimited, out);
    encoding::encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// The message that rows under `columns` are: an optional or repeated field for each column, and, where rows are kept, the
/// two pseudo columns.
pub(super) fn descriptor(columns: &Columns) -> DescriptorProto {
    let field = |at: usize, name: &str, kind: Type, repeated: bool| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(tag(at) as i32),
        label: Some(if repeated { Label::Repeated } else { Label::Optional } as i32),
        r#type: Some(kind as i32),
        ..FieldDescriptorProto::default()
    };
    let mut fields: Vec<FieldDescriptorProto> = columns
        .all()
        .iter()
        .enumerate()
        .filter_map(|(at, column)| {
            let kind = match column.kind {
                // The documentation takes text for both decimals ("Supported protocol buffer data types").
                ColumnType::String | ColumnType::Numeric | ColumnType::BigNumeric | ColumnType::Json => Type::String,
                ColumnType::Bytes => Type::Bytes,
                ColumnType::Bool => Type::Bool,
                ColumnType::Int64 | ColumnType::Timestamp => Type::Int64,
                ColumnType::Float64 => Type::Double,
                ColumnType::Other(_) => return None,
            };
            Some(field(at, &column.name, kind, column.repeated))
        })
        .collect();
    if columns.keeps() == Keeps::Rows {
        let next = columns.all().len();
        fields.push(field(next, CHANGE_TYPE, Type::String, false));
        fields.push(field(next + 1, CHANGE_SEQUENCE, Type::String, false));
    }
    DescriptorProto { name: Some("Row".to_owned()), field: fields, ..DescriptorProto::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{KeyAttr, KeyKind, KeySchema};

    fn columns(sample: &str, unknown: Option<&str>, keeps: Keeps) -> Columns {
        let key = KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None };
        Columns::made(&key, &[sample], unknown, keeps).unwrap()
    }

    fn put(item: &'static str) -> Change {
        Change {
            key: Bytes::from_static(br#"{"id":{"S":"1"}}"#),
            image: Some(item.into()),
            sequence: Some("300000000000000499659".into()),
            at_ms: Some(1_520_175_584_000),
            by_ttl: false,
        }
    }

    #[test]
    fn a_put_is_an_upsert_and_a_delete_carries_the_key_alone() {
        let item = r#"{"id":{"S":"1"},"n":{"N":"1.50"},"b":{"B":"AQL/"},"ns":{"NS":["1"]},"m":{"M":{}}}"#;
        let columns = columns(item, None, Keeps::Rows);
        let mut met = Met::default();
        let change = put(item);
        assert_eq!(
            Row::of(&change, &columns, &mut met).unwrap().to_json(&columns),
            json!({"id": "1", "n": "1.5", "b": "AQL/", "ns": ["1"], "m": "{\"M\":{}}", "_CHANGE_TYPE": "UPSERT",
                   "_CHANGE_SEQUENCE_NUMBER": "10/43561A8829379FCB"})
        );
        let delete = Change { image: None, ..put("") };
        assert_eq!(
            Row::of(&delete, &columns, &mut met).unwrap().to_json(&columns),
            json!({"id": "1", "_CHANGE_TYPE": "DELETE", "_CHANGE_SEQUENCE_NUMBER": "10/43561A8829379FCB"})
        );
        let scanned = Change { sequence: None, ..put(item) };
        let row = Row::of(&scanned, &columns, &mut met).unwrap().to_json(&columns);
        assert_eq!(row["_CHANGE_SEQUENCE_NUMBER"], "0");
        assert!(met.is_empty());
    }

    #[test]
    fn a_log_keeps_what_happened_when() {
        let columns = columns(r#"{"id":{"S":"1"}}"#, None, Keeps::Log);
        let delete = Change { image: None, by_ttl: true, ..put("") };
        assert_eq!(
            Row::of(&delete, &columns, &mut Met::default()).unwrap().to_json(&columns),
            json!({"id": "1", "sluice_change": "DELETE", "sluice_time": "2018-03-04T14:59:44Z", "sluice_by_ttl": true,
                   "sluice_sequence": "0000000000000000000300000000000000499659"})
        );
    }

    #[test]
    fn an_attribute_without_a_column_is_noted_or_goes_where_the_unknown_goes() {
        let item = r#"{"id":{"S":"1"},"n":{"S":"text"},"new":{"N":"1.10"}}"#;
        let sample = r#"{"id":{"S":"1"},"n":{"N":"1"}}"#;
        let mut met = Met::default();
        let change = put(item);
        let strict = columns(sample, None, Keeps::Rows);
        let error = Row::of(&change, &strict, &mut met).unwrap_err().to_string();
        assert!(error.contains("attribute \"n\" does not fit"), "{error}");
        let fitting = put(r#"{"id":{"S":"1"},"new":{"N":"1.10"}}"#);
        Row::of(&fitting, &strict, &mut met).unwrap();
        assert!(!met.is_empty());
        let lenient = columns(sample, Some("rest"), Keeps::Rows);
        let row = Row::of(&change, &lenient, &mut Met::default()).unwrap().to_json(&lenient);
        assert_eq!(row["rest"], r#"{"n":{"S":"text"},"new":{"N":"1.10"}}"#);
        assert_eq!(row.get("n"), None);
    }

    #[test]
    fn without_its_key_nothing_is_a_row() {
        let columns = columns(r#"{"id":{"S":"1"}}"#, Some("rest"), Keeps::Rows);
        for (item, says) in
            [("{}", "key attribute id is missing"), (r#"{"id":{"N":"1"}}"#, "takes only S"), ("x", "not an item")]
        {
            let change = put(item);
            let error = Row::of(&change, &columns, &mut Met::default()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_message_is_what_its_descriptor_says() {
        let item = r#"{"id":{"S":"1"},"ok":{"BOOL":true},"ss":{"SS":["a","b"]}}"#;
        let columns = columns(item, None, Keeps::Rows);
        let names: Vec<_> = descriptor(&columns).field.iter().map(|f| (f.name().to_owned(), f.number())).collect();
        assert_eq!(names[0], ("id".to_owned(), 1));
        assert_eq!(names[3..], [("_CHANGE_TYPE".to_owned(), 4), ("_CHANGE_SEQUENCE_NUMBER".to_owned(), 5)]);
        let change = put(item);
        let bytes = Row::of(&change, &columns, &mut Met::default()).unwrap().to_proto(&columns);
        assert_eq!(&bytes[..], b"\x0a\x011\x10\x01\x1a\x01a\x1a\x01b\x22\x06UPSERT\x2a\x1310/43561A8829379FCB");
    }
}
