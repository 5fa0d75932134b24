//! One worker's leases, as the consumer sees them; [`keep`] keeps them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::FAILOVER;
use super::change::Change;
use super::fence::Fence;
use super::keeper::keep;
use super::row::{Lease, LeaseCheckpoint};
use crate::cloud::{Class, CloudError};
use crate::flow::clock::Clock;
use crate::flow::stream::{SequenceNumber, StartAt, StreamSource};

/// Where leases are kept: a `DynamoDB` table, or a test's memory.
pub trait LeaseStore: Send + Sync + 'static {
    /// All leases, as the last changes left them.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Lease>, CloudError>>;
    /// Adds a lease; [`Class::Condition`] when its shard has one.
    fn create<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), CloudError>>;
    /// Applies `change`, or fails with [`Class::Condition`].
    fn update<'a>(&'a self, change: &'a Change) -> BoxFuture<'a, Result<(), CloudError>>;
    /// Removes a lease whose checkpoint is as it was seen.
    fn delete<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), CloudError>>;
}

/// How a worker shares a stream.
#[derive(Clone, Debug)]
pub struct LeaseOptions {
    /// The stream.
    pub stream: String,
    /// This worker's name, which nobody else has or had.
    pub worker: String,
    /// Where shards begin that no worker has read.
    pub from: StartAt,
    /// With it, the time that counts for a worker that comes later, ms since the epoch: what comes meanwhile must not be
    /// passed over.
    pub from_ms: Option<i64>,
    /// A lease whose counter did not move for so long may be taken.
    pub failover: Duration,
}

impl LeaseOptions {
    /// `worker` reads its share of the whole of `stream`.
    pub fn new(stream: impl Into<String>, worker: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            worker: worker.into(),
            from: StartAt::TrimHorizon,
            from_ms: None,
            failover: FAILOVER,
        }
    }
}

/// A shard that is this worker's to read.
#[derive(Clone, Debug)]
pub struct Held {
    /// The shard.
    pub shard: String,
    /// Where reading begins.
    pub start: StartAt,
    /// The last record that was settled before, and which within its aggregate: reading begins there, and leaves it out.
    pub settled: Option<(SequenceNumber, u64)>,
    /// First and last hash key that it takes, where its lease says so.
    pub hash_keys: Option<(u128, u128)>,
    /// How long what was read of it may be written.
    pub fence: Fence,
    /// Another worker waits for it: read no more, and finish what was begun.
    pub hand_over: bool,
}

/// How a worker's leases stand.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What is its own.
    pub held: Vec<Held>,
    /// Everybody's, as seen last.
    pub leases: Vec<Lease>,
    /// All shards that are not finished are in the hands of somebody who lives.
    pub placed: bool,
    /// When that was seen, of the clock.
    pub at: Duration,
}

/// One worker's leases. Dropped, it keeps them no more: others may take them after the failover time.
#[derive(Debug)]
pub struct Leases {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

/// What the consumer and the task that keeps its leases have in common.
pub(super) struct Shared {
    pub options: LeaseOptions,
    pub store: Arc<dyn LeaseStore>,
    pub source: Arc<dyn StreamSource>,
    pub clock: Arc<dyn Clock>,
    noted: Mutex<HashMap<String, Noted>>,
    words: Mutex<Vec<String>>,
    pub wake: Notify,
    pub standing: watch::Sender<Standing>,
    pub failure: watch::Sender<Option<CloudError>>,
    /// Shards that were not finished when the worker leaves; the others are given up.
    leaving: Mutex<Option<HashSet<String>>>,
    pub gone: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What the consumer said of a shard since it was written down last.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    pub checkpoint: Option<(LeaseCheckpoint, u64)>,
    /// Everything begun is finished: it can be handed over.
    pub finished: bool,
    pub bytes: u64,
}

impl Leases {
    /// Starts to take and keep leases; needs a tokio runtime.
    pub fn start(
        options: LeaseOptions,
        store: Arc<dyn LeaseStore>,
        source: Arc<dyn StreamSource>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shared = Arc::new(Shared {
            options,
            store,
            source,
            clock,
            noted: Mutex::default(),
            words: Mutex::default(),
            wake: Notify::new(),
            standing: watch::Sender::new(Standing::default()),
            failure: watch::Sender::new(None),
            leaving: Mutex::default(),
            gone: AtomicBool::new(false),
        });
        let mut task = JoinSet::new();
        task.spawn(keep(Arc::clone(&shared)));
        Self { shared, _task: task }
    }

    /// How they stand, and whatever becomes of that.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.standing.subscribe()
    }

    /// Everything up to `sequence`, and `sub` within its aggregate, is written and stored by the host: it goes into the
    /// table with the next renewal, if the lease is ours by then.
    pub fn checkpoint(&self, shard: &str, sequence: &SequenceNumber, sub: u64, bytes: u64) {
        let mut noted = self.shared.noted();
        let noted = noted.entry(shard.to_owned()).or_default();
        noted.checkpoint = Some((LeaseCheckpoint::After(sequence.clone()), sub));
        noted.bytes = bytes;
    }

    /// All of `shard` is written and stored by the host: its children may begin.
    pub fn ended(&self, shard: &str) {
        self.shared.noted().entry(shard.to_owned()).or_default().checkpoint = Some((LeaseCheckpoint::ShardEnd, 0));
        self.shared.wake.notify_one();
    }

    /// What was begun of `shard` is finished, and noted: who asked for it may have it.
    pub fn finished(&self, shard: &str) {
        self.shared.noted().entry(shard.to_owned()).or_default().finished = true;
        self.shared.wake.notify_one();
    }

    /// What happened since the last call, in words.
    pub fn take_words(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.words.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends when the leases can't be kept any more, with the reason.
    pub async fn failed(&self) -> CloudError {
        let mut failure = self.shared.failure.subscribe();
        // The sender is our own, so the channel can't close meanwhile.
        let failed = failure.wait_for(Option::is_some).await;
        failed.ok().and_then(|error| error.clone()).unwrap_or_else(|| lost_contact("the lease table"))
    }

    /// Stores what was noted, and gives up every lease but those of `unfinished` shards: what was begun of those may still
    /// be on its way, so others must wait for the failover time.
    pub async fn leave(&self, unfinished: Vec<String>) {
        let unfinished = unfinished.into_iter().collect();
        *self.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(unfinished);
        self.shared.wake.notify_one();
        let mut standing = self.shared.standing.subscribe();
        // As above; and a table that does not answer must not keep a worker that was told to end.
        tokio::select! {
            _ = standing.wait_for(|_| self.shared.gone.load(Ordering::Acquire)) => {}
            _ = self.failed() => {}
            () = self.shared.clock.sleep(self.shared.options.failover / 2) => {
                self.shared.say("not every lease could be given up in time: others wait for what is left".to_owned());
            }
        }
    }
}

fn lost_contact(what: &str) -> CloudError {
    CloudError::new(Class::Transient, format!("no answer from {what}"), "")
}

impl Shared {
    pub fn noted(&self) -> MutexGuard<'_, HashMap<String, Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn leaving(&self) -> Option<HashSet<String>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn say(&self, words: String) {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }

    /// How often the table is looked at: several renewals fit into the time that a fence holds, and several attempts to
    /// leave into the time that one waits for them.
    pub fn every(&self) -> Duration {
        self.options.failover / if self.leaving().is_some() { 64 } else { 8 }
    }

    /// How long what was read may be written after a renewal that was sent at `sent`: less than others wait, so that what
    /// is on its way arrives before they begin.
    pub fn until(&self, sent: Duration) -> Duration {
        sent + self.options.failover * 4 / 5
    }

    /// Runs `request`, but not for long: the next one may get through.
    pub async fn soon<T>(&self, request: BoxFuture<'_, Result<T, CloudError>>) -> Result<T, CloudError> {
        tokio::select! {
            reply = request => reply,
            () = self.clock.sleep(self.options.failover * 3 / 10) => Err(lost_contact("the lease table")),
        }
    }
}
