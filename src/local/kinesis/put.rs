//! Records coming in: `PutRecord` and `PutRecords`.

use std::sync::Mutex;

use bytes::Bytes;
use ferrokinesis::types::Stream;
use http::Response;

use super::log::{Log, Refused};
use super::topology::{self, Route, Routes};
use super::wire::{
    Blob, PutRecordReply, PutRecordRequest, PutRecordsReply, PutRecordsRequest, PutRecordsResult, Refusal, Wire,
    stream_of,
};
use super::{Kinesis, THROTTLED, kept_since_ms, locked, now_ms};
use crate::local::Body;
use crate::local::faults::Fault;

/// Most records of one `PutRecords`.
const PUT_RECORDS: usize = 500;
/// Most bytes of one `PutRecords`, partition keys included; and where a stream takes records of more than 1 MiB.
const PUT_BYTES: usize = 5 << 20;
const PUT_BYTES_LARGE: usize = 10 << 20;

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
    pub(super) async fn put_records(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
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
        let results: Vec<PutRecordsResult> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Stored { route, position, arrival_ms } => PutRecordsResult::Stored {
                    sequence_number: topology::sequence_number(route.shard, route.created_ms, position, arrival_ms),
                    shard_id: route.shard_id,
                },
                Outcome::Throttled { shard_id } => PutRecordsResult::Failed {
                    error_code: THROTTLED,
                    error_message: self.rate_exceeded(name, &shard_id),
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

    pub(super) async fn put_record(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
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
            Some(Outcome::Throttled { shard_id }) => Err(Refusal::new(THROTTLED, self.rate_exceeded(name, &shard_id))),
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
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(records.len());
        loop {
            let log = self.log(&stream);
            locked(&log).trim(kept_since_ms(&stream, now_ms()));
            self.append_to(&log, &Routes::of(&stream.shards), records, some_fail, &mut outcomes)?;
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
    ) -> Result<(), Refusal> {
        let now_ms = now_ms();
        let mut log = locked(log);
        for record in &records[outcomes.len()..] {
            if some_fail && outcomes.len().is_multiple_of(3) {
                outcomes.push(Outcome::Failed);
                continue;
            }
            let Some(route) = routes.find(record.hash) else {
                return Err(Refusal::new("InternalFailure", "No open shard takes this hash key."));
            };
            match log.append(route.shard, now_ms, self.limits, &record.partition_key, &record.data) {
                Ok((position, arrival_ms)) => {
                    outcomes.push(Outcome::Stored { route: route.clone(), position, arrival_ms });
                }
                Err(Refused::Throttled) => outcomes.push(Outcome::Throttled { shard_id: route.shard_id.clone() }),
                Err(Refused::Ended) => break,
            }
        }
        log.tell();
        Ok(())
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
