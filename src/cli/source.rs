//! What is read of a backup, as options: restore, verify and plan share them.

use clap::Args;

use super::report::Report;
use super::restore::absolute;
use crate::backup::Format;
use crate::item::{Shape, ShapeSpec};
use crate::jobs::SourceSpec;

/// How a backup is read, and which of its items are taken as what.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArgs {
    /// Format of the files [else seen from the content]
    #[arg(long, value_name = "csv64|csv|jsonl|export")]
    pub format: Option<Format>,
    /// Apply a chain of exports up to the increment that ends by then.
    #[arg(long, value_name = "TIME")]
    pub until: Option<jiff::Timestamp>,
    /// Leave out files that don't pass the check against their manifest, and go on with the others.
    #[arg(long)]
    pub keep_going: bool,
    /// Take only items for which this expression is true.
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// Give an attribute another name; may be repeated.
    #[arg(long, value_name = "OLD=NEW")]
    pub rename: Vec<String>,
    /// Give an attribute a value; may be repeated.
    #[arg(long, value_name = "NAME=EXPRESSION")]
    pub set: Vec<String>,
    /// Leave out items whose time in this attribute (seconds since the epoch, as TTL has it) is past.
    #[arg(long, value_name = "ATTR")]
    pub skip_expired: Option<String>,
    /// The moment that decides what --skip-expired leaves out [else now]
    #[arg(long, value_name = "TIME", requires = "skip_expired")]
    pub expired_at: Option<jiff::Timestamp>,
}

impl SourceArgs {
    /// What is read from `sources`.
    pub fn spec(&self, sources: &[String]) -> Result<SourceSpec, Report> {
        let shape = self.shape();
        // Told now rather than by the worker.
        Shape::new(&shape).map_err(|error| Report::bad_arguments(error.to_string(), "see docs/shaping.md"))?;
        Ok(SourceSpec {
            sources: sources.iter().map(|source| absolute(source)).collect::<Result<_, _>>()?,
            format: self.format,
            until: self.until,
            keep_going: self.keep_going,
            shape,
        })
    }

    fn shape(&self) -> ShapeSpec {
        let expired_at = || self.expired_at.unwrap_or_else(jiff::Timestamp::now).as_second();
        ShapeSpec {
            filter: self.filter.clone(),
            rename: self.rename.clone(),
            set: self.set.clone(),
            skip_expired: self.skip_expired.clone(),
            expired_at: self.skip_expired.is_some().then(expired_at),
        }
    }
}
