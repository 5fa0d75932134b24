//! The records of a stream: one list a shard, in memory, trimmed by the stream's retention.
//!
//! A batch is numbered and appended under one lock, so that a reader who saw a record has seen all before it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::budget::Budget;

/// A record as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its place in the shard, counted from the shard's first record ever.
    pub(super) position: u64,
    /// When it arrived, ms since epoch; never earlier than the record before it.
    pub(super) arrival_ms: u64,
    pub(super) partition_key: String,
    pub(super) data: Bytes,
}

impl Stored {
    /// Its size as limits and metrics count it.
    pub(super) fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// Why a record was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The shard took all it can in this second.
    Throttled,
    /// A reader was told that the shard has ended: the record belongs to a child.
    Ended,
}

/// What a read gave.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) records: Vec<Arc<Stored>>,
    /// Where the next read goes on.
    pub(super) next: u64,
    /// Now minus the arrival of the last record given, or of the next one if none was; 0 at the tip.
    pub(super) millis_behind: u64,
    /// The shard is closed and all of it was read.
    pub(super) ended: bool,
}

/// One shard's records.
#[derive(Debug, Default)]
struct Shard {
    records: VecDeque<Arc<Stored>>,
    /// Records that were trimmed: the position of the first one kept.
    trimmed: u64,
    /// A reader was told that there is no more.
    ended: bool,
    budget: Budget,
}

impl Shard {
    fn tip(&self) -> u64 {
        self.trimmed + self.records.len() as u64
    }

    fn trim(&mut self, before_ms: u64) {
        while self.records.front().is_some_and(|record| record.arrival_ms < before_ms) {
            self.records.pop_front();
            self.trimmed += 1;
        }
    }
}

/// One stream's records.
#[derive(Debug, Default)]
pub(super) struct Log {
    shards: Vec<Shard>,
    /// Told when records came, for those that they are pushed to.
    grown: watch::Sender<()>,
}

impl Log {
    fn shard(&mut self, shard: usize) -> &mut Shard {
        if self.shards.len() <= shard {
            self.shards.resize_with(shard + 1, Shard::default);
        }
        &mut self.shards[shard]
    }

    /// Says when [`Log::tell`] was called.
    pub(super) fn grown(&self) -> watch::Receiver<()> {
        self.grown.subscribe()
    }

    /// Tells those who wait for records that some came.
    pub(super) fn tell(&self) {
        self.grown.send_replace(());
    }

    /// Forgets what arrived before `before_ms` (ms since epoch).
    pub(super) fn trim(&mut self, before_ms: u64) {
        for shard in &mut self.shards {
            shard.trim(before_ms);
        }
    }

    /// Appends one record and gives its position and arrival. Only with `limits` can it be throttled.
    pub(super) fn append(
        &mut self,
        shard: usize,
        now_ms: u64,
        limits: bool,
        partition_key: &str,
        data: &Bytes,
    ) -> Result<(u64, u64), Refused> {
        let shard = self.shard(shard);
        if shard.ended {
            return Err(Refused::Ended);
        }
        if limits && !shard.budget.take_write(now_ms, partition_key.len() + data.len()) {
            return Err(Refused::Throttled);
        }
        let position = shard.tip();
        let arrival_ms = shard.records.back().map_or(now_ms, |last| last.arrival_ms.max(now_ms));
        shard.records.push_back(Arc::new(Stored {
            position,
            arrival_ms,
            partition_key: partition_key.to_owned(),
            data: data.clone(),
        }));
        Ok((position, arrival_ms))
    }

    /// Reads at most `limit` records of at most `bytes` (but always one) from `from` on. `closed` says that nothing is
    /// routed to this shard any more. `None` when `limits` are on and the shard gave out all it can in this second.
    pub(super) fn read(&mut self, shard: usize, from: u64, ask: &Ask) -> Option<Batch> {
        let shard = self.shard(shard);
        if ask.limits && !shard.budget.take_read(ask.now_ms) {
            return None;
        }
        let from = from.clamp(shard.trimmed, shard.tip());
        let mut size = 0;
        let mut records = Vec::new();
        for record in shard.records.range((from - shard.trimmed) as usize..).take(ask.limit) {
            size += record.size();
            if size > ask.bytes && !records.is_empty() {
                size -= record.size();
                break;
            }
            records.push(Arc::clone(record));
        }
        if ask.limits {
            shard.budget.took_bytes(size);
        }
        let next = from + records.len() as u64;
        let at_tip = next == shard.tip();
        let reference = records.last().or_else(|| shard.records.front());
        let millis_behind = match reference {
            // At least 1: 0 says that there is nothing more.
            Some(record) if !at_tip => ask.now_ms.saturating_sub(record.arrival_ms).max(1),
            _ => 0,
        };
        let ended = ask.closed && at_tip;
        shard.ended |= ended;
        Some(Batch { records, next, millis_behind, ended })
    }

    /// Where a reader that starts at `start` begins.
    pub(super) fn position(&mut self, shard: usize, start: &Start) -> u64 {
        let shard = self.shard(shard);
        match *start {
            Start::TrimHorizon => shard.trimmed,
            Start::Latest => shard.tip(),
            Start::Position(position) => position,
            Start::Arrival(at_ms) => {
                shard.trimmed + shard.records.partition_point(|record| record.arrival_ms < at_ms) as u64
            }
        }
    }
}

/// How a read is limited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) now_ms: u64,
    pub(super) limit: usize,
    pub(super) bytes: usize,
    /// Nothing is routed to this shard any more.
    pub(super) closed: bool,
    /// Whether the read limits hold that all who poll the shard share.
    pub(super) limits: bool,
}

/// Where a shard iterator starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    TrimHorizon,
    Latest,
    Position(u64),
    /// The first record that arrived at this time or later, ms since epoch.
    Arrival(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask { now_ms: 10_000, limit: 10_000, bytes: 1 << 20, closed: false, limits: false };

    fn log(arrivals: &[u64]) -> Log {
        let mut log = Log::default();
        for (n, at_ms) in arrivals.iter().enumerate() {
            log.append(0, *at_ms, false, "k", &Bytes::from(n.to_string())).unwrap();
        }
        log
    }

    #[test]
    fn a_backlog_is_behind_by_the_age_of_the_last_record_read_and_the_tip_by_nothing() {
        let mut log = log(&[1000, 2500, 4000]);
        let batch = log.read(0, 0, &Ask { limit: 2, ..ASK }).unwrap();
        assert_eq!((batch.next, batch.millis_behind), (2, 7500));
        let batch = log.read(0, 2, &ASK).unwrap();
        assert_eq!((batch.next, batch.millis_behind), (3, 0));
        assert_eq!(log.read(0, 3, &ASK).unwrap().records, []);
    }

    #[test]
    fn arrival_times_never_go_back() {
        let mut log = log(&[5000, 4000]);
        assert_eq!(log.read(0, 0, &ASK).unwrap().records[1].arrival_ms, 5000);
    }

    #[test]
    fn a_time_is_found_between_two_records_and_after_the_last_one_is_the_tip() {
        let mut log = log(&[1000, 2000, 3000]);
        let at = |log: &mut Log, ms| log.position(0, &Start::Arrival(ms));
        assert_eq!([at(&mut log, 0), at(&mut log, 2000), at(&mut log, 2001), at(&mut log, 9000)], [0, 1, 2, 3]);
    }

    #[test]
    fn expired_records_are_gone_and_the_others_keep_their_positions() {
        let mut log = log(&[1000, 2000, 3000]);
        log.trim(2000);
        let batch = log.read(0, 0, &ASK).unwrap();
        assert_eq!(batch.records.iter().map(|record| record.position).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(log.position(0, &Start::TrimHorizon), 1);
        assert_eq!(log.append(0, 5000, false, "k", &Bytes::new()).unwrap().0, 3);
    }

    #[test]
    fn a_reply_ends_before_its_size_is_exceeded_but_never_empty() {
        let mut log = log(&[1, 2, 3]);
        assert_eq!(log.read(0, 0, &Ask { bytes: 5, ..ASK }).unwrap().next, 2);
        assert_eq!(log.read(0, 0, &Ask { bytes: 1, ..ASK }).unwrap().next, 1);
    }

    #[test]
    fn once_a_reader_saw_the_end_of_a_closed_shard_nothing_is_appended_to_it() {
        let mut log = log(&[1, 2]);
        assert!(!log.read(0, 0, &Ask { limit: 1, closed: true, ..ASK }).unwrap().ended);
        assert!(log.append(0, 3, false, "k", &Bytes::new()).is_ok(), "a record on its way is still read");
        assert!(log.read(0, 1, &Ask { closed: true, ..ASK }).unwrap().ended);
        assert_eq!(log.append(0, 4, false, "k", &Bytes::new()), Err(Refused::Ended));
    }
}
