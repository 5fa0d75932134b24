//! The put request that travels over a stream: `{"TableName":"t","Item":{…}}` (FORMATS.md 1), and our own extension of
//! it: the delete request, `{"TableName":"t","Key":{…}}`.

use bytes::{BufMut, Bytes};

use super::cursor::{Cursor, write_string};
use super::types::Refusal;

/// The parameters of `PutItem` besides the two that every put request has (`DynamoDB` API reference, `PutItem`).
const OTHER_PARAMETERS: [&[u8]; 9] = [
    b"ConditionExpression",
    b"ExpressionAttributeNames",
    b"ExpressionAttributeValues",
    b"ReturnValues",
    b"ReturnConsumedCapacity",
    b"ReturnItemCollectionMetrics",
    b"ReturnValuesOnConditionCheckFailure",
    b"ConditionalOperator",
    b"Expected",
];

/// A put request as it came over a stream. Its item is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    /// The table, or its ARN.
    pub table: String,
    /// The item's `DynamoDB` JSON, a slice of the record.
    pub item: Bytes,
    /// The whole request as JSON when it carries other `PutItem` parameters: it is sent as one `PutItem` then.
    pub other: Option<Bytes>,
}

/// What a record of a stream asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// An item is put.
    Put(PutRequest),
    /// An item is deleted. Only our own workers know this one: others make a dead letter of it, or stop.
    Delete {
        /// The table, or its ARN.
        table: String,
        /// The key's `DynamoDB` JSON, a slice of the record.
        key: Bytes,
    },
}

impl Request {
    /// The table that it names.
    pub fn table(&self) -> &str {
        match self {
            Self::Put(put) => &put.table,
            Self::Delete { table, .. } => table,
        }
    }
}

/// The put request of `item`, which is `DynamoDB` JSON that passed the check, for `table`.
pub fn encode(table: &str, item: &[u8]) -> Bytes {
    let mut record = begun(table, b"Item", item, 1);
    record.put_u8(b'}');
    record.into()
}

/// The put request of `item` that leaves alone what `table` holds under its key; `partition_key` is the name of the
/// table's. Anyone's put worker can run it: it is a `PutItem` with a condition.
pub fn encode_if_absent(table: &str, partition_key: &str, item: &[u8]) -> Bytes {
    const CONDITION: &[u8] =
        b",\"ConditionExpression\":\"attribute_not_exists(#k)\",\"ExpressionAttributeNames\":{\"#k\":";
    const CONSUMED: &[u8] = b"},\"ReturnConsumedCapacity\":\"INDEXES\"}";
    let mut record = begun(table, b"Item", item, CONDITION.len() + partition_key.len() + 2 + CONSUMED.len());
    record.put_slice(CONDITION);
    write_string(&mut record, partition_key.as_bytes());
    record.put_slice(CONSUMED);
    record.into()
}

/// The delete request of `key`, the bare key's `DynamoDB` JSON, from `table`.
pub fn encode_delete(table: &str, key: &[u8]) -> Bytes {
    let mut record = begun(table, b"Key", key, 1);
    record.put_u8(b'}');
    record.into()
}

/// `{"TableName":…,"NAME":…`, with room for `more` bytes.
fn begun(table: &str, name: &[u8], json: &[u8], more: usize) -> Vec<u8> {
    let mut record = Vec::with_capacity(table.len() + name.len() + json.len() + more + 24);
    record.put_slice(b"{\"TableName\":");
    write_string(&mut record, table.as_bytes());
    record.put_slice(b",\"");
    record.put_slice(name);
    record.put_slice(b"\":");
    record.put_slice(json);
    record
}

/// Reads a record of a stream. Copies nothing but the table's name.
///
/// # Errors
/// [`Refusal::NotJson`] and [`Refusal::NotAPutRequest`]: a bare item, an unknown field, no item.
pub fn parse(record: &Bytes) -> Result<Request, Refusal> {
    let not_a_request = |reason: String| Err(Refusal::NotAPutRequest(reason));
    let mut cursor = Cursor::new(record);
    if cursor.peek() != Some(b'{') {
        return not_a_request("it is not a JSON object".into());
    }
    cursor.at += 1;
    let (mut table, mut item, mut key, mut unknown) = (None, None, None, None);
    let mut others = 0u16;
    let mut scratch = Vec::new();
    let mut more = !cursor.take(b'}');
    while more {
        let name = cursor.string()?;
        cursor.expect(b':')?;
        let kind = cursor.peek();
        let start = cursor.at;
        cursor.skip()?;
        let value = start..cursor.at;
        match name.decoded(&mut scratch) {
            b"TableName" => {
                if kind != Some(b'"') {
                    return not_a_request("TableName is not a string".into());
                }
                let text = Cursor::new(&record[value]).string()?;
                let decoded = String::from_utf8_lossy(text.decoded(&mut scratch)).into_owned();
                if decoded.is_empty() {
                    return not_a_request("TableName is empty".into());
                }
                if table.replace(decoded).is_some() {
                    return not_a_request("TableName is there twice".into());
                }
            }
            b"Item" => {
                if kind != Some(b'{') {
                    return not_a_request("Item is not an object".into());
                }
                if item.replace(value).is_some() {
                    return not_a_request("Item is there twice".into());
                }
            }
            b"Key" => {
                if kind != Some(b'{') {
                    return not_a_request("Key is not an object".into());
                }
                if key.replace(value).is_some() {
                    return not_a_request("Key is there twice".into());
                }
            }
            known => match OTHER_PARAMETERS.iter().position(|parameter| *parameter == known) {
                Some(bit) if others & (1 << bit) != 0 => {
                    return not_a_request(format!("{} is there twice", name.shown()));
                }
                Some(bit) => others |= 1 << bit,
                // Told only at the end: a bare item is better called that than by its first attribute.
                None => {
                    unknown.get_or_insert_with(|| name.shown());
                }
            },
        }
        more = cursor.another(b'}')?;
    }
    cursor.end()?;
    match (table, item, key, unknown) {
        (Some(table), Some(item), None, None) => {
            let other = (others != 0).then(|| record.clone());
            Ok(Request::Put(PutRequest { table, item: record.slice(item), other }))
        }
        // A condition that is not run would be a delete that nobody asked for.
        (Some(_), None, Some(_), None) if others != 0 => {
            not_a_request("a delete takes no other parameters than TableName and Key".into())
        }
        (Some(table), None, Some(key), None) => Ok(Request::Delete { table, key: record.slice(key) }),
        (_, Some(_), Some(_), _) => not_a_request("both Item and Key".into()),
        (None, None, _, _) => not_a_request("neither TableName nor Item: a bare item".into()),
        (None, ..) => not_a_request("no TableName".into()),
        (_, None, None, _) => not_a_request("no Item".into()),
        (.., Some(field)) => not_a_request(format!("PutItem has no parameter {field}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn put(record: &Bytes) -> PutRequest {
        match parse(record).unwrap() {
            Request::Put(request) => request,
            Request::Delete { .. } => panic!("a delete"),
        }
    }

    #[test]
    fn a_delete_request_carries_its_key_and_nothing_else() {
        let record = encode_delete("t", br#"{"id":{"S":"a"}}"#);
        assert_eq!(record, br#"{"TableName":"t","Key":{"id":{"S":"a"}}}"#.as_slice());
        let key = Bytes::from_static(br#"{"id":{"S":"a"}}"#);
        assert_eq!(parse(&record).unwrap(), Request::Delete { table: "t".into(), key });
        assert!(refused(r#"{"TableName":"t","Key":{},"Item":{}}"#).contains("both Item and Key"));
        assert!(refused(r#"{"TableName":"t","Key":[]}"#).contains("Key is not an object"));
        assert!(refused(r#"{"TableName":"t","Key":{},"ConditionExpression":"x"}"#).contains("no other parameters"));
        assert!(refused(r#"{"Key":{"S":"a"}}"#).contains("bare item"));
    }

    #[test]
    fn a_put_that_must_not_overwrite_is_a_put_item_with_a_condition() {
        let record = encode_if_absent("t", "a\"b", br#"{"id":{"S":"a"}}"#);
        let json: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(json["ConditionExpression"], "attribute_not_exists(#k)");
        assert_eq!(json["ExpressionAttributeNames"]["#k"], "a\"b");
        let request = put(&record);
        assert_eq!(request.item, br#"{"id":{"S":"a"}}"#.as_slice());
        assert_eq!(request.other, Some(record));
    }

    fn refused(json: &str) -> String {
        parse(&Bytes::copy_from_slice(json.as_bytes())).unwrap_err().to_string()
    }

    #[test]
    fn vector_1_makes_a_put_request_of_120_bytes_that_reads_back_as_a_slice() {
        let line = "eyJ1cGRhdGVkX2F0Ijp7Ik4iOiIxNDQ3MjAzNjEyIn0sImlkIjp7IlMiOiJibnBrT25WelpBPT1cbiJ9LCJyYXRlIjp7Ik4iOiIwLjY1NTAzNTg1MDExMjA3NjcifX0=";
        let item = STANDARD.decode(line).unwrap();
        let record = encode("t", &item);
        assert_eq!(record.len(), 120);
        assert!(record.starts_with(br#"{"TableName":"t","Item":{"updated_at""#));
        let request = put(&record);
        assert_eq!(request, PutRequest { table: "t".into(), item: Bytes::from(item), other: None });
        assert_eq!(request.item.as_ptr(), record[24..].as_ptr(), "the item is a slice of the record");
    }

    #[test]
    fn a_request_with_another_parameter_keeps_its_whole_json() {
        let json = r#"{"Item":{"id":{"S":"a"}},"ConditionExpression":"attribute_not_exists(id)","TableName":"t"}"#;
        let request = put(&Bytes::from_static(json.as_bytes()));
        assert_eq!(request.item, br#"{"id":{"S":"a"}}"#.as_slice());
        assert_eq!(request.other.unwrap(), json.as_bytes());
    }

    #[test]
    fn what_is_no_put_request_is_refused_with_its_reason() {
        assert!(refused(r#"{"id":{"S":"a"}}"#).contains("a bare item"));
        assert!(refused(r#"{"TableName":"t","Item":{},"Items":[]}"#).contains("no parameter Items"));
        assert!(refused(r#"{"TableName":"t"}"#).contains("no Item"));
        assert!(refused(r#"{"Item":{}}"#).contains("no TableName"));
        assert!(refused(r#"{"TableName":1,"Item":{}}"#).contains("not a string"));
        assert!(refused(r#"{"TableName":"","Item":{}}"#).contains("empty"));
        assert!(refused(r#"{"TableName":"t","Item":[]}"#).contains("not an object"));
        assert!(refused(r#"{"TableName":"t","TableName":"u","Item":{}}"#).contains("twice"));
        assert!(refused(r#"{"TableName":"t","Item":{},"Expected":{},"Expected":{}}"#).contains("twice"));
        assert!(refused("[]").contains("not a JSON object"));
        assert!(refused(r#"{"TableName":"t","Item":{}"#).contains("not JSON"));
        assert!(refused(r#"{"TableName":"t","Item":{}}x"#).contains("not JSON"));
    }

    proptest::proptest! {
        #[test]
        fn no_record_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = parse(&Bytes::from(bytes));
        }

        #[test]
        fn any_table_name_and_item_come_back(table in "\\PC{1,20}", id in proptest::prelude::any::<String>()) {
            let item = serde_json::json!({"id": {"S": id}}).to_string();
            let request = put(&encode(&table, item.as_bytes()));
            proptest::prop_assert_eq!(request, PutRequest { table, item: item.into(), other: None });
        }
    }
}
