//! `put`: the put requests of a Kinesis stream into the tables that they name.

use bytes::Bytes;

use super::batch::{Batch, Intent, Lookup};
use super::message::Arrived;
use crate::cloud::CloudError;
use crate::flow::with_item;
use crate::item::request::{self, Request};

/// What `records` ask for.
///
/// # Errors
/// A table can't be looked up now.
pub(super) async fn read(records: &[Arrived], lookup: &mut Lookup<'_>) -> Result<Batch, CloudError> {
    let mut batch = Batch::default();
    for (n, record) in records.iter().enumerate() {
        match &record.data {
            Ok(data) => take(&mut batch, n, data, lookup).await?,
            Err((raw, why)) => batch.dead(n, raw, why.as_str()),
        }
    }
    Ok(batch)
}

/// Adds one put request of record `n`.
async fn take(batch: &mut Batch, n: usize, data: &Bytes, lookup: &mut Lookup<'_>) -> Result<(), CloudError> {
    let request = match request::parse(data) {
        Ok(request) => request,
        Err(refusal) => {
            batch.dead(n, data, refusal.to_string());
            return Ok(());
        }
    };
    let door = match lookup.door(request.table()).await? {
        Ok(door) => door,
        Err(reason) => {
            batch.dead(n, data, reason);
            return Ok(());
        }
    };
    let json = match &request {
        Request::Put(put) => &put.item,
        Request::Delete { key, .. } => key,
    };
    let checked = match door.checker.check(json.clone()) {
        Ok(checked) => checked,
        Err(refusal) => {
            batch.dead(n, data, refusal.to_string());
            return Ok(());
        }
    };
    let intent = match request {
        Request::Put(put) => match put.other {
            Some(whole) => {
                let whole = with_item(&whole, &put.item, &checked.json);
                Intent::Request(checked, whole)
            }
            None => Intent::Put(checked),
        },
        Request::Delete { .. } => Intent::Delete(checked.key),
    };
    batch.ask(n, data.clone(), &door, intent);
    Ok(())
}
