//! `sluice audit`: every change made, by whom and when.

use clap::Args;
use serde_json::json;

use super::dead::time;
use super::print::{self, Columns, Side};
use super::report::{Exit, Report};
use super::session::Session;

/// How far back.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only the newest so many.
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    pub last: usize,
}

/// Prints the audit, oldest first.
pub fn run(args: &AuditArgs, session: &Session) -> Result<Exit, Report> {
    let mut lines = session.journal()?.audit_lines(args.last)?;
    lines.reverse();
    let mut columns = Columns::new(&[
        ("TIME", Side::Left),
        ("WHO", Side::Left),
        ("JOB", Side::Left),
        ("CHANGE", Side::Left),
        ("TARGET", Side::Left),
        ("REQUEST", Side::Left),
    ]);
    for line in &lines {
        if session.global.json {
            print::json(&json!({
                "time": time(line.at_ms), "who": line.who, "job": line.job, "context": line.context,
                "service": line.change.service, "operation": line.change.operation, "target": line.change.target,
                "request": line.change.request,
            }))?;
            continue;
        }
        columns.row(&[
            time(line.at_ms),
            line.who.clone(),
            line.job.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            format!("{} {}", line.change.service, line.change.operation),
            line.change.target.clone(),
            line.change.request.clone(),
        ]);
    }
    if session.global.json {
        return Ok(Exit::Done);
    }
    if lines.is_empty() {
        print::line("nothing was changed from this state folder yet")?;
    } else {
        print::columns(&columns)?;
    }
    Ok(Exit::Done)
}
