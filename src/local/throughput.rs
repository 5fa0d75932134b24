//! Provisioned throughput as `DynamoDB` enforces it: a bucket per table and index that stores five minutes of unused
//! capacity, one per partition that stores a second's, and the daily ration of decreases.
//!
//! Everything here takes the time as an argument, in ms since the epoch.

use std::collections::VecDeque;

/// Milliseconds since the epoch, UTC.
pub(super) type Millis = i64;

/// How much unused capacity a table or index keeps, seconds of its rate.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/burst-adaptive-capacity.html>
const BURST_SECONDS: f64 = 300.0;
/// What one partition serves at most, WCU.
pub(super) const PARTITION_WCU: f64 = 1000.0;
/// What one partition serves at most, RCU.
pub(super) const PARTITION_RCU: f64 = 3000.0;
/// What a new on-demand table serves at once, writes a second.
pub(super) const ON_DEMAND_WCU: f64 = 4000.0;
/// What a new on-demand table serves at once, reads a second.
pub(super) const ON_DEMAND_RCU: f64 = 12_000.0;
/// An on-demand table may double its previous peak within this time.
const DOUBLING_MS: Millis = 30 * 60 * 1000;
/// Decreases that a UTC day begins with.
const FREE_DECREASES: usize = 4;
const HOUR_MS: Millis = 3_600_000;
const DAY_MS: Millis = 24 * HOUR_MS;

/// Capacity that flows in at a rate and is taken out by requests. A request is admitted while anything is left, and may
/// overdraw: the next ones then wait until the debt is paid, so that the rate holds over time.
#[derive(Clone, Debug)]
struct Bucket {
    rate: f64,
    room: f64,
    level: f64,
    at: Millis,
}

impl Bucket {
    fn full(rate: f64, seconds: f64, now: Millis) -> Self {
        Self { rate, room: rate * seconds, level: rate * seconds, at: now }
    }

    fn is_open(&mut self, now: Millis) -> bool {
        // A clock that steps back gives nothing and takes nothing.
        let passed = (now - self.at).max(0) as f64 / 1000.0;
        self.level = (self.level + passed * self.rate).min(self.room);
        self.at = now;
        self.level > 0.0
    }

    fn take(&mut self, units: f64) {
        self.level = (self.level - units).min(self.room);
    }

    /// From now on flows at `rate`; what was stored stays, as far as there is room.
    fn change(&mut self, rate: f64, seconds: f64, now: Millis) {
        self.is_open(now);
        self.rate = rate;
        self.room = rate * seconds;
        self.level = self.level.min(self.room);
    }
}

/// Where capacity ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Full {
    /// In the table or index as a whole.
    Whole,
    /// In the one partition that the key lives in.
    Partition,
}

/// The largest use in one second, which decides how far an on-demand table has scaled.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    second: Millis,
    in_second: f64,
    highest: f64,
}

impl Peak {
    fn add(&mut self, units: f64, now: Millis) {
        if now / 1000 != self.second {
            self.second = now / 1000;
            self.in_second = 0.0;
        }
        self.in_second += units;
        self.highest = self.highest.max(self.in_second);
    }
}

/// One direction, reads or writes, of a table or index.
#[derive(Clone, Debug)]
struct Lane {
    whole: Bucket,
    partition_rate: f64,
    partitions: Vec<Bucket>,
    peak: Peak,
}

impl Lane {
    fn new(rate: f64, burst: f64, partition_rate: f64, partitions: usize, now: Millis) -> Self {
        Self {
            whole: Bucket::full(rate, burst, now),
            partition_rate,
            partitions: vec![Bucket::full(partition_rate, 1.0, now); partitions],
            peak: Peak::default(),
        }
    }

    fn check(&mut self, partition: Option<u64>, now: Millis) -> Result<(), Full> {
        if !self.whole.is_open(now) {
            return Err(Full::Whole);
        }
        let is_open = partition.is_none_or(|hash| self.partition(hash).is_open(now));
        if is_open { Ok(()) } else { Err(Full::Partition) }
    }

    fn take(&mut self, partition: Option<u64>, units: f64, now: Millis) {
        self.whole.take(units);
        self.peak.add(units, now);
        if let Some(hash) = partition {
            self.partition(hash).take(units);
        }
    }

    /// Partitions are ranges of the key's hash, all alike.
    fn partition(&mut self, hash: u64) -> &mut Bucket {
        let index = (u128::from(hash) * self.partitions.len() as u128) >> 64;
        &mut self.partitions[index as usize]
    }

    fn change(&mut self, rate: f64, burst: f64, partitions: usize, now: Millis) {
        self.whole.change(rate, burst, now);
        // Partitions split when throughput grows and never merge again.
        let partitions = partitions.max(self.partitions.len());
        self.partitions.resize(partitions, Bucket::full(self.partition_rate, 1.0, now));
    }
}

/// How a table or index is paid for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rate {
    /// So many units a second were bought.
    Provisioned {
        /// RCU.
        read: f64,
        /// WCU.
        write: f64,
    },
    /// What is used is paid; it scales by itself.
    OnDemand,
}

/// Reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    /// RCU.
    Read,
    /// WCU.
    Write,
}

/// The throughput of one table or one global secondary index.
#[derive(Clone, Debug)]
pub(super) struct Throughput {
    rate: Rate,
    read: Lane,
    write: Lane,
    scaled_at: Millis,
}

/// Partitions that throughput implies: RCU / 3,000 + WCU / 1,000, rounded up.
pub(super) fn partitions(read: f64, write: f64) -> usize {
    ((read / PARTITION_RCU + write / PARTITION_WCU).ceil() as usize).max(1)
}

impl Throughput {
    /// A new one, with five minutes of capacity stored: that is how AWS's fresh tables behave.
    pub(super) fn new(rate: Rate, now: Millis) -> Self {
        let (read, write, burst, partitions) = terms(rate);
        Self {
            rate,
            read: Lane::new(read, burst, PARTITION_RCU, partitions, now),
            write: Lane::new(write, burst, PARTITION_WCU, partitions, now),
            scaled_at: now,
        }
    }

    /// Changes the rate.
    pub(super) fn change(&mut self, rate: Rate, now: Millis) {
        self.rate = rate;
        let (read, write, burst, partitions) = terms(rate);
        self.read.change(read, burst, partitions, now);
        self.write.change(write, burst, partitions, now);
        self.scaled_at = now;
    }

    /// Whether a request for `partition` (the hash of its key; `None` when it has no one key) is admitted now.
    pub(super) fn check(&mut self, direction: Direction, partition: Option<u64>, now: Millis) -> Result<(), Full> {
        self.scale(now);
        self.lane(direction).check(partition, now)
    }

    /// Takes `units`; negative units give back what was taken too much.
    pub(super) fn take(&mut self, direction: Direction, partition: Option<u64>, units: f64, now: Millis) {
        self.lane(direction).take(partition, units, now);
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// On demand: every half hour there is room for twice the peak that was.
    fn scale(&mut self, now: Millis) {
        if self.rate != Rate::OnDemand || now - self.scaled_at < DOUBLING_MS {
            return;
        }
        self.scaled_at = now;
        let read = self.read.whole.rate.max(2.0 * self.read.peak.highest);
        let write = self.write.whole.rate.max(2.0 * self.write.peak.highest);
        let partitions = partitions(0.0, write).max(partitions(read, 0.0));
        self.read.change(read, 1.0, partitions, now);
        self.write.change(write, 1.0, partitions, now);
    }
}

/// Read rate, write rate, seconds of burst, partitions.
fn terms(rate: Rate) -> (f64, f64, f64, usize) {
    match rate {
        Rate::Provisioned { read, write } => (read, write, BURST_SECONDS, partitions(read, write)),
        // On demand has no stored capacity; its reads and writes are sized to the same four partitions.
        Rate::OnDemand => (ON_DEMAND_RCU, ON_DEMAND_WCU, 1.0, partitions(0.0, ON_DEMAND_WCU)),
    }
}

/// Decreases of one table or index, of the current UTC day and the last hour.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>: four a day at any time, and
/// after those one more whenever an hour has passed without any: at most 27.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Decreases(VecDeque<Millis>);

impl Decreases {
    /// How many there were on the UTC day of `now`.
    pub(super) fn today(&self, now: Millis) -> usize {
        self.0.iter().filter(|at| at.div_euclid(DAY_MS) == now.div_euclid(DAY_MS)).count()
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<Millis> {
        self.0.back().copied()
    }

    /// Allowed now, or the time from which the next one is.
    pub(super) fn check(&self, now: Millis) -> Result<(), Millis> {
        let Some(last) = self.last().filter(|_| self.today(now) >= FREE_DECREASES) else {
            return Ok(());
        };
        let midnight = (now.div_euclid(DAY_MS) + 1) * DAY_MS;
        let next = (last + HOUR_MS).min(midnight);
        if now >= next { Ok(()) } else { Err(next) }
    }

    /// Counts one.
    pub(super) fn add(&mut self, now: Millis) {
        self.0.push_back(now);
        self.0.retain(|at| now - at < DAY_MS);
    }
}

/// The hash that places a partition key, from its value's bytes.
pub(super) fn hash_of_key(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Read, Write};

    const NOON: Millis = 20_000 * DAY_MS + 12 * HOUR_MS;

    fn table(write: f64) -> Throughput {
        Throughput::new(Rate::Provisioned { read: 5.0, write }, NOON)
    }

    /// Writes of one unit admitted at `now`, spread over `keys` keys, until one is refused.
    fn admitted(throughput: &mut Throughput, keys: u64, now: Millis) -> (u32, Full) {
        for n in 0.. {
            let hash = hash_of_key(&(u64::from(n) % keys).to_le_bytes());
            if let Err(full) = throughput.check(Write, Some(hash), now) {
                return (n, full);
            }
            throughput.take(Write, Some(hash), 1.0, now);
        }
        unreachable!("the loop ends by returning")
    }

    #[test]
    fn a_new_table_has_300_seconds_stored_and_then_its_rate() {
        let mut table = table(3.0);
        assert_eq!(admitted(&mut table, 1, NOON), (900, Full::Whole));
        assert_eq!(admitted(&mut table, 1, NOON), (0, Full::Whole));
        assert_eq!(admitted(&mut table, 1, NOON + 1000).0, 3);
        assert_eq!(admitted(&mut table, 1, NOON + 11_000).0, 30);
        // An idle hour stores five minutes, not sixty.
        assert_eq!(admitted(&mut table, 1, NOON + HOUR_MS).0, 900);
    }

    #[test]
    fn a_large_item_is_admitted_on_the_last_unit_and_its_debt_is_waited_for() {
        let mut table = table(10.0);
        table.take(Write, None, 2999.0, NOON);
        assert_eq!(table.check(Write, None, NOON), Ok(()));
        table.take(Write, None, 101.0, NOON);
        assert_eq!(table.check(Write, None, NOON + 10_000), Err(Full::Whole));
        assert_eq!(table.check(Write, None, NOON + 10_100), Ok(()));
    }

    #[test]
    fn what_was_taken_too_much_is_given_back() {
        let mut table = table(1.0);
        table.take(Write, None, 300.0, NOON);
        assert_eq!(table.check(Write, None, NOON), Err(Full::Whole));
        table.take(Write, None, -299.0, NOON);
        assert_eq!(table.check(Write, None, NOON), Ok(()));
    }

    #[test]
    fn one_hot_key_gets_1000_wcu_a_second_however_much_the_table_has() {
        let mut table = table(5000.0);
        assert_eq!(admitted(&mut table, 1, NOON), (1000, Full::Partition));
        assert_eq!(admitted(&mut table, 1, NOON + 1000), (1000, Full::Partition));
        // An idle minute does not store more than a second's worth in a partition.
        assert_eq!(admitted(&mut table, 1, NOON + 60_000), (1000, Full::Partition));
    }

    #[test]
    fn spread_keys_pass_where_a_hot_one_throttles() {
        let mut table = table(5000.0);
        let (spread, full) = admitted(&mut table, 1_000_000, NOON);
        assert!((4500..=6000).contains(&spread), "{spread}");
        assert_eq!(full, Full::Partition);
    }

    proptest::proptest! {
        /// Whatever comes when: no more passes than was stored and flowed in, and one request's overdraft.
        #[test]
        fn no_schedule_gets_more_than_was_bought(
            rate in 1.0..5000.0f64,
            requests in proptest::collection::vec((0..2000i64, 0.5..400.0f64, proptest::prelude::any::<u64>()), 1..300),
        ) {
            let mut table = table(rate);
            let (mut now, mut passed, mut largest) = (NOON, 0.0, 0.0f64);
            for (wait, units, key) in requests {
                now += wait;
                if table.check(Write, Some(key), now).is_ok() {
                    table.take(Write, Some(key), units, now);
                    passed += units;
                    largest = largest.max(units);
                }
                let bought = rate * 300.0 + rate * (now - NOON) as f64 / 1000.0;
                proptest::prop_assert!(passed <= bought + largest + 1e-6, "{} of {}", passed, bought);
            }
        }
    }

    #[test]
    fn partitions_follow_both_directions() {
        assert_eq!(partitions(5.0, 130.0), 1);
        assert_eq!(partitions(3000.0, 1000.0), 2);
        assert_eq!(partitions(1.0, 1700.0), 2);
        assert_eq!(partitions(0.0, 40_000.0), 40);
    }

    #[test]
    fn reads_and_writes_do_not_share_capacity() {
        let mut table = table(1.0);
        table.take(Write, None, 1000.0, NOON);
        assert_eq!(table.check(Write, None, NOON), Err(Full::Whole));
        assert_eq!(table.check(Read, None, NOON), Ok(()));
    }

    #[test]
    fn a_raise_takes_effect_at_once_and_brings_no_stored_capacity() {
        let mut table = table(10.0);
        table.take(Write, None, 3000.0, NOON);
        table.change(Rate::Provisioned { read: 5.0, write: 200.0 }, NOON);
        assert_eq!(admitted(&mut table, 1, NOON + 1000).0, 200);
    }

    #[test]
    fn partitions_split_with_a_raise_and_do_not_merge_with_a_decrease() {
        let mut table = table(1000.0);
        table.change(Rate::Provisioned { read: 5.0, write: 4000.0 }, NOON);
        assert_eq!(table.write.partitions.len(), 5);
        table.change(Rate::Provisioned { read: 5.0, write: 10.0 }, NOON);
        assert_eq!(table.write.partitions.len(), 5);
    }

    #[test]
    fn on_demand_starts_at_4000_writes_and_doubles_its_peak_after_half_an_hour() {
        let mut table = Throughput::new(Rate::OnDemand, NOON);
        let (first, _) = admitted(&mut table, 1_000_000, NOON);
        assert!((3500..=4000).contains(&first), "{first}");
        let later = NOON + DOUBLING_MS;
        let (then, _) = admitted(&mut table, 1_000_000, later);
        // The splits that came with it start with capacity of their own.
        assert!(then > 3500, "{then}");
        let (scaled, _) = admitted(&mut table, 1_000_000, later + 1000);
        assert!(scaled > 6000, "{scaled}");
    }

    #[test]
    fn four_decreases_a_day_are_free_and_each_further_one_waits_an_hour() {
        let mut decreases = Decreases::default();
        for n in 0..4 {
            assert_eq!(decreases.check(NOON + n), Ok(()));
            decreases.add(NOON + n);
        }
        assert_eq!(decreases.today(NOON + 10), 4);
        assert_eq!(decreases.check(NOON + 10), Err(NOON + 3 + HOUR_MS));
        assert_eq!(decreases.check(NOON + 3 + HOUR_MS), Ok(()));
    }

    #[test]
    fn a_utc_day_holds_27_decreases_at_most_and_midnight_begins_anew() {
        let midnight = NOON - 12 * HOUR_MS;
        let mut decreases = Decreases::default();
        let mut done = 0;
        for minute in 0..24 * 60 {
            let now = midnight + minute * 60_000;
            if decreases.check(now).is_ok() {
                decreases.add(now);
                done += 1;
            }
        }
        assert_eq!(done, 27);
        assert_eq!(decreases.check(midnight + DAY_MS), Ok(()));
        assert_eq!(decreases.today(midnight + DAY_MS), 0);
    }

    #[test]
    fn a_wait_for_the_next_decrease_never_outlasts_the_day() {
        let late = NOON + 12 * HOUR_MS - 60_000;
        let mut decreases = Decreases::default();
        (0..4).for_each(|_| decreases.add(late));
        assert_eq!(decreases.check(late), Err(late + 60_000));
    }
}
