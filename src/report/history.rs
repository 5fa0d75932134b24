//! The samples of a job, binned while they are read: a week takes no more room than a minute.

use crate::jobs::journal::Sample;

/// Parts that a job's time is cut into at most: more than a chart has room for.
const MOST_BINS: i64 = 360;
/// Samples come each second; what is further apart is a gap: no worker ran, ms.
const GAP_MS: i64 = 10_000;
/// So much of a part, ms, says what its rate was, however long the part is: of one in which a worker ran for two minutes of
/// an hour, those two minutes are told.
const ENOUGH_MS: f64 = 1_000.0;
/// Limits that are told apart; what comes after them counts as others.
const MOST_LIMITS: usize = 64;

/// A job's time in even parts.
#[derive(Clone, Debug)]
pub struct History {
    /// When it begins, ms since epoch.
    pub from_ms: i64,
    /// When it ends, ms since epoch.
    pub to_ms: i64,
    /// Its parts.
    pub bins: Vec<Bin>,
    /// What held the job up, in words.
    pub limits: Vec<String>,
    /// Time without a sample between samples, ms.
    pub gap_ms: i64,
    /// How often that was.
    pub gaps: u64,
    last: Option<Sample>,
}

/// What happened in one part.
#[derive(Clone, Debug, Default)]
pub struct Bin {
    /// For how long of it something is known, ms.
    pub covered_ms: f64,
    /// Records read.
    pub read: f64,
    /// Records that a stream took.
    pub on_stream: f64,
    /// Records written or deleted.
    pub written: f64,
    /// Refused for want of capacity.
    pub throttled: f64,
    /// Write capacity consumed.
    pub wcu: f64,
    /// Read capacity consumed.
    pub rcu: f64,
    /// Write capacity of the table, WCU: the highest.
    pub provisioned: Option<f64>,
    /// The furthest behind of all shards, ms.
    pub lag_ms: Option<u64>,
    /// Ms for which each limit bound, by its number.
    limits: Vec<(u16, f64)>,
}

/// For how long something bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// What, in words.
    pub limit: String,
    /// Since when, ms since epoch.
    pub from_ms: i64,
    /// Until when, ms since epoch.
    pub to_ms: i64,
}

impl History {
    /// Room for the time between the first sample and the last of a job that was written down at `created_ms`, ms since
    /// epoch.
    pub fn new(created_ms: i64, first_ms: i64, last_ms: i64) -> Self {
        // A sample tells of the time before it, as far back as that is known to be work.
        let from_ms = if (1..=GAP_MS).contains(&(first_ms - created_ms)) { created_ms } else { first_ms - 1_000 };
        let bins = ((last_ms - from_ms) / 1_000).clamp(1, MOST_BINS);
        Self {
            from_ms,
            to_ms: last_ms.max(from_ms + 1_000),
            bins: vec![Bin::default(); bins as usize],
            limits: Vec::new(),
            gap_ms: 0,
            gaps: 0,
            last: None,
        }
    }

    /// Takes the next sample in.
    pub fn take(&mut self, sample: Sample) {
        let since = self.last.as_ref().map_or(self.from_ms, |last| last.at_ms);
        let limit = self.limit(&sample.limit);
        let length = sample.at_ms - since;
        if length > GAP_MS {
            self.gap_ms += length;
            self.gaps += 1;
        } else if length > 0 {
            // A worker that was killed had counted ahead of its checkpoint: its successor begins lower.
            let before = self.last.as_ref().map(|last| last.counters).unwrap_or_default();
            let now = sample.counters;
            let whole = |of: u64, was: u64| of.saturating_sub(was) as f64;
            let lag = sample.shards.iter().map(|shard| shard.lag_ms).max();
            self.spread(since, sample.at_ms, |bin, share, ms| {
                bin.covered_ms += ms;
                bin.read += share * whole(now.read, before.read);
                bin.on_stream += share * whole(now.on_stream, before.on_stream);
                bin.written += share * whole(now.written + now.deleted, before.written + before.deleted);
                bin.throttled += share * whole(now.throttled, before.throttled);
                bin.wcu += share * (now.wcu - before.wcu).max(0.0);
                bin.rcu += share * (now.rcu - before.rcu).max(0.0);
                let highest = bin.provisioned.into_iter().chain(sample.provisioned_wcu).reduce(f64::max);
                bin.provisioned = highest;
                bin.lag_ms = bin.lag_ms.max(lag);
                if let Some(limit) = limit {
                    match bin.limits.iter_mut().find(|(known, _)| *known == limit) {
                        Some((_, total)) => *total += ms,
                        None => bin.limits.push((limit, ms)),
                    }
                }
            });
        }
        self.last = Some(sample);
    }

    /// The number of a limit; `None` for no words.
    fn limit(&mut self, words: &str) -> Option<u16> {
        let words = without_numbers(words);
        if words.is_empty() {
            return None;
        }
        let known = self.limits.iter().position(|known| known == words);
        let number = known.unwrap_or_else(|| {
            let others = self.limits.len() >= MOST_LIMITS;
            if !others || self.limits.len() == MOST_LIMITS {
                self.limits.push(if others { "others".to_owned() } else { words.to_owned() });
            }
            self.limits.len() - 1
        });
        u16::try_from(number).ok()
    }

    /// Hands each part that lies between two moments its share of what happened, and for how many ms.
    fn spread(&mut self, from_ms: i64, to_ms: i64, mut add: impl FnMut(&mut Bin, f64, f64)) {
        let width = self.bin_ms();
        let length = (to_ms - from_ms) as f64;
        let at = |ms: i64| (ms - self.from_ms) as f64 / width;
        let (start, end) = (at(from_ms).max(0.0), at(to_ms).min(self.bins.len() as f64));
        let mut bin = start.floor();
        while bin < end {
            let ms = ((bin + 1.0).min(end) - bin.max(start)) * width;
            if let Some(one) = self.bins.get_mut(bin as usize) {
                add(one, ms / length, ms);
            }
            bin += 1.0;
        }
    }

    /// How long a part is, ms.
    pub fn bin_ms(&self) -> f64 {
        (self.to_ms - self.from_ms) as f64 / self.bins.len() as f64
    }

    /// A value for each part; `None` where too little is known of it to say.
    pub fn values(&self, of: impl Fn(&Bin) -> Option<f64>) -> Vec<Option<f64>> {
        let enough = (self.bin_ms() * 0.25).min(ENOUGH_MS);
        self.bins.iter().map(|bin| if bin.covered_ms >= enough { of(bin) } else { None }).collect()
    }

    /// Something a second in each part.
    pub fn per_second(&self, of: impl Fn(&Bin) -> f64) -> Vec<Option<f64>> {
        self.values(|bin| Some(of(bin) / bin.covered_ms * 1_000.0))
    }

    /// The middle of each part for which `is` holds, ms since epoch.
    pub fn moments(&self, is: impl Fn(&Bin) -> bool) -> Vec<i64> {
        let width = self.bin_ms();
        let middle = |i: usize| self.from_ms + ((i as f64 + 0.5) * width) as i64;
        self.bins.iter().enumerate().filter(|(_, bin)| is(bin)).map(|(i, _)| middle(i)).collect()
    }

    /// For how long each limit bound in all, ms, the longest first.
    pub fn limited(&self) -> Vec<(String, f64)> {
        let mut all = vec![0.0; self.limits.len()];
        for (limit, ms) in self.bins.iter().flat_map(|bin| &bin.limits) {
            all[usize::from(*limit)] += ms;
        }
        let mut named: Vec<(String, f64)> = self.limits.iter().cloned().zip(all).filter(|(_, ms)| *ms > 0.0).collect();
        named.sort_by(|a, b| b.1.total_cmp(&a.1));
        named
    }

    /// What bound most in each part, one after the other; a gap ends a stretch.
    pub fn stretches(&self) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let width = self.bin_ms();
        let mut open = false;
        for (i, bin) in self.bins.iter().enumerate() {
            let Some((limit, _)) = bin.limits.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
                open = false;
                continue;
            };
            let limit = &self.limits[usize::from(*limit)];
            let start = self.from_ms + (i as f64 * width) as i64;
            let end = self.from_ms + ((i + 1) as f64 * width) as i64;
            match stretches.last_mut() {
                Some(last) if open && last.limit == *limit => last.to_ms = end,
                _ => stretches.push(Stretch { limit: limit.clone(), from_ms: start, to_ms: end }),
            }
            open = true;
        }
        stretches
    }
}

/// What binds, without the numbers that change each second: `table write capacity` of `table write capacity, 130 WCU`.
fn without_numbers(words: &str) -> &str {
    let words = words.split(", ").next().unwrap_or_default();
    // Of these the numbers come after a colon; elsewhere what stands before one is a table's name.
    let counted = ["one partition", "other writers of the table", "leaves "];
    match words.split_once(": ") {
        Some((what, _)) if counted.iter().any(|known| what.starts_with(known)) => what,
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Counters;

    fn sample(second: i64, written: u64, limit: &str) -> Sample {
        let counters = Counters { read: written, written, wcu: written as f64, ..Counters::default() };
        Sample { at_ms: second * 1_000, counters, limit: limit.into(), ..Sample::default() }
    }

    fn of(samples: &[Sample]) -> History {
        let mut history = History::new(0, samples[0].at_ms, samples.last().unwrap().at_ms);
        samples.iter().for_each(|sample| history.take(sample.clone()));
        history
    }

    #[test]
    fn a_rate_is_what_was_counted_between_two_samples() {
        let history = of(&[sample(1, 100, "table"), sample(2, 300, "table"), sample(3, 300, "source")]);
        assert_eq!(history.per_second(|bin| bin.written), [Some(100.0), Some(200.0), Some(0.0)]);
        assert_eq!(history.limited(), [("table".to_owned(), 2_000.0), ("source".to_owned(), 1_000.0)]);
    }

    #[test]
    fn nothing_is_lost_in_a_week_and_its_room_is_that_of_minutes() {
        let mut history = History::new(0, 1_000, 604_800_000);
        for second in 1..=604_800 {
            history.take(sample(second, second as u64 * 7, "table"));
        }
        assert_eq!(history.bins.len(), 360);
        let written: f64 = history.bins.iter().map(|bin| bin.written).sum();
        assert!((written - 604_800.0 * 7.0).abs() < 1.0, "{written}");
        assert!(history.per_second(|bin| bin.written).iter().all(|rate| rate.is_some_and(|r| (r - 7.0).abs() < 0.01)));
    }

    #[test]
    fn a_time_without_samples_is_a_gap_not_a_slow_stretch() {
        let history =
            of(&[sample(1, 10, "table"), sample(2, 20, "table"), sample(62, 20, "table"), sample(63, 30, "table")]);
        let rates = history.per_second(|bin| bin.written);
        assert!(rates[0].is_some() && rates[30].is_none() && rates[62].is_some(), "{rates:?}");
        assert_eq!((history.gaps, history.gap_ms), (1, 60_000));
        assert_eq!(history.stretches().len(), 2);
    }

    #[test]
    fn two_short_runs_far_apart_are_both_told() {
        let weekend = 60 * 3_600;
        let runs = (1..=120_i64).chain(weekend..weekend + 120);
        let samples: Vec<Sample> = runs.enumerate().map(|(n, second)| sample(second, n as u64 * 50, "table")).collect();
        let history = of(&samples);
        assert!(history.bin_ms() > 590_000.0, "{}", history.bin_ms());
        let rates = history.per_second(|bin| bin.written);
        let told: Vec<(usize, f64)> = rates.iter().enumerate().filter_map(|(i, rate)| Some((i, (*rate)?))).collect();
        assert_eq!(told.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [0, 359]);
        assert!(told.iter().all(|(_, rate)| (49.0..=50.0).contains(rate)), "{told:?}");
        assert_eq!((history.gaps, history.stretches().len()), (1, 2));
    }

    #[test]
    fn a_worker_that_begins_below_its_predecessor_makes_no_negative_rate() {
        let history = of(&[sample(1, 100, ""), sample(2, 60, ""), sample(3, 90, "")]);
        assert_eq!(history.per_second(|bin| bin.written), [Some(100.0), Some(0.0), Some(30.0)]);
        assert!(history.limited().is_empty() && history.stretches().is_empty());
    }

    #[test]
    fn limits_beyond_the_most_count_as_others() {
        let samples: Vec<Sample> = (1..=100).map(|n| sample(n, 0, &format!("limit {n}"))).collect();
        let history = of(&samples);
        assert_eq!(history.limits.len(), MOST_LIMITS + 1);
        assert_eq!(history.limited()[0].0, "others");
    }

    #[test]
    fn a_limit_is_known_without_its_numbers() {
        for (words, name) in [
            ("table write capacity, 130 WCU", "table write capacity"),
            ("one partition: 960 WCU get through", "one partition"),
            ("buffer: table write capacity, 10 WCU", "buffer: table write capacity"),
            ("source", "source"),
        ] {
            assert_eq!(without_numbers(words), name);
        }
    }

    #[test]
    fn one_sample_is_one_part() {
        let history = of(&[sample(1, 3, "")]);
        assert_eq!(history.per_second(|bin| bin.written), [Some(3.0)]);
    }
}
