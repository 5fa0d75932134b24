//! What a `CloudWatch` request asks for, and what makes `CloudWatch` refuse it.

use serde::Deserialize;

use super::wire::Refusal;
use crate::local::metrics::{MINUTE_MS, SeriesId, Statistics};

/// The statistics that can be had from what is kept.
const STATISTICS: [&str; 5] = ["Sum", "Average", "Minimum", "Maximum", "SampleCount"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Dimension {
    name: String,
    value: Option<String>,
}

fn series(namespace: &str, metric: &str, dimensions: &[Dimension]) -> SeriesId {
    let pairs: Vec<(&str, &str)> =
        dimensions.iter().map(|d| (d.name.as_str(), d.value.as_deref().unwrap_or_default())).collect();
    SeriesId::new(namespace, metric, &pairs)
}

/// A time span: ms since epoch, the end exclusive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

impl Span {
    fn checked(start: Option<f64>, end: Option<f64>, code: &'static str) -> Result<Self, Refusal> {
        let start = start.ok_or_else(|| missing("StartTime"))?;
        let end = end.ok_or_else(|| missing("EndTime"))?;
        if start >= end {
            return Err(Refusal::new(code, "The parameter StartTime must be less than the parameter EndTime."));
        }
        Ok(Self { from_ms: ms(start), to_ms: ms(end) })
    }
}

fn ms(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

fn missing(parameter: &str) -> Refusal {
    Refusal::new("MissingParameter", format!("The parameter {parameter} is required."))
}

fn period_ms(seconds: i64, code: &'static str) -> Result<i64, Refusal> {
    if seconds < 60 || seconds % 60 != 0 {
        let message = format!("The value {seconds} for parameter Period must be a multiple of 60.");
        return Err(Refusal::new(code, message));
    }
    Ok(seconds / 60 * MINUTE_MS)
}

fn known_statistic(name: &str, code: &'static str) -> Result<(), Refusal> {
    if STATISTICS.contains(&name) {
        return Ok(());
    }
    let message = format!("The value {name} for parameter Stat is not supported: one of {}.", STATISTICS.join(", "));
    Err(Refusal::new(code, message))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PutMetricData {
    namespace: Option<String>,
    metric_data: Vec<Datum>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Datum {
    metric_name: String,
    dimensions: Vec<Dimension>,
    timestamp: Option<f64>,
    value: Option<f64>,
    values: Vec<f64>,
    counts: Vec<f64>,
    statistic_values: Option<StatisticSet>,
    unit: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticSet {
    sample_count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

/// One value to keep: where, when (ms since epoch), what, in which unit.
pub(super) type Put = (SeriesId, i64, Statistics, Option<String>);

impl PutMetricData {
    /// What to keep, if the whole request is good: `CloudWatch` takes all of it or nothing.
    pub(super) fn checked(self, now_ms: i64) -> Result<Vec<Put>, Refusal> {
        let namespace = self.namespace.filter(|name| !name.is_empty()).ok_or_else(|| missing("Namespace"))?;
        if namespace.starts_with("AWS/") {
            let message = "The value AWS/ for parameter Namespace is invalid.";
            return Err(Refusal::new("InvalidParameterValue", message));
        }
        let mut put = Vec::new();
        for (index, datum) in self.metric_data.into_iter().enumerate() {
            let member = format!("MetricData.member.{}", index + 1);
            if datum.metric_name.is_empty() {
                return Err(missing(&format!("{member}.MetricName")));
            }
            let id = series(&namespace, &datum.metric_name, &datum.dimensions);
            let at_ms = datum.timestamp.map_or(now_ms, ms);
            // A datum without a unit has the unit "None", by that name.
            let unit = datum.unit.or_else(|| Some("None".to_owned()));
            let mut keep = |statistics| put.push((id.clone(), at_ms, statistics, unit.clone()));
            if let Some(set) = datum.statistic_values {
                keep(Statistics {
                    sum: set.sum,
                    minimum: set.minimum,
                    maximum: set.maximum,
                    sample_count: set.sample_count,
                });
            } else if let Some(value) = datum.value {
                keep(Statistics::of(value));
            } else if datum.values.is_empty() {
                return Err(missing(&format!("{member}.Value")));
            } else if !datum.counts.is_empty() && datum.counts.len() != datum.values.len() {
                let message = format!("The parameters {member}.Values and {member}.Counts must be of the same size.");
                return Err(Refusal::new("InvalidParameterValue", message));
            } else {
                for (index, value) in datum.values.iter().enumerate() {
                    keep(Statistics::of_many(*value, datum.counts.get(index).copied().unwrap_or(1.0)));
                }
            }
        }
        Ok(put)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GetMetricData {
    metric_data_queries: Vec<MetricDataQuery>,
    start_time: Option<f64>,
    end_time: Option<f64>,
    scan_by: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MetricDataQuery {
    id: String,
    label: Option<String>,
    metric_stat: Option<MetricStat>,
    return_data: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricStat {
    metric: Metric,
    period: i64,
    stat: String,
    unit: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metric {
    namespace: String,
    #[serde(rename = "MetricName")]
    name: String,
    dimensions: Vec<Dimension>,
}

/// One checked query of a `GetMetricData`.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pub(super) id: &'a str,
    pub(super) label: &'a str,
    pub(super) series: SeriesId,
    pub(super) period_ms: i64,
    pub(super) statistic: &'a str,
    pub(super) unit: Option<&'a str>,
    pub(super) returned: bool,
}

impl GetMetricData {
    pub(super) fn is_ascending(&self) -> bool {
        self.scan_by.as_deref() == Some("TimestampAscending")
    }

    pub(super) fn checked(&self) -> Result<(Span, Vec<Query<'_>>), Refusal> {
        const CODE: &str = "ValidationError";
        let span = Span::checked(self.start_time, self.end_time, CODE)?;
        if self.metric_data_queries.is_empty() {
            return Err(missing("MetricDataQueries"));
        }
        let mut queries: Vec<Query<'_>> = Vec::new();
        for asked in &self.metric_data_queries {
            if queries.iter().any(|query| query.id == asked.id) {
                let message = format!("The values for parameter id in MetricDataQueries are not unique: {}.", asked.id);
                return Err(Refusal::new(CODE, message));
            }
            let Some(stat) = &asked.metric_stat else {
                let message = format!("Query {}: metric math is not served here, ask with MetricStat.", asked.id);
                return Err(Refusal::new(CODE, message));
            };
            known_statistic(&stat.stat, CODE)?;
            queries.push(Query {
                id: &asked.id,
                label: asked.label.as_deref().unwrap_or(&stat.metric.name),
                series: series(&stat.metric.namespace, &stat.metric.name, &stat.metric.dimensions),
                period_ms: period_ms(stat.period, CODE)?,
                statistic: &stat.stat,
                unit: stat.unit.as_deref(),
                returned: asked.return_data.unwrap_or(true),
            });
        }
        Ok((span, queries))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct GetMetricStatistics {
    namespace: Option<String>,
    metric_name: Option<String>,
    dimensions: Vec<Dimension>,
    start_time: Option<f64>,
    end_time: Option<f64>,
    period: Option<i64>,
    pub(super) statistics: Vec<String>,
    extended_statistics: Vec<String>,
    pub(super) unit: Option<String>,
}

impl GetMetricStatistics {
    pub(super) fn checked(&self) -> Result<(Span, i64, SeriesId), Refusal> {
        const CODE: &str = "InvalidParameterValue";
        let namespace = self.namespace.as_deref().ok_or_else(|| missing("Namespace"))?;
        let metric = self.metric_name.as_deref().ok_or_else(|| missing("MetricName"))?;
        let span = Span::checked(self.start_time, self.end_time, "InvalidParameterCombination")?;
        let period_ms = period_ms(self.period.ok_or_else(|| missing("Period"))?, CODE)?;
        if self.statistics.is_empty() && self.extended_statistics.is_empty() {
            let message = "Must specify either Statistics or ExtendedStatistics.";
            return Err(Refusal::new("InvalidParameterCombination", message));
        }
        for name in self.statistics.iter().chain(&self.extended_statistics) {
            known_statistic(name, CODE)?;
        }
        // CloudWatch's own limit on one reply.
        if (span.to_ms - span.from_ms) / period_ms > 1440 {
            let message = "You have requested more than 1,440 datapoints. You may reduce the datapoints requested by \
                           increasing Period, or decreasing the time range.";
            return Err(Refusal::new("InvalidParameterCombination", message));
        }
        Ok((span, period_ms, series(namespace, metric, &self.dimensions)))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListMetrics {
    namespace: Option<String>,
    metric_name: Option<String>,
    dimensions: Vec<Dimension>,
}

impl ListMetrics {
    /// A dimension without a value asks only that the series has that dimension.
    pub(super) fn matches(&self, series: &SeriesId) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| *wanted == series.namespace)
            && self.metric_name.as_ref().is_none_or(|wanted| *wanted == series.metric)
            && self.dimensions.iter().all(|wanted| {
                series.dimensions.iter().any(|(name, value)| {
                    *name == wanted.name && wanted.value.as_ref().is_none_or(|wanted| wanted == value)
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(stat: &str, period: i64, from: f64, to: f64) -> GetMetricData {
        serde_json::from_value(serde_json::json!({
            "StartTime": from, "EndTime": to,
            "MetricDataQueries": [{"Id": "a", "MetricStat": {
                "Metric": {"Namespace": "N", "MetricName": "M", "Dimensions": [{"Name": "D", "Value": "v"}]},
                "Period": period, "Stat": stat,
            }}],
        }))
        .unwrap()
    }

    #[test]
    fn what_can_not_be_answered_exactly_is_refused() {
        assert!(get("Sum", 60, 0.0, 1.0).checked().is_ok());
        for bad in [get("p99", 60, 0.0, 1.0), get("Sum", 90, 0.0, 1.0), get("Sum", 60, 1.0, 1.0)] {
            assert_eq!(bad.checked().unwrap_err().code, "ValidationError");
        }
    }

    #[test]
    fn values_with_counts_are_so_many_values() {
        let request: PutMetricData = serde_json::from_value(serde_json::json!({
            "Namespace": "N", "MetricData": [{"MetricName": "M", "Values": [1.0, 5.0], "Counts": [3.0, 1.0]}],
        }))
        .unwrap();
        let put = request.checked(7).unwrap();
        assert_eq!((put[0].1, put[0].2), (7, Statistics::of_many(1.0, 3.0)));
        assert_eq!(put[1].2, Statistics::of(5.0));
    }

    #[test]
    fn a_dimension_without_a_value_lists_every_value() {
        let request: ListMetrics =
            serde_json::from_value(serde_json::json!({"Namespace": "N", "Dimensions": [{"Name": "D"}]})).unwrap();
        assert!(request.matches(&SeriesId::new("N", "M", &[("D", "x")])));
        assert!(!request.matches(&SeriesId::new("N", "M", &[("E", "x")])));
        assert!(!request.matches(&SeriesId::new("O", "M", &[("D", "x")])));
    }
}
