//! `sluice streams`: streams and their shards, with the lag of the jobs that read them; their records, their event source
//! mappings, and how long records stay.

mod mappings;
mod one;
mod retention;
mod shards;
mod tail;

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::print::{self, Columns, Side, rate};
use super::report::{Exit, Report};
use super::session::Session;
use crate::cloud::Cloud;
use crate::cloud::inventory::{self, Stream};
use crate::cloud::streams::{self, StreamMinutes};
use crate::jobs::journal::now_ms;

/// How many streams are described at once: `DescribeStreamSummary` allows 20 a second.
const AT_ONCE: usize = 4;
/// The newest complete minute is looked for from so long ago to so long ago, ms.
const NEWEST_MS: (i64, i64) = (4 * 60_000, 60_000);

/// What to show of streams, or to change.
#[derive(Clone, Debug, Args)]
pub struct StreamsArgs {
    /// Only this one, with its shards, and its charts as numbers.
    #[arg(add = super::complete::streams())]
    pub name: Option<String>,
    /// How far back the charts of one stream go.
    #[arg(long, value_name = "TIME", default_value = "15m", requires = "name", value_parser = humantime::parse_duration,
        conflicts_with_all = ["tail", "mappings", "pause_mapping", "resume_mapping", "retention"])]
    pub over: Duration,
    /// Repeat.
    #[command(flatten)]
    pub watch: super::watch::WatchArgs,
    /// Print its records as they arrive, decoded. Costs reads, which its consumers share; stops by itself.
    #[arg(long, requires = "name", conflicts_with_all = ["watch", "mappings"])]
    pub tail: bool,
    /// Where and how long the tail looks.
    #[command(flatten)]
    pub tail_args: tail::TailArgs,
    /// The Lambda functions that read it.
    #[arg(long, requires = "name")]
    pub mappings: bool,
    /// Pause the event source mapping of this UUID or function: it goes on where it stopped.
    #[arg(long, value_name = "UUID|FUNCTION", requires = "name", conflicts_with_all = ["tail", "watch"])]
    pub pause_mapping: Option<String>,
    /// Let a paused event source mapping go on.
    #[arg(long, value_name = "UUID|FUNCTION", requires = "name", conflicts_with_all = ["tail", "watch", "pause_mapping"])]
    pub resume_mapping: Option<String>,
    /// Let its records stay so many hours, 24 to 8760; fewer deletes what is older.
    #[arg(long, value_name = "HOURS", requires = "name", conflicts_with_all = ["tail", "watch", "mappings", "pause_mapping", "resume_mapping"])]
    pub retention: Option<u32>,
}

/// Prints every stream, or what is asked of one.
pub async fn run(args: StreamsArgs, session: &Session) -> Result<Exit, Report> {
    let name = args.name.as_deref().unwrap_or_default();
    if args.tail {
        return tail::run(name, &args.tail_args, session).await;
    }
    if let Some(hours) = args.retention {
        return retention::run(name, hours, session).await;
    }
    let change = args.pause_mapping.as_ref().map(|which| (which, false));
    if let Some((which, enabled)) = change.or(args.resume_mapping.as_ref().map(|which| (which, true))) {
        return mappings::set(name, which, enabled, session).await;
    }
    let cloud = session.reading().await?;
    let json = session.global.json;
    if args.mappings {
        return args.watch.repeat(json, || mappings::show(name, session, &cloud)).await;
    }
    let measured = one::Measured::default();
    match &args.name {
        Some(name) => args.watch.repeat(json, || one::show(name, args.over, session, &cloud, &measured)).await,
        None => args.watch.repeat(json, || show_all(session, &cloud)).await,
    }
}

/// A stream as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    stream: String,
    status: String,
    mode: String,
    open_shards: u64,
    retention_hours: u32,
    /// Registered for enhanced fan-out.
    consumers: u32,
    /// Records put each second in the newest complete minute; null when `CloudWatch` has none.
    records_in_per_second: Option<f64>,
    bytes_in_per_second: Option<f64>,
    records_read_per_second: Option<f64>,
    /// The furthest behind: each shard of our live jobs, else what `CloudWatch` saw of all readers.
    lag_ms: Option<u64>,
    shards: Vec<shards::ShardRow>,
}

impl Row {
    fn of(
        stream: Stream,
        minutes: Option<&StreamMinutes>,
        readings: &shards::Readings,
        shards: Vec<shards::ShardRow>,
    ) -> Self {
        let newest = |points: &Vec<(i64, f64)>| points.last().map(|(_, value)| *value);
        let per_second =
            |of: fn(&StreamMinutes) -> &Vec<(i64, f64)>| minutes.and_then(|m| newest(of(m))).map(|sum| sum / 60.0);
        let ours = readings.values().filter_map(|reading| reading.lag_ms).max();
        Self {
            open_shards: stream.open_shards(),
            retention_hours: stream.retention_hours,
            consumers: stream.consumers,
            records_in_per_second: per_second(|m| &m.records),
            bytes_in_per_second: per_second(|m| &m.bytes),
            records_read_per_second: per_second(|m| &m.read),
            lag_ms: ours.or_else(|| minutes.and_then(|m| newest(&m.lag_ms)).map(|ms| ms as u64)),
            shards,
            stream: stream.name,
            status: stream.status,
            mode: stream.mode,
        }
    }
}

async fn show_all(session: &Session, cloud: &Cloud) -> Result<(), Report> {
    let names = session.answered(inventory::stream_names(cloud)).await?;
    // A person's list needs no shards, however many there are; a script's has them.
    let json = session.global.json;
    let described = futures::stream::iter(&names).map(|name| async move {
        if json { inventory::stream(cloud, name).await } else { inventory::stream_summary(cloud, name).await }
    });
    let streams: Vec<Stream> = session.answered(described.buffered(AT_ONCE).try_collect()).await?;
    let now = now_ms();
    session.remember(|seen| {
        seen.region.clone_from(&cloud.region);
        seen.list_streams(names.clone(), now);
        seen.describe_streams(streams.iter().cloned());
    });
    // Without CloudWatch the list is still a list.
    let minutes = if names.is_empty() {
        Vec::new()
    } else {
        streams::minutes(cloud, names, now - NEWEST_MS.0, now - NEWEST_MS.1).await.unwrap_or_default()
    };
    let mut rows = Vec::new();
    for stream in streams {
        let readings = shards::readings(session, &stream.name)?;
        let minutes = minutes.iter().find(|minutes| minutes.stream == stream.name);
        let shards = shards::rows(&stream, None, &readings, &HashMap::new());
        rows.push(Row::of(stream, minutes, &readings, shards));
    }
    if json {
        return rows.iter().try_for_each(print::json);
    }
    if rows.is_empty() {
        return print::line(&format!("no streams in {}: pass another --region or --profile", cloud.region));
    }
    print::columns(&as_columns(&rows))
}

fn as_columns(rows: &[Row]) -> Columns {
    let mut columns = Columns::new(&[
        ("STREAM", Side::Left),
        ("STATUS", Side::Left),
        ("MODE", Side::Left),
        ("OPEN SHARDS", Side::Right),
        ("KEPT H", Side::Right),
        ("IN/S", Side::Right),
        ("IN KB/S", Side::Right),
        ("READ/S", Side::Right),
        ("WORST LAG S", Side::Right),
        ("CONSUMERS", Side::Right),
    ]);
    for row in rows {
        columns.row(&[
            row.stream.clone(),
            row.status.clone(),
            row.mode.clone(),
            print::grouped(row.open_shards),
            row.retention_hours.to_string(),
            rate(row.records_in_per_second),
            rate(row.bytes_in_per_second.map(|bytes| bytes / 1000.0)),
            rate(row.records_read_per_second),
            rate(row.lag_ms.map(|ms| ms as f64 / 1000.0)),
            row.consumers.to_string(),
        ]);
    }
    columns
}
