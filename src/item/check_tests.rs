use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::item::digest_of_attributes;
use crate::item::types::{Key, KeyKind};

fn key(name: &str, kind: KeyKind) -> KeyAttr {
    KeyAttr { name: name.to_owned(), kind }
}

fn checker() -> Checker {
    Checker::new(KeySchema { partition: key("id", KeyKind::S), sort: None })
}

fn check(json: &str) -> Result<Checked, Refusal> {
    checker().check(Bytes::copy_from_slice(json.as_bytes()))
}

/// The refusal of an item `{"id":{"S":"x"},"a":VALUE}`, as a dead letter says it.
fn refusal(value: &str) -> String {
    check(&format!(r#"{{"id":{{"S":"x"}},"a":{value}}}"#)).unwrap_err().to_string()
}

fn vector(line: &str) -> Result<Checked, Refusal> {
    checker().check(STANDARD.decode(line).unwrap().into())
}

#[test]
fn vector_1_keeps_its_bytes_and_its_id_is_base64_text_with_a_newline() {
    let item = vector("eyJ1cGRhdGVkX2F0Ijp7Ik4iOiIxNDQ3MjAzNjEyIn0sImlkIjp7IlMiOiJibnBrT25WelpBPT1cbiJ9LCJyYXRlIjp7Ik4iOiIwLjY1NTAzNTg1MDExMjA3NjcifX0=").unwrap();
    assert_eq!(item.key.json, br#"{"id":{"S":"bnpkOnVzZA==\n"}}"#.as_slice());
    // updated_at 10 + 6, id 2 + 13, rate 4 + 9.
    assert_eq!(item.size, 44);
    assert_eq!(item.wcu(), 1);
}

#[test]
fn vectors_2_to_4_are_one_item_however_its_binary_is_written() {
    let canonical = vector("eyJpZCI6eyJTIjoiYjEifSwiYiI6eyJCIjoiQVFMLyJ9fQ==").unwrap();
    assert_eq!(canonical.json, br#"{"id":{"S":"b1"},"b":{"B":"AQL/"}}"#.as_slice());
    assert_eq!(canonical.size, 2 + 2 + 1 + 3);
    for legacy in [
        "eyJpZCI6eyJTIjoiYjEifSwiYiI6eyJCIjp7InR5cGUiOiJCdWZmZXIiLCJkYXRhIjpbMSwyLDI1NV19fX0=",
        "eyJpZCI6eyJTIjoiYjEifSwiYiI6eyJCIjpbMSwyLDI1NV19fQ==",
    ] {
        assert_eq!(vector(legacy).unwrap(), canonical);
    }
}

#[test]
fn vector_5_is_a_set_of_two_binaries() {
    let item = vector("eyJpZCI6eyJTIjoiYnMifSwieCI6eyJCUyI6W3sidHlwZSI6IkJ1ZmZlciIsImRhdGEiOlsxXX0seyJ0eXBlIjoiQnVmZmVyIiwiZGF0YSI6WzI1NSwwXX1dfX0=").unwrap();
    assert_eq!(item.json, br#"{"id":{"S":"bs"},"x":{"BS":["AQ==","/wA="]}}"#.as_slice());
    assert_eq!(item.size, 2 + 2 + 1 + 3);
}

#[test]
fn vectors_6_to_9_keep_their_bytes() {
    for (line, size) in [
        ("eyJpZCI6eyJTIjoicyJ9LCJzcyI6eyJTUyI6WyJiIiwiYSJdfSwibnMiOnsiTlMiOlsiMSIsIjEuNTAiLCItMkUrMyJdfX0=", 17),
        (
            "eyJpZCI6eyJTIjoibSJ9LCJtIjp7Ik0iOnsibCI6eyJMIjpbeyJOVUxMIjp0cnVlfSx7IkJPT0wiOmZhbHNlfSx7Ik0iOnt9fSx7IkwiOltdfV19fX19",
            24,
        ),
        ("eyJpZCI6eyJTIjoibiJ9LCJuIjp7Ik4iOiIxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OCJ9fQ==", 24),
        ("eyJpZCI6eyJTIjoiw6nwn5iA4oCoIn0sImUiOnsiUyI6IiJ9fQ==", 12),
    ] {
        let bytes = Bytes::from(STANDARD.decode(line).unwrap());
        let item = checker().check(bytes.clone()).unwrap();
        assert_eq!(item.json, bytes);
        assert_eq!(item.size, size, "{line}");
    }
}

#[test]
fn vector_10_is_dead_letters() {
    assert_eq!(vector("W10="), Err(Refusal::NotAnObject));
    assert_eq!(
        vector("eyJpZCI6MX0=").unwrap_err().to_string(),
        r#"attribute id: it has no type: a value is written {"TYPE":value}"#
    );
}

#[test]
fn an_item_that_needs_no_rewriting_is_not_copied() {
    let bytes = Bytes::from_static(br#" {"id" : {"S":"\u0041"}, "b":{"B":"AQL\/"}} "#);
    let item = checker().check(bytes.clone()).unwrap();
    assert_eq!(item.json.as_ptr(), bytes.as_ptr());
    assert_eq!(item.json.len(), bytes.len());
}

#[test]
fn legacy_binary_of_400_kb_shrinks_to_base64() {
    let raw = vec!["255"; 409_590].join(",");
    let legacy = format!(r#"{{"id":{{"S":"x"}},"b":{{"B":{{"type":"Buffer","data":[{raw}]}}}}}}"#);
    let item = check(&legacy).unwrap();
    assert_eq!(item.json.len(), r#"{"id":{"S":"x"},"b":{"B":""}}"#.len() + 546_120);
    assert_eq!(item.size, 409_594);
}

#[test]
fn a_value_must_have_exactly_one_known_type() {
    assert!(refusal("{}").contains("attribute a: it has no type"));
    assert!(refusal(r#""x""#).contains("no type"));
    assert!(refusal(r#"{"X":"x"}"#).contains("there is no type X"));
    assert!(refusal(r#"{"S":"x","N":"1"}"#).contains("more than one type"));
    assert!(refusal(r#"{"L":[1]}"#).contains("no type"));
    for (value, reason) in [
        (r#"{"S":1}"#, "S holds no string"),
        (r#"{"N":1}"#, "N holds no string"),
        (r#"{"N":"1x"}"#, "1x is not a number"),
        (r#"{"N":"123456789012345678901234567890123456789"}"#, "more than 38 significant digits"),
        (r#"{"B":"AQL"}"#, "not padded base64"),
        (r#"{"B":"AQ=="  ,"B":""}"#, "more than one type"),
        (r#"{"B":"AR=="}"#, "not padded base64"),
        (r#"{"B":"A*=="}"#, "not padded base64"),
        (r#"{"B":[256]}"#, "something else than bytes"),
        (r#"{"B":[01]}"#, "something else than bytes"),
        (r#"{"B":[-1]}"#, "something else than bytes"),
        (r#"{"B":{"type":"Buffer"}}"#, "neither base64 nor a Buffer"),
        (r#"{"B":{"type":"Blob","data":[1]}}"#, "neither base64 nor a Buffer"),
        (r#"{"B":true}"#, "neither base64 nor a Buffer"),
        (r#"{"BOOL":"true"}"#, "neither true nor false"),
        (r#"{"NULL":false}"#, "something else than true"),
        (r#"{"M":[]}"#, "M holds no object"),
        (r#"{"L":{}}"#, "L holds no list"),
        (r#"{"SS":"x"}"#, "a set holds no list"),
    ] {
        let said = refusal(value);
        assert!(said.starts_with("attribute a: ") && said.contains(reason), "{value}: {said}");
    }
}

#[test]
fn sets_are_not_empty_and_hold_nothing_twice() {
    assert!(refusal(r#"{"SS":[]}"#).contains("may not be empty"));
    assert!(refusal(r#"{"SS":["a","b","\u0061"]}"#).contains("a member twice"));
    assert!(refusal(r#"{"NS":["1.5","15E-1"]}"#).contains("a member twice"));
    assert!(refusal(r#"{"BS":["AQ==",[1]]}"#).contains("a member twice"));
    assert!(check(r#"{"id":{"S":"x"},"a":{"SS":["","b"]}}"#).is_ok());
}

#[test]
fn an_attribute_may_not_be_there_twice_and_names_are_not_empty() {
    let twice = check(r#"{"id":{"S":"x"},"a":{"S":""},"\u0061":{"S":""}}"#).unwrap_err();
    assert_eq!(twice.to_string(), "attribute a: it is there twice");
    assert!(refusal(r#"{"M":{"b":{"S":""},"b":{"S":""}}}"#).contains("attribute b: it is there twice"));
    assert!(refusal(r#"{"M":{"":{"S":""}}}"#).contains("may not be empty"));
    let many = (0..40).map(|n| format!(r#""n{n}":{{"S":""}},"#)).collect::<Vec<_>>().concat();
    let twice = check(&format!(r#"{{{many}"id":{{"S":"x"}},"n7":{{"N":"1"}}}}"#)).unwrap_err();
    assert_eq!(twice.to_string(), "attribute n7: it is there twice");
}

#[test]
fn thirty_one_levels_around_a_value_pass_and_one_more_is_refused() {
    let nested = |levels: usize| format!(r#"{}{{"NULL":true}}{}"#, r#"{"L":["#.repeat(levels), "]}".repeat(levels));
    assert!(check(&format!(r#"{{"id":{{"S":"x"}},"a":{}}}"#, nested(31))).is_ok());
    assert!(refusal(&nested(32)).contains("over 32 levels"));
    assert!(refusal(&r#"{"M":{"a":"#.repeat(100_000)).contains("over 32 levels"));
}

#[test]
fn an_item_over_409600_bytes_is_refused_by_dynamodbs_rule_and_not_the_jsons() {
    let fits = "x".repeat(409_600 - 4);
    assert_eq!(check(&format!(r#"{{"id":{{"S":"x"}},"a":{{"S":"{fits}"}}}}"#)).unwrap().size, 409_600);
    assert_eq!(check(&format!(r#"{{"id":{{"S":"x"}},"a":{{"S":"{fits}y"}}}}"#)), Err(Refusal::TooLarge(409_601)));
    let escaped = r"\u0041".repeat(409_590);
    assert!(check(&format!(r#"{{"id":{{"S":"x"}},"a":{{"S":"{escaped}"}}}}"#)).is_ok());
}

#[test]
fn the_key_must_be_there_of_its_type_not_empty_and_not_too_long() {
    assert_eq!(check("{}"), Err(Refusal::MissingKey("id".into())));
    assert_eq!(check(r#"{"id":{"S":""}}"#), Err(Refusal::EmptyKey("id".into())));
    let wrong = check(r#"{"id":{"N":"1"}}"#).unwrap_err();
    assert_eq!(wrong.to_string(), "key attribute id is of type N, the table wants S");
    assert_eq!(check(r#"{"x":{"M":{"id":{"S":"x"}}}}"#), Err(Refusal::MissingKey("id".into())));

    let both = Checker::new(KeySchema { partition: key("p", KeyKind::B), sort: Some(key("s", KeyKind::N)) });
    let item = both.check(Bytes::from_static(br#"{"s":{"N":"1.50"},"x":{"NULL":true},"p":{"B":[1,2,255]}}"#)).unwrap();
    assert_eq!(item.key.json, br#"{"p":{"B":"AQL/"},"s":{"N":"1.5"}}"#.as_slice());
    assert_eq!(item.json, br#"{"s":{"N":"1.50"},"x":{"NULL":true},"p":{"B":"AQL/"}}"#.as_slice());
    assert_eq!(both.check(Bytes::from_static(br#"{"p":{"B":"AQ=="}}"#)), Err(Refusal::MissingKey("s".into())));
    assert_eq!(both.check(Bytes::from_static(br#"{"p":{"B":""},"s":{"N":"1"}}"#)), Err(Refusal::EmptyKey("p".into())));

    let strings = Checker::new(KeySchema { partition: key("p", KeyKind::S), sort: Some(key("s", KeyKind::S)) });
    let of = |p: usize, s: usize| {
        strings.check(format!(r#"{{"p":{{"S":"{}"}},"s":{{"S":"{}"}}}}"#, "p".repeat(p), "s".repeat(s)).into())
    };
    assert!(of(2048, 1024).is_ok());
    assert_eq!(of(2049, 1), Err(Refusal::KeyTooLong { name: "p".into(), bytes: 2049, limit: 2048 }));
    assert_eq!(of(1, 1025), Err(Refusal::KeyTooLong { name: "s".into(), bytes: 1025, limit: 1024 }));
}

#[test]
fn what_is_not_json_says_at_which_byte() {
    for (json, reason) in [
        ("", "it ends at byte 0"),
        ("x", "'x' at byte 0"),
        (r#"{"id":{"S":"x"}"#, "it ends at byte 15"),
        (r#"{"id":{"S":"x"}} {"#, "'{' at byte 17 where the end was expected"),
        (r#"{"id":{"S":"x"},}"#, "'}' at byte 16"),
        (r#"{"id":{"S":"\x"}}"#, "a broken escape at byte 12"),
        ("{\"id\":{\"S\":\"\n\"}}", "a control character (0x0a) in a string at byte 12"),
        (r#"{"id":}"#, "'}' at byte 6"),
    ] {
        let said = check(json).unwrap_err().to_string();
        assert!(said.starts_with("not JSON: ") && said.contains(reason), "{json}: {said}");
    }
    let broken = checker().check(Bytes::from_static(b"{\"id\":{\"S\":\"a\xff\"}}")).unwrap_err();
    assert_eq!(broken.to_string(), "not JSON: not UTF-8 at byte 13");
}

#[test]
fn equal_looking_values_of_different_types_have_different_digests() {
    let digests: Vec<u128> = [
        r#"{"S":"1"}"#,
        r#"{"N":"1"}"#,
        r#"{"S":"AQ=="}"#,
        r#"{"B":"AQ=="}"#,
        r#"{"SS":["1"]}"#,
        r#"{"NS":["1"]}"#,
        r#"{"L":[{"S":"1"}]}"#,
        r#"{"L":[{"S":"1"},{"S":"2"}]}"#,
        r#"{"L":[{"S":"2"},{"S":"1"}]}"#,
        r#"{"SS":["1","2"]}"#,
        r#"{"M":{}}"#,
        r#"{"L":[]}"#,
        r#"{"M":{"1":{"S":"2"}}}"#,
        r#"{"M":{"2":{"S":"1"}}}"#,
        r#"{"M":{"1":{"S":"1"},"2":{"S":"2"}}}"#,
        r#"{"M":{"1":{"S":"2"},"2":{"S":"1"}}}"#,
        r#"{"NULL":true}"#,
        r#"{"BOOL":true}"#,
        r#"{"BOOL":false}"#,
        r#"{"N":"-1"}"#,
        r#"{"N":"10"}"#,
        r#"{"S":""}"#,
    ]
    .iter()
    .map(|value| check(&format!(r#"{{"id":{{"S":"x"}},"a":{value}}}"#)).unwrap().digest)
    .collect();
    for (index, digest) in digests.iter().enumerate() {
        assert!(!digests[..index].contains(digest), "number {index}");
    }
}

#[test]
fn a_stored_digest_stays_what_it_was() {
    let item =
        check(r#"{"id":{"S":"x"},"n":{"N":"1.50"},"m":{"M":{"l":{"L":[{"B":"AQL/"},{"NULL":true}]}}}}"#).unwrap();
    assert_eq!(format!("{:032x}", item.digest), "7bc0afe416ae62b07b168b5eba40aad6");
}

/// A value as the tests make it up, from which every spelling and reading comes.
#[derive(Clone, Debug)]
enum Made {
    S(String),
    /// Coefficient and exponent.
    N(i64, i8),
    B(Vec<u8>),
    Bool(bool),
    Null,
    M(BTreeMap<String, Made>),
    L(Vec<Made>),
    Ss(Vec<String>),
    Ns(Vec<i64>),
    Bs(Vec<Vec<u8>>),
}

fn made() -> impl Strategy<Value = Made> {
    let set = || 1..6usize;
    let leaf = prop_oneof![
        any::<String>().prop_map(Made::S),
        (any::<i64>(), -40..40i8).prop_map(|(coefficient, exponent)| Made::N(coefficient, exponent)),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Made::B),
        any::<bool>().prop_map(Made::Bool),
        Just(Made::Null),
        proptest::collection::btree_set(any::<String>(), set()).prop_map(|set| Made::Ss(set.into_iter().collect())),
        proptest::collection::btree_set(any::<i64>(), set()).prop_map(|set| Made::Ns(set.into_iter().collect())),
        proptest::collection::btree_set(proptest::collection::vec(any::<u8>(), 0..6), set())
            .prop_map(|set| Made::Bs(set.into_iter().collect())),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::btree_map(name(), inner.clone(), 0..5).prop_map(Made::M),
            proptest::collection::vec(inner, 0..5).prop_map(Made::L),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("a name is not empty", |name| !name.is_empty())
}

fn item() -> impl Strategy<Value = BTreeMap<String, Made>> {
    (proptest::collection::btree_map(name(), made(), 0..25), "\\PC{1,9}").prop_map(|(mut item, id)| {
        item.insert("id".to_owned(), Made::S(id));
        item
    })
}

impl Made {
    fn json(&self) -> Value {
        match self {
            Self::S(text) => json!({ "S": text }),
            Self::N(coefficient, exponent) => json!({ "N": format!("{coefficient}E{exponent}") }),
            Self::B(raw) => json!({ "B": STANDARD.encode(raw) }),
            Self::Bool(value) => json!({ "BOOL": value }),
            Self::Null => json!({ "NULL": true }),
            Self::M(map) => {
                json!({ "M": map.iter().map(|(k, v)| (k.clone(), v.json())).collect::<serde_json::Map<_, _>>() })
            }
            Self::L(list) => json!({ "L": list.iter().map(Self::json).collect::<Vec<_>>() }),
            Self::Ss(set) => json!({ "SS": set }),
            Self::Ns(set) => json!({ "NS": set.iter().map(ToString::to_string).collect::<Vec<_>>() }),
            Self::Bs(set) => json!({ "BS": set.iter().map(|raw| STANDARD.encode(raw)).collect::<Vec<_>>() }),
        }
    }

    /// The same value spelled otherwise: maps and sets reversed, numbers shifted, binary in the legacy forms, all
    /// text as escapes.
    fn respelled(&self) -> String {
        let reversed = |members: Vec<String>| members.into_iter().rev().collect::<Vec<_>>().join(" , ");
        match self {
            Self::S(text) => format!(r#"{{ "S":{}}}"#, escaped(text)),
            Self::N(coefficient, exponent) => format!(r#"{{"N":"{coefficient}00.000e{}"}}"#, exponent - 2),
            Self::B(raw) => format!(r#"{{"\u0042":{{"data":{raw:?},"type":"Buffer"}} }}"#),
            Self::Bool(_) | Self::Null => self.json().to_string(),
            Self::M(map) => format!(r#"{{"M":{}}}"#, respelled(map)),
            Self::L(list) => {
                format!(r#"{{"L":[ {} ]}}"#, list.iter().map(Self::respelled).collect::<Vec<_>>().join(" ,"))
            }
            Self::Ss(set) => format!(r#"{{"SS":[{}]}}"#, reversed(set.iter().map(|text| escaped(text)).collect())),
            Self::Ns(set) => format!(r#"{{"NS":[{}]}}"#, reversed(set.iter().map(|n| format!("\"{n}.0\"")).collect())),
            Self::Bs(set) => format!(r#"{{"BS":[{}]}}"#, reversed(set.iter().map(|raw| format!("{raw:?}")).collect())),
        }
    }

    fn attribute(&self) -> AttributeValue {
        match self {
            Self::S(text) => AttributeValue::S(text.clone()),
            Self::N(coefficient, exponent) => AttributeValue::N(format!("{coefficient}E{exponent}")),
            Self::B(raw) => AttributeValue::B(Blob::new(raw.clone())),
            Self::Bool(value) => AttributeValue::Bool(*value),
            Self::Null => AttributeValue::Null(true),
            Self::M(map) => AttributeValue::M(attributes(map)),
            Self::L(list) => AttributeValue::L(list.iter().map(Self::attribute).collect()),
            Self::Ss(set) => AttributeValue::Ss(set.clone()),
            Self::Ns(set) => AttributeValue::Ns(set.iter().map(ToString::to_string).collect()),
            Self::Bs(set) => AttributeValue::Bs(set.iter().map(|raw| Blob::new(raw.clone())).collect()),
        }
    }

    /// `DynamoDB`'s size rule, written down as it is told, over values instead of bytes.
    fn size(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(coefficient, exponent) => number_size(*coefficient, *exponent),
            Self::B(raw) => raw.len(),
            Self::Bool(_) | Self::Null => 1,
            Self::M(map) => 3 + map.iter().map(|(name, value)| 1 + name.len() + value.size()).sum::<usize>(),
            Self::L(list) => 3 + list.iter().map(|value| 1 + value.size()).sum::<usize>(),
            Self::Ss(set) => set.iter().map(String::len).sum(),
            Self::Ns(set) => set.iter().map(|number| number_size(*number, 0)).sum(),
            Self::Bs(set) => set.iter().map(Vec::len).sum(),
        }
    }
}

/// Writes the number out in full and counts the digits that matter on each side of the point.
fn number_size(coefficient: i64, exponent: i8) -> usize {
    let digits = coefficient.unsigned_abs().to_string();
    let zeros = "0".repeat(usize::from(exponent.unsigned_abs()));
    let (whole, fraction) = if exponent >= 0 {
        (digits + &zeros, String::new())
    } else {
        let all = zeros.clone() + &digits;
        let (whole, fraction) = all.split_at(all.len() - zeros.len());
        (whole.to_owned(), fraction.to_owned())
    };
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let (whole, fraction) = match (whole, fraction) {
        (whole, "") => (whole.trim_end_matches('0'), ""),
        ("", fraction) => ("", fraction.trim_start_matches('0')),
        both => both,
    };
    1 + whole.len().div_ceil(2) + fraction.len().div_ceil(2) + usize::from(coefficient < 0)
}

fn escaped(text: &str) -> String {
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>().concat();
    format!("\"{units}\"")
}

fn json_of(item: &BTreeMap<String, Made>) -> String {
    Value::Object(item.iter().map(|(name, value)| (name.clone(), value.json())).collect()).to_string()
}

fn respelled(item: &BTreeMap<String, Made>) -> String {
    let entries: Vec<String> =
        item.iter().rev().map(|(name, value)| format!("{} :{}", escaped(name), value.respelled())).collect();
    format!("{{\n{}}}", entries.join("\t,"))
}

fn attributes(item: &BTreeMap<String, Made>) -> HashMap<String, AttributeValue> {
    item.iter().map(|(name, value)| (name.clone(), value.attribute())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_item_passes_with_its_bytes_and_the_size_that_the_rule_says(item in item()) {
        let json = json_of(&item);
        let checked = check(&json).unwrap();
        prop_assert_eq!(&checked.json[..], json.as_bytes());
        let size: usize = item.iter().map(|(name, value)| name.len() + value.size()).sum();
        prop_assert_eq!(checked.size as usize, size);
    }

    #[test]
    fn another_spelling_is_the_same_item(item in item()) {
        let one = check(&json_of(&item)).unwrap();
        let other = check(&respelled(&item)).unwrap();
        prop_assert_eq!(one.digest, other.digest);
        prop_assert_eq!(one.size, other.size);
        prop_assert_eq!(one.key, other.key);
        // Once rewritten it is canonical: a second check has nothing to rewrite.
        let again = checker().check(other.json.clone()).unwrap();
        prop_assert_eq!(again.json.as_ptr(), other.json.as_ptr());
        prop_assert_eq!(again.digest, one.digest);
        prop_assert!(serde_json::from_slice::<Value>(&other.json).is_ok());
    }

    #[test]
    fn the_sdks_types_give_the_same_digest_and_key_as_the_bytes(item in item(), number in any::<i64>(), raw in proptest::collection::vec(any::<u8>(), 1..9)) {
        let checked = check(&json_of(&item)).unwrap();
        let map = attributes(&item);
        prop_assert_eq!(digest_of_attributes(&map), checked.digest);
        prop_assert_eq!(Key::of_attributes(checker().schema(), &map), Some(checked.key));

        let schema = KeySchema { partition: key("p", KeyKind::N), sort: Some(key("s", KeyKind::B)) };
        let item = BTreeMap::from([("p".to_owned(), Made::N(number, 3)), ("s".to_owned(), Made::B(raw))]);
        let by_bytes = Checker::new(schema.clone()).check(respelled(&item).into()).unwrap();
        prop_assert_eq!(Key::of_attributes(&schema, &attributes(&item)), Some(by_bytes.key));
    }

    #[test]
    fn a_change_changes_the_digest(item in item(), name in name(), value in made()) {
        let one = check(&json_of(&item)).unwrap();
        let mut changed = item.clone();
        changed.insert(format!("+{name}"), value);
        prop_assert_ne!(check(&json_of(&changed)).unwrap().digest, one.digest);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = checker().check(bytes.into());
    }

    #[test]
    fn no_broken_item_panics_and_what_passes_is_json(item in item(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut json = respelled(&item).into_bytes();
        let at = at.index(json.len());
        if cut { json.truncate(at); } else { json[at] = byte; }
        if checker().check(json.clone().into()).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&json).is_ok());
        } else if cut {
            prop_assert!(serde_json::from_slice::<Value>(&json).is_err());
        }
    }
}

/// The check against the embedded `DynamoDB`, whose rules were measured on the service.
#[cfg(feature = "local")]
mod embedded {
    use dynoxide::Database;

    use super::*;

    fn table() -> Database {
        let database = Database::memory().unwrap();
        let request = json!({
            "TableName": "table", "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        });
        database.create_table(serde_json::from_value(request).unwrap()).unwrap();
        database
    }

    fn takes(database: &Database, item: &str) -> bool {
        let request = format!(r#"{{"TableName":"table","Item":{item}}}"#);
        serde_json::from_str(&request).is_ok_and(|request| database.put_item(request).is_ok())
    }

    #[test]
    fn what_the_check_refuses_the_service_refuses_and_what_it_passes_the_service_takes() {
        let database = table();
        let mut differ = Vec::new();
        let nested = |levels: usize| format!(r#"{}{{"NULL":true}}{}"#, r#"{"L":["#.repeat(levels), "]}".repeat(levels));
        let string = |length: usize| format!(r#"{{"S":"{}"}}"#, "x".repeat(length));
        for value in [
            r#"{"N":"+1"}"#,
            r#"{"N":"5."}"#,
            r#"{"N":".5"}"#,
            r#"{"N":"."}"#,
            r#"{"N":" 1"}"#,
            r#"{"N":""}"#,
            r#"{"N":"1e5"}"#,
            r#"{"N":"1E+125"}"#,
            r#"{"N":"9.9E125"}"#,
            r#"{"N":"1E126"}"#,
            r#"{"N":"1E-130"}"#,
            r#"{"N":"1E-131"}"#,
            r#"{"N":"0E500"}"#,
            r#"{"N":"-0"}"#,
            r#"{"N":"NaN"}"#,
            r#"{"N":"0x1"}"#,
            r#"{"N":"12345678901234567890123456789012345678"}"#,
            r#"{"N":"123456789012345678901234567890123456789"}"#,
            r#"{"N":"123456789012345678901234567890123456780000"}"#,
            r#"{"SS":[]}"#,
            r#"{"SS":[""]}"#,
            r#"{"SS":["a","a"]}"#,
            r#"{"NS":["1","1.0"]}"#,
            r#"{"NS":["1","x"]}"#,
            r#"{"BS":["AQ==","AQ=="]}"#,
            r#"{"BS":[""]}"#,
            r#"{"B":""}"#,
            r#"{"B":"AQ"}"#,
            r#"{"B":"AR=="}"#,
            r#"{"B":"A*=="}"#,
            r#"{"NULL":false}"#,
            r#"{"S":"","N":"1"}"#,
            r#"{"X":"1"}"#,
            "{}",
            r#"{"M":{"":{"S":"x"}}}"#,
            r#"{"M":{}}"#,
            r#"{"L":[]}"#,
            &nested(31),
            &nested(32),
            &string(409_596),
            &string(409_597),
        ] {
            let item = format!(r#"{{"id":{{"S":"x"}},"a":{value}}}"#);
            if check(&item).is_ok() != takes(&database, &item) {
                differ.push(value[..value.len().min(80)].to_owned());
            }
        }
        for id in [&string(0), &string(1), &string(2048), &string(2049), r#"{"N":"1"}"#] {
            let item = format!(r#"{{"id":{id}}}"#);
            if check(&item).is_ok() != takes(&database, &item) {
                differ.push(id[..id.len().min(80)].to_owned());
            }
        }
        assert_eq!(differ, Vec::<String>::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_size_is_what_the_service_bills(item in item()) {
            let json = json_of(&item);
            let theirs: dynoxide::Item = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(check(&json).unwrap().size as usize, dynoxide::types::item_size(&theirs));
        }
    }
}
