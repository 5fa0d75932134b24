//! What a context guards: each question asks what the level asks for, and a read-only one refuses.

use super::*;
use crate::console::guardrails::{Asks, Guardrails, Level, Pattern, Rule, Rules};
use crate::console::theme::Colour;

/// A console whose context is guarded by that.
fn guarded(screen: Screen, asks: Asks) -> Tester {
    let mut tester = Tester::watching(screen, Mode::Normal, (120, 40));
    let profile = Some(Pattern::new("pro*"));
    let app = &mut tester.runtime.app;
    app.rules = Rules(vec![Rule { name: "prod".into(), profile, account: None, region: None, asks }]);
    assert_eq!(app.guard_here().len(), usize::from(app.place.mode != Mode::Normal));
    tester
}

fn at(confirm: Level) -> Asks {
    Asks { confirm, colour: Some(Colour::Red), ..Asks::default() }
}

#[tokio::test]
async fn a_question_in_a_guarded_context_says_its_name() {
    let mut tester = guarded(Screen::Tables, at(Level::Normal));
    tester.press("+").await;
    tester.sees("PROD (prod · eu-west-1 · 111122223333)").await;
    tester.press("y").await;
    assert_eq!(tester.changed().len(), 1);
}

#[tokio::test]
async fn where_everything_is_confirmed_a_rate_is_asked_about_too() {
    for (level, asked) in [(Level::Normal, false), (Level::Everything, true), (Level::Typed, true)] {
        let mut tester = guarded(r7f3a(), at(level));
        tester.press("a 250 enter").await;
        let changed = tester.changed();
        assert_eq!(changed.is_empty(), asked, "{level:?}");
        if asked {
            tester.sees("at most 250 items/s").await;
            tester.press(if level == Level::Typed { "r-7f3a enter" } else { "y" }).await;
            assert_eq!(tester.changed(), [Effect::SetRate(JobId("r-7f3a".into()), Some(250.0))], "{level:?}");
        }
    }
}

#[tokio::test]
async fn where_names_are_typed_every_change_asks_for_one() {
    for (screen, key, name) in [
        (Screen::Tables, "+", "historical"),
        (Screen::Tables, "down -", "quotes"),
        (Screen::Streams, "+", "restore"),
        (r7f3a(), "p", "r-7f3a"),
        (r7f3a(), "x", "r-7f3a"),
        (r7f3a(), "+", "historical"),
    ] {
        let mut tester = guarded(screen.clone(), at(Level::Typed));
        tester.press(key).await;
        tester.press("y enter").await;
        assert_eq!(tester.changed(), [], "{screen:?} {key}");
        tester.sees(&format!("type {name} and enter")).await;
        tester.press(&format!("backspace {name} enter")).await;
        assert_eq!(tester.changed().len(), 1, "{screen:?} {key}");
    }
}

#[tokio::test]
async fn what_only_reads_needs_no_name() {
    let mut tester = guarded(Screen::Jobs, at(Level::Typed));
    tester.press("down enter v").await;
    tester.sees("Compare the backup with the table").await;
    tester.press("y").await;
    assert!(matches!(tester.changed()[..], [Effect::Start { .. }]));
}

#[tokio::test]
async fn a_raise_above_the_most_has_its_name_typed_with_its_cost() {
    let mut tester = guarded(Screen::Tables, Asks { max_write_capacity: Some(150), ..Asks::default() });
    tester.press("+").await;
    tester.sees("195 WCU is above the 150 of max_write_capacity here:").await;
    tester.sees("$0.1268/h").await;
    tester.press("y enter").await;
    assert_eq!(tester.changed(), []);
    tester.press("esc -").await;
    tester.misses("max_write_capacity").await;
    tester.press("y").await;
    assert_eq!(tester.changed().len(), 1, "less is no raise");
}

#[tokio::test]
async fn a_read_only_context_refuses_every_change_and_says_what_lifts_it() {
    for (screen, keys) in [
        (Screen::Tables, "+"),
        (Screen::Tables, "="),
        (Screen::Streams, "H"),
        (r7f3a(), "p"),
        (r7f3a(), "x"),
        (r7f3a(), "a"),
    ] {
        let mut tester = guarded(screen.clone(), Asks { read_only: true, ..Asks::default() });
        tester.press(keys).await;
        tester.sees("[contexts.prod] of config.toml is read_only").await;
        tester.press("y").await;
        assert_eq!(tester.changed(), [], "{screen:?} {keys}");
    }
}

#[tokio::test]
async fn read_write_lifts_a_contexts_own_word_and_shows_that_it_did() {
    let mut tester = guarded(Screen::Tables, Asks { read_only: true, ..Asks::default() });
    tester.sees("READ-ONLY").await;
    tester.runtime.app.limits.read_write = true;
    assert_eq!(tester.runtime.app.guard_here(), [Effect::Hold(Mode::Normal)]);
    tester.sees("READ-WRITE").await;
    tester.press("+ y").await;
    assert_eq!(tester.changed().len(), 1);
}

#[tokio::test]
async fn a_rule_for_accounts_guards_until_it_is_known_that_this_is_another() {
    let mut tester = Tester::open(Screen::Tables, Mode::Normal, (120, 40));
    *tester.world.silent.lock().unwrap() = true;
    let account = Some(Pattern::new("9999*"));
    let asks = Asks { read_only: true, colour: Some(Colour::Red), ..Asks::default() };
    let app = &mut tester.runtime.app;
    app.account = None;
    app.rules = Rules(vec![Rule { name: "prod".into(), profile: None, account, region: None, asks }]);
    assert_eq!(app.guard_here(), [Effect::Hold(Mode::ReadOnly)]);
    tester.did();
    tester.send(Msg::Account(Ok("111122223333".into())));
    tester.look().await;
    assert!(tester.did().contains(&Effect::Hold(Mode::Normal)));
    assert_eq!(tester.runtime.app.place.guardrails, Guardrails::default());
    tester.send(Msg::Account(Ok("999922223333".into())));
    tester.sees("[PROD] ").await;
    tester.sees("READ-ONLY").await;
}

#[tokio::test]
async fn a_job_of_a_guarded_context_is_guarded_wherever_the_console_stands() {
    for keys in ["p", "x", "a 250 enter", ": r a t e space r-7f3a space 250 enter", "v"] {
        let mut tester = guarded(r7f3a(), Asks { read_only: true, ..Asks::default() });
        stand_in_dev(&mut tester);
        tester.misses("READ-ONLY").await;
        tester.press(keys).await;
        tester.sees("[contexts.prod] of config.toml is read_only").await;
        tester.press("y").await;
        assert_eq!(tester.changed(), [], "{keys}");
    }
}

/// The jobs' profile is prod; the console goes to dev.
pub(super) fn stand_in_dev(tester: &mut Tester) {
    tester.runtime.app.place.profile = "dev".into();
    tester.runtime.app.place.context.profile = Some("dev".into());
    tester.runtime.app.guard_here();
}

#[tokio::test]
async fn what_is_verified_is_read_where_its_job_wrote_it_wherever_the_console_stands() {
    let mut tester = Tester::watching(r7f3a(), Mode::Normal, (120, 40));
    stand_in_dev(&mut tester);
    tester.press("v y").await;
    assert!(
        matches!(&tester.changed()[..], [Effect::Start { at: Some(context), .. }] if *context == fixture::context()),
        "{:?}",
        tester.changed()
    );
}
