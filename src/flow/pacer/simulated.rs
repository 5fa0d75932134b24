//! A table as AWS runs it, and writers that have more to write than it takes, on a clock of milliseconds.

use std::collections::VecDeque;
use std::time::Duration;

use super::hot::Cause;
use super::pace::{Pace, Resource};

/// A bucket that stores `seconds` of its rate; a write is let in while it is not empty.
#[derive(Clone, Debug)]
struct Bucket {
    rate: f64,
    seconds: f64,
    level: f64,
}

impl Bucket {
    fn full(rate: f64, seconds: f64) -> Self {
        Self { rate, seconds, level: rate * seconds }
    }

    fn flow(&mut self, passed: f64) {
        self.level = (self.level + passed * self.rate).min(self.rate * self.seconds);
    }
}

/// A table: 300 s of saved capacity, and partitions that store one second each.
#[derive(Clone, Debug)]
pub(super) struct Table {
    whole: Bucket,
    partitions: Vec<Bucket>,
    at: Duration,
    random: u64,
}

impl Table {
    /// A table of `wcu` with all that it can save.
    pub fn rested(wcu: f64) -> Self {
        Self { whole: Bucket::full(wcu, 300.0), partitions: Vec::new(), at: Duration::ZERO, random: 1 }
    }

    /// A table of `wcu` that has nothing saved.
    pub fn busy(wcu: f64) -> Self {
        let mut table = Self::rested(wcu);
        table.whole.level = 0.0;
        table
    }

    /// The same with `count` partitions of 1,000 WCU/s.
    pub fn with_partitions(mut self, count: usize) -> Self {
        self.partitions = vec![Bucket::full(1_000.0, 1.0); count];
        self
    }

    /// Changes what it has.
    pub fn set_wcu(&mut self, wcu: f64) {
        self.whole.rate = wcu;
        self.whole.level = self.whole.level.min(wcu * 300.0);
    }

    /// What it has, WCU.
    pub fn wcu(&self) -> f64 {
        self.whole.rate
    }

    fn flow(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.whole.flow(passed);
        self.partitions.iter_mut().for_each(|partition| partition.flow(passed));
    }

    /// A number from 0 to 1 at random.
    fn chance(&mut self) -> f64 {
        // Knuth's multiplier; the high bits are good enough.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as f64 / f64::from(1u32 << 31)
    }

    /// Writes items of one WCU each with keys spread at random; how many were refused.
    pub fn write(&mut self, now: Duration, items: u64) -> u64 {
        let mut refused = 0;
        for _ in 0..items {
            // Knuth's multiplier; the high bits are good enough to spread keys.
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            refused += u64::from(self.write_one(now, self.random >> 33) != Cause::Unsaid);
        }
        refused
    }

    /// Writes one item of one WCU whose partition key has this hash; what refused it, `Unsaid` when nothing did.
    pub fn write_one(&mut self, now: Duration, hash: u64) -> Cause {
        self.flow(now);
        let place = hash as usize % self.partitions.len().max(1);
        if self.whole.level <= 0.0 {
            return Cause::Whole;
        }
        if let Some(partition) = self.partitions.get_mut(place) {
            if partition.level <= 0.0 {
                return Cause::Partition;
            }
            partition.level -= 1.0;
        }
        self.whole.level -= 1.0;
        Cause::Unsaid
    }
}

/// One worker: 16 lanes of batches.
#[derive(Debug)]
pub(super) struct Worker {
    pub pace: Pace<()>,
    pub latency: Duration,
    pub works: bool,
    /// Of its batches, the share that is refused whatever the pace, and how much of such a batch.
    pub faults: (f64, f64),
    /// Back at, sent at, sent, refused.
    flying: VecDeque<(Duration, Duration, u64, u64)>,
    /// Written and refused in each second.
    seconds: Vec<(u64, u64)>,
}

/// Workers on one table.
#[derive(Debug)]
pub(super) struct Run {
    pub table: Table,
    pub workers: Vec<Worker>,
    pub now: Duration,
}

impl Run {
    /// `count` workers on `table`, which they know has `told` WCU.
    pub fn new(table: Table, count: usize, told: f64) -> Self {
        let worker = |n: usize| Worker {
            pace: Pace::new(vec![Resource::new((), told, true)], true),
            latency: Duration::from_millis(8 + 3 * n as u64),
            works: true,
            faults: (0.0, 0.0),
            flying: VecDeque::new(),
            seconds: Vec::new(),
        };
        Self { table, workers: (0..count).map(worker).collect(), now: Duration::ZERO }
    }

    /// One worker that knows what `table` has.
    pub fn alone(table: Table) -> Self {
        let wcu = table.wcu();
        Self::new(table, 1, wcu)
    }

    /// Goes on for `seconds`.
    pub fn run(&mut self, seconds: u64) -> &mut Self {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.tick();
        }
        self
    }

    /// Goes on for a millisecond.
    pub fn tick(&mut self) {
        // In any order, and not every time: on a machine nobody sends like clockwork.
        let first = (self.table.chance() * self.workers.len() as f64) as usize;
        let (before, from) = self.workers.split_at_mut(first);
        for worker in from.iter_mut().chain(before) {
            worker.tick(&mut self.table, self.now);
        }
        self.now += Duration::from_millis(1);
    }

    /// All workers are told that the table has `wcu`.
    pub fn tell(&mut self, wcu: f64) {
        for worker in &mut self.workers {
            worker.pace.replace(self.now, vec![Resource::new((), wcu, true)], true);
        }
    }

    /// Written per second over what the table has, and refused over sent, of all workers in the last `seconds`.
    pub fn last(&self, seconds: usize) -> (f64, f64) {
        let each = self.workers.iter().map(|worker| worker.last(seconds));
        let (written, refused) = each.fold((0, 0), |sum, (written, refused)| (sum.0 + written, sum.1 + refused));
        (written as f64 / (self.table.wcu() * seconds as f64), refused as f64 / (written + refused).max(1) as f64)
    }
}

impl Worker {
    fn tick(&mut self, table: &mut Table, now: Duration) {
        while self.flying.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, sent_at, sent, refused) = self.flying.pop_front().unwrap();
            self.pace.reply(now, sent_at, sent as f64, refused as f64);
        }
        if self.seconds.len() <= now.as_secs() as usize {
            self.seconds.resize(now.as_secs() as usize + 1, (0, 0));
        }
        let rate = self.pace.resources()[0].rate * self.pace.factor();
        let batch = (rate / 20.0).clamp(1.0, 25.0).floor();
        let hesitates = table.chance() < 0.5;
        while self.works && !hesitates && self.flying.len() < 16 && self.pace.take(now, &[batch]).is_ok() {
            let (often, part) = self.faults;
            let lost = if table.chance() < often { (batch * part).ceil() as u64 } else { 0 };
            let refused = lost + table.write(now, batch as u64 - lost);
            let second = self.seconds.last_mut().unwrap();
            second.0 += batch as u64 - refused;
            second.1 += refused;
            self.flying.push_back((now + self.latency, now, batch as u64, refused));
        }
    }

    /// Written and refused in the last `seconds`.
    pub fn last(&self, seconds: usize) -> (u64, u64) {
        let last = &self.seconds[self.seconds.len().saturating_sub(seconds)..];
        (last.iter().map(|second| second.0).sum(), last.iter().map(|second| second.1).sum())
    }
}
