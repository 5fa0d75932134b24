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
