//! What the shards that a job reads gave over its last samples. A stream may have ten thousand, and each frame asks about
//! those on screen: what a shard gives each second is looked up, and that of all together is known.

use std::collections::{HashMap, VecDeque};

use crate::jobs::journal::ShardSample;

/// Samples over which a shard's rate is taken.
pub const OVER: usize = 6;

/// What each shard had given at the last few samples.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// When those samples were taken, oldest first, ms since epoch.
    taken: VecDeque<i64>,
    shards: HashMap<String, Shard>,
    /// Records that all shards of the newest sample gave each second; `None` where that is known of none.
    pub per_second: Option<f64>,
    /// The furthest that any of them is behind, ms.
    pub worst_lag_ms: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    lag_ms: u64,
    /// Ms since epoch, and records up to then: in those of the last samples that it is in, oldest first.
    records: VecDeque<(i64, u64)>,
}

impl Shard {
    fn per_second(&self) -> Option<f64> {
        let ((from, then), (to, now)) = (self.records.front()?, self.records.back()?);
        (to > from && now >= then).then(|| (now - then) as f64 * 1000.0 / (to - from) as f64)
    }
}

impl Given {
    /// Takes what the next sample says.
    pub fn take(&mut self, at_ms: i64, sampled: &[ShardSample]) {
        self.taken.push_back(at_ms);
        if self.taken.len() > OVER {
            self.taken.pop_front();
        }
        let oldest = self.taken.front().copied().unwrap_or(at_ms);
        self.per_second = None;
        for sample in sampled {
            let shard = match self.shards.get_mut(&sample.shard) {
                Some(known) => known,
                None => self.shards.entry(sample.shard.clone()).or_default(),
            };
            shard.lag_ms = sample.lag_ms;
            while shard.records.front().is_some_and(|(at, _)| *at < oldest) {
                shard.records.pop_front();
            }
            shard.records.push_back((at_ms, sample.records));
            if let Some(rate) = shard.per_second() {
                *self.per_second.get_or_insert_default() += rate;
            }
        }
        self.worst_lag_ms = sampled.iter().map(|sample| sample.lag_ms).max();
        // A shard that is read no more is forgotten when the last samples no longer have it.
        if self.shards.len() > sampled.len() {
            self.shards.retain(|_, shard| shard.records.back().is_some_and(|(at, _)| *at >= oldest));
        }
    }

    /// How far behind a shard is, ms, and what it gave each second, where that is known; `None` when it is not read.
    pub fn of(&self, shard: &str) -> Option<(u64, Option<f64>)> {
        let shard = self.shards.get(shard)?;
        let is_read = shard.records.back().map(|(at, _)| at) == self.taken.back();
        is_read.then(|| (shard.lag_ms, shard.per_second()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(samples: &[(i64, &[(&str, u64)])]) -> Given {
        let mut given = Given::default();
        for (at_s, shards) in samples {
            let sampled = shards.iter().map(|(id, records)| ShardSample {
                shard: (*id).to_owned(),
                lag_ms: 1_000 - *records,
                records: *records,
                ..ShardSample::default()
            });
            given.take(at_s * 1000, &sampled.collect::<Vec<_>>());
        }
        given
    }

    #[test]
    fn all_together_give_what_each_gives_and_the_last_is_the_furthest_behind() {
        let given = taken(&[(0, &[("a", 0), ("b", 0)]), (2, &[("a", 20), ("b", 400)])]);
        assert_eq!((given.of("a"), given.of("b")), (Some((980, Some(10.0))), Some((600, Some(200.0)))));
        assert_eq!((given.per_second, given.worst_lag_ms), (Some(210.0), Some(980)));
    }

    #[test]
    fn a_shard_that_is_not_in_the_newest_sample_is_not_read_and_counts_for_nothing() {
        let given = taken(&[(0, &[("a", 0), ("b", 0)]), (1, &[("a", 10), ("b", 70)]), (2, &[("a", 20)])]);
        assert_eq!((given.of("a"), given.of("b")), (Some((980, Some(10.0))), None));
        assert_eq!(given.per_second, Some(10.0));
        // Back before it is forgotten, its rate is over what passed.
        let given = taken(&[(0, &[("a", 0)]), (1, &[]), (4, &[("a", 40)])]);
        assert_eq!(given.of("a"), Some((960, Some(10.0))));
        assert_eq!(taken(&[(0, &[("a", 0)]), (1, &[])]).per_second, None);
    }

    #[test]
    fn a_shard_that_begins_again_has_no_rate_until_what_was_before_is_out_of_sight() {
        let mut samples: Vec<(i64, &[(&str, u64)])> = vec![(0, &[("a", 500)]), (1, &[("a", 0)]), (2, &[("a", 3)])];
        assert_eq!(taken(&samples).of("a"), Some((997, None)));
        samples.extend([(3, &[("a", 6)][..]), (4, &[("a", 9)][..]), (5, &[("a", 12)][..]), (6, &[("a", 15)][..])]);
        assert_eq!(taken(&samples).of("a"), Some((985, Some(3.0))));
    }

    #[test]
    fn what_is_kept_does_not_grow_with_the_shards_that_were() {
        let mut given = Given::default();
        for second in 0..100 {
            let shard = format!("shardId-{second:012}");
            given.take(second * 1000, &[ShardSample { shard, ..ShardSample::default() }]);
        }
        assert!(given.shards.len() <= OVER && given.taken.len() <= OVER, "{}", given.shards.len());
        assert!(given.shards.values().all(|shard| shard.records.len() <= OVER));
    }
}
