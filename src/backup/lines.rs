//! Cutting a text into records, a chunk at a time, on a thread of its own.

use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::BackupError;
use super::format::{Format, ItemIn};
use super::location::Location;
use super::reader::{Change, Place, Record};
use crate::item::Refusal;

/// The longest line that is read, bytes: 400 KiB of binary in the legacy form is under 2 MiB.
pub const LONGEST_LINE: usize = 16 << 20;
/// How much is read at once, bytes.
const CHUNK: usize = 256 << 10;
/// What is kept of a line that is too long, bytes.
const KEPT_OF_TOO_LONG: usize = 4 << 10;

/// Records, each with the place behind it.
pub(super) type Batch = Vec<(Record, Place)>;

/// A line that turned out too long: only its start is kept until its end is found.
#[derive(Debug)]
struct TooLong {
    start: Place,
    kept: Bytes,
    bytes: u64,
}

/// Reads a text to its end and sends its records.
pub(super) struct Splitter {
    location: Location,
    text: Box<dyn Read + Send>,
    compressed: bool,
    format: Format,
    /// The first byte that is not in a record yet.
    place: Place,
    /// What was read behind `place`; holds no whole line between reads.
    pending: Vec<u8>,
    /// An empty line, held back because the last one of a file is none.
    blank: Option<(Record, Place)>,
    too_long: Option<TooLong>,
}

impl Splitter {
    /// A splitter of `text`, which begins at byte `at`, from `from` on.
    pub(super) fn new(
        location: Location,
        mut text: Box<dyn Read + Send>,
        compressed: bool,
        format: Format,
        at: u64,
        from: Place,
    ) -> Result<Self, BackupError> {
        let before = from.offset - at;
        match std::io::copy(&mut text.by_ref().take(before), &mut std::io::sink()) {
            Ok(bytes) if bytes < before => Err(BackupError::Shorter { location, bytes: at + bytes, from: from.offset }),
            Ok(_) => Ok(Self {
                location,
                text,
                compressed,
                format,
                place: from,
                pending: Vec::new(),
                blank: None,
                too_long: None,
            }),
            Err(cause) => Err(BackupError::Unreadable { location, byte: from.offset, compressed, cause }),
        }
    }

    /// Reads to the end, or until nobody receives.
    pub(super) fn run(mut self, batches: &mpsc::Sender<Result<Batch, BackupError>>) {
        loop {
            let old = self.pending.len();
            self.pending.resize(old + CHUNK, 0);
            let read = loop {
                match self.text.read(&mut self.pending[old..]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.pending.truncate(old + *read.as_ref().unwrap_or(&0));
            let batch = match read {
                Ok(0) => self.last(),
                Ok(_) => self.whole_lines(old),
                Err(cause) => {
                    let skipped = self.too_long.as_ref().map_or(0, |line| line.bytes);
                    let byte = self.place.offset + skipped + self.pending.len() as u64;
                    // Whole lines went out before; the pieces of this one come again when it can be read.
                    let _ = batches.blocking_send(Err(BackupError::Unreadable {
                        location: self.location,
                        byte,
                        compressed: self.compressed,
                        cause,
                    }));
                    return;
                }
            };
            let ended = matches!(read, Ok(0));
            if !batch.is_empty() && batches.blocking_send(Ok(batch)).is_err() || ended {
                return;
            }
        }
    }

    /// The records of the lines that are whole now; `old` bytes were searched for a line's end before.
    fn whole_lines(&mut self, old: usize) -> Batch {
        let mut batch = Batch::new();
        if let Some(line) = &mut self.too_long {
            match self.pending.iter().position(|byte| *byte == b'\n') {
                None => {
                    line.bytes += self.pending.len() as u64;
                    self.pending.clear();
                    return batch;
                }
                Some(end) => {
                    line.bytes += end as u64;
                    self.pending.drain(..=end);
                    self.end_too_long(true, &mut batch);
                }
            }
        }
        let searched = old.min(self.pending.len());
        if let Some(end) = self.pending[searched..].iter().rposition(|byte| *byte == b'\n') {
            let rest = self.pending.split_off(searched + end + 1);
            let chunk = Bytes::from(std::mem::replace(&mut self.pending, rest));
            self.cut(&chunk, &mut batch);
        }
        if self.pending.len() > LONGEST_LINE {
            self.too_long = Some(TooLong {
                start: self.place,
                kept: Bytes::copy_from_slice(&self.pending[..KEPT_OF_TOO_LONG]),
                bytes: self.pending.len() as u64,
            });
            self.pending = Vec::new();
        }
        batch
    }

    /// What is left when the text has ended.
    fn last(&mut self) -> Batch {
        let mut batch = Batch::new();
        if self.too_long.is_some() {
            self.end_too_long(false, &mut batch);
        } else if !self.pending.is_empty() {
            let chunk = Bytes::from(std::mem::take(&mut self.pending));
            self.cut(&chunk, &mut batch);
        }
        batch
    }

    fn end_too_long(&mut self, newline: bool, batch: &mut Batch) {
        let Some(TooLong { start, kept, bytes }) = self.too_long.take() else { return };
        self.place = Place { line: start.line + 1, offset: start.offset + bytes + u64::from(newline) };
        batch.extend(self.blank.take());
        let json = Err(Refusal::LineTooLong(bytes));
        batch.push((
            Record { line: start.line, offset: start.offset, change: Change::Put, json, raw: kept },
            self.place,
        ));
    }

    /// Cuts `chunk`, which begins at `place` and ends with a line, into records.
    fn cut(&mut self, chunk: &Bytes, batch: &mut Batch) {
        let mut items = Vec::new();
        // Base64 shrinks and CSV unquoting too, so one allocation holds every item of the chunk.
        let mut decoded = if self.format == Format::Jsonl { Vec::new() } else { Vec::with_capacity(chunk.len()) };
        let mut start = 0;
        while start < chunk.len() {
            let ending = chunk[start..].iter().position(|byte| *byte == b'\n');
            let end = ending.map_or(chunk.len(), |length| start + length);
            let next = ending.map_or(end, |_| end + 1);
            let line = chunk[start..end].strip_suffix(b"\r").unwrap_or(&chunk[start..end]);
            let item = if line.len() > LONGEST_LINE {
                Err(Refusal::LineTooLong(line.len() as u64))
            } else {
                self.format.item_in(line, &mut decoded)
            };
            items.push((start..start + line.len(), next, item));
            start = next;
        }
        let decoded = Bytes::from(decoded);
        batch.reserve(items.len() + 1);
        let first = self.place.offset;
        for (line, next, item) in items {
            let record = Record {
                line: self.place.line,
                offset: self.place.offset,
                change: Change::Put,
                raw: chunk.slice(
                    line.start..line.end.min(match item {
                        Err(Refusal::LineTooLong(_)) => line.start + KEPT_OF_TOO_LONG,
                        _ => usize::MAX,
                    }),
                ),
                json: item.map(|item| match item {
                    ItemIn::Line(range) => chunk.slice(line.start + range.start..line.start + range.end),
                    ItemIn::Decoded(range) => decoded.slice(range),
                }),
            };
            self.place = Place { line: self.place.line + 1, offset: first + next as u64 };
            batch.extend(self.blank.take());
            if line.is_empty() {
                self.blank = Some((record, self.place));
            } else {
                batch.push((record, self.place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_text_is_given_up_when_nobody_receives() {
        let text = Box::new(std::io::repeat(b'\n'));
        let splitter =
            Splitter::new(Location::Stdin, text, false, Format::Jsonl, 0, Place::default()).expect("nothing to skip");
        let (batches, mut received) = mpsc::channel(1);
        let reading = std::thread::spawn(move || splitter.run(&batches));
        assert!(received.blocking_recv().is_some_and(|batch| batch.is_ok()));
        drop(received);
        reading.join().unwrap();
    }
}
