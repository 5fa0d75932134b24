//! The console's hands on the embedded AWS and a journal of their own: what a dry run shows and does not do, and what of a
//! change is found in the audit.

use std::path::Path;

use tokio::sync::mpsc::Receiver;

use super::*;
use crate::capacity::Resource;
use crate::cloud::guard::NoWitness;
use crate::console::stream::StreamEffect;
use crate::flow::{Counters, Letter};
use crate::jobs::journal::{Bump, Commit, State};
use crate::jobs::spec::{RestoreSpec, VerifySpec};
use crate::local::testing::make_table;
use crate::local::{Local, Options};

/// An embedded AWS with a table and a stream, and a job with a dead letter.
struct World {
    local: Local,
    folder: tempfile::TempDir,
    job: JobId,
}

impl World {
    async fn new() -> Self {
        let local = Local::start(Options::default()).await.unwrap();
        let cloud = Cloud::connect(&context(&local), Guard::open()).await.unwrap();
        make_table(&cloud, "quotes", 10).await;
        cloud.kinesis.create_stream().stream_name("puts").shard_count(2).send().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&folder.path().join("journal.sqlite")).unwrap();
        let spec = Spec::Restore(RestoreSpec { table: "quotes".into(), ..RestoreSpec::default() });
        let job = journal.create_job(&spec, &context(&local), None).unwrap();
        journal.set_state(&job, State::Interrupted).unwrap();
        let letter = Letter {
            source: "f.jsonl".into(),
            line: Some(1),
            offset: Some(0),
            shard: None,
            sequence: None,
            reason: "refused".into(),
            payload: r#"{"id":{"S":"a"}}"#.into(),
        };
        let commit = Commit {
            counters: Counters { dead: 1, ..Counters::default() },
            total: None,
            limit: "",
            checkpoints: &[],
            letters: &[letter],
            sample: None,
        };
        journal.commit(&job, &commit).unwrap();
        let world = Self { local, folder, job };
        world.settle().await;
        world
    }

    /// Waits until neither the table nor the stream is being made or changed.
    async fn settle(&self) {
        let cloud =
            Cloud::connect(&context(&self.local), Guard::new(Mode::ReadOnly, Arc::new(NoWitness))).await.unwrap();
        while inventory::stream(&cloud, "puts").await.unwrap().status != "ACTIVE"
            || !inventory::table(&cloud, "quotes").await.unwrap().is_active()
        {
            tokio::task::yield_now().await;
        }
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.folder.path().join("journal.sqlite")).unwrap()
    }

    async fn hands(&self, mode: Mode) -> (Hands, Receiver<Msg>) {
        let (to, answers) = tokio::sync::mpsc::channel(64);
        let path = self.folder.path().join("journal.sqlite");
        let context = context(&self.local);
        let witness = ScreenWitness::new(&path, &context, to.clone());
        let cloud = Cloud::connect(&context, Guard::new(mode, witness)).await.unwrap();
        // The table and the stream are made at once here; on AWS they take a while.
        let (interests, _) = std::sync::mpsc::channel();
        (Hands::new(cloud, Path::new(&path), interests, to), answers)
    }

    /// Everything that the console can change, each with a word of what a dry run shows.
    fn changes(&self) -> Vec<(Effect, &'static str)> {
        let id = || self.job.clone();
        let resource = || Resource::Table("quotes".into());
        let bump = Bump {
            number: 1,
            context: context(&self.local),
            resource: resource(),
            before: 5,
            after: 10,
            from: 5,
            at_ms: 0,
            job: None,
        };
        let spec = Spec::Verify(VerifySpec { table: "quotes".into(), ..VerifySpec::default() });
        let set = |resource, from, to| Effect::SetCapacity { resource, from, to, job: None };
        vec![
            (set(resource(), 10, 20), "aws dynamodb update-table --cli-input-json '{"),
            (set(Resource::Stream("puts".into()), 2, 4), "aws kinesis update-shard-count --cli-input-json '{"),
            (Effect::GiveBack(vec![bump]), "aws dynamodb update-table --cli-input-json '{"),
            (
                Effect::Stream(StreamEffect::SetRetention { stream: "puts".into(), from: 24, to: 48 }),
                "aws kinesis increase-stream-retention-period --cli-input-json '{",
            ),
            (
                Effect::Stream(StreamEffect::SetMapping { uuid: "u-1".into(), function: "put".into(), enabled: false }),
                "aws lambda update-event-source-mapping --uuid u-1 --cli-input-json '{",
            ),
            (Effect::Replay(id(), vec![1]), "aws dynamodb put-item --cli-input-json '{"),
            (Effect::Control(id(), Control::Pause), "sluice pause r-"),
            (Effect::Control(id(), Control::Run), "sluice resume r-"),
            (Effect::Control(id(), Control::Cancel), "sluice cancel r-"),
            (Effect::SetRate(id(), Some(250.0)), "sluice rate r-"),
            (Effect::Resume(id()), "sluice resume r-"),
            (Effect::Drop(id(), 1), "sluice dead drop r-"),
            (Effect::Start { spec: Box::new(spec), parent: None, at: None }, "# sluice start verify"),
        ]
    }
}

fn context(local: &Local) -> Context {
    Context { region: Some("eu-west-1".into()), endpoint_url: Some(local.endpoint().into()), ..Context::default() }
}

/// The message within, of whichever context.
fn inner(msg: Msg) -> Msg {
    match msg {
        Msg::At(_, msg) => inner(*msg),
        msg => msg,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_request_of_every_change_and_its_command_and_sends_none() {
    let world = World::new().await;
    for (effect, command) in world.changes() {
        let (mut hands, mut answers) = world.hands(Mode::DryRun).await;
        hands.perform(effect.clone());
        let shown = loop {
            match answers.recv().await.map(inner) {
                Some(Msg::WouldSend(change, context)) => {
                    let command = change.as_aws_command_in(&context);
                    let place = format!(" --region 'eu-west-1' --endpoint-url '{}'", world.local.endpoint());
                    assert!(command.ends_with(&place), "{command}");
                    break format!("{} {command}", change.request);
                }
                Some(Msg::WouldDo(title, lines)) => break format!("{title} {}", lines.join("\n")),
                Some(Msg::Refused(words) | Msg::Done(words)) => panic!("{effect:?}: {words}"),
                Some(_) => {}
                None => panic!("{effect:?} showed nothing"),
            }
        };
        assert!(shown.contains(command), "{effect:?}: {shown}");
    }
    // Nothing has changed, in AWS or in the journal.
    let cloud = Cloud::connect(&context(&world.local), Guard::new(Mode::ReadOnly, Arc::new(NoWitness))).await.unwrap();
    assert_eq!(inventory::table(&cloud, "quotes").await.unwrap().provisioned.unwrap().write, 10);
    let stream = inventory::stream(&cloud, "puts").await.unwrap();
    assert_eq!((stream.open_shards(), stream.retention_hours), (2, 24));
    let journal = world.journal();
    assert_eq!(journal.audit_lines(100).unwrap(), []);
    let jobs = journal.jobs().unwrap();
    assert_eq!((jobs.len(), jobs[0].state, jobs[0].control, jobs[0].rate), (1, State::Interrupted, Control::Run, None));
    assert!(journal.letter(&world.job, 1).unwrap().unwrap().fate.is_none());
    assert_eq!(journal.open_bumps().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_refuses_every_change() {
    let world = World::new().await;
    for (effect, _) in world.changes() {
        let (mut hands, mut answers) = world.hands(Mode::ReadOnly).await;
        hands.perform(effect.clone());
        let said = loop {
            match answers.recv().await.map(inner) {
                Some(Msg::Refused(words)) => break words,
                Some(Msg::Done(words)) => panic!("{effect:?}: {words}"),
                Some(_) => {}
                None => panic!("{effect:?} said nothing"),
            }
        };
        assert!(said.contains("read-only"), "{effect:?}: {said}");
    }
    assert_eq!(world.journal().audit_lines(100).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capacity_that_is_not_what_was_shown_any_more_is_left_alone() {
    let world = World::new().await;
    // The table has 10 WCU and the stream 2 shards: what was agreed to was a raise from something else.
    for (resource, to) in [(Resource::Table("quotes".into()), 8), (Resource::Stream("puts".into()), 1)] {
        let (mut hands, mut answers) = world.hands(Mode::Normal).await;
        hands.perform(Effect::SetCapacity { resource: resource.clone(), from: 4, to, job: None });
        let said = loop {
            match answers.recv().await.map(inner) {
                Some(Msg::Refused(words)) => break words,
                Some(Msg::Done(words)) => panic!("{resource}: {words}"),
                Some(_) => {}
                None => panic!("{resource}: nothing was said"),
            }
        };
        assert!(said.contains("by now, not 4") && said.contains("nothing was changed"), "{said}");
    }
    assert_eq!(world.journal().audit_lines(100).unwrap(), []);
    assert_eq!(world.journal().open_bumps().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_lands_in_the_audit_with_its_context() {
    let world = World::new().await;
    let changes = world.changes().into_iter().filter(|(effect, _)| {
        // These begin a process of this very binary, which the test's is not; what they send is audited by the worker. A
        // mapping is none of the embedded AWS's here, and a letter is dropped once only.
        !matches!(
            effect,
            Effect::Start { .. }
                | Effect::Resume(_)
                | Effect::GiveBack(_)
                | Effect::Stream(StreamEffect::SetMapping { .. })
                | Effect::Replay(..)
        )
    });
    let mut expected = 0;
    for (effect, command) in changes {
        world.settle().await;
        let (mut hands, mut answers) = world.hands(Mode::Normal).await;
        hands.perform(effect.clone());
        match answers.recv().await.map(inner) {
            Some(Msg::Done(_)) => {}
            other => panic!("{effect:?}: {other:?}"),
        }
        expected += 1;
        let lines = world.journal().audit_lines(100).unwrap();
        assert_eq!(lines.len(), expected, "{effect:?}");
        let newest = &lines[0];
        assert!(newest.change.as_aws_command().starts_with(command), "{}", newest.change.as_aws_command());
        let is_request = newest.change.service != "sluice";
        assert_eq!(newest.outcome, is_request.then_some(Outcome::Done), "{effect:?}");
        assert_eq!(newest.context.endpoint_url.as_deref(), Some(world.local.endpoint()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_of_another_region_is_told_is_audited_where_the_job_acts() {
    let world = World::new().await;
    let there = Context { profile: Some("prod".into()), region: Some("us-east-1".into()), endpoint_url: None };
    let spec = Spec::Restore(RestoreSpec { table: "quotes".into(), ..RestoreSpec::default() });
    let id = world.journal().create_job(&spec, &there, None).unwrap();
    let (mut hands, mut answers) = world.hands(Mode::Normal).await;
    hands.perform(Effect::Control(id.clone(), Control::Pause));
    let done = answers.recv().await.map(inner);
    assert!(matches!(done, Some(Msg::Done(_))), "{done:?}");
    let lines = world.journal().audit_lines(10).unwrap();
    assert_eq!((&lines[0].context, lines[0].job.as_ref()), (&there, Some(&id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_told_nothing_that_can_not_be_audited_and_a_request_that_could_not_be_is_said() {
    let world = World::new().await;
    let path = world.folder.path().join("journal.sqlite");
    let full = "create trigger full before insert on audit begin select raise(abort, 'disk full'); end";
    rusqlite::Connection::open(&path).unwrap().execute_batch(full).unwrap();
    let (mut hands, mut answers) = world.hands(Mode::Normal).await;
    hands.perform(Effect::Control(world.job.clone(), Control::Pause));
    let refused = answers.recv().await.map(inner);
    let Some(Msg::Refused(words)) = refused else { panic!("{refused:?}") };
    assert!(words.contains("did not pause") && words.contains("disk full"), "{words}");
    assert_eq!(world.journal().job(&world.job).unwrap().control, Control::Run);

    let retention = StreamEffect::SetRetention { stream: "puts".into(), from: 24, to: 48 };
    hands.perform(Effect::Stream(retention));
    let told = answers.recv().await.map(inner);
    let Some(Msg::Refused(words)) = told else { panic!("{told:?}") };
    let what = "kinesis IncreaseStreamRetentionPeriod on puts was not written into the audit: ";
    assert!(words.starts_with(what) && words.contains("disk full"), "{words}");
    let done = answers.recv().await.map(inner);
    assert!(matches!(done, Some(Msg::Done(_))), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_is_gone_to_has_a_guard_and_an_audit_of_its_own_and_shares_the_budget() {
    let world = World::new().await;
    let (mut hands, mut answers) = world.hands(Mode::Normal).await;
    let there = Context { region: Some("us-east-1".into()), ..context(&world.local) };
    let id = PlaceId(1);
    hands.perform(Effect::Connect(id, there, Mode::ReadOnly));
    let Some(Msg::Connected(PlaceId(1), Ok(connected))) = answers.recv().await else { panic!("no clients") };
    assert_eq!(connected.region, "us-east-1");
    // Beside the one at hand, and then stood in.
    let pause = || Effect::Stream(StreamEffect::SetRetention { stream: "puts".into(), from: 24, to: 48 });
    hands.perform(Effect::At(id, Box::new(pause())));
    let Some(Msg::At(PlaceId(1), refused)) = answers.recv().await else { panic!("it is of that context") };
    assert!(matches!(*refused, Msg::Refused(ref words) if words.contains("read-only")), "{refused:?}");
    hands.perform(Effect::Stand(id, 3.0));
    assert!((hands.cloud.budget().per_second() - 3.0).abs() < 1e-9);
    hands.perform(Effect::Hold(Mode::Normal));
    hands.perform(pause());
    let Some(Msg::At(PlaceId(1), done)) = answers.recv().await else { panic!("it is of that context") };
    assert!(matches!(*done, Msg::Done(_)), "{done:?}");
    let lines = world.journal().audit_lines(10).unwrap();
    assert_eq!(lines[0].context.region.as_deref(), Some("us-east-1"));
    hands.perform(Effect::Stand(PlaceId(0), 7.0));
    assert_eq!(hands.cloud.region, "eu-west-1");
    assert!((hands.cloud.budget().per_second() - 7.0).abs() < 1e-9, "one budget for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_tried_with_clients_made_anew() {
    let world = World::new().await;
    let (mut hands, mut answers) = world.hands(Mode::Normal).await;
    hands.perform(Effect::Renew);
    let Some(Msg::At(PlaceId(0), answer)) = answers.recv().await else { panic!("no answer") };
    assert!(matches!(*answer, Msg::Renewed(Ok(()))), "{answer:?}");
}
