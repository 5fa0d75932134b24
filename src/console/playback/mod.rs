//! The scrubber: a playhead on the time line of an event table. Pure: keys and answers change it, and it says what is to
//! be read next, at most one read of a kind at a time.

pub mod form;
mod hours;
pub mod keys;
pub mod read;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::app::{App, Screen};
use super::effect::{Effect, Request};
use super::spot::Spot;
use crate::cloud::{Class, CloudError};
use crate::event::{Around, Event, Layout, Place, Range, Slot};
pub use hours::{HourSummary, Hours};

/// Windows that the time line shows, µs, with their names.
pub const ZOOMS: [(i64, &str); 12] = [
    (1_000_000, "1 s"),
    (10_000_000, "10 s"),
    (60_000_000, "1 min"),
    (5 * 60_000_000, "5 min"),
    (15 * 60_000_000, "15 min"),
    (HOUR, "1 h"),
    (6 * HOUR, "6 h"),
    (24 * HOUR, "1 day"),
    (7 * 24 * HOUR, "7 days"),
    (30 * 24 * HOUR, "30 days"),
    (90 * 24 * HOUR, "90 days"),
    (365 * 24 * HOUR, "1 year"),
];
const HOUR: i64 = 3_600_000_000;
/// The window that the time line opens with: an hour.
const FIRST_ZOOM: usize = 5;

/// Speeds of playing; the last is as fast as events can be read.
pub const SPEEDS: [Option<f64>; 13] = [
    Some(0.1),
    Some(0.25),
    Some(0.5),
    Some(1.0),
    Some(2.0),
    Some(5.0),
    Some(10.0),
    Some(25.0),
    Some(50.0),
    Some(100.0),
    Some(250.0),
    Some(1000.0),
    None,
];
const FIRST_SPEED: usize = 3;

/// How often the watermark is asked for, and with it the hours that are not complete, ms.
const WATERMARK_MS: i64 = 5_000;
/// Hours of the directory that are read each second at most: 1 RCU each, or a little more.
const ON_DEMAND_HOURS: f64 = 100.0;
/// What failed is not asked for again at once, ms.
const AGAIN_MS: i64 = 3_000;
/// So few events on a side are worth reading more.
const FEW: usize = 24;

/// Something to be read of an event table.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The table.
    pub table: String,
    /// What of it.
    pub what: What,
}

/// What is to be read.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// How its rows are keyed, and up to when it is complete.
    Watermark,
    /// The directory of these hours; with their slots where the window is narrow.
    Hours {
        /// Each by its start.
        hours: Vec<Slot>,
        /// Whether slots are wanted, or minutes are enough.
        slots: bool,
    },
    /// The events around a moment.
    Around {
        /// The moment.
        at: Timestamp,
        /// Only those that contain this text.
        filter: String,
    },
}

/// What was read.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`What::Watermark`].
    Watermark(Layout, Option<Timestamp>),
    /// To [`What::Hours`].
    Hours(Vec<HourSummary>),
    /// To [`What::Around`].
    Around(Box<Around>),
}

/// A question that is under way, or was answered last.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    request: Request,
    /// True until the answer is there.
    pending: bool,
    /// When it failed, ms since epoch.
    failed_ms: Option<i64>,
}

impl Asked {
    fn can_ask(self, now_ms: i64) -> bool {
        !self.pending && self.failed_ms.is_none_or(|at| now_ms - at >= AGAIN_MS)
    }

    fn ask(&mut self, request: Request) -> Request {
        *self = Self { request, pending: true, failed_ms: None };
        request
    }
}

/// Playing since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Playing {
    since_ms: i64,
    head_us: i64,
}

/// The scrubber of one event table.
#[derive(Clone, Debug)]
pub struct Scrubber {
    /// The event table.
    pub table: String,
    /// How its rows are keyed, once it is known.
    pub layout: Option<Layout>,
    /// Up to when it is complete, µs since epoch; `None` when no pump said.
    pub watermark_us: Option<i64>,
    /// Start of the window, µs since epoch.
    pub from_us: i64,
    /// Which of [`ZOOMS`] the window is.
    pub zoom: usize,
    /// The playhead, µs since epoch.
    pub head_us: i64,
    /// The event at the playhead, when it is on one: events that arrive don't move it.
    pub on: Option<Place>,
    /// Start and end of the range, µs since epoch.
    pub marks: (Option<i64>, Option<i64>),
    /// Which of [`SPEEDS`].
    pub speed: usize,
    /// What is counted.
    pub hours: Hours,
    /// Events around the playhead, in order.
    pub events: Vec<Event>,
    /// All matching events of this range are among them.
    pub covered: Option<Range>,
    /// Events looked at for them.
    pub looked_at: u64,
    /// Only events that contain this text.
    pub filter: String,
    /// Why the last read failed.
    pub trouble: Option<CloudError>,
    playing: Option<Playing>,
    asked_watermark: Asked,
    watermark_ms: Option<i64>,
    asked_hours: Asked,
    /// When the next hours may be asked for, ms since epoch.
    hours_free_ms: i64,
    asked_events: Asked,
    /// What the events on screen were asked for: playhead, filter, watermark.
    events_of: Option<(i64, String, Option<i64>)>,
}

/// The moment, within the years that the store knows.
pub fn time(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us.clamp(0, LATEST_US)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// 9999-12-30T22:00:00Z, µs since epoch: the last moment that jiff can hold, to the second.
const LATEST_US: i64 = 253_402_207_200_000_000;

impl Scrubber {
    /// The scrubber of `table`, at `now_ms` until the watermark is known.
    pub fn new(table: &str, now_ms: i64) -> Self {
        let head_us = now_ms * 1000;
        let mut made = Self {
            table: table.to_owned(),
            layout: None,
            watermark_us: None,
            from_us: 0,
            zoom: FIRST_ZOOM,
            head_us,
            on: None,
            marks: (None, None),
            speed: FIRST_SPEED,
            hours: Hours::default(),
            events: Vec::new(),
            covered: None,
            looked_at: 0,
            filter: String::new(),
            trouble: None,
            playing: None,
            asked_watermark: Asked::default(),
            watermark_ms: None,
            asked_hours: Asked::default(),
            hours_free_ms: 0,
            asked_events: Asked::default(),
            events_of: None,
        };
        made.frame_head(0.9);
        made
    }

    /// How long the window is, µs.
    pub fn span_us(&self) -> i64 {
        ZOOMS[self.zoom].0
    }

    /// Shows the narrowest window that holds `span_us` from `from_us` on, with the playhead at its start, µs.
    pub fn show(&mut self, from_us: i64, span_us: i64) {
        self.pause();
        let fits = ZOOMS.iter().position(|(zoom, _)| *zoom >= span_us).unwrap_or(ZOOMS.len() - 1);
        self.zoom_to(fits);
        self.from_us = from_us;
        self.move_to(from_us, None);
    }

    /// End of the window, µs since epoch.
    pub fn to_us(&self) -> i64 {
        self.from_us + self.span_us()
    }

    /// The end of what of the window can hold events, µs since epoch: a clock may be ahead of ours, but not by much.
    fn counted_to_us(&self, now_ms: i64) -> i64 {
        self.to_us().min(now_ms * 1000 + HOUR).max(self.from_us)
    }

    /// The part of the window that is counted, 0 to 1.
    pub fn known(&self, now_ms: i64) -> f64 {
        self.hours.known(self.from_us, self.counted_to_us(now_ms))
    }

    /// True while it plays.
    pub fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// True while a read is under way.
    pub fn is_reading(&self) -> bool {
        self.asked_events.pending || self.asked_hours.pending || self.asked_watermark.pending
    }

    /// True while events around the playhead are being read.
    pub fn is_reading_events(&self) -> bool {
        self.asked_events.pending
    }

    /// The range between the marks, or from one of them to the end of what is complete; the window without any.
    pub fn range(&self) -> Option<Range> {
        let from = self.marks.0.unwrap_or(self.from_us);
        let to = self.marks.1.unwrap_or_else(|| match self.marks.0 {
            Some(from) => self.watermark_us.unwrap_or(self.to_us()).max(from),
            None => self.to_us(),
        });
        Range::new(time(from), time(to)).ok()
    }

    /// Which of `events` is at the playhead: the one that it is on, else the last one before it.
    pub fn selected(&self) -> Option<usize> {
        if let Some(on) = &self.on
            && let Ok(at) = self.events.binary_search_by(|event| event.order().cmp(&(on.time, &on.id)))
        {
            return Some(at);
        }
        let after = self.events.partition_point(|event| event.time.as_microsecond() <= self.head_us);
        after.checked_sub(1).filter(|_| self.is_covered(self.head_us))
    }

    fn is_covered(&self, us: i64) -> bool {
        self.covered.is_some_and(|covered| covered.from().as_microsecond() <= us && us <= covered.to().as_microsecond())
    }

    /// Moves the window so that the playhead is at `share` of it.
    fn frame_head(&mut self, share: f64) {
        let span = self.span_us();
        // Steady edges: labels and columns stay where they are while the playhead moves a little.
        let step = (span / 20).max(1);
        let from = self.head_us - (span as f64 * share) as i64;
        self.from_us = (from.div_euclid(step) * step).clamp(0, LATEST_US - span);
    }

    /// Moves the playhead; the window goes with it only when it would leave.
    fn move_to(&mut self, us: i64, on: Option<Place>) {
        self.head_us = us.clamp(0, LATEST_US);
        self.on = on;
        if !(self.from_us..self.to_us()).contains(&self.head_us) {
            self.frame_head(0.5);
        }
    }

    /// Moves to an event among those that are loaded.
    fn move_to_event(&mut self, at: usize) {
        if let Some(event) = self.events.get(at) {
            let (us, place) = (event.time.as_microsecond(), Place::of(event));
            self.move_to(us, Some(place));
        }
    }

    /// To the next event, or the one before: where none is loaded, to the edge of what is, and on from there.
    fn step_event(&mut self, forward: bool) {
        self.pause();
        let selected = self.selected();
        let next = match (selected, forward) {
            (Some(at), true) => Some(at + 1),
            // Between two events, the one before the playhead is the selected one.
            (Some(at), false) if self.on.is_none() && self.events[at].time.as_microsecond() < self.head_us => Some(at),
            (Some(at), false) => at.checked_sub(1),
            (None, true) => self.is_covered(self.head_us).then_some(0),
            (None, false) => None,
        };
        match next.filter(|at| *at < self.events.len()) {
            Some(at) => self.move_to_event(at),
            None => self.move_to_edge(forward),
        }
    }

    fn move_to_edge(&mut self, forward: bool) {
        let Some(covered) = self.covered else { return };
        let edge = if forward { covered.to() } else { covered.from() }.as_microsecond();
        // An edge that is reached while a read is under way stays: held keys queue nothing.
        if self.is_covered(self.head_us) && edge != self.head_us {
            self.move_to(edge, None);
        }
    }

    /// To the first event of another slot.
    fn step_slot(&mut self, forward: bool, length_us: i64) {
        self.pause();
        let here = self.head_us.div_euclid(length_us);
        let slot = |event: &Event| event.time.as_microsecond().div_euclid(length_us);
        let next = if forward {
            self.events.iter().position(|event| slot(event) > here)
        } else {
            // The first event of the slot before.
            let before = self.events.iter().rev().find(|event| slot(event) < here).map(slot);
            before.and_then(|before| self.events.iter().position(|event| slot(event) == before))
        };
        match next.filter(|_| self.is_covered(self.head_us)) {
            Some(at) => self.move_to_event(at),
            None => self.move_to_edge(forward),
        }
    }

    /// How long a slot is, as far as the directory tells: the shortest distance of two.
    fn slot_us(&self) -> i64 {
        self.hours.slot_us().unwrap_or(1_000_000)
    }

    fn zoom_to(&mut self, zoom: usize) {
        let share = (self.head_us - self.from_us) as f64 / self.span_us() as f64;
        self.zoom = zoom.min(ZOOMS.len() - 1);
        self.frame_head(share.clamp(0.05, 0.95));
    }

    fn play(&mut self, now_ms: i64) {
        self.playing = Some(Playing { since_ms: now_ms, head_us: self.head_us });
    }

    fn pause(&mut self) {
        self.playing = None;
    }

    /// Where playing ends: the end of the range, or what is complete.
    fn end_us(&self, now_ms: i64) -> i64 {
        let complete = self.watermark_us.unwrap_or(now_ms * 1000);
        self.marks.1.filter(|to| *to > self.head_us).map_or(complete, |to| to.min(complete))
    }

    /// Time went on; true when the playhead moved.
    pub fn tick(&mut self, now_ms: i64) -> bool {
        let Some(Playing { since_ms, head_us }) = self.playing else { return false };
        let end = self.end_us(now_ms);
        let next = match SPEEDS[self.speed] {
            Some(speed) => head_us + ((now_ms - since_ms) as f64 * 1000.0 * speed) as i64,
            // As fast as they are read: to the last that is known.
            None if self.asked_events.pending => return false,
            None => self.covered.map_or(self.head_us, |covered| covered.to().as_microsecond()),
        };
        let next = next.clamp(self.head_us.min(end), end.max(self.head_us));
        if next >= end {
            self.pause();
        }
        self.head_us = next;
        self.on = None;
        if self.head_us > self.from_us + self.span_us() * 9 / 10 {
            self.frame_head(0.1);
        }
        true
    }

    fn set_speed(&mut self, speed: usize, now_ms: i64) {
        self.speed = speed.min(SPEEDS.len() - 1);
        if self.playing.is_some() {
            self.play(now_ms);
        }
    }

    fn set_filter(&mut self, filter: &str) {
        if self.filter != filter {
            filter.clone_into(&mut self.filter);
            self.events.clear();
            self.covered = None;
        }
    }

    /// What is to be read now: nothing while the same kind of read is under way.
    fn due(&mut self, now_ms: i64, hours_per_second: f64, mut request: impl FnMut() -> Request) -> Vec<Effect> {
        let mut effects = Vec::new();
        let table = self.table.clone();
        let mut ask = |request, what| effects.push(Effect::Playback(request, Question { table: table.clone(), what }));
        if self.watermark_ms.is_none_or(|at| now_ms - at >= WATERMARK_MS) && self.asked_watermark.can_ask(now_ms) {
            ask(self.asked_watermark.ask(request()), What::Watermark);
        }
        // Before the layout is known, it is not known to be an event table.
        if self.layout.is_none() {
            return effects;
        }
        let slots = self.zoom < 7;
        if self.asked_hours.can_ask(now_ms) && now_ms >= self.hours_free_ms {
            let hours = self.hours.missing(self.from_us, self.counted_to_us(now_ms), slots);
            if !hours.is_empty() {
                self.hours_free_ms = now_ms + (hours.len() as f64 * 1000.0 / hours_per_second) as i64;
                ask(self.asked_hours.ask(request()), What::Hours { hours, slots });
            }
        }
        let wanted = (self.head_us, self.filter.clone(), self.watermark_us);
        if self.asked_events.can_ask(now_ms) && self.needs_events() && self.events_of.as_ref() != Some(&wanted) {
            let what = What::Around { at: time(self.head_us), filter: self.filter.clone() };
            self.events_of = Some(wanted);
            ask(self.asked_events.ask(request()), what);
        }
        effects
    }

    fn needs_events(&self) -> bool {
        if !self.is_covered(self.head_us) {
            return true;
        }
        // What was read beyond the watermark may have got company since.
        let read_at = self.events_of.as_ref().and_then(|(_, _, watermark)| *watermark);
        let is_open = self.covered.is_some_and(|covered| read_at.is_none_or(|at| covered.to().as_microsecond() > at));
        if is_open && read_at != self.watermark_us {
            return true;
        }
        let before = self.events.partition_point(|event| event.time.as_microsecond() <= self.head_us);
        before < FEW || self.events.len() - before < FEW
    }

    /// What came back for `request`; a stale answer is dropped.
    fn answered(&mut self, request: Request, answer: Result<Answer, CloudError>, now_ms: i64) {
        let asked = [&mut self.asked_watermark, &mut self.asked_hours, &mut self.asked_events];
        let Some(asked) = asked.into_iter().find(|asked| asked.pending && asked.request == request) else { return };
        asked.pending = false;
        match answer {
            Err(error) => {
                asked.failed_ms = Some(now_ms);
                self.events_of = None;
                self.trouble = Some(error);
            }
            Ok(answer) => {
                self.trouble = None;
                self.take(answer, now_ms);
            }
        }
    }

    fn take(&mut self, answer: Answer, now_ms: i64) {
        match answer {
            Answer::Watermark(layout, watermark) => {
                let first = self.layout.is_none();
                let before = self.watermark_us;
                self.layout = Some(layout);
                self.watermark_ms = Some(now_ms);
                self.watermark_us = watermark.map(Timestamp::as_microsecond);
                if first {
                    if let Some(complete) = self.watermark_us {
                        self.head_us = complete;
                    }
                    self.frame_head(0.9);
                }
                // What was not complete when it was counted is counted again, once more of it is.
                if let Some(before) = before.filter(|_| before != self.watermark_us) {
                    self.hours.forget_after(before - HOUR);
                }
            }
            Answer::Hours(hours) => self.hours.keep(hours, self.from_us, self.to_us()),
            Answer::Around(around) => {
                let Around { events, covered, looked_at } = *around;
                // The filter may have changed meanwhile: then these are not the ones.
                let is_wanted = self.events_of.as_ref().is_some_and(|(_, filter, _)| *filter == self.filter);
                if is_wanted {
                    self.events = events;
                    self.covered = Some(covered);
                    self.looked_at = looked_at;
                }
            }
        }
    }
}

/// Shows the scrubber of `table`; what it showed before stays.
pub(super) fn open(app: &mut App, table: &str) -> Vec<Effect> {
    take(app, table);
    // A past that the charts were held at is what is to be seen here too.
    let held = app.time.window_ms.zip(app.time.held_ms());
    if let (Some((window_ms, to_ms)), Some(scrubber)) = (held, &mut app.scrubber) {
        scrubber.show((to_ms - window_ms) * 1000, window_ms * 1000);
    }
    app.go(Screen::Playback)
}

/// Puts the scrubber onto an event table.
pub(super) fn take(app: &mut App, table: &str) {
    if app.scrubber.as_ref().is_none_or(|scrubber| scrubber.table != table) {
        app.scrubber = Some(Scrubber::new(table, app.now_ms));
    }
}

/// What is to be read for the screen.
pub(super) fn due(app: &mut App) -> Vec<Effect> {
    let (now_ms, mut last) = (app.now_ms, app.last_request);
    let table = app.scrubber.as_ref().and_then(|scrubber| app.table(&scrubber.table));
    // A look at a year must not take what a pump and other readers need: half of it at most.
    let provisioned = table.and_then(|table| table.provisioned);
    let hours_per_second = provisioned.map_or(ON_DEMAND_HOURS, |has| (has.read as f64 / 2.0).max(1.0));
    let Some(scrubber) = &mut app.scrubber else { return Vec::new() };
    let effects = scrubber.due(now_ms, hours_per_second.min(ON_DEMAND_HOURS), || {
        last = Request(last.0 + 1);
        last
    });
    app.last_request = last;
    effects
}

/// Time went on.
pub(super) fn tick(app: &mut App) {
    let now_ms = app.now_ms;
    if app.screen == Screen::Playback
        && let Some(scrubber) = &mut app.scrubber
        && scrubber.tick(now_ms)
    {
        app.dirty = true;
    }
}

/// Something was read.
pub(super) fn answered(app: &mut App, request: Request, answer: Result<Answer, CloudError>) -> Vec<Effect> {
    let now_ms = app.now_ms;
    let Some(scrubber) = &mut app.scrubber else { return Vec::new() };
    let is_gone = answer.as_ref().is_err_and(|error| error.class == Class::NotFound);
    scrubber.answered(request, answer, now_ms);
    if is_gone {
        return app.reopened_is_gone(|spot| matches!(spot, Spot::Playback(_)));
    }
    app.due()
}

/// The event tables among those that were described, with their layouts.
pub fn event_tables(app: &App) -> Vec<(&crate::cloud::inventory::Table, Layout)> {
    let mut found: Vec<_> =
        app.tables.rows.iter().flatten().filter_map(|table| Some((table, Layout::of_key(&table.key)?))).collect();
    found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    found
}
