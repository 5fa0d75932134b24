//! What `sluice restore` does before it writes: the plan, the raise that it needs, and the table that is yet to be made.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use super::report::Report;
use super::session::Session;
use super::{guarded, print};
use crate::capacity::Resource;
use crate::capacity::decreases::Decreases;
use crate::cloud::inventory::Table;
use crate::cloud::{Class, Cloud, Mode, price};
use crate::jobs::create_table::{self, CreateTableError, NewTable, SchemaSource, Waiting};
use crate::jobs::journal::now_ms;
use crate::jobs::plan::{self, Plan, PlanError, Target, grouped, span};
use crate::jobs::{Raise, RestoreSpec};

impl From<PlanError> for Report {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Cloud(error) => error.into(),
            error @ PlanError::Stdin => Self::bad_arguments(error.to_string(), ""),
            error => Self::failed(error.to_string(), ""),
        }
    }
}

impl From<CreateTableError> for Report {
    fn from(error: CreateTableError) -> Self {
        match error {
            CreateTableError::Cloud(error) => error.into(),
            error => Self::failed(error.to_string(), ""),
        }
    }
}

/// A time that people write: `2h`, `90m`, `2h 30m`.
pub fn within(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).map_err(|error| format!("{error}: write 2h, 90m or 2h 30m"))?;
    if parsed.as_secs() == 0 {
        Err("a restore takes at least a second: write 2h, 90m or 2h 30m".into())
    } else {
        Ok(parsed)
    }
}

/// The table that is restored into: there already, or yet to be made.
pub struct Destination {
    /// What a plan counts with.
    pub target: Target,
    /// The table to be made; `None` where it is there.
    pub new: Option<NewTable>,
}

/// Finds the table of `spec`, or what it is to be made of.
pub async fn destination(
    cloud: &Cloud,
    spec: &RestoreSpec,
    schema: Option<&SchemaSource>,
    session: &Session,
) -> Result<Destination, Report> {
    let found = session.answered(async { Ok(plan::target(cloud, &spec.table).await) }).await?;
    let Some(schema) = schema else {
        return match found {
            Ok(target) => Ok(Destination { target, new: None }),
            Err(error) if error.class == Class::NotFound => {
                let hint = format!("{}; or pass --create-table FILE (or export) to make it", error.hint);
                Err(Report::failed(error.what, hint.trim_start_matches("; ").to_owned()))
            }
            Err(error) => Err(error.into()),
        };
    };
    let new = create_table::read(cloud, schema, &spec.source, &spec.table).await?;
    match found {
        Ok(target) => {
            create_table::same_key(&spec.table, &target.schema.key, &new.schema.key)?;
            eprintln!("table {} exists with that key: it is left as it is", spec.table);
            Ok(Destination { target, new: None })
        }
        Err(error) if error.class == Class::NotFound => {
            Ok(Destination { target: Target::new(new.schema.clone()), new: Some(new) })
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the table. In a dry run its request is printed, and that is all that can be shown.
pub async fn make(new: &NewTable, session: &Session) -> Result<(), Report> {
    let cloud = session.cloud().await?;
    create_table::create(&cloud, new, Waiting::default(), &|words| eprintln!("{words}")).await?;
    Ok(())
}

/// Prints a plan on stdout: aligned lines for a person, one object for a script.
pub fn show(plan: &Plan, session: &Session) -> Result<(), Report> {
    if session.global.json {
        return print::json(plan);
    }
    print::line(text(plan).trim_end())
}

/// A plan as aligned lines.
fn text(plan: &Plan) -> String {
    let via = plan.stream.as_ref().map(|stream| format!(" over {stream}")).unwrap_or_default();
    let title = format!("plan: {} ← {}{via}", plan.table, plan.sources.join(", "));
    let mut text = print::shown(&title);
    text.push('\n');
    let lines = plan.lines();
    let names = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or_default();
    // A long value would push all remarks to the right: remarks begin where nearly all values have ended.
    let values = lines.iter().map(|line| line.value.chars().count()).max().unwrap_or_default().min(16);
    for line in lines {
        let row = format!("  {:<names$}  {:>values$}  {}", line.name, line.value, line.remark);
        text.push_str(&print::shown(row.trim_end()));
        text.push('\n');
    }
    for note in &plan.notes {
        text.push_str(&print::shown(&format!("  note: {note}")));
        text.push('\n');
    }
    text
}

/// Settles `--within`: says whether the present capacity suffices; with `bump` what it is raised to, once that is
/// agreed to; without, whether to go on although it does not suffice.
pub fn settle(plan: &Plan, bump: bool, table: Option<&Table>, session: &Session) -> Result<Option<Raise>, Report> {
    let Some(within) = &plan.within else { return Ok(None) };
    let wanted = span(within.seconds as f64);
    let time = plan.seconds.map_or_else(|| "an unknown time".to_owned(), span);
    if within.suffices {
        eprintln!("within {wanted}: the present capacity suffices, it takes {time} ({})", plan.limit_in_words);
        return Ok(None);
    }
    let too_slow = format!(
        "within {wanted} is not to be had at the present capacity: it takes {time} (limit: {})",
        plan.limit_in_words
    );
    if !bump {
        let hint = match plan.raise() {
            Some(raise) if within.obstacles.is_empty() => {
                format!("--bump raises {} to {} WCU for the time", plan.table, grouped(raise.table))
            }
            _ => within.obstacles.join("; "),
        };
        agree(&format!("{too_slow}\n  {hint}"), "start it anyway?", session, &too_slow, &hint)?;
        return Ok(None);
    }
    if !within.obstacles.is_empty() {
        return Err(Report::failed(too_slow, within.obstacles.join("; ")));
    }
    let Some(raise) = plan.raise() else {
        return Err(Report::failed(too_slow, "no raise of capacity mends that: see --plan"));
    };
    for (index, from, to) in plan.raises() {
        guarded::within_most(session, &Resource::of_table(&plan.table, index.as_deref()).to_string(), from, to)?;
    }
    let words = raise_in_words(plan, table);
    agree(&words, "raise it?", session, "this raises capacity", "")?;
    Ok(Some(raise))
}

/// What a raise does: from, to, what it costs, and whether it can be given back.
fn raise_in_words(plan: &Plan, table: Option<&Table>) -> String {
    let mut words = Vec::new();
    for (index, from, to) in plan.raises() {
        let what = index.as_ref().map_or_else(|| format!("table {}", plan.table), |name| format!("index {name}"));
        let dollars = price::write_dollars_per_hour(to) - price::write_dollars_per_hour(from);
        let today = table.and_then(|table| match &index {
            None => table.provisioned,
            Some(name) => table.indexes.iter().find(|i| i.name == *name).and_then(|i| i.provisioned),
        });
        // What is raised has to come down again.
        let decreases =
            today.map(|has| format!("; decreases: {}", Decreases::from(has).left(now_ms()))).unwrap_or_default();
        words.push(format!(
            "raise {what} from {} to {} WCU (+${dollars:.2} an hour){decreases}",
            grouped(from),
            grouped(to)
        ));
    }
    words.push(format!(
        "for about {}, ${:.2} more by list prices of {}; it is given back when the job ends",
        span(plan.within.as_ref().map_or(0.0, |within| within.seconds as f64)),
        plan.cost.raised_capacity,
        plan.cost.region
    ));
    words.join("\n")
}

/// Says `words` and asks; `-y` and modes that change nothing need no answer. Without a terminal there is nobody to ask.
fn agree(words: &str, question: &str, session: &Session, sentence: &str, hint: &str) -> Result<(), Report> {
    if session.global.yes || session.mode() != Mode::Normal {
        eprintln!("{words}");
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Report::bad_arguments(
            format!("{sentence} (nobody is there to ask)"),
            format!("{hint}; or pass --yes").trim_start_matches("; or ").to_owned(),
        ));
    }
    eprint!("{words}\n{question} [y/N] ");
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok();
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Report::failed("nothing was started", "")) }
}
