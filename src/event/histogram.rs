//! How many events a range has, bucket by bucket: from the directory where a slot is in one bucket, else from its events.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::order::slots;
use super::read::{Ask, EventRead, SlotCount};
use super::{Range, Slot};
use crate::cloud::CloudError;

/// Slots that are read at once.
const AT_ONCE: usize = 16;

/// Counts of equal parts of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    range: Range,
    counts: Vec<u64>,
}

impl Histogram {
    /// All zero: `buckets` parts of `range`.
    pub fn new(range: Range, buckets: usize) -> Self {
        Self { range, counts: vec![0; buckets.max(1)] }
    }

    /// The counts, oldest first.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// What a bucket counts: half-open, as ranges are.
    pub fn bucket(&self, number: usize) -> Range {
        let start = |number: usize| {
            let micros = i128::from(self.range.micros()) * number as i128;
            // The first microsecond that `bucket_of` gives this number.
            let micros = micros.div_euclid(self.counts.len() as i128)
                + i128::from(micros.rem_euclid(self.counts.len() as i128) > 0);
            let at = self.range.from().as_microsecond() + i64::try_from(micros).unwrap_or(i64::MAX);
            Timestamp::from_microsecond(at).unwrap_or(self.range.to())
        };
        let to = if number + 1 >= self.counts.len() { self.range.to() } else { start(number + 1) };
        Range::new(start(number).min(to), to).unwrap_or(self.range)
    }

    /// Which bucket `time` is in; `None` outside of the range.
    fn bucket_of(&self, time: Timestamp) -> Option<usize> {
        if !self.range.contains(time) {
            return None;
        }
        let into = i128::from(time.as_microsecond() - self.range.from().as_microsecond());
        let number = into * self.counts.len() as i128 / i128::from(self.range.micros().max(1));
        usize::try_from(number).ok()
    }

    /// Counts an event of that time.
    pub fn count(&mut self, time: Timestamp) {
        if let Some(bucket) = self.bucket_of(time) {
            self.counts[bucket] += 1;
        }
    }

    /// Counts a whole slot, when all its events are in one bucket; false when it must be read to know.
    pub fn count_slot(&mut self, slot: &SlotCount) -> bool {
        match (slot.count, self.bucket_of(slot.first), self.bucket_of(slot.last)) {
            (Some(count), Some(first), Some(last)) if first == last => {
                self.counts[first] += count;
                true
            }
            _ => !slot.touches(self.range),
        }
    }
}

/// Counts the events of `range` in `buckets` parts, exactly. Reads the directory, and the slots that an end of a bucket
/// goes through.
///
/// # Errors
/// The table can't be read.
pub async fn histogram(read: Arc<dyn EventRead>, range: Range, buckets: usize) -> Result<Histogram, CloudError> {
    let mut counted = Histogram::new(range, buckets);
    let mut cut: Vec<Slot> = Vec::new();
    let mut all = std::pin::pin!(slots(Arc::clone(&read), range));
    while let Some(slot) = all.try_next().await? {
        if !counted.count_slot(&slot) {
            cut.push(slot.slot);
        }
    }
    let read = &read;
    let mut times = std::pin::pin!(
        stream::iter(cut).map(|slot| async move { times_of(read.as_ref(), slot, range).await }).buffered(AT_ONCE)
    );
    while let Some(times) = times.try_next().await? {
        times.into_iter().for_each(|time| counted.count(time));
    }
    Ok(counted)
}

async fn times_of(read: &dyn EventRead, slot: Slot, range: Range) -> Result<Vec<Timestamp>, CloudError> {
    let mut times = Vec::new();
    let mut ask = Ask::first(slot, range);
    loop {
        let page = read.page(ask.clone()).await?;
        times.extend(page.events.iter().map(|event| event.time));
        match page.next {
            Some(next) => ask.after = Some(next),
            None => return Ok(times),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Layout;
    use super::super::read::fake::{Fake, event};
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn whole_slots_are_counted_without_reading_them() {
        let events = vec![
            event("2018-03-04T14:00:00Z", "s", 1),
            event("2018-03-04T14:00:00.5Z", "s", 2),
            event("2018-03-04T14:30:00Z", "s", 3),
        ];
        let read = Arc::new(Fake::new(Layout::Ordered, 10, events));
        let range = Range::new("2018-03-04T14:00:00Z".parse().unwrap(), "2018-03-04T15:00:00Z".parse().unwrap());
        let counted =
            runtime().block_on(histogram(Arc::clone(&read) as Arc<dyn EventRead>, range.unwrap(), 4)).unwrap();
        assert_eq!(counted.counts(), [2, 0, 1, 0]);
        assert_eq!(read.cost().requests, 1);
        assert_eq!(counted.bucket(1).from().to_string(), "2018-03-04T14:15:00Z");
    }

    proptest! {
        #[test]
        fn buckets_are_exact_wherever_the_range_and_its_buckets_end(
            at in prop::collection::vec(0_i64..5_000_000, 0..60), from in 0_i64..2_500_000, length in 1_i64..3_000_000,
            buckets in 1_usize..7
        ) {
            let start: Timestamp = "2018-03-04T14:59:58Z".parse().unwrap();
            let time = |us: i64| Timestamp::from_microsecond(start.as_microsecond() + us).unwrap();
            let events: Vec<_> = at.iter().enumerate().map(|(n, us)| {
                let mut made = event("2018-03-04T00:00:00Z", "s", n as u64);
                made.time = time(*us);
                made
            }).collect();
            let range = Range::new(time(from), time(from + length)).unwrap();
            let read = Arc::new(Fake::new(Layout::Original, 4, events));
            let counted = runtime().block_on(histogram(read, range, buckets)).unwrap();
            for number in 0..buckets {
                let bucket = counted.bucket(number);
                let there = at.iter().filter(|us| bucket.contains(time(**us))).count() as u64;
                prop_assert_eq!(counted.counts()[number], there, "bucket {}: {}", number, bucket);
            }
            let inside = at.iter().filter(|us| range.contains(time(**us))).count() as u64;
            prop_assert_eq!(counted.counts().iter().sum::<u64>(), inside);
        }
    }
}
