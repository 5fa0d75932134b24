//! A sample: the keys of the source whose hashes are lowest, fetched from the table and compared.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::super::worker::{JobError, Session};
use super::Progress;
use super::again::Differences;
use super::fetch::{GET, fetch};
use super::source::{Met, Source};
use super::spill::{Held, Tally, Version};
use crate::cloud::inventory::Table;
use crate::flow::ReadPace;
use crate::item::{Key, digest_of_attributes};

/// The keys with the lowest hashes: an even sample, since hashes are even. Whatever the order in which keys come, a key
/// that is among the lowest of all was never left out.
#[derive(Debug)]
struct Lowest {
    most: usize,
    keys: BTreeMap<u128, (Bytes, Held)>,
    /// A key was left out: the sample is not the whole.
    left_out: bool,
}

impl Lowest {
    fn add(&mut self, key: &Key, version: Version) {
        if let Some((_, held)) = self.keys.get_mut(&key.hash) {
            held.add(version);
            return;
        }
        let is_full = self.keys.len() == self.most;
        if is_full {
            self.left_out = true;
            if self.keys.last_key_value().is_some_and(|(highest, _)| *highest < key.hash) {
                return;
            }
            self.keys.pop_last();
        }
        // Its own copy: what it was read with is larger by far.
        self.keys.insert(key.hash, (Bytes::copy_from_slice(&key.json), Held::new(version)));
    }
}

/// Compares `most` keys of the source. True when those are all that it has.
pub(super) async fn compare(
    session: &Session<'_>,
    (table, pace): (&Table, &ReadPace),
    source: &Source,
    most: u64,
    progress: &Progress<'_, '_>,
    differences: &mut Differences,
) -> Result<(Tally, Met, bool), JobError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
    let lowest = Mutex::new(Lowest { most, keys: BTreeMap::new(), left_out: false });
    let met = source
        .read(session, |batch| {
            progress.add(batch.len());
            let mut lowest = lowest.lock().unwrap_or_else(PoisonError::into_inner);
            batch.into_iter().for_each(|(key, version)| lowest.add(&key, version));
            std::future::ready(true)
        })
        .await?;
    let lowest = lowest.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut tally = Tally::default();
    let keys: Vec<(Bytes, Held)> = lowest.keys.into_values().collect();
    for some in keys.chunks(GET) {
        let found = fetch(&session.cloud, table, some.iter().map(|(key, _)| &key[..]), pace, true).await?;
        for (key, held) in some {
            let there = found.get(key).map(digest_of_attributes);
            if let Some(differing) = tally.judge(key, held.versions(), there) {
                differences.add(&differing)?;
            }
        }
    }
    Ok((tally, met, !lowest.left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_hashes_are_kept_with_all_their_versions_whatever_the_order() {
        let key = |hash: u128| Key { hash, json: Bytes::from(hash.to_string()) };
        let version = |digest, stage| Version { digest: Some(digest), stage, input: 0, offset: 0 };
        for order in [[5, 1, 4, 2, 3], [1, 2, 3, 4, 5], [5, 4, 3, 2, 1]] {
            let mut lowest = Lowest { most: 2, keys: BTreeMap::new(), left_out: false };
            for stage in 0..2 {
                for hash in order {
                    lowest.add(&key(hash), version(hash * 10 + u128::from(stage), stage));
                }
            }
            let kept: Vec<_> = lowest.keys.iter().map(|(hash, (_, held))| (*hash, held.versions()[0].digest)).collect();
            assert_eq!(kept, [(1, Some(11)), (2, Some(21))]);
            assert!(lowest.left_out);
        }
        let mut all = Lowest { most: 2, keys: BTreeMap::new(), left_out: false };
        all.add(&key(1), version(1, 0));
        all.add(&key(2), version(2, 0));
        all.add(&key(1), version(1, 0));
        assert!(!all.left_out);
    }
}
