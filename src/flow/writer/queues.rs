//! What waits in a lane, and what of it fits into one request.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{BODY, REQUESTS};
use super::parked::Parked;
use super::waiting::{Waiting, Write};

/// Neighbours of a hot key that its full partition refused are tried again together, so long after the first of them:
/// tried at once, they would be refused again and again.
const NEIGHBOURS: Duration = Duration::from_millis(100);

/// What a batch holds so far.
#[derive(Default)]
pub(super) struct Room {
    most_wcu: f64,
    writes: usize,
    bytes: usize,
    wcu: f64,
    alone: bool,
}

impl Room {
    pub fn new(most_wcu: f64) -> Self {
        Self { most_wcu, ..Self::default() }
    }

    pub fn fits(&self, next: &Write, is_alone: bool) -> bool {
        let fits = self.writes < REQUESTS
            && self.bytes + next.kind.len() + 32 <= BODY
            && self.wcu + next.wcu <= self.most_wcu
            && !is_alone;
        !self.alone && (self.writes == 0 || fits)
    }

    pub fn fill(&mut self, next: &Write, is_alone: bool) -> bool {
        self.writes += 1;
        self.bytes += next.kind.len() + 32;
        self.wcu += next.wcu;
        self.alone = is_alone;
        true
    }
}

/// What waits in a lane.
pub(super) struct Queues {
    pub waiting: Waiting,
    /// Writes of hot keys, which the others may pass, and of neighbours that were refused with them.
    pub parked: Parked,
    /// When the neighbours are tried again.
    pub neighbours_at: Duration,
    /// Partition keys that are hot.
    pub hot: Arc<HashSet<u64>>,
}

impl Queues {
    fn is_parked(&self, partition: u64) -> bool {
        self.hot.contains(&partition) || self.parked.holds(partition)
    }

    /// Adds a later write.
    pub fn push(&mut self, write: Write) {
        if self.is_parked(write.partition) { self.parked.push(write) } else { self.waiting.push(write) }
    }

    /// Puts writes that did not get through back in front.
    pub fn put_back(&mut self, writes: Vec<Write>) {
        let (hot, others): (Vec<Write>, Vec<Write>) =
            writes.into_iter().partition(|write| self.is_parked(write.partition));
        self.waiting.put_back(others);
        hot.into_iter().rev().for_each(|write| self.parked.put_back(write));
    }

    /// Puts writes that were refused at `now` back: while a key is hot they wait a moment, and others pass them.
    pub fn put_back_refused(&mut self, now: Duration, writes: Vec<Write>) {
        if self.hot.is_empty() {
            return self.put_back(writes);
        }
        if now >= self.neighbours_at {
            self.neighbours_at = now + NEIGHBOURS;
        }
        writes.into_iter().rev().for_each(|write| self.parked.put_back(write));
        // Later writes of the same keys stay behind them.
        for write in self.waiting.take_hot(|partition| self.parked.holds(partition)) {
            self.parked.push(write);
        }
    }

    /// These keys are hot now.
    pub fn heat(&mut self, hot: Arc<HashSet<u64>>) {
        if !Arc::ptr_eq(&self.hot, &hot) {
            self.hot = hot;
            for write in self.waiting.take_hot(|partition| self.hot.contains(&partition)) {
                self.parked.push(write);
            }
        }
    }
}
