//! Columns: which one an attribute goes to, of which type it is made, and what an existing table may look like.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::conflict::Conflict;
use super::decimal::Decimal;
use super::met::Met;
use super::name::{OURS, column_name};
use super::value::{Kind, attributes};
use crate::item::{KeyKind, KeySchema};

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// STRING.
    String,
    /// NUMERIC.
    Numeric,
    /// BIGNUMERIC.
    BigNumeric,
    /// INT64: only in tables that others made.
    Int64,
    /// FLOAT64: only in tables that others made.
    Float64,
    /// BOOL.
    Bool,
    /// BYTES.
    Bytes,
    /// JSON.
    Json,
    /// TIMESTAMP: only our own column of a change log.
    Timestamp,
    /// A type that no attribute goes into, as BigQuery names it.
    Other(String),
}

impl ColumnType {
    /// As the REST API names it (`TableFieldSchema.type`).
    pub fn name(&self) -> &str {
        match self {
            Self::String => "STRING",
            Self::Numeric => "NUMERIC",
            Self::BigNumeric => "BIGNUMERIC",
            Self::Int64 => "INTEGER",
            Self::Float64 => "FLOAT",
            Self::Bool => "BOOLEAN",
            Self::Bytes => "BYTES",
            Self::Json => "JSON",
            Self::Timestamp => "TIMESTAMP",
            Self::Other(name) => name,
        }
    }

    fn of_name(name: &str) -> Self {
        match name {
            "STRING" => Self::String,
            "NUMERIC" => Self::Numeric,
            "BIGNUMERIC" => Self::BigNumeric,
            "INTEGER" | "INT64" => Self::Int64,
            "FLOAT" | "FLOAT64" => Self::Float64,
            "BOOLEAN" | "BOOL" => Self::Bool,
            "BYTES" => Self::Bytes,
            "JSON" => Self::Json,
            "TIMESTAMP" => Self::Timestamp,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The column that holds what `decimal` holds.
    pub(super) fn of_decimal(decimal: Decimal) -> Self {
        match decimal {
            Decimal::Numeric => Self::Numeric,
            Decimal::BigNumeric => Self::BigNumeric,
            Decimal::Text => Self::String,
        }
    }

    /// Whether a table may be clustered by it ("Clustered tables": neither BYTES nor FLOAT64 nor JSON).
    fn clusters(&self) -> bool {
        matches!(self, Self::String | Self::Numeric | Self::BigNumeric | Self::Int64 | Self::Bool | Self::Timestamp)
    }
}

/// A top-level column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The attribute that goes into it, as its description says; `None` in tables that others made.
    pub attribute: Option<String>,
    /// Its type.
    pub kind: ColumnType,
    /// An array.
    pub repeated: bool,
    /// Never NULL.
    pub required: bool,
    /// The type of the attribute that it was made for; `None` when any that fits may go in.
    pub holds: Option<Kind>,
}

/// What the description of a column says that we made.
const DESCRIBED: &str = "DynamoDB attribute ";

impl Column {
    /// The column of our own that is named `name`.
    fn ours(name: &str, kind: ColumnType) -> Self {
        Self { name: name.to_owned(), attribute: None, kind, repeated: false, required: false, holds: None }
    }

    /// Type and mode, as a person reads them.
    pub(super) fn shown_type(&self) -> String {
        if self.repeated { format!("ARRAY of {}", self.kind.name()) } else { self.kind.name().to_owned() }
    }

    /// As `TableFieldSchema`.
    pub(super) fn to_json(&self) -> Json {
        let mode = if self.repeated {
            "REPEATED"
        } else if self.required {
            "REQUIRED"
        } else {
            "NULLABLE"
        };
        let mut field = json!({"name": self.name, "type": self.kind.name(), "mode": mode});
        if let Some(attribute) = &self.attribute {
            let holds = self.holds.map_or("any type", Kind::tag);
            field["description"] = format!("{DESCRIBED}{attribute} ({holds})").into();
        }
        field
    }

    /// Reads `TableFieldSchema`; what is missing in it is what the reference says for it.
    fn of_json(field: &Json) -> Self {
        let text = |name: &str| field[name].as_str().unwrap_or_default();
        let described = text("description").strip_prefix(DESCRIBED).and_then(|rest| rest.rsplit_once(" ("));
        let kind = match text("type") {
            "RECORD" | "STRUCT" => ColumnType::Other("STRUCT".to_owned()),
            name => ColumnType::of_name(name),
        };
        Self {
            name: text("name").to_owned(),
            attribute: described.map(|(attribute, _)| attribute.to_owned()),
            kind,
            repeated: text("mode") == "REPEATED",
            required: text("mode") == "REQUIRED",
            holds: described.and_then(|(_, kind)| Kind::of_tag(kind.trim_end_matches(')'))),
        }
    }
}

/// What is kept of a table's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// The rows as they are now.
    Rows,
    /// Every change, one row each.
    Log,
}

/// The columns that a change log has beside those of the item.
pub(super) mod log {
    /// `PUT` or `DELETE`.
    pub const CHANGE: &str = "sluice_change";
    /// When it happened, about; NULL for what the bootstrap copied.
    pub const TIME: &str = "sluice_time";
    /// The stream's sequence number, zero-padded to 40 digits so that text order is its order; zeros for the bootstrap.
    pub const SEQUENCE: &str = "sluice_sequence";
    /// The item expired, and the service deleted it.
    pub const BY_TTL: &str = "sluice_by_ttl";
}

/// Where an attribute goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The column at this index.
    Column(usize),
    /// There is none yet; this name is free for it.
    Free(String),
}

/// A table's columns.
#[derive(Clone, Debug)]
pub struct Columns {
    list: Vec<Column>,
    by_attribute: HashMap<String, usize>,
    by_lower_name: HashMap<String, usize>,
    /// Columns of the primary key, partition first.
    key: Vec<String>,
    /// The JSON column for what has no column of its own.
    unknown: Option<usize>,
    keeps: Keeps,
}

impl Columns {
    fn of(columns: Vec<Column>, key: Vec<String>, unknown: Option<&str>, keeps: Keeps) -> Self {
        let by = |of: &dyn Fn(&Column) -> Option<String>| -> HashMap<String, usize> {
            columns.iter().enumerate().filter_map(|(at, column)| Some((of(column)?, at))).collect()
        };
        let by_attribute = by(&|column| column.attribute.clone());
        let by_lower_name = by(&|column| Some(column.name.to_ascii_lowercase()));
        let unknown = unknown.and_then(|name| by_lower_name.get(&name.to_ascii_lowercase()).copied());
        Self { list: columns, by_attribute, by_lower_name, key, unknown, keeps }
    }

    /// The columns of a table that is to be made: the key's, those of `sample`'s attributes, the one for what has none, and
    /// a change log's own.
    pub fn made<T: AsRef<[u8]>>(
        key: &KeySchema,
        sample: &[T],
        unknown: Option<&str>,
        keeps: Keeps,
    ) -> Result<Self, Conflict> {
        let mut met = Met::default();
        for item in sample {
            // What is no item is told when it is written.
            attributes(item.as_ref()).unwrap_or_default().iter().for_each(|attribute| met.meet(attribute));
        }
        let mut columns = Vec::new();
        let mut key_names = Vec::new();
        for attr in std::iter::once(&key.partition).chain(&key.sort) {
            let name = column_name(&attr.name).ok_or_else(|| Conflict::TooLong(cut(&attr.name)))?;
            let (kind, holds) = match attr.kind {
                KeyKind::S => (ColumnType::String, Kind::S),
                KeyKind::B => (ColumnType::Bytes, Kind::B),
                KeyKind::N => (ColumnType::of_decimal(met.decimal(&attr.name).unwrap_or(Decimal::Numeric)), Kind::N),
            };
            columns.push(Column {
                name: name.clone(),
                attribute: Some(attr.name.clone()),
                kind,
                repeated: false,
                required: keeps == Keeps::Rows,
                holds: Some(holds),
            });
            key_names.push(name);
        }
        if keeps == Keeps::Log {
            columns.extend(OUR_COLUMNS.iter().map(|(name, kind)| Column::ours(name, kind.clone())));
        }
        if let Some(unknown) = unknown {
            columns.push(Column::ours(unknown, ColumnType::Json));
        }
        let (made, refused) = Self::of(columns, key_names, unknown, keeps).with(&met);
        match refused.into_iter().next() {
            Some(conflict) if unknown.is_none() => Err(conflict),
            _ => Ok(made),
        }
    }

    /// The columns of a table that is there, checked against what a replica needs.
    ///
    /// `table` is the REST API's `Table`.
    pub fn existing(table: &Json, key: &KeySchema, unknown: Option<&str>, keeps: Keeps) -> Result<Self, Conflict> {
        let columns: Vec<Column> =
            table["schema"]["fields"].as_array().into_iter().flatten().map(Column::of_json).collect();
        let primary = names(&table["tableConstraints"]["primaryKey"]["columns"]);
        let columns = Self::of(columns, Vec::new(), unknown, keeps);
        let mut wanted = Vec::new();
        for attr in std::iter::once(&key.partition).chain(&key.sort) {
            let (kind, fits): (_, &[ColumnType]) = match attr.kind {
                KeyKind::S => (Kind::S, &[ColumnType::String]),
                KeyKind::B => (Kind::B, &[ColumnType::Bytes]),
                KeyKind::N => {
                    (Kind::N, &[ColumnType::Numeric, ColumnType::BigNumeric, ColumnType::Int64, ColumnType::String])
                }
            };
            let conflict = |column: String, found: String| Conflict::KeyColumn {
                attribute: attr.name.clone(),
                kind: kind.tag(),
                column,
                found,
            };
            match columns.place(&attr.name)? {
                Place::Free(name) => return Err(conflict(name, "there is none".to_owned())),
                Place::Column(at) => {
                    let column = &columns.list[at];
                    if column.repeated
                        || !fits.contains(&column.kind)
                        || column.holds.is_some_and(|holds| holds != kind)
                    {
                        return Err(conflict(column.name.clone(), format!("it is {}", column.shown_type())));
                    }
                    wanted.push(column.name.clone());
                }
            }
        }
        match keeps {
            Keeps::Rows => {
                let same = |a: &[String], b: &[String]| {
                    let sorted = |names: &[String]| {
                        let mut names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
                        names.sort();
                        names
                    };
                    sorted(a) == sorted(b)
                };
                if !same(&primary, &wanted) {
                    let found = if primary.is_empty() { "not declared".to_owned() } else { primary.join(", ") };
                    return Err(Conflict::OtherKey { found, wanted: wanted.join(", ") });
                }
                if let Some(column) = columns.list.iter().find(|c| c.required && !wanted.contains(&c.name)) {
                    return Err(Conflict::Required(column.name.clone()));
                }
            }
            Keeps::Log => {
                for (name, kind) in OUR_COLUMNS {
                    let there = columns.named(name).map(|at| &columns.list[at].kind);
                    if there != Some(kind) {
                        return Err(Conflict::NoLog(name));
                    }
                }
            }
        }
        if let Some(name) = unknown
            && let Some(at) = columns.by_lower_name.get(&name.to_ascii_lowercase())
            && (columns.list[*at].kind != ColumnType::Json || columns.list[*at].repeated)
        {
            let found = columns.list[*at].shown_type();
            return Err(Conflict::NotJson { column: name.to_owned(), found });
        }
        Ok(Self { key: wanted, ..columns })
    }

    /// All columns, in the table's order.
    pub fn all(&self) -> &[Column] {
        &self.list
    }

    /// Columns of the primary key, partition first.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// What the table keeps.
    pub(super) fn keeps(&self) -> Keeps {
        self.keeps
    }

    /// Where the column is that takes what has none of its own.
    pub(super) fn unknown(&self) -> Option<usize> {
        self.unknown
    }

    /// Where the column named `name` is.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.by_lower_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// Where `attribute` goes.
    pub(super) fn place(&self, attribute: &str) -> Result<Place, Conflict> {
        if let Some(at) = self.by_attribute.get(attribute) {
            return Ok(Place::Column(*at));
        }
        let name = column_name(attribute).ok_or_else(|| Conflict::TooLong(cut(attribute)))?;
        let Some(at) = self.named(&name) else { return Ok(Place::Free(name)) };
        let column = &self.list[at];
        let is_ours = Some(at) == self.unknown || column.name.starts_with(OURS);
        match &column.attribute {
            // Others made it: it takes what has its very name, or what is named by our rule.
            None if column.name == name && !is_ours => Ok(Place::Column(at)),
            owner => Err(Conflict::SameColumn {
                first: owner.clone().unwrap_or_else(|| column.name.clone()),
                second: attribute.to_owned(),
                column: column.name.clone(),
            }),
        }
    }

    /// These and a NULLABLE column for each attribute of `met` that has none and can have one; and why others can't.
    pub(super) fn with(&self, met: &Met) -> (Self, Vec<Conflict>) {
        let mut grown = self.clone();
        let mut refused = Vec::new();
        for (attribute, of) in met.all() {
            match grown.place(attribute) {
                Ok(Place::Column(_)) => {}
                Ok(Place::Free(name)) => {
                    let Some(column) = of.column(attribute, name) else { continue };
                    let at = grown.list.len();
                    grown.by_attribute.insert(attribute.clone(), at);
                    grown.by_lower_name.insert(column.name.to_ascii_lowercase(), at);
                    grown.list.push(column);
                }
                Err(conflict) => refused.push(conflict),
            }
        }
        (grown, refused)
    }

    /// These and the JSON column for what has none, where that is missing.
    pub(super) fn with_unknown(&self, name: &str) -> Self {
        if self.named(name).is_some() {
            return self.clone();
        }
        let columns = [self.list.clone(), vec![Column::ours(name, ColumnType::Json)]].concat();
        Self::of(columns, self.key.clone(), Some(name), self.keeps)
    }

    /// As the REST API's `TableSchema`.
    pub(super) fn to_json(&self) -> Json {
        json!({"fields": self.list.iter().map(Column::to_json).collect::<Vec<_>>()})
    }

    /// Columns that the table is clustered by: those of its key that may be.
    pub(super) fn clustering(&self) -> Vec<&str> {
        let of_key = |column: &&Column| self.key.contains(&column.name) && column.kind.clusters();
        self.list.iter().filter(of_key).map(|column| column.name.as_str()).collect()
    }
}

/// A change log's own columns.
const OUR_COLUMNS: &[(&str, ColumnType)] = &[
    (log::CHANGE, ColumnType::String),
    (log::TIME, ColumnType::Timestamp),
    (log::SEQUENCE, ColumnType::String),
    (log::BY_TTL, ColumnType::Bool),
];

fn names(list: &Json) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn cut(attribute: &str) -> String {
    attribute.chars().take(60).collect()
}

#[cfg(test)]
#[path = "column_tests.rs"]
mod tests;
