//! Playback: events of the event table, in order, to a file or a stream.
//!
//! ```text
//!   directory ─▶ slots, read ahead ─▶ in order ─▶ wanted? ─▶ due? ─▶ lines of a file, standard output
//!                                                                └─▶ records of a stream, or put requests
//!                       checkpoint each second: the place of the last event that is stored for certain
//! ```
//!
//! What a killed worker had beyond its checkpoint is played again: in a file in its place, on a stream once more.

mod desk;
mod puts;
mod sink;

use std::sync::Arc;

use futures::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::desk::Desk;
use self::sink::{Lines, Records};
pub use self::sink::{SinkSpec, write_line};
use super::journal::{Commit, State, to_json};
use super::spec::PlaybackSpec;
use super::worker::{End, Halt, JobError, Session};
use crate::event::read::{EventRead, EverySlot};
use crate::event::{AwsEvents, Place, Range, slots};
use crate::flow::{Clock, Counters, SystemClock};

const BEGUN: &str = "begun";
const PLAYED: &str = "played";

/// What was settled when the job began: a resume keeps to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Begun {
    /// The end of the range; `None` follows for ever.
    to: Option<Timestamp>,
}

/// How far it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Done {
    /// The last event that is stored for certain.
    place: Option<Place>,
    /// Bytes of the file that hold it and all before it.
    bytes: u64,
    counters: Counters,
}

/// Opens the event table `name` for playback; with `every_slot` without its directory.
///
/// # Errors
/// It does not exist, or is no event table.
pub async fn open(
    cloud: &crate::cloud::Cloud,
    name: &str,
    every_slot: Option<crate::event::SlotLength>,
) -> Result<Arc<dyn EventRead>, crate::cloud::CloudError> {
    let events = AwsEvents::open(cloud, name, Arc::new(SystemClock::new())).await?;
    Ok(match every_slot {
        Some(length) => Arc::new(EverySlot::new(events, length)),
        None => Arc::new(events),
    })
}

/// Says so when a range would look empty only because nobody counted its slots.
///
/// # Errors
/// The words, with what to do; or the table can't be read.
pub async fn must_be_counted(
    read: &Arc<dyn EventRead>,
    table: &str,
    range: Range,
    watermark: Option<Timestamp>,
) -> Result<(), JobError> {
    if watermark.is_some() || range.micros() == 0 {
        return Ok(());
    }
    let mut slots = std::pin::pin!(slots(Arc::clone(read), range));
    match slots.next().await {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
        None => Err(JobError::Unfit(format!(
            "{table} has no directory of {range}, and no pump said up to when it is complete: it may hold events that nobody \
             counted. sluice pump --repair --events {table} makes the directory; --every-slot 1s reads each slot without it"
        ))),
    }
}

pub(super) async fn run(session: &Session<'_>, spec: &PlaybackSpec) -> Result<End, JobError> {
    let to: SinkSpec = spec.sink.parse().map_err(JobError::Unfit)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let read = open(&session.cloud, &spec.events, spec.every_slot).await?;
    let watermark = read.watermark().await?;
    let begun = begin(session, spec, watermark)?;
    if spec.follow && watermark.is_none() {
        return Err(JobError::Unfit(format!(
            "no pump said up to when {} is complete: --follow waits behind that, so that no late event is missed. \
             Let sluice pump run into it",
            spec.events
        )));
    }
    let whole = Range::new(spec.from, begun.to.unwrap_or(Timestamp::MAX)).map_err(JobError::Unfit)?;
    if !spec.follow && spec.every_slot.is_none() {
        must_be_counted(&read, &spec.events, whole, watermark).await?;
    }
    let stored = session.journal().checkpoint(&session.job.id, PLAYED)?;
    let done: Option<Done> = stored.map(|stored| serde_json::from_slice(&stored)).transpose().map_err(|error| {
        JobError::Unfit(format!("the checkpoint of job {} can't be read ({error}): start anew", session.job.id))
    })?;
    if done.is_some() && to == SinkSpec::Stdout {
        return Err(JobError::Unfit("a playback to standard output can't be resumed: start it anew".to_owned()));
    }
    let resumed = done.clone().unwrap_or_default();
    let sink = match &to {
        SinkSpec::Stdout => desk::Sink::Lines(Box::new(Lines::stdout())),
        SinkSpec::File(path) => {
            let is_new = done.is_none();
            let lines = Lines::file(path, done.map(|done| (done.bytes, done.counters))).await?;
            if is_new {
                // From now on the file is this job's: a resume may cut it, and no other one's.
                let checkpoints = [(PLAYED.to_owned(), to_json(&Done::default()).into_bytes())];
                let commit = Commit { counters: session.job.counters, checkpoints: &checkpoints, ..Commit::default() };
                session.journal().commit(&session.job.id, &commit)?;
            }
            desk::Sink::Lines(Box::new(lines))
        }
        SinkSpec::Stream(stream) => {
            let records = Records::start(session, (stream, None), false, resumed.counters, Arc::clone(&clock)).await?;
            desk::Sink::Records(Arc::new(records))
        }
        SinkSpec::Puts { stream, table } => {
            let records = Records::start(
                session,
                (stream, Some(table)),
                !spec.no_aggregate,
                resumed.counters,
                Arc::clone(&clock),
            )
            .await?;
            desk::Sink::Records(Arc::new(records))
        }
    };
    let mut desk = Desk::new(session, spec, read, sink, resumed, clock);
    let outcome = desk.play(whole, watermark).await;
    match outcome {
        Ok(None) => {
            desk.finish().await?;
            let message = desk.in_words();
            Ok(desk.end(State::Done, message))
        }
        Ok(Some(Halt::Cancelled)) => {
            desk.commit().await?;
            Ok(desk.end(State::Cancelled, "what was played stays where it is".to_owned()))
        }
        Ok(Some(Halt::Interrupted)) => {
            desk.commit().await?;
            let message = match to {
                SinkSpec::Stdout => "standard output can't be resumed: start it anew".to_owned(),
                _ => format!("go on with `sluice playback --resume {}`", session.job.id),
            };
            Ok(desk.end(State::Interrupted, message))
        }
        Err(error) => {
            // What is stored counts; the error is what an operator has to know.
            if let Err(also) = desk.commit().await {
                tracing::debug!(%also, "the last checkpoint of a failed playback stays the one before");
            }
            Err(error)
        }
    }
}

/// Settles where the range ends, once: what is complete when the job begins for the first time.
fn begin(session: &Session<'_>, spec: &PlaybackSpec, watermark: Option<Timestamp>) -> Result<Begun, JobError> {
    if let Some(stored) = session.journal().checkpoint(&session.job.id, BEGUN)? {
        return serde_json::from_slice(&stored)
            .map_err(|error| JobError::Unfit(format!("the checkpoint {BEGUN} can't be read ({error}): start anew")));
    }
    let to = match spec.to {
        Some(to) => Some(to),
        None if spec.follow => None,
        None => Some(watermark.unwrap_or_else(Timestamp::now).max(spec.from)),
    };
    let begun = Begun { to };
    let checkpoints = [(BEGUN.to_owned(), to_json(&begun).into_bytes())];
    let commit = Commit { counters: session.job.counters, checkpoints: &checkpoints, ..Commit::default() };
    session.journal().commit(&session.job.id, &commit)?;
    Ok(begun)
}
