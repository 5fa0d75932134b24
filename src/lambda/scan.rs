//! `scan`: on a schedule, everything in the buffer into the event table, and the watermark behind it.
//!
//! ```text
//!   places, a look at each shard ─▶ bound ─▶ promise ─▶ a second look ─▶ pass ─▶ publish
//! ```
//!
//! What `pump` stamps next is never below the place that it left in its shard. A shard that holds nothing behind its place
//! is idle: there the bound is a little before the look. The second look is for events that came between the look and
//! the promise, which may have been stamped without knowing of it: then nothing is published this time.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::door::Doors;
use super::message::name_of;
use super::pump::Store;
use crate::cloud::CloudError;
use crate::event::directory::Directory;
use crate::event::pass::{Pass, PassReport};
use crate::event::place::Places;
use crate::event::watermark::{self, Mark};
use crate::event::{SlotLength, tables};
use crate::flow::{
    AwsStream, AwsTable, Clock, ReadError, Shard, ShardCheckpoint, ShardProgress, StartAt, StreamSource as _,
};

/// How far before the look an idle shard's bound stays, µs: clocks differ.
const CLOCKS_DIFFER: i64 = 10_000_000;
/// Segments that the buffer is read in.
const SEGMENTS: u32 = 4;

/// What a turn did.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The pass; `None` when the time was not enough for it.
    pub report: Option<PassReport>,
    /// Up to where the event table is complete now; `None` when nothing was published.
    pub watermark: Option<Timestamp>,
}

/// Empties the buffer of `store` until `stop` by `clock`.
///
/// # Errors
/// What made it stop: the next turn does the rest.
pub(super) async fn turn(
    store: &Store,
    doors: &Doors,
    source: Option<&str>,
    slots: Option<SlotLength>,
    clock: &Arc<dyn Clock>,
    stop: Duration,
) -> Result<Turn, CloudError> {
    let (layout, buffer) = store.doors(doors).await?;
    let events = doors.door(&store.events).await?;
    let cloud = doors.cloud();
    let slots = match slots {
        Some(slots) => slots,
        None => tables::slot_length(&cloud.dynamodb, &store.events, layout).await?.unwrap_or_default(),
    };
    tables::settle_slot_length(&cloud.dynamodb, &store.events, layout, slots).await?;
    let mark = source.map(|source| Mark::new(cloud.dynamodb.clone(), &store.events, layout, source));
    let mut bound = None;
    if let (Some(source), Some(mark)) = (source, &mark) {
        let stream = AwsStream::new(cloud.kinesis.clone(), cloud.bulk.kinesis.clone(), name_of(source));
        let places = Places::new(cloud.dynamodb.clone(), &store.events, layout, source).read().await?;
        // A busy shard's reads are used up by its readers: the watermark can wait for the next turn, the buffer not.
        bound = promise(mark, &stream, &places).await.unwrap_or_else(|error| {
            tracing::warn!(class = ?error.class, "no watermark this time: {error}");
            None
        });
    }
    let (from, into) = (buffer.writer(), events.writer());
    let scan = AwsTable::new(cloud.bulk.dynamodb.clone(), &store.buffer, buffer.checker.schema().clone());
    let pass = Arc::new(Pass {
        buffer: store.buffer.clone(),
        scan: Arc::new(scan),
        segments: SEGMENTS,
        read_budget: None,
        from: from.writer,
        into: into.writer,
        directory: Directory::new(cloud.bulk.dynamodb.clone(), &store.events, layout),
        slots,
        clock: Arc::clone(clock),
    });
    let passed = tokio::select! {
        passed = pass.run() => Some(passed),
        () = clock.sleep(stop.saturating_sub(clock.now())) => None,
    };
    drop(pass);
    let report = match passed {
        Some(Ok(report)) => report,
        other => {
            // What is queued must not go out when this process thaws.
            futures::join!(buffer.shut(Duration::from_secs(1)), events.shut(Duration::from_secs(1)));
            return other.map_or_else(|| Ok(Turn::default()), |failed| failed.map(|_| Turn::default()));
        }
    };
    let bound = bound.filter(|_| report.met == report.stored + report.poison);
    if let (Some(mark), Some(bound)) = (&mark, bound) {
        mark.publish(bound).await?;
    }
    Ok(Turn { report: Some(report), watermark: bound })
}

/// What may be published after a pass that begins now.
async fn promise(mark: &Mark, stream: &AwsStream, places: &[ShardCheckpoint]) -> Result<Option<Timestamp>, CloudError> {
    let (promised, _) = mark.read().await?;
    let listing = stream.shards().await?;
    let wall = Timestamp::now().as_microsecond() - CLOCKS_DIFFER;
    let progress = look(stream, &listing, places).await?;
    let promised = promised.map_or(0, Timestamp::as_microsecond);
    // The clock of the look is its own moment.
    let bound = watermark::bound(&listing, &progress, promised, wall, 0);
    let Some(bound) = bound.and_then(|bound| Timestamp::from_microsecond(bound).ok()) else { return Ok(None) };
    mark.promise(bound).await?;
    let again = look(stream, &listing, places).await?;
    let still = |shard: &ShardProgress| again.iter().any(|now| now.shard == shard.shard && now.caught_up.is_some());
    let idle_stayed_idle = progress.iter().filter(|shard| shard.caught_up.is_some()).all(still);
    Ok(idle_stayed_idle.then_some(bound))
}

/// How the shards stand that have a place: idle or done when they hold nothing behind it.
async fn look(
    stream: &AwsStream,
    listing: &[Shard],
    places: &[ShardCheckpoint],
) -> Result<Vec<ShardProgress>, CloudError> {
    let mut progress = Vec::new();
    for shard in listing {
        let place = places.iter().find(|place| place.shard == shard.id);
        let start = place.and_then(|place| place.position.clone()).map_or(StartAt::TrimHorizon, StartAt::After);
        let iterator = stream.iterator(&shard.id, &start).await?;
        let page = match stream.page(&iterator).await {
            Ok(page) => page,
            Err(ReadError::Cloud(error)) => return Err(error),
            Err(ReadError::Expired) => continue,
        };
        let empty = page.records.is_empty();
        progress.push(ShardProgress {
            shard: shard.id.clone(),
            lag_ms: page.behind_ms,
            behind_records: None,
            records: 0,
            foreign: 0,
            outside: 0,
            done: empty && page.next.is_none(),
            settled_us: place.and_then(|place| place.time_us),
            open: usize::from(!empty),
            caught_up: (empty && page.behind_ms == 0).then_some(Duration::ZERO),
        });
    }
    Ok(progress)
}
