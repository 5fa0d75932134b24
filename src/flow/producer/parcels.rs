//! What waits in a lane of a producer, and how it is packed: many put requests in one record where they share a slice.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::records::{RECORDS, Record};
use super::shard_pace::{Load, ShardPaces};
use crate::flow::aggregate::{Packer, unpack};
use crate::flow::ledger::Receipt;

/// A put request on its way onto the stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub data: Bytes,
    pub partition_key: String,
    /// What its record goes by.
    pub hash_key: u128,
    /// What it keeps its order with; all of a strand go by one hash key.
    pub strand: u128,
    /// Whether it may share a record with others of its strand.
    pub packs: bool,
    pub riding: Riding,
}

/// What is settled once a request is on the stream.
#[derive(Debug)]
pub(super) struct Riding {
    pub receipt: Receipt,
    /// Its share of the producer's memory, given back when it is settled.
    pub _memory: OwnedSemaphorePermit,
}

/// A record of the stream: one request, or several packed together. Sent again, it is the same bytes.
#[derive(Debug)]
pub(super) struct Parcel {
    pub data: Bytes,
    pub partition_key: String,
    /// What it goes by.
    pub hash_key: u128,
    /// No two of the same strand are in one request.
    strand: u128,
    /// To be sent in a request of its own.
    pub alone: bool,
    /// In the order in which they are packed.
    pub riding: Vec<Riding>,
}

impl Parcel {
    /// What it counts towards Kinesis's limits, bytes.
    pub fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// Its record as a request has it.
    pub fn record(&self) -> Record<'_> {
        Record { data: &self.data, partition_key: &self.partition_key, hash_key: self.hash_key }
    }

    /// Each of its requests in a parcel of its own, since the service refuses one of them and does not say which.
    pub fn apart(self) -> Vec<Self> {
        let Ok(Some(aggregated)) = unpack(&self.data) else { return vec![Self { alone: true, ..self }] };
        let records = aggregated.records().zip(self.riding);
        let parcels = records.map(|(record, riding)| Self {
            data: record.data,
            partition_key: record.partition_key.to_owned(),
            hash_key: self.hash_key,
            strand: self.strand,
            alone: true,
            riding: vec![riding],
        });
        parcels.collect()
    }
}

/// How large records and requests may be, bytes with partition keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub record: usize,
    pub request: usize,
}

/// What waits in a lane, by strands: requests of one strand keep their order, others may pass them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Parcels that were not accepted, in the order in which they were sent.
    again: VecDeque<Parcel>,
    strands: HashMap<u128, VecDeque<Outgoing>>,
    /// The strands that hold something, the one that waits longest first.
    turns: VecDeque<u128>,
    /// Requests in `strands`.
    count: usize,
}

/// A request in the making.
#[derive(Default)]
struct Batch {
    parcels: Vec<Parcel>,
    bytes: usize,
    strands: HashSet<u128>,
    /// For each shard.
    portions: HashMap<usize, Load>,
}

impl Batch {
    fn add(&mut self, parcel: Parcel, shard: usize) {
        self.portions.entry(shard).or_default().add(parcel.size());
        self.bytes += parcel.size();
        self.strands.insert(parcel.strand);
        self.parcels.push(parcel);
    }

    fn is_full(&self) -> bool {
        self.parcels.len() == RECORDS || self.parcels.first().is_some_and(|first| first.alone)
    }

    /// What it still takes for the shard of `hash_key`.
    fn room(&self, paces: &ShardPaces, sizes: Sizes, hash_key: u128) -> Room {
        let (shard, most) = paces.portion(hash_key);
        let has = self.portions.get(&shard).copied().unwrap_or_default();
        let of_request = sizes.request.saturating_sub(self.bytes);
        let of_shard = if has.records < most.records { most.bytes.saturating_sub(has.bytes) } else { 0 };
        Room { shard, first_of_shard: has.records == 0, first: self.parcels.is_empty(), of_request, of_shard }
    }
}

/// What a request still takes for one shard, bytes.
struct Room {
    shard: usize,
    first_of_shard: bool,
    first: bool,
    of_request: usize,
    of_shard: usize,
}

impl Room {
    /// Whether a record of `size` bytes may go. The first one always may, else it would never.
    fn takes(&self, size: usize) -> bool {
        (self.first || size <= self.of_request) && (self.first_of_shard || size <= self.of_shard)
    }
}

impl Waiting {
    /// How many requests wait to be packed.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.again.is_empty()
    }

    /// Adds a request behind all others of its strand.
    pub fn push(&mut self, outgoing: Outgoing) {
        let queue = self.strands.entry(outgoing.strand).or_default();
        if queue.is_empty() {
            self.turns.push_back(outgoing.strand);
        }
        queue.push_back(outgoing);
        self.count += 1;
    }

    /// Puts parcels that were not accepted before everything else.
    pub fn again(&mut self, parcels: Vec<Parcel>) {
        parcels.into_iter().rev().for_each(|parcel| self.again.push_front(parcel));
    }

    /// The next records to send together: what the shards take in a moment. A strand comes once: within a request
    /// that fails in part, a later version of a key could overtake an earlier one.
    pub fn next(&mut self, paces: &ShardPaces, sizes: Sizes) -> Vec<Parcel> {
        let mut batch = Batch::default();
        for parcel in std::mem::take(&mut self.again) {
            let room = batch.room(paces, sizes, parcel.hash_key);
            let fits = !batch.is_full() && (!parcel.alone || room.first) && room.takes(parcel.size());
            if fits && !batch.strands.contains(&parcel.strand) {
                batch.add(parcel, room.shard);
            } else {
                // Its strand is noted as if it had gone: what is behind it waits as well.
                batch.strands.insert(parcel.strand);
                self.again.push_back(parcel);
            }
        }
        for _ in 0..self.turns.len() {
            if batch.is_full() || batch.bytes >= sizes.request {
                break;
            }
            let Some(strand) = self.turns.pop_front() else { break };
            let packed = if batch.strands.contains(&strand) { None } else { self.pack(strand, &batch, paces, sizes) };
            match packed {
                Some((parcel, shard)) => {
                    batch.add(parcel, shard);
                    if self.strands.contains_key(&strand) {
                        self.turns.push_back(strand);
                    }
                }
                // It has a turn again a round later.
                None => self.turns.push_back(strand),
            }
        }
        batch.parcels
    }

    /// As many requests of `strand` as one record takes; `None` when not even the first goes now.
    fn pack(&mut self, strand: u128, batch: &Batch, paces: &ShardPaces, sizes: Sizes) -> Option<(Parcel, usize)> {
        let queue = self.strands.get_mut(&strand)?;
        let hash_key = queue.front()?.hash_key;
        let room = batch.room(paces, sizes, hash_key);
        let takes_first = |first: &&Outgoing| room.takes(first.data.len() + first.partition_key.len());
        queue.front().filter(takes_first)?;
        let first = queue.pop_front()?;
        // A record of more than what goes now would only wait for the shard to take that much at once.
        let most = sizes.record.min(room.of_request).min(room.of_shard);
        let mut riding = vec![first.riding];
        let mut packer: Option<Packer> = None;
        while first.packs
            && let Some(next) = queue.pop_front()
        {
            let packer = packer.get_or_insert_with(|| {
                let mut packer = Packer::new(hash_key);
                packer.push(first.partition_key.clone(), first.data.clone());
                packer
            });
            if packer.size_with(&next.partition_key, &next.data) > most {
                queue.push_front(next);
                break;
            }
            packer.push(next.partition_key, next.data);
            riding.push(next.riding);
        }
        self.count -= riding.len();
        if queue.is_empty() {
            self.strands.remove(&strand);
        }
        // One alone goes as it is: every reader knows it.
        let packed = packer.filter(|packer| packer.len() > 1).map(Packer::finish);
        let (partition_key, data) = packed.unwrap_or((first.partition_key, first.data));
        Some((Parcel { data, partition_key, hash_key, strand, alone: false, riding }, room.shard))
    }
}
