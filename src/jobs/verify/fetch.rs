//! Items of a table by their keys, paced.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity};
use bytes::Bytes;

use super::super::worker::JobError;
use super::attribute::{Item, attributes};
use super::scan::{TRIES, patient};
use crate::cloud::inventory::Table;
use crate::cloud::{Cloud, CloudError, error};
use crate::flow::ReadPace;
use crate::item::Key;

/// Keys that a `BatchGetItem` takes (`DynamoDB` API reference).
pub(super) const GET: usize = 100;

/// The items of `keys`, at most [`GET`] of them in canonical JSON, that the table has.
pub(super) async fn fetch<'k>(
    cloud: &Cloud,
    table: &Table,
    keys: impl Iterator<Item = &'k [u8]>,
    pace: &ReadPace,
    consistent: bool,
) -> Result<HashMap<Bytes, Item>, JobError> {
    let mut left: Vec<Item> = keys.filter_map(attributes).collect();
    let mut found = HashMap::new();
    let mut backoff = patient();
    while !left.is_empty() {
        pace.reserve(0.0).await;
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(left.clone()))
            .consistent_read(consistent)
            .build()
            .map_err(|e| JobError::Unfit(e.to_string()))?;
        let request = cloud.bulk.dynamodb.batch_get_item();
        let reply = request
            .request_items(&table.name, wanted)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match reply {
            Ok(reply) => {
                pace.settle(0.0, reply.consumed_capacity().iter().filter_map(ConsumedCapacity::capacity_units).sum());
                let items = reply.responses.unwrap_or_default().remove(&table.name).unwrap_or_default();
                for item in items {
                    if let Some(key) = Key::of_attributes(&table.key, &item) {
                        found.insert(key.json, item);
                    }
                }
                let unprocessed = reply.unprocessed_keys.unwrap_or_default().remove(&table.name);
                let before = left.len();
                left = unprocessed.map(|u| u.keys).unwrap_or_default();
                if left.len() < before {
                    backoff.reset();
                } else {
                    tokio::time::sleep(backoff.wait()).await;
                }
            }
            Err(e) if error::classify(&e).is_retryable() && backoff.tries() < TRIES => {
                tokio::time::sleep(backoff.wait()).await;
            }
            Err(e) => return Err(CloudError::of(&format!("read keys of table {}", table.name), &e).into()),
        }
    }
    Ok(found)
}
