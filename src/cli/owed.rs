//! What jobs that no longer run left raised: every command says so, and with `--yes` gives it back.

use serde_json::json;

use super::args::Command;
use super::report::{Exit, Report};
use super::session::Session;
use super::{guarded, print};
use crate::cloud::{Cloud, Context, Mode};
use crate::jobs::Journal;
use crate::jobs::bump::{self, Debt, Settled};
use crate::jobs::journal::Bump;

/// How long giving back waits for a change that is under way; what can't be given back by then stays owed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Says what is owed before a command runs, on stderr, or gives it back when `--yes` was passed. Never stops the command.
pub async fn tell(command: &Command, session: &Session) {
    if !concerns(command) {
        return;
    }
    let Ok(Some(journal)) = session.journal_if_any() else { return };
    let Ok(mut debts) = bump::owed_by_the_dead(&journal) else { return };
    // What is taken up again needs its capacity.
    let resumed = match command {
        Command::Restore(args) => args.resume.clone(),
        Command::Resume(args) => Some(args.id.clone()),
        _ => None,
    };
    debts.retain(|debt| resumed.as_ref() != Some(&debt.job.id.0));
    if debts.is_empty() {
        return;
    }
    if session.global.yes && session.asked_mode() == Mode::Normal {
        // Stdout is the command's own.
        let told = |one: &Settled| {
            eprintln!("{}", print::shown(&one.words));
            Ok(())
        };
        if let Err(report) = give_back(&journal, &debts, session, &told).await {
            eprintln!("{report}");
        }
        return;
    }
    for debt in &debts {
        let resume = if debt.job.state.can_resume() {
            format!(", or take it up again: sluice {} --resume {}", debt.job.kind(), debt.job.id)
        } else {
            String::new()
        };
        eprintln!("{}; give it back: sluice capacity --give-back{resume}", print::shown(&debt.in_words()));
    }
}

/// What a shell evaluates or a process runs is not the place; the console asks by itself.
fn concerns(command: &Command) -> bool {
    match command {
        Command::Completions(_) | Command::Man(_) | Command::Keymap(_) | Command::Remember | Command::Worker(_) => {
            false
        }
        #[cfg(feature = "local")]
        Command::Local(_) | Command::Demo(_) => false,
        Command::Capacity(args) => !args.give_back,
        _ => true,
    }
}

/// `sluice capacity --give-back`: all that is owed by jobs that no longer run.
pub async fn give_all_back(session: &Session) -> Result<Exit, Report> {
    let debts = match session.journal_if_any()? {
        Some(journal) => bump::owed_by_the_dead(&journal)?,
        None => Vec::new(),
    };
    if debts.is_empty() {
        let words = "nothing to give back: no job that has ended left anything raised";
        print::said(session, words, &json!({ "owed": false, "changed": false }))?;
        return Ok(Exit::Done);
    }
    if session.asked_mode() == Mode::Normal && !session.global.yes {
        let words: Vec<String> = debts.iter().map(|debt| print::shown(&debt.in_words())).collect();
        super::capacity::ask(&format!("{}\ngive back", words.join("\n")))?;
    }
    give_back(&session.journal()?, &debts, session, &|one| say(one, session)).await
}

async fn give_back(
    journal: &Journal,
    debts: &[Debt],
    session: &Session,
    say: &dyn Fn(&Settled) -> Result<(), Report>,
) -> Result<Exit, Report> {
    let mut places: Vec<&Context> = Vec::new();
    for debt in debts {
        if !places.contains(&&debt.bump.context) {
            places.push(&debt.bump.context);
        }
    }
    let mut exit = Exit::Done;
    for place in places {
        let bumps: Vec<Bump> =
            debts.iter().map(|debt| &debt.bump).filter(|bump| bump.context == *place).cloned().collect();
        // What guards the place where it was raised, not the one that this command is about.
        let there = guarded::acting_in(place.clone(), session).await?;
        if there.mode() == Mode::ReadOnly {
            let owed: Vec<String> = bumps.iter().map(|bump| bump.resource.to_string()).collect();
            let why = there.guardrails.why_read_only();
            eprintln!("read-only: {} keeps what it was raised to; {why}", print::shown(&owed.join(", ")));
            exit = Exit::Failed;
            continue;
        }
        if settle(&there.cloud().await?, journal, &bumps, say).await? == Exit::Failed {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

/// Gives `bumps` back and says what became of each; failed when something stays owed.
pub async fn settle(
    cloud: &Cloud,
    journal: &Journal,
    bumps: &[Bump],
    say: &dyn Fn(&Settled) -> Result<(), Report>,
) -> Result<Exit, Report> {
    let settled = bump::give_back(cloud, journal, bumps, PATIENCE).await?;
    let mut exit = Exit::Done;
    for one in settled {
        if one.is_owed() {
            exit = Exit::Failed;
        }
        if let Some(job) = &one.bump.job {
            journal.note(job, if one.is_owed() { "warn" } else { "info" }, &one.words)?;
        }
        say(&one)?;
    }
    Ok(exit)
}

/// Prints what became of a debt.
pub fn say(one: &Settled, session: &Session) -> Result<(), Report> {
    if !session.global.json {
        return print::line(&print::shown(&one.words));
    }
    let resource = &one.bump.resource;
    print::json(&json!({
        "table": resource.table(), "index": resource.index(), "stream": resource.stream(),
        "before": one.bump.before, "after": one.bump.after,
        "job": one.bump.job, "owed": one.is_owed(), "given_back": one.words,
    }))
}
