//! `sluice work`.

use clap::Args;

use super::report::{Exit, Report};
use super::session::Session;

/// Options of `sluice work`.
#[derive(Clone, Debug, Default, Args)]
pub struct WorkArgs {}

/// Runs it.
#[allow(clippy::unused_async)]
pub async fn run(_args: WorkArgs, _session: &Session) -> Result<Exit, Report> {
    Err(Report::failed("not built yet", ""))
}
