use proptest::prelude::*;

use super::super::read::fake::{Fake, event};
use super::*;

fn range(from: &str, to: &str) -> Range {
    Range::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn all(read: Arc<dyn EventRead>, range: Range, after: Option<Place>) -> Vec<Event> {
    let mut reading = Reading::start(read, range, after);
    let mut events = Vec::new();
    while let Some(batch) = reading.next().await {
        events.extend(batch.unwrap().events);
    }
    events
}

/// Events of two hours with an empty one between them, many of the same microsecond, on three shards.
fn some_events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((0_i64..40, 0_i64..3, 0_u64..3, 0_u64..1000), 0..120).prop_map(|drawn| {
        let start: Timestamp = "2018-03-04T14:59:58Z".parse().unwrap();
        let mut events: Vec<Event> = drawn
            .into_iter()
            .enumerate()
            .map(|(n, (step, hour, shard, sequence))| {
                // Steps of 100 ms cross slots; every third shares its microsecond with others.
                let us = start.as_microsecond() + step / 3 * 300_000 + hour / 2 * 7_200_000_000;
                let mut made =
                    event("2018-03-04T00:00:00Z", &format!("shardId-{shard:012}"), sequence * 1000 + n as u64);
                made.time = Timestamp::from_microsecond(us).unwrap();
                made
            })
            .collect();
        events.sort_by(|a, b| a.order().cmp(&b.order()));
        events
    })
}

proptest! {
    #[test]
    fn every_event_of_a_range_comes_once_in_order_in_both_layouts_whatever_the_pages(
        events in some_events(), page in 1_usize..9, from in 0_i64..5000, length in 0_i64..8_000_000, resume in 0_usize..120
    ) {
        let start: Timestamp = "2018-03-04T14:59:57Z".parse().unwrap();
        let from = start.as_microsecond() + from * 1000;
        let to = Timestamp::from_microsecond(from + length * 1000).unwrap();
        let range = Range::new(Timestamp::from_microsecond(from).unwrap(), to).unwrap();
        let expected: Vec<Event> = events.iter().filter(|event| range.contains(event.time)).cloned().collect();
        for layout in [Layout::Ordered, Layout::Original] {
            let read: Arc<dyn EventRead> = Arc::new(Fake::new(layout, page, events.clone()));
            let played = runtime().block_on(all(Arc::clone(&read), range, None));
            prop_assert_eq!(&played, &expected);
            // Taken up again anywhere, nothing is missing and nothing comes twice.
            if let Some(last) = expected.get(resume) {
                let rest = runtime().block_on(all(read, range, Some(Place::of(last))));
                prop_assert_eq!(&rest, &expected[resume + 1..]);
            }
        }
    }

    #[test]
    fn what_is_around_a_moment_is_all_there_is_in_what_it_says_it_covers(
        events in some_events(), page in 1_usize..9, at in 0_i64..8_000, most in 1_usize..12
    ) {
        let start: Timestamp = "2018-03-04T14:59:57Z".parse().unwrap();
        let at = Timestamp::from_microsecond(start.as_microsecond() + at * 1000).unwrap();
        let within = range("2018-03-04T14:00:00Z", "2018-03-05T00:00:00Z");
        let reach = Reach { most, page: 5, hours: 4, looked_at: 1000 };
        for layout in [Layout::Ordered, Layout::Original] {
            let read = Fake::new(layout, page, events.clone());
            let found = runtime().block_on(around(&read, within, at, reach, |_| true)).unwrap();
            let expected: Vec<Event> =
                events.iter().filter(|event| found.covered.contains(event.time)).cloned().collect();
            prop_assert_eq!(&found.events, &expected);
            let after = found.events.iter().filter(|event| event.time >= at).count();
            let there = events.iter().filter(|event| event.time >= at).count();
            prop_assert!(after >= most.min(there), "{after} of {there} after the moment");
            let before = found.events.iter().filter(|event| event.time < at).count();
            let there = events.iter().filter(|event| event.time < at).count();
            prop_assert!(before >= most.min(there), "{before} of {there} before the moment");
        }
    }
}

#[test]
fn events_of_one_microsecond_come_by_shard_then_by_sequence_as_a_number() {
    let time = "2018-03-04T14:59:44.0304Z";
    let mut nine = event(time, "shardId-000000000001", 0);
    nine.id.sequence.0 = "9".to_owned();
    let mut ten = nine.clone();
    ten.id.sequence.0 = "10".to_owned();
    let other = event(time, "shardId-000000000000", 77);
    let read = Arc::new(Fake::new(Layout::Original, 1, vec![ten.clone(), nine.clone(), other.clone()]));
    let played = runtime().block_on(all(read, range("2018-03-04T00:00:00Z", "2018-03-05T00:00:00Z"), None));
    assert_eq!(played, [other, nine, ten]);
}

#[test]
fn a_day_with_three_events_takes_one_read_an_hour_and_one_a_slot() {
    let events = vec![
        event("2018-03-04T01:00:00Z", "s", 1),
        event("2018-03-04T01:00:01Z", "s", 2),
        event("2018-03-04T23:59:59.9Z", "s", 3),
    ];
    let read = Arc::new(Fake::new(Layout::Ordered, 100, events));
    let played = runtime().block_on(all(
        Arc::clone(&read) as Arc<dyn EventRead>,
        range("2018-03-04T00:00:00Z", "2018-03-05T00:00:00Z"),
        None,
    ));
    assert_eq!((played.len(), read.cost().requests), (3, 24 + 3));
}

#[test]
fn an_unaligned_start_reads_the_slot_it_is_in_and_drops_what_is_earlier() {
    let events = vec![
        event("2018-03-04T14:00:02.499999Z", "s", 1),
        event("2018-03-04T14:00:02.500Z", "s", 2),
        event("2018-03-04T14:00:03Z", "s", 3),
    ];
    let read = Arc::new(Fake::new(Layout::Ordered, 100, events.clone()));
    let wanted = range("2018-03-04T14:00:02.500Z", "2018-03-04T14:00:03Z");
    assert_eq!(runtime().block_on(all(read, wanted, None)), events[1..2]);
}

#[test]
fn a_table_without_a_directory_is_played_by_reading_every_slot() {
    let events = vec![event("2018-03-04T14:00:02.5Z", "s", 1), event("2018-03-04T14:59:59.999999Z", "s", 2)];
    let fake = Fake::new(Layout::Original, 100, events.clone());
    let read = Arc::new(super::super::read::EverySlot::new(fake, super::super::SlotLength::default()));
    let wanted = range("2018-03-04T14:00:00Z", "2018-03-04T15:00:00Z");
    assert_eq!(runtime().block_on(all(Arc::clone(&read) as Arc<dyn EventRead>, wanted, None)), events);
    assert_eq!(read.cost().requests, 3600);
}
