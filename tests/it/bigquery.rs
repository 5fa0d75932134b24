//! Replicas in BigQuery: whole jobs into our own double, and what bqemulator does into bqemulator.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use sluicegate::bigquery::{Access, BigQueryReplica, Keeps, Options, TableId, open};
use sluicegate::cloud::{CloudError, Guard};
use sluicegate::flow::{
    ChangeKind, Counters, Ledger, Letter, Position, Replica as _, ReplicaRow, RowOrigin, SequenceNumber, SystemClock,
};
use sluicegate::item::{KeyAttr, KeyKind, KeySchema};

use crate::peers::peer;
use crate::running::block_on;

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
        let found = emulator.query("id, n, TO_BASE64(b), ok, ARRAY_LENGTH(ss), JSON_VALUE(m, '$.M.k.N')").await;
        assert_eq!(found.len(), 1_000);
        let texts: Vec<String> =
            found[7].iter().map(|cell| cell.as_str().map_or(cell.to_string(), str::to_owned)).collect();
        assert_eq!(texts, ["0007", "1.5", "AQL/", "true", "2", "1.10"]);
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
