//! `sluice verify`: a backup against a table, or a table against its replica, key by key.

use clap::Args;

use super::ask::ask;
use super::control::per_second;
use super::progress;
use super::report::{Exit, Report};
use super::session::Session;
use super::source::SourceArgs;
use crate::cloud::{Context, Mode, inventory};
use crate::jobs::replicate::TableTarget;
use crate::jobs::{JobId, Kind, ReplicaSpec, Spec, VerifySpec, differences_path};

/// What to compare with what.
// Each is a switch of its own on the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Files, folders, globs, - for standard input, or `s3://bucket/prefix`.
    #[arg(value_name = "SOURCE", required_unless_present_any = ["replica", "job"])]
    pub source: Vec<String>,
    /// The table that is read.
    #[arg(add = super::complete::tables(), short, long, value_name = "TABLE", env = "TABLE_NAME", required_unless_present = "job")]
    pub table: Option<String>,
    /// How the backup is read.
    #[command(flatten)]
    pub source_args: SourceArgs,
    /// Compare only so many keys, evenly spread; extra keys of the table are not looked for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["replica", "job"])]
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
    #[arg(add = super::complete::tables(), long, value_name = "TABLE", conflicts_with_all = ["source", "format", "until", "keep_going"])]
    pub replica: Option<String>,
    /// Compare what this replicate job reads and writes, with its options.
    #[arg(add = super::complete::jobs(), long, value_name = "ID", conflicts_with_all = ["source", "format", "until", "keep_going", "filter", "rename", "set", "skip_expired", "replica"])]
    pub job: Option<String>,
    /// Only look at the keys that the job's own audit found to differ.
    #[arg(long, requires = "job", conflicts_with_all = ["source", "replica"])]
    pub listed: bool,
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
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub lag: Option<std::time::Duration>,
    /// Put what differs as the table has it, and delete what the table lacks, where nobody else writes it meanwhile.
    #[arg(long)]
    pub repair: bool,
}

impl ReplicaArgs {
    /// A table of that name where the options say.
    pub(super) fn target(&self, table: String) -> TableTarget {
        TableTarget {
            table,
            profile: self.to_profile.clone(),
            region: self.to_region.clone(),
            endpoint_url: self.to_endpoint_url.clone(),
        }
    }
}

impl VerifyArgs {
    /// The job that these options ask for, and where it acts.
    pub(super) fn spec(&self, session: &Session) -> Result<(VerifySpec, Context), Report> {
        let ReplicaArgs { replica, job, listed, to_region, to_profile, to_endpoint_url, lag, repair } = &self.replica;
        let lag = lag.map(|lag| lag.as_secs_f64());
        if let Some(id) = job {
            let job = session.journal()?.job(&JobId(id.clone()))?;
            let Spec::Replicate(replicate) = &job.spec else {
                return Err(Report::bad_arguments(
                    format!("job {id} is a {}, which keeps no replica", job.kind()),
                    "sluice jobs lists the replicate jobs",
                ));
            };
            let mut spec =
                VerifySpec::of_replica(&job.id, replicate, *repair).map_err(|why| Report::failed(why, ""))?;
            spec.read_budget = self.read_budget;
            if let Some(replica) = &mut spec.replica {
                (replica.lag, replica.listed) = (lag, *listed);
            }
            return Ok((spec, job.context));
        }
        let place = [to_region, to_profile, to_endpoint_url];
        if replica.is_none() && (lag.is_some() || *repair || place.into_iter().any(Option::is_some)) {
            return Err(Report::bad_arguments(
                "--lag, --repair and --to-… are about a replica, and none is named",
                "name it with --replica TABLE, or its job with --job ID",
            ));
        }
        let spec = VerifySpec {
            source: self.source_args.spec(&self.source)?,
            table: self.table.clone().unwrap_or_default(),
            sample: self.sample,
            read_budget: self.read_budget,
            replica: replica.clone().map(|table| ReplicaSpec {
                target: self.replica.target(table),
                lag,
                repair: *repair,
                ..ReplicaSpec::default()
            }),
        };
        Ok((spec, session.context.clone()))
    }
}

/// Compares.
pub async fn run(args: VerifyArgs, session: &Session) -> Result<Exit, Report> {
    let (spec, context) = args.spec(session)?;
    // Where a replica is, is its job's to say, not this command's.
    let session = Session { context, ..session.clone() };
    let cloud = session.reading().await?;
    session.answered(inventory::table(&cloud, &spec.table)).await?;
    if let Some(replica) = spec.replica.as_ref().filter(|replica| replica.repair) {
        if session.mode() == Mode::ReadOnly {
            return Err(Report::failed(
                format!(
                    "a repair puts and deletes items of table {}, and read-only mode refuses that",
                    replica.target.table
                ),
                "start without --read-only, or without --repair to only compare",
            ));
        }
        let question = format!("a repair puts and deletes items of table {}", replica.target.table);
        ask(&session, &question, &replica.target.table)?;
    }
    let parent = args.replica.job.clone().map(JobId);
    let list = parent.as_ref().map(|id| differences_path(&session.journal_path(), id)).filter(|list| list.exists());
    let (session, scratch) = session.for_a_job(cloud.place())?;
    // A dry run leaves no job behind, but reads what the audit left.
    if let (Some(scratch), Some(list)) = (&scratch, &list) {
        let there = scratch.path().join(list.file_name().unwrap_or_default());
        std::fs::copy(list, there).map_err(|error| Report::failed(format!("{}: {error}", list.display()), ""))?;
    }
    let id = session.journal()?.create_job(&Spec::Verify(spec), &session.context, parent.as_ref())?;
    progress::run(&session, &id, Kind::Verify).await.map(|(exit, _)| exit)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::Cli;

    #[test]
    fn a_verify_is_of_a_backup_a_replica_or_a_job_and_of_one_of_them() {
        for right in [
            "sluice verify b.csv -t t",
            "sluice verify -t t --replica u --to-region eu-west-1 --lag 30s --repair",
            "sluice verify -t t --replica u --filter .a --rename a=b",
            "sluice verify --job c-1 --listed --repair",
        ] {
            Cli::try_parse_from(right.split(' ')).unwrap();
        }
        for wrong in [
            "sluice verify -t t",
            "sluice verify b.csv -t t --replica u",
            "sluice verify --replica u",
            "sluice verify -t t --replica u --sample 5",
            "sluice verify --job c-1 --replica u",
            "sluice verify --job c-1 --filter .a",
            "sluice verify -t t --replica u --listed",
        ] {
            // Where the environment names a table, one is named.
            if std::env::var_os("TABLE_NAME").is_none() {
                assert!(Cli::try_parse_from(wrong.split(' ')).is_err(), "{wrong}");
            }
        }
    }
}
