//! One look: what each table has and uses, what the rules make of it, what forbids that, and what is done.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _};

use super::Done;
use super::outside::Outside;
use crate::capacity::Decreases;
use crate::capacity::config::{Config, TableRule};
use crate::capacity::rules::{Bounds, Load, Verdict, decide};
use crate::cloud::inventory::{self, Provisioned, Table};
use crate::cloud::metrics::{self, Query};
use crate::cloud::{Class, CloudError, Mode};
use crate::jobs::JobId;
use crate::jobs::journal::{Decided, Decision};
use crate::jobs::worker::{JobError, Session};

/// How many descriptions are asked for at once.
const AT_ONCE: usize = 8;

/// Reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Write,
    Read,
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }

    fn metric(self) -> &'static str {
        match self {
            Self::Write => "ConsumedWriteCapacityUnits",
            Self::Read => "ConsumedReadCapacityUnits",
        }
    }

    fn of(self, provisioned: Provisioned) -> u64 {
        match self {
            Self::Write => provisioned.write,
            Self::Read => provisioned.read,
        }
    }
}

/// One direction of a table or index that is scaled.
struct Side<'a> {
    table: &'a Table,
    index: Option<&'a str>,
    direction: Direction,
    bounds: Bounds,
    provisioned: Provisioned,
}

impl Side<'_> {
    fn query(&self) -> Query {
        let mut dimensions = vec![("TableName", self.table.name.clone())];
        dimensions.extend(self.index.map(|index| ("GlobalSecondaryIndexName", index.to_owned())));
        Query { namespace: "AWS/DynamoDB", metric: self.direction.metric(), dimensions, statistic: "Sum" }
    }
}

/// What is to become of one side.
struct Move {
    at: usize,
    load: Load,
    to: u64,
    why: String,
    refused: Option<String>,
}

/// An autoscaler between its looks.
pub(super) struct Scaler<'a> {
    session: &'a Session<'a>,
    config: &'a Config,
    outside: Outside<'a>,
    pub(super) done: Done,
}

impl<'a> Scaler<'a> {
    pub(super) fn new(session: &'a Session<'a>, config: &'a Config) -> Self {
        Self { session, config, outside: Outside::new(session, config), done: Done::default() }
    }

    /// Looks at everything at `now_ms` (ms since epoch), and does what the rules say.
    pub(super) async fn look(&mut self, now_ms: i64) -> Result<(), JobError> {
        let tables = self.tables().await?;
        self.done.looks += 1;
        self.done.tables = tables.len() as u64;
        let mut news = Vec::new();
        let mut sides = Vec::new();
        for (table, rule) in &tables {
            match sides_of(table, rule) {
                Ok(own) => sides.extend(own),
                Err(why) => {
                    let decision = self.decision(table, None, Direction::Write, Decided::Skipped, now_ms);
                    self.write_down(Decision { reason: why, ..decision }, &mut news)?;
                }
            }
        }
        let loads = self.loads(&sides, now_ms).await?;
        let mut moves: HashMap<&str, Vec<Move>> = HashMap::new();
        for (at, (side, load)) in sides.iter().zip(loads).enumerate() {
            match Self::judge(side, load) {
                Ok((to, why)) => {
                    moves.entry(&side.table.name).or_default().push(Move { at, load, to, why, refused: None });
                }
                Err((decided, reason)) => {
                    let decision = self.decision(side.table, side.index, side.direction, decided, now_ms);
                    let from = side.direction.of(side.provisioned);
                    self.write_down(
                        Decision { from, to: from, consumed: load.consumed, reason, ..decision },
                        &mut news,
                    )?;
                }
            }
        }
        if !moves.is_empty() {
            let held = self.held()?;
            let gate = self.outside.gate().await;
            for (table, _) in &tables {
                let Some(mut moves) = moves.remove(table.name.as_str()) else { continue };
                for one in &mut moves {
                    one.refused = self.refusal(&sides[one.at], one, &held, gate.as_ref(), now_ms);
                }
                self.carry_out(table, &sides, &moves, now_ms, &mut news).await?;
            }
        }
        self.outside.tell(&news).await;
        Ok(())
    }

    /// The tables that a rule matches.
    async fn tables(&self) -> Result<Vec<(Table, &'a TableRule)>, CloudError> {
        let cloud = &self.session.cloud;
        let config: &'a Config = self.config;
        let names = inventory::table_names(cloud).await?;
        let matched = names.into_iter().filter_map(|name| config.rule(&name).map(|rule| (name, rule)));
        futures::stream::iter(matched)
            .map(|(name, rule)| async move { inventory::table(cloud, &name).await.map(|table| (table, rule)) })
            .buffered(AT_ONCE)
            // Deleted between the list and its description.
            .filter(|described| {
                let gone = matches!(described, Err(error) if error.class == Class::NotFound);
                std::future::ready(!gone)
            })
            .try_collect()
            .await
    }

    /// What each side consumes each second.
    async fn loads(&self, sides: &[Side<'_>], now_ms: i64) -> Result<Vec<Load>, CloudError> {
        let queries: Vec<Query> = sides.iter().map(Side::query).collect();
        let reading = self.config.reading;
        let series = metrics::series(&self.session.cloud, &queries, reading.from_ms(now_ms), now_ms, 60).await?;
        let loads = sides.iter().zip(series).map(|(side, sums)| Load {
            provisioned: side.direction.of(side.provisioned),
            consumed: reading.consumed(&sums, now_ms),
        });
        Ok(loads.collect())
    }

    /// What the rules want a side to have and why; or that nothing is to be done, and why.
    fn judge(side: &Side<'_>, load: Load) -> Result<(u64, String), (Decided, String)> {
        let bounds = &side.bounds;
        match decide(bounds, load) {
            Verdict::Raise(to) => Ok((to, format!("over {} % used", bounds.raise_over))),
            Verdict::Lower(to) => Ok((to, format!("under {} % used", bounds.lower_under))),
            Verdict::AtMost => Err((
                Decided::Refused,
                format!("over {} % used, and at its maximum of {}", bounds.raise_over, bounds.max),
            )),
            Verdict::AtLeast => Err((Decided::Nothing, "as low as it may be".to_owned())),
            Verdict::Fits => {
                Err((Decided::Nothing, format!("between {} and {} % used", bounds.lower_under, bounds.raise_over)))
            }
        }
    }

    /// Tables that a live job of ours has raised, and which: they go back when it ends.
    fn held(&self) -> Result<HashMap<String, JobId>, JobError> {
        let journal = self.session.journal();
        let here = self.session.cloud.place();
        let mut held = HashMap::new();
        for bump in journal.open_bumps()? {
            let (Some(id), Some(table)) = (&bump.job, bump.resource.table()) else { continue };
            if bump.context.is_same_place(&here) && journal.is_alive(id) {
                held.insert(table.to_owned(), id.clone());
            }
        }
        Ok(held)
    }

    /// What forbids a move.
    fn refusal(
        &self,
        side: &Side<'_>,
        wanted: &Move,
        held: &HashMap<String, JobId>,
        gate: Option<&String>,
        now_ms: i64,
    ) -> Option<String> {
        let raise = wanted.to > wanted.load.provisioned;
        if let Some(window) = self.config.forbidding(&side.table.name, raise, now_ms) {
            return Some(window.to_string());
        }
        if let Some(id) = held.get(&side.table.name).filter(|_| !raise) {
            return Some(format!("{id} raised it, and gives it back when it ends"));
        }
        let left = Decreases::from(side.provisioned).left(now_ms);
        if !raise && left.next_ms.is_some() {
            return Some(format!("decreases: {left}"));
        }
        gate.cloned()
    }

    /// Sends what is not refused of one table, in one request, and writes all of it down.
    async fn carry_out(
        &mut self,
        table: &Table,
        sides: &[Side<'_>],
        moves: &[Move],
        now_ms: i64,
        news: &mut Vec<Decision>,
    ) -> Result<(), JobError> {
        let mut wanted: Vec<(Option<&str>, u64, u64)> = Vec::new();
        for one in moves.iter().filter(|one| one.refused.is_none()) {
            let side = &sides[one.at];
            let at = wanted.iter().position(|(index, ..)| *index == side.index).unwrap_or_else(|| {
                wanted.push((side.index, side.provisioned.read, side.provisioned.write));
                wanted.len() - 1
            });
            match side.direction {
                Direction::Read => wanted[at].1 = one.to,
                Direction::Write => wanted[at].2 = one.to,
            }
        }
        let dry_run = self.config.dry_run;
        let sent = if wanted.is_empty() || dry_run {
            Ok(())
        } else {
            inventory::set_capacities(&self.session.cloud, table, &wanted).await
        };
        for one in moves {
            let side = &sides[one.at];
            let (decided, reason) = match (&one.refused, &sent) {
                (Some(why), _) => (Decided::Refused, format!("{}, but {why}", one.why)),
                (None, Err(error)) if error.class == Class::DryRun => continue,
                (None, Err(error)) => (Decided::Failed, format!("{}, but {error}", one.why)),
                (None, Ok(())) if one.to > one.load.provisioned => (Decided::Raised, one.why.clone()),
                (None, Ok(())) => (Decided::Lowered, one.why.clone()),
            };
            let decision = self.decision(table, side.index, side.direction, decided, now_ms);
            let (from, consumed) = (one.load.provisioned, one.load.consumed);
            self.write_down(Decision { from, to: one.to, consumed, reason, dry_run, ..decision }, news)?;
        }
        Ok(())
    }

    fn decision(
        &self,
        table: &Table,
        index: Option<&str>,
        direction: Direction,
        decided: Decided,
        now_ms: i64,
    ) -> Decision {
        Decision {
            number: 0,
            context: self.session.cloud.place(),
            job: self.session.job.id.clone(),
            at_ms: now_ms,
            last_ms: now_ms,
            times: 1,
            table: table.name.clone(),
            index: index.map(str::to_owned),
            direction: direction.as_str().to_owned(),
            decided,
            from: 0,
            to: 0,
            consumed: 0.0,
            reason: String::new(),
            dry_run: self.config.dry_run,
        }
    }

    fn write_down(&mut self, decision: Decision, news: &mut Vec<Decision>) -> Result<(), JobError> {
        let count = match decision.decided {
            Decided::Raised => &mut self.done.raised,
            Decided::Lowered => &mut self.done.lowered,
            Decided::Refused => &mut self.done.refused,
            Decided::Failed => &mut self.done.failed,
            Decided::Nothing | Decided::Skipped => &mut 0,
        };
        *count += 1;
        // What a dry run of the whole command did not send is no decision that a later run should find.
        if self.session.cloud.guard.mode() == Mode::DryRun {
            return Ok(());
        }
        if self.session.journal().decide(&decision)? && decision.is_told() {
            news.push(decision);
        }
        Ok(())
    }
}

/// The sides of a table that its rule scales, or why it is left out.
fn sides_of<'a>(table: &'a Table, rule: &TableRule) -> Result<Vec<Side<'a>>, String> {
    let Some(own) = table.provisioned else { return Err("on demand: AWS scales it by itself".to_owned()) };
    if !table.is_active() {
        let status = if table.status == "ACTIVE" { "an index is being changed" } else { &table.status };
        return Err(format!("only an ACTIVE table is changed: {}", status.to_lowercase()));
    }
    let indexes = table.indexes.iter().filter(|_| rule.indexes);
    let indexes = indexes.filter_map(|index| Some((Some(index.name.as_str()), index.provisioned?)));
    let mut sides = Vec::new();
    for (index, provisioned) in std::iter::once((None, own)).chain(indexes) {
        for (direction, bounds) in [(Direction::Write, rule.write), (Direction::Read, rule.read)] {
            sides.extend(bounds.map(|bounds| Side { table, index, direction, bounds, provisioned }));
        }
    }
    Ok(sides)
}
