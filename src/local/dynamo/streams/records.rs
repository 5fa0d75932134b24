//! The records of one shard, oldest first: the latest as they came, those before them packed in compressed blocks.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::local::throughput::Millis;

/// A sequence number. AWS's have 21 to 40 digits; ours up to 39.
pub(super) type Sequence = u128;

/// Records of a block. A read unpacks whole blocks, and 1,000 records are what one call gives.
const BLOCK_RECORDS: usize = 512;
/// Bytes after which a block is packed with fewer records: large items must not stay as they came.
const BLOCK_BYTES: usize = 512 * 1024;
/// Sequence, time, change, size and length of the images.
const HEAD: usize = 16 + 8 + 1 + 4 + 4;
/// The bit of the change's byte that says who deleted.
const EXPIRED: u8 = 0x80;

/// What happened to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Insert,
    Modify,
    Remove,
}

impl Change {
    /// As a record's `eventName`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Modify => "MODIFY",
            Self::Remove => "REMOVE",
        }
    }

    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Insert,
            1 => Self::Modify,
            _ => Self::Remove,
        }
    }
}

/// One change of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) sequence: Sequence,
    /// When it was made, ms since the epoch.
    pub(super) created_ms: Millis,
    pub(super) change: Change,
    /// Deleted by time to live, not by a request.
    pub(super) expired: bool,
    /// Keys and images as `DynamoDB` measures items, bytes.
    pub(super) size: u32,
    /// The members of `dynamodb` that hold items, as JSON: `"Keys":{…},"NewImage":{…}`.
    pub(super) images: Box<[u8]>,
}

/// Records that were packed together.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) last_ms: Millis,
    /// Length once unpacked, bytes.
    pub(super) plain: usize,
    pub(super) packed: Arc<[u8]>,
}

/// All records of a shard that are kept.
#[derive(Debug, Default)]
pub(super) struct Records {
    blocks: VecDeque<Block>,
    /// Not packed yet.
    latest: VecDeque<Record>,
    latest_bytes: usize,
    /// The last record that is kept no more; 0 before any went.
    trimmed: Sequence,
    /// The block that was read last: readers come back for the rest of it.
    open: Option<(Sequence, Arc<[Record]>)>,
}

impl Records {
    /// The last record that is kept no more; 0 before any went.
    pub(super) fn trimmed(&self) -> Sequence {
        self.trimmed
    }

    /// Records as [`Records::all_packed`] gave them.
    pub(super) fn of(trimmed: Sequence, blocks: impl Iterator<Item = Block>) -> Self {
        Self { trimmed, blocks: blocks.collect(), ..Self::default() }
    }

    /// The last record that is kept no more, and all that are kept, in blocks.
    pub(super) fn all_packed(&mut self) -> (Sequence, impl Iterator<Item = &Block>) {
        self.pack();
        (self.trimmed, self.blocks.iter())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.latest.is_empty()
    }

    /// Adds one; its sequence number is higher and its time no earlier than those before it.
    pub(super) fn append(&mut self, record: Record) {
        self.latest_bytes += HEAD + record.images.len();
        self.latest.push_back(record);
        if self.latest.len() >= BLOCK_RECORDS || self.latest_bytes >= BLOCK_BYTES {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let (Some(first), Some(last)) = (self.latest.front(), self.latest.back()) else { return };
        let (first, last, last_ms) = (first.sequence, last.sequence, last.created_ms);
        let mut plain = Vec::with_capacity(self.latest_bytes);
        for record in &self.latest {
            plain.extend_from_slice(&record.sequence.to_le_bytes());
            plain.extend_from_slice(&record.created_ms.to_le_bytes());
            plain.push(record.change as u8 | if record.expired { EXPIRED } else { 0 });
            plain.extend_from_slice(&record.size.to_le_bytes());
            plain.extend_from_slice(&(record.images.len() as u32).to_le_bytes());
            plain.extend_from_slice(&record.images);
        }
        // Level 1: repeated names and types go, and a write hardly waits for it.
        let packed = zstd::bulk::compress(&plain, 1).expect("memory is always written");
        self.blocks.push_back(Block { first, last, last_ms, plain: plain.len(), packed: packed.into() });
        self.latest.clear();
        self.latest_bytes = 0;
    }

    /// Forgets what was made before `before_ms` (ms since the epoch). Of packed records a block goes as a whole, once
    /// its last record is that old: AWS too promises no moment.
    pub(super) fn trim(&mut self, before_ms: Millis) {
        while let Some(block) = self.blocks.pop_front_if(|block| block.last_ms < before_ms) {
            self.trimmed = block.last;
            self.open = None;
        }
        if self.blocks.is_empty() {
            while let Some(record) = self.latest.pop_front_if(|record| record.created_ms < before_ms) {
                self.trimmed = record.sequence;
                self.latest_bytes -= HEAD + record.images.len();
            }
        }
    }

    /// Shows `take` the records from `from` on, until it wants no more.
    pub(super) fn each(&mut self, from: Sequence, mut take: impl FnMut(&Record) -> bool) {
        let begin = self.blocks.partition_point(|block| block.last < from);
        for at in begin..self.blocks.len() {
            let records = self.unpacked(at);
            for record in records.iter().filter(|record| record.sequence >= from) {
                if !take(record) {
                    return;
                }
            }
        }
        let begin = self.latest.partition_point(|record| record.sequence < from);
        for record in self.latest.range(begin..) {
            if !take(record) {
                return;
            }
        }
    }

    fn unpacked(&mut self, at: usize) -> Arc<[Record]> {
        let block = &self.blocks[at];
        if let Some((first, records)) = &self.open
            && *first == block.first
        {
            return Arc::clone(records);
        }
        let plain = zstd::bulk::decompress(&block.packed, block.plain).expect("this process packed it");
        let records = unpack(&plain);
        self.open = Some((block.first, Arc::clone(&records)));
        records
    }
}

fn unpack(mut plain: &[u8]) -> Arc<[Record]> {
    let mut records = Vec::with_capacity(BLOCK_RECORDS);
    while let Some((head, rest)) = plain.split_first_chunk::<HEAD>() {
        let sequence = Sequence::from_le_bytes(*head.first_chunk().expect("a head has 33 bytes"));
        let created_ms = Millis::from_le_bytes(*head[16..].first_chunk().expect("a head has 33 bytes"));
        let size = u32::from_le_bytes(*head[25..].first_chunk().expect("a head has 33 bytes"));
        let length = u32::from_le_bytes(*head[29..].first_chunk().expect("a head has 33 bytes"));
        let (images, rest) = rest.split_at(length as usize);
        let change = Change::of(head[24] & !EXPIRED);
        let expired = head[24] & EXPIRED != 0;
        records.push(Record { sequence, created_ms, change, expired, size, images: images.into() });
        plain = rest;
    }
    records.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u32) -> Record {
        Record {
            sequence: 10_u128.pow(30) + u128::from(n) * 7,
            created_ms: i64::from(n) * 10,
            change: [Change::Insert, Change::Modify, Change::Remove][n as usize % 3],
            expired: n % 3 == 2 && n.is_multiple_of(2),
            size: n,
            images: format!("\"Keys\":{{\"id\":{{\"S\":\"{n}\"}}}}").into_bytes().into(),
        }
    }

    fn read(records: &mut Records, from: Sequence, most: usize) -> Vec<Record> {
        let mut read = Vec::new();
        records.each(from, |record| {
            read.push(record.clone());
            read.len() < most
        });
        read
    }

    #[test]
    fn what_was_appended_is_read_back_from_anywhere_packed_or_not() {
        let all: Vec<Record> = (0..1_700).map(record).collect();
        let mut records = Records::default();
        all.iter().for_each(|record| records.append(record.clone()));
        assert_eq!(records.blocks.len(), 3);
        assert_eq!(read(&mut records, 0, usize::MAX), all);
        for from in [0, 511, 512, 1_535, 1_536, 1_699] {
            let sequence = all[from].sequence;
            assert_eq!(read(&mut records, sequence, 600), all[from..].iter().take(600).cloned().collect::<Vec<_>>());
            // Between two numbers: what comes next.
            assert_eq!(read(&mut records, sequence + 1, 1).first(), all.get(from + 1));
        }
    }

    #[test]
    fn a_large_item_does_not_wait_for_many_others_to_be_packed() {
        let mut records = Records::default();
        let images = vec![b'x'; 400 * 1024].into_boxed_slice();
        for n in 0..10 {
            records.append(Record { images: images.clone(), ..record(n) });
        }
        assert!(records.latest_bytes < BLOCK_BYTES);
        let packed: usize = records.blocks.iter().map(|block| block.packed.len()).sum();
        assert!(packed < 100 * 1024, "{packed}");
        assert_eq!(read(&mut records, 0, 100).len(), 10);
    }

    #[test]
    fn trimming_forgets_the_oldest_and_remembers_where_it_stopped() {
        let mut records = Records::default();
        (0..600).for_each(|n| records.append(record(n)));
        records.trim(record(300).created_ms);
        assert_eq!(records.trimmed(), 0, "a packed block goes as a whole");
        records.trim(record(520).created_ms);
        assert_eq!(records.trimmed(), record(519).sequence);
        assert_eq!(read(&mut records, 0, 1), [record(520)]);
        records.trim(Millis::MAX);
        assert!(records.is_empty());
        assert_eq!((records.trimmed(), records.latest_bytes), (record(599).sequence, 0));
    }
}
