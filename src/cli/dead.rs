//! `sluice dead`: the records of a job that can never succeed, as the journal keeps them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::print::{self, Columns, Side};
use super::report::{Exit, Report};
use super::session::Session;
use crate::jobs::journal::DeadLetter;
use crate::jobs::{JobId, Journal};

/// How many letters are read from the journal at a time.
const PAGE: usize = 1_000;

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
        job: String,
    },
    /// Show one dead letter whole.
    Show {
        /// The job, as `sluice jobs` names it.
        job: String,
        /// Its number, as `sluice dead list` shows it.
        number: i64,
    },
}

/// Lists or shows.
pub fn run(args: DeadArgs, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal()?;
    match args.act {
        DeadAct::List { job } => list(&journal, &JobId(job), session),
        DeadAct::Show { job, number } => show(&journal, &JobId(job), number, session),
    }
}

fn list(journal: &Journal, job: &JobId, session: &Session) -> Result<Exit, Report> {
    journal.job(job)?;
    let mut columns = Columns::new(&[
        ("NUMBER", Side::Right),
        ("SOURCE", Side::Left),
        ("LINE", Side::Right),
        ("BYTE", Side::Right),
        ("REASON", Side::Left),
    ]);
    let mut after = 0;
    loop {
        let page = journal.letters(job, after, PAGE)?;
        for dead in &page {
            after = dead.number;
            if session.global.json {
                print::json(&as_json(dead))?;
                continue;
            }
            columns.row(&[
                dead.number.to_string(),
                place(dead),
                dead.letter.line.map_or_else(|| "-".to_owned(), print::grouped),
                dead.letter.offset.map_or_else(|| "-".to_owned(), print::grouped),
                dead.letter.reason.clone(),
            ]);
        }
        if page.len() < PAGE {
            break;
        }
    }
    if session.global.json {
        return Ok(Exit::Done);
    }
    if after == 0 {
        print::line(&format!("job {job} has no dead letters"))?;
    } else {
        print::columns(&columns)?;
    }
    Ok(Exit::Done)
}

fn show(journal: &Journal, job: &JobId, number: i64, session: &Session) -> Result<Exit, Report> {
    journal.job(job)?;
    let found = journal.letters(job, number.saturating_sub(1), 1)?.into_iter().find(|dead| dead.number == number);
    let Some(dead) = found else {
        return Err(Report::failed(
            format!("job {job} has no dead letter {number}"),
            format!("`sluice dead list {job}` lists them"),
        ));
    };
    if session.global.json {
        print::json(&as_json(&dead))?;
        return Ok(Exit::Done);
    }
    print::line(&format!("dead letter {number} of {job}, {}", time(dead.at_ms)))?;
    print::line(&format!("reason  {}", print::escaped(&dead.letter.reason)))?;
    print::line(&format!("source  {}", print::escaped(&place(&dead))))?;
    for (name, value) in [("line    ", dead.letter.line), ("byte    ", dead.letter.offset)] {
        if let Some(value) = value {
            print::line(&format!("{name}{}", print::grouped(value)))?;
        }
    }
    print::line("")?;
    print::line(&print::escaped(&String::from_utf8_lossy(&dead.letter.payload)))?;
    Ok(Exit::Done)
}

fn place(dead: &DeadLetter) -> String {
    match (&dead.letter.shard, &dead.letter.sequence) {
        (Some(shard), Some(sequence)) => format!("{} {shard} {sequence}", dead.letter.source),
        _ => dead.letter.source.clone(),
    }
}

/// RFC 3339, UTC.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

fn as_json(dead: &DeadLetter) -> Value {
    json!({
        "number": dead.number, "job": dead.job, "time": time(dead.at_ms), "source": dead.letter.source,
        "line": dead.letter.line, "offset": dead.letter.offset, "shard": dead.letter.shard,
        "sequence": dead.letter.sequence, "reason": dead.letter.reason,
        "payload": BASE64_STANDARD.encode(&dead.letter.payload),
    })
}
