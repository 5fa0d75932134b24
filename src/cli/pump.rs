//! `sluice pump`.

use clap::Args;

use super::report::{Exit, Report};
use super::session::Session;

/// Options of `sluice pump`.
#[derive(Clone, Debug, Default, Args)]
pub struct PumpArgs {}

/// Runs it.
#[allow(clippy::unused_async)]
pub async fn run(_args: PumpArgs, _session: &Session) -> Result<Exit, Report> {
    Err(Report::failed("not built yet", ""))
}
