//! The choke point: every request that changes something passes here, whoever sends it.
//!
//! The guard is an SDK interceptor that sits in every client of [`super::Cloud`], so there is no second way out:
//! read-only mode refuses, dry run prints, and what goes through leaves an audit line.
//!
//! ```text
//!  operation ─▶ try ─▶ judge ─▶ wire ─▶ reply ─┬─▶ settled: done │ refused │ unknown
//!                │    (told before the first)  │
//!                └────────────── retry ◀───────┘
//! ```

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::Region;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, SharedInterceptor};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

use super::budget::{self, Budget};
use super::change::is_bulk;
pub use super::change::{Change, knowing, undoing};
pub use super::outcome::Outcome;

/// What the guard does with a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Lets it through and records it.
    #[default]
    Normal,
    /// Refuses it.
    ReadOnly,
    /// Hands the request to [`Witness::would_send`] and sends nothing.
    DryRun,
}

/// Why the guard stopped a request. Found again in the cause chain of the SDK's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Read-only mode.
    #[error("read-only mode refuses changes")]
    ReadOnly,
    /// Dry run.
    #[error("dry run: printed, not sent")]
    DryRun,
}

/// Who is told of changes. `jobs` writes them to the journal, `cli` prints dry runs.
pub trait Witness: Send + Sync {
    /// A change is about to be sent for the first time; its retries are not told. Bulk writes are told once for each operation
    /// and target, not for each batch. Returns the number under which it was written down, if it was.
    fn sending(&self, change: &Change) -> Option<i64>;
    /// What became of the change that was written down as `number`. Not told of bulk writes, nor when the process ends before.
    fn settled(&self, _number: i64, _outcome: &Outcome) {}
    /// Dry run: this would have been sent.
    fn would_send(&self, change: &Change);
}

/// A witness that keeps nothing, for tests and for reading only.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWitness;
impl Witness for NoWitness {
    fn sending(&self, _: &Change) -> Option<i64> {
        None
    }
    fn would_send(&self, _: &Change) {}
}

/// The guard of one process.
pub struct Guard {
    mode: AtomicU8,
    witness: Arc<dyn Witness>,
    bulk_told: Mutex<HashSet<(String, String)>>,
    requests: AtomicU64,
    budget: Arc<Budget>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("mode", &self.mode()).finish_non_exhaustive()
    }
}

impl Guard {
    /// A guard in `mode` that tells `witness`.
    pub fn new(mode: Mode, witness: Arc<dyn Witness>) -> Arc<Self> {
        Self::sharing(mode, witness, Budget::new(budget::PER_SECOND))
    }

    /// A guard whose questions are counted against a budget that others share.
    pub fn sharing(mode: Mode, witness: Arc<dyn Witness>, budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            mode: AtomicU8::new(mode as u8),
            witness,
            bulk_told: Mutex::default(),
            requests: AtomicU64::new(0),
            budget,
        })
    }

    /// A guard that lets everything through untold; for tests.
    pub fn open() -> Arc<Self> {
        Self::new(Mode::Normal, Arc::new(NoWitness))
    }

    /// What it does with a change.
    pub fn mode(&self) -> Mode {
        let mode = self.mode.load(Ordering::SeqCst);
        // What is not known to be let through is refused.
        [Mode::Normal, Mode::DryRun].into_iter().find(|known| *known as u8 == mode).unwrap_or(Mode::ReadOnly)
    }

    /// Does this with changes from now on: what guards an account holds once the account is known.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Requests that came by so far, reading ones and retries too.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What is asked of AWS through it: counts, and the rate of questions.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// The interceptor that puts this guard into a client.
    pub fn interceptor(self: &Arc<Self>) -> SharedInterceptor {
        SharedInterceptor::new(Gate(Arc::clone(self)))
    }

    /// A request of a service that no client of [`super::Cloud`] speaks (BigQuery): counted, and, when it changes
    /// something, passed or stopped as theirs are. `change` is asked for the whole request, or only for what it is about.
    /// Returns what [`Guard::settled`] is to be told under.
    ///
    /// # Errors
    /// The mode does not let it through.
    pub fn outside(&self, operation: &str, change: Option<&dyn Fn(bool) -> Change>) -> Result<Option<i64>, Refused> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        change.map_or(Ok(None), |change| self.judge(operation, change))
    }

    /// What became of a change that went through as `number`.
    pub fn settled(&self, number: Option<i64>, outcome: &Outcome) {
        if let Some(number) = number {
            self.witness.settled(number, outcome);
        }
    }

    fn judge(&self, operation: &str, change: impl Fn(bool) -> Change) -> Result<Option<i64>, Refused> {
        match self.mode() {
            Mode::ReadOnly => Err(Refused::ReadOnly),
            Mode::DryRun => {
                self.witness.would_send(&change(true));
                Err(Refused::DryRun)
            }
            Mode::Normal if is_bulk(operation) => {
                // Told once: a restore sends this a million times, and its job has the counts.
                let change = change(false);
                let key = (change.operation.clone(), change.target.clone());
                if self.bulk_told.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
                    self.witness.sending(&change);
                }
                Ok(None)
            }
            Mode::Normal => Ok(self.witness.sending(&change(true))),
        }
    }

    /// Lets another try of a change that went through before go, unless the mode has been set to another since.
    fn judge_retry(&self) -> Result<(), Refused> {
        match self.mode() {
            Mode::Normal => Ok(()),
            Mode::ReadOnly => Err(Refused::ReadOnly),
            Mode::DryRun => Err(Refused::DryRun),
        }
    }
}

/// True for operations that only read.
fn only_reads(service: &str, operation: &str) -> bool {
    const READS: [&str; 11] = [
        "Get",
        "List",
        "Describe",
        "Query",
        "Scan",
        "BatchGet",
        "Head",
        "SelectObject",
        "Simulate",
        "SubscribeToShard",
        "TransactGet",
    ];
    service.eq_ignore_ascii_case("sts") || READS.iter().any(|prefix| operation.starts_with(prefix))
}

/// A change that went through, in the bag of its operation: all its tries see the same.
#[derive(Debug)]
struct Told {
    number: Option<i64>,
    is_under_way: bool,
    outcome: Option<Outcome>,
}

impl Storable for Told {
    type Storer = StoreReplace<Self>;
}

struct Gate(Arc<Guard>);

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl Intercept for Gate {
    fn name(&self) -> &'static str {
        "guard"
    }

    // The last hook before the wire: bodies that `mutate_request` replaced are final here.
    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(metadata) = cfg.load::<Metadata>() else {
            return Err("the guard met a request without a name".into());
        };
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        let service = metadata.service().to_ascii_lowercase();
        let operation = metadata.name().to_owned();
        if only_reads(&service, &operation) {
            return Ok(());
        }
        if let Some(told) = cfg.get_mut_from_interceptor_state::<Told>() {
            self.0.judge_retry()?;
            told.is_under_way = true;
            return Ok(());
        }
        let region = cfg.load::<Region>().map(ToString::to_string);
        let change = |whole| Change::of(&service, &operation, region.clone(), context.request(), whole);
        let number = self.0.judge(&operation, change)?;
        if !is_bulk(&operation) {
            cfg.interceptor_state().store_put(Told { number, is_under_way: true, outcome: None });
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // A try that the guard stopped, or whose signing failed, says nothing about those that went out.
        if let Some(told) = cfg.get_mut_from_interceptor_state::<Told>()
            && std::mem::take(&mut told.is_under_way)
        {
            let last = Outcome::of_attempt(context.output_or_error(), context.response());
            told.outcome = Some(match told.outcome.take() {
                Some(earlier) => earlier.then(last),
                None => last,
            });
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        _context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(Told { number, outcome: Some(outcome), .. }) = cfg.load::<Told>() {
            self.0.settled(*number, outcome);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_service_that_is_no_aws_meets_the_same_gate() {
        let change = |_: bool| Change {
            service: "bigquery".into(),
            operation: "InsertTable".into(),
            target: "projects/p/datasets/d/tables".into(),
            request: "{}".into(),
            ..Change::default()
        };
        let of = |mode| Guard::new(mode, Arc::new(NoWitness)).outside("InsertTable", Some(&change));
        assert_eq!(of(Mode::ReadOnly), Err(Refused::ReadOnly));
        assert_eq!(of(Mode::DryRun), Err(Refused::DryRun));
        assert_eq!(of(Mode::Normal), Ok(None));
        let reading = Guard::new(Mode::ReadOnly, Arc::new(NoWitness));
        assert_eq!(reading.outside("GetTable", None), Ok(None));
        assert_eq!(reading.requests(), 1);
        let shown = change(true).as_aws_command();
        assert!(
            shown.starts_with("curl -X POST") && shown.contains("/bigquery/v2/projects/p/datasets/d/tables'"),
            "{shown}"
        );
    }

    #[test]
    fn a_guard_does_what_its_mode_says_from_the_moment_it_is_set() {
        let change = |_: bool| Change {
            service: "dynamodb".into(),
            operation: "UpdateTable".into(),
            target: "t".into(),
            request: "{}".into(),
            ..Change::default()
        };
        let guard = Guard::open();
        for (mode, outcome) in
            [(Mode::ReadOnly, Err(Refused::ReadOnly)), (Mode::DryRun, Err(Refused::DryRun)), (Mode::Normal, Ok(None))]
        {
            guard.set_mode(mode);
            assert_eq!(guard.mode(), mode);
            assert_eq!(guard.judge("UpdateTable", change), outcome);
        }
    }

    #[test]
    fn reading_operations_pass_and_everything_unknown_counts_as_a_change() {
        assert!(only_reads("dynamodb", "BatchGetItem"));
        assert!(only_reads("kinesis", "GetRecords"));
        assert!(only_reads("iam", "SimulatePrincipalPolicy"));
        assert!(!only_reads("lambda", "UpdateEventSourceMapping"));
        assert!(!only_reads("dynamodb", "BatchWriteItem"));
        assert!(!only_reads("dynamodb", "SomethingNew"));
    }
}
