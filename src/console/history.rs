//! What the console remembers of a job: its seconds, compact, and what happened to it in words.

use std::collections::VecDeque;

use crate::flow::Counters;
use crate::jobs::journal::{ChangeCounts, Holder, Note, Sample};

/// One second of a job, as the charts need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    /// When, ms since epoch.
    pub at_ms: i64,
    /// Totals up to then.
    pub counters: Counters,
    /// Write capacity of the table, WCU; `None` when it has none or it is unknown.
    pub provisioned: Option<f64>,
}

/// A job's past, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every second that was sampled.
    pub seconds: Vec<Second>,
    /// The newest sample, whole.
    pub newest: Option<Sample>,
    /// Who reads which shard, where several workers share a stream.
    pub holders: Vec<Holder>,
    /// What each shard had given at the last few samples, oldest first: ms since epoch, and records by shard.
    pub(super) shards: VecDeque<(i64, Vec<(String, u64)>)>,
    /// What the changes of a replica were at the last few samples, oldest first.
    pub(super) changes: VecDeque<(i64, ChangeCounts)>,
    /// Notes in order.
    pub notes: Vec<Note>,
}

/// Samples over which a shard's rate is taken.
const SHARDS_OVER: usize = 6;
/// Two samples further apart than this, ms, have a gap between them: the worker was away.
pub const GAP_MS: i64 = 5000;

impl History {
    /// Adds samples that the journal has gained. Ones that are here already are left out.
    pub fn extend(&mut self, samples: Vec<Sample>) {
        for sample in samples {
            if self.seconds.last().is_some_and(|last| last.at_ms >= sample.at_ms) {
                continue;
            }
            self.seconds.push(Second {
                at_ms: sample.at_ms,
                counters: sample.counters,
                provisioned: sample.provisioned_wcu,
            });
            let given = sample.shards.iter().map(|shard| (shard.shard.clone(), shard.records)).collect();
            self.shards.push_back((sample.at_ms, given));
            if self.shards.len() > SHARDS_OVER {
                self.shards.pop_front();
            }
            if let Some(replica) = &sample.replica {
                self.changes.push_back((sample.at_ms, replica.changes));
                if self.changes.len() > SHARDS_OVER {
                    self.changes.pop_front();
                }
            }
            if !sample.holders.is_empty() {
                self.holders.clone_from(&sample.holders);
            }
            self.newest = Some(sample);
        }
    }

    /// The seconds from `from_ms` on, with the one before for the first difference.
    fn since(&self, from_ms: i64) -> &[Second] {
        let first = self.seconds.partition_point(|s| s.at_ms < from_ms).saturating_sub(1);
        &self.seconds[first..]
    }

    /// What `of` grew by each second, from `from_ms` on. A gap, or totals that fell because a worker was killed ahead of
    /// its checkpoint, give no point.
    pub fn rates(&self, from_ms: i64, of: impl Fn(&Counters) -> f64) -> Vec<(i64, f64)> {
        self.since(from_ms)
            .windows(2)
            .filter_map(|pair| {
                let ms = pair[1].at_ms - pair[0].at_ms;
                let grown = of(&pair[1].counters) - of(&pair[0].counters);
                (ms > 0 && ms <= GAP_MS && grown >= 0.0).then(|| (pair[1].at_ms, grown * 1000.0 / ms as f64))
            })
            .collect()
    }

    /// What `of` grew by each second over the last `over_ms` before `now_ms`; `None` without samples there.
    pub fn rate(&self, now_ms: i64, over_ms: i64, of: impl Fn(&Counters) -> f64) -> Option<f64> {
        let rates = self.rates(now_ms - over_ms, of);
        let recent: Vec<f64> = rates.iter().filter(|(at, _)| *at > now_ms - over_ms).map(|(_, rate)| *rate).collect();
        (!recent.is_empty()).then(|| recent.iter().sum::<f64>() / recent.len() as f64)
    }

    /// Provisioned capacity over time, from `from_ms` on.
    pub fn provisioned(&self, from_ms: i64) -> Vec<(i64, f64)> {
        self.since(from_ms).iter().filter_map(|s| Some((s.at_ms, s.provisioned?))).collect()
    }

    /// Records that `shard` gave each second over the last samples; `None` when it is not read.
    pub fn shard_rate(&self, shard: &str) -> Option<f64> {
        let records = |given: &[(String, u64)]| given.iter().find(|(id, _)| id == shard).map(|(_, n)| *n);
        let (to, now) = self.shards.back()?;
        let now = records(now)?;
        let (from, then) = self.shards.iter().find_map(|(at, given)| Some((*at, records(given)?)))?;
        (*to > from && now >= then).then(|| (now - then) as f64 * 1000.0 / (to - from) as f64)
    }

    /// Changes of a kind each second over the last samples of a replica.
    pub fn change_rate(&self, of: fn(&ChangeCounts) -> u64) -> Option<f64> {
        let ((from, then), (to, now)) = (self.changes.front()?, self.changes.back()?);
        let (then, now) = (of(then), of(now));
        (to > from && now >= then).then(|| (now - then) as f64 * 1000.0 / (to - from) as f64)
    }

    /// The furthest that any shard is behind, ms, in the newest sample.
    pub fn worst_lag_ms(&self) -> Option<u64> {
        self.newest.as_ref()?.shards.iter().map(|shard| shard.lag_ms).max()
    }
}

/// Records that need nothing more: written, deleted, left out or dead.
pub fn settled(counters: &Counters) -> u64 {
    counters.written + counters.deleted + counters.skipped + counters.dead
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::journal::{ReplicaSample, ShardSample};

    fn sample(at_s: i64, written: u64) -> Sample {
        Sample { at_ms: at_s * 1000, counters: Counters { written, ..Counters::default() }, ..Sample::default() }
    }

    #[test]
    fn a_gap_and_a_killed_worker_give_no_rate() {
        let mut history = History::default();
        history.extend(vec![sample(1, 100), sample(2, 200), sample(60, 5000), sample(61, 5100), sample(62, 4000)]);
        let rates = history.rates(0, |c| c.written as f64);
        assert_eq!(rates, [(2000, 100.0), (61_000, 100.0)]);
    }

    #[test]
    fn a_shards_rate_is_what_it_gave_over_the_last_samples() {
        let mut history = History::default();
        for at_s in 0..20 {
            let shard = ShardSample { shard: "s".into(), records: at_s as u64 * 50, ..ShardSample::default() };
            history.extend(vec![Sample { at_ms: at_s * 1000, shards: vec![shard], ..Sample::default() }]);
        }
        assert_eq!(history.shard_rate("s"), Some(50.0));
        assert_eq!(history.shard_rate("other"), None);
    }

    #[test]
    fn a_replicas_changes_each_second_are_told_by_kind() {
        let mut history = History::default();
        for at_s in 0..20 {
            let changes = ChangeCounts { removed: at_s * 7, ..ChangeCounts::default() };
            let replica = Some(ReplicaSample { changes, ..ReplicaSample::default() });
            history.extend(vec![Sample { at_ms: at_s as i64 * 1000, replica, ..Sample::default() }]);
        }
        assert_eq!(history.change_rate(|c| c.removed), Some(7.0));
        assert_eq!(history.change_rate(|c| c.inserted), Some(0.0));
        assert_eq!(History::default().change_rate(|c| c.removed), None);
    }

    #[test]
    fn a_sample_that_is_told_twice_counts_once() {
        let mut history = History::default();
        history.extend(vec![sample(1, 1), sample(2, 2)]);
        history.extend(vec![sample(2, 2), sample(3, 3)]);
        assert_eq!(history.seconds.len(), 3);
        assert_eq!(history.rate(3000, 10_000, |c| c.written as f64), Some(1.0));
        assert_eq!(history.rate(90_000, 10_000, |c| c.written as f64), None);
    }
}
