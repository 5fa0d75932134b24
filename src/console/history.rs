//! What the console remembers of a job: its seconds, compact, and what happened to it in words.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::anomaly::Turns;
use super::given::{self, Given};
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
    /// The worker was there all the time since the second before, as far as samples tell.
    pub joined: bool,
}

/// A part of a long past, as finely as a chart of it can show.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// From when on, ms since epoch.
    pub from_ms: i64,
    /// Up to when, ms since epoch.
    pub to_ms: i64,
    /// Time between its seconds, ms.
    pub step_ms: i64,
    /// Its seconds, with one before.
    pub seconds: Vec<Second>,
}

/// A job's past, oldest first.
#[derive(Clone, Debug)]
pub struct History {
    /// The seconds that were sampled; of a long past those that a chart of the whole can show.
    pub seconds: Vec<Second>,
    /// Time between the oldest of them, ms: a second until there are too many to keep.
    pub step_ms: i64,
    /// A part of the past that is looked at closer.
    pub detail: Option<Detail>,
    /// What turned in it.
    pub turns: Turns,
    /// The newest sample, whole.
    pub newest: Option<Sample>,
    /// Who reads which shard, where several workers share a stream, in the order of shards.
    pub holders: Vec<Holder>,
    /// What each shard gave at the last few samples.
    pub(super) given: Given,
    /// What the changes of a replica were at the last few samples, oldest first.
    pub(super) changes: VecDeque<(i64, ChangeCounts)>,
    /// Notes in order.
    pub notes: Vec<Note>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            seconds: Vec::new(),
            step_ms: SECOND_MS,
            detail: None,
            turns: Turns::default(),
            newest: None,
            holders: Vec::new(),
            given: Given::default(),
            changes: VecDeque::new(),
            notes: Vec::new(),
        }
    }
}

/// Time between samples, ms.
pub const SECOND_MS: i64 = 1000;
/// More seconds than this of a job are not kept: about a megabyte, whether it runs for an hour or a month.
pub const MOST: usize = 8_192;
/// Points that a chart is asked for, about two for each dot of a wide one.
pub const POINTS: i64 = 1_024;
/// So many of the newest stay whole.
const FRESH: usize = 2_048;
/// Samples over which the rates of shards and of changes are taken.
const OVER: usize = given::OVER;
/// Two samples further apart than this, ms, have a gap between them: the worker was away.
pub const GAP_MS: i64 = 5000;

impl History {
    /// Adds samples that the journal has gained, `step_ms` apart. Ones that are here already are left out.
    pub fn extend_by(&mut self, samples: Vec<Sample>, step_ms: i64) {
        self.step_ms = self.step_ms.max(step_ms);
        // Of a long past only the newest samples say what shards give now.
        let old = samples.len().saturating_sub(OVER);
        for (at, sample) in samples.into_iter().enumerate() {
            let last = self.seconds.last();
            if last.is_some_and(|last| last.at_ms >= sample.at_ms) {
                continue;
            }
            let second = Second::of(&sample, last, step_ms);
            self.seconds.push(second);
            self.turns.take(&sample);
            if at >= old {
                self.given.take(sample.at_ms, &sample.shards);
            }
            if let Some(replica) = &sample.replica {
                self.changes.push_back((sample.at_ms, replica.changes));
                if self.changes.len() > OVER {
                    self.changes.pop_front();
                }
            }
            if !sample.holders.is_empty() {
                self.holders.clone_from(&sample.holders);
                self.holders.sort_by(|a, b| a.shard.cmp(&b.shard));
            }
            self.newest = Some(sample);
        }
        if self.seconds.len() > MOST {
            self.thin();
            // What is still too much is kept twice as far apart, up to a day.
            while self.seconds.len() > MOST * 3 / 4 && self.step_ms < 86_400_000 {
                self.step_ms *= 2;
                self.thin();
            }
            let beyond = self.seconds.len().saturating_sub(MOST);
            self.seconds.drain(..beyond);
        }
    }

    /// Adds samples a second apart.
    pub fn extend(&mut self, samples: Vec<Sample>) {
        self.extend_by(samples, SECOND_MS);
    }

    /// Of the older seconds keeps one in each step. Counters are totals: what is left out is in what stays.
    fn thin(&mut self) {
        let step = self.step_ms;
        let fresh = self.seconds.len().saturating_sub(FRESH);
        let mut kept: Vec<Second> = Vec::with_capacity(MOST);
        for (i, second) in std::mem::take(&mut self.seconds).into_iter().enumerate() {
            let gives_way = match kept.as_slice() {
                // Where a worker came back, where it began again, and where capacity changed, the second itself stays.
                [.., before, last] => {
                    i < fresh
                        && last.at_ms.div_euclid(step) == second.at_ms.div_euclid(step)
                        && last.joined
                        && second.joined
                        && last.provisioned == second.provisioned
                        && before.counters.read <= last.counters.read
                        && last.counters.read <= second.counters.read
                }
                _ => false,
            };
            if gives_way {
                kept.pop();
            }
            kept.push(second);
        }
        self.seconds = kept;
    }

    /// Points of the past further apart than this, ms, have a gap between them.
    pub fn gap_ms(&self) -> i64 {
        if self.step_ms <= SECOND_MS { GAP_MS } else { GAP_MS + 2 * self.step_ms }
    }

    /// The finest step, ms, that a chart from `from_ms` to `to_ms` needs and that is not here; `None` when what is here does.
    pub fn wants(&self, from_ms: i64, to_ms: i64) -> Option<i64> {
        let (first, last) = (self.seconds.first()?.at_ms, self.seconds.last()?.at_ms);
        let wanted = ((to_ms - from_ms) / POINTS).max(SECOND_MS);
        // The newest seconds are whole: of a job that is watched only what is before them is to be read.
        let fresh = self.seconds[self.seconds.len().saturating_sub(FRESH)].at_ms;
        let whole_from = if self.is_fine() { fresh } else { i64::MAX };
        let (from, to) = (from_ms.max(first), to_ms.min(last).min(whole_from));
        if self.step_ms <= wanted * 2 || from >= to {
            return None;
        }
        let covers = |detail: &Detail| detail.from_ms <= from && detail.to_ms >= to && detail.step_ms <= wanted * 2;
        (!self.detail.as_ref().is_some_and(covers)).then_some(wanted)
    }

    /// True when the newest seconds are whole, as those are that were watched.
    fn is_fine(&self) -> bool {
        let fresh = &self.seconds[self.seconds.len().saturating_sub(FRESH)..];
        fresh.len() == FRESH && fresh[FRESH - 1].at_ms - fresh[0].at_ms < 2 * FRESH as i64 * SECOND_MS
    }

    /// Takes a part of the past that was read again, `step_ms` apart.
    pub fn take_detail(&mut self, from_ms: i64, to_ms: i64, step_ms: i64, samples: &[Sample]) {
        let mut seconds: Vec<Second> = Vec::with_capacity(samples.len());
        for sample in samples {
            seconds.push(Second::of(sample, seconds.last(), step_ms));
        }
        self.detail = Some(Detail { from_ms, to_ms, step_ms, seconds });
    }

    /// The seconds from `from_ms` on, with the one before for the first difference; as fine as they are here.
    fn since(&self, from_ms: i64) -> Cow<'_, [Second]> {
        let from = |seconds: &[Second], at_ms| seconds.partition_point(|s: &Second| s.at_ms < at_ms).saturating_sub(1);
        match &self.detail {
            Some(detail) if detail.from_ms <= from_ms && detail.to_ms > from_ms && !detail.seconds.is_empty() => {
                let mut seconds = detail.seconds[from(&detail.seconds, from_ms)..].to_vec();
                let last = seconds.last().map_or(detail.to_ms, |last| last.at_ms);
                let after = self.seconds.partition_point(|s| s.at_ms <= last);
                seconds.extend_from_slice(&self.seconds[after..]);
                Cow::Owned(seconds)
            }
            _ => Cow::Borrowed(&self.seconds[from(&self.seconds, from_ms)..]),
        }
    }

    /// What `of` grew by each second, from `from_ms` on. A gap, or totals that fell because a worker was killed ahead of
    /// its checkpoint, give no point.
    pub fn rates(&self, from_ms: i64, of: impl Fn(&Counters) -> f64) -> Vec<(i64, f64)> {
        self.paces(from_ms, of).into_iter().map(|(_, at_ms, rate)| (at_ms, rate)).collect()
    }

    /// The same, each with since when it was so, ms since epoch: the sample before, which may be long ago in an old past.
    pub fn paces(&self, from_ms: i64, of: impl Fn(&Counters) -> f64) -> Vec<(i64, i64, f64)> {
        self.since(from_ms)
            .windows(2)
            .filter_map(|pair| {
                let (since, at) = (pair[0].at_ms, pair[1].at_ms);
                let grown = of(&pair[1].counters) - of(&pair[0].counters);
                let is_known = at > since && pair[1].joined && grown >= 0.0;
                is_known.then(|| (since, at, grown * 1000.0 / (at - since) as f64))
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

    /// Who has `shard`, where several workers share its stream.
    pub fn holder(&self, shard: &str) -> Option<&Holder> {
        let at = self.holders.binary_search_by(|holder| holder.shard.as_str().cmp(shard)).ok()?;
        self.holders.get(at)
    }

    /// Changes of a kind each second over the last samples of a replica.
    pub fn change_rate(&self, of: fn(&ChangeCounts) -> u64) -> Option<f64> {
        let ((from, then), (to, now)) = (self.changes.front()?, self.changes.back()?);
        let (then, now) = (of(then), of(now));
        (to > from && now >= then).then(|| (now - then) as f64 * 1000.0 / (to - from) as f64)
    }

    /// The furthest that any shard is behind, ms, in the newest sample.
    pub fn worst_lag_ms(&self) -> Option<u64> {
        self.given.worst_lag_ms
    }
}

impl Second {
    fn of(sample: &Sample, before: Option<&Self>, step_ms: i64) -> Self {
        let most = if step_ms <= SECOND_MS { GAP_MS } else { 2 * step_ms + GAP_MS };
        Self {
            at_ms: sample.at_ms,
            counters: sample.counters,
            provisioned: sample.provisioned_wcu,
            joined: before.is_some_and(|before| sample.at_ms - before.at_ms <= most),
        }
    }
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
        assert_eq!(history.given.of("s"), Some((0, Some(50.0))));
        assert_eq!(history.given.of("other"), None);
    }

    #[test]
    fn a_past_that_is_read_at_once_gives_the_rates_that_it_gives_second_by_second() {
        let samples = |from: i64| {
            let shard =
                |at_s: i64| ShardSample { shard: "s".into(), records: at_s as u64 * 50, ..ShardSample::default() };
            (from..40).map(move |s| Sample { at_ms: s * 1000, shards: vec![shard(s)], ..Sample::default() })
        };
        let mut history = History::default();
        history.extend(samples(0).collect());
        assert_eq!((history.given.per_second, history.worst_lag_ms()), (Some(50.0), Some(0)));
        // Told again, they say nothing new.
        history.extend(samples(0).collect());
        assert_eq!(history.given.of("s"), Some((0, Some(50.0))));
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

    #[test]
    fn a_week_takes_no_more_than_an_hour_and_loses_no_count() {
        let mut history = History::default();
        let week = 7 * 24 * 3_600;
        for from in (0..week).step_by(1000) {
            history.extend((from..(from + 1000).min(week)).map(|s| sample(s, s as u64 * 3)).collect());
            assert!(history.seconds.len() <= MOST, "{}", history.seconds.len());
        }
        assert_eq!((history.seconds[0].at_ms, history.seconds.last().unwrap().at_ms), (0, (week - 1) * 1000));
        let rates = history.rates(0, |c| c.written as f64);
        assert!(rates.iter().all(|(_, rate)| (rate - 3.0).abs() < 1e-9), "every stretch has the rate that it had");
        let newest = &history.seconds[history.seconds.len() - FRESH / 2..];
        assert!(newest.windows(2).all(|pair| pair[1].at_ms - pair[0].at_ms == 1000), "the newest are whole");
        assert!(history.wants((week - 600) * 1000, week * 1000).is_none());
        assert!(history.wants(0, week * 1000).is_none());
    }

    #[test]
    fn a_pause_and_a_change_of_capacity_outlive_the_thinning() {
        let mut history = History::default();
        let samples = (0..40_000_i64)
            .filter(|s| !(3_000..3_900).contains(s))
            .map(|s| Sample { provisioned_wcu: Some(if s < 5_001 { 130.0 } else { 195.0 }), ..sample(s, s as u64) });
        history.extend(samples.collect());
        let gap = history.seconds.windows(2).find(|pair| !pair[1].joined).unwrap();
        assert_eq!((gap[0].at_ms, gap[1].at_ms), (2_999_000, 3_900_000));
        let raised = history.seconds.windows(2).find(|pair| pair[0].provisioned != pair[1].provisioned).unwrap();
        assert_eq!((raised[0].provisioned, raised[1].provisioned), (Some(130.0), Some(195.0)));
        assert!(raised[0].at_ms <= 5_000_000 && raised[1].at_ms >= 5_001_000);
    }

    #[test]
    fn what_is_looked_at_closer_is_read_again_and_takes_the_place_of_the_coarse() {
        let mut history = History::default();
        let every = 64_000;
        history.extend_by((0..5_000).map(|n| sample(n * 64, n as u64 * 64)).collect(), every);
        assert_eq!(history.wants(0, 320_000_000), None, "the whole is fine enough");
        assert_eq!(history.wants(100_000_000, 100_900_000), Some(1000));
        let close: Vec<Sample> = (99_999..101_000).map(|s| sample(s, s as u64)).collect();
        history.take_detail(99_999_000, 101_000_000, 1000, &close);
        assert_eq!(history.wants(100_000_000, 100_900_000), None);
        let rates = history.rates(100_000_000, |c| c.written as f64);
        assert_eq!(rates[1].0 - rates[0].0, 1000);
        assert!(rates.iter().all(|(_, rate)| (rate - 1.0).abs() < 1e-9), "also where the two meet");
        assert!(rates.last().unwrap().0 > 300_000_000, "what comes after it is there, coarse");
    }

    #[test]
    fn a_job_that_is_watched_for_a_day_is_read_again_once_in_a_while_and_not_each_second() {
        let mut history = History::default();
        let day = 86_400;
        history.extend((0..day).map(|s| sample(s, s as u64)).collect());
        let window = |now: i64| ((now - 7_200) * 1000, now * 1000);
        let (from, to) = window(day - 1);
        let step = history.wants(from, to).unwrap();
        assert!(step <= 8_000, "{step}");
        let samples: Vec<Sample> = (from / 1000..=to / 1000).step_by(7).map(|s| sample(s, s as u64)).collect();
        history.take_detail(from, to, step, &samples);
        let mut asked = 0;
        for now in day..day + 1_800 {
            history.extend(vec![sample(now, now as u64)]);
            let (from, to) = window(now);
            asked += u32::from(history.wants(from, to).is_some());
        }
        assert_eq!(asked, 0);
    }
}
