//! What an operator does: dead letters, capacity, controls and forms, each through its question.

use super::*;
use crate::cloud::Context;

#[tokio::test]
async fn a_dead_letter_is_edited_by_another_program_while_the_console_goes_on_and_then_checked() {
    let mut tester = Tester::watching(Screen::Dead(JobId("r-7f3a".into())), Mode::Normal, (120, 30));
    tester.send(two_letters());
    tester.press("down e").await;
    assert_eq!(tester.changed(), [Effect::OpenLetter(JobId("r-7f3a".into()), 2)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.json");
    std::fs::write(&path, "before").unwrap();
    let draft =
        |editor: &str| Draft { job: JobId("r-7f3a".into()), number: 2, path: path.clone(), editor: editor.into() };
    // It ends only once the file that the test makes is there: until then the console has no terminal.
    let go = folder.path().join("go");
    let waits =
        format!("f() {{ until [ -e {} ]; do sleep 0.01; done; sed -i s/before/after/ \"$1\"; }}; f", go.display());
    tester.send(Msg::Draft(draft(&waits)));
    tester.runtime.step().await.unwrap();
    let frames = tester.runtime.frames;
    tester.keys.unbounded_send(Ok(Event::Key(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)))).unwrap();
    for _ in 0..3 {
        tester.send(Msg::Tick { now_ms: NOW_MS + 5_000, questions: 0 });
        assert!(tester.runtime.step().await.unwrap());
    }
    assert_eq!(tester.runtime.app.now_ms, NOW_MS + 5_000, "what happens elsewhere goes on");
    assert_eq!(tester.runtime.frames, frames, "nothing is drawn over the editor");
    assert!(!tester.runtime.app.done, "keys are the editor's");
    std::fs::write(&go, "").unwrap();
    assert!(tester.runtime.step().await.unwrap(), "the editor ended");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "after");
    assert_eq!(tester.changed(), [Effect::CheckDraft(draft(&waits))]);
}

#[tokio::test]
async fn an_editor_that_fails_changes_nothing_and_is_said() {
    let mut tester = Tester::watching(Screen::Dead(JobId("r-7f3a".into())), Mode::Normal, (120, 30));
    tester.send(two_letters());
    tester.look().await;
    tester.changed();
    let draft = Draft { job: JobId("r-7f3a".into()), number: 2, path: "/nowhere".into(), editor: "false".into() };
    tester.send(Msg::Draft(draft));
    tester.runtime.step().await.unwrap();
    tester.runtime.step().await.unwrap();
    tester.sees("the editor \"false\" ended with").await;
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn a_replay_is_confirmed_and_a_drop_is_typed() {
    let id = || JobId("r-7f3a".into());
    let mut tester = Tester::watching(Screen::Dead(id()), Mode::Normal, (120, 30));
    tester.press("r").await;
    tester.sees("there is no dead letter here").await;
    tester.send(two_letters());
    tester.press("r").await;
    tester.sees("a key that is in the table is left alone").await;
    assert_eq!(tester.changed(), []);
    tester.press("y").await;
    assert_eq!(tester.changed(), [Effect::Replay(id(), vec![1])]);
    tester.press("R y").await;
    assert_eq!(tester.changed(), [Effect::Replay(id(), vec![1, 2])]);
    tester.press("down x enter").await;
    tester.sees("its item will never be in historical").await;
    assert_eq!(tester.changed(), []);
    tester.press("drop enter").await;
    assert_eq!(tester.changed(), [Effect::Drop(id(), 2)]);
}

#[tokio::test]
async fn nothing_is_done_with_dead_letters_in_read_only_mode() {
    let mut tester = Tester::watching(Screen::Dead(JobId("r-7f3a".into())), Mode::ReadOnly, (120, 30));
    tester.send(two_letters());
    tester.press("e r R x").await;
    assert_eq!(tester.changed(), []);
    tester.sees("read-only").await;
}

#[tokio::test]
async fn a_verify_shows_the_first_differences_with_their_attribute() {
    let id = fixture::verify().id;
    let mut tester = Tester::open(Screen::Job(id.clone()), Mode::Normal, (120, 40));
    tester.send(Msg::Jobs(vec![fixture::verify()], Vec::new()));
    tester.send(Msg::Differences(id, fixture::differences()));
    tester.sees(r#"different  {"id":{"S":"a"}}   rate   {"N":"1"} → nothing"#).await;
    tester.sees(r#"missing    {"id":{"S":"\u001b[2J"}}"#).await;
}

#[tokio::test]
async fn plus_raises_the_capacity_of_the_jobs_table_after_a_yes() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("+").await;
    tester.sees("Raise the write capacity of historical").await;
    tester.sees("130 WCU   $0.0845/h").await;
    assert_eq!(tester.changed(), []);
    tester.press("y").await;
    let job = Some(JobId("r-7f3a".into()));
    assert_eq!(
        tester.changed(),
        [Effect::SetCapacity { resource: Resource::Table("historical".into()), from: 130, to: 195, job }]
    );
}

#[tokio::test]
async fn n_and_esc_leave_everything_as_it_is() {
    for key in ["n", "esc"] {
        let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
        tester.press("-").await;
        tester.sees("65 WCU").await;
        tester.press(key).await;
        tester.misses("65 WCU").await;
        assert_eq!(tester.changed(), []);
    }
}

#[tokio::test]
async fn read_only_refuses_with_a_sentence() {
    let mut tester = Tester::watching(r7f3a(), Mode::ReadOnly, (120, 40));
    for key in ["+", "p", "x", "v", "a"] {
        tester.press(key).await;
        tester.sees("read-only: ").await;
        tester.sees("start sluice without --read-only").await;
        tester.pass(13_000).await;
    }
    tester.sees("READ-ONLY").await;
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_sent() {
    let mut tester = Tester::watching(r7f3a(), Mode::DryRun, (120, 40));
    tester.sees("DRY RUN").await;
    let change = Change {
        service: "dynamodb".into(),
        operation: "UpdateTable".into(),
        target: "historical".into(),
        request: r#"{"TableName":"historical"}"#.into(),
        region: Some("eu-west-1".into()),
        ..Change::default()
    };
    tester.send(Msg::WouldSend(change, Context { profile: Some("prod".into()), ..Context::default() }));
    tester.sees("dry run: this would have been sent").await;
    tester.sees("aws dynamodb update-table --cli-input-json").await;
    tester.sees("--profile 'prod' --region 'eu-west-1'").await;
    tester.press("esc").await;
    tester.misses("this would have been sent").await;
}

#[tokio::test]
async fn a_job_is_paused_taken_up_again_and_cancelled_by_keys() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    let id = JobId("r-7f3a".into());
    tester.press("p y").await;
    assert_eq!(tester.changed(), [Effect::Control(id.clone(), Control::Pause)]);
    tester.send(Msg::Jobs(vec![fixture::job("r-7f3a", State::Paused)], Vec::new()));
    tester.sees("paused: nothing is written. p lets it go on").await;
    tester.press("p y").await;
    assert_eq!(tester.changed(), [Effect::Control(id.clone(), Control::Run)]);
    tester.press("x enter").await;
    assert_eq!(tester.changed(), [], "only y cancels a job");
    tester.press("y").await;
    assert_eq!(tester.changed(), [Effect::Control(id.clone(), Control::Cancel)]);
    tester.send(Msg::Jobs(vec![fixture::job("r-7f3a", State::Interrupted)], Vec::new()));
    tester.sees("r-7f3a interrupted").await;
    tester.pass(13_000).await;
    tester.sees("takes it up at its last checkpoint").await;
    tester.press("p y").await;
    assert_eq!(tester.changed(), [Effect::Resume(id)]);
}

#[tokio::test]
async fn a_put_worker_is_opened_from_the_list_says_who_reads_what_and_is_paused_and_capped() {
    let id = fixture::worker().id;
    let holds = Holds::Everything(Arc::new(fixture::events()));
    let mut tester = Tester::over(holds, Screen::Jobs, Mode::Normal, (120, 40));
    tester.send(Msg::Jobs(world::jobs(), Vec::new()));
    tester.press("/ kind=work enter enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Job(id.clone()));
    for words in ["work w-19ab", "readers", "3 shards, 2 workers", "this worker", "12.3 s", "db-7/w-2/b", "nobody"] {
        tester.sees(words).await;
    }
    tester.press("p y").await;
    assert_eq!(tester.changed(), [Effect::Control(id.clone(), Control::Pause)]);
    tester.press("a 250 enter").await;
    assert_eq!(tester.changed(), [Effect::SetRate(id.clone(), Some(250.0))]);
    tester.press("v").await;
    tester.sees("w-19ab is a").await;
    tester.sees("a restore or a replica can be verified").await;
    tester.press("l").await;
    tester.sees("begun: 1 file, csv64").await;
    tester.press("esc x y").await;
    assert_eq!(tester.changed(), [Effect::Control(id, Control::Cancel)]);
    tester.press("esc").await;
    assert_eq!(tester.runtime.app.screen, Screen::Jobs);
}

#[tokio::test]
async fn a_rate_is_a_number_or_nothing() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    let id = JobId("r-7f3a".into());
    tester.press("a fast enter").await;
    tester.sees("a number of items per second above 0").await;
    assert_eq!(tester.changed(), []);
    tester.press("esc a 12.5 enter").await;
    assert_eq!(tester.changed(), [Effect::SetRate(id.clone(), Some(12.5))]);
    tester.press("a enter").await;
    assert_eq!(tester.changed(), [Effect::SetRate(id, None)]);
}

#[tokio::test]
async fn a_restore_is_reviewed_then_started() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("R s3://b/k").await;
    tester.sees("Looking at the source").await;
    tester.pass(600).await;
    tester.sees("about 50,000").await;
    tester.sees("about 6m 25s").await;
    tester.press("enter").await;
    tester.sees("Start this restore").await;
    assert_eq!(tester.changed(), []);
    tester.press("enter").await;
    let started = tester.changed();
    assert!(
        matches!(&started[..], [Effect::Start { spec, parent: None, at: None }]
            if matches!(&**spec, Spec::Restore(r) if r.table == "historical" && r.source.sources == ["s3://b/k"])),
        "{started:?}"
    );
    assert_eq!(tester.runtime.app.screen, Screen::Job(JobId("r-0001".into())));
}

#[tokio::test]
async fn a_backup_shows_its_plan_is_reviewed_and_then_started() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("B").await;
    tester.sees("where to?").await;
    tester.press("enter").await;
    tester.misses("Start this backup").await;
    tester.press("s3://backups").await;
    tester.sees("time at that").await;
    tester.press("enter").await;
    tester.sees("Start this backup").await;
    assert_eq!(tester.changed(), []);
    tester.press("enter").await;
    let started = tester.changed();
    assert!(
        matches!(&started[..], [Effect::Start { spec, parent: None, at: None }]
            if matches!(&**spec, Spec::Backup(b) if b.table == "historical" && b.to == "s3://backups" && b.gzip)),
        "{started:?}"
    );
    assert_eq!(tester.runtime.app.screen, Screen::Job(JobId("b-0001".into())));
}

#[tokio::test]
async fn the_plan_follows_the_fields_and_only_another_source_is_looked_at_again() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("R s3://b/k").await;
    tester.pass(600).await;
    let looks = |tester: &Tester| tester.did().iter().filter(|effect| matches!(effect, Effect::Look(..))).count();
    assert_eq!(looks(&tester), 1);
    tester.press("tab tab tab tab tab 100s").await;
    tester.pass(600).await;
    tester.sees("the present capacity is not enough").await;
    tester.press("tab").await;
    for _ in 0..2 {
        tester.keys.unbounded_send(Ok(Event::Key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE)))).unwrap();
    }
    tester.press("yes").await;
    tester.pass(600).await;
    assert_eq!(looks(&tester), 0, "numbers alone need no new look");
    tester.press("enter").await;
    tester.sees("historical from 130 to 500 WCU").await;
    tester.press("enter").await;
    let started = tester.changed();
    assert!(
        matches!(&started[..], [Effect::Start { spec, .. }]
            if matches!(&**spec, Spec::Restore(r) if r.raise.as_ref().is_some_and(|raise| raise.table == 500))),
        "{started:?}"
    );
}

#[tokio::test]
async fn an_answer_to_an_older_question_is_dropped() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("R s3://b/k").await;
    tester.pass(600).await;
    let asked = tester.did().iter().find_map(|e| if let Effect::Look(r, _) = e { Some(*r) } else { None }).unwrap();
    tester.press("x").await;
    tester.pass(600).await;
    let stale = Unseen { name: Name::Source, words: "stale".into() };
    tester.send(Msg::Looked(asked, Err(stale)));
    tester.misses("stale").await;
    tester.sees("about 50,000").await;
}

#[tokio::test]
async fn overwriting_wants_the_tables_name_typed() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("down R s3://b/k").await;
    tester.pass(600).await;
    tester.press("enter").await;
    tester.sees("1,200,000 items: same keys are overwritten").await;
    tester.press("enter quote enter").await;
    assert_eq!(tester.changed(), []);
    tester.press("s enter").await;
    assert_eq!(tester.changed().len(), 1);
}

#[tokio::test]
async fn a_form_with_an_error_starts_nothing_and_says_what_is_wrong() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("R /no/such").await;
    tester.pass(600).await;
    tester.sees("/no/such does not exist").await;
    tester.press("tab x").await;
    tester.sees("there is no such table").await;
    tester.press("enter").await;
    tester.misses("Start this restore").await;
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn a_sequence_waits_for_its_second_key_and_says_which_there_are() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 30));
    tester.press("G g").await;
    tester.sees("g first").await;
    tester.press("g").await;
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("historical"));
    tester.misses("after g come").await;
    tester.press("g j").await;
    tester.sees("r-7f3a").await;
    assert_eq!(tester.runtime.app.screen, Screen::Jobs);
    tester.press("g x").await;
    tester.sees("g x does nothing here: after g come").await;
    tester.press("g esc t").await;
    assert_eq!(tester.runtime.app.screen, Screen::Jobs, "esc ended the sequence");
    tester.press("g").await;
    tester.pass(1_300).await;
    tester.press("t").await;
    assert_eq!(tester.runtime.app.screen, Screen::Jobs, "it waits for a second, no longer");
}

/// A raise that a job left behind which no worker runs any more.
fn left_raised(job: &Job, table: &str) -> Bump {
    Bump {
        number: 1,
        context: fixture::context(),
        resource: Resource::Table(table.into()),
        before: 130,
        after: 195,
        from: 130,
        at_ms: NOW_MS - 60_000,
        job: Some(job.id.clone()),
    }
}

#[tokio::test]
async fn a_question_that_no_key_asked_for_is_not_answered_by_what_is_being_typed() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 40));
    let dead = fixture::job("r-7f3a", State::Interrupted);
    tester.press("down").await;
    let bumps = vec![left_raised(&dead, "historical")];
    tester.send(Msg::Jobs(vec![dead.clone()], bumps.clone()));
    tester.sees("Give back what jobs left raised that no longer run").await;
    // A y that was meant to copy a name.
    tester.press("y enter").await;
    assert_eq!(tester.changed(), []);
    tester.press("backspace historical enter").await;
    assert_eq!(tester.changed(), [Effect::GiveBack(bumps.clone())]);
    // Once is enough.
    tester.send(Msg::Jobs(vec![dead], bumps));
    tester.misses("Give back what").await;
}

#[tokio::test]
async fn what_is_owed_is_not_asked_about_over_a_form_or_of_another_profile() {
    let dead = fixture::job("r-7f3a", State::Interrupted);
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("R").await;
    tester.send(Msg::Jobs(vec![dead.clone()], vec![left_raised(&dead, "historical")]));
    tester.misses("Give back what").await;
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 40));
    let elsewhere = crate::cloud::Context { profile: None, ..fixture::context() };
    let bump = Bump { context: elsewhere, ..left_raised(&dead, "historical") };
    tester.send(Msg::Jobs(vec![dead], vec![bump]));
    tester.misses("Give back what").await;
    tester.press("u").await;
    tester.sees("was not raised from here").await;
}
