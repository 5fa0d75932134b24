//! Where a running replica writes down how it stands.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::direction::{Direction, Directions};
use super::position::{self, RETENTION_MS};
use super::spec::ReplicateSpec;
use crate::flow::{Counters, ShardProgress};
use crate::jobs::binding::{Binding, Names, Recent, Stages};
use crate::jobs::consuming;
use crate::jobs::journal::{ChangeCounts, Commit, ReplicaSample, Sample, State, now_ms, to_json};
use crate::jobs::progress::Line;
use crate::jobs::restore::{ended_line, stage_of};
use crate::jobs::speed::Speed;
use crate::jobs::worker::{JobError, Session};

/// Below this the time to trim is an alarm, ms.
const ALARM_MS: u64 = 2 * 3_600_000;

/// The last line of `--json`.
#[derive(Serialize)]
struct ReplicaLine {
    #[serde(flatten)]
    line: Line,
    /// What this run read, by kind; what was read again after a crash counts again.
    changes: ChangeCounts,
    /// Until the oldest change that is not in the replica leaves the stream, s.
    trim_seconds: f64,
    /// What may be missing in the replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<String>,
}

/// A running replica.
pub(super) struct Desk<'a, 'l> {
    session: &'a Session<'l>,
    spec: &'a ReplicateSpec,
    directions: &'a Directions,
    /// What goes into the journal with the first commit.
    first: Vec<(String, Vec<u8>)>,
    recent: Recent,
    speed: Speed,
    began: Instant,
    counters: Counters,
    /// The alarm was told.
    alarmed: bool,
    fence_told: bool,
}

impl<'a, 'l> Desk<'a, 'l> {
    pub fn new(session: &'a Session<'l>, spec: &'a ReplicateSpec, directions: &'a Directions) -> Self {
        Self {
            session,
            spec,
            directions,
            first: directions.left.taken_over(),
            recent: Recent::default(),
            speed: Speed::default(),
            began: Instant::now(),
            counters: directions.before,
            alarmed: false,
            fence_told: false,
        }
    }

    /// Exact counters as of the last commit.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Stores what passed the marks, with a sample, and says how it stands.
    pub fn commit(&mut self) -> Result<(), JobError> {
        let (mut checkpoints, mut letters) = (std::mem::take(&mut self.first), Vec::new());
        let before = self.directions.before;
        let (mut counters, mut live) = (before, before);
        let (mut settled, mut samples) = (Vec::new(), Vec::new());
        for direction in self.directions.all() {
            let effort = direction.gate.replica.effort();
            if let Some(bootstrap) = &direction.bootstrap {
                // In this order: what is live covers what is settled.
                let passed = bootstrap.settled();
                checkpoints.extend(passed.rows);
                letters.extend(passed.letters);
                counters += passed.counters;
                live += bootstrap.live();
                let scan = bootstrap.scanner().counters();
                let scanned =
                    Counters { rcu: scan.rcu, throttled: scan.throttled, retried: scan.retried, ..Counters::default() };
                counters += scanned;
                live += scanned;
            }
            let shards = direction.consumer.settled();
            let prefix = position::SHARDS[direction.number];
            checkpoints.extend(shards.iter().map(|shard| position::row(prefix, &shard.checkpoint)));
            letters.extend(shards.iter().flat_map(|shard| shard.letters.iter().cloned()));
            counters += direction.consumer.counted() + effort;
            live += direction.consumer.live() + effort;
            samples.extend(consuming::samples(&direction.consumer));
            settled.push((direction, shards));
        }
        self.counters = counters;
        self.notes();
        let trim_ms = self.trim_ms();
        let binding = self.binding();
        let limit = self.limit(&binding, trim_ms);
        self.tips();
        let row = {
            let mut row = self.directions.row();
            row.counters = counters;
            row.clone()
        };
        checkpoints.push(row.stored());
        if let Some(deletes) = &self.directions.deletes {
            checkpoints.extend(deletes.rows(self.read_ms()));
        }
        let provisioned = self.directions.all()[0]
            .table
            .as_ref()
            .map(|(_, _, replica)| replica.provisioned.load(std::sync::atomic::Ordering::Relaxed));
        let sample = Sample {
            at_ms: now_ms(),
            counters: live,
            provisioned_wcu: provisioned.filter(|wcu| *wcu > 0).map(|wcu| wcu as f64),
            limit: limit.clone(),
            binding: Some(binding),
            shards: samples,
            replica: Some(ReplicaSample {
                trim_ms,
                changes: self.changes(),
                bootstrap: self.bootstrap(),
                gap: self.directions.gap(),
            }),
            ..Sample::default()
        };
        self.session.journal().commit(
            &self.session.job.id,
            &Commit {
                counters,
                total: None,
                limit: &limit,
                checkpoints: &checkpoints,
                letters: &letters,
                sample: Some(&sample),
            },
        )?;
        for (direction, shards) in settled {
            direction.consumer.committed(&shards);
        }
        self.say(live, limit);
        Ok(())
    }

    /// Writes down what happened to the shards: a place that is no longer kept is a gap, unless all up to then was read.
    fn notes(&mut self) {
        let kept_since = now_ms() - RETENTION_MS;
        for direction in self.directions.all() {
            for words in direction.consumer.take_notes() {
                let shard = words.strip_prefix("shard ").and_then(|rest| rest.split(':').next()).unwrap_or_default();
                let tip = self.directions.row().tips.get(shard).copied();
                if tip.is_some_and(|tip| tip > kept_since) {
                    let words = format!(
                        "shard {shard}: the change where reading stopped has left the stream. All up to the end had been read \
                         within the last 24 hours, so nothing is missing"
                    );
                    self.session.note("info", &words);
                    continue;
                }
                self.session.note("warn", &words);
                let gap = format!(
                    "changes of {} are missing in the replica: they had left the stream, which keeps them for 24 hours, before \
                     they were read. --rebootstrap repairs it",
                    direction.source.name
                );
                self.directions.row().gap.get_or_insert(gap);
            }
            for (level, words) in direction.gate.replica.take_notes() {
                self.session.note(level, &words);
            }
            if direction.gate.fence.is_full() && !std::mem::replace(&mut self.fence_told, true) {
                self.session.note(
                    "warn",
                    "so many items changed since the bootstrap began that the stream waits until the scan is through; the time to \
                     trim says how long it may",
                );
            }
        }
    }

    /// Until the oldest change that is not in the replica leaves the stream, ms.
    fn trim_ms(&self) -> u64 {
        let now = now_ms();
        let age = |shard: &ShardProgress| {
            // Of a shard at its tip, or of one that gave nothing yet, nothing waits.
            if shard.done || (shard.open == 0 && shard.lag_ms <= 1) {
                return 0;
            }
            // The next one is at least as young as the last that is settled.
            let settled = shard.settled_us.map(|us| u64::try_from(now - us / 1_000).unwrap_or_default());
            settled.unwrap_or(shard.lag_ms)
        };
        let progress = self.directions.all().iter().flat_map(|direction| direction.consumer.progress());
        let oldest = progress.map(|shard| age(&shard)).max().unwrap_or_default();
        (RETENTION_MS as u64).saturating_sub(oldest)
    }

    /// Up to when all streams were read, ms since the epoch.
    fn read_ms(&self) -> i64 {
        let now = now_ms();
        let read = |shard: &ShardProgress| {
            if shard.open == 0 && shard.lag_ms == 0 { now } else { shard.settled_us.map_or(0, |us| us / 1_000) }
        };
        let progress = self.directions.all().iter().flat_map(|direction| direction.consumer.progress());
        progress.filter(|shard| !shard.done).map(|shard| read(&shard)).min().unwrap_or(now)
    }

    /// Notes which shards are read to their tips.
    fn tips(&self) {
        let now = now_ms();
        let mut row = self.directions.row();
        for direction in self.directions.all() {
            for shard in direction.consumer.progress() {
                if shard.caught_up.is_some() && shard.open == 0 && shard.lag_ms == 0 {
                    row.tips.insert(shard.shard, now);
                }
            }
        }
        row.tips.retain(|_, tip| *tip > now - 2 * RETENTION_MS);
    }

    fn changes(&self) -> ChangeCounts {
        let mut sum = ChangeCounts::default();
        for direction in self.directions.all() {
            let ChangeCounts { inserted, modified, removed, expired, scanned, superseded, filtered, swept } =
                direction.gate.counts.now();
            sum.inserted += inserted;
            sum.modified += modified;
            sum.removed += removed;
            sum.expired += expired;
            sum.scanned += scanned;
            sum.superseded += superseded;
            sum.filtered += filtered;
            sum.swept += swept;
        }
        sum
    }

    fn bootstrap(&self) -> Option<(u64, u64)> {
        let on = |direction: &&Direction| direction.stops_short();
        let mut on =
            self.directions.all().iter().filter(on).filter_map(|direction| direction.bootstrap.as_ref()).peekable();
        on.peek()?;
        Some(on.fold((0, 0), |(read, total), one| (read + one.scanner().counters().read, total + one.total)))
    }

    /// What binds now.
    fn binding(&mut self) -> Binding {
        let direction = &self.directions.all()[0];
        let Some(writer) = direction.gate.replica.writer() else {
            return Binding {
                limit: direction.gate.replica.limit(),
                of: self.spec.target.to_string(),
                ..Binding::default()
            };
        };
        let (held, stage) = stage_of(writer);
        let behind = Some(consuming::behind(&direction.consumer));
        let stages = Stages { held, cpus: 1, behind, into_table: Some(stage), ..Stages::default() };
        let names = Names {
            table: self.spec.target.to_string(),
            stream: format!("{}'s changes", self.spec.table),
            source: format!("the changes of {}", self.spec.table),
            follows: true,
        };
        self.recent.next(self.began.elapsed(), stages, &names)
    }

    fn limit(&mut self, binding: &Binding, trim_ms: u64) -> String {
        let limit = binding.short();
        if trim_ms >= ALARM_MS {
            self.alarmed = false;
            return limit;
        }
        let words = format!("time to trim {}", hours(trim_ms));
        if !std::mem::replace(&mut self.alarmed, true) {
            self.session.note(
                "error",
                &format!(
                    "{words}: the oldest change that is not in the replica leaves the stream then, and is lost to it. What holds it \
                     up now: {limit}"
                ),
            );
        }
        format!("{words}; {limit}")
    }

    fn say(&mut self, live: Counters, limit: String) {
        let per_second = self.speed.next(Instant::now(), live.settled());
        let line = Line::running(&self.session.job, self.began.elapsed().as_secs_f64(), live);
        self.session.say(Line { per_second, limit: Some(limit), ..line });
    }

    /// The job's last line.
    pub fn last_line(&self, state: State) -> String {
        let line = |line| ReplicaLine {
            line,
            changes: self.changes(),
            trim_seconds: self.trim_ms() as f64 / 1_000.0,
            gap: self.directions.gap(),
        };
        ended_line(self.session, state).map_or_else(|| "{}".to_owned(), |ended| to_json(&line(ended)))
    }
}

/// `1h 12m`.
fn hours(ms: u64) -> String {
    let minutes = Duration::from_millis(ms).as_secs() / 60;
    format!("{}h {:02}m", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_trim_is_told_in_hours_and_minutes() {
        assert_eq!([0, 59_999, 4_320_000].map(hours), ["0h 00m", "0h 00m", "1h 12m"]);
    }
}
