//! Dead letters put again, or given up.

use serde_json::json;

use super::read::each;
use super::{Which, acting, found, may_change};
use crate::cli::ask::ask;
use crate::cli::print;
use crate::cli::report::{Exit, Report};
use crate::cli::session::Session;
use crate::cloud::guard::Change;
use crate::cloud::{Class, Mode};
use crate::jobs::dead::{Replay, ReplayError, Replayed};
use crate::jobs::journal::{Ending, Job};
use crate::jobs::{JobId, Journal};

/// The letters that were meant.
fn meant(journal: &Journal, which: &Which) -> Result<(Job, Vec<i64>), Report> {
    let id = JobId(which.job.clone());
    let job = journal.job(&id)?;
    let mut numbers = Vec::new();
    if which.numbers.is_empty() {
        each(journal, &id, false, which.reason.as_deref(), |dead| {
            numbers.push(dead.number);
            Ok(())
        })?;
    }
    for number in &which.numbers {
        let (_, dead) = found(journal, &id, *number)?;
        if let Some(fate) = &dead.fate {
            return Err(Report::failed(
                format!("dead letter {number} of {id} was {} before", fate.ending.as_str()),
                "nothing was done: leave it out",
            ));
        }
        numbers.push(*number);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok((job, numbers))
}

pub(super) async fn replay(
    journal: &Journal,
    which: &Which,
    overwrite: bool,
    session: &Session,
) -> Result<Exit, Report> {
    let (job, numbers) = meant(journal, which)?;
    if numbers.is_empty() {
        return said_none(&job, session);
    }
    if overwrite {
        ask(session, &format!("{} may overwrite newer items", counted(numbers.len())), "overwrite")?;
    }
    let cloud = acting(&job, session).await?;
    let mut replay = Replay::new(&cloud, &job, overwrite)?;
    let (mut written, mut held, mut unfit, mut left_out) = (0u64, 0u64, 0u64, 0u64);
    let mut stopped = None;
    for number in numbers {
        let Some(dead) = journal.letter(&job.id, number)? else { continue };
        let replayed = match replay.put(journal, &dead).await {
            Ok(replayed) => replayed,
            Err(ReplayError::Cloud(error)) if error.class == Class::DryRun => continue,
            Err(error) => {
                stopped = Some(error);
                break;
            }
        };
        match &replayed {
            Replayed::Written | Replayed::AlreadyThere => written += 1,
            Replayed::Held => held += 1,
            Replayed::Unfit(_) => unfit += 1,
            Replayed::LeftOut => left_out += 1,
            Replayed::Settled => {}
        }
        if session.global.json {
            let (outcome, reason) = (replayed.as_str(), replayed.reason());
            print::json(&json!({ "job": job.id, "number": number, "outcome": outcome, "reason": reason }))?;
        } else {
            print::line(&format!("{number}: {}", print::shown(&replayed.reason())))?;
        }
    }
    if session.mode() == Mode::Normal {
        let open = journal.letter_count(&job.id)?;
        let words = format!(
            "dead letters replayed{}: {written} written, {held} held back, {unfit} unfit, {left_out} left out; {open} open",
            if overwrite { " without the fence" } else { "" }
        );
        journal.note(&job.id, "info", &words)?;
        if session.global.json {
            print::json(&json!({
                "job": job.id, "kind": "replay", "written": written, "held": held, "unfit": unfit, "left_out": left_out,
                "open": open,
            }))?;
        } else {
            print::line(&words)?;
        }
    }
    match stopped {
        Some(ReplayError::Cloud(error)) => Err(error.into()),
        Some(ReplayError::Journal(error)) => Err(error.into()),
        None if held + unfit > 0 => Ok(Exit::DeadLetters),
        None => Ok(Exit::Done),
    }
}

pub(super) fn drop_them(journal: &Journal, which: &Which, session: &Session) -> Result<Exit, Report> {
    let (job, numbers) = meant(journal, which)?;
    if numbers.is_empty() {
        return said_none(&job, session);
    }
    may_change(session, &format!("give up {} of {}", counted(numbers.len()), job.id))?;
    let question = format!("{} of {} will never be in table {}", counted(numbers.len()), job.id, job.spec.table());
    ask(session, &question, "drop")?;
    journal.audit(&job.context, Some(&job.id), &Change::of_job("dead drop", &job.id.0, &which.said()))?;
    let mut dropped = 0u64;
    for number in numbers {
        dropped += u64::from(journal.settle_letter(&job.id, number, Ending::Dropped)?);
    }
    let open = journal.letter_count(&job.id)?;
    journal.note(&job.id, "warn", &format!("dead letters given up: {dropped}; {open} open"))?;
    if session.global.json {
        print::json(&json!({ "job": job.id, "kind": "drop", "dropped": dropped, "open": open }))?;
    } else {
        print::line(&format!(
            "given up: {dropped}; {open} open. They stay in the journal: sluice dead list {} --all",
            job.id
        ))?;
    }
    Ok(Exit::Done)
}

fn said_none(job: &Job, session: &Session) -> Result<Exit, Report> {
    if !session.global.json {
        print::line(&format!("job {} has no such open dead letters", job.id))?;
    }
    Ok(Exit::Done)
}

fn counted(count: usize) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{} dead letters", print::grouped(count as u64)) }
}
