//! `sluice iam`.

use clap::Args;

use super::report::{Exit, Report};
use super::session::Session;

/// Options of `sluice iam`.
#[derive(Clone, Debug, Default, Args)]
pub struct IamArgs {}

/// Runs it.
#[allow(clippy::unused_async)]
pub async fn run(_args: IamArgs, _session: &Session) -> Result<Exit, Report> {
    Err(Report::failed("not built yet", ""))
}
