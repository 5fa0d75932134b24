//! What is done with a row of another region, and what is said of it.

use serde_json::{Value, json};

use super::*;
use crate::cloud::inventory::Stream;
use crate::cloud::streams::StreamMinutes;
use crate::console::export::{Content, Export};
use crate::console::memory::News;

/// A stream `restore` in each of the two regions, listed; the other region's gets ten records a second and is read late.
async fn streams_of_two_regions() -> Tester {
    let (mut tester, id) = two_regions((120, 40), &["archive", "quotes"]).await;
    tester.press("2").await;
    let asked = tester.did().into_iter().find_map(|effect| match effect {
        Effect::At(place, effect) if place == id => match *effect {
            Effect::LoadStreams(request, _) => Some(request),
            _ => None,
        },
        _ => None,
    });
    let arn = "arn:aws:kinesis:us-east-1:111122223333:stream/restore".to_owned();
    let there = Stream { arn, ..fixture::streams().remove(0) };
    tester.send(Msg::At(id, Box::new(Msg::Streams(asked.expect("they are asked for"), Ok(vec![there])))));
    let minute = NOW_MS / 60_000 * 60_000 - 120_000;
    let minutes = StreamMinutes {
        stream: "restore".into(),
        records: vec![(minute, 600.0)],
        bytes: Vec::new(),
        read: Vec::new(),
        lag_ms: vec![(minute, 90_000.0)],
    };
    tester.send(Msg::At(id, Box::new(Msg::StreamMinutes(Ok(vec![minutes])))));
    tester.look().await;
    tester
}

fn copies(tester: &Tester) -> Vec<String> {
    let did = tester.did().into_iter();
    did.filter_map(|effect| if let Effect::Copy(text) = effect { Some(text) } else { None }).collect()
}

#[tokio::test]
async fn what_is_copied_of_a_row_is_of_its_region() {
    let mut tester = streams_of_two_regions().await;
    tester.press("down y Y").await;
    let expected = [
        "arn:aws:kinesis:us-east-1:111122223333:stream/restore",
        "aws kinesis describe-stream-summary --stream-name restore --profile prod --region us-east-1",
    ];
    assert_eq!(copies(&tester), expected);
    tester.press("1 home Y down Y").await;
    let expected = [
        "aws dynamodb describe-table --table-name archive --profile prod --region us-east-1",
        "aws dynamodb describe-table --table-name historical --profile prod --region eu-west-1",
    ];
    assert_eq!(copies(&tester), expected);
    assert_eq!(tester.runtime.app.place.region, "eu-west-1", "copying goes nowhere");
}

#[tokio::test]
async fn the_stream_whose_readers_are_late_is_named_with_its_region_and_opened_only_when_it_is_selected() {
    let mut tester = streams_of_two_regions().await;
    tester.sees("the readers of restore in us-east-1 are 1m 30s behind. Select it: enter shows which shards").await;
    tester.press("down").await;
    tester.sees("the readers of restore in us-east-1 are 1m 30s behind; enter shows which shards").await;
}

#[tokio::test]
async fn a_row_is_bookmarked_in_its_region_and_marked_there_alone() {
    let (mut tester, _) = two_regions((120, 40), &["archive", "quotes"]).await;
    tester.press("home down down down").await;
    assert_eq!(tester.runtime.app.selected_row().map(|row| (row.name, row.region)), Some(("quotes", "us-east-1")));
    tester.did();
    tester.press("b").await;
    tester.sees("table quotes is bookmarked in prod · us-east-1; ' lists them there").await;
    let remembered = tester.did().into_iter().find_map(|effect| match effect {
        Effect::Remember(News::Bookmark { context, is_set, .. }) => Some((context, is_set)),
        _ => None,
    });
    assert_eq!(remembered, Some(("prod us-east-1 aws".to_owned(), true)));
    assert!(tester.runtime.app.bookmarks().is_empty());
    let screen = tester.look().await;
    assert_eq!(screen.matches("quotes ★").count(), 1, "{screen}");
    tester.press("b").await;
    tester.sees("table quotes is bookmarked no more in prod · us-east-1").await;
    tester.misses("★").await;
}

#[tokio::test]
async fn a_file_of_several_regions_tells_them_apart_and_has_the_numbers_of_each() {
    let mut tester = streams_of_two_regions().await;
    let sheet = |tester: &Tester| {
        let did = tester.did().into_iter();
        let mut sheets = did.filter_map(|effect| match effect {
            Effect::Export(Export { content: Content::Sheet(sheet), .. }) => Some(sheet),
            _ => None,
        });
        sheets.next().expect("a file is written")
    };
    tester.press("E enter").await;
    let streams = sheet(&tester);
    assert_eq!(streams.columns[..3], ["stream", "region", "arn"]);
    let of = |row: usize, column: &str| {
        let at = streams.columns.iter().position(|name| *name == column).unwrap();
        streams.rows[row][at].clone()
    };
    assert_eq!((of(0, "region"), of(0, "lag_ms")), (json!("eu-west-1"), json!(12_300)));
    assert_eq!((of(1, "region"), of(1, "lag_ms")), (json!("us-east-1"), json!(90_000)));
    assert_eq!((of(1, "in_per_second"), of(1, "read_per_second")), (json!(10.0), Value::Null));
    tester.press("1 E enter").await;
    let tables = sheet(&tester);
    assert_eq!(tables.columns[..2], ["table", "region"]);
    assert!(tables.rows.iter().all(|row| row.len() == tables.columns.len()));
    assert_eq!(tables.rows[0][..2], [json!("archive"), json!("us-east-1")]);
}
