//! What a job is asked to do, as the journal keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A job's name: its kind's letter and four or more hex digits, such as `r-7f3a`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub String);

impl JobId {
    /// A new name for a job of `kind`.
    pub fn random(kind: Kind) -> Self {
        Self(format!("{}-{:06x}", kind.letter(), rand::random::<u32>() & 0x00ff_ffff))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Items of a backup into a table.
    Restore,
    /// A backup against a table, key by key.
    Verify,
}

impl Kind {
    /// The letter that its job names start with.
    pub fn letter(self) -> char {
        match self {
            Self::Restore => 'r',
            Self::Verify => 'v',
        }
    }

    /// As scripts and screens spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Verify => "verify",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a job does, with every option settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Spec {
    /// Items of a backup into a table.
    Restore(RestoreSpec),
    /// A backup against a table, key by key.
    Verify(VerifySpec),
}

impl Spec {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Restore(_) => Kind::Restore,
            Self::Verify(_) => Kind::Verify,
        }
    }

    /// The table it writes or reads.
    pub fn table(&self) -> &str {
        match self {
            Self::Restore(spec) => &spec.table,
            Self::Verify(spec) => &spec.table,
        }
    }

    /// Where its records come from, as the operator named them.
    pub fn sources(&self) -> &[String] {
        match self {
            Self::Restore(spec) => &spec.sources,
            Self::Verify(spec) => &spec.sources,
        }
    }

    /// `historical ← s3://backups/x.csv via restore`.
    pub fn title(&self) -> String {
        let sources = match self.sources() {
            [] => String::from("nothing"),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        match self {
            Self::Restore(spec) => {
                let via = spec.stream.as_ref().map(|stream| format!(" via {stream}")).unwrap_or_default();
                format!("{} ← {sources}{via}", spec.table)
            }
            Self::Verify(spec) => format!("{} = {sources}", spec.table),
        }
    }
}

/// A restore: items of a backup into a table, direct or through a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreSpec {
    /// Files, folders, globs, `-` or `s3://bucket/prefix`.
    pub sources: Vec<String>,
    /// The table that is written.
    pub table: String,
    /// The Kinesis stream that the put requests travel over; `None` writes straight into the table.
    pub stream: Option<String>,
    /// Forced format of the files; detected from content when `None`.
    #[serde(default)]
    pub format: Option<crate::backup::Format>,
    /// Cap on items per second.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Cap on consumed write capacity, WCU.
    #[serde(default)]
    pub max_wcu: Option<f64>,
    /// Leave items alone whose key exists already.
    #[serde(default)]
    pub if_not_exists: bool,
    /// Only produce onto the stream; the table is written by workers elsewhere.
    #[serde(default)]
    pub no_workers: bool,
}

/// A comparison of a backup with a table, key by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifySpec {
    /// Files, folders, globs, `-` or `s3://bucket/prefix`.
    pub sources: Vec<String>,
    /// The table that is read.
    pub table: String,
    /// Forced format of the files; detected from content when `None`.
    #[serde(default)]
    pub format: Option<crate::backup::Format>,
    /// Compare only this many keys, evenly spread; `None` compares all, and finds extra ones.
    #[serde(default)]
    pub sample: Option<u64>,
    /// Cap on consumed read capacity, RCU.
    #[serde(default)]
    pub read_budget: Option<f64>,
}
