//! `sluice capacity`: shows or sets the capacity of a table, an index or a stream, and gives back what was raised.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use serde_json::json;

use super::print::{self, Columns, Side, time};
use super::report::{Exit, Report};
use super::session::Session;
use super::watch::WatchArgs;
use super::{guarded, owed};
use crate::capacity::{Decreases, Left, Resource, shards};
use crate::cloud::inventory::{self, Provisioned, Table};
use crate::cloud::{Cloud, Mode, price};
use crate::jobs::bump::{self, BumpError};
use crate::jobs::journal::{Bump, Journal, now_ms};
use crate::jobs::undo;

/// What to show or set.
#[derive(Debug, Args)]
pub struct CapacityArgs {
    /// The table.
    #[arg(add = super::complete::tables(), required_unless_present_any = ["stream", "give_back"], conflicts_with = "stream")]
    pub table: Option<String>,
    /// Set the write capacity, WCU.
    #[arg(long, value_name = "WCU", value_parser = clap::value_parser!(u64).range(1..), requires = "table")]
    pub write: Option<u64>,
    /// Set the read capacity, RCU.
    #[arg(long, value_name = "RCU", value_parser = clap::value_parser!(u64).range(1..), requires = "table")]
    pub read: Option<u64>,
    /// Of this index, not of the table itself.
    #[arg(add = super::complete::indexes(), long, value_name = "NAME", requires = "table")]
    pub index: Option<String>,
    /// Of this Kinesis stream.
    #[arg(add = super::complete::streams(), long, value_name = "NAME")]
    pub stream: Option<String>,
    /// Set the number of open shards, in as many steps as AWS needs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000), requires = "stream")]
    pub shards: Option<u64>,
    /// Set it back to what it was before it was raised; without a name, all that jobs left raised which no longer run.
    #[arg(long, conflicts_with_all = ["write", "read", "shards"])]
    pub give_back: bool,
    /// Repeat what is shown.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// Shows, sets or gives back.
pub async fn run(args: CapacityArgs, session: &Session) -> Result<Exit, Report> {
    if args.watch.watch.is_some() {
        if is_change(&args) {
            return Err(Report::bad_arguments("--watch repeats what is shown", "leave it out along with a change"));
        }
        let watch = args.watch.clone();
        return watch.repeat(session.global.json, || show_once(&args, session)).await;
    }
    act(&args, session).await
}

async fn show_once(args: &CapacityArgs, session: &Session) -> Result<(), Report> {
    act(args, session).await.map(drop)
}

async fn act(args: &CapacityArgs, session: &Session) -> Result<Exit, Report> {
    match (&args.table, &args.stream) {
        (Some(table), _) => of_table(args, table, session).await,
        (None, Some(stream)) => of_stream(args, stream, session).await,
        (None, None) => owed::give_all_back(session).await,
    }
}

async fn of_table(args: &CapacityArgs, name: &str, session: &Session) -> Result<Exit, Report> {
    let cloud = if is_change(args) { session.cloud().await? } else { session.reading().await? };
    let table = session.answered(inventory::table(&cloud, name)).await?;
    let index = args.index.as_deref();
    let now = throughput(&table, index)?;
    let resource = Resource::of_table(&table.name, index);
    if args.give_back {
        // Of a table, its indexes too: what was raised together is given back together.
        let is_meant = |bump: &Bump| match index {
            Some(_) => bump.resource == resource,
            None => bump.resource.table() == Some(&table.name),
        };
        return give_back(&cloud, session, &resource, is_meant).await;
    }
    if args.write.is_none() && args.read.is_none() {
        return show(&table, &cloud, session);
    }
    let Some(now) = now else {
        return Err(Report::failed(
            format!("{resource} is on demand: it has no provisioned capacity to set"),
            "AWS scales it by itself",
        ));
    };
    let after = Provisioned { read: args.read.unwrap_or(now.read), write: args.write.unwrap_or(now.write), ..now };
    let mut change = in_words(&resource.to_string(), now, after);
    if (after.read, after.write) == (now.read, now.write) {
        let row = json!({
            "table": table.name, "index": args.index, "read_capacity": now.read, "write_capacity": now.write,
            "changed": false,
        });
        print::said(session, &format!("nothing to change: {resource} has that capacity"), &row)?;
        return Ok(Exit::Done);
    }
    if after.read < now.read || after.write < now.write {
        let left = Decreases::from(now).left(now_ms());
        if left.next_ms.is_some() && session.mode() == Mode::Normal {
            return Err(Report::failed(format!("{resource} can't be lowered: {left}"), "AWS allows no more today"));
        }
        change = format!("{change}\ndecreases: {left}");
    }
    guarded::within_most(session, name, now.write, after.write)?;
    if session.mode() == Mode::Normal && !session.global.yes {
        ask(&change)?;
    }
    // A dry run makes no journal.
    let journal =
        if session.mode() == Mode::Normal && after.write != now.write { Some(session.journal()?) } else { None };
    bump::change(&cloud, journal.as_ref(), &table, index, now.write, (after.read, after.write), None).await?;
    if session.global.json {
        print::json(&json!({
            "table": table.name, "index": args.index,
            "read_before": now.read, "read_after": after.read,
            "write_before": now.write, "write_after": after.write,
        }))?;
    } else {
        print::line(&change)?;
        if after.write > now.write {
            print::line(&format!("give it back with: sluice capacity {} --give-back", resource.as_arguments()))?;
        }
    }
    Ok(Exit::Done)
}

fn is_change(args: &CapacityArgs) -> bool {
    args.write.is_some() || args.read.is_some() || args.shards.is_some() || args.give_back
}

/// Gives back the raises of this place that `is_meant` picks.
async fn give_back(
    cloud: &Cloud,
    session: &Session,
    resource: &Resource,
    is_meant: impl Fn(&Bump) -> bool,
) -> Result<Exit, Report> {
    let journal = session.journal()?;
    let here = cloud.place();
    let mut open = journal.open_bumps()?;
    open.retain(|bump| bump.context.is_surely(&here) && is_meant(bump));
    if open.is_empty() {
        let row = json!({
            "table": resource.table(), "index": resource.index(), "stream": resource.stream(), "changed": false,
        });
        let words = format!("nothing to give back: {resource} was not raised from this machine");
        print::said(session, &words, &row)?;
        return Ok(Exit::Done);
    }
    for bump in &open {
        if let Some(id) = bump.job.as_ref().filter(|id| journal.is_alive(id)) {
            eprintln!("{id} is still running and raised {}: it goes on with less", bump.resource);
        }
    }
    if session.mode() == Mode::Normal && !session.global.yes {
        let words: Vec<String> = open.iter().map(owing).collect();
        ask(&words.join("\n"))?;
    }
    owed::settle(cloud, &journal, &open, &|one| owed::say(one, session)).await
}

fn owing(bump: &Bump) -> String {
    let Bump { resource, before, after, .. } = bump;
    format!("{resource}: back from {after} to {before} {}", resource.unit())
}

impl From<BumpError> for Report {
    fn from(error: BumpError) -> Self {
        match error {
            BumpError::Cloud(error) => error.into(),
            BumpError::Journal(error) => error.into(),
        }
    }
}

/// The throughput of the table or of one of its indexes; an unknown index is answered with those that exist.
fn throughput(table: &Table, index: Option<&str>) -> Result<Option<Provisioned>, Report> {
    let Some(name) = index else { return Ok(table.provisioned) };
    if let Some(index) = table.indexes.iter().find(|index| index.name == name) {
        return Ok(index.provisioned);
    }
    let existing: Vec<String> = table.indexes.iter().map(|index| index.name.clone()).collect();
    let hint = if existing.is_empty() { "the table has none".to_owned() } else { inventory::nearest(name, &existing) };
    Err(Report::failed(format!("table {} has no index {name}", table.name), hint))
}

fn in_words(what: &str, before: Provisioned, after: Provisioned) -> String {
    let mut changes = Vec::new();
    for (unit, from, to) in [("WCU", before.write, after.write), ("RCU", before.read, after.read)] {
        if from != to {
            changes.push(format!("from {} to {} {unit}", print::grouped(from), print::grouped(to)));
        }
    }
    let dollars = dollars_per_hour(after) - dollars_per_hour(before);
    let sign = if dollars < 0.0 { "-" } else { "+" };
    format!("{what}: {} ({sign}${:.2} an hour)", changes.join(", "), dollars.abs())
}

fn dollars_per_hour(capacity: Provisioned) -> f64 {
    price::write_dollars_per_hour(capacity.write) + price::read_dollars_per_hour(capacity.read)
}

/// Asks on the terminal; without one there is nobody to ask.
pub fn ask(change: &str) -> Result<(), Report> {
    if !std::io::stdin().is_terminal() {
        return Err(Report::bad_arguments("this changes capacity and nobody is there to ask", "pass --yes"));
    }
    eprint!("{change}\nchange it? [y/N] ");
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok();
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Report::failed("nothing was changed", "")) }
}

fn show(table: &Table, cloud: &Cloud, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal_if_any()?;
    let own = std::iter::once((None, table.provisioned));
    let indexes = table.indexes.iter().map(|index| (Some(index.name.as_str()), index.provisioned));
    let mut columns = Columns::new(&[
        ("OF", Side::Left),
        ("RCU", Side::Right),
        ("WCU", Side::Right),
        ("$/HOUR", Side::Right),
        ("DECREASES LEFT", Side::Right),
        ("WCU BEFORE", Side::Right),
        ("OWED BY", Side::Left),
    ]);
    for (index, capacity) in own.chain(indexes) {
        let bump = open_bump(journal.as_ref(), cloud, &Resource::of_table(&table.name, index))?;
        let left = capacity.map(|capacity| Decreases::from(capacity).left(now_ms()));
        if session.global.json {
            print::json(&json!({
                "table": table.name, "index": index, "status": table.status,
                "read_capacity": capacity.map(|c| c.read), "write_capacity": capacity.map(|c| c.write),
                "dollars_per_hour": capacity.map(dollars_per_hour),
                "decreases_today": left.map(|left| left.used), "decreases_left": left.map(|left| left.now),
                "next_decrease": left.and_then(|left| left.next_ms).map(time),
                "give_back_to": bump.as_ref().map(|b| b.before), "owed_by": bump.and_then(|b| b.job),
            }))?;
            continue;
        }
        let units = |of: fn(Provisioned) -> u64| {
            capacity.map_or_else(|| "on demand".to_owned(), |capacity| print::grouped(of(capacity)))
        };
        columns.row(&[
            index.unwrap_or(&table.name).to_owned(),
            units(|c| c.read),
            units(|c| c.write),
            capacity.map_or_else(String::new, |c| format!("{:.4}", dollars_per_hour(c))),
            left.map_or_else(String::new, left_cell),
            bump.as_ref().map_or_else(|| "-".to_owned(), |b| print::grouped(b.before)),
            bump.map_or_else(|| "-".to_owned(), |b| owed_by(&b)),
        ]);
    }
    if !session.global.json {
        print::columns(&columns)?;
    }
    Ok(Exit::Done)
}

fn left_cell(left: Left) -> String {
    match left.next_ms {
        Some(at) => format!("0 until {}", crate::capacity::decreases::clock(at)),
        None => left.now.to_string(),
    }
}

fn owed_by(bump: &Bump) -> String {
    bump.job.as_ref().map_or_else(|| "raised by hand".to_owned(), ToString::to_string)
}

fn open_bump(journal: Option<&Journal>, cloud: &Cloud, resource: &Resource) -> Result<Option<Bump>, Report> {
    Ok(match journal {
        Some(journal) => journal.open_bump(&cloud.place(), resource)?,
        None => None,
    })
}

async fn of_stream(args: &CapacityArgs, name: &str, session: &Session) -> Result<Exit, Report> {
    let cloud = if is_change(args) { session.cloud().await? } else { session.reading().await? };
    let stream = session.answered(inventory::stream(&cloud, name)).await?;
    let resource = Resource::Stream(stream.name.clone());
    if args.give_back {
        return give_back(&cloud, session, &resource, |bump| bump.resource == resource).await;
    }
    let journal = session.journal_if_any()?;
    let open = stream.open_shards();
    // Others' changes count too, but only AWS knows them.
    let since = now_ms() - shards::DAY_MS;
    let used = match &journal {
        Some(journal) => journal.audit_count(&cloud.place(), "UpdateShardCount", name, since)?,
        None => 0,
    };
    let Some(to) = args.shards else {
        let bump = open_bump(journal.as_ref(), &cloud, &resource)?;
        if session.global.json {
            print::json(&json!({
                "stream": name, "status": stream.status, "mode": stream.mode, "shards": open,
                "changes_24h": used, "give_back_to": bump.as_ref().map(|b| b.before), "owed_by": bump.and_then(|b| b.job),
            }))?;
            return Ok(Exit::Done);
        }
        let mut columns = Columns::new(&[
            ("STREAM", Side::Left),
            ("MODE", Side::Left),
            ("OPEN SHARDS", Side::Right),
            ("CHANGES IN 24 H FROM HERE", Side::Right),
            ("SHARDS BEFORE", Side::Right),
            ("OWED BY", Side::Left),
        ]);
        columns.row(&[
            name.to_owned(),
            stream.mode.clone(),
            open.to_string(),
            format!("{used} of {}", shards::CHANGES_A_DAY),
            bump.as_ref().map_or_else(|| "-".to_owned(), |b| b.before.to_string()),
            bump.map_or_else(|| "-".to_owned(), |b| owed_by(&b)),
        ]);
        print::columns(&columns)?;
        return Ok(Exit::Done);
    };
    let open = bump::provisioned_shards(&stream)?;
    let steps = shards::steps(open, to);
    if steps.is_empty() {
        let row = json!({ "stream": name, "shards": open, "changed": false });
        print::said(session, &format!("nothing to change: {resource} has {open} open shards"), &row)?;
        return Ok(Exit::Done);
    }
    let words = format!(
        "{resource}: {} (AWS takes at most double and at least half a call, {} calls in 24 hours; {used} were made from here)",
        shards::in_words(open, &steps),
        shards::CHANGES_A_DAY
    );
    if session.mode() == Mode::Normal && !session.global.yes {
        ask(&words)?;
    }
    let journal = if session.mode() == Mode::Normal { Some(session.journal()?) } else { None };
    let mut told = Ok(());
    let mut done = |at: u64, step: u64| {
        if !session.global.json && told.is_ok() {
            told = print::line(&format!("{resource}: {at} to {step} shards"));
        }
    };
    let through = bump::through_shards(&cloud, journal.as_ref(), name, open, &steps, undo::STEP, &mut done).await;
    through.map_err(|(at, error)| {
        let mut report = Report::from(error);
        if at != open {
            report.sentence = format!("{resource} is at {at} shards, on its way to {to}: {}", report.sentence);
        }
        report
    })?;
    told?;
    if session.global.json {
        print::json(&json!({ "stream": name, "shards_before": open, "shards_after": to, "steps": steps }))?;
    } else if to > open {
        print::line(&format!("give it back with: sluice capacity {} --give-back", resource.as_arguments()))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_before_after_and_what_it_costs() {
        let before = Provisioned { read: 10, write: 1_000, ..Provisioned::default() };
        let words = in_words("table quotes", before, Provisioned { write: 2_000, ..before });
        assert_eq!(words, "table quotes: from 1,000 to 2,000 WCU (+$0.65 an hour)");
    }
}
