//! One piece of a backup, read and checked in a task of its own.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::backup::{BackupError, Change, Format, Input, Location, Piece, Place, Reader, Record};
use crate::flow::Stopwatch;
use crate::item::{Checked, Checker, Key, Refusal, Shape, Shaped};

/// Checked chunks that wait, for each strand; a chunk is 256 KiB of text, or one line that is longer.
const CHUNKS_AHEAD: usize = 2;

/// What is to be done with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// The item is put.
    Put(Checked),
    /// What the key names is deleted.
    Delete(Key),
    /// An option leaves it out.
    LeaveOut,
    /// It can never be put: why, and the line as it stands there.
    Refuse(String, Bytes),
}

/// A record, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub intent: Intent,
    /// Its line, counted from 1 in its piece.
    pub line: u64,
    /// Where it begins in the decompressed text, bytes.
    pub offset: u64,
    /// Its length there, bytes.
    pub bytes: u32,
    /// Where the next record begins.
    pub next: Place,
}

/// How records are taken: the same for all pieces of a stage.
pub(super) struct Taking {
    pub checker: Checker,
    pub shape: Shape,
    /// Forced format of the files.
    pub format: Option<Format>,
    pub s3: Option<aws_sdk_s3::Client>,
    /// A file whose compressed text is damaged ends there; otherwise the job does.
    pub keep_going: bool,
    /// As many pieces are checked at the same time.
    pub producers: Semaphore,
    /// Time that goes into that.
    pub checking: Arc<Stopwatch>,
}

impl Taken {
    /// A digest of a block's records up to this one of `piece`, from that of those before it.
    pub fn digest(&self, piece: usize, before: u64) -> u64 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(piece as u64).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..].copy_from_slice(&self.intent.key().map_or(0, |key| key.hash).to_le_bytes());
        xxh3_64_with_seed(&bytes, before)
    }
}

impl Intent {
    /// The key that it acts on.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Put(item) => Some(&item.key),
            Self::Delete(key) => Some(key),
            Self::LeaveOut | Self::Refuse(..) => None,
        }
    }

    /// True when both act on one key.
    pub fn has_key_of(&self, other: &Self) -> bool {
        self.key().is_some_and(|key| other.key().is_some_and(|other| key.hash == other.hash))
    }
}

impl Taking {
    /// What is to be done with `record`. In an increment, what is left out is deleted: its older version is no longer
    /// what the backup holds.
    pub fn intent(&self, record: &Record, increment: bool) -> Intent {
        let refuse = |refusal: Refusal| Intent::Refuse(refusal.to_string(), Bytes::copy_from_slice(&record.raw));
        let json = match &record.json {
            Ok(json) => json.clone(),
            Err(refusal) => return refuse(refusal.clone()),
        };
        let key = |json| self.shape.key(json).and_then(|key| self.checker.check(key)).map(|checked| checked.key);
        match record.change {
            Change::Delete => key(json).map_or_else(refuse, Intent::Delete),
            Change::Put => match self.shape.apply(json.clone()) {
                Ok(Shaped::Item(item)) => self.checker.check(item).map_or_else(refuse, Intent::Put),
                Ok(Shaped::Skipped) if increment => key(json).map_or_else(refuse, Intent::Delete),
                Ok(Shaped::Skipped) => Intent::LeaveOut,
                Err(refusal) => refuse(refusal),
            },
        }
    }
}

/// A chunk of checked records.
struct Chunk {
    taken: Vec<Taken>,
    /// Bytes of the file, as it is stored, that were read by then.
    stored: u64,
}

/// What a strand's task says.
enum Said {
    Chunk(Chunk),
    /// The text is damaged from here on, and the job goes on without the rest.
    Damaged(BackupError),
    End,
}

/// The records of one piece, from a place in it on.
pub(super) struct Strand {
    chunks: mpsc::Receiver<Result<Said, BackupError>>,
    current: std::vec::IntoIter<Taken>,
    stored: u64,
    damaged: Option<BackupError>,
    input: Input,
}

impl Strand {
    /// Starts to read `piece` from `from` on.
    pub fn start(taking: Arc<Taking>, piece: Piece, increment: bool, from: Place) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let input = piece.input.clone();
        tokio::spawn(async move {
            let unheard = sender.clone();
            let reading = async {
                let said = match read(&taking, &piece, increment, from, &sender).await {
                    Ok(()) => Ok(Said::End),
                    Err(error) if taking.keep_going && is_damaged(&error) => Ok(Said::Damaged(error)),
                    Err(error) => Err(error),
                };
                // Nobody listens any more when the job ends.
                let _ = sender.send(said).await;
            };
            tokio::select! {
                () = reading => {}
                () = unheard.closed() => {}
            }
        });
        Self { chunks, current: Vec::new().into_iter(), stored: 0, damaged: None, input }
    }

    /// The next record; `None` at the end of the piece.
    pub async fn next(&mut self) -> Result<Option<Taken>, BackupError> {
        loop {
            if let Some(taken) = self.current.next() {
                return Ok(Some(taken));
            }
            match self.chunks.recv().await.transpose()? {
                Some(Said::Chunk(chunk)) => {
                    self.stored = chunk.stored;
                    self.current = chunk.taken.into_iter();
                }
                Some(Said::Damaged(error)) => {
                    self.damaged = Some(error);
                    return Ok(None);
                }
                Some(Said::End) => return Ok(None),
                // An end that is not said is none: half a file must not pass for a whole one.
                None => return Err(stopped(Some(&self.input))),
            }
        }
    }

    /// Bytes of its file, as it is stored, that were read by now.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// What ended the piece before its end.
    pub fn damaged(&mut self) -> Option<BackupError> {
        self.damaged.take()
    }
}

/// A reader that ended without a word.
pub(super) fn stopped(input: Option<&Input>) -> BackupError {
    let location = input.map_or(Location::Stdin, |input| input.location.clone());
    BackupError::Open { location, cause: std::io::Error::other("its reader stopped") }
}

/// True when reading it again will not help.
fn is_damaged(error: &BackupError) -> bool {
    matches!(error, BackupError::Unreadable { compressed: true, cause, .. }
        if matches!(cause.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput | std::io::ErrorKind::UnexpectedEof))
}

async fn read(
    taking: &Taking,
    piece: &Piece,
    increment: bool,
    from: Place,
    chunks: &mpsc::Sender<Result<Said, BackupError>>,
) -> Result<(), BackupError> {
    let is_read = piece.to.is_some_and(|to| from.offset >= to) && from != Place::at(piece.from);
    if is_read {
        return Ok(());
    }
    unchanged(piece)?;
    let mut reader = Reader::open_piece(piece, taking.s3.as_ref(), taking.format, from).await?;
    loop {
        let records = reader.next_batch(usize::MAX).await?;
        if records.is_empty() {
            return unchanged(piece);
        }
        let Ok(turn) = taking.producers.acquire().await else { return Ok(()) };
        let busy = taking.checking.enter();
        let starts = records.iter().skip(1).map(|record| Place { line: record.line, offset: record.offset });
        let nexts: Vec<Place> = starts.chain([reader.place()]).collect();
        let taken = records
            .into_iter()
            .zip(nexts)
            .map(|(record, next)| Taken {
                intent: taking.intent(&record, increment),
                line: record.line,
                offset: record.offset,
                bytes: record.raw.len() as u32,
                next,
            })
            .collect();
        drop((busy, turn));
        if chunks.send(Ok(Said::Chunk(Chunk { taken, stored: reader.stored_bytes_read() }))).await.is_err() {
            return Ok(());
        }
    }
}

/// Refuses a file that grows or shrinks while it is read: half of it would be restored, and a resume would lose its place.
fn unchanged(piece: &Piece) -> Result<(), BackupError> {
    let (Location::File(path), Some(bytes)) = (&piece.input.location, piece.input.bytes) else { return Ok(()) };
    match std::fs::metadata(path) {
        Ok(about) if about.len() == bytes => Ok(()),
        Ok(about) => {
            Err(BackupError::Changed { location: piece.input.location.clone(), then: bytes, now: about.len() })
        }
        Err(cause) => Err(BackupError::Open { location: piece.input.location.clone(), cause }),
    }
}
