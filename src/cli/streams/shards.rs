//! The shards of one stream, as a family.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::json;

use crate::cli::print::{self, Columns, Side};
use crate::cli::report::Report;
use crate::cli::session::Session;
use crate::cloud::Cloud;
use crate::cloud::inventory::{self, Stream};
use crate::cloud::streams::{self, Birth, Life};
use crate::jobs::JobId;
use crate::jobs::journal::Sample;

/// Rates are taken over so many of the latest samples, one a second.
const WINDOW: usize = 6;

/// A shard as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct ShardRow {
    shard: String,
    parent: Option<String>,
    /// The second parent of a merge.
    adjacent_parent: Option<String>,
    /// `OPEN`, `CLOSED` or `EXPIRED`.
    state: String,
    /// The share of all keys that it takes, 0 to 1.
    share: f64,
    /// `MillisBehindLatest` of a job of ours that reads it; null when none does.
    lag_ms: Option<u64>,
    /// About how many records that job has still to read of it.
    behind_records: Option<u64>,
    /// What that job reads from it.
    records_per_second: Option<f64>,
    /// Who reads it.
    holder: Option<String>,
    #[serde(skip)]
    branch: String,
    #[serde(skip)]
    birth: Option<Birth>,
}

/// What a running job says of a shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// How far behind, ms; unknown of another host's.
    pub lag_ms: Option<u64>,
    /// About how many records are still to be read.
    pub behind_records: Option<u64>,
    /// Records read per second.
    pub per_second: Option<f64>,
    /// Who reads it: the job, or another host's worker.
    pub holder: String,
}

/// Readings by shard.
pub type Readings = HashMap<String, Reading>;

/// The rows of a stream in the order of its family; `readable` tells which of the closed shards have not expired.
pub fn rows(stream: &Stream, readable: Option<&HashSet<String>>, readings: &Readings) -> Vec<ShardRow> {
    let row = |relative: streams::Relative| {
        let shard = &stream.shards[relative.shard];
        let reading = readings.get(&shard.id);
        let life = match (shard.open, readable) {
            (true, _) => Life::Open,
            (false, Some(readable)) if !readable.contains(&shard.id) => Life::Expired,
            (false, _) => Life::Closed,
        };
        ShardRow {
            shard: shard.id.clone(),
            parent: shard.parent.clone(),
            adjacent_parent: shard.adjacent_parent.clone(),
            state: life.as_str().to_uppercase(),
            share: streams::share(shard),
            lag_ms: reading.and_then(|reading| reading.lag_ms),
            behind_records: reading.and_then(|reading| reading.behind_records),
            records_per_second: reading.and_then(|reading| reading.per_second),
            holder: reading.map(|reading| reading.holder.clone()),
            branch: relative.branch,
            birth: Some(relative.birth),
        }
    };
    streams::family(&stream.shards).into_iter().map(row).collect()
}

/// What live jobs of this context say of the shards of `stream`.
pub fn readings(session: &Session, stream: &str) -> Result<Readings, Report> {
    let mut all = Readings::new();
    let Some(journal) = session.journal_if_any()? else { return Ok(all) };
    for job in journal.jobs()? {
        let reads = job.spec.reads_stream() == Some(stream);
        if reads && job.state.is_live() && job.context.is_same_place(&session.context) {
            let last = journal.last_sample(&job.id)?.map_or(0, |sample| sample.at_ms);
            all.extend(rates(&job.id, &journal.samples(&job.id, last - 1000 * WINDOW as i64)?));
        }
    }
    Ok(all)
}

fn rates(job: &JobId, samples: &[Sample]) -> Readings {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Readings::new() };
    let seconds = (last.at_ms - first.at_ms) as f64 / 1000.0;
    let others = last.holders.iter().filter_map(|holder| {
        let holds = holder.worker.clone()?;
        Some((holder.shard.clone(), Reading { holder: holds, ..Reading::default() }))
    });
    let mut readings: Readings = others.collect();
    readings.extend(last.shards.iter().map(|shard| {
        let before = first.shards.iter().find(|s| s.shard == shard.shard).map_or(0, |s| s.records);
        let per_second = if seconds > 0.0 { shard.records.saturating_sub(before) as f64 / seconds } else { 0.0 };
        let reading = Reading {
            lag_ms: Some(shard.lag_ms),
            behind_records: shard.behind_records,
            per_second: Some(per_second),
            holder: job.0.clone(),
        };
        (shard.shard.clone(), reading)
    }));
    readings
}

/// Prints one stream with its shards.
pub async fn show(name: &str, session: &Session, cloud: &Cloud) -> Result<(), Report> {
    let stream = session.answered(inventory::stream(cloud, name)).await?;
    let has_closed = stream.shards.iter().any(|shard| !shard.open);
    let readable = if has_closed { Some(session.answered(streams::readable(cloud, name)).await?) } else { None };
    let readings = readings(session, name)?;
    let rows = rows(&stream, readable.as_ref(), &readings);
    if session.global.json {
        return print::json(&json!({
            "stream": stream.name, "status": stream.status, "mode": stream.mode, "arn": stream.arn,
            "open_shards": stream.open_shards(), "retention_hours": stream.retention_hours,
            "consumers": stream.consumers, "shards": rows,
        }));
    }
    print::line(&format!(
        "{}  {}  {}  {} open of {} shards  records kept {} h  {} fan-out consumers",
        print::shown(&stream.name),
        stream.status,
        stream.mode,
        stream.open_shards(),
        rows.len(),
        stream.retention_hours,
        stream.consumers
    ))?;
    print::columns(&as_columns(&rows))
}

fn as_columns(rows: &[ShardRow]) -> Columns {
    let mut columns = Columns::new(&[
        ("SHARD", Side::Left),
        ("BY", Side::Left),
        ("STATE", Side::Left),
        ("KEYS %", Side::Right),
        ("LAG S", Side::Right),
        ("READ/S", Side::Right),
        ("HOLDER", Side::Left),
    ]);
    let dash = || "-".to_owned();
    for row in rows {
        columns.row(&[
            format!("{}{}", row.branch, row.shard),
            match row.birth {
                Some(Birth::Split) => "split".to_owned(),
                Some(Birth::Merge) => {
                    let second = row.adjacent_parent.as_deref().unwrap_or_default();
                    format!("merge with {}", streams::short(second))
                }
                Some(Birth::First) | None => dash(),
            },
            row.state.clone(),
            format!("{:.1}", row.share * 100.0),
            row.lag_ms.map_or_else(dash, |ms| format!("{:.1}", ms as f64 / 1000.0)),
            row.records_per_second.map_or_else(dash, |rate| format!("{rate:.1}")),
            row.holder.clone().unwrap_or_else(dash),
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
            shards: vec![ShardSample { shard: "s0".into(), lag_ms, behind_records: Some(50), records }],
            ..Sample::default()
        };
        let job = JobId("r-1".into());
        let rates = rates(&job, &[sample(1_000, 100, 9_000), sample(3_000, 300, 500)]);
        let (lag_ms, behind_records, per_second) = (Some(500), Some(50), Some(100.0));
        assert_eq!(rates["s0"], Reading { lag_ms, behind_records, per_second, holder: "r-1".into() });
    }
}
