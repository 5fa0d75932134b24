//! Two sides compared key by key with flat memory: keys and digests go to disk in buckets by key, then each bucket is
//! compared alone.
//!
//! ```text
//! source ─┬─> s/00 … s/7f ─┐
//!         │                ├─ bucket by bucket ─> missing, extra, different
//! table  ─┴─> t/00 … t/7f ─┘
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::item::Key;

/// Buckets a side: files open at once, and the share of all keys that is in memory at once.
const BUCKETS: usize = 128;

/// One side being written.
pub(super) struct Side {
    files: Vec<BufWriter<File>>,
}

/// The files of one side, complete.
pub(super) struct Written {
    paths: Vec<PathBuf>,
}

/// How a key differs between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Difference {
    /// In the source alone.
    Missing,
    /// In the table alone.
    Extra,
    /// In both, with different items.
    Different,
}

/// What the comparison counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub checked: u64,
    pub equal: u64,
    pub missing: u64,
    pub extra: u64,
    pub different: u64,
    pub digest_source: u128,
    pub digest_table: u128,
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

    /// Adds a key. A key that comes twice counts as its last.
    pub fn add(&mut self, key: &Key, digest: u128) -> io::Result<()> {
        let bucket = (key.hash >> 64) as usize % BUCKETS;
        let file = &mut self.files[bucket];
        file.write_all(&digest.to_le_bytes())?;
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

fn load(path: &Path) -> io::Result<HashMap<Bytes, u128>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut keys = HashMap::new();
    let mut digest = [0; 16];
    loop {
        match file.read_exact(&mut digest) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(keys),
            Err(e) => return Err(e),
        }
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        let mut key = vec![0; u32::from_le_bytes(length) as usize];
        file.read_exact(&mut key)?;
        keys.insert(Bytes::from(key), u128::from_le_bytes(digest));
    }
}

/// Compares two sides, telling `found` of each key that differs.
pub(super) fn compare(
    source: &Written,
    table: &Written,
    mut found: impl FnMut(Difference, &Bytes) -> io::Result<()>,
) -> io::Result<Tally> {
    let mut tally = Tally::default();
    for (source, table) in source.paths.iter().zip(&table.paths) {
        let mut there = load(table)?;
        for (key, digest) in load(source)? {
            tally.checked += 1;
            tally.digest_source = tally.digest_source.wrapping_add(digest);
            match there.remove(&key) {
                None => {
                    tally.missing += 1;
                    found(Difference::Missing, &key)?;
                }
                Some(other) => {
                    tally.digest_table = tally.digest_table.wrapping_add(other);
                    if other == digest {
                        tally.equal += 1;
                    } else {
                        tally.different += 1;
                        found(Difference::Different, &key)?;
                    }
                }
            }
        }
        for (key, digest) in there {
            tally.checked += 1;
            tally.extra += 1;
            tally.digest_table = tally.digest_table.wrapping_add(digest);
            found(Difference::Extra, &key)?;
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        let json = Bytes::from(format!(r#"{{"id":{{"N":"{n}"}}}}"#));
        Key { hash: xxhash_rust::xxh3::xxh3_128(&json), json }
    }

    #[test]
    fn missing_extra_and_different_keys_are_told_apart_and_the_last_of_a_twice_given_key_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |side: &str, rows: &[(u32, u128)]| {
            let mut out = Side::create(folder.path(), side).unwrap();
            for (n, digest) in rows {
                out.add(&key(*n), *digest).unwrap();
            }
            out.finish(folder.path(), side).unwrap()
        };
        let source = write("s", &[(1, 10), (2, 99), (2, 20), (3, 30)]);
        let table = write("t", &[(2, 20), (3, 31), (4, 40)]);
        let mut found = Vec::new();
        let tally = compare(&source, &table, |d, k| {
            found.push((d, k.clone()));
            Ok(())
        })
        .unwrap();
        found.sort_by_key(|(_, k)| k.clone());
        assert_eq!(
            found,
            [
                (Difference::Missing, key(1).json),
                (Difference::Different, key(3).json),
                (Difference::Extra, key(4).json)
            ]
        );
        assert_eq!((tally.checked, tally.equal, tally.digest_source, tally.digest_table), (4, 1, 60, 91));
    }
}
