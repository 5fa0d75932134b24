//! Reads one shard to its end: each record is checked and handed to the writer of its table, in order.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::arrivals::Arrivals;
use super::course::{Course, ShardState};
use super::sink::{Arrival, RecordAt, Sink};
use crate::cloud::{Class, CloudError};
use crate::flow::aggregate::{self, SubRecord};
use crate::flow::counters::Outcome;
use crate::flow::ledger::Receipt;
use crate::flow::producer::ordinal_of;
use crate::flow::stream::{ReadError, Reading, SequenceNumber, StartAt, StreamRecord};
use crate::flow::tally::Tally;
use crate::item::{PutRequest, Request, request};

/// One request takes at most this long: what is counted as an outage begins no earlier before its error.
const REQUEST: Duration = Duration::from_secs(30);

/// Reads `state`'s shard from `start` to its end, which a shard has only when it is closed.
pub(super) async fn read(course: &Course, state: &ShardState, start: StartAt, seed: u64) -> Result<(), CloudError> {
    let clock = &course.health.clock;
    let met = state.ledger.tally().unwrap_or_else(|| Tally::new(1));
    let mut reader = Reader { course, state, sinks: HashMap::new(), met };
    let mut arrivals = Arrivals::default();
    let mut pages = course.pages(&state.id, start, seed);
    loop {
        let asked = clock.now();
        let reading = match pages.next().await {
            Ok(Some(reading)) => reading,
            Ok(None) => {
                // A child begins when all of its parents' records are in their tables.
                state.ledger.drained().await;
                return Ok(());
            }
            // Whoever has pages gets another iterator by itself.
            Err(ReadError::Expired) => continue,
            Err(ReadError::Cloud(error)) => {
                match error.class {
                    Class::Throttled => course.health.patience.answered(),
                    Class::Transient | Class::Unknown | Class::InUse => {
                        let now = clock.now();
                        if course.health.patience.is_over(asked.max(now.saturating_sub(REQUEST)), now) {
                            return Err(error);
                        }
                    }
                    Class::NotFound => return Err(course.gone(&error)),
                    _ => return Err(error),
                }
                continue;
            }
        };
        course.health.patience.answered();
        let Reading { records, behind_ms, as_of, note, room } = reading;
        if let Some(note) = note {
            tracing::warn!(stream = %course.stream, "{note}");
            course.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        }
        if let (Some(first), Some(last)) = (records.first(), records.last()) {
            arrivals.read(records.len(), first.arrived_us, last.arrived_us);
        }
        state.lag_ms.store(behind_ms, Ordering::Relaxed);
        state.behind_records.store(arrivals.behind(behind_ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        // What was sent unasked takes its room now.
        let _room = match room {
            Some(room) => room,
            None => course.room.reserve(records.iter().map(|record| record.data.len()).sum()).await,
        };
        for record in records {
            reader.take(record).await?;
        }
        if let Some(as_of) = as_of {
            state.caught_up_at.store(as_of.as_micros() as u64 + 1, Ordering::Release);
        }
    }
}

struct Reader<'a> {
    course: &'a Course,
    state: &'a ShardState,
    sinks: HashMap<String, Sink>,
    /// Which of the job's records were met in this shard, settled or not.
    met: Tally,
}

impl Reader<'_> {
    /// Takes a record, or those that it holds one after another.
    async fn take(&mut self, record: StreamRecord) -> Result<(), CloudError> {
        let StreamRecord { sequence, partition_key, data, arrived_us } = record;
        // What the last run settled of this record is not run again: a later version may be in the table by now.
        let settled = self.state.resumed.as_ref().filter(|(at, _)| *at == sequence).map(|(_, sub)| *sub);
        match aggregate::unpack(&data) {
            Ok(Some(aggregated)) if !aggregated.is_empty() => {
                for (n, record) in (0..).zip(aggregated.records()) {
                    if settled.is_some_and(|settled| n <= settled) {
                        continue;
                    }
                    let at = self.at(sequence.clone(), Some(n), record.partition_key, &record.data);
                    if self.is_outside(&record) {
                        self.pass(at).await?;
                    } else {
                        self.take_one(at, record.partition_key, record.data, arrived_us).await?;
                    }
                }
                Ok(())
            }
            _ if settled.is_some() => Ok(()),
            Ok(Some(_)) => self.pass(self.at(sequence, None, &partition_key, &data)).await,
            Ok(None) => {
                let at = self.at(sequence, None, &partition_key, &data);
                self.take_one(at, &partition_key, data, arrived_us).await
            }
            Err(damage) => {
                let at = self.at(sequence, None, &partition_key, &data);
                if self.course.intake.is_some() {
                    // An event may be any bytes.
                    return self.take_one(at, &partition_key, data, arrived_us).await;
                }
                // No put request begins like that.
                let Some(receipt) = self.open(at, &partition_key).await? else { return Ok(()) };
                receipt.dead(damage.to_string(), data);
                Ok(())
            }
        }
    }

    fn at(&self, sequence: SequenceNumber, sub: Option<u64>, partition_key: &str, data: &Bytes) -> RecordAt {
        RecordAt {
            stream: Arc::clone(&self.course.stream),
            shard: Arc::clone(&self.state.id),
            sequence,
            sub,
            ordinal: self.course.job.as_deref().and_then(|job| ordinal_of(job, partition_key)),
            size: data.len() as u32,
            time_us: None,
        }
    }

    /// Whether another shard is to run `record`: its packer sent it for a shard that was split or merged meanwhile, and
    /// sends it again. The KCL leaves such records out as well.
    fn is_outside(&self, record: &SubRecord<'_>) -> bool {
        let Some((from, to)) = self.state.hash_keys.get() else { return false };
        if (*from..=*to).contains(&record.hash_key()) {
            return false;
        }
        if self.state.outside.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                stream = %self.course.stream, shard = %self.state.id,
                "an aggregated record holds records whose hash keys belong to other shards: they are left out, as the KCL does"
            );
        }
        true
    }

    /// Moves the position over a record that is not run here: when it comes where it belongs it is the first of its
    /// number.
    async fn pass(&self, at: RecordAt) -> Result<(), CloudError> {
        let at = RecordAt { ordinal: None, ..at };
        let Ok(receipt) = self.state.ledger.open(at).await else { return Err(self.course.health.error()) };
        receipt.settle(Outcome::Passed);
        Ok(())
    }

    /// The receipt of a record that is to be run; `None` when it is another's, or ran already.
    async fn open(&mut self, at: RecordAt, partition_key: &str) -> Result<Option<Receipt>, CloudError> {
        let ordinal = self.course.job.as_deref().map(|job| ordinal_of(job, partition_key));
        let Ok(receipt) = self.state.ledger.open(at).await else { return Err(self.course.health.error()) };
        match ordinal {
            Some(None) => {
                self.state.foreign.fetch_add(1, Ordering::Relaxed);
                receipt.settle(Outcome::Passed);
                Ok(None)
            }
            // Its first copy is in the table or on its way there; writing it again could undo a later version.
            Some(Some(ordinal)) if !self.met.first(ordinal) => {
                receipt.settle(Outcome::Passed);
                Ok(None)
            }
            _ => {
                self.state.records.fetch_add(1, Ordering::Relaxed);
                Ok(Some(receipt))
            }
        }
    }

    /// Runs one put request, or gives the record to who takes it instead.
    async fn take_one(
        &mut self,
        at: RecordAt,
        partition_key: &str,
        data: Bytes,
        arrived_us: i64,
    ) -> Result<(), CloudError> {
        if let Some(intake) = &self.course.intake {
            self.state.records.fetch_add(1, Ordering::Relaxed);
            let (sub, partition_key) = (at.sub, partition_key.to_owned());
            return intake.take(&self.state.ledger, Arrival { at, sub, partition_key, data, arrived_us }).await;
        }
        // A dead letter waits to be stored: one of a few bytes must not keep the whole record in memory.
        let kept = |data: Bytes, sub: Option<u64>| if sub.is_some() { Bytes::copy_from_slice(&data) } else { data };
        let sub = at.sub;
        let Some(receipt) = self.open(at, partition_key).await? else { return Ok(()) };
        let request = match request::parse(&data) {
            Ok(request) => request,
            Err(refusal) => {
                receipt.dead(refusal.to_string(), kept(data, sub));
                return Ok(());
            }
        };
        let sink = match self.sink(request.table()).await? {
            Ok(sink) => sink,
            Err(reason) => {
                receipt.dead(reason, kept(data, sub));
                return Ok(());
            }
        };
        let json = match &request {
            Request::Put(put) => &put.item,
            Request::Delete { key, .. } => key,
        };
        let checked = match sink.checker.check(json.clone()) {
            Ok(checked) => checked,
            Err(refusal) => {
                receipt.dead(refusal.to_string(), kept(data, sub));
                return Ok(());
            }
        };
        match request {
            Request::Put(PutRequest { item, other: Some(whole), .. }) => {
                let whole = with_item(&whole, &item, &checked.json);
                sink.writer.request(checked, whole, receipt).await
            }
            Request::Put(_) => sink.writer.put(checked, receipt).await,
            Request::Delete { .. } => sink.writer.delete(checked.key, receipt).await,
        }
    }

    async fn sink(&mut self, table: &str) -> Result<Result<Sink, String>, CloudError> {
        if let Some(sink) = self.sinks.get(table) {
            return Ok(Ok(sink.clone()));
        }
        let sink = self.course.sink(table).await?;
        if let Ok(sink) = &sink {
            self.sinks.insert(table.to_owned(), sink.clone());
        }
        Ok(sink)
    }
}

/// `whole`, of which `item` is a slice, with `checked` in its place: the check may have rewritten legacy binary.
pub(crate) fn with_item(whole: &Bytes, item: &Bytes, checked: &Bytes) -> Bytes {
    let start = (item.as_ptr() as usize).checked_sub(whole.as_ptr() as usize);
    match start {
        Some(start) if item != checked && start + item.len() <= whole.len() => {
            let mut body = BytesMut::with_capacity(whole.len() + checked.len());
            body.put_slice(&whole[..start]);
            body.put_slice(checked);
            body.put_slice(&whole[start + item.len()..]);
            body.freeze()
        }
        _ => whole.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_item_takes_its_place_in_a_request_with_parameters() {
        let whole = Bytes::from_static(br#"{"TableName":"t","Item":{"old":1},"ReturnValues":"NONE"}"#);
        let item = whole.slice(24..33);
        assert_eq!(&item[..], br#"{"old":1}"#);
        let checked = Bytes::from_static(br#"{"new":12}"#);
        assert_eq!(
            &with_item(&whole, &item, &checked)[..],
            br#"{"TableName":"t","Item":{"new":12},"ReturnValues":"NONE"}"#
        );
        assert_eq!(with_item(&whole, &item, &item.clone()), whole);
    }
}
