//! Writing a backup that survives being killed: blocks of rows go in, and what is stored for certain comes out as a mark
//! to go on from.
//!
//! ```text
//!                       ┌─ FileSink    one file, appended; fsync makes it count
//! Block ──> BackupWriter┼─ ObjectSink  one object, parts of an upload; a stored part counts
//!  rows of a page       └─ ExportSink  data files and manifests; a stored file counts
//!                              │
//!                              └─ settle: blocks that count, and the mark (bytes, text, upload) they end at
//! ```
//!
//! The segments of a scan share one writer: their blocks follow each other as they come, and one place in one file is
//! all that a checkpoint needs beside the segments' keys. Files of their own for the segments would have to be joined
//! at the end, with room for everything twice on disk and parts of at least 5 MiB each in S3.

mod csv64;
mod export;
mod file;
mod flight;
mod manifest;
mod object;
mod place;
mod rows;
mod store;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use csv64::{Csv64Writer, Written};
pub use flight::Piece;
pub use manifest::Manifest;
pub use place::Destination;
pub use rows::Block;

use self::export::ExportSink;
use self::file::FileSink;
use self::object::ObjectSink;
use self::rows::Text;
use super::error::BackupError;
use super::location::Location;

/// How far a backup is stored. Opaque but for its counts; kept by whoever wants to go on from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Rows that are stored.
    pub rows: u64,
    /// Bytes that are stored, as they are stored.
    pub bytes: u64,
    text: Text,
    /// The open upload of an object.
    upload: Option<String>,
}

/// What is stored for certain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many of the blocks appended to this writer, the first ones, count.
    pub blocks: u64,
    /// Where they end.
    pub mark: Mark,
    /// Pieces stored since the last time, to be kept beside the mark.
    pub pieces: Vec<Piece>,
}

/// What a manifest tells of a backup beside its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The table.
    pub table: String,
    /// Its ARN.
    pub table_arn: String,
    /// Its ID, which tells it from another of the same name.
    pub table_id: String,
    /// When the backup began.
    pub started: Timestamp,
    /// When its last item was stored.
    pub ended: Timestamp,
    /// Read with strong consistency.
    pub consistent: bool,
    /// Order-free digest of all items, hex, as a verify prints it.
    pub digest: String,
}

/// A backup being written.
#[derive(Debug)]
pub struct BackupWriter {
    to: Destination,
    client: Option<aws_sdk_s3::Client>,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    File(FileSink),
    Object(ObjectSink),
    Export(ExportSink),
}

/// A backup that is whole and has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The file, the object, or the export's folder.
    pub location: Location,
    /// Rows, each an item.
    pub rows: u64,
    /// Stored bytes.
    pub bytes: u64,
}

impl BackupWriter {
    /// Begins a backup at `to`, or goes on after `mark`, behind which nothing counts. `tag` keeps the temporary files of
    /// several writers apart.
    ///
    /// # Errors
    /// The place can't be written, or what the mark stands for is gone.
    pub async fn open(
        to: &Destination,
        s3: Option<&aws_sdk_s3::Client>,
        tag: &str,
        mark: Option<&Mark>,
        pieces: Vec<Piece>,
    ) -> Result<Self, BackupError> {
        let client = || s3.cloned().ok_or_else(|| BackupError::NoClient { location: to.location.clone() });
        let sink = match &to.location {
            Location::File(_) if to.export.is_some() => Sink::Export(ExportSink::open(to, None, mark, pieces).await?),
            Location::S3 { .. } if to.export.is_some() => {
                Sink::Export(ExportSink::open(to, Some(client()?), mark, pieces).await?)
            }
            Location::File(path) => Sink::File(FileSink::open(to, path, tag, mark).await?),
            Location::S3 { bucket, key } => Sink::Object(ObjectSink::open(to, client()?, (bucket, key), mark, pieces)),
            Location::Stdin => {
                return Err(BackupError::BadLocation { given: "-".to_owned(), reason: "it is no file" });
            }
        };
        Ok(Self { to: to.clone(), client: s3.cloned(), sink })
    }

    /// Appends the rows of a block. Waits while too much is on its way. A call that is given up half way must be the
    /// last but [`BackupWriter::settle`].
    ///
    /// # Errors
    /// The disk or S3 refused. What counted before still counts.
    pub async fn append(&mut self, block: &Block) -> Result<(), BackupError> {
        match &mut self.sink {
            Sink::File(sink) => sink.append(block).await,
            Sink::Object(sink) => sink.append(block).await,
            Sink::Export(sink) => sink.append(block).await,
        }
    }

    /// What is stored for certain now.
    ///
    /// # Errors
    /// As [`BackupWriter::append`].
    pub async fn settle(&mut self) -> Result<Stored, BackupError> {
        let (blocks, mark, pieces) = match &mut self.sink {
            Sink::File(sink) => {
                let (blocks, mark) = sink.settle().await?;
                (blocks, mark, Vec::new())
            }
            Sink::Object(sink) => sink.settle()?,
            Sink::Export(sink) => sink.settle()?,
        };
        Ok(Stored { blocks, mark, pieces })
    }

    /// Ends the text: after this, all blocks count, and none may follow.
    ///
    /// # Errors
    /// As [`BackupWriter::append`].
    pub async fn drain(&mut self) -> Result<(), BackupError> {
        match &mut self.sink {
            Sink::File(sink) => sink.drain().await,
            Sink::Object(sink) => sink.drain().await,
            Sink::Export(sink) => sink.drain().await,
        }
    }

    /// Gives the backup its name, with its manifest. May be done again after it was cut short.
    ///
    /// # Errors
    /// Something has the name already; what was written reads back otherwise; the disk or S3 refused.
    pub async fn publish(&mut self, about: &About) -> Result<Published, BackupError> {
        let mark = self.settle().await?.mark;
        let mut location = self.to.location.clone();
        match &mut self.sink {
            Sink::Export(sink) => {
                location = sink.folder();
                sink.publish(about).await?;
            }
            Sink::File(sink) => {
                let md5 = sink.publish().await?;
                Manifest::of(&self.to, about, &mark, Some(md5)).store(self.to.sidecar(), None).await?;
            }
            Sink::Object(sink) => {
                sink.publish().await?;
                let manifest = Manifest::of(&self.to, about, &mark, None);
                manifest.store(self.to.sidecar(), self.client.clone()).await?;
            }
        }
        Ok(Published { location, rows: mark.rows, bytes: mark.bytes })
    }

    /// Removes all that was stored: nothing of it is a backup.
    ///
    /// # Errors
    /// Something could not be removed.
    pub async fn discard(self) -> Result<(), BackupError> {
        match self.sink {
            Sink::File(sink) => sink.discard().await,
            Sink::Object(sink) => sink.discard().await,
            Sink::Export(sink) => sink.discard().await,
        }
    }
}

#[cfg(test)]
mod tests;
