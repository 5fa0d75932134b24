//! What tests make in an embedded AWS, and wait for.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, KeySchemaElement, KeyType, ProvisionedThroughput, ScalarAttributeType,
};

use crate::cloud::{Cloud, inventory};

/// Five RCU, and so many WCU.
pub fn bought(write: i64) -> ProvisionedThroughput {
    ProvisionedThroughput::builder().read_capacity_units(5).write_capacity_units(write).build().unwrap()
}

/// Makes a table with that capacity and a key `id` of text.
pub async fn make_table(cloud: &Cloud, name: &str, write: i64) {
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let kind =
        AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build().unwrap();
    let table = cloud.dynamodb.create_table().table_name(name).key_schema(key).attribute_definitions(kind);
    table.provisioned_throughput(bought(write)).send().await.unwrap();
    is_active(cloud, name).await;
}

/// Waits until a table is neither made nor changed.
pub async fn is_active(cloud: &Cloud, name: &str) {
    while !inventory::table(cloud, name).await.unwrap().is_active() {
        tokio::task::yield_now().await;
    }
}
