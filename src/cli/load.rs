//! `sluice load`: made-up events onto a stream, at a rate.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::control::per_second;
use super::progress;
use super::report::{Exit, Report};
use super::resume;
use super::session::Session;
use crate::cloud::{Mode, inventory};
use crate::event::track::LARGEST;
use crate::jobs::{Kind, LoadSpec, Spec, start_detached};

/// How much, how fast, for how long.
#[derive(Clone, Debug, Default, Args)]
pub struct LoadArgs {
    /// The stream.
    #[arg(add = super::complete::streams(), short, long, value_name = "STREAM", env = "KINESIS_STREAM")]
    pub kinesis_stream: Option<String>,
    /// Events a second.
    #[arg(long, value_name = "N", default_value = "100", value_parser = per_second)]
    pub rate: Option<f64>,
    /// End after so many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after so long [without --count and --for: with Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub how_long: Option<Duration>,
    /// The body of each event [else the original's made-up claps]
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// Start it and come back at once; `sluice jobs` shows how it goes.
    #[arg(long)]
    pub detach: bool,
}

impl LoadArgs {
    fn spec(&self) -> Result<LoadSpec, Report> {
        let Some(stream) = self.kinesis_stream.clone() else {
            return Err(Report::bad_arguments("no stream is named", "sluice load -k STREAM"));
        };
        let body = match &self.body {
            None => None,
            Some(file) => {
                let wrong = |why: String| {
                    Report::bad_arguments(format!("the body {} {why}", file.display()), "pass a file of text")
                };
                let body = std::fs::read(file).map_err(|error| wrong(format!("can't be read: {error}")))?;
                if body.is_empty() || body.len() > LARGEST - 256 {
                    return Err(wrong(format!("has {} bytes: 1 to {} are taken", body.len(), LARGEST - 256)));
                }
                Some(String::from_utf8(body).map_err(|_| wrong("is no UTF-8".to_owned()))?)
            }
        };
        let seconds = self.how_long.map(|long| long.as_secs_f64());
        Ok(LoadSpec { stream, rate: self.rate.unwrap_or(100.0), count: self.count, seconds, body })
    }
}

/// Runs it.
pub async fn run(args: LoadArgs, session: &Session) -> Result<Exit, Report> {
    let spec = args.spec()?;
    if args.detach && session.mode() != Mode::Normal {
        return Err(Report::bad_arguments(
            "a detached load writes",
            "leave out --detach along with --read-only or --dry-run",
        ));
    }
    if session.mode() == Mode::DryRun && spec.count.is_none() && spec.seconds.is_none() {
        return Err(Report::bad_arguments("a dry run of a load without end prints for ever", "pass --count or --for"));
    }
    let cloud = session.reading().await?;
    session.answered(async { inventory::stream(&cloud, &spec.stream).await }).await?;
    let (session, _scratch) = session.for_a_job(cloud.place())?;
    let journal = session.journal()?;
    let spec = Spec::Load(spec);
    if args.detach {
        let id = start_detached(&journal, &spec, &session.context, None)?;
        return resume::started(&id, Kind::Load, &session);
    }
    let id = journal.create_job(&spec, &session.context, None)?;
    drop(journal);
    progress::run(&session, &id, Kind::Load).await.map(|(exit, _)| exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_no_record_can_hold_is_refused_before_anything_is_sent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let args =
            LoadArgs { kinesis_stream: Some("s".into()), body: Some(file.path().to_owned()), ..LoadArgs::default() };
        assert!(args.spec().unwrap_err().sentence.contains("has 0 bytes"));
        std::fs::write(file.path(), [0xff]).unwrap();
        assert!(args.spec().unwrap_err().sentence.contains("no UTF-8"));
        std::fs::write(file.path(), "{}").unwrap();
        assert_eq!(args.spec().unwrap().body.as_deref(), Some("{}"));
        assert_eq!(LoadArgs::default().spec().unwrap_err().exit, Exit::BadArguments);
    }
}
