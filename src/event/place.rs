//! Where each shard of a stream was read to, kept in the event table, so that a pump goes on wherever it runs next.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::record::Layout;
use super::row::SLOT;
use crate::cloud::{Class, CloudError};
use crate::flow::{Counters, ShardCheckpoint};

/// The checkpoint, as JSON.
const CHECKPOINT: &str = "checkpoint";
/// The same place as text that sorts as places do.
const AT: &str = "at";

/// The places of one stream's shards in an event table: partition `directory#places#<stream ARN>`, a row a shard.
#[derive(Clone, Debug)]
pub struct Places {
    client: aws_sdk_dynamodb::Client,
    table: String,
    layout: Layout,
    partition: String,
}

impl Places {
    /// The places of stream `source` (its ARN) in event table `table`.
    pub fn new(client: aws_sdk_dynamodb::Client, table: impl Into<String>, layout: Layout, source: &str) -> Self {
        Self { client, table: table.into(), layout, partition: format!("directory#places#{source}") }
    }

    fn action(&self, does: &str) -> String {
        format!("{does} the places of the stream's shards in {}", self.table)
    }

    fn key(&self, shard: &str) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (SLOT.to_owned(), AttributeValue::S(self.partition.clone())),
            (self.layout.sort_key().to_owned(), AttributeValue::S(shard.to_owned())),
        ])
    }

    /// All that are stored. Their counters are not: each run counts its own.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn read(&self) -> Result<Vec<ShardCheckpoint>, CloudError> {
        let (mut places, mut after) = (Vec::new(), None);
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("#slot = :slot")
                .expression_attribute_names("#slot", SLOT)
                .expression_attribute_values(":slot", AttributeValue::S(self.partition.clone()))
                .consistent_read(true)
                .set_exclusive_start_key(after)
                .send()
                .await
                .map_err(|error| CloudError::of(&self.action("read"), &error))?;
            for row in page.items() {
                let text = row.get(CHECKPOINT).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
                let place: ShardCheckpoint = serde_json::from_str(text).map_err(|error| {
                    let what = format!("could not {}: a row holds no checkpoint ({error})", self.action("read"));
                    CloudError::new(Class::Invalid, what, "was it written by a newer sluice?")
                })?;
                places.push(ShardCheckpoint { counters: Counters::default(), ..place });
            }
            after = page.last_evaluated_key;
            if after.is_none() {
                return Ok(places);
            }
        }
    }

    /// Stores `place`, unless a later one of its shard is stored already.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn store(&self, place: &ShardCheckpoint) -> Result<(), CloudError> {
        // Our own types hold no map with keys other than strings, so they are always JSON.
        let json = serde_json::to_string(place).unwrap_or_default();
        let stored = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.key(&place.shard)))
            .item(CHECKPOINT, AttributeValue::S(json))
            .item(AT, AttributeValue::S(order_of(place)))
            .condition_expression("attribute_not_exists(#at) OR #at <= :at")
            .expression_attribute_names("#at", AT)
            .expression_attribute_values(":at", AttributeValue::S(order_of(place)))
            .send()
            .await
            .map_err(|error| CloudError::of(&self.action("store"), &error));
        match stored {
            Err(error) if error.class == Class::Condition => Ok(()),
            other => other.map(drop),
        }
    }

    /// Forgets the place of `shard`.
    ///
    /// # Errors
    /// When it could not be removed.
    pub async fn forget(&self, shard: &str) -> Result<(), CloudError> {
        let removed = self.client.delete_item().table_name(&self.table).set_key(Some(self.key(shard))).send().await;
        removed.map(drop).map_err(|error| CloudError::of(&self.action("remove"), &error))
    }
}

/// A place as text that sorts as places of one shard do.
fn order_of(place: &ShardCheckpoint) -> String {
    let sequence = place.position.as_ref().map_or("", |position| position.0.as_str());
    // A whole record is later than any place in it.
    let sub = place.sub.map_or("whole".to_owned(), |sub| format!("{sub:07}"));
    format!("{sequence:0>60}#{sub}#{}", u8::from(place.done))
}
