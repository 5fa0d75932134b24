//! The replica in BigQuery: changes wait in one queue, and a few lanes append them, each over a connection of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value as Json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::append::{Appended, Connection};
use super::column::{Columns, Conflict, Keeps, Met};
use super::insert::{InsertAll, Inserted};
use super::row::{Change, Refused, Row};
use super::service::Service;
use crate::cloud::{Class, CloudError};
use crate::flow::{
    Backoff, Caps, Clock, Counters, Limit, Outcome, Patience, ReadPace, Receipt, Replica, ReplicaRow, RowOrigin,
};
use crate::item::KeySchema;

/// Connections side by side, with one append on its way on each.
const LANES: u64 = 4;
/// Source bytes of one append at most: encoded it may grow, and 10 MB are the limit. The best practices ask for more than
/// 1 MB.
const BATCH_BYTES: usize = 4 << 20;
/// Rows of one append at most, and of one insertAll ("500 rows per request" are advised).
const BATCH_ROWS: usize = 2000;
const INSERT_ROWS: usize = 500;
/// Encoded bytes of one request at most: what is around them fits beside in 10 MB.
const REQUEST_BYTES: usize = 9_500_000;
/// Source bytes that wait and are on their way together.
const MEMORY: usize = 32 << 20;
/// How long one append may take.
const APPEND: Duration = Duration::from_secs(60);
/// Waits after a refusal.
const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(10);
/// How long a table that is not found is waited for: one that was just made is not seen everywhere at once.
const GONE: Duration = Duration::from_mins(3);
/// So often may an append fail in a row while others get through before it is cut in two, to find the row to blame.
const TRIES: u32 = 12;
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
    fn done(self) {
        let outcome = if self.change.image.is_some() { Outcome::Written } else { Outcome::Deleted };
        self.receipt.settle(outcome);
    }

    fn dead(self, reason: impl Into<String>) {
        // A letter waits to be stored: it must not keep a whole page of the stream in memory.
        let payload = Bytes::copy_from_slice(self.change.item());
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

struct Shared {
    service: Service,
    channel: Channel,
    clock: Arc<dyn Clock>,
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
    patience: Patience,
    gone: Patience,
    worked: AtomicBool,
    effort: Mutex<Counters>,
    notes: Mutex<Vec<(&'static str, String)>>,
    seed: u64,
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
    fn columns(&self) -> Arc<Columns> {
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

    fn fail(&self, error: CloudError) {
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
    async fn next(&self) -> Option<Vec<Pending>> {
        let rows = if self.columns().keeps() == Keeps::Log { INSERT_ROWS } else { BATCH_ROWS };
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
    async fn may_go(&self, rows: usize) {
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        self.pace.reserve(rows as f64).await;
    }

    /// Gives the table a column for each attribute of `met` that can have one, unless it has them by now.
    async fn grow(&self, met: &Met) -> Result<(), CloudError> {
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
            None if self.is_dry_run() => return Ok((Columns::clone(&self.columns()), None)),
            None => return Err(gone(&self.service)),
        };
        let keeps = self.columns().keeps();
        let columns = Columns::existing(&table, &self.key, self.unknown.as_deref(), keeps)
            .map_err(|conflict| unfit(&self.service, &conflict))?;
        Ok((columns, table["etag"].as_str().map(str::to_owned)))
    }

    /// Reads the table's columns again: somebody changed them.
    async fn refresh(&self) -> Result<(), CloudError> {
        let _one = self.growing.lock().await;
        let (columns, _) = self.read_columns().await?;
        if columns.all() != self.columns().all() {
            self.install(columns);
        }
        Ok(())
    }

    fn is_dry_run(&self) -> bool {
        self.service.may("InsertTable", "", &String::new).is_err_and(|error| error.class == Class::DryRun)
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

fn gone(service: &Service) -> CloudError {
    CloudError::new(
        Class::NotFound,
        format!("there is no table {} in BigQuery any more", service.table()),
        "it was deleted meanwhile. A new replica into another table begins with a bootstrap; into one of the same name rows \
         may be lost for minutes after it was deleted",
    )
}

/// A row as it goes into a request.
enum Encoded {
    Proto(Bytes),
    Json(Json),
}

impl Encoded {
    fn len(&self) -> usize {
        match self {
            Self::Proto(bytes) => bytes.len() + 8,
            Self::Json(json) => json.to_string().len() + 200,
        }
    }
}

/// What a request came to.
enum Sent {
    /// All rows are in the table.
    All,
    /// Dry run: shown.
    Shown,
    /// By their place: these can never be in it, and these are to be sent again; the others are in it.
    Some { bad: Vec<(usize, String)>, again: Vec<usize> },
    /// BigQuery does not see all columns yet.
    Early(String),
    /// None is in it.
    Failed(CloudError),
}

struct Lane {
    shared: Arc<Shared>,
    backoff: Backoff,
    /// The connection, and the columns that it was opened with.
    connection: Option<(Connection, Arc<Columns>)>,
    /// Requests in a row that failed.
    failures: u32,
}

impl Lane {
    fn new(shared: Arc<Shared>, n: u64) -> Self {
        let backoff = Backoff::new(BASE, CAP, shared.seed.wrapping_add(n));
        Self { shared, backoff, connection: None, failures: 0 }
    }

    async fn run(mut self) {
        while let Some(batch) = self.shared.next().await {
            let mut batches = VecDeque::from([batch]);
            while let Some(batch) = batches.pop_front() {
                match self.round(batch).await {
                    Ok(again) => again.into_iter().rev().for_each(|batch| batches.push_front(batch)),
                    Err(error) => return self.shared.fail(error),
                }
            }
        }
    }

    /// Sends `batch` once; what is to be sent again, in batches.
    async fn round(&mut self, batch: Vec<Pending>) -> Result<Vec<Vec<Pending>>, CloudError> {
        let (batch, rows, columns) = self.encode(batch).await?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let size: usize = rows.iter().map(Encoded::len).sum();
        if size > REQUEST_BYTES {
            return Ok(cut_in_two(batch, |row| {
                row.dead(format!("a row of {size} bytes: BigQuery takes at most 10 MB in a request"));
            }));
        }
        self.shared.may_go(batch.len()).await;
        let asked = self.shared.clock.now();
        let sent = self.send(&batch, rows, &columns).await;
        if !matches!(sent, Sent::Failed(_) | Sent::Early(_)) {
            self.failures = 0;
            self.backoff.reset();
            self.shared.patience.worked();
            self.shared.gone.answered();
            self.shared.worked.store(true, Ordering::Relaxed);
        }
        match sent {
            Sent::All => batch.into_iter().for_each(Pending::done),
            Sent::Shown => batch.into_iter().for_each(|row| row.receipt.settle(Outcome::Skipped)),
            Sent::Some { bad, again } => return Ok(self.shared.sort(batch, bad, &again)),
            Sent::Early(why) => {
                tracing::info!(table = %self.shared.service.table(), "BigQuery does not see all columns yet: {why}");
                return self.later(asked, batch, CloudError::new(Class::Transient, why, "")).await;
            }
            Sent::Failed(error) => return self.failed(asked, batch, error).await,
        }
        Ok(Vec::new())
    }

    /// `batch` as rows under the table's columns, which grow where attributes have none. What can't be a row is a dead
    /// letter.
    async fn encode(&self, mut batch: Vec<Pending>) -> Result<(Vec<Pending>, Vec<Encoded>, Arc<Columns>), CloudError> {
        let mut columns = self.shared.columns();
        let mut met = Met::default();
        for row in &batch {
            // Refused rows are told below.
            let _ = Row::of(&row.change, &columns, &mut met);
        }
        if !met.is_empty() {
            self.shared.grow(&met).await?;
            columns = self.shared.columns();
        }
        let mut rows = Vec::with_capacity(batch.len());
        let mut kept = Vec::with_capacity(batch.len());
        for row in batch.drain(..) {
            let mut homeless = Met::default();
            let encoded = Row::of(&row.change, &columns, &mut homeless).and_then(|encoded| match homeless.first() {
                None => Ok(match columns.keeps() {
                    Keeps::Rows => Encoded::Proto(encoded.to_proto(&columns)),
                    Keeps::Log => Encoded::Json(encoded.to_json(&columns)),
                }),
                Some(attribute) => Err(Refused::NoRoom(attribute.to_owned())),
            });
            match encoded {
                Ok(encoded) => {
                    rows.push(encoded);
                    kept.push(row);
                }
                Err(refused) => row.dead(refused.to_string()),
            }
        }
        Ok((kept, rows, columns))
    }

    async fn send(&mut self, batch: &[Pending], rows: Vec<Encoded>, columns: &Arc<Columns>) -> Sent {
        let shared = Arc::clone(&self.shared);
        let request = async {
            match columns.keeps() {
                Keeps::Log => {
                    let rows =
                        rows.into_iter().filter_map(|row| if let Encoded::Json(row) = row { Some(row) } else { None });
                    let request = InsertAll::of(batch.iter().map(|row| &row.change).zip(rows));
                    match request.send(&shared.service).await {
                        Ok(Inserted { bad, again, .. }) if bad.is_empty() && again.is_empty() => Sent::All,
                        Ok(Inserted { early: Some(why), again, bad })
                            if bad.is_empty() && again.len() == batch.len() =>
                        {
                            Sent::Early(why)
                        }
                        Ok(Inserted { bad, again, .. }) => Sent::Some { bad, again },
                        Err(error) => Sent::Failed(error),
                    }
                }
                Keeps::Rows => {
                    let rows =
                        rows.into_iter().filter_map(|row| if let Encoded::Proto(row) = row { Some(row) } else { None });
                    self.append(batch, rows.collect(), columns).await
                }
            }
        };
        let late = async {
            shared.clock.sleep(APPEND).await;
            let what = format!("BigQuery {} did not answer within {} s", shared.service.table(), APPEND.as_secs());
            Sent::Failed(CloudError::new(Class::Transient, what, ""))
        };
        let sent = tokio::select! {
            sent = request => sent,
            sent = late => sent,
        };
        match sent {
            Sent::Failed(error) if error.class == Class::DryRun => Sent::Shown,
            sent => sent,
        }
    }

    async fn append(&mut self, batch: &[Pending], rows: Vec<Bytes>, columns: &Arc<Columns>) -> Sent {
        let service = &self.shared.service;
        let shown = || {
            let rows = batch
                .iter()
                .filter_map(|row| Some(Row::of(&row.change, columns, &mut Met::default()).ok()?.to_json(columns)));
            serde_json::json!({"writeStream": service.table().default_stream(), "rows": rows.collect::<Vec<_>>()})
                .to_string()
        };
        if let Err(refused) = service.may("AppendRows", &service.table().default_stream(), &shown) {
            return Sent::Failed(refused);
        }
        let open = self.connection.take().filter(|(_, opened_with)| Arc::ptr_eq(opened_with, columns));
        let was_open = open.is_some();
        let (connection, appended) = match open {
            Some((mut connection, _)) => {
                let appended = connection.append(rows).await;
                (Some(connection), appended)
            }
            None => match Connection::open(service, &self.shared.channel, columns, rows).await {
                Ok((connection, appended)) => (Some(connection), appended),
                Err(appended) => (None, appended),
            },
        };
        let (keep, sent) = match appended {
            Appended::Taken { schema_changed } => {
                if schema_changed && let Err(error) = self.shared.refresh().await {
                    tracing::warn!(table = %service.table(), "{error}");
                }
                (true, Sent::All)
            }
            Appended::BadRows(bad) if bad.iter().any(|(at, _)| *at < batch.len()) => {
                let again = (0..batch.len()).filter(|at| !bad.iter().any(|(other, _)| other == at)).collect();
                (true, Sent::Some { bad, again })
            }
            Appended::BadRows(bad) => {
                let what = format!(
                    "could not append rows to BigQuery {}: errors of rows that were not sent: {bad:?}",
                    service.table()
                );
                (false, Sent::Failed(CloudError::new(Class::Transient, what, "")))
            }
            Appended::ExtraFields(why) => (false, Sent::Early(why)),
            // A connection that was open for long may have outlived its token.
            Appended::Failed(error) if error.class == Class::Auth && was_open => {
                (false, Sent::Failed(CloudError { class: Class::Transient, ..error }))
            }
            Appended::Failed(error) => (false, Sent::Failed(error)),
        };
        if keep {
            self.connection = connection.map(|connection| (connection, Arc::clone(columns)));
        }
        sent
    }

    async fn failed(
        &mut self,
        asked: Duration,
        batch: Vec<Pending>,
        error: CloudError,
    ) -> Result<Vec<Vec<Pending>>, CloudError> {
        match error.class {
            Class::Throttled | Class::Transient | Class::Unknown => {}
            Class::NotFound if !self.shared.gone.is_over(asked, self.shared.clock.now()) => {}
            Class::NotFound => return Err(gone(&self.shared.service)),
            // What no row has ever passed is no fault of this row's; nor is a table that was changed.
            Class::Invalid if self.shared.worked.load(Ordering::Relaxed) => {
                self.shared.refresh().await?;
                return Ok(cut_in_two(batch, |row| row.dead(format!("BigQuery refused it: {error}"))));
            }
            _ => return Err(error),
        }
        self.later(asked, batch, error).await
    }

    /// Waits a moment, and gives `batch` to be sent again.
    async fn later(
        &mut self,
        asked: Duration,
        batch: Vec<Pending>,
        error: CloudError,
    ) -> Result<Vec<Vec<Pending>>, CloudError> {
        self.failures += 1;
        {
            let mut effort = self.shared.effort.lock().unwrap_or_else(PoisonError::into_inner);
            effort.retried += batch.len() as u64;
            effort.throttled += if error.class == Class::Throttled { batch.len() as u64 } else { 0 };
        }
        let before = self.shared.patience.failed().got_through;
        if error.class == Class::Throttled {
            self.shared.patience.answered();
        } else if error.class != Class::NotFound && self.shared.patience.is_over(asked, self.shared.clock.now()) {
            return Err(error);
        }
        if self.failures == 1 {
            tracing::warn!(table = %self.shared.service.table(), "{error}: it is tried again");
        }
        self.shared.clock.sleep(self.backoff.wait()).await;
        if self.failures % TRIES == 0 {
            // Somebody may have taken a column away.
            if let Err(error) = self.shared.refresh().await
                && !error.class.is_retryable()
            {
                return Err(error);
            }
            let others_get_through = self.shared.patience.failed().got_through > before;
            if others_get_through && error.class == Class::Transient {
                return Ok(cut_in_two(batch, |row| {
                    row.dead(format!("it failed {TRIES} times while others got through: {error}"))
                }));
            }
        }
        Ok(vec![batch])
    }
}

impl Shared {
    /// Settles what of `batch` is in the table or never can be; what is to be sent again.
    fn sort(&self, batch: Vec<Pending>, mut bad: Vec<(usize, String)>, again: &[usize]) -> Vec<Vec<Pending>> {
        let mut later = Vec::new();
        for (at, row) in batch.into_iter().enumerate() {
            if let Some(found) = bad.iter().position(|(other, _)| *other == at) {
                row.dead(format!("BigQuery refused the row: {}", bad.swap_remove(found).1));
            } else if again.contains(&at) {
                later.push(row);
            } else {
                row.done();
            }
        }
        self.effort.lock().unwrap_or_else(PoisonError::into_inner).retried += later.len() as u64;
        if later.is_empty() { Vec::new() } else { vec![later] }
    }
}

/// `batch` in two halves; what is alone is given to `alone`.
fn cut_in_two(mut batch: Vec<Pending>, alone: impl FnOnce(Pending)) -> Vec<Vec<Pending>> {
    if batch.len() <= 1 {
        batch.pop().map(alone);
        return Vec::new();
    }
    let second = batch.split_off(batch.len() / 2);
    vec![batch, second]
}
