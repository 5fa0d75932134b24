//! What a job prints: the lines of `--json`, and where it stands at its end.

use serde::Serialize;
use tokio::sync::watch;

use super::journal::{Job, State};
use super::spec::JobId;
use crate::flow::Counters;

/// One line of a restore, running or last, as `--json` prints it. The contract is CLI.md's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: &'static str,
    /// `running`, or how it ended.
    pub state: State,
    /// What became of its records.
    #[serde(flatten)]
    pub counters: Counters,
    /// Of them, those that need nothing more: how far it is.
    #[serde(skip)]
    pub settled: u64,
    /// Time that workers spent on it, s.
    pub seconds: f64,
    /// Records that the source holds, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Records settled per second, over the last seconds. Only while running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Seconds left at that rate. Only while running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<f64>,
    /// What binds now, in words. Only while running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl Line {
    /// What a worker of `job`, begun `seconds` ago, says of it each second; what it knows beyond that is put in its place.
    pub fn running(job: &Job, seconds: f64, counters: Counters) -> Self {
        Self {
            job: job.id.clone(),
            kind: job.kind().as_str(),
            state: State::Running,
            counters,
            settled: job.spec.settled(&counters),
            seconds: job.active_ms as f64 / 1000.0 + seconds,
            total: None,
            per_second: None,
            eta_seconds: None,
            limit: None,
        }
    }

    /// The same at `per_second`, with `done` of `total` behind it: that says how long it takes yet.
    pub(super) fn at(self, total: Option<u64>, done: u64, per_second: Option<f64>) -> Self {
        let rate = per_second.filter(|rate| *rate > 0.0);
        let eta_seconds = total.zip(rate).map(|(total, rate)| total.saturating_sub(done) as f64 / rate);
        Self { total, per_second, eta_seconds, ..self }
    }
}

/// The last line of a verify.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyLine {
    /// Always `verify`.
    pub kind: &'static str,
    /// Keys compared.
    pub checked: u64,
    /// Keys whose items are equal.
    pub equal: u64,
    /// Keys of the source that the table lacks.
    pub missing: u64,
    /// Keys of the table that the source lacks.
    pub extra: u64,
    /// Keys whose items differ.
    pub different: u64,
    /// Keys that differed at first, and when they were read again agreed or had been written in between.
    pub changed: u64,
    /// Of `changed`: keys whose newer item is not the source's either.
    pub changed_differs: u64,
    /// Keys that were read again because they differed at first.
    pub again: u64,
    /// Of `different`: keys whose first differing attribute is told.
    pub explained: u64,
    /// Lines of the source that repeat a key of another line that counts as much: the table may hold either.
    pub duplicates: u64,
    /// Lines of the source that hold no item.
    pub dead: u64,
    /// Items of the source that an option leaves out.
    pub skipped: u64,
    /// Order-free digest of the source, hex.
    pub digest_source: String,
    /// Order-free digest of the table, hex.
    pub digest_table: String,
    /// What a sample tells of the whole, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
    /// Only of a replica.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaLine>,
}

/// What the last line of a verify says of a replica beside that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplicaLine {
    /// Items that expired in the source and stay in the replica, as its job was told.
    pub expired: u64,
    /// Keys that differed and were repaired: `missing`, `extra` and `different` count those that still do.
    pub repaired: u64,
    /// Of `repaired`: items that were put.
    pub put: u64,
    /// Of `repaired`: items that were deleted.
    pub deleted: u64,
    /// Keys whose repair was given up, since somebody else wrote them meanwhile: `changed` counts them too.
    pub superseded: u64,
}

impl VerifyLine {
    /// True when source and table hold the same items.
    pub fn is_equal(&self) -> bool {
        self.missing + self.extra + self.different == 0
    }
}

/// Something a running job says.
#[derive(Clone, Debug)]
pub enum Said {
    /// A restore's line, each second.
    Progress(Box<Line>),
    /// A verify's progress: keys read so far and in all, when known.
    Reading {
        /// Keys read so far, of source and table together.
        read: u64,
        /// Keys to read, when known.
        total: Option<u64>,
    },
}

/// Where a job puts what it says; the newest wins.
pub type Listener = watch::Sender<Option<Said>>;

/// How a job ended, for whoever ran it in the foreground.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The job.
    pub job: JobId,
    /// How it ended.
    pub state: State,
    /// Why, when it failed; what to know, otherwise. May be empty.
    pub message: String,
    /// Its last line, as `--json` prints it.
    pub report: String,
    /// True when dead letters remain: exit code 3.
    pub dead: bool,
    /// True when a verify found differences: exit code 4.
    pub differs: bool,
}

impl Ended {
    /// The exit code of DESIGN.md.
    pub fn exit_code(&self) -> u8 {
        match self.state {
            State::Done if self.differs => 4,
            State::Done if self.dead => 3,
            State::Done => 0,
            State::Interrupted => 130,
            _ => 1,
        }
    }
}
