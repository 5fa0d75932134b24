//! Other people's software beside ours. Each test looks for its peer in the environment and says so when it is not
//! there; `SLUICE_TEST_NO_SKIP` (set by `.ci/run`) makes that a failure.

use std::process::Command;

use sluicegate::cloud::{Cloud, Context, Guard};

use crate::running::{Server, Sluice, block_on, count, create_table, item, write_csv64};
use crate::verify::VECTORS;

pub fn peer(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        assert!(std::env::var_os("SLUICE_TEST_NO_SKIP").is_none(), "{variable} is not set, and nothing may be skipped");
        eprintln!("skipped: {variable} is not set");
    }
    found
}

#[test]
fn boto3_works_against_the_embedded_aws_unchanged() {
    let Some(python) = peer("SLUICE_TEST_PYTHON") else { return };
    let server = Server::start(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/boto3_conformance.py");
    let output = Command::new(python).args([script, &server.endpoint]).output().expect("python starts");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[cfg(feature = "lambda")]
#[test]
fn the_lambda_host_puts_and_replicates_under_ministacks_event_source_mappings() {
    let (Some(endpoint), Some(python)) = (peer("SLUICE_TEST_MINISTACK"), peer("SLUICE_TEST_PYTHON")) else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/ministack_lambda.py");
    let output = Command::new(python).args([script, &endpoint, env!("CARGO_BIN_EXE_sluice-lambda")]).output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_restore_into_awss_own_dynamodb_local_is_proven() {
    let Some(endpoint) = peer("SLUICE_TEST_DYNAMODB") else { return };
    let context = Context { endpoint_url: Some(endpoint.clone()), ..Context::default() };
    let cloud = block_on(Cloud::connect(&context, Guard::open())).expect("a loopback endpoint has a region");
    let table = format!("historical-{}", std::process::id());
    create_table(&cloud, &table, 1_000);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("historical.csv");
    write_csv64(&backup, (0..2_000).map(item));

    let sluice = Sluice::at(&endpoint);
    let ended = sluice.run(&["restore", backup.to_str().unwrap(), "-t", &table, "--json"]).expect(0);
    assert_eq!(ended.last_json()["written"], 2_000);
    assert_eq!(count(&cloud, &table), 2_000);
    let proof = sluice.run(&["verify", backup.to_str().unwrap(), "-t", &table, "--json"]).expect(0).last_json();
    assert_eq!(proof["equal"], 2_000);
}

/// A table of this test alone in DynamoDB Local.
fn own_table(cloud: &Cloud, what: &str) -> String {
    let table = format!("{what}-{}", std::process::id());
    create_table(cloud, &table, 1_000);
    table
}

#[test]
fn every_type_and_legacy_binary_are_restored_into_awss_own_dynamodb_local_proven_and_backed_up() {
    let Some(endpoint) = peer("SLUICE_TEST_DYNAMODB") else { return };
    let context = Context { endpoint_url: Some(endpoint.clone()), ..Context::default() };
    let cloud = block_on(Cloud::connect(&context, Guard::open())).expect("a loopback endpoint has a region");
    let table = own_table(&cloud, "vectors");
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("vectors.csv");
    std::fs::write(&backup, VECTORS.join("\n")).unwrap();
    let sluice = Sluice::at(&endpoint);
    let source = backup.to_str().unwrap();
    // Straight into the table: DynamoDB Local has no Kinesis to go through.
    let ended = sluice.run(&["restore", source, "-t", &table, "--json"]).expect(0);
    assert_eq!(ended.last_json()["written"], 9);
    let proof = sluice.run(&["verify", source, "-t", &table, "--json"]).expect(0).last_json();
    assert_eq!((&proof["equal"], &proof["duplicates"]), (&7.into(), &2.into()));
    assert_eq!(proof["digest_source"], proof["digest_table"]);
    for (format, to) in [("csv64", "out.csv"), ("jsonl", "out.jsonl"), ("export", "out")] {
        let to = folder.path().join(to);
        let ended = sluice.run(&["backup", "-t", &table, to.to_str().unwrap(), "--format", format, "--json"]).expect(0);
        assert_eq!(ended.last_json()["written"], 7, "{format}");
        let again = sluice.run(&["verify", to.to_str().unwrap(), "-t", &table, "--json"]).expect(0).last_json();
        assert_eq!(again["digest_source"], proof["digest_table"], "{format}");
    }

    let key = aws_sdk_dynamodb::types::AttributeValue::S("n".into());
    let there = block_on(cloud.dynamodb.get_item().table_name(&table).key("id", key.clone()).send()).unwrap();
    let number = there.item.unwrap().remove("n").unwrap();
    assert_eq!(number.as_n().unwrap(), "12345678901234567890123456789012345678", "38 digits, unchanged");
    block_on(cloud.dynamodb.delete_item().table_name(&table).key("id", key).send()).unwrap();
    let proof = sluice.run(&["verify", source, "-t", &table, "--json"]).expect(4).last_json();
    assert_eq!((&proof["missing"], &proof["equal"]), (&1.into(), &6.into()));
    let sampled = sluice.run(&["verify", source, "-t", &table, "--sample", "100", "--json"]).expect(4).last_json();
    assert_eq!(sampled["missing"], 1);
}

#[test]
fn a_dead_letter_is_replayed_into_awss_own_dynamodb_local_behind_its_fence() {
    let Some(endpoint) = peer("SLUICE_TEST_DYNAMODB") else { return };
    let context = Context { endpoint_url: Some(endpoint.clone()), ..Context::default() };
    let cloud = block_on(Cloud::connect(&context, Guard::open())).expect("a loopback endpoint has a region");
    let table = own_table(&cloud, "letters");
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b.jsonl");
    std::fs::write(&backup, "{\"id\":{\"N\":\"1\"}}\n{\"id\":{\"N\":\"2\"},\"v\":{\"S\":\"new\"}}\n").unwrap();
    let sluice = Sluice::at(&endpoint);
    let ended = sluice.run(&["restore", backup.to_str().unwrap(), "-t", &table, "--json"]).expect(3);
    let job = ended.last_json()["job"].as_str().unwrap().to_owned();
    let listed = sluice.run(&["dead", "list", &job, "--json"]).expect(0).out;
    for line in listed.lines() {
        let letter: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut edit = sluice.command();
        edit.args(["dead", "edit", &job, &letter["number"].to_string()]).env("VISUAL", r#"sed -i 's/"N"/"S"/'"#);
        ended_ok(&mut edit);
    }
    let there = aws_sdk_dynamodb::types::AttributeValue::S("2".into());
    block_on(cloud.dynamodb.put_item().table_name(&table).item("id", there).send()).unwrap();
    let replayed = sluice.run(&["dead", "replay", &job, "--all", "--json"]).expect(3).last_json();
    assert_eq!((&replayed["written"], &replayed["held"]), (&1.into(), &1.into()));
    assert_eq!(count(&cloud, &table), 2);
}

fn ended_ok(command: &mut Command) {
    crate::running::ended(command).expect(0);
}
