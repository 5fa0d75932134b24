//! `sluice autoscale`: rules that follow the load of tables with their capacity, and the log of what they decided.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::print::{self, Columns, Side, time};
use super::progress;
use super::report::{Exit, Report};
use super::session::Session;
use super::settings;
use super::watch::WatchArgs;
use crate::capacity::config::{self, EXAMPLE};
use crate::cloud::Mode;
use crate::jobs::journal::{Decision, State};
use crate::jobs::{AutoscaleSpec, JobId, Journal, Kind, Spec, autoscale, start_detached};

/// What to follow, and how.
#[derive(Clone, Debug, Args)]
pub struct AutoscaleArgs {
    /// The rules, as TOML [else autoscale.toml beside the keymap]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Look once, decide, and end.
    #[arg(long)]
    pub once: bool,
    /// Start it and come back at once; `sluice cancel` ends it.
    #[arg(long, conflicts_with = "once")]
    pub detach: bool,
    /// Print what was decided, and why; start nothing.
    #[arg(long, conflicts_with_all = ["once", "detach", "config"])]
    pub log: bool,
    /// How many decisions --log prints.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "log")]
    pub lines: usize,
    /// Of this job only.
    #[arg(add = super::complete::jobs(), long, value_name = "ID", requires = "log")]
    pub job: Option<String>,
    /// Repeat.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Print a configuration with every option and what it means.
    #[arg(long, conflicts_with_all = ["once", "detach", "log", "config"])]
    pub example: bool,
}

/// How often the log is looked at while an autoscaler runs here.
const LOOK: Duration = Duration::from_millis(500);

/// Starts an autoscaler, or prints its log.
pub async fn run(args: AutoscaleArgs, session: &Session) -> Result<Exit, Report> {
    if args.example {
        print::line(EXAMPLE.trim_end())?;
        return Ok(Exit::Done);
    }
    if args.log {
        let job = args.job.clone().map(JobId);
        let round = || std::future::ready(log(job.as_ref(), args.lines, session));
        return args.watch.repeat(session.global.json, round).await;
    }
    if args.watch.watch.is_some() {
        return Err(Report::bad_arguments("--watch repeats a list", "pass --log --watch"));
    }
    if args.detach && session.mode() != Mode::Normal {
        return Err(Report::bad_arguments(
            "a detached autoscaler changes capacity",
            "leave out --detach along with --read-only or --dry-run; dry_run = true in its rules only decides",
        ));
    }
    let path = match args.config.clone().or_else(|| Some(settings::folder()?.join("autoscale.toml"))) {
        Some(path) if args.config.is_some() || path.exists() => path,
        default => {
            let place = default.map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
            return Err(Report::bad_arguments(
                "no rules say which tables are scaled",
                format!("write them: sluice autoscale --example > {place}, then read what it says"),
            ));
        }
    };
    let spec = spec(&path, args.once)?;
    // The region says whether another one runs already.
    let cloud = session.reading().await?;
    let (session, _folder) = &session.for_a_job(cloud.place())?;
    let journal = session.journal()?;
    if let Some(id) = autoscale::running(&journal, &cloud.place(), None)? {
        return Err(Report::failed(autoscale::already(Some(&id)), ""));
    }
    let spec = Spec::Autoscale(spec);
    if args.detach {
        let id = start_detached(&journal, &spec, &session.context, None)?;
        if session.global.json {
            print::json(&json!({ "job": id, "kind": Kind::Autoscale, "state": State::Starting }))?;
        } else {
            print::line(&format!("started autoscale {id}; sluice autoscale --log shows what it decides"))?;
        }
        return Ok(Exit::Done);
    }
    let id = journal.create_job(&spec, &session.context, None)?;
    let json = session.global.json;
    let mut told = Tail { journal, job: id.clone(), after: 0, json };
    let running = progress::to_its_end(session, &id);
    tokio::pin!(running);
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            () = tokio::time::sleep(LOOK) => told.print()?,
        }
    };
    told.print()?;
    progress::say(session, &ended?, Kind::Autoscale)
}

/// The job that the rules in this file ask for.
pub fn spec(path: &Path, once: bool) -> Result<AutoscaleSpec, Report> {
    let named = path.display().to_string();
    let rules = std::fs::read_to_string(path)
        .map_err(|error| Report::failed(format!("the rules {named} could not be read: {error}"), ""))?;
    config::parse(&rules).map_err(|error| {
        Report::bad_arguments(
            format!("{named}: {error}"),
            "sluice autoscale --example prints every key and what it means",
        )
    })?;
    let config = std::path::absolute(path).map_or(named, |path| path.display().to_string());
    Ok(AutoscaleSpec { config, rules, once })
}

/// Decisions as they come into the journal.
struct Tail {
    journal: Journal,
    job: JobId,
    after: i64,
    json: bool,
}

impl Tail {
    fn print(&mut self) -> Result<(), Report> {
        for decision in self.journal.decisions(Some(&self.job), self.after, 10_000)? {
            self.after = decision.number;
            if self.json {
                print::json(&as_json(&decision))?;
            } else {
                print::line(&in_words(&decision))?;
            }
        }
        Ok(())
    }
}

/// `14:03:27 raised table historical write from 130 to 195: 123.5 used each second, over 90 % used`.
fn in_words(decision: &Decision) -> String {
    let Decision { direction, from, to, consumed, reason, .. } = decision;
    let clock = jiff::Timestamp::from_millisecond(decision.at_ms).unwrap_or_default().strftime("%H:%M:%S");
    let dry = if decision.dry_run && decision.decided.is_change() { " (dry run: not sent)" } else { "" };
    let change = if from == to { format!("{from}") } else { format!("{from} to {to}") };
    let resource = print::shown(&decision.resource().to_string());
    format!(
        "{clock}  {:<8} {resource} {direction} {change}{dry}: {consumed:.1} used each second; {}",
        decision.decided.as_str(),
        print::shown(reason)
    )
}

fn as_json(decision: &Decision) -> Value {
    let mut row = serde_json::to_value(decision).unwrap_or_default();
    if let Value::Object(row) = &mut row {
        row.insert("time".to_owned(), time(decision.at_ms).into());
        row.insert("last".to_owned(), time(decision.last_ms).into());
        row.insert("percent".to_owned(), percent(decision).into());
    }
    row
}

/// Used of what there was, percent.
fn percent(decision: &Decision) -> Option<f64> {
    (decision.from > 0).then(|| decision.consumed * 100.0 / decision.from as f64)
}

fn log(job: Option<&JobId>, lines: usize, session: &Session) -> Result<(), Report> {
    let decisions = match session.journal_if_any()? {
        Some(journal) => journal.decisions(job, 0, lines)?,
        None => Vec::new(),
    };
    if session.global.json {
        return decisions.iter().try_for_each(|decision| print::json(&as_json(decision)));
    }
    if decisions.is_empty() {
        return print::line("nothing was decided yet: sluice autoscale starts it");
    }
    let mut columns = Columns::new(&[
        ("TIME (UTC)", Side::Left),
        ("TIMES", Side::Right),
        ("DECIDED", Side::Left),
        ("OF", Side::Left),
        ("", Side::Left),
        ("FROM", Side::Right),
        ("TO", Side::Right),
        ("USED", Side::Right),
        ("%", Side::Right),
        ("WHY", Side::Left),
    ]);
    for decision in &decisions {
        let dry = if decision.dry_run && decision.decided.is_change() { " (dry run)" } else { "" };
        columns.row(&[
            time(decision.at_ms).chars().take(19).collect::<String>().replace('T', " "),
            decision.times.to_string(),
            format!("{}{dry}", decision.decided.as_str()),
            decision.resource().to_string(),
            decision.direction.clone(),
            print::grouped(decision.from),
            print::grouped(decision.to),
            format!("{:.1}", decision.consumed),
            percent(decision).map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}")),
            decision.reason.clone(),
        ]);
    }
    print::columns(&columns)
}
