use proptest::prelude::*;

use super::*;
use crate::flow::ChangeKind;
use crate::item::{Checker, KeyAttr, KeyKind, KeySchema};

fn checker() -> Checker {
    Checker::new(KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None })
}

fn image(at: &str) -> Bytes {
    Bytes::from(format!(r#"{{"id":{{"S":"a"}},"at":{at}}}"#))
}

fn change(image: Option<Bytes>, old: Option<Bytes>) -> ReplicaRow {
    let kind = if image.is_some() { ChangeKind::Modified } else { ChangeKind::Removed };
    let sequence = SequenceNumber("7".into());
    let origin = RowOrigin::Change { kind, sequence, at_ms: 1_000, by_ttl: false, old };
    ReplicaRow { key: Bytes::from_static(br#"{"id":{"S":"a"}}"#), image, origin }
}

fn rule(by: TwoWay, from: Side) -> Rule {
    Rule::new(by, from, "source", Arc::default())
}

fn last_writer(from: Side) -> Rule {
    rule(TwoWay::LastWriter("at".into()), from)
}

fn applied(rule: &Rule, row: &ReplicaRow) -> Applied {
    let item = checker().check(row.image.clone().unwrap_or_else(|| row.key.clone())).unwrap();
    rule.apply("target", row, &item)
}

fn json(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn a_version_is_put_where_what_is_there_has_a_smaller_rank_and_the_first_side_wins_ties() {
    for (side, less) in [(Side::First, "<="), (Side::Second, "<")] {
        let Applied::Put(body) = applied(&last_writer(side), &change(Some(image(r#"{"N":"5"}"#)), None)) else {
            panic!("not put")
        };
        let body = json(&body);
        assert_eq!(body["TableName"], "target");
        assert_eq!(body["Item"]["at"]["N"], "5");
        assert_eq!(body["ConditionExpression"], format!("attribute_not_exists(#a) OR #a {less} :x"));
        assert_eq!(body["ExpressionAttributeNames"]["#a"], "at");
    }
}

#[test]
fn an_item_without_a_rank_goes_only_where_there_is_none_of_its_key_or_none_ranked() {
    let unranked = change(Some(Bytes::from_static(br#"{"id":{"S":"a"}}"#)), None);
    let condition = |side| {
        let Applied::Put(body) = applied(&last_writer(side), &unranked) else { panic!("not put") };
        json(&body)["ConditionExpression"].clone()
    };
    assert_eq!(condition(Side::First), "attribute_not_exists(#a)");
    assert_eq!(condition(Side::Second), "attribute_not_exists(#k)");
}

#[test]
fn what_can_not_be_ranked_is_a_dead_letter() {
    let row = change(Some(image(r#"{"BOOL":true}"#)), None);
    assert!(matches!(applied(&last_writer(Side::First), &row), Applied::Dead(reason) if reason.contains("at")));
    let row = change(None, None);
    assert!(matches!(applied(&last_writer(Side::First), &row), Applied::Dead(reason) if reason.contains("OLD")));
}

#[test]
fn an_echo_does_not_bring_back_what_was_deleted_and_a_newer_version_does() {
    let rule = last_writer(Side::Second);
    let Applied::Delete(body) = applied(&rule, &change(None, Some(image(r#"{"N":"6"}"#)))) else {
        panic!("not deleted")
    };
    assert_eq!(json(&body)["ConditionExpression"], "attribute_not_exists(#a) OR #a <= :x");
    let echo = applied(&rule, &change(Some(image(r#"{"N":"6.0"}"#)), None));
    let Applied::DeleteBack(body) = echo else { panic!("{echo:?}") };
    assert_eq!((&json(&body)["TableName"], &json(&body)["Key"]["id"]["S"]), (&json!("source"), &json!("a")));
    assert!(matches!(applied(&rule, &change(Some(image(r#"{"N":"7"}"#)), None)), Applied::Put(_)));
}

#[test]
fn by_arrival_a_change_of_the_application_is_given_its_time_and_what_has_one_is_ranked_by_it() {
    let rule = rule(TwoWay::Arrival, Side::First);
    let stamped = |stamp: &str| Bytes::from(format!(r#"{{"id":{{"S":"a"}},"{ARRIVAL}":{{"S":"{stamp}"}}}}"#));
    let plain = Bytes::from_static(br#"{"id":{"S":"a"}}"#);
    let Applied::Stamp(body) = applied(&rule, &change(Some(plain.clone()), None)) else { panic!("not stamped") };
    let first = json(&body)["ExpressionAttributeValues"][":new"]["S"].as_str().unwrap().to_owned();
    assert!(first.starts_with("0000000001000#"), "{first}");
    assert_eq!(json(&body)["TableName"], "source");
    // An update kept the attribute: it is older than this change.
    let again = change(Some(stamped(&first)), Some(stamped(&first)));
    let Applied::Stamp(body) = applied(&rule, &again) else { panic!("not stamped") };
    let second = json(&body)["ExpressionAttributeValues"][":new"]["S"].as_str().unwrap().to_owned();
    assert!(second > first, "{second} is later than {first} although the clock stood still");
    assert!(matches!(applied(&rule, &change(Some(stamped(&second)), Some(stamped(&first)))), Applied::Put(_)));
}

#[test]
fn a_delete_is_remembered_over_a_restart_and_forgotten_once_both_streams_were_read_past_it() {
    let deletes = Deletes::default();
    deletes.note(7, &Rank::N("5".into()));
    let rows = deletes.rows(0);
    assert_eq!(rows.len(), 1);
    let again = Deletes::load(rows);
    assert_eq!(again.rank(7), Some(Rank::N("5".into())));
    assert!(again.rows(0).is_empty(), "nothing is new");
    let emptied = again.rows(i64::MAX);
    assert_eq!((again.rank(7), emptied.len()), (None, 1));
    again.note(8, &Rank::None);
    assert_eq!(again.rows(0)[0].0, emptied[0].0, "its row is taken again");
}

#[test]
fn numbers_rank_by_value_and_below_strings() {
    let n = |n: &str| Rank::N(n.to_owned());
    for (small, large) in [("9", "10"), ("-10", "-9"), ("1e-3", "0.002"), ("0", "1e-130"), ("99", "1e2")] {
        assert!(n(small) < n(large), "{small} {large}");
    }
    assert_eq!(n("1.50").cmp(&n("15e-1")), Ordering::Equal);
    assert!(Rank::None < n("-1e125") && n("1e125") < Rank::S(String::new()));
}

proptest! {
    #[test]
    fn whole_numbers_rank_as_they_count(a in any::<i64>(), b in any::<i64>()) {
        prop_assert_eq!(by_value(&a.to_string(), &b.to_string()), a.cmp(&b));
    }
}
