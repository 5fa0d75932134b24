//! Credentials that AWS refuses while the console runs.

use super::*;
use crate::cloud::profiles::Renewal;
use crate::console::effect::PlaceId;

fn expired() -> CloudError {
    CloudError::new(Class::Auth, "could not list tables: AWS refused the credentials (ExpiredTokenException)", "log in")
        .of_login()
}

/// A console of a profile with single sign-on, whose login is lost.
async fn lost(size: (u16, u16)) -> Tester {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, size);
    tester.runtime.app.place.renewal = Renewal {
        from: "profile prod signs in by single sign-on".into(),
        command: Some("aws sso login --profile prod".into()),
        otherwise: String::new(),
    };
    tester.look().await;
    *tester.world.lost.lock().unwrap() = Some(expired());
    tester.pass(6_000).await;
    tester
}

/// What was done, but for what the console writes into its own files.
fn asked(tester: &Tester) -> Vec<Effect> {
    let mut did = tester.did();
    did.retain(|effect| !matches!(effect, Effect::Remember(_) | Effect::Keep(_)));
    did
}

#[tokio::test]
async fn what_was_seen_stays_and_the_command_that_renews_them_is_named() {
    let mut tester = lost((120, 40)).await;
    tester.sees("AWS refused the credentials (ExpiredTokenException)").await;
    tester.sees("run: aws sso login --profile prod").await;
    tester.sees("creds REFUSED").await;
    tester.sees("Then r tries them; by itself in 30 s").await;
    tester.sees("quotes").await;
    tester.pass(20_000).await;
    tester.sees("by itself in 10 s").await;
    tester.sees("What is shown below is as of").await;
    // Keys go on working.
    tester.press("3").await;
    tester.sees("r-7f3a").await;
}

#[tokio::test]
async fn while_they_are_lost_they_are_tried_slowly_and_nothing_else_is_asked() {
    let mut tester = lost((120, 40)).await;
    tester.did();
    for _ in 0..1_200 {
        tester.pass(250).await;
    }
    let did = asked(&tester);
    assert!(did.iter().all(|effect| *effect == Effect::Renew), "{did:?}");
    assert!((9..=11).contains(&did.len()), "{} tries in five minutes", did.len());
}

#[tokio::test]
async fn r_tries_them_at_once_and_all_is_well_again() {
    let mut tester = lost((120, 40)).await;
    tester.did();
    tester.press("r").await;
    assert_eq!(asked(&tester), [Effect::Renew]);
    tester.sees("aws sso login").await;
    *tester.world.lost.lock().unwrap() = None;
    tester.press("r").await;
    tester.sees("the credentials are good again").await;
    tester.misses("aws sso login").await;
    tester.misses("REFUSED").await;
    let did = asked(&tester);
    assert!(matches!(did[..2], [Effect::Renew, Effect::Stand(PlaceId(0), _)]), "its clients are new: {did:?}");
    assert!(did.iter().any(|effect| matches!(effect, Effect::ListTables(_))));
}

#[tokio::test]
async fn they_come_back_by_themselves() {
    let mut tester = lost((120, 40)).await;
    *tester.world.lost.lock().unwrap() = None;
    tester.pass(31_000).await;
    tester.misses("aws sso login").await;
    tester.sees("quotes").await;
}

#[tokio::test]
async fn an_answer_that_was_on_its_way_does_not_hide_the_loss() {
    let mut tester = lost((120, 40)).await;
    tester.send(Msg::Table(Ok(fixture::table("quotes", 1, 1, Some(5), None))));
    tester.sees("run: aws sso login --profile prod").await;
}

#[tokio::test]
async fn what_good_credentials_may_not_do_stops_nothing_else() {
    let mut tester = Tester::watching(Screen::Tables, Mode::Normal, (120, 40));
    let denied = CloudError::new(Class::Auth, "could not list tables: AWS refused the credentials", "grant it");
    *tester.world.lost.lock().unwrap() = Some(denied);
    tester.pass(6_000).await;
    tester.did();
    tester.pass(6_000).await;
    assert!(tester.did().iter().any(|effect| matches!(effect, Effect::ListTables(_))));
}

#[tokio::test]
async fn the_header_counts_the_credentials_down_and_keeps_what_matters_where_it_is_narrow() {
    let mut tester = Tester::open(Screen::Tables, Mode::ReadOnly, (120, 40));
    tester.send(Msg::CredentialsExpire(Some(NOW_MS + 42 * 60_000)));
    tester.sees("creds 42m").await;
    tester.misses("▲ creds").await;
    tester.pass(33 * 60_000).await;
    tester.sees("▲ creds 9m").await;
    tester.pass(10 * 60_000).await;
    tester.sees("creds EXPIRED").await;
    let mut narrow = Tester::open(Screen::Tables, Mode::ReadOnly, (40, 12));
    narrow.send(Msg::CredentialsExpire(Some(NOW_MS - 1)));
    let first = narrow.look().await.lines().next().unwrap().to_owned();
    assert!(first.contains("prod") && first.contains("READ-ONLY") && first.contains("creds EXPIRED"), "{first}");
}

#[tokio::test]
async fn the_panel_can_be_read_on_every_screen() {
    for size in [(120, 40), (80, 24), (40, 12), (1, 1)] {
        let mut tester = lost(size).await;
        let drawn = tester.look().await;
        insta::assert_snapshot!(format!("lost_credentials_{}x{}", size.0, size.1), drawn);
    }
}
