//! What a writer makes of a table's faults.

use super::*;

#[test]
fn whatever_fails_on_the_way_every_item_is_written_and_the_last_version_stays() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(ALL);
        let writer = writer(&fake, &clock, |_| {});
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..3_200u64 {
            let receipt = ledger.open(Line(n)).await.unwrap();
            writer.put(item(&format!("k{}", n % 400), n), receipt).await.unwrap();
        }
        ledger.drained().await;
        let (counters, position) = ledger.mark();
        assert_eq!((counters.read, counters.written, counters.dead), (3_200, 3_200, 0));
        assert_eq!(position, Some(Line(3_199)));
        let effort = writer.effort();
        assert!(effort.retried > 0 && effort.throttled > 0 && effort.throttled <= effort.retried);
        writer.finish().await.unwrap();
        let versions = fake.versions();
        assert!((0..400).all(|k| versions[&format!("k{k}")] == 2_800 + k), "a later version was overwritten");
        let state = fake.state.lock().unwrap();
        assert!(state.history.values().all(|versions| versions.is_sorted()), "an earlier version came after a later");
    });
}

#[test]
fn an_unprocessed_item_is_sent_again_and_its_neighbours_are_not() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults { partial: 0.3, ..Faults::default() });
        let writer = writer(&fake, &clock, |options| options.lanes = 1);
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..200u64 {
            writer.put(item(&format!("k{n}"), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        ledger.drained().await;
        let sent: usize = fake.state.lock().unwrap().requests.iter().map(Vec::len).sum();
        assert_eq!(sent as u64, 200 + writer.effort().retried);
        assert!(fake.state.lock().unwrap().history.values().all(|versions| versions.len() == 1));
        assert!((writer.effort().wcu - 200.0).abs() < f64::EPSILON);
    });
}

#[test]
fn a_poison_item_is_a_dead_letter_its_neighbours_are_written_and_the_version_before_it_stays() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::poisoned(Faults::default(), &["k7"]);
        let writer = writer(&fake, &clock, |options| options.lanes = 1);
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..30u64 {
            writer.put(item(&format!("k{n}"), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        ledger.drained().await;
        let settled = ledger.take_settled();
        assert_eq!((settled.counters.written, settled.counters.dead), (29, 1));
        let letter = &settled.letters[0];
        assert_eq!((letter.line, letter.reason.as_str()), (Some(7), "type mismatch for index key"));
        assert_eq!(letter.payload, item("k7", 7).json);
        assert_eq!(fake.versions().len(), 29);
    });
}

#[test]
fn a_record_that_the_service_fails_on_again_and_again_is_a_dead_letter_after_twenty_tries() {
    for class in [Class::Transient, Class::Unknown] {
        let clock = ManualClock::default();
        clock.run(async {
            let fake = Fake::refusing(Faults::default(), &["k7"], class);
            let writer = writer(&fake, &clock, |_| {});
            // The window is full long before the last try: those behind it wait for it.
            let ledger = Arc::new(Ledger::new(500));
            for n in 0..3_000u64 {
                let receipt = ledger.open(Line(n)).await.unwrap();
                writer.put(item(&format!("k{n}"), n), receipt).await.unwrap();
            }
            ledger.drained().await;
            let settled = ledger.take_settled();
            assert_eq!((settled.counters.written, settled.letters.len()), (2_999, 1), "its neighbours are written");
            let letter = &settled.letters[0];
            assert_eq!(letter.line, Some(7));
            assert!(letter.reason.starts_with("failed 20 times while others got through"), "{}", letter.reason);
            let tries = fake.state.lock().unwrap().requests.iter().filter(|ids| ids.contains(&"k7".into())).count();
            assert!((20..=26).contains(&tries), "{tries}");
            assert!((10..120).contains(&clock.now().as_secs()), "{:?}", clock.now());
        });
    }
}

#[test]
fn in_an_outage_no_record_is_given_up() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let writer = writer(&fake, &clock, |_| {});
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..300u64 {
            if n == 100 {
                ledger.drained().await;
                *fake.down.lock().unwrap() = Some(error(Class::Unknown, "down"));
            }
            writer.put(item(&format!("k{n}"), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        clock.sleep(Duration::from_mins(10)).await;
        *fake.down.lock().unwrap() = None;
        ledger.drained().await;
        let counters = ledger.mark().0;
        assert_eq!((counters.written, counters.dead), (300, 0));
    });
}

#[test]
fn a_later_version_takes_the_place_of_one_that_waits() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let writer = writer(&fake, &clock, |options| options.lanes = 1);
        writer.pacer().hold(true);
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..60u64 {
            writer.put(item(&format!("k{}", n % 2), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
            tokio::task::yield_now().await;
        }
        writer.pacer().hold(false);
        ledger.drained().await;
        let counters = ledger.mark().0;
        assert_eq!((counters.read, counters.written), (60, 60));
        let sent: usize = fake.state.lock().unwrap().requests.iter().map(Vec::len).sum();
        assert_eq!(counters.replaced, 60 - sent as u64);
        assert!(counters.replaced >= 50, "{}", counters.replaced);
        assert_eq!(fake.versions(), HashMap::from([("k0".into(), 58), ("k1".into(), 59)]));
    });
}

#[test]
fn a_put_whose_place_a_delete_took_counts_as_written_for_the_table_too() {
    let clock = ManualClock::default();
    clock.run(async {
        let writer = writer(&Fake::new(Faults::default()), &clock, |options| options.lanes = 1);
        writer.pacer().hold(true);
        let ledger = Arc::new(Ledger::new(500));
        writer.put(item("held", 0), ledger.open(Line(0)).await.unwrap()).await.unwrap();
        writer.put(item("k", 1), ledger.open(Line(1)).await.unwrap()).await.unwrap();
        writer.delete(item("k", 2).key, ledger.open(Line(2)).await.unwrap()).await.unwrap();
        writer.pacer().hold(false);
        ledger.drained().await;
        let (all, of_table) = (ledger.mark().0, writer.outcomes());
        assert_eq!((all.written, all.deleted), (2, 1));
        assert_eq!((of_table.written, of_table.deleted), (2, 1));
    });
}

#[test]
fn items_that_exist_are_left_alone_when_asked() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let writer = writer(&fake, &clock, |options| options.if_not_exists = true);
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..50u64 {
            writer.put(item(&format!("k{}", n % 10), n), ledger.open(Line(n)).await.unwrap()).await.unwrap();
        }
        ledger.drained().await;
        let counters = ledger.mark().0;
        assert_eq!((counters.written, counters.skipped), (10, 40));
        assert!(fake.versions().values().all(|version| *version < 10));
    });
}

#[test]
fn deletes_and_puts_of_a_key_keep_their_order() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults { partial: 0.3, reset: 0.1, ..Faults::default() });
        let writer = writer(&fake, &clock, |_| {});
        let ledger = Arc::new(Ledger::new(500));
        for n in 0..400u64 {
            let (id, receipt) = (format!("k{}", n % 20), ledger.open(Line(n)).await.unwrap());
            let item = item(&id, n);
            if n / 20 % 2 == 1 && n % 3 == 0 {
                writer.delete(item.key, receipt).await.unwrap();
            } else {
                writer.put(item, receipt).await.unwrap();
            }
        }
        ledger.drained().await;
        let counters = ledger.mark().0;
        assert_eq!(counters.written + counters.deleted, 400);
        // The last round, 380..400, deletes every third number.
        let left: HashSet<u64> = fake.versions().values().copied().collect();
        assert_eq!(left, (380..400).filter(|n| n % 3 != 0).collect());
    });
}

#[test]
fn a_wrong_endpoint_is_told_within_ten_seconds_and_refused_credentials_at_once() {
    for (class, most) in [(Class::Transient, 10), (Class::Auth, 0), (Class::NotFound, 0), (Class::ReadOnly, 0)] {
        let clock = ManualClock::default();
        clock.run(async {
            let fake = Fake::new(Faults::default());
            *fake.down.lock().unwrap() = Some(error(class, "down"));
            let writer = writer(&fake, &clock, |_| {});
            let ledger = Arc::new(Ledger::new(500));
            writer.put(item("k", 1), ledger.open(Line(1)).await.unwrap()).await.unwrap();
            assert_eq!(writer.failed().await.class, class);
            assert!(clock.now() <= Duration::from_secs(most), "{:?}", clock.now());
            // What was not written stays open: it is read again.
            assert_eq!((ledger.open_records(), ledger.mark().1), (1, None));
            assert_eq!(writer.finish().await.unwrap_err().class, class);
        });
    }
}

#[test]
fn an_outage_of_minutes_is_borne() {
    let clock = ManualClock::default();
    clock.run(async {
        let fake = Fake::new(Faults::default());
        let writer = writer(&fake, &clock, |_| {});
        let ledger = Arc::new(Ledger::new(500));
        writer.put(item("k", 1), ledger.open(Line(1)).await.unwrap()).await.unwrap();
        ledger.drained().await;
        *fake.down.lock().unwrap() = Some(error(Class::Transient, "down"));
        writer.put(item("k", 2), ledger.open(Line(2)).await.unwrap()).await.unwrap();
        clock.sleep(Duration::from_mins(10)).await;
        *fake.down.lock().unwrap() = None;
        ledger.drained().await;
        assert_eq!(fake.versions()["k"], 2);
    });
}
