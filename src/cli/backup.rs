//! `sluice backup`: a table into files, with the original's options and ours.

use clap::Args;
use jiff::Zoned;
use serde_json::json;

use super::control::per_second;
use super::print;
use super::progress;
use super::report::{Exit, Report};
use super::restore::absolute;
use super::resume;
use super::session::Session;
use crate::backup::write::Destination;
use crate::backup::{Format, Location};
use crate::cloud::guard::Change;
use crate::cloud::inventory::Table;
use crate::cloud::{Context, Mode, inventory};
use crate::jobs::audit::Unsent;
use crate::jobs::backup::{default_segments, read_budget};
use crate::jobs::{BackupSpec, JobId, Kind, Spec, start_detached};

/// What to back up, where to, and how.
#[derive(Clone, Debug, Default, Args)]
pub struct BackupArgs {
    /// A file, a folder or `s3://bucket/prefix`; a folder or bucket gets `<table>/<table>_<time>.csv` below it.
    #[arg(value_name = "TO")]
    pub to: Option<String>,
    /// The table that is read.
    #[arg(add = super::complete::tables(), short, long, value_name = "TABLE", env = "TABLE_NAME")]
    pub table: Option<String>,
    /// Bucket to write to, as the original named it: `<table>/<table>_<time>.csv`
    #[arg(short, long, env = "BACKUP_FILE_BUCKET")]
    pub bucket: Option<String>,
    /// csv64, jsonl, or export (the layout of a `DynamoDB` export) [else csv64, as the original wrote]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// How many segments of the table are read at the same time [else by its size, 4 to 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub segments: Option<u32>,
    /// Consume at most so much read capacity, RCU a second [else half of what the table has; no cap on demand]
    #[arg(long, value_name = "RCU", value_parser = per_second)]
    pub read_budget: Option<f64>,
    /// Compress with gzip; an export always is.
    #[arg(long)]
    pub gzip: bool,
    /// Read at half the RCU; writes of the last second or so before a page is read may be missing from it.
    #[arg(long)]
    pub eventually_consistent: bool,
    /// Start it and come back at once; `sluice jobs` shows how it goes.
    #[arg(long)]
    pub detach: bool,
    /// Go on with a backup that was interrupted or failed, as it was told to.
    #[arg(add = super::complete::resumable_jobs(), long, value_name = "ID")]
    pub resume: Option<String>,
}

impl BackupArgs {
    /// Where it goes, as it was named.
    fn to(&self) -> Result<String, Report> {
        let bucket_is_meant = self.bucket.is_some() && self.bucket != std::env::var("BACKUP_FILE_BUCKET").ok();
        match (&self.to, &self.bucket) {
            (Some(_), Some(_)) if bucket_is_meant => {
                Err(Report::bad_arguments("both TO and --bucket say where to", "leave one of them out"))
            }
            // An absolute path has no / at its end any more, which is what says that it is a folder.
            (Some(to), _) if to.ends_with('/') && !to.starts_with("s3://") => {
                Ok(format!("{}/", absolute(to)?.trim_end_matches('/')))
            }
            (Some(to), _) if to == "-" => Err(Report::bad_arguments(
                "a backup can't go to standard output: it is resumable, and that is not",
                "name a file, a folder or s3://bucket/prefix",
            )),
            (Some(to), _) => absolute(to),
            (None, Some(bucket)) => Ok(format!("s3://{bucket}")),
            (None, None) => Err(Report::bad_arguments(
                "it is not said where to",
                "name a file, a folder or s3://bucket/prefix: sluice backup -t TABLE TO",
            )),
        }
    }

    /// The job that these options ask for.
    pub(super) fn spec(&self) -> Result<BackupSpec, Report> {
        let Some(table) = self.table.clone() else {
            return Err(Report::bad_arguments("no table is named", "pass --table TABLE, or set TABLE_NAME"));
        };
        let format = self.format.unwrap_or_default();
        if format == Format::Csv {
            return Err(Report::bad_arguments(
                "backups are not written as csv",
                "choose csv64 (the original's), jsonl or export",
            ));
        }
        Ok(BackupSpec {
            table,
            to: self.to()?,
            format,
            segments: self.segments,
            read_budget: self.read_budget,
            gzip: self.gzip,
            eventually_consistent: self.eventually_consistent,
        })
    }
}

/// Starts or resumes a backup.
pub async fn run(args: BackupArgs, session: &Session) -> Result<Exit, Report> {
    if args.detach && session.mode() != Mode::Normal {
        return Err(Report::bad_arguments(
            "a detached backup writes",
            "leave out --detach along with --read-only or --dry-run",
        ));
    }
    if let Some(id) = &args.resume {
        if session.mode() == Mode::DryRun {
            return Err(Report::bad_arguments("a dry run resumes nothing", "leave out --resume"));
        }
        return resume::run(&JobId(id.clone()), Kind::Backup, args.detach, "sluice jobs lists them", session).await;
    }
    let mut spec = args.spec()?;
    let cloud = session.reading().await?;
    let table = session.answered(inventory::table(&cloud, &spec.table)).await?;
    let named = Destination::resolve(&spec.to, &spec.table, spec.format, spec.gzip, &Zoned::now(), "00000000");
    let to = named.map_err(|error| Report::bad_arguments(error.to_string(), ""))?;
    to.must_be_free(Some(&cloud.s3)).await.map_err(|error| Report::failed(error.to_string(), ""))?;
    if to.export.is_none() {
        // The name is settled now, so that the job is found under it.
        spec.to = to.location.to_string();
    }
    if session.mode() == Mode::DryRun {
        return would_send(&spec, &to, &table, &cloud.place());
    }
    if session.mode() == Mode::ReadOnly && matches!(to.location, Location::S3 { .. }) {
        return Err(Report::failed(
            format!("could not write {}: read-only mode", to.location),
            "start without --read-only, or write to a file",
        ));
    }
    let journal = session.journal()?;
    let spec = Spec::Backup(spec);
    if args.detach {
        let id = start_detached(&journal, &spec, &cloud.place(), None)?;
        return resume::started(&id, Kind::Backup, session);
    }
    let id = journal.create_job(&spec, &cloud.place(), None)?;
    drop(journal);
    progress::run(session, &id, Kind::Backup).await.map(|(exit, _)| exit)
}

/// Prints the requests that a backup begins with. It reads none: a scan costs what it costs in a dry run too.
fn would_send(spec: &BackupSpec, to: &Destination, table: &Table, place: &Context) -> Result<Exit, Report> {
    let segments = spec.segments.unwrap_or_else(|| default_segments(table.bytes));
    for segment in 0..segments {
        let request = json!({
            "TableName": spec.table,
            "Segment": segment,
            "TotalSegments": segments,
            "ConsistentRead": !spec.eventually_consistent,
            "ReturnConsumedCapacity": "TOTAL",
        });
        let request = request.to_string();
        let (service, operation) = ("dynamodb".to_owned(), "Scan".to_owned());
        let change = Change { service, operation, target: spec.table.clone(), request, ..Change::default() };
        print::line(&Unsent::of(&change, place))?;
    }
    if let Location::S3 { bucket, key } = &to.location {
        let (operation, target) = match &to.export {
            Some(_) => ("PutObject", format!("{bucket}/{}", key.trim_end_matches('/'))),
            None => ("CreateMultipartUpload", format!("{bucket}/{key}")),
        };
        let change = Change { service: "s3".to_owned(), operation: operation.to_owned(), target, ..Change::default() };
        print::line(&Unsent::of(&change, place))?;
    }
    let budget = read_budget(table, spec.read_budget).map_or("no cap".to_owned(), |rcu| format!("{rcu:.0} RCU/s"));
    eprintln!("dry run: about {} items would go to {} at {budget}", print::grouped(table.items), to.location);
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(to: Option<&str>) -> BackupArgs {
        BackupArgs { table: Some("t".into()), to: to.map(str::to_owned), ..BackupArgs::default() }
    }

    #[test]
    fn a_bucket_is_where_the_original_wrote_to() {
        let original = BackupArgs { bucket: Some("backups".into()), ..args(None) };
        assert_eq!(original.spec().unwrap().to, "s3://backups");
    }

    #[test]
    fn a_path_is_kept_absolute_for_the_worker_and_a_folder_stays_one() {
        let to = |text| args(Some(text)).spec().unwrap().to;
        assert!(to("x.csv").starts_with('/') && to("x.csv").ends_with("/x.csv"));
        assert!(to("x/").starts_with('/') && to("x/").ends_with("/x/"));
        assert_eq!(to("s3://b/x/"), "s3://b/x/");
    }

    #[test]
    fn what_is_missing_or_can_not_be_is_named_with_what_to_pass() {
        for wrong in [
            BackupArgs { table: None, ..args(Some("x")) },
            args(None),
            args(Some("-")),
            BackupArgs { format: Some(Format::Csv), ..args(Some("x")) },
            BackupArgs { bucket: Some("not-of-the-environment".into()), ..args(Some("x")) },
        ] {
            let report = wrong.spec().unwrap_err();
            assert_eq!(report.exit, Exit::BadArguments);
            assert!(!report.hint.is_empty(), "{report}");
        }
    }
}
