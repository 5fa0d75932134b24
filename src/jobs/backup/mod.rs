//! Backup: a table into files.
//!
//! ```text
//! segment 0 ── pages ── rows, deflated ─┐
//! segment 1 ── pages ── rows, deflated ─┼─> BackupWriter ─> one file, one object, or the files of an export
//! …                                     ┘        │
//!                     checkpoint each second: the key each segment goes on after, and the mark they are stored up to
//! ```
//!
//! A page counts once its rows are stored for certain; whatever a killed worker had beyond that is read and written
//! again in its place.

mod desk;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::desk::Desk;
use self::state::{Begun, Origin, State as Stored};
use super::journal::State;
use super::spec::BackupSpec;
use super::worker::{End, Halt, JobError, Session};
use crate::backup::write::{About, BackupWriter, Block, Published};
use crate::backup::{Format, Location};
use crate::cloud::inventory::{self, Table};
use crate::cloud::{Class, CloudError, Mode};
use crate::flow::{AwsTable, Clock, ScanOptions, Scanner, SystemClock};
use crate::item::Checker;

/// Share of a table's provisioned read capacity that is taken when no budget is given: the rest is left to live traffic.
const DEFAULT_SHARE: f64 = 0.5;

/// A segment for so many bytes of the table: AWS advises one for each 2 GiB, for readers on one machine more are
/// faster, and a request of each is under way at any time.
const SEGMENT_BYTES: u64 = 256 << 20;

/// The fewest and the most segments that are chosen: the fewest keep a small table's scan from waiting for one reply
/// after the other, the most keep memory small (a page and its rows each, about 4 MiB).
const SEGMENTS: (u32, u32) = (4, 64);

/// How many segments a table of `bytes` is read in when nobody says.
pub fn default_segments(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(SEGMENT_BYTES)).unwrap_or(u32::MAX).clamp(SEGMENTS.0, SEGMENTS.1)
}

/// What may be read of `table`, RCU a second, when `asked` is or isn't given; `None` does not hold back.
pub fn read_budget(table: &Table, asked: Option<f64>) -> Option<f64> {
    asked.or(table.provisioned.map(|p| (p.read as f64 * DEFAULT_SHARE).max(1.0)))
}

/// A page on its way to the writer.
struct Page {
    origin: Origin,
    block: Block,
}

pub(super) async fn run(session: &Session<'_>, spec: &BackupSpec) -> Result<End, JobError> {
    let table = inventory::table(&session.cloud, &spec.table).await?;
    fit(&table)?;
    let mut stored = Stored::load(session)?;
    let begun = match stored.begun.take() {
        Some(begun) => begun.fits(session, spec).await?,
        None => begin(session, spec, &table).await?,
    };
    let s3 = Some(&session.cloud.s3);
    let pieces = std::mem::take(&mut stored.pieces);
    let writer = BackupWriter::open(&begun.to, s3, &session.job.id.0, stored.progress.mark(), pieces).await?;
    Stored::begin(session, &begun)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let budget = read_budget(&table, spec.read_budget);
    let options = ScanOptions { table: table.name.clone(), segments: begun.segments, consistent: begun.consistent };
    let source = AwsTable::new(session.cloud.bulk.dynamodb.clone(), &table.name, table.key.clone());
    let scanner = Arc::new(Scanner::new(Arc::new(source), options, budget, clock));
    let blocked = Arc::new(AtomicU64::new(0));
    let (to_writer, mut pages) = mpsc::channel(begun.segments as usize);
    let mut segments = JoinSet::new();
    for (number, after) in stored.unread(begun.segments) {
        let segment = Segment {
            number,
            scanner: Arc::clone(&scanner),
            checker: Checker::new(table.key.clone()),
            format: begun.to.format,
            gzip: begun.to.gzip,
            to_writer: to_writer.clone(),
            blocked: Arc::clone(&blocked),
        };
        segments.spawn(segment.read(after));
    }
    drop(to_writer);

    let mut desk = Desk::new(session, spec, &table, &begun, writer, stored, scanner, blocked);
    let outcome = desk.drive(&mut segments, &mut pages).await;
    // No page may come any more, whatever is done below.
    drop((segments, pages));
    let outcome = match outcome {
        // Cut short, it is done again on resume: nothing in it counts twice.
        Ok(None) => tokio::select! {
            published = desk.finish(&begun) => published.map(Ok),
            halt = session.halted() => Ok(Err(halt)),
        },
        Ok(Some(halt)) => Ok(Err(halt)),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Ok(published)) => {
            let message = done(&published);
            Ok(desk.end(State::Done, message, Some(&published)))
        }
        Ok(Err(Halt::Cancelled)) => {
            let message = match desk.discard().await {
                Ok(()) => "what was written of it is removed".to_owned(),
                Err(error) => format!("what was written of it could not be removed: {error}"),
            };
            Ok(end_of(session, State::Cancelled, message))
        }
        Ok(Err(Halt::Interrupted)) => {
            desk.commit().await?;
            let message = format!("go on with `sluice backup --resume {}`", session.job.id);
            Ok(desk.end(State::Interrupted, message, None))
        }
        Err(error) => {
            // What is stored counts, if the disk still says so; the error is what an operator has to know.
            if let Err(also) = desk.commit().await {
                tracing::debug!(%also, "the last checkpoint of a failed backup stays the one before");
            }
            Err(error)
        }
    }
}

fn end_of(session: &Session<'_>, state: State, message: String) -> End {
    End {
        state,
        message,
        report: super::restore::last_line(session, state),
        dead: false,
        left_out: false,
        differs: false,
    }
}

fn done(published: &Published) -> String {
    format!("{}: {} items in {} bytes", published.location, published.rows, published.bytes)
}

/// Refuses a table that can't be read now.
fn fit(table: &Table) -> Result<(), JobError> {
    match table.status.as_str() {
        "CREATING" | "DELETING" => {
            Err(JobError::Unfit(format!("table {} is {}: it can't be read now", table.name, table.status)))
        }
        _ => Ok(()),
    }
}

/// Settles where a new backup goes and how it is read.
async fn begin(session: &Session<'_>, spec: &BackupSpec, table: &Table) -> Result<Begun, JobError> {
    let begun = Begun::new(session, spec, table).await?;
    if matches!(begun.to.location, Location::S3 { .. }) && session.cloud.guard.mode() != Mode::Normal {
        return Err(CloudError::new(
            Class::ReadOnly,
            format!("could not write {}: read-only mode", begun.to.location),
            "start without --read-only, or write to a file",
        )
        .into());
    }
    begun.to.must_be_free(Some(&session.cloud.s3)).await?;
    session.note(
        "info",
        &format!(
            "from {} to {} in {} segments, {} consistent reads",
            table.name,
            begun.to.location,
            begun.segments,
            if begun.consistent { "strongly" } else { "eventually" }
        ),
    );
    Ok(begun)
}

/// One segment of the table, read page by page.
struct Segment {
    number: u32,
    scanner: Arc<Scanner>,
    checker: Checker,
    format: Format,
    gzip: bool,
    to_writer: mpsc::Sender<Page>,
    /// Time that segments waited for the writer, µs.
    blocked: Arc<AtomicU64>,
}

impl Segment {
    /// Reads what comes after `after`, to the end.
    async fn read(mut self, mut after: Option<Bytes>) -> Result<(), JobError> {
        loop {
            let page = self.scanner.page(self.number, after.as_ref()).await?;
            after.clone_from(&page.after);
            let (number, format, gzip) = (self.number, self.format, self.gzip);
            let encoded = tokio::task::spawn_blocking(move || {
                let origin = Origin::of(number, &page, &self.checker);
                let block = Block::of(&page.items, format, gzip);
                (self, origin, block)
            });
            let (back, origin, block) = encoded.await.map_err(std::io::Error::other)?;
            self = back;
            let began = Instant::now();
            let sent = self.to_writer.send(Page { origin, block }).await;
            let waited = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.blocked.fetch_add(waited, Ordering::Relaxed);
            if sent.is_err() || after.is_none() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_segment_for_each_256_mib_but_neither_few_nor_too_many() {
        for (bytes, segments) in [(0, 4), (1 << 30, 4), (2 << 30, 8), ((2 << 30) + 1, 9), (1 << 40, 64)] {
            assert_eq!(default_segments(bytes), segments, "{bytes}");
        }
    }
}
