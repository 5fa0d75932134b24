//! `sluice work`: put workers, which run the put requests of a stream.

use clap::Args;

use super::control::per_second;
use super::print;
use super::progress;
use super::report::{Exit, Report};
use super::resume;
use super::session::Session;
use crate::cloud::{Mode, inventory};
use crate::flow::leases::{self, Look};
use crate::flow::{StartAt, find_consumer};
use crate::jobs::work::{already, running};
use crate::jobs::{Ended, Kind, Spec, WorkSpec, start_detached};

/// Which stream, from where, and with whom.
#[derive(Clone, Debug, Default, Args)]
pub struct WorkArgs {
    /// The stream whose put requests are run.
    #[arg(add = super::complete::streams(), short, long, value_name = "STREAM", env = "KINESIS_STREAM")]
    pub kinesis_stream: String,
    /// Where shards begin that were not read before: trim-horizon, latest, a time such as 2026-11-20T14:03:00Z, or how
    /// long ago, such as 15m [else trim-horizon]
    #[arg(long, value_name = "WHERE", value_parser = from)]
    pub from: Option<StartAt>,
    /// End once everything on the stream is in its tables.
    #[arg(long)]
    pub drain: bool,
    /// Share the stream's shards with other workers through this DynamoDB table; it is made if it is not there.
    #[arg(add = super::complete::tables(), long, value_name = "TABLE")]
    pub lease_table: Option<String>,
    /// Let the shards send their records (enhanced fan-out) to the consumer of this name, registered if it is not there;
    /// AWS charges for it until it is deregistered.
    #[arg(long, value_name = "NAME")]
    pub fan_out: Option<String>,
    /// Write at most so many items per second into each table.
    #[arg(long, value_name = "N", value_parser = per_second)]
    pub rate: Option<f64>,
    /// Consume at most so much write capacity of each table, WCU.
    #[arg(long, value_name = "WCU", value_parser = per_second)]
    pub max_wcu: Option<f64>,
    /// Start it and come back at once; `sluice jobs` shows how it goes.
    #[arg(long)]
    pub detach: bool,
}

/// Where a stream is begun, as a person writes it.
pub fn from(text: &str) -> Result<StartAt, String> {
    match text {
        "trim-horizon" => return Ok(StartAt::TrimHorizon),
        "latest" | "now" => return Ok(StartAt::Latest),
        _ => {}
    }
    let now = jiff::Timestamp::now();
    let ago = || {
        let ago = humantime::parse_duration(text).ok()?;
        now.checked_sub(jiff::SignedDuration::try_from(ago).ok()?).ok()
    };
    let date = || Some(text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp());
    let at = text.parse::<jiff::Timestamp>().ok().or_else(date).or_else(ago).ok_or_else(|| {
        format!("{text:?} is no place in a stream: write trim-horizon, latest, 2026-11-20T14:03:00Z or 15m")
    })?;
    if at > now {
        return Err(format!("{at} is yet to come: write latest to begin with what comes from now on"));
    }
    Ok(StartAt::Time(at.as_millisecond()))
}

/// Starts a put worker.
pub async fn run(args: WorkArgs, session: &Session) -> Result<Exit, Report> {
    match session.mode() {
        Mode::ReadOnly => {
            return Err(Report::failed(
                "a put worker writes, and read-only mode refuses that",
                "start without --read-only, or see what it would write with --dry-run",
            ));
        }
        Mode::DryRun if args.lease_table.is_some() => {
            return Err(Report::bad_arguments(
                "a dry run holds no leases",
                "leave out --lease-table along with --dry-run",
            ));
        }
        Mode::DryRun if args.detach => {
            return Err(Report::bad_arguments("a detached worker writes", "leave out --detach along with --dry-run"));
        }
        Mode::DryRun | Mode::Normal => {}
    }
    let cloud = session.reading().await?;
    session.answered(inventory::stream(&cloud, &args.kinesis_stream)).await?;
    if let Some(table) = &args.lease_table
        && session.answered(leases::look(&cloud.dynamodb, table)).await? == Look::Absent
    {
        eprintln!("lease table {table} is not there: it is made now, billed on demand");
    }
    if let Some(name) = &args.fan_out
        && session.answered(find_consumer(&cloud.kinesis, &args.kinesis_stream, name)).await?.is_none()
    {
        eprintln!("{}", stays(name, &args.kinesis_stream, "is not registered yet: it is now, and costs"));
    }
    let (session, _folder) = &session.for_a_job(cloud.place())?;
    let journal = session.journal()?;
    if args.lease_table.is_none()
        && let Some(id) = running(&journal, &cloud.place(), &args.kinesis_stream, None)?
    {
        return Err(Report::failed(already(&args.kinesis_stream, Some(&id)), ""));
    }
    let stayed = args.fan_out.as_ref().map(|name| stays(name, &args.kinesis_stream, "stays, and costs"));
    let spec = Spec::Work(WorkSpec {
        stream: args.kinesis_stream,
        from: args.from,
        drain: args.drain,
        lease_table: args.lease_table,
        fan_out: args.fan_out,
        rate: args.rate,
        max_wcu: args.max_wcu,
    });
    if args.detach {
        let id = start_detached(&journal, &spec, &session.context, None)?;
        return resume::started(&id, Kind::Work, session);
    }
    let id = journal.create_job(&spec, &session.context, None)?;
    drop(journal);
    let (exit, _) = progress::run(session, &id, Kind::Work).await?;
    if let Some(words) = stayed {
        eprintln!("{words}");
    }
    Ok(exit)
}

/// What the consumer `name` costs, and how that ends.
fn stays(name: &str, stream: &str, what: &str) -> String {
    format!(
        "consumer {name} of {stream} {what} for each shard and hour until it is deregistered: \
         aws kinesis deregister-stream-consumer --consumer-name {name} --stream-arn …"
    )
}

/// How a put worker ended, in words: all of it, and each table.
pub fn in_words(ended: &Ended, report: &serde_json::Value) -> String {
    let of = |from: &serde_json::Value, field: &str| print::grouped(from[field].as_u64().unwrap_or_default());
    let shown = |field: &str| of(report, field);
    let seconds = report["seconds"].as_f64().unwrap_or_default();
    let read = report["read"].as_u64().unwrap_or_default();
    let rate = if seconds > 0.0 { (read as f64 / seconds).round() as u64 } else { 0 };
    let mut words = format!(
        "work {} done: read {}, written {}, deleted {}, skipped {}, dead {} in {} ({}/s)",
        ended.job,
        shown("read"),
        shown("written"),
        shown("deleted"),
        shown("skipped"),
        shown("dead"),
        print::duration(seconds),
        print::grouped(rate)
    );
    for table in report["tables"].as_array().map_or(&[][..], Vec::as_slice) {
        let name = print::shown(table["table"].as_str().unwrap_or("?"));
        let (written, deleted, skipped) = (of(table, "written"), of(table, "deleted"), of(table, "skipped"));
        let dead = of(table, "dead");
        let line = format!("{name}: {written} written, {deleted} deleted, {skipped} skipped, {dead} dead");
        words = words + "\n  " + &line;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_begun_at_a_word_a_time_a_date_or_so_long_ago() {
        assert_eq!(from("trim-horizon"), Ok(StartAt::TrimHorizon));
        assert_eq!(from("latest"), Ok(StartAt::Latest));
        assert_eq!(from("2018-03-04T14:59:44Z"), Ok(StartAt::Time(1_520_175_584_000)));
        assert_eq!(from("2018-03-04"), Ok(StartAt::Time(1_520_121_600_000)));
        let Ok(StartAt::Time(ago)) = from("15m") else { panic!("no time") };
        assert!((jiff::Timestamp::now().as_millisecond() - ago - 900_000).abs() < 60_000);
    }

    #[test]
    fn what_is_no_place_in_a_stream_is_said() {
        assert!(from("yesterday-ish").unwrap_err().contains("trim-horizon"));
        assert!(from("2999-01-01").unwrap_err().contains("yet to come"));
    }
}
