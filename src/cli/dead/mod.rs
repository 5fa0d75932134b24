//! `sluice dead`: the records of a job that can never succeed, as the journal keeps them, and what becomes of them.

mod act;
mod edit;
mod read;

use clap::{Args, Subcommand};
use serde_json::json;

use self::act::{drop_them, replay};
use self::edit::edit;
use self::read::{list, show};
use super::print;
use super::report::{Exit, Report};
use super::restore::absolute;
use super::session::Session;
use super::watch::WatchArgs;
use crate::backup::Location;
use crate::cloud::{Cloud, Mode};
use crate::jobs::journal::{DeadLetter, Job};
use crate::jobs::{JobId, Journal, audit, letters};

/// What to do with dead letters.
#[derive(Debug, Args)]
pub struct DeadArgs {
    /// What to do.
    #[command(subcommand)]
    pub act: DeadAct,
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadAct {
    /// List a job's dead letters: where each came from, and why it died.
    List {
        /// The job, as `sluice jobs` names it.
        #[arg(add = super::complete::jobs())]
        job: String,
        /// Those that were replayed or dropped too.
        #[arg(long)]
        all: bool,
        /// Only those whose reason contains this text.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Repeat.
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Show one dead letter whole.
    Show {
        /// The job, as `sluice jobs` names it.
        #[arg(add = super::complete::jobs())]
        job: String,
        /// Its number, as `sluice dead list` shows it.
        number: i64,
    },
    /// Edit the item of a dead letter in $VISUAL or $EDITOR; it is checked when it is saved.
    Edit {
        /// The job, as `sluice jobs` names it.
        #[arg(add = super::complete::jobs())]
        job: String,
        /// Its number, as `sluice dead list` shows it.
        number: i64,
    },
    /// Put dead letters into their table, each only where its key is not there.
    Replay {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Put it also where the key is there, whatever is in its place.
        #[arg(long)]
        overwrite: bool,
    },
    /// Bring the dead letters of Lambda functions into the journal, to be shown, edited and replayed as any others.
    Import {
        /// Where the functions left them: <s3://bucket/prefix>, a folder or a file.
        from: String,
    },
    /// Give dead letters up: they count as skipped, and stay in the journal.
    Drop {
        /// Which.
        #[command(flatten)]
        which: Which,
    },
}

/// Some dead letters of a job.
#[derive(Debug, Args)]
pub struct Which {
    /// The job, as `sluice jobs` names it.
    #[arg(add = super::complete::jobs())]
    pub job: String,
    /// Their numbers, as `sluice dead list` shows them.
    #[arg(value_name = "NUMBER", required_unless_present_any = ["all", "reason"])]
    pub numbers: Vec<i64>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["numbers", "reason"])]
    pub all: bool,
    /// Those whose reason contains this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "numbers")]
    pub reason: Option<String>,
}

impl Which {
    /// As it was typed, after the job.
    fn said(&self) -> String {
        match &self.reason {
            _ if self.all => "--all".to_owned(),
            Some(reason) => format!("--reason '{}'", reason.replace('\'', r"'\''")),
            None => self.numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Lists, shows, edits, replays or drops.
pub async fn run(args: DeadArgs, session: &Session) -> Result<Exit, Report> {
    if let DeadAct::Import { from } = &args.act {
        return import(from, session).await;
    }
    let Some(journal) = session.journal_if_any()? else {
        let (DeadAct::List { job, .. } | DeadAct::Show { job, .. } | DeadAct::Edit { job, .. }) = args.act else {
            return Err(Report::failed("there are no jobs yet", "`sluice restore` starts one"));
        };
        return Err(crate::jobs::JournalError::NoSuchJob(JobId(job)).into());
    };
    match args.act {
        DeadAct::List { job, all, reason, watch } => {
            let job = JobId(job);
            let round = || std::future::ready(list(&journal, &job, all, reason.as_deref(), session).map(drop));
            watch.repeat(session.global.json, round).await
        }
        DeadAct::Show { job, number } => show(&journal, &JobId(job), number, session).await,
        DeadAct::Edit { job, number } => edit(&journal, &JobId(job), number, session).await,
        DeadAct::Replay { which, overwrite } => replay(&journal, &which, overwrite, session).await,
        DeadAct::Drop { which } => drop_them(&journal, &which, session),
        DeadAct::Import { from } => import(&from, session).await,
    }
}

async fn import(from: &str, session: &Session) -> Result<Exit, Report> {
    let location: Location = absolute(from)?.parse()?;
    may_change(session, &format!("bring the dead letters of {location} into the journal"))?;
    let cloud = session.reading().await?;
    let brought = letters::bring(&mut session.journal()?, &cloud, &location).await?;
    for of_stream in &brought {
        let letters::Brought { job, stream, new, known } = of_stream;
        if session.global.json {
            print::json(&json!({ "job": job, "kind": "letters", "stream": stream, "new": new, "known": known }))?;
        } else {
            let known =
                if *known > 0 { format!(" ({} were here before)", print::grouped(*known)) } else { String::new() };
            print::line(&format!(
                "{job}: {} new dead letters of {}{known}; sluice dead list {job}",
                print::grouped(*new),
                print::shown(stream)
            ))?;
        }
    }
    Ok(Exit::Done)
}

fn found(journal: &Journal, job: &JobId, number: i64) -> Result<(Job, DeadLetter), Report> {
    let known = journal.job(job)?;
    match journal.letter(job, number)? {
        Some(dead) => Ok((known, dead)),
        None => Err(Report::failed(
            format!("job {job} has no dead letter {number}"),
            format!("`sluice dead list {job} --all` lists them"),
        )),
    }
}

/// Refuses to change the journal where nothing may be changed.
fn may_change(session: &Session, what: &str) -> Result<(), Report> {
    match session.mode() {
        Mode::Normal => Ok(()),
        Mode::ReadOnly => Err(Report::failed(format!("read-only: refused to {what}"), "leave out --read-only")),
        Mode::DryRun => {
            Err(Report { sentence: format!("dry run: this would {what}"), hint: String::new(), exit: Exit::Done })
        }
    }
}

/// Clients that act where the job acts, and audit what they change as the job's.
async fn acting(job: &Job, session: &Session) -> Result<Cloud, Report> {
    let context = crate::jobs::replicate::writes_in(job);
    let guard = audit::guard(&session.journal_path(), &context, Some(&job.id), session.mode())?;
    Ok(Cloud::connect(&context, guard).await?)
}
