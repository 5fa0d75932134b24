//! The directory made anew from what the slots hold.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;

use super::record::Layout;
use super::row::{self, SLOT, SlotCount};
use super::slot::{Slot, SlotLength};
use crate::cloud::CloudError;

/// What an event table holds, as a scan of it finds it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Slots with events.
    pub slots: BTreeSet<Slot>,
    /// Events in them.
    pub events: u64,
    /// Rows that are neither events nor the store's own, by what is wrong with them.
    pub odd: u64,
    /// Events that are in a slot that does not start where a slot of this length does: it has another length.
    pub misplaced: u64,
    /// What the directory says.
    pub directory: BTreeMap<Slot, SlotCount>,
    counts: BTreeMap<Slot, u64>,
}

impl Found {
    /// Slots that the directory knows otherwise than they are.
    pub fn differing(&self) -> BTreeSet<Slot> {
        let says = |slot: &Slot| self.directory.get(slot).map(|counted| counted.count);
        self.counts.iter().filter(|(slot, count)| says(slot) != Some(**count)).map(|(slot, _)| *slot).collect()
    }

    /// Rows of the directory whose slots hold nothing.
    pub fn empty(&self) -> BTreeSet<Slot> {
        self.directory.keys().filter(|slot| !self.slots.contains(slot)).copied().collect()
    }
}

/// Reads the whole of event table `table`.
///
/// # Errors
/// When it can't be read.
pub async fn look(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    layout: Layout,
    length: SlotLength,
) -> Result<Found, CloudError> {
    let (mut found, mut after) = (Found::default(), None);
    loop {
        let page = client
            .scan()
            .table_name(table)
            .consistent_read(true)
            .set_exclusive_start_key(after)
            .send()
            .await
            .map_err(|error| CloudError::of(&format!("scan {table}"), &error))?;
        for item in page.items() {
            let name = item.get(SLOT).and_then(|slot| slot.as_s().ok()).map_or("", String::as_str);
            if name.starts_with("directory#") {
                if let Ok(counted) = row::read_directory_attributes(layout, item) {
                    found.directory.insert(counted.slot, counted);
                }
                continue;
            }
            let Ok(start) = name.parse::<jiff::Timestamp>() else {
                found.odd += 1;
                continue;
            };
            let slot = Slot { start_us: start.as_microsecond() };
            match row::read_event_attributes(item) {
                Ok(event) if length.slot_of(layout.time(event.time)) != slot => found.misplaced += 1,
                Ok(_) => {}
                Err(_) => found.odd += 1,
            }
            found.events += 1;
            found.slots.insert(slot);
            *found.counts.entry(slot).or_default() += 1;
        }
        after = page.last_evaluated_key;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Removes the directory's row of `slot`.
///
/// # Errors
/// When it could not be removed.
pub async fn forget(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    layout: Layout,
    slot: Slot,
) -> Result<(), CloudError> {
    let removed = client
        .delete_item()
        .table_name(table)
        .key(SLOT, AttributeValue::S(row::directory_of(slot)))
        .key(layout.sort_key(), AttributeValue::S(slot.to_string()))
        .send()
        .await;
    removed.map(drop).map_err(|error| CloudError::of(&format!("repair the directory of {table}"), &error))
}
