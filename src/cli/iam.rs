//! `sluice iam`: the least-privilege policy of a job, as JSON.

use clap::{Args, Subcommand};

use super::autoscale::AutoscaleArgs;
use super::backup::BackupArgs;
use super::playback::PlaybackArgs;
use super::print;
use super::pump::PumpArgs;
use super::replicate::ReplicateArgs;
use super::report::{Exit, Report};
use super::restore::RestoreArgs;
use super::session::Session;
use super::verify::VerifyArgs;
use super::work::WorkArgs;
use crate::jobs::policy::{self, Extras, Place, Policy};
use crate::jobs::{JobId, LoadSpec, PumpSpec, Raise, ReplicateSpec, Spec, WorkSpec};

/// Whose policy to print.
#[derive(Debug, Args)]
pub struct IamArgs {
    /// The job, with its options.
    #[command(subcommand)]
    job: Job,
}

/// The jobs, with the options that make a difference to what they need.
// Parsed once in a process: its size matters to nobody.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
enum Job {
    /// Of `sluice restore` with these options.
    Restore(Box<RestoreArgs>),
    /// Of `sluice backup` with these options.
    Backup(BackupArgs),
    /// Of `sluice verify` with these options.
    Verify(VerifyArgs),
    /// Of `sluice work` with these options: a stream names its tables itself, so it is all of them.
    Work(WorkArgs),
    /// Of `sluice pump` with these options.
    Pump(PumpArgs),
    /// Of `sluice playback` with these options.
    Playback(PlaybackArgs),
    /// Of `sluice replicate` with these options.
    Replicate(Box<ReplicateArgs>),
    /// Of `sluice load`.
    Load(StreamName),
    /// Of `sluice track`.
    Track(StreamName),
    /// Of `sluice autoscale` with these rules.
    Autoscale(AutoscaleArgs),
    /// Of `sluice capacity`, to change and to give back.
    Capacity(CapacityNames),
    /// Of the console that only looks.
    Console {
        /// And shows records of streams.
        #[arg(long)]
        tail: bool,
    },
    /// Of a job that the journal holds.
    #[command(name = "job")]
    Kept {
        /// Its name, such as r-7f3a.
        id: String,
    },
}

/// A stream.
#[derive(Debug, Args)]
struct StreamName {
    /// The stream.
    #[arg(short, long, value_name = "STREAM", env = "KINESIS_STREAM")]
    kinesis_stream: String,
}

/// What capacity is changed of.
#[derive(Debug, Args)]
struct CapacityNames {
    /// The table.
    #[arg(required_unless_present = "stream")]
    table: Option<String>,
    /// The stream.
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
}

/// Prints it.
pub async fn run(args: IamArgs, session: &Session) -> Result<Exit, Report> {
    let policy = policy_of(args.job, session)?;
    let cloud = session.reading().await?;
    let place = match session.answered(async { Place::ask(&cloud).await }).await {
        Ok((place, _)) => place,
        Err(report) => {
            eprintln!("the account is not known, so it is * below: {}", print::shown(&report.sentence));
            Place::unknown(&cloud.region)
        }
    };
    let document = policy.document(&place);
    if session.global.json {
        print::json(&document)?;
    } else {
        print::line(&serde_json::to_string_pretty(&document).expect("a document of text and lists"))?;
    }
    Ok(Exit::Done)
}

fn policy_of(job: Job, session: &Session) -> Result<Policy, Report> {
    let spec = match job {
        Job::Restore(mut args) => {
            // The backup need not be named: then its bucket is left out, or is all of --bucket.
            if args.source.is_empty() && args.file.is_none() {
                args.source = vec![args.bucket.as_ref().map_or("-".to_owned(), |bucket| format!("s3://{bucket}/"))];
            }
            let extras = Extras { creates_tables: args.create_table.is_some(), changes_capacity: args.bump };
            let mut spec = args.spec()?;
            spec.raise = args.bump.then(Raise::default);
            return Ok(Policy::of(&Spec::Restore(spec), extras));
        }
        Job::Backup(args) => Spec::Backup(args.spec()?),
        Job::Verify(args) => Spec::Verify(args.spec(session)?.0),
        Job::Work(args) => {
            let (stream, lease_table, fan_out) = (args.kinesis_stream, args.lease_table, args.fan_out);
            Spec::Work(WorkSpec { stream, lease_table, fan_out, ..WorkSpec::default() })
        }
        Job::Pump(args) => {
            let extras = Extras { creates_tables: args.create_tables.is_some(), ..Extras::default() };
            let stream = args.named(args.kinesis_stream.as_ref(), "stream", "-k")?;
            let buffer = args.named(args.buffer.as_ref(), "buffer-table", "--buffer")?;
            let events = args.named(args.events.as_ref(), "event-table", "--events")?;
            let layout = args.layout.unwrap_or_default();
            let spec = Spec::Pump(PumpSpec { stream, buffer, events, layout, ..PumpSpec::default() });
            return Ok(Policy::of(&spec, extras));
        }
        Job::Playback(args) => return playback(args),
        Job::Replicate(args) => {
            Spec::Replicate(ReplicateSpec { may_change_stream: session.global.yes, ..args.spec()? })
        }
        Job::Load(name) => Spec::Load(LoadSpec { stream: name.kinesis_stream, ..LoadSpec::default() }),
        Job::Track(name) => return Ok(policy::track(&name.kinesis_stream)),
        Job::Autoscale(args) => {
            let Some(path) = &args.config else {
                return Err(Report::bad_arguments("the rules are not named", "pass --config FILE"));
            };
            Spec::Autoscale(super::autoscale::spec(path, args.once)?)
        }
        Job::Capacity(names) => {
            return Ok(policy::changes_of_capacity(names.table.as_deref(), names.stream.as_deref()));
        }
        Job::Console { tail } => return Ok(policy::console(tail)),
        Job::Kept { id } => session.journal()?.job(&JobId(id))?.spec,
    };
    Ok(Policy::of(&spec, Extras::default()))
}

fn playback(args: PlaybackArgs) -> Result<Policy, Report> {
    let Some(events) = args.events else {
        return Err(Report::bad_arguments("the event table is not named", "pass --events TABLE"));
    };
    Ok(policy::playback(&events, args.to_stream.or(args.to_puts).as_deref(), args.table.as_deref()))
}
