//! Reads and writes of items: admitted by the table, run by the engine, billed by what they came to.

use std::collections::HashMap;

use dynoxide::actions::delete_item::DeleteItemRequest;
use dynoxide::actions::get_item::GetItemRequest;
use dynoxide::actions::put_item::PutItemRequest;
use dynoxide::actions::query::QueryRequest;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::actions::transact_get_items::TransactGetItemsRequest;
use dynoxide::actions::transact_write_items::{TransactWriteItem, TransactWriteItemsRequest};
use dynoxide::actions::update_item::UpdateItemRequest;
use dynoxide::errors::CancellationReason;
use dynoxide::types::ConsumedCapacity;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;

use super::streams::capture::Watch;
use super::table::{Table, Throttle, Use, hash};
use super::wire::{Outcome, enveloped, parse, written};
use super::{Dynamo, Handle, TABLE_FULL, lock, throttled};
use crate::local::faults::Fault;
use crate::local::throughput::Direction::{self, Read, Write};

/// A request for one table, before it is admitted.
struct Request<'a> {
    operation: &'a str,
    direction: Direction,
    /// The table and what the request takes; `None` for a table that is not there, which the engine will say.
    at: Option<(Handle, Use)>,
    /// The consumed capacity that the client wants to see.
    asked: Option<String>,
}

impl Dynamo {
    pub(super) async fn put_item(&self, body: &[u8]) -> Outcome {
        let mut request: PutItemRequest = parse("PutItem", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let at = self.at(&request.table_name, |table| table.put(&request.item));
        let watch = Watch::new(&self.streams);
        let call = move |database: &Database| {
            watch.put(&request.table_name, &request.item).around(database, |database| database.put_item(request))
        };
        self.metered(Request { operation: "PutItem", direction: Write, at, asked }, call, |it| {
            &mut it.consumed_capacity
        })
        .await
    }

    pub(super) async fn update_item(&self, body: &[u8]) -> Outcome {
        let mut request: UpdateItemRequest = parse("UpdateItem", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let at = self.at(&request.table_name, |table| table.change(&request.key));
        let watch = Watch::new(&self.streams);
        let call = move |database: &Database| {
            watch.update(&request.table_name, &request.key).around(database, |database| database.update_item(request))
        };
        self.metered(Request { operation: "UpdateItem", direction: Write, at, asked }, call, |it| {
            &mut it.consumed_capacity
        })
        .await
    }

    pub(super) async fn delete_item(&self, body: &[u8]) -> Outcome {
        let mut request: DeleteItemRequest = parse("DeleteItem", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let at = self.at(&request.table_name, |table| table.change(&request.key));
        let watch = Watch::new(&self.streams);
        let call = move |database: &Database| {
            watch.delete(&request.table_name, &request.key).around(database, |database| database.delete_item(request))
        };
        self.metered(Request { operation: "DeleteItem", direction: Write, at, asked }, call, |it| {
            &mut it.consumed_capacity
        })
        .await
    }

    pub(super) async fn get_item(&self, body: &[u8]) -> Outcome {
        let mut request: GetItemRequest = parse("GetItem", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let consistent = request.consistent_read == Some(true);
        let at = self.at(&request.table_name, |table| table.get(&request.key, consistent));
        let call = move |database: &Database| database.get_item(request);
        self.metered(Request { operation: "GetItem", direction: Read, at, asked }, call, |it| &mut it.consumed_capacity)
            .await
    }

    pub(super) async fn query(&self, body: &[u8]) -> Outcome {
        let mut request: QueryRequest = parse("Query", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let at = self.at(&request.table_name, |table| {
            let index = request.index_name.as_deref();
            let partition = queried_partition(&request, table.partition_key(index));
            table.search(index, partition, request.consistent_read == Some(true))
        });
        let call = move |database: &Database| database.query(request);
        self.metered(Request { operation: "Query", direction: Read, at, asked }, call, |it| &mut it.consumed_capacity)
            .await
    }

    pub(super) async fn scan(&self, body: &[u8]) -> Outcome {
        let mut request: ScanRequest = parse("Scan", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let at = self.at(&request.table_name, |table| {
            table.search(request.index_name.as_deref(), None, request.consistent_read == Some(true))
        });
        let call = move |database: &Database| {
            let unfiltered = request.filter_expression.is_none() && request.scan_filter.is_none();
            let mut reply = database.scan(request)?;
            if unfiltered {
                // The engine counts the item too that no longer fitted the page.
                reply.scanned_count = reply.count;
            }
            Ok(reply)
        };
        self.metered(Request { operation: "Scan", direction: Read, at, asked }, call, |it| &mut it.consumed_capacity)
            .await
    }

    pub(super) async fn transact_write(&self, body: &[u8]) -> Outcome {
        let mut request: TransactWriteItemsRequest = parse("TransactWriteItems", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let uses = request.transact_items.iter().map(|item| self.transacted(item)).collect();
        let watch = Watch::new(&self.streams);
        let call = move |database: &Database| {
            watch
                .transaction(&request.transact_items)
                .around(database, |database| database.transact_write_items(request))
        };
        self.transaction("TransactWriteItems", Write, uses, asked, call, |it| &mut it.consumed_capacity).await
    }

    pub(super) async fn transact_get(&self, body: &[u8]) -> Outcome {
        let mut request: TransactGetItemsRequest = parse("TransactGetItems", body)?;
        let asked = ask(&mut request.return_consumed_capacity);
        let uses = request
            .transact_items
            .iter()
            .map(|item| self.at(&item.get.table_name, |table| twice(table.get(&item.get.key, true))))
            .collect();
        let call = move |database: &Database| database.transact_get_items(request);
        self.transaction("TransactGetItems", Read, uses, asked, call, |it| &mut it.consumed_capacity).await
    }

    fn at(&self, table: &str, access: impl FnOnce(&Table) -> Use) -> Option<(Handle, Use)> {
        let handle = self.table(table)?;
        let access = access(&lock(&handle));
        Some((handle, access))
    }

    async fn metered<A: Serialize + Send + 'static>(
        &self,
        request: Request<'_>,
        call: impl FnOnce(&Database) -> dynoxide::Result<A> + Send + 'static,
        capacity: impl Fn(&mut A) -> &mut Option<ConsumedCapacity>,
    ) -> Outcome {
        let Request { operation, direction, at, asked } = request;
        let Some((handle, access)) = at else {
            return written(&self.engine.run(call).await?);
        };
        let forced = self.faults.roll(Fault::Throttle);
        if let Err(throttle) = self.admit(&handle, direction, &access, forced) {
            self.measure_refused_request(&lock(&handle).name, operation);
            return Err(throttled(direction, &[throttle]));
        }
        let result = self.engine.run(call).await;
        match result {
            Ok(mut reply) => {
                let capacity = capacity(&mut reply);
                self.bill(&handle, direction, &[access], capacity.as_ref());
                trim(capacity, asked.as_deref());
                written(&reply)
            }
            Err(error) => {
                self.bill_failure(&handle, direction, &[access], &error);
                Err(enveloped(operation, error).into())
            }
        }
    }

    /// A transaction is admitted as a whole or refused as a whole, and takes twice the capacity.
    async fn transaction<A: Serialize + Send + 'static>(
        &self,
        operation: &str,
        direction: Direction,
        uses: Vec<Option<(Handle, Use)>>,
        asked: Option<String>,
        call: impl FnOnce(&Database) -> dynoxide::Result<A> + Send + 'static,
        capacity: impl Fn(&mut A) -> &mut Option<Vec<ConsumedCapacity>>,
    ) -> Outcome {
        let forced = self.faults.roll(Fault::Throttle);
        let mut admitted: HashMap<String, (Handle, Vec<Use>)> = HashMap::new();
        let mut reasons = Vec::new();
        for (handle, access) in uses.into_iter().flatten() {
            let name = lock(&handle).name.clone();
            let passed = self.admit(&handle, direction, &access, forced).is_ok();
            reasons.push(CancellationReason {
                code: if passed { "None" } else { "ProvisionedThroughputExceeded" }.to_owned(),
                message: (!passed).then(|| TABLE_FULL.to_owned()),
                item: None,
            });
            if passed {
                admitted.entry(name).or_insert_with(|| (handle, Vec::new())).1.push(access);
            } else {
                self.measure_refused_request(&name, operation);
            }
        }
        if reasons.iter().any(|reason| reason.code != "None") {
            for (handle, uses) in admitted.values() {
                self.settle(handle, direction, uses, 0.0, &HashMap::new());
            }
            let codes: Vec<_> = reasons.iter().map(|reason| reason.code.as_str()).collect();
            let message = format!(
                "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
                codes.join(", ")
            );
            return Err(DynoxideError::TransactionCanceledException(message, reasons).into());
        }
        match self.engine.run(call).await {
            Ok(mut reply) => {
                let capacities = capacity(&mut reply);
                for (name, (handle, uses)) in &admitted {
                    let capacity = capacities.iter().flatten().find(|it| it.table_name == *name);
                    self.bill(handle, direction, uses, capacity);
                }
                trim_all(capacities, asked.as_deref());
                written(&reply)
            }
            Err(error) => {
                for (handle, uses) in admitted.values() {
                    self.bill_failure(handle, direction, uses, &error);
                }
                Err(error.into())
            }
        }
    }

    fn transacted(&self, item: &TransactWriteItem) -> Option<(Handle, Use)> {
        let changed = |table: &str, key| self.at(table, |table| twice(table.change(key)));
        if let Some(put) = &item.put {
            self.at(&put.table_name, |table| twice(table.put(&put.item)))
        } else if let Some(update) = &item.update {
            changed(&update.table_name, &update.key)
        } else if let Some(delete) = &item.delete {
            changed(&delete.table_name, &delete.key)
        } else {
            item.condition_check.as_ref().and_then(|check| changed(&check.table_name, &check.key))
        }
    }

    /// Admits an access, or says which resource is full; a refusal is counted.
    pub(super) fn admit(
        &self,
        handle: &Handle,
        direction: Direction,
        access: &Use,
        forced: bool,
    ) -> Result<(), Throttle> {
        let mut table = lock(handle);
        let admitted = if forced {
            Err(table.throttle_on_demand())
        } else if self.limits {
            table.admit(direction, access, self.now())
        } else {
            return Ok(());
        };
        if let Err(throttle) = &admitted {
            self.measure_throttle(&table.name, direction, throttle);
        }
        admitted
    }

    /// Takes and records what was consumed.
    pub(super) fn bill(
        &self,
        handle: &Handle,
        direction: Direction,
        uses: &[Use],
        capacity: Option<&ConsumedCapacity>,
    ) {
        let Some(capacity) = capacity else { return };
        let index_units: HashMap<String, f64> = capacity
            .global_secondary_indexes
            .iter()
            .flatten()
            .map(|(name, detail)| (name.clone(), detail.capacity_units))
            .collect();
        // Local indexes live in the table's partitions and take the table's capacity.
        let units = capacity.capacity_units - index_units.values().sum::<f64>();
        let metric = match direction {
            Read => "ConsumedReadCapacityUnits",
            Write => "ConsumedWriteCapacityUnits",
        };
        if units > 0.0 {
            self.measure(&capacity.table_name, None, metric, units);
        }
        for (name, units) in index_units.iter().filter(|(_, units)| **units > 0.0) {
            self.measure(&capacity.table_name, Some(name), metric, *units);
        }
        self.settle(handle, direction, uses, units, &index_units);
    }

    /// A failed condition costs what a success would have; a request that can't be right costs nothing.
    pub(super) fn bill_failure(&self, handle: &Handle, direction: Direction, uses: &[Use], error: &DynoxideError) {
        if !matches!(
            error,
            DynoxideError::ConditionalCheckFailedException(..) | DynoxideError::TransactionCanceledException(..)
        ) {
            self.settle(handle, direction, uses, 0.0, &HashMap::new());
            return;
        }
        let units = uses.iter().map(|access| access.units).sum();
        let name = lock(handle).name.clone();
        self.measure(
            &name,
            None,
            if direction == Read { "ConsumedReadCapacityUnits" } else { "ConsumedWriteCapacityUnits" },
            units,
        );
    }

    fn settle(
        &self,
        handle: &Handle,
        direction: Direction,
        uses: &[Use],
        units: f64,
        index_units: &HashMap<String, f64>,
    ) {
        if self.limits {
            lock(handle).settle(direction, uses, units, index_units, self.now());
        }
    }
}

/// Asks the engine for the capacity of table and indexes, and returns what the client asked for. A mode that does not
/// exist is left for the engine to refuse.
pub(super) fn ask(mode: &mut Option<String>) -> Option<String> {
    match mode.as_deref() {
        None | Some("NONE" | "TOTAL" | "INDEXES") => mode.replace("INDEXES".to_owned()),
        Some(_) => None,
    }
}

/// Leaves of the capacity what the client asked for.
fn trim(capacity: &mut Option<ConsumedCapacity>, asked: Option<&str>) {
    match asked {
        Some("INDEXES") => {}
        Some("TOTAL") => capacity.iter_mut().for_each(total),
        _ => *capacity = None,
    }
}

/// The same for several tables.
pub(super) fn trim_all(capacity: &mut Option<Vec<ConsumedCapacity>>, asked: Option<&str>) {
    match asked {
        Some("INDEXES") => {}
        Some("TOTAL") => capacity.iter_mut().flatten().for_each(total),
        _ => *capacity = None,
    }
}

fn total(capacity: &mut ConsumedCapacity) {
    capacity.table = None;
    capacity.global_secondary_indexes = None;
    capacity.local_secondary_indexes = None;
    capacity.vector_indexes = None;
}

fn twice(mut access: Use) -> Use {
    access.units *= 2.0;
    access.indexes.iter_mut().for_each(|index| index.units *= 2.0);
    access
}

/// The one partition that a query reads, when its key condition says `key = :value`.
fn queried_partition(request: &QueryRequest, key: &str) -> Option<u64> {
    let expression = request.key_condition_expression.as_deref()?;
    let names = request.expression_attribute_names.as_ref();
    let values = request.expression_attribute_values.as_ref()?;
    let tokens: Vec<&str> = expression.split_whitespace().collect();
    let spaced = tokens.join(" ").replace('=', " = ").replace(['(', ')'], " ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    tokens.windows(3).find_map(|window| {
        let &[name, "=", value] = window else { return None };
        let name = names.and_then(|names| names.get(name)).map_or(name, String::as_str);
        if name == key { values.get(value).map(hash) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(expression: &str) -> QueryRequest {
        serde_json::from_value(serde_json::json!({
            "TableName": "quotes",
            "KeyConditionExpression": expression,
            "ExpressionAttributeNames": {"#i": "id"},
            "ExpressionAttributeValues": {":v": {"S": "x"}, ":t": {"N": "1"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_query_reads_the_partition_that_its_key_condition_names() {
        let expected = Some(hash(&dynoxide::AttributeValue::S("x".into())));
        for expression in ["id = :v", "#i=:v AND ts > :t", "ts >= :t and (id = :v)"] {
            assert_eq!(queried_partition(&query(expression), "id"), expected, "{expression}");
        }
        assert_eq!(queried_partition(&query("other = :v"), "id"), None);
    }

    #[test]
    fn the_client_sees_the_capacity_it_asked_for_and_no_more() {
        let capacity = || {
            Some(ConsumedCapacity {
                capacity_units: 3.0,
                table: Some(dynoxide::types::CapacityDetail::default()),
                ..ConsumedCapacity::default()
            })
        };
        let seen = |asked: Option<&str>| {
            let mut seen = capacity();
            trim(&mut seen, asked);
            seen.map(|it| (it.capacity_units, it.table.is_some()))
        };
        assert_eq!(seen(None), None);
        assert_eq!(seen(Some("NONE")), None);
        assert_eq!(seen(Some("TOTAL")), Some((3.0, false)));
        assert_eq!(seen(Some("INDEXES")), Some((3.0, true)));
    }
}
