//! `sluice demo`: a real restore on an embedded AWS, with nothing to set up.

use std::path::PathBuf;

use clap::Args;

use super::report::{Exit, Report};
use super::session::Session;

/// What is restored, and how narrow the table is.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Run restore and verify to the end without a terminal.
    #[arg(long)]
    pub headless: bool,
    /// Items in the sample backup.
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub records: u64,
    /// Write capacity of the table, WCU.
    #[arg(long, default_value_t = 130, value_parser = clap::value_parser!(u64).range(1..=40_000))]
    pub wcu: u64,
    /// Shards of the stream.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub shards: u32,
    /// Keep everything in this folder; a temporary one is used and removed without it.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Runs it.
pub async fn run(args: DemoArgs, session: &Session) -> Result<Exit, Report> {
    let _ = (args, session);
    Err(Report::failed("the demo is not built yet", ""))
}
