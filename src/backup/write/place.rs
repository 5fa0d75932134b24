//! Where a backup goes: one file, one object, or the folder of an export.

use std::path::Path;

use jiff::Zoned;
use serde::{Deserialize, Serialize};

use crate::backup::error::BackupError;
use crate::backup::format::Format;
use crate::backup::location::Location;
use crate::cloud::{Class, CloudError};

/// Where a backup goes, and in which shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The file or object; of an export, the folder or prefix that holds its `AWSDynamoDB`.
    pub location: Location,
    /// The shape.
    pub format: Format,
    /// Compressed with gzip. An export always is.
    pub gzip: bool,
    /// The ID of an export: its folder below `AWSDynamoDB`.
    pub export: Option<String>,
}

impl Destination {
    /// Where a backup of `table` goes that is to go to `to` and begins `at`.
    ///
    /// A folder (one that exists, or a name that ends in `/`) or a bucket gets `<table>/<table>_<time>.csv` below it,
    /// the original's name; an export makes a folder of its own there. `tag` tells exports of one millisecond apart.
    ///
    /// # Errors
    /// `to` names no place that can be written, or there is no writer of `format`.
    pub fn resolve(
        to: &str,
        table: &str,
        format: Format,
        gzip: bool,
        at: &Zoned,
        tag: &str,
    ) -> Result<Self, BackupError> {
        let bad = |reason| BackupError::BadLocation { given: to.to_owned(), reason };
        let location: Location = to.parse()?;
        if location == Location::Stdin {
            return Err(bad("a backup is written to a file, a folder or s3://bucket/prefix"));
        }
        let is_folder = match &location {
            Location::File(path) => path.is_dir() || to.ends_with('/'),
            Location::S3 { key, .. } => key.is_empty() || key.ends_with('/'),
            Location::Stdin => false,
        };
        match format {
            Format::Csv => Err(bad("backups are written as csv64, jsonl or export")),
            Format::Export => {
                if matches!(&location, Location::File(path) if path.is_file()) {
                    return Err(bad("an export is a folder, and this is a file"));
                }
                // AWS's own IDs are the time in ms and some hex digits.
                let digits: String = tag.chars().filter(char::is_ascii_hexdigit).collect();
                let export = format!("{:014}-{digits:0>8}", at.timestamp().as_millisecond());
                Ok(Self { location, format, gzip: true, export: Some(export) })
            }
            Format::Csv64 | Format::Jsonl if is_folder => {
                let extension = if format == Format::Csv64 { "csv" } else { "jsonl" };
                let zip = if gzip { ".gz" } else { "" };
                let name = format!("{table}/{table}_{}.{extension}{zip}", at.strftime("%Y-%m-%dT%H:%M:%S%:z"));
                Ok(Self { location: location.within(&name), format, gzip, export: None })
            }
            Format::Csv64 | Format::Jsonl => Ok(Self { location, format, gzip, export: None }),
        }
    }

    /// Refuses a place that is taken, or can't be written as far as can be seen before.
    ///
    /// # Errors
    /// [`BackupError::Exists`], or there is no such bucket.
    pub async fn must_be_free(&self, s3: Option<&aws_sdk_s3::Client>) -> Result<(), BackupError> {
        match &self.location {
            Location::File(path) if self.export.is_none() && exists(path).await => {
                Err(BackupError::Exists { location: self.location.clone() })
            }
            Location::File(_) | Location::Stdin => Ok(()),
            Location::S3 { bucket, key } => {
                let client = s3.ok_or_else(|| BackupError::NoClient { location: self.location.clone() })?;
                let failed = |error| BackupError::Cloud { location: self.location.clone(), error: Box::new(error) };
                // Who may write objects may still not be allowed to look at the bucket: that is no reason to refuse.
                if let Err(error) = client.head_bucket().bucket(bucket).send().await {
                    let error = CloudError::of(&format!("find bucket {bucket}"), &error);
                    match error.class {
                        Class::NotFound => {
                            return Err(failed(CloudError::new(
                                Class::NotFound,
                                format!("there is no bucket {bucket}"),
                                "check its name and --region, or make it first",
                            )));
                        }
                        Class::Transient => return Err(failed(error)),
                        _ => {}
                    }
                }
                if self.export.is_none() && client.head_object().bucket(bucket).key(key).send().await.is_ok() {
                    return Err(BackupError::Exists { location: self.location.clone() });
                }
                Ok(())
            }
        }
    }

    /// Where the manifest of a backup in one file goes: hidden beside it, so that a folder of backups is read without
    /// it by us and by others.
    pub fn sidecar(&self) -> Location {
        self.location.folder().within(&format!(".{}.manifest.json", self.location.name()))
    }
}

async fn exists(path: &Path) -> bool {
    tokio::fs::symlink_metadata(path).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Zoned {
        "2026-11-20T03:04:05+01:00[Europe/Berlin]".parse().unwrap()
    }

    fn resolve(to: &str, format: Format, gzip: bool) -> Result<Destination, BackupError> {
        Destination::resolve(to, "historical", format, gzip, &at(), "b-7f3a01")
    }

    #[test]
    fn a_bucket_or_folder_gets_the_originals_name_and_a_file_keeps_its_own() {
        for (to, format, gzip, wanted) in [
            ("s3://b", Format::Csv64, false, "s3://b/historical/historical_2026-11-20T03:04:05+01:00.csv"),
            ("s3://b/n/", Format::Jsonl, true, "s3://b/n/historical/historical_2026-11-20T03:04:05+01:00.jsonl.gz"),
            ("s3://b/n", Format::Csv64, false, "s3://b/n"),
            ("new/", Format::Csv64, true, "new/historical/historical_2026-11-20T03:04:05+01:00.csv.gz"),
            ("new/x.csv", Format::Csv64, false, "new/x.csv"),
        ] {
            assert_eq!(resolve(to, format, gzip).unwrap().location.to_string(), wanted);
        }
        let folder = tempfile::tempdir().unwrap();
        let in_folder = resolve(folder.path().to_str().unwrap(), Format::Csv64, false).unwrap();
        assert!(in_folder.location.to_string().ends_with("/historical/historical_2026-11-20T03:04:05+01:00.csv"));
    }

    #[test]
    fn an_export_has_a_folder_of_its_own_named_as_aws_names_it() {
        let export = resolve("s3://b/n", Format::Export, false).unwrap();
        assert_eq!(export.export.as_deref(), Some("01795140245000-0b7f3a01"));
        assert!(export.gzip);
    }

    #[test]
    fn what_can_not_be_written_is_refused_with_what_can() {
        assert!(resolve("-", Format::Csv64, false).unwrap_err().to_string().contains("a folder"));
        assert!(resolve("x", Format::Csv, false).unwrap_err().to_string().contains("csv64, jsonl or export"));
    }

    #[test]
    fn the_manifest_is_hidden_beside_its_file() {
        let sidecar = |to| resolve(to, Format::Csv64, false).unwrap().sidecar().to_string();
        assert_eq!(sidecar("a/x.csv"), "a/.x.csv.manifest.json");
        assert_eq!(sidecar("s3://b/n/x.csv"), "s3://b/n/.x.csv.manifest.json");
        assert_eq!(sidecar("s3://b/x.csv"), "s3://b/.x.csv.manifest.json");
    }
}
