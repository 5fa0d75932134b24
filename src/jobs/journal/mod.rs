//! The journal: the SQLite file where workers record state and consoles read it.
//!
//! ```text
//!  jobs ─┬─ checkpoints   name -> value, committed with the counters they stand for
//!        ├─ samples       one a second: counters, capacity, shards
//!        ├─ letters       dead letters, each once, and what became of each
//!        └─ notes         what happened, in words
//!  bumps                  capacity to give back          audit   every change made, by whom and when
//!  decisions              what the autoscaler decided, and why
//! ```
//!
//! WAL mode, file mode 0600, schema versioned. A worker also holds an OS lock on `<id>.lock` beside the file for as
//! long as it lives, so that "is it running" never depends on a process number being reused.

mod audit;
mod bumps;
mod decisions;
mod jobs;
mod letters;
mod rows;
mod schema;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rustix::fs::FlockOperation;

pub use audit::{AuditFilter, AuditLine};
pub use bumps::Bump;
pub use decisions::{Decided, Decision};
pub(crate) use jobs::to_json;
pub use jobs::{Commit, Control, Job, State};
pub use letters::{DeadLetter, Ending, Fate};
pub use rows::{ChangeCounts, ChangeKind, Holder, Note, ReplicaSample, Sample, ShardSample};

use super::spec::JobId;

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// SQLite said no.
    #[error("the journal {path} could not be used: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's word.
        source: rusqlite::Error,
    },
    /// The file or folder could not be made.
    #[error("the state folder {path} could not be used: {source}: pass --state-dir or set SLUICE_STATE_DIR")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A newer `sluice` made it.
    #[error(
        "the journal {path} was written by a newer sluice (schema {found}, this one knows {known}): use that one, or another --state-dir"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// No such job.
    #[error("there is no job {0}: `sluice jobs` lists them")]
    NoSuchJob(JobId),
    /// Another worker runs it.
    #[error("job {0} is being run by another process: `sluice jobs {0}` shows it")]
    Running(JobId),
}

/// An open journal. One per thread: SQLite's WAL lets many read while one writes.
#[derive(Debug)]
pub struct Journal {
    conn: Connection,
    path: PathBuf,
}

/// Held by a worker while it lives.
#[derive(Debug)]
pub struct WorkerLock {
    _file: fs::File,
}

/// A lock that stays taken over so many looks is a worker's: whoever only asks whether one lives holds it for a moment.
const LOOKS_AT_A_LOCK: u32 = 20;

impl Journal {
    /// Opens the journal at `path`, making it and its folder if absent.
    ///
    /// # Errors
    /// When the folder can't be made, the file is no SQLite, or a newer `sluice` wrote it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        }
        // Made here only when absent, and its mode set by name: closing any descriptor of it would drop the locks that
        // SQLite holds for this process, and the next process to close the journal would delete the log in use.
        match fs::OpenOptions::new().create_new(true).append(true).mode(0o600).open(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
            _ => {}
        }
        let mut mode = fs::metadata(path).map_err(io)?.permissions();
        if mode.mode() & 0o077 != 0 {
            mode.set_mode(0o600);
            fs::set_permissions(path, mode).map_err(io)?;
        }
        let sqlite = |source| JournalError::Sqlite { path: path.to_owned(), source };
        let mut conn = Connection::open(path).map_err(sqlite)?;
        conn.busy_timeout(Duration::from_secs(10)).map_err(sqlite)?;
        conn.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
        conn.pragma_update(None, "synchronous", "NORMAL").map_err(sqlite)?;
        conn.pragma_update(None, "foreign_keys", true).map_err(sqlite)?;
        schema::migrate(&mut conn, path)?;
        Ok(Self { conn, path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number that changes whenever another connection commits: cheap to poll.
    pub fn version(&self) -> Result<i64, JournalError> {
        let read = || self.conn.prepare_cached("pragma data_version")?.query_row([], |row| row.get(0));
        self.ok(read())
    }

    /// Takes the lock of job `id` for this process.
    ///
    /// # Errors
    /// [`JournalError::Running`] when another process holds it.
    pub fn lock(&self, id: &JobId) -> Result<WorkerLock, JournalError> {
        let path = self.lock_path(id);
        let io = |source| JournalError::Io { path: path.clone(), source };
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(io)?;
        for _ in 0..LOOKS_AT_A_LOCK {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(WorkerLock { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
                Err(errno) => return Err(io(errno.into())),
            }
        }
        Err(JournalError::Running(id.clone()))
    }

    /// True while a worker process holds job `id`.
    pub fn is_alive(&self, id: &JobId) -> bool {
        fs::OpenOptions::new().append(true).open(self.lock_path(id)).is_ok_and(|file| {
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
        })
    }

    fn lock_path(&self, id: &JobId) -> PathBuf {
        self.path.with_file_name(format!("{id}.lock"))
    }

    fn ok<T>(&self, result: rusqlite::Result<T>) -> Result<T, JournalError> {
        result.map_err(|source| JournalError::Sqlite { path: self.path.clone(), source })
    }
}

/// Milliseconds since the epoch, now.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests;
