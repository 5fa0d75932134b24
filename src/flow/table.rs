//! The seam to a table: batches and single puts with bodies spliced by hand, sent and signed by the SDK.

use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ConsumedCapacity, ThrottlingReason as Reason};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::cloud::{Class, CloudError, ThrottlingReason};
use crate::item::{Key, KeySchema};

/// Write capacity that a request consumed, WCU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consumed {
    /// In the table, its local indexes included.
    pub table: f64,
    /// In each global index.
    pub indexes: Vec<(String, f64)>,
}

impl Consumed {
    /// In the table and all its indexes.
    pub fn total(&self) -> f64 {
        self.table + self.indexes.iter().map(|(_, wcu)| wcu).sum::<f64>()
    }

    fn of(capacity: &ConsumedCapacity) -> Self {
        let indexes: Vec<(String, f64)> = capacity
            .global_secondary_indexes()
            .into_iter()
            .flatten()
            .map(|(name, used)| (name.clone(), used.capacity_units().unwrap_or_default()))
            .collect();
        let in_indexes: f64 = indexes.iter().map(|(_, wcu)| wcu).sum();
        Self { table: (capacity.capacity_units().unwrap_or_default() - in_indexes).max(0.0), indexes }
    }
}

/// What came back from a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchReply {
    /// Keys of the items that were not processed.
    pub unprocessed: Vec<Key>,
    /// What the others consumed; `None` when the service did not say.
    pub consumed: Option<Consumed>,
}

/// Where a [`super::Writer`] puts: a table behind the SDK, or a test's fake with faults.
pub trait TablePut: Send + Sync + 'static {
    /// Sends a whole `BatchWriteItem` body.
    fn batch(&self, body: Bytes) -> BoxFuture<'_, Result<BatchReply, CloudError>>;
    /// Sends a whole `PutItem` body.
    fn put(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>>;
    /// Sends a whole `DeleteItem` body.
    fn delete(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>>;
    /// Sends a whole `UpdateItem` body.
    fn update(&self, _body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        let error = CloudError::new(Class::Invalid, "this table takes no updates", "");
        std::future::ready(Err(error)).boxed()
    }
}

/// A table behind the SDK. The client should not retry by itself: the writer has the one backoff.
#[derive(Clone, Debug)]
pub struct AwsTable {
    client: aws_sdk_dynamodb::Client,
    table: String,
    schema: KeySchema,
}

impl AwsTable {
    /// The table `table` with primary key `schema`, written through `client` (see [`crate::cloud::context::Bulk`]).
    pub fn new(client: aws_sdk_dynamodb::Client, table: impl Into<String>, schema: KeySchema) -> Self {
        Self { client, table: table.into(), schema }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.table
    }

    /// What it is reached through.
    pub(super) fn client(&self) -> &aws_sdk_dynamodb::Client {
        &self.client
    }
}

/// The reasons of a throttling error of each write.
trait Reasons {
    fn reasons(&self) -> Option<&[Reason]>;
}

macro_rules! reasons_of {
    ($($error:ident),*) => {$(
        impl Reasons for $error {
            fn reasons(&self) -> Option<&[Reason]> {
                match self {
                    Self::ProvisionedThroughputExceededException(error) => Some(error.throttling_reasons()),
                    Self::RequestLimitExceeded(error) => Some(error.throttling_reasons()),
                    Self::ThrottlingException(error) => Some(error.throttling_reasons()),
                    _ => None,
                }
            }
        }
    )*};
}
reasons_of!(BatchWriteItemError, PutItemError, DeleteItemError, UpdateItemError);

/// An error of a write, with what was full.
fn refused<E, R>(action: &str, error: &SdkError<E, R>) -> CloudError
where
    E: Reasons + aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let said = error.as_service_error().and_then(Reasons::reasons).unwrap_or_default();
    let said = said.iter().map(|it| ThrottlingReason {
        reason: it.reason().unwrap_or_default().to_owned(),
        resource: it.resource().unwrap_or_default().to_owned(),
    });
    CloudError { reasons: said.collect(), ..CloudError::of(action, error) }
}

/// Replaces a request's body before it is signed.
pub(super) fn splice(body: Bytes) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    move |request| {
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body.clone());
    }
}

impl TablePut for AwsTable {
    fn batch(&self, body: Bytes) -> BoxFuture<'_, Result<BatchReply, CloudError>> {
        async move {
            let reply = self
                .client
                .batch_write_item()
                // The table's name alone, for the SDK's endpoint rules; the body is replaced.
                .request_items(&self.table, Vec::new())
                .customize()
                .mutate_request(splice(body))
                .send()
                .await
                .map_err(|e| refused(&format!("write to table {}", self.table), &e))?;
            let unprocessed = reply
                .unprocessed_items()
                .into_iter()
                .flat_map(|tables| tables.values().flatten())
                .map(|request| {
                    let attributes = request
                        .put_request()
                        .map(aws_sdk_dynamodb::types::PutRequest::item)
                        .or_else(|| request.delete_request().map(aws_sdk_dynamodb::types::DeleteRequest::key));
                    // A key that can't be read matches no item of the batch: the writer then sends all of it again.
                    attributes
                        .and_then(|attributes| Key::of_attributes(&self.schema, attributes))
                        .unwrap_or(Key { json: Bytes::new(), hash: 0 })
                })
                .collect();
            Ok(BatchReply { unprocessed, consumed: reply.consumed_capacity().first().map(Consumed::of) })
        }
        .boxed()
    }

    fn put(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async move {
            let reply = self
                .client
                .put_item()
                .table_name(&self.table)
                .customize()
                .mutate_request(splice(body))
                .send()
                .await
                .map_err(|e| refused(&format!("put an item into table {}", self.table), &e))?;
            Ok(reply.consumed_capacity().map(Consumed::of))
        }
        .boxed()
    }

    fn delete(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async move {
            let reply = self
                .client
                .delete_item()
                .table_name(&self.table)
                .customize()
                .mutate_request(splice(body))
                .send()
                .await
                .map_err(|e| refused(&format!("delete an item from table {}", self.table), &e))?;
            Ok(reply.consumed_capacity().map(Consumed::of))
        }
        .boxed()
    }

    fn update(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async move {
            let reply = self
                .client
                .update_item()
                .table_name(&self.table)
                .customize()
                .mutate_request(splice(body))
                .send()
                .await
                .map_err(|e| refused(&format!("update an item of table {}", self.table), &e))?;
            Ok(reply.consumed_capacity().map(Consumed::of))
        }
        .boxed()
    }
}
