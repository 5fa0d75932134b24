//! S3 on a folder: each bucket a folder in it, each object a file. Any credentials do.
//!
//! s3s-fs answers; what it does not do as AWS does is mended around it: signatures that it can't know, `aws-chunked`
//! bodies, folders that look like objects, and reading in pieces of 4 KiB.

mod chunked;
#[cfg(test)]
mod service_tests;

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{Body, BoxError, LocalError, full};

/// How much of an object is read from its file at once, bytes.
const READ: usize = 256 * 1024;

const CONTENT_SHA256: &str = "x-amz-content-sha256";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const TRAILER: &str = "x-amz-trailer";

/// Query parameters of a presigned URL: of signature version 4, and of version 2, which boto3 still makes by default.
const PRESIGNED: [&str; 10] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "Expires",
];

/// S3 whose objects are files. Bodies stream both ways.
#[derive(Debug)]
pub struct S3 {
    service: S3Service,
    folder: PathBuf,
}

impl S3 {
    /// S3 whose buckets are the folders in `folder`, which is made when missing.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub fn new(folder: &Path) -> Result<Self, LocalError> {
        std::fs::create_dir_all(folder).map_err(|error| LocalError::Folder(folder.to_owned(), error))?;
        let files = FileSystem::new(folder).map_err(|error| LocalError::S3(format!("{error:?}")))?;
        Ok(Self { service: S3ServiceBuilder::new(files).build(), folder: folder.to_owned() })
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let creates_bucket = creates_bucket(&parts);
        let of_upload = parts.uri.query().is_some_and(|query| query.contains("uploadId="));
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let object = if reads { object_path(parts.uri.path()) } else { None }.map(|path| self.folder.join(path));
        if object.as_ref().is_some_and(|path| path.is_dir()) {
            return refusal(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.");
        }
        let framing = take_signature(&mut parts);
        let mismatch = chunked::Mismatch::default();
        let body = match framing {
            Framing::Plain => s3s::Body::from(body),
            Framing::Chunked { trailer } => s3s::Body::http_body_unsync(StreamBody::new(chunked::payload(
                body,
                trailer.as_deref(),
                Arc::clone(&mismatch),
            ))),
        };
        let reply = match self.service.call(Request::from_parts(parts, body)).await {
            Ok(reply) => reply,
            Err(error) => return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &format!("{error:?}")),
        };
        if mismatch.load(Ordering::Acquire) {
            return refusal(
                StatusCode::BAD_REQUEST,
                "BadDigest",
                "The checksum you specified did not match what we received.",
            );
        }
        if creates_bucket && reply.status() == StatusCode::CONFLICT {
            // All buckets here are the caller's own, for which AWS has another code.
            return refusal(
                StatusCode::CONFLICT,
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            );
        }
        if of_upload && reply.status() == StatusCode::FORBIDDEN {
            // Nobody is refused here: what the files know nothing of was ended, and AWS says so.
            return refusal(StatusCode::NOT_FOUND, "NoSuchUpload", "The specified multipart upload does not exist.");
        }
        let reply = reply.map(BodyExt::boxed_unsync);
        match object {
            Some(path) => read_faster(reply, &path).await,
            None => reply,
        }
    }
}

/// The same reply to a `GetObject`, with the object's bytes read in larger pieces.
async fn read_faster(reply: Response<Body>, path: &Path) -> Response<Body> {
    let Some((from, length)) = object_span(reply.headers()) else { return reply };
    let opened = async {
        let mut file = tokio::fs::File::open(path).await?;
        file.seek(SeekFrom::Start(from)).await?;
        std::io::Result::Ok(file)
    };
    let Ok(file) = opened.await else { return reply };
    let pieces = ReaderStream::with_capacity(file.take(length), READ).map_ok(Frame::data).map_err(BoxError::from);
    let (parts, _) = reply.into_parts();
    Response::from_parts(parts, StreamBody::new(pieces).boxed_unsync())
}

/// Where the bytes of a reply to `GetObject` start in their object, and how many they are. `None` for other replies.
fn object_span(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    text(ETAG)?;
    let length = text(CONTENT_LENGTH)?.parse().ok()?;
    let from = match text(CONTENT_RANGE) {
        // `bytes 10-19/5000`
        Some(range) => range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()?,
        None => 0,
    };
    Some((from, length))
}

/// The file of the object that `path` (`/bucket/key`, percent-encoded) names, from S3's folder on. `None` for a bucket,
/// for a key that ends in `/`, and for names that a file system reads in its own way.
fn object_path(path: &str) -> Option<PathBuf> {
    let decoded = percent_decoded(path)?;
    let (bucket, key) = decoded.strip_prefix('/')?.split_once('/')?;
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    (is_plain(bucket) && key.split('/').all(is_plain)).then(|| Path::new(bucket).join(key))
}

/// What percent-encoded `text` stands for. `None` when it is no such text.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// How the body travels.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Plain,
    Chunked { trailer: Option<String> },
}

/// Takes the signature off a request, since s3s refuses signed requests whose secret it does not know, and with it the
/// headers that describe `aws-chunked` framing.
fn take_signature(parts: &mut request::Parts) -> Framing {
    parts.headers.remove(AUTHORIZATION);
    parts.uri = without_parameters(&parts.uri);
    let streaming =
        parts.headers.remove(CONTENT_SHA256).is_some_and(|digest| digest.as_bytes().starts_with(b"STREAMING-"));
    let encoded = take_aws_chunked(&mut parts.headers);
    let trailer = parts.headers.remove(TRAILER).and_then(|name| name.to_str().ok().map(str::to_owned));
    let decoded_length = parts.headers.remove(DECODED_LENGTH);
    if !streaming && !encoded {
        return Framing::Plain;
    }
    // The checksum is in the trailer and checked there: s3s would look for it in the headers.
    parts.headers.remove("x-amz-sdk-checksum-algorithm");
    parts.headers.remove("x-amz-checksum-algorithm");
    match decoded_length {
        Some(length) => parts.headers.insert(CONTENT_LENGTH, length),
        None => parts.headers.remove(CONTENT_LENGTH),
    };
    Framing::Chunked { trailer }
}

/// Removes `aws-chunked` from the content encodings; what else there is belongs to the object.
fn take_aws_chunked(headers: &mut HeaderMap) -> bool {
    let Some(encodings) = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()) else { return false };
    let others: Vec<&str> = encodings.split(',').map(str::trim).filter(|name| *name != "aws-chunked").collect();
    if others.len() == encodings.split(',').count() {
        return false;
    }
    let others = others.join(",");
    match HeaderValue::from_str(&others) {
        Ok(value) if !others.is_empty() => headers.insert(CONTENT_ENCODING, value),
        _ => headers.remove(CONTENT_ENCODING),
    };
    true
}

/// The address without a presigned URL's signature, and without `encoding-type`: s3s-fs promises the encoding in its
/// reply but does not encode, and a client would then decode names that are plain.
fn without_parameters(uri: &Uri) -> Uri {
    let Some(query) = uri.query() else { return uri.clone() };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|parameter| {
            let name = parameter.split('=').next().unwrap_or_default();
            name != "encoding-type" && !PRESIGNED.iter().any(|known| known.eq_ignore_ascii_case(name))
        })
        .collect();
    let path = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) };
    path.parse().unwrap_or_else(|_| uri.clone())
}

fn creates_bucket(parts: &request::Parts) -> bool {
    parts.method == Method::PUT
        && parts.uri.query().unwrap_or_default().is_empty()
        && !parts.uri.path().trim_matches('/').contains('/')
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let message = message.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut reply = Response::new(full(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, headers: &[(&'static str, &'static str)]) -> request::Parts {
        let mut request = Request::put(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_signature_is_taken_off_and_the_rest_stays() {
        let mut request = parts(
            "/b/k?partNumber=1&X-Amz-Signature=00&encoding-type=url&uploadId=u",
            &[
                ("authorization", "AWS4-HMAC-SHA256 …"),
                ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                ("content-encoding", "gzip"),
            ],
        );
        assert_eq!(take_signature(&mut request), Framing::Plain);
        assert_eq!(request.uri, "/b/k?partNumber=1&uploadId=u");
        assert_eq!(request.headers.len(), 1);
        assert_eq!(request.headers[CONTENT_ENCODING], "gzip");
    }

    #[test]
    fn an_object_is_the_file_of_its_decoded_name_and_nothing_outside_its_bucket() {
        assert_eq!(object_path("/b/a%20b/c%2Bd"), Some("b/a b/c+d".into()));
        for other in ["/b", "/b/", "/b/folder/", "/b/../c", "/b/%2e%2e/c", "/b/a//c", "/b/%zz", "/b/%C3"] {
            assert_eq!(object_path(other), None, "{other}");
        }
    }

    #[test]
    fn a_chunked_body_gets_the_length_of_its_payload() {
        let mut request = parts(
            "/b/k",
            &[
                ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
                ("content-encoding", "aws-chunked,gzip"),
                ("content-length", "99"),
                ("x-amz-decoded-content-length", "66"),
                ("x-amz-trailer", "x-amz-checksum-crc32"),
                ("x-amz-sdk-checksum-algorithm", "CRC32"),
            ],
        );
        assert_eq!(take_signature(&mut request), Framing::Chunked { trailer: Some("x-amz-checksum-crc32".into()) });
        assert_eq!(request.headers[CONTENT_LENGTH], "66");
        assert_eq!(request.headers[CONTENT_ENCODING], "gzip");
        assert!(!request.headers.contains_key("x-amz-sdk-checksum-algorithm"));
    }
}
