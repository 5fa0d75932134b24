//! Reads rows by the descriptor that their writer gave.

use std::collections::HashMap;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_types::DescriptorProto;
use prost_types::field_descriptor_proto::{Label, Type};

use super::rules::Came;

/// A field of the writer's message.
#[derive(Clone, Debug)]
pub(super) struct WriterField {
    pub name: String,
    pub kind: Type,
    pub repeated: bool,
}

/// The writer's fields by their numbers.
pub(super) type WriterFields = HashMap<u32, WriterField>;

pub(super) fn writer_fields(descriptor: &DescriptorProto) -> WriterFields {
    let field = |field: &prost_types::FieldDescriptorProto| {
        (
            field.number() as u32,
            WriterField {
                name: field.name().to_owned(),
                kind: field.r#type(),
                repeated: field.label() == Label::Repeated,
            },
        )
    };
    descriptor.field.iter().map(field).collect()
}

/// Whether a field of this type goes into a column of `column` ("Supported protocol buffer data types").
pub(super) fn goes_into(kind: Type, column: &str) -> bool {
    let numbers = [Type::Int32, Type::Int64, Type::Uint32, Type::Uint64];
    match column {
        "STRING" | "JSON" => kind == Type::String,
        "BYTES" => matches!(kind, Type::Bytes | Type::String),
        "BOOLEAN" => kind == Type::Bool || numbers.contains(&kind),
        "INTEGER" | "TIMESTAMP" => numbers.contains(&kind),
        "NUMERIC" | "BIGNUMERIC" => {
            matches!(kind, Type::String | Type::Bytes | Type::Double | Type::Float) || numbers.contains(&kind)
        }
        "FLOAT" => matches!(kind, Type::Double | Type::Float),
        _ => false,
    }
}

/// The values of a row, in the order in which they came, each with its field.
pub(super) fn values<'a>(mut row: &[u8], fields: &'a WriterFields) -> Result<Vec<(&'a WriterField, Came)>, String> {
    let mut values = Vec::new();
    while !row.is_empty() {
        let (number, wire) = decode_key(&mut row).map_err(|error| error.to_string())?;
        let Some(field) = fields.get(&number) else {
            skip_field(wire, number, &mut row, DecodeContext::default()).map_err(|error| error.to_string())?;
            continue;
        };
        let came = match (field.kind, wire) {
            (Type::String | Type::Bytes, WireType::LengthDelimited) => {
                let length = decode_varint(&mut row).map_err(|error| error.to_string())? as usize;
                let Some((bytes, rest)) = row.split_at_checked(length) else { return Err("cut short".into()) };
                row = rest;
                if field.kind == Type::Bytes {
                    Came::Bytes(bytes.to_vec())
                } else {
                    Came::Text(String::from_utf8(bytes.to_vec()).map_err(|_| format!("{} is not UTF-8", field.name))?)
                }
            }
            (Type::Bool, WireType::Varint) => {
                Came::Bool(decode_varint(&mut row).map_err(|error| error.to_string())? != 0)
            }
            (Type::Int64 | Type::Int32 | Type::Uint32 | Type::Uint64, WireType::Varint) => {
                Came::Int(decode_varint(&mut row).map_err(|error| error.to_string())? as i64)
            }
            (Type::Double, WireType::SixtyFourBit) => {
                let Some((bytes, rest)) = row.split_first_chunk::<8>() else { return Err("cut short".into()) };
                row = rest;
                Came::Float(f64::from_le_bytes(*bytes))
            }
            (kind, wire) => return Err(format!("field {} of type {kind:?} came as {wire:?}", field.name)),
        };
        values.push((field, came));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::super::rules::stored;
    use super::*;
    use crate::bigquery::column::{Columns, Keeps};
    use crate::bigquery::met::Met;
    use crate::bigquery::row::{Change, Row, descriptor};
    use crate::item::{KeyAttr, KeyKind, KeySchema};

    proptest! {
        #[test]
        fn what_is_sent_of_an_item_is_what_bigquery_reads(
            text in any::<String>(),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            number in "-?[0-9]{1,20}(\\.[0-9]{1,9})?",
            set in prop::collection::btree_set("[a-z]{0,5}", 1..4),
            flag in any::<bool>(),
        ) {
            let map = json!({"M": {"k": {"S": text}}});
            let item = json!({
                "id": {"S": "k"}, "s": {"S": text}, "n": {"N": number}, "b": {"B": STANDARD.encode(&bytes)},
                "ss": {"SS": set}, "ok": {"BOOL": flag}, "m": map,
            });
            let key = KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None };
            let columns = Columns::made(&key, &[item.to_string()], None, Keeps::Rows).unwrap();
            let change = Change {
                key: bytes::Bytes::from_static(br#"{"id":{"S":"k"}}"#),
                image: Some(item.to_string().into()),
                sequence: None,
                at_ms: None,
                by_ttl: false,
            };
            let row = Row::of(&change, &columns, &mut Met::default()).unwrap();
            let fields = writer_fields(&descriptor(&columns));
            let mut read = Map::new();
            for (field, came) in values(&row.to_proto(&columns), &fields).unwrap() {
                let kind = columns.named(&field.name).map_or("STRING", |at| columns.all()[at].kind.name());
                prop_assert!(goes_into(field.kind, kind), "{} {kind}", field.name);
                let value = stored(kind, came).unwrap();
                match read.entry(field.name.as_str()) {
                    serde_json::map::Entry::Vacant(free) if field.repeated => drop(free.insert(json!([value]))),
                    serde_json::map::Entry::Vacant(free) => drop(free.insert(value)),
                    serde_json::map::Entry::Occupied(mut list) => list.get_mut().as_array_mut().unwrap().push(value),
                }
            }
            let sent = row.to_json(&columns);
            prop_assert_eq!(&read["s"], &json!(text));
            prop_assert_eq!(&read["b"], &json!(STANDARD.encode(&bytes)));
            prop_assert_eq!(&read["m"], &map);
            prop_assert_eq!(&read["ok"], &json!(flag));
            prop_assert_eq!(&read["ss"], &json!(set));
            prop_assert_eq!(&read["n"], &sent["n"]);
            prop_assert_eq!(&read["_CHANGE_TYPE"], &json!("UPSERT"));
        }
    }
}
