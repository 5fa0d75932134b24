//! CloudWatch series for charts: what the whole table or stream did, ours and others', each minute.

use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_smithy_types::DateTime;

use super::context::Cloud;
use super::error::CloudError;

/// What is asked of a table and of each of its indexes, with its statistic: writes before reads.
pub const TABLE_METRICS: [(&str, &str); 6] = [
    ("ConsumedWriteCapacityUnits", "Sum"),
    ("ConsumedReadCapacityUnits", "Sum"),
    ("WriteThrottleEvents", "Sum"),
    ("ReadThrottleEvents", "Sum"),
    ("ProvisionedWriteCapacityUnits", "Average"),
    ("ProvisionedReadCapacityUnits", "Average"),
];

/// One metric of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// `AWS/DynamoDB` or `AWS/Kinesis`.
    pub namespace: &'static str,
    /// Such as `ConsumedWriteCapacityUnits`.
    pub metric: &'static str,
    /// Such as `("TableName", "historical")`.
    pub dimensions: Vec<(&'static str, String)>,
    /// `Sum`, `Average`, `Maximum`, `Minimum` or `SampleCount`.
    pub statistic: &'static str,
}

impl Query {
    /// A metric of a table, summed.
    pub fn table_sum(metric: &'static str, table: &str) -> Self {
        Self { namespace: "AWS/DynamoDB", metric, dimensions: vec![("TableName", table.to_owned())], statistic: "Sum" }
    }

    /// A metric of a table or of one of its indexes.
    pub fn of_table(metric: &'static str, table: &str, index: Option<&str>, statistic: &'static str) -> Self {
        let index = index.map(|index| ("GlobalSecondaryIndexName", index.to_owned()));
        let dimensions = std::iter::once(("TableName", table.to_owned())).chain(index).collect();
        Self { namespace: "AWS/DynamoDB", metric, dimensions, statistic }
    }
}

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// Periods that are asked for, s, and for how long CloudWatch keeps values of them, ms: one minute for 15 days, five
/// minutes for 63 days, an hour for 455 days (Amazon CloudWatch, metrics retention). Fifteen minutes are made of five.
const KEPT: [(i32, i64); 4] = [(60, 15 * DAY_MS), (300, 63 * DAY_MS), (900, 63 * DAY_MS), (3_600, 455 * DAY_MS)];
/// Points that a series has at most: more than any chart has columns.
pub const MOST_POINTS: i64 = 1_440;

/// The period, s, for a window from `from_ms` to `to_ms` that is looked at `now_ms`: the finest that CloudWatch still
/// keeps and that stays within [`MOST_POINTS`].
pub fn period_s(from_ms: i64, to_ms: i64, now_ms: i64) -> i32 {
    let is_kept = |kept: i64| now_ms - from_ms <= kept;
    let fits = |period: i32| to_ms - from_ms <= MOST_POINTS * i64::from(period) * 1000;
    KEPT.iter().find(|(period, kept)| is_kept(*kept) && fits(*period)).map_or(3_600, |(period, _)| *period)
}

/// A point of a series: the start of its period in ms since epoch, and its value.
pub type Point = (i64, f64);

/// The series of `queries` from `from_ms` to `to_ms` (ms since epoch) in periods of `period_s` seconds, oldest point
/// first, in the order asked. Minutes without a value have no point. CloudWatch takes 500 queries a call.
///
/// # Errors
/// As `GetMetricData` gives them.
pub async fn series(
    cloud: &Cloud,
    queries: &[Query],
    from_ms: i64,
    to_ms: i64,
    period_s: i32,
) -> Result<Vec<Vec<Point>>, CloudError> {
    let mut all = vec![Vec::new(); queries.len()];
    for (chunk_number, chunk) in queries.chunks(500).enumerate() {
        let asked: Vec<MetricDataQuery> = chunk
            .iter()
            .enumerate()
            .map(|(i, query)| {
                let dimensions =
                    query.dimensions.iter().map(|(name, value)| Dimension::builder().name(*name).value(value).build());
                let metric = Metric::builder()
                    .namespace(query.namespace)
                    .metric_name(query.metric)
                    .set_dimensions(Some(dimensions.collect()))
                    .build();
                let stat = MetricStat::builder().metric(metric).period(period_s).stat(query.statistic).build();
                MetricDataQuery::builder().id(format!("q{i}")).metric_stat(stat).build()
            })
            .collect();
        let mut token = None;
        loop {
            cloud.budget().turn().await;
            cloud.budget().metrics(asked.len());
            let page = cloud
                .cloudwatch
                .get_metric_data()
                .set_metric_data_queries(Some(asked.clone()))
                .start_time(DateTime::from_millis(from_ms))
                .end_time(DateTime::from_millis(to_ms))
                .set_next_token(token)
                .send()
                .await
                .map_err(|e| CloudError::of("read metrics from CloudWatch", &e))?;
            for result in page.metric_data_results() {
                let Some(i) = result.id().and_then(|id| id.strip_prefix('q')).and_then(|n| n.parse::<usize>().ok())
                else {
                    continue;
                };
                let points = result.timestamps().iter().zip(result.values());
                all[chunk_number * 500 + i]
                    .extend(points.map(|(at, value)| (at.to_millis().unwrap_or_default(), *value)));
            }
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
    }
    for points in &mut all {
        points.sort_by_key(|(at, _)| *at);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_follows_retention_and_the_number_of_points() {
        let now = 1_795_269_807_000;
        for (window, ago, period) in [
            (60_000, 0, 60),
            (DAY_MS, 0, 60),
            (3 * DAY_MS, 0, 300),
            (15 * DAY_MS, 0, 900),
            // The same hour, looked at later.
            (60 * MINUTE_MS, 14 * DAY_MS, 60),
            (60 * MINUTE_MS, 16 * DAY_MS, 300),
            (60 * MINUTE_MS, 64 * DAY_MS, 3_600),
        ] {
            let to = now - ago;
            assert_eq!(period_s(to - window, to, now), period, "{window} ms, {ago} ms ago");
        }
    }

    #[test]
    fn an_index_is_a_second_dimension() {
        let query = Query::of_table("ConsumedWriteCapacityUnits", "t", Some("i"), "Sum");
        assert_eq!(query.dimensions, [("TableName", "t".to_owned()), ("GlobalSecondaryIndexName", "i".to_owned())]);
        assert_eq!(Query::of_table("M", "t", None, "Sum").dimensions.len(), 1);
    }
}
