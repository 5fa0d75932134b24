//! Whole autoscalers by the real binary against the embedded AWS, with a past of metrics that nobody has to wait for.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::Value;
use sluicegate::cloud::{Cloud, Context, Guard};
use sluicegate::jobs::Journal;
use sluicegate::jobs::journal::{State, now_ms};
use sluicegate::local::{Local, Options};

use crate::running::{Ended, Sluice, block_on, create_table, signal, until};

const ARN: &str = "arn:aws:sns:us-east-1:000000000000:capacity";

struct Scene {
    local: Local,
    cloud: Cloud,
    sluice: Sluice,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let local = block_on(Local::start(Options::default())).unwrap();
        let context = Context { endpoint_url: Some(local.endpoint().to_owned()), ..Context::default() };
        let cloud = block_on(Cloud::connect(&context, Guard::open())).unwrap();
        let sluice = Sluice::at(local.endpoint());
        Self { local, cloud, sluice, folder: tempfile::tempdir().unwrap() }
    }

    /// Every minute from ten ago on, so much was consumed each second.
    fn used(&self, metric: &'static str, dimensions: &[(&'static str, &str)], per_second: f64) {
        let now = now_ms();
        for minute in 0..=10 {
            self.local.metrics().record("AWS/DynamoDB", metric, dimensions, now - minute * 60_000, per_second * 60.0);
        }
    }

    fn writes(&self, table: &str, per_second: f64) {
        self.used("ConsumedWriteCapacityUnits", &[("TableName", table)], per_second);
    }

    fn rules(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("rules.toml");
        fs::write(&path, text).unwrap();
        path
    }

    fn once(&self, rules: &str) -> Ended {
        let path = self.rules(rules);
        self.sluice.run(&["autoscale", "--config", path.to_str().unwrap(), "--once", "--json"])
    }

    fn log(&self) -> Vec<Value> {
        let log = self.sluice.run(&["autoscale", "--log", "--json"]).expect(0);
        log.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn wcu(&self, table: &str) -> i64 {
        settled(&self.cloud, table).provisioned_throughput.unwrap().write_capacity_units.unwrap()
    }
}

fn settled(cloud: &Cloud, table: &str) -> aws_sdk_dynamodb::types::TableDescription {
    until("the table is active", || {
        let described = block_on(cloud.dynamodb.describe_table().table_name(table).send()).ok()?.table?;
        (described.table_status.as_ref()?.as_str() == "ACTIVE").then_some(described)
    })
}

const WRITES: &str = "[[table]]\nname = \"events\"\nread.scale = false\n";

#[test]
fn a_busy_table_is_raised_and_an_idle_one_comes_down_each_with_its_reason() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events-busy", 130);
    create_table(&scene.cloud, "events-idle", 400);
    create_table(&scene.cloud, "other", 400);
    scene.writes("events-busy", 247.0);
    let ended = scene.once(WRITES).expect(0).last_json();
    assert_eq!((&ended["kind"], &ended["raised"], &ended["lowered"]), (&"autoscale".into(), &1.into(), &1.into()));
    assert_eq!((scene.wcu("events-busy"), scene.wcu("events-idle"), scene.wcu("other")), (371, 200, 400));
    let log = scene.log();
    let told: Vec<_> = log.iter().map(|d| (d["decided"].as_str().unwrap(), &d["from"], &d["to"])).collect();
    assert_eq!(told, [("raised", &130.into(), &371.into()), ("lowered", &400.into(), &200.into())]);
    assert_eq!(log[0]["reason"], "over 90 % used");
    assert!((log[0]["percent"].as_f64().unwrap() - 190.0).abs() < 0.01);
}

#[test]
fn an_index_is_scaled_as_well_and_reads_too() {
    let scene = Scene::new();
    crate::capacity::create_indexed_table(&scene.cloud, "events", 100, 50);
    scene.writes("events", 50.0);
    scene.used("ConsumedWriteCapacityUnits", &[("TableName", "events"), ("GlobalSecondaryIndexName", "by_day")], 49.0);
    scene.once("[[table]]\nname = \"events\"\nread.max = 40000\n").expect(0);
    let table = settled(&scene.cloud, "events");
    let index = &table.global_secondary_indexes()[0];
    let index = index.provisioned_throughput().unwrap();
    assert_eq!((index.write_capacity_units(), index.read_capacity_units()), (Some(75), Some(25)));
    let own = table.provisioned_throughput().unwrap();
    assert_eq!((own.write_capacity_units(), own.read_capacity_units()), (Some(100), Some(500)));
}

#[test]
fn a_closed_webhook_stops_every_change_and_an_open_one_none() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events", 130);
    scene.writes("events", 129.0);
    for (status, raised) in [("503 Service Unavailable", false), ("204 No Content", true)] {
        let door = Door::answering(status);
        scene.once(&format!("webhook = \"{}\"\n{WRITES}", door.url)).expect(0);
        let last = scene.log().pop().unwrap();
        assert_eq!(last["decided"], if raised { "raised" } else { "refused" }, "{last}");
        if !raised {
            assert_eq!(last["reason"], "over 90 % used, but the webhook answered 503");
            assert_eq!(scene.wcu("events"), 130);
        }
    }
    assert_eq!(scene.wcu("events"), 195);
}

#[test]
fn a_webhook_that_can_not_be_asked_stops_every_change() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events", 130);
    scene.writes("events", 129.0);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    scene.once(&format!("webhook = \"http://{nobody}/\"\n{WRITES}")).expect(0);
    let last = scene.log().pop().unwrap();
    assert!(last["reason"].as_str().unwrap().contains("the webhook could not be asked"), "{last}");
    assert_eq!(scene.wcu("events"), 130);
}

#[test]
fn within_a_window_nothing_is_changed() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events", 130);
    scene.writes("events", 129.0);
    let window = "[[window]]\nwithin = \"00:00-00:00\"\nzone = \"Europe/Berlin\"\ndeny = \"changes\"\n";
    scene.once(&format!("{WRITES}{window}")).expect(0);
    let last = scene.log().pop().unwrap();
    assert_eq!(last["reason"], "over 90 % used, but no changes within 00:00-00:00 Europe/Berlin");
    assert_eq!(scene.wcu("events"), 130);
}

#[test]
fn a_dry_run_decides_and_changes_nothing() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events", 130);
    scene.writes("events", 129.0);
    scene.once(&format!("dry_run = true\n{WRITES}")).expect(0);
    let last = scene.log().pop().unwrap();
    assert_eq!((&last["decided"], &last["to"], &last["dry_run"]), (&"raised".into(), &195.into(), &true.into()));
    assert_eq!(scene.wcu("events"), 130);
}

#[test]
fn a_table_on_demand_is_skipped_and_one_that_is_being_changed_is_left_alone() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events-a", 130);
    create_table(&scene.cloud, "events-b", 130);
    let mode = aws_sdk_dynamodb::types::BillingMode::PayPerRequest;
    block_on(scene.cloud.dynamodb.update_table().table_name("events-a").billing_mode(mode).send()).unwrap();
    scene.wcu("events-a");
    scene.sluice.run(&["capacity", "events-b", "--write", "140", "-y"]).expect(0);
    scene.once(WRITES).expect(0);
    let log = scene.log();
    let told: Vec<_> = log.iter().map(|d| (d["table"].as_str().unwrap(), d["decided"].as_str().unwrap())).collect();
    assert_eq!(told, [("events-a", "skipped"), ("events-b", "skipped")]);
}

#[test]
fn without_a_decrease_left_it_says_when_the_next_is() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events", 400);
    let path = scene.rules(WRITES);
    for _ in 0..5 {
        scene.sluice.run(&["autoscale", "--config", path.to_str().unwrap(), "--once"]).expect(0);
        scene.wcu("events");
    }
    assert_eq!(scene.wcu("events"), 25, "four times by half");
    let last = scene.log().pop().unwrap();
    assert_eq!(last["decided"], "refused");
    let reason = last["reason"].as_str().unwrap();
    assert!(
        reason.contains("under 30 % used, but decreases: none left (4 used since midnight UTC); the next at"),
        "{reason}"
    );
}

#[test]
fn a_command_and_a_topic_are_told_of_each_change() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events", 130);
    scene.writes("events", 129.0);
    let heard = scene.folder.path().join("heard.json");
    let notify = format!("[notify]\ncommand = [\"tee\", {heard:?}]\nsns = \"{ARN}\"\n");
    scene.once(&format!("{notify}{WRITES}")).expect(0);
    let heard: Value = serde_json::from_str(&fs::read_to_string(heard).unwrap()).unwrap();
    assert_eq!((&heard["decisions"][0]["decided"], &heard["decisions"][0]["to"]), (&"raised".into(), &195.into()));
    let published = scene.local.published();
    assert_eq!(published.len(), 1);
    assert_eq!((published[0].topic.as_str(), published[0].subject.as_str()), (ARN, "sluice: 1 raised in us-east-1"));
    assert_eq!(serde_json::from_str::<Value>(&published[0].message).unwrap(), heard);
}

#[test]
fn one_autoscaler_is_enough_and_cancelling_ends_it() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events", 130);
    let path = scene.rules(WRITES);
    let config = ["autoscale", "--config", path.to_str().unwrap()];
    let started = scene.sluice.run(&[&config[..], &["--detach", "--json"]].concat()).expect(0);
    let id = started.last_json()["job"].as_str().unwrap().to_owned();
    let journal = Journal::open(&scene.sluice.state.path().join("journal.sqlite")).unwrap();
    let state = || journal.jobs().unwrap().into_iter().find(|job| job.id.0 == id).unwrap();
    until("it has looked", || (state().state == State::Running && !state().limit.is_empty()).then_some(()));
    let second = scene.sluice.run(&[&config[..], &["--once"]].concat()).expect(1);
    assert!(second.err.contains(&id) && second.err.contains("runs already"), "{}", second.err);
    scene.sluice.run(&["cancel", &id]).expect(0);
    until("it has ended", || (state().state == State::Cancelled).then_some(()));
}

#[test]
fn a_killed_autoscaler_leaves_the_place_to_the_next() {
    let scene = Scene::new();
    create_table(&scene.cloud, "events", 130);
    let path = scene.rules(WRITES);
    let config = ["autoscale", "--config", path.to_str().unwrap()];
    scene.sluice.run(&[&config[..], &["--detach"]].concat()).expect(0);
    let journal = Journal::open(&scene.sluice.state.path().join("journal.sqlite")).unwrap();
    let pid = until("it runs", || {
        let job = journal.jobs().unwrap().remove(0);
        job.pid.filter(|_| job.state == State::Running && !job.limit.is_empty())
    });
    signal(pid, "KILL");
    until("it is gone", || (journal.jobs().unwrap()[0].state == State::Interrupted).then_some(()));
    scene.sluice.run(&[&config[..], &["--once"]].concat()).expect(0);
}

#[test]
fn rules_with_a_mistake_are_refused_with_line_and_nearest_key() {
    let scene = Scene::new();
    let ended = scene.once("[[table]]\nname = \"t\"\nwrite.mxa = 5\n").expect(2);
    assert!(ended.err.contains("rules.toml: line 3: there is no key \"mxa\": did you mean max?"), "{}", ended.err);
    let none = scene.sluice.run(&["autoscale", "--config", "/nowhere.toml"]).expect(1);
    assert!(none.err.contains("/nowhere.toml could not be read"), "{}", none.err);
}

/// A webhook that always gives one answer.
struct Door {
    url: String,
}

impl Door {
    fn answering(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/may", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Self { url }
    }
}
