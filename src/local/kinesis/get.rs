//! Records going out: `GetShardIterator` and `GetRecords`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ferrokinesis::types::Stream;
use http::Response;

use super::log::{Ask, Start};
use super::topology;
use super::wire::{
    GetRecordsReply, GetRecordsRequest, GetShardIteratorRequest, Moment, ReadRecord, Refusal, Wire, stream_of,
};
use super::{Kinesis, THROTTLED, kept_since_ms, locked, made, now_ms};
use crate::local::Body;
use crate::local::faults::Fault;

/// Most records and bytes of one `GetRecords`.
const GET_RECORDS: i64 = 10_000;
const GET_BYTES: usize = 10 << 20;
/// How long a shard iterator lives, ms.
const ITERATOR_MS: u64 = 300_000;

impl Kinesis {
    pub(super) async fn get_shard_iterator(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let request: GetShardIteratorRequest = wire.decode(body)?;
        let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let stream = self.stream(name).await?;
        let asked = Asked {
            operation: "GetShardIterator",
            kind_member: "shardIteratorType",
            shard_id: &request.shard_id,
            kind: &request.shard_iterator_type,
            number: request.starting_sequence_number.as_deref(),
            timestamp: request.timestamp,
        };
        let (shard, start) = self.start(&stream, &asked)?;
        let position = locked(&self.log(&stream)).position(shard, &start);
        let cursor = Cursor { stream: name, made: made(&stream), shard, position, since_ms: now_ms() };
        Ok(wire.reply(&serde_json::json!({ "ShardIterator": cursor.encode() })))
    }

    /// The shard, by its index, and the place in it that a reader asks for.
    pub(super) fn start(&self, stream: &Stream, asked: &Asked<'_>) -> Result<(usize, Start), Refusal> {
        let account = &self.store.aws_account_id;
        let Asked { operation, kind_member, shard_id, kind, number, timestamp } = *asked;
        let name = &stream.stream_name;
        // Like AWS, this takes `0` for `shardId-000000000000`.
        let shard =
            ferrokinesis::sequence::resolve_shard_id(shard_id).ok().and_then(|(_, ix)| usize::try_from(ix).ok());
        let shard = shard.filter(|shard| *shard < stream.shards.len()).ok_or_else(|| {
            let message = format!("Shard {shard_id} in stream {name} under account {account} does not exist");
            Refusal::new("ResourceNotFoundException", message)
        })?;
        let start = match (kind, number, timestamp) {
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
                    .filter(|_| topology::is_of(number, &stream.shards[shard]))
                    .map(|(_, position)| position)
                    .ok_or_else(|| {
                        Refusal::invalid(format!(
                            "StartingSequenceNumber {number} used in {operation} on shard {shard_id} in stream \
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
                return Err(Refusal::constraint(&format!("'{kind}'"), kind_member, constraint));
            }
        };
        Ok((shard, start))
    }

    pub(super) async fn get_records(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
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
        let log = self.log(&stream);
        let batch = {
            let mut log = locked(&log);
            log.trim(kept_since_ms(&stream, now_ms));
            log.read(cursor.shard, cursor.position, &ask)
        };
        let Some(batch) = batch else {
            self.measure(name, "ReadProvisionedThroughputExceeded", 1.0);
            return Err(Refusal::new(THROTTLED, self.rate_exceeded(name, &shard.shard_id)));
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
}

/// Where a reader asks to begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The operation, and its member that holds `kind`, for refusals.
    pub(super) operation: &'a str,
    pub(super) kind_member: &'a str,
    pub(super) shard_id: &'a str,
    pub(super) kind: &'a str,
    pub(super) number: Option<&'a str>,
    pub(super) timestamp: Option<Moment>,
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

fn invalid_iterator() -> Refusal {
    Refusal::invalid("Invalid ShardIterator.")
}
