//! What a producer and a consumer make of a stream's faults.

use super::*;

#[test]
fn exactly_the_records_that_failed_are_sent_again_in_order_for_each_key() {
    for aggregate in [true, false] {
        let clock = ManualClock::default();
        clock.run(async {
            let fake = Fake::new(Faults { partial: 0.2, throttle: 0.1, ..Faults::default() });
            let options = ProducerOptions { aggregate, ..ProducerOptions::new("s", "r-1") };
            let counters = produce_as(options, &fake, &clock, 0..5_000, 300).await;
            assert_eq!((counters.read, counters.on_stream), (5_000, 5_000));
            assert!(counters.throttled > 0 && counters.throttled <= counters.retried);
            let state = fake.state.lock().unwrap();
            let shards: Vec<Vec<u64>> = state.shards.iter().map(|shard| numbers(shard)).collect();
            assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), 5_000);
            assert!(shards.iter().all(|shard| shard.len() > 1_000), "keys spread unevenly");
            for shard in shards {
                let mut last: HashMap<u64, u64> = HashMap::new();
                for n in shard {
                    assert!(last.insert(n % 300, n).is_none_or(|before| before < n), "a key's order was lost");
                }
            }
            let records: usize = state.shards.iter().map(Vec::len).sum();
            assert!(if aggregate { records < 4_000 } else { records == 5_000 }, "{records} records");
        });
    }
}

#[test]
fn a_record_that_no_stream_takes_is_a_dead_letter_before_it_is_sent() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let put = Arc::clone(&fake) as Arc<dyn StreamPut>;
        let mut options = ProducerOptions::new("s", "r-1");
        options.record_bytes = Some(60);
        let producer = Producer::start(options, put, Arc::new(clock.clone())).await.unwrap();
        let ledger = Arc::new(Ledger::new(10));
        let fits = item("k", 1);
        assert_eq!(request::encode("t", &fits.json).len() + "r-1/1".len(), 60);
        producer.put("t", &fits, 1, ledger.open(Line(1)).await.unwrap()).await.unwrap();
        producer.put("t", &item("kk", 2), 2, ledger.open(Line(2)).await.unwrap()).await.unwrap();
        ledger.drained().await;
        let settled = ledger.take_settled();
        assert_eq!((settled.counters.on_stream, settled.counters.dead), (1, 1));
        assert_eq!(settled.letters[0].reason, "record of 61 bytes: the stream takes at most 60");
    });
}

#[test]
fn through_a_stream_with_every_fault_each_record_counts_once_and_the_last_version_stays() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(ALL);
        produce(&fake, &clock, 0..2_000, 300).await;
        // A crash of the producer: what it had not stored is sent again.
        produce(&fake, &clock, 1_500..3_000, 300).await;
        let own: usize = fake.state.lock().unwrap().shards.iter().map(|shard| numbers(shard).len()).sum();
        assert!(own > 3_500, "lost replies should have doubled some");
        let consumer = consumer(&fake, &clock, |options| options.job = Some("r-1".into()));
        consumer.caught_up().await;
        let live = consumer.live();
        assert_eq!((live.read, live.written, live.dead), (3_000, 3_000, 0));
        assert!(consumer.settled().iter().map(|settled| settled.checkpoint.counters.read).sum::<u64>() == 3_000);
        let versions = fake.versions();
        assert!((0..300).all(|k| versions[&format!("k{k}")] == 2_700 + k));
    });
}

#[test]
fn a_consumer_that_is_killed_again_and_again_counts_as_if_it_never_was() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults { partial: 0.1, lose_reply: 0.1, ..Faults::default() });
        produce(&fake, &clock, 0..3_000, 300).await;
        let mut stored: HashMap<String, ShardCheckpoint> = HashMap::new();
        for life in 1..=6u64 {
            let resume = stored.values().cloned().collect();
            let consumer = consumer(&fake, &clock, |options| {
                (options.job, options.resume, options.window) = (Some("r-1".into()), resume, 100);
            });
            if life < 6 {
                clock.sleep(Duration::from_millis(300 * life)).await;
            } else {
                consumer.caught_up().await;
            }
            for ShardSettled { checkpoint, .. } in consumer.settled() {
                // As in a journal.
                let text = serde_json::to_string(&checkpoint).unwrap();
                stored.insert(checkpoint.shard.clone(), serde_json::from_str(&text).unwrap());
            }
            if life < 6 {
                // It goes on a little, and none of that is stored.
                clock.sleep(Duration::from_millis(150)).await;
            }
        }
        let total = stored.values().fold(Counters::default(), |sum, checkpoint| sum + checkpoint.counters);
        assert_eq!((total.read, total.written), (3_000, 3_000));
        assert!((0..300).all(|k| fake.versions()[&format!("k{k}")] == 2_700 + k));
    });
}

#[test]
fn a_bad_record_is_a_dead_letter_at_once_and_foreign_ones_are_left_alone() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let good = request::encode("t", &item("good", 1).json);
        let lost = request::encode("gone", &item("x", 1).json);
        let records =
            [("r-1/0", good.clone()), ("r-1/1", Bytes::from_static(b"nonsense")), ("r-1/2", lost), ("other", good)];
        for (n, (partition_key, data)) in records.into_iter().enumerate() {
            let sequence = SequenceNumber((n + 1).to_string());
            let record = StreamRecord { sequence, partition_key: partition_key.into(), data, arrived_us: 0 };
            fake.state.lock().unwrap().shards[2].push(record);
        }
        let consumer = consumer(&fake, &clock, |options| options.job = Some("r-1".into()));
        consumer.caught_up().await;
        let settled = consumer.settled();
        assert_eq!(settled.len(), 1);
        let ShardSettled { checkpoint, letters, .. } = &settled[0];
        let counters = checkpoint.counters;
        assert_eq!((counters.read, counters.written, counters.dead), (3, 1, 2));
        assert_eq!(checkpoint.position, Some(SequenceNumber("4".into())));
        assert_eq!(letters[0].sequence.as_deref(), Some("2"));
        assert_eq!(letters[1].reason, "there is no table gone");
        assert_eq!(consumer.progress().iter().map(|shard| shard.foreign).sum::<u64>(), 1);
        assert!(consumer.settled().is_empty());
    });
}

#[test]
fn records_that_the_stream_no_longer_keeps_when_they_are_to_be_read_are_told() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let plain = || ProducerOptions { aggregate: false, ..ProducerOptions::new("s", "r-1") };
        produce_as(plain(), &fake, &clock, 0..800, 300).await;
        let first = consumer(&fake, &clock, |_| {});
        first.caught_up().await;
        let resume: Vec<ShardCheckpoint> = first.settled().into_iter().map(|settled| settled.checkpoint).collect();
        assert_eq!((resume.len(), first.take_notes()), (4, vec![]));
        drop(first);
        produce_as(plain(), &fake, &clock, 800..1_600, 300).await;
        // Nobody read for longer than records are kept.
        fake.state.lock().unwrap().shards[2].drain(..300);
        let again = consumer(&fake, &clock, |options| options.resume = resume);
        again.caught_up().await;
        let notes = again.take_notes();
        assert!(notes.len() == 1 && notes[0].starts_with("shard shardId-000000000002: the record"), "{notes:?}");
        assert_eq!(again.take_notes(), Vec::<String>::new());
        let left: usize = fake.state.lock().unwrap().shards.iter().map(Vec::len).sum();
        let read: u64 = again.settled().iter().map(|settled| settled.checkpoint.counters.read).sum();
        assert!(read as usize > left && left == 1_300, "{read} {left}");
    });
}

#[test]
fn a_put_that_is_on_the_stream_again_does_not_undo_the_delete_after_it() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let item = item("k", 1);
        let put = request::encode("t", &item.json);
        let records = [("r-1/0", put.clone()), ("r-1/1", request::encode_delete("t", &item.key.json)), ("r-1/0", put)];
        for (n, (partition_key, data)) in records.into_iter().enumerate() {
            let sequence = SequenceNumber((n + 1).to_string());
            let record = StreamRecord { sequence, partition_key: partition_key.into(), data, arrived_us: 0 };
            fake.state.lock().unwrap().shards[2].push(record);
        }
        let consumer = consumer(&fake, &clock, |options| options.job = Some("r-1".into()));
        consumer.caught_up().await;
        let counters = consumer.live();
        assert_eq!((counters.read, counters.written, counters.deleted), (2, 1, 1));
        assert_eq!(fake.versions(), HashMap::new());
    });
}

#[test]
fn a_consumer_whose_table_refuses_us_ends_with_the_reason() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        produce(&fake, &clock, 0..500, 300).await;
        let consumer = consumer(&fake, &clock, |options| options.window = 10);
        *fake.down.lock().unwrap() = Some(error(Class::Auth, "expired"));
        assert_eq!(consumer.failed().await.class, Class::Auth);
    });
}
