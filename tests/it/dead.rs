//! Dead letters by the real binary: listed, shown, edited, replayed behind the fence, given up.

use std::collections::HashMap;
use std::path::PathBuf;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sluicegate::cloud::Context;
use sluicegate::flow::{Counters, Letter};
use sluicegate::jobs::journal::Commit;
use sluicegate::jobs::{JobId, Journal, RestoreSpec, Spec};

use crate::running::{Ended, Server, Sluice, block_on, count, create_table, ended};

struct Scene {
    server: Server,
    sluice: Sluice,
    folder: tempfile::TempDir,
    job: String,
}

/// A good item, one whose key is a number, one whose second attribute has no type, and a line that is no base64.
const LINES: [&str; 4] =
    [r#"{"id":{"S":"good"}}"#, r#"{"id":{"N":"7"},"v":{"S":"x"}}"#, r#"{"id":{"S":"b"},"v":1}"#, ""];

impl Scene {
    /// A restore that left three dead letters.
    fn new() -> Self {
        let server = Server::start(&["--limits", "off"]);
        create_table(&server.cloud(), "historical", 1_000);
        let folder = tempfile::tempdir().unwrap();
        let backup = folder.path().join("b.csv");
        let rows = LINES
            .map(|line| if line.is_empty() { "not base64!\u{1b}[2J".into() } else { BASE64_STANDARD.encode(line) });
        std::fs::write(&backup, rows.join("\n")).unwrap();
        let sluice = Sluice::at(&server.endpoint);
        let restored = sluice.run(&["restore", backup.to_str().unwrap(), "-t", "historical", "--json"]).expect(3);
        let job = restored.last_json()["job"].as_str().unwrap().to_owned();
        Self { server, sluice, folder, job }
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.sluice.state.path().join("journal.sqlite")).unwrap()
    }

    /// `sluice dead ACT JOB …`
    fn dead(&self, act: &str, rest: &[&str]) -> Ended {
        self.sluice.run(&[&["dead", act, &self.job], rest].concat())
    }

    fn list(&self) -> Vec<Value> {
        let listed = self.dead("list", &["--json"]).expect(0);
        listed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The number of the letter whose reason contains `text`.
    fn number(&self, text: &str) -> String {
        let list = self.list();
        let found = list.iter().find(|dead| dead["reason"].as_str().unwrap().contains(text));
        found.unwrap_or_else(|| panic!("no letter of {text} in {list:?}"))["number"].to_string()
    }

    /// Edits with a script in the place of an editor.
    fn edit(&self, number: &str, editor: &str) -> Ended {
        ended(self.sluice.command().args(["dead", "edit", &self.job, number]).env("VISUAL", "").env("EDITOR", editor))
    }

    fn put(&self, id: &str, value: &str) {
        let item =
            HashMap::from([("id", id), ("v", value)].map(|(n, v)| (n.to_owned(), AttributeValue::S(v.to_owned()))));
        block_on(self.server.cloud().dynamodb.put_item().table_name("historical").set_item(Some(item)).send()).unwrap();
    }

    fn value(&self, id: &str) -> Option<String> {
        let key = AttributeValue::S(id.to_owned());
        let cloud = self.server.cloud();
        let found =
            block_on(cloud.dynamodb.get_item().table_name("historical").key("id", key).consistent_read(true).send());
        Some(found.unwrap().item?.remove("v")?.as_s().unwrap().clone())
    }

    /// read, written, skipped, dead; and that they add up.
    fn counts(&self) -> [u64; 4] {
        let counters = self.journal().job(&JobId(self.job.clone())).unwrap().counters;
        assert_eq!(counters.read, counters.written + counters.skipped + counters.dead + counters.deleted);
        [counters.read, counters.written, counters.skipped, counters.dead]
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("b.csv")
    }
}

const TO_STRING: &str = r#"sed -i 's/"N"/"S"/'"#;

#[test]
fn letters_are_listed_as_json_lines_and_shown_with_their_line_and_nothing_that_a_terminal_obeys() {
    let scene = Scene::new();
    let list = scene.list();
    assert_eq!(list.len(), 3);
    let bad = list.iter().find(|dead| dead["reason"].as_str().unwrap().contains("base64")).unwrap();
    assert_eq!(bad["job"], scene.job.as_str());
    assert_eq!(bad["source"], scene.backup().to_str().unwrap());
    assert_eq!(BASE64_STANDARD.decode(bad["bytes"].as_str().unwrap()).unwrap(), b"not base64!\x1b[2J");
    for field in ["number", "line", "offset", "shard", "sequence", "reason", "state"] {
        assert!(bad.get(field).is_some(), "{field} is missing from {bad}");
    }
    let shown = scene.dead("show", &[&scene.number("base64")]).expect(0).out;
    assert!(shown.contains("line    4"), "{shown}");
    assert!(shown.contains("6e 6f 74 20 62 61 73 65"), "bytes that are no text are in hex: {shown}");
    assert!(shown.chars().all(|c| !c.is_control() || c == '\n'), "{shown}");
    let shown = scene.dead("show", &[&scene.number("type N")]).expect(0).out;
    assert!(shown.contains("\"N\": \"7\""), "JSON is set out: {shown}");
    scene.dead("show", &["99"]).expect(1);
    scene.sluice.run(&["dead", "list", "r-none"]).expect(1);
}

#[test]
fn an_edited_letter_is_checked_then_replayed_and_the_counters_follow() {
    let scene = Scene::new();
    let number = scene.number("type N");
    assert_eq!(scene.counts(), [4, 1, 0, 3]);
    let held = scene.dead("replay", &[&number]).expect(3);
    assert!(held.out.contains("type N"), "unedited it is as unfit as it was: {}", held.out);
    let edited = scene.edit(&number, TO_STRING).expect(0);
    assert!(edited.out.contains("it is fit now"), "{edited:?}");
    assert!(scene.edit(&number, "true").expect(0).out.contains("nothing was changed"));
    let replayed = scene.dead("replay", &[&number, "--json"]).expect(0);
    assert_eq!(replayed.last_json()["written"], 1);
    assert_eq!(scene.value("7").as_deref(), Some("x"));
    assert_eq!(scene.counts(), [4, 2, 0, 2]);
    assert_eq!(scene.list().len(), 2);
    let all = scene.dead("list", &["--all"]).expect(0).out;
    assert!(all.contains("replayed"), "{all}");
    scene.dead("replay", &[&number]).expect(1);
    let notes = scene.sluice.run(&["jobs", &scene.job]).expect(0).out;
    assert!(notes.contains("dead letters replayed: 1 written"), "{notes}");
    let audit = scene.sluice.run(&["audit", "--json"]).expect(0).out;
    let put = audit.lines().find(|line| line.contains("PutItem")).unwrap_or_else(|| panic!("{audit}"));
    assert!(put.contains(&scene.job), "{put}");
}

#[test]
fn a_bad_edit_says_why_and_is_kept_for_the_next_one() {
    let scene = Scene::new();
    let number = scene.number("attribute v");
    let bad = scene.edit(&number, r#"sed -i 's/1/{"N":"x"}/'"#).expect(1);
    assert!(bad.err.contains("is not a number") || bad.err.contains("not a number"), "{}", bad.err);
    assert!(bad.err.contains("it is kept"), "{}", bad.err);

    scene.edit(&number, r#"sed -i 's/"x"/"5"/'"#).expect(0);
    scene.dead("replay", &[&number]).expect(0);
    assert_eq!(count(&scene.server.cloud(), "historical"), 2);
    let failed = scene.edit(&scene.number("base64"), "false").expect(1);
    assert!(failed.err.contains("the editor \"false\""), "{}", failed.err);
}

#[test]
fn the_fence_holds_a_letter_back_from_an_item_that_is_there() {
    let scene = Scene::new();
    let number = scene.number("type N");
    scene.edit(&number, TO_STRING).expect(0);
    scene.put("7", "newer");
    let held = scene.dead("replay", &[&number, "--json"]).expect(3);
    assert_eq!((&held.last_json()["held"], &held.last_json()["written"]), (&1.into(), &0.into()));
    assert_eq!(scene.value("7").as_deref(), Some("newer"));
    assert_eq!(scene.counts(), [4, 1, 0, 3]);
    assert!(scene.dead("show", &[&number]).expect(0).out.contains("held back"));
    let states: Vec<Value> = scene.list().iter().map(|dead| dead["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| *state == "held").count(), 1, "{states:?}");
    let listed = scene.dead("list", &[]).expect(0).out;
    assert!(listed.lines().any(|line| line.contains("held  ") && line.contains("held back")), "{listed}");
    scene.dead("replay", &[&number, "--overwrite"]).expect(2);
    scene.dead("replay", &[&number, "--overwrite", "--yes"]).expect(0);
    assert_eq!(scene.value("7").as_deref(), Some("x"));
    assert_eq!(scene.counts(), [4, 2, 0, 2]);
}

#[test]
fn a_letter_whose_own_item_is_there_was_replayed_by_a_run_that_did_not_live_to_say_so() {
    let scene = Scene::new();
    let number = scene.number("type N");
    scene.edit(&number, TO_STRING).expect(0);
    scene.put("7", "x");
    let replayed = scene.dead("replay", &[&number, "--json"]).expect(0);
    assert!(replayed.out.contains("already_there"), "{}", replayed.out);
    assert_eq!(scene.counts(), [4, 2, 0, 2]);
}

#[test]
fn some_are_chosen_by_reason_and_nothing_is_sent_in_a_dry_run_or_read_only() {
    let scene = Scene::new();
    scene.edit(&scene.number("type N"), TO_STRING).expect(0);
    let dry = scene.dead("replay", &["--all", "--dry-run"]).expect(3);
    assert!(dry.out.contains(r#""would_send":"PutItem""#), "{dry:?}");
    scene.dead("replay", &["--all", "--read-only"]).expect(1);
    assert_eq!(count(&scene.server.cloud(), "historical"), 1);
    assert_eq!(scene.list().len(), 3);
    scene.dead("replay", &["--reason", "no such reason"]).expect(0);
    scene.dead("replay", &["--reason", "type N"]).expect(0);
    assert_eq!(scene.list().len(), 2);
    scene.dead("replay", &[]).expect(2);
}

#[test]
fn dropping_wants_a_yes_and_counts_as_skipped() {
    let scene = Scene::new();
    scene.dead("drop", &["--all"]).expect(2);
    scene.dead("drop", &["--all", "--yes", "--read-only"]).expect(1);
    assert_eq!(scene.counts(), [4, 1, 0, 3]);
    scene.dead("drop", &["--all", "--yes"]).expect(0);
    assert_eq!(scene.counts(), [4, 1, 3, 0]);
    let list = scene.dead("list", &[]).expect(0).out;
    assert!(list.contains("no open dead letters"), "{list}");
    assert_eq!(scene.dead("list", &["--all", "--json"]).expect(0).out.lines().count(), 3, "they are kept");
    let audit = scene.sluice.run(&["audit", "--commands"]).expect(0).out;
    assert_eq!(audit.matches("sluice dead drop r-").count(), 1, "{audit}");
}

#[test]
fn a_put_request_that_died_on_a_stream_is_replayed_into_its_own_table() {
    let scene = Scene::new();
    create_table(&scene.server.cloud(), "other", 1_000);
    let mut journal = scene.journal();
    let context = Context { endpoint_url: Some(scene.server.endpoint.clone()), ..Context::default() };
    let spec = Spec::Restore(RestoreSpec {
        table: "historical".into(),
        stream: Some("restore".into()),
        ..RestoreSpec::default()
    });
    let id = journal.create_job(&spec, &context, None).unwrap();
    let letter = |n: u32, payload: &str| Letter {
        source: "restore".into(),
        line: None,
        offset: None,
        shard: Some("shardId-000000000000".into()),
        sequence: Some(n.to_string()),
        reason: "table other does not exist".into(),
        payload: payload.to_owned().into(),
    };
    let letters = [
        letter(1, r#"{"TableName":"other","Item":{"id":{"S":"a"}}}"#),
        letter(
            2,
            r#"{"TableName":"other","Item":{"id":{"S":"b"},"n":{"N":"1"}},"ConditionExpression":"attribute_not_exists(n)"}"#,
        ),
        letter(3, r#"{"id":{"S":"bare"}}"#),
    ];
    let counters = Counters { read: 3, dead: 3, ..Counters::default() };
    journal.commit(&id, &Commit { counters, letters: &letters, ..Commit::default() }).unwrap();
    let replayed = scene.sluice.run(&["dead", "replay", &id.0, "--all", "--json"]).expect(0);
    assert_eq!(replayed.last_json()["written"], 3);
    assert_eq!(count(&scene.server.cloud(), "other"), 2);
    // A bare item is for the job's own table.
    assert_eq!(count(&scene.server.cloud(), "historical"), 2);
    let counters = journal.job(&id).unwrap().counters;
    assert_eq!((counters.written, counters.dead), (3, 0));
}
