//! What a restore reads: files side by side, shared between machines, chains of exports, and files that are bad.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use sluicegate::jobs::journal::{Job, State};
use sluicegate::jobs::{JobId, Journal};

use crate::running::{Ended, Server, Sluice, block_on, count, create_stream, create_table, item, signal, until};

const FAULTS: &str = "throttle=5%,error=5%,partial=10%,reset=2%,lose-reply=5%,expire-iterators=2%";

struct Scene {
    server: Server,
    sluice: Sluice,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(server: &[&str]) -> Self {
        let server = Server::start(server);
        create_table(&server.cloud(), "historical", 10_000);
        Self { sluice: Sluice::at(&server.endpoint), server, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `sluice restore` of `source`, with these options.
    fn restore(&self, source: &Path, options: &[&str]) -> Ended {
        let mut args = vec!["restore", source.to_str().unwrap(), "-t", "historical", "--json"];
        args.extend(options);
        self.sluice.run(&args)
    }

    fn verify(&self, source: &Path) -> Ended {
        self.sluice.run(&["verify", source.to_str().unwrap(), "-t", "historical", "--json"])
    }

    fn job(&self, id: &str) -> Job {
        let journal = Journal::open(&self.sluice.state.path().join("journal.sqlite")).unwrap();
        journal.job(&JobId(id.to_owned())).unwrap()
    }

    /// The only job.
    fn only_job(&self) -> Job {
        let journal = Journal::open(&self.sluice.state.path().join("journal.sqlite")).unwrap();
        journal.jobs().unwrap().remove(0)
    }

    fn notes(&self, job: &JobId) -> String {
        self.sluice.run(&["jobs", &job.0]).expect(0).out
    }

    /// What the table holds: `n` of each `id`.
    fn held(&self) -> BTreeMap<String, String> {
        let cloud = self.server.cloud();
        let mut held = BTreeMap::new();
        let mut after = None;
        loop {
            let scan = cloud.dynamodb.scan().table_name("historical").consistent_read(true);
            let page = block_on(scan.set_exclusive_start_key(after).send()).unwrap();
            for item in page.items() {
                let n = item.get("n").and_then(|n| n.as_n().ok()).cloned().unwrap_or_default();
                held.insert(item["id"].as_s().unwrap().clone(), n);
            }
            after = page.last_evaluated_key().cloned();
            if after.is_none() {
                return held;
            }
        }
    }
}

#[track_caller]
fn of(ended: &Ended, field: &str) -> u64 {
    let line = ended.last_json();
    line[field].as_u64().unwrap_or_else(|| panic!("{field} is missing from {line}"))
}

/// `read = written + deleted + skipped + dead`.
#[track_caller]
fn adds_up(ended: &Ended) {
    let known: u64 = ["written", "deleted", "skipped", "dead"].iter().map(|field| of(ended, field)).sum();
    assert_eq!(of(ended, "read"), known, "{}", ended.last_json());
}

fn write_lines(path: &Path, lines: impl IntoIterator<Item = String>) {
    let text: String = lines.into_iter().map(|line| line + "\n").collect();
    std::fs::write(path, text).unwrap();
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A backup of `items` in eight files, every other one compressed.
fn folder_of(scene: &Scene, items: usize) -> PathBuf {
    let folder = scene.path("backup");
    std::fs::create_dir(&folder).unwrap();
    for file in 0..8 {
        let text: String = (items * file / 8..items * (file + 1) / 8).map(|n| item(n) + "\n").collect();
        if file % 2 == 0 {
            std::fs::write(folder.join(format!("{file}.jsonl")), text).unwrap();
        } else {
            std::fs::write(folder.join(format!("{file}.jsonl.gz")), gzip(&text)).unwrap();
        }
    }
    folder
}

fn killed_ten_times(stream: bool) {
    const ITEMS: usize = 30_000;
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "11"]);
    let backup = folder_of(&scene, ITEMS);
    let mut args = vec!["restore", backup.to_str().unwrap(), "-t", "historical", "--detach", "--json"];
    args.extend(["--producers", "4", "--shuffle", "600k", "--rate", "2500"]);
    if stream {
        create_stream(&scene.server.cloud(), "restore", 4);
        args.extend(["-k", "restore"]);
    }
    let id = scene.sluice.run(&args).expect(0).last_json()["job"].as_str().unwrap().to_owned();
    // Any moment: from before the first record to near the end, not only right after a checkpoint.
    let mut killed = 0;
    while killed < 10 {
        let (more, mut looks) =
            (scene.job(&id).counters.written + rand::random_range(0..1_500_u64), rand::random_range(0..60_u32));
        let pid = until("the worker is at the moment", || {
            let job = scene.job(&id);
            assert_ne!(job.state, State::Done, "the worker was too fast to be killed ten times");
            looks = looks.saturating_sub(1);
            (job.state == State::Running && job.runs == killed + 1 && job.counters.written >= more && looks == 0)
                .then(|| job.pid.unwrap())
        });
        signal(pid, "KILL");
        killed += 1;
        until("the journal knows that it is gone", || (scene.job(&id).state == State::Interrupted).then_some(()));
        if killed < 10 {
            scene.sluice.run(&["restore", "--resume", &id, "--detach"]).expect(0);
        }
    }
    let ended = scene.sluice.run(&["restore", "--resume", &id, "--json"]).expect(0);
    assert_eq!((of(&ended, "read"), of(&ended, "written"), of(&ended, "dead")), (ITEMS as u64, ITEMS as u64, 0));
    adds_up(&ended);
    let proof = scene.verify(&backup).expect(0).last_json();
    assert_eq!(proof["equal"], ITEMS);
}

#[test]
fn a_direct_restore_killed_at_ten_moments_is_equal_to_its_backup() {
    killed_ten_times(false);
}

#[test]
fn a_restore_through_a_stream_killed_at_ten_moments_is_equal_to_its_backup() {
    killed_ten_times(true);
}

#[test]
fn parts_that_three_machines_take_are_disjoint_and_together_the_whole() {
    let scene = Scene::new(&["--limits", "off"]);
    let backup = scene.path("b.jsonl");
    write_lines(&backup, (0..40_000).map(|n| item(n).replace("0.", "0.00000000000000000000000000")));
    let mut read = Vec::new();
    for part in ["1/3", "2/3", "3/3"] {
        // Machines differ in their processors; the cut does not.
        let before = count(&scene.server.cloud(), "historical");
        let ended = scene.restore(&backup, &["--part", part, "--producers", &part[..1]]).expect(0);
        adds_up(&ended);
        let added = count(&scene.server.cloud(), "historical") - before;
        assert_eq!(of(&ended, "written"), added, "part {part} wrote what another had written");
        read.push(added);
    }
    assert_eq!(read.iter().sum::<u64>(), 40_000, "{read:?}");
    scene.verify(&backup).expect(0);
}

#[test]
fn a_file_that_ends_midway_stops_the_job_and_once_mended_it_is_resumed() {
    for stream in [false, true] {
        let scene = Scene::new(&["--limits", "off"]);
        let folder = scene.path("backup");
        std::fs::create_dir(&folder).unwrap();
        write_lines(&folder.join("a.jsonl"), (0..3_000).map(item));
        let whole = gzip(&(3_000..6_000).map(|n| item(n) + "\n").collect::<String>());
        std::fs::write(folder.join("b.jsonl.gz"), &whole[..whole.len() / 2]).unwrap();
        let mut options = vec!["--shuffle", "0"];
        if stream {
            create_stream(&scene.server.cloud(), "restore", 2);
            options.extend(["-k", "restore"]);
        }
        let ended = scene.restore(&folder, &options).expect(1);
        assert!(ended.err.contains("b.jsonl.gz can't be read past byte"), "{}", ended.err);
        adds_up(&ended);
        assert_eq!(of(&ended, "written"), count(&scene.server.cloud(), "historical"), "nothing is half-counted");
        assert!(of(&ended, "written") >= 3_000, "what came before the damage is written");

        std::fs::write(folder.join("b.jsonl.gz"), whole).unwrap();
        let job = scene.only_job().id;
        let ended = scene.sluice.run(&["restore", "--resume", &job.0, "--json"]).expect(0);
        assert_eq!((of(&ended, "read"), of(&ended, "written")), (6_000, 6_000));
        assert!(scene.notes(&job).contains("it is read as it is now"), "{}", scene.notes(&job));
        scene.verify(&folder).expect(0);
    }
}

#[test]
fn with_keep_going_the_rest_of_a_damaged_file_is_left_out_and_said() {
    let scene = Scene::new(&["--limits", "off"]);
    let folder = scene.path("backup");
    std::fs::create_dir(&folder).unwrap();
    write_lines(&folder.join("a.jsonl"), (0..300).map(item));
    let whole = gzip(&(300..6_000).map(|n| item(n) + "\n").collect::<String>());
    std::fs::write(folder.join("b.jsonl.gz"), &whole[..whole.len() / 2]).unwrap();
    let ended = scene.restore(&folder, &["--keep-going"]).expect(3);
    adds_up(&ended);
    assert_eq!(ended.last_json()["state"], "done");
    assert!((300..6_000).contains(&of(&ended, "written")), "{}", ended.last_json());
    let job = scene.only_job();
    assert!(job.message.contains("1 file was left out, whole or in part"), "{}", job.message);
    assert!(scene.notes(&job.id).contains("left out the rest of"), "{}", scene.notes(&job.id));
}

#[test]
fn an_object_that_is_gone_midway_stops_the_job_and_once_back_it_is_resumed() {
    let scene = Scene::new(&["--limits", "off"]);
    let cloud = scene.server.cloud();
    block_on(cloud.s3.create_bucket().bucket("backups").send()).unwrap();
    let text = |file: usize| (file * 500..(file + 1) * 500).map(|n| item(n) + "\n").collect::<String>().into_bytes();
    let put = |file: usize| {
        let key = format!("h/{file}.jsonl");
        block_on(cloud.s3.put_object().bucket("backups").key(key).body(text(file).into()).send()).unwrap();
    };
    (0..8).for_each(put);
    let child = scene.sluice.start(&[
        "restore",
        "s3://backups/h",
        "-t",
        "historical",
        "--shuffle",
        "0",
        "--rate",
        "400",
        "--json",
    ]);
    until("it has written", || {
        (scene.sluice.state.path().join("journal.sqlite").exists() && count(&cloud, "historical") > 0).then_some(())
    });
    block_on(cloud.s3.delete_object().bucket("backups").key("h/7.jsonl").send()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("s3://backups/h/7.jsonl"), "{said}");
    let job = scene.only_job();
    let counters = job.counters;
    assert_eq!(counters.read, counters.written, "nothing is half-counted");
    assert_eq!(counters.written, count(&cloud, "historical"));

    put(7);
    let ended = scene.sluice.run(&["restore", "--resume", &job.id.0, "--json"]).expect(0);
    assert_eq!((of(&ended, "read"), of(&ended, "written")), (4_000, 4_000));
    assert_eq!(count(&cloud, "historical"), 4_000);
}

#[test]
fn what_options_leave_out_is_counted_as_skipped() {
    for stream in [false, true] {
        let scene = Scene::new(&["--limits", "off"]);
        let mut options = vec!["--if-not-exists"];
        if stream {
            create_stream(&scene.server.cloud(), "restore", 2);
            options.extend(["-k", "restore"]);
        }
        let line =
            |n: usize, what: &str| format!(r#"{{"id":{{"S":"{n}"}},"n":{{"N":"{n}"}},"what":{{"S":"{what}"}}}}"#);
        let (first, second) = (scene.path("first.jsonl"), scene.path("second.jsonl"));
        write_lines(&first, (0..300).map(|n| line(n, "old")));
        write_lines(&second, (200..500).map(|n| line(n, "new")).chain(["{}".to_owned()]));
        scene.restore(&first, &[]).expect(0);
        let ended = scene.restore(&second, &options).expect(3);
        adds_up(&ended);
        let counted = ["read", "written", "skipped", "dead"].map(|field| of(&ended, field));
        assert_eq!(counted, [301, 200, 100, 1]);
        let cloud = scene.server.cloud();
        let kept = block_on(async {
            let key = aws_sdk_dynamodb::types::AttributeValue::S("250".into());
            let got = cloud.dynamodb.get_item().table_name("historical").key("id", key).send().await;
            got.unwrap().item.unwrap()["what"].as_s().unwrap().clone()
        });
        assert_eq!(kept, "old");

        options.remove(0);
        options.extend(["--filter", ".n >= 400", "--skip-expired", "n"]);
        let ended = scene.restore(&second, &options).expect(0);
        adds_up(&ended);
        assert_eq!(["read", "written", "skipped", "dead"].map(|field| of(&ended, field)), [301, 100, 201, 0]);
    }
}

/// An export as AWS leaves it: its lines in two files.
fn export(root: &Path, id: &str, window: (Option<u32>, u32), lines: &[String]) {
    use md5::Digest as _;
    let at = |hour: u32| format!("2026-11-20T{hour:02}:00:00.000Z");
    let folder = root.join("AWSDynamoDB").join(id);
    let data = if window.0.is_some() { root.join("AWSDynamoDB/data") } else { folder.join("data") };
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(&data).unwrap();
    let mut listed = String::new();
    for (n, lines) in lines.chunks(lines.len().div_ceil(2).max(1)).enumerate() {
        let bytes = gzip(&lines.iter().map(|line| line.clone() + "\n").collect::<String>());
        let name = data.join(format!("{id}-{n}.json.gz"));
        let key = name.strip_prefix(root).unwrap().to_str().unwrap();
        let md5 = BASE64_STANDARD.encode(md5::Md5::digest(&bytes));
        let line = json!({ "itemCount": lines.len(), "md5Checksum": md5, "etag": "x-1", "dataFileS3Key": key });
        listed += &(line.to_string() + "\n");
        std::fs::write(name, bytes).unwrap();
    }
    std::fs::write(folder.join("manifest-files.json"), listed).unwrap();
    let mut summary = json!({
        "version": "2020-06-30",
        "exportArn": format!("arn:aws:dynamodb:us-east-1:123456789012:table/historical/export/{id}"),
        "tableArn": "arn:aws:dynamodb:us-east-1:123456789012:table/historical",
        "tableId": "a", "exportTime": at(window.1), "s3Bucket": "b", "s3Prefix": null, "s3SseAlgorithm": "AES256",
        "manifestFilesS3Key": format!("AWSDynamoDB/{id}/manifest-files.json"),
        "billedSizeBytes": 0, "itemCount": lines.len(), "outputFormat": "DYNAMODB_JSON",
        "exportType": if window.0.is_some() { "INCREMENTAL_EXPORT" } else { "FULL_EXPORT" },
    });
    if let Some(from) = window.0 {
        summary["exportFromTime"] = at(from).into();
        summary["exportToTime"] = at(window.1).into();
        summary["outputView"] = "NEW_IMAGE".into();
    }
    std::fs::write(folder.join("manifest-summary.json"), summary.to_string()).unwrap();
}

/// One full export and three increments below `root`, and what the table holds after each: `n` of each `id`.
pub fn chain(root: &Path) -> Vec<BTreeMap<String, String>> {
    let key = |id: usize| json!({"id": {"S": format!("i{id}")}});
    let image = |id: usize, n: usize| json!({"id": {"S": format!("i{id}")}, "n": {"N": n.to_string()}});
    let mut held: BTreeMap<String, String> = (0..2_000).map(|id| (format!("i{id}"), "0".to_owned())).collect();
    let full: Vec<String> = (0..2_000).map(|id| json!({ "Item": image(id, 0) }).to_string()).collect();
    export(root, "0170-full", (None, 1), &full);
    let mut states = vec![held.clone()];
    for step in 1..=3 {
        // Each increment deletes some, changes some, brings some back and adds some: many more than once in the chain.
        let touched: BTreeSet<usize> = (0..600).map(|n| n * (step + 2) % 2_200).collect();
        let lines: Vec<String> = touched
            .iter()
            .map(|id| {
                let written = json!({"WriteTimestampMicros": {"N": "1"}});
                if (id / 7 + step) % 3 == 0 {
                    held.remove(&format!("i{id}"));
                    json!({"Metadata": written, "Keys": key(*id)}).to_string()
                } else {
                    held.insert(format!("i{id}"), step.to_string());
                    json!({"Metadata": written, "Keys": key(*id), "NewImage": image(*id, step)}).to_string()
                }
            })
            .collect();
        export(root, &format!("0170-inc{step}"), (Some(step as u32), step as u32 + 1), &lines);
        states.push(held.clone());
    }
    states
}

fn chain_at_each_until(stream: bool) {
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "5"]);
    if stream {
        create_stream(&scene.server.cloud(), "restore", 3);
    }
    let root = scene.path("exports");
    let states = chain(&root);
    for (step, state) in states.iter().enumerate() {
        let until = format!("2026-11-20T{:02}:00:00Z", step + 1);
        let cloud = scene.server.cloud();
        block_on(cloud.dynamodb.delete_table().table_name("historical").send()).unwrap();
        crate::running::until("the table is gone", || {
            block_on(cloud.dynamodb.describe_table().table_name("historical").send()).is_err().then_some(())
        });
        create_table(&cloud, "historical", 10_000);
        let mut options = vec!["--until", until.as_str(), "--shuffle", "100k"];
        if stream {
            options.extend(["-k", "restore"]);
        }
        let ended = scene.restore(&root, &options).expect(0);
        adds_up(&ended);
        assert_eq!(of(&ended, "deleted") > 0, step > 0, "{}", ended.last_json());
        assert_eq!(&scene.held(), state, "--until {until}");
    }
}

#[test]
fn a_chain_of_exports_is_applied_in_order_up_to_each_until() {
    chain_at_each_until(false);
}

#[test]
fn a_chain_of_exports_is_applied_in_order_through_a_stream() {
    chain_at_each_until(true);
}

#[test]
fn a_chain_killed_in_every_stage_ends_as_its_newest_export() {
    for stream in [false, true] {
        let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "6"]);
        let root = scene.path("exports");
        let states = chain(&root);
        let mut args = vec!["restore", root.to_str().unwrap(), "-t", "historical", "--detach", "--json"];
        args.extend(["--shuffle", "50k", "--rate", "350"]);
        if stream {
            create_stream(&scene.server.cloud(), "restore", 3);
            args.extend(["-k", "restore"]);
        }
        let id = scene.sluice.run(&args).expect(0).last_json()["job"].as_str().unwrap().to_owned();
        for (run, at) in (1..).zip([500, 1_500, 2_100, 2_600, 3_000]) {
            let pid = until("the worker is that far", || {
                let job = scene.job(&id);
                assert_ne!(job.state, State::Done, "the worker was too fast to be killed");
                let settled = job.counters.written + job.counters.deleted;
                (job.state == State::Running && job.runs == run && settled >= at).then(|| job.pid.unwrap())
            });
            signal(pid, "KILL");
            until("the journal knows that it is gone", || (scene.job(&id).state == State::Interrupted).then_some(()));
            scene.sluice.run(&["restore", "--resume", &id, "--detach"]).expect(0);
        }
        until("it is done", || (scene.job(&id).state == State::Done).then_some(()));
        assert_eq!(&scene.held(), states.last().unwrap());
        let counters = scene.job(&id).counters;
        assert_eq!(counters.read, counters.written + counters.deleted);
    }
}

#[test]
fn a_file_that_fails_its_check_stops_the_job_before_the_first_item() {
    let scene = Scene::new(&["--limits", "off"]);
    let root = scene.path("exports");
    chain(&root);
    let bad = root.join("AWSDynamoDB/0170-full/data/0170-full-1.json.gz");
    let mut bytes = std::fs::read(&bad).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bad, bytes).unwrap();

    let ended = scene.restore(&root, &[]).expect(1);
    assert!(ended.err.contains("nothing was written") && ended.err.contains("0170-full-1.json.gz"), "{}", ended.err);
    assert_eq!((of(&ended, "read"), count(&scene.server.cloud(), "historical")), (0, 0));

    let ended = scene.restore(&root, &["--keep-going", "--until", "2026-11-20T01:00:00Z"]).expect(3);
    assert_eq!((of(&ended, "read"), of(&ended, "written")), (1_000, 1_000));
    let job = scene.only_job();
    assert!(job.message.contains("1 file was left out"), "{}", job.message);
    assert!(scene.notes(&job.id).contains("leaves out"), "{}", scene.notes(&job.id));
}

#[test]
fn what_can_not_be_done_right_is_refused_before_the_first_item() {
    let scene = Scene::new(&["--limits", "off"]);
    create_stream(&scene.server.cloud(), "restore", 1);
    let root = scene.path("exports");
    chain(&root);
    for options in
        [&["--part", "1/2"][..], &["--if-not-exists"], &["-k", "restore", "--no-workers"], &["--filter", ".n > 1"]]
    {
        let ended = scene.restore(&root, options).expect(1);
        assert!(ended.err.contains(options.last().unwrap()) || ended.err.contains(options[0]), "{}", ended.err);
    }
    assert_eq!(count(&scene.server.cloud(), "historical"), 0);
}
