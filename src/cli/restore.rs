//! `sluice restore`: the items of a backup into a table, with the original's seven options and ours.

use std::time::Duration;

use clap::Args;

use super::control::Brakes;
use super::plan;
use super::preview;
use super::progress;
use super::report::{Exit, Report};
use super::resume;
use super::session::Session;
use super::source::SourceArgs;
use crate::backup::Format;
use crate::cloud::{Mode, inventory};
use crate::jobs::create_table::SchemaSource;
use crate::jobs::{self, JobId, Kind, Part, RestoreSpec, SourceSpec, Spec, start_detached};

/// What to restore, into what, and how.
// Each is a switch of its own on the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, Default, Args)]
pub struct RestoreArgs {
    /// Files, folders, globs, - for standard input, or `s3://bucket/prefix`.
    #[arg(value_name = "SOURCE")]
    pub source: Vec<String>,
    /// The table that is written.
    #[arg(add = super::complete::tables(), short, long, value_name = "TABLE", env = "TABLE_NAME")]
    pub table: Option<String>,
    /// Bucket of the backup named by --file.
    #[arg(short, long, env = "BACKUP_FILE_BUCKET")]
    pub bucket: Option<String>,
    /// The backup's key in --bucket; without a bucket, a local file.
    #[arg(short, long, env = "FILE")]
    pub file: Option<String>,
    /// Send the put requests over this Kinesis stream, and put from it.
    #[arg(add = super::complete::streams(), short, long, value_name = "STREAM", env = "KINESIS_STREAM")]
    pub kinesis_stream: Option<String>,
    /// Taken as the original took it; records are spread evenly over all shards whatever it says.
    #[arg(short, long, value_name = "N")]
    pub partitions: Option<u32>,
    /// The column is base64 (csv64); --decode=false reads plain quoted JSON (csv) [else seen from the content]
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub decode: Option<bool>,
    /// How the backup is read.
    #[command(flatten)]
    pub source_args: SourceArgs,
    /// What it is held to.
    #[command(flatten)]
    pub brakes: Brakes,
    /// Keep to the provisioned rate from the first second; the capacity that the table saved up is left alone.
    #[arg(long)]
    pub no_burst: bool,
    /// Leave items alone whose key the table holds already.
    #[arg(long)]
    pub if_not_exists: bool,
    /// Only produce onto the stream; workers elsewhere write the table.
    #[arg(long, requires = "kinesis_stream")]
    pub no_workers: bool,
    /// Send one put request per record instead of many packed together (KPL format): for workers that can't unpack them.
    #[arg(long, requires = "kinesis_stream")]
    pub no_aggregate: bool,
    /// How many parts of the backup are read and checked at the same time [else one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub producers: Option<u32>,
    /// Take only this machine's share of the backup, such as 3/10: the others take the rest.
    #[arg(long, value_name = "I/N")]
    pub part: Option<Part>,
    /// Memory in which records are shuffled, so that a sorted backup heats no partition; 0 keeps the files' order.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub shuffle: Option<u64>,
    /// Print what it will take (items, capacity, time, dollars, the best way), and write nothing.
    #[arg(long, conflicts_with_all = ["detach", "resume"])]
    pub plan: bool,
    /// Be done within this time, such as 2h: says first whether the present capacity suffices.
    #[arg(long, value_name = "TIME", value_parser = plan::within, conflicts_with = "resume")]
    pub within: Option<Duration>,
    /// Raise the table and its indexes to what --within needs, and give that back at the end.
    #[arg(long, requires = "within")]
    pub bump: bool,
    /// Make the table first if it is not there: as this file says (what `aws dynamodb describe-table` prints), or as the
    /// table was that the export was made of (export).
    #[arg(long, value_name = "FILE|export", conflicts_with = "resume")]
    pub create_table: Option<SchemaSource>,
    /// Show what becomes of the first so many records, and write nothing.
    #[arg(long, value_name = "N", conflicts_with_all = ["detach", "resume"])]
    pub preview: Option<usize>,
    /// Start it and come back at once; `sluice jobs` shows how it goes.
    #[arg(long)]
    pub detach: bool,
    /// Go on with a job that was interrupted or failed, as it was told to.
    #[arg(add = super::complete::resumable_jobs(), long, value_name = "ID")]
    pub resume: Option<String>,
}

impl RestoreArgs {
    /// Where the records come from, as the job keeps it.
    pub fn sources(&self) -> Result<Vec<String>, Report> {
        if !self.source.is_empty() {
            let file_is_meant = self.file.is_some() && self.file != std::env::var("FILE").ok();
            if file_is_meant {
                return Err(Report::bad_arguments("both SOURCE and --file name a backup", "leave one of them out"));
            }
            return self.source.iter().map(|source| absolute(source)).collect();
        }
        match (&self.bucket, &self.file) {
            (Some(bucket), Some(file)) => Ok(vec![format!("s3://{bucket}/{}", file.trim_start_matches('/'))]),
            (None, Some(file)) => Ok(vec![absolute(file)?]),
            (Some(bucket), None) => Err(Report::bad_arguments(
                format!("--bucket {bucket} needs --file"),
                format!("name the backup: --file KEY, or s3://{bucket}/KEY"),
            )),
            (None, None) => Err(Report::bad_arguments(
                "no backup is named",
                "name a file, a folder, or s3://bucket/prefix: sluice restore SOURCE -t TABLE",
            )),
        }
    }

    /// The job that these options ask for.
    pub(super) fn spec(&self) -> Result<RestoreSpec, Report> {
        let Some(table) = self.table.clone() else {
            return Err(Report::bad_arguments("no table is named", "pass --table TABLE, or set TABLE_NAME"));
        };
        let from_decode = self.decode.map(|decode| if decode { Format::Csv64 } else { Format::Csv });
        Ok(RestoreSpec {
            source: SourceSpec {
                format: self.source_args.format.or(from_decode),
                ..self.source_args.spec(&self.sources()?)?
            },
            table,
            stream: self.kinesis_stream.clone(),
            rate: self.brakes.rate,
            max_wcu: self.brakes.max_wcu,
            if_not_exists: self.if_not_exists,
            no_workers: self.no_workers,
            no_aggregate: self.no_aggregate,
            leave: self.brakes.leave,
            no_burst: self.no_burst,
            raise: None,
            producers: self.producers,
            part: self.part,
            shuffle_bytes: self.shuffle,
        })
    }
}

/// `64MiB`, `500k`, or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => 0,
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|_| factor > 0)
        .ok_or_else(|| format!("{text:?} is no size: write 64MiB"))
}

/// A worker may have another working directory, and a resume surely has.
pub fn absolute(source: &str) -> Result<String, Report> {
    if source == "-" || source.starts_with("s3://") {
        return Ok(source.to_owned());
    }
    std::path::absolute(source)
        .map(|path| path.to_string_lossy().into_owned())
        .map_err(|error| Report::bad_arguments(format!("{source:?} is no path: {error}"), ""))
}

/// Starts or resumes a restore.
pub async fn run(args: RestoreArgs, session: &Session) -> Result<Exit, Report> {
    if args.detach && session.mode() != Mode::Normal {
        return Err(Report::bad_arguments(
            "a detached restore writes",
            "leave out --detach along with --read-only or --dry-run",
        ));
    }
    // What is not sent must not count as done in a job that is to be finished.
    if args.resume.is_some() && session.mode() == Mode::DryRun {
        return Err(Report::bad_arguments(
            "a dry run resumes nothing",
            "leave out --resume: name the backup and the table",
        ));
    }
    if let Some(id) = &args.resume {
        return resume::run(&JobId(id.clone()), Kind::Restore, args.detach, "start the verify again", session).await;
    }
    let mut spec = args.spec()?;
    if let Some(most) = args.preview {
        return preview::run(&spec, most, session).await;
    }
    if args.detach && spec.source.sources.iter().any(|source| source == "-") {
        return Err(Report::bad_arguments("a detached restore has no standard input", "name a file"));
    }
    let cloud = session.reading().await?;
    let plan::Destination { target, new } =
        plan::destination(&cloud, &spec, args.create_table.as_ref(), session).await?;
    if let Some(stream) = &spec.stream {
        session.answered(inventory::stream(&cloud, stream)).await?;
    }
    if args.plan || args.within.is_some() {
        let plan = jobs::plan::facts_into(&cloud, &spec, target).await?.plan(&spec, args.within);
        if args.plan {
            plan::show(&plan, session)?;
            return Ok(Exit::Done);
        }
        let table = if new.is_none() { inventory::table(&cloud, &spec.table).await.ok() } else { None };
        spec.raise = plan::settle(&plan, args.bump, table.as_ref(), session)?;
    }
    if let Some(new) = &new {
        plan::make(new, session).await?;
    }
    let (session, _folder) = &session.for_a_job(cloud.place())?;
    let journal = session.journal()?;
    let spec = Spec::Restore(spec);
    if args.detach {
        let id = start_detached(&journal, &spec, &session.context, None)?;
        return resume::started(&id, Kind::Restore, session);
    }
    let id = journal.create_job(&spec, &session.context, None)?;
    drop(journal);
    progress::run(session, &id, Kind::Restore).await.map(|(exit, _)| exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_a_file_are_one_object_as_the_original_meant_them() {
        let args = RestoreArgs { bucket: Some("b".into()), file: Some("/h/x.csv".into()), ..RestoreArgs::default() };
        assert_eq!(args.sources().unwrap(), ["s3://b/h/x.csv"]);
    }

    #[test]
    fn a_local_source_is_kept_as_an_absolute_path_for_the_worker() {
        let args = RestoreArgs { source: vec!["x.csv".into(), "-".into()], ..RestoreArgs::default() };
        let sources = args.sources().unwrap();
        assert!(sources[0].starts_with('/') && sources[0].ends_with("/x.csv"), "{sources:?}");
        assert_eq!(sources[1], "-");
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_pass() {
        let none = RestoreArgs { table: Some("t".into()), ..RestoreArgs::default() };
        assert_eq!(none.spec().unwrap_err().exit, Exit::BadArguments);
        let bucket = RestoreArgs { bucket: Some("b".into()), ..RestoreArgs::default() };
        assert!(bucket.sources().unwrap_err().hint.contains("s3://b/KEY"));
    }

    #[test]
    fn decoding_is_base64_and_its_absence_plain_json() {
        let with = |decode| RestoreArgs {
            table: Some("t".into()),
            source: vec!["-".into()],
            decode,
            ..RestoreArgs::default()
        };
        assert_eq!(with(Some(true)).spec().unwrap().source.format, Some(Format::Csv64));
        assert_eq!(with(Some(false)).spec().unwrap().source.format, Some(Format::Csv));
        assert_eq!(with(None).spec().unwrap().source.format, None);
    }
}
