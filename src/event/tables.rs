//! The two tables of the store: how they are made, what tells them apart from others, and the slot length that an event
//! table was begun with.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use super::aws_read::layout_of;
use super::record::Layout;
use super::row::{self, EVENT_ID, PARTITION_KEY, SLOT, TIME, TIME_INDEX};
use super::slot::SlotLength;
use crate::cloud::schema::key_in_words;
use crate::cloud::{Class, CloudError};
use crate::item::KeySchema;

/// What a table of the store is bought with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bought {
    /// On demand.
    #[default]
    OnDemand,
    /// Provisioned: RCU and WCU.
    Provisioned(u64, u64),
}

/// What the original's buffer was made with, in its later versions: 25 RCU, 50 WCU.
pub const ORIGINAL_BUFFER: Bought = Bought::Provisioned(25, 50);
/// What the original's event table was made with, in its later versions: 10 RCU, 25 WCU.
pub const ORIGINAL_EVENTS: Bought = Bought::Provisioned(10, 25);

/// The `CreateTable` request of a buffer.
pub fn buffer_request(table: &str, bought: Bought) -> Value {
    let mut request = json!({
        "TableName": table,
        "KeySchema": [{"AttributeName": PARTITION_KEY, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": PARTITION_KEY, "AttributeType": "S"}],
    });
    buy(&mut request, bought);
    request
}

/// The `CreateTable` request of an event table.
pub fn events_request(table: &str, layout: Layout, bought: Bought) -> Value {
    let key =
        |sort: &str| json!([{"AttributeName": SLOT, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]);
    let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let mut request = match layout {
        Layout::Ordered => json!({
            "TableName": table,
            "KeySchema": key(layout.sort_key()),
            "AttributeDefinitions": [attribute(SLOT), attribute(layout.sort_key())],
        }),
        Layout::Original => json!({
            "TableName": table,
            "KeySchema": key(EVENT_ID),
            "AttributeDefinitions": [attribute(SLOT), attribute(EVENT_ID), attribute(TIME)],
            "LocalSecondaryIndexes": [{
                "IndexName": TIME_INDEX, "KeySchema": key(TIME), "Projection": {"ProjectionType": "ALL"},
            }],
        }),
    };
    buy(&mut request, bought);
    request
}

fn buy(request: &mut Value, bought: Bought) {
    match bought {
        Bought::OnDemand => request["BillingMode"] = "PAY_PER_REQUEST".into(),
        Bought::Provisioned(read, write) => {
            request["ProvisionedThroughput"] = json!({"ReadCapacityUnits": read, "WriteCapacityUnits": write});
        }
    }
}

fn unfit(what: String, hint: &str) -> CloudError {
    CloudError::new(Class::Invalid, what, hint)
}

/// Refuses a table that is no buffer.
///
/// # Errors
/// What it is instead.
pub fn must_be_buffer(table: &str, key: &KeySchema) -> Result<(), CloudError> {
    if *key == row::buffer_key_schema() {
        return Ok(());
    }
    let what = match Layout::of_key(key) {
        Some(layout) => format!("{table} is an event table of the {layout} layout, not a buffer"),
        None => format!("{table} is no buffer: its key is {}, a buffer's is {PARTITION_KEY} (S)", key_in_words(key)),
    };
    Err(unfit(what, "name another table with --buffer, or let --create-tables make one"))
}

/// Refuses an event table of another layout than the one that was asked for.
///
/// # Errors
/// Which one it has.
pub fn must_have_layout(table: &str, key: &KeySchema, layout: Layout) -> Result<(), CloudError> {
    match layout_of(table, key)? {
        found if found == layout => Ok(()),
        found => Err(unfit(
            format!("{table} has the {found} layout, not the {layout} one"),
            &format!("pass --layout {found}, or name another table with --events"),
        )),
    }
}

/// The partition of an event table that says how it was begun.
const SETTINGS: &str = "directory#settings";
/// The row with the slot length, and in it the length, ms.
const SLOT_LENGTH: &str = "slot_ms";

/// The slot length that event table `table` was begun with; `None` when it says none: an original's, or a new one.
///
/// # Errors
/// When it can't be read.
pub async fn slot_length(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    layout: Layout,
) -> Result<Option<SlotLength>, CloudError> {
    let read = client
        .get_item()
        .table_name(table)
        .key(SLOT, AttributeValue::S(SETTINGS.to_owned()))
        .key(layout.sort_key(), AttributeValue::S(SLOT_LENGTH.to_owned()))
        .consistent_read(true)
        .send()
        .await
        .map_err(|error| CloudError::of(&format!("read the slot length of {table}"), &error))?;
    let Some(row) = read.item else { return Ok(None) };
    let ms = row.get(SLOT_LENGTH).and_then(|value| value.as_n().ok()).and_then(|ms| ms.parse::<u64>().ok());
    match ms.map(SlotLength::try_from) {
        Some(Ok(length)) => Ok(Some(length)),
        _ => Err(unfit(format!("{table} says that its slots are {ms:?} ms long"), "was it written by a newer sluice?")),
    }
}

/// Writes down the slot length of event table `table`, once.
///
/// # Errors
/// It was begun with another one.
pub async fn settle_slot_length(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    layout: Layout,
    length: SlotLength,
) -> Result<(), CloudError> {
    let written = client
        .put_item()
        .table_name(table)
        .item(SLOT, AttributeValue::S(SETTINGS.to_owned()))
        .item(layout.sort_key(), AttributeValue::S(SLOT_LENGTH.to_owned()))
        .item(SLOT_LENGTH, AttributeValue::N(u64::from(length).to_string()))
        .condition_expression("attribute_not_exists(#slot)")
        .expression_attribute_names("#slot", SLOT)
        .send()
        .await
        .map_err(|error| CloudError::of(&format!("write the slot length of {table}"), &error));
    match written {
        Err(error) if error.class == Class::Condition => {}
        other => return other.map(drop),
    }
    match slot_length(client, table, layout).await? {
        Some(found) if found != length => Err(unfit(
            format!("the slots of {table} are {found} long, not {length}"),
            "leave out --slot: a table's slots can't change, or playback would look for events in the wrong ones",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_recognised() {
        for layout in [Layout::Ordered, Layout::Original] {
            let request = events_request("e", layout, Bought::OnDemand).to_string();
            let schema = crate::cloud::schema::Schema::from_json(&request).unwrap();
            assert_eq!(layout_of("e", &schema.key).unwrap(), layout);
            assert!(must_be_buffer("e", &schema.key).unwrap_err().what.contains("is an event table"));
        }
        let request = buffer_request("b", ORIGINAL_BUFFER).to_string();
        let schema = crate::cloud::schema::Schema::from_json(&request).unwrap();
        assert!(must_be_buffer("b", &schema.key).is_ok());
        assert_eq!(schema.billing.write(), Some(50));
        assert!(layout_of("b", &schema.key).unwrap_err().what.contains("a buffer's key"));
    }

    #[test]
    fn another_layout_is_named() {
        let error = must_have_layout("e", &Layout::Original.key(), Layout::Ordered).unwrap_err().to_string();
        assert!(error.contains("has the original layout") && error.contains("--layout original"), "{error}");
    }
}
