//! Reads a shard by asking for its pages: `GetRecords`, as often as its other consumers leave room for.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::cloud::{Class, CloudError};
use crate::flow::backoff::Backoff;
use crate::flow::clock::Clock;
use crate::flow::place::Place;
use crate::flow::room::{PAGE, Room};
use crate::flow::stream::{Allowance, Page, ReadError, Reading, ShardPages, StartAt, StreamSource};

/// However many others read the shard, and however they behave, it is read once in two seconds.
const LEAST: f64 = 0.5;
/// What a page adds to the reads a second, until the shard refuses again.
const MORE: f64 = 0.025;
/// What a refusal leaves of them.
const KEPT: f64 = 0.8;
/// How much longer a gap may be than the rate says: a consumer that reads in step with the shard's allowance takes every
/// read, and another that comes a moment later none.
const UNEVEN: f64 = 0.1;
/// The wait while nothing comes.
const IDLE: Duration = Duration::from_millis(500);
/// Bytes a second that come into a shard at most: a reader at the tip has no more to expect.
const INCOMING: f64 = 1024.0 * 1024.0;
const BASE: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(5);

/// When a shard is asked next. Pure: the time is told.
///
/// It begins at the limit. A refusal says that others read the shard as well: it is read less at once, and more little
/// by little, so that a shard's consumers come to share its reads evenly.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// What the shard allows; a larger page is paid for before the next one.
    most: Allowance,
    per_second: f64,
    next: Duration,
}

impl Pace {
    fn new(most: Allowance) -> Self {
        Self { most, per_second: most.reads, next: Duration::ZERO }
    }

    /// From one read to the next.
    fn gap(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second)
    }

    /// A page of `bytes`, asked for at `asked`, came; `is_tip` when it was empty and there is no more. `dice` is between
    /// 0 and 1.
    fn answered(&mut self, asked: Duration, bytes: usize, is_tip: bool, dice: f64) {
        self.per_second = (self.per_second + MORE).min(self.most.reads);
        let gap = self.gap().mul_f64(1.0 + dice * UNEVEN);
        let gap = if is_tip { gap.max(IDLE) } else { gap };
        self.next = asked + gap.max(Duration::from_secs_f64(bytes as f64 / self.most.bytes));
    }

    /// The shard refused at `now`. `dice` is between 0 and 1: consumers that were refused together come back apart.
    fn refused(&mut self, now: Duration, dice: f64) {
        self.per_second = (self.per_second * KEPT).max(LEAST);
        self.next = now + self.gap().mul_f64(0.5 + dice);
    }

    /// It failed at `now` for another reason, and is tried again after `wait`.
    fn failed(&mut self, now: Duration, wait: Duration) {
        self.next = now + self.gap().max(wait);
    }
}

/// Reads one shard by polling.
pub(super) struct Polling {
    source: Arc<dyn StreamSource>,
    clock: Arc<dyn Clock>,
    room: Room,
    shard: Arc<str>,
    place: Place,
    iterator: Option<String>,
    /// When the last page was asked for after which there was no more.
    at_tip: Option<Duration>,
    /// Iterators refused in a row.
    refused: u32,
    is_over: bool,
    pace: Pace,
    backoff: Backoff,
}

impl Polling {
    pub fn new(
        source: Arc<dyn StreamSource>,
        clock: Arc<dyn Clock>,
        room: Room,
        shard: Arc<str>,
        start: StartAt,
        seed: u64,
    ) -> Self {
        let pace = Pace::new(source.allowance());
        Self {
            source,
            clock,
            room,
            shard,
            place: Place::new(start),
            iterator: None,
            at_tip: None,
            refused: 0,
            is_over: false,
            pace,
            backoff: Backoff::new(BASE, CAP, seed),
        }
    }

    async fn page(&mut self) -> Result<Option<Reading>, ReadError> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            let now = self.clock.now();
            if self.pace.next > now {
                self.clock.sleep(self.pace.next.saturating_sub(now)).await;
            }
            let Some(iterator) = &self.iterator else {
                self.begin().await?;
                continue;
            };
            let room = self.room.reserve(self.expected()).await;
            let asked = self.clock.now();
            let page = match self.source.page(iterator).await {
                Ok(page) => page,
                Err(ReadError::Expired) => {
                    self.iterator = None;
                    self.pace.next = asked + self.pace.gap();
                    continue;
                }
                Err(ReadError::Cloud(error)) => {
                    // The stream may be another one of the same name: its place is looked up again, once.
                    if error.class == Class::Invalid && self.refused == 0 {
                        (self.iterator, self.refused) = (None, 1);
                        self.pace.next = asked + self.pace.gap();
                        continue;
                    }
                    return Err(self.failed(error).into());
                }
            };
            self.refused = 0;
            self.backoff.reset();
            let Page { mut records, next, behind_ms } = page;
            let bytes = records.iter().map(|record| record.data.len() + record.partition_key.len()).sum();
            self.place.accept(&self.shard, &mut records, next.is_none() || behind_ms == 0);
            let is_tip = records.is_empty() && behind_ms == 0;
            let dice = self.backoff.dice();
            self.pace.answered(asked, bytes, is_tip, dice);
            self.at_tip = (behind_ms == 0).then_some(asked);
            self.is_over = next.is_none();
            self.iterator = next;
            let room = room.shrunk_to(bytes);
            return Ok(Some(Reading {
                records,
                behind_ms,
                as_of: is_tip.then_some(asked),
                note: self.place.take_note(),
                room: Some(room),
            }));
        }
    }

    /// Gets the iterator to begin with.
    async fn begin(&mut self) -> Result<(), ReadError> {
        match self.source.iterator(&self.shard, &self.place.start()).await {
            Ok(iterator) => {
                self.iterator = Some(iterator);
                Ok(())
            }
            Err(error) if error.class == Class::Invalid && self.place.is_unknown(&self.shard, &error) => Ok(()),
            Err(error) => Err(self.failed(error).into()),
        }
    }

    /// Bytes that the next page may have.
    fn expected(&self) -> usize {
        let Some(at_tip) = self.at_tip else { return PAGE };
        let seconds = self.clock.now().saturating_sub(at_tip).as_secs_f64();
        // A second more, for what a shard has saved up.
        ((seconds + 1.0) * INCOMING) as usize
    }

    fn failed(&mut self, error: CloudError) -> CloudError {
        let now = self.clock.now();
        if error.class == Class::Throttled {
            self.pace.refused(now, self.backoff.dice());
        } else {
            let wait = self.backoff.wait();
            self.pace.failed(now, wait);
        }
        error
    }
}

impl ShardPages for Polling {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Reading>, ReadError>> {
        self.page().boxed()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// Lets `consumers` poll one shard for `minutes`; what each read in a second, and the share that was refused.
    fn share(consumers: usize, minutes: u64) -> (Vec<f64>, f64) {
        let mut rng = SmallRng::seed_from_u64(3);
        let mut paces = vec![Pace::new(Allowance::KINESIS); consumers];
        let (mut level, mut at) = (5.0_f64, Duration::ZERO);
        let (mut read, mut refused) = (vec![0_u32; consumers], 0_u32);
        let end = Duration::from_mins(minutes);
        while let Some((n, now)) = paces.iter().map(|pace| pace.next).enumerate().min_by_key(|(_, next)| *next)
            && now < end
        {
            level = (level + now.saturating_sub(at).as_secs_f64() * 5.0).min(5.0);
            at = at.max(now);
            if level >= 1.0 {
                level -= 1.0;
                read[n] += 1;
                paces[n].answered(now, 1_000, false, rng.random_range(0.0..1.0));
            } else {
                refused += 1;
                paces[n].refused(now, rng.random_range(0.0..1.0));
            }
        }
        let all: u32 = read.iter().sum::<u32>() + refused;
        let seconds = end.as_secs_f64();
        (read.iter().map(|n| f64::from(*n) / seconds).collect(), f64::from(refused) / f64::from(all))
    }

    #[test]
    fn alone_a_consumer_reads_nearly_five_times_a_second_and_is_never_refused() {
        let (read, refused) = share(1, 10);
        assert!(read[0] > 4.7 && refused == 0.0, "{read:?} {refused}");
    }

    #[test]
    fn consumers_of_one_shard_share_its_reads_evenly_with_few_refusals() {
        for (consumers, least, most_refused) in [(2, 1.9, 0.06), (3, 1.2, 0.08), (5, 0.7, 0.12)] {
            let (read, refused) = share(consumers, 10);
            assert!(read.iter().all(|per_second| *per_second > least), "{read:?}");
            assert!(read.iter().sum::<f64>() > 4.5, "{read:?}");
            assert!(refused < most_refused, "{consumers} consumers: {refused}");
        }
    }

    #[test]
    fn refusals_that_have_nothing_to_do_with_the_rate_slow_it_but_never_stop_it() {
        let mut rng = SmallRng::seed_from_u64(3);
        let mut pace = Pace::new(Allowance::KINESIS);
        let mut read = 0;
        while pace.next < Duration::from_mins(10) {
            if rng.random_bool(0.1) {
                pace.refused(pace.next, rng.random_range(0.0..1.0));
            } else {
                pace.answered(pace.next, 0, false, 0.5);
                read += 1;
            }
        }
        assert!(read > 480, "{read} in 600 s");
    }

    #[test]
    fn once_the_others_are_gone_the_reads_are_had_again() {
        let mut pace = Pace::new(Allowance::KINESIS);
        for _ in 0..20 {
            pace.refused(Duration::ZERO, 0.5);
        }
        assert_eq!(pace.per_second, LEAST);
        while pace.per_second < pace.most.reads {
            pace.answered(pace.next, 0, false, 0.5);
        }
        assert!(pace.next < Duration::from_mins(2), "{:?}", pace.next);
    }

    #[test]
    fn a_page_of_ten_mebibytes_is_paid_for_before_the_next_one() {
        let mut pace = Pace::new(Allowance::KINESIS);
        pace.answered(Duration::from_secs(10), 10 << 20, false, 0.5);
        assert_eq!(pace.next, Duration::from_secs(15));
        pace.answered(Duration::from_secs(20), 1_000, false, 0.5);
        assert_eq!(pace.next, Duration::from_millis(20_210));
    }
}
