//! What of an event table is to be read next, and what comes back: at most one read of a kind at a time.

use jiff::Timestamp;

use super::hours::HourSummary;
use super::scrubber::{HOUR, Scrubber, time};
use crate::cloud::CloudError;
use crate::console::effect::{Effect, Request};
use crate::event::{Around, Layout, Slot};

/// How often the watermark is asked for, and with it the hours that are not complete, ms.
const WATERMARK_MS: i64 = 5_000;

/// What failed is not asked for again at once, ms.
pub(super) const AGAIN_MS: i64 = 3_000;

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
pub(super) struct Asked {
    pub request: Request,
    /// True until the answer is there.
    pub pending: bool,
    /// When it failed, ms since epoch.
    pub failed_ms: Option<i64>,
}

impl Asked {
    pub fn can_ask(self, now_ms: i64) -> bool {
        !self.pending && self.failed_ms.is_none_or(|at| now_ms - at >= AGAIN_MS)
    }

    pub fn ask(&mut self, request: Request) -> Request {
        *self = Self { request, pending: true, failed_ms: None };
        request
    }
}

impl Scrubber {
    /// What is to be read now: nothing while the same kind of read is under way.
    pub(super) fn due(
        &mut self,
        now_ms: i64,
        hours_per_second: f64,
        mut request: impl FnMut() -> Request,
    ) -> Vec<Effect> {
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
    pub(super) fn answered(&mut self, request: Request, answer: Result<Answer, CloudError>, now_ms: i64) {
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
