//! A table read whole, in segments side by side: pages of items as the service wrote them, held to a budget, throttles
//! waited for.
//!
//! The reply's body is taken before the SDK would turn it into maps: an item's bytes are the service's own, so that a
//! number keeps every digit it has.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::clock::Clock;
use super::counters::Counters;
use super::patience::Patience;
use super::read_pace::ReadPace;
use super::table::{AwsTable, splice};
use crate::cloud::{Class, CloudError};

/// How long the body of a reply may take, once its head is there.
const BODY: Duration = Duration::from_secs(30);

/// What a page of 1 MiB takes, RCU: 1 for each 4 KiB when consistent, else half ("Read and write operations" of the
/// `DynamoDB` developer guide).
const LARGEST_PAGE: f64 = 256.0;

/// A page under a cap is cut so that it takes no more than what the cap allows in this time, s.
const PAGE_SECONDS: f64 = 1.0;

/// Where pages come from: a table behind the SDK, or a test's fake with faults.
pub trait TableScan: Send + Sync + 'static {
    /// Sends a whole `Scan` body, and returns the reply's.
    fn scan(&self, body: Bytes) -> BoxFuture<'_, Result<Bytes, CloudError>>;
}

/// Takes the body of a reply that is a success, and leaves an empty object for the SDK to read.
#[derive(Clone, Debug, Default)]
pub(super) struct TakeBody(Arc<Mutex<Option<SdkBody>>>);

impl TakeBody {
    /// The body that was taken; `action` is what was done for it, in words.
    pub(super) async fn bytes(&self, action: &(dyn Fn() -> String + Sync)) -> Result<Bytes, CloudError> {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let broken = |why: String| {
            CloudError::new(Class::Transient, format!("could not {}: {why}", action()), "try again in a moment")
        };
        let body = body.ok_or_else(|| broken("the reply has no body".to_owned()))?;
        match tokio::time::timeout(BODY, ByteStream::new(body).collect()).await {
            Ok(Ok(bytes)) => Ok(bytes.into_bytes()),
            Ok(Err(error)) => Err(broken(format!("the reply was cut short ({error})"))),
            Err(_) => Err(broken("the reply stopped half way".to_owned())),
        }
    }
}

impl Intercept for TakeBody {
    fn name(&self) -> &'static str {
        "take the reply's body"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if response.status().is_success() {
            let body = std::mem::replace(response.body_mut(), SdkBody::from("{}"));
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
        Ok(())
    }
}

impl TableScan for AwsTable {
    fn scan(&self, body: Bytes) -> BoxFuture<'_, Result<Bytes, CloudError>> {
        async move {
            let action = || format!("scan table {}", self.name());
            let taken = TakeBody::default();
            self.client()
                .scan()
                .table_name(self.name())
                .customize()
                .interceptor(taken.clone())
                .mutate_request(splice(body))
                .send()
                .await
                .map_err(|e| CloudError::of(&action(), &e))?;
            taken.bytes(&action).await
        }
        .boxed()
    }
}

/// What is read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanOptions {
    /// The table.
    pub table: String,
    /// How many segments it is read in (`TotalSegments`, 1 to 1,000,000).
    pub segments: u32,
    /// Strongly consistent: sees every write that was acknowledged before, at twice the RCU.
    pub consistent: bool,
}

/// One page of a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanPage {
    /// Its items, each the `DynamoDB` JSON that the service wrote.
    pub items: Vec<Bytes>,
    /// Where the next page begins (`LastEvaluatedKey`, as it was written); `None` when the segment is read.
    pub after: Option<Bytes>,
    /// What it consumed, RCU.
    pub rcu: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    count: u64,
    scanned_count: u64,
    #[serde(borrow, default)]
    last_evaluated_key: Option<&'a RawValue>,
    consumed_capacity: Option<ReplyCapacity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReplyCapacity {
    capacity_units: f64,
}

impl ScanPage {
    /// Reads a reply of `Scan` without a filter.
    ///
    /// # Errors
    /// It is no such reply, or counts other items than it holds. Such a reply is asked for again.
    pub fn parse(table: &str, body: &Bytes) -> Result<Self, CloudError> {
        let broken = |why: String| {
            CloudError::new(
                Class::Transient,
                format!("table {table} was scanned, but {why}"),
                "try again; if it stays so, what answers is no DynamoDB",
            )
        };
        let reply: Reply<'_> =
            serde_json::from_slice(body).map_err(|e| broken(format!("the reply can't be read ({e})")))?;
        let holds = reply.items.len() as u64;
        if (holds, holds) != (reply.count, reply.scanned_count) {
            return Err(broken(format!(
                "the reply holds {holds} items, and counts {} of {} scanned",
                reply.count, reply.scanned_count
            )));
        }
        let slice = |raw: &RawValue| body.slice_ref(raw.get().as_bytes());
        Ok(Self {
            items: reply.items.into_iter().map(slice).collect(),
            after: reply.last_evaluated_key.map(slice),
            rcu: reply.consumed_capacity.map_or(0.0, |capacity| capacity.capacity_units),
        })
    }
}

/// Why a scan is not faster: time that its segments spent, s in all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScanTimes {
    /// Held back by the budget.
    pub budget: f64,
    /// Held back by the cap on items.
    pub cap: f64,
    /// Waiting after the table refused for want of capacity.
    pub throttled: f64,
    /// Waiting for replies.
    pub service: f64,
    /// Replies, refusals among them.
    pub replies: u64,
}

/// What a scan saw of its items so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Items of all pages.
    items: u64,
    counters: Counters,
    times: ScanTimes,
}

/// Reads the pages of a table. One for all segments: they share the budget.
pub struct Scanner {
    table: Arc<dyn TableScan>,
    options: ScanOptions,
    clock: Arc<dyn Clock>,
    budget: ReadPace,
    cap: ReadPace,
    patience: Patience,
    held: watch::Sender<bool>,
    seen: Mutex<Seen>,
    seeds: AtomicU64,
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("options", &self.options).field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Scanner {
    /// A scan of `table` that consumes at most `budget` RCU a second.
    pub fn new(table: Arc<dyn TableScan>, options: ScanOptions, budget: Option<f64>, clock: Arc<dyn Clock>) -> Self {
        Self {
            table,
            options,
            budget: ReadPace::new(Arc::clone(&clock), budget),
            cap: ReadPace::new(Arc::clone(&clock), None),
            clock,
            patience: Patience::default(),
            held: watch::Sender::new(false),
            seen: Mutex::default(),
            seeds: AtomicU64::new(rand::random()),
        }
    }

    /// What is read, and how.
    pub fn options(&self) -> &ScanOptions {
        &self.options
    }

    /// The cap on RCU a second.
    pub fn budget(&self) -> Option<f64> {
        self.budget.per_second()
    }

    /// Reads at most so many items a second from now on; `None` lifts the cap.
    pub fn set_cap(&self, items_per_second: Option<f64>) {
        self.cap.set(items_per_second);
    }

    /// Asks for no further page (true), or goes on.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Items seen (`read`), RCU consumed, requests refused and sent again.
    pub fn counters(&self) -> Counters {
        self.seen().counters
    }

    /// Why it is not faster.
    pub fn times(&self) -> ScanTimes {
        self.seen().times
    }

    /// The page of `segment` that comes after `after`.
    ///
    /// Throttles are waited for as long as they last; what else may pass, as long as [`Patience`] has it.
    ///
    /// # Errors
    /// The table can't be read, or what answers stays broken.
    pub async fn page(&self, segment: u32, after: Option<&Bytes>) -> Result<ScanPage, CloudError> {
        let mut backoff =
            Backoff::new(Duration::from_millis(50), Duration::from_secs(5), self.seeds.fetch_add(1, Ordering::Relaxed));
        loop {
            self.let_go().await;
            let (limit, rcu, items) = self.estimate();
            let waited = self.clock.now();
            self.budget.reserve(rcu).await;
            let budgeted = self.clock.now();
            self.cap.reserve(items).await;
            let sent = self.clock.now();
            let answer = self.table.scan(self.body(segment, after, limit)).await;
            let page = answer.and_then(|body| ScanPage::parse(&self.options.table, &body));
            let answered = self.clock.now();
            let used = page.as_ref().map_or((0.0, 0), |page| (page.rcu, page.items.len() as u64));
            self.budget.settle(rcu, used.0);
            self.cap.settle(items, used.1 as f64);
            {
                let mut seen = self.seen();
                seen.times.budget += budgeted.saturating_sub(waited).as_secs_f64();
                seen.times.cap += sent.saturating_sub(budgeted).as_secs_f64();
                seen.times.service += answered.saturating_sub(sent).as_secs_f64();
                seen.times.replies += 1;
            }
            let error = match page {
                Ok(page) => {
                    self.patience.answered();
                    let mut seen = self.seen();
                    seen.items += used.1;
                    seen.counters.read += used.1;
                    seen.counters.rcu += used.0;
                    return Ok(page);
                }
                Err(error) => error,
            };
            match error.class {
                Class::Throttled => {
                    self.patience.answered();
                    self.seen().counters.throttled += 1;
                }
                class if class.is_retryable() && !self.patience.is_over(sent, answered) => {
                    self.seen().counters.retried += 1;
                }
                _ => return Err(error),
            }
            let wait = backoff.wait();
            tracing::debug!(%error, segment, ?wait, "a page is asked for again");
            self.clock.sleep(wait).await;
            if error.class == Class::Throttled {
                self.seen().times.throttled += wait.as_secs_f64();
            }
        }
    }

    /// Waits while the scan is held.
    async fn let_go(&self) {
        // The sender is this scanner's own: it can't be gone.
        let _ = self.held.subscribe().wait_for(|held| !held).await;
    }

    /// How many items the next page may hold, and what it is expected to take: RCU and items.
    fn estimate(&self) -> (Option<u64>, f64, f64) {
        let seen = *self.seen();
        let (budget, cap) = (self.budget.per_second(), self.cap.per_second());
        // Before anything is known an item is taken for one read unit: 4 KiB.
        let each = if seen.items > 0 { (seen.counters.rcu / seen.items as f64).max(1e-6) } else { 1.0 };
        let by_budget = budget.filter(|rcu| *rcu < LARGEST_PAGE).map(|rcu| rcu * PAGE_SECONDS / each);
        let by_cap = cap.map(|items| items * PAGE_SECONDS);
        let limit = match (by_budget, by_cap) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let limit = limit.map(|items| items.max(1.0).floor());
        let full_page = if seen.items > 0 { LARGEST_PAGE } else { 0.0 };
        let rcu =
            if budget.is_some() { limit.map_or(full_page, |items| (items * each).min(LARGEST_PAGE)) } else { 0.0 };
        (limit.map(|items| items as u64), rcu, if cap.is_some() { limit.unwrap_or(0.0) } else { 0.0 })
    }

    fn body(&self, segment: u32, after: Option<&Bytes>, limit: Option<u64>) -> Bytes {
        let ScanOptions { table, segments, consistent } = &self.options;
        let table = serde_json::Value::from(table.as_str());
        let mut body = format!(
            r#"{{"TableName":{table},"Segment":{segment},"TotalSegments":{segments},"ConsistentRead":{consistent},"ReturnConsumedCapacity":"TOTAL""#
        )
        .into_bytes();
        if let Some(limit) = limit {
            body.extend_from_slice(format!(r#","Limit":{limit}"#).as_bytes());
        }
        if let Some(after) = after {
            body.extend_from_slice(br#","ExclusiveStartKey":"#);
            body.extend_from_slice(after);
        }
        body.push(b'}');
        body.into()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
