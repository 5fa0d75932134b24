//! The pace at which a limited resource is used: near its limit, hardly ever over it. Pure: the time is told.

use std::time::Duration;

/// How often the pace is reconsidered.
const WINDOW: Duration = Duration::from_millis(250);
/// Records in a window that can be judged; otherwise it lasts up to four times as long.
const ENOUGH: u64 = 100;
/// How much unused allowance is kept, seconds of the rate: enough for the gaps between replies.
const SLACK: f64 = 0.5;
/// Where a resource begins whose burst is unknown, times its rate.
const START: f64 = 4.0;
/// What is used of a resource right after it refused: the rest fills its bucket again.
const UNDER: f64 = 0.985;
/// Above this multiple of the resource's rate, what still gets through is a burst under another ceiling (a partition's).
const BURST: f64 = 1.2;
/// When this share of the last few replies was refused, the window is not waited for.
const FLOOD: f64 = 0.5;
/// After a refusal, how long the pace stays at the resource's rate before it asks for more; doubles each time.
const REST: Duration = Duration::from_secs(8);
const LONGEST_REST: Duration = Duration::from_secs(64);

/// A resource with a rate, such as a table's write capacity: a token bucket.
#[derive(Clone, Debug)]
pub(super) struct Resource<K> {
    /// Which it is.
    pub kind: K,
    /// Its rate, units a second.
    pub rate: f64,
    /// Whether refusals move it (a provisioned capacity) or not (the operator's cap).
    pub governed: bool,
    /// What is left of it now, units; a request is let through while this is positive, as AWS does.
    level: f64,
}

impl<K> Resource<K> {
    /// A resource of `rate` units a second.
    pub fn new(kind: K, rate: f64, governed: bool) -> Self {
        Self { kind, rate: rate.max(f64::MIN_POSITIVE), governed, level: (rate * SLACK).min(1.0) }
    }

    fn effective(&self, factor: f64) -> f64 {
        if self.governed { self.rate * factor } else { self.rate }
    }
}

/// What refusals of the service taught: which multiple of the resources' rates gets through.
///
/// It starts fast, since a table gives up to 300 s of unused capacity at once. When that is used up it falls to the
/// rate itself, holds just under it, and now and then asks for a little more: so a limit that was raised without a
/// word is found too. A limit that was lowered, or that others use as well, is followed down at once.
#[derive(Clone, Debug)]
struct Governor {
    factor: f64,
    climb: Climb,
    /// False for a resource whose rate is a guess (an on-demand table): then 1 means nothing.
    known: bool,
    /// Replies before this tell of what was sent before the last change.
    deaf_until: Duration,
    climb_at: Duration,
    rest: Duration,
}

/// How `factor` grows above 1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Climb {
    /// Nothing was ever refused: it doubles.
    Fast,
    /// From the resource's rate: slowly at first.
    Feel,
    /// Just under a ceiling that is not the resource's own.
    Gentle,
}

impl Governor {
    fn new(known: bool) -> Self {
        Self {
            factor: START,
            climb: Climb::Fast,
            known,
            deaf_until: Duration::ZERO,
            climb_at: Duration::ZERO,
            rest: REST,
        }
    }

    /// Of what was sent in the window, `share` was refused.
    fn refused(&mut self, now: Duration, share: f64) {
        if now < self.deaf_until {
            return;
        }
        self.deaf_until = now + WINDOW;
        // What got through, and a little less.
        let through = self.factor * (1.0 - share) * 0.97;
        if !self.known || through > BURST {
            self.factor = through;
            self.climb = Climb::Gentle;
        } else if self.factor > 1.0 {
            self.fall(now);
        } else {
            // A bucket that is just empty refuses a few of each batch, which does not mean that it got smaller.
            self.factor -= if share < 0.15 { 0.01 } else { self.factor * share };
        }
        self.factor = self.factor.max(0.01);
    }

    /// The last few replies refused most of what was sent.
    fn flooded(&mut self, now: Duration) {
        if now < self.deaf_until {
            return;
        }
        self.deaf_until = now + WINDOW / 4;
        if self.known && self.factor > 1.0 && self.factor / 2.0 <= BURST {
            self.fall(now);
        } else {
            // Far above there may still be a ceiling to hold on to.
            self.factor = (self.factor / 2.0).max(0.01);
            self.climb = Climb::Gentle;
        }
    }

    /// Nothing is left but the rate itself.
    fn fall(&mut self, now: Duration) {
        self.factor = UNDER;
        self.climb = Climb::Feel;
        // A bucket that is just empty refuses a little more.
        self.deaf_until = now + WINDOW * 4;
        self.climb_at = now + self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    /// A window ended in which nothing was refused although all that was allowed was used.
    fn accepted(&mut self, now: Duration) {
        if self.factor < 1.0 && self.known {
            self.factor = (self.factor + ((1.0 - self.factor) * 0.05).max(0.001)).min(1.0);
            return;
        }
        match self.climb {
            Climb::Fast => self.factor *= 2.0,
            Climb::Gentle => self.factor *= 1.01,
            Climb::Feel if now >= self.climb_at => self.factor = 1.0 + (self.factor - 1.0) * 1.5 + 0.005,
            Climb::Feel => {}
        }
        // Beyond any table's limit there is nothing to find.
        self.factor = self.factor.min(1e6);
    }
}

/// Who must wait, how long, and for what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wait {
    /// Ask again after this.
    pub duration: Duration,
    /// Which resource has nothing left, by its place.
    pub resource: usize,
}

/// Resources that are used together, and the pace at which they are.
#[derive(Clone, Debug)]
pub(super) struct Pace<K> {
    resources: Vec<Resource<K>>,
    governor: Governor,
    refilled: Duration,
    window_ends: Duration,
    sent: u64,
    refused: u64,
    /// Share refused of the last few replies, an exponential average.
    flood: f64,
    /// Whether the pace held someone back in this window: without that, success proves nothing.
    held_back: bool,
    /// What held back last, and when.
    bound: Option<(usize, Duration)>,
}

impl<K> Pace<K> {
    /// A pace for `resources`; `known` when their rates are the service's, not a guess.
    pub fn new(resources: Vec<Resource<K>>, known: bool) -> Self {
        Self {
            resources,
            governor: Governor::new(known),
            refilled: Duration::ZERO,
            window_ends: Duration::ZERO,
            sent: 0,
            refused: 0,
            flood: 0.0,
            held_back: false,
            bound: None,
        }
    }

    /// The resources.
    pub fn resources(&self) -> &[Resource<K>] {
        &self.resources
    }

    /// The multiple of the governed resources' rates that is let through.
    pub fn factor(&self) -> f64 {
        self.governor.factor
    }

    /// Replaces the resources, of which the first is the one that counts: the operator or another job changed them.
    pub fn replace(&mut self, now: Duration, mut resources: Vec<Resource<K>>, known: bool)
    where
        K: PartialEq,
    {
        self.advance(now);
        for resource in &mut resources {
            let before =
                self.resources.iter().find(|old| old.kind == resource.kind && old.governed == resource.governed);
            resource.level = before.map_or(0.0, |old| old.level.min(resource.rate * SLACK));
        }
        let ratio = match (self.resources.first(), resources.first()) {
            (Some(old), Some(new)) if old.governed && new.governed => new.rate / old.rate,
            _ => 1.0,
        };
        if known != self.governor.known {
            let untouched = self.governor.climb == Climb::Fast;
            self.governor = Governor::new(known);
            if !untouched {
                self.governor.climb = Climb::Feel;
                self.governor.factor = 1.0;
            }
        } else if (ratio - 1.0).abs() > 1e-9 {
            let governor = &mut self.governor;
            if governor.factor > BURST {
                // In a burst the rate in units is what was learnt.
                governor.factor = (governor.factor / ratio).max(1.0);
            } else {
                governor.factor = UNDER;
            }
            governor.rest = REST;
            governor.climb_at = now + REST / 4;
            governor.deaf_until = now;
        }
        self.resources = resources;
    }

    /// Takes `costs` (one for each resource) if no resource is used up.
    pub fn take(&mut self, now: Duration, costs: &[f64]) -> Result<(), Wait> {
        self.advance(now);
        let factor = self.governor.factor;
        let mut wait: Option<Wait> = None;
        for (n, resource) in self.resources.iter().enumerate() {
            let cost = costs.get(n).copied().unwrap_or_default();
            if cost > 0.0 && resource.level <= 0.0 {
                let seconds = (-resource.level / resource.effective(factor)).min(3600.0);
                let duration = Duration::from_secs_f64(seconds) + Duration::from_micros(1);
                if wait.is_none_or(|wait| wait.duration < duration) {
                    wait = Some(Wait { duration, resource: n });
                }
            }
        }
        if let Some(wait) = wait {
            // The operator's cap is no sign that the service would give more.
            self.held_back |= self.resources[wait.resource].governed;
            self.bound = Some((wait.resource, now));
            return Err(wait);
        }
        for (resource, cost) in self.resources.iter_mut().zip(costs) {
            resource.level -= cost;
        }
        Ok(())
    }

    /// A reply came: of `sent` records `refused` were refused for want of capacity; `corrections` is by how much the
    /// accepted ones cost more (or, negative, less) than was taken for them.
    pub fn reply(&mut self, now: Duration, sent: u64, refused: u64, corrections: &[f64]) {
        self.advance(now);
        self.sent += sent;
        self.refused += refused;
        if sent > 0 {
            self.flood += (refused as f64 / sent as f64 - self.flood) / 6.0;
        }
        if self.flood > FLOOD {
            self.governor.flooded(now);
            self.flood = 0.0;
            self.end_window(now);
        }
        for (resource, correction) in self.resources.iter_mut().zip(corrections) {
            resource.level -= correction;
        }
    }

    /// What held back within the last second, by its place.
    pub fn binds(&self, now: Duration) -> Option<usize> {
        self.bound.filter(|(_, at)| now.saturating_sub(*at) <= Duration::from_secs(1)).map(|(n, _)| n)
    }

    fn end_window(&mut self, now: Duration) {
        (self.sent, self.refused, self.held_back) = (0, 0, false);
        self.window_ends = now + WINDOW;
    }

    fn advance(&mut self, now: Duration) {
        // At a slow rate a window of few replies tells little.
        let enough = self.refused == 0 || self.sent >= ENOUGH || now >= self.window_ends + WINDOW * 3;
        if now >= self.window_ends && enough {
            if self.refused > 0 {
                self.governor.refused(now, self.refused as f64 / self.sent.max(1) as f64);
            } else if self.held_back && self.sent > 0 {
                self.governor.accepted(now);
            }
            self.end_window(now);
        }
        let passed = now.saturating_sub(self.refilled).as_secs_f64();
        self.refilled = now;
        for resource in &mut self.resources {
            let rate = resource.effective(self.governor.factor);
            resource.level = (resource.level + rate * passed).min((rate * SLACK).max(1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table as AWS runs it: a bucket of up to 300 s of its capacity; a write is let in while it is not empty.
    struct Table {
        wcu: f64,
        bucket: f64,
        refilled: Duration,
        /// At most this much a second whatever the bucket holds: one partition.
        ceiling: Option<(f64, f64)>,
    }

    impl Table {
        fn new(wcu: f64) -> Self {
            Self { wcu, bucket: wcu * 300.0, refilled: Duration::ZERO, ceiling: None }
        }

        /// Writes `items` of one WCU each; how many were refused.
        fn write(&mut self, now: Duration, items: u64) -> u64 {
            let passed = now.saturating_sub(self.refilled).as_secs_f64();
            self.refilled = now;
            self.bucket = (self.bucket + passed * self.wcu).min(self.wcu * 300.0);
            if let Some((rate, level)) = &mut self.ceiling {
                *level = (*level + passed * *rate).min(*rate);
            }
            let mut refused = 0;
            for _ in 0..items {
                if self.bucket <= 0.0 || self.ceiling.is_some_and(|(_, level)| level <= 0.0) {
                    refused += 1;
                } else {
                    self.bucket -= 1.0;
                    if let Some((_, level)) = &mut self.ceiling {
                        *level -= 1.0;
                    }
                }
            }
            refused
        }
    }

    /// Writers with more to write than the table takes, and a reply after a few milliseconds.
    struct Run {
        pace: Pace<()>,
        table: Table,
        now: Duration,
        flying: std::collections::VecDeque<(Duration, u64, u64)>,
        /// Written and refused, for each second.
        seconds: Vec<(u64, u64)>,
    }

    impl Run {
        fn new(wcu: f64) -> Self {
            Self {
                pace: Pace::new(vec![Resource::new((), wcu, true)], true),
                table: Table::new(wcu),
                now: Duration::ZERO,
                flying: std::collections::VecDeque::new(),
                seconds: Vec::new(),
            }
        }

        fn run(&mut self, seconds: u64) {
            let end = self.now + Duration::from_secs(seconds);
            while self.now < end {
                while self.flying.front().is_some_and(|(at, ..)| *at <= self.now) {
                    let (_, sent, refused) = self.flying.pop_front().unwrap();
                    self.pace.reply(self.now, sent, refused, &[]);
                }
                let lanes = 16;
                while self.flying.len() < lanes && self.pace.take(self.now, &[25.0]).is_ok() {
                    let refused = self.table.write(self.now, 25);
                    let second = self.now.as_secs() as usize;
                    self.seconds.resize(self.seconds.len().max(second + 1), (0, 0));
                    self.seconds[second].0 += 25 - refused;
                    self.seconds[second].1 += refused;
                    self.flying.push_back((self.now + Duration::from_millis(5), 25, refused));
                }
                self.now += Duration::from_millis(1);
            }
        }

        /// Written over capacity and refused over sent, in the last `seconds`.
        fn last(&self, seconds: usize) -> (f64, f64) {
            let last = &self.seconds[self.seconds.len() - seconds..];
            let written: u64 = last.iter().map(|s| s.0).sum();
            let refused: u64 = last.iter().map(|s| s.1).sum();
            (written as f64 / (self.table.wcu * seconds as f64), refused as f64 / (written + refused).max(1) as f64)
        }
    }

    #[test]
    fn a_table_is_held_at_its_capacity_with_hardly_a_refusal() {
        for wcu in [130.0, 1_700.0, 10_000.0] {
            let mut run = Run::new(wcu);
            run.table.bucket = wcu;
            run.run(30);
            for _ in 0..5 {
                run.run(60);
                let (used, refused) = run.last(60);
                assert!(used >= 0.97, "{wcu} WCU: used {used}");
                assert!(refused < 0.01, "{wcu} WCU: refused {refused}");
            }
        }
    }

    #[test]
    fn the_burst_of_a_rested_table_is_used_at_once() {
        let mut run = Run::new(130.0);
        // Such a table has one partition.
        run.table.ceiling = Some((1_000.0, 1_000.0));
        run.run(60);
        let written: u64 = run.seconds.iter().map(|s| s.0).sum();
        let refused: u64 = run.seconds.iter().map(|s| s.1).sum();
        assert!(written as f64 >= 0.97 * 360.0 * 130.0, "written {written}");
        assert!((refused as f64) < 0.05 * written as f64, "refused {refused} of {written}");
    }

    #[test]
    fn a_partition_below_the_burst_is_found_without_giving_the_burst_up() {
        let mut run = Run::new(130.0);
        run.table.ceiling = Some((1000.0, 1000.0));
        run.run(30);
        let (used, refused) = run.last(20);
        assert!(used * 130.0 >= 800.0, "{used}");
        assert!(refused < 0.03, "{refused}");
    }

    #[test]
    fn a_raised_limit_is_used_within_five_seconds() {
        let mut run = Run::new(130.0);
        run.table.bucket = 0.0;
        run.run(60);
        run.table.wcu = 195.0;
        run.pace.replace(run.now, vec![Resource::new((), 195.0, true)], true);
        run.run(5);
        run.run(5);
        assert!(run.last(5).0 >= 0.97, "{:?}", run.last(5));
    }

    #[test]
    fn a_limit_raised_without_a_word_is_found_too() {
        let mut run = Run::new(1700.0);
        run.table.bucket = 0.0;
        run.run(60);
        run.table.wcu = 3400.0;
        run.run(80);
        assert!(run.last(5).0 >= 0.97, "{:?}", run.last(5));
    }

    #[test]
    fn a_lowered_limit_is_followed_within_two_seconds() {
        let mut run = Run::new(1700.0);
        run.table.bucket = 0.0;
        run.run(60);
        run.table.wcu = 850.0;
        run.run(2);
        run.run(1);
        assert!(run.last(1).1 < 0.05, "{:?}", run.last(1));
    }

    #[test]
    fn without_limits_the_pace_gets_out_of_the_way() {
        let mut run = Run::new(130.0);
        run.table.wcu = 1e9;
        run.run(4);
        // 16 lanes with replies after 5 ms could write 80,000 a second.
        run.run(1);
        assert!(run.seconds[4].0 >= 70_000, "{:?}", run.seconds);
    }

    #[test]
    fn an_on_demand_table_is_felt_out() {
        let mut run = Run::new(4_000.0);
        run.pace = Pace::new(vec![Resource::new((), 4_000.0, true)], false);
        run.table = Table { bucket: 0.0, ..Table::new(9_000.0) };
        run.run(60);
        let (used, refused) = run.last(30);
        assert!(used >= 0.85, "{used}");
        assert!(refused < 0.03, "{refused}");
    }

    #[test]
    fn the_operators_cap_is_never_passed_and_teaches_nothing() {
        let mut run = Run::new(1_700.0);
        run.pace = Pace::new(vec![Resource::new((), 1_700.0, true), Resource::new((), 100.0, false)], true);
        for _ in 0..2_000 {
            if run.pace.take(run.now, &[25.0, 25.0]).is_ok() {
                run.pace.reply(run.now, 25, 0, &[]);
                run.seconds.push((25, 0));
            }
            run.now += Duration::from_millis(5);
        }
        let written: u64 = run.seconds.iter().map(|s| s.0).sum();
        assert!((950..=1_080).contains(&written), "{written}");
        assert_eq!(run.pace.binds(run.now), Some(1));
        assert!((run.pace.factor() - START).abs() < f64::EPSILON);
    }

    #[test]
    fn what_an_item_really_cost_is_what_is_paced() {
        let mut run = Run::new(1_000.0);
        run.pace.governor.factor = 1.0;
        run.pace.governor.climb = Climb::Feel;
        run.pace.governor.climb_at = Duration::MAX;
        let mut consumed = 0.0;
        for _ in 0..10_000 {
            if run.pace.take(run.now, &[25.0]).is_ok() {
                // Each write costs double, because an old item was larger.
                consumed += 50.0;
                run.pace.reply(run.now, 25, 0, &[25.0]);
            }
            run.now += Duration::from_millis(1);
        }
        assert!((9_900.0..=10_600.0).contains(&consumed), "{consumed}");
    }
}
