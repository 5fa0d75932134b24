//! What can be started: one file per job kind, the process that runs it, and the journal where everyone meets.

pub mod audit;
pub mod autoscale;
pub mod backup;
pub mod binding;
pub mod bump;
mod consuming;
pub mod create_table;
pub mod dead;
pub mod journal;
pub mod letters;
mod load;
pub mod onto;
pub mod plan;
pub mod playback;
pub mod policy;
mod process;
mod progress;
pub mod pump;
pub mod replicate;
mod restore;
pub mod spec;
mod speed;
mod standing;
pub mod track;
pub mod undo;
mod verify;
pub mod work;
mod worker;

pub use binding::{Binding, Remedy};
pub use journal::{Journal, JournalError};
pub use process::{StartError, leave_terminal, log_path, resume_detached, start_detached};
pub use progress::{Ended, Line, Listener, Said, VerifyLine};
pub use replicate::{BigQueryTarget, Bootstrap, ReplicaTarget, ReplicateSpec, TableTarget, TwoWay};
pub use spec::{
    AutoscaleSpec, BackupSpec, JobId, Kind, LettersSpec, LoadSpec, Part, PlaybackSpec, PumpSpec, Raise, ReplicaSpec,
    RestoreSpec, SourceSpec, Spec, VerifySpec, WorkSpec,
};
pub use standing::{ReplicaStanding, ShardStanding, Standing};
pub use verify::{Audited, Found, ReadFrom};
pub use worker::{JobError, differences_path, run};
