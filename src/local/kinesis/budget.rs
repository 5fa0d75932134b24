//! What one shard can take in and give out in a second. Time is handed in, ms since epoch.

/// Records a shard takes in a second.
const WRITE_RECORDS: f64 = 1000.0;
/// Bytes a shard takes in a second, partition keys included: 1 MiB.
const WRITE_BYTES: f64 = 1024.0 * 1024.0;
/// `GetRecords` calls a shard answers in a second.
const READ_CALLS: f64 = 5.0;
/// Bytes a shard gives out in a second: 2 MiB. One call may give 10 MiB, which those after it wait for.
const READ_BYTES: f64 = 2.0 * 1024.0 * 1024.0;

/// An allowance that refills evenly and holds at most one second's worth.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    level: f64,
    at_ms: u64,
}

impl Bucket {
    fn new(per_second: f64) -> Self {
        Self { per_second, level: per_second, at_ms: 0 }
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed = now_ms.saturating_sub(self.at_ms) as f64 / 1000.0;
        self.level = (self.level + elapsed * self.per_second).min(self.per_second);
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// Whether `amount` can be had; what exceeds a whole second's worth can be had when the bucket is full.
    fn holds(&self, amount: f64) -> bool {
        // A hair of tolerance, so that a sum of fractions equals the whole.
        self.level + 1e-6 >= amount.min(self.per_second)
    }
}

/// The allowances of one shard.
#[derive(Debug)]
pub(super) struct Budget {
    write_records: Bucket,
    write_bytes: Bucket,
    read_calls: Bucket,
    read_bytes: Bucket,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            write_records: Bucket::new(WRITE_RECORDS),
            write_bytes: Bucket::new(WRITE_BYTES),
            read_calls: Bucket::new(READ_CALLS),
            read_bytes: Bucket::new(READ_BYTES),
        }
    }
}

impl Budget {
    /// Takes what a record of `bytes` costs, or nothing when it does not fit now.
    pub(super) fn take_write(&mut self, now_ms: u64, bytes: usize) -> bool {
        self.write_records.refill(now_ms);
        self.write_bytes.refill(now_ms);
        let fits = self.write_records.holds(1.0) && self.write_bytes.holds(bytes as f64);
        if fits {
            self.write_records.level -= 1.0;
            self.write_bytes.level -= bytes as f64;
        }
        fits
    }

    /// Takes one `GetRecords` call, unless there were too many or earlier ones gave out more than their second's bytes.
    pub(super) fn take_read(&mut self, now_ms: u64) -> bool {
        self.read_calls.refill(now_ms);
        self.read_bytes.refill(now_ms);
        let fits = self.read_calls.holds(1.0) && self.read_bytes.holds(0.0);
        if fits {
            self.read_calls.level -= 1.0;
        }
        fits
    }

    /// Accounts for what a call gave out.
    pub(super) fn took_bytes(&mut self, bytes: usize) {
        self.read_bytes.level -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_takes_a_thousand_records_a_second() {
        let mut budget = Budget::default();
        let taken = |budget: &mut Budget, now_ms| (0..1500).filter(|_| budget.take_write(now_ms, 10)).count();
        assert_eq!(taken(&mut budget, 10_000), 1000);
        assert_eq!(taken(&mut budget, 10_100), 100);
        assert_eq!(taken(&mut budget, 60_000), 1000);
    }

    #[test]
    fn a_shard_takes_a_mebibyte_a_second_and_a_record_of_that_size_when_idle() {
        let mut budget = Budget::default();
        assert!(budget.take_write(10_000, 1024 * 1024 + 20));
        assert!(!budget.take_write(10_000, 1));
        assert!(!budget.take_write(10_500, 1024 * 1024));
        assert!(budget.take_write(11_001, 1024 * 1024));
    }

    #[test]
    fn a_shard_answers_five_calls_a_second() {
        let mut budget = Budget::default();
        assert_eq!((0..9).filter(|_| budget.take_read(10_000)).count(), 5);
        assert!(!budget.take_read(10_199));
        assert!(budget.take_read(10_200));
    }

    #[test]
    fn a_reply_of_ten_mebibytes_is_paid_off_at_two_a_second() {
        let mut budget = Budget::default();
        assert!(budget.take_read(10_000));
        budget.took_bytes(10 * 1024 * 1024);
        assert!(!budget.take_read(13_900));
        assert!(budget.take_read(14_000));
    }
}
