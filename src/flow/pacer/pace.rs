//! The pace at which a limited resource is used: near its limit, hardly ever over it. Pure: the time is told.

use std::time::Duration;

use super::governor::{Governor, WINDOW};

/// How much unused allowance is kept, seconds of the rate: enough for the gaps between replies.
const SLACK: f64 = 0.5;

/// A resource with a rate, such as a table's write capacity: a token bucket.
#[derive(Clone, Debug)]
pub(in crate::flow) struct Resource<K> {
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

/// Who must wait, how long, and for what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::flow) struct Wait {
    /// Ask again after this.
    pub duration: Duration,
    /// Which resource has nothing left, by its place.
    pub resource: usize,
}

/// Resources that are used together, and the pace at which they are.
#[derive(Clone, Debug)]
pub(in crate::flow) struct Pace<K> {
    resources: Vec<Resource<K>>,
    governor: Governor,
    refilled: Duration,
    window_ends: Duration,
    /// Units of this window that were answered.
    answered: f64,
    /// Whether the pace held someone back in this window: without that, success proves nothing.
    held_back: bool,
    /// What held back last, and when.
    bound: Option<(usize, Duration)>,
    /// Units of the first resource a second that make the narrowest one full.
    full_rate: f64,
}

impl<K> Pace<K> {
    /// A pace for `resources`; `known` when their rates are the service's, not a guess.
    pub fn new(resources: Vec<Resource<K>>, known: bool) -> Self {
        Self {
            full_rate: resources.first().map_or(1.0, |resource| resource.rate),
            resources,
            governor: Governor::new(known),
            refilled: Duration::ZERO,
            window_ends: Duration::ZERO,
            answered: 0.0,
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
        self.governor.factor()
    }

    /// Sets the multiple of known rates that is never passed: 1 leaves alone what a table saved up.
    pub fn limit_to(&mut self, most: f64) {
        self.governor.limit_to(most);
    }

    /// While something else than the resources refuses, silence proves nothing: the pace stays at known rates.
    pub fn set_crowded(&mut self, crowded: bool) {
        self.governor.set_crowded(crowded);
    }

    /// Begins at this multiple of the rates instead of at the rates themselves.
    pub fn begin_at(&mut self, factor: f64) {
        self.governor.begin_at(factor);
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
        if known == self.governor.known {
            if let (Some(old), Some(new)) = (self.resources.first(), resources.first())
                && old.governed
                && new.governed
                && (new.rate / old.rate - 1.0).abs() > 1e-9
            {
                self.governor.scaled(now, new.rate / old.rate);
            }
        } else {
            self.governor.now_known(known);
        }
        self.resources = resources;
    }

    /// Takes `costs` (one for each resource) if no resource is used up.
    pub fn take(&mut self, now: Duration, costs: &[f64]) -> Result<(), Wait> {
        self.advance(now);
        let factor = self.governor.factor();
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
        let units = costs.first().copied().unwrap_or_default();
        let mut full_rate = f64::INFINITY;
        for (resource, cost) in self.resources.iter_mut().zip(costs) {
            resource.level -= cost;
            if resource.governed && *cost > 0.0 {
                full_rate = full_rate.min(resource.rate * units / cost);
            }
        }
        if full_rate.is_finite() && full_rate > 0.0 {
            self.full_rate = full_rate;
        }
        Ok(())
    }

    /// A reply came for `sent` units of the first resource that were sent at `sent_at`: `refused` of them were refused
    /// for want of capacity.
    pub fn reply(&mut self, now: Duration, sent_at: Duration, sent: f64, refused: f64) {
        self.advance(now);
        self.answered += sent;
        if self.governor.reply(now, sent_at, sent, refused, self.full_rate) {
            for resource in self.resources.iter_mut().filter(|resource| resource.governed) {
                // What was put by at the higher pace is not the service's to give any more.
                resource.level = resource.level.min(0.0);
            }
            self.begin_window(now);
        }
    }

    /// What was accepted cost more than was taken for it by this much, for each resource; less where negative.
    pub fn correct(&mut self, corrections: &[f64]) {
        for (resource, correction) in self.resources.iter_mut().zip(corrections) {
            resource.level -= correction;
        }
    }

    /// What held back within the last second, by its place.
    pub fn binds(&self, now: Duration) -> Option<usize> {
        self.bound.filter(|(_, at)| now.saturating_sub(*at) <= Duration::from_secs(1)).map(|(n, _)| n)
    }

    fn begin_window(&mut self, now: Duration) {
        (self.answered, self.held_back) = (0.0, false);
        self.window_ends = now + WINDOW;
    }

    fn advance(&mut self, now: Duration) {
        if now >= self.window_ends && !self.governor.is_sampling(now) {
            if self.held_back && self.answered > 0.0 {
                self.governor.rise(now);
                self.begin_window(now);
            } else if !self.held_back {
                self.begin_window(now);
            }
        }
        let passed = now.saturating_sub(self.refilled).as_secs_f64();
        self.refilled = now;
        for resource in &mut self.resources {
            let rate = resource.effective(self.governor.factor());
            resource.level = (resource.level + rate * passed).min((rate * SLACK).max(1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Run, Table};
    use super::*;

    #[test]
    fn a_table_is_held_at_its_capacity_with_hardly_a_refusal() {
        for wcu in [10.0, 100.0, 1_700.0, 10_000.0] {
            for latency in [3, 20, 80] {
                let mut run = Run::alone(Table::busy(wcu));
                run.workers[0].latency = Duration::from_millis(latency);
                run.run(20);
                for _ in 0..5 {
                    let (used, refused) = run.run(60).last(60);
                    if wcu * 0.08 > 400.0 && latency == 80 {
                        // So slow a service is too slow for 16 lanes of 25.
                        continue;
                    }
                    let at = format!("{wcu} WCU, {latency} ms: used {used}, refused {refused}");
                    assert!((0.97..=1.03).contains(&used), "{at}");
                    assert!(refused < if wcu < 100.0 { 0.015 } else { 0.01 }, "{at}");
                }
            }
        }
    }

    #[test]
    fn refusals_that_heed_no_pace_do_not_slow_it_down() {
        // Whole requests are refused, as by a fault, or a part of each.
        for faults in [(0.01, 1.0), (0.035, 1.0), (0.03, 0.3), (0.1, 1.0), (0.25, 0.3)] {
            for wcu in [1_000.0, 10_000.0] {
                let mut run = Run::alone(Table::busy(wcu));
                run.workers[0].faults = faults;
                run.run(30);
                let (used, refused) = run.run(120).last(120);
                assert!(used >= 0.97, "{faults:?} at {wcu} WCU: {used}");
                assert!(refused < faults.0 * faults.1 + 0.05, "{faults:?} at {wcu} WCU: {refused}");
            }
        }
    }

    #[test]
    fn the_burst_of_a_rested_table_is_used_at_once() {
        // Such a table has one partition.
        let mut run = Run::alone(Table::rested(130.0).with_partitions(1));
        run.run(60);
        let (written, refused) = run.workers[0].last(60);
        assert!(written as f64 >= 0.97 * 360.0 * 130.0, "written {written}");
        assert!((refused as f64) < 0.02 * written as f64, "refused {refused} of {written}");
    }

    #[test]
    fn a_partition_below_the_burst_is_found_without_giving_the_burst_up() {
        let mut run = Run::alone(Table::rested(130.0).with_partitions(1));
        run.run(10);
        let (used, refused) = run.run(20).last(20);
        assert!(used * 130.0 >= 960.0, "{used}");
        assert!(refused < 0.01, "{refused}");
    }

    #[test]
    fn no_burst_keeps_to_the_rate_from_the_first_second() {
        let mut run = Run::alone(Table::rested(1_700.0));
        run.workers[0].pace.limit_to(1.0);
        for _ in 0..10 {
            let (used, refused) = run.run(1).last(1);
            assert!((0.95..=1.02).contains(&used), "{used}");
            assert!(refused == 0.0, "{refused}");
        }
    }

    #[test]
    fn a_raised_limit_is_used_at_once_when_told() {
        for (before, after) in [(130.0, 195.0), (1_700.0, 10_000.0), (1.0, 1_700.0)] {
            let mut run = Run::alone(Table::busy(before));
            run.run(61);
            run.table.set_wcu(after);
            // Between two looks.
            run.run(2).tell(after);
            run.run(3);
            let (used, _) = run.run(5).last(5);
            assert!(used >= 0.97, "{before} to {after} WCU: {used}");
        }
    }

    #[test]
    fn a_limit_raised_without_a_word_is_found_within_five_seconds() {
        for begin in 0..8 {
            let mut run = Run::alone(Table::busy(1_700.0));
            run.run(60 + begin);
            run.table.set_wcu(3_400.0);
            run.run(5);
            let (used, _) = run.run(5).last(5);
            assert!(used >= 0.97, "after {begin} s: {used}");
        }
    }

    #[test]
    fn a_lowered_limit_is_followed_within_two_seconds() {
        for told in [true, false] {
            let mut run = Run::alone(Table::busy(1_700.0));
            run.run(60);
            run.table.set_wcu(850.0);
            run.run(1);
            if told {
                run.tell(850.0);
            }
            run.run(1);
            let (used, refused) = run.run(3).last(3);
            assert!(refused < 0.02 && used > 0.95, "{used} {refused}");
        }
    }

    #[test]
    fn two_workers_share_a_table_without_a_word() {
        for wcu in [100.0, 1_700.0, 10_000.0] {
            let mut run = Run::new(Table::busy(wcu), 2, wcu);
            run.workers[1].works = false;
            run.run(30);
            run.workers[1].works = true;
            run.run(30);
            let (used, refused) = run.run(60).last(60);
            let shares = [0, 1].map(|n| run.workers[n].last(60).0 as f64 / (wcu * 60.0));
            assert!(used >= 0.97 && refused < if wcu < 1_000.0 { 0.025 } else { 0.01 }, "{wcu} WCU: {used}, {refused}");
            assert!(shares.iter().all(|share| (0.4..=0.6).contains(share)), "{shares:?}");
            // One ends: the other takes over.
            run.workers[1].works = false;
            // So small a table tells slowly that nobody refuses any more.
            run.run(if wcu < 1_000.0 { 15 } else { 5 });
            let (used, _) = run.run(5).last(5);
            assert!(used >= 0.97, "{wcu} WCU: taken over {used}");
        }
    }

    #[test]
    fn many_workers_share_a_table_too() {
        for (count, most) in [(3, 0.02), (6, 0.035), (10, 0.05)] {
            for wcu in [1_700.0, 10_000.0] {
                let mut run = Run::new(Table::busy(wcu), count, wcu);
                run.run(60);
                let (used, refused) = run.run(120).last(120);
                let fair = wcu * 120.0 / count as f64;
                let shares: Vec<f64> = run.workers.iter().map(|worker| worker.last(120).0 as f64 / fair).collect();
                let at = format!("{count} workers, {wcu} WCU: used {used}, refused {refused}, {shares:?}");
                assert!(used >= 0.97 && refused < most, "{at}");
                assert!(shares.iter().all(|share| (0.4..=2.0).contains(share)), "{at}");
            }
        }
    }

    #[test]
    fn what_is_refused_whatever_the_pace_does_not_stop_it() {
        for every in [8, 20] {
            let mut pace = Pace::new(vec![Resource::new((), 1_000.0, true)], true);
            let (mut now, mut sent) = (Duration::ZERO, 0);
            for _ in 0..20_000 {
                if pace.take(now, &[10.0]).is_ok() {
                    sent += 10;
                    pace.reply(now, now, 10.0, if sent / 10 % every == 0 { 10.0 } else { 0.0 });
                }
                now += Duration::from_millis(1);
            }
            assert!(sent > 15_000, "{sent} in 20 s");
        }
    }

    #[test]
    fn without_limits_the_pace_gets_out_of_the_way() {
        let mut run = Run::alone(Table::rested(130.0));
        run.table.set_wcu(1e9);
        run.workers[0].latency = Duration::from_millis(5);
        run.run(4);
        // 16 lanes with replies after 5 ms could write 80,000 a second.
        assert!(run.run(1).workers[0].last(1).0 >= 55_000, "{:?}", run.last(1));
    }

    #[test]
    fn an_on_demand_table_is_felt_out() {
        let mut run = Run::alone(Table::busy(9_000.0));
        run.workers[0].pace = Pace::new(vec![Resource::new((), 4_000.0, true)], false);
        run.run(30);
        let (used, refused) = run.run(30).last(30);
        assert!(used >= 0.97, "{used}");
        assert!(refused < 0.01, "{refused}");
    }

    #[test]
    fn the_operators_cap_is_never_passed_and_teaches_nothing() {
        let mut pace = Pace::new(vec![Resource::new((), 1_700.0, true), Resource::new((), 100.0, false)], true);
        let (mut now, mut written) = (Duration::ZERO, 0);
        for _ in 0..2_000 {
            if pace.take(now, &[25.0, 25.0]).is_ok() {
                pace.reply(now, now, 25.0, 0.0);
                written += 25;
            }
            now += Duration::from_millis(5);
        }
        assert!((950..=1_080).contains(&written), "{written}");
        assert_eq!(pace.binds(now), Some(1));
        assert!((pace.factor() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_an_item_really_cost_is_what_is_paced() {
        let mut pace = Pace::new(vec![Resource::new((), 1_000.0, true)], true);
        pace.limit_to(1.0);
        let (mut now, mut consumed) = (Duration::ZERO, 0.0);
        for _ in 0..10_000 {
            if pace.take(now, &[25.0]).is_ok() {
                // Each write costs double, because an old item was larger.
                consumed += 50.0;
                pace.reply(now, now, 25.0, 0.0);
                pace.correct(&[25.0]);
            }
            now += Duration::from_millis(1);
        }
        assert!((9_900.0..=10_600.0).contains(&consumed), "{consumed}");
    }
}
