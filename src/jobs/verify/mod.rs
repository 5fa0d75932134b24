//! Verify: a backup against a table, key by key.
//!
//! ```text
//! source ─ pieces, side by side ─┐                     ┌─ second look ─ equal now, or written meanwhile: changed
//!                                ├─ by key: differs? ──┤
//! table ── paced scan ───────────┘                     └─ stands: missing, extra, different by which attribute
//! ```
//!
//! Both sides are read once: the source as a restore reads it, the table by a paced parallel scan with consistent reads.
//! Keys and digests are spilled to disk and compared in buckets, so memory stays flat. A sample reads no table but the
//! sampled keys.

mod again;
pub(in crate::jobs) mod attribute;
mod confidence;
mod fetch;
mod replica;
mod sample;
mod scan;
mod source;
mod spill;

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub(super) use self::attribute::attributes;
pub(super) use self::replica::rolling::keep_auditing;
pub use self::replica::rolling::{Audited, Found, ReadFrom};

use self::again::{Differences, Settled};
use self::source::{Met, Source};
use self::spill::{Side, Tally, Version};
use super::binding::{Binding, ReadLimits, Reads, Recent};
use super::journal::{Commit, Journal, Sample, State, now_ms};
use super::plan::grouped;
use super::progress::{ReplicaLine, Said, VerifyLine};
use super::spec::{JobId, VerifySpec};
use super::worker::{End, JobError, Session, differences_path};
use crate::cloud::inventory::{self, Table};
use crate::flow::{Counters, Scanner};
use crate::item::Key;

/// Keys and what is known of them on their way to disk, a thousand at a time.
type Batch = Vec<(Key, Version)>;

/// Keys and digests of one side that may wait for the disk, in batches.
const WAITING: usize = 16;

pub(super) async fn run(session: &Session<'_>, spec: &VerifySpec, journal: &Path) -> Result<End, JobError> {
    let line = tokio::select! {
        line = async {
            match &spec.replica {
                Some(replica) => replica::compare(session, spec, replica, journal).await,
                None => compare(session, spec, journal).await,
            }
        } => line?,
        halt = session.halted() => {
            return Ok(End {
                state: halt.into(),
                message: "it had compared nothing to the end: a verify starts over".into(),
                report: "{}".into(),
                dead: false,
                left_out: false,
                differs: false,
            });
        }
    };
    Ok(End {
        state: State::Done,
        message: in_words(&line, &differences_path(journal, &session.job.id)),
        report: super::journal::to_json(&line),
        dead: false,
        left_out: false,
        differs: !line.is_equal(),
    })
}

async fn compare(session: &Session<'_>, spec: &VerifySpec, journal: &Path) -> Result<VerifyLine, JobError> {
    let table = inventory::table(&session.cloud, &spec.table).await?;
    let beside = journal.parent().unwrap_or(Path::new("."));
    clear_left_over(&session.journal(), beside);
    let folder = tempfile::Builder::new().prefix(&spill_prefix(&session.job.id)).tempdir_in(beside)?;
    let source = Source::open(session, &spec.source, &table.key).await?;
    let pace = scan::pace(&table, spec.read_budget);
    let progress = Progress::new(session, spec, table.items * 2);
    let mut differences = Differences::create(folder.path())?;
    let (mut tally, met, is_whole) = if let Some(keys) = spec.sample {
        sample::compare(session, (&table, &pace), &source, keys, &progress, &mut differences).await?
    } else {
        let (tally, met, found) = all(session, spec, (&table, &source), folder.path(), &progress, differences).await?;
        differences = found;
        (tally, met, true)
    };
    let list = differences_path(journal, &session.job.id);
    let settled = again::settle(session, (&table, &pace), &source, differences, &mut tally, &list).await?;
    let read = progress.read.load(Ordering::Relaxed);
    progress.tell(now_ms(), read, read, met);
    Ok(line(spec, &tally, met, settled, is_whole))
}

fn line(spec: &VerifySpec, tally: &Tally, met: Met, settled: Settled, is_whole: bool) -> VerifyLine {
    let differ = tally.missing + tally.extra + tally.different;
    VerifyLine {
        kind: "verify",
        checked: tally.checked,
        equal: tally.equal,
        missing: tally.missing,
        extra: tally.extra,
        different: tally.different,
        changed: settled.changed,
        changed_differs: settled.changed_differs,
        again: settled.again,
        explained: settled.explained,
        duplicates: tally.duplicates,
        dead: met.dead,
        skipped: met.skipped,
        digest_source: format!("{:032x}", tally.digest_source),
        digest_table: format!("{:032x}", tally.digest_table),
        confidence: spec.sample.map(|_| confidence::in_words(differ, tally.checked, is_whole)),
        replica: None,
    }
}

/// What a person should know of the outcome, a sentence for each thing.
fn in_words(line: &VerifyLine, list: &Path) -> String {
    let differ = line.missing + line.extra + line.different;
    let mut words = Vec::new();
    words.push(match &line.confidence {
        Some(confidence) => confidence.clone(),
        None if line.is_equal() && line.changed == 0 => format!("{} keys are equal", grouped(line.equal)),
        None if line.is_equal() => format!("{} keys are equal, none differs for good", grouped(line.equal)),
        None => format!("{} of {} keys differ", grouped(differ), grouped(line.checked)),
    });
    if !line.is_equal() {
        words.push(format!(
            "{} missing, {} extra, {} different: {} lists them, {} with the attribute that differs",
            grouped(line.missing),
            grouped(line.extra),
            grouped(line.different),
            list.display(),
            grouped(line.explained)
        ));
    }
    let repaired = line.replica.map_or(0, |replica| replica.repaired);
    if line.again < differ + line.changed + repaired {
        words.push(format!("only the first {} of them were read twice", grouped(line.again)));
    }
    if line.changed > 0 {
        let what = if line.replica.is_some() {
            "were on their way or written while they were compared"
        } else {
            "changed in the table while they were compared"
        };
        words.push(format!(
            "{} keys {what}, {} of them are equal now: somebody writes to it",
            grouped(line.changed),
            grouped(line.changed - line.changed_differs)
        ));
    }
    if let Some(replica) = &line.replica {
        words.extend(of_a_replica(replica));
    }
    if line.duplicates > 0 {
        words.push(format!(
            "{} lines of the source repeat a key of another line: the table may hold either item",
            grouped(line.duplicates)
        ));
    }
    if line.dead > 0 && line.replica.is_some() {
        words.push(format!("{} items of the source are none that the replica can have", grouped(line.dead)));
    } else if line.dead > 0 {
        words.push(format!("{} lines of the source hold no item that a table takes", grouped(line.dead)));
    }
    if line.skipped > 0 {
        words.push(format!("{} items are left out by the options", grouped(line.skipped)));
    }
    words.join("; ")
}

/// What is said of a replica beside that.
fn of_a_replica(replica: &ReplicaLine) -> Vec<String> {
    let mut words = Vec::new();
    if replica.repaired > 0 {
        words.push(format!(
            "{} keys repaired: {} items put, {} deleted",
            grouped(replica.repaired),
            grouped(replica.put),
            grouped(replica.deleted)
        ));
    }
    if replica.superseded > 0 {
        words.push(format!(
            "{} keys were left alone, since somebody else wrote them meanwhile: look again",
            grouped(replica.superseded)
        ));
    }
    if replica.expired > 0 {
        words.push(format!(
            "{} items that expired in the source are kept, as its job was told",
            grouped(replica.expired)
        ));
    }
    words
}

/// What the folders begin with that a verify spills into.
fn spill_prefix(id: &JobId) -> String {
    format!("{id}.spill-")
}

/// Removes what a verify left that was killed: it holds keys, and takes gigabytes.
fn clear_left_over(journal: &Journal, beside: &Path) {
    let Ok(entries) = std::fs::read_dir(beside) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((id, _)) = name.split_once(".spill-") else { continue };
        // This job's own worker lives, and has made no folder yet.
        let id = JobId(id.to_owned());
        let is_mine = journal.job(&id).is_ok_and(|job| job.pid == Some(std::process::id()));
        if (is_mine || !journal.is_alive(&id))
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, name, "what a killed verify left could not be removed");
        }
    }
}

/// Compares every key of both sides.
async fn all(
    session: &Session<'_>,
    spec: &VerifySpec,
    (table, source): (&Table, &Source),
    folder: &Path,
    progress: &Progress<'_, '_>,
    mut differences: Differences,
) -> Result<(Tally, Met, Differences), JobError> {
    let (rows, here) = side(folder, "source");
    let met = source
        .read(session, |batch| {
            progress.add(batch.len());
            let rows = rows.clone();
            async move { rows.send(batch).await.is_ok() }
        })
        .await?;
    drop(rows);
    let here = joined(here).await?;

    let (rows, there) = side(folder, "table");
    let scanner = scan::scanner(&session.cloud, table, spec.read_budget);
    progress.scans(Arc::clone(&scanner), table);
    scan::scan(&scanner, table, |batch| {
        progress.add(batch.len());
        let rows = rows.clone();
        async move { rows.send(batch).await.is_ok() }
    })
    .await?;
    drop(rows);
    let there = joined(there).await?;

    let (tally, differences) = joined(tokio::task::spawn_blocking(move || {
        let tally = spill::compare(&here, &there, |differing| differences.add(differing))?;
        Ok((tally, differences))
    }))
    .await?;
    Ok((tally, met, differences))
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
            for (key, version) in batch {
                side.add(&key, version)?;
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

/// How often the journal is told how far a verify is, ms.
const TELL_MS: i64 = 1000;

/// Counts keys read, and says so.
struct Progress<'s, 'l> {
    session: &'s Session<'l>,
    read: AtomicU64,
    /// Keys to read, as far as AWS counts them; 0 when it does not.
    total: u64,
    /// When the journal was told last, ms since epoch.
    told_ms: AtomicI64,
    began: Instant,
    /// What is read now: the source, until it is a table. A sample reads some of both, a key at a time.
    reads: Option<Mutex<Reading>>,
}

/// What a verify reads now.
#[derive(Default)]
struct Reading {
    source: String,
    scanner: Option<(Arc<Scanner>, ReadLimits, String)>,
    recent: Recent<Reads>,
}

impl Reading {
    /// What binds, `elapsed` after the beginning, when `items` keys were read.
    fn binding(&mut self, elapsed: Duration, items: u64) -> Binding {
        let Some((scanner, limits, table)) = &self.scanner else {
            let reads = Reads { readers: 1, source: elapsed.as_secs_f64(), items, ..Reads::default() };
            return self.recent.next(elapsed, reads, &ReadLimits::default(), &self.source);
        };
        let (times, scanned) = (scanner.times(), scanner.counters());
        let reads = Reads {
            readers: scanner.options().segments as usize,
            paced: times.budget,
            sending: times.service,
            refused: times.throttled,
            items: scanned.read,
            replies: times.replies,
            rcu: scanned.rcu,
            ..Reads::default()
        };
        self.recent.next(elapsed, reads, limits, table)
    }
}

impl<'s, 'l> Progress<'s, 'l> {
    fn new(session: &'s Session<'l>, spec: &VerifySpec, total: u64) -> Self {
        let reads = Reading { source: spec.source.sources.join(" "), ..Reading::default() };
        Self {
            session,
            read: AtomicU64::new(0),
            total,
            told_ms: AtomicI64::new(0),
            began: Instant::now(),
            reads: spec.sample.is_none().then(|| Mutex::new(reads)),
        }
    }

    /// From now on the table is read.
    fn scans(&self, scanner: Arc<Scanner>, table: &Table) {
        let limits = ReadLimits {
            budget: scanner.budget(),
            provisioned: table.provisioned.map(|p| p.read as f64),
            ..ReadLimits::default()
        };
        if let Some(reads) = &self.reads {
            let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
            reads.scanner = Some((scanner, limits, table.name.clone()));
            reads.recent = Recent::default();
        }
    }

    fn add(&self, keys: usize) {
        let read = self.read.fetch_add(keys as u64, Ordering::Relaxed) + keys as u64;
        let total = (self.total > 0).then_some(self.total);
        self.session.listener.send_replace(Some(Said::Reading { read, total }));
        let (now, told) = (now_ms(), self.told_ms.load(Ordering::Relaxed));
        if now - told >= TELL_MS && self.told_ms.swap(now, Ordering::Relaxed) == told {
            self.tell(now, read, total.unwrap_or_default(), Met::default());
        }
    }

    /// Writes into the journal how far the comparison is, for consoles.
    fn tell(&self, at_ms: i64, read: u64, total: u64, met: Met) {
        let counters = Counters { read, dead: met.dead, skipped: met.skipped, ..Counters::default() };
        let reads = self.reads.as_ref().map(|reads| reads.lock().unwrap_or_else(PoisonError::into_inner));
        let binding = reads.map(|mut reads| reads.binding(self.began.elapsed(), read));
        let limit = binding.as_ref().map(Binding::short).unwrap_or_default();
        let sample = Sample { at_ms, counters, limit: limit.clone(), binding, ..Sample::default() };
        let total = Some(total.max(read));
        let commit = Commit { counters, total, limit: &limit, sample: Some(&sample), ..Commit::default() };
        if let Err(error) = self.session.journal().commit(&self.session.job.id, &commit) {
            tracing::error!(%error, "the journal was not told how far the verify is");
        }
    }
}
