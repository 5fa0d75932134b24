//! A backup in one S3 object: parts of an upload, of which no object comes before the last is there.
//!
//! Segments are scanned side by side but leave their blocks in one queue, so the parts have one order and their own
//! numbers. The other way, a range of part numbers for each segment, would have to fill 5 MiB in every segment before
//! anything is stored, and spend 10,000 part numbers on segments that may turn out empty.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::flight::{After, Flight, Piece};
use super::rows::{Block, Text};
use super::store::{patient, refused};
use super::{Destination, Mark};
use crate::backup::error::BackupError;
use crate::cloud::CloudError;

/// The first parts of an upload, bytes (S3 takes at least 5 MiB and at most 10,000 parts: "Amazon S3 multipart upload
/// limits").
const PART: usize = 8 << 20;
/// After this many parts they double, so that 10,000 are enough for the largest object, 5 TiB.
const PARTS_OF_A_SIZE: u32 = 1000;

#[derive(Debug)]
pub(super) struct ObjectSink {
    to: Destination,
    client: aws_sdk_s3::Client,
    bucket: String,
    key: String,
    upload: Option<String>,
    /// What is not in a part yet.
    waiting: Vec<u8>,
    text: Text,
    bytes: u64,
    blocks: u64,
    flight: Flight,
}

impl ObjectSink {
    /// Begins an object, or goes on behind the parts that are stored.
    pub fn open(
        to: &Destination,
        client: aws_sdk_s3::Client,
        (bucket, key): (&str, &str),
        mark: Option<&Mark>,
        stored: Vec<Piece>,
    ) -> Self {
        let mark = mark.cloned().unwrap_or_default();
        Self {
            to: to.clone(),
            client,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            upload: mark.upload.clone(),
            waiting: Vec::new(),
            text: mark.text,
            bytes: mark.bytes,
            blocks: 0,
            flight: Flight::new(stored, mark),
        }
    }

    pub async fn append(&mut self, block: &Block) -> Result<(), BackupError> {
        self.text.push(block, self.to.gzip, &mut self.waiting);
        self.blocks += 1;
        let doublings = (self.flight.next() - 1) / PARTS_OF_A_SIZE;
        if self.waiting.len() >= PART << doublings { self.send_part().await } else { Ok(()) }
    }

    async fn send_part(&mut self) -> Result<(), BackupError> {
        let id = match &self.upload {
            Some(id) => id.clone(),
            None => self.begin().await?,
        };
        self.flight.room(&self.to.location).await?;
        let bytes = std::mem::take(&mut self.waiting);
        self.bytes += bytes.len() as u64;
        let number = self.flight.next();
        let mark = Mark { rows: self.text.rows, bytes: self.bytes, text: self.text, upload: self.upload.clone() };
        let (client, bucket, key) = (self.client.clone(), self.bucket.clone(), self.key.clone());
        let location = self.to.location.clone();
        self.flight.launch(After { blocks: self.blocks, mark }, async move {
            let length = bytes.len() as u64;
            let part = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number as i32);
            let part = part.body(Bytes::from(bytes).into()).customize().config_override(patient()).send().await;
            let part = part.map_err(|error| {
                if error.code() == Some("NoSuchUpload") {
                    gone(&location)
                } else {
                    refused(&location, CloudError::of("store a part of the object", &error))
                }
            })?;
            Ok(Piece {
                number,
                bytes: length,
                etag: part.e_tag.unwrap_or_default(),
                checksum: part.checksum_crc32.unwrap_or_default(),
                ..Piece::default()
            })
        });
        Ok(())
    }

    async fn begin(&mut self) -> Result<String, BackupError> {
        let created = self.client.create_multipart_upload().bucket(&self.bucket).key(&self.key).send().await;
        let created =
            created.map_err(|error| refused(&self.to.location, CloudError::of("begin the object", &error)))?;
        Ok(self.upload.insert(created.upload_id.unwrap_or_default()).clone())
    }

    pub fn settle(&mut self) -> Result<(u64, Mark, Vec<Piece>), BackupError> {
        let (blocks, mut mark, fresh) = self.flight.settle(&self.to.location)?;
        // Blocks without rows come with no piece: once nothing is on its way, all that came count.
        let blocks = if self.waiting.is_empty() && self.flight.is_idle() { self.blocks } else { blocks };
        // Known as soon as it is open, so that a resume goes on with it and a cancel finds it.
        mark.upload.clone_from(&self.upload);
        Ok((blocks, mark, fresh))
    }

    /// Ends the text, and waits until all parts are stored. An empty backup has none.
    pub async fn drain(&mut self) -> Result<(), BackupError> {
        if !self.text.ended && self.text.rows > 0 {
            self.text.end(self.to.format, self.to.gzip, &mut self.waiting);
        }
        if !self.waiting.is_empty() {
            self.send_part().await?;
        }
        self.flight.all(&self.to.location).await
    }

    /// Makes the object of its parts.
    pub async fn publish(&mut self) -> Result<(), BackupError> {
        let Some(id) = self.upload.clone() else {
            let mut nothing = Vec::new();
            self.text.end(self.to.format, self.to.gzip, &mut nothing);
            let put = self.client.put_object().bucket(&self.bucket).key(&self.key).if_none_match("*");
            return match put.body(Bytes::from(nothing).into()).send().await {
                Ok(_) => Ok(()),
                Err(error) if error.code() == Some("PreconditionFailed") => Err(self.taken()),
                Err(error) => Err(refused(&self.to.location, CloudError::of("write the object", &error))),
            };
        };
        let parts = self.flight.stored().iter().map(|piece| {
            CompletedPart::builder()
                .part_number(piece.number as i32)
                .e_tag(&piece.etag)
                .set_checksum_crc32(Some(piece.checksum.clone()).filter(|sum| !sum.is_empty()))
                .build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let completed = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(id)
            .multipart_upload(parts)
            .if_none_match("*")
            .customize()
            .config_override(patient())
            .send()
            .await;
        match completed {
            Ok(_) => {}
            Err(error) if error.code() == Some("PreconditionFailed") => return Err(self.taken()),
            // Done before, and the answer was lost: the object below tells.
            Err(error) if error.code() == Some("NoSuchUpload") => {}
            Err(error) => {
                return Err(refused(&self.to.location, CloudError::of("make the object of its parts", &error)));
            }
        }
        let there = self.client.head_object().bucket(&self.bucket).key(&self.key).send().await;
        match there {
            Ok(there) if there.content_length == Some(self.bytes as i64) => Ok(()),
            Ok(there) => Err(BackupError::NotAsWritten {
                location: self.to.location.clone(),
                reason: format!(
                    "the object has {} bytes, and {} were stored",
                    there.content_length.unwrap_or_default(),
                    self.bytes
                ),
            }),
            Err(error) if error.code() == Some("NotFound") => Err(gone(&self.to.location)),
            Err(error) => Err(refused(&self.to.location, CloudError::of("look at the object", &error))),
        }
    }

    fn taken(&self) -> BackupError {
        BackupError::Exists { location: self.to.location.clone() }
    }

    /// Removes the parts: they cost money until then.
    pub async fn discard(self) -> Result<(), BackupError> {
        let Some(id) = self.upload else { return Ok(()) };
        // A part that lands after the upload is gone would stay.
        drop(self.flight);
        let abort = self.client.abort_multipart_upload().bucket(self.bucket).key(self.key).upload_id(id).send().await;
        match abort {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(refused(&self.to.location, CloudError::of("remove the parts of the upload", &error))),
        }
    }
}

fn gone(location: &crate::backup::location::Location) -> BackupError {
    BackupError::Gone {
        location: location.clone(),
        reason: "its upload is not there any more (a rule of the bucket may end unfinished ones)".to_owned(),
    }
}
