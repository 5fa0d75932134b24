//! The body of `PutRecords`, spliced from the bytes of records.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// Records in one `PutRecords`; AWS's limit.
pub(super) const RECORDS: usize = 500;

/// One record of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub data: &'a [u8],
    pub partition_key: &'a str,
    pub hash_key: u128,
}

/// A `PutRecords` of `records` on `stream`.
pub(super) fn records_body<'a>(stream: &str, records: impl Iterator<Item = Record<'a>> + Clone) -> Bytes {
    let size: usize = records.clone().map(|r| r.data.len().div_ceil(3) * 4 + r.partition_key.len() + 100).sum();
    let mut body = String::with_capacity(size + stream.len() + 64);
    body.push_str("{\"StreamName\":");
    body.push_str(&serde_json::Value::from(stream).to_string());
    body.push_str(",\"Records\":[");
    for (n, record) in records.enumerate() {
        body.push_str(if n > 0 { ",{\"Data\":\"" } else { "{\"Data\":\"" });
        STANDARD.encode_string(record.data, &mut body);
        body.push_str("\",\"PartitionKey\":");
        body.push_str(&serde_json::Value::from(record.partition_key).to_string());
        body.push_str(",\"ExplicitHashKey\":\"");
        body.push_str(&record.hash_key.to_string());
        body.push_str("\"}");
    }
    body.push_str("]}");
    Bytes::from(body)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn records_go_as_base64_with_their_hash_key_in_decimal() {
        let record = Record { data: b"\x00\xffx", partition_key: "r-1/\"7", hash_key: u128::MAX };
        let body: Value = serde_json::from_slice(&records_body("s", [record].into_iter())).unwrap();
        assert_eq!(
            body,
            json!({
                "StreamName": "s",
                "Records": [{
                    "Data": "AP94",
                    "PartitionKey": "r-1/\"7",
                    "ExplicitHashKey": "340282366920938463463374607431768211455"
                }]
            })
        );
    }
}
