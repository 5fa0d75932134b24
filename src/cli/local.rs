//! `sluice local`: serves the embedded AWS to anyone until it is told to stop.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::print;
use super::report::{Exit, Report};
use super::signal::Stop;
use crate::local::{Denied, Faults, Local, LocalError, Options, Roll, TableStreams};

/// How to serve it.
#[derive(Debug, Args)]
pub struct LocalArgs {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4566")]
    pub listen: SocketAddr,
    /// Keep DynamoDB and S3 in this folder across restarts.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Whether throughput, partition and shard limits are enforced.
    #[arg(long, default_value = "on")]
    pub limits: Switch,
    /// What goes wrong and how often: throttle=30%, error=5%, partial=10%, reset=2%, latency=20ms,
    /// expire-iterators=1%, lose-reply=2%, separated by commas.
    #[arg(long, value_name = "SPEC", default_value = "", hide_default_value = true)]
    pub faults: Faults,
    /// Makes the faults of a run repeatable.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Deny these IAM actions, such as kinesis:PutRecords or s3:*, separated by commas.
    #[arg(long, value_name = "ACTION", default_value = "", hide_default_value = true)]
    pub deny: Denied,
    /// Open shards of each table's stream; without it one for each partition of the table.
    #[arg(long, value_name = "N")]
    pub table_stream_shards: Option<NonZeroUsize>,
    /// How long the records of a table's stream are kept.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    pub table_stream_retention: Duration,
    /// When a shard of a table's stream closes and goes on in a child: after a time, or a number of records.
    #[arg(long, value_name = "TIME|N", default_value = "4h")]
    pub table_stream_roll: Roll,
    /// Serve a small BigQuery too, with rows in memory, for `sluice replicate --to-bigquery`.
    #[cfg(feature = "bigquery")]
    #[arg(long)]
    pub bigquery: bool,
    /// Where its REST API listens [else on a free port]
    #[cfg(feature = "bigquery")]
    #[arg(long, value_name = "ADDRESS", requires = "bigquery")]
    pub bigquery_listen: Option<SocketAddr>,
    /// Where its gRPC API listens [else on a free port]
    #[cfg(feature = "bigquery")]
    #[arg(long, value_name = "ADDRESS", requires = "bigquery")]
    pub bigquery_grpc_listen: Option<SocketAddr>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Enforced.
    On,
    /// Not enforced.
    Off,
}

impl From<LocalError> for Report {
    fn from(error: LocalError) -> Self {
        Self::failed(error.to_string(), "")
    }
}

/// Serves until Ctrl-C, SIGTERM or SIGHUP.
pub async fn run(args: LocalArgs) -> Result<Exit, Report> {
    // Listening for signals comes first: whoever reads the endpoint may stop us at once.
    let mut stop = Stop::listen()?;
    let local = Local::start(Options {
        listen: args.listen,
        data: args.data,
        limits: args.limits == Switch::On,
        faults: args.faults.seeded(args.seed),
        seed: args.seed,
        deny: args.deny,
        table_streams: TableStreams {
            shards: args.table_stream_shards,
            retention: args.table_stream_retention,
            roll: args.table_stream_roll,
        },
    })
    .await?;
    #[cfg_attr(not(feature = "bigquery"), allow(unused_mut))]
    let mut ready = json!({ "endpoint": local.endpoint() });
    #[cfg(feature = "bigquery")]
    let bigquery =
        if args.bigquery { Some(bigquery(args.bigquery_listen, args.bigquery_grpc_listen).await?) } else { None };
    #[cfg(feature = "bigquery")]
    if let Some(bigquery) = &bigquery {
        ready["bigquery_endpoint"] = bigquery.rest_endpoint().into();
        ready["bigquery_grpc_endpoint"] = bigquery.grpc_endpoint().into();
    }
    print::json(&ready)?;
    eprintln!(
        "any AWS tool works against it, for example:\n  AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local \
         AWS_REGION=us-east-1 aws --endpoint-url {endpoint} dynamodb list-tables\n  sluice --endpoint-url {endpoint} tables",
        endpoint = local.endpoint()
    );
    stop.wait().await;
    local.stop().await?;
    Ok(Exit::Done)
}

/// Starts the BigQuery double.
#[cfg(feature = "bigquery")]
async fn bigquery(
    rest: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
) -> Result<crate::bigquery::double::Double, Report> {
    use crate::bigquery::double::{Double, Faults};
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (rest, grpc) = (rest.unwrap_or(any), grpc.unwrap_or(any));
    Double::start_on(rest, grpc, Faults::default()).await.map_err(|error| {
        Report::failed(format!("could not serve BigQuery on {rest} and {grpc}: {error}"), "choose other ports")
    })
}
