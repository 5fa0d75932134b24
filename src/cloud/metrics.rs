//! CloudWatch series for charts: what the whole table or stream did, ours and others', each minute.

use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_smithy_types::DateTime;

use super::context::Cloud;
use super::error::CloudError;

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
