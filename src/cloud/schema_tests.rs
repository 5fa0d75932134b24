use super::*;

/// What `aws dynamodb describe-table` printed of a provisioned table with two global indexes and a local one.
pub(crate) const DESCRIBED: &str = r#"{"Table":{
  "AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"at","AttributeType":"N"},
    {"AttributeName":"day","AttributeType":"S"}],
  "TableName":"quotes","KeySchema":[{"AttributeName":"at","KeyType":"RANGE"},{"AttributeName":"id","KeyType":"HASH"}],
  "TableStatus":"ACTIVE","CreationDateTime":"2026-01-02T03:04:05.678000+00:00",
  "ProvisionedThroughput":{"LastIncreaseDateTime":1.0,"NumberOfDecreasesToday":2,"ReadCapacityUnits":10,"WriteCapacityUnits":130},
  "TableSizeBytes":1000,"ItemCount":3,"TableArn":"arn:aws:dynamodb:eu-west-1:111122223333:table/quotes","TableId":"x",
  "GlobalSecondaryIndexes":[
    {"IndexName":"by_day","KeySchema":[{"AttributeName":"day","KeyType":"HASH"}],
     "Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["rate"]},"IndexStatus":"ACTIVE",
     "ProvisionedThroughput":{"NumberOfDecreasesToday":0,"ReadCapacityUnits":5,"WriteCapacityUnits":50},
     "IndexSizeBytes":0,"ItemCount":0,"IndexArn":"arn:aws:dynamodb:eu-west-1:111122223333:table/quotes/index/by_day"}],
  "LocalSecondaryIndexes":[{"IndexName":"mine","KeySchema":[{"AttributeName":"id","KeyType":"HASH"},
     {"AttributeName":"day","KeyType":"RANGE"}],"Projection":{"ProjectionType":"KEYS_ONLY"},"IndexSizeBytes":0,"ItemCount":0,
     "IndexArn":"arn"}],
  "TableClassSummary":{"TableClass":"STANDARD_INFREQUENT_ACCESS"},"DeletionProtectionEnabled":false,
  "WarmThroughput":{"ReadUnitsPerSecond":12000,"WriteUnitsPerSecond":4000,"Status":"ACTIVE"},
  "Replicas":[{"RegionName":"us-east-1"}]
}}"#;

#[test]
fn a_description_becomes_the_request_that_makes_such_a_table() {
    let schema = Schema::from_json(DESCRIBED).unwrap().named("copy");
    assert_eq!(schema.key.partition, KeyAttr { name: "id".into(), kind: KeyKind::S });
    assert_eq!(schema.key.sort, Some(KeyAttr { name: "at".into(), kind: KeyKind::N }));
    assert_eq!(schema.billing, Billing::Provisioned { read: 10, write: 130 });
    assert!(schema.infrequent_access);
    assert_eq!(
        schema.request,
        json!({
            "AttributeDefinitions": [
                { "AttributeName": "id", "AttributeType": "S" }, { "AttributeName": "at", "AttributeType": "N" },
                { "AttributeName": "day", "AttributeType": "S" }
            ],
            "TableName": "copy",
            "KeySchema": [
                { "AttributeName": "at", "KeyType": "RANGE" }, { "AttributeName": "id", "KeyType": "HASH" }
            ],
            "ProvisionedThroughput": { "ReadCapacityUnits": 10, "WriteCapacityUnits": 130 },
            "GlobalSecondaryIndexes": [{
                "IndexName": "by_day", "KeySchema": [{ "AttributeName": "day", "KeyType": "HASH" }],
                "Projection": { "ProjectionType": "INCLUDE", "NonKeyAttributes": ["rate"] },
                "ProvisionedThroughput": { "ReadCapacityUnits": 5, "WriteCapacityUnits": 50 }
            }],
            "LocalSecondaryIndexes": [{
                "IndexName": "mine",
                "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }, { "AttributeName": "day", "KeyType": "RANGE" }],
                "Projection": { "ProjectionType": "KEYS_ONLY" }
            }],
            "TableClass": "STANDARD_INFREQUENT_ACCESS",
            "DeletionProtectionEnabled": false
        })
    );
    assert_eq!(schema.left_out, ["Replicas is set by other requests than CreateTable"]);
}

#[test]
fn indexes_are_read_with_their_keys_projections_and_capacity() {
    let schema = Schema::from_json(DESCRIBED).unwrap();
    let [global, local] = schema.indexes.as_slice() else { panic!("{:?}", schema.indexes) };
    assert_eq!((global.name.as_str(), global.local, global.billing.write()), ("by_day", false, Some(50)));
    assert_eq!(global.projection, Projection::Include(vec!["rate".into()]));
    assert_eq!((local.local, local.key.len(), &local.projection), (true, 2, &Projection::KeysOnly));
}

#[test]
fn an_on_demand_description_asks_for_no_throughput() {
    let schema = Schema::from_json(
        r#"{"TableName":"t","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"B"}],
           "KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST"},
           "ProvisionedThroughput":{"ReadCapacityUnits":0,"WriteCapacityUnits":0}}"#,
    )
    .unwrap();
    assert_eq!(schema.billing, Billing::OnDemand);
    assert_eq!(schema.request["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(schema.request.get("ProvisionedThroughput"), None);
}

#[test]
fn what_is_no_schema_is_told_in_words() {
    let error = |text: &str| Schema::from_json(text).unwrap_err().to_string();
    assert!(error("[]").contains("no JSON object"));
    assert!(error("{}").contains("KeySchema"), "{}", error("{}"));
    let misspelt = r#"{"TableName":"t","KeySchema":[],"ProvisionedThrougput":{"ReadCapacityUnits":1}}"#;
    assert!(error(misspelt).contains("did you mean ProvisionedThroughput?"), "{}", error(misspelt));
    let untyped = r#"{"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}"#;
    assert!(error(untyped).contains("id is in no AttributeDefinitions"));
    let headless = r#"{"AttributeDefinitions":[],"KeySchema":[]}"#;
    assert!(error(headless).contains("no KeySchema") || error(headless).contains("KeySchema"), "{}", error(headless));
}

#[test]
fn a_live_table_reads_as_its_description_does() {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, KeyType, ProvisionedThroughputDescription, ScalarAttributeType, TableDescription,
    };
    let element = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let defined = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::N);
    let table = TableDescription::builder()
        .table_name("t")
        .key_schema(element)
        .attribute_definitions(defined.build().unwrap())
        .provisioned_throughput(
            ProvisionedThroughputDescription::builder().read_capacity_units(1).write_capacity_units(2).build(),
        )
        .build();
    let schema = Schema::of_description(&table).unwrap();
    assert_eq!(schema.billing, Billing::Provisioned { read: 1, write: 2 });
    assert_eq!(key_in_words(&schema.key), "id (N)");
    assert_eq!(
        schema.request,
        json!({
            "TableName": "t", "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "N" }],
            "ProvisionedThroughput": { "ReadCapacityUnits": 1, "WriteCapacityUnits": 2 }
        })
    );
}
