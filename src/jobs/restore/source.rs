//! The reading end of a restore: records of its files in order, each with the place that it came from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::backup::{BackupError, Format, Input, Location, Place, Reader, Record, expand};
use crate::flow::{Letter, Position};

/// How far a restore has read, as its checkpoint stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Which of the inputs, from 0.
    pub input: usize,
    /// Where the next record begins in it.
    pub place: Place,
    /// Number of the next record within the job, from 0.
    pub ordinal: u64,
}

/// Where one record came from.
#[derive(Clone, Debug)]
pub(super) struct RecordPosition {
    source: Arc<str>,
    line: u64,
    offset: u64,
    bytes: u32,
    /// Its number within the job, from 0.
    pub ordinal: u64,
    /// Where to go on after it.
    pub next: Mark,
}

impl Position for RecordPosition {
    fn letter(&self, reason: String, payload: Bytes) -> Letter {
        Letter {
            source: self.source.to_string(),
            line: Some(self.line),
            offset: Some(self.offset),
            shard: None,
            sequence: None,
            reason,
            payload,
        }
    }

    fn bytes(&self) -> u64 {
        u64::from(self.bytes)
    }
}

/// The files of a restore, read one after the other.
pub(super) struct Source {
    inputs: Vec<Input>,
    format: Option<Format>,
    s3: aws_sdk_s3::Client,
    mark: Mark,
    open: Option<(Reader, Arc<str>)>,
    progress: Arc<SourceProgress>,
}

/// How much of the source was read: enough to foretell how many records it holds.
#[derive(Debug, Default)]
pub(super) struct SourceProgress {
    /// Bytes of all inputs as they are stored; 0 when some size is not known.
    all_bytes: AtomicU64,
    read_bytes: AtomicU64,
    records: AtomicU64,
    finished: AtomicBool,
}

impl SourceProgress {
    /// Records that the source holds: exact once it is read, else foretold from the size of those read so far.
    pub fn total(&self) -> Option<u64> {
        let records = self.records.load(Ordering::Relaxed);
        if self.finished.load(Ordering::Relaxed) {
            return Some(records);
        }
        let (all, read) = (self.all_bytes.load(Ordering::Relaxed), self.read_bytes.load(Ordering::Relaxed));
        (all > 0 && read > 0 && read <= all).then(|| (records as f64 * all as f64 / read as f64).round() as u64)
    }
}

impl Source {
    /// The source of a restore, from `mark` on.
    pub async fn open(
        sources: &[String],
        format: Option<Format>,
        s3: &aws_sdk_s3::Client,
        mark: Mark,
    ) -> Result<Self, BackupError> {
        let locations = sources.iter().map(|source| source.parse()).collect::<Result<Vec<Location>, _>>()?;
        let inputs = expand(&locations, Some(s3)).await?;
        let progress = SourceProgress::default();
        progress.all_bytes.store(inputs.iter().map(|i| i.bytes).sum::<Option<u64>>().unwrap_or(0), Ordering::Relaxed);
        progress.records.store(mark.ordinal, Ordering::Relaxed);
        let before: u64 = inputs.iter().take(mark.input).filter_map(|i| i.bytes).sum();
        progress.read_bytes.store(before + mark.place.offset, Ordering::Relaxed);
        Ok(Self { inputs, format, s3: s3.clone(), mark, open: None, progress: Arc::new(progress) })
    }

    /// How much was read.
    pub fn progress(&self) -> Arc<SourceProgress> {
        Arc::clone(&self.progress)
    }

    /// The next records with their positions, at most `most`; none at the end.
    pub async fn next_batch(&mut self, most: usize) -> Result<Vec<(Record, RecordPosition)>, BackupError> {
        loop {
            let Some(input) = self.inputs.get(self.mark.input) else {
                self.progress.finished.store(true, Ordering::Relaxed);
                return Ok(Vec::new());
            };
            let (reader, name) = if let Some(open) = &mut self.open {
                open
            } else {
                let reader = Reader::open(input, Some(&self.s3), self.format, self.mark.place).await?;
                self.open.insert((reader, Arc::from(input.location.to_string())))
            };
            let records = reader.next_batch(most).await?;
            if records.is_empty() {
                self.open = None;
                self.mark = Mark { input: self.mark.input + 1, place: Place::default(), ordinal: self.mark.ordinal };
                continue;
            }
            let after = reader.place();
            let ends = records.iter().skip(1).map(|r| Place { line: r.line, offset: r.offset }).chain([after]);
            let ends: Vec<Place> = ends.collect();
            let batch: Vec<_> = records
                .into_iter()
                .zip(ends)
                .map(|(record, place)| {
                    let ordinal = self.mark.ordinal;
                    self.mark = Mark { input: self.mark.input, place, ordinal: self.mark.ordinal + 1 };
                    let position = RecordPosition {
                        source: Arc::clone(name),
                        line: record.line,
                        offset: record.offset,
                        bytes: record.raw.len() as u32,
                        ordinal,
                        next: self.mark,
                    };
                    (record, position)
                })
                .collect();
            let before: u64 = self.inputs.iter().take(self.mark.input).filter_map(|i| i.bytes).sum();
            // Of a compressed file the stored bytes are the fewer; of a plain one they run ahead of the records.
            let read = after.offset.min(reader.stored_bytes_read());
            self.progress.read_bytes.store(before + read, Ordering::Relaxed);
            self.progress.records.store(self.mark.ordinal, Ordering::Relaxed);
            return Ok(batch);
        }
    }
}
