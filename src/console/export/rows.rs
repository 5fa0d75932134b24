//! What the rows of each view are in a file: exact, in the view's order.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Content, Sheet};
use crate::console::app::{App, Screen};
use crate::console::columns::StreamRow;
use crate::console::load::TableRow;
use crate::console::{playback, view};
use crate::jobs::JobId;
use crate::jobs::journal::{DeadLetter, Sample};

/// A moment as files have it: RFC 3339, UTC.
pub(super) fn at(ms: i64) -> Value {
    Timestamp::from_millisecond(ms).map_or(Value::Null, |at| Value::String(at.to_string()))
}

/// What the view exports, and what its file is called. `None` where there are no rows.
pub(super) fn content(app: &App) -> Option<(String, Content)> {
    let sheet = |name: &str, columns: &[&'static str], rows: Vec<Vec<Value>>| {
        Some((name.to_owned(), Content::Sheet(Sheet { columns: columns.to_vec(), rows })))
    };
    match &app.screen {
        Screen::Tables => {
            let rows = app.table_rows();
            let sheet = with_regions(app, &TABLES, tables(&rows), rows.iter().map(|row| row.region));
            Some(("tables".to_owned(), Content::Sheet(sheet)))
        }
        Screen::Streams => {
            let rows = app.stream_rows();
            let sheet = with_regions(app, &STREAMS, streams(&rows), rows.iter().map(|row| row.region));
            Some(("streams".to_owned(), Content::Sheet(sheet)))
        }
        Screen::Jobs => sheet("jobs", &JOBS, jobs(app)),
        Screen::Table(name) => sheet(name, &POINTS, points(app)),
        Screen::Job(id) => {
            let span = app.span();
            Some((id.0.clone(), Content::Samples(id.clone(), span.from_ms, span.to_ms)))
        }
        Screen::Dead(id) => Some((format!("{id}-dead"), Content::Letters(id.clone()))),
        Screen::Autoscale(id) => sheet(&format!("{id}-decisions"), &DECISIONS, decisions(app, id)),
        Screen::Stream(name) => sheet(&format!("{name}-shards"), &SHARDS, shards(app, name)),
        Screen::Mappings(name) => sheet(&format!("{name}-mappings"), &MAPPINGS, mappings(app)),
        Screen::Tail(name, _) => sheet(&format!("{name}-records"), &RECORDS, records(app)),
        Screen::EventTables => {
            let tables = app.shown_event_tables().into_iter();
            let row = |(table, layout): (&crate::cloud::inventory::Table, _)| {
                vec![json!(table.name), json!(format!("{layout}")), json!(table.items), json!(table.bytes)]
            };
            sheet("event-tables", &["table", "layout", "items", "bytes"], tables.map(row).collect())
        }
        Screen::Playback => {
            let scrubber = app.scrubber.as_ref()?;
            sheet(&format!("{}-events", scrubber.table), &EVENTS, events(scrubber))
        }
        Screen::Restore | Screen::Backup | Screen::Replica | Screen::Replay => None,
    }
}

const TABLES: [&str; 10] = [
    "table",
    "status",
    "items",
    "bytes",
    "used_wcu",
    "provisioned_wcu",
    "provisioned_rcu",
    "throttled_per_second",
    "stream",
    "indexes",
];

fn tables(rows: &[TableRow<'_>]) -> Vec<Vec<Value>> {
    // What was never asked about, or too long ago, is not 0.
    let row = |row: &TableRow<'_>| match (row.table, row.is_measured().then(|| row.load())) {
        (Some(table), load) => vec![
            json!(table.name),
            json!(table.status),
            json!(table.items),
            json!(table.bytes),
            json!(load.as_ref().map(|load| load.used)),
            json!(table.provisioned.map(|p| p.write)),
            json!(table.provisioned.map(|p| p.read)),
            json!(load.as_ref().map(|load| load.throttled)),
            json!(table.stream),
            json!(table.indexes.len()),
        ],
        // It was not described: nothing is known but its name.
        (None, _) => {
            std::iter::once(json!(row.name)).chain(std::iter::repeat_n(Value::Null, TABLES.len() - 1)).collect()
        }
    };
    rows.iter().map(row).collect()
}

const STREAMS: [&str; 10] = [
    "stream",
    "arn",
    "status",
    "mode",
    "open_shards",
    "kept_hours",
    "in_per_second",
    "in_bytes_per_second",
    "read_per_second",
    "lag_ms",
];

fn streams(rows: &[StreamRow<'_>]) -> Vec<Vec<Value>> {
    let row = |row: &StreamRow<'_>| {
        let StreamRow { stream, load, .. } = row;
        let is_known = !stream.status.is_empty();
        vec![
            json!(stream.name),
            json!(Some(&stream.arn).filter(|arn| !arn.is_empty())),
            json!(Some(&stream.status).filter(|_| is_known)),
            json!(Some(&stream.mode).filter(|_| is_known)),
            json!(Some(stream.open_shards()).filter(|_| is_known)),
            json!(Some(stream.retention_hours).filter(|_| is_known)),
            json!(load.records),
            json!(load.bytes),
            json!(load.read),
            json!(load.lag_ms),
        ]
    };
    rows.iter().map(row).collect()
}

/// With the region after the name, where the list holds several.
fn with_regions<'a>(
    app: &App,
    columns: &[&'static str],
    mut rows: Vec<Vec<Value>>,
    regions: impl Iterator<Item = &'a str>,
) -> Sheet {
    let mut columns = columns.to_vec();
    if app.is_many() {
        columns.insert(1, "region");
        rows.iter_mut().zip(regions).for_each(|(row, region)| row.insert(1, json!(region)));
    }
    Sheet { columns, rows }
}

const JOBS: [&str; 15] = [
    "job",
    "kind",
    "state",
    "what",
    "settled",
    "total",
    "per_second",
    "left_ms",
    "dead",
    "runs",
    "created",
    "started",
    "ended",
    "limit",
    "message",
];

fn jobs(app: &App) -> Vec<Vec<Value>> {
    let row = |job: &&crate::jobs::journal::Job| {
        let progress = app.progress(job);
        vec![
            json!(job.id.0),
            json!(job.kind().to_string()),
            json!(job.state.as_str()),
            json!(job.spec.title()),
            json!(progress.settled),
            json!(progress.total),
            json!(progress.per_second),
            json!(progress.left_ms),
            json!(progress.counters.dead),
            json!(job.runs),
            at(job.created_ms),
            job.started_ms.map_or(Value::Null, at),
            job.ended_ms.map_or(Value::Null, at),
            json!(job.limit),
            json!(job.message),
        ]
    };
    app.shown_jobs().iter().map(row).collect()
}

const POINTS: [&str; 4] = ["chart", "line", "at", "value"];

/// Every point of the charts on screen, within their window.
fn points(app: &App) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for titled in view::charts::on_screen(app) {
        for series in &titled.chart.series {
            let shown = series.points.iter().filter(|(at, _)| (titled.chart.from_ms..=titled.chart.to_ms).contains(at));
            rows.extend(shown.map(|(ms, value)| vec![json!(titled.title), json!(series.name), at(*ms), json!(value)]));
        }
    }
    rows
}

const DECISIONS: [&str; 12] = [
    "at",
    "last",
    "times",
    "decided",
    "dry_run",
    "table",
    "index",
    "direction",
    "from",
    "to",
    "used_per_second",
    "why",
];

fn decisions(app: &App, id: &JobId) -> Vec<Vec<Value>> {
    let Some(job) = app.job(id) else { return Vec::new() };
    let row = |one: &crate::jobs::journal::Decision| {
        vec![
            at(one.at_ms),
            at(one.last_ms),
            json!(one.times),
            json!(one.decided.as_str()),
            json!(one.dry_run),
            json!(one.table),
            json!(one.index),
            json!(one.direction),
            json!(one.from),
            json!(one.to),
            json!(one.consumed),
            json!(one.reason),
        ]
    };
    view::autoscale::decisions(app, job).map(row).collect()
}

const SHARDS: [&str; 10] = [
    "shard",
    "parent",
    "adjacent_parent",
    "state",
    "from",
    "to",
    "in_per_second",
    "read_per_second",
    "lag_ms",
    "holder",
];

fn shards(app: &App, stream: &str) -> Vec<Vec<Value>> {
    let (readings, leases) = (app.readings(stream), app.leases(stream));
    let row = |shard: &crate::cloud::inventory::Shard| {
        let reading = readings.get(shard.id.as_str());
        vec![
            json!(shard.id),
            json!(shard.parent),
            json!(shard.adjacent_parent),
            json!(app.at_stream.life(shard).as_str()),
            // 128 bits: as text, since readers of JSON lose what goes beyond 53.
            json!(shard.from.to_string()),
            json!(shard.to.to_string()),
            json!(app.at_stream.rates.get(&shard.id)),
            json!(reading.and_then(|reading| reading.per_second)),
            json!(reading.map(|reading| reading.lag_ms)),
            json!(Some(App::holder(shard, &readings, &leases)).filter(|holder| holder != "-")),
        ]
    };
    app.at_stream.rows(&readings, &leases).into_iter().map(|(_, shard)| row(shard)).collect()
}

const MAPPINGS: [&str; 10] = [
    "function",
    "uuid",
    "state",
    "reason",
    "last_result",
    "batch_size",
    "parallelization",
    "retries",
    "on_failure",
    "iterator_age_ms",
];

fn mappings(app: &App) -> Vec<Vec<Value>> {
    let row = |(mapping, age): &(crate::cloud::mappings::Mapping, Option<f64>)| {
        vec![
            json!(mapping.function_arn),
            json!(mapping.uuid),
            json!(mapping.state),
            json!(mapping.reason),
            json!(mapping.last_result),
            json!(mapping.batch_size),
            json!(mapping.parallelization),
            mapping.retries.map_or_else(|| json!("for ever"), |retries| json!(retries)),
            json!(mapping.on_failure),
            json!(age),
        ]
    };
    app.shown_mappings().into_iter().map(row).collect()
}

const RECORDS: [&str; 7] = ["arrived", "shard", "sequence", "partition_key", "bytes", "kind", "record"];

fn records(app: &App) -> Vec<Vec<Value>> {
    let row = |line: &crate::console::stream::TailLine| {
        let arrived = Timestamp::from_microsecond(line.arrived_us).map_or(Value::Null, |at| json!(at.to_string()));
        vec![
            arrived,
            json!(line.shard),
            json!(line.sequence),
            json!(line.partition_key),
            json!(line.data.len()),
            json!(line.kind),
            text_or_base64(&line.data),
        ]
    };
    app.at_stream.tail.lines.iter().map(row).collect()
}

const EVENTS: [&str; 5] = ["time", "event_id", "partition_key", "bytes", "payload"];

fn events(scrubber: &playback::Scrubber) -> Vec<Vec<Value>> {
    let row = |event: &crate::event::Event| {
        vec![
            json!(event.time.to_string()),
            json!(event.id.to_string()),
            json!(event.partition_key),
            json!(event.payload.len()),
            text_or_base64(&event.payload),
        ]
    };
    scrubber.events.iter().map(row).collect()
}

/// Bytes as text where they are text, else as base64 after a word that says so.
fn text_or_base64(bytes: &[u8]) -> Value {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!(format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(bytes))),
    }
}

pub(super) const SAMPLES: [&str; 16] = [
    "at",
    "read",
    "on_stream",
    "written",
    "deleted",
    "skipped",
    "dead",
    "replaced",
    "retried",
    "throttled",
    "bytes",
    "wcu",
    "rcu",
    "provisioned_wcu",
    "worst_lag_ms",
    "limit",
];

pub(super) fn sample_row(sample: &Sample) -> Vec<Value> {
    let c = &sample.counters;
    vec![
        at(sample.at_ms),
        json!(c.read),
        json!(c.on_stream),
        json!(c.written),
        json!(c.deleted),
        json!(c.skipped),
        json!(c.dead),
        json!(c.replaced),
        json!(c.retried),
        json!(c.throttled),
        json!(c.bytes),
        json!(c.wcu),
        json!(c.rcu),
        json!(sample.provisioned_wcu),
        json!(sample.shards.iter().map(|shard| shard.lag_ms).max()),
        json!(sample.limit),
    ]
}

pub(super) const LETTERS: [&str; 10] =
    ["number", "at", "source", "line", "offset", "shard", "sequence", "reason", "tried", "payload"];

pub(super) fn letter_row(dead: &DeadLetter) -> Vec<Value> {
    let letter = &dead.letter;
    vec![
        json!(dead.number),
        at(dead.at_ms),
        json!(letter.source),
        json!(letter.line),
        json!(letter.offset),
        json!(letter.shard),
        json!(letter.sequence),
        json!(letter.reason),
        json!(dead.tried),
        text_or_base64(&letter.payload),
    ]
}
