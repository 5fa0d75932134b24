use std::collections::VecDeque;

use futures::future::join_all;

use super::super::clock::ManualClock;
use super::*;

/// Answers in order, with the clock's time at which each was asked for.
#[derive(Debug)]
struct Script {
    clock: ManualClock,
    answers: Mutex<VecDeque<Result<Bytes, CloudError>>>,
    asked: Mutex<Vec<(Duration, String)>>,
}

impl Script {
    fn new(clock: &ManualClock, answers: impl IntoIterator<Item = Result<Bytes, CloudError>>) -> Arc<Self> {
        Arc::new(Self {
            clock: clock.clone(),
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<(Duration, String)> {
        self.asked.lock().unwrap().clone()
    }
}

impl TableScan for Script {
    fn scan(&self, body: Bytes) -> BoxFuture<'_, Result<Bytes, CloudError>> {
        self.asked.lock().unwrap().push((self.clock.now(), String::from_utf8(body.to_vec()).unwrap()));
        let answer = self.answers.lock().unwrap().pop_front().expect("no more answers were written down");
        async move { answer }.boxed()
    }
}

fn reply(items: usize, rcu: f64, after: Option<&str>) -> Result<Bytes, CloudError> {
    let all = vec![r#"{"id":{"S":"x"}}"#; items].join(",");
    let after = after.map_or(String::new(), |key| format!(r#","LastEvaluatedKey":{key}"#));
    Ok(Bytes::from(format!(
        r#"{{"Items":[{all}],"Count":{items},"ScannedCount":{items},"ConsumedCapacity":{{"TableName":"t","CapacityUnits":{rcu}}}{after}}}"#
    )))
}

fn refused(class: Class) -> Result<Bytes, CloudError> {
    Err(CloudError::new(class, "refused", ""))
}

fn scanner(table: Arc<Script>, clock: &ManualClock, budget: Option<f64>) -> Scanner {
    let options = ScanOptions { table: "t".into(), segments: 4, consistent: true };
    Scanner::new(table, options, budget, Arc::new(clock.clone()))
}

#[test]
fn a_number_keeps_every_digit_and_an_item_its_bytes() {
    let item = r#"{"n":{"N":"1.10"},"id":{"S":"é \" \\ x"},"big":{"N":"12345678901234567890123456789012345678"}}"#;
    let body = Bytes::from(format!(
        r#"{{"Count":1,"Items":[{item}],"LastEvaluatedKey":{{"id":{{"N":"1.0"}}}},"ScannedCount":1}}"#
    ));
    let page = ScanPage::parse("t", &body).unwrap();
    assert_eq!(page.items, [item]);
    assert_eq!(page.after.unwrap(), r#"{"id":{"N":"1.0"}}"#);
}

#[test]
fn a_reply_that_is_cut_or_counts_other_items_is_no_page() {
    let whole = reply(3, 1.0, None).unwrap();
    assert!(ScanPage::parse("t", &whole).is_ok());
    for cut in 0..whole.len() {
        let error = ScanPage::parse("t", &whole.slice(..cut)).unwrap_err();
        assert!(error.class.is_retryable(), "{error}");
    }
    let fewer = String::from_utf8(whole.to_vec()).unwrap().replace("\"ScannedCount\":3", "\"ScannedCount\":4");
    assert!(
        ScanPage::parse("t", &fewer.into())
            .unwrap_err()
            .to_string()
            .contains("holds 3 items, and counts 3 of 4 scanned")
    );
}

#[test]
fn a_page_is_asked_for_after_the_key_that_the_last_one_ended_with_as_it_was_written() {
    let clock = ManualClock::default();
    clock.run(async {
        let table = Script::new(&clock, [reply(1, 1.0, Some(r#"{"id":{"N":"1.0"}}"#)), reply(0, 0.5, None)]);
        let scanner = scanner(Arc::clone(&table), &clock, None);
        let first = scanner.page(2, None).await.unwrap();
        assert_eq!(scanner.page(2, first.after.as_ref()).await.unwrap().after, None);
        let asked = table.asked();
        assert!(asked[0].1.contains(r#""Segment":2,"TotalSegments":4,"ConsistentRead":true"#), "{}", asked[0].1);
        assert!(asked[1].1.ends_with(r#","ExclusiveStartKey":{"id":{"N":"1.0"}}}"#), "{}", asked[1].1);
        assert_eq!((scanner.counters().read, scanner.counters().rcu), (1, 1.5));
    });
}

/// The original's pause of ten seconds on a throttle went by without pausing.
#[test]
fn a_throttled_page_is_asked_for_again_only_after_the_pause_and_counted() {
    let clock = ManualClock::default();
    clock.run(async {
        let mut answers: Vec<_> = (0..8).map(|_| refused(Class::Throttled)).collect();
        answers.push(reply(1, 1.0, None));
        let table = Script::new(&clock, answers);
        let scanner = scanner(Arc::clone(&table), &clock, None);
        scanner.page(0, None).await.unwrap();
        let asked = table.asked();
        assert_eq!(asked.len(), 9);
        let paused = asked[8].0.checked_sub(asked[0].0).unwrap();
        assert!(paused > Duration::from_millis(500), "eight throttles paused for {paused:?} in all");
        assert!(asked.windows(2).all(|pair| pair[1].0 > pair[0].0), "each pause takes time: {asked:?}");
        assert_eq!(scanner.counters().throttled, 8);
        assert!((scanner.times().throttled - paused.as_secs_f64()).abs() < 0.01);
    });
}

#[test]
fn what_can_never_succeed_is_told_at_once_and_what_may_pass_is_tried_again() {
    let clock = ManualClock::default();
    clock.run(async {
        let table = Script::new(&clock, [refused(Class::Transient), reply(1, 1.0, None), refused(Class::Auth)]);
        let scanner = scanner(Arc::clone(&table), &clock, None);
        scanner.page(0, None).await.unwrap();
        assert_eq!(scanner.counters().retried, 1);
        assert_eq!(scanner.page(0, None).await.unwrap_err().class, Class::Auth);
    });
}

#[test]
fn segments_side_by_side_keep_to_the_budget_and_their_pages_are_cut_to_it() {
    let clock = ManualClock::default();
    clock.run(async {
        // Items of half a unit, pages as large as they are asked for.
        #[derive(Debug)]
        struct Table(Mutex<f64>);
        impl TableScan for Table {
            fn scan(&self, body: Bytes) -> BoxFuture<'_, Result<Bytes, CloudError>> {
                let asked: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let items = asked["Limit"].as_u64().expect("a small budget cuts pages") as usize;
                *self.0.lock().unwrap() += items as f64 / 2.0;
                async move { reply(items, items as f64 / 2.0, Some("{}")) }.boxed()
            }
        }
        let table = Arc::new(Table(Mutex::new(0.0)));
        let options = ScanOptions { table: "t".into(), segments: 4, consistent: true };
        let scanner =
            Scanner::new(Arc::clone(&table) as Arc<dyn TableScan>, options, Some(20.0), Arc::new(clock.clone()));
        let pages = (0..4).map(|segment| {
            let scanner = &scanner;
            async move {
                for _ in 0..20 {
                    scanner.page(segment, None).await.unwrap();
                }
            }
        });
        join_all(pages).await;
        let (used, seconds) = (*table.0.lock().unwrap(), clock.now().as_secs_f64());
        let last = 20.0;
        assert!((used - last) / seconds <= 20.5, "{used} RCU in {seconds} s");
        assert!(used / seconds >= 19.0, "{used} RCU in {seconds} s");
    });
}

#[test]
fn a_held_scan_asks_for_nothing_until_it_is_let_go() {
    let clock = ManualClock::default();
    clock.run(async {
        let table = Script::new(&clock, [reply(1, 1.0, None)]);
        let scanner = scanner(Arc::clone(&table), &clock, None);
        scanner.hold(true);
        let page = scanner.page(0, None);
        tokio::pin!(page);
        assert!(futures::poll!(&mut page).is_pending());
        assert!(table.asked().is_empty());
        scanner.hold(false);
        page.await.unwrap();
        assert_eq!(table.asked().len(), 1);
    });
}
