//! Hot keys: partition keys that are refused again and again while the rest of the table gets through. Each is held at
//! what its partition takes; the others go on at the table's pace.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::pace::{Pace, Resource};
use crate::cloud::CloudError;

/// What refused, as far as the service said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::flow) enum Cause {
    /// It did not say: unprocessed items of a batch carry no reason.
    #[default]
    Unsaid,
    /// The table or an index as a whole, or the account.
    Whole,
    /// One partition.
    Partition,
}

impl Cause {
    /// What `error` says.
    pub fn of(error: &CloudError) -> Self {
        let is_partition = |reason: &str| reason.ends_with("KeyRangeThroughputExceeded");
        if error.reasons.is_empty() {
            Self::Unsaid
        } else if error.reasons.iter().all(|it| is_partition(&it.reason)) {
            Self::Partition
        } else {
            Self::Whole
        }
    }
}

/// One write of a batch that was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::flow) struct Answer {
    /// Hash of its partition key.
    pub partition: u64,
    /// Its own size, WCU.
    pub wcu: f64,
    pub refused: bool,
    /// It was refused before: that it is so again says nothing new of who fills what.
    pub again: bool,
}

/// What of an answer the table's own pace should hear of, WCU by the items' own size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub sent: f64,
    pub refused: f64,
    /// Refused, but not by the table: it has this left for others.
    pub unused: f64,
}

/// What hot keys are held at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// How many there are.
    pub keys: usize,
    /// What they get together, WCU a second.
    pub wcu: f64,
    /// One of them; empty when that is not known.
    pub name: String,
}

/// Counts that fade: half is forgotten after [`HALF_LIFE`].
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    sent: f64,
    refused: f64,
    /// Refused writes, whatever their size.
    refusals: f64,
    at: Duration,
}

const HALF_LIFE: f64 = 10.0;

/// A key that was refused, from then on.
#[derive(Clone, Copy, Debug)]
struct Watched {
    seen: Fading,
    since: Duration,
    /// All counts when it was first refused: what came before says nothing of how others fared beside it.
    before: Fading,
}

impl Fading {
    fn fade(&mut self, now: Duration) {
        let kept = 0.5f64.powf(now.saturating_sub(self.at).as_secs_f64() / HALF_LIFE);
        self.at = now;
        self.sent *= kept;
        self.refused *= kept;
        self.refusals *= kept;
    }

    fn add(&mut self, answer: &Answer) {
        self.sent += answer.wcu;
        if answer.refused {
            self.refused += answer.wcu;
            self.refusals += 1.0;
        }
    }

    /// Accepted a second, WCU.
    fn rate(&self) -> f64 {
        (self.sent - self.refused) * std::f64::consts::LN_2 / HALF_LIFE
    }
}

/// What one partition takes, WCU a second; AWS's limit.
const PARTITION: f64 = 1_000.0;
/// A key is judged once it was refused this often within a few seconds.
const OFTEN: f64 = 8.0;
/// It is hot when it is refused so much more often than its part of the traffic explains, in standard deviations,
const BEYOND: f64 = 3.0;
/// or when it has this share of all refusals and the service says that a partition refuses.
const PART: f64 = 0.1;
/// What a key gets is measured over this at least, s.
const SHORTEST: f64 = 0.25;
/// It begins at this share of that: what its neighbours were refused meanwhile comes on top.
const BEGIN: f64 = 0.7;
/// A key that was neither refused nor held back for so long is none any more.
const COOLS: Duration = Duration::from_secs(20);
/// What the service said of a cause is believed for this long.
const SAID: Duration = Duration::from_secs(2);
/// While refusals are unexplained, one refused write goes alone this often: refused alone, it comes with a reason.
const ASK: Duration = Duration::from_millis(100);
/// Keys that are watched at most.
const WATCHED: usize = 4_096;

#[derive(Debug)]
struct Hot {
    /// The key's value, for people.
    name: Option<String>,
    pace: Pace<()>,
    /// When it was last refused or held back.
    busy_at: Duration,
}

/// The hot keys of one table.
#[derive(Debug, Default)]
pub(super) struct HotKeys {
    all: Fading,
    watched: HashMap<u64, Watched>,
    hot: HashMap<u64, Hot>,
    /// The same keys, for the lanes.
    names: Arc<HashSet<u64>>,
    said: Option<(Cause, Duration)>,
    asked_at: Duration,
    refused_at: Option<Duration>,
    /// When a lane last had no room to park another write of a hot key.
    full_at: Option<Duration>,
}

impl HotKeys {
    /// Partition keys that are hot now.
    pub fn names(&mut self, now: Duration) -> Arc<HashSet<u64>> {
        let before = self.hot.len();
        self.hot.retain(|_, hot| now.saturating_sub(hot.busy_at) < COOLS);
        if self.hot.len() != before {
            self.rename();
        }
        Arc::clone(&self.names)
    }

    fn rename(&mut self) {
        self.names = Arc::new(self.hot.keys().copied().collect());
    }

    /// Whether any key is hot.
    pub fn any(&self) -> bool {
        !self.hot.is_empty()
    }

    /// Lets one write of `wcu` of a hot key through, or tells how long it must wait.
    pub fn take(&mut self, now: Duration, partition: u64, wcu: f64) -> Result<(), Duration> {
        let Some(hot) = self.hot.get_mut(&partition) else { return Ok(()) };
        hot.pace.take(now, &[wcu]).map_err(|wait| {
            hot.busy_at = now;
            wait.duration
        })
    }

    /// Whether a refused write should go alone now, to be told why.
    pub fn asks(&mut self, now: Duration) -> bool {
        let recently = |at: Duration, within: Duration| now.saturating_sub(at) < within;
        let unexplained = self.refused_at.is_some_and(|at| recently(at, SAID))
            && !self.said.is_some_and(|(_, at)| recently(at, SAID / 2));
        if unexplained && !recently(self.asked_at, ASK) {
            self.asked_at = now;
            return true;
        }
        false
    }

    /// A lane has no room to park another write.
    pub fn is_full(&mut self, now: Duration) {
        self.full_at = Some(now);
    }

    /// Says what a hot key is called, unless that is known.
    pub fn call(&mut self, partition: u64, name: impl FnOnce() -> String) {
        if let Some(hot) = self.hot.get_mut(&partition) {
            hot.name.get_or_insert_with(name);
        }
    }

    /// Whether the hot keys hold up the rest, which they do when there is no room for more of them, or when they are all
    /// that waits.
    pub fn binds(&self, now: Duration, others_wait: bool) -> Option<Held> {
        let recently = |at: Duration| now.saturating_sub(at) < Duration::from_secs(1);
        if !self.full_at.is_some_and(recently) && (others_wait || !self.hot.values().any(|hot| recently(hot.busy_at))) {
            return None;
        }
        let rate = |hot: &Hot| hot.pace.resources().first().map_or(0.0, |it| it.rate) * hot.pace.factor();
        // The one that was busy last stands for all.
        let busiest = self.hot.values().max_by_key(|hot| hot.busy_at)?;
        Some(Held {
            keys: self.hot.len(),
            wcu: self.hot.values().map(rate).sum(),
            name: busiest.name.clone().unwrap_or_default(),
        })
    }

    /// What the service last said of a refusal, if that is still believed.
    pub fn said(&self, now: Duration) -> Cause {
        self.said.filter(|(_, at)| now.saturating_sub(*at) < SAID).map_or(Cause::Unsaid, |(cause, _)| cause)
    }

    /// Takes in `answers` to what was sent at `sent_at`, and tells what the table's pace should hear of them.
    pub fn answered(&mut self, now: Duration, sent_at: Duration, answers: &[Answer], cause: Cause) -> Heard {
        if cause != Cause::Unsaid {
            self.said = Some((cause, now));
        }
        let mut heard = Heard::default();
        let any_refused = answers.iter().any(|answer| answer.refused);
        if any_refused {
            self.refused_at = Some(now);
        }
        self.all.fade(now);
        let partition_is_full = self.partition_is_full(now) && cause != Cause::Whole;
        // What a hot partition refused of neighbours that were sent beside its keys.
        let mut neighbours = 0.0;
        let mut hot: HashMap<u64, (f64, f64)> = HashMap::new();
        for answer in answers {
            if !answer.again {
                self.all.add(answer);
            }
            let refused = if answer.refused { answer.wcu } else { 0.0 };
            if self.hot.contains_key(&answer.partition) {
                let (sent, lost) = hot.entry(answer.partition).or_default();
                *sent += answer.wcu;
                *lost += refused;
                heard.unused += refused;
                heard.sent += answer.wcu - refused;
                continue;
            }
            if answer.refused && partition_is_full {
                neighbours += refused;
                heard.unused += refused;
            } else {
                heard.sent += answer.wcu;
                heard.refused += refused;
            }
            let counts = !answer.again && cause != Cause::Whole;
            if counts && (answer.refused || self.watched.contains_key(&answer.partition)) {
                self.watch(now, answer);
            }
        }
        for (partition, key) in &mut self.hot {
            let (sent, refused) = hot.get(partition).copied().unwrap_or_default();
            if refused > 0.0 {
                key.busy_at = now;
            }
            if sent + neighbours > 0.0 {
                // It has what its neighbours leave: what they are refused, it takes too much.
                key.pace.reply(now, sent_at, sent + neighbours, refused + neighbours);
            }
        }
        heard
    }

    /// Whether what is refused now may be refused because a hot key has filled its partition.
    fn partition_is_full(&self, now: Duration) -> bool {
        match self.said(now) {
            _ if self.hot.is_empty() => false,
            Cause::Partition => true,
            Cause::Whole => false,
            // A key that was just refused or held back presses against its partition.
            Cause::Unsaid => self.hot.values().any(|hot| now.saturating_sub(hot.busy_at) < SAID),
        }
    }

    fn watch(&mut self, now: Duration, answer: &Answer) {
        if self.watched.len() >= WATCHED {
            self.watched.retain(|_, watched| {
                watched.seen.fade(now);
                watched.seen.refusals > 0.5
            });
            if self.watched.len() >= WATCHED {
                return;
            }
        }
        let mut before = self.all;
        before.sent -= answer.wcu;
        before.refused -= if answer.refused { answer.wcu } else { 0.0 };
        before.refusals -= f64::from(u8::from(answer.refused));
        let new = Watched { seen: Fading { at: now, ..Fading::default() }, since: now, before };
        let watched = self.watched.entry(answer.partition).or_insert(new);
        watched.seen.fade(now);
        watched.seen.add(answer);
        watched.before.fade(now);
        let Watched { seen, since, before } = *watched;
        if !answer.refused || seen.refusals < OFTEN {
            return;
        }
        let sent = self.all.sent - before.sent;
        let refusals = (self.all.refusals - before.refusals).max(seen.refusals);
        let part = (seen.sent / sent.max(seen.sent)).clamp(0.0, 1.0);
        let deviation = (refusals * part * (1.0 - part)).sqrt();
        let stands_out = sent - seen.sent >= OFTEN && seen.refusals - refusals * part > BEYOND * deviation;
        let is_hot = stands_out || self.said(now) == Cause::Partition && seen.refusals >= PART * refusals;
        if is_hot {
            // It shares its partition with others, as several writers share a table; what it gets now is where it begins.
            let mut pace = Pace::new(vec![Resource::new((), PARTITION, true)], true);
            pace.limit_to(1.0);
            // An average over the last seconds says too little of a key that is watched since a moment ago.
            let lasted = now.saturating_sub(since).as_secs_f64().max(SHORTEST);
            let rate = seen.rate().max((seen.sent - seen.refused) / lasted);
            pace.begin_at((rate * BEGIN / PARTITION).clamp(0.05, 1.0));
            self.hot.insert(answer.partition, Hot { name: None, pace, busy_at: now });
            self.watched.remove(&answer.partition);
            self.rename();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOT: u64 = 7;

    /// A second of batches in which `hot` of each 25 are of one key, and refused by these shares, in percent.
    fn second(keys: &mut HotKeys, from: u64, hot: u64, refuses_hot: u64, refuses_others: u64, cause: Cause) -> Heard {
        let mut heard = Heard::default();
        for batch in 0..40 {
            let now = Duration::from_millis(from * 1_000 + batch * 25);
            let answers: Vec<Answer> = (0..25)
                .map(|n| {
                    let is_hot = n < hot;
                    let chance = (batch * 25 + n) * 37 % 100;
                    Answer {
                        partition: if is_hot { HOT } else { 1_000_000 + from * 10_000 + batch * 25 + n },
                        wcu: 1.0,
                        refused: chance < if is_hot { refuses_hot } else { refuses_others },
                        again: false,
                    }
                })
                .collect();
            let this = keys.answered(now, now, &answers, cause);
            heard.sent += this.sent;
            heard.refused += this.refused;
            heard.unused += this.unused;
        }
        heard
    }

    #[test]
    fn a_key_that_is_refused_while_others_pass_is_hot() {
        let mut keys = HotKeys::default();
        second(&mut keys, 0, 5, 60, 2, Cause::Unsaid);
        assert!(keys.names(Duration::from_secs(1)).contains(&HOT));
        assert_eq!(keys.names(Duration::from_secs(1)).len(), 1);
    }

    #[test]
    fn a_full_table_makes_no_key_hot_however_much_of_the_traffic_it_has() {
        for cause in [Cause::Unsaid, Cause::Whole] {
            let mut keys = HotKeys::default();
            let heard = second(&mut keys, 0, 5, 30, 30, cause);
            assert!(keys.names(Duration::from_secs(1)).is_empty());
            assert!(heard.refused > 250.0, "{heard:?}");
        }
    }

    #[test]
    fn a_flood_after_a_quiet_time_makes_no_key_hot() {
        let mut keys = HotKeys::default();
        for n in 0..10 {
            second(&mut keys, n, 5, 0, 0, Cause::Unsaid);
        }
        second(&mut keys, 10, 5, 60, 60, Cause::Unsaid);
        assert!(keys.names(Duration::from_secs(11)).is_empty());
    }

    #[test]
    fn a_reason_tells_a_hot_key_from_its_neighbours_in_the_partition() {
        let mut keys = HotKeys::default();
        // In a table of two partitions half of the others are refused as often as the key.
        second(&mut keys, 0, 5, 40, 20, Cause::Partition);
        let names = keys.names(Duration::from_secs(1));
        assert_eq!(*names, HashSet::from([HOT]));
    }

    #[test]
    fn the_table_does_not_hear_of_refusals_by_a_hot_partition() {
        let mut keys = HotKeys::default();
        second(&mut keys, 0, 5, 60, 5, Cause::Partition);
        let heard = second(&mut keys, 1, 5, 60, 5, Cause::Partition);
        assert_eq!(heard.refused, 0.0);
        assert!(heard.unused > 100.0, "{heard:?}");
        // But it does when the table itself is full.
        assert!(second(&mut keys, 2, 5, 60, 60, Cause::Whole).refused > 400.0);
    }

    #[test]
    fn a_hot_key_gives_way_to_its_neighbours() {
        let mut keys = HotKeys::default();
        second(&mut keys, 0, 5, 60, 2, Cause::Unsaid);
        let wcu = |keys: &HotKeys| keys.hot.values().map(|hot| hot.pace.factor() * PARTITION).sum::<f64>();
        keys.hot.get_mut(&HOT).unwrap().pace.begin_at(0.5);
        let before = wcu(&keys);
        // Nothing of the key is refused, but of others that live beside it.
        let heard = second(&mut keys, 1, 5, 0, 20, Cause::Partition);
        let after = wcu(&keys);
        assert!(after < before / 2.0, "{before} to {after}");
        assert_eq!(heard.refused, 0.0, "the table does not slow down for it");
    }

    #[test]
    fn what_is_tried_again_makes_no_key_hot() {
        let mut keys = HotKeys::default();
        let at = Duration::from_millis;
        for n in 0..200 {
            let answer = |partition, refused, again| Answer { partition, wcu: 1.0, refused, again };
            let mut answers: Vec<Answer> = (0..24).map(|k| answer(1_000 + n * 100 + k, k == 0, false)).collect();
            answers.push(answer(HOT, true, n > 0));
            keys.answered(at(n * 10), at(n * 10), &answers, Cause::Unsaid);
        }
        assert!(keys.names(at(2_000)).is_empty());
    }

    #[test]
    fn a_hot_key_has_the_name_that_it_was_given_first() {
        let mut keys = HotKeys::default();
        second(&mut keys, 0, 5, 60, 2, Cause::Unsaid);
        keys.call(HOT, || "user#1".into());
        keys.call(HOT, || unreachable!("it has a name"));
        keys.is_full(Duration::from_secs(1));
        let held = keys.binds(Duration::from_secs(1), true).unwrap();
        assert_eq!((held.keys, held.name.as_str()), (1, "user#1"));
    }

    #[test]
    fn a_key_cools_when_nothing_refuses_or_holds_it() {
        let mut keys = HotKeys::default();
        second(&mut keys, 0, 5, 60, 2, Cause::Unsaid);
        let (soon, late) = (Duration::from_secs(10), Duration::from_secs(30));
        assert_eq!(keys.names(soon).len(), 1);
        assert_eq!(keys.names(late).len(), 0);
        assert_eq!(keys.take(late, HOT, 1e9), Ok(()));
    }

    #[test]
    fn while_refusals_are_unexplained_one_write_goes_alone_now_and_then() {
        let mut keys = HotKeys::default();
        let at = Duration::from_millis;
        assert!(!keys.asks(at(1_000)));
        let refused = [Answer { partition: 1, wcu: 1.0, refused: true, again: false }];
        keys.answered(at(1_000), at(990), &refused, Cause::Unsaid);
        assert!(keys.asks(at(1_000)) && !keys.asks(at(1_050)) && keys.asks(at(1_100)));
        keys.answered(at(1_150), at(1_140), &refused, Cause::Whole);
        assert!(!keys.asks(at(1_300)));
    }
}
