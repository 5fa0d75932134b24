//! Replicas in BigQuery: changes of items become rows that BigQuery applies by their primary key, or a log of changes.
//!
//! ```text
//!   ReplicaRow ─> queue ─> lane ─> Row::of (value, decimal, sequence) ─> append  AppendRows, gRPC, default stream
//!                           │         └ columns: name, column                └> insert  tabledata.insertAll, REST
//!                           └ an attribute without a column: service adds one (tables.patch)
//!
//!   double    our own BigQuery for tests and for trying, its rules written from the documentation
//! ```

mod access;
mod append;
mod column;
mod conflict;
mod decimal;
#[cfg(any(test, feature = "local"))]
pub mod double;
mod insert;
mod lane;
mod met;
mod name;
mod open;
mod proto;
mod row;
mod sequence;
mod service;
mod sink;
mod value;

pub use access::Access;
pub use column::{Column, ColumnType, Columns, Keeps};
pub use conflict::Conflict;
pub use decimal::{Decimal, decimal};
pub use name::{BadTable, TableId, column_name};
pub use open::{Options, open};
pub use sequence::{BOOTSTRAP, NoSequence, change_sequence};
pub use sink::BigQueryReplica;
pub use value::Kind;
