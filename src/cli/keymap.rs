//! `sluice keymap`: the console's bindings, generated from what the console itself uses.

use std::path::PathBuf;

use clap::Args;
use etcetera::BaseStrategy as _;

use super::report::{Exit, Report};
use super::session::Session;

/// Which keymap.
#[derive(Debug, Args)]
pub struct KeymapArgs {
    /// Check and show this file instead of the one in the configuration folder.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// The user's keymap, when there is one.
pub fn users_file() -> Option<PathBuf> {
    let folder = etcetera::choose_base_strategy().ok()?.config_dir().join("sluicegate");
    Some(folder.join("keymap.toml")).filter(|path| path.exists())
}

/// Prints every binding.
pub fn run(args: &KeymapArgs, session: &Session) -> Result<Exit, Report> {
    let _ = (args, session);
    Err(Report::failed("the keymap is not built yet", ""))
}
