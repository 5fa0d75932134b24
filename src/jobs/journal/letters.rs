//! Dead letters: each once, with what an operator made of it.

use bytes::Bytes;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;

use super::{Journal, JournalError, now_ms};
use crate::flow::Letter;
use crate::jobs::spec::JobId;

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
    /// The item as an operator edited it, `DynamoDB` JSON or what was meant to be; `None` when nobody did.
    pub draft: Option<Bytes>,
    /// Why the last replay of it put nothing; `None` when nobody tried.
    pub tried: Option<String>,
    /// What became of it; `None` while it is open.
    pub fate: Option<Fate>,
}

impl DeadLetter {
    /// `open`, `edited`, `held` when it could not be put the last time, `replayed` or `dropped`.
    pub fn state(&self) -> &'static str {
        match (&self.fate, &self.tried, &self.draft) {
            (Some(fate), ..) => fate.ending.as_str(),
            (None, Some(_), _) => "held",
            (None, None, Some(_)) => "edited",
            (None, None, None) => "open",
        }
    }

    /// What keeps it from its table: why the last replay put nothing, else why it died.
    pub fn why(&self) -> &str {
        let tried = self.tried.as_ref().filter(|_| self.fate.is_none());
        tried.unwrap_or(&self.letter.reason)
    }
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// How it was settled.
    pub ending: Ending,
    /// When, ms since epoch.
    pub at_ms: i64,
}

/// How a dead letter was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Its item is in the table: it counts as written.
    Replayed,
    /// Given up on purpose, or left out by the job's own options: it counts as skipped.
    Dropped,
}

impl Ending {
    /// As the journal and scripts spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
        }
    }
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

const COLUMNS: &str = "number, job, at_ms, source, line, byte_offset, shard, sequence, reason, payload, draft, tried, \
                       fate, fate_ms";

impl Journal {
    /// Open dead letters of job `id` numbered above `after`, `most` at the most.
    pub fn letters(&self, id: &JobId, after: i64, most: usize) -> Result<Vec<DeadLetter>, JournalError> {
        self.letters_where("and fate is null", id, after, most)
    }

    /// Dead letters of job `id` numbered above `after`, the settled ones too, `most` at the most.
    pub fn all_letters(&self, id: &JobId, after: i64, most: usize) -> Result<Vec<DeadLetter>, JournalError> {
        self.letters_where("", id, after, most)
    }

    fn letters_where(&self, which: &str, id: &JobId, after: i64, most: usize) -> Result<Vec<DeadLetter>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(&format!(
                "select {COLUMNS} from letters where job = ?1 and number > ?2 {which} order by number limit ?3"
            ))?;
            rows.query_map(params![id.0, after, most as i64], read_letter)?.collect()
        };
        self.ok(read())
    }

    /// Why records of job `id` died: the reason, how many letters have it, and how many of them are open; the most
    /// frequent `most` first. And how many reasons there are.
    #[allow(clippy::type_complexity, reason = "three columns of a table and their number, for one caller")]
    pub fn letter_reasons(&self, id: &JobId, most: usize) -> Result<(Vec<(String, u64, u64)>, u64), JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select reason, count(*), sum(fate is null) from letters where job = ?1
                 group by reason order by count(*) desc, min(number) limit ?2",
            )?;
            let reasons = rows
                .query_map(params![id.0, most as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let sql = "select count(distinct reason) from letters where job = ?1";
            Ok((reasons, self.conn.query_row(sql, [&id.0], |row| row.get(0))?))
        };
        self.ok(read())
    }

    /// The first `most` dead letters of job `id` with this reason, the settled ones too.
    pub fn letters_of_reason(&self, id: &JobId, reason: &str, most: usize) -> Result<Vec<DeadLetter>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(&format!(
                "select {COLUMNS} from letters where job = ?1 and reason = ?2 order by number limit ?3"
            ))?;
            rows.query_map(params![id.0, reason, most as i64], read_letter)?.collect()
        };
        self.ok(read())
    }

    /// Dead letter `number` of job `id`, open or settled.
    pub fn letter(&self, id: &JobId, number: i64) -> Result<Option<DeadLetter>, JournalError> {
        let sql = format!("select {COLUMNS} from letters where job = ?1 and number = ?2");
        self.ok(self.conn.query_row(&sql, params![id.0, number], read_letter).optional())
    }

    /// How many open dead letters job `id` has.
    pub fn letter_count(&self, id: &JobId) -> Result<u64, JournalError> {
        let sql = "select count(*) from letters where job = ?1 and fate is null";
        self.ok(self.conn.query_row(sql, [&id.0], |row| row.get(0)))
    }

    /// A number that changes with every change to the dead letters of job `id`: `letter_count` alone misses a draft.
    pub fn letters_version(&self, id: &JobId) -> Result<i64, JournalError> {
        let sql = "select coalesce(sum(revision + 1), 0) from letters where job = ?1";
        self.ok(self.conn.query_row(sql, [&id.0], |row| row.get(0)))
    }

    /// Keeps what an operator made of an open letter; `None` goes back to what came.
    pub fn set_draft(&self, id: &JobId, number: i64, draft: Option<&[u8]>) -> Result<(), JournalError> {
        self.change_letter("draft = ?3, tried = null", params![id.0, number, draft]).map(drop)
    }

    /// Remembers why a replay of an open letter put nothing.
    pub fn set_tried(&self, id: &JobId, number: i64, reason: &str) -> Result<(), JournalError> {
        self.change_letter("tried = ?3", params![id.0, number, reason]).map(drop)
    }

    /// Settles an open letter: from now on the job counts it as written or skipped. False when it was settled before.
    pub fn settle_letter(&self, id: &JobId, number: i64, ending: Ending) -> Result<bool, JournalError> {
        self.change_letter("fate = ?3, fate_ms = ?4", params![id.0, number, ending.as_str(), now_ms()])
    }

    fn change_letter(&self, set: &str, params: impl rusqlite::Params) -> Result<bool, JournalError> {
        let sql = format!(
            "update letters set {set}, revision = revision + 1 where job = ?1 and number = ?2 and fate is null"
        );
        Ok(self.ok(self.conn.execute(&sql, params))? > 0)
    }
}

fn read_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let ending = match row.get::<_, Option<String>>(12)?.as_deref() {
        None => None,
        Some("replayed") => Some(Ending::Replayed),
        Some(_) => Some(Ending::Dropped),
    };
    let at_ms = row.get::<_, Option<i64>>(13)?.unwrap_or_default();
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
        draft: row.get::<_, Option<Vec<u8>>>(10)?.map(Into::into),
        tried: row.get(11)?,
        fate: ending.map(|ending| Fate { ending, at_ms }),
    })
}
