//! Replicas: the changes of a table into another table or BigQuery.
//!
//! ```text
//!  source ─ stream ─> shards ─> Consumer ─> ChangeIntake ─┐ kind, shape        ┌─> TableReplica ─> Writer, in each key's order
//!     └──── scan, once, at a pace ─> Bootstrap ───────────┴─ Gate, fence ──────┴─> BigQuery
//! ```
//!
//! With two ways there is such a direction from each side, and a [`rule`] decides at the tables who wins.

#[cfg(feature = "bigquery")]
pub(super) mod bigquery;
mod bootstrap;
mod desk;
mod direction;
mod fence;
mod intake;
pub mod plan;
mod position;
mod rule;
pub mod source;
mod spec;
mod table;
pub mod target;
mod two_ways;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use self::desk::Desk;
use self::direction::{Direction, Directions};
pub use self::position::{RETENTION_MS, already, running};
pub use self::rule::ARRIVAL;
pub use self::spec::{BigQueryTarget, Bootstrap, ReplicaTarget, ReplicateSpec, TableTarget, TwoWay};
pub use self::target::{writes_in, written_by};
use super::journal::{Control, State};
use super::restore::follow;
use super::verify;
use super::worker::{CONTROLS, End, Halt, JobError, Session};
use crate::cloud::{Class, CloudError, inventory};
use crate::flow::{Caps, Clock, SystemClock};

/// Controls are looked at this many times for each commit.
const LOOKS_PER_COMMIT: u32 = 4;

/// How long what was read may take to be written when the worker is told to end.
const FINISH: Duration = Duration::from_secs(5);

/// How often it is looked whether everything is in the replica.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(session: &Session<'_>, spec: &ReplicateSpec) -> Result<End, JobError> {
    let _only_one = position::only_one(session, spec)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let directions = match Box::pin(direction::open(session, spec, &clock)).await {
        // The request was printed; what comes after it depends on it.
        Err(JobError::Cloud(error)) if error.class == Class::DryRun => return Ok(printed(session, &error)),
        other => other?,
    };
    let mut desk = Desk::new(session, spec, &directions);
    let outcome = Box::pin(go_on(session, spec, &directions, &mut desk, &clock)).await;
    // What was read is written; a table that is slow must not hold the end up.
    let stops = directions.all().iter().map(|direction| direction.consumer.stop());
    let _ = tokio::time::timeout(FINISH, futures::future::join_all(stops)).await;
    desk.commit()?;
    let halt = match outcome {
        Err(JobError::Cloud(error)) => return Err(explained(session, spec, error).await),
        outcome => outcome?,
    };
    Ok(end(session, &directions, &desk, &halt))
}

/// The end of a dry run that has nothing to read.
fn printed(session: &Session<'_>, error: &CloudError) -> End {
    End {
        state: State::Done,
        message: format!("{error}; what follows can't be shown before that is done"),
        report: super::restore::last_line(session, State::Done),
        dead: false,
        left_out: false,
        differs: false,
    }
}

/// Why it ended.
enum Over {
    /// Everything is in the replica.
    CaughtUp,
    /// The streams ended: this is why, in words.
    Ended(String),
    /// It was told to.
    Halted(Halt),
}

/// Works until it is caught up, told to end, or fails.
async fn go_on(
    session: &Session<'_>,
    spec: &ReplicateSpec,
    directions: &Directions,
    desk: &mut Desk<'_, '_>,
    clock: &Arc<dyn Clock>,
) -> Result<Over, JobError> {
    let bootstrap = async {
        direction::bootstrap(session, spec, directions, clock).await?;
        if spec.until_caught_up {
            direction::caught_up(directions, clock).await?;
            return Ok::<_, JobError>(Over::CaughtUp);
        }
        std::future::pending().await
    };
    let upkeep = async {
        let both = directions.all().iter().map(|direction| async move {
            match &direction.table {
                Some((cloud, table, replica)) => {
                    let written = follow::Written { cloud, table: &table.name, leave: spec.leave };
                    let pacer = replica.pacer();
                    follow::follow_capacity(session, written, pacer, &replica.provisioned).await;
                }
                None => direction.gate.replica.upkeep().await,
            }
        });
        futures::future::join_all(both).await;
    };
    let failed = async {
        let each = directions.all().iter().map(|direction| {
            Box::pin(async move {
                tokio::select! {
                    error = direction.consumer.failed() => error,
                    error = direction.gate.replica.failed() => error,
                }
            })
        });
        futures::future::select_all(each).await.0
    };
    let ended = direction::ended(session, spec, directions, clock);
    let audit = async {
        match spec.audit_rcu {
            // One that ends once it is caught up is compared by a verify, at once and whole.
            Some(rcu) if !spec.until_caught_up => Box::pin(verify::keep_auditing(session, spec, rcu)).await,
            _ => std::future::pending().await,
        }
    };
    tokio::pin!(bootstrap, upkeep, failed, ended, audit);
    let mut looks = tokio::time::interval(CONTROLS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut look_number, mut told) = (0_u32, None);
    loop {
        tokio::select! {
            over = &mut bootstrap => return over,
            words = &mut ended => return Ok(Over::Ended(words)),
            error = &mut failed => return Err(error.into()),
            () = &mut upkeep => unreachable!("it follows for ever"),
            never = &mut audit => match never {},
            () = session.stop.cancelled() => return Ok(Over::Halted(Halt::Interrupted)),
            _ = looks.tick() => {
                let controls = session.journal().controls(&session.job.id)?;
                if controls.0 == Control::Cancel {
                    return Ok(Over::Halted(Halt::Cancelled));
                }
                if told != Some(controls) {
                    obey(session, spec, controls, told.is_some(), directions);
                    told = Some(controls);
                }
                if look_number.is_multiple_of(LOOKS_PER_COMMIT) {
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
    spec: &ReplicateSpec,
    (control, rate): (Control, Option<f64>),
    change: bool,
    directions: &Directions,
) {
    let held = control == Control::Pause;
    let caps = Caps { items_per_second: rate.or(spec.rate), wcu: spec.max_wcu };
    for direction in directions.all() {
        direction.gate.replica.pace(caps, held);
        if let Some(bootstrap) = &direction.bootstrap {
            bootstrap.scanner().hold(held);
        }
    }
    session.obeyed(held, rate, change, "rows/s");
}

/// Why it ended, in words that name what is gone.
async fn explained(session: &Session<'_>, spec: &ReplicateSpec, error: CloudError) -> JobError {
    let asked = inventory::find_table(&session.cloud, &spec.table);
    if error.class == Class::NotFound && matches!(asked.await, Ok(None)) {
        return JobError::Unfit(format!(
            "table {} is gone: it was deleted while it was replicated. Every change that was read is in the replica; what was \
             not went with its stream",
            spec.table
        ));
    }
    error.into()
}

fn end(session: &Session<'_>, directions: &Directions, desk: &Desk<'_, '_>, over: &Over) -> End {
    let counters = desk.counters();
    let state = match over {
        Over::Halted(halt) => State::from(*halt),
        Over::CaughtUp | Over::Ended(_) => State::Done,
    };
    let mut words = Vec::new();
    if let Over::Ended(why) = over {
        words.push(why.clone());
    }
    let gap = directions.gap();
    words.extend(gap.clone());
    if state == State::Interrupted {
        words.push("its place in each shard is kept for 24 hours; the same sluice replicate goes on there".to_owned());
    }
    if state == State::Done && counters.dead > 0 {
        words.push(format!("{} dead letters; read them with: sluice dead list {}", counters.dead, session.job.id));
    }
    End {
        state,
        message: words.join("; "),
        report: desk.last_line(state),
        dead: counters.dead > 0,
        left_out: gap.is_some(),
        differs: false,
    }
}

impl Direction {
    /// It has a bootstrap, and that is not through.
    fn stops_short(&self) -> bool {
        self.bootstrap.as_ref().is_some_and(|bootstrap| !bootstrap.done.load(Ordering::Acquire))
    }
}
