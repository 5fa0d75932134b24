//! Which items of a backup are taken, and as what: expiry, filter, new values, renames, in that order.
//!
//! Attributes that no option names keep their bytes: an item is cut at its attributes, not turned into values and back.

mod expression;
mod value;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::expression::Expression;
use self::value::{Kind, typed, untyped};
use super::cursor::write_string;
use super::types::Refusal;

/// The options that shape items, as an operator wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShapeSpec {
    /// Only items for which this jq expression gives something true.
    pub filter: Option<String>,
    /// Attributes that get another name, `OLD=NEW`.
    pub rename: Vec<String>,
    /// Attributes that get a value, `NAME=EXPRESSION` or `NAME:TYPE=EXPRESSION`.
    pub set: Vec<String>,
    /// Items are left out whose time in this attribute (seconds since the epoch, as TTL has it) is past.
    pub skip_expired: Option<String>,
    /// The moment that decides what is past, seconds since the epoch: a resume and a verify decide as the first run did.
    pub expired_at: Option<i64>,
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

/// A shape that is ready to be applied, by many at the same time.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    filter: Option<Expression>,
    sets: Vec<Set>,
    /// Old name, new name.
    renames: Vec<(String, String)>,
    /// The attribute, and the moment in seconds since the epoch.
    expiry: Option<(String, i64)>,
}

#[derive(Clone, Debug)]
struct Set {
    name: String,
    kind: Option<Kind>,
    value: SetTo,
}

#[derive(Clone, Debug)]
enum SetTo {
    /// A bare `.name`: that attribute as it stands, type included.
    Copy(String),
    Computed(Expression),
}

/// `DynamoDB`'s TTL leaves items alone whose time is more than five years past ("How it works: Time to Live").
const TTL_LOOKS_BACK: i64 = 5 * 365 * 24 * 3600;

impl Shape {
    /// Reads the options.
    ///
    /// # Errors
    /// An expression or a name that can't be read, in words.
    pub fn new(spec: &ShapeSpec) -> Result<Self, ShapeError> {
        let filter = spec.filter.as_deref().map(|text| Expression::new("--filter", text)).transpose()?;
        let sets = spec.set.iter().map(|text| Set::new(text)).collect::<Result<_, _>>()?;
        let renames = spec.rename.iter().map(|text| rename(text)).collect::<Result<Vec<_>, _>>()?;
        for (n, (old, new)) in renames.iter().enumerate() {
            if let Some((_, other)) = renames[..n].iter().find(|(o, w)| o == old || w == new) {
                return Err(ShapeError(format!(
                    "--rename {old}={new} and another one to {other} contradict each other"
                )));
            }
        }
        let at = spec.expired_at.unwrap_or_else(|| jiff::Timestamp::now().as_second());
        Ok(Self { filter, sets, renames, expiry: spec.skip_expired.clone().map(|name| (name, at)) })
    }

    /// True when items pass as they are.
    pub fn is_nothing(&self) -> bool {
        self.filter.is_none() && self.sets.is_empty() && self.renames.is_empty() && self.expiry.is_none()
    }

    /// Applies it to an item's `DynamoDB` JSON.
    ///
    /// # Errors
    /// The item is no JSON, or an expression can't be computed on it: a dead letter.
    pub fn apply(&self, json: Bytes) -> Result<Shaped, Refusal> {
        if self.is_nothing() {
            return Ok(Shaped::Item(json));
        }
        let mut item: Attributes<'_> = attributes(&json)?;
        if let Some((name, at)) = &self.expiry
            && item.get(name).is_some_and(|raw| is_expired(raw, *at))
        {
            return Ok(Shaped::Skipped);
        }
        if self.filter.is_some() || self.sets.iter().any(|set| matches!(set.value, SetTo::Computed(_))) {
            let view = untyped(&json)?;
            if let Some(filter) = &self.filter
                && !filter.is_true(&view)?
            {
                return Ok(Shaped::Skipped);
            }
            self.set(&mut item, Some(&view))?;
        } else {
            self.set(&mut item, None)?;
        }
        self.rename(&mut item)?;
        if self.sets.is_empty() && self.renames.is_empty() {
            return Ok(Shaped::Item(json));
        }
        Ok(Shaped::Item(item.to_json()))
    }

    /// Applies the renames to a bare key, as a delete carries it: what else a shape says needs the item.
    ///
    /// # Errors
    /// The key is no JSON object.
    pub fn key(&self, json: Bytes) -> Result<Bytes, Refusal> {
        if self.renames.is_empty() {
            return Ok(json);
        }
        let mut key = attributes(&json)?;
        self.rename(&mut key)?;
        Ok(key.to_json())
    }

    /// The name that attribute `name` of a shaped item had before; `None` when its value is computed by an option.
    pub fn name_before<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let before = match self.renames.iter().find(|(_, new)| new == name) {
            Some((old, _)) => old,
            // What is renamed away leaves no attribute of its old name.
            None if self.renames.iter().any(|(old, _)| old == name) => return None,
            None => name,
        };
        (!self.sets.iter().any(|set| set.name == before)).then_some(before)
    }

    /// Takes the renames of a bare key back: what [`Shape::key`] makes of a key becomes that key again.
    ///
    /// # Errors
    /// The key is no JSON object.
    pub fn key_before(&self, json: Bytes) -> Result<Bytes, Refusal> {
        if self.renames.is_empty() {
            return Ok(json);
        }
        let mut key = attributes(&json)?;
        for (name, _) in &mut key.0 {
            if let Some((old, _)) = self.renames.iter().find(|(_, new)| new == name) {
                name.clone_from(old);
            }
        }
        Ok(key.to_json())
    }

    fn set(&self, item: &mut Attributes<'_>, view: Option<&expression::View>) -> Result<(), Refusal> {
        // All are computed on the item as it came, then all are set.
        let mut values = Vec::with_capacity(self.sets.len());
        for set in &self.sets {
            values.push(match (&set.value, view) {
                (SetTo::Copy(from), _) => item.get(from).map(|raw| raw.get().to_owned()),
                (SetTo::Computed(expression), Some(view)) => {
                    let bad = |reason| Refusal::BadAttribute { name: set.name.clone(), reason };
                    match expression.value(view)? {
                        Some(value) => Some(typed(&value, set.kind).map_err(bad)?),
                        None => None,
                    }
                }
                // The caller makes a view where something is computed.
                (SetTo::Computed(_), None) => None,
            });
        }
        for (set, value) in self.sets.iter().zip(values) {
            item.put(&set.name, value);
        }
        Ok(())
    }

    fn rename(&self, item: &mut Attributes<'_>) -> Result<(), Refusal> {
        // At once, so that two names can be exchanged.
        let new_name = |name: &str| self.renames.iter().find(|(old, _)| old == name).map(|(_, new)| new);
        for (old, new) in &self.renames {
            if item.get(old).is_some() && item.get(new).is_some() && new_name(new).is_none() {
                return Err(Refusal::BadAttribute {
                    name: old.clone(),
                    reason: format!("it can't be renamed to {new}: the item has an attribute of that name"),
                });
            }
        }
        for (name, _) in &mut item.0 {
            if let Some(new) = new_name(name) {
                name.clone_from(new);
            }
        }
        Ok(())
    }
}

impl Set {
    fn new(text: &str) -> Result<Self, ShapeError> {
        let Some((left, right)) = text.split_once('=') else {
            return Err(ShapeError(format!("--set {text} has no =: write NAME=EXPRESSION")));
        };
        let (name, kind) = match left.rsplit_once(':').and_then(|(name, kind)| Some((name, kind.parse().ok()?))) {
            Some((name, kind)) => (name, Some(kind)),
            None => (left, None),
        };
        if name.is_empty() {
            return Err(ShapeError(format!("--set {text} names no attribute: write NAME=EXPRESSION")));
        }
        let bare = right.trim().strip_prefix('.').filter(|from| {
            kind.is_none()
                && from.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && from.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let value = match bare {
            Some(from) => SetTo::Copy(from.to_owned()),
            None => SetTo::Computed(Expression::new("--set", right)?),
        };
        Ok(Self { name: name.to_owned(), kind, value })
    }
}

fn rename(text: &str) -> Result<(String, String), ShapeError> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err(ShapeError(format!("--rename {text} is not OLD=NEW"))),
    }
}

fn is_expired(raw: &RawValue, at: i64) -> bool {
    let value: serde_json::Value = serde_json::from_str(raw.get()).unwrap_or_default();
    let time = value["N"].as_str().and_then(|text| text.parse::<f64>().ok());
    time.is_some_and(|time| time <= at as f64 && time > (at - TTL_LOOKS_BACK) as f64)
}

/// An item cut at its attributes: each name with the bytes of its value.
struct Attributes<'a>(Vec<(String, std::borrow::Cow<'a, RawValue>)>);

fn attributes(json: &[u8]) -> Result<Attributes<'_>, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = serde::Deserializer::deserialize_map(&mut reader, AttributesOf).and_then(|a| reader.end().map(|()| a));
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::NotAnObject,
        _ => Refusal::NotJson(error.to_string()),
    })
}

struct AttributesOf;

impl<'de> serde::de::Visitor<'de> for AttributesOf {
    type Value = Attributes<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
            found.push((name, std::borrow::Cow::Borrowed(raw)));
        }
        Ok(Attributes(found))
    }
}

impl Attributes<'_> {
    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, raw)| raw.as_ref())
    }

    /// Sets an attribute, or removes it.
    fn put(&mut self, name: &str, value: Option<String>) {
        let Some(value) = value else { return self.0.retain(|(n, _)| n != name) };
        // It was read or made as JSON; if it were none, the check that follows would refuse the item.
        let Ok(raw) = RawValue::from_string(value) else { return };
        let raw = std::borrow::Cow::Owned(raw);
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some(there) => there.1 = raw,
            None => self.0.push((name.to_owned(), raw)),
        }
    }

    fn to_json(&self) -> Bytes {
        let mut json = Vec::with_capacity(self.0.iter().map(|(name, raw)| name.len() + raw.get().len() + 4).sum());
        json.push(b'{');
        for (n, (name, raw)) in self.0.iter().enumerate() {
            if n > 0 {
                json.push(b',');
            }
            write_string(&mut json, name.as_bytes());
            json.push(b':');
            json.extend_from_slice(raw.get().as_bytes());
        }
        json.push(b'}');
        json.into()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
