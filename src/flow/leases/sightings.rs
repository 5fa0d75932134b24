//! Whose leases are free, and which of them a worker should have: pure, the time is told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::row::Lease;

/// What one worker has seen of everybody's leases.
#[derive(Debug)]
pub(super) struct Sightings {
    me: String,
    failover: Duration,
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    owner: Option<String>,
    counter: u64,
    /// Since when both stand still, of the worker's own clock.
    since: Duration,
}

/// A lease that a worker should have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// It is free.
    Take(Lease),
    /// It is one of the most loaded worker's, which is to finish and hand it over.
    Ask(Lease),
}

impl Sightings {
    pub fn new(me: &str, failover: Duration) -> Self {
        Self { me: me.to_owned(), failover, seen: HashMap::new() }
    }

    /// Takes in all leases as they were at `now` or later.
    pub fn observe(&mut self, now: Duration, leases: &[Lease]) {
        let there: HashSet<&str> = leases.iter().map(|lease| lease.shard.as_str()).collect();
        self.seen.retain(|shard, _| there.contains(shard.as_str()));
        for lease in leases {
            let still =
                self.seen.get(&lease.shard).is_some_and(|s| s.owner == lease.owner && s.counter == lease.counter);
            if !still {
                let seen = Seen { owner: lease.owner.clone(), counter: lease.counter, since: now };
                self.seen.insert(lease.shard.clone(), seen);
            }
        }
    }

    /// True when nobody who lives holds `lease`.
    pub fn is_free(&self, now: Duration, lease: &Lease) -> bool {
        let still = || self.seen.get(&lease.shard).map_or(Duration::ZERO, |seen| now.saturating_sub(seen.since));
        lease.owner.is_none() || still() >= self.failover
    }

    /// What this worker should have beside `mine`, the shards that it holds or has asked for: the free ones up to its
    /// share, and when nothing is free, one of those who have more.
    pub fn wanted(&self, now: Duration, leases: &[Lease], mine: &HashSet<String>, may_ask: bool) -> Vec<Wanted> {
        let open: Vec<&Lease> = leases.iter().filter(|lease| !lease.has_ended()).collect();
        let ours = open.iter().filter(|lease| mine.contains(&lease.shard)).count();
        let mut loads: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        let mut free = Vec::new();
        for lease in open.iter().filter(|lease| !mine.contains(&lease.shard)) {
            match lease.owner.as_deref() {
                // A lease that is ours by the table alone is one that lapsed.
                Some(owner) if owner != self.me && !self.is_free(now, lease) => {
                    let load = loads.entry(owner).or_default();
                    load.0 += 1;
                    load.1 += lease.kb_per_second;
                }
                _ => free.push(*lease),
            }
        }
        let share = open.len().div_ceil(loads.len() + 1);
        let room = share.saturating_sub(ours);
        if !free.is_empty() {
            // Each worker in an order of its own, so that those who look at once don't all try the same ones.
            free.sort_by_key(|lease| self.order(&lease.shard));
            return free.into_iter().take(room).map(|lease| Wanted::Take(lease.clone())).collect();
        }
        let most = loads.iter().max_by(|(_, a), (_, b)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let Some((victim, (count, _))) = most else { return Vec::new() };
        if !may_ask || *count <= ours + 1 {
            return Vec::new();
        }
        let theirs = open.iter().filter(|lease| lease.owner.as_deref() == Some(victim) && lease.leaving.is_none());
        let busiest = theirs.max_by(|a, b| {
            a.kb_per_second.total_cmp(&b.kb_per_second).then_with(|| self.order(&a.shard).cmp(&self.order(&b.shard)))
        });
        busiest.map(|lease| Wanted::Ask((*lease).clone())).into_iter().collect()
    }

    fn order(&self, shard: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.me, shard).hash(&mut hasher);
        hasher.finish()
    }
}
