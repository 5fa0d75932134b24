//! `--json` prints one JSON object a line and nothing else, also where there was nothing to do.

use base64::Engine as _;
use serde_json::Value;
use sluicegate::cloud::Context;
use sluicegate::jobs::journal::WorkerLock;
use sluicegate::jobs::{Journal, PumpSpec, Spec};

use crate::running::{Ended, Server, Sluice, block_on, create_stream, create_table, ended, until};

/// The lines of a run that ended well, each an object; at least one.
#[track_caller]
fn objects(ended: Ended) -> Vec<Value> {
    let ended = ended.expect(0);
    let parsed = ended.out.lines().map(|line| match serde_json::from_str(line) {
        Ok(Value::Object(row)) => Value::Object(row),
        other => panic!("{line:?} is no object: {other:?}"),
    });
    let rows: Vec<Value> = parsed.collect();
    assert!(!rows.is_empty(), "nothing on stdout: {ended:?}");
    rows
}

/// A pump that this process holds as its worker would.
fn held_pump(sluice: &Sluice, endpoint: &str) -> (String, WorkerLock) {
    let journal = Journal::open(&sluice.state.path().join("journal.sqlite")).unwrap();
    let context = Context { endpoint_url: Some(endpoint.to_owned()), ..Context::default() };
    let id = journal.create_job(&Spec::Pump(PumpSpec::default()), &context, None).unwrap();
    let lock = journal.lock(&id).unwrap();
    journal.begin(&id, std::process::id()).unwrap();
    (id.0, lock)
}

#[test]
fn what_changes_nothing_says_so_as_an_object() {
    let server = Server::start(&[]);
    let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
    create_table(&cloud, "quotes", 130);
    create_stream(&cloud, "s", 1);
    let described = block_on(cloud.kinesis.describe_stream_summary().stream_name("s").send()).unwrap();
    let arn = described.stream_description_summary.unwrap().stream_arn;
    let made = cloud.lambda.create_event_source_mapping().function_name("put").event_source_arn(arn);
    block_on(made.send()).unwrap();
    until("the mapping is on", || {
        let listed = sluice.run(&["streams", "s", "--mappings", "--json"]).expect(0);
        (listed.last_json()["state"] == "Enabled").then_some(())
    });
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b.csv");
    std::fs::write(&backup, base64::prelude::BASE64_STANDARD.encode(r#"{"id":{"N":"7"}}"#)).unwrap();
    let restored = sluice.run(&["restore", backup.to_str().unwrap(), "-t", "quotes", "--json"]).expect(3);
    let job = restored.last_json()["job"].as_str().unwrap().to_owned();
    let number = sluice.run(&["dead", "list", &job, "--json"]).expect(0).last_json()["number"].to_string();

    for args in [
        &["capacity", "quotes", "--write", "130"][..],
        &["capacity", "quotes", "--give-back"],
        &["capacity", "--give-back"],
        &["capacity", "--stream", "s", "--shards", "1"],
        &["streams", "s", "--resume-mapping", "put"],
        &["streams", "s", "--retention", "24"],
    ] {
        let rows = objects(sluice.run(&[args, &["--json", "--yes"]].concat()));
        assert_eq!((rows.len(), &rows[0]["changed"]), (1, &false.into()), "{args:?}: {rows:?}");
    }
    let mut edit = sluice.command();
    edit.args(["dead", "edit", &job, &number, "--json"]).env("VISUAL", "").env("EDITOR", "true");
    assert_eq!(objects(ended(&mut edit))[0]["changed"], false);
    let (pump, _lock) = held_pump(&sluice, &server.endpoint);
    let rows = objects(sluice.run(&["pump", "--now", &pump, "--json"]));
    assert_eq!(rows[0]["job"], pump.as_str());
}

#[test]
fn what_is_changed_says_so_too() {
    let server = Server::start(&[]);
    let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
    create_stream(&cloud, "s", 1);
    let rows = objects(sluice.run(&["streams", "s", "--retention", "48", "--yes", "--json"]));
    assert_eq!((&rows[0]["changed"], &rows[0]["retention_hours_before"]), (&true.into(), &24.into()));
}
