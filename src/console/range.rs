//! The time that charts show: one window for every screen, which follows time, is held still, or lies in the past; and the
//! moment that the crosshair marks in it.

use super::app::{App, Screen};
use super::effect::Effect;
use super::widget::chart::window_name;
use super::widget::quantity::{clock, date, duration};
use crate::jobs::JobId;
use crate::jobs::journal::Job;

/// The windows of the charts, ms: from one minute to the fifteen days for which CloudWatch keeps its minutes.
pub const WINDOWS: [i64; 8] = [
    60_000,
    5 * 60_000,
    15 * 60_000,
    3_600_000,
    6 * 3_600_000,
    24 * 3_600_000,
    3 * 24 * 3_600_000,
    15 * 24 * 3_600_000,
];
/// What is shown until a key chose another, by its place: 15 minutes of a job, at most, and an hour of a table.
const USUAL: (usize, usize) = (2, 3);
/// CloudWatch keeps hours for 455 days (Amazon CloudWatch, metrics retention), ms: nothing is before them.
const KEPT_MS: i64 = 455 * 24 * 3_600_000;
/// The crosshair goes to the next point, but no less than this share of the window: about a dot of a wide chart.
const DOTS: i64 = 400;

/// Where the window ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Now; of a job that has ended, with its last sample.
    #[default]
    Live,
    /// At a moment of the past, ms since epoch.
    At(i64),
    /// When it was held still, ms since epoch.
    Frozen(i64),
}

/// The time that all charts show.
#[derive(Clone, Debug, Default)]
pub struct TimeRange {
    /// Length of the window, ms; `None` until a key chose one: each screen has its usual one.
    pub window_ms: Option<i64>,
    /// Where it ends.
    pub end: End,
    /// The moment that is marked in every chart, ms since epoch.
    pub cursor_ms: Option<i64>,
    /// The crosshair follows the mouse, and goes with it.
    pub hovers: bool,
    /// The ended job that is looked at: another one opens on its own whole run.
    job: Option<JobId>,
}

impl TimeRange {
    /// Where it is held, ms since epoch; `None` while it follows time.
    pub fn held_ms(&self) -> Option<i64> {
        match self.end {
            End::Live => None,
            End::At(at) | End::Frozen(at) => Some(at),
        }
    }
}

/// What is shown: from when to when, ms since epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its start.
    pub from_ms: i64,
    /// Its end.
    pub to_ms: i64,
}

impl Span {
    /// Its length, ms.
    pub fn window_ms(self) -> i64 {
        self.to_ms - self.from_ms
    }

    /// True when `at_ms` lies in it.
    pub fn contains(self, at_ms: i64) -> bool {
        (self.from_ms..=self.to_ms).contains(&at_ms)
    }
}

impl App {
    /// True where there are charts on screen, small terminals aside.
    pub(super) fn has_charts(&self) -> bool {
        matches!(self.screen, Screen::Job(_) | Screen::Table(_) | Screen::Stream(_))
    }

    /// The ended job on screen: its charts show its run rather than now.
    fn ended(&self) -> Option<&Job> {
        let Screen::Job(id) = &self.screen else { return None };
        self.job(id).filter(|job| !job.state.is_live())
    }

    /// The first and the last moment of which `job` has samples.
    fn run_of(&self, job: &Job) -> Option<Span> {
        let seconds = &self.histories.get(&job.id)?.seconds;
        Some(Span { from_ms: seconds.first()?.at_ms, to_ms: seconds.last()?.at_ms })
    }

    /// The end of a window that is not held: now, or where an ended job's samples end.
    fn live_end(&self, job: Option<&Job>) -> i64 {
        match job.filter(|job| !job.state.is_live()) {
            Some(job) => self.run_of(job).map(|run| run.to_ms).or(job.ended_ms).unwrap_or(self.now_ms),
            None => self.now_ms,
        }
    }

    fn end_of(&self, job: Option<&Job>) -> i64 {
        match self.time.end {
            End::Live => self.live_end(job),
            End::At(at) | End::Frozen(at) => at,
        }
    }

    /// What the charts of `job` show: what was chosen; until then as long as it has run, up to the usual, and the whole run
    /// of one that has ended.
    pub fn span_of_job(&self, job: &Job) -> Span {
        let to_ms = self.end_of(Some(job));
        let window = self.time.window_ms.unwrap_or_else(|| {
            let run = self.run_of(job);
            let age = run.map_or(0, |run| to_ms - run.from_ms);
            if !job.state.is_live() && age > 0 {
                return age.max(WINDOWS[0]);
            }
            let enough = WINDOWS.iter().take(USUAL.0).find(|window| **window >= age);
            enough.copied().unwrap_or(WINDOWS[USUAL.0])
        });
        Span { from_ms: to_ms - window, to_ms }
    }

    /// What the charts of a table or a stream show.
    pub fn span_of_table(&self) -> Span {
        let to_ms = self.end_of(None);
        Span { from_ms: to_ms - self.time.window_ms.unwrap_or(WINDOWS[USUAL.1]), to_ms }
    }

    /// What the charts on screen show.
    pub fn span(&self) -> Span {
        match &self.screen {
            Screen::Job(id) => self.job(id).map_or_else(|| self.span_of_table(), |job| self.span_of_job(job)),
            _ => self.span_of_table(),
        }
    }

    /// The window and where it ends, as titles say it: `15m live`, `14:03 → 14:18`, `15m frozen since 14:03:27`.
    pub fn time_words(&self) -> String {
        let span = self.span();
        let window = window_words(span.window_ms());
        let ended = self.ended();
        match (self.time.end, ended) {
            (End::Live, Some(_)) if self.time.window_ms.is_none() => format!("whole run, {window}"),
            (End::Live, Some(_)) => format!("its last {window}"),
            (End::Live, None) => format!("{window} live"),
            (End::Frozen(at), _) => format!("{window} frozen since {}", clock(at)),
            (End::At(_), _) => {
                let arrow = if self.theme.glyphs.braille { "→" } else { "to" };
                let (from, to) = (self.moment_words(span.from_ms), self.moment_words(span.to_ms));
                // A day is said once.
                let to = match (from.get(..10), to.get(..10)) {
                    (Some(a), Some(b)) if a == b && to.len() > 10 => to[11..].to_owned(),
                    _ => to,
                };
                format!("{from} {arrow} {to}")
            }
        }
    }

    /// A moment as the axis and titles say it: its day too unless it is of the last twelve hours, seconds only where the
    /// window is short.
    pub fn moment_words(&self, at_ms: i64) -> String {
        let is_far = (self.now_ms - self.span().from_ms).abs() >= 12 * 3_600_000;
        let is_fine = self.span().window_ms() <= 15 * 60_000;
        match (is_far, is_fine) {
            (true, true) => format!("{}:{:02}", date(at_ms), at_ms.div_euclid(1000).rem_euclid(60)),
            (true, false) => date(at_ms),
            (false, true) => clock(at_ms),
            (false, false) => clock(at_ms).chars().take(5).collect(),
        }
    }

    /// What the ends of the time axis are called.
    pub fn axis_words(&self, span: Span) -> (String, String) {
        if self.time.end == End::Live && self.ended().is_none() {
            return (format!("-{}", window_words(span.window_ms())), "now".to_owned());
        }
        (self.moment_words(span.from_ms), self.moment_words(span.to_ms))
    }

    /// Shows `window` ending at `to_ms`, or live when that is not in the past.
    fn show_window(&mut self, window_ms: i64, to_ms: i64) -> Vec<Effect> {
        self.time.window_ms = Some(window_ms);
        let live = self.live_end(self.ended());
        self.time.end = if to_ms >= live { End::Live } else { End::At(to_ms) };
        self.due()
    }

    /// Shows a wider or a narrower window, around the crosshair where it is on, else around its middle; one that follows
    /// time keeps its end.
    pub(super) fn zoom(&mut self, wider: bool) -> Vec<Effect> {
        let span = self.span();
        let shown = span.window_ms();
        // An ended job is not looked at beyond its run, unless its run is shorter than any window.
        let whole = self.ended().and_then(|job| self.run_of(job)).map(|run| run.to_ms - run.from_ms);
        let whole = whole.filter(|whole| *whole > WINDOWS[0]);
        let widest = whole.unwrap_or(WINDOWS[WINDOWS.len() - 1]);
        let then = if wider {
            WINDOWS.iter().copied().find(|window| *window > shown).map_or(widest, |window| window.min(widest))
        } else {
            WINDOWS.iter().rev().copied().find(|window| *window < shown).unwrap_or(shown)
        };
        if then == shown || wider && shown >= widest {
            let words = match (wider, whole) {
                (true, Some(_)) => "that is its whole run".to_owned(),
                (true, None) => "15 days is the widest window".to_owned(),
                (false, _) => "1 minute is the narrowest window".to_owned(),
            };
            self.say(words, false);
            return Vec::new();
        }
        if wider && Some(then) == whole {
            self.time.window_ms = None;
            self.time.end = End::Live;
            return self.due();
        }
        let cursor = self.time.cursor_ms.filter(|at| span.contains(*at));
        match (self.time.end, cursor) {
            (End::Live | End::Frozen(_), None) => {
                self.time.window_ms = Some(then);
                self.due()
            }
            (_, cursor) => {
                let around = cursor.unwrap_or(span.from_ms + shown / 2);
                let after = (span.to_ms - around) as f64 * (then as f64 / shown.max(1) as f64);
                self.show_window(then, around + after.round() as i64)
            }
        }
    }

    /// Moves the window by so many ms; it ends where time does.
    pub(super) fn pan_by(&mut self, ms: i64) -> Vec<Effect> {
        let span = self.span();
        let first = match &self.screen {
            Screen::Job(id) => self.job(id).and_then(|job| self.run_of(job)).map(|run| run.from_ms),
            _ => Some(self.now_ms - KEPT_MS),
        };
        let window = span.window_ms();
        let mut to_ms = span.to_ms + ms;
        if let Some(first) = first.filter(|_| ms < 0) {
            // The first sample stays on screen.
            to_ms = to_ms.max((first + window).min(span.to_ms));
        }
        if to_ms == span.to_ms {
            self.say("there is nothing before this", false);
            return Vec::new();
        }
        if ms > 0 && self.time.end == End::Live {
            self.say("this is the end of it", false);
            return Vec::new();
        }
        self.show_window(window, to_ms)
    }

    /// Moves the window by half of it, back or on.
    pub(super) fn pan(&mut self, on: bool) -> Vec<Effect> {
        let half = self.span().window_ms() / 2;
        self.pan_by(if on { half } else { -half })
    }

    /// The window follows time again, and is as long as it usually is; of an ended job it is the whole run.
    pub(super) fn go_live(&mut self) -> Vec<Effect> {
        if self.ended().is_some() {
            self.time.window_ms = None;
        }
        self.time.end = End::Live;
        self.time.cursor_ms = None;
        self.due()
    }

    /// Holds the charts still, or lets them go on. What is collected goes on either way.
    pub(super) fn freeze(&mut self) -> Vec<Effect> {
        if self.time.end != End::Live {
            return self.go_live();
        }
        if self.ended().is_some() {
            self.say("this job has ended: nothing moves", false);
            return Vec::new();
        }
        self.time.window_ms = Some(self.span().window_ms());
        self.time.end = End::Frozen(self.now_ms);
        Vec::new()
    }

    /// Puts the crosshair on the newest point, or takes it off.
    pub(super) fn crosshair(&mut self) {
        self.time.hovers = false;
        if self.time.cursor_ms.take().is_none() {
            self.step_cursor(false);
        }
    }

    /// Moves the crosshair to the next point or to the one before, with the window where it ends.
    pub(super) fn step_cursor(&mut self, on: bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.time.hovers = false;
        for _ in 0..2 {
            let span = self.span();
            let points = super::view::charts::moments(self, span);
            let least = span.window_ms() / DOTS;
            let next = match self.time.cursor_ms.filter(|at| span.contains(*at)) {
                Some(at) if on => points.iter().find(|point| **point >= at + least.max(1)),
                Some(at) => points.iter().rev().find(|point| **point <= at - least.max(1)),
                None if on => points.first(),
                None => points.last(),
            };
            if let Some(next) = next {
                self.time.cursor_ms = Some(*next);
                return effects;
            }
            if self.time.cursor_ms.is_none() {
                break;
            }
            // At the edge of the window the window goes along.
            effects.extend(self.pan(on));
            if self.span() == span {
                break;
            }
        }
        if self.time.cursor_ms.is_none() {
            self.say("no chart here has a point yet", false);
        }
        effects
    }

    /// Moves the crosshair to what stands out next, or before, with the window where it is elsewhere.
    pub(super) fn step_anomaly(&mut self, on: bool) -> Vec<Effect> {
        let span = self.span();
        let all = super::view::charts::anomalies(self);
        let from = self.time.cursor_ms.unwrap_or(if on { span.from_ms - 1 } else { span.to_ms + 1 });
        let next =
            if on { all.iter().find(|one| one.at_ms > from) } else { all.iter().rev().find(|one| one.at_ms < from) };
        let Some(next) = next else {
            let words = if on { "nothing stands out after this" } else { "nothing stands out before this" };
            self.say(words, false);
            return Vec::new();
        };
        self.notice = None;
        self.time.hovers = false;
        self.time.cursor_ms = Some(next.at_ms);
        if span.contains(next.at_ms) {
            return Vec::new();
        }
        let window = span.window_ms();
        self.show_window(window, next.at_ms + window / 2)
    }

    /// Another screen is shown: the time stays, so that a job's table shows the job's minutes; a job that has ended opens on
    /// its whole run.
    pub(super) fn bring_time(&mut self, from: &Screen) {
        if let (Screen::Job(id), Screen::Table(_) | Screen::Stream(_)) = (from, &self.screen)
            && let Some(job) = self.job(id)
        {
            let span = self.span_of_job(job);
            let is_live = job.state.is_live();
            self.time.window_ms = Some(span.window_ms());
            if !is_live && self.time.end == End::Live {
                self.time.end = End::At(span.to_ms);
            }
        }
        if self.time.hovers {
            self.time.cursor_ms = None;
        }
        // What was looked at of an ended job is left with it.
        let leaves = match &self.screen {
            Screen::Job(id) => self.time.job.as_ref().is_some_and(|of| of != id),
            screen => screen.is_list() && self.time.job.is_some(),
        };
        if leaves {
            self.time = TimeRange::default();
        }
        if let Some(id) = self.ended().map(|job| job.id.clone())
            && self.time.job.is_none()
        {
            self.time = TimeRange { job: Some(id), ..TimeRange::default() };
        }
    }
}

/// The length of a window: `15m`, `3d`; one of no round length in its two largest units: `3h 12m`.
pub fn window_words(ms: i64) -> String {
    if WINDOWS.contains(&ms) || ms % 60_000 == 0 && ms < 3_600_000 {
        return window_name(ms);
    }
    duration(ms as f64)
}
