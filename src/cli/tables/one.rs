//! One table: what it has, what is used of it and of its indexes, and its charts as numbers, a line a minute.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::capacity::{Decreases, Resource};
use crate::cli::minutes::{self, Window};
use crate::cli::print::{self, Columns, Side, rate, time};
use crate::cli::report::Report;
use crate::cli::session::Session;
use crate::cloud::inventory::{self, Provisioned, Table};
use crate::cloud::metrics::{self, Point, Query};
use crate::cloud::{Cloud, CloudError, price};
use crate::event::Layout;
use crate::jobs::journal::{Bump, now_ms};

/// One period of a table or an index. What was not measured is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Minute {
    /// Its start.
    time: String,
    /// Null is the table itself.
    index: Option<String>,
    /// Its length, s.
    seconds: i32,
    /// WCU a second.
    consumed_write: Option<f64>,
    provisioned_write: Option<f64>,
    /// Refused a second.
    throttled_writes: Option<f64>,
    /// RCU a second.
    consumed_read: Option<f64>,
    provisioned_read: Option<f64>,
    throttled_reads: Option<f64>,
}

/// What one index, or the table itself (`None`), did over the window.
struct Lines {
    index: Option<String>,
    series: Vec<Vec<Point>>,
}

/// Prints it, with the last `over` minute by minute.
pub async fn show(name: &str, over: Duration, session: &Session, cloud: &Cloud, row: Value) -> Result<(), Report> {
    let table = session.answered(inventory::table(cloud, name)).await?;
    session.remember(|seen| seen.describe_tables([table.clone()]));
    let now = now_ms();
    let window = Window::before(now, over);
    // Without CloudWatch the table is still there.
    let lines = match lines(cloud, &table, window).await {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("warning: {error}");
            Vec::new()
        }
    };
    let told: Vec<Minute> = lines.iter().flat_map(|of| measured(of, window.period_s)).collect();
    let journal = session.journal_if_any()?;
    let place = cloud.place();
    let bump = |index: Option<&str>| -> Result<Option<Bump>, Report> {
        let resource = Resource::of_table(&table.name, index);
        Ok(journal.as_ref().map(|journal| journal.open_bump(&place, &resource)).transpose()?.flatten())
    };
    if session.global.json {
        return print::json(&as_json(row, &table, &told, bump)?);
    }
    print::line(&facts(&table))?;
    let mut columns = Columns::new(&[
        ("OF", Side::Left),
        ("STATUS", Side::Left),
        ("USED WCU/S", Side::Right),
        ("WCU", Side::Right),
        ("USED RCU/S", Side::Right),
        ("RCU", Side::Right),
        ("THROTTLED/S", Side::Right),
        ("DECREASES LEFT", Side::Right),
        ("GIVE BACK TO", Side::Right),
    ]);
    let own = std::iter::once((None, table.provisioned, &table.status));
    let indexes = table.indexes.iter().map(|i| (Some(i.name.as_str()), i.provisioned, &i.status));
    for (index, capacity, status) in own.chain(indexes) {
        let last = told.iter().rev().find(|minute| minute.index.as_deref() == index && minute.consumed_write.is_some());
        let units = |of: fn(Provisioned) -> u64| capacity.map_or("on demand".to_owned(), |c| print::grouped(of(c)));
        let refused = last.map(|m| m.throttled_writes.unwrap_or(0.0) + m.throttled_reads.unwrap_or(0.0));
        columns.row(&[
            index.unwrap_or("the table").to_owned(),
            status.clone(),
            rate(last.and_then(|m| m.consumed_write)),
            units(|c| c.write),
            rate(last.and_then(|m| m.consumed_read)),
            units(|c| c.read),
            rate(refused),
            capacity.map_or_else(String::new, |c| Decreases::from(c).left(now).now.to_string()),
            bump(index)?.map_or("-".to_owned(), |b| print::grouped(b.before)),
        ]);
    }
    print::columns(&columns)?;
    minutes::show(&chart(&told), told.is_empty())
}

fn key_words(table: &Table) -> String {
    let key = [Some(&table.key.partition), table.key.sort.as_ref()];
    let words: Vec<String> = key.into_iter().flatten().map(|a| format!("{} ({:?})", a.name, a.kind)).collect();
    words.join(", ")
}

/// What the table and its indexes cost in an hour; `None` on demand.
fn dollars(table: &Table) -> Option<f64> {
    let all = std::iter::once(table.provisioned).chain(table.indexes.iter().map(|index| index.provisioned));
    let cost = |p: Provisioned| price::write_dollars_per_hour(p.write) + price::read_dollars_per_hour(p.read);
    table.provisioned.map(|_| all.flatten().map(cost).sum())
}

fn facts(table: &Table) -> String {
    let mut words = format!(
        "{}  {}  items {}  bytes {}  key {}  stream {}",
        table.name,
        table.status,
        print::grouped(table.items),
        print::grouped(table.bytes),
        key_words(table),
        table.stream.as_deref().unwrap_or("none"),
    );
    if let Some(dollars) = dollars(table) {
        words = format!("{words}  ${dollars:.4} an hour");
    }
    if let Some(layout) = Layout::of_key(&table.key) {
        words = format!("{words}  events, {layout} layout");
    }
    print::shown(&words)
}

async fn lines(cloud: &Cloud, table: &Table, window: Window) -> Result<Vec<Lines>, CloudError> {
    let of: Vec<Option<String>> =
        std::iter::once(None).chain(table.indexes.iter().map(|index| Some(index.name.clone()))).collect();
    let queries: Vec<Query> = of
        .iter()
        .flat_map(|index| {
            metrics::TABLE_METRICS.map(|(metric, stat)| Query::of_table(metric, &table.name, index.as_deref(), stat))
        })
        .collect();
    let mut series = metrics::series(cloud, &queries, window.from_ms, window.to_ms, window.period_s).await?.into_iter();
    Ok(of
        .into_iter()
        .map(|index| Lines { index, series: series.by_ref().take(metrics::TABLE_METRICS.len()).collect() })
        .collect())
}

/// The periods in which something was measured, oldest first.
fn measured(of: &Lines, period: i32) -> Vec<Minute> {
    let times = minutes::times(&of.series);
    let at = |metric: usize, time: i64| minutes::at(of.series.get(metric)?, time);
    let per_second = |metric: usize, time: i64| at(metric, time).map(|sum| sum / f64::from(period));
    let minute = |at_ms: i64| Minute {
        time: time(at_ms),
        index: of.index.clone(),
        seconds: period,
        consumed_write: per_second(0, at_ms),
        consumed_read: per_second(1, at_ms),
        throttled_writes: per_second(2, at_ms),
        throttled_reads: per_second(3, at_ms),
        provisioned_write: at(4, at_ms),
        provisioned_read: at(5, at_ms),
    };
    times.into_iter().map(minute).collect()
}

fn chart(told: &[Minute]) -> Columns {
    let mut columns = Columns::new(&[
        ("TIME (UTC)", Side::Left),
        ("OF", Side::Left),
        ("USED WCU/S", Side::Right),
        ("WCU", Side::Right),
        ("THROTTLED/S", Side::Right),
        ("USED RCU/S", Side::Right),
        ("RCU", Side::Right),
        ("THROTTLED/S", Side::Right),
    ]);
    for minute in told {
        columns.row(&[
            minutes::start(&minute.time),
            minute.index.clone().unwrap_or_else(|| "the table".to_owned()),
            rate(minute.consumed_write),
            rate(minute.provisioned_write),
            rate(minute.throttled_writes),
            rate(minute.consumed_read),
            rate(minute.provisioned_read),
            rate(minute.throttled_reads),
        ]);
    }
    columns
}

fn as_json(
    mut row: Value,
    table: &Table,
    minutes: &[Minute],
    bump: impl Fn(Option<&str>) -> Result<Option<Bump>, Report>,
) -> Result<Value, Report> {
    let left = table.provisioned.map(|capacity| Decreases::from(capacity).left(now_ms()));
    row["key"] = json!(table.key);
    row["dollars_per_hour"] = json!(dollars(table));
    row["decreases_left"] = json!(left.map(|left| left.now));
    row["give_back_to"] = json!(bump(None)?.map(|bump| bump.before));
    row["event_layout"] = json!(Layout::of_key(&table.key).map(|layout| format!("{layout}")));
    for (i, index) in table.indexes.iter().enumerate() {
        row["indexes"][i]["give_back_to"] = json!(bump(Some(&index.name))?.map(|bump| bump.before));
    }
    row["minutes"] = json!(minutes);
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_that_cloudwatch_has_nothing_of_is_left_out_and_a_value_that_it_lacks_is_none() {
        let series = vec![vec![(60_000, 600.0)], vec![], vec![(120_000, 30.0)], vec![], vec![(60_000, 130.0)], vec![]];
        let minutes = measured(&Lines { index: None, series }, 60);
        assert_eq!(minutes.len(), 2);
        assert_eq!((minutes[0].consumed_write, minutes[0].provisioned_write), (Some(10.0), Some(130.0)));
        assert_eq!((minutes[1].consumed_write, minutes[1].throttled_writes), (None, Some(0.5)));
    }
}
