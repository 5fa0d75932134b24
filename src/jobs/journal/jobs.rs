//! Jobs in the journal: their state, what they were told to do, and the commit that moves everything at once.

use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::letters::insert_letters;
use super::rows::Sample;
use super::{Journal, JournalError, now_ms};
use crate::cloud::Context;
use crate::flow::{Counters, Letter};
use crate::jobs::spec::{JobId, Kind, Spec};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Written down; its worker has not begun.
    Starting,
    /// A worker runs it.
    Running,
    /// A worker holds it, writing nothing.
    Paused,
    /// Ended, everything accounted for.
    Done,
    /// Ended by an error; can be resumed.
    Failed,
    /// Ended by the operator.
    Cancelled,
    /// Its worker is gone (killed, Ctrl-C, machine down); can be resumed.
    Interrupted,
}

impl State {
    /// As scripts and screens spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// True when `--resume` may take it up.
    pub fn can_resume(self) -> bool {
        matches!(self, Self::Starting | Self::Failed | Self::Interrupted)
    }

    /// True when a worker has it in hand.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Paused)
    }

    fn parse(text: &str) -> Self {
        match text {
            "starting" => Self::Starting,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "done" => Self::Done,
            "cancelled" => Self::Cancelled,
            "interrupted" => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

/// What an operator asks of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// Go on.
    Run,
    /// Write nothing until told to go on.
    Pause,
    /// Stop for good.
    Cancel,
}

impl Control {
    fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Cancel => "cancel",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "pause" => Self::Pause,
            "cancel" => Self::Cancel,
            _ => Self::Run,
        }
    }
}

/// A job as the journal holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it does.
    pub spec: Spec,
    /// Where it acts.
    pub context: Context,
    /// Where it stands; a job whose worker is gone is [`State::Interrupted`].
    pub state: State,
    /// What the operator last asked.
    pub control: Control,
    /// Cap on items per second set by `sluice rate` or the console; `None` leaves the spec's.
    pub rate: Option<f64>,
    /// Process of the last worker.
    pub pid: Option<u32>,
    /// How many workers have begun it: 2 after one resume.
    pub runs: u32,
    /// The job it belongs to: a verify of a restore.
    pub parent: Option<JobId>,
    /// When it was written down, ms since epoch.
    pub created_ms: i64,
    /// When its last worker began, ms since epoch.
    pub started_ms: Option<i64>,
    /// When it ended, ms since epoch.
    pub ended_ms: Option<i64>,
    /// Time that earlier workers spent on it, ms.
    pub active_ms: i64,
    /// Counters at the last checkpoint, exact; a dead letter that was settled since counts as written or skipped.
    pub counters: Counters,
    /// Records that the source holds, when known (exactly, or by size and average).
    pub total: Option<u64>,
    /// What binds now, in words.
    pub limit: String,
    /// Why it ended, when it failed.
    pub message: String,
    /// Its last line as `--json` prints it, when it ended.
    pub report: Option<String>,
}

impl Job {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.spec.kind()
    }
}

/// What one checkpoint moves, all at once or not at all.
#[derive(Debug, Default)]
pub struct Commit<'a> {
    /// Exact counters up to the checkpoints below.
    pub counters: Counters,
    /// Records that the source holds, when known.
    pub total: Option<u64>,
    /// What binds now, in words.
    pub limit: &'a str,
    /// Names and values that replace the stored ones.
    pub checkpoints: &'a [(String, Vec<u8>)],
    /// Dead letters below the checkpoints.
    pub letters: &'a [Letter],
    /// This second's sample.
    pub sample: Option<&'a Sample>,
}

const COLUMNS: &str = "id, spec, context, state, control, rate, pid, runs, parent, created_ms, started_ms, ended_ms, \
                       active_ms, counters, total, limit_words, message, report, \
                       (select count(*) from letters where job = jobs.id and fate = 'replayed'), \
                       (select count(*) from letters where job = jobs.id and fate = 'dropped')";

impl Journal {
    /// Writes a new job down, in state [`State::Starting`].
    pub fn create_job(&self, spec: &Spec, context: &Context, parent: Option<&JobId>) -> Result<JobId, JournalError> {
        let id = JobId::random(spec.kind());
        let inserted = self.conn.execute(
            "insert into jobs (id, kind, spec, context, state, parent, created_ms, counters)
             values (?1, ?2, ?3, ?4, 'starting', ?5, ?6, ?7)",
            params![
                id.0,
                spec.kind().as_str(),
                to_json(spec),
                to_json(context),
                parent.map(|p| &p.0),
                now_ms(),
                to_json(&Counters::default())
            ],
        );
        self.ok(inserted)?;
        Ok(id)
    }

    /// One job.
    pub fn job(&self, id: &JobId) -> Result<Job, JournalError> {
        let found =
            self.conn.query_row(&format!("select {COLUMNS} from jobs where id = ?1"), [&id.0], read_job).optional();
        match self.ok(found)? {
            Some(job) => Ok(self.with_true_state(job)),
            None => Err(JournalError::NoSuchJob(id.clone())),
        }
    }

    /// All jobs, newest first.
    pub fn jobs(&self) -> Result<Vec<Job>, JournalError> {
        let read = || {
            let mut rows =
                self.conn.prepare_cached(&format!("select {COLUMNS} from jobs order by created_ms desc, id"))?;
            rows.query_map([], read_job)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        Ok(self.ok(read())?.into_iter().map(|job| self.with_true_state(job)).collect())
    }

    // A worker that was killed can't say so: the lock it no longer holds does.
    fn with_true_state(&self, mut job: Job) -> Job {
        if matches!(job.state, State::Running | State::Paused) && !self.is_alive(&job.id) {
            job.state = State::Interrupted;
        }
        job
    }

    /// A worker takes job `id` up. The caller holds the job's lock.
    pub fn begin(&self, id: &JobId, pid: u32) -> Result<(), JournalError> {
        // A worker that was killed could not add its time: its last sample tells it.
        let updated = self.conn.execute(
            "update jobs set state = 'running', control = 'run', pid = ?2, runs = runs + 1, started_ms = ?3, ended_ms = null,
             message = '', report = null,
             active_ms = active_ms + case when ended_ms is null and started_ms is not null then
                 max(0, coalesce((select max(at_ms) from samples where job = ?1), 0) - started_ms) else 0 end
             where id = ?1",
            params![id.0, pid, now_ms()],
        );
        self.ok(updated).map(drop)
    }

    /// Moves checkpoints, exact counters, dead letters and a sample together.
    pub fn commit(&mut self, id: &JobId, commit: &Commit<'_>) -> Result<(), JournalError> {
        let mut write = || {
            let tx = self.conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            tx.prepare_cached(
                "update jobs set counters = ?2, total = coalesce(?3, total), limit_words = ?4 where id = ?1",
            )?
            .execute(params![id.0, to_json(&commit.counters), commit.total, commit.limit])?;
            {
                let mut put = tx.prepare_cached(
                    "insert into checkpoints (job, name, value) values (?1, ?2, ?3)
                     on conflict (job, name) do update set value = excluded.value",
                )?;
                for (name, value) in commit.checkpoints {
                    put.execute(params![id.0, name, value])?;
                }
            }
            insert_letters(&tx, id, commit.letters)?;
            if let Some(sample) = commit.sample {
                tx.prepare_cached("insert or replace into samples (job, at_ms, body) values (?1, ?2, ?3)")?
                    .execute(params![id.0, sample.at_ms, to_json(sample)])?;
            }
            tx.commit()
        };
        let written = write();
        self.ok(written)
    }

    /// A stored checkpoint.
    pub fn checkpoint(&self, id: &JobId, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let found = self
            .conn
            .query_row("select value from checkpoints where job = ?1 and name = ?2", [&id.0, name], |row| row.get(0))
            .optional();
        self.ok(found)
    }

    /// Leaves a word for a running job, as a checkpoint that only it reads.
    ///
    /// # Errors
    /// When the journal can't be written.
    pub fn leave_word(&self, id: &JobId, name: &str, value: &[u8]) -> Result<(), JournalError> {
        let put = self.conn.execute(
            "insert into checkpoints (job, name, value) values (?1, ?2, ?3)
             on conflict (job, name) do update set value = excluded.value",
            params![id.0, name, value],
        );
        self.ok(put).map(drop)
    }

    /// All checkpoints of a job whose name starts with `prefix`.
    pub fn checkpoints(&self, id: &JobId, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select name, value from checkpoints where job = ?1 and substr(name, 1, length(?2)) = ?2 order by name",
            )?;
            rows.query_map([&id.0, prefix], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        self.ok(read())
    }

    /// Says where a job stands now.
    pub fn set_state(&self, id: &JobId, state: State) -> Result<(), JournalError> {
        let updated = self.conn.execute("update jobs set state = ?2 where id = ?1", params![id.0, state.as_str()]);
        self.ok(updated).map(drop)
    }

    /// Ends a job, with its reason and its last line.
    pub fn end(&self, id: &JobId, state: State, message: &str, report: &str) -> Result<(), JournalError> {
        let updated = self.conn.execute(
            "update jobs set state = ?2, message = ?3, report = ?4, ended_ms = ?5,
             active_ms = active_ms + max(0, ?5 - coalesce(started_ms, ?5)), limit_words = '' where id = ?1",
            params![id.0, state.as_str(), message, report, now_ms()],
        );
        self.ok(updated).map(drop)
    }

    /// What the operator asks: the worker reads it each quarter second.
    ///
    /// # Errors
    /// [`JournalError::NoSuchJob`].
    pub fn set_control(&self, id: &JobId, control: Control) -> Result<(), JournalError> {
        self.changed_one(
            id,
            self.conn.execute("update jobs set control = ?2 where id = ?1", params![id.0, control.as_str()]),
        )
    }

    /// Caps a job at `rate` items per second; `None` lifts the cap.
    ///
    /// # Errors
    /// [`JournalError::NoSuchJob`].
    pub fn set_rate(&self, id: &JobId, rate: Option<f64>) -> Result<(), JournalError> {
        self.changed_one(id, self.conn.execute("update jobs set rate = ?2 where id = ?1", params![id.0, rate]))
    }

    /// What the operator asks of job `id`, and the rate cap: all that a worker polls.
    pub fn controls(&self, id: &JobId) -> Result<(Control, Option<f64>), JournalError> {
        let read = || {
            self.conn
                .prepare_cached("select control, rate from jobs where id = ?1")?
                .query_row([&id.0], |row| Ok((Control::parse(&row.get::<_, String>(0)?), row.get(1)?)))
        };
        self.ok(read())
    }

    fn changed_one(&self, id: &JobId, result: rusqlite::Result<usize>) -> Result<(), JournalError> {
        if self.ok(result)? == 0 { Err(JournalError::NoSuchJob(id.clone())) } else { Ok(()) }
    }
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types hold no map with keys other than strings")
}

pub(super) fn from_json<T: for<'de> Deserialize<'de>>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e)))
}

fn read_job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let text = |column: usize| row.get::<_, String>(column);
    // The worker's own counters know nothing of letters that an operator settles, also while it runs.
    let (replayed, dropped) = (row.get::<_, u64>(18)?, row.get::<_, u64>(19)?);
    let mut counters: Counters = from_json(13, &text(13)?)?;
    counters.dead = counters.dead.saturating_sub(replayed + dropped);
    counters.written += replayed;
    counters.skipped += dropped;
    Ok(Job {
        id: JobId(text(0)?),
        spec: from_json(1, &text(1)?)?,
        context: from_json(2, &text(2)?)?,
        state: State::parse(&text(3)?),
        control: Control::parse(&text(4)?),
        rate: row.get(5)?,
        pid: row.get(6)?,
        runs: row.get(7)?,
        parent: row.get::<_, Option<String>>(8)?.map(JobId),
        created_ms: row.get(9)?,
        started_ms: row.get(10)?,
        ended_ms: row.get(11)?,
        active_ms: row.get(12)?,
        counters,
        total: row.get(14)?,
        limit: text(15)?,
        message: text(16)?,
        report: row.get(17)?,
    })
}
