//! A replica against its source, key by key, while both are written.
//!
//! ```text
//! source ── paced scan, shaped ─┐                       ┌─ agrees by now, or is still written: changed
//!                               ├─ by key: differs? ────┤
//! replica ─ paced scan ─────────┘   looks, as long as   └─ neither side moved for longer than the replica lags: drift
//!                                   the replica lags         └─ repaired, on demand
//! ```
//!
//! The two scans see each key at different moments, so most of what differs in a table that is written is on its way
//! and no drift. It is looked at again until the replica has had the time to catch up.

mod behind;
mod look;
mod mend;
mod pair;
pub mod rolling;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::try_join;

use self::behind::Behind;
use self::look::Looks;
use self::pair::Pair;
use super::again::Differences;
use super::source::Met;
use super::spill::{Tally, Version, compare as compare_sides};
use super::{Batch, Progress, clear_left_over, joined, scan, side, spill_prefix};
use crate::cloud::{Class, CloudError, Mode};
use crate::item::{Key, Shaped};
use crate::jobs::journal::now_ms;
use crate::jobs::progress::{ReplicaLine, VerifyLine};
use crate::jobs::spec::{ReplicaSpec, VerifySpec};
use crate::jobs::worker::{JobError, Session, differences_path};

/// Compares `spec.table` with its replica, and repairs what differs when it is asked to.
pub(super) async fn compare(
    session: &Session<'_>,
    spec: &VerifySpec,
    replica: &ReplicaSpec,
    journal: &Path,
) -> Result<VerifyLine, JobError> {
    if replica.repair && session.cloud.guard.mode() == Mode::ReadOnly {
        return Err(CloudError::new(
            Class::ReadOnly,
            format!("could not repair replica {}: read-only mode", replica.target.table),
            "start without --read-only, or without --repair to only compare",
        )
        .into());
    }
    let pair = Pair::open(session, spec, replica).await?;
    let beside = journal.parent().unwrap_or(Path::new("."));
    clear_left_over(&session.journal(), beside);
    let folder = tempfile::Builder::new().prefix(&spill_prefix(&session.job.id)).tempdir_in(beside)?;
    let progress = Progress::new(session, spec, pair.source.table.items + pair.replica.table.items);
    let behind = Behind::new(session, replica);
    if let Some(job) = replica.job.as_ref().filter(|_| replica.lag.is_none() && behind.by_its_job().is_none()) {
        session.note(
            "warn",
            &format!("{job} does not run, is paused or still copies: what it has not written yet counts as different"),
        );
    }
    let mut looks = Looks::create(folder.path(), &differences_path(journal, &session.job.id))?;
    let (mut tally, met) = match &replica.job {
        Some(job) if replica.listed => {
            let listed = looks.take_listed(&differences_path(journal, job))?;
            if listed == 0 {
                session.note("info", &format!("the audit of {job} lists no key that differs"));
            }
            (Tally::default(), Met::default())
        }
        _ => {
            let (tally, met, found) = all(spec, &pair, folder.path(), &progress).await?;
            looks.take(found, now_ms())?;
            (tally, met)
        }
    };
    let (looked, standing) = looks.settle(session, &pair, &behind, &mut tally).await?;
    let mut line = VerifyLine {
        kind: "verify",
        checked: tally.checked,
        equal: tally.equal,
        changed: looked.changed,
        changed_differs: looked.changed_differs,
        again: looked.again,
        explained: looked.explained,
        dead: met.dead,
        skipped: met.skipped,
        replica: Some(ReplicaLine { expired: looked.expired, ..ReplicaLine::default() }),
        ..VerifyLine::default()
    };
    if replica.repair {
        mend::all(session, &pair, standing, &mut tally, &mut line).await?;
    }
    line.digest_source = format!("{:032x}", tally.digest_source);
    line.digest_table = format!("{:032x}", tally.digest_table);
    (line.missing, line.extra, line.different) = (tally.missing, tally.extra, tally.different);
    let read = progress.read.load(Ordering::Relaxed);
    progress.tell(now_ms(), read, read, met);
    Ok(line)
}

/// Compares every key of both tables, read side by side.
async fn all(
    spec: &VerifySpec,
    pair: &Pair,
    folder: &Path,
    progress: &Progress<'_, '_>,
) -> Result<(Tally, Met, Differences), JobError> {
    let (here_rows, here) = side(folder, "source");
    let (there_rows, there) = side(folder, "replica");
    let (dead, skipped) = (AtomicU64::new(0), AtomicU64::new(0));
    let take = |item| {
        let taken = match pair.shape.apply(item) {
            Ok(Shaped::Item(json)) => pair.checker.check(json).ok(),
            Ok(Shaped::Skipped) => {
                skipped.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            Err(_) => None,
        };
        if taken.is_none() {
            dead.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<Option<(Key, Version)>, JobError>(taken.map(|item| (item.key, Version::of_table(item.digest))))
    };
    let from_source = scan::scanner(&pair.source.cloud, &pair.source.table, spec.read_budget);
    let from_replica = scan::scanner(&pair.replica.cloud, &pair.replica.table, spec.read_budget);
    progress.scans(from_source.clone(), &pair.source.table);
    let reading_source = async {
        let rows = here_rows;
        scan::scan_as(&from_source, take, |batch: Batch| {
            progress.add(batch.len());
            let rows = rows.clone();
            async move { rows.send(batch).await.is_ok() }
        })
        .await?;
        progress.scans(from_replica.clone(), &pair.replica.table);
        Ok::<_, JobError>(())
    };
    let reading_replica = async {
        let rows = there_rows;
        scan::scan(&from_replica, &pair.replica.table, |batch: Batch| {
            progress.add(batch.len());
            let rows = rows.clone();
            async move { rows.send(batch).await.is_ok() }
        })
        .await
    };
    try_join(reading_source, reading_replica).await?;
    let (here, there) = (joined(here).await?, joined(there).await?);
    let mut differences = Differences::create(folder)?;
    let (tally, differences) = joined(tokio::task::spawn_blocking(move || {
        let tally = compare_sides(&here, &there, |differing| differences.add(differing))?;
        Ok((tally, differences))
    }))
    .await?;
    let met = Met { dead: dead.into_inner(), skipped: skipped.into_inner() };
    Ok((tally, met, differences))
}
