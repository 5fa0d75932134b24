//! A dead letter in the person's own editor.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use serde_json::json;

use super::{acting, found, may_change};
use crate::cli::ask::answer;
use crate::cli::print;
use crate::cli::report::{Exit, Report};
use crate::cli::session::Session;
use crate::jobs::dead::{self, Replay};
use crate::jobs::{JobId, Journal};

pub(super) async fn edit(journal: &Journal, job: &JobId, number: i64, session: &Session) -> Result<Exit, Report> {
    let (known, mut dead) = found(journal, job, number)?;
    if let Some(fate) = &dead.fate {
        let words = format!("dead letter {number} of {job} was {}", fate.ending.as_str());
        return Err(Report::failed(words, "what is settled is not edited"));
    }
    may_change(session, &format!("edit dead letter {number} of {job}"))?;
    let cloud = acting(&known, session).await?;
    let mut replay = Replay::new(&cloud, &known, false)?;
    let unwritable = |error: std::io::Error| Report::failed(format!("a file to edit could not be made: {error}"), "");
    let folder = tempfile::Builder::new().prefix("dead-letter-").tempdir_in(&session.state).map_err(unwritable)?;
    let path = folder.path().join(format!("{job}-{number}.json"));
    loop {
        let before = dead::to_edit(&known, &dead);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(unwritable)?;
        file.write_all(before.as_bytes()).map_err(unwritable)?;
        drop(file);
        run_editor(&path)?;
        let after = std::fs::read(&path)
            .map_err(|error| Report::failed(format!("what was saved could not be read: {error}"), ""))?;
        let after = String::from_utf8_lossy(&after).into_owned();
        let draft = dead::edited(&before, &after)
            .map_err(|reason| Report::failed(reason, "dead letters are kept as they were"))?;
        let Some(draft) = draft else {
            let row = json!({ "job": job, "number": number, "outcome": "unchanged", "changed": false });
            print::said(session, "nothing was changed", &row)?;
            return Ok(Exit::Done);
        };
        journal.set_draft(job, number, Some(&draft))?;
        dead.draft = Some(draft);
        let reason = match session.answered(replay.check(&dead)).await? {
            Ok(Some(item)) => {
                let row = json!({
                    "job": job, "number": number, "outcome": "fit", "bytes": item.size, "changed": true,
                });
                let words = format!("it is fit now: put it with `sluice dead replay {job} {number}`");
                print::said(session, &words, &row)?;
                return Ok(Exit::Done);
            }
            Ok(None) => "the job's options (--filter, --skip-expired) leave it out".to_owned(),
            Err(reason) => reason,
        };
        journal.set_tried(job, number, &reason)?;
        dead.tried = Some(reason.clone());
        let words = format!("what was saved can't be put: {}", print::shown(&reason));
        if !std::io::stdin().is_terminal() || !again(&words) {
            let hint = format!("it is kept: `sluice dead edit {job} {number}` goes on with it");
            return Err(Report::failed(words, hint));
        }
    }
}

/// Asks whether the editor is opened again.
fn again(words: &str) -> bool {
    eprint!("{words}\nopen it again? [Y/n] ");
    !matches!(answer().trim(), "n" | "N" | "no")
}

/// Runs the person's editor on `path`, as git and others do: the variable may hold options.
fn run_editor(path: &std::path::Path) -> Result<(), Report> {
    let editor = dead::editor();
    let status =
        std::process::Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sluice").arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Report::failed(
            format!("the editor {editor:?} ended with {status}"),
            "nothing was changed; set VISUAL or EDITOR to the one that you use",
        )),
        Err(error) => Err(Report::failed(format!("the editor {editor:?} could not be started: {error}"), "")),
    }
}
