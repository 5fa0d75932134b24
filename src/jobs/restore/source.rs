//! The reading end of a restore: blocks of records, each record with the place that it came from.
//!
//! ```text
//!   pieces ──> strands, each a task: read, decompress, check ──> a block: the strands' shares,    ──> the job
//!   p7 p3 …    [p0 ▸▸    ] [p4 ▸      ] [p8 ▸▸▸  ]                sorted by a seeded hash of key
//! ```
//!
//! What a block holds, and in which order, follows from where its strands stand when it begins, from the reading and from
//! the files alone. So a checkpoint is small and exact: the beginning of a block, and how many of its records are done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::block::{Block, Blocks, Made};
use super::reading::{Reading, StageReading};
use super::strand::{Intent, Taken, Taking};
use crate::backup::{BackupError, Place};
use crate::flow::{Letter, Position};

/// Where a strand stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub piece: usize,
    pub place: Place,
}

impl Cursor {
    /// At the first byte of `piece`.
    pub fn at_start(stage: &StageReading, piece: usize) -> Self {
        Self { piece, place: Place::at(stage.cuts[piece].1) }
    }
}

/// The beginning of a block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    pub stage: usize,
    pub strands: Vec<Cursor>,
    /// The first piece of the stage that no strand has begun.
    pub next: usize,
    /// Number of its first record within the job, from 0.
    pub ordinal: u64,
    /// Pieces so far whose text was damaged, and that were left there.
    pub damaged: u64,
}

impl Start {
    /// The beginning of `stage`, which may be one past the last.
    pub fn of_stage(reading: &Reading, stage: usize, ordinal: u64, damaged: u64) -> Self {
        let pieces = reading.stages.get(stage).map_or(0, |stage| stage.cuts.len());
        let next = reading.strands.max(1).min(pieces);
        let strands = (0..next).map(|piece| Cursor::at_start(&reading.stages[stage], piece)).collect();
        Self { stage, strands, next, ordinal, damaged }
    }
}

/// How far a restore has read, as its checkpoint stores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub start: Arc<Start>,
    /// Records of the block that are done.
    pub done: usize,
    /// A digest of them, to know the block again by.
    pub digest: u64,
    /// The last of them, for words: its piece and its first byte.
    pub last: (usize, u64),
}

impl Mark {
    /// Number of the next record within the job, from 0.
    pub fn ordinal(&self) -> u64 {
        self.start.ordinal + self.done as u64
    }
}

/// Where one record came from.
#[derive(Clone, Debug)]
pub(super) struct RecordPosition {
    source: Arc<str>,
    start: Arc<Start>,
    /// Its place in the block, from 0.
    index: usize,
    /// Of the block up to here.
    digest: u64,
    piece: usize,
    line: Option<u64>,
    offset: u64,
    bytes: u32,
}

impl RecordPosition {
    /// Its number within the job, from 0.
    pub fn number(&self) -> u64 {
        self.start.ordinal + self.index as u64
    }

    /// Where to go on after it.
    pub fn mark(&self) -> Mark {
        Mark {
            start: Arc::clone(&self.start),
            done: self.index + 1,
            digest: self.digest,
            last: (self.piece, self.offset),
        }
    }
}

impl Position for RecordPosition {
    fn letter(&self, reason: String, payload: Bytes) -> Letter {
        Letter {
            source: self.source.to_string(),
            line: self.line,
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

/// What comes next of a source.
pub(super) enum Next {
    /// Records.
    Records(Vec<(Intent, RecordPosition)>),
    /// Everything until here must be in the table before what follows.
    StageEnds,
    /// Nothing more.
    End,
}

/// How much of the source was read: enough to foretell how many records it holds.
#[derive(Debug, Default)]
pub(super) struct SourceProgress {
    /// Items as manifests count them; 0 when they don't.
    counted: AtomicU64,
    /// Bytes of all pieces as they are stored; 0 when some size is not known.
    all_bytes: AtomicU64,
    read_bytes: AtomicU64,
    records: AtomicU64,
    damaged: AtomicU64,
    finished: AtomicBool,
    twice: AtomicBool,
    notes: Mutex<Vec<String>>,
}

impl SourceProgress {
    /// Records that the source holds: exact from a manifest and once it is read, else foretold from the size of those
    /// read so far.
    pub fn total(&self) -> Option<u64> {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let records = of(&self.records);
        if self.finished.load(Ordering::Relaxed) {
            return Some(records);
        }
        let counted = of(&self.counted);
        if counted > 0 {
            return Some(counted);
        }
        let (all, read) = (of(&self.all_bytes), of(&self.read_bytes));
        (all > 0 && read > 0 && read <= all).then(|| (records as f64 * all as f64 / read as f64).round() as u64)
    }

    /// Pieces that were left where their text was damaged.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// True when a key was met twice.
    pub fn has_twice(&self) -> bool {
        self.twice.load(Ordering::Relaxed)
    }

    /// Notes that a key was met twice.
    pub fn found_twice(&self) {
        self.twice.store(true, Ordering::Relaxed);
    }

    /// What was noticed since the last time, for the job's log.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything before `start` was read, `bytes` as it is stored.
    pub fn read(&self, start: &Start, bytes: u64) {
        self.records.store(start.ordinal, Ordering::Relaxed);
        self.damaged.store(start.damaged, Ordering::Relaxed);
        self.read_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes something that an operator must know.
    pub fn warn(&self, words: String) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(words);
    }
}

/// The files of a restore, as blocks that a task of its own makes.
pub(super) struct Source {
    reading: Arc<Reading>,
    made: mpsc::Receiver<Result<Made, BackupError>>,
    block: Option<Block>,
    /// How to show files in letters, for the stage that is read.
    names: (usize, Vec<Arc<str>>),
    progress: Arc<SourceProgress>,
}

impl Source {
    /// The source of a restore, from `mark` on.
    pub fn open(reading: Arc<Reading>, taking: Taking, mark: Option<Mark>) -> Self {
        let progress = Arc::new(SourceProgress::default());
        progress.counted.store(reading.items().unwrap_or(0), Ordering::Relaxed);
        progress.all_bytes.store(reading.bytes().unwrap_or(0), Ordering::Relaxed);
        // One block is written while the next is made.
        let (sender, made) = mpsc::channel(1);
        let blocks = Blocks::new(Arc::clone(&reading), Arc::new(taking), Arc::clone(&progress));
        tokio::spawn(async move {
            let unheard = sender.clone();
            tokio::select! {
                () = blocks.run(mark, &sender) => {}
                // The job ends: nobody takes the blocks any more.
                () = unheard.closed() => {}
            }
        });
        Self { reading, made, block: None, names: (usize::MAX, Vec::new()), progress }
    }

    /// How much was read.
    pub fn progress(&self) -> Arc<SourceProgress> {
        Arc::clone(&self.progress)
    }

    /// What comes next; at most `most` records.
    pub async fn next(&mut self, most: usize) -> Result<Next, BackupError> {
        loop {
            if let Some(block) = self.block.as_mut().filter(|block| block.records.len() > 0) {
                let stage = &self.reading.stages[block.start.stage];
                if self.names.0 != block.start.stage {
                    let names = stage.inputs.iter().map(|input| Arc::from(input.location.to_string()));
                    self.names = (block.start.stage, names.collect());
                }
                return Ok(Next::Records(block.take(most, stage, &self.names.1)));
            }
            match self.made.recv().await.transpose()? {
                Some(Made::Block(block)) => self.block = Some(block),
                Some(Made::StageEnds) => return Ok(Next::StageEnds),
                Some(Made::End) => {
                    self.progress.finished.store(true, Ordering::Relaxed);
                    return Ok(Next::End);
                }
                // An end that is not said is none: half a backup must not pass for a whole one.
                None => return Err(super::strand::stopped(self.reading.stages.iter().flat_map(|s| &s.inputs).next())),
            }
        }
    }
}

impl Block {
    /// Its next records, at most `most`, with their positions.
    fn take(&mut self, most: usize, stage: &StageReading, names: &[Arc<str>]) -> Vec<(Intent, RecordPosition)> {
        let Self { start, done, digest, records } = self;
        let with_position = |(piece, taken): (usize, Taken)| {
            let cut = stage.cuts[piece];
            *digest = taken.digest(piece, *digest);
            let position = RecordPosition {
                source: Arc::clone(&names[cut.0]),
                start: Arc::clone(start),
                index: *done,
                digest: *digest,
                piece,
                // Lines are counted in the piece: only of a file's first one are they the file's.
                line: (cut.1 == 0).then_some(taken.line),
                offset: taken.offset,
                bytes: taken.bytes,
            };
            *done += 1;
            (taken.intent, position)
        };
        records.by_ref().take(most).map(with_position).collect()
    }
}
