//! What has capacity: a table, one of its indexes, a stream.

use std::fmt;

/// A table, one of its indexes, or a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// A table; its capacity is in WCU.
    Table(String),
    /// A global secondary index; its capacity is in WCU.
    Index {
        /// The table that it belongs to.
        table: String,
        /// Its name.
        index: String,
    },
    /// A stream; its capacity is in shards.
    Stream(String),
}

impl Resource {
    /// A table, or one of its indexes.
    pub fn of_table(table: &str, index: Option<&str>) -> Self {
        match index {
            None => Self::Table(table.to_owned()),
            Some(index) => Self::Index { table: table.to_owned(), index: index.to_owned() },
        }
    }

    /// The table it is or belongs to; `None` for a stream.
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::Table(table) | Self::Index { table, .. } => Some(table),
            Self::Stream(_) => None,
        }
    }

    /// The index, when it is one.
    pub fn index(&self) -> Option<&str> {
        match self {
            Self::Index { index, .. } => Some(index),
            Self::Table(_) | Self::Stream(_) => None,
        }
    }

    /// The stream, when it is one.
    pub fn stream(&self) -> Option<&str> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Table(_) | Self::Index { .. } => None,
        }
    }

    /// Its own name, without the table's.
    pub fn name(&self) -> &str {
        match self {
            Self::Table(name) | Self::Index { index: name, .. } | Self::Stream(name) => name,
        }
    }

    /// What its capacity is counted in.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Table(_) | Self::Index { .. } => "WCU",
            Self::Stream(_) => "shards",
        }
    }

    /// The options of `sluice capacity` that mean it.
    pub fn as_arguments(&self) -> String {
        match self {
            Self::Table(table) => table.clone(),
            Self::Index { table, index } => format!("{table} --index {index}"),
            Self::Stream(stream) => format!("--stream {stream}"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Index { table, index } => write!(f, "index {index} of {table}"),
            Self::Stream(stream) => write!(f, "stream {stream}"),
        }
    }
}
