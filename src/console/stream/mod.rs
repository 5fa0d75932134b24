//! One stream on screen: its shards, the Lambda functions that read it, a tail of its records. What keys do there, what is
//! due to be asked, and what answers make of it.

mod changes;
mod reading;
mod tail;

use std::collections::{HashMap, HashSet};

use super::app::{App, Overlay, Screen, Text};
use super::columns::{List, ShardRow, arrange};
use super::effect::{Effect, Request};
use super::keymap::Action;
use super::listing::{Listing, Sort};
use super::spot::Spot;
use super::view;
use super::widget::text::shown;
use crate::cloud::inventory::{Shard, Stream};
use crate::cloud::mappings::Mapping;
use crate::cloud::metrics;
use crate::cloud::streams::{self, Life, Relative, StreamMinutes, short};
use crate::cloud::{Class, CloudError};
pub(super) use changes::{type_retention, typed_retention};
pub use reading::{Leases, Readings};
pub use tail::{TAIL, TAIL_FROM, TailLine, TailNews, TailQuestion, TailState};

/// How often a stream on screen is described, ms; with many shards less often.
const DESCRIBE_MS: i64 = 5_000;
/// The same while it is being changed.
const CHANGING_MS: i64 = 1_000;
/// How often its mappings are listed, ms: on their own screen, and for the line on the stream's.
const MAPPINGS_MS: (i64, i64) = (5_000, 30_000);
/// Shard metrics have one-minute periods.
const RATES_MS: i64 = 60_000;
/// A question without an answer is asked again after so long, ms.
const LOST_MS: i64 = 30_000;

/// Something to be done for a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamEffect {
    /// Describe it with its shards, and see which of the closed ones have expired.
    Load(Request, String),
    /// List the event source mappings of the stream with this ARN.
    LoadMappings(Request, String),
    /// Ask CloudWatch for the lines of the stream's charts: from, to (ms since epoch) and the length of a period, s.
    LoadChart(Request, String, (i64, i64), i32),
    /// Ask CloudWatch what came in by these shards.
    LoadRates(String, Vec<String>),
    /// Let its records stay so many hours.
    SetRetention {
        /// The stream.
        stream: String,
        /// Hours before.
        from: u32,
        /// Hours after.
        to: u32,
    },
    /// Pause an event source mapping, or let it go on.
    SetMapping {
        /// The mapping.
        uuid: String,
        /// Its function, for words.
        function: String,
        /// True lets it go on.
        enabled: bool,
    },
    /// Begin a tail.
    Tail(Request, TailQuestion),
    /// End the tail.
    StopTail,
}

/// A stream with its shards, and which of them can be read where some are closed.
pub type Described = Result<Box<(Stream, Option<HashSet<String>>)>, CloudError>;

/// Event source mappings, each with its iterator age in ms, or why they are not known.
pub type KnownMappings = Result<Vec<(Mapping, Option<f64>)>, CloudError>;

/// Something came back.
#[derive(Clone, Debug)]
pub enum StreamMsg {
    /// A stream with its shards, and which of them can be read where some are closed.
    Described(Request, Described),
    /// Its event source mappings, each with its iterator age in ms.
    Mappings(Request, KnownMappings),
    /// The lines of its charts, and the length of their periods, ms.
    Chart(Request, Result<StreamMinutes, CloudError>, i64),
    /// Records put into shards each second.
    Rates(String, Result<Vec<(String, Option<f64>)>, CloudError>),
    /// Of the tail asked for by that request.
    Tail(Request, TailNews),
}

/// The stream on screen.
#[derive(Debug, Default)]
pub struct StreamState {
    /// Its name; what follows is of it.
    pub name: String,
    /// The newest description, with shards.
    pub described: Option<Stream>,
    /// The family tree of its shards.
    pub family: Vec<Relative>,
    /// Which shards can be read; `None` where none is closed.
    pub readable: Option<HashSet<String>>,
    request: Request,
    asked_ms: Option<i64>,
    at_ms: Option<i64>,
    /// How the shards are listed.
    pub list: Listing,
    /// How those of other streams were.
    lists: HashMap<String, Listing>,
    /// Its event source mappings, or why they are not known.
    pub mappings: Option<KnownMappings>,
    mappings_request: Request,
    mappings_asked_ms: Option<i64>,
    mappings_at_ms: Option<i64>,
    /// How the mappings are listed.
    pub mappings_list: Listing,
    /// Records put into each shard a second, where CloudWatch has them.
    pub rates: HashMap<String, f64>,
    rates_ms: Option<i64>,
    /// The lines of its charts, and the length of their periods, ms.
    pub chart: Option<(StreamMinutes, i64)>,
    chart_request: Request,
    /// What was asked for: the window, its end where it is held, and when, ms since epoch.
    chart_asked: Option<((i64, Option<i64>), i64)>,
    /// The tail.
    pub tail: TailState,
}

impl StreamState {
    /// Forgets what it knows of another stream.
    fn show(&mut self, name: &str) {
        if self.name != name {
            let before = std::mem::take(self);
            name.clone_into(&mut self.name);
            self.tail = before.tail;
            // How its shards were listed is found again when it is shown again.
            self.lists = before.lists;
            self.lists.insert(before.name, before.list);
            self.list = self.lists.remove(name).unwrap_or_default();
        }
    }

    /// Asks for everything again without waiting for its turn.
    pub fn ask_again(&mut self) {
        self.at_ms = None;
        self.asked_ms = None;
        self.mappings_at_ms = None;
        self.mappings_asked_ms = None;
        self.rates_ms = None;
        self.chart_asked = None;
    }

    /// A shard that stands in the family.
    pub fn shard(&self, relative: &Relative) -> Option<&Shard> {
        self.described.as_ref()?.shards.get(relative.shard)
    }

    /// Whether a shard still gives and takes records.
    pub fn life(&self, shard: &Shard) -> Life {
        match (shard.open, &self.readable) {
            (true, _) => Life::Open,
            (false, Some(readable)) if !readable.contains(&shard.id) => Life::Expired,
            (false, _) => Life::Closed,
        }
    }

    /// The shards that are shown, in their order.
    pub fn rows<'a>(&'a self, readings: &'a Readings<'a>, leases: &'a Leases<'a>) -> Vec<(&'a Relative, &'a Shard)> {
        let all = self.family.iter().filter_map(|relative| Some((relative, self.shard(relative)?)));
        let rows = all.map(|(relative, shard)| ShardRow {
            relative,
            shard,
            life: self.life(shard),
            rate: self.rates.get(&shard.id).copied(),
            readings,
            leases,
        });
        arrange(List::Shards, &self.list, rows).rows.into_iter().map(|row| (row.relative, row.shard)).collect()
    }

    /// True while all shards are shown as a family.
    pub fn is_family(&self) -> bool {
        self.list.sort == Sort::default() && self.list.filter.is_empty()
    }
}

impl App {
    /// The selected shard on a stream's screen.
    pub fn selected_shard(&self) -> Option<&Shard> {
        let Screen::Stream(name) = &self.screen else { return None };
        let (readings, leases) = (self.readings(name), self.leases(name));
        let rows = self.at_stream.rows(&readings, &leases);
        let at = self.at_stream.list.index(rows.iter().map(|(_, shard)| shard.id.as_str()));
        let id = rows.get(at).map(|(_, shard)| shard.id.clone())?;
        self.at_stream.described.as_ref()?.shards.iter().find(|shard| shard.id == id)
    }

    /// The selected event source mapping.
    pub fn selected_mapping(&self) -> Option<&Mapping> {
        let rows = self.shown_mappings();
        rows.get(self.at_stream.mappings_list.index(rows.iter().map(|(m, _)| m.uuid.as_str()))).map(|(m, _)| m)
    }

    /// What is due to be asked of the stream on screen.
    pub(super) fn due_stream(&mut self, name: &str, effects: &mut Vec<Effect>) {
        let now = self.now_ms;
        self.at_stream.show(name);
        let request = self.next_request();
        let state = &mut self.at_stream;
        let shards = state.described.as_ref().map_or(0, |stream| stream.shards.len()) as i64;
        let is_changing = state.described.as_ref().is_some_and(|stream| stream.status != "ACTIVE");
        // Each thousand shards are a page of ListShards, asked for twice where some are closed.
        let every = if is_changing { CHANGING_MS } else { DESCRIBE_MS } * (1 + shards / 1_000);
        let is_due = |asked: Option<i64>, at: Option<i64>, every: i64| match asked {
            Some(asked) => now - asked > LOST_MS,
            None => at.is_none_or(|at| now - at >= every),
        };
        if is_due(state.asked_ms, state.at_ms, every) {
            state.asked_ms = Some(now);
            state.request = request;
            effects.push(Effect::Stream(StreamEffect::Load(request, name.to_owned())));
        }
        let on_mappings = matches!(self.screen, Screen::Mappings(_));
        self.due_mappings(if on_mappings { MAPPINGS_MS.0 } else { MAPPINGS_MS.1 }, effects);
        if !on_mappings {
            self.due_shard_rates(name, effects);
            self.due_stream_chart(name, effects);
        }
        if self.stream_minutes_ms.is_none_or(|at| now - at >= self.minutes_every()) {
            self.stream_minutes_ms = Some(now);
            effects.push(Effect::LoadStreamMinutes(vec![name.to_owned()], now - 8 * 60_000, now));
        }
    }

    fn due_mappings(&mut self, every: i64, effects: &mut Vec<Effect>) {
        let (now, request) = (self.now_ms, self.next_request());
        let state = &mut self.at_stream;
        let Some(arn) = state.described.as_ref().map(|stream| stream.arn.clone()).filter(|arn| !arn.is_empty()) else {
            return;
        };
        let every = match &state.mappings {
            // Who may not list them now may not in five seconds either.
            Some(Err(error)) if error.class == Class::Auth => 300_000,
            Some(Ok(all)) if all.iter().any(|(m, _)| !m.is_settled()) => CHANGING_MS,
            _ => every,
        };
        let is_due = match state.mappings_asked_ms {
            Some(asked) => now - asked > LOST_MS,
            None => state.mappings_at_ms.is_none_or(|at| now - at >= every),
        };
        if is_due {
            state.mappings_asked_ms = Some(now);
            state.mappings_request = request;
            effects.push(Effect::Stream(StreamEffect::LoadMappings(request, arn)));
        }
    }

    /// The window that all charts show, of this stream.
    fn due_stream_chart(&mut self, name: &str, effects: &mut Vec<Effect>) {
        let span = self.span();
        let held = (span.to_ms != self.now_ms).then_some(span.to_ms);
        let asked = (span.window_ms(), held);
        let period_s = metrics::period_s(span.from_ms, span.to_ms, self.now_ms);
        let is_past = self.now_ms - span.to_ms > 10 * 60_000;
        let every = self.minutes_every().max(i64::from(period_s) * 100);
        if let Some((before, at)) = self.at_stream.chart_asked
            && before == asked
            && (is_past || self.now_ms - at < every)
        {
            return;
        }
        let request = self.next_request();
        self.at_stream.chart_asked = Some((asked, self.now_ms));
        self.at_stream.chart_request = request;
        let question = StreamEffect::LoadChart(request, name.to_owned(), (span.from_ms, span.to_ms), period_s);
        effects.push(Effect::Stream(question));
    }

    /// One metric for each shard on screen, where the stream has such metrics.
    fn due_shard_rates(&mut self, name: &str, effects: &mut Vec<Effect>) {
        let has = self.at_stream.described.as_ref().is_some_and(|stream| stream.has_shard_metrics);
        if !has || self.at_stream.rates_ms.is_some_and(|at| self.now_ms - at < RATES_MS) {
            return;
        }
        let (readings, leases) = (self.readings(name), self.leases(name));
        let rows = self.at_stream.rows(&readings, &leases);
        let at = self.at_stream.list.index(rows.iter().map(|(_, shard)| shard.id.as_str()));
        let height = usize::from(self.size.1).max(1);
        let (first, after) = (at.saturating_sub(height - 1), (at + 1).max(height));
        let visible: Vec<String> =
            rows.iter().take(after).skip(first).filter(|(_, s)| s.open).map(|(_, shard)| shard.id.clone()).collect();
        if !visible.is_empty() {
            self.at_stream.rates_ms = Some(self.now_ms);
            effects.push(Effect::Stream(StreamEffect::LoadRates(name.to_owned(), visible)));
        }
    }
}

/// What an answer makes of the state.
pub(super) fn took(app: &mut App, msg: StreamMsg) -> Vec<Effect> {
    match msg {
        StreamMsg::Described(request, answer) => {
            if request == app.at_stream.request {
                app.at_stream.asked_ms = None;
                app.at_stream.at_ms = Some(app.now_ms);
                if answer.as_ref().is_err_and(|error| error.class == Class::NotFound) {
                    app.answered(answer);
                    return app.reopened_is_gone(|spot| matches!(spot, Spot::Stream(_) | Spot::Mappings(_)));
                }
                if let Some(described) = app.answered(answer) {
                    let (stream, readable) = *described;
                    if let Some(row) = app.streams.rows.iter_mut().flatten().find(|row| row.name == stream.name) {
                        *row = Stream { shards: Vec::new(), ..stream.clone() };
                    }
                    let state = &mut app.at_stream;
                    if state.described.as_ref().is_none_or(|known| known.shards != stream.shards) {
                        state.family = streams::family(&stream.shards);
                    }
                    state.readable = readable;
                    state.described = Some(stream);
                    return app.due();
                }
            }
        }
        StreamMsg::Mappings(request, answer) => {
            if request == app.at_stream.mappings_request {
                app.at_stream.mappings_asked_ms = None;
                app.at_stream.mappings_at_ms = Some(app.now_ms);
                // Not being allowed to list them is shown in their place: everything else goes on.
                app.at_stream.mappings = Some(answer);
            }
        }
        StreamMsg::Chart(request, answer, period_ms) => {
            if request == app.at_stream.chart_request
                && let Some(lines) = app.answered(answer)
            {
                app.at_stream.chart = Some((lines, period_ms));
            }
        }
        StreamMsg::Rates(stream, answer) => {
            if stream == app.at_stream.name
                && let Some(rates) = app.answered(answer)
            {
                let known = rates.into_iter().filter_map(|(shard, rate)| Some((shard, rate?)));
                app.at_stream.rates.extend(known);
            }
        }
        StreamMsg::Tail(request, news) => app.at_stream.tail.told(request, news),
    }
    Vec::new()
}

/// What keys do on the screens of streams.
pub(super) fn act(app: &mut App, action: Action) -> Vec<Effect> {
    let stream = match &app.screen {
        Screen::Streams => app.selected_stream().map(|stream| stream.name.clone()),
        Screen::Stream(name) | Screen::Mappings(name) | Screen::Tail(name, _) => Some(name.clone()),
        _ => None,
    };
    let Some(stream) = stream else { return Vec::new() };
    match action {
        Action::Mappings => return app.go(Screen::Mappings(stream)),
        Action::Tail | Action::TailAll => {
            let shard = if action == Action::Tail { app.selected_shard().map(|shard| shard.id.clone()) } else { None };
            return tail::begin(app, stream, shard);
        }
        Action::GoOn => return tail::go_on(app),
        Action::Retention => changes::type_retention(app, &stream),
        Action::Pause => changes::pause_mapping(app),
        _ => {}
    }
    Vec::new()
}

/// Moves the selection on the screens of streams by `rows`.
pub(super) fn step(app: &mut App, rows: isize) {
    match app.screen.clone() {
        Screen::Stream(name) => {
            let ids: Vec<String> = app
                .at_stream
                .rows(&app.readings(&name), &app.leases(&name))
                .into_iter()
                .map(|(_, s)| s.id.clone())
                .collect();
            app.at_stream.list.step(&ids, rows);
        }
        Screen::Mappings(_) => {
            let ids: Vec<String> = app.shown_mappings().iter().map(|(mapping, _)| mapping.uuid.clone()).collect();
            app.at_stream.mappings_list.step(&ids, rows);
        }
        Screen::Tail(..) => {
            // Newest below: down is towards the newest.
            let tail = &mut app.at_stream.tail;
            let last = tail.lines.len().saturating_sub(1);
            tail.at = tail.at.saturating_add_signed(rows.saturating_neg()).min(last);
        }
        _ => {}
    }
}

/// Enter on the screens of streams: everything about the selected row.
pub(super) fn open(app: &mut App) -> Vec<Effect> {
    let text = match &app.screen {
        Screen::Streams => {
            let name = app.selected_stream().map(|stream| stream.name.clone());
            return name.map_or_else(Vec::new, |name| app.go(Screen::Stream(name)));
        }
        Screen::Stream(name) => {
            app.selected_shard().map(|shard| Text::new(shown(&shard.id), view::stream::exact_lines(app, name, shard)))
        }
        Screen::Mappings(_) => app
            .selected_mapping()
            .map(|mapping| Text::new(shown(mapping.function()), view::stream_mappings::exact_lines(app, mapping))),
        Screen::Tail(..) => {
            let line = app.at_stream.tail.selected();
            line.map(|line| Text::new("record", view::stream_tail::exact_lines(line)).of_record(line.data.clone()))
        }
        _ => None,
    };
    if let Some(text) = text {
        app.overlay = Some(Overlay::Text(text));
    }
    Vec::new()
}
