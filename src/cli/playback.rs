//! `sluice playback`.

use clap::Args;

use super::report::{Exit, Report};
use super::session::Session;

/// Options of `sluice playback`.
#[derive(Clone, Debug, Default, Args)]
pub struct PlaybackArgs {}

/// Runs it.
#[allow(clippy::unused_async)]
pub async fn run(_args: PlaybackArgs, _session: &Session) -> Result<Exit, Report> {
    Err(Report::failed("not built yet", ""))
}
