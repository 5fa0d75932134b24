//! The audit that a replicate job keeps beside its work, at a small budget: both tables are read round and round, and
//! each key looked up on the other side.
//!
//! ```text
//! pass n ── source, page by page ── each key in the replica ─┐
//!        └─ replica, page by page ─ each key in the source ──┼─ differs? looked at until the replica follows ─ drift
//! stretch after stretch: the place and the counts are stored together once its keys are settled
//! ```

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::again::listed;
use super::super::differences_file;
use super::super::fetch::{GET, fetch};
use super::super::spill::{Difference, Differing};
use super::behind::Behind;
use super::look::{Seen, Verdict, explained};
use super::pair::{Half, Pair};
use crate::flow::{AwsTable, ReadPace, ScanOptions, Scanner, SystemClock};
use crate::item::{Shaped, digest_of_attributes};
use crate::jobs::journal::{Job, Journal, now_ms};
use crate::jobs::replicate::ReplicateSpec;
use crate::jobs::spec::{JobId, Spec, VerifySpec};
use crate::jobs::worker::{JobError, Session, differences_path};

/// The checkpoint that holds how far it is.
const CHECKPOINT: &str = "audit";

/// How long it reads on before what it read is settled and stored.
const STRETCH: Duration = Duration::from_secs(20);

/// Keys that differ at first, at most, before they are settled.
const UNSETTLED: usize = 500;

/// Keys that drift, listed of a pass at most.
const LISTED: u64 = 1_000;

/// The smallest budget, RCU a second: one small item every other second.
const LEAST: f64 = 0.5;

/// How often unsettled keys are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How long one key that never stands still is looked at.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long it waits after it could not go on.
const AFTER_TROUBLE: Duration = Duration::from_mins(1);

/// Which table is read page by page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadFrom {
    /// What is missing or different shows.
    #[default]
    Source,
    /// What is extra shows.
    Replica,
}

/// What a pass found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Keys compared, those of both tables.
    pub checked: u64,
    /// Keys that the replica lacks.
    pub missing: u64,
    /// Keys that the source lacks.
    pub extra: u64,
    /// Keys with another item.
    pub different: u64,
    /// Keys that differed at first and then agreed, or never stood still.
    pub changed: u64,
}

impl Found {
    /// Keys that drifted.
    pub fn drift(&self) -> u64 {
        self.missing + self.extra + self.different
    }
}

/// How far the audit of a replicate job is, and what it found, as the journal keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Audited {
    /// Which pass it is at, from 1; 0 before it began.
    pub pass: u32,
    /// When the pass began, ms since the epoch.
    pub began_ms: i64,
    /// Which table it reads now.
    pub from: ReadFrom,
    /// The key after which it goes on, as the service wrote it.
    pub after: Option<String>,
    /// What it found in this pass.
    pub found: Found,
    /// Keys of both tables, as AWS counted them last.
    pub keys: u64,
    /// What the pass before found.
    pub before: Option<Found>,
    /// When the pass before ended, ms since the epoch.
    pub ended_ms: Option<i64>,
    /// What was last stored, ms since the epoch.
    pub at_ms: i64,
}

impl Audited {
    /// The audit of job `id`; `None` when it has none.
    pub fn of(journal: &Journal, id: &JobId) -> Option<Self> {
        serde_json::from_slice(&journal.checkpoint(id, CHECKPOINT).ok()??).ok()
    }

    /// Share of both tables that this pass has read, 0 to 1; as far as AWS's last count of them goes.
    pub fn share(&self) -> f64 {
        // AWS counts a table every six hours or so: what the pass before met is newer.
        let keys = self.before.map_or(self.keys, |found| found.checked);
        if keys == 0 { 0.0 } else { (self.found.checked as f64 / keys as f64).min(1.0) }
    }

    /// Keys that drift, as far as is known: those of this pass, or of the one before where that found more.
    pub fn drift(&self) -> u64 {
        self.found.drift().max(self.before.map_or(0, |found| found.drift()))
    }

    /// The pass goes on behind `after`, or on the other side, or it ends.
    fn went_on(&mut self, after: Option<&Bytes>, now_ms: i64) {
        self.after = after.map(|key| String::from_utf8_lossy(key).into_owned());
        match (after, self.from) {
            (Some(_), _) => {}
            (None, ReadFrom::Source) => self.from = ReadFrom::Replica,
            (None, ReadFrom::Replica) => {
                self.before = Some(std::mem::take(&mut self.found));
                self.ended_ms = Some(now_ms);
                self.begin(now_ms);
            }
        }
    }

    fn begin(&mut self, now_ms: i64) {
        self.from = ReadFrom::Source;
        self.pass += 1;
        self.began_ms = now_ms;
    }
}

/// Audits the replica of the job that `session` runs, at `rcu` RCU a second of both tables together, for as long as it is
/// polled. What keeps it from going on is noted, and it tries again later: the job is not to end for it.
pub(in crate::jobs) async fn keep_auditing(session: &Session<'_>, spec: &ReplicateSpec, rcu: f64) -> Infallible {
    let mut said = String::new();
    loop {
        let trouble = match Rolling::open(session, spec, rcu).await {
            Ok(mut rolling) => rolling.run().await,
            Err(error) => error,
        };
        let words = format!("the audit waits: {trouble}");
        if words != said {
            session.note("warn", &words);
            said = words;
        }
        tokio::time::sleep(AFTER_TROUBLE).await;
    }
}

/// The audit of one replica.
struct Rolling<'s, 'l> {
    session: &'s Session<'l>,
    pair: Pair,
    pace: Arc<ReadPace>,
    scanners: [Scanner; 2],
    behind: Behind<'s, 'l>,
    state: Audited,
    list: PathBuf,
}

impl<'s, 'l> Rolling<'s, 'l> {
    async fn open(session: &'s Session<'l>, spec: &ReplicateSpec, rcu: f64) -> Result<Self, JobError> {
        let id = &session.job.id;
        let verify = VerifySpec::of_replica(id, spec, false).map_err(JobError::Unfit)?;
        let Some(replica) = &verify.replica else { return Err(JobError::Unfit(format!("{id} has no replica"))) };
        let journal = session.journal().path().to_owned();
        let mut pair = Pair::open(session, &verify, replica).await?;
        let rcu = budget(rcu, [&pair.source, &pair.replica]);
        // One budget for all that is read.
        let pace = Arc::new(ReadPace::new(Arc::new(SystemClock::new()), Some(rcu)));
        (pair.source.pace, pair.replica.pace) = (Arc::clone(&pace), Arc::clone(&pace));
        let mut state = left(session, spec)?.unwrap_or_default();
        if state.pass == 0 {
            state.begin(now_ms());
        }
        state.keys = pair.source.table.items + pair.replica.table.items;
        Ok(Self {
            scanners: [scanner(&pair.source, rcu), scanner(&pair.replica, rcu)],
            behind: Behind::new(session, replica),
            list: differences_path(&journal, id),
            session,
            pair,
            pace,
            state,
        })
    }

    async fn run(&mut self) -> JobError {
        loop {
            if let Err(error) = self.stretch().await {
                return error;
            }
        }
    }

    /// Reads on for a while, settles what differs, and stores where it is.
    async fn stretch(&mut self) -> Result<(), JobError> {
        // A replica that is not whole yet, or does not follow, has nothing to be audited.
        while self.behind.by_its_job().is_none() {
            tokio::time::sleep(LOOK).await;
        }
        let mut state = self.state.clone();
        let mut differing = Vec::new();
        let began = Instant::now();
        let mut after = state.after.as_ref().map(|key| Bytes::copy_from_slice(key.as_bytes()));
        loop {
            after = self.page(&mut state, after, &mut differing).await?;
            if after.is_none() || began.elapsed() > STRETCH || differing.len() >= UNSETTLED {
                break;
            }
        }
        let drifted = self.settle(&mut state, differing).await?;
        let (pass, listed) = (state.pass, self.state.found.drift());
        let room = LISTED.saturating_sub(listed);
        append(&self.list, pass, drifted.iter().take(usize::try_from(room).unwrap_or(usize::MAX)))?;
        state.went_on(after.as_ref(), now_ms());
        if state.pass != pass {
            self.passed(&state)?;
        }
        state.at_ms = now_ms();
        let stored = crate::jobs::journal::to_json(&state);
        self.session.journal().leave_word(&self.session.job.id, CHECKPOINT, stored.as_bytes())?;
        self.state = state;
        Ok(())
    }

    /// Says what a pass found, unless it found what the one before had, and forgets what the one before that listed.
    fn passed(&self, state: &Audited) -> Result<(), JobError> {
        let Some(found) = &state.before else { return Ok(()) };
        let drift = |found: &Found| (found.missing, found.extra, found.different);
        let is_known = self.state.before.as_ref().is_some_and(|known| drift(known) == drift(found));
        let words = if found.drift() == 0 {
            format!("the audit found no drift in {} keys", found.checked)
        } else {
            format!(
                "the audit found drift in {} of {} keys: {} missing, {} extra, {} different; sluice verify --job {} --listed \
                 --repair repairs it",
                found.drift(),
                found.checked,
                found.missing,
                found.extra,
                found.different,
                self.session.job.id
            )
        };
        if !is_known {
            self.session.note(if found.drift() == 0 { "info" } else { "warn" }, &words);
        }
        forget(&self.list, state.pass - 1).map_err(JobError::from)
    }

    /// Reads a page, and what the other side holds of its keys; returns where the next one begins.
    async fn page(
        &self,
        state: &mut Audited,
        after: Option<Bytes>,
        differing: &mut Vec<Seen>,
    ) -> Result<Option<Bytes>, JobError> {
        let scanner = &self.scanners[usize::from(state.from == ReadFrom::Replica)];
        self.pace.reserve(0.0).await;
        let page = scanner.page(0, after.as_ref()).await?;
        self.pace.settle(0.0, page.rcu);
        let read: Vec<(Bytes, u128)> = page.items.into_iter().filter_map(|item| self.read(state.from, item)).collect();
        for some in read.chunks(GET) {
            let others = self.others(state.from, some).await?;
            let since_ms = now_ms();
            for ((key, here), there) in some.iter().zip(others) {
                state.found.checked += 1;
                let (source, replica) = match state.from {
                    ReadFrom::Source => (Some(*here), there),
                    ReadFrom::Replica => (there, Some(*here)),
                };
                // What differs showed when the source was read.
                if source != replica && (state.from == ReadFrom::Source || source.is_none()) {
                    let key = String::from_utf8_lossy(key).into_owned();
                    differing.push(Seen { source, replica, since_ms, ..Seen::unseen(key) });
                }
            }
        }
        Ok(page.after)
    }

    /// The replica's key of an item that was read, and the digest that the item has there; `None` for one that the
    /// replica does not take.
    fn read(&self, from: ReadFrom, item: Bytes) -> Option<(Bytes, u128)> {
        let item = match from {
            ReadFrom::Replica => item,
            ReadFrom::Source => match self.pair.shape.apply(item).ok()? {
                Shaped::Item(item) => item,
                Shaped::Skipped => return None,
            },
        };
        let checked = self.pair.checker.check(item).ok()?;
        // Its own copy: what it was read with is larger by far.
        Some((Bytes::copy_from_slice(&checked.key.json), checked.digest))
    }

    /// Digests of what the other table holds under the same keys.
    async fn others(&self, from: ReadFrom, read: &[(Bytes, u128)]) -> Result<Vec<Option<u128>>, JobError> {
        match from {
            ReadFrom::Source => {
                let Half { cloud, table, pace } = &self.pair.replica;
                let found = fetch(cloud, table, read.iter().map(|(key, _)| &key[..]), pace, false).await?;
                Ok(read.iter().map(|(key, _)| found.get(key).map(digest_of_attributes)).collect())
            }
            ReadFrom::Replica => {
                let keys: Vec<Bytes> = read.iter().map(|(key, _)| key.clone()).collect();
                let held = self.pair.of_source(&keys, false).await?;
                Ok(held.iter().map(super::pair::Held::digest).collect())
            }
        }
    }

    /// Looks at keys that differ until each agrees, drifts or never stands still; returns the lines of those that drift.
    async fn settle(&self, state: &mut Audited, differing: Vec<Seen>) -> Result<Vec<String>, JobError> {
        let (mut pending, mut drifted) = (differing, Vec::new());
        let began = Instant::now();
        while !pending.is_empty() {
            tokio::time::sleep(LOOK).await;
            // A replica that is paused or behind is waited for.
            let Some(follows_to) = self.behind.by_its_job() else { continue };
            let is_last = began.elapsed() > PATIENCE;
            let mut later = Vec::new();
            for some in pending.chunks(GET) {
                let keys: Vec<Bytes> = some.iter().map(|seen| Bytes::copy_from_slice(seen.key.as_bytes())).collect();
                let looks = self.pair.look(&keys, true).await?;
                let since_ms = now_ms();
                for (seen, look) in some.iter().zip(looks) {
                    match seen.judge(&self.pair, &look, follows_to) {
                        Verdict::Moved if !is_last => {
                            let (source, replica) = look.digests();
                            later.push(Seen { source, replica, since_ms, ..seen.clone() });
                        }
                        Verdict::Waits => later.push(seen.clone()),
                        Verdict::Agrees | Verdict::Moved => state.found.changed += 1,
                        Verdict::Drift(difference) => {
                            match difference {
                                Difference::Missing => state.found.missing += 1,
                                Difference::Extra => state.found.extra += 1,
                                Difference::Different => state.found.different += 1,
                            }
                            let key = seen.key.clone();
                            let differing = Differing { difference, key, table: None, versions: Vec::new() };
                            drifted.push(listed(&differing, explained(&look).as_ref())?);
                        }
                        Verdict::Refused | Verdict::Kept => {}
                    }
                }
            }
            pending = later;
        }
        Ok(drifted)
    }
}

/// What the last run of the job left, or the job before that kept the same replica, whose list is taken over.
fn left(session: &Session<'_>, spec: &ReplicateSpec) -> Result<Option<Audited>, JobError> {
    let (journal, id) = (session.journal(), &session.job.id);
    if let Some(own) = Audited::of(&journal, id) {
        return Ok(Some(own));
    }
    let is_before = |job: &Job| {
        job.id != *id
            && job.context.is_same_place(&session.job.context)
            && matches!(&job.spec, Spec::Replicate(other) if other.is_same_replica(spec))
    };
    let mut before = journal.jobs()?.into_iter().filter(is_before);
    let Some((before, audited)) =
        before.find_map(|job| Audited::of(&journal, &job.id).map(|audited| (job.id, audited)))
    else {
        return Ok(None);
    };
    let (from, to) = (differences_path(journal.path(), &before), differences_path(journal.path(), id));
    if from.exists() {
        std::fs::copy(from, to)?;
    }
    Ok(Some(audited))
}

/// What may be read a second, RCU: what was asked for, and of no table more than a tenth of what it has.
fn budget(asked: f64, halves: [&Half; 2]) -> f64 {
    let tenths = halves.into_iter().filter_map(|half| half.table.provisioned).map(|p| p.read as f64 / 10.0);
    tenths.fold(asked, f64::min).max(LEAST)
}

/// Pages of at most what half the budget reads in a second: the other half is for the other side.
fn scanner(half: &Half, rcu: f64) -> Scanner {
    let options = ScanOptions { table: half.table.name.clone(), segments: 1, consistent: false };
    let table = AwsTable::new(half.cloud.bulk.dynamodb.clone(), &half.table.name, half.table.key.clone());
    let scanner = Scanner::new(Arc::new(table), options, None, Arc::new(SystemClock::new()));
    // An item that is asked for takes half a unit: more than these can't be had for the budget.
    scanner.set_cap(Some((rcu * 2.0).max(1.0)));
    scanner
}

/// Adds the lines of a pass to the list.
fn append<'a>(list: &Path, pass: u32, lines: impl Iterator<Item = &'a String>) -> std::io::Result<()> {
    let mut out = Vec::new();
    for line in lines {
        writeln!(out, "{},\"pass\":{pass}}}", line.strip_suffix('}').unwrap_or(line))?;
    }
    if out.is_empty() {
        return Ok(());
    }
    let mut before = match std::fs::read(list) {
        Ok(before) => before,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    before.extend(out);
    replace(list, &before)
}

/// Leaves out of the list what passes before `pass` found.
fn forget(list: &Path, pass: u32) -> std::io::Result<()> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        pass: u32,
    }
    let Ok(file) = std::fs::File::open(list) else { return Ok(()) };
    let mut kept = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line?;
        if serde_json::from_str::<Line>(&line).is_ok_and(|read| read.pass >= pass) {
            writeln!(kept, "{line}")?;
        }
    }
    replace(list, &kept)
}

/// Puts a whole list in place of another: a reader meets one of them.
fn replace(list: &Path, content: &[u8]) -> std::io::Result<()> {
    let beside = list.with_extension("new");
    let mut file = differences_file(&beside)?;
    file.write_all(content)?;
    std::fs::rename(beside, list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_reads_the_source_then_the_replica_and_then_begins_anew() {
        let mut state = Audited { keys: 40, ..Audited::default() };
        state.begin(1);
        state.found = Found { checked: 10, missing: 2, ..Found::default() };
        state.went_on(Some(&Bytes::from_static(b"{}")), 2);
        assert_eq!((state.from, state.after.as_deref(), state.share()), (ReadFrom::Source, Some("{}"), 0.25));
        state.went_on(None, 3);
        assert_eq!((state.from, state.after.as_deref(), state.pass), (ReadFrom::Replica, None, 1));
        state.went_on(None, 4);
        assert_eq!((state.from, state.pass, state.began_ms, state.ended_ms), (ReadFrom::Source, 2, 4, Some(4)));
        assert_eq!((state.found, state.before.unwrap().missing), (Found::default(), 2));
        // Until this pass is through, what the one before found is what is known.
        assert_eq!(state.drift(), 2);
        let stored = serde_json::to_vec(&state).unwrap();
        assert_eq!(serde_json::from_slice::<Audited>(&stored).unwrap(), state);
    }

    #[test]
    fn the_list_holds_what_this_pass_and_the_one_before_found() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("c-1.differences.jsonl");
        let line = |id: u32| format!(r#"{{"difference":"missing","key":{{"id":{{"N":"{id}"}}}}}}"#);
        for pass in 1..4 {
            append(&list, pass, [line(pass)].iter()).unwrap();
        }
        append(&list, 4, [].iter()).unwrap();
        forget(&list, 2).unwrap();
        let lines: Vec<serde_json::Value> =
            std::fs::read_to_string(&list).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let read: Vec<_> = lines.iter().map(|line| (&line["key"]["id"]["N"], &line["pass"])).collect();
        assert_eq!(read, [(&"2".into(), &2.into()), (&"3".into(), &3.into())]);
    }
}
