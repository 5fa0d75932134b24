//! The real loop on a test terminal: keys go in, a person's eyes wait for text, effects are answered from a fixed
//! world.

mod acting;
mod finding;
mod guarding;
mod losing;
mod naming;
mod out;
mod pointing;
mod scaling;
mod screens;
mod seeing;
mod theming;
mod time;
mod world;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};
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
use crate::jobs::journal::{Bump, Control, Job, State};
use crate::jobs::spec::Spec;
pub(super) use world::Holds;
use world::World;

impl Keys for input::UnboundedReceiver<std::io::Result<Event>> {}

/// A person at the console.
pub(super) struct Tester {
    pub(super) runtime: Runtime<TestBackend, input::UnboundedReceiver<std::io::Result<Event>>, World>,
    keys: input::UnboundedSender<std::io::Result<Event>>,
    pub(super) world: World,
}

fn app(screen: Screen, mode: Mode) -> App {
    let context = fixture::context();
    let place = Place { profile: "prod".into(), region: "eu-west-1".into(), context, mode, ..Place::default() };
    App::new(place, keymap::load(None).unwrap(), Theme::plain(true), screen, NOW_MS)
}

impl Tester {
    pub(super) fn open(screen: Screen, mode: Mode, size: (u16, u16)) -> Self {
        Self::of(app(screen, mode), Holds::Tables, size)
    }

    /// In a world that holds that.
    pub(super) fn over(holds: Holds, screen: Screen, mode: Mode, size: (u16, u16)) -> Self {
        Self::of(app(screen, mode), holds, size)
    }

    /// On a screen as its keys open it, of which there is nothing but its name, in a world that holds that.
    pub(super) fn bare(holds: Holds, screen: &Screen, size: (u16, u16)) -> Self {
        let mut app = app(Screen::Tables, Mode::Normal);
        let mut asked = Vec::new();
        if matches!(screen, Screen::Playback | Screen::Replay) {
            asked.extend(super::playback::open(&mut app, "none"));
        }
        asked.extend(match &screen {
            Screen::Restore => super::forms::open(&mut app, None),
            Screen::Backup => super::backup::open(&mut app, None),
            Screen::Replica => super::replica::open(&mut app, None),
            Screen::Replay => super::playback::keys::act(&mut app, super::keymap::Action::Send),
            _ => app.go(screen.clone()),
        });
        assert_eq!(app.screen, *screen);
        let mut tester = Self::of(app, holds, size);
        for effect in asked {
            tester.world.perform(effect);
        }
        tester
    }

    fn of(app: App, holds: Holds, (width, height): (u16, u16)) -> Self {
        let (to, mailbox) = mpsc::channel(1024);
        let (keys, input) = input::unbounded();
        let world = World::new(to, holds);
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let runtime = Runtime::new(terminal, app, input, mailbox, world.clone(), Duration::ZERO).unwrap();
        Self { runtime, keys, world }
    }

    /// The terminal gets another size.
    pub(super) async fn resize(&mut self, (width, height): (u16, u16)) {
        self.runtime.terminal_mut().backend_mut().resize(width, height);
        self.keys.unbounded_send(Ok(Event::Resize(width, height))).unwrap();
        self.look().await;
    }

    /// With a restore under way in the journal.
    pub(super) fn watching(screen: Screen, mode: Mode, size: (u16, u16)) -> Self {
        Self::open(screen, mode, size).with_a_restore()
    }

    fn with_a_restore(self) -> Self {
        let id = JobId("r-7f3a".into());
        self.send(Msg::Jobs(vec![fixture::job("r-7f3a", State::Running), fixture::done_job()], Vec::new()));
        self.send(Msg::Samples(id.clone(), fixture::samples(), 1000));
        self.send(Msg::Notes(id, fixture::notes()));
        self
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
            self.send(Msg::Tick { now_ms: self.runtime.app.now_ms, questions: 0 });
            self.runtime.step().await.unwrap();
        }
        self.screen()
    }

    pub(super) async fn press(&mut self, keys: &str) {
        self.look().await;
        for word in keys.split(' ') {
            if let Some(c) = word.strip_prefix("ctrl-").and_then(|c| c.chars().next()) {
                let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
                self.keys.unbounded_send(Ok(Event::Key(key))).unwrap();
                self.look().await;
                continue;
            }
            let named = match word {
                "f1" => Some(KeyCode::F(1)),
                "enter" => Some(KeyCode::Enter),
                "esc" => Some(KeyCode::Esc),
                "tab" => Some(KeyCode::Tab),
                "down" => Some(KeyCode::Down),
                "up" => Some(KeyCode::Up),
                "space" => Some(KeyCode::Char(' ')),
                "home" => Some(KeyCode::Home),
                "end" => Some(KeyCode::End),
                "left" | "shift-left" => Some(KeyCode::Left),
                "right" | "shift-right" => Some(KeyCode::Right),
                "backspace" => Some(KeyCode::Backspace),
                "ctrl-p" => Some(KeyCode::Char('p')),
                "ctrl-u" => Some(KeyCode::Char('u')),
                "alt-m" => Some(KeyCode::Char('m')),
                _ => None,
            };
            let modifiers = match word.split_once('-') {
                Some(("shift", _)) => KeyModifiers::SHIFT,
                Some(("ctrl", _)) => KeyModifiers::CONTROL,
                Some(("alt", _)) => KeyModifiers::ALT,
                _ => KeyModifiers::NONE,
            };
            let modifiers = if named.is_some() { modifiers } else { KeyModifiers::NONE };
            let codes = named.map_or_else(|| word.chars().map(KeyCode::Char).collect(), |code| vec![code]);
            for code in codes {
                self.keys.unbounded_send(Ok(Event::Key(KeyEvent::new(code, modifiers)))).unwrap();
            }
            self.look().await;
        }
    }

    /// The mouse does something at a cell.
    pub(super) async fn mouse(&mut self, kind: MouseEventKind, column: u16, row: u16) {
        self.look().await;
        let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        self.keys.unbounded_send(Ok(Event::Mouse(event))).unwrap();
        self.look().await;
    }

    /// Where a text stands on the screen.
    pub(super) async fn find(&mut self, text: &str) -> (u16, u16) {
        let screen = self.look().await;
        let found = screen.lines().enumerate().find_map(|(y, line)| {
            let at = line.find(text)?;
            Some((line[..at].chars().count() as u16, y as u16))
        });
        found.unwrap_or_else(|| panic!("no {text:?} on\n{screen}"))
    }

    /// Time goes on.
    pub(super) async fn pass(&mut self, ms: i64) {
        self.send(Msg::Tick { now_ms: self.runtime.app.now_ms + ms, questions: 0 });
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

screens!(an_ended_job, async |size| {
    let mut tester = time::ended(size);
    tester.press("enter").await;
    tester
});
screens!(a_job_with_the_crosshair, async |size| {
    let mut tester = time::ended(size);
    tester.press("enter [").await;
    tester
});
screens!(a_frozen_table, async |size| {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
    tester.press("enter f").await;
    tester.pass(5_000).await;
    tester
});

screens!(the_export_prompt, async |size| {
    let mut tester = Tester::watching(Screen::Jobs, Mode::Normal, size);
    tester.press("E").await;
    tester
});

/// Two dead letters of the restore under way.
fn two_letters() -> Msg {
    Msg::Letters(JobId("r-7f3a".into()), fixture::letters(), 2)
}
