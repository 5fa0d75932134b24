//! `sluice track`.

use clap::Args;

use super::report::{Exit, Report};
use super::session::Session;

/// Options of `sluice track`.
#[derive(Clone, Debug, Default, Args)]
pub struct TrackArgs {}

/// Runs it.
#[allow(clippy::unused_async)]
pub async fn run(_args: TrackArgs, _session: &Session) -> Result<Exit, Report> {
    Err(Report::failed("not built yet", ""))
}
