//! A process of the function: what it keeps from one invocation to the next, and what it does with each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use jiff::Timestamp;
use lambda_runtime::Context as Invocation;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::batch::{Batch, Deadline, Lookup, Written};
use super::door::Doors;
use super::embedded::{self, Metric};
use super::letters::Letterbox;
use super::log::Log;
use super::message::{self, Arrived, label_of, name_of};
use super::settings::{Handler, Settings, Target};
use super::{pump, put, replicate, scan, track};
use crate::cloud::{Cloud, CloudError, Guard, Mode};
use crate::flow::{Clock, Counters, Letter, Outcome, SystemClock};

/// Of the time that an invocation has, so much is kept at its end for what is on its way, the dead letters and the
/// answer; of a short one, a third.
const MARGIN: Duration = Duration::from_secs(4);

/// The process.
#[derive(Debug)]
pub(super) struct Host {
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// Where the function is: its dead letters go there.
    here: Cloud,
    /// The tables that it writes.
    doors: Doors,
    letters: Option<Letterbox>,
}

/// Where a record is on its stream.
#[derive(Clone, Debug)]
struct Place {
    stream: String,
    shard: String,
    sequence: String,
    /// When it arrived, ms since the epoch.
    arrived_ms: i64,
}

impl Host {
    /// A process with `settings`. Sends nothing yet.
    ///
    /// # Errors
    /// No region is set.
    pub async fn new(settings: Settings) -> Result<Self, CloudError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let guard = Guard::new(Mode::Normal, Arc::new(Log));
        let here = Cloud::connect(&settings.context, Arc::clone(&guard)).await?;
        let there = match &settings.target {
            Some(Target { context, .. }) => Cloud::connect(context, guard).await?,
            None => here.clone(),
        };
        let doors = Doors::new(there, Arc::clone(&clock), settings.max_wcu);
        let letters = settings.letters.clone();
        Ok(Self { settings, clock, here, doors, letters })
    }

    /// Handles one event.
    ///
    /// # Errors
    /// Nothing of it could be done: Lambda hands all of it over once more.
    pub async fn handle(&self, payload: Box<RawValue>, invocation: &Invocation) -> Result<Value, CloudError> {
        let began = self.clock.now();
        let deadline = Self::deadline(began, invocation);
        let event = Bytes::from(String::from(Box::<str>::from(payload)));
        let handled = match self.settings.handler {
            Handler::Put => self.put(&event, began, deadline).await,
            Handler::Pump => self.pump(&event, began, deadline).await,
            Handler::Scan => self.scan(began, deadline).await,
            Handler::Replicate => self.replicate(&event, began, deadline).await,
            Handler::Track => self.track(&event, began, deadline).await,
        };
        handled.inspect_err(|error| tracing::error!(class = ?error.class, "{error}"))
    }

    fn deadline(began: Duration, invocation: &Invocation) -> Deadline {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_millis(invocation.deadline).saturating_sub(now);
        let margin = MARGIN.min(left / 3);
        Deadline { stop: began + left.saturating_sub(margin), land: began + left.saturating_sub(margin / 2) }
    }

    async fn put(&self, event: &Bytes, began: Duration, deadline: Deadline) -> Result<Value, CloudError> {
        let records = message::kinesis(event).map_err(not_ours)?;
        let batch = put::read(&records, &mut Lookup::new(&self.doors)).await?;
        let places = places_of(&records);
        let open = self.settle(&places, batch, began, deadline).await?;
        Ok(answer(&places, open))
    }

    async fn pump(&self, event: &Bytes, began: Duration, deadline: Deadline) -> Result<Value, CloudError> {
        let records = message::kinesis(event).map_err(not_ours)?;
        let Some(store) = &self.settings.store else { return Err(not_ours("no event store is set".to_owned())) };
        let (batch, reach) = pump::read(store, &self.doors, &records).await?;
        let places = places_of(&records);
        let open = self.settle(&places, batch, began, deadline).await?;
        reach.store_place(&records, open).await?;
        Ok(answer(&places, open))
    }

    async fn scan(&self, began: Duration, deadline: Deadline) -> Result<Value, CloudError> {
        let Settings { store: Some(store), slots, source, function, .. } = &self.settings else {
            return Err(not_ours("no event store is set".to_owned()));
        };
        let turn = scan::turn(store, &self.doors, source.as_deref(), *slots, &self.clock, deadline.stop).await?;
        let took = self.clock.now().saturating_sub(began).as_millis() as u64;
        let Some(report) = turn.report else {
            tracing::warn!("the buffer could not be emptied in time: the next turn goes on");
            return Ok(json!({ "unfinished": true }));
        };
        for letter in &report.letters {
            tracing::error!(row = letter.source, reason = letter.reason, "a row of the buffer that can't be an event");
        }
        let mut metrics = vec![
            Metric::count("records", report.met),
            Metric::count("written", report.stored),
            Metric::count("dead", report.poison),
            Metric::count("slots", report.slots),
            Metric::ms("duration", took),
        ];
        let behind = turn.watermark.map(|at| (now_ms() - at.as_millisecond()).max(0) as u64);
        metrics.extend(behind.map(|ms| Metric::ms("watermark_age", ms)));
        let dimensions = [("function", function.as_str()), ("table", store.events.as_str())];
        print(&embedded::line(now_ms(), &dimensions, &metrics, &[]));
        let watermark = turn.watermark.map(|at| at.to_string());
        Ok(json!({
            "met": report.met, "stored": report.stored, "poison": report.poison, "slots": report.slots,
            "watermark": watermark,
        }))
    }

    async fn track(&self, event: &Bytes, began: Duration, deadline: Deadline) -> Result<Value, CloudError> {
        let Some(stream) = &self.settings.stream else { return Err(not_ours("SLUICE_STREAM is not set".to_owned())) };
        let left = deadline.stop.saturating_sub(began);
        let (status, answer) = tokio::select! {
            answered = track::handle(&self.here, stream, event) => answered.map_err(not_ours)?,
            () = self.clock.sleep(left) => track::unavailable(),
        };
        let took = self.clock.now().saturating_sub(began).as_millis() as u64;
        let metrics = [
            Metric::count("records", u64::from(status == 200)),
            Metric::count("refused", u64::from((400..500).contains(&status))),
            Metric::count("unavailable", u64::from(status >= 500)),
            Metric::ms("duration", took),
        ];
        let dimensions = [("function", self.settings.function.as_str()), ("stream", stream.as_str())];
        print(&embedded::line(now_ms(), &dimensions, &metrics, &[]));
        Ok(answer)
    }

    async fn replicate(&self, event: &Bytes, began: Duration, deadline: Deadline) -> Result<Value, CloudError> {
        let records = message::dynamodb(event).map_err(not_ours)?;
        let Some(target) = &self.settings.target else {
            return Err(not_ours("SLUICE_TARGET_TABLE is not set".to_owned()));
        };
        replicate::no_loop(&records, target, &self.doors.cloud().region)?;
        let door = self.doors.door(&target.table).await?;
        let batch = replicate::read(&records, &door, self.settings.skip_expired);
        let places = records.into_iter().map(|record| Place {
            stream: name_of(&record.source).to_owned(),
            // Lambda does not tell the shard of a table's stream; with its label the sequence number is one of a kind.
            shard: label_of(&record.source).to_owned(),
            arrived_ms: record.at_ms,
            sequence: record.sequence,
        });
        let places: Vec<Place> = places.collect();
        let open = self.settle(&places, batch, began, deadline).await?;
        Ok(answer(&places, open))
    }

    /// Writes `batch`, stores its dead letters, and says from which record on Lambda is to hand it over once more.
    async fn settle(
        &self,
        places: &[Place],
        mut batch: Batch,
        began: Duration,
        deadline: Deadline,
    ) -> Result<Option<usize>, CloudError> {
        let age_ms = places.last().map(|last| (now_ms() - last.arrived_ms).max(0) as u64);
        let written = batch.write(&self.clock, deadline).await;
        for error in &written.failures {
            tracing::error!(class = ?error.class, "{error}");
        }
        let mut open = batch.first_open();
        if open == Some(0)
            && let Some(error) = written.failures.first()
        {
            return Err(error.clone());
        }
        if let Err((first, error)) = self.store_letters(places, &batch, open).await {
            // A record whose letter is not kept is not settled.
            tracing::error!(class = ?error.class, "{error}");
            open = Some(first);
        }
        if let Some(record) = open {
            let place = &places[record];
            tracing::warn!(
                stream = place.stream,
                shard = place.shard,
                sequence = place.sequence,
                handed_back = places.len() - record,
                "not all records could be settled in time: Lambda hands them over once more from this one on"
            );
        }
        let took = self.clock.now().saturating_sub(began);
        self.tell(places, &batch, &written, open, age_ms, took);
        Ok(open)
    }

    /// Stores the letters of the records before `open`: those behind are met again. On an error, the first record that
    /// has one.
    async fn store_letters(
        &self,
        places: &[Place],
        batch: &Batch,
        open: Option<usize>,
    ) -> Result<(), (usize, CloudError)> {
        let mut first = None;
        let mut letters = Vec::new();
        for part in batch.parts.iter().filter(|part| open.is_none_or(|open| part.at.record < open)) {
            let Some(Outcome::Dead { reason, payload }) = &part.outcome else { continue };
            let place = &places[part.at.record];
            tracing::warn!(
                stream = place.stream,
                shard = place.shard,
                sequence = place.sequence,
                reason,
                "dead letter"
            );
            first.get_or_insert(part.at.record);
            letters.push(Letter {
                source: place.stream.clone(),
                line: None,
                offset: None,
                shard: Some(place.shard.clone()),
                // As a consumer's letters name a part of an aggregated record.
                sequence: Some(match part.at.sub {
                    Some(sub) => format!("{}/{sub}", place.sequence),
                    None => place.sequence.clone(),
                }),
                reason: reason.clone(),
                payload: payload.clone(),
            });
        }
        let (Some(first), Some(letterbox)) = (first, &self.letters) else { return Ok(()) };
        let stored = letterbox.put(&self.here, &letters, Timestamp::now()).await;
        let address = stored.map_err(|error| (first, error))?;
        tracing::warn!(letters = letters.len(), address, "dead letters stored");
        Ok(())
    }

    /// Prints the metrics: what is settled for good, once for the stream and once for each table.
    fn tell(
        &self,
        places: &[Place],
        batch: &Batch,
        written: &Written,
        open: Option<usize>,
        age_ms: Option<u64>,
        took: Duration,
    ) {
        let Some(first) = places.first() else { return };
        let mut all = Counters::default();
        let mut tables: BTreeMap<&str, Counters> = BTreeMap::new();
        for part in batch.parts.iter().filter(|part| open.is_none_or(|open| part.at.record < open)) {
            let Some(outcome) = &part.outcome else { continue };
            outcome.count(part.payload.len() as u64, &mut all);
            if let Some(table) = &part.table {
                outcome.count(part.payload.len() as u64, tables.entry(&**table).or_default());
            }
        }
        for (table, effort) in &written.effort {
            all += *effort;
            *tables.entry(table).or_default() += *effort;
        }
        let (function, now) = (self.settings.function.as_str(), now_ms());
        let stream = first.stream.as_str();
        let mut metrics = counted(&all);
        metrics.push(Metric::count("handed_back", open.map_or(0, |record| (places.len() - record) as u64)));
        metrics.push(Metric::ms("duration", took.as_millis() as u64));
        metrics.extend(age_ms.map(|age| Metric::ms("iterator_age", age)));
        let more = [("shard", json!(first.shard))];
        print(&embedded::line(now, &[("function", function), ("stream", stream)], &metrics, &more));
        for (table, counters) in tables {
            let dimensions = [("function", function), ("stream", stream), ("table", table)];
            print(&embedded::line(now, &dimensions, &counted(&counters), &more));
        }
    }
}

fn places_of(records: &[Arrived]) -> Vec<Place> {
    let place = |record: &Arrived| Place {
        stream: name_of(&record.source).to_owned(),
        shard: record.shard.clone(),
        sequence: record.sequence.clone(),
        arrived_ms: record.arrived_us / 1000,
    };
    records.iter().map(place).collect()
}

fn answer(places: &[Place], open: Option<usize>) -> Value {
    message::answer(open.map(|record| places[record].sequence.as_str()))
}

fn counted(counters: &Counters) -> Vec<Metric> {
    vec![
        Metric::count("records", counters.read),
        Metric::count("written", counters.written),
        Metric::count("deleted", counters.deleted),
        Metric::count("skipped", counters.skipped),
        Metric::count("dead", counters.dead),
        Metric::count("retried", counters.retried),
        Metric::count("throttled", counters.throttled),
        Metric { name: "wcu", unit: "Count", value: counters.wcu },
    ]
}

/// A line of the log as it is: CloudWatch reads it.
#[allow(clippy::print_stdout)] // Lambda's log is stdout.
fn print(line: &str) {
    println!("{line}");
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn not_ours(why: String) -> CloudError {
    CloudError::new(
        crate::cloud::Class::Invalid,
        why,
        "is the event source mapping that of another function, or SLUICE_HANDLER that of another stream?",
    )
}
