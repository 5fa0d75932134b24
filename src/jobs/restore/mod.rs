//! Restore: the items of a backup into a table, straight or through a stream.
//!
//! ```text
//!  Reading ─> Source ─┬─ direct ───────> Writer ─────────────────────────────> table
//!  what, how   blocks └─ by a stream ──> Producer ─> shards ─> Consumer ─> Writer ─┘
//! ```
//!
//! Each second the counters, the place in the source, the shards' checkpoints and the dead letters that they cover go
//! into the journal in one transaction; a restore that is resumed goes on from there.

mod block;
mod direct;
pub(in crate::jobs) mod follow;
mod reading;
mod source;
pub(in crate::jobs) mod strand;
mod through;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::binding::{Names, Recent, Stage, Stages};
use super::journal::{Commit, Control, Sample, ShardSample, State, now_ms, to_json};
use super::progress::Line;
use super::spec::RestoreSpec;
use super::speed::Speed;
use super::worker::{CONTROLS, End, Halt, JobError, Session};
use crate::cloud::inventory::{self, Table};
use crate::flow::{self, Caps, Clock, Counters, Letter, Limit, Pacer, Stopwatch, SystemClock, Writer};
use crate::item::{Checker, Shape};

/// Controls are looked at this many times for each commit.
const LOOKS_PER_COMMIT: u32 = 4;

/// What a way of restoring hands to the journal.
#[derive(Debug, Default)]
struct Settled {
    /// Counted since the job began, exactly as far as the checkpoints go; the effort is this run's.
    counters: Counters,
    checkpoints: Vec<(String, Vec<u8>)>,
    letters: Vec<Letter>,
}

/// A way of restoring: direct, or through a stream.
trait Way: Send + Sync {
    /// What passed the marks since the last time. It must be stored, then told to [`Way::committed`].
    fn take_settled(&self) -> Settled;
    /// What was taken last is stored.
    fn committed(&self);
    /// The same, ahead of the marks: for display.
    fn live(&self) -> Counters;
    /// What its stages did with their time since it began.
    fn stages(&self) -> Stages;
    /// The shards being read.
    fn shards(&self) -> Vec<ShardSample> {
        Vec::new()
    }
    /// What a person must be told since the last time.
    fn take_notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// Records that were read and are not settled.
    fn open_records(&self) -> usize;
    /// Holds (true) or goes on.
    fn hold(&self, held: bool);
}

/// Where a restore goes on.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Resume {
    /// `None` at the beginning.
    mark: Option<source::Mark>,
    /// What the source's ledger had counted up to there.
    counters: Counters,
}

/// What both ways share.
struct Begun {
    pacer: Arc<Pacer>,
    clock: Arc<dyn Clock>,
    feed: Arc<FeedWatch>,
}

/// How the reading end spends its time.
#[derive(Debug)]
struct FeedWatch {
    /// Processors shape and check records.
    checking: Arc<Stopwatch>,
    /// Nothing more comes before what was read is in the table: the source or a stage of it ended.
    all_read: AtomicBool,
    /// How many processors may check at once.
    cpus: usize,
}

impl FeedWatch {
    fn new(clock: &Arc<dyn Clock>, cpus: usize) -> Self {
        Self { checking: Arc::new(Stopwatch::new(Arc::clone(clock))), all_read: AtomicBool::new(false), cpus }
    }

    /// What it has to say of a job whose writers and readers say the rest.
    fn stages(&self) -> Stages {
        Stages {
            all_read: self.all_read.load(Ordering::Relaxed),
            checking: self.checking.total(),
            cpus: self.cpus,
            ..Stages::default()
        }
    }
}

/// The writer's part of what a job's stages did.
pub(in crate::jobs) fn stage_of(writer: &Writer) -> (bool, Stage) {
    let pacer = writer.pacer().snapshot();
    let held = pacer.limit == Limit::Paused;
    let stage = Stage {
        times: writer.times(),
        held_back_by: Some(pacer.limit).filter(|limit| !held && *limit != Limit::Source),
        sent: pacer.sent,
        refused: pacer.refused,
        used: pacer.consumed_by_table,
        used_by_index: pacer.consumed_by_index,
    };
    (held, stage)
}

/// Work in progress: ends when all is written, or with what stopped it.
type Drive = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

pub(super) async fn run(session: &Session<'_>, spec: &RestoreSpec) -> Result<End, JobError> {
    let table = inventory::table(&session.cloud, &spec.table).await?;
    fit(&table)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let pacer = Arc::new(Pacer::new(Arc::clone(&clock)));
    pacer.set_provisioned(follow::capacity(&table));
    follow::begin(&pacer, spec);
    let resume = resume(session)?;
    begins(session, spec, &table);
    let reading = match reading::settle(session, spec, resume.mark.as_ref()).await? {
        Ok(reading) => Arc::new(reading),
        Err(halt) => return Ok(stopped(session, halt)),
    };
    reading::note_drained(session, None)?;
    let feed = Arc::new(FeedWatch::new(&clock, producers(spec)));
    let taking = taking(session, spec, &table, &feed)?;
    let source = source::Source::open(Arc::clone(&reading), taking, resume.mark.clone());
    let progress = source.progress();
    let begun = Begun { pacer: Arc::clone(&pacer), clock, feed };
    let (way, mut drive) = match &spec.stream {
        None => direct::begin(session, spec, &table, source, &resume, &begun),
        Some(stream) => through::begin(session, spec, &table, stream, source, &resume, &begun).await?,
    };

    let provisioned = AtomicU64::new(table.provisioned.map_or(0, |p| p.write));
    let written = follow::Written { cloud: &session.cloud, table: &spec.table, leave: spec.leave };
    let follow = follow::follow_capacity(session, written, &pacer, &provisioned);
    tokio::pin!(follow);
    let mut desk = Desk {
        session,
        way: way.as_ref(),
        earlier: effort_of(&session.job.counters),
        progress: &progress,
        provisioned: &provisioned,
        speed: Speed::default(),
        began: Instant::now(),
        recent: Recent::default(),
        names: Names {
            table: table.name.clone(),
            stream: spec.stream.clone().unwrap_or_default(),
            source: spec.source.sources.join(", "),
            follows: false,
        },
    };
    let mut looks = tokio::time::interval(CONTROLS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look_number = 0;
    let mut told = None;
    let outcome: Result<Option<Halt>, JobError> = loop {
        tokio::select! {
            ended = &mut drive => break ended.map(|()| None),
            () = &mut follow => unreachable!("it follows for ever"),
            () = session.stop.cancelled() => break Ok(Some(Halt::Interrupted)),
            _ = looks.tick() => {
                let controls = match session.journal().controls(&session.job.id) {
                    Ok(controls) => controls,
                    Err(error) => break Err(error.into()),
                };
                if controls.0 == Control::Cancel {
                    break Ok(Some(Halt::Cancelled));
                }
                if told != Some(controls) {
                    obey(session, spec, controls, told.is_some(), &pacer, way.as_ref());
                    told = Some(controls);
                }
                if look_number % LOOKS_PER_COMMIT == 0 && let Err(error) = desk.commit() {
                    break Err(error);
                }
                look_number += 1;
            }
        }
    };
    drop(drive);
    let counters = desk.commit()?;
    if way.open_records() == 0 {
        reading::note_drained(session, Some(counters.read))?;
    }
    let halt = outcome?;
    if halt.is_none() {
        adds_up(spec, &counters)?;
    }
    let state = halt.map_or(State::Done, State::from);
    let left_out = reading.left_out.len() as u64 + progress.damaged();
    Ok(End {
        state,
        message: message(session, spec, state, &counters, left_out, progress.has_twice()),
        report: String::new(),
        dead: counters.dead > 0,
        left_out: left_out > 0,
        differs: false,
    })
}

/// The end of a job that was stopped before its first record.
fn stopped(session: &Session<'_>, halt: Halt) -> End {
    let state = State::from(halt);
    let message = match halt {
        Halt::Interrupted => format!("go on with `sluice restore --resume {}`", session.job.id),
        Halt::Cancelled => String::new(),
    };
    End { state, message, report: String::new(), dead: false, left_out: false, differs: false }
}

/// How the records of this job are taken.
/// How many pieces are checked at the same time.
fn producers(spec: &RestoreSpec) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    spec.producers.map_or_else(processors, |producers| producers.max(1) as usize)
}

fn taking(
    session: &Session<'_>,
    spec: &RestoreSpec,
    table: &Table,
    feed: &FeedWatch,
) -> Result<strand::Taking, JobError> {
    let mut shape = spec.source.shape.clone();
    // Each run of the job must decide as its first one did: what is expired is counted by then.
    shape.expired_at.get_or_insert(session.job.created_ms / 1000);
    Ok(strand::Taking {
        checker: Checker::new(table.key.clone()),
        shape: Shape::new(&shape).map_err(|error| JobError::Unfit(error.to_string()))?,
        format: spec.source.format,
        s3: Some(session.cloud.s3.clone()),
        keep_going: spec.source.keep_going,
        producers: Semaphore::new(feed.cpus),
        checking: Arc::clone(&feed.checking),
    })
}

/// Refuses to call a restore done whose counts don't add up, whatever the reason: better a resume too many than a
/// record too few.
fn adds_up(spec: &RestoreSpec, counters: &Counters) -> Result<(), JobError> {
    let known = spec.settled(counters);
    if known == counters.read {
        return Ok(());
    }
    Err(JobError::Unfit(format!(
        "{} records were read and {known} are accounted for: resume the job, then verify; this is a fault of sluice's, please report it",
        counters.read
    )))
}

/// Name of the source's checkpoint in the journal.
const SOURCE: &str = "source";

fn resume(session: &Session<'_>) -> Result<Resume, JobError> {
    let id = &session.job.id;
    let Some(stored) = session.journal().checkpoint(id, SOURCE)? else { return Ok(Resume::default()) };
    let resume: Resume = serde_json::from_slice(&stored)
        .map_err(|e| JobError::Unfit(format!("the checkpoint of job {id} can't be read: {e}")))?;
    let ordinal = resume.mark.as_ref().map_or(0, source::Mark::ordinal);
    session.note("info", &format!("goes on after record {ordinal} of the source"));
    Ok(resume)
}

/// The checkpoint of what passed a source's mark.
fn source_checkpoint(passed: &flow::Settled<source::RecordPosition>) -> Option<(String, Vec<u8>)> {
    let mark = Some(passed.position.as_ref()?.mark());
    Some((SOURCE.to_owned(), to_json(&Resume { mark, counters: passed.counters }).into_bytes()))
}

/// What counters tell of effort alone: the rest is the ledgers'.
pub(in crate::jobs) fn effort_of(counters: &Counters) -> Counters {
    Counters { retried: counters.retried, throttled: counters.throttled, wcu: counters.wcu, ..Counters::default() }
}

/// Writes down what a restore begins with, so that its log explains itself.
fn begins(session: &Session<'_>, spec: &RestoreSpec, table: &Table) {
    let has = table.provisioned.map_or(String::from("on demand"), |p| format!("{} WCU", p.write));
    let way = spec.stream.as_ref().map_or(String::from("directly"), |stream| format!("through stream {stream}"));
    session.note("info", &format!("into {} ({has}) {way}, from {}", table.name, spec.source.sources.join(", ")));
}

/// Refuses a table that can't be written now.
fn fit(table: &Table) -> Result<(), JobError> {
    match table.status.as_str() {
        "ACTIVE" | "UPDATING" => Ok(()),
        status => Err(JobError::Unfit(format!("table {} is {status}: wait until it is ACTIVE", table.name))),
    }
}

/// Does what the operator asked. `change` is false for what held at the start.
fn obey(
    session: &Session<'_>,
    spec: &RestoreSpec,
    (control, rate): (Control, Option<f64>),
    change: bool,
    pacer: &Pacer,
    way: &dyn Way,
) {
    let held = control == Control::Pause;
    pacer.set_caps(Caps { items_per_second: rate.or(spec.rate), wcu: spec.max_wcu });
    way.hold(held);
    session.obeyed(held, rate, change, "items/s");
}

fn message(
    session: &Session<'_>,
    spec: &RestoreSpec,
    state: State,
    counters: &Counters,
    left_out: u64,
    twice: bool,
) -> String {
    let id = &session.job.id;
    let mut before = match left_out {
        0 => String::new(),
        1 => format!("1 file was left out, whole or in part: `sluice jobs {id}` says which and why; "),
        n => format!("{n} files were left out, whole or in part: `sluice jobs {id}` says which and why; "),
    };
    if twice {
        before += "some keys are in the backup more than once, and only --shuffle 0 keeps the order of their lines; ";
    }
    let message = match state {
        State::Interrupted => format!("go on with `sluice restore --resume {}`", session.job.id),
        State::Done if counters.read == 0 && left_out == 0 && spec.part.is_some() => {
            String::from("nothing falls to this part: the backup has fewer pieces than parts")
        }
        State::Done if counters.read == 0 && left_out == 0 => {
            format!("{} holds no records", spec.source.sources.join(", "))
        }
        State::Done if counters.dead > 0 => {
            format!("{} dead letters; read them with: sluice dead list {}", counters.dead, session.job.id)
        }
        _ => String::new(),
    };
    (before + &message).trim_end_matches("; ").to_owned()
}

/// The last line of the job as `--json` prints it, from what the journal holds.
pub(super) fn last_line(session: &Session<'_>, state: State) -> String {
    ended_line(session, state).map_or_else(|| String::from("{}"), |line| to_json(&line))
}

/// The same before it is printed; `None` when the journal can't tell.
pub(in crate::jobs) fn ended_line(session: &Session<'_>, state: State) -> Option<Line> {
    let job = session.journal().job(&session.job.id).ok()?;
    let worked = job.active_ms + job.started_ms.map_or(0, |started| now_ms() - started);
    Some(Line {
        job: job.id,
        kind: session.job.kind().as_str(),
        state,
        settled: job.spec.settled(&job.counters),
        counters: job.counters,
        seconds: worked.max(0) as f64 / 1000.0,
        total: job.total,
        per_second: None,
        eta_seconds: None,
        limit: None,
    })
}

/// Where a running restore writes down how it stands.
struct Desk<'a, 'l> {
    session: &'a Session<'l>,
    way: &'a dyn Way,
    /// What earlier runs of the job took.
    earlier: Counters,
    progress: &'a source::SourceProgress,
    provisioned: &'a AtomicU64,
    speed: Speed,
    began: Instant,
    recent: Recent,
    names: Names,
}

impl Desk<'_, '_> {
    /// Stores what passed the marks, with a sample, and says how it stands. Returns the exact counters.
    fn commit(&mut self) -> Result<Counters, JobError> {
        let settled = self.way.take_settled();
        let counters = self.earlier + settled.counters;
        let live = self.earlier + self.way.live();
        let binding = self.recent.next(self.began.elapsed(), self.way.stages(), &self.names);
        let limit = binding.short();
        let total = self.progress.total();
        let provisioned = self.provisioned.load(Ordering::Relaxed);
        let sample = Sample {
            at_ms: now_ms(),
            counters: live,
            provisioned_wcu: (provisioned > 0).then_some(provisioned as f64),
            limit: limit.clone(),
            binding: Some(binding),
            shards: self.way.shards(),
            ..Sample::default()
        };
        self.session.journal().commit(
            &self.session.job.id,
            &Commit {
                counters,
                total,
                limit: &limit,
                checkpoints: &settled.checkpoints,
                letters: &settled.letters,
                sample: Some(&sample),
            },
        )?;
        self.way.committed();
        for words in self.progress.take_notes().into_iter().chain(self.way.take_notes()) {
            self.session.note("warn", &words);
        }
        self.say(live, total, limit);
        Ok(counters)
    }

    fn say(&mut self, live: Counters, total: Option<u64>, limit: String) {
        let line = Line::running(&self.session.job, self.began.elapsed().as_secs_f64(), live);
        let settled = line.settled;
        let per_second = self.speed.next(Instant::now(), settled);
        self.session.say(Line { limit: Some(limit), ..line.at(total, settled, per_second) });
    }
}
