//! Replicas in BigQuery: whole jobs into our own double, and what bqemulator does into bqemulator.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, StreamViewType};
use base64::Engine as _;
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use sluicegate::bigquery::double::{Double, Faults};
use sluicegate::bigquery::{Access, BigQueryReplica, Keeps, Options, TableId, open};
use sluicegate::cloud::{Cloud, CloudError, Guard};
use sluicegate::flow::{
    ChangeKind, Counters, Ledger, Letter, Position, Replica as _, ReplicaRow, RowOrigin, SequenceNumber, SystemClock,
};
use sluicegate::item::{KeyAttr, KeyKind, KeySchema};

use crate::peers::peer;
use crate::running::{Server, Sluice, block_on, create_table, until};
use crate::table_streams::{close_shards, enable_stream};

#[derive(Clone, Debug)]
struct At(u64);

impl Position for At {
    fn letter(&self, reason: String, payload: Bytes) -> Letter {
        Letter { source: "t".into(), line: Some(self.0), offset: None, shard: None, sequence: None, reason, payload }
    }
}

/// A table of this test alone in bqemulator.
struct Emulator {
    access: Access,
    options: Options,
    http: reqwest::Client,
}

impl Emulator {
    fn of(what: &str, keeps: Keeps) -> Option<Self> {
        let (rest, grpc) = (peer("SLUICE_TEST_BIGQUERY")?, peer("SLUICE_TEST_BIGQUERY_GRPC")?);
        let table = format!("{what}_{}", std::process::id());
        let options = Options {
            table: TableId::new("p", "sluice", &table).unwrap(),
            keeps,
            unknown_into: None,
            location: None,
            max_staleness: None,
            source: "games".into(),
            key: KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None },
            seed: 1,
        };
        Some(Self {
            access: Access { rest: Some(rest), grpc: Some(grpc), credentials: None },
            options,
            http: reqwest::Client::new(),
        })
    }

    async fn open(&self, sample: &str) -> Result<BigQueryReplica, CloudError> {
        let sample = vec![Bytes::copy_from_slice(sample.as_bytes())];
        let clock = Arc::new(SystemClock::new());
        open(self.options.clone(), &self.access, Guard::open(), clock, || async { Ok(sample) }).await
    }

    /// What SQL finds.
    async fn query(&self, columns: &str) -> Vec<Vec<Json>> {
        let TableId { project, dataset, table } = &self.options.table;
        let sql = format!("SELECT {columns} FROM `{project}.{dataset}.{table}` ORDER BY 1, 2");
        let url = format!("{}/bigquery/v2/projects/{project}/queries", self.access.rest.as_deref().unwrap());
        let body = json!({"query": sql, "useLegacySql": false});
        let reply = self.http.post(url).json(&body).send().await.expect("the emulator answers");
        let reply: Json = reply.json().await.expect("in JSON");
        let rows = reply["rows"].as_array().unwrap_or_else(|| panic!("no rows: {reply}"));
        let cells = |row: &Json| row["f"].as_array().unwrap().iter().map(|cell| cell["v"].clone()).collect();
        rows.iter().map(cells).collect()
    }
}

fn row(n: u64, item: &Json, is_put: bool) -> ReplicaRow {
    ReplicaRow {
        key: json!({"id": item["id"]}).to_string().into(),
        image: is_put.then(|| item.to_string().into()),
        origin: RowOrigin::Change {
            kind: if is_put { ChangeKind::Modified } else { ChangeKind::Removed },
            sequence: SequenceNumber((300_000_000_000_000_499_659_u128 + u128::from(n)).to_string()),
            at_ms: 1_520_175_584_000,
            by_ttl: false,
            old: None,
        },
    }
}

async fn given(replica: &BigQueryReplica, rows: Vec<ReplicaRow>) -> (Counters, Vec<Letter>) {
    let ledger = Arc::new(Ledger::new(10_000));
    for (n, row) in (0..).zip(rows) {
        let receipt = ledger.open(At(n)).await.unwrap();
        replica.take(row, receipt).await.unwrap();
    }
    tokio::select! {
        () = ledger.drained() => {}
        error = replica.failed() => panic!("{error}"),
    }
    let settled = ledger.take_settled();
    (settled.counters, settled.letters)
}

const EVERY_TYPE: &str = r#"{"id":{"S":"a"},"n":{"N":"1.50"},"b":{"B":"AQL/"},"ok":{"BOOL":true},"ss":{"SS":["x","y"]},"m":{"M":{"k":{"N":"1.10"}}}}"#;

#[test]
fn bqemulator_takes_what_is_appended_with_every_type() {
    let Some(emulator) = Emulator::of("rows", Keeps::Rows) else { return };
    block_on(async {
        let replica = emulator.open(EVERY_TYPE).await.unwrap();
        let item: Json = serde_json::from_str(EVERY_TYPE).unwrap();
        let rows = (0..1_000).map(|n| {
            let mut item = item.clone();
            item["id"]["S"] = format!("{n:04}").into();
            row(n, &item, true)
        });
        let (counters, letters) = given(&replica, rows.collect()).await;
        assert_eq!((counters.written, letters.len()), (1_000, 0), "{letters:?}");
        let found =
            emulator.query("id, n = NUMERIC '1.5', TO_BASE64(b), ok, ARRAY_LENGTH(ss), JSON_VALUE(m, '$.M.k.N')").await;
        assert_eq!(found.len(), 1_000);
        let texts: Vec<String> =
            found[7].iter().map(|cell| cell.as_str().map_or(cell.to_string(), str::to_owned)).collect();
        assert_eq!(texts, ["0007", "true", "AQL/", "true", "2", "1.10"]);

        // Opened again. (A column that is added later breaks its table: the emulator changes the schema and not the storage.)
        let replica = emulator.open(EVERY_TYPE).await.unwrap();
        let (counters, letters) = given(&replica, vec![row(2_000, &json!({"id": {"S": "new"}}), true)]).await;
        assert_eq!((counters.written, letters.len()), (1, 0), "{letters:?}");
        assert_eq!(emulator.query("id = 'new', id").await.last().unwrap()[1], "new");
    });
}

#[test]
fn bqemulator_takes_a_log_of_changes() {
    let Some(emulator) = Emulator::of("log", Keeps::Log) else { return };
    block_on(async {
        let replica = emulator.open(EVERY_TYPE).await.unwrap();
        let item: Json = serde_json::from_str(EVERY_TYPE).unwrap();
        let rows = (0..1_200).map(|n| row(n, &item, n % 3 != 2)).collect();
        let (counters, letters) = given(&replica, rows).await;
        assert_eq!((counters.written, counters.deleted, letters.len()), (800, 400, 0), "{letters:?}");
        let found = emulator.query("sluice_sequence, sluice_change, n").await;
        let by_change = found.iter().fold(BTreeMap::<&str, usize>::new(), |mut counts, row| {
            *counts.entry(row[1].as_str().unwrap()).or_default() += 1;
            counts
        });
        assert_eq!(by_change, BTreeMap::from([("PUT", 800), ("DELETE", 400)]));
        assert_eq!(found[0][0], format!("{:0>40}", 300_000_000_000_000_499_659_u128));
    });
}

/// A double in this process, and what names it on the command line.
struct Served {
    double: Double,
    args: [String; 4],
}

impl Served {
    fn with(faults: Faults) -> Self {
        let double = block_on(Double::start(faults)).expect("two free ports");
        let args =
            ["--bigquery-endpoint", &double.rest_endpoint(), "--bigquery-grpc-endpoint", &double.grpc_endpoint()]
                .map(str::to_owned);
        Self { double, args }
    }

    /// `sluice replicate -t games --to-bigquery p.d.games …`.
    fn replicate<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let head = ["replicate", "-t", "games", "--to-bigquery", TABLE, "--yes", "--json"];
        head.into_iter().chain(self.args.iter().map(String::as_str)).chain(more.iter().copied()).collect()
    }
}

const TABLE: &str = "p.d.games";

/// A random item of `id`: every type, each there or not.
fn random_item(dice: &mut SmallRng, id: usize) -> Json {
    let mut item = json!({"id": {"S": format!("k{id}")}});
    let n = dice.random_range(0..1_000_000);
    let all = [
        ("n", json!({"N": format!("{n}.5")})),
        ("big", json!({"N": format!("{n}E-20")})),
        ("s", json!({"S": format!("é\n\"{n}")})),
        ("b", json!({"B": base64::prelude::BASE64_STANDARD.encode(n.to_string())})),
        ("ok", json!({"BOOL": n % 2 == 0})),
        ("none", json!({"NULL": true})),
        ("ss", json!({"SS": [format!("{n}"), "x"]})),
        ("ns", json!({"NS": [format!("{n}"), "-1.5"]})),
        ("m", json!({"M": {"k": {"L": [{"N": format!("{n}")}, {"BOOL": true}]}}})),
        ("user.name", json!({"S": format!("{n}")})),
    ];
    for (name, value) in all {
        if dice.random_bool(0.7) {
            item[name] = value;
        }
    }
    item
}

/// The row that an item becomes, by the documented rules.
fn row_of(item: &Json) -> Json {
    let mut row = serde_json::Map::new();
    for (name, value) in item.as_object().unwrap() {
        let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
        let decimal = |text: &str| match text.split_once('E') {
            Some((digits, _)) => {
                let padded = format!("{digits:0>20}");
                let text = format!("0.{}", padded.trim_end_matches('0'));
                if text == "0." { "0".to_owned() } else { text }
            }
            None => text.to_owned(),
        };
        let cell = match kind.as_str() {
            "NULL" => continue,
            "N" => json!(decimal(value.as_str().unwrap())),
            "M" => json!({"M": value}),
            "SS" | "NS" => {
                let mut members: Vec<String> =
                    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
                members.sort();
                json!(members)
            }
            _ => value.clone(),
        };
        row.insert(name.replace('.', "_"), cell);
    }
    row.into()
}

fn by_id(rows: Vec<Json>) -> BTreeMap<String, Json> {
    let sorted = |mut row: Json| {
        for name in ["ss", "ns"] {
            if let Some(members) = row[name].as_array_mut() {
                members.sort_by_key(ToString::to_string);
            } else if let Some(row) = row.as_object_mut() {
                row.remove(name);
            }
        }
        row
    };
    rows.into_iter().map(sorted).map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
}

/// Writes and deletes at random, and keeps what is there.
fn write(cloud: &Cloud, dice: &mut SmallRng, there: &mut BTreeMap<String, Json>, count: usize) {
    for _ in 0..count {
        let id = dice.random_range(0..60);
        let key = format!("k{id}");
        // Under faults the SDK's three tries may not be enough.
        if dice.random_bool(0.2) {
            until("a delete is taken", || {
                let delete = cloud.dynamodb.delete_item().table_name("games").key("id", AttributeValue::S(key.clone()));
                block_on(delete.send()).ok()
            });
            there.remove(&key);
        } else {
            let item = random_item(dice, id);
            let entries = item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value)));
            let attributes: HashMap<String, AttributeValue> = entries.collect();
            until("a put is taken", || {
                let put = cloud.dynamodb.put_item().table_name("games").set_item(Some(attributes.clone()));
                block_on(put.send()).ok()
            });
            there.insert(key, row_of(&item));
        }
    }
}

fn attribute(value: &Json) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    let texts = |value: &Json| value.as_array().unwrap().iter().map(text).collect();
    match kind.as_str() {
        "S" => AttributeValue::S(text(value)),
        "N" => AttributeValue::N(text(value)),
        "B" => AttributeValue::B(Blob::new(base64::prelude::BASE64_STANDARD.decode(text(value)).unwrap())),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "NULL" => AttributeValue::Null(true),
        "SS" => AttributeValue::Ss(texts(value)),
        "NS" => AttributeValue::Ns(texts(value)),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        _ => AttributeValue::M(
            value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value))).collect(),
        ),
    }
}

#[test]
fn a_killed_worker_and_closing_shards_and_faults_leave_the_rows_that_are_in_the_table() {
    let server = Server::start(&[
        "--limits",
        "off",
        "--table-stream-shards",
        "2",
        "--faults",
        "error=2%,lose-reply=2%",
        "--seed",
        "3",
    ]);
    let bigquery =
        Served::with(Faults { unavailable: 0.05, lose_reply: 0.05, schema_lag: 2, seed: 9, ..Faults::default() });
    let cloud = server.cloud();
    create_table(&cloud, "games", 1_000);
    let mut dice = SmallRng::seed_from_u64(11);
    let mut there = BTreeMap::new();
    // What is there before is copied; a few types come only later and add columns.
    write(&cloud, &mut dice, &mut there, 150);
    let sluice = Sluice::at(&server.endpoint);
    for _ in 0..3 {
        let before = bigquery.double.taken(TABLE);
        let mut worker = sluice.start(&bigquery.replicate(&[]));
        until("rows arrive", || (bigquery.double.taken(TABLE) > before).then_some(()));
        write(&cloud, &mut dice, &mut there, 100);
        close_shards(&server.endpoint, "games", "split");
        write(&cloud, &mut dice, &mut there, 50);
        worker.kill().expect("it runs");
        worker.wait().expect("it ends");
    }
    let ended = sluice.run(&bigquery.replicate(&["--until-caught-up"])).expect(0).last_json();
    assert_eq!((&ended["state"], &ended["dead"]), (&json!("done"), &json!(0)), "{ended}");
    assert_eq!(by_id(bigquery.double.rows(TABLE)), there);
    // All of it once more, by a worker that knows of nothing: no row is there twice, and none comes back.
    let again = Sluice::at(&server.endpoint);
    again.run(&bigquery.replicate(&["--until-caught-up"])).expect(0);
    assert_eq!(by_id(bigquery.double.rows(TABLE)), there);
    assert_eq!(bigquery.double.rows(TABLE).len(), there.len());
}

#[test]
fn a_log_has_every_change_and_a_bad_row_ends_as_a_dead_letter_that_can_be_replayed() {
    let server = Server::start(&["--limits", "off"]);
    let bigquery = Served::with(Faults { poison: Some("venom".into()), ..Faults::default() });
    let cloud = server.cloud();
    create_table(&cloud, "games", 1_000);
    enable_stream(&cloud, "games", StreamViewType::NewImage);
    let put = |id: &str, text: &str| {
        let put = cloud.dynamodb.put_item().table_name("games").item("id", AttributeValue::S(id.into()));
        block_on(put.item("s", AttributeValue::S(text.into())).send()).expect("a put is taken");
    };
    put("a", "one");
    put("b", "venom");
    put("a", "two");
    block_on(cloud.dynamodb.delete_item().table_name("games").key("id", AttributeValue::S("a".into())).send()).unwrap();
    let sluice = Sluice::at(&server.endpoint);
    let more = ["--append-only", "--bootstrap", "none", "--until-caught-up"];
    let ended = sluice.run(&bigquery.replicate(&more)).expect(3).last_json();
    assert_eq!((&ended["written"], &ended["deleted"], &ended["dead"]), (&json!(2), &json!(1), &json!(1)), "{ended}");
    let mut rows = bigquery.double.rows(TABLE);
    rows.sort_by_key(|row| row["sluice_sequence"].to_string());
    let shown: Vec<_> = rows.iter().map(|row| (&row["sluice_change"], &row["id"], &row["s"])).collect();
    let (put, gone) = (json!("PUT"), json!("DELETE"));
    let (a, one, two, null) = (json!("a"), json!("one"), json!("two"), Json::Null);
    assert_eq!(shown, [(&put, &a, &one), (&put, &a, &two), (&gone, &a, &null)]);

    let job = ended["job"].as_str().unwrap();
    let letters = sluice.run(&["dead", "list", job]).expect(0).out;
    assert!(letters.contains("a fault of the double"), "{letters}");
    bigquery.double.set_faults(Faults::default());
    sluice.run(&["dead", "replay", job, "--all"]).expect(0);
    let rows = bigquery.double.rows(TABLE);
    assert!(rows.iter().any(|row| row["s"] == "venom" && row["sluice_change"] == "PUT"), "{rows:?}");
    assert_eq!(rows.len(), 4);
}

#[test]
fn a_schema_conflict_and_half_an_emulator_are_told_before_anything_is_written() {
    let server = Server::start(&["--limits", "off"]);
    let bigquery = Served::with(Faults::default());
    create_table(&server.cloud(), "games", 1_000);
    let id = json!({"name": "id", "type": "INTEGER"});
    bigquery.double.make_table(TABLE, json!({"schema": {"fields": [id]}})).unwrap();
    let sluice = Sluice::at(&server.endpoint);
    let ended = sluice.run(&bigquery.replicate(&["--until-caught-up"])).expect(1);
    assert!(
        ended.err.contains("the key attribute \"id\" (S) needs a column id that holds it, and it is INTEGER"),
        "{}",
        ended.err
    );
    let half = ["replicate", "-t", "games", "--to-bigquery", TABLE, "--bigquery-endpoint", "http://127.0.0.1:1"];
    let ended = sluice.run(&half).expect(2);
    assert!(ended.err.contains("only one endpoint of BigQuery is named"), "{}", ended.err);
    let ended = sluice.run(&["replicate", "-t", "games", "--to-bigquery", "d.t"]).expect(2);
    assert!(ended.err.contains("PROJECT.DATASET.TABLE"), "{}", ended.err);
}
