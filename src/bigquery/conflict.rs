//! What does not go together: a table that can't be the replica, an attribute that has no place in it.

/// Why a table of BigQuery can't be the replica, or an attribute has no place in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The primary key is another one.
    #[error("its primary key is {found}, and the source's key is {wanted}")]
    OtherKey {
        /// What the table has.
        found: String,
        /// What the replica needs.
        wanted: String,
    },
    /// A key attribute has no column, or one that does not hold it.
    #[error("the key attribute {attribute:?} ({kind}) needs a column {column} that holds it, and {found}")]
    KeyColumn {
        /// The attribute.
        attribute: String,
        /// Its type.
        kind: &'static str,
        /// The column's name.
        column: String,
        /// What is there.
        found: String,
    },
    /// A column that a delete could not leave out.
    #[error("the column {0} is REQUIRED and not of the key: a delete carries the key alone. Make it NULLABLE")]
    Required(String),
    /// The column for what has no column is no JSON.
    #[error("the column {column} is {found}, and what has no column of its own goes into JSON alone")]
    NotJson {
        /// The column.
        column: String,
        /// What it is.
        found: String,
    },
    /// A column of a change log is missing or of another type.
    #[error("it is no change log: the column {0} is missing or of another type")]
    NoLog(&'static str),
    /// Two attributes would go into one column.
    #[error(
        "the attributes {first:?} and {second:?} would both go into the column {column}: names of columns know neither \
             case nor signs. Rename one (--rename), drop it (--drop), or name a column for such (--unknown-into)"
    )]
    SameColumn {
        /// The attribute that has it.
        first: String,
        /// The one that would share it.
        second: String,
        /// The column.
        column: String,
    },
    /// The attribute's name is too long.
    #[error(
        "the attribute {0:?}… has a name of more characters than the 300 of a column: rename it (--rename), or name a \
             column for such (--unknown-into)"
    )]
    TooLong(String),
}
