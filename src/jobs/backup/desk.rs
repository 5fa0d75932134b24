//! Where a running backup writes down how it stands, and obeys.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::binding::{Binding, ReadLimits, Reads, Recent};
use super::super::journal::{Commit, Control, Sample, State, now_ms, to_json};
use super::super::progress::Line;
use super::super::spec::BackupSpec;
use super::super::speed::Speed;
use super::super::worker::{CONTROLS, End, Halt, JobError, Session};
use super::state::{Begun, Origin, State as Stored};
use super::{About, BackupWriter, Page, Published, Table};
use crate::flow::{Counters, Scanner};

/// Controls are looked at this many times for each checkpoint.
const LOOKS_PER_COMMIT: u32 = 4;

pub(super) struct Desk<'a, 'l> {
    session: &'a Session<'l>,
    spec: &'a BackupSpec,
    table: &'a Table,
    to: String,
    writer: BackupWriter,
    stored: Stored,
    scanner: Arc<Scanner>,
    /// Time that segments waited for the writer, µs.
    blocked: Arc<AtomicU64>,
    /// Pages given to the writer that are not known to be stored.
    waiting: VecDeque<Origin>,
    /// How many are.
    settled: u64,
    /// Seen, stored or not.
    seen: Counters,
    /// What earlier runs of the job took.
    earlier: Counters,
    held: bool,
    limit: String,
    binding: Option<Binding>,
    recent: Recent<Reads>,
    /// Of items seen.
    speed: Speed,
    began: Instant,
    looks: u32,
}

impl<'a, 'l> Desk<'a, 'l> {
    // Each is a part of the running backup that nothing else holds.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        session: &'a Session<'l>,
        spec: &'a BackupSpec,
        table: &'a Table,
        begun: &Begun,
        writer: BackupWriter,
        stored: Stored,
        scanner: Arc<Scanner>,
        blocked: Arc<AtomicU64>,
    ) -> Self {
        let counters = session.job.counters;
        Self {
            session,
            spec,
            table,
            to: begun.to.location.to_string(),
            writer,
            seen: stored.progress.counters,
            stored,
            scanner,
            blocked,
            waiting: VecDeque::new(),
            settled: 0,
            earlier: Counters {
                rcu: counters.rcu,
                retried: counters.retried,
                throttled: counters.throttled,
                ..Counters::default()
            },
            held: false,
            limit: String::new(),
            binding: None,
            recent: Recent::default(),
            speed: Speed::default(),
            began: Instant::now(),
            looks: 0,
        }
    }

    /// Hands pages to the writer until all segments are read (`None`) or the job is to stop.
    pub async fn drive(
        &mut self,
        segments: &mut JoinSet<Result<(), JobError>>,
        pages: &mut mpsc::Receiver<Page>,
    ) -> Result<Option<Halt>, JobError> {
        let session = self.session;
        let halted = session.halted();
        tokio::pin!(halted);
        let mut looks = tokio::time::interval(CONTROLS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                halt = &mut halted => return Ok(Some(halt)),
                _ = looks.tick() => self.look().await?,
                Some(ended) = segments.join_next() => ended.map_err(std::io::Error::other)??,
                page = pages.recv() => {
                    // All segments have ended; one that failed says so above or below.
                    let Some(Page { origin, block }) = page else { break };
                    self.seen.read += origin.items;
                    self.seen.bytes += origin.bytes;
                    {
                        let append = self.writer.append(&block);
                        tokio::select! {
                            appended = append => appended?,
                            halt = &mut halted => return Ok(Some(halt)),
                        }
                    }
                    self.waiting.push_back(origin);
                }
            }
        }
        while let Some(ended) = segments.join_next().await {
            ended.map_err(std::io::Error::other)??;
        }
        Ok(None)
    }

    /// Looks at the controls, and each second writes down how it stands.
    async fn look(&mut self) -> Result<(), JobError> {
        let (control, rate) = self.session.journal().controls(&self.session.job.id)?;
        self.scanner.set_cap(rate);
        let held = control == Control::Pause;
        if held != self.held {
            self.held = held;
            self.scanner.hold(held);
            let state = if held { State::Paused } else { State::Running };
            self.session.journal().set_state(&self.session.job.id, state)?;
            self.session.note("info", if held { "told to pause" } else { "told to go on" });
        }
        if self.looks.is_multiple_of(LOOKS_PER_COMMIT) {
            let binding = self.binding(rate);
            self.limit = binding.short();
            self.binding = Some(binding);
            self.commit().await?;
        }
        self.looks += 1;
        Ok(())
    }

    /// What binds now.
    fn binding(&mut self, cap: Option<f64>) -> Binding {
        let (times, scanned) = (self.scanner.times(), self.scanner.counters());
        let reads = Reads {
            held: self.held,
            readers: self.scanner.options().segments as usize,
            paced: times.budget,
            capped: times.cap,
            sending: times.service,
            refused: times.throttled,
            writing: self.blocked.load(Ordering::Relaxed) as f64 / 1e6,
            items: scanned.read,
            replies: times.replies,
            rcu: scanned.rcu,
            ..Reads::default()
        };
        let limits = ReadLimits {
            budget: self.scanner.budget(),
            cap,
            provisioned: self.table.provisioned.map(|p| p.read as f64),
            destination: self.to.clone(),
            ..ReadLimits::default()
        };
        self.recent.next(self.began.elapsed(), reads, &limits, &self.spec.table)
    }

    /// Stores what is stored for certain, with a sample, and says how it stands.
    pub async fn commit(&mut self) -> Result<(), JobError> {
        let settled = self.writer.settle().await?;
        let stored = usize::try_from(settled.blocks - self.settled).unwrap_or(usize::MAX).min(self.waiting.len());
        self.settled = settled.blocks;
        let origins: Vec<Origin> = self.waiting.drain(..stored).collect();
        let checkpoints = self.stored.store(origins, settled.mark, &settled.pieces);
        let scanned = self.scanner.counters();
        let effort = self.earlier
            + Counters {
                rcu: scanned.rcu,
                retried: scanned.retried,
                throttled: scanned.throttled,
                ..Counters::default()
            };
        let counters = self.stored.progress.counters + effort;
        let live = Counters { read: self.seen.read, bytes: self.seen.bytes, ..counters };
        let total = Some(self.table.items.max(live.read)).filter(|items| *items > 0);
        let sample = Sample {
            at_ms: now_ms(),
            counters: live,
            limit: self.limit.clone(),
            binding: self.binding.clone(),
            ..Sample::default()
        };
        self.session.journal().commit(
            &self.session.job.id,
            &Commit {
                counters,
                total,
                limit: &self.limit,
                checkpoints: &checkpoints,
                sample: Some(&sample),
                ..Commit::default()
            },
        )?;
        self.say(live, total);
        Ok(())
    }

    fn say(&mut self, live: Counters, total: Option<u64>) {
        let per_second = self.speed.next(Instant::now(), live.read);
        let state = if self.held { State::Paused } else { State::Running };
        let line = Line::running(&self.session.job, self.began.elapsed().as_secs_f64(), live);
        self.session.say(Line { state, limit: Some(self.limit.clone()), ..line.at(total, live.read, per_second) });
    }

    /// Ends the files, proves that the counts add up, and gives the backup its name.
    pub async fn finish(&mut self, begun: &Begun) -> Result<Published, JobError> {
        self.writer.drain().await?;
        "giving the backup its name, once it reads back".clone_into(&mut self.limit);
        self.binding = None;
        self.commit().await?;
        self.stored.adds_up(begun)?;
        let about = About {
            table: self.spec.table.clone(),
            table_arn: begun.table_arn.clone(),
            table_id: begun.table_id.clone(),
            started: begun.started,
            ended: Timestamp::now(),
            consistent: begun.consistent,
            digest: self.stored.progress.digest(),
        };
        let published = self.writer.publish(&about).await?;
        let counters = self.session.journal().job(&self.session.job.id)?.counters;
        // Now it is known how many there are.
        let commit = Commit { counters, total: Some(published.rows), ..Commit::default() };
        self.session.journal().commit(&self.session.job.id, &commit)?;
        if self.stored.progress.odd > 0 {
            self.session.note(
                "warn",
                &format!(
                    "{} items are as no restore would take them; they are in the backup as they are in the table",
                    self.stored.progress.odd
                ),
            );
        }
        Ok(published)
    }

    /// Removes what was written.
    pub async fn discard(self) -> Result<(), JobError> {
        Ok(self.writer.discard().await?)
    }

    /// How it ended, with the last line of `--json`.
    pub fn end(&self, state: State, message: String, published: Option<&Published>) -> End {
        let line = super::super::restore::last_line(self.session, state);
        let mut line: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        line["to"] = self.to.clone().into();
        if let Some(published) = published {
            line["to"] = published.location.to_string().into();
            line["stored_bytes"] = published.bytes.into();
            line["digest"] = self.stored.progress.digest().into();
        }
        End { state, message, report: to_json(&line), dead: false, left_out: false, differs: false }
    }
}
