//! Capacity that is to be given back.

use rusqlite::{Row, params};

use super::jobs::{from_json, to_json};
use super::{Journal, JournalError, now_ms};
use crate::capacity::Resource;
use crate::cloud::Context;
use crate::jobs::spec::JobId;

/// Capacity that was raised, and what was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bump {
    /// Its number.
    pub number: i64,
    /// Where.
    pub context: Context,
    /// What was raised.
    pub resource: Resource,
    /// What to give back to, in the resource's unit.
    pub before: u64,
    /// What it was set to last.
    pub after: u64,
    /// What it had when it was set last: until AWS has answered, it may still have that.
    pub from: u64,
    /// When it was first raised, ms since epoch.
    pub at_ms: i64,
    /// The job whose end gives it back.
    pub job: Option<JobId>,
}

impl Bump {
    /// True for a capacity that this raise has set, or was to set.
    pub fn is_ours(&self, capacity: u64) -> bool {
        capacity == self.after || capacity == self.from && self.from > self.before
    }
}

impl Journal {
    /// Remembers that `resource` is about to be set from `from` to `to`. A raise is remembered with what was there
    /// before the first one; what somebody else has set in between counts as there before. A raise that is undone is
    /// owed no more. A job's raise on top of somebody else's is a debt of its own.
    ///
    /// Returns the debt as it was, for [`Journal::take_back`].
    pub fn remember_bump(
        &self,
        context: &Context,
        resource: &Resource,
        from: u64,
        to: u64,
        job: Option<&JobId>,
    ) -> Result<Option<Bump>, JournalError> {
        let now = now_ms();
        let open = self.open_bump(context, resource)?.filter(|bump| job.is_none() || bump.job.as_ref() == job);
        let result = match &open {
            Some(bump) => {
                let before = if bump.is_ours(from) { bump.before } else { from };
                if to <= before {
                    self.conn
                        .execute("update bumps set given_back_ms = ?2 where number = ?1", params![bump.number, now])
                } else {
                    self.conn.execute(
                        "update bumps set before_wcu = ?2, from_wcu = ?3, after_wcu = ?4 where number = ?1",
                        params![bump.number, before, from, to],
                    )
                }
            }
            None if to <= from => Ok(0),
            None => self.conn.execute(
                "insert into bumps (context, kind, resource, index_name, before_wcu, from_wcu, after_wcu, at_ms, job)
                 values (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)",
                params![
                    to_json(context),
                    kind(resource),
                    resource.table().unwrap_or(resource.name()),
                    resource.index(),
                    from,
                    to,
                    now,
                    job.map(|j| &j.0)
                ],
            ),
        };
        self.ok(result)?;
        Ok(open)
    }

    /// Forgets what [`Journal::remember_bump`] remembered: AWS refused it. `was` is what that returned.
    pub fn take_back(
        &self,
        context: &Context,
        resource: &Resource,
        job: Option<&JobId>,
        was: Option<&Bump>,
    ) -> Result<(), JournalError> {
        let result = match was {
            Some(was) => self.conn.execute(
                "update bumps set before_wcu = ?2, from_wcu = ?3, after_wcu = ?4, given_back_ms = null where number = ?1",
                params![was.number, was.before, was.from, was.after],
            ),
            None => match self.open_bump(context, resource)?.filter(|bump| bump.job.as_ref() == job) {
                Some(bump) => self.conn.execute("delete from bumps where number = ?1", [bump.number]),
                None => Ok(0),
            },
        };
        self.ok(result).map(drop)
    }

    /// The newest raise of a resource that was not given back yet.
    pub fn open_bump(&self, context: &Context, resource: &Resource) -> Result<Option<Bump>, JournalError> {
        let mut open = self.open_bumps()?.into_iter();
        Ok(open.rfind(|bump| bump.resource == *resource && bump.context.is_surely(context)))
    }

    /// All raises that were not given back yet, oldest first.
    pub fn open_bumps(&self) -> Result<Vec<Bump>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select number, context, kind, resource, index_name, before_wcu, after_wcu, from_wcu, at_ms, job
                 from bumps where given_back_ms is null order by number",
            )?;
            rows.query_map([], read_bump)?.collect()
        };
        self.ok(read())
    }

    /// Closes a raise: nothing of it is owed any more.
    pub fn close_bump(&self, number: i64) -> Result<(), JournalError> {
        let updated =
            self.conn.execute("update bumps set given_back_ms = ?2 where number = ?1", params![number, now_ms()]);
        self.ok(updated).map(drop)
    }

    /// Hands the debt of `bump` to the raise that was made on top of it, when there is one: what that gives back is then
    /// all of it. Returns whether there was.
    pub fn hand_on(&self, bump: &Bump) -> Result<bool, JournalError> {
        let above = self.open_bumps()?.into_iter().find(|above| {
            above.number > bump.number
                && above.resource == bump.resource
                && above.context.is_surely(&bump.context)
                && bump.is_ours(above.before)
        });
        let Some(above) = above else { return Ok(false) };
        let updated =
            self.conn.execute("update bumps set before_wcu = ?2 where number = ?1", params![above.number, bump.before]);
        self.ok(updated)?;
        self.close_bump(bump.number)?;
        Ok(true)
    }
}

fn kind(resource: &Resource) -> &'static str {
    match resource {
        Resource::Table(_) | Resource::Index { .. } => "table",
        Resource::Stream(_) => "stream",
    }
}

fn read_bump(row: &Row<'_>) -> rusqlite::Result<Bump> {
    let name = row.get::<_, String>(3)?;
    let resource = match row.get::<_, String>(2)?.as_str() {
        "stream" => Resource::Stream(name),
        _ => Resource::of_table(&name, row.get::<_, Option<String>>(4)?.as_deref()),
    };
    Ok(Bump {
        number: row.get(0)?,
        context: from_json(1, &row.get::<_, String>(1)?)?,
        resource,
        before: row.get(5)?,
        after: row.get(6)?,
        from: row.get(7)?,
        at_ms: row.get(8)?,
        job: row.get::<_, Option<String>>(9)?.map(JobId),
    })
}
