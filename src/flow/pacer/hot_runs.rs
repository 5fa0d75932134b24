//! A writer on a table with a hot key: the rest of the table goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;

use super::hot::Cause;
use super::simulated::Table;
use crate::cloud::{Class, CloudError, ThrottlingReason};
use crate::flow::clock::ManualClock;
use crate::flow::ledger::tests::Line;
use crate::flow::*;
use crate::item::{Checked, Checker, Key, KeyAttr, KeyKind, KeySchema};

fn schema() -> KeySchema {
    KeySchema {
        partition: KeyAttr { name: "id".into(), kind: KeyKind::S },
        sort: Some(KeyAttr { name: "n".into(), kind: KeyKind::N }),
    }
}

fn key(item: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let attributes = HashMap::from([
        ("id".to_owned(), AttributeValue::S(text(&item["id"]["S"]))),
        ("n".to_owned(), AttributeValue::N(text(&item["n"]["N"]))),
    ]);
    Key::of_attributes(&schema(), &attributes).unwrap()
}

fn item(id: &str, n: u64, version: u64) -> Checked {
    let json = format!(r#"{{"id":{{"S":"{id}"}},"n":{{"N":"{n}"}},"v":{{"N":"{version}"}}}}"#);
    Checker::new(schema()).check(Bytes::from(json)).unwrap()
}

/// A table behind 8 ms of network, which gives reasons or, as old endpoints, none.
struct Service {
    clock: ManualClock,
    table: Mutex<Table>,
    gives_reasons: bool,
    /// Written of the hot key and of others in each second, and the versions of each item of the hot key in order.
    seconds: Mutex<Vec<(u64, u64)>>,
    refused: Mutex<u64>,
    versions: Mutex<HashMap<u64, Vec<u64>>>,
}

impl TablePut for Service {
    fn batch(&self, body: Bytes) -> BoxFuture<'_, Result<BatchReply, CloudError>> {
        async move {
            self.clock.sleep(Duration::from_millis(4)).await;
            let now = self.clock.now();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let requests = body["RequestItems"]["t"].as_array().unwrap();
            let mut reply = BatchReply::default();
            let mut causes = Vec::new();
            for request in requests {
                let item = &request["PutRequest"]["Item"];
                let is_hot = item["id"]["S"] == "hot";
                let cause = self.table.lock().unwrap().write_one(now, key(item).partition_hash());
                if cause != Cause::Unsaid {
                    causes.push(cause);
                    reply.unprocessed.push(key(item));
                    continue;
                }
                let mut seconds = self.seconds.lock().unwrap();
                let second = now.as_secs() as usize;
                if seconds.len() <= second {
                    seconds.resize(second + 1, (0, 0));
                }
                if is_hot {
                    seconds[second].0 += 1;
                    let number = |name: &str| item[name]["N"].as_str().unwrap().parse::<u64>().unwrap();
                    self.versions.lock().unwrap().entry(number("n")).or_default().push(number("v"));
                } else {
                    seconds[second].1 += 1;
                }
            }
            *self.refused.lock().unwrap() += causes.len() as u64;
            let passed = requests.len() - causes.len();
            reply.consumed = Some(Consumed { table: passed as f64, indexes: Vec::new() });
            self.clock.sleep(Duration::from_millis(4)).await;
            if passed > 0 {
                return Ok(reply);
            }
            let reasons = causes.iter().filter(|_| self.gives_reasons).map(|cause| ThrottlingReason {
                reason: match cause {
                    Cause::Partition => "TableWriteKeyRangeThroughputExceeded",
                    _ => "TableWriteProvisionedThroughputExceeded",
                }
                .to_owned(),
                resource: "arn:aws:dynamodb:eu-west-1:000000000000:table/t".to_owned(),
            });
            let error = CloudError::new(Class::Throttled, "throttled", "");
            Err(CloudError { reasons: reasons.collect(), ..error })
        }
        .boxed()
    }

    fn put(&self, _: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async { unreachable!("nothing here has a condition") }.boxed()
    }

    fn delete(&self, _: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
        async { unreachable!("nothing here is deleted") }.boxed()
    }
}

struct Outcome {
    /// Of the hot key and of others, a second.
    hot: f64,
    others: f64,
    refused: f64,
    limit: Limit,
    versions: HashMap<u64, Vec<u64>>,
}

/// Restores for `seconds` into 2,500 WCU in three partitions; one of `every` items is of the hot key.
fn run(gives_reasons: bool, every: u64, seconds: u64) -> Outcome {
    let clock = ManualClock::default();
    clock.run(async {
        let service = Arc::new(Service {
            clock: clock.clone(),
            table: Mutex::new(Table::busy(2_500.0).with_partitions(3)),
            gives_reasons,
            seconds: Mutex::default(),
            refused: Mutex::default(),
            versions: Mutex::default(),
        });
        let time: Arc<dyn Clock> = Arc::new(clock.clone());
        let pacer = Arc::new(Pacer::new(Arc::clone(&time)));
        pacer.set_provisioned(Some(Provisioned { table: 2_500.0, indexes: Vec::new() }));
        let options = WriterOptions::new("t", "id");
        let writer = Writer::start(options, Arc::clone(&service) as _, pacer, time);
        let ledger = Arc::new(Ledger::new(50_000));
        let mut n = 0;
        while clock.now() < Duration::from_secs(seconds) {
            // The hot key's items come in several versions, which must stay in order.
            let item = if n % every == 0 { item("hot", n / every % 400, n) } else { item(&format!("k{n}"), 0, n) };
            writer.put(item, ledger.open(Line(n)).await.unwrap()).await.unwrap();
            n += 1;
        }
        let limit = writer.limit();
        let last: Vec<(u64, u64)> = service.seconds.lock().unwrap().iter().skip(8).copied().collect();
        let time = clock.now().as_secs_f64() - 8.0;
        let refused = *service.refused.lock().unwrap() as f64 / n as f64;
        let versions = service.versions.lock().unwrap().clone();
        Outcome {
            hot: last.iter().map(|second| second.0).sum::<u64>() as f64 / time,
            others: last.iter().map(|second| second.1).sum::<u64>() as f64 / time,
            refused,
            limit,
            versions,
        }
    })
}

#[test]
fn a_hot_key_is_slowed_down_and_the_rest_of_the_table_goes_on() {
    for gives_reasons in [true, false] {
        let outcome = run(gives_reasons, 5, 18);
        let Outcome { hot, others, refused, ref limit, .. } = outcome;
        let said = format!("reasons {gives_reasons}: hot {hot:.0}, others {others:.0}, refused {refused:.4}, {limit}");
        // Others alone take 2,000 a second where the hot key has a fifth of 2,500.
        assert!(others >= 2_000.0, "{said}");
        assert!(hot >= 100.0, "{said}");
        assert!(refused < 0.05, "{said}");
        assert!(outcome.versions.values().all(|versions| versions.is_sorted()), "out of order; {said}");
    }
}

#[test]
fn without_a_hot_key_none_is_found() {
    let outcome = run(true, u64::MAX, 14);
    assert!(outcome.others >= 0.97 * 2_500.0, "{}", outcome.others);
    assert_eq!(outcome.limit.to_string(), "table write capacity, 2500 WCU");
}
