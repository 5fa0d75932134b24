//! `pump`: the events of a Kinesis stream into the buffer of an event store.
//!
//! Lambda hands the records of a shard over in order, one batch at a time, so the place that a batch leaves in the event
//! table is where the next one begins: what lies behind it is in the buffer and is never stamped again, and what comes
//! next is stamped no earlier than the last event before it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::batch::{At, Batch, Intent};
use super::door::{Door, Doors};
use super::message::{Arrived, name_of};
use crate::cloud::CloudError;
use crate::event::intake::checked_buffer_row;
use crate::event::place::Places;
use crate::event::watermark::{Floors, Mark};
use crate::event::{Event, EventId, Layout, layout_of, tables};
use crate::flow::{AwsStream, Counters, Outcome, SequenceNumber, ShardCheckpoint, StreamSource as _, aggregate};

/// The tables of an event store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Store {
    /// The buffer.
    pub buffer: String,
    /// The event table.
    pub events: String,
}

/// How far a batch of events reaches.
#[derive(Debug)]
pub(super) struct Reach {
    /// The time that each record's last event was given, microseconds since the epoch.
    times: Vec<i64>,
    places: Places,
}

impl Store {
    /// The layout of the event table, and the door to the buffer.
    ///
    /// # Errors
    /// One of them is not there, or is something else.
    pub async fn doors(&self, doors: &Doors) -> Result<(Layout, Arc<Door>), CloudError> {
        let (buffer, events) = (doors.door(&self.buffer).await?, doors.door(&self.events).await?);
        tables::must_be_buffer(&self.buffer, buffer.checker.schema())?;
        Ok((layout_of(&self.events, events.checker.schema())?, buffer))
    }
}

/// What `records`, which are of one shard, ask for.
///
/// # Errors
/// It can't be known where the shard was left.
pub(super) async fn read(store: &Store, doors: &Doors, records: &[Arrived]) -> Result<(Batch, Reach), CloudError> {
    let (layout, buffer) = store.doors(doors).await?;
    let cloud = doors.cloud();
    let source = records.first().map(|first| first.source.as_str()).unwrap_or_default();
    let places = Places::new(cloud.dynamodb.clone(), &store.events, layout, source);
    let mark = Mark::new(cloud.dynamodb.clone(), &store.events, layout, source);
    let (promised, _) = mark.read().await?;
    let known = places.read().await?;
    let mut floors = Floors::new(promised);
    known.iter().for_each(|place| floors.resume(&place.shard, place.time_us));
    let mut batch = Batch::default();
    let mut times = Vec::with_capacity(records.len());
    for (n, record) in records.iter().enumerate() {
        if !floors.knows(&record.shard) {
            let stream = AwsStream::new(cloud.kinesis.clone(), cloud.bulk.kinesis.clone(), name_of(source));
            let listed = stream.shards().await?.into_iter().find(|shard| shard.id == record.shard);
            floors.begin(&record.shard, &listed.map(|shard| shard.parents).unwrap_or_default());
        }
        let sequence = SequenceNumber(record.sequence.clone());
        let place = known.iter().find(|place| place.shard == record.shard);
        let position = place.and_then(|place| Some((place.position.as_ref()?, place.sub)));
        // A pump that was stopped within an aggregated record leaves a place in it.
        let within = position.filter(|(position, _)| **position == sequence).and_then(|(_, sub)| sub);
        if within.is_none() && position.is_some_and(|(position, _)| sequence <= *position) {
            // It is in the buffer or further: stamped again, it would be a second event.
            times.push(place.and_then(|place| place.time_us).unwrap_or_default());
            batch.settled(At::whole(n), Bytes::new(), Outcome::Passed);
            continue;
        }
        let time_us = floors.stamp(&record.shard, record.arrived_us);
        times.push(time_us);
        let Ok(time) = Timestamp::from_microsecond(time_us) else {
            let (Ok(raw) | Err((raw, _))) = &record.data;
            batch.dead(At::whole(n), raw, format!("it arrived {time_us} µs after 1970, which is no time"));
            continue;
        };
        let take = |batch: &mut Batch, at: At, partition_key: &str, data: &Bytes| {
            let id = EventId { shard: record.shard.clone(), sequence: sequence.clone(), sub: at.sub };
            let event = Event { time, id, partition_key: partition_key.to_owned(), payload: data.clone() };
            match checked_buffer_row(&buffer.checker, source, &event, layout) {
                Ok(row) => batch.ask(at, data.clone(), &buffer, Intent::Put(row)),
                Err(refusal) => batch.dead(at, data, refusal.to_string()),
            }
        };
        let data = match &record.data {
            Ok(data) => data,
            Err((raw, why)) => {
                batch.dead(At::whole(n), raw, why.as_str());
                continue;
            }
        };
        match aggregate::unpack(data) {
            Ok(Some(aggregated)) if !aggregated.is_empty() => {
                for (sub, event) in (0..).zip(aggregated.records()) {
                    if within.is_some_and(|within| sub <= within) {
                        continue;
                    }
                    take(&mut batch, At::part(n, sub), event.partition_key, &event.data);
                }
            }
            Ok(Some(_)) => batch.settled(At::whole(n), data.clone(), Outcome::Passed),
            // An event may be any bytes, also those that an aggregated record begins with.
            Ok(None) | Err(_) => take(&mut batch, At::whole(n), &record.partition_key, data),
        }
    }
    Ok((batch, Reach { times, places }))
}

impl Reach {
    /// Stores how far the records before `open` reach.
    ///
    /// # Errors
    /// It is not stored: all of them are to be handed over again.
    pub async fn store_place(&self, records: &[Arrived], open: Option<usize>) -> Result<(), CloudError> {
        let Some(last) = open.unwrap_or(records.len()).checked_sub(1) else { return Ok(()) };
        let place = ShardCheckpoint {
            shard: records[last].shard.clone(),
            position: Some(SequenceNumber(records[last].sequence.clone())),
            sub: None,
            done: false,
            counters: Counters::default(),
            tally: None,
            time_us: Some(self.times[last]),
        };
        self.places.store(&place).await
    }
}
