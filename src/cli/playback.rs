//! `sluice playback`: events of the event table in order, or counts of them.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::print::{self, Columns, Side};
use super::progress;
use super::report::{Exit, Report};
use super::resume;
use super::session::Session;
use super::watch::WatchArgs;
use crate::cloud::{Cloud, Mode, inventory};
use crate::event::{Range, SlotLength, histogram, moment};
use crate::jobs::journal::State;
use crate::jobs::playback::{SinkSpec, must_be_counted, open};
use crate::jobs::{JobId, Kind, PlaybackSpec, Spec, start_detached};

/// Which events, how fast, and where to.
#[derive(Clone, Debug, Default, Args)]
pub struct PlaybackArgs {
    /// The event table.
    #[arg(add = super::complete::tables(), long, value_name = "TABLE")]
    pub events: Option<String>,
    /// Events from this time on: RFC 3339, a date, now, or how long ago (15m, 2h 30m); UTC
    #[arg(long, value_name = "T")]
    pub from: Option<String>,
    /// Events before this time [else all that is complete]
    #[arg(long, value_name = "T")]
    pub to: Option<String>,
    /// Times as fast as they happened, 0.1 to 1000, or max
    #[arg(long, value_name = "N", default_value = "max", value_parser = speed)]
    pub speed: Speed,
    /// Put the events onto this stream, as they were
    #[arg(add = super::complete::streams(), long, value_name = "STREAM", group = "sink")]
    pub to_stream: Option<String>,
    /// Put the events onto this stream as put requests for --table
    #[arg(add = super::complete::streams(), long, value_name = "STREAM", group = "sink", requires = "table")]
    pub to_puts: Option<String>,
    /// The table of --to-puts
    #[arg(add = super::complete::tables(), short, long, value_name = "TABLE", requires = "to_puts")]
    pub table: Option<String>,
    /// With --to-puts: one put request a record, for readers that can't take aggregated ones apart
    #[arg(long, requires = "to_puts")]
    pub no_aggregate: bool,
    /// Write the events as JSON lines into this file, or - for standard output
    #[arg(long, value_name = "FILE", group = "sink")]
    pub out: Option<String>,
    /// Print how many events there are, bucket by bucket, instead of playing them
    #[arg(long, group = "sink")]
    pub histogram: bool,
    /// Into so many buckets
    #[arg(long, value_name = "N", default_value_t = 60, requires = "histogram", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub buckets: u32,
    /// Count again and again.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Go on with what comes, behind the time up to which the table is complete
    #[arg(long, conflicts_with = "histogram")]
    pub follow: bool,
    /// Only events whose partition key or payload contains this text
    #[arg(long, value_name = "TEXT", conflicts_with = "histogram")]
    pub filter: Option<String>,
    /// Read every slot, of this length, of a table that has no directory: one read each
    #[arg(long, value_name = "LENGTH")]
    pub every_slot: Option<SlotLength>,
    /// Start it and come back at once; `sluice jobs` shows how it goes
    #[arg(long, conflicts_with = "histogram")]
    pub detach: bool,
    /// Go on with a playback that was interrupted or failed, as it was told to
    #[arg(add = super::complete::resumable_jobs(), long, value_name = "ID", conflicts_with_all = ["events", "from", "to", "sink", "follow", "filter", "every_slot", "detach"])]
    pub resume: Option<String>,
}

/// How fast.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed(pub Option<f64>);

/// `0.1` to `1000`, or `max`; `×10` and `10x` are understood.
fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed(None));
    }
    let number = text.trim_start_matches(['×', 'x']).trim_end_matches('x');
    match number.parse::<f64>() {
        Ok(speed) if (0.1..=1000.0).contains(&speed) => Ok(Speed(Some(speed))),
        _ => Err("a number from 0.1 to 1000, or max".to_owned()),
    }
}

impl PlaybackArgs {
    fn events(&self) -> Result<&str, Report> {
        self.events.as_deref().ok_or_else(|| {
            Report::bad_arguments("no event table is named", "pass --events TABLE; sluice tables lists tables")
        })
    }

    fn ends(&self, now: Timestamp) -> Result<(Timestamp, Option<Timestamp>), Report> {
        let parse = |option: &str, text: &str| {
            moment(text, now).map_err(|error| Report::bad_arguments(format!("{option}: {error}"), ""))
        };
        let Some(from) = &self.from else {
            return Err(Report::bad_arguments(
                "it is not said from when",
                "pass --from T, such as 2018-03-04T14:03:00Z, 2018-03-04, or 15m for fifteen minutes ago",
            ));
        };
        let from = parse("--from", from)?;
        let to = self.to.as_deref().map(|to| parse("--to", to)).transpose()?;
        if let Some(to) = to {
            Range::new(from, to)
                .map_err(|error| Report::bad_arguments(error, "swap --from and --to, or leave out --to"))?;
        } else if from > now && !self.follow {
            return Err(Report::bad_arguments(
                format!("--from {from} is in the future, where there are no events"),
                "pass --follow to wait for them",
            ));
        }
        Ok((from, to))
    }

    fn sink(&self) -> Result<SinkSpec, Report> {
        let sink = match (&self.to_stream, &self.to_puts, &self.table, &self.out) {
            (Some(stream), ..) => SinkSpec::Stream(stream.clone()),
            (_, Some(stream), Some(table), _) => SinkSpec::Puts { stream: stream.clone(), table: table.clone() },
            (.., Some(out)) if out == "-" => SinkSpec::Stdout,
            (.., Some(out)) => {
                let path = std::path::absolute(out)
                    .map_err(|error| Report::bad_arguments(format!("{out:?} is no path: {error}"), ""))?;
                SinkSpec::File(path)
            }
            _ => {
                return Err(Report::bad_arguments(
                    "it is not said where to",
                    "pass --out FILE (- is standard output), --to-stream STREAM, --to-puts STREAM --table TABLE, or --histogram",
                ));
            }
        };
        // Names are what AWS takes; a path that looks like a stream's spelling would be read as one.
        match sink.to_string().parse::<SinkSpec>() {
            Ok(again) if again == sink => Ok(sink),
            _ => Err(Report::bad_arguments(format!("{sink} is nowhere to play to"), "name a file or a stream")),
        }
    }
}

/// Starts or resumes a playback, or prints a histogram.
pub async fn run(args: PlaybackArgs, session: &Session) -> Result<Exit, Report> {
    if let Some(id) = &args.resume {
        if session.mode() == Mode::DryRun {
            return Err(Report::bad_arguments("a dry run resumes nothing", "leave out --resume"));
        }
        return resume::run(&JobId(id.clone()), Kind::Playback, false, "sluice jobs lists them", session).await;
    }
    let (from, to) = args.ends(Timestamp::now())?;
    let events = args.events()?.to_owned();
    let cloud = session.reading().await?;
    if args.histogram {
        // A range that ends now moves on with each round.
        let round = || async {
            let (from, to) = args.ends(Timestamp::now())?;
            counts(&args, &events, from, to, &cloud, session).await.map(drop)
        };
        return args.watch.repeat(session.global.json, round).await;
    }
    if args.watch.watch.is_some() {
        return Err(Report::bad_arguments(
            "--watch repeats a count",
            "pass --histogram --watch, or --follow to go on playing",
        ));
    }
    let sink = args.sink()?;
    if args.detach && (session.mode() != Mode::Normal || sink == SinkSpec::Stdout) {
        return Err(Report::bad_arguments(
            "a detached playback writes, and has no standard output",
            "leave out --detach, or name a file or a stream without --read-only and --dry-run",
        ));
    }
    // What is wrong shows before there is a job.
    let read = session.answered(open(&cloud, &events, args.every_slot)).await?;
    match &sink {
        SinkSpec::Stream(stream) | SinkSpec::Puts { stream, .. } => {
            session.answered(inventory::stream(&cloud, stream)).await?;
            if session.mode() == Mode::ReadOnly {
                return Err(Report::failed(
                    format!("could not put events onto stream {stream}: read-only mode"),
                    "start without --read-only, or write to a file",
                ));
            }
        }
        SinkSpec::File(path) if path.exists() => {
            return Err(Report::failed(
                format!("{} exists already", path.display()),
                "name another file, or remove it; a playback that was interrupted goes on with --resume ID",
            ));
        }
        SinkSpec::File(_) | SinkSpec::Stdout => {}
    }
    if let SinkSpec::Puts { table, .. } = &sink {
        session.answered(inventory::table(&cloud, table)).await?;
    }
    let watermark = read.watermark().await?;
    if let Some(time) = watermark.filter(|time| *time <= from && to.is_none() && !args.follow) {
        return Err(Report::failed(
            format!("{events} is complete up to {time}, so nothing from {from} on is"),
            "pass --follow to wait for it, or --to to play what is there already",
        ));
    }
    match watermark {
        Some(time) if !args.follow && to.is_some_and(|to| to > time) => eprintln!(
            "{events} is complete up to {time}: what is stored later for the rest of the range is not in this playback; \
             --follow waits for it"
        ),
        Some(time) => eprintln!("{events} is complete up to {time}"),
        None => eprintln!("no pump said up to when {events} is complete"),
    }
    let spec = Spec::Playback(PlaybackSpec {
        events,
        from,
        to,
        speed: args.speed.0,
        sink: sink.to_string(),
        follow: args.follow,
        filter: args.filter.clone().filter(|text| !text.is_empty()),
        no_aggregate: args.no_aggregate,
        every_slot: args.every_slot,
    });
    let (session, _folder) = &session.for_a_job(cloud.place())?;
    let journal = session.journal()?;
    if args.detach {
        let id = start_detached(&journal, &spec, &session.context, None)?;
        return resume::started(&id, Kind::Playback, session);
    }
    let id = journal.create_job(&spec, &session.context, None)?;
    drop(journal);
    if sink == SinkSpec::Stdout {
        return to_stdout(session, &id).await;
    }
    progress::run(session, &id, Kind::Playback).await.map(|(exit, _)| exit)
}

/// Events have standard output for themselves: everything else goes to stderr.
async fn to_stdout(session: &Session, id: &JobId) -> Result<Exit, Report> {
    let mut quiet = session.clone();
    quiet.global.json = false;
    let shown = !(std::io::stdout().is_terminal() && std::io::stderr().is_terminal());
    let ended = progress::to_its_end_shown(&quiet, id, shown).await?;
    let report: serde_json::Value = serde_json::from_str(&ended.report).unwrap_or_default();
    let played = print::grouped(report["written"].as_u64().unwrap_or_default());
    let words = if ended.message.is_empty() { String::new() } else { format!("; {}", ended.message) };
    let words = format!(": {played} events played{words}");
    match ended.state {
        State::Failed | State::Cancelled => Err(Report::failed(
            format!("playback {id} {}{words}", ended.state.as_str()),
            "standard output can't be resumed: start it anew, from the time of the last line",
        )),
        state => {
            // Whoever closed stderr too needs no words.
            let _ = writeln!(std::io::stderr(), "playback {id} {}{words}", state.as_str());
            Ok(Exit::from_code(ended.exit_code()))
        }
    }
}

/// Prints how many events there are in each bucket.
async fn counts(
    args: &PlaybackArgs,
    events: &str,
    from: Timestamp,
    to: Option<Timestamp>,
    cloud: &Cloud,
    session: &Session,
) -> Result<Exit, Report> {
    let read = session.answered(open(cloud, events, args.every_slot)).await?;
    let watermark = read.watermark().await?;
    let to = to.or(watermark).unwrap_or_else(Timestamp::now).max(from);
    let range = Range::new(from, to).map_err(|error| Report::bad_arguments(error, ""))?;
    if range.micros() == 0 {
        return Err(Report::bad_arguments(
            format!("the range from {from} is empty"),
            watermark
                .map_or(String::new(), |time| format!("{events} is complete up to {time}; pass --to to look beyond")),
        ));
    }
    if args.every_slot.is_none() {
        must_be_counted(&read, events, range, watermark).await?;
    }
    // A bucket is a microsecond at least.
    let buckets = (args.buckets as usize).min(usize::try_from(range.micros()).unwrap_or(usize::MAX));
    let counted = histogram(Arc::clone(&read), range, buckets).await?;
    let all = counted.counts();
    let total: u64 = all.iter().sum();
    if session.global.json {
        for (number, count) in all.iter().enumerate() {
            let bucket = counted.bucket(number);
            let complete = watermark.is_some_and(|time| bucket.to() <= time);
            print::json(&json!({
                "from": format!("{:.6}", bucket.from()), "to": format!("{:.6}", bucket.to()), "events": count, "complete": complete,
            }))?;
        }
        let cost = read.cost();
        return print::json(&json!({
            "events": total, "from": format!("{from:.6}"), "to": format!("{to:.6}"),
            "watermark": watermark.map(|time| format!("{time:.6}")), "requests": cost.requests, "rcu": cost.rcu,
        }))
        .map(|()| Exit::Done);
    }
    let most = all.iter().copied().max().unwrap_or(0).max(1);
    let mut columns = Columns::new(&[("FROM", Side::Left), ("EVENTS", Side::Right), ("", Side::Left)]);
    for (number, count) in all.iter().enumerate() {
        let bucket = counted.bucket(number);
        let eighths = (count * 320).div_ceil(most) as usize;
        let mut bar = "█".repeat(eighths / 8);
        bar.push_str(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]);
        if watermark.is_none_or(|time| bucket.to() > time) {
            bar.push('░');
        }
        columns.row(&[format!("{:.3}", bucket.from()), print::grouped(*count), bar]);
    }
    print::columns(&columns)?;
    eprintln!(
        "{} events from {from} to {to}; {}",
        print::grouped(total),
        watermark.map_or_else(
            || "no pump said up to when the table is complete (░)".to_owned(),
            |time| format!("complete up to {time}, ░ is not")
        )
    );
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> PlaybackArgs {
        PlaybackArgs { events: Some("e".into()), from: Some("2018-03-04".into()), ..PlaybackArgs::default() }
    }

    #[test]
    fn a_speed_is_a_number_or_max() {
        assert_eq!(speed("max"), Ok(Speed(None)));
        for (text, number) in [("0.1", 0.1), ("1000", 1000.0), ("×10", 10.0), ("2x", 2.0)] {
            assert_eq!(speed(text), Ok(Speed(Some(number))), "{text}");
        }
        for wrong in ["0", "0.05", "1001", "-1", "fast", "NaN", "inf"] {
            assert!(speed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_range_that_ends_before_it_starts_and_a_time_that_is_none_say_what_to_write() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        for wrong in [
            PlaybackArgs { to: Some("2018-03-03".into()), ..args() },
            PlaybackArgs { from: Some("tuesday".into()), ..args() },
            PlaybackArgs { to: Some("14:07".into()), ..args() },
            PlaybackArgs { from: None, ..args() },
            PlaybackArgs { from: Some("2027-01-01".into()), ..args() },
        ] {
            let report = wrong.ends(now).unwrap_err();
            assert_eq!(report.exit, Exit::BadArguments);
            assert!(report.to_string().len() > 60, "{report}");
        }
        assert!(PlaybackArgs { from: Some("2027-01-01".into()), follow: true, ..args() }.ends(now).is_ok());
    }

    #[test]
    fn where_to_is_a_file_a_stream_or_put_requests() {
        let to = |args: PlaybackArgs| args.sink().map(|sink| sink.to_string());
        assert_eq!(to(PlaybackArgs { out: Some("-".into()), ..args() }).unwrap(), "-");
        assert!(to(PlaybackArgs { out: Some("x".into()), ..args() }).unwrap().ends_with("/x"));
        assert_eq!(to(PlaybackArgs { to_stream: Some("s".into()), ..args() }).unwrap(), "stream:s");
        let puts = PlaybackArgs { to_puts: Some("s".into()), table: Some("t".into()), ..args() };
        assert_eq!(to(puts).unwrap(), "puts:s/t");
        assert!(args().sink().unwrap_err().hint.contains("--to-stream"));
    }
}
