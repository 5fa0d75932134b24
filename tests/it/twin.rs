//! The command line as the console's twin: views that print, reports of jobs, changes that are undone, and what
//! `sluice info` finds wrong.

use std::io::{BufRead as _, BufReader};

use aws_sdk_dynamodb::types::StreamViewType;
use serde_json::Value;
use sluicegate::cloud::Cloud;

use crate::capacity::create_indexed_table;
use crate::running::{Server, Sluice, block_on, create_stream, create_table, item, signal, until, write_csv64};

struct Scene {
    cloud: Cloud,
    server: Server,
    sluice: Sluice,
}

fn scene() -> Scene {
    let server = Server::start(&["--limits", "on"]);
    Scene { cloud: server.cloud(), sluice: Sluice::at(&server.endpoint), server }
}

impl Scene {
    /// The lines of the audit, oldest first.
    fn audit(&self, args: &[&str]) -> Vec<Value> {
        let ended = self.sluice.run(&[&["audit", "--json"][..], args].concat()).expect(0);
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// RCU and WCU of a table, once it is settled.
    fn units(&self, table: &str) -> (i64, i64) {
        until("the table is active", || {
            let table = block_on(self.cloud.dynamodb.describe_table().table_name(table).send()).ok()?.table?;
            let has = table.provisioned_throughput.as_ref()?;
            let units = (has.read_capacity_units?, has.write_capacity_units?);
            (table.table_status.as_ref()?.as_str() == "ACTIVE").then_some(units)
        })
    }

    fn stream(&self, name: &str) -> Value {
        until("the stream is active", || {
            let stream = self.sluice.run(&["streams", name, "--json"]).expect(0).last_json();
            (stream["status"] == "ACTIVE").then_some(stream)
        })
    }
}

#[test]
fn a_capacity_goes_back_to_what_it_was_and_that_is_a_line_of_its_own() {
    let scene = scene();
    create_table(&scene.cloud, "quotes", 130);
    scene.sluice.run(&["capacity", "quotes", "--write", "200", "-y"]).expect(0);
    scene.units("quotes");
    let line = scene.audit(&["--table", "quotes"]).pop().unwrap();
    let number = line["number"].to_string();
    assert_eq!((&line["can_undo"], &line["undone_by"]), (&Value::Bool(true), &Value::Null), "{line}");
    // The region is the one that it was signed for, whatever the environment says later.
    assert_eq!(line["context"]["region"], "us-east-1", "{line}");
    // Nobody is there to be asked.
    let ended = scene.sluice.run(&["audit", "--undo", &number]).expect(2);
    assert!(ended.err.contains("--yes"), "{ended:?}");
    let ended = scene.sluice.run(&["audit", "--undo", &number, "--dry-run"]);
    assert!(ended.out.contains("would_send") && ended.out.contains("\"WriteCapacityUnits\":130"), "{ended:?}");
    assert_eq!(scene.units("quotes"), (1_000, 200));
    let ended = scene.sluice.run(&["audit", "--undo", &number, "-y"]).expect(0);
    assert!(ended.out.contains("from 200 to 130 WCU") && ended.out.contains("(-$0.05 an hour)"), "{ended:?}");
    assert_eq!(scene.units("quotes"), (1_000, 130));
    let lines = scene.audit(&["--table", "quotes"]);
    let undoing = lines.last().unwrap();
    assert_eq!(undoing["undoes"].to_string(), number);
    assert_eq!(lines[lines.len() - 2]["undone_by"], undoing["number"]);
    let ended = scene.sluice.run(&["audit", "--undo", &number, "-y"]).expect(0);
    assert!(ended.out.contains("nothing to undo"), "{ended:?}");
    let told = scene.sluice.run(&["audit", "--undo", &number, "-y", "--json"]).expect(0).last_json();
    assert_eq!((&told["undone"], &told["changed"]), (&Value::Null, &Value::Bool(false)), "{told}");
    // What was raised by hand is owed no more.
    let ended = scene.sluice.run(&["capacity", "quotes", "--give-back"]).expect(0);
    assert!(ended.out.contains("nothing to give back"), "{ended:?}");
    // The undoing can be undone.
    scene.sluice.run(&["audit", "--undo", &undoing["number"].to_string(), "-y"]).expect(0);
    assert_eq!(scene.units("quotes"), (1_000, 200));
}

#[test]
fn what_somebody_has_changed_since_is_told_and_left_alone_without_force() {
    let scene = scene();
    create_indexed_table(&scene.cloud, "quotes", 130, 50);
    scene.sluice.run(&["capacity", "quotes", "--write", "200", "-y"]).expect(0);
    scene.units("quotes");
    let number = scene.audit(&["--table", "quotes"]).pop().unwrap()["number"].to_string();
    scene.sluice.run(&["capacity", "quotes", "--write", "300", "-y"]).expect(0);
    scene.units("quotes");
    let ended = scene.sluice.run(&["audit", "--undo", &number, "-y"]).expect(1);
    assert!(ended.err.contains("has 300 WCU") && ended.err.contains("--force"), "{ended:?}");
    assert!(ended.err.contains("by line "), "it says who: {ended:?}");
    assert_eq!(scene.units("quotes").1, 300);
    scene.sluice.run(&["audit", "--undo", &number, "-y", "--force"]).expect(0);
    assert_eq!(scene.units("quotes").1, 130);
    // Elsewhere it was not made.
    let ended = scene.sluice.run(&["audit", "--undo", &number, "-y", "--region", "eu-west-1"]).expect(2);
    assert!(ended.err.contains("was made in"), "{ended:?}");
    scene.sluice.run(&["audit", "--undo", "4711", "-y"]).expect(1);
    // Read-only refuses, and nothing is sent.
    scene.sluice.run(&["capacity", "quotes", "--write", "150", "-y"]).expect(0);
    scene.units("quotes");
    let number = scene.audit(&["--table", "quotes"]).pop().unwrap()["number"].to_string();
    scene.sluice.run(&["audit", "--undo", &number, "-y", "--read-only"]).expect(1);
    assert_eq!(scene.units("quotes").1, 150);
}

#[test]
fn shards_retention_and_a_paused_function_go_back_too() {
    let scene = scene();
    create_stream(&scene.cloud, "s", 1);
    scene.sluice.run(&["capacity", "--stream", "s", "--shards", "2", "-y"]).expect(0);
    scene.stream("s");
    scene.sluice.run(&["streams", "s", "--retention", "48", "-y"]).expect(0);
    let lines = scene.audit(&["--table", "s"]);
    let number = |operation: &str| {
        let found = lines.iter().find(|line| line["operation"] == operation);
        found.unwrap_or_else(|| panic!("no {operation} in {lines:?}"))["number"].to_string()
    };
    scene.sluice.run(&["audit", "--undo", &number("IncreaseStreamRetentionPeriod"), "-y"]).expect(0);
    assert_eq!(scene.stream("s")["retention_hours"], 24);
    scene.sluice.run(&["audit", "--undo", &number("UpdateShardCount"), "-y"]).expect(0);
    assert_eq!(scene.stream("s")["open_shards"], 1);
    let described = block_on(scene.cloud.kinesis.describe_stream_summary().stream_name("s").send()).unwrap();
    let arn = described.stream_description_summary.unwrap().stream_arn;
    let made = scene.cloud.lambda.create_event_source_mapping().function_name("put").event_source_arn(arn);
    let uuid = block_on(made.send()).unwrap().uuid.unwrap();
    let state = |wanted: &str| {
        until("the mapping is settled", || {
            let found = scene.sluice.run(&["streams", "s", "--mappings", "--json"]).expect(0).last_json();
            (found["state"] == wanted).then_some(())
        });
    };
    state("Enabled");
    scene.sluice.run(&["streams", "s", "--pause-mapping", "put", "-y"]).expect(0);
    state("Disabled");
    let number = scene.audit(&["--table", &uuid]).pop().unwrap()["number"].to_string();
    scene.sluice.run(&["audit", "--undo", &number, "-y"]).expect(0);
    state("Enabled");
}

#[test]
fn the_stream_of_a_table_and_its_expiry_go_back_too() {
    let scene = scene();
    create_table(&scene.cloud, "quotes", 1_000);
    create_table(&scene.cloud, "copy", 1_000);
    let number = |table: &str, operation: &str| {
        let lines = scene.audit(&["--table", table]);
        let found = lines.iter().rfind(|line| line["operation"] == operation);
        found.unwrap_or_else(|| panic!("no {operation} in {lines:?}"))["number"].to_string()
    };
    let view = |wanted: Option<&str>| {
        until("the stream is set", || {
            let table = block_on(scene.cloud.dynamodb.describe_table().table_name("quotes").send()).ok()?.table?;
            let view = table.stream_specification.and_then(|stream| stream.stream_view_type);
            (view.as_ref().map(StreamViewType::as_str) == wanted).then_some(())
        });
    };
    scene.sluice.run(&["replicate", "-t", "quotes", "--to", "copy", "--until-caught-up", "-y"]).expect(0);
    view(Some("NEW_IMAGE"));
    let ended = scene.sluice.run(&["audit", "--undo", &number("quotes", "UpdateTable"), "-y"]).expect(0);
    assert!(ended.out.contains("from NEW_IMAGE to none"), "{ended:?}");
    view(None);
    scene.sluice.run(&["audit", "--undo", &number("quotes", "UpdateTable"), "-y"]).expect(0);
    view(Some("NEW_IMAGE"));

    let schema = scene.sluice.state.path().join("dated.json");
    let text = r#"{"Table": {"TableName": "dated", "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}},
        "TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}}"#;
    std::fs::write(&schema, text).unwrap();
    let backup = scene.sluice.state.path().join("dated.csv");
    write_csv64(&backup, (0..10).map(item));
    let (schema, backup) = (schema.to_str().unwrap(), backup.to_str().unwrap());
    scene.sluice.run(&["restore", backup, "-t", "dated", "--create-table", schema, "-y"]).expect(0);
    let expires = || {
        let reply = block_on(scene.cloud.dynamodb.describe_time_to_live().table_name("dated").send()).unwrap();
        reply.time_to_live_description.unwrap().time_to_live_status.unwrap().as_str().starts_with("ENABL")
    };
    assert!(expires());
    let begun = number("dated", "UpdateTimeToLive");
    let ended = scene.sluice.run(&["audit", "--undo", &begun, "-y"]).expect(0);
    assert!(ended.out.contains("expiry by expires ends"), "{ended:?}");
    assert!(!expires());
    let ended = scene.sluice.run(&["audit", "--undo", &begun, "-y"]).expect(0);
    assert!(ended.out.contains("nothing to undo"), "{ended:?}");
}

#[test]
fn what_has_no_opposite_says_so_and_each_line_is_a_command() {
    let scene = scene();
    create_table(&scene.cloud, "quotes", 1_000);
    let path = scene.sluice.state.path().join("backup.csv");
    write_csv64(&path, (0..30).map(item));
    scene.sluice.run(&["restore", path.to_str().unwrap(), "-t", "quotes"]).expect(0);
    let line = scene.audit(&["--table", "quotes"]).pop().unwrap();
    assert_eq!(line["can_undo"], false);
    let ended = scene.sluice.run(&["audit", "--undo", &line["number"].to_string(), "-y"]).expect(1);
    assert!(ended.err.contains("restore them from a backup"), "{ended:?}");
    scene.sluice.run(&["capacity", "quotes", "--write", "1100", "-y"]).expect(0);
    let ended = scene.sluice.run(&["audit", "--commands", "--since", "1h"]).expect(0);
    assert!(ended.out.contains("aws dynamodb update-table --cli-input-json '{"), "{ended:?}");
    assert!(ended.out.contains(&format!("--endpoint-url '{}'", scene.server.endpoint)), "{ended:?}");
    assert!(ended.out.lines().all(|line| line.starts_with('#') || line.starts_with("aws ")), "{}", ended.out);
    assert!(scene.audit(&["--job", "r-none"]).is_empty());
    assert!(scene.sluice.run(&["audit"]).expect(0).out.contains("UNDO"));
}

#[test]
fn what_aws_denied_is_in_the_audit_as_such_and_is_nothing_to_undo() {
    let server = Server::start(&["--deny", "dynamodb:UpdateTable"]);
    let scene = Scene { cloud: server.cloud(), sluice: Sluice::at(&server.endpoint), server };
    create_table(&scene.cloud, "quotes", 130);
    scene.sluice.run(&["capacity", "quotes", "--write", "200", "-y"]).expect(1);
    let lines = scene.audit(&["--table", "quotes"]);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["outcome"], &line["can_undo"]), (&"refused".into(), &Value::Bool(false)), "{line}");
    assert!(line["outcome_words"].as_str().unwrap().starts_with("AccessDeniedException: "), "{line}");
    let printed = scene.sluice.run(&["audit"]).expect(0);
    assert!(printed.out.contains("OUTCOME") && printed.out.contains("refused: AccessDeniedException"), "{printed:?}");
    let ended = scene.sluice.run(&["audit", "--undo", &line["number"].to_string(), "-y"]).expect(1);
    assert!(ended.err.contains("it was refused and changed nothing"), "{ended:?}");
}

#[test]
fn a_finished_restore_has_a_report_with_its_charts_and_its_proof() {
    let scene = scene();
    create_table(&scene.cloud, "quotes", 200);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.csv");
    let bad = "{\"id\":\"<script>alert(1)</script>\"}".to_owned();
    write_csv64(&backup, (0..500).map(item).chain([bad]));
    let backup = backup.to_str().unwrap();
    let job = scene.sluice.run(&["restore", backup, "-t", "quotes", "--json"]).expect(3).last_json()["job"].clone();
    let job = job.as_str().unwrap();
    let page = folder.path().join("last night.html");
    scene.sluice.run(&["jobs", job, "--report", page.to_str().unwrap()]).expect(0);
    let html = std::fs::read_to_string(&page).unwrap();
    for words in ["500", "Every record that was read is accounted for", "<svg", "Write capacity", "Dead letters"] {
        assert!(html.contains(words), "{words}");
    }
    assert!(!html.contains("<script"), "{html}");
    let page = folder.path().join("r.md");
    let written = scene.sluice.run(&["jobs", job, "--report", page.to_str().unwrap(), "--json"]).expect(0).last_json();
    assert!(written["written"].as_array().unwrap().len() > 2, "{written}");
    assert!(folder.path().join("r-1.svg").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&page).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds payloads of dead letters");
    scene.sluice.run(&["jobs", job, "--report", page.to_str().unwrap()]).expect(0);
    let (page, picture) = (folder.path().join("s.md"), folder.path().join("s-1.svg"));
    std::fs::write(&picture, "mine").unwrap();
    let ended = scene.sluice.run(&["jobs", job, "--report", page.to_str().unwrap()]).expect(1);
    assert!(ended.err.contains("s-1.svg would be replaced: nothing was written"), "{ended:?}");
    assert!(!page.exists() && std::fs::read_to_string(&picture).unwrap() == "mine");
    let printed = scene.sluice.run(&["jobs", job, "--report", "-", "--format", "md"]).expect(0);
    assert!(printed.out.starts_with("# restore"), "{printed:?}");
    scene.sluice.run(&["jobs", job, "--report", "report.pdf"]).expect(2);
    scene.sluice.run(&["jobs", "r-none", "--report", "-"]).expect(1);
    let missing = folder.path().join("nowhere").join("r.html");
    let ended = scene.sluice.run(&["jobs", job, "--report", missing.to_str().unwrap()]).expect(1);
    assert!(ended.err.contains("could not be written"), "{ended:?}");
}

#[test]
fn a_watched_job_is_a_line_a_round_and_ends_with_it() {
    let scene = scene();
    create_table(&scene.cloud, "quotes", 1_000);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.csv");
    write_csv64(&backup, (0..100_000).map(item));
    let started = scene
        .sluice
        .run(&["restore", backup.to_str().unwrap(), "-t", "quotes", "--rate", "20", "--detach", "--json"])
        .expect(0);
    let job = started.last_json()["job"].as_str().unwrap().to_owned();
    let mut watching = scene.sluice.start(&["jobs", &job, "--watch", "100ms"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(&job) && line.contains("written") && !line.contains('\x1b'), "{line}");
    }
    let row = until("its speed is known", || {
        let row = scene.sluice.run(&["jobs", &job, "--json"]).expect(0).last_json();
        row["eta_seconds"].is_number().then_some(row)
    });
    assert!(row["per_second"].as_f64().unwrap() > 0.0 && row["limit"] != "", "{row}");
    let printed = scene.sluice.run(&["jobs", &job]).expect(0).out;
    assert!(printed.contains("/s  ") && printed.contains(" left"), "{printed}");
    scene.sluice.run(&["cancel", &job]).expect(0);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.last().unwrap().contains("cancelled"), "{rest:?}");
    assert!(watching.wait().unwrap().success());
    // Lists go on until they are told to stop.
    let mut watching = scene.sluice.start(&["tables", "--watch", "100ms", "--json"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    assert!((0..3).all(|_| lines.next().unwrap().unwrap().contains("quotes")));
    signal(watching.id(), "TERM");
    assert!(watching.wait().unwrap().success());
}

#[test]
fn one_table_is_printed_with_its_indexes_and_its_charts_as_numbers() {
    let scene = scene();
    create_indexed_table(&scene.cloud, "quotes", 130, 50);
    let table = scene.sluice.run(&["tables", "quotes", "--json"]).expect(0).last_json();
    assert_eq!(table["table"], "quotes");
    assert_eq!(table["write_capacity"], 130, "{table}");
    assert_eq!(table["indexes"][0]["index"], "by_day");
    assert!(table["minutes"].is_array() && table["decreases_left"].is_number(), "{table}");
    let printed = scene.sluice.run(&["tables", "quotes"]).expect(0);
    assert!(printed.out.contains("by_day") && printed.out.contains("key id (S)"), "{printed:?}");
    assert_eq!(scene.sluice.run(&["tables", "--events", "--json"]).expect(0).out, "");
    let ended = scene.sluice.run(&["tables", "quote"]).expect(1);
    assert!(ended.err.contains("did you mean quotes?"), "{ended:?}");
    let ended = scene.sluice.run(&["leases", "quotes"]).expect(0);
    assert!(ended.out.contains("no lease"), "{ended:?}");
}

#[test]
fn one_stream_is_printed_with_what_goes_through_it_and_its_charts_as_numbers() {
    let scene = scene();
    create_stream(&scene.cloud, "s", 2);
    let stream = scene.sluice.run(&["streams", "s", "--over", "1h", "--json"]).expect(0).last_json();
    assert!(stream["minutes"].is_array() && stream["arn"].is_string(), "{stream}");
    let listed = scene.sluice.run(&["streams", "--json"]).expect(0).last_json();
    for field in listed.as_object().unwrap().keys() {
        assert!(stream.get(field).is_some(), "{field} is in the list alone: {stream}");
    }
    assert!(stream["shards"][0].get("records_in_per_second").is_some(), "{stream}");
    let printed = scene.sluice.run(&["streams", "s"]).expect(0);
    assert!(printed.out.contains("2 open of 2 shards") && printed.out.contains("IN/S"), "{printed:?}");
    scene.sluice.run(&["streams", "--over", "1h"]).expect(2);
    scene.sluice.run(&["streams", "s", "--over", "1h", "--mappings"]).expect(2);
}

#[test]
fn info_says_what_is_wrong_and_the_manual_has_a_page_for_each_command() {
    let sluice = Sluice::new();
    let found = sluice.run(&["info", "--json", "--region", "eu-west-1"]).expect(0).last_json();
    assert_eq!(found["region"], "eu-west-1");
    assert_eq!(found["journal_exists"], false, "{found}");
    assert!(found["features"].as_array().unwrap().contains(&"local".into()), "{found}");
    std::fs::write(sluice.state.path().join("journal.sqlite"), "no database").unwrap();
    let ended = sluice.run(&["info"]).expect(0);
    assert!(
        ended.out.contains("what is wrong:") && ended.out.contains("journal.sqlite could not be used"),
        "{ended:?}"
    );
    assert!(ended.out.contains("no AWS region is set"), "{ended:?}");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    sluice.run(&["man", "--out", out.to_str().unwrap()]).expect(0);
    for page in ["sluice.1", "sluice-restore.1", "sluice-dead-list.1"] {
        assert!(out.join(page).exists(), "{page}");
    }
    let page = std::fs::read_to_string(out.join("sluice.1")).unwrap();
    assert!(page.contains("EXIT STATUS") && !page.contains("sluice-worker"), "{page}");
}
