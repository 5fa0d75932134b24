//! How much of its known limits a resource really lets through: found by asking for a little more, again and again.
//!
//! `DynamoDB` keeps what a table does not use for 300 s, so nothing is lost by staying a little below the limit for a
//! moment as long as it is asked for a moment later. The pace therefore is a saw: it rises slowly until something is
//! refused, falls just under what got through, and rises again.
//!
//! ```text
//!   found ×1.05 ─      /|      /|        / refused: the bucket is empty
//!   found       ─    /  |    /  |    /     the mean, which is what the table has
//!   found ×0.95 ─  /    |  /    |  /       some is saved meanwhile, and used above the mean
//! ```
//!
//! All writers of one table rise by the same steps and fall by a share of what they have, which makes them meet at
//! equal shares without a word (as the congestion windows of TCP do). Where nothing refuses although the last limit is
//! well behind, the steps double: so a raise that nobody told is found within seconds.

use std::time::Duration;

/// How often the pace rises.
pub(super) const WINDOW: Duration = Duration::from_millis(250);
/// The pace falls to this share under what got through. Half the height of the saw.
const UNDER: f64 = 0.05;
/// Among several writers the share is this times the square of one's part: who has more falls by more, so that all
/// have the same soon.
const UNDER_SHARED: f64 = 0.22;
/// The time from fall to fall that steps are chosen for, s; and units written meanwhile, since a fall costs a few of
/// them: so small a table is asked less often.
const SAW_SECONDS: f64 = 1.6;
const SAW_UNITS: f64 = 400.0;
/// With several writers each rises by less, but never by less than this share of a writer's that is alone.
const SMALLEST_STEP: f64 = 0.05;
/// So far above what was found last, nothing refuses because the limit is another one: the steps double.
const BEYOND: f64 = 0.03;
/// The same when it takes so many times as long as usual until something refuses.
const LATE: f64 = 3.0;
/// Above this multiple of the resource's rate, what gets through is saved capacity under another ceiling (a
/// partition's).
const BURST: f64 = 1.2;
/// Replies after a first refusal that tell how much gets through, units and time.
const SAMPLE: f64 = 100.0;
const SAMPLE_TIME: Duration = Duration::from_millis(100);
/// Fewer units than this tell nothing within that time; after ten times that time they must do.
const SMALLEST_SAMPLE: f64 = 8.0;

/// How long after a fall refusals tell nothing.
const SETTLE: Duration = Duration::from_millis(100);

/// What was refused from the first refusal on.
#[derive(Clone, Copy, Debug)]
struct Sample {
    since: Duration,
    sent: f64,
    refused: f64,
}

/// Which multiple of the resources' rates gets through, as refusals taught.
///
/// It starts at the rate itself and doubles, since a table gives what it saved up at once.
#[derive(Clone, Debug)]
pub(super) struct Governor {
    factor: f64,
    /// False for a resource whose rate is a guess (an on-demand table): then 1 means nothing.
    pub known: bool,
    /// Never go above: 1 leaves alone what a table saved up.
    most: f64,
    /// What got through when something was refused last; `None` when nothing ever was.
    found: Option<f64>,
    /// The step of the next window, in multiples of the rate: it grows when nothing refuses that should.
    stride: f64,
    sample: Option<Sample>,
    fell_at: Duration,
    /// Units accepted since then.
    accepted: f64,
    /// Seconds from fall to fall, as a share of what a writer alone would choose; an average.
    frequent: f64,
    /// Seconds from fall to fall that a writer alone would choose.
    saw: f64,
}

impl Governor {
    /// Beyond any table's limit there is nothing to find.
    const MOST: f64 = 1e6;

    /// A governor of resources whose rates are `known` or a guess.
    pub fn new(known: bool) -> Self {
        Self {
            factor: 1.0,
            known,
            most: Self::MOST,
            found: None,
            stride: step(SAW_SECONDS),
            sample: None,
            fell_at: Duration::ZERO,
            accepted: 0.0,
            frequent: 1.0,
            saw: SAW_SECONDS,
        }
    }

    /// The multiple that is let through now.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Sets the multiple that is never passed, where the rates are known.
    pub fn limit_to(&mut self, most: f64) {
        self.most = most;
        self.factor = self.factor.min(self.most());
    }

    fn most(&self) -> f64 {
        if self.known { self.most } else { Self::MOST }
    }

    /// A window ended in which all that was allowed was used, and nothing was refused.
    pub fn rise(&mut self, now: Duration) {
        let Some(found) = self.found else {
            self.factor = (self.factor * 2.0).min(self.most());
            return;
        };
        // In a burst, and where the rates are a guess, a step is a part of what was found instead.
        let scale = if found > BURST || !self.known { found } else { 1.0 };
        let late = LATE * self.frequent * self.saw;
        if self.factor > found * (1.0 + self.under(found)) + BEYOND * scale
            || now.saturating_sub(self.fell_at).as_secs_f64() > late.max(SAW_SECONDS)
        {
            // By half of what there is at most: the bucket has filled meanwhile, and takes anything for a moment.
            self.stride = (self.stride * 2.0).min(self.factor / scale / 2.0);
        }
        self.factor = (self.factor + self.stride * scale).min(self.most());
    }

    /// A reply came for `sent` units that were sent at `sent_at`, of which `refused` were refused; `rate` units a
    /// second are the resources' own rate. True when that made the pace fall.
    pub fn reply(&mut self, now: Duration, sent_at: Duration, sent: f64, refused: f64, rate: f64) -> bool {
        self.accepted += sent - refused;
        // What was sent before the last fall tells of the pace before it, and a bucket that is just empty refuses a few
        // more.
        if sent_at < self.fell_at + SETTLE {
            return false;
        }
        let Some(sample) = &mut self.sample else {
            // The first refusal came because it was looked for: what follows tells how much gets through.
            if refused > 0.0 {
                self.sample = Some(Sample { since: now, sent: 0.0, refused: 0.0 });
            }
            return false;
        };
        sample.sent += sent;
        sample.refused += refused;
        let lasted = now.saturating_sub(sample.since);
        let enough = sample.sent >= SAMPLE
            || lasted >= SAMPLE_TIME && sample.sent >= SMALLEST_SAMPLE
            || lasted >= SAMPLE_TIME * 10;
        if enough {
            let sample = *sample;
            self.fall(now, sample, rate);
        }
        enough
    }

    fn fall(&mut self, now: Duration, sample: Sample, rate: f64) {
        let since = now.saturating_sub(self.fell_at).as_secs_f64();
        let sent = sample.sent.max(1.0);
        let share = sample.refused / sent;
        let through = self.factor * (1.0 - share);
        // Nothing was saved at the last fall, and nothing is now: what got through on average is what there is. Only
        // when the sample speaks clearly against it has something changed on the way.
        let average = match self.found {
            Some(_) => self.accepted / (rate * since.max(f64::MIN_POSITIVE)),
            // The very first refusal: the rate itself, unless it gave what it had saved.
            None if self.known && self.factor < BURST => 1.0,
            None => f64::NAN,
        };
        let expected = 1.0 - average / self.factor;
        let chance = 3.0 * (share.max(expected).max(1.0 / sent) / sent).sqrt();
        let is_average = (share - expected).abs() < chance;
        let mut found = if is_average { average } else { through }.clamp(0.01, self.most());
        if self.known && found < BURST {
            // A table gives its rate and no more: what seems to be more is chance, or soon told.
            found = found.min(1.0);
        }
        self.saw = saw(rate * found.max(1.0));
        if self.found.is_some() {
            self.frequent += ((since / self.saw).min(1.0) - self.frequent) * 0.2;
        }
        // The more writers there are, the smaller their steps: else they would fall all the time.
        let caution = self.frequent.powi(2).max(SMALLEST_STEP);
        self.stride = step(self.saw) * caution;
        self.found = Some(found);
        self.factor = found * (1.0 - self.under(found));
        self.fell_at = now;
        self.accepted = 0.0;
        self.sample = None;
    }

    fn under(&self, found: f64) -> f64 {
        if self.known && found < 0.9 { (UNDER_SHARED * found * found).max(0.01) } else { UNDER }
    }

    /// True while refusals are being counted: then the pace does not rise.
    pub fn is_sampling(&self) -> bool {
        self.sample.is_some()
    }

    /// The rates are now `ratio` times what they were, as the service told.
    pub fn scaled(&mut self, now: Duration, ratio: f64) {
        // Either the change was found before it was told, and what gets through stays; or it was not, and our share of
        // it stays. One of them makes more sense.
        let nearer = |factor: f64| {
            let found_before = factor / ratio;
            if found_before.ln().abs() < factor.ln().abs() { found_before } else { factor }
        };
        self.factor = nearer(self.factor);
        if (0.85..BURST).contains(&self.factor) {
            self.factor = 1.0;
        }
        self.factor = self.factor.min(self.most());
        self.found = self.found.map(|_| self.factor);
        self.frequent = 1.0;
        self.sample = None;
        self.fell_at = now;
        self.accepted = 0.0;
    }

    /// The rates became known, or a guess.
    pub fn now_known(&mut self, known: bool) {
        let most = self.most;
        *self = Self { found: self.found.map(|_| 1.0), most, ..Self::new(known) };
        self.factor = self.factor.min(self.most());
    }
}

/// Seconds from fall to fall of one writer of a resource of `rate` units a second.
fn saw(rate: f64) -> f64 {
    SAW_SECONDS.max(SAW_UNITS / rate)
}

/// What its pace rises by in one window, in multiples of the rate.
fn step(saw: f64) -> f64 {
    2.0 * UNDER * WINDOW.as_secs_f64() / saw
}
