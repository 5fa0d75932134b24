//! `sluice jobs`, and the hidden `sluice worker` that runs one of them as a process of its own.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::print::{self, Columns, Side, time};
use super::progress::pace;
use super::report::{Exit, Report};
use super::session::Session;
use super::signal::Stop;
use super::watch::WatchArgs;
use crate::jobs::journal::{Job, now_ms};
use crate::jobs::{self, JobId, Standing};
use crate::report::{self, Format, Saved};

mod one;

/// All jobs, or one.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// Only this one: how fast it goes, what limits it, its shards or how its replica follows, and what happened to it.
    #[arg(add = super::complete::jobs())]
    pub id: Option<String>,
    /// Repeat.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Write a report of it: what it did, what held it up, its charts and its proof. FILE.html or FILE.md,
    /// which is replaced if it is there; - prints it.
    #[arg(long, value_name = "FILE", requires = "id", conflicts_with = "watch")]
    pub report: Option<PathBuf>,
    /// What the report is written as [else what FILE ends in; html for -]
    #[arg(long, value_name = "html|md", requires = "report", value_parser = format)]
    pub format: Option<Format>,
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "html" => Ok(Format::Html),
        "md" | "markdown" => Ok(Format::Markdown),
        _ => Err("a report is html or md".to_owned()),
    }
}

/// Which job to run.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The job.
    #[arg(long)]
    pub job: String,
}

/// Prints jobs from the journal.
pub async fn run(args: JobsArgs, session: &Session) -> Result<Exit, Report> {
    let id = args.id.map(JobId);
    if let (Some(id), Some(to)) = (&id, &args.report) {
        return write_report(id, to, args.format, session);
    }
    let piped = args.watch.is_piped();
    let Some(id) = id else {
        return args.watch.repeat(session.global.json, || std::future::ready(show(None, session))).await;
    };
    // A job that has ended will not change any more.
    let round = || {
        let live = if piped && !session.global.json { round(&id, session) } else { show_one(&id, session) };
        std::future::ready(live)
    };
    args.watch.repeat_while(session.global.json, round).await
}

/// Runs a job of the journal, detached from the terminal that started it.
pub async fn work(args: WorkerArgs, session: &Session) -> Result<Exit, Report> {
    jobs::leave_terminal();
    let token = CancellationToken::new();
    let mut stop = Stop::listen()?;
    tokio::spawn({
        let token = token.clone();
        async move {
            stop.wait().await;
            token.cancel();
        }
    });
    let (listener, _unheard) = watch::channel(None);
    let ended = jobs::run(&session.journal_path(), &JobId(args.job), session.mode(), &listener, token).await?;
    println!("{}", ended.report);
    if !ended.message.is_empty() {
        eprintln!("{}", ended.message);
    }
    Ok(Exit::from_code(ended.exit_code()))
}

/// Shows a job; true while there will be more to see of it.
fn show_one(id: &JobId, session: &Session) -> Result<bool, Report> {
    show(Some(id), session)?;
    Ok(session.journal()?.job(id)?.state.is_live())
}

/// A job in one line, for a log; true while there will be more to see of it.
fn round(id: &JobId, session: &Session) -> Result<bool, Report> {
    let Some(journal) = session.journal_if_any()? else {
        return Err(jobs::JournalError::NoSuchJob(id.clone()).into());
    };
    let job = journal.job(id)?;
    let c = job.counters;
    let of = job.total.map_or_else(String::new, |total| format!(" of {}", print::grouped(total)));
    let limit = if job.limit.is_empty() { &job.message } else { &job.limit };
    let mut last = pace(&Standing::of(&journal, &job, now_ms())?.line);
    last.push(print::shown(limit));
    print::line(&format!(
        "{}  {id} {}  read {}{of}  written {}  dead {}  throttled {}  {}",
        time(now_ms()),
        job.state.as_str(),
        print::grouped(c.read),
        print::grouped(c.written),
        print::grouped(c.dead),
        print::grouped(c.throttled),
        last.join("  ")
    ))?;
    Ok(job.state.is_live())
}

fn show(id: Option<&JobId>, session: &Session) -> Result<(), Report> {
    let journal = match (session.journal_if_any()?, id) {
        (Some(journal), _) => journal,
        (None, Some(id)) => return Err(jobs::JournalError::NoSuchJob(id.clone()).into()),
        (None, None) if session.global.json => return Ok(()),
        (None, None) => return print::line("no jobs yet: sluice restore starts one"),
    };
    if let Some(id) = id {
        return one::show(&journal, &journal.job(id)?, session);
    }
    let now = now_ms();
    let all = journal.jobs()?;
    let all: Vec<(Job, Standing)> = all
        .into_iter()
        .map(|job| Standing::of(&journal, &job, now).map(|standing| (job, standing)))
        .collect::<Result<_, _>>()?;
    if session.global.json {
        return all.iter().try_for_each(|(job, standing)| print::json(&as_json(job, standing)));
    }
    if all.is_empty() {
        return print::line("no jobs yet: sluice restore starts one");
    }
    let mut columns = Columns::new(&[
        ("JOB", Side::Left),
        ("KIND", Side::Left),
        ("STATE", Side::Left),
        ("READ", Side::Right),
        ("WRITTEN", Side::Right),
        ("DEAD", Side::Right),
        ("RECORDS/S", Side::Right),
        ("LEFT", Side::Right),
        ("TIME", Side::Right),
        ("WHAT", Side::Left),
    ]);
    let dash = || "-".to_owned();
    for (job, Standing { line, .. }) in &all {
        columns.row(&[
            job.id.to_string(),
            job.kind().to_string(),
            job.state.as_str().to_owned(),
            print::grouped(job.counters.read),
            print::grouped(job.counters.written),
            print::grouped(job.counters.dead),
            line.per_second.map_or_else(dash, |rate| print::grouped(rate.round() as u64)),
            line.eta_seconds.map_or_else(dash, print::duration),
            print::duration(line.seconds),
            job.spec.title(),
        ]);
    }
    print::columns(&columns)
}

/// Writes the report of a job.
fn write_report(id: &JobId, to: &Path, format: Option<Format>, session: &Session) -> Result<Exit, Report> {
    let Some(journal) = session.journal_if_any()? else {
        return Err(jobs::JournalError::NoSuchJob(id.clone()).into());
    };
    let prints = to == Path::new("-");
    let format = match format.or_else(|| Format::of_path(to)) {
        Some(format) => format,
        None if prints => Format::Html,
        None => {
            return Err(Report::bad_arguments(
                format!("{} says not what to write", to.display()),
                "name it FILE.html or FILE.md, or pass --format",
            ));
        }
    };
    // Pictures of what is printed go nowhere: they are named after the job.
    let stem = to.file_stem().filter(|_| !prints).map_or_else(|| id.to_string(), |s| s.to_string_lossy().into_owned());
    let report = report::of_job(&journal, id, format, &stem, now_ms())?;
    if prints {
        if !report.pictures.is_empty() {
            eprintln!(
                "{} pictures are linked and not printed: --report FILE.md writes them too",
                report.pictures.len()
            );
        }
        print::line(report.text.trim_end())?;
        return Ok(Exit::Done);
    }
    // A file that is named is written anew, with its pictures. Pictures without it are somebody else's, or another report's.
    let replaces = if to.symlink_metadata().is_ok() { report.files(to) } else { Vec::new() };
    let saved = report.save(to, &replaces).map_err(|error| {
        Report::failed(format!("{} could not be written: {error}", to.display()), "choose another folder")
    })?;
    let names = |files: &[PathBuf]| files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let written = match saved {
        Saved::Written(files) => names(&files),
        Saved::Exists(files) => {
            let words = format!("{} would be replaced: nothing was written", names(&files).join(", "));
            return Err(Report::failed(words, "choose another name, or move what is there"));
        }
    };
    if session.global.json {
        print::json(&json!({ "job": id, "written": written }))?;
    } else {
        print::line(&format!("written: {}", print::shown(&written.join(", "))))?;
    }
    Ok(Exit::Done)
}

/// The last line of CLI.md for as far as the job has come, and where it stands.
fn as_json(job: &Job, standing: &Standing) -> Value {
    let mut row = json!({ "job": job.id, "kind": job.kind(), "state": job.state });
    let counters = serde_json::to_value(job.counters).unwrap_or_default();
    let rest = json!({
        "seconds": standing.line.seconds, "total": job.total, "limit": job.limit, "message": job.message,
        "per_second": standing.line.per_second, "eta_seconds": standing.line.eta_seconds,
        "lag_ms": standing.shards.iter().filter_map(|shard| shard.lag_ms).max(),
        "table": job.spec.table(), "sources": job.spec.sources(), "context": job.context,
        "created": time(job.created_ms), "started": job.started_ms.map(time), "ended": job.ended_ms.map(time),
        "runs": job.runs, "pid": job.pid, "rate": job.rate, "parent": job.parent,
        "can_resume": job.state.can_resume(),
    });
    for part in [counters, rest] {
        if let (Value::Object(row), Value::Object(part)) = (&mut row, part) {
            row.extend(part);
        }
    }
    // A verify's findings are in its own last line.
    if let (Value::Object(row), Some(Ok(Value::Object(report)))) =
        (&mut row, job.report.as_deref().map(serde_json::from_str))
    {
        for (name, value) in report {
            row.entry(name).or_insert(value);
        }
    }
    row
}
