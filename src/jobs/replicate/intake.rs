//! Each change of a stream on its way into the replica: told apart by kind, shaped, and handed on behind the bootstrap's
//! fence.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::fence::Fence;
use crate::cloud::{Class, CloudError};
use crate::flow::{
    Arrival, ChangeKind, Effect, Intake, Ledger, Outcome, Receipt, RecordAt, Replica, ReplicaRow, RowOrigin,
    TableChange,
};
use crate::item::{Checker, KeySchema, Shape, Shaped, request};
use crate::jobs::journal::ChangeCounts;

/// Counts by kind, shared by all who hand rows on.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<ChangeCounts>);

impl Counts {
    /// Changes the counts.
    pub fn add(&self, add: impl FnOnce(&mut ChangeCounts)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The counts now.
    pub fn now(&self) -> ChangeCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every row of a direction passes.
pub(super) struct Gate {
    /// Where rows go.
    pub replica: Arc<dyn Replica>,
    /// Which items are taken, and as what.
    pub shape: Shape,
    /// The replica's key, for a canonical spelling.
    pub checker: Checker,
    /// The replica's name, for dead letters: they are put requests for it.
    pub target: String,
    /// Holds items of the bootstrap back.
    pub fence: Fence,
    /// What passed.
    pub counts: Arc<Counts>,
}

impl Gate {
    /// A gate in front of `replica`, whose key is `key`.
    pub fn new(replica: Arc<dyn Replica>, shape: Shape, key: KeySchema, target: &str, fence: Fence) -> Self {
        Self { replica, shape, checker: Checker::new(key), target: target.to_owned(), fence, counts: Arc::default() }
    }

    /// A row that can't be: its dead letter is the put request that it comes to.
    pub fn refuse(&self, image: &Bytes, reason: impl Into<String>, receipt: Receipt) {
        receipt.dead(reason, request::encode(&self.target, image));
    }

    /// Hands a changed row on, in its key's turn while the bootstrap is on.
    async fn hand_on(&self, row: ReplicaRow, receipt: Receipt) -> Result<(), CloudError> {
        if !self.fence.stands() {
            return self.replica.take(row, receipt).await;
        }
        let Ok(key) = self.checker.check(row.key.clone()).map(|checked| checked.key.hash) else {
            // The replica says what is wrong with it.
            return self.replica.take(row, receipt).await;
        };
        // Before the turn: it may wait for the scan, which needs turns.
        self.fence.note(key).await;
        let _turn = self.fence.turn(key).await;
        self.replica.take(row, receipt).await
    }
}

/// Takes the records of a stream of changes.
pub(super) struct ChangeIntake {
    gate: Arc<Gate>,
    /// Changes from before are passed over, ms since the epoch: the bootstrap's scan has them.
    since_ms: i64,
    /// Items that expired stay in the replica.
    keeps_expired: bool,
    /// The newest change that was read, ms since the epoch.
    newest_ms: AtomicI64,
    /// Changes that were passed over.
    passed: AtomicU64,
}

impl ChangeIntake {
    /// An intake behind `gate`.
    pub fn new(gate: Arc<Gate>, since_ms: i64, keeps_expired: bool) -> Self {
        Self { gate, since_ms, keeps_expired, newest_ms: AtomicI64::new(0), passed: AtomicU64::new(0) }
    }

    async fn run(&self, ledger: &Arc<Ledger<RecordAt>>, arrival: Arrival) -> Result<(), CloudError> {
        let Arrival { at, data, .. } = arrival;
        let ending = || CloudError::new(Class::Transient, "the job is ending", "");
        let change = match TableChange::read(&data) {
            Ok(change) => change,
            Err(refusal) => {
                let receipt = ledger.open(at).await.map_err(|_| ending())?;
                receipt.dead(refusal.to_string(), data);
                return Ok(());
            }
        };
        let at = RecordAt { time_us: Some(change.at_ms * 1_000), ..at };
        let receipt = ledger.open(at).await.map_err(|_| ending())?;
        self.newest_ms.fetch_max(change.at_ms, Ordering::Relaxed);
        if change.at_ms < self.since_ms {
            self.passed.fetch_add(1, Ordering::Relaxed);
            receipt.settle(Outcome::Passed);
            return Ok(());
        }
        let gate = &self.gate;
        gate.counts.add(|counts| match change.kind {
            ChangeKind::Inserted => counts.inserted += 1,
            ChangeKind::Modified => counts.modified += 1,
            ChangeKind::Removed => {
                counts.removed += 1;
                counts.expired += u64::from(change.by_ttl);
            }
        });
        if change.by_ttl && self.keeps_expired {
            receipt.settle(Outcome::Skipped);
            return Ok(());
        }
        let key = match gate.shape.key(change.keys.clone()) {
            Ok(key) => key,
            Err(refusal) => {
                receipt.dead(refusal.to_string(), data);
                return Ok(());
            }
        };
        let image = match change.effect {
            Effect::Delete => None,
            Effect::Put(image) => match gate.shape.apply(image.clone()) {
                Ok(Shaped::Item(image)) => Some(image),
                // What no longer passes the filter goes, as it came in while it did.
                Ok(Shaped::Skipped) => {
                    gate.counts.add(|counts| counts.filtered += 1);
                    None
                }
                Err(refusal) => {
                    gate.refuse(&image, refusal.to_string(), receipt);
                    return Ok(());
                }
            },
            Effect::NoImage(why) => {
                receipt.dead(why, data);
                return Ok(());
            }
        };
        let origin = RowOrigin::Change {
            kind: change.kind,
            sequence: change.sequence,
            at_ms: change.at_ms,
            by_ttl: change.by_ttl,
            old: change.old,
        };
        gate.hand_on(ReplicaRow { key, image, origin }, receipt).await
    }
}

impl Intake for ChangeIntake {
    fn take<'a>(
        &'a self,
        ledger: &'a Arc<Ledger<RecordAt>>,
        arrival: Arrival,
    ) -> BoxFuture<'a, Result<(), CloudError>> {
        self.run(ledger, arrival).boxed()
    }
}
