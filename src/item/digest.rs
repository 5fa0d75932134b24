//! The order-free digest of an item: 128 bits, the same for equal items however they are spelled.
//!
//! Every value is hashed with xxh3-128 under a seed of its type, so that `"1"` and `1` differ. A map is the wrapping
//! sum of what its entries mix to, a set the sum of its members: sums don't ask for an order. A list is folded in order.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::number::Number;

/// What a hash is of. The values are part of every stored digest: never change one.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum Domain {
    String = 1,
    Number = 2,
    Binary = 3,
    Boolean = 4,
    Null = 5,
    Map = 6,
    List = 7,
    StringSet = 8,
    NumberSet = 9,
    BinarySet = 10,
    Name = 11,
    Entry = 12,
    Element = 13,
    Unknown = 14,
}

/// The hash of `bytes` as `domain`.
#[inline]
pub(super) fn hash(domain: Domain, bytes: &[u8]) -> u128 {
    xxh3_128_with_seed(bytes, domain as u64)
}

/// The hash of a number by value.
#[inline]
pub(super) fn hash_number(number: &Number) -> u128 {
    let mut bytes = [0; 41];
    let len = number.canonical_bytes(&mut bytes);
    hash(Domain::Number, &bytes[..len])
}

/// The hash of a boolean.
pub(super) fn hash_boolean(value: bool) -> u128 {
    hash(Domain::Boolean, &[u8::from(value)])
}

/// The hash of a null.
pub(super) fn hash_null() -> u128 {
    hash(Domain::Null, &[])
}

#[inline]
fn mix(domain: Domain, first: u128, second: u128) -> u128 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&first.to_le_bytes());
    bytes[16..].copy_from_slice(&second.to_le_bytes());
    hash(domain, &bytes)
}

/// What a map, list or set holds so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathered {
    sum: u128,
    count: u64,
}

impl Gathered {
    /// An entry of a map: order does not matter.
    #[inline]
    pub(super) fn entry(&mut self, name: u128, value: u128) {
        self.member(mix(Domain::Entry, name, value));
    }

    /// A member of a set: order does not matter.
    #[inline]
    pub(super) fn member(&mut self, value: u128) {
        self.sum = self.sum.wrapping_add(value);
        self.count += 1;
    }

    /// The next element of a list: order matters.
    #[inline]
    pub(super) fn element(&mut self, value: u128) {
        self.sum = mix(Domain::Element, self.sum, value);
        self.count += 1;
    }

    /// How many were gathered.
    pub(super) fn count(self) -> u64 {
        self.count
    }

    /// The hash of the whole.
    #[inline]
    pub(super) fn hash(self, domain: Domain) -> u128 {
        mix(domain, self.sum, u128::from(self.count))
    }
}

/// The digest of an item that came through the SDK's types: equal to [`Checked::digest`](super::Checked::digest) of
/// the same item as bytes.
pub fn digest_of_attributes<S: std::hash::BuildHasher>(item: &HashMap<String, AttributeValue, S>) -> u128 {
    let mut gathered = Gathered::default();
    for (name, value) in item {
        gathered.entry(hash(Domain::Name, name.as_bytes()), hash_value(value));
    }
    gathered.hash(Domain::Map)
}

fn hash_value(value: &AttributeValue) -> u128 {
    match value {
        AttributeValue::S(text) => hash(Domain::String, text.as_bytes()),
        AttributeValue::N(text) => hash_number_text(text),
        AttributeValue::B(blob) => hash_blob(blob.as_ref()),
        AttributeValue::Bool(value) => hash_boolean(*value),
        AttributeValue::Null(_) => hash_null(),
        AttributeValue::M(map) => digest_of_attributes(map),
        AttributeValue::L(list) => {
            let mut gathered = Gathered::default();
            list.iter().for_each(|value| gathered.element(hash_value(value)));
            gathered.hash(Domain::List)
        }
        AttributeValue::Ss(set) => {
            hash_set(Domain::StringSet, set.iter().map(|text| hash(Domain::String, text.as_bytes())))
        }
        AttributeValue::Ns(set) => hash_set(Domain::NumberSet, set.iter().map(|text| hash_number_text(text))),
        AttributeValue::Bs(set) => hash_set(Domain::BinarySet, set.iter().map(|blob| hash_blob(blob.as_ref()))),
        // A type younger than this SDK: equal to nothing that we can read from bytes.
        _ => hash(Domain::Unknown, &[]),
    }
}

fn hash_set(domain: Domain, members: impl Iterator<Item = u128>) -> u128 {
    let mut gathered = Gathered::default();
    members.for_each(|member| gathered.member(member));
    gathered.hash(domain)
}

/// The service only answers with numbers that [`Number`] reads; anything else is hashed as it is written.
fn hash_number_text(text: &str) -> u128 {
    Number::parse(text.as_bytes())
        .map_or_else(|_| hash(Domain::Unknown, text.as_bytes()), |number| hash_number(&number))
}

fn hash_blob(bytes: &[u8]) -> u128 {
    hash(Domain::Binary, STANDARD.encode(bytes).as_bytes())
}
