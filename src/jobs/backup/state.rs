//! What the journal keeps of a backup: where it goes, how far it is stored, and the key each segment goes on after.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::journal::{Commit, to_json};
use super::super::spec::BackupSpec;
use super::super::worker::{JobError, Session};
use super::default_segments;
use crate::backup::write::{Destination, Mark, Piece};
use crate::cloud::CloudError;
use crate::cloud::inventory::Table;
use crate::flow::{Counters, ScanPage};
use crate::item::Checker;

const BEGUN: &str = "backup";
const PROGRESS: &str = "progress";
const SEGMENT: &str = "segment-";
const PIECE: &str = "piece-";

/// What stays the same over all runs of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    pub to: Destination,
    /// A key belongs to the segment of a scan in as many segments: it can't change.
    pub segments: u32,
    pub consistent: bool,
    pub started: Timestamp,
    pub table_arn: String,
    pub table_id: String,
}

/// Where a page came from, and what it adds.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    pub segment: u32,
    pub after: Option<Bytes>,
    pub items: u64,
    pub bytes: u64,
    /// Sum of the items' digests, as a verify sums them.
    pub digest: u128,
    /// Items that a restore would refuse: they are written all the same.
    pub odd: u64,
}

impl Origin {
    pub fn of(segment: u32, page: &ScanPage, checker: &Checker) -> Self {
        let mut origin = Self { segment, after: page.after.clone(), ..Self::default() };
        for item in &page.items {
            origin.items += 1;
            origin.bytes += item.len() as u64;
            match checker.check(item.clone()) {
                Ok(checked) => origin.digest = origin.digest.wrapping_add(checked.digest),
                Err(refusal) => {
                    tracing::warn!(%refusal, "an item of the table would not pass the check of a restore");
                    origin.odd += 1;
                }
            }
        }
        origin
    }
}

/// How far a segment is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentAt {
    /// `LastEvaluatedKey` as the service wrote it.
    after: Option<String>,
    done: bool,
    /// Items that the service counted (`ScannedCount`).
    items: u64,
}

/// How far the whole is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    mark: Option<Mark>,
    pub counters: Counters,
    digest: u128,
    pub odd: u64,
}

impl Progress {
    pub fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    pub fn digest(&self) -> String {
        format!("{:032x}", self.digest)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub begun: Option<Begun>,
    pub progress: Progress,
    pub pieces: Vec<Piece>,
    segments: BTreeMap<u32, SegmentAt>,
}

fn read<T: DeserializeOwned>(session: &Session<'_>, name: &str, stored: &[u8]) -> Result<T, JobError> {
    serde_json::from_slice(stored).map_err(|error| {
        JobError::Unfit(format!(
            "the checkpoint {name} of job {} can't be read ({error}): start the backup anew",
            session.job.id
        ))
    })
}

impl State {
    pub fn load(session: &Session<'_>) -> Result<Self, JobError> {
        let id = &session.job.id;
        let stored = session.journal().checkpoints(id, "")?;
        let mut state = Self::default();
        for (name, value) in stored {
            match name.as_str() {
                BEGUN => state.begun = Some(read(session, &name, &value)?),
                PROGRESS => state.progress = read(session, &name, &value)?,
                _ => {
                    if let Some(number) = name.strip_prefix(SEGMENT) {
                        let number = number.parse().map_err(|_| JobError::Unfit(format!("no segment {number}")))?;
                        state.segments.insert(number, read(session, &name, &value)?);
                    } else if name.starts_with(PIECE) {
                        state.pieces.push(read(session, &name, &value)?);
                    }
                }
            }
        }
        // Their names are ordered as text, which six digits don't promise for ever.
        state.pieces.sort_by_key(|piece| piece.number);
        if state.progress.counters.written > 0 {
            session.note("info", &format!("goes on after {} items", state.progress.counters.written));
        }
        Ok(state)
    }

    /// Writes down where the backup goes, before anything is read for it.
    pub fn begin(session: &Session<'_>, begun: &Begun) -> Result<(), JobError> {
        let checkpoints = [(BEGUN.to_owned(), to_json(begun).into_bytes())];
        let counters = session.job.counters;
        let commit = Commit { counters, checkpoints: &checkpoints, ..Commit::default() };
        Ok(session.journal().commit(&session.job.id, &commit)?)
    }

    /// The segments that are not read to their end, each with the key to go on after.
    pub fn unread(&self, segments: u32) -> Vec<(u32, Option<Bytes>)> {
        let at = |number| self.segments.get(&number).cloned().unwrap_or_default();
        (0..segments)
            .map(|number| (number, at(number)))
            .filter(|(_, at)| !at.done)
            .map(|(number, at)| (number, at.after.map(Bytes::from)))
            .collect()
    }

    /// Adds what is stored now, and returns the checkpoints that say so.
    pub fn store(
        &mut self,
        origins: impl IntoIterator<Item = Origin>,
        mark: Mark,
        pieces: &[Piece],
    ) -> Vec<(String, Vec<u8>)> {
        let mut touched = BTreeMap::new();
        for origin in origins {
            let at = self.segments.entry(origin.segment).or_default();
            at.items += origin.items;
            at.done = origin.after.is_none();
            at.after = origin.after.map(|key| String::from_utf8_lossy(&key).into_owned());
            touched.insert(origin.segment, at.clone());
            let counters = &mut self.progress.counters;
            counters.read += origin.items;
            counters.written += origin.items;
            counters.bytes += origin.bytes;
            self.progress.digest = self.progress.digest.wrapping_add(origin.digest);
            self.progress.odd += origin.odd;
        }
        let moved = self.progress.mark.as_ref() != Some(&mark) || !touched.is_empty();
        self.progress.mark = Some(mark);
        let progress = moved.then(|| (PROGRESS.to_owned(), to_json(&self.progress).into_bytes()));
        let segments = touched.iter().map(|(number, at)| (format!("{SEGMENT}{number:06}"), to_json(at).into_bytes()));
        let pieces = pieces.iter().map(|p| (format!("{PIECE}{:06}", p.number), to_json(p).into_bytes()));
        progress.into_iter().chain(segments).chain(pieces).collect()
    }

    /// Refuses to call a backup done whose counts don't add up, whatever the reason: better a backup too many than an
    /// item too few.
    pub fn adds_up(&self, begun: &Begun) -> Result<(), JobError> {
        let scanned: u64 = self.segments.values().map(|at| at.items).sum();
        let unread = self.unread(begun.segments).len();
        let (written, rows) = (self.progress.counters.written, self.progress.mark().map_or(0, |mark| mark.rows));
        if unread == 0 && scanned == written && scanned == rows {
            return Ok(());
        }
        Err(JobError::Unfit(format!(
            "the service counted {scanned} items, {written} are accounted for and {rows} stored, {unread} segments are not read: \
             this is a fault of sluice's, please report it; start the backup anew"
        )))
    }
}

impl Begun {
    pub async fn new(session: &Session<'_>, spec: &BackupSpec, table: &Table) -> Result<Self, JobError> {
        let created = Timestamp::from_millisecond(session.job.created_ms).unwrap_or_else(|_| Timestamp::now());
        let at = Zoned::new(created, TimeZone::system());
        // A resume may have another working directory.
        let to = if spec.to.starts_with("s3://") {
            spec.to.clone()
        } else {
            std::path::absolute(&spec.to)?.to_string_lossy().into_owned()
        };
        let to = Destination::resolve(&to, &spec.table, spec.format, spec.gzip, &at, &session.job.id.0)?;
        let (table_arn, table_id) = identity(session, &spec.table).await?;
        Ok(Self {
            to,
            segments: spec.segments.unwrap_or_else(|| default_segments(table.bytes)).max(1),
            consistent: !spec.eventually_consistent,
            started: Timestamp::now(),
            table_arn,
            table_id,
        })
    }

    /// Itself, unless the table is another one of the same name by now.
    pub async fn fits(self, session: &Session<'_>, spec: &BackupSpec) -> Result<Self, JobError> {
        let (_, id) = identity(session, &spec.table).await?;
        if id == self.table_id {
            return Ok(self);
        }
        Err(JobError::Unfit(format!(
            "table {} was deleted and made again since this backup began: start a new one",
            spec.table
        )))
    }
}

/// The table's ARN and ID.
async fn identity(session: &Session<'_>, table: &str) -> Result<(String, String), JobError> {
    let described = session.cloud.dynamodb.describe_table().table_name(table).send().await;
    let described = described.map_err(|e| CloudError::of(&format!("describe table {table}"), &e))?.table;
    let described = described.map(|table| (table.table_arn, table.table_id));
    let (arn, id) = described.unwrap_or_default();
    Ok((arn.unwrap_or_default(), id.unwrap_or_default()))
}
