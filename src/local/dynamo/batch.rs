//! Batches: what there is capacity for is done, the rest comes back unprocessed; only a batch that is refused whole is
//! an error.

use std::collections::{BTreeMap, HashMap};

use dynoxide::Database;
use dynoxide::actions::batch_get_item::{BatchGetItemRequest, BatchGetItemResponse, KeysAndAttributes};
use dynoxide::actions::batch_write_item::{BatchWriteItemRequest, BatchWriteItemResponse, WriteRequest};
use dynoxide::types::ConsumedCapacity;
use serde_json::{Value, json};

use super::items::{ask, trim_all};
use super::streams::capture::Watch;
use super::table::{Throttle, Use};
use super::wire::{Outcome, parse, written};
use super::{Dynamo, Handle, lock, throttled};
use crate::local::faults::Fault;
use crate::local::throughput::Direction::{self, Read, Write};

/// Entries of a batch that were admitted, by table.
type Admitted = BTreeMap<String, (Handle, Vec<Use>)>;

/// What becomes of a batch while it is admitted, entry by entry.
struct Admission<'a> {
    dynamo: &'a Dynamo,
    direction: Direction,
    forced: bool,
    /// Entries to send back by a fault, in order.
    failing: std::vec::IntoIter<bool>,
    admitted: Admitted,
    throttles: Vec<(String, Throttle)>,
    passed: usize,
    failed: usize,
}

impl<'a> Admission<'a> {
    fn new(dynamo: &'a Dynamo, direction: Direction, entries: usize, may_fail: bool) -> Self {
        let failing = if may_fail { dynamo.faults.partial(entries) } else { None };
        Self {
            dynamo,
            direction,
            forced: dynamo.faults.roll(Fault::Throttle),
            failing: failing.unwrap_or_default().into_iter(),
            admitted: BTreeMap::new(),
            throttles: Vec::new(),
            passed: 0,
            failed: 0,
        }
    }

    /// Whether an entry goes through. `access` is worked out only where limits are on.
    fn admit(&mut self, name: &str, handle: Option<&Handle>, access: impl FnOnce(&super::Table) -> Use) -> bool {
        if self.failing.next() == Some(true) {
            self.failed += 1;
            return false;
        }
        self.passed += 1;
        let Some(handle) = handle.filter(|_| self.forced || self.dynamo.limits) else { return true };
        let access = access(&lock(handle));
        match self.dynamo.admit(handle, self.direction, &access, self.forced) {
            Ok(()) => {
                if let Some((_, uses)) = self.admitted.get_mut(name) {
                    uses.push(access);
                }
                true
            }
            Err(throttle) => {
                self.passed -= 1;
                self.throttles.push((name.to_owned(), throttle));
                false
            }
        }
    }

    /// Nothing went through, and throughput was the reason.
    fn refused_whole(&self) -> bool {
        self.passed == 0 && self.failed == 0 && !self.throttles.is_empty()
    }

    fn refusal(&self, operation: &str) -> super::Failure {
        let mut names: Vec<_> = self.throttles.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        for name in names {
            self.dynamo.measure_refused_request(name, operation);
        }
        let throttles: Vec<_> = self.throttles.iter().map(|(_, throttle)| throttle.clone()).collect();
        throttled(self.direction, &throttles)
    }
}

impl Dynamo {
    pub(super) async fn batch_write(&self, body: &[u8]) -> Outcome {
        let mut request: BatchWriteItemRequest = parse("BatchWriteItem", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let entries = request.request_items.values().map(Vec::len).sum();
        let mut admission = Admission::new(self, Write, entries, true);
        let mut unprocessed: HashMap<String, Value> = HashMap::new();
        // Sorted, so that the same seed fails the same entries.
        let mut names: Vec<String> = request.request_items.keys().cloned().collect();
        names.sort();
        for name in names {
            let Some(writes) = request.request_items.get_mut(&name) else { continue };
            let handle = self.table(&name);
            if let Some(handle) = &handle {
                admission.admitted.insert(name.clone(), (Handle::clone(handle), Vec::new()));
            }
            let mut back = Vec::new();
            writes.retain(|write| {
                let passed = admission.admit(&name, handle.as_ref(), |table| {
                    match (&write.put_request, &write.delete_request) {
                        (Some(put), _) => table.put(&put.item),
                        (None, Some(delete)) => table.change(&delete.key),
                        // Neither: the engine refuses the request.
                        (None, None) => table.change(&HashMap::new()),
                    }
                });
                if !passed {
                    back.push(as_json(write));
                }
                passed
            });
            if !back.is_empty() {
                unprocessed.insert(name, Value::Array(back));
            }
        }
        if admission.refused_whole() {
            return Err(admission.refusal("BatchWriteItem"));
        }
        let admitted = admission.admitted;
        if !unprocessed.is_empty() {
            request.request_items.retain(|_, writes| !writes.is_empty());
        }
        let mut reply = if request.request_items.is_empty() && !unprocessed.is_empty() {
            BatchWriteItemResponse::default()
        } else {
            let watch = Watch::new(&self.streams);
            let call = move |database: &Database| {
                watch.batch(&request).around(database, |database| database.batch_write_item(request))
            };
            self.run_batch(Write, &admitted, call).await?
        };
        self.bill_batch(Write, &admitted, reply.consumed_capacity.as_deref());
        trim_all(&mut reply.consumed_capacity, asked.as_deref());
        reply.unprocessed_items = unprocessed;
        written(&reply)
    }

    pub(super) async fn batch_get(&self, body: &[u8]) -> Outcome {
        let mut request: BatchGetItemRequest = parse("BatchGetItem", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let entries = request.request_items.values().map(|it| it.keys.len()).sum();
        let mut admission = Admission::new(self, Read, entries, false);
        let mut unprocessed: HashMap<String, Value> = HashMap::new();
        for (name, wanted) in &mut request.request_items {
            let handle = self.table(name);
            if let Some(handle) = &handle {
                admission.admitted.insert(name.clone(), (Handle::clone(handle), Vec::new()));
            }
            let consistent = wanted.consistent_read == Some(true);
            let mut back = Vec::new();
            wanted.keys.retain(|key| {
                let passed = admission.admit(name, handle.as_ref(), |table| table.get(key, consistent));
                if !passed {
                    back.push(json!(key));
                }
                passed
            });
            if !back.is_empty() {
                unprocessed.insert(name.clone(), keys_back(wanted, &back));
            }
        }
        if admission.refused_whole() {
            return Err(admission.refusal("BatchGetItem"));
        }
        let admitted = admission.admitted;
        // A table whose keys all came back must not reach the engine, which refuses an empty list; one that was empty
        // from the start must.
        request.request_items.retain(|name, wanted| !wanted.keys.is_empty() || !unprocessed.contains_key(name));
        let mut reply = if request.request_items.is_empty() && !unprocessed.is_empty() {
            BatchGetItemResponse::default()
        } else {
            self.run_batch(Read, &admitted, move |database| database.batch_get_item(request)).await?
        };
        self.bill_batch(Read, &admitted, reply.consumed_capacity.as_deref());
        trim_all(&mut reply.consumed_capacity, asked.as_deref());
        // The engine has its own reason to return keys: a reply stops at 16 MB.
        for (name, keys) in unprocessed {
            match reply.unprocessed_keys.get_mut(&name).and_then(|it| it["Keys"].as_array_mut()) {
                Some(known) => known.extend(keys["Keys"].as_array().into_iter().flatten().cloned()),
                None => drop(reply.unprocessed_keys.insert(name, keys)),
            }
        }
        written(&reply)
    }

    async fn run_batch<A: Send + 'static>(
        &self,
        direction: Direction,
        admitted: &Admitted,
        call: impl FnOnce(&Database) -> dynoxide::Result<A> + Send + 'static,
    ) -> Result<A, super::Failure> {
        let result = self.engine.run(call).await;
        result.map_err(|error| {
            for (handle, uses) in admitted.values() {
                self.bill_failure(handle, direction, uses, &error);
            }
            error.into()
        })
    }

    fn bill_batch(&self, direction: Direction, admitted: &Admitted, capacities: Option<&[ConsumedCapacity]>) {
        for capacity in capacities.into_iter().flatten() {
            if let Some((handle, uses)) = admitted.get(&capacity.table_name) {
                self.bill(handle, direction, uses, Some(capacity));
            }
        }
    }
}

/// A write as it came in.
fn as_json(write: &WriteRequest) -> Value {
    match (&write.put_request, &write.delete_request) {
        (Some(put), _) => json!({"PutRequest": {"Item": put.item}}),
        (None, Some(delete)) => json!({"DeleteRequest": {"Key": delete.key}}),
        (None, None) => json!({}),
    }
}

/// Keys to be asked for again, with everything that was said about how to read them.
fn keys_back(wanted: &KeysAndAttributes, keys: &[Value]) -> Value {
    let mut back = json!({"Keys": keys});
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            back[name] = value;
        }
    };
    set("ProjectionExpression", json!(wanted.projection_expression));
    set("ExpressionAttributeNames", json!(wanted.expression_attribute_names));
    set("ConsistentRead", json!(wanted.consistent_read));
    set("AttributesToGet", json!(wanted.attributes_to_get));
    back
}
