//! A lane: takes what waits, makes rows of it, sends them in one request, and does what the answer asks for.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;

use super::append::{Appended, Connection};
use super::column::{Columns, Keeps};
use super::insert::{InsertAll, Inserted};
use super::met::Met;
use super::row::{Refused, Row};
use super::sink::{BASE, CAP, Pending, Shared, gone};
use crate::cloud::{Class, CloudError};
use crate::flow::{Backoff, Outcome};

/// Encoded bytes of one request at most: what is around them fits beside in 10 MB.
const REQUEST_BYTES: usize = 9_500_000;
/// How long one append may take.
pub(super) const APPEND: Duration = Duration::from_mins(1);
/// So often may an append fail in a row while others get through before it is cut in two, to find the row to blame.
const TRIES: u32 = 12;

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

pub(super) struct Lane {
    shared: Arc<Shared>,
    backoff: Backoff,
    /// The connection, and the columns that it was opened with.
    connection: Option<(Connection, Arc<Columns>)>,
    /// Requests in a row that failed.
    failures: u32,
}

impl Lane {
    pub fn new(shared: Arc<Shared>, n: u64) -> Self {
        let backoff = Backoff::new(BASE, CAP, shared.seed.wrapping_add(n));
        Self { shared, backoff, connection: None, failures: 0 }
    }

    /// Works until nothing comes any more, or nothing can be written.
    pub async fn run(mut self) {
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
                row.dead(
                    self.shared.service.table(),
                    format!("a row of {size} bytes: BigQuery takes at most 10 MB in a request"),
                );
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
            Sent::Shown => batch.into_iter().for_each(|row| row.settle(Outcome::Skipped)),
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
                Err(refused) => row.dead(self.shared.service.table(), refused.to_string()),
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
                return Ok(cut_in_two(batch, |row| {
                    row.dead(self.shared.service.table(), format!("BigQuery refused it: {error}"));
                }));
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
        if self.failures.is_multiple_of(TRIES) {
            // Somebody may have taken a column away.
            if let Err(error) = self.shared.refresh().await
                && !error.class.is_retryable()
            {
                return Err(error);
            }
            let others_get_through = self.shared.patience.failed().got_through > before;
            if others_get_through && error.class == Class::Transient {
                return Ok(cut_in_two(batch, |row| {
                    row.dead(
                        self.shared.service.table(),
                        format!("it failed {TRIES} times while others got through: {error}"),
                    );
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
                row.dead(self.service.table(), format!("BigQuery refused the row: {}", bad.swap_remove(found).1));
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
