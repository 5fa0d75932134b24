//! Cutting a text into records, a chunk at a time, on a thread of its own.

use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::BackupError;
use super::format::{Format, ItemIn, without_mark};
use super::location::Location;
use super::reader::{Change, Place, Record};
use super::source::Source;
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

/// The lines of a text that are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Where the first one begins, unless `in_line`.
    pub(super) from: Place,
    /// True when a line that began earlier may still go on at `from`.
    pub(super) in_line: bool,
    /// Lines that begin here or later are not wanted.
    pub(super) to: Option<u64>,
}

impl Span {
    /// The first byte to read: a line begins at `from` when this one, before it, ends a line.
    pub(super) fn first_byte(&self) -> u64 {
        self.from.offset - u64::from(self.in_line)
    }
}

/// Reads a text to the end of what is wanted and sends its records.
pub(super) struct Splitter {
    location: Location,
    text: Box<dyn Read + Send>,
    compressed: bool,
    format: Format,
    /// The first byte that is not in a record yet.
    place: Place,
    /// True until the end of a line is found that belongs to someone else.
    in_line: bool,
    /// Lines that begin here or later are not read.
    to: Option<u64>,
    /// What was read behind `place`; holds no whole line between reads.
    pending: Vec<u8>,
    /// An empty line, held back because the last one of a file is none.
    blank: Option<(Record, Place)>,
    too_long: Option<TooLong>,
}

impl Splitter {
    /// A splitter of `source`'s text.
    pub(super) fn new(location: Location, source: Source, format: Format, span: Span) -> Result<Self, BackupError> {
        let Source { mut text, at, compressed, .. } = source;
        let first = span.first_byte();
        let before = first - at;
        match std::io::copy(&mut text.by_ref().take(before), &mut std::io::sink()) {
            Ok(bytes) if bytes < before => {
                Err(BackupError::Shorter { location, bytes: at + bytes, from: span.from.offset })
            }
            Ok(_) => Ok(Self {
                location,
                text,
                compressed,
                format,
                place: Place { line: span.from.line, offset: first },
                in_line: span.in_line,
                to: span.to,
                pending: Vec::new(),
                blank: None,
                too_long: None,
            }),
            Err(cause) => Err(BackupError::Unreadable { location, byte: span.from.offset, compressed, cause }),
        }
    }

    /// Reads to the end, or until nobody receives.
    pub(super) fn run(mut self, batches: &mpsc::Sender<Result<Batch, BackupError>>) {
        while !self.is_past() {
            let old = self.pending.len();
            let (batch, ended) = match self.read() {
                Ok(0) => (self.last(), true),
                Ok(_) => (self.whole_lines(old), false),
                Err(cause) => return self.fail(cause, batches),
            };
            if !batch.is_empty() && batches.blocking_send(Ok(batch)).is_err() || ended {
                return;
            }
        }
        // An empty line at the end of a piece is the last of the file, and none, only when nothing follows it.
        if self.blank.is_some() {
            match if self.pending.is_empty() { self.read() } else { Ok(1) } {
                Ok(0) => {}
                Ok(_) => {
                    // Nobody waits any more when the caller was cancelled.
                    let _ = batches.blocking_send(Ok(self.blank.into_iter().collect()));
                }
                Err(cause) => self.fail(cause, batches),
            }
        }
    }

    /// Tells that reading stopped. Whole lines went out before; what came of this one comes again when it can be read.
    fn fail(self, cause: std::io::Error, batches: &mpsc::Sender<Result<Batch, BackupError>>) {
        let skipped = self.too_long.as_ref().map_or(0, |line| line.bytes);
        let byte = self.place.offset + skipped + self.pending.len() as u64;
        let Self { location, compressed, .. } = self;
        let _ = batches.blocking_send(Err(BackupError::Unreadable { location, byte, compressed, cause }));
    }

    /// True when the next line is not wanted.
    fn is_past(&self) -> bool {
        self.too_long.is_none() && self.to.is_some_and(|to| self.place.offset >= to)
    }

    /// Reads some more behind `pending`; 0 at the end.
    fn read(&mut self) -> std::io::Result<usize> {
        let old = self.pending.len();
        self.pending.resize(old + CHUNK, 0);
        let read = loop {
            match self.text.read(&mut self.pending[old..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.pending.truncate(old + *read.as_ref().unwrap_or(&0));
        read
    }

    /// The records of the lines that are whole now; `old` bytes were searched for a line's end before.
    fn whole_lines(&mut self, old: usize) -> Batch {
        let mut batch = Batch::new();
        if self.in_line && !self.skip_line() {
            return batch;
        }
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
        if self.is_past() {
            return batch;
        }
        let searched = old.min(self.pending.len());
        if let Some(end) = self.pending[searched..].iter().rposition(|byte| *byte == b'\n') {
            let rest = self.pending.split_off(searched + end + 1);
            let chunk = Bytes::from(std::mem::replace(&mut self.pending, rest));
            let cut = self.cut(&chunk, &mut batch);
            if cut < chunk.len() {
                // The rest is not wanted.
                self.pending.splice(..0, chunk[cut..].iter().copied());
                return batch;
            }
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
        if self.in_line {
            self.pending.clear();
        } else if self.too_long.is_some() {
            self.end_too_long(false, &mut batch);
        } else if !self.pending.is_empty() {
            let chunk = Bytes::from(std::mem::take(&mut self.pending));
            self.cut(&chunk, &mut batch);
        }
        batch
    }

    /// Skips what is pending of a line that began earlier; true when its end was found.
    fn skip_line(&mut self) -> bool {
        let end = self.pending.iter().position(|byte| *byte == b'\n');
        let skipped = end.map_or(self.pending.len(), |end| end + 1);
        self.pending.drain(..skipped);
        self.place.offset += skipped as u64;
        self.in_line = end.is_none();
        !self.in_line
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

    /// Cuts `chunk`, which begins at `place` and ends with a line, into records, up to the first line that is not wanted.
    /// Returns how many bytes of it that took.
    fn cut(&mut self, chunk: &Bytes, batch: &mut Batch) -> usize {
        let first = self.place.offset;
        let wanted = self.to.map_or(usize::MAX, |to| usize::try_from(to - first).unwrap_or(usize::MAX));
        let mut items = Vec::new();
        // Base64 shrinks and CSV unquoting too, so one allocation holds every item of the chunk.
        let mut decoded = match self.format {
            Format::Csv64 | Format::Csv => Vec::with_capacity(chunk.len()),
            Format::Jsonl | Format::Export => Vec::new(),
        };
        let mut start = 0;
        while start < chunk.len().min(wanted) {
            let ending = chunk[start..].iter().position(|byte| *byte == b'\n');
            let end = ending.map_or(chunk.len(), |length| start + length);
            let next = ending.map_or(end, |_| end + 1);
            let line = chunk[start..end].strip_suffix(b"\r").unwrap_or(&chunk[start..end]);
            let mark = if first + start as u64 == 0 { line.len() - without_mark(line).len() } else { 0 };
            let line = &line[mark..];
            let item = if line.len() > LONGEST_LINE {
                Err(Refusal::LineTooLong(line.len() as u64))
            } else {
                self.format.item_in(line, &mut decoded)
            };
            items.push((start + mark..start + mark + line.len(), next, item));
            start = next;
        }
        let decoded = Bytes::from(decoded);
        batch.reserve(items.len() + 1);
        for (line, next, item) in items {
            let (change, item) = match item {
                Ok((change, item)) => (change, Ok(item)),
                Err(refusal) => (Change::Put, Err(refusal)),
            };
            let record = Record {
                line: self.place.line,
                offset: self.place.offset,
                change,
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
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splitter(text: impl Read + Send + 'static) -> Splitter {
        let source = Source { text: Box::new(text), head: Vec::new(), at: 0, compressed: false };
        let span = Span { from: Place::default(), in_line: false, to: None };
        Splitter::new(Location::Stdin, source, Format::Jsonl, span).expect("nothing to skip")
    }

    #[test]
    fn an_endless_text_is_given_up_when_nobody_receives() {
        let splitter = splitter(std::io::repeat(b'\n'));
        let (batches, mut received) = mpsc::channel(1);
        let reading = std::thread::spawn(move || splitter.run(&batches));
        assert!(received.blocking_recv().is_some_and(|batch| batch.is_ok()));
        drop(received);
        reading.join().unwrap();
    }

    #[test]
    fn a_line_of_300_mb_is_one_dead_letter_of_which_little_is_kept() {
        const LONG: u64 = 300 << 20;
        let text = std::io::repeat(b'A').take(LONG).chain(&b"\n{}\n"[..]);
        let mut splitter = splitter(text);
        let mut records = Vec::new();
        loop {
            let old = splitter.pending.len();
            let read = splitter.read().unwrap();
            let batch = if read == 0 { splitter.last() } else { splitter.whole_lines(old) };
            records.extend(batch.into_iter().map(|(record, _)| record));
            assert!(splitter.pending.capacity() <= 2 * (LONGEST_LINE + CHUNK), "{}", splitter.pending.capacity());
            if read == 0 {
                break;
            }
        }
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].json, Err(Refusal::LineTooLong(LONG)));
        assert_eq!(records[0].raw.len(), KEPT_OF_TOO_LONG);
        assert_eq!((records[1].line, records[1].offset), (2, LONG + 1));
    }
}
