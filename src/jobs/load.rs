//! Made-up events onto a stream, at a rate.
//!
//! The loop is open: event n is due n / rate seconds after the beginning, whatever became of those before it, and its
//! latency counts from then. A stream that stalls therefore shows in the latencies of all events that were due meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use super::journal::{Commit, Control, Sample, State, now_ms, to_json};
use super::onto::{BYTES, Onto, RECORDS};
use super::progress::Line;
use super::restore::last_line;
use super::spec::LoadSpec;
use super::worker::{CONTROLS, End, Halt, JobError, Session};
use crate::cloud::{Class, CloudError};
use crate::event::track::{self, Record};
use crate::flow::Counters;

/// What is due is looked for this often: events that are due within it go together.
const TICK: Duration = Duration::from_millis(5);
/// `PutRecords` in flight at most.
const IN_FLIGHT: usize = 32;
/// Controls are looked at this many times for each commit.
const LOOKS_PER_COMMIT: u32 = 4;
/// The longest latency that is told apart, µs: an hour.
const LONGEST: u64 = 3_600_000_000;

/// What became of the events so far.
#[derive(Debug)]
struct Tally {
    made: AtomicU64,
    bytes: AtomicU64,
    accepted: AtomicU64,
    retried: AtomicU64,
    throttled: AtomicU64,
    /// From due to accepted, µs.
    latency: Mutex<Histogram<u64>>,
    failed: Mutex<Option<CloudError>>,
}

impl Tally {
    fn new() -> Result<Self, JobError> {
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).map_err(|e| JobError::Unfit(e.to_string()))?;
        Ok(Self {
            made: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            latency: Mutex::new(latency),
            failed: Mutex::default(),
        })
    }

    fn counters(&self) -> Counters {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            read: of(&self.made),
            on_stream: of(&self.accepted),
            bytes: of(&self.bytes),
            retried: of(&self.retried),
            throttled: of(&self.throttled),
            ..Counters::default()
        }
    }

    /// Latency of `quantile` of the events, ms.
    fn latency(&self, quantile: f64) -> f64 {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        latency.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn failure(&self) -> Option<CloudError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) async fn run(session: &Session<'_>, spec: &LoadSpec) -> Result<End, JobError> {
    let tally = Arc::new(Tally::new()?);
    let onto = Onto::new(session.cloud.bulk.kinesis.clone(), &spec.stream);
    session.note("info", &format!("onto {} at {} events/s", spec.stream, spec.rate));
    let began = Instant::now();
    let outcome = {
        let feed = feed(onto, spec, Arc::clone(&tally), began, session);
        tokio::pin!(feed);
        let mut looks = tokio::time::interval(CONTROLS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look_number = 0_u32;
        loop {
            tokio::select! {
                ended = &mut feed => break ended,
                _ = looks.tick() => {
                    if look_number.is_multiple_of(LOOKS_PER_COMMIT) {
                        commit(session, spec, &tally, began)?;
                    }
                    look_number += 1;
                }
            }
        }
    };
    commit(session, spec, &tally, began)?;
    let elapsed = began.elapsed().as_secs_f64();
    Ok(end(session, spec, outcome?, &tally, elapsed))
}

/// Makes events as they are due, until all are made or the job is to stop; ends when what was made is accepted.
async fn feed(
    onto: Onto,
    spec: &LoadSpec,
    tally: Arc<Tally>,
    began: Instant,
    session: &Session<'_>,
) -> Result<Option<Halt>, JobError> {
    let body = spec.body.as_ref().map(|body| Bytes::copy_from_slice(body.as_bytes()));
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let most = spec.count.unwrap_or(u64::MAX);
    let until = spec.seconds.map_or(u64::MAX, |seconds| (seconds * spec.rate).ceil() as u64);
    let (mut made, mut halt, mut start) = (0_u64, None, began);
    let mut sending = JoinSet::new();
    let halted = session.halted();
    tokio::pin!(halted);
    let mut next_tick = began;
    while made < most.min(until) && tally.failure().is_none() {
        tokio::select! {
            stopped = &mut halted => {
                halt = Some(stopped);
                break;
            }
            () = sleep_until(next_tick) => next_tick += TICK,
        }
        if held(session)? {
            // What is due next is due when it goes on.
            start = Instant::now() - Duration::from_secs_f64(made as f64 / spec.rate);
            continue;
        }
        let due = ((start.elapsed().as_secs_f64() * spec.rate).floor() as u64 + 1).min(most).min(until);
        while made < due {
            let (mut batch, mut size) = (Vec::new(), 0);
            let first = made;
            while made < due && batch.len() < RECORDS {
                let record = match &body {
                    Some(body) => track::record_of(body.clone()),
                    None => track::clap(jiff::Timestamp::now()),
                };
                size += Onto::size(&record);
                if !batch.is_empty() && size > BYTES {
                    break;
                }
                batch.push(record);
                made += 1;
            }
            tally.made.store(made, Ordering::Relaxed);
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
            let (onto, tally, rate) = (onto.clone(), Arc::clone(&tally), spec.rate);
            sending.spawn(async move {
                send(&onto, &batch, &tally, |n| start + Duration::from_secs_f64((first + n) as f64 / rate)).await;
                drop(permit);
            });
            while sending.try_join_next().is_some() {}
        }
    }
    // What was made is on its way: it is waited for, and told.
    while sending.join_next().await.is_some() {}
    match tally.failure() {
        Some(error) => Err(error.into()),
        None => Ok(halt),
    }
}

fn held(session: &Session<'_>) -> Result<bool, JobError> {
    Ok(session.journal().controls(&session.job.id)?.0 == Control::Pause)
}

async fn send(onto: &Onto, batch: &[Record], tally: &Tally, due: impl Fn(u64) -> Instant) {
    let retried = |records: u64, throttled: bool| {
        tally.retried.fetch_add(records, Ordering::Relaxed);
        tally.throttled.fetch_add(if throttled { records } else { 0 }, Ordering::Relaxed);
    };
    let answers = onto.put(batch, None, &retried).await;
    let now = Instant::now();
    for (n, (record, answer)) in batch.iter().zip(answers).enumerate() {
        match answer {
            Ok(_) => {
                tally.accepted.fetch_add(1, Ordering::Relaxed);
                tally.bytes.fetch_add(record.data.len() as u64, Ordering::Relaxed);
                let late = now.saturating_duration_since(due(n as u64));
                let micros = u64::try_from(late.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST);
                let mut latency = tally.latency.lock().unwrap_or_else(PoisonError::into_inner);
                latency.saturating_record(micros);
            }
            // A dry run printed the request.
            Err(error) if error.class == Class::DryRun => {}
            Err(error) => {
                tally.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    }
}

fn commit(session: &Session<'_>, spec: &LoadSpec, tally: &Tally, began: Instant) -> Result<(), JobError> {
    let counters = tally.counters();
    let seconds = began.elapsed().as_secs_f64();
    let per_second = if seconds > 0.0 { counters.on_stream as f64 / seconds } else { 0.0 };
    let of_time = spec.seconds.map(|seconds| (seconds * spec.rate).ceil() as u64);
    let total = spec.count.into_iter().chain(of_time).min();
    let behind = counters.read.saturating_sub(counters.on_stream);
    // More than what is due within a second is on its way: the stream does not keep up.
    let limit = if behind as f64 > spec.rate { format!("stream {}", spec.stream) } else { "the rate asked for".into() };
    let sample = Sample { at_ms: now_ms(), counters, limit: limit.clone(), ..Sample::default() };
    session.journal().commit(
        &session.job.id,
        &Commit { counters, total, limit: &limit, sample: Some(&sample), ..Commit::default() },
    )?;
    session.say(Line {
        seconds,
        total,
        per_second: Some(per_second),
        eta_seconds: total.map(|total| total.saturating_sub(counters.read) as f64 / spec.rate),
        limit: Some(limit),
        ..Line::running(&session.job, seconds, counters)
    });
    Ok(())
}

fn end(session: &Session<'_>, spec: &LoadSpec, halt: Option<Halt>, tally: &Tally, elapsed: f64) -> End {
    let state = halt.map_or(State::Done, State::from);
    let accepted = tally.counters().on_stream;
    let achieved = if elapsed > 0.0 { accepted as f64 / elapsed } else { 0.0 };
    let mut line: serde_json::Value = serde_json::from_str(&last_line(session, state)).unwrap_or_default();
    line["rate"] = spec.rate.into();
    line["achieved"] = achieved.into();
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];
    let latency = quantiles.map(|(name, quantile)| (name, tally.latency(quantile)));
    line["latency_ms"] = latency.iter().map(|(name, ms)| ((*name).to_owned(), serde_json::Value::from(*ms))).collect();
    let shown = latency.map(|(name, ms)| format!("{name} {ms:.1} ms")).join(", ");
    let message = format!(
        "{accepted} events in {elapsed:.1} s: {achieved:.1}/s of {:.1}/s asked; from due to accepted {shown}",
        spec.rate
    );
    End { state, message, report: to_json(&line), dead: false, left_out: false, differs: false }
}
