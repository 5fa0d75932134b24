//! The shards of one stream, as a family.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::cli::print::{Columns, Side, rate};
use crate::cli::report::Report;
use crate::cli::session::Session;
use crate::cloud::inventory::Stream;
use crate::cloud::streams::{self, Birth, Life};
use crate::jobs::journal::now_ms;
use crate::jobs::{ShardStanding, Standing};

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
    /// What is put into it, as `CloudWatch` knows it with enhanced monitoring; asked only of one stream.
    records_in_per_second: Option<f64>,
    /// What that job reads from it.
    records_per_second: Option<f64>,
    /// Who reads it.
    holder: Option<String>,
    #[serde(skip)]
    branch: String,
    #[serde(skip)]
    birth: Option<Birth>,
}

/// What live jobs say of shards, by shard.
pub type Readings = HashMap<String, ShardStanding>;

/// The rows of a stream in the order of its family; `readable` tells which of the closed shards have not expired, and
/// `put` how many records a second are put into each.
pub fn rows(
    stream: &Stream,
    readable: Option<&HashSet<String>>,
    readings: &Readings,
    put: &HashMap<String, f64>,
) -> Vec<ShardRow> {
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
            records_in_per_second: put.get(&shard.id).copied(),
            records_per_second: reading.and_then(|reading| reading.records_per_second),
            holder: reading.and_then(|reading| reading.holder.clone()),
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
            let standing = Standing::of(&journal, &job, now_ms())?;
            for shard in standing.shards {
                // What a job reads itself it knows better than another that shares the stream with it.
                if shard.lag_ms.is_some() || !all.contains_key(&shard.shard) {
                    all.insert(shard.shard.clone(), shard);
                }
            }
        }
    }
    Ok(all)
}

/// The shards under headings.
pub fn as_columns(rows: &[ShardRow]) -> Columns {
    let mut columns = Columns::new(&[
        ("SHARD", Side::Left),
        ("BY", Side::Left),
        ("STATE", Side::Left),
        ("KEYS %", Side::Right),
        ("IN/S", Side::Right),
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
            rate(row.records_in_per_second),
            rate(row.lag_ms.map(|ms| ms as f64 / 1000.0)),
            rate(row.records_per_second),
            row.holder.clone().unwrap_or_else(dash),
        ]);
    }
    columns
}
