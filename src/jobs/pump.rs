//! The pump: events of a stream into the buffer, and from the buffer into their slots.
//!
//! ```text
//!   stream ─▶ Consumer ─▶ BufferIntake ─▶ buffer ─▶ Pass, every period or when told ─▶ event table
//!                │                                    ▲
//!                └ places of the shards, stored ──────┴─ a turn: bound ─ places ─ promise ─ pass ─ publish
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior};

use super::journal::{Commit, Control, Job, Journal, JournalError, Sample, ShardSample, State, now_ms, to_json};
use super::progress::Line;
use super::restore::last_line;
use super::spec::{JobId, PumpSpec, Spec};
use super::speed::Speed;
use super::worker::{CONTROLS, End, Halt, JobError, Session};
use crate::cloud::inventory::{self, Table};
use crate::cloud::{Class, Cloud, CloudError, Context, Mode};
use crate::event::directory::{self, Directory, answered};
use crate::event::intake::BufferIntake;
use crate::event::pass::{Pass, PassReport};
use crate::event::place::Places;
use crate::event::watermark::{self, Floors, Mark};
use crate::event::{Layout, Slot, tables};
use crate::flow::{
    AwsStream, AwsTable, Caps, Clock, Consumer, ConsumerOptions, Counters, Letter, Limit, Pacer, Provisioned,
    ShardCheckpoint, StreamSource, SystemClock, Writer, WriterOptions,
};

/// Controls are looked at this many times for each commit.
const LOOKS_PER_COMMIT: u32 = 4;
/// Shards' places are stored at least after so many commits, so that a crash repeats little.
const COMMITS_PER_PLACES: u32 = 10;
/// The tables' capacity is asked for after so many commits.
const COMMITS_PER_DESCRIBE: u32 = 10;
/// Shards' places stored at a time.
const STORED_AT_ONCE: usize = 16;
/// Segments that the buffer is read in: a pass is CPU bound long before it is bound by them.
const SEGMENTS: u32 = 4;

/// Name of the checkpoint in the journal that asks for a pass now, ms since the epoch.
pub const PASS_WANTED: &str = "pass-wanted";

/// What all parts of a running pump share.
struct Pump<'a, 'l> {
    session: &'a Session<'l>,
    spec: &'a PumpSpec,
    stream: Arc<AwsStream>,
    clock: Arc<dyn Clock>,
    consumer: Consumer,
    intake: Arc<BufferIntake>,
    buffer: Arc<Writer>,
    events: Arc<Writer>,
    pass: Arc<Pass>,
    mark: Mark,
    places: Places,
    standing: Mutex<Standing>,
}

/// What is known of a run so far.
#[derive(Debug, Default)]
struct Standing {
    /// The latest checkpoint of each shard, and those that the event table does not have yet.
    checkpoints: BTreeMap<String, ShardCheckpoint>,
    unstored: BTreeSet<String>,
    /// Events stored by all passes, passes, slots counted.
    stored: u64,
    passes: u64,
    slots: u64,
    /// Rows that the last pass could not read.
    poison: u64,
    /// A pass is on.
    passing: bool,
    watermark: Option<Timestamp>,
    speed: Speed,
}

pub(super) async fn run(session: &Session<'_>, spec: &PumpSpec) -> Result<End, JobError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let pump = Box::pin(begin(session, spec, Arc::clone(&clock))).await?;
    let outcome = pump.drive().await;
    // Nothing more is asked of the stream, and what is stored is said.
    let counters = pump.commit()?;
    if session.cloud.guard.mode() == Mode::Normal
        && let Err(error) = pump.store_places().await
    {
        session.note("warn", &format!("{error}; the next run reads a little again"));
    }
    let halt = outcome?;
    Ok(pump.end(halt, &counters))
}

/// The table, if it can be worked with now.
async fn table(session: &Session<'_>, name: &str) -> Result<Table, JobError> {
    let table = inventory::table(&session.cloud, name).await?;
    match table.status.as_str() {
        "ACTIVE" | "UPDATING" => Ok(table),
        status => Err(JobError::Unfit(format!("table {name} is {status}: wait until it is ACTIVE"))),
    }
}

fn provisioned(table: &Table) -> Option<Provisioned> {
    table.provisioned.map(|p| Provisioned { table: p.write as f64, indexes: Vec::new() })
}

fn writer(cloud: &Cloud, table: &Table, clock: &Arc<dyn Clock>) -> Arc<Writer> {
    let pacer = Arc::new(Pacer::new(Arc::clone(clock)));
    pacer.set_provisioned(provisioned(table));
    let put = AwsTable::new(cloud.bulk.dynamodb.clone(), &table.name, table.key.clone());
    let options = WriterOptions::new(&table.name, &table.key.partition.name);
    Arc::new(Writer::start(options, Arc::new(put), pacer, Arc::clone(clock)))
}

/// The ARN of a stream: with it, event IDs are unique over streams.
async fn arn_of(session: &Session<'_>, stream: &str) -> Result<String, JobError> {
    let described = session.cloud.kinesis.describe_stream_summary().stream_name(stream).send().await;
    let described = described.map_err(|error| CloudError::of(&format!("describe stream {stream}"), &error))?;
    let summary = described.stream_description_summary;
    Ok(summary.map(|summary| summary.stream_arn).unwrap_or_default())
}

/// Looks at everything that the pump works with, and starts to read.
async fn begin<'a, 'l>(
    session: &'a Session<'l>,
    spec: &'a PumpSpec,
    clock: Arc<dyn Clock>,
) -> Result<Pump<'a, 'l>, JobError> {
    if let Some(other) = counter_of(&session.journal(), spec, &session.job.context, Some(&session.job.id))? {
        return Err(JobError::Unfit(format!("job {other} pumps {} already: one pump reads a stream", spec.stream)));
    }
    let (buffer_table, events_table) = (table(session, &spec.buffer).await?, table(session, &spec.events).await?);
    tables::must_be_buffer(&spec.buffer, &buffer_table.key)?;
    tables::must_have_layout(&spec.events, &events_table.key, spec.layout)?;
    let source = arn_of(session, &spec.stream).await?;
    let dynamodb = &session.cloud.dynamodb;
    let settle = || tables::settle_slot_length(dynamodb, &spec.events, spec.layout, spec.slot);
    match answered(clock.as_ref(), settle).await {
        // A dry run prints what it would write down.
        Err(error) if error.class == Class::DryRun => {}
        other => other?,
    }
    let mark = Mark::new(dynamodb.clone(), &spec.events, spec.layout, &source);
    let (promised, published) = answered(clock.as_ref(), || mark.read()).await?;
    let places = Places::new(dynamodb.clone(), &spec.events, spec.layout, &source);
    let stored = answered(clock.as_ref(), || places.read()).await?;
    let mut floors = Floors::new(promised);
    stored.iter().for_each(|place| floors.resume(&place.shard, place.time_us));
    let stream = AwsStream::new(session.cloud.kinesis.clone(), session.cloud.bulk.kinesis.clone(), &spec.stream);
    let stream = Arc::new(stream);
    // A shard that the stream no longer has would be waited for in vain.
    let listing = answered(clock.as_ref(), || StreamSource::shards(stream.as_ref())).await?;
    let (resume, gone): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|place| listing.iter().any(|shard| shard.id == place.shard));
    if session.cloud.guard.mode() == Mode::Normal {
        for place in &gone {
            answered(clock.as_ref(), || places.forget(&place.shard)).await?;
        }
    }
    let (buffer, events) =
        (writer(&session.cloud, &buffer_table, &clock), writer(&session.cloud, &events_table, &clock));
    let seen = Arc::clone(&stream) as Arc<dyn StreamSource>;
    let intake =
        Arc::new(BufferIntake::new(&source, spec.layout, seen, Arc::clone(&buffer), floors, Arc::clone(&clock)));
    let scan = AwsTable::new(session.cloud.bulk.dynamodb.clone(), &spec.buffer, buffer_table.key.clone());
    let pass = Arc::new(Pass {
        buffer: spec.buffer.clone(),
        scan: Arc::new(scan),
        segments: SEGMENTS,
        read_budget: buffer_table.provisioned.map(|p| p.read as f64),
        from: Arc::clone(&buffer),
        into: Arc::clone(&events),
        directory: Directory::new(session.cloud.bulk.dynamodb.clone(), &spec.events, spec.layout),
        slots: spec.slot,
        clock: Arc::clone(&clock),
    });
    let from = if resume.is_empty() { "from its oldest record" } else { "from where the last pump stopped" };
    session.note(
        "info",
        &format!(
            "from stream {} {from}, through {}, into {} in slots of {}, {} layout",
            spec.stream, spec.buffer, spec.events, spec.slot, spec.layout
        ),
    );
    let mut options = ConsumerOptions::new(&spec.stream);
    options.resume = resume;
    let consumer =
        Consumer::start_into(options, Arc::clone(&stream) as _, Arc::clone(&intake) as _, Arc::clone(&clock));
    let standing = Mutex::new(Standing { watermark: published, ..Standing::default() });
    Ok(Pump { session, spec, stream, clock, consumer, intake, buffer, events, pass, mark, places, standing })
}

impl Pump<'_, '_> {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until it is told to stop (or with `--once`, until it is done).
    async fn drive(&self) -> Result<Option<Halt>, JobError> {
        let mut looks = tokio::time::interval(CONTROLS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let turns = self.turns();
        tokio::pin!(turns);
        let (mut look_number, mut told) = (0_u32, None);
        loop {
            tokio::select! {
                ended = &mut turns => return ended.map(|()| None),
                error = self.consumer.failed() => return Err(error.into()),
                error = self.buffer.failed() => return Err(error.into()),
                error = self.events.failed() => return Err(error.into()),
                () = self.session.stop.cancelled() => return Ok(Some(Halt::Interrupted)),
                _ = looks.tick() => {
                    let controls = self.session.journal().controls(&self.session.job.id)?;
                    if controls.0 == Control::Cancel {
                        return Ok(Some(Halt::Cancelled));
                    }
                    if told != Some(controls) {
                        self.obey(controls, told.is_some())?;
                        told = Some(controls);
                    }
                    if look_number.is_multiple_of(LOOKS_PER_COMMIT) {
                        self.commit()?;
                    }
                    look_number += 1;
                }
            }
        }
    }

    /// A pass each period, and whenever one is asked for; shards' places and the tables' capacity in between.
    async fn turns(&self) -> Result<(), JobError> {
        if self.spec.once {
            self.consumer.caught_up().await;
            return self.turn().await;
        }
        let every = Duration::from_secs_f64(self.spec.every);
        let mut wanted = self.wanted()?;
        let mut last = None::<Instant>;
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut second = 0_u32;
        loop {
            seconds.tick().await;
            second += 1;
            let asked = self.wanted()?;
            if asked != wanted || last.is_none_or(|last| last.elapsed() >= every) {
                wanted = asked;
                last = Some(Instant::now());
                self.turn().await?;
            } else if second.is_multiple_of(COMMITS_PER_PLACES) {
                self.store_places().await?;
            }
            if second.is_multiple_of(COMMITS_PER_DESCRIBE) {
                self.follow_capacity().await;
            }
        }
    }

    /// What asks for a pass, if anything does.
    fn wanted(&self) -> Result<Option<Vec<u8>>, JobError> {
        Ok(self.session.journal().checkpoint(&self.session.job.id, PASS_WANTED)?)
    }

    /// A failed look only keeps the pace as it is.
    async fn follow_capacity(&self) {
        for (name, writer) in [(&self.spec.buffer, &self.buffer), (&self.spec.events, &self.events)] {
            if let Ok(table) = inventory::table(&self.session.cloud, name).await {
                writer.pacer().set_provisioned(provisioned(&table));
            }
        }
    }

    /// A bound is found and promised, a pass is made, and the bound is published as the watermark.
    async fn turn(&self) -> Result<(), JobError> {
        let bound = self.promise().await?;
        self.standing().passing = true;
        let report = self.pass.run().await;
        self.standing().passing = false;
        let report = report?;
        let published = self.published(bound, &report).await?;
        self.passed(&report, published)?;
        Ok(())
    }

    async fn published(&self, bound: Option<Timestamp>, report: &PassReport) -> Result<Option<Timestamp>, JobError> {
        // A dry run stores nothing, so nothing is complete.
        let Some(bound) = bound.filter(|_| report.met == report.stored + report.poison) else { return Ok(None) };
        answered(self.clock.as_ref(), || self.mark.publish(bound)).await?;
        Ok(Some(bound))
    }

    /// Everything below what comes out is in the buffer or further, and nothing will be stamped below it any more.
    async fn promise(&self) -> Result<Option<Timestamp>, JobError> {
        if self.session.cloud.guard.mode() != Mode::Normal {
            return Ok(None);
        }
        let listing = answered(self.clock.as_ref(), || StreamSource::shards(self.stream.as_ref())).await?;
        let _nothing_is_stamped = self.intake.hold().await;
        let promised = self.intake.floors().promised();
        let (wall, clock) = (Timestamp::now().as_microsecond(), self.clock.now().as_micros() as i64);
        let progress = self.consumer.progress();
        let bound = watermark::bound(&listing, &progress, promised, wall, clock);
        let Some(bound) = bound.and_then(|bound| Timestamp::from_microsecond(bound).ok()) else { return Ok(None) };
        self.intake.promising();
        // Whatever the bound covers must never be read and stamped again.
        self.commit()?;
        self.store_places().await?;
        answered(self.clock.as_ref(), || self.mark.promise(bound)).await?;
        self.intake.promised(bound.as_microsecond());
        Ok(Some(bound))
    }

    /// Writes down what a pass did.
    fn passed(&self, report: &PassReport, published: Option<Timestamp>) -> Result<(), JobError> {
        let news = {
            let mut standing = self.standing();
            standing.passes += 1;
            standing.stored += report.stored;
            standing.slots += report.slots;
            standing.watermark = published.max(standing.watermark);
            std::mem::replace(&mut standing.poison, report.poison) != report.poison
        };
        if news && report.poison > 0 {
            self.session.note(
                "warn",
                &format!(
                    "{} rows of {} can't be events; they stay there, and `sluice dead list {}` shows them",
                    report.poison, self.spec.buffer, self.session.job.id
                ),
            );
        }
        self.write_down(&report.letters)?;
        Ok(())
    }

    /// Stores the places that changed since the last time.
    async fn store_places(&self) -> Result<(), CloudError> {
        let unstored: Vec<ShardCheckpoint> = {
            let standing = self.standing();
            standing.unstored.iter().filter_map(|shard| standing.checkpoints.get(shard).cloned()).collect()
        };
        futures::stream::iter(&unstored)
            .map(Ok)
            .try_for_each_concurrent(STORED_AT_ONCE, |place| async move {
                answered(self.clock.as_ref(), || self.places.store(place)).await
            })
            .await?;
        let mut standing = self.standing();
        for place in unstored {
            if standing.checkpoints.get(&place.shard) == Some(&place) {
                standing.unstored.remove(&place.shard);
            }
        }
        Ok(())
    }

    /// Takes what the shards settled, writes it down, and says how the job stands.
    fn commit(&self) -> Result<Counters, JobError> {
        let mut letters = Vec::new();
        for shard in self.consumer.settled() {
            letters.extend(shard.letters);
            let mut standing = self.standing();
            standing.unstored.insert(shard.checkpoint.shard.clone());
            standing.checkpoints.insert(shard.checkpoint.shard.clone(), shard.checkpoint);
        }
        self.write_down(&letters)
    }

    fn write_down(&self, letters: &[Letter]) -> Result<Counters, JobError> {
        let live = self.with_effort(self.consumer.live());
        let settled = {
            let standing = self.standing();
            standing.checkpoints.values().fold(Counters::default(), |sum, shard| sum + shard.counters)
        };
        let mut counters = self.with_effort(settled);
        counters.dead += self.standing().poison;
        let limit = self.limit();
        let shards = self.consumer.progress().into_iter().filter(|shard| !shard.done);
        let shards = shards
            .map(|shard| ShardSample {
                shard: shard.shard,
                lag_ms: shard.lag_ms,
                behind_records: shard.behind_records,
                records: shard.records,
            })
            .collect();
        let sample = Sample { at_ms: now_ms(), counters: live, limit: limit.clone(), shards, ..Sample::default() };
        self.session.journal().commit(
            &self.session.job.id,
            &Commit { counters, limit: &limit, letters, sample: Some(&sample), ..Commit::default() },
        )?;
        for words in self.consumer.take_notes() {
            self.session.note("warn", &words);
        }
        self.say(live, limit);
        Ok(counters)
    }

    fn with_effort(&self, mut counters: Counters) -> Counters {
        for writer in [&self.buffer, &self.events] {
            let effort = writer.effort();
            counters.retried += effort.retried;
            counters.throttled += effort.throttled;
            counters.wcu += effort.wcu;
        }
        counters
    }

    /// What binds now, in words.
    fn limit(&self) -> String {
        let said = |table: &str, writer: &Writer| match writer.limit() {
            Limit::Source => None,
            limit => Some(format!("{table}: {limit}")),
        };
        let events = if self.standing().passing { said(&self.spec.events, &self.events) } else { None };
        events
            .or_else(|| said(&self.spec.buffer, &self.buffer))
            .unwrap_or_else(|| format!("stream {}", self.spec.stream))
    }

    fn say(&self, live: Counters, limit: String) {
        let per_second = self.standing().speed.next(Instant::now(), live.written + live.dead);
        let job = &self.session.job;
        let seconds = (now_ms() - job.created_ms).max(0) as f64 / 1000.0;
        let line = Line::running(job, seconds, live);
        self.session.say(Line { seconds, per_second, limit: Some(limit), ..line });
    }

    /// Does what the operator asked. `change` is false for what held at the start.
    fn obey(&self, (control, rate): (Control, Option<f64>), change: bool) -> Result<(), JobError> {
        let held = control == Control::Pause;
        for writer in [&self.buffer, &self.events] {
            writer.pacer().hold(held);
        }
        self.events.pacer().set_caps(Caps { items_per_second: rate, wcu: None });
        let state = if held { State::Paused } else { State::Running };
        self.session.journal().set_state(&self.session.job.id, state)?;
        if change {
            let rate = rate.map_or(String::from("no rate cap"), |rate| format!("at most {rate:.0} events/s"));
            self.session.note("info", &format!("told to {}, {rate}", if held { "pause" } else { "run" }));
        }
        Ok(())
    }

    fn end(&self, halt: Option<Halt>, counters: &Counters) -> End {
        let state = halt.map_or(State::Done, State::from);
        let mut line: serde_json::Value = serde_json::from_str(&last_line(self.session, state)).unwrap_or_default();
        let standing = self.standing();
        line["stored"] = standing.stored.into();
        line["passes"] = standing.passes.into();
        line["slots"] = standing.slots.into();
        line["watermark"] = standing.watermark.map(|at| format!("{at:.6}")).into();
        let complete = standing.watermark.map_or_else(
            || format!("{} has no watermark yet", self.spec.events),
            |at| format!("{} is complete up to {at:.6}", self.spec.events),
        );
        let mut message = format!("{} events in {} passes stored; {complete}", standing.stored, standing.passes);
        if counters.dead > 0 {
            message = format!("{message}; {} dead letters: sluice dead list {}", counters.dead, self.session.job.id);
        }
        End { state, message, report: to_json(&line), dead: counters.dead > 0, left_out: false, differs: false }
    }
}

/// The live job of `journal`, other than `own`, that pumps the same stream into the same table.
///
/// # Errors
/// When the journal can't be read.
pub fn counter_of(
    journal: &Journal,
    spec: &PumpSpec,
    context: &Context,
    own: Option<&JobId>,
) -> Result<Option<JobId>, JournalError> {
    let same = |job: &Job| {
        let Spec::Pump(other) = &job.spec else { return false };
        (&other.stream, &other.events) == (&spec.stream, &spec.events)
            && job.context.is_same_place(context)
            && Some(&job.id) != own
            && journal.is_alive(&job.id)
    };
    Ok(journal.jobs()?.into_iter().find(same).map(|job| job.id))
}

/// Counts `slots` of event table `table` and writes what they hold into its directory, whatever that said.
///
/// # Errors
/// When a slot can't be read or the directory not be written.
pub async fn recount(cloud: &Cloud, table: &Table, layout: Layout, slots: &BTreeSet<Slot>) -> Result<(), CloudError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let into = writer(cloud, table, &clock);
    let directory = Directory::new(cloud.bulk.dynamodb.clone(), &table.name, layout);
    directory::count(&directory, &into, clock.as_ref(), slots.iter().copied(), true).await
}
