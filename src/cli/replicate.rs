//! `sluice replicate`: a table kept equal in another table or in BigQuery.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;

use super::control::{Brakes, per_second};
use super::print;
use super::progress;
use super::report::{Exit, Report};
use super::resume;
use super::session::Session;
use super::work::from;
use crate::cloud::guard::NoWitness;
use crate::cloud::{Cloud, Guard, Mode};
use crate::flow::StartAt;
use crate::item::ShapeSpec;
use crate::jobs::replicate::{already, plan, running, source::Needed};
use crate::jobs::{
    BigQueryTarget, Bootstrap, Ended, Kind, ReplicaTarget, ReplicateSpec, Spec, TableTarget, TwoWay, start_detached,
};

/// Which table, into what, and how.
// Each is a switch of its own on the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, Default, Args)]
pub struct ReplicateArgs {
    /// The table whose changes are replicated.
    #[arg(add = super::complete::tables(), short, long, value_name = "TABLE", env = "TABLE_NAME")]
    pub table: String,
    /// The table that they go into.
    #[arg(add = super::complete::tables(), long, value_name = "TABLE", required_unless_present = "to_bigquery")]
    pub to: Option<String>,
    /// Its region [else the source's, or that of --to-profile]
    #[arg(long, value_name = "REGION", requires = "to")]
    pub to_region: Option<String>,
    /// The profile that reaches it, in another account or through a chain of roles [else the source's]
    #[arg(add = super::complete::profiles(), long, value_name = "NAME", requires = "to")]
    pub to_profile: Option<String>,
    /// Its endpoint [else AWS's of its region; the source's where only --to is given]
    #[arg(long, value_name = "URL", requires = "to")]
    pub to_endpoint_url: Option<String>,
    /// Make the table if it is not there: key, indexes, TTL, tags, billing and throughput of the source.
    #[arg(long, requires = "to")]
    pub create: bool,
    /// Keep the replica in this table of BigQuery instead.
    #[arg(long, value_name = "PROJECT.DATASET.TABLE", conflicts_with = "to")]
    pub to_bigquery: Option<String>,
    /// Of BigQuery: a row for each change instead of a row for each item.
    #[arg(long, requires = "to_bigquery")]
    pub append_only: bool,
    /// Of BigQuery: attributes that have no column go into this JSON column [else each gets a column]
    #[arg(long, value_name = "COLUMN", requires = "to_bigquery")]
    pub unknown_into: Option<String>,
    /// Of BigQuery: how old what a query sees may be at most, such as 15m, for a table that is made [else always fresh]
    #[arg(long, value_name = "TIME", requires = "to_bigquery", value_parser = humantime::parse_duration)]
    pub max_staleness: Option<std::time::Duration>,
    /// Of BigQuery: where the dataset is made if it is not there, such as EU.
    #[arg(long, value_name = "LOCATION", requires = "to_bigquery")]
    pub location: Option<String>,
    /// Of BigQuery: a file with Google credentials [else the environment's]
    #[arg(long, value_name = "FILE", requires = "to_bigquery")]
    pub google_credentials: Option<String>,
    /// Of BigQuery: endpoint of the REST API, such as an emulator's [else `BIGQUERY_EMULATOR_HOST`, else Google's]
    #[arg(long, value_name = "URL", requires = "to_bigquery")]
    pub bigquery_endpoint: Option<String>,
    /// Of BigQuery: endpoint of the Storage Write API (gRPC), such as an emulator's [else Google's]
    #[arg(long, value_name = "URL", requires = "to_bigquery")]
    pub bigquery_grpc_endpoint: Option<String>,
    /// What of the items that are there already: scan copies them while the changes are read, none leaves them.
    #[arg(long, value_name = "HOW", default_value = "scan", value_parser = bootstrap)]
    pub bootstrap: Bootstrap,
    /// Copy everything again and remove what the source does not have: after changes were lost.
    #[arg(long)]
    pub rebootstrap: bool,
    /// With --bootstrap none and no checkpoint: where the changes begin, as `sluice work --from` has it [else the oldest
    /// that the stream holds]
    #[arg(long, value_name = "WHERE", value_parser = from)]
    pub from: Option<StartAt>,
    /// End once everything that changed before is in the replica.
    #[arg(long)]
    pub until_caught_up: bool,
    /// Changes go both ways; who wins where both sides changed an item: last-writer:ATTRIBUTE or arrival.
    #[arg(long, value_name = "RULE", requires = "to")]
    pub two_way: Option<TwoWay>,
    /// Items that expire in the source stay in the replica.
    #[arg(long)]
    pub skip_ttl_deletes: bool,
    /// End a stream that carries too little (`KEYS_ONLY`, `OLD_IMAGE`), and begin another one.
    #[arg(long)]
    pub switch_stream: bool,
    /// Only items for which this jq expression is true; one that no longer passes leaves the replica.
    #[arg(long, value_name = "JQ")]
    pub filter: Option<String>,
    /// Give an attribute a value, `NAME=JQ` or `NAME:TYPE=JQ`.
    #[arg(long, value_name = "NAME=JQ")]
    pub set: Vec<String>,
    /// Give an attribute another name.
    #[arg(long, value_name = "OLD=NEW")]
    pub rename: Vec<String>,
    /// What it is held to in the replica.
    #[command(flatten)]
    pub brakes: Brakes,
    /// Read capacity of the source that the bootstrap may consume, RCU a second [else half of what is provisioned]
    #[arg(long, value_name = "RCU", value_parser = per_second)]
    pub read_budget: Option<f64>,
    /// Parts that the bootstrap reads at the same time [else by the table's size]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub segments: Option<u32>,
    /// Compare replica and source beside the work, reading at most so much of both, RCU a second, and of neither more than
    /// a tenth of what it has; off leaves it to `sluice verify --job`.
    #[arg(long, value_name = "RCU|off", default_value = "5", value_parser = audit)]
    pub audit_rcu: Audit,
    /// Print what it will take and what is done to streams first, and change nothing.
    #[arg(long, conflicts_with = "detach")]
    pub plan: bool,
    /// Start it and come back at once; `sluice jobs` shows how it goes.
    #[arg(long)]
    pub detach: bool,
}

fn bootstrap(text: &str) -> Result<Bootstrap, String> {
    match text {
        "scan" => Ok(Bootstrap::Scan),
        "none" => Ok(Bootstrap::None),
        _ => Err(format!("{text:?} is no way to begin: write scan or none")),
    }
}

/// What the audit beside the work may read, RCU a second; `None` is no audit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Audit(pub Option<f64>);

fn audit(text: &str) -> Result<Audit, String> {
    if text == "off" { Ok(Audit(None)) } else { per_second(text).map(|rcu| Audit(Some(rcu))) }
}

impl ReplicateArgs {
    /// The job that these options ask for.
    pub(super) fn spec(&self) -> Result<ReplicateSpec, Report> {
        let target = match (&self.to, &self.to_bigquery) {
            (Some(table), _) => ReplicaTarget::Table(TableTarget {
                table: table.clone(),
                region: self.to_region.clone(),
                profile: self.to_profile.clone(),
                endpoint_url: self.to_endpoint_url.clone(),
            }),
            (None, Some(named)) => ReplicaTarget::BigQuery(self.bigquery(named)?),
            (None, None) => {
                return Err(Report::bad_arguments("no target is named", "pass --to TABLE or --to-bigquery P.D.T"));
            }
        };
        Ok(ReplicateSpec {
            table: self.table.clone(),
            target,
            create: self.create,
            bootstrap: self.bootstrap,
            from: self.from.clone(),
            rebootstrap: self.rebootstrap,
            until_caught_up: self.until_caught_up,
            two_way: self.two_way.clone(),
            skip_ttl_deletes: self.skip_ttl_deletes,
            may_change_stream: false,
            switch_stream: self.switch_stream,
            shape: ShapeSpec {
                filter: self.filter.clone(),
                rename: self.rename.clone(),
                set: self.set.clone(),
                ..ShapeSpec::default()
            },
            rate: self.brakes.rate,
            max_wcu: self.brakes.max_wcu,
            leave: self.brakes.leave,
            read_budget: self.read_budget,
            segments: self.segments,
            audit_rcu: if self.to.is_some() { self.audit_rcu.0 } else { None },
        })
    }

    #[cfg(not(feature = "bigquery"))]
    fn bigquery(&self, _: &str) -> Result<BigQueryTarget, Report> {
        Err(Report::bad_arguments("this build knows no BigQuery", "it was made without the feature bigquery"))
    }

    #[cfg(feature = "bigquery")]
    fn bigquery(&self, named: &str) -> Result<BigQueryTarget, Report> {
        let id =
            crate::bigquery::TableId::parse(named).map_err(|error| Report::bad_arguments(error.to_string(), ""))?;
        let emulator = || std::env::var("BIGQUERY_EMULATOR_HOST").ok().filter(|host| !host.is_empty());
        let (rest, grpc) = (self.bigquery_endpoint.clone().or_else(emulator), self.bigquery_grpc_endpoint.clone());
        // Half an emulator would send the other half to Google.
        if rest.is_some() != grpc.is_some() && !(self.append_only && grpc.is_none()) {
            return Err(Report::bad_arguments(
                "only one endpoint of BigQuery is named",
                "name both, --bigquery-endpoint (or BIGQUERY_EMULATOR_HOST) and --bigquery-grpc-endpoint, or none",
            ));
        }
        if self.rebootstrap {
            return Err(Report::bad_arguments(
                "--rebootstrap can't repair a table of BigQuery: its rows would lose against those of earlier changes",
                "replicate into a table of another name, and drop this one when that is through",
            ));
        }
        if let Some(column) = &self.unknown_into
            && crate::bigquery::column_name(column).as_ref() != Some(column)
        {
            return Err(Report::bad_arguments(
                format!("{column:?} is no name of a column"),
                "letters, digits and underscores",
            ));
        }
        Ok(BigQueryTarget {
            project: id.project,
            dataset: id.dataset,
            table: id.table,
            append_only: self.append_only,
            json_column: self.unknown_into.clone(),
            max_staleness_s: self.max_staleness.map(|staleness| staleness.as_secs()),
            location: self.location.clone(),
            credentials: self.google_credentials.as_deref().map(super::restore::absolute).transpose()?,
            rest_endpoint: rest,
            grpc_endpoint: grpc,
        })
    }
}

/// Starts a replica, or goes on with it.
pub async fn run(args: ReplicateArgs, session: &Session) -> Result<Exit, Report> {
    match session.mode() {
        Mode::ReadOnly if !args.plan => {
            return Err(Report::failed(
                "a replica is written, and read-only mode refuses that",
                "start without --read-only, or see what it would take with --plan",
            ));
        }
        Mode::DryRun if args.detach => {
            return Err(Report::bad_arguments("a detached replica writes", "leave out --detach along with --dry-run"));
        }
        _ => {}
    }
    let mut spec = args.spec()?;
    crate::item::Shape::new(&spec.shape).map_err(|error| Report::bad_arguments(error.to_string(), ""))?;
    let cloud = session.reading().await?;
    let there = match &spec.target {
        ReplicaTarget::Table(target) => {
            let context = target.context(&cloud.place());
            let guard = Guard::new(Mode::ReadOnly, std::sync::Arc::new(NoWitness));
            Some(Cloud::connect(&context, guard).await?)
        }
        ReplicaTarget::BigQuery(_) => None,
    };
    // A dry run goes on nowhere: its journal is its own.
    let journal = if session.mode() == Mode::DryRun { None } else { session.journal_if_any()? };
    let looked = plan::look(&cloud, there.as_ref(), &spec, journal.as_ref());
    let planned = session.answered(looked).await?;
    if args.plan {
        return show(&planned, session);
    }
    agree(&mut spec, &planned, &cloud, there.as_ref(), session).await?;
    let (session, _folder) = &session.for_a_job(cloud.place())?;
    let journal = session.journal()?;
    if let Some(id) = running(&journal, &cloud.place(), &spec, None)? {
        return Err(Report::failed(already(&spec, Some(&id)), ""));
    }
    let spec = Spec::Replicate(spec);
    if args.detach {
        let id = start_detached(&journal, &spec, &session.context, None)?;
        return resume::started(&id, Kind::Replicate, session);
    }
    let id = journal.create_job(&spec, &session.context, None)?;
    drop(journal);
    progress::run(session, &id, Kind::Replicate).await.map(|(exit, _)| exit)
}

/// Says what is done to streams and what to beware of, and asks.
async fn agree(
    spec: &mut ReplicateSpec,
    planned: &plan::Plan,
    cloud: &Cloud,
    there: Option<&Cloud>,
    session: &Session,
) -> Result<(), Report> {
    let mut needed = vec![plan::needed(cloud, &spec.table, spec).await?];
    if let (Some(_), ReplicaTarget::Table(target), Some(there)) = (&spec.two_way, &spec.target, there) {
        needed.push(plan::needed(there, &target.table, spec).await.unwrap_or(Needed::Nothing));
    }
    if needed.iter().any(|needed| matches!(needed, Needed::Switch { .. })) && !spec.switch_stream {
        return Err(Report::failed(planned.streams.join("\n"), "nothing was done: --switch-stream does that"));
    }
    for words in planned.streams.iter().chain(&planned.warnings) {
        eprintln!("{}", print::shown(words));
    }
    let asks = !planned.streams.is_empty() || planned.outlasts_the_stream();
    if asks && !session.global.yes && session.mode() == Mode::Normal {
        if !std::io::stdin().is_terminal() {
            return Err(Report::bad_arguments("nobody is there to agree to that", "pass --yes"));
        }
        eprint!("go on? [y/N] ");
        std::io::stderr().flush().ok();
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).ok();
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Report::failed("nothing was changed", ""));
        }
    }
    spec.may_change_stream = !planned.streams.is_empty();
    Ok(())
}

fn show(plan: &plan::Plan, session: &Session) -> Result<Exit, Report> {
    if session.global.json {
        print::json(plan)?;
        return Ok(Exit::Done);
    }
    let grouped = |n: f64| print::grouped(n.round() as u64);
    print::line(&plan.replica)?;
    if plan.bootstrap {
        print::line(&format!("  copies {} items, {} bytes", print::grouped(plan.items), print::grouped(plan.bytes)))?;
        let budget = plan.read_budget.map_or("no cap".to_owned(), |rcu| format!("{} RCU/s", grouped(rcu)));
        print::line(&format!(
            "  reads  {} RCU at {budget}: {}",
            grouped(plan.rcu),
            print::duration(plan.read_seconds)
        ))?;
        if let Some(capacity) = plan.write_capacity {
            let seconds = print::duration(plan.write_seconds);
            print::line(&format!("  writes {} WCU at {} WCU/s: {seconds}", grouped(plan.wcu), grouped(capacity)))?;
        }
        print::line("  the stream keeps a change for 24 h; both counts are the service's, up to six hours old")?;
    } else if plan.goes_on {
        print::line("  goes on where the last run stopped")?;
    } else {
        print::line("  copies nothing: --bootstrap none")?;
    }
    for words in plan.streams.iter().chain(&plan.warnings) {
        print::line(&format!("  {}", print::shown(words)))?;
    }
    Ok(Exit::Done)
}

/// How a replica ended, in words.
pub fn in_words(ended: &Ended, report: &serde_json::Value) -> String {
    let of = |from: &serde_json::Value, field: &str| print::grouped(from[field].as_u64().unwrap_or_default());
    let (all, kinds) = (|field: &str| of(report, field), |field: &str| of(&report["changes"], field));
    format!(
        "replicate {} done: {} written, {} deleted, {} skipped, {} dead in {}\n  read: {} inserted, {} modified, {} removed ({} \
         expired), {} scanned ({} superseded by the stream), {} filtered out, {} swept",
        ended.job,
        all("written"),
        all("deleted"),
        all("skipped"),
        all("dead"),
        print::duration(report["seconds"].as_f64().unwrap_or_default()),
        kinds("inserted"),
        kinds("modified"),
        kinds("removed"),
        kinds("expired"),
        kinds("scanned"),
        kinds("superseded"),
        kinds("filtered"),
        kinds("swept"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_bigquery_is_named_with_project_and_dataset() {
        let args = |named: &str| ReplicateArgs { to_bigquery: Some(named.into()), ..ReplicateArgs::default() };
        let ReplicaTarget::BigQuery(target) = args("example.com:p.d.t").spec().unwrap().target else { panic!("no") };
        assert_eq!(
            (target.project.as_str(), target.dataset.as_str(), target.table.as_str()),
            ("example.com:p", "d", "t")
        );
        assert_eq!(args("d.t").spec().unwrap_err().exit, Exit::BadArguments);
    }

    #[test]
    fn an_audit_has_a_budget_or_is_off() {
        assert_eq!(audit("2.5"), Ok(Audit(Some(2.5))));
        assert_eq!(audit("off"), Ok(Audit(None)));
        assert!(audit("0").is_err() && audit("some").is_err());
    }

    #[test]
    fn a_bootstrap_is_a_scan_or_none() {
        assert_eq!(bootstrap("scan"), Ok(Bootstrap::Scan));
        assert!(bootstrap("copy").unwrap_err().contains("scan or none"));
    }
}
