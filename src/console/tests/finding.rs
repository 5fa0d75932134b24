//! How an operator finds things: palette, filter, order, back and forward, bookmarks, words, the tour of the first start.

use super::*;
use crate::cloud::inventory::Table;
use crate::console::app::Overlay;
use crate::console::columns::List;
use crate::console::effect::Request;
use crate::console::memory::{self, News};
use crate::console::spot::Spot;
use crate::console::update::update;

const FOUR_SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (40, 12), (1, 1)];

async fn tables() -> Tester {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 30));
    tester.look().await;
    tester
}

macro_rules! snapshots {
    ($name:ident, $keys:expr) => {
        #[tokio::test]
        async fn $name() {
            for size in FOUR_SIZES {
                let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
                tester.press($keys).await;
                let drawn = tester.look().await;
                insta::assert_snapshot!(format!("{}_{}x{}", stringify!($name), size.0, size.1), drawn);
            }
        }
    };
}

snapshots!(the_palette, ": quo");
snapshots!(the_palette_completes_arguments, ": capacity space q");
snapshots!(the_words_on_screen, "f1");
snapshots!(the_help_is_searched, "? / filter enter");

#[tokio::test]
async fn the_tour() {
    for size in FOUR_SIZES {
        let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
        tester.runtime.app.tour = true;
        let drawn = tester.look().await;
        insta::assert_snapshot!(format!("the_tour_{}x{}", size.0, size.1), drawn);
    }
}

#[tokio::test]
async fn a_few_letters_and_enter_open_a_table() {
    let mut tester = tables().await;
    tester.press(": qts").await;
    tester.sees("active, 500 WCU, 1.20M items").await;
    tester.press("enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Table("quotes".into()));
    tester.sees("Tables › quotes").await;
}

#[tokio::test]
async fn the_palette_runs_what_keys_do_here_and_shows_which_key_that_is() {
    let mut tester = tables().await;
    tester.press(": give").await;
    tester.sees("set the capacity back to what it was").await;
    tester.press("esc : jobs enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Jobs);
    tester.press(": pause enter").await;
    tester.sees("Pause r-7f3a").await;
}

#[tokio::test]
async fn a_capacity_that_is_typed_is_asked_about_as_that_of_the_key() {
    let mut tester = tables().await;
    tester.press(": capacity space quotes space 600 enter").await;
    tester.sees("Raise the write capacity of quotes").await;
    assert_eq!(tester.changed(), []);
    tester.press("y").await;
    let resource = Resource::Table("quotes".into());
    assert_eq!(tester.changed(), [Effect::SetCapacity { resource, from: 500, to: 600, job: None }]);
    tester.press(": capacity space quotes/by_day space 60 enter").await;
    tester.sees("Raise the write capacity of index by_day of quotes").await;
}

#[tokio::test]
async fn what_is_wrong_with_a_line_is_told_under_it_with_the_nearest_name() {
    let mut tester = tables().await;
    for (line, said) in [
        (": capaxity enter", "did you mean \"capacity\"?"),
        (": capacity space qoutes space 600 enter", "there is no table or stream \"qoutes\": did you mean \"quotes\"?"),
        (": capacity space quotes enter", "capacity TABLE, TABLE/INDEX or STREAM NUMBER: set write capacity"),
        (": capacity space quotes space 500 enter", "it has 500 already"),
        (": capacity space sessions space 5 enter", "on demand"),
        (": rate space r-7f3a space many enter", "a number of items per second above 0"),
        (": resume space r-7f3a enter", "r-7f3a is running: it can't be resumed"),
        (": sort space sise enter", "did you mean \"size\"?"),
        (": filter space sise>1gb enter", "did you mean \"size\"?"),
    ] {
        tester.press(line).await;
        let screen = tester.look().await;
        assert!(screen.contains(said), "{line}: no {said:?} on\n{screen}");
        assert!(matches!(tester.runtime.app.overlay, Some(Overlay::Palette(_))), "{line}");
        tester.press("esc 1").await;
    }
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn a_read_only_console_refuses_what_is_typed_as_it_refuses_keys() {
    let mut tester = Tester::watching(Screen::Tables, Mode::ReadOnly, (120, 30));
    tester.press(": capacity space quotes space 600 enter").await;
    tester.sees("read-only").await;
    tester.press("esc : rate space r-7f3a space 5 enter").await;
    tester.sees("read-only").await;
    tester.press("esc : cancel space r-7f3a enter").await;
    tester.sees("read-only").await;
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn a_rate_and_a_restore_are_typed_with_their_arguments() {
    let mut tester = tables().await;
    tester.press(": rate space r-7f3a space 200 enter").await;
    assert_eq!(tester.changed(), [Effect::SetRate(JobId("r-7f3a".into()), Some(200.0))]);
    tester.press(": restore space into space quotes enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Restore);
    tester.sees("quotes").await;
}

#[tokio::test]
async fn tab_completes_commands_and_arguments() {
    let mut tester = tables().await;
    tester.press(": capac tab").await;
    tester.sees(":capacity ").await;
    tester.press("quo tab").await;
    tester.sees(":capacity quotes ").await;
    // Of several, the one that was chosen.
    tester.press("esc : table space down tab").await;
    tester.sees(":table historical").await;
    tester.press("esc : table space down down enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Table("quotes".into()));
}

#[tokio::test]
async fn what_was_run_comes_back_with_up_and_is_kept() {
    let mut tester = tables().await;
    tester.press(": table space quotes enter : sessions enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Table("sessions".into()));
    tester.press(": up").await;
    tester.sees(":table sessions").await;
    tester.press("up").await;
    tester.sees(":table quotes").await;
    tester.press("down down").await;
    tester.sees("enter runs it").await;
    let typed: Vec<String> = tester.did().into_iter().filter_map(typed_line).collect();
    assert_eq!(typed, ["table quotes", "table sessions"]);
}

fn typed_line(effect: Effect) -> Option<String> {
    match effect {
        Effect::Remember(News::Typed(line)) => Some(line),
        _ => None,
    }
}

#[tokio::test]
async fn a_filter_holds_while_it_is_typed_and_says_what_is_wrong_with_it() {
    let mut tester = tables().await;
    tester.press("/ size>100mb").await;
    tester.sees("quotes").await;
    tester.misses("sessions").await;
    // The last good one stays.
    tester.press("space sise>1").await;
    tester.sees("there is no column \"sise\" here: did you mean \"size\"?").await;
    tester.misses("sessions").await;
    tester.press("enter").await;
    tester.sees("did you mean").await;
    tester.press("ctrl-u billing=ondemand enter").await;
    tester.sees("sessions").await;
    tester.misses("quotes").await;
    tester.sees("/billing=ondemand").await;
    tester.press("esc").await;
    tester.sees("quotes").await;
}

#[tokio::test]
async fn every_list_has_the_language() {
    let mut tester = tables().await;
    tester.press("3 / state=running space dead>0 space table=historical space age<1d enter").await;
    tester.sees("r-7f3a").await;
    tester.misses("r-0a11").await;
    tester.press("esc d").await;
    let mut tester = Tester::watching(Screen::Dead(JobId("r-7f3a".into())), Mode::Normal, (120, 30));
    tester.send(two_letters());
    tester.press("/ !base64 enter").await;
    tester.sees("not an object").await;
    tester.misses("not base64").await;
    tester.press("R").await;
    tester.sees("the 1 that are shown, of 2 dead letters").await;
}

#[tokio::test]
async fn lists_are_sorted_by_any_column_both_ways_and_the_header_says_so() {
    let mut tester = tables().await;
    tester.sees("TABLE ▲").await;
    tester.press("s s").await;
    tester.sees("ITEMS ▼").await;
    let rows =
        |tester: &Tester| tester.runtime.app.table_rows().iter().map(|row| row.name.to_owned()).collect::<Vec<_>>();
    assert_eq!(rows(&tester), ["quotes", "sessions", "historical"]);
    tester.press("S").await;
    tester.sees("ITEMS ▲").await;
    assert_eq!(rows(&tester), ["historical", "sessions", "quotes"]);
    tester.press("<").await;
    tester.sees("STATUS ▲").await;
    tester.press(": sort space size enter").await;
    tester.sees("SIZE ▼").await;
    tester.press(": sort space size space u p enter").await;
    tester.sees("SIZE ▲").await;
    // Also by the name of the key's action, which begins like the command.
    tester.press(": sort space reverse enter").await;
    tester.sees("SIZE ▼").await;
}

#[tokio::test]
async fn back_and_forward_go_through_what_was_visited_and_rows_stay_selected() {
    let mut tester = tables().await;
    tester.press("down enter 3 down enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Job(JobId("r-0a11".into())));
    tester.press("ctrl-o").await;
    assert_eq!(tester.runtime.app.screen, Screen::Jobs);
    assert_eq!(tester.runtime.app.selected_job(), Some(JobId("r-0a11".into())));
    tester.press("ctrl-o").await;
    assert_eq!(tester.runtime.app.screen, Screen::Table("quotes".into()));
    tester.press("ctrl-o").await;
    assert_eq!(tester.runtime.app.screen, Screen::Tables);
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("quotes"));
    tester.press("ctrl-o").await;
    tester.sees("nothing was visited before this").await;
    tester.press("ctrl-n ctrl-n ctrl-n").await;
    assert_eq!(tester.runtime.app.screen, Screen::Job(JobId("r-0a11".into())));
    tester.sees("Jobs › r-0a11").await;
    // Going somewhere else ends the way forward.
    tester.press("ctrl-o ctrl-o 2 ctrl-n").await;
    tester.sees("nothing was visited after this").await;
    // esc goes up, not back.
    tester.press("3 enter esc").await;
    assert_eq!(tester.runtime.app.screen, Screen::Jobs);
}

/// Writes what the console remembers into `folder`, as the hands do.
fn write_down(tester: &mut Tester, folder: &std::path::Path) {
    let news = tester.did().into_iter().filter_map(|effect| match effect {
        Effect::Remember(news) => Some(news),
        _ => None,
    });
    memory::note(folder, news.collect()).unwrap();
}

async fn started_again(folder: &std::path::Path) -> Tester {
    let (memory, wrong) = memory::load(folder);
    assert_eq!(wrong, None);
    let mut app = app(Screen::Tables, Mode::Normal);
    app.recall(memory, true);
    let mut tester = Tester::of(app, Holds::Tables, (120, 30)).with_a_restore();
    tester.look().await;
    tester
}

#[tokio::test]
async fn bookmarks_place_order_and_filter_are_still_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut tester = tables().await;
    tester.press("/ !hist enter s s b").await;
    tester.sees("table quotes is bookmarked").await;
    tester.sees("quotes ★").await;
    tester.press("enter").await;
    tester.sees("Tables › quotes ★").await;
    tester.pass(200).await;
    tester.pass(1_500).await;
    write_down(&mut tester, folder.path());

    let mut tester = started_again(folder.path()).await;
    assert_eq!(tester.runtime.app.screen, Screen::Table("quotes".into()));
    tester.press("esc").await;
    tester.misses("historical").await;
    tester.sees("/!hist").await;
    tester.sees("ITEMS ▼").await;
    tester.press("2 '").await;
    tester.sees("table quotes").await;
    tester.press("enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Table("quotes".into()));
    tester.press("b").await;
    tester.sees("table quotes is bookmarked no more").await;
    write_down(&mut tester, folder.path());
    assert!(started_again(folder.path()).await.runtime.app.bookmarks().is_empty());
}

#[tokio::test]
async fn what_was_on_screen_when_the_console_was_left_is_remembered_at_once() {
    let mut tester = tables().await;
    tester.press("2 q").await;
    let last = tester.did().into_iter().rev().find_map(|effect| match effect {
        Effect::Remember(News::At { spot, .. }) => Some(spot),
        _ => None,
    });
    assert_eq!(last, Some(Spot::Streams));
}

#[tokio::test]
async fn a_job_or_table_that_is_gone_falls_back_to_its_list() {
    let folder = tempfile::tempdir().unwrap();
    for (spot, list) in [(Spot::Job("r-dead".into()), Screen::Jobs), (Spot::Letters("r-dead".into()), Screen::Jobs)] {
        let mut tester = tables().await;
        let effects = tester.runtime.app.go_to(&spot);
        assert!(!effects.is_empty());
        tester.press("q").await;
        write_down(&mut tester, folder.path());
        let tester = started_again(folder.path()).await;
        let notice = tester.runtime.app.notice.as_ref().map(|notice| notice.words.clone()).unwrap_or_default();
        assert_eq!(tester.runtime.app.screen, list);
        assert!(notice.contains("is gone since the console was left there"), "{notice}");
    }
    let mut app = app(Screen::Tables, Mode::Normal);
    app.recall(memory_at(&Spot::Table("nowhere".into())), true);
    assert_eq!(app.screen, Screen::Table("nowhere".into()));
    update(&mut app, Msg::Table(Err(CloudError::new(Class::NotFound, "there is no table nowhere", ""))));
    assert_eq!(app.screen, Screen::Tables);
}

fn memory_at(spot: &Spot) -> memory::Memory {
    let folder = tempfile::tempdir().unwrap();
    let mut before = app(Screen::Tables, Mode::Normal);
    drop(before.go_to(spot));
    let Some(Effect::Remember(news)) = before.due_memory(true) else { panic!("nothing is remembered") };
    memory::note(folder.path(), vec![news]).unwrap();
    memory::load(folder.path()).0
}

#[tokio::test]
async fn the_tour_is_shown_once_never_over_a_question_and_any_key_closes_it() {
    let mut tester = tables().await;
    tester.runtime.app.tour = true;
    tester.sees("first steps").await;
    tester.press("enter").await;
    tester.misses("first steps").await;
    assert_eq!(tester.runtime.app.screen, Screen::Tables, "enter only closes it");
    assert!(tester.did().contains(&Effect::Remember(News::TourSeen)));
    tester.press(": tour enter").await;
    tester.sees("first steps").await;
    // Any other key does what it does as well.
    tester.press("3").await;
    tester.misses("first steps").await;
    tester.sees("r-0a11").await;
    assert!(!tester.did().contains(&Effect::Remember(News::TourSeen)), "it was seen before");
    tester.press("p").await;
    tester.runtime.app.tour = true;
    tester.sees("Pause r-7f3a").await;
    tester.misses("first steps").await;
}

#[tokio::test]
async fn words_are_those_on_screen_first_and_can_be_searched() {
    let mut tester = tables().await;
    tester.press("f1").await;
    tester.sees("on this screen").await;
    tester.sees("WCU").await;
    tester.press("/ watermark enter").await;
    tester.sees("The time up to which the event table is complete").await;
    tester.misses("on this screen").await;
    tester.press("esc").await;
    tester.sees("on this screen").await;
    tester.press("esc").await;
    tester.misses("everywhere else").await;
    tester.press(": words space dead space letter enter").await;
    tester.sees("A record that can never succeed").await;
}

#[tokio::test]
async fn help_is_searched_by_key_and_by_what_it_does() {
    let mut tester = tables().await;
    tester.press("? / write space capacity").await;
    tester.sees("raise the table's write capacity by a step").await;
    tester.misses("leave the console").await;
    tester.press("esc").await;
    tester.sees("tables (here)").await;
    tester.press("esc q").await;
    assert!(tester.runtime.app.done);
}

#[tokio::test]
async fn lines_of_other_screens_do_not_panic_at_any_size() {
    for size in [(1, 1), (2, 40), (200, 2), (20, 5), (60, 15), (400, 120)] {
        for keys in [":", ": capacity space", "f1", "?", "f1 / x", "g"] {
            let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
            tester.runtime.app.tour = true;
            tester.press(keys).await;
        }
    }
}

/// A console on a thousand tables of which none is described, that filters them.
fn thousand(filter: &str) -> App {
    let mut app = app(Screen::Tables, Mode::Normal);
    app.size = (120, 40);
    drop(app.begin());
    let names = (0..1_000).map(|n| format!("table-{n:04}")).collect();
    let request = app.table_names.request;
    app.tables_list.filter.set(filter, List::Tables.fields());
    drop(update(&mut app, Msg::TableNames(request, Ok(names))));
    app
}

fn asked_for(app: &App, names: &[String]) -> Vec<Table> {
    assert!(names.len() <= usize::from(app.size.1) + 20, "{} at once", names.len());
    names
        .iter()
        .map(|name| {
            let bytes = if name.ends_with('7') { 2_000_000_000 } else { 0 };
            fixture::table(name, 1, bytes, Some(5), None)
        })
        .collect()
}

#[test]
fn what_a_filter_must_know_is_described_in_pages_of_which_one_is_under_way() {
    let mut app = thousand("size>1gb");
    assert_eq!(app.arranged_tables().unknown.len(), 1_000);
    let (mut pages, mut described) = (0, 0);
    let mut under_way: Option<(Request, Vec<String>)> = None;
    for step in 0..2_000 {
        let now_ms = NOW_MS + step * 300;
        for effect in update(&mut app, Msg::Tick { now_ms, questions: 0 }) {
            if let Effect::LoadTables(request, names) = effect {
                assert!(under_way.is_none(), "one page at a time");
                under_way = Some((request, names));
            }
        }
        // Each page takes a while.
        if step % 4 == 3
            && let Some((request, names)) = under_way.take()
        {
            pages += 1;
            described += names.len();
            let tables = asked_for(&app, &names);
            for effect in update(&mut app, Msg::Tables(request, Ok(tables))) {
                if let Effect::LoadTables(request, names) = effect {
                    under_way = Some((request, names));
                }
            }
        }
        if app.arranged_tables().unknown.is_empty() {
            break;
        }
    }
    assert!(app.arranged_tables().unknown.is_empty());
    assert_eq!(app.table_rows().len(), 100);
    assert!(pages >= 1_000 / 60, "{pages} pages");
    // What was on screen was described again meanwhile, the others once.
    assert!(described < 4_000, "{described} descriptions");
}

#[test]
fn without_a_filter_only_what_is_on_screen_is_described() {
    let mut app = thousand("table !0001");
    let mut wanted = 0;
    for step in 0..300 {
        let now_ms = NOW_MS + step * 300;
        for effect in update(&mut app, Msg::Tick { now_ms, questions: 0 }) {
            if let Effect::LoadTables(request, names) = effect {
                wanted = wanted.max(names.len());
                let tables = asked_for(&app, &names);
                drop(update(&mut app, Msg::Tables(request, Ok(tables))));
            }
        }
    }
    assert!(wanted <= 40, "{wanted}");
    assert_eq!(app.described.len(), 40);
    assert!(app.arranged_tables().unknown.is_empty(), "names are known");
}

#[test]
fn what_depends_on_cloudwatch_is_asked_about_in_pages_and_not_again_at_once() {
    let mut app = thousand("throttled>0");
    let mut asked: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for step in 0..400 {
        let now_ms = NOW_MS + step * 500;
        for effect in update(&mut app, Msg::Tick { now_ms, questions: 0 }) {
            match effect {
                Effect::LoadTables(request, names) => {
                    let tables = asked_for(&app, &names);
                    drop(update(&mut app, Msg::Tables(request, Ok(tables))));
                }
                Effect::LoadTableMinutes(names, ..) => {
                    assert!(names.len() <= 200, "{} at once", names.len());
                    names.iter().for_each(|name| *asked.entry(name.clone()).or_default() += 1);
                    let minutes = |table: String| TableMinutes { table, ..TableMinutes::default() };
                    drop(update(&mut app, Msg::TableMinutes(Ok(names.into_iter().map(minutes).collect()))));
                }
                _ => {}
            }
        }
    }
    assert_eq!(app.arranged_tables().unknown.len(), 0, "all are known after {} asked", asked.len());
    assert!(app.table_rows().is_empty());
    let most = asked.values().max().copied().unwrap_or_default();
    assert!(most <= 2, "one table was asked about {most} times in 200 s");
}
