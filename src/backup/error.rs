//! What can go wrong with a backup as a whole. What is wrong with one line is a [`Refusal`](crate::item::Refusal).

use std::io;

use super::location::Location;
use crate::cloud::CloudError;

/// An error about a backup: which, where in it, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The text names no place.
    #[error("{given} is no backup: {reason}")]
    BadLocation {
        /// As it was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is nothing of that name.
    #[error("{location} does not exist{}", suggestion(nearest.as_deref()))]
    NotFound {
        /// What was looked for.
        location: Location,
        /// What is there and has the most similar name.
        nearest: Option<String>,
    },
    /// A folder, glob or prefix that holds no file.
    #[error("{location} holds no files: name a file, a folder, a glob or s3://bucket/prefix")]
    Empty {
        /// What was looked into.
        location: Location,
    },
    /// None of the formats that we know.
    #[error(
        "{location} is no backup that can be recognised: its first line begins with {begins:?}. Its format may be \
         csv64, csv or jsonl: pass --format to read it as one of them"
    )]
    UnknownFormat {
        /// The file.
        location: Location,
        /// Its first characters.
        begins: String,
    },
    /// Lines of more than one format.
    #[error("{location} has lines of several formats ({candidates}): pass --format to say which it is")]
    AmbiguousFormat {
        /// The file.
        location: Location,
        /// The formats that its first lines have.
        candidates: String,
    },
    /// No format of this name.
    #[error("there is no format {given}: it is one of csv64, csv, jsonl, export")]
    NoSuchFormat {
        /// As it was given.
        given: String,
    },
    /// Reading stopped half way.
    #[error(
        "{location} can't be read past byte {byte}{}: {cause}. What came before is kept: resume goes on from there \
         once it is readable",
        if *compressed { " of its decompressed text" } else { "" }
    )]
    Unreadable {
        /// The file.
        location: Location,
        /// The first byte of the decompressed text that could not be read.
        byte: u64,
        /// True when the file is gzip or zstd.
        compressed: bool,
        /// What the system or the decompressor said.
        cause: io::Error,
    },
    /// The place to resume from lies behind the end.
    #[error("{location} ends at byte {bytes}, before byte {from} where to go on: it has changed since, start anew")]
    Shorter {
        /// The file.
        location: Location,
        /// How long its text is, bytes.
        bytes: u64,
        /// Where to go on, bytes.
        from: u64,
    },
    /// Not the file any more that was looked up.
    #[error(
        "{location} has changed: it had {then} bytes when it was looked up and has {now} now, so it is still being \
         written, or another took its place. Start anew once it is whole"
    )]
    Changed {
        /// The file.
        location: Location,
        /// Its size when it was looked up, bytes.
        then: u64,
        /// Its size now, bytes.
        now: u64,
    },
    /// What an export says of itself does not hold, or is none that can be read.
    #[error("{manifest}: {reason}")]
    BadExport {
        /// Its manifest.
        manifest: Location,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Exports that make no chain.
    #[error("{0}")]
    NoChain(String),
    /// A file is not the one that a job began with: what it has written of it can't be told from what it has not.
    #[error("{location} is not what it was when the job began, at byte {byte}: start anew")]
    Another {
        /// The file.
        location: Location,
        /// Where the job had come to in it, bytes.
        byte: u64,
    },
    /// A file could not be opened or looked at.
    #[error("could not open {location}: {cause}. Check that it may be read")]
    Open {
        /// The file.
        location: Location,
        /// What the system said.
        cause: io::Error,
    },
    /// A file could not be written.
    #[error("could not write {location}: {cause}. Nothing was left there; free some space or write elsewhere")]
    Write {
        /// The file.
        location: Location,
        /// What the system said.
        cause: io::Error,
    },
    /// S3 refused or did not answer.
    #[error("{location}: {error}")]
    Cloud {
        /// The object.
        location: Location,
        /// What came of it.
        error: Box<CloudError>,
    },
    /// An S3 location, but nobody to ask.
    #[error("{location} needs AWS credentials and a region: pass --profile and --region")]
    NoClient {
        /// The object.
        location: Location,
    },
    /// A backup is written beside what is there, never over it.
    #[error(
        "{location} exists already, and nothing is overwritten: name another file, or a folder (with / at its end), \
         where each backup has a name of its own"
    )]
    Exists {
        /// What is there.
        location: Location,
    },
    /// A backup that is being written met a disk that takes no more.
    #[error("could not write {location}: {cause}. What was stored before is kept: free some space, then go on")]
    Stopped {
        /// The file that is being written, under its temporary name.
        location: Location,
        /// What the system said.
        cause: io::Error,
    },
    /// What was written of a backup before is not there any more.
    #[error("{location} can't be gone on with: {reason}. Start the backup anew")]
    Gone {
        /// The file or object.
        location: Location,
        /// What is missing.
        reason: String,
    },
    /// What was written reads back otherwise.
    #[error(
        "{location} does not read back as it was written: {reason}. Don't trust this disk; start the backup anew elsewhere"
    )]
    NotAsWritten {
        /// The file.
        location: Location,
        /// What differs.
        reason: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(": did you mean {name}?"))
}
