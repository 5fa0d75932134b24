//! Capacity that is typed, and capacity that an autoscaler changes.

use super::*;
use crate::jobs::journal::Decision;

fn historical() -> Resource {
    Resource::Table("historical".into())
}

#[tokio::test]
async fn a_capacity_is_typed_over_the_present_one_and_set_after_a_yes() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("=").await;
    tester.sees("WCU of table historical: 130").await;
    tester.press("ctrl-u 260 enter").await;
    tester.sees("Raise the write capacity of historical").await;
    tester.sees("260 WCU").await;
    assert_eq!(tester.changed(), []);
    tester.press("y").await;
    let job = Some(JobId("r-7f3a".into()));
    assert_eq!(tester.changed(), [Effect::SetCapacity { resource: historical(), from: 130, to: 260, job }]);
}

#[tokio::test]
async fn what_is_typed_wrong_as_a_capacity_is_said_beside_it_and_esc_leaves_all_as_it_is() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("=").await;
    for (typed, said) in [
        ("many enter", "a number of WCU"),
        ("130 enter", "it has 130 already"),
        ("0 enter", "from 1 to"),
        ("enter", "a number of WCU"),
    ] {
        tester.press(&format!("ctrl-u {typed}")).await;
        tester.sees(said).await;
        tester.misses("write capacity of historical").await;
    }
    tester.press("ctrl-u 65 enter").await;
    tester.sees("Lower the write capacity of historical").await;
    tester.press("n").await;
    tester.press("= ctrl-u 1,000 esc").await;
    tester.misses("1,000").await;
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn an_index_a_stream_and_the_table_of_a_job_have_their_capacity_typed_too() {
    let index = Resource::Index { table: "quotes".into(), index: "by_day".into() };
    let job = Some(JobId("r-7f3a".into()));
    for (screen, keys, resource, from, to, job) in [
        (Screen::Table("quotes".into()), "down = ctrl-u 75 enter y", index, 50, 75, None),
        (Screen::Streams, "= ctrl-u 6 enter y", Resource::Stream("restore".into()), 4, 6, None),
        (r7f3a(), "= ctrl-u 1,300 enter y", historical(), 130, 1300, job),
    ] {
        let mut tester = Tester::watching(screen, Mode::Normal, (120, 40));
        tester.press(keys).await;
        assert_eq!(tester.changed(), [Effect::SetCapacity { resource, from, to, job }], "{keys}");
    }
}

/// A console on the autoscaler, as `A` opens it.
async fn at_the_scaler(mode: Mode, size: (u16, u16)) -> Tester {
    let mut tester = Tester::over(Holds::Everything(Arc::new(fixture::events())), Screen::Tables, mode, size);
    tester.send(Msg::Jobs(world::jobs(), Vec::new()));
    tester.press("A").await;
    assert_eq!(tester.runtime.app.screen, Screen::Autoscale(fixture::scaler().id));
    tester
}

#[tokio::test]
async fn an_autoscaler_shows_its_rules_and_why_it_decided() {
    for (size, words) in [
        ((120, 40), &["TABLES", "1-500 at 30-90 %", "FROM", "WHY", "under 30 % used, but no dec"][..]),
        ((80, 24), &["TABLES", "1-500", "refused"]),
        ((40, 12), &["refused"]),
    ] {
        let mut tester = Tester::open(Screen::Autoscale(fixture::scaler().id), Mode::Normal, size);
        tester.sees("Reading the journal").await;
        tester.send(Msg::Jobs(vec![fixture::scaler()], Vec::new()));
        tester.sees("Nothing ").await;
        tester.send(Msg::Decisions(fixture::decisions()));
        for word in words {
            tester.sees(word).await;
        }
        tester.misses("\u{1b}").await;
    }
}

#[tokio::test]
async fn keys_open_the_autoscaler_and_each_of_its_decisions() {
    let mut tester = at_the_scaler(Mode::Normal, (120, 40)).await;
    // Newest first.
    tester.press("enter").await;
    tester.sees("again    3 times, last").await;
    tester.sees("decided  refused").await;
    tester.press("esc down enter").await;
    tester.sees("table events-7 write").await;
    tester.sees("decided  raised").await;
    tester.press("esc down down up enter").await;
    tester.sees("decided  refused").await;
    tester.press("esc l").await;
    tester.sees("log of a-194dbf").await;
    tester.press("esc esc").await;
    assert_eq!(tester.runtime.app.screen, Screen::Tables, "esc goes back to where A was pressed");
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn the_selected_decision_stays_selected_when_another_is_made() {
    let mut tester = at_the_scaler(Mode::Normal, (120, 40)).await;
    let mut all = fixture::decisions();
    let another = |number, table: &str| Decision { number, table: table.into(), ..fixture::decisions().remove(0) };
    tester.press("down").await;
    all.push(another(3, "events-8"));
    tester.send(Msg::Decisions(all.clone()));
    tester.sees("events-8").await;
    tester.press("enter").await;
    tester.sees("table events-7 write").await;
    // At the top it is the newest that is selected, whichever that is.
    tester.press("esc up up").await;
    all.push(another(4, "events-9"));
    tester.send(Msg::Decisions(all));
    tester.sees("events-9").await;
    tester.press("enter").await;
    tester.sees("table events-9 write").await;
}

#[tokio::test]
async fn an_autoscaler_is_paused_taken_up_again_and_ended_by_keys() {
    let id = fixture::scaler().id;
    let mut tester = at_the_scaler(Mode::Normal, (120, 40)).await;
    tester.press("p").await;
    tester.sees("Pause a-194dbf").await;
    assert_eq!(tester.changed(), []);
    tester.press("y").await;
    assert_eq!(tester.changed(), [Effect::Control(id.clone(), Control::Pause)]);
    tester.send(Msg::Jobs(vec![Job { state: State::Paused, ..fixture::scaler() }], Vec::new()));
    tester.press("p y").await;
    assert_eq!(tester.changed(), [Effect::Control(id.clone(), Control::Run)]);
    tester.press("x enter").await;
    assert_eq!(tester.changed(), [], "only y ends it");
    tester.press("y").await;
    assert_eq!(tester.changed(), [Effect::Control(id.clone(), Control::Cancel)]);
    tester.send(Msg::Jobs(vec![Job { state: State::Interrupted, ..fixture::scaler() }], Vec::new()));
    tester.pass(13_000).await;
    tester.sees("no table is scaled").await;
    tester.press("p y").await;
    assert_eq!(tester.changed(), [Effect::Resume(id)]);
}

#[tokio::test]
async fn an_autoscaler_is_only_looked_at_in_read_only_mode() {
    let mut tester = at_the_scaler(Mode::ReadOnly, (120, 40)).await;
    for key in ["p", "x"] {
        tester.press(key).await;
        tester.sees("read-only: ").await;
        tester.press("y").await;
        assert_eq!(tester.changed(), [], "{key}");
    }
}

#[tokio::test]
async fn where_no_autoscaler_ran_its_key_says_what_starts_one() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.press("A").await;
    tester.sees("no autoscaler has run here yet: sluice autoscale starts one").await;
    assert_eq!(tester.runtime.app.screen, Screen::Tables);
}
