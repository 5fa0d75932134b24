//! DynamoDB items as bytes: checked in one pass, measured, keyed and digested, never turned into maps of enums.

mod types;

pub use types::{Checked, Key, KeyAttr, KeyKind, KeySchema, Refusal};
