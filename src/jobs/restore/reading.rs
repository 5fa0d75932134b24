//! What a restore reads, settled once before the first write: which files, cut into which pieces, in which order. The
//! journal keeps it, so that a resume reads the same, on any machine, and checks nothing again.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::super::journal::{Commit, to_json};
use super::super::progress::Line;
use super::super::spec::{Part, RestoreSpec};
use super::super::worker::{Halt, JobError, Session};
use super::source::{Mark, Start};
use crate::backup::{self, BackupError, Input, Location, Piece, Set, Wanted};

/// Memory in which records are shuffled unless the operator says otherwise, bytes.
const WINDOW: u64 = 16 << 20;

/// Each strand's share of the window, bytes: what one read of it should bring at least.
const SHARE: u64 = 1 << 20;

/// Strands at most, unless more producers are asked for: each keeps a file open.
const MOST_STRANDS: u64 = 64;

/// Pieces that a backup is cut into, about; and their sizes at least and at most, bytes.
const PIECES: u64 = 256;
const SMALLEST_PIECE: u64 = 1 << 20;
const LARGEST_PIECE: u64 = 64 << 20;

/// Name of its checkpoint in the journal.
const READING: &str = "reading";

/// What a restore reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Reading {
    /// One after the other: all of a stage is in the table before the next begins.
    pub stages: Vec<StageReading>,
    /// Pieces that are read side by side.
    pub strands: usize,
    /// Memory in which records are shuffled, bytes; 0 keeps the order of the files.
    pub window: u64,
    /// Seeds the shuffle.
    pub seed: u64,
    /// Files that did not pass their check and are not read.
    pub left_out: Vec<LeftOut>,
}

/// A file that is not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeftOut {
    pub location: Location,
    pub reason: String,
}

/// Files whose pieces are read in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct StageReading {
    /// An incremental export: it holds deletes.
    pub increment: bool,
    pub inputs: Vec<Input>,
    /// In the order in which they are begun.
    pub cuts: Vec<Cut>,
}

/// A piece: the number of its file, its first byte, and the first byte that is not its.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Cut(pub usize, pub u64, pub Option<u64>);

impl StageReading {
    /// Piece `number`, in the order in which they are begun.
    pub fn piece(&self, number: usize) -> Piece {
        let Cut(file, from, to) = self.cuts[number];
        Piece { input: self.inputs[file].clone(), from, to }
    }

    /// Bytes of piece `number` as they are stored, when its file's size is known.
    pub fn stored(&self, number: usize) -> Option<u64> {
        let Cut(file, from, to) = self.cuts[number];
        Some(to.or(self.inputs[file].bytes)?.saturating_sub(from))
    }

    /// Items of its pieces as the manifest counts them; `None` where it does not, or counts more than the pieces hold.
    fn items(&self) -> Option<u64> {
        let of = |cut: &Cut| self.inputs[cut.0].items.filter(|_| cut.1 == 0 && cut.2.is_none());
        self.cuts.iter().map(of).sum()
    }
}

impl Reading {
    /// Items in all, where manifests count them.
    pub fn items(&self) -> Option<u64> {
        self.stages.iter().map(StageReading::items).sum()
    }

    /// Stored bytes in all, when they are known.
    pub fn bytes(&self) -> Option<u64> {
        self.stages.iter().flat_map(|stage| (0..stage.cuts.len()).map(|n| stage.stored(n))).sum()
    }
}

/// What the job reads: as the journal has it, or settled now. `Err` within when the operator stops it meanwhile.
pub(super) async fn settle(
    session: &Session<'_>,
    spec: &RestoreSpec,
    mark: Option<&Mark>,
) -> Result<Result<Reading, Halt>, JobError> {
    let id = &session.job.id;
    let stored = session.journal().checkpoint(id, READING)?;
    if let Some(stored) = stored {
        let mut reading: Reading = serde_json::from_slice(&stored)
            .map_err(|e| JobError::Unfit(format!("what job {id} reads can't be read: {e}")))?;
        let drained = drained(session, mark)?;
        // Over a stream a record is known by its number: where more was sent than is stored, the same must be read again.
        look_again(session, &mut reading, mark, spec.stream.is_none() || drained)?;
        return Ok(Ok(reading));
    }
    if mark.is_some() {
        return Err(JobError::Unfit(format!(
            "job {id} was begun by an older sluice, which kept its place otherwise: start the restore anew, it does no harm \
             to write an item again"
        )));
    }
    tokio::select! {
        settled = anew(session, spec) => settled.map(Ok),
        halt = session.halted() => Ok(Err(halt)),
    }
}

/// Name of the checkpoint that tells at which record a run ended that had nothing open.
const DRAINED: &str = "drained";

/// Notes that the run ended with nothing open beyond record `ordinal`, or (`None`) that a new one begins.
pub(super) fn note_drained(session: &Session<'_>, ordinal: Option<u64>) -> Result<(), JobError> {
    let value = ordinal.map(|ordinal| ordinal.to_string()).unwrap_or_default();
    let job = session.journal().job(&session.job.id)?;
    let checkpoints = [(DRAINED.to_owned(), value.into_bytes())];
    let commit = Commit { counters: job.counters, limit: &job.limit, checkpoints: &checkpoints, ..Commit::default() };
    Ok(session.journal().commit(&session.job.id, &commit)?)
}

/// True when the last run sent nothing beyond `mark`.
fn drained(session: &Session<'_>, mark: Option<&Mark>) -> Result<bool, JobError> {
    let stored = session.journal().checkpoint(&session.job.id, DRAINED)?.unwrap_or_default();
    Ok(stored == mark.map_or(0, Mark::ordinal).to_string().into_bytes())
}

/// Looks at the files that are still to be read. One that was mended, or grew, is read as it is now, where that can't
/// confuse what was read of it already.
fn look_again(
    session: &Session<'_>,
    reading: &mut Reading,
    mark: Option<&Mark>,
    may_differ: bool,
) -> Result<(), JobError> {
    let start = mark.map_or_else(|| Start::of_stage(reading, 0, 0, 0), |mark| mark.start.as_ref().clone());
    let mut changed = false;
    for (number, stage) in reading.stages.iter_mut().enumerate().skip(start.stage) {
        let now = number == start.stage;
        let stands_in = |piece: usize| start.strands.iter().any(|cursor| cursor.piece == piece);
        let to_read = |piece: usize| !now || piece >= start.next || stands_in(piece);
        let mut files: Vec<usize> =
            (0..stage.cuts.len()).filter(|piece| to_read(*piece)).map(|n| stage.cuts[n].0).collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            let input = &mut stage.inputs[file];
            // Objects don't grow, and to ask for each of many thousands takes long.
            let (Location::File(path), Some(was)) = (&input.location, input.bytes) else { continue };
            let is = match std::fs::metadata(path) {
                Ok(about) => about.len(),
                Err(cause) => return Err(BackupError::Open { location: input.location.clone(), cause }.into()),
            };
            if is == was {
                continue;
            }
            if !may_differ || input.md5.is_some() {
                return Err(BackupError::Changed { location: input.location.clone(), then: was, now: is }.into());
            }
            session
                .note("warn", &format!("{} had {was} bytes and has {is} now: it is read as it is now", input.location));
            input.bytes = Some(is);
            changed = true;
        }
    }
    if changed {
        let stored = (READING.to_owned(), to_json(&reading).into_bytes());
        commit(session, "", std::slice::from_ref(&stored))?;
    }
    Ok(())
}

async fn anew(session: &Session<'_>, spec: &RestoreSpec) -> Result<Reading, JobError> {
    let s3 = Some(&session.cloud.s3);
    let source = &spec.source;
    let wanted = Wanted { sources: source.sources.clone(), format: source.format, until: source.until };
    let set = Set::resolve(&wanted, s3).await?;
    for words in &set.notes {
        session.note("warn", words);
    }
    refuse(spec, &set)?;
    let unfit = check(session, &set).await?;
    let left_out: Vec<LeftOut> =
        unfit.into_iter().map(|unfit| LeftOut { location: unfit.location, reason: unfit.reason }).collect();
    if !left_out.is_empty() && !source.keep_going {
        return Err(JobError::Unfit(refusal(&left_out)));
    }
    for file in &left_out {
        session.note("warn", &format!("leaves out {}: {}", file.location, file.reason));
    }
    let window = spec.shuffle_bytes.unwrap_or(WINDOW);
    let strands = strands(window, spec.producers);
    // The cut follows from the files alone, so that every machine that takes a part finds the same.
    let bytes = set.bytes().map_or(LARGEST_PIECE, |all| (all / PIECES).clamp(SMALLEST_PIECE, LARGEST_PIECE));
    let mut stages = Vec::with_capacity(set.stages.len());
    for stage in set.stages {
        let inputs: Vec<Input> = stage
            .inputs
            .into_iter()
            .filter(|input| left_out.iter().all(|file| file.location != input.location))
            .collect();
        let pieces = backup::pieces(&inputs, s3, bytes).await?;
        let increment = stage.export.is_some_and(|export| export.from.is_some());
        let mut stage = StageReading { increment, cuts: cuts(&inputs, &pieces), inputs };
        if let Some(part) = spec.part {
            stage.cuts = deal(&stage, part);
        }
        if window > 0 {
            stage.cuts = strided(&stage.cuts, strands);
        }
        stages.push(stage);
    }
    let reading = Reading { stages, strands, window, seed: rand::random(), left_out };
    let stored = (READING.to_owned(), to_json(&reading).into_bytes());
    commit(session, "", std::slice::from_ref(&stored))?;
    session.note("info", &says(&reading, spec.part));
    Ok(reading)
}

/// Pieces that are read side by side: each has its share of the window.
fn strands(window: u64, producers: Option<u32>) -> usize {
    if window == 0 {
        return 1;
    }
    ((window / SHARE).clamp(1, MOST_STRANDS) as usize).max(producers.unwrap_or(0) as usize)
}

/// `1 file`, `2 files`.
pub(super) fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What a reading is, for the job's log.
fn says(reading: &Reading, part: Option<Part>) -> String {
    let files: usize = reading.stages.iter().map(|stage| stage.inputs.len()).sum();
    let pieces: usize = reading.stages.iter().map(|stage| stage.cuts.len()).sum();
    let mut words = format!("reads {} in {}", counted(files as u64, "file"), counted(pieces as u64, "piece"));
    if let Some(part) = part {
        let _ = write!(words, ", part {part} of the backup");
    }
    if reading.stages.len() > 1 {
        let _ = write!(words, ", in {} stages", reading.stages.len());
    }
    if reading.window == 0 {
        words.push_str(", in the order of the files");
    } else {
        let window = reading.window >> 10;
        let _ = write!(
            words,
            ", shuffled within {window} KiB: where the backup holds a key more than once, the order of its lines is not \
             kept (--shuffle 0 keeps it)"
        );
    }
    words
}

/// What can't be done to this set without doing wrong.
fn refuse(spec: &RestoreSpec, set: &Set) -> Result<(), JobError> {
    let increments = set.stages.iter().any(|stage| stage.export.as_ref().is_some_and(|export| export.from.is_some()));
    let ordered = set.is_chain() || increments;
    let shared = spec.part.is_some_and(|part| part.of > 1);
    let no = |words: &str| Err(JobError::Unfit(words.to_owned()));
    if shared && set.is_chain() {
        return no(
            "a chain of exports can't be shared between machines with --part: they are not in step, and an older item \
             could be written after a newer one. Restore one export at a time with --part, or the chain without",
        );
    }
    if shared && set.inputs().any(|input| input.location == Location::Stdin) {
        return no("standard input can't be shared with --part: no two machines have the same");
    }
    if ordered && spec.if_not_exists {
        return no(
            "--if-not-exists would keep the oldest version of an item that several exports hold, and incremental \
             exports delete: restore the chain into a table of its own, or leave out --if-not-exists",
        );
    }
    if ordered && spec.no_workers {
        return no(
            "incremental exports are applied one after the other, deletes included, which only this job's own workers \
             can do: leave out --no-workers",
        );
    }
    if increments && spec.source.shape.filter.is_some() {
        return no(
            "--filter can't judge what an increment deletes or changes, whose older version is not in it: restore the \
             chain into a table of its own without --filter, back that up, and restore from there with --filter",
        );
    }
    Ok(())
}

fn refusal(left_out: &[LeftOut]) -> String {
    let first: Vec<String> =
        left_out.iter().take(3).map(|file| format!("{}: {}", file.location, file.reason)).collect();
    let more = match left_out.len() {
        n if n > 3 => format!("; and {} more", n - 3),
        _ => String::new(),
    };
    format!(
        "nothing was written: {}{more}. Mend what is wrong, or leave such files out with --keep-going",
        first.join("; ")
    )
}

/// Checks files that have a manifest, and says how far it is.
async fn check(session: &Session<'_>, set: &Set) -> Result<Vec<backup::Unfit>, JobError> {
    let checked: Vec<&Input> = set.inputs().filter(|input| input.md5.is_some()).collect();
    let all: u64 = checked.iter().filter_map(|input| input.bytes).sum();
    if !checked.is_empty() {
        session.note(
            "info",
            &format!("checks {} of {all} bytes against the manifest", counted(checked.len() as u64, "file")),
        );
    }
    let read = AtomicU64::new(0);
    let progress = |bytes| read.store(bytes, Ordering::Relaxed);
    let checking = backup::check(set, Some(&session.cloud.s3), &progress);
    tokio::pin!(checking);
    let mut every = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tokio::select! {
            unfit = &mut checking => return Ok(unfit?),
            _ = every.tick(), if all > 0 => {
                let percent = read.load(Ordering::Relaxed).min(all) * 100 / all;
                let words = format!("the check of the files, {percent} % done");
                commit(session, &words, &[])?;
                say(session, words);
            }
        }
    }
}

/// Stores what there is before the first record.
fn commit(session: &Session<'_>, limit: &str, checkpoints: &[(String, Vec<u8>)]) -> Result<(), JobError> {
    let commit = Commit { counters: session.job.counters, limit, checkpoints, ..Commit::default() };
    Ok(session.journal().commit(&session.job.id, &commit)?)
}

fn say(session: &Session<'_>, limit: String) {
    session.say(Line { limit: Some(limit), ..Line::running(&session.job, 0.0, session.job.counters) });
}

/// `pieces` of `inputs`, by the number of their file.
fn cuts(inputs: &[Input], pieces: &[Piece]) -> Vec<Cut> {
    let mut file = 0;
    let cut = |piece: &Piece| {
        // Pieces come in the order of the files.
        while file < inputs.len() && inputs[file] != piece.input {
            file += 1;
        }
        Cut(file, piece.from, piece.to)
    };
    pieces.iter().map(cut).collect()
}

/// The pieces of `part`: the largest first, each to whom has least. Every machine comes to the same.
fn deal(stage: &StageReading, part: Part) -> Vec<Cut> {
    let mut order: Vec<usize> = (0..stage.cuts.len()).collect();
    order.sort_by_key(|n| (std::cmp::Reverse(stage.stored(*n)), *n));
    let mut has = vec![0u64; part.of as usize];
    let mut mine: Vec<usize> = Vec::new();
    for n in order {
        let (who, least) =
            has.iter_mut().enumerate().min_by_key(|(who, bytes)| (**bytes, *who)).expect("of is 1 or more");
        // An empty file is something to open as well.
        *least += stage.stored(n).unwrap_or(0) + 1;
        if who + 1 == part.number as usize {
            mine.push(n);
        }
    }
    mine.sort_unstable();
    mine.into_iter().map(|n| stage.cuts[n]).collect()
}

/// The same cuts in such an order that `strands`, each taking the next when it ends one, read far from each other.
fn strided(cuts: &[Cut], strands: usize) -> Vec<Cut> {
    let region = cuts.len().div_ceil(strands.max(1)).max(1);
    (0..region).flat_map(|n| cuts.iter().skip(n).step_by(region).copied()).collect()
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
