//! The writes that wait in one lane, in order, one for each key: a later version takes the place of an earlier one.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::counters::Outcome;
use super::ledger::Receipt;
use crate::item::Key;

/// What is written.
#[derive(Debug)]
pub(super) enum WriteKind {
    /// An item.
    Put(Bytes),
    /// The removal of the item of this key.
    Delete(Bytes),
    /// A whole `PutItem` with parameters of its own, for `item`.
    Request { request: Bytes, item: Bytes },
}

impl WriteKind {
    /// Bytes of it in a request.
    pub fn len(&self) -> usize {
        match self {
            Self::Put(json) | Self::Delete(json) => json.len(),
            Self::Request { request, .. } => request.len(),
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
    receipt: Receipt,
    /// Earlier versions whose place it took, the latest last. They are settled with it: should the service refuse it
    /// for good, the latest of them is what belongs into the table.
    earlier: Vec<Write>,
    /// Its share of the writer's memory, given back when it is settled.
    _memory: Option<OwnedSemaphorePermit>,
}

impl Write {
    pub fn new(key: Key, kind: WriteKind, wcu: f64, receipt: Receipt, memory: Option<OwnedSemaphorePermit>) -> Self {
        Self { key, kind, wcu, alone: false, receipt, earlier: Vec::new(), _memory: memory }
    }

    /// The same, to go in a request of its own.
    pub fn on_its_own(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Whether a later version may take its place, and it that of an earlier one: not where a condition's outcome
    /// counts.
    fn is_plain(&self) -> bool {
        !matches!(self.kind, WriteKind::Request { .. })
    }

    /// Settles it, and those whose place it took.
    pub fn done(self, outcome: &Outcome) {
        for earlier in self.earlier {
            let outcome =
                if matches!(outcome, Outcome::Written | Outcome::Deleted) { &Outcome::Replaced } else { outcome };
            earlier.done(outcome);
        }
        self.receipt.settle(outcome.clone());
    }

    /// Settles it as refused for good; gives the version before it, which is now to be written.
    pub fn refused(mut self, reason: String) -> Option<Self> {
        let before = self.earlier.pop().map(|before| Self { earlier: std::mem::take(&mut self.earlier), ..before });
        let payload = match self.kind {
            WriteKind::Put(item) => item,
            WriteKind::Delete(key) => key,
            WriteKind::Request { request, .. } => request,
        };
        self.receipt.dead(reason, payload);
        before
    }
}

/// A lane's queue.
#[derive(Debug)]
pub(super) struct Waiting {
    queue: VecDeque<Write>,
    last_wins: bool,
}

impl Waiting {
    /// An empty queue; `last_wins` unless the first version of a key is the one that counts.
    pub fn new(last_wins: bool) -> Self {
        Self { queue: VecDeque::new(), last_wins }
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
        self.queue.pop_front()
    }

    /// Adds a later write.
    pub fn push(&mut self, mut write: Write) {
        if self.last_wins && write.is_plain() {
            // The queue is short: a walk is cheaper than an index.
            let same = self.queue.iter_mut().rfind(|waiting| waiting.key.hash == write.key.hash);
            if let Some(before) = same.filter(|before| before.is_plain()) {
                std::mem::swap(before, &mut write);
                let (latest, mut before) = (before, write);
                latest.earlier = std::mem::take(&mut before.earlier);
                latest.earlier.push(before);
                return;
            }
        }
        self.queue.push_back(write);
    }

    /// Puts `writes`, which were sent and did not get through, back in front, in order.
    pub fn put_back(&mut self, writes: Vec<Write>) {
        for mut write in writes.into_iter().rev() {
            if self.last_wins && write.is_plain() {
                let same = self.queue.iter_mut().find(|waiting| waiting.key.hash == write.key.hash);
                if let Some(later) = same.filter(|later| later.is_plain()) {
                    let mut earlier = std::mem::take(&mut write.earlier);
                    earlier.push(write);
                    earlier.append(&mut later.earlier);
                    later.earlier = earlier;
                    continue;
                }
            }
            self.queue.push_front(write);
        }
    }
}
