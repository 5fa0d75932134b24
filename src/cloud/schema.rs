//! A table's schema: its key, its indexes with their projections, its billing, as one `CreateTable` request has them.
//!
//! ```text
//!   aws dynamodb describe-table  ─┐
//!   create-table --cli-input-json ├─▶ Schema { request: what CreateTable is sent, and what was left out of it }
//!   DescribeTable of a live table ┘      └─ key, indexes, billing: what a plan counts with
//! ```

use aws_sdk_dynamodb::types::{KeySchemaElement, OnDemandThroughput, Projection as SdkProjection, TableDescription};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::inventory::nearest;
use crate::item::{KeyAttr, KeyKind, KeySchema};

/// The schema of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// The table that it was made for; empty when a file names none.
    pub name: String,
    /// Its primary key.
    pub key: KeySchema,
    /// How its capacity is paid.
    pub billing: Billing,
    /// True for the infrequent access class.
    pub infrequent_access: bool,
    /// Its secondary indexes.
    pub indexes: Vec<IndexSchema>,
    /// The body of the `CreateTable` that makes such a table.
    pub request: Value,
    /// What was said of the table and can't be made by `CreateTable`, in words.
    pub left_out: Vec<String>,
}

/// How capacity is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// By the request.
    OnDemand,
    /// By the hour.
    Provisioned {
        /// Read capacity, RCU.
        read: u64,
        /// Write capacity, WCU.
        write: u64,
    },
}

impl Billing {
    /// Write capacity, WCU; `None` on demand.
    pub fn write(self) -> Option<u64> {
        match self {
            Self::OnDemand => None,
            Self::Provisioned { write, .. } => Some(write),
        }
    }
}

/// A secondary index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexSchema {
    /// Its name.
    pub name: String,
    /// True for a local index, which takes its capacity from the table; a global one has its own.
    pub local: bool,
    /// Its key attributes, partition key first: only items that have all of them are in it.
    pub key: Vec<KeyAttr>,
    /// What of an item it holds.
    pub projection: Projection,
    /// Of a global index: how its capacity is paid.
    pub billing: Billing,
}

/// What of an item an index holds, beside the keys of table and index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Everything.
    All,
    /// Nothing.
    KeysOnly,
    /// These attributes.
    Include(Vec<String>),
}

/// Why a schema can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// No JSON of that shape.
    #[error(
        "it is no table's schema: {0}. Give it what `aws dynamodb describe-table` prints, or what `create-table --cli-input-json` takes"
    )]
    Shape(String),
    /// A field that `CreateTable` does not have.
    #[error("CreateTable has no field {field}: {near}")]
    Field {
        /// The field.
        field: String,
        /// What it may have been meant to be.
        near: String,
    },
    /// A key attribute without a definition.
    #[error("the key attribute {0} is in no AttributeDefinitions: its type (S, N or B) is not known")]
    Undefined(String),
    /// A key without a HASH attribute.
    #[error("{0} has no HASH key")]
    NoPartitionKey(String),
}

/// What `CreateTable` takes (`DynamoDB` API reference, `CreateTable`).
const FIELDS: [&str; 15] = [
    "AttributeDefinitions",
    "BillingMode",
    "DeletionProtectionEnabled",
    "GlobalSecondaryIndexes",
    "KeySchema",
    "LocalSecondaryIndexes",
    "OnDemandThroughput",
    "ProvisionedThroughput",
    "ResourcePolicy",
    "SSESpecification",
    "StreamSpecification",
    "TableClass",
    "TableName",
    "Tags",
    "WarmThroughput",
];
/// What `DescribeTable` tells beside that, which is of the moment and no setting.
const OF_THE_MOMENT: [&str; 11] = [
    "TableStatus",
    "CreationDateTime",
    "TableSizeBytes",
    "ItemCount",
    "TableArn",
    "TableId",
    "LatestStreamLabel",
    "LatestStreamArn",
    "ArchivalSummary",
    "RestoreSummary",
    "DisassociationProtectionEnabled",
];
/// What `DescribeTable` tells of settings that other requests make.
const MADE_OTHERWISE: [&str; 7] = [
    "GlobalTableVersion",
    "GlobalTableSettingsReplicationMode",
    "GlobalTableWitnesses",
    "MultiRegionConsistency",
    "Replicas",
    "ContributorInsights",
    "VectorIndexes",
];

impl Schema {
    /// Reads the JSON of a schema file.
    ///
    /// # Errors
    /// It is no schema, in words.
    pub fn from_json(text: &str) -> Result<Self, SchemaError> {
        let value: Value = serde_json::from_str(text).map_err(|error| SchemaError::Shape(error.to_string()))?;
        let Value::Object(mut outer) = value else { return Err(SchemaError::Shape("it is no JSON object".into())) };
        match outer.remove("Table").or_else(|| outer.remove("TableDescription")) {
            Some(Value::Object(table)) => Self::of(table),
            Some(_) => Err(SchemaError::Shape("its Table is no object".into())),
            None => Self::of(outer),
        }
    }

    /// The schema of a live table.
    ///
    /// # Errors
    /// The description has no key, which AWS's never lack.
    pub fn of_description(table: &TableDescription) -> Result<Self, SchemaError> {
        match as_json(table) {
            Value::Object(table) => Self::of(table),
            _ => Err(SchemaError::NoPartitionKey("the table".into())),
        }
    }

    fn of(mut table: Map<String, Value>) -> Result<Self, SchemaError> {
        let mut left_out = Vec::new();
        lift(&mut table, "BillingModeSummary", "BillingMode", "BillingMode");
        lift(&mut table, "TableClassSummary", "TableClass", "TableClass");
        if let Some(sse) = table.remove("SSEDescription").filter(|sse| sse["Status"] == "ENABLED") {
            let mut wanted = json!({ "Enabled": true, "SSEType": sse["SSEType"] });
            if let Some(key) = sse["KMSMasterKeyArn"].as_str() {
                wanted["KMSMasterKeyId"] = key.into();
            }
            table.insert("SSESpecification".into(), wanted);
        }
        for field in OF_THE_MOMENT {
            table.remove(field);
        }
        for field in MADE_OTHERWISE {
            if table.remove(field).is_some_and(|value| !is_nothing(&value)) {
                left_out.push(format!("{field} is set by other requests than CreateTable"));
            }
        }
        // What a description tells of warmth is where the table has got to; asking for it is charged.
        if table.get("WarmThroughput").is_some_and(|warm| warm.get("Status").is_some()) {
            table.remove("WarmThroughput");
        }
        table.retain(|_, value| !is_nothing(value));
        if let Some(field) = table.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            let known: Vec<String> = FIELDS.map(str::to_owned).to_vec();
            return Err(SchemaError::Field { field: field.clone(), near: nearest(field, &known) });
        }
        let on_demand = table.get("BillingMode").is_some_and(|mode| mode == "PAY_PER_REQUEST");
        throughput(&mut table, on_demand);
        for indexes in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
            for index in table.get_mut(indexes).and_then(Value::as_array_mut).into_iter().flatten() {
                let Some(index) = index.as_object_mut() else { continue };
                index.retain(|field, value| {
                    matches!(
                        field.as_str(),
                        "IndexName" | "KeySchema" | "Projection" | "ProvisionedThroughput" | "OnDemandThroughput"
                    ) && !is_nothing(value)
                });
                throughput(index, on_demand);
            }
        }
        let request = Value::Object(table);
        let asked: Request = serde_json::from_value(request.clone()).map_err(|e| SchemaError::Shape(e.to_string()))?;
        asked.schema(request, left_out)
    }

    /// The same for a table of another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self.request["TableName"] = name.into();
        self
    }
}

/// `{"<outer>":{"<inner>":x}}` becomes `{"<to>":x}`.
fn lift(table: &mut Map<String, Value>, outer: &str, inner: &str, to: &str) {
    if let Some(value) = table.remove(outer).and_then(|mut summary| summary.get_mut(inner).map(Value::take)) {
        table.insert(to.to_owned(), value);
    }
}

/// Leaves of a throughput what can be asked for: nothing on demand, where descriptions say 0.
fn throughput(of: &mut Map<String, Value>, on_demand: bool) {
    if on_demand {
        of.remove("ProvisionedThroughput");
    } else {
        of.remove("OnDemandThroughput");
    }
    if let Some(throughput) = of.get_mut("ProvisionedThroughput").and_then(Value::as_object_mut) {
        throughput.retain(|field, _| matches!(field.as_str(), "ReadCapacityUnits" | "WriteCapacityUnits"));
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    #[serde(default)]
    table_name: String,
    #[serde(default)]
    attribute_definitions: Vec<Definition>,
    key_schema: Vec<Element>,
    billing_mode: Option<String>,
    table_class: Option<String>,
    provisioned_throughput: Option<Throughput>,
    #[serde(default)]
    global_secondary_indexes: Vec<AskedIndex>,
    #[serde(default)]
    local_secondary_indexes: Vec<AskedIndex>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    attribute_name: String,
    attribute_type: KeyKind,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Element {
    attribute_name: String,
    key_type: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Throughput {
    read_capacity_units: u64,
    write_capacity_units: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AskedIndex {
    index_name: String,
    key_schema: Vec<Element>,
    #[serde(default)]
    projection: AskedProjection,
    provisioned_throughput: Option<Throughput>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AskedProjection {
    projection_type: String,
    non_key_attributes: Vec<String>,
}

impl Request {
    fn schema(self, request: Value, left_out: Vec<String>) -> Result<Schema, SchemaError> {
        let on_demand = self.billing_mode.as_deref() == Some("PAY_PER_REQUEST");
        let billing = |throughput: Option<Throughput>| match throughput.filter(|_| !on_demand) {
            Some(t) => Billing::Provisioned { read: t.read_capacity_units, write: t.write_capacity_units },
            None => Billing::OnDemand,
        };
        let of_table = self.attributes("the table", &self.key_schema)?;
        let mut indexes = Vec::new();
        for (local, asked) in [(false, &self.global_secondary_indexes), (true, &self.local_secondary_indexes)] {
            for index in asked {
                indexes.push(IndexSchema {
                    name: index.index_name.clone(),
                    local,
                    key: self.attributes(&format!("index {}", index.index_name), &index.key_schema)?,
                    projection: match index.projection.projection_type.as_str() {
                        "KEYS_ONLY" => Projection::KeysOnly,
                        "INCLUDE" => Projection::Include(index.projection.non_key_attributes.clone()),
                        _ => Projection::All,
                    },
                    billing: billing(index.provisioned_throughput),
                });
            }
        }
        let mut key = of_table.into_iter();
        let partition = key.next().ok_or_else(|| SchemaError::NoPartitionKey("the table".into()))?;
        Ok(Schema {
            key: KeySchema { partition, sort: key.next() },
            billing: billing(self.provisioned_throughput),
            infrequent_access: self.table_class.as_deref() == Some("STANDARD_INFREQUENT_ACCESS"),
            indexes,
            request,
            left_out,
            name: self.table_name,
        })
    }

    /// Key attributes with their types, HASH before RANGE.
    fn attributes(&self, of: &str, elements: &[Element]) -> Result<Vec<KeyAttr>, SchemaError> {
        let typed = |element: &Element| {
            let defined = self.attribute_definitions.iter().find(|d| d.attribute_name == element.attribute_name);
            match defined {
                Some(definition) => {
                    Ok(KeyAttr { name: element.attribute_name.clone(), kind: definition.attribute_type })
                }
                None => Err(SchemaError::Undefined(element.attribute_name.clone())),
            }
        };
        let hash = elements.iter().filter(|e| e.key_type == "HASH");
        if hash.clone().next().is_none() {
            return Err(SchemaError::NoPartitionKey(of.to_owned()));
        }
        hash.chain(elements.iter().filter(|e| e.key_type != "HASH")).map(typed).collect()
    }
}

/// A key as people write it: `id (S), at (N)`.
pub fn key_in_words(key: &KeySchema) -> String {
    let attr = |attr: &KeyAttr| format!("{} ({:?})", attr.name, attr.kind);
    match &key.sort {
        None => attr(&key.partition),
        Some(sort) => format!("{}, {}", attr(&key.partition), attr(sort)),
    }
}

/// What a description tells of settings, as `aws dynamodb describe-table` prints it.
fn as_json(table: &TableDescription) -> Value {
    let key = |elements: &[KeySchemaElement]| -> Vec<Value> {
        let element =
            |e: &KeySchemaElement| json!({ "AttributeName": e.attribute_name(), "KeyType": e.key_type().as_str() });
        elements.iter().map(element).collect()
    };
    let projection = |p: Option<&SdkProjection>| {
        p.map(|p| {
            json!({ "ProjectionType": p.projection_type().map(|t| t.as_str().to_owned()), "NonKeyAttributes": p.non_key_attributes() })
        })
    };
    let provisioned = |p: Option<&aws_sdk_dynamodb::types::ProvisionedThroughputDescription>| {
        p.map(
            |p| json!({ "ReadCapacityUnits": p.read_capacity_units(), "WriteCapacityUnits": p.write_capacity_units() }),
        )
    };
    let on_demand = |p: Option<&OnDemandThroughput>| {
        p.map(|p| {
            let mut most = Map::new();
            let units = [
                ("MaxReadRequestUnits", p.max_read_request_units()),
                ("MaxWriteRequestUnits", p.max_write_request_units()),
            ];
            most.extend(units.into_iter().filter_map(|(name, n)| Some((name.to_owned(), n?.into()))));
            Value::Object(most)
        })
    };
    let attributes = table.attribute_definitions().iter();
    json!({
        "TableName": table.table_name(),
        "AttributeDefinitions": attributes
            .map(|d| json!({ "AttributeName": d.attribute_name(), "AttributeType": d.attribute_type().as_str() }))
            .collect::<Vec<_>>(),
        "KeySchema": key(table.key_schema()),
        "BillingModeSummary": {
            "BillingMode": table.billing_mode_summary().and_then(|b| b.billing_mode()).map(|m| m.as_str().to_owned()),
        },
        "ProvisionedThroughput": provisioned(table.provisioned_throughput()),
        "OnDemandThroughput": on_demand(table.on_demand_throughput()),
        "TableClassSummary": {
            "TableClass": table.table_class_summary().and_then(|c| c.table_class()).map(|c| c.as_str().to_owned()),
        },
        "DeletionProtectionEnabled": table.deletion_protection_enabled().filter(|on| *on),
        "SSEDescription": table.sse_description().map(|sse| json!({
            "Status": sse.status().map(|s| s.as_str().to_owned()),
            "SSEType": sse.sse_type().map(|s| s.as_str().to_owned()),
            "KMSMasterKeyArn": sse.kms_master_key_arn(),
        })),
        "StreamSpecification": table.stream_specification().filter(|s| s.stream_enabled()).map(|s| json!({
            "StreamEnabled": true, "StreamViewType": s.stream_view_type().map(|v| v.as_str().to_owned()),
        })),
        "Replicas": table.replicas().iter().filter_map(|r| r.region_name()).collect::<Vec<_>>(),
        "GlobalSecondaryIndexes": table.global_secondary_indexes().iter().map(|index| json!({
            "IndexName": index.index_name(),
            "KeySchema": key(index.key_schema()),
            "Projection": projection(index.projection()),
            "ProvisionedThroughput": provisioned(index.provisioned_throughput()),
            "OnDemandThroughput": on_demand(index.on_demand_throughput()),
        })).collect::<Vec<_>>(),
        "LocalSecondaryIndexes": table.local_secondary_indexes().iter().map(|index| json!({
            "IndexName": index.index_name(),
            "KeySchema": key(index.key_schema()),
            "Projection": projection(index.projection()),
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
