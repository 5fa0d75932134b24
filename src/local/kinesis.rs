//! Kinesis: streams and shards are ferrokinesis', records are kept here.
//!
//! ferrokinesis' own records would have whole-second arrival times, be always at the tip and, with two producers on a
//! shard, let a reader pass a record that is numbered but not stored yet. Replies can't be patched for the last one, and
//! [`log`] is shorter than patches for the others would be.

mod budget;
mod control;
mod log;
#[cfg(test)]
mod tests;
mod topology;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ferrokinesis::store::{Store, StoreOptions};
use ferrokinesis::types::{Stream, StreamStatus};
use http::{HeaderMap, Response};

use self::log::{Ask, Log, Refused, Start};
use self::topology::{Route, Routes};
use self::wire::{
    Blob, GetRecordsReply, GetRecordsRequest, GetShardIteratorRequest, PutRecordReply, PutRecordRequest,
    PutRecordsReply, PutRecordsRequest, PutRecordsResult, ReadRecord, Refusal, Wire, stream_of,
};
use super::Body;
use super::faults::{Fault, Faults};
use super::metrics::Metrics;

/// Shards of all streams together: AWS's default quota in its large regions.
const SHARD_LIMIT: u32 = 20_000;
/// Most records of one `PutRecords`.
const PUT_RECORDS: usize = 500;
/// Most bytes of one `PutRecords`, partition keys included; and where a stream takes records of more than 1 MiB.
const PUT_BYTES: usize = 5 << 20;
const PUT_BYTES_LARGE: usize = 10 << 20;
/// Most records and bytes of one `GetRecords`.
const GET_RECORDS: i64 = 10_000;
const GET_BYTES: usize = 10 << 20;
/// How long a shard iterator lives, ms.
const ITERATOR_MS: u64 = 300_000;
const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// Kinesis in memory.
#[derive(Clone)]
pub struct Kinesis {
    limits: bool,
    metrics: Arc<Metrics>,
    faults: Arc<Faults>,
    store: Store,
    router: Router,
    logs: Arc<Mutex<HashMap<String, Arc<Mutex<Log>>>>>,
}

impl std::fmt::Debug for Kinesis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kinesis").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A record that came in: its key, the hash that routes it, and its bytes.
struct Incoming {
    partition_key: String,
    hash: u128,
    data: Bytes,
}

impl Incoming {
    fn size(&self) -> usize {
        self.partition_key.len() + self.data.len()
    }
}

/// What became of a record.
enum Outcome {
    Stored {
        route: Route,
        position: u64,
        arrival_ms: u64,
    },
    Throttled {
        shard_id: String,
    },
    /// A partial failure on demand.
    Failed,
}

impl Kinesis {
    /// An account without streams. Without `limits` a shard takes and gives what it can; sizes are checked either way.
    pub fn new(limits: bool, metrics: Arc<Metrics>, faults: Arc<Faults>) -> Self {
        let options = StoreOptions { shard_limit: SHARD_LIMIT, ..StoreOptions::default() };
        let store = Store::new(options);
        let router = ferrokinesis::create_router(store.clone());
        Self { limits, metrics, faults, store, router, logs: Arc::default() }
    }

    /// Answers one operation.
    pub async fn handle(&self, operation: &str, headers: &HeaderMap, body: Bytes) -> Response<Body> {
        let wire = Wire::of(headers);
        let done = match operation {
            "PutRecords" => self.put_records(wire, &body).await,
            "PutRecord" => self.put_record(wire, &body).await,
            "GetRecords" => self.get_records(wire, &body).await,
            "GetShardIterator" => self.get_shard_iterator(wire, &body).await,
            _ => self.control(wire, operation, &body).await,
        };
        done.unwrap_or_else(|refusal| wire.refuse(&refusal))
    }

    async fn put_records(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let request: PutRecordsRequest = wire.decode(body)?;
        let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let entries = request.records.unwrap_or_default();
        if entries.is_empty() || entries.len() > PUT_RECORDS {
            let constraint = format!("have length between 1 and {PUT_RECORDS}");
            return Err(Refusal::constraint(&format!("'[{} records]'", entries.len()), "records", &constraint));
        }
        let stream = self.stream(name).await?;
        let mut records = Vec::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let member = |field: &str| format!("records.{}.member.{field}", index + 1);
            let record = checked(&stream, entry.partition_key, entry.data, entry.explicit_hash_key.as_deref(), member)?;
            records.push(record);
        }
        let most = if stream.max_record_size_kib > 1024 { PUT_BYTES_LARGE } else { PUT_BYTES };
        if records.iter().map(Incoming::size).sum::<usize>() > most {
            return Err(Refusal::invalid(format!("Records size exceeds {} MB limit", most >> 20)));
        }
        if self.faults.roll(Fault::Throttle) {
            return Err(self.throttled_call(name, "WriteProvisionedThroughputExceeded", records.len()));
        }

        let some_fail = self.faults.roll(Fault::Partial);
        let outcomes = self.append(name, stream, &records, some_fail).await?;
        let account = &self.store.aws_account_id;
        let results: Vec<PutRecordsResult> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Stored { route, position, arrival_ms } => PutRecordsResult::Stored {
                    sequence_number: topology::sequence_number(route.shard, route.created_ms, position, arrival_ms),
                    shard_id: route.shard_id,
                },
                Outcome::Throttled { shard_id } => PutRecordsResult::Failed {
                    error_code: THROTTLED,
                    error_message: format!(
                        "Rate exceeded for shard {shard_id} in stream {name} under account {account}."
                    ),
                },
                Outcome::Failed => PutRecordsResult::Failed {
                    error_code: "InternalFailure",
                    error_message: "Internal service failure.".to_owned(),
                },
            })
            .collect();
        let failed_record_count = results.iter().filter(|r| matches!(r, PutRecordsResult::Failed { .. })).count();
        Ok(wire.reply(&PutRecordsReply { failed_record_count, records: results }))
    }

    async fn put_record(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let request: PutRecordRequest = wire.decode(body)?;
        let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let stream = self.stream(name).await?;
        let member = str::to_owned;
        let hash_key = request.explicit_hash_key.as_deref();
        let record = checked(&stream, request.partition_key, request.data, hash_key, member)?;
        if self.faults.roll(Fault::Throttle) {
            return Err(self.throttled_call(name, "WriteProvisionedThroughputExceeded", 1));
        }
        let outcome = self.append(name, stream, &[record], false).await?.pop();
        match outcome {
            Some(Outcome::Stored { route, position, arrival_ms }) => Ok(wire.reply(&PutRecordReply {
                sequence_number: topology::sequence_number(route.shard, route.created_ms, position, arrival_ms),
                shard_id: route.shard_id,
            })),
            Some(Outcome::Throttled { shard_id }) => {
                let account = &self.store.aws_account_id;
                let message = format!("Rate exceeded for shard {shard_id} in stream {name} under account {account}.");
                Err(Refusal::new(THROTTLED, message))
            }
            _ => Err(Refusal::new("InternalFailure", "Internal service failure.")),
        }
    }

    /// Appends `records` in their order and tells what became of each.
    async fn append(
        &self,
        name: &str,
        mut stream: Stream,
        records: &[Incoming],
        some_fail: bool,
    ) -> Result<Vec<Outcome>, Refusal> {
        let log = self.log(name);
        locked(&log).trim(kept_since_ms(&stream, now_ms()));
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(records.len());
        loop {
            let routes = Routes::of(&stream.shards);
            self.append_to(&log, &routes, records, some_fail, &mut outcomes);
            if outcomes.len() == records.len() {
                break;
            }
            // A shard was closed between reading the topology and appending: its children are known by now.
            stream = self.stream(name).await?;
        }

        let stored = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Stored { .. })).count();
        let throttled = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Throttled { .. })).count();
        let size_if_stored = |(record, outcome): (&Incoming, &Outcome)| match outcome {
            Outcome::Stored { .. } => record.size(),
            Outcome::Throttled { .. } | Outcome::Failed => 0,
        };
        let stored_bytes: usize = records.iter().zip(&outcomes).map(size_if_stored).sum();
        self.measure(name, "IncomingRecords", stored as f64);
        self.measure(name, "IncomingBytes", stored_bytes as f64);
        self.measure(name, "WriteProvisionedThroughputExceeded", throttled as f64);
        if records.len() > 1 {
            self.measure(name, "PutRecords.TotalRecords", records.len() as f64);
            self.measure(name, "PutRecords.SuccessfulRecords", stored as f64);
            self.measure(name, "PutRecords.ThrottledRecords", throttled as f64);
            self.measure(name, "PutRecords.FailedRecords", (records.len() - stored - throttled) as f64);
        }
        Ok(outcomes)
    }

    /// Appends the records that have no outcome yet, up to one whose shard has ended.
    fn append_to(
        &self,
        log: &Mutex<Log>,
        routes: &Routes,
        records: &[Incoming],
        some_fail: bool,
        outcomes: &mut Vec<Outcome>,
    ) {
        let now_ms = now_ms();
        let mut log = locked(log);
        for record in &records[outcomes.len()..] {
            if some_fail && outcomes.len().is_multiple_of(3) {
                outcomes.push(Outcome::Failed);
                continue;
            }
            let Some(route) = routes.find(record.hash) else { return };
            match log.append(route.shard, now_ms, self.limits, &record.partition_key, &record.data) {
                Ok((position, arrival_ms)) => {
                    outcomes.push(Outcome::Stored { route: route.clone(), position, arrival_ms });
                }
                Err(Refused::Throttled) => outcomes.push(Outcome::Throttled { shard_id: route.shard_id.clone() }),
                Err(Refused::Ended) => return,
            }
        }
    }

    async fn get_shard_iterator(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let request: GetShardIteratorRequest = wire.decode(body)?;
        let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let stream = self.stream(name).await?;
        let account = &self.store.aws_account_id;
        let shard_id = &request.shard_id;
        // Like AWS, this takes `0` for `shardId-000000000000`.
        let shard =
            ferrokinesis::sequence::resolve_shard_id(shard_id).ok().and_then(|(_, ix)| usize::try_from(ix).ok());
        let shard = shard.filter(|shard| *shard < stream.shards.len()).ok_or_else(|| {
            let message = format!("Shard {shard_id} in stream {name} under account {account} does not exist");
            Refusal::new("ResourceNotFoundException", message)
        })?;
        let kind = request.shard_iterator_type.as_str();
        let start = match (kind, request.starting_sequence_number.as_deref(), request.timestamp) {
            ("TRIM_HORIZON", None, _) => Start::TrimHorizon,
            ("LATEST", None, _) => Start::Latest,
            ("AT_TIMESTAMP", _, Some(at)) if at.0 > now_ms() => {
                return Err(Refusal::invalid(
                    "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis.",
                ));
            }
            ("AT_TIMESTAMP", _, Some(at)) => Start::Arrival(at.0),
            ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", Some(number), _) => {
                let position = topology::position_of(number)
                    .filter(|(of_shard, _)| usize::try_from(*of_shard) == Ok(shard))
                    .map(|(_, position)| position)
                    .ok_or_else(|| {
                        Refusal::invalid(format!(
                            "StartingSequenceNumber {number} used in GetShardIterator on shard {shard_id} in stream \
                             {name} under account {account} is invalid."
                        ))
                    })?;
                let after = kind == "AFTER_SEQUENCE_NUMBER" && !topology::is_start(number);
                Start::Position(position.saturating_add(u64::from(after)))
            }
            ("TRIM_HORIZON" | "LATEST" | "AT_TIMESTAMP" | "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", ..) => {
                return Err(Refusal::invalid(format!(
                    "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or \
                     (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber or (3) AT_TIMESTAMP and Timestamp. \
                     Request specified {kind}."
                )));
            }
            _ => {
                let constraint = "satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, \
                                  AT_SEQUENCE_NUMBER, TRIM_HORIZON]";
                return Err(Refusal::constraint(&format!("'{kind}'"), "shardIteratorType", constraint));
            }
        };
        let position = locked(&self.log(name)).position(shard, &start);
        let cursor = Cursor { stream: name, made: made(&stream), shard, position, since_ms: now_ms() };
        Ok(wire.reply(&serde_json::json!({ "ShardIterator": cursor.encode() })))
    }

    async fn get_records(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let request: GetRecordsRequest = wire.decode(body)?;
        let limit = request.limit.unwrap_or(GET_RECORDS);
        if !(1..=GET_RECORDS).contains(&limit) {
            let constraint = format!("have value between 1 and {GET_RECORDS}");
            return Err(Refusal::constraint(&format!("'{limit}'"), "limit", &constraint));
        }
        let token = Cursor::text(&request.shard_iterator).ok_or_else(invalid_iterator)?;
        let cursor = Cursor::decode(&token).ok_or_else(invalid_iterator)?;
        let now_ms = now_ms();
        let name = cursor.stream;
        let age = now_ms.saturating_sub(cursor.since_ms);
        if age > ITERATOR_MS || self.faults.roll(Fault::ExpireIterators) {
            return Err(Refusal::new(
                "ExpiredIteratorException",
                format!("Iterator expired. It was made {age} ms ago; the tolerated delay is {ITERATOR_MS} ms."),
            ));
        }
        if self.faults.roll(Fault::Throttle) {
            return Err(self.throttled_call(name, "ReadProvisionedThroughputExceeded", 1));
        }
        let stream = self.stream(name).await?;
        let shard = stream.shards.get(cursor.shard).filter(|_| made(&stream) == cursor.made);
        let shard = shard.ok_or_else(invalid_iterator)?;
        let ask = Ask {
            now_ms,
            limit: usize::try_from(limit).unwrap_or_default(),
            bytes: GET_BYTES,
            closed: topology::is_closed(shard),
            limits: self.limits,
        };
        let log = self.log(name);
        let batch = {
            let mut log = locked(&log);
            log.trim(kept_since_ms(&stream, now_ms));
            log.read(cursor.shard, cursor.position, &ask)
        };
        let Some(batch) = batch else {
            self.measure(name, "ReadProvisionedThroughputExceeded", 1.0);
            let message = format!(
                "Rate exceeded for shard {} in stream {name} under account {}.",
                shard.shard_id, self.store.aws_account_id
            );
            return Err(Refusal::new(THROTTLED, message));
        };
        self.measure(name, "ReadProvisionedThroughputExceeded", 0.0);
        self.measure(name, "GetRecords.IteratorAgeMilliseconds", batch.millis_behind as f64);
        self.measure(name, "GetRecords.Records", batch.records.len() as f64);
        self.measure(name, "GetRecords.Bytes", batch.records.iter().map(|record| record.size()).sum::<usize>() as f64);

        let next = Cursor { position: batch.next, since_ms: now_ms, ..cursor };
        let shard_created_ms = topology::created_ms(shard);
        let read = |stored| ReadRecord { stored, shard: cursor.shard, shard_created_ms };
        Ok(wire.reply(&GetRecordsReply {
            records: batch.records.into_iter().map(read).collect(),
            next_shard_iterator: (!batch.ended).then(|| next.encode()),
            millis_behind_latest: batch.millis_behind,
            child_shards: batch.ended.then(|| topology::children(&stream.shards, cursor.shard)),
        }))
    }

    /// The stream, when it can take and give records.
    async fn stream(&self, name: &str) -> Result<Stream, Refusal> {
        let stream = self.store.get_stream(name).await?;
        match stream.stream_status {
            StreamStatus::Active | StreamStatus::Updating => Ok(stream),
            StreamStatus::Creating | StreamStatus::Deleting => Err(self.no_such_stream(name)),
        }
    }

    fn no_such_stream(&self, name: &str) -> Refusal {
        let account = &self.store.aws_account_id;
        Refusal::new("ResourceNotFoundException", format!("Stream {name} under account {account} not found."))
    }

    fn log(&self, stream: &str) -> Arc<Mutex<Log>> {
        let mut logs = locked(&self.logs);
        if let Some(log) = logs.get(stream) {
            return Arc::clone(log);
        }
        Arc::clone(logs.entry(stream.to_owned()).or_default())
    }

    fn throttled_call(&self, stream: &str, metric: &'static str, count: usize) -> Refusal {
        self.measure(stream, metric, count as f64);
        let account = &self.store.aws_account_id;
        Refusal::new(THROTTLED, format!("Rate exceeded for stream {stream} under account {account}."))
    }

    fn measure(&self, stream: &str, metric: &'static str, value: f64) {
        self.metrics.record("AWS/Kinesis", metric, &[("StreamName", stream)], now_ms() as i64, value);
    }
}

/// A record whose parts are present and within their limits. `member` names one of its parts in a refusal.
fn checked(
    stream: &Stream,
    partition_key: Option<String>,
    data: Option<Blob>,
    hash_key: Option<&str>,
    member: impl Fn(&str) -> String,
) -> Result<Incoming, Refusal> {
    let partition_key =
        partition_key.ok_or_else(|| Refusal::constraint("null", &member("partitionKey"), "not be null"))?;
    let characters = partition_key.chars().count();
    if !(1..=256).contains(&characters) {
        let value = format!("'{partition_key}'");
        return Err(Refusal::constraint(&value, &member("partitionKey"), "have length between 1 and 256"));
    }
    let data = data.ok_or_else(|| Refusal::constraint("null", &member("data"), "not be null"))?.0;
    let most = stream.max_record_size_kib as usize * 1024;
    if partition_key.len() + data.len() > most {
        let value = format!("'[{} bytes]'", data.len());
        return Err(Refusal::constraint(&value, &member("data"), &format!("have length less than or equal to {most}")));
    }
    let hash = match hash_key {
        None => topology::hash_of(&partition_key),
        Some(digits) => digits.parse().map_err(|_| {
            Refusal::invalid(format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was \
                 {digits}"
            ))
        })?,
    };
    Ok(Incoming { partition_key, hash, data })
}

/// What a shard iterator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor<'a> {
    stream: &'a str,
    /// When the stream was made: another one of the same name has other records.
    made: u64,
    shard: usize,
    position: u64,
    since_ms: u64,
}

impl<'a> Cursor<'a> {
    fn encode(&self) -> String {
        let Self { stream, made, shard, position, since_ms } = self;
        URL_SAFE_NO_PAD.encode(format!("{made}/{shard}/{position}/{since_ms}/{stream}"))
    }

    fn text(token: &str) -> Option<String> {
        String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
    }

    fn decode(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(5, '/');
        Some(Self {
            made: parts.next()?.parse().ok()?,
            shard: parts.next()?.parse().ok()?,
            position: parts.next()?.parse().ok()?,
            since_ms: parts.next()?.parse().ok()?,
            stream: parts.next()?,
        })
    }
}

/// When the oldest record that `stream` still keeps arrived, ms since epoch.
fn kept_since_ms(stream: &Stream, now_ms: u64) -> u64 {
    now_ms.saturating_sub(u64::from(stream.retention_period_hours) * 3_600_000)
}

fn made(stream: &Stream) -> u64 {
    stream.stream_creation_timestamp.0 as u64
}

fn invalid_iterator() -> Refusal {
    Refusal::invalid("Invalid ShardIterator.")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, ms since epoch.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
