//! Bad input from outside: one sentence, what to do, and the exit code that scripts rely on.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use crate::running::{Server, Sluice, create_table, ended};

#[test]
fn an_unknown_command_is_a_bad_argument_and_the_nearest_is_named() {
    let ended = Sluice::new().run(&["restor"]).expect(2);
    assert!(ended.err.contains("'restore'"), "{}", ended.err);
}

#[test]
fn a_restore_without_a_backup_or_a_table_is_a_bad_argument() {
    let sluice = Sluice::new();
    assert!(sluice.run(&["restore", "-t", "t"]).expect(2).err.contains("no backup is named"));
    assert!(sluice.run(&["restore", "x.csv"]).expect(2).err.contains("no table is named"));
    assert!(sluice.run(&["restore", "-t", "t", "-b", "backups"]).expect(2).err.contains("s3://backups/KEY"));
}

#[test]
fn an_endpoint_that_is_no_url_is_a_bad_argument() {
    let ended = Sluice::at("127.0.0.1:4566").run(&["tables"]).expect(2);
    assert!(ended.err.contains("http://127.0.0.1:4566"), "{}", ended.err);
}

#[test]
fn an_endpoint_variable_that_is_empty_is_named_and_not_taken_for_an_address() {
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"] {
        let ended = ended(Sluice::new().command().arg("tables").env(name, ""));
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.err.contains(&format!("{name} is set and empty")), "{}", ended.err);
    }
}

#[test]
fn a_refused_connection_is_one_sentence_and_what_to_do() {
    // Bound and closed again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ended = Sluice::at(&format!("http://127.0.0.1:{port}")).run(&["tables"]).expect(1);
    assert_eq!(ended.err.lines().count(), 2, "{}", ended.err);
    assert!(ended.err.contains("--endpoint-url"), "{}", ended.err);
    assert_eq!(ended.out, "");
}

#[test]
fn expired_credentials_say_how_to_renew_them() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in server.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 16 * 1024];
            let _ = connection.read(&mut request).unwrap();
            let body =
                r#"{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"The token has expired"}"#;
            write!(
                connection,
                "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    let ended = Sluice::at(&endpoint).run(&["tables"]).expect(1);
    assert!(ended.err.contains("ExpiredTokenException") && ended.err.contains("log in again"), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 2, "{}", ended.err);
}

#[test]
fn an_unknown_table_is_named_with_the_nearest_that_exist() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "historical", 100);
    let sluice = Sluice::at(&server.endpoint);
    for args in
        [vec!["tables", "historcal"], vec!["capacity", "historcal"], vec!["restore", "x.csv", "-t", "historcal"]]
    {
        let ended = sluice.run(&args).expect(1);
        assert!(
            ended.err.contains("no table historcal") && ended.err.contains("did you mean historical?"),
            "{}",
            ended.err
        );
    }
}

#[test]
fn a_missing_file_is_named_and_nothing_is_written() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "historical", 100);
    let sluice = Sluice::at(&server.endpoint);
    let ended = sluice.run(&["restore", "no-such-file.csv", "-t", "historical"]).expect(1);
    assert!(ended.err.contains("no-such-file.csv"), "{}", ended.err);
    assert_eq!(crate::running::count(&server.cloud(), "historical"), 0);
}

#[test]
fn a_job_that_does_not_exist_is_named() {
    let sluice = Sluice::new();
    for args in [["jobs", "r-none"], ["pause", "r-none"], ["cancel", "r-none"]] {
        let ended = sluice.run(&args).expect(1);
        assert!(ended.err.contains("no job r-none"), "{}", ended.err);
    }
}

#[test]
fn read_only_refuses_a_change_and_a_dry_run_prints_it() {
    let server = Server::start(&[]);
    create_table(&server.cloud(), "quotes", 100);
    let sluice = Sluice::at(&server.endpoint);
    let refused = sluice.run(&["--read-only", "capacity", "quotes", "--write", "200", "-y"]).expect(1);
    assert!(refused.err.contains("read-only"), "{}", refused.err);
    let printed = sluice.run(&["--dry-run", "--json", "capacity", "quotes", "--write", "200"]).expect(0).last_json();
    assert_eq!(printed["would_send"], "UpdateTable");
    assert_eq!(printed["request"]["ProvisionedThroughput"]["WriteCapacityUnits"], 200);
    assert!(printed["aws"].as_str().unwrap().starts_with("aws dynamodb update-table"));
    let shown = sluice.run(&["--json", "tables", "quotes"]).expect(0).last_json();
    assert_eq!(shown["write_capacity"], 100, "nothing was sent");
}
