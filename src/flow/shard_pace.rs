//! The pace of each shard of a stream, and which shard takes which hash key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::limit::Limit;
use super::pace::{Pace, Resource};
use super::stream::Shard;

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
    pace: Pace<Unit>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Records,
    Bytes,
}

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
            paces.push(kept.unwrap_or_else(|| ShardPace {
                shard,
                pace: Pace::new(
                    vec![Resource::new(Unit::Records, RECORDS, true), Resource::new(Unit::Bytes, BYTES, true)],
                    true,
                ),
            }));
        }
        paces.sort_by_key(|pace| pace.shard.hash_keys);
    }

    /// How many shards are open.
    pub fn count(&self) -> usize {
        self.shards().len()
    }

    /// Takes `records` and `bytes` of the shard of `hash_key`, or tells how long to wait.
    pub fn take(&self, hash_key: u128, records: usize, bytes: usize) -> Result<(), Duration> {
        let now = self.clock.now();
        let mut shards = self.shards();
        let Some(shard) = of(&mut shards, hash_key) else { return Ok(()) };
        shard.pace.take(now, &[records as f64, bytes as f64]).map_err(|wait| wait.duration)
    }

    /// Which shard takes `hash_key`, by its place, and what one request should hold of it at most: half a second's
    /// worth of records and bytes.
    pub fn portion(&self, hash_key: u128) -> (usize, usize, usize) {
        let shards = self.shards();
        let n = shards.partition_point(|pace| pace.shard.hash_keys.1 < hash_key);
        let factor = shards.get(n).map_or(1.0, |shard| shard.pace.factor());
        (n, (RECORDS * factor / 2.0) as usize, (BYTES * factor / 2.0) as usize)
    }

    /// A reply came: of `sent` records for the shard of `hash_key`, `refused` were refused.
    pub fn reply(&self, hash_key: u128, sent: u64, refused: u64) {
        let now = self.clock.now();
        if let Some(shard) = of(&mut self.shards(), hash_key) {
            shard.pace.reply(now, now, sent as f64, refused as f64);
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
    use super::super::clock::ManualClock;
    use super::*;

    fn shard(id: &str, from: u128, to: u128, open: bool) -> Shard {
        Shard { id: id.into(), parents: Vec::new(), hash_keys: (from, to), open }
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
            assert!(paces.take(0, 500, 500).is_ok());
            // The first refusal is asked for, the second tells how much gets through.
            paces.reply(0, 100, 50);
            paces.reply(0, 100, 50);
            clock.sleep(Duration::from_millis(300)).await;
            let mut taken = 0;
            for _ in 0..1_000 {
                taken += usize::from(paces.take(0, 100, 100).is_ok()) * 100;
                clock.sleep(Duration::from_millis(10)).await;
            }
            // Nothing was said of success, so the pace stays where the refusal put it: just under 500 a second.
            assert!((4_500..=5_300).contains(&taken), "{taken}");
            assert_eq!(paces.limit(), Some(Limit::Shard { shard: "left".into() }));
            assert!(paces.portion(u128::MAX).1 > paces.portion(0).1);
        });
    }

    #[test]
    fn bytes_bind_where_records_are_large() {
        let clock = ManualClock::default();
        clock.run(async {
            let paces = ShardPaces::new(Arc::new(clock.clone()), vec![shard("s", 0, u128::MAX, true)]);
            paces.reply(0, 1, 1);
            clock.sleep(Duration::from_secs(1)).await;
            assert!(paces.take(0, 10, 2 << 20).is_ok());
            let wait = paces.take(0, 1, 1).unwrap_err();
            assert!(wait > Duration::from_secs(1), "{wait:?}");
        });
    }
}
