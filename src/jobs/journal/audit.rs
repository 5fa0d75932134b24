//! The audit: every change that was asked for, by whom and when, what was there before, and what became of it.

use rusqlite::{Row, params};

use super::jobs::{from_json, to_json};
use super::{Journal, JournalError, now_ms};
use crate::cloud::Context;
use crate::cloud::guard::{Change, Outcome};
use crate::jobs::spec::JobId;

/// One line of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditLine {
    /// Its number: later lines have larger ones.
    pub number: i64,
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
    /// What became of it. `None` is what has no answer of its own (records in bulk), and what an older `sluice` wrote down.
    pub outcome: Option<Outcome>,
    /// The line that undid it last, unless AWS refused that.
    pub undone_by: Option<i64>,
}

/// Which lines of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Since then, ms since epoch.
    pub since_ms: Option<i64>,
    /// Sent by this job.
    pub job: Option<JobId>,
    /// Of this table or stream, whether it was named or given as an ARN.
    pub target: Option<String>,
    /// With a larger number.
    pub after: i64,
}

const COLUMNS: &str = "number, at_ms, who, job, context, service, operation, target, request, before, undoes, outcome, \
                       outcome_words, (select max(later.number) from audit as later \
                       where later.undoes = audit.number and later.outcome is not 'refused')";

impl AuditLine {
    /// True when AWS surely refused it: then nothing was changed.
    pub fn is_refused(&self) -> bool {
        self.outcome.as_ref().is_some_and(Outcome::is_refused)
    }
}

impl Journal {
    /// How often `operation` was sent to `target` since `since_ms` (ms since epoch) and not refused, as the audit knows it.
    pub fn audit_count(
        &self,
        context: &Context,
        operation: &str,
        target: &str,
        since_ms: i64,
    ) -> Result<usize, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(
                "select context from audit
                 where operation = ?1 and target = ?2 and at_ms >= ?3 and outcome is not 'refused'",
            )?;
            rows.query_map(params![operation, target, since_ms], |row| from_json(0, &row.get::<_, String>(0)?))?
                .collect::<rusqlite::Result<Vec<Context>>>()
        };
        Ok(self.ok(read())?.iter().filter(|sent| sent.is_same_place(context)).count())
    }

    /// Writes down a change that is about to be sent, and returns the line's number. Until its outcome is written down
    /// ([`Journal::audit_outcome`]), nobody knows whether it was made.
    pub fn audit(&self, context: &Context, job: Option<&JobId>, change: &Change) -> Result<i64, JournalError> {
        let named = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
        let who = named.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
        // What the environment names as a region today it may not name tomorrow.
        let context = Context { region: change.region.clone().or_else(|| context.region.clone()), ..context.clone() };
        let inserted = self.conn.execute(
            "insert into audit (at_ms, who, job, context, service, operation, target, request, before, undoes, outcome)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                now_ms(),
                who,
                job.map(|j| &j.0),
                to_json(&context),
                change.service,
                change.operation,
                change.target,
                change.request,
                change.before,
                change.undoes,
                change.is_answered().then(|| Outcome::Unknown(String::new()).name())
            ],
        );
        self.ok(inserted).map(|_| self.conn.last_insert_rowid())
    }

    /// Writes down what became of the change of line `number`.
    pub fn audit_outcome(&self, number: i64, outcome: &Outcome) -> Result<(), JournalError> {
        let updated = self.conn.execute(
            "update audit set outcome = ?2, outcome_words = ?3 where number = ?1",
            params![number, outcome.name(), outcome.words()],
        );
        self.ok(updated).map(drop)
    }

    /// Names the job that the change of line `number` began.
    pub fn audit_began(&self, number: i64, job: &JobId) -> Result<(), JournalError> {
        let updated =
            self.conn.execute("update audit set job = ?2, target = ?2 where number = ?1", params![number, job.0]);
        self.ok(updated).map(drop)
    }

    /// The newest `most` lines of the audit, newest first.
    pub fn audit_lines(&self, most: usize) -> Result<Vec<AuditLine>, JournalError> {
        self.audit_of(&AuditFilter::default(), most)
    }

    /// The newest `most` lines that `filter` lets through, newest first.
    pub fn audit_of(&self, filter: &AuditFilter, most: usize) -> Result<Vec<AuditLine>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(&format!(
                "select {COLUMNS} from audit where number > ?1 and (?2 is null or at_ms >= ?2)
                 and (?3 is null or job = ?3)
                 and (?4 is null or target = ?4 or substr(target, -length(?4) - 1) in ('/' || ?4, ':' || ?4))
                 order by number desc limit ?5"
            ))?;
            let job = filter.job.as_ref().map(|job| &job.0);
            rows.query_map(params![filter.after, filter.since_ms, job, filter.target, most as i64], read_line)?
                .collect()
        };
        self.ok(read())
    }

    /// Line `number` of the audit.
    pub fn audit_line(&self, number: i64) -> Result<Option<AuditLine>, JournalError> {
        let read = || {
            let mut rows = self.conn.prepare_cached(&format!("select {COLUMNS} from audit where number = ?1"))?;
            rows.query_map([number], read_line)?.next().transpose()
        };
        self.ok(read())
    }
}

fn read_line(row: &Row<'_>) -> rusqlite::Result<AuditLine> {
    Ok(AuditLine {
        number: row.get(0)?,
        at_ms: row.get(1)?,
        who: row.get(2)?,
        job: row.get::<_, Option<String>>(3)?.map(JobId),
        context: from_json(4, &row.get::<_, String>(4)?)?,
        change: Change {
            service: row.get(5)?,
            operation: row.get(6)?,
            target: row.get(7)?,
            request: row.get(8)?,
            region: None,
            before: row.get(9)?,
            undoes: row.get(10)?,
        },
        outcome: outcome(row.get(11)?, row.get(12)?),
        undone_by: row.get(13)?,
    })
}

fn outcome(name: Option<String>, words: Option<String>) -> Option<Outcome> {
    let words = words.unwrap_or_default();
    Some(match name?.as_str() {
        "done" => Outcome::Done,
        "refused" => Outcome::Refused(words),
        _ => Outcome::Unknown(words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(target: &str) -> Change {
        let before = Some(r#"{"TargetShardCount":1}"#.to_owned());
        Change {
            service: "kinesis".into(),
            operation: "UpdateShardCount".into(),
            target: target.into(),
            before,
            ..Change::default()
        }
    }

    #[test]
    fn a_line_is_found_by_job_by_target_and_by_time_and_knows_what_undid_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
        let job = JobId("r-1".into());
        let here = Context::default();
        journal.audit(&here, Some(&job), &change("restore")).unwrap();
        journal.audit(&here, None, &change("arn:aws:kinesis:eu-west-1:1:stream/restore")).unwrap();
        journal.audit(&here, None, &Change { undoes: Some(1), ..change("other-restore") }).unwrap();
        let numbers = |filter: AuditFilter| {
            journal.audit_of(&filter, 10).unwrap().iter().map(|line| line.number).collect::<Vec<_>>()
        };
        let all = AuditFilter::default();
        assert_eq!(numbers(all.clone()), [3, 2, 1]);
        assert_eq!(numbers(AuditFilter { job: Some(job), ..all.clone() }), [1]);
        assert_eq!(numbers(AuditFilter { target: Some("restore".into()), ..all.clone() }), [2, 1]);
        assert_eq!(numbers(AuditFilter { since_ms: Some(now_ms() + 60_000), ..all.clone() }), [0_i64; 0]);
        assert_eq!(numbers(AuditFilter { after: 2, ..all }), [3]);
        let first = journal.audit_line(1).unwrap().unwrap();
        assert_eq!((first.undone_by, first.change.before.as_deref()), (Some(3), Some(r#"{"TargetShardCount":1}"#)));
        assert_eq!(journal.audit_line(9).unwrap(), None);
    }

    #[test]
    fn what_aws_refused_undid_nothing_and_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
        let here = Context::default();
        let made = journal.audit(&here, None, &change("restore")).unwrap();
        // Nothing was heard of it yet.
        let unheard = || Some(Outcome::Unknown(String::new()));
        assert_eq!(journal.audit_line(made).unwrap().unwrap().outcome, unheard());
        journal.audit_outcome(made, &Outcome::Done).unwrap();
        let undoing = Change { undoes: Some(made), ..change("restore") };
        let refused = journal.audit(&here, None, &undoing).unwrap();
        let words = Outcome::Refused("LimitExceededException: ten a day".into());
        journal.audit_outcome(refused, &words).unwrap();
        let line = |number| journal.audit_line(number).unwrap().unwrap();
        assert_eq!((line(made).outcome, line(made).undone_by), (Some(Outcome::Done), None));
        assert_eq!(line(refused).outcome, Some(words));
        let count = || journal.audit_count(&here, "UpdateShardCount", "restore", 0).unwrap();
        assert_eq!(count(), 1);
        // One whose reply was lost may have been made.
        let lost = journal.audit(&here, None, &undoing).unwrap();
        assert_eq!((line(made).undone_by, line(lost).outcome, count()), (Some(lost), unheard(), 2));
    }

    #[test]
    fn a_job_that_a_change_began_is_named_once_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
        let number = journal.audit(&Context::default(), None, &Change::of_job("start", "", "verify quotes")).unwrap();
        let job = JobId("v-1".into());
        journal.audit_began(number, &job).unwrap();
        let line = journal.audit_line(number).unwrap().unwrap();
        assert_eq!((line.change.target.as_str(), line.job, line.outcome), ("v-1", Some(job), None));
    }

    #[test]
    fn what_an_older_sluice_wrote_down_is_read_and_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        {
            let journal = Journal::open(&path).unwrap();
            journal.audit(&Context::default(), None, &change("restore")).unwrap();
            let older = "alter table audit drop column outcome; alter table audit drop column outcome_words;";
            journal.conn.execute_batch(older).unwrap();
            journal.conn.pragma_update(None, "user_version", 4).unwrap();
        }
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.audit_line(1).unwrap().unwrap().outcome, None);
        assert_eq!(journal.audit_count(&Context::default(), "UpdateShardCount", "restore", 0).unwrap(), 1);
    }
}
