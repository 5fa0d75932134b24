//! What the sources of a job stand for: files, in the order in which they are applied.

use std::collections::HashSet;

use jiff::Timestamp;

use super::chain;
use super::error::BackupError;
use super::expand::{Input, expand};
use super::format::Format;
use super::location::Location;
use super::manifest::{self, Manifest, Shelf};

/// What is wanted of sources.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Files, folders, globs, `-`, `s3://bucket/prefix`, exports, or a prefix above a chain of exports.
    pub sources: Vec<String>,
    /// Forced format.
    pub format: Option<Format>,
    /// Only exports that end by then.
    pub until: Option<Timestamp>,
}

/// What sources stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    /// Applied one after the other: all of a stage is in the table before the next begins.
    pub stages: Vec<Stage>,
    /// What was found and is not part of it, and what else a person should know before it is applied: sentences.
    pub notes: Vec<String>,
}

/// Files that may be read in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// Its files.
    pub inputs: Vec<Input>,
    /// The export that it is; `None` for plain files.
    pub export: Option<Export>,
}

/// What an export says of itself in its manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Where its manifest is.
    pub manifest: Location,
    /// Its table's ARN.
    pub table_arn: String,
    /// The beginning of an increment, inclusive; `None` for a full export.
    pub from: Option<Timestamp>,
    /// The moment that it shows: of an increment, its exclusive end.
    pub to: Timestamp,
    /// Items, as the manifest counts them.
    pub items: u64,
}

impl Set {
    /// Finds what `wanted` stands for.
    ///
    /// A source that holds exports stands for their files alone. All exports together are one chain: a full export, then
    /// the increments after it. A file that a manifest names and that is not there is left to [`check`](super::check).
    ///
    /// # Errors
    /// A source names nothing; an export is not whole, or a chain has a gap.
    pub async fn resolve(wanted: &Wanted, s3: Option<&aws_sdk_s3::Client>) -> Result<Self, BackupError> {
        let mut found = FoundIn::default();
        for source in &wanted.sources {
            found.look_into(&source.parse()?, s3).await?;
        }
        if found.summaries.is_empty() {
            return match (&wanted.until, &found.unfinished[..]) {
                (_, [export, ..]) => Err(BackupError::BadExport {
                    manifest: export.clone(),
                    reason: "it is not there: the export is still running or has failed".to_owned(),
                }),
                (Some(until), _) => Err(BackupError::NoChain(format!(
                    "--until {until} stops a chain of exports, and there is none in {}: leave it out",
                    wanted.sources.join(", ")
                ))),
                (None, _) => Ok(Self { stages: vec![Stage { inputs: found.files, export: None }], notes: Vec::new() }),
            };
        }
        if let (Some(plain), Some(summary)) = (found.files.first(), found.summaries.first()) {
            return Err(BackupError::NoChain(format!(
                "{summary} is an export and {} is none: restore them one after the other, so that it is clear which of \
                 them wins",
                plain.location
            )));
        }
        let mut shelf = Shelf::new(s3);
        let mut exports = Vec::new();
        for summary in &found.summaries {
            exports.push(Manifest::read(summary, &mut shelf).await?);
        }
        let mut notes = found.notes(&exports);
        let (chain, left_out) = chain::order(exports, wanted.until, found.each_named)?;
        notes.extend(left_out);
        notes.extend(chain.iter().filter_map(Manifest::missing));
        let stages = chain.into_iter().map(|link| Stage { inputs: link.inputs, export: Some(link.export) }).collect();
        Ok(Self { stages, notes })
    }

    /// All files, in order.
    pub fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.stages.iter().flat_map(|stage| &stage.inputs)
    }

    /// Bytes as they are stored; `None` when a size is not known.
    pub fn bytes(&self) -> Option<u64> {
        self.inputs().map(|input| input.bytes).sum()
    }

    /// Items as manifests count them; `None` when some file has no manifest.
    pub fn items(&self) -> Option<u64> {
        self.stages.iter().map(|stage| stage.export.as_ref().map(|export| export.items)).sum()
    }

    /// The name of what it is, for a person: the sources' own words are the job's title.
    pub fn is_chain(&self) -> bool {
        self.stages.len() > 1
    }
}

/// What is in the places that sources name.
#[derive(Debug)]
struct FoundIn {
    /// Files of places that hold no export.
    files: Vec<Input>,
    /// Summaries of exports, each once.
    summaries: Vec<Location>,
    /// Where summaries of exports should be.
    unfinished: Vec<Location>,
    /// Files of places that hold exports.
    beside: Vec<Location>,
    /// True while every source names one export itself, and no place above it.
    each_named: bool,
}

impl Default for FoundIn {
    fn default() -> Self {
        Self { files: Vec::new(), summaries: Vec::new(), unfinished: Vec::new(), beside: Vec::new(), each_named: true }
    }
}

impl FoundIn {
    async fn look_into(&mut self, source: &Location, s3: Option<&aws_sdk_s3::Client>) -> Result<(), BackupError> {
        // The list of an export's files stands for the export: as items its lines would all be dead letters.
        let source = match source {
            list if list.name() == manifest::FILES => list.folder(),
            Location::S3 { bucket, key } => {
                Location::S3 { bucket: bucket.clone(), key: key.trim_end_matches('/').to_owned() }
            }
            other => other.clone(),
        };
        let inputs = expand(std::slice::from_ref(&source), s3).await?;
        let summaries: Vec<_> =
            inputs.iter().map(|input| &input.location).filter(|file| file.name() == manifest::SUMMARY).collect();
        let folders: HashSet<_> = summaries.iter().map(|summary| summary.folder()).collect();
        let started = inputs.iter().filter(|input| input.location.name() == manifest::STARTED);
        let unfinished = started.map(|input| input.location.folder()).filter(|folder| !folders.contains(folder));
        self.unfinished.extend(unfinished.map(|folder| folder.within(manifest::SUMMARY)));
        if summaries.is_empty() {
            self.files.extend(inputs);
            return Ok(());
        }
        self.each_named &= summaries.len() == 1 && (*summaries[0] == source || folders.contains(&source));
        for summary in summaries {
            if !self.summaries.contains(summary) {
                self.summaries.push(summary.clone());
            }
        }
        self.beside.extend(inputs.iter().map(|input| input.location.clone()));
        Ok(())
    }

    /// What lies beside `exports` and is not read.
    fn notes(&self, exports: &[Manifest]) -> Vec<String> {
        let read: HashSet<_> = exports.iter().flat_map(|export| &export.inputs).map(|input| &input.location).collect();
        let strays: Vec<_> =
            self.beside.iter().filter(|file| !manifest::is_of_an_export(file.name()) && !read.contains(file)).collect();
        let unfinished = self.unfinished.iter().map(|summary| {
            format!(
                "{} is left out: it has no {}, it is still running or has failed",
                summary.folder(),
                manifest::SUMMARY
            )
        });
        let strays = strays.first().map(|first| match strays.len() {
            1 => format!("1 file that no manifest names is not read: {first}"),
            count => format!("{count} files that no manifest names are not read, the first is {first}"),
        });
        unfinished.chain(strays).collect()
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
