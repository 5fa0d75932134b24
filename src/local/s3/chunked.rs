//! `aws-chunked` bodies: the framing in which SDKs send payloads that they sign or checksum while streaming.
//!
//! ```text
//!   5[;chunk-signature=…]\r\n hello \r\n … 0[;chunk-signature=…]\r\n [x-amz-checksum-crc32:NhCmhg==\r\n …] \r\n
//! ```
//!
//! Signatures are not checked, since any credentials do; a checksum in the trailer is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use http_body_util::BodyDataStream;
use hyper::body::{Body, Frame};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio_util::io::StreamReader;

use crate::local::BoxError;

/// Longest line of framing: a size, a signature, or one trailer.
const LONGEST_LINE: u64 = 4096;

/// Set when the payload did not have the checksum that its trailer says.
pub(super) type Mismatch = Arc<AtomicBool>;

/// The payload of an `aws-chunked` `body`. `trailer` is the request's `x-amz-trailer`: which checksum to expect.
pub(super) fn payload<B>(
    body: B,
    trailer: Option<&str>,
    mismatch: Mismatch,
) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send + use<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let reader = Box::pin(StreamReader::new(BodyDataStream::new(body).map_err(io::Error::other)));
    let state = Dechunker { reader, left: 0, hasher: hasher(trailer), mismatch };
    stream::try_unfold(state, |mut state| async move {
        let next = state.next().await?;
        Ok(next.map(|bytes| (Frame::data(bytes), state)))
    })
}

fn hasher(trailer: Option<&str>) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    match trailer.map(str::trim) {
        Some("x-amz-checksum-crc32") => hasher.crc32 = Some(Crc32::default()),
        Some("x-amz-checksum-crc32c") => hasher.crc32c = Some(Crc32c::default()),
        Some("x-amz-checksum-crc64nvme") => hasher.crc64nvme = Some(Crc64Nvme::default()),
        Some("x-amz-checksum-sha1") => hasher.sha1 = Some(Sha1::default()),
        Some("x-amz-checksum-sha256") => hasher.sha256 = Some(Sha256::default()),
        _ => {}
    }
    hasher
}

struct Dechunker<R> {
    reader: Pin<Box<R>>,
    left: u64,
    hasher: ChecksumHasher,
    mismatch: Mismatch,
}

impl<R: AsyncBufRead + Send> Dechunker<R> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default();
            self.left = u64::from_str_radix(size, 16).map_err(|_| broken(&line))?;
            if self.left == 0 {
                self.trailers().await?;
                return Ok(None);
            }
        }
        let buffer = self.reader.fill_buf().await?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let take = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let bytes = Bytes::copy_from_slice(&buffer[..take]);
        self.reader.consume(take);
        self.hasher.update(&bytes);
        self.left -= take as u64;
        if self.left == 0 {
            let end = self.line().await?;
            if !end.is_empty() {
                return Err(broken(&end));
            }
        }
        Ok(Some(bytes))
    }

    async fn trailers(&mut self) -> io::Result<()> {
        let sums = std::mem::take(&mut self.hasher).finalize();
        loop {
            // Some clients end the body without the empty line.
            let line = match self.line().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                line => line?,
            };
            let Some((name, value)) = line.split_once(':') else { return Ok(()) };
            let computed = match name.trim().to_ascii_lowercase().as_str() {
                "x-amz-checksum-crc32" => &sums.checksum_crc32,
                "x-amz-checksum-crc32c" => &sums.checksum_crc32c,
                "x-amz-checksum-crc64nvme" => &sums.checksum_crc64nvme,
                "x-amz-checksum-sha1" => &sums.checksum_sha1,
                "x-amz-checksum-sha256" => &sums.checksum_sha256,
                _ => continue,
            };
            if computed.as_ref().is_some_and(|sum| sum != value.trim()) {
                self.mismatch.store(true, Ordering::Release);
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the payload does not have its checksum"));
            }
        }
    }

    /// The next line, without its end.
    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let read = (&mut self.reader).take(LONGEST_LINE).read_line(&mut line).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !line.ends_with('\n') {
            return Err(broken(&line));
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }
}

fn broken(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not aws-chunked: {:?}", &line[..line.len().min(40)]))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use http_body_util::StreamBody;

    use super::*;

    /// Decodes `body`, which arrives in pieces of `piece` bytes.
    async fn decoded(body: &str, trailer: Option<&str>, piece: usize) -> (Result<String, BoxError>, bool) {
        let frames: Vec<Result<Frame<Bytes>, BoxError>> =
            body.as_bytes().chunks(piece).map(|bytes| Ok(Frame::data(Bytes::copy_from_slice(bytes)))).collect();
        let mismatch = Mismatch::default();
        let stream = payload(StreamBody::new(stream::iter(frames)), trailer, Arc::clone(&mismatch));
        let mut stream = Box::pin(stream);
        let mut whole = Vec::new();
        let result = loop {
            match stream.next().await {
                Some(Ok(frame)) => whole.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(error)) => break Err(error),
                None => break Ok(String::from_utf8(whole).unwrap()),
            }
        };
        (result, mismatch.load(Ordering::Acquire))
    }

    #[tokio::test]
    async fn chunks_are_joined_wherever_the_network_cuts_them() {
        let body = "5;chunk-signature=00\r\nhello\r\n8\r\n, world\n\r\n0;chunk-signature=11\r\n\r\n";
        for piece in 1..body.len() {
            assert_eq!(decoded(body, None, piece).await.0.unwrap(), "hello, world\n");
        }
    }

    #[tokio::test]
    async fn a_checksum_in_the_trailer_is_checked() {
        // CRC-32 of "hello" is 3610a686.
        let good = "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n";
        let (whole, mismatch) = decoded(good, Some("x-amz-checksum-crc32"), 7).await;
        assert_eq!(whole.unwrap(), "hello");
        assert!(!mismatch);
        let bad = good.replace("hello", "jello");
        let (whole, mismatch) = decoded(&bad, Some("x-amz-checksum-crc32"), 7).await;
        assert!(whole.is_err());
        assert!(mismatch);
    }

    #[tokio::test]
    async fn a_body_that_is_cut_short_or_not_chunked_is_an_error() {
        assert!(decoded("5\r\nhel", None, 4).await.0.is_err());
        assert!(decoded("hello", None, 4).await.0.is_err());
        assert!(decoded("5\r\nhelloo\r\n0\r\n\r\n", None, 4).await.0.is_err());
    }
}
