//! `sluice streams`: streams and their shards, with the lag of the jobs that read them.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::args::NamedArgs;
use super::print::{self, Columns, Side};
use super::report::{Exit, Report};
use super::session::Session;
use crate::cloud::Cloud;
use crate::cloud::inventory::{self, Shard, Stream};
use crate::jobs::Spec;
use crate::jobs::journal::Sample;

/// How many streams are described at once: `DescribeStreamSummary` allows 20 a second.
const AT_ONCE: usize = 4;
/// Rates are taken over so many of the latest samples, one a second.
const WINDOW: usize = 6;

/// A stream as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    stream: String,
    status: String,
    mode: String,
    shards: Vec<ShardRow>,
}

#[derive(Debug, Serialize)]
struct ShardRow {
    shard: String,
    parent: Option<String>,
    /// `OPEN` or `CLOSED`.
    state: &'static str,
    /// `MillisBehindLatest` of a job of ours that reads it; null when none does.
    lag_ms: Option<u64>,
    /// What that job reads from it.
    records_per_second: Option<f64>,
}

/// What a running job says of a shard: lag in ms, and records read per second.
type Readings = HashMap<String, (u64, f64)>;

/// Prints every stream, or one.
pub async fn run(args: NamedArgs, session: &Session) -> Result<Exit, Report> {
    let cloud = session.reading().await?;
    let name = args.name.as_deref();
    args.watch.repeat(session.global.json, || show(name, session, &cloud)).await
}

async fn show(name: Option<&str>, session: &Session, cloud: &Cloud) -> Result<(), Report> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => session.answered(inventory::stream_names(cloud)).await?,
    };
    let streams: Vec<Stream> = session
        .answered(
            futures::stream::iter(&names).map(|name| inventory::stream(cloud, name)).buffered(AT_ONCE).try_collect(),
        )
        .await?;
    let mut rows = Vec::new();
    for stream in streams {
        let readings = readings(session, &stream.name)?;
        rows.push(Row {
            shards: stream.shards.into_iter().map(|shard| shard_row(shard, &readings)).collect(),
            stream: stream.name,
            status: stream.status,
            mode: stream.mode,
        });
    }
    if session.global.json {
        return rows.iter().try_for_each(print::json);
    }
    if rows.is_empty() {
        return print::line(&format!("no streams in {}: pass another --region or --profile", cloud.region));
    }
    print::columns(&as_columns(&rows, name.is_some()))
}

fn shard_row(shard: Shard, readings: &Readings) -> ShardRow {
    let reading = readings.get(&shard.id);
    ShardRow {
        parent: shard.parent,
        state: if shard.open { "OPEN" } else { "CLOSED" },
        lag_ms: reading.map(|(lag, _)| *lag),
        records_per_second: reading.map(|(_, rate)| *rate),
        shard: shard.id,
    }
}

fn readings(session: &Session, stream: &str) -> Result<Readings, Report> {
    let Some(journal) = session.journal_if_any()? else { return Ok(Readings::new()) };
    for job in journal.jobs()? {
        let reads = matches!(&job.spec, Spec::Restore(spec) if spec.stream.as_deref() == Some(stream));
        if reads && job.state.is_live() && job.context == session.context {
            let last = journal.last_sample(&job.id)?.map_or(0, |sample| sample.at_ms);
            return Ok(rates(&journal.samples(&job.id, last - 1000 * WINDOW as i64)?));
        }
    }
    Ok(Readings::new())
}

fn rates(samples: &[Sample]) -> Readings {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Readings::new() };
    let seconds = (last.at_ms - first.at_ms) as f64 / 1000.0;
    last.shards
        .iter()
        .map(|shard| {
            let before = first.shards.iter().find(|s| s.shard == shard.shard).map_or(0, |s| s.records);
            let rate = if seconds > 0.0 { shard.records.saturating_sub(before) as f64 / seconds } else { 0.0 };
            (shard.shard.clone(), (shard.lag_ms, rate))
        })
        .collect()
}

fn as_columns(rows: &[Row], with_shards: bool) -> Columns {
    let lag = |lag: Option<u64>| lag.map_or_else(|| "-".to_owned(), |ms| format!("{:.1}", ms as f64 / 1000.0));
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    if !with_shards {
        let mut columns = Columns::new(&[
            ("STREAM", Side::Left),
            ("STATUS", Side::Left),
            ("MODE", Side::Left),
            ("OPEN SHARDS", Side::Right),
            ("WORST LAG S", Side::Right),
            ("RECORDS/S", Side::Right),
        ]);
        for row in rows {
            let open = row.shards.iter().filter(|shard| shard.state == "OPEN").count();
            let read: Vec<f64> = row.shards.iter().filter_map(|shard| shard.records_per_second).collect();
            columns.row(&[
                row.stream.clone(),
                row.status.clone(),
                row.mode.clone(),
                print::grouped(open as u64),
                lag(row.shards.iter().filter_map(|shard| shard.lag_ms).max()),
                rate((!read.is_empty()).then(|| read.iter().sum())),
            ]);
        }
        return columns;
    }
    let mut columns = Columns::new(&[
        ("SHARD", Side::Left),
        ("PARENT", Side::Left),
        ("STATE", Side::Left),
        ("LAG S", Side::Right),
        ("RECORDS/S", Side::Right),
    ]);
    for shard in rows.iter().flat_map(|row| &row.shards) {
        columns.row(&[
            shard.shard.clone(),
            shard.parent.clone().unwrap_or_else(|| "-".to_owned()),
            shard.state.to_owned(),
            lag(shard.lag_ms),
            rate(shard.records_per_second),
        ]);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::journal::ShardSample;

    #[test]
    fn a_shards_rate_is_what_was_read_over_the_window_and_its_lag_the_latest() {
        let sample = |at_ms, records, lag_ms| Sample {
            at_ms,
            shards: vec![ShardSample { shard: "s0".into(), lag_ms, records }],
            ..Sample::default()
        };
        let rates = rates(&[sample(1_000, 100, 9_000), sample(3_000, 300, 500)]);
        assert_eq!(rates["s0"], (500, 100.0));
    }
}
