//! A table that changes come into from another table, and go out of to it: what is there is read, the rule decides, and
//! whoever loses is given the other's version.
//!
//! ```text
//!  change ─> lane of its key ─> read the target ─┬─ the same: done, it was an echo
//!                                    ▲           ├─ it wins: written, if nothing of a larger rank came meanwhile ─┐
//!                                    │           └─ it loses: what is there is written where it came from         │
//!                                    └──────────────── something came: once more ────────────────────────────────┘
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::rule::{Asks, Rank, Rule};
use super::table::TableReplica;
use crate::cloud::{Class, Cloud, CloudError};
use crate::flow::{
    Backoff, Caps, Clock, Counters, Limit, Outcome, Receipt, Replica, ReplicaRow, Settle, Ticket, Writer,
};
use crate::item::{Checked, request};
use crate::jobs::verify::attribute;

/// Keys that are decided on at the same time.
const LANES: usize = 32;
/// Rows that wait for each.
const QUEUE: usize = 256;
/// Waits after an error that may pass.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// So often may reading an item fail in a row for another reason than want of capacity.
const TRIES: u32 = 60;
/// So often is a change decided on anew because something else came in between.
const ROUNDS: u32 = 1_000;

/// One direction of two.
pub(super) struct TwoWays {
    shared: Arc<Shared>,
    lanes: Vec<mpsc::Sender<(ReplicaRow, Checked, Receipt)>>,
    _tasks: JoinSet<()>,
}

struct Shared {
    rule: Rule,
    /// The same for what is given back.
    reverse: Rule,
    /// Where the target is.
    cloud: Cloud,
    target: Arc<TableReplica>,
    source: Arc<TableReplica>,
    clock: Arc<dyn Clock>,
    read: Mutex<Counters>,
    failure: watch::Sender<Option<CloudError>>,
}

/// Hears what became of one write.
struct Answer(Mutex<Option<oneshot::Sender<Outcome>>>);

impl Settle for Answer {
    fn settle(&self, _: Ticket, outcome: Outcome) {
        let waits = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Whoever waited may be gone: then the row is read again.
        let _ = waits.map(|waits| waits.send(outcome));
    }
}

fn answer() -> (Receipt, oneshot::Receiver<Outcome>) {
    let (tell, hear) = oneshot::channel();
    (Receipt::new(Arc::new(Answer(Mutex::new(Some(tell)))), Ticket(0)), hear)
}

impl fmt::Debug for TwoWays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoWays").field("rule", &self.shared.rule).finish_non_exhaustive()
    }
}

impl TwoWays {
    /// Starts to take rows for `target`, whose clients are `cloud`'s, from `source`; needs a tokio runtime.
    pub fn start(
        rule: Rule,
        cloud: &Cloud,
        target: Arc<TableReplica>,
        source: Arc<TableReplica>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let reverse = rule.reversed(target.name());
        let shared = Arc::new(Shared {
            rule,
            reverse,
            cloud: cloud.clone(),
            target,
            source,
            clock: Arc::clone(clock),
            read: Mutex::default(),
            failure: watch::Sender::new(None),
        });
        let mut tasks = JoinSet::new();
        let lanes = (0..LANES).map(|_| {
            let (give, mut rows) = mpsc::channel::<(ReplicaRow, Checked, Receipt)>(QUEUE);
            let shared = Arc::clone(&shared);
            tasks.spawn(async move {
                while let Some((row, item, receipt)) = rows.recv().await {
                    match shared.decide(&row, &item).await {
                        Ok(outcome) => receipt.settle(outcome),
                        Err(error) => {
                            shared.failure.send_replace(Some(error));
                            return;
                        }
                    }
                }
            });
            give
        });
        let lanes = lanes.collect();
        Self { shared, lanes, _tasks: tasks }
    }

    async fn give(&self, row: ReplicaRow, receipt: Receipt) -> Result<(), CloudError> {
        let json = row.image.as_ref().unwrap_or(&row.key);
        match self.shared.target.checker().check(json.clone()) {
            Ok(item) => {
                let lane = (item.key.hash % LANES as u128) as usize;
                let ending = || CloudError::new(Class::Transient, "the job is ending", "");
                let failed = || self.shared.failure.borrow().clone().unwrap_or_else(ending);
                self.lanes[lane].send((row, item, receipt)).await.map_err(|_| failed())
            }
            Err(refusal) => {
                receipt.dead(refusal.to_string(), self.shared.letter(&row));
                Ok(())
            }
        }
    }
}

impl Shared {
    /// The put request or delete that `row` comes to.
    fn letter(&self, row: &ReplicaRow) -> Bytes {
        match &row.image {
            Some(image) => request::encode(self.target.name(), image),
            None => request::encode_delete(self.target.name(), &row.key),
        }
    }

    async fn decide(&self, row: &ReplicaRow, item: &Checked) -> Result<Outcome, CloudError> {
        let dead = |reason: String| Outcome::Dead { reason, payload: self.letter(row) };
        let asks = match self.rule.ask(row, item) {
            Ok(asks) => asks,
            Err(reason) => return Ok(dead(reason)),
        };
        match asks {
            Asks::Stamp(request) => {
                let wcu = f64::from(item.wcu());
                let (receipt, heard) = answer();
                self.source.writer_of().update(item.key.clone(), request, wcu, receipt).await?;
                self.heard(heard).await
            }
            Asks::Nothing => Ok(Outcome::Skipped),
            Asks::Stay(rank) => self.stay(row, item, &rank).await,
            Asks::Go { rank, unranked_too } => self.go(item, &rank, unranked_too).await,
        }
    }

    /// Lets a version stay, or gives its side what beat it.
    async fn stay(&self, row: &ReplicaRow, item: &Checked, rank: &Rank) -> Result<Outcome, CloudError> {
        let image = row.image.as_ref().unwrap_or(&item.json);
        for _ in 0..ROUNDS {
            if let Some(deleted) = self.rule.deleted(item.key.hash, rank) {
                // It comes too late for a delete: it goes where it came from as well.
                let request = self.rule.delete(self.source.name(), item, &deleted, *rank == Rank::None);
                let (receipt, heard) = answer();
                self.source.writer_of().delete_if(item.key.clone(), request, receipt).await?;
                self.heard(heard).await?;
                return Ok(Outcome::Skipped);
            }
            if let Some(there) = self.there(item).await? {
                if there.digest == item.digest {
                    return Ok(Outcome::Skipped);
                }
                match self.rule.rank(&there.json) {
                    Ok(other) if !self.rule.wins(rank, &other) => return self.give_back(there, &other).await,
                    Ok(_) => {}
                    Err(reason) => {
                        let reason = format!("what is in {} can't be ranked: {reason}", self.target.name());
                        return Ok(Outcome::Dead { reason, payload: self.letter(row) });
                    }
                }
            }
            let request = self.rule.put(self.target.name(), image, item, rank);
            let (receipt, heard) = answer();
            self.target.writer_of().request(item.clone(), request, receipt).await?;
            match self.heard(heard).await? {
                // Something of a larger rank came meanwhile.
                Outcome::Skipped => {}
                outcome => return Ok(outcome),
            }
        }
        Ok(Outcome::Dead { reason: self.restless(), payload: self.letter(row) })
    }

    fn restless(&self) -> String {
        format!("{ROUNDS} times something else came into {} between reading it and writing it", self.target.name())
    }

    /// Lets an item go, or gives its side what is newer.
    async fn go(&self, item: &Checked, rank: &Rank, unranked_too: bool) -> Result<Outcome, CloudError> {
        for _ in 0..ROUNDS {
            let Some(there) = self.there(item).await? else { return Ok(Outcome::Skipped) };
            let other = match self.rule.rank(&there.json) {
                Ok(other) => other,
                Err(reason) => {
                    let payload = request::encode_delete(self.target.name(), &item.key.json);
                    return Ok(Outcome::Dead { reason, payload });
                }
            };
            if other == Rank::None && *rank != Rank::None && !unranked_too {
                // It was written since, and is given its time when its own change is read.
                return Ok(Outcome::Skipped);
            }
            if other > *rank {
                return self.give_back(there, &other).await;
            }
            let request = self.rule.delete(self.target.name(), item, rank, unranked_too);
            let (receipt, heard) = answer();
            self.target.writer_of().delete_if(item.key.clone(), request, receipt).await?;
            match self.heard(heard).await? {
                Outcome::Skipped => {}
                outcome => return Ok(outcome),
            }
        }
        let payload = request::encode_delete(self.target.name(), &item.key.json);
        Ok(Outcome::Dead { reason: self.restless(), payload })
    }

    /// Writes what is in the target where the change came from, if nothing of a larger rank is there.
    async fn give_back(&self, there: Checked, rank: &Rank) -> Result<Outcome, CloudError> {
        let request = self.reverse.put(self.source.name(), &there.json, &there, rank);
        let (receipt, heard) = answer();
        self.source.writer_of().request(there, request, receipt).await?;
        match self.heard(heard).await? {
            dead @ Outcome::Dead { .. } => Ok(dead),
            _ => Ok(Outcome::Skipped),
        }
    }

    /// What became of a write; an error where its writer failed.
    async fn heard(&self, heard: oneshot::Receiver<Outcome>) -> Result<Outcome, CloudError> {
        tokio::select! {
            outcome = heard => outcome.map_err(|_| CloudError::new(Class::Transient, "the job is ending", "")),
            error = self.target.failed() => Err(error),
            error = self.source.failed() => Err(error),
        }
    }

    /// The item of `item`'s key that is in the target.
    async fn there(&self, item: &Checked) -> Result<Option<Checked>, CloudError> {
        let key = attribute::attributes(&item.key.json);
        let mut backoff = Backoff::new(WAITS.0, WAITS.1, item.key.hash as u64);
        loop {
            let asked = self
                .cloud
                .bulk
                .dynamodb
                .get_item()
                .table_name(self.target.name())
                .set_key(key.clone())
                .consistent_read(true)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            match asked {
                Ok(reply) => {
                    let rcu = reply.consumed_capacity().and_then(ConsumedCapacity::capacity_units).unwrap_or_default();
                    self.read.lock().unwrap_or_else(PoisonError::into_inner).rcu += rcu;
                    let Some(found) = reply.item else { return Ok(None) };
                    let json = Bytes::from(attribute::item_json(&found).to_string());
                    let checked = self.target.checker().check(json);
                    return checked.map(Some).map_err(|refusal| {
                        CloudError::new(Class::Invalid, format!("an item of {}: {refusal}", self.target.name()), "")
                    });
                }
                Err(error) => {
                    let error = CloudError::of(&format!("read an item of table {}", self.target.name()), &error);
                    if !error.class.is_retryable() || (error.class != Class::Throttled && backoff.tries() >= TRIES) {
                        return Err(error);
                    }
                }
            }
            self.clock.sleep(backoff.wait()).await;
        }
    }
}

impl Replica for TwoWays {
    fn take(&self, row: ReplicaRow, receipt: Receipt) -> BoxFuture<'_, Result<(), CloudError>> {
        self.give(row, receipt).boxed()
    }

    fn failed(&self) -> BoxFuture<'_, CloudError> {
        async move {
            let mut failure = self.shared.failure.subscribe();
            let failed = async {
                match failure.wait_for(Option::is_some).await {
                    Ok(error) => error.clone(),
                    Err(_) => None,
                }
            };
            tokio::select! {
                Some(error) = failed => error,
                error = self.shared.target.failed() => error,
            }
        }
        .boxed()
    }

    fn pace(&self, caps: Caps, held: bool) {
        self.shared.target.pace(caps, held);
    }

    fn effort(&self) -> Counters {
        self.shared.target.effort() + *self.shared.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> Limit {
        self.shared.target.limit()
    }

    fn writer(&self) -> Option<&Writer> {
        self.shared.target.writer()
    }
}
