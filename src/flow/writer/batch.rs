//! The bodies of write requests, spliced from the bytes of items.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Requests in one `BatchWriteItem`; AWS's limit.
pub(super) const REQUESTS: usize = 25;
/// Body of one `BatchWriteItem`, bytes; AWS's limit of 16 MiB less room for its frame.
pub(super) const BODY: usize = (16 << 20) - 4096;

/// One request of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// Puts this item.
    Put(&'a [u8]),
    /// Deletes the item of this key.
    Delete(&'a [u8]),
}

impl Request<'_> {
    fn len(&self) -> usize {
        let (Self::Put(json) | Self::Delete(json)) = self;
        json.len()
    }
}

/// `name` as a JSON string.
fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

/// A `BatchWriteItem` of `requests` on `table`.
pub(super) fn batch_body<'a>(table: &str, requests: impl Iterator<Item = Request<'a>> + Clone) -> Bytes {
    let frame = 128 + table.len();
    let size: usize = requests.clone().map(|request| request.len() + 32).sum();
    let mut body = BytesMut::with_capacity(frame + size);
    body.put_slice(b"{\"RequestItems\":{");
    body.put_slice(quoted(table).as_bytes());
    body.put_slice(b":[");
    for (n, request) in requests.enumerate() {
        if n > 0 {
            body.put_u8(b',');
        }
        match request {
            Request::Put(item) => {
                body.put_slice(b"{\"PutRequest\":{\"Item\":");
                body.put_slice(item);
            }
            Request::Delete(key) => {
                body.put_slice(b"{\"DeleteRequest\":{\"Key\":");
                body.put_slice(key);
            }
        }
        body.put_slice(b"}}");
    }
    body.put_slice(b"]},\"ReturnConsumedCapacity\":\"INDEXES\"}");
    body.freeze()
}

/// A `PutItem` of `item` into `table`; only where no item of its key exists, when `absent` names the partition key.
pub(super) fn put_body(table: &str, item: &[u8], absent: Option<&str>) -> Bytes {
    let mut body = BytesMut::with_capacity(item.len() + table.len() + 256);
    body.put_slice(b"{\"TableName\":");
    body.put_slice(quoted(table).as_bytes());
    body.put_slice(b",\"Item\":");
    body.put_slice(item);
    if let Some(partition_key) = absent {
        body.put_slice(b",\"ConditionExpression\":\"attribute_not_exists(#k)\",\"ExpressionAttributeNames\":{\"#k\":");
        body.put_slice(quoted(partition_key).as_bytes());
        body.put_u8(b'}');
    }
    body.put_slice(b",\"ReturnConsumedCapacity\":\"INDEXES\"}");
    body.freeze()
}

/// A `DeleteItem` of `key` from `table`.
pub(super) fn delete_body(table: &str, key: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(key.len() + table.len() + 128);
    body.put_slice(b"{\"TableName\":");
    body.put_slice(quoted(table).as_bytes());
    body.put_slice(b",\"Key\":");
    body.put_slice(key);
    body.put_slice(b",\"ReturnConsumedCapacity\":\"INDEXES\"}");
    body.freeze()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ITEM: &[u8] = br#"{"id":{"S":"a"}}"#;

    fn parsed(body: &Bytes) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn a_batch_holds_the_items_byte_for_byte() {
        let body = batch_body("t", [Request::Put(ITEM), Request::Delete(ITEM)].into_iter());
        let item = json!({"id": {"S": "a"}});
        assert_eq!(
            parsed(&body),
            json!({
                "RequestItems": {"t": [{"PutRequest": {"Item": item}}, {"DeleteRequest": {"Key": item}}]},
                "ReturnConsumedCapacity": "INDEXES"
            })
        );
    }

    #[test]
    fn a_put_that_must_not_overwrite_asks_for_the_partition_key_to_be_absent() {
        let body = put_body("t", ITEM, Some("a\"b"));
        assert_eq!(parsed(&body)["ConditionExpression"], "attribute_not_exists(#k)");
        assert_eq!(parsed(&body)["ExpressionAttributeNames"], json!({"#k": "a\"b"}));
        assert_eq!(parsed(&put_body("t", ITEM, None)).get("ConditionExpression"), None);
    }

    #[test]
    fn a_delete_names_its_key() {
        assert_eq!(parsed(&delete_body("t", ITEM))["Key"], json!({"id": {"S": "a"}}));
    }
}
