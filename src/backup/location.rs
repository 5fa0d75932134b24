//! Where a backup is.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::BackupError;

/// Where a backup is, or several. Written as `-`, `s3://bucket/key` or a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Location {
    /// A file, a folder or a glob on this machine.
    File(PathBuf),
    /// An object in S3, a folder of objects or a glob.
    S3 {
        /// Its bucket.
        bucket: String,
        /// Its key; empty for the whole bucket.
        key: String,
    },
    /// Standard input; for writing, standard output.
    Stdin,
}

impl Location {
    /// Its own name, without where it is.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::File(path) => path.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
            Self::S3 { key, .. } => key.rsplit('/').next().unwrap_or_default(),
            Self::Stdin => "-",
        }
    }

    /// The folder that holds it.
    pub(super) fn folder(&self) -> Self {
        match self {
            Self::File(path) => Self::File(path.parent().map(ToOwned::to_owned).unwrap_or_default()),
            Self::S3 { bucket, key } => {
                let folder = key.rfind('/').map_or("", |at| &key[..at]);
                Self::S3 { bucket: bucket.clone(), key: folder.to_owned() }
            }
            Self::Stdin => Self::Stdin,
        }
    }

    /// What is called `name` in this folder; `name` may hold slashes.
    pub(super) fn within(&self, name: &str) -> Self {
        match self {
            Self::File(path) => Self::File(path.join(name)),
            Self::S3 { bucket, key } => {
                let key = key.trim_end_matches('/');
                let key = if key.is_empty() { name.to_owned() } else { format!("{key}/{name}") };
                Self::S3 { bucket: bucket.clone(), key }
            }
            Self::Stdin => Self::Stdin,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Stdin => f.write_str("-"),
        }
    }
}

impl FromStr for Location {
    type Err = BackupError;

    fn from_str(text: &str) -> Result<Self, BackupError> {
        let bad = |reason| Err(BackupError::BadLocation { given: text.to_owned(), reason });
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return bad("the bucket is missing in s3://bucket/key");
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() });
        }
        if text.is_empty() {
            return bad("its name is empty");
        }
        text.parse().map(Self::File).map_err(|never: Infallible| match never {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_an_s3_url_or_a_dash() {
        assert_eq!("-".parse::<Location>().unwrap(), Location::Stdin);
        assert_eq!("a/b.csv".parse::<Location>().unwrap(), Location::File("a/b.csv".into()));
        let object = Location::S3 { bucket: "b".into(), key: "k/2026-11-20T00:00:00+00:00.csv".into() };
        assert_eq!("s3://b/k/2026-11-20T00:00:00+00:00.csv".parse::<Location>().unwrap(), object);
        assert_eq!("s3://b".parse::<Location>().unwrap(), Location::S3 { bucket: "b".into(), key: String::new() });
        assert!("s3:///k".parse::<Location>().unwrap_err().to_string().contains("bucket is missing"));
        assert!("".parse::<Location>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_location_reads_back_as_it_is_written(text in "(s3://[a-z]{3,9}/)?[a-z./ *]{1,12}") {
            let location: Location = text.parse().unwrap();
            proptest::prop_assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
        }
    }
}
