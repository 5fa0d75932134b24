//! Autoscale: rules that follow the load of tables with their capacity.
//!
//! ```text
//!  every minute:  tables ─┬─ what they have ─┐
//!                         └─ CloudWatch ─────┴─▶ rules ─▶ windows, debts, decreases, webhook ─▶ UpdateTable
//!                                                                          └─▶ decisions in the journal ─▶ notify
//! ```

mod look;
mod outside;

use std::time::Duration;

use serde::Serialize;

use self::look::Scaler;
use super::journal::{Commit, Control, Journal, JournalError, State, WorkerLock, now_ms, to_json};
use super::spec::{AutoscaleSpec, JobId, Kind};
use super::worker::{End, Halt, JobError, Session};
use crate::capacity::config;
use crate::cloud::Context;

/// What an autoscaler has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Done {
    /// Looks taken.
    looks: u64,
    /// Tables that a rule matched at the last look.
    tables: u64,
    /// Capacities raised.
    raised: u64,
    /// Capacities lowered.
    lowered: u64,
    /// Changes that something forbade.
    refused: u64,
    /// Changes that AWS did not take, and looks that failed.
    failed: u64,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    job: &'a JobId,
    kind: Kind,
    state: State,
    #[serde(flatten)]
    done: Done,
    seconds: f64,
}

pub(super) async fn run(session: &Session<'_>, spec: &AutoscaleSpec) -> Result<End, JobError> {
    let config = config::parse(&spec.rules).map_err(|error| {
        JobError::Unfit(format!("{}: {error}", if spec.config.is_empty() { "rules" } else { &spec.config }))
    })?;
    let _only_one = only_one(session)?;
    let began_ms = now_ms();
    let names: Vec<&str> = config.tables.iter().map(|rule| rule.name.as_str()).collect();
    let every = humantime::format_duration(config.every);
    let dry = if config.dry_run { "; dry run: nothing is changed" } else { "" };
    session.note("info", &format!("follows tables that match {} every {every}{dry}", names.join(", ")));
    let mut scaler = Scaler::new(session, &config);
    let mut lost = None;
    let halt = loop {
        let control = session.journal().controls(&session.job.id)?.0;
        let paused = control == Control::Pause;
        session.journal().set_state(&session.job.id, if paused { State::Paused } else { State::Running })?;
        if !paused {
            // Not broken off: between a change and its line in the log nothing may come.
            match scaler.look(now_ms()).await {
                Ok(()) => {
                    if lost.take().is_some() {
                        session.note("info", "looks again");
                    }
                }
                Err(error) if spec.once => return Err(error),
                // Told once: the next looks try again, and nothing is changed on a guess.
                Err(error) => {
                    scaler.done.failed += 1;
                    let words = error.to_string();
                    if lost.as_ref() != Some(&words) {
                        session.note("warn", &format!("could not look, and changed nothing: {words}"));
                    }
                    lost = Some(words);
                }
            }
            say(session, &scaler.done)?;
        }
        if spec.once {
            break None;
        }
        let pause = if paused { Duration::from_secs(1) } else { config.every };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            halt = session.halted() => break Some(halt),
        }
    };
    let state = halt.map_or(State::Done, State::from);
    let seconds = (now_ms() - began_ms) as f64 / 1000.0;
    let report = to_json(&Line { job: &session.job.id, kind: Kind::Autoscale, state, done: scaler.done, seconds });
    let message = match halt {
        Some(Halt::Interrupted) => "it follows nothing until it is started again".to_owned(),
        _ => String::new(),
    };
    Ok(End { state, message, report, dead: false, left_out: false, differs: false })
}

/// What the lists of jobs show of it.
fn say(session: &Session<'_>, done: &Done) -> Result<(), JournalError> {
    let words = format!(
        "{} tables; raised {}, lowered {}, refused {}, failed {}",
        done.tables, done.raised, done.lowered, done.refused, done.failed
    );
    session.journal().commit(&session.job.id, &Commit { limit: &words, ..Commit::default() })
}

/// Two autoscalers on the same tables would undo each other's work.
fn only_one(session: &Session<'_>) -> Result<WorkerLock, JobError> {
    let here = session.cloud.place();
    let name = JobId(format!("autoscale-{:016x}", xxhash_rust::xxh3::xxh3_64(to_json(&here).as_bytes())));
    let lock = session.journal().lock(&name);
    match lock {
        Err(JournalError::Running(_)) => {
            let running = running(&session.journal(), &session.cloud.context, Some(&session.job.id))?;
            Err(JobError::Unfit(already(running.as_ref())))
        }
        lock => Ok(lock?),
    }
}

/// The live autoscaler of `context` that is not `but`.
pub fn running(journal: &Journal, context: &Context, but: Option<&JobId>) -> Result<Option<JobId>, JournalError> {
    let mut jobs = journal.jobs()?.into_iter();
    let job = jobs.find(|job| {
        job.kind() == Kind::Autoscale
            && job.state.is_live()
            && job.state != State::Starting
            && Some(&job.id) != but
            && job.context.is_same_place(context)
    });
    Ok(job.map(|job| job.id))
}

/// That one autoscaler is enough.
pub fn already(running: Option<&JobId>) -> String {
    let id = running.map_or_else(|| "another job".to_owned(), ToString::to_string);
    format!(
        "an autoscaler of this account and region runs already: {id}; end it first (sluice cancel {id}), or read what it does: sluice autoscale --log"
    )
}
