//! What can be started: one file per job kind, the process that runs it, and the journal where everyone meets.

pub mod journal;
pub mod spec;

pub use journal::{Journal, JournalError};
pub use spec::{JobId, Kind, RestoreSpec, Spec, VerifySpec};
