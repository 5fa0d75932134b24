//! A backup in the layout of a DynamoDB export: data files, each stored whole, and manifests when all are there.
//!
//! ```text
//! AWSDynamoDB/01795140245000-0b7f3a01/
//!   data/000001.json.gz …          up to 16 MiB each
//!   manifest-files.json  .md5      a line for each data file: items, MD5
//!   manifest-summary.json  .md5    the last to be written: without it there is no export
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest as _, Md5};
use serde::Serialize;

use super::flight::{After, Flight, Piece};
use super::rows::{Block, Text};
use super::store::{refused, store};
use super::{About, Destination, Mark};
use crate::backup::error::BackupError;
use crate::backup::format::Format;
use crate::backup::location::Location;
use crate::cloud::CloudError;

/// A data file is stored once it is so large, bytes: small enough that three in flight take little memory, large enough
/// for a reader.
const FILE: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct ExportSink {
    to: Destination,
    client: Option<aws_sdk_s3::Client>,
    /// The data file that is being filled.
    waiting: Vec<u8>,
    text: Text,
    rows: u64,
    bytes: u64,
    blocks: u64,
    flight: Flight,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    version: &'a str,
    export_arn: String,
    start_time: String,
    end_time: String,
    table_arn: &'a str,
    table_id: &'a str,
    export_time: String,
    s3_bucket: Option<&'a str>,
    s3_prefix: Option<&'a str>,
    s3_sse_algorithm: Option<&'a str>,
    s3_sse_kms_key_id: Option<&'a str>,
    manifest_files_s3_key: String,
    billed_size_bytes: u64,
    item_count: u64,
    output_format: &'a str,
    export_type: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names, reason = "the manifest's own names")]
struct DataFile<'a> {
    item_count: u64,
    md5_checksum: &'a str,
    etag: &'a str,
    data_file_s3_key: &'a str,
}

impl ExportSink {
    /// Begins an export, or goes on behind the data files that are stored.
    pub async fn open(
        to: &Destination,
        client: Option<aws_sdk_s3::Client>,
        mark: Option<&Mark>,
        stored: Vec<Piece>,
    ) -> Result<Self, BackupError> {
        let mark = mark.cloned().unwrap_or_default();
        let sink = Self {
            to: to.clone(),
            client,
            waiting: Vec::new(),
            text: Text::default(),
            rows: mark.rows,
            bytes: mark.bytes,
            blocks: 0,
            flight: Flight::new(stored, mark),
        };
        if let Location::File(folder) = sink.place("data") {
            // A folder that can't be written is told before the table is read.
            tokio::fs::create_dir_all(&folder)
                .await
                .map_err(|cause| BackupError::Stopped { location: sink.folder(), cause })?;
        }
        Ok(sink)
    }

    pub async fn append(&mut self, block: &Block) -> Result<(), BackupError> {
        self.text.push(block, true, &mut self.waiting);
        self.rows += block.rows();
        self.blocks += 1;
        if self.waiting.len() >= FILE { self.send_file().await } else { Ok(()) }
    }

    async fn send_file(&mut self) -> Result<(), BackupError> {
        self.flight.room(&self.to.location).await?;
        let number = self.flight.next();
        let mut bytes = std::mem::take(&mut self.waiting);
        let mut text = std::mem::take(&mut self.text);
        text.end(Format::Export, true, &mut bytes);
        self.bytes += bytes.len() as u64;
        let name = self.key(&format!("data/{number:06}.json.gz"));
        let place = self.place(&format!("data/{number:06}.json.gz"));
        let mark = Mark { rows: self.rows, bytes: self.bytes, ..Mark::default() };
        let client = self.client.clone();
        self.flight.launch(After { blocks: self.blocks, mark }, async move {
            let (rows, length) = (text.rows, bytes.len() as u64);
            let checksum = STANDARD.encode(Md5::digest(&bytes));
            let etag = store(place, client, bytes.into()).await?;
            Ok(Piece { number, name, rows, bytes: length, etag, checksum })
        });
        Ok(())
    }

    pub fn settle(&mut self) -> Result<(u64, Mark, Vec<Piece>), BackupError> {
        let (blocks, mark, fresh) = self.flight.settle(&self.to.location)?;
        // Blocks without rows come with no piece: once nothing is on its way, all that came count.
        let blocks = if self.waiting.is_empty() && self.flight.is_idle() { self.blocks } else { blocks };
        Ok((blocks, mark, fresh))
    }

    /// Stores the last data file, and waits until all are.
    pub async fn drain(&mut self) -> Result<(), BackupError> {
        if self.text.rows > 0 {
            self.send_file().await?;
        }
        self.flight.all(&self.to.location).await
    }

    /// Where the export is.
    pub fn folder(&self) -> Location {
        self.place("")
    }

    /// `name` of this export, from the destination on.
    fn below(&self, name: &str) -> String {
        format!("AWSDynamoDB/{}/{name}", self.to.export.as_deref().unwrap_or_default())
    }

    fn place(&self, name: &str) -> Location {
        self.to.location.within(self.below(name).trim_end_matches('/'))
    }

    /// `name` of this export as a manifest has it: from the bucket's root on, of a folder from the destination on.
    fn key(&self, name: &str) -> String {
        match self.place(name) {
            Location::S3 { key, .. } => key,
            _ => self.below(name),
        }
    }

    /// Writes the manifests: now it is an export.
    pub async fn publish(&mut self, about: &About) -> Result<(), BackupError> {
        let stored = self.flight.stored();
        let counted: u64 = stored.iter().map(|piece| piece.rows).sum();
        if counted != self.rows {
            return Err(BackupError::NotAsWritten {
                location: self.folder(),
                reason: format!("its data files hold {counted} items, and {} were written", self.rows),
            });
        }
        let mut files = String::new();
        for piece in stored {
            let line = DataFile {
                item_count: piece.rows,
                md5_checksum: &piece.checksum,
                etag: &piece.etag,
                data_file_s3_key: &piece.name,
            };
            files.push_str(&serde_json::to_string(&line).expect("our own type holds only text and numbers"));
            files.push('\n');
        }
        let (bucket, prefix) = match &self.to.location {
            Location::S3 { bucket, key } => (Some(bucket.as_str()), Some(key.trim_end_matches('/'))),
            _ => (None, None),
        };
        let summary = Summary {
            version: "2023-08-01",
            export_arn: format!("{}/export/{}", about.table_arn, self.to.export.as_deref().unwrap_or_default()),
            start_time: about.started.to_string(),
            end_time: about.ended.to_string(),
            table_arn: &about.table_arn,
            table_id: &about.table_id,
            // A scan shows no single moment. Increments that begin when it began bring what it may have missed.
            export_time: about.started.to_string(),
            s3_bucket: bucket,
            s3_prefix: prefix.filter(|prefix| !prefix.is_empty()),
            s3_sse_algorithm: None,
            s3_sse_kms_key_id: None,
            manifest_files_s3_key: self.key("manifest-files.json"),
            billed_size_bytes: 0,
            item_count: self.rows,
            output_format: "DYNAMODB_JSON",
            export_type: "FULL_EXPORT",
        };
        let summary = serde_json::to_string(&summary).expect("our own type holds only text and numbers");
        for (name, text) in [("manifest-files", files), ("manifest-summary", summary)] {
            let sum = STANDARD.encode(Md5::digest(&text));
            for (extension, text) in [("md5", sum), ("json", text)] {
                let place = self.place(&format!("{name}.{extension}"));
                store(place, self.client.clone(), Bytes::from(text)).await?;
            }
        }
        Ok(())
    }

    /// Removes the data files: without a manifest they are of no use.
    pub async fn discard(self) -> Result<(), BackupError> {
        let folder = self.folder();
        match (&folder, self.client) {
            (Location::File(path), _) => match tokio::fs::remove_dir_all(path).await {
                Ok(()) => Ok(()),
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(cause) => Err(BackupError::Stopped { location: folder, cause }),
            },
            (Location::S3 { bucket, .. }, Some(client)) => {
                for piece in self.flight.stored() {
                    let deleted = client.delete_object().bucket(bucket).key(&piece.name).send().await;
                    deleted
                        .map_err(|error| refused(&folder, CloudError::of(&format!("remove {}", piece.name), &error)))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
