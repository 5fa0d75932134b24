//! What the autoscaler decided, with the numbers and the reason; the newest are kept.

use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;

use super::jobs::{from_json, to_json};
use super::{Journal, JournalError};
use crate::capacity::Resource;
use crate::cloud::Context;
use crate::jobs::spec::JobId;

/// How many decisions are kept: a fleet of 100 tables changes a few hundred times a day.
const KEPT: i64 = 20_000;

/// What became of a look at one direction of a table or index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decided {
    /// It was raised.
    Raised,
    /// It was lowered.
    Lowered,
    /// The rules asked for a change, and something forbade it.
    Refused,
    /// A change was sent and failed.
    Failed,
    /// There is nothing to do; written down only after something else.
    Nothing,
    /// It is left out: on demand, or being changed.
    Skipped,
}

impl Decided {
    /// As scripts and screens spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Lowered => "lowered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Nothing => "nothing",
            Self::Skipped => "skipped",
        }
    }

    /// True when it changed a capacity.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Raised | Self::Lowered)
    }

    fn parse(text: &str) -> Self {
        let all = [Self::Raised, Self::Lowered, Self::Refused, Self::Failed, Self::Skipped];
        all.into_iter().find(|decided| decided.as_str() == text).unwrap_or(Self::Nothing)
    }
}

/// A decision. Times are ms since epoch, capacities WCU or RCU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// Its number: later ones have larger.
    pub number: i64,
    /// Where.
    #[serde(skip)]
    pub context: Context,
    /// The autoscale job.
    pub job: JobId,
    /// When it was first made.
    pub at_ms: i64,
    /// When it was last made: a refusal that repeats is one decision.
    pub last_ms: i64,
    /// How many times.
    pub times: u64,
    /// The table.
    pub table: String,
    /// The index; `None` is the table itself.
    pub index: Option<String>,
    /// `write` or `read`.
    pub direction: String,
    /// What became of it.
    pub decided: Decided,
    /// Provisioned before.
    pub from: u64,
    /// Provisioned after; what was asked for, when it was refused or failed.
    pub to: u64,
    /// Consumed each second.
    pub consumed: f64,
    /// Why.
    pub reason: String,
    /// Nothing was changed: the configuration says so.
    pub dry_run: bool,
}

impl Decision {
    /// The table or index.
    pub fn resource(&self) -> Resource {
        Resource::of_table(&self.table, self.index.as_deref())
    }

    /// True when the same was decided for the same reason.
    fn is_again(&self, other: &Self) -> bool {
        !self.decided.is_change()
            && self.decided == other.decided
            && self.job == other.job
            && (self.from, self.to) == (other.from, other.to)
            && self.reason == other.reason
    }
}

impl Journal {
    /// Writes a decision down; one that repeats the last of the same direction only counts up. `Nothing` is written down
    /// only after something else. Returns whether it was news.
    pub fn decide(&self, decision: &Decision) -> Result<bool, JournalError> {
        let last = self.last_decision(decision)?;
        let is_nothing = |decided| matches!(decided, Decided::Nothing);
        let written = match &last {
            Some(last) if decision.is_again(last) => {
                let again = self.conn.execute(
                    "update decisions set last_ms = ?2, times = times + 1, consumed = ?3 where number = ?1",
                    params![last.number, decision.last_ms, decision.consumed],
                );
                return self.ok(again).map(|_| false);
            }
            Some(last) if is_nothing(decision.decided) && is_nothing(last.decided) => return Ok(false),
            None if is_nothing(decision.decided) => return Ok(false),
            _ => self.conn.execute(
                "insert into decisions (context, job, at_ms, last_ms, resource, index_name, direction, kind, from_units,
                 to_units, consumed, reason, dry_run) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                params![
                    to_json(&decision.context),
                    decision.job.0,
                    decision.at_ms,
                    decision.last_ms,
                    decision.table,
                    decision.index,
                    decision.direction,
                    decision.decided.as_str(),
                    decision.from,
                    decision.to,
                    decision.consumed,
                    decision.reason,
                    decision.dry_run
                ],
            ),
        };
        self.ok(written)?;
        let pruned =
            self.conn.execute("delete from decisions where number <= (select max(number) from decisions) - ?1", [KEPT]);
        self.ok(pruned).map(|_| true)
    }

    fn last_decision(&self, like: &Decision) -> Result<Option<Decision>, JournalError> {
        let found = self
            .conn
            .prepare_cached(&format!(
                "select {COLUMNS} from decisions where resource = ?1 and index_name is ?2 and direction = ?3
                 and context = ?4 order by number desc limit 1"
            ))
            .and_then(|mut rows| {
                rows.query_row(params![like.table, like.index, like.direction, to_json(&like.context)], read_decision)
                    .optional()
            });
        self.ok(found)
    }

    /// Decisions numbered above `after`, the newest `most` of them, oldest first; of one job when it is given.
    pub fn decisions(&self, job: Option<&JobId>, after: i64, most: usize) -> Result<Vec<Decision>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(&format!(
                "select {COLUMNS} from decisions where number > ?1 and (?2 is null or job = ?2)
                 order by number desc limit ?3"
            ))?;
            rows.query_map(params![after, job.map(|job| &job.0), most as i64], read_decision)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut decisions = self.ok(read())?;
        decisions.reverse();
        Ok(decisions)
    }
}

const COLUMNS: &str = "number, context, job, at_ms, last_ms, times, resource, index_name, direction, kind, from_units, \
                       to_units, consumed, reason, dry_run";

fn read_decision(row: &Row<'_>) -> rusqlite::Result<Decision> {
    Ok(Decision {
        number: row.get(0)?,
        context: from_json(1, &row.get::<_, String>(1)?)?,
        job: JobId(row.get(2)?),
        at_ms: row.get(3)?,
        last_ms: row.get(4)?,
        times: row.get(5)?,
        table: row.get(6)?,
        index: row.get(7)?,
        direction: row.get(8)?,
        decided: Decided::parse(&row.get::<_, String>(9)?),
        from: row.get(10)?,
        to: row.get(11)?,
        consumed: row.get(12)?,
        reason: row.get(13)?,
        dry_run: row.get(14)?,
    })
}
