//! Put requests of events: which item an event's payload is.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::item::{Checked, Checker, Request, request};

/// The item that `payload` is, as the table of `checker` takes it: the item of a put request, `DynamoDB` JSON, or plain
/// JSON, whose numbers keep every digit.
///
/// # Errors
/// Why it is none, in words.
pub(super) fn item_of(payload: &Bytes, checker: &Checker) -> Result<Checked, String> {
    match request::parse(payload) {
        Ok(Request::Put(put)) if put.other.is_none() => {
            return checker.check(put.item).map_err(|refusal| refusal.to_string());
        }
        Ok(Request::Put(_)) => {
            return Err("it is a put request with a condition of its own, which would be lost".to_owned());
        }
        Ok(Request::Delete { .. }) => return Err("it is a delete request, not an item".to_owned()),
        Err(_) => {}
    }
    if let Ok(checked) = checker.check(payload.clone()) {
        return Ok(checked);
    }
    let plain: BTreeMap<String, &RawValue> =
        serde_json::from_slice(payload).map_err(|error| format!("the payload is no JSON object: {error}"))?;
    let mut item = String::with_capacity(payload.len() * 2);
    object(&plain, &mut item)?;
    checker.check(Bytes::from(item)).map_err(|refusal| refusal.to_string())
}

fn object(plain: &BTreeMap<String, &RawValue>, out: &mut String) -> Result<(), String> {
    out.push('{');
    for (n, (name, value)) in plain.iter().enumerate() {
        out.push_str(if n > 0 { "," } else { "" });
        out.push_str(&serde_json::Value::from(name.as_str()).to_string());
        out.push(':');
        typed(value, out)?;
    }
    out.push('}');
    Ok(())
}

/// A plain JSON value as `DynamoDB` JSON.
fn typed(value: &RawValue, out: &mut String) -> Result<(), String> {
    let wrong = |error: serde_json::Error| format!("the payload is no JSON: {error}");
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => out.extend(["{\"S\":", text, "}"]),
        Some(b't' | b'f') => out.extend(["{\"BOOL\":", text, "}"]),
        Some(b'n') => out.push_str("{\"NULL\":true}"),
        Some(b'{') => {
            out.push_str("{\"M\":");
            object(&serde_json::from_str(text).map_err(wrong)?, out)?;
            out.push('}');
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
            out.push_str("{\"L\":[");
            for (n, value) in values.into_iter().enumerate() {
                out.push_str(if n > 0 { "," } else { "" });
                typed(value, out)?;
            }
            out.push_str("]}");
        }
        _ => out.extend(["{\"N\":\"", text, "\"}"]),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{KeyAttr, KeyKind, KeySchema};

    fn item(payload: &str) -> Result<String, String> {
        let partition = KeyAttr { name: "id".to_owned(), kind: KeyKind::S };
        let checker = Checker::new(KeySchema { partition, sort: None });
        let checked = item_of(&Bytes::copy_from_slice(payload.as_bytes()), &checker)?;
        Ok(String::from_utf8(checked.json.to_vec()).unwrap())
    }

    #[test]
    fn a_put_request_an_item_and_plain_json_all_become_the_item() {
        let typed = r#"{"id":{"S":"x"},"n":{"N":"1.10"}}"#;
        assert_eq!(item(&format!(r#"{{"TableName":"elsewhere","Item":{typed}}}"#)).unwrap(), typed);
        assert_eq!(item(typed).unwrap(), typed);
        assert_eq!(item(r#"{"id":"x","n":1.10}"#).unwrap(), typed);
    }

    #[test]
    fn plain_json_keeps_its_digits_and_its_depth() {
        assert_eq!(
            item(r#"{"big":12345678901234567890,"id":"é\n","l":[1,null,{"a":true}]}"#).unwrap(),
            r#"{"big":{"N":"12345678901234567890"},"id":{"S":"é\n"},"l":{"L":[{"N":"1"},{"NULL":true},{"M":{"a":{"BOOL":true}}}]}}"#
        );
    }

    #[test]
    fn what_is_no_item_of_the_table_says_why() {
        for (payload, word) in [
            (r#"{"name":"no key"}"#, "id"),
            ("[1]", "JSON object"),
            ("\u{1}", "JSON object"),
            (r#"{"TableName":"t","Key":{"id":{"S":"x"}}}"#, "delete"),
            (r#"{"TableName":"t","Item":{"id":{"S":"x"}},"ConditionExpression":"attribute_exists(id)"}"#, "condition"),
        ] {
            let error = item(payload).unwrap_err();
            assert!(error.contains(word), "{payload}: {error}");
        }
    }
}
