//! Event source mappings: which Lambda functions read a stream, how they fare, and pausing them.

use super::context::Cloud;
use super::error::{Class, CloudError};
use super::guard;
use super::metrics::{self, Query};

/// An event source mapping, as `ListEventSourceMappings` tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// What it is changed by.
    pub uuid: String,
    /// The function's ARN.
    pub function_arn: String,
    /// `Enabled`, `Disabled`, `Enabling`, `Disabling`, `Creating`, `Updating`, `Deleting`.
    pub state: String,
    /// Why it is in that state: `User action`, or what Lambda did and why.
    pub reason: String,
    /// What became of the last batch: `OK`, `No records processed`, `PROBLEM: Function call failed`.
    pub last_result: String,
    /// The most records that one call of the function gets.
    pub batch_size: u32,
    /// How many batches of one shard are under way at once.
    pub parallelization: u32,
    /// How often a batch is tried again; `None` is until its records expire.
    pub retries: Option<u32>,
    /// True when a failing batch is cut in half.
    pub bisects: bool,
    /// Where what is given up goes, an ARN; `None` is nowhere.
    pub on_failure: Option<String>,
}

impl Mapping {
    /// The function's name, with its alias or version where the mapping names one.
    pub fn function(&self) -> &str {
        self.function_arn.split(":function:").nth(1).unwrap_or(&self.function_arn)
    }

    /// True while it reads, or is about to.
    pub fn is_on(&self) -> bool {
        matches!(self.state.as_str(), "Enabled" | "Enabling" | "Creating" | "Updating")
    }

    /// True when it will stay as it is: only then Lambda takes a change.
    pub fn is_settled(&self) -> bool {
        matches!(self.state.as_str(), "Enabled" | "Disabled")
    }
}

/// The mappings that read the stream of `stream_arn`, by function.
///
/// # Errors
/// [`super::Class::Auth`] where the credentials may not list them: that is no empty list.
pub async fn list(cloud: &Cloud, stream_arn: &str) -> Result<Vec<Mapping>, CloudError> {
    let mut mappings = Vec::new();
    let mut marker = None;
    loop {
        cloud.budget().turn().await;
        let page = cloud
            .lambda
            .list_event_source_mappings()
            .event_source_arn(stream_arn)
            .set_marker(marker)
            .send()
            .await
            .map_err(|e| CloudError::of("list the event source mappings", &e))?;
        for m in page.event_source_mappings.unwrap_or_default() {
            let count = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
            mappings.push(Mapping {
                uuid: m.uuid.unwrap_or_default(),
                function_arn: m.function_arn.unwrap_or_default(),
                state: m.state.unwrap_or_default(),
                reason: m.state_transition_reason.unwrap_or_default(),
                last_result: m.last_processing_result.unwrap_or_default(),
                batch_size: count(m.batch_size).unwrap_or_default(),
                parallelization: count(m.parallelization_factor).unwrap_or(1),
                // -1 is for ever.
                retries: count(m.maximum_retry_attempts),
                bisects: m.bisect_batch_on_function_error.unwrap_or_default(),
                on_failure: m.destination_config.and_then(|d| d.on_failure).and_then(|d| d.destination),
            });
        }
        marker = page.next_marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            mappings.sort_by(|a, b| a.function_arn.cmp(&b.function_arn).then_with(|| a.uuid.cmp(&b.uuid)));
            return Ok(mappings);
        }
    }
}

/// Lets the mapping `uuid` read on, or pauses it. Lambda takes some seconds; where it stopped it goes on.
pub async fn set_enabled(cloud: &Cloud, uuid: &str, enabled: bool) -> Result<(), CloudError> {
    let action = format!("{} event source mapping {uuid}", if enabled { "resume" } else { "pause" });
    let request = cloud.lambda.update_event_source_mapping().uuid(uuid).enabled(enabled);
    let sent = guard::knowing(serde_json::json!({ "Enabled": !enabled }), request.send()).await;
    sent.map(drop).map_err(|e| CloudError::of(&action, &e))
}

/// The mapping `uuid`; `None` where there is none.
pub async fn find(cloud: &Cloud, uuid: &str) -> Result<Option<Mapping>, CloudError> {
    cloud.budget().turn().await;
    match cloud.lambda.get_event_source_mapping().uuid(uuid).send().await {
        Ok(m) => Ok(Some(Mapping {
            uuid: m.uuid.unwrap_or_default(),
            function_arn: m.function_arn.unwrap_or_default(),
            state: m.state.unwrap_or_default(),
            reason: m.state_transition_reason.unwrap_or_default(),
            last_result: m.last_processing_result.unwrap_or_default(),
            ..Mapping::default()
        })),
        Err(error) => {
            let error = CloudError::of(&format!("look at event source mapping {uuid}"), &error);
            if error.class == Class::NotFound { Ok(None) } else { Err(error) }
        }
    }
}

/// The newest iterator age of each of `functions`, ms: how old the last record of a batch was when the function was done
/// with it. `None` where CloudWatch has none of the last eight minutes.
pub async fn iterator_ages(cloud: &Cloud, functions: &[String], now_ms: i64) -> Result<Vec<Option<f64>>, CloudError> {
    let query = |function: &String| Query {
        namespace: "AWS/Lambda",
        metric: "IteratorAge",
        // CloudWatch knows a function by its bare name.
        dimensions: vec![("FunctionName", function.split(':').next().unwrap_or(function).to_owned())],
        statistic: "Maximum",
    };
    let queries: Vec<Query> = functions.iter().map(query).collect();
    let from = now_ms - 8 * 60_000;
    let series = metrics::series(cloud, &queries, from - from.rem_euclid(60_000), now_ms, 60).await?;
    Ok(series.into_iter().map(|points| points.last().map(|(_, age)| *age)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_known_by_its_name_and_alias() {
        let named = |arn: &str| Mapping { function_arn: arn.into(), ..Mapping::default() }.function().to_owned();
        assert_eq!(named("arn:aws:lambda:eu-west-1:1:function:put"), "put");
        assert_eq!(named("arn:aws:lambda:eu-west-1:1:function:put:live"), "put:live");
    }

    #[test]
    fn only_a_settled_mapping_takes_a_change() {
        let state = |state: &str| Mapping { state: state.into(), ..Mapping::default() };
        assert!(state("Enabled").is_settled() && state("Enabled").is_on());
        assert!(!state("Disabling").is_settled() && !state("Disabling").is_on());
        assert!(state("Disabled").is_settled());
    }
}
