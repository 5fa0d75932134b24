//! What a replica is asked to be, as the journal keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cloud::Context;
use crate::item::ShapeSpec;

/// The changes of a table into its replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicateSpec {
    /// The table whose changes are read.
    pub table: String,
    /// Where they go.
    pub target: ReplicaTarget,
    /// Make the target if it is not there.
    pub create: bool,
    /// What of the items that are there when it begins.
    pub bootstrap: Bootstrap,
    /// Without a bootstrap and without a checkpoint: where the changes begin; `None` is the oldest that the stream holds.
    pub from: Option<crate::flow::StartAt>,
    /// Copy the whole table again, and remove from the replica what the source does not have: after a gap.
    pub rebootstrap: bool,
    /// End once everything that was changed before is in the replica.
    pub until_caught_up: bool,
    /// Changes go both ways; who wins where both sides changed an item.
    pub two_way: Option<TwoWay>,
    /// Items that expired in the source stay in the replica.
    pub skip_ttl_deletes: bool,
    /// The operator agreed that a stream is begun on the source (and with `two_way` on the target) where it has none.
    pub may_change_stream: bool,
    /// The operator agreed that a stream that carries too little is ended, and another one begun.
    pub switch_stream: bool,
    /// Which items are taken, and as what.
    #[serde(flatten)]
    pub shape: ShapeSpec,
    /// Cap on rows per second.
    pub rate: Option<f64>,
    /// Cap on the write capacity consumed in the target, WCU.
    pub max_wcu: Option<f64>,
    /// Share of the target's write capacity that is left to others, 0 to 1.
    pub leave: Option<f64>,
    /// Cap on the read capacity that the bootstrap's scan consumes of the source, RCU a second; `None` is half of what it
    /// has provisioned.
    pub read_budget: Option<f64>,
    /// Parts that the bootstrap's scan reads at the same time; `None` is by the table's size.
    pub segments: Option<u32>,
    /// What the replica's audit beside the work may read of both tables together, RCU a second; `None` is no audit.
    pub audit_rcu: Option<f64>,
}

/// Where a replica is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaTarget {
    /// A DynamoDB table.
    Table(TableTarget),
    /// A table in BigQuery.
    BigQuery(BigQueryTarget),
}

/// A DynamoDB table as a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableTarget {
    /// Its name.
    pub table: String,
    /// Its region; `None` is the source's.
    pub region: Option<String>,
    /// The profile of the AWS configuration that reaches it (with its role chain); `None` is the source's.
    pub profile: Option<String>,
    /// Its endpoint; `None` is the source's where no profile and no region is named either, else AWS.
    pub endpoint_url: Option<String>,
}

/// A table in BigQuery as a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BigQueryTarget {
    /// The project.
    pub project: String,
    /// The dataset.
    pub dataset: String,
    /// The table.
    pub table: String,
    /// Keep a log of the changes instead of the rows as they are.
    pub append_only: bool,
    /// The JSON column that attributes go into that have no column; `None` adds a column for each.
    pub json_column: Option<String>,
    /// How old what a query sees may be at most, for a table that is made, s; `None` is BigQuery's default, always fresh.
    pub max_staleness_s: Option<u64>,
    /// Where the dataset is made if it is not there, such as `EU`; `None` is BigQuery's default.
    pub location: Option<String>,
    /// A file with Google credentials (service account, external account); `None` is what the environment has.
    pub credentials: Option<String>,
    /// Endpoint of the REST API; `None` is Google's.
    pub rest_endpoint: Option<String>,
    /// Endpoint of the Storage Write API (gRPC); `None` is Google's.
    pub grpc_endpoint: Option<String>,
}

impl Default for ReplicaTarget {
    fn default() -> Self {
        Self::Table(TableTarget::default())
    }
}

impl TableTarget {
    /// True when it is named by its table alone: it is where its source is.
    pub fn is_beside_its_source(&self) -> bool {
        self.region.is_none() && self.profile.is_none() && self.endpoint_url.is_none()
    }

    /// Where it is, when its source is at `here`.
    pub fn context(&self, here: &Context) -> Context {
        if self.is_beside_its_source() {
            return here.clone();
        }
        // An endpoint of AWS is of one region and account; one on this machine is all of its AWS.
        let shares_endpoint = here.is_loopback() || (self.region.is_none() && self.profile.is_none());
        Context {
            profile: self.profile.clone().or_else(|| here.profile.clone()),
            // Another profile has a region of its own.
            region: self.region.clone().or_else(|| here.region.clone().filter(|_| self.profile.is_none())),
            endpoint_url: self.endpoint_url.clone().or_else(|| here.endpoint_url.clone().filter(|_| shares_endpoint)),
        }
    }
}

impl ReplicaTarget {
    /// The DynamoDB table; empty for BigQuery.
    pub fn table_name(&self) -> &str {
        match self {
            Self::Table(target) => &target.table,
            Self::BigQuery(_) => "",
        }
    }
}

impl fmt::Display for ReplicaTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(TableTarget { table, region, profile, endpoint_url }) => {
                f.write_str(table)?;
                let place = [profile.as_deref(), region.as_deref(), endpoint_url.as_deref()];
                let place: Vec<&str> = place.into_iter().flatten().collect();
                if place.is_empty() { Ok(()) } else { write!(f, " in {}", place.join(", ")) }
            }
            Self::BigQuery(target) => write!(f, "BigQuery {}.{}.{}", target.project, target.dataset, target.table),
        }
    }
}

/// What becomes of the items that are in the source when a replica begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bootstrap {
    /// They are copied, while the changes are read.
    #[default]
    Scan,
    /// Nothing: only what changes from now on.
    None,
}

/// Who wins where both sides changed an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TwoWay {
    /// The version with the larger value of this attribute (a number or a string); `-t`'s where they are the same.
    LastWriter(String),
    /// The version that was written last, by the time in its side's stream: an attribute of ours carries it.
    Arrival,
}

impl std::str::FromStr for TwoWay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "arrival" => Ok(Self::Arrival),
            Some(("last-writer", attribute)) if !attribute.is_empty() => Ok(Self::LastWriter(attribute.to_owned())),
            _ => Err(format!("{text:?} is no rule: write last-writer:ATTRIBUTE (the larger value wins) or arrival")),
        }
    }
}

impl fmt::Display for TwoWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LastWriter(attribute) => write!(f, "last-writer:{attribute}"),
            Self::Arrival => f.write_str("arrival"),
        }
    }
}

impl ReplicateSpec {
    /// `games → games_eu in eu-west-1`.
    pub fn title(&self) -> String {
        let arrow = if self.two_way.is_some() { "⇄" } else { "→" };
        format!("{} {arrow} {}", self.table, self.target)
    }

    /// True when both read the same table into the same replica: a later one goes on where the other stopped.
    pub fn is_same_replica(&self, other: &Self) -> bool {
        self.table == other.table && self.target == other.target && self.two_way == other.two_way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_is_printed() {
        for rule in [TwoWay::Arrival, TwoWay::LastWriter("updated_at".into())] {
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        for wrong in ["last-writer", "last-writer:", "newest", ""] {
            assert!(wrong.parse::<TwoWay>().unwrap_err().contains("last-writer:ATTRIBUTE"), "{wrong}");
        }
    }

    #[test]
    fn a_replica_is_named_with_where_it_is() {
        let target = TableTarget { table: "g2".into(), region: Some("eu-west-1".into()), ..TableTarget::default() };
        let spec =
            ReplicateSpec { table: "g".into(), target: ReplicaTarget::Table(target), ..ReplicateSpec::default() };
        assert_eq!(spec.title(), "g → g2 in eu-west-1");
        let stored = serde_json::to_string(&crate::jobs::Spec::Replicate(spec.clone())).unwrap();
        assert_eq!(serde_json::from_str::<crate::jobs::Spec>(&stored).unwrap(), crate::jobs::Spec::Replicate(spec));
    }
}
