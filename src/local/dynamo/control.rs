//! Tables made, changed, described and deleted. Dynoxide checks and stores; throughput and billing mode are ours, since
//! dynoxide keeps what `CreateTable` said for ever.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dynoxide::Database;
use dynoxide::actions::TableDescription;
use dynoxide::actions::create_table::{CreateTableRequest, StreamSpecification};
use dynoxide::actions::delete_table::DeleteTableRequest;
use dynoxide::actions::describe_table::DescribeTableRequest;
use dynoxide::actions::list_tables::ListTablesRequest;
use dynoxide::actions::update_table::UpdateTableRequest;
use dynoxide::types::ProvisionedThroughput;
use serde::Deserialize;
use serde_json::{Value, json};

use super::streams::View;
use super::table::{Provision, Settings, Table};
use super::wire::{Failure, Outcome, parse, written};
use super::{Dynamo, Handle, lock};
use crate::local::throughput::Millis;

/// How long a change of throughput takes, ms. AWS takes seconds to minutes.
pub(super) const CHANGE_MS: Millis = 1500;
/// The most WCU, and the most RCU, of one table or index.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
const LARGEST: u64 = 40_000;
/// Descriptions that cost more than this are kept for a while: dynoxide counts all items for each, with the database
/// locked, and consoles ask every second. AWS's own counts are up to six hours old.
const COSTLY: Duration = Duration::from_millis(20);
/// A kept description is used for this many times what it cost.
const KEPT_TIMES: u32 = 20;

/// A description and what it cost to make.
pub(super) struct Described {
    description: TableDescription,
    at: Instant,
    cost: Duration,
}

/// Throughput, as requests write it.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Units {
    #[serde(rename = "ReadCapacityUnits")]
    read: u64,
    #[serde(rename = "WriteCapacityUnits")]
    write: u64,
}

/// What an `UpdateTable` says of the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum StreamChange {
    /// Nothing.
    None,
    Enable(View),
    Disable,
}

/// What an `UpdateTable` says of throughput.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    on_demand: Option<bool>,
    table: Option<(u64, u64)>,
    indexes: Vec<(String, (u64, u64))>,
    /// Of indexes that the same request creates; `None` where it says nothing.
    created: HashMap<String, Option<(u64, u64)>>,
}

/// Descriptions of all tables, for the start.
pub(super) fn all_descriptions(database: &Database) -> dynoxide::Result<Vec<TableDescription>> {
    let mut descriptions = Vec::new();
    let mut last = None;
    loop {
        let request = ListTablesRequest { exclusive_start_table_name: last, ..ListTablesRequest::default() };
        let page = database.list_tables(request)?;
        for table_name in page.table_names {
            descriptions.push(database.describe_table(DescribeTableRequest { table_name })?.table);
        }
        last = page.last_evaluated_table_name;
        if last.is_none() {
            return Ok(descriptions);
        }
    }
}

impl Dynamo {
    pub(super) async fn create_table(&self, body: &[u8]) -> Outcome {
        let mut request: CreateTableRequest = parse("CreateTable", body)?;
        let view = request.stream_specification.take().as_ref().map(View::wanted).transpose()?.flatten();
        let units = |bought: &ProvisionedThroughput| {
            let units = |units: Option<i64>| u64::try_from(units.unwrap_or(0)).unwrap_or(0);
            (units(bought.read_capacity_units), units(bought.write_capacity_units))
        };
        // Without throughput for a provisioned table, the engine has AWS's words; for an index it has none.
        request.provisioned_throughput.as_ref().map(|bought| check_size(units(bought))).transpose()?;
        let on_demand = request.billing_mode.as_deref() == Some("PAY_PER_REQUEST");
        for index in request.global_secondary_indexes.iter().flatten() {
            check_index(&index.index_name, index.provisioned_throughput.as_ref().map(units), on_demand)?;
        }
        let mut reply = self.engine.run(move |database| database.create_table(request)).await?;
        let handle = self.add_table(&reply.table_description);
        {
            let mut table = lock(&handle);
            if let Some(view) = view {
                table.settings.stream = Some(view);
                let keys = reply.table_description.key_schema.clone();
                self.streams.enable(&table.name, view, keys, table.settings.partitions());
            }
            self.measure_provisions(&table);
            table.describe(&mut reply.table_description, self.now());
            self.streams.describe(&mut reply.table_description);
        }
        self.keep()?;
        written(&reply)
    }

    pub(super) async fn delete_table(&self, body: &[u8]) -> Outcome {
        let request: DeleteTableRequest = parse("DeleteTable", body)?;
        let name = request.table_name.clone();
        if let Some(handle) = self.table(&name) {
            self.check_idle(&mut lock(&handle))?;
        }
        let mut reply = self.engine.run(move |database| database.delete_table(request)).await?;
        let handle = self.tables.write().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&name);
        self.streams.disable(&name);
        self.forget_description(&name);
        if let Some(handle) = handle {
            let status = reply.table_description.table_status.clone();
            lock(&handle).describe(&mut reply.table_description, self.now());
            self.streams.describe(&mut reply.table_description);
            reply.table_description.table_status = status;
        }
        self.keep()?;
        written(&reply)
    }

    pub(super) async fn describe_table(&self, body: &[u8]) -> Outcome {
        let request: DescribeTableRequest = parse("DescribeTable", body)?;
        let description = self.description(request.table_name).await?;
        written(&json!({ "Table": description }))
    }

    /// A table as dynoxide and the gateway know it together.
    async fn description(&self, name: String) -> Result<TableDescription, Failure> {
        let mut description = if let Some(description) = self.kept_description(&name) {
            description
        } else {
            let table_name = name.clone();
            let counted = move |database: &Database| {
                let begun = Instant::now();
                let reply = database.describe_table(DescribeTableRequest { table_name })?;
                Ok((reply.table, begun.elapsed()))
            };
            let (description, cost) = self.engine.run(counted).await?;
            if cost > COSTLY {
                let described = Described { description: description.clone(), at: Instant::now(), cost };
                self.descriptions().insert(name.clone(), described);
            }
            description
        };
        if let Some(handle) = self.table(&name) {
            let mut table = lock(&handle);
            table.advance(self.now());
            table.describe(&mut description, self.now());
        }
        self.streams.describe(&mut description);
        Ok(description)
    }

    pub(super) async fn update_table(&self, body: &[u8]) -> Outcome {
        let mut request: Value = parse("UpdateTable", body)?;
        let name = request["TableName"].as_str().unwrap_or_default().to_owned();
        // A table that is not there, or no name at all: the engine has the words for it.
        let Some(handle) = self.table(&name) else {
            let request: UpdateTableRequest = parse("UpdateTable", body)?;
            return written(&self.engine.run(move |database| database.update_table(request)).await?);
        };
        let stream = stream_of(&mut request)?;
        // With nothing but a stream to change there is nothing for the engine.
        let is_stream_alone = stream != StreamChange::None && says_nothing_more(&request);
        let (wanted, rest) = if is_stream_alone { (Wanted::default(), None) } else { split(request)? };
        let settings = {
            let mut table = lock(&handle);
            self.check_idle(&mut table)?;
            check_stream(&table, stream)?;
            let settings = changed(&table, &wanted, self.now())?;
            match (settings, &rest) {
                // Accepted under the same lock as checked: of two changes at a time one is refused.
                (Some(settings), None) => {
                    table.accept(settings, self.now() + CHANGE_MS);
                    None
                }
                (settings, _) => settings,
            }
        };
        if let Some(rest) = rest {
            let request: UpdateTableRequest = parse("UpdateTable", rest.to_string().as_bytes())?;
            let reply = self.engine.run(move |database| database.update_table(request)).await?;
            lock(&handle).follow(&reply.table_description, &wanted.created, self.now());
        }
        self.change_stream(&handle, stream).await?;
        self.forget_description(&name);
        if let Some(mut settings) = settings {
            let mut table = lock(&handle);
            // Indexes that the same request made or removed.
            settings.indexes.retain(|index, _| table.settings.indexes.contains_key(index));
            for (index, provision) in &table.settings.indexes {
                settings.indexes.entry(index.clone()).or_insert_with(|| provision.clone());
            }
            table.accept(settings, self.now() + CHANGE_MS);
        }
        self.streams.grow(&name, lock(&handle).settled().partitions());
        self.keep()?;
        written(&json!({ "TableDescription": self.description(name).await? }))
    }

    /// Enables or disables the stream of a table.
    async fn change_stream(&self, handle: &Handle, change: StreamChange) -> Result<(), Failure> {
        let table_name = lock(handle).name.clone();
        let view = match change {
            StreamChange::None => return Ok(()),
            StreamChange::Enable(view) => {
                let request = DescribeTableRequest { table_name: table_name.clone() };
                let keys = self.engine.run(move |database| database.describe_table(request)).await?.table.key_schema;
                self.streams.enable(&table_name, view, keys, lock(handle).settled().partitions());
                Some(view)
            }
            StreamChange::Disable => {
                self.streams.disable(&table_name);
                None
            }
        };
        lock(handle).set_stream(view, self.now() + CHANGE_MS);
        Ok(())
    }

    /// Refuses to touch a table that a change is still being made to.
    fn check_idle(&self, table: &mut Table) -> Result<(), Failure> {
        table.advance(self.now());
        if table.is_updating() {
            let name = &table.name;
            let message = format!("Attempt to change a resource which is still in use: Table is being updated: {name}");
            return Err(Failure::named("ResourceInUseException", &message));
        }
        Ok(())
    }

    fn keep(&self) -> Result<(), Failure> {
        self.keep_settings().map_err(|error| dynoxide::DynoxideError::InternalServerError(error.to_string()).into())
    }

    fn descriptions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Described>> {
        self.described.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn kept_description(&self, name: &str) -> Option<TableDescription> {
        let descriptions = self.descriptions();
        let kept = descriptions.get(name)?;
        (kept.at.elapsed() < kept.cost * KEPT_TIMES).then(|| kept.description.clone())
    }

    fn forget_description(&self, name: &str) {
        self.descriptions().remove(name);
    }
}

/// Takes out of an `UpdateTable` what it says of the stream.
fn stream_of(request: &mut Value) -> Result<StreamChange, Failure> {
    let specification = request.as_object_mut().and_then(|members| members.remove("StreamSpecification"));
    let Some(specification) = specification.filter(|it| !it.is_null()) else { return Ok(StreamChange::None) };
    let specification: StreamSpecification = parse("UpdateTable", specification.to_string().as_bytes())?;
    Ok(View::wanted(&specification)?.map_or(StreamChange::Disable, StreamChange::Enable))
}

fn says_nothing_more(request: &Value) -> bool {
    request
        .as_object()
        .into_iter()
        .flatten()
        .all(|(name, value)| matches!(name.as_str(), "TableName" | "AttributeDefinitions") || value.is_null())
}

/// A stream is enabled once, and disabled once.
fn check_stream(table: &Table, change: StreamChange) -> Result<(), Failure> {
    let refusal = match (change, table.settings.stream) {
        (StreamChange::Enable(_), Some(_)) => "Table already has an enabled stream",
        (StreamChange::Disable, None) => "Table has no stream to disable",
        _ => return Ok(()),
    };
    Err(Failure::invalid(&format!("{refusal}: TableName: {}", table.name)))
}

/// Splits an `UpdateTable` into what it says of throughput and the rest, if that changes anything.
fn split(mut request: Value) -> Result<(Wanted, Option<Value>), Failure> {
    let units = |value: &Value| -> Result<(u64, u64), Failure> {
        let units: Units = parse("UpdateTable", value.to_string().as_bytes())?;
        Ok((units.read, units.write))
    };
    let mut wanted = Wanted::default();
    let Some(members) = request.as_object_mut() else { return Ok((wanted, None)) };
    match members.remove("BillingMode").as_ref().and_then(Value::as_str) {
        Some("PAY_PER_REQUEST") => wanted.on_demand = Some(true),
        Some("PROVISIONED") => wanted.on_demand = Some(false),
        Some(other) => {
            return Err(Failure::invalid(&format!(
                "1 validation error detected: Value '{other}' at 'billingMode' failed to satisfy constraint: Member must \
                 satisfy enum value set: [PROVISIONED, PAY_PER_REQUEST]"
            )));
        }
        None => {}
    }
    if let Some(bought) = members.remove("ProvisionedThroughput").filter(|it| !it.is_null()) {
        wanted.table = Some(units(&bought)?);
    }
    if let Some(updates) = members.get_mut("GlobalSecondaryIndexUpdates").and_then(Value::as_array_mut) {
        for update in updates.iter() {
            if let Some(update) = update.get("Update") {
                let name = update["IndexName"].as_str().unwrap_or_default().to_owned();
                wanted.indexes.push((name, units(&update["ProvisionedThroughput"])?));
            }
            if let Some(create) = update.get("Create") {
                let name = create["IndexName"].as_str().unwrap_or_default().to_owned();
                let bought = create.get("ProvisionedThroughput").filter(|it| !it.is_null());
                wanted.created.insert(name, bought.map(&units).transpose()?);
            }
        }
        updates.retain(|update| update.get("Update").is_none());
        if updates.is_empty() {
            members.remove("GlobalSecondaryIndexUpdates");
        }
    }
    let says_throughput = wanted.on_demand.is_some() || wanted.table.is_some() || !wanted.indexes.is_empty();
    let says_more = members.keys().any(|name| name != "TableName" && name != "AttributeDefinitions");
    // A request that says nothing goes to the engine, which refuses it in AWS's words.
    Ok((wanted, (says_more || !says_throughput).then_some(request)))
}

/// The settings that `table` would have, or why it may not have them; `None` when throughput stays as it is.
fn changed(table: &Table, wanted: &Wanted, now: Millis) -> Result<Option<Settings>, Failure> {
    let before = &table.settings;
    let mut after = before.clone();
    if let Some(on_demand) = wanted.on_demand {
        after.on_demand = on_demand;
    }
    let switched = after.on_demand != before.on_demand;
    if after.on_demand && (wanted.table.is_some() || !wanted.indexes.is_empty()) {
        return Err(Failure::invalid(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be \
             specified when BillingMode is PAY_PER_REQUEST",
        ));
    }
    if switched && !after.on_demand {
        let missing = after.indexes.keys().any(|name| !wanted.indexes.iter().any(|(given, _)| given == name));
        if wanted.table.is_none() || missing {
            return Err(Failure::invalid(
                "One or more parameter values were invalid: ProvisionedThroughput must be specified when BillingMode is \
                 PROVISIONED, for the table and each of its global secondary indexes",
            ));
        }
    }
    for (name, bought) in &wanted.created {
        check_index(name, *bought, after.on_demand)?;
    }
    if let Some(units) = wanted.table {
        let what = format!("the table {}", table.name);
        change(&mut after.table, units, switched, &what, now)?;
    }
    for (name, units) in &wanted.indexes {
        let Some(provision) = after.indexes.get_mut(name) else {
            // AWS's words for an index that is not there.
            return Err(Failure::invalid(
                "This operation cannot be performed with given input values. Please contact DynamoDB service team for \
                 more info: Action Blocked: IndexUpdate",
            ));
        };
        change(provision, *units, switched, &format!("the index {name}"), now)?;
    }
    Ok((after != *before).then_some(after))
}

fn change(provision: &mut Provision, to: (u64, u64), switched: bool, what: &str, now: Millis) -> Result<(), Failure> {
    check_size(to)?;
    let (read, write) = to;
    if to == (provision.read, provision.write) && !switched {
        return Err(Failure::invalid(&format!(
            "The provisioned throughput for {what} will not change. The requested value equals the current value. \
             Current ReadCapacityUnits provisioned for the table: {read}. Requested ReadCapacityUnits: {read}. Current \
             WriteCapacityUnits provisioned for the table: {write}. Requested WriteCapacityUnits: {write}. Refer to the \
             Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
        )));
    }
    // Leaving on demand is no decrease, whatever was bought before.
    if !switched && (read < provision.read || write < provision.write) {
        provision.decreases.check(now).map_err(|next| too_many_decreases(provision, next, now))?;
        provision.decreases.add(now);
        provision.decreased = Some(now);
    }
    if read > provision.read || write > provision.write {
        provision.increased = Some(now + CHANGE_MS);
    }
    (provision.read, provision.write) = to;
    Ok(())
}

/// A new index has throughput of its own, unless its table is on demand.
fn check_index(name: &str, bought: Option<(u64, u64)>, on_demand: bool) -> Result<(), Failure> {
    match bought {
        Some(bought) => check_size(bought),
        None if on_demand => Ok(()),
        None => Err(Failure::invalid(&format!(
            "One or more parameter values were invalid: ProvisionedThroughput must be specified for index: {name}"
        ))),
    }
}

fn check_size((read, write): (u64, u64)) -> Result<(), Failure> {
    if read == 0 || write == 0 {
        let (what, member) = if read == 0 { ("Read", "read") } else { ("Write", "write") };
        return Err(Failure::invalid(&format!(
            "1 validation error detected: Value '0' at 'provisionedThroughput.{member}CapacityUnits' failed to satisfy \
             constraint: Member must have value greater than or equal to 1 ({what}CapacityUnits)"
        )));
    }
    if read > LARGEST || write > LARGEST {
        let (what, asked) = if read > LARGEST { ("read", read) } else { ("write", write) };
        return Err(Failure::named(
            "LimitExceededException",
            &format!(
                "Subscriber limit exceeded: The requested {what} capacity of {asked} units exceeds the maximum of {LARGEST} \
                 units per table. Ask for a higher account limit if you need more."
            ),
        ));
    }
    Ok(())
}

fn too_many_decreases(provision: &Provision, next: Millis, now: Millis) -> Failure {
    let day = |at: Millis| {
        let at = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
        at.strftime("%A, %B %-d, %Y %-I:%M:%S %p UTC").to_string()
    };
    Failure::named(
        "LimitExceededException",
        &format!(
            "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day. After the \
             first 4 decreases, each subsequent decrease in the same UTC day can be performed at most once every 3600 \
             seconds. Number of decreases today: {}. Last decrease at {}. Next decrease can be made at {}",
            provision.decreases.today(now),
            provision.decreases.last().map(day).unwrap_or_default(),
            day(next),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_split_into_throughput_and_the_rest() {
        let (wanted, rest) = split(json!({
            "TableName": "t",
            "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 195},
            "GlobalSecondaryIndexUpdates": [
                {"Update": {"IndexName": "old", "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}}},
                {"Create": {"IndexName": "new", "ProvisionedThroughput": {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4}}},
            ],
        }))
        .unwrap();
        assert_eq!(wanted.table, Some((5, 195)));
        assert_eq!(wanted.indexes, [("old".to_owned(), (1, 2))]);
        assert_eq!(wanted.created["new"], Some((3, 4)));
        let rest = rest.unwrap();
        assert_eq!(rest["GlobalSecondaryIndexUpdates"].as_array().unwrap().len(), 1);
        assert!(rest.get("ProvisionedThroughput").is_none());
    }

    #[test]
    fn a_change_of_throughput_alone_leaves_nothing_for_the_engine() {
        let request =
            json!({"TableName": "t", "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6}});
        assert_eq!(split(request).unwrap().1, None);
        assert!(split(json!({"TableName": "t"})).unwrap().1.is_some());
        assert!(split(json!({"TableName": "t", "BillingMode": "FREE"})).is_err());
    }
}
