use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::*;
use crate::bigquery::double::{Double, Faults};
use crate::bigquery::lane::APPEND;
use crate::bigquery::{Access, BOOTSTRAP, Options, TableId, change_sequence, open};
use crate::cloud::guard::{self, Witness};
use crate::cloud::{Guard, Mode};
use crate::flow::{ChangeKind, Ledger, Letter, Position, SequenceNumber, SystemClock};
use crate::item::{KeyAttr, KeyKind};

const TABLE: &str = "p.d.t";

#[derive(Clone, Debug)]
struct At(u64);

impl Position for At {
    fn letter(&self, reason: String, payload: Bytes) -> Letter {
        Letter { source: "t".into(), line: Some(self.0), offset: None, shard: None, sequence: None, reason, payload }
    }
}

/// A replica of a table with the key `id`, and what it takes.
struct Bench {
    double: Double,
    ledger: Arc<Ledger<At>>,
    replica: BigQueryReplica,
}

fn options() -> Options {
    Options {
        table: TableId::parse(TABLE).unwrap(),
        keeps: Keeps::Rows,
        unknown_into: None,
        location: None,
        max_staleness: None,
        source: "games".into(),
        key: KeySchema { partition: KeyAttr { name: "id".into(), kind: KeyKind::S }, sort: None },
        seed: 7,
    }
}

fn access(double: &Double) -> Access {
    Access { rest: Some(double.rest_endpoint()), grpc: Some(double.grpc_endpoint()), credentials: None }
}

async fn opened(double: &Double, options: Options, sample: &[&'static str]) -> Result<BigQueryReplica, CloudError> {
    let sample: Vec<Bytes> = sample.iter().map(|item| Bytes::from_static(item.as_bytes())).collect();
    let clock = Arc::new(SystemClock::new());
    open(options, &access(double), Guard::open(), clock, || async { Ok(sample) }).await
}

impl Bench {
    async fn of(faults: Faults, options: Options, sample: &[&'static str]) -> Self {
        let double = Double::start(faults).await.unwrap();
        let replica = opened(&double, options, sample).await.unwrap();
        Self { double, ledger: Arc::new(Ledger::new(10_000)), replica }
    }

    async fn give(&self, n: u64, row: ReplicaRow) {
        let receipt = self.ledger.open(At(n)).await.unwrap();
        self.replica.take(row, receipt).await.unwrap();
    }

    /// Waits until all that was given is settled.
    async fn settled(&self) -> (Counters, Vec<Letter>) {
        tokio::select! {
            () = self.ledger.drained() => {}
            error = self.replica.failed() => panic!("{error}"),
        }
        let settled = self.ledger.take_settled();
        (settled.counters, settled.letters)
    }

    fn by_id(&self) -> BTreeMap<String, Json> {
        let id = |row: &Json| row["id"].as_str().unwrap().to_owned();
        self.double.rows(TABLE).into_iter().map(|row| (id(&row), row)).collect()
    }
}

fn change(sequence: &str, item: &str, is_put: bool) -> ReplicaRow {
    let read: Json = serde_json::from_str(item).unwrap();
    ReplicaRow {
        key: json!({"id": read["id"]}).to_string().into(),
        image: is_put.then(|| Bytes::copy_from_slice(item.as_bytes())),
        origin: RowOrigin::Change {
            kind: if is_put { ChangeKind::Modified } else { ChangeKind::Removed },
            sequence: SequenceNumber(sequence.into()),
            at_ms: 1_520_175_584_000,
            by_ttl: false,
            old: None,
        },
    }
}

fn put(sequence: &str, item: &str) -> ReplicaRow {
    change(sequence, item, true)
}

fn scanned(item: &str) -> ReplicaRow {
    ReplicaRow { origin: RowOrigin::Scan, ..put("1", item) }
}

#[tokio::test]
async fn every_type_arrives_as_what_it_is_and_a_delete_takes_the_row_away() {
    let item = r#"{"id":{"S":"a"},"n":{"N":"1.50"},"big":{"N":"1E-20"},"huge":{"N":"1E100"},"b":{"B":"AQL/"},"ok":{"BOOL":true},"none":{"NULL":true},"ss":{"SS":["x","y"]},"ns":{"NS":["1","2.5"]},"bs":{"BS":["AQ=="]},"m":{"M":{"k":{"N":"1.10"}}},"l":{"L":[{"NULL":true}]},"user.name":{"S":"é\n"}}"#;
    let bench = Bench::of(Faults::default(), options(), &[item]).await;
    bench.give(1, put("100000000000000000001", item)).await;
    bench.give(2, put("100000000000000000002", r#"{"id":{"S":"b"},"n":{"N":"7"}}"#)).await;
    bench.give(3, change("100000000000000000003", r#"{"id":{"S":"b"}}"#, false)).await;
    let (counters, letters) = bench.settled().await;
    assert_eq!((counters.written, counters.deleted, letters.len()), (2, 1, 0), "{letters:?}");
    assert_eq!(
        bench.double.rows(TABLE),
        [json!({
            "id": "a", "n": "1.5", "big": "0.00000000000000000001", "huge": "1E100", "b": "AQL/", "ok": true,
            "ss": ["x", "y"], "ns": ["1", "2.5"], "bs": ["AQ=="], "m": {"M": {"k": {"N": "1.10"}}},
            "l": {"L": [{"NULL": true}]}, "user_name": "é\n"
        })]
    );
    let table = bench.double.table(TABLE).unwrap();
    assert_eq!(table["tableConstraints"]["primaryKey"]["columns"], json!(["id"]));
    assert_eq!(table["clustering"]["fields"], json!(["id"]));
}

#[tokio::test]
async fn the_latest_change_wins_whatever_the_order_of_arrival_and_however_often_it_comes() {
    let faults = Faults { unavailable: 0.2, lose_reply: 0.2, seed: 3, ..Faults::default() };
    let bench = Bench::of(faults, options(), &[r#"{"id":{"S":"a"},"v":{"N":"1"}}"#]).await;
    // Of one key: in the parent just below 2^64 and 2^128, in the child past them; the bootstrap's row comes last.
    let sequences = [
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211455",
        "340282366920938463463374607431768211456",
        "9999999999999999999999999999999999999999",
    ];
    let mut n = 0;
    for _ in 0..3 {
        for (v, sequence) in sequences.iter().enumerate().rev() {
            for key in ["a", "b", "c"] {
                // Key c ends as deleted.
                let is_put = !(key == "c" && v + 1 == sequences.len());
                let item = json!({"id": {"S": key}, "v": {"N": v.to_string()}}).to_string();
                n += 1;
                bench.give(n, change(sequence, &item, is_put)).await;
            }
        }
        for key in ["a", "b", "c", "d"] {
            n += 1;
            bench.give(n, scanned(&json!({"id": {"S": key}, "v": {"N": "99"}}).to_string())).await;
        }
        tokio::task::yield_now().await;
    }
    let (counters, letters) = bench.settled().await;
    assert_eq!((counters.read, counters.dead, letters.len()), (n, 0, 0));
    let v: BTreeMap<String, String> =
        bench.by_id().into_iter().map(|(id, row)| (id, row["v"].as_str().unwrap().to_owned())).collect();
    let wanted = [("a", "4"), ("b", "4"), ("d", "99")].map(|(id, v)| (id.to_owned(), v.to_owned()));
    assert_eq!(v, BTreeMap::from(wanted));
    assert!(change_sequence(sequences[0]).unwrap().as_str() > BOOTSTRAP);
}

#[tokio::test]
async fn a_bad_row_is_a_dead_letter_and_its_neighbours_are_in_the_table() {
    let faults = Faults { poison: Some("venom".into()), ..Faults::default() };
    let bench = Bench::of(faults, options(), &[r#"{"id":{"S":"a"},"n":{"N":"1"},"s":{"S":"x"}}"#]).await;
    for n in 0..100_u64 {
        let item = match n {
            // Refused by BigQuery, by us, by its form, and for its sequence.
            10 => json!({"id": {"S": "10"}, "s": {"S": "venom"}}),
            20 => json!({"id": {"S": "20"}, "n": {"N": "1E100"}}),
            30 => json!({"id": {"S": "30"}, "n": {"S": "text"}}),
            _ => json!({"id": {"S": n.to_string()}, "n": {"N": n.to_string()}, "s": {"S": "x"}}),
        };
        let sequence = if n == 40 { "forty".to_owned() } else { (10_u128.pow(20) + u128::from(n)).to_string() };
        bench.give(n, put(&sequence, &item.to_string())).await;
    }
    let (counters, mut letters) = bench.settled().await;
    letters.sort_by_key(|letter| letter.line);
    assert_eq!(letters.iter().map(|letter| letter.line.unwrap()).collect::<Vec<_>>(), [10, 20, 30, 40]);
    for (letter, says) in
        letters.iter().zip(["a fault of the double", "no decimal type", "it is of type S", "no sequence number"])
    {
        assert!(letter.reason.contains(says), "{}", letter.reason);
    }
    let payload = br#"{"TableName":"p.d.t","Item":{"id":{"S":"10"},"s":{"S":"venom"}}}"#;
    assert_eq!(&letters[0].payload[..], payload);
    assert_eq!((counters.written, counters.dead, bench.by_id().len()), (96, 4, 96));
}

#[tokio::test]
async fn new_attributes_add_columns_and_rows_wait_until_bigquery_sees_them() {
    let faults = Faults { schema_lag: 4, ..Faults::default() };
    let bench = Bench::of(faults, options(), &[]).await;
    for n in 0..20_u64 {
        let item = json!({"id": {"S": n.to_string()}, format!("col.{}", n % 3): {"N": "1.5"}, "set": {"SS": ["x"]}});
        bench.give(n, put(&(10_u128.pow(20) + u128::from(n)).to_string(), &item.to_string())).await;
    }
    let (counters, letters) = bench.settled().await;
    assert_eq!((counters.written, letters.len()), (20, 0), "{letters:?}");
    let rows = bench.by_id();
    assert_eq!(rows["4"], json!({"id": "4", "col_1": "1.5", "set": ["x"]}));
    let fields = bench.double.table(TABLE).unwrap()["schema"]["fields"].clone();
    let modes: BTreeMap<&str, &str> =
        fields.as_array().unwrap().iter().map(|f| (f["name"].as_str().unwrap(), f["mode"].as_str().unwrap())).collect();
    assert_eq!(
        modes,
        BTreeMap::from([
            ("id", "REQUIRED"),
            ("col_0", "NULLABLE"),
            ("col_1", "NULLABLE"),
            ("col_2", "NULLABLE"),
            ("set", "REPEATED")
        ])
    );
    let notes = bench.replica.take_notes();
    assert!(notes.iter().any(|(_, words)| words.contains("col_1") && words.contains("\"col.1\"")), "{notes:?}");
    assert!(bench.replica.effort().retried > 0, "the lag was met");
}

#[tokio::test]
async fn by_choice_what_has_no_column_goes_into_a_json_column() {
    let options = Options { unknown_into: Some("rest".into()), ..options() };
    let bench = Bench::of(Faults::default(), options, &[r#"{"id":{"S":"a"},"n":{"N":"1"}}"#]).await;
    bench
        .give(
            1,
            put("100000000000000000001", r#"{"id":{"S":"a"},"n":{"S":"no number"},"new":{"BOOL":true},"N":{"N":"2"}}"#),
        )
        .await;
    let (counters, letters) = bench.settled().await;
    assert_eq!((counters.written, letters.len()), (1, 0), "{letters:?}");
    assert_eq!(
        bench.by_id()["a"],
        json!({
            "id": "a", "rest": {"n": {"S": "no number"}, "new": {"BOOL": true}, "N": {"N": "2"}}
        })
    );
}

#[tokio::test]
async fn a_log_has_each_change_once_though_replies_are_lost_and_bad_rows_stop_their_neighbours() {
    let options = Options { keeps: Keeps::Log, ..options() };
    let faults = Faults { unavailable: 0.1, lose_reply: 0.3, poison: Some("venom".into()), schema_lag: 3, seed: 5 };
    let bench = Bench::of(faults, options, &[]).await;
    for round in 0..2 {
        for n in 0..60_u64 {
            let text = if n == 7 { "venom".to_owned() } else { n.to_string() };
            let item = json!({"id": {"S": (n % 10).to_string()}, "v": {"S": text}}).to_string();
            bench
                .give(round * 100 + n, change(&(10_u128.pow(20) + u128::from(n)).to_string(), &item, n % 5 != 4))
                .await;
            tokio::task::yield_now().await;
        }
    }
    let (counters, letters) = bench.settled().await;
    assert_eq!((counters.written, counters.deleted, counters.dead), (2 * 47, 2 * 12, 2), "{letters:?}");
    let mut rows: Vec<(String, String)> = bench
        .double
        .rows(TABLE)
        .iter()
        .map(|row| {
            (row["sluice_sequence"].as_str().unwrap().to_owned(), row["sluice_change"].as_str().unwrap().to_owned())
        })
        .collect();
    rows.sort();
    let wanted = (0..60_u64).filter(|n| *n != 7).map(|n| {
        (format!("{:0>40}", 10_u128.pow(20) + u128::from(n)), if n % 5 == 4 { "DELETE" } else { "PUT" }.to_owned())
    });
    assert_eq!(rows, wanted.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_explained() {
    let double = Double::start(Faults::default()).await.unwrap();
    let id = json!({"name": "id", "type": "STRING", "mode": "REQUIRED"});
    double.make_table(TABLE, json!({"schema": {"fields": [id, {"name": "n", "type": "INTEGER"}]}})).unwrap();
    let error = opened(&double, options(), &[]).await.unwrap_err();
    assert_eq!(error.class, Class::Invalid);
    assert!(error.to_string().contains("primary key is not declared, and the source's key is id"), "{error}");
    assert!(error.to_string().contains("name another table"), "{error}");
}

#[tokio::test]
async fn a_table_that_goes_away_ends_the_job_with_words_and_no_row_is_called_dead() {
    let double = Double::start(Faults::default()).await.unwrap();
    let replica = opened(&double, options(), &[]).await.unwrap();
    // The endpoint stays, its table does not: a double without it.
    let other = Double::start(Faults::default()).await.unwrap();
    let service = Service::new(&access(&other), TableId::parse(TABLE).unwrap(), Guard::open()).unwrap();
    let columns = Columns::clone(&replica.columns());
    let channel = crate::bigquery::append::channel(&service).unwrap();
    let clock = Arc::new(Leaping::default());
    let replica = BigQueryReplica::start(service, channel, columns, options().key, None, clock, 1);
    let ledger = Arc::new(Ledger::new(10));
    let receipt = ledger.open(At(1)).await.unwrap();
    replica.take(put("100000000000000000001", r#"{"id":{"S":"a"}}"#), receipt).await.unwrap();
    let error = replica.failed().await;
    assert_eq!(error.class, Class::NotFound);
    assert!(error.to_string().contains("no table p.d.t in BigQuery any more"), "{error}");
    assert_eq!(ledger.mark().0, Counters::default(), "nothing was settled");
}

/// A clock whose waits are over at once, and count.
#[derive(Clone, Debug, Default)]
struct Leaping(Arc<Mutex<Duration>>);

impl Clock for Leaping {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration == APPEND {
            return std::future::pending().boxed();
        }
        *self.0.lock().unwrap() += duration;
        tokio::task::yield_now().boxed()
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<(bool, guard::Change)>>);

impl Witness for Told {
    fn sending(&self, change: &guard::Change) -> Option<i64> {
        self.0.lock().unwrap().push((true, change.clone()));
        None
    }
    fn would_send(&self, change: &guard::Change) {
        self.0.lock().unwrap().push((false, change.clone()));
    }
}

#[tokio::test]
async fn a_dry_run_shows_every_request_and_sends_none_and_read_only_refuses() {
    let double = Double::start(Faults::default()).await.unwrap();
    let told = Arc::new(Told::default());
    let access = access(&double);
    let of = |mode| {
        open(options(), &access, Guard::new(mode, told.clone()), Arc::new(SystemClock::new()), || async {
            Ok(vec![Bytes::from_static(br#"{"id":{"S":"a"}}"#)])
        })
    };
    let error = of(Mode::ReadOnly).await.unwrap_err();
    assert_eq!(error.class, Class::ReadOnly);
    let replica = of(Mode::DryRun).await.unwrap();
    let ledger = Arc::new(Ledger::new(10));
    let receipt = ledger.open(At(1)).await.unwrap();
    replica.take(put("100000000000000000001", r#"{"id":{"S":"a"},"new":{"N":"1"}}"#), receipt).await.unwrap();
    ledger.drained().await;
    assert_eq!((ledger.mark().0.skipped, ledger.mark().0.written), (1, 0));
    assert_eq!(double.table(TABLE), None);
    let told = told.0.lock().unwrap();
    let operations: Vec<&str> = told.iter().map(|(_, change)| change.operation.as_str()).collect();
    assert_eq!(operations, ["InsertDataset", "InsertTable", "PatchTable", "AppendRows"]);
    assert!(told.iter().all(|(sent, _)| !sent));
    assert!(told[3].1.request.contains(r#""new":"1""#), "{}", told[3].1.request);
}

#[tokio::test]
async fn a_change_leaves_its_line_in_the_audit_and_rows_leave_one_for_all() {
    let double = Double::start(Faults::default()).await.unwrap();
    let told = Arc::new(Told::default());
    let guard = Guard::new(Mode::Normal, told.clone());
    let clock = Arc::new(SystemClock::new());
    let replica = open(options(), &access(&double), guard, clock, || async { Ok(Vec::new()) }).await.unwrap();
    let ledger = Arc::new(Ledger::new(10));
    for n in 0..3 {
        let receipt = ledger.open(At(n)).await.unwrap();
        replica.take(put("100000000000000000001", r#"{"id":{"S":"a"}}"#), receipt).await.unwrap();
        ledger.drained().await;
    }
    let told = told.0.lock().unwrap();
    let operations: Vec<&str> = told.iter().map(|(_, change)| change.operation.as_str()).collect();
    assert_eq!(operations, ["InsertDataset", "InsertTable", "AppendRows"]);
}
