//! What AWS does in its own time, done on demand: `POST /_sluice/table-streams/TABLE/ACTION`, which no SDK sends.

use std::sync::Arc;

use serde_json::json;

use super::{Stream, Streams};
use crate::local::dynamo::wire::{Failure, Outcome, written};

/// Where it lives. No bucket may have such a name.
const PATH: &str = "/_sluice/table-streams/";

/// The table and the action of a path that is ours.
pub(in super::super) fn is_meant(path: &str) -> bool {
    path.starts_with(PATH)
}

impl Streams {
    /// Does what `path` says and answers with the open shards.
    ///
    /// `roll` closes every open shard, each with one child; `split` with two; `trim` forgets all records.
    pub(in super::super) fn control(&self, path: &str) -> Outcome {
        let (table, action) = path.strip_prefix(PATH).and_then(|rest| rest.split_once('/')).unwrap_or_default();
        let stream = self.live(table).ok_or_else(|| {
            let message = format!("the table {table:?} has no enabled stream");
            Failure::named("ResourceNotFoundException", &message)
        })?;
        let now = self.now();
        match action {
            "roll" => stream.log().close_all(1, now),
            "split" => stream.log().close_all(2, now),
            "trim" => stream.log().forget(),
            _ => return Err(Failure::invalid(&format!("{action:?} is not roll, split or trim"))),
        }
        written(&json!({ "StreamArn": stream.arn, "OpenShards": open_shards(&stream) }))
    }
}

fn open_shards(stream: &Arc<Stream>) -> Vec<String> {
    stream.log().shards().iter().filter(|shard| shard.is_open()).map(|shard| shard.id.clone()).collect()
}
