//! The user's `config.toml`, beside the keymap: what is a matter of taste.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use serde::Deserialize;

use super::report::Report;
use crate::capacity::Step;

/// What can be set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settings {
    /// By how much `+` and `-` change a capacity: `bump = "50%"`.
    pub bump: Step,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    bump: Option<String>,
}

/// The folder of the user's files.
pub fn folder() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.config_dir().join("sluicegate"))
}

/// The user's settings; the defaults without a file.
///
/// # Errors
/// A file that says what can't be meant, with what to do.
pub fn load() -> Result<Settings, Report> {
    match folder().map(|folder| folder.join("config.toml")).filter(|path| path.exists()) {
        Some(path) => read(&path),
        None => Ok(Settings::default()),
    }
}

fn read(path: &Path) -> Result<Settings, Report> {
    let wrong = |reason: String| {
        Report::failed(format!("{}: {reason}", path.display()), "it may hold one line: bump = \"50%\"")
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let raw: Raw = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let bump = raw.bump.as_deref().map(str::parse).transpose().map_err(wrong)?;
    Ok(Settings { bump: bump.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Settings, Report> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn the_step_of_plus_and_minus_is_a_share() {
        assert_eq!(with("bump = \"20%\"").unwrap().bump.up(100), 120);
        assert_eq!(with("").unwrap(), Settings::default());
        assert!(with("bump = \"many\"").unwrap_err().sentence.contains("is no step"));
        assert!(with("bmup = \"20%\"").unwrap_err().sentence.contains("unknown field"));
    }
}
