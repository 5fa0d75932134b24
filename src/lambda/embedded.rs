//! Metrics in CloudWatch's embedded format: a line of the log from which CloudWatch makes metrics (CloudWatch user
//! guide, "Specification: Embedded metric format").

use serde_json::{Map, Value, json};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Sluicegate";

/// One metric of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit, as CloudWatch spells it.
    pub unit: &'static str,
    /// Its value.
    pub value: f64,
}

impl Metric {
    /// Things that are counted.
    pub fn count(name: &'static str, value: u64) -> Self {
        Self { name, unit: "Count", value: value as f64 }
    }

    /// A time, ms.
    pub fn ms(name: &'static str, value: u64) -> Self {
        Self { name, unit: "Milliseconds", value: value as f64 }
    }
}

/// The line of `metrics` at `now_ms` (since the epoch), by `dimensions` together.
pub(super) fn line(now_ms: i64, dimensions: &[(&str, &str)], metrics: &[Metric], more: &[(&str, Value)]) -> String {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let told: Vec<Value> = metrics.iter().map(|it| json!({ "Name": it.name, "Unit": it.unit })).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({
            "Timestamp": now_ms,
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [names], "Metrics": told }],
        }),
    );
    line.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    line.extend(metrics.iter().map(|it| {
        let whole = it.value.fract() == 0.0 && it.value.abs() < 9e15;
        (it.name.to_owned(), if whole { json!(it.value as i64) } else { json!(it.value) })
    }));
    line.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_cloudwatch_makes_metrics_of() {
        let metrics = [Metric::count("written", 500), Metric { name: "wcu", unit: "Count", value: 0.5 }];
        let line = line(1_520_175_584_000, &[("function", "put"), ("stream", "orders")], &metrics, &[]);
        let read: Value = serde_json::from_str(&line).unwrap();
        let told = &read["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(told["Namespace"], "Sluicegate");
        assert_eq!(told["Dimensions"], json!([["function", "stream"]]));
        assert_eq!(told["Metrics"][0], json!({"Name": "written", "Unit": "Count"}));
        assert_eq!((&read["function"], &read["written"], &read["wcu"]), (&json!("put"), &json!(500), &json!(0.5)));
        assert_eq!(read["_aws"]["Timestamp"], 1_520_175_584_000_i64);
    }
}
