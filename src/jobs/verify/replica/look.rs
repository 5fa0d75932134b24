//! The looks after the first: keys that differ are read again on both sides until they agree, or until it is certain
//! that no change is on its way that would make them.
//!
//! ```text
//! since the look before                   then
//! the sides agree                         changed
//! the source's or the replica's moved     the replica has all its lag again to follow
//! neither moved, the replica may lag      looked at again later
//! neither moved, the replica follows      drift: missing, extra or different
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::again::{AGAIN, Differences, EXPLAINED, write};
use super::super::attribute::first_difference;
use super::super::differences_file;
use super::super::fetch::GET;
use super::super::spill::{Difference, Differing, Tally, chosen};
use super::behind::Behind;
use super::pair::{Held, Look, Pair};
use crate::jobs::journal::now_ms;
use crate::jobs::worker::{JobError, Session};

/// What was seen of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The replica's key, canonical JSON.
    pub key: String,
    /// How the tally counts it; `None` when it does not yet.
    pub counted: Option<Counted>,
    /// Digests of both sides when they were read last.
    pub source: Option<u128>,
    pub replica: Option<u128>,
    /// By when both were seen so, ms since the epoch.
    pub since_ms: i64,
}

/// What the tally has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    difference: Difference,
    source: Option<u128>,
    replica: Option<u128>,
}

/// What a look makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Both sides agree.
    Agrees,
    /// One of them was written since it was looked at before.
    Moved,
    /// Neither was, but the replica may not follow so far yet.
    Waits,
    /// They differ, and will: the replica had everything that happened to the source by then.
    Drift(Difference),
    /// The source's item is one that the replica can't have.
    Refused,
    /// It expired in the source, and the replica keeps such items.
    Kept,
}

/// What the looks found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Keys that were looked at again.
    pub again: u64,
    /// Keys that differed at first and agreed later, or never stood still.
    pub changed: u64,
    /// Of `changed`: keys that were still on their way when the last look ended.
    pub changed_differs: u64,
    /// Keys that differ and whose attribute is told.
    pub explained: u64,
    /// Items that expired in the source and stay in the replica.
    pub expired: u64,
}

impl Seen {
    /// A key of which nothing is known.
    pub fn unseen(key: String) -> Self {
        Self { key, counted: None, source: None, replica: None, since_ms: 0 }
    }

    /// What `look` makes of it, when the replica follows to `follows_to` (ms since the epoch, settled before the look).
    pub fn judge(&self, pair: &Pair, look: &Look, follows_to: i64) -> Verdict {
        let (source, replica) = look.digests();
        if look.source == Held::Refused {
            return Verdict::Refused;
        }
        let is_kept = |item| source.is_none() && pair.is_kept(item, now_ms() / 1000);
        if look.replica.as_ref().is_some_and(is_kept) {
            return Verdict::Kept;
        }
        self.compare(source, replica, follows_to)
    }

    fn compare(&self, source: Option<u128>, replica: Option<u128>, follows_to: i64) -> Verdict {
        let difference = match (source, replica) {
            (source, replica) if source == replica => return Verdict::Agrees,
            (None, _) => Difference::Extra,
            (_, None) => Difference::Missing,
            _ => Difference::Different,
        };
        match () {
            () if (source, replica) != (self.source, self.replica) => Verdict::Moved,
            () if follows_to < self.since_ms => Verdict::Waits,
            () => Verdict::Drift(difference),
        }
    }

    /// Corrects what the tally has of it: the sides are `now`, and it counts as `difference`, or as none.
    fn recount(&self, tally: &mut Tally, now: (Option<u128>, Option<u128>), difference: Option<Difference>) {
        if let Some(counted) = self.counted {
            *tally.of(counted.difference) -= 1;
            tally.digest_source = tally.digest_source.wrapping_sub(counted.source.unwrap_or(0));
            tally.digest_table = tally.digest_table.wrapping_sub(counted.replica.unwrap_or(0));
        } else {
            tally.checked += 1;
            tally.equal += u64::from(now.0 == now.1);
        }
        tally.digest_source = tally.digest_source.wrapping_add(now.0.unwrap_or(0));
        tally.digest_table = tally.digest_table.wrapping_add(now.1.unwrap_or(0));
        if let Some(difference) = difference {
            *tally.of(difference) += 1;
        }
    }
}

/// Keys on disk, one a line.
pub(super) struct Keys {
    file: BufWriter<File>,
    pub count: u64,
}

impl Keys {
    fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile_in(folder)?), count: 0 })
    }

    fn add(&mut self, seen: &Seen) -> io::Result<()> {
        self.count += 1;
        serde_json::to_writer(&mut self.file, seen)?;
        self.file.write_all(b"\n")
    }

    /// All of them, in the order in which they were added.
    pub fn read(self) -> io::Result<impl Iterator<Item = io::Result<Seen>>> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(BufReader::new(file).lines().map(|line| Ok(serde_json::from_str(&line?)?)))
    }
}

/// The keys that differ, between one look and the next.
pub(super) struct Looks {
    folder: PathBuf,
    list: PathBuf,
    pending: Keys,
    /// Keys beyond [`AGAIN`]: they stand as they were seen first.
    unread: Differences,
}

/// The keys of a list of differences.
#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
}

impl Looks {
    /// None yet; what is on its way is kept in `folder`, what differs is written to `list`.
    pub fn create(folder: &Path, list: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: folder.to_owned(),
            list: list.to_owned(),
            pending: Keys::create(folder)?,
            unread: Differences::create(folder)?,
        })
    }

    /// Takes the keys that the two scans found to differ, the later of which ended by `scanned_ms`.
    pub fn take(&mut self, found: Differences, scanned_ms: i64) -> io::Result<()> {
        for differing in found.read()? {
            let differing: Differing = differing?;
            if self.pending.count >= AGAIN {
                self.unread.add(&differing)?;
                continue;
            }
            let source = chosen(&differing.versions, differing.table).and_then(|version| version.digest);
            let replica = differing.table;
            let counted = Counted { difference: differing.difference, source, replica };
            let key = differing.key;
            self.pending.add(&Seen { key, counted: Some(counted), source, replica, since_ms: scanned_ms })?;
        }
        Ok(())
    }

    /// Takes the keys that the list of an earlier audit names; how many those are.
    pub fn take_listed(&mut self, list: &Path) -> io::Result<u64> {
        let file = match File::open(list) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        // Two passes may have found the same.
        let mut known = HashSet::new();
        for line in BufReader::new(file).lines() {
            let line = line?;
            let listed: Listed<'_> = serde_json::from_str(&line)?;
            if !known.insert(listed.key.get().to_owned()) {
                continue;
            }
            self.pending.add(&Seen::unseen(listed.key.get().to_owned()))?;
        }
        Ok(self.pending.count)
    }

    /// Looks at them until each agrees, drifts, or was given the time that there is; corrects `tally`, and lists those
    /// that drift. Returns them.
    pub async fn settle(
        self,
        session: &Session<'_>,
        pair: &Pair,
        behind: &Behind<'_, '_>,
        tally: &mut Tally,
    ) -> Result<(Looked, Keys), JobError> {
        let Self { folder, list, mut pending, unread } = self;
        let mut looked = Looked { again: pending.count, ..Looked::default() };
        let mut standing = Keys::create(&folder)?;
        let mut out = BufWriter::new(differences_file(&list)?);
        let began_ms = now_ms();
        if pending.count > 0 {
            session.note("info", &format!("looks again at {} keys that differ", pending.count));
        }
        for round in 0.. {
            if pending.count == 0 {
                break;
            }
            if round > 0 {
                tokio::time::sleep(behind.pause(round - 1)).await;
            }
            // Once more after the last wait: what it was waited for is seen.
            let is_last = now_ms() - began_ms > millis(behind.patience());
            let follows_to = behind.follows_to();
            let mut later = Keys::create(&folder)?;
            let mut all = pending.read()?;
            loop {
                let some = all.by_ref().take(GET).collect::<io::Result<Vec<_>>>()?;
                if some.is_empty() {
                    break;
                }
                let keys: Vec<Bytes> = some.iter().map(|seen| Bytes::copy_from_slice(seen.key.as_bytes())).collect();
                let looks = pair.look(&keys, true).await?;
                let by_ms = now_ms();
                for (seen, look) in some.into_iter().zip(looks) {
                    let now = look.digests();
                    match seen.judge(pair, &look, follows_to) {
                        Verdict::Agrees => {
                            looked.changed += 1;
                            seen.recount(tally, now, None);
                        }
                        Verdict::Moved | Verdict::Waits if is_last => {
                            looked.changed += 1;
                            looked.changed_differs += 1;
                            seen.recount(tally, now, None);
                        }
                        Verdict::Moved => {
                            later.add(&Seen { source: now.0, replica: now.1, since_ms: by_ms, ..seen })?;
                        }
                        Verdict::Waits => later.add(&seen)?,
                        Verdict::Drift(difference) => {
                            seen.recount(tally, now, Some(difference));
                            let differing =
                                Differing { difference, key: seen.key.clone(), table: now.1, versions: Vec::new() };
                            let attribute = explained(&look).filter(|_| looked.explained < EXPLAINED as u64);
                            looked.explained += u64::from(attribute.is_some());
                            write(&mut out, &differing, attribute.as_ref())?;
                            let counted = Counted { difference, source: now.0, replica: now.1 };
                            standing.add(&Seen { counted: Some(counted), source: now.0, replica: now.1, ..seen })?;
                        }
                        Verdict::Refused => seen.recount(tally, now, None),
                        Verdict::Kept => {
                            looked.expired += 1;
                            seen.recount(tally, now, None);
                        }
                    }
                }
            }
            pending = later;
        }
        for differing in unread.read()? {
            write(&mut out, &differing?, None)?;
        }
        out.flush()?;
        Ok((looked, standing))
    }
}

impl Seen {
    /// It was repaired: both sides are `now`.
    pub fn repaired(&self, tally: &mut Tally, now: (Option<u128>, Option<u128>)) {
        self.recount(tally, now, None);
    }
}

/// The attribute by which an item differs, when both sides have one.
pub(super) fn explained(look: &Look) -> Option<super::super::attribute::Attribute> {
    match (&look.source, &look.replica) {
        (Held::Item(source), Some(replica)) => first_difference(source, replica),
        _ => None,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(source: Option<u128>, replica: Option<u128>) -> Seen {
        Seen { key: "{}".into(), counted: None, source, replica, since_ms: 1_000 }
    }

    #[test]
    fn a_difference_is_drift_only_once_neither_side_moved_and_the_replica_follows() {
        let different = seen(Some(1), Some(2));
        assert_eq!(different.compare(Some(1), Some(2), 999), Verdict::Waits);
        assert_eq!(different.compare(Some(1), Some(2), 1_000), Verdict::Drift(Difference::Different));
        assert_eq!(different.compare(Some(1), Some(1), 0), Verdict::Agrees);
        // Whatever the replica follows to, what was written a moment ago is still on its way.
        assert_eq!(different.compare(Some(3), Some(2), 9_999), Verdict::Moved);
        assert_eq!(different.compare(Some(1), Some(3), 9_999), Verdict::Moved);
        assert_eq!(different.compare(None, None, 0), Verdict::Agrees);
        assert_eq!(seen(Some(1), None).compare(Some(1), None, 1_000), Verdict::Drift(Difference::Missing));
        assert_eq!(seen(None, Some(1)).compare(None, Some(1), 1_000), Verdict::Drift(Difference::Extra));
    }

    #[test]
    fn a_key_of_which_nothing_is_known_is_no_drift_at_first_sight_but_where_it_agrees() {
        let unseen = Seen::unseen("{}".into());
        assert_eq!(unseen.compare(Some(1), Some(2), i64::MAX), Verdict::Moved);
        assert_eq!(unseen.compare(None, Some(2), i64::MAX), Verdict::Moved);
        assert_eq!(unseen.compare(Some(1), Some(1), 0), Verdict::Agrees);
    }

    #[test]
    fn what_a_key_counted_as_is_taken_back_when_it_counts_as_something_else() {
        let mut tally = Tally { checked: 3, equal: 1, missing: 1, extra: 1, ..Tally::default() };
        (tally.digest_source, tally.digest_table) = (100 + 7, 100 + 8);
        let counted = |difference, source, replica| {
            let counted = Some(Counted { difference, source, replica });
            Seen { counted, ..seen(source, replica) }
        };
        counted(Difference::Missing, Some(7), None).recount(&mut tally, (Some(9), Some(9)), None);
        counted(Difference::Extra, None, Some(8)).recount(&mut tally, (Some(5), Some(8)), Some(Difference::Different));
        assert_eq!((tally.missing, tally.extra, tally.different), (0, 0, 1));
        assert_eq!((tally.digest_source, tally.digest_table), (100 + 9 + 5, 100 + 9 + 8));
        // One that an earlier audit listed was not counted before.
        seen(None, None).recount(&mut tally, (Some(1), None), Some(Difference::Missing));
        assert_eq!((tally.checked, tally.missing), (4, 1));
    }
}
