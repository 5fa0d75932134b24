//! `sluice audit`: every change made, by whom and when, and its opposite where AWS has one.

use std::io::IsTerminal as _;

use clap::Args;
use serde_json::json;

use super::args::Global;
use super::capacity::ask;
use super::guarded;
use super::print::{self, Columns, Side, time};
use super::report::{Exit, Report};
use super::session::Session;
use super::watch::WatchArgs;
use crate::cloud::guard::Outcome;
use crate::cloud::{Cloud, Context, Mode};
use crate::jobs::JobId;
use crate::jobs::journal::{AuditFilter, AuditLine, now_ms};
use crate::jobs::undo::{self, Look, Opposite, Standing, UndoError};

/// Which changes, or which one to undo.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only the newest so many.
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    pub last: usize,
    /// Only since then: so long ago such as 2h, a date, or a time such as 2026-11-21T14:00:00Z.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<i64>,
    /// Only what this job sent.
    #[arg(add = super::complete::jobs(), long, value_name = "ID")]
    pub job: Option<String>,
    /// Only changes of this table or stream.
    #[arg(add = super::complete::tables(), long, value_name = "NAME", visible_alias = "stream")]
    pub table: Option<String>,
    /// Print each as the `aws` command that equals it.
    #[arg(long)]
    pub commands: bool,
    /// Set again what was there before line N: shows before and after, and asks.
    #[arg(long, value_name = "N", conflicts_with_all = ["since", "job", "table", "commands", "watch"])]
    pub undo: Option<i64>,
    /// Undo it also where somebody has changed it since.
    #[arg(long, requires = "undo")]
    pub force: bool,
    /// Repeat.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// A moment in the past, ms since epoch.
fn since(text: &str) -> Result<i64, String> {
    match super::work::from(text)? {
        crate::flow::StartAt::Time(at_ms) => Ok(at_ms),
        _ => Err(format!("{text:?} is no time: write 2h, 2026-11-21 or 2026-11-21T14:00:00Z")),
    }
}

/// Prints the audit, oldest first, or undoes a line of it.
pub async fn run(args: &AuditArgs, session: &Session) -> Result<Exit, Report> {
    match args.undo {
        Some(number) => undo_line(number, args.force, session).await,
        None => args.watch.repeat(session.global.json, || std::future::ready(show(args, session))).await,
    }
}

fn show(args: &AuditArgs, session: &Session) -> Result<(), Report> {
    let filter =
        AuditFilter { since_ms: args.since, job: args.job.clone().map(JobId), target: args.table.clone(), after: 0 };
    let lines = match session.journal_if_any()? {
        Some(journal) => journal.audit_of(&filter, args.last)?,
        None => Vec::new(),
    };
    let mut columns = Columns::new(&[
        ("N", Side::Right),
        ("TIME", Side::Left),
        ("WHO", Side::Left),
        ("JOB", Side::Left),
        ("WHERE", Side::Left),
        ("CHANGE", Side::Left),
        ("TARGET", Side::Left),
        ("OUTCOME", Side::Left),
        ("UNDO", Side::Left),
        ("REQUEST", Side::Left),
    ]);
    for line in lines.iter().rev() {
        let opposite = undo::opposite(line);
        if session.global.json {
            print::json(&json!({
                "number": line.number, "time": time(line.at_ms), "who": line.who, "job": line.job,
                "context": line.context, "service": line.change.service, "operation": line.change.operation,
                "target": line.change.target, "request": line.change.request, "before": line.change.before,
                "aws": line.change.as_aws_command_in(&line.context),
                "outcome": line.outcome.as_ref().map(Outcome::name),
                "outcome_words": line.outcome.as_ref().and_then(Outcome::words),
                "can_undo": opposite.is_ok(), "why_not": opposite.err(),
                "undoes": line.change.undoes, "undone_by": line.undone_by,
            }))?;
            continue;
        }
        if args.commands {
            let outcome = outcome_cell(line);
            let (number, time) = (line.number, time(line.at_ms));
            print::line(&format!("# {number} {time}  {}  {}  {outcome}", line.who, at(&line.context)))?;
            print::line(&command(line))?;
            continue;
        }
        columns.row(&[
            line.number.to_string(),
            time(line.at_ms),
            line.who.clone(),
            line.job.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            at(&line.context),
            format!("{} {}", line.change.service, line.change.operation),
            line.change.target.clone(),
            outcome_cell(line),
            undo_cell(line, opposite.is_ok()),
            line.change.request.clone(),
        ]);
    }
    if session.global.json || args.commands && !lines.is_empty() {
        return Ok(());
    }
    if lines.is_empty() {
        let nothing = filter == AuditFilter::default();
        return print::line(if nothing {
            "nothing was changed from this state folder yet"
        } else {
            "no change from this state folder is like that"
        });
    }
    print::columns(&columns)
}

/// What became of it, as far as it is known.
fn outcome_cell(line: &AuditLine) -> String {
    line.outcome.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn undo_cell(line: &AuditLine, can: bool) -> String {
    match (line.undone_by, line.change.undoes) {
        (Some(by), _) => format!("by {by}"),
        (None, Some(of)) if can => format!("of {of}, yes"),
        (None, Some(of)) => format!("of {of}"),
        (None, None) if can => "yes".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// The `aws` command, in the place where the change was made; of what was refused a comment: it is not to be done again.
fn command(line: &AuditLine) -> String {
    let command = line.change.as_aws_command_in(&line.context);
    print::shown(&if line.is_refused() && !command.starts_with('#') { format!("# {command}") } else { command })
}

/// A context in few words.
fn at(context: &Context) -> String {
    let parts = [context.profile.as_deref(), context.region.as_deref(), context.endpoint_url.as_deref()];
    let said: Vec<&str> = parts.into_iter().flatten().collect();
    if said.is_empty() { "-".to_owned() } else { said.join(" ") }
}

impl From<UndoError> for Report {
    fn from(error: UndoError) -> Self {
        match error {
            UndoError::Bump(error) => error.into(),
            UndoError::Unfit(why) => Self::failed(why, ""),
        }
    }
}

/// Where a line that was made in `there` is undone, by a command that acts `here` and was `asked` to by its options; else the
/// other place that they mean. A line without a profile was made as the default one, or with keys of the environment.
fn made_in(there: &Context, here: &Context, asked: &Context) -> Result<Context, Context> {
    let is_asked = *asked != Context::default();
    if is_asked && (!there.is_same_place(asked) || asked.profile.is_some() && !there.has_profile_of(asked)) {
        return Err(asked.clone());
    }
    if there.profile.is_none() && !there.has_profile_of(here) {
        return Err(here.clone());
    }
    Ok(Context { region: there.region.clone().or_else(|| here.region.clone()), ..there.clone() })
}

async fn looked(cloud: &Cloud, opposite: &Opposite) -> Result<Look, Report> {
    let look = tokio::time::timeout(super::session::PATIENCE, undo::look(cloud, opposite)).await;
    Ok(look.map_err(|_| Report::failed(format!("no answer from {}", at(&cloud.context)), "check the network"))??)
}

/// Asks for what needs a yes, and for the name of what would go above `max_write_capacity`.
fn confirm(number: i64, opposite: &Opposite, look: &Look, words: &str, session: &Session) -> Result<(), Report> {
    if session.mode() != Mode::Normal {
        return Ok(());
    }
    for (resource, now, to) in look.writes(opposite) {
        guarded::within_most(session, &resource.to_string(), now, to)?;
    }
    if session.global.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Report::bad_arguments(
            format!("to undo line {number} needs a yes, and nobody is there to ask"),
            format!("pass --yes to set it back:\n  {words}"),
        ));
    }
    ask(words)
}

/// What is there `now`, unless it is no longer what was `shown`.
fn still(shown: &Look, now: Look, opposite: &Opposite, force: bool) -> Result<Look, Report> {
    if now.state == shown.state {
        return Ok(now);
    }
    let words = format!("{opposite} changed while it was asked about: now {}", now.state);
    if force && now.standing != Standing::Back {
        eprintln!("{words}");
        return Ok(now);
    }
    Err(Report::failed(words, "nothing was undone: look at it again with the same command, or pass --force"))
}

async fn undo_line(number: i64, force: bool, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal_if_any()?;
    let line = match &journal {
        Some(journal) => journal.audit_line(number)?,
        None => None,
    };
    let (Some(journal), Some(line)) = (journal, line) else {
        return Err(Report::failed(format!("the audit has no line {number}"), "`sluice audit` lists them"));
    };
    let opposite = undo::opposite(&line).map_err(|why| {
        Report::failed(format!("line {number} ({}) can't be undone: {why}", line.change.operation), "")
    })?;
    let Global { profile, region, .. } = session.global.clone();
    let context = made_in(&line.context, &session.context, &Context { profile, region, ..session.context.clone() })
        .map_err(|there| {
            Report::bad_arguments(
                format!("line {number} was made in {}, not in {}", at(&line.context), at(&there)),
                "leave out --profile, --region and --endpoint-url (AWS_PROFILE and AWS_ENDPOINT_URL too): it is undone \
                 where it was made",
            )
        })?;
    let there = guarded::acting_in(context, session).await?;
    let session = &there;
    let cloud = there.cloud().await?;
    let look = looked(&cloud, &opposite).await?;
    match &look.standing {
        Standing::Back => {
            let words = format!("nothing to undo: {opposite} is as it was before line {number}");
            let row = json!({ "undone": null, "what": opposite.to_string(), "words": words, "changed": false });
            print::said(session, &words, &row)?;
            return Ok(Exit::Done);
        }
        Standing::MovedOn(now) => {
            let later: Vec<String> = undo::since(&journal, &line)?
                .iter()
                .map(|later| format!("line {} ({}, {})", later.number, later.who, time(later.at_ms)))
                .collect();
            let by = if later.is_empty() {
                "not from this state folder".to_owned()
            } else {
                format!("by {}", later.join(", "))
            };
            let words = format!("{opposite} was changed after line {number}, {by}: now {now}");
            if !force {
                let hint = format!("look at it first; --force sets it back all the same:\n  {}", look.words);
                return Err(Report::failed(words, hint));
            }
            eprintln!("{words}");
        }
        Standing::AsLeft => {}
    }
    if let Some(id) = line.job.as_ref().filter(|id| journal.is_alive(id)) {
        eprintln!("{id} made this change and is still running: it goes on without it");
    }
    let words = format!("in {}: {}", at(&cloud.place()), look.words);
    confirm(number, &opposite, &look, &words, session)?;
    // A person who was asked may have taken an hour to answer.
    let may_have_asked = !session.global.yes || session.guardrails.max_write_capacity.is_some();
    let look = if session.mode() == Mode::Normal && may_have_asked {
        still(&look, looked(&cloud, &opposite).await?, &opposite, force)?
    } else {
        look
    };
    let kept = (session.mode() == Mode::Normal).then_some(&journal);
    let mut told = Ok(());
    let mut step = |from: u64, to: u64| {
        if !session.global.json && told.is_ok() {
            told = print::line(&format!("{from} to {to} shards"));
        }
    };
    undo::undo(&cloud, kept, number, &opposite, &look, &mut step).await?;
    told?;
    if session.global.json {
        print::json(
            &json!({ "undone": number, "what": opposite.to_string(), "words": look.words, "time": time(now_ms()) }),
        )?;
    } else {
        print::line(&words)?;
        print::line(&format!("line {number} is undone: sluice audit --table {} shows both", line.change.target))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::guard::Change;

    fn line() -> AuditLine {
        let change = Change {
            service: "dynamodb".into(),
            operation: "UpdateTable".into(),
            target: "t".into(),
            request: r#"{"TableName":"t's"}"#.into(),
            ..Change::default()
        };
        let context = Context { region: Some("eu-west-1".into()), ..Context::default() };
        AuditLine { number: 3, context, change, ..AuditLine::default() }
    }

    #[test]
    fn a_command_acts_where_the_change_was_made() {
        assert_eq!(
            command(&line()),
            r#"aws dynamodb update-table --cli-input-json '{"TableName":"t'\''s"}' --region 'eu-west-1'"#
        );
    }

    #[test]
    fn a_line_is_undone_as_the_profile_that_made_it_or_not_at_all() {
        let context = |profile: Option<&str>, region: Option<&str>| Context {
            profile: profile.map(str::to_owned),
            region: region.map(str::to_owned),
            ..Context::default()
        };
        let made = context(Some("prod"), Some("eu-west-1"));
        let none = Context::default();
        // What the environment names does not matter to a line that says its profile; an option does.
        assert_eq!(made_in(&made, &context(Some("dev"), None), &none), Ok(made.clone()));
        assert!(made_in(&made, &none, &context(Some("dev"), None)).is_err());
        assert!(made_in(&made, &none, &context(None, Some("us-east-1"))).is_err());
        assert_eq!(made_in(&made, &none, &context(Some("prod"), None)), Ok(made.clone()));
        let by_default = context(None, Some("eu-west-1"));
        assert!(made_in(&by_default, &context(Some("dev"), None), &none).is_err());
        assert!(made_in(&by_default, &context(Some("dev"), None), &context(Some("dev"), None)).is_err());
        assert_eq!(made_in(&by_default, &none, &none), Ok(by_default.clone()));
    }

    #[test]
    fn what_was_refused_is_no_command_to_run_again() {
        let outcome = Some(Outcome::Refused("LimitExceededException: no more today".into()));
        let refused = AuditLine { outcome, ..line() };
        assert!(command(&refused).starts_with("# aws dynamodb update-table"));
        assert_eq!([outcome_cell(&refused), outcome_cell(&line())], ["refused: LimitExceededException", "-"]);
    }

    #[test]
    fn a_line_says_whether_it_can_be_undone_and_what_undid_it() {
        assert_eq!([undo_cell(&line(), true), undo_cell(&line(), false)], ["yes", "-"]);
        assert_eq!(undo_cell(&AuditLine { undone_by: Some(9), ..line() }, true), "by 9");
        let undoing = AuditLine { change: Change { undoes: Some(2), ..line().change }, ..line() };
        assert_eq!(undo_cell(&undoing, true), "of 2, yes");
    }

    #[test]
    fn since_is_a_time_in_the_past() {
        assert!(since("2h").unwrap() < now_ms());
        assert!(since("latest").is_err() && since("soon").is_err());
    }
}

#[cfg(all(test, feature = "local"))]
mod asked {
    use super::*;
    use crate::cloud::Guard;
    use crate::jobs::undo::CapacityPart;
    use crate::local::testing::{bought, is_active, make_table};
    use crate::local::{Local, Options};

    #[tokio::test]
    async fn what_changed_while_a_person_was_asked_is_not_undone_unless_forced() {
        let local = Local::start(Options::default()).await.unwrap();
        let endpoint_url = Some(local.endpoint().to_owned());
        let context = Context { region: Some("eu-west-1".into()), endpoint_url, ..Context::default() };
        let cloud = Cloud::connect(&context, Guard::open()).await.unwrap();
        make_table(&cloud, "quotes", 10).await;
        let part = CapacityPart { index: None, before: (5, 30), after: (5, 10) };
        let opposite = Opposite::Capacity { table: "quotes".into(), parts: vec![part] };
        let set = async |write| {
            let update = cloud.dynamodb.update_table().table_name("quotes");
            update.provisioned_throughput(bought(write)).send().await.unwrap();
            is_active(&cloud, "quotes").await;
        };

        let shown = looked(&cloud, &opposite).await.unwrap();
        let writes: Vec<_> = shown.writes(&opposite).into_iter().map(|(_, now, to)| (now, to)).collect();
        assert_eq!(writes, [(10, 30)]);
        let again = looked(&cloud, &opposite).await.unwrap();
        assert!(still(&shown, again, &opposite, false).is_ok());
        set(20).await;
        let moved = looked(&cloud, &opposite).await.unwrap();
        assert!(still(&shown, moved.clone(), &opposite, false).is_err());
        assert_eq!(still(&shown, moved.clone(), &opposite, true).unwrap(), moved);
        set(30).await;
        let back = looked(&cloud, &opposite).await.unwrap();
        assert!(still(&shown, back, &opposite, true).is_err(), "there is nothing left to undo");
    }
}
