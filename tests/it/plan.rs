//! Plans by the real binary against the embedded AWS: what they say, and that they write nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::running::{Server, Sluice, block_on, count, create_stream, create_table, item, write_csv64};

struct Scene {
    server: Server,
    sluice: Sluice,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let server = Server::start(&["--limits", "off"]);
        Self { sluice: Sluice::at(&server.endpoint), server, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn backup(&self, items: usize) -> String {
        let path = self.path("historical.csv");
        write_csv64(&path, (0..items).map(item));
        path.to_str().unwrap().to_owned()
    }

    fn plan(&self, args: &[&str]) -> Value {
        let mut all = vec!["restore", "--plan", "--json"];
        all.extend(args);
        self.sluice.run(&all).expect(0).last_json()
    }

    fn writes(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// A schema as `aws dynamodb describe-table` prints one: a table and a sparse index of its own capacity.
fn described(key: &str) -> String {
    json!({ "Table": {
        "TableName": "original", "TableStatus": "ACTIVE", "ItemCount": 7,
        "TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/original",
        "AttributeDefinitions": [
            { "AttributeName": key, "AttributeType": "S" }, { "AttributeName": "day", "AttributeType": "S" }
        ],
        "KeySchema": [{ "AttributeName": key, "KeyType": "HASH" }],
        "ProvisionedThroughput": { "NumberOfDecreasesToday": 0, "ReadCapacityUnits": 20, "WriteCapacityUnits": 100 },
        "GlobalSecondaryIndexes": [{
            "IndexName": "by_day", "IndexStatus": "ACTIVE", "KeySchema": [{ "AttributeName": "day", "KeyType": "HASH" }],
            "Projection": { "ProjectionType": "KEYS_ONLY" },
            "ProvisionedThroughput": { "ReadCapacityUnits": 5, "WriteCapacityUnits": 10 }
        }]
    } })
    .to_string()
}

/// Items of which every fourth is in the index, and every second is larger than a KiB.
fn mixed(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| {
            let day = if n % 4 == 0 { r#","day":{"S":"mon"}"# } else { "" };
            let more = if n % 2 == 0 { "x".repeat(1_100) } else { String::new() };
            format!(r#"{{"id":{{"S":"{n:06}"}}{day},"x":{{"S":"{more}"}}}}"#)
        })
        .collect()
}

#[test]
fn a_plan_tells_everything_and_leaves_nothing_behind() {
    let scene = Scene::new();
    create_table(&scene.server.cloud(), "historical", 130);
    create_stream(&scene.server.cloud(), "restore", 4);
    let backup = scene.backup(2_600);
    let plan = scene.plan(&[&backup, "-t", "historical", "-k", "restore", "--within", "10s"]);
    assert_eq!((&plan["items"], &plan["exact"], &plan["sampled"]), (&2_600.into(), &true.into(), &false.into()));
    assert_eq!((&plan["wcu"], &plan["provisioned"]), (&2_600.0.into(), &130.into()));
    assert_eq!(plan["seconds"].as_f64().unwrap(), 20.0);
    assert_eq!((&plan["within"]["table"], &plan["within"]["suffices"]), (&260.into(), &false.into()));
    assert_eq!((&plan["shards"]["open"], &plan["shards"]["needed"]), (&4.into(), &1.into()));
    assert_eq!(plan["way"]["best"], "direct");
    assert_eq!(count(&scene.server.cloud(), "historical"), 0);
    assert!(std::fs::read_dir(scene.sluice.state.path()).unwrap().next().is_none(), "a plan needs no journal");
    let said = scene.sluice.run(&["restore", "--plan", &backup, "-t", "historical"]).expect(0).out;
    for words in ["items", "2,600", "exact", "limit: table write capacity, 130 WCU", "best way", "direct"] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
}

#[test]
fn a_large_backup_is_sampled_and_marked_so() {
    let scene = Scene::new();
    create_table(&scene.server.cloud(), "historical", 130);
    let backup = scene.backup(120_000);
    let plan = scene.plan(&[&backup, "-t", "historical"]);
    assert_eq!((&plan["exact"], &plan["sampled"], &plan["dead"]), (&false.into(), &true.into(), &0.into()));
    let (items, looked_at) = (plan["items"].as_f64().unwrap(), plan["looked_at"].as_u64().unwrap());
    assert!((items / 120_000.0 - 1.0).abs() < 0.01, "{items}");
    assert!((1_000..60_000).contains(&looked_at), "{looked_at}");
    let said = scene.sluice.run(&["restore", "--plan", &backup, "-t", "historical"]).expect(0).out;
    assert!(said.contains("records looked at"), "{said}");

    let packed = scene.path("packed.csv.gz");
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    for _ in 0..4 {
        gzip.write_all(&std::fs::read(&backup).unwrap()).unwrap();
        gzip.write_all(b"\n").unwrap();
    }
    gzip.finish().unwrap();
    let plan = scene.plan(&[packed.to_str().unwrap(), "-t", "historical"]);
    let items = plan["items"].as_f64().unwrap();
    assert!((items / 480_000.0 - 1.0).abs() < 0.1, "{items}");
    assert_eq!(plan["sampled"], true);
}

#[test]
fn a_table_is_made_as_its_schema_says_and_its_indexes_are_planned() {
    let scene = Scene::new();
    let schema = scene.writes("schema.json", &described("id"));
    let backup = scene.writes("items.jsonl", &mixed(400).join("\n"));
    let args = [backup.as_str(), "-t", "copy", "--create-table", &schema];
    let plan = scene.plan(&args);
    assert_eq!((&plan["wcu"], &plan["provisioned"]), (&600.0.into(), &100.into()));
    let index = &plan["indexes"][0];
    assert_eq!((&index["index"], &index["items"], &index["wcu"]), (&"by_day".into(), &100.into(), &100.0.into()));
    assert_eq!(plan["limit"]["limit"], "index");

    let without = scene.sluice.run(&["restore", &backup, "-t", "copy"]).expect(1).err;
    assert!(without.contains("--create-table FILE"), "{without}");
    let mut dry = vec!["restore", "--dry-run"];
    dry.extend(args);
    let dry = scene.sluice.run(&dry).expect(0);
    assert!(dry.out.contains("CreateTable") && dry.out.contains("aws dynamodb create-table"), "{dry:?}");
    assert!(scene.sluice.run(&["restore", &backup, "-t", "copy"]).code == 1, "a dry run makes nothing");

    let mut wet = vec!["restore", "--json"];
    wet.extend(args);
    let ended = scene.sluice.run(&wet).expect(0);
    assert_eq!(ended.last_json()["written"], 400);
    let cloud = scene.server.cloud();
    let table = block_on(cloud.dynamodb.describe_table().table_name("copy").send()).unwrap().table.unwrap();
    assert_eq!(table.provisioned_throughput().unwrap().write_capacity_units(), Some(100));
    assert_eq!(table.global_secondary_indexes()[0].index_name(), Some("by_day"));
    assert_eq!(table.global_secondary_indexes()[0].provisioned_throughput().unwrap().write_capacity_units(), Some(10));
    let audit = scene.sluice.run(&["audit", "--json"]).expect(0).out;
    assert!(audit.contains("CreateTable"), "{audit}");

    // There already, with the same key: left as it is. With another: refused, and both are shown.
    scene.sluice.run(&wet).expect(0);
    let other = scene.writes("other.json", &described("name"));
    let refused = scene.sluice.run(&["restore", &backup, "-t", "copy", "--create-table", &other]).expect(1).err;
    assert!(refused.contains("it has id (S), the schema says name (S)"), "{refused}");
}

#[test]
fn a_raise_for_within_is_asked_for_done_and_given_back() {
    let scene = Scene::new();
    create_table(&scene.server.cloud(), "historical", 130);
    let backup = scene.backup(2_600);
    let args = ["restore", backup.as_str(), "-t", "historical", "--within", "10s", "--bump", "--json"];
    let refused = scene.sluice.run(&args).expect(2).err;
    assert!(refused.contains("nobody is there to ask"), "{refused}");
    assert_eq!(count(&scene.server.cloud(), "historical"), 0);
    let mut agreed = args.to_vec();
    agreed.push("--yes");
    let ended = scene.sluice.run(&agreed).expect(0);
    assert!(ended.err.contains("raise table historical from 130 to 260 WCU (+$0.08 an hour)"), "{}", ended.err);
    assert_eq!(ended.last_json()["written"], 2_600);
    let id = ended.last_json()["job"].as_str().unwrap().to_owned();
    let audit = scene.sluice.run(&["audit", "--json"]).expect(0).out;
    assert!(audit.contains("UpdateTable"), "{id}: {audit}");
    let table = block_on(scene.server.cloud().dynamodb.describe_table().table_name("historical").send()).unwrap();
    let throughput = table.table.unwrap().provisioned_throughput.unwrap();
    assert_eq!(throughput.write_capacity_units, Some(130), "it was given back");
}

#[test]
fn within_alone_goes_on_where_the_capacity_suffices_and_asks_where_it_does_not() {
    let scene = Scene::new();
    create_table(&scene.server.cloud(), "historical", 130);
    let backup = scene.backup(130);
    let enough = scene.sluice.run(&["restore", &backup, "-t", "historical", "--within", "1h", "--json"]).expect(0);
    assert!(enough.err.contains("the present capacity suffices"), "{}", enough.err);
    assert_eq!(count(&scene.server.cloud(), "historical"), 130);
    let backup = scene.backup(2_600);
    let refused = scene.sluice.run(&["restore", &backup, "-t", "historical", "--within", "2s"]).expect(2).err;
    assert!(refused.contains("is not to be had at the present capacity: it takes 20s"), "{refused}");
    assert!(refused.contains("--bump raises historical to 1,300 WCU"), "{refused}");
    assert_eq!(count(&scene.server.cloud(), "historical"), 130, "nothing was begun");
}

#[test]
fn what_cant_be_planned_is_told_in_words() {
    let scene = Scene::new();
    create_table(&scene.server.cloud(), "historical", 130);
    let backup = scene.backup(3);
    let error = |args: &[&str], code| scene.sluice.run(args).expect(code).err;
    let stdin = error(&["restore", "-", "-t", "historical", "--plan"], 2);
    assert!(stdin.contains("standard input can't be looked at"), "{stdin}");
    let near = error(&["restore", &backup, "-t", "historcal", "--plan"], 1);
    assert!(near.contains("did you mean historical?"), "{near}");
    let soon = error(&["restore", &backup, "-t", "historical", "--within", "soon"], 2);
    assert!(soon.contains("write 2h"), "{soon}");
    error(&["restore", &backup, "-t", "historical", "--bump"], 2);
    let missing = error(&["restore", &backup, "-t", "new", "--create-table", "/no/such.json"], 1);
    assert!(missing.contains("the schema file /no/such.json can't be read"), "{missing}");
    let export = error(&["restore", &backup, "-t", "new", "--create-table", "export"], 1);
    assert!(export.contains("is no DynamoDB export"), "{export}");
    let wrong = scene.writes("wrong.json", r#"{"KeySchema":[],"Attributes":[]}"#);
    let wrong = error(&["restore", &backup, "-t", "new", "--create-table", &wrong], 1);
    assert!(wrong.contains("CreateTable has no field") || wrong.contains("is no table's schema"), "{wrong}");
    assert!(Path::new(&backup).exists());
}
