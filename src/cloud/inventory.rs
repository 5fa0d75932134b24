//! What is there: tables and streams, described as the lists show them.

use aws_sdk_dynamodb::types::{BillingMode, IndexStatus, KeyType, ScalarAttributeType, TableDescription, TableStatus};
use aws_sdk_kinesis::types::StreamMode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::context::Cloud;
use super::error::{Class, CloudError};
use super::guard;
use crate::item::{KeyAttr, KeyKind, KeySchema};

/// A table, as `DescribeTable` tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// `ACTIVE`, `UPDATING`, …
    pub status: String,
    /// Items, as of AWS's last count (every six hours or so).
    pub items: u64,
    /// Bytes, as of AWS's last count.
    pub bytes: u64,
    /// Read and write capacity; `None` on demand.
    pub provisioned: Option<Provisioned>,
    /// Global secondary indexes.
    pub indexes: Vec<Index>,
    /// What the stream carries (`NEW_AND_OLD_IMAGES`, …); `None` without one.
    pub stream: Option<String>,
    /// Its primary key.
    pub key: KeySchema,
}

/// Provisioned throughput of a table or an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    /// Read capacity, RCU.
    pub read: u64,
    /// Write capacity, WCU.
    pub write: u64,
    /// Decreases since midnight UTC.
    pub decreases_today: u64,
    /// The last decrease, ms since epoch.
    pub last_decrease_ms: Option<i64>,
}

/// A global secondary index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// `ACTIVE`, `CREATING`, …
    pub status: String,
    /// Capacity; `None` on demand.
    pub provisioned: Option<Provisioned>,
}

impl Table {
    /// The provisioned throughput of the table or of one of its indexes; `None` on demand, or without such an index.
    pub fn throughput(&self, index: Option<&str>) -> Option<Provisioned> {
        match index {
            None => self.provisioned,
            Some(name) => self.indexes.iter().find(|i| i.name == name).and_then(|i| i.provisioned),
        }
    }

    /// True while neither the table nor one of its indexes is being changed.
    pub fn is_active(&self) -> bool {
        self.status == "ACTIVE" && self.indexes.iter().all(|index| index.status == "ACTIVE")
    }
}

impl Stream {
    /// A stream of which nothing but its name is known: its status is empty.
    pub fn named(name: String) -> Self {
        Self {
            name,
            status: String::new(),
            mode: String::new(),
            retention_hours: 0,
            arn: String::new(),
            open: 0,
            consumers: 0,
            has_shard_metrics: false,
            shards: Vec::new(),
        }
    }

    /// How many shards take records.
    pub fn open_shards(&self) -> u64 {
        if self.shards.is_empty() { self.open } else { self.shards.iter().filter(|shard| shard.open).count() as u64 }
    }
}

/// A stream, as `DescribeStreamSummary` and `ListShards` tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// `ACTIVE`, `UPDATING`, …
    pub status: String,
    /// `PROVISIONED` or `ON_DEMAND`.
    pub mode: String,
    /// Hours that records stay.
    pub retention_hours: u32,
    /// Its ARN; empty where the service told none.
    pub arn: String,
    /// Open shards, as the summary counts them.
    pub open: u64,
    /// Consumers registered for enhanced fan-out.
    pub consumers: u32,
    /// CloudWatch has metrics of each shard: enhanced monitoring is on.
    pub has_shard_metrics: bool,
    /// Shards, open and closed; empty where they were not asked for, and never stored.
    #[serde(skip)]
    pub shards: Vec<Shard>,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its ID.
    pub id: String,
    /// The shard it came from by a split or merge.
    pub parent: Option<String>,
    /// The second parent after a merge.
    pub adjacent_parent: Option<String>,
    /// First hash key, inclusive.
    pub from: u128,
    /// Last hash key, inclusive.
    pub to: u128,
    /// False once it takes no more records.
    pub open: bool,
}

/// Names of all tables of the context, sorted.
pub async fn table_names(cloud: &Cloud) -> Result<Vec<String>, CloudError> {
    let mut names = Vec::new();
    let mut after = None;
    loop {
        cloud.budget().turn().await;
        let page = cloud
            .dynamodb
            .list_tables()
            .set_exclusive_start_table_name(after)
            .send()
            .await
            .map_err(|e| CloudError::of("list tables", &e))?;
        names.extend(page.table_names.unwrap_or_default());
        after = page.last_evaluated_table_name;
        if after.is_none() {
            names.sort();
            return Ok(names);
        }
    }
}

/// One table; `None` where there is none of that name.
pub async fn find_table(cloud: &Cloud, name: &str) -> Result<Option<Table>, CloudError> {
    cloud.budget().turn().await;
    let described = cloud.dynamodb.describe_table().table_name(name).send().await;
    match described.map_err(|e| CloudError::of(&format!("describe table {name}"), &e)) {
        Ok(output) => output
            .table
            .and_then(|table| read_table(&table))
            .map(Some)
            .ok_or_else(|| CloudError::new(Class::Unknown, format!("table {name} was described without a key"), "")),
        Err(error) if error.class == Class::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// One table.
///
/// # Errors
/// [`Class::NotFound`] names the nearest existing tables.
pub async fn table(cloud: &Cloud, name: &str) -> Result<Table, CloudError> {
    if let Some(table) = find_table(cloud, name).await? {
        return Ok(table);
    }
    let near = nearest(name, &table_names(cloud).await.unwrap_or_default());
    Err(CloudError::new(Class::NotFound, format!("there is no table {name} in {}", cloud.region), near))
}

/// Names of all streams of the context, sorted.
pub async fn stream_names(cloud: &Cloud) -> Result<Vec<String>, CloudError> {
    let mut names: Vec<String> = Vec::new();
    loop {
        cloud.budget().turn().await;
        let page = cloud
            .kinesis
            .list_streams()
            .set_exclusive_start_stream_name(names.last().cloned())
            .send()
            .await
            .map_err(|e| CloudError::of("list streams", &e))?;
        let more = page.has_more_streams && !page.stream_names.is_empty();
        names.extend(page.stream_names);
        if !more {
            names.sort();
            return Ok(names);
        }
    }
}

/// One stream with its shards.
///
/// # Errors
/// [`Class::NotFound`] names the nearest existing streams.
pub async fn stream(cloud: &Cloud, name: &str) -> Result<Stream, CloudError> {
    let stream = stream_summary(cloud, name).await?;
    Ok(Stream { shards: shards(cloud, name).await?, ..stream })
}

/// One stream without its shards: one question, however many they are.
///
/// # Errors
/// [`Class::NotFound`] names the nearest existing streams.
pub async fn stream_summary(cloud: &Cloud, name: &str) -> Result<Stream, CloudError> {
    cloud.budget().turn().await;
    let summary = match cloud.kinesis.describe_stream_summary().stream_name(name).send().await {
        Ok(output) => output.stream_description_summary,
        Err(e) => {
            let error = CloudError::of(&format!("describe stream {name}"), &e);
            if error.class != Class::NotFound {
                return Err(error);
            }
            let near = nearest(name, &stream_names(cloud).await.unwrap_or_default());
            return Err(CloudError::new(
                Class::NotFound,
                format!("there is no stream {name} in {}", cloud.region),
                near,
            ));
        }
    };
    let Some(summary) = summary else {
        return Err(CloudError::new(Class::Unknown, format!("stream {name} was described without a summary"), ""));
    };
    let mode = summary.stream_mode_details.as_ref().map_or(&StreamMode::Provisioned, |m| &m.stream_mode);
    Ok(Stream {
        name: name.to_owned(),
        status: summary.stream_status.as_str().to_owned(),
        mode: mode.as_str().to_owned(),
        retention_hours: u32::try_from(summary.retention_period_hours).unwrap_or(24),
        open: u64::try_from(summary.open_shard_count).unwrap_or_default(),
        consumers: summary.consumer_count.and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
        has_shard_metrics: summary.enhanced_monitoring.iter().any(|m| !m.shard_level_metrics().is_empty()),
        arn: summary.stream_arn,
        shards: Vec::new(),
    })
}

/// The shards of a stream, open and closed, as `ListShards` orders them.
pub async fn shards(cloud: &Cloud, stream: &str) -> Result<Vec<Shard>, CloudError> {
    let mut shards = Vec::new();
    let mut next: Option<String> = None;
    loop {
        cloud.budget().turn().await;
        let request = cloud.kinesis.list_shards();
        let request = match next {
            Some(token) => request.next_token(token),
            None => request.stream_name(stream),
        };
        let page =
            request.send().await.map_err(|e| CloudError::of(&format!("list the shards of stream {stream}"), &e))?;
        for shard in page.shards.unwrap_or_default() {
            let range = shard.hash_key_range.as_ref();
            let bound = |text: Option<&String>, or: u128| text.and_then(|t| t.parse().ok()).unwrap_or(or);
            shards.push(Shard {
                from: bound(range.map(|r| &r.starting_hash_key), 0),
                to: bound(range.map(|r| &r.ending_hash_key), u128::MAX),
                open: shard.sequence_number_range.as_ref().is_none_or(|r| r.ending_sequence_number.is_none()),
                parent: shard.parent_shard_id,
                adjacent_parent: shard.adjacent_parent_shard_id,
                id: shard.shard_id,
            });
        }
        next = page.next_token;
        if next.is_none() {
            return Ok(shards);
        }
    }
}

/// Sets the read and write capacity of a table, or of one of its indexes.
pub async fn set_capacity(
    cloud: &Cloud,
    table: &Table,
    index: Option<&str>,
    rcu: u64,
    wcu: u64,
) -> Result<(), CloudError> {
    set_capacities(cloud, table, &[(index, rcu, wcu)]).await
}

/// Sets the capacity of a table and of its indexes in one request: of each named the RCU and the WCU. While AWS carries
/// it out, it takes no other.
pub async fn set_capacities(
    cloud: &Cloud,
    table: &Table,
    wanted: &[(Option<&str>, u64, u64)],
) -> Result<(), CloudError> {
    use aws_sdk_dynamodb::types::{
        GlobalSecondaryIndexUpdate, ProvisionedThroughput, UpdateGlobalSecondaryIndexAction,
    };
    let unfit = |error: aws_sdk_dynamodb::error::BuildError| CloudError::new(Class::Invalid, error.to_string(), "");
    let mut request = cloud.dynamodb.update_table().table_name(&table.name);
    let mut words = Vec::new();
    let (mut before, mut indexes_before) = (serde_json::Map::new(), Vec::new());
    for (index, rcu, wcu) in wanted {
        let name = index.unwrap_or(&table.name);
        let Some(now) = table.throughput(*index) else {
            return Err(CloudError::new(
                Class::Invalid,
                format!("{name} has no provisioned capacity to set"),
                "it is on demand: AWS scales it by itself",
            ));
        };
        let was = json!({ "ReadCapacityUnits": now.read, "WriteCapacityUnits": now.write });
        match index {
            None => drop(before.insert("ProvisionedThroughput".to_owned(), was)),
            Some(name) => {
                indexes_before.push(json!({ "Update": { "IndexName": name, "ProvisionedThroughput": was } }));
            }
        }
        let throughput = ProvisionedThroughput::builder()
            .read_capacity_units(*rcu as i64)
            .write_capacity_units(*wcu as i64)
            .build()
            .map_err(unfit)?;
        request = match index {
            None => request.provisioned_throughput(throughput),
            Some(name) => {
                let update = UpdateGlobalSecondaryIndexAction::builder()
                    .index_name(*name)
                    .provisioned_throughput(throughput)
                    .build()
                    .map_err(unfit)?;
                request.global_secondary_index_updates(GlobalSecondaryIndexUpdate::builder().update(update).build())
            }
        };
        words.push(format!("{name} to {wcu} WCU and {rcu} RCU"));
    }
    if !indexes_before.is_empty() {
        before.insert("GlobalSecondaryIndexUpdates".to_owned(), indexes_before.into());
    }
    let sent = guard::knowing(before.into(), request.send()).await;
    sent.map(drop).map_err(|e| CloudError::of(&format!("set the capacity of {}", words.join(", ")), &e))
}

/// Asks for `to` open shards in a stream that has `from`; AWS takes some minutes to split and merge.
pub async fn set_shards(cloud: &Cloud, stream: &str, from: u64, to: u64) -> Result<(), CloudError> {
    use aws_sdk_kinesis::types::ScalingType;
    let request = cloud
        .kinesis
        .update_shard_count()
        .stream_name(stream)
        .target_shard_count(i32::try_from(to).unwrap_or(i32::MAX))
        .scaling_type(ScalingType::UniformScaling);
    let sent = guard::knowing(json!({ "TargetShardCount": from }), request.send()).await;
    sent.map(drop).map_err(|e| CloudError::of(&format!("set stream {stream} to {to} shards"), &e))
}

/// The AWS account of the credentials in use.
pub async fn account(cloud: &Cloud) -> Result<String, CloudError> {
    let identity =
        cloud.sts.get_caller_identity().send().await.map_err(|e| CloudError::of("ask who the credentials are", &e))?;
    Ok(identity.account.unwrap_or_default())
}

/// `did you mean a, b?` or what exists at all.
pub fn nearest(name: &str, existing: &[String]) -> String {
    let mut near: Vec<(f64, &String)> = existing
        .iter()
        .map(|other| (strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase()), other))
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names: Vec<&str> = near.iter().filter(|(score, _)| *score > 0.7).take(3).map(|(_, n)| n.as_str()).collect();
    match (names.as_slice(), existing.len()) {
        ([], 0) => "none exist there: check --region and --profile".to_owned(),
        ([], n) => format!("none of the {n} that exist there is spelt like it"),
        (names, _) => format!("did you mean {}?", names.join(", ")),
    }
}

fn read_table(table: &TableDescription) -> Option<Table> {
    let kind_of = |name: &str| {
        let definition = table.attribute_definitions().iter().find(|d| d.attribute_name() == name)?;
        Some(match definition.attribute_type() {
            ScalarAttributeType::N => KeyKind::N,
            ScalarAttributeType::B => KeyKind::B,
            _ => KeyKind::S,
        })
    };
    let attr = |key_type: &KeyType| {
        let element = table.key_schema().iter().find(|k| k.key_type() == key_type)?;
        let name = element.attribute_name().to_owned();
        Some(KeyAttr { kind: kind_of(&name)?, name })
    };
    let on_demand = table
        .billing_mode_summary()
        .and_then(|b| b.billing_mode())
        .is_some_and(|mode| *mode == BillingMode::PayPerRequest);
    let provisioned = |p: Option<&aws_sdk_dynamodb::types::ProvisionedThroughputDescription>| {
        p.filter(|_| !on_demand).map(|p| Provisioned {
            read: p.read_capacity_units().unwrap_or_default().max(0) as u64,
            write: p.write_capacity_units().unwrap_or_default().max(0) as u64,
            decreases_today: p.number_of_decreases_today().unwrap_or_default().max(0) as u64,
            last_decrease_ms: p.last_decrease_date_time().and_then(|at| at.to_millis().ok()),
        })
    };
    Some(Table {
        name: table.table_name().unwrap_or_default().to_owned(),
        status: table.table_status().unwrap_or(&TableStatus::Active).as_str().to_owned(),
        items: table.item_count().unwrap_or_default().max(0) as u64,
        bytes: table.table_size_bytes().unwrap_or_default().max(0) as u64,
        provisioned: provisioned(table.provisioned_throughput()),
        indexes: table
            .global_secondary_indexes()
            .iter()
            .map(|index| Index {
                name: index.index_name().unwrap_or_default().to_owned(),
                status: index.index_status().unwrap_or(&IndexStatus::Active).as_str().to_owned(),
                provisioned: provisioned(index.provisioned_throughput()),
            })
            .collect(),
        stream: table
            .stream_specification()
            .filter(|s| s.stream_enabled())
            .and_then(|s| s.stream_view_type())
            .map(|v| v.as_str().to_owned()),
        key: KeySchema { partition: attr(&KeyType::Hash)?, sort: attr(&KeyType::Range) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_that_exist() {
        let existing = ["historical", "quotes", "sessions"].map(String::from);
        assert_eq!(nearest("historcal", &existing), "did you mean historical?");
        assert_eq!(nearest("zzz", &existing), "none of the 3 that exist there is spelt like it");
        assert_eq!(nearest("zzz", &[]), "none exist there: check --region and --profile");
    }
}
