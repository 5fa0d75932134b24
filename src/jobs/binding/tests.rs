//! Each rule, with numbers.

use super::*;

fn lanes(idle: f64, paced: f64, sending: f64, backing_off: f64, full: f64) -> Shares {
    Shares { idle, paced, sending, backing_off, full }
}

fn side(shares: Shares, held_back_by: Option<Limit>) -> Option<Side> {
    Some(Side { shares, held_back_by })
}

const IDLE: Shares = Shares { idle: 0.97, paced: 0.0, sending: 0.03, backing_off: 0.0, full: 0.0 };
const READING: Feed = Feed::Reading { checking: 0.05, cpus: 2 };

fn table() -> Option<Limit> {
    Some(Limit::Table { wcu: Some(130.0) })
}

#[test]
fn a_paused_job_is_limited_by_its_operator_alone() {
    let writer = side(lanes(0.0, 1.0, 0.0, 0.0, 1.0), table());
    let measured = Measured { held: true, feed: READING, into_table: writer, ..Measured::default() };
    assert_eq!(of_writing(&measured), Limit::Paused);
}

#[test]
fn a_source_is_the_limit_while_the_writer_has_nothing_to_do() {
    let measured = Measured { feed: READING, into_table: side(IDLE, None), ..Measured::default() };
    assert_eq!(of_writing(&measured), Limit::Source);
}

#[test]
fn checking_is_the_limit_when_it_takes_the_processors_and_the_writer_has_nothing_to_do() {
    let feed = Feed::Reading { checking: 0.93, cpus: 2 };
    let measured = Measured { feed, into_table: side(IDLE, None), ..Measured::default() };
    assert_eq!(of_writing(&measured), Limit::Checking { cpus: 2 });
}

#[test]
fn the_pace_is_the_limit_when_lanes_wait_for_it_most_of_their_time() {
    let writer = side(lanes(0.02, 0.9, 0.07, 0.01, 0.98), table());
    let measured = Measured { feed: READING, into_table: writer, ..Measured::default() };
    assert_eq!(of_writing(&measured), Limit::Table { wcu: Some(130.0) });
    // Whatever the pacer names is what binds: an index, a partition, a cap, a share left to others.
    for limit in [
        Limit::Index { index: "by_day".into(), wcu: 50.0 },
        Limit::Partition { wcu: 1_000.0, of: 4_000.0, keys: 0, key: String::new() },
        Limit::RateCap { per_second: 50.0 },
        Limit::WcuCap { wcu: 80.0 },
        Limit::Leave { share: 0.2, others: 310.0, of: 1_700.0, index: None },
    ] {
        let writer = side(lanes(0.02, 0.9, 0.07, 0.01, 0.98), Some(limit.clone()));
        let measured = Measured { feed: READING, into_table: writer, ..Measured::default() };
        assert_eq!(of_writing(&measured), limit);
    }
}

#[test]
fn refusals_that_lanes_wait_after_are_the_pacers_to_explain() {
    let limit = Limit::Partition { wcu: 1_000.0, of: 4_000.0, keys: 0, key: String::new() };
    let writer = side(lanes(0.1, 0.1, 0.2, 0.6, 0.9), Some(limit.clone()));
    let measured = Measured { feed: READING, into_table: writer, ..Measured::default() };
    assert_eq!(of_writing(&measured), limit);
}

#[test]
fn the_target_is_the_limit_when_lanes_wait_for_replies_and_more_waits_for_them() {
    let writer = side(lanes(0.01, 0.1, 0.89, 0.0, 0.95), table());
    let measured = Measured { feed: READING, into_table: writer, ..Measured::default() };
    assert_eq!(of_writing(&measured), Limit::Service);
}

#[test]
fn the_same_replies_are_no_limit_while_nothing_waits_for_them() {
    let writer = side(lanes(0.4, 0.0, 0.6, 0.0, 0.05), None);
    let measured = Measured { feed: READING, into_table: writer, ..Measured::default() };
    assert_eq!(of_writing(&measured), Limit::Source);
}

#[test]
fn one_full_shard_is_the_limit_while_the_table_waits() {
    let shard = Limit::Shard { shard: "shardId-000000000003".into() };
    let measured = Measured {
        feed: READING,
        onto_stream: side(lanes(0.7, 0.28, 0.02, 0.0, 0.9), Some(shard.clone())),
        behind: Some((4, 200)),
        into_table: side(IDLE, None),
        ..Measured::default()
    };
    assert_eq!(of_writing(&measured), shard);
}

#[test]
fn all_full_shards_are_the_stream() {
    let stream = Limit::Stream { shards: 4 };
    let measured = Measured {
        feed: READING,
        onto_stream: side(lanes(0.0, 0.9, 0.1, 0.0, 1.0), Some(stream.clone())),
        into_table: None,
        ..Measured::default()
    };
    assert_eq!(of_writing(&measured), stream);
}

#[test]
fn a_table_that_keeps_its_shards_waiting_comes_before_a_stream_that_is_full_as_well() {
    let measured = Measured {
        feed: READING,
        onto_stream: side(lanes(0.0, 0.9, 0.1, 0.0, 1.0), Some(Limit::Stream { shards: 4 })),
        behind: Some((4, 60_000)),
        // Four shards' readers find no room.
        into_table: side(lanes(0.0, 0.9, 0.1, 0.0, 3.9), table()),
        ..Measured::default()
    };
    assert_eq!(of_writing(&measured), Limit::Table { wcu: Some(130.0) });
}

#[test]
fn records_that_are_late_while_the_table_waits_are_late_for_the_reads_of_their_shards() {
    let measured = Measured {
        feed: READING,
        onto_stream: side(IDLE, None),
        behind: Some((4, 12_300)),
        into_table: side(IDLE, None),
        ..Measured::default()
    };
    assert_eq!(of_writing(&measured), Limit::StreamReads { shards: 4 });
    let in_time = Measured { behind: Some((4, 900)), ..measured };
    assert_eq!(of_writing(&in_time), Limit::Source);
}

#[test]
fn once_all_is_read_whoever_still_works_is_the_limit() {
    let writer = side(lanes(0.5, 0.4, 0.1, 0.0, 0.0), table());
    let measured = Measured { feed: Feed::Done, into_table: writer, ..Measured::default() };
    assert_eq!(of_writing(&measured), Limit::Table { wcu: Some(130.0) });
}

fn limits() -> ReadLimits {
    ReadLimits {
        budget: Some(50.0),
        cap: Some(7.0),
        provisioned: Some(100.0),
        destination: "the disk under the state folder".into(),
        cpus: 2,
    }
}

#[test]
fn a_job_that_reads_waits_for_its_budget_the_table_the_disk_the_source_or_the_service() {
    let nothing = MeasuredReads::default();
    let some = MeasuredReads { paced: 0.1, sending: 0.2, refused: 0.05, writing: 0.1, source: 0.1, ..nothing };
    for (measured, limit) in [
        (MeasuredReads { paced: 0.9, ..some }, Limit::ReadBudget { rcu: 50.0 }),
        (MeasuredReads { capped: 0.9, ..some }, Limit::RateCap { per_second: 7.0 }),
        (MeasuredReads { refused: 0.9, ..some }, Limit::TableReads { rcu: Some(100.0) }),
        (MeasuredReads { writing: 0.9, ..some }, Limit::Destination { name: "the disk under the state folder".into() }),
        (MeasuredReads { source: 0.9, ..some }, Limit::Source),
        (MeasuredReads { sending: 0.9, ..some }, Limit::Service),
        (MeasuredReads { checking: 0.9, source: 0.9, ..some }, Limit::Checking { cpus: 2 }),
        (MeasuredReads { held: true, paced: 0.9, ..some }, Limit::Paused),
        (nothing, Limit::Source),
    ] {
        assert_eq!(of_reading(&measured, &limits()), limit, "{measured:?}");
    }
}

#[test]
fn a_reading_job_says_what_binds_with_its_numbers() {
    let after = |seconds: f64| Reads {
        readers: 4,
        paced: 3.2 * seconds,
        sending: 0.8 * seconds,
        items: (seconds * 400.0) as u64,
        replies: (seconds * 8.0) as u64,
        rcu: 49.5 * seconds,
        ..Reads::default()
    };
    let mut recent = Recent::<Reads>::default();
    let mut said = Binding::default();
    for second in 0..=12 {
        said = recent.next(Duration::from_secs(second), after(second as f64), &limits(), "historical");
    }
    assert_eq!(said.limit, Limit::ReadBudget { rcu: 50.0 });
    assert!((said.share - 0.8).abs() < 1e-9 && (said.asked - 400.0).abs() < 1.0, "{said:?}");
    assert_eq!(
        said.explain(),
        "the read budget lets 50 RCU/s through, and 50/s were used (over 10 s); a larger --read-budget would change that."
    );
    let slow = Reads { sending: 60.0, replies: 600, ..after(12.0) };
    assert!(recent.next(Duration::from_secs(13), slow, &limits(), "historical").explain().contains("answers in"));
}

/// A job's totals after so many seconds: 16 lanes that wait for the pace nine tenths of their time.
fn after(seconds: u64) -> Stages {
    let lanes = Duration::from_secs(seconds * 16);
    Stages {
        cpus: 1,
        into_table: Some(Stage {
            times: LaneTimes {
                lanes: 16,
                paced: lanes * 9 / 10,
                sending: lanes / 10,
                full: Duration::from_secs(seconds),
                replies: seconds * 20,
                ..LaneTimes::default()
            },
            held_back_by: table(),
            sent: seconds * 171,
            refused: seconds * 41,
            used: seconds as f64 * 129.6,
            used_by_index: Vec::new(),
        }),
        ..Stages::default()
    }
}

#[test]
fn the_last_ten_seconds_count_and_what_was_before_does_not() {
    let names = Names { table: "historical".into(), ..Names::default() };
    let mut recent = Recent::<Stages>::default();
    // A minute in which the source was slow.
    for second in 0..60 {
        let said = recent.next(Duration::from_secs(second), Stages { cpus: 1, ..after(0) }, &names);
        assert_eq!(said.limit, Limit::Source);
    }
    let mut said = Binding::default();
    for second in 1..=11 {
        said = recent.next(Duration::from_secs(59 + second), after(second), &names);
    }
    assert_eq!(said.limit, Limit::Table { wcu: Some(130.0) });
    assert!((said.seconds - 10.0).abs() < 1e-9, "{said:?}");
    assert!((said.used - 129.6).abs() < 1e-9 && (said.asked - 171.0).abs() < 1e-9, "{said:?}");
    assert_eq!(
        said.explain(),
        "historical takes 130 WCU/s and all of it is used (129.6/s over 10 s); 41 of 171 writes/s are refused."
    );
}

#[test]
fn a_binding_of_a_later_version_is_left_out_and_the_sample_is_read() {
    use crate::jobs::journal::Sample;
    let said = Recent::<Stages>::default().next(Duration::ZERO, after(1), &Names::default());
    let sample = Sample { at_ms: 1, binding: Some(said), ..Sample::default() };
    let text = serde_json::to_string(&sample).unwrap();
    assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
    let later = text.replace("\"source\"", "\"the moon\"");
    assert_ne!(later, text);
    assert_eq!(serde_json::from_str::<Sample>(&later).unwrap(), Sample { at_ms: 1, ..Sample::default() });
    let earlier = r#"{"at_ms":1,"counters":{},"provisioned_wcu":null,"limit":"source"}"#;
    assert_eq!(serde_json::from_str::<Sample>(earlier).unwrap().binding, None);
}
