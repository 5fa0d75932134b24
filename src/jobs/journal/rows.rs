//! What a job leaves behind while it runs: samples, dead letters, notes.

use rusqlite::{Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::jobs::from_json;
use super::{Journal, JournalError, now_ms};
use crate::flow::{Counters, Letter};
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
}

/// One shard in one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardSample {
    /// Shard ID.
    pub shard: String,
    /// How far behind its tip, ms (`MillisBehindLatest`).
    pub lag_ms: u64,
    /// Records read from it, in total.
    pub records: u64,
}

/// A dead letter as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, for `sluice dead show`.
    pub number: i64,
    /// The job that met it.
    pub job: JobId,
    /// When, ms since epoch.
    pub at_ms: i64,
    /// Where it came from, why it died, and its bytes.
    pub letter: Letter,
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

/// Writes letters, each once: a place that is read again after a crash gives no second letter.
pub(super) fn insert_letters(tx: &Transaction<'_>, id: &JobId, letters: &[Letter]) -> rusqlite::Result<()> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut put = tx.prepare_cached(
        "insert or ignore into letters (job, place, source, line, byte_offset, shard, sequence, reason, payload, at_ms)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for letter in letters {
        let place = match (&letter.shard, &letter.sequence) {
            (Some(shard), Some(sequence)) => format!("{shard}:{sequence}"),
            _ => format!("{}:{}", letter.source, letter.offset.or(letter.line).unwrap_or_default()),
        };
        put.execute(params![
            id.0,
            place,
            letter.source,
            letter.line,
            letter.offset,
            letter.shard,
            letter.sequence,
            letter.reason,
            letter.payload.as_ref(),
            now_ms()
        ])?;
    }
    Ok(())
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

    /// The newest sample of job `id`.
    pub fn last_sample(&self, id: &JobId) -> Result<Option<Sample>, JournalError> {
        let read = || {
            let mut rows =
                self.conn.prepare_cached("select body from samples where job = ?1 order by at_ms desc limit 1")?;
            rows.query_map([&id.0], |row| from_json(0, &row.get::<_, String>(0)?))?.next().transpose()
        };
        self.ok(read())
    }

    /// Dead letters of job `id` numbered above `after`, `most` at the most.
    pub fn letters(&self, id: &JobId, after: i64, most: usize) -> Result<Vec<DeadLetter>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select number, job, at_ms, source, line, byte_offset, shard, sequence, reason, payload
                 from letters where job = ?1 and number > ?2 order by number limit ?3",
            )?;
            rows.query_map(params![id.0, after, most as i64], read_letter)?.collect()
        };
        self.ok(read())
    }

    /// How many dead letters job `id` has.
    pub fn letter_count(&self, id: &JobId) -> Result<u64, JournalError> {
        self.ok(self.conn.query_row("select count(*) from letters where job = ?1", [&id.0], |row| row.get(0)))
    }

    /// Writes down what happened to a job. `level` is `info`, `warn` or `error`.
    pub fn note(&self, id: &JobId, level: &str, words: &str) -> Result<(), JournalError> {
        let inserted = self.conn.execute(
            "insert into notes (job, at_ms, level, words) values (?1, ?2, ?3, ?4)",
            params![id.0, now_ms(), level, words],
        );
        self.ok(inserted).map(drop)
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

fn read_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        number: row.get(0)?,
        job: JobId(row.get(1)?),
        at_ms: row.get(2)?,
        letter: Letter {
            source: row.get(3)?,
            line: row.get(4)?,
            offset: row.get(5)?,
            shard: row.get(6)?,
            sequence: row.get(7)?,
            reason: row.get(8)?,
            payload: row.get::<_, Vec<u8>>(9)?.into(),
        },
    })
}
