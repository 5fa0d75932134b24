//! Playback order: events of a range by time, then shard, then sequence, across slots and pages, read ahead and bounded.
//!
//! ```text
//!   hours of the directory ──▶ slots with events ──▶ first pages ──▶ further pages of the slot at hand ──▶ batches
//!        8 at a time               (empty: no read)     32 ahead              one after the other
//! ```

use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError};

use super::read::{Ask, EventRead, OddRow, SlotCount, SlotPage};
use super::{Event, EventId, Layout, Range, Slot};
use crate::cloud::{Class, CloudError};

/// Hours of the directory that are asked for at once.
const HOURS_AHEAD: usize = 8;
/// Slots whose first page is read ahead: at most 1 MiB each.
const SLOTS_AHEAD: usize = 32;
/// Batches that wait for whoever plays them.
const BATCHES: usize = 4;

/// Where an event stands in the order of playback: what a checkpoint stores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "StoredPlace", into = "StoredPlace")]
pub struct Place {
    /// When it arrived.
    pub time: Timestamp,
    /// What it is known by, which orders events of the same time.
    pub id: EventId,
}

#[derive(Serialize, Deserialize)]
struct StoredPlace {
    time: Timestamp,
    event_id: String,
}

impl TryFrom<StoredPlace> for Place {
    type Error = String;

    fn try_from(StoredPlace { time, event_id }: StoredPlace) -> Result<Self, String> {
        Ok(Self { time, id: event_id.parse()? })
    }
}

impl From<Place> for StoredPlace {
    fn from(Place { time, id }: Place) -> Self {
        Self { time, event_id: id.to_string() }
    }
}

impl Place {
    /// The place of `event`.
    pub fn of(event: &Event) -> Self {
        Self { time: event.time, id: event.id.clone() }
    }

    /// True when `event` comes after it.
    pub fn is_before(&self, event: &Event) -> bool {
        (self.time, &self.id) < event.order()
    }
}

/// Some of a range, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Events, in the order of playback.
    pub events: Vec<Event>,
    /// Rows met on the way that are no events.
    pub odd: Vec<OddRow>,
    /// A slot that was read whole and holds another number of rows than its directory says.
    pub miscounted: Option<Miscount>,
}

/// A slot of which the directory says something else than is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miscount {
    /// The slot.
    pub slot: Slot,
    /// Events that the directory counts.
    pub counted: u64,
    /// Rows that are there.
    pub there: u64,
}

enum Step {
    Batch(Batch),
    Failed(CloudError),
    End,
}

/// A range that is being read, ahead of whoever takes its batches. Dropped, it reads no more.
pub struct Reading {
    steps: mpsc::Receiver<Step>,
    ended: bool,
    task: AbortHandle,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    /// Begins to read `range`, or what of it comes after `after`. Needs a tokio runtime.
    pub fn start(read: Arc<dyn EventRead>, range: Range, after: Option<Place>) -> Self {
        let (to, steps) = mpsc::channel(BATCHES);
        let task = tokio::spawn(async move {
            let last = match read_range(read, range, after, &to).await {
                Ok(()) => Step::End,
                Err(error) => Step::Failed(error),
            };
            // Whoever took batches may be gone: then nobody needs to know.
            drop(to.send(last).await);
        });
        Self { steps, ended: false, task: task.abort_handle() }
    }

    /// The next batch, which is not empty; `None` at the end of the range. May be dropped while
    /// it waits.
    ///
    /// # Errors
    /// The table can't be read; nothing more comes then.
    pub async fn next(&mut self) -> Option<Result<Batch, CloudError>> {
        if self.ended {
            return None;
        }
        match self.steps.recv().await {
            Some(Step::Batch(batch)) => Some(Ok(batch)),
            Some(Step::Failed(error)) => {
                self.ended = true;
                Some(Err(error))
            }
            Some(Step::End) => {
                self.ended = true;
                None
            }
            // Only a panic ends the task without a word: a range cut short must not look like its end.
            None => {
                self.ended = true;
                Some(Err(broken("the reader of the event table ended before its range did")))
            }
        }
    }
}

fn broken(words: &str) -> CloudError {
    CloudError::new(Class::Unknown, words, "this is a fault of sluice's, please report it")
}

fn joined<T>(done: Result<Result<T, CloudError>, JoinError>) -> Result<T, CloudError> {
    done.unwrap_or_else(|error| Err(broken(&format!("a read of the event table ended badly ({error})"))))
}

/// The slots of `range` that hold events, in order; hours are read ahead.
pub fn slots(
    read: Arc<dyn EventRead>,
    range: Range,
) -> impl futures::Stream<Item = Result<SlotCount, CloudError>> + Send {
    stream::iter(range.hours())
        .map(move |hour| {
            let read = Arc::clone(&read);
            let asked = tokio::spawn(async move { read.hour(hour).await });
            async move { joined(asked.await) }
        })
        .buffered(HOURS_AHEAD)
        .map_ok(move |slots| {
            stream::iter(slots.into_iter().filter(move |slot| slot.touches(range)).map(Ok::<_, CloudError>))
        })
        .try_flatten()
}

async fn read_range(
    read: Arc<dyn EventRead>,
    range: Range,
    after: Option<Place>,
    to: &mpsc::Sender<Step>,
) -> Result<(), CloudError> {
    let range = after.as_ref().map_or(range, |place| range.after(place.time));
    let reader = Arc::clone(&read);
    let firsts = slots(Arc::clone(&read), range)
        .map(move |slot| {
            let asked = slot.map(|slot| {
                let read = Arc::clone(&reader);
                (slot, tokio::spawn(async move { read.page(Ask::first(slot.slot, range)).await }))
            });
            async move {
                let (slot, asked) = asked?;
                Ok::<_, CloudError>((slot, joined(asked.await)?))
            }
        })
        .buffered(SLOTS_AHEAD);
    let mut firsts = std::pin::pin!(firsts);
    while let Some(first) = firsts.next().await {
        let (slot, page) = first?;
        if !read_slot(read.as_ref(), &slot, range, after.as_ref(), page, to).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Hands a slot on page by page, each event after all that come before it; false when nobody listens any more.
async fn read_slot(
    read: &dyn EventRead,
    slot: &SlotCount,
    range: Range,
    after: Option<&Place>,
    first: SlotPage,
    to: &mpsc::Sender<Step>,
) -> Result<bool, CloudError> {
    let mut page = first;
    let mut held: Vec<Event> = Vec::new();
    let mut there = 0;
    loop {
        there += (page.events.len() + page.odd.len()) as u64;
        held.append(&mut page.events);
        held.sort_by(|a, b| a.order().cmp(&b.order()));
        let ready = match (&page.next, held.last()) {
            // The original's index sorts by time alone: more of the last time may be on the next page, and come before.
            (Some(_), Some(last)) if read.layout() == Layout::Original => {
                let time = last.time;
                held.partition_point(|event| event.time < time)
            }
            _ => held.len(),
        };
        let rest = held.split_off(ready);
        let mut events = std::mem::replace(&mut held, rest);
        if let Some(place) = after {
            events.retain(|event| place.is_before(event));
        }
        // Of a slot that the range cuts, less is read than the directory counts.
        let whole = page.next.is_none() && slot.is_within(range);
        let counted = slot.count.filter(|counted| whole && *counted != there);
        let miscounted = counted.map(|counted| Miscount { slot: slot.slot, counted, there });
        let batch = Batch { events, odd: std::mem::take(&mut page.odd), miscounted };
        if batch != Batch::default() && to.send(Step::Batch(batch)).await.is_err() {
            return Ok(false);
        }
        let Some(next) = page.next.take() else { return Ok(true) };
        page = read.page(Ask { after: Some(next), ..Ask::first(slot.slot, range) }).await?;
    }
}

/// What is around a moment: the last events before it and the first from it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Around {
    /// In the order of playback.
    pub events: Vec<Event>,
    /// All events of this range that match are among them.
    pub covered: Range,
    /// Events looked at, matching or not.
    pub looked_at: u64,
}

/// How far [`around`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Events wanted on each side.
    pub most: usize,
    /// Rows read at once: more where few match.
    pub page: u32,
    /// Hours of the directory that may be read on each side.
    pub hours: usize,
    /// Events that may be looked at on each side, when few match.
    pub looked_at: usize,
}

/// Reads what of `within` is around `at`: at most [`Reach::most`] matching events on each side, and says how far it is
/// sure of.
///
/// # Errors
/// The table can't be read.
pub async fn around(
    read: &dyn EventRead,
    within: Range,
    at: Timestamp,
    reach: Reach,
    matches: impl Fn(&Event) -> bool + Send + Sync,
) -> Result<Around, CloudError> {
    let at = at.clamp(within.from(), within.to());
    let ends = |from, to| Range::new(from, to).map_err(|words| broken(&words));
    let (before, after) = (ends(within.from(), at)?, ends(at, within.to())?);
    let (mut back, from, looked_back) = one_way(read, before, true, reach, &matches).await?;
    let (forth, to, looked_forth) = one_way(read, after, false, reach, &matches).await?;
    back.reverse();
    back.extend(forth);
    Ok(Around { events: back, covered: ends(from, to)?, looked_at: looked_back + looked_forth })
}

/// Events of `range` from one of its ends on, the time up to which all are known, and how many were looked at.
async fn one_way(
    read: &dyn EventRead,
    range: Range,
    backwards: bool,
    reach: Reach,
    matches: &(impl Fn(&Event) -> bool + Send + Sync),
) -> Result<(Vec<Event>, Timestamp, u64), CloudError> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut hours: Vec<Slot> = Vec::new();
    // Hours beyond the reach are not even listed: a range may span a thousand years.
    let edge = if backwards { range.to() } else { range.from() };
    let reach_us = (reach.hours as i64).saturating_mul(3_600_000_000);
    let near = if backwards {
        let from = edge.as_microsecond().saturating_sub(reach_us).max(range.from().as_microsecond());
        Range::new(Timestamp::from_microsecond(from).unwrap_or(range.from()), range.to())
    } else {
        let to = edge.as_microsecond().saturating_add(reach_us).min(range.to().as_microsecond());
        Range::new(range.from(), Timestamp::from_microsecond(to).unwrap_or(range.to()))
    };
    let near = near.unwrap_or(range);
    hours.extend(near.hours());
    if backwards {
        hours.reverse();
    }
    for hour in hours {
        let mut slots = read.hour(hour).await?;
        slots.retain(|slot| slot.touches(near));
        if backwards {
            slots.reverse();
        }
        for slot in slots {
            let mut after = None;
            let mut held: Vec<Event> = Vec::new();
            loop {
                let most = Some(reach.page.max(1));
                let ask = Ask { slot: slot.slot, range: near, after, backwards, most };
                let page = read.page(ask).await?;
                looked_at += page.events.len() as u64;
                held.extend(page.events);
                held.sort_by(|a, b| if backwards { b.order().cmp(&a.order()) } else { a.order().cmp(&b.order()) });
                after = page.next;
                let ready = match held.last() {
                    Some(last) if after.is_some() => {
                        let time = last.time;
                        held.partition_point(|event| if backwards { event.time > time } else { event.time < time })
                    }
                    _ => held.len(),
                };
                let rest = held.split_off(ready);
                let events = std::mem::replace(&mut held, rest);
                let last_time = events.last().map(|event| event.time);
                found.extend(events.into_iter().filter(matches));
                let enough = found.len() >= reach.most || looked_at >= reach.looked_at as u64;
                if enough && let Some(time) = last_time {
                    // All of that time are known: it is whole.
                    let known = if backwards { Ok(time) } else { time.checked_add(jiff::Span::new().microseconds(1)) };
                    return Ok((found, known.unwrap_or(time), looked_at));
                }
                if after.is_none() {
                    break;
                }
            }
        }
    }
    Ok((found, if backwards { near.from() } else { near.to() }, looked_at))
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
