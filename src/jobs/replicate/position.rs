//! Where a replica goes on: the journal keeps the place in each shard with the job that got there, and the next job on the
//! same source and target takes it over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::ReplicateSpec;
use crate::cloud::Context;
use crate::flow::{Counters, ShardCheckpoint};
use crate::jobs::journal::{Job, Journal, JournalError, WorkerLock, to_json};
use crate::jobs::spec::{JobId, Spec};
use crate::jobs::worker::{JobError, Session};

/// How long a stream keeps a record, ms (FORMATS.md 4).
pub const RETENTION_MS: i64 = 24 * 3_600_000;

/// AWS refuses signatures that are off by more than five minutes: no clock of a worker differs more from the service's.
pub(super) const CLOCKS_DIFFER_MS: i64 = 5 * 60_000;

/// Name of the row beside the shards' checkpoints.
const ROW: &str = "replica";

/// A bootstrap that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// When, ms since the epoch: changes from then on are read from the streams.
    pub at_ms: i64,
    /// Segments of the scan.
    pub segments: u32,
    /// What the source does not have is removed from the replica.
    #[serde(default)]
    pub sweeps: bool,
    /// The gap that it repairs, in words: what is lost while it is on is another one.
    #[serde(default)]
    pub repairs: Option<String>,
    /// It is through.
    #[serde(default)]
    pub done: bool,
}

/// What is kept of a replica beside its shards' checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    /// The streams that are read, by their ARNs: the source's, and with two ways the target's.
    pub streams: Vec<String>,
    /// Changes from before are passed over, ms since the epoch.
    pub since_ms: i64,
    /// The bootstrap, if there is one.
    pub bootstrap: Option<Begun>,
    /// Changes may be missing in the replica, in words.
    pub gap: Option<String>,
    /// When each shard was last seen read to its tip, ms since the epoch.
    pub tips: BTreeMap<String, i64>,
    /// Exact counters of the job, as far as the checkpoints go.
    pub counters: Counters,
}

impl Row {
    /// As the journal keeps it.
    pub fn stored(&self) -> (String, Vec<u8>) {
        (ROW.to_owned(), to_json(self).into_bytes())
    }
}

/// What the name of a shard's checkpoint begins with: of the source's stream, and of the target's.
pub(super) const SHARDS: [&str; 2] = ["shard:", "back:"];
/// What the name of a segment's checkpoint begins with.
pub(super) const SEGMENTS: [&str; 2] = ["scan:", "backscan:"];

/// How far a segment of the bootstrap's scan is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentAt {
    /// The key after which it goes on, DynamoDB JSON.
    pub after: Option<String>,
    /// It is read.
    pub done: bool,
}

/// What the last run left.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// The job that left it.
    pub by: Option<JobId>,
    /// Its row.
    pub row: Row,
    /// The shards of each direction.
    pub shards: [Vec<ShardCheckpoint>; 2],
    /// The segments of each direction.
    pub segments: [BTreeMap<u32, SegmentAt>; 2],
    /// Deletes that an echo must not undo.
    pub deletes: Vec<(String, Vec<u8>)>,
}

/// The live job that keeps the same replica and is not `but`.
pub fn running(
    journal: &Journal,
    context: &Context,
    spec: &ReplicateSpec,
    but: Option<&JobId>,
) -> Result<Option<JobId>, JournalError> {
    let lives = |job: &Job| {
        job.state.is_live()
            && job.state != crate::jobs::journal::State::Starting
            && Some(&job.id) != but
            && is_same(job, context, spec)
    };
    Ok(journal.jobs()?.into_iter().find(lives).map(|job| job.id))
}

fn is_same(job: &Job, context: &Context, spec: &ReplicateSpec) -> bool {
    matches!(&job.spec, Spec::Replicate(other) if other.is_same_replica(spec)) && job.context.is_same_place(context)
}

/// That another job keeps the replica.
pub fn already(spec: &ReplicateSpec, running: Option<&JobId>) -> String {
    let id = running.map_or_else(|| "another job".to_owned(), |id| format!("job {id}"));
    let cancel = running.map(|id| format!(" (sluice cancel {id})")).unwrap_or_default();
    format!("{id} keeps {} already, and both would write their place: end it first{cancel}", spec.title())
}

/// Sees to it that no other job of this journal keeps the same replica.
pub(super) fn only_one(session: &Session<'_>, spec: &ReplicateSpec) -> Result<WorkerLock, JobError> {
    let place = session.cloud.place();
    let journal = session.journal();
    if let Some(id) = running(&journal, &place, spec, Some(&session.job.id))? {
        return Err(JobError::Unfit(already(spec, Some(&id))));
    }
    // Two that begin at once don't see each other: the lock does.
    let named = to_json(&(&place.endpoint_url, &place.region, &spec.table, &spec.target));
    match journal.lock(&JobId(format!("replicate-{:016x}", xxhash_rust::xxh3::xxh3_64(named.as_bytes())))) {
        Ok(lock) => Ok(lock),
        Err(JournalError::Running(_)) => Err(JobError::Unfit(already(spec, None))),
        Err(error) => Err(error.into()),
    }
}

/// What the job that last kept the replica left.
pub(super) fn find(session: &Session<'_>, spec: &ReplicateSpec) -> Result<Left, JobError> {
    let place = session.cloud.place();
    let journal = session.journal();
    let mut jobs = journal.jobs()?;
    // This one has begun anew: when it did so before is what counts.
    if let Some(own) = jobs.iter_mut().find(|job| job.id == session.job.id) {
        own.started_ms = session.job.started_ms;
    }
    jobs.retain(|job| job.started_ms.is_some() && is_same(job, &place, spec));
    jobs.sort_by_key(|job| std::cmp::Reverse(job.started_ms));
    for job in jobs {
        let Some(stored) = journal.checkpoint(&job.id, ROW)? else { continue };
        let unreadable =
            |e: serde_json::Error| JobError::Unfit(format!("the checkpoint of job {} can't be read: {e}", job.id));
        let mut left = Left {
            by: Some(job.id.clone()),
            row: serde_json::from_slice(&stored).map_err(unreadable)?,
            ..Left::default()
        };
        if job.id != session.job.id {
            left.row.counters = Counters::default();
        }
        for (n, (shards, segments)) in SHARDS.into_iter().zip(SEGMENTS).enumerate() {
            for (_, value) in journal.checkpoints(&job.id, shards)? {
                let shard: ShardCheckpoint = serde_json::from_slice(&value).map_err(unreadable)?;
                // Each run counts from zero; what ran before is the row's.
                left.shards[n].push(ShardCheckpoint { counters: Counters::default(), ..shard });
            }
            for (name, value) in journal.checkpoints(&job.id, segments)? {
                if let Ok(number) = name[segments.len()..].parse() {
                    left.segments[n].insert(number, serde_json::from_slice(&value).map_err(unreadable)?);
                }
            }
        }
        left.deletes = journal.checkpoints(&job.id, super::rule::DELETES)?;
        return Ok(left);
    }
    Ok(Left::default())
}

/// Whether an earlier run kept the replica `spec`: a new one goes on there.
pub(super) fn is_kept(journal: &Journal, context: &Context, spec: &ReplicateSpec) -> Result<bool, JournalError> {
    for job in journal.jobs()?.iter().filter(|job| is_same(job, context, spec)) {
        if journal.checkpoint(&job.id, ROW)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Left {
    /// What is stored with the first commit: what was taken over.
    pub fn taken_over(&self) -> Vec<(String, Vec<u8>)> {
        let mut rows = self.deletes.clone();
        for (prefix, shards) in SHARDS.into_iter().zip(&self.shards) {
            rows.extend(shards.iter().map(|shard| row(prefix, shard)));
        }
        for (prefix, segments) in SEGMENTS.into_iter().zip(&self.segments) {
            rows.extend(segments.iter().map(|(number, at)| segment_row(prefix, *number, at)));
        }
        rows
    }
}

/// A shard's checkpoint as the journal keeps it.
pub(super) fn row(prefix: &str, checkpoint: &ShardCheckpoint) -> (String, Vec<u8>) {
    (format!("{prefix}{}", checkpoint.shard), to_json(checkpoint).into_bytes())
}

/// A segment's checkpoint as the journal keeps it.
pub(super) fn segment_row(prefix: &str, number: u32, at: &SegmentAt) -> (String, Vec<u8>) {
    (format!("{prefix}{number}"), to_json(at).into_bytes())
}
