//! The task that keeps a worker's leases: looks, renews, looks after shards, hands over, takes, and gives up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;

use super::change::{Change, Worker};
use super::fence::Fence;
use super::holder::{Held, Noted, Shared, Standing};
use super::row::{Lease, LeaseCheckpoint};
use super::sightings::{Sightings, Wanted};
use super::upkeep;
use crate::cloud::{Class, CloudError};
use crate::flow::patience::Patience;
use crate::flow::stream::Shard;

/// A lease of ours.
#[derive(Clone, Debug)]
struct Mine {
    lease: Lease,
    held: Held,
    /// Bytes noted at the last renewal, and when.
    metered: (u64, Duration),
}

/// What the task knows.
struct Keeper {
    shared: Arc<Shared>,
    sightings: Sightings,
    mine: HashMap<String, Mine>,
    /// Shards whose lease could not be renewed in time: what was begun of them may still be on its way.
    lapsed: HashSet<String>,
    /// Leases that another worker was asked for, and when.
    asked: HashMap<String, Duration>,
    listing: Vec<Shard>,
    /// When the shards were listed, and how many leases had ended then.
    listed: Option<(Duration, usize)>,
    patience: Patience,
}

/// How often shards are listed when nothing ends.
const LIST: Duration = Duration::from_secs(10);

pub(super) async fn keep(shared: Arc<Shared>) {
    let mut keeper = Keeper {
        sightings: Sightings::new(&shared.options.worker, shared.options.failover),
        shared: Arc::clone(&shared),
        mine: HashMap::new(),
        lapsed: HashSet::new(),
        asked: HashMap::new(),
        listing: Vec::new(),
        listed: None,
        patience: Patience::default(),
    };
    loop {
        let asked = shared.clock.now();
        match keeper.tick().await {
            Ok(()) => keeper.patience.answered(),
            Err(error)
                if matches!(error.class, Class::Throttled | Class::Transient | Class::Unknown | Class::InUse) =>
            {
                // Reading stops by itself meanwhile: no fence is extended.
                keeper.lapse();
                if keeper.patience.is_over(asked, shared.clock.now()) {
                    shared.failure.send_replace(Some(error));
                    return;
                }
            }
            Err(error) => {
                keeper.lapse();
                shared.failure.send_replace(Some(error));
                return;
            }
        }
        if shared.gone.load(Ordering::Acquire) {
            return;
        }
        tokio::select! {
            () = shared.wake.notified() => {}
            () = shared.clock.sleep(shared.every()) => {}
        }
    }
}

impl Keeper {
    async fn tick(&mut self) -> Result<(), CloudError> {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        let mut leases = shared.soon(shared.store.list()).await?;
        self.check_stream(&leases)?;
        self.sightings.observe(now, &leases);
        self.compare(&leases);
        self.publish_held();
        if let Some(unfinished) = shared.leaving() {
            return self.leave(&unfinished, &leases).await;
        }
        // One request that fails must not keep the others, nor what they change, from being known.
        let renewed = self.renew(&mut leases).await;
        let looked_after = self.look_after(&mut leases).await;
        let collected = self.collect_asked(&mut leases).await;
        let taken = self.take(&mut leases).await;
        self.lapse();
        self.publish(now, leases);
        renewed.and(looked_after).and(collected).and(taken)
    }

    fn publish_held(&self) {
        let held = self.held();
        self.shared.standing.send_modify(|standing| standing.held = held);
    }

    /// Refuses a table whose leases are of another stream.
    fn check_stream(&self, leases: &[Lease]) -> Result<(), CloudError> {
        let stream = &self.shared.options.stream;
        let other = leases.iter().find_map(|lease| lease.stream.as_ref().filter(|of| *of != stream));
        let several = leases.iter().find(|lease| lease.shard.contains(':'));
        let what = match (other, several) {
            (Some(other), _) => format!("the lease table holds the leases of stream {other}, not of {stream}"),
            (None, Some(lease)) => {
                format!("the lease table is one of several streams at once (it has a lease {})", lease.shard)
            }
            (None, None) => return Ok(()),
        };
        Err(CloudError::new(Class::Invalid, what, "each stream needs a lease table of its own: name another one"))
    }

    /// Compares what we hold with what the table says.
    fn compare(&mut self, leases: &[Lease]) {
        let me = &self.shared.options.worker;
        let mut lost = Vec::new();
        for (shard, mine) in &mut self.mine {
            match leases.iter().find(|lease| lease.shard == *shard) {
                // Our own renewal whose reply was lost may have moved the counter.
                Some(lease) if lease.owner.as_ref() == Some(me) => mine.lease = lease.clone(),
                Some(lease) if lease.leaving.as_ref() == Some(me) => {
                    mine.lease = lease.clone();
                    if !mine.held.hand_over {
                        mine.held.hand_over = true;
                        // Who asked did so after our last renewal, and waits twice the failover time from then.
                        mine.held.fence.prolong(self.shared.options.failover);
                    }
                }
                Some(lease) => lost.push((shard.clone(), lease.owner.clone().unwrap_or_else(|| "nobody".to_owned()))),
                None => lost.push((shard.clone(), "nobody: its lease was deleted".to_owned())),
            }
        }
        for (shard, to) in lost {
            self.drop_lease(&shard);
            // Who leaves gave it up, by an answer that was lost.
            if self.shared.leaving().is_some() {
                continue;
            }
            self.shared.say(format!("lost {shard} to {to}: what it had begun is left to the new holder"));
        }
    }

    fn drop_lease(&mut self, shard: &str) {
        if let Some(mine) = self.mine.remove(shard) {
            mine.held.fence.revoke();
        }
        self.shared.noted().remove(shard);
    }

    /// Drops what was not renewed in time.
    fn lapse(&mut self) {
        // Who leaves has revoked them all by himself, once nothing was on its way.
        if self.shared.leaving().is_some() {
            return;
        }
        let lapsed: Vec<String> =
            self.mine.iter().filter(|(_, mine)| !mine.held.fence.holds()).map(|(shard, _)| shard.clone()).collect();
        if lapsed.is_empty() {
            return;
        }
        for shard in lapsed {
            self.drop_lease(&shard);
            self.lapsed.insert(shard.clone());
            self.shared.say(format!("the lease of {shard} could not be renewed in time: writing it stops"));
        }
        self.shared.standing.send_modify(|standing| standing.placed = false);
        self.publish_held();
    }

    /// Renews what is ours with its checkpoint, ends what was read to its end, hands over what was asked for and is done.
    async fn renew(&mut self, leases: &mut [Lease]) -> Result<(), CloudError> {
        let shared = Arc::clone(&self.shared);
        let noted = shared.noted().clone();
        let ends = |noted: Option<&Noted>| {
            noted.and_then(|noted| noted.checkpoint.as_ref()).is_some_and(|(at, _)| *at == LeaseCheckpoint::ShardEnd)
        };
        if self.mine.keys().any(|shard| ends(noted.get(shard))) {
            // The children are to be written beside the end.
            self.list().await?;
        }
        let now = shared.clock.now();
        let mut changes = Vec::new();
        for (shard, mine) in &mut self.mine {
            let said = noted.get(shard);
            let checkpoint = said.and_then(|noted| noted.checkpoint.clone());
            let change = if mine.held.hand_over {
                if !said.is_some_and(|noted| noted.finished) && !ends(said) {
                    continue;
                }
                Change::handed_over(&mine.lease, &shared.options.worker).at(checkpoint)
            } else if ends(said) {
                let children = upkeep::children(&self.listing, shard);
                Change { children, ..Change::give_up(&mine.lease).at(checkpoint) }
            } else {
                let bytes = said.map_or(0, |noted| noted.bytes);
                let seconds = now.saturating_sub(mine.metered.1).as_secs_f64().max(0.001);
                let kb = bytes.saturating_sub(mine.metered.0) as f64 / 1024.0 / seconds;
                mine.metered = (bytes, now);
                let kb_per_second = Some(kb).filter(|kb| *kb > 0.0 || mine.lease.kb_per_second > 0.0);
                Change { kb_per_second, ..Change::renew(&mine.lease).at(checkpoint) }
            };
            changes.push(change);
        }
        let send = |change: Change| {
            let shared = Arc::clone(&shared);
            async move {
                let sent = shared.clock.now();
                let reply = shared.soon(shared.store.update(&change)).await;
                (change, sent, reply)
            }
        };
        let mut failed = None;
        for (change, sent, reply) in join_all(changes.into_iter().map(send)).await {
            match reply {
                Ok(()) => self.renewed(&change, sent, leases),
                // Somebody took it, or our own reply was lost: the next look tells.
                Err(error) if error.class == Class::Condition => shared.wake.notify_one(),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn renewed(&mut self, change: &Change, sent: Duration, leases: &mut [Lease]) {
        let shard = &change.shard;
        if let Some(lease) = leases.iter_mut().find(|lease| lease.shard == *shard) {
            change.apply(lease);
        }
        let Some(mine) = self.mine.get_mut(shard) else { return };
        change.apply(&mut mine.lease);
        if mine.held.hand_over {
            let to = mine.lease.owner.clone().unwrap_or_default();
            self.drop_lease(shard);
            self.shared.say(format!("handed {shard} over to {to}"));
        } else if mine.lease.has_ended() {
            self.drop_lease(shard);
            self.shared.say(format!("{shard} was read to its end"));
        } else {
            mine.held.fence.extend(self.shared.until(sent));
            if let Some(noted) = self.shared.noted().get_mut(shard)
                && noted.checkpoint == change.checkpoint
            {
                noted.checkpoint = None;
            }
        }
    }

    async fn list(&mut self) -> Result<(), CloudError> {
        self.listing = self.shared.soon(self.shared.source.shards()).await?;
        Ok(())
    }

    /// Makes the leases that shards lack, and removes those of shards that left the stream.
    async fn look_after(&mut self, leases: &mut Vec<Lease>) -> Result<(), CloudError> {
        let shared = Arc::clone(&self.shared);
        let ended = leases.iter().filter(|lease| lease.has_ended()).count();
        let is_fresh = |(at, had): (Duration, usize)| had == ended && shared.clock.now().saturating_sub(at) < LIST;
        if self.listed.is_some_and(is_fresh) {
            return Ok(());
        }
        let asked = shared.clock.now();
        // After the leases were listed: a lease is never of a newer shard than the newest that is listed here.
        self.list().await?;
        for mut lease in upkeep::missing(&shared.options.stream, &self.listing, leases, &shared.options.from) {
            if matches!(lease.checkpoint, LeaseCheckpoint::Latest | LeaseCheckpoint::AtTimestamp) {
                lease.from_ms = shared.options.from_ms;
            }
            match shared.soon(shared.store.create(&lease)).await {
                Ok(()) => leases.push(lease),
                // Another worker was first; the next look has it.
                Err(error) if error.class == Class::Condition => shared.wake.notify_one(),
                Err(error) => return Err(error),
            }
        }
        let left: Vec<Lease> = upkeep::left(&self.listing, leases).into_iter().cloned().collect();
        for lease in left {
            if !lease.has_ended() {
                shared.say(format!(
                    "{} left the stream before it was read to its end: its retention was shorter than the delay",
                    lease.shard
                ));
            }
            match shared.soon(shared.store.delete(&lease)).await {
                Ok(()) => {
                    self.drop_lease(&lease.shard);
                    leases.retain(|other| other.shard != lease.shard);
                }
                Err(error) if error.class == Class::Condition => {}
                Err(error) => return Err(error),
            }
        }
        self.listed = Some((asked, leases.iter().filter(|lease| lease.has_ended()).count()));
        Ok(())
    }

    /// Begins what was asked for and is handed over, or was not in time.
    async fn collect_asked(&mut self, leases: &mut [Lease]) -> Result<(), CloudError> {
        let shared = Arc::clone(&self.shared);
        for (shard, since) in self.asked.clone() {
            let ours = leases.iter_mut().find(|lease| {
                lease.shard == shard && lease.owner.as_ref() == Some(&shared.options.worker) && !lease.has_ended()
            });
            let Some(lease) = ours else {
                self.asked.remove(&shard);
                continue;
            };
            let late = shared.clock.now().saturating_sub(since) >= shared.options.failover * 2;
            // Who was asked finished, or we wait; when he is late he is gone, or his fence lapsed long ago.
            let leaving = if late { Worker::Nobody } else { Worker::Same };
            let change = Change { leaving, ..Change::renew(lease) };
            let sent = shared.clock.now();
            match shared.soon(shared.store.update(&change)).await {
                Ok(()) => {
                    change.apply(lease);
                    if lease.leaving.is_none() {
                        let lease = lease.clone();
                        self.begin(lease, sent);
                    }
                }
                Err(error) if error.class == Class::Condition => shared.wake.notify_one(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what this worker should have.
    async fn take(&mut self, leases: &mut [Lease]) -> Result<(), CloudError> {
        let shared = Arc::clone(&self.shared);
        let mine: HashSet<String> = self.mine.keys().chain(self.asked.keys()).cloned().collect();
        // What is being handed over is ours no more.
        let mine = mine.into_iter().filter(|shard| !self.mine.get(shard).is_some_and(|m| m.held.hand_over)).collect();
        let wanted = self.sightings.wanted(shared.clock.now(), leases, &mine, self.asked.is_empty());
        for wanted in wanted {
            let (lease, from) = match &wanted {
                // Who asked for it is gone, and who was asked may be busy with it still.
                Wanted::Take(lease) => (lease, lease.leaving.as_deref()),
                Wanted::Ask(lease) => (lease, lease.owner.as_deref()),
            };
            if self.mine.contains_key(&lease.shard) {
                continue;
            }
            let change = Change::take(lease, &shared.options.worker, from);
            let sent = shared.clock.now();
            match shared.soon(shared.store.update(&change)).await {
                Ok(()) => {
                    let before = lease.owner.clone();
                    let mut lease = lease.clone();
                    change.apply(&mut lease);
                    if let Some(there) = leases.iter_mut().find(|there| there.shard == lease.shard) {
                        change.apply(there);
                    }
                    match (&wanted, before) {
                        (Wanted::Ask(_), from) => {
                            shared.say(format!("asked {} for {}", from.unwrap_or_default(), lease.shard));
                            self.asked.insert(lease.shard, sent);
                        }
                        (Wanted::Take(_), _) if lease.leaving.is_some() => {
                            self.asked.insert(lease.shard, sent);
                        }
                        (Wanted::Take(_), Some(dead)) if dead != shared.options.worker => {
                            shared.say(format!("took {} over from {dead}, which is gone", lease.shard));
                            self.begin(lease, sent);
                        }
                        (Wanted::Take(_), _) => {
                            shared.say(format!("took {}", lease.shard));
                            self.begin(lease, sent);
                        }
                    }
                }
                // Somebody was faster.
                Err(error) if error.class == Class::Condition => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A lease is ours to read, by a request that was sent at `sent`.
    fn begin(&mut self, lease: Lease, sent: Duration) {
        self.asked.remove(&lease.shard);
        self.lapsed.remove(&lease.shard);
        self.shared.noted().remove(&lease.shard);
        let held = Held {
            shard: lease.shard.clone(),
            start: lease.start(&self.shared.options.from),
            settled: match &lease.checkpoint {
                LeaseCheckpoint::After(sequence) => Some((sequence.clone(), lease.sub)),
                _ => None,
            },
            hash_keys: lease.hash_keys,
            fence: Fence::new(Arc::clone(&self.shared.clock), self.shared.until(sent)),
            hand_over: false,
        };
        self.mine.insert(lease.shard.clone(), Mine { lease, held, metered: (0, sent) });
    }

    fn held(&self) -> Vec<Held> {
        let mut held: Vec<Held> = self.mine.values().map(|mine| mine.held.clone()).collect();
        held.sort_by(|a, b| a.shard.cmp(&b.shard));
        held
    }

    fn publish(&self, now: Duration, leases: Vec<Lease>) {
        let me = &self.shared.options.worker;
        let is_placed = |lease: &Lease| {
            lease.has_ended()
                || self.mine.contains_key(&lease.shard)
                || (lease.owner.as_ref().is_some_and(|owner| owner != me) && !self.sightings.is_free(now, lease))
        };
        let has_lease = |shard: &Shard| leases.iter().any(|lease| lease.shard == shard.id);
        let waits = |shard: &Shard| {
            shard.parents.iter().any(|p| leases.iter().any(|lease| lease.shard == *p && !lease.has_ended()))
        };
        let placed = self.listed.is_some()
            && self.asked.is_empty()
            && leases.iter().all(is_placed)
            && self.listing.iter().all(|shard| has_lease(shard) || waits(shard));
        let held = self.held();
        self.shared.standing.send_replace(Standing { held, leases, placed, at: now });
    }

    /// Gives up everything that is finished; called again until all of it is.
    async fn leave(&mut self, unfinished: &HashSet<String>, leases: &[Lease]) -> Result<(), CloudError> {
        let shared = Arc::clone(&self.shared);
        let me = &shared.options.worker;
        let noted = shared.noted().clone();
        let mut changes = Vec::new();
        for (shard, mine) in &self.mine {
            mine.held.fence.revoke();
            let checkpoint = noted.get(shard).and_then(|noted| noted.checkpoint.clone());
            let change = match (mine.held.hand_over, unfinished.contains(shard)) {
                (false, false) => Change::give_up(&mine.lease),
                (false, true) => Change::renew(&mine.lease),
                (true, false) => Change::handed_over(&mine.lease, me),
                (true, true) => continue,
            };
            changes.push(change.at(checkpoint));
        }
        // What was asked for, or just handed over, and not begun: who is asked to finish it does so for whoever comes next.
        let never_begun = leases.iter().filter(|lease| {
            let begun = [self.mine.contains_key(&lease.shard), self.lapsed.contains(&lease.shard)];
            lease.owner.as_ref() == Some(me) && begun == [false; 2] && !unfinished.contains(&lease.shard)
        });
        changes.extend(never_begun.map(|lease| Change { leaving: Worker::Same, ..Change::give_up(lease) }));
        let send = |change: Change| {
            let shared = Arc::clone(&shared);
            async move { (shared.soon(shared.store.update(&change)).await, change.shard) }
        };
        let mut outcome = Ok(true);
        for (reply, shard) in join_all(changes.into_iter().map(send)).await {
            match reply {
                Ok(()) => self.drop_lease(&shard),
                // Somebody took it, or our own reply was lost: the next look tells.
                Err(error) if error.class == Class::Condition => outcome = outcome.map(|_| false),
                Err(error) => outcome = Err(error),
            }
        }
        if !outcome? {
            shared.wake.notify_one();
            return Ok(());
        }
        shared.gone.store(true, Ordering::Release);
        shared.standing.send_replace(Standing::default());
        Ok(())
    }
}
