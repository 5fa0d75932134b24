//! `CloudWatch` as the SDK sees it, over the port.

use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_cloudwatch::error::ProvideErrorMetadata;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, DimensionFilter, Metric, MetricDataQuery, MetricDatum, MetricStat, ScanBy, StandardUnit, Statistic,
};

use crate::cloud::{Cloud, Context, Guard};
use crate::local::{Local, Options};

async fn aws() -> (Local, aws_sdk_cloudwatch::Client) {
    let local = Local::start(Options::default()).await.unwrap();
    let context = Context {
        region: Some("us-east-1".into()),
        endpoint_url: Some(local.endpoint().to_owned()),
        ..Context::default()
    };
    let cloudwatch = Cloud::connect(&context, Guard::open()).await.unwrap().cloudwatch;
    (local, cloudwatch)
}

/// 2023-11-14T22:13:00Z, a whole minute, plus `seconds`.
fn at(seconds: u64) -> DateTime {
    (UNIX_EPOCH + Duration::from_secs(1_699_999_980 + seconds)).into()
}

fn dimension() -> Dimension {
    Dimension::builder().name("Job").value("restore").build()
}

async fn put(cloudwatch: &aws_sdk_cloudwatch::Client, values: &[(u64, f64)]) {
    let datum = |(seconds, value): &(u64, f64)| {
        let datum = MetricDatum::builder().metric_name("Items").dimensions(dimension()).unit(StandardUnit::Count);
        datum.timestamp(at(*seconds)).value(*value).build()
    };
    let put = cloudwatch.put_metric_data().namespace("Sluicegate");
    put.set_metric_data(Some(values.iter().map(datum).collect())).send().await.unwrap();
}

fn query(id: &str, stat: &str, period: i32) -> MetricDataQuery {
    let metric = Metric::builder().namespace("Sluicegate").metric_name("Items").dimensions(dimension()).build();
    let stat = MetricStat::builder().metric(metric).stat(stat).period(period).build();
    MetricDataQuery::builder().id(id).metric_stat(stat).build()
}

#[tokio::test]
async fn what_was_put_is_had_back_by_period_and_statistic() {
    let (_local, cloudwatch) = aws().await;
    // The third is more than the SDK sends without compressing.
    let mut values: Vec<(u64, f64)> = vec![(0, 1.0), (59, 3.0), (60, 10.0)];
    values.extend((0..400).map(|_| (300, 0.5)));
    put(&cloudwatch, &values).await;
    let ask = cloudwatch.get_metric_data().start_time(at(0)).end_time(at(360)).scan_by(ScanBy::TimestampAscending);
    let ask = ask.metric_data_queries(query("sum", "Sum", 60)).metric_data_queries(query("mean", "Average", 120));
    let ask = ask.metric_data_queries(query("n", "SampleCount", 3600));
    let reply = ask.send().await.unwrap();
    assert_eq!(reply.next_token, None);
    let results = reply.metric_data_results.unwrap();
    assert_eq!(results[0].values(), [4.0, 10.0, 200.0]);
    assert_eq!(results[0].timestamps(), [at(0), at(60), at(300)]);
    assert_eq!(results[0].label(), Some("Items"));
    assert_eq!(results[2].values(), [403.0]);

    let newest_first = cloudwatch.get_metric_data().start_time(at(0)).end_time(at(360));
    let reply = newest_first.metric_data_queries(query("max", "Maximum", 60)).send().await.unwrap();
    assert_eq!(reply.metric_data_results.unwrap()[0].values(), [0.5, 10.0, 3.0]);
}

#[tokio::test]
async fn statistics_of_one_metric_carry_their_unit() {
    let (_local, cloudwatch) = aws().await;
    put(&cloudwatch, &[(0, 1.0), (1, 3.0)]).await;
    let ask = cloudwatch.get_metric_statistics().namespace("Sluicegate").metric_name("Items").dimensions(dimension());
    let ask = ask.start_time(at(0)).end_time(at(60)).period(60);
    let reply = ask.statistics(Statistic::Average).statistics(Statistic::Minimum).send().await.unwrap();
    let points = reply.datapoints.unwrap();
    assert_eq!(points.len(), 1);
    assert_eq!((points[0].average, points[0].minimum, points[0].sum), (Some(2.0), Some(1.0), None));
    assert_eq!(points[0].unit, Some(StandardUnit::Count));
}

#[tokio::test]
async fn metrics_are_listed_by_namespace_and_dimension() {
    let (_local, cloudwatch) = aws().await;
    put(&cloudwatch, &[(0, 1.0)]).await;
    let job = DimensionFilter::builder().name("Job").build();
    let found = cloudwatch.list_metrics().namespace("Sluicegate").dimensions(job).send().await.unwrap();
    assert_eq!(found.metrics()[0].metric_name(), Some("Items"));
    assert_eq!(found.metrics()[0].dimensions()[0].value(), Some("restore"));
    assert!(cloudwatch.list_metrics().namespace("Other").send().await.unwrap().metrics().is_empty());
}

#[tokio::test]
async fn a_refusal_has_cloudwatch_s_code() {
    let (_local, cloudwatch) = aws().await;
    let ask = cloudwatch.get_metric_data().start_time(at(0)).end_time(at(360));
    let error = ask.metric_data_queries(query("p", "p99", 60)).send().await.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("ValidationError"));
    assert!(error.message().unwrap().contains("p99"));
    let datum = MetricDatum::builder().metric_name("M").value(1.0).build();
    let put = cloudwatch.put_metric_data().namespace("AWS/Mine").metric_data(datum);
    let error = put.send().await.unwrap_err().into_service_error();
    assert!(error.is_invalid_parameter_value_exception());
}
