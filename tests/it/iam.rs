//! What jobs ask of AWS is what `sluice iam` prints: no less, and no more.

use std::collections::BTreeSet;
use std::path::Path;

use sluicegate::cloud::{Cloud, Context, Guard};
use sluicegate::jobs::journal::now_ms;
use sluicegate::local::{Local, Options};

use crate::running::{Server, Sluice, block_on, create_stream, create_table, item, signal, write_csv64};

/// An embedded AWS in this process, which tells what it was asked.
struct Watched {
    local: Local,
    cloud: Cloud,
    sluice: Sluice,
}

impl Watched {
    fn start() -> Self {
        let local = block_on(Local::start(Options { limits: false, ..Options::default() })).expect("a free port");
        let context = Context { endpoint_url: Some(local.endpoint().to_owned()), ..Context::default() };
        let cloud = block_on(Cloud::connect(&context, Guard::open())).expect("a loopback endpoint has a region");
        let sluice = Sluice::at(local.endpoint());
        Self { local, cloud, sluice }
    }

    /// The actions that `args` asked for. STS needs no permission.
    fn asked(&self, args: &[&str]) -> BTreeSet<String> {
        self.local.take_asked();
        self.sluice.run(args).expect(0);
        self.local.take_asked().into_iter().filter(|action| !action.starts_with("sts:")).collect()
    }

    /// The actions in the policy of `args`.
    fn granted(&self, args: &[&str]) -> BTreeSet<String> {
        let iam: Vec<&str> = std::iter::once("iam").chain(args.iter().copied()).collect();
        let ended = self.sluice.run(&iam).expect(0);
        let policy: serde_json::Value = serde_json::from_str(&ended.out).expect("a policy is JSON");
        let statements = policy["Statement"].as_array().expect("a policy has statements");
        let actions = statements.iter().flat_map(|s| s["Action"].as_array().expect("a statement has actions"));
        actions.map(|action| action.as_str().expect("an action is text").to_owned()).collect()
    }

    /// Runs `args` and holds what was asked against what is granted; of that, `spare` is for what a healthy run has no
    /// need of.
    #[track_caller]
    fn holds(&self, args: &[&str], iam: &[&str], spare: &[&str]) {
        let (asked, granted) = (self.asked(args), self.granted(iam));
        let lacking: Vec<_> = asked.difference(&granted).collect();
        assert!(lacking.is_empty(), "{args:?} asked for {lacking:?}, which the policy lacks");
        let unused: Vec<_> = granted.difference(&asked).filter(|action| !spare.contains(&action.as_str())).collect();
        assert!(unused.is_empty(), "the policy of {iam:?} allows {unused:?}, which {args:?} did not use");
        let idle: Vec<_> = spare.iter().filter(|action| !granted.contains(**action)).collect();
        assert!(idle.is_empty(), "{idle:?} are not in the policy of {iam:?}");
    }
}

fn backup(folder: &Path, items: usize) -> String {
    let path = folder.join("b.csv");
    write_csv64(&path, (0..items).map(item));
    path.to_string_lossy().into_owned()
}

/// A writer sends singly what has a condition, and what a batch was refused for.
const SINGLY: [&str; 2] = ["dynamodb:DeleteItem", "dynamodb:PutItem"];

#[test]
fn a_restore_asks_for_what_its_policy_allows_and_for_nothing_else() {
    let aws = Watched::start();
    let folder = tempfile::tempdir().unwrap();
    let file = backup(folder.path(), 300);
    create_table(&aws.cloud, "quotes", 1_000);
    create_stream(&aws.cloud, "s", 2);
    aws.holds(&["restore", &file, "-t", "quotes"], &["restore", &file, "-t", "quotes"], &SINGLY);
    aws.holds(
        &["restore", &file, "-t", "quotes", "--if-not-exists"],
        &["restore", &file, "-t", "quotes", "--if-not-exists"],
        &["dynamodb:BatchWriteItem", "dynamodb:DeleteItem"],
    );
    aws.holds(&["restore", &file, "-t", "quotes", "-k", "s"], &["restore", "-t", "quotes", "-k", "s"], &SINGLY);
    let produce = ["restore", &file, "-t", "quotes", "-k", "s", "--no-workers"];
    aws.holds(&produce, &produce, &[]);
    let leave = ["restore", &file, "-t", "quotes", "--leave", "20%"];
    // CloudWatch is asked every half minute: a job this short may end before.
    aws.holds(&leave, &leave, &[SINGLY[0], SINGLY[1], "cloudwatch:GetMetricData"]);
}

#[test]
fn a_backup_into_s3_and_the_verify_of_it_ask_for_what_their_policies_allow() {
    let aws = Watched::start();
    let folder = tempfile::tempdir().unwrap();
    let file = backup(folder.path(), 300);
    create_table(&aws.cloud, "quotes", 1_000);
    aws.sluice.run(&["restore", &file, "-t", "quotes"]).expect(0);
    block_on(aws.cloud.s3.create_bucket().bucket("backups").send()).unwrap();
    // Only what is broken off has parts to give up.
    let abort = ["s3:AbortMultipartUpload"];
    let to = ["backup", "-t", "quotes", "s3://backups/h/t.csv"];
    aws.holds(&to, &to, &abort);
    let sampled = ["verify", "s3://backups/h/t.csv", "-t", "quotes", "--sample", "50"];
    aws.holds(&sampled, &sampled, &[]);
    // All of a table is scanned; keys are asked for once more only where something differs.
    let whole = ["verify", "s3://backups/h/t.csv", "-t", "quotes"];
    aws.holds(&whole, &whole, &["dynamodb:BatchGetItem"]);
    let restore = ["restore", "s3://backups/h/t.csv", "-t", "quotes"];
    aws.holds(&restore, &restore, &SINGLY);
}

#[test]
fn changing_capacity_asks_for_what_its_policy_allows() {
    let aws = Watched::start();
    create_table(&aws.cloud, "quotes", 100);
    create_stream(&aws.cloud, "s", 2);
    aws.holds(&["capacity", "quotes", "--write", "150", "-y"], &["capacity", "quotes"], &[]);
    aws.holds(&["capacity", "--stream", "s", "--shards", "3", "-y"], &["capacity", "--stream", "s"], &[]);
}

#[test]
fn the_event_store_asks_for_what_its_policies_allow() {
    let aws = Watched::start();
    create_stream(&aws.cloud, "es-stream", 2);
    create_stream(&aws.cloud, "again", 2);
    create_table(&aws.cloud, "quotes", 1_000);
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("event.json");
    std::fs::write(&body, item(1)).unwrap();
    let body = body.to_string_lossy().into_owned();
    let load = ["load", "-k", "es-stream", "--count", "200", "--body", &body];
    aws.holds(&load, &["load", "-k", "es-stream"], &[]);
    let pump = ["pump", "--store", "es", "--create-tables", "--once"];
    aws.holds(&pump, &pump, &SINGLY);
    let onto = ["playback", "--events", "es-event-table", "--from", "1h", "--to-stream", "again"];
    aws.holds(&onto, &onto, &[]);
    let puts = ["playback", "--events", "es-event-table", "--from", "1h", "--to-puts", "again", "-t", "quotes"];
    aws.holds(&puts, &puts, &[]);
    let out = ["playback", "--events", "es-event-table", "--from", "1h", "--out", "-"];
    aws.holds(&out, &out, &[]);
}

#[test]
fn a_put_worker_asks_for_what_its_policy_allows_polling_sent_to_or_sharing() {
    let aws = Watched::start();
    let folder = tempfile::tempdir().unwrap();
    let file = backup(folder.path(), 300);
    create_table(&aws.cloud, "quotes", 1_000);
    let produce = |stream: &str| {
        create_stream(&aws.cloud, stream, 2);
        aws.sluice.run(&["restore", &file, "-t", "quotes", "-k", stream, "--no-workers"]).expect(0);
    };
    produce("polled");
    let polled = ["work", "-k", "polled", "--drain"];
    aws.holds(&polled, &polled, &SINGLY);
    produce("sent");
    let sent = ["work", "-k", "sent", "--drain", "--fan-out", "sluice"];
    aws.holds(&sent, &sent, &SINGLY);
    produce("shared");
    // A lease is renewed and handed over in a run of any length; this one ends before.
    let shared = ["work", "-k", "shared", "--drain", "--lease-table", "leases"];
    aws.holds(&shared, &shared, &SINGLY);
}

#[test]
fn the_tracker_asks_for_what_its_policy_allows() {
    use std::io::{BufRead as _, Read as _, Write as _};
    let aws = Watched::start();
    create_stream(&aws.cloud, "events", 2);
    aws.local.take_asked();
    let mut tracker = aws.sluice.start(&["track", "-k", "events", "--listen", "127.0.0.1:0", "--json"]);
    let mut ready = String::new();
    std::io::BufReader::new(tracker.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let address = ready["listening"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut to = std::net::TcpStream::connect(address).unwrap();
    to.write_all(b"GET /track.gif?a=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    to.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    signal(tracker.id(), "TERM");
    tracker.wait().unwrap();
    let asked: BTreeSet<String> =
        aws.local.take_asked().into_iter().filter(|action| !action.starts_with("sts:")).collect();
    assert_eq!(asked, aws.granted(&["track", "-k", "events"]));
}

#[test]
fn an_autoscaler_asks_for_what_its_policy_allows() {
    let aws = Watched::start();
    let folder = tempfile::tempdir().unwrap();
    create_table(&aws.cloud, "events", 130);
    let now = now_ms();
    for minute in 0..=10 {
        let metrics = aws.local.metrics();
        let of = [("TableName", "events")];
        metrics.record("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &of, now - minute * 60_000, 129.0 * 60.0);
    }
    let rules = folder.path().join("rules.toml");
    std::fs::write(&rules, "[[table]]\nname = \"events\"\nread.scale = false\n").unwrap();
    let rules = rules.to_string_lossy().into_owned();
    let once = ["autoscale", "--config", &rules, "--once"];
    aws.holds(&once, &once, &[]);
}

#[test]
fn the_lists_of_the_console_need_no_more_than_its_policy() {
    let aws = Watched::start();
    create_table(&aws.cloud, "quotes", 100);
    create_stream(&aws.cloud, "s", 2);
    let granted = aws.granted(&["console", "--tail"]);
    for args in [
        &["tables"][..],
        &["streams"],
        &["streams", "s"],
        &["streams", "s", "--mappings"],
        &["streams", "s", "--tail", "--for", "1ms"],
    ] {
        let asked = aws.asked(args);
        let lacking: Vec<_> = asked.difference(&granted).collect();
        assert!(lacking.is_empty(), "{args:?} asked for {lacking:?}");
    }
}

#[test]
fn a_job_that_lacks_an_action_is_not_begun_and_says_which() {
    let server = Server::start(&["--deny", "dynamodb:BatchWriteItem,dynamodb:PutItem"]);
    let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
    let folder = tempfile::tempdir().unwrap();
    let file = backup(folder.path(), 10);
    create_table(&cloud, "quotes", 1_000);
    let ended = sluice.run(&["restore", &file, "-t", "quotes"]).expect(1);
    for words in [
        "dynamodb:BatchWriteItem on arn:aws:dynamodb:us-east-1:000000000000:table/quotes",
        "dynamodb:PutItem on arn:aws:dynamodb:us-east-1:000000000000:table/quotes",
        "nothing was begun",
        "sluice iam job r-",
    ] {
        assert!(ended.err.contains(words), "no {words:?} in {}", ended.err);
    }
    assert!(!ended.err.contains("dynamodb:DeleteItem on"), "{}", ended.err);
    // The command that it names prints the policy.
    let jobs = sluice.run(&["jobs", "--json"]).expect(0);
    let id = jobs.last_json()["job"].as_str().unwrap().to_owned();
    assert!(sluice.run(&["iam", "job", &id]).expect(0).out.contains("dynamodb:BatchWriteItem"));
}

#[test]
fn where_iam_may_not_be_asked_a_job_says_so_once_and_a_denial_met_later_names_what_is_missing() {
    let server = Server::start(&["--deny", "iam:*,dynamodb:BatchWriteItem"]);
    let (cloud, sluice) = (server.cloud(), Sluice::at(&server.endpoint));
    let folder = tempfile::tempdir().unwrap();
    let file = backup(folder.path(), 10);
    create_table(&cloud, "quotes", 1_000);
    let ended = sluice.run(&["restore", &file, "-t", "quotes"]);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(
        ended.err.contains("dynamodb:BatchWriteItem on arn:aws:dynamodb:us-east-1:000000000000:table/quotes"),
        "{ended:?}"
    );
    assert!(ended.err.contains("sluice iam"), "{ended:?}");
    let id = sluice.run(&["jobs", "--json"]).expect(0).last_json()["job"].as_str().unwrap().to_owned();
    let shown = sluice.run(&["jobs", &id]).expect(0);
    assert_eq!(shown.out.matches("could not check beforehand").count(), 1, "{}", shown.out);
}

#[test]
fn a_replica_asks_for_what_its_policy_allows_and_for_nothing_else() {
    let aws = Watched::start();
    create_table(&aws.cloud, "source", 1_000);
    let once = ["replicate", "-t", "source", "--to", "target", "--until-caught-up", "-y"];
    // Rows are told one by one where a batch was refused; a table without tags and TTL has none to make.
    let spare = ["dynamodb:BatchWriteItem", "dynamodb:TagResource", "dynamodb:UpdateTimeToLive"];
    let spare = [&spare[..], &SINGLY].concat();
    let made = [&once[..], &["--create"]].concat();
    aws.holds(&made, &made, &spare);
    let again = [&once[..], &["--rebootstrap"]].concat();
    let spare = [&["dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:UpdateTable"][..], &SINGLY].concat();
    aws.holds(&again, &again, &spare);
}
