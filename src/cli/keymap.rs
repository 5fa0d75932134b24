//! `sluice keymap`: the console's bindings, generated from what the console itself uses.

use std::path::PathBuf;

use clap::Args;
use etcetera::BaseStrategy as _;
use serde_json::json;

use super::print::{self, Columns, Side};
use super::report::{Exit, Report};
use super::session::Session;
use crate::console::keymap;

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
    let file = args.file.clone().or_else(users_file);
    let keymap = keymap::load(file.as_deref()).map_err(|error| {
        Report::failed(error.to_string(), "mend that line; `sluice keymap --file keymap.toml` checks a file")
    })?;
    let mut columns =
        Columns::new(&[("SCOPE", Side::Left), ("ACTION", Side::Left), ("KEYS", Side::Left), ("DOES", Side::Left)]);
    for row in keymap.rows() {
        if session.global.json {
            print::json(&json!({ "scope": row.scope, "action": row.action, "chords": row.chords, "help": row.help }))?;
        } else {
            columns.row(&[row.scope.to_owned(), row.action.to_owned(), row.chords.join(", "), row.help.to_owned()]);
        }
    }
    if !session.global.json {
        print::columns(&columns)?;
    }
    Ok(Exit::Done)
}
