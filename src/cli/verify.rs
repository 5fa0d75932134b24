//! `sluice verify`: a backup against a table, key by key.

use clap::Args;

use super::control::per_second;
use super::progress;
use super::report::{Exit, Report};
use super::session::Session;
use super::source::SourceArgs;
use crate::cloud::inventory;
use crate::jobs::{Kind, Spec, VerifySpec};

/// What to compare with what.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Files, folders, globs, - for standard input, or `s3://bucket/prefix`.
    #[arg(value_name = "SOURCE", required = true)]
    pub source: Vec<String>,
    /// The table that is read.
    #[arg(short, long, value_name = "TABLE", env = "TABLE_NAME")]
    pub table: String,
    /// How the backup is read.
    #[command(flatten)]
    pub source_args: SourceArgs,
    /// Compare only so many keys, evenly spread; extra keys of the table are not looked for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// Consume at most so much read capacity, RCU.
    #[arg(long, value_name = "RCU", value_parser = per_second)]
    pub read_budget: Option<f64>,
}

impl VerifyArgs {
    /// The job that these options ask for.
    pub(super) fn spec(&self) -> Result<VerifySpec, Report> {
        Ok(VerifySpec {
            source: self.source_args.spec(&self.source)?,
            table: self.table.clone(),
            sample: self.sample,
            read_budget: self.read_budget,
        })
    }
}

/// Compares.
pub async fn run(args: VerifyArgs, session: &Session) -> Result<Exit, Report> {
    let spec = args.spec()?;
    let cloud = session.reading().await?;
    session.answered(inventory::table(&cloud, &spec.table)).await?;
    let id = session.journal()?.create_job(&Spec::Verify(spec), &session.context, None)?;
    progress::run(session, &id, Kind::Verify).await.map(|(exit, _)| exit)
}
