//! Exports in S3, restored and proven while the service fails now and then.

use std::path::Path;

use sluicegate::backup::sample::{Moment, chain};
use sluicegate::cloud::Cloud;

use crate::running::{Server, Sluice, block_on, create_table};

const FAULTS: &str = "throttle=5%,error=5%,partial=10%,reset=2%,lose-reply=5%";

/// Puts every file below `folder` into the bucket `backups`, below `prefix`.
fn upload(cloud: &Cloud, folder: &Path, prefix: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let key = format!("{prefix}/{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            upload(cloud, &path, &key);
        } else {
            let body = std::fs::read(&path).unwrap();
            block_on(cloud.s3.put_object().bucket("backups").key(key).body(body.into()).send()).unwrap();
        }
    }
}

/// The items of a moment as JSON lines, to verify against.
fn lines(moment: &Moment, file: &Path) {
    let lines: Vec<_> = moment.items.values().map(|item| String::from_utf8_lossy(item)).collect();
    std::fs::write(file, lines.join("\n")).unwrap();
}

#[test]
fn a_chain_in_s3_ends_at_each_until_as_its_table_was_whatever_fails_meanwhile() {
    let server = Server::start(&["--limits", "off", "--faults", FAULTS, "--seed", "3"]);
    let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
    let folder = tempfile::tempdir().unwrap();
    let moments = chain(&folder.path().join("bucket"), 400, 3, 21).unwrap();
    block_on(cloud.s3.create_bucket().bucket("backups").send()).unwrap();
    upload(&cloud, &folder.path().join("bucket"), "all");
    // The same again without what the keys in its manifests begin with.
    upload(&cloud, &folder.path().join("bucket/nightly/AWSDynamoDB"), "moved");
    for (number, moment) in moments.iter().enumerate() {
        let table = format!("historical-{number}");
        create_table(&cloud, &table, 10_000);
        let source = if number % 2 == 0 { "s3://backups/all" } else { "s3://backups/moved" };
        let until = moment.at.to_string();
        let ended = sluice.run(&["restore", source, "-t", &table, "--until", &until, "--json"]).expect(0).last_json();
        assert_eq!(ended["state"], "done");
        assert_eq!(ended["dead"], 0);
        let wanted = folder.path().join("wanted.jsonl");
        lines(moment, &wanted);
        let verified = sluice.run(&["verify", wanted.to_str().unwrap(), "-t", &table, "--json"]).expect(0).last_json();
        assert_eq!(verified["equal"], moment.items.len());
    }
}

#[test]
fn a_time_that_no_increment_ends_at_writes_nothing_and_names_those_that_are_possible() {
    let server = Server::start(&["--limits", "off"]);
    let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
    let folder = tempfile::tempdir().unwrap();
    let moments = chain(folder.path(), 50, 2, 4).unwrap();
    create_table(&cloud, "historical", 100);
    let inside = (moments[1].at - jiff::SignedDuration::from_mins(1)).to_string();
    let source = folder.path().to_str().unwrap();
    let ended = sluice.run(&["restore", source, "-t", "historical", "--until", &inside]).expect(1);
    for moment in &moments {
        assert!(ended.err.contains(&moment.at.to_string()), "{}", ended.err);
    }
    assert_eq!(crate::running::count(&cloud, "historical"), 0);
}
