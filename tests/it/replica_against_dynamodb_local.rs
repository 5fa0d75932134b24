//! Replicas between the embedded AWS and AWS's own `DynamoDB` Local, under random changes of every type and a worker that
//! is killed. Skipped, or failed where nothing may be skipped, without `SLUICE_TEST_DYNAMODB`.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, DeleteRequest, Put, PutRequest, StreamViewType, TransactWriteItem, WriteRequest,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sluicegate::cloud::{Cloud, Context, Guard};

use crate::peers::peer;
use crate::running::{Server, Sluice, block_on, create_table, signal};
use crate::table_streams::{close_shards, enable_stream};

/// Different keys: few, so that each changes often.
const KEYS: usize = 60;

type Item = HashMap<String, AttributeValue>;

fn cloud(endpoint: &str) -> Cloud {
    let context = Context { endpoint_url: Some(endpoint.to_owned()), ..Context::default() };
    block_on(Cloud::connect(&context, Guard::open())).expect("a loopback endpoint has a region")
}

fn key(chance: &mut StdRng) -> AttributeValue {
    AttributeValue::S(format!("id-{}", chance.random_range(0..KEYS)))
}

/// A value of any type that `DynamoDB` has.
fn value(chance: &mut StdRng, depth: usize) -> AttributeValue {
    // `DynamoDB` Local tells an empty map on its stream as {}, without a type: a map here has something in it.
    let entries = chance.random_range(1..4);
    let bytes =
        |chance: &mut StdRng| Blob::new((0..chance.random_range(1..20)).map(|_| chance.random()).collect::<Vec<u8>>());
    match chance.random_range(0..if depth < 2 { 10 } else { 8 }) {
        0 => AttributeValue::S(["", "é😀\u{2028}", "line\nline", "\"\\"][chance.random_range(0..4)].to_owned()),
        1 => AttributeValue::N(
            ["1.5", "-0.000001", "12345678901234567890123456789012345678", "1E-100", "0"][chance.random_range(0..5)]
                .to_owned(),
        ),
        2 => AttributeValue::B(bytes(chance)),
        3 => AttributeValue::Bool(chance.random()),
        4 => AttributeValue::Null(true),
        5 => AttributeValue::Ss(vec!["b".to_owned(), chance.random_range(0..9).to_string()]),
        6 => AttributeValue::Ns(vec!["-1".to_owned(), chance.random_range(0..9).to_string()]),
        7 => AttributeValue::Bs(vec![Blob::new([0]), Blob::new([255, chance.random()])]),
        8 => AttributeValue::L((0..chance.random_range(0..4)).map(|_| value(chance, depth + 1)).collect()),
        _ => AttributeValue::M((0..entries).map(|n: usize| (n.to_string(), value(chance, depth + 1))).collect()),
    }
}

fn item(chance: &mut StdRng) -> Item {
    let attributes = (0..chance.random_range(0..5)).map(|n| (format!("a{n}"), value(chance, 0)));
    let mut item: Item = attributes.collect();
    item.insert("id".to_owned(), key(chance));
    item
}

/// Makes a change: a put, an update or a delete, alone, in a batch or in a transaction.
fn change(cloud: &Cloud, table: &str, chance: &mut StdRng) {
    let client = &cloud.dynamodb;
    block_on(async {
        match chance.random_range(0..10) {
            0..3 => drop(client.put_item().table_name(table).set_item(Some(item(chance))).send().await.expect("put")),
            3..6 => {
                let update = client.update_item().table_name(table).key("id", key(chance));
                let update = update.update_expression("SET a1 = :v REMOVE a2 ADD n :one");
                let update = update.expression_attribute_values(":v", value(chance, 0));
                let update = update.expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
                update.send().await.expect("updated");
            }
            6..8 => drop(client.delete_item().table_name(table).key("id", key(chance)).send().await.expect("deleted")),
            8 => {
                let (put, delete) = (item(chance), AttributeValue::S("batched".to_owned()));
                let put = PutRequest::builder().set_item(Some(put)).build().expect("whole");
                let delete = DeleteRequest::builder().key("id", delete).build().expect("whole");
                let writes = vec![
                    WriteRequest::builder().put_request(put).build(),
                    WriteRequest::builder().delete_request(delete).build(),
                ];
                client.batch_write_item().request_items(table, writes).send().await.expect("written");
            }
            _ => {
                let put = Put::builder().table_name(table).set_item(Some(item(chance))).build().expect("whole");
                let other = AttributeValue::S("transacted".to_owned());
                let delete = Delete::builder().table_name(table).key("id", other).build().expect("whole");
                let items = [
                    TransactWriteItem::builder().put(put).build(),
                    TransactWriteItem::builder().delete(delete).build(),
                ];
                client.transact_write_items().set_transact_items(Some(items.into())).send().await.expect("written");
            }
        }
    });
}

/// Replicates a table of `from` into one of `to` while it changes, kills the worker, and proves the two equal.
fn is_replicated(from: &str, to: &str, embedded: Option<&str>) {
    let mut chance = StdRng::seed_from_u64(7);
    let source = cloud(from);
    let (table, replica) = (format!("source-{}", std::process::id()), format!("replica-{}", std::process::id()));
    create_table(&source, &table, 1_000);
    enable_stream(&source, &table, StreamViewType::NewAndOldImages);
    (0..150).for_each(|_| change(&source, &table, &mut chance));

    let sluice = Sluice::at(from);
    let args = [
        "replicate",
        "-t",
        &table,
        "--to",
        &replica,
        "--to-endpoint-url",
        to,
        "--create",
        "--bootstrap",
        "scan",
        "--json",
        "-y",
    ];
    let mut worker = sluice.start(&args);
    for round in 0..4 {
        (0..100).for_each(|_| change(&source, &table, &mut chance));
        if let Some(embedded) = embedded {
            close_shards(embedded, &table, if round == 1 { "split" } else { "roll" });
        }
    }
    signal(worker.id(), "KILL");
    worker.wait().expect("it was killed");
    (0..100).for_each(|_| change(&source, &table, &mut chance));
    sluice.run(&[&args[..], &["--until-caught-up"]].concat()).expect(0);

    // Backup and verify know nothing of how replicas are made.
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("source.jsonl");
    let backup = backup.to_str().unwrap();
    let items = sluice.run(&["backup", "-t", &table, backup, "--format", "jsonl", "--json"]).expect(0).last_json();
    let proof = Sluice::at(to).run(&["verify", backup, "-t", &replica, "--json"]).expect(0).last_json();
    assert_eq!((&proof["equal"], &proof["extra"]), (&items["written"], &0.into()));
    assert!(items["written"].as_u64().unwrap() > KEYS as u64 / 4, "{items}");
}

#[test]
fn a_changing_table_of_the_embedded_aws_is_replicated_into_dynamodb_local_through_a_kill_and_closing_shards() {
    let Some(local) = peer("SLUICE_TEST_DYNAMODB") else { return };
    let server = Server::start(&["--table-stream-shards", "3", "--limits", "off"]);
    is_replicated(&server.endpoint, &local, Some(&server.endpoint));
}

#[test]
fn a_changing_table_of_dynamodb_local_is_replicated_into_the_embedded_aws_through_a_kill() {
    let Some(local) = peer("SLUICE_TEST_DYNAMODB") else { return };
    let server = Server::start(&["--limits", "off"]);
    is_replicated(&local, &server.endpoint, None);
}
