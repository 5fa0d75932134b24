use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::capacity::Resource;
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

fn table() -> Resource {
    Resource::Table("t".into())
}

#[test]
fn a_bump_remembers_the_first_value_and_closes_when_it_is_back() {
    let (_folder, journal) = journal();
    let here = Context::default();
    journal.remember_bump(&here, &table(), 130, 195, None).unwrap();
    journal.remember_bump(&here, &table(), 195, 293, None).unwrap();
    let bump = journal.open_bump(&here, &table()).unwrap().unwrap();
    assert_eq!((bump.before, bump.after), (130, 293));
    assert!(bump.is_ours(293) && bump.is_ours(195) && !bump.is_ours(130) && !bump.is_ours(200));
    journal.remember_bump(&here, &table(), 293, 130, None).unwrap();
    assert_eq!(journal.open_bumps().unwrap(), []);
}

#[test]
fn what_is_lowered_is_owed_to_nobody() {
    let (_folder, journal) = journal();
    journal.remember_bump(&Context::default(), &table(), 195, 130, None).unwrap();
    assert_eq!(journal.open_bumps().unwrap(), []);
}

#[test]
fn what_somebody_else_set_in_between_counts_as_there_before() {
    let (_folder, journal) = journal();
    let here = Context::default();
    journal.remember_bump(&here, &table(), 130, 195, None).unwrap();
    journal.remember_bump(&here, &table(), 300, 450, None).unwrap();
    assert_eq!(journal.open_bump(&here, &table()).unwrap().unwrap().before, 300);
}

#[test]
fn a_raise_that_aws_refused_is_forgotten_and_the_one_before_it_is_not() {
    let (_folder, journal) = journal();
    let here = Context::default();
    let was = journal.remember_bump(&here, &table(), 130, 195, None).unwrap();
    journal.take_back(&here, &table(), None, was.as_ref()).unwrap();
    assert_eq!(journal.open_bumps().unwrap(), []);
    journal.remember_bump(&here, &table(), 130, 195, None).unwrap();
    let before = journal.open_bumps().unwrap();
    let was = journal.remember_bump(&here, &table(), 195, 293, None).unwrap();
    journal.take_back(&here, &table(), None, was.as_ref()).unwrap();
    assert_eq!(journal.open_bumps().unwrap(), before);
}

#[test]
fn a_jobs_raise_on_top_of_a_persons_gives_back_to_the_persons() {
    let (_folder, journal) = journal();
    let here = Context::default();
    let job = JobId("r-1".into());
    journal.remember_bump(&here, &table(), 130, 195, None).unwrap();
    journal.remember_bump(&here, &table(), 195, 2_000, Some(&job)).unwrap();
    let before: Vec<_> = journal.open_bumps().unwrap().iter().map(|bump| (bump.before, bump.after)).collect();
    assert_eq!(before, [(130, 195), (195, 2_000)]);
}

#[test]
fn a_debt_below_another_raise_is_handed_on_to_it() {
    let (_folder, journal) = journal();
    let here = Context::default();
    for (from, to, job) in [(130, 2_000, "r-1"), (2_000, 3_000, "r-2")] {
        journal.remember_bump(&here, &table(), from, to, Some(&JobId(job.into()))).unwrap();
    }
    let below = journal.open_bumps().unwrap().remove(0);
    assert!(journal.hand_on(&below).unwrap());
    let left = journal.open_bumps().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].before, left[0].after, left[0].job.as_ref().unwrap().0.as_str()), (130, 3_000, "r-2"));
}

#[test]
fn an_index_and_a_stream_are_debts_of_their_own() {
    let (_folder, journal) = journal();
    let here = Context::default();
    let all = [table(), Resource::of_table("t", Some("by_day")), Resource::Stream("t".into())];
    for resource in &all {
        journal.remember_bump(&here, resource, 4, 8, None).unwrap();
    }
    let kept: Vec<Resource> = journal.open_bumps().unwrap().into_iter().map(|bump| bump.resource).collect();
    assert_eq!(kept, all);
}

fn decision(decided: Decided, reason: &str, at_ms: i64) -> Decision {
    Decision {
        number: 0,
        context: Context::default(),
        job: JobId("a-1".into()),
        at_ms,
        last_ms: at_ms,
        times: 1,
        table: "t".into(),
        index: None,
        direction: "write".into(),
        decided,
        from: 130,
        to: 195,
        consumed: 123.5,
        reason: reason.into(),
        dry_run: false,
    }
}

#[test]
fn a_refusal_that_repeats_is_one_decision_and_nothing_to_do_is_told_after_something_only() {
    let (_folder, journal) = journal();
    let decide = |decided, reason, at| journal.decide(&decision(decided, reason, at)).unwrap();
    assert!(!decide(Decided::Nothing, "fits", 1));
    assert!(decide(Decided::Refused, "no decrease left", 2));
    assert!(!decide(Decided::Refused, "no decrease left", 3));
    assert!(decide(Decided::Refused, "the webhook answered 503", 4));
    assert!(decide(Decided::Nothing, "fits", 5));
    assert!(!decide(Decided::Nothing, "fits", 6));
    assert!(decide(Decided::Raised, "busy", 7));
    assert!(decide(Decided::Raised, "busy", 8), "each change is told");
    let told = journal.decisions(None, 0, 100).unwrap();
    let told: Vec<_> = told.iter().map(|d| (d.decided.as_str(), d.at_ms, d.last_ms, d.times)).collect();
    assert_eq!(
        told,
        [("refused", 2, 3, 2), ("refused", 4, 4, 1), ("nothing", 5, 6, 2), ("raised", 7, 7, 1), ("raised", 8, 8, 1)]
    );
    assert_eq!(journal.decisions(Some(&JobId("a-2".into())), 0, 100).unwrap(), []);
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

#[test]
fn a_settled_letter_counts_as_written_or_skipped_and_the_counters_still_add_up() {
    let (_folder, mut journal) = journal();
    let id = journal.create_job(&spec(), &Context::default(), None).unwrap();
    let counters = Counters { read: 10, written: 7, dead: 3, ..Counters::default() };
    let letters = [letter(1), letter(2), letter(3)];
    journal.commit(&id, &Commit { counters, letters: &letters, ..Commit::default() }).unwrap();
    let numbers: Vec<i64> = journal.letters(&id, 0, 10).unwrap().iter().map(|dead| dead.number).collect();
    assert!(journal.settle_letter(&id, numbers[0], Ending::Replayed).unwrap());
    assert!(!journal.settle_letter(&id, numbers[0], Ending::Dropped).unwrap(), "it is settled once");
    assert!(journal.settle_letter(&id, numbers[2], Ending::Dropped).unwrap());
    let after = journal.job(&id).unwrap().counters;
    assert_eq!((after.read, after.written, after.skipped, after.dead), (10, 8, 1, 1));
    assert_eq!(journal.letter_count(&id).unwrap(), 1);
    assert_eq!(journal.all_letters(&id, 0, 10).unwrap().len(), 3);
    let first = journal.letter(&id, numbers[0]).unwrap().unwrap();
    assert_eq!(first.fate.map(|fate| fate.ending), Some(Ending::Replayed));

    // A worker that is still at it commits what it counted itself, and meets the same lines again after a crash.
    let counters = Counters { read: 12, written: 9, dead: 3, ..Counters::default() };
    journal.commit(&id, &Commit { counters, letters: &letters, ..Commit::default() }).unwrap();
    let after = journal.job(&id).unwrap().counters;
    assert_eq!((after.read, after.written, after.skipped, after.dead), (12, 10, 1, 1));
    assert_eq!(journal.letter_count(&id).unwrap(), 1);
}

#[test]
fn a_draft_is_kept_until_it_is_replaced_and_every_change_shows_in_the_version() {
    let (_folder, mut journal) = journal();
    let id = journal.create_job(&spec(), &Context::default(), None).unwrap();
    journal.commit(&id, &Commit { letters: &[letter(1)], ..Commit::default() }).unwrap();
    let number = journal.letters(&id, 0, 10).unwrap()[0].number;
    let before = journal.letters_version(&id).unwrap();
    journal.set_tried(&id, number, "an item is there").unwrap();
    journal.set_draft(&id, number, Some(b"{}")).unwrap();
    let dead = journal.letter(&id, number).unwrap().unwrap();
    assert_eq!((dead.draft.as_deref(), dead.tried), (Some(&b"{}"[..]), None));
    assert!(journal.letters_version(&id).unwrap() > before);
}

#[test]
fn a_journal_of_an_older_version_is_brought_up_to_date_with_its_letters_and_its_audit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let id = {
        let mut journal = Journal::open(&path).unwrap();
        let id = journal.create_job(&spec(), &Context::default(), None).unwrap();
        journal.commit(&id, &Commit { letters: &[letter(7)], ..Commit::default() }).unwrap();
        journal
            .conn
            .execute_batch(
                "drop index letters_by_fate; alter table letters drop column draft; alter table letters drop column tried;
                 alter table letters drop column fate; alter table letters drop column fate_ms;
                 alter table letters drop column revision;
                 drop index audit_by_job; drop index audit_by_target; drop index audit_by_undoes;
                 alter table audit drop column before; alter table audit drop column undoes;
                 alter table audit drop column outcome; alter table audit drop column outcome_words;",
            )
            .unwrap();
        journal.conn.pragma_update(None, "user_version", 2).unwrap();
        id
    };
    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.letters(&id, 0, 10).unwrap()[0].fate, None);
    assert_eq!(journal.audit_lines(10).unwrap(), []);
}
