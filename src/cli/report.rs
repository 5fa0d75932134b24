//! The one form in which an error reaches a person: what happened, what to do, and the exit code.

use std::fmt;
use std::process::ExitCode;

use crate::backup::BackupError;
use crate::cloud::{Class, CloudError};
use crate::jobs::letters::BringError;

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: the arguments are wrong, which shows from them alone.
    BadArguments,
    /// 3: done, with dead letters.
    DeadLetters,
    /// 4: verify found differences.
    Differences,
    /// 130: interrupted, and can be resumed.
    Interrupted,
}

impl Exit {
    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadArguments => 2,
            Self::DeadLetters => 3,
            Self::Differences => 4,
            Self::Interrupted => 130,
        }
    }

    /// The ending with that number; an unknown one is a failure.
    pub fn from_code(code: u8) -> Self {
        [Self::Done, Self::BadArguments, Self::DeadLetters, Self::Differences, Self::Interrupted]
            .into_iter()
            .find(|exit| exit.code() == code)
            .unwrap_or(Self::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error at the edge: one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What happened, to what; no full stop, no stack of causes. Empty: nothing is left to say.
    pub sentence: String,
    /// What to do; may be empty.
    pub hint: String,
    /// How the process exits.
    pub exit: Exit,
}

impl Report {
    /// A failure (exit 1).
    pub fn failed(sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hint: hint.into(), exit: Exit::Failed }
    }

    /// Wrong arguments (exit 2).
    pub fn bad_arguments(sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), hint: hint.into(), exit: Exit::BadArguments }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.sentence)?;
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl From<CloudError> for Report {
    fn from(error: CloudError) -> Self {
        // A dry run that printed its request did what it was asked for.
        let exit = if error.class == Class::DryRun { Exit::Done } else { Exit::Failed };
        if exit == Exit::Done {
            return Self { sentence: String::new(), hint: String::new(), exit };
        }
        Self { sentence: error.what, hint: error.hint, exit }
    }
}

impl From<BackupError> for Report {
    fn from(error: BackupError) -> Self {
        Self::failed(error.to_string(), "")
    }
}

impl From<BringError> for Report {
    fn from(error: BringError) -> Self {
        match error {
            BringError::Cloud(error) => error.into(),
            error => Self::failed(error.to_string(), ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_sentence_and_what_to_do() {
        let report =
            Report::from(CloudError::new(Class::NotFound, "table quote does not exist", "did you mean quotes?"));
        assert_eq!(report.to_string(), "error: table quote does not exist\n  hint: did you mean quotes?");
        assert_eq!(report.exit.code(), 1);
    }

    #[test]
    fn a_dry_run_that_printed_its_request_is_done() {
        assert_eq!(Report::from(CloudError::new(Class::DryRun, "did not write", "")).exit, Exit::Done);
    }
}
