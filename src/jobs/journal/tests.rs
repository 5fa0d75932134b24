use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::cloud::Context;
use crate::flow::{Counters, Letter};
use crate::jobs::spec::{RestoreSpec, SourceSpec, Spec};

fn spec() -> Spec {
    Spec::Restore(RestoreSpec {
        source: SourceSpec { sources: vec!["s3://backups/x.csv".into()], ..SourceSpec::default() },
        table: "historical".into(),
        stream: Some("restore".into()),
        ..RestoreSpec::default()
    })
}

fn journal() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("state/journal.db")).unwrap();
    (folder, journal)
}

fn letter(offset: u64) -> Letter {
    Letter {
        source: "f.csv".into(),
        line: Some(3),
        offset: Some(offset),
        shard: None,
        sequence: None,
        reason: "not base64".into(),
        payload: "x".into(),
    }
}

#[test]
fn the_file_is_for_its_owner_alone() {
    let (_folder, journal) = journal();
    assert_eq!(fs::metadata(journal.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_commit_moves_counters_checkpoints_letters_and_sample_together() {
    let (_folder, mut journal) = journal();
    let id = journal.create_job(&spec(), &Context::default(), None).unwrap();
    let counters = Counters { read: 5, written: 4, dead: 1, ..Counters::default() };
    let sample = Sample { at_ms: 1000, counters, ..Sample::default() };
    let commit = Commit {
        counters,
        total: Some(9),
        limit: "table",
        checkpoints: &[("source".into(), b"5".to_vec())],
        letters: &[letter(7)],
        sample: Some(&sample),
    };
    journal.commit(&id, &commit).unwrap();
    journal.commit(&id, &commit).unwrap();
    let job = journal.job(&id).unwrap();
    assert_eq!((job.counters, job.total, job.limit.as_str()), (counters, Some(9), "table"));
    assert_eq!(journal.checkpoint(&id, "source").unwrap().as_deref(), Some(&b"5"[..]));
    assert_eq!(journal.letters(&id, 0, 10).unwrap().len(), 1, "a place that is read again gives no second letter");
    assert_eq!(journal.samples(&id, 0).unwrap(), [sample]);
}

#[test]
fn a_running_job_whose_worker_is_gone_is_interrupted_and_can_be_resumed() {
    let (_folder, journal) = journal();
    let id = journal.create_job(&spec(), &Context::default(), None).unwrap();
    let lock = journal.lock(&id).unwrap();
    journal.begin(&id, 1).unwrap();
    assert_eq!(journal.job(&id).unwrap().state, State::Running);
    assert!(matches!(journal.lock(&id), Err(JournalError::Running(_))), "a second worker is refused");
    drop(lock);
    let job = journal.job(&id).unwrap();
    assert_eq!(job.state, State::Interrupted);
    assert!(job.state.can_resume());
}

#[test]
fn a_journal_of_a_newer_sluice_is_refused_with_both_versions() {
    let (_folder, journal) = journal();
    let path = journal.path().to_owned();
    journal.conn.pragma_update(None, "user_version", 99).unwrap();
    let words = Journal::open(&path).unwrap_err().to_string();
    assert!(words.contains("schema 99"), "{words}");
}

#[test]
fn a_bump_remembers_the_first_value_and_closes_when_it_is_back() {
    let (_folder, journal) = journal();
    let here = Context::default();
    journal.remember_bump(&here, "t", None, 130, 195, None).unwrap();
    journal.remember_bump(&here, "t", None, 195, 293, None).unwrap();
    let bump = journal.open_bump(&here, "t", None).unwrap().unwrap();
    assert_eq!((bump.before, bump.after), (130, 293));
    journal.remember_bump(&here, "t", None, 293, 130, None).unwrap();
    assert_eq!(journal.open_bumps().unwrap(), []);
}

#[test]
fn controls_reach_the_worker_and_an_unknown_job_is_named() {
    let (_folder, journal) = journal();
    let id = journal.create_job(&spec(), &Context::default(), None).unwrap();
    journal.set_control(&id, Control::Pause).unwrap();
    journal.set_rate(&id, Some(50.0)).unwrap();
    assert_eq!(journal.controls(&id).unwrap(), (Control::Pause, Some(50.0)));
    let words = journal.set_control(&JobId("r-none".into()), Control::Run).unwrap_err().to_string();
    assert!(words.contains("r-none"), "{words}");
}

#[test]
fn the_time_of_a_killed_worker_counts_up_to_its_last_sample() {
    let (_folder, mut journal) = journal();
    let id = journal.create_job(&spec(), &Context::default(), None).unwrap();
    journal.begin(&id, 1).unwrap();
    let started = journal.job(&id).unwrap().started_ms.unwrap();
    let sample = Sample { at_ms: started + 4_000, ..Sample::default() };
    journal.commit(&id, &Commit { sample: Some(&sample), ..Commit::default() }).unwrap();
    journal.begin(&id, 2).unwrap();
    assert_eq!(journal.job(&id).unwrap().active_ms, 4_000);
}
