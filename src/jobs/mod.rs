//! What can be started: one file per job kind, the process that runs it, and the journal where everyone meets.

pub mod bump;
pub mod journal;
mod process;
mod progress;
pub mod spec;
mod worker;

pub use journal::{Journal, JournalError};
pub use process::{StartError, leave_terminal, log_path, resume_detached, start_detached};
pub use progress::{Ended, Line, Listener, Said, VerifyLine};
pub use spec::{JobId, Kind, RestoreSpec, Spec, VerifySpec};
pub use worker::{JobError, run};
