//! `sluice verify`: a backup against a table, or a table against its replica, key by key.

use clap::Args;

use super::control::per_second;
use super::dead::ask;
use super::progress;
use super::report::{Exit, Report};
use super::session::Session;
use super::source::SourceArgs;
use crate::cloud::inventory;
use crate::jobs::replicate::TableTarget;
use crate::jobs::{Kind, ReplicaSpec, Spec, VerifySpec};

/// What to compare with what.
// Each is a switch of its own on the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Files, folders, globs, - for standard input, or `s3://bucket/prefix`.
    #[arg(value_name = "SOURCE", required_unless_present = "replica")]
    pub source: Vec<String>,
    /// The table that is read.
    #[arg(short, long, value_name = "TABLE", env = "TABLE_NAME")]
    pub table: String,
    /// How the backup is read.
    #[command(flatten)]
    pub source_args: SourceArgs,
    /// Compare only so many keys, evenly spread; extra keys of the table are not looked for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "replica")]
    pub sample: Option<u64>,
    /// Consume at most so much read capacity, RCU; of each table where a replica is compared.
    #[arg(long, value_name = "RCU", value_parser = per_second)]
    pub read_budget: Option<f64>,
    /// The replica.
    #[command(flatten)]
    pub replica: ReplicaArgs,
}

/// A table and its replica.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "A replica")]
pub struct ReplicaArgs {
    /// Compare the table with this replica of it instead of a backup.
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["source", "format", "until", "keep_going"])]
    pub replica: Option<String>,
    /// Region of the replica [else the table's]
    #[arg(long, value_name = "REGION", requires = "replica")]
    pub to_region: Option<String>,
    /// Profile that reaches the replica [else the table's]
    #[arg(long, value_name = "NAME", requires = "replica")]
    pub to_profile: Option<String>,
    /// Endpoint of the replica [else the table's]
    #[arg(long, value_name = "URL", requires = "replica")]
    pub to_endpoint_url: Option<String>,
    /// How far the replica may be behind: a difference that lasts longer counts [else 15s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, requires = "replica")]
    pub lag: Option<std::time::Duration>,
    /// Put what differs as the table has it, and delete what the table lacks, where nobody else writes it meanwhile.
    #[arg(long, requires = "replica")]
    pub repair: bool,
}

impl VerifyArgs {
    /// The job that these options ask for.
    pub(super) fn spec(&self) -> Result<VerifySpec, Report> {
        let lag = self.replica.lag.map(|lag| lag.as_secs_f64());
        Ok(VerifySpec {
            source: self.source_args.spec(&self.source)?,
            table: self.table.clone(),
            sample: self.sample,
            read_budget: self.read_budget,
            replica: self.replica.replica.clone().map(|table| ReplicaSpec {
                target: TableTarget {
                    table,
                    profile: self.replica.to_profile.clone(),
                    region: self.replica.to_region.clone(),
                    endpoint_url: self.replica.to_endpoint_url.clone(),
                },
                lag,
                repair: self.replica.repair,
                ..ReplicaSpec::default()
            }),
        })
    }
}

/// Compares.
pub async fn run(args: VerifyArgs, session: &Session) -> Result<Exit, Report> {
    let spec = args.spec()?;
    let cloud = session.reading().await?;
    session.answered(inventory::table(&cloud, &spec.table)).await?;
    if let Some(replica) = spec.replica.as_ref().filter(|replica| replica.repair) {
        let question = format!("a repair puts and deletes items of table {}", replica.target.table);
        ask(session, &question, &replica.target.table)?;
    }
    // A dry run leaves no job behind.
    let (session, _scratch) = session.for_a_job()?;
    let id = session.journal()?.create_job(&Spec::Verify(spec), &session.context, None)?;
    progress::run(&session, &id, Kind::Verify).await.map(|(exit, _)| exit)
}
