use proptest::prelude::*;

use super::*;

fn spec(filter: Option<&str>, set: &[&str], rename: &[&str]) -> ShapeSpec {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    ShapeSpec { filter: filter.map(str::to_owned), set: owned(set), rename: owned(rename), ..ShapeSpec::default() }
}

fn applied(spec: &ShapeSpec, json: &str) -> Result<Option<String>, String> {
    let shape = Shape::new(spec).map_err(|e| e.to_string())?;
    match shape.apply(Bytes::copy_from_slice(json.as_bytes())) {
        Ok(Shaped::Item(json)) => Ok(Some(String::from_utf8(json.to_vec()).unwrap())),
        Ok(Shaped::Skipped) => Ok(None),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn filtered(filter: &str, json: &str) -> Result<Option<String>, String> {
    applied(&spec(Some(filter), &[], &[]), json)
}

const ITEM: &str = r#"{"id":{"S":"a"}, "n":{"N":"1.10"},"big":{"N":"12345678901234567890"},"b":{"B":"AQL/"},
    "tags":{"SS":["x","y"]},"m":{"M":{"deep":{"L":[{"BOOL":true},{"NULL":true}]}}}}"#;

#[test]
fn without_options_the_bytes_pass() {
    let shape = Shape::new(&ShapeSpec::default()).unwrap();
    let json = Bytes::from_static(ITEM.as_bytes());
    let Ok(Shaped::Item(out)) = shape.apply(json.clone()) else { panic!("skipped") };
    assert_eq!(out.as_ptr(), json.as_ptr());
}

#[test]
fn a_filter_sees_strings_numbers_sets_maps_and_binary() {
    for taken in [
        r#".id == "a""#,
        ".n == 1.1",
        ".n > 1 and .n < 2",
        ".big == 12345678901234567890",
        ".big > 12345678901234567889",
        r#".tags | index("x") != null"#,
        r#".tags[] == "y""#,
        ".m.deep[0]",
        "(.b | length) == 3",
        r#"select(.id == "a")"#,
        ".missing == null",
        r#".id | test("^[a-c]$")"#,
    ] {
        assert_eq!(filtered(taken, ITEM), Ok(Some(ITEM.to_owned())), "{taken}");
    }
    for left_out in [r#".id == "b""#, ".n > 1.2", "empty", ".missing", ".m.deep[1]", r#".tags[] == "z""#] {
        assert_eq!(filtered(left_out, ITEM), Ok(None), "{left_out}");
    }
}

#[test]
fn attributes_that_no_option_names_keep_their_bytes() {
    let out = applied(&spec(None, &["new=1"], &["n=price"]), ITEM).unwrap().unwrap();
    assert!(out.contains(r#""price":{"N":"1.10"}"#), "{out}");
    assert!(out.contains(r#""tags":{"SS":["x","y"]}"#), "{out}");
    assert!(out.ends_with(r#","new":{"N":"1"}}"#), "{out}");
}

#[test]
fn a_set_value_has_the_type_that_it_is_or_the_one_asked_for() {
    for (set, attribute) in [
        (r#"x="a" + .id"#, r#"{"S":"aa"}"#),
        ("x=.n + 1", r#"{"N":"2.1"}"#),
        ("x=.big + 1", r#"{"N":"12345678901234567891"}"#),
        ("x=[.id, 1, null]", r#"{"L":[{"S":"a"},{"N":"1"},{"NULL":true}]}"#),
        ("x={a: true}", r#"{"M":{"a":{"BOOL":true}}}"#),
        ("x:SS=.tags + [\"z\"]", r#"{"SS":["x","y","z"]}"#),
        ("x:NS=[1, \"2.50\"]", r#"{"NS":["1","2.50"]}"#),
        ("x:N=\"1.50\"", r#"{"N":"1.50"}"#),
        ("x:B=\"AQL/\"", r#"{"B":"AQL/"}"#),
        ("x=.m.deep", r#"{"L":[{"BOOL":true},{"NULL":true}]}"#),
        ("x=1e300", r#"{"N":"1e300"}"#),
    ] {
        let out = applied(&spec(None, &[set], &[]), ITEM).unwrap().unwrap();
        assert!(out.ends_with(&format!(r#","x":{attribute}}}"#)), "{set}: {out}");
    }
}

#[test]
fn a_bare_attribute_is_copied_with_its_type_and_empty_removes() {
    let out = applied(&spec(None, &["x=.tags", "y=.b", "z=.none", "n=empty"], &[]), ITEM).unwrap().unwrap();
    assert!(out.ends_with(r#","x":{"SS":["x","y"]},"y":{"B":"AQL/"}}"#), "{out}");
    assert!(!out.contains("1.10"), "{out}");
}

#[test]
fn renames_happen_at_once_and_never_onto_another_attribute() {
    let both = r#"{"a":{"S":"1"},"b":{"S":"2"}}"#;
    let swapped = applied(&spec(None, &[], &["a=b", "b=a"]), both);
    assert_eq!(swapped, Ok(Some(r#"{"b":{"S":"1"},"a":{"S":"2"}}"#.to_owned())));
    let onto = applied(&spec(None, &[], &["a=b"]), both).unwrap_err();
    assert_eq!(onto, "attribute a: it can't be renamed to b: the item has an attribute of that name");
    let shape = Shape::new(&spec(Some("false"), &["x=1"], &["a=c"])).unwrap();
    assert_eq!(shape.key(Bytes::from_static(br#"{"a":{"S":"1"}}"#)).unwrap(), br#"{"c":{"S":"1"}}"#.as_slice());
}

#[test]
fn expired_items_are_those_that_ttl_would_have_deleted() {
    let at = 1_800_000_000;
    let spec = ShapeSpec { skip_expired: Some("ttl".to_owned()), expired_at: Some(at), ..ShapeSpec::default() };
    let item = |ttl: &str| format!(r#"{{"id":{{"S":"a"}},"ttl":{ttl}}}"#);
    for (ttl, is_taken) in [
        (r#"{"N":"1800000000"}"#, false),
        (r#"{"N":"1800000001"}"#, true),
        (r#"{"S":"1"}"#, true),
        (r#"{"N":"0"}"#, true),
    ] {
        assert_eq!(applied(&spec, &item(ttl)).unwrap().is_some(), is_taken, "{ttl}");
    }
    assert!(applied(&spec, r#"{"id":{"S":"a"}}"#).unwrap().is_some());
}

#[test]
fn what_cannot_be_read_says_where() {
    let error = |spec: &ShapeSpec| Shape::new(spec).unwrap_err().to_string();
    assert!(error(&spec(Some(".a >"), &[], &[])).starts_with("--filter \".a >\" is no jq expression: "));
    assert!(error(&spec(Some("nothing_such(1)"), &[], &[])).contains("there is no filter nothing_such"));
    for beyond in ["halt", "env", "now", "stderr"] {
        assert!(error(&spec(Some(beyond), &[], &[])).contains(&format!("there is no filter {beyond}")), "{beyond}");
    }
    assert!(error(&spec(None, &["a"], &[])).contains("write NAME=EXPRESSION"));
    assert!(error(&spec(None, &["=1"], &[])).contains("names no attribute"));
    assert!(error(&spec(None, &[], &["a"])).contains("is not OLD=NEW"));
    assert!(error(&spec(None, &[], &["a=b", "a=c"])).contains("contradict"));
}

#[test]
fn what_cannot_be_computed_on_an_item_is_its_dead_letter() {
    let wrong = |set: &str| applied(&spec(None, &[set], &[]), ITEM).unwrap_err();
    assert!(wrong("x=.id + 1").starts_with("expression \".id + 1\": "), "{}", wrong("x=.id + 1"));
    assert!(wrong("x=(1, 2)").contains("more than one value"));
    assert!(wrong("x:N=.id").contains("attribute x: the expression gives no number"));
    assert!(filtered(".a", r#"{"a":{"N":"abc"}}"#).unwrap_err().contains("attribute a: N holds no number"));
    assert!(filtered(".a", "[]").unwrap_err().contains("not an object"));
    assert!(filtered(".a", "{").unwrap_err().contains("not JSON"));
}

proptest! {
    #[test]
    fn no_item_makes_it_panic(text in "\\PC{0,60}", n in "[-+0-9.eE]{0,8}") {
        let spec = spec(Some(".a > 1 or (.b | length) > 2"), &["x=.a", "y=.a + .a"], &["a=c"]);
        let _ = applied(&spec, &text);
        let _ = applied(&spec, &serde_json::json!({ "a": { "N": n } }).to_string());
    }
}

#[test]
fn a_key_that_was_renamed_is_found_under_its_old_names_unless_an_option_makes_it_up() {
    let shape = Shape::new(&spec(None, &["made=.x + 1"], &["a=b", "b=a", "pk=id"])).unwrap();
    let key = Bytes::from_static(br#"{"pk":{"S":"x"},"a":{"N":"1"}}"#);
    let renamed = shape.key(key.clone()).unwrap();
    assert_eq!(renamed, br#"{"id":{"S":"x"},"b":{"N":"1"}}"#.as_slice());
    assert_eq!(shape.key_before(renamed).unwrap(), key);
    for (name, before) in [("id", Some("pk")), ("b", Some("a")), ("c", Some("c")), ("made", None), ("pk", None)] {
        assert_eq!(shape.name_before(name), before, "{name}");
    }
}
