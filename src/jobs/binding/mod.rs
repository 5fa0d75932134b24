//! Which limit binds a job now, by what its stages did with their time, and the sentence that says so with its numbers.
//!
//! ```text
//!  source ─ read ─ check ─┬───────────────────────────────> writer ─ pace ─ reply ─> table
//!                         └─> producer ─ pace ─ reply ─> shards ─ read ─┘
//! ```
//!
//! The stage that binds is the last one before which work is kept waiting: what comes before it has no room, what comes
//! after it has nothing to do. Rules are pure functions of [`Measured`] and [`MeasuredReads`]; time comes in shares.

#[cfg(test)]
mod tests;
mod words;

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::flow::{LaneTimes, Limit};

/// Time is looked at over so many seconds: long enough to even out a burst, short enough to follow a key.
const OVER: Duration = Duration::from_secs(10);
/// A stage keeps the one before it waiting when that finds no room for this share of the time.
const KEPT_WAITING: f64 = 0.5;
/// Lanes that have work for this share of the time are what is slow once nothing more comes in.
const WORKING: f64 = 0.1;
/// Processors that are busy for this share of the time are what is slow, not what they wait for.
const BUSY: f64 = 0.7;
/// Records that are this late while the writer has nothing to do wait for the reads of their shard, ms.
const LATE_MS: u64 = 5_000;

/// How a set of lanes spent its time: shares of all its lanes' time, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Nothing to do.
    pub idle: f64,
    /// Waiting for their turn by the pace.
    pub paced: f64,
    /// Waiting for replies.
    pub sending: f64,
    /// Waiting after a refusal or an error.
    pub backing_off: f64,
    /// Share of the time in which whoever feeds them found no room; above 1 when several feed them.
    pub full: f64,
}

/// A set of lanes: a writer's or a producer's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Side {
    /// How its lanes spent their time.
    pub shares: Shares,
    /// What its pace says held it back.
    pub held_back_by: Option<Limit>,
}

/// What comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Feed {
    /// The source is being read.
    Reading {
        /// Share of the processors' time that went into checking, 0 to 1.
        checking: f64,
        /// How many processors may do so.
        cpus: usize,
    },
    /// All of it was read.
    #[default]
    Done,
}

/// What was measured of a job that writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The operator paused it.
    pub held: bool,
    /// What comes in.
    pub feed: Feed,
    /// The lanes onto the stream, where there is one.
    pub onto_stream: Option<Side>,
    /// How many shards are read, and how late the latest of them is, ms; where the job reads them.
    pub behind: Option<(usize, u64)>,
    /// The lanes into the table, where the job writes it.
    pub into_table: Option<Side>,
}

/// The limit that binds a job that writes.
pub fn of_writing(measured: &Measured) -> Limit {
    if measured.held {
        return Limit::Paused;
    }
    let nothing_comes = measured.feed == Feed::Done;
    let binds = |side: &Side| {
        let working = 1.0 - side.shares.idle;
        side.shares.full >= KEPT_WAITING || (nothing_comes && working >= WORKING)
    };
    if let Some(writer) = measured.into_table.as_ref().filter(|side| binds(side)) {
        return of_side(writer);
    }
    if let Some((shards, late_ms)) = measured.behind
        && late_ms >= LATE_MS
    {
        return Limit::StreamReads { shards };
    }
    if let Some(producer) = measured.onto_stream.as_ref().filter(|side| binds(side)) {
        return of_side(producer);
    }
    match measured.feed {
        Feed::Reading { checking, cpus } if checking >= BUSY => Limit::Checking { cpus },
        Feed::Reading { .. } | Feed::Done => Limit::Source,
    }
}

/// What keeps the lanes of a side: their pace, or the service.
fn of_side(side: &Side) -> Limit {
    let Shares { paced, sending, backing_off, .. } = side.shares;
    if sending >= paced.max(backing_off) { None } else { side.held_back_by.clone() }.unwrap_or(Limit::Service)
}

/// What was measured of a job that reads a table: a verify or a backup. Shares of the time, 0 to 1, of all its readers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeasuredReads {
    /// The operator paused it.
    pub held: bool,
    /// Waiting until the budget allows the next read.
    pub paced: f64,
    /// Waiting until the operator's cap on items allows the next read.
    pub capped: f64,
    /// Waiting for replies of the table.
    pub sending: f64,
    /// Waiting after the table refused a read for want of capacity.
    pub refused: f64,
    /// Waiting for what the job writes to: files, or a bucket.
    pub writing: f64,
    /// Waiting for the backup that is compared.
    pub source: f64,
    /// Share of the processors' time that went into checking.
    pub checking: f64,
}

/// What a job that reads a table has to do with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadLimits {
    /// What it may take of the table's read capacity, RCU.
    pub budget: Option<f64>,
    /// The operator's cap, items a second.
    pub cap: Option<f64>,
    /// What the table has, RCU; `None` on demand.
    pub provisioned: Option<f64>,
    /// What it writes to, such as `the disk under the state folder`.
    pub destination: String,
    /// Processors that may check.
    pub cpus: usize,
}

/// The limit that binds a job that reads a table.
pub fn of_reading(measured: &MeasuredReads, limits: &ReadLimits) -> Limit {
    let MeasuredReads { held, paced, capped, sending, refused, writing, source, checking } = *measured;
    if held {
        return Limit::Paused;
    }
    if checking >= BUSY {
        return Limit::Checking { cpus: limits.cpus };
    }
    let table = || Limit::TableReads { rcu: limits.provisioned };
    let waits: [(f64, &dyn Fn() -> Limit); 6] = [
        (source, &|| Limit::Source),
        (sending, &|| Limit::Service),
        (writing, &|| Limit::Destination { name: limits.destination.clone() }),
        (paced, &|| limits.budget.map_or_else(table, |rcu| Limit::ReadBudget { rcu })),
        (refused, &table),
        (capped, &|| limits.cap.map_or_else(table, |per_second| Limit::RateCap { per_second })),
    ];
    // Of equal ones the later, which an operator can change.
    let most = waits.iter().max_by(|a, b| a.0.total_cmp(&b.0));
    most.filter(|(share, _)| *share > 0.0).map_or(Limit::Source, |(_, limit)| limit())
}

/// A job that reads a table, counted since it began. Seconds are of all its readers together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reads {
    /// The operator paused it.
    pub held: bool,
    /// Readers side by side.
    pub readers: usize,
    /// Waiting for the budget, s.
    pub paced: f64,
    /// Waiting for the operator's cap on items, s.
    pub capped: f64,
    /// Waiting for replies, s.
    pub sending: f64,
    /// Waiting after the table refused a read, s.
    pub refused: f64,
    /// Waiting for what the job writes to, s.
    pub writing: f64,
    /// Waiting for the backup that is compared, s.
    pub source: f64,
    /// Items read.
    pub items: u64,
    /// Replies, each of a page.
    pub replies: u64,
    /// Read capacity consumed, RCU.
    pub rcu: f64,
}

/// A stage with lanes, counted since it began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// What its lanes did.
    pub times: LaneTimes,
    /// What its pace says held it back within the last second.
    pub held_back_by: Option<Limit>,
    /// Records sent, repetitions included.
    pub sent: u64,
    /// Of those: refused for want of capacity.
    pub refused: u64,
    /// Write capacity consumed in the table itself, WCU.
    pub used: f64,
    /// Write capacity consumed in each index, WCU.
    pub used_by_index: Vec<(String, f64)>,
}

/// A job that writes, counted since it began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stages {
    /// The operator paused it.
    pub held: bool,
    /// All of the source was read.
    pub all_read: bool,
    /// Time that processors spent on checking.
    pub checking: Duration,
    /// Processors that may do so.
    pub cpus: usize,
    /// Onto the stream.
    pub onto_stream: Option<Stage>,
    /// How many shards are read, and how late the latest of them is, ms.
    pub behind: Option<(usize, u64)>,
    /// Into the table.
    pub into_table: Option<Stage>,
}

/// What a job is about, for its sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The table.
    pub table: String,
    /// The stream, where there is one.
    pub stream: String,
    /// Where its records come from.
    pub source: String,
    /// It reads what others write, and has read all of it once it is caught up.
    pub follows: bool,
}

/// The last seconds of a job: [`Stages`] of one that writes, [`Reads`] of one that reads.
#[derive(Clone, Debug, Default)]
pub struct Recent<T = Stages> {
    looks: VecDeque<(Duration, T)>,
}

impl<T> Recent<T> {
    /// Takes in how the job stands at `now`; gives how it stood some seconds ago and how it stands, and the time between.
    fn look(&mut self, now: Duration, stands: T) -> Option<(&T, &T, Duration)> {
        self.looks.push_back((now, stands));
        while self.looks.len() > 2 && self.looks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= OVER) {
            self.looks.pop_front();
        }
        let ((then, before), (_, after)) = (self.looks.front()?, self.looks.back()?);
        Some((before, after, now.saturating_sub(*then)))
    }
}

impl Recent<Stages> {
    /// Takes in how the job stands at `now` (of any clock that only goes on), and says what binds.
    pub fn next(&mut self, now: Duration, stages: Stages, names: &Names) -> Binding {
        let looked = self.look(now, stages);
        looked.map(|(before, after, over)| Binding::between(before, after, over, names)).unwrap_or_default()
    }
}

impl Recent<Reads> {
    /// Takes in how the job stands at `now` (of any clock that only goes on), and says what binds its reads of `table`.
    pub fn next(&mut self, now: Duration, reads: Reads, limits: &ReadLimits, table: &str) -> Binding {
        let looked = self.look(now, reads);
        looked
            .map(|(before, after, over)| Binding::between_reads(before, after, over, limits, table))
            .unwrap_or_default()
    }
}

/// Share of `whole` that passed between two totals.
fn share(before: Duration, after: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { after.saturating_sub(before).as_secs_f64() / whole.as_secs_f64() }
}

fn side(before: Option<&Stage>, after: &Stage, over: Duration) -> Side {
    let nothing = Stage::default();
    let before = before.unwrap_or(&nothing);
    let (was, is) = (&before.times, &after.times);
    let lanes = over * is.lanes.max(1) as u32;
    Side {
        shares: Shares {
            idle: share(was.idle, is.idle, lanes),
            paced: share(was.paced, is.paced, lanes),
            sending: share(was.sending, is.sending, lanes),
            backing_off: share(was.backing_off, is.backing_off, lanes),
            full: share(was.full, is.full, over),
        },
        held_back_by: after.held_back_by.clone(),
    }
}

/// What binds a job now, with what was measured of it. Its words are [`Binding::short`] and [`Binding::explain`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Binding {
    /// What binds.
    pub limit: Limit,
    /// What that is about: a table, a stream or a source.
    pub of: String,
    /// Measured over so many seconds.
    pub seconds: f64,
    /// Capacity used of what binds, units a second.
    pub used: f64,
    /// Records or items asked for each second, refused ones included.
    pub asked: f64,
    /// Of `asked`: refused each second for want of capacity.
    pub refused: f64,
    /// Share of the time that was spent waiting for what binds, 0 to 1.
    pub share: f64,
    /// Requests in flight at most.
    pub lanes: usize,
    /// Mean time of a reply, ms.
    pub reply_ms: f64,
    /// How late the latest shard is read, ms.
    pub late_ms: u64,
    /// It reads what others write: a source that gives no more is one that it has caught up with.
    pub follows: bool,
}

/// What an operator can do about a limit.
#[derive(Clone, Debug, PartialEq)]
pub enum Remedy {
    /// Raise the write capacity of a table or of one of its indexes, which is this many WCU now.
    Raise {
        /// The table.
        table: String,
        /// The index; `None` is the table itself.
        index: Option<String>,
        /// What it has, WCU.
        from: u64,
    },
    /// Change the cap on items a second.
    Rate,
    /// Let it go on.
    Resume,
}

/// Reads what this version knows; what a later one wrote is left out, so that its journal stays readable.
pub fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Binding>, D::Error> {
    Ok(serde_json::from_value(serde_json::Value::deserialize(deserializer)?).ok())
}

impl Binding {
    /// What binds the reads of `table` between two looks that are `over` apart.
    fn between_reads(before: &Reads, after: &Reads, over: Duration, limits: &ReadLimits, table: &str) -> Self {
        let seconds = over.as_secs_f64();
        let a_second = |before: f64, after: f64| if seconds > 0.0 { (after - before).max(0.0) / seconds } else { 0.0 };
        let share = |of: fn(&Reads) -> f64| a_second(of(before), of(after)) / after.readers.max(1) as f64;
        let measured = MeasuredReads {
            held: after.held,
            paced: share(|reads| reads.paced),
            capped: share(|reads| reads.capped),
            sending: share(|reads| reads.sending),
            refused: share(|reads| reads.refused),
            writing: share(|reads| reads.writing),
            source: share(|reads| reads.source),
            checking: 0.0,
        };
        let limit = of_reading(&measured, limits);
        let asked = a_second(before.items as f64, after.items as f64);
        let waited = measured.sending * seconds * after.readers.max(1) as f64;
        Self {
            of: table.to_owned(),
            seconds,
            used: a_second(before.rcu, after.rcu),
            asked,
            share: match &limit {
                Limit::Service => measured.sending,
                Limit::Destination { .. } => measured.writing,
                Limit::Source => measured.source,
                Limit::RateCap { .. } => measured.capped,
                _ => measured.paced + measured.refused,
            },
            limit,
            lanes: after.readers,
            reply_ms: if asked > 0.0 {
                waited * 1000.0 / (after.replies.saturating_sub(before.replies)).max(1) as f64
            } else {
                0.0
            },
            ..Self::default()
        }
    }

    /// What binds between two looks that are `over` apart.
    fn between(before: &Stages, after: &Stages, over: Duration, names: &Names) -> Self {
        let sides = |of: fn(&Stages) -> Option<&Stage>| of(after).map(|is| side(of(before), is, over));
        let measured = Measured {
            held: after.held,
            feed: if after.all_read {
                Feed::Done
            } else {
                let cpus = after.cpus.max(1);
                Feed::Reading { checking: share(before.checking, after.checking, over * cpus as u32), cpus }
            },
            onto_stream: sides(|stages| stages.onto_stream.as_ref()),
            behind: after.behind,
            into_table: sides(|stages| stages.into_table.as_ref()),
        };
        let limit = of_writing(&measured);
        let mut binding = Self { limit, seconds: over.as_secs_f64(), ..Self::default() };
        let at_writer = measured.into_table.as_ref().is_some_and(|side| side.shares.full >= KEPT_WAITING);
        let (stage, side) = match &binding.limit {
            Limit::Shard { .. } | Limit::Stream { .. } => (stages_of(before, after, true), measured.onto_stream),
            Limit::Service if !at_writer && measured.onto_stream.is_some() => {
                (stages_of(before, after, true), measured.onto_stream)
            }
            _ => (stages_of(before, after, false), measured.into_table),
        };
        binding.of = match &binding.limit {
            Limit::Source | Limit::Checking { .. } => names.source.clone(),
            Limit::Shard { .. } | Limit::Stream { .. } | Limit::StreamReads { .. } => names.stream.clone(),
            Limit::Service if !at_writer && !names.stream.is_empty() => names.stream.clone(),
            _ => names.table.clone(),
        };
        binding.follows = names.follows;
        binding.late_ms = after.behind.map_or(0, |(_, late_ms)| late_ms);
        let shares = side.map(|side| side.shares).unwrap_or_default();
        binding.share = match (&binding.limit, measured.feed) {
            (Limit::Checking { .. }, Feed::Reading { checking, .. }) => checking,
            (Limit::Source, _) => (1.0 - shares.full).clamp(0.0, 1.0),
            (Limit::Service, _) => shares.sending,
            _ => shares.paced + shares.backing_off,
        };
        if let Some((before, after)) = stage.filter(|_| !over.is_zero()) {
            let a_second = |count: f64| count.max(0.0) / over.as_secs_f64();
            binding.asked = a_second(after.sent.saturating_sub(before.sent) as f64);
            binding.refused = a_second(after.refused.saturating_sub(before.refused) as f64);
            binding.used = match &binding.limit {
                Limit::Index { index, .. } => {
                    let of =
                        |stage: &Stage| stage.used_by_index.iter().find(|(name, _)| name == index).map(|(_, u)| *u);
                    a_second(of(after).unwrap_or_default() - of(before).unwrap_or_default())
                }
                _ => a_second(after.used - before.used),
            };
            binding.lanes = after.times.lanes;
            let replies = after.times.replies.saturating_sub(before.times.replies);
            let waited = after.times.sending.saturating_sub(before.times.sending);
            binding.reply_ms = if replies == 0 { 0.0 } else { waited.as_secs_f64() * 1000.0 / replies as f64 };
        }
        binding
    }
}

/// The same stage at both looks: onto the stream, or into the table.
fn stages_of<'a>(before: &'a Stages, after: &'a Stages, stream: bool) -> Option<(&'a Stage, &'a Stage)> {
    let of = |stages: &'a Stages| if stream { stages.onto_stream.as_ref() } else { stages.into_table.as_ref() };
    Some((of(before)?, of(after)?))
}
