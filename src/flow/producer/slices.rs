//! Which hash key a record travels with: that of its slice of all hash keys, whatever shards there are.
//!
//! An aggregated record has one hash key on the wire, so all that is in it lands on one shard. Were it packed for the
//! shard as the producer knows it, then after a split one version of a key would land on one child and the next on the
//! other, and two children are read side by side: order would be lost. So the hash keys are cut into fixed slices, each
//! record holds keys of one slice, and every slice has one hash key for ever: all versions of a key travel with the
//! same hash key, through every split and merge, aggregated or not.

/// How many slices there are. More are spread more evenly over many shards, fewer hold more records to pack together.
pub(super) const SLICES: usize = 4_096;

const BITS: u32 = SLICES.trailing_zeros();

/// The hash key that a record travels with whose key hashes to `hash`: the middle of its slice, so that no shard's
/// bound, which are mostly round, goes through it.
pub(super) fn of(hash: u128) -> u128 {
    middle(number(hash))
}

/// The number of `hash`'s slice.
pub(super) fn number(hash: u128) -> usize {
    (hash >> (u128::BITS - BITS)) as usize
}

fn middle(number: usize) -> u128 {
    (number as u128) << (u128::BITS - BITS) | 1 << (u128::BITS - BITS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges of hash keys, in order and whole.
    struct Ranges(Vec<(u128, u128)>);

    impl Ranges {
        /// As Kinesis makes them.
        fn even(count: u128) -> Self {
            let width = u128::MAX / count;
            let end = |n| if n + 1 == count { u128::MAX } else { (n + 1) * width - 1 };
            Self((0..count).map(|n| (n * width, end(n))).collect())
        }

        /// In half, as `UpdateShardCount` does.
        fn split(&mut self, n: usize) {
            let (from, to) = self.0[n];
            let half = from + (to - from) / 2;
            self.0.splice(n..=n, [(from, half), (half + 1, to)]);
        }

        fn merge(&mut self, n: usize) {
            let (from, to) = (self.0[n].0, self.0[n + 1].1);
            self.0.splice(n..=n + 1, [(from, to)]);
        }

        /// Checks that every shard takes as many slices as it has of the hash keys, give or take one.
        #[track_caller]
        fn are_even(&self) {
            assert_eq!((self.0[0].0, self.0[self.0.len() - 1].1), (0, u128::MAX));
            let mut all = 0;
            for (from, to) in &self.0 {
                let takes = (0..SLICES).filter(|n| (*from..=*to).contains(&middle(*n))).count();
                let due = (to - from) as f64 / u128::MAX as f64 * SLICES as f64;
                assert!((takes as f64 - due).abs() <= 1.0, "{takes} slices where {due} are due");
                all += takes;
            }
            assert_eq!(all, SLICES);
        }
    }

    #[test]
    fn every_shard_of_one_three_ten_and_a_hundred_gets_its_share_after_splits_and_merges_too() {
        for count in [1, 3, 10, 100] {
            let mut ranges = Ranges::even(count);
            ranges.are_even();
            // Every other one is split, then the first of them again.
            for n in (0..count as usize).rev().step_by(2) {
                ranges.split(n);
            }
            ranges.are_even();
            ranges.split(0);
            ranges.split(1);
            ranges.are_even();
            // Neighbours are merged, twice.
            for _ in 0..2 {
                for n in (0..ranges.0.len() / 2).rev() {
                    ranges.merge(2 * n);
                }
                ranges.are_even();
            }
        }
    }

    #[test]
    fn a_slice_has_one_hash_key_and_lies_around_it() {
        for n in 0..SLICES {
            let key = middle(n);
            assert_eq!((number(key), of(key)), (n, key));
        }
        assert_eq!(of(0), of((1 << (128 - BITS)) - 1));
        assert_ne!(of(0), of(1 << (128 - BITS)));
        assert_eq!(number(u128::MAX), SLICES - 1);
    }
}
