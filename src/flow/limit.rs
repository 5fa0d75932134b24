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
    /// One partition takes no more: its hot keys hold up the rest of the records, or all that is written lives there.
    Partition {
        /// What it lets through, WCU.
        wcu: f64,
        /// The table's provisioned write capacity, WCU.
        of: f64,
        /// How many hot partition keys are held back; 0 when none stands out.
        #[serde(default)]
        keys: usize,
        /// The value of one of them, as it is in the records; empty when it is not known.
        #[serde(default)]
        key: String,
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
            Self::Partition { wcu, of, keys: 0, .. } => {
                write!(f, "one partition: {wcu:.0} WCU get through, of the table's {of:.0}")
            }
            Self::Partition { wcu, of, keys, key } => {
                write!(f, "one partition: {} {wcu:.0} WCU, of the table's {of:.0}", hot_keys(*keys, key))
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

/// How many characters of a key are shown.
const SHOWN: usize = 40;

/// `its hot key "user#1" gets`: the key escaped, since it is from a record, and shortened.
pub(crate) fn hot_keys(keys: usize, key: &str) -> String {
    let mut shown: String = key.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if key.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    match (keys, key.is_empty()) {
        (1, true) => String::from("its hot key gets"),
        (1, false) => format!("its hot key \"{shown}\" gets"),
        (_, true) => format!("{keys} hot keys get"),
        (_, false) => format!("{keys} hot keys, such as \"{shown}\", get"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hot_key_is_named_escaped_and_shortened() {
        let limit = |key: &str| Limit::Partition { wcu: 250.0, of: 4_000.0, keys: 1, key: key.to_owned() }.to_string();
        assert_eq!(limit("user#1"), "one partition: its hot key \"user#1\" gets 250 WCU, of the table's 4000");
        assert!(limit("\u{1b}[31mred\n").contains("\"\\u{1b}[31mred\\n\""), "{}", limit("\u{1b}[31mred\n"));
        let long = limit(&"é".repeat(500));
        assert!(long.contains(&format!("{}…", "é".repeat(40))) && long.len() < 200, "{long}");
    }
}
