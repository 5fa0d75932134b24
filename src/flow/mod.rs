//! Being built.

mod counters;
mod dead;
pub use counters::Counters;
pub use dead::Letter;
