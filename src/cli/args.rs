//! The tree of commands and the options that all of them share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Moves records into and out of DynamoDB, and shows it happening.
///
/// Without a command it opens the console on the current AWS context.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, max_term_width = 110)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; without one the console opens.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
// Each is a switch of its own on the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Profile of the AWS configuration files.
    #[arg(add = super::complete::profiles(), long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// AWS region, such as eu-west-1 [else the environment's, else the profile's]
    #[arg(short, long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// Endpoint for every AWS service, such as the one `sluice local` prints.
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// One JSON object a line on stdout, and nothing else there.
    #[arg(long, global = true)]
    pub json: bool,
    /// Refuse every request that would change something.
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Change things where config.toml makes the context read-only, for this one run.
    #[arg(long, global = true, conflicts_with = "read_only")]
    pub read_write: bool,
    /// Print each request that would change something, and send none of them.
    #[arg(long, global = true, conflicts_with = "read_only")]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Where jobs are kept [else the XDG state folder]
    #[arg(long, global = true, value_name = "DIR", env = "SLUICE_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Questions to AWS a second (lists, descriptions, metrics; not records) [else 20; in the console 10]
    #[arg(long, global = true, value_name = "N", env = "SLUICE_API_RATE", value_parser = api_rate)]
    pub api_rate: Option<f64>,
    /// Log what happens to stderr; twice for every detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log into this file.
    #[arg(long, global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
}

/// One for each command of `docs/`.
// Parsed once in a process: its size matters to nobody.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch a real restore on an embedded AWS, with nothing to set up.
    #[cfg(feature = "local")]
    Demo(super::demo::DemoArgs),
    /// Serve the embedded AWS: DynamoDB, Kinesis, S3 and CloudWatch on one loopback port.
    #[cfg(feature = "local")]
    Local(super::local::LocalArgs),
    /// List tables with their capacity and load.
    Tables(super::tables::TablesArgs),
    /// List streams with their shards, look at their records, pause what reads them.
    Streams(super::streams::StreamsArgs),
    /// List jobs, or show one.
    Jobs(super::jobs::JobsArgs),
    /// Put the items of a backup into a table, direct or through a stream.
    Restore(super::restore::RestoreArgs),
    /// Write the items of a table into files, local or in S3.
    Backup(super::backup::BackupArgs),
    /// Compare a backup with a table, key by key.
    Verify(super::verify::VerifyArgs),
    /// Show or set the capacity of a table, an index or a stream, and give back what was raised.
    Capacity(super::capacity::CapacityArgs),
    /// Follow the load of tables with their capacity, by rules.
    Autoscale(super::autoscale::AutoscaleArgs),
    /// Run the put requests of a stream: workers that share its shards.
    Work(super::work::WorkArgs),
    /// Put made-up events onto a stream, at a rate.
    Load(super::load::LoadArgs),
    /// Take events by HTTP and put them onto a stream.
    Track(super::track::TrackArgs),
    /// Pump events from a stream into the event table.
    Pump(super::pump::PumpArgs),
    /// Play events back in order, from any moment.
    Playback(super::playback::PlaybackArgs),
    /// Keep a table equal in another table, region or account, or in BigQuery.
    Replicate(Box<super::replicate::ReplicateArgs>),
    /// Print the least-privilege policy of a job.
    Iam(super::iam::IamArgs),
    /// Show who holds which shard of a stream that several workers share.
    Leases(super::leases::LeasesArgs),
    /// Let a job write nothing until it is resumed.
    Pause(super::control::JobArgs),
    /// Let a paused job go on.
    Resume(super::control::JobArgs),
    /// Stop a job for good.
    Cancel(super::control::JobArgs),
    /// Cap a running job's items per second.
    Rate(super::control::RateArgs),
    /// Read, edit, replay or drop the dead letters of a job: records that can never succeed.
    Dead(super::dead::DeadArgs),
    /// List every change made, by whom and when.
    Audit(super::audit::AuditArgs),
    /// Show paths, versions, the AWS context and the terminal in use, and what is wrong with any of it.
    Info(super::info::InfoArgs),
    /// Show the console's key bindings.
    Keymap(super::keymap::KeymapArgs),
    /// Print the completions of a shell.
    Completions(super::shell::CompletionsArgs),
    /// Print the manual, or write a page for each command.
    Man(super::shell::ManArgs),
    /// List tables and streams and remember their names, for completions.
    #[command(hide = true)]
    Remember,
    /// Run a job that the journal holds.
    #[command(hide = true)]
    Worker(super::jobs::WorkerArgs),
}

/// A rate of questions that is worth asking at.
fn api_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("a number of questions per second above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for words in [["sluice", "--json", "tables"], ["sluice", "tables", "--json"]] {
            assert!(Cli::try_parse_from(words).unwrap().global.json);
        }
    }

    #[test]
    fn the_originals_options_are_understood_as_they_were() {
        let words = "sluice restore -t historical -b backups -f historical/h.csv -k restore -p 10 -d -r eu-west-1";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        let Some(Command::Restore(args)) = cli.command else { panic!("not a restore") };
        assert_eq!(cli.global.region.as_deref(), Some("eu-west-1"));
        assert_eq!(args.sources().unwrap(), ["s3://backups/historical/h.csv"]);
        assert_eq!(args.kinesis_stream.as_deref(), Some("restore"));
    }
}
