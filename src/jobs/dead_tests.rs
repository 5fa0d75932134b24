use base64::Engine as _;

use super::*;
use crate::cloud::Context;
use crate::flow::Letter;
use crate::item::{KeyAttr, KeyKind};
use crate::jobs::spec::{JobId, RestoreSpec};

fn job() -> Job {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
    let spec = Spec::Restore(RestoreSpec { table: "t".into(), ..RestoreSpec::default() });
    let id = journal.create_job(&spec, &Context::default(), None).unwrap();
    journal.job(&id).unwrap()
}

fn schema() -> KeySchema {
    KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None }
}

fn dead(payload: impl Into<Bytes>, shard: Option<&str>) -> DeadLetter {
    DeadLetter {
        number: 3,
        job: JobId("r-1".into()),
        at_ms: 0,
        letter: Letter {
            source: "f.csv".into(),
            line: None,
            offset: Some(0),
            shard: shard.map(ToOwned::to_owned),
            sequence: shard.map(|_| "1".to_owned()),
            reason: "bad\nreason".into(),
            payload: payload.into(),
        },
        draft: None,
        tried: None,
        fate: None,
    }
}

fn item_of(payload: impl Into<Bytes>, shard: Option<&str>) -> String {
    String::from_utf8(content(&job(), &dead(payload, shard)).item.to_vec()).unwrap()
}

#[test]
fn the_item_is_found_in_a_line_of_each_format_and_in_a_put_request() {
    let json = r#"{"id":{"N":"1"}}"#;
    assert_eq!(item_of(base64::prelude::BASE64_STANDARD.encode(json), None), json);
    assert_eq!(item_of(r#""{""id"":{""N"":""1""}}""#, None), json);
    assert_eq!(item_of(json, None), json);
    assert_eq!(item_of(format!(r#"{{"Item":{json}}}"#), None), json);
    let increment = format!(r#"{{"Metadata":{{"WriteTimestampMicros":{{"N":"1"}}}},"Keys":{json},"NewImage":{json}}}"#);
    assert_eq!(item_of(increment, None), json);
    assert_eq!(item_of(format!(r#"{{"TableName":"u","Item":{json}}}"#), Some("shard")), json);
    assert_eq!(item_of(format!(r#"{{"TableName":"u","Item":{json},"Unknown":1}}"#), Some("shard")), json);
    assert_eq!(item_of("not base64!", None), "not base64!");
}

#[test]
fn a_put_request_keeps_its_table_and_its_condition() {
    let payload = r#"{"TableName":"u","Item":{"id":{"S":"a"}},"ConditionExpression":"v < :n","ExpressionAttributeValues":{":n":{"N":"2"}}}"#;
    let content = content(&job(), &dead(payload, Some("shard")));
    assert_eq!(content.table, "u");
    let item = Checker::new(schema()).check(content.item.clone()).unwrap();
    let sent: Value = serde_json::from_slice(&body(&content, &item, &schema(), false).unwrap()).unwrap();
    assert_eq!(sent["ConditionExpression"], "(v < :n) AND attribute_not_exists(#sluice_fence)");
    assert_eq!(sent["ExpressionAttributeNames"]["#sluice_fence"], "id");
    assert_eq!(sent["ExpressionAttributeValues"][":n"]["N"], "2");
    let sent: Value = serde_json::from_slice(&body(&content, &item, &schema(), true).unwrap()).unwrap();
    assert_eq!(sent["ConditionExpression"], "v < :n");
}

#[test]
fn a_condition_of_the_old_form_takes_no_fence_and_is_said_to() {
    let content = content(&job(), &dead(r#"{"TableName":"t","Item":{"id":{"S":"a"}},"Expected":{}}"#, Some("s")));
    let item = Checker::new(schema()).check(content.item.clone()).unwrap();
    assert!(body(&content, &item, &schema(), false).unwrap_err().contains("Expected"));
    assert!(body(&content, &item, &schema(), true).is_ok());
}

#[test]
fn what_was_saved_is_read_without_its_heading_and_an_unchanged_file_is_none() {
    let text = to_edit(&job(), &dead(r#"{"id":{"N":"1"}}"#, None));
    assert!(text.starts_with("# dead letter 3 of r-1, for table t\n# it died of: bad reason\n"), "{text}");
    assert_eq!(edited(&text, &text), Ok(None));
    assert_eq!(edited(&text, &format!("{text}\n\n")), Ok(None), "an editor's last new line is no change");
    let after = text.replace("\"N\"", "\"S\"");
    let draft = edited(&text, &after).unwrap().unwrap();
    assert!(Checker::new(schema()).check(draft).is_ok());
    assert!(edited(&text, &"x".repeat(LONGEST + 1)).is_err());
}

#[test]
fn a_draft_takes_the_place_of_what_came() {
    let mut dead = dead(r#"{"TableName":"u","Item":{"id":{"N":"1"}}}"#, Some("shard"));
    dead.draft = Some(Bytes::from_static(br#"{"id":{"S":"1"}}"#));
    let content = content(&job(), &dead);
    assert_eq!((content.table.as_str(), &content.item[..]), ("u", &br#"{"id":{"S":"1"}}"#[..]));
}
