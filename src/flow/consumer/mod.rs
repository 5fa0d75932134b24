//! Reads all shards of a stream in parallel, parents before children, and runs the put requests on it.

mod alone;
mod arrivals;
mod checkpoint;
mod course;
mod poll;
mod reader;
mod shared;
mod sharing;
mod sink;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::counters::Counters;
use super::lanes::Health;
use super::leases::Leases;
use super::room::Room;
use super::stream::{StartAt, StreamSource};
use super::tally::Tally;
use crate::cloud::CloudError;
pub use checkpoint::{ShardCheckpoint, ShardProgress, ShardSettled};
use course::{Course, ShardState};
pub(crate) use reader::with_item;
use shared::Shared;
use sink::NoTables;
pub use sink::{Arrival, Intake, RecordAt, Sink, Tables};

/// How a consumer reads.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The stream.
    pub stream: String,
    /// Only the records of this job's producer, each counted once; `None` runs every put request on the stream.
    pub job: Option<String>,
    /// Where shards begin that have no checkpoint. With `Latest`, records that come while nobody reads are not seen:
    /// `Time` is what a job that may be resumed wants.
    pub from: StartAt,
    /// Checkpoints of the last run.
    pub resume: Vec<ShardCheckpoint>,
    /// Records open at once, for each shard: above, the shard is not read on.
    pub window: usize,
    /// Ordinals that a tally remembers: the window of the producer's ledger.
    pub tally_window: usize,
    /// Pages on their way for all shards together, bytes: above, no page is asked for. A subscription holds one event
    /// more.
    pub page_memory: usize,
}

impl ConsumerOptions {
    /// Reads the whole of `stream`, every put request.
    pub fn new(stream: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            job: None,
            from: StartAt::TrimHorizon,
            resume: Vec::new(),
            window: 4_096,
            tally_window: Tally::WINDOW,
            page_memory: 64 << 20,
        }
    }
}

/// Reads a stream until it is dropped; what was not settled then is read again from the checkpoints.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    _supervisor: JoinSet<()>,
}

impl Consumer {
    /// Starts to read, and runs the put requests; needs a tokio runtime.
    pub fn start(
        options: ConsumerOptions,
        source: Arc<dyn StreamSource>,
        tables: Arc<dyn Tables>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::begin(options, source, tables, None, clock, None)
    }

    /// The same for the shards whose `leases` this worker holds, from where those say; `resume` is left alone.
    pub fn share(
        options: ConsumerOptions,
        source: Arc<dyn StreamSource>,
        tables: Arc<dyn Tables>,
        clock: Arc<dyn Clock>,
        leases: Arc<Leases>,
    ) -> Self {
        Self::begin(ConsumerOptions { resume: Vec::new(), ..options }, source, tables, None, clock, Some(leases))
    }

    /// Starts to read, and gives each record to `intake`; needs a tokio runtime.
    pub fn start_into(
        options: ConsumerOptions,
        source: Arc<dyn StreamSource>,
        intake: Arc<dyn Intake>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::begin(options, source, Arc::new(NoTables), Some(intake), clock, None)
    }

    fn begin(
        options: ConsumerOptions,
        source: Arc<dyn StreamSource>,
        tables: Arc<dyn Tables>,
        intake: Option<Arc<dyn Intake>>,
        clock: Arc<dyn Clock>,
        leases: Option<Arc<Leases>>,
    ) -> Self {
        let health = Arc::new(Health::new(clock, 1));
        let course = Course {
            stream: options.stream.as_str().into(),
            job: options.job.clone(),
            source,
            tables,
            intake,
            health,
            sinks: tokio::sync::Mutex::default(),
            missing: Mutex::default(),
            room: Room::new(options.page_memory),
            notes: Mutex::default(),
            watches: Mutex::default(),
        };
        let shards = options.resume.iter().map(|checkpoint| options.state(checkpoint)).collect();
        let taken = options.resume.iter().map(|before| (before.shard.as_str().into(), before.counters)).collect();
        let shared = Arc::new(Shared {
            options,
            course,
            shards: Mutex::new(shards),
            listed: AtomicBool::new(false),
            leases,
            holds: Mutex::default(),
            taken: Mutex::new(taken),
            retired: Mutex::default(),
            stopped: watch::Sender::new(false),
            readers: Mutex::default(),
        });
        let mut supervisor = JoinSet::new();
        let supervised = Arc::clone(&shared);
        supervisor.spawn(async move {
            let supervising = async {
                match &supervised.leases {
                    Some(leases) => sharing::supervise(&supervised, leases).await,
                    None => alone::supervise(&supervised).await,
                }
            };
            let mut stopped = supervised.stopped.subscribe();
            let outcome = tokio::select! {
                outcome = supervising => outcome,
                // Dropping it ends the readers; what they handed on is written.
                _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
            };
            if let Err(error) = outcome {
                supervised.course.health.fail(error);
            }
        });
        Self { shared, _supervisor: supervisor }
    }

    /// What each shard settled since the last call. Store checkpoints and letters in one transaction.
    pub fn settled(&self) -> Vec<ShardSettled> {
        let settled = |state: &Arc<ShardState>| {
            // In this order: a shard that is done has settled everything.
            let done = state.done.load(Ordering::Acquire);
            let handed_over = self.shared.is_handed_over(state);
            let settled = state.ledger.take_settled();
            let news = settled.passed > 0 || handed_over || (done && !state.done_told.swap(true, Ordering::AcqRel));
            let before = || self.shared.options.resume.iter().find(|before| *before.shard == *state.id);
            let time_us = settled.position.as_ref().map_or_else(|| before()?.time_us, |at| at.time_us);
            let (position, sub) = match settled.position {
                Some(at) => (Some(at.sequence), at.sub),
                None => before().map_or((None, None), |before| (before.position.clone(), before.sub)),
            };
            self.shared.taken().insert(Arc::clone(&state.id), settled.counters);
            news.then(|| ShardSettled {
                checkpoint: ShardCheckpoint {
                    shard: state.id.to_string(),
                    position,
                    sub,
                    done,
                    counters: settled.counters,
                    tally: state.ledger.tally(),
                    time_us,
                },
                letters: settled.letters,
                handed_over,
            })
        };
        self.shared.shards().iter().filter_map(settled).collect()
    }

    /// The host stored `settled`: where leases are kept, their checkpoints may move.
    pub fn committed(&self, settled: &[ShardSettled]) {
        let Some(leases) = &self.shared.leases else { return };
        for ShardSettled { checkpoint, handed_over, .. } in settled {
            let shard = checkpoint.shard.as_str();
            match &checkpoint.position {
                _ if checkpoint.done => leases.ended(shard),
                Some(position) => {
                    let sub = checkpoint.sub.unwrap_or_default();
                    leases.checkpoint(shard, position, sub, checkpoint.counters.bytes);
                }
                None => {}
            }
            if *handed_over {
                leases.finished(shard);
            }
        }
    }

    /// Everything counted in all shards, also what no checkpoint covers yet: for display.
    pub fn live(&self) -> Counters {
        let retired = self.shared.retired();
        self.shared.shards().iter().fold(retired, |sum, state| sum + state.ledger.live())
    }

    /// What all shards had counted when they were taken last by [`Consumer::settled`], those that others hold by now
    /// included: what the checkpoints stand for.
    pub fn counted(&self) -> Counters {
        let retired = self.shared.retired();
        self.shared.taken().values().fold(retired, |sum, shard| sum + *shard)
    }

    /// Reads no more, and ends once what was read is settled.
    pub async fn stop(&self) {
        self.shared.stopped.send_replace(true);
        while self.shared.readers().iter().any(|reader| reader.strong_count() > 0) {
            self.shared.course.health.clock.sleep(Duration::from_millis(5)).await;
        }
        let states: Vec<Arc<ShardState>> = self.shared.shards().clone();
        for state in states {
            state.ledger.drained().await;
        }
    }

    /// Shards of which something was begun and is not settled.
    pub fn unfinished(&self) -> Vec<String> {
        let shards = self.shared.shards();
        shards.iter().filter(|state| state.ledger.open_records() > 0).map(|state| state.id.to_string()).collect()
    }

    /// How the shards fare, by their ids.
    pub fn progress(&self) -> Vec<ShardProgress> {
        let mut progress: Vec<ShardProgress> = self
            .shared
            .shards()
            .iter()
            .map(|state| {
                // In this order: what was asked for after the last empty page is open, or below the mark.
                let caught_up_at = state.caught_up_at.load(Ordering::Acquire);
                let open = state.ledger.open_records();
                let settled = state.ledger.mark().1;
                ShardProgress {
                    shard: state.id.to_string(),
                    lag_ms: state.lag_ms.load(Ordering::Relaxed),
                    behind_records: state.behind_records(),
                    records: state.records.load(Ordering::Relaxed),
                    foreign: state.foreign.load(Ordering::Relaxed),
                    outside: state.outside.load(Ordering::Relaxed),
                    done: state.done.load(Ordering::Acquire),
                    settled_us: settled.and_then(|at| at.time_us).or_else(|| {
                        let before = self.shared.options.resume.iter().find(|before| *before.shard == *state.id)?;
                        before.time_us
                    }),
                    open,
                    caught_up: caught_up_at.checked_sub(1).map(Duration::from_micros),
                }
            })
            .collect();
        progress.sort_by(|a, b| a.shard.cmp(&b.shard));
        progress
    }

    /// What a person must be told since the last call: records that the stream no longer kept when they were to be
    /// read.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.course.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends when the consumer fails, with the reason.
    pub async fn failed(&self) -> CloudError {
        self.shared.course.health.failed().await
    }

    /// Ends once everything that was on the stream when it was called is in its tables, or dead.
    pub async fn caught_up(&self) {
        let clock = &self.shared.course.health.clock;
        let since = clock.now().as_micros() as u64;
        loop {
            let caught_up = |state: &Arc<ShardState>| {
                let read = state.done.load(Ordering::Acquire) || state.caught_up_at.load(Ordering::Acquire) > since;
                read && state.ledger.open_records() == 0
            };
            {
                // One look at both: a shard that ends is marked unlisted and done under this lock, and is listed again
                // only when its children are here.
                let placed = self.shared.leases.as_ref().is_none_or(|leases| {
                    let standing = leases.standing();
                    let standing = standing.borrow();
                    standing.placed && standing.at.as_micros() as u64 > since && self.shared.reads_all(&standing.held)
                });
                let shards = self.shared.shards();
                if placed && self.shared.listed.load(Ordering::Acquire) && shards.iter().all(caught_up) {
                    return;
                }
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
    }
}
