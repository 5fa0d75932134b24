//! The life of a worker: takes a job's lock, runs it, obeys controls, and says how it ended.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::bump::BumpError;
use super::journal::{Control, Job, Journal, JournalError, State};
use super::progress::{Ended, Line, Listener, Said};
use super::spec::{JobId, RestoreSpec, Spec};
use super::{audit, autoscale, backup, bump, load, playback, policy, pump, replicate, restore, verify, work};
use crate::backup::BackupError;
use crate::cloud::{Class, Cloud, CloudError, Mode};

/// Why a job could not be run, or failed while it ran.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// AWS.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The source.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The disk, while comparing.
    #[error("{0}: free some space or pass another --state-dir")]
    Io(#[from] std::io::Error),
    /// Something is not as the job needs it.
    #[error("{0}")]
    Unfit(String),
}

/// How often a worker looks at its controls.
pub(super) const CONTROLS: Duration = Duration::from_millis(250);

/// What a job kind has at hand while it runs.
pub(super) struct Session<'a> {
    journal: Mutex<Journal>,
    /// The job as it was begun.
    pub job: Job,
    /// Clients, guarded.
    pub cloud: Cloud,
    /// Where progress goes.
    pub listener: &'a Listener,
    /// Ctrl-C and SIGTERM.
    pub stop: CancellationToken,
}

/// Why a job stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// The operator cancelled it.
    Cancelled,
    /// Its process was told to end.
    Interrupted,
}

impl From<Halt> for State {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Cancelled => Self::Cancelled,
            Halt::Interrupted => Self::Interrupted,
        }
    }
}

/// How a job kind ended.
pub(super) struct End {
    /// Done, cancelled, interrupted, or failed.
    pub state: State,
    /// What a person should know.
    pub message: String,
    /// The last line of `--json`.
    pub report: String,
    /// Dead letters remain.
    pub dead: bool,
    /// Files of the source were left out, whole or in part: a script must see it, as with dead letters.
    pub left_out: bool,
    /// A verify found differences.
    pub differs: bool,
}

impl End {
    /// The end of a job that was stopped before it began.
    fn halted(session: &Session<'_>, halt: Halt) -> Self {
        let message = match halt {
            Halt::Cancelled => String::new(),
            Halt::Interrupted => format!("go on with `sluice restore --resume {}`", session.job.id),
        };
        Self { state: halt.into(), message, report: String::new(), dead: false, left_out: false, differs: false }
    }
}

impl Session<'_> {
    /// The journal, for a moment.
    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a note; the job goes on if the journal can't take it.
    pub fn note(&self, level: &str, words: &str) {
        tracing::info!(job = %self.job.id, level, words);
        if let Err(error) = self.journal().note(&self.job.id, level, words) {
            tracing::error!(%error, "a note could not be written");
        }
    }

    /// Says how it stands to whoever ran it.
    pub fn say(&self, line: Line) {
        self.listener.send_replace(Some(Said::Progress(Box::new(line))));
    }

    /// Writes down that the job does as it was told: `held` or not, at most `rate` of `unit`. `change` is false for what
    /// held at the start.
    pub fn obeyed(&self, held: bool, rate: Option<f64>, change: bool, unit: &str) {
        let state = if held { State::Paused } else { State::Running };
        if let Err(error) = self.journal().set_state(&self.job.id, state) {
            tracing::error!(%error, "the job's state could not be written");
        }
        if change {
            let rate = rate.map_or(String::from("no rate cap"), |r| format!("at most {r:.0} {unit}"));
            self.note("info", &format!("told to {}, {rate}", if held { "pause" } else { "run" }));
        }
    }

    /// Resolves when the job must stop.
    pub async fn halted(&self) -> Halt {
        let mut look = tokio::time::interval(CONTROLS);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Halt::Interrupted,
                _ = look.tick() => {
                    if let Ok((Control::Cancel, _)) = self.journal().controls(&self.job.id) {
                        return Halt::Cancelled;
                    }
                }
            }
        }
    }
}

/// Where a verify lists the keys that differ, one JSON object a line.
pub fn differences_path(journal: &Path, id: &JobId) -> PathBuf {
    journal.with_file_name(format!("{id}.differences.jsonl"))
}

/// Runs job `id` of the journal at `path` in this process until it ends or `stop` is cancelled, then checkpoints.
///
/// `mode` is the guard's; a dry run prints each request on stdout and sends none.
///
/// # Errors
/// When it could not begin. A job that began and failed is an [`Ended`] in state [`State::Failed`].
pub async fn run(
    path: &Path,
    id: &JobId,
    mode: Mode,
    listener: &Listener,
    stop: CancellationToken,
) -> Result<Ended, JobError> {
    let journal = Journal::open(path)?;
    let _lock = journal.lock(id)?;
    let job = journal.job(id)?;
    journal.begin(id, std::process::id())?;
    let begun = async {
        let guard = audit::guard(path, &job.context, Some(id), mode)?;
        Ok::<_, JobError>(Cloud::connect(&job.context, guard).await?)
    };
    let cloud = match begun.await {
        Ok(cloud) => cloud,
        Err(error) => {
            journal.end(id, State::Failed, &error.to_string(), "")?;
            return Err(error);
        }
    };
    let session = Session { journal: Mutex::new(journal), job, cloud, listener, stop };
    let begun = match permitted(&session).await {
        Ok(()) => raise(&session).await,
        Err(error) => Err(error),
    };
    let ended = match (begun, &session.job.spec) {
        (Err(error), _) => Err(error),
        (Ok(Some(halt)), _) => Ok(End::halted(&session, halt)),
        (Ok(None), Spec::Restore(spec)) => restore::run(&session, spec).await,
        (Ok(None), Spec::Verify(spec)) => verify::run(&session, spec, path).await,
        (Ok(None), Spec::Backup(spec)) => backup::run(&session, spec).await,
        (Ok(None), Spec::Autoscale(spec)) => autoscale::run(&session, spec).await,
        (Ok(None), Spec::Work(spec)) => work::run(&session, spec).await,
        (Ok(None), Spec::Load(spec)) => load::run(&session, spec).await,
        (Ok(None), Spec::Pump(spec)) => pump::run(&session, spec).await,
        (Ok(None), Spec::Playback(spec)) => playback::run(&session, spec).await,
        (Ok(None), Spec::Replicate(spec)) => replicate::run(&session, spec).await,
        (Ok(None), Spec::Letters(_)) => Err(JobError::Unfit(
            "dead letters that were brought in are not run: sluice dead replay puts them".to_owned(),
        )),
    };
    let end = ended.unwrap_or_else(|error| End {
        state: State::Failed,
        message: match &error {
            JobError::Cloud(denied) if denied.class == Class::Auth => {
                format!("{error} (`sluice iam job {id}` prints what it needs)")
            }
            _ => error.to_string(),
        },
        report: String::new(),
        dead: false,
        left_out: false,
        differs: false,
    });
    // An interrupted job is taken up again: it keeps what it raised, and every sluice says so until then.
    if end.state != State::Interrupted {
        give_back(&session).await;
    }
    let report = if end.report.is_empty() { restore::last_line(&session, end.state) } else { end.report };
    let level = if end.state == State::Failed { "error" } else { "info" };
    session.note(
        level,
        &format!(
            "{} {}{}{}",
            session.job.id,
            end.state.as_str(),
            if end.message.is_empty() { "" } else { ": " },
            end.message
        ),
    );
    session.journal().end(id, end.state, &end.message, &report)?;
    // A letter that was replayed or dropped since the job met it is none any more.
    let dead = end.left_out || (end.dead && session.journal().job(id)?.counters.dead > 0);
    Ok(Ended { job: id.clone(), state: end.state, message: end.message, report, dead, differs: end.differs })
}

/// Set, a job begins without asking IAM first: where a policy of the table, stream or bucket itself allows what the
/// caller's own do not, the simulation can't know.
const UNCHECKED: &str = "SLUICE_UNCHECKED";

/// Asks IAM whether the credentials may do what the job needs, before it does anything.
async fn permitted(session: &Session<'_>) -> Result<(), JobError> {
    if session.cloud.guard.mode() != Mode::Normal || std::env::var_os(UNCHECKED).is_some_and(|set| !set.is_empty()) {
        return Ok(());
    }
    let needed = policy::Policy::of(&session.job.spec, policy::Extras::default());
    match policy::check(&session.cloud, &needed).await {
        policy::Checked::Granted => Ok(()),
        policy::Checked::Unknown(why) => {
            session.note("info", &format!("could not check beforehand what the credentials may do: {why}"));
            Ok(())
        }
        policy::Checked::Missing(missing) => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let id = &session.job.id;
            Err(JobError::Unfit(format!(
                "the credentials may not do all that {id} needs, so nothing was begun; missing: {}. `sluice iam job {id}` \
                 prints the policy that grants it ({UNCHECKED}=1 begins all the same, for where a table's, stream's or \
                 bucket's own policy allows it)",
                missing.join("; ")
            )))
        }
    }
}

/// Raises what the job was promised; returns what stopped it before.
async fn raise(session: &Session<'_>) -> Result<Option<Halt>, JobError> {
    let Spec::Restore(RestoreSpec { table, raise: Some(raise), .. }) = &session.job.spec else { return Ok(None) };
    // Its own connection: the session's must not be held across a request.
    let journal = Journal::open(session.journal().path())?;
    let raised = tokio::select! {
        raised = bump::raise(&session.cloud, &journal, &session.job.id, table, raise) => raised,
        halt = session.halted() => return Ok(Some(halt)),
    };
    match raised {
        Ok(words) => session.note("info", &words),
        // A dry run has printed the request; what it then counts is at the capacity of today.
        Err(BumpError::Cloud(error)) if error.class == Class::DryRun => {}
        Err(BumpError::Cloud(error)) => {
            return Err(JobError::Unfit(format!(
                "{error}. Nothing was written; without --bump it runs at what {table} has"
            )));
        }
        Err(BumpError::Journal(error)) => return Err(error.into()),
    }
    Ok(None)
}

/// Gives back the capacity that was raised for this job.
async fn give_back(session: &Session<'_>) {
    let path = session.journal().path().to_owned();
    let done = async {
        let journal = Journal::open(&path)?;
        let owed = bump::owed(&journal, &session.job.id)?;
        bump::give_back(&session.cloud, &journal, &owed, bump::PATIENCE).await
    };
    match done.await {
        Ok(settled) => {
            for one in settled {
                let level = if one.is_owed() { "warn" } else { "info" };
                session.note(level, &one.words);
            }
        }
        Err(error) => session.note(
            "warn",
            &format!("what was raised could not be given back: {error}; `sluice capacity --give-back` does it"),
        ),
    }
}
