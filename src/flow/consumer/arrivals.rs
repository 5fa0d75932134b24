//! How fast records arrive in a shard, learned from those that are read, to say how many are still to come.

/// What a page's weight is multiplied with at each page after it: the last few pages count.
const FADES: f64 = 0.7;

/// The arrival rate of one shard.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    records: f64,
    /// The time in which they arrived, s.
    seconds: f64,
    /// When the last one arrived, microseconds since the epoch.
    last_us: Option<i64>,
}

impl Arrivals {
    /// Learns from the records of a page: how many, and when the first and the last arrived, microseconds since the
    /// epoch.
    pub fn read(&mut self, records: usize, first_us: i64, last_us: i64) {
        // The first record's own gap is known only where one was read before it.
        let (records, from) = match self.last_us {
            Some(before) => (records, before),
            None => (records.saturating_sub(1), first_us),
        };
        self.records = self.records * FADES + records as f64;
        self.seconds = self.seconds * FADES + last_us.saturating_sub(from).max(0) as f64 / 1e6;
        self.last_us = Some(last_us);
    }

    /// How many records are about to come when reading is `behind_ms` behind: lag times arrival rate. `None` until
    /// records of different moments were read.
    pub fn behind(&self, behind_ms: u64) -> Option<u64> {
        if behind_ms == 0 {
            return Some(0);
        }
        (self.seconds > 0.0).then(|| (self.records / self.seconds * behind_ms as f64 / 1e3).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn what_is_behind_is_lag_times_arrival_rate() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.behind(5_000), None);
        arrivals.read(101, 0, SECOND);
        assert_eq!(arrivals.behind(5_000), Some(500));
        assert_eq!(arrivals.behind(0), Some(0));
    }

    #[test]
    fn a_single_moment_tells_no_rate() {
        let mut arrivals = Arrivals::default();
        arrivals.read(500, SECOND, SECOND);
        assert_eq!(arrivals.behind(5_000), None);
    }

    #[test]
    fn gaps_between_pages_count_and_the_latest_pages_most() {
        let mut arrivals = Arrivals::default();
        for n in 0..20 {
            // 100 records at one moment of each second.
            arrivals.read(100, n * SECOND, n * SECOND);
        }
        let steady = arrivals.behind(1_000).unwrap();
        assert!((95..=105).contains(&steady), "{steady}");
        for n in 0..20 {
            arrivals.read(1_000, (20 + n) * SECOND, (20 + n) * SECOND);
        }
        let more = arrivals.behind(1_000).unwrap();
        assert!((950..=1_050).contains(&more), "{more}");
    }
}
