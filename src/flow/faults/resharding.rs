//! Aggregated records through a stream that is split and merged under them, and records that others packed.

use std::collections::BTreeMap;

use super::*;
use crate::flow::aggregate::pack;
use crate::item::explicit_hash_key;

/// A shard, and what is on it.
struct Reach {
    shard: Shard,
    records: Vec<StreamRecord>,
    /// Records and bytes that it takes now, and since when that is so.
    level: (f64, f64, Duration),
}

impl Reach {
    fn new(shard: Shard) -> Self {
        Self { shard, records: Vec::new(), level: (1_000.0, MIB, Duration::ZERO) }
    }

    /// Whether it takes a record of `size` bytes now: 1,000 records and 1 MiB a second.
    fn takes(&mut self, now: Duration, size: f64) -> bool {
        let (records, bytes, at) = self.level;
        let passed = now.saturating_sub(at).as_secs_f64();
        let (records, bytes) = ((records + passed * 1_000.0).min(1_000.0), (bytes + passed * MIB).min(MIB));
        let takes = records >= 1.0 && bytes >= size.min(MIB);
        let (less, fewer) = if takes { (size, 1.0) } else { (0.0, 0.0) };
        self.level = (records - fewer, bytes - less, now);
        takes
    }
}

const MIB: f64 = (1 << 20) as f64;

/// A stream whose shards are split and merged while it is written.
struct River {
    faults: Fake,
    shards: Mutex<Vec<Reach>>,
    sequence: Mutex<u64>,
    /// Splits or merges after so many records.
    reshards_every: Option<u64>,
    /// Refuses requests in which this is.
    poison: Option<&'static [u8]>,
    /// Has limits, by this clock.
    limits: Option<ManualClock>,
}

impl River {
    fn new(shards: usize, faults: Faults, reshards_every: Option<u64>) -> Self {
        let width = u128::MAX / shards as u128;
        let end = |n: usize| if n + 1 == shards { u128::MAX } else { (n as u128 + 1) * width - 1 };
        let reach = |n: usize| {
            let hash_keys = (n as u128 * width, end(n));
            Reach::new(Shard { id: format!("shardId-{n:012}"), parents: Vec::new(), hash_keys, open: true })
        };
        Self {
            faults: Arc::into_inner(Fake::new(faults)).unwrap(),
            shards: Mutex::new((0..shards).map(reach).collect()),
            sequence: Mutex::new(0),
            reshards_every,
            poison: None,
            limits: None,
        }
    }

    fn open(shards: &mut Vec<Reach>, parents: &[usize], hash_keys: (u128, u128)) {
        let id = format!("shardId-{:012}", shards.len());
        let parents = parents.iter().map(|n| shards[*n].shard.id.clone()).collect();
        shards.push(Reach::new(Shard { id, parents, hash_keys, open: true }));
    }

    /// Splits the widest shard, or merges the narrowest with its neighbour.
    fn reshard(&self) {
        let mut shards = self.shards.lock().unwrap();
        let mut open: Vec<usize> = (0..shards.len()).filter(|n| shards[*n].shard.open).collect();
        open.sort_by_key(|n| shards[*n].shard.hash_keys);
        let width = |n: usize| shards[n].shard.hash_keys.1 - shards[n].shard.hash_keys.0;
        if self.faults.meets(0.5) || open.len() < 2 {
            let widest = *open.iter().max_by_key(|n| width(**n)).unwrap();
            let (from, to) = shards[widest].shard.hash_keys;
            // Nowhere near the bound of a slice.
            let half = from + (to - from) / 2 + 12_345;
            shards[widest].shard.open = false;
            Self::open(&mut shards, &[widest], (from, half));
            Self::open(&mut shards, &[widest], (half + 1, to));
        } else {
            let at = (0..open.len() - 1).min_by_key(|at| width(open[*at]) / 2 + width(open[at + 1]) / 2).unwrap();
            let (left, right) = (open[at], open[at + 1]);
            let hash_keys = (shards[left].shard.hash_keys.0, shards[right].shard.hash_keys.1);
            shards[left].shard.open = false;
            shards[right].shard.open = false;
            Self::open(&mut shards, &[left, right], hash_keys);
        }
    }

    /// False when the shard asks for less.
    fn add(&self, hash_key: u128, partition_key: &str, data: Bytes) -> bool {
        let number = {
            let mut sequence = self.sequence.lock().unwrap();
            *sequence += 1;
            *sequence
        };
        if self.reshards_every.is_some_and(|every| number.is_multiple_of(every)) {
            self.reshard();
        }
        let mut shards = self.shards.lock().unwrap();
        let takes = |shard: &Shard| shard.open && shard.hash_keys.0 <= hash_key && hash_key <= shard.hash_keys.1;
        let reach = shards.iter_mut().find(|reach| takes(&reach.shard)).unwrap();
        let size = (data.len() + partition_key.len()) as f64;
        if self.limits.as_ref().is_some_and(|clock| !reach.takes(clock.now(), size)) {
            return false;
        }
        let sequence = SequenceNumber(number.to_string());
        reach.records.push(StreamRecord { sequence, partition_key: partition_key.to_owned(), data, arrived_us: 0 });
        true
    }

    fn list(&self) -> Vec<Shard> {
        self.shards.lock().unwrap().iter().map(|reach| reach.shard.clone()).collect()
    }

    fn records(&self) -> Vec<StreamRecord> {
        self.shards.lock().unwrap().iter().flat_map(|reach| reach.records.clone()).collect()
    }
}

impl StreamPut for River {
    fn put_records(&self, body: Bytes) -> BoxFuture<'_, Result<PutReply, CloudError>> {
        async move {
            tokio::task::yield_now().await;
            self.faults.before()?;
            let body: Value = serde_json::from_slice(&body).unwrap();
            let records = body["Records"].as_array().unwrap();
            let decode = |record: &Value| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            let poisoned = |data: &[u8]| self.poison.is_some_and(|p| data.windows(p.len()).any(|part| part == p));
            if records.iter().any(|record| poisoned(&decode(record))) {
                return Err(error(Class::Invalid, "there is something about it"));
            }
            let mut reply = PutReply::default();
            for (index, record) in records.iter().enumerate() {
                if self.faults.meets(self.faults.faults.partial) {
                    reply.failed.push(Failed { index, throttled: index.is_multiple_of(2) });
                    continue;
                }
                let hash_key = record["ExplicitHashKey"].as_str().unwrap().parse().unwrap();
                if !self.add(hash_key, record["PartitionKey"].as_str().unwrap(), decode(record).into()) {
                    reply.failed.push(Failed { index, throttled: true });
                }
            }
            self.faults.after()?;
            Ok(reply)
        }
        .boxed()
    }

    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        async { Ok(self.list()) }.boxed()
    }
}

impl StreamSource for River {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        async { Ok(self.list()) }.boxed()
    }

    /// An iterator is `<shard>:<place>`.
    fn iterator<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>> {
        async move {
            let n: usize = shard.strip_prefix("shardId-").unwrap().parse().unwrap();
            let place = |at: &SequenceNumber| {
                self.shards.lock().unwrap()[n].records.iter().position(|record| record.sequence == *at).unwrap()
            };
            Ok(match start {
                StartAt::After(at) => format!("{n}:{}", place(at) + 1),
                StartAt::At(at) => format!("{n}:{}", place(at)),
                _ => format!("{n}:0"),
            })
        }
        .boxed()
    }

    fn page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Page, ReadError>> {
        async move {
            let (shard, place) = iterator.split_once(':').unwrap();
            let (shard, place): (usize, usize) = (shard.parse().unwrap(), place.parse().unwrap());
            let shards = self.shards.lock().unwrap();
            let reach = &shards[shard];
            let records: Vec<StreamRecord> = reach.records.iter().skip(place).take(20).cloned().collect();
            let next = place + records.len();
            let more = next < reach.records.len();
            let next = (more || reach.shard.open).then(|| format!("{shard}:{next}"));
            Ok(Page { records, next, behind_ms: if more { 1000 } else { 0 } })
        }
        .boxed()
    }
}

/// A consumer of `river` that writes into `table`.
fn drink(
    river: &Arc<River>,
    table: &Arc<Fake>,
    clock: &ManualClock,
    change: impl FnOnce(&mut ConsumerOptions),
) -> Consumer {
    let sink = Sink { checker: Arc::new(Checker::new(schema())), writer: Arc::new(writer(table, clock, |_| {})) };
    let mut options = ConsumerOptions::new("s");
    change(&mut options);
    Consumer::start(options, Arc::clone(river) as _, Arc::new(OneTable { sink }), Arc::new(clock.clone()))
}

async fn pour(
    river: &Arc<River>,
    clock: &ManualClock,
    options: ProducerOptions,
    items: std::ops::Range<u64>,
    keys: u64,
) {
    let producer = Producer::start(options, Arc::clone(river) as _, Arc::new(clock.clone())).await.unwrap();
    let ledger = Arc::new(Ledger::new(4_000));
    for n in items {
        let receipt = ledger.open(Line(n)).await.unwrap();
        producer.put("t", &item(&format!("k{}", n % keys), n), n, receipt).await.unwrap();
    }
    ledger.drained().await;
    producer.finish().await.unwrap();
}

const RESHARDING: Faults = Faults { throttle: 0.05, partial: 0.15, reset: 0.05, lose_reply: 0.1 };

#[test]
fn through_splits_and_merges_and_faults_every_version_of_a_key_is_written_once_and_in_order() {
    for (aggregate, shards) in [(true, 1), (true, 3), (true, 10), (false, 3)] {
        let clock = ManualClock::default();
        clock.run(async {
            let river = Arc::new(River::new(shards, RESHARDING, Some(40)));
            let table = Fake::new(Faults::default());
            // Read while it is written, as a restore does.
            let consumer = drink(&river, &table, &clock, |options| options.job = Some("r-1".into()));
            let options = ProducerOptions { aggregate, ..ProducerOptions::new("s", "r-1") };
            pour(&river, &clock, options, 0..8_000, 400).await;
            // A crash of the producer: what it had not stored is sent again.
            let options = ProducerOptions { aggregate, ..ProducerOptions::new("s", "r-1") };
            pour(&river, &clock, options, 7_000..9_200, 400).await;
            consumer.caught_up().await;
            let counters = consumer.live();
            assert_eq!((counters.read, counters.written, counters.dead), (9_200, 9_200, 0));
            assert!(river.list().len() > shards + 10, "hardly resharded: {}", river.list().len());
            assert_eq!(consumer.progress().iter().map(|shard| shard.outside).sum::<u64>(), 0);
            let state = table.state.lock().unwrap();
            let written: usize = state.history.values().map(Vec::len).sum();
            assert_eq!(written as u64 + counters.replaced, 9_200);
            assert!(state.history.values().all(|versions| versions.is_sorted_by(|a, b| a < b)), "order was lost");
            drop(state);
            assert!((0..400).all(|k| table.versions()[&format!("k{k}")] == 8_800 + k));
        });
    }
}

#[test]
fn a_consumer_killed_in_an_aggregated_record_goes_on_in_its_middle() {
    let clock = ManualClock::default();
    clock.run(async {
        let river = Arc::new(River::new(1, Faults::default(), None));
        let table = Fake::new(Faults::default());
        for record in 0..4u64 {
            let requests = (0..500).map(|n| {
                let n = record * 500 + n;
                (format!("other/{n}"), request::encode("t", &item(&format!("k{n}"), n).json))
            });
            river.add(1, "other/0", pack(1, requests));
        }
        let mut stored: Option<ShardCheckpoint> = None;
        let mut middles = 0;
        let mut lives = 0;
        loop {
            let resume = stored.iter().cloned().collect();
            let consumer = drink(&river, &table, &clock, |options| (options.resume, options.window) = (resume, 7));
            let before = stored.as_ref().map_or(0, |checkpoint| checkpoint.counters.read);
            while consumer.live().written < (before + 130).min(2_000) {
                clock.sleep(Duration::from_millis(1)).await;
            }
            for ShardSettled { checkpoint, .. } in consumer.settled() {
                // As in a journal.
                stored = Some(serde_json::from_str(&serde_json::to_string(&checkpoint).unwrap()).unwrap());
            }
            lives += 1;
            let checkpoint = stored.as_ref().unwrap();
            let read = checkpoint.counters.read;
            assert!(read > before && lives < 100);
            assert_eq!(checkpoint.position, Some(SequenceNumber(((read - 1) / 500 + 1).to_string())));
            assert_eq!(checkpoint.sub, Some((read - 1) % 500));
            middles += usize::from(!read.is_multiple_of(500));
            if read == 2_000 {
                break;
            }
        }
        assert!(middles >= 2, "{middles} of {lives}");
        // What was above the mark was written once more, and nothing else was.
        let twice = table.state.lock().unwrap().history.values().filter(|versions| versions.len() > 1).count();
        assert!(twice <= lives * 7, "{twice} in {lives} lives");
        assert_eq!(table.versions().len(), 2_000);
    });
}

#[test]
fn a_checkpoint_behind_a_whole_record_that_names_none_in_it_skips_it() {
    let clock = ManualClock::default();
    clock.run(async {
        let river = Arc::new(River::new(1, Faults::default(), None));
        river.add(1, "p/0", request::encode("t", &item("first", 1).json));
        river.add(1, "p/1", request::encode("t", &item("second", 1).json));
        // KCL's table has 0 for a record of its own.
        for sub in [None, Some(0)] {
            let table = Fake::new(Faults::default());
            let resume = ShardCheckpoint {
                shard: "shardId-000000000000".into(),
                position: Some(SequenceNumber("1".into())),
                sub,
                done: false,
                counters: Counters::default(),
                tally: None,
                time_us: None,
            };
            let consumer = drink(&river, &table, &clock, |options| options.resume = vec![resume]);
            consumer.caught_up().await;
            assert_eq!(table.versions().into_keys().collect::<Vec<_>>(), ["second"]);
        }
    });
}

#[test]
fn records_that_others_packed_are_run_but_for_those_of_other_shards_and_bad_ones_are_named() {
    let clock = ManualClock::default();
    clock.run(async {
        let river = Arc::new(River::new(2, Faults::default(), None));
        let put = |id: &str| request::encode("t", &item(id, 1).json);
        let packed = pack(
            7,
            [("a".to_owned(), put("a")), ("b".to_owned(), Bytes::from_static(b"{}")), ("c".to_owned(), put("c"))],
        );
        river.add(7, "a", packed.clone());
        // Its records belong to the first shard, and it came to the second.
        river.add(u128::MAX, "a", packed.clone());
        let mut damaged = packed.to_vec();
        damaged[40] ^= 1;
        river.add(7, "a", damaged.into());
        river.add(7, "a", packed.slice(..10));
        river.add(7, "a", Bytes::from(vec![b'x'; 10 << 20]));
        let table = Fake::new(Faults::default());
        let consumer = drink(&river, &table, &clock, |_| {});
        consumer.caught_up().await;
        let counters = consumer.live();
        assert_eq!((counters.read, counters.written, counters.dead), (6, 2, 4));
        let progress = consumer.progress();
        assert_eq!((progress[0].outside, progress[1].outside), (0, 3));
        let settled: BTreeMap<String, ShardSettled> =
            consumer.settled().into_iter().map(|settled| (settled.checkpoint.shard.clone(), settled)).collect();
        let [first, second] = ["shardId-000000000000", "shardId-000000000001"].map(|shard| settled[shard].clone());
        let told: Vec<(&str, &str, usize)> = first
            .letters
            .iter()
            .map(|letter| (letter.sequence.as_deref().unwrap(), letter.reason.as_str(), letter.payload.len()))
            .collect();
        assert_eq!(told[0].0, "1/1");
        assert_eq!(told[1], ("3", "aggregated record with a wrong checksum", packed.len()));
        assert_eq!(told[2], ("4", "aggregated record with a wrong checksum", 10));
        assert_eq!((told[3].0, told[3].2), ("5", 10 << 20));
        assert_eq!((second.checkpoint.position, second.checkpoint.sub), (Some(SequenceNumber("2".into())), Some(2)));
    });
}

#[test]
fn a_request_that_the_stream_refuses_is_a_dead_letter_and_those_packed_with_it_are_not() {
    let clock = ManualClock::default();
    clock.run(async {
        let mut river = River::new(1, Faults::default(), None);
        river.poison = Some(br#"{"N":"77"}"#);
        let river = Arc::new(river);
        let options = ProducerOptions::new("s", "r-1");
        let producer = Producer::start(options, Arc::clone(&river) as _, Arc::new(clock.clone())).await.unwrap();
        let ledger = Arc::new(Ledger::new(1_000));
        // All of one key, so of one slice.
        for n in 0..200 {
            producer.put("t", &item("k", n), n, ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        ledger.drained().await;
        let settled = ledger.take_settled();
        assert_eq!((settled.counters.on_stream, settled.counters.dead), (199, 1));
        assert_eq!(settled.letters[0].payload, request::encode("t", &item("k", 77).json));
        assert_eq!(numbers(&river.records()), (0..200).filter(|n| *n != 77).collect::<Vec<_>>());
    });
}

#[test]
fn what_waits_is_packed_and_what_comes_alone_goes_at_once_and_as_it_is() {
    let clock = ManualClock::default();
    clock.run(async {
        let mut river = River::new(1, Faults::default(), None);
        river.limits = Some(clock.clone());
        let river = Arc::new(river);
        let options = ProducerOptions::new("s", "r-1");
        let producer = Producer::start(options, Arc::clone(&river) as _, Arc::new(clock.clone())).await.unwrap();
        let ledger = Arc::new(Ledger::new(100_000));
        let began = clock.now();
        for n in 0..20 {
            producer.put("t", &item(&format!("k{n}"), n), n, ledger.open(Line(n)).await.unwrap()).await.unwrap();
            ledger.drained().await;
        }
        // 20 records of a shard that takes 1,000 a second.
        assert!(clock.now().saturating_sub(began) <= Duration::from_millis(20), "something waited for more to come");
        let records = river.records();
        assert_eq!(records.len(), 20);
        assert!(records.iter().all(|record| record.data.starts_with(b"{")));

        // 100,000 items of 340 bytes are 34 s of a shard, which a record for each would make 100.
        let wide = "w".repeat(250);
        for n in 0..100_000u64 {
            let json = format!(r#"{{"id":{{"S":"k{n}"}},"w":{{"S":"{wide}"}}}}"#);
            let item = Checker::new(schema()).check(Bytes::from(json)).unwrap();
            let receipt = ledger.open(Line(n)).await.unwrap();
            producer.put("t", &item, 20 + n, receipt).await.unwrap();
        }
        ledger.drained().await;
        let took = clock.now().saturating_sub(began).as_secs_f64();
        let bytes: usize = river.records().iter().map(|record| record.data.len() + record.partition_key.len()).sum();
        let due = bytes as f64 / f64::from(1 << 20);
        let records = river.records().len();
        // It begins with a second's worth saved up.
        assert!((due - 1.0..due * 1.1).contains(&took), "{took} s for {due} MiB in {records} records");
        assert!(took < 40.0 && records < 100_000 / 8, "{took} s, {records} records");
        assert_eq!(numbers(&river.records()).len(), 100_020);
        assert!(river.records().iter().all(|record| record.data.len() <= 1 << 20));
    });
}

#[test]
fn a_key_has_one_hash_key_on_the_wire_aggregated_or_not() {
    let clock = ManualClock::default();
    clock.run(async {
        let mut met: HashMap<u64, HashSet<u128>> = HashMap::new();
        for aggregate in [true, false] {
            let river = Arc::new(River::new(16, Faults::default(), None));
            let options = ProducerOptions { aggregate, ..ProducerOptions::new("s", "r-1") };
            pour(&river, &clock, options, 0..3_000, 100).await;
            for reach in &*river.shards.lock().unwrap() {
                for n in numbers(&reach.records) {
                    met.entry(n % 100).or_default().insert(reach.shard.hash_keys.0);
                    // And it is the shard of the key's own hash: slices are finer than shards.
                    let hash = explicit_hash_key("t", &item(&format!("k{}", n % 100), n).key);
                    assert_eq!(hash / (u128::MAX / 16), reach.shard.hash_keys.0 / (u128::MAX / 16));
                }
            }
        }
        assert!(met.len() == 100 && met.values().all(|shards| shards.len() == 1));
    });
}
