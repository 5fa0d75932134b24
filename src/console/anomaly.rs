//! What stands out in a job's or a table's past: throttle bursts, changes of capacity, reshards, leases that changed hands,
//! workers that began again, limits that gave way to others. Pure: found in samples and notes, told by charts and lists.

use std::collections::{HashMap, HashSet};

use super::history::{GAP_MS, History, Second};
use super::widget::quantity::{duration, exact, rate};
use super::widget::text::shown;
use crate::cloud::metrics::Point;
use crate::cloud::streams::short;
use crate::jobs::journal::{Holder, Note, Sample};

/// Refused writes this close to each other, ms, are one burst.
const BURST_GAP_MS: i64 = 10_000;
/// Fewer refused writes are no burst: adaptive writers touch the limit now and then.
const BURST: u64 = 10;
/// A limit counts once it binds for so long, ms.
const BINDS_MS: i64 = 10_000;
/// A note this near to a change of capacity, ms, tells who made it.
const TOLD_MS: i64 = 30_000;
/// Turns that are remembered of a job; the oldest give way.
const TURNS: usize = 1_000;

/// What it is that stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Writes were refused for want of capacity.
    Throttled,
    /// Provisioned capacity changed.
    Capacity,
    /// Shards were split or merged.
    Reshard,
    /// A shard went from one worker to another.
    Takeover,
    /// No worker was there, or it began again before where it had been.
    Restart,
    /// Something else binds.
    Limit,
}

impl Kind {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Capacity => "capacity",
            Self::Reshard => "reshard",
            Self::Takeover => "takeover",
            Self::Restart => "restart",
            Self::Limit => "limit",
        }
    }

    /// Its mark in a chart.
    pub fn glyph(self, unicode: bool) -> &'static str {
        match (self, unicode) {
            (Self::Throttled, true) => "▾",
            (Self::Capacity, true) => "◆",
            (Self::Reshard, true) => "┻",
            (Self::Takeover, true) => "↔",
            (Self::Restart, true) => "○",
            (Self::Limit, true) => "◇",
            (Self::Throttled, false) => "v",
            (Self::Capacity, false) => "C",
            (Self::Reshard, false) => "S",
            (Self::Takeover, false) => "T",
            (Self::Restart, false) => "R",
            (Self::Limit, false) => "L",
        }
    }
}

/// Something that stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// When it began, ms since epoch.
    pub at_ms: i64,
    /// When it was over, ms since epoch; the same where it has no length.
    pub until_ms: i64,
    /// What it is.
    pub kind: Kind,
    /// What happened, escaped for the screen.
    pub words: String,
}

impl Anomaly {
    fn at(at_ms: i64, kind: Kind, words: String) -> Self {
        Self { at_ms, until_ms: at_ms, kind, words }
    }
}

/// Sees turns go by in samples that are not kept whole.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    /// What was found, oldest first.
    pub found: Vec<Anomaly>,
    /// What binds, and what may bind instead, since when.
    limit: String,
    other: Option<(String, i64)>,
    holders: Vec<Holder>,
    shards: HashSet<String>,
}

impl Turns {
    /// Takes the next sample.
    pub fn take(&mut self, sample: &Sample) {
        self.take_limit(sample);
        if sample.holders.is_empty() && self.holders.is_empty() {
            self.take_shards(sample.at_ms, sample.shards.iter().map(|shard| shard.shard.as_str()));
        } else if !sample.holders.is_empty() {
            self.take_holders(sample);
        }
        if self.found.len() > TURNS {
            self.found.drain(..self.found.len() - TURNS);
        }
    }

    fn take_limit(&mut self, sample: &Sample) {
        if sample.limit.is_empty() || sample.limit == self.limit {
            self.other = None;
            return;
        }
        let since = match &self.other {
            Some((other, since)) if *other == sample.limit => *since,
            _ => {
                self.other = Some((sample.limit.clone(), sample.at_ms));
                sample.at_ms
            }
        };
        let is_first = self.limit.is_empty();
        if is_first || sample.at_ms - since >= BINDS_MS {
            let before = std::mem::replace(&mut self.limit, sample.limit.clone());
            self.other = None;
            if !is_first {
                let words = format!("{} limits it, before it was {}", shown(&self.limit), shown(&before));
                self.found.push(Anomaly::at(since, Kind::Limit, words));
            }
        }
    }

    fn take_shards<'a>(&mut self, at_ms: i64, ids: impl ExactSizeIterator<Item = &'a str> + Clone) {
        // Ten thousand come each second, and are nearly always those of before.
        let are_those = ids.len() == self.shards.len() && ids.clone().all(|id| self.shards.contains(id));
        if ids.len() == 0 || are_those {
            return;
        }
        let before = std::mem::replace(&mut self.shards, ids.map(str::to_owned).collect());
        if before.is_empty() {
            return;
        }
        let (new, gone) = (only_in(&self.shards, &before), only_in(&before, &self.shards));
        let words = match (new.is_empty(), gone.is_empty()) {
            // One that was there twice.
            (true, true) => return,
            (false, true) => format!("shards were split or merged: {} began", listed(&new)),
            (true, _) => format!("{} was read to its end", listed(&gone)),
            (false, false) => format!("shards were split or merged: {} ended, {} began", listed(&gone), listed(&new)),
        };
        self.found.push(Anomaly::at(at_ms, Kind::Reshard, words));
    }

    fn take_holders(&mut self, sample: &Sample) {
        self.take_shards(sample.at_ms, sample.holders.iter().map(|holder| holder.shard.as_str()));
        if self.holders == sample.holders {
            return;
        }
        let before = std::mem::replace(&mut self.holders, sample.holders.clone());
        let before: HashMap<&str, &Holder> = before.iter().map(|was| (was.shard.as_str(), was)).collect();
        let mut turns = Vec::new();
        for now in &self.holders {
            let Some(was) = before.get(now.shard.as_str()) else { continue };
            if let (Some(from), Some(to)) = (&was.worker, &now.worker)
                && from != to
            {
                turns.push(format!("{} from {} to {}", short(&now.shard), shown(from), shown(to)));
            }
        }
        if !turns.is_empty() {
            let words = match turns.as_slice() {
                [first, second, third, rest @ ..] if !rest.is_empty() => {
                    format!("{first}, {second}, {third} and {} more shards changed hands", rest.len())
                }
                few => format!("{} changed hands", few.join(", ")),
            };
            self.found.push(Anomaly::at(sample.at_ms, Kind::Takeover, words));
        }
    }
}

/// Which of these are not among those, in their order.
fn only_in<'a>(these: &'a HashSet<String>, those: &'a HashSet<String>) -> Vec<&'a str> {
    let mut only: Vec<&str> = these.difference(those).map(String::as_str).collect();
    only.sort_unstable();
    only.into_iter().map(short).collect()
}

fn listed(ids: &[&str]) -> String {
    let few: Vec<String> = ids.iter().take(4).map(|id| shown(id)).collect();
    let more = if ids.len() > 4 { format!(" and {} more", ids.len() - 4) } else { String::new() };
    format!("{}{more}", few.join(", "))
}

/// What stands out in a job's past, in order of time.
pub fn of_job(past: &History) -> Vec<Anomaly> {
    let mut found = past.turns.found.clone();
    found.extend(bursts(&past.seconds));
    found.extend(capacities(past));
    found.extend(restarts(&past.seconds));
    found.sort_by_key(|anomaly| anomaly.at_ms);
    found
}

fn bursts(seconds: &[Second]) -> Vec<Anomaly> {
    // From, until, writes refused, most in a second.
    let mut bursts: Vec<(i64, i64, u64, f64)> = Vec::new();
    for pair in seconds.windows(2) {
        let ms = pair[1].at_ms - pair[0].at_ms;
        let refused = pair[1].counters.throttled.saturating_sub(pair[0].counters.throttled);
        if refused == 0 || ms <= 0 || !pair[1].joined {
            continue;
        }
        let (from, until) = (pair[0].at_ms, pair[1].at_ms);
        let speed = refused as f64 * 1000.0 / ms as f64;
        match bursts.last_mut() {
            Some(last) if from - last.1 <= BURST_GAP_MS.max(ms) => {
                *last = (last.0, until, last.2 + refused, last.3.max(speed));
            }
            _ => bursts.push((from, until, refused, speed)),
        }
    }
    let words = |from: i64, until: i64, refused, most| {
        let length = duration((until - from) as f64);
        format!("{} writes refused within {length}, up to {}/s", exact(refused), rate(most))
    };
    let tell = |(from, until, refused, most): (i64, i64, u64, f64)| Anomaly {
        at_ms: from,
        until_ms: until,
        kind: Kind::Throttled,
        words: words(from, until, refused, most),
    };
    bursts.into_iter().filter(|(_, _, refused, _)| *refused >= BURST).map(tell).collect()
}

fn capacities(past: &History) -> Vec<Anomaly> {
    let known = past.seconds.iter().filter_map(|second| Some((second.at_ms, second.provisioned?)));
    let mut found = steps(known);
    for anomaly in &mut found {
        // A note tells who did it: one that says set is ours, one that says went only saw it.
        let told = |note: &&Note| (note.at_ms - anomaly.at_ms).abs() <= TOLD_MS && note.words.starts_with("set ");
        let by = if past.notes.iter().any(|note| told(&note)) { "by this job" } else { "not by this job" };
        anomaly.words = format!("{}, {by}", anomaly.words);
    }
    found
}

/// Changes in a line of provisioned write capacity.
pub fn steps(points: impl IntoIterator<Item = Point>) -> Vec<Anomaly> {
    let mut before: Option<f64> = None;
    let mut found = Vec::new();
    for (at, value) in points {
        if let Some(was) = before.filter(|was| (was - value).abs() >= 0.5) {
            let words = format!("capacity went from {} to {}", exact(was.round() as u64), exact(value.round() as u64));
            found.push(Anomaly::at(at, Kind::Capacity, words));
        }
        before = Some(value);
    }
    found
}

/// Periods of CloudWatch's in which requests were refused, joined to bursts; `what` is refused.
pub fn refusals(points: &[Point], period_ms: i64, what: &str) -> Vec<Anomaly> {
    let mut bursts: Vec<(i64, i64, f64)> = Vec::new();
    for (at, refused) in points.iter().filter(|(_, refused)| *refused > 0.0) {
        match bursts.last_mut() {
            Some(last) if *at <= last.1 => *last = (last.0, at + period_ms, last.2 + refused),
            _ => bursts.push((*at, at + period_ms, *refused)),
        }
    }
    let tell = |(at_ms, until_ms, refused): (i64, i64, f64)| {
        let length = duration((until_ms - at_ms) as f64);
        let words = format!("{} {what} refused within {length}", exact(refused.round() as u64));
        Anomaly { at_ms, until_ms, kind: Kind::Throttled, words }
    };
    bursts.into_iter().filter(|(_, _, refused)| *refused >= BURST as f64).map(tell).collect()
}

fn restarts(seconds: &[Second]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for pair in seconds.windows(2) {
        let away = pair[1].at_ms - pair[0].at_ms;
        let again = pair[0].counters.read.saturating_sub(pair[1].counters.read);
        let words = match (again, pair[1].joined || away <= GAP_MS) {
            (0, true) => continue,
            (0, false) => format!("no worker for {}", duration(away as f64)),
            (again, _) => format!(
                "the worker began again from its checkpoint after {}: {} records are read once more",
                duration(away as f64),
                exact(again)
            ),
        };
        found.push(Anomaly { at_ms: pair[0].at_ms, until_ms: pair[1].at_ms, kind: Kind::Restart, words });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Counters;
    use crate::jobs::journal::ShardSample;

    fn sample(second: i64) -> Sample {
        let counters = Counters { read: second as u64 * 10, ..Counters::default() };
        Sample { at_ms: second * 1000, counters, provisioned_wcu: Some(130.0), ..Sample::default() }
    }

    fn found(samples: Vec<Sample>) -> Vec<(i64, Kind, String)> {
        let mut past = History::default();
        past.extend(samples);
        of_job(&past).into_iter().map(|one| (one.at_ms / 1000, one.kind, one.words)).collect()
    }

    #[test]
    fn a_quiet_job_has_nothing_that_stands_out() {
        assert_eq!(found((0..600).map(sample).collect()), []);
    }

    #[test]
    fn refused_writes_near_each_other_are_one_burst_and_a_few_are_none() {
        let throttled = |second: i64| match second {
            0..10 => 0,
            10..20 => (second as u64 - 9) * 41,
            20..25 => 410,
            25..300 => 430,
            300..500 => 433,
            _ => 433 + (second as u64 - 499) * 20,
        };
        let samples = (0..510).map(|second| {
            let mut sample = sample(second);
            sample.counters.throttled = throttled(second);
            sample
        });
        let told = found(samples.collect());
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0], (9, Kind::Throttled, "430 writes refused within 16.0 s, up to 41/s".to_owned()));
        assert_eq!((told[1].0, told[1].1), (499, Kind::Throttled));
    }

    #[test]
    fn a_change_of_capacity_is_ours_where_a_note_says_so() {
        let samples = |to: i64| {
            (0..to).map(|second| Sample {
                provisioned_wcu: Some(if second < 60 {
                    130.0
                } else if second < 200 {
                    195.0
                } else {
                    20.0
                }),
                ..sample(second)
            })
        };
        let mut past = History::default();
        past.extend(samples(300).collect());
        let words = "set historical from 130 to 195 WCU; it goes back".to_owned();
        past.notes.push(Note { number: 1, at_ms: 52_000, level: "info".into(), words });
        let told: Vec<(i64, String)> = of_job(&past).into_iter().map(|one| (one.at_ms / 1000, one.words)).collect();
        assert_eq!(
            told,
            [
                (60, "capacity went from 130 to 195, by this job".to_owned()),
                (200, "capacity went from 195 to 20, not by this job".to_owned())
            ]
        );
    }

    #[test]
    fn a_worker_that_was_away_and_one_that_was_killed_are_told_apart() {
        let mut samples: Vec<Sample> = (0..60).map(sample).collect();
        samples.extend((90..120).map(sample));
        samples.extend((121..150).map(|second| Sample { counters: sample(second - 20).counters, ..sample(second) }));
        let told = found(samples);
        assert_eq!(told[0], (59, Kind::Restart, "no worker for 31.0 s".to_owned()));
        assert_eq!(told[1].0, 119);
        assert!(told[1].2.contains("180 records are read once more"), "{told:?}");
    }

    #[test]
    fn a_split_is_told_with_the_shards_that_began_and_ended() {
        let with = |second: i64, ids: &[u32]| Sample {
            shards: ids
                .iter()
                .map(|n| ShardSample { shard: format!("shardId-{n:012}"), ..ShardSample::default() })
                .collect(),
            ..sample(second)
        };
        let told = found(vec![with(0, &[0, 1]), with(1, &[0, 1]), with(2, &[1, 2, 3]), with(3, &[1, 2, 3])]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].0, told[0].1), (2, Kind::Reshard));
        assert_eq!(told[0].2, "shards were split or merged: 0 ended, 2, 3 began");
    }

    #[test]
    fn ten_thousand_shards_that_all_gave_way_to_others_are_told_in_their_order() {
        let with = |second: i64, first: u32| {
            // Whatever order they come in.
            let shards = (first..first + 10_000).rev();
            let shard = |n: u32| ShardSample { shard: format!("shardId-{n:012}"), ..ShardSample::default() };
            Sample { shards: shards.map(shard).collect(), ..sample(second) }
        };
        let told = found(vec![with(0, 0), with(1, 0), with(2, 10_000)]);
        let words = "shards were split or merged: 0, 1, 2, 3 and 9996 more ended, \
                     10000, 10001, 10002, 10003 and 9996 more began";
        assert_eq!(told, [(2, Kind::Reshard, words.to_owned())]);
    }

    #[test]
    fn a_lease_that_changes_hands_is_told_with_both_workers() {
        let held = |second: i64, worker: &str| Sample {
            holders: vec![Holder { shard: "s-1".into(), worker: Some(worker.into()), ..Holder::default() }],
            ..sample(second)
        };
        let told = found(vec![held(0, "a"), held(1, "a"), held(2, "b\x1b[2J"), held(3, "b\x1b[2J")]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].0, told[0].1), (2, Kind::Takeover));
        assert!(told[0].2.contains("from a to b") && !told[0].2.contains('\x1b'), "{told:?}");
    }

    #[test]
    fn a_limit_that_flickers_is_no_change_and_one_that_stays_is() {
        let limited = |second: i64| {
            let limit = if second % 7 == 0 && second < 100 || second >= 120 { "source" } else { "table" };
            Sample { limit: limit.into(), ..sample(second) }
        };
        let told = found((1..200).map(limited).collect());
        assert_eq!(told, [(120, Kind::Limit, "source limits it, before it was table".to_owned())]);
    }

    #[test]
    fn cloudwatchs_lines_tell_of_changes_and_refusals() {
        let told = steps([(0, 5.0), (60_000, 5.0), (120_000, 10.0)]);
        assert_eq!((told.len(), told[0].at_ms), (1, 120_000));
        let told = refusals(&[(0, 5.0), (60_000, 7.0), (120_000, 0.0), (600_000, 3.0)], 60_000, "reads");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].at_ms, told[0].until_ms), (0, 120_000));
    }
}
