//! Two sides compared key by key with flat memory: keys and digests go to disk in buckets by key, then each bucket is
//! compared alone.
//!
//! ```text
//! source ─┬─> s/00 … s/ff ─┐
//!         │                ├─ bucket by bucket ─> keys that differ, looked at again later
//! table  ─┴─> t/00 … t/ff ─┘
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::item::Key;

/// Buckets a side: files open at once, and the share of all keys that is in memory at once.
const BUCKETS: usize = 256;

/// What one line of the source, or one item of the table, makes of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    /// Digest of the item; `None` where the line deletes the key.
    pub digest: Option<u128>,
    /// Which stage of the source it is in: a later one wins.
    pub stage: u32,
    /// Which file of the source it is in.
    pub input: u32,
    /// Where its line begins in the decompressed text, bytes.
    pub offset: u64,
}

impl Version {
    /// An item of the table.
    pub fn of_table(digest: u128) -> Self {
        Self { digest: Some(digest), stage: 0, input: 0, offset: 0 }
    }
}

/// What the source holds of one key: the versions of the last stage that has any. More than one, and no one can say
/// which of them is the backup's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    last: Version,
    others: Vec<Version>,
}

impl Held {
    /// A key met for the first time.
    pub fn new(version: Version) -> Self {
        Self { last: version, others: Vec::new() }
    }

    /// Another version of the same key.
    pub fn add(&mut self, version: Version) {
        match version.stage.cmp(&self.last.stage) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Greater => *self = Self::new(version),
            std::cmp::Ordering::Equal => self.others.push(std::mem::replace(&mut self.last, version)),
        }
    }

    /// The versions, the one that was read last at the end.
    pub fn versions(&self) -> Vec<Version> {
        self.others.iter().copied().chain([self.last]).collect()
    }
}

/// The version that stands for a key of the source beside what the table has: the same one if there is one.
pub(super) fn chosen(versions: &[Version], table: Option<u128>) -> Option<Version> {
    let same = versions.iter().find(|version| version.digest == table);
    same.or_else(|| versions.iter().rfind(|version| version.digest.is_some())).or(versions.last()).copied()
}

/// One side being written.
pub(super) struct Side {
    files: Vec<BufWriter<File>>,
}

/// The files of one side, complete.
pub(super) struct Written {
    paths: Vec<PathBuf>,
}

/// How a key differs between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Difference {
    /// In the source alone.
    Missing,
    /// In the table alone.
    Extra,
    /// In both, with different items.
    Different,
}

/// A key that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Differing {
    /// How.
    pub difference: Difference,
    /// The key's canonical JSON.
    pub key: String,
    /// Digest of the table's item when it was read first.
    pub table: Option<u128>,
    /// What the source holds.
    pub versions: Vec<Version>,
}

/// What the comparison counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub checked: u64,
    pub equal: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    /// Lines of a key that another line of the same stage has too.
    pub duplicates: u64,
    pub digest_source: u128,
    pub digest_table: u128,
}

impl Tally {
    /// The count of keys that differ in this way.
    pub fn of(&mut self, difference: Difference) -> &mut u64 {
        match difference {
            Difference::Missing => &mut self.missing,
            Difference::Extra => &mut self.extra,
            Difference::Different => &mut self.different,
        }
    }

    /// Counts a key: what the source holds of it, and the table's digest. Returns it when it differs.
    pub fn judge(&mut self, key: &Bytes, versions: Vec<Version>, table: Option<u128>) -> Option<Differing> {
        self.duplicates += (versions.len() as u64).saturating_sub(1);
        let source = chosen(&versions, table).and_then(|version| version.digest);
        self.digest_source = self.digest_source.wrapping_add(source.unwrap_or(0));
        self.digest_table = self.digest_table.wrapping_add(table.unwrap_or(0));
        let difference = match (source, table) {
            // Deleted by the source, and not there.
            (None, None) => return None,
            (Some(source), Some(table)) if source == table => {
                self.checked += 1;
                self.equal += 1;
                return None;
            }
            (Some(_), Some(_)) => Difference::Different,
            (Some(_), None) => Difference::Missing,
            (None, Some(_)) => Difference::Extra,
        };
        self.checked += 1;
        *self.of(difference) += 1;
        Some(Differing { difference, key: String::from_utf8_lossy(key).into_owned(), table, versions })
    }
}

fn path(folder: &Path, side: &str, bucket: usize) -> PathBuf {
    folder.join(format!("{side}-{bucket:02x}"))
}

impl Side {
    /// Begins a side in `folder`, under the name `side`.
    pub fn create(folder: &Path, side: &str) -> io::Result<Self> {
        let files = (0..BUCKETS)
            .map(|b| File::create_new(path(folder, side, b)).map(|f| BufWriter::with_capacity(16 << 10, f)));
        Ok(Self { files: files.collect::<io::Result<_>>()? })
    }

    /// Adds a key.
    pub fn add(&mut self, key: &Key, version: Version) -> io::Result<()> {
        let bucket = (key.hash >> 64) as usize % BUCKETS;
        let file = &mut self.files[bucket];
        file.write_all(&[u8::from(version.digest.is_some())])?;
        file.write_all(&version.digest.unwrap_or(0).to_le_bytes())?;
        file.write_all(&version.stage.to_le_bytes())?;
        file.write_all(&version.input.to_le_bytes())?;
        file.write_all(&version.offset.to_le_bytes())?;
        // A key is at most 3 KiB of attributes; as JSON with escapes it stays far below 4 GiB.
        file.write_all(&(key.json.len() as u32).to_le_bytes())?;
        file.write_all(&key.json)
    }

    /// Ends a side.
    pub fn finish(self, folder: &Path, side: &str) -> io::Result<Written> {
        for file in self.files {
            file.into_inner().map_err(io::IntoInnerError::into_error)?;
        }
        Ok(Written { paths: (0..BUCKETS).map(|b| path(folder, side, b)).collect() })
    }
}

/// Hands each key of a bucket to `met`, in the order in which they were added.
fn each(path: &Path, mut met: impl FnMut(Bytes, Version)) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut is_there = [0; 1];
    loop {
        match file.read_exact(&mut is_there) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        }
        let digest = u128::from_le_bytes(array(&mut file)?);
        let version = Version {
            digest: (is_there[0] == 1).then_some(digest),
            stage: u32::from_le_bytes(array(&mut file)?),
            input: u32::from_le_bytes(array(&mut file)?),
            offset: u64::from_le_bytes(array(&mut file)?),
        };
        let mut key = vec![0; u32::from_le_bytes(array(&mut file)?) as usize];
        file.read_exact(&mut key)?;
        met(Bytes::from(key), version);
    }
}

fn array<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Compares two sides, handing each key that differs to `found`.
pub(super) fn compare(
    source: &Written,
    table: &Written,
    mut found: impl FnMut(&Differing) -> io::Result<()>,
) -> io::Result<Tally> {
    let mut tally = Tally::default();
    for (source, table) in source.paths.iter().zip(&table.paths) {
        let mut there: HashMap<Bytes, u128> = HashMap::new();
        each(table, |key, version| {
            if let Some(digest) = version.digest {
                there.insert(key, digest);
            }
        })?;
        let mut here: HashMap<Bytes, Held> = HashMap::new();
        each(source, |key, version| match here.get_mut(&key) {
            Some(held) => held.add(version),
            None => {
                here.insert(key, Held::new(version));
            }
        })?;
        for (key, held) in here {
            let table = there.remove(&key);
            if let Some(differing) = tally.judge(&key, held.versions(), table) {
                found(&differing)?;
            }
        }
        for (key, digest) in there {
            if let Some(differing) = tally.judge(&key, Vec::new(), Some(digest)) {
                found(&differing)?;
            }
        }
    }
    Ok(tally)
}

#[cfg(test)]
#[path = "spill_tests.rs"]
mod tests;
