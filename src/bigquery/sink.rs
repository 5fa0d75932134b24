//! The replica in BigQuery: changes wait in one queue, and a few lanes append them, each over a connection of its own.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::column::{Columns, Keeps};
use super::conflict::Conflict;
use super::lane::Lane;
use super::met::Met;
use super::name::TableId;
use super::row::Change;
use super::service::Service;
use crate::cloud::{Class, CloudError};
use crate::flow::{
    Backoff, Caps, Clock, Counters, Limit, Outcome, Patience, ReadPace, Receipt, Replica, ReplicaRow, RowOrigin,
};
use crate::item::{KeySchema, request};

/// Connections side by side, with one append on its way on each.
const LANES: u64 = 4;
/// Source bytes of one append at most: encoded it may grow, and 10 MB are the limit. The best practices ask for more than
/// 1 MB.
const BATCH_BYTES: usize = 4 << 20;
/// Rows of one append at most, and of one insertAll ("500 rows per request" are advised).
const BATCH_ROWS: usize = 2000;
const INSERT_ROWS: usize = 500;
/// Source bytes that wait and are on their way together.
const MEMORY: usize = 32 << 20;
/// Waits after a refusal.
pub(super) const BASE: Duration = Duration::from_millis(100);
pub(super) const CAP: Duration = Duration::from_secs(10);
/// How long a table that is not found is waited for: one that was just made is not seen everywhere at once.
const GONE: Duration = Duration::from_mins(3);
/// Top-level columns of a table at most: with active CDC ("Limitations"), and of any ("Quotas and limits").
const MOST_COLUMNS: usize = 2000;
const MOST_COLUMNS_OF_LOG: usize = 10_000;

/// A change that waits.
pub(super) struct Pending {
    pub change: Change,
    receipt: Receipt,
    _room: OwnedSemaphorePermit,
}

impl Pending {
    /// It is in the table.
    pub fn done(self) {
        let outcome = if self.change.image.is_some() { Outcome::Written } else { Outcome::Deleted };
        self.settle(outcome);
    }

    pub fn settle(self, outcome: Outcome) {
        self.receipt.settle(outcome);
    }

    /// A letter is a request for the table, as those of put workers are, so that it can be told and sent again by itself.
    pub fn dead(self, table: &TableId, reason: impl Into<String>) {
        let table = table.to_string();
        let payload = match &self.change.image {
            Some(image) => request::encode(&table, image),
            None => request::encode_delete(&table, &self.change.key),
        };
        self.receipt.dead(reason, payload);
    }
}

/// A table of BigQuery as a replica. Dropped, it sends nothing more; what was not acknowledged stays open in its ledger.
pub struct BigQueryReplica {
    inbox: mpsc::Sender<Pending>,
    shared: Arc<Shared>,
    _lanes: JoinSet<()>,
}

impl fmt::Debug for BigQueryReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BigQueryReplica").field("table", self.shared.service.table()).finish_non_exhaustive()
    }
}

pub(super) struct Shared {
    pub service: Service,
    pub channel: Channel,
    pub clock: Arc<dyn Clock>,
    key: KeySchema,
    unknown: Option<String>,
    columns: RwLock<Arc<Columns>>,
    /// One at a time changes the table's columns.
    growing: tokio::sync::Mutex<()>,
    queue: tokio::sync::Mutex<mpsc::Receiver<Pending>>,
    memory: Arc<Semaphore>,
    /// When the source last found no room, ms of the clock and one more; 0 for never.
    full_at: AtomicU64,
    failure: watch::Sender<Option<CloudError>>,
    held: watch::Sender<bool>,
    pace: ReadPace,
    pub patience: Patience,
    pub gone: Patience,
    pub worked: AtomicBool,
    pub effort: Mutex<Counters>,
    notes: Mutex<Vec<(&'static str, String)>>,
    pub seed: u64,
}

impl BigQueryReplica {
    pub(super) fn start(
        service: Service,
        channel: Channel,
        columns: Columns,
        key: KeySchema,
        unknown: Option<String>,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        let (inbox, queue) = mpsc::channel(BATCH_ROWS);
        let shared = Arc::new(Shared {
            service,
            channel,
            pace: ReadPace::new(Arc::clone(&clock), None),
            clock,
            key,
            unknown,
            columns: RwLock::new(Arc::new(columns)),
            growing: tokio::sync::Mutex::default(),
            queue: tokio::sync::Mutex::new(queue),
            memory: Arc::new(Semaphore::new(MEMORY)),
            full_at: AtomicU64::new(0),
            failure: watch::Sender::new(None),
            held: watch::Sender::new(false),
            patience: Patience::default(),
            gone: Patience::new(GONE, GONE),
            worked: AtomicBool::new(false),
            effort: Mutex::default(),
            notes: Mutex::default(),
            seed,
        });
        let mut lanes = JoinSet::new();
        for n in 0..LANES {
            lanes.spawn(Lane::new(Arc::clone(&shared), n).run());
        }
        Self { inbox, shared, _lanes: lanes }
    }

    /// The table's columns as they are known now.
    pub fn columns(&self) -> Arc<Columns> {
        self.shared.columns()
    }
}

impl Replica for BigQueryReplica {
    fn take(&self, row: ReplicaRow, receipt: Receipt) -> BoxFuture<'_, Result<(), CloudError>> {
        async move {
            let change = match row.origin {
                RowOrigin::Scan => {
                    Change { key: row.key, image: row.image, sequence: None, at_ms: None, by_ttl: false }
                }
                RowOrigin::Change { sequence, at_ms, by_ttl, .. } => {
                    Change { key: row.key, image: row.image, sequence: Some(sequence.0), at_ms: Some(at_ms), by_ttl }
                }
            };
            let room = self.shared.room(change.item().len()).await?;
            let pending = Pending { change, receipt, _room: room };
            self.inbox.send(pending).await.map_err(|_| self.shared.error())
        }
        .boxed()
    }

    fn failed(&self) -> BoxFuture<'_, CloudError> {
        async {
            // The sender is the shared state's own, so the channel can't close meanwhile.
            let _ = self.shared.failure.subscribe().wait_for(Option::is_some).await;
            self.shared.error()
        }
        .boxed()
    }

    fn pace(&self, caps: Caps, held: bool) {
        self.shared.pace.set(caps.items_per_second);
        self.shared.held.send_replace(held);
    }

    fn effort(&self) -> Counters {
        *self.shared.effort.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> Limit {
        let full_at = self.shared.full_at.load(Ordering::Relaxed);
        let is_full = full_at > 0 && self.shared.now_ms().saturating_sub(full_at) < 1000;
        match self.shared.pace.per_second() {
            _ if !is_full => Limit::Source,
            Some(per_second) => Limit::RateCap { per_second },
            None => Limit::Service,
        }
    }

    fn take_notes(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut *self.shared.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    pub fn columns(&self) -> Arc<Columns> {
        Arc::clone(&self.columns.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn install(&self, columns: Columns) {
        *self.columns.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(columns);
    }

    fn now_ms(&self) -> u64 {
        self.clock.now().as_millis() as u64 + 1
    }

    fn error(&self) -> CloudError {
        let failure = self.failure.borrow().clone();
        failure.unwrap_or_else(|| CloudError::new(Class::Unknown, "the replica in BigQuery was stopped", ""))
    }

    pub fn fail(&self, error: CloudError) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(error);
            first
        });
        self.memory.close();
    }

    async fn room(&self, size: usize) -> Result<OwnedSemaphorePermit, CloudError> {
        let size = size.clamp(1, MEMORY) as u32;
        if let Ok(room) = Arc::clone(&self.memory).try_acquire_many_owned(size) {
            return Ok(room);
        }
        self.full_at.store(self.now_ms(), Ordering::Relaxed);
        Arc::clone(&self.memory).acquire_many_owned(size).await.map_err(|_| self.error())
    }

    fn note(&self, level: &'static str, words: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push((level, words));
    }

    /// What waits, as much as one request takes; `None` once nothing comes any more.
    pub async fn next(&self) -> Option<Vec<Pending>> {
        let most = if self.columns().keeps() == Keeps::Log { INSERT_ROWS } else { BATCH_ROWS };
        // Under a cap no more than a second's worth goes at once.
        let rows = self.pace.per_second().map_or(most, |rate| most.min(rate.ceil() as usize));
        let mut queue = self.queue.lock().await;
        let first = queue.recv().await?;
        let mut bytes = first.change.item().len();
        let mut batch = vec![first];
        while batch.len() < rows && bytes < BATCH_BYTES {
            let Ok(next) = queue.try_recv() else { break };
            bytes += next.change.item().len();
            batch.push(next);
        }
        Some(batch)
    }

    /// Ends once nothing holds the writing, and `rows` more may go by the operator's cap.
    pub async fn may_go(&self, rows: usize) {
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        self.pace.reserve(rows as f64).await;
    }

    /// Gives the table a column for each attribute of `met` that can have one, unless it has them by now.
    pub async fn grow(&self, met: &Met) -> Result<(), CloudError> {
        let _one = self.growing.lock().await;
        let now = self.columns();
        if now.with(met).0.all().len() == now.all().len() {
            return Ok(());
        }
        let mut backoff = Backoff::new(BASE, CAP, self.seed);
        loop {
            let asked = self.clock.now();
            let error = match self.grow_once(met).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match error.class {
                // Another worker was first: look again.
                Class::Condition => {}
                class if class.is_retryable() && !self.patience.is_over(asked, self.clock.now()) => {}
                _ => return Err(error),
            }
            self.clock.sleep(backoff.wait()).await;
        }
    }

    async fn grow_once(&self, met: &Met) -> Result<(), CloudError> {
        let (there, etag) = self.read_columns().await?;
        let (grown, _) = there.with(met);
        let most = if there.keeps() == Keeps::Log { MOST_COLUMNS_OF_LOG } else { MOST_COLUMNS };
        if grown.all().len() > most {
            self.install(there);
            return Ok(());
        }
        let added = &grown.all()[there.all().len()..];
        if !added.is_empty() {
            match self.service.set_columns(&grown, etag.as_deref()).await {
                Err(error) if error.class != Class::DryRun => return Err(error),
                _ => {}
            }
            for column in added {
                let attribute = column.attribute.as_deref().unwrap_or_default();
                let what = column.shown_type();
                self.note("info", format!("column {} ({what}) added for the attribute {attribute:?}", column.name));
            }
        }
        self.install(grown);
        Ok(())
    }

    async fn read_columns(&self) -> Result<(Columns, Option<String>), CloudError> {
        let table = match self.service.get_table().await? {
            Some(table) => table,
            // A dry run made none.
            None if self.service.is_dry_run() => return Ok((Columns::clone(&self.columns()), None)),
            None => return Err(gone(&self.service)),
        };
        let keeps = self.columns().keeps();
        let columns = Columns::existing(&table, &self.key, self.unknown.as_deref(), keeps)
            .map_err(|conflict| unfit(&self.service, &conflict))?;
        Ok((columns, table["etag"].as_str().map(str::to_owned)))
    }

    /// Reads the table's columns again: somebody changed them.
    pub async fn refresh(&self) -> Result<(), CloudError> {
        let _one = self.growing.lock().await;
        let (columns, _) = self.read_columns().await?;
        if columns.all() != self.columns().all() {
            self.install(columns);
        }
        Ok(())
    }
}

/// The table can't be this replica.
pub(super) fn unfit(service: &Service, conflict: &Conflict) -> CloudError {
    CloudError::new(
        Class::Invalid,
        format!("BigQuery {} can't be this replica: {conflict}", service.table()),
        "name another table, which is made as the replica needs it, or change this one",
    )
}

pub(super) fn gone(service: &Service) -> CloudError {
    CloudError::new(
        Class::NotFound,
        format!("there is no table {} in BigQuery any more", service.table()),
        "it was deleted meanwhile. A new replica into another table begins with a bootstrap; into one of the same name rows \
         may be lost for minutes after it was deleted",
    )
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
