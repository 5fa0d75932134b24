//! `sluice demo`: a real restore on an embedded AWS, with nothing to set up and nothing left behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType,
};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::print;
use super::progress;
use super::report::{Exit, Report};
use super::session::Session;
use crate::backup::{Csv64Writer, Location, sample};
use crate::cloud::inventory::{self, Table};
use crate::cloud::{Class, Cloud, CloudError, Context, Guard};
use crate::jobs::{JobId, Kind, RestoreSpec, SourceSpec, Spec, VerifySpec, start_detached};
use crate::local::{Local, Options};

/// The bucket that the sample backup is put into.
const BUCKET: &str = "backups";
/// The table that is restored, with the original's key: `id` S.
const TABLE: &str = "historical";
/// The stream that the restore travels over.
const STREAM: &str = "restore";
/// Read capacity of the table, RCU: so that the verify does not wait for it.
const READ_CAPACITY: i64 = 1_000;
/// The table is made with this part of its capacity and raised then: it has 30 s of burst saved up instead of 300 s, so
/// that its limit soon shows.
const UNSAVED: u64 = 10;
/// The sample is the same each time.
const SEED: u64 = 2016;
/// How often a table or a stream is asked whether it is ready, and how many times.
const ASK: (Duration, u32) = (Duration::from_millis(100), 600);

/// What is restored, and how narrow the table is.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Run restore and verify to the end without a terminal.
    #[arg(long)]
    pub headless: bool,
    /// Items in the sample backup.
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub records: u64,
    /// Write capacity of the table, WCU.
    #[arg(long, default_value_t = 130, value_parser = clap::value_parser!(u64).range(1..=40_000))]
    pub wcu: u64,
    /// Shards of the stream.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub shards: u32,
    /// Keep everything in this folder; a temporary one is used and removed without it.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Where a demo keeps its things. Its state is its own, so that it never mixes with production's.
struct Home {
    folder: PathBuf,
    /// Removes the folder at the end, when nobody asked to keep it.
    _temporary: Option<TempDir>,
}

impl Home {
    fn new(data: Option<&Path>) -> Result<Self, Report> {
        let failed =
            |error: std::io::Error| Report::failed(format!("no folder for the demo: {error}"), "pass --data DIR");
        if let Some(folder) = data {
            let folder = std::path::absolute(folder).map_err(failed)?;
            return Ok(Self { folder, _temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("sluice-demo-").tempdir().map_err(failed)?;
        Ok(Self { folder: temporary.path().to_owned(), _temporary: Some(temporary) })
    }
}

/// Sets everything up, restores, and shows it.
pub async fn run(args: DemoArgs, session: &Session) -> Result<Exit, Report> {
    let home = Home::new(args.data.as_deref())?;
    let local =
        Local::start(Options { data: args.data.is_some().then(|| home.folder.clone()), ..Options::default() }).await?;
    let session = Session {
        context: Context {
            profile: None,
            region: Some("us-east-1".to_owned()),
            endpoint_url: Some(local.endpoint().to_owned()),
        },
        state: home.folder.join("state"),
        ..session.clone()
    };
    if !session.global.json {
        eprintln!(
            "the embedded AWS is at {}; {} items go into table {TABLE} ({} WCU) through stream {STREAM} ({} shards)",
            local.endpoint(),
            print::grouped(args.records),
            print::grouped(args.wcu),
            args.shards
        );
    }
    let outcome = match prepare(&args, &session).await {
        Ok(source) if args.headless => headless(source, &session).await,
        Ok(source) => on_screen(source, &session).await,
        Err(report) => Err(report),
    };
    local.stop().await?;
    outcome
}

/// Makes bucket, backup, table and stream; returns where the backup is. What a kept folder holds already is used.
async fn prepare(args: &DemoArgs, session: &Session) -> Result<String, Report> {
    // This AWS is the demo's own: read-only mode and dry run are for what is done on the screen.
    let cloud = Cloud::connect(&session.context, Guard::open()).await?;
    there(cloud.s3.create_bucket().bucket(BUCKET).send().await.map_err(|e| CloudError::of("make the bucket", &e)))?;

    let made_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00");
    let source = format!("s3://{BUCKET}/{TABLE}/{TABLE}_{made_at}.csv");
    let mut backup = Csv64Writer::create(&source.parse::<Location>()?, Some(&cloud.s3), false).await?;
    for item in sample::historical(args.records, SEED) {
        backup.write(&item).await?;
    }
    backup.finish().await?;

    there(create_table(&cloud, args.wcu.div_ceil(UNSAVED)).await)?;
    there(
        cloud
            .kinesis
            .create_stream()
            .stream_name(STREAM)
            .shard_count(i32::try_from(args.shards).expect("the arguments hold it at 500 at most"))
            .send()
            .await
            .map_err(|e| CloudError::of("make the stream", &e)),
    )?;
    let table = ready(&cloud).await?;
    if table.provisioned.is_some_and(|p| p.write != args.wcu) {
        inventory::set_capacity(&cloud, &table, None, READ_CAPACITY as u64, args.wcu).await?;
        ready(&cloud).await?;
    }
    Ok(source)
}

/// The table, once it and the stream are ready.
async fn ready(cloud: &Cloud) -> Result<Table, Report> {
    let (pause, times) = ASK;
    for _ in 0..times {
        let table = inventory::table(cloud, TABLE).await?;
        let stream = inventory::stream(cloud, STREAM).await?;
        if table.status == "ACTIVE" && stream.status == "ACTIVE" {
            return Ok(table);
        }
        tokio::time::sleep(pause).await;
    }
    Err(Report::failed("the demo's table or stream did not become ready", ""))
}

/// What exists already is as good as made.
fn there<T>(made: Result<T, CloudError>) -> Result<(), Report> {
    match made {
        Err(error) if error.class != Class::InUse => Err(error.into()),
        _ => Ok(()),
    }
}

async fn create_table(cloud: &Cloud, wcu: u64) -> Result<(), CloudError> {
    let whole = "every required field is set";
    cloud
        .dynamodb
        .create_table()
        .table_name(TABLE)
        .key_schema(KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().expect(whole))
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name("id")
                .attribute_type(ScalarAttributeType::S)
                .build()
                .expect(whole),
        )
        .provisioned_throughput(
            ProvisionedThroughput::builder()
                .read_capacity_units(READ_CAPACITY)
                .write_capacity_units(wcu as i64)
                .build()
                .expect(whole),
        )
        .send()
        .await
        .map(drop)
        .map_err(|e| CloudError::of("make the table", &e))
}

fn restore_spec(source: &str) -> Spec {
    Spec::Restore(RestoreSpec {
        source: SourceSpec { sources: vec![source.to_owned()], ..SourceSpec::default() },
        table: TABLE.to_owned(),
        stream: Some(STREAM.to_owned()),
        ..RestoreSpec::default()
    })
}

/// Restore and verify in the foreground. A verify that finds differences matters more than a dead letter.
async fn headless(source: String, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal()?;
    let restore = journal.create_job(&restore_spec(&source), &session.context, None)?;
    let (restored, _) = progress::run(session, &restore, Kind::Restore).await?;
    if restored == Exit::Interrupted {
        return Ok(restored);
    }
    let source = SourceSpec { sources: vec![source], ..SourceSpec::default() };
    let spec = VerifySpec { source, table: TABLE.to_owned(), ..VerifySpec::default() };
    let verify = journal.create_job(&Spec::Verify(spec), &session.context, Some(&restore))?;
    let (verified, _) = progress::run(session, &verify, Kind::Verify).await?;
    Ok(if verified == Exit::Done { restored } else { verified })
}

/// The restore as a process of its own, and the console on it.
async fn on_screen(source: String, session: &Session) -> Result<Exit, Report> {
    let id = start_detached(&session.journal()?, &restore_spec(&source), &session.context, None)?;
    let shown = session.console(Some(id)).await;
    stop_workers(session).await?;
    shown
}

/// Ends the workers, which have no AWS left to work on, and says how far they had come.
async fn stop_workers(session: &Session) -> Result<(), Report> {
    let journal = session.journal()?;
    let (pause, times) = ASK;
    for job in journal.jobs()?.into_iter().filter(|job| job.state.is_live()) {
        if let Some(pid) =
            job.pid.and_then(|pid| Pid::from_raw(pid.cast_signed())).filter(|_| journal.is_alive(&job.id))
        {
            // It may have ended between the two lines: then there is nobody to signal.
            let _ = kill_process(pid, Signal::TERM);
        }
        for _ in 0..times {
            if !journal.is_alive(&job.id) {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        eprintln!("{}", farewell(&journal.job(&job.id)?.counters, job.total, job.kind(), &job.id));
    }
    Ok(())
}

fn farewell(counters: &crate::flow::Counters, total: Option<u64>, kind: Kind, id: &JobId) -> String {
    let of = total.map_or_else(String::new, |total| format!(" of {}", print::grouped(total)));
    format!(
        "the demo's AWS ends with it: {kind} {id} was stopped at {}{of}. On a real table it would have gone on without the console.",
        print::grouped(counters.written)
    )
}
