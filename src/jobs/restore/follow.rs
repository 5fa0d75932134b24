//! Follows what a restore's table has while it runs: its provisioned capacity, and with `--leave` what others use of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::cloud::Cloud;
use crate::cloud::inventory::{self, Table};
use crate::cloud::metrics::{self, Point, Query};
use crate::flow::{Left, Pacer, PacerSnapshot, Provisioned};
use crate::jobs::journal::now_ms;
use crate::jobs::spec::RestoreSpec;
use crate::jobs::worker::Session;

/// How often the table's capacity is asked for, so that a raise is followed within seconds.
const DESCRIBE: Duration = Duration::from_secs(2);

/// With `--leave`, `CloudWatch` is asked at every so many of these looks: twice a minute.
const LOOKS_PER_METRICS: u32 = 15;

const MINUTE_MS: i64 = 60_000;

/// `CloudWatch` has a minute's sum within this time; a minute that has none by then had no traffic.
/// Observed lag is one to two minutes; no page of AWS promises it.
const LATE_MS: i64 = 4 * MINUTE_MS;

/// Minutes of others' traffic of which the busiest counts: what is seen late must not be taken for less.
const BUSIEST_OF: usize = 3;

/// Sets what the operator said of the table's capacity, before anything is written.
pub(super) fn begin(pacer: &Pacer, spec: &RestoreSpec) {
    pacer.set_burst(!spec.no_burst);
    pacer.set_left(spec.leave.map(|share| Left { share, ..Left::default() }));
}

/// A table that a job writes.
#[derive(Clone, Copy)]
pub(in crate::jobs) struct Written<'a> {
    /// Where it is.
    pub cloud: &'a Cloud,
    /// Its name.
    pub table: &'a str,
    /// The share of its write capacity that is left to others.
    pub leave: Option<f64>,
}

/// What the pacer is told of `table`: `None` on demand.
pub(in crate::jobs) fn capacity(table: &Table) -> Option<Provisioned> {
    table.provisioned.map(|p| Provisioned {
        table: p.write as f64,
        indexes: table.indexes.iter().filter_map(|i| Some((i.name.clone(), i.provisioned?.write as f64))).collect(),
    })
}

/// Tells the pacer what the table has, every few seconds, for ever; and what others use of it, where a share is theirs.
pub(in crate::jobs) async fn follow_capacity(
    session: &Session<'_>,
    at: Written<'_>,
    pacer: &Pacer,
    provisioned: &AtomicU64,
) {
    let mut every = tokio::time::interval(DESCRIBE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut neighbours = at.leave.map(|share| Neighbours::new(share, now_ms()));
    let mut looks = 0;
    loop {
        every.tick().await;
        // A failed look leaves the pacer with what it knows; the writer meets the error itself.
        if let Ok(table) = inventory::table(at.cloud, at.table).await {
            let write = table.provisioned.map_or(0, |p| p.write);
            let before = provisioned.swap(write, Ordering::Relaxed);
            if before != write {
                session.note("info", &format!("{} went from {before} to {write} WCU", table.name));
            }
            pacer.set_provisioned(capacity(&table));
        }
        if let Some(neighbours) = &mut neighbours {
            neighbours.note(now_ms(), &pacer.snapshot());
            if looks % LOOKS_PER_METRICS == 0 {
                neighbours.look(session, at, pacer).await;
            }
            looks += 1;
        }
    }
}

/// Cumulated use of the table (`None`) and of its indexes.
type Used = BTreeMap<Option<String>, f64>;

fn used(snapshot: &PacerSnapshot) -> Used {
    let indexes = snapshot.consumed_by_index.iter().map(|(name, wcu)| (Some(name.clone()), *wcu));
    std::iter::once((None, snapshot.consumed_by_table)).chain(indexes).collect()
}

/// Finds what others use: all traffic of a minute, as `CloudWatch` has it, less ours of the same minute.
#[derive(Debug)]
struct Neighbours {
    share: f64,
    /// Ours in each minute, WCU, by its start.
    ours: BTreeMap<i64, Used>,
    noted: (i64, Used),
    /// Whether the last look at the metrics failed, so that this is said once.
    is_blind: bool,
}

impl Neighbours {
    fn new(share: f64, now: i64) -> Self {
        Self { share, ours: BTreeMap::new(), noted: (now, Used::new()), is_blind: false }
    }

    /// Notes what we consumed up to `now` (ms since epoch): spread evenly over the time since the last note.
    fn note(&mut self, now: i64, snapshot: &PacerSnapshot) {
        let used = used(snapshot);
        let (from, before) = std::mem::replace(&mut self.noted, (now, used.clone()));
        let length = (now - from).max(1) as f64;
        let mut start = from;
        while start < now {
            let minute = start.div_euclid(MINUTE_MS) * MINUTE_MS;
            let end = now.min(minute + MINUTE_MS);
            let part = (end - start) as f64 / length;
            let ours = self.ours.entry(minute).or_default();
            for (of, wcu) in &used {
                let more = wcu - before.get(of).copied().unwrap_or_default();
                *ours.entry(of.clone()).or_default() += more * part;
            }
            start = end;
        }
        self.ours.retain(|minute, _| now - minute < 20 * MINUTE_MS);
    }

    /// What others use of the table (`None`) or an index, WCU a second, when `points` are the sums of all traffic.
    fn others(&self, now: i64, of: Option<&str>, points: &[Point]) -> f64 {
        let of = of.map(str::to_owned);
        let this_minute = now.div_euclid(MINUTE_MS) * MINUTE_MS;
        let minutes = (1..=10).map(|back| this_minute - back * MINUTE_MS);
        minutes
            .filter_map(|minute| {
                let sum = points.iter().find(|(at, _)| *at == minute).map(|(_, sum)| *sum);
                // A minute that is not there yet is not empty.
                let all = sum.or((now - minute > LATE_MS).then_some(0.0))?;
                let ours = self.ours.get(&minute).and_then(|used| used.get(&of)).copied().unwrap_or_default();
                Some((all - ours).max(0.0) / 60.0)
            })
            .take(BUSIEST_OF)
            .fold(0.0, f64::max)
    }

    /// Asks `CloudWatch`, and tells the pacer.
    async fn look(&mut self, session: &Session<'_>, at: Written<'_>, pacer: &Pacer) {
        let indexes: Vec<String> = self.noted.1.keys().flatten().cloned().collect();
        let mut queries = vec![Query::table_sum("ConsumedWriteCapacityUnits", at.table)];
        for index in &indexes {
            let mut query = Query::table_sum("ConsumedWriteCapacityUnits", at.table);
            query.dimensions.push(("GlobalSecondaryIndexName", index.clone()));
            queries.push(query);
        }
        let now = now_ms();
        let from = now.div_euclid(MINUTE_MS) * MINUTE_MS - 10 * MINUTE_MS;
        match metrics::series(at.cloud, &queries, from, now, 60).await {
            Ok(series) => {
                self.is_blind = false;
                let of = |n: usize| series.get(n).map_or(&[][..], Vec::as_slice);
                let others = self.others(now, None, of(0));
                let in_index = |(n, name): (usize, &String)| (name.clone(), self.others(now, Some(name), of(n + 1)));
                let others_of_indexes = indexes.iter().enumerate().map(in_index).collect();
                pacer.set_left(Some(Left { share: self.share, others, others_of_indexes }));
            }
            Err(error) if !self.is_blind => {
                self.is_blind = true;
                session.note(
                    "warn",
                    &format!(
                        "what others use of {} can't be seen, so our own use alone stays below {:.0} %: {error}",
                        at.table,
                        (1.0 - self.share) * 100.0
                    ),
                );
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_000 * MINUTE_MS;

    fn snapshot(table: f64, index: f64) -> PacerSnapshot {
        PacerSnapshot {
            consumed_by_table: table,
            consumed_by_index: vec![("i".into(), index)],
            ..PacerSnapshot::default()
        }
    }

    /// We write 100 WCU/s, and 50 in the index, from noon on, noted every 7 s for five minutes.
    fn five_minutes() -> Neighbours {
        let mut neighbours = Neighbours::new(0.2, NOON);
        for n in 0..=43 {
            let seconds = (n * 7).min(300);
            neighbours.note(NOON + seconds * 1_000, &snapshot(seconds as f64 * 100.0, seconds as f64 * 50.0));
        }
        neighbours
    }

    #[test]
    fn others_are_all_less_ours_in_the_same_minutes() {
        let neighbours = five_minutes();
        let points: Vec<Point> = (0..5).map(|n| (NOON + n * MINUTE_MS, 60.0 * 410.0)).collect();
        let others = neighbours.others(NOON + 300_000, None, &points);
        assert!((others - 310.0).abs() < 0.5, "{others}");
        let in_index = neighbours.others(NOON + 300_000, Some("i"), &points);
        assert!((in_index - 360.0).abs() < 0.5, "{in_index}");
    }

    #[test]
    fn a_minute_that_is_not_there_yet_is_not_empty_and_one_that_never_comes_is() {
        let neighbours = five_minutes();
        // The last two minutes are late.
        let points: Vec<Point> = (0..3).map(|n| (NOON + n * MINUTE_MS, 60.0 * 400.0)).collect();
        let others = neighbours.others(NOON + 300_000, None, &points);
        assert!((others - 300.0).abs() < 0.5, "{others}");
        // Half an hour without traffic of anybody.
        assert_eq!(Neighbours::new(0.2, NOON).others(NOON + 30 * MINUTE_MS, None, &points), 0.0);
    }

    #[test]
    fn before_we_wrote_anything_all_traffic_is_others() {
        let neighbours = Neighbours::new(0.2, NOON);
        let points = [(NOON - 2 * MINUTE_MS, 6_000.0), (NOON - MINUTE_MS, 60.0 * 310.0)];
        assert_eq!(neighbours.others(NOON, None, &points), 310.0);
    }

    #[test]
    fn the_busiest_of_the_last_minutes_counts() {
        let neighbours = Neighbours::new(0.2, NOON);
        let points = [1, 2, 3, 4].map(|n: i64| (NOON - n * MINUTE_MS, 600.0 * n as f64));
        assert_eq!(neighbours.others(NOON, None, &points), 30.0);
    }
}
