//! Restores against the embedded AWS with its limits on.

use crate::running::{Server, Sluice, count, create_table, item, write_csv64};

#[test]
fn two_restores_into_one_table_with_limits_both_end_with_everything_written() {
    let server = Server::start(&["--limits", "on"]);
    create_table(&server.cloud(), "historical", 20);
    let folder = tempfile::tempdir().unwrap();
    let paths = [0, 1].map(|n| {
        let path = folder.path().join(format!("{n}.csv"));
        // Together more than the 6,000 WCU that the table has saved up.
        write_csv64(&path, (n * 3_100..(n + 1) * 3_100).map(item));
        path
    });
    let sluices = [Sluice::at(&server.endpoint), Sluice::at(&server.endpoint)];
    let running: Vec<_> = sluices
        .iter()
        .zip(&paths)
        .map(|(sluice, path)| sluice.start(&["restore", path.to_str().unwrap(), "-t", "historical", "--json"]))
        .collect();
    for restore in running {
        let output = restore.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!((&last["state"], &last["written"]), (&"done".into(), &3_100.into()), "{last}");
    }
    assert_eq!(count(&server.cloud(), "historical"), 6_200);
}

#[test]
fn a_restore_that_leaves_a_share_to_others_says_so() {
    let server = Server::start(&["--limits", "on"]);
    create_table(&server.cloud(), "historical", 50);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    write_csv64(&path, (0..200).map(item));
    let sluice = Sluice::at(&server.endpoint);
    let ended =
        sluice.run(&["restore", path.to_str().unwrap(), "-t", "historical", "--leave", "20%", "--json"]).expect(0);
    // 200 items at 40 WCU take some seconds, in which the limit is named.
    assert!(ended.out.contains("leaves 20 % to others: they use 0 of 50 WCU"), "{}", ended.out);
    assert_eq!(ended.last_json()["throttled"], 0);
}
