//! Views as files: the rows of the screen in its order with exact numbers, as CSV or JSON; a job's samples and dead letters
//! whole from the journal; the screen as a picture. Pure up to the file, which [`write`] makes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use tui_input::Input;

use super::app::{App, Overlay, Prompt, Purpose, Screen};
use super::confirm::{Confirm, Token};
use super::effect::Effect;
use super::view;
use super::widget::text::shown;
use super::{picture, playback};
use crate::jobs::JobId;
use crate::jobs::journal::{DeadLetter, Journal, JournalError, Sample, now_ms};
use crate::report;

/// How a file is written; its name's ending says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of names, then a line a row (RFC 4180).
    Csv,
    /// A list of objects.
    Json,
    /// The screen as a picture.
    Svg,
    /// The screen as text.
    Text,
    /// A job's report: a page, or Markdown with its pictures beside it.
    Report(report::Format),
}

impl Format {
    /// The format that the name of a file asks for.
    pub fn of(path: &Path) -> Result<Self, String> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        match ending.as_str() {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "svg" => Ok(Self::Svg),
            "txt" => Ok(Self::Text),
            _ => match report::Format::of_path(path) {
                Some(format) => Ok(Self::Report(format)),
                None => Err("it ends in .csv, .json, .svg, .txt, or for a job's report in .html or .md".to_owned()),
            },
        }
    }
}

/// Rows with names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sheet {
    /// The columns' names.
    pub columns: Vec<&'static str>,
    /// The rows, a value for each column.
    pub rows: Vec<Vec<Value>>,
}

/// What goes into a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Rows.
    Sheet(Sheet),
    /// A job's samples from when up to when, ms since epoch, as the journal has them: every second.
    Samples(JobId, i64, i64),
    /// All open dead letters of a job.
    Letters(JobId),
    /// A text: a picture.
    Text(String),
    /// The report of a job.
    Report(JobId),
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Where.
    pub path: PathBuf,
    /// How.
    pub format: Format,
    /// What.
    pub content: Content,
    /// A file of that name gives way.
    pub replaces: bool,
}

/// A moment as files have it: RFC 3339, UTC.
fn at(ms: i64) -> Value {
    Timestamp::from_millisecond(ms).map_or(Value::Null, |at| Value::String(at.to_string()))
}

/// What the view exports, and what its file is called. `None` where there are no rows.
fn content(app: &App) -> Option<(String, Content)> {
    let sheet = |name: &str, columns: &[&'static str], rows: Vec<Vec<Value>>| {
        Some((name.to_owned(), Content::Sheet(Sheet { columns: columns.to_vec(), rows })))
    };
    match &app.screen {
        Screen::Tables => sheet("tables", &TABLES, tables(app)),
        Screen::Streams => sheet("streams", &STREAMS, streams(app)),
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

fn tables(app: &App) -> Vec<Vec<Value>> {
    let row = |row: &super::load::TableRow<'_>| match (row.table, row.load()) {
        (Some(table), load) => vec![
            json!(table.name),
            json!(table.status),
            json!(table.items),
            json!(table.bytes),
            json!(load.used),
            json!(table.provisioned.map(|p| p.write)),
            json!(table.provisioned.map(|p| p.read)),
            json!(load.throttled),
            json!(table.stream),
            json!(table.indexes.len()),
        ],
        // It was not described: nothing is known but its name.
        (None, _) => {
            std::iter::once(json!(row.name)).chain(std::iter::repeat_n(Value::Null, TABLES.len() - 1)).collect()
        }
    };
    app.table_rows().iter().map(row).collect()
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

fn streams(app: &App) -> Vec<Vec<Value>> {
    let row = |stream: &&crate::cloud::inventory::Stream| {
        let is_known = !stream.status.is_empty();
        vec![
            json!(stream.name),
            json!(Some(&stream.arn).filter(|arn| !arn.is_empty())),
            json!(Some(&stream.status).filter(|_| is_known)),
            json!(Some(&stream.mode).filter(|_| is_known)),
            json!(Some(stream.open_shards()).filter(|_| is_known)),
            json!(Some(stream.retention_hours).filter(|_| is_known)),
            json!(app.stream_rate(&stream.name)),
            json!(app.stream_byte_rate(&stream.name)),
            json!(app.stream_read_rate(&stream.name)),
            json!(app.stream_lag_ms(&stream.name)),
        ]
    };
    app.shown_streams().iter().map(row).collect()
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

const DECISIONS: [&str; 11] =
    ["at", "last", "times", "decided", "table", "index", "direction", "from", "to", "used_per_second", "why"];

fn decisions(app: &App, id: &JobId) -> Vec<Vec<Value>> {
    let Some(job) = app.job(id) else { return Vec::new() };
    let row = |one: &crate::jobs::journal::Decision| {
        vec![
            at(one.at_ms),
            at(one.last_ms),
            json!(one.times),
            json!(one.decided.as_str()),
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

const MAPPINGS: [&str; 9] = [
    "function",
    "uuid",
    "state",
    "reason",
    "last_result",
    "batch_size",
    "parallelization",
    "on_failure",
    "iterator_age_ms",
];

fn mappings(app: &App) -> Vec<Vec<Value>> {
    let known = app.at_stream.mappings.iter().flatten().flatten();
    let row = |(mapping, age): &(crate::cloud::mappings::Mapping, Option<f64>)| {
        vec![
            json!(mapping.function_arn),
            json!(mapping.uuid),
            json!(mapping.state),
            json!(mapping.reason),
            json!(mapping.last_result),
            json!(mapping.batch_size),
            json!(mapping.parallelization),
            json!(mapping.on_failure),
            json!(age),
        ]
    };
    known.map(row).collect()
}

const RECORDS: [&str; 7] = ["arrived", "shard", "sequence", "partition_key", "bytes", "kind", "record"];

fn records(app: &App) -> Vec<Vec<Value>> {
    let row = |line: &super::stream::TailLine| {
        let arrived = Timestamp::from_microsecond(line.arrived_us).map_or(Value::Null, |at| json!(at.to_string()));
        vec![
            arrived,
            json!(line.shard),
            json!(line.sequence),
            json!(line.partition_key),
            json!(line.bytes),
            json!(line.kind),
            json!(line.pretty.join("\n")),
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

const SAMPLES: [&str; 16] = [
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

fn sample_row(sample: &Sample) -> Vec<Value> {
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

const LETTERS: [&str; 10] =
    ["number", "at", "source", "line", "offset", "shard", "sequence", "reason", "tried", "payload"];

fn letter_row(dead: &DeadLetter) -> Vec<Value> {
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

/// Which ending is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// The rows of the view.
    Rows,
    /// The screen as a picture.
    Picture,
    /// The job's report.
    Report,
}

/// Asks where to: with a name that nothing has yet.
pub(super) fn ask(app: &mut App, proposed: Proposed) {
    let name = match content(app) {
        _ if proposed == Proposed::Picture => "screen".to_owned(),
        Some((name, _)) => name,
        None => {
            let key =
                app.keymap.chord(super::keymap::Scope::Global, super::keymap::Action::Picture).unwrap_or_default();
            return app.say(format!("a form has no rows: {key} writes the screen itself"), false);
        }
    };
    // A stream's or a table's name is no path.
    let name: String = name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let stamp: String =
        at(app.now_ms).as_str().unwrap_or_default().chars().filter(char::is_ascii_digit).take(14).collect();
    let ending = match proposed {
        Proposed::Rows => "csv",
        Proposed::Picture => "svg",
        Proposed::Report => "html",
    };
    let input = Input::new(format!("{name}-{stamp}.{ending}"));
    app.overlay = Some(Overlay::Prompt(Prompt { purpose: Purpose::Export, input, error: None }));
}

/// The name of a file was typed: what is to be written there.
pub(super) fn accept(app: &mut App, mut prompt: Prompt, text: &str) -> Vec<Effect> {
    match typed(app, text) {
        Ok(export) => vec![Effect::Export(export)],
        Err(words) => {
            prompt.error = Some(words);
            app.overlay = Some(Overlay::Prompt(prompt));
            Vec::new()
        }
    }
}

fn typed(app: &mut App, text: &str) -> Result<Export, String> {
    if text.is_empty() {
        return Err("a file name".to_owned());
    }
    // What is typed without a folder goes where the console was started.
    let path = app.folder.join(text);
    let format = Format::of(&path)?;
    let content = match format {
        Format::Svg | Format::Text => {
            // The prompt is gone; what was said before is no part of the picture.
            app.notice = None;
            let screen = view::still(app);
            let ground = if app.theme.is_light() { &picture::LIGHT } else { &picture::DARK };
            Content::Text(if format == Format::Svg { picture::svg(&screen, ground) } else { picture::text(&screen) })
        }
        Format::Report(_) => match &app.screen {
            Screen::Job(id) | Screen::Dead(id) | Screen::Autoscale(id) => Content::Report(id.clone()),
            _ => return Err(".html and .md are the report of a job: open one first".to_owned()),
        },
        Format::Csv | Format::Json => {
            content(app).map(|(_, content)| content).ok_or("a form has no rows: .svg or .txt is its screen")?
        }
    };
    Ok(Export { path, format, content, replaces: false })
}

/// There is a file of that name: asks whether it may go.
pub(super) fn ask_replace(app: &mut App, export: Export) {
    let name = shown(&export.path.to_string_lossy());
    app.overlay = Some(Overlay::Confirm(Box::new(Confirm {
        title: "Replace a file".to_owned(),
        facts: vec![
            ("file", name),
            ("now", "it is there already".to_owned()),
            ("then", "what was in it is lost".to_owned()),
        ],
        undo: "none".to_owned(),
        token: Token::Yes,
        typed: Input::default(),
        effect: Effect::Export(Export { replaces: true, ..export }),
    })));
}

/// What came of writing a file.
#[derive(Debug)]
pub enum Written {
    /// It is there, in words.
    Done(String),
    /// There was one of that name.
    Exists(Export),
}

/// Writes the file, whole or not at all: a full disk or a crash leaves none that is half written.
///
/// # Errors
/// In words: what could not be written, and why.
pub fn write(export: Export, journal: &Journal) -> Result<Written, String> {
    let name = shown(&export.path.to_string_lossy());
    if !export.replaces && export.path.exists() {
        return Ok(Written::Exists(export));
    }
    if let (Content::Report(id), Format::Report(format)) = (&export.content, export.format) {
        return write_report(&export.path, id, format, journal).map(Written::Done);
    }
    let folder = export.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: &dyn std::fmt::Display| format!("{name} could not be written: {error}");
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    let mut out = BufWriter::new(file);
    let rows = fill(&mut out, &export, journal).map_err(|error| failed(&error))?;
    let file = out.into_inner().map_err(|error| failed(&error.into_error()))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    let kept: Result<File, _> =
        if export.replaces { file.persist(&export.path) } else { file.persist_noclobber(&export.path) };
    match kept {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(Written::Exists(export)),
        Err(error) => return Err(failed(&error.error)),
    }
    let what = match (rows, export.format) {
        (None, Format::Svg) => "the screen as a picture".to_owned(),
        (None, Format::Text) => "the screen as text".to_owned(),
        (None, _) => "it".to_owned(),
        (Some(1), _) => "1 row".to_owned(),
        (Some(rows), _) => format!("{rows} rows"),
    };
    Ok(Written::Done(format!("wrote {what} to {name}")))
}

fn write_report(path: &Path, id: &JobId, format: report::Format, journal: &Journal) -> Result<String, String> {
    let name = shown(&path.to_string_lossy());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let made = report::of_job(journal, id, format, &stem, now_ms()).map_err(|error| error.to_string())?;
    let files = made.save(path).map_err(|error| format!("{name} could not be written: {error}"))?;
    let pictures = match files.len() {
        0 | 1 => String::new(),
        2 => ", with a picture beside it".to_owned(),
        n => format!(", with {} pictures beside it", n - 1),
    };
    Ok(format!("wrote the report of {id} to {name}{pictures}"))
}

/// How many samples or letters are read at once.
const PAGE: usize = 4_096;

#[derive(Debug, thiserror::Error)]
enum Unfilled {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Writes the content; how many rows there were, where there are rows.
fn fill(out: &mut impl Write, export: &Export, journal: &Journal) -> Result<Option<u64>, Unfilled> {
    match &export.content {
        // It is written by itself, with its pictures.
        Content::Report(_) => Ok(None),
        Content::Text(text) => {
            out.write_all(text.as_bytes())?;
            Ok(None)
        }
        Content::Sheet(sheet) => {
            let mut rows = Rows::begin(out, export.format, &sheet.columns)?;
            for row in &sheet.rows {
                rows.row(row)?;
            }
            Ok(Some(rows.end()?))
        }
        Content::Samples(id, from_ms, to_ms) => {
            let mut rows = Rows::begin(out, export.format, &SAMPLES)?;
            let mut from = *from_ms;
            loop {
                // A page of time: a week of seconds is never in memory at once.
                let until = from.saturating_add(PAGE as i64 * 1000).min(*to_ms);
                for sample in journal.samples_every(id, from, until, 1)? {
                    rows.row(&sample_row(&sample))?;
                }
                if until >= *to_ms {
                    break;
                }
                from = until + 1;
            }
            Ok(Some(rows.end()?))
        }
        Content::Letters(id) => {
            let mut rows = Rows::begin(out, export.format, &LETTERS)?;
            let mut after = i64::MIN;
            loop {
                let letters = journal.letters(id, after, PAGE)?;
                let Some(last) = letters.last() else { break };
                after = last.number;
                for letter in &letters {
                    rows.row(&letter_row(letter))?;
                }
            }
            Ok(Some(rows.end()?))
        }
    }
}

/// Rows as they are written.
struct Rows<'a, W> {
    out: &'a mut W,
    format: Format,
    columns: &'a [&'static str],
    written: u64,
}

impl<'a, W: Write> Rows<'a, W> {
    fn begin(out: &'a mut W, format: Format, columns: &'a [&'static str]) -> io::Result<Self> {
        match format {
            Format::Json => out.write_all(b"[")?,
            _ => writeln!(out, "{}\r", columns.join(","))?,
        }
        Ok(Self { out, format, columns, written: 0 })
    }

    fn row(&mut self, values: &[Value]) -> io::Result<()> {
        if self.format == Format::Json {
            // By hand, so that the names keep their order.
            let pairs = self.columns.iter().zip(values).map(|(name, value)| format!("\"{name}\":{value}"));
            let between = if self.written == 0 { "\n" } else { ",\n" };
            write!(self.out, "{between}{{{}}}", pairs.collect::<Vec<_>>().join(","))?;
        } else {
            let cells: Vec<String> = values.iter().map(csv_cell).collect();
            writeln!(self.out, "{}\r", cells.join(","))?;
        }
        self.written += 1;
        Ok(())
    }

    fn end(self) -> io::Result<u64> {
        if self.format == Format::Json {
            self.out.write_all(b"\n]\n")?;
        }
        Ok(self.written)
    }
}

/// A cell of CSV. A text that a spreadsheet would take for a formula is given an apostrophe before it (OWASP, CSV injection);
/// numbers are as they are.
fn csv_cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        number => return number.to_string(),
    };
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let guarded = if is_formula { format!("'{text}") } else { text.clone() };
    if guarded.contains([',', '"', '\n', '\r', '\'']) || guarded.starts_with(' ') || guarded.ends_with(' ') {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
        (folder, journal)
    }

    fn sheet() -> Sheet {
        let rows = vec![
            vec![json!("=1+1"), json!(31_234_567_u64)],
            vec![json!("a,\"b\"\n\u{1b}[2J"), json!(0.1)],
            vec![json!("日本"), Value::Null],
            vec![json!("-5"), json!(-5)],
        ];
        Sheet { columns: vec!["name", "n"], rows }
    }

    fn export(path: PathBuf, content: Content) -> Export {
        Export { format: Format::of(&path).unwrap(), path, content, replaces: false }
    }

    #[test]
    fn csv_has_exact_numbers_and_no_formulas() {
        let (folder, journal) = journal();
        let path = folder.path().join("x.csv");
        let Written::Done(words) = write(export(path.clone(), Content::Sheet(sheet())), &journal).unwrap() else {
            panic!("nothing was there")
        };
        assert_eq!(words, format!("wrote 4 rows to {}", path.display()));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "name,n\r\n\"'=1+1\",31234567\r\n\"a,\"\"b\"\"\n\u{1b}[2J\",0.1\r\n日本,\r\n\"'-5\",-5\r\n");
    }

    #[test]
    fn json_is_a_list_of_objects() {
        let (folder, journal) = journal();
        let path = folder.path().join("x.json");
        write(export(path.clone(), Content::Sheet(sheet())), &journal).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(rows[0], json!({ "name": "=1+1", "n": 31_234_567 }));
        assert_eq!(rows[2], json!({ "name": "日本", "n": null }));
        let empty = export(folder.path().join("none.json"), Content::Sheet(Sheet::default()));
        write(empty, &journal).unwrap();
        let none: Vec<Value> =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join("none.json")).unwrap()).unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn a_file_that_is_there_is_replaced_only_when_that_was_asked_for() {
        let (folder, journal) = journal();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, "mine").unwrap();
        let Written::Exists(again) = write(export(path.clone(), Content::Sheet(sheet())), &journal).unwrap() else {
            panic!("it was there")
        };
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        write(Export { replaces: true, ..again }, &journal).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("name,n"));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
    }

    #[test]
    fn a_jobs_samples_and_letters_are_written_whole_from_the_journal() {
        use crate::cloud::Context;
        use crate::console::fixture;
        use crate::jobs::journal::Commit;

        let (folder, mut journal) = journal();
        let id = journal.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        for n in 0..10_000_i64 {
            let sample = fixture::sample_at(n * 1000);
            let letter = [fixture::letter("no \u{1b}[31mJSON", b"\xff{")];
            let letters = if n == 5 { &letter[..] } else { &[] };
            // Over several pages of time.
            if n % 100 == 0 || n < 100 {
                journal.commit(&id, &Commit { sample: Some(&sample), letters, ..Commit::default() }).unwrap();
            }
        }
        let path = folder.path().join("samples.json");
        let content = Content::Samples(id.clone(), 0, 9_999_000);
        let Written::Done(words) = write(export(path.clone(), content), &journal).unwrap() else { panic!() };
        assert!(words.starts_with("wrote 199 rows to "), "{words}");
        let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!((&rows[1]["at"], &rows[1]["written"]), (&json!("1970-01-01T00:00:01Z"), &json!(100)));
        let path = folder.path().join("dead.json");
        write(export(path.clone(), Content::Letters(id)), &journal).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!((rows.len(), &rows[0]["payload"]), (1, &json!("base64:/3s=")));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let (folder, journal) = journal();
        let path = folder.path().join("no/x.csv");
        let words = write(export(path, Content::Sheet(sheet())), &journal).unwrap_err();
        assert!(words.contains("no/x.csv could not be written"), "{words}");
    }

    #[test]
    fn a_jobs_report_is_a_page_or_markdown_with_pictures_beside_it() {
        use crate::cloud::Context;
        use crate::console::fixture;
        use crate::jobs::journal::Commit;

        let (folder, mut journal) = journal();
        let id = journal.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        for n in 1..60_i64 {
            let sample = fixture::sample_at(n * 1000);
            journal.commit(&id, &Commit { sample: Some(&sample), ..Commit::default() }).unwrap();
        }
        let path = folder.path().join("night.html");
        let Written::Done(words) = write(export(path.clone(), Content::Report(id.clone())), &journal).unwrap() else {
            panic!()
        };
        assert_eq!(words, format!("wrote the report of {id} to {}", path.display()));
        assert!(std::fs::read_to_string(path).unwrap().contains(&id.0));
        let path = folder.path().join("night.md");
        let Written::Done(words) = write(export(path, Content::Report(id.clone())), &journal).unwrap() else {
            panic!()
        };
        assert!(words.contains("beside it"), "{words}");
        let again = export(folder.path().join("night.md"), Content::Report(id));
        assert!(matches!(write(again, &journal).unwrap(), Written::Exists(_)), "it is not replaced unasked");
    }

    #[test]
    fn the_name_says_the_format() {
        for (name, format) in
            [("a.CSV", Format::Csv), ("b.json", Format::Json), ("c.svg", Format::Svg), ("d.txt", Format::Text)]
        {
            assert_eq!(Format::of(Path::new(name)), Ok(format));
        }
        assert!(Format::of(Path::new("a")).is_err() && Format::of(Path::new("a.xls")).is_err());
    }
}
