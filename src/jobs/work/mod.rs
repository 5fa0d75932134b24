//! Put workers: the put requests of a stream into the tables that they name.
//!
//! ```text
//!  stream ─> shards ─> Consumer ─┬─> check ─> Writer of table a, its pace and its queue
//!              │                 └─> check ─> Writer of table b …
//!              └─ where each goes on: this journal, or the lease table that several hosts share
//! ```

mod desk;
mod position;
mod sharing;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use self::desk::Desk;
use self::position::Position;
pub use self::position::{already, running};
use self::tables::ManyTables;
use super::journal::{Control, State};
use super::spec::WorkSpec;
use super::worker::{CONTROLS, End, Halt, JobError, Session};
use crate::cloud::{Class, CloudError, inventory};
use crate::flow::{AwsStream, Clock, Consumer, ConsumerOptions, FanOutStream, StreamSource, SystemClock};

/// Controls are looked at this many times for each commit.
const LOOKS_PER_COMMIT: u32 = 4;

/// Records of a shard that are open at once: how far it is read ahead of its first record that is not written yet, and
/// how much of it is done again after a crash.
pub(super) const WINDOW: usize = 10_000;

/// How long what was read may take to be written when the worker is told to end.
const FINISH: Duration = Duration::from_secs(5);

pub(super) async fn run(session: &Session<'_>, spec: &WorkSpec) -> Result<End, JobError> {
    let _only_one = position::only_one(session, spec)?;
    let stream = inventory::stream(&session.cloud, &spec.stream).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let cloud = &session.cloud;
    let source = source(session, spec).await?;
    let position = position::find(session, spec, &*source).await?;
    let tables = Arc::new(ManyTables::new(cloud.clone(), Arc::clone(&clock), position.caps(session)));
    let mut options = ConsumerOptions::new(&spec.stream);
    options.from = position.from.clone();
    options.resume.clone_from(&position.shards);
    options.window = WINDOW;
    let open = stream.shards.iter().filter(|shard| shard.open).count();
    session.note("info", &format!("runs the put requests of {}, {open} open shards, {}", spec.stream, position.words));
    let leases = sharing::join(session, spec, &position, Arc::clone(&source), &clock).await?;
    let tables_of = Arc::clone(&tables) as _;
    let consumer = match &leases {
        None => Consumer::start(options, source, tables_of, Arc::clone(&clock)),
        Some(leases) => Consumer::share(options, source, tables_of, Arc::clone(&clock), Arc::clone(leases)),
    };
    let mut desk = Desk::new(session, &consumer, &tables, leases.as_deref(), &position);
    let outcome = go_on(session, spec, &consumer, &tables, &mut desk).await;
    // What was read is written before others may go on with its shards; a table that is slow must not hold the end up.
    let _ = tokio::time::timeout(FINISH, consumer.stop()).await;
    desk.commit()?;
    if let Some(leases) = &leases {
        leases.leave(consumer.unfinished()).await;
    }
    desk.tell();
    let halt = match outcome {
        Err(JobError::Cloud(error)) => return Err(explained(session, spec, error).await),
        outcome => outcome?,
    };
    Ok(end(session, &position, &desk, halt))
}

/// Where records are read: polled, or sent to a consumer of their own.
async fn source(session: &Session<'_>, spec: &WorkSpec) -> Result<Arc<dyn StreamSource>, JobError> {
    let (control, bulk) = (session.cloud.kinesis.clone(), session.cloud.bulk.kinesis.clone());
    let Some(name) = &spec.fan_out else { return Ok(Arc::new(AwsStream::new(control, bulk, &spec.stream))) };
    let sent = FanOutStream::open(control, bulk, &spec.stream, name).await?;
    if sent.was_registered() {
        session.note(
            "warn",
            &format!(
                "registered {name} as a consumer of {} by enhanced fan-out: it stays, and costs by the hour and shard, until \
                 it is deregistered",
                spec.stream
            ),
        );
    }
    Ok(Arc::new(sent))
}

/// Works until it is caught up, told to end, or fails.
async fn go_on(
    session: &Session<'_>,
    spec: &WorkSpec,
    consumer: &Consumer,
    tables: &ManyTables,
    desk: &mut Desk<'_, '_>,
) -> Result<Option<Halt>, JobError> {
    let caught_up = async {
        if spec.drain {
            consumer.caught_up().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(caught_up);
    let follow = tables.follow(session);
    tokio::pin!(follow);
    let mut looks = tokio::time::interval(CONTROLS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look_number = 0;
    let mut told = None;
    loop {
        tokio::select! {
            () = &mut caught_up => return Ok(None),
            error = consumer.failed() => return Err(error.into()),
            () = &mut follow => unreachable!("it follows for ever"),
            () = session.stop.cancelled() => return Ok(Some(Halt::Interrupted)),
            _ = looks.tick() => {
                let controls = session.journal().controls(&session.job.id)?;
                if controls.0 == Control::Cancel {
                    return Ok(Some(Halt::Cancelled));
                }
                if told != Some(controls) {
                    obey(session, spec, controls, told.is_some(), tables);
                    told = Some(controls);
                }
                if look_number % LOOKS_PER_COMMIT == 0 {
                    desk.commit()?;
                }
                look_number += 1;
            }
        }
    }
}

/// Does what the operator asked. `change` is false for what held at the start.
fn obey(
    session: &Session<'_>,
    spec: &WorkSpec,
    (control, rate): (Control, Option<f64>),
    change: bool,
    tables: &ManyTables,
) {
    let held = control == Control::Pause;
    tables.set(rate.or(spec.rate), spec.max_wcu, held);
    session.obeyed(held, rate, change, "items/s into each table");
}

/// Why it ended, in words that name what is gone.
async fn explained(session: &Session<'_>, spec: &WorkSpec, error: CloudError) -> JobError {
    let gone = error.class == Class::NotFound
        && match inventory::stream(&session.cloud, &spec.stream).await {
            Ok(stream) => stream.status == "DELETING",
            Err(error) => error.class == Class::NotFound,
        };
    if gone {
        return JobError::Unfit(format!(
            "stream {} is gone: it was deleted while it was read. What had been read is written and checkpointed; what had \
             not went with the stream",
            spec.stream
        ));
    }
    error.into()
}

fn end(session: &Session<'_>, position: &Position, desk: &Desk<'_, '_>, halt: Option<Halt>) -> End {
    let counters = desk.counters();
    let state = halt.map_or(State::Done, State::from);
    let again = "the same sluice work goes on there";
    let message = match state {
        State::Interrupted if position.shared => format!("its leases are given up; {again}, here or on another host"),
        State::Interrupted => format!("its place in each shard is kept; {again}"),
        State::Done if counters.dead > 0 => {
            format!("{} dead letters; read them with: sluice dead list {}", counters.dead, session.job.id)
        }
        State::Done if counters.read == 0 => String::from("nothing was on the stream that had not been run"),
        _ => String::new(),
    };
    End { state, message, report: desk.last_line(state), dead: counters.dead > 0, left_out: false, differs: false }
}
