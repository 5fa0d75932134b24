//! The directory: how many events each slot holds, counted in the slot itself, so that no crash can count twice.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::open::Open;
use super::record::Layout;
use super::row::{self, COUNT, SLOT, SlotCount, TIME, TIME_INDEX};
use super::slot::Slot;
use crate::cloud::{Class, CloudError};
use crate::flow::{Backoff, Clock, Patience, Writer};
use crate::item::Checker;

/// The directory of an event table.
#[derive(Clone, Debug)]
pub struct Directory {
    client: aws_sdk_dynamodb::Client,
    table: String,
    layout: Layout,
}

impl Directory {
    /// The directory of event table `table`.
    pub fn new(client: aws_sdk_dynamodb::Client, table: impl Into<String>, layout: Layout) -> Self {
        Self { client, table: table.into(), layout }
    }

    /// The event table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Its layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Counts what is in `slot` now; `None` when that is nothing.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn count(&self, slot: Slot) -> Result<Option<SlotCount>, CloudError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self
                .query(slot)
                .select(Select::Count)
                .set_exclusive_start_key(after)
                .send()
                .await
                .map_err(|error| self.failed(slot, &error))?;
            count += u64::try_from(page.count).unwrap_or_default();
            after = page.last_evaluated_key;
            if after.is_none() {
                break;
            }
        }
        if count == 0 {
            return Ok(None);
        }
        let (first, last) = (self.end_of(slot, true).await?, self.end_of(slot, false).await?);
        // Nothing is removed from a slot, so both are there by now.
        Ok(first.zip(last).map(|(first, last)| SlotCount { slot, count, first, last }))
    }

    fn query(&self, slot: Slot) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#slot = :slot")
            .expression_attribute_names("#slot", SLOT)
            .expression_attribute_values(":slot", AttributeValue::S(slot.to_string()))
            .consistent_read(true)
    }

    fn failed<E, R>(&self, slot: Slot, error: &aws_smithy_runtime_api::client::result::SdkError<E, R>) -> CloudError
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        CloudError::of(&format!("count the events of slot {slot} in {}", self.table), error)
    }

    /// The time of the slot's first or last event.
    async fn end_of(&self, slot: Slot, first: bool) -> Result<Option<Timestamp>, CloudError> {
        let by_time = (self.layout == Layout::Original).then(|| TIME_INDEX.to_owned());
        let page = self
            .query(slot)
            .set_index_name(by_time)
            .scan_index_forward(first)
            .limit(1)
            .send()
            .await
            .map_err(|error| self.failed(slot, &error))?;
        let time = page.items().first().and_then(|row| row.get(TIME)?.as_s().ok()?.parse().ok());
        Ok(time)
    }

    /// The `PutItem` of a slot's row. Unless it `replaces` whatever is there, it never lowers a count: events are only
    /// added, so of two pumps that count at once the higher count is the later one.
    pub fn request(&self, counted: &SlotCount, replaces: bool) -> (Bytes, Bytes) {
        let row = row::directory_row(self.layout, counted);
        let mut request = format!("{{\"TableName\":{},\"Item\":", Value::from(self.table.as_str())).into_bytes();
        request.extend_from_slice(&row);
        if !replaces {
            let condition = json!({
                "ConditionExpression": "attribute_not_exists(#count) OR #count < :count",
                "ExpressionAttributeNames": {"#count": COUNT},
                "ExpressionAttributeValues": {":count": {"N": counted.count.to_string()}},
            })
            .to_string();
            request.push(b',');
            request.extend_from_slice(&condition.as_bytes()[1..condition.len() - 1]);
        }
        request.extend_from_slice(b",\"ReturnConsumedCapacity\":\"INDEXES\"}");
        (row, Bytes::from(request))
    }
}

/// Slots counted at a time.
const COUNTED_AT_ONCE: usize = 8;

/// Counts `slots` and writes what they hold into the directory; with `replaces` also where that lowers a count.
///
/// # Errors
/// When a slot can't be read or the directory not be written.
pub async fn count(
    directory: &Directory,
    into: &Writer,
    clock: &dyn Clock,
    slots: impl IntoIterator<Item = Slot>,
    replaces: bool,
) -> Result<(), CloudError> {
    let open = Arc::new(Open::default());
    let checker = Checker::new(directory.layout().key());
    let counts = futures::stream::iter(slots)
        .map(|slot| answered(clock, move || directory.count(slot)))
        .buffer_unordered(COUNTED_AT_ONCE);
    counts
        .try_for_each(|counted| async {
            let Some(counted) = counted else { return Ok(()) };
            let (row, request) = directory.request(&counted, replaces);
            let refused = |refusal| CloudError::new(Class::Invalid, format!("the directory: {refusal}"), "");
            into.request(checker.check(row).map_err(refused)?, request, open.receipt()).await
        })
        .await?;
    open.settled(into).await
}

const BASE: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(5);

/// Asks until there is an answer: throttles are waited for, and what may pass as long as [`Patience`] has it.
///
/// # Errors
/// What can't be waited for, or lasted too long.
pub async fn answered<T, F>(clock: &dyn Clock, mut ask: impl FnMut() -> F) -> Result<T, CloudError>
where
    F: Future<Output = Result<T, CloudError>>,
{
    let mut backoff = Backoff::new(BASE, CAP, rand::random());
    let patience = Patience::default();
    loop {
        let asked = clock.now();
        match ask().await {
            Err(error) if error.class == Class::Throttled => patience.answered(),
            Err(error) if error.class.is_retryable() && !patience.is_over(asked, clock.now()) => {}
            answer => return answer,
        }
        clock.sleep(backoff.wait()).await;
    }
}
