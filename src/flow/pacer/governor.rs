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
//! A refusal alone is no limit: services refuse at random, too. But a bucket that is empty refuses a little of nearly
//! every reply, and what comes at random much of few replies. So replies that refuse something are counted against what
//! is usual, until a limit is so much likelier than chance that it would be seen by mistake only every so often
//! ([`FALSE_ALARM`]). What is usual is learnt where it can be: by a writer that has the table alone, below what got
//! through last. A writer that has less can't know whether others refuse it or chance does; where much is refused it tries
//! now and then, and takes it for chance if it gets up to the whole table with no more refused than before.

use std::time::Duration;

/// How often the pace rises.
pub(super) const WINDOW: Duration = Duration::from_millis(250);
/// The pace falls to this share under what got through. Half the height of the saw.
const UNDER: f64 = 0.05;
/// Among several writers the share is this times the square of one's part: who has more falls by more, so that all
/// have the same soon.
const UNDER_SHARED: f64 = 0.22;
/// The time from fall to fall that steps are chosen for, s, longer for a part of a resource; and units written meanwhile, since a fall costs a few of
/// them: so small a table is asked less often.
const SAW_SECONDS: f64 = 1.6;
const SAW_UNITS: f64 = 600.0;
/// The step of a writer grows with this power of its part.
const CATCH_UP: f64 = 0.75;
/// With several writers each rises by less, but never by less than this share of a writer's that is alone.
const SMALLEST_STEP: f64 = 0.05;
/// So far above what was found last, nothing refuses because the limit is another one: the steps double.
const BEYOND: f64 = 0.03;
/// The same when it takes so many times as long as usual until something refuses, or so long, s.
const LATE: f64 = 3.0;
const LATEST: f64 = 3.5;
/// Above this multiple of the resource's rate, what gets through is saved capacity under another ceiling (a
/// partition's).
const BURST: f64 = 1.2;
/// While something else refuses, a table is kept at this share of its known rate: then it refuses nothing itself.
const CROWDED: f64 = 0.99;
/// A fall to less than this share of the pace is made in several: a short sample says little of what there is.
const STEEPEST: f64 = 0.5;
/// It never falls to less than this share of a rate: a job that stands still can't be told from one that hangs.
const LEAST: f64 = 0.03;
/// How long after a fall refusals tell nothing.
const SETTLE: Duration = Duration::from_millis(50);
/// Share of replies that refuse something whatever the pace: at least, and at most where that is learnt.
const USUAL: [f64; 2] = [0.01, 0.4];
/// It is learnt over about this time, and over so many replies at least.
const MEMORY: Duration = Duration::from_secs(10);
const MEMORY_REPLIES: f64 = 100.0;
/// Share of units that is refused a little above a limit,
const OVER: f64 = 0.04;
/// and share of large replies that then refuse something.
const OVER_REPLIES: f64 = 0.5;
/// Where there is no limit one is seen about once in this time, s.
const FALSE_ALARM: f64 = 15.0;
/// After a reply that refused something the pace does not rise for so many replies, and for a window at least.
const HOLDS: f64 = 8.0;
/// Who gets this share of a resource has it alone.
const ALONE: f64 = 0.9;
/// A trial whether refusals are chance is worth it from this share of refusing replies on, or this over the rate of a
/// small resource, which tells too little while the trial lasts.
const WORTH: f64 = 0.08;
const WORTH_UNITS: f64 = 15.0;
/// The first is made after this time, each later one twice as long after the one before, up to the second.
const TRIAL_AGAIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(320)];

/// Evidence of a limit: what was sent and refused since more was refused than usually is (a cumulative sum test,
/// Page 1954).
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    /// How many times as likely a limit is as chance, as a logarithm.
    score: f64,
    /// Units sent, and of those refused.
    sent: f64,
    refused: f64,
    /// The pace does not rise before this.
    holds_until: Duration,
}

/// Replies below what got through, older ones counting less.
#[derive(Clone, Copy, Debug, Default)]
struct Background {
    replies: f64,
    /// Of `replies`: those that refused something.
    refusing: f64,
    heard_at: Duration,
}

impl Background {
    fn add(&mut self, now: Duration, refuses: bool) {
        let passed = now.saturating_sub(self.heard_at).as_secs_f64() / MEMORY.as_secs_f64();
        self.heard_at = now;
        let kept = 1.0 - passed.min(1.0 / MEMORY_REPLIES);
        self.replies = self.replies * kept + 1.0;
        self.refusing = self.refusing * kept + f64::from(u8::from(refuses));
    }

    /// Share of replies that refuse something whatever the pace.
    fn share(&self) -> f64 {
        self.refusing / self.replies.max(MEMORY_REPLIES)
    }
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
    evidence: Evidence,
    background: Background,
    /// What is refused is taken for chance, to see how far that goes.
    is_trial: bool,
    /// No trial before this, and how long after one that failed the next one is.
    trial_after: Duration,
    trial_again: Duration,
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
            crowded: false,
            found: None,
            stride: step(SAW_SECONDS),
            evidence: Evidence::default(),
            background: Background::default(),
            is_trial: false,
            trial_after: TRIAL_AGAIN[0],
            trial_again: TRIAL_AGAIN[0],
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
        match (self.known, self.crowded) {
            (true, true) => self.most.min(CROWDED),
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
        let late = (LATE * self.frequent * self.saw).min(self.saw.max(LATEST));
        if self.factor > found * (1.0 + self.under(found)) + BEYOND * scale
            || now.saturating_sub(self.fell_at).as_secs_f64() > late.max(SAW_SECONDS)
        {
            // By half of what there is at most: the bucket has filled meanwhile, and takes anything for a moment.
            self.stride = (self.stride * 2.0).clamp(self.factor * UNDER / scale, self.factor / scale / 2.0);
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
        if self.found.is_some_and(|found| self.factor <= found) {
            self.background.add(now, refused > 0.0);
        }
        self.try_chance(now, rate);
        let usual = self.usual();
        // A bucket that is just empty refuses of each reply what is over: of large ones something almost always.
        let at_limit = (1.0 - (1.0 - OVER).powf(sent)).clamp(OVER, OVER_REPLIES).max(usual + OVER);
        let replies_per_second = self.factor * rate / sent.max(f64::MIN_POSITIVE);
        let certain = (replies_per_second * FALSE_ALARM).max(1.0).ln();
        let evidence = &mut self.evidence;
        if evidence.score > 0.0 {
            evidence.sent += sent;
            evidence.refused += refused;
        }
        evidence.score += if refused > 0.0 { (at_limit / usual).ln() } else { ((1.0 - at_limit) / (1.0 - usual)).ln() };
        if refused > 0.0 {
            evidence.holds_until = now + WINDOW.max(Duration::from_secs_f64((HOLDS / replies_per_second).min(60.0)));
        }
        if evidence.score <= 0.0 {
            self.evidence = Evidence::default();
        } else if evidence.score >= certain {
            let evidence = std::mem::take(evidence);
            self.fall(now, evidence, rate);
            return true;
        }
        false
    }

    /// The share of replies that refuses something whatever the pace.
    fn usual(&self) -> f64 {
        let is_alone = self.found.is_some_and(|found| found >= ALONE);
        if is_alone || self.is_trial { self.background.share().clamp(USUAL[0], USUAL[1]) } else { USUAL[0] }
    }

    /// Takes what is refused for chance and rises faster and faster, now and then; a limit shows at once.
    fn try_chance(&mut self, now: Duration, rate: f64) {
        let has_a_part = self.found.is_some_and(|found| found < ALONE);
        if has_a_part
            && !self.is_trial
            && now >= self.trial_after
            && self.background.share() >= WORTH.max(WORTH_UNITS / rate)
        {
            self.is_trial = true;
            self.stride = self.factor / 4.0;
            self.evidence = Evidence::default();
        }
    }

    /// A trial ended where `found` gets through.
    fn end_trial(&mut self, now: Duration, found: f64) {
        if !std::mem::take(&mut self.is_trial) {
            return;
        }
        if found >= ALONE {
            self.trial_again = TRIAL_AGAIN[0];
        } else {
            self.trial_after = now + self.trial_again;
            self.trial_again = (self.trial_again * 2).min(TRIAL_AGAIN[1]);
        }
    }

    /// A limit showed: falls under what got through, as `sample` and all since the last fall tell.
    fn fall(&mut self, now: Duration, sample: Evidence, rate: f64) {
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
        let found = if is_average { average } else { through.max(self.factor * STEEPEST) };
        let mut found = found.clamp(LEAST, self.most());
        if self.known && found < BURST {
            // A table gives its rate and no more: what seems to be more is chance, or soon told.
            found = found.min(1.0);
        }
        self.saw = saw(rate * found.max(1.0)) / found.clamp(0.1, 1.0).sqrt();
        if self.found.is_some() {
            self.frequent += ((since / self.saw).min(1.0) - self.frequent) * 0.2;
        }
        // The more writers there are, the smaller their steps: else they would fall all the time. Who has less rises by
        // more of what it has, so that it catches up.
        let caution = self.frequent.powi(2).max(SMALLEST_STEP);
        self.stride = step(self.saw) * caution * found.min(1.0).powf(CATCH_UP);
        self.end_trial(now, found);
        self.found = Some(found);
        self.factor = found * (1.0 - self.under(found));
        self.fell_at = now;
        self.accepted = 0.0;
        self.evidence = Evidence::default();
    }

    fn under(&self, found: f64) -> f64 {
        if self.known && found < 0.9 { (UNDER_SHARED * found * found).max(0.01) } else { UNDER }
    }

    /// True while refusals are being counted: then the pace does not rise.
    pub fn is_sampling(&self, now: Duration) -> bool {
        self.evidence.score > 0.0 && now < self.evidence.holds_until
    }

    /// The rates are now `ratio` times what they were, as the service told.
    pub fn scaled(&mut self, now: Duration, ratio: f64) {
        // Either the change was found before it was told, and what gets through stays; or it was not, and our share of
        // it stays. The one that makes more sense is nearer to all of it.
        let (before, after) = (self.factor.min(1.0), (self.factor / ratio).min(1.0));
        self.factor = before.max(after);
        if self.factor > 0.85 {
            self.factor = 1.0;
        }
        self.factor = self.factor.min(self.most());
        self.found = self.found.map(|_| self.factor);
        self.frequent = 1.0;
        self.evidence = Evidence::default();
        self.is_trial = false;
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
