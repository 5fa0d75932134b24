//! Records onto a stream, each with the word of the stream that it has it.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use tokio::time::{Instant, sleep};

use crate::cloud::{Class, CloudError};
use crate::event::track::Record;
use crate::flow::Backoff;

/// Records in one `PutRecords`, and bytes of them with their keys; AWS's limits, 5 MiB less some room.
pub const RECORDS: usize = 500;
/// See [`RECORDS`].
pub const BYTES: usize = (5 << 20) - 65_536;

const BASE: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(2);

/// Where a record is on its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its shard.
    pub shard: String,
    /// Its number there.
    pub sequence: String,
}

/// A stream that records are put onto.
#[derive(Clone, Debug)]
pub struct Onto {
    client: aws_sdk_kinesis::Client,
    stream: String,
}

impl Onto {
    /// Stream `stream`, reached through `client`, which should not retry by itself.
    pub fn new(client: aws_sdk_kinesis::Client, stream: impl Into<String>) -> Self {
        Self { client, stream: stream.into() }
    }

    /// What a record counts towards the limits of a request, bytes.
    pub fn size(record: &Record) -> usize {
        record.data.len() + record.partition_key.len()
    }

    /// Puts `records` (at most [`RECORDS`] and [`BYTES`]) and, until `deadline`, puts those again that were refused.
    /// What comes back tells of each, in order; `retried` hears how many were put again.
    pub async fn put(
        &self,
        records: &[Record],
        deadline: Option<Instant>,
        retried: &(dyn Fn(u64, bool) + Send + Sync),
    ) -> Vec<Result<Kept, CloudError>> {
        let mut kept: HashMap<usize, Kept> = HashMap::new();
        let mut left: Vec<usize> = (0..records.len()).collect();
        let mut backoff = Backoff::new(BASE, CAP, rand::random());
        let error = loop {
            let error = match self.send(left.iter().map(|n| &records[*n])).await {
                Ok(answers) => {
                    let (mut again, mut why) = (Vec::new(), None);
                    for (n, answer) in std::mem::take(&mut left).into_iter().zip(answers) {
                        match answer {
                            Ok(place) => drop(kept.insert(n, place)),
                            Err(refusal) => {
                                again.push(n);
                                why = Some(refusal);
                            }
                        }
                    }
                    left = again;
                    match why {
                        None => break None,
                        Some(why) => why,
                    }
                }
                Err(error) if error.class.is_retryable() || error.class == Class::InUse => error,
                Err(error) => break Some(error),
            };
            let wait = backoff.wait();
            if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
                break Some(error);
            }
            retried(left.len() as u64, error.class == Class::Throttled);
            sleep(wait).await;
        };
        let lost = |error: &Option<CloudError>| {
            error.clone().unwrap_or_else(|| CloudError::new(Class::Unknown, "the stream did not answer for it", ""))
        };
        (0..records.len()).map(|n| kept.remove(&n).ok_or_else(|| lost(&error))).collect()
    }

    async fn send(&self, records: impl Iterator<Item = &Record>) -> Result<Vec<Result<Kept, CloudError>>, CloudError> {
        let action = || format!("put records on stream {}", self.stream);
        let entry = |record: &Record| {
            PutRecordsRequestEntry::builder()
                .data(Blob::new(record.data.as_ref()))
                .partition_key(&record.partition_key)
                .build()
                .map_err(|error| CloudError::new(Class::Invalid, error.to_string(), ""))
        };
        let entries: Vec<PutRecordsRequestEntry> = records.map(entry).collect::<Result<_, _>>()?;
        let count = entries.len();
        let sent = self.client.put_records().stream_name(&self.stream).set_records(Some(entries)).send().await;
        let reply = sent.map_err(|error| CloudError::of(&action(), &error))?;
        if reply.records().len() != count {
            let what =
                format!("could not {}: the reply tells of {} records of {count}", action(), reply.records().len());
            return Err(CloudError::new(Class::Transient, what, "try again in a moment"));
        }
        let answer = |record: &aws_sdk_kinesis::types::PutRecordsResultEntry| match record.error_code() {
            None => Ok(Kept {
                shard: record.shard_id().unwrap_or_default().to_owned(),
                sequence: record.sequence_number().unwrap_or_default().to_owned(),
            }),
            Some(code) => Err(CloudError::new(
                crate::cloud::error::by_code(code),
                format!("could not {}: {code}", action()),
                record.error_message().unwrap_or_default(),
            )),
        };
        Ok(reply.records().iter().map(answer).collect())
    }
}
