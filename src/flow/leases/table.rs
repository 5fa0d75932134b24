//! The lease table in `DynamoDB`.

use std::fmt;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::change::Change;
use super::holder::LeaseStore;
use super::row::{self, Lease};
use crate::cloud::{Class, CloudError};

/// What is there under a lease table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    Absent,
    /// A lease table, which can be used once it is active.
    Ready {
        /// Whether it is.
        active: bool,
    },
}

/// Looks what is there under the name `table`.
///
/// # Errors
/// [`Class::Invalid`] when it is a table with another key than the Kinesis Client Library's; or AWS's.
pub async fn look(dynamodb: &Client, table: &str) -> Result<Look, CloudError> {
    let described = dynamodb.describe_table().table_name(table).send().await;
    let described = match described.map_err(|e| CloudError::of(&format!("describe lease table {table}"), &e)) {
        Ok(described) => described.table,
        Err(error) if error.class == Class::NotFound => return Ok(Look::Absent),
        Err(error) => return Err(error),
    };
    let Some(described) = described else { return Ok(Look::Absent) };
    let kind_of = |name: &str| {
        let of = described.attribute_definitions().iter().find(|attribute| attribute.attribute_name() == name);
        of.map_or("?", |attribute| attribute.attribute_type().as_str()).to_owned()
    };
    let keys: Vec<String> = described
        .key_schema()
        .iter()
        .map(|key| format!("{} {}", key.attribute_name(), kind_of(key.attribute_name())))
        .collect();
    if keys != [format!("{} S", row::KEY)] {
        return Err(CloudError::new(
            Class::Invalid,
            format!("table {table} is no lease table: its key is {}, a lease table's is leaseKey S", keys.join(", ")),
            "name another table: it is made if it is not there",
        ));
    }
    let active = matches!(described.table_status(), Some(TableStatus::Active | TableStatus::Updating));
    Ok(Look::Ready { active })
}

/// Makes the lease table `table`, billed on demand.
///
/// # Errors
/// AWS's; that it is there already is none.
pub async fn create(dynamodb: &Client, table: &str) -> Result<(), CloudError> {
    let invalid = |e: aws_sdk_dynamodb::error::BuildError| CloudError::new(Class::Invalid, e.to_string(), "");
    let attribute = AttributeDefinition::builder()
        .attribute_name(row::KEY)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .map_err(invalid)?;
    let key = KeySchemaElement::builder().attribute_name(row::KEY).key_type(KeyType::Hash).build().map_err(invalid)?;
    let created = dynamodb
        .create_table()
        .table_name(table)
        .attribute_definitions(attribute)
        .key_schema(key)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await;
    match created.map_err(|e| CloudError::of(&format!("create lease table {table}"), &e)) {
        // Several workers begin at once: one of them makes it.
        Err(error) if error.class != Class::InUse => Err(error),
        _ => Ok(()),
    }
}

/// All leases of `table`, by their shards.
///
/// # Errors
/// AWS's. Rows that are no leases are left out.
pub async fn list(dynamodb: &Client, table: &str) -> Result<Vec<Lease>, CloudError> {
    let mut leases = Vec::new();
    let mut after = None;
    loop {
        let page = dynamodb
            .scan()
            .table_name(table)
            .consistent_read(true)
            .set_exclusive_start_key(after)
            .send()
            .await
            .map_err(|e| CloudError::of(&format!("list the leases of table {table}"), &e))?;
        leases.extend(page.items().iter().filter_map(Lease::of));
        after = page.last_evaluated_key;
        if after.is_none() {
            leases.sort_by(|a, b| a.shard.cmp(&b.shard));
            return Ok(leases);
        }
    }
}

/// The lease table behind the SDK. The client should not retry by itself: each tick is a try.
#[derive(Clone)]
pub struct AwsLeases {
    client: Client,
    table: String,
}

impl fmt::Debug for AwsLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsLeases").field("table", &self.table).finish_non_exhaustive()
    }
}

impl AwsLeases {
    /// The lease table `table`, reached through `client`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }
}

impl LeaseStore for AwsLeases {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Lease>, CloudError>> {
        list(&self.client, &self.table).boxed()
    }

    fn create<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), CloudError>> {
        async move {
            let put = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(lease.to_item()))
                .condition_expression("attribute_not_exists(#k)")
                .expression_attribute_names("#k", row::KEY)
                .send()
                .await;
            let put = put.map_err(|e| CloudError::of(&format!("put a lease into table {}", self.table), &e));
            put.map(drop)
        }
        .boxed()
    }

    fn update<'a>(&'a self, change: &'a Change) -> BoxFuture<'a, Result<(), CloudError>> {
        async move {
            let expression = change.expression();
            let updated = self
                .client
                .update_item()
                .table_name(&self.table)
                .key(row::KEY, AttributeValue::S(change.shard.clone()))
                .update_expression(expression.update())
                .condition_expression(&expression.condition)
                .set_expression_attribute_names(Some(expression.names))
                .set_expression_attribute_values(Some(expression.values))
                .send()
                .await;
            let what = || format!("update the lease of {} in table {}", change.shard, self.table);
            updated.map(drop).map_err(|e| CloudError::of(&what(), &e))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), CloudError>> {
        async move {
            let deleted = self
                .client
                .delete_item()
                .table_name(&self.table)
                .key(row::KEY, AttributeValue::S(lease.shard.clone()))
                .condition_expression("#c = :end")
                .expression_attribute_names("#c", row::CHECKPOINT)
                .expression_attribute_values(":end", AttributeValue::S(lease.checkpoint.to_string()))
                .send()
                .await;
            let what = || format!("delete the lease of {} from table {}", lease.shard, self.table);
            deleted.map(drop).map_err(|e| CloudError::of(&what(), &e))
        }
        .boxed()
    }
}
