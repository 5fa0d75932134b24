//! How long the records of a stream stay.

use std::io::IsTerminal as _;

use serde_json::json;

use crate::cli::capacity::ask;
use crate::cli::print;
use crate::cli::report::{Exit, Report};
use crate::cli::session::Session;
use crate::cloud::streams::{retention_price, set_retention, unfit_retention};
use crate::cloud::{Mode, inventory};

/// Changes it, after saying what that costs and loses.
pub async fn run(stream: &str, hours: u32, session: &Session) -> Result<Exit, Report> {
    if let Some(words) = unfit_retention(hours) {
        return Err(Report::bad_arguments(words, "pass --retention 24 to 8760"));
    }
    let cloud = session.cloud().await?;
    let now = session.answered(inventory::stream_summary(&cloud, stream)).await?;
    let from = now.retention_hours;
    if from == hours {
        let row = json!({ "stream": stream, "retention_hours": hours, "changed": false });
        print::said(session, &format!("nothing to change: records of {stream} stay {hours} hours"), &row)?;
        return Ok(Exit::Done);
    }
    let loses = if hours < from {
        format!("\nwhat is older than {hours} hours is deleted at once, for good")
    } else {
        String::new()
    };
    let words = format!(
        "records of {stream}: from {from} to {hours} hours; costs beside the shards: {} (before: {}){loses}",
        retention_price(hours, &now.mode, now.open_shards()),
        retention_price(from, &now.mode, now.open_shards()),
    );
    if session.mode() == Mode::Normal && !session.global.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Report::bad_arguments("this changes the stream and nobody is there to ask", "pass --yes"));
        }
        ask(&words)?;
    }
    set_retention(&cloud, stream, from, hours).await?;
    let row = json!({ "stream": stream, "retention_hours_before": from, "retention_hours": hours, "changed": true });
    print::said(session, &words, &row)?;
    Ok(Exit::Done)
}
