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

fn checked(row: &ReplicaRow) -> Checked {
    checker().check(row.image.clone().unwrap_or_else(|| row.key.clone())).unwrap()
}

fn asks(rule: &Rule, row: &ReplicaRow) -> Result<Asks, String> {
    rule.ask(row, &checked(row))
}

fn put(rule: &Rule, row: &ReplicaRow) -> Value {
    let Asks::Stay(rank) = asks(rule, row).unwrap() else { panic!("it does not stay") };
    json(&rule.put("target", row.image.as_ref().unwrap(), &checked(row), &rank))
}

fn json(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn a_version_is_put_where_what_is_there_has_a_smaller_rank_and_the_first_side_wins_ties() {
    for (side, less) in [(Side::First, "<="), (Side::Second, "<")] {
        let body = put(&last_writer(side), &change(Some(image(r#"{"N":"5"}"#)), None));
        assert_eq!(body["TableName"], "target");
        assert_eq!(body["Item"]["at"]["N"], "5");
        assert_eq!(body["ConditionExpression"], format!("attribute_not_exists(#a) OR #a {less} :x"));
        assert_eq!(body["ExpressionAttributeNames"]["#a"], "at");
    }
    let five = Rank::N("5".into());
    assert!(last_writer(Side::First).wins(&five, &five) && !last_writer(Side::Second).wins(&five, &five));
}

#[test]
fn an_item_without_a_rank_goes_only_where_there_is_none_of_its_key_or_none_ranked() {
    let unranked = change(Some(Bytes::from_static(br#"{"id":{"S":"a"}}"#)), None);
    let condition = |side| put(&last_writer(side), &unranked)["ConditionExpression"].clone();
    assert_eq!(condition(Side::First), "attribute_not_exists(#a)");
    assert_eq!(condition(Side::Second), "attribute_not_exists(#k)");
}

#[test]
fn what_can_not_be_ranked_is_said() {
    let row = change(Some(image(r#"{"BOOL":true}"#)), None);
    assert!(asks(&last_writer(Side::First), &row).unwrap_err().contains("at"));
    assert!(asks(&last_writer(Side::First), &change(None, None)).unwrap_err().contains("OLD"));
}

#[test]
fn a_delete_has_the_rank_of_what_it_deleted_and_beats_an_echo_of_it_and_nothing_newer() {
    let rule = last_writer(Side::Second);
    let row = change(None, Some(image(r#"{"N":"6"}"#)));
    let Asks::Go { rank, unranked_too } = asks(&rule, &row).unwrap() else { panic!("it does not go") };
    let body = json(&rule.delete("target", &checked(&row), &rank, unranked_too));
    assert_eq!(body["ConditionExpression"], "attribute_not_exists(#a) OR #a <= :x");
    let key = checked(&row).key.hash;
    assert_eq!(rule.deleted(key, &Rank::N("6.0".into())), Some(Rank::N("6".into())));
    assert_eq!(rule.deleted(key, &Rank::N("7".into())), None);
}

#[test]
fn by_arrival_a_change_of_the_application_is_given_its_time_and_what_has_one_is_ranked_by_it() {
    let rule = rule(TwoWay::Arrival, Side::First);
    let stamped = |stamp: &str| Bytes::from(format!(r#"{{"id":{{"S":"a"}},"{ARRIVAL}":{{"S":"{stamp}"}}}}"#));
    let plain = Bytes::from_static(br#"{"id":{"S":"a"}}"#);
    let stamp = |row: &ReplicaRow| {
        let Asks::Stamp(body) = asks(&rule, row).unwrap() else { panic!("not stamped") };
        assert_eq!(json(&body)["TableName"], "source");
        json(&body)["ExpressionAttributeValues"][":new"]["S"].as_str().unwrap().to_owned()
    };
    let first = stamp(&change(Some(plain), None));
    assert!(first.starts_with("0000000001000#"), "{first}");
    // An update kept the attribute: it is older than this change.
    let second = stamp(&change(Some(stamped(&first)), Some(stamped(&first))));
    assert!(second > first, "{second} is later than {first} although the clock stood still");
    let known = change(Some(stamped(&second)), Some(stamped(&first)));
    assert_eq!(asks(&rule, &known), Ok(Asks::Stay(Rank::S(second))));
}

#[test]
fn by_arrival_the_echo_of_a_delete_is_no_delete_of_its_own_and_a_delete_read_again_is() {
    let first = rule(TwoWay::Arrival, Side::First);
    let second = first.reversed("target");
    let old = |stamp: &str| Some(Bytes::from(format!(r#"{{"id":{{"S":"a"}},"{ARRIVAL}":{{"S":"{stamp}"}}}}"#)));
    let deleted = change(None, old("0000000000500#0#b"));
    let Asks::Go { rank, .. } = asks(&first, &deleted).unwrap() else { panic!("it does not go") };
    // It is carried over, and comes back with what it deleted there.
    assert_eq!(asks(&second, &deleted), Ok(Asks::Nothing));
    assert_eq!(asks(&first, &deleted), Ok(Asks::Go { rank, unranked_too: false }));
    // A later version that is deleted on the other side is another matter.
    assert!(matches!(asks(&second, &change(None, old("0000000001500#0#a"))), Ok(Asks::Go { .. })));
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
