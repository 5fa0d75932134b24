//! Reads all shards of a stream in parallel, parents before children, and runs the put requests on it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::counters::{Counters, Letter};
use super::lanes::Health;
use super::leases::{Fence, Held, Leases};
use super::ledger::Ledger;
use super::room::Room;
use super::shard::{Course, Intake, NoTables, ShardState, Tables, read};
use super::sharing;
use super::stream::{SequenceNumber, Shard, StartAt, StreamSource};
use super::tally::Tally;
use crate::cloud::{Class, CloudError};

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

/// How far a shard was read: all of it was written in one transaction, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardCheckpoint {
    /// The shard.
    pub shard: String,
    /// The last record below the mark.
    pub position: Option<SequenceNumber>,
    /// Where the record at `position` is an aggregated one: the last record in it below the mark, from 0, as KCL's
    /// `checkpointSubSequenceNumber`.
    #[serde(default)]
    pub sub: Option<u64>,
    /// Read to its end: it is closed, and its children may begin.
    pub done: bool,
    /// What was counted in it, from the beginning.
    pub counters: Counters,
    /// Which of the job's records it has counted.
    pub tally: Option<Tally>,
    /// The time that an [`Intake`] gave the last record below the mark, microseconds since the epoch.
    #[serde(default)]
    pub time_us: Option<i64>,
}

/// What a shard settled since the last time.
#[derive(Clone, Debug)]
pub struct ShardSettled {
    /// Store this.
    pub checkpoint: ShardCheckpoint,
    /// And these with it.
    pub letters: Vec<Letter>,
    /// Another worker waits for the shard, and nothing more of it comes from this one.
    pub handed_over: bool,
}

/// How a shard fares, for display.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardProgress {
    /// The shard.
    pub shard: String,
    /// How far behind its newest record it is read, ms.
    pub lag_ms: u64,
    /// About how many records of the stream are still to be read: lag times the rate at which the last ones read had
    /// arrived. `None` while that rate is not known.
    #[serde(default)]
    pub behind_records: Option<u64>,
    /// Records read, repetitions included.
    pub records: u64,
    /// Records of others, left alone.
    pub foreign: u64,
    /// Records that an aggregated one held and whose hash keys belong to other shards: left out, as the KCL does.
    #[serde(default)]
    pub outside: u64,
    /// Read to its end.
    pub done: bool,
    /// The time that an [`Intake`] gave the last record below the mark, microseconds since the epoch.
    pub settled_us: Option<i64>,
    /// Records that are read and not settled.
    pub open: usize,
    /// When, by the consumer's clock, the last page was asked for that was empty and without lag.
    pub caught_up: Option<Duration>,
}

/// Reads a stream until it is dropped; what was not settled then is read again from the checkpoints.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    _supervisor: JoinSet<()>,
}

#[derive(Debug)]
pub(super) struct Shared {
    options: ConsumerOptions,
    pub(super) course: Course,
    shards: Mutex<Vec<Arc<ShardState>>>,
    /// False while a shard ended whose children may not be listed yet.
    listed: AtomicBool,
    /// Where several workers share the stream.
    leases: Option<Arc<Leases>>,
    /// Shards that are held by a lease.
    pub(super) holds: Mutex<HashMap<Arc<str>, Hold>>,
    /// What each shard had counted when the host took it last.
    taken: Mutex<HashMap<Arc<str>, Counters>>,
    /// The same of shards that are no longer ours.
    retired: Mutex<Counters>,
    /// Once true, nothing more is read.
    stopped: watch::Sender<bool>,
    /// Alive while a reader may still hand a record on.
    readers: Mutex<Vec<Weak<()>>>,
}

/// A shard that is held by a lease.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub fence: Fence,
    /// Its reader, which may run for a moment after it was told to end.
    pub reader: Weak<()>,
    /// Another worker waits for it.
    pub hand_over: bool,
    /// That nothing more comes of it was told to the host.
    pub told: bool,
}

/// How often shards are listed, and how often after one ended: its children are there at once, as a rule.
const LIST: Duration = Duration::from_secs(10);
const LIST_SOON: Duration = Duration::from_secs(1);

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
                    None => supervise(&supervised).await,
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

impl ConsumerOptions {
    fn state(&self, checkpoint: &ShardCheckpoint) -> Arc<ShardState> {
        self.fenced_state(checkpoint, None)
    }

    fn fenced_state(&self, checkpoint: &ShardCheckpoint, fence: Option<Fence>) -> Arc<ShardState> {
        let ledger = Ledger::new(self.window).resumed(checkpoint.counters);
        let ledger = match fence {
            Some(fence) => ledger.fenced(fence),
            None => ledger,
        };
        let ledger = match (&self.job, &checkpoint.tally) {
            (None, _) => ledger,
            (Some(_), Some(tally)) => ledger.tallied(tally.clone()),
            (Some(_), None) => ledger.tallied(Tally::new(self.tally_window)),
        };
        Arc::new(ShardState {
            id: checkpoint.shard.as_str().into(),
            ledger: Arc::new(ledger),
            lag_ms: AtomicU64::new(0),
            behind_records: AtomicU64::new(u64::MAX),
            records: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            outside: AtomicU64::new(0),
            hash_keys: OnceLock::new(),
            resumed: checkpoint.position.clone().zip(checkpoint.sub),
            caught_up_at: AtomicU64::new(0),
            done: AtomicBool::new(checkpoint.done),
            done_told: AtomicBool::new(checkpoint.done),
        })
    }
}

impl Shared {
    /// Begins a shard that is held; what was begun of it before is forgotten.
    pub(super) fn hold(&self, held: &Held, reader: &Arc<()>) -> Arc<ShardState> {
        let checkpoint = ShardCheckpoint {
            shard: held.shard.clone(),
            position: held.settled.as_ref().map(|(sequence, _)| sequence.clone()),
            sub: held.settled.as_ref().map(|(_, sub)| *sub),
            done: false,
            counters: Counters::default(),
            tally: None,
            time_us: None,
        };
        let state = self.options.fenced_state(&checkpoint, Some(held.fence.clone()));
        if let Some(hash_keys) = held.hash_keys {
            // Made a line above.
            let _ = state.hash_keys.set(hash_keys);
        }
        self.shards().push(Arc::clone(&state));
        let hold = Hold { fence: held.fence.clone(), reader: Arc::downgrade(reader), hand_over: false, told: false };
        self.holds().insert(Arc::clone(&state.id), hold);
        state
    }

    /// Forgets a shard that is no longer ours, but for what was counted below its mark.
    pub(super) fn retire(&self, shard: &str) {
        self.holds().remove(shard);
        let mut shards = self.shards();
        shards.retain(|state| *state.id != *shard);
        if let Some(counted) = self.taken().remove(shard) {
            *self.retired.lock().unwrap_or_else(PoisonError::into_inner) += counted;
        }
    }

    /// What a reader keeps for as long as it may hand a record on.
    pub(super) fn reader(&self) -> Arc<()> {
        let alive = Arc::new(());
        let mut readers = self.readers();
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&alive));
        alive
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Weak<()>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Arc<str>, Counters>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retired(&self) -> Counters {
        *self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn holds(&self) -> MutexGuard<'_, HashMap<Arc<str>, Hold>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True, once, when another worker may have the shard.
    fn is_handed_over(&self, state: &ShardState) -> bool {
        let mut holds = self.holds();
        let Some(hold) = holds.get_mut(&state.id).filter(|hold| hold.hand_over && !hold.told) else { return false };
        // In this order: what ended hands nothing on.
        hold.told = hold.reader.strong_count() == 0 && state.ledger.open_records() == 0;
        hold.told
    }

    /// Whether just what is `held` is being read.
    fn reads_all(&self, held: &[Held]) -> bool {
        let holds = self.holds();
        holds.len() == held.len()
            && held.iter().all(|held| holds.get(held.shard.as_str()).is_some_and(|hold| hold.fence.is(&held.fence)))
    }

    /// All shards are known.
    pub(super) fn all_listed(&self) {
        self.listed.store(true, Ordering::Release);
    }

    fn shards(&self) -> MutexGuard<'_, Vec<Arc<ShardState>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, shard: &str) -> Option<Arc<ShardState>> {
        self.shards().iter().find(|state| *state.id == *shard).cloned()
    }

    async fn list(&self) -> Result<Vec<Shard>, CloudError> {
        let health = &self.course.health;
        loop {
            let asked = health.clock.now();
            match self.course.source.shards().await {
                Ok(shards) => return Ok(shards),
                Err(error) if matches!(error.class, Class::Throttled | Class::Transient | Class::InUse) => {
                    if health.patience.is_over(asked, health.clock.now()) {
                        return Err(error);
                    }
                    health.clock.sleep(LIST_SOON).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Where `shard` begins.
    fn start(&self, shard: &Shard, first_listing: bool) -> StartAt {
        let checkpoint = self.options.resume.iter().find(|checkpoint| checkpoint.shard == shard.id);
        if let Some(checkpoint) = checkpoint
            && let Some(position) = checkpoint.position.clone()
        {
            // In the middle of an aggregated record, perhaps: it is read again, and what is settled of it skipped.
            return if checkpoint.sub.is_some() { StartAt::At(position) } else { StartAt::After(position) };
        }
        // A time means the same in every shard: a child that is older than it must not be read whole.
        if let StartAt::Time(_) = self.options.from {
            return self.options.from.clone();
        }
        // A child of a shard that was read is read whole: it goes on where its parents end.
        let parent_was_read = shard.parents.iter().any(|parent| self.find(parent).is_some());
        if checkpoint.is_some() || (first_listing && !parent_was_read) {
            self.options.from.clone()
        } else {
            StartAt::TrimHorizon
        }
    }
}

async fn supervise(shared: &Arc<Shared>) -> Result<(), CloudError> {
    let mut tasks: JoinSet<(Arc<str>, Result<(), CloudError>)> = JoinSet::new();
    let mut started: HashSet<String> = HashSet::new();
    let mut first_listing = true;
    loop {
        let listing = shared.list().await?;
        let by_id: HashMap<&str, &Shard> = listing.iter().map(|shard| (shard.id.as_str(), shard)).collect();
        for shard in &listing {
            if started.contains(&shard.id) {
                continue;
            }
            let known = shared.find(&shard.id);
            if known.as_ref().is_some_and(|state| state.done.load(Ordering::Acquire)) {
                started.insert(shard.id.clone());
                continue;
            }
            let resumed = known.is_some();
            // A parent that is no longer listed holds no records any more.
            let ready = shard
                .parents
                .iter()
                .filter(|parent| by_id.contains_key(parent.as_str()))
                .all(|parent| shared.find(parent).is_some_and(|parent| parent.done.load(Ordering::Acquire)));
            let skipped = first_listing && shared.options.from == StartAt::Latest && !resumed;
            if !ready && !skipped {
                continue;
            }
            let start = shared.start(shard, first_listing);
            started.insert(shard.id.clone());
            let state = known.unwrap_or_else(|| shared.begin(shard));
            if skipped && !shard.open {
                // Closed before we came: nothing in it is newer than now.
                state.done.store(true, Ordering::Release);
                continue;
            }
            // It was not listed before.
            let _ = state.hash_keys.set(shard.hash_keys);
            let (shared, seed, alive) = (Arc::clone(shared), started.len() as u64, shared.reader());
            tasks.spawn(async move {
                let read = read(&shared.course, &state, start, seed).await;
                drop(alive);
                (Arc::clone(&state.id), read)
            });
        }
        first_listing = false;
        let all_started = listing.iter().all(|shard| started.contains(&shard.id) || !shard.parents.is_empty());
        shared.listed.store(all_started, Ordering::Release);

        let clock = &shared.course.health.clock;
        let pause = if tasks.is_empty() { LIST_SOON } else { LIST };
        tokio::select! {
            error = shared.course.health.failed() => return Err(error),
            Some(ended) = tasks.join_next() => {
                // A task that panicked ends the consumer as an error does.
                let broke_off = |e| CloudError::new(Class::Unknown, format!("a shard's reader broke off: {e}"), "");
                let (id, read) = ended.map_err(broke_off)?;
                read?;
                let shards = shared.shards();
                shared.listed.store(false, Ordering::Release);
                if let Some(state) = shards.iter().find(|state| state.id == id) {
                    state.done.store(true, Ordering::Release);
                }
            }
            () = clock.sleep(pause) => {}
        }
    }
}

impl Shared {
    /// The state of a shard that begins now; it inherits what its parents counted.
    fn begin(&self, shard: &Shard) -> Arc<ShardState> {
        let tally = self.options.job.is_some().then(|| {
            let mut tally = Tally::new(self.options.tally_window);
            let parents = shard.parents.iter().filter_map(|parent| self.find(parent)?.ledger.tally());
            parents.for_each(|parent| tally.inherit(&parent));
            tally
        });
        let state = self.options.state(&ShardCheckpoint {
            shard: shard.id.clone(),
            position: None,
            sub: None,
            done: false,
            counters: Counters::default(),
            tally,
            time_us: None,
        });
        self.shards().push(Arc::clone(&state));
        state
    }
}
