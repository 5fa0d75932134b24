//! The pump: events of a stream into the buffer, and from the buffer into their slots.

use super::spec::PumpSpec;
use super::worker::{End, JobError, Session};

pub(super) async fn run(_session: &Session<'_>, _spec: &PumpSpec) -> Result<End, JobError> {
    Err(JobError::Unfit("not built yet".to_owned()))
}
