//! `sluice load`.

use clap::Args;

use super::report::{Exit, Report};
use super::session::Session;

/// Options of `sluice load`.
#[derive(Clone, Debug, Default, Args)]
pub struct LoadArgs {}

/// Runs it.
#[allow(clippy::unused_async)]
pub async fn run(_args: LoadArgs, _session: &Session) -> Result<Exit, Report> {
    Err(Report::failed("not built yet", ""))
}
