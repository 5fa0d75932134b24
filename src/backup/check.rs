//! The check of a set's files against what their manifests say, before anything is made of them.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use md5::{Digest as _, Md5};
use tokio::sync::mpsc;

use super::error::BackupError;
use super::expand::Input;
use super::location::Location;
use super::set::Set;
use super::source;

/// How many files are read at the same time.
const AT_A_TIME: usize = 4;
/// How much is read at once, bytes.
const CHUNK: usize = 256 << 10;

/// A file that must not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The file.
    pub location: Location,
    /// Why, in words.
    pub reason: String,
}

/// Checks every file of `set` against its manifest: that it is there, its MD5 and its number of items, for which it is read
/// once. Plain files have no manifest and pass unread.
///
/// `progress` is told the stored bytes that were read so far, of all files together.
///
/// # Errors
/// Reading failed, which tells nothing of the file.
pub async fn check(
    set: &Set,
    s3: Option<&aws_sdk_s3::Client>,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Vec<Unfit>, BackupError> {
    let given_up = GivenUp::default();
    let (passed, mut passing) = mpsc::unbounded_channel();
    let told_of: Vec<&Input> = set.inputs().filter(|input| input.md5.is_some() || input.items.is_some()).collect();
    let checks = told_of.into_iter().map(|input| {
        let examined = Examined { passed: passed.clone(), given_up: Arc::clone(&given_up.0) };
        async move {
            let reason = unfit(input, s3, examined).await?;
            Ok(reason.map(|reason| Unfit { location: input.location.clone(), reason }))
        }
    });
    let mut checks = futures::stream::iter(checks).buffered(AT_A_TIME);
    let (mut all, mut found) = (0, Vec::new());
    loop {
        tokio::select! {
            biased;
            Some(bytes) = passing.recv() => {
                all += bytes;
                progress(all);
            }
            checked = checks.next() => match checked {
                Some(checked) => found.extend(checked?),
                None => return Ok(found),
            },
        }
    }
}

/// Ends the threads that read when nobody waits for them any more.
#[derive(Debug, Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What a thread that reads is bound to.
struct Examined {
    /// Is told the bytes that were read.
    passed: mpsc::UnboundedSender<u64>,
    given_up: Arc<AtomicBool>,
}

/// Why `input` is not what its manifest says, if it is not.
async fn unfit(
    input: &Input,
    s3: Option<&aws_sdk_s3::Client>,
    examined: Examined,
) -> Result<Option<String>, BackupError> {
    if input.bytes.is_none() {
        return Ok(Some(NOT_THERE.to_owned()));
    }
    let location = input.location.clone();
    let stored = match source::open(input, s3, 0, None, true).await {
        Ok(found) => found,
        Err(BackupError::NotFound { .. }) => return Ok(Some(NOT_THERE.to_owned())),
        Err(error @ BackupError::Changed { .. }) => return Ok(Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let (md5, items) = (input.md5, input.items);
    let bounds = location.clone();
    let read = tokio::task::spawn_blocking(move || {
        let bytes = stored.stored(&bounds).map_err(|error| (0, error))?;
        let mut hashed = Hashed { bytes, md5: Md5::new(), count: 0, failed: None, examined };
        reason(&mut hashed, md5, items)
    });
    match read.await.unwrap_or_else(|stopped| Err((0, io::Error::other(stopped)))) {
        Ok(reason) => Ok(reason),
        Err((_, cause)) if cause.kind() == io::ErrorKind::NotFound => Ok(Some(NOT_THERE.to_owned())),
        Err((byte, cause)) => Err(BackupError::Unreadable { location, byte, compressed: false, cause }),
    }
}

const NOT_THERE: &str = "its manifest names it, but it is not there: fetch it again";

/// Bytes that are digested on the way.
struct Hashed {
    bytes: Box<dyn Read + Send>,
    md5: Md5,
    count: u64,
    /// What went wrong in reading, as opposed to decompressing.
    failed: Option<io::Error>,
    examined: Examined,
}

impl Read for Hashed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.examined.given_up.load(Relaxed) {
            return Err(io::Error::other("the check was given up"));
        }
        match self.bytes.read(out) {
            Ok(read) => {
                self.md5.update(&out[..read]);
                self.count += read as u64;
                // Nobody is told any more when the check was given up.
                let _ = self.examined.passed.send(read as u64);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// Reads all and says what does not fit. An error is one of reading, with the byte where it came.
fn reason(hashed: &mut Hashed, md5: Option<[u8; 16]>, items: Option<u64>) -> Result<Option<String>, (u64, io::Error)> {
    let counted = items.map(|_| lines(hashed));
    let rest = io::copy(hashed, &mut io::sink());
    if let Some(error) = hashed.failed.take() {
        return Err((hashed.count, error));
    }
    rest.map_err(|error| (hashed.count, error))?;
    let found: [u8; 16] = std::mem::take(&mut hashed.md5).finalize().into();
    Ok(match (md5, counted, items) {
        (Some(md5), _, _) if md5 != found => Some(format!(
            "its MD5 is {} and its manifest says {}: it is not the file that was exported, fetch it again",
            STANDARD.encode(found),
            STANDARD.encode(md5)
        )),
        (_, Some(Err(error)), _) => Some(format!("it can't be decompressed ({error}): fetch it again")),
        (_, Some(Ok(counted)), Some(items)) if counted != items => {
            Some(format!("it holds {counted} items and its manifest says {items}: fetch both again"))
        }
        _ => None,
    })
}

/// Lines that are not empty, of the decompressed text.
fn lines(stored: &mut Hashed) -> io::Result<u64> {
    let (mut text, _) = source::decompressed(Box::new(stored))?;
    let mut chunk = vec![0; CHUNK];
    let (mut count, mut is_empty) = (0, true);
    loop {
        let read = match text.read(&mut chunk) {
            Ok(0) => return Ok(count + u64::from(!is_empty)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for byte in &chunk[..read] {
            match byte {
                b'\n' => {
                    count += u64::from(!is_empty);
                    is_empty = true;
                }
                b'\r' => {}
                _ => is_empty = false,
            }
        }
    }
}
