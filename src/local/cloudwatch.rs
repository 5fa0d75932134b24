//! The `CloudWatch` calls that Sluicegate uses, over the gateway's metrics: `PutMetricData`, `GetMetricData`,
//! `GetMetricStatistics`, `ListMetrics`.
//!
//! Statistics are Sum, Average, Minimum, Maximum and `SampleCount`, over periods that are multiples of 60 s.
//! Percentiles and metric math are refused, not guessed.

mod query;
mod request;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ciborium::Value;
use http::Response;

use self::request::{GetMetricData, GetMetricStatistics, ListMetrics, PutMetricData, Query, Span};
use self::wire::{Refusal, Wire, map, text, timestamp};
use super::Body;
use super::metrics::{Metrics, SeriesId};

/// `CloudWatch` in memory.
#[derive(Debug)]
pub struct CloudWatch {
    metrics: Arc<Metrics>,
}

impl CloudWatch {
    /// `CloudWatch` over the gateway's metrics.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    /// Answers one request.
    // The other services wait for I/O here; one signature for all keeps the server simple.
    #[allow(clippy::unused_async)]
    pub async fn handle(&self, parts: &http::request::Parts, body: Bytes) -> Response<Body> {
        let Some((wire, operation)) = Wire::of(parts, &body) else {
            let refusal = Refusal::new("UnknownOperationException", "this request is in no protocol served here");
            return Wire::Json.refuse(&refusal);
        };
        let done = match operation.as_str() {
            "PutMetricData" => wire.decode(parts, &body).and_then(|request| self.put(request)).map(|()| None),
            "GetMetricData" => wire.decode(parts, &body).and_then(|request| self.get(&request)).map(Some),
            "GetMetricStatistics" => wire.decode(parts, &body).and_then(|request| self.statistics(&request)).map(Some),
            "ListMetrics" => wire.decode(parts, &body).map(|request| Some(self.list(&request))),
            other => Err(Refusal::new("UnknownOperationException", format!("{other} is not served here"))),
        };
        match done {
            Ok(reply) => wire.reply(&operation, reply.as_ref()),
            Err(refusal) => wire.refuse(&refusal),
        }
    }

    fn put(&self, request: PutMetricData) -> Result<(), Refusal> {
        let now_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let put = request.checked(now_ms)?;
        for (id, at_ms, statistics, unit) in put {
            self.metrics.merge(id, at_ms, &statistics, unit.as_deref());
        }
        Ok(())
    }

    fn get(&self, request: &GetMetricData) -> Result<Value, Refusal> {
        let (span, queries) = request.checked()?;
        let results = queries.iter().filter(|query| query.returned).map(|query| {
            let mut values = self.values(&query.series, &span, query);
            if !request.is_ascending() {
                values.reverse();
            }
            map([
                ("Id", text(query.id)),
                ("Label", text(query.label)),
                ("Timestamps", Value::Array(values.iter().map(|(at_ms, _)| timestamp(*at_ms)).collect())),
                ("Values", Value::Array(values.iter().map(|(_, value)| Value::Float(*value)).collect())),
                ("StatusCode", text("Complete")),
            ])
        });
        Ok(map([("MetricDataResults", Value::Array(results.collect())), ("Messages", Value::Array(Vec::new()))]))
    }

    /// Start (ms since epoch) and value of each period that holds one, oldest first.
    fn values(&self, series: &SeriesId, span: &Span, query: &Query<'_>) -> Vec<(i64, f64)> {
        if query.unit.is_some_and(|unit| unit != self.metrics.unit(series)) {
            return Vec::new();
        }
        self.metrics
            .query(series, span.from_ms, span.to_ms, query.period_ms)
            .into_iter()
            .filter_map(|(at_ms, statistics)| Some((at_ms, statistics.named(query.statistic)?)))
            .collect()
    }

    fn statistics(&self, request: &GetMetricStatistics) -> Result<Value, Refusal> {
        let (span, period_ms, series) = request.checked()?;
        let unit = self.metrics.unit(&series);
        let mut points = Vec::new();
        if request.unit.as_ref().is_none_or(|wanted| *wanted == unit) {
            for (at_ms, statistics) in self.metrics.query(&series, span.from_ms, span.to_ms, period_ms) {
                let mut point = vec![(text("Timestamp"), timestamp(at_ms)), (text("Unit"), text(unit.as_str()))];
                for name in &request.statistics {
                    if let Some(value) = statistics.named(name) {
                        point.push((text(name.as_str()), Value::Float(value)));
                    }
                }
                points.push(Value::Map(point));
            }
        }
        Ok(map([("Label", text(series.metric)), ("Datapoints", Value::Array(points))]))
    }

    fn list(&self, request: &ListMetrics) -> Value {
        let metrics = self.metrics.series().into_iter().filter(|series| request.matches(series)).map(|series| {
            let dimensions = series
                .dimensions
                .into_iter()
                .map(|(name, value)| map([("Name", text(name)), ("Value", text(value))]))
                .collect();
            map([
                ("Namespace", text(series.namespace)),
                ("MetricName", text(series.metric)),
                ("Dimensions", Value::Array(dimensions)),
            ])
        });
        map([("Metrics", Value::Array(metrics.collect()))])
    }
}
