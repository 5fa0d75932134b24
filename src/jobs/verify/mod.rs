//! Verify: a backup against a table, key by key.
//!
//! Both sides are read once: the source from its files, the table by a paced parallel scan with consistent reads. Keys
//! and digests are spilled to disk and compared in buckets, so memory stays flat. A sample reads no table but the
//! sampled keys.

mod sample;
mod scan;
mod spill;

use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use self::spill::{Difference, Side};
use super::journal::{Commit, Sample, State, now_ms};
use super::progress::{Said, VerifyLine};
use super::spec::VerifySpec;
use super::worker::{End, JobError, Session, differences_path};
use crate::backup::{Location, Place, Reader, expand};
use crate::cloud::inventory;
use crate::flow::Counters;
use crate::item::{Checker, Key};

/// Keys and digests on their way to disk, a few thousand at a time.
type Batch = Vec<(Key, u128)>;

/// Keys and digests of one side that may wait for the disk, in batches.
const WAITING: usize = 16;

pub(super) async fn run(session: &Session<'_>, spec: &VerifySpec, journal: &Path) -> Result<End, JobError> {
    let compared = async {
        match spec.sample {
            Some(keys) => sample::compare(session, spec, keys, journal).await,
            None => all(session, spec, journal).await,
        }
    };
    let line = tokio::select! {
        line = compared => line?,
        halt = session.halted() => {
            return Ok(End { state: halt.into(), message: "a verify starts over when it is resumed".into(), report: "{}".into(), dead: false, differs: false });
        }
    };
    let message = if line.is_equal() {
        format!("{} keys are equal", line.equal)
    } else {
        format!(
            "{} of {} keys differ ({} missing, {} extra, {} different): {} lists them",
            line.missing + line.extra + line.different,
            line.checked,
            line.missing,
            line.extra,
            line.different,
            differences_path(journal, &session.job.id).display()
        )
    };
    Ok(End {
        state: State::Done,
        message,
        report: super::journal::to_json(&line),
        dead: false,
        differs: !line.is_equal(),
    })
}

/// Compares every key of both sides.
async fn all(session: &Session<'_>, spec: &VerifySpec, journal: &Path) -> Result<VerifyLine, JobError> {
    let table = inventory::table(&session.cloud, &spec.table).await?;
    let folder = tempfile::Builder::new()
        .prefix(&format!("{}-", session.job.id))
        .tempdir_in(journal.parent().unwrap_or(Path::new(".")))?;
    let progress = Progress { session, read: AtomicU64::new(0), table_items: table.items, told_ms: AtomicI64::new(0) };

    let (rows, source) = side(folder.path(), "source");
    let dead = read_source(session, spec, &Checker::new(table.key.clone()), |batch| {
        progress.add(batch.len());
        let rows = rows.clone();
        async move { rows.send(batch).await.is_ok() }
    })
    .await?;
    drop(rows);
    let source = joined(source).await?;

    let (rows, there) = side(folder.path(), "table");
    scan::scan(session, &table, spec.read_budget, |batch| {
        progress.add(batch.len());
        let rows = rows.clone();
        async move { rows.send(batch).await.is_ok() }
    })
    .await?;
    drop(rows);
    let there = joined(there).await?;
    let read = progress.read.load(Ordering::Relaxed);
    progress.tell(now_ms(), read, read, dead);

    let file = differences_file(&differences_path(journal, &session.job.id))?;
    let tally = joined(tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::new(file);
        let tally = spill::compare(&source, &there, |difference, key| write_difference(&mut out, difference, key))?;
        out.flush()?;
        Ok(tally)
    }))
    .await?;
    Ok(VerifyLine {
        kind: "verify",
        checked: tally.checked,
        equal: tally.equal,
        missing: tally.missing,
        extra: tally.extra,
        different: tally.different,
        dead,
        digest_source: format!("{:032x}", tally.digest_source),
        digest_table: format!("{:032x}", tally.digest_table),
    })
}

/// A side being written by a thread of its own, and the door to it.
fn side(
    folder: &Path,
    name: &'static str,
) -> (mpsc::Sender<Batch>, tokio::task::JoinHandle<std::io::Result<spill::Written>>) {
    let (rows, mut arriving) = mpsc::channel::<Batch>(WAITING);
    let folder = folder.to_owned();
    let writing = tokio::task::spawn_blocking(move || {
        let mut side = Side::create(&folder, name)?;
        while let Some(batch) = arriving.blocking_recv() {
            for (key, digest) in batch {
                side.add(&key, digest)?;
            }
        }
        side.finish(&folder, name)
    });
    (rows, writing)
}

async fn joined<T>(task: tokio::task::JoinHandle<std::io::Result<T>>) -> std::io::Result<T> {
    task.await.map_err(std::io::Error::other)?
}

/// The list of differences, for its owner alone: it holds keys.
fn differences_file(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write_difference(out: &mut impl std::io::Write, difference: Difference, key: &Bytes) -> std::io::Result<()> {
    let word = serde_json::to_string(&difference)?;
    writeln!(out, "{{\"difference\":{word},\"key\":{}}}", String::from_utf8_lossy(key))
}

/// Reads every item of the source and hands its key and digest on; returns how many lines hold no item.
async fn read_source<F, G>(
    session: &Session<'_>,
    spec: &VerifySpec,
    checker: &Checker,
    mut hand_on: F,
) -> Result<u64, JobError>
where
    F: FnMut(Batch) -> G,
    G: Future<Output = bool>,
{
    let mut dead = 0;
    let s3 = Some(&session.cloud.s3);
    let locations = spec.source.sources.iter().map(|source| source.parse()).collect::<Result<Vec<Location>, _>>()?;
    for input in expand(&locations, s3).await? {
        let mut reader = Reader::open(&input, s3, spec.source.format, Place::default()).await?;
        loop {
            let records = reader.next_batch(READ).await?;
            if records.is_empty() {
                break;
            }
            let mut batch = Vec::with_capacity(records.len());
            for record in records {
                match record.json.and_then(|json| checker.check(json)) {
                    Ok(item) => batch.push((item.key, item.digest)),
                    Err(_) => dead += 1,
                }
            }
            if !hand_on(batch).await {
                // The writing side has ended: its own error says why.
                return Ok(dead);
            }
        }
    }
    Ok(dead)
}

/// How often the journal is told how far a verify is, ms.
const TELL_MS: i64 = 1000;

/// Records read at a time.
const READ: usize = 1000;

/// Counts keys read, and says so.
struct Progress<'s, 'l> {
    session: &'s Session<'l>,
    read: AtomicU64,
    table_items: u64,
    /// When the journal was told last, ms since epoch.
    told_ms: AtomicI64,
}

impl Progress<'_, '_> {
    fn add(&self, keys: usize) {
        let read = self.read.fetch_add(keys as u64, Ordering::Relaxed) + keys as u64;
        let total = (self.table_items > 0).then_some(self.table_items * 2);
        self.session.listener.send_replace(Some(Said::Reading { read, total }));
        let (now, told) = (now_ms(), self.told_ms.load(Ordering::Relaxed));
        if now - told >= TELL_MS && self.told_ms.swap(now, Ordering::Relaxed) == told {
            self.tell(now, read, total.unwrap_or_default(), 0);
        }
    }

    /// Writes into the journal how far the comparison is, for consoles.
    fn tell(&self, at_ms: i64, read: u64, total: u64, dead: u64) {
        let counters = Counters { read, dead, ..Counters::default() };
        let sample = Sample { at_ms, counters, ..Sample::default() };
        let total = Some(total.max(read));
        let commit = Commit { counters, total, sample: Some(&sample), ..Commit::default() };
        if let Err(error) = self.session.journal().commit(&self.session.job.id, &commit) {
            tracing::error!(%error, "the journal was not told how far the verify is");
        }
    }
}
