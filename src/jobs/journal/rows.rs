//! What a job leaves behind while it runs: samples, dead letters, notes.

use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::jobs::from_json;
use super::{Journal, JournalError, now_ms};
use crate::flow::Counters;
use crate::jobs::binding::Binding;
use crate::jobs::spec::JobId;

/// One second of a job. Counters are totals, so that a lost second loses no count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When, ms since epoch.
    pub at_ms: i64,
    /// Totals as seen live: ahead of the last checkpoint.
    pub counters: Counters,
    /// Write capacity of the table, WCU; `None` on demand or unknown.
    pub provisioned_wcu: Option<f64>,
    /// What binds now, in words.
    #[serde(default)]
    pub limit: String,
    /// What binds now, with what was measured of it; `None` in samples of before it was.
    #[serde(default, deserialize_with = "crate::jobs::binding::lenient", skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Each shard that the job reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardSample>,
    /// Who reads which shard, where several workers share a stream; only now and then, and when it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// Of a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaSample>,
}

/// How a replica stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaSample {
    /// Until the oldest change that is not in the replica yet leaves the stream, ms; 24 h where there is none.
    pub trim_ms: u64,
    /// What was read of this run, by kind.
    pub changes: ChangeCounts,
    /// Items that the bootstrap has read, and how many there are by the service's last count; `None` when it is through.
    pub bootstrap: Option<(u64, u64)>,
    /// Changes may be missing in the replica, in words: `--rebootstrap` repairs it.
    pub gap: Option<String>,
}

/// Changes of a run by kind; what is read again after a crash counts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeCounts {
    /// Items that were not there before.
    pub inserted: u64,
    /// Items that were there before.
    pub modified: u64,
    /// Items that were deleted.
    pub removed: u64,
    /// Of `removed`: those that had expired.
    pub expired: u64,
    /// Items that the bootstrap's scan read.
    pub scanned: u64,
    /// Of `scanned`: left out because a newer change of theirs was read from the stream.
    pub superseded: u64,
    /// Items that the filter leaves out; one that was in the replica before is removed from it.
    pub filtered: u64,
    /// Rows that the source does not have, removed from the replica by a new bootstrap.
    pub swept: u64,
}

/// A kind of change as people call it, and how many there were of it. What is indented is a part of the one before.
pub type ChangeKind = (&'static str, fn(&ChangeCounts) -> u64);

impl ChangeCounts {
    const ALWAYS: [ChangeKind; 3] =
        [("inserted", |c| c.inserted), ("modified", |c| c.modified), ("removed", |c| c.removed)];
    const SOMETIMES: [ChangeKind; 5] = [
        ("  expired", |c| c.expired),
        ("copied", |c| c.scanned),
        ("  superseded", |c| c.superseded),
        ("filtered out", |c| c.filtered),
        ("swept", |c| c.swept),
    ];

    /// The kinds to tell of, in their order: those that every replica has, and of the others those that there were.
    pub fn kinds(&self) -> impl Iterator<Item = ChangeKind> + '_ {
        let others = Self::SOMETIMES.into_iter().filter(|(_, of)| of(self) > 0);
        Self::ALWAYS.into_iter().chain(others)
    }
}

/// Who reads a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The shard.
    pub shard: String,
    /// The worker that reads it; `None` when nobody does.
    pub worker: Option<String>,
    /// The worker that still finishes what it began of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
    /// It is the job's own worker.
    #[serde(default)]
    pub mine: bool,
}

/// One shard in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardSample {
    /// Shard ID.
    pub shard: String,
    /// How far behind its tip, ms (`MillisBehindLatest`).
    pub lag_ms: u64,
    /// About how many of its records are still to be read: lag times arrival rate; `None` while that is not known.
    #[serde(default)]
    pub behind_records: Option<u64>,
    /// Records read from it, in total.
    pub records: u64,
}

/// Something that happened to a job, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its number: later notes have larger ones.
    pub number: i64,
    /// When, ms since epoch.
    pub at_ms: i64,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// What happened.
    pub words: String,
}

impl Journal {
    /// Samples of job `id` after `after_ms`, oldest first.
    pub fn samples(&self, id: &JobId, after_ms: i64) -> Result<Vec<Sample>, JournalError> {
        let read = || {
            let mut rows =
                self.conn.prepare_cached("select body from samples where job = ?1 and at_ms > ?2 order by at_ms")?;
            rows.query_map(params![id.0, after_ms], |row| from_json(0, &row.get::<_, String>(0)?))?.collect()
        };
        self.ok(read())
    }

    /// When the first and the last sample of job `id` were taken, ms since epoch.
    pub fn sample_span(&self, id: &JobId) -> Result<Option<(i64, i64)>, JournalError> {
        let read = || {
            self.conn
                .prepare_cached("select min(at_ms), max(at_ms) from samples where job = ?1")?
                .query_row([&id.0], |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?)))
        };
        self.ok(read())
    }

    /// Samples of job `id` from `from_ms` up to `to_ms`, one in each `step_ms`, oldest first: what a chart of a long run
    /// needs, without reading what it has no dots for.
    pub fn samples_every(
        &self,
        id: &JobId,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<Sample>, JournalError> {
        let read = || {
            let mut next = self.conn.prepare_cached(
                "select at_ms, body from samples where job = ?1 and at_ms >= ?2 and at_ms <= ?3 order by at_ms limit 1",
            )?;
            let (mut samples, mut at_ms) = (Vec::new(), from_ms);
            loop {
                let mut rows = next.query(params![id.0, at_ms, to_ms])?;
                let Some(row) = rows.next()? else { return Ok(samples) };
                let found: i64 = row.get(0)?;
                samples.push(from_json(1, &row.get::<_, String>(1)?)?);
                at_ms = found + step_ms.max(1);
            }
        };
        self.ok(read())
    }

    /// Where the samples of job `id` from `from_ms` to `to_ms` break off, oldest first, of all the newest `most`: when the last
    /// before and the first after were taken, ms since epoch. For more than `gap_ms` there was none, or the one after had
    /// read less than the one before: a worker began again from its checkpoint. Looks at each sample: a week of them takes
    /// a second or two.
    pub fn breaks(
        &self,
        id: &JobId,
        from_ms: i64,
        to_ms: i64,
        gap_ms: i64,
        most: usize,
    ) -> Result<Vec<(i64, i64)>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select before_ms, at_ms from (
                     select at_ms, read, lag(at_ms) over (order by at_ms) as before_ms,
                         lag(read) over (order by at_ms) as before
                     from (select at_ms, json_extract(body, '$.counters.read') as read from samples
                         where job = ?1 and at_ms >= ?2 and at_ms <= ?3))
                 where at_ms - before_ms > ?4 or read < before order by at_ms desc limit ?5",
            )?;
            rows.query_map(params![id.0, from_ms, to_ms, gap_ms, most as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut breaks = self.ok(read())?;
        breaks.reverse();
        Ok(breaks)
    }

    /// Hands each sample of job `id` to `met`, oldest first, one at a time: a week of them need not fit into memory.
    pub fn each_sample(&self, id: &JobId, mut met: impl FnMut(Sample)) -> Result<(), JournalError> {
        let mut read = || {
            let mut rows = self.conn.prepare_cached("select body from samples where job = ?1 order by at_ms")?;
            let mut rows = rows.query([&id.0])?;
            while let Some(row) = rows.next()? {
                met(from_json(0, row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
            }
            Ok(())
        };
        self.ok(read())
    }

    /// The newest sample of job `id`.
    pub fn last_sample(&self, id: &JobId) -> Result<Option<Sample>, JournalError> {
        let read = || {
            let mut rows =
                self.conn.prepare_cached("select body from samples where job = ?1 order by at_ms desc limit 1")?;
            rows.query_map([&id.0], |row| from_json(0, &row.get::<_, String>(0)?))?.next().transpose()
        };
        self.ok(read())
    }

    /// Writes down what happened to a job. `level` is `info`, `warn` or `error`.
    pub fn note(&self, id: &JobId, level: &str, words: &str) -> Result<(), JournalError> {
        let inserted = self.conn.execute(
            "insert into notes (job, at_ms, level, words) values (?1, ?2, ?3, ?4)",
            params![id.0, now_ms(), level, words],
        );
        self.ok(inserted).map(drop)
    }

    /// How many notes job `id` has.
    pub fn note_count(&self, id: &JobId) -> Result<u64, JournalError> {
        self.ok(self.conn.query_row("select count(*) from notes where job = ?1", [&id.0], |row| row.get(0)))
    }

    /// The newest `most` notes of job `id`, oldest first.
    pub fn last_notes(&self, id: &JobId, most: usize) -> Result<Vec<Note>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select number, at_ms, level, words from notes where job = ?1 order by number desc limit ?2",
            )?;
            rows.query_map(params![id.0, most as i64], |row| {
                Ok(Note { number: row.get(0)?, at_ms: row.get(1)?, level: row.get(2)?, words: row.get(3)? })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut notes = self.ok(read())?;
        notes.reverse();
        Ok(notes)
    }

    /// Notes of job `id` numbered above `after`, oldest first.
    pub fn notes(&self, id: &JobId, after: i64) -> Result<Vec<Note>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select number, at_ms, level, words from notes where job = ?1 and number > ?2 order by number",
            )?;
            rows.query_map(params![id.0, after], |row| {
                Ok(Note { number: row.get(0)?, at_ms: row.get(1)?, level: row.get(2)?, words: row.get(3)? })
            })?
            .collect()
        };
        self.ok(read())
    }
}
