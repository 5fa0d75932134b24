//! A model of stream, intake, buffer, pass and crash, run at random: no event ever lands below a published watermark.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// A record arrives on an open shard, at a time of the stream's own clock, which may go back.
    Arrive { shard: usize, time: i64 },
    /// The intake reads and stamps the next record of a shard.
    Read { shard: usize },
    /// A record on its way to the buffer gets there: which of those of the shard.
    Buffer { shard: usize, which: usize },
    /// A poll of a shard finds nothing.
    Poll { shard: usize },
    /// What is below the marks is stored as checkpoints.
    Checkpoint,
    /// A bound is promised and a pass begins: the rows that it will meet are those of now.
    Begin,
    /// The pass stores some of its rows.
    Store { rows: usize },
    /// The pass ends, and its bound is published.
    Publish,
    /// A shard is split in two.
    Split { shard: usize },
    /// The process dies and starts again.
    Crash,
    /// Our clock jumps, forward or back, against the stream's.
    Jump { by: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shard = 0..4_usize;
    let step = prop_oneof![
        6 => (shard.clone(), 0..8_000_000_i64).prop_map(|(shard, time)| Step::Arrive { shard, time }),
        6 => shard.clone().prop_map(|shard| Step::Read { shard }),
        6 => (shard.clone(), 0..3_usize).prop_map(|(shard, which)| Step::Buffer { shard, which }),
        4 => shard.clone().prop_map(|shard| Step::Poll { shard }),
        2 => Just(Step::Checkpoint),
        3 => Just(Step::Begin),
        4 => (1..6_usize).prop_map(|rows| Step::Store { rows }),
        3 => Just(Step::Publish),
        1 => shard.prop_map(|shard| Step::Split { shard }),
        1 => Just(Step::Crash),
        1 => (-3_000_000..3_000_000_i64).prop_map(|by| Step::Jump { by }),
    ];
    proptest::collection::vec(step, 1..120)
}

/// One shard of the model.
#[derive(Clone, Debug, Default)]
struct ModelShard {
    id: String,
    parents: Vec<String>,
    open: bool,
    /// Arrival times, in the order of the shard.
    records: Vec<i64>,
}

/// How a process stands with a shard; lost with it.
#[derive(Clone, Debug, Default)]
struct Reading {
    next: usize,
    /// Stamped and not in the buffer: number and time. Those below the mark are gone from the front.
    open: Vec<(usize, i64, bool)>,
    settled: Option<i64>,
    mark: usize,
    caught_up: Option<i64>,
}

#[derive(Debug, Default)]
struct World {
    // What outlives a process.
    shards: Vec<ModelShard>,
    buffer: BTreeMap<(String, usize), i64>,
    stored: BTreeMap<(String, usize), i64>,
    promised: Option<i64>,
    published: i64,
    checkpoints: BTreeMap<String, (usize, Option<i64>)>,
    // What dies with it.
    floors: Floors,
    reading: BTreeMap<String, Reading>,
    pass: Option<(Vec<((String, usize), i64)>, Option<i64>)>,
    clock: i64,
    wall: i64,
}

impl World {
    fn new() -> Self {
        let shard = |id: &str| ModelShard { id: id.into(), open: true, ..ModelShard::default() };
        let mut world = Self { shards: vec![shard("s0"), shard("s1")], wall: 5_000_000, ..Self::default() };
        world.start();
        world
    }

    fn start(&mut self) {
        self.floors = Floors::new(self.promised.map(|at| Timestamp::from_microsecond(at).unwrap()));
        self.pass = None;
        self.reading.clear();
        for (shard, (mark, settled)) in self.checkpoints.clone() {
            self.floors.resume(&shard, settled);
            let reading = Reading { next: mark, mark, settled, ..Reading::default() };
            self.reading.insert(shard, reading);
        }
    }

    fn is_done(&self, shard: &ModelShard) -> bool {
        !shard.open && self.reading.get(&shard.id).is_some_and(|reading| reading.mark == shard.records.len())
    }

    /// The shard as its reader has it, if it may be read: parents come first.
    fn read(&mut self, n: usize) -> Option<(ModelShard, &mut Reading)> {
        let shard = self.shards.get(n)?.clone();
        let parents = self.shards.iter().filter(|parent| shard.parents.contains(&parent.id));
        if !parents.into_iter().all(|parent| self.is_done(parent)) {
            return None;
        }
        if !self.floors.knows(&shard.id) {
            self.floors.begin(&shard.id, &shard.parents);
        }
        let reading = self.reading.entry(shard.id.clone()).or_default();
        Some((shard, reading))
    }

    fn step(&mut self, step: &Step) {
        self.clock += 400_000;
        self.wall += 400_000;
        match step {
            Step::Arrive { shard, time } => {
                if let Some(shard) = self.shards.get_mut(*shard).filter(|shard| shard.open) {
                    shard.records.push(*time);
                }
            }
            Step::Read { shard } => {
                let Some((shard, reading)) = self.read(*shard) else { return };
                let Some(arrived) = shard.records.get(reading.next).copied() else { return };
                let n = reading.next;
                reading.next += 1;
                let time = self.floors.stamp(&shard.id, arrived);
                self.reading.get_mut(&shard.id).unwrap().open.push((n, time, false));
            }
            Step::Buffer { shard, which } => {
                let Some((shard, reading)) = self.read(*shard) else { return };
                let Some((n, time, settled)) = reading.open.iter_mut().filter(|(.., settled)| !settled).nth(*which)
                else {
                    return;
                };
                *settled = true;
                let row = ((shard.id.clone(), *n), *time);
                while reading.open.first().is_some_and(|(.., settled)| *settled) {
                    let (n, time, _) = reading.open.remove(0);
                    reading.mark = n + 1;
                    reading.settled = Some(time);
                }
                self.buffer.insert(row.0, row.1);
            }
            Step::Poll { shard } => {
                let clock = self.clock;
                let Some((shard, reading)) = self.read(*shard) else { return };
                if shard.open && reading.next == shard.records.len() {
                    reading.caught_up = Some(clock);
                }
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Begin => {
                let (listing, progress) = self.seen();
                self.checkpoint();
                let bound = bound(&listing, &progress, self.floors.promised(), self.wall, self.clock);
                if let Some(bound) = bound.filter(|bound| *bound >= 0) {
                    self.promised = self.promised.max(Some(bound));
                    self.floors.promise(bound);
                }
                let rows = self.buffer.iter().map(|(key, time)| (key.clone(), *time)).collect();
                self.pass = Some((rows, bound));
            }
            Step::Store { rows } => {
                let Some((waiting, _)) = &mut self.pass else { return };
                for (key, time) in waiting.drain(..(*rows).min(waiting.len())) {
                    if let Some(before) = self.stored.insert(key.clone(), time) {
                        assert_eq!(before, time, "{key:?} was stored at two times");
                    } else {
                        assert!(time >= self.published, "{key:?} came at {time}, below {}", self.published);
                    }
                    self.buffer.remove(&key);
                }
            }
            Step::Publish => {
                if let Some((waiting, bound)) = &self.pass
                    && waiting.is_empty()
                {
                    self.published = self.published.max(bound.unwrap_or_default());
                    self.pass = None;
                }
            }
            Step::Split { shard } => {
                let count = self.shards.len();
                let Some(parent) = self.shards.get_mut(*shard).filter(|shard| shard.open) else { return };
                parent.open = false;
                let parents = vec![parent.id.clone()];
                for n in 0..2 {
                    let id = format!("s{}", count + n);
                    self.shards.push(ModelShard { id, parents: parents.clone(), open: true, records: Vec::new() });
                }
            }
            Step::Crash => self.start(),
            Step::Jump { by } => self.wall = (self.wall + by).max(0),
        }
    }

    fn checkpoint(&mut self) {
        for (shard, reading) in &self.reading {
            self.checkpoints.insert(shard.clone(), (reading.mark, reading.settled));
        }
    }

    fn seen(&self) -> (Vec<Shard>, Vec<ShardProgress>) {
        let listing = self.shards.iter().map(|shard| Shard {
            id: shard.id.clone(),
            parents: shard.parents.clone(),
            hash_keys: (0, 0),
            open: shard.open,
        });
        let progress = self.shards.iter().filter_map(|shard| {
            let reading = self.reading.get(&shard.id)?;
            Some(ShardProgress {
                shard: shard.id.clone(),
                lag_ms: 0,
                behind_records: None,
                records: 0,
                foreign: 0,
                outside: 0,
                done: self.is_done(shard),
                settled_us: reading.settled,
                open: reading.open.len(),
                caught_up: reading.caught_up.map(|at| Duration::from_micros(at.unsigned_abs())),
            })
        });
        (listing.collect(), progress.collect())
    }

    /// Reads, buffers and stores everything that is left.
    fn drain(&mut self) {
        for _ in 0..3 {
            for shard in 0..self.shards.len() {
                while self.shards[shard].records.len()
                    > self.read(shard).map_or(usize::MAX, |(_, reading)| reading.next)
                {
                    self.step(&Step::Read { shard });
                }
                while self.read(shard).is_some_and(|(_, reading)| !reading.open.is_empty()) {
                    self.step(&Step::Buffer { shard, which: 0 });
                }
            }
        }
        for step in [Step::Begin, Step::Store { rows: usize::MAX }, Step::Publish] {
            self.step(&step);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn no_event_ever_lands_below_a_published_watermark(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.drain();
        for shard in &world.shards {
            for n in 0..shard.records.len() {
                prop_assert!(world.stored.contains_key(&(shard.id.clone(), n)), "record {} of {} is lost", n, shard.id);
            }
            let times: Vec<i64> = (0..shard.records.len()).map(|n| world.stored[&(shard.id.clone(), n)]).collect();
            prop_assert!(times.is_sorted(), "the order of {} is not kept: {:?}", shard.id, times);
        }
    }
}

fn shard(id: &str, parents: &[&str]) -> Shard {
    Shard { id: id.into(), parents: parents.iter().map(|&id| id.into()).collect(), hash_keys: (0, 0), open: true }
}

fn progress(shard: &str, settled_us: Option<i64>, open: usize, caught_up: Option<u64>, done: bool) -> ShardProgress {
    ShardProgress {
        shard: shard.into(),
        lag_ms: 0,
        behind_records: None,
        records: 0,
        foreign: 0,
        outside: 0,
        done,
        settled_us,
        open,
        caught_up: caught_up.map(Duration::from_micros),
    }
}

const WALL: i64 = 100_000_000;

#[test]
fn the_slowest_shard_holds_the_bound() {
    let listing = [shard("a", &[]), shard("b", &[])];
    let of = |a, b| bound(&listing, &[progress("a", a, 1, None, false), progress("b", b, 0, None, false)], 0, WALL, 0);
    assert_eq!(of(Some(20), Some(10)), Some(10));
    assert_eq!(of(Some(20), None), None);
}

#[test]
fn an_idle_shard_advances_the_bound_and_one_with_records_on_their_way_does_not() {
    let listing = [shard("a", &[])];
    // The empty page was asked for 3 s ago.
    let of = |open| bound(&listing, &[progress("a", Some(7), open, Some(2_000_000), false)], 0, WALL, 5_000_000);
    assert_eq!(of(0), Some(WALL - 3_000_000 - IDLE_MARGIN));
    assert_eq!(of(1), Some(7));
}

#[test]
fn a_bound_never_falls_below_what_was_promised() {
    let listing = [shard("a", &[])];
    assert_eq!(bound(&listing, &[progress("a", Some(7), 1, None, false)], 50, WALL, 0), Some(50));
    assert_eq!(bound(&listing, &[], 50, WALL, 0), Some(50));
    assert_eq!(bound(&listing, &[], 0, WALL, 0), None);
}

#[test]
fn children_speak_for_a_shard_that_ended_and_wait_for_it_until_they_begin() {
    let done = progress("a", Some(30), 0, None, true);
    let both = [shard("a", &[]), shard("b", &["a"])];
    assert_eq!(bound(&both, std::slice::from_ref(&done), 0, WALL, 0), Some(30));
    let child = progress("b", Some(40), 0, None, false);
    assert_eq!(bound(&both, &[done.clone(), child], 0, WALL, 0), Some(40));
    assert_eq!(bound(&both[..1], &[done], 0, WALL, 0), Some(30));
}

#[test]
fn a_clock_that_goes_back_does_not_take_a_shards_time_back() {
    let mut floors = Floors::new(None);
    assert_eq!([100, 90, 101].map(|arrived| floors.stamp("a", arrived)), [100, 100, 101]);
    floors.begin("b", &["a".into()]);
    assert_eq!(floors.stamp("b", 5), 101);
    floors.promise(500);
    assert_eq!((floors.stamp("a", 102), floors.stamp("new", 1)), (500, 500));
}
