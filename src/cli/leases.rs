//! `sluice leases`: who holds which shard of a stream, as the lease table has it.

use clap::Args;
use serde_json::json;

use super::print::{self, Columns, Side};
use super::report::{Exit, Report};
use super::session::Session;
use super::watch::WatchArgs;
use crate::cloud::Cloud;
use crate::flow::leases::{self, Lease};

/// Which leases.
#[derive(Debug, Args)]
pub struct LeasesArgs {
    /// The lease table, as `sluice work --lease-table` or a KCL application names it.
    #[arg(add = super::complete::tables())]
    pub table: String,
    /// Repeat.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// Prints them.
pub async fn run(args: &LeasesArgs, session: &Session) -> Result<Exit, Report> {
    let cloud = session.reading().await?;
    args.watch.repeat(session.global.json, || show(&args.table, session, &cloud)).await
}

async fn show(table: &str, session: &Session, cloud: &Cloud) -> Result<(), Report> {
    let mut all = session.answered(leases::list(&cloud.dynamodb, table)).await?;
    all.sort_by(|a, b| a.shard.cmp(&b.shard));
    if session.global.json {
        return all.iter().try_for_each(|lease| {
            print::json(&json!({
                "shard": lease.shard, "stream": lease.stream, "owner": lease.owner, "leaving": lease.leaving,
                "counter": lease.counter, "checkpoint": lease.checkpoint.to_string(), "sub_sequence": lease.sub,
                "owner_switches": lease.switches, "parents": lease.parents, "children": lease.children,
                "kb_per_second": lease.kb_per_second, "ended": lease.has_ended(),
            }))
        });
    }
    if all.is_empty() {
        return print::line(&format!("{table} holds no lease yet: its workers write them when they begin"));
    }
    print::columns(&as_columns(&all))?;
    let owners: std::collections::BTreeSet<&String> = all.iter().filter_map(|lease| lease.owner.as_ref()).collect();
    let ended = all.iter().filter(|lease| lease.has_ended()).count();
    let free = all.iter().filter(|lease| lease.owner.is_none() && !lease.has_ended()).count();
    print::line(&format!("{} leases: {} workers, {free} free, {ended} ended", all.len(), owners.len()))
}

fn as_columns(all: &[Lease]) -> Columns {
    let mut columns = Columns::new(&[
        ("SHARD", Side::Left),
        ("OWNER", Side::Left),
        ("LEAVING", Side::Left),
        ("COUNTER", Side::Right),
        ("SWITCHES", Side::Right),
        ("KB/S", Side::Right),
        ("CHECKPOINT", Side::Left),
    ]);
    let or_dash = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
    for lease in all {
        columns.row(&[
            lease.shard.clone(),
            or_dash(lease.owner.as_ref()),
            or_dash(lease.leaving.as_ref()),
            lease.counter.to_string(),
            lease.switches.to_string(),
            format!("{:.1}", lease.kb_per_second),
            lease.checkpoint.to_string(),
        ]);
    }
    columns
}
