//! Autoscale: rules that follow the load of tables with their capacity.

use super::spec::AutoscaleSpec;
use super::worker::{End, JobError, Session};

pub(super) async fn run(_session: &Session<'_>, _spec: &AutoscaleSpec) -> Result<End, JobError> {
    Err(JobError::Unfit("autoscale is being built".into()))
}
