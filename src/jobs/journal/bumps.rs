//! Capacity that is to be given back, and the audit of every change.

use rusqlite::{OptionalExtension as _, Row, params};

use super::jobs::{from_json, to_json};
use super::{Journal, JournalError, now_ms};
use crate::cloud::Context;
use crate::cloud::guard::Change;
use crate::jobs::spec::JobId;

/// Capacity raised by hand, and what was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bump {
    /// Its number.
    pub number: i64,
    /// Where.
    pub context: Context,
    /// The table.
    pub table: String,
    /// The index; `None` is the table itself.
    pub index: Option<String>,
    /// What to give back to, WCU.
    pub before: u64,
    /// What it was set to last, WCU.
    pub after: u64,
    /// When it was first raised, ms since epoch.
    pub at_ms: i64,
    /// The job whose end gives it back.
    pub job: Option<JobId>,
}

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// When, ms since epoch.
    pub at_ms: i64,
    /// The system user who ran `sluice`.
    pub who: String,
    /// The job that sent it.
    pub job: Option<JobId>,
    /// Where.
    pub context: Context,
    /// What was sent.
    pub change: Change,
}

impl Journal {
    /// Remembers that `table` was set from `from` to `to` WCU. While a bump of that table is open, `before` stays what
    /// it was at first, and the bump closes itself when the capacity is back at it.
    pub fn remember_bump(
        &self,
        context: &Context,
        table: &str,
        index: Option<&str>,
        from: u64,
        to: u64,
        job: Option<&JobId>,
    ) -> Result<(), JournalError> {
        let now = now_ms();
        let result = match self.open_bump(context, table, index)? {
            Some(bump) if bump.before == to => {
                self.conn.execute("update bumps set given_back_ms = ?2 where number = ?1", params![bump.number, now])
            }
            Some(bump) => self.conn.execute(
                "update bumps set after_wcu = ?2, job = coalesce(?3, job) where number = ?1",
                params![bump.number, to, job.map(|j| &j.0)],
            ),
            None => self.conn.execute(
                "insert into bumps (context, resource, index_name, before_wcu, after_wcu, at_ms, job)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![to_json(context), table, index, from, to, now, job.map(|j| &j.0)],
            ),
        };
        self.ok(result).map(drop)
    }

    /// The bump of a table that was not given back yet.
    pub fn open_bump(&self, context: &Context, table: &str, index: Option<&str>) -> Result<Option<Bump>, JournalError> {
        let found = self
            .conn
            .query_row(
                "select number, context, resource, index_name, before_wcu, after_wcu, at_ms, job from bumps
                 where given_back_ms is null and context = ?1 and resource = ?2 and index_name is ?3",
                params![to_json(context), table, index],
                read_bump,
            )
            .optional();
        self.ok(found)
    }

    /// All bumps that were not given back yet.
    pub fn open_bumps(&self) -> Result<Vec<Bump>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select number, context, resource, index_name, before_wcu, after_wcu, at_ms, job from bumps
                 where given_back_ms is null order by number",
            )?;
            rows.query_map([], read_bump)?.collect()
        };
        self.ok(read())
    }

    /// Closes a bump: its capacity was given back.
    pub fn close_bump(&self, number: i64) -> Result<(), JournalError> {
        let updated =
            self.conn.execute("update bumps set given_back_ms = ?2 where number = ?1", params![number, now_ms()]);
        self.ok(updated).map(drop)
    }

    /// Writes down a change that is about to be sent.
    pub fn audit(&self, context: &Context, job: Option<&JobId>, change: &Change) -> Result<(), JournalError> {
        let named = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        let who = named.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
        let inserted = self.conn.execute(
            "insert into audit (at_ms, who, job, context, service, operation, target, request)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                now_ms(),
                who,
                job.map(|j| &j.0),
                to_json(context),
                change.service,
                change.operation,
                change.target,
                change.request
            ],
        );
        self.ok(inserted).map(drop)
    }

    /// The newest `most` lines of the audit, newest first.
    pub fn audit_lines(&self, most: usize) -> Result<Vec<AuditLine>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select at_ms, who, job, context, service, operation, target, request
                 from audit order by number desc limit ?1",
            )?;
            rows.query_map([most as i64], |row| {
                Ok(AuditLine {
                    at_ms: row.get(0)?,
                    who: row.get(1)?,
                    job: row.get::<_, Option<String>>(2)?.map(JobId),
                    context: from_json(3, &row.get::<_, String>(3)?)?,
                    change: Change {
                        service: row.get(4)?,
                        operation: row.get(5)?,
                        target: row.get(6)?,
                        request: row.get(7)?,
                    },
                })
            })?
            .collect()
        };
        self.ok(read())
    }
}

fn read_bump(row: &Row<'_>) -> rusqlite::Result<Bump> {
    Ok(Bump {
        number: row.get(0)?,
        context: from_json(1, &row.get::<_, String>(1)?)?,
        table: row.get(2)?,
        index: row.get(3)?,
        before: row.get(4)?,
        after: row.get(5)?,
        at_ms: row.get(6)?,
        job: row.get::<_, Option<String>>(7)?.map(JobId),
    })
}
