//! Scrubbing in the real loop, by keys, over an event table in memory: its reads end at once, or when a test lets them.

use std::sync::Arc;

use jiff::Timestamp;

use super::asking::AGAIN_MS;
use super::*;
use crate::cloud::{Class, Mode};
use crate::console::fixture;
use crate::console::msg::Msg;
use crate::console::tests::{Holds, Tester};
use crate::event::read::EventRead as _;
use crate::event::read::fake::{Fake, event};
use crate::event::{Around, Place};
use crate::item::KeySchema;
use crate::jobs::spec::Spec;

/// A console on the scrubber of an event table.
struct Desk {
    tester: Tester,
    read: Arc<Fake>,
}

impl Desk {
    async fn open(mode: Mode) -> Self {
        Self::over(fixture::events(), mode).await
    }

    async fn over(read: Fake, mode: Mode) -> Self {
        let read = Arc::new(read);
        let mut tester = Tester::over(Holds::Events(Arc::clone(&read)), Screen::EventTables, mode, (120, 40));
        tester.press("enter").await;
        assert_eq!(tester.runtime.app.screen, Screen::Playback);
        Self { tester, read }
    }

    /// From now on reads end only when a test lets them.
    fn hold_back(&mut self) {
        *self.tester.world.slow.lock().unwrap() = true;
    }

    /// Those that are held back end, and others at once again.
    async fn let_go(&mut self) {
        *self.tester.world.slow.lock().unwrap() = false;
        while !self.pending().is_empty() {
            self.answer_first().await;
        }
    }

    /// The reads that are under way.
    fn pending(&self) -> Vec<(Request, Question)> {
        self.tester.world.reads.lock().unwrap().iter().cloned().collect()
    }

    /// The oldest read ends.
    async fn answer_first(&mut self) {
        let (request, question) = self.tester.world.reads.lock().unwrap().pop_front().unwrap();
        let answer = self.tester.world.read(request, &question).unwrap();
        self.tester.send(answer);
        self.tester.look().await;
    }

    /// An answer comes that the test made up.
    async fn told(&mut self, request: Request, answer: Result<Answer, CloudError>) {
        self.tester.send(Msg::Playback(request, answer));
        self.tester.look().await;
    }

    async fn press(&mut self, keys: &str) {
        self.tester.press(keys).await;
    }

    async fn pass(&mut self, ms: i64) {
        self.tester.pass(ms).await;
    }

    async fn go_to(&mut self, at: &str) {
        self.press(&format!("t {at} enter")).await;
    }

    async fn sees(&mut self, text: &str) {
        self.tester.sees(text).await;
    }

    /// The screen at that size.
    async fn drawn(&mut self, size: (u16, u16)) -> String {
        self.tester.resize(size).await;
        self.tester.screen()
    }

    /// How many reads there were so far.
    fn asked(&self) -> usize {
        let done = self.tester.world.done.lock().unwrap();
        done.iter().filter(|effect| matches!(effect, Effect::Playback(..))).count()
    }

    /// The job that was started since this was asked last.
    fn started(&self) -> Option<Spec> {
        self.tester.changed().into_iter().find_map(|effect| match effect {
            Effect::Start { spec, .. } => Some(*spec),
            _ => None,
        })
    }

    fn scrubber(&self) -> &Scrubber {
        self.tester.runtime.app.scrubber.as_ref().unwrap()
    }

    fn head(&self) -> String {
        format!("{:.3}", time(self.scrubber().head_us))
    }
}

const SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (40, 12), (1, 1)];

#[tokio::test]
async fn the_scrubber_at_every_size() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:23:07.121").await;
    desk.press("left left [ right right right right right right right right right right right right ] left left left")
        .await;
    for size in SIZES {
        let drawn = desk.drawn(size).await;
        insta::assert_snapshot!(format!("the_scrubber_{}x{}", size.0, size.1), drawn);
    }
}

#[tokio::test]
async fn the_list_of_event_tables_and_the_form_at_every_size() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.press("enter").await;
    for size in SIZES {
        let drawn = desk.drawn(size).await;
        insta::assert_snapshot!(format!("the_replay_form_{}x{}", size.0, size.1), drawn);
    }
    desk.press("esc esc").await;
    for size in SIZES {
        let drawn = desk.drawn(size).await;
        insta::assert_snapshot!(format!("the_event_tables_{}x{}", size.0, size.1), drawn);
    }
}

#[tokio::test]
async fn it_opens_at_the_end_of_what_is_complete_and_says_so() {
    let mut desk = Desk::open(Mode::Normal).await;
    assert_eq!(desk.head(), "2018-03-04T14:55:00.000Z");
    desk.sees("complete to 14:55:00").await;
    desk.sees("░").await;
}

#[tokio::test]
async fn events_are_stepped_through_one_by_one_in_both_directions() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:23:00").await;
    let mut seen = Vec::new();
    for _ in 0..150 {
        desk.press("right").await;
        seen.push(desk.scrubber().on.clone().unwrap());
    }
    assert!(seen.is_sorted() && seen.windows(2).all(|two| two[0] != two[1]));
    let all = desk.read.events.lock().unwrap().clone();
    let first = all.iter().position(|event| Place::of(event) == seen[0]).unwrap();
    let expected: Vec<Place> = all[first..first + 150].iter().map(Place::of).collect();
    assert_eq!(seen, expected);
    for place in seen.iter().rev().skip(1) {
        desk.press("left").await;
        assert_eq!(desk.scrubber().on.as_ref(), Some(place));
    }
}

#[tokio::test]
async fn a_held_key_queues_no_reads() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:10:00").await;
    desk.hold_back();
    let before = desk.asked();
    // All of them are there before the first is answered, as from a keyboard that repeats.
    desk.press(&"j".repeat(500)).await;
    assert!(desk.asked() - before <= 1, "{} reads", desk.asked() - before);
    assert!(desk.pending().len() <= 1);
    desk.let_go().await;
    desk.press("right").await;
    assert!(desk.scrubber().on.is_some());
}

#[tokio::test]
async fn a_stale_answer_is_dropped() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.hold_back();
    desk.go_to("14:10:00").await;
    let request = desk.pending()[0].0;
    let stale = Around { events: Vec::new(), covered: desk.scrubber().range().unwrap(), looked_at: 0 };
    // Another question was asked since, or none of that number ever.
    desk.told(Request(request.0 + 1000), Ok(Answer::Around(Box::new(stale.clone())))).await;
    assert!(desk.scrubber().is_reading_events());
    desk.answer_first().await;
    assert!(!desk.scrubber().is_reading_events());
    let events = desk.scrubber().events.len();
    desk.told(request, Ok(Answer::Around(Box::new(stale)))).await;
    assert_eq!((events > 0, desk.scrubber().events.len()), (true, events));
}

#[tokio::test]
async fn the_playhead_stays_where_it_is_while_events_arrive_before_and_after_it() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:54:00").await;
    desk.press("right right").await;
    let (on, head, from) = (desk.scrubber().on.clone(), desk.head(), desk.scrubber().from_us);
    for n in 0..20_u64 {
        let mut late = event("2018-03-04T14:53:59Z", "shardId-000000000001", 5000 + n);
        late.time = Timestamp::from_millisecond(1_520_175_239_000 + n as i64 * 500).unwrap();
        {
            let mut events = desk.read.events.lock().unwrap();
            events.push(late);
            events.sort_by(|a, b| a.order().cmp(&b.order()));
        }
        let complete = Timestamp::from_second(1_520_175_300 + n as i64).unwrap();
        *desk.read.watermark.lock().unwrap() = Some(complete);
        desk.pass(6_000).await;
        assert_eq!(
            (desk.scrubber().on.clone(), desk.head(), desk.scrubber().from_us),
            (on.clone(), head.clone(), from)
        );
        let selected = desk.scrubber().selected().unwrap();
        assert_eq!(Some(Place::of(&desk.scrubber().events[selected])), on);
    }
}

#[tokio::test]
async fn playing_follows_the_clock_times_the_speed_and_ends_with_the_range() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:23:10").await;
    desk.press("]").await;
    desk.go_to("14:23:00").await;
    desk.press("[ space").await;
    assert!(desk.scrubber().is_playing());
    desk.pass(250).await;
    assert_eq!(desk.head(), "2018-03-04T14:23:00.250Z");
    desk.press(".").await;
    desk.pass(1000).await;
    assert_eq!(desk.head(), "2018-03-04T14:23:02.250Z");
    desk.press("space").await;
    desk.pass(60_000).await;
    assert_eq!(desk.head(), "2018-03-04T14:23:02.250Z");
    desk.press("space").await;
    desk.pass(60_000).await;
    assert_eq!((desk.head().as_str(), desk.scrubber().is_playing()), ("2018-03-04T14:23:10.000Z", false));
}

#[tokio::test]
async fn a_playhead_that_waits_is_not_drawn_again() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:23:00").await;
    desk.press("space").await;
    desk.pass(250).await;
    let now_ms = desk.tester.runtime.app.now_ms;
    desk.tester.send(Msg::Tick { now_ms, questions: 0 });
    desk.tester.runtime.step().await.unwrap();
    assert!(desk.scrubber().is_playing() && !desk.tester.runtime.app.dirty);
}

#[tokio::test]
async fn playing_never_passes_what_is_complete() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:54:00").await;
    desk.press("...... space").await;
    for _ in 0..100 {
        desk.pass(250).await;
    }
    assert_eq!(desk.head(), "2018-03-04T14:55:00.000Z");
    desk.press("space").await;
    desk.sees("nothing more is complete here").await;
}

#[tokio::test]
async fn zooming_keeps_the_playhead_and_a_year_is_counted_a_few_hours_at_a_time() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:23:07.121").await;
    let head = desk.head();
    desk.hold_back();
    desk.press("zzzzzzzzzz").await;
    assert_eq!((desk.head(), desk.scrubber().zoom), (head.clone(), ZOOMS.len() - 1));
    desk.sees("% counted").await;
    assert!(desk.pending().iter().all(|(_, question)| match &question.what {
        What::Hours { hours, .. } => hours.len() <= 24,
        _ => true,
    }));
    desk.let_go().await;
    // A hundred hours a second: a year is counted within a minute and a half.
    for _ in 0..400 {
        desk.pass(250).await;
    }
    desk.tester.misses("% counted").await;
    desk.press("ZZZZZZZZZZZZ").await;
    assert_eq!((desk.head(), desk.scrubber().zoom), (head, 0));
}

#[tokio::test]
async fn a_filter_shows_only_what_contains_it_and_stepping_goes_on_where_nothing_was_found() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:00:00").await;
    desk.press("/").await;
    desk.press("\"n\":599,").await;
    desk.press("enter").await;
    desk.press("right").await;
    assert_eq!(desk.scrubber().events.len(), 1);
    assert_eq!(desk.scrubber().on.as_ref(), desk.scrubber().events.first().map(Place::of).as_ref());
    desk.press("/").await;
    desk.press("ctrl-u nowhere enter").await;
    desk.sees("\"nowhere\"").await;
}

#[tokio::test]
async fn a_slot_is_stepped_over_whole() {
    let slot = |n: i64, event_n: u64| {
        let mut made = event("2018-03-04T14:00:00Z", "s", event_n);
        made.time = Timestamp::from_millisecond(1_520_172_000_000 + n * 1000 + event_n as i64).unwrap();
        made
    };
    let events = (0..10).flat_map(|n| (0..3).map(move |e| slot(n * 2, e))).collect();
    let fake = Fake::new(Layout::Ordered, 50, events);
    *fake.watermark.lock().unwrap() = Some("2018-03-04T14:10:00Z".parse().unwrap());
    let mut desk = Desk::over(fake, Mode::Normal).await;
    desk.go_to("14:00:04").await;
    desk.press("shift-right").await;
    assert_eq!(desk.head(), "2018-03-04T14:00:06.000Z");
    desk.press("right shift-right").await;
    assert_eq!(desk.head(), "2018-03-04T14:00:08.000Z");
    desk.press("shift-left").await;
    assert_eq!(desk.head(), "2018-03-04T14:00:06.000Z");
}

#[tokio::test]
async fn the_range_is_sent_on_by_a_job_after_a_look_at_it() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.go_to("14:03:00").await;
    desk.press("[").await;
    desk.go_to("14:07:00").await;
    desk.press("] enter").await;
    desk.press("restore").await;
    desk.press("enter").await;
    desk.sees("Play events of event-store-dev-event-table again").await;
    assert_eq!(desk.started(), None, "it is asked about first");
    desk.press("enter").await;
    let Some(Spec::Playback(spec)) = desk.started() else { panic!("no playback was started") };
    assert_eq!((spec.sink.as_str(), spec.speed), ("stream:restore", Some(1.0)));
    assert_eq!(spec.from.to_string(), "2018-03-04T14:03:00Z");
    assert_eq!(spec.to.unwrap().to_string(), "2018-03-04T14:07:00Z");
    desk.sees("y-0001 was started").await;
}

#[tokio::test]
async fn an_export_is_named_after_the_table_and_its_start() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.tester.runtime.app.folder = "/home/op".into();
    desk.go_to("14:03:00").await;
    desk.press("[").await;
    desk.go_to("14:07:00").await;
    desk.press("] e").await;
    desk.sees("/home/op/event-store-dev-event-table_2018-03-04T14-03-00Z.jsonl").await;
    desk.press("enter enter").await;
    assert!(matches!(desk.started(), Some(Spec::Playback(spec)) if spec.speed.is_none()));
}

#[tokio::test]
async fn read_only_starts_nothing() {
    let mut desk = Desk::open(Mode::ReadOnly).await;
    desk.press("e enter enter").await;
    assert_eq!(desk.started(), None);
    desk.sees("read-only").await;
}

#[tokio::test]
async fn a_read_that_fails_says_why_and_is_tried_again_later() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.hold_back();
    desk.go_to("14:10:00").await;
    let (request, _) = desk.tester.world.reads.lock().unwrap().pop_back().unwrap();
    let lost = CloudError::new(Class::Transient, "no answer from the endpoint", "check the network");
    desk.told(request, Err(lost)).await;
    desk.sees("no answer from the endpoint").await;
    desk.pass(500).await;
    assert!(desk.pending().iter().all(|(_, question)| !matches!(question.what, What::Around { .. })));
    desk.let_go().await;
    desk.pass(AGAIN_MS).await;
    desk.pass(250).await;
    assert!(desk.scrubber().trouble.is_none() && !desk.scrubber().events.is_empty());
}

#[tokio::test]
async fn a_table_that_is_no_event_table_is_not_listed() {
    let mut desk = Desk::open(Mode::Normal).await;
    desk.press("esc").await;
    desk.sees("event-store-dev-event-table").await;
    desk.tester.misses("quotes").await;
    for table in desk.tester.runtime.app.tables.rows.iter_mut().flatten() {
        let partition = table.key.partition.clone();
        table.key = KeySchema { partition, sort: None };
    }
    desk.sees("is an event table").await;
    assert!(desk.read.cost().requests > 0);
}
