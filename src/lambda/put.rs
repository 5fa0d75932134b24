//! `put`: the put requests of a Kinesis stream into the tables that they name.

use bytes::Bytes;

use super::batch::{At, Batch, Intent, Lookup};
use super::message::Arrived;
use crate::cloud::CloudError;
use crate::flow::{Outcome, aggregate, with_item};
use crate::item::request::{self, Request};

/// What `records` ask for.
///
/// # Errors
/// A table can't be looked up now.
pub(super) async fn read(records: &[Arrived], lookup: &mut Lookup<'_>) -> Result<Batch, CloudError> {
    let mut batch = Batch::default();
    for (n, record) in records.iter().enumerate() {
        let data = match &record.data {
            Ok(data) => data,
            Err((raw, why)) => {
                batch.dead(At::whole(n), raw, why.as_str());
                continue;
            }
        };
        match aggregate::unpack(data) {
            Ok(None) => take(&mut batch, At::whole(n), data, lookup).await?,
            Ok(Some(aggregated)) if aggregated.is_empty() => {
                batch.settled(At::whole(n), data.clone(), Outcome::Passed);
            }
            Ok(Some(aggregated)) => {
                for (sub, record) in (0..).zip(aggregated.records()) {
                    take(&mut batch, At::part(n, sub), &record.data, lookup).await?;
                }
            }
            // No put request begins like that.
            Err(damage) => batch.dead(At::whole(n), data, damage.to_string()),
        }
    }
    Ok(batch)
}

/// Adds the put request at `at`.
async fn take(batch: &mut Batch, at: At, data: &Bytes, lookup: &mut Lookup<'_>) -> Result<(), CloudError> {
    let request = match request::parse(data) {
        Ok(request) => request,
        Err(refusal) => {
            batch.dead(at, data, refusal.to_string());
            return Ok(());
        }
    };
    let door = match lookup.door(request.table()).await? {
        Ok(door) => door,
        Err(reason) => {
            batch.dead(at, data, reason);
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
            batch.dead(at, data, refusal.to_string());
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
    batch.ask(at, data.clone(), &door, intent);
    Ok(())
}
