//! What every job that runs the put requests of a stream shares: its shards' checkpoints, samples and lag.

use super::journal::{Journal, ShardSample, to_json};
use super::spec::JobId;
use super::worker::JobError;
use crate::flow::{Consumer, ShardCheckpoint, ShardProgress, ShardSettled};

/// What the name of a shard's checkpoint in the journal begins with.
const SHARD: &str = "shard:";

/// The checkpoints of the shards that job `id` read.
pub(super) fn checkpoints(journal: &Journal, id: &JobId) -> Result<Vec<ShardCheckpoint>, JobError> {
    let read = |(name, value): (String, Vec<u8>)| {
        serde_json::from_slice(&value)
            .map_err(|e| JobError::Unfit(format!("the checkpoint {name} of job {id} can't be read: {e}")))
    };
    journal.checkpoints(id, SHARD)?.into_iter().map(read).collect()
}

/// A checkpoint as the journal keeps it.
pub(super) fn row(checkpoint: &ShardCheckpoint) -> (String, Vec<u8>) {
    (format!("{SHARD}{}", checkpoint.shard), to_json(checkpoint).into_bytes())
}

/// The checkpoints of what shards settled.
pub(super) fn rows(settled: &[ShardSettled]) -> impl Iterator<Item = (String, Vec<u8>)> {
    settled.iter().map(|shard| row(&shard.checkpoint))
}

/// The shards being read, for the journal's sample of this second.
pub(super) fn samples(consumer: &Consumer) -> Vec<ShardSample> {
    let open = consumer.progress().into_iter().filter(|shard| !shard.done);
    let sample = |shard: ShardProgress| ShardSample {
        shard: shard.shard,
        lag_ms: shard.lag_ms,
        behind_records: shard.behind_records,
        records: shard.records,
    };
    open.map(sample).collect()
}

/// How many shards are read, and how late the latest of them is, ms.
pub(super) fn behind(consumer: &Consumer) -> (usize, u64) {
    let open: Vec<u64> = consumer.progress().iter().filter(|shard| !shard.done).map(|shard| shard.lag_ms).collect();
    (open.len(), open.iter().copied().max().unwrap_or(0))
}
