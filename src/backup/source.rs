//! Where a backup's bytes come from: a file, an object in S3 or standard input, decompressed on the way.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::BackupError;
use super::expand::Input;
use super::location::Location;
use crate::cloud::{Class, CloudError};

/// How much of a text is looked at to know its compression and format, bytes.
const HEAD: u64 = 64 << 10;
/// What the decompressors read at once, bytes.
const READ_AHEAD: usize = 128 << 10;
/// Pieces of an object that wait for the splitter; each is what the connection gave, at most a few hundred KiB.
const PIECES_AHEAD: usize = 8;
/// How much is fetched behind the end of a piece, whose last line may go on there, bytes.
const BEHIND: u64 = 64 << 10;
/// How much more is fetched at a time of a line that goes on behind that, bytes.
const FURTHER: u64 = 1 << 20;
/// How often in a row a broken download is taken up again without a byte in between.
const TRIES: u32 = 5;

/// A text, ready to be read.
pub(super) struct Source {
    /// The decompressed text from byte `at` on.
    pub(super) text: Box<dyn Read + Send>,
    /// The first bytes of the decompressed text.
    pub(super) head: Vec<u8>,
    /// The byte at which `text` begins.
    pub(super) at: u64,
    /// True for gzip and zstd.
    pub(super) compressed: bool,
}

/// Counts the bytes that pass, as they are stored.
struct Counted<R> {
    bytes: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(out)?;
        self.count.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

/// Ends after as many bytes as the file had when it was looked up: what is appended later is no part of the backup.
struct Bounded<R> {
    bytes: R,
    /// How many are still to come; `None` for a file whose size is not known.
    left: Option<u64>,
    location: Location,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(left) = &mut self.left else { return self.bytes.read(out) };
        if *left == 0 {
            if self.bytes.read(&mut [0])? > 0 {
                tracing::warn!("{} has grown since it was looked up: what was added is not read", self.location);
            }
            return Ok(0);
        }
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(out.len());
        let read = self.bytes.read(&mut out[..most])?;
        if read == 0 && most > 0 {
            let missing = format!("it has become {left} bytes shorter since it was looked up");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, missing));
        }
        *left -= read as u64;
        Ok(read)
    }
}

/// A source that was found, to be started on the thread that reads it.
pub(super) enum Found {
    /// A file, of so many bytes if that is known.
    File(PathBuf, Option<u64>),
    Stdin,
    /// A plain object, already coming from byte `at` on.
    From {
        at: u64,
        head: Vec<u8>,
        rest: Pieces,
    },
    /// An object coming from its first byte on.
    Whole(Pieces),
}

/// Finds `input`, to be read from byte `from` of its text on, up to about `to`. Its head is not needed when its format is
/// known.
pub(super) async fn open(
    input: &Input,
    s3: Option<&aws_sdk_s3::Client>,
    from: u64,
    to: Option<u64>,
    format_known: bool,
) -> Result<Found, BackupError> {
    let location = &input.location;
    match location {
        Location::File(path) => Ok(Found::File(path.clone(), input.bytes)),
        Location::Stdin => Ok(Found::Stdin),
        Location::S3 { bucket, key } => {
            let client = s3.ok_or_else(|| BackupError::NoClient { location: location.clone() })?.clone();
            let object = Object::look_at(client, bucket, key).await.map_err(|error| {
                if error.class == Class::NotFound {
                    BackupError::NotFound { location: location.clone(), nearest: None }
                } else {
                    BackupError::Cloud { location: location.clone(), error: Box::new(error) }
                }
            })?;
            unchanged(location, input.bytes, object.bytes, true)?;
            // Only a plain file is cut.
            let head_known = to.is_some() && format_known;
            match object.open(from, to, head_known).await {
                Ok(Some(found)) => Ok(found),
                Ok(None) => {
                    Err(BackupError::Shorter { location: location.clone(), bytes: input.bytes.unwrap_or(0), from })
                }
                Err(error) => Err(BackupError::Cloud { location: location.clone(), error: Box::new(error) }),
            }
        }
    }
}

/// An error when a file of `then` bytes has `now` bytes and that is no growth at its end.
fn unchanged(location: &Location, then: Option<u64>, now: u64, replaced: bool) -> Result<(), BackupError> {
    match then {
        Some(then) if now < then || replaced && now != then => {
            Err(BackupError::Changed { location: location.clone(), then, now })
        }
        _ => Ok(()),
    }
}

impl Found {
    /// Its bytes as they are stored.
    pub(super) fn stored(self, location: &Location) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::File(path, left) => Box::new(Bounded { bytes: File::open(path)?, left, location: location.clone() }),
            Self::Stdin => Box::new(io::stdin()),
            Self::Whole(pieces) | Self::From { rest: pieces, .. } => Box::new(pieces),
        })
    }

    /// Starts reading, on the thread that goes on reading. `passed` is kept at how far into the stored bytes it is.
    pub(super) fn start(self, location: &Location, from: u64, passed: &Arc<AtomicU64>) -> Result<Source, BackupError> {
        let opened = match self {
            Self::File(path, bytes) => {
                if let Ok(about) = std::fs::metadata(&path) {
                    unchanged(location, bytes, about.len(), false)?;
                }
                start_file(&path, location, bytes, from, passed)
            }
            Self::Stdin => start_whole(io::stdin(), passed),
            Self::Whole(pieces) => start_whole(pieces, passed),
            Self::From { at, head, rest } => {
                Ok(Source { text: counted(rest, passed, at), head, at, compressed: false })
            }
        };
        opened.map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => BackupError::NotFound { location: location.clone(), nearest: None },
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
                BackupError::Open { location: location.clone(), cause }
            }
            // Its first bytes are broken already: a disk, a connection or a decompressor.
            _ => BackupError::Unreadable { location: location.clone(), byte: 0, compressed: false, cause },
        })
    }
}

/// `bytes`, counted from `at` on.
fn counted(bytes: impl Read + Send + 'static, passed: &Arc<AtomicU64>, at: u64) -> Box<dyn Read + Send> {
    passed.store(at, Relaxed);
    Box::new(Counted { bytes, count: Arc::clone(passed) })
}

fn start_file(
    path: &Path,
    location: &Location,
    bytes: Option<u64>,
    from: u64,
    passed: &Arc<AtomicU64>,
) -> io::Result<Source> {
    let bounded = |file, left| Bounded { bytes: file, left, location: location.clone() };
    let mut source = start_whole(bounded(File::open(path)?, bytes), passed)?;
    if from > 0 && !source.compressed {
        let mut file = File::open(path)?;
        // Past the end there is nothing to seek to: what is missing then shows when it is read.
        let end = bytes.map_or_else(|| file.metadata().map(|about| about.len()), Ok)?;
        source.at = file.seek(SeekFrom::Start(from.min(end)))?;
        source.text = counted(bounded(file, bytes.map(|bytes| bytes - source.at)), passed, source.at);
    }
    Ok(source)
}

fn start_whole(bytes: impl Read + Send + 'static, passed: &Arc<AtomicU64>) -> io::Result<Source> {
    let (mut text, compressed) = decompressed(counted(bytes, passed, 0))?;
    let mut head = Vec::new();
    let read = text.by_ref().take(HEAD).read_to_end(&mut head);
    match read {
        // What came before a fault is still to be read; the fault comes again behind it.
        Err(fault) if !head.is_empty() => {
            let text = Box::new(Cursor::new(head.clone()).chain(Fault(Some(fault))));
            Ok(Source { text, head, at: 0, compressed })
        }
        Err(fault) => Err(fault),
        Ok(_) => Ok(Source { text: Box::new(Cursor::new(head.clone()).chain(text)), head, at: 0, compressed }),
    }
}

/// Gives its error, then ends.
struct Fault(Option<io::Error>);

impl Read for Fault {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// True when the file at `location` begins like gzip or zstd.
pub(super) async fn is_compressed(location: &Location, s3: Option<&aws_sdk_s3::Client>) -> Result<bool, BackupError> {
    let magic = match location {
        Location::Stdin => return Ok(false),
        Location::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || {
                let mut magic = Vec::new();
                File::open(path)?.take(4).read_to_end(&mut magic)?;
                Ok(Bytes::from(magic))
            });
            let read = read.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
            read.map_err(|cause| match cause.kind() {
                io::ErrorKind::NotFound => BackupError::NotFound { location: location.clone(), nearest: None },
                _ => BackupError::Open { location: location.clone(), cause },
            })?
        }
        Location::S3 { bucket, key } => {
            let client = s3.ok_or_else(|| BackupError::NoClient { location: location.clone() })?.clone();
            let object = Object { client, bucket: bucket.clone(), key: key.clone(), etag: None, bytes: 0 };
            object
                .head(4)
                .await
                .map_err(|error| BackupError::Cloud { location: location.clone(), error: Box::new(error) })?
        }
    };
    Ok(is_gzip(&magic) || is_zstd(&magic))
}

/// What the first bytes of a file say about its compression.
fn is_gzip(magic: &[u8]) -> bool {
    magic.starts_with(&[0x1F, 0x8B])
}

fn is_zstd(magic: &[u8]) -> bool {
    magic.starts_with(&[0x28, 0xB5, 0x2F, 0xFD])
}

/// The text of `bytes`, and whether they were compressed.
pub(super) fn decompressed<'a>(mut bytes: Box<dyn Read + Send + 'a>) -> io::Result<(Box<dyn Read + Send + 'a>, bool)> {
    let mut magic = Vec::new();
    bytes.by_ref().take(4).read_to_end(&mut magic)?;
    let (gzip, zstd) = (is_gzip(&magic), is_zstd(&magic));
    let whole = BufReader::with_capacity(READ_AHEAD, Cursor::new(magic).chain(bytes));
    Ok(if gzip {
        (Box::new(flate2::bufread::MultiGzDecoder::new(whole)), true)
    } else if zstd {
        (Box::new(zstd::stream::read::Decoder::with_buffer(whole)?), true)
    } else {
        (Box::new(whole), false)
    })
}

/// An object in S3, as it was when it was opened.
#[derive(Clone, Debug)]
struct Object {
    client: aws_sdk_s3::Client,
    bucket: String,
    key: String,
    etag: Option<String>,
    bytes: u64,
}

impl Object {
    async fn look_at(client: aws_sdk_s3::Client, bucket: &str, key: &str) -> Result<Self, CloudError> {
        let known = client
            .head_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| CloudError::of(&format!("look at s3://{bucket}/{key}"), &error))?;
        Ok(Self {
            bytes: known.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
            etag: known.e_tag().map(ToOwned::to_owned),
            client,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Starts to fetch it from `from` on; `None` when it ends before that.
    async fn open(self, from: u64, to: Option<u64>, head_known: bool) -> Result<Option<Found>, CloudError> {
        if from == 0 || self.bytes == 0 {
            return Ok(Some(Found::Whole(self.pieces(0, to))));
        }
        let head = if head_known { Bytes::new() } else { self.head(HEAD).await? };
        Ok(if is_gzip(&head) || is_zstd(&head) {
            Some(Found::Whole(self.pieces(0, None)))
        } else if from > self.bytes {
            None
        } else {
            Some(Found::From { at: from, head: head.into(), rest: self.pieces(from, to) })
        })
    }

    /// Its first bytes.
    async fn head(&self, bytes: u64) -> Result<Bytes, CloudError> {
        let head = self.get(0, bytes).await?.collect().await.map_err(|error| {
            CloudError::new(
                Class::Transient,
                format!("could not read s3://{}/{}", self.bucket, self.key),
                error.to_string(),
            )
        })?;
        Ok(head.into_bytes())
    }

    /// The object's bytes from `at` on, fetched by a task that ends when nobody reads them. Behind `to` they are only
    /// fetched when they are read.
    fn pieces(self, at: u64, to: Option<u64>) -> Pieces {
        let (sender, received) = mpsc::channel(PIECES_AHEAD);
        let left = self.bytes - at;
        tokio::spawn(self.fetch(at, to, sender));
        Pieces { received, current: Bytes::new(), left }
    }

    /// Asks for the bytes from `from` up to `to`.
    async fn get(&self, from: u64, to: u64) -> Result<aws_sdk_s3::primitives::ByteStream, CloudError> {
        let action = format!("read s3://{}/{}", self.bucket, self.key);
        self.client
            .get_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .range(format!("bytes={from}-{}", to - 1))
            // Overwritten while it is read, it would be half of one backup and half of another.
            .set_if_match(self.etag.clone())
            .send()
            .await
            .map(|answer| answer.body)
            .map_err(|error| CloudError::of(&action, &error))
    }

    /// Sends the bytes from `at` to the end. A download that breaks off is taken up where it broke.
    async fn fetch(self, mut at: u64, to: Option<u64>, sender: mpsc::Sender<io::Result<Bytes>>) {
        let mut failures = 0;
        let mut stop = to.map_or(self.bytes, |to| (to + BEHIND).min(self.bytes));
        while at < self.bytes {
            if at >= stop {
                // Asked for only when everything before it was taken, which a piece seldom needs.
                if sender.reserve_many(PIECES_AHEAD).await.is_err() {
                    return;
                }
                stop = (at + FURTHER).min(self.bytes);
            }
            let failure = match self.get(at, stop).await {
                Ok(mut body) => loop {
                    match body.next().await {
                        Some(Ok(piece)) => {
                            at += piece.len() as u64;
                            failures = 0;
                            if sender.send(Ok(piece)).await.is_err() {
                                return;
                            }
                        }
                        Some(Err(error)) => break Some(io::Error::other(error)),
                        None if at < stop => break Some(io::ErrorKind::UnexpectedEof.into()),
                        None => break None,
                    }
                },
                Err(error) if error.class.is_retryable() => Some(io::Error::other(error)),
                Err(error) => {
                    let _ = sender.send(Err(io::Error::other(error))).await;
                    return;
                }
            };
            let Some(failure) = failure else { continue };
            failures += 1;
            if failures == TRIES {
                let _ = sender.send(Err(failure)).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(100 << failures)).await;
        }
    }
}

/// Pieces of an object as a blocking reader.
pub(super) struct Pieces {
    received: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    /// Bytes that have not been received yet.
    left: u64,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.received.blocking_recv() {
                // The task that fetches is gone, with its runtime: that is no end of the object.
                None if self.left > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => return Ok(0),
                Some(piece) => {
                    self.current = piece?;
                    self.left = self.left.saturating_sub(self.current.len() as u64);
                }
            }
        }
        let count = self.current.len().min(out.len());
        out[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
