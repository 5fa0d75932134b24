//! Reads the journal beside the console: a thread of its own that looks every quarter second and tells what changed.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use super::history::{GAP_MS, MOST, SECOND_MS};
use super::msg::Msg;
use crate::jobs::journal::{Bump, Job, Journal, JournalError, Sample, State};
use crate::jobs::{Audited, JobId, Kind, differences_path};

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// A killed worker changes nothing in the journal: its lock is looked at every so many looks.
const LOCKS_EVERY: u32 = 4;
/// Decisions of autoscalers that the console shows; `sluice autoscale --log` shows all.
const DECISIONS: usize = 500;
/// Dead letters that the console shows; `sluice dead list` shows all.
const LETTERS: usize = 1000;
/// Pauses of a long past that are read with it: they leave room for what a chart shows of the rest.
const BREAKS: usize = MOST / 8;
/// They are looked for in the last week of it, ms: each sample is looked at for that.
const BREAKS_MS: i64 = 7 * 24 * 3_600_000;
/// Differences of a verify that the console shows; its list holds all.
const DIFFERENCES: usize = 200;

/// What is on screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// The job that is shown.
    pub job: Option<JobId>,
    /// Its dead letters too.
    pub letters: bool,
}

/// What was told already.
#[derive(Debug, Default)]
pub struct Watcher {
    path: PathBuf,
    journal: Option<Journal>,
    interest: Interest,
    looks: u32,
    version: Option<i64>,
    told: Option<(Vec<Job>, Vec<Bump>)>,
    followed: HashMap<JobId, (i64, i64)>,
    letters: Option<(JobId, i64)>,
    /// The verify whose differences were told, and when it had ended, ms since epoch.
    differences: Option<(JobId, Option<i64>)>,
    decided: Option<(i64, i64)>,
    /// The replica whose audit was told, and when it was stored, ms since epoch.
    audited: Option<(JobId, i64)>,
    lost: Option<String>,
}

impl Watcher {
    /// A watcher of the journal at `path`, which it opens with its first look.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), ..Self::default() }
    }

    /// What is on screen from now on.
    pub fn show(&mut self, interest: Interest) {
        self.interest = interest;
        self.version = None;
        self.letters = None;
        self.decided = None;
        self.audited = None;
        self.differences = None;
    }

    /// Everything that changed since the last look.
    pub fn look(&mut self) -> Vec<Msg> {
        match self.read() {
            Ok(changed) => {
                self.lost = None;
                changed
            }
            Err(error) => {
                // Opened anew with the next look; said once.
                self.journal = None;
                self.version = None;
                let words = error.to_string();
                if self.lost.as_ref() == Some(&words) {
                    return Vec::new();
                }
                self.lost = Some(words.clone());
                self.told = None;
                vec![Msg::JournalLost(words)]
            }
        }
    }

    fn read(&mut self) -> Result<Vec<Msg>, JournalError> {
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => Journal::open(&self.path)?,
        };
        let changed = self.changes(&journal);
        self.journal = Some(journal);
        changed
    }

    fn changes(&mut self, journal: &Journal) -> Result<Vec<Msg>, JournalError> {
        self.looks = self.looks.wrapping_add(1);
        let version = journal.version()?;
        let same = self.version == Some(version);
        if same && !self.looks.is_multiple_of(LOCKS_EVERY) {
            return Ok(Vec::new());
        }
        let mut messages = Vec::new();
        let now = (journal.jobs()?, journal.open_bumps()?);
        let mut follow: Vec<JobId> = now.0.iter().filter(|job| job.state.is_live()).map(|job| job.id.clone()).collect();
        follow.extend(self.interest.job.clone().filter(|id| now.0.iter().any(|job| job.id == *id)));
        // A job that just ended has its last second and words still to be told.
        follow.extend(self.followed.keys().filter(|id| !same && now.0.iter().any(|job| job.id == **id)).cloned());
        follow.sort();
        follow.dedup();
        let verify = now.0.iter().find(|job| Some(&job.id) == self.interest.job.as_ref() && job.kind() == Kind::Verify);
        if let Some(verify) = verify.filter(|job| job.state == State::Done) {
            let ended = Some((verify.id.clone(), verify.ended_ms));
            if self.differences != ended {
                self.differences = ended;
                let lines = first_lines(&differences_path(&self.path, &verify.id));
                messages.push(Msg::Differences(verify.id.clone(), lines));
            }
        }
        if self.told.as_ref() != Some(&now) {
            self.told = Some(now.clone());
            messages.push(Msg::Jobs(now.0, now.1));
        }
        if !same {
            for id in follow {
                let (sample_ms, note) = self.followed.get(&id).copied().unwrap_or((i64::MIN, i64::MIN));
                let pieces = past(journal, &id, sample_ms)?;
                let notes = journal.notes(&id, note)?;
                let at = (
                    pieces.iter().flat_map(|(samples, _)| samples).last().map_or(sample_ms, |sample| sample.at_ms),
                    notes.last().map_or(note, |note| note.number),
                );
                self.followed.insert(id.clone(), at);
                let pieces = pieces.into_iter().filter(|(samples, _)| !samples.is_empty());
                messages.extend(pieces.map(|(samples, step_ms)| Msg::Samples(id.clone(), samples, step_ms)));
                if !notes.is_empty() {
                    messages.push(Msg::Notes(id, notes));
                }
            }
            if let Some(id) = self.interest.job.clone().filter(|id| id.0.starts_with(Kind::Replicate.letter()))
                && let Some(audited) = Audited::of(journal, &id)
                && self.audited.as_ref() != Some(&(id.clone(), audited.at_ms))
            {
                self.audited = Some((id.clone(), audited.at_ms));
                messages.push(Msg::Audited(id, audited));
            }
            if self.interest.job.as_ref().is_some_and(|id| id.0.starts_with(Kind::Autoscale.letter())) {
                let decisions = journal.decisions(None, 0, DECISIONS)?;
                let newest = decisions.iter().map(|decision| decision.last_ms).max().unwrap_or_default();
                let at = (decisions.last().map_or(0, |decision| decision.number), newest);
                if self.decided != Some(at) {
                    messages.push(Msg::Decisions(decisions));
                    self.decided = Some(at);
                }
            }
            if let Some(id) = self.interest.job.clone().filter(|_| self.interest.letters) {
                let version = journal.letters_version(&id)?;
                if self.letters.as_ref() != Some(&(id.clone(), version)) {
                    let total = journal.letter_count(&id)?;
                    messages.push(Msg::Letters(id.clone(), journal.letters(&id, i64::MIN, LETTERS)?, total));
                    self.letters = Some((id, version));
                }
            }
        }
        self.version = Some(version);
        Ok(messages)
    }
}

/// Samples, and the time between them, ms.
type Piece = (Vec<Sample>, i64);

/// Samples after `after_ms`: of a job that ran for days, which is seen for the first time, as many as a chart can show, and
/// the newest, and each that a worker began with again.
fn past(journal: &Journal, id: &JobId, after_ms: i64) -> Result<Vec<Piece>, JournalError> {
    let Some((first, last)) = journal.sample_span(id)? else { return Ok(Vec::new()) };
    let from = first.max(after_ms.saturating_add(1));
    let span_ms = last - from;
    if span_ms / SECOND_MS < MOST as i64 {
        return Ok(vec![(journal.samples(id, after_ms)?, SECOND_MS)]);
    }
    let step_ms = span_ms / (MOST as i64 / 2);
    let mut samples = journal.samples_every(id, from, last, step_ms)?;
    if samples.last().is_some_and(|sample| sample.at_ms < last) {
        samples.extend(journal.last_sample(id)?);
    }
    // A pause may be shorter than a step, and what is a step apart says nothing of it.
    let breaks = journal.breaks(id, first.max(after_ms).max(last - BREAKS_MS), last, GAP_MS, BREAKS)?;
    for at in breaks.iter().flat_map(|(before, after)| [*before, *after]) {
        samples.extend(journal.samples_every(id, at, at, SECOND_MS)?);
    }
    samples.sort_by_key(|sample| sample.at_ms);
    samples.dedup_by_key(|sample| sample.at_ms);
    Ok(pieces(samples, step_ms, &breaks))
}

/// The same, with the first sample after each break as a piece of its own, as if it came a second after the one before: no
/// worker was there in between.
fn pieces(samples: Vec<Sample>, step_ms: i64, breaks: &[(i64, i64)]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = vec![(Vec::new(), step_ms)];
    let mut breaks = breaks.iter().map(|(_, after)| *after).peekable();
    for sample in samples {
        while breaks.next_if(|after| *after < sample.at_ms).is_some() {}
        if breaks.peek() == Some(&sample.at_ms) {
            pieces.extend([(vec![sample], SECOND_MS), (Vec::new(), step_ms)]);
        } else if let Some((piece, _)) = pieces.last_mut() {
            piece.push(sample);
        }
    }
    pieces.retain(|(samples, _)| !samples.is_empty());
    pieces
}

/// The first lines of a list of differences; none where there is no list.
fn first_lines(list: &Path) -> Vec<String> {
    let Ok(file) = std::fs::File::open(list) else { return Vec::new() };
    BufReader::new(file).lines().map_while(Result::ok).take(DIFFERENCES).collect()
}

/// Watches until the console is gone.
pub fn watch(mut watcher: Watcher, interests: &Receiver<Interest>, to: &Sender<Msg>) {
    loop {
        for msg in watcher.look() {
            if to.blocking_send(msg).is_err() {
                return;
            }
        }
        match interests.recv_timeout(EVERY) {
            Ok(interest) => watcher.show(interest),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Context;
    use crate::console::fixture;
    use crate::flow::Letter;
    use crate::jobs::journal::Commit;

    fn names(messages: &[Msg]) -> Vec<&'static str> {
        let name = |msg: &Msg| match msg {
            Msg::Jobs(..) => "jobs",
            Msg::Samples(..) => "samples",
            Msg::Notes(..) => "notes",
            Msg::Letters(..) => "letters",
            Msg::JournalLost(_) => "lost",
            _ => "other",
        };
        messages.iter().map(name).collect()
    }

    #[test]
    fn only_what_changed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let mut worker = Journal::open(&path).unwrap();
        let mut watcher = Watcher::new(&path);
        assert_eq!(names(&watcher.look()), ["jobs"]);
        assert_eq!(names(&watcher.look()), [""; 0]);

        let id = worker.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        let _lock = worker.lock(&id).unwrap();
        worker.begin(&id, 1).unwrap();
        worker.note(&id, "info", "begun").unwrap();
        assert_eq!(names(&watcher.look()), ["jobs", "notes"]);
        let commit = |worker: &mut Journal, at_ms, letters: &[Letter]| {
            let sample = Sample { at_ms, ..Sample::default() };
            worker.commit(&id, &Commit { sample: Some(&sample), letters, ..Commit::default() }).unwrap();
        };
        commit(&mut worker, 1, &[]);
        commit(&mut worker, 2, &[]);
        assert_eq!(names(&watcher.look()), ["samples"]);
        commit(&mut worker, 3, &[]);
        let told = watcher.look();
        assert!(matches!(&told[..], [Msg::Samples(_, samples, _)] if samples.len() == 1 && samples[0].at_ms == 3));

        watcher.show(Interest { job: Some(id.clone()), letters: true });
        assert_eq!(names(&watcher.look()), ["letters"]);
        assert_eq!(names(&watcher.look()), [""; 0]);
        commit(&mut worker, 4, &[fixture::letter("no JSON", b"\x1b[2J")]);
        assert_eq!(names(&watcher.look()), ["samples", "letters"]);
    }

    /// Writes samples as workers do, but in one go.
    fn sampled(path: &Path, id: &JobId, samples: impl Iterator<Item = Sample>) {
        let raw = rusqlite::Connection::open(path).unwrap();
        let tx = raw.unchecked_transaction().unwrap();
        for sample in samples {
            let row = rusqlite::params![id.0, sample.at_ms, serde_json::to_string(&sample).unwrap()];
            tx.execute("insert into samples (job, at_ms, body) values (?1, ?2, ?3)", row).unwrap();
        }
        tx.commit().unwrap();
    }

    #[test]
    fn of_a_job_that_ran_for_a_day_each_pause_and_each_restart_is_told_however_short() {
        use crate::console::anomaly::{self, Kind};
        use crate::console::history::History;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let worker = Journal::open(&path).unwrap();
        let id = worker.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        // Away for seven seconds and for forty; and killed, begun again two seconds later and three thousand records
        // before, which it has caught up with eight seconds later.
        let is_there = |s: &i64| !(30_001..30_007).contains(s) && !(50_001..50_040).contains(s) && *s != 70_001;
        let read = |s: i64| match s {
            70_002..=70_010 => 697_000 + (s - 70_000) * 300,
            _ => s * 10,
        };
        let samples = (0..86_400_i64).filter(is_there).map(|s| {
            let mut sample = Sample { at_ms: s * 1000, ..Sample::default() };
            sample.counters.read = read(s) as u64;
            sample
        });
        sampled(&path, &id, samples);
        let mut watcher = Watcher::new(&path);
        watcher.show(Interest { job: Some(id.clone()), letters: false });
        let mut past = History::default();
        for msg in watcher.look() {
            if let Msg::Samples(_, samples, step_ms) = msg {
                past.extend_by(samples, step_ms);
            }
        }
        assert!(past.seconds.len() < MOST && past.step_ms > 20_000, "{} {}", past.seconds.len(), past.step_ms);
        let told = anomaly::of_job(&past).into_iter().filter(|one| one.kind == Kind::Restart);
        let told: Vec<(i64, i64, String)> = told.map(|one| (one.at_ms, one.until_ms, one.words)).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], (30_000_000, 30_007_000, "no worker for 7.0 s".to_owned()));
        assert_eq!(told[1], (50_000_000, 50_040_000, "no worker for 40.0 s".to_owned()));
        assert_eq!((told[2].0, told[2].1), (70_000_000, 70_002_000));
        assert!(told[2].2.contains("2,400 records are read once more"), "{told:?}");
    }

    #[test]
    fn of_a_job_that_ran_for_a_day_as_much_is_read_as_a_chart_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let worker = Journal::open(&path).unwrap();
        let id = worker.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        sampled(&path, &id, (0..86_400).map(|s| Sample { at_ms: s * 1000, ..Sample::default() }));
        let mut watcher = Watcher::new(&path);
        watcher.show(Interest { job: Some(id.clone()), letters: false });
        let told = watcher.look();
        let Some(Msg::Samples(_, samples, step_ms)) = told.iter().find(|msg| matches!(msg, Msg::Samples(..))) else {
            panic!("{told:?}")
        };
        assert!(samples.len() <= MOST && samples.len() > MOST / 4, "{}", samples.len());
        assert!(*step_ms > SECOND_MS);
        assert_eq!((samples[0].at_ms, samples.last().unwrap().at_ms), (0, 86_399_000));
        let close = worker.samples_every(&id, 3_600_000, 3_660_000, 1000).unwrap();
        assert_eq!(close.len(), 61);
        assert!(worker.samples_every(&id, 90_000_000, 99_000_000, 1000).unwrap().is_empty());
    }

    #[test]
    fn a_killed_worker_is_seen_though_the_journal_does_not_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let worker = Journal::open(&path).unwrap();
        let id = worker.create_job(&fixture::spec(), &Context::default(), None).unwrap();
        let lock = worker.lock(&id).unwrap();
        worker.begin(&id, 1).unwrap();
        let mut watcher = Watcher::new(&path);
        watcher.look();
        drop(lock);
        let told: Vec<Msg> = (0..LOCKS_EVERY).flat_map(|_| watcher.look()).collect();
        assert!(matches!(&told[..], [Msg::Jobs(jobs, _)] if jobs[0].state == State::Interrupted), "{told:?}");
    }

    #[test]
    fn a_journal_that_can_not_be_opened_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        std::fs::write(&path, "this is no database, and long enough to be seen as none").unwrap();
        let mut watcher = Watcher::new(&path);
        assert_eq!(names(&watcher.look()), ["lost"]);
        assert_eq!(names(&watcher.look()), [""; 0]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(names(&watcher.look()), ["jobs"]);
    }
}
