//! Streams across restarts: written as the server closes, read as it opens. A server that never closed leaves none, and
//! its tables begin new streams: a reader is told of the gap instead of reading past it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ciborium::Value;
use dynoxide::types::KeySchemaElement;
use serde::{Deserialize, Serialize};

use super::log::{Log, Shard};
use super::records::{Block, Records, Sequence};
use super::{Rate, Stream, Streams, View};
use crate::local::LocalError;
use crate::local::throughput::Millis;

/// The file beside the database.
const FILE: &str = "table-streams.cbor";

#[derive(Serialize, Deserialize)]
struct KeptStream {
    arn: String,
    label: String,
    table: String,
    view: View,
    keys: Vec<KeySchemaElement>,
    created_ms: Millis,
    seed: u64,
    last_id: u64,
    last_ms: Millis,
    ended_ms: Option<Millis>,
    shards: Vec<KeptShard>,
}

#[derive(Serialize, Deserialize)]
struct KeptShard {
    id: String,
    parent: Option<String>,
    hashes: (u64, u64),
    generation: u32,
    opened_ms: Millis,
    start: Sequence,
    last: Sequence,
    appended: u64,
    closed_ms: Option<Millis>,
    trimmed: Sequence,
    blocks: Vec<KeptBlock>,
}

#[derive(Serialize, Deserialize)]
struct KeptBlock {
    first: Sequence,
    last: Sequence,
    last_ms: Millis,
    plain: usize,
    packed: Value,
}

impl Streams {
    /// Writes all streams into `folder`.
    pub(in super::super) fn keep(&self, folder: &Path) -> Result<(), LocalError> {
        let kept: Vec<KeptStream> = self.all().iter().map(|stream| KeptStream::of(stream)).collect();
        let file = folder.join(FILE);
        let mut bytes = Vec::new();
        ciborium::into_writer(&kept, &mut bytes).expect("plain values, and memory is always written");
        let fresh = file.with_extension("cbor.new");
        std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, &file)).map_err(LocalError::folder(&file))
    }

    /// Reads what a server that closed wrote into `folder`, once: from now on it grows old.
    pub(in super::super) fn take_kept(&self, folder: &Path) -> Result<(), LocalError> {
        let file = folder.join(FILE);
        if !file.exists() {
            return Ok(());
        }
        let read = std::fs::read(&file).and_then(|bytes| std::fs::remove_file(&file).map(|()| bytes));
        let bytes = read.map_err(LocalError::folder(&file))?;
        let kept: Vec<KeptStream> = ciborium::from_reader(bytes.as_slice()).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "can't be read: tables begin new streams");
            Vec::new()
        });
        for kept in kept {
            let is_live = kept.ended_ms.is_none();
            let stream = Arc::new(kept.into_stream(self.roll));
            if is_live {
                let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
                live.insert(stream.table.clone(), Arc::clone(&stream));
            }
            self.add(stream);
        }
        Ok(())
    }
}

impl KeptStream {
    fn of(stream: &Stream) -> Self {
        let mut log = stream.log();
        Self {
            arn: stream.arn.clone(),
            label: stream.label.clone(),
            table: stream.table.clone(),
            view: stream.view,
            keys: stream.keys.clone(),
            created_ms: stream.created_ms,
            seed: log.seed,
            last_id: log.last_id,
            last_ms: log.last_ms,
            ended_ms: log.ended_ms,
            shards: log.shards.iter_mut().map(KeptShard::of).collect(),
        }
    }

    fn into_stream(self, roll: super::Roll) -> Stream {
        let Self { arn, label, table, view, keys, created_ms, seed, last_id, last_ms, ended_ms, shards } = self;
        let shards = shards.into_iter().map(KeptShard::into_shard).collect();
        let log = Mutex::new(Log { seed, last_id, shards, roll, last_ms, advanced_ms: 0, ended_ms });
        Stream { arn, label, table, view, keys, created_ms, log }
    }
}

impl KeptShard {
    fn of(shard: &mut Shard) -> Self {
        let (trimmed, blocks) = shard.records.all_packed();
        let block = |block: &Block| KeptBlock {
            first: block.first,
            last: block.last,
            last_ms: block.last_ms,
            plain: block.plain,
            packed: Value::Bytes(block.packed.to_vec()),
        };
        Self {
            blocks: blocks.map(block).collect(),
            trimmed,
            id: shard.id.clone(),
            parent: shard.parent.clone(),
            hashes: (*shard.hashes.start(), *shard.hashes.end()),
            generation: shard.generation,
            opened_ms: shard.opened_ms,
            start: shard.start,
            last: shard.last,
            appended: shard.appended,
            closed_ms: shard.closed_ms,
        }
    }

    fn into_shard(self) -> Shard {
        let blocks = self.blocks.into_iter().map(|kept| Block {
            first: kept.first,
            last: kept.last,
            last_ms: kept.last_ms,
            plain: kept.plain,
            packed: kept.packed.into_bytes().unwrap_or_default().into(),
        });
        Shard {
            records: Records::of(self.trimmed, blocks),
            id: self.id,
            parent: self.parent,
            hashes: self.hashes.0..=self.hashes.1,
            generation: self.generation,
            opened_ms: self.opened_ms,
            start: self.start,
            last: self.last,
            appended: self.appended,
            closed_ms: self.closed_ms,
            calls: Rate::per_second(super::SHARD_CALLS),
        }
    }
}
