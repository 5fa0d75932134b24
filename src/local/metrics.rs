//! Metrics of what passed the gateway, and of what was put by `PutMetricData`: statistics by the minute, for 15 days.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The finest period that is kept, ms.
pub const MINUTE_MS: i64 = 60_000;
/// How long a minute is kept after a newer one came, minutes. `CloudWatch` keeps one-minute periods for 15 days.
const KEPT_MINUTES: i64 = 15 * 24 * 60;

/// What is known of the values of one period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// All values added up.
    pub sum: f64,
    /// The smallest.
    pub minimum: f64,
    /// The largest.
    pub maximum: f64,
    /// How many there were.
    pub sample_count: f64,
}

impl Statistics {
    /// The statistics of a single value.
    pub fn of(value: f64) -> Self {
        Self { sum: value, minimum: value, maximum: value, sample_count: 1.0 }
    }

    /// The statistics of `count` equal values.
    pub fn of_many(value: f64, count: f64) -> Self {
        Self { sum: value * count, minimum: value, maximum: value, sample_count: count }
    }

    /// The mean value.
    pub fn average(&self) -> f64 {
        self.sum / self.sample_count
    }

    /// The statistic that `CloudWatch` calls `name`; `None` for those that need every single value (percentiles).
    pub fn named(&self, name: &str) -> Option<f64> {
        match name {
            "Sum" => Some(self.sum),
            "Average" => Some(self.average()),
            "Minimum" => Some(self.minimum),
            "Maximum" => Some(self.maximum),
            "SampleCount" => Some(self.sample_count),
            _ => None,
        }
    }

    fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        self.sample_count += other.sample_count;
    }
}

/// What names a series: the same metric with other dimensions is another series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId {
    /// Such as `AWS/Kinesis`.
    pub namespace: String,
    /// Such as `IncomingRecords`.
    pub metric: String,
    /// Name and value of each dimension, sorted.
    pub dimensions: Vec<(String, String)>,
}

impl SeriesId {
    /// The series of `metric` with these dimensions, in any order.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(namespace: &str, metric: &str, dimensions: &[(N, V)]) -> Self {
        let mut dimensions: Vec<_> =
            dimensions.iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())).collect();
        dimensions.sort_unstable();
        Self { namespace: namespace.to_owned(), metric: metric.to_owned(), dimensions }
    }
}

#[derive(Debug, Default)]
struct Series {
    unit: Option<String>,
    minutes: BTreeMap<i64, Statistics>,
}

/// Every series of one embedded AWS.
#[derive(Debug, Default)]
pub struct Metrics {
    series: Mutex<HashMap<SeriesId, Series>>,
}

impl Metrics {
    /// No metrics yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Records `value` of `metric` at `at_ms` (ms since epoch). Cheap enough for every batch.
    pub fn record(
        &self,
        namespace: &'static str,
        metric: &'static str,
        dimensions: &[(&'static str, &str)],
        at_ms: i64,
        value: f64,
    ) {
        self.merge(SeriesId::new(namespace, metric, dimensions), at_ms, &Statistics::of(value), None);
    }

    /// Adds statistics that somebody else took to the minute of `at_ms` (ms since epoch).
    pub fn merge(&self, id: SeriesId, at_ms: i64, statistics: &Statistics, unit: Option<&str>) {
        let minute = at_ms.div_euclid(MINUTE_MS);
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = all.entry(id).or_default();
        if let Some(unit) = unit {
            series.unit = Some(unit.to_owned());
        }
        series.minutes.entry(minute).and_modify(|known| known.add(statistics)).or_insert(*statistics);
        let newest = series.minutes.last_key_value().map_or(minute, |(newest, _)| *newest);
        while series.minutes.first_key_value().is_some_and(|(oldest, _)| newest - oldest > KEPT_MINUTES) {
            series.minutes.pop_first();
        }
    }

    /// The statistics of a series over `from_ms..to_ms` (ms since epoch), oldest first: one entry for each period of
    /// `period_ms` that holds a value, with the period's start. Periods begin at multiples of `period_ms`.
    pub fn query(&self, id: &SeriesId, from_ms: i64, to_ms: i64, period_ms: i64) -> Vec<(i64, Statistics)> {
        let period_ms = period_ms.max(MINUTE_MS);
        let from_minute = from_ms.div_euclid(period_ms) * (period_ms / MINUTE_MS);
        let to_minute = to_ms.div_euclid(MINUTE_MS) + i64::from(to_ms.rem_euclid(MINUTE_MS) > 0);
        let mut periods: Vec<(i64, Statistics)> = Vec::new();
        if from_minute >= to_minute {
            return periods;
        }
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(series) = all.get(id) else { return periods };
        for (minute, statistics) in series.minutes.range(from_minute..to_minute) {
            let start = (minute * MINUTE_MS).div_euclid(period_ms) * period_ms;
            match periods.last_mut() {
                Some((last, known)) if *last == start => known.add(statistics),
                _ => periods.push((start, *statistics)),
            }
        }
        periods
    }

    /// The unit of a series: as it was put, or by the name's ending for what the gateway measures itself.
    pub fn unit(&self, id: &SeriesId) -> String {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unit) = all.get(id).and_then(|series| series.unit.clone()) {
            return unit;
        }
        let unit = match id.metric.as_str() {
            name if name.ends_with("Bytes") => "Bytes",
            name if name.ends_with("Milliseconds") || name.ends_with("Latency") => "Milliseconds",
            _ => "Count",
        };
        unit.to_owned()
    }

    /// Every series that has values, sorted.
    pub fn series(&self) -> Vec<SeriesId> {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids: Vec<SeriesId> = all.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> SeriesId {
        SeriesId::new("AWS/Kinesis", "IncomingRecords", &[("StreamName", "s")])
    }

    fn recorded(values: &[(i64, f64)]) -> Arc<Metrics> {
        let metrics = Metrics::new();
        for (at_ms, value) in values {
            metrics.record("AWS/Kinesis", "IncomingRecords", &[("StreamName", "s")], *at_ms, *value);
        }
        metrics
    }

    #[test]
    fn values_of_one_minute_are_one_period() {
        let metrics = recorded(&[(60_000, 3.0), (60_001, 1.0), (119_999, 5.0), (120_000, 7.0)]);
        let periods = metrics.query(&series(), 0, 180_000, 60_000);
        assert_eq!(periods.len(), 2);
        assert_eq!(periods[0], (60_000, Statistics { sum: 9.0, minimum: 1.0, maximum: 5.0, sample_count: 3.0 }));
        assert!((periods[0].1.average() - 3.0).abs() < f64::EPSILON);
        assert_eq!(periods[1], (120_000, Statistics::of(7.0)));
    }

    #[test]
    fn a_longer_period_adds_its_minutes_up_and_begins_at_its_own_multiple() {
        let metrics = recorded(&[(0, 1.0), (240_000, 2.0), (300_000, 4.0)]);
        let periods = metrics.query(&series(), 60_000, 600_000, 300_000);
        assert_eq!(periods.iter().map(|(start, s)| (*start, s.sum)).collect::<Vec<_>>(), [(0, 3.0), (300_000, 4.0)]);
    }

    #[test]
    fn the_end_is_exclusive_and_minutes_without_values_are_absent() {
        let metrics = recorded(&[(0, 1.0), (180_000, 2.0)]);
        assert_eq!(metrics.query(&series(), 0, 180_000, 60_000).len(), 1);
        assert_eq!(metrics.query(&series(), 0, 180_001, 60_000).len(), 2);
        assert!(metrics.query(&series(), 60_000, 60_000, 60_000).is_empty());
    }

    #[test]
    fn fifteen_days_are_kept() {
        let day = 24 * 60 * MINUTE_MS;
        let metrics = recorded(&[(0, 1.0), (15 * day, 2.0)]);
        assert_eq!(metrics.query(&series(), 0, 16 * day, 60_000).len(), 2);
        let metrics = recorded(&[(0, 1.0), (15 * day + MINUTE_MS, 2.0)]);
        assert_eq!(metrics.query(&series(), 0, 16 * day, 60_000).len(), 1);
    }

    #[test]
    fn the_order_of_dimensions_does_not_matter_and_their_number_does() {
        let metrics = Metrics::new();
        metrics.record("AWS/DynamoDB", "M", &[("TableName", "t"), ("GlobalSecondaryIndexName", "i")], 0, 1.0);
        let swapped = SeriesId::new("AWS/DynamoDB", "M", &[("GlobalSecondaryIndexName", "i"), ("TableName", "t")]);
        assert_eq!(metrics.query(&swapped, 0, 60_000, 60_000).len(), 1);
        let fewer = SeriesId::new("AWS/DynamoDB", "M", &[("TableName", "t")]);
        assert!(metrics.query(&fewer, 0, 60_000, 60_000).is_empty());
    }
}
