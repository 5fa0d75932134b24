//! What binds now, in words and numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The limit that binds now. Its `Display` is what an operator reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "limit")]
pub enum Limit {
    /// Nothing refuses and nothing waits: the source gives no more.
    #[default]
    Source,
    /// Checking records takes all the processors that it may use.
    Checking {
        /// How many processors.
        cpus: usize,
    },
    /// The service answers no faster than this, with all lanes busy.
    Service,
    /// The table's write capacity.
    Table {
        /// Provisioned write capacity, WCU; `None` for an on-demand table.
        wcu: Option<f64>,
    },
    /// The write capacity of one of the table's indexes.
    Index {
        /// The index.
        index: String,
        /// Its provisioned write capacity, WCU.
        wcu: f64,
    },
    /// The table refuses well below its capacity: one partition (a hot key) or other traffic on it.
    Partition {
        /// What it lets through, WCU.
        wcu: f64,
        /// Its provisioned write capacity, WCU.
        of: f64,
    },
    /// Other writers use the table as well: so much of its capacity is ours.
    Shared {
        /// What it lets through, WCU.
        wcu: f64,
        /// Its provisioned write capacity, WCU.
        of: f64,
    },
    /// The share that is left to others.
    Leave {
        /// That share, 0 to 1.
        share: f64,
        /// What others use, WCU.
        others: f64,
        /// Provisioned write capacity, WCU.
        of: f64,
        /// The index that it is about; `None` for the table.
        #[serde(default)]
        index: Option<String>,
    },
    /// The operator's cap on items.
    RateCap {
        /// Items a second.
        per_second: f64,
    },
    /// The operator's cap on write capacity.
    WcuCap {
        /// WCU.
        wcu: f64,
    },
    /// One shard takes no more.
    Shard {
        /// The shard.
        shard: String,
    },
    /// All shards of the stream take no more.
    Stream {
        /// How many shards are open.
        shards: usize,
    },
    /// The shards of the stream give no more: 2 MiB and five reads a second each (Kinesis quotas).
    StreamReads {
        /// How many shards are read.
        shards: usize,
    },
    /// The operator's cap on read capacity, or the share of the table's that a job takes by itself.
    ReadBudget {
        /// RCU.
        rcu: f64,
    },
    /// The table's read capacity.
    TableReads {
        /// Provisioned read capacity, RCU; `None` for an on-demand table.
        rcu: Option<f64>,
    },
    /// What the job writes its files to takes no more: a disk, or a bucket.
    Destination {
        /// Such as `the disk under the state folder`.
        name: String,
    },
    /// The operator's pause.
    Paused,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => write!(f, "source"),
            Self::Checking { cpus: 1 } => write!(f, "checking records, one processor is busy"),
            Self::Checking { cpus } => write!(f, "checking records, {cpus} processors are busy"),
            Self::Service => write!(f, "the service's response time"),
            Self::Table { wcu: Some(wcu) } => write!(f, "table write capacity, {wcu:.0} WCU"),
            Self::Table { wcu: None } => write!(f, "what the on-demand table takes now"),
            Self::Index { index, wcu } => write!(f, "write capacity of index {index}, {wcu:.0} WCU"),
            Self::Partition { wcu, of } => {
                write!(f, "one partition or other traffic: {wcu:.0} of {of:.0} WCU get through")
            }
            Self::Shared { wcu, of } => {
                write!(f, "other writers of the table: {wcu:.0} of {of:.0} WCU get through")
            }
            Self::Leave { share, others, of, index } => {
                let index = index.as_ref().map(|index| format!(" in index {index}")).unwrap_or_default();
                write!(f, "leaves {:.0} % to others{index}: they use {others:.0} of {of:.0} WCU", share * 100.0)
            }
            Self::RateCap { per_second } => write!(f, "rate cap, {per_second:.0} items/s"),
            Self::WcuCap { wcu } => write!(f, "capacity cap, {wcu:.0} WCU"),
            Self::Shard { shard } => write!(f, "shard {shard}"),
            Self::Stream { shards } => write!(f, "stream, {shards} {}", if *shards == 1 { "shard" } else { "shards" }),
            Self::StreamReads { shards } => {
                write!(f, "reading the stream, {shards} {}", if *shards == 1 { "shard" } else { "shards" })
            }
            Self::ReadBudget { rcu } => write!(f, "read budget, {rcu:.0} RCU"),
            Self::TableReads { rcu: Some(rcu) } => write!(f, "table read capacity, {rcu:.0} RCU"),
            Self::TableReads { rcu: None } => write!(f, "what the on-demand table gives now"),
            Self::Destination { name } => write!(f, "writing to {name}"),
            Self::Paused => write!(f, "paused"),
        }
    }
}
