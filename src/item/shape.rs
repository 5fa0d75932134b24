//! Which items of a backup are taken, and as what: filter, renames, new values, expiry.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::types::Refusal;

/// The options that shape items, as an operator wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShapeSpec {
    /// Only items for which this is true.
    pub filter: Option<String>,
    /// Attributes that get another name, `OLD=NEW`.
    pub rename: Vec<String>,
    /// Attributes that get a value, `NAME=EXPRESSION`.
    pub set: Vec<String>,
    /// Items are left out whose time in this attribute (seconds since the epoch, as TTL has it) is past.
    pub skip_expired: Option<String>,
}

/// Why a shape can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shaped {
    /// It is taken, as this `DynamoDB` JSON.
    Item(Bytes),
    /// An option leaves it out.
    Skipped,
}

/// A shape that is ready to be applied.
#[derive(Clone, Debug, Default)]
pub struct Shape {}

impl Shape {
    /// Reads the options.
    ///
    /// # Errors
    /// An expression or a name that can't be read, in words.
    pub fn new(_spec: &ShapeSpec) -> Result<Self, ShapeError> {
        Ok(Self {})
    }

    /// True when items pass as they are.
    pub fn is_nothing(&self) -> bool {
        true
    }

    /// Applies it to an item. `now` is in seconds since the epoch.
    ///
    /// # Errors
    /// The item is no JSON, or an expression can't be computed on it: a dead letter.
    pub fn apply(&self, json: Bytes, _now: i64) -> Result<Shaped, Refusal> {
        Ok(Shaped::Item(json))
    }

    /// Applies the renames to a bare key, as a delete carries it.
    pub fn key(&self, json: Bytes) -> Result<Bytes, Refusal> {
        Ok(json)
    }
}
