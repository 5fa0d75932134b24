//! What can be done with a dead letter from the console: edited in the person's editor, replayed behind the fence, given up.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tui_input::Input;

use super::app::{App, Screen};
use super::confirm::{Confirm, Token};
use super::effect::{Draft, Effect};
use super::keymap::Action;
use super::widget::quantity::exact;
use super::widget::text::shown;
use crate::cloud::{Class, Cloud, Mode};
use crate::jobs::dead::{self, Replay, ReplayError, Replayed};
use crate::jobs::journal::{DeadLetter, Ending, Journal};
use crate::jobs::{JobId, audit};

/// The folder of the files that an editor opens, for this user alone; it goes with the console.
#[derive(Clone, Debug)]
pub(super) struct Drafts {
    beside: PathBuf,
    folder: Arc<Mutex<Option<TempDir>>>,
}

impl Drafts {
    /// Files beside the journal at `journal`, made when the first is wanted.
    pub fn beside(journal: &Path) -> Self {
        let beside = journal.parent().unwrap_or(Path::new(".")).to_owned();
        Self { beside, folder: Arc::default() }
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = match folder.take() {
            Some(there) => folder.insert(there),
            None => folder.insert(tempfile::Builder::new().prefix("dead-letters-").tempdir_in(&self.beside)?),
        };
        let path = folder.path().join(name);
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}

/// A key on the list of dead letters.
pub(super) fn act(app: &mut App, action: Action) -> Vec<Effect> {
    let Screen::Dead(id) = app.screen.clone() else { return Vec::new() };
    let Some(dead) = app.selected_letter().cloned() else {
        app.say("there is no dead letter here", true);
        return Vec::new();
    };
    let Some(job) = app.job(&id).cloned() else { return Vec::new() };
    if !app.is_here(&job.context) {
        app.say(format!("{id} acts in another context: go there first, or use sluice dead"), true);
        return Vec::new();
    }
    let table = dead::content(&job, &dead).table;
    let question = match action {
        Action::Edit => {
            if app.place.mode == Mode::Normal {
                return vec![Effect::OpenLetter(id, dead.number)];
            }
            app.say("nothing is edited in read-only mode or a dry run", true);
            return Vec::new();
        }
        Action::Replay => replay_question(&id, &shown(&table), vec![dead.number], &words_of(&dead)),
        Action::ReplayAll => {
            // What a filter hides is not meant.
            let mut numbers: Vec<i64> = app.shown_letters().iter().map(|dead| dead.number).collect();
            numbers.sort_unstable();
            let total = app.letters.as_ref().map_or(0, |letters| letters.total);
            let of = match numbers.len() as u64 {
                n if n >= total => String::new(),
                n if app.letters_list.filter.is_empty() => format!("the first {} of ", exact(n)),
                n => format!("the {} that are shown, of ", exact(n)),
            };
            let words = format!("{of}{} dead letters of {id}", exact(total));
            replay_question(&id, &shown(&table), numbers, &words)
        }
        _ => drop_question(&id, &shown(&table), &dead),
    };
    super::keys::ask(app, question);
    Vec::new()
}

fn words_of(dead: &DeadLetter) -> String {
    let edited = if dead.draft.is_some() { "edited; " } else { "" };
    format!("letter {}: {edited}{}", dead.number, shown(&dead.letter.reason))
}

fn replay_question(id: &JobId, table: &str, numbers: Vec<i64>, words: &str) -> Confirm {
    Confirm {
        title: "Replay dead letters".to_owned(),
        facts: vec![
            ("replays", words.to_owned()),
            ("into", table.to_owned()),
            ("fence", "a key that is in the table is left alone: what is there may be newer".to_owned()),
            ("cost", "one write each".to_owned()),
        ],
        undo: "it can't be undone from here: what is put stays".to_owned(),
        token: Token::Yes,
        typed: Input::default(),
        effect: Effect::Replay(id.clone(), numbers),
    }
}

fn drop_question(id: &JobId, table: &str, dead: &DeadLetter) -> Confirm {
    Confirm {
        title: format!("Give up dead letter {} of {id}", dead.number),
        facts: vec![
            ("now", words_of(dead)),
            ("then", format!("its item will never be in {table}; it counts as skipped")),
        ],
        undo: format!("it can't be undone; the record stays in the journal (sluice dead list {id} --all)"),
        token: Token::Name("drop".to_owned()),
        typed: Input::default(),
        effect: Effect::Drop(id.clone(), dead.number),
    }
}

/// Writes a letter into a file to be edited.
pub(super) fn to_file(journal: &Journal, id: &JobId, number: i64, drafts: &Drafts) -> Result<Draft, String> {
    let job = journal.job(id).map_err(|error| error.to_string())?;
    let dead = open_letter(journal, id, number)?;
    let path = drafts
        .write(&format!("{id}-{number}.json"), &dead::to_edit(&job, &dead))
        .map_err(|error| format!("a file to edit could not be made: {error}"))?;
    Ok(Draft { job: id.clone(), number, path, editor: dead::editor() })
}

fn open_letter(journal: &Journal, id: &JobId, number: i64) -> Result<DeadLetter, String> {
    let found = journal.letter(id, number).map_err(|error| error.to_string())?;
    found.filter(|dead| dead.fate.is_none()).ok_or_else(|| format!("dead letter {number} of {id} is settled already"))
}

/// Keeps what was saved, and says whether it is fit.
pub(super) async fn keep(cloud: &Cloud, journal: &Journal, draft: &Draft) -> Result<String, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let (id, number) = (&draft.job, draft.number);
    let job = journal.job(id).map_err(|error| said(&error))?;
    let mut dead = open_letter(journal, id, number)?;
    let saved = fs::read(&draft.path).map_err(|error| format!("what was saved could not be read: {error}"))?;
    // It holds a record of the backup: once it is kept in the journal it is needed no more.
    drop(fs::remove_file(&draft.path));
    let saved = String::from_utf8_lossy(&saved).into_owned();
    let Some(kept) = dead::edited(&dead::to_edit(&job, &dead), &saved)? else {
        return Ok(format!("dead letter {number} is as it was"));
    };
    journal.set_draft(id, number, Some(&kept)).map_err(|error| said(&error))?;
    dead.draft = Some(kept);
    let mut replay = Replay::new(cloud, &job, false).map_err(|error| said(&error))?;
    let reason = match replay.check(&dead).await.map_err(|error| said(&error))? {
        Ok(Some(_)) => return Ok(format!("dead letter {number} is fit now: replay puts it")),
        Ok(None) => "the job's options leave it out".to_owned(),
        Err(reason) => reason,
    };
    journal.set_tried(id, number, &reason).map_err(|error| said(&error))?;
    Err(format!("dead letter {number} can't be put yet: {}. It is kept: edit goes on with it", shown(&reason)))
}

/// Puts letters, and says what became of them; nothing where a dry run has shown the request.
pub(super) async fn replay(
    cloud: &Cloud,
    journal: &Journal,
    id: &JobId,
    numbers: &[i64],
) -> Result<Option<String>, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let job = journal.job(id).map_err(|error| said(&error))?;
    // Changes are audited as the job's; what is shown of a dry run is the console's own to show.
    let own = match cloud.guard.mode() {
        Mode::Normal => {
            let context = crate::jobs::replicate::writes_in(&job);
            let guard = audit::guard(journal.path(), &context, Some(id), Mode::Normal).map_err(|error| said(&error))?;
            Some(Cloud::connect(&context, guard).await.map_err(|error| said(&error))?)
        }
        Mode::ReadOnly | Mode::DryRun => None,
    };
    let mut replay = Replay::new(own.as_ref().unwrap_or(cloud), &job, false).map_err(|error| said(&error))?;
    let (mut written, mut open, mut why) = (0u64, 0u64, None);
    for number in numbers {
        let Some(dead) = journal.letter(id, *number).map_err(|error| said(&error))? else { continue };
        match replay.put(journal, &dead).await {
            Ok(replayed) if replayed.is_open() => {
                open += 1;
                why.get_or_insert_with(|| format!("letter {number}: {}", replayed.reason()));
            }
            Ok(Replayed::Written | Replayed::AlreadyThere) => written += 1,
            Ok(_) => {}
            Err(ReplayError::Cloud(error)) if error.class == Class::DryRun => return Ok(None),
            Err(error) => {
                why = Some(error.to_string());
                break;
            }
        }
    }
    let words = format!("dead letters replayed: {written} written, {open} still open");
    journal.note(id, "info", &words).map_err(|error| said(&error))?;
    match why {
        Some(why) => Err(format!("{words}; {}", shown(&why))),
        None => Ok(Some(words)),
    }
}

/// Gives a letter up.
pub(super) fn give_up(journal: &Journal, id: &JobId, number: i64) -> Result<String, String> {
    let settled = journal.settle_letter(id, number, Ending::Dropped).map_err(|error| error.to_string())?;
    if !settled {
        return Err(format!("dead letter {number} of {id} is settled already"));
    }
    let words = format!("dead letter {number} was given up");
    journal.note(id, "warn", &words).map_err(|error| error.to_string())?;
    Ok(words)
}
