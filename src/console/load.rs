//! What follows from the state: which rows a list shows, what a table bears now, how far a job is.

use std::collections::{HashMap, HashSet};

use super::app::{App, Minutes, Place, Screen};
use super::columns::{Arranged, JobRow, List, StreamRow, arrange};
use super::effect::PlaceId;
use super::history::History;
use super::places::{KnownPlace, Seen};
use super::widget::sparkline::bins;
use crate::capacity::Resource;
use crate::cloud::Context;
use crate::cloud::inventory::{Index, Stream, Table};
use crate::flow::Counters;
use crate::jobs::JobId;
use crate::jobs::journal::{Bump, Job, State};
use crate::jobs::spec::Kind;

/// Minutes of CloudWatch that were asked for so long ago, ms, say nothing of now: those older than four minutes are not
/// shown.
pub const MEASURED_MS: i64 = 240_000;

/// Rates are means over so many ms.
pub const RATE_MS: i64 = 5000;
/// The sparkline's window, ms, and its columns.
const SPARK: (i64, usize) = (300_000, 12);

/// What a table bears now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableLoad {
    /// Write capacity consumed each second, WCU: our writers' last seconds, and what CloudWatch saw beside them.
    pub used: f64,
    /// Writes refused each second.
    pub throttled: f64,
    /// The last five minutes of `used`.
    pub recent: Vec<Option<f64>>,
}

/// A row of the list of tables. What it bears is found out when it is asked for: of a thousand rows a page is drawn.
#[derive(Clone, Copy)]
pub struct TableRow<'a> {
    /// The table.
    pub name: &'a str,
    /// Its region, where the list holds several.
    pub region: &'a str,
    /// Its context.
    pub place: PlaceId,
    /// That is the one at hand.
    pub is_here: bool,
    /// What it is; `None` until it was described.
    pub table: Option<&'a Table>,
    /// A live job of ours writes it: of a thousand tables, for the few of which that is so, jobs are gone through.
    is_written: bool,
    app: &'a App,
}

impl<'a> TableRow<'a> {
    // Not a field: of a thousand rows it would be most of what a frame moves.
    fn seen(&self) -> Seen<'a> {
        let elsewhere = self.app.known_place(self.place).filter(|_| !self.is_here);
        elsewhere.map_or_else(|| self.app.seen(), KnownPlace::seen)
    }

    /// The pasts of the live jobs of ours that write it.
    fn writers(&self) -> Vec<&'a History> {
        if self.is_written { self.app.writers(self.seen().place, self.name) } else { Vec::new() }
    }

    /// What it bears now; nothing until it was described.
    pub fn load(&self) -> TableLoad {
        self.table.map(|_| self.app.load_at(self.seen(), self.name, &self.writers())).unwrap_or_default()
    }

    /// Write capacity consumed each second: of its load what lists are sorted and filtered by.
    pub fn used(&self) -> f64 {
        self.table.map_or(0.0, |_| self.app.used_at(self.seen(), self.name, &self.writers()))
    }

    /// Writes refused each second: of its load what is looked at in every row of each frame.
    pub fn throttled(&self) -> f64 {
        self.table.map_or(0.0, |_| self.app.throttled_at(self.seen(), self.name, &self.writers()))
    }

    /// Whether what it bears is known: CloudWatch was asked about it, or a job of ours writes it.
    pub fn is_measured(&self) -> bool {
        let asked = self.seen().tables_measured_ms.get(self.name);
        asked.is_some_and(|at| self.app.now_ms - at < MEASURED_MS) || !self.writers().is_empty()
    }
}

/// What a stream bears now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamLoad {
    /// Records put each second.
    pub records: Option<f64>,
    /// Bytes put each second.
    pub bytes: Option<f64>,
    /// Records read each second.
    pub read: Option<f64>,
    /// How far its readers are behind, ms.
    pub lag_ms: Option<u64>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Totals, live where the job is.
    pub counters: Counters,
    /// Records that need nothing more.
    pub settled: u64,
    /// Records that the source holds, when known.
    pub total: Option<u64>,
    /// Records settled each second, while it runs.
    pub per_second: Option<f64>,
    /// Time left at that rate, ms, while it runs.
    pub left_ms: Option<f64>,
    /// Writes refused each second, while it runs.
    pub throttled: f64,
}

impl App {
    /// True when `context` is where this console acts.
    pub fn is_here(&self, context: &Context) -> bool {
        Self::is_at(&self.place, context)
    }

    /// True when `context` is that place.
    fn is_at(here: &Place, context: &Context) -> bool {
        // Jobs say their region since they are told it when they are made.
        let region = context.region.as_ref().is_none_or(|region| *region == here.region);
        context.endpoint_url == here.context.endpoint_url && region && context.has_profile_of(&here.context)
    }

    /// Live restores of a context.
    fn live_restores<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = &'a Job> {
        let jobs = self.jobs.iter().flatten();
        jobs.filter(move |job| job.state.is_live() && job.kind() == Kind::Restore && Self::is_at(place, &job.context))
    }

    /// The pasts of the jobs of ours that write `table` of a context now.
    fn writers<'a>(&'a self, place: &'a Place, table: &str) -> Vec<&'a History> {
        let live = self.live_restores(place).filter(|job| job.spec.table() == table);
        live.filter_map(|job| self.histories.get(&job.id)).collect()
    }

    /// The live job of ours that writes `table`.
    pub fn writer(&self, table: &str) -> Option<&Job> {
        self.live_restores(&self.place).find(|job| job.spec.table() == table)
    }

    /// The newest raise of `resource` that is to be given back.
    pub fn bump(&self, resource: &Resource) -> Option<&Bump> {
        self.bumps.iter().rfind(|bump| bump.resource == *resource && self.is_here(&bump.context))
    }

    /// What `table` bears now.
    pub fn table_load(&self, table: &str) -> TableLoad {
        self.load_at(self.seen(), table, &self.writers(&self.place, table))
    }

    fn load_at(&self, seen: Seen<'_>, table: &str, writers: &[&History]) -> TableLoad {
        TableLoad {
            used: self.used_at(seen, table, writers),
            throttled: self.throttled_at(seen, table, writers),
            recent: self.recent_at(seen, table, writers),
        }
    }

    fn used_at(&self, seen: Seen<'_>, table: &str, writers: &[&History]) -> f64 {
        self.per_second_at(writers, seen.consumed.get(table), |c| c.wcu)
    }

    fn throttled_at(&self, seen: Seen<'_>, table: &str, writers: &[&History]) -> f64 {
        self.per_second_at(writers, seen.throttled.get(table), |c| c.throttled as f64)
    }

    /// What our writers of a table count now each second, and what CloudWatch saw beside them.
    fn per_second_at(&self, writers: &[&History], minutes: Option<&Minutes>, of: fn(&Counters) -> f64) -> f64 {
        let now = self.now_ms;
        let ours: f64 = writers.iter().filter_map(|past| past.rate(now, RATE_MS, of)).sum();
        // The newest complete minute, unless it is so old that it says nothing of now.
        let newest = minutes.and_then(|of| of.range(now - MEASURED_MS..=now - 60_000).next_back());
        let beside = newest.map_or(0.0, |(&at, sum)| {
            let in_that_minute = |past: &History| {
                let rates = past.rates(at, of);
                rates.iter().filter(|(t, _)| *t <= at + 60_000).map(|(_, rate)| rate).sum::<f64>() / 60.0
            };
            let ours_then: f64 = writers.iter().map(|past| in_that_minute(past)).sum();
            let per_second = sum / 60.0;
            // A tenth is the difference of two clocks, not somebody else's traffic.
            let is_ours = !writers.is_empty() && per_second - ours_then < per_second * 0.1;
            if is_ours { 0.0 } else { (per_second - ours_then).max(0.0) }
        });
        ours + beside
    }

    /// Write capacity that a table consumed each second in the sparkline's window.
    fn recent_at(&self, seen: Seen<'_>, table: &str, writers: &[&History]) -> Vec<Option<f64>> {
        let (now, from, columns) = (self.now_ms, self.now_ms - SPARK.0, SPARK.1);
        let minutes = seen.consumed.get(table).into_iter().flatten().map(|(at, sum)| (*at, sum / 60.0));
        let mut recent = bins(minutes, from, now, columns, 60_000);
        for past in writers {
            for (bin, ours) in recent.iter_mut().zip(bins(past.rates(from, |c| c.wcu), from, now, columns, 0)) {
                *bin = match (*bin, ours) {
                    (Some(all), Some(ours)) => Some(all.max(ours)),
                    (all, ours) => ours.or(all),
                };
            }
        }
        recent
    }

    /// The rows of the list of tables, in their order; by anything but the name, those not described come last.
    pub fn table_rows(&self) -> Vec<TableRow<'_>> {
        self.arranged_tables().rows
    }

    /// The rows of the list of tables, and those of which it is not known yet whether the filter shows them.
    pub fn arranged_tables(&self) -> Arranged<TableRow<'_>> {
        let rows = self.all_seen().into_iter().flat_map(|seen| self.rows_of(seen));
        if !self.is_many() {
            return arrange(List::Tables, &self.tables_list, rows);
        }
        let mut rows: Vec<TableRow<'_>> = rows.collect();
        rows.sort_by(|a, b| a.name.cmp(b.name).then_with(|| a.region.cmp(b.region)));
        arrange(List::Tables, &self.tables_list, rows.into_iter())
    }

    /// Whether CloudWatch was asked about a stream of a context lately.
    pub fn is_stream_measured(&self, seen: Seen<'_>, name: &str) -> bool {
        seen.streams_measured_ms.get(name).is_some_and(|at| self.now_ms - at < MEASURED_MS)
    }

    /// A row for each name, with what was described of it: both come in the order of names.
    fn rows_of<'a>(&'a self, seen: Seen<'a>) -> impl Iterator<Item = TableRow<'a>> {
        let described = seen.tables.rows.as_deref().unwrap_or_default();
        let names: Box<dyn Iterator<Item = &str>> = match &seen.table_names.rows {
            Some(names) => Box::new(names.iter().map(String::as_str)),
            None => Box::new(described.iter().map(|table| table.name.as_str())),
        };
        let (region, place) = (self.region_among(seen.place), seen.place.id);
        let written: HashSet<&str> = self.live_restores(seen.place).map(|job| job.spec.table()).collect();
        let mut rest = described.iter().peekable();
        names.map(move |name| {
            while rest.next_if(|table| table.name.as_str() < name).is_some() {}
            let table = rest.next_if(|table| table.name == name);
            let is_written = written.contains(name);
            TableRow { name, region, place, is_here: place == self.place.id, table, is_written, app: self }
        })
    }

    /// The region of a place, where lists hold several.
    fn region_among<'a>(&self, place: &'a Place) -> &'a str {
        if self.is_many() { &place.region } else { "" }
    }

    /// The selected row of the list of tables.
    pub fn selected_row(&self) -> Option<TableRow<'_>> {
        let mut rows = self.table_rows();
        let at = self.tables_list.index(rows.iter().map(TableRow::key));
        if at < rows.len() { Some(rows.swap_remove(at)) } else { None }
    }

    /// Names of the tables of this context whose rows are on screen: a few more at most.
    pub fn visible_tables(&self) -> Vec<String> {
        self.visible_among(&self.table_rows()).map(str::to_owned).collect()
    }

    /// The same, where the rows of the list are at hand.
    fn visible_among<'a>(&self, rows: &[TableRow<'a>]) -> impl Iterator<Item = &'a str> {
        let at = self.tables_list.index(rows.iter().map(TableRow::key));
        let height = usize::from(self.size.1).max(1);
        let (first, after) = (at.saturating_sub(height - 1), (at + 1).max(height));
        rows.iter().take(after).skip(first).filter(|row| row.is_here).map(|row| row.name)
    }

    /// When a table was described last, ms since epoch.
    pub(super) fn described_at_ms(&self, name: &str) -> Option<i64> {
        self.described.get(name).map(|last| last.at_ms)
    }

    /// When the oldest of those rows of the list that are on screen was described, ms since epoch.
    pub fn oldest_among_ms(&self, rows: &[TableRow<'_>]) -> Option<i64> {
        self.visible_among(rows).filter_map(|name| self.described_at_ms(name)).min()
    }

    /// When the oldest of what is on screen was described, ms since epoch.
    pub fn oldest_shown_ms(&self) -> Option<i64> {
        match &self.screen {
            Screen::Tables => self.oldest_among_ms(&self.table_rows()),
            Screen::Table(name) => self.described_at_ms(name),
            Screen::Streams => Some(self.streams.at_ms).filter(|at| *at > 0),
            _ => None,
        }
    }

    /// Names of the streams of this context whose rows are on screen: a few more at most.
    pub fn visible_streams(&self) -> Vec<String> {
        let rows = self.stream_rows();
        let at = self.streams_list.index(rows.iter().map(StreamRow::key));
        let height = usize::from(self.size.1).max(1);
        let (first, after) = (at.saturating_sub(height - 1), (at + 1).max(height));
        let seen = rows.iter().take(after).skip(first).filter(|row| row.is_here);
        seen.map(|row| row.stream.name.clone()).collect()
    }

    /// What `of` says of a stream each second, in the newest complete minute.
    fn stream_per_second(&self, of: &HashMap<String, Minutes>, stream: &str) -> Option<f64> {
        let newest = of.get(stream)?.range(self.now_ms - MEASURED_MS..=self.now_ms - 60_000).next_back();
        newest.map(|(_, sum)| sum / 60.0)
    }

    /// What a stream of this context bears now.
    pub fn stream_load(&self, stream: &str) -> StreamLoad {
        let readers: Vec<&History> = self.stream_readers(stream).map(|(_, past)| past).collect();
        self.stream_load_at(self.seen(), stream, &readers)
    }

    fn stream_load_at(&self, seen: Seen<'_>, stream: &str, readers: &[&History]) -> StreamLoad {
        let ours = readers.iter().filter_map(|past| past.given.per_second).reduce(|a, b| a + b);
        let read = self.stream_per_second(seen.stream_read, stream);
        let behind = readers.iter().filter_map(|past| past.worst_lag_ms()).max();
        StreamLoad {
            records: self.stream_per_second(seen.stream_records, stream),
            bytes: self.stream_per_second(seen.stream_bytes, stream),
            // By our live jobs, else by all polling readers in the newest complete minute.
            read: ours.map_or(read, |ours| Some(ours.max(read.unwrap_or_default()))),
            // Each shard of our live jobs, else CloudWatch's last minutes.
            lag_ms: behind.or_else(|| {
                let minutes = seen.stream_lag.get(stream)?;
                minutes.range(self.now_ms - MEASURED_MS..).next_back().map(|(_, ms)| *ms as u64)
            }),
        }
    }

    /// Records put on a stream each second, in the newest complete minute.
    pub fn stream_rate(&self, stream: &str) -> Option<f64> {
        self.stream_load(stream).records
    }

    /// Bytes put on a stream each second, in the newest complete minute.
    pub fn stream_byte_rate(&self, stream: &str) -> Option<f64> {
        self.stream_load(stream).bytes
    }

    /// Records read from a stream each second.
    pub fn stream_read_rate(&self, stream: &str) -> Option<f64> {
        self.stream_load(stream).read
    }

    /// How far the readers of a stream are behind, ms.
    pub fn stream_lag_ms(&self, stream: &str) -> Option<u64> {
        self.stream_load(stream).lag_ms
    }

    /// Live jobs of this context that read `stream`, with their pasts.
    pub(super) fn stream_readers<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = (&'a Job, &'a History)> {
        let of_it = self.live_readers(&self.place).filter(move |(of, ..)| *of == stream);
        of_it.map(|(_, job, past)| (job, past))
    }

    /// Live jobs of a context that read a stream: which, and with their pasts.
    fn live_readers<'a>(&'a self, place: &'a Place) -> impl Iterator<Item = (&'a str, &'a Job, &'a History)> {
        let live = self.jobs.iter().flatten().filter(|job| job.state.is_live());
        live.filter(|job| Self::is_at(place, &job.context))
            .filter_map(|job| Some((job.spec.reads_stream()?, job, self.histories.get(&job.id)?)))
    }

    /// The streams that are shown, in their order.
    pub fn shown_streams(&self) -> Vec<&Stream> {
        self.stream_rows().into_iter().map(|row| row.stream).collect()
    }

    /// The rows of the list of streams, in their order.
    pub fn stream_rows(&self) -> Vec<StreamRow<'_>> {
        self.arranged_streams().rows
    }

    /// The rows of the list of streams, and those of which it is not known yet whether the filter shows them.
    pub fn arranged_streams(&self) -> Arranged<StreamRow<'_>> {
        let mut rows: Vec<StreamRow<'_>> = Vec::new();
        for seen in self.all_seen() {
            let (region, place) = (self.region_among(seen.place), seen.place.id);
            // Gone through once: a thousand streams may stand beside a thousand jobs that have ended.
            let mut readers: HashMap<&str, Vec<&History>> = HashMap::new();
            for (stream, _, past) in self.live_readers(seen.place) {
                readers.entry(stream).or_default().push(past);
            }
            let readers = |stream: &Stream| readers.get(stream.name.as_str()).map_or(&[][..], Vec::as_slice);
            rows.extend(seen.streams.rows.iter().flatten().map(|stream| StreamRow {
                stream,
                region,
                place,
                is_here: place == self.place.id,
                is_measured: self.is_stream_measured(seen, &stream.name),
                load: self.stream_load_at(seen, &stream.name, readers(stream)),
            }));
        }
        if self.is_many() {
            rows.sort_by(|a, b| a.stream.name.cmp(&b.stream.name).then_with(|| a.region.cmp(b.region)));
        }
        arrange(List::Streams, &self.streams_list, rows.into_iter())
    }

    /// The selected row of the list of streams.
    pub fn selected_stream_row(&self) -> Option<StreamRow<'_>> {
        let rows = self.stream_rows();
        let at = self.streams_list.index(rows.iter().map(StreamRow::key));
        rows.get(at).copied()
    }

    /// The jobs that are shown, in their order.
    pub fn shown_jobs(&self) -> Vec<&Job> {
        let rows = self.jobs.iter().flatten().map(|job| JobRow { app: self, job });
        arrange(List::Jobs, &self.jobs_list, rows).rows.into_iter().map(|row| row.job).collect()
    }

    /// How many jobs are live.
    pub fn live_jobs(&self) -> usize {
        self.jobs.iter().flatten().filter(|job| job.state.is_live()).count()
    }

    /// How far `job` is.
    pub fn progress(&self, job: &Job) -> Progress {
        let past = self.histories.get(&job.id);
        let newest = past.and_then(|past| past.newest.as_ref());
        // What was written after the last checkpoint of a killed worker will be done again: only a live one is ahead.
        let counters = newest.filter(|_| job.state.is_live()).map_or(job.counters, |sample| sample.counters);
        let is_running = job.state == State::Running;
        let rate = |over, of: &dyn Fn(&Counters) -> f64| {
            past.filter(|_| is_running).and_then(|past| past.rate(self.now_ms, over, of))
        };
        let speed = |counters: &Counters| job.spec.settled(counters) as f64;
        let per_second = rate(RATE_MS, &speed);
        // Over half a minute: an ETA that jumps with each second is none.
        let steady = rate(30_000, &speed).filter(|rate| *rate > 0.0);
        let done = job.spec.settled(&counters);
        let left_ms = job.total.zip(steady).map(|(total, rate)| total.saturating_sub(done) as f64 / rate * 1000.0);
        Progress {
            counters,
            settled: done,
            total: job.total,
            per_second,
            left_ms,
            throttled: rate(RATE_MS, &|c| c.throttled as f64).unwrap_or_default(),
        }
    }

    /// Write capacity of `table` as it was last seen: by its job's newest sample or by its description.
    pub fn provisioned_wcu(&self, table: &str) -> Option<u64> {
        if let Some(described) = self.table(table) {
            return described.provisioned.map(|p| p.write);
        }
        let mut writers = self.writers(&self.place, table).into_iter();
        let sampled = writers.find_map(|past| past.newest.as_ref()?.provisioned_wcu);
        sampled.map(|wcu| wcu as u64)
    }

    /// The selected table's name.
    pub fn selected_table(&self) -> Option<String> {
        self.selected_row().map(|row| row.name.to_owned())
    }

    /// The index that is selected on a table's screen; `None` is the table itself.
    pub fn selected_index(&self) -> Option<&Index> {
        let Screen::Table(name) = &self.screen else { return None };
        self.table(name)?.indexes.get(self.index_at.checked_sub(1)?)
    }

    /// A stream by its name.
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        if let Some(shown) = self.at_stream.described.as_ref().filter(|stream| stream.name == name) {
            return Some(shown);
        }
        self.streams.rows.as_ref()?.iter().find(|stream| stream.name == name)
    }

    /// The selected stream.
    pub fn selected_stream(&self) -> Option<&Stream> {
        self.selected_stream_row().map(|row| row.stream)
    }

    /// The job that keys act on: the one on screen, or the selected one.
    pub fn selected_job(&self) -> Option<JobId> {
        match &self.screen {
            Screen::Job(id) | Screen::Dead(id) | Screen::Autoscale(id) => Some(id.clone()),
            Screen::Jobs => {
                let rows = self.shown_jobs();
                rows.get(self.jobs_list.index(rows.iter().map(|job| job.id.0.as_str()))).map(|job| job.id.clone())
            }
            _ => None,
        }
    }
}
