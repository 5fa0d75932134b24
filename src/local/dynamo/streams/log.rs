//! A stream's shards and their lineage: ranges of the key's hash that close, and go on in children.
//!
//! ```text
//!   hash 0 ├──── shard ────┤├──── shard ────┤ 2⁶⁴   generation 0
//!               rolled            split
//!          ├──── child ────┤├ child ┤├ child ┤      generation 1: higher numbers, of more digits
//! ```
//!
//! Numbers grow along a key from parent to child. They pass a power of ten early in each generation, so that a reader
//! who compares them as text, or cuts them to 64 bits, is found out.

use std::ops::RangeInclusive;

use super::records::{Change, Record, Records, Sequence};
use super::{Rate, Roll};
use crate::local::throughput::Millis;

/// Digits that a stream begins with; AWS's least.
const FIRST_DIGITS: u32 = 21;
/// Digits from which on generations only count up: a `u128` holds 38 nines.
const MOST_DIGITS: u32 = 37;
/// How far below its power of ten a generation begins.
const RUN_UP: Sequence = 1_000;
/// How often writes look for what has grown old, ms. Readers always do.
const ADVANCE_MS: Millis = 100;

/// One shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    /// Hashes of the partition keys that it takes.
    pub(super) hashes: RangeInclusive<u64>,
    pub(super) generation: u32,
    pub(super) opened_ms: Millis,
    /// Below all its records.
    pub(super) start: Sequence,
    /// The last number that was given; `start` before any.
    pub(super) last: Sequence,
    pub(super) appended: u64,
    /// When it was closed, ms since the epoch.
    pub(super) closed_ms: Option<Millis>,
    pub(super) records: Records,
    /// `GetRecords` calls.
    pub(super) calls: Rate,
}

impl Shard {
    pub(super) fn is_open(&self) -> bool {
        self.closed_ms.is_none()
    }
}

/// A record before it is numbered.
#[derive(Debug)]
pub(super) struct Entry {
    /// Of the item's partition key.
    pub(super) hash: u64,
    pub(super) change: Change,
    pub(super) expired: bool,
    pub(super) size: u32,
    pub(super) images: Box<[u8]>,
}

/// All shards of a stream, parents before children.
#[derive(Debug)]
pub(super) struct Log {
    /// What tells the IDs of this stream's shards from others'.
    pub(super) seed: u64,
    /// What the last shard's ID begins with.
    pub(super) last_id: u64,
    pub(super) shards: Vec<Shard>,
    pub(super) roll: Roll,
    /// When the last record was made: time does not run backwards in a stream.
    pub(super) last_ms: Millis,
    /// When it was last looked through for what has grown old.
    pub(super) advanced_ms: Millis,
    /// When it was disabled, ms since the epoch.
    pub(super) ended_ms: Option<Millis>,
}

impl Log {
    /// A log of `shards` open shards whose numbers are above `after`.
    pub(super) fn new(shards: usize, after: Sequence, roll: Roll, seed: u64, now: Millis) -> Self {
        let mut log = Self { seed, last_id: 0, shards: Vec::new(), roll, last_ms: 0, advanced_ms: 0, ended_ms: None };
        // A stream that follows another one of its table goes on above it.
        let generation = (0..MOST_DIGITS).find(|generation| opening(*generation, 0) > after);
        for hashes in pieces(&(0..=u64::MAX), shards.max(1) as u64) {
            log.open(None, hashes, generation.unwrap_or(MOST_DIGITS), after, now);
        }
        log
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    pub(super) fn shard(&mut self, id: &str) -> Option<&mut Shard> {
        self.shards.iter_mut().find(|shard| shard.id == id)
    }

    /// When it was disabled, ms since the epoch.
    pub(super) fn ended_ms(&self) -> Option<Millis> {
        self.ended_ms
    }

    /// The highest number given so far.
    pub(super) fn highest(&self) -> Sequence {
        self.shards.iter().map(|shard| shard.last).max().unwrap_or(0)
    }

    /// Numbers a record and appends it to the shard that its key belongs to. A stream that has ended takes none.
    pub(super) fn append(&mut self, entry: Entry, now: Millis) {
        self.last_ms = self.last_ms.max(now);
        let created_ms = self.last_ms;
        let at = self.shards.iter().rposition(|shard| shard.is_open() && shard.hashes.contains(&entry.hash));
        let Some(at) = at else { return };
        let shard = &mut self.shards[at];
        shard.last += step(shard.last);
        shard.appended += 1;
        let Entry { change, expired, size, images, .. } = entry;
        shard.records.append(Record { sequence: shard.last, created_ms, change, expired, size, images });
        if let Roll::Records(most) = self.roll
            && shard.appended >= most
        {
            self.close(at, 1, now);
        }
    }

    /// The same as [`Log::advance`], unless it was just done: a write does not look at every shard that there ever was.
    pub(super) fn advance_at_times(&mut self, kept_ms: Millis, now: Millis) {
        if now - self.advanced_ms >= ADVANCE_MS {
            self.advance(kept_ms, now);
        }
    }

    /// Does what time alone brings: shards that have been open long enough close, and what is older than `kept_ms` goes.
    pub(super) fn advance(&mut self, kept_ms: Millis, now: Millis) {
        self.advanced_ms = now;
        if let Roll::After(open_ms) = self.roll {
            self.close_where(1, now, |shard| now - shard.opened_ms >= open_ms);
        }
        let before = now - kept_ms;
        self.shards.iter_mut().for_each(|shard| shard.records.trim(before));
        self.shards
            .retain(|shard| shard.closed_ms.is_none_or(|closed_ms| closed_ms >= before) || !shard.records.is_empty());
    }

    /// Forgets all records.
    pub(super) fn forget(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.records.trim(Millis::MAX));
    }

    /// Closes every open shard; each goes on in `children` of them.
    pub(super) fn close_all(&mut self, children: u64, now: Millis) {
        self.close_where(children, now, |_| true);
    }

    /// Splits open shards, the widest first, until there are at least `wanted`.
    pub(super) fn grow(&mut self, wanted: usize, now: Millis) {
        while self.ended_ms.is_none() && self.shards.iter().filter(|shard| shard.is_open()).count() < wanted {
            let width = |shard: &Shard| shard.hashes.end() - shard.hashes.start();
            let open = self.shards.iter().enumerate().filter(|(_, shard)| shard.is_open());
            let Some((widest, _)) = open.max_by_key(|(at, shard)| (width(shard), std::cmp::Reverse(*at))) else {
                return;
            };
            self.close(widest, 2, now);
        }
    }

    /// Takes no more: its shards close without children.
    pub(super) fn end(&mut self, now: Millis) {
        if self.ended_ms.is_none() {
            self.close_all(0, now);
            self.ended_ms = Some(now);
        }
    }

    fn close_where(&mut self, children: u64, now: Millis, is_meant: impl Fn(&Shard) -> bool) {
        for at in 0..self.shards.len() {
            if self.shards[at].is_open() && is_meant(&self.shards[at]) {
                self.close(at, children, now);
            }
        }
    }

    fn close(&mut self, at: usize, children: u64, now: Millis) {
        let shard = &mut self.shards[at];
        shard.closed_ms = Some(now);
        let (id, hashes, generation, last) = (shard.id.clone(), shard.hashes.clone(), shard.generation, shard.last);
        for hashes in pieces(&hashes, children) {
            self.open(Some(id.clone()), hashes, generation + 1, last, now);
        }
    }

    fn open(
        &mut self,
        parent: Option<String>,
        hashes: RangeInclusive<u64>,
        generation: u32,
        after: Sequence,
        now: Millis,
    ) {
        // As AWS's: 20 digits that grow with time, and 8 that tell streams apart.
        let number = (now.max(0) as u64 * 1_000).max(self.last_id + 1);
        self.last_id = number;
        let mark = xxhash_rust::xxh3::xxh3_64_with_seed(&number.to_le_bytes(), self.seed) as u32;
        let start = opening(generation, after);
        self.shards.push(Shard {
            id: format!("shardId-{number:020}-{mark:08x}"),
            parent,
            hashes,
            generation,
            opened_ms: now,
            start,
            last: start,
            appended: 0,
            closed_ms: None,
            records: Records::default(),
            calls: Rate::per_second(super::SHARD_CALLS),
        });
    }
}

/// Where the numbers of a generation begin: a little below a power of ten, and above `after`.
fn opening(generation: u32, after: Sequence) -> Sequence {
    let digits = (FIRST_DIGITS + 2 * generation).min(MOST_DIGITS);
    (10_u128.pow(digits) - RUN_UP).max(after + RUN_UP)
}

/// How far the next number is from `last`: AWS's have gaps too.
fn step(last: Sequence) -> Sequence {
    1 + Sequence::from(xxhash_rust::xxh3::xxh3_64(&last.to_le_bytes()) % 97)
}

/// `hashes` cut into `count` pieces of about the same width.
fn pieces(hashes: &RangeInclusive<u64>, count: u64) -> Vec<RangeInclusive<u64>> {
    let (low, width) = (u128::from(*hashes.start()), u128::from(hashes.end() - hashes.start()) + 1);
    let cut = |n: u64| low + width * u128::from(n) / u128::from(count.max(1));
    // Each cut but the last is below 2⁶⁴, and the last is one above the end.
    (0..count).map(|n| cut(n) as u64..=(cut(n + 1) - 1) as u64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(shards: usize, roll: Roll) -> Log {
        Log::new(shards, 0, roll, 7, 1_000)
    }

    fn entry(hash: u64) -> Entry {
        Entry { hash, change: Change::Insert, expired: false, size: 1, images: Box::default() }
    }

    /// Numbers of all records that `hash` can be in, from the oldest shard to the newest.
    fn numbers(log: &mut Log, hash: u64) -> Vec<Sequence> {
        let mut numbers = Vec::new();
        for shard in log.shards.iter_mut().filter(|shard| shard.hashes.contains(&hash)) {
            shard.records.each(0, |record| {
                numbers.push(record.sequence);
                true
            });
        }
        numbers
    }

    #[test]
    fn every_hash_has_one_open_shard_whatever_was_split_and_rolled() {
        let mut log = log(3, Roll::Records(2));
        log.close_all(2, 1_001);
        log.grow(9, 1_002);
        for hash in [0, 1, u64::MAX / 3, u64::MAX / 3 + 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let open = log.shards.iter().filter(|shard| shard.is_open() && shard.hashes.contains(&hash)).count();
            assert_eq!(open, 1, "{hash}");
            let before = numbers(&mut log, hash).len();
            (0..5).for_each(|_| log.append(entry(hash), 1_003));
            assert_eq!(numbers(&mut log, hash).len(), before + 5);
        }
    }

    #[test]
    fn numbers_grow_along_a_key_through_all_its_shards_and_past_64_bits_and_a_digit_at_a_time() {
        let mut log = log(1, Roll::Records(60));
        (0..2_000).for_each(|_| log.append(entry(5), 1_000));
        let numbers = numbers(&mut log, 5);
        assert_eq!(numbers.len(), 2_000);
        assert!(numbers.is_sorted_by(|a, b| a < b));
        assert!(numbers[0] > Sequence::from(u64::MAX));
        let text: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        assert!(text.iter().all(|number| (21..=40).contains(&number.len())));
        assert!(!text.is_sorted(), "as text they are out of order");
        let cut: Vec<u64> = numbers.iter().map(|number| *number as u64).collect();
        assert!(!cut.is_sorted(), "as 64 bits they are out of order");
    }

    #[test]
    fn a_child_begins_above_its_parents_end_and_names_it() {
        let mut log = log(1, Roll::After(4_000));
        log.append(entry(1), 1_000);
        log.advance(100_000, 4_999);
        assert_eq!(log.shards.len(), 1);
        log.advance(100_000, 5_000);
        let [parent, child] = log.shards() else { panic!("{log:?}") };
        assert!(!parent.is_open() && child.is_open());
        assert_eq!(child.parent.as_ref(), Some(&parent.id));
        assert!(child.start > parent.last && child.id > parent.id);
    }

    #[test]
    fn a_closed_shard_is_forgotten_with_its_last_record() {
        let mut log = log(1, Roll::After(i64::MAX));
        log.append(entry(1), 2_000);
        log.close_all(1, 2_500);
        log.advance(1_000, 3_000);
        assert_eq!(log.shards.len(), 2);
        log.advance(1_000, 3_501);
        assert_eq!(log.shards.len(), 1);
        assert!(log.shards[0].parent.is_some(), "it still says where it came from");
    }

    #[test]
    fn a_disabled_log_takes_nothing_and_a_new_one_goes_on_above_it() {
        let mut log = log(2, Roll::After(i64::MAX));
        log.append(entry(1), 2_000);
        log.end(2_000);
        log.append(entry(1), 2_001);
        log.grow(8, 2_001);
        assert_eq!((log.shards.len(), numbers(&mut log, 1).len()), (2, 1));
        let next = Log::new(1, log.highest(), Roll::After(i64::MAX), 8, 2_002);
        assert!(next.shards[0].start > log.highest());
    }

    #[test]
    fn the_widest_shard_splits_first() {
        let mut log = log(1, Roll::After(i64::MAX));
        log.grow(3, 1_000);
        let widths: Vec<u64> = log
            .shards
            .iter()
            .filter(|shard| shard.is_open())
            .map(|shard| (shard.hashes.end() - shard.hashes.start()) >> 61)
            .collect();
        assert_eq!(widths, [3, 1, 1]);
    }
}
