//! The real loop on a test terminal: keys go in, a person's eyes wait for text, effects are answered from a fixed
//! world.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use futures::channel::mpsc as input;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tokio::sync::mpsc;

use super::app::{App, Place, Screen};
use super::effect::{Draft, Effect};
use super::fixture::{self, NOW_MS};
use super::form::{Name, Unseen};
use super::keymap;
use super::msg::{Msg, TableMinutes};
use super::runtime::{Keys, Perform, Runtime};
use super::stream::StreamEffect;
use super::theme::Theme;
use crate::capacity::Resource;
use crate::cloud::guard::Change;
use crate::cloud::{Class, CloudError, Mode};
use crate::jobs::JobId;
use crate::jobs::journal::{Bump, Control, DeadLetter, Decided, Decision, Job, State};
use crate::jobs::spec::{AutoscaleSpec, Spec};

/// Answers effects at once, and remembers them.
#[derive(Clone)]
pub(super) struct World {
    to: mpsc::Sender<Msg>,
    pub(super) done: Arc<Mutex<Vec<Effect>>>,
    lost: Arc<Mutex<Option<CloudError>>>,
}

impl Perform for World {
    fn perform(&mut self, effect: Effect) {
        let answer = {
            let lost = self.lost.lock().unwrap().clone();
            let or_lost = |msg: Msg, error: fn(CloudError) -> Msg| lost.clone().map_or(msg, error);
            match &effect {
                Effect::ListTables(request) => {
                    let names = fixture::tables().into_iter().map(|table| table.name).collect();
                    Some(Msg::TableNames(*request, lost.clone().map_or(Ok(names), Err)))
                }
                Effect::LoadTables(request, names) => {
                    let mut tables = fixture::tables();
                    tables.retain(|table| names.contains(&table.name));
                    Some(Msg::Tables(*request, lost.clone().map_or(Ok(tables), Err)))
                }
                Effect::LoadChart(request, question) => {
                    Some(Msg::Chart(*request, lost.clone().map_or_else(|| Ok(fixture::chart(question)), Err)))
                }
                Effect::LoadTable(name) => {
                    let table = fixture::tables().into_iter().find(|table| table.name == *name);
                    let table = table.unwrap_or_else(|| fixture::table(name, 0, 0, Some(130), None));
                    Some(or_lost(Msg::Table(Ok(table)), |error| Msg::Table(Err(error))))
                }
                Effect::Stream(effect) => super::stream_tests::answer(effect),
                Effect::LoadStreams(request, _) => Some(Msg::Streams(*request, Ok(fixture::streams()))),
                Effect::Identify => Some(Msg::Account(Ok("111122223333".into()))),
                Effect::LoadTableMinutes(..) => Some(Msg::TableMinutes(Ok(vec![TableMinutes {
                    table: "quotes".into(),
                    consumed: (1..6).map(|m| (NOW_MS / 60_000 * 60_000 - m * 60_000, 120.0 * m as f64)).collect(),
                    throttled: Vec::new(),
                }]))),
                Effect::Look(request, spec) => Some(Msg::Looked(
                    *request,
                    if spec.source.sources[0].starts_with("s3://") {
                        Ok(Box::new(fixture::facts(spec)))
                    } else {
                        let words = format!("{} does not exist", spec.source.sources[0]);
                        Err(Unseen { name: Name::Source, words })
                    },
                )),
                Effect::Start { spec, .. } => Some(Msg::Started(JobId(format!("{}-0001", spec.kind().letter())))),
                _ => None,
            }
        };
        self.done.lock().unwrap().push(effect);
        if let Some(msg) = answer {
            self.to.try_send(msg).unwrap();
        }
    }
}

impl Keys for input::UnboundedReceiver<std::io::Result<Event>> {}

/// A person at the console.
pub(super) struct Tester {
    pub(super) runtime: Runtime<TestBackend, input::UnboundedReceiver<std::io::Result<Event>>, World>,
    keys: input::UnboundedSender<std::io::Result<Event>>,
    pub(super) world: World,
}

fn app(screen: Screen, mode: Mode) -> App {
    let context = fixture::context();
    let place = Place { profile: "prod".into(), region: "eu-west-1".into(), context, mode };
    App::new(place, keymap::load(None).unwrap(), Theme::plain(true), screen, NOW_MS)
}

impl Tester {
    pub(super) fn open(screen: Screen, mode: Mode, (width, height): (u16, u16)) -> Self {
        let (to, mailbox) = mpsc::channel(1024);
        let (keys, input) = input::unbounded();
        let world = World { to, done: Arc::default(), lost: Arc::default() };
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let runtime = Runtime::new(terminal, app(screen, mode), input, mailbox, world.clone(), Duration::ZERO).unwrap();
        Self { runtime, keys, world }
    }

    /// With a restore under way in the journal.
    pub(super) fn watching(screen: Screen, mode: Mode, size: (u16, u16)) -> Self {
        let tester = Self::open(screen, mode, size);
        let id = JobId("r-7f3a".into());
        tester.send(Msg::Jobs(vec![fixture::job("r-7f3a", State::Running), done_job()], Vec::new()));
        tester.send(Msg::Samples(id.clone(), fixture::samples()));
        tester.send(Msg::Notes(id, fixture::notes()));
        tester
    }

    pub(super) fn send(&self, msg: Msg) {
        self.world.to.try_send(msg).unwrap();
    }

    pub(super) fn screen(&self) -> String {
        let buffer = self.runtime.terminal().backend().buffer();
        let width = usize::from(buffer.area.width).max(1);
        let rows = buffer.content().chunks(width);
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Lets everything happen that is under way, and looks.
    pub(super) async fn look(&mut self) -> String {
        // A message of no consequence comes out last: everything sent before it has been taken in by then.
        self.send(Msg::Resized);
        self.runtime.step().await.unwrap();
        while self.runtime.app.dirty && !self.runtime.app.done {
            self.send(Msg::Tick { now_ms: self.runtime.app.now_ms, requests: 0 });
            self.runtime.step().await.unwrap();
        }
        self.screen()
    }

    pub(super) async fn press(&mut self, keys: &str) {
        self.look().await;
        for word in keys.split(' ') {
            let named = match word {
                "enter" => Some(KeyCode::Enter),
                "esc" => Some(KeyCode::Esc),
                "tab" => Some(KeyCode::Tab),
                "down" => Some(KeyCode::Down),
                "up" => Some(KeyCode::Up),
                "space" => Some(KeyCode::Char(' ')),
                _ => None,
            };
            let codes = named.map_or_else(|| word.chars().map(KeyCode::Char).collect(), |code| vec![code]);
            for code in codes {
                self.keys.unbounded_send(Ok(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))).unwrap();
            }
            self.look().await;
        }
    }

    /// Time goes on.
    pub(super) async fn pass(&mut self, ms: i64) {
        self.send(Msg::Tick { now_ms: self.runtime.app.now_ms + ms, requests: 0 });
        self.look().await;
    }

    pub(super) async fn sees(&mut self, text: &str) {
        let screen = self.look().await;
        assert!(screen.contains(text), "no {text:?} on\n{screen}");
    }

    pub(super) async fn misses(&mut self, text: &str) {
        let screen = self.look().await;
        assert!(!screen.contains(text), "{text:?} on\n{screen}");
    }

    pub(super) fn did(&self) -> Vec<Effect> {
        std::mem::take(&mut self.world.done.lock().unwrap())
    }

    /// Everything done that changes something.
    pub(super) fn changed(&self) -> Vec<Effect> {
        let mut did = self.did();
        did.retain(|effect| {
            matches!(
                effect,
                Effect::SetCapacity { .. }
                    | Effect::GiveBack(_)
                    | Effect::Control(..)
                    | Effect::SetRate(..)
                    | Effect::Start { .. }
                    | Effect::Resume(_)
                    | Effect::OpenLetter(..)
                    | Effect::CheckDraft(_)
                    | Effect::Replay(..)
                    | Effect::Drop(..)
                    | Effect::Stream(StreamEffect::SetRetention { .. } | StreamEffect::SetMapping { .. })
            )
        });
        did
    }
}

fn done_job() -> crate::jobs::journal::Job {
    let mut job = fixture::job("r-0a11", State::Done);
    job.counters.written = 50_000;
    job.counters.dead = 0;
    job
}

fn r7f3a() -> Screen {
    Screen::Job(JobId("r-7f3a".into()))
}

const SIZES: [(u16, u16); 6] = [(120, 40), (110, 30), (80, 24), (60, 15), (40, 12), (1, 1)];

macro_rules! screens {
    ($name:ident, $open:expr) => {
        #[tokio::test]
        async fn $name() {
            for size in SIZES {
                let mut tester: Tester = $open(size).await;
                let drawn = tester.look().await;
                insta::assert_snapshot!(format!("{}_{}x{}", stringify!($name), size.0, size.1), drawn);
            }
        }
    };
}

screens!(the_tables, async |size| Tester::watching(Screen::Tables, Mode::Normal, size));
screens!(the_streams, async |size| Tester::watching(Screen::Streams, Mode::Normal, size));
screens!(the_jobs, async |size| Tester::watching(Screen::Jobs, Mode::Normal, size));
screens!(a_job, async |size| Tester::watching(r7f3a(), Mode::ReadOnly, size));
screens!(a_table, async |size| {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
    tester.press("down enter down").await;
    tester
});
screens!(a_raise_is_confirmed, async |size| {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, size);
    tester.press("+").await;
    tester
});
screens!(the_help, async |size| {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, size);
    tester.press("?").await;
    tester
});
screens!(the_restore_form, async |size| {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
    tester.press("down R s3://b/k").await;
    tester.pass(600).await;
    tester.press("down x").await;
    tester
});
screens!(the_dead_letters, async |size| {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, size);
    tester.press("d").await;
    tester.send(two_letters());
    tester
});

/// Two dead letters of the restore under way.
fn two_letters() -> Msg {
    let letters = [("not base64: invalid byte 33", &b"not base64!\x1b[2J\xff"[..]), ("not an object", b"[]")];
    let letters = letters.iter().enumerate().map(|(i, (reason, payload))| DeadLetter {
        number: i as i64 + 1,
        job: JobId("r-7f3a".into()),
        at_ms: NOW_MS,
        letter: fixture::letter(reason, payload),
        draft: None,
        tried: None,
        fate: None,
    });
    Msg::Letters(JobId("r-7f3a".into()), letters.collect(), 2)
}

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
        tester.send(Msg::Tick { now_ms: NOW_MS + 5_000, requests: 0 });
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
    let mut job = fixture::job("v-1a2b", State::Done);
    job.spec =
        Spec::Verify(crate::jobs::VerifySpec { table: "historical".into(), ..crate::jobs::VerifySpec::default() });
    let id = job.id.clone();
    let mut tester = Tester::open(Screen::Job(id.clone()), Mode::Normal, (120, 40));
    tester.send(Msg::Jobs(vec![job], Vec::new()));
    let lines = [
        r#"{"difference":"different","key":{"id":{"S":"a"}},"attribute":"rate","source":"{\"N\":\"1\"}","table":null}"#,
        r#"{"difference":"missing","key":{"id":{"S":"\u001b[2J"}}}"#,
    ];
    tester.send(Msg::Differences(id, lines.map(str::to_owned).to_vec()));
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
    tester.send(Msg::WouldSend(Change {
        service: "dynamodb".into(),
        operation: "UpdateTable".into(),
        target: "historical".into(),
        request: r#"{"TableName":"historical"}"#.into(),
        ..Change::default()
    }));
    tester.sees("dry run: this would have been sent").await;
    tester.sees("aws dynamodb update-table --cli-input-json").await;
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
        matches!(&started[..], [Effect::Start { spec, parent: None }]
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
        matches!(&started[..], [Effect::Start { spec, parent: None }]
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
async fn lost_credentials_are_a_sentence_and_the_last_rows_stay() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (110, 30));
    tester.sees("quotes").await;
    let error = CloudError::new(
        Class::Auth,
        "could not list tables: AWS refused the credentials",
        "log in again (aws sso login)",
    );
    *tester.world.lost.lock().unwrap() = Some(error);
    tester.pass(6000).await;
    tester.sees("AWS refused the credentials").await;
    tester.sees("log in again (aws sso login)").await;
    tester.sees("quotes").await;
    *tester.world.lost.lock().unwrap() = None;
    tester.pass(6000).await;
    tester.misses("refused the credentials").await;
}

#[tokio::test]
async fn a_filter_shows_what_contains_it_and_esc_shows_all() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (110, 30));
    tester.press("/ QUO").await;
    tester.sees("quotes").await;
    tester.misses("sessions").await;
    tester.press("zz enter").await;
    tester.sees("None of the 3 tables contains").await;
    tester.press("/ esc").await;
    tester.sees("sessions").await;
}

#[tokio::test]
async fn what_was_raised_without_a_job_can_be_given_back() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (110, 30));
    tester.press("g").await;
    tester.sees("there is nothing to give back").await;
    let bump = Bump {
        number: 1,
        context: fixture::context(),
        resource: Resource::Table("historical".into()),
        before: 65,
        after: 130,
        from: 65,
        at_ms: NOW_MS,
        job: None,
    };
    tester.send(Msg::Jobs(Vec::new(), vec![bump.clone()]));
    tester.pass(13_000).await;
    tester.sees("table historical was raised from 65 to 130 WCU; g gives it back").await;
    tester.press("g y").await;
    assert_eq!(tester.changed(), [Effect::GiveBack(vec![bump])]);
}

#[tokio::test]
async fn nothing_is_drawn_while_nothing_changes() {
    let mut tester = Tester::watching(Screen::Jobs, Mode::Normal, (80, 24));
    tester.look().await;
    let frames = tester.runtime.frames;
    for _ in 0..3 {
        tester.send(Msg::Tick { now_ms: NOW_MS + 100, requests: 0 });
        tester.runtime.step().await.unwrap();
    }
    assert!(!tester.runtime.app.dirty);
    assert_eq!(tester.runtime.frames, frames);
    tester.send(Msg::Tick { now_ms: NOW_MS + 1000, requests: 0 });
    tester.runtime.step().await.unwrap();
    assert!(tester.runtime.app.dirty, "the clock went on by a second");
}

#[tokio::test]
async fn many_messages_at_once_are_one_frame() {
    let mut tester = Tester::watching(Screen::Jobs, Mode::Normal, (80, 24));
    tester.look().await;
    let frames = tester.runtime.frames;
    for _ in 0..100 {
        tester.send(Msg::Resized);
    }
    tester.look().await;
    assert!(tester.runtime.frames <= frames + 1, "{} frames", tester.runtime.frames - frames);
}

#[tokio::test]
async fn answers_to_questions_that_nobody_asks_any_more_are_dropped() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (110, 30));
    tester.sees("quotes").await;
    tester.send(Msg::TableNames(super::effect::Request(0), Ok(Vec::new())));
    tester.sees("quotes").await;
}

#[tokio::test]
async fn the_end_of_the_input_and_a_signal_end_the_console() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (80, 24));
    tester.send(Msg::Shutdown);
    tester.runtime.run().await.unwrap();
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (80, 24));
    tester.keys.close_channel();
    tester.runtime.run().await.unwrap();
    assert!(tester.runtime.app.done);
}

#[tokio::test]
async fn empty_lists_say_what_to_do() {
    let mut tester = Tester::open(Screen::Jobs, Mode::Normal, (80, 24));
    tester.sees("Reading the journal").await;
    tester.send(Msg::Jobs(Vec::new(), Vec::new()));
    tester.sees("No jobs yet: R starts a restore, or run sluice demo.").await;
    tester.send(Msg::JournalLost("the journal could not be used".into()));
    tester.sees("the journal could not be used").await;
    tester.press("1").await;
    let request = tester.runtime.app.table_names.request;
    tester.send(Msg::TableNames(request, Ok(Vec::new())));
    tester.sees("No tables in eu-west-1").await;
}

#[tokio::test]
async fn capacity_of_an_on_demand_table_can_not_be_set() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (110, 30));
    tester.press("G +").await;
    tester.sees("sessions is on demand").await;
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn enter_on_a_table_shows_its_indexes_and_plus_raises_the_selected_one() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("down enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Table("quotes".into()));
    tester.sees("write, WCU/s").await;
    tester.press("down").await;
    tester.sees("write, WCU/s of by_day").await;
    tester.press("+ y").await;
    let resource = Resource::Index { table: "quotes".into(), index: "by_day".into() };
    assert_eq!(tester.changed(), [Effect::SetCapacity { resource, from: 50, to: 75, job: None }]);
    tester.press("esc").await;
    assert_eq!(tester.runtime.app.screen, Screen::Tables);
}

#[tokio::test]
async fn an_autoscaler_shows_its_rules_and_why_it_decided() {
    let id = JobId("a-194dbf".into());
    let rules = "[[table]]\nname = \"events-\"\n[table.write]\nmax = 500\n".to_owned();
    let spec = AutoscaleSpec { config: "/etc/rules.toml".into(), rules, once: false };
    let job = Job { spec: Spec::Autoscale(spec), ..fixture::job(&id.0, State::Running) };
    let decision = Decision {
        number: 1,
        context: fixture::context(),
        job: id.clone(),
        at_ms: NOW_MS,
        last_ms: NOW_MS,
        times: 4,
        table: "events-idle".into(),
        index: Some("by-\u{1b}tag".into()),
        direction: "write".into(),
        decided: Decided::Refused,
        from: 400,
        to: 200,
        consumed: 0.0,
        reason: "under 30 % used, but no decreases within 00:00-23:59 UTC".into(),
        dry_run: false,
    };
    for (size, words) in [
        ((120, 40), &["TABLES", "1-500 at 30-90 %", "FROM", "WHY", "under 30 % used, but no dec"][..]),
        ((80, 24), &["TABLES", "1-500", "refused"]),
        ((40, 12), &["refused"]),
    ] {
        let mut tester = Tester::open(Screen::Autoscale(id.clone()), Mode::Normal, size);
        tester.sees("Reading the journal").await;
        tester.send(Msg::Jobs(vec![job.clone()], Vec::new()));
        tester.sees("Nothing ").await;
        tester.send(Msg::Decisions(vec![decision.clone()]));
        for word in words {
            tester.sees(word).await;
        }
        tester.misses("\u{1b}").await;
    }
}

#[tokio::test]
async fn what_was_raised_of_an_index_is_given_back_on_its_tables_screen() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("down enter down").await;
    let resource = Resource::Index { table: "quotes".into(), index: "by_day".into() };
    let bump = Bump {
        number: 7,
        context: fixture::context(),
        resource,
        before: 20,
        after: 50,
        from: 20,
        at_ms: NOW_MS,
        job: None,
    };
    tester.send(Msg::Jobs(Vec::new(), vec![bump.clone()]));
    tester.press("g").await;
    assert_eq!(tester.changed(), [], "it is confirmed first");
    tester.press("y").await;
    assert_eq!(tester.changed(), [Effect::GiveBack(vec![bump])]);
}

/// The windows and periods that CloudWatch was asked for.
fn asked(tester: &Tester) -> Vec<(i64, i32)> {
    let did = tester.did();
    let charts = did.iter().filter_map(|effect| match effect {
        Effect::LoadChart(_, question) => Some(question),
        _ => None,
    });
    charts.map(|q| ((q.to_ms - q.from_ms) / 60_000, q.period_s)).collect()
}

#[tokio::test]
async fn zoom_goes_from_a_minute_to_fifteen_days_with_the_period_that_is_kept() {
    let mut tester = Tester::watching(Screen::Table("historical".into()), Mode::Normal, (120, 40));
    tester.look().await;
    asked(&tester);
    let mut wider = Vec::new();
    for window in ["6h", "24h", "3d", "15d"] {
        tester.press("z").await;
        tester.sees(&format!(" {window} ")).await;
        wider.extend(asked(&tester).last().copied());
    }
    assert_eq!(wider.iter().map(|(_, period)| *period).collect::<Vec<_>>(), [60, 60, 300, 900]);
    for (minutes, period_s) in wider {
        // The period that the window begins in is asked for whole.
        assert!(minutes * 60 / i64::from(period_s) <= 1_440, "{minutes} min in periods of {period_s} s");
    }
    tester.press("z").await;
    tester.sees("15 days is the widest window").await;
    tester.press("Z Z Z Z Z Z Z").await;
    tester.sees(" 1m ").await;
}

#[tokio::test]
async fn a_frozen_chart_stays_while_its_job_goes_on() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("f").await;
    tester.sees("frozen").await;
    let chart = |screen: String| screen.lines().skip(5).take(25).map(str::to_owned).collect::<Vec<_>>();
    let before = chart(tester.look().await);
    let id = JobId("r-7f3a".into());
    let later = crate::jobs::journal::Sample {
        at_ms: NOW_MS + 5_000,
        counters: fixture::counters(300),
        ..fixture::samples().remove(0)
    };
    tester.send(Msg::Samples(id.clone(), vec![later]));
    tester.pass(6_000).await;
    assert_eq!(chart(tester.look().await), before);
    assert_eq!(tester.runtime.app.histories[&id].seconds.last().unwrap().at_ms, NOW_MS + 5_000);
    tester.press("f").await;
    tester.misses("frozen").await;
}

#[tokio::test]
async fn the_header_tells_what_is_asked_of_aws_and_a_hint_what_is_held_back() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 40));
    let asked = |metrics, waiting| crate::cloud::budget::Asked { metrics, waiting, ..Default::default() };
    for second in 0..60 {
        tester.send(Msg::Tick { now_ms: NOW_MS + second * 1_000, requests: second as u64 * 3 });
        tester.send(Msg::Api(asked(second as u64 * 2, if second < 50 { 0 } else { 12 }), 10.0));
        tester.look().await;
    }
    // Two metrics a second are 7,200 an hour.
    tester.sees("cw $0.07").await;
    tester.sees("12 held").await;
    tester.sees("the budget of 10 questions/s to AWS holds 12 back: what is shown is up to").await;
}

/// One minute of the list of a thousand tables.
#[test]
fn a_thousand_tables_make_no_storm() {
    let mut app = app(Screen::Tables, Mode::Normal);
    app.size = (120, 40);
    let names: Vec<String> = (0..1_000).map(|n| format!("table-{n:04}")).collect();
    let (mut calls, mut metrics, mut most) = (0, 0, 0);
    let mut queue: VecDeque<Effect> = app.begin().into();
    for tick in 0..240 {
        let before = calls;
        while let Some(effect) = queue.pop_front() {
            let answer = match effect {
                Effect::ListTables(request) => {
                    // A hundred names a page.
                    calls += names.len() / 100;
                    Msg::TableNames(request, Ok(names.clone()))
                }
                Effect::LoadTables(request, wanted) => {
                    calls += wanted.len();
                    let tables = wanted.iter().map(|name| fixture::table(name, 1, 1, Some(5), None));
                    Msg::Tables(request, Ok(tables.collect()))
                }
                Effect::LoadTable(_) => panic!("nobody asked for one table"),
                Effect::LoadTableMinutes(tables, ..) => {
                    calls += 1;
                    metrics += tables.len() * 2;
                    Msg::TableMinutes(Ok(Vec::new()))
                }
                _ => continue,
            };
            queue.extend(super::app::update(&mut app, answer));
        }
        most = most.max(calls - before);
        queue.extend(super::app::update(&mut app, Msg::Tick { now_ms: NOW_MS + tick * 250, requests: 0 }));
    }
    assert!(calls / 60 <= 10, "{calls} calls in a minute");
    assert!(most <= 60, "{most} calls at once");
    // Forty rows, two metrics, each half minute.
    assert!(metrics <= 240, "{metrics} metrics in a minute");
    assert_eq!(app.tables.rows.as_ref().map(Vec::len), Some(40), "only what is on screen is described");
}

fn any_key() -> impl Strategy<Value = KeyEvent> {
    let codes = prop_oneof![
        proptest::char::range(' ', '~').prop_map(KeyCode::Char),
        prop_oneof![
            Just(KeyCode::Enter),
            Just(KeyCode::Esc),
            Just(KeyCode::Tab),
            Just(KeyCode::Up),
            Just(KeyCode::Down),
            Just(KeyCode::PageDown),
            Just(KeyCode::Home),
            Just(KeyCode::End),
            Just(KeyCode::Backspace),
            Just(KeyCode::Left)
        ],
        prop_oneof![Just('+'), Just('-'), Just('R'), Just('d'), Just('?'), Just('2'), Just('3'), Just('/'), Just('l')]
            .prop_map(KeyCode::Char),
    ];
    codes
        .prop_filter("q ends the console", |code| *code != KeyCode::Char('q'))
        .prop_map(|code| KeyEvent::new(code, KeyModifiers::NONE))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_keys_and_no_size_panic(
        keys in proptest::collection::vec(any_key(), 0..40),
        width in 1_u16..130,
        height in 1_u16..45,
        unicode in any::<bool>(),
    ) {
        let mut app = app(Screen::Tables, Mode::Normal);
        app.theme = Theme::plain(unicode);
        let id = JobId("r-7f3a".into());
        let mut queue: VecDeque<Msg> = VecDeque::from([
            Msg::Jobs(vec![fixture::job("r-7f3a", State::Running), done_job()], Vec::new()),
            Msg::Samples(id.clone(), fixture::samples()),
            Msg::Notes(id, fixture::notes()),
        ]);
        queue.extend(keys.into_iter().map(Msg::Key));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (to, mut answers) = mpsc::channel(1024);
        let mut world = World { to, done: Arc::default(), lost: Arc::default() };
        for effect in app.begin() {
            world.perform(effect);
        }
        while let Some(msg) = answers.try_recv().ok().or_else(|| queue.pop_front()) {
            for effect in super::app::update(&mut app, msg) {
                world.perform(effect);
            }
            terminal.draw(|frame| super::view::draw(frame, &app)).unwrap();
        }
    }
}
