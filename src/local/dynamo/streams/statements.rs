//! `PartiQL`: which items a statement touches only the engine can tell, so for as long as one runs the engine keeps a
//! stream of its own, and what is in it afterwards goes into ours.
//!
//! The engine never forgets what its stream held. Nothing in this house sends statements, so it stays small.

use std::sync::Arc;

use dynoxide::actions::create_table::StreamSpecification;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::update_table::UpdateTableRequest;
use dynoxide::{Database, Result};

use super::{Stream, Streams};

/// Runs `execute`, which carries out `statements`, and records what they changed.
pub(in super::super) fn around<A>(
    streams: &Arc<Streams>,
    database: &Database,
    statements: &[String],
    execute: impl FnOnce(&Database) -> Result<A>,
) -> Result<A> {
    let touched: Vec<Arc<Stream>> = {
        let live = streams.live.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_named = |table: &str| statements.iter().any(|it| writes(it) && it.contains(table));
        live.values().filter(|stream| is_named(&stream.table)).cloned().collect()
    };
    let mut iterators = Vec::new();
    for stream in &touched {
        iterators.push(begin(database, &stream.table)?);
    }
    let result = execute(database);
    for (stream, iterator) in touched.iter().zip(iterators) {
        if let Err(error) = streams.take_over(database, stream, iterator) {
            // What was written is written; the stream lacks it, and that must not be silent.
            tracing::error!(table = stream.table, %error, "can't read what a statement changed");
        }
    }
    result
}

impl Streams {
    /// Records what the engine's stream of the same table holds from `shard_iterator` on, and ends the engine's.
    fn take_over(&self, database: &Database, stream: &Stream, shard_iterator: String) -> Result<()> {
        // A transaction holds 100 statements at most, a batch 25: a page is more than that.
        for record in database.get_records(GetRecordsRequest { shard_iterator, limit: None })?.records {
            let images = record.dynamodb;
            self.record(stream, images.old_image.as_ref(), images.new_image.as_ref(), false);
        }
        end(database, &stream.table)
    }
}

/// Whether a statement may change anything.
fn writes(statement: &str) -> bool {
    let word = statement.trim_start().get(..6).unwrap_or_default();
    ["insert", "update", "delete"].iter().any(|write| word.eq_ignore_ascii_case(write))
}

/// Enables the engine's stream of `table`, and returns the iterator at its end.
fn begin(database: &Database, table: &str) -> Result<String> {
    let arn = specify(database, table, true)?;
    let request = DescribeStreamRequest { stream_arn: arn.clone(), ..DescribeStreamRequest::default() };
    let shards = database.describe_stream(request)?.stream_description.shards;
    let iterator = database.get_shard_iterator(GetShardIteratorRequest {
        stream_arn: arn,
        shard_id: shards.into_iter().next().map(|shard| shard.shard_id).unwrap_or_default(),
        shard_iterator_type: "LATEST".to_owned(),
        sequence_number: None,
    })?;
    Ok(iterator.shard_iterator.unwrap_or_default())
}

fn specify(database: &Database, table: &str, enabled: bool) -> Result<String> {
    let request = UpdateTableRequest {
        table_name: table.to_owned(),
        stream_specification: Some(StreamSpecification {
            stream_enabled: enabled,
            stream_view_type: enabled.then(|| "NEW_AND_OLD_IMAGES".to_owned()),
        }),
        ..UpdateTableRequest::default()
    };
    Ok(database.update_table(request)?.table_description.latest_stream_arn.unwrap_or_default())
}

/// Ends a stream that the engine itself kept, as earlier versions of the gateway let it.
pub(in super::super) fn end(database: &Database, table: &str) -> Result<()> {
    specify(database, table, false).map(drop)
}
