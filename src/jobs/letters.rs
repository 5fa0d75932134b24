//! Brings dead letters that functions on Lambda left in S3 into the journal: from there on they are as any others.

use std::collections::{BTreeMap, HashSet};

use super::journal::{Commit, Job, Journal, JournalError, State};
use super::spec::{JobId, LettersSpec, Spec};
use crate::backup::{self, BackupError, Location};
use crate::cloud::{Cloud, CloudError};
use crate::flow::{Counters, Letter, LetterLine};

/// Letters read from the journal at a time.
const PAGE: usize = 1_000;

/// What was brought of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// The job that holds them.
    pub job: JobId,
    /// The stream whose records they are.
    pub stream: String,
    /// Letters that were not in the journal.
    pub new: u64,
    /// Letters that an earlier run brought.
    pub known: u64,
}

/// Why nothing was brought.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// Where they should be.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// S3.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file that can't be read.
    #[error("{location} can't be read: {cause}")]
    Unreadable {
        /// The file.
        location: Location,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A line that is no letter.
    #[error("{location}, line {line}: {reason}. Nothing was brought: name what holds dead letters and nothing else")]
    NoLetter {
        /// The file.
        location: Location,
        /// Its line, 1-based.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Brings what is below `from` into `journal`: a job for each stream, which the same `from` finds again, so that a letter
/// is brought once however often this runs.
///
/// # Errors
/// Nothing was brought of the stream at which it stopped, nor of those behind it.
pub async fn bring(journal: &mut Journal, cloud: &Cloud, from: &Location) -> Result<Vec<Brought>, BringError> {
    let mut streams: BTreeMap<String, Vec<Letter>> = BTreeMap::new();
    for input in backup::expand(std::slice::from_ref(from), Some(&cloud.s3)).await? {
        let text = text_of(cloud, &input.location).await?;
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let location = input.location.clone();
            let letter =
                LetterLine::read(line).map_err(|reason| BringError::NoLetter { location, line: n + 1, reason })?;
            streams.entry(letter.source.clone()).or_default().push(letter);
        }
    }
    streams.into_iter().map(|(stream, letters)| store(journal, cloud, from, stream, letters)).collect()
}

async fn text_of(cloud: &Cloud, location: &Location) -> Result<String, BringError> {
    let unreadable = |cause| BringError::Unreadable { location: location.clone(), cause };
    let bytes = match location {
        Location::File(path) => tokio::fs::read(path).await.map_err(unreadable)?,
        Location::S3 { bucket, key } => {
            let object = cloud.s3.get_object().bucket(bucket).key(key).send().await;
            let object = object.map_err(|error| CloudError::of(&format!("read {location}"), &error))?;
            let body = object.body.collect().await.map_err(|error| unreadable(std::io::Error::other(error)))?;
            body.to_vec()
        }
        Location::Stdin => {
            let mut bytes = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut tokio::io::stdin(), &mut bytes).await.map_err(unreadable)?;
            bytes
        }
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn store(
    journal: &mut Journal,
    cloud: &Cloud,
    from: &Location,
    stream: String,
    letters: Vec<Letter>,
) -> Result<Brought, BringError> {
    let spec = Spec::Letters(LettersSpec { stream: stream.clone(), from: from.to_string() });
    let place = cloud.place();
    let found = journal.jobs()?.into_iter().find(|job: &Job| job.spec == spec && job.context == place);
    let job = match found {
        Some(job) => job.id,
        None => journal.create_job(&spec, &place, None)?,
    };
    let mut known = HashSet::new();
    let mut after = i64::MIN;
    loop {
        let page = journal.all_letters(&job, after, PAGE)?;
        let is_last = page.len() < PAGE;
        for dead in page {
            after = dead.number;
            known.insert((dead.letter.shard, dead.letter.sequence));
        }
        if is_last {
            break;
        }
    }
    let before = known.len();
    // Met twice below `from`, a letter is one.
    let mut repeated = 0;
    let new: Vec<Letter> = letters
        .into_iter()
        .filter(|letter| {
            let is_new = known.insert((letter.shard.clone(), letter.sequence.clone()));
            repeated += u64::from(!is_new);
            is_new
        })
        .collect();
    let all = (before + new.len()) as u64;
    let counters = Counters { read: all, dead: all, ..Counters::default() };
    journal.commit(&job, &Commit { counters, letters: &new, ..Commit::default() })?;
    if before == 0 {
        journal.end(&job, State::Done, "", "")?;
    }
    let words = format!("{} dead letters brought from {from}", new.len());
    journal.note(&job, "info", &words)?;
    Ok(Brought { job, stream, new: new.len() as u64, known: repeated })
}
