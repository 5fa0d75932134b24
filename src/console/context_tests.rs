//! Going from one context to another, and several regions in one list: keys in, text out.

#[path = "context_rows_tests.rs"]
mod rows;

use std::collections::BTreeSet;

use super::*;
use crate::cloud::inventory::Table;
use crate::cloud::profiles::{Origin, Renewal};
use crate::cloud::{Class, CloudError, Mode};
use crate::console::effect::{PlaceId, Request};
use crate::console::fixture::{self, NOW_MS};
use crate::console::guardrails::{Asks, Level, Pattern, Rule, Rules};
use crate::console::msg::Msg;
use crate::console::places::Connected;
use crate::console::tests::Tester;
use crate::console::theme::Colour;
use crate::console::{app::Screen, effect::Effect};

fn profiles() -> Vec<Profile> {
    let profile = |name: &str, region: Option<&str>, origin| Profile {
        name: name.into(),
        region: region.map(str::to_owned),
        account: Some("444455556666".into()),
        origin,
    };
    vec![
        profile("dev", Some("us-east-1"), Origin::Sso(None)),
        profile("prod", Some("eu-west-1"), Origin::Sso(Some("corp".into()))),
        profile("staging", None, Origin::Process("/opt/creds".into())),
    ]
}

/// A console in prod · eu-west-1 with `historical`, `quotes` and `sessions`, its choice of contexts open.
async fn choosing(size: (u16, u16)) -> Tester {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
    tester.press("P").await;
    assert!(tester.did().contains(&Effect::LoadProfiles));
    tester.send(Msg::Profiles(Ok(profiles())));
    tester.look().await;
    tester
}

/// The context that clients were asked for, and its number.
fn asked_for(tester: &Tester) -> (PlaceId, Context, Mode) {
    let did = tester.did();
    let connect = did.into_iter().find_map(|effect| match effect {
        Effect::Connect(id, context, mode) => Some((id, context, mode)),
        _ => None,
    });
    connect.expect("clients are asked for")
}

fn connected(region: &str) -> Connected {
    Connected { region: region.into(), renewal: Renewal::default(), kept: None }
}

/// In which context each list of names was asked for; `None` is the one at hand.
fn lists(did: &[Effect]) -> Vec<(Option<PlaceId>, Request)> {
    let of = |effect: &Effect| match effect {
        Effect::ListTables(request) => Some((None, *request)),
        Effect::At(id, effect) => match effect.as_ref() {
            Effect::ListTables(request) => Some((Some(*id), *request)),
            _ => None,
        },
        _ => None,
    };
    did.iter().filter_map(of).collect()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_profile_is_found_by_typing_and_gone_to_without_a_restart() {
    let mut tester = choosing((120, 40)).await;
    tester.sees("single sign-on").await;
    tester.press("dev").await;
    tester.misses("staging").await;
    tester.press("enter").await;
    let (id, context, mode) = asked_for(&tester);
    assert_eq!((context.profile.as_deref(), context.region.as_deref()), (Some("dev"), Some("us-east-1")));
    assert_eq!(mode, Mode::Normal);
    // Until there are clients the console stands where it was.
    tester.sees("prod · eu-west-1").await;
    tester.sees("quotes").await;
    tester.send(Msg::Connected(id, Ok(connected("us-east-1"))));
    tester.sees("now in dev · us-east-1").await;
    tester.sees("dev · us-east-1").await;
    let did = tester.did();
    let stood = did.iter().position(|effect| matches!(effect, Effect::Stand(to, _) if *to == id));
    let listed = did.iter().position(|effect| matches!(effect, Effect::ListTables(_)));
    assert!(stood.is_some() && stood < listed, "what is asked is asked there: {did:?}");
}

#[tokio::test]
async fn going_back_shows_what_was_known_with_its_age() {
    let mut tester = choosing((120, 40)).await;
    tester.press("dev enter").await;
    let (id, ..) = asked_for(&tester);
    *tester.world.silent.lock().unwrap() = true;
    tester.send(Msg::Connected(id, Ok(connected("us-east-1"))));
    tester.sees("Listing the tables of us-east-1").await;
    tester.misses("quotes").await;
    tester.pass(60_000).await;
    tester.press("P prod enter").await;
    tester.sees("now in prod · eu-west-1, as of 1m 00s ago").await;
    tester.sees("quotes").await;
    assert!(!tester.did().iter().any(|effect| matches!(effect, Effect::Connect(..))), "its clients are there already");
}

#[tokio::test]
async fn an_answer_to_a_question_of_the_context_that_was_left_never_lands_in_the_new_one() {
    let mut tester = choosing((120, 40)).await;
    let left = tester.runtime.app.place.id;
    tester.press("dev enter").await;
    let (id, ..) = asked_for(&tester);
    *tester.world.silent.lock().unwrap() = true;
    tester.send(Msg::Connected(id, Ok(connected("us-east-1"))));
    tester.look().await;
    let late = |msg: Msg| Msg::At(left, Box::new(msg));
    let table = fixture::table("of-prod", 1, 1, Some(5), None);
    tester.send(late(Msg::Table(Ok(table))));
    tester.send(late(Msg::Account(Ok("999999999999".into()))));
    tester.send(late(Msg::TableMinutes(Ok(vec![crate::console::msg::TableMinutes {
        table: "of-prod".into(),
        consumed: vec![(NOW_MS, 1.0)],
        ..Default::default()
    }]))));
    tester.send(late(Msg::CredentialsExpire(Some(NOW_MS + 60_000))));
    let lost = CloudError::new(Class::Auth, "could not list tables", "log in").of_login();
    tester.send(late(Msg::Table(Err(lost))));
    tester.look().await;
    let app = &tester.runtime.app;
    assert_eq!(app.place.id, id);
    assert!(app.tables.rows.is_none() && app.account.is_none() && app.trouble.is_none() && app.lost.is_none());
    assert!(app.consumed.is_empty() && app.credentials_expire_ms.is_none());
    let known = app.known_place(left).unwrap();
    assert!(known.tables.rows.as_ref().unwrap().iter().any(|table| table.name == "of-prod"));
    assert!(known.lost.is_some(), "it is known there");
    // One of a context that nobody knows is dropped.
    tester.send(Msg::At(PlaceId(99), Box::new(Msg::Account(Ok("1".into())))));
    tester.look().await;
    assert!(tester.runtime.app.account.is_none());
}

#[tokio::test]
async fn what_was_done_in_the_context_that_was_left_is_said_with_its_name() {
    let mut tester = choosing((120, 40)).await;
    let left = tester.runtime.app.place.id;
    tester.press("dev enter").await;
    let (id, ..) = asked_for(&tester);
    tester.send(Msg::Connected(id, Ok(connected("us-east-1"))));
    tester.look().await;
    tester.send(Msg::At(left, Box::new(Msg::Done("set historical from 130 to 195 WCU".into()))));
    tester.sees("prod · eu-west-1: set historical from 130 to 195 WCU").await;
}

#[tokio::test]
async fn a_question_about_the_context_that_is_left_is_not_answered_in_the_next() {
    let mut tester = choosing((120, 40)).await;
    tester.press("dev enter").await;
    let (id, ..) = asked_for(&tester);
    tester.press("+").await;
    tester.sees("Raise the write capacity of historical").await;
    tester.send(Msg::Connected(id, Ok(connected("us-east-1"))));
    tester.press("y").await;
    assert_eq!(tester.changed(), []);
}

#[tokio::test]
async fn a_context_that_can_not_be_reached_is_not_entered() {
    let mut tester = choosing((120, 40)).await;
    tester.press("staging enter").await;
    let (id, context, _) = asked_for(&tester);
    assert_eq!(context.region.as_deref(), Some("eu-west-1"), "a profile without a region acts in the one at hand");
    let error = CloudError::new(Class::Invalid, "there is no profile staging", "");
    tester.send(Msg::Connected(id, Err(error)));
    tester.sees("there is no profile staging. Still in prod · eu-west-1").await;
    tester.sees("quotes").await;
    assert!(tester.runtime.app.places.is_empty());
}

/// prod in eu-west-1 and us-east-1, the second with these tables.
async fn two_regions(size: (u16, u16), there: &[&str]) -> (Tester, PlaceId) {
    let mut tester = choosing(size).await;
    tester.press("tab space us-east-1 space enter").await;
    let (id, context, _) = asked_for(&tester);
    assert_eq!(context.region.as_deref(), Some("us-east-1"));
    tester.send(Msg::Connected(id, Ok(connected("us-east-1"))));
    tester.look().await;
    let asked = lists(&tester.did()).into_iter().find(|(place, _)| *place == Some(id));
    let (_, request) = asked.expect("its tables are asked for");
    tester.send(Msg::At(id, Box::new(Msg::TableNames(request, Ok(names(there))))));
    tester.look().await;
    for effect in tester.did() {
        let Effect::At(place, effect) = effect else { continue };
        if let Effect::LoadTables(request, wanted) = *effect {
            assert_eq!(place, id);
            let tables: Vec<Table> = wanted.iter().map(|name| fixture::table(name, 7, 70, Some(20), None)).collect();
            tester.send(Msg::At(id, Box::new(Msg::Tables(request, Ok(tables)))));
        }
    }
    tester.look().await;
    (tester, id)
}

#[tokio::test]
async fn tables_of_two_regions_stand_side_by_side_in_one_list() {
    let (mut tester, _) = two_regions((120, 40), &["archive", "quotes"]).await;
    let screen = tester.look().await;
    assert!(screen.contains("REGION") && screen.contains("tables 5") && screen.contains("eu-west-1 +1"), "{screen}");
    let rows: Vec<(String, String)> =
        tester.runtime.app.table_rows().iter().map(|row| (row.name.to_owned(), row.region.to_owned())).collect();
    let expected = [
        ("archive", "us-east-1"),
        ("historical", "eu-west-1"),
        ("quotes", "eu-west-1"),
        ("quotes", "us-east-1"),
        ("sessions", "eu-west-1"),
    ];
    assert_eq!(rows, expected.map(|(name, region)| (name.to_owned(), region.to_owned())));
    // By region, the column after the name, and only one of them.
    tester.press("s").await;
    let screen = tester.look().await;
    assert!(screen.contains("sort: region") && screen.contains("REGION ▲"), "{screen}");
    assert_eq!(tester.runtime.app.table_rows()[3].region, "us-east-1");
    let fields = crate::console::columns::List::Tables.fields();
    tester.runtime.app.tables_list.filter.set("region=us-east-1", fields);
    assert_eq!(tester.runtime.app.table_rows().len(), 2);
    tester.runtime.app.tables_list.filter.set("us-east", fields);
    assert_eq!(tester.runtime.app.table_rows().len(), 2);
}

#[tokio::test]
async fn the_selection_walks_over_tables_of_one_name_in_two_regions() {
    let (mut tester, _) = two_regions((120, 40), &["archive", "quotes"]).await;
    let mut seen = Vec::new();
    tester.press("home").await;
    for _ in 0..5 {
        let row = tester.runtime.app.selected_row().unwrap();
        seen.push((row.name.to_owned(), row.region.to_owned()));
        tester.press("down").await;
    }
    let kinds: BTreeSet<_> = seen.iter().collect();
    assert_eq!(kinds.len(), 5, "{seen:?}");
}

#[tokio::test]
async fn what_is_done_with_a_row_is_done_in_its_region() {
    let (mut tester, id) = two_regions((120, 40), &["archive"]).await;
    tester.press("home").await;
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("archive"));
    tester.did();
    tester.press("+").await;
    tester.sees("now in prod · us-east-1").await;
    tester.sees("Raise the write capacity of archive").await;
    tester.press("y").await;
    let did = tester.did();
    let stood = did.iter().position(|effect| matches!(effect, Effect::Stand(to, _) if *to == id));
    let set = did.iter().position(|effect| matches!(effect, Effect::SetCapacity { from: 20, to: 30, .. }));
    assert!(stood.is_some() && stood < set, "{did:?}");
    // Both stay listed, the selection stays on its row.
    tester.sees("us-east-1 +1").await;
    tester.sees("sessions").await;
    assert_eq!(tester.runtime.app.selected_table().as_deref(), Some("archive"));
    tester.press("enter").await;
    assert_eq!(tester.runtime.app.screen, Screen::Table("archive".into()));
}

#[tokio::test]
async fn a_region_that_fails_is_a_line_and_the_others_live_on() {
    let (mut tester, id) = two_regions((120, 40), &["archive"]).await;
    tester.did();
    tester.pass(6_000).await;
    let asked = lists(&tester.did()).into_iter().find(|(place, _)| *place == Some(id));
    let error = CloudError::new(Class::Auth, "could not list tables: AWS refused", "grant dynamodb:ListTables");
    tester.send(Msg::At(id, Box::new(Msg::TableNames(asked.unwrap().1, Err(error)))));
    tester
        .sees("us-east-1: could not list tables: AWS refused: grant dynamodb:ListTables. Its rows are as of before")
        .await;
    tester.sees("archive").await;
    tester.sees("quotes").await;
    assert!(tester.runtime.app.trouble.is_none());
}

#[tokio::test]
async fn regions_side_by_side_are_asked_no_oftener_than_alone() {
    let (mut tester, id) = two_regions((120, 40), &["archive", "quotes"]).await;
    tester.did();
    let (mut here, mut there) = (0, 0);
    for _ in 0..240 {
        tester.pass(250).await;
        for effect in tester.did() {
            match effect {
                Effect::ListTables(_) => here += 1,
                Effect::At(place, effect) if place == id => match *effect {
                    Effect::ListTables(request) => {
                        there += 1;
                        tester.send(Msg::At(id, Box::new(Msg::TableNames(request, Ok(names(&["archive", "quotes"]))))));
                    }
                    Effect::LoadTables(request, wanted) => {
                        let tables = wanted.iter().map(|name| fixture::table(name, 7, 70, Some(20), None)).collect();
                        tester.send(Msg::At(id, Box::new(Msg::Tables(request, Ok(tables)))));
                    }
                    Effect::LoadTableMinutes(..) => {}
                    other => panic!("{other:?} is none of a list's questions"),
                },
                _ => {}
            }
        }
    }
    assert!((10..=13).contains(&here) && (10..=13).contains(&there), "{here} and {there} lists in a minute");
}

#[tokio::test]
async fn jobs_stay_where_contexts_change() {
    let mut tester = choosing((120, 40)).await;
    tester.press("dev enter").await;
    let (id, ..) = asked_for(&tester);
    tester.send(Msg::Connected(id, Ok(connected("us-east-1"))));
    tester.press("3").await;
    tester.sees("r-7f3a").await;
}

fn guarding(profile: &str, asks: Asks) -> Rules {
    let pattern = Some(Pattern::new(profile));
    Rules(vec![Rule { name: "production".into(), profile: pattern, account: None, region: None, asks }])
}

#[tokio::test]
async fn a_guarded_context_is_entered_with_what_guards_it() {
    let mut tester = choosing((120, 40)).await;
    tester.runtime.app.rules =
        guarding("dev", Asks { read_only: true, colour: Some(Colour::Red), confirm: Level::Typed, ..Asks::default() });
    tester.press("dev enter").await;
    let (id, _, mode) = asked_for(&tester);
    assert_eq!(mode, Mode::ReadOnly, "its guard refuses from the first request on");
    tester.send(Msg::Connected(id, Ok(connected("us-east-1"))));
    tester.sees("[PRODUCTION] dev · us-east-1").await;
    tester.sees("READ-ONLY").await;
    tester.press("+").await;
    tester.sees("[contexts.production] of config.toml is read_only").await;
    // Back where nothing guards.
    tester.press("P prod enter").await;
    tester.misses("READ-ONLY").await;
    tester.press("+").await;
    tester.sees("Raise the write capacity").await;
}

#[tokio::test]
async fn the_choice_is_readable_on_every_screen() {
    for size in [(120, 40), (80, 24), (40, 12), (1, 1)] {
        let mut tester = choosing(size).await;
        let drawn = tester.look().await;
        insta::assert_snapshot!(format!("the_choice_of_a_context_{}x{}", size.0, size.1), drawn);
    }
}

#[test]
fn a_region_is_what_an_endpoint_is_named_after() {
    for right in ["eu-west-1", "us-gov-east-1", "cn-north-1", "ap-southeast-12"] {
        assert!(is_region(right), "{right}");
    }
    for wrong in ["", "eu", "eu-west", "EU-west-1", "eu-west-x", "1-1-1"] {
        assert!(!is_region(wrong), "{wrong}");
    }
}

#[tokio::test]
async fn the_palette_goes_to_regions_profiles_and_themes() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    tester.send(Msg::Profiles(Ok(profiles())));
    tester.press(":region space us-east-1 space eu-central-1 enter").await;
    let did = tester.did();
    let regions: Vec<Option<String>> = did
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Connect(_, context, _) => Some(context.region),
            _ => None,
        })
        .collect();
    assert_eq!(regions, [Some("us-east-1".to_owned()), Some("eu-central-1".to_owned())]);
    tester.press(":profile space dev enter").await;
    assert_eq!(asked_for(&tester).1.profile.as_deref(), Some("dev"));
    tester.press(":theme space light enter").await;
    assert_eq!(tester.runtime.app.theme.name.as_str(), "light");
}
