//! What an operator sees while AWS, the journal and the terminal do what they do.

use super::*;

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
    tester.sees("None of 3 tables matches QUOzz").await;
    tester.press("/ esc").await;
    tester.sees("sessions").await;
}

#[tokio::test]
async fn what_was_raised_without_a_job_can_be_given_back() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (110, 30));
    tester.press("u").await;
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
    tester.sees("table historical was raised from 65 to 130 WCU; u gives it back").await;
    tester.press("u y").await;
    assert_eq!(tester.changed(), [Effect::GiveBack(vec![bump])]);
}

#[tokio::test]
async fn nothing_is_drawn_while_nothing_changes() {
    let mut tester = Tester::watching(Screen::Jobs, Mode::Normal, (80, 24));
    tester.look().await;
    let frames = tester.runtime.frames;
    for _ in 0..3 {
        tester.send(Msg::Tick { now_ms: NOW_MS + 100, questions: 0 });
        tester.runtime.step().await.unwrap();
    }
    assert!(!tester.runtime.app.dirty);
    assert_eq!(tester.runtime.frames, frames);
    tester.send(Msg::Tick { now_ms: NOW_MS + 1000, questions: 0 });
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
    tester.send(Msg::TableNames(crate::console::effect::Request(0), Ok(Vec::new())));
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
    tester.press("u").await;
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
    tester.send(Msg::Samples(id.clone(), vec![later], 1000));
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
        tester.send(Msg::Tick { now_ms: NOW_MS + second * 1_000, questions: second as u64 * 3 });
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
            queue.extend(crate::console::update::update(&mut app, answer));
        }
        most = most.max(calls - before);
        queue.extend(crate::console::update::update(&mut app, Msg::Tick { now_ms: NOW_MS + tick * 250, questions: 0 }));
    }
    assert!(calls / 60 <= 10, "{calls} calls in a minute");
    assert!(most <= 60, "{most} calls at once");
    // Forty rows, two metrics, each half minute.
    assert!(metrics <= 240, "{metrics} metrics in a minute");
    assert_eq!(app.tables.rows.as_ref().map(Vec::len), Some(40), "only what is on screen is described");
}

#[test]
fn a_row_that_stays_as_it_was_is_described_half_as_often_as_one_that_does_not() {
    let mut app = app(Screen::Tables, Mode::Normal);
    app.size = (120, 40);
    let mut queue = app.begin();
    let mut described = std::collections::HashMap::<String, u64>::new();
    for second in 0..=60 {
        while let Some(effect) = queue.pop() {
            let answer = match effect {
                Effect::ListTables(request) => Msg::TableNames(request, Ok(vec!["calm".into(), "grows".into()])),
                Effect::LoadTables(request, wanted) => {
                    let tables = wanted.into_iter().map(|name| {
                        let times = described.entry(name.clone()).or_default();
                        *times += 1;
                        fixture::table(&name, if name == "grows" { *times } else { 1 }, 1, Some(5), None)
                    });
                    Msg::Tables(request, Ok(tables.collect()))
                }
                _ => continue,
            };
            queue.extend(crate::console::update::update(&mut app, answer));
        }
        let now_ms = NOW_MS + second * 1_000;
        queue.extend(crate::console::update::update(&mut app, Msg::Tick { now_ms, questions: 0 }));
    }
    assert_eq!((described["calm"], described["grows"]), (7, 12));
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

#[tokio::test]
async fn after_a_storm_of_sizes_the_screen_is_whole_in_the_last_one() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    let before = tester.look().await;
    let sizes = (0..300_u16).map(|n| (n * 37 % 400 + 1, n * 13 % 120 + 1)).chain([(120, 40)]);
    for (n, (width, height)) in sizes.enumerate() {
        tester.runtime.terminal_mut().backend_mut().resize(width, height);
        tester.keys.unbounded_send(Ok(Event::Resize(width, height))).unwrap();
        // Some are drawn, and some come faster than frames.
        if n.is_multiple_of(7) {
            tester.look().await;
        }
    }
    assert_eq!(tester.look().await, before);
    assert_eq!(tester.runtime.app.size, (120, 40));
}

#[tokio::test]
async fn after_a_stop_it_is_drawn_at_the_size_that_the_terminal_has_by_then() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    tester.press("l").await;
    // The shell is told of it, the stopped process is not.
    tester.runtime.terminal_mut().backend_mut().resize(80, 24);
    tester.press("ctrl-z").await;
    assert_eq!(tester.runtime.app.size, (80, 24));
    let mut other = Tester::watching(r7f3a(), Mode::Normal, (80, 24));
    other.press("l").await;
    assert_eq!(tester.look().await, other.look().await);
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
            Msg::Jobs(vec![fixture::job("r-7f3a", State::Running), fixture::done_job()], Vec::new()),
            Msg::Samples(id.clone(), fixture::samples(), 1000),
            Msg::Notes(id, fixture::notes()),
        ]);
        queue.extend(keys.into_iter().map(Msg::Key));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (to, mut answers) = mpsc::channel(1024);
        let mut world = World::new(to, Holds::Tables);
        for effect in app.begin() {
            world.perform(effect);
        }
        while let Some(msg) = answers.try_recv().ok().or_else(|| queue.pop_front()) {
            for effect in crate::console::update::update(&mut app, msg) {
                world.perform(effect);
            }
            terminal.draw(|frame| crate::console::view::draw(frame, &app)).unwrap();
        }
    }
}
