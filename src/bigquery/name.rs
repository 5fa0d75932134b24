//! Names: a table's three parts, and the column that an attribute goes to.

use std::fmt;

/// A table of BigQuery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableId {
    /// The project, such as `my-project` or `example.com:my-project`.
    pub project: String,
    /// The dataset.
    pub dataset: String,
    /// The table.
    pub table: String,
}

/// Why a text is no name of a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTable {
    /// Not three parts.
    #[error("{0:?} is no table of BigQuery: write PROJECT.DATASET.TABLE")]
    NotThreeParts(String),
    /// A part that BigQuery would not take.
    #[error("{part} {name:?} is no name that BigQuery takes: {rule}")]
    BadPart {
        /// Which part.
        part: &'static str,
        /// What it was.
        name: String,
        /// What it may be.
        rule: &'static str,
    },
}

impl TableId {
    /// Its parts, checked by BigQuery's rules for names (datasets: letters, digits, underscores; tables: hyphens too).
    pub fn new(project: &str, dataset: &str, table: &str) -> Result<Self, BadTable> {
        let bad = |part, name: &str, rule| Err(BadTable::BadPart { part, name: name.to_owned(), rule });
        let holds = |name: &str, most: usize, more: &[char]| {
            (1..=most).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
        };
        if !holds(project, 255, &['-', '.', ':']) {
            return bad("project", project, "letters, digits, hyphens (and a domain before a colon)");
        }
        if !holds(dataset, 1024, &['_']) {
            return bad("dataset", dataset, "letters, digits and underscores, at most 1,024");
        }
        if !holds(table, 1024, &['_', '-']) {
            return bad("table", table, "letters, digits, underscores and hyphens, at most 1,024");
        }
        Ok(Self { project: project.to_owned(), dataset: dataset.to_owned(), table: table.to_owned() })
    }

    /// Reads `PROJECT.DATASET.TABLE`.
    pub fn parse(text: &str) -> Result<Self, BadTable> {
        let mut parts = text.rsplitn(3, '.');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(table), Some(dataset), Some(project)) => Self::new(project, dataset, table),
            _ => Err(BadTable::NotThreeParts(text.to_owned())),
        }
    }

    /// Its default stream, as the Storage Write API names it.
    pub(super) fn default_stream(&self) -> String {
        format!("projects/{}/datasets/{}/tables/{}/streams/_default", self.project, self.dataset, self.table)
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.project, self.dataset, self.table)
    }
}

/// Characters of a column's name at most ("Specify a schema", "Column names").
pub(super) const LONGEST_COLUMN: usize = 300;

/// What no column's name may begin with, whatever its case (the same page), and what our own columns begin with.
const RESERVED: [&str; 10] = [
    "_CHANGE_SEQUENCE_NUMBER",
    "_CHANGE_TIMESTAMP",
    "_CHANGE_TYPE",
    "_COLIDENTIFIER",
    "_FILE_",
    "_PARTITION",
    "_ROW_TIMESTAMP",
    "_TABLE_",
    "__ROOT__",
    OURS,
];

/// What the columns begin with that a change log adds to those of the item.
pub(super) const OURS: &str = "sluice_";

/// The column that `attribute` goes to; `None` when it has too many characters.
///
/// A character that is no ASCII letter, digit or underscore becomes an underscore; a leading digit gets an underscore in
/// front, a reserved beginning an `x`. `user.name` becomes `user_name`, `2fa` `_2fa`, `_TABLE_x` `x_TABLE_x`.
pub fn column_name(attribute: &str) -> Option<String> {
    let mut name = String::with_capacity(attribute.len() + 1);
    if attribute.starts_with(|first: char| first.is_ascii_digit()) {
        name.push('_');
    }
    name.extend(attribute.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    if RESERVED
        .iter()
        .any(|reserved| name.get(..reserved.len()).is_some_and(|head| head.eq_ignore_ascii_case(reserved)))
    {
        name.insert(0, 'x');
    }
    (1..=LONGEST_COLUMN).contains(&name.len()).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_table_has_three_parts_and_a_project_may_have_a_domain() {
        let id = TableId::parse("example.com:p-1.d_1.t-1").unwrap();
        assert_eq!((id.project.as_str(), id.dataset.as_str(), id.table.as_str()), ("example.com:p-1", "d_1", "t-1"));
        assert_eq!(id.to_string(), "example.com:p-1.d_1.t-1");
        assert_eq!(id.default_stream(), "projects/example.com:p-1/datasets/d_1/tables/t-1/streams/_default");
        for bad in ["", "t", "d.t", "p.d.", "p..t", "p.d-1.t", "p.d.t/x", ".d.t", "p/q.d.t"] {
            assert!(TableId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_attribute_becomes_a_column_by_one_rule() {
        for (attribute, column) in [
            ("id", "id"),
            ("user.name", "user_name"),
            ("2fa", "_2fa"),
            ("a b-ç", "a_b__"),
            ("_TABLE_x", "x_TABLE_x"),
            ("_partitionTime", "x_partitionTime"),
            ("_change_type", "x_change_type"),
            ("_changes", "_changes"),
            ("sluice_change", "xsluice_change"),
        ] {
            assert_eq!(column_name(attribute).as_deref(), Some(column), "{attribute}");
        }
        assert_eq!(column_name(&"a".repeat(300)).unwrap().len(), 300);
        assert_eq!(column_name(&"a".repeat(301)), None);
        assert_eq!(column_name(&("1".to_owned() + &"a".repeat(299))), None);
    }

    proptest! {
        #[test]
        fn every_column_has_a_name_that_bigquery_takes(attribute in any::<String>()) {
            if let Some(name) = column_name(&attribute) {
                let mut chars = name.chars();
                prop_assert!(chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_'));
                prop_assert!(chars.all(|c| c.is_ascii_alphanumeric() || c == '_'));
                prop_assert!(name.len() <= LONGEST_COLUMN);
                prop_assert!(!RESERVED.iter().any(|r| name.to_ascii_uppercase().starts_with(&r.to_ascii_uppercase())));
            }
        }
    }
}
