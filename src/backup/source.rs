//! Where a backup's bytes come from: a file, an object in S3 or standard input, decompressed on the way.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::BackupError;
use super::location::Location;
use crate::cloud::{Class, CloudError};

/// How much of a text is looked at to know its compression and format, bytes.
const HEAD: u64 = 64 << 10;
/// What the decompressors read at once, bytes.
const READ_AHEAD: usize = 128 << 10;
/// Pieces of an object that wait for the splitter; each is what the connection gave, at most a few hundred KiB.
const PIECES_AHEAD: usize = 8;
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

/// A source that was found, to be started on the thread that reads it.
pub(super) enum Found {
    File(PathBuf),
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

/// Finds `location`, to be read from byte `from` of its text on.
pub(super) async fn open(
    location: &Location,
    s3: Option<&aws_sdk_s3::Client>,
    from: u64,
) -> Result<Found, BackupError> {
    match location {
        Location::File(path) => Ok(Found::File(path.clone())),
        Location::Stdin => Ok(Found::Stdin),
        Location::S3 { bucket, key } => {
            let client = s3.ok_or_else(|| BackupError::NoClient { location: location.clone() })?.clone();
            open_object(Object { client, bucket: bucket.clone(), key: key.clone(), etag: None, bytes: 0 }, from)
                .await
                .map_err(|error| match error {
                    ObjectError::Cloud(error) if error.class == Class::NotFound => {
                        BackupError::NotFound { location: location.clone(), nearest: None }
                    }
                    ObjectError::Cloud(error) => BackupError::Cloud { location: location.clone(), error },
                    ObjectError::Shorter(bytes) => BackupError::Shorter { location: location.clone(), bytes, from },
                })
        }
    }
}

impl Found {
    /// Starts reading, on the thread that goes on reading. `passed` is kept at how far into the stored bytes it is.
    pub(super) fn start(self, location: &Location, from: u64, passed: &Arc<AtomicU64>) -> Result<Source, BackupError> {
        let opened = match self {
            Self::File(path) => start_file(&path, from, passed),
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

fn start_file(path: &std::path::Path, from: u64, passed: &Arc<AtomicU64>) -> io::Result<Source> {
    let mut source = start_whole(File::open(path)?, passed)?;
    if from > 0 && !source.compressed {
        let mut file = File::open(path)?;
        // Past the end there is nothing to seek to: what is missing then shows when it is read.
        source.at = file.seek(SeekFrom::Start(from.min(file.metadata()?.len())))?;
        source.text = counted(file, passed, source.at);
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

/// What the first bytes of a file say about its compression.
fn is_gzip(magic: &[u8]) -> bool {
    magic.starts_with(&[0x1F, 0x8B])
}

fn is_zstd(magic: &[u8]) -> bool {
    magic.starts_with(&[0x28, 0xB5, 0x2F, 0xFD])
}

/// The text of `bytes`, and whether they were compressed.
fn decompressed(mut bytes: Box<dyn Read + Send>) -> io::Result<(Box<dyn Read + Send>, bool)> {
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

enum ObjectError {
    Cloud(CloudError),
    Shorter(u64),
}

impl From<CloudError> for ObjectError {
    fn from(error: CloudError) -> Self {
        Self::Cloud(error)
    }
}

async fn open_object(mut object: Object, from: u64) -> Result<Found, ObjectError> {
    let action = format!("look at s3://{}/{}", object.bucket, object.key);
    let known = object
        .client
        .head_object()
        .bucket(&object.bucket)
        .key(&object.key)
        .send()
        .await
        .map_err(|error| CloudError::of(&action, &error))?;
    object.bytes = known.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    object.etag = known.e_tag().map(ToOwned::to_owned);
    if from == 0 || object.bytes == 0 {
        return Ok(Found::Whole(object.pieces(0)));
    }
    let head = object.get(format!("bytes=0-{}", HEAD - 1)).await?.collect().await.map_err(|error| {
        CloudError::new(
            Class::Transient,
            format!("could not read s3://{}/{}", object.bucket, object.key),
            error.to_string(),
        )
    })?;
    let head = head.into_bytes();
    if is_gzip(&head) || is_zstd(&head) {
        Ok(Found::Whole(object.pieces(0)))
    } else if from > object.bytes {
        Err(ObjectError::Shorter(object.bytes))
    } else {
        Ok(Found::From { at: from, head: head.into(), rest: object.pieces(from) })
    }
}

impl Object {
    /// The object's bytes from `at` on, fetched by a task that ends when nobody reads them.
    fn pieces(self, at: u64) -> Pieces {
        let (sender, received) = mpsc::channel(PIECES_AHEAD);
        let left = self.bytes - at;
        tokio::spawn(self.fetch(at, sender));
        Pieces { received, current: Bytes::new(), left }
    }

    async fn get(&self, range: String) -> Result<aws_sdk_s3::primitives::ByteStream, CloudError> {
        let action = format!("read s3://{}/{}", self.bucket, self.key);
        self.client
            .get_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .range(range)
            // Overwritten while it is read, it would be half of one backup and half of another.
            .set_if_match(self.etag.clone())
            .send()
            .await
            .map(|answer| answer.body)
            .map_err(|error| CloudError::of(&action, &error))
    }

    /// Sends the bytes from `at` to the end. A download that breaks off is taken up where it broke.
    async fn fetch(self, mut at: u64, sender: mpsc::Sender<io::Result<Bytes>>) {
        let mut failures = 0;
        while at < self.bytes {
            let failure = match self.get(format!("bytes={at}-")).await {
                Ok(mut body) => loop {
                    match body.next().await {
                        Some(Ok(piece)) => {
                            at += piece.len() as u64;
                            failures = 0;
                            if sender.send(Ok(piece)).await.is_err() {
                                return;
                            }
                        }
                        Some(Err(error)) => break io::Error::other(error),
                        None if at < self.bytes => break io::ErrorKind::UnexpectedEof.into(),
                        None => return,
                    }
                },
                Err(error) if error.class.is_retryable() => io::Error::other(error),
                Err(error) => {
                    let _ = sender.send(Err(io::Error::other(error))).await;
                    return;
                }
            };
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
