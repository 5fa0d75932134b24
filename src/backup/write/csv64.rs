//! Writing a `csv64` backup, all of it or nothing: a file appears under its name when it is whole, an object likewise.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt as _;

use crate::backup::error::BackupError;
use crate::backup::location::Location;
use crate::cloud::CloudError;

/// Rows are gathered up to this many bytes before they are compressed or written.
const BLOCK: usize = 256 << 10;
/// The first parts of an upload, bytes (S3 takes at least 5 MiB and at most 10,000 parts: "Amazon S3 multipart upload
/// limits").
const PART: usize = 8 << 20;
/// After this many parts they double, so that 10,000 are enough for the largest object, 5 TiB.
const PARTS_OF_A_SIZE: i32 = 1000;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Rows, each an item.
    pub rows: u64,
    /// Size as it is stored, bytes.
    pub bytes: u64,
}

/// Writes items as `csv64`: rows apart by `\n`, none after the last. Dropped before [`Csv64Writer::finish`] it leaves
/// nothing behind.
#[derive(Debug)]
pub struct Csv64Writer {
    location: Location,
    sink: Sink,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Rows that are not compressed or written yet.
    rows: String,
    written: Written,
}

#[derive(Debug)]
enum Sink {
    File(PartFile),
    Upload(Upload),
    Stdout(tokio::io::Stdout),
}

impl Csv64Writer {
    /// Starts a backup at `to` (`-` is standard output), compressed if `gzip`.
    ///
    /// # Errors
    /// The file can't be made, or S3 is meant and there is no client.
    pub async fn create(to: &Location, s3: Option<&aws_sdk_s3::Client>, gzip: bool) -> Result<Self, BackupError> {
        let sink = match to {
            Location::Stdin => Sink::Stdout(tokio::io::stdout()),
            Location::File(path) => Sink::File(
                PartFile::create(path).await.map_err(|cause| BackupError::Write { location: to.clone(), cause })?,
            ),
            Location::S3 { bucket, key } => Sink::Upload(Upload {
                client: s3.ok_or_else(|| BackupError::NoClient { location: to.clone() })?.clone(),
                bucket: bucket.clone(),
                key: key.clone(),
                id: None,
                parts: Vec::new(),
                waiting: Vec::new(),
            }),
        };
        Ok(Self {
            location: to.clone(),
            sink,
            gzip: gzip.then(|| GzEncoder::new(Vec::new(), Compression::default())),
            rows: String::with_capacity(BLOCK + (BLOCK >> 2)),
            written: Written { rows: 0, bytes: 0 },
        })
    }

    /// Appends one item's JSON as a row.
    ///
    /// # Errors
    /// The disk or S3 refused; nothing will be left at the location.
    pub async fn write(&mut self, item: &[u8]) -> Result<(), BackupError> {
        if self.written.rows > 0 {
            self.rows.push('\n');
        }
        self.written.rows += 1;
        STANDARD.encode_string(item, &mut self.rows);
        if self.rows.len() >= BLOCK { self.pass_on(false).await } else { Ok(()) }
    }

    /// Ends the backup: only now is there something at its location.
    ///
    /// # Errors
    /// As [`Csv64Writer::write`].
    pub async fn finish(mut self) -> Result<Written, BackupError> {
        self.pass_on(true).await?;
        match self.sink {
            Sink::File(file) => {
                file.finish().await.map_err(|cause| BackupError::Write { location: self.location, cause })?;
            }
            Sink::Upload(upload) => {
                upload
                    .finish()
                    .await
                    .map_err(|error| BackupError::Cloud { location: self.location, error: Box::new(error) })?;
            }
            Sink::Stdout(mut stdout) => {
                stdout.flush().await.map_err(|cause| BackupError::Write { location: self.location, cause })?;
            }
        }
        Ok(self.written)
    }

    /// Compresses what was gathered and hands it to the sink.
    async fn pass_on(&mut self, last: bool) -> Result<(), BackupError> {
        let block = match self.gzip.take() {
            None => std::mem::replace(&mut self.rows, String::with_capacity(BLOCK + (BLOCK >> 2))).into_bytes(),
            Some(gzip) => {
                let rows = std::mem::take(&mut self.rows);
                let (block, gzip, rows) = tokio::task::spawn_blocking(move || compress(gzip, rows, last))
                    .await
                    .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
                    .map_err(|cause| BackupError::Write { location: self.location.clone(), cause })?;
                (self.gzip, self.rows) = (gzip, rows);
                block
            }
        };
        self.written.bytes += block.len() as u64;
        match &mut self.sink {
            Sink::File(file) => file
                .file
                .write_all(&block)
                .await
                .map_err(|cause| BackupError::Write { location: self.location.clone(), cause }),
            Sink::Stdout(stdout) => stdout
                .write_all(&block)
                .await
                .map_err(|cause| BackupError::Write { location: self.location.clone(), cause }),
            Sink::Upload(upload) => upload
                .append(block)
                .await
                .map_err(|error| BackupError::Cloud { location: self.location.clone(), error: Box::new(error) }),
        }
    }
}

/// The compressed bytes so far, the encoder unless this was the last block, and the emptied rows.
type Compressed = (Vec<u8>, Option<GzEncoder<Vec<u8>>>, String);

fn compress(mut gzip: GzEncoder<Vec<u8>>, mut rows: String, last: bool) -> io::Result<Compressed> {
    gzip.write_all(rows.as_bytes())?;
    rows.clear();
    if last {
        return Ok((gzip.finish()?, None, rows));
    }
    let block = std::mem::take(gzip.get_mut());
    Ok((block, Some(gzip), rows))
}

/// A file under a temporary name beside its own, which it takes when it is whole.
#[derive(Debug)]
struct PartFile {
    file: tokio::fs::File,
    /// Removes the file when dropped.
    temporary: tempfile::TempPath,
    path: PathBuf,
}

impl PartFile {
    async fn create(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let made = tokio::task::spawn_blocking(move || {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)?;
            let (file, temporary) =
                tempfile::Builder::new().prefix(".sluice-").suffix(".part").tempfile_in(folder)?.into_parts();
            Ok(Self { file: file.into(), temporary, path })
        });
        made.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }

    async fn finish(mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let Self { temporary, path, .. } = self;
        tokio::task::spawn_blocking(move || temporary.persist(path).map_err(|failed| failed.error))
            .await
            .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }
}

/// An object on its way to S3, in parts when it does not fit one.
#[derive(Debug)]
struct Upload {
    client: aws_sdk_s3::Client,
    bucket: String,
    key: String,
    /// Set while a multipart upload is open.
    id: Option<String>,
    parts: Vec<CompletedPart>,
    waiting: Vec<u8>,
}

impl Upload {
    fn action(&self) -> String {
        format!("write s3://{}/{}", self.bucket, self.key)
    }

    async fn append(&mut self, block: Vec<u8>) -> Result<(), CloudError> {
        self.waiting.extend_from_slice(&block);
        let doublings = self.parts.len() as i32 / PARTS_OF_A_SIZE;
        if self.waiting.len() >= PART << doublings { self.send_part().await } else { Ok(()) }
    }

    async fn send_part(&mut self) -> Result<(), CloudError> {
        let id = if let Some(id) = &self.id {
            id.clone()
        } else {
            let created = self
                .client
                .create_multipart_upload()
                .bucket(&self.bucket)
                .key(&self.key)
                .send()
                .await
                .map_err(|error| CloudError::of(&self.action(), &error))?;
            self.id.insert(created.upload_id().unwrap_or_default().to_owned()).clone()
        };
        let number = self.parts.len() as i32 + 1;
        let part = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(id)
            .part_number(number)
            .body(Bytes::from(std::mem::take(&mut self.waiting)).into())
            .send()
            .await
            .map_err(|error| CloudError::of(&self.action(), &error))?;
        self.parts.push(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(part.e_tag)
                .set_checksum_crc32(part.checksum_crc32)
                .build(),
        );
        Ok(())
    }

    async fn finish(mut self) -> Result<(), CloudError> {
        if self.id.is_none() {
            return self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(&self.key)
                .body(Bytes::from(std::mem::take(&mut self.waiting)).into())
                .send()
                .await
                .map(|_| ())
                .map_err(|error| CloudError::of(&self.action(), &error));
        }
        if !self.waiting.is_empty() {
            self.send_part().await?;
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.parts))).build();
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .set_upload_id(self.id.clone())
            .multipart_upload(parts)
            .send()
            .await
            .map_err(|error| CloudError::of(&self.action(), &error))?;
        self.id = None;
        Ok(())
    }
}

impl Drop for Upload {
    /// Parts of an upload that was given up cost money until they are removed.
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(id);
        runtime.spawn(async move {
            if let Err(error) = abort.send().await {
                tracing::warn!("{}", CloudError::of("remove the parts of an upload that was given up", &error));
            }
        });
    }
}

#[cfg(test)]
#[path = "csv64_tests.rs"]
mod tests;
