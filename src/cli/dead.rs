//! `sluice dead`: the records of a job that can never succeed, as the journal keeps them, and what becomes of them.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::print::{self, Columns, Side};
use super::report::{Exit, Report};
use super::restore::absolute;
use super::session::Session;
use super::watch::WatchArgs;
use crate::backup::Location;
use crate::cloud::guard::Change;
use crate::cloud::{Class, Cloud, Mode};
use crate::jobs::dead::{self, Replay, ReplayError, Replayed};
use crate::jobs::journal::{DeadLetter, Ending, Job};
use crate::jobs::{JobId, Journal, audit, letters};

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
        #[arg(add = super::complete::jobs())]
        job: String,
        /// Those that were replayed or dropped too.
        #[arg(long)]
        all: bool,
        /// Only those whose reason contains this text.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Repeat.
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Show one dead letter whole.
    Show {
        /// The job, as `sluice jobs` names it.
        #[arg(add = super::complete::jobs())]
        job: String,
        /// Its number, as `sluice dead list` shows it.
        number: i64,
    },
    /// Edit the item of a dead letter in $VISUAL or $EDITOR; it is checked when it is saved.
    Edit {
        /// The job, as `sluice jobs` names it.
        #[arg(add = super::complete::jobs())]
        job: String,
        /// Its number, as `sluice dead list` shows it.
        number: i64,
    },
    /// Put dead letters into their table, each only where its key is not there.
    Replay {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Put it also where the key is there, whatever is in its place.
        #[arg(long)]
        overwrite: bool,
    },
    /// Bring the dead letters of Lambda functions into the journal, to be shown, edited and replayed as any others.
    Import {
        /// Where the functions left them: <s3://bucket/prefix>, a folder or a file.
        from: String,
    },
    /// Give dead letters up: they count as skipped, and stay in the journal.
    Drop {
        /// Which.
        #[command(flatten)]
        which: Which,
    },
}

/// Some dead letters of a job.
#[derive(Debug, Args)]
pub struct Which {
    /// The job, as `sluice jobs` names it.
    #[arg(add = super::complete::jobs())]
    pub job: String,
    /// Their numbers, as `sluice dead list` shows them.
    #[arg(value_name = "NUMBER", required_unless_present_any = ["all", "reason"])]
    pub numbers: Vec<i64>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["numbers", "reason"])]
    pub all: bool,
    /// Those whose reason contains this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "numbers")]
    pub reason: Option<String>,
}

impl Which {
    /// As it was typed, after the job.
    fn said(&self) -> String {
        match &self.reason {
            _ if self.all => "--all".to_owned(),
            Some(reason) => format!("--reason '{}'", reason.replace('\'', r"'\''")),
            None => self.numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Lists, shows, edits, replays or drops.
pub async fn run(args: DeadArgs, session: &Session) -> Result<Exit, Report> {
    if let DeadAct::Import { from } = &args.act {
        return import(from, session).await;
    }
    let Some(journal) = session.journal_if_any()? else {
        let (DeadAct::List { job, .. } | DeadAct::Show { job, .. } | DeadAct::Edit { job, .. }) = args.act else {
            return Err(Report::failed("there are no jobs yet", "`sluice restore` starts one"));
        };
        return Err(crate::jobs::JournalError::NoSuchJob(JobId(job)).into());
    };
    match args.act {
        DeadAct::List { job, all, reason, watch } => {
            let job = JobId(job);
            let round = || std::future::ready(list(&journal, &job, all, reason.as_deref(), session).map(drop));
            watch.repeat(session.global.json, round).await
        }
        DeadAct::Show { job, number } => show(&journal, &JobId(job), number, session).await,
        DeadAct::Edit { job, number } => edit(&journal, &JobId(job), number, session).await,
        DeadAct::Replay { which, overwrite } => replay(&journal, &which, overwrite, session).await,
        DeadAct::Drop { which } => drop_them(&journal, &which, session),
        DeadAct::Import { from } => import(&from, session).await,
    }
}

async fn import(from: &str, session: &Session) -> Result<Exit, Report> {
    let location: Location = absolute(from)?.parse()?;
    may_change(session, &format!("bring the dead letters of {location} into the journal"))?;
    let cloud = session.reading().await?;
    let brought = letters::bring(&mut session.journal()?, &cloud, &location).await?;
    for of_stream in &brought {
        let letters::Brought { job, stream, new, known } = of_stream;
        if session.global.json {
            print::json(&json!({ "job": job, "kind": "letters", "stream": stream, "new": new, "known": known }))?;
        } else {
            let known =
                if *known > 0 { format!(" ({} were here before)", print::grouped(*known)) } else { String::new() };
            print::line(&format!(
                "{job}: {} new dead letters of {}{known}; sluice dead list {job}",
                print::grouped(*new),
                print::escaped(stream)
            ))?;
        }
    }
    Ok(Exit::Done)
}

/// Hands each dead letter of `job` to `met`.
fn each(
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

fn list(journal: &Journal, job: &JobId, all: bool, reason: Option<&str>, session: &Session) -> Result<Exit, Report> {
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
            state(&dead).to_owned(),
            dead.letter.reason.clone(),
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

/// `open`, `edited`, `replayed` or `dropped`.
fn state(dead: &DeadLetter) -> &'static str {
    match (&dead.fate, &dead.draft) {
        (Some(fate), _) => fate.ending.as_str(),
        (None, Some(_)) => "edited",
        (None, None) => "open",
    }
}

fn found(journal: &Journal, job: &JobId, number: i64) -> Result<(Job, DeadLetter), Report> {
    let known = journal.job(job)?;
    match journal.letter(job, number)? {
        Some(dead) => Ok((known, dead)),
        None => Err(Report::failed(
            format!("job {job} has no dead letter {number}"),
            format!("`sluice dead list {job} --all` lists them"),
        )),
    }
}

async fn show(journal: &Journal, job: &JobId, number: i64, session: &Session) -> Result<Exit, Report> {
    let (known, mut dead) = found(journal, job, number)?;
    if dead.letter.line.is_none() {
        dead.letter.line = dead::line_of(&dead).await;
    }
    if session.global.json {
        print::json(&as_json(&dead))?;
        return Ok(Exit::Done);
    }
    print::line(&format!("dead letter {number} of {job}, {}, {}", time(dead.at_ms), state(&dead)))?;
    print::line(&format!("reason  {}", print::escaped(&dead.letter.reason)))?;
    print::line(&format!("source  {}", print::escaped(&place(&dead))))?;
    for (name, value) in [("line    ", dead.letter.line), ("byte    ", dead.letter.offset)] {
        if let Some(value) = value {
            print::line(&format!("{name}{}", print::grouped(value)))?;
        }
    }
    if let Some(tried) = &dead.tried {
        print::line(&format!("tried   {}", print::escaped(tried)))?;
    }
    if let Some(fate) = &dead.fate {
        print::line(&format!("{}  {}", fate.ending.as_str(), time(fate.at_ms)))?;
    }
    let content = dead::content(&known, &dead);
    print::line(&format!("table   {}", print::escaped(&content.table)))?;
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
    let shown = if is_text { dead::set_out(bytes) } else { dead::hex(bytes) };
    shown.lines().try_for_each(|line| print::line(&print::escaped(line)))
}

/// Refuses to change the journal where nothing may be changed.
fn may_change(session: &Session, what: &str) -> Result<(), Report> {
    match session.mode() {
        Mode::Normal => Ok(()),
        Mode::ReadOnly => Err(Report::failed(format!("read-only: refused to {what}"), "leave out --read-only")),
        Mode::DryRun => {
            Err(Report { sentence: format!("dry run: this would {what}"), hint: String::new(), exit: Exit::Done })
        }
    }
}

async fn edit(journal: &Journal, job: &JobId, number: i64, session: &Session) -> Result<Exit, Report> {
    let (known, mut dead) = found(journal, job, number)?;
    if let Some(fate) = &dead.fate {
        let words = format!("dead letter {number} of {job} was {}", fate.ending.as_str());
        return Err(Report::failed(words, "what is settled is not edited"));
    }
    may_change(session, &format!("edit dead letter {number} of {job}"))?;
    let cloud = acting(&known, session).await?;
    let mut replay = Replay::new(&cloud, &known, false)?;
    let unwritable = |error: std::io::Error| Report::failed(format!("a file to edit could not be made: {error}"), "");
    let folder = tempfile::Builder::new().prefix("dead-letter-").tempdir_in(&session.state).map_err(unwritable)?;
    let path = folder.path().join(format!("{job}-{number}.json"));
    loop {
        let before = dead::to_edit(&known, &dead);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(unwritable)?;
        file.write_all(before.as_bytes()).map_err(unwritable)?;
        drop(file);
        run_editor(&path)?;
        let after = std::fs::read(&path)
            .map_err(|error| Report::failed(format!("what was saved could not be read: {error}"), ""))?;
        let after = String::from_utf8_lossy(&after).into_owned();
        let draft = dead::edited(&before, &after)
            .map_err(|reason| Report::failed(reason, "dead letters are kept as they were"))?;
        let Some(draft) = draft else {
            print::line("nothing was changed")?;
            return Ok(Exit::Done);
        };
        journal.set_draft(job, number, Some(&draft))?;
        dead.draft = Some(draft);
        let reason = match session.answered(replay.check(&dead)).await? {
            Ok(Some(item)) => {
                if session.global.json {
                    print::json(&json!({ "job": job, "number": number, "outcome": "fit", "bytes": item.size }))?;
                } else {
                    print::line(&format!("it is fit now: put it with `sluice dead replay {job} {number}`"))?;
                }
                return Ok(Exit::Done);
            }
            Ok(None) => "the job's options (--filter, --skip-expired) leave it out".to_owned(),
            Err(reason) => reason,
        };
        journal.set_tried(job, number, &reason)?;
        dead.tried = Some(reason.clone());
        let words = format!("what was saved can't be put: {}", print::escaped(&reason));
        if !std::io::stdin().is_terminal() || !again(&words) {
            let hint = format!("it is kept: `sluice dead edit {job} {number}` goes on with it");
            return Err(Report::failed(words, hint));
        }
    }
}

/// Asks whether the editor is opened again.
fn again(words: &str) -> bool {
    eprint!("{words}\nopen it again? [Y/n] ");
    !matches!(answer().trim(), "n" | "N" | "no")
}

fn answer() -> String {
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok();
    answer
}

/// Runs the person's editor on `path`, as git and others do: the variable may hold options.
fn run_editor(path: &std::path::Path) -> Result<(), Report> {
    let editor = dead::editor();
    let status =
        std::process::Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sluice").arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Report::failed(
            format!("the editor {editor:?} ended with {status}"),
            "nothing was changed; set VISUAL or EDITOR to the one that you use",
        )),
        Err(error) => Err(Report::failed(format!("the editor {editor:?} could not be started: {error}"), "")),
    }
}

/// Clients that act where the job acts, and audit what they change as the job's.
async fn acting(job: &Job, session: &Session) -> Result<Cloud, Report> {
    let context = crate::jobs::replicate::writes_in(job);
    let guard = audit::guard(&session.journal_path(), &context, Some(&job.id), session.mode())?;
    Ok(Cloud::connect(&context, guard).await?)
}

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

/// Asks for a whole word, unless the person said yes before.
pub(super) fn ask(session: &Session, question: &str, word: &str) -> Result<(), Report> {
    if session.global.yes || session.mode() != Mode::Normal {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Report::bad_arguments(format!("{question}, and nobody is there to ask"), "pass --yes"));
    }
    eprint!("{question}\ntype {word} to do it: ");
    if answer().trim() == word { Ok(()) } else { Err(Report::failed("nothing was changed", "")) }
}

async fn replay(journal: &Journal, which: &Which, overwrite: bool, session: &Session) -> Result<Exit, Report> {
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
            print::line(&format!("{number}: {}", print::escaped(&replayed.reason())))?;
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

fn drop_them(journal: &Journal, which: &Which, session: &Session) -> Result<Exit, Report> {
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
        "job": dead.job, "number": dead.number, "time": time(dead.at_ms), "source": dead.letter.source,
        "line": dead.letter.line, "offset": dead.letter.offset, "shard": dead.letter.shard,
        "sequence": dead.letter.sequence, "reason": dead.letter.reason,
        "bytes": BASE64_STANDARD.encode(&dead.letter.payload), "state": state(dead),
        "draft": dead.draft.as_ref().map(|draft| BASE64_STANDARD.encode(draft)), "tried": dead.tried,
        "settled": dead.fate.map(|fate| time(fate.at_ms)),
    })
}
