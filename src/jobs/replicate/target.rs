//! Where the replica is: the clients that reach it, the table made like the source, and what takes its rows.

use std::sync::Arc;

use super::bootstrap::{renamed, renames};
use super::spec::{ReplicaTarget, ReplicateSpec, TableTarget};
use super::table::TableReplica;
use crate::cloud::inventory::{self, Table};
use crate::cloud::schema::{Schema, key_in_words};
use crate::cloud::{Class, Cloud, CloudError, Context};
use crate::flow::{Clock, Replica};
use crate::item::KeySchema;
use crate::jobs::audit;
use crate::jobs::create_table::{self, CreateTableError, NewTable, Waiting};
use crate::jobs::journal::Job;
use crate::jobs::spec::{Spec, VerifySpec};
use crate::jobs::worker::{JobError, Session};

/// The replica of a running job.
pub(super) struct Opened {
    /// What takes the rows.
    pub replica: Arc<dyn Replica>,
    /// Where that is a table: its clients, and what it is.
    pub table: Option<(Cloud, Table, Arc<TableReplica>)>,
    /// Its key, in its own names.
    pub key: KeySchema,
    /// Its name, for dead letters.
    pub name: String,
}

/// Where the tables are that `job` writes: of a replica and of its repair, where that is; of any other, where it acts.
pub fn writes_in(job: &Job) -> Context {
    written_by(&job.spec).map_or_else(|| job.context.clone(), |target| target.context(&job.context))
}

/// The replica that a job writes, which may be somewhere else than its source.
pub fn written_by(spec: &Spec) -> Option<&TableTarget> {
    match spec {
        Spec::Replicate(ReplicateSpec { target: ReplicaTarget::Table(target), .. }) => Some(target),
        Spec::Verify(VerifySpec { replica: Some(replica), .. }) if replica.repair => Some(&replica.target),
        _ => None,
    }
}

/// The clients that reach `target`, behind a guard of their own.
pub(in crate::jobs) async fn cloud(session: &Session<'_>, target: &TableTarget) -> Result<Cloud, JobError> {
    let context = target.context(&session.cloud.place());
    if context == session.cloud.place() {
        return Ok(session.cloud.clone());
    }
    let path = session.journal().path().to_owned();
    let guard = audit::guard(&path, &context, Some(&session.job.id), session.cloud.guard.mode())?;
    Ok(Cloud::connect(&context, guard).await?)
}

/// Refuses a replica that is its own source.
pub fn not_itself(source: &Context, spec: &ReplicateSpec) -> Result<(), String> {
    let ReplicaTarget::Table(target) = &spec.target else { return Ok(()) };
    let there = target.context(source);
    if target.table == spec.table && there.is_same_place(source) {
        return Err(format!(
            "{} would be its own replica: each change would make another, for ever. Name another table, region or account",
            spec.table
        ));
    }
    Ok(())
}

/// What of the options can't go together.
pub fn fits(spec: &ReplicateSpec, key: &KeySchema) -> Result<(), String> {
    let shape = &spec.shape;
    let is_shaped = shape.filter.is_some() || !shape.rename.is_empty() || !shape.set.is_empty();
    if spec.two_way.is_some() && is_shaped {
        return Err("--two-way keeps both tables the same: --filter, --set and --rename can't go with it".to_owned());
    }
    if spec.two_way.is_some() && !matches!(spec.target, ReplicaTarget::Table(_)) {
        return Err("--two-way needs a table on both sides: from BigQuery nothing comes back".to_owned());
    }
    let key = renamed(key, &renames(shape));
    let attrs = std::iter::once(&key.partition).chain(&key.sort);
    for attr in attrs {
        let sets = |text: &String| {
            let left = text.split('=').next().unwrap_or_default();
            left == attr.name || left.rsplit_once(':').is_some_and(|(name, _)| name == attr.name)
        };
        if shape.set.iter().any(sets) {
            return Err(format!(
                "--set gives the key attribute {} a value: a delete in the source names the source's key alone, so its row in \
                 the replica could not be found. Rename it, or set another attribute",
                attr.name
            ));
        }
    }
    Ok(())
}

/// The table that is made for a replica of `table`: all that makes it what it is, with the key in the replica's names.
///
/// # Errors
/// The source can't be described, or has a schema that can't be made.
pub async fn like(cloud: &Cloud, spec: &ReplicateSpec, target: &TableTarget) -> Result<NewTable, CreateTableError> {
    let table = spec.table.as_str();
    let described = cloud.dynamodb.describe_table().table_name(table).send().await;
    let described = described.map_err(|e| CloudError::of(&format!("describe table {table}"), &e))?.table;
    let described =
        described.ok_or_else(|| CloudError::new(Class::NotFound, format!("there is no table {table}"), ""))?;
    let from = format!("table {table}");
    let wrong = |error| CreateTableError::Schema { from: from.clone(), error };
    let mut schema = Schema::of_description(&described).map_err(wrong)?.named(&target.table);
    // A stream is begun where one is needed, and a replica may be made anew.
    for setting in ["StreamSpecification", "DeletionProtectionEnabled"] {
        if let Some(request) = schema.request.as_object_mut() {
            request.remove(setting);
        }
    }
    let mut left_out = schema.left_out.clone();
    if let Some(arn) = described.table_arn() {
        match cloud.dynamodb.list_tags_of_resource().resource_arn(arn).send().await {
            Ok(reply) => {
                let tags = reply.tags.unwrap_or_default();
                let own = tags.iter().filter(|tag| !tag.key().starts_with("aws:"));
                let tags: Vec<_> =
                    own.map(|tag| serde_json::json!({ "Key": tag.key(), "Value": tag.value() })).collect();
                if !tags.is_empty() {
                    schema.request["Tags"] = tags.into();
                }
            }
            Err(error) => left_out.push(format!("its tags: {}", CloudError::of("list the tags", &error))),
        }
    }
    let renames = renames(&spec.shape);
    for (old, new) in &renames {
        rename_attribute(&mut schema.request, old, new);
    }
    schema.key = renamed(&schema.key, &renames);
    let ttl = cloud.dynamodb.describe_time_to_live().table_name(table).send().await;
    let expires = match ttl {
        Ok(reply) => reply
            .time_to_live_description
            .filter(|ttl| ttl.time_to_live_status().is_some_and(|status| status.as_str().starts_with("ENABL")))
            .and_then(|ttl| ttl.attribute_name),
        Err(error) => {
            left_out.push(format!("whether its items expire: {}", CloudError::of("ask for its TTL", &error)));
            None
        }
    };
    let expires = if spec.skip_ttl_deletes && expires.is_some() {
        left_out.push("its TTL: what expires in the source stays, as --skip-ttl-deletes asks".to_owned());
        None
    } else {
        expires
    };
    let expires = expires.map(|name| renames.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| new.clone()));
    Ok(NewTable { schema, expires, from, left_out })
}

/// Renames an attribute wherever a `CreateTable` names it.
fn rename_attribute(request: &mut serde_json::Value, old: &str, new: &str) {
    match request {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    serde_json::Value::String(text) if name == "AttributeName" && text == old => new.clone_into(text),
                    serde_json::Value::Array(names) if name == "NonKeyAttributes" => {
                        for named in names.iter_mut().filter(|named| *named == old) {
                            *named = new.into();
                        }
                    }
                    other => rename_attribute(other, old, new),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(|value| rename_attribute(value, old, new)),
        _ => {}
    }
}

/// Refuses a table whose key is another than that of the rows.
pub(super) fn same_key(spec: &ReplicateSpec, source: &Table, target: &Table) -> Result<(), String> {
    let wanted = renamed(&source.key, &renames(&spec.shape));
    if target.key == wanted {
        return Ok(());
    }
    Err(format!(
        "{} has another key than {}: it has {}, and rows come with {}. Replicate into another table, or let --rename make the \
         names fit",
        target.name,
        source.name,
        key_in_words(&target.key),
        key_in_words(&wanted)
    ))
}

/// The table of the replica, made if it is not there and that is asked for.
pub(super) async fn table(
    session: &Session<'_>,
    spec: &ReplicateSpec,
    source: &Table,
    target: &TableTarget,
    cloud: &Cloud,
) -> Result<Table, JobError> {
    let found = match inventory::find_table(cloud, &target.table).await? {
        Some(found) => found,
        None if spec.create => {
            let new = like(&session.cloud, spec, target).await.map_err(unfit)?;
            let told = |words: String| session.note("info", &words);
            create_table::create(cloud, &new, Waiting::default(), &told).await.map_err(unfit)?;
            inventory::table(cloud, &target.table).await?
        }
        None => {
            return Err(JobError::Unfit(format!(
                "there is no table {} to replicate into: make it, or let --create make it like {}",
                spec.target, spec.table
            )));
        }
    };
    if !matches!(found.status.as_str(), "ACTIVE" | "UPDATING") {
        return Err(JobError::Unfit(format!("table {} is {}: wait until it is ACTIVE", found.name, found.status)));
    }
    same_key(spec, source, &found).map_err(JobError::Unfit)?;
    Ok(found)
}

fn unfit(error: CreateTableError) -> JobError {
    match error {
        CreateTableError::Cloud(error) => error.into(),
        error => JobError::Unfit(error.to_string()),
    }
}

/// Opens the replica of `spec`.
pub(super) async fn open(
    session: &Session<'_>,
    spec: &ReplicateSpec,
    source: &Table,
    clock: &Arc<dyn Clock>,
) -> Result<Opened, JobError> {
    match &spec.target {
        ReplicaTarget::Table(target) => {
            let cloud = cloud(session, target).await?;
            let table = table(session, spec, source, target, &cloud).await?;
            let replica = Arc::new(TableReplica::start(&cloud, &table, spec.leave, clock));
            Ok(Opened {
                replica: Arc::clone(&replica) as _,
                key: table.key.clone(),
                name: table.name.clone(),
                table: Some((cloud, table, replica)),
            })
        }
        #[cfg(feature = "bigquery")]
        ReplicaTarget::BigQuery(target) => super::bigquery::open(session, spec, target, source, clock).await,
        #[cfg(not(feature = "bigquery"))]
        ReplicaTarget::BigQuery(_) => {
            Err(JobError::Unfit("this build has no BigQuery: it was made without the feature bigquery".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{KeyAttr, KeyKind, ShapeSpec};

    fn source() -> Context {
        Context { profile: Some("p".into()), region: Some("eu-west-1".into()), endpoint_url: None }
    }

    fn key() -> KeySchema {
        KeySchema { partition: KeyAttr { name: "PK".into(), kind: KeyKind::S }, sort: None }
    }

    #[test]
    fn a_target_without_a_place_is_where_the_source_is() {
        let target = TableTarget { table: "t".into(), ..TableTarget::default() };
        assert_eq!(target.context(&source()), source());
        let far = TableTarget { region: Some("us-east-1".into()), ..target.clone() };
        assert_eq!(far.context(&source()).profile.as_deref(), Some("p"));
        let other = TableTarget { profile: Some("q".into()), ..target };
        assert_eq!(other.context(&source()), Context { profile: Some("q".into()), ..Context::default() });
    }

    #[test]
    fn a_table_is_not_its_own_replica_but_may_be_one_of_the_same_name_elsewhere() {
        let spec = |target: TableTarget| ReplicateSpec {
            table: "t".into(),
            target: ReplicaTarget::Table(target),
            ..ReplicateSpec::default()
        };
        let same = TableTarget { table: "t".into(), ..TableTarget::default() };
        assert!(not_itself(&source(), &spec(same.clone())).unwrap_err().contains("its own replica"));
        assert!(not_itself(&source(), &spec(TableTarget { region: Some("us-east-1".into()), ..same })).is_ok());
    }

    #[test]
    fn options_that_would_lose_rows_are_refused() {
        let spec = |shape: ShapeSpec| ReplicateSpec { shape, ..ReplicateSpec::default() };
        let set = |text: &str| spec(ShapeSpec { set: vec![text.into()], ..ShapeSpec::default() });
        assert!(fits(&set("PK:S=.a"), &key()).is_err() && fits(&set("PK=.a"), &key()).is_err());
        assert!(fits(&set("a=.PK"), &key()).is_ok());
        let renamed = ShapeSpec { rename: vec!["PK=id".into()], set: vec!["id=.a".into()], ..ShapeSpec::default() };
        assert!(fits(&spec(renamed), &key()).is_err());
        let filtered = ShapeSpec { filter: Some(".a > 1".into()), ..ShapeSpec::default() };
        let two_way = ReplicateSpec { two_way: Some(crate::jobs::TwoWay::Arrival), ..spec(filtered) };
        assert!(fits(&two_way, &key()).unwrap_err().contains("--filter"));
    }

    #[test]
    fn a_renamed_key_is_renamed_wherever_the_new_table_names_it() {
        let mut request = serde_json::json!({
            "AttributeDefinitions": [{ "AttributeName": "PK", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "PK", "KeyType": "HASH" }],
            "GlobalSecondaryIndexes": [{ "IndexName": "PK", "Projection": { "NonKeyAttributes": ["PK", "host"] } }],
        });
        rename_attribute(&mut request, "PK", "id");
        assert_eq!(request["KeySchema"][0]["AttributeName"], "id");
        assert_eq!(request["AttributeDefinitions"][0]["AttributeName"], "id");
        let index = &request["GlobalSecondaryIndexes"][0];
        assert_eq!((&index["IndexName"], &index["Projection"]["NonKeyAttributes"][0]), (&"PK".into(), &"id".into()));
    }
}
