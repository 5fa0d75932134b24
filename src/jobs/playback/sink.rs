//! Where played events go: a file, standard output, or a stream, as they were or as put requests.

use std::fmt;
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::super::worker::{JobError, Session};
use super::puts::item_of;
use crate::cloud::{CloudError, inventory};
use crate::event::read::OddRow;
use crate::event::{Event, Place};
use crate::flow::{AwsStream, Clock, Counters, Ledger, Letter, Position, Producer, ProducerOptions, Receipt, Settled};
use crate::item::Checker;

/// Lines are written out once there are so many bytes of them.
const WRITE: usize = 256 << 10;
/// Records on their way to a stream.
const WINDOW: usize = 16_384;

/// Where played events go, as a job's spec spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkSpec {
    /// `-`: standard output.
    Stdout,
    /// A file, by its path.
    File(PathBuf),
    /// `stream:NAME`: a stream, each event as it was.
    Stream(String),
    /// `puts:STREAM/TABLE`: a stream of put requests, for a table.
    Puts {
        /// The stream.
        stream: String,
        /// The table that the requests are for.
        table: String,
    },
}

impl FromStr for SinkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is nowhere to play to: a file, -, stream:NAME or puts:STREAM/TABLE");
        if text == "-" {
            return Ok(Self::Stdout);
        }
        if let Some(stream) = text.strip_prefix("stream:") {
            return if stream.is_empty() { Err(wrong()) } else { Ok(Self::Stream(stream.to_owned())) };
        }
        if let Some(puts) = text.strip_prefix("puts:") {
            let (stream, table) = puts.split_once('/').ok_or_else(wrong)?;
            if stream.is_empty() || table.is_empty() {
                return Err(wrong());
            }
            return Ok(Self::Puts { stream: stream.to_owned(), table: table.to_owned() });
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self::File(PathBuf::from(text))) }
    }
}

impl fmt::Display for SinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) => path.display().fmt(f),
            Self::Stream(stream) => write!(f, "stream:{stream}"),
            Self::Puts { stream, table } => write!(f, "puts:{stream}/{table}"),
        }
    }
}

/// One event as a line of text.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    event_id: &'a str,
    partition_key: &'a str,
    data: &'a str,
}

/// Appends the line of `event`: what a file and standard output hold.
pub fn write_line(event: &Event, out: &mut Vec<u8>) {
    let line = Line {
        time: &format!("{:.6}", event.time),
        event_id: &event.id.to_string(),
        partition_key: &event.partition_key,
        data: &STANDARD.encode(&event.payload),
    };
    // Strings into memory: neither can fail.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
}

/// An event that is on its way, or a row that is none: what a checkpoint stores, and what its dead letter says.
#[derive(Clone, Debug)]
pub(super) struct Played {
    /// Its place; of a row that is no event, the place of the event before it.
    pub place: Option<Place>,
    is_event: bool,
    table: Arc<str>,
    bytes: u64,
}

impl Played {
    pub fn new(event: &Event, table: &Arc<str>) -> Self {
        let place = Some(Place::of(event));
        Self { place, is_event: true, table: Arc::clone(table), bytes: event.payload.len() as u64 }
    }

    /// A row that is no event, met after `before`.
    pub fn odd(before: Option<&Place>, table: &Arc<str>) -> Self {
        Self { place: before.cloned(), is_event: false, table: Arc::clone(table), bytes: 0 }
    }
}

impl Position for Played {
    fn letter(&self, reason: String, payload: Bytes) -> Letter {
        let id = self.place.as_ref().filter(|_| self.is_event).map(|place| &place.id);
        Letter {
            source: self.table.to_string(),
            line: None,
            offset: None,
            shard: id.map(|id| id.shard.clone()),
            sequence: id.map(|id| id.sequence.0.clone()),
            reason,
            payload,
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Why a row of the event table is a dead letter.
pub(super) fn reason_of(odd: &OddRow) -> String {
    format!("row {} is no event: {}", odd.key, odd.reason)
}

/// Lines on their way into a file or to standard output.
pub(super) struct Lines {
    out: Out,
    to: String,
    buffer: Vec<u8>,
    /// Bytes written.
    bytes: u64,
    counters: Counters,
    place: Option<Place>,
}

enum Out {
    File(tokio::fs::File),
    Stdout(tokio::io::Stdout),
}

/// What of the lines is stored for certain.
pub(super) struct Stored {
    pub bytes: u64,
    pub counters: Counters,
    pub place: Option<Place>,
}

impl Lines {
    pub fn stdout() -> Self {
        Self::new(Out::Stdout(tokio::io::stdout()), "standard output".to_owned(), 0, Counters::default())
    }

    fn new(out: Out, to: String, bytes: u64, counters: Counters) -> Self {
        Self { out, to, buffer: Vec::new(), bytes, counters, place: None }
    }

    /// Makes the file, or goes on with it after its first `bytes`, which an earlier run stored: what is behind them was
    /// not counted, and goes.
    pub async fn file(path: &std::path::Path, resumed: Option<(u64, Counters)>) -> Result<Self, JobError> {
        let to = path.display().to_string();
        let failed = |error: io::Error| JobError::Unfit(format!("could not write {to}: {error}"));
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true);
        let Some((bytes, counters)) = resumed else {
            let made = options.create_new(true).open(path).await;
            let file = made.map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    JobError::Unfit(format!("{to} exists already: name another file, or remove it"))
                }
                _ => failed(error),
            })?;
            return Ok(Self::new(Out::File(file), to, 0, Counters::default()));
        };
        let mut file = options.open(path).await.map_err(failed)?;
        let there = file.metadata().await.map_err(failed)?.len();
        if there < bytes {
            return Err(JobError::Unfit(format!("{to} has {there} bytes, and {bytes} were written: start anew")));
        }
        file.set_len(bytes).await.map_err(failed)?;
        file.seek(SeekFrom::Start(bytes)).await.map_err(failed)?;
        Ok(Self::new(Out::File(file), to, bytes, counters))
    }

    /// Counts an event that was left out.
    pub fn skip(&mut self, event: &Event) {
        self.counters.read += 1;
        self.counters.skipped += 1;
        self.place = Some(Place::of(event));
    }

    /// Counts a row that is no event.
    pub fn dead(&mut self) {
        self.counters.read += 1;
        self.counters.dead += 1;
    }

    /// Takes an event; true when it is time to [`Lines::flush`].
    pub fn take(&mut self, event: &Event) -> bool {
        write_line(event, &mut self.buffer);
        self.counters.read += 1;
        self.counters.written += 1;
        self.counters.bytes += event.payload.len() as u64;
        self.place = Some(Place::of(event));
        self.buffer.len() >= WRITE
    }

    /// Writes what was taken; false when nobody reads standard output any more.
    pub async fn flush(&mut self) -> Result<bool, JobError> {
        if self.buffer.is_empty() {
            return Ok(true);
        }
        let written = match &mut self.out {
            Out::File(file) => write(file, &self.buffer).await,
            Out::Stdout(out) => write(out, &self.buffer).await,
        };
        match written {
            Ok(()) => {
                self.bytes += self.buffer.len() as u64;
                self.buffer.clear();
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && matches!(self.out, Out::Stdout(_)) => Ok(false),
            Err(error) => Err(JobError::Unfit(format!("could not write {}: {error}", self.to))),
        }
    }

    /// What happened so far, stored or not.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Stores what was taken for certain; false as [`Lines::flush`] says it.
    pub async fn store(&mut self) -> Result<(Stored, bool), JobError> {
        let read = self.flush().await?;
        if let Out::File(file) = &mut self.out {
            file.sync_data().await.map_err(|error| JobError::Unfit(format!("could not write {}: {error}", self.to)))?;
        }
        Ok((Stored { bytes: self.bytes, counters: self.counters, place: self.place.clone() }, read))
    }
}

async fn write(to: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// Records on their way onto a stream.
pub(super) struct Records {
    producer: Producer,
    pub ledger: Arc<Ledger<Played>>,
    /// For put requests: the table, and what it takes.
    puts: Option<(String, Checker)>,
}

impl Records {
    pub async fn start(
        session: &Session<'_>,
        (stream, table): (&str, Option<&str>),
        aggregate: bool,
        resumed: Counters,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JobError> {
        let puts = match table {
            Some(table) => Some((table.to_owned(), Checker::new(inventory::table(&session.cloud, table).await?.key))),
            None => None,
        };
        let options = ProducerOptions { aggregate, ..ProducerOptions::new(stream, session.job.id.0.clone()) };
        let aws = AwsStream::new(session.cloud.kinesis.clone(), session.cloud.bulk.kinesis.clone(), stream);
        let producer = Producer::start(options, Arc::new(aws), clock).await?;
        Ok(Self { producer, ledger: Arc::new(Ledger::new(WINDOW).resumed(resumed)), puts })
    }

    /// Puts an event onto the stream, after all earlier ones of its key; waits while there is no room.
    pub async fn put(&self, event: &Event, ordinal: u64, receipt: Receipt) -> Result<(), CloudError> {
        let Some((table, checker)) = &self.puts else {
            return self.producer.put_record(&event.partition_key, event.payload.clone(), receipt).await;
        };
        match item_of(&event.payload, checker) {
            Ok(item) => self.producer.put(table, &item, ordinal, receipt).await,
            Err(reason) => {
                receipt.dead(format!("no item of {table}: {reason}"), event.payload.clone());
                Ok(())
            }
        }
    }

    /// What passed the mark.
    pub fn take_settled(&self) -> Settled<Played> {
        self.ledger.take_settled()
    }

    /// What it took: records sent again, and refused.
    pub fn effort(&self) -> Counters {
        self.producer.effort()
    }

    /// What holds it back, in words, when something does.
    pub fn held_back(&self) -> Option<String> {
        self.producer.held_back_by().map(|limit| limit.to_string())
    }

    /// Ends when the producer fails, with the reason.
    pub async fn failed(&self) -> CloudError {
        self.producer.failed().await
    }

    /// Ends once every record that was put is settled.
    pub async fn settled(&self) {
        self.ledger.drained().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_read_as_it_is_shown() {
        for text in ["-", "/tmp/x.jsonl", "stream:playback", "puts:restore/historical"] {
            assert_eq!(text.parse::<SinkSpec>().unwrap().to_string(), text);
        }
        for wrong in ["", "stream:", "puts:x", "puts:/t", "puts:s/"] {
            assert!(wrong.parse::<SinkSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_holds_the_exact_bytes_and_the_time_to_the_microsecond() {
        let event = Event {
            time: "2018-03-04T14:59:44.0304Z".parse().unwrap(),
            id: "shardId-000000000000:495".parse().unwrap(),
            partition_key: "k\u{1b}".to_owned(),
            payload: Bytes::from_static(br#"{"z":1.10}"#),
        };
        let mut out = Vec::new();
        write_line(&event, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"time\":\"2018-03-04T14:59:44.030400Z\",\"event_id\":\"shardId-000000000000:495\",\
             \"partition_key\":\"k\\u001b\",\"data\":\"eyJ6IjoxLjEwfQ==\"}\n"
        );
    }
}
