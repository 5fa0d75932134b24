//! A backup in one file on this machine: under a temporary name until it is whole, on disk before it counts.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use md5::{Digest as _, Md5};
use tokio::io::AsyncWriteExt as _;

use super::rows::{Block, Text};
use super::store::blocking;
use super::{Destination, Mark};
use crate::backup::error::BackupError;
use crate::backup::format::Format;
use crate::backup::location::Location;

/// How much is read back at once, bytes.
const READ: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct FileSink {
    to: Destination,
    path: PathBuf,
    temporary: PathBuf,
    /// `None` once the file has its name.
    file: Option<tokio::fs::File>,
    text: Text,
    bytes: u64,
    /// Of which are on disk for certain.
    synced: u64,
    blocks: u64,
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `.<name>.<tag>.part` beside `path`: hidden, so that a folder of backups is read without it.
fn temporary(path: &Path, tag: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{tag}.part"))
}

impl FileSink {
    /// Begins a file, or goes on with one as far as `mark` has it: what is behind that was not counted, and goes.
    pub async fn open(to: &Destination, path: &Path, tag: &str, mark: Option<&Mark>) -> Result<Self, BackupError> {
        let temporary = temporary(path, tag);
        let location = Location::File(temporary.clone());
        let stopped = |cause| BackupError::Stopped { location: location.clone(), cause };
        let gone = |reason: String| BackupError::Gone { location: location.clone(), reason };
        let mark = mark.cloned().unwrap_or_default();
        let sink = |file| Self {
            to: to.clone(),
            path: path.to_owned(),
            temporary: temporary.clone(),
            file,
            text: mark.text,
            bytes: mark.bytes,
            synced: mark.bytes,
            blocks: 0,
        };
        // A name given just before the power went: nothing is left to do.
        if mark.text.ended
            && !temporary.exists()
            && std::fs::metadata(path).is_ok_and(|there| there.len() == mark.bytes)
        {
            return Ok(sink(None));
        }
        let (part, bytes, folder) = (temporary.clone(), mark.bytes, folder_of(path).to_owned());
        let opened = blocking(move || {
            std::fs::create_dir_all(folder)?;
            let mut file = File::options().write(true).create(bytes == 0).truncate(bytes == 0).open(part)?;
            let there = file.metadata()?;
            if there.is_file() && there.len() > bytes {
                file.set_len(bytes)?;
            }
            file.seek(SeekFrom::Start(bytes))?;
            Ok((file, there.len()))
        });
        match opened.await {
            Ok((_, there)) if there < bytes => Err(gone(format!("it has {there} bytes, and {bytes} were written"))),
            Ok((file, _)) => Ok(sink(Some(tokio::fs::File::from_std(file)))),
            Err(cause) if bytes > 0 && cause.kind() == io::ErrorKind::NotFound => {
                Err(gone("it is not there any more".to_owned()))
            }
            Err(cause) => Err(stopped(cause)),
        }
    }

    fn stopped(&self, cause: io::Error) -> BackupError {
        BackupError::Stopped { location: Location::File(self.temporary.clone()), cause }
    }

    pub async fn append(&mut self, block: &Block) -> Result<(), BackupError> {
        let (mut text, mut out) = (self.text, Vec::new());
        text.push(block, self.to.gzip, &mut out);
        self.write(&out, text).await?;
        self.blocks += 1;
        Ok(())
    }

    /// Counts only once all is written: what was given up half way is not part of the mark.
    async fn write(&mut self, out: &[u8], text: Text) -> Result<(), BackupError> {
        if let Some(file) = &mut self.file {
            let written = async {
                file.write_all(out).await?;
                file.flush().await
            };
            if let Err(cause) = written.await {
                return Err(self.stopped(cause));
            }
        }
        self.text = text;
        self.bytes += out.len() as u64;
        Ok(())
    }

    /// What is on disk for certain.
    pub async fn settle(&mut self) -> Result<(u64, Mark), BackupError> {
        if let Some(file) = self.file.as_mut().filter(|_| self.synced < self.bytes) {
            if let Err(cause) = file.sync_data().await {
                return Err(self.stopped(cause));
            }
            self.synced = self.bytes;
        }
        Ok((self.blocks, Mark { rows: self.text.rows, bytes: self.bytes, text: self.text, upload: None }))
    }

    /// Ends the text.
    pub async fn drain(&mut self) -> Result<(), BackupError> {
        if self.text.ended {
            return Ok(());
        }
        let (mut text, mut out) = (self.text, Vec::new());
        text.end(self.to.format, self.to.gzip, &mut out);
        self.write(&out, text).await
    }

    /// Reads the file back, gives it its name, and returns its MD5, base64.
    pub async fn publish(&mut self) -> Result<String, BackupError> {
        self.settle().await?;
        let named = self.file.is_none();
        let read = if named { self.path.clone() } else { self.temporary.clone() };
        let (read_path, gzip) = (read.clone(), self.to.gzip);
        let ends_with_newline = !matches!(self.to.format, Format::Csv64 | Format::Csv);
        let (md5, rows, bytes) = blocking(move || read_back(&read_path, gzip, ends_with_newline))
            .await
            .map_err(|cause| BackupError::Open { location: Location::File(read.clone()), cause })?;
        if (rows, bytes) != (self.text.rows, self.bytes) {
            return Err(BackupError::NotAsWritten {
                location: Location::File(if named { self.path.clone() } else { self.temporary.clone() }),
                reason: format!(
                    "it holds {rows} rows in {bytes} bytes, and {} in {} were written",
                    self.text.rows, self.bytes
                ),
            });
        }
        if !named {
            self.file = None;
            let (temporary, path) = (self.temporary.clone(), self.path.clone());
            let renamed = blocking(move || give_name(&temporary, &path)).await;
            renamed.map_err(|cause| {
                if cause.kind() == io::ErrorKind::AlreadyExists {
                    BackupError::Exists { location: self.to.location.clone() }
                } else {
                    self.stopped(cause)
                }
            })?;
        }
        Ok(md5)
    }

    /// Removes what was written.
    pub async fn discard(mut self) -> Result<(), BackupError> {
        if self.file.take().is_some() {
            tokio::fs::remove_file(&self.temporary).await.map_err(|cause| self.stopped(cause))?;
        }
        Ok(())
    }
}

/// Gives the file its name, unless something has it already, and makes sure that the name is on disk.
fn give_name(temporary: &Path, path: &Path) -> io::Result<()> {
    let named = tempfile::TempPath::try_from_path(temporary)?;
    named.persist_noclobber(path).map_err(|failed| {
        // It stays where it is for the resume that follows.
        let _ = failed.path.keep();
        failed.error
    })?;
    File::open(folder_of(path))?.sync_all()
}

/// Passes bytes on and digests them.
struct Digesting<R> {
    from: R,
    md5: Md5,
    bytes: u64,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buf)?;
        self.md5.update(&buf[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// MD5 in base64, rows and bytes of a file.
fn read_back(path: &Path, gzip: bool, ends_with_newline: bool) -> io::Result<(String, u64, u64)> {
    let mut file = Digesting { from: File::open(path)?, md5: Md5::new(), bytes: 0 };
    let rows = if gzip {
        let mut decoder = GzDecoder::new(BufReader::with_capacity(READ, &mut file));
        let rows = count_rows(&mut decoder, ends_with_newline)?;
        // What a reader of one member leaves.
        io::copy(decoder.get_mut(), &mut io::sink())?;
        rows
    } else {
        count_rows(&mut file, ends_with_newline)?
    };
    Ok((STANDARD.encode(file.md5.finalize()), rows, file.bytes))
}

fn count_rows(text: &mut impl Read, ends_with_newline: bool) -> io::Result<u64> {
    let (mut newlines, mut any) = (0, false);
    let mut buf = vec![0; READ];
    loop {
        let read = text.read(&mut buf)?;
        if read == 0 {
            return Ok(newlines + u64::from(any && !ends_with_newline));
        }
        any = true;
        newlines += buf[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}
