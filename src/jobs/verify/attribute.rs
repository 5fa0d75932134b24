//! What two items differ in: the first attribute, by name, that is not the same, as far down as it can be told.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::item::digest_of_attributes;

/// How much of a value is shown, characters.
const SHOWN: usize = 80;
/// How much of it stands before the first character that differs.
const BEFORE: usize = 20;

/// An item as the SDK has it.
pub(in crate::jobs) type Item = HashMap<String, AttributeValue>;

/// An attribute that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    /// Where it is: `address.lines[2]`.
    pub path: String,
    /// Its value in the source as `DynamoDB` JSON, cut to what differs; `None` where it has none.
    pub source: Option<String>,
    /// Its value in the table, alike.
    pub table: Option<String>,
}

/// The first attribute, by name, that differs; `None` for equal items.
pub(super) fn first_difference(source: &Item, table: &Item) -> Option<Attribute> {
    in_maps(source, table, "")
}

fn in_maps(source: &Item, table: &Item, path: &str) -> Option<Attribute> {
    let names: BTreeSet<&String> = source.keys().chain(table.keys()).collect();
    names.into_iter().find_map(|name| in_values(source.get(name), table.get(name), &below(path, name)))
}

fn in_values(source: Option<&AttributeValue>, table: Option<&AttributeValue>, path: &str) -> Option<Attribute> {
    match (source, table) {
        (None, None) => None,
        (Some(AttributeValue::M(source)), Some(AttributeValue::M(table))) => in_maps(source, table, path),
        (Some(AttributeValue::L(source)), Some(AttributeValue::L(table))) => (0..source.len().max(table.len()))
            .find_map(|at| in_values(source.get(at), table.get(at), &format!("{path}[{at}]"))),
        (Some(source), Some(table)) if digest(source) == digest(table) => None,
        (Some(source), Some(table)) => {
            let (source, table) = cut(&to_json(source).to_string(), &to_json(table).to_string());
            Some(Attribute { path: path.to_owned(), source: Some(source), table: Some(table) })
        }
        (source, table) => {
            let shown = |value: &AttributeValue| cut(&to_json(value).to_string(), "").0;
            Some(Attribute { path: path.to_owned(), source: source.map(shown), table: table.map(shown) })
        }
    }
}

/// A value alone has no digest of its own: an item that holds nothing else has.
fn digest(value: &AttributeValue) -> u128 {
    digest_of_attributes(&HashMap::from([(String::new(), value.clone())]))
}

fn below(path: &str, name: &str) -> String {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '@'));
    match (path, is_plain) {
        ("", true) => name.to_owned(),
        (path, true) => format!("{path}.{name}"),
        (path, false) => format!("{path}[{}]", Value::from(name)),
    }
}

/// Two texts cut to the same few characters around the first that differs.
fn cut(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let longest = a.chars().count().max(b.chars().count());
    let from = if longest <= SHOWN { 0 } else { same.saturating_sub(BEFORE) };
    let shown = |text: &str| {
        let mut shown = if from > 0 { String::from("…") } else { String::new() };
        shown.extend(text.chars().skip(from).take(SHOWN));
        if text.chars().count() > from + SHOWN {
            shown.push('…');
        }
        shown
    };
    (shown(a), shown(b))
}

/// `DynamoDB` JSON of a value, sets in order.
fn to_json(value: &AttributeValue) -> Value {
    fn sorted(mut members: Vec<String>) -> Vec<String> {
        members.sort_unstable();
        members
    }
    let binary = |blob: &aws_sdk_dynamodb::primitives::Blob| BASE64_STANDARD.encode(blob.as_ref());
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(text) => json!({ "N": text }),
        AttributeValue::B(blob) => json!({ "B": binary(blob) }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::Null(value) => json!({ "NULL": value }),
        AttributeValue::M(map) => {
            json!({ "M": map.iter().map(|(name, value)| (name.clone(), to_json(value))).collect::<serde_json::Map<_, _>>() })
        }
        AttributeValue::L(list) => json!({ "L": list.iter().map(to_json).collect::<Vec<_>>() }),
        AttributeValue::Ss(set) => json!({ "SS": sorted(set.clone()) }),
        AttributeValue::Ns(set) => json!({ "NS": sorted(set.clone()) }),
        AttributeValue::Bs(set) => json!({ "BS": sorted(set.iter().map(binary).collect()) }),
        // A type younger than this SDK.
        _ => Value::Null,
    }
}

/// An item as canonical `DynamoDB` JSON.
pub(in crate::jobs) fn item_json(item: &Item) -> Value {
    item.iter().map(|(name, value)| (name.clone(), to_json(value))).collect::<serde_json::Map<String, Value>>().into()
}

/// An item (or a key) of canonical `DynamoDB` JSON as the SDK has it; `None` when it is none.
pub(in crate::jobs) fn attributes(json: &[u8]) -> Option<Item> {
    let value: Value = serde_json::from_slice(json).ok()?;
    map(&value)
}

fn map(value: &Value) -> Option<Item> {
    value.as_object()?.iter().map(|(name, value)| Some((name.clone(), from_json(value)?))).collect()
}

fn from_json(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let binary = |value: &Value| Some(BASE64_STANDARD.decode(value.as_str()?).ok()?.into());
    Some(match kind.as_str() {
        "S" => AttributeValue::S(text(value)?),
        "N" => AttributeValue::N(text(value)?),
        "B" => AttributeValue::B(binary(value)?),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(true),
        "M" => AttributeValue::M(map(value)?),
        "L" => AttributeValue::L(value.as_array()?.iter().map(from_json).collect::<Option<_>>()?),
        "SS" => AttributeValue::Ss(value.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "NS" => AttributeValue::Ns(value.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "BS" => AttributeValue::Bs(value.as_array()?.iter().map(binary).collect::<Option<_>>()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(source: &str, table: &str) -> Option<(String, Option<String>, Option<String>)> {
        let found = first_difference(&attributes(source.as_bytes()).unwrap(), &attributes(table.as_bytes()).unwrap());
        found.map(|a| (a.path, a.source, a.table))
    }

    #[test]
    fn the_first_attribute_by_name_is_told_with_both_values() {
        let found = differ(
            r#"{"id":{"S":"a"},"b":{"N":"1"},"c":{"S":"x"}}"#,
            r#"{"c":{"S":"y"},"b":{"N":"2"},"id":{"S":"a"}}"#,
        );
        assert_eq!(found, Some(("b".into(), Some(r#"{"N":"1"}"#.into()), Some(r#"{"N":"2"}"#.into()))));
    }

    #[test]
    fn numbers_are_equal_by_value_and_sets_in_any_order() {
        let found = differ(
            r#"{"n":{"N":"1.50"},"s":{"SS":["a","b"]},"m":{"NS":["1","20"]},"b":{"BS":["AQ==","Ag=="]}}"#,
            r#"{"n":{"N":"15E-1"},"s":{"SS":["b","a"]},"m":{"NS":["2E1","1.0"]},"b":{"BS":["Ag==","AQ=="]}}"#,
        );
        assert_eq!(found, None);
    }

    #[test]
    fn what_is_inside_maps_and_lists_is_told_by_its_path() {
        let found = differ(
            r#"{"a":{"M":{"x y":{"L":[{"N":"1"},{"M":{"z":{"BOOL":true}}}]}}}}"#,
            r#"{"a":{"M":{"x y":{"L":[{"N":"1.0"},{"M":{"z":{"BOOL":false}}}]}}}}"#,
        );
        assert_eq!(found.unwrap().0, r#"a["x y"][1].z"#);
        let found = differ(r#"{"l":{"L":[{"N":"1"}]}}"#, r#"{"l":{"L":[{"N":"1"},{"N":"2"}]}}"#);
        assert_eq!(found, Some(("l[1]".into(), None, Some(r#"{"N":"2"}"#.into()))));
    }

    #[test]
    fn an_attribute_of_one_side_and_one_of_another_type_are_told() {
        assert_eq!(differ(r#"{"a":{"S":"1"}}"#, "{}"), Some(("a".into(), Some(r#"{"S":"1"}"#.into()), None)));
        let found = differ(r#"{"a":{"S":"1"}}"#, r#"{"a":{"N":"1"}}"#);
        assert_eq!(found, Some(("a".into(), Some(r#"{"S":"1"}"#.into()), Some(r#"{"N":"1"}"#.into()))));
    }

    #[test]
    fn of_long_values_the_part_that_differs_is_shown() {
        let long = "é".repeat(500);
        let (_, source, table) =
            differ(&format!(r#"{{"a":{{"S":"{long}1"}}}}"#), &format!(r#"{{"a":{{"S":"{long}2"}}}}"#)).unwrap();
        assert_eq!(source.unwrap(), format!("…{}1\"}}", "é".repeat(20)));
        assert_eq!(table.unwrap(), format!("…{}2\"}}", "é".repeat(20)));
        let (_, source, table) = differ(&format!(r#"{{"a":{{"S":"{long}"}}}}"#), r#"{"a":{"S":""}}"#).unwrap();
        assert_eq!(source.unwrap().chars().count(), SHOWN + 1);
        assert_eq!(table.unwrap(), r#"{"S":""}"#);
    }
}
