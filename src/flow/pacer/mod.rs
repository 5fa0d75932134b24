//! The pace of one table, shared by all lanes that write to it.

mod governor;
mod hot;
#[cfg(test)]
mod hot_runs;
mod pace;
#[cfg(test)]
mod simulated;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::clock::Clock;
use super::limit::Limit;
use super::table::Consumed;
use hot::HotKeys;
pub(super) use hot::{Answer, Cause};
pub(super) use pace::{Pace, Resource};

/// Provisioned write capacity of a table, as `DescribeTable` tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Provisioned {
    /// Of the table, WCU.
    pub table: f64,
    /// Of each global index, WCU.
    pub indexes: Vec<(String, f64)>,
}

/// What the operator allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Caps {
    /// `--rate`: items a second.
    pub items_per_second: Option<f64>,
    /// `--max-wcu`: write capacity of the table, WCU.
    pub wcu: Option<f64>,
}

/// What is left to others of a table's write capacity, and what they use of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    /// The share that our use and theirs together never touch, 0 to 1.
    pub share: f64,
    /// What others consume of the table, WCU a second.
    pub others: f64,
    /// What others consume of each index, WCU a second.
    pub others_of_indexes: Vec<(String, f64)>,
}

/// What a pacer does now, for display and samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PacerSnapshot {
    /// What binds now.
    pub limit: Limit,
    /// Write capacity consumed since the pacer began, WCU, indexes included.
    pub consumed: f64,
    /// Of `consumed`: in the table alone, WCU.
    pub consumed_by_table: f64,
    /// Of `consumed`: in each global index that has written anything, WCU.
    pub consumed_by_index: Vec<(String, f64)>,
    /// Write capacity of the table that is let through now, WCU a second; may be above the provisioned in a burst.
    pub target: f64,
    /// Items sent since the pacer began, repetitions included.
    pub sent: u64,
    /// Of `sent`: refused for want of capacity.
    pub refused: u64,
}

/// Where others use all that they were to be left and more, this share of the capacity is used all the same.
const LEAST_REST: f64 = 0.01;

/// An on-demand table's first guess, WCU: what AWS lets a new one take (FORMATS.md 4).
const ON_DEMAND: f64 = 4_000.0;

/// Holds a table at its write capacity. All that write to one table share one.
#[derive(Debug)]
pub struct Pacer {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Whoever is next in line waits by the clock, the others for this: first come, first served.
    turn: tokio::sync::Mutex<()>,
    /// Wakes whoever is next in line when there may be more to take.
    changed: Notify,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Table,
    Index(String),
    RateCap,
    WcuCap,
    /// What others leave of the table.
    Rest,
    /// What others leave of an index.
    RestOfIndex(String),
}

#[derive(Debug)]
struct State {
    pace: Pace<Kind>,
    hot: HotKeys,
    provisioned: Option<Provisioned>,
    caps: Caps,
    left: Option<Left>,
    burst: bool,
    held: bool,
    /// WCU consumed for each WCU of an item's own size, in the table and in each index, as replies taught.
    table_ratio: f64,
    index_ratios: HashMap<String, f64>,
    consumed: f64,
    consumed_by_table: f64,
    consumed_by_index: Vec<(String, f64)>,
    sent: u64,
    refused: u64,
}

impl Pacer {
    /// A pacer of a table whose capacity is not known yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            pace: Pace::new(vec![Resource::new(Kind::Table, ON_DEMAND, true)], false),
            hot: HotKeys::default(),
            provisioned: None,
            caps: Caps::default(),
            left: None,
            burst: true,
            held: false,
            table_ratio: 1.0,
            index_ratios: HashMap::new(),
            consumed: 0.0,
            consumed_by_table: 0.0,
            consumed_by_index: Vec::new(),
            sent: 0,
            refused: 0,
        };
        Self { clock, state: Mutex::new(state), turn: tokio::sync::Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the table's capacity; `None` for an on-demand table. Call it every few seconds with what `DescribeTable`
    /// says: a change is followed at once.
    pub fn set_provisioned(&self, provisioned: Option<Provisioned>) {
        let mut state = self.state();
        if state.provisioned != provisioned {
            state.provisioned = provisioned;
            state.rebuild(self.clock.now());
            self.changed.notify_one();
        }
    }

    /// Sets what the operator allows.
    pub fn set_caps(&self, caps: Caps) {
        let mut state = self.state();
        if state.caps != caps {
            state.caps = caps;
            state.rebuild(self.clock.now());
            self.changed.notify_one();
        }
    }

    /// Uses (true) or leaves alone what the table saved up.
    pub fn set_burst(&self, burst: bool) {
        let mut state = self.state();
        state.burst = burst;
        state.rebuild(self.clock.now());
    }

    /// Keeps what is consumed, by us and others together, below a share of what is provisioned; `None` lifts that. It
    /// has no meaning on demand.
    pub fn set_left(&self, left: Option<Left>) {
        let mut state = self.state();
        if state.left != left {
            state.left = left;
            state.rebuild(self.clock.now());
            self.changed.notify_one();
        }
    }

    /// Pauses (true) or goes on (false): what is in flight comes back, nothing more is sent.
    pub fn hold(&self, held: bool) {
        self.state().held = held;
        self.changed.notify_one();
    }

    /// Waits until `items` items may be sent which take `wcu` WCU by their own size.
    pub async fn acquire(&self, wcu: f64, items: usize) {
        let _turn = self.turn.lock().await;
        loop {
            let wait = {
                let mut state = self.state();
                if state.held {
                    None
                } else {
                    let costs = state.costs(wcu, items as f64);
                    match state.pace.take(self.clock.now(), &costs) {
                        Ok(()) => return,
                        Err(wait) => Some(wait.duration),
                    }
                }
            };
            match wait {
                // Replies may give back what was taken too much, so look again soon.
                Some(wait) => tokio::select! {
                    () = self.clock.sleep(wait.min(Duration::from_millis(250))) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// A reply came for what was sent at `sent_at`: `answers` tell of each write, `cause` why some were refused, and
    /// `consumed` what the others took, where the service said so.
    pub(super) fn reply(&self, sent_at: Duration, answers: &[Answer], cause: Cause, consumed: Option<&Consumed>) {
        let now = self.clock.now();
        let mut state = self.state();
        state.sent += answers.len() as u64;
        state.refused += answers.iter().filter(|answer| answer.refused).count() as u64;
        if let Some(consumed) = consumed {
            let accepted = answers.iter().filter(|answer| !answer.refused).map(|answer| answer.wcu).sum();
            let corrections = state.learn(accepted, consumed);
            state.pace.correct(&corrections);
        }
        let heard = state.hot.answered(now, sent_at, answers, cause);
        let any_hot = state.hot.any();
        state.pace.set_crowded(any_hot);
        if heard.unused > 0.0 {
            let unused: Vec<f64> = state.costs(-heard.unused, 0.0);
            state.pace.correct(&unused);
        }
        let ratio = state.table_ratio;
        state.pace.reply(now, sent_at, heard.sent * ratio, heard.refused * ratio);
    }

    /// Partition keys that are hot now: their writes pass [`Pacer::take_hot`] as well.
    pub(super) fn hot(&self) -> Arc<HashSet<u64>> {
        let now = self.clock.now();
        self.state().hot.names(now)
    }

    /// Lets a write of `wcu` of a hot partition key through, or tells how long it must wait.
    pub(super) fn take_hot(&self, partition: u64, wcu: f64) -> Result<(), Duration> {
        let now = self.clock.now();
        self.state().hot.take(now, partition, wcu)
    }

    /// Says what the partition key of this hash is called, should it be hot.
    pub(super) fn call_hot(&self, partition: u64, name: impl FnOnce() -> String) {
        self.state().hot.call(partition, name);
    }

    /// Whether a refused write should go alone now, so that the service says why.
    pub(super) fn asks(&self) -> bool {
        let now = self.clock.now();
        self.state().hot.asks(now)
    }

    /// A lane has no room for more writes of hot keys.
    pub(super) fn parked_full(&self) {
        let now = self.clock.now();
        self.state().hot.is_full(now);
    }

    /// What binds now.
    pub fn limit(&self) -> Limit {
        self.state().limit(self.clock.now())
    }

    /// The largest batch worth sending, WCU: a twentieth of a second's worth, so that no lane waits long for its turn
    /// and a table that is just empty refuses little at once.
    pub(super) fn batch_wcu(&self) -> f64 {
        (self.state().target() / 20.0).max(1.0)
    }

    /// What it does now.
    pub fn snapshot(&self) -> PacerSnapshot {
        let state = self.state();
        PacerSnapshot {
            limit: state.limit(self.clock.now()),
            consumed: state.consumed,
            consumed_by_table: state.consumed_by_table,
            consumed_by_index: state.consumed_by_index.clone(),
            target: state.target(),
            sent: state.sent,
            refused: state.refused,
        }
    }
}

impl State {
    fn rebuild(&mut self, now: Duration) {
        let table = self.provisioned.as_ref().map_or(ON_DEMAND, |p| p.table);
        let mut resources = vec![Resource::new(Kind::Table, table, true)];
        for (name, wcu) in self.provisioned.iter().flat_map(|p| &p.indexes) {
            resources.push(Resource::new(Kind::Index(name.clone()), *wcu, true));
        }
        if let Some(rate) = self.caps.items_per_second {
            resources.push(Resource::new(Kind::RateCap, rate, false));
        }
        if let Some(wcu) = self.caps.wcu {
            resources.push(Resource::new(Kind::WcuCap, wcu, false));
        }
        if let (Some(left), Some(provisioned)) = (&self.left, &self.provisioned) {
            let rest = |wcu: f64, others: f64| {
                let rest = wcu * (1.0 - left.share) - others;
                // Never quite nothing: a job that stands still can't be told from one that hangs.
                rest.max(wcu * LEAST_REST)
            };
            resources.push(Resource::new(Kind::Rest, rest(provisioned.table, left.others), false));
            for (name, wcu) in &provisioned.indexes {
                let others =
                    left.others_of_indexes.iter().find(|(index, _)| index == name).map_or(0.0, |(_, wcu)| *wcu);
                resources.push(Resource::new(Kind::RestOfIndex(name.clone()), rest(*wcu, others), false));
            }
        }
        // What is left to others is left of what was saved up, too.
        let most = if self.burst && self.left.is_none() { f64::INFINITY } else { 1.0 };
        self.pace.limit_to(most);
        self.pace.replace(now, resources, self.provisioned.is_some());
    }

    /// WCU of an index for each WCU of an item's own size; until replies taught otherwise, as much as the table.
    fn index_ratio(&self, index: &str) -> f64 {
        self.index_ratios.get(index).copied().unwrap_or(1.0)
    }

    fn costs(&self, wcu: f64, items: f64) -> Vec<f64> {
        let cost = |resource: &Resource<Kind>| match &resource.kind {
            Kind::Table | Kind::WcuCap | Kind::Rest => wcu * self.table_ratio,
            Kind::Index(index) | Kind::RestOfIndex(index) => wcu * self.index_ratio(index),
            Kind::RateCap => items,
        };
        self.pace.resources().iter().map(cost).collect()
    }

    /// Takes in what `wcu` WCU of items really consumed; gives by how much that is more than was taken.
    fn learn(&mut self, wcu: f64, consumed: &Consumed) -> Vec<f64> {
        self.consumed += consumed.total();
        self.consumed_by_table += consumed.table;
        for (name, wcu) in &consumed.indexes {
            match self.consumed_by_index.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += wcu,
                None => self.consumed_by_index.push((name.clone(), *wcu)),
            }
        }
        if wcu <= 0.0 {
            return Vec::new();
        }
        let taken = self.costs(wcu, 0.0);
        let of_index =
            |index: &str| consumed.indexes.iter().find(|(name, _)| name == index).map_or(0.0, |(_, wcu)| *wcu);
        let correction = |(resource, taken): (&Resource<Kind>, &f64)| match &resource.kind {
            Kind::Table | Kind::WcuCap | Kind::Rest => consumed.table - taken,
            Kind::Index(index) | Kind::RestOfIndex(index) => of_index(index) - taken,
            Kind::RateCap => 0.0,
        };
        let corrections = self.pace.resources().iter().zip(&taken).map(correction).collect();
        let learn = |ratio: f64, used: f64| ratio + (used / wcu - ratio) * 0.1;
        self.table_ratio = learn(self.table_ratio, consumed.table);
        for (index, _) in self.provisioned.iter().flat_map(|p| &p.indexes) {
            let ratio = learn(self.index_ratios.get(index).copied().unwrap_or(1.0), of_index(index));
            self.index_ratios.insert(index.clone(), ratio);
        }
        corrections
    }

    fn left_as_limit(&self, kind: &Kind) -> Limit {
        let left = self.left.clone().unwrap_or_default();
        let (index, others, of) = match (kind, &self.provisioned) {
            (Kind::RestOfIndex(index), Some(provisioned)) => {
                let find =
                    |all: &[(String, f64)]| all.iter().find(|(name, _)| name == index).map_or(0.0, |(_, wcu)| *wcu);
                (Some(index.clone()), find(&left.others_of_indexes), find(&provisioned.indexes))
            }
            (_, provisioned) => (None, left.others, provisioned.as_ref().map_or(0.0, |p| p.table)),
        };
        Limit::Leave { share: left.share, others, of, index }
    }

    fn target(&self) -> f64 {
        let governed = self.pace.resources().first().map_or(0.0, |table| table.rate * self.pace.factor());
        let rest = self.pace.resources().iter().find(|resource| resource.kind == Kind::Rest);
        governed.min(self.caps.wcu.unwrap_or(f64::INFINITY)).min(rest.map_or(f64::INFINITY, |rest| rest.rate))
    }

    fn limit(&self, now: Duration) -> Limit {
        if self.held {
            return Limit::Paused;
        }
        if let Some(held) = self.hot.binds(now, self.pace.binds(now).is_some()) {
            let of = self.pace.resources().first().map_or(0.0, |table| table.rate);
            return Limit::Partition { wcu: held.wcu, of, keys: held.keys, key: held.name };
        }
        let Some(bound) = self.pace.binds(now).and_then(|n| self.pace.resources().get(n)) else { return Limit::Source };
        let factor = self.pace.factor();
        match &bound.kind {
            Kind::RateCap => Limit::RateCap { per_second: bound.rate },
            Kind::WcuCap => Limit::WcuCap { wcu: bound.rate },
            Kind::Rest | Kind::RestOfIndex(_) => self.left_as_limit(&bound.kind),
            _ if self.provisioned.is_some() && factor < 0.85 && self.hot.said(now) == Cause::Partition => {
                Limit::Partition { wcu: bound.rate * factor, of: bound.rate, keys: 0, key: String::new() }
            }
            _ if self.provisioned.is_some() && factor < 0.85 => {
                Limit::Shared { wcu: bound.rate * factor, of: bound.rate }
            }
            Kind::Index(index) => Limit::Index { index: index.clone(), wcu: bound.rate },
            Kind::Table => Limit::Table { wcu: self.provisioned.as_ref().map(|p| p.table) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::clock::ManualClock;

    fn pacer(clock: &ManualClock, table: f64, indexes: &[(&str, f64)]) -> Arc<Pacer> {
        let pacer = Pacer::new(Arc::new(clock.clone()));
        pacer.set_provisioned(Some(Provisioned {
            table,
            indexes: indexes.iter().map(|(name, wcu)| ((*name).to_owned(), *wcu)).collect(),
        }));
        Arc::new(pacer)
    }

    /// Writes batches of 25 items of 1 WCU for `seconds`; how many. Each item costs `index` WCU in the index `i`.
    async fn write(pacer: &Pacer, clock: &ManualClock, seconds: u64, index: f64) -> f64 {
        let end = clock.now() + Duration::from_secs(seconds);
        let mut items = 0.0;
        while clock.now() < end {
            pacer.acquire(25.0, 25).await;
            items += 25.0;
            let consumed = Consumed { table: 25.0, indexes: vec![("i".into(), 25.0 * index)] };
            let answers = [Answer { partition: 1, wcu: 1.0, refused: false, again: false }; 25];
            pacer.reply(clock.now(), &answers, Cause::Unsaid, Some(&consumed));
        }
        items
    }

    #[test]
    fn an_index_narrower_than_the_table_binds_and_is_named() {
        let clock = ManualClock::default();
        clock.run(async {
            let pacer = pacer(&clock, 1_000.0, &[("i", 100.0)]);
            pacer.set_burst(false);
            let items = write(&pacer, &clock, 6, 2.0).await;
            assert!((250.0..=420.0).contains(&items), "{items}");
            assert_eq!(pacer.limit().to_string(), "write capacity of index i, 100 WCU");
        });
    }

    #[test]
    fn the_table_binds_when_its_index_is_sparse() {
        let clock = ManualClock::default();
        clock.run(async {
            let pacer = pacer(&clock, 200.0, &[("i", 100.0)]);
            pacer.set_burst(false);
            write(&pacer, &clock, 5, 0.0).await;
            let items = write(&pacer, &clock, 5, 0.0).await;
            assert!((960.0..=1_100.0).contains(&items), "{items}");
            assert_eq!(pacer.limit().to_string(), "table write capacity, 200 WCU");
        });
    }

    #[test]
    fn a_cap_binds_below_the_table_and_can_be_lifted() {
        let clock = ManualClock::default();
        clock.run(async {
            let pacer = pacer(&clock, 1_000.0, &[]);
            pacer.set_caps(Caps { items_per_second: Some(50.0), wcu: None });
            let items = write(&pacer, &clock, 10, 0.0).await;
            assert!((475.0..=575.0).contains(&items), "{items}");
            assert_eq!(pacer.limit().to_string(), "rate cap, 50 items/s");
            pacer.set_caps(Caps::default());
            assert!(write(&pacer, &clock, 1, 0.0).await > 900.0);
        });
    }

    #[test]
    fn a_held_pacer_lets_nothing_through_until_it_goes_on() {
        use futures::FutureExt as _;
        let clock = ManualClock::default();
        let pacer = pacer(&clock, 1_000.0, &[]);
        pacer.hold(true);
        let mut waiting = Box::pin(pacer.acquire(1.0, 1));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(pacer.limit(), Limit::Paused);
        pacer.hold(false);
        clock.run(waiting);
    }

    #[test]
    fn a_raised_limit_reaches_whoever_waits_already() {
        let clock = ManualClock::default();
        clock.run(async {
            let pacer = pacer(&clock, 1.0, &[]);
            pacer.set_burst(false);
            pacer.acquire(100.0, 1).await;
            let waiting = {
                let pacer = Arc::clone(&pacer);
                tokio::task::spawn_local(async move { pacer.acquire(1.0, 1).await })
            };
            tokio::task::yield_now().await;
            let before = clock.now();
            pacer.set_provisioned(Some(Provisioned { table: 1_000.0, indexes: Vec::new() }));
            waiting.await.unwrap();
            let waited = clock.now().saturating_sub(before);
            assert!(waited < Duration::from_secs(1), "{waited:?}");
        });
    }
}
