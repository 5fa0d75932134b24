//! The items that were there before: scanned at a pace while the stream is read, and, where a replica begins anew, the rows
//! removed that the source does not have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::FuturesUnordered;
use xxhash_rust::xxh3::xxh3_128;

use super::intake::Gate;
use super::position::{SegmentAt, segment_row};
use crate::cloud::inventory::Table;
use crate::cloud::{Class, Cloud, CloudError};
use crate::flow::{
    AwsTable, ChangeKind, Clock, Counters, Ledger, Letter, Outcome, Position, Receipt, ReplicaRow, RowOrigin,
    ScanOptions, Scanner, SequenceNumber,
};
use crate::item::{Checker, Key, Shaped};
use crate::jobs::verify::attribute;

/// Items of a segment that are open at once.
const WINDOW: usize = 4_000;
/// Bytes of a table for each segment of its scan, and how many there are at least and at most.
const SEGMENT_BYTES: u64 = 256 << 20;
const SEGMENTS: (u64, u64) = (4, 64);
/// Keys that a `BatchGetItem` takes (`DynamoDB` API reference).
const GET: usize = 100;

/// Segments for a table of so many bytes.
pub(super) fn segments(bytes: u64) -> u32 {
    bytes.div_ceil(SEGMENT_BYTES).clamp(SEGMENTS.0, SEGMENTS.1) as u32
}

/// Where a scanned item is.
#[derive(Clone, Debug)]
struct ScanAt {
    table: Arc<str>,
    segment: u32,
    /// Where the segment goes on when this item is settled: at its page, or after it for the page's last item.
    after: Option<Bytes>,
    size: u32,
}

impl Position for ScanAt {
    fn letter(&self, reason: String, payload: Bytes) -> Letter {
        Letter {
            source: format!("table {}", self.table),
            line: None,
            offset: None,
            // As of a stream: what it holds is a put request, shaped already.
            shard: Some(format!("scan-{}", self.segment)),
            sequence: Some(format!("{:032x}", xxh3_128(&payload))),
            reason,
            payload,
        }
    }

    fn bytes(&self) -> u64 {
        u64::from(self.size)
    }
}

/// One part of the table.
struct Segment {
    number: u32,
    ledger: Arc<Ledger<ScanAt>>,
    start: Option<Bytes>,
    /// Read to its end.
    read: AtomicBool,
    told: Mutex<SegmentAt>,
}

/// What passed the marks of a bootstrap.
pub(super) struct Passed {
    /// Rows for the journal.
    pub rows: Vec<(String, Vec<u8>)>,
    /// Dead letters, to be stored with them.
    pub letters: Vec<Letter>,
    /// All that was counted in this run.
    pub counters: Counters,
}

/// The bootstrap of one direction.
pub(super) struct Bootstrap {
    gate: Arc<Gate>,
    table: Arc<str>,
    scanner: Arc<Scanner>,
    segments: Vec<Segment>,
    prefix: &'static str,
    /// Items by the service's last count.
    pub total: u64,
    /// Counts what a sweep removes.
    sweeping: Arc<Ledger<ScanAt>>,
    swept: AtomicU64,
    pub done: AtomicBool,
}

impl Bootstrap {
    /// A bootstrap that goes on where `left` says.
    #[expect(clippy::too_many_arguments, reason = "each is one thing that a scan needs")]
    pub fn new(
        gate: Arc<Gate>,
        cloud: &Cloud,
        table: &Table,
        prefix: &'static str,
        count: u32,
        left: &BTreeMap<u32, SegmentAt>,
        budget: Option<f64>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let source = AwsTable::new(cloud.bulk.dynamodb.clone(), &table.name, table.key.clone());
        // Consistent: a stale read would miss a change from just before the stream's place was taken.
        let options = ScanOptions { table: table.name.clone(), segments: count, consistent: true };
        let scanner = Arc::new(Scanner::new(Arc::new(source), options, budget, Arc::clone(clock)));
        let segments = (0..count).map(|number| {
            let at = left.get(&number).cloned().unwrap_or_default();
            Segment {
                number,
                ledger: Arc::new(Ledger::new(WINDOW)),
                start: at.after.clone().map(Bytes::from),
                read: AtomicBool::new(at.done),
                told: Mutex::new(at),
            }
        });
        Self {
            gate,
            table: table.name.as_str().into(),
            scanner,
            segments: segments.collect(),
            prefix,
            total: table.items,
            sweeping: Arc::new(Ledger::new(WINDOW)),
            swept: AtomicU64::new(0),
            done: AtomicBool::new(false),
        }
    }

    /// The scan, for its pace.
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// Scans all segments, and ends once their items are in the replica.
    pub async fn scan(&self) -> Result<(), CloudError> {
        let parts: FuturesUnordered<_> = self.segments.iter().map(|segment| self.read(segment)).collect();
        parts.try_collect::<Vec<()>>().await?;
        for segment in &self.segments {
            segment.ledger.drained().await;
        }
        Ok(())
    }

    async fn read(&self, segment: &Segment) -> Result<(), CloudError> {
        let mut after = segment.start.clone();
        while !segment.read.load(Ordering::Acquire) {
            let page = self.scanner.page(segment.number, after.as_ref()).await?;
            let last = page.items.len().saturating_sub(1);
            for (n, item) in page.items.into_iter().enumerate() {
                let at = ScanAt {
                    table: Arc::clone(&self.table),
                    segment: segment.number,
                    after: if n == last { page.after.clone().or_else(|| after.clone()) } else { after.clone() },
                    size: item.len() as u32,
                };
                let Ok(receipt) = segment.ledger.open(at).await else { return Ok(()) };
                self.hand_on(item, receipt).await?;
            }
            after = page.after;
            if after.is_none() {
                segment.read.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    async fn hand_on(&self, item: Bytes, receipt: Receipt) -> Result<(), CloudError> {
        let gate = &self.gate;
        gate.counts.add(|counts| counts.scanned += 1);
        let image = match gate.shape.apply(item.clone()) {
            Ok(Shaped::Item(image)) => image,
            Ok(Shaped::Skipped) => {
                gate.counts.add(|counts| counts.filtered += 1);
                receipt.settle(Outcome::Skipped);
                return Ok(());
            }
            Err(refusal) => {
                gate.refuse(&item, refusal.to_string(), receipt);
                return Ok(());
            }
        };
        let checked = match gate.checker.check(image.clone()) {
            Ok(checked) => checked,
            Err(refusal) => {
                gate.refuse(&image, refusal.to_string(), receipt);
                return Ok(());
            }
        };
        let _turn = gate.fence.turn(checked.key.hash).await;
        if gate.fence.has(checked.key.hash) {
            gate.counts.add(|counts| counts.superseded += 1);
            receipt.settle(Outcome::Skipped);
            return Ok(());
        }
        let row = ReplicaRow { key: checked.key.json, image: Some(image), origin: RowOrigin::Scan };
        gate.replica.take(row, receipt).await
    }

    /// Removes from `target` what `source` does not have, or has and the filter leaves out.
    pub async fn sweep(
        &self,
        (source_cloud, source): (&Cloud, &Table),
        (target_cloud, target): (&Cloud, &Table),
        renames: &[(String, String)],
        budget: Option<f64>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(), CloudError> {
        let table = AwsTable::new(target_cloud.bulk.dynamodb.clone(), &target.name, target.key.clone());
        let count = segments(target.bytes);
        let options = ScanOptions { table: target.name.clone(), segments: count, consistent: true };
        let scanner = Scanner::new(Arc::new(table), options, budget, Arc::clone(clock));
        let (scanner, checker) = (&scanner, &Checker::new(target.key.clone()));
        let parts: FuturesUnordered<_> = (0..count)
            .map(|segment| async move {
                let mut after = None;
                loop {
                    let page = scanner.page(segment, after.as_ref()).await?;
                    let keys: Vec<Key> =
                        page.items.iter().filter_map(|item| Some(checker.check(item.clone()).ok()?.key)).collect();
                    for keys in keys.chunks(GET) {
                        let there = self.there(source_cloud, source, keys, renames, clock).await?;
                        for key in keys.iter().filter(|key| !there.contains(&key.hash)) {
                            self.remove(key).await?;
                        }
                    }
                    after = page.after;
                    if after.is_none() {
                        return Ok::<(), CloudError>(());
                    }
                }
            })
            .collect();
        parts.try_collect::<Vec<()>>().await?;
        self.sweeping.drained().await;
        Ok(())
    }

    async fn remove(&self, key: &Key) -> Result<(), CloudError> {
        let at = ScanAt { table: Arc::clone(&self.table), segment: u32::MAX, after: None, size: key.json.len() as u32 };
        let gate = &self.gate;
        let _turn = gate.fence.turn(key.hash).await;
        // The stream has spoken of it since: what it said counts.
        if gate.fence.has(key.hash) {
            return Ok(());
        }
        let Ok(receipt) = self.sweeping.open(at).await else { return Ok(()) };
        self.swept.fetch_add(1, Ordering::Relaxed);
        gate.counts.add(|counts| counts.swept += 1);
        let origin = RowOrigin::Change {
            kind: ChangeKind::Removed,
            sequence: SequenceNumber("0".to_owned()),
            at_ms: 0,
            by_ttl: false,
            old: None,
        };
        gate.replica.take(ReplicaRow { key: key.json.clone(), image: None, origin }, receipt).await
    }

    /// Which of `keys`, in the names of the replica, the source has and the filter lets through.
    async fn there(
        &self,
        cloud: &Cloud,
        source: &Table,
        keys: &[Key],
        renames: &[(String, String)],
        clock: &Arc<dyn Clock>,
    ) -> Result<HashSet<u128>, CloudError> {
        let in_source = |key: &Key| {
            let item = attribute::attributes(&key.json)?;
            let name = |name: String| renames.iter().find(|(_, new)| *new == name).map_or(name, |(old, _)| old.clone());
            Some(item.into_iter().map(|(key, value)| (name(key), value)).collect::<HashMap<String, AttributeValue>>())
        };
        let mut left: Vec<HashMap<String, AttributeValue>> = keys.iter().filter_map(in_source).collect();
        let mut there = HashSet::new();
        let mut tries = 0_u32;
        while !left.is_empty() {
            let wanted = KeysAndAttributes::builder().set_keys(Some(left.clone())).consistent_read(true).build();
            let wanted = wanted.map_err(|e| CloudError::new(Class::Invalid, e.to_string(), ""))?;
            match cloud.bulk.dynamodb.batch_get_item().request_items(&source.name, wanted).send().await {
                Ok(reply) => {
                    for item in reply.responses.unwrap_or_default().remove(&source.name).unwrap_or_default() {
                        there.extend(self.passes(&item));
                    }
                    let unprocessed = reply.unprocessed_keys.unwrap_or_default().remove(&source.name);
                    let before = left.len();
                    left = unprocessed.map(|unprocessed| unprocessed.keys).unwrap_or_default();
                    tries = if left.len() < before { 0 } else { tries + 1 };
                }
                Err(error) => {
                    let error = CloudError::of(&format!("read keys of table {}", source.name), &error);
                    if !error.class.is_retryable() || (error.class != Class::Throttled && tries > 20) {
                        return Err(error);
                    }
                    tries += 1;
                }
            }
            if tries > 0 {
                clock.sleep(Duration::from_millis(50 << tries.min(7))).await;
            }
        }
        Ok(there)
    }

    /// The key in the replica of an item of the source, if the filter lets it through.
    fn passes(&self, item: &HashMap<String, AttributeValue>) -> Option<u128> {
        let json = Bytes::from(attribute::item_json(item).to_string());
        let image = match self.gate.shape.apply(json.clone()) {
            Ok(Shaped::Item(image)) => image,
            Ok(Shaped::Skipped) => return None,
            // One that can't be shaped is a dead letter, and no reason to remove anything.
            Err(_) => self.gate.shape.key(json).ok()?,
        };
        Some(self.gate.checker.check(image).ok()?.key.hash)
    }

    /// Counters of all that was scanned and swept by this run, also what no checkpoint covers yet.
    pub fn live(&self) -> Counters {
        let scanned = self.segments.iter().fold(Counters::default(), |sum, segment| sum + segment.ledger.live());
        scanned + self.sweeping.live()
    }

    /// What passed the marks since the last call.
    pub fn settled(&self) -> Passed {
        let (mut rows, mut letters, mut counters) = (Vec::new(), Vec::new(), Counters::default());
        for segment in &self.segments {
            // In this order: a segment that is read has opened everything.
            let read = segment.read.load(Ordering::Acquire);
            let settled = segment.ledger.take_settled();
            letters.extend(settled.letters);
            counters += settled.counters;
            let mut told = segment.told.lock().unwrap_or_else(PoisonError::into_inner);
            let after = match settled.position {
                Some(at) => at.after.map(|after| String::from_utf8_lossy(&after).into_owned()),
                None => told.after.clone(),
            };
            let now = SegmentAt { after, done: read && segment.ledger.open_records() == 0 };
            if now != *told {
                rows.push(segment_row(self.prefix, segment.number, &now));
                *told = now;
            }
        }
        let swept = self.sweeping.take_settled();
        letters.extend(swept.letters);
        Passed { rows, letters, counters: counters + swept.counters }
    }
}

/// The renames of `shape`, as pairs.
pub(super) fn renames(spec: &crate::item::ShapeSpec) -> Vec<(String, String)> {
    let pair = |text: &String| text.split_once('=').map(|(old, new)| (old.to_owned(), new.to_owned()));
    spec.rename.iter().filter_map(pair).collect()
}

/// `schema` in the names of the replica.
pub(super) fn renamed(schema: &crate::item::KeySchema, renames: &[(String, String)]) -> crate::item::KeySchema {
    let mut schema = schema.clone();
    for attr in std::iter::once(&mut schema.partition).chain(schema.sort.as_mut()) {
        if let Some((_, new)) = renames.iter().find(|(old, _)| *old == attr.name) {
            attr.name.clone_from(new);
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_in_the_middle_of_a_page_is_gone_on_from_at_its_page() {
        let at = |after: Option<&'static [u8]>| ScanAt {
            table: "t".into(),
            segment: 3,
            after: after.map(Bytes::from_static),
            size: 9,
        };
        let letter = at(None).letter("bad".into(), Bytes::from_static(b"x"));
        assert_eq!((letter.shard.as_deref(), letter.source.as_str()), (Some("scan-3"), "table t"));
        assert_ne!(letter.sequence, at(None).letter("bad".into(), Bytes::from_static(b"y")).sequence);
    }

    #[test]
    fn segments_follow_the_size_of_the_table() {
        assert_eq!([0, 2 << 30, 1 << 40].map(segments), [4, 8, 64]);
    }
}
