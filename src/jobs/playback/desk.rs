//! Where a running playback keeps time, writes down how it stands, and obeys.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::super::journal::{Commit, Control, Sample, State, now_ms, to_json};
use super::super::progress::Line;
use super::super::spec::PlaybackSpec;
use super::super::speed::Speed;
use super::super::worker::{CONTROLS, End, Halt, JobError, Session};
use super::sink::{Lines, Played, Records, reason_of};
use super::{Done, PLAYED};
use crate::event::read::{EventRead, OddRow};
use crate::event::{Batch, Event, Filter, Lateness, Miscount, Place, Range, Reading, Tempo};
use crate::flow::{Clock, Counters, Letter, Outcome, Position as _, ReadPace};

/// Controls are looked at this many times for each checkpoint.
const LOOKS_PER_COMMIT: u32 = 4;
/// The longest slot that there is, µs.
const LONGEST_SLOT: i64 = 3_600_000_000;
/// How often a follower asks for the watermark.
const FOLLOW: Duration = Duration::from_secs(1);

/// Where events go.
pub(super) enum Sink {
    Lines(Box<Lines>),
    Records(Arc<Records>),
}

/// How a wait ended.
enum Rest {
    Over,
    Halted(Halt),
}

pub(super) struct Desk<'a, 'l> {
    session: &'a Session<'l>,
    spec: &'a PlaybackSpec,
    read: Arc<dyn EventRead>,
    sink: Sink,
    clock: Arc<dyn Clock>,
    filter: Filter,
    tempo: Option<Tempo>,
    cap: Arc<ReadPace>,
    table: Arc<str>,
    /// The last event that was handed to the sink.
    last: Option<Place>,
    ordinal: u64,
    watermark: Option<Timestamp>,
    letters: Vec<Letter>,
    /// Effort of earlier runs.
    earlier: Counters,
    miscounted: (u64, Option<Miscount>),
    held: bool,
    /// Standard output was closed.
    unread: bool,
    /// The event that is not due yet.
    waits_until: Option<Timestamp>,
    /// A follower has played what is complete.
    is_waiting: bool,
    speed: Speed,
    began: Instant,
    next_look: Instant,
    looks: u32,
    limit: String,
}

impl<'a, 'l> Desk<'a, 'l> {
    pub fn new(
        session: &'a Session<'l>,
        spec: &'a PlaybackSpec,
        read: Arc<dyn EventRead>,
        sink: Sink,
        done: Done,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let counters = session.job.counters;
        Self {
            session,
            spec,
            read,
            sink,
            filter: Filter::new(spec.filter.as_deref().unwrap_or_default()),
            tempo: spec.speed.map(Tempo::new),
            cap: Arc::new(ReadPace::new(Arc::clone(&clock), session.job.rate)),
            clock,
            table: spec.events.as_str().into(),
            last: done.place,
            ordinal: done.counters.read,
            watermark: None,
            letters: Vec::new(),
            earlier: Counters {
                rcu: counters.rcu,
                retried: counters.retried,
                throttled: counters.throttled,
                ..Counters::default()
            },
            miscounted: (0, None),
            held: false,
            unread: false,
            waits_until: None,
            is_waiting: false,
            speed: Speed::default(),
            began: Instant::now(),
            next_look: Instant::now(),
            looks: 0,
            limit: String::new(),
        }
    }

    /// Plays `whole`, or what is left of it, until its end (`None`) or until the job is to stop.
    pub async fn play(&mut self, whole: Range, watermark: Option<Timestamp>) -> Result<Option<Halt>, JobError> {
        self.watermark = watermark;
        if let Some(complete) = watermark.filter(|complete| !self.spec.follow && *complete < whole.to()) {
            self.session.note(
                "warn",
                &format!(
                    "{} is complete up to {complete}: events before {} that are stored later are not in this playback; --follow waits for them",
                    self.table,
                    whole.to()
                ),
            );
        }
        if !self.spec.follow {
            return self.play_range(whole).await;
        }
        let mut from = whole.from();
        loop {
            let complete = self.watermark.unwrap_or(from).clamp(from, whole.to());
            let range = Range::new(from, complete).map_err(JobError::Unfit)?;
            if let Some(halt) = self.play_range(range).await? {
                return Ok(Some(halt));
            }
            from = complete;
            if from >= whole.to() || self.unread {
                return Ok(None);
            }
            self.is_waiting = true;
            self.flush().await?;
            if let Rest::Halted(halt) = self.rest(FOLLOW).await? {
                return Ok(Some(halt));
            }
            self.is_waiting = false;
            if let Some(tempo) = &mut self.tempo {
                tempo.begin_again();
            }
            // Read before the directory is: what it says is complete, the directory knows.
            let read = Arc::clone(&self.read);
            match self.beside(async move { read.watermark().await }).await? {
                Ok(watermark) => self.watermark = watermark?.or(self.watermark),
                Err(halt) => return Ok(Some(halt)),
            }
        }
    }

    async fn play_range(&mut self, range: Range) -> Result<Option<Halt>, JobError> {
        let mut reading = Reading::start(Arc::clone(&self.read), range, self.last.clone());
        loop {
            let batch = match self.beside(reading.next()).await? {
                Ok(Some(batch)) => batch?,
                Ok(None) => return Ok(None),
                Err(halt) => return Ok(Some(halt)),
            };
            let Batch { events, odd, miscounted } = batch;
            for odd in odd {
                if let Some(halt) = self.bury(odd).await? {
                    return Ok(Some(halt));
                }
            }
            // What a pass is at work on is counted a little later than it is there.
            let settled = |found: &Miscount| {
                let complete = self.watermark.map_or(i64::MAX, Timestamp::as_microsecond);
                found.there < found.counted || found.slot.start_us <= complete.saturating_sub(LONGEST_SLOT)
            };
            if let Some(found) = miscounted.filter(settled) {
                self.miscounted.0 += 1;
                self.miscounted.1.get_or_insert(found);
            }
            for event in events {
                if let Some(halt) = self.play_event(&event).await? {
                    return Ok(Some(halt));
                }
                if self.unread {
                    return Ok(None);
                }
            }
        }
    }

    /// Makes a dead letter of a row that is no event.
    async fn bury(&mut self, odd: OddRow) -> Result<Option<Halt>, JobError> {
        let reason = reason_of(&odd);
        tracing::warn!(reason, "a row of the event table is a dead letter");
        let played = Played::odd(self.last.as_ref(), &self.table);
        match &mut self.sink {
            Sink::Lines(lines) => {
                lines.dead();
                self.letters.push(played.letter(reason, odd.row));
            }
            Sink::Records(records) => {
                let ledger = Arc::clone(&records.ledger);
                match self.beside(async move { ledger.open(played).await }).await? {
                    Ok(Ok(receipt)) => receipt.dead(reason, odd.row),
                    // Never closed while events are put.
                    Ok(Err(_)) => {}
                    Err(halt) => return Ok(Some(halt)),
                }
            }
        }
        Ok(None)
    }

    async fn play_event(&mut self, event: &Event) -> Result<Option<Halt>, JobError> {
        let wanted = self.filter.wants(event);
        loop {
            if self.next_look <= Instant::now()
                && let Some(halt) = self.look().await?
            {
                return Ok(Some(halt));
            }
            if self.held {
                if let Rest::Halted(halt) = self.rest(CONTROLS).await? {
                    return Ok(Some(halt));
                }
                continue;
            }
            let now = self.clock.now();
            let wait = match &mut self.tempo {
                Some(tempo) if wanted => tempo.wait(event.time, now),
                _ => Duration::ZERO,
            };
            if wait.is_zero() {
                break;
            }
            self.waits_until = Some(event.time);
            self.flush().await?;
            // In parts: a pause, or another look, makes what is left another wait.
            if let Rest::Halted(halt) = self.rest(wait.min(CONTROLS)).await? {
                return Ok(Some(halt));
            }
        }
        self.waits_until = None;
        if wanted && self.cap.per_second().is_some() {
            self.flush().await?;
            let cap = Arc::clone(&self.cap);
            if let Err(halt) = self.beside(async move { cap.reserve(1.0).await }).await? {
                return Ok(Some(halt));
            }
        }
        if wanted && let Some(tempo) = &mut self.tempo {
            tempo.played(event.time, self.clock.now());
        }
        self.ordinal += 1;
        match &mut self.sink {
            Sink::Lines(lines) if !wanted => lines.skip(event),
            Sink::Lines(lines) => {
                if lines.take(event) {
                    self.flush().await?;
                }
            }
            Sink::Records(records) => {
                let (records, ordinal) = (Arc::clone(records), self.ordinal);
                let played = Played::new(event, &self.table);
                let put = async {
                    // Never closed while events are put.
                    let Ok(receipt) = records.ledger.open(played).await else { return Ok(()) };
                    if wanted {
                        return records.put(event, ordinal, receipt).await;
                    }
                    receipt.settle(Outcome::Skipped);
                    Ok(())
                };
                match self.beside(put).await? {
                    Ok(put) => put?,
                    Err(halt) => return Ok(Some(halt)),
                }
            }
        }
        self.last = Some(Place::of(event));
        Ok(None)
    }

    async fn flush(&mut self) -> Result<(), JobError> {
        if let Sink::Lines(lines) = &mut self.sink
            && !lines.flush().await?
        {
            self.unread = true;
        }
        Ok(())
    }

    /// Does `work`, and looks at the controls meanwhile.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<Result<T, Halt>, JobError> {
        tokio::pin!(work);
        let stop = self.session.stop.clone();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(Ok(done)),
                () = stop.cancelled() => return Ok(Err(Halt::Interrupted)),
                () = tokio::time::sleep_until(self.next_look) => {
                    if let Some(halt) = self.look().await? {
                        return Ok(Err(halt));
                    }
                }
            }
        }
    }

    async fn rest(&mut self, wait: Duration) -> Result<Rest, JobError> {
        let clock = Arc::clone(&self.clock);
        Ok(match self.beside(async move { clock.sleep(wait).await }).await? {
            Ok(()) => Rest::Over,
            Err(halt) => Rest::Halted(halt),
        })
    }

    /// Looks at the controls, and each second writes down how it stands.
    async fn look(&mut self) -> Result<Option<Halt>, JobError> {
        self.next_look = Instant::now() + CONTROLS;
        if self.session.stop.is_cancelled() {
            return Ok(Some(Halt::Interrupted));
        }
        let (control, rate) = self.session.journal().controls(&self.session.job.id)?;
        if control == Control::Cancel {
            return Ok(Some(Halt::Cancelled));
        }
        self.cap.set(rate);
        let held = control == Control::Pause;
        if held != self.held {
            self.held = held;
            let state = if held { State::Paused } else { State::Running };
            self.session.journal().set_state(&self.session.job.id, state)?;
            self.session.note("info", if held { "told to pause" } else { "told to go on" });
            if let Some(tempo) = &mut self.tempo {
                tempo.begin_again();
            }
        }
        if self.looks.is_multiple_of(LOOKS_PER_COMMIT) {
            self.commit().await?;
        }
        self.looks += 1;
        Ok(None)
    }

    /// What holds it back now.
    fn binding(&self, rate: Option<f64>) -> String {
        let at = self.last.as_ref().map(|place| format!(", at {:.3}", place.time)).unwrap_or_default();
        match (self.waits_until, &self.sink) {
            _ if self.held => "paused".to_owned(),
            _ if self.is_waiting => match self.watermark {
                Some(complete) => format!("{} is complete up to {complete:.3}: waiting for more", self.table),
                None => format!("no pump said up to when {} is complete: waiting", self.table),
            },
            (Some(next), _) => {
                let speed = self.spec.speed.unwrap_or(1.0);
                format!("its speed, ×{speed}{at}; the next event is of {next:.3}")
            }
            _ if rate.is_some() => format!("rate cap, {:.0} events/s{at}", rate.unwrap_or_default()),
            (None, Sink::Records(records)) => {
                format!("{}{at}", records.held_back().unwrap_or_else(|| "reading the event table".to_owned()))
            }
            (None, Sink::Lines(_)) => format!("reading the event table{at}"),
        }
    }

    /// Stores what is stored for certain, with a sample, and says how it stands.
    pub async fn commit(&mut self) -> Result<(), JobError> {
        self.limit = self.binding(self.cap.per_second());
        let cost = self.read.cost();
        let mut effort = Counters { rcu: cost.rcu, retried: cost.retried, throttled: cost.throttled, ..self.earlier };
        effort.rcu += self.earlier.rcu;
        effort.retried += self.earlier.retried;
        effort.throttled += self.earlier.throttled;
        let (done, live) = match &mut self.sink {
            Sink::Lines(lines) => {
                let live = lines.counters();
                let (stored, read) = lines.store().await?;
                self.unread |= !read;
                (Done { place: stored.place, bytes: stored.bytes, counters: stored.counters }, live)
            }
            Sink::Records(records) => {
                let settled = records.take_settled();
                self.letters.extend(settled.letters);
                let put = records.effort();
                effort.retried += put.retried;
                effort.throttled += put.throttled;
                let place = settled.position.and_then(|played| played.place);
                (Done { place, bytes: 0, counters: settled.counters }, records.ledger.live())
            }
        };
        let place = done.place.clone();
        let checkpoints: Vec<(String, Vec<u8>)> =
            place.map(|_| (PLAYED.to_owned(), to_json(&done).into_bytes())).into_iter().collect();
        let sample =
            Sample { at_ms: now_ms(), counters: live + effort, limit: self.limit.clone(), ..Sample::default() };
        let letters = std::mem::take(&mut self.letters);
        self.session.journal().commit(
            &self.session.job.id,
            &Commit {
                counters: done.counters + effort,
                limit: &self.limit,
                checkpoints: &checkpoints,
                letters: &letters,
                sample: Some(&sample),
                ..Commit::default()
            },
        )?;
        self.say(live + effort);
        Ok(())
    }

    fn say(&mut self, live: Counters) {
        let per_second = self.speed.next(Instant::now(), live.read);
        let state = if self.held { State::Paused } else { State::Running };
        let line = Line::running(&self.session.job, self.began.elapsed().as_secs_f64(), live);
        self.session.say(Line { state, per_second, limit: Some(self.limit.clone()), ..line });
    }

    /// Everything is stored, and counts.
    pub async fn finish(&mut self) -> Result<(), JobError> {
        if let Sink::Records(records) = &self.sink {
            let records = Arc::clone(records);
            // Until the last of them is accepted; a commit each second goes on meanwhile.
            let settled = async {
                tokio::select! {
                    error = records.failed() => Err(error),
                    () = records.settled() => Ok(()),
                }
            };
            if let Ok(settled) = self.beside(settled).await? {
                settled?;
            } else {
                self.commit().await?;
                return Err(JobError::Unfit("told to stop while the last records were put: resume it".to_owned()));
            }
        }
        self.commit().await?;
        if let (n @ 1.., Some(first)) = &self.miscounted {
            self.session.note(
                "warn",
                &format!(
                    "{n} slots hold another number of events than their directory says, the first is {}: {} there, {} counted; \
                     sluice pump --repair --events {} makes the directory anew",
                    first.slot, first.there, first.counted, self.table
                ),
            );
        }
        Ok(())
    }

    /// What was played, and how well it kept time.
    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        if let Some(complete) = self.watermark {
            words.push(format!("{} is complete up to {complete}", self.table));
        }
        if let Some(Lateness { events: 1.., median_ms, p99_ms, worst_ms }) = self.tempo.as_ref().map(Tempo::lateness) {
            words.push(format!(
                "events came late by {median_ms:.1} ms (median), {p99_ms:.1} ms (99 %), {worst_ms:.1} ms (worst)"
            ));
        }
        if self.miscounted.0 > 0 {
            words.push(format!("{} slots disagree with the directory: sluice pump --repair", self.miscounted.0));
        }
        if self.unread {
            words.push("standard output was closed before the end".to_owned());
        }
        words.join("; ")
    }

    /// How it ended, with the last line of `--json`.
    pub fn end(&self, state: State, message: String) -> End {
        let line = super::super::restore::last_line(self.session, state);
        let mut line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        line["to"] = self.spec.sink.clone().into();
        line["last"] = self.last.as_ref().map(|place| format!("{:.6}", place.time)).into();
        line["watermark"] = self.watermark.map(|time| format!("{time:.6}")).into();
        line["requests"] = self.read.cost().requests.into();
        line["slots_miscounted"] = self.miscounted.0.into();
        if let Some(Lateness { median_ms, p99_ms, worst_ms, .. }) = self.tempo.as_ref().map(Tempo::lateness) {
            line["late_ms"] = serde_json::json!({ "median": median_ms, "p99": p99_ms, "worst": worst_ms });
        }
        let dead = line["dead"].as_u64().is_some_and(|dead| dead > 0);
        End { state, message, report: to_json(&line), dead, left_out: false, differs: false }
    }
}
