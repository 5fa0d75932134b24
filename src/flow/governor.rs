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
//!
//! A limit refuses what is above it: below what got through it refuses hardly anything. What is refused even there, by
//! about the same share as above, may be refused whatever the pace: by faults, say. To falls for that there is no end, so
//! it is tried: for a moment the pace is halved. If as much is refused even then, only what is refused beyond that share
//! makes the pace fall from then on; if not (other writers were looking for their limit), all stays as it was.

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
/// While hot keys are tried again and again, a fall to less than this share of the pace is made in several: then one
/// sample says little of what there is.
const STEEPEST: f64 = 0.5;
/// Replies after a first refusal that tell how much gets through, units and time.
const SAMPLE: f64 = 100.0;
const SAMPLE_TIME: Duration = Duration::from_millis(100);
/// Fewer units than this tell nothing within that time; after ten times that time they must do.
const SMALLEST_SAMPLE: f64 = 8.0;

/// How long after a fall refusals tell nothing.
const SETTLE: Duration = Duration::from_millis(100);
/// What was refused counts for about this long, and for about this many replies at least.
const MEMORY: Duration = Duration::from_secs(5);
const MEMORY_REPLIES: f64 = 500.0;
/// Refused replies below what got through that show something; and how many times as large a share may be refused
/// above it, if the pace is not the reason.
const SEVERAL: f64 = 2.5;
const ALIKE: f64 = 2.0;
/// Less than this share may be other writers looking for their limit, and more is never taken for refusals that heed
/// no pace.
const LEAST_BACKGROUND: f64 = 0.035;
const MOST_BACKGROUND: f64 = 0.25;
/// A trial of whether refusals heed the pace goes at this share of it, and shows that they don't when so many replies
/// refuse,
const TRIAL: f64 = 0.5;
const TRIAL_REFUSALS: f64 = 3.0;
/// that they do when it should have been this many by now, or after this time.
const TRIAL_EXPECTED: f64 = 6.0;
const TRIAL_TIME: Duration = Duration::from_secs(6);
/// As much must be refused in it as before, but for chance.
const TRIAL_ALIKE: f64 = 0.7;
/// It must have seemed so for this long: what writers refuse each other until each has its share is over sooner.
const TRIAL_EVIDENCE: Duration = Duration::from_secs(2);
/// The next trial is so long after one that showed nothing, and later each time up to the second.
const TRIAL_AGAIN: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(80)];
/// What a trial found is believed for this long.
const BACKGROUND_LASTS: Duration = Duration::from_mins(1);
/// Among refusals that come whatever the pace a sample must be so many times as large,
const LARGER: f64 = 4.0;
/// and shows a limit when this multiple of their share is refused.
const CLEARLY: f64 = 1.5;

/// What was refused from the first refusal on.
#[derive(Clone, Copy, Debug)]
struct Sample {
    since: Duration,
    sent: f64,
    refused: f64,
    replies: f64,
}

/// What was sent and refused in the last seconds, older replies counting less.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    sent: f64,
    refused: f64,
    /// Replies that refused something.
    refusals: f64,
}

impl Seen {
    fn share(&self) -> f64 {
        if self.sent > 0.0 { self.refused / self.sent } else { 0.0 }
    }

    fn fade(&mut self, kept: f64) {
        self.sent *= kept;
        self.refused *= kept;
        self.refusals *= kept;
    }

    fn add(&mut self, sent: f64, refused: f64) {
        self.sent += sent;
        self.refused += refused;
        self.refusals += f64::from(u8::from(refused > 0.0));
    }
}

/// The pace is halved to see whether refusals heed it.
#[derive(Clone, Copy, Debug)]
struct Trial {
    since: Duration,
    seen: Seen,
    replies: f64,
    /// The share that refuses if they don't.
    share: f64,
    /// The pace before.
    before: f64,
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
    /// True while something else refuses (hot partitions): that nothing is heard of the resource itself then proves
    /// nothing, so it does not rise above its rate.
    crowded: bool,
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
    /// Below and above what got through.
    below: Seen,
    above: Seen,
    heard_at: Duration,
    trial: Option<Trial>,
    /// Since when refusals seem to heed no pace.
    seems_since: Option<Duration>,
    /// No trial before this, and how long after one that shows nothing the next one is.
    trial_after: Duration,
    trial_again: Duration,
    /// The share that is refused whatever the pace: by faults, or because others take no heed.
    background: f64,
    /// It is never taken for more than this: else a limit would seem to be one of these, too.
    most_background: f64,
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
            crowded: false,
            found: None,
            stride: step(SAW_SECONDS),
            sample: None,
            fell_at: Duration::ZERO,
            accepted: 0.0,
            frequent: 1.0,
            saw: SAW_SECONDS,
            below: Seen::default(),
            above: Seen::default(),
            heard_at: Duration::ZERO,
            trial: None,
            seems_since: None,
            trial_after: Duration::ZERO,
            trial_again: TRIAL_AGAIN[0],
            most_background: 0.0,
            background: 0.0,
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
        match (self.known, self.crowded) {
            (true, true) => self.most.min(1.0),
            (true, false) => self.most,
            (false, _) => Self::MOST,
        }
    }

    /// Whether something else than the resource refuses now.
    pub fn set_crowded(&mut self, crowded: bool) {
        self.crowded = crowded;
        self.factor = self.factor.min(self.most());
    }

    /// Begins at `factor`, as if that much had been found to get through.
    pub fn begin_at(&mut self, factor: f64) {
        self.factor = factor.min(self.most());
        self.found = Some(self.factor);
    }

    /// A window ended in which all that was allowed was used, and nothing was refused.
    pub fn rise(&mut self, now: Duration) {
        if self.crowded && !self.known {
            return;
        }
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
        if self.trial.is_some() {
            self.hear_trial(now, sent, refused);
            return false;
        }
        self.remember(now, sent, refused);
        if self.begins_trial(now) {
            return true;
        }
        let Some(sample) = &mut self.sample else {
            // The first refusal came because it was looked for: what follows tells how much gets through.
            if refused > 0.0 {
                self.sample = Some(Sample { since: now, sent: 0.0, refused: 0.0, replies: 0.0 });
            }
            return false;
        };
        sample.sent += sent;
        sample.refused += refused;
        sample.replies += 1.0;
        let lasted = now.saturating_sub(sample.since);
        let enough = sample.sent >= SAMPLE
            || lasted >= SAMPLE_TIME && sample.sent >= SMALLEST_SAMPLE
            || lasted >= SAMPLE_TIME * 10;
        if !enough {
            return false;
        }
        let sample = *sample;
        match self.shows_limit(&sample) {
            None => false,
            Some(false) => {
                self.sample = None;
                self.stride = self.stride.max(step(self.saw));
                self.rise(now);
                false
            }
            Some(true) => {
                self.fall(now, sample, rate);
                true
            }
        }
    }

    fn remember(&mut self, now: Duration, sent: f64, refused: f64) {
        let passed = now.saturating_sub(self.heard_at).as_secs_f64() / MEMORY.as_secs_f64();
        self.heard_at = now;
        let kept = 1.0 - passed.min(1.0 / MEMORY_REPLIES);
        self.below.fade(kept);
        self.above.fade(kept);
        // Before anything was found all is above.
        let is_below = self.found.is_some_and(|found| self.factor <= found);
        if is_below {
            self.below.add(sent, refused);
        } else {
            self.above.add(sent, refused);
        }
        if self.background > 0.0 && self.below.refusals >= SEVERAL {
            self.background = self.below.share().min(self.most_background);
        }
        if now > self.trial_after + BACKGROUND_LASTS {
            self.background = 0.0;
        }
    }

    /// Begins a trial if the refusals seem to heed no pace.
    fn begins_trial(&mut self, now: Duration) -> bool {
        let share = self.below.share();
        let seems = self.below.refusals >= SEVERAL && self.above.share() <= share * ALIKE;
        let seems = seems && (LEAST_BACKGROUND..=MOST_BACKGROUND).contains(&share);
        if !seems || self.background > 0.0 {
            self.seems_since = None;
            return false;
        }
        if now < *self.seems_since.get_or_insert(now) + TRIAL_EVIDENCE || now < self.trial_after {
            return false;
        }
        self.trial = Some(Trial { since: now, seen: Seen::default(), replies: 0.0, share, before: self.factor });
        self.factor *= TRIAL;
        self.sample = None;
        (self.fell_at, self.accepted) = (now, 0.0);
        true
    }

    fn hear_trial(&mut self, now: Duration, sent: f64, refused: f64) {
        let Some(trial) = &mut self.trial else { return };
        trial.seen.add(sent, refused);
        trial.replies += 1.0;
        let trial = *trial;
        let heed_no_pace = trial.seen.refusals >= TRIAL_REFUSALS && trial.seen.share() >= trial.share * TRIAL_ALIKE;
        let late = now.saturating_sub(trial.since) >= TRIAL_TIME;
        if heed_no_pace {
            self.background = trial.share;
            self.most_background = trial.share * CLEARLY;
            self.trial_again = TRIAL_AGAIN[0];
            self.trial_after = now;
            self.stride = step(self.saw);
        } else if late || trial.replies * trial.share >= TRIAL_EXPECTED {
            self.trial_after = now + self.trial_again;
            self.trial_again = (self.trial_again * 2).min(TRIAL_AGAIN[1]);
        } else {
            return;
        }
        self.end_trial(now);
    }

    fn end_trial(&mut self, now: Duration) {
        if let Some(trial) = self.trial.take() {
            self.factor = trial.before;
            if self.background > 0.0 {
                // The falls were in vain, and what they found says nothing: it rises by steps that double.
                self.found = Some(self.factor / 2.0);
            }
            (self.fell_at, self.accepted) = (now, 0.0);
        }
    }

    /// Whether `sample` shows that the pace is above a limit; `None` when it must grow to tell.
    fn shows_limit(&self, sample: &Sample) -> Option<bool> {
        if self.background == 0.0 {
            return Some(true);
        }
        let share = sample.refused / sample.sent.max(1.0);
        // Writes are refused together, a batch at a time; one refused batch more is no proof.
        let chance = (4.0 * (self.background * sample.replies).sqrt() + 1.0) / sample.replies;
        if share > self.background * CLEARLY + chance {
            Some(true)
        } else if sample.sent >= SAMPLE * LARGER && share < self.background * CLEARLY {
            Some(false)
        } else {
            None
        }
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
        let passes = 1.0 - self.background;
        let expected = 1.0 - average / self.factor;
        let chance = 3.0 * (share.max(expected).max(1.0 / sent) / sent).sqrt();
        let is_average = (share - expected).abs() < chance;
        let steepest = if self.crowded { STEEPEST } else { 0.0 };
        let found = if is_average { average } else { through.max(self.factor * steepest) };
        let mut found = (found / passes).clamp(0.01, self.most());
        if self.known && found < BURST {
            // A table gives its rate and no more: what seems to be more is chance, or soon told.
            found = found.min(1.0 / passes);
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
        self.sample.is_some() || self.trial.is_some()
    }

    /// The rates are now `ratio` times what they were, as the service told.
    pub fn scaled(&mut self, now: Duration, ratio: f64) {
        self.end_trial(now);
        // Either the change was found before it was told, and what gets through stays; or it was not, and our share of
        // it stays. One of them makes more sense.
        let found_before = self.factor / ratio;
        if found_before.ln().abs() < self.factor.ln().abs() {
            self.factor = found_before;
        }
        if (0.85..BURST).contains(&self.factor) {
            self.factor = 1.0;
        }
        self.factor = self.factor.min(self.most());
        self.found = self.found.map(|_| self.factor);
        self.frequent = 1.0;
        self.below = Seen::default();
        self.above = Seen::default();
        self.sample = None;
        self.fell_at = now;
        self.accepted = 0.0;
    }

    /// The rates became known, or a guess.
    pub fn now_known(&mut self, known: bool) {
        let most = self.most;
        let crowded = self.crowded;
        *self = Self { found: self.found.map(|_| 1.0), most, crowded, ..Self::new(known) };
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
