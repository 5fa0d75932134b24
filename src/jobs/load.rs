//! Made-up events onto a stream, at a rate.

use super::spec::LoadSpec;
use super::worker::{End, JobError, Session};

pub(super) async fn run(_session: &Session<'_>, _spec: &LoadSpec) -> Result<End, JobError> {
    Err(JobError::Unfit("not built yet".to_owned()))
}
