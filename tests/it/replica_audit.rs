//! A replica's audit by the real binary: drift made by hand is found and repaired, and a table that is written has none.

use std::collections::HashMap;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use sluicegate::jobs::{Audited, JobId, Journal, Kind};

use crate::running::{Ended, Server, Sluice, block_on, count, create_table, signal, until};

type Item = HashMap<String, AttributeValue>;

struct Scene {
    server: Server,
    sluice: Sluice,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let server = Server::start(options);
        for table in ["quotes", "copy"] {
            create_table(&server.cloud(), table, 10_000);
        }
        Self { sluice: Sluice::at(&server.endpoint), server }
    }

    fn verify(&self, options: &[&str]) -> Ended {
        let mut args = vec!["verify", "-t", "quotes", "--replica", "copy", "--json"];
        args.extend(options);
        if !args.contains(&"--lag") {
            args.extend(["--lag", "1s"]);
        }
        self.sluice.run(&args)
    }

    fn put(&self, table: &str, item: Item) {
        put(&self.server, table, item);
    }

    fn delete(&self, table: &str, id: &str) {
        let cloud = self.server.cloud();
        block_on(cloud.dynamodb.delete_item().table_name(table).key("id", s(id)).send()).unwrap();
    }

    fn get(&self, table: &str, id: &str) -> Option<Item> {
        let cloud = self.server.cloud();
        let reply = block_on(cloud.dynamodb.get_item().table_name(table).key("id", s(id)).consistent_read(true).send());
        reply.unwrap().item
    }

    /// Both tables with the same items, one of each type among them.
    fn filled(&self) {
        for table in ["quotes", "copy"] {
            for n in 0..200 {
                self.put(table, plain(n, 1));
            }
            for item in every_type("one") {
                self.put(table, item);
            }
        }
    }
}

fn put(server: &Server, table: &str, item: Item) {
    let cloud = server.cloud();
    block_on(cloud.dynamodb.put_item().table_name(table).set_item(Some(item)).send()).unwrap();
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(text: &str) -> AttributeValue {
    AttributeValue::N(text.to_owned())
}

fn item(id: &str, rest: impl IntoIterator<Item = (&'static str, AttributeValue)>) -> Item {
    let id = [("id".to_owned(), s(id))];
    rest.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(id).collect()
}

fn plain(id: u32, value: u32) -> Item {
    item(&format!("p{id}"), [("n", n(&value.to_string())), ("text", s("quote"))])
}

/// An item for each type; the same ids hold other values for another `seed`.
fn every_type(seed: &str) -> Vec<Item> {
    let other = seed != "one";
    let number =
        if other { "12345678901234567890123456789012345679" } else { "12345678901234567890123456789012345678" };
    let binary = |last: u8| AttributeValue::B(vec![0, 255, last].into());
    let last = u8::from(other);
    vec![
        item("t-s", [("v", s(seed))]),
        item("t-n", [("v", n(number))]),
        item("t-b", [("v", binary(last))]),
        item("t-bool", [("v", AttributeValue::Bool(other))]),
        item("t-null", [("v", if other { s("") } else { AttributeValue::Null(true) })]),
        item("t-ss", [("v", AttributeValue::Ss(vec!["a".into(), seed.into()]))]),
        item("t-ns", [("v", AttributeValue::Ns(vec!["1.5".into(), last.to_string()]))]),
        item("t-bs", [("v", AttributeValue::Bs(vec![vec![1].into(), vec![2, last].into()]))]),
        item("t-l", [("v", AttributeValue::L(vec![s("x"), n(&last.to_string())]))]),
        item("t-m", [("v", AttributeValue::M(HashMap::from([("deep".to_owned(), s(seed))])))]),
    ]
}

fn differences(ended: &Ended) -> Vec<Value> {
    let lines = ended.out.lines().filter(|line| line.contains(r#""difference""#));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn counts(line: &Value) -> [u64; 4] {
    ["equal", "missing", "extra", "different"].map(|field| line[field].as_u64().unwrap())
}

#[test]
fn drift_of_every_type_is_found_told_and_repaired() {
    let scene = Scene::new(&["--limits", "off"]);
    scene.filled();
    let line = scene.verify(&[]).expect(0).last_json();
    assert_eq!(counts(&line), [210, 0, 0, 0]);
    assert_eq!(line["digest_source"], line["digest_table"]);

    for item in every_type("two") {
        scene.put("copy", item);
    }
    scene.delete("copy", "p7");
    scene.put("copy", item("stranger", [("v", s("\u{1b}[2J"))]));
    // Equal by value is equal.
    scene.put("copy", item("p9", [("n", n("1.0")), ("text", s("quote"))]));
    let ended = scene.verify(&[]).expect(4);
    assert_eq!(counts(&ended.last_json()), [199, 1, 1, 10]);
    let found = differences(&ended);
    assert_eq!(found.len(), 12);
    let of = |id: &str| found.iter().find(|line| line["key"]["id"]["S"] == id).unwrap_or_else(|| panic!("{id}"));
    assert_eq!((&of("p7")["difference"], &of("stranger")["difference"]), (&"missing".into(), &"extra".into()));
    for (id, path) in [("t-s", "v"), ("t-n", "v"), ("t-bs", "v"), ("t-l", "v[1]"), ("t-m", "v.deep")] {
        assert_eq!(of(id)["attribute"], path, "{id}");
    }
    assert!(ended.out.chars().all(|c| !c.is_control() || c == '\n'), "the terminal obeys nothing: {}", ended.out);

    let ended = scene.verify(&["--repair", "--yes"]).expect(0);
    let line = ended.last_json();
    assert_eq!(counts(&line), [199, 0, 0, 0]);
    assert_eq!((&line["repaired"], &line["put"], &line["deleted"]), (&12.into(), &11.into(), &1.into()));
    assert_eq!(line["digest_source"], line["digest_table"]);
    assert!(differences(&ended).iter().all(|line| line["repair"] == "put" || line["repair"] == "deleted"));
    assert_eq!(counts(&scene.verify(&[]).expect(0).last_json()), [210, 0, 0, 0]);
    for item in every_type("one") {
        let id = item["id"].as_s().unwrap();
        assert_eq!(scene.get("copy", id).as_ref(), scene.get("quotes", id).as_ref(), "{id}");
    }
}

#[test]
fn a_dry_run_prints_the_repairs_and_read_only_refuses_them() {
    let scene = Scene::new(&["--limits", "off"]);
    scene.filled();
    scene.delete("copy", "p7");
    scene.put("copy", item("stranger", []));
    let ended = scene.verify(&["--repair", "--dry-run"]).expect(4);
    let printed =
        |operation: &str| ended.out.lines().filter(|l| l.contains(&format!(r#""would_send":"{operation}""#))).count();
    assert_eq!((printed("PutItem"), printed("DeleteItem")), (1, 1), "{}", ended.out);
    assert_eq!(ended.last_json()["repaired"], 0);
    let refused = scene.verify(&["--repair", "--read-only"]).expect(1);
    assert!(refused.err.contains("read-only mode"), "{}", refused.err);
    let unasked = scene.verify(&["--repair"]).expect(2);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!((scene.get("copy", "p7"), count(&scene.server.cloud(), "copy")), (None, 210));
}

/// Ends the writer also when an assertion fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_table_that_is_written_has_no_false_drift() {
    let faults = ["--limits", "off", "--faults", "throttle=5%,error=2%,latency=1ms", "--seed", "7"];
    let scene = Scene::new(&faults);
    for n in 0..400 {
        for table in ["quotes", "copy"] {
            scene.put(table, plain(n, 0));
        }
    }
    // A replicator that follows by hand: each write reaches the copy a moment after the source.
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut behind = std::collections::VecDeque::new();
            for value in 1.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let (id, is_gone) = (value * 7 % 400, value % 5 == 0);
                let written = |table: &str| {
                    if is_gone { scene.delete(table, &format!("p{id}")) } else { scene.put(table, plain(id, value)) }
                };
                written("quotes");
                behind.push_back((id, value, is_gone));
                if behind.len() > 20 {
                    let (id, value, is_gone) = behind.pop_front().unwrap();
                    if is_gone {
                        scene.delete("copy", &format!("p{id}"));
                    } else {
                        scene.put("copy", plain(id, value));
                    }
                }
            }
            // What is on its way arrives.
            for (id, value, is_gone) in behind {
                if is_gone {
                    scene.delete("copy", &format!("p{id}"));
                } else {
                    scene.put("copy", plain(id, value));
                }
            }
        });
        let _ends = Stops(&stop);
        for _ in 0..3 {
            let ended = scene.verify(&["--lag", "3s"]);
            let last = ended.last_json();
            assert_eq!(ended.code, 0, "{last} {}", ended.err);
            assert!(last["changed"].as_u64().unwrap() > 0, "the copy was behind: {last}");
        }
    });
    assert_eq!(scene.verify(&[]).expect(0).last_json()["missing"], 0);
}

/// A replicate job in the background, ended with the test.
struct Replicator(Child);

impl Replicator {
    fn start(sluice: &Sluice) -> Self {
        let args = [
            "replicate",
            "-t",
            "quotes",
            "--to",
            "copy",
            "--rename",
            "text=words",
            "--audit-rcu",
            "100",
            "--yes",
            "--json",
        ];
        Self(sluice.command().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Replicator {
    fn drop(&mut self) {
        // Already gone where the test killed it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The newest replicate job, and what its audit found.
fn audited(sluice: &Sluice) -> Option<(JobId, Audited)> {
    let journal = Journal::open(&sluice.state.path().join("journal.sqlite")).ok()?;
    let job = journal.jobs().ok()?.into_iter().find(|job| job.kind() == Kind::Replicate)?;
    Some((job.id.clone(), Audited::of(&journal, &job.id)?))
}

#[test]
fn the_audit_beside_a_replica_finds_what_drifts_and_goes_on_where_a_killed_job_stopped() {
    let scene = Scene::new(&["--limits", "off"]);
    for n in 0..120 {
        scene.put("quotes", plain(n, n));
    }
    let mut replicator = Replicator::start(&scene.sluice);
    let clean = |audit: &Audited| audit.before.is_some_and(|found| found.checked >= 240 && found.drift() == 0);
    until("a pass found nothing", || audited(&scene.sluice).filter(|(_, audit)| clean(audit)));

    let (id, _) = audited(&scene.sluice).unwrap();
    let row = scene.sluice.run(&["jobs", &id.0, "--json"]).expect(0).last_json();
    let replica = &row["replica"];
    assert!(replica["lag_ms"].is_number() && replica["trim_seconds"].as_f64().unwrap() > 80_000.0, "{row}");
    assert!(replica["audit"]["before"]["checked"].as_u64().unwrap() >= 240, "{row}");
    assert_eq!((&replica["audit"]["drift"], &replica["changes"]["scanned"]), (&0.into(), &120.into()), "{row}");
    let printed = scene.sluice.run(&["jobs", &id.0]).expect(0).out;
    assert!(printed.contains("time to trim") && printed.contains("drift         none"), "{printed}");

    // Behind the replicator's back.
    scene.delete("copy", "p7");
    scene.put("copy", item("stranger", [("n", n("1"))]));
    scene.put("copy", item("guest", [("n", n("1"))]));
    scene.put("copy", item("p9", [("n", n("9")), ("words", s("other"))]));
    let (id, found) = until("all of it is found in one pass", || {
        audited(&scene.sluice).filter(|(_, audit)| audit.before.is_some_and(|found| found.drift() == 4))
    });
    let before = found.before.unwrap();
    assert_eq!((before.missing, before.extra, before.different), (1, 2, 1));

    // A job that was killed is followed by one that knows what was found.
    signal(replicator.0.id(), "KILL");
    replicator.0.wait().unwrap();
    replicator = Replicator::start(&scene.sluice);
    let (next, audit) = until("the next job audits", || audited(&scene.sluice).filter(|(next, _)| *next != id));
    assert!(audit.pass >= found.pass && audit.drift() == 4, "{audit:?} after {found:?}");

    let whole = scene.sluice.run(&["verify", "--job", &next.0, "--json"]).expect(4);
    assert_eq!(counts(&whole.last_json()), [118, 1, 2, 1]);
    let printed = scene.sluice.run(&["verify", "--job", &next.0, "--listed", "--repair", "--dry-run"]).expect(4);
    assert_eq!(printed.out.matches("would_send").count(), 4, "{}", printed.out);
    // What was listed as extra is left alone once the source has it.
    scene.put("quotes", item("guest", [("n", n("2"))]));
    until("the replica follows", || (scene.get("copy", "guest")?["n"] == n("2")).then_some(()));
    let repaired = scene.sluice.run(&["verify", "--job", &next.0, "--listed", "--repair", "--yes", "--json"]).expect(0);
    let line = repaired.last_json();
    assert_eq!((&line["checked"], &line["repaired"], &line["deleted"]), (&4.into(), &3.into(), &1.into()));
    assert!(scene.get("copy", "guest").is_some() && scene.get("copy", "stranger").is_none());
    assert_eq!(
        counts(&scene.sluice.run(&["verify", "--job", &next.0, "--json"]).expect(0).last_json()),
        [121, 0, 0, 0]
    );
    assert_eq!(scene.get("copy", "p9").unwrap()["words"], s("quote"));
    until("a pass is clean again", || {
        audited(&scene.sluice).filter(|(_, audit)| audit.before.is_some_and(|found| found.drift() == 0)).map(drop)
    });
    drop(replicator);
}
