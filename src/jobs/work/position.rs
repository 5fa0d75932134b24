//! Where a put worker goes on: the journal keeps the place in each shard with the job that got there, and the next job on
//! the same stream takes it over.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tables::Orders;
use crate::cloud::Context;
use crate::flow::{Caps, Counters, ShardCheckpoint, StartAt, StreamSource};
use crate::jobs::consuming;
use crate::jobs::journal::{Control, Job, Journal, JournalError, WorkerLock, to_json};
use crate::jobs::spec::{JobId, Kind, Spec, WorkSpec};
use crate::jobs::worker::{JobError, Session};

/// AWS refuses signatures that are off by more than five minutes: no clock of a worker differs more from the service's.
const CLOCKS_DIFFER: Duration = Duration::from_mins(5);

/// Name of the row beside the shards' checkpoints.
const ROW: &str = "work";

/// What is kept beside the shards' checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    /// Where shards begin that have no checkpoint.
    from: StartAt,
    /// Exact counters of the job, as far as the checkpoints go; the effort included.
    counters: Counters,
}

/// Where a job begins or goes on.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// Where shards begin that have no checkpoint.
    pub from: StartAt,
    /// The shards that were read before.
    pub shards: Vec<ShardCheckpoint>,
    /// What this job had counted before.
    pub counters: Counters,
    /// Whether a lease table keeps the place.
    pub shared: bool,
    /// Where it goes on, in words.
    pub words: String,
    /// What the next job is told.
    later_from: StartAt,
    orders: (Option<f64>, Option<f64>),
}

impl Position {
    /// What is stored beside the shards' checkpoints with every commit.
    pub fn row(&self, counters: Counters) -> (String, Vec<u8>) {
        (ROW.to_owned(), to_json(&Row { from: self.later_from.clone(), counters }).into_bytes())
    }

    /// The time at which a shard begins that a later worker finds unread, ms since the epoch.
    pub fn begins_ms(&self) -> Option<i64> {
        match self.later_from {
            StartAt::Time(ms) => Some(ms),
            _ => None,
        }
    }

    /// What is stored with the first commit: what was taken over.
    pub fn taken_over(&self) -> Vec<(String, Vec<u8>)> {
        self.shards.iter().map(consuming::row).collect()
    }

    /// What the operator said at the start and since.
    pub fn caps(&self, session: &Session<'_>) -> Orders {
        let (control, rate) = session.journal().controls(&session.job.id).unwrap_or((Control::Run, None));
        let caps = Caps { items_per_second: rate.or(self.orders.0), wcu: self.orders.1 };
        Orders { caps, held: control == Control::Pause }
    }
}

/// The live put worker without a lease table on `stream` in `context` that is not `but`.
pub fn running(
    journal: &Journal,
    context: &Context,
    stream: &str,
    but: Option<&JobId>,
) -> Result<Option<JobId>, JournalError> {
    let mut jobs = journal.jobs()?.into_iter();
    let is_one = |job: &Job| {
        let lives = job.state.is_live() && job.state != crate::jobs::journal::State::Starting;
        lives && Some(&job.id) != but && keeps_its_place_here(job, context, stream)
    };
    Ok(jobs.find(is_one).map(|job| job.id))
}

/// That another job has the stream's place in this journal in hand.
pub fn already(stream: &str, running: Option<&JobId>) -> String {
    let id = running.map_or_else(|| "another job".to_owned(), |id| format!("job {id}"));
    let cancel = running.map(|id| format!(" (sluice cancel {id})")).unwrap_or_default();
    format!(
        "{id} runs the put requests of {stream} already, and both would keep their place here: end it first{cancel}, or let \
         workers share the stream with --lease-table"
    )
}

fn keeps_its_place_here(job: &Job, context: &Context, stream: &str) -> bool {
    job.kind() == Kind::Work
        && matches!(&job.spec, Spec::Work(spec) if spec.lease_table.is_none() && spec.stream == stream)
        && job.context.is_same_place(context)
}

/// Sees to it that no other job of this journal keeps its place in the same stream.
pub(super) fn only_one(session: &Session<'_>, spec: &WorkSpec) -> Result<Option<WorkerLock>, JobError> {
    if spec.lease_table.is_some() {
        return Ok(None);
    }
    let place = session.cloud.place();
    let journal = session.journal();
    if let Some(id) = running(&journal, &place, &spec.stream, Some(&session.job.id))? {
        return Err(JobError::Unfit(already(&spec.stream, Some(&id))));
    }
    // Two that begin at once don't see each other: the lock does.
    let named = (&place.endpoint_url, &place.region, &spec.stream);
    let hash = xxhash_rust::xxh3::xxh3_64(to_json(&named).as_bytes());
    match journal.lock(&JobId(format!("work-{hash:016x}"))) {
        Ok(lock) => Ok(Some(lock)),
        Err(JournalError::Running(_)) => Err(JobError::Unfit(already(&spec.stream, None))),
        Err(error) => Err(error.into()),
    }
}

/// The job that got furthest in the stream, and what it stored: only one runs at a time, so it is the last that began.
fn last(session: &Session<'_>, spec: &WorkSpec) -> Result<Option<(JobId, Row)>, JobError> {
    let place = session.cloud.place();
    let journal = session.journal();
    let mut jobs = journal.jobs()?;
    // This one has begun anew: when it did so before is what counts.
    if let Some(own) = jobs.iter_mut().find(|job| job.id == session.job.id) {
        own.started_ms = session.job.started_ms;
    }
    jobs.retain(|job| job.started_ms.is_some() && keeps_its_place_here(job, &place, &spec.stream));
    jobs.sort_by_key(|job| std::cmp::Reverse(job.started_ms));
    for job in jobs {
        if let Some(stored) = journal.checkpoint(&job.id, ROW)? {
            let row = serde_json::from_slice(&stored)
                .map_err(|e| JobError::Unfit(format!("the checkpoint of job {} can't be read: {e}", job.id)))?;
            return Ok(Some((job.id, row)));
        }
    }
    Ok(None)
}

/// Where this job begins or goes on.
pub(super) async fn find(
    session: &Session<'_>,
    spec: &WorkSpec,
    source: &dyn StreamSource,
) -> Result<Position, JobError> {
    let from = spec.from.clone().unwrap_or(StartAt::TrimHorizon);
    let own = &session.job.id;
    let counted = |row: &Row| if row.counters.read > 0 { row.counters } else { Counters::default() };
    let mut position = Position {
        later_from: match &from {
            // A record that comes while nobody reads must not be passed over: from now on the time counts.
            StartAt::Latest => StartAt::Time(session.job.created_ms - CLOCKS_DIFFER.as_millis() as i64),
            from => from.clone(),
        },
        words: format!("from {}", in_words(&from)),
        from,
        shards: Vec::new(),
        counters: Counters::default(),
        shared: spec.lease_table.is_some(),
        orders: (spec.rate, spec.max_wcu),
    };
    if let Some(table) = &spec.lease_table {
        let stored = session.journal().checkpoint(own, ROW)?;
        let row: Option<Row> = stored.and_then(|stored| serde_json::from_slice(&stored).ok());
        position.counters = row.as_ref().map(counted).unwrap_or_default();
        position.words = format!("as the leases of table {table} say, else {}", position.words);
        return Ok(position);
    }
    let Some((id, row)) = last(session, spec)? else { return Ok(position) };
    if id == *own {
        position.counters = counted(&row);
    }
    position.words = format!("where {} stopped", if id == *own { "it".to_owned() } else { format!("job {id}") });
    position.from = row.from.clone();
    position.later_from = row.from;
    position.shards = consuming::checkpoints(&session.journal(), &id)?;
    let listed: HashSet<String> = source.shards().await?.into_iter().map(|shard| shard.id).collect();
    let (there, left): (Vec<_>, Vec<_>) =
        std::mem::take(&mut position.shards).into_iter().partition(|shard| listed.contains(&shard.shard));
    for shard in left.iter().filter(|shard| !shard.done) {
        session.note(
            "warn",
            &format!(
                "{} left the stream before it was read to its end: the retention of {} was shorter than the pause, and what was \
                 left of it is lost",
                shard.shard, spec.stream
            ),
        );
    }
    // Each run counts from zero; what ran before is the job's.
    position.shards = there.into_iter().map(|c| ShardCheckpoint { counters: Counters::default(), ..c }).collect();
    Ok(position)
}

fn in_words(from: &StartAt) -> String {
    match from {
        StartAt::TrimHorizon => "the oldest record".to_owned(),
        StartAt::Latest => "the newest record".to_owned(),
        StartAt::Time(ms) => {
            jiff::Timestamp::from_millisecond(*ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
        }
        StartAt::At(sequence) => format!("record {sequence}"),
        StartAt::After(sequence) => format!("after record {sequence}"),
    }
}
