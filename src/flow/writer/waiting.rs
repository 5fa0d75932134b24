//! The writes that wait in one lane, in order, one for each key: a later version takes the place of an earlier one.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::flow::counters::Outcome;
use crate::flow::leases::Fence;
use crate::flow::ledger::Receipt;
use crate::flow::patience::Passed;
use crate::item::{Key, request};

/// What is written.
#[derive(Debug)]
pub(super) enum WriteKind {
    /// An item.
    Put(Bytes),
    /// The removal of the item of this key.
    Delete(Bytes),
    /// A whole `PutItem` with parameters of its own, for `item`.
    Request { request: Bytes, item: Bytes },
    /// A whole `DeleteItem` or `UpdateItem` with a condition.
    Conditional { request: Bytes, updates: bool },
}

impl WriteKind {
    /// Bytes of it in a request.
    pub fn len(&self) -> usize {
        match self {
            Self::Put(json) | Self::Delete(json) => json.len(),
            Self::Request { request, .. } | Self::Conditional { request, .. } => request.len(),
        }
    }
}

/// One write on its way into the table.
#[derive(Debug)]
pub(super) struct Write {
    pub key: Key,
    pub kind: WriteKind,
    /// Write capacity by its own size, WCU.
    pub wcu: f64,
    /// Goes in a request of its own: its batch was refused as invalid.
    pub alone: bool,
    /// Hash of its partition key.
    pub partition: u64,
    /// It was refused for want of capacity.
    pub was_refused: bool,
    /// How often it failed for a reason that may pass.
    pub failures: u32,
    /// How often of those others got through since the time before.
    pub own_failures: u32,
    /// How many requests had got through, and how many had failed, when it last failed.
    seen: Passed,
    receipt: Receipt,
    /// Earlier versions whose place it took, the latest last. They are settled with it: should the service refuse it
    /// for good, the latest of them is what belongs into the table.
    earlier: Vec<Write>,
    /// Its share of the writer's memory, given back when it is settled.
    _memory: Option<OwnedSemaphorePermit>,
}

/// So many failures while others got through show that the fault is the write's.
const EVIDENT: u32 = 3;

impl Write {
    pub fn new(key: Key, kind: WriteKind, wcu: f64, receipt: Receipt, memory: Option<OwnedSemaphorePermit>) -> Self {
        let partition = key.partition_hash();
        Self {
            key,
            kind,
            wcu,
            alone: false,
            partition,
            was_refused: false,
            failures: 0,
            own_failures: 0,
            seen: Passed::default(),
            receipt,
            earlier: Vec::new(),
            _memory: memory,
        }
    }

    /// The same, to go in a request of its own.
    pub fn on_its_own(self) -> Self {
        Self { alone: true, ..self }
    }

    /// The same, once it was refused for want of capacity.
    pub fn refused_for_now(self) -> Self {
        Self { was_refused: true, ..self }
    }

    /// The same, once it failed for a reason that may pass; `now` counts this failure too. In an outage nothing gets
    /// through, and no failure is its own. One that failed on its own before, and is all that fails since, still does:
    /// those behind it may wait for it.
    pub fn failed(self, now: Passed) -> Self {
        let is_alone = self.own_failures >= EVIDENT && now.failed == self.seen.failed + 1;
        let own = u32::from(now.got_through > self.seen.got_through || is_alone);
        Self { failures: self.failures + 1, own_failures: self.own_failures + own, seen: now, ..self }
    }

    /// Bytes that it keeps in memory, with those whose place it took.
    pub fn bytes(&self) -> usize {
        self.kind.len() + self.earlier.iter().map(Self::bytes).sum::<usize>()
    }

    /// How many earlier versions are settled with it.
    pub fn replaces(&self) -> usize {
        self.earlier.iter().map(|earlier| 1 + earlier.replaces()).sum()
    }

    /// Whether a later version may take its place, and it that of an earlier one: not where a condition's outcome
    /// counts.
    pub fn is_plain(&self) -> bool {
        !matches!(self.kind, WriteKind::Request { .. } | WriteKind::Conditional { .. })
    }

    /// Settles it, and those whose place it took.
    pub fn done(self, outcome: &Outcome) {
        for earlier in self.earlier {
            earlier.done(outcome.of_replaced());
        }
        self.receipt.settle(outcome.clone());
    }

    /// Settles it as refused for good; gives the version before it, which is now to be written. Where its table is one
    /// of many, the letter has to name it.
    pub fn refused(mut self, reason: String, table: Option<&str>) -> Option<Self> {
        let before = self.take_earlier();
        let payload = match (self.kind, table) {
            (WriteKind::Put(item), Some(table)) => request::encode(table, &item),
            (WriteKind::Delete(key), Some(table)) => request::encode_delete(table, &key),
            (WriteKind::Put(item), None) => item,
            (WriteKind::Delete(key), None) => key,
            (WriteKind::Request { request, .. } | WriteKind::Conditional { request, .. }, _) => request,
        };
        self.receipt.dead(reason, payload);
        before
    }

    /// The version before it, with those before that.
    fn take_earlier(&mut self) -> Option<Self> {
        self.earlier.pop().map(|before| Self { earlier: std::mem::take(&mut self.earlier), ..before })
    }

    /// Itself, if its record is still ours to write; otherwise the version before it whose record is. What is not ours any
    /// more stays open in its ledger.
    pub fn still_ours(mut self) -> Option<Self> {
        while !self.is_ours() {
            self = self.take_earlier()?;
        }
        Some(self)
    }

    /// Whether its record is still ours to write.
    pub fn is_ours(&self) -> bool {
        self.receipt.fence().is_none_or(Fence::holds)
    }

    /// The right to write its record, where that may be lost.
    pub fn fence(&self) -> Option<&Fence> {
        self.receipt.fence()
    }
}

/// A lane's queue.
#[derive(Debug)]
pub(super) struct Waiting {
    queue: VecDeque<Write>,
    /// How many writes of each key are in it.
    keys: HashMap<u128, u32>,
    last_wins: bool,
}

impl Waiting {
    /// An empty queue; `last_wins` unless the first version of a key is the one that counts.
    pub fn new(last_wins: bool) -> Self {
        Self { queue: VecDeque::new(), keys: HashMap::new(), last_wins }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn front(&self) -> Option<&Write> {
        self.queue.front()
    }

    pub fn pop_front(&mut self) -> Option<Write> {
        let write = self.queue.pop_front()?;
        self.forget(write.key.hash);
        Some(write)
    }

    /// Lets at most `most` writes of other keys pass the first one.
    pub fn let_pass(&mut self, most: usize) {
        if let Some(first) = self.queue.pop_front() {
            let others = self.queue.iter().take(most).take_while(|write| write.key.hash != first.key.hash);
            self.queue.insert(others.count(), first);
        }
    }

    /// Whether one of the first `among` has failed before.
    pub fn holds_failed(&self, among: usize) -> bool {
        self.queue.iter().take(among).any(|write| write.failures > 0)
    }

    fn forget(&mut self, key: u128) {
        if let Some(count) = self.keys.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(&key);
            }
        }
    }

    /// Adds a later write.
    pub fn push(&mut self, mut write: Write) {
        if self.last_wins && write.is_plain() && self.keys.contains_key(&write.key.hash) {
            let same = self.queue.iter_mut().rfind(|waiting| waiting.key.hash == write.key.hash);
            if let Some(before) = same.filter(|before| before.is_plain()) {
                std::mem::swap(before, &mut write);
                let (latest, mut before) = (before, write);
                latest.earlier = std::mem::take(&mut before.earlier);
                latest.earlier.push(before);
                return;
            }
        }
        *self.keys.entry(write.key.hash).or_default() += 1;
        self.queue.push_back(write);
    }

    /// Puts `writes`, which were sent and did not get through, back in front, in order.
    pub fn put_back(&mut self, writes: Vec<Write>) {
        for mut write in writes.into_iter().rev() {
            if self.last_wins && write.is_plain() && self.keys.contains_key(&write.key.hash) {
                let same = self.queue.iter_mut().find(|waiting| waiting.key.hash == write.key.hash);
                if let Some(later) = same.filter(|later| later.is_plain()) {
                    let mut earlier = std::mem::take(&mut write.earlier);
                    earlier.push(write);
                    earlier.append(&mut later.earlier);
                    later.earlier = earlier;
                    continue;
                }
            }
            *self.keys.entry(write.key.hash).or_default() += 1;
            self.queue.push_front(write);
        }
    }

    /// Takes out, in order, the writes of partitions that `is_hot`.
    pub fn take_hot(&mut self, is_hot: impl Fn(u64) -> bool) -> Vec<Write> {
        if !self.queue.iter().any(|write| is_hot(write.partition)) {
            return Vec::new();
        }
        let (hot, rest): (Vec<Write>, Vec<Write>) =
            std::mem::take(&mut self.queue).into_iter().partition(|write| is_hot(write.partition));
        self.queue = rest.into();
        hot.iter().for_each(|write| self.forget(write.key.hash));
        hot
    }
}
