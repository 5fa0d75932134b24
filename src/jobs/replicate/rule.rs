//! Who wins where both sides of a two-way replica changed an item: ranks, requests with conditions that hold them at the
//! table itself, and the memory of deletes that keeps an echo from bringing an item back.
//!
//! Every version of an item has a rank, and the larger rank stays: the value of an attribute of the application's, or the
//! time of the change, which an attribute of ours carries. A delete has the rank of what it deleted (or its own time) and wins
//! over versions of that rank and below.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::spec::TwoWay;
use crate::flow::{ReplicaRow, RowOrigin, SequenceNumber};
use crate::item::Checked;

/// The attribute that carries the time of a change, where the rule is arrival.
pub const ARRIVAL: &str = "sluice_arrival";

/// A delete is remembered until both streams were read so far beyond it, ms: what was written before it was known is on
/// them by then.
const REMEMBERED_MS: i64 = 60_000;

/// Which side of a two-way replica a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The table of `-t`: it wins where ranks are equal.
    First,
    /// The table of `--to`.
    Second,
}

/// The rank of a version. An item without one is below all others, a number below a string.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Rank {
    /// The item has none.
    None,
    /// A number, as it was written.
    N(String),
    /// A string: by its UTF-8 bytes, as `DynamoDB` compares.
    S(String),
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let class = |rank: &Self| match rank {
            Self::None => 0,
            Self::N(_) => 1,
            Self::S(_) => 2,
        };
        match (self, other) {
            (Self::N(a), Self::N(b)) => by_value(a, b),
            (Self::S(a), Self::S(b)) => a.as_bytes().cmp(b.as_bytes()),
            (a, b) => class(a).cmp(&class(b)),
        }
    }
}

/// Compares two numbers by value, digit by digit: 38 of them count.
fn by_value(a: &str, b: &str) -> Ordering {
    /// Sign, exponent of the first digit, digits.
    fn parts(text: &str) -> (i32, i64, Vec<u8>) {
        let (text, sign) = match text.strip_prefix('-') {
            Some(rest) => (rest, -1),
            None => (text.strip_prefix('+').unwrap_or(text), 1),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().unwrap_or(0)),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        let mut rest = digits[zeros..].to_vec();
        while rest.last() == Some(&b'0') {
            rest.pop();
        }
        let sign = if rest.is_empty() { 0 } else { sign };
        (sign, whole.len() as i64 - zeros as i64 + exponent, rest)
    }
    let (a, b) = (parts(a), parts(b));
    let size = || a.1.cmp(&b.1).then_with(|| a.2.cmp(&b.2));
    a.0.cmp(&b.0).then_with(|| match a.0 {
        0 => Ordering::Equal,
        sign if sign < 0 => size().reverse(),
        _ => size(),
    })
}

/// What a change asks for, once it is ranked.
#[derive(Debug, PartialEq)]
pub(super) enum Asks {
    /// Its version stays if nothing of a larger rank is there.
    Stay(Rank),
    /// Its item goes if nothing of a larger rank is there; an item without a rank goes only where `unranked_too`.
    Go {
        /// The rank of the delete.
        rank: Rank,
        /// A version without a rank was deleted.
        unranked_too: bool,
    },
    /// Nothing: it deleted what a delete that is known was to delete, as ours does when it carries one over.
    Nothing,
    /// A whole `UpdateItem` in the table that it came from: it is given its time, and comes again with it.
    Stamp(Bytes),
}

/// The rule of one direction.
#[derive(Debug)]
pub(super) struct Rule {
    by: TwoWay,
    from: Side,
    /// The name of the table that changes come from.
    source: String,
    deletes: Arc<Deletes>,
}

impl Rule {
    /// The rule for changes from side `from`, the table `source`; both directions share `deletes`.
    pub fn new(by: TwoWay, from: Side, source: &str, deletes: Arc<Deletes>) -> Self {
        Self { by, from, source: source.to_owned(), deletes }
    }

    fn attribute(&self) -> &str {
        match &self.by {
            TwoWay::LastWriter(attribute) => attribute,
            TwoWay::Arrival => ARRIVAL,
        }
    }

    /// The same for what comes from the other side, whose table is `source`.
    pub fn reversed(&self, source: &str) -> Self {
        let from = if self.from == Side::First { Side::Second } else { Side::First };
        Self { by: self.by.clone(), from, source: source.to_owned(), deletes: Arc::clone(&self.deletes) }
    }

    /// Ranks `row`; `item` is its image or its key, checked. A delete is remembered.
    ///
    /// # Errors
    /// It can't be ranked, in words.
    pub fn ask(&self, row: &ReplicaRow, item: &Checked) -> Result<Asks, String> {
        let attribute = self.attribute();
        let (sequence, at_ms, old) = match &row.origin {
            RowOrigin::Scan => (None, 0, None),
            RowOrigin::Change { sequence, at_ms, old, .. } => (Some(sequence), *at_ms, old.as_ref()),
        };
        let before = old.map_or(Ok(Rank::None), |old| rank_of(old, attribute))?;
        let Some(image) = &row.image else {
            if old.is_none() {
                return Err("the stream carries no old images: a two-way replica needs NEW_AND_OLD_IMAGES".to_owned());
            }
            let (rank, unranked_too) = match self.by {
                TwoWay::LastWriter(_) => (before.clone(), true),
                // Where a version without a time was deleted, one without a time may go.
                TwoWay::Arrival => (Rank::S(self.stamp(at_ms, sequence, &before)), before == Rank::None),
            };
            // The echo of a delete that was carried over must not be taken for a later one. The same delete, read again after a
            // crash, has the rank that it had.
            if self.by == TwoWay::Arrival && self.deleted(item.key.hash, &before).is_some_and(|known| known != rank) {
                return Ok(Asks::Nothing);
            }
            self.deletes.note(item.key.hash, &rank);
            return Ok(Asks::Go { rank, unranked_too });
        };
        let rank = rank_of(image, attribute)?;
        // Of a scan, an item that has its time is ranked; of the stream, one that was given it by this change.
        let is_own = if row.origin == RowOrigin::Scan { rank == Rank::None } else { rank == before };
        if self.by == TwoWay::Arrival && is_own {
            let stamp = self.stamp(at_ms, sequence, &rank);
            return Ok(Asks::Stamp(self.stamping(item, &stamp, &rank)));
        }
        Ok(Asks::Stay(rank))
    }

    /// Whether a version of `rank` from here stays over one of rank `other` that is there.
    pub fn wins(&self, rank: &Rank, other: &Rank) -> bool {
        match rank.cmp(other) {
            Ordering::Greater => true,
            Ordering::Equal => self.from == Side::First,
            Ordering::Less => false,
        }
    }

    /// The delete of `key` that a version of `rank` comes too late for.
    pub fn deleted(&self, key: u128, rank: &Rank) -> Option<Rank> {
        self.deletes.rank(key).filter(|deleted| deleted >= rank)
    }

    /// The rank of the item `json`.
    ///
    /// # Errors
    /// It can't be ranked, in words.
    pub fn rank(&self, json: &[u8]) -> Result<Rank, String> {
        rank_of(json, self.attribute())
    }

    /// The time of a change as an attribute: later than that of the version before, whatever the clocks say.
    fn stamp(&self, at_ms: i64, sequence: Option<&SequenceNumber>, before: &Rank) -> String {
        let before_ms = match before {
            Rank::S(stamp) => stamp.get(..13).and_then(|ms| ms.parse::<i64>().ok()).map_or(0, |ms| ms + 1),
            _ => 0,
        };
        let side = if self.from == Side::First { 'b' } else { 'a' };
        let sequence = sequence.map_or("0", |sequence| sequence.0.as_str());
        format!("{:013}#{sequence:0>40}#{side}", at_ms.max(before_ms))
    }

    fn stamping(&self, item: &Checked, stamp: &str, before: &Rank) -> Bytes {
        let partition = partition_of(item);
        let (condition, old) = match before {
            Rank::S(before) => ("attribute_exists(#k) AND #s = :old", Some(json!({ "S": before }))),
            _ => ("attribute_exists(#k) AND attribute_not_exists(#s)", None),
        };
        let mut values = json!({ ":new": { "S": stamp } });
        if let Some(old) = old {
            values[":old"] = old;
        }
        whole(
            &self.source,
            &[("Key", raw(&item.key.json))],
            &json!({
                "UpdateExpression": "SET #s = :new",
                "ConditionExpression": condition,
                "ExpressionAttributeNames": { "#k": partition, "#s": ARRIVAL },
                "ExpressionAttributeValues": values,
            }),
        )
    }

    /// A `PutItem` of `image` into `target`, where nothing of a larger rank is.
    pub fn put(&self, target: &str, image: &Bytes, item: &Checked, rank: &Rank) -> Bytes {
        let less = if self.from == Side::First { "<=" } else { "<" };
        let mut names = json!({ "#a": self.attribute() });
        let (condition, values) = match (rank, self.from) {
            (Rank::None, Side::First) => ("attribute_not_exists(#a)".to_owned(), None),
            (Rank::None, Side::Second) => {
                names = json!({ "#k": partition_of(item) });
                ("attribute_not_exists(#k)".to_owned(), None)
            }
            (Rank::N(n), _) => (format!("attribute_not_exists(#a) OR #a {less} :x"), Some(json!({ ":x": { "N": n } }))),
            (Rank::S(s), _) => (
                format!("attribute_not_exists(#a) OR attribute_type(#a, :n) OR #a {less} :x"),
                Some(json!({ ":x": { "S": s }, ":n": { "S": "N" } })),
            ),
        };
        let mut rest = json!({ "ConditionExpression": condition, "ExpressionAttributeNames": names });
        if let Some(values) = values {
            rest["ExpressionAttributeValues"] = values;
        }
        whole(target, &[("Item", raw(image))], &rest)
    }

    /// A `DeleteItem` in `table`, where nothing of a larger rank is.
    pub fn delete(&self, table: &str, item: &Checked, rank: &Rank, unranked_too: bool) -> Bytes {
        let (condition, values) = match rank {
            Rank::None => ("attribute_not_exists(#a)".to_owned(), None),
            Rank::N(n) => ("#a <= :x".to_owned(), Some(json!({ ":x": { "N": n } }))),
            Rank::S(s) => {
                ("attribute_type(#a, :n) OR #a <= :x".to_owned(), Some(json!({ ":x": { "S": s }, ":n": { "S": "N" } })))
            }
        };
        let condition = match rank {
            Rank::None => condition,
            _ if unranked_too => format!("attribute_not_exists(#a) OR {condition}"),
            _ => condition,
        };
        let mut rest =
            json!({ "ConditionExpression": condition, "ExpressionAttributeNames": { "#a": self.attribute() } });
        if let Some(values) = values {
            rest["ExpressionAttributeValues"] = values;
        }
        whole(table, &[("Key", raw(&item.key.json))], &rest)
    }
}

/// The name of the partition key: the first of a canonical key.
fn partition_of(item: &Checked) -> String {
    let key: serde_json::Map<String, Value> = serde_json::from_slice(&item.key.json).unwrap_or_default();
    // A map has lost the order, so the name is read where it stands: `{"name":…`.
    let text = String::from_utf8_lossy(&item.key.json);
    let first = key.keys().find(|name| text[1..].starts_with(&Value::from(name.as_str()).to_string()));
    first.cloned().unwrap_or_default()
}

fn raw(json: &[u8]) -> &str {
    // It was checked: JSON is UTF-8.
    std::str::from_utf8(json).unwrap_or("{}")
}

/// A request body: the table, `parts` as the bytes that they are, and `rest`.
fn whole(table: &str, parts: &[(&str, &str)], rest: &Value) -> Bytes {
    let mut body = format!("{{\"TableName\":{}", Value::from(table));
    for (name, json) in parts {
        body.extend([",\"", name, "\":", json]);
    }
    body.push_str(",\"ReturnConsumedCapacity\":\"INDEXES\",");
    body.push_str(&rest.to_string()[1..]);
    body.into()
}

/// A value that can rank.
#[derive(Deserialize)]
enum Typed {
    N(String),
    S(String),
}

/// The rank that `attribute` gives the item `json`.
fn rank_of(json: &[u8], attribute: &str) -> Result<Rank, String> {
    let item: HashMap<String, &RawValue> =
        serde_json::from_slice(json).map_err(|error| format!("not an item: {error}"))?;
    let Some(value) = item.get(attribute) else { return Ok(Rank::None) };
    match serde_json::from_str::<Typed>(value.get()) {
        Ok(Typed::N(n)) => Ok(Rank::N(n)),
        Ok(Typed::S(s)) => Ok(Rank::S(s)),
        Err(_) => {
            Err(format!("its {attribute} is neither a number nor a string, and the rule of --two-way ranks by it"))
        }
    }
}

/// Deletes that an older version must not undo: in memory, and in the journal while they matter.
#[derive(Debug, Default)]
pub(super) struct Deletes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    ranks: HashMap<u128, (Rank, i64)>,
    /// Noted since the last commit.
    fresh: Vec<Deleted>,
    /// What the journal's rows hold, by number: the keys, and when the last of them was noted.
    rows: BTreeMap<u32, (Vec<u128>, i64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Deleted {
    key: String,
    rank: Rank,
    noted_ms: i64,
}

/// What the name of such a row begins with.
pub(super) const DELETES: &str = "deletes:";

impl Deletes {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deletes that the journal holds.
    pub fn load(rows: Vec<(String, Vec<u8>)>) -> Self {
        let mut known = Known::default();
        for (name, value) in rows {
            let Some(number) = name.strip_prefix(DELETES).and_then(|n| n.parse().ok()) else { continue };
            let deleted: Vec<Deleted> = serde_json::from_slice(&value).unwrap_or_default();
            let keyed = deleted.into_iter().filter_map(|one| {
                let key = u128::from_str_radix(&one.key, 16).ok()?;
                Some((key, one))
            });
            let mut keys = (Vec::new(), 0);
            for (key, one) in keyed {
                keys.0.push(key);
                keys.1 = keys.1.max(one.noted_ms);
                known.raise(key, &one.rank, one.noted_ms);
            }
            known.rows.insert(number, keys);
        }
        Self(Mutex::new(known))
    }

    /// Notes that the item of `key` was deleted at `rank`.
    fn note(&self, key: u128, rank: &Rank) {
        let now = crate::jobs::journal::now_ms();
        let mut known = self.known();
        known.raise(key, rank, now);
        known.fresh.push(Deleted { key: format!("{key:032x}"), rank: rank.clone(), noted_ms: now });
    }

    /// The rank at which the item of `key` was deleted, if that is known.
    fn rank(&self, key: u128) -> Option<Rank> {
        self.known().ranks.get(&key).map(|(rank, _)| rank.clone())
    }

    /// Rows for the journal: what was noted since, and rows emptied of what both streams were read past at `read_ms`.
    pub fn rows(&self, read_ms: i64) -> Vec<(String, Vec<u8>)> {
        let mut known = self.known();
        let mut rows = Vec::new();
        let row = |number: u32, deleted: &[Deleted]| {
            (format!("{DELETES}{number:08}"), crate::jobs::journal::to_json(&deleted).into_bytes())
        };
        let past = |noted: i64| noted + REMEMBERED_MS < read_ms;
        let Known { ranks, rows: held, .. } = &mut *known;
        for (number, (keys, last)) in held {
            if !keys.is_empty() && past(*last) {
                for key in keys.drain(..) {
                    if ranks.get(&key).is_some_and(|(_, noted)| past(*noted)) {
                        ranks.remove(&key);
                    }
                }
                rows.push(row(*number, &[]));
            }
        }
        let fresh = std::mem::take(&mut known.fresh);
        if !fresh.is_empty() {
            let free = known.rows.iter().find(|(_, (keys, _))| keys.is_empty()).map(|(number, _)| *number);
            let number = free.unwrap_or(known.rows.len() as u32);
            rows.retain(|(name, _)| *name != format!("{DELETES}{number:08}"));
            rows.push(row(number, &fresh));
            let keys = fresh.iter().filter_map(|one| u128::from_str_radix(&one.key, 16).ok()).collect();
            let last = fresh.iter().map(|one| one.noted_ms).max().unwrap_or_default();
            known.rows.insert(number, (keys, last));
        }
        rows
    }
}

impl Known {
    fn raise(&mut self, key: u128, rank: &Rank, noted_ms: i64) {
        let known = self.ranks.entry(key).or_insert_with(|| (rank.clone(), noted_ms));
        if *rank > known.0 {
            known.0 = rank.clone();
        }
        known.1 = known.1.max(noted_ms);
    }
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
