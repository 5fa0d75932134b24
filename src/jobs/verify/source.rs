//! The source's side: its files read just as a restore reads them, several pieces side by side.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use super::super::restore::strand::{Intent, Strand, Taking};
use super::super::spec::SourceSpec;
use super::super::worker::{JobError, Session};
use super::Batch;
use super::spill::Version;
use crate::backup::{self, Input, Piece, Place, Set, Wanted};
use crate::flow::{Stopwatch, SystemClock};
use crate::item::{Checker, KeySchema, Shape};

/// Keys handed on at a time.
const BATCH: usize = 1000;

/// Pieces that the files are cut into, bytes.
const PIECE: u64 = 16 << 20;

/// A piece of a file of the source.
struct Laid {
    stage: u32,
    /// It holds deletes, and what a shape leaves out of it is deleted.
    increment: bool,
    input: u32,
    piece: Piece,
}

/// What a verify reads of a backup.
pub(super) struct Source {
    pub taking: Arc<Taking>,
    /// All files, by the number that a [`Version`] knows them by.
    pub inputs: Vec<(Input, bool)>,
    pieces: Vec<Laid>,
    side_by_side: usize,
}

/// What was met while reading, beside items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Met {
    /// Lines that hold no item.
    pub dead: u64,
    /// Items that an option leaves out.
    pub skipped: u64,
}

impl Source {
    /// Finds the files, checks those that have a manifest, and cuts them into pieces.
    pub async fn open(session: &Session<'_>, spec: &SourceSpec, key: &KeySchema) -> Result<Self, JobError> {
        let s3 = Some(&session.cloud.s3);
        let wanted = Wanted { sources: spec.sources.clone(), format: spec.format, until: spec.until };
        let set = Set::resolve(&wanted, s3).await?;
        for note in &set.notes {
            session.note("info", note);
        }
        let unfit = backup::check(&set, s3, &|_| {}).await?;
        if let Some(first) = unfit.first()
            && !spec.keep_going
        {
            let more = if unfit.len() > 1 { format!(", and {} more", unfit.len() - 1) } else { String::new() };
            return Err(JobError::Unfit(format!(
                "nothing was compared: {}: {}{more}. Mend what is wrong, or leave such files out with --keep-going",
                first.location, first.reason
            )));
        }
        for file in &unfit {
            session.note("warn", &format!("leaves out {}: {}", file.location, file.reason));
        }
        let (mut inputs, mut pieces) = (Vec::new(), Vec::new());
        for (stage, files) in set.stages.into_iter().enumerate() {
            let increment = files.export.is_some_and(|export| export.from.is_some());
            for input in files.inputs {
                if unfit.iter().any(|file| file.location == input.location) {
                    continue;
                }
                let number = inputs.len() as u32;
                let cut = backup::pieces(std::slice::from_ref(&input), s3, PIECE).await?;
                pieces.extend(cut.into_iter().map(|piece| Laid {
                    stage: stage as u32,
                    increment,
                    input: number,
                    piece,
                }));
                inputs.push((input, increment));
            }
        }
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let taking = Taking {
            checker: Checker::new(key.clone()),
            shape: Shape::new(&spec.shape).map_err(|error| JobError::Unfit(error.to_string()))?,
            format: spec.format,
            s3: s3.cloned(),
            keep_going: spec.keep_going,
            producers: Semaphore::new(processors),
            checking: Arc::new(Stopwatch::new(Arc::new(SystemClock::new()))),
        };
        Ok(Self { taking: Arc::new(taking), inputs, pieces, side_by_side: processors })
    }

    /// Reads everything, and hands keys and digests on in no order; stops when `hand_on` says that nobody wants more.
    pub async fn read<F, G>(&self, session: &Session<'_>, hand_on: F) -> Result<Met, JobError>
    where
        F: Fn(Batch) -> G,
        G: Future<Output = bool>,
    {
        let pieces = self.pieces.iter().map(|laid| self.piece(session, laid, &hand_on));
        futures::stream::iter(pieces)
            .buffer_unordered(self.side_by_side)
            .try_fold(Met::default(), |all, met| {
                std::future::ready(Ok(Met { dead: all.dead + met.dead, skipped: all.skipped + met.skipped }))
            })
            .await
    }

    async fn piece<F, G>(&self, session: &Session<'_>, laid: &Laid, hand_on: &F) -> Result<Met, JobError>
    where
        F: Fn(Batch) -> G,
        G: Future<Output = bool>,
    {
        let from = Place::at(laid.piece.from);
        let mut strand = Strand::start(Arc::clone(&self.taking), laid.piece.clone(), laid.increment, from);
        let mut met = Met::default();
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(taken) = strand.next().await? {
            let (key, digest) = match taken.intent {
                Intent::Put(item) => (item.key, Some(item.digest)),
                Intent::Delete(key) => (key, None),
                Intent::LeaveOut => {
                    met.skipped += 1;
                    continue;
                }
                Intent::Refuse(..) => {
                    met.dead += 1;
                    continue;
                }
            };
            batch.push((key, Version { digest, stage: laid.stage, input: laid.input, offset: taken.offset }));
            if batch.len() == BATCH && !hand_on(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await {
                // The writing side has ended: its own error says why.
                return Ok(met);
            }
        }
        if let Some(damage) = strand.damaged() {
            session.note("warn", &format!("what follows is not compared: {damage}"));
        }
        hand_on(batch).await;
        Ok(met)
    }
}
