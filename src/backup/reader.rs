//! Reading a backup record by record, from any place in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::error::BackupError;
use super::expand::Input;
use super::format::{Format, detect};
use super::lines::{Batch, Span, Splitter};
use super::piece::Piece;
use super::source;
use crate::item::Refusal;

/// How many batches of lines wait for the caller.
const BATCHES_AHEAD: usize = 4;

/// A line of a backup that a reader can start at. What a checkpoint stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The line, counted from 1.
    pub line: u64,
    /// Where it begins in the decompressed text, bytes.
    pub offset: u64,
}

impl Place {
    /// Line 1 of what begins at `offset`.
    pub fn at(offset: u64) -> Self {
        Self { line: 1, offset }
    }
}

impl Default for Place {
    /// The start.
    fn default() -> Self {
        Self { line: 1, offset: 0 }
    }
}

/// What a line of a backup does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// It is an item that is put.
    #[default]
    Put,
    /// It is a key that is deleted (incremental exports).
    Delete,
}

/// A line of a backup. Its bytes share memory with its neighbours of the same chunk (about 256 KiB): copy what is to be
/// kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line, counted from 1.
    pub line: u64,
    /// Where it begins in the decompressed text, bytes.
    pub offset: u64,
    /// What it does.
    pub change: Change,
    /// The item's JSON, or the key's of a delete, not checked yet; or why there is none.
    pub json: Result<Bytes, Refusal>,
    /// The line as it stands there, without its ending. Of a line that is too long only the first 4 KiB.
    pub raw: Bytes,
}

/// Reads one input. A thread of its own reads, decompresses and splits; it ends when the reader is dropped.
#[derive(Debug)]
pub struct Reader {
    batches: mpsc::Receiver<Result<Batch, BackupError>>,
    current: std::vec::IntoIter<(Record, Place)>,
    place: Place,
    format: Format,
    passed: Arc<AtomicU64>,
}

impl Reader {
    /// Opens `input` at `from`. Without `format` it is detected from the first lines.
    ///
    /// A plain file is sought (S3: a ranged request); a compressed one and standard input are read again up to there.
    /// No more is read than [`Input::bytes`]: what is appended to a file later is not part of the backup.
    ///
    /// # Errors
    /// It is missing, unreadable, of unknown format, ends before `from`, or has not the size that it had.
    pub async fn open(
        input: &Input,
        s3: Option<&aws_sdk_s3::Client>,
        format: Option<Format>,
        from: Place,
    ) -> Result<Self, BackupError> {
        Self::open_span(input, s3, format, Span { from, in_line: false, to: None }).await
    }

    /// Opens a piece of a file at `from`, which begins in it ([`Place::at`] its first byte to begin with). Ends after the
    /// last line that begins in the piece, wherever that line ends. A line that goes on into the piece is not its.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub async fn open_piece(
        piece: &Piece,
        s3: Option<&aws_sdk_s3::Client>,
        format: Option<Format>,
        from: Place,
    ) -> Result<Self, BackupError> {
        // Behind the first byte `from` is where an earlier reader stopped, and that is where a line begins.
        let in_line = piece.from > 0 && from.offset <= piece.from;
        let from = if in_line { Place::at(piece.from) } else { from };
        Self::open_span(&piece.input, s3, format, Span { from, in_line, to: piece.to }).await
    }

    async fn open_span(
        input: &Input,
        s3: Option<&aws_sdk_s3::Client>,
        format: Option<Format>,
        span: Span,
    ) -> Result<Self, BackupError> {
        let location = input.location.clone();
        let first = span.first_byte();
        let source = source::open(input, s3, first, span.to, format.is_some()).await?;
        let (batches, received) = mpsc::channel(BATCHES_AHEAD);
        let passed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&passed);
        let (opened, ready) = tokio::sync::oneshot::channel();
        // Not spawn_blocking: a read of standard input may never return, and the runtime would wait for it at exit.
        std::thread::Builder::new()
            .name("backup".into())
            .spawn(move || {
                let start = || {
                    let source = source.start(&location, first, &counted)?;
                    let format = format.map_or_else(|| detect(&location, &source.head), Ok)?;
                    let splitter = Splitter::new(location, source, format, span)?;
                    Ok((format, splitter))
                };
                match start() {
                    Ok((format, splitter)) => {
                        if opened.send(Ok(format)).is_ok() {
                            splitter.run(&batches);
                        }
                    }
                    Err(error) => {
                        // Nobody waits any more when the caller was cancelled.
                        let _ = opened.send(Err(error));
                    }
                }
            })
            .map_err(|cause| BackupError::Open { location: input.location.clone(), cause })?;
        let format = ready.await.unwrap_or_else(|_| {
            let cause = std::io::Error::other("its reader stopped");
            Err(BackupError::Open { location: input.location.clone(), cause })
        })?;
        Ok(Self { batches: received, current: Vec::new().into_iter(), place: span.from, format, passed })
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// Reading stopped half way. All records before that came already, and [`Reader::place`] is where to go on.
    pub async fn next(&mut self) -> Result<Option<Record>, BackupError> {
        loop {
            if let Some((record, next)) = self.current.next() {
                self.place = next;
                return Ok(Some(record));
            }
            if !self.refill().await? {
                return Ok(None);
            }
        }
    }

    /// The next records, at least one and at most `max`; none at the end. Waits for the first only.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Record>, BackupError> {
        while self.current.len() == 0 {
            if !self.refill().await? {
                return Ok(Vec::new());
            }
        }
        let mut records = Vec::with_capacity(max.min(self.current.len()));
        for (record, next) in self.current.by_ref().take(max) {
            self.place = next;
            records.push(record);
        }
        Ok(records)
    }

    async fn refill(&mut self) -> Result<bool, BackupError> {
        match self.batches.recv().await.transpose()? {
            Some(batch) => {
                self.current = batch.into_iter();
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Where the next record begins: opening there goes on exactly after what [`Reader::next`] gave last.
    pub fn place(&self) -> Place {
        self.place
    }

    /// How far into the file as it is stored (compressed, perhaps) reading has come, bytes. It runs ahead of the records
    /// by what is in flight, a few hundred KiB: good for a progress bar, not for a checkpoint.
    pub fn stored_bytes_read(&self) -> u64 {
        self.passed.load(Relaxed)
    }

    /// The format that was detected or given.
    pub fn format(&self) -> Format {
        self.format
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
