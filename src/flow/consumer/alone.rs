//! Reads all shards of a stream, each when its parents are done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use super::checkpoint::ShardCheckpoint;
use super::course::ShardState;
use super::reader::read;
use super::shared::Shared;
use crate::cloud::{Class, CloudError};
use crate::flow::counters::Counters;
use crate::flow::stream::{Shard, StartAt};
use crate::flow::tally::Tally;

/// How often shards are listed, and how often after one ended: its children are there at once, as a rule.
const LIST: Duration = Duration::from_secs(10);
const LIST_SOON: Duration = Duration::from_secs(1);

pub(super) async fn supervise(shared: &Arc<Shared>) -> Result<(), CloudError> {
    let mut tasks: JoinSet<(Arc<str>, Result<(), CloudError>)> = JoinSet::new();
    let mut started: HashSet<String> = HashSet::new();
    let mut first_listing = true;
    loop {
        let listing = shared.list().await?;
        let by_id: HashMap<&str, &Shard> = listing.iter().map(|shard| (shard.id.as_str(), shard)).collect();
        for shard in &listing {
            if started.contains(&shard.id) {
                continue;
            }
            let known = shared.find(&shard.id);
            if known.as_ref().is_some_and(|state| state.done.load(Ordering::Acquire)) {
                started.insert(shard.id.clone());
                continue;
            }
            let resumed = known.is_some();
            // A parent that is no longer listed holds no records any more.
            let ready = shard
                .parents
                .iter()
                .filter(|parent| by_id.contains_key(parent.as_str()))
                .all(|parent| shared.find(parent).is_some_and(|parent| parent.done.load(Ordering::Acquire)));
            let skipped = first_listing && shared.options.from == StartAt::Latest && !resumed;
            if !ready && !skipped {
                continue;
            }
            let start = shared.start(shard, first_listing);
            started.insert(shard.id.clone());
            let state = known.unwrap_or_else(|| shared.begin(shard));
            if skipped && !shard.open {
                // Closed before we came: nothing in it is newer than now.
                state.done.store(true, Ordering::Release);
                continue;
            }
            // It was not listed before.
            let _ = state.hash_keys.set(shard.hash_keys);
            let (shared, seed, alive) = (Arc::clone(shared), started.len() as u64, shared.reader());
            tasks.spawn(async move {
                let read = read(&shared.course, &state, start, seed).await;
                drop(alive);
                (Arc::clone(&state.id), read)
            });
        }
        first_listing = false;
        let all_started = listing.iter().all(|shard| started.contains(&shard.id) || !shard.parents.is_empty());
        shared.listed.store(all_started, Ordering::Release);

        let clock = &shared.course.health.clock;
        let pause = if tasks.is_empty() { LIST_SOON } else { LIST };
        tokio::select! {
            error = shared.course.health.failed() => return Err(error),
            Some(ended) = tasks.join_next() => {
                // A task that panicked ends the consumer as an error does.
                let broke_off = |e| CloudError::new(Class::Unknown, format!("a shard's reader broke off: {e}"), "");
                let (id, read) = ended.map_err(broke_off)?;
                read?;
                let shards = shared.shards();
                shared.listed.store(false, Ordering::Release);
                if let Some(state) = shards.iter().find(|state| state.id == id) {
                    state.done.store(true, Ordering::Release);
                }
            }
            () = clock.sleep(pause) => {}
        }
    }
}

impl Shared {
    async fn list(&self) -> Result<Vec<Shard>, CloudError> {
        let health = &self.course.health;
        loop {
            let asked = health.clock.now();
            match self.course.source.shards().await {
                Ok(shards) => return Ok(shards),
                Err(error) if matches!(error.class, Class::Throttled | Class::Transient | Class::InUse) => {
                    if health.patience.is_over(asked, health.clock.now()) {
                        return Err(error);
                    }
                    health.clock.sleep(LIST_SOON).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where `shard` begins.
    fn start(&self, shard: &Shard, first_listing: bool) -> StartAt {
        let checkpoint = self.options.resume.iter().find(|checkpoint| checkpoint.shard == shard.id);
        if let Some(checkpoint) = checkpoint
            && let Some(position) = checkpoint.position.clone()
        {
            // In the middle of an aggregated record, perhaps: it is read again, and what is settled of it skipped.
            return if checkpoint.sub.is_some() { StartAt::At(position) } else { StartAt::After(position) };
        }
        // A time means the same in every shard: a child that is older than it must not be read whole.
        if let StartAt::Time(_) = self.options.from {
            return self.options.from.clone();
        }
        // A child of a shard that was read is read whole: it goes on where its parents end.
        let parent_was_read = shard.parents.iter().any(|parent| self.find(parent).is_some());
        if checkpoint.is_some() || (first_listing && !parent_was_read) {
            self.options.from.clone()
        } else {
            StartAt::TrimHorizon
        }
    }

    /// The state of a shard that begins now; it inherits what its parents counted.
    fn begin(&self, shard: &Shard) -> Arc<ShardState> {
        let tally = self.options.job.is_some().then(|| {
            let mut tally = Tally::new(self.options.tally_window);
            let parents = shard.parents.iter().filter_map(|parent| self.find(parent)?.ledger.tally());
            parents.for_each(|parent| tally.inherit(&parent));
            tally
        });
        let state = self.options.state(&ShardCheckpoint {
            shard: shard.id.clone(),
            position: None,
            sub: None,
            done: false,
            counters: Counters::default(),
            tally,
            time_us: None,
        });
        self.shards().push(Arc::clone(&state));
        state
    }
}
