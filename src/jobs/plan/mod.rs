//! The plan of a restore: items, bytes, write capacity, shards, time and dollars, before anything is written.
//!
//! ```text
//!   look    the source (a manifest, or a sample), the table, the stream ─▶ Facts
//!   figures Facts + options + --within ─▶ Plan          pure: a form asks for it with every key
//!   way     direct, over a stream, or AWS's own import
//!   words   the plan as lines for a person
//! ```

mod figures;
mod look;
mod sample;
mod way;
mod words;

use std::time::Duration;

use serde::Serialize;

use super::spec::{Raise, RestoreSpec};
use crate::backup::BackupError;
use crate::cloud::inventory::{Provisioned, Table};
use crate::cloud::schema::{Billing, Schema};
use crate::cloud::{Cloud, CloudError};
use crate::flow::Limit;
use crate::item::ShapeError;

pub use look::{SourceFacts, StreamFacts, target};
pub use sample::{IndexSample, Sample};
pub use way::{Best, Way};
pub use words::{Line, bytes, grouped, span};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// AWS said no, or the table or stream does not exist.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The source can't be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The options that shape items can't be understood.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// What is read once can't be looked at before.
    #[error("standard input can't be looked at before it is read: write it into a file to plan its restore")]
    Stdin,
}

/// The table that a restore writes, as it is or as it is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its schema.
    pub schema: Schema,
    /// False for one that is yet to be made.
    pub exists: bool,
    /// Items in it, as of AWS's last count.
    pub items: u64,
    /// Bytes in it, as of AWS's last count.
    pub bytes: u64,
    /// Writes a second that AWS says it takes at once (`WarmThroughput`), where it says so.
    pub warm_write: Option<u64>,
    /// Most write requests a second that an on-demand table was set to take.
    pub most_on_demand: Option<u64>,
}

impl Target {
    /// A table that is yet to be made.
    pub fn new(schema: Schema) -> Self {
        Self { schema, exists: false, items: 0, bytes: 0, warm_write: None, most_on_demand: None }
    }
}

impl Facts {
    /// The same with the capacity that the table has by now: it may have been raised since it was looked at.
    #[must_use]
    pub fn at_capacity_of(mut self, table: &Table) -> Self {
        let billing = |provisioned: Option<Provisioned>| match provisioned {
            Some(Provisioned { read, write, .. }) => Billing::Provisioned { read, write },
            None => Billing::OnDemand,
        };
        if table.name != self.target.schema.name {
            return self;
        }
        self.target.items = table.items;
        self.target.bytes = table.bytes;
        self.target.schema.billing = billing(table.provisioned);
        for index in self.target.schema.indexes.iter_mut().filter(|index| !index.local) {
            if let Some(seen) = table.indexes.iter().find(|seen| seen.name == index.name) {
                index.billing = billing(seen.provisioned);
            }
        }
        self
    }
}

/// What was found out before a restore: everything that a plan is computed from but the options that only change numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// What the source holds.
    pub source: SourceFacts,
    /// The table.
    pub target: Target,
    /// The stream that it goes over.
    pub stream: Option<StreamFacts>,
    /// The region, for the note on prices.
    pub region: String,
}

/// Looks at source, table and stream. Only reads.
///
/// # Errors
/// What is missing or can't be read, in words.
pub async fn facts(cloud: &Cloud, spec: &RestoreSpec) -> Result<Facts, PlanError> {
    let target = look::target(cloud, &spec.table).await?;
    facts_into(cloud, spec, target).await
}

/// Looks at source and stream of a restore into `target`, which may be yet to be made.
///
/// # Errors
/// As [`facts`].
pub async fn facts_into(cloud: &Cloud, spec: &RestoreSpec, target: Target) -> Result<Facts, PlanError> {
    let stream = look::stream(cloud, spec).await?;
    let source = look::source(cloud, &spec.source, &target.schema).await?;
    Ok(Facts { source, target, stream, region: cloud.region.clone() })
}

/// The plan of `spec`; with `within`, what it takes to be done in that time.
///
/// # Errors
/// As [`facts`].
pub async fn plan(cloud: &Cloud, spec: &RestoreSpec, within: Option<Duration>) -> Result<Plan, PlanError> {
    Ok(facts(cloud, spec).await?.plan(spec, within))
}

/// What a restore takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// `plan`.
    pub kind: &'static str,
    /// Where from.
    pub sources: Vec<String>,
    /// Where to.
    pub table: String,
    /// What over.
    pub stream: Option<String>,
    /// Files or objects.
    pub files: u64,
    /// Bytes as they are stored.
    pub bytes: u64,
    /// Records in the backup.
    pub records: u64,
    /// Items that are written.
    pub items: u64,
    /// Keys that are deleted.
    pub deletes: u64,
    /// Items that options leave out.
    pub skipped: u64,
    /// Dead letters foretold.
    pub dead: u64,
    /// True when `records` is exact: a manifest counted them, or every one was looked at.
    pub exact: bool,
    /// True when sizes and capacity come from a sample.
    pub sampled: bool,
    /// Records that were looked at.
    pub looked_at: u64,
    /// How far the WCU may be off for being sampled: twice the standard error, as a share. 0 when nothing was estimated.
    pub off_by: f64,
    /// Mean size of an item by `DynamoDB`'s rule, bytes.
    pub item_bytes: f64,
    /// Mean write capacity of an item in the table alone, WCU.
    pub wcu_per_item: f64,
    /// Write capacity of the whole restore in the table, its local indexes included, WCU.
    pub wcu: f64,
    /// What each index takes.
    pub indexes: Vec<IndexPlan>,
    /// WCU that the table has each second; `None` on demand.
    pub provisioned: Option<u64>,
    /// The partitions that it needs.
    pub partitions: Partitions,
    /// The shards that it needs.
    pub shards: Shards,
    /// How long it takes at the present capacity, seconds; `None` where nothing limits it that can be known.
    pub seconds: Option<f64>,
    /// How much sooner it is done when the table has saved up all the burst that it can, seconds.
    pub burst_seconds: f64,
    /// What binds then.
    pub limit: Limit,
    /// The same in words.
    pub limit_in_words: String,
    /// What it takes to be done in a given time.
    pub within: Option<Within>,
    /// What it costs.
    pub cost: Cost,
    /// The best way.
    pub way: Way,
    /// What else to know, a sentence each.
    pub notes: Vec<String>,
}

/// What an index takes of a restore.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IndexPlan {
    /// Its name.
    pub index: String,
    /// True when its capacity is the table's.
    pub local: bool,
    /// Items that hold its keys.
    pub items: u64,
    /// Mean size of an entry, bytes.
    pub item_bytes: f64,
    /// Write capacity of all entries, WCU.
    pub wcu: f64,
    /// WCU that it has each second; `None` on demand, or local.
    pub provisioned: Option<u64>,
}

/// Partitions: each takes 1,000 WCU and 3,000 RCU a second, and 10 GB (`DynamoDB` developer guide, "Partitions").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partitions {
    /// WCU that are to be written each second: the present capacity, or what `--within` needs.
    pub for_wcu: u64,
    /// The fewest that give so much, and hold the bytes.
    pub needed: u64,
    /// How many the table has at least, as far as AWS tells.
    pub present: u64,
    /// True when the table has fewer at present, so that AWS must split some first.
    pub must_split: bool,
}

/// Shards: each takes 1,000 records and 1 MiB a second (Kinesis quotas).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shards {
    /// Items a second that they are to carry.
    pub items_per_second: f64,
    /// Mean size of a put request as a record, bytes.
    pub record_bytes: f64,
    /// Needed with one request a record.
    pub needed: u64,
    /// Needed with requests aggregated into large records.
    pub needed_aggregated: u64,
    /// Whether the restore aggregates.
    pub aggregated: bool,
    /// Open shards of the stream; `None` without one, or on demand.
    pub open: Option<u64>,
}

/// What it takes to be done in a given time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Within {
    /// That time, seconds.
    pub seconds: u64,
    /// WCU of the table.
    pub table: u64,
    /// WCU of each global index that has capacity of its own.
    pub indexes: Vec<(String, u64)>,
    /// True when the present capacity, shards and caps are enough.
    pub suffices: bool,
    /// What stands against it and no raise of capacity mends, a sentence each.
    pub obstacles: Vec<String>,
}

/// What a restore costs, US dollars by the list prices of one region. `total` is what it adds to the bill.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// The region whose prices these are.
    pub region: String,
    /// When they were looked up.
    pub as_of: String,
    /// Hours that are charged: capacity is charged by the started hour.
    pub hours: u64,
    /// The capacity that the table and its indexes have anyway, for that long.
    pub present_capacity: f64,
    /// What raising adds.
    pub raised_capacity: f64,
    /// Write requests, on demand.
    pub requests: f64,
    /// The stream's shards, or its hours on demand, for that long.
    pub stream_hours: f64,
    /// What is put on the stream.
    pub stream_puts: f64,
    /// What the restore adds to the bill.
    pub total: f64,
    /// What AWS's own import of the same source would cost.
    pub import: f64,
}

impl Plan {
    /// The capacity to raise to, so that the restore is done within the time asked for: only what needs more than it has.
    /// `None` when nothing does.
    pub fn raise(&self) -> Option<Raise> {
        let within = self.within.as_ref()?;
        let present = self.provisioned?;
        let indexes: Vec<(String, u64)> = within
            .indexes
            .iter()
            .filter(|(name, wcu)| {
                self.indexes.iter().any(|index| index.index == *name && index.provisioned.is_some_and(|has| has < *wcu))
            })
            .cloned()
            .collect();
        (within.table > present || !indexes.is_empty()).then(|| Raise { table: within.table.max(present), indexes })
    }

    /// What each raise goes from and to: the index (`None` is the table), WCU before and after.
    pub fn raises(&self) -> Vec<(Option<String>, u64, u64)> {
        let Some(raise) = self.raise() else { return Vec::new() };
        let present = self.provisioned.unwrap_or_default();
        let of_table = (raise.table > present).then_some((None, present, raise.table));
        let of_indexes = raise.indexes.into_iter().map(|(name, to)| {
            let from = self.indexes.iter().find(|index| index.index == name).and_then(|index| index.provisioned);
            (Some(name), from.unwrap_or_default(), to)
        });
        of_table.into_iter().chain(of_indexes).collect()
    }
}
