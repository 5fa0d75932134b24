//! How much a restore's source holds, before it is read: files by their length, S3 objects by their listing, and the
//! length of a line by the first ones.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::cloud::{Cloud, CloudError};

/// What a source holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Files or objects.
    pub files: u64,
    /// Bytes as they are stored, compressed or not.
    pub bytes: u64,
    /// Mean length of the first lines, bytes; `None` when they are compressed or there are none.
    pub line_bytes: Option<f64>,
}

/// How much of the first file is looked at.
const HEAD: u64 = 64 * 1024;

/// Measures `source`: `s3://bucket/prefix`, a file or a folder.
///
/// # Errors
/// A sentence that fits under the form's field.
pub async fn measure(cloud: &Cloud, source: &str) -> Result<Measured, String> {
    if let Some(rest) = source.strip_prefix("s3://") {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("write it as s3://bucket/prefix".to_owned());
        }
        return objects(cloud, bucket, prefix).await;
    }
    let path = Path::new(source).to_owned();
    tokio::task::spawn_blocking(move || files(&path)).await.map_err(|error| error.to_string())?
}

async fn objects(cloud: &Cloud, bucket: &str, prefix: &str) -> Result<Measured, String> {
    let mut measured = Measured::default();
    let mut first = None;
    let mut pages = cloud.s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| CloudError::of(&format!("list s3://{bucket}/{prefix}"), &e).to_string())?;
        for object in page.contents().iter().filter(|object| object.size().unwrap_or_default() > 0) {
            measured.files += 1;
            measured.bytes += object.size().unwrap_or_default().max(0) as u64;
            first = first.or_else(|| object.key().map(str::to_owned));
        }
    }
    let Some(key) = first else {
        return Err(format!("nothing in bucket {bucket} begins with {prefix:?}"));
    };
    let action = format!("read the first lines of s3://{bucket}/{key}");
    let head = cloud.s3.get_object().bucket(bucket).key(&key).range(format!("bytes=0-{}", HEAD - 1)).send().await;
    let head = head.map_err(|e| CloudError::of(&action, &e).to_string())?;
    let head = head.body.collect().await.map_err(|e| format!("could not {action}: {e}"))?.into_bytes();
    measured.line_bytes = line_bytes(&head);
    Ok(measured)
}

fn files(path: &Path) -> Result<Measured, String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut measured = Measured::default();
    let mut found: Vec<PathBuf> = Vec::new();
    if std::fs::metadata(path).map_err(said)?.is_file() {
        found.push(path.to_owned());
    } else {
        for entry in std::fs::read_dir(path).map_err(said)? {
            found.push(entry.map_err(said)?.path());
        }
        found.sort();
    }
    for file in found {
        let metadata = std::fs::metadata(&file).map_err(said)?;
        if !metadata.is_file() {
            continue;
        }
        measured.files += 1;
        measured.bytes += metadata.len();
        if measured.files == 1 {
            let mut head = Vec::new();
            std::fs::File::open(&file).and_then(|f| f.take(HEAD).read_to_end(&mut head)).map_err(said)?;
            measured.line_bytes = line_bytes(&head);
        }
    }
    if measured.files == 0 { Err(format!("{} holds no file", path.display())) } else { Ok(measured) }
}

fn line_bytes(head: &[u8]) -> Option<f64> {
    // gzip and zstd by their magic bytes: what they hold is only known when it is read.
    if head.is_empty() || head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return None;
    }
    let lines = head.split(|b| *b == b'\n').count() - 1;
    match head.iter().rposition(|b| *b == b'\n') {
        Some(last) => Some((last + 1) as f64 / lines as f64),
        None => (head.len() < HEAD as usize).then_some(head.len() as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_sum_of_its_files_and_an_empty_one_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files(folder.path()).unwrap_err().contains("holds no file"));
        std::fs::write(folder.path().join("a"), "123\n567\n90").unwrap();
        std::fs::write(folder.path().join("b"), "123").unwrap();
        assert_eq!(files(folder.path()).unwrap(), Measured { files: 2, bytes: 13, line_bytes: Some(4.0) });
        assert!(files(&folder.path().join("c")).is_err());
    }

    #[test]
    fn the_lines_of_a_compressed_file_are_unknown() {
        assert_eq!(line_bytes(&[0x1f, 0x8b, b'\n', 1]), None);
        assert_eq!(line_bytes(b"one line"), Some(8.0));
        assert_eq!(line_bytes(b""), None);
    }
}
