//! `sluice local` and the commands that list what it holds.

use crate::running::{Server, Sluice, create_stream, create_table, until};

#[test]
fn a_term_signal_ends_the_server_cleanly() {
    assert_eq!(Server::start(&[]).stop(), 0);
}

#[test]
fn tables_and_streams_are_printed_with_the_fields_of_the_contract() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "quotes", 130);
    create_stream(&server.cloud(), "restore", 3);
    let sluice = Sluice::at(&server.endpoint);

    let table = sluice.run(&["tables", "--json"]).expect(0).last_json();
    assert_eq!(table["table"], "quotes");
    assert_eq!((&table["write_capacity"], &table["billing"]), (&130.into(), &"PROVISIONED".into()));
    for field in ["status", "items", "bytes", "read_capacity", "consumed_write", "throttled", "stream", "indexes"] {
        assert!(table.get(field).is_some(), "{field} is missing from {table}");
    }

    let stream = sluice.run(&["streams", "--json"]).expect(0).last_json();
    assert_eq!(stream["stream"], "restore");
    assert_eq!(stream["shards"].as_array().map(Vec::len), Some(3));
    for field in ["shard", "parent", "state", "lag_ms", "records_per_second"] {
        assert!(stream["shards"][0].get(field).is_some(), "{field} is missing from {stream}");
    }

    let rows = sluice.run(&["tables"]).expect(0).out;
    assert!(rows.starts_with("TABLE"), "{rows}");
}

#[test]
fn data_is_kept_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let server = Server::start(&["--data", data]);
    create_table(&server.cloud(), "kept", 77);
    assert_eq!(server.stop(), 0);
    let server = Server::start(&["--data", data]);
    let table = Sluice::at(&server.endpoint).run(&["tables", "kept", "--json"]).expect(0).last_json();
    assert_eq!(table["write_capacity"], 77);
}

#[test]
fn a_fault_that_does_not_exist_is_a_bad_argument_that_names_those_that_do() {
    let ended = Sluice::new().run(&["local", "--listen", "127.0.0.1:0", "--faults", "throtle=3%"]).expect(2);
    assert!(ended.err.contains("throttle"), "{}", ended.err);
}

#[test]
fn capacity_is_raised_remembered_and_given_back() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "quotes", 100);
    let sluice = Sluice::at(&server.endpoint);
    let write_capacity =
        || sluice.run(&["tables", "quotes", "--json"]).expect(0).last_json()["write_capacity"].as_u64();

    sluice.run(&["capacity", "quotes", "--write", "150"]).expect(2); // nobody is there to ask
    sluice.run(&["capacity", "quotes", "--write", "150", "-y"]).expect(0);
    until("the table has 150 WCU", || (write_capacity() == Some(150)).then_some(()));
    let shown = sluice.run(&["capacity", "quotes", "--json"]).expect(0).last_json();
    assert_eq!(shown["give_back_to"], 100);
    sluice.run(&["capacity", "quotes", "--give-back"]).expect(2); // nor here
    until("the table can be changed again", || {
        (sluice.run(&["capacity", "quotes", "--give-back", "-y"]).code == 0).then_some(())
    });
    until("the table has 100 WCU again", || (write_capacity() == Some(100)).then_some(()));

    let audit = sluice.run(&["audit", "--json"]).expect(0);
    let operations: Vec<String> = audit
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["operation"].to_string())
        .collect();
    assert!(
        operations.len() >= 2 && operations.iter().all(|operation| operation == "\"UpdateTable\""),
        "{operations:?}"
    );
}
