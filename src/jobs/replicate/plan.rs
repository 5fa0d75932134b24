//! What a replica will take before it is begun: the bootstrap's time against the 24 hours that a stream keeps a change.

use serde::Serialize;

use super::position::{self, RETENTION_MS};
use super::source::{Changes, Needed};
use super::spec::{Bootstrap, ReplicaTarget, ReplicateSpec};
use super::target;
use crate::cloud::inventory::{self, Table};
use crate::cloud::{Class, Cloud, CloudError, Context};
use crate::jobs::journal::Journal;

/// Bytes that one RCU reads consistently in a second ("Read and write operations" of the `DynamoDB` developer guide).
const RCU_BYTES: f64 = 4096.0;
/// Bytes that one WCU writes in a second.
const WCU_BYTES: f64 = 1024.0;
/// What a table on demand takes at once: new ones 4,000 writes and 12,000 reads a second (FORMATS.md 4, and "Initial
/// throughput for on-demand capacity mode").
const ON_DEMAND: (f64, f64) = (12_000.0, 4_000.0);
/// A bootstrap that may take so much of the retention is warned of.
const WARN: f64 = 0.8;

/// The plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// `source → target`.
    pub replica: String,
    /// Items of the source, by the service's last count.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bootstrap is made.
    pub bootstrap: bool,
    /// RCU a second that its scan may use; `None` is no cap.
    pub read_budget: Option<f64>,
    /// Seconds that the scan takes at that rate.
    pub read_seconds: f64,
    /// WCU a second that the target takes; `None` for BigQuery.
    pub write_capacity: Option<f64>,
    /// Seconds that writing takes at that rate.
    pub write_seconds: f64,
    /// RCU that the scan consumes.
    pub rcu: f64,
    /// WCU that the copy consumes, at least: without indexes.
    pub wcu: f64,
    /// What is done to streams first, in words.
    pub streams: Vec<String>,
    /// What an operator should know before it is begun.
    pub warnings: Vec<String>,
    /// Work that goes on where another job stopped.
    pub goes_on: bool,
}

impl Plan {
    /// How long the bootstrap takes at least, s.
    pub fn seconds(&self) -> f64 {
        self.read_seconds.max(self.write_seconds)
    }

    /// True when the bootstrap is not through before the stream forgets what changed when it began.
    pub fn outlasts_the_stream(&self) -> bool {
        self.seconds() * 1_000.0 > RETENTION_MS as f64
    }
}

/// The cap on the scan's reads of `table`, RCU a second: what was asked for, else half of what is provisioned.
pub(super) fn read_budget(table: &Table, spec: &ReplicateSpec) -> Option<f64> {
    spec.read_budget.or_else(|| table.provisioned.map(|p| (p.read as f64 / 2.0).max(1.0)))
}

/// Plans `spec`; `target` is the replica's table where it is one and is there.
pub fn of(spec: &ReplicateSpec, source: &Table, target: Option<&Table>, goes_on: bool) -> Plan {
    let bootstrap = (spec.bootstrap == Bootstrap::Scan && !goes_on) || spec.rebootstrap;
    let read_budget = read_budget(source, spec);
    let is_table = matches!(spec.target, ReplicaTarget::Table(_));
    let mut plan = Plan {
        replica: spec.title(),
        items: source.items,
        bytes: source.bytes,
        bootstrap,
        read_budget,
        goes_on,
        ..Plan::default()
    };
    let capacity = match target {
        Some(target) => target.provisioned.map_or(ON_DEMAND.1, |p| p.write as f64),
        None => source.provisioned.map_or(ON_DEMAND.1, |p| p.write as f64),
    };
    let capacity = capacity * (1.0 - spec.leave.unwrap_or(0.0));
    let capacity = spec.max_wcu.map_or(capacity, |cap| cap.min(capacity)).max(1.0);
    plan.write_capacity = is_table.then_some(capacity);
    if !bootstrap {
        return plan;
    }
    let each = if source.items > 0 { source.bytes as f64 / source.items as f64 } else { 0.0 };
    plan.rcu = source.bytes as f64 / RCU_BYTES;
    plan.read_seconds = plan.rcu / read_budget.unwrap_or(ON_DEMAND.0);
    if is_table {
        plan.wcu = source.items as f64 * (each / WCU_BYTES).ceil();
        plan.write_seconds = plan.wcu / capacity;
    }
    if let Some(rate) = spec.rate.filter(|rate| *rate > 0.0) {
        plan.write_seconds = plan.write_seconds.max(source.items as f64 / rate);
    }
    let hours = plan.seconds() / 3_600.0;
    if plan.outlasts_the_stream() {
        let what = if plan.read_seconds > plan.write_seconds {
            format!("its reads are held to {:.0} RCU: raise --read-budget", read_budget.unwrap_or(ON_DEMAND.0))
        } else {
            format!("the target takes {capacity:.0} WCU: raise its capacity")
        };
        plan.warnings.push(format!(
            "the bootstrap takes about {hours:.0} hours, and the stream keeps a change for 24: it would have to begin anew when \
             it is interrupted late, and changes may be lost where the stream has to wait for it. {what}"
        ));
    } else if plan.seconds() * 1_000.0 > WARN * RETENTION_MS as f64 {
        plan.warnings.push(format!(
            "the bootstrap takes about {hours:.0} of the 24 hours that the stream keeps a change: little is left for a pause"
        ));
    }
    if target.is_some_and(|target| target.items > 0) && !spec.rebootstrap && spec.two_way.is_none() {
        plan.warnings.push(
            "the target holds items already: those that the source does not have stay (--rebootstrap removes them)"
                .to_owned(),
        );
    }
    plan
}

/// Looks at the tables, and plans. Changes nothing.
///
/// # Errors
/// The source can't be described, or the options can't go together.
pub async fn look(
    cloud: &Cloud,
    target_cloud: Option<&Cloud>,
    spec: &ReplicateSpec,
    journal: Option<&Journal>,
) -> Result<Plan, CloudError> {
    let invalid = |words: String| CloudError::new(Class::Invalid, words, "");
    let place: Context = cloud.place();
    target::not_itself(&place, spec).map_err(invalid)?;
    let source = inventory::table(cloud, &spec.table).await?;
    target::fits(spec, &source.key).map_err(invalid)?;
    let goes_on = match journal {
        Some(journal) => position::is_kept(journal, &place, spec).map_err(|error| invalid(error.to_string()))?,
        None => false,
    };
    let there = match (&spec.target, target_cloud) {
        (ReplicaTarget::Table(target), Some(cloud)) => {
            let there = inventory::find_table(cloud, &target.table).await?;
            if there.is_none() && !spec.create {
                return Err(CloudError::new(
                    Class::NotFound,
                    format!("there is no table {} to replicate into", spec.target),
                    format!("make it, or let --create make it like {}", spec.table),
                ));
            }
            if let Some(there) = &there {
                target::same_key(spec, &source, there).map_err(invalid)?;
            }
            there
        }
        _ => None,
    };
    let mut plan = of(spec, &source, there.as_ref(), goes_on);
    let needed = Changes::of(cloud, &spec.table).await?.needed(spec);
    plan.streams.extend(needed.in_words(&spec.table));
    if let (Some(_), ReplicaTarget::Table(target), Some(cloud)) = (&spec.two_way, &spec.target, target_cloud) {
        let needed = match &there {
            Some(_) => Changes::of(cloud, &target.table).await?.needed(spec),
            None => Changes::default().needed(spec),
        };
        plan.streams.extend(needed.in_words(&target.table));
    }
    Ok(plan)
}

/// What has to be agreed to before `spec` is begun on `table`.
///
/// # Errors
/// The table can't be described.
pub async fn needed(cloud: &Cloud, table: &str, spec: &ReplicateSpec) -> Result<Needed, CloudError> {
    Ok(Changes::of(cloud, table).await?.needed(spec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::inventory::Provisioned;
    use crate::item::{KeyAttr, KeyKind, KeySchema};

    fn table(items: u64, bytes: u64, read: u64, write: u64) -> Table {
        Table {
            name: "t".into(),
            status: "ACTIVE".into(),
            items,
            bytes,
            provisioned: Some(Provisioned { read, write, ..Provisioned::default() }),
            indexes: Vec::new(),
            stream: None,
            key: KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None },
        }
    }

    #[test]
    fn a_bootstrap_that_outlasts_the_stream_is_foretold_with_what_to_raise() {
        // 100 million items of 300 B at 500 WCU: 55 hours.
        let (source, target) = (table(100_000_000, 30_000_000_000, 2_000, 10), table(0, 0, 10, 500));
        let plan = of(&ReplicateSpec::default(), &source, Some(&target), false);
        assert!((plan.seconds() / 3_600.0 - 55.5).abs() < 0.1, "{}", plan.seconds() / 3_600.0);
        assert!(plan.outlasts_the_stream() && plan.warnings[0].contains("500 WCU"), "{plan:?}");
        // At 20 RCU it is the scan.
        let slow = ReplicateSpec { read_budget: Some(20.0), ..ReplicateSpec::default() };
        let plan = of(&slow, &source, Some(&table(0, 0, 10, 40_000)), false);
        assert!(plan.warnings[0].contains("--read-budget"), "{plan:?}");
        let small = of(&ReplicateSpec::default(), &table(2_000, 600_000, 10, 5), None, false);
        assert!(small.warnings.is_empty() && small.write_seconds == 400.0, "{small:?}");
    }

    #[test]
    fn a_replica_that_goes_on_copies_nothing() {
        let plan = of(&ReplicateSpec::default(), &table(9, 900, 1, 1), None, true);
        assert!(!plan.bootstrap && plan.seconds() == 0.0);
    }
}
