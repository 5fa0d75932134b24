//! A look at what travels over a stream: its newest records, decoded, without a checkpoint and without taking more than
//! one read a second of a shard from its consumers.
//!
//! ```text
//!   shards in turn ──GetRecords, 1 a second each──▶ record ──▶ put │ delete │ event │ aggregated │ bytes
//! ```

mod seen;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use aws_sdk_kinesis::operation::get_records::GetRecordsError;
use bytes::Bytes;
use tokio::time::Instant;

use super::aws_stream::starting;
use super::{SequenceNumber, StartAt, aggregate};
use crate::cloud::inventory::{self, Shard};
use crate::cloud::{Class, Cloud, CloudError};
use crate::item::{KeySchema, request};
pub use seen::{Seen, What};

/// How often one shard is read at most: a fifth of its five reads a second, which its consumers share
/// (Amazon Kinesis Data Streams quotas).
pub const EVERY: Duration = Duration::from_secs(1);
/// How long a shard is left alone whose reads are used up: its consumers come first.
const LEAVE_ALONE: Duration = Duration::from_secs(5);
/// Records of one read at most.
const PAGE: i32 = 100;
/// Shards that one tail follows at most.
pub const MOST_SHARDS: usize = 1_000;

/// One shard of a tail.
#[derive(Clone, Debug)]
struct Place {
    shard: String,
    start: StartAt,
    iterator: Option<String>,
    due: Instant,
}

/// A tail of a stream, or of one of its shards.
#[derive(Debug)]
pub struct Tail {
    cloud: Cloud,
    stream: String,
    only: Option<String>,
    places: VecDeque<Place>,
    /// Shards that were followed at some time.
    known: HashSet<String>,
    schemas: HashMap<String, Option<KeySchema>>,
    behind_ms: HashMap<String, u64>,
    /// Reads so far.
    pub reads: u64,
    /// Shards that are not followed, because there are more than [`MOST_SHARDS`].
    pub unfollowed: usize,
}

/// Where a tail was when it stopped: each shard, and where it goes on.
pub type Positions = Vec<(String, StartAt)>;

impl Tail {
    /// A tail of `stream` from `start` on; of its shard `only`, when one is given.
    ///
    /// # Errors
    /// No such stream or shard.
    pub async fn open(cloud: &Cloud, stream: &str, only: Option<&str>, start: &StartAt) -> Result<Self, CloudError> {
        let shards = inventory::stream(cloud, stream).await?.shards;
        if let Some(only) = only
            && !shards.iter().any(|shard| shard.id == only)
        {
            let ids: Vec<String> = shards.iter().map(|shard| shard.id.clone()).collect();
            let near = inventory::nearest(only, &ids);
            return Err(CloudError::new(Class::NotFound, format!("stream {stream} has no shard {only}"), near));
        }
        // Closed shards get no new records.
        let is_meant = |shard: &Shard| match only {
            Some(only) => shard.id == only,
            None => shard.open || !matches!(start, StartAt::Latest),
        };
        let positions = shards.into_iter().filter(is_meant).map(|shard| (shard.id, start.clone())).collect();
        Ok(Self::resume(cloud, stream, only, positions))
    }

    /// A tail that goes on at `positions`.
    pub fn resume(cloud: &Cloud, stream: &str, only: Option<&str>, positions: Positions) -> Self {
        let unfollowed = positions.len().saturating_sub(MOST_SHARDS);
        let due = Instant::now();
        let known = positions.iter().map(|(shard, _)| shard.clone()).collect();
        let places = positions.into_iter().take(MOST_SHARDS);
        let places = places.map(|(shard, start)| Place { shard, start, iterator: None, due }).collect();
        Self {
            cloud: cloud.clone(),
            stream: stream.to_owned(),
            only: only.map(str::to_owned),
            places,
            known,
            schemas: HashMap::new(),
            behind_ms: HashMap::new(),
            reads: 0,
            unfollowed,
        }
    }

    /// Where it would go on.
    pub fn positions(&self) -> Positions {
        self.places.iter().map(|place| (place.shard.clone(), place.start.clone())).collect()
    }

    /// How many shards it follows.
    pub fn shards(&self) -> usize {
        self.places.len()
    }

    /// The furthest that any shard is behind its newest record, ms.
    pub fn behind_ms(&self) -> Option<u64> {
        self.behind_ms.values().max().copied()
    }

    /// The next records, in the order of one shard; empty when it had none. Waits for the shard's turn. `None` at the end
    /// of a closed shard that was asked for alone.
    ///
    /// # Errors
    /// What AWS refuses for good. Used-up reads and expired iterators are waited for.
    pub async fn next(&mut self) -> Result<Option<Vec<Seen>>, CloudError> {
        // It stays in the queue while it is read: a tail that is stopped in the middle knows where it goes on.
        let Some(mut place) = self.places.front().cloned() else { return Ok(None) };
        tokio::time::sleep_until(place.due).await;
        let read = self.read(&mut place).await;
        let (records, more) = match read {
            Ok((records, more)) => (records, more),
            Err(error) if matches!(error.class, Class::Throttled) => {
                place.due = Instant::now() + LEAVE_ALONE;
                self.places.pop_front();
                self.places.push_back(place);
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        self.places.pop_front();
        if more {
            place.due = Instant::now() + EVERY;
            self.places.push_back(place);
        } else {
            self.behind_ms.remove(&place.shard);
            self.follow_children().await?;
        }
        if records.is_empty() && self.places.is_empty() {
            return Ok(None);
        }
        Ok(Some(records))
    }

    async fn read(&mut self, place: &mut Place) -> Result<(Vec<Seen>, bool), CloudError> {
        let action = format!("read shard {} of stream {}", place.shard, self.stream);
        self.cloud.budget().turn().await;
        let iterator = match place.iterator.take() {
            Some(iterator) => iterator,
            None => self.iterator(place, &action).await?,
        };
        self.reads += 1;
        let reply = self.cloud.kinesis.get_records().shard_iterator(&iterator).limit(PAGE).send().await;
        let page = match reply {
            Ok(page) => page,
            // Five minutes without a turn: the next read gets another one.
            Err(e) if e.as_service_error().is_some_and(GetRecordsError::is_expired_iterator_exception) => {
                return Ok((Vec::new(), true));
            }
            Err(e) => {
                place.iterator = Some(iterator);
                return Err(CloudError::of(&action, &e));
            }
        };
        let behind = page.millis_behind_latest.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default();
        self.behind_ms.insert(place.shard.clone(), behind);
        place.iterator = page.next_shard_iterator;
        if let Some(last) = page.records.last() {
            place.start = StartAt::After(SequenceNumber(last.sequence_number.clone()));
        }
        let mut seen = Vec::with_capacity(page.records.len());
        for record in page.records {
            let arrived_us = record
                .approximate_arrival_timestamp
                .map_or(0, |at| at.secs() * 1_000_000 + i64::from(at.subsec_nanos()) / 1000);
            let data = Bytes::from(record.data.into_inner());
            let whole = Seen {
                shard: place.shard.clone(),
                sequence: SequenceNumber(record.sequence_number),
                sub: None,
                arrived_us,
                partition_key: record.partition_key.unwrap_or_default(),
                data: data.clone(),
                what: What::Other(data.clone()),
            };
            seen.extend(self.decoded(whole, data).await);
        }
        Ok((seen, place.iterator.is_some()))
    }

    async fn decoded(&mut self, whole: Seen, data: Bytes) -> Vec<Seen> {
        let records = match aggregate::unpack(&data) {
            Ok(None) => vec![(None, whole.partition_key.clone(), data)],
            Ok(Some(aggregated)) => aggregated
                .records()
                .enumerate()
                .map(|(sub, record)| (Some(sub as u64), record.partition_key.to_owned(), record.data))
                .collect(),
            Err(damage) => return vec![Seen { what: What::Aggregated(damage.to_string(), data), ..whole }],
        };
        let mut seen = Vec::with_capacity(records.len());
        for (sub, partition_key, data) in records {
            if let Ok(request) = request::parse(&data) {
                self.know(request.table()).await;
            }
            let what = What::of(&data, |table| self.schemas.get(table).cloned().flatten());
            seen.push(Seen { sub, partition_key, data, what, ..whole.clone() });
        }
        seen
    }

    /// Looks a table's key up once; without it records are shown without theirs.
    async fn know(&mut self, table: &str) {
        if !self.schemas.contains_key(table) {
            let schema = inventory::table(&self.cloud, table).await.ok().map(|table| table.key);
            self.schemas.insert(table.to_owned(), schema);
        }
    }

    async fn iterator(&self, place: &Place, action: &str) -> Result<String, CloudError> {
        let request = self.cloud.kinesis.get_shard_iterator().stream_name(&self.stream).shard_id(&place.shard);
        let request = starting(request, &place.start);
        let reply = request.send().await.map_err(|e| CloudError::of(action, &e))?;
        reply
            .shard_iterator
            .ok_or_else(|| CloudError::new(Class::Transient, format!("could not {action}: no iterator"), ""))
    }

    /// A shard that was split or merged goes on in its children, from their beginning.
    async fn follow_children(&mut self) -> Result<(), CloudError> {
        if self.only.is_some() {
            return Ok(());
        }
        for shard in inventory::shards(&self.cloud, &self.stream).await? {
            let parents = [&shard.parent, &shard.adjacent_parent];
            let is_child = parents.into_iter().flatten().any(|parent| self.known.contains(parent));
            if is_child && self.places.len() < MOST_SHARDS && self.known.insert(shard.id.clone()) {
                let (start, due) = (StartAt::TrimHorizon, Instant::now());
                self.places.push_back(Place { shard: shard.id, start, iterator: None, due });
            }
        }
        Ok(())
    }
}
