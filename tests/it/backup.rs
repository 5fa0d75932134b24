//! Whole backups by the real binary against the embedded AWS, with things going wrong, and back again.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use sluicegate::backup::Format;
use sluicegate::jobs::journal::{Job, State};
use sluicegate::jobs::{BackupSpec, JobId, Journal, Spec};

use crate::running::{Ended, Server, Sluice, block_on, create_table, item, signal, until, write_csv64};

const FAULTS: &str = "throttle=5%,error=5%,reset=2%,lose-reply=2%";

struct Scene {
    server: Server,
    sluice: Sluice,
    folder: tempfile::TempDir,
}

/// An item of every type, whose `id` is `n`'s.
fn of_every_type(n: usize) -> String {
    let binary = base64::prelude::BASE64_STANDARD.encode([n as u8, 0xff, 0]);
    let pad = "x".repeat(n % 700);
    format!(
        r#"{{"id":{{"S":"id-{n}\n"}},"n":{{"N":"12345678901234567890123456789012345678"}},"r":{{"N":"1.1{}"}},"b":{{"B":"{binary}"}},"bs":{{"BS":["AQ==","/w=="]}},"ss":{{"SS":["b","a"]}},"ns":{{"NS":["1","1.5","-2000"]}},"m":{{"M":{{"l":{{"L":[{{"NULL":true}},{{"BOOL":false}},{{"M":{{}}}},{{"L":[]}}]}}}}}},"e":{{"S":""}},"u":{{"S":"é😀\u2028\"\\"}},"pad":{{"S":"{pad}"}}}}"#,
        n % 10
    )
}

impl Scene {
    /// A server, a table of `items` and, for the way back, a table that is empty.
    fn new(server: &[&str], items: impl IntoIterator<Item = String>) -> Self {
        let server = Server::start(server);
        let scene = Self { sluice: Sluice::at(&server.endpoint), server, folder: tempfile::tempdir().unwrap() };
        for table in ["historical", "again"] {
            create_table(&scene.server.cloud(), table, 1_000);
        }
        let source = scene.path("source.csv");
        write_csv64(Path::new(&source), items);
        if std::fs::metadata(&source).unwrap().len() > 0 {
            scene.sluice.run(&["restore", &source, "-t", "historical", "--format", "csv64"]).expect(0);
        }
        scene
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn bucket(&self) {
        block_on(self.server.cloud().s3.create_bucket().bucket("backups").send()).unwrap();
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.sluice.state.path().join("journal.sqlite")).unwrap()
    }

    fn job(&self, id: &str) -> Job {
        self.journal().job(&JobId(id.to_owned())).unwrap()
    }

    fn backup(&self, args: &[&str]) -> Ended {
        self.sluice.run(&[&["backup", "-t", "historical", "--json"], args].concat())
    }

    /// Proves that the backup `from` holds what the table does, key by key, and returns the digest.
    #[track_caller]
    fn proven(&self, from: &str, table: &str, items: u64) -> String {
        let proof = self.sluice.run(&["verify", from, "-t", table, "--json"]).expect(0).last_json();
        assert_eq!(proof["equal"], items, "{proof}");
        assert_eq!(proof["digest_source"], proof["digest_table"]);
        proof["digest_source"].as_str().unwrap().to_owned()
    }
}

#[track_caller]
fn done(ended: &Ended, items: u64) -> String {
    let line = ended.last_json();
    assert_eq!(
        (&line["state"], &line["read"], &line["written"]),
        (&"done".into(), &items.into(), &items.into()),
        "{line}"
    );
    assert!(line["rcu"].as_f64().unwrap() > 0.0, "{line}");
    line["to"].as_str().unwrap().to_owned()
}

#[test]
fn items_of_every_type_come_back_through_each_layout_in_spite_of_faults() {
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "5"], (0..4_000).map(of_every_type));
    scene.bucket();
    let mut digests = Vec::new();
    for (format, gzip, to) in [
        ("csv64", false, scene.path("plain/")),
        ("csv64", true, "s3://backups".to_owned()),
        ("jsonl", true, scene.path("lines.jsonl.gz")),
        ("jsonl", false, "s3://backups/lines.jsonl".to_owned()),
        ("export", false, scene.path("export")),
        ("export", true, "s3://backups/exports/".to_owned()),
    ] {
        let mut args = vec![to.as_str(), "--format", format, "--segments", "3"];
        if gzip {
            args.push("--gzip");
        }
        let ended = scene.backup(&args).expect(0);
        let written = done(&ended, 4_000);
        digests.push(ended.last_json()["digest"].as_str().unwrap().to_owned());
        let rows = if format == "export" { format!("{written}/data") } else { written };
        digests.push(scene.proven(&rows, "historical", 4_000));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "one digest for all: {digests:?}");
    // And into another table: what was backed up is what is restored, by way of the export's manifest.
    scene.sluice.run(&["restore", &scene.path("export"), "-t", "again"]).expect(0);
    assert_eq!(scene.proven(&scene.path("lines.jsonl.gz"), "again", 4_000), digests[0]);
}

#[test]
fn the_original_options_write_the_originals_object() {
    let scene = Scene::new(&["--limits", "off"], (0..10).map(item));
    scene.bucket();
    let ended =
        scene.sluice.run(&["backup", "-t", "historical", "-b", "backups", "-r", "us-east-1", "--json"]).expect(0);
    let to = done(&ended, 10);
    let time = to.strip_prefix("s3://backups/historical/historical_").and_then(|rest| rest.strip_suffix(".csv"));
    assert!(time.is_some_and(|time| time.starts_with("20")), "{to}");
    let key = to.strip_prefix("s3://backups/").unwrap();
    let cloud = scene.server.cloud();
    let object = block_on(async {
        let object = cloud.s3.get_object().bucket("backups").key(key).send().await.unwrap();
        object.body.collect().await.unwrap().into_bytes()
    });
    assert_eq!(object.split(|byte| *byte == b'\n').count(), 10, "no newline after the last row");
    // The whole bucket is a backup too: its manifest does not get in the way.
    scene.proven("s3://backups/historical", "historical", 10);
}

#[test]
fn an_empty_table_is_an_empty_file_and_done() {
    let scene = Scene::new(&["--limits", "off"], []);
    scene.bucket();
    let path = scene.path("empty.csv");
    let ended = scene.backup(&[&path]).expect(0);
    assert_eq!(ended.last_json()["written"], 0);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    for (format, to) in [("csv64", "s3://backups/empty.csv"), ("export", "s3://backups/empty/")] {
        scene.backup(&[to, "--format", format]).expect(0);
    }
}

#[test]
fn what_can_not_be_written_is_told_before_the_table_is_read() {
    let scene = Scene::new(&["--limits", "off"], (0..10).map(item));
    scene.bucket();
    let taken = scene.path("taken.csv");
    std::fs::write(&taken, "mine").unwrap();
    for (to, code, words) in [
        (taken.as_str(), 1, "exists already"),
        ("s3://bukket/x", 1, "there is no bucket bukket"),
        ("/proc/nowhere/x.csv", 1, "could not write"),
        ("-", 2, "standard output"),
    ] {
        let ended = scene.backup(&[to]).expect(code);
        assert!(ended.err.contains(words), "{to}: {}", ended.err);
    }
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
    let ended = scene.sluice.run(&["backup", "-t", "historcal", &scene.path("x")]).expect(1);
    assert!(ended.err.contains("did you mean historical"), "{}", ended.err);
    scene.backup(&["s3://backups/once.csv"]).expect(0);
    let again = scene.backup(&["s3://backups/once.csv"]).expect(1);
    assert!(again.err.contains("exists already"), "{}", again.err);
    scene.sluice.run(&["backup", "-t", "historical", "s3://backups/x", "--read-only"]).expect(1);
    let dry = scene.sluice.run(&["backup", "-t", "historical", "s3://backups/x", "--dry-run"]).expect(0);
    assert!(dry.out.contains("aws dynamodb scan") && dry.out.contains("create-multipart-upload"), "{}", dry.out);
    assert_eq!(scene.journal().jobs().unwrap().iter().filter(|job| job.state == State::Done).count(), 2);
}

/// Kills a backup that is under way `kills` times, at whatever it does then, and resumes it to its end.
fn killed(to: &str, format: &str, kills: u32, scene: &Scene, items: u64) -> String {
    let args = ["backup", "-t", "historical", to, "--format", format, "--segments", "4", "--read-budget", "150"];
    let started = scene.sluice.run(&[&args[..], &["--detach", "--json"]].concat()).expect(0).last_json();
    let id = started["job"].as_str().unwrap().to_owned();
    for kill in 1..=kills {
        // Killed once this run has read, so that each had something to lose.
        let pid = until("the worker has read on", || {
            let job = scene.job(&id);
            assert_ne!(job.state, State::Done, "the worker was too fast to be killed");
            assert_ne!(job.state, State::Failed, "{}", job.message);
            let newest = scene.journal().last_sample(&job.id).unwrap()?;
            let of_this_run = job.runs == kill && Some(newest.at_ms) > job.started_ms;
            (job.state == State::Running && of_this_run && newest.counters.read > job.counters.written / 2)
                .then(|| job.pid.unwrap())
        });
        signal(pid, "KILL");
        until("the journal knows that the worker is gone", || {
            (scene.job(&id).state == State::Interrupted).then_some(())
        });
        scene.sluice.run(&["backup", "--resume", &id, "--detach"]).expect(0);
    }
    until("it is done", || {
        let job = scene.job(&id);
        assert_ne!(job.state, State::Failed, "{}", job.message);
        (job.state == State::Done).then_some(())
    });
    let job = scene.job(&id);
    assert_eq!((job.counters.read, job.counters.written, job.runs), (items, items, kills + 1));
    let report: serde_json::Value = serde_json::from_str(&job.report.unwrap()).unwrap();
    report["to"].as_str().unwrap().to_owned()
}

#[test]
fn a_backup_killed_ten_times_and_resumed_is_whole() {
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "6"], (0..12_000).map(of_every_type));
    let to = killed(&scene.path("killed.csv"), "csv64", 10, &scene, 12_000);
    scene.proven(&to, "historical", 12_000);
    let hidden = |path: &Path| path.file_name().unwrap().to_string_lossy().ends_with(".part");
    let left: Vec<PathBuf> = std::fs::read_dir(scene.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|p| hidden(p))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_backup_to_s3_killed_and_resumed_is_whole() {
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "7"], (0..12_000).map(of_every_type));
    scene.bucket();
    for (to, format) in [("s3://backups/killed.csv", "csv64"), ("s3://backups/killed/", "export")] {
        let written = killed(to, format, 3, &scene, 12_000);
        let rows = if format == "export" { format!("{written}/data") } else { written };
        scene.proven(&rows, "historical", 12_000);
    }
}

/// A file under the temporary name of the backup that takes no byte stands for a disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_it_with_what_to_do_and_it_goes_on_once_there_is_room() {
    let scene = Scene::new(&["--limits", "off"], (0..100).map(item));
    let path = scene.path("full.csv");
    let spec = Spec::Backup(BackupSpec {
        table: "historical".into(),
        to: path.clone(),
        format: Format::Csv64,
        segments: None,
        read_budget: None,
        gzip: false,
        eventually_consistent: false,
    });
    let id = scene.journal().create_job(&spec, &scene.server.cloud().context, None).unwrap();
    let part = scene.path(&format!(".full.csv.{id}.part"));
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let full = scene.sluice.run(&["backup", "--resume", &id.0]).expect(1);
    assert!(full.err.contains("No space left on device") && full.err.contains("free some space"), "{}", full.err);
    assert!(full.err.contains(&format!("sluice backup --resume {id}")), "{}", full.err);
    assert_eq!(scene.job(&id.0).counters.written, 0, "nothing counts that is not on disk");
    assert!(!Path::new(&path).exists());
    std::fs::remove_file(&part).unwrap();
    let ended = scene.sluice.run(&["backup", "--resume", &id.0, "--json"]).expect(0);
    done(&ended, 100);
    scene.proven(&path, "historical", 100);
}

#[test]
fn a_paused_backup_reads_nothing_until_it_goes_on_and_a_cancelled_one_leaves_nothing() {
    let scene = Scene::new(&["--limits", "off"], (0..12_000).map(of_every_type));
    let path = scene.path("paused.csv");
    let args = ["backup", "-t", "historical", &path, "--read-budget", "40", "--detach", "--json"];
    let id = scene.sluice.run(&args).expect(0).last_json()["job"].as_str().unwrap().to_owned();
    let read = || scene.journal().last_sample(&JobId(id.clone())).unwrap().map_or(0, |sample| sample.counters.read);
    until("it reads", || (read() > 0).then_some(()));
    scene.sluice.run(&["pause", &id]).expect(0);
    until("it is paused", || (scene.job(&id).state == State::Paused).then_some(()));
    // What was asked for before comes in; then all that was read is stored, and nothing more is read.
    until("what was read is stored", || {
        let sample = scene.journal().last_sample(&JobId(id.clone())).unwrap()?;
        (sample.counters.written == sample.counters.read && sample.limit == "paused").then_some(())
    });
    let held = read();
    scene.sluice.run(&["resume", &id]).expect(0);
    until("it reads again", || (read() > held).then_some(()));
    scene.sluice.run(&["cancel", &id]).expect(0);
    until("it is cancelled", || (scene.job(&id).state == State::Cancelled).then_some(()));
    let left: Vec<_> = std::fs::read_dir(scene.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["source.csv"], "nothing of the backup is left");
}

#[test]
fn an_interrupt_checkpoints_and_says_how_to_go_on() {
    let scene = Scene::new(&["--limits", "off"], (0..12_000).map(of_every_type));
    let path = scene.path("stopped.jsonl");
    let child = scene.sluice.start(&[
        "backup",
        "-t",
        "historical",
        &path,
        "--format",
        "jsonl",
        "--read-budget",
        "250",
        "--json",
    ]);
    let id = until("the job has stored something", || {
        let job = scene
            .journal()
            .jobs()
            .unwrap()
            .into_iter()
            .find(|job| job.spec.table() == "historical" && job.id.0.starts_with('b'))?;
        (job.counters.written > 0).then_some(job.id)
    });
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("sluice backup --resume {id}")), "{said}");
    let stored = scene.job(&id.0).counters.written;
    assert!(stored > 0 && stored < 12_000, "{stored}");
    let ended = scene.sluice.run(&["backup", "--resume", &id.0, "--json"]).expect(0);
    done(&ended, 12_000);
    scene.proven(&path, "historical", 12_000);
}
