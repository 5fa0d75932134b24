//! The playhead, its window and its range: how they move.

use jiff::Timestamp;

use super::asking::Asked;
use super::hours::Hours;
use crate::cloud::CloudError;
use crate::event::{Event, Layout, Place, Range};

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

pub(super) const HOUR: i64 = 3_600_000_000;

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
    pub(super) asked_watermark: Asked,
    pub(super) watermark_ms: Option<i64>,
    pub(super) asked_hours: Asked,
    /// When the next hours may be asked for, ms since epoch.
    pub(super) hours_free_ms: i64,
    pub(super) asked_events: Asked,
    /// What the events on screen were asked for: playhead, filter, watermark.
    pub(super) events_of: Option<(i64, String, Option<i64>)>,
}

/// The moment, within the years that the store knows.
pub fn time(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us.clamp(0, LATEST_US)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// 9999-12-30T22:00:00Z, µs since epoch: the last moment that jiff can hold, to the second.
pub(super) const LATEST_US: i64 = 253_402_207_200_000_000;

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
    pub(super) fn counted_to_us(&self, now_ms: i64) -> i64 {
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

    pub(super) fn is_covered(&self, us: i64) -> bool {
        self.covered.is_some_and(|covered| covered.from().as_microsecond() <= us && us <= covered.to().as_microsecond())
    }

    /// Moves the window so that the playhead is at `share` of it.
    pub(super) fn frame_head(&mut self, share: f64) {
        let span = self.span_us();
        // Steady edges: labels and columns stay where they are while the playhead moves a little.
        let step = (span / 20).max(1);
        let from = self.head_us - (span as f64 * share) as i64;
        self.from_us = (from.div_euclid(step) * step).clamp(0, LATEST_US - span);
    }

    /// Moves the playhead; the window goes with it only when it would leave.
    pub(super) fn move_to(&mut self, us: i64, on: Option<Place>) {
        self.head_us = us.clamp(0, LATEST_US);
        self.on = on;
        if !(self.from_us..self.to_us()).contains(&self.head_us) {
            self.frame_head(0.5);
        }
    }

    /// Moves to an event among those that are loaded.
    pub(super) fn move_to_event(&mut self, at: usize) {
        if let Some(event) = self.events.get(at) {
            let (us, place) = (event.time.as_microsecond(), Place::of(event));
            self.move_to(us, Some(place));
        }
    }

    /// To the next event, or the one before: where none is loaded, to the edge of what is, and on from there.
    pub(super) fn step_event(&mut self, forward: bool) {
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

    pub(super) fn move_to_edge(&mut self, forward: bool) {
        let Some(covered) = self.covered else { return };
        let edge = if forward { covered.to() } else { covered.from() }.as_microsecond();
        // An edge that is reached while a read is under way stays: held keys queue nothing.
        if self.is_covered(self.head_us) && edge != self.head_us {
            self.move_to(edge, None);
        }
    }

    /// To the first event of another slot.
    pub(super) fn step_slot(&mut self, forward: bool, length_us: i64) {
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
    pub(super) fn slot_us(&self) -> i64 {
        self.hours.slot_us().unwrap_or(1_000_000)
    }

    pub(super) fn zoom_to(&mut self, zoom: usize) {
        let share = (self.head_us - self.from_us) as f64 / self.span_us() as f64;
        self.zoom = zoom.min(ZOOMS.len() - 1);
        self.frame_head(share.clamp(0.05, 0.95));
    }

    pub(super) fn play(&mut self, now_ms: i64) {
        self.playing = Some(Playing { since_ms: now_ms, head_us: self.head_us });
    }

    pub(super) fn pause(&mut self) {
        self.playing = None;
    }

    /// Where playing ends: the end of the range, or what is complete.
    pub(super) fn end_us(&self, now_ms: i64) -> i64 {
        let complete = self.watermark_us.unwrap_or(now_ms * 1000);
        self.marks.1.filter(|to| *to > self.head_us).map_or(complete, |to| to.min(complete))
    }

    /// Time went on; true when the playhead moved, or came to its end.
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
        // A playhead that waits for a read, or for time, is drawn once.
        let changed = next != self.head_us || next >= end || self.on.is_some();
        if next >= end {
            self.pause();
        }
        self.head_us = next;
        self.on = None;
        if self.head_us > self.from_us + self.span_us() * 9 / 10 {
            self.frame_head(0.1);
        }
        changed
    }

    pub(super) fn set_speed(&mut self, speed: usize, now_ms: i64) {
        self.speed = speed.min(SPEEDS.len() - 1);
        if self.playing.is_some() {
            self.play(now_ms);
        }
    }

    pub(super) fn set_filter(&mut self, filter: &str) {
        if self.filter != filter {
            filter.clone_into(&mut self.filter);
            self.events.clear();
            self.covered = None;
        }
    }
}
