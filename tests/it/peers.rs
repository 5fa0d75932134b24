//! Other people's software beside ours. Each test looks for its peer in the environment and says so when it is not
//! there; `SLUICE_TEST_NO_SKIP` (set by `.ci/run`) makes that a failure.

use std::process::Command;

use sluicegate::cloud::{Cloud, Context, Guard};

use crate::running::{Server, Sluice, block_on, count, create_table, item, write_csv64};

fn peer(variable: &str) -> Option<String> {
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
