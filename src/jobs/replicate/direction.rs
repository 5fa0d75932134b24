//! One way of a replica: a stream with its reader, the gate that its changes pass, and the bootstrap beside it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bootstrap::{Bootstrap, renames, segments};
use super::fence::{Fence, KEYS};
use super::intake::{ChangeIntake, Gate};
use super::position::{self, Begun, CLOCKS_DIFFER_MS, Left, RETENTION_MS, Row};
use super::rule::{Deletes, Rule, Side};
use super::source::{Changes, Needed, make_ready};
use super::spec::{self, ReplicaTarget, ReplicateSpec};
use super::table::TableReplica;
use super::target::{self, Opened};
use super::two_ways::TwoWays;
use super::{LOOK, plan};
use crate::cloud::inventory::{self, Table};
use crate::cloud::{Class, Cloud};
use crate::flow::{Clock, Consumer, ConsumerOptions, Counters, StartAt, StreamSource, TableStream};
use crate::item::Shape;
use crate::jobs::journal::now_ms;
use crate::jobs::worker::{JobError, Session};

/// Records of a shard that are open at once: how much of it is done again after a crash.
const WINDOW: usize = 10_000;

/// A bootstrap that was interrupted goes on if it began at most so long ago, ms: an hour is left to read the stream again.
const RESUMABLE_MS: i64 = RETENTION_MS - 3_600_000;

/// A change that happened so long after a moment of this machine's clock was made after it, ms: streams tell whole seconds.
const SURELY_AFTER_MS: i64 = 2_000;

/// One way.
pub(super) struct Direction {
    /// 0 from the source, 1 from the target.
    pub number: usize,
    /// Where the table is that changes come from.
    pub cloud: Cloud,
    /// That table.
    pub source: Table,
    /// Its stream.
    pub stream: Arc<TableStream>,
    /// What reads it.
    pub consumer: Consumer,
    /// What its changes pass.
    pub gate: Arc<Gate>,
    /// The table that they go into, unless it is in BigQuery.
    pub table: Option<(Cloud, Table, Arc<TableReplica>)>,
    /// The copy of what was there before.
    pub bootstrap: Option<Bootstrap>,
}

/// The ways of a replica: one, or one from each side.
pub(super) struct Directions {
    list: Vec<Direction>,
    row: Mutex<Row>,
    /// When shards were last seen at their tips, as the last run left it.
    pub left: Left,
    /// Deletes that an echo must not undo.
    pub deletes: Option<Arc<Deletes>>,
    /// What this job had counted before.
    pub before: Counters,
}

impl Directions {
    /// Each.
    pub fn all(&self) -> &[Direction] {
        &self.list
    }

    /// What is kept beside the checkpoints.
    pub fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be missing in the replica, in words.
    pub fn gap(&self) -> Option<String> {
        let row = self.row();
        let repairing = || row.bootstrap.as_ref().filter(|begun| !begun.done)?.repairs.clone();
        row.gap.clone().or_else(repairing)
    }
}

/// Looks at everything that the replica works with, and starts to read.
pub(super) async fn open(
    session: &Session<'_>,
    spec: &ReplicateSpec,
    clock: &Arc<dyn Clock>,
) -> Result<Directions, JobError> {
    let place = session.cloud.place();
    if spec.two_way.is_some() && session.cloud.guard.mode() != crate::cloud::Mode::Normal {
        return Err(JobError::Unfit(
            "what --two-way does depends on what it did before: a dry run of it would show little. Leave out --two-way"
                .to_owned(),
        ));
    }
    target::not_itself(&place, spec).map_err(JobError::Unfit)?;
    let source = inventory::table(&session.cloud, &spec.table).await?;
    if !matches!(source.status.as_str(), "ACTIVE" | "UPDATING") {
        return Err(JobError::Unfit(format!("table {} is {}: wait until it is ACTIVE", source.name, source.status)));
    }
    target::fits(spec, &source.key).map_err(JobError::Unfit)?;
    let shape = Shape::new(&spec.shape).map_err(|error| JobError::Unfit(error.to_string()))?;
    let mut left = position::find(session, spec)?;
    let deletes = spec.two_way.as_ref().map(|_| Arc::new(Deletes::load(left.deletes.clone())));
    // Everything is looked at before anything is changed.
    let looked = looked_at(spec, &session.cloud, &spec.table).await?;
    let Opened { replica, table, key, name } = target::open(session, spec, &source, clock).await?;
    let looked_there = match (&spec.two_way, &table) {
        (Some(_), Some((cloud, there, _))) => Some(looked_at(spec, cloud, &there.name).await?),
        _ => None,
    };
    let stream = stream(session, &session.cloud, &spec.table, looked, clock).await?;
    let mut ways = vec![(session.cloud.clone(), source.clone(), stream, replica, table.clone(), key, name)];
    if let (Some(by), Some(deletes), Some((cloud, there, second)), Some(looked)) =
        (&spec.two_way, &deletes, table, looked_there)
    {
        let stream = self::stream(session, &cloud, &there.name, looked, clock).await?;
        let first = Arc::new(TableReplica::start(&session.cloud, &source, spec.leave, clock));
        let rule = Rule::new(by.clone(), Side::First, &source.name, Arc::clone(deletes));
        let (back, home) = (rule.reversed(&there.name), session.cloud.clone());
        let forth = TwoWays::start(rule, &cloud, Arc::clone(&second), Arc::clone(&first), clock);
        ways[0].3 = Arc::new(forth);
        let replica = Arc::new(TwoWays::start(back, &home, Arc::clone(&first), second, clock));
        let (key, name) = (source.key.clone(), source.name.clone());
        ways.push((cloud, there, stream, replica as _, Some((home, source.clone(), first)), key, name));
    }

    let arns: Vec<String> = ways.iter().map(|way| way.2.arn().to_owned()).collect();
    let begins = begins(session, spec, &left, &arns, source.bytes);
    let mut list = Vec::new();
    for (number, (cloud, source, stream, replica, table, key, name)) in ways.into_iter().enumerate() {
        let fence = Fence::new(KEYS);
        let bootstraps = begins.row.bootstrap.as_ref().filter(|begun| !begun.done);
        if bootstraps.is_none() {
            fence.fall();
        }
        let gate = Arc::new(Gate::new(replica, shape.clone(), key, &name, fence));
        let bootstrap = bootstraps.map(|begun| {
            let left = if begins.goes_on { left.segments[number].clone() } else { BTreeMap::new() };
            let prefix = position::SEGMENTS[number];
            let budget = plan::read_budget(&source, spec);
            Bootstrap::new(Arc::clone(&gate), &cloud, &source, prefix, begun.segments, &left, budget, clock)
        });
        let mut options = ConsumerOptions::new(&source.name);
        options.window = WINDOW;
        options.from = begins.from.clone();
        if begins.keeps_places {
            options.resume = still_there(session, &stream, &mut left, number, &begins).await?;
        }
        let intake = Arc::new(ChangeIntake::new(Arc::clone(&gate), begins.row.since_ms, spec.skip_ttl_deletes));
        let consumer = Consumer::start_into(options, Arc::clone(&stream) as _, intake as _, Arc::clone(clock));
        list.push(Direction { number, cloud, source, stream, consumer, gate, table, bootstrap });
    }
    if !begins.keeps_places {
        left.shards = [Vec::new(), Vec::new()];
    }
    if !begins.goes_on {
        left.segments = [BTreeMap::new(), BTreeMap::new()];
    }
    session.note("info", &format!("replicates {}, {}", spec.title(), begins.words));
    let mut row = begins.row;
    if begins.keeps_places {
        row.gap = row.gap.or(left.row.gap.take());
    }
    let before = left.row.counters;
    let directions = Directions { list, row: Mutex::new(row), left, deletes, before };
    if let Some(gap) = directions.gap() {
        session.note("warn", &gap);
    }
    Ok(directions)
}

/// What has to be done to the stream of `table`, once it is sure that it may be. Changes nothing.
async fn looked_at(spec: &ReplicateSpec, cloud: &Cloud, table: &str) -> Result<(Changes, Needed), JobError> {
    let changes = Changes::of(cloud, table).await?;
    let needed = changes.needed(spec);
    let (allowed, how) = match needed {
        Needed::Nothing => (true, ""),
        Needed::Begin { .. } => (spec.may_change_stream, "--yes"),
        Needed::Switch { .. } => (spec.switch_stream, "--switch-stream"),
    };
    match needed.in_words(table) {
        Some(words) if !allowed => Err(JobError::Unfit(format!("{words}. Nothing was done: {how} does it"))),
        _ => Ok((changes, needed)),
    }
}

/// The stream of `table`, begun where that is needed.
async fn stream(
    session: &Session<'_>,
    cloud: &Cloud,
    table: &str,
    (changes, needed): (Changes, Needed),
    clock: &Arc<dyn Clock>,
) -> Result<Arc<TableStream>, JobError> {
    if let Some(words) = needed.in_words(table) {
        session.note("warn", &words);
    }
    let arn = match (&needed, changes.arn) {
        (Needed::Nothing, Some(arn)) => arn,
        _ => make_ready(cloud, table, &needed, clock.as_ref()).await?,
    };
    Ok(Arc::new(TableStream::new(cloud, table, arn)))
}

/// Where this run begins.
struct Begins {
    row: Row,
    /// Where shards begin that have no checkpoint.
    from: StartAt,
    /// The checkpoints of the last run hold.
    keeps_places: bool,
    /// The segments of the last run's scan hold.
    goes_on: bool,
    words: String,
}

fn begins(session: &Session<'_>, spec: &ReplicateSpec, left: &Left, arns: &[String], bytes: u64) -> Begins {
    let now = now_ms();
    let mut row = Row { streams: arns.to_vec(), ..left.row.clone() };
    let own = left.by.as_ref() == Some(&session.job.id);
    let other_stream = left.by.is_some() && left.row.streams != arns;
    if other_stream {
        row.gap = Some(format!(
            "the stream of {} is another one than the replica was kept from: what changed between the two is missing. \
             --rebootstrap repairs it",
            spec.table
        ));
        row.tips.clear();
    }
    let can_sweep = spec.two_way.is_none() && matches!(spec.target, ReplicaTarget::Table(_));
    let begun = |sweeps: bool| Begun {
        at_ms: now,
        segments: spec.segments.unwrap_or_else(|| segments(bytes)).max(1),
        sweeps: sweeps && can_sweep,
        repairs: None,
        done: false,
    };
    // Rebootstrapping is done once by a job, however often it is taken up.
    let again = spec.rebootstrap && !(own && left.row.bootstrap.is_some());
    let unfinished = left.row.bootstrap.clone().filter(|begun| !begun.done);
    let (bootstrap, words, goes_on) = match unfinished {
        Some(before) if !other_stream && now - before.at_ms < RESUMABLE_MS => {
            // What the stream said since the bootstrap began is read again: an item scanned before must not undo it.
            row.since_ms = before.at_ms - CLOCKS_DIFFER_MS;
            let before = Begun { sweeps: before.sweeps || (spec.rebootstrap && can_sweep), ..before };
            (Some(before), "goes on with its bootstrap; the changes since it began are read again".to_owned(), true)
        }
        Some(_) => {
            let words =
                "begins its bootstrap anew: the last one was interrupted, and the stream no longer reaches back to it";
            (Some(begun(true)), words.to_owned(), false)
        }
        None if again => {
            (Some(begun(true)), "copies everything again, and removes what the source does not have".to_owned(), false)
        }
        None if left.by.is_none() && spec.bootstrap == spec::Bootstrap::Scan => {
            (Some(begun(false)), "copies what is there, while it reads the changes".to_owned(), false)
        }
        None => {
            let before = left.row.bootstrap.clone();
            let by = left.by.as_ref().map(|id| if own { "it".to_owned() } else { format!("job {id}") });
            let words = match by {
                Some(_) if other_stream => "from the oldest change of the new stream".to_owned(),
                Some(by) => format!("goes on where {by} stopped"),
                None => "without a bootstrap".to_owned(),
            };
            let from = match (&left.by, spec.from.clone()) {
                (None, Some(from)) => from,
                _ => StartAt::TrimHorizon,
            };
            match &from {
                StartAt::Time(ms) => row.since_ms = *ms,
                StartAt::Latest => row.since_ms = now - CLOCKS_DIFFER_MS,
                _ if left.by.is_none() => row.since_ms = 0,
                _ => {}
            }
            row.bootstrap = before;
            return Begins { row, from, keeps_places: !other_stream, goes_on: false, words };
        }
    };
    let from = if goes_on { StartAt::TrimHorizon } else { StartAt::Latest };
    if !goes_on {
        row.since_ms = now - CLOCKS_DIFFER_MS;
        row.tips.clear();
    }
    row.bootstrap = bootstrap;
    if let Some(begun) = row.bootstrap.as_mut().filter(|_| !goes_on) {
        let before = || left.row.bootstrap.as_ref().filter(|before| !before.done)?.repairs.clone();
        begun.repairs = row.gap.take().or_else(before);
    }
    Begins { row, from, keeps_places: false, goes_on, words }
}

/// The checkpoints of shards that the stream still has; one that it lost with something unread is a gap.
async fn still_there(
    session: &Session<'_>,
    stream: &TableStream,
    left: &mut Left,
    number: usize,
    begins: &Begins,
) -> Result<Vec<crate::flow::ShardCheckpoint>, JobError> {
    if left.shards[number].is_empty() {
        return Ok(Vec::new());
    }
    let listed = stream.all_shards().await?;
    let listed = |id: &str| listed.iter().any(|shard| shard.id == id);
    let (there, lost): (Vec<_>, Vec<_>) =
        std::mem::take(&mut left.shards[number]).into_iter().partition(|shard| listed(&shard.shard));
    let kept_since = now_ms() - RETENTION_MS;
    for shard in lost.iter().filter(|shard| !shard.done) {
        if begins.row.tips.get(&shard.shard).is_none_or(|tip| *tip < kept_since) && left.row.gap.is_none() {
            left.row.gap = Some(format!(
                "shard {} left the stream before it was read to its end: the pause was longer than the 24 hours that a change \
                 is kept, and what was left of it is missing. --rebootstrap repairs it",
                shard.shard
            ));
            session.note("warn", &format!("{} is gone from the stream", shard.shard));
        }
    }
    left.shards[number].clone_from(&there);
    Ok(there)
}

/// Copies what was there before, if that is to be done.
pub(super) async fn bootstrap(
    session: &Session<'_>,
    spec: &ReplicateSpec,
    directions: &Directions,
    clock: &Arc<dyn Clock>,
) -> Result<(), JobError> {
    let Some(begun) = directions.row().bootstrap.clone().filter(|begun| !begun.done) else { return Ok(()) };
    // The place in the stream first: whatever changes from now on is read.
    for direction in directions.all() {
        loop {
            let listed = direction.stream.shards().await?;
            let progress = direction.consumer.progress();
            let is_read = |id: &str| {
                let shard = progress.iter().find(|shard| shard.shard == id);
                shard.is_some_and(|shard| shard.done || shard.records > 0 || shard.caught_up.is_some())
            };
            let waits = |shard: &crate::flow::Shard| shard.open && !is_read(&shard.id);
            if !listed.is_empty() && !listed.iter().any(waits) {
                break;
            }
            clock.sleep(LOOK).await;
        }
    }
    let parts = directions.all().iter().filter_map(|direction| direction.bootstrap.as_ref());
    let scans: Vec<_> = parts.map(Bootstrap::scan).collect();
    futures::future::try_join_all(scans).await?;
    if begun.sweeps {
        for direction in directions.all() {
            let (Some(bootstrap), Some((cloud, table, _))) = (&direction.bootstrap, &direction.table) else { continue };
            session
                .note("info", &format!("all of {} is copied; looks for what {} has beyond it", spec.table, table.name));
            let renames = renames(&spec.shape);
            let budget = plan::read_budget(table, spec);
            let source = (&direction.cloud, &direction.source);
            bootstrap.sweep(source, (cloud, table), &renames, budget, clock).await?;
        }
    }
    for direction in directions.all() {
        direction.gate.fence.fall();
        if let Some(bootstrap) = &direction.bootstrap {
            bootstrap.done.store(true, Ordering::Release);
        }
    }
    {
        let mut row = directions.row();
        if let Some(bootstrap) = &mut row.bootstrap {
            bootstrap.done = true;
        }
        if begun.repairs.is_some() && !begun.sweeps && spec.two_way.is_none() {
            let words = "what was removed from the source in the gap may still be in the replica".to_owned();
            row.gap.get_or_insert(words);
        }
    }
    session.note("info", "the bootstrap is through: from now on the replica follows the changes");
    Ok(())
}

/// Ends once everything that was changed before it was called is in the replica.
pub(super) async fn caught_up(directions: &Directions, clock: &Arc<dyn Clock>) -> Result<(), JobError> {
    // With two ways a change that is written on one side comes back from it: until a round writes nothing.
    let mut written = None;
    for _ in 0..20 {
        for direction in directions.all() {
            one_caught_up(direction, clock).await?;
        }
        let now: u64 = directions.all().iter().map(|direction| direction.consumer.live().read).sum();
        if directions.all().len() == 1 || written.replace(now) == Some(now) {
            return Ok(());
        }
    }
    Ok(())
}

async fn one_caught_up(direction: &Direction, clock: &Arc<dyn Clock>) -> Result<(), JobError> {
    let (since, wall) = (clock.now(), now_ms());
    loop {
        let progress = direction.consumer.progress();
        let is_there = |id: &str| {
            progress.iter().find(|shard| shard.shard == id).is_some_and(|shard| {
                let beyond = shard.settled_us.is_some_and(|us| us / 1_000 > wall + SURELY_AFTER_MS);
                shard.done && shard.open == 0
                    || beyond
                    || shard.caught_up.is_some_and(|at| at > since) && shard.open == 0
            })
        };
        if !progress.is_empty() && progress.iter().all(|shard| is_there(&shard.shard)) {
            let listed = direction.stream.all_shards().await?;
            if listed.iter().all(|shard| is_there(&shard.id)) {
                return Ok(());
            }
        }
        clock.sleep(LOOK).await;
    }
}

/// Ends when a stream has ended and was read to its end, with why in words.
pub(super) async fn ended(
    session: &Session<'_>,
    spec: &ReplicateSpec,
    directions: &Directions,
    clock: &Arc<dyn Clock>,
) -> String {
    loop {
        clock.sleep(Duration::from_secs(5)).await;
        for direction in directions.all() {
            let progress = direction.consumer.progress();
            if progress.is_empty() || progress.iter().any(|shard| !shard.done || shard.open > 0) {
                continue;
            }
            let Ok(listed) = direction.stream.all_shards().await else { continue };
            if listed.iter().any(|shard| shard.open || !progress.iter().any(|read| read.shard == shard.id)) {
                continue;
            }
            let table = &direction.source.name;
            match Changes::of(&direction.cloud, table).await {
                Err(error) if error.class == Class::NotFound => {
                    return format!("{table} was deleted; every change that its stream held is in the replica");
                }
                Ok(changes) if changes.arn.as_deref() != Some(direction.stream.arn()) || changes.view.is_none() => {
                    let words = format!(
                        "the stream of {table} was ended; every change that it held is in the replica, and what changes since is \
                         not. Start again with --rebootstrap: it begins a stream and copies what changed"
                    );
                    session.note("warn", &words);
                    directions.row().gap =
                        Some(format!("the stream of {} was ended: --rebootstrap repairs it", spec.table));
                    return words;
                }
                _ => {}
            }
        }
    }
}
