//! The screens of streams in the real loop, on a stream that was split and merged.

use bytes::Bytes;
use serde_json::json;

use super::app::Screen;
use super::effect::{Effect, Request};
use super::export::{Content, Export};
use super::fixture::{self, NOW_MS};
use super::msg::Msg;
use super::stream::{StreamEffect, StreamMsg, TailLine, TailNews, TailQuestion};
use super::tests::Tester;
use crate::cloud::inventory::{Shard, Stream};
use crate::cloud::mappings::Mapping;
use crate::cloud::streams::StreamMinutes;
use crate::cloud::{Class, CloudError, Mode};
use crate::flow::tail::{Seen, What};
use crate::flow::{SequenceNumber, StartAt};
use crate::jobs::JobId;
use crate::jobs::journal::{Sample, ShardSample};

/// `restore` after a split and a merge: seven shards, of which three are closed and one of those expired.
fn family() -> Stream {
    let quarter = u128::MAX / 4;
    let shard = |n: u128, parents: &[u128], from: u128, to: u128, open: bool| {
        let id = |n: &u128| format!("shardId-{n:012}");
        let (parent, adjacent_parent) = (parents.first().map(id), parents.get(1).map(id));
        Shard { id: id(&n), parent, adjacent_parent, from, to, open }
    };
    let whole = fixture::streams().remove(0);
    let shards = vec![
        shard(0, &[], 0, quarter * 2, false),
        shard(1, &[], quarter * 2 + 1, quarter * 3, false),
        shard(2, &[], quarter * 3 + 1, u128::MAX, false),
        shard(3, &[0], 0, quarter, true),
        shard(4, &[0], quarter + 1, quarter * 2, true),
        shard(5, &[1, 2], quarter * 2 + 1, u128::MAX, true),
        shard(6, &[], 0, 0, false),
    ];
    Stream { open: 3, shards, ..whole }
}

fn mappings() -> Vec<(Mapping, Option<f64>)> {
    let mapping = |uuid: &str, function: &str, state: &str, result: &str| Mapping {
        uuid: uuid.into(),
        function_arn: format!("arn:aws:lambda:eu-west-1:111122223333:function:{function}"),
        state: state.into(),
        reason: "User action".into(),
        last_result: result.into(),
        batch_size: 500,
        parallelization: 10,
        retries: Some(3),
        bisects: true,
        on_failure: None,
    };
    vec![
        (mapping("u-1", "put-requests", "Enabled", "OK"), Some(1_200.0)),
        (mapping("u-2", "pump:live", "Disabled", "PROBLEM: Function call failed"), None),
    ]
}

/// What the fixed world answers.
pub(super) fn answer(effect: &StreamEffect) -> Option<Msg> {
    Some(Msg::Stream(match effect {
        StreamEffect::LoadChart(request, name, (from_ms, to_ms), period_s) => {
            let period_ms = i64::from(*period_s) * 1000;
            let last = to_ms / period_ms;
            let periods = (from_ms / period_ms..last).filter(|n| !(last - 40..last - 25).contains(n));
            let points = |of: fn(i64) -> f64| periods.clone().map(|n| (n * period_ms, of(n))).collect::<Vec<_>>();
            let lines = StreamMinutes {
                stream: name.clone(),
                records: points(|n| (100 + n % 7 * 4) as f64 * 60.0),
                bytes: Vec::new(),
                read: points(|n| (90 + n % 5 * 4) as f64 * 60.0),
                lag_ms: points(|n| (n % 11 * 1000) as f64),
            };
            StreamMsg::Chart(*request, Ok(lines), period_ms)
        }
        StreamEffect::Load(request, name) if name == "restore" => {
            let readable = family().shards.iter().take(6).map(|shard| shard.id.clone()).collect();
            StreamMsg::Described(*request, Ok(Box::new((family(), Some(readable)))))
        }
        StreamEffect::LoadMappings(request, _) => StreamMsg::Mappings(*request, Ok(mappings())),
        _ => return None,
    }))
}

fn at_restore() -> Screen {
    Screen::Stream("restore".into())
}

/// A record of a tail.
pub(super) fn line(n: u64) -> TailLine {
    TailLine {
        shard: "shardId-000000000003".into(),
        sequence: n.to_string(),
        arrived_us: NOW_MS * 1000 + n as i64,
        partition_key: format!("key-{n}"),
        data: format!("{:<120}", format!("{{\"TableName\":\"historical\",\"Item\":{{\"id\":{{\"N\":\"{n}\"}}}}}}"))
            .into(),
        kind: "put",
        line: format!("historical  id={n}\x1b[2J"),
        pretty: vec![format!("put into historical: id={n}"), "{".into(), "  \"id\": \"\x1b[31m\"".into(), "}".into()],
    }
}

/// A tail that has begun, and its request.
async fn tailing(size: (u16, u16)) -> (Tester, Request) {
    let mut tester = Tester::watching(at_restore(), Mode::Normal, size);
    tester.press("down t").await;
    let request = asked_tail(&tester).expect("a tail was asked for").0;
    tester.send(Msg::Stream(StreamMsg::Tail(request, TailNews::Began(1, 0))));
    (tester, request)
}

fn asked_tail(tester: &Tester) -> Option<(Request, TailQuestion)> {
    tester.did().into_iter().find_map(|effect| match effect {
        Effect::Stream(StreamEffect::Tail(request, question)) => Some((request, question)),
        _ => None,
    })
}

const SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (40, 12), (1, 1)];

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

screens!(a_stream, async |size| Tester::watching(at_restore(), Mode::Normal, size));
screens!(the_mappings_of_a_stream, async |size| {
    let mut tester = Tester::watching(at_restore(), Mode::Normal, size);
    tester.press("m").await;
    tester
});
screens!(a_tail, async |size| {
    let (tester, request) = tailing(size).await;
    tester.send(Msg::Stream(StreamMsg::Tail(request, TailNews::Records((0..30).map(line).collect(), 7))));
    tester
});
screens!(a_shorter_retention_is_confirmed, async |size| {
    let mut tester = Tester::watching(at_restore(), Mode::Normal, size);
    let stream = Stream { retention_hours: 168, ..family() };
    let request = tester.did().into_iter().find_map(|effect| match effect {
        Effect::Stream(StreamEffect::Load(request, _)) => Some(request),
        _ => None,
    });
    tester.look().await;
    let described = StreamMsg::Described(request.unwrap(), Ok(Box::new((stream, None))));
    tester.send(Msg::Stream(described));
    tester.press("H").await;
    type_over(&mut tester, "48").await;
    tester
});

async fn type_over(tester: &mut Tester, text: &str) {
    if let Some(super::app::Overlay::Prompt(prompt)) = &mut tester.runtime.app.overlay {
        prompt.input = tui_input::Input::default();
    }
    tester.press(text).await;
    tester.press("enter").await;
}

#[tokio::test]
async fn a_stream_opens_on_its_family_with_who_holds_what() {
    let mut tester = Tester::watching(Screen::Streams, Mode::Normal, (120, 30));
    tester.press("enter").await;
    tester.sees("├ 000000000003").await;
    tester.sees("└ 000000000004").await;
    tester.sees("merged +2").await;
    tester.sees("expired").await;
    // The journal's job reads shards 0 to 3: what comes after 0 and is not read yet waits for it.
    tester.sees("waits for 0").await;
    tester.sees("r-7f3a").await;
    tester.press("esc").await;
    tester.sees("streams 1").await;
}

#[tokio::test]
async fn ten_thousand_shards_are_scrolled_and_found() {
    let mut tester = Tester::watching(at_restore(), Mode::Normal, (80, 24));
    let step = u128::MAX / 10_000;
    let shards = (0..10_000_u128).map(|n| Shard {
        id: format!("shardId-{n:012}"),
        parent: None,
        adjacent_parent: None,
        from: n * step,
        to: (n + 1) * step - 1,
        open: true,
    });
    let stream = Stream { shards: shards.collect(), open: 10_000, ..family() };
    tester.look().await;
    tester.runtime.app.at_stream.ask_again();
    tester.pass(6_000).await;
    let request = tester.did().into_iter().rev().find_map(|effect| match effect {
        Effect::Stream(StreamEffect::Load(request, _)) => Some(request),
        _ => None,
    });
    tester.send(Msg::Stream(StreamMsg::Described(request.unwrap(), Ok(Box::new((stream, None))))));
    // A live job reads them all.
    let sample = |second: i64| Sample {
        at_ms: NOW_MS + second * 1000,
        shards: (0..10_000).map(|n| reading(n, second as u64 * 2)).collect(),
        ..Sample::default()
    };
    tester.send(Msg::Samples(JobId("r-7f3a".into()), (0..6).map(sample).collect(), 1000));
    tester.sees("10,000 open of 10,000 shards").await;
    tester.sees("read 20.0k/s   lag 1").await;
    tester.press("G").await;
    tester.sees("▸000000009999").await;
    tester.press("/4242 enter").await;
    tester.sees("▸000000004242").await;
    tester.misses("000000009999").await;
    // By lag: the one furthest behind comes first.
    tester.press("/ ctrl-u enter").await;
    tester.press("s s s s s s").await;
    tester.sees("sort: lag").await;
    tester.press("home").await;
    tester.sees("▸000000009999").await;
    let screen = tester.look().await;
    let row = screen.lines().find(|line| line.contains("000000009999")).unwrap();
    assert!(row.contains(" 2  10.0 s  r-7f3a"), "{row}");
}

fn reading(n: u64, records: u64) -> ShardSample {
    ShardSample { shard: format!("shardId-{n:012}"), lag_ms: n, behind_records: None, records }
}

#[tokio::test]
async fn a_tail_says_what_it_costs_stops_by_itself_and_goes_on_with_a_key() {
    let (mut tester, request) = tailing((120, 40)).await;
    tester.sees("up to 1 read/s of the shard's 5").await;
    tester.sees("stops in 60 s or after 1,000 records").await;
    tester.send(Msg::Stream(StreamMsg::Tail(request, TailNews::Records(vec![line(1), line(2)], 0))));
    tester.sees("historical  id=2\\u{1b}[2J").await;
    tester.misses("\x1b").await;
    let positions = vec![("shardId-000000000003".to_owned(), StartAt::TrimHorizon)];
    let ended = TailNews::Ended("stopped by itself after 60 s".into(), positions.clone());
    tester.send(Msg::Stream(StreamMsg::Tail(request, ended)));
    tester.sees("stopped by itself after 60 s; space goes on").await;
    tester.press("space").await;
    let (again, question) = asked_tail(&tester).expect("it goes on");
    assert_eq!(question.positions, Some(positions));
    // What the tail before still says is nobody's any more.
    tester.send(Msg::Stream(StreamMsg::Tail(request, TailNews::Records(vec![line(3)], 0))));
    tester.misses("id=3").await;
    tester.send(Msg::Stream(StreamMsg::Tail(again, TailNews::Records(vec![line(4)], 0))));
    tester.sees("id=4").await;
}

#[tokio::test]
async fn a_tail_that_is_left_is_stopped_and_its_memory_is_bounded() {
    let (mut tester, request) = tailing((80, 24)).await;
    for chunk in 0..30 {
        let lines = (0..100).map(|n| line(chunk * 100 + n)).collect();
        tester.send(Msg::Stream(StreamMsg::Tail(request, TailNews::Records(lines, 0))));
        tester.look().await;
    }
    assert_eq!(tester.runtime.app.at_stream.tail.lines.len(), 1_000);
    tester.sees("2,000 not shown any more").await;
    let fat = TailLine { pretty: vec!["x".repeat(3 * 1024 * 1024)], ..line(1) };
    let whole = TailLine { data: vec![b'x'; 3 * 1024 * 1024].into(), ..line(1) };
    for heavy in [fat, whole] {
        tester.send(Msg::Stream(StreamMsg::Tail(request, TailNews::Records(vec![heavy; 5], 0))));
        tester.look().await;
        assert!(tester.runtime.app.at_stream.tail.lines.len() <= 2);
    }
    tester.did();
    tester.press("esc").await;
    assert!(tester.did().contains(&Effect::Stream(StreamEffect::StopTail)));
    tester.sees("stream restore").await;
}

/// A record as a tail hands it to the console.
fn seen(data: Bytes) -> TailLine {
    super::stream_hands::line(&Seen {
        shard: "shardId-000000000003".into(),
        sequence: SequenceNumber("7".into()),
        sub: None,
        arrived_us: NOW_MS * 1000,
        partition_key: "k".repeat(256),
        what: What::of(&data, |_| None),
        data,
    })
}

#[tokio::test]
async fn a_record_of_a_tail_leaves_the_console_as_it_came_however_it_is_shown() {
    let (mut tester, request) = tailing((120, 40)).await;
    let text = format!(r#"{{"TableName":"t","Item":{{"id":{{"S":"{}"}},"n":{{"N":"1.10"}}}}}}"#, "x".repeat(20_000));
    let data = Bytes::from(text.clone());
    let kept = seen(data.clone());
    assert_eq!((kept.data.as_ptr(), kept.partition_key.len()), (data.as_ptr(), 256), "the record is not copied");
    tester.send(Msg::Stream(StreamMsg::Tail(request, TailNews::Records(vec![kept], 0))));
    let copied = |tester: &Tester| {
        let did = tester.did().into_iter();
        did.filter_map(|effect| if let Effect::Copy(text) = effect { Some(text) } else { None }).collect::<Vec<_>>()
    };
    tester.press("y Y").await;
    assert_eq!(copied(&tester), ["k".repeat(256), text.clone()]);
    // Over the record, too, where it is set out and cut.
    tester.press("enter G").await;
    tester.sees("bytes more").await;
    tester.press("y").await;
    assert_eq!(copied(&tester), std::slice::from_ref(&text));

    let bytes = seen(Bytes::from_static(b"\x00\xff"));
    tester.send(Msg::Stream(StreamMsg::Tail(request, TailNews::Records(vec![bytes], 0))));
    for keys in ["esc Y", "enter Y"] {
        tester.runtime.app.notice = None;
        tester.press(keys).await;
        assert_eq!(copied(&tester), [""; 0]);
        tester.sees("can't be copied exactly").await;
    }

    tester.press("esc E enter").await;
    let written = tester.did().into_iter().find_map(|effect| match effect {
        Effect::Export(Export { content: Content::Sheet(sheet), .. }) => Some(sheet.rows),
        _ => None,
    });
    let written: Vec<_> = written.expect("a file is written").into_iter().map(|row| row[3..].to_vec()).collect();
    assert_eq!(
        written,
        [
            [json!("k".repeat(256)), json!(text.len()), json!("put"), json!(text)],
            [json!("k".repeat(256)), json!(2), json!("bytes"), json!("base64:AP8=")],
        ]
    );
}

#[tokio::test]
async fn a_mapping_is_paused_after_a_question_and_resumed_likewise() {
    let mut tester = Tester::watching(at_restore(), Mode::Normal, (120, 30));
    tester.press("m").await;
    tester.sees("put-requests").await;
    tester.sees("PROBLEM: Function call failed").await;
    tester.press("down p").await;
    tester.sees("Pause put-requests").await;
    assert_eq!(tester.changed(), []);
    tester.press("y").await;
    let set = |uuid: &str, function: &str, enabled| {
        Effect::Stream(StreamEffect::SetMapping { uuid: uuid.into(), function: function.into(), enabled })
    };
    assert_eq!(tester.changed(), [set("u-1", "put-requests", false)]);
    tester.press("up p y").await;
    assert_eq!(tester.changed(), [set("u-2", "pump:live", true)]);
}

#[tokio::test]
async fn who_may_not_list_mappings_reads_so_instead_of_an_empty_list() {
    let mut tester = Tester::watching(Screen::Mappings("restore".into()), Mode::Normal, (120, 30));
    tester.look().await;
    tester.runtime.app.at_stream.ask_again();
    tester.pass(6_000).await;
    let asked = |effect| match effect {
        Effect::Stream(StreamEffect::LoadMappings(request, _)) => Some(request),
        _ => None,
    };
    let request = tester.did().into_iter().rev().find_map(asked).unwrap();
    let denied = CloudError::new(
        Class::Auth,
        "could not list the event source mappings",
        "grant lambda:ListEventSourceMappings",
    );
    tester.send(Msg::Stream(StreamMsg::Mappings(request, Err(denied))));
    tester.sees("Not known: these credentials may not list event source mappings").await;
    tester.sees("grant lambda:ListEventSourceMappings").await;
}

#[tokio::test]
async fn a_longer_stay_needs_a_yes_and_a_shorter_one_the_streams_name() {
    let mut tester = Tester::watching(at_restore(), Mode::Normal, (120, 30));
    tester.press("H").await;
    type_over(&mut tester, "12").await;
    tester.sees("records stay 24 to 8760 hours").await;
    type_over(&mut tester, "48").await;
    tester.sees("$0.060/h: $0.02 for each of 3 shards").await;
    tester.press("y").await;
    let set = |from, to| Effect::Stream(StreamEffect::SetRetention { stream: "restore".into(), from, to });
    assert_eq!(tester.changed(), [set(24, 48)]);
    // As AWS has it then.
    if let Some(stream) = &mut tester.runtime.app.at_stream.described {
        stream.retention_hours = 48;
    }
    tester.press("H").await;
    type_over(&mut tester, "24").await;
    tester.sees("what is older than 24 hours").await;
    tester.press("enter").await;
    assert_eq!(tester.changed(), []);
    tester.press("restore enter").await;
    assert_eq!(tester.changed(), [set(48, 24)]);
}

#[tokio::test]
async fn shards_are_scaled_from_the_streams_own_screen() {
    let mut tester = Tester::watching(at_restore(), Mode::Normal, (120, 30));
    tester.press("+").await;
    tester.sees("Raise the shards of restore").await;
    tester.sees("$0.015 a shard-hour").await;
    tester.sees("10 calls in 24 h").await;
    tester.press("y").await;
    assert!(matches!(tester.changed().as_slice(), [Effect::SetCapacity { from: 3, .. }]));
}

#[tokio::test]
async fn read_only_refuses_every_change_of_a_stream_and_still_tails() {
    let mut tester = Tester::watching(at_restore(), Mode::ReadOnly, (120, 30));
    for keys in ["H", "+", "m p"] {
        tester.press(keys).await;
        tester.sees("read-only").await;
        tester.press("esc").await;
    }
    assert_eq!(tester.changed(), []);
    tester.press("2 enter T").await;
    assert_eq!(asked_tail(&tester).unwrap().1.shard, None);
}
