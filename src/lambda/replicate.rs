//! `replicate`: the changes of a table into another one.

use std::sync::Arc;

use super::batch::{At, Batch, Intent};
use super::door::Door;
use super::message::{Changed, name_of, region_of};
use super::settings::Target;
use crate::cloud::{Class, CloudError};
use crate::flow::{Effect, Outcome, TableChange};
use crate::item::request;

/// What `records` ask for in the table behind `door`.
pub(super) fn read(records: &[Changed], door: &Arc<Door>, skip_expired: bool) -> Batch {
    let mut batch = Batch::default();
    for (n, record) in records.iter().enumerate() {
        let at = At::whole(n);
        let change = match TableChange::read(&record.record) {
            Ok(change) => change,
            Err(refusal) => {
                batch.dead(at, &record.record, refusal.to_string());
                continue;
            }
        };
        if change.by_ttl && skip_expired {
            batch.settled(at, record.record.clone(), Outcome::Skipped);
            continue;
        }
        let (json, is_put) = match change.effect {
            Effect::Put(image) => (image, true),
            Effect::Delete => (change.keys, false),
            Effect::NoImage(why) => {
                batch.dead(at, &record.record, why);
                continue;
            }
        };
        // A dead letter of a change is the put request that it comes to, so that it can be put again as any other.
        let request =
            if is_put { request::encode(&door.name, &json) } else { request::encode_delete(&door.name, &json) };
        match door.checker.check(json) {
            Ok(item) if is_put => batch.ask(at, request, door, Intent::Put(item)),
            Ok(item) => batch.ask(at, request, door, Intent::Delete(item.key)),
            Err(refusal) => batch.dead(at, &request, refusal.to_string()),
        }
    }
    batch
}

/// Refuses to replicate a table into itself: each change would make another one, for ever.
///
/// # Errors
/// It would.
pub(super) fn no_loop(records: &[Changed], target: &Target, region: &str) -> Result<(), CloudError> {
    let itself = |record: &&Changed| name_of(&record.source) == target.table && region_of(&record.source) == region;
    match records.iter().find(itself) {
        None => Ok(()),
        Some(record) => Err(CloudError::new(
            Class::Invalid,
            format!("the stream {} is that of the target table itself", record.source),
            "set SLUICE_TARGET_TABLE or SLUICE_TARGET_REGION to another one: each change would make another, for ever",
        )),
    }
}
