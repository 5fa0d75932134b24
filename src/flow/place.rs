//! Where a reader is in its shard, and whether what it is given goes on there.

use super::stream::{SequenceNumber, StartAt, StreamRecord};
use crate::cloud::CloudError;

/// A reader's place in a shard.
///
/// A stream forgets: who goes on after a record that is no longer kept is given the oldest one that is, and nothing
/// says so. Therefore reading goes on *at* the last record rather than after it: when that one does not come first, it
/// and perhaps others are gone, and that is told.
#[derive(Debug)]
pub(super) struct Place {
    start: StartAt,
    /// The last record that was given out, or the one to begin at.
    last: Option<SequenceNumber>,
    /// Whether it was given out, and is not to be given again.
    is_given: bool,
    /// After this number nothing was there when it was told: it names no record.
    continuation: Option<SequenceNumber>,
    /// Reading began again at `last`, which must come first.
    proving: bool,
    note: Option<String>,
}

impl Place {
    pub fn new(start: StartAt) -> Self {
        let last = match &start {
            StartAt::At(sequence) | StartAt::After(sequence) => Some(sequence.clone()),
            StartAt::TrimHorizon | StartAt::Latest | StartAt::Time(_) => None,
        };
        let is_given = matches!(start, StartAt::After(_));
        Self { start, last, is_given, continuation: None, proving: false, note: None }
    }

    /// Where reading begins, or begins again.
    pub fn start(&mut self) -> StartAt {
        self.proving = self.continuation.is_none() && self.last.is_some();
        match (&self.continuation, &self.last) {
            (Some(continuation), _) => StartAt::After(continuation.clone()),
            (None, Some(last)) => StartAt::At(last.clone()),
            (None, None) => self.start.clone(),
        }
    }

    /// The service does not know the record to begin at: the shard's oldest one is next. False when there was none, so
    /// that the fault is another.
    pub fn is_unknown(&mut self, shard: &str, error: &CloudError) -> bool {
        let Some(last) = self.last.take().filter(|_| self.proving) else { return false };
        self.proving = false;
        self.start = StartAt::TrimHorizon;
        self.note = Some(format!(
            "shard {shard}: the stream does not know the record where reading stopped ({last}): {error}. It goes on at \
             the oldest record there is; those between may be lost"
        ));
        true
    }

    /// Takes note of `records`, which came next, and leaves out what was given before. `at_tip` says that there is no
    /// more for now.
    pub fn accept(&mut self, shard: &str, records: &mut Vec<StreamRecord>, at_tip: bool) {
        if self.proving && (at_tip || !records.is_empty()) {
            self.proving = false;
            let last = self.last.take().unwrap_or_else(|| SequenceNumber(String::new()));
            let first = records.first();
            if first.is_none_or(|first| first.sequence > last) {
                let kept = first.map_or_else(
                    || String::from("which is yet to come"),
                    |first| {
                        let arrived = jiff::Timestamp::from_microsecond(first.arrived_us).unwrap_or_default();
                        format!("which arrived at {arrived:.3}")
                    },
                );
                self.note = Some(format!(
                    "shard {shard}: the record where reading stopped ({last}) is no longer kept. It goes on at the \
                     oldest record there is, {kept}; those between are lost to this job if there were any"
                ));
            }
            records.retain(|record| record.sequence > last || (record.sequence == last && !self.is_given));
            self.last = Some(last);
        }
        if let Some(record) = records.last() {
            (self.last, self.is_given) = (Some(record.sequence.clone()), true);
            self.continuation = None;
        }
    }

    /// Nothing came, and nothing was there up to `continuation`.
    pub fn nothing_until(&mut self, continuation: SequenceNumber) {
        if !self.proving {
            self.continuation = Some(continuation);
        }
    }

    /// What a person must know of it, once.
    pub fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::cloud::Class;

    fn sequence(n: u64) -> SequenceNumber {
        SequenceNumber(n.to_string())
    }

    fn records(numbers: &[u64]) -> Vec<StreamRecord> {
        let record = |n: &u64| StreamRecord {
            sequence: sequence(*n),
            partition_key: "k".into(),
            data: Bytes::new(),
            arrived_us: 1_600_000_000_000_000,
        };
        numbers.iter().map(record).collect()
    }

    fn given(place: &mut Place, numbers: &[u64], at_tip: bool) -> Vec<u64> {
        let mut records = records(numbers);
        place.accept("s", &mut records, at_tip);
        records.iter().map(|record| record.sequence.0.parse().unwrap()).collect()
    }

    #[test]
    fn reading_goes_on_at_the_last_record_which_is_not_given_again() {
        let mut place = Place::new(StartAt::After(sequence(7)));
        assert_eq!(place.start(), StartAt::At(sequence(7)));
        assert_eq!(given(&mut place, &[7, 9, 12], false), [9, 12]);
        assert_eq!(given(&mut place, &[13], true), [13]);
        assert_eq!(place.start(), StartAt::At(sequence(13)));
        assert_eq!(given(&mut place, &[], false), [0_u64; 0]);
        assert_eq!(given(&mut place, &[13], true), [0_u64; 0]);
        assert_eq!(place.take_note(), None);
    }

    #[test]
    fn a_record_to_begin_at_is_given_once() {
        let mut place = Place::new(StartAt::At(sequence(7)));
        assert_eq!(place.start(), StartAt::At(sequence(7)));
        assert_eq!(given(&mut place, &[7], true), [7]);
        assert_eq!(place.start(), StartAt::At(sequence(7)));
        assert_eq!(given(&mut place, &[7, 8], true), [8]);
        assert_eq!(place.take_note(), None);
        let mut place = Place::new(StartAt::At(sequence(7)));
        place.start();
        assert_eq!(given(&mut place, &[9], true), [9]);
        assert!(place.take_note().is_some());
    }

    #[test]
    fn that_the_last_record_is_no_longer_kept_is_told_once() {
        let mut place = Place::new(StartAt::After(sequence(7)));
        place.start();
        assert_eq!(given(&mut place, &[9, 12], false), [9, 12]);
        let note = place.take_note().unwrap();
        assert!(note.contains("(7) is no longer kept") && note.contains("2020-09-13T12:26:40"), "{note}");
        assert_eq!(given(&mut place, &[13], false), [13]);
        assert_eq!(place.take_note(), None);
    }

    #[test]
    fn a_shard_that_was_emptied_meanwhile_is_told_at_its_tip_and_not_before() {
        let mut place = Place::new(StartAt::After(sequence(7)));
        place.start();
        given(&mut place, &[], false);
        assert_eq!(place.take_note(), None);
        given(&mut place, &[], true);
        assert!(place.take_note().unwrap().contains("yet to come"));
    }

    #[test]
    fn a_record_that_the_stream_never_had_sends_the_reader_to_the_oldest_one_and_is_told() {
        let mut place = Place::new(StartAt::After(sequence(7)));
        let error = CloudError::new(Class::Invalid, "could not read", "");
        place.start();
        assert!(place.is_unknown("s", &error));
        assert_eq!(place.start(), StartAt::TrimHorizon);
        assert!(place.take_note().unwrap().contains("does not know"));
        assert!(!place.is_unknown("s", &error), "the oldest record is always known");
    }

    #[test]
    fn where_nothing_came_reading_goes_on_after_what_was_told_last() {
        let mut place = Place::new(StartAt::Latest);
        assert_eq!(place.start(), StartAt::Latest);
        place.nothing_until(sequence(20));
        assert_eq!(place.start(), StartAt::After(sequence(20)));
        assert_eq!(given(&mut place, &[30], true), [30]);
        assert_eq!(place.start(), StartAt::At(sequence(30)));
        // Its last record is not proven yet: nothing else takes its place.
        place.nothing_until(sequence(31));
        assert_eq!(place.start(), StartAt::At(sequence(30)));
    }
}
