//! The manifest of a backup in one file: what it holds and how it is recognised, in a hidden file beside it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::store::store;
use super::{About, Destination, Mark};
use crate::backup::error::BackupError;
use crate::backup::format::Format;
use crate::backup::location::Location;

/// What the manifest of a backup in one file says. JSON; fields may be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The file's name, without its folder.
    pub file: String,
    /// Its shape.
    pub format: Format,
    /// `gzip`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// Items in it.
    pub item_count: u64,
    /// Its size as it is stored, bytes.
    pub bytes: u64,
    /// MD5 of its stored bytes, base64; absent of an object, whose parts S3 has checked as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5_checksum: Option<String>,
    /// Order-free digest of its items, hex, as `sluice verify` prints it.
    pub digest: String,
    /// The table it was read from.
    pub table: String,
    /// Its ARN.
    pub table_arn: String,
    /// When the first item may have been read, RFC 3339.
    pub start_time: String,
    /// When the last item was stored, RFC 3339.
    pub end_time: String,
    /// Read with strong consistency.
    pub consistent: bool,
}

impl Manifest {
    pub(super) fn of(to: &Destination, about: &About, mark: &Mark, md5: Option<String>) -> Self {
        Self {
            file: to.location.name().to_owned(),
            format: to.format,
            compression: to.gzip.then(|| "gzip".to_owned()),
            item_count: mark.rows,
            bytes: mark.bytes,
            md5_checksum: md5,
            digest: about.digest.clone(),
            table: about.table.clone(),
            table_arn: about.table_arn.clone(),
            start_time: about.started.to_string(),
            end_time: about.ended.to_string(),
            consistent: about.consistent,
        }
    }

    pub(super) async fn store(&self, location: Location, s3: Option<aws_sdk_s3::Client>) -> Result<(), BackupError> {
        let text = serde_json::to_vec_pretty(self).expect("our own type holds only text and numbers");
        store(location, s3, Bytes::from(text)).await.map(drop)
    }
}
