//! A row of the lease table, as the Kinesis Client Library writes it.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::flow::stream::{SequenceNumber, Shard, StartAt};

/// How far the shard of a lease was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseCheckpoint {
    /// Not begun: at its oldest record.
    TrimHorizon,
    /// Not begun: after its newest record.
    Latest,
    /// Not begun: at a time. KCL's rows don't say which; ours do.
    AtTimestamp,
    /// After this record.
    After(SequenceNumber),
    /// All of it: its children may begin.
    ShardEnd,
}

impl LeaseCheckpoint {
    fn parse(text: &str) -> Self {
        match text {
            "TRIM_HORIZON" => Self::TrimHorizon,
            "LATEST" => Self::Latest,
            "AT_TIMESTAMP" => Self::AtTimestamp,
            "SHARD_END" => Self::ShardEnd,
            sequence => Self::After(SequenceNumber(sequence.to_owned())),
        }
    }

    /// Where a shard begins that nobody has read, when the workers were told to begin at `from`.
    pub fn of_start(from: &StartAt) -> Self {
        match from {
            StartAt::TrimHorizon => Self::TrimHorizon,
            StartAt::Latest => Self::Latest,
            StartAt::Time(_) => Self::AtTimestamp,
            StartAt::After(sequence) => Self::After(sequence.clone()),
            // Nobody is told so; and better twice than never.
            StartAt::At(_) => Self::TrimHorizon,
        }
    }
}

impl fmt::Display for LeaseCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::Latest => f.write_str("LATEST"),
            Self::AtTimestamp => f.write_str("AT_TIMESTAMP"),
            Self::ShardEnd => f.write_str("SHARD_END"),
            Self::After(sequence) => f.write_str(&sequence.0),
        }
    }
}

/// A row of the lease table: who reads a shard, and how far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The shard (`leaseKey`).
    pub shard: String,
    /// The stream, in rows that we made; KCL's own rows don't say.
    pub stream: Option<String>,
    /// The worker that reads it; `None` when it is free (`leaseOwner`).
    pub owner: Option<String>,
    /// Moves on with each renewal (`leaseCounter`).
    pub counter: u64,
    /// How far it was run (`checkpoint`).
    pub checkpoint: LeaseCheckpoint,
    /// Of the record at the checkpoint, the last one within its aggregate (`checkpointSubSequenceNumber`).
    pub sub: u64,
    /// Owners since the last checkpoint (`ownerSwitchesSinceCheckpoint`).
    pub switches: u64,
    /// The worker that still finishes what it began, before `owner` may begin (`checkpointOwner`, of KCL 3).
    pub leaving: Option<String>,
    /// The shards that it came from (`parentShardId`).
    pub parents: Vec<String>,
    /// The shards that came from it (`childShardIds`).
    pub children: Vec<String>,
    /// First and last hash key (`startingHashKey`, `endingHashKey`).
    pub hash_keys: Option<(u128, u128)>,
    /// What its owner read of it lately, KB/s (`throughputKBps`, of KCL 3).
    pub kb_per_second: f64,
    /// In rows that we made, where a shard begins that is to be read from a time on, or that somebody began at its newest
    /// record and left before there was one; ms since the epoch.
    pub from_ms: Option<i64>,
}

impl Lease {
    /// The lease of a shard that nobody has read.
    pub fn new(stream: &str, shard: &Shard, checkpoint: LeaseCheckpoint) -> Self {
        Self {
            shard: shard.id.clone(),
            stream: Some(stream.to_owned()),
            owner: None,
            counter: 0,
            checkpoint,
            sub: 0,
            switches: 0,
            leaving: None,
            parents: shard.parents.clone(),
            children: Vec::new(),
            hash_keys: Some(shard.hash_keys),
            kb_per_second: 0.0,
            from_ms: None,
        }
    }

    /// Where its owner begins to read; `from` is what it was told.
    pub fn start(&self, from: &StartAt) -> StartAt {
        let time = match from {
            StartAt::Time(at) => Some(*at),
            _ => None,
        };
        match &self.checkpoint {
            // It may be the middle of an aggregated record: that is read again, and what is settled of it left out.
            LeaseCheckpoint::After(sequence) => StartAt::At(sequence.clone()),
            // What came since an earlier owner began there must not be passed over.
            LeaseCheckpoint::Latest if self.switches > 1 => self.from_ms.map_or(StartAt::Latest, StartAt::Time),
            LeaseCheckpoint::Latest => StartAt::Latest,
            // Without the time, everything: better twice than never.
            LeaseCheckpoint::AtTimestamp => self.from_ms.or(time).map_or(StartAt::TrimHorizon, StartAt::Time),
            LeaseCheckpoint::TrimHorizon | LeaseCheckpoint::ShardEnd => StartAt::TrimHorizon,
        }
    }

    /// True once its shard was run to its end.
    pub fn has_ended(&self) -> bool {
        self.checkpoint == LeaseCheckpoint::ShardEnd
    }

    /// What a row says; `None` when it is no lease.
    pub fn of<S: std::hash::BuildHasher>(item: &HashMap<String, AttributeValue, S>) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok());
        let whole = |name: &str| number(name).and_then(|n| n.parse::<u64>().ok());
        let set = |name: &str| item.get(name).and_then(|value| value.as_ss().ok()).cloned().unwrap_or_default();
        let hash = |name: &str| text(name).and_then(|n| n.parse::<u128>().ok());
        Some(Self {
            shard: text(KEY)?,
            stream: text(STREAM),
            owner: text(OWNER),
            counter: whole(COUNTER).unwrap_or_default(),
            checkpoint: LeaseCheckpoint::parse(&text(CHECKPOINT)?),
            sub: whole(SUB).unwrap_or_default(),
            switches: whole(SWITCHES).unwrap_or_default(),
            leaving: text(LEAVING),
            parents: set(PARENTS),
            children: set(CHILDREN),
            hash_keys: hash(FIRST_HASH).zip(hash(LAST_HASH)),
            kb_per_second: number(KB).and_then(|n| n.parse().ok()).unwrap_or_default(),
            from_ms: number(FROM).and_then(|n| n.parse().ok()),
        })
    }

    /// The row.
    pub fn to_item(&self) -> HashMap<String, AttributeValue> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut item = HashMap::from([
            (KEY.to_owned(), text(&self.shard)),
            (COUNTER.to_owned(), AttributeValue::N(self.counter.to_string())),
            (CHECKPOINT.to_owned(), text(&self.checkpoint.to_string())),
            (SUB.to_owned(), AttributeValue::N(self.sub.to_string())),
            (SWITCHES.to_owned(), AttributeValue::N(self.switches.to_string())),
        ]);
        let mut put = |name: &str, value: Option<AttributeValue>| {
            if let Some(value) = value {
                item.insert(name.to_owned(), value);
            }
        };
        put(STREAM, self.stream.as_deref().map(text));
        put(OWNER, self.owner.as_deref().map(text));
        put(LEAVING, self.leaving.as_deref().map(text));
        // An empty set can't be stored.
        put(PARENTS, (!self.parents.is_empty()).then(|| AttributeValue::Ss(self.parents.clone())));
        put(CHILDREN, (!self.children.is_empty()).then(|| AttributeValue::Ss(self.children.clone())));
        put(FIRST_HASH, self.hash_keys.map(|(first, _)| text(&first.to_string())));
        put(LAST_HASH, self.hash_keys.map(|(_, last)| text(&last.to_string())));
        put(FROM, self.from_ms.map(|ms| AttributeValue::N(ms.to_string())));
        put(KB, (self.kb_per_second > 0.0).then(|| AttributeValue::N(format!("{:.1}", self.kb_per_second))));
        item
    }
}

pub(super) const KEY: &str = "leaseKey";
/// Ours: shard ids of different streams are the same, and a table must not be shared by two.
const STREAM: &str = "sluiceStream";
/// Ours: KCL keeps the time in its workers' configuration.
const FROM: &str = "sluiceFrom";
pub(super) const OWNER: &str = "leaseOwner";
pub(super) const COUNTER: &str = "leaseCounter";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const SUB: &str = "checkpointSubSequenceNumber";
pub(super) const SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
pub(super) const LEAVING: &str = "checkpointOwner";
const PARENTS: &str = "parentShardId";
pub(super) const CHILDREN: &str = "childShardIds";
const FIRST_HASH: &str = "startingHashKey";
const LAST_HASH: &str = "endingHashKey";
pub(super) const KB: &str = "throughputKBps";
