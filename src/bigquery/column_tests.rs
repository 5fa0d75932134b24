use super::*;
use crate::item::KeyAttr;

fn key(kind: KeyKind) -> KeySchema {
    KeySchema { partition: KeyAttr { name: "id".into(), kind }, sort: None }
}

fn shown(columns: &Columns) -> Vec<String> {
    columns
        .all()
        .iter()
        .map(|c| format!("{} {}{}", c.name, c.shown_type(), if c.required { "!" } else { "" }))
        .collect()
}

fn table(columns: &Columns) -> Json {
    json!({"schema": columns.to_json(), "tableConstraints": {"primaryKey": {"columns": columns.key()}}})
}

const SAMPLE: [&str; 3] = [
    r#"{"id":{"S":"1"},"n":{"N":"1.5"},"big":{"N":"1E-20"},"huge":{"N":"1E100"},"b":{"B":"AQ=="},"ok":{"BOOL":true}}"#,
    r#"{"id":{"S":"2"},"ss":{"SS":["a"]},"ns":{"NS":["1","1E-20"]},"bs":{"BS":["AQ=="]},"m":{"M":{}},"l":{"L":[]}}"#,
    r#"{"id":{"S":"3"},"big":{"N":"1"},"mixed":{"N":"1"},"nothing":{"NULL":true},"user.name":{"S":"x"}}"#,
];

#[test]
fn each_attribute_of_the_sample_gets_a_column_that_holds_it() {
    let sample = [SAMPLE.as_slice(), &[r#"{"id":{"S":"4"},"mixed":{"S":"x"}}"#]].concat();
    let made = Columns::made(&key(KeyKind::S), &sample, None, Keeps::Rows).unwrap();
    assert_eq!(
        shown(&made),
        [
            "id STRING!",
            "n NUMERIC",
            "big BIGNUMERIC",
            "huge STRING",
            "b BYTES",
            "ok BOOLEAN",
            "ss ARRAY of STRING",
            "ns ARRAY of BIGNUMERIC",
            "bs ARRAY of BYTES",
            "m JSON",
            "l JSON",
            "mixed JSON",
            "user_name STRING",
        ]
    );
    assert_eq!(made.key(), ["id"]);
    assert_eq!(made.clustering(), ["id"]);
}

#[test]
fn what_was_made_is_read_back_as_it_was() {
    let made = Columns::made(&key(KeyKind::S), &SAMPLE, Some("rest"), Keeps::Rows).unwrap();
    let read = Columns::existing(&table(&made), &key(KeyKind::S), Some("rest"), Keeps::Rows).unwrap();
    assert_eq!(read.all(), made.all());
    assert_eq!(read.unknown(), made.unknown());
    assert_eq!(read.place("user.name").unwrap(), Place::Column(read.named("user_name").unwrap()));
}

#[test]
fn a_number_as_key_takes_the_type_that_holds_those_of_the_sample() {
    let of =
        |sample: &str| Columns::made(&key(KeyKind::N), &[sample], None, Keeps::Rows).unwrap().all()[0].kind.clone();
    assert_eq!(of(r#"{"id":{"N":"7"}}"#), ColumnType::Numeric);
    assert_eq!(of(r#"{"id":{"N":"12345678901234567890123456789012345678"}}"#), ColumnType::BigNumeric);
    assert_eq!(of(r#"{"id":{"N":"1E100"}}"#), ColumnType::String);
    let binary = Columns::made::<&str>(&key(KeyKind::B), &[], None, Keeps::Rows).unwrap();
    assert!(binary.clustering().is_empty(), "BYTES don't cluster");
}

#[test]
fn two_attributes_never_share_a_column() {
    let both = r#"{"id":{"S":"1"},"userId":{"S":"a"},"userid":{"S":"b"}}"#;
    let refused = Columns::made(&key(KeyKind::S), &[both], None, Keeps::Rows).unwrap_err();
    assert!(matches!(&refused, Conflict::SameColumn { first, second, .. } if first == "userId" && second == "userid"));
    let made = Columns::made(&key(KeyKind::S), &[both], Some("rest"), Keeps::Rows).unwrap();
    assert_eq!(shown(&made), ["id STRING!", "rest JSON", "userId STRING"]);
    assert!(made.place("userid").is_err(), "it goes where the unknown goes");
    assert!(made.place("rest").is_err(), "the column for the unknown is no attribute's");
}

#[test]
fn an_attribute_that_comes_later_adds_a_nullable_column_and_null_alone_adds_none() {
    let made = Columns::made::<&str>(&key(KeyKind::S), &[], None, Keeps::Rows).unwrap();
    let mut met = Met::default();
    attributes(br#"{"id":{"S":"1"},"new":{"N":"1"},"nothing":{"NULL":true},"ID":{"S":"x"}}"#)
        .unwrap()
        .iter()
        .for_each(|attribute| met.meet(attribute));
    let (grown, refused) = made.with(&met);
    assert_eq!(shown(&grown), ["id STRING!", "new NUMERIC"]);
    assert_eq!(refused.len(), 1, "{refused:?}");
}

#[test]
fn a_change_log_has_columns_of_its_own_and_no_primary_key() {
    let made = Columns::made(&key(KeyKind::S), &SAMPLE[..1], None, Keeps::Log).unwrap();
    assert_eq!(
        shown(&made)[..5],
        [
            "id STRING",
            "sluice_change STRING",
            "sluice_time TIMESTAMP",
            "sluice_sequence STRING",
            "sluice_by_ttl BOOLEAN"
        ]
    );
    let rows = Columns::made(&key(KeyKind::S), &SAMPLE[..1], None, Keeps::Rows).unwrap();
    let error = Columns::existing(&table(&rows), &key(KeyKind::S), None, Keeps::Log).unwrap_err();
    assert_eq!(error, Conflict::NoLog(log::CHANGE));
}

#[test]
fn a_table_that_others_made_is_taken_when_it_fits_and_explained_when_not() {
    let fields = |more: Json| {
        let id = json!({"name": "id", "type": "STRING", "mode": "REQUIRED"});
        json!({"schema": {"fields": [id, more]}, "tableConstraints": {"primaryKey": {"columns": ["id"]}}})
    };
    let open = |table: &Json| Columns::existing(table, &key(KeyKind::S), Some("rest"), Keeps::Rows);
    let taken = open(&fields(json!({"name": "n", "type": "INTEGER"}))).unwrap();
    assert_eq!(taken.place("n").unwrap(), Place::Column(1));
    for (table, says) in [
        (fields(json!({"name": "n", "type": "STRING", "mode": "REQUIRED"})), "Make it NULLABLE"),
        (fields(json!({"name": "rest", "type": "STRING"})), "goes into JSON alone"),
        (json!({"schema": {"fields": [{"name": "id", "type": "STRING"}]}}), "primary key is not declared"),
        (json!({"schema": {"fields": [{"name": "id", "type": "INTEGER"}]}}), "it is INTEGER"),
        (json!({"schema": {"fields": [{"name": "other", "type": "STRING"}]}}), "there is none"),
        (json!({"schema": {"fields": [{"name": "ID", "type": "STRING"}]}}), "would both go into"),
    ] {
        let error = open(&table).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
