//! `sluice capacity`: shows or sets the provisioned throughput of a table, and gives back what was raised.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use serde_json::json;

use super::print::{self, Columns, Side};
use super::report::{Exit, Report};
use super::session::Session;
use crate::cloud::inventory::{self, Provisioned, Table};
use crate::cloud::{Cloud, Mode, price};
use crate::jobs::bump::{self, BumpError};

/// What to show or set.
#[derive(Debug, Args)]
pub struct CapacityArgs {
    /// The table.
    pub table: String,
    /// Set the write capacity, WCU.
    #[arg(long, value_name = "WCU", value_parser = clap::value_parser!(u64).range(1..))]
    pub write: Option<u64>,
    /// Set the read capacity, RCU.
    #[arg(long, value_name = "RCU", value_parser = clap::value_parser!(u64).range(1..))]
    pub read: Option<u64>,
    /// Of this index, not of the table itself.
    #[arg(long, value_name = "NAME")]
    pub index: Option<String>,
    /// Set the write capacity back to what it was before it was first raised.
    #[arg(long, conflicts_with_all = ["write", "read"])]
    pub give_back: bool,
}

/// Shows, sets or gives back.
pub async fn run(args: CapacityArgs, session: &Session) -> Result<Exit, Report> {
    let cloud = session.cloud().await?;
    let table = session.answered(inventory::table(&cloud, &args.table)).await?;
    let now = throughput(&table, args.index.as_deref())?;
    if args.write.is_none() && args.read.is_none() && !args.give_back {
        return show(&table, session);
    }
    if args.give_back {
        return give_back(&args, &cloud, session).await;
    }
    let Some(now) = now else {
        return Err(Report::failed(
            format!("{} is on demand: it has no provisioned capacity to set", named(&args)),
            "AWS scales it by itself",
        ));
    };
    let after = Provisioned { read: args.read.unwrap_or(now.read), write: args.write.unwrap_or(now.write), ..now };
    let change = in_words(&named(&args), now, after);
    if (after.read, after.write) == (now.read, now.write) {
        print::line(&format!("nothing to change: {} has that capacity", named(&args)))?;
        return Ok(Exit::Done);
    }
    if session.mode() == Mode::Normal && !session.global.yes {
        ask(&change)?;
    }
    // A dry run makes no journal.
    let journal =
        if session.mode() == Mode::Normal && after.write != now.write { Some(session.journal()?) } else { None };
    let index = args.index.as_deref();
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
            print::line(&format!("give it back with: sluice capacity {} --give-back", args.table))?;
        }
    }
    Ok(Exit::Done)
}

async fn give_back(args: &CapacityArgs, cloud: &Cloud, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal()?;
    let Some(bump) = journal.open_bump(&session.context, &args.table, args.index.as_deref())? else {
        print::line(&format!("nothing to give back: {} was not raised from this machine", named(args)))?;
        return Ok(Exit::Done);
    };
    let words = bump::give_back(cloud, &journal, &bump).await?;
    if session.global.json {
        print::json(&json!({ "table": args.table, "index": args.index, "given_back": words }))?;
    } else {
        print::line(&words)?;
    }
    Ok(Exit::Done)
}

impl From<BumpError> for Report {
    fn from(error: BumpError) -> Self {
        match error {
            BumpError::Cloud(error) => error.into(),
            BumpError::Journal(error) => error.into(),
        }
    }
}

fn named(args: &CapacityArgs) -> String {
    match &args.index {
        Some(index) => format!("index {index} of {}", args.table),
        None => format!("table {}", args.table),
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
fn ask(change: &str) -> Result<(), Report> {
    if !std::io::stdin().is_terminal() {
        return Err(Report::bad_arguments("this changes capacity and nobody is there to ask", "pass --yes"));
    }
    eprint!("{change}\nchange it? [y/N] ");
    std::io::stderr().flush().ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok();
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Report::failed("nothing was changed", "")) }
}

fn show(table: &Table, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal_if_any()?;
    let own = std::iter::once((None, table.provisioned));
    let indexes = table.indexes.iter().map(|index| (Some(index.name.as_str()), index.provisioned));
    let mut columns = Columns::new(&[
        ("OF", Side::Left),
        ("RCU", Side::Right),
        ("WCU", Side::Right),
        ("$/HOUR", Side::Right),
        ("DECREASES TODAY", Side::Right),
        ("TO GIVE BACK TO, WCU", Side::Right),
    ]);
    for (index, capacity) in own.chain(indexes) {
        let bump = match &journal {
            Some(journal) => journal.open_bump(&session.context, &table.name, index)?,
            None => None,
        };
        if session.global.json {
            print::json(&json!({
                "table": table.name, "index": index,
                "read_capacity": capacity.map(|c| c.read), "write_capacity": capacity.map(|c| c.write),
                "dollars_per_hour": capacity.map(dollars_per_hour),
                "decreases_today": capacity.map(|c| c.decreases_today),
                "give_back_to": bump.map(|b| b.before),
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
            capacity.map_or_else(String::new, |c| c.decreases_today.to_string()),
            bump.map_or_else(|| "-".to_owned(), |b| print::grouped(b.before)),
        ]);
    }
    if !session.global.json {
        print::columns(&columns)?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_before_after_and_what_it_costs() {
        let before = Provisioned { read: 10, write: 1_000, decreases_today: 0 };
        let words = in_words("table quotes", before, Provisioned { write: 2_000, ..before });
        assert_eq!(words, "table quotes: from 1,000 to 2,000 WCU (+$0.65 an hour)");
    }
}
