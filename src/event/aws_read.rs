//! An event table behind the SDK: strongly consistent queries, throttles waited for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeyType, LocalSecondaryIndexDescription, ReturnConsumedCapacity, Select,
};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::read::{Ask, Bookmark, EventRead, OddRow, ReadCost, SlotCount, SlotPage};
use super::row;
use super::{Layout, Range, Slot};
use crate::cloud::{Class, Cloud, CloudError, inventory};
use crate::flow::{Backoff, Clock, Patience};
use crate::item::KeySchema;

/// An event table that is read through the SDK.
pub struct AwsEvents {
    client: aws_sdk_dynamodb::Client,
    table: String,
    layout: Layout,
    /// The original layout's local index by time; without one a slot is read whole, and sorted here.
    time_index: Option<String>,
    clock: Arc<dyn Clock>,
    patience: Patience,
    cost: Mutex<ReadCost>,
}

impl fmt::Debug for AwsEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsEvents").field("table", &self.table).field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// The layout of the event table `table` with key `key`.
///
/// # Errors
/// [`Class::Invalid`], naming what the table is instead, when it is no event table.
pub fn layout_of(table: &str, key: &KeySchema) -> Result<Layout, CloudError> {
    Layout::of_key(key).ok_or_else(|| {
        let sort = key.sort.as_ref().map_or(String::new(), |sort| format!(" and {}", sort.name));
        let is_buffer = *key == row::buffer_key_schema();
        let what = if is_buffer { ", a buffer's key" } else { "" };
        CloudError::new(
            Class::Invalid,
            format!("{table} is no event table: its key is {}{sort}{what}", key.partition.name),
            format!(
                "an event table's is {} and {} (ordered layout) or {} (original layout); sluice pump --create-tables makes one",
                row::SLOT,
                row::EVENT_KEY,
                row::EVENT_ID
            ),
        )
    })
}

impl AwsEvents {
    /// The event table `table`, its layout recognised by its key.
    ///
    /// # Errors
    /// It does not exist, or is no event table.
    pub async fn open(cloud: &Cloud, table: &str, clock: Arc<dyn Clock>) -> Result<Self, CloudError> {
        let layout = layout_of(table, &inventory::table(cloud, table).await?.key)?;
        let time_index = match layout {
            Layout::Ordered => None,
            Layout::Original => time_index(cloud, table).await?,
        };
        Ok(Self {
            client: cloud.bulk.dynamodb.clone(),
            table: table.to_owned(),
            layout,
            time_index,
            clock,
            patience: Patience::default(),
            cost: Mutex::default(),
        })
    }

    fn cost(&self) -> MutexGuard<'_, ReadCost> {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a query until it is answered, as patiently as a scan.
    async fn query(&self, query: &Query) -> Result<QueryOutput, CloudError> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5), rand::random());
        loop {
            let sent = self.clock.now();
            let mut request = self
                .client
                .query()
                .table_name(&self.table)
                .set_index_name(query.index.clone())
                .key_condition_expression(query.condition)
                .set_expression_attribute_names(Some(query.names.clone()))
                .set_expression_attribute_values(Some(query.values.clone()))
                .consistent_read(true)
                .scan_index_forward(!query.backwards)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .set_exclusive_start_key(query.after.clone());
            if query.index.is_some() {
                // An index may hold less than its table does.
                request = request.select(Select::AllAttributes);
            }
            if let Some(most) = query.most {
                request = request.limit(i32::try_from(most).unwrap_or(i32::MAX));
            }
            let answer = request.send().await;
            self.cost().requests += 1;
            let error = match answer {
                Ok(output) => {
                    self.patience.answered();
                    self.cost().rcu += output
                        .consumed_capacity()
                        .and_then(aws_sdk_dynamodb::types::ConsumedCapacity::capacity_units)
                        .unwrap_or_default();
                    return Ok(output);
                }
                Err(error) => CloudError::of(&format!("read event table {}", self.table), &error),
            };
            match error.class {
                Class::Throttled => {
                    self.patience.answered();
                    self.cost().throttled += 1;
                }
                class if class.is_retryable() && !self.patience.is_over(sent, self.clock.now()) => {
                    self.cost().retried += 1;
                }
                _ => return Err(error),
            }
            let wait = backoff.wait();
            tracing::debug!(%error, ?wait, "a page of events is asked for again");
            self.clock.sleep(wait).await;
        }
    }

    async fn read_hour(&self, hour: Slot) -> Result<Vec<SlotCount>, CloudError> {
        let directory = row::directory_of(hour);
        let mut query = Query::of_partition(&directory);
        let mut slots = Vec::new();
        loop {
            let page = self.query(&query).await?;
            for row in page.items() {
                let found = row::read_directory_attributes(self.layout, row).map_err(|bad| {
                    CloudError::new(
                        Class::Invalid,
                        format!(
                            "the directory {directory} of event table {} has a row that can't be read: {bad}",
                            self.table
                        ),
                        format!("sluice pump --repair --events {} makes the directory anew", self.table),
                    )
                })?;
                let row::SlotCount { slot, count, first, last } = found;
                // A slot that was emptied needs no read.
                if count > 0 {
                    slots.push(SlotCount { slot, count: Some(count), first, last });
                }
            }
            query.after = page.last_evaluated_key;
            if query.after.is_none() {
                return Ok(slots);
            }
        }
    }

    async fn read_page(&self, ask: Ask) -> Result<SlotPage, CloudError> {
        let page = self.query(&self.slot_query(&ask)).await?;
        let mut found = SlotPage::default();
        for row in page.items() {
            match row::read_event_attributes(row) {
                // What the condition can't tell: below a millisecond in the original layout, or without an index.
                Ok(event) if !ask.range.contains(event.time) => {}
                Ok(event) => found.events.push(event),
                Err(bad) => {
                    found.odd.push(OddRow {
                        key: key_of(row, self.layout),
                        reason: bad.to_string(),
                        row: json_of(row),
                    });
                }
            }
        }
        found.next = page.last_evaluated_key.map(|key| bookmark(&key));
        if self.layout == Layout::Original && self.time_index.is_none() {
            return self.read_rest_and_sort(ask, found).await;
        }
        Ok(found)
    }

    /// A slot of the original layout whose table has no index by time: all of it, in order.
    async fn read_rest_and_sort(&self, ask: Ask, mut found: SlotPage) -> Result<SlotPage, CloudError> {
        if let Some(next) = found.next.take() {
            let rest = Box::pin(self.read_page(Ask { after: Some(next), most: None, ..ask.clone() })).await?;
            found.events.extend(rest.events);
            found.odd.extend(rest.odd);
        }
        found.events.sort_by(|a, b| if ask.backwards { b.order().cmp(&a.order()) } else { a.order().cmp(&b.order()) });
        Ok(found)
    }

    /// The earliest of what the streams that are pumped into the table have published; `None` while one has not.
    async fn read_watermark(&self) -> Result<Option<Timestamp>, CloudError> {
        let page = self.query(&Query::of_partition(super::watermark::PARTITION)).await?;
        let published = |row: &HashMap<String, AttributeValue>| row.get("watermark")?.as_s().ok()?.parse().ok();
        Ok(page.items().iter().map(published).min().flatten())
    }

    fn slot_query(&self, ask: &Ask) -> Query {
        let Ask { slot, range, after, backwards, most } = ask;
        let mut query = Query::of_partition(&slot.to_string());
        query.after = after
            .as_ref()
            .map(|mark| mark.0.iter().map(|(name, value)| (name.clone(), AttributeValue::S(value.clone()))).collect());
        query.backwards = *backwards;
        query.most = *most;
        let between = match (self.layout, &self.time_index) {
            (Layout::Ordered, _) => Some((row::EVENT_KEY, ordered_bounds(*range))),
            (Layout::Original, Some(index)) => {
                query.index = Some(index.clone());
                Some((row::TIME, original_bounds(*range)))
            }
            (Layout::Original, None) => {
                query.most = None;
                None
            }
        };
        if let Some((name, (from, to))) = between {
            query.condition = "#slot = :slot AND #key BETWEEN :from AND :to";
            query.names.insert("#key".to_owned(), name.to_owned());
            query.values.insert(":from".to_owned(), AttributeValue::S(from));
            query.values.insert(":to".to_owned(), AttributeValue::S(to));
        }
        query
    }
}

/// Sort keys between which a range's events are in the ordered layout. A key goes on after its time (`#…`), so the end's
/// time alone is below all of that time.
fn ordered_bounds(range: Range) -> (String, String) {
    (format!("{:.6}", range.from()), format!("{:.6}", range.to()))
}

/// The same for the original layout's index, whose times are whole milliseconds: what is too much at the ends is dropped.
fn original_bounds(range: Range) -> (String, String) {
    let ms = |time: Timestamp| Timestamp::from_millisecond(time.as_microsecond().div_euclid(1000)).unwrap_or(time);
    (format!("{:.3}", ms(range.from())), format!("{:.3}", ms(range.to())))
}

/// What a query asks for.
struct Query {
    index: Option<String>,
    condition: &'static str,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    after: Option<HashMap<String, AttributeValue>>,
    backwards: bool,
    most: Option<u32>,
}

impl Query {
    fn of_partition(partition: &str) -> Self {
        Self {
            index: None,
            condition: "#slot = :slot",
            names: HashMap::from([("#slot".to_owned(), row::SLOT.to_owned())]),
            values: HashMap::from([(":slot".to_owned(), AttributeValue::S(partition.to_owned()))]),
            after: None,
            backwards: false,
            most: None,
        }
    }
}

fn bookmark(key: &HashMap<String, AttributeValue>) -> Bookmark {
    // All key attributes of an event table and its index are strings.
    let text = |value: &AttributeValue| value.as_s().cloned().unwrap_or_default();
    Bookmark(key.iter().map(|(name, value)| (name.clone(), text(value))).collect())
}

fn key_of(row: &HashMap<String, AttributeValue>, layout: Layout) -> String {
    let text = |name: &str| row.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    format!("{} {}", text(row::SLOT), text(layout.sort_key()))
}

/// A row as `DynamoDB` JSON.
fn json_of(row: &HashMap<String, AttributeValue>) -> Bytes {
    let attributes: serde_json::Map<String, serde_json::Value> =
        row.iter().map(|(name, value)| (name.clone(), row::typed(value))).collect();
    Bytes::from(serde_json::Value::Object(attributes).to_string())
}

/// The local index of the table that sorts a slot by time.
async fn time_index(cloud: &Cloud, table: &str) -> Result<Option<String>, CloudError> {
    cloud.budget().turn().await;
    let described = cloud.dynamodb.describe_table().table_name(table).send().await;
    let described = described.map_err(|e| CloudError::of(&format!("describe table {table}"), &e))?.table;
    let sorts_by_time = |index: &LocalSecondaryIndexDescription| {
        let is_time = |key: &aws_sdk_dynamodb::types::KeySchemaElement| {
            *key.key_type() == KeyType::Range && key.attribute_name() == row::TIME
        };
        index.key_schema().iter().any(is_time)
    };
    let index = described
        .iter()
        .flat_map(aws_sdk_dynamodb::types::TableDescription::local_secondary_indexes)
        .find(|index| sorts_by_time(index));
    Ok(index.and_then(|index| index.index_name().map(str::to_owned)))
}

impl EventRead for AwsEvents {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn hour(&self, hour: Slot) -> BoxFuture<'_, Result<Vec<SlotCount>, CloudError>> {
        self.read_hour(hour).boxed()
    }

    fn page(&self, ask: Ask) -> BoxFuture<'_, Result<SlotPage, CloudError>> {
        self.read_page(ask).boxed()
    }

    fn watermark(&self) -> BoxFuture<'_, Result<Option<Timestamp>, CloudError>> {
        self.read_watermark().boxed()
    }

    fn cost(&self) -> ReadCost {
        *self.cost()
    }
}
