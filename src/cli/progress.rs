//! A job in the foreground: what it says while it runs, Ctrl-C, and the words at its end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::print;
use super::report::{Exit, Report};
use super::session::Session;
use super::signal::Stop;
use crate::jobs::journal::State;
use crate::jobs::{self, Ended, JobError, JobId, Kind, Line, Said};

/// How often a job speaks when nobody watches a bar.
const UNWATCHED: Duration = Duration::from_secs(10);

impl From<JobError> for Report {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Cloud(error) => error.into(),
            JobError::Journal(error) => error.into(),
            // Their sentences end in what to do.
            error @ (JobError::Backup(_) | JobError::Io(_) | JobError::Unfit(_)) => Self::failed(error.to_string(), ""),
        }
    }
}

/// Runs job `id` here until it ends or a signal stops it, showing its progress, and says how it ended.
pub async fn run(session: &Session, id: &JobId, kind: Kind) -> Result<(Exit, Ended), Report> {
    let ended = to_its_end(session, id).await?;
    Ok((say(session, &ended, kind)?, ended))
}

/// Runs a job and shows how it goes, but does not say how it ended.
pub async fn to_its_end(session: &Session, id: &JobId) -> Result<Ended, Report> {
    to_its_end_shown(session, id, true).await
}

/// Runs a job, and shows how it goes unless its own output has the terminal.
pub async fn to_its_end_shown(session: &Session, id: &JobId, shown: bool) -> Result<Ended, Report> {
    let token = CancellationToken::new();
    let mut stop = Stop::listen()?;
    let signals = tokio::spawn({
        let token = token.clone();
        async move {
            stop.wait().await;
            token.cancel();
            // The second time it is meant: leave now. The journal is as the last checkpoint left it.
            stop.wait().await;
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
    });
    let (listener, heard) = watch::channel(None);
    let json = session.global.json;
    let shown = tokio::spawn(async move {
        if shown {
            show(heard, json).await;
        }
    });
    let ended = jobs::run(&session.journal_path(), id, session.mode(), &listener, token).await;
    drop(listener);
    let _ = shown.await;
    signals.abort();
    Ok(ended?)
}

/// Says how a job ended: with `--json` it is the last line.
pub fn say(session: &Session, ended: &Ended, kind: Kind) -> Result<Exit, Report> {
    say_end(ended, kind, &jobs::differences_path(&session.journal_path(), &ended.job), session.global.json)
}

/// Shows what the job says until it says no more.
async fn show(mut heard: watch::Receiver<Option<Said>>, json: bool) {
    if json {
        each(&mut heard, Duration::from_secs(1), |said| {
            if let Said::Progress(line) = said {
                // A reader that went away must not end a restore.
                let _ = print::json(line);
            }
        })
        .await;
    } else if std::io::stderr().is_terminal() {
        let bar = ProgressBar::no_length().with_style(style(false));
        while heard.changed().await.is_ok() {
            let said = heard.borrow_and_update().clone();
            if let Some(said) = said {
                draw(&bar, &said);
            }
        }
        bar.finish_and_clear();
    } else {
        each(&mut heard, UNWATCHED, |said| eprintln!("{}", in_words(said))).await;
    }
}

/// Hands the newest word to `say`, at most once in `every`.
async fn each(heard: &mut watch::Receiver<Option<Said>>, every: Duration, mut say: impl FnMut(&Said)) {
    while heard.changed().await.is_ok() {
        let said = heard.borrow_and_update().clone();
        if let Some(said) = said {
            say(&said);
        }
        // Sleeping through what comes in between; a job that ends meanwhile ends the sleep.
        let mut more = false;
        let closed = async {
            while heard.changed().await.is_ok() {
                more = true;
            }
        };
        if tokio::time::timeout(every, closed).await.is_ok() {
            return;
        }
        if more {
            heard.mark_changed();
        }
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known { "{bar:32} {percent:>3} %  {msg}" } else { "{spinner} {msg}" };
    ProgressStyle::with_template(template)
        .expect("the templates are constants that a test parses")
        .progress_chars("█▌─")
}

fn draw(bar: &ProgressBar, said: &Said) {
    let (done, total) = how_far(said);
    if let Some(total) = total
        && bar.length() != Some(total)
    {
        bar.set_length(total);
        bar.set_style(style(true));
    }
    bar.set_position(done);
    bar.set_message(in_words(said));
    bar.tick();
}

fn how_far(said: &Said) -> (u64, Option<u64>) {
    match said {
        Said::Progress(line) => (line.settled, line.total),
        Said::Reading { read, total } => (*read, *total),
    }
}

/// One line: how far, how fast, how long yet, and what binds.
fn in_words(said: &Said) -> String {
    let (done, total) = how_far(said);
    let mut words = vec![match total {
        // AWS counts the items of a table every six hours or so.
        Some(total) if matches!(said, Said::Progress(line) if line.kind == Kind::Backup.as_str()) => {
            format!("{} of about {}", print::grouped(done), print::grouped(total))
        }
        Some(total) => format!("{} of {}", print::grouped(done), print::grouped(total)),
        None => print::grouped(done),
    }];
    match said {
        Said::Reading { .. } => words.push("keys read".to_owned()),
        Said::Progress(line) => {
            words.extend(pace(line));
            if line.counters.dead > 0 {
                words.push(format!("{} dead", print::grouped(line.counters.dead)));
            }
            if line.state == State::Paused {
                words.push("paused".to_owned());
            }
            let limit = line.limit.as_deref().filter(|limit| !limit.is_empty());
            words.extend(limit.map(|limit| format!("limit: {limit}")));
        }
    }
    words.join("  ")
}

/// How fast it goes and how long yet, as far as that is known.
pub fn pace(line: &Line) -> Vec<String> {
    let rate = line.per_second.map(|rate| format!("{}/s", print::grouped(rate.round() as u64)));
    rate.into_iter().chain(line.eta_seconds.map(|eta| format!("{} left", print::duration(eta)))).collect()
}

/// Prints a job's end: its last line for a script; for a person, in words.
fn say_end(ended: &Ended, kind: Kind, differences: &Path, json: bool) -> Result<Exit, Report> {
    if json {
        // A reader that went away does not change how the job ended.
        let _ = print_differences(differences).and_then(|()| print::line(&ended.report));
    } else if ended.state == State::Done {
        print::line(&done_in_words(ended, kind))?;
    }
    if ended.state == State::Interrupted && kind == Kind::Verify {
        eprintln!(
            "interrupted: verify {} keeps nothing of what it read; it starts over when it is run again",
            ended.job
        );
    } else if ended.state == State::Interrupted && matches!(kind, Kind::Load | Kind::Pump) {
        // A pump goes on where this one stopped, and a load has nothing to go on with.
        eprintln!("interrupted: {kind} {}: {}", ended.job, ended.message);
    } else if ended.state == State::Interrupted {
        eprintln!("interrupted: {kind} {} is checkpointed; go on with: {}", ended.job, kind.again(&ended.job));
    }
    outcome(ended, kind)
}

/// Prints the keys that a verify found to differ, one a line as it listed them. Another job has no such list.
fn print_differences(path: &Path) -> Result<(), Report> {
    let Ok(list) = File::open(path) else { return Ok(()) };
    BufReader::new(list).lines().map_while(Result::ok).try_for_each(|line| print::line(&line))
}

/// What the end of a job is for the exit code.
fn outcome(ended: &Ended, kind: Kind) -> Result<Exit, Report> {
    match ended.state {
        State::Done | State::Interrupted => Ok(Exit::from_code(ended.exit_code())),
        State::Cancelled => Err(Report::failed(format!("{kind} {} was cancelled", ended.job), "")),
        _ => {
            let sentence =
                if ended.message.is_empty() { format!("{kind} {} failed", ended.job) } else { ended.message.clone() };
            Err(Report::failed(sentence, format!("when that is mended, go on with: {}", kind.again(&ended.job))))
        }
    }
}

fn done_in_words(ended: &Ended, kind: Kind) -> String {
    let report: serde_json::Value = serde_json::from_str(&ended.report).unwrap_or_default();
    let count = |field: &str| report[field].as_u64().unwrap_or_default();
    let shown = |field: &str| print::grouped(count(field));
    let mut words = vec![match kind {
        Kind::Restore => {
            let seconds = report["seconds"].as_f64().unwrap_or_default();
            let rate = if seconds > 0.0 { (count("written") as f64 / seconds).round() as u64 } else { 0 };
            format!(
                "restore {} done: read {}, written {}, skipped {}, dead {} in {} ({}/s)",
                ended.job,
                shown("read"),
                shown("written"),
                shown("skipped"),
                shown("dead"),
                print::duration(seconds),
                print::grouped(rate)
            )
        }
        Kind::Backup => {
            let seconds = report["seconds"].as_f64().unwrap_or_default();
            let rate = if seconds > 0.0 { (count("written") as f64 / seconds).round() as u64 } else { 0 };
            format!(
                "backup {} done: {} items, {} RCU in {} ({}/s)",
                ended.job,
                shown("written"),
                print::grouped(report["rcu"].as_f64().unwrap_or_default().round() as u64),
                print::duration(seconds),
                print::grouped(rate)
            )
        }
        Kind::Work => super::work::in_words(ended, &report),
        Kind::Replicate => super::replicate::in_words(ended, &report),
        Kind::Autoscale | Kind::Load | Kind::Pump | Kind::Letters => format!("{kind} {} done", ended.job),
        Kind::Playback => format!(
            "playback {} done: {} of {} events played, {} reads, in {}",
            ended.job,
            print::grouped(count("written") + count("on_stream")),
            shown("read"),
            shown("requests"),
            print::duration(report["seconds"].as_f64().unwrap_or_default())
        ),
        Kind::Verify => format!(
            "verify {}: {} checked, {} equal, {} missing, {} extra, {} different",
            match (ended.differs, count("changed"), report["confidence"].is_string()) {
                (true, ..) => "found differences",
                (false, 0, false) => "proven",
                (false, ..) => "found no difference",
            },
            shown("checked"),
            shown("equal"),
            shown("missing"),
            shown("extra"),
            shown("different")
        ),
    }];
    // That all keys are equal was said.
    let says = !matches!(kind, Kind::Verify | Kind::Autoscale) || says_more(&report);
    if !ended.message.is_empty() && (ended.differs || says) {
        words.push(ended.message.clone());
    }
    words.join("\n")
}

/// True when a verify that found no difference has more to say than that.
fn says_more(report: &serde_json::Value) -> bool {
    let count = |field: &str| report[field].as_u64().unwrap_or_default();
    ["changed", "duplicates", "dead", "skipped", "repaired", "superseded", "expired"]
        .into_iter()
        .any(|field| count(field) > 0)
        || report["confidence"].is_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Counters;

    fn line() -> Line {
        Line {
            job: JobId("r-1".into()),
            kind: "restore",
            state: State::Running,
            counters: Counters { read: 24_000, written: 23_000, dead: 2, skipped: 118, ..Counters::default() },
            settled: 23_120,
            seconds: 100.0,
            total: Some(50_000),
            per_second: Some(130.4),
            eta_seconds: Some(204.0),
            limit: Some("table write capacity".into()),
        }
    }

    #[test]
    fn progress_says_how_far_how_fast_how_long_and_what_binds() {
        assert_eq!(
            in_words(&Said::Progress(Box::new(line()))),
            "23,120 of 50,000  130/s  3m 24s left  2 dead  limit: table write capacity"
        );
    }

    #[test]
    fn both_bars_are_well_formed() {
        for known in [true, false] {
            let bar = ProgressBar::hidden().with_style(style(known));
            draw(&bar, &Said::Progress(Box::new(line())));
            assert_eq!(bar.position(), 23_120);
        }
    }

    #[test]
    fn the_end_of_a_job_is_its_exit_code() {
        let ended = |state, dead, differs| Ended {
            job: JobId("r-1".into()),
            state,
            message: String::new(),
            report: "{}".into(),
            dead,
            differs,
        };
        let exit = |ended: Ended, kind| match outcome(&ended, kind) {
            Ok(exit) => exit.code(),
            Err(report) => report.exit.code(),
        };
        assert_eq!(exit(ended(State::Done, false, false), Kind::Restore), 0);
        assert_eq!(exit(ended(State::Failed, true, false), Kind::Restore), 1);
        assert_eq!(exit(ended(State::Cancelled, false, false), Kind::Restore), 1);
        assert_eq!(exit(ended(State::Done, true, false), Kind::Restore), 3);
        assert_eq!(exit(ended(State::Done, false, true), Kind::Verify), 4);
        assert_eq!(exit(ended(State::Interrupted, true, false), Kind::Restore), 130);
    }

    #[tokio::test]
    async fn between_two_lines_nothing_is_said_and_the_end_does_not_wait() {
        let (speak, mut heard) = watch::channel(Some(Said::Reading { read: 1, total: None }));
        heard.mark_changed();
        let (told, mut spoken) = tokio::sync::mpsc::unbounded_channel();
        let shown = tokio::spawn(async move {
            each(&mut heard, Duration::from_secs(1_000_000), |said| told.send(how_far(said).0).unwrap()).await;
        });
        assert_eq!(spoken.recv().await, Some(1));
        speak.send_replace(Some(Said::Reading { read: 2, total: None }));
        drop(speak);
        shown.await.unwrap();
        assert_eq!(spoken.recv().await, None);
    }
}
