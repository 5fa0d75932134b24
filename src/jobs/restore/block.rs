//! Makes blocks: what the strands have next, shuffled by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::reading::{Reading, StageReading};
use super::source::{Cursor, Mark, SourceProgress, Start};
use super::strand::{Strand, Taken, Taking};
use crate::backup::BackupError;

/// What a record takes of the window beside its text, bytes: its key, its place, and the bookkeeping of both.
const BESIDE: u64 = 256;

/// A block where nothing is shuffled, bytes: as much is read again after a crash.
const UNSHUFFLED: u64 = 256 << 10;

/// Pieces that are opened before their turn, so that a strand does not wait for the first bytes of many small files.
const OPENED_AHEAD: usize = 2;

/// Records that were read together, in the order in which they are written.
pub(super) struct Block {
    pub start: Arc<Start>,
    /// How many of them are done, and not in `records` any more.
    pub done: usize,
    /// Of those that are done.
    pub digest: u64,
    /// Each with its piece.
    pub records: std::vec::IntoIter<(usize, Taken)>,
}

/// What comes next of a source.
pub(super) enum Made {
    Block(Block),
    /// Everything until here must be in the table before what follows.
    StageEnds,
    End,
}

/// Makes the blocks of a reading, one after the other.
pub(super) struct Blocks {
    reading: Arc<Reading>,
    taking: Arc<Taking>,
    progress: Arc<SourceProgress>,
    /// Pieces that are open: those of the strands, and some whose turn is next.
    open: BTreeMap<usize, Strand>,
    /// Stored bytes of pieces that were read to their end.
    ended_bytes: u64,
    warned: bool,
}

impl Blocks {
    pub fn new(reading: Arc<Reading>, taking: Arc<Taking>, progress: Arc<SourceProgress>) -> Self {
        Self { reading, taking, progress, open: BTreeMap::new(), ended_bytes: 0, warned: false }
    }

    /// Sends everything from `mark` on, or the error that reading stopped with.
    pub async fn run(mut self, mark: Option<Mark>, made: &mpsc::Sender<Result<Made, BackupError>>) {
        let ended = self.make(mark, made).await;
        // Nobody listens any more when the job ends.
        let _ = made.send(ended.map(|()| Made::End)).await;
    }

    async fn make(
        &mut self,
        mark: Option<Mark>,
        made: &mpsc::Sender<Result<Made, BackupError>>,
    ) -> Result<(), BackupError> {
        let reading = Arc::clone(&self.reading);
        let mut start = match &mark {
            Some(mark) => mark.start.as_ref().clone(),
            None => Start::of_stage(&reading, 0, 0, 0),
        };
        let mut resumed = mark;
        self.ended_bytes = read_before(&reading, &start);
        while start.stage < reading.stages.len() {
            // A block is made only when there is room for it: one is written while the next one waits.
            let Ok(room) = made.reserve().await else { return Ok(()) };
            let begins = Arc::new(start.clone());
            let mut records = self.block(&mut start).await?;
            let (done, digest) = match resumed.take() {
                Some(mark) => {
                    same_as(&mark, &records, &reading)?;
                    records.drain(..mark.done);
                    (mark.done, mark.digest)
                }
                None => (0, 0),
            };
            let ends = start.strands.is_empty();
            if done > 0 || !records.is_empty() {
                let block = Block { start: begins, done, digest, records: records.into_iter() };
                room.send(Ok(Made::Block(block)));
            } else {
                // An empty block needs no room; kept, it would be waited for by the end of the stage for ever.
                drop(room);
            }
            if ends {
                start = Start::of_stage(&reading, start.stage + 1, start.ordinal, start.damaged);
                self.open.clear();
                if start.stage < reading.stages.len() && made.send(Ok(Made::StageEnds)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The block that begins at `start`, which becomes the beginning of the next one.
    async fn block(&mut self, start: &mut Start) -> Result<Vec<(usize, Taken)>, BackupError> {
        let reading = Arc::clone(&self.reading);
        let stage = &reading.stages[start.stage];
        self.open_ahead(start, stage);
        let window = if reading.window == 0 { UNSHUFFLED } else { reading.window };
        let share = window / (start.strands.len() as u64).max(1);
        let mut records = Vec::new();
        let mut standing = Vec::with_capacity(start.strands.len());
        for mut cursor in std::mem::take(&mut start.strands) {
            let mut weight = 0;
            let more = loop {
                if weight > share {
                    break true;
                }
                let strand = self.open.entry(cursor.piece).or_insert_with(|| {
                    let piece = stage.piece(cursor.piece);
                    Strand::start(Arc::clone(&self.taking), piece, stage.increment, cursor.place)
                });
                if let Some(taken) = strand.next().await? {
                    weight += u64::from(taken.bytes) + BESIDE;
                    cursor.place = taken.next;
                    records.push((cursor.piece, taken));
                    continue;
                }
                if let Some(error) = strand.damaged() {
                    start.damaged += 1;
                    self.progress.warn(match error {
                        BackupError::Unreadable { location, byte, cause, .. } => {
                            format!(
                                "left out the rest of {location}, from byte {byte} of its decompressed text on: {cause}"
                            )
                        }
                        error => format!("left out the rest of a file: {error}"),
                    });
                }
                self.open.remove(&cursor.piece);
                self.ended_bytes += stage.stored(cursor.piece).unwrap_or(0);
                if start.next == stage.cuts.len() {
                    break false;
                }
                cursor = Cursor::at_start(stage, start.next);
                start.next += 1;
            };
            if more {
                standing.push(cursor);
            }
        }
        start.strands = standing;
        start.ordinal += records.len() as u64;
        self.progress.read(start, self.ended_bytes + self.open_bytes(start));
        if reading.window > 0 {
            self.shuffle(&mut records);
        }
        Ok(records)
    }

    /// Opens the pieces that this block begins with, and the next ones, so that they are read beside each other.
    fn open_ahead(&mut self, start: &Start, stage: &StageReading) {
        let last = (start.next + OPENED_AHEAD).min(stage.cuts.len());
        let ahead = (start.next..last).map(|piece| Cursor::at_start(stage, piece));
        for cursor in start.strands.iter().copied().chain(ahead) {
            self.open.entry(cursor.piece).or_insert_with(|| {
                Strand::start(Arc::clone(&self.taking), stage.piece(cursor.piece), stage.increment, cursor.place)
            });
        }
    }

    /// Stored bytes that were read of the pieces that strands stand in.
    fn open_bytes(&self, start: &Start) -> u64 {
        let stage = &self.reading.stages[start.stage];
        let read = |cursor: &Cursor| {
            let stored = self.open.get(&cursor.piece).map_or(0, Strand::stored);
            // Of a compressed file the stored bytes are the fewer; of a plain one they run ahead of the records.
            stored.min(cursor.place.offset.saturating_sub(stage.cuts[cursor.piece].1))
        };
        start.strands.iter().map(read).sum()
    }

    /// Sorts records by a seeded hash of their key: random to the table, while all of one key keep their order. What has
    /// none comes first, so that dead letters are in the order of their lines.
    fn shuffle(&mut self, records: &mut [(usize, Taken)]) {
        let seed = self.reading.seed;
        records.sort_by_cached_key(|(_, taken)| {
            taken.intent.key().map(|key| xxh3_64_with_seed(&key.hash.to_le_bytes(), seed))
        });
        if !self.warned
            && let Some([(_, one), (_, other)]) =
                records.array_windows().find(|[(_, one), (_, other)]| one.intent.has_key_of(&other.intent))
        {
            self.warned = true;
            self.progress.found_twice();
            self.progress.warn(format!(
                "the backup holds a key more than once (lines at bytes {} and {}): with a shuffle the last of them need not \
                 be the one that is in the table at the end. Restore with --shuffle 0 to be sure of it",
                one.offset, other.offset
            ));
        }
    }
}

/// Refuses to go on in a block that is not the one that the mark was made in.
fn same_as(mark: &Mark, records: &[(usize, Taken)], reading: &Reading) -> Result<(), BackupError> {
    let stage = &reading.stages[mark.start.stage];
    let (piece, offset) = mark.last;
    let done = records.iter().take(mark.done);
    let digest = done.fold(0, |digest, (piece, taken)| taken.digest(*piece, digest));
    if records.len() >= mark.done && digest == mark.digest {
        return Ok(());
    }
    Err(BackupError::Another { location: stage.piece(piece).input.location, byte: offset })
}

/// Stored bytes of the pieces that were read before `start`.
fn read_before(reading: &Reading, start: &Start) -> u64 {
    let of = |stage: usize, piece: usize| reading.stages[stage].stored(piece).unwrap_or(0);
    let stages = (0..start.stage).flat_map(|stage| (0..reading.stages[stage].cuts.len()).map(move |n| (stage, n)));
    let ended = (0..start.next)
        .filter(|piece| start.strands.iter().all(|cursor| cursor.piece != *piece))
        .map(|piece| (start.stage, piece));
    stages.chain(ended).map(|(stage, piece)| of(stage, piece)).sum()
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;
