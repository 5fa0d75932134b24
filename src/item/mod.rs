//! `DynamoDB` items as bytes: checked in one pass, measured, keyed and digested, never turned into maps of enums.
//!
//! ```text
//!   backup line ──> Checker::check ──> Checked { json, size, key, digest } ──> request::encode ──> stream
//!                     │  cursor   JSON grammar, strings                        request::parse  <──┘
//!                     │  number   38 digits, by value
//!                     └  digest   the same for equal items          key   the same for equal keys
//! ```

mod check;
mod cursor;
mod digest;
mod key;
pub mod legible;
mod number;
pub mod request;
mod shape;
mod types;

pub use check::Checker;
pub use digest::digest_of_attributes;
pub use key::explicit_hash_key;
#[cfg(feature = "bigquery")]
pub(crate) use number::Number;
pub use request::{PutRequest, Request};
pub use shape::{Shape, ShapeError, ShapeSpec, Shaped};
pub use types::{Checked, Key, KeyAttr, KeyKind, KeySchema, Refusal};
