//! Proof: a backup against a table by the real binary, equal and not, whole and sampled.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::running::{Ended, Server, Sluice, block_on, create_table, item, signal, until, write_csv64};
use crate::sources::chain;

/// FORMATS.md 2: the vectors that are items, as lines of csv64.
pub const VECTORS: [&str; 9] = [
    "eyJ1cGRhdGVkX2F0Ijp7Ik4iOiIxNDQ3MjAzNjEyIn0sImlkIjp7IlMiOiJibnBrT25WelpBPT1cbiJ9LCJyYXRlIjp7Ik4iOiIwLjY1NTAzNTg1MDExMjA3NjcifX0=",
    "eyJpZCI6eyJTIjoiYjEifSwiYiI6eyJCIjoiQVFMLyJ9fQ==",
    "eyJpZCI6eyJTIjoiYjEifSwiYiI6eyJCIjp7InR5cGUiOiJCdWZmZXIiLCJkYXRhIjpbMSwyLDI1NV19fX0=",
    "eyJpZCI6eyJTIjoiYjEifSwiYiI6eyJCIjpbMSwyLDI1NV19fQ==",
    "eyJpZCI6eyJTIjoiYnMifSwieCI6eyJCUyI6W3sidHlwZSI6IkJ1ZmZlciIsImRhdGEiOlsxXX0seyJ0eXBlIjoiQnVmZmVyIiwiZGF0YSI6WzI1NSwwXX1dfX0=",
    "eyJpZCI6eyJTIjoicyJ9LCJzcyI6eyJTUyI6WyJiIiwiYSJdfSwibnMiOnsiTlMiOlsiMSIsIjEuNTAiLCItMkUrMyJdfX0=",
    "eyJpZCI6eyJTIjoibSJ9LCJtIjp7Ik0iOnsibCI6eyJMIjpbeyJOVUxMIjp0cnVlfSx7IkJPT0wiOmZhbHNlfSx7Ik0iOnt9fSx7IkwiOltdfV19fX19",
    "eyJpZCI6eyJTIjoibiJ9LCJuIjp7Ik4iOiIxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OCJ9fQ==",
    "eyJpZCI6eyJTIjoiw6nwn5iA4oCoIn0sImUiOnsiUyI6IiJ9fQ==",
];

struct Scene {
    server: Server,
    sluice: Sluice,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let server = Server::start(&["--limits", "off"]);
        create_table(&server.cloud(), "historical", 10_000);
        Self { sluice: Sluice::at(&server.endpoint), server, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn restore(&self, source: &Path, options: &[&str]) -> Ended {
        let mut args = vec!["restore", source.to_str().unwrap(), "-t", "historical", "--json"];
        args.extend(options);
        self.sluice.run(&args)
    }

    fn verify(&self, source: &Path, options: &[&str]) -> Ended {
        let mut args = vec!["verify", source.to_str().unwrap(), "-t", "historical", "--json"];
        args.extend(options);
        self.sluice.run(&args)
    }

    fn put(&self, item: &[(&str, AttributeValue)]) {
        let item: HashMap<String, AttributeValue> =
            item.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let cloud = self.server.cloud();
        block_on(cloud.dynamodb.put_item().table_name("historical").set_item(Some(item)).send()).unwrap();
    }

    fn delete(&self, id: &str) {
        let cloud = self.server.cloud();
        let key = AttributeValue::S(id.to_owned());
        block_on(cloud.dynamodb.delete_item().table_name("historical").key("id", key).send()).unwrap();
    }
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(text: &str) -> AttributeValue {
    AttributeValue::N(text.to_owned())
}

/// The differences that were printed before the last line.
fn differences(ended: &Ended) -> Vec<Value> {
    let lines = ended.out.lines().filter(|line| line.contains(r#""difference""#));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_different_key_is_told_with_its_first_differing_attribute() {
    let scene = Scene::new();
    let backup = scene.path("b.csv");
    write_csv64(&backup, (0..3_000).map(item));
    scene.restore(&backup, &[]).expect(0);
    scene.put(&[("id", s("id-7\n")), ("updated_at", n("1447203619.0")), ("rate", n("7"))]);
    scene.put(&[("id", s("id-9\n")), ("updated_at", n("1447203621")), ("rate", n("0.91")), ("new", s("\u{1b}[2J"))]);
    scene.put(&[("id", s("stranger"))]);
    scene.delete("id-11\n");
    let ended = scene.verify(&backup, &[]).expect(4);
    let last = ended.last_json();
    for (field, count) in [
        ("checked", 3_001),
        ("equal", 2_997),
        ("missing", 1),
        ("extra", 1),
        ("different", 2),
        ("explained", 2),
        ("changed", 0),
    ] {
        assert_eq!(last[field], count, "{field} of {last}");
    }
    assert_ne!(last["digest_source"], last["digest_table"]);
    let found = differences(&ended);
    let of = |id: &str| found.iter().find(|line| line["key"]["id"]["S"] == id).unwrap_or_else(|| panic!("{id}"));
    let seven = of("id-7\n");
    assert_eq!((&seven["difference"], &seven["attribute"]), (&"different".into(), &"rate".into()));
    assert_eq!((&seven["source"], &seven["table"]), (&r#"{"N":"0.71"}"#.into(), &r#"{"N":"7"}"#.into()));
    let nine = of("id-9\n");
    assert_eq!((&nine["attribute"], &nine["source"]), (&"new".into(), &Value::Null));
    assert_eq!(of("stranger")["difference"], "extra");
    assert_eq!(of("id-11\n")["difference"], "missing");
    assert!(ended.out.chars().all(|c| !c.is_control() || c == '\n'), "the terminal obeys nothing: {}", ended.out);
}

#[test]
fn every_type_and_legacy_binary_are_proven_by_value() {
    let scene = Scene::new();
    let backup = scene.path("vectors.csv");
    std::fs::write(&backup, VECTORS.join("\n")).unwrap();
    scene.restore(&backup, &[]).expect(0);
    let last = scene.verify(&backup, &[]).expect(0).last_json();
    // Three vectors are one key, and one item.
    assert_eq!((&last["checked"], &last["equal"], &last["duplicates"]), (&7.into(), &7.into(), &2.into()));
    assert_eq!(last["digest_source"], last["digest_table"]);
    // Equal by value, not by spelling.
    scene.put(&[
        ("id", s("s")),
        ("ss", AttributeValue::Ss(vec!["a".into(), "b".into()])),
        ("ns", AttributeValue::Ns(vec!["-2000".into(), "1.0".into(), "1.5".into()])),
    ]);
    scene.verify(&backup, &[]).expect(0);
    scene.put(&[("id", s("bs")), ("x", AttributeValue::Bs(vec![vec![1].into(), vec![255, 1].into()]))]);
    let ended = scene.verify(&backup, &[]).expect(4);
    assert_eq!(differences(&ended)[0]["attribute"], "x");
}

#[test]
fn of_a_key_that_is_twice_in_the_backup_the_table_may_hold_either_and_it_is_said() {
    let scene = Scene::new();
    let backup = scene.path("twice.jsonl");
    let line = |n: u32| format!(r#"{{"id":{{"S":"a"}},"n":{{"N":"{n}"}}}}"#);
    std::fs::write(&backup, [line(1), line(2)].join("\n")).unwrap();
    for (there, code) in [("1", 0), ("2", 0), ("3", 4)] {
        scene.put(&[("id", s("a")), ("n", n(there))]);
        let last = scene.verify(&backup, &[]).expect(code).last_json();
        assert_eq!((&last["checked"], &last["duplicates"]), (&1.into(), &1.into()), "{there}");
        assert_eq!(last["digest_source"] == last["digest_table"], code == 0);
    }
    let said = scene.sluice.run(&["verify", backup.to_str().unwrap(), "-t", "historical"]).expect(4).out;
    assert!(said.contains("1 lines of the source repeat a key"), "{said}");
}

#[test]
fn a_chain_is_proven_at_each_until_and_one_stage_more_or_less_is_not() {
    let scene = Scene::new();
    let root = scene.path("exports");
    let states = chain(&root);
    let until = |step: usize| format!("2026-11-20T{:02}:00:00Z", step + 1);
    scene.restore(&root, &["--until", &until(2)]).expect(0);
    let last = scene.verify(&root, &["--until", &until(2)]).expect(0).last_json();
    assert_eq!(last["equal"], states[2].len());
    let later = scene.verify(&root, &[]).expect(4);
    let differs = |field: &str| later.last_json()[field].as_u64().unwrap();
    let (a, b) = (&states[2], &states[3]);
    assert_eq!(differs("missing"), b.keys().filter(|id| !a.contains_key(*id)).count() as u64);
    assert_eq!(differs("extra"), a.keys().filter(|id| !b.contains_key(*id)).count() as u64);
    assert_eq!(differs("different"), b.iter().filter(|(id, n)| a.get(*id).is_some_and(|m| m != *n)).count() as u64);
    assert_eq!(differs("explained"), differs("different"));
}

#[test]
fn a_shaped_restore_is_proven_by_the_same_options_and_by_no_others() {
    let scene = Scene::new();
    let backup = scene.path("b.jsonl");
    let lines = (0..500).map(|id| format!(r#"{{"id":{{"S":"i{id}"}},"n":{{"N":"{id}"}}}}"#));
    std::fs::write(&backup, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let shape = ["--filter", ".n >= 100", "--rename", "n=m", "--set", "twice=.n * 2"];
    scene.restore(&backup, &shape).expect(0);
    let last = scene.verify(&backup, &shape).expect(0).last_json();
    assert_eq!((&last["equal"], &last["skipped"]), (&400.into(), &100.into()));
    let last = scene.verify(&backup, &[]).expect(4).last_json();
    assert_eq!((&last["missing"], &last["different"]), (&100.into(), &400.into()));
}

#[test]
fn a_sample_says_with_what_confidence_and_finds_what_differs_everywhere() {
    let scene = Scene::new();
    let backup = scene.path("b.csv");
    write_csv64(&backup, (0..5_000).map(item));
    scene.restore(&backup, &[]).expect(0);
    let last = scene.verify(&backup, &["--sample", "3000"]).expect(0).last_json();
    assert_eq!((&last["checked"], &last["equal"]), (&3_000.into(), &3_000.into()));
    assert_eq!(
        last["confidence"],
        "no difference in 3,000 sampled keys: with 95 % confidence fewer than 0.1 % of the keys differ"
    );
    let last = scene.verify(&backup, &["--sample", "9000"]).expect(0).last_json();
    assert_eq!(last["confidence"], "no difference: all 5,000 keys of the source were compared");
    write_csv64(&backup, (0..10_000).map(item));
    let ended = scene.verify(&backup, &["--sample", "100"]).expect(4);
    let missing = ended.last_json()["missing"].as_u64().unwrap();
    assert!((20..80).contains(&missing), "half of the keys are missing: {missing} of 100");
    let words = ended.last_json()["confidence"].as_str().unwrap().to_owned();
    assert!(words.contains("sampled keys differ: with 95 % confidence between"), "{words}");
}

#[test]
fn a_large_compressed_backup_and_many_files_are_explained_alike() {
    let scene = Scene::new();
    let folder = scene.path("many");
    std::fs::create_dir(&folder).unwrap();
    let pad = "x".repeat(2_000);
    let line = |id: usize, pad: &str| format!("{{\"id\":{{\"S\":\"i{id}\"}},\"p\":{{\"S\":\"{pad}{id}\"}}}}\n");
    let text = |ids: std::ops::Range<usize>| ids.map(|id| line(id, &pad)).collect::<String>();
    std::fs::write(folder.join("a.jsonl"), text(0..1_500)).unwrap();
    std::fs::write(folder.join("b.jsonl.zst"), zstd::encode_all(text(1_500..3_000).as_bytes(), 1).unwrap()).unwrap();
    scene.restore(&folder, &[]).expect(0);
    let strangers = ["i3", "i1400", "i1600", "i2999"];
    for id in strangers {
        scene.put(&[("id", s(id)), ("p", s("other"))]);
    }
    let ended = scene.verify(&folder, &[]).expect(4);
    assert_eq!(ended.last_json()["explained"], 4);
    for found in differences(&ended) {
        assert_eq!((&found["attribute"], &found["table"]), (&"p".into(), &r#"{"S":"other"}"#.into()));
        let id = found["key"]["id"]["S"].as_str().unwrap();
        assert!(strangers.contains(&id), "{id}");
        assert!(found["source"].as_str().unwrap().starts_with(r#"{"S":"xxx"#), "{found}");
    }
}

#[test]
fn lines_that_hold_no_item_are_counted() {
    let scene = Scene::new();
    let backup = scene.path("b.csv");
    std::fs::write(&backup, format!("{}\nnot base64!\nW10=\n", VECTORS[1])).unwrap();
    scene.restore(&backup, &[]).expect(3);
    let last = scene.verify(&backup, &[]).expect(0).last_json();
    assert_eq!((&last["equal"], &last["dead"]), (&1.into(), &2.into()));
}

#[test]
fn a_killed_verify_leaves_nothing_behind_once_another_runs() {
    let scene = Scene::new();
    let backup = scene.path("b.csv");
    write_csv64(&backup, (0..2_000).map(item));
    scene.restore(&backup, &[]).expect(0);
    let spilled = || {
        let names = std::fs::read_dir(scene.sluice.state.path()).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".spill-")).count()
    };
    // So slow that it is still reading when it is killed.
    let args = ["verify", backup.to_str().unwrap(), "-t", "historical", "--read-budget", "1"];
    let mut child = scene.sluice.start(&args);
    until("it spills", || (spilled() == 1).then_some(()));
    signal(child.id(), "KILL");
    child.wait().unwrap();
    assert_eq!(spilled(), 1);
    scene.verify(&backup, &[]).expect(0);
    assert_eq!(spilled(), 0);
}

#[test]
fn an_interrupted_verify_says_that_it_starts_over() {
    let scene = Scene::new();
    let backup = scene.path("b.csv");
    write_csv64(&backup, (0..2_000).map(item));
    scene.restore(&backup, &[]).expect(0);
    let args = ["verify", backup.to_str().unwrap(), "-t", "historical", "--read-budget", "1"];
    let child = scene.sluice.start(&args);
    let journal = scene.sluice.state.path().join("journal.sqlite");
    until("it runs", || {
        let jobs = sluicegate::jobs::Journal::open(&journal).ok()?.jobs().ok()?;
        jobs.iter().any(|job| job.id.0.starts_with("v-") && job.counters.read > 0).then_some(())
    });
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("starts over"), "{said}");
}
