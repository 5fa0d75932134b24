//! Primary keys in one canonical spelling, and where they go among the shards of a stream.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::cursor::write_string;
use super::number::Number;
use super::types::{Key, KeyAttr, KeyKind, KeySchema};

impl KeyKind {
    /// The type's name in `DynamoDB` JSON.
    pub fn tag(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::N => "N",
            Self::B => "B",
        }
    }
}

/// Writes a [`Key`]'s JSON, an attribute after the other, partition first.
#[derive(Debug)]
pub(super) struct KeyWriter {
    json: Vec<u8>,
}

impl KeyWriter {
    pub(super) fn new() -> Self {
        Self { json: Vec::with_capacity(64) }
    }

    /// Appends an attribute whose value is already a JSON string, quotes included.
    pub(super) fn attribute(&mut self, attr: &KeyAttr, quoted: &[u8]) {
        self.json.push(if self.json.is_empty() { b'{' } else { b',' });
        write_string(&mut self.json, attr.name.as_bytes());
        self.json.extend_from_slice(b":{\"");
        self.json.extend_from_slice(attr.kind.tag().as_bytes());
        self.json.extend_from_slice(b"\":");
        self.json.extend_from_slice(quoted);
        self.json.push(b'}');
    }

    pub(super) fn finish(mut self) -> Key {
        self.json.push(b'}');
        Key { hash: xxh3_128(&self.json), json: Bytes::from(self.json) }
    }
}

impl Key {
    /// The key of an item (or of a bare key) that came through the SDK's types: equal to
    /// [`Checked::key`](super::Checked::key) of the same item as bytes. `None` when an attribute is missing or of
    /// another type.
    pub fn of_attributes<S: std::hash::BuildHasher>(
        schema: &KeySchema,
        item: &HashMap<String, AttributeValue, S>,
    ) -> Option<Self> {
        let mut writer = KeyWriter::new();
        let mut quoted = Vec::new();
        for attr in std::iter::once(&schema.partition).chain(&schema.sort) {
            quoted.clear();
            match (attr.kind, item.get(&attr.name)?) {
                (KeyKind::S, AttributeValue::S(text)) => write_string(&mut quoted, text.as_bytes()),
                (KeyKind::N, AttributeValue::N(text)) => {
                    write_quoted_number(&mut quoted, &Number::parse(text.as_bytes()).ok()?);
                }
                (KeyKind::B, AttributeValue::B(blob)) => {
                    write_string(&mut quoted, STANDARD.encode(blob.as_ref()).as_bytes());
                }
                _ => return None,
            }
            writer.attribute(attr, &quoted);
        }
        Some(writer.finish())
    }
}

impl Key {
    /// A hash of the partition key alone: equal for all items that live together.
    pub fn partition_hash(&self) -> u64 {
        // The first attribute ends with the third string: its name, its type, its value.
        let (mut strings, mut inside, mut escaped) = (0, false, false);
        let end = self.json.iter().position(|byte| {
            match (inside, escaped, byte) {
                (true, true, _) => escaped = false,
                (true, false, b'\\') => escaped = true,
                (true, false, b'"') => {
                    inside = false;
                    strings += 1;
                }
                (false, _, b'"') => inside = true,
                _ => {}
            }
            strings == 3
        });
        xxh3_64(&self.json[..end.map_or(self.json.len(), |end| end + 1)])
    }
}

/// Appends a number as the JSON string that equal numbers share.
pub(super) fn write_quoted_number(out: &mut Vec<u8>, number: &Number) {
    out.push(b'"');
    number.write(out);
    out.push(b'"');
}

/// The `ExplicitHashKey` of a record: even over 2^128, and the same for all versions of one key of one table.
pub fn explicit_hash_key(table: &str, key: &Key) -> u128 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&xxh3_128(table.as_bytes()).to_le_bytes());
    bytes[16..].copy_from_slice(&key.hash.to_le_bytes());
    xxh3_128(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> KeySchema {
        KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None }
    }

    fn key(id: u32) -> Key {
        let item = HashMap::from([("id".to_owned(), AttributeValue::S(format!("user-{id}")))]);
        Key::of_attributes(&schema(), &item).unwrap()
    }

    #[test]
    fn ten_thousand_keys_spread_evenly_over_ten_shards() {
        let mut shards = [0u32; 10];
        for id in 0..10_000 {
            let share = explicit_hash_key("t", &key(id)) / (u128::MAX / 10 + 1);
            shards[share as usize] += 1;
        }
        // Five standard deviations of a fair draw.
        assert!(shards.iter().all(|count| count.abs_diff(1000) < 150), "{shards:?}");
    }

    #[test]
    fn one_key_of_one_table_always_has_the_same_hash_key_and_another_table_another() {
        assert_eq!(explicit_hash_key("t", &key(1)), explicit_hash_key("t", &key(1)));
        assert_ne!(explicit_hash_key("t", &key(1)), explicit_hash_key("u", &key(1)));
        assert_ne!(explicit_hash_key("t", &key(1)), explicit_hash_key("t", &key(2)));
    }

    #[test]
    fn a_missing_or_mistyped_attribute_has_no_key() {
        assert_eq!(Key::of_attributes(&schema(), &HashMap::new()), None);
        let number = HashMap::from([("id".to_owned(), AttributeValue::N("1".into()))]);
        assert_eq!(Key::of_attributes(&schema(), &number), None);
    }
}
