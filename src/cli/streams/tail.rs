//! `sluice streams NAME --tail`: records as they arrive, one a line.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::cli::print;
use crate::cli::report::{Exit, Report};
use crate::cli::session::Session;
use crate::cli::signal::Stop;
use crate::cloud::streams::short;
use crate::flow::StartAt;
use crate::flow::tail::{EVERY, MOST_SHARDS, Seen, Tail};

/// Where and how long a tail looks.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// Only this shard.
    #[arg(long, value_name = "ID", requires = "tail")]
    pub shard: Option<String>,
    /// Where it begins: latest, trim-horizon, a time such as 2026-11-21T14:00:00Z, or so long ago such as 15m.
    #[arg(long, value_name = "WHERE", default_value = "latest", requires = "tail", value_parser = crate::cli::work::from)]
    pub from: StartAt,
    /// It stops after so long.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", requires = "tail", value_parser = humantime::parse_duration)]
    pub long: Duration,
    /// It stops after so many records.
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "tail", value_parser = clap::value_parser!(u64).range(1..))]
    pub max: u64,
}

/// Prints records until its time, its count or a person ends it.
pub async fn run(stream: &str, args: &TailArgs, session: &Session) -> Result<Exit, Report> {
    let mut stop = Stop::listen()?;
    let cloud = session.reading().await?;
    let opened = Tail::open(&cloud, stream, args.shard.as_deref(), &args.from);
    let mut tail = session.answered(opened).await?;
    let shards = tail.shards();
    eprintln!(
        "tail of {}: {}, at most one read a second of each; a shard gives 5 reads/s to all its consumers together",
        print::shown(stream),
        if shards == 1 { "1 shard".to_owned() } else { format!("{} shards", print::grouped(shards as u64)) },
    );
    if tail.unfollowed > 0 {
        eprintln!("{} shards beyond the first {MOST_SHARDS} are not followed: --shard picks one", tail.unfollowed);
    }
    let end = Instant::now() + args.long;
    let mut left = args.max;
    let ended = loop {
        let records = tokio::select! {
            () = stop.wait() => break "stopped".to_owned(),
            () = tokio::time::sleep_until(end) => break format!("ended after {}", humantime::format_duration(args.long)),
            records = tail.next() => records?,
        };
        let Some(records) = records else { break "the shard is closed: that was its last record".to_owned() };
        for seen in records.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            show(seen, session)?;
        }
        left = left.saturating_sub(records.len() as u64);
        if left == 0 {
            break format!("ended after {} records", print::grouped(args.max));
        }
    };
    let printed = args.max - left;
    eprintln!(
        "{ended}: {} records, {} reads{}; --for and --max let it go on",
        print::grouped(printed),
        print::grouped(tail.reads),
        tail.behind_ms().filter(|ms| *ms >= EVERY.as_millis() as u64).map_or(String::new(), |ms| {
            format!(", up to {} behind the newest", print::duration(ms as f64 / 1000.0))
        }),
    );
    Ok(Exit::Done)
}

fn show(seen: &Seen, session: &Session) -> Result<(), Report> {
    if session.global.json {
        return print::json(&seen.to_json());
    }
    let time = jiff::Timestamp::from_microsecond(seen.arrived_us).map(|time| format!("{time:.3}")).unwrap_or_default();
    print::line(&format!(
        "{time}  {}  {}  {}  {} B  {}  {}",
        short(&seen.shard),
        seen.sequence,
        print::shown(&seen.partition_key),
        seen.data.len(),
        seen.what.kind(),
        print::shown(&seen.what.line(400)),
    ))
}
