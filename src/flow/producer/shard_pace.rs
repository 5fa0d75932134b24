//! The pace of each shard of a stream, and which shard takes which hash key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::flow::clock::Clock;
use crate::flow::limit::Limit;
use crate::flow::pacer::{Pace, Resource};
use crate::flow::stream::Shard;

/// What a shard takes a second: 1,000 records and 1 MiB (Kinesis quotas).
const RECORDS: f64 = 1_000.0;
const BYTES: f64 = (1 << 20) as f64;

/// The open shards of a stream, in order of their hash keys, each with its pace.
#[derive(Debug)]
pub(super) struct ShardPaces {
    clock: Arc<dyn Clock>,
    shards: Mutex<Vec<ShardPace>>,
}

#[derive(Debug)]
struct ShardPace {
    shard: Shard,
    pace: Pace<()>,
}

/// What is put on a shard at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub records: usize,
    pub bytes: usize,
}

impl Load {
    /// Adds a record of `bytes`.
    pub fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }

    /// What it takes of a shard's second, by the measure that it takes more of: whether records or bytes bind depends on how
    /// much is packed into a record, and so changes all the time.
    fn seconds(self) -> f64 {
        (self.records as f64 / RECORDS).max(self.bytes as f64 / BYTES)
    }

    /// Which share of it `part` is, by that measure.
    fn share(self, part: Self) -> f64 {
        if self.records as f64 / RECORDS > self.bytes as f64 / BYTES {
            part.records as f64 / self.records as f64
        } else {
            part.bytes as f64 / self.bytes.max(1) as f64
        }
    }
}

/// What the paces count in: thousandths of what a shard takes in a second.
const UNITS: f64 = 1_000.0;

/// What one request holds for a shard at most, seconds of its pace. A shard that is nearly full refuses the end of a
/// request: with half a second it refused so much at once that the pace fell to 0.6 MiB/s, with this it holds 1.
const PORTION: f64 = 0.1;

impl ShardPaces {
    /// Paces of the open ones of `shards`.
    pub fn new(clock: Arc<dyn Clock>, shards: Vec<Shard>) -> Self {
        let paces = Self { clock, shards: Mutex::default() };
        paces.update(shards);
        paces
    }

    fn shards(&self) -> MutexGuard<'_, Vec<ShardPace>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream has these shards now; what was learnt of those that stayed is kept.
    pub fn update(&self, shards: Vec<Shard>) {
        let mut paces = self.shards();
        let mut before = std::mem::take(&mut *paces);
        for shard in shards.into_iter().filter(|shard| shard.open) {
            let kept = before.iter().position(|old| old.shard.id == shard.id).map(|n| before.swap_remove(n));
            paces.push(
                kept.unwrap_or_else(|| ShardPace {
                    shard,
                    pace: Pace::new(vec![Resource::new((), UNITS, true)], true),
                }),
            );
        }
        paces.sort_by_key(|pace| pace.shard.hash_keys);
    }

    /// How many shards are open.
    pub fn count(&self) -> usize {
        self.shards().len()
    }

    /// Takes `load` of the shard of `hash_key`, or tells how long to wait.
    pub fn take(&self, hash_key: u128, load: Load) -> Result<(), Duration> {
        let now = self.clock.now();
        let mut shards = self.shards();
        let Some(shard) = of(&mut shards, hash_key) else { return Ok(()) };
        shard.pace.take(now, &[load.seconds() * UNITS]).map_err(|wait| wait.duration)
    }

    /// Which shard takes `hash_key`, by its place, and what one request should hold of it at most.
    pub fn portion(&self, hash_key: u128) -> (usize, Load) {
        let shards = self.shards();
        let n = shards.partition_point(|pace| pace.shard.hash_keys.1 < hash_key);
        let factor = shards.get(n).map_or(1.0, |shard| shard.pace.factor());
        let seconds = factor * PORTION;
        (n, Load { records: (RECORDS * seconds).ceil() as usize, bytes: (BYTES * seconds) as usize })
    }

    /// A reply came: of what was `sent` to the shard of `hash_key` at `sent_at`, `refused` was refused.
    pub fn reply(&self, hash_key: u128, sent_at: Duration, sent: Load, refused: Load) {
        let now = self.clock.now();
        if let Some(shard) = of(&mut self.shards(), hash_key) {
            let units = sent.seconds() * UNITS;
            shard.pace.reply(now, sent_at, units, units * sent.share(refused));
        }
    }

    /// What binds now: all shards, or one.
    pub fn limit(&self) -> Option<Limit> {
        let now = self.clock.now();
        let shards = self.shards();
        let mut bound = shards.iter().filter(|shard| shard.pace.binds(now).is_some());
        let first = bound.next()?;
        if bound.count() + 1 > shards.len() / 2 && shards.len() > 1 {
            Some(Limit::Stream { shards: shards.len() })
        } else {
            Some(Limit::Shard { shard: first.shard.id.clone() })
        }
    }
}

fn of(shards: &mut [ShardPace], hash_key: u128) -> Option<&mut ShardPace> {
    let n = shards.partition_point(|pace| pace.shard.hash_keys.1 < hash_key);
    shards.get_mut(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::clock::ManualClock;

    fn shard(id: &str, from: u128, to: u128, open: bool) -> Shard {
        Shard { id: id.into(), parents: Vec::new(), hash_keys: (from, to), open }
    }

    fn load(records: usize, bytes: usize) -> Load {
        Load { records, bytes }
    }

    #[test]
    fn a_load_is_measured_by_what_it_takes_more_of() {
        assert_eq!(load(500, 1_000).seconds(), 0.5);
        assert_eq!(load(500, 1 << 20).seconds(), 1.0);
        assert_eq!(load(500, 1_000).share(load(125, 900)), 0.25);
        assert_eq!(load(2, 1 << 20).share(load(1, 1 << 18)), 0.25);
        assert_eq!(load(0, 0).share(load(0, 0)), 0.0);
    }

    #[test]
    fn a_record_belongs_to_the_open_shard_of_its_hash_key() {
        let half = u128::MAX / 2;
        let clock = ManualClock::default();
        let paces = ShardPaces::new(
            Arc::new(clock),
            vec![
                shard("right", half + 1, u128::MAX, true),
                shard("old", 0, u128::MAX, false),
                shard("left", 0, half, true),
            ],
        );
        assert_eq!(paces.count(), 2);
        assert_eq!([0, half, half + 1, u128::MAX].map(|key| paces.portion(key).0), [0, 0, 1, 1]);
    }

    #[test]
    fn a_refusal_slows_its_own_shard_only_and_is_named() {
        let half = u128::MAX / 2;
        let clock = ManualClock::default();
        clock.run(async {
            let paces = ShardPaces::new(
                Arc::new(clock.clone()),
                vec![shard("left", 0, half, true), shard("right", half + 1, u128::MAX, true)],
            );
            clock.sleep(Duration::from_secs(1)).await;
            assert!(paces.take(0, load(500, 500)).is_ok());
            // The first refusal is asked for, the second tells how much gets through.
            for _ in 0..2 {
                paces.reply(0, clock.now(), load(100, 100), load(50, 50));
            }
            clock.sleep(Duration::from_millis(300)).await;
            let mut taken = 0;
            for _ in 0..1_000 {
                taken += usize::from(paces.take(0, load(100, 100)).is_ok()) * 100;
                clock.sleep(Duration::from_millis(10)).await;
            }
            // Nothing was said of success, so the pace stays where the refusal put it: just under 500 a second.
            assert!((4_500..=5_300).contains(&taken), "{taken}");
            assert_eq!(paces.limit(), Some(Limit::Shard { shard: "left".into() }));
            assert!(paces.portion(u128::MAX).1.bytes > paces.portion(0).1.bytes);
        });
    }

    #[test]
    fn bytes_bind_where_records_are_large() {
        let clock = ManualClock::default();
        clock.run(async {
            let paces = ShardPaces::new(Arc::new(clock.clone()), vec![shard("s", 0, u128::MAX, true)]);
            paces.reply(0, clock.now(), load(1, 1), load(1, 1));
            clock.sleep(Duration::from_secs(1)).await;
            assert!(paces.take(0, load(10, 2 << 20)).is_ok());
            let wait = paces.take(0, load(1, 1)).unwrap_err();
            assert!(wait > Duration::from_secs(1), "{wait:?}");
        });
    }
}
