//! The words of this folder.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
}

/// A key attribute: its name and type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyAttr {
    /// Attribute name.
    pub name: String,
    /// Attribute type.
    pub kind: KeyKind,
}

/// A table's primary key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeySchema {
    /// The partition (HASH) key.
    pub partition: KeyAttr,
    /// The sort (RANGE) key.
    pub sort: Option<KeyAttr>,
}

/// A primary key, canonical: equal keys have equal bytes (numbers by value, binary as padded base64).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// `DynamoDB` JSON of the key attributes alone, partition first: `{"id":{"S":"x"}}`.
    pub json: Bytes,
    /// xxh3-128 of `json`.
    pub hash: u128,
}

/// An item that passed the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Compact or not, the item's `DynamoDB` JSON as it goes into a request: the bytes that came in, except that legacy
    /// binary is rewritten as base64.
    pub json: Bytes,
    /// Size by `DynamoDB`'s rule, bytes: names in UTF-8 plus values.
    pub size: u32,
    /// Its primary key.
    pub key: Key,
    /// Order-free digest of the canonical item: equal for equal items whatever the order of attributes, the spelling
    /// of numbers or the order of sets.
    pub digest: u128,
}

impl Checked {
    /// Write capacity that putting it takes in the table alone, WCU: one per started KiB.
    pub fn wcu(&self) -> u32 {
        self.size.div_ceil(1024).max(1)
    }
}

/// Why an item can never be restored. Its `Display` is the reason a dead letter carries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The backup line is not base64, or is cut short.
    #[error("not base64: {0}")]
    NotBase64(String),
    /// Not JSON; the reason carries the byte where it broke.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object.
    #[error("not an object: an item is {{\"name\":{{\"TYPE\":value}},…}}")]
    NotAnObject,
    /// An attribute that is not `{"TYPE":value}` of a known type, or has two types.
    #[error("attribute {name}: {reason}")]
    BadAttribute {
        /// The attribute's name, as written.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More than 409,600 bytes by `DynamoDB`'s rule.
    #[error("item of {0} bytes: DynamoDB takes at most 409,600")]
    TooLarge(u64),
    /// A key attribute is missing.
    #[error("key attribute {0} is missing")]
    MissingKey(String),
    /// A key attribute is an empty string or binary.
    #[error("key attribute {0} is empty")]
    EmptyKey(String),
    /// A key attribute has another type than the table's.
    #[error("key attribute {name} is of type {found}, the table wants {wanted:?}")]
    WrongKeyType {
        /// The attribute.
        name: String,
        /// Its type as written.
        found: String,
        /// The table's type.
        wanted: KeyKind,
    },
    /// A key attribute is longer than `DynamoDB` takes: 2,048 bytes for a partition key, 1,024 for a sort key
    /// (`DynamoDB` developer guide, "Constraints").
    #[error("key attribute {name} is {bytes} bytes: DynamoDB takes at most {limit}")]
    KeyTooLong {
        /// The attribute.
        name: String,
        /// Its length, bytes.
        bytes: u64,
        /// The longest allowed, bytes.
        limit: u64,
    },
    /// A line of a backup that is longer than [`crate::backup::LONGEST_LINE`].
    #[error("line of {0} bytes: no item needs more than 16 MiB")]
    LineTooLong(u64),
    /// An expression of the options can't be computed on this item.
    #[error("expression {0:?}: {1}")]
    Expression(String, String),
    /// A line of a `DynamoDB` export that is neither an item nor a change.
    #[error("not a line of an export: {0}")]
    NotAnExportLine(String),
    /// A record on a stream that is no put request.
    #[error("not a put request: {0}")]
    NotAPutRequest(String),
    /// The service refused this item for good.
    #[error("refused by DynamoDB: {0}")]
    Refused(String),
}
