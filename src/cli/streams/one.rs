//! One stream: what goes in and out of it, its shards as a family, and its charts as numbers, a line a minute.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::{NEWEST_MS, Row, shards};
use crate::cli::minutes::{self, Window};
use crate::cli::print::{self, Columns, Side, rate, time};
use crate::cli::report::Report;
use crate::cli::session::Session;
use crate::cloud::inventory::{self, Stream};
use crate::cloud::metrics::Point;
use crate::cloud::streams::{self, StreamMinutes};
use crate::cloud::{Cloud, CloudError};
use crate::jobs::journal::now_ms;

/// One period of a stream. What was not measured is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Minute {
    /// Its start.
    time: String,
    /// Its length, s.
    seconds: i32,
    records_in_per_second: Option<f64>,
    bytes_in_per_second: Option<f64>,
    /// By all that poll it.
    records_read_per_second: Option<f64>,
    /// The largest age of what was read, ms.
    lag_ms: Option<f64>,
}

/// What `CloudWatch` said in the minute before, for all rounds of a `--watch` in this one: it has nothing newer, and each
/// metric is paid for.
#[derive(Debug, Default)]
pub struct Measured(Mutex<Option<(i64, Known)>>);

#[derive(Clone, Debug, Default)]
struct Known {
    newest: StreamMinutes,
    minutes: Vec<Minute>,
    /// Records put into each shard a second.
    put: HashMap<String, f64>,
}

impl Measured {
    async fn of(&self, stream: &Stream, over: Duration, cloud: &Cloud) -> Known {
        let now = now_ms();
        let this = now / 60_000;
        let mut last = self.0.lock().await;
        if let Some((_, known)) = last.as_ref().filter(|(minute, _)| *minute == this) {
            return known.clone();
        }
        // Without CloudWatch the stream is still there.
        let known = ask(stream, over, cloud, now).await.unwrap_or_else(|error| {
            eprintln!("warning: {error}");
            Known::default()
        });
        last.insert((this, known)).1.clone()
    }
}

async fn ask(stream: &Stream, over: Duration, cloud: &Cloud, now: i64) -> Result<Known, CloudError> {
    let Window { from_ms, to_ms, period_s } = Window::before(now, over);
    let name = || vec![stream.name.clone()];
    let open = stream.shards.iter().filter(|shard| shard.open && stream.has_shard_metrics);
    let open: Vec<String> = open.map(|shard| shard.id.clone()).collect();
    let put = async {
        if open.is_empty() { Ok(Vec::new()) } else { streams::shard_rates(cloud, &stream.name, open, now).await }
    };
    let (newest, chart, put) = tokio::try_join!(
        streams::minutes(cloud, name(), now - NEWEST_MS.0, now - NEWEST_MS.1),
        streams::periods(cloud, name(), from_ms, to_ms, period_s),
        put
    )?;
    let only = |mut all: Vec<StreamMinutes>| all.pop().unwrap_or_default();
    Ok(Known {
        newest: only(newest),
        minutes: whole_minutes(&only(chart), period_s, to_ms),
        put: put.into_iter().filter_map(|(shard, rate)| Some((shard, rate?))).collect(),
    })
}

/// The whole periods up to `to_ms` in which something was measured, oldest first.
fn whole_minutes(chart: &StreamMinutes, period: i32, to_ms: i64) -> Vec<Minute> {
    let times = minutes::times([&chart.records, &chart.bytes, &chart.read, &chart.lag_ms]);
    let per_second = |line: &[Point], time: i64| minutes::at(line, time).map(|sum| sum / f64::from(period));
    let minute = |at_ms: i64| Minute {
        time: time(at_ms),
        seconds: period,
        records_in_per_second: per_second(&chart.records, at_ms),
        bytes_in_per_second: per_second(&chart.bytes, at_ms),
        records_read_per_second: per_second(&chart.read, at_ms),
        lag_ms: minutes::at(&chart.lag_ms, at_ms),
    };
    times.into_iter().filter(|at_ms| at_ms + i64::from(period) * 1000 <= to_ms).map(minute).collect()
}

/// Prints it, with the last `over` minute by minute.
pub async fn show(
    name: &str,
    over: Duration,
    session: &Session,
    cloud: &Cloud,
    measured: &Measured,
) -> Result<(), Report> {
    let stream = session.answered(inventory::stream(cloud, name)).await?;
    let has_closed = stream.shards.iter().any(|shard| !shard.open);
    let readable = if has_closed { Some(session.answered(streams::readable(cloud, name)).await?) } else { None };
    let readings = shards::readings(session, name)?;
    let Known { newest, minutes: told, put } = measured.of(&stream, over, cloud).await;
    let arn = stream.arn.clone();
    let shards = shards::rows(&stream, readable.as_ref(), &readings, &put);
    let row = Row::of(stream, Some(&newest), &readings, shards);
    if session.global.json {
        let mut row = serde_json::to_value(row).unwrap_or_default();
        row["arn"] = json!(arn);
        row["minutes"] = json!(told);
        return print::json(&row);
    }
    print::line(&format!(
        "{}  {}  {}  {} open of {} shards  records kept {} h  {} fan-out consumers",
        print::shown(&row.stream),
        row.status,
        row.mode,
        row.open_shards,
        row.shards.len(),
        row.retention_hours,
        row.consumers
    ))?;
    print::line(&format!(
        "in {}/s, {} kB/s  read {}/s  lag {} s",
        rate(row.records_in_per_second),
        rate(row.bytes_in_per_second.map(|bytes| bytes / 1000.0)),
        rate(row.records_read_per_second),
        rate(row.lag_ms.map(|ms| ms as f64 / 1000.0))
    ))?;
    print::columns(&shards::as_columns(&row.shards))?;
    minutes::show(&chart(&told), told.is_empty())
}

fn chart(told: &[Minute]) -> Columns {
    let mut columns = Columns::new(&[
        ("TIME (UTC)", Side::Left),
        ("IN/S", Side::Right),
        ("IN KB/S", Side::Right),
        ("READ/S", Side::Right),
        ("LAG S", Side::Right),
    ]);
    for minute in told {
        columns.row(&[
            minutes::start(&minute.time),
            rate(minute.records_in_per_second),
            rate(minute.bytes_in_per_second.map(|bytes| bytes / 1000.0)),
            rate(minute.records_read_per_second),
            rate(minute.lag_ms.map(|ms| ms / 1000.0)),
        ]);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_told_by_the_second_once_it_is_whole_and_what_it_lacks_is_none() {
        let chart = StreamMinutes {
            records: vec![(0, 600.0), (60_000, 60.0), (120_000, 9.0)],
            bytes: vec![(0, 60_000.0)],
            lag_ms: vec![(60_000, 1_500.0)],
            ..StreamMinutes::default()
        };
        let minutes = whole_minutes(&chart, 60, 150_000);
        assert_eq!(minutes.len(), 2, "the third is not over yet");
        assert_eq!((minutes[0].records_in_per_second, minutes[0].bytes_in_per_second), (Some(10.0), Some(1_000.0)));
        assert_eq!((minutes[1].records_in_per_second, minutes[1].bytes_in_per_second), (Some(1.0), None));
        let text = super::chart(&minutes).to_text();
        assert_eq!(
            text,
            "TIME (UTC)        IN/S  IN KB/S  READ/S  LAG S\n\
             1970-01-01 00:00  10.0      1.0       -      -\n\
             1970-01-01 00:01   1.0        -       -    1.5\n"
        );
    }
}
