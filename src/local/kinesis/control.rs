//! Stream control: ferrokinesis', with what it leaves out: ARNs in place of names, pages and filters of `ListShards`,
//! lineage in `UpdateShardCount`, streams on demand, timestamps for Java's CBOR.

use std::time::Duration;

use bytes::Bytes;
use ferrokinesis::types::{Shard, StreamMode, StreamStatus};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use super::topology::{self, reshard};
use super::wire::{Moment, Refusal, Wire, stream_of};
use super::{Kinesis, locked, now_ms};
use crate::local::Body;

/// Shards that a stream on demand begins with.
const ON_DEMAND_SHARDS: u32 = 4;
/// How long records are kept, hours: a day to 365 days.
const RETENTION: std::ops::RangeInclusive<u64> = 24..=8_760;
/// Members that are timestamps: seconds in JSON, ms in CBOR.
const TIMESTAMPS: [&str; 2] = ["StreamCreationTimestamp", "ConsumerCreationTimestamp"];
/// Operations that ferrokinesis knows by `StreamName` only.
const BY_NAME_ONLY: [&str; 14] = [
    "AddTagsToStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteStream",
    "DescribeStream",
    "DescribeStreamSummary",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "IncreaseStreamRetentionPeriod",
    "ListTagsForStream",
    "MergeShards",
    "RemoveTagsFromStream",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
];

impl Kinesis {
    /// Answers an operation that handles no records.
    pub(super) async fn control(&self, wire: Wire, operation: &str, body: &[u8]) -> Result<Response<Body>, Refusal> {
        match operation {
            "ListShards" => {
                let request: ListShardsRequest = wire.decode(body)?;
                return Ok(wire.reply(&self.list_shards(&request).await?));
            }
            "UpdateShardCount" => {
                let request: UpdateShardCountRequest = wire.decode(body)?;
                return Ok(wire.reply(&self.update_shard_count(&request).await?));
            }
            _ => {}
        }
        let mut request: Map<String, Value> = wire.decode(body)?;
        if BY_NAME_ONLY.contains(&operation) {
            let text = |member: &str| request.get(member).and_then(Value::as_str).map(str::to_owned);
            let name = stream_of(text("StreamName").as_deref(), text("StreamARN").as_deref())?.to_owned();
            request.remove("StreamARN");
            request.insert("StreamName".to_owned(), name.into());
        }
        let on_demand = operation == "CreateStream"
            && request.get("StreamModeDetails").is_some_and(|details| details["StreamMode"] == "ON_DEMAND");
        if on_demand {
            request.entry("ShardCount").or_insert_with(|| ON_DEMAND_SHARDS.into());
        }
        let name = request.get("StreamName").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let "IncreaseStreamRetentionPeriod" | "DecreaseStreamRetentionPeriod" = operation {
            let hours = request.get("RetentionPeriodHours").and_then(Value::as_u64).unwrap_or_default();
            self.change_retention(&name, hours, operation.starts_with("Increase")).await?;
            return Ok(wire.empty());
        }
        self.check(operation, &name, &request).await?;
        let mut reply = self.pass(operation, &request).await?;
        match operation {
            "DescribeStreamConsumer" => {
                if let Some(described) = reply.as_mut().map(|reply| &mut reply["ConsumerDescription"])
                    && let Some(arn) = described["ConsumerARN"].as_str().and_then(|arn| arn.split_once("/consumer/"))
                {
                    described["StreamARN"] = arn.0.to_owned().into();
                }
            }
            "CreateStream" if on_demand => {
                let set_mode = |stream: &mut ferrokinesis::types::Stream| {
                    stream.stream_mode_details.stream_mode = StreamMode::OnDemand;
                    Ok(())
                };
                self.store.update_stream(&name, set_mode).await?;
            }
            "DeleteStream" => {
                locked(&self.logs).retain(|(of, _), _| *of != name);
            }
            _ => {}
        }
        Ok(match reply {
            Some(reply) if wire == Wire::Cbor => wire.reply(&with_ms_timestamps(reply)),
            Some(reply) => wire.reply(&reply),
            None => wire.empty(),
        })
    }

    /// What ferrokinesis lets through and AWS does not.
    async fn check(&self, operation: &str, name: &str, request: &Map<String, Value>) -> Result<(), Refusal> {
        match operation {
            "DeleteStream" => {
                let arn = self.store.get_stream(name).await?.stream_arn;
                let consumers = self.store.list_consumers_for_stream(&arn).await;
                let enforced = request.get("EnforceConsumerDeletion").and_then(Value::as_bool) == Some(true);
                if !enforced && !consumers.is_empty() {
                    let account = &self.store.aws_account_id;
                    return Err(Refusal::new(
                        "ResourceInUseException",
                        format!(
                            "Stream {name} under account {account} has registered consumers: deregister them first."
                        ),
                    ));
                }
                for consumer in consumers {
                    self.store.delete_consumer(&consumer.consumer_arn).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// ferrokinesis keeps records for a week at most.
    async fn change_retention(&self, name: &str, hours: u64, longer: bool) -> Result<(), Refusal> {
        if !RETENTION.contains(&hours) {
            let (least, most) = (RETENTION.start(), RETENTION.end());
            return Err(Refusal::invalid(format!(
                "Minimum allowed retention period is {least} hours, maximum {most} hours. Requested retention period \
                 was {hours} hours."
            )));
        }
        let before = u64::from(self.store.get_stream(name).await?.retention_period_hours);
        if (longer && hours < before) || (!longer && hours > before) {
            let (way, other) = if longer { ("shorter", "Decrease") } else { ("longer", "Increase") };
            return Err(Refusal::invalid(format!(
                "Requested retention period ({hours} hours) for stream {name} can not be {way} than existing retention \
                 period ({before} hours). Use {other}StreamRetentionPeriod API."
            )));
        }
        let set = |stream: &mut ferrokinesis::types::Stream| {
            stream.retention_period_hours = hours as u32;
            Ok(())
        };
        Ok(self.store.update_stream(name, set).await?)
    }

    /// Hands an operation to ferrokinesis, and its reply back. An empty reply is `None`.
    async fn pass(&self, operation: &str, request: &Map<String, Value>) -> Result<Option<Value>, Refusal> {
        let broken = |reason: String| Refusal::new("InternalFailure", reason);
        let request = Request::post("/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
            // It wants a signature's form; any will do.
            .header("x-amz-date", "20000101T000000Z")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=local, SignedHeaders=host, Signature=00")
            .body(axum::body::Body::from(Value::from(request.clone()).to_string()))
            .map_err(|error| Refusal::new("UnknownOperationException", error.to_string()))?;
        let reply = match self.router.clone().oneshot(request).await {
            Ok(reply) => reply,
            Err(never) => match never {},
        };
        let (parts, body) = reply.into_parts();
        let body: Bytes = body.collect().await.map_err(|error| broken(error.to_string()))?.to_bytes();
        if parts.status.is_success() {
            if body.is_empty() {
                return Ok(None);
            }
            return serde_json::from_slice(&body).map(Some).map_err(|error| broken(error.to_string()));
        }
        let error: Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = error["__type"].as_str().unwrap_or("InternalFailure").to_owned();
        let message = error["message"].as_str().or_else(|| error["Message"].as_str()).unwrap_or_default().to_owned();
        Err(Refusal { status: parts.status, code, message })
    }

    async fn list_shards(&self, request: &ListShardsRequest) -> Result<Value, Refusal> {
        let token = request.next_token.as_deref().map(|token| {
            token.rsplit_once('/').ok_or_else(|| Refusal::new("ExpiredNextTokenException", "Invalid NextToken."))
        });
        let named = request.stream_name.is_some() || request.stream_arn.is_some();
        let (name, after) = match token {
            Some(_) if named => {
                return Err(Refusal::invalid("NextToken and StreamName cannot be provided together."));
            }
            Some(token) => token.map(|(name, after)| (name, Some(after)))?,
            None => (
                stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?,
                request.exclusive_start_shard_id.as_deref(),
            ),
        };
        let stream = self.store.get_stream(name).await?;
        let filter = request.shard_filter.as_ref();
        let most = request.max_results.unwrap_or(1000).clamp(1, 10_000) as usize;
        let mut matching = stream
            .shards
            .iter()
            .filter(|shard| after.is_none_or(|after| shard.shard_id.as_str() > after))
            .filter(|shard| filter.is_none_or(|filter| filter.matches(shard)));
        let page: Vec<&Shard> = matching.by_ref().take(most).collect();
        let mut reply = json!({ "Shards": page });
        if let (Some(_), Some(last)) = (matching.next(), page.last()) {
            reply["NextToken"] = format!("{name}/{}", last.shard_id).into();
        }
        Ok(reply)
    }

    async fn update_shard_count(&self, request: &UpdateShardCountRequest) -> Result<Value, Refusal> {
        let name = stream_of(request.stream_name.as_deref(), request.stream_arn.as_deref())?.to_owned();
        let target = request.target_shard_count;
        let stream = self.store.get_stream(&name).await?;
        let current = stream.shards.iter().filter(|shard| !topology::is_closed(shard)).count() as u32;
        let account = &self.store.aws_account_id;
        if request.scaling_type.as_deref() != Some("UNIFORM_SCALING") {
            return Err(Refusal::invalid("ScalingType must be UNIFORM_SCALING."));
        }
        if stream.stream_mode_details.stream_mode == StreamMode::OnDemand {
            return Err(Refusal::new(
                "ValidationException",
                format!("UpdateShardCount is not supported for stream {name} in on-demand mode."),
            ));
        }
        if target == current {
            return Err(Refusal::invalid(format!(
                "Target shard count {target} cannot be the same as the current open shard count."
            )));
        }
        if target == 0 || target > current * 2 || target * 2 < current {
            return Err(Refusal::invalid(format!(
                "UpdateShardCount cannot scale from {current} to {target}: at most double, at least half of the \
                 current open shard count."
            )));
        }
        if stream.stream_status == StreamStatus::Active {
            self.count_change(&stream, now_ms())?;
        }
        self.store
            .update_stream(&name, |stream| {
                if stream.stream_status != StreamStatus::Active {
                    let message = format!(
                        "Stream {name} under account {account} not ACTIVE, instead in state {}",
                        stream.stream_status
                    );
                    return Err(ferrokinesis::error::KinesisErrorResponse::client_error(
                        "ResourceInUseException",
                        Some(&message),
                    ));
                }
                stream.stream_status = StreamStatus::Updating;
                Ok(())
            })
            .await?;
        let store = self.store.clone();
        let stream_arn = stream.stream_arn;
        let reply = json!({
            "StreamName": name,
            "StreamARN": stream_arn,
            "CurrentShardCount": current,
            "TargetShardCount": target,
        });
        // The stream may be deleted meanwhile: then there is nothing left to do.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(store.options.update_stream_ms)).await;
            let finish = |stream: &mut ferrokinesis::types::Stream| {
                reshard(&mut stream.shards, target, now_ms());
                stream.stream_status = StreamStatus::Active;
                Ok(())
            };
            let _ = store.update_stream(&name, finish).await;
        });
        Ok(reply)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListShardsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<u32>,
    shard_filter: Option<ShardFilter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    r#type: String,
    shard_id: Option<String>,
    timestamp: Option<Moment>,
}

impl ShardFilter {
    fn matches(&self, shard: &Shard) -> bool {
        let closed_ms = topology::closed_ms(shard);
        let at = self.timestamp.map_or(0, |at| at.0);
        match self.r#type.as_str() {
            "AFTER_SHARD_ID" => self.shard_id.as_ref().is_none_or(|id| shard.shard_id > *id),
            "AT_LATEST" => closed_ms.is_none(),
            "AT_TRIM_HORIZON" => shard.parent_shard_id.is_none(),
            "AT_TIMESTAMP" => topology::created_ms(shard) <= at && closed_ms.is_none_or(|closed| at <= closed),
            "FROM_TIMESTAMP" => closed_ms.is_none_or(|closed| at <= closed),
            // FROM_TRIM_HORIZON: all that is kept.
            _ => true,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateShardCountRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    target_shard_count: u32,
    scaling_type: Option<String>,
}

fn with_ms_timestamps(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| match value.as_f64() {
                Some(seconds) if TIMESTAMPS.contains(&name.as_str()) => (name, ((seconds * 1000.0) as u64).into()),
                _ => (name, with_ms_timestamps(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(members) => members.into_iter().map(with_ms_timestamps).collect(),
        other => other,
    }
}
