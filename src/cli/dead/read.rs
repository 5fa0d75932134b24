//! Dead letters, listed and shown.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::found;
use crate::cli::print::{self, Columns, Side, time};
use crate::cli::report::{Exit, Report};
use crate::cli::session::Session;
use crate::item::legible::{hex_lines, set_out};
use crate::jobs::journal::DeadLetter;
use crate::jobs::{JobId, Journal, dead};

/// How many letters are read from the journal at a time.
const PAGE: usize = 1_000;

/// Hands each dead letter of `job` to `met`.
pub(super) fn each(
    journal: &Journal,
    job: &JobId,
    all: bool,
    reason: Option<&str>,
    mut met: impl FnMut(DeadLetter) -> Result<(), Report>,
) -> Result<(), Report> {
    let mut after = i64::MIN;
    loop {
        let page = if all { journal.all_letters(job, after, PAGE)? } else { journal.letters(job, after, PAGE)? };
        let is_last = page.len() < PAGE;
        for dead in page {
            after = dead.number;
            if reason.is_none_or(|text| dead.letter.reason.contains(text)) {
                met(dead)?;
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

pub(super) fn list(
    journal: &Journal,
    job: &JobId,
    all: bool,
    reason: Option<&str>,
    session: &Session,
) -> Result<Exit, Report> {
    journal.job(job)?;
    let mut columns = Columns::new(&[
        ("NUMBER", Side::Right),
        ("SOURCE", Side::Left),
        ("LINE", Side::Right),
        ("BYTE", Side::Right),
        ("STATE", Side::Left),
        ("REASON", Side::Left),
    ]);
    let mut met = 0;
    each(journal, job, all, reason, |dead| {
        met += 1;
        if session.global.json {
            return print::json(&as_json(&dead));
        }
        columns.row(&[
            dead.number.to_string(),
            place(&dead),
            dead.letter.line.map_or_else(|| "-".to_owned(), print::grouped),
            dead.letter.offset.map_or_else(|| "-".to_owned(), print::grouped),
            dead.state().to_owned(),
            dead.why().to_owned(),
        ]);
        Ok(())
    })?;
    if session.global.json {
        return Ok(Exit::Done);
    }
    if met == 0 {
        let settled = if all { 0 } else { journal.all_letters(job, i64::MIN, 1)?.len() };
        let of = if reason.is_some() { " of that reason" } else { "" };
        let more = if settled > 0 { "; --all lists those that were replayed or dropped" } else { "" };
        print::line(&format!("job {job} has no {}dead letters{of}{more}", if settled > 0 { "open " } else { "" }))?;
    } else {
        print::columns(&columns)?;
    }
    Ok(Exit::Done)
}

pub(super) async fn show(journal: &Journal, job: &JobId, number: i64, session: &Session) -> Result<Exit, Report> {
    let (known, mut dead) = found(journal, job, number)?;
    if dead.letter.line.is_none() {
        dead.letter.line = dead::line_of(&dead).await;
    }
    if session.global.json {
        print::json(&as_json(&dead))?;
        return Ok(Exit::Done);
    }
    print::line(&format!("dead letter {number} of {job}, {}, {}", time(dead.at_ms), dead.state()))?;
    print::line(&format!("reason  {}", print::shown(&dead.letter.reason)))?;
    print::line(&format!("source  {}", print::shown(&place(&dead))))?;
    for (name, value) in [("line    ", dead.letter.line), ("byte    ", dead.letter.offset)] {
        if let Some(value) = value {
            print::line(&format!("{name}{}", print::grouped(value)))?;
        }
    }
    if let Some(tried) = &dead.tried {
        print::line(&format!("tried   {}", print::shown(tried)))?;
    }
    if let Some(fate) = &dead.fate {
        print::line(&format!("{}  {}", fate.ending.as_str(), time(fate.at_ms)))?;
    }
    let content = dead::content(&known, &dead);
    print::line(&format!("table   {}", print::shown(&content.table)))?;
    if dead.draft.is_some() {
        text("\nas it was edited:", &content.item)?;
    } else if content.item != dead.letter.payload {
        text("\nits item:", &content.item)?;
    }
    text("\nas it came:", &dead.letter.payload)?;
    Ok(Exit::Done)
}

/// Prints JSON set out, other text as it is, and the rest in hex; all of it escaped.
fn text(title: &str, bytes: &[u8]) -> Result<(), Report> {
    print::line(title)?;
    let is_text = std::str::from_utf8(bytes)
        .is_ok_and(|text| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t')));
    if is_text {
        return set_out(bytes).lines().try_for_each(|line| print::line(&print::shown(line)));
    }
    hex_lines(bytes).try_for_each(|line| print::line(&line))
}

fn place(dead: &DeadLetter) -> String {
    match (&dead.letter.shard, &dead.letter.sequence) {
        (Some(shard), Some(sequence)) => format!("{} {shard} {sequence}", dead.letter.source),
        _ => dead.letter.source.clone(),
    }
}

fn as_json(dead: &DeadLetter) -> Value {
    json!({
        "job": dead.job, "number": dead.number, "time": time(dead.at_ms), "source": dead.letter.source,
        "line": dead.letter.line, "offset": dead.letter.offset, "shard": dead.letter.shard,
        "sequence": dead.letter.sequence, "reason": dead.letter.reason,
        "bytes": BASE64_STANDARD.encode(&dead.letter.payload), "state": dead.state(),
        "draft": dead.draft.as_ref().map(|draft| BASE64_STANDARD.encode(draft)), "tried": dead.tried,
        "settled": dead.fate.map(|fate| time(fate.at_ms)),
    })
}
