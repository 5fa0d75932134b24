//! `DynamoDB` Streams: a log of changes for each table that wants one, kept by the gateway and not by dynoxide, whose
//! stream has one shard and reads all of itself at each write.
//!
//! ```text
//!   write ── capture ── item before ─▶ engine ─▶ item after ── differ? ──▶ log ── records      read ◀── GetRecords
//!            (on the engine's thread, so in the order of the writes)       shards  packed
//!   expiry   the sweep of time to live    statements   PartiQL    control   shards closed on demand    kept   restarts
//! ```

pub(super) mod capture;
pub(super) mod control;
pub(super) mod expiry;
mod kept;
mod log;
mod read;
mod records;
pub(super) mod statements;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use dynoxide::Item;
use dynoxide::actions::create_table::StreamSpecification;
use dynoxide::actions::{StreamSpecificationDescription, TableDescription};
use dynoxide::types::{KeySchemaElement, KeyType};
use serde::{Deserialize, Serialize};

use self::log::Log;
use self::records::Sequence;
use super::table::hash;
use super::wire::Failure;
use crate::local::throughput::Millis;
use crate::local::{Roll as RollOption, TableStreams};

/// `GetRecords` calls that a shard answers in a second.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>
const SHARD_CALLS: f64 = 5.0;
/// `DescribeStream` calls in a second, of the account.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_DescribeStream.html>
const DESCRIBE_CALLS: f64 = 10.0;

/// When a shard closes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roll {
    /// So many ms after it was opened.
    After(Millis),
    /// After so many records.
    Records(u64),
}

/// Calls that are allowed in a second; a second's worth can be had at once.
#[derive(Debug)]
struct Rate {
    per_second: f64,
    level: f64,
    at: Millis,
}

impl Rate {
    fn per_second(per_second: f64) -> Self {
        Self { per_second, level: per_second, at: 0 }
    }

    fn admits(&mut self, now: Millis) -> bool {
        let passed = (now - self.at).max(0) as f64 / 1_000.0;
        self.level = (self.level + passed * self.per_second).min(self.per_second);
        self.at = self.at.max(now);
        let admitted = self.level >= 1.0;
        if admitted {
            self.level -= 1.0;
        }
        admitted
    }
}

/// Which images a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum View {
    KeysOnly,
    NewImage,
    OldImage,
    NewAndOldImages,
}

impl View {
    fn name(self) -> &'static str {
        match self {
            Self::KeysOnly => "KEYS_ONLY",
            Self::NewImage => "NEW_IMAGE",
            Self::OldImage => "OLD_IMAGE",
            Self::NewAndOldImages => "NEW_AND_OLD_IMAGES",
        }
    }

    /// The view of this name.
    pub(super) fn named(name: Option<&str>) -> Option<Self> {
        let all = [Self::KeysOnly, Self::NewImage, Self::OldImage, Self::NewAndOldImages];
        all.into_iter().find(|view| Some(view.name()) == name)
    }

    fn has_new(self) -> bool {
        matches!(self, Self::NewImage | Self::NewAndOldImages)
    }

    fn has_old(self) -> bool {
        matches!(self, Self::OldImage | Self::NewAndOldImages)
    }

    /// The view that `specification` asks for; `None` where it asks for no stream.
    pub(super) fn wanted(specification: &StreamSpecification) -> Result<Option<Self>, Failure> {
        let name = specification.stream_view_type.as_deref();
        let view = Self::named(name);
        if let (Some(name), None) = (name, view) {
            return Err(Failure::invalid(&format!(
                "1 validation error detected: Value '{name}' at 'streamSpecification.streamViewType' failed to satisfy \
                 constraint: Member must satisfy enum value set: [NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES, KEYS_ONLY]"
            )));
        }
        match (specification.stream_enabled, view) {
            (true, None) => Err(Failure::invalid(
                "Invalid StreamViewType: Stream ViewType must not be null or empty when enabling streams.",
            )),
            (false, Some(_)) => Err(Failure::invalid(
                "Invalid StreamViewType: Stream StreamEnabled was false but a StreamViewType was present.",
            )),
            (_, view) => Ok(view),
        }
    }
}

/// The stream of one table, from when it was enabled.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) arn: String,
    label: String,
    pub(super) table: String,
    view: View,
    keys: Vec<KeySchemaElement>,
    created_ms: Millis,
    log: Mutex<Log>,
}

impl Stream {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of an item, or `None` where it has none.
    fn key_of(&self, item: &Item) -> Option<Item> {
        self.keys.iter().map(|key| Some((key.attribute_name.clone(), item.get(&key.attribute_name)?.clone()))).collect()
    }

    /// Where the item lives.
    fn hash_of(&self, item: &Item) -> u64 {
        let name = self.keys.iter().find(|key| key.key_type == KeyType::HASH).map(|key| &key.attribute_name);
        name.and_then(|name| item.get(name)).map_or(0, hash)
    }
}

/// All streams that can be read.
pub(super) struct Streams {
    shards: Option<usize>,
    kept_ms: Millis,
    roll: Roll,
    limits: bool,
    clock: super::Clock,
    /// Enabled ones, by table.
    live: RwLock<HashMap<String, Arc<Stream>>>,
    /// Enabled and disabled ones, by ARN, which is by table and age.
    all: RwLock<Vec<Arc<Stream>>>,
    describes: Mutex<Rate>,
}

impl Streams {
    pub(super) fn new(options: &TableStreams, limits: bool, clock: super::Clock) -> Arc<Self> {
        let ms = |duration: std::time::Duration| Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX);
        Arc::new(Self {
            shards: options.shards.map(std::num::NonZeroUsize::get),
            kept_ms: ms(options.retention),
            roll: match options.roll {
                RollOption::After(open) => Roll::After(ms(open)),
                RollOption::Records(records) => Roll::Records(records.get()),
            },
            limits,
            clock,
            live: RwLock::default(),
            all: RwLock::default(),
            describes: Mutex::new(Rate::per_second(DESCRIBE_CALLS)),
        })
    }

    fn now(&self) -> Millis {
        (self.clock)()
    }

    /// The stream of `table`, if it is enabled.
    pub(super) fn live(&self, table: &str) -> Option<Arc<Stream>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    /// Every stream whose records may still be there, by table and age.
    fn all(&self) -> Vec<Arc<Stream>> {
        let (now, before) = (self.now(), self.now() - self.kept_ms);
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|stream| {
            let mut log = stream.log();
            log.advance(self.kept_ms, now);
            !is_over(&log, before)
        });
        all.clone()
    }

    /// The stream of this ARN, if its records may still be there.
    fn named(&self, arn: &str) -> Option<Arc<Stream>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let named = all.iter().find(|stream| stream.arn == arn).cloned();
        named.filter(|stream| !is_over(&stream.log(), self.now() - self.kept_ms))
    }

    /// Begins a stream of a table that has `partitions` of them.
    pub(super) fn enable(&self, table: &str, view: View, keys: Vec<KeySchemaElement>, partitions: usize) {
        let now = self.now();
        let earlier = self.all();
        let of_table = || earlier.iter().filter(|stream| stream.table == table);
        let after: Sequence = of_table().map(|stream| stream.log().highest()).max().unwrap_or(0);
        // Labels are moments: of two streams of one ms the second is said to be later.
        let created_ms = of_table().map(|stream| stream.created_ms + 1).max().unwrap_or(now).max(now);
        let moment = jiff::Timestamp::from_millisecond(created_ms).unwrap_or_default();
        let label = moment.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string();
        let seed = xxhash_rust::xxh3::xxh3_64(format!("{table}/{label}").as_bytes());
        let stream = Arc::new(Stream {
            arn: format!("arn:aws:dynamodb:us-east-1:000000000000:table/{table}/stream/{label}"),
            label,
            table: table.to_owned(),
            view,
            keys,
            created_ms,
            log: Mutex::new(Log::new(self.shards.unwrap_or(partitions), after, self.roll, seed, now)),
        });
        self.add(Arc::clone(&stream));
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(table.to_owned(), stream);
    }

    fn add(&self, stream: Arc<Stream>) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let at = all.partition_point(|other| other.arn < stream.arn);
        all.insert(at, stream);
    }

    /// Ends the stream of a table, which stays readable until its records are gone.
    pub(super) fn disable(&self, table: &str) {
        let stream = self.live.write().unwrap_or_else(PoisonError::into_inner).remove(table);
        if let Some(stream) = stream {
            stream.log().end(self.now());
        }
    }

    /// Lets the shards follow the partitions of a table, which split and never merge.
    pub(super) fn grow(&self, table: &str, partitions: usize) {
        if let Some(stream) = self.live(table).filter(|_| self.shards.is_none()) {
            stream.log().grow(partitions, self.now());
        }
    }

    /// Writes what is known of a table's stream into its description.
    pub(super) fn describe(&self, description: &mut TableDescription) {
        let live = self.live(&description.table_name);
        description.stream_specification = live.as_ref().map(|stream| StreamSpecificationDescription {
            stream_enabled: true,
            stream_view_type: Some(stream.view.name().to_owned()),
        });
        let latest = live.or_else(|| self.all().into_iter().rfind(|stream| stream.table == description.table_name));
        description.latest_stream_arn = latest.as_ref().map(|stream| stream.arn.clone());
        description.latest_stream_label = latest.map(|stream| stream.label.clone());
    }
}

/// Whether a log ended so long ago that all its records are older than `before` (ms since the epoch).
fn is_over(log: &Log, before: Millis) -> bool {
    log.ended_ms().is_some_and(|ended_ms| ended_ms < before)
}
