//! `sluice track`: events that come over HTTP onto a stream.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::print;
use super::report::{Exit, Report};
use super::session::Session;
use super::signal::Stop;
use crate::cloud::{Mode, inventory};
use crate::jobs::onto::Onto;
use crate::jobs::track::{TrackOptions, Tracked, serve};

/// Where to listen, and where events go.
#[derive(Clone, Debug, Args)]
pub struct TrackArgs {
    /// Where it listens; another address than loopback lets other machines in, and nothing asks who they are.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The stream.
    #[arg(add = super::complete::streams(), short, long, value_name = "STREAM", env = "KINESIS_STREAM")]
    pub kinesis_stream: String,
    /// How long an event waits for others to go with it.
    #[arg(long, value_name = "TIME", default_value = "4ms", value_parser = humantime::parse_duration)]
    pub linger: Duration,
    /// Events that wait for the stream at most; more are answered 503.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub queue: usize,
    /// Connections at a time; more are answered 503.
    #[arg(long, value_name = "N", default_value_t = 2_048)]
    pub connections: usize,
    /// How long a client may take to send a request's head, and how long its body.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub client_timeout: Duration,
    /// How long the stream is tried before a client is answered 503.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub stream_timeout: Duration,
}

/// How often a tracker speaks when it speaks to people.
const UNWATCHED: Duration = Duration::from_secs(10);

/// Runs it.
pub async fn run(args: TrackArgs, session: &Session) -> Result<Exit, Report> {
    if session.mode() != Mode::Normal {
        return Err(Report::failed(
            "a tracker writes: read-only mode and a dry run have nothing to answer its clients",
            "start without --read-only and --dry-run",
        ));
    }
    if args.queue == 0 || args.connections == 0 {
        return Err(Report::bad_arguments("--queue and --connections are above zero", "leave them out"));
    }
    let cloud = session.cloud().await?;
    session.answered(async { inventory::stream(&cloud, &args.kinesis_stream).await }).await?;
    let mut stop = Stop::listen()?;
    let in_use = |error| {
        Report::failed(format!("can't listen on {}: {error}", args.listen), "choose another address with --listen")
    };
    let listener = TcpListener::bind(args.listen).await.map_err(in_use)?;
    let address = listener.local_addr().map_err(in_use)?;
    if session.global.json {
        print::json(&json!({ "listening": format!("http://{address}"), "stream": args.kinesis_stream }))?;
    } else {
        eprintln!("tracking on http://{address} onto {}; Ctrl-C ends it", args.kinesis_stream);
    }
    if !address.ip().is_loopback() {
        eprintln!("warning: other machines reach {address}, and nothing asks who they are");
    }
    let options = TrackOptions {
        linger: args.linger,
        queue: args.queue,
        connections: args.connections,
        client: args.client_timeout,
        stream: args.stream_timeout,
        ..TrackOptions::default()
    };
    let onto = Onto::new(cloud.bulk.kinesis.clone(), &args.kinesis_stream);
    let (ask_to_stop, stopping) = watch::channel(false);
    let (told, mut heard) = watch::channel(Tracked::default());
    let serving = tokio::spawn(serve(listener, onto, options, stopping, told));
    let began = Instant::now();
    let every = if session.global.json { Duration::from_secs(1) } else { UNWATCHED };
    let mut speak = tokio::time::interval_at(began + every, every);
    let mut before = Tracked::default();
    tokio::pin!(serving);
    let last = loop {
        tokio::select! {
            () = stop.wait() => {
                if ask_to_stop.send_replace(true) {
                    // The second time it is meant: leave now.
                    return Ok(Exit::Interrupted);
                }
                eprintln!("no more connections; what is in hand is answered");
            }
            _ = speak.tick() => {
                let now = *heard.borrow_and_update();
                say(session, "running", &now, &before, every, began)?;
                before = now;
            }
            ended = &mut serving => {
                break ended.map_err(|error| Report::failed(format!("the tracker broke off: {error}"), ""))?;
            }
        }
    };
    say(session, "done", &last, &Tracked::default(), began.elapsed(), began)?;
    Ok(Exit::Done)
}

fn say(
    session: &Session,
    state: &str,
    now: &Tracked,
    before: &Tracked,
    over: Duration,
    began: Instant,
) -> Result<(), Report> {
    let per_second = now.stored.saturating_sub(before.stored) as f64 / over.as_secs_f64().max(1e-3);
    if session.global.json {
        let mut line = serde_json::to_value(now).unwrap_or_default();
        line["kind"] = "track".into();
        line["state"] = state.into();
        line["per_second"] = per_second.into();
        line["seconds"] = began.elapsed().as_secs_f64().into();
        return print::json(&line);
    }
    eprintln!(
        "{} events on the stream  {}/s  p50 {:.1} ms  p99 {:.1} ms  {} waiting  {} connections  {} refused  {} answered 503",
        print::grouped(now.stored),
        print::grouped(per_second.round() as u64),
        now.p50_ms,
        now.p99_ms,
        print::grouped(now.waiting),
        print::grouped(now.connections),
        print::grouped(now.refused),
        print::grouped(now.unavailable)
    );
    Ok(())
}
