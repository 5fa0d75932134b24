//! Where a running put worker writes down how it stands.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::position::Position;
use super::sharing;
use super::tables::{ManyTables, One};
use crate::flow::leases::Leases;
use crate::flow::{Consumer, Counters, Limit};
use crate::jobs::binding::{Binding, Names, Recent, Stages};
use crate::jobs::consuming;
use crate::jobs::journal::{Commit, Holder, Sample, State, now_ms, to_json};
use crate::jobs::progress::Line;
use crate::jobs::restore::{ended_line, stage_of};
use crate::jobs::speed::Speed;
use crate::jobs::worker::{JobError, Session};

/// How often it is written down who holds which shard when nothing changes.
const HOLDERS_EVERY: Duration = Duration::from_secs(30);

/// What became of the requests of one table, for the last line.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct TableLine {
    table: String,
    written: u64,
    deleted: u64,
    skipped: u64,
    dead: u64,
    retried: u64,
    throttled: u64,
    wcu: f64,
}

/// The last line of `--json`.
#[derive(Serialize)]
struct WorkLine {
    #[serde(flatten)]
    line: Line,
    /// What this run did to each table, what was done again after a crash included.
    tables: Vec<TableLine>,
}

/// A running put worker.
pub(super) struct Desk<'a, 'l> {
    session: &'a Session<'l>,
    consumer: &'a Consumer,
    tables: &'a ManyTables,
    leases: Option<&'a Leases>,
    position: &'a Position,
    /// What goes into the journal with the first commit.
    first: Vec<(String, Vec<u8>)>,
    recent: std::collections::BTreeMap<String, Recent>,
    speed: Speed,
    began: Instant,
    counters: Counters,
    /// Who held which shard when it was written down last, and when.
    held: (Vec<Holder>, Option<Instant>),
}

impl<'a, 'l> Desk<'a, 'l> {
    pub fn new(
        session: &'a Session<'l>,
        consumer: &'a Consumer,
        tables: &'a ManyTables,
        leases: Option<&'a Leases>,
        position: &'a Position,
    ) -> Self {
        Self {
            session,
            consumer,
            tables,
            leases,
            position,
            first: position.taken_over(),
            recent: std::collections::BTreeMap::new(),
            speed: Speed::default(),
            began: Instant::now(),
            counters: position.counters,
            held: (Vec::new(), None),
        }
    }

    /// Exact counters as of the last commit.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Stores what passed the marks, with a sample, lets the leases' checkpoints follow, and says how it stands.
    pub fn commit(&mut self) -> Result<(), JobError> {
        let settled = self.consumer.settled();
        let before = self.position.counters + self.tables.effort();
        self.counters = before + self.consumer.counted();
        let live = before + self.consumer.live();
        let binding = self.binding();
        let limit = binding.short();
        let mut checkpoints = vec![self.position.row(self.counters)];
        checkpoints.append(&mut self.first.clone());
        if self.leases.is_none() {
            checkpoints.extend(consuming::rows(&settled));
        }
        let holders = self.holders();
        let provisioned: u64 = self.tables.all().iter().map(|one| one.provisioned.load(Ordering::Relaxed)).sum();
        let sample = Sample {
            at_ms: now_ms(),
            counters: live,
            provisioned_wcu: (provisioned > 0).then_some(provisioned as f64),
            limit: limit.clone(),
            binding: Some(binding),
            shards: consuming::samples(self.consumer),
            holders,
            replica: None,
        };
        let letters: Vec<_> = settled.iter().flat_map(|shard| shard.letters.iter().cloned()).collect();
        self.session.journal().commit(
            &self.session.job.id,
            &Commit {
                counters: self.counters,
                total: None,
                limit: &limit,
                checkpoints: &checkpoints,
                letters: &letters,
                sample: Some(&sample),
            },
        )?;
        self.first.clear();
        self.consumer.committed(&settled);
        self.tell();
        self.say(live, limit);
        Ok(())
    }

    /// Who holds which shard, if that changed or was not written down for a while.
    fn holders(&mut self) -> Vec<Holder> {
        let now = self.leases.map(sharing::holders).unwrap_or_default();
        let is_old = self.held.1.is_none_or(|at| at.elapsed() > HOLDERS_EVERY);
        if now == self.held.0 && !is_old {
            return Vec::new();
        }
        self.held = (now.clone(), Some(Instant::now()));
        now
    }

    /// Writes down what happened to the shards and their leases.
    pub fn tell(&self) {
        for words in self.consumer.take_notes() {
            self.session.note("warn", &words);
        }
        for words in self.leases.map(Leases::take_words).unwrap_or_default() {
            self.session.note("info", &words);
        }
    }

    /// What binds now: of several tables, the one that holds the others up, if one does.
    fn binding(&mut self) -> Binding {
        let now = self.began.elapsed();
        let behind = Some(consuming::behind(self.consumer));
        let stream = match &self.session.job.spec {
            crate::jobs::Spec::Work(spec) => spec.stream.clone(),
            _ => String::new(),
        };
        let mut worst = None;
        for one in self.tables.all() {
            let binding = self.binding_of(&one, now, behind, &stream);
            let binds = binding.limit != Limit::Source;
            match &worst {
                Some(Binding { limit: Limit::Source, .. }) if binds => worst = Some(binding),
                Some(worst_yet) if binds && binding.refused > worst_yet.refused => worst = Some(binding),
                None => worst = Some(binding),
                Some(_) => {}
            }
        }
        worst.unwrap_or_default()
    }

    fn binding_of(&mut self, one: &One, now: Duration, behind: Option<(usize, u64)>, stream: &str) -> Binding {
        let (held, stage) = stage_of(&one.writer);
        let stages = Stages { held, cpus: 1, behind, into_table: Some(stage), ..Stages::default() };
        let names = Names {
            table: one.name.clone(),
            stream: stream.to_owned(),
            source: format!("stream {stream}"),
            follows: true,
        };
        let mut binding = self.recent.entry(one.name.clone()).or_default().next(now, stages, &names);
        // Its queue is long before the shards have to wait: the table binds its own requests already.
        if binding.limit == Limit::Source {
            binding.limit = one.writer.limit();
            if binding.limit != Limit::Source {
                binding.of.clone_from(&one.name);
            }
        }
        binding
    }

    fn say(&mut self, live: Counters, limit: String) {
        let per_second = self.speed.next(Instant::now(), live.settled());
        let line = Line::running(&self.session.job, self.began.elapsed().as_secs_f64(), live);
        self.session.say(Line { per_second, limit: Some(limit), ..line });
    }

    /// The job's last line.
    pub fn last_line(&self, state: State) -> String {
        let table = |one: &One| {
            let (done, effort) = (one.writer.outcomes(), one.writer.effort());
            TableLine {
                table: one.name.clone(),
                written: done.written,
                deleted: done.deleted,
                skipped: done.skipped,
                dead: done.dead,
                retried: effort.retried,
                throttled: effort.throttled,
                wcu: effort.wcu,
            }
        };
        let tables = self.tables.all().iter().map(|one| table(one)).collect();
        ended_line(self.session, state).map_or_else(|| "{}".to_owned(), |line| to_json(&WorkLine { line, tables }))
    }
}
