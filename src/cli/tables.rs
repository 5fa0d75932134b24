//! `sluice tables`: what the console's first screen shows, as rows.

use std::time::Duration;

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::print::{self, Columns, Side};
use super::report::{Exit, Report};
use super::session::Session;
use super::watch::WatchArgs;
use crate::cloud::inventory::{self, Table};
use crate::cloud::metrics::{self, Query};
use crate::cloud::{Cloud, CloudError};
use crate::event::Layout;
use crate::jobs::journal::now_ms;

mod one;

/// All tables, or one.
#[derive(Debug, Args)]
pub struct TablesArgs {
    /// Only this one, with its indexes, and its charts as numbers.
    #[arg(add = super::complete::tables())]
    pub name: Option<String>,
    /// How far back the charts of one table go.
    #[arg(long, value_name = "TIME", default_value = "15m", requires = "name", value_parser = humantime::parse_duration)]
    pub over: Duration,
    /// Only event tables: those that `sluice pump` writes and `sluice playback` reads.
    #[arg(long, conflicts_with = "name")]
    pub events: bool,
    /// Repeat.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// How many tables are described at once: `DescribeTable` is limited per account.
const AT_ONCE: usize = 8;

/// A table as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    table: String,
    status: String,
    items: u64,
    bytes: u64,
    /// `PROVISIONED` or `PAY_PER_REQUEST`.
    billing: &'static str,
    /// RCU; null on demand.
    read_capacity: Option<u64>,
    /// WCU; null on demand.
    write_capacity: Option<u64>,
    /// WCU per second in the latest complete minute; null when `CloudWatch` could not be read.
    consumed_write: Option<f64>,
    /// Throttled writes per second in the latest complete minute.
    throttled: Option<f64>,
    /// What the table's stream carries; null without one.
    stream: Option<String>,
    indexes: Vec<IndexRow>,
    /// `ordered` or `original`; only where event tables were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_layout: Option<String>,
}

#[derive(Debug, Serialize)]
struct IndexRow {
    index: String,
    status: String,
    read_capacity: Option<u64>,
    write_capacity: Option<u64>,
}

impl Row {
    fn of(table: Table, load: Option<(f64, f64)>) -> Self {
        Self {
            status: table.status,
            items: table.items,
            bytes: table.bytes,
            billing: if table.provisioned.is_some() { "PROVISIONED" } else { "PAY_PER_REQUEST" },
            read_capacity: table.provisioned.map(|p| p.read),
            write_capacity: table.provisioned.map(|p| p.write),
            consumed_write: load.map(|(consumed, _)| consumed),
            throttled: load.map(|(_, throttled)| throttled),
            stream: table.stream,
            indexes: table
                .indexes
                .into_iter()
                .map(|index| IndexRow {
                    index: index.name,
                    status: index.status,
                    read_capacity: index.provisioned.map(|p| p.read),
                    write_capacity: index.provisioned.map(|p| p.write),
                })
                .collect(),
            event_layout: None,
            table: table.name,
        }
    }
}

/// Prints every table, or one.
pub async fn run(args: TablesArgs, session: &Session) -> Result<Exit, Report> {
    let cloud = session.reading().await?;
    let json = session.global.json;
    match &args.name {
        Some(name) => args.watch.repeat(json, || show_one(name, args.over, session, &cloud)).await,
        None => args.watch.repeat(json, || show(args.events, session, &cloud)).await,
    }
}

async fn show_one(name: &str, over: Duration, session: &Session, cloud: &Cloud) -> Result<(), Report> {
    let row = if session.global.json {
        let table = session.answered(inventory::table(cloud, name)).await?;
        let load = load(cloud, std::slice::from_ref(&table)).await.ok().and_then(|mut loads| loads.pop().flatten());
        serde_json::to_value(Row::of(table, load)).unwrap_or_default()
    } else {
        serde_json::Value::Null
    };
    one::show(name, over, session, cloud, row).await
}

async fn show(events: bool, session: &Session, cloud: &Cloud) -> Result<(), Report> {
    let names = session.answered(inventory::table_names(cloud)).await?;
    let mut tables: Vec<Table> = session
        .answered(
            futures::stream::iter(&names).map(|name| inventory::table(cloud, name)).buffered(AT_ONCE).try_collect(),
        )
        .await?;
    session.remember(|seen| {
        seen.region.clone_from(&cloud.region);
        seen.list_tables(names.clone(), now_ms());
        seen.describe_tables(tables.iter().cloned());
    });
    if events {
        tables.retain(|table| Layout::of_key(&table.key).is_some());
    }
    let loads = load(cloud, &tables).await.unwrap_or_else(|error| {
        eprintln!("warning: {error}");
        vec![None; tables.len()]
    });
    let row = |(table, load): (Table, _)| {
        let layout = Layout::of_key(&table.key).filter(|_| events).map(|layout| format!("{layout}"));
        Row { event_layout: layout, ..Row::of(table, load) }
    };
    let rows: Vec<Row> = tables.into_iter().zip(loads).map(row).collect();
    if session.global.json {
        return rows.iter().try_for_each(print::json);
    }
    if rows.is_empty() && events {
        return print::line(&format!("no event tables in {}: sluice pump --create-tables makes them", cloud.region));
    }
    if rows.is_empty() {
        return print::line(&format!(
            "no tables in {}: pass another --region or --profile, or run sluice demo",
            cloud.region
        ));
    }
    print::columns(&as_columns(&rows))
}

/// Consumed WCU and throttled writes per second of each table, in the latest complete minute that has any.
async fn load(cloud: &Cloud, tables: &[Table]) -> Result<Vec<Option<(f64, f64)>>, CloudError> {
    let queries: Vec<Query> = tables
        .iter()
        .flat_map(|table| {
            ["ConsumedWriteCapacityUnits", "WriteThrottleEvents"].map(|metric| Query::table_sum(metric, &table.name))
        })
        .collect();
    let to = now_ms() / 60_000 * 60_000;
    let series = metrics::series(cloud, &queries, to - 180_000, to, 60).await?;
    let per_second = |points: &Vec<metrics::Point>| points.last().map_or(0.0, |(_, sum)| sum / 60.0);
    Ok(series.chunks(2).map(|pair| Some((per_second(&pair[0]), per_second(&pair[1])))).collect())
}

fn as_columns(rows: &[Row]) -> Columns {
    let mut columns = Columns::new(&[
        ("TABLE", Side::Left),
        ("STATUS", Side::Left),
        ("ITEMS", Side::Right),
        ("BYTES", Side::Right),
        ("RCU", Side::Right),
        ("WCU", Side::Right),
        ("USED WCU/S", Side::Right),
        ("THROTTLED/S", Side::Right),
        ("STREAM", Side::Left),
    ]);
    for row in rows {
        let capacity = |units: Option<u64>| units.map_or_else(|| "on demand".to_owned(), print::grouped);
        let rate = |rate: Option<f64>| rate.map_or_else(|| "?".to_owned(), |rate| format!("{rate:.1}"));
        columns.row(&[
            row.event_layout.as_ref().map_or_else(|| row.table.clone(), |layout| format!("{} ({layout})", row.table)),
            row.status.clone(),
            print::grouped(row.items),
            print::grouped(row.bytes),
            capacity(row.read_capacity),
            capacity(row.write_capacity),
            rate(row.consumed_write),
            rate(row.throttled),
            row.stream.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
        for index in &row.indexes {
            columns.row(&[
                format!("  {}", index.index),
                index.status.clone(),
                String::new(),
                String::new(),
                capacity(index.read_capacity),
                capacity(index.write_capacity),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::inventory::Provisioned;
    use crate::item::{KeyAttr, KeyKind, KeySchema};

    #[test]
    fn a_table_is_printed_with_the_fields_that_scripts_rely_on() {
        let table = Table {
            name: "quotes".into(),
            status: "ACTIVE".into(),
            items: 7,
            bytes: 900,
            provisioned: Some(Provisioned { read: 10, write: 130, ..Provisioned::default() }),
            indexes: Vec::new(),
            stream: None,
            key: KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None },
        };
        assert_eq!(
            print::to_json(&Row::of(table, Some((12.5, 0.0)))),
            r#"{"table":"quotes","status":"ACTIVE","items":7,"bytes":900,"billing":"PROVISIONED","read_capacity":10,"write_capacity":130,"consumed_write":12.5,"throttled":0.0,"stream":null,"indexes":[]}"#
        );
    }
}
