//! Whole restores by the real binary against the embedded AWS, with things going wrong.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sluicegate::jobs::journal::{Job, State};
use sluicegate::jobs::{JobId, Journal};

use crate::running::{Ended, Server, Sluice, count, create_stream, create_table, item, signal, until, write_csv64};

const FAULTS: &str = "throttle=5%,error=5%,partial=10%,reset=2%,lose-reply=2%,expire-iterators=2%";

struct Scene {
    server: Server,
    sluice: Sluice,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(server: &[&str], wcu: i64) -> Self {
        let server = Server::start(server);
        create_table(&server.cloud(), "historical", wcu);
        Self { sluice: Sluice::at(&server.endpoint), server, folder: tempfile::tempdir().unwrap() }
    }

    fn backup(&self, items: usize) -> PathBuf {
        let path = self.folder.path().join("historical.csv");
        write_csv64(&path, (0..items).map(item));
        path
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.sluice.state.path().join("journal.sqlite")).unwrap()
    }

    fn verify(&self, backup: &Path) -> Ended {
        self.sluice.run(&["verify", backup.to_str().unwrap(), "-t", "historical", "--json"])
    }
}

#[track_caller]
fn counts(ended: &Ended) -> (u64, u64, u64) {
    let line = ended.last_json();
    let of = |field: &str| line[field].as_u64().unwrap_or_else(|| panic!("{field} is missing from {line}"));
    (of("read"), of("written"), of("dead"))
}

#[test]
fn a_direct_restore_loses_nothing_to_faults_and_is_proven() {
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "1"], 1_000);
    let backup = scene.backup(3_000);
    let ended = scene.sluice.run(&["restore", backup.to_str().unwrap(), "-t", "historical", "--json"]).expect(0);
    assert_eq!(counts(&ended), (3_000, 3_000, 0));
    assert_eq!(ended.last_json()["state"], "done");
    assert_eq!(count(&scene.server.cloud(), "historical"), 3_000);
    let proof = scene.verify(&backup).expect(0).last_json();
    assert_eq!((&proof["checked"], &proof["equal"]), (&3_000.into(), &3_000.into()));
    assert_eq!(proof["digest_source"], proof["digest_table"]);
}

#[test]
fn a_restore_through_a_stream_counts_each_record_once_in_spite_of_faults() {
    let scene = Scene::new(&["--limits", "off", "--faults", FAULTS, "--seed", "2"], 1_000);
    create_stream(&scene.server.cloud(), "restore", 4);
    let backup = scene.backup(3_000);
    let args = ["restore", backup.to_str().unwrap(), "-t", "historical", "-k", "restore", "-p", "10", "--json"];
    let ended = scene.sluice.run(&args).expect(0);
    assert_eq!(counts(&ended), (3_000, 3_000, 0));
    assert_eq!(count(&scene.server.cloud(), "historical"), 3_000);
    scene.verify(&backup).expect(0);
}

#[test]
fn a_record_that_is_on_the_stream_twice_is_waited_for_and_counted_once() {
    let scene = Scene::new(&["--limits", "off", "--faults", "lose-reply=20%", "--seed", "4"], 1_000);
    create_stream(&scene.server.cloud(), "restore", 4);
    let backup = scene.backup(6_000);
    // Slower than the stream, so that both copies of many records are open at once when the last ones come.
    let args = ["restore", backup.to_str().unwrap(), "-t", "historical", "-k", "restore", "--rate", "1500", "--json"];
    let ended = scene.sluice.run(&args).expect(0);
    assert_eq!(counts(&ended), (6_000, 6_000, 0));
    scene.verify(&backup).expect(0);
}

#[test]
fn malformed_lines_become_dead_letters_and_the_run_goes_on() {
    let scene = Scene::new(&["--limits", "off"], 1_000);
    let path = scene.folder.path().join("mixed.csv");
    write_csv64(&path, (0..10).map(item));
    let good = std::fs::read_to_string(&path).unwrap();
    let first = good.lines().next().unwrap().len();
    let mut lines: Vec<&str> = good.lines().collect();
    lines.insert(1, "not base64!");
    lines.push("W10=");
    lines.push("eyJpZCI6MX0=");
    std::fs::write(&path, lines.join("\n")).unwrap();

    let args = ["restore", path.to_str().unwrap(), "-t", "historical", "--format", "csv64", "--json"];
    let ended = scene.sluice.run(&args).expect(3);
    assert_eq!(counts(&ended), (13, 10, 3));
    let job = ended.last_json()["job"].as_str().unwrap().to_owned();
    let letters = scene.sluice.run(&["dead", "list", &job, "--json"]).expect(0);
    let letters: Vec<serde_json::Value> = letters.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 3);
    assert_eq!((&letters[0]["line"], &letters[0]["offset"]), (&2.into(), &(first + 1).into()));
    assert!(letters[0]["source"].as_str().unwrap().ends_with("mixed.csv"));
    assert!(letters[0]["reason"].as_str().unwrap().contains("not base64"), "{}", letters[0]);
    let number = letters[0]["number"].to_string();
    assert!(scene.sluice.run(&["dead", "show", &job, &number]).expect(0).out.contains("not base64!"));
}

#[test]
fn an_empty_backup_is_a_success_of_no_records() {
    let scene = Scene::new(&[], 100);
    let path = scene.folder.path().join("empty.csv");
    std::fs::write(&path, "").unwrap();
    let ended = scene.sluice.run(&["restore", path.to_str().unwrap(), "-t", "historical", "--json"]).expect(0);
    assert_eq!(counts(&ended), (0, 0, 0));
}

#[test]
fn verify_finds_what_is_missing_extra_and_different() {
    let scene = Scene::new(&["--limits", "off"], 1_000);
    let backup = scene.backup(100);
    scene.sluice.run(&["restore", backup.to_str().unwrap(), "-t", "historical"]).expect(0);
    let other = scene.folder.path().join("other.csv");
    let changed = item(5).replace("\"rate\"", "\"rated\"");
    write_csv64(&other, (1..100).filter(|n| *n != 5).map(item).chain([changed, item(1_000)]));
    let found = scene.verify(&other).expect(4).last_json();
    let of = |field: &str| found[field].as_u64().unwrap();
    assert_eq!((of("missing"), of("extra"), of("different"), of("equal")), (1, 1, 1, 98), "{found}");
}

#[test]
fn the_journal_is_for_its_owner_alone() {
    let scene = Scene::new(&[], 100);
    let backup = scene.backup(5);
    scene.sluice.run(&["restore", backup.to_str().unwrap(), "-t", "historical"]).expect(0);
    let journal = scene.sluice.state.path().join("journal.sqlite");
    assert_eq!(std::fs::metadata(journal).unwrap().permissions().mode() & 0o777, 0o600);
}

/// The job that `restore --detach` names.
fn detach(scene: &Scene, args: &[&str]) -> String {
    let started = scene.sluice.run(args).expect(0).last_json();
    started["job"].as_str().unwrap().to_owned()
}

/// The job as the journal has it.
fn job(scene: &Scene, id: &str) -> Job {
    scene.journal().job(&JobId(id.to_owned())).unwrap()
}

fn killed_three_times(stream: bool) {
    let faults = format!("{FAULTS},latency=5ms");
    let scene = Scene::new(&["--limits", "off", "--faults", &faults, "--seed", "3"], 1_000);
    if stream {
        create_stream(&scene.server.cloud(), "restore", 4);
    }
    let backup = scene.backup(12_000);
    let mut args =
        vec!["restore", backup.to_str().unwrap(), "-t", "historical", "--rate", "2000", "--detach", "--json"];
    if stream {
        args.extend(["-k", "restore"]);
    }
    let id = detach(&scene, &args);
    for kill in 1..=3_u64 {
        // Killed once it has written more than before, so that each run had something to lose.
        let pid = until("the worker has written", || {
            let job = job(&scene, &id);
            assert_ne!(job.state, State::Done, "the worker was too fast to be killed");
            let more = job.counters.written > (kill - 1) * 2_000;
            // A worker has the lock of its job a moment before it writes down its own pid.
            (job.state == State::Running && u64::from(job.runs) == kill && more).then(|| job.pid.unwrap())
        });
        signal(pid, "KILL");
        until("the journal knows that the worker is gone", || {
            (job(&scene, &id).state == State::Interrupted).then_some(())
        });
        if kill < 3 {
            scene.sluice.run(&["restore", "--resume", &id, "--detach"]).expect(0);
        }
    }
    let ended = scene.sluice.run(&["restore", "--resume", &id, "--json"]).expect(0);
    assert_eq!(counts(&ended), (12_000, 12_000, 0));
    assert_eq!(job(&scene, &id).runs, 4);
    let proof = scene.verify(&backup).expect(0).last_json();
    assert_eq!(proof["equal"], 12_000);
}

#[test]
fn a_direct_restore_killed_three_times_and_resumed_is_whole() {
    killed_three_times(false);
}

#[test]
fn a_restore_through_a_stream_killed_three_times_and_resumed_is_whole() {
    killed_three_times(true);
}

#[test]
fn an_interrupt_checkpoints_says_how_to_resume_and_exits_130() {
    let scene = Scene::new(&["--limits", "off"], 1_000);
    let backup = scene.backup(20_000);
    let child =
        scene.sluice.start(&["restore", backup.to_str().unwrap(), "-t", "historical", "--rate", "500", "--json"]);
    let id = until("the job has written", || {
        let job = scene.journal().jobs().unwrap().into_iter().next()?;
        (job.counters.written > 0).then_some(job.id)
    });
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("sluice restore --resume {id}")), "{said}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["state"], "interrupted");
}

#[test]
fn a_paused_job_writes_nothing_until_it_is_resumed_and_a_cancelled_one_stops() {
    let scene = Scene::new(&["--limits", "off"], 1_000);
    let backup = scene.backup(50_000);
    let id = detach(
        &scene,
        &["restore", backup.to_str().unwrap(), "-t", "historical", "--rate", "500", "--detach", "--json"],
    );
    until("it writes", || (job(&scene, &id).counters.written > 0).then_some(()));
    scene.sluice.run(&["pause", &id]).expect(0);
    until("it is paused", || (job(&scene, &id).state == State::Paused).then_some(()));
    // Exact counters wait for records above the mark, which a paused writer holds: the live ones don't.
    let settled = until("its writes in flight have settled", || {
        let written = scene.journal().last_sample(&JobId(id.clone())).unwrap()?.counters.written;
        (written == count(&scene.server.cloud(), "historical")).then_some(written)
    });
    scene.sluice.run(&["resume", &id]).expect(0);
    until("it writes again", || (job(&scene, &id).counters.written > settled).then_some(()));
    scene.sluice.run(&["cancel", &id]).expect(0);
    until("it is cancelled", || (job(&scene, &id).state == State::Cancelled).then_some(()));
    scene.sluice.run(&["resume", &id]).expect(1);
}

#[test]
fn a_dry_run_prints_each_request_sends_none_and_leaves_no_job() {
    let scene = Scene::new(&["--limits", "off"], 1_000);
    let backup = scene.backup(3);
    let dry = scene.sluice.run(&["restore", backup.to_str().unwrap(), "-t", "historical", "--dry-run"]).expect(0);
    assert!(dry.out.contains(r#""would_send":"BatchWriteItem""#), "{dry:?}");
    assert!(dry.out.contains("aws dynamodb batch-write-item"), "{dry:?}");
    assert_eq!(count(&scene.server.cloud(), "historical"), 0);
    assert_eq!(scene.journal().jobs().unwrap(), []);
    scene.sluice.run(&["restore", "--resume", "r-000000", "--dry-run"]).expect(2);
}
