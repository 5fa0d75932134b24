//! The schema, and how an older one becomes today's.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::JournalError;

/// One entry a version; a journal of version n has run the first n.
const MIGRATIONS: [&str; 5] = [
    "
create table jobs (
    id text primary key, kind text not null, spec text not null, context text not null,
    state text not null, control text not null default 'run', rate real,
    pid integer, runs integer not null default 0, parent text,
    created_ms integer not null, started_ms integer, ended_ms integer, active_ms integer not null default 0,
    counters text not null, total integer, limit_words text not null default '', message text not null default '',
    report text
) strict;
create table checkpoints (
    job text not null references jobs(id) on delete cascade, name text not null, value blob not null,
    primary key (job, name)
) strict, without rowid;
create table samples (
    job text not null references jobs(id) on delete cascade, at_ms integer not null, body text not null,
    primary key (job, at_ms)
) strict, without rowid;
create table letters (
    number integer primary key, job text not null references jobs(id) on delete cascade,
    place text not null, source text not null, line integer, byte_offset integer, shard text, sequence text,
    reason text not null, payload blob not null, at_ms integer not null,
    unique (job, place)
) strict;
create table notes (
    number integer primary key, job text not null references jobs(id) on delete cascade,
    at_ms integer not null, level text not null, words text not null
) strict;
create index notes_by_job on notes(job, number);
create table bumps (
    number integer primary key, context text not null, resource text not null, index_name text,
    before_wcu integer not null, after_wcu integer not null, at_ms integer not null, job text, given_back_ms integer
) strict;
create table audit (
    number integer primary key, at_ms integer not null, who text not null, job text, context text not null,
    service text not null, operation text not null, target text not null, request text not null
) strict;
",
    "
alter table bumps add column kind text not null default 'table';
alter table bumps add column from_wcu integer not null default 0;
update bumps set given_back_ms = at_ms where given_back_ms is null and after_wcu <= before_wcu;
create table decisions (
    number integer primary key, context text not null, job text not null, at_ms integer not null,
    last_ms integer not null, times integer not null default 1, resource text not null, index_name text,
    direction text not null, kind text not null, from_units integer not null, to_units integer not null,
    consumed real not null, reason text not null, dry_run integer not null default 0
) strict;
create index decisions_by_resource on decisions(resource, index_name, direction, number);
",
    "
alter table letters add column draft blob;
alter table letters add column tried text;
alter table letters add column fate text;
alter table letters add column fate_ms integer;
alter table letters add column revision integer not null default 0;
create index letters_by_fate on letters(job, fate);
",
    "
alter table audit add column before text;
alter table audit add column undoes integer;
create index audit_by_job on audit(job, number);
create index audit_by_target on audit(target, number);
create index audit_by_undoes on audit(undoes) where undoes is not null;
",
    "
alter table audit add column outcome text;
alter table audit add column outcome_words text;
",
];

pub(super) fn migrate(conn: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let sqlite = |source| JournalError::Sqlite { path: path.to_owned(), source };
    let known = MIGRATIONS.len() as i64;
    let version = |conn: &Connection| conn.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    if version(conn).map_err(sqlite)? == known {
        return Ok(());
    }
    // Two processes may open a new journal at once: the second finds the first one's work under the lock.
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
    let found = version(&tx).map_err(sqlite)?;
    if found > known {
        return Err(JournalError::Newer { path: path.to_owned(), found, known });
    }
    for step in MIGRATIONS.iter().skip(found as usize) {
        tx.execute_batch(step).map_err(sqlite)?;
    }
    tx.pragma_update(None, "user_version", known).map_err(sqlite)?;
    tx.commit().map_err(sqlite)
}
