//! A small file or object, stored whole: under its name there is all of it or nothing.

use std::io::{self, Write as _};
use std::path::Path;

use aws_sdk_s3::config::retry::RetryConfig;
use bytes::Bytes;

use crate::backup::error::BackupError;
use crate::backup::location::Location;
use crate::cloud::CloudError;

/// Tries of one request to S3: with the SDK's waits of up to 20 s, an outage of some minutes is borne.
const TRIES: u32 = 20;

/// Options of requests that carry parts of a backup.
pub(super) fn patient() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::standard().with_max_attempts(TRIES))
}

/// What S3 said to `action` at `location`.
pub(super) fn refused(location: &Location, error: CloudError) -> BackupError {
    BackupError::Cloud { location: location.clone(), error: Box::new(error) }
}

/// Stores `bytes` at `location`, and returns S3's `ETag`, empty for a file.
pub(super) async fn store(
    location: Location,
    s3: Option<aws_sdk_s3::Client>,
    bytes: Bytes,
) -> Result<String, BackupError> {
    match &location {
        Location::File(path) => {
            let (path, file) = (path.clone(), location.clone());
            blocking(move || whole_file(&path, &bytes))
                .await
                .map_err(|cause| BackupError::Stopped { location: file, cause })?;
            Ok(String::new())
        }
        Location::S3 { bucket, key } => {
            let client = s3.ok_or_else(|| BackupError::NoClient { location: location.clone() })?;
            let put = client.put_object().bucket(bucket).key(key).body(bytes.into());
            let put = put.customize().config_override(patient()).send().await;
            let put = put.map_err(|error| refused(&location, CloudError::of("write the object", &error)))?;
            Ok(put.e_tag.unwrap_or_default().trim_matches('"').to_owned())
        }
        Location::Stdin => Err(BackupError::BadLocation { given: "-".into(), reason: "it is no file" }),
    }
}

fn whole_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".").suffix(".part").permissions(readable()).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    std::fs::File::open(folder)?.sync_all()
}

/// As other files are made, within the user's umask: temporary ones would be for their owner alone.
fn readable() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::Permissions::from_mode(0o666)
}

/// Runs what blocks on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}
