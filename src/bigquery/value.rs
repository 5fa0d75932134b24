//! Values of an item, and the cells that they become in columns of BigQuery. What a column can't hold exactly is refused.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::column::{Column, ColumnType};
use super::decimal::{Decimal, decimal};

/// The type of an attribute, as `DynamoDB` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// String.
    S,
    /// Number.
    N,
    /// Binary.
    B,
    /// True or false.
    Bool,
    /// Nothing, on purpose.
    Null,
    /// A set of strings.
    Ss,
    /// A set of numbers.
    Ns,
    /// A set of binaries.
    Bs,
    /// A map.
    M,
    /// A list.
    L,
}

impl Kind {
    const ALL: [(Self, &'static str); 10] = [
        (Self::S, "S"),
        (Self::N, "N"),
        (Self::B, "B"),
        (Self::Bool, "BOOL"),
        (Self::Null, "NULL"),
        (Self::Ss, "SS"),
        (Self::Ns, "NS"),
        (Self::Bs, "BS"),
        (Self::M, "M"),
        (Self::L, "L"),
    ];

    /// As `DynamoDB` writes it.
    pub fn tag(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, tag)| tag)
    }

    /// The type that `DynamoDB` writes as `tag`.
    pub fn of_tag(tag: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, of)| *of == tag).map(|(kind, _)| *kind)
    }

    /// True for sets.
    pub fn is_set(self) -> bool {
        matches!(self, Self::Ss | Self::Ns | Self::Bs)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize, Clone, Debug)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// The value of an attribute.
#[derive(Deserialize, Clone, Debug)]
pub(super) enum Value<'a> {
    S(#[serde(borrow)] Text<'a>),
    N(#[serde(borrow)] Text<'a>),
    B(#[serde(borrow)] Text<'a>),
    #[serde(rename = "BOOL")]
    Bool(bool),
    #[serde(rename = "NULL")]
    Null(#[expect(dead_code, reason = "read for its form alone")] bool),
    #[serde(rename = "SS")]
    Ss(#[serde(borrow)] Vec<Text<'a>>),
    #[serde(rename = "NS")]
    Ns(#[serde(borrow)] Vec<Text<'a>>),
    #[serde(rename = "BS")]
    Bs(#[serde(borrow)] Vec<Text<'a>>),
    M(IgnoredAny),
    L(IgnoredAny),
}

impl Value<'_> {
    pub fn kind(&self) -> Kind {
        match self {
            Self::S(_) => Kind::S,
            Self::N(_) => Kind::N,
            Self::B(_) => Kind::B,
            Self::Bool(_) => Kind::Bool,
            Self::Null(_) => Kind::Null,
            Self::Ss(_) => Kind::Ss,
            Self::Ns(_) => Kind::Ns,
            Self::Bs(_) => Kind::Bs,
            Self::M(_) => Kind::M,
            Self::L(_) => Kind::L,
        }
    }

    /// The decimal type that holds its number or all numbers of its set; `None` for other types.
    pub fn decimal(&self) -> Option<Decimal> {
        let of = |text: &Text<'_>| decimal(&text.0).map_or(Decimal::Text, |(fits, _)| fits);
        match self {
            Self::N(text) => Some(of(text)),
            Self::Ns(texts) => texts.iter().map(of).max(),
            _ => None,
        }
    }
}

/// An attribute of an item.
#[derive(Clone, Debug)]
pub(super) struct Attribute<'a> {
    pub name: Cow<'a, str>,
    pub value: Value<'a>,
    /// The value with its type, the bytes that came.
    pub json: &'a str,
}

/// An item's attributes in their order.
pub(super) fn attributes(item: &[u8]) -> Result<Vec<Attribute<'_>>, serde_json::Error> {
    struct Raw<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Raw<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an item of DynamoDB")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
            let mut entries = Vec::new();
            while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                entries.push((name, value));
            }
            Ok(Raw(entries))
        }
    }
    impl<'de> Deserialize<'de> for Raw<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Entries)
        }
    }
    let Raw(entries) = serde_json::from_slice(item)?;
    entries
        .into_iter()
        .map(|(name, raw)| Ok(Attribute { name, value: serde_json::from_str(raw.get())?, json: raw.get() }))
        .collect()
}

/// What stands in a column of one row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    /// STRING, NUMERIC, BIGNUMERIC.
    Text(Cow<'a, str>),
    /// JSON.
    Json(Cow<'a, str>),
    Bytes(Vec<u8>),
    Bool(bool),
    /// INT64; microseconds since the epoch for TIMESTAMP.
    Int(i64),
    Float(f64),
    Texts(Vec<Cow<'a, str>>),
    ByteStrings(Vec<Vec<u8>>),
}

/// Why a value can't stand in its column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("attribute {attribute:?} does not fit its column: {reason}")]
pub(super) struct Misfit {
    pub attribute: String,
    pub reason: String,
}

/// The cell of `attribute` in `column`; `None` is NULL.
pub(super) fn cell<'a>(attribute: &Attribute<'a>, column: &Column) -> Result<Option<Cell<'a>>, Misfit> {
    let misfit = |reason: String| Misfit { attribute: attribute.name.to_string(), reason };
    let kind = attribute.value.kind();
    let wrong = || {
        misfit(format!(
            "it is of type {kind}, and the column {} takes {} ({})",
            column.name,
            column.holds.map_or_else(|| "what was in it first".to_owned(), |kind| format!("only {kind}")),
            column.shown_type()
        ))
    };
    if column.kind == ColumnType::Json && !column.repeated {
        return Ok(Some(Cell::Json(Cow::Borrowed(attribute.json))));
    }
    if column.repeated != kind.is_set() && kind != Kind::Null {
        return Err(wrong());
    }
    // A column of text that was made for numbers is no place for strings, and the other way round.
    if column.holds.is_some_and(|holds| holds != kind && kind != Kind::Null) {
        return Err(wrong());
    }
    let number = |text: &Text<'a>| -> Result<Cow<'a, str>, Misfit> {
        let Some((fits, plain)) = decimal(&text.0) else { return Err(misfit(format!("{:?} is no number", text.0))) };
        let most = match column.kind {
            ColumnType::Numeric => Decimal::Numeric,
            ColumnType::BigNumeric => Decimal::BigNumeric,
            // The text is the number's own: it stays as it came.
            ColumnType::String => return Ok(text.0.clone()),
            _ => return Err(wrong()),
        };
        if fits > most {
            let wider = if fits == Decimal::BigNumeric {
                format!(
                    "BIGNUMERIC would hold it: ALTER TABLE … ALTER COLUMN {} SET DATA TYPE BIGNUMERIC, start the replica \
                     again, and replay its dead letters",
                    column.name
                )
            } else {
                "no decimal type holds it".to_owned()
            };
            return Err(misfit(format!("{} is not held exactly by {}. {wider}", text.0, column.shown_type())));
        }
        Ok(Cow::Owned(plain))
    };
    let binary =
        |text: &Text<'a>| STANDARD.decode(text.0.as_bytes()).map_err(|_| misfit("it is not base64".to_owned()));
    Ok(Some(match (&attribute.value, &column.kind) {
        (Value::Null(_), _) => return Ok(None),
        (Value::S(text), ColumnType::String) => Cell::Text(text.0.clone()),
        (Value::N(text), ColumnType::Int64) => {
            let plain = decimal(&text.0).map(|(_, plain)| plain).unwrap_or_default();
            Cell::Int(plain.parse().map_err(|_| misfit(format!("{:?} is no INT64", text.0)))?)
        }
        (Value::N(text), ColumnType::Float64) => {
            let value: f64 = text.0.parse().unwrap_or(f64::NAN);
            let same =
                value.is_finite() && decimal(&format!("{value:e}")).is_some_and(|back| decimal(&text.0) == Some(back));
            if !same {
                return Err(misfit(format!("{} is not held exactly by FLOAT64", text.0)));
            }
            Cell::Float(value)
        }
        (Value::N(text), _) => Cell::Text(number(text)?),
        (Value::B(text), ColumnType::Bytes) => Cell::Bytes(binary(text)?),
        (Value::Bool(value), ColumnType::Bool) => Cell::Bool(*value),
        (Value::Ss(texts), ColumnType::String) => Cell::Texts(texts.iter().map(|text| text.0.clone()).collect()),
        (Value::Ns(texts), _) => Cell::Texts(texts.iter().map(number).collect::<Result<_, _>>()?),
        (Value::Bs(texts), ColumnType::Bytes) => Cell::ByteStrings(texts.iter().map(binary).collect::<Result<_, _>>()?),
        _ => return Err(wrong()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnType, holds: Kind) -> Column {
        Column {
            name: "c".into(),
            attribute: Some("a".into()),
            kind,
            repeated: holds.is_set(),
            required: false,
            holds: Some(holds),
        }
    }

    fn one<'a>(item: &'a str, column: &Column) -> Result<Option<Cell<'a>>, Misfit> {
        cell(&attributes(item.as_bytes()).unwrap()[0], column)
    }

    #[test]
    fn each_type_becomes_the_cell_that_holds_it_exactly() {
        for (item, kind, holds, wanted) in [
            (r#"{"a":{"S":"é\n"}}"#, ColumnType::String, Kind::S, Cell::Text("é\n".into())),
            (r#"{"a":{"S":""}}"#, ColumnType::String, Kind::S, Cell::Text("".into())),
            (r#"{"a":{"N":"1.50"}}"#, ColumnType::Numeric, Kind::N, Cell::Text("1.5".into())),
            (r#"{"a":{"N":"1E-20"}}"#, ColumnType::BigNumeric, Kind::N, Cell::Text("0.00000000000000000001".into())),
            (r#"{"a":{"N":"1E-100"}}"#, ColumnType::String, Kind::N, Cell::Text("1E-100".into())),
            (r#"{"a":{"N":"7"}}"#, ColumnType::Int64, Kind::N, Cell::Int(7)),
            (r#"{"a":{"N":"0.1"}}"#, ColumnType::Float64, Kind::N, Cell::Float(0.1)),
            (r#"{"a":{"B":"AQL/"}}"#, ColumnType::Bytes, Kind::B, Cell::Bytes(vec![1, 2, 255])),
            (r#"{"a":{"BOOL":true}}"#, ColumnType::Bool, Kind::Bool, Cell::Bool(true)),
            (r#"{"a":{"SS":["b","a"]}}"#, ColumnType::String, Kind::Ss, Cell::Texts(vec!["b".into(), "a".into()])),
            (r#"{"a":{"NS":["1","2.0"]}}"#, ColumnType::Numeric, Kind::Ns, Cell::Texts(vec!["1".into(), "2".into()])),
            (r#"{"a":{"BS":["AQ=="]}}"#, ColumnType::Bytes, Kind::Bs, Cell::ByteStrings(vec![vec![1]])),
            (
                r#"{"a":{"M":{"x": {"N":"1.10"}}}}"#,
                ColumnType::Json,
                Kind::M,
                Cell::Json(r#"{"M":{"x": {"N":"1.10"}}}"#.into()),
            ),
            (r#"{"a":{"L":[]}}"#, ColumnType::Json, Kind::L, Cell::Json(r#"{"L":[]}"#.into())),
        ] {
            let column = Column { repeated: holds.is_set(), ..column(kind, holds) };
            assert_eq!(one(item, &column).unwrap(), Some(wanted), "{item}");
        }
        assert_eq!(one(r#"{"a":{"NULL":true}}"#, &column(ColumnType::Bool, Kind::Bool)).unwrap(), None);
        assert_eq!(one(r#"{"a":{"NULL":true}}"#, &column(ColumnType::String, Kind::Ss)).unwrap(), None);
    }

    #[test]
    fn what_a_column_does_not_hold_exactly_is_refused_with_the_reason() {
        for (item, kind, holds, says) in [
            (r#"{"a":{"N":"1E-20"}}"#, ColumnType::Numeric, Kind::N, "SET DATA TYPE BIGNUMERIC"),
            (r#"{"a":{"N":"1E100"}}"#, ColumnType::BigNumeric, Kind::N, "no decimal type holds it"),
            (r#"{"a":{"N":"1.5"}}"#, ColumnType::Int64, Kind::N, "no INT64"),
            (r#"{"a":{"N":"0.10000000000000000001"}}"#, ColumnType::Float64, Kind::N, "not held exactly by FLOAT64"),
            (r#"{"a":{"S":"x"}}"#, ColumnType::Numeric, Kind::N, "it is of type S"),
            (r#"{"a":{"S":"x"}}"#, ColumnType::String, Kind::N, "takes only N"),
            (r#"{"a":{"SS":["x"]}}"#, ColumnType::String, Kind::S, "it is of type SS"),
            (r#"{"a":{"S":"x"}}"#, ColumnType::String, Kind::Ss, "it is of type S"),
            (r#"{"a":{"B":"AQ"}}"#, ColumnType::Bytes, Kind::B, "not base64"),
            (r#"{"a":{"M":{}}}"#, ColumnType::String, Kind::S, "it is of type M"),
        ] {
            let error = one(item, &column(kind, holds)).unwrap_err().to_string();
            assert!(error.contains(says), "{item}: {error}");
        }
    }

    #[test]
    fn an_item_is_read_in_order_with_the_bytes_of_each_value() {
        let item = r#"{"b":{"N":"1"}, "a\n":{"M":{"x":{"NULL":true}}} }"#;
        let read = attributes(item.as_bytes()).unwrap();
        assert_eq!(
            read.iter().map(|a| (&*a.name, a.json)).collect::<Vec<_>>(),
            [("b", r#"{"N":"1"}"#), ("a\n", r#"{"M":{"x":{"NULL":true}}}"#)]
        );
        for bad in ["", "[]", r#"{"a":1}"#, r#"{"a":{"X":"1"}}"#, r#"{"a":{"S":"x","N":"1"}}"#, r#"{"a":{}}"#] {
            assert!(attributes(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
