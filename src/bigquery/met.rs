//! What was met of attributes, and the column that each of them needs.

use super::column::{Column, ColumnType};
use super::decimal::Decimal;
use super::value::{Attribute, Kind, Value};

/// What was met of attributes, in the order in which they were met.
#[derive(Clone, Debug, Default)]
pub(super) struct Met(Vec<(String, MetAttribute)>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MetAttribute {
    kind: Option<Kind>,
    several: bool,
    decimal: Option<Decimal>,
}

impl Met {
    /// Notes `attribute`'s type.
    pub fn meet(&mut self, attribute: &Attribute<'_>) {
        let at = self.0.iter().position(|(name, _)| *name == attribute.name).unwrap_or_else(|| {
            self.0.push((attribute.name.to_string(), MetAttribute::default()));
            self.0.len() - 1
        });
        let met = &mut self.0[at].1;
        // NULL stands in a column of any type.
        if !matches!(attribute.value, Value::Null(_)) {
            let kind = attribute.value.kind();
            met.several |= met.kind.is_some_and(|before| before != kind);
            met.kind = Some(kind);
            met.decimal = met.decimal.max(attribute.value.decimal());
        }
    }

    /// True when nothing was met.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first that was met.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_str())
    }

    /// All, in the order in which they were met.
    pub fn all(&self) -> &[(String, MetAttribute)] {
        &self.0
    }

    /// The decimal type that holds all numbers of `attribute`.
    pub fn decimal(&self, attribute: &str) -> Option<Decimal> {
        self.0.iter().find(|(name, _)| name == attribute).and_then(|(_, met)| met.decimal)
    }
}

impl MetAttribute {
    /// The column for it; `None` while it was only NULL.
    pub fn column(self, attribute: &str, name: String) -> Option<Column> {
        let kind = self.kind?;
        let decimal = || ColumnType::of_decimal(self.decimal.unwrap_or(Decimal::Text));
        let (column, holds) = match kind {
            _ if self.several => (ColumnType::Json, None),
            Kind::S | Kind::Ss => (ColumnType::String, Some(kind)),
            Kind::N | Kind::Ns => (decimal(), Some(kind)),
            Kind::B | Kind::Bs => (ColumnType::Bytes, Some(kind)),
            Kind::Bool => (ColumnType::Bool, Some(kind)),
            Kind::M | Kind::L | Kind::Null => (ColumnType::Json, Some(kind)),
        };
        Some(Column {
            name,
            attribute: Some(attribute.to_owned()),
            repeated: !self.several && kind.is_set(),
            required: false,
            kind: column,
            holds,
        })
    }
}
