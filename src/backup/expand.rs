//! From what an operator names to the files to read, in order.

use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::BackupError;
use super::location::Location;
use crate::cloud::CloudError;

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// Where it is: a file, an object, or standard input.
    pub location: Location,
    /// Its size as it is stored, bytes; `None` for standard input.
    pub bytes: Option<u64>,
    /// MD5 of its stored bytes, as a manifest says; `None` without one.
    #[serde(default)]
    pub md5: Option<[u8; 16]>,
    /// Items in it, as a manifest says.
    #[serde(default)]
    pub items: Option<u64>,
}

impl Input {
    /// A file that nothing is known of but its size.
    pub fn plain(location: Location, bytes: Option<u64>) -> Self {
        Self { location, bytes, md5: None, items: None }
    }
}

/// The files that `locations` name: each location's in the order of their names.
///
/// A folder stands for every file below it but hidden ones. In a glob `*` and `?` stand for characters other than `/`.
/// `s3://bucket/prefix` is that object, or all objects below `prefix/`.
///
/// # Errors
/// A location names nothing: the error says what is there of a similar name.
pub async fn expand(locations: &[Location], s3: Option<&aws_sdk_s3::Client>) -> Result<Vec<Input>, BackupError> {
    let mut inputs = Vec::new();
    for location in locations {
        let start = inputs.len();
        match location {
            Location::Stdin => inputs.push(Input::plain(Location::Stdin, None)),
            Location::File(path) => {
                let path = path.clone();
                let found = tokio::task::spawn_blocking(move || on_disk(&path)).await;
                inputs.extend(found.unwrap_or_else(|stopped| {
                    Err(BackupError::Open { location: location.clone(), cause: io::Error::other(stopped) })
                })?);
            }
            Location::S3 { bucket, key } => {
                let client = s3.ok_or_else(|| BackupError::NoClient { location: location.clone() })?;
                inputs.extend(in_s3(client, location, bucket, key).await?);
            }
        }
        inputs[start..].sort_unstable_by(|a, b| a.location.cmp(&b.location));
    }
    Ok(inputs)
}

fn on_disk(path: &Path) -> Result<Vec<Input>, BackupError> {
    let location = || Location::File(path.to_owned());
    let failed = |cause| BackupError::Open { location: location(), cause };
    let mut files = Vec::new();
    if path.exists() {
        gather(path, &mut files).map_err(failed)?;
    } else if has_wildcard(&path.to_string_lossy()) {
        for found in globbed(path) {
            gather(&found, &mut files).map_err(failed)?;
        }
    } else {
        return Err(BackupError::NotFound { location: location(), nearest: nearest_sibling(path) });
    }
    if files.is_empty() {
        return Err(BackupError::Empty { location: location() });
    }
    Ok(files)
}

/// The file at `path`, or all below it.
fn gather(path: &Path, files: &mut Vec<Input>) -> io::Result<()> {
    let about = std::fs::metadata(path)?;
    if !about.is_dir() {
        // A pipe or a device has no size of its own.
        let bytes = about.is_file().then_some(about.len());
        files.push(Input::plain(Location::File(path.to_owned()), bytes));
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            gather(&entry.path(), files)?;
        }
    }
    Ok(())
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The paths that a glob matches. A folder that can't be listed matches nothing.
fn globbed(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        if !matches!(component, Component::Normal(_)) || !has_wildcard(&name) {
            for path in &mut found {
                path.push(component);
            }
            found.retain(|path| path.exists());
            continue;
        }
        found = found
            .iter()
            .flat_map(|folder| entries(folder).into_iter().map(|entry| folder.join(entry)))
            .filter(|path| {
                let entry = path.file_name().unwrap_or_default().to_string_lossy();
                matches(name.as_bytes(), entry.as_bytes()) && (name.starts_with('.') || !entry.starts_with('.'))
            })
            .collect();
    }
    found
}

/// The names in a folder; the current one when its path is empty.
fn entries(folder: &Path) -> Vec<std::ffi::OsString> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
        .unwrap_or_default()
}

/// True when `name` fits `pattern`, where `*` and `?` stand for characters other than `/`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // Where the last star stood, and up to where in the name it reaches by now.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
                continue;
            }
            Some(b'?') if name[in_name] != b'/' => {}
            Some(byte) if *byte == name[in_name] => {}
            _ => match star {
                Some((star_at, reached)) if name[reached] != b'/' => {
                    star = Some((star_at, reached + 1));
                    at = star_at + 1;
                    in_name = reached + 1;
                    continue;
                }
                _ => return false,
            },
        }
        at += 1;
        in_name += 1;
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The most similar of `names`, if any is similar at all.
fn most_similar(wanted: &str, names: impl Iterator<Item = String>) -> Option<String> {
    names
        .map(|name| (strsim::jaro_winkler(wanted, &name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn nearest_sibling(path: &Path) -> Option<String> {
    let folder = path.parent()?;
    let name = path.file_name()?.to_string_lossy();
    let names = entries(folder).into_iter().map(|entry| entry.to_string_lossy().into_owned());
    most_similar(&name, names).map(|sibling| folder.join(sibling).display().to_string())
}

async fn in_s3(
    client: &aws_sdk_s3::Client,
    location: &Location,
    bucket: &str,
    key: &str,
) -> Result<Vec<Input>, BackupError> {
    let wildcard = has_wildcard(key);
    let fixed = &key[..key.find(['*', '?']).unwrap_or(key.len())];
    let all = list(client, location, bucket, fixed, None).await?;
    let input =
        |(key, bytes): (String, u64)| Input::plain(Location::S3 { bucket: bucket.to_owned(), key }, Some(bytes));
    if let Some(object) = all.iter().find(|(name, _)| name == key && !name.is_empty()) {
        return Ok(vec![input(object.clone())]);
    }
    // `table` is the folder `table/` and never the objects of `table2/`, whose items belong elsewhere.
    let folder = if key.is_empty() || key.ends_with('/') { key.to_owned() } else { format!("{key}/") };
    let inputs: Vec<Input> = all
        .into_iter()
        // Hidden ones are none, as on disk: manifests, and what others leave.
        .filter(|(name, _)| !name.ends_with('/') && !name.rsplit('/').next().is_some_and(|own| own.starts_with('.')))
        .filter(|(name, _)| if wildcard { matches(key.as_bytes(), name.as_bytes()) } else { name.starts_with(&folder) })
        .map(input)
        .collect();
    if !inputs.is_empty() {
        return Ok(inputs);
    }
    if wildcard || key.is_empty() {
        return Err(BackupError::Empty { location: location.clone() });
    }
    let parent = key.trim_end_matches('/').rfind('/').map_or("", |at| &key[..=at]);
    let siblings = list(client, location, bucket, parent, None).await?;
    let nearest = most_similar(key, siblings.into_iter().map(|(name, _)| name));
    Err(BackupError::NotFound {
        location: location.clone(),
        nearest: nearest.map(|key| format!("s3://{bucket}/{key}")),
    })
}

/// The objects whose keys begin with `prefix`: keys and sizes in bytes. With a `delimiter`, only those without it behind
/// the prefix.
pub(super) async fn list(
    client: &aws_sdk_s3::Client,
    location: &Location,
    bucket: &str,
    prefix: &str,
    delimiter: Option<&str>,
) -> Result<Vec<(String, u64)>, BackupError> {
    let request = client.list_objects_v2().bucket(bucket).prefix(prefix);
    let mut objects = request.set_delimiter(delimiter.map(ToOwned::to_owned)).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = objects.next().await {
        let page = page.map_err(|error| BackupError::Cloud {
            location: location.clone(),
            error: Box::new(CloudError::of(&format!("list the objects of bucket {bucket}"), &error)),
        })?;
        found.extend(page.contents().iter().filter_map(|object| {
            Some((object.key()?.to_owned(), object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0)))
        }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of what `text` expands to below `folder`.
    async fn names(folder: &Path, text: &str) -> Result<Vec<String>, BackupError> {
        let inputs = expand(&[Location::File(folder.join(text))], None).await?;
        Ok(inputs
            .iter()
            .map(|input| match &input.location {
                Location::File(path) => path.strip_prefix(folder).unwrap().display().to_string(),
                other => panic!("{other}"),
            })
            .collect())
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("t/more")).unwrap();
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        for name in ["t/b.csv", "t/a.csv", "t/.hidden", "t/more/c.csv.gz", "u.csv"] {
            std::fs::write(folder.path().join(name), "e30=").unwrap();
        }
        folder
    }

    #[tokio::test]
    async fn a_file_a_folder_and_a_glob_are_sorted_lists_of_files() {
        let folder = folder();
        let at = folder.path();
        assert_eq!(names(at, "u.csv").await.unwrap(), ["u.csv"]);
        assert_eq!(names(at, "t").await.unwrap(), ["t/a.csv", "t/b.csv", "t/more/c.csv.gz"]);
        assert_eq!(names(at, "t/*.csv").await.unwrap(), ["t/a.csv", "t/b.csv"]);
        assert_eq!(names(at, "*/?.csv").await.unwrap(), ["t/a.csv", "t/b.csv"]);
        assert_eq!(names(at, "t/*/c*").await.unwrap(), ["t/more/c.csv.gz"]);
        let input = &expand(&[Location::File(at.join("u.csv"))], None).await.unwrap()[0];
        assert_eq!(input.bytes, Some(4));
    }

    #[tokio::test]
    async fn locations_keep_their_order_and_standard_input_has_no_size() {
        let folder = folder();
        let locations =
            [Location::File(folder.path().join("u.csv")), Location::Stdin, Location::File(folder.path().join("t"))];
        let inputs = expand(&locations, None).await.unwrap();
        assert_eq!(inputs.len(), 5);
        assert_eq!(inputs[1], Input::plain(Location::Stdin, None));
    }

    #[tokio::test]
    async fn a_missing_file_names_its_nearest_sibling() {
        let folder = folder();
        let error = names(folder.path(), "t/a.cvs").await.unwrap_err().to_string();
        assert!(error.contains("does not exist: did you mean") && error.contains("a.csv?"), "{error}");
        let error = names(folder.path(), "zzz").await.unwrap_err().to_string();
        assert!(error.ends_with("does not exist"), "{error}");
    }

    #[tokio::test]
    async fn an_empty_folder_or_a_glob_without_match_is_an_error() {
        let folder = folder();
        for nothing in ["empty", "t/*.json", "x*/a.csv"] {
            let error = names(folder.path(), nothing).await.unwrap_err();
            assert!(matches!(error, BackupError::Empty { .. }), "{error}");
        }
    }

    #[test]
    fn a_star_stays_within_its_folder() {
        assert!(matches(b"t/*.csv", b"t/2026-11-20.csv"));
        assert!(!matches(b"t/*.csv", b"t/x/2026.csv"));
        assert!(matches(b"t/*/x?*", b"t/a/xy"));
        assert!(!matches(b"t/*/x?*", b"t/a/x"));
        assert!(matches(b"*a*b", b"aabab"));
        assert!(!matches(b"a?c", b"a/c"));
    }
}
