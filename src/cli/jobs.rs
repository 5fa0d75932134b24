//! `sluice jobs`, and the hidden `sluice worker` that runs one of them as a process of its own.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::print::{self, Columns, Side, time};
use super::report::{Exit, Report};
use super::session::Session;
use super::signal::Stop;
use super::watch::WatchArgs;
use crate::jobs::journal::{Job, now_ms};
use crate::jobs::{self, Binding, JobId, Journal, Remedy};
use crate::report::{self, Format, Saved};

/// All jobs, or one.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// Only this one, with what happened to it.
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
    print::line(&format!(
        "{}  {id} {}  read {}{of}  written {}  dead {}  throttled {}  {}",
        time(now_ms()),
        job.state.as_str(),
        print::grouped(c.read),
        print::grouped(c.written),
        print::grouped(c.dead),
        print::grouped(c.throttled),
        print::shown(limit)
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
        return one(&journal, &journal.job(id)?, session);
    }
    let all = journal.jobs()?;
    if session.global.json {
        return all.iter().try_for_each(|job| print::json(&as_json(job)));
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
        ("TIME", Side::Right),
        ("WHAT", Side::Left),
    ]);
    for job in &all {
        columns.row(&[
            job.id.to_string(),
            job.kind().to_string(),
            job.state.as_str().to_owned(),
            print::grouped(job.counters.read),
            print::grouped(job.counters.written),
            print::grouped(job.counters.dead),
            print::duration(seconds(job)),
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

/// What binds a job that is being worked on, with its numbers.
fn binding(journal: &Journal, job: &Job) -> Result<Option<Binding>, Report> {
    if !job.state.is_live() || job.limit.is_empty() {
        return Ok(None);
    }
    Ok(journal.last_sample(&job.id)?.and_then(|sample| sample.binding))
}

/// The long form of a limit, with the command that changes it.
fn in_words(binding: &Binding, id: &JobId) -> String {
    let words = binding.explain();
    match binding.remedy() {
        Some(Remedy::Raise { table, index, from }) => {
            let of = index.map_or(String::new(), |index| format!(" --index {index}"));
            format!("{words} `sluice capacity {table}{of} --write {}` raises it by half", from + from.div_ceil(2))
        }
        Some(Remedy::Rate) => format!("{words} `sluice rate {id} N` changes it"),
        Some(Remedy::Resume) => format!("{words}; `sluice resume {id}` lets it go on"),
        None => words,
    }
}

fn one(journal: &Journal, job: &Job, session: &Session) -> Result<(), Report> {
    if session.global.json {
        let mut row = as_json(job);
        if let Some(binding) = binding(journal, job)? {
            row["limit_explained"] = json!(in_words(&binding, &job.id));
            row["limit_measured"] = json!(binding);
        }
        return print::json(&row);
    }
    print::line(&format!("{} {}  {}  {}", job.kind(), job.id, job.state.as_str(), print::shown(&job.spec.title())))?;
    let counters = job.counters;
    let of = job.total.map_or_else(String::new, |total| format!(" of {}", print::grouped(total)));
    print::line(&format!(
        "read {}{of}, on stream {}, written {}, skipped {}, dead {}, resent {}, throttled {}",
        print::grouped(counters.read),
        print::grouped(counters.on_stream),
        print::grouped(counters.written),
        print::grouped(counters.skipped),
        print::grouped(counters.dead),
        print::grouped(counters.retried),
        print::grouped(counters.throttled)
    ))?;
    print::line(&format!("{} of work in {} runs, {:.1} WCU", print::duration(seconds(job)), job.runs, counters.wcu))?;
    for (name, words) in [("limit", &job.limit), ("why", &job.message)] {
        if !words.is_empty() {
            print::line(&format!("{name}: {}", print::shown(words)))?;
        }
    }
    if let Some(binding) = binding(journal, job)? {
        print::line(&format!("       {}", print::shown(&in_words(&binding, &job.id))))?;
    }
    if job.state.can_resume() {
        print::line(&format!("go on with: {}", job.kind().again(&job.id)))?;
    }
    for note in journal.notes(&job.id, 0)? {
        print::line(&format!("{}  {}", time(note.at_ms), print::shown(&note.words)))?;
    }
    Ok(())
}

/// Time that workers spent on a job, s.
fn seconds(job: &Job) -> f64 {
    let running = match (job.state.is_live(), job.started_ms) {
        (true, Some(started)) => now_ms() - started,
        _ => 0,
    };
    (job.active_ms + running) as f64 / 1000.0
}

/// The last line of CLI.md for as far as the job has come, and where it stands.
fn as_json(job: &Job) -> Value {
    let mut row = json!({ "job": job.id, "kind": job.kind(), "state": job.state });
    let counters = serde_json::to_value(job.counters).unwrap_or_default();
    let rest = json!({
        "seconds": seconds(job), "total": job.total, "limit": job.limit, "message": job.message,
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
