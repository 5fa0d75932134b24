//! `sluice streams` on a stream that is split, tailed, and read by Lambda functions.

use aws_sdk_kinesis::primitives::Blob;

use crate::running::{Server, Sluice, block_on, create_stream, create_table, until};

fn put(server: &Server, stream: &str, key: &str, bytes: &[u8]) {
    let request = server.cloud().kinesis.put_record().stream_name(stream).partition_key(key).data(Blob::new(bytes));
    block_on(request.send()).expect("the record is put");
}

#[test]
fn a_tail_prints_each_record_for_what_it_is_and_stops_by_itself() {
    let server = Server::start(&[]);
    let sluice = Sluice::at(&server.endpoint);
    create_stream(&server.cloud(), "s", 2);
    create_table(&server.cloud(), "quotes", 10);
    put(&server, "s", "a", br#"{"TableName":"quotes","Item":{"id":{"S":"a\u001b[2J"}}}"#);
    put(&server, "s", "b", br#"{"TableName":"quotes","Key":{"id":{"S":"b"}}}"#);
    put(&server, "s", "c", br#"{"MessageType":"Claps","n":1.10}"#);
    put(&server, "s", "d", b"\x1b]0;title\x07 plain");
    put(&server, "s", "e", b"\xf3\x89\x9a\xc2 no protobuf");
    let ended = sluice.run(&["streams", "s", "--tail", "--from", "trim-horizon", "--max", "5"]).expect(0);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines.len(), 5, "{ended:?}");
    for words in [
        "put  quotes  id=a\\u{1b}[2J",
        "delete  quotes  ",
        "event  {\"MessageType\":\"Claps\",\"n\":1.10}",
        "bytes  1b 5d",
        "aggregated  ",
    ] {
        assert!(lines.iter().any(|line| line.contains(words)), "no {words:?} in {:?}", ended.out);
    }
    assert!(!ended.out.contains('\x1b') && !ended.out.contains('\x07'));
    assert!(
        ended.err.contains("at most one read a second") && ended.err.contains("ended after 5 records"),
        "{ended:?}"
    );
    let ended = sluice.run(&["streams", "s", "--tail", "--from", "trim-horizon", "--max", "1", "--json"]).expect(0);
    let record = ended.last_json();
    assert!(record["sequence"].is_string() && record["time"].is_string(), "{record}");
    let ended = sluice.run(&["streams", "s", "--tail", "--for", "1ms"]).expect(0);
    assert_eq!(ended.out, "");
    let ended = sluice.run(&["streams", "s", "--tail", "--shard", "shardId-000000000009"]).expect(1);
    assert!(ended.err.contains("has no shard") && ended.err.contains("shardId-000000000000"), "{ended:?}");
}

#[test]
fn a_split_stream_is_shown_as_a_family_and_its_tail_follows_into_the_children() {
    let server = Server::start(&[]);
    let sluice = Sluice::at(&server.endpoint);
    create_stream(&server.cloud(), "s", 1);
    put(&server, "s", "a", b"[1]");
    sluice.run(&["capacity", "--stream", "s", "--shards", "2", "-y"]).expect(0);
    until("the stream is split", || {
        let ended = sluice.run(&["streams", "s", "--json"]).expect(0).last_json();
        (ended["status"] == "ACTIVE" && ended["open_shards"] == 2).then_some(())
    });
    put(&server, "s", "a", b"[2]");
    let ended = sluice.run(&["streams", "s"]).expect(0);
    assert!(
        ended.out.contains("├ shardId-000000000001") && ended.out.contains("└ shardId-000000000002"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("CLOSED") && ended.out.contains("split"), "{}", ended.out);
    let ended = sluice.run(&["streams", "s", "--tail", "--from", "trim-horizon", "--max", "2"]).expect(0);
    assert!(ended.out.contains("[1]") && ended.out.contains("[2]"), "{}", ended.out);
}

#[test]
fn mappings_are_listed_paused_and_resumed_by_name() {
    let server = Server::start(&[]);
    let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
    create_stream(&cloud, "s", 1);
    assert!(sluice.run(&["streams", "s", "--mappings"]).expect(0).out.contains("no Lambda function"));
    let described = block_on(cloud.kinesis.describe_stream_summary().stream_name("s").send()).unwrap();
    let arn = described.stream_description_summary.unwrap().stream_arn;
    let made = cloud.lambda.create_event_source_mapping().function_name("put-requests").event_source_arn(arn);
    let uuid = block_on(made.batch_size(500).send()).unwrap().uuid.unwrap();
    let state = || sluice.run(&["streams", "s", "--mappings", "--json"]).expect(0).last_json()["state"].clone();
    assert_eq!(state(), "Enabled");
    let refused = sluice.run(&["streams", "s", "--pause-mapping", "put-requests"]).expect(2);
    assert!(refused.err.contains("--yes"), "{refused:?}");
    let dry = sluice.run(&["streams", "s", "--pause-mapping", "put-requests", "--dry-run"]).expect(0);
    assert!(dry.out.contains(&format!("aws lambda update-event-source-mapping --uuid {uuid}")), "{dry:?}");
    assert!(
        sluice
            .run(&["streams", "s", "--pause-mapping", "put-requests", "--read-only"])
            .expect(1)
            .err
            .contains("read-only")
    );
    assert_eq!(state(), "Enabled");
    sluice.run(&["streams", "s", "--pause-mapping", "put-requests", "-y"]).expect(0);
    assert_eq!(state(), "Disabled");
    assert!(sluice.run(&["streams", "s", "--pause-mapping", &uuid, "-y"]).expect(0).out.contains("nothing to change"));
    sluice.run(&["streams", "s", "--resume-mapping", &uuid, "-y"]).expect(0);
    assert_eq!(state(), "Enabled");
    assert!(
        sluice
            .run(&["streams", "s", "--pause-mapping", "put-request", "-y"])
            .expect(1)
            .err
            .contains("did you mean put-requests?")
    );
    assert!(sluice.run(&["audit"]).expect(0).out.contains("UpdateEventSourceMapping"));
}

#[test]
fn who_may_not_list_mappings_is_told_so_instead_of_an_empty_list() {
    let server = Server::start(&["--deny", "lambda:*"]);
    let sluice = Sluice::at(&server.endpoint);
    create_stream(&server.cloud(), "s", 1);
    let ended = sluice.run(&["streams", "s", "--mappings"]).expect(1);
    assert!(ended.err.contains("grant lambda:ListEventSourceMappings"), "{ended:?}");
}

#[test]
fn a_stay_is_changed_with_a_yes_and_never_beyond_what_aws_takes() {
    let server = Server::start(&[]);
    let sluice = Sluice::at(&server.endpoint);
    create_stream(&server.cloud(), "s", 2);
    let hours = || sluice.run(&["streams", "s", "--json"]).expect(0).last_json()["retention_hours"].clone();
    assert_eq!(hours(), 24);
    assert!(sluice.run(&["streams", "s", "--retention", "9000", "-y"]).expect(2).err.contains("24 to 8760"));
    assert!(sluice.run(&["streams", "s", "--retention", "48"]).expect(2).err.contains("--yes"));
    let done = sluice.run(&["streams", "s", "--retention", "48", "-y"]).expect(0);
    assert!(done.out.contains("$0.040/h: $0.02 for each of 2 shards"), "{}", done.out);
    assert_eq!(hours(), 48);
    let done = sluice.run(&["streams", "s", "--retention", "24", "-y"]).expect(0);
    assert!(done.out.contains("what is older than 24 hours is deleted"), "{}", done.out);
    assert_eq!(hours(), 24);
}
