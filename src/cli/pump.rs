//! `sluice pump`: events of a stream into the event table; the tables made, the plan of a rate, the directory repaired.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::control::per_second;
use super::print;
use super::progress;
use super::report::{Exit, Report};
use super::resume;
use super::session::Session;
use crate::cloud::schema::Schema;
use crate::cloud::{Class, Cloud, Mode, inventory};
use crate::event::plan::{Ask, Plan, plan};
use crate::event::tables::{self, Bought};
use crate::event::watermark;
use crate::event::{Layout, SlotLength, layout_of, repair};
use crate::jobs::create_table::{self, CreateTableError, NewTable, Waiting};
use crate::jobs::journal::now_ms;
use crate::jobs::pump::{PASS_WANTED, counter_of};
use crate::jobs::{JobId, Kind, PumpSpec, Spec, start_detached};

/// From where to where, in which slots, how often.
#[derive(Clone, Debug, Default, Args)]
pub struct PumpArgs {
    /// The stream that events arrive on.
    #[arg(add = super::complete::streams(), short, long, value_name = "STREAM")]
    pub kinesis_stream: Option<String>,
    /// The buffer table.
    #[arg(add = super::complete::tables(), long, value_name = "TABLE")]
    pub buffer: Option<String>,
    /// The event table.
    #[arg(add = super::complete::tables(), long, value_name = "TABLE")]
    pub events: Option<String>,
    /// The original's names, where nothing else is said: NAME-stream, NAME-buffer-table, NAME-event-table.
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,
    /// Length of a slot, 100ms to 1h [else what the event table was begun with, else 1s]
    #[arg(long, value_name = "TIME")]
    pub slot: Option<SlotLength>,
    /// From one pass over the buffer to the next [else 1m]
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub every: Option<Duration>,
    /// ordered, or original (the first event store's tables) [else what the event table has, else ordered]
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<Layout>,
    /// Read what is on the stream, make one pass, and end.
    #[arg(long)]
    pub once: bool,
    /// Make the tables that are not there: on demand, or with the original's capacity.
    #[arg(long, value_name = "on-demand|original", num_args = 0..=1, require_equals = true, default_missing_value = "on-demand",
        value_parser = ["on-demand", "original"])]
    pub create_tables: Option<String>,
    /// Say what so many events a second take, and write nothing.
    #[arg(long, value_name = "RATE", value_parser = per_second)]
    pub plan: Option<f64>,
    /// Bytes of an event, for --plan [else 300]
    #[arg(long, value_name = "BYTES", requires = "plan")]
    pub event_bytes: Option<usize>,
    /// Make the event table's directory anew from what its slots hold. No pump may run meanwhile.
    #[arg(long, conflicts_with_all = ["once", "plan", "create_tables", "detach"])]
    pub repair: bool,
    /// Make a pass now, in the pump that runs as this job.
    #[arg(add = super::complete::live_jobs(), long, value_name = "ID", conflicts_with_all = ["once", "plan", "create_tables", "detach", "repair"])]
    pub now: Option<String>,
    /// Start it and come back at once; `sluice jobs` shows how it goes.
    #[arg(long)]
    pub detach: bool,
}

fn period(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if every >= Duration::from_secs(1) => Ok(every),
        Ok(_) => Err("a pass each second at most".to_owned()),
        Err(error) => Err(format!("{error}: write 10s or 1m")),
    }
}

const EVERY: Duration = Duration::from_mins(1);

impl PumpArgs {
    /// A name that was given, or the one that the original's event store has.
    pub(super) fn named(&self, given: Option<&String>, suffix: &str, option: &str) -> Result<String, Report> {
        let of_store = || self.store.as_ref().map(|store| format!("{store}-{suffix}"));
        given.cloned().or_else(of_store).ok_or_else(|| {
            Report::bad_arguments(
                format!("{option} is missing"),
                "sluice pump -k STREAM --buffer TABLE --events TABLE, or --store NAME for the original's names",
            )
        })
    }

    fn events(&self) -> Result<String, Report> {
        self.named(self.events.as_ref(), "event-table", "--events")
    }

    fn every(&self) -> Duration {
        self.every.unwrap_or(EVERY)
    }
}

/// Runs it.
pub async fn run(args: PumpArgs, session: &Session) -> Result<Exit, Report> {
    if let Some(rate) = args.plan {
        return show_plan(&args, rate, session);
    }
    if let Some(id) = &args.now {
        return pass_now(&JobId(id.clone()), session);
    }
    if args.repair {
        return mend(&args, session).await;
    }
    let stream = args.named(args.kinesis_stream.as_ref(), "stream", "-k")?;
    let buffer = args.named(args.buffer.as_ref(), "buffer-table", "--buffer")?;
    let events = args.events()?;
    if args.detach && session.mode() != Mode::Normal {
        return Err(Report::bad_arguments(
            "a detached pump writes",
            "leave out --detach along with --read-only or --dry-run",
        ));
    }
    let cloud = session.reading().await?;
    session.answered(async { inventory::stream(&cloud, &stream).await }).await?;
    if let Some(bought) = &args.create_tables {
        let original = bought == "original";
        let of = |capacity| if original { capacity } else { Bought::OnDemand };
        let layout = args.layout.unwrap_or_default();
        make(tables::buffer_request(&buffer, of(tables::ORIGINAL_BUFFER)), &cloud, session).await?;
        make(tables::events_request(&events, layout, of(tables::ORIGINAL_EVENTS)), &cloud, session).await?;
    }
    let missing = |error: Report| Report { hint: format!("{}; --create-tables makes it", error.hint), ..error };
    let (buffer_table, events_table) = (
        session.answered(inventory::table(&cloud, &buffer)).await.map_err(missing)?,
        session.answered(inventory::table(&cloud, &events)).await.map_err(missing)?,
    );
    tables::must_be_buffer(&buffer, &buffer_table.key)?;
    let layout = match args.layout {
        Some(layout) => layout,
        None => layout_of(&events, &events_table.key)?,
    };
    tables::must_have_layout(&events, &events_table.key, layout)?;
    let begun_with = tables::slot_length(&cloud.dynamodb, &events, layout).await?;
    let spec = Spec::Pump(PumpSpec {
        stream,
        buffer,
        events,
        slot: args.slot.or(begun_with).unwrap_or_default(),
        every: args.every().as_secs_f64(),
        layout,
        once: args.once,
    });
    let (session, _scratch) = session.for_a_job(cloud.place())?;
    let journal = session.journal()?;
    if let Spec::Pump(spec) = &spec
        && let Some(other) = counter_of(&journal, spec, &session.context, None)?
    {
        return Err(Report::failed(
            format!("job {other} pumps {} already", spec.stream),
            format!("one pump reads a stream: sluice pump --now {other} makes a pass, sluice cancel {other} ends it"),
        ));
    }
    if args.detach {
        let id = start_detached(&journal, &spec, &session.context, None)?;
        return resume::started(&id, Kind::Pump, &session);
    }
    let id = journal.create_job(&spec, &session.context, None)?;
    drop(journal);
    progress::run(&session, &id, Kind::Pump).await.map(|(exit, _)| exit)
}

/// Makes the table of `request` unless it is there, and waits for it.
async fn make(request: Value, cloud: &Cloud, session: &Session) -> Result<(), Report> {
    let name = request["TableName"].as_str().unwrap_or_default().to_owned();
    if session.answered(inventory::find_table(cloud, &name)).await?.is_some() {
        return Ok(());
    }
    let schema = Schema::from_json(&request.to_string()).map_err(|error| Report::failed(error.to_string(), ""))?;
    let new = NewTable { schema, expires: None, from: "the event store".to_owned(), left_out: Vec::new() };
    let changing = session.cloud().await?;
    let made = create_table::create(&changing, &new, Waiting::default(), &|words| eprintln!("{words}")).await;
    match made {
        // Somebody else makes it, or the reply to our own request was lost.
        Err(CreateTableError::Cloud(error)) if error.class == Class::InUse => {
            for _ in 0..Waiting::default().times {
                if inventory::table(cloud, &name).await.is_ok_and(|table| table.is_active()) {
                    return Ok(());
                }
                tokio::time::sleep(Waiting::default().every).await;
            }
            Err(error.into())
        }
        other => Ok(other?),
    }
}

/// Asks the pump that runs as job `id` for a pass.
fn pass_now(id: &JobId, session: &Session) -> Result<Exit, Report> {
    let journal = session.journal()?;
    let job = journal.job(id)?;
    if job.kind() != Kind::Pump || !job.state.is_live() {
        let what = if job.kind() == Kind::Pump { "is not running" } else { "is no pump" };
        return Err(Report::failed(format!("job {id} {what}"), "`sluice jobs` lists what runs"));
    }
    journal.leave_word(id, PASS_WANTED, now_ms().to_string().as_bytes())?;
    let words = format!("asked {id} for a pass; watch it with: sluice jobs {id} --watch");
    print::said(session, &words, &json!({ "job": id, "kind": Kind::Pump, "said": "asked for a pass" }))?;
    Ok(Exit::Done)
}

fn show_plan(args: &PumpArgs, rate: f64, session: &Session) -> Result<Exit, Report> {
    let ask = Ask {
        rate,
        bytes: args.event_bytes.unwrap_or(300),
        slot: args.slot.unwrap_or_default(),
        every: args.every(),
        layout: args.layout.unwrap_or_default(),
    };
    let found = plan(&ask);
    if session.global.json {
        let mut line = serde_json::to_value(found).unwrap_or_default();
        line["rate"] = rate.into();
        line["slot_ms"] = u64::from(ask.slot).into();
        line["every_seconds"] = ask.every.as_secs_f64().into();
        print::json(&line)?;
    } else {
        print::line(text(&ask, &found).trim_end())?;
    }
    Ok(if rate > found.ceiling { Exit::Failed } else { Exit::Done })
}

fn text(ask: &Ask, plan: &Plan) -> String {
    let whole = |number: f64| print::grouped(number.ceil() as u64);
    let verdict = if ask.rate > plan.ceiling { "TOO MUCH: above the ceiling" } else { "fits" };
    format!(
        "{} events/s of {} bytes, slots of {}, a pass each {}: {verdict}\n\
         ceiling        {} events/s: {}\n\
         partitions     {} slots written to by a pass\n\
         event table    {} WCU, {} RCU on average; a row is {} bytes\n\
         buffer         {} WCU, {} RCU on average; a row is {} bytes\n",
        whole(ask.rate),
        print::grouped(ask.bytes as u64),
        ask.slot,
        humantime::format_duration(ask.every),
        whole(plan.ceiling.floor()),
        plan.bound_by,
        print::grouped(plan.partitions),
        whole(plan.event_wcu),
        whole(plan.event_rcu),
        plan.event_row,
        whole(plan.buffer_wcu),
        whole(plan.buffer_rcu),
        plan.buffer_row,
    )
}

/// Makes the directory anew.
async fn mend(args: &PumpArgs, session: &Session) -> Result<Exit, Report> {
    let events = args.events()?;
    let cloud = session.cloud().await?;
    let table = session.answered(inventory::table(&cloud, &events)).await?;
    let layout = match args.layout {
        Some(layout) => layout,
        None => layout_of(&events, &table.key)?,
    };
    tables::must_have_layout(&events, &table.key, layout)?;
    let begun_with = tables::slot_length(&cloud.dynamodb, &events, layout).await?;
    let length = begun_with.or(args.slot).unwrap_or_default();
    let found = repair::look(&cloud.dynamodb, &events, layout, length).await?;
    let (differing, empty) = (found.differing(), found.empty());
    crate::jobs::pump::recount(&cloud, &table, layout, &differing).await?;
    for slot in &empty {
        repair::forget(&cloud.dynamodb, &events, layout, *slot).await?;
    }
    let mark = watermark::read(&cloud.dynamodb, &events, layout).await?;
    if session.global.json {
        print::json(&json!({
            "kind": "repair", "events": found.events, "slots": found.slots.len(), "recounted": differing.len(),
            "forgotten": empty.len(), "misplaced": found.misplaced, "odd": found.odd,
            "watermark": mark.at.map(|at| format!("{at:.6}")),
        }))?;
        return Ok(Exit::Done);
    }
    print::line(&format!(
        "{events}: {} events in {} slots; {} slots counted anew, {} that hold nothing forgotten",
        print::grouped(found.events),
        print::grouped(found.slots.len() as u64),
        print::grouped(differing.len() as u64),
        print::grouped(empty.len() as u64)
    ))?;
    if found.misplaced + found.odd > 0 {
        eprintln!(
            "{} events are not in the slot of {length} that their time falls into, {} rows are no events: both were left alone",
            print::grouped(found.misplaced),
            print::grouped(found.odd)
        );
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_originals_where_only_the_stores_is_given() {
        let args =
            PumpArgs { store: Some("event-store-dev".into()), events: Some("mine".into()), ..PumpArgs::default() };
        assert_eq!(args.named(None, "stream", "-k").unwrap(), "event-store-dev-stream");
        assert_eq!(args.events().unwrap(), "mine");
        let report = PumpArgs::default().events().unwrap_err();
        assert_eq!(report.exit, Exit::BadArguments);
    }

    #[test]
    fn a_pass_is_made_each_second_at_most() {
        assert_eq!(period("10s"), Ok(Duration::from_secs(10)));
        assert!(period("100ms").is_err() && period("x").is_err());
    }
}
