//! What an export says of itself: its summary, the list of its files, and where those are now.
//!
//! ```text
//!   prefix/AWSDynamoDB/<id>/manifest-summary.json   what it is an export of, and of when
//!                           manifest-files.json     a line for each file: its key, MD5 and items
//!                           data/*.json.gz          the files of a full export
//!   prefix/AWSDynamoDB/data/*.json.gz               the files of all incremental exports
//! ```

use std::collections::HashMap;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use serde::Deserialize;

use super::error::BackupError;
use super::expand::{Input, list};
use super::location::Location;
use super::set::Export;
use crate::cloud::CloudError;

/// The name of an export's summary.
pub(super) const SUMMARY: &str = "manifest-summary.json";
/// The name of the list of its files.
pub(super) const FILES: &str = "manifest-files.json";
/// What an export leaves when it begins.
pub(super) const STARTED: &str = "_started";

/// True for a file that every export has beside its data.
pub(super) fn is_of_an_export(name: &str) -> bool {
    name == STARTED || name.starts_with("manifest-summary.") || name.starts_with("manifest-files.")
}

/// `manifest-summary.json`, as far as it matters (`DynamoDB` developer guide, "DynamoDB table export output format").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    table_arn: String,
    table_id: Option<String>,
    /// `FULL_EXPORT` or `INCREMENTAL_EXPORT`; the first exports had none.
    export_type: Option<String>,
    /// Of a full export: the moment that it shows.
    export_time: Option<Timestamp>,
    /// Of an increment: its window.
    export_from_time: Option<Timestamp>,
    export_to_time: Option<Timestamp>,
    /// `DYNAMODB_JSON` or `ION`.
    output_format: Option<String>,
    item_count: Option<u64>,
    /// Where [`FILES`] was when the export was made, from the root of its bucket.
    manifest_files_s3_key: Option<String>,
}

/// A line of `manifest-files.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DataFile {
    item_count: Option<u64>,
    md5_checksum: Option<String>,
    #[serde(rename = "dataFileS3Key")]
    key: String,
}

/// An export with its files.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Manifest {
    /// What it is.
    pub(super) export: Export,
    /// Tells a table from an earlier one of the same name.
    pub(super) table_id: Option<String>,
    /// Its files. One that is not there has no size.
    pub(super) inputs: Vec<Input>,
}

impl Manifest {
    /// Reads the export whose summary is at `summary`.
    pub(super) async fn read(summary: &Location, shelf: &mut Shelf<'_>) -> Result<Self, BackupError> {
        let folder = summary.folder();
        let bad = |manifest: &Location, reason: String| BackupError::BadExport { manifest: manifest.clone(), reason };
        let text = shelf.intact(summary, "manifest-summary").await?;
        let told: Summary = serde_json::from_slice(&text)
            .map_err(|error| bad(summary, format!("it is no summary of an export ({error}): fetch it again")))?;
        if told.output_format.as_deref().is_some_and(|format| format != "DYNAMODB_JSON") {
            let format = told.output_format.unwrap_or_default();
            let reason = format!("the export is in {format}, which is not read: export the table as DYNAMODB_JSON");
            return Err(bad(summary, reason));
        }
        let (from, to) = match told.export_type.as_deref() {
            None | Some("FULL_EXPORT") => (None, told.export_time.ok_or("exportTime")),
            Some("INCREMENTAL_EXPORT") => match (told.export_from_time, told.export_to_time) {
                (Some(from), Some(to)) if from >= to => {
                    return Err(bad(summary, format!("its window ends at {to}, before it begins at {from}")));
                }
                (None, _) => (None, Err("exportFromTime")),
                (from, to) => (from, to.ok_or("exportToTime")),
            },
            Some(other) => return Err(bad(summary, format!("{other} is no type of export that is known"))),
        };
        let to = to.map_err(|field| bad(summary, format!("it has no {field}: fetch it again")))?;

        let list = folder.within(FILES);
        let text = shelf.intact(&list, "manifest-files").await?;
        let mut inputs = Vec::new();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |what: String| bad(&list, format!("line {}: {what}: fetch it again", number + 1));
            let file: DataFile = serde_json::from_slice(line).map_err(|error| wrong(error.to_string()))?;
            let md5 = file.md5_checksum.as_deref().map(md5_in);
            let md5 = md5.map(|md5| md5.ok_or_else(|| wrong("its md5Checksum is no MD5".into()))).transpose()?;
            let (location, bytes) = shelf.find(&folder, told.manifest_files_s3_key.as_deref(), &file.key).await?;
            inputs.push(Input { location, bytes, md5, items: file.item_count });
        }
        let listed: Option<u64> = inputs.iter().map(|input| input.items).sum();
        match (listed, told.item_count) {
            (Some(listed), Some(told)) if listed != told => Err(bad(
                summary,
                format!("it counts {told} items and its files {listed}: the two manifests are not of one export"),
            )),
            _ => Ok(Self {
                export: Export {
                    manifest: summary.clone(),
                    table_arn: told.table_arn,
                    from,
                    to,
                    items: told.item_count.or(listed).unwrap_or_default(),
                },
                table_id: told.table_id,
                inputs,
            }),
        }
    }

    /// A sentence about its files that are not there.
    pub(super) fn missing(&self) -> Option<String> {
        let mut missing = self.inputs.iter().filter(|input| input.bytes.is_none());
        let first = missing.next()?;
        let more = missing.count();
        let others = if more > 0 { format!(" and {more} more files") } else { String::new() };
        Some(format!("{} names {}{others}, which is not there", self.export.manifest, first.location))
    }
}

/// The MD5 that is written in base64.
fn md5_in(text: &str) -> Option<[u8; 16]> {
    STANDARD.decode(text.trim()).ok()?.try_into().ok()
}

/// Files by their folders, each of which is listed once.
pub(super) struct Shelf<'a> {
    s3: Option<&'a aws_sdk_s3::Client>,
    /// Names and sizes in bytes.
    folders: HashMap<Location, HashMap<String, u64>>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(s3: Option<&'a aws_sdk_s3::Client>) -> Self {
        Self { s3, folders: HashMap::new() }
    }

    /// The size of a file in bytes, if it is there.
    async fn size(&mut self, file: &Location) -> Result<Option<u64>, BackupError> {
        let folder = file.folder();
        if !self.folders.contains_key(&folder) {
            let names = self.names(&folder).await?;
            self.folders.insert(folder.clone(), names);
        }
        Ok(self.folders.get(&folder).and_then(|names| names.get(file.name()).copied()))
    }

    async fn names(&self, folder: &Location) -> Result<HashMap<String, u64>, BackupError> {
        match folder {
            Location::Stdin => Ok(HashMap::new()),
            Location::File(path) => {
                let path = path.clone();
                let listed = tokio::task::spawn_blocking(move || on_disk(&path)).await;
                listed
                    .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
                    .map_err(|cause| BackupError::Open { location: folder.clone(), cause })
            }
            Location::S3 { bucket, key } => {
                let client = self.s3.ok_or_else(|| BackupError::NoClient { location: folder.clone() })?;
                let prefix = if key.is_empty() { String::new() } else { format!("{key}/") };
                let objects = list(client, folder, bucket, &prefix, Some("/")).await?;
                Ok(objects
                    .into_iter()
                    .filter_map(|(key, bytes)| Some((key.strip_prefix(&prefix)?.to_owned(), bytes)))
                    .collect())
            }
        }
    }

    /// Where the file is that had the key `key` when the list of files had the key `list`, and its size; where it should
    /// be, if it is nowhere.
    ///
    /// An export may have been copied elsewhere, on its own or with what is around it.
    async fn find(
        &mut self,
        folder: &Location,
        list: Option<&str>,
        key: &str,
    ) -> Result<(Location, Option<u64>), BackupError> {
        let name = key.rsplit('/').next().unwrap_or_default();
        let was_in = list.and_then(|list| list.rsplit_once('/')).map_or("", |(folder, _)| folder);
        let was_beside = was_in.rsplit_once('/').map_or("", |(above, _)| above);
        let below = |folder: &str| if folder.is_empty() { None } else { key.strip_prefix(folder)?.strip_prefix('/') };
        let in_bucket = match folder {
            Location::S3 { bucket, .. } => Some(Location::S3 { bucket: bucket.clone(), key: key.to_owned() }),
            _ => None,
        };
        let places = [
            below(was_in).map(|rest| folder.within(rest)),
            below(was_beside).map(|rest| folder.folder().within(rest)),
            in_bucket,
            Some(folder.within("data").within(name)),
            Some(folder.folder().within("data").within(name)),
            Some(folder.within(name)),
        ];
        let mut first = None;
        for place in places.into_iter().flatten() {
            if let Some(bytes) = self.size(&place).await? {
                return Ok((place, Some(bytes)));
            }
            first.get_or_insert(place);
        }
        Ok((first.unwrap_or_else(|| folder.within(name)), None))
    }

    /// The text of a manifest, if it is what its own checksum beside it says.
    async fn intact(&mut self, file: &Location, stem: &str) -> Result<Vec<u8>, BackupError> {
        let text = self.text(file).await?;
        for ending in ["md5", "checksum"] {
            let beside = file.folder().within(&format!("{stem}.{ending}"));
            if self.size(&beside).await?.is_none() {
                continue;
            }
            // Of another length it is another digest, which says nothing to us.
            let told = self.text(&beside).await?;
            if md5_in(&String::from_utf8_lossy(&told)).is_some_and(|told| told != <[u8; 16]>::from(Md5::digest(&text)))
            {
                let reason = format!("it is not what its checksum in {beside} says: fetch both again");
                return Err(BackupError::BadExport { manifest: file.clone(), reason });
            }
        }
        Ok(text)
    }

    async fn text(&self, file: &Location) -> Result<Vec<u8>, BackupError> {
        match file {
            Location::Stdin => Ok(Vec::new()),
            Location::File(path) => tokio::fs::read(path).await.map_err(|cause| match cause.kind() {
                io::ErrorKind::NotFound => BackupError::NotFound { location: file.clone(), nearest: None },
                _ => BackupError::Open { location: file.clone(), cause },
            }),
            Location::S3 { bucket, key } => {
                let client = self.s3.ok_or_else(|| BackupError::NoClient { location: file.clone() })?;
                let failed = |error| BackupError::Cloud { location: file.clone(), error: Box::new(error) };
                let action = format!("read {file}");
                let answer = client.get_object().bucket(bucket).key(key).send().await;
                let body = answer.map_err(|error| failed(CloudError::of(&action, &error)))?.body.collect().await;
                let broken = |error: aws_sdk_s3::primitives::ByteStreamError| BackupError::Open {
                    location: file.clone(),
                    cause: io::Error::other(error),
                };
                Ok(body.map_err(broken)?.to_vec())
            }
        }
    }
}

/// Names and sizes of the files in a folder; none when it is not there.
fn on_disk(folder: &Path) -> io::Result<HashMap<String, u64>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        entries => entries?,
    };
    let mut names = HashMap::new();
    for entry in entries {
        let entry = entry?;
        // Links are followed; one into nothing is no file.
        if let Ok(about) = std::fs::metadata(entry.path())
            && about.is_file()
        {
            names.insert(entry.file_name().to_string_lossy().into_owned(), about.len());
        }
    }
    Ok(names)
}
