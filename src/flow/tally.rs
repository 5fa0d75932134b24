//! Counting each record of our own job once, although a producer may have sent it twice.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which of the last W ordinals a shard has counted.
///
/// A producer sends a record again when the reply was lost, or when it crashed before its checkpoint. It never runs
/// more than W ordinals ahead of its *stored* mark, so once ordinal n has been seen, nothing under n − W can come
/// again but as such a repetition: W bits are enough to remember.
#[derive(Clone, PartialEq, Eq)]
pub struct Tally {
    /// One past the highest ordinal counted.
    top: u64,
    /// A ring: ordinal o is bit o mod W, for the W ordinals under `top`.
    bits: Vec<u64>,
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted: u32 = self.bits.iter().map(|word| word.count_ones()).sum();
        f.debug_struct("Tally").field("top", &self.top).field("counted", &counted).finish_non_exhaustive()
    }
}

impl Tally {
    /// How far a producer may run ahead of its stored mark, records: also the size of a tally's window.
    pub const WINDOW: usize = 1 << 17;

    /// A tally that remembers the last `window` ordinals, rounded up to a multiple of 64.
    pub fn new(window: usize) -> Self {
        Self { top: 0, bits: vec![0; window.div_ceil(64).max(1)] }
    }

    fn window(&self) -> u64 {
        self.bits.len() as u64 * 64
    }

    fn has(&self, ordinal: u64) -> bool {
        let bit = ordinal % self.window();
        self.bits[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    fn set(&mut self, ordinal: u64, on: bool) {
        let bit = ordinal % self.window();
        let word = &mut self.bits[(bit / 64) as usize];
        *word = *word & !(1 << (bit % 64)) | u64::from(on) << (bit % 64);
    }

    /// Makes `top` at least `top`, forgetting what falls out of the window.
    fn rise(&mut self, top: u64) {
        if top.saturating_sub(self.top) >= self.window() {
            self.bits.fill(0);
        } else {
            for ordinal in self.top..top {
                self.set(ordinal, false);
            }
        }
        self.top = self.top.max(top);
    }

    /// True when `ordinal` was counted already, or is too old to come for the first time.
    pub fn seen(&self, ordinal: u64) -> bool {
        ordinal < self.top && (self.top - ordinal > self.window() || self.has(ordinal))
    }

    /// Counts `ordinal`: true the first time, false for every repetition.
    pub fn first(&mut self, ordinal: u64) -> bool {
        if self.seen(ordinal) {
            return false;
        }
        self.rise(ordinal.saturating_add(1));
        self.set(ordinal, true);
        true
    }

    /// Adds what `parent` has counted: a child shard goes on where its parents ended.
    pub fn inherit(&mut self, parent: &Self) {
        self.rise(parent.top);
        for ordinal in parent.top.saturating_sub(parent.window())..parent.top {
            // What `parent` saw and our window no longer holds counts as seen anyway.
            if parent.has(ordinal) && self.top - ordinal <= self.window() {
                self.set(ordinal, true);
            }
        }
    }

    /// As bytes for a checkpoint, compressed: a shard of many counts few ordinals, a single one nearly all.
    #[expect(clippy::missing_panics_doc, reason = "it has none")]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(8 + self.bits.len() * 8);
        plain.extend_from_slice(&self.top.to_le_bytes());
        for word in &self.bits {
            plain.extend_from_slice(&word.to_le_bytes());
        }
        zstd::bulk::compress(&plain, 1).expect("compressing memory into memory has no way to fail")
    }

    /// What [`Tally::to_bytes`] made; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        const LARGEST: usize = 64 << 20;
        let plain = zstd::bulk::decompress(bytes, LARGEST).ok()?;
        let (words, rest) = plain.as_chunks::<8>();
        let (top, bits) = words.split_first()?;
        (rest.is_empty() && !bits.is_empty()).then(|| Self {
            top: u64::from_le_bytes(*top),
            bits: bits.iter().map(|word| u64::from_le_bytes(*word)).collect(),
        })
    }
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for Tally {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(de::Error::custom)?;
        Self::from_bytes(&bytes).ok_or_else(|| de::Error::custom("not a tally"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_counts_once_however_often_it_was_sent() {
        let mut tally = Tally::new(64);
        assert_eq!([3, 4, 3, 0, 4, 5].map(|o| tally.first(o)), [true, true, false, true, false, true]);
    }

    #[test]
    fn what_is_older_than_the_window_can_only_be_a_repetition() {
        let mut tally = Tally::new(64);
        assert!(tally.first(1000));
        assert!(!tally.first(1000 - 64));
        assert!(tally.first(1000 - 63));
    }

    #[test]
    fn a_child_shard_does_not_count_again_what_its_parents_counted() {
        let (mut left, mut right) = (Tally::new(128), Tally::new(128));
        left.first(10);
        right.first(100);
        let mut child = Tally::new(128);
        child.inherit(&left);
        child.inherit(&right);
        assert_eq!([10, 100, 11].map(|o| child.first(o)), [false, false, true]);
    }

    #[test]
    fn a_stored_tally_is_small() {
        let mut tenth = Tally::new(Tally::WINDOW);
        (0..1_000_000).step_by(10).for_each(|o| assert!(tenth.first(o)));
        assert!(tenth.to_bytes().len() < 17_000);
        let mut all = Tally::new(Tally::WINDOW);
        (0..200_000).for_each(|o| assert!(all.first(o)));
        assert!(all.to_bytes().len() < 200);
    }

    #[test]
    fn damaged_bytes_are_no_tally() {
        assert_eq!(Tally::from_bytes(b"nonsense"), None);
        assert_eq!(Tally::from_bytes(&zstd::bulk::compress(&[1; 12], 1).unwrap()), None);
    }

    proptest! {
        #[test]
        fn a_producer_within_its_window_is_counted_exactly(
            // Each step runs ahead of the stored mark, then perhaps crashes back to it, and stores a new mark.
            steps in prop::collection::vec((1u64..200, any::<bool>(), 0u64..200), 1..40),
        ) {
            let mut tally = Tally::new(256);
            let (mut stored, mut counted) = (0u64, HashSet::new());
            let mut highest = 0;
            for (ahead, crash, advance) in steps {
                let end = stored + ahead;
                for ordinal in stored..end {
                    prop_assert_eq!(tally.first(ordinal), counted.insert(ordinal));
                }
                highest = highest.max(end);
                if !crash {
                    stored += advance.min(ahead);
                }
                tally = Tally::from_bytes(&tally.to_bytes()).unwrap();
            }
            prop_assert_eq!(counted.len() as u64, highest);
        }
    }
}
