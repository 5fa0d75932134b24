//! The opposite of a change that the audit holds, where AWS has one: what would be set again, whether the state is still as
//! the change left it, and doing it.
//!
//! ```text
//!  audit line ─▶ Opposite (or why there is none) ─▶ look: as it was left │ moved on │ back already ─▶ undo
//! ```
//!
//! What goes through here passes the guard as every change does, and is a line of the audit that names the one it undoes.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::types::{TimeToLiveDescription, TimeToLiveSpecification, TimeToLiveStatus};
use serde_json::Value;

use super::bump::{self, BumpError};
use super::journal::{AuditFilter, AuditLine, Journal, JournalError, now_ms};
use super::plan::grouped;
use super::replicate::source::{self, Changes};
use crate::capacity::{Decreases, Resource, shards};
use crate::cloud::inventory::{self, Provisioned, Table};
use crate::cloud::{Class, Cloud, CloudError, guard, mappings, price, streams};
use crate::flow::{Clock, SystemClock};

/// How long one step of a stream may take; AWS needs about half a minute a shard.
pub const STEP: Duration = Duration::from_mins(30);

/// What would be set again.
#[derive(Clone, Debug, PartialEq)]
pub enum Opposite {
    /// The capacity of a table and of its indexes.
    Capacity {
        /// The table.
        table: String,
        /// Each part that the change set.
        parts: Vec<CapacityPart>,
    },
    /// The number of open shards of a stream.
    Shards {
        /// The stream.
        stream: String,
        /// Before the change.
        before: u64,
        /// After it.
        after: u64,
    },
    /// How long records of a stream stay, hours.
    Retention {
        /// The stream.
        stream: String,
        /// Before the change.
        before: u32,
        /// After it.
        after: u32,
    },
    /// Whether an event source mapping reads.
    Mapping {
        /// The mapping.
        uuid: String,
        /// Whether it read before the change.
        enabled: bool,
    },
    /// The stream of a table's changes: what it carries, `None` without one.
    TableStream {
        /// The table.
        table: String,
        /// Before the change.
        before: Option<String>,
        /// After it.
        after: Option<String>,
    },
    /// Whether items expire by an attribute.
    Expiry {
        /// The table.
        table: String,
        /// The attribute.
        attribute: String,
        /// Whether they did before the change.
        enabled: bool,
    },
}

/// The capacity of a table or an index, RCU and WCU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityPart {
    /// The index; `None` is the table itself.
    pub index: Option<String>,
    /// Before the change.
    pub before: (u64, u64),
    /// After it.
    pub after: (u64, u64),
}

/// How things stand now.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Whether they are as the change left them.
    pub standing: Standing,
    /// What would be done: before, after, what it costs and loses.
    pub words: String,
    /// What is there now, in words: another look that says otherwise finds another state.
    pub state: String,
    now: Now,
}

impl Look {
    /// The write capacity that undoing would set: of each part what it has now and what it would have, WCU.
    pub fn writes(&self, opposite: &Opposite) -> Vec<(Resource, u64, u64)> {
        let (Opposite::Capacity { table: name, parts }, Now::Table(table)) = (opposite, &self.now) else {
            return Vec::new();
        };
        let writes = parts.iter().filter_map(|part| {
            let now = table.throughput(part.index.as_deref())?;
            Some((Resource::of_table(name, part.index.as_deref()), now.write, part.before.1))
        });
        writes.collect()
    }
}

/// Whether things are as a change left them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are.
    AsLeft,
    /// They are as before the change: there is nothing to undo.
    Back,
    /// Somebody has changed them since; what they are now, in words.
    MovedOn(String),
}

/// What was found, for the way there.
#[derive(Clone, Debug, PartialEq)]
enum Now {
    Table(Box<Table>),
    Shards(u64),
    Hours(u32),
    View(Option<String>),
    Nothing,
}

/// Why a change was not undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// AWS, the guard or the journal said no.
    #[error(transparent)]
    Bump(#[from] BumpError),
    /// It can't be done now, and why.
    #[error("{0}")]
    Unfit(String),
}

impl From<CloudError> for UndoError {
    fn from(error: CloudError) -> Self {
        Self::Bump(error.into())
    }
}

impl From<JournalError> for UndoError {
    fn from(error: JournalError) -> Self {
        Self::Bump(error.into())
    }
}

impl fmt::Display for Opposite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity { table, .. } => write!(f, "the capacity of table {table}"),
            Self::Shards { stream, .. } => write!(f, "the shards of stream {stream}"),
            Self::Retention { stream, .. } => write!(f, "how long records of stream {stream} stay"),
            Self::Mapping { uuid, .. } => write!(f, "event source mapping {uuid}"),
            Self::TableStream { table, .. } => write!(f, "the stream of table {table}"),
            Self::Expiry { table, .. } => write!(f, "the expiry of items of table {table}"),
        }
    }
}

/// The opposite of what `line` says was done.
///
/// # Errors
/// Why there is none, in words.
pub fn opposite(line: &AuditLine) -> Result<Opposite, String> {
    let change = &line.change;
    if let Some(refused) = line.outcome.as_ref().filter(|outcome| outcome.is_refused()) {
        return Err(format!("it was refused and changed nothing ({})", refused.words().unwrap_or_default()));
    }
    if let Some(why) = never(&change.service, &change.operation) {
        return Err(why.to_owned());
    }
    let unknown = || "what was there before was not written down: an older sluice made this change".to_owned();
    let before: Value =
        change.before.as_deref().and_then(|text| serde_json::from_str(text).ok()).ok_or_else(unknown)?;
    let request: Value = serde_json::from_str(&change.request).map_err(|_| unknown())?;
    let target = change.target.clone();
    let found = match change.operation.as_str() {
        "UpdateTable" if before["StreamSpecification"].is_object() => {
            let (before, after) = (view(&before), view(&request));
            Some(Opposite::TableStream { table: target, before, after })
        }
        "UpdateTable" => capacity(&before, &request).map(|parts| Opposite::Capacity { table: target, parts }),
        "UpdateShardCount" => {
            let count = |of: &Value| of["TargetShardCount"].as_u64();
            count(&before).zip(count(&request)).map(|(before, after)| Opposite::Shards {
                stream: target,
                before,
                after,
            })
        }
        "IncreaseStreamRetentionPeriod" | "DecreaseStreamRetentionPeriod" => {
            let hours = |of: &Value| of["RetentionPeriodHours"].as_u64().and_then(|n| u32::try_from(n).ok());
            let both = hours(&before).zip(hours(&request));
            both.map(|(before, after)| Opposite::Retention { stream: target, before, after })
        }
        "UpdateEventSourceMapping" => {
            before["Enabled"].as_bool().map(|enabled| Opposite::Mapping { uuid: target, enabled })
        }
        "UpdateTimeToLive" => {
            let of = &before["TimeToLiveSpecification"];
            let attribute = of["AttributeName"].as_str().map(str::to_owned);
            let both = attribute.zip(of["Enabled"].as_bool());
            both.map(|(attribute, enabled)| Opposite::Expiry { table: target, attribute, enabled })
        }
        operation => return Err(format!("sluice knows no opposite of {operation}")),
    };
    found.ok_or_else(unknown)
}

/// Why some requests have no opposite, whatever was there before.
fn never(service: &str, operation: &str) -> Option<&'static str> {
    Some(match (service, operation) {
        ("s3", _) => {
            "a file that was written or deleted is not undone from here: the bucket's versions may hold the old one"
        }
        ("sluice", _) => "a job was told something: tell it otherwise (sluice pause, resume, rate)",
        ("bigquery", _) => "BigQuery keeps what tables held for some days: restore from its time travel",
        (_, "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems") => {
            "items that were written or deleted have no opposite in AWS: restore them from a backup"
        }
        (_, "PutRecord" | "PutRecords") => "a record on a stream stays until its retention ends",
        (_, "CreateTable" | "CreateStream") => {
            "its opposite is to delete it with all that was written since: do that by hand"
        }
        (_, "DeleteTable" | "DeleteStream") => "what was deleted is gone: restore a backup",
        (_, "RegisterStreamConsumer") => "a consumer is ended by hand: aws kinesis deregister-stream-consumer",
        (_, "PutMetricData" | "Publish") => "what was told can't be taken back",
        _ => return None,
    })
}

fn view(of: &Value) -> Option<String> {
    let stream = &of["StreamSpecification"];
    let on = stream["StreamEnabled"].as_bool().unwrap_or_default();
    on.then(|| stream["StreamViewType"].as_str().unwrap_or("NEW_IMAGE").to_owned())
}

fn capacity(before: &Value, request: &Value) -> Option<Vec<CapacityPart>> {
    let units = |of: &Value| {
        let of = &of["ProvisionedThroughput"];
        Some((of["ReadCapacityUnits"].as_u64()?, of["WriteCapacityUnits"].as_u64()?))
    };
    let updates = |of: &'_ Value| -> Vec<Value> {
        let all = of["GlobalSecondaryIndexUpdates"].as_array().cloned().unwrap_or_default();
        all.into_iter().map(|mut update| update["Update"].take()).collect()
    };
    let mut parts = Vec::new();
    if let Some((before, after)) = units(before).zip(units(request)) {
        parts.push(CapacityPart { index: None, before, after });
    }
    let after = updates(request);
    for was in updates(before) {
        let name = was["IndexName"].as_str()?;
        let set = after.iter().find(|update| update["IndexName"] == name)?;
        let (before, after) = units(&was).zip(units(set))?;
        parts.push(CapacityPart { index: Some(name.to_owned()), before, after });
    }
    (!parts.is_empty()).then_some(parts)
}

/// Later changes of the same kind to the same target in the same place, newest first: who moved on, and when.
pub fn since(journal: &Journal, line: &AuditLine) -> Result<Vec<AuditLine>, JournalError> {
    let target = Some(line.change.target.clone());
    let mut later = journal.audit_of(&AuditFilter { target, after: line.number, ..AuditFilter::default() }, 100)?;
    // What raises and what lowers a retention are two operations.
    let kind = |operation: &str| operation.trim_start_matches("Increase").trim_start_matches("Decrease").to_owned();
    later.retain(|other| {
        !other.is_refused()
            && kind(&other.change.operation) == kind(&line.change.operation)
            && other.context.is_same_place(&line.context)
    });
    Ok(later)
}

/// Looks at what is there now, and says what undoing would do.
pub async fn look(cloud: &Cloud, opposite: &Opposite) -> Result<Look, UndoError> {
    match opposite {
        Opposite::Capacity { table, parts } => look_at_capacity(cloud, table, parts).await,
        Opposite::Shards { stream, before, after } => {
            let described = inventory::stream(cloud, stream).await?;
            let now = bump::provisioned_shards(&described)?;
            if described.status != "ACTIVE" {
                return Err(UndoError::Unfit(format!(
                    "stream {stream} is {}: try again once it is ACTIVE",
                    described.status
                )));
            }
            let dollars = price::shard_dollars_per_hour(*before) - price::shard_dollars_per_hour(now);
            let words = format!(
                "stream {stream}: {} ({}); AWS allows {} such changes in 24 hours",
                shards::in_words(now, &shards::steps(now, *before)),
                by_the_hour(dollars),
                shards::CHANGES_A_DAY
            );
            let told = format!("{now} open shards");
            Ok(Look { standing: standing(&now, before, after, &told), words, state: told, now: Now::Shards(now) })
        }
        Opposite::Retention { stream, before, after } => {
            let described = inventory::stream_summary(cloud, stream).await?;
            let now = described.retention_hours;
            let price = |hours| streams::retention_price(hours, &described.mode, described.open_shards());
            let loses = if *before < now {
                format!("\nwhat is older than {before} hours is deleted at once, for good")
            } else {
                String::new()
            };
            let words = format!(
                "records of stream {stream}: from {now} to {before} hours; costs beside the shards: {} (now: {}){loses}",
                price(*before),
                price(now)
            );
            let told = format!("{now} hours");
            Ok(Look { standing: standing(&now, before, after, &told), words, state: told, now: Now::Hours(now) })
        }
        Opposite::Mapping { uuid, enabled } => {
            let Some(mapping) = mappings::find(cloud, uuid).await? else {
                return Err(UndoError::Unfit(format!("there is no event source mapping {uuid} any more")));
            };
            if !mapping.is_settled() {
                return Err(UndoError::Unfit(format!("{uuid} is {}: try again in a few seconds", mapping.state)));
            }
            let verb = if *enabled { "resume" } else { "pause" };
            let words = format!("{verb} {} ({uuid}), now {}", mapping.function(), mapping.state);
            let standing = if mapping.is_on() == *enabled { Standing::Back } else { Standing::AsLeft };
            Ok(Look { standing, words, state: mapping.state, now: Now::Nothing })
        }
        Opposite::TableStream { table, before, after } => {
            let now = Changes::of(cloud, table).await?.view;
            let named = |view: &Option<String>| view.clone().unwrap_or_else(|| "none".to_owned());
            let loses = if before.is_none() {
                "\nwhat reads it gets no more changes; what it holds stays readable for 24 hours"
            } else {
                "\nit is another stream: what read the old one has to be pointed at it, and what changed between is in neither"
            };
            let words = format!("the stream of table {table}: from {} to {}{loses}", named(&now), named(before));
            let told = format!("a stream that carries {}", named(&now));
            Ok(Look { standing: standing(&now, before, after, &told), words, state: told, now: Now::View(now.clone()) })
        }
        Opposite::Expiry { table, attribute, enabled } => {
            let reply = cloud.dynamodb.describe_time_to_live().table_name(table).send().await;
            let reply = reply.map_err(|e| CloudError::of(&format!("look at the expiry of table {table}"), &e))?;
            let described = reply.time_to_live_description.as_ref();
            let status = described.and_then(TimeToLiveDescription::time_to_live_status);
            let status = status.map_or("DISABLED", TimeToLiveStatus::as_str);
            let by = described.and_then(TimeToLiveDescription::attribute_name).unwrap_or_default();
            let state = format!("its expiry is {status} by {by}");
            let standing = match status {
                "ENABLED" if *enabled && by == attribute => Standing::Back,
                "DISABLED" if !*enabled => Standing::Back,
                "ENABLED" if !*enabled && by == attribute => Standing::AsLeft,
                "DISABLED" => Standing::AsLeft,
                _ => Standing::MovedOn(state.clone()),
            };
            let (what, after) = if *enabled { ("begins", "items expire") } else { ("ends", "no item expires") };
            let words = format!(
                "table {table}: expiry by {attribute} {what}, {after} from then on; AWS takes one such change an hour"
            );
            Ok(Look { standing, words, state, now: Now::Nothing })
        }
    }
}

fn standing<T: PartialEq>(now: &T, before: &T, after: &T, told: &str) -> Standing {
    if now == after {
        Standing::AsLeft
    } else if now == before {
        Standing::Back
    } else {
        Standing::MovedOn(told.to_owned())
    }
}

/// `+$0.65 an hour`.
fn by_the_hour(dollars: f64) -> String {
    let sign = if dollars < 0.0 { "-" } else { "+" };
    format!("{sign}${:.2} an hour", dollars.abs())
}

async fn look_at_capacity(cloud: &Cloud, name: &str, parts: &[CapacityPart]) -> Result<Look, UndoError> {
    let table = inventory::table(cloud, name).await?;
    if !table.is_active() {
        return Err(UndoError::Unfit(format!("table {name} is being changed: try again once it is ACTIVE")));
    }
    let (mut words, mut told, mut dollars) = (Vec::new(), Vec::new(), 0.0);
    let (mut as_left, mut back) = (true, true);
    for part in parts {
        let resource = Resource::of_table(name, part.index.as_deref());
        let Some(now) = table.throughput(part.index.as_deref()) else {
            return Err(UndoError::Unfit(format!("{resource} is on demand now, or gone: it has no capacity to set")));
        };
        as_left &= (now.read, now.write) == part.after;
        back &= (now.read, now.write) == part.before;
        told.push(format!("{resource} has {} WCU and {} RCU", grouped(now.write), grouped(now.read)));
        let mut changes = Vec::new();
        for (unit, from, to) in [("WCU", now.write, part.before.1), ("RCU", now.read, part.before.0)] {
            if from != to {
                changes.push(format!("from {} to {} {unit}", grouped(from), grouped(to)));
            }
        }
        let cost = |read, write| price::read_dollars_per_hour(read) + price::write_dollars_per_hour(write);
        dollars += cost(part.before.0, part.before.1) - cost(now.read, now.write);
        if changes.is_empty() {
            continue;
        }
        let mut line = format!("{resource}: {}", changes.join(", "));
        if part.before.0 < now.read || part.before.1 < now.write {
            let left = Decreases::from(now).left(now_ms());
            if left.next_ms.is_some() {
                return Err(UndoError::Unfit(format!("{resource} can't be lowered: {left}")));
            }
            line = format!("{line}; decreases: {left}");
        }
        words.push(line);
    }
    let words = format!("{} ({})", words.join("\n"), by_the_hour(dollars));
    let state = told.join(", ");
    let standing = match (back, as_left) {
        (true, _) => Standing::Back,
        (_, true) => Standing::AsLeft,
        _ => Standing::MovedOn(state.clone()),
    };
    Ok(Look { standing, words, state, now: Now::Table(Box::new(table)) })
}

/// Sets again what was there before line `number`. `step` is told of each step of a stream on its way.
pub async fn undo(
    cloud: &Cloud,
    journal: Option<&Journal>,
    number: i64,
    opposite: &Opposite,
    look: &Look,
    step: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<(), UndoError> {
    guard::undoing(number, set(cloud, journal, opposite, look, step)).await
}

async fn set(
    cloud: &Cloud,
    journal: Option<&Journal>,
    opposite: &Opposite,
    look: &Look,
    step: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<(), UndoError> {
    match (opposite, &look.now) {
        (Opposite::Capacity { parts, .. }, Now::Table(table)) => {
            let changes: Vec<_> = parts
                .iter()
                .filter_map(|part| {
                    let now: Provisioned = table.throughput(part.index.as_deref())?;
                    ((now.read, now.write) != part.before).then_some((part.index.as_deref(), now.write, part.before))
                })
                .collect();
            Ok(bump::change_all(cloud, journal, table, &changes, None).await?)
        }
        (Opposite::Shards { stream, before, .. }, Now::Shards(now)) => {
            let steps = shards::steps(*now, *before);
            bump::through_shards(cloud, journal, stream, *now, &steps, STEP, step).await.map_err(|(at, error)| {
                if at == *now {
                    error.into()
                } else {
                    UndoError::Unfit(format!("stream {stream} is at {at} shards: {error}"))
                }
            })
        }
        (Opposite::Retention { stream, before, .. }, Now::Hours(now)) => {
            Ok(streams::set_retention(cloud, stream, *now, *before).await?)
        }
        (Opposite::Mapping { uuid, enabled }, _) => Ok(mappings::set_enabled(cloud, uuid, *enabled).await?),
        (Opposite::TableStream { table, before, .. }, Now::View(now)) => {
            let clock = SystemClock::new();
            if now.is_some() && before.is_some() {
                // A view can't be changed: the one is ended before the other begins.
                source::set(cloud, table, (now.as_deref(), None), &clock as &dyn Clock).await?;
                source::settled(cloud, table, false, &clock).await?;
                return Ok(source::set(cloud, table, (None, before.as_deref()), &clock).await?);
            }
            Ok(source::set(cloud, table, (now.as_deref(), before.as_deref()), &clock).await?)
        }
        (Opposite::Expiry { table, attribute, enabled }, _) => {
            let ttl = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(*enabled).build();
            let ttl = ttl.map_err(|error| CloudError::new(Class::Invalid, error.to_string(), ""))?;
            let was =
                serde_json::json!({ "TimeToLiveSpecification": { "Enabled": !enabled, "AttributeName": attribute } });
            let request = cloud.dynamodb.update_time_to_live().table_name(table).time_to_live_specification(ttl);
            let sent = guard::knowing(was, request.send()).await;
            Ok(sent.map(drop).map_err(|e| CloudError::of(&format!("set the expiry of table {table}"), &e))?)
        }
        _ => Err(UndoError::Unfit("it was looked at as something else".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::guard::{Change, Outcome};

    fn line(operation: &str, request: &str, before: Option<&str>) -> AuditLine {
        let change = Change {
            service: "dynamodb".into(),
            operation: operation.into(),
            target: "quotes".into(),
            request: request.into(),
            before: before.map(Into::into),
            ..Change::default()
        };
        AuditLine { number: 7, change, ..AuditLine::default() }
    }

    #[test]
    fn the_opposite_of_a_capacity_is_what_was_there_before_of_each_part() {
        let request = r#"{"TableName":"quotes","ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":200},
            "GlobalSecondaryIndexUpdates":[{"Update":{"IndexName":"g","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":90}}}]}"#;
        let before = r#"{"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":130},
            "GlobalSecondaryIndexUpdates":[{"Update":{"IndexName":"g","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":10}}}]}"#;
        let parts = vec![
            CapacityPart { index: None, before: (5, 130), after: (5, 200) },
            CapacityPart { index: Some("g".into()), before: (1, 10), after: (1, 90) },
        ];
        let found = opposite(&line("UpdateTable", request, Some(before)));
        assert_eq!(found, Ok(Opposite::Capacity { table: "quotes".into(), parts }));
    }

    #[test]
    fn a_stream_of_a_table_is_no_capacity() {
        let begun = r#"{"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}}"#;
        let none = r#"{"StreamSpecification":{"StreamEnabled":false}}"#;
        let found = opposite(&line("UpdateTable", begun, Some(none)));
        let (before, after) = (None, Some("NEW_IMAGE".to_owned()));
        assert_eq!(found, Ok(Opposite::TableStream { table: "quotes".into(), before, after }));
    }

    #[test]
    fn what_aws_has_no_opposite_of_says_why_and_what_to_do() {
        for (operation, words) in [
            ("PutItem", "backup"),
            ("DeleteTable", "gone"),
            ("CreateTable", "by hand"),
            ("PutRecords", "retention"),
            ("Publish", "taken back"),
            ("SomethingNew", "not written down"),
        ] {
            let why = opposite(&line(operation, "{}", None)).unwrap_err();
            assert!(why.contains(words), "{operation}: {why}");
        }
        let told = AuditLine { change: Change::of_job("pause", "r-7f3a", ""), ..AuditLine::default() };
        assert!(opposite(&told).unwrap_err().contains("sluice pause, resume"));
        assert!(opposite(&line("SomethingNew", "{}", Some("{}"))).unwrap_err().contains("no opposite"));
        let old = opposite(&line("UpdateTable", r#"{"TableName":"quotes"}"#, None)).unwrap_err();
        assert!(old.contains("older sluice"), "{old}");
    }

    #[test]
    fn what_was_refused_changed_nothing_and_is_not_undone() {
        let before = Some(r#"{"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":130}}"#);
        let request = r#"{"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":200}}"#;
        let made = line("UpdateTable", request, before);
        assert!(opposite(&made).is_ok());
        let outcome = Some(Outcome::Refused("LimitExceededException: no more today".into()));
        let why = opposite(&AuditLine { outcome, ..made }).unwrap_err();
        assert!(why.contains("refused") && why.contains("no more today"), "{why}");
    }

    #[test]
    fn a_state_is_as_it_was_left_or_back_or_somewhere_else() {
        assert_eq!(standing(&200, &130, &200, ""), Standing::AsLeft);
        assert_eq!(standing(&130, &130, &200, ""), Standing::Back);
        assert_eq!(standing(&300, &130, &200, "300 WCU"), Standing::MovedOn("300 WCU".into()));
    }
}
