//! Scrubbing driven by keys over a fake event table: answers come when a test lets them.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::asking::AGAIN_MS;
use super::read::answer;
use super::*;
use crate::cloud::{Class, Mode};
use crate::console::app::Place as Where;
use crate::console::fixture::{self, NOW_MS};
use crate::console::msg::Msg;
use crate::console::theme::Theme;
use crate::console::update::update;
use crate::console::{keymap, view};
use crate::event::read::EventRead as _;
use crate::event::read::fake::{Fake, event};
use crate::event::{Around, Place};
use crate::item::KeySchema;
use crate::jobs::spec::Spec;

/// A console on the scrubber, a fake table, and the reads that are under way.
struct Desk {
    app: App,
    read: Arc<Fake>,
    pending: Vec<(Request, Question)>,
    others: Vec<Effect>,
    asked: usize,
    /// Reads end at once.
    prompt: bool,
}

/// Bursts of events from 14:00 to 14:58 on that day, the last minutes of which are not complete.
fn store() -> Fake {
    let mut events = Vec::new();
    for n in 0..600_u64 {
        let wave = (n as f64 / 40.0).sin().abs() * 2_000.0;
        let ms = n * 5_800 + wave as u64;
        let time = 1_520_172_000_000 + ms as i64;
        let mut made = event("2018-03-04T14:00:00Z", "shardId-000000000000", n);
        made.time = Timestamp::from_millisecond(time).unwrap();
        made.partition_key = format!("Claps-{:02x}-{:02x}", n * 7 % 256, n * 13 % 256);
        made.payload = format!(
            r#"{{"MessageType":"Claps","MemberId":"{:02x}","n":{n},"big":12345678901234567890,"z":1.10}}"#,
            n * 7 % 256
        )
        .into();
        events.push(made);
    }
    let fake = Fake::new(Layout::Ordered, 50, events);
    *fake.watermark.lock().unwrap() = Some("2018-03-04T14:55:00Z".parse().unwrap());
    fake
}

impl Desk {
    fn open(mode: Mode) -> Self {
        Self::over(store(), mode)
    }

    fn over(read: Fake, mode: Mode) -> Self {
        let place = Where {
            profile: "prod".into(),
            region: "eu-west-1".into(),
            context: fixture::context(),
            mode,
            ..Where::default()
        };
        let theme = Theme::plain(true);
        let mut app = App::new(place, keymap::load(None).unwrap(), theme, Screen::EventTables, NOW_MS);
        let mut events = fixture::table("event-store-dev-event-table", 600, 90_000, None, None);
        events.key = Layout::Ordered.key();
        app.tables.rows = Some(vec![events, fixture::table("quotes", 1, 1, None, None)]);
        app.table_names.rows = Some(vec!["event-store-dev-event-table".into(), "quotes".into()]);
        app.streams.rows = Some(fixture::streams());
        app.size = (120, 40);
        let mut desk =
            Self { app, read: Arc::new(read), pending: Vec::new(), others: Vec::new(), asked: 0, prompt: true };
        desk.press("enter");
        desk
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Playback(request, question) => {
                    self.asked += 1;
                    self.pending.push((request, question));
                }
                other => self.others.push(other),
            }
        }
        while self.prompt && !self.pending.is_empty() {
            self.answer_first();
        }
    }

    /// The oldest read ends.
    fn answer_first(&mut self) {
        let (request, question) = self.pending.remove(0);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answered = runtime.block_on(answer(Arc::clone(&self.read) as Arc<_>, question.what));
        let effects = update(&mut self.app, Msg::Playback(request, answered));
        self.take(effects);
    }

    fn press(&mut self, keys: &str) {
        for word in keys.split(' ') {
            let (word, modifiers) = match word.strip_prefix("shift-") {
                Some(word) => (word, KeyModifiers::SHIFT),
                None => (word, KeyModifiers::NONE),
            };
            let codes = match word {
                "enter" => vec![KeyCode::Enter],
                "esc" => vec![KeyCode::Esc],
                "space" => vec![KeyCode::Char(' ')],
                "left" => vec![KeyCode::Left],
                "right" => vec![KeyCode::Right],
                "down" => vec![KeyCode::Down],
                "home" => vec![KeyCode::Home],
                "end" => vec![KeyCode::End],
                text => text.chars().map(KeyCode::Char).collect(),
            };
            for code in codes {
                let effects = update(&mut self.app, Msg::Key(KeyEvent::new(code, modifiers)));
                self.take(effects);
            }
        }
    }

    fn pass(&mut self, ms: i64) {
        let now_ms = self.app.now_ms + ms;
        let effects = update(&mut self.app, Msg::Tick { now_ms, questions: 0 });
        self.take(effects);
    }

    fn scrubber(&self) -> &Scrubber {
        self.app.scrubber.as_ref().unwrap()
    }

    fn head(&self) -> String {
        format!("{:.3}", time(self.scrubber().head_us))
    }

    fn go_to(&mut self, at: &str) {
        self.press("t");
        self.press(at);
        self.press("enter");
    }

    fn drawn(&mut self, (width, height): (u16, u16)) -> String {
        self.app.size = (width, height);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view::draw(frame, &self.app)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width.max(1)));
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn sees(&mut self, text: &str) {
        let screen = self.drawn((120, 40));
        assert!(screen.contains(text), "no {text:?} on\n{screen}");
    }
}

const SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (40, 12), (1, 1)];

#[test]
fn the_scrubber_at_every_size() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:23:07.121");
    desk.press("left left [ right right right right right right right right right right right right ] left left left");
    for size in SIZES {
        let drawn = desk.drawn(size);
        insta::assert_snapshot!(format!("the_scrubber_{}x{}", size.0, size.1), drawn);
    }
}

#[test]
fn the_list_of_event_tables_and_the_form_at_every_size() {
    let mut desk = Desk::open(Mode::Normal);
    desk.press("enter");
    for size in SIZES {
        let drawn = desk.drawn(size);
        insta::assert_snapshot!(format!("the_replay_form_{}x{}", size.0, size.1), drawn);
    }
    desk.press("esc esc");
    for size in SIZES {
        let drawn = desk.drawn(size);
        insta::assert_snapshot!(format!("the_event_tables_{}x{}", size.0, size.1), drawn);
    }
}

#[test]
fn it_opens_at_the_end_of_what_is_complete_and_says_so() {
    let mut desk = Desk::open(Mode::Normal);
    assert_eq!(desk.head(), "2018-03-04T14:55:00.000Z");
    desk.sees("complete to 14:55:00");
    desk.sees("░");
}

#[test]
fn events_are_stepped_through_one_by_one_in_both_directions() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:23:00");
    let mut seen = Vec::new();
    for _ in 0..150 {
        desk.press("right");
        seen.push(desk.scrubber().on.clone().unwrap());
    }
    assert!(seen.is_sorted() && seen.windows(2).all(|two| two[0] != two[1]));
    let all = desk.read.events.lock().unwrap().clone();
    let first = all.iter().position(|event| Place::of(event) == seen[0]).unwrap();
    let expected: Vec<Place> = all[first..first + 150].iter().map(Place::of).collect();
    assert_eq!(seen, expected);
    for place in seen.iter().rev().skip(1) {
        desk.press("left");
        assert_eq!(desk.scrubber().on.as_ref(), Some(place));
    }
}

#[test]
fn a_held_key_queues_no_reads() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:10:00");
    desk.prompt = false;
    let before = desk.asked;
    for _ in 0..500 {
        desk.press("right");
    }
    assert!(desk.asked - before <= 1, "{} reads", desk.asked - before);
    assert!(desk.pending.len() <= 1);
    desk.prompt = true;
    while !desk.pending.is_empty() {
        desk.answer_first();
    }
    desk.press("right");
    assert!(desk.scrubber().on.is_some());
}

#[test]
fn a_stale_answer_is_dropped() {
    let mut desk = Desk::open(Mode::Normal);
    desk.prompt = false;
    desk.go_to("14:10:00");
    let (request, question) = desk.pending.remove(0);
    let stale = Around { events: Vec::new(), covered: desk.scrubber().range().unwrap(), looked_at: 0 };
    // Another question was asked since, or none of that number ever.
    update(&mut desk.app, Msg::Playback(Request(request.0 + 1000), Ok(Answer::Around(Box::new(stale.clone())))));
    assert!(desk.scrubber().is_reading_events());
    desk.pending.push((request, question));
    desk.answer_first();
    assert!(!desk.scrubber().is_reading_events());
    let events = desk.scrubber().events.len();
    update(&mut desk.app, Msg::Playback(request, Ok(Answer::Around(Box::new(stale)))));
    assert_eq!((events > 0, desk.scrubber().events.len()), (true, events));
}

#[test]
fn the_playhead_stays_where_it_is_while_events_arrive_before_and_after_it() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:54:00");
    desk.press("right right");
    let (on, head, from) = (desk.scrubber().on.clone(), desk.head(), desk.scrubber().from_us);
    for n in 0..20_u64 {
        let mut late = event("2018-03-04T14:53:59Z", "shardId-000000000001", 5000 + n);
        late.time = Timestamp::from_millisecond(1_520_175_239_000 + n as i64 * 500).unwrap();
        let mut events = desk.read.events.lock().unwrap();
        events.push(late);
        events.sort_by(|a, b| a.order().cmp(&b.order()));
        drop(events);
        let complete = Timestamp::from_second(1_520_175_300 + n as i64).unwrap();
        *desk.read.watermark.lock().unwrap() = Some(complete);
        desk.pass(6_000);
        assert_eq!(
            (desk.scrubber().on.clone(), desk.head(), desk.scrubber().from_us),
            (on.clone(), head.clone(), from)
        );
        let selected = desk.scrubber().selected().unwrap();
        assert_eq!(Some(Place::of(&desk.scrubber().events[selected])), on);
    }
}

#[test]
fn playing_follows_the_clock_times_the_speed_and_ends_with_the_range() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:23:10");
    desk.press("]");
    desk.go_to("14:23:00");
    desk.press("[ space");
    assert!(desk.scrubber().is_playing());
    desk.pass(250);
    assert_eq!(desk.head(), "2018-03-04T14:23:00.250Z");
    desk.press(".");
    desk.pass(1000);
    assert_eq!(desk.head(), "2018-03-04T14:23:02.250Z");
    desk.press("space");
    desk.pass(60_000);
    assert_eq!(desk.head(), "2018-03-04T14:23:02.250Z");
    desk.press("space");
    desk.pass(60_000);
    assert_eq!((desk.head().as_str(), desk.scrubber().is_playing()), ("2018-03-04T14:23:10.000Z", false));
}

#[test]
fn playing_never_passes_what_is_complete() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:54:00");
    desk.press("...... space");
    for _ in 0..100 {
        desk.pass(250);
    }
    assert_eq!(desk.head(), "2018-03-04T14:55:00.000Z");
    desk.press("space");
    desk.sees("nothing more is complete here");
}

#[test]
fn zooming_keeps_the_playhead_and_a_year_is_counted_a_few_hours_at_a_time() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:23:07.121");
    let head = desk.head();
    desk.prompt = false;
    desk.press("zzzzzzzzzz");
    assert_eq!((desk.head(), desk.scrubber().zoom), (head.clone(), ZOOMS.len() - 1));
    desk.sees("% counted");
    assert!(desk.pending.iter().all(|(_, question)| match &question.what {
        What::Hours { hours, .. } => hours.len() <= 24,
        _ => true,
    }));
    desk.prompt = true;
    while !desk.pending.is_empty() {
        desk.answer_first();
    }
    // A hundred hours a second: a year is counted within a minute and a half.
    for _ in 0..400 {
        desk.pass(250);
    }
    let screen = desk.drawn((120, 40));
    assert!(!screen.contains("% counted"), "{screen}");
    desk.press("ZZZZZZZZZZZZ");
    assert_eq!((desk.head(), desk.scrubber().zoom), (head, 0));
}

#[test]
fn a_filter_shows_only_what_contains_it_and_stepping_goes_on_where_nothing_was_found() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:00:00");
    desk.press("/");
    desk.press("\"n\":599,");
    desk.press("enter");
    desk.press("right");
    assert_eq!(desk.scrubber().events.len(), 1);
    assert_eq!(desk.scrubber().on.as_ref(), desk.scrubber().events.first().map(Place::of).as_ref());
    desk.press("/");
    for _ in 0..20 {
        let effects = update(&mut desk.app, Msg::Key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE)));
        desk.take(effects);
    }
    desk.press("nowhere enter");
    desk.sees("\"nowhere\"");
}

#[test]
fn a_slot_is_stepped_over_whole() {
    let slot = |n: i64, event_n: u64| {
        let mut made = event("2018-03-04T14:00:00Z", "s", event_n);
        made.time = Timestamp::from_millisecond(1_520_172_000_000 + n * 1000 + event_n as i64).unwrap();
        made
    };
    let events = (0..10).flat_map(|n| (0..3).map(move |e| slot(n * 2, e))).collect();
    let fake = Fake::new(Layout::Ordered, 50, events);
    *fake.watermark.lock().unwrap() = Some("2018-03-04T14:10:00Z".parse().unwrap());
    let mut desk = Desk::over(fake, Mode::Normal);
    desk.go_to("14:00:04");
    desk.press("shift-right");
    assert_eq!(desk.head(), "2018-03-04T14:00:06.000Z");
    desk.press("right shift-right");
    assert_eq!(desk.head(), "2018-03-04T14:00:08.000Z");
    desk.press("shift-left");
    assert_eq!(desk.head(), "2018-03-04T14:00:06.000Z");
}

#[test]
fn the_range_is_sent_on_by_a_job_after_a_look_at_it() {
    let mut desk = Desk::open(Mode::Normal);
    desk.go_to("14:03:00");
    desk.press("[");
    desk.go_to("14:07:00");
    desk.press("] enter");
    desk.press("restore");
    desk.press("enter");
    desk.sees("Play events of event-store-dev-event-table again");
    desk.others.clear();
    desk.press("enter");
    let Some(Effect::Start { spec, .. }) = desk.others.iter().find(|effect| matches!(effect, Effect::Start { .. }))
    else {
        panic!("nothing was started: {:?}", desk.others)
    };
    let Spec::Playback(spec) = spec.as_ref() else { panic!("no playback") };
    assert_eq!((spec.sink.as_str(), spec.speed), ("stream:restore", Some(1.0)));
    assert_eq!(spec.from.to_string(), "2018-03-04T14:03:00Z");
    assert_eq!(spec.to.unwrap().to_string(), "2018-03-04T14:07:00Z");
}

#[test]
fn an_export_is_named_after_the_table_and_its_start() {
    let mut desk = Desk::open(Mode::Normal);
    desk.app.folder = "/home/op".into();
    desk.go_to("14:03:00");
    desk.press("[");
    desk.go_to("14:07:00");
    desk.press("] e");
    desk.sees("/home/op/event-store-dev-event-table_2018-03-04T14-03-00Z.jsonl");
    desk.press("enter enter");
    assert!(desk.others.iter().any(|effect| matches!(effect, Effect::Start { .. })));
}

#[test]
fn read_only_starts_nothing() {
    let mut desk = Desk::open(Mode::ReadOnly);
    desk.press("e enter enter");
    assert!(!desk.others.iter().any(|effect| matches!(effect, Effect::Start { .. })));
    desk.sees("read-only");
}

#[test]
fn a_read_that_fails_says_why_and_is_tried_again_later() {
    let mut desk = Desk::open(Mode::Normal);
    desk.prompt = false;
    desk.go_to("14:10:00");
    let (request, _) = desk.pending.pop().unwrap();
    let lost = CloudError::new(Class::Transient, "no answer from the endpoint", "check the network");
    let effects = update(&mut desk.app, Msg::Playback(request, Err(lost)));
    desk.take(effects);
    desk.sees("no answer from the endpoint");
    desk.pass(500);
    assert!(desk.pending.iter().all(|(_, question)| !matches!(question.what, What::Around { .. })));
    desk.prompt = true;
    desk.pass(AGAIN_MS);
    desk.pass(250);
    assert!(desk.scrubber().trouble.is_none() && !desk.scrubber().events.is_empty());
}

#[test]
fn a_table_that_is_no_event_table_is_not_listed() {
    let mut desk = Desk::open(Mode::Normal);
    desk.press("esc");
    let screen = desk.drawn((120, 40));
    assert!(screen.contains("event-store-dev-event-table") && !screen.contains("quotes"), "{screen}");
    for table in desk.app.tables.rows.iter_mut().flatten() {
        let partition = table.key.partition.clone();
        table.key = KeySchema { partition, sort: None };
    }
    desk.sees("is an event table");
    assert!(desk.read.cost().requests > 0);
}
