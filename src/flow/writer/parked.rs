//! The writes of hot keys that wait in one lane, a queue for each partition key, so that the others can pass them.

use std::collections::BTreeMap;

use super::waiting::{Waiting, Write};

/// What a lane has parked.
#[derive(Debug)]
pub(super) struct Parked {
    queues: BTreeMap<u64, Waiting>,
    last_wins: bool,
    bytes: usize,
    /// Bytes that it holds at most, about.
    most: usize,
}

impl Parked {
    /// Nothing yet, and room for about `most` bytes; `last_wins` as in [`Waiting::new`].
    pub fn new(last_wins: bool, most: usize) -> Self {
        Self { queues: BTreeMap::new(), last_wins, bytes: 0, most }
    }

    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// True when no more should be taken in.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.most
    }

    /// Whether writes of `partition` wait here: later ones must wait behind them.
    pub fn holds(&self, partition: u64) -> bool {
        self.queues.contains_key(&partition)
    }

    /// Whether writes of any partition that is `such` wait here.
    pub fn any(&self, such: impl Fn(u64) -> bool) -> bool {
        self.queues.keys().any(|partition| such(*partition))
    }

    /// Adds a later write.
    pub fn push(&mut self, write: Write) {
        self.bytes += write.bytes();
        let last_wins = self.last_wins;
        self.queues.entry(write.partition).or_insert_with(|| Waiting::new(last_wins)).push(write);
    }

    /// Puts a write that was sent and did not get through back in front of those of its partition.
    pub fn put_back(&mut self, write: Write) {
        self.bytes += write.bytes();
        let last_wins = self.last_wins;
        self.queues.entry(write.partition).or_insert_with(|| Waiting::new(last_wins)).put_back(vec![write]);
    }

    /// Takes out, in order within each partition, the writes that `passes` lets through.
    pub fn take(&mut self, mut passes: impl FnMut(&Write) -> bool) -> Vec<Write> {
        let mut taken = Vec::new();
        for queue in self.queues.values_mut() {
            while queue.front().is_some_and(&mut passes) {
                taken.extend(queue.pop_front());
            }
        }
        self.bytes = self.bytes.saturating_sub(taken.iter().map(Write::bytes).sum());
        self.queues.retain(|_, queue| !queue.is_empty());
        taken
    }
}
