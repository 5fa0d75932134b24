//! Making the table that a restore writes, from a schema file or from the table that an export was made of.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::types::{IndexStatus, TableDescription, TableStatus, TimeToLiveSpecification};
use aws_smithy_types::body::SdkBody;

use super::spec::SourceSpec;
use crate::backup::{BackupError, Set, Wanted};
use crate::cloud::schema::{Schema, SchemaError, key_in_words};
use crate::cloud::{Class, Cloud, CloudError, Context, guard};
use crate::item::KeySchema;

/// Where a table's schema comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaSource {
    /// A file: what `aws dynamodb describe-table` prints, or what `create-table --cli-input-json` takes.
    File(PathBuf),
    /// The table that the export was made of.
    Export,
}

impl FromStr for SchemaSource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "export" { Self::Export } else { Self::File(text.into()) })
    }
}

/// Why a table can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateTableError {
    /// AWS or the guard said no.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The source can't be looked at.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The schema file can't be read.
    #[error("the schema file {} can't be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A schema that is none.
    #[error("{from}: {error}")]
    Schema {
        /// Where it comes from.
        from: String,
        /// What is wrong with it.
        error: SchemaError,
    },
    /// The source is no export.
    #[error(
        "the source is no DynamoDB export, so it names no table to take the schema from: give --create-table a file, such as what \
         `aws dynamodb describe-table` prints"
    )]
    NoExport,
    /// The ARN in a manifest is none.
    #[error("the export's manifest names its table {0:?}, which is no ARN: give --create-table a file")]
    NoArn(String),
    /// The table is there with another key.
    #[error(
        "table {table} exists with another key: it has {has}, the schema says {wanted}. Restore into another table, or leave out \
         --create-table"
    )]
    OtherKey {
        /// The table.
        table: String,
        /// The key that it has.
        has: String,
        /// The key that was asked for.
        wanted: String,
    },
    /// It did not become active.
    #[error(
        "table {table} is still {status} after {minutes} minutes: restore into it once `sluice tables {table}` says ACTIVE"
    )]
    NotActive {
        /// The table.
        table: String,
        /// What it is.
        status: String,
        /// How long that was waited for.
        minutes: u64,
    },
}

/// A table that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTable {
    /// Its schema, with its name.
    pub schema: Schema,
    /// The attribute that holds the time at which items expire.
    pub expires: Option<String>,
    /// Where the schema comes from, in words.
    pub from: String,
    /// What could not be taken over, in words.
    pub left_out: Vec<String>,
}

/// Reads the schema of a table that is to be named `table`.
///
/// # Errors
/// There is no schema there, in words.
pub async fn read(
    cloud: &Cloud,
    source: &SchemaSource,
    spec: &SourceSpec,
    table: &str,
) -> Result<NewTable, CreateTableError> {
    match source {
        SchemaSource::File(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| CreateTableError::Unreadable { file: file.clone(), error })?;
            let from = file.display().to_string();
            let schema = Schema::from_json(&text)
                .map_err(|error| CreateTableError::Schema { from: from.clone(), error })?
                .named(table);
            let expires = expires_in(&text);
            let left_out = schema.left_out.clone();
            Ok(NewTable { schema, expires, from, left_out })
        }
        SchemaSource::Export => of_export(cloud, spec, table).await,
    }
}

/// The TTL attribute, where the output of `describe-time-to-live` was put into the same file.
fn expires_in(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let ttl = &value["TimeToLiveDescription"];
    (ttl["TimeToLiveStatus"] == "ENABLED").then(|| ttl["AttributeName"].as_str().map(str::to_owned))?
}

async fn of_export(cloud: &Cloud, spec: &SourceSpec, table: &str) -> Result<NewTable, CreateTableError> {
    let wanted = Wanted { sources: spec.sources.clone(), format: spec.format, until: spec.until };
    let set = Set::resolve(&wanted, Some(&cloud.s3)).await?;
    let export = set.stages.iter().find_map(|stage| stage.export.as_ref()).ok_or(CreateTableError::NoExport)?;
    let arn = export.table_arn.as_str();
    let (region, name) = region_and_name(arn).ok_or_else(|| CreateTableError::NoArn(arn.to_owned()))?;
    let there = if region == cloud.region {
        cloud.clone()
    } else {
        let context = Context { region: Some(region.to_owned()), ..cloud.context.clone() };
        Cloud::connect(&context, cloud.guard.clone()).await?
    };
    // By its ARN: a table of the same name in this account may be another one. The embedded AWS knows names alone.
    let asked = if cloud.context.is_loopback() { name } else { arn };
    let described = there.dynamodb.describe_table().table_name(asked).send().await.map_err(|error| {
        let mut error = CloudError::of(&format!("describe the export's source table {arn}"), &error);
        error.hint.push_str(if error.hint.is_empty() { "" } else { " " });
        error.hint.push_str("Give --create-table a file instead");
        error
    })?;
    let described = described.table.unwrap_or_else(|| TableDescription::builder().build());
    let from = format!("table {name} in {region}");
    let schema = Schema::of_description(&described)
        .map_err(|error| CreateTableError::Schema { from: from.clone(), error })?
        .named(table);
    let mut left_out = schema.left_out.clone();
    let expires = match there.dynamodb.describe_time_to_live().table_name(asked).send().await {
        Ok(output) => output
            .time_to_live_description
            .filter(|ttl| ttl.time_to_live_status().is_some_and(|status| status.as_str().starts_with("ENABL")))
            .and_then(|ttl| ttl.attribute_name),
        Err(error) => {
            let error = CloudError::of("ask for its TTL attribute", &error);
            left_out.push(format!("whether its items expire is not known: {error}"));
            None
        }
    };
    Ok(NewTable { schema, expires, from, left_out })
}

/// `arn:aws:dynamodb:eu-west-1:111122223333:table/quotes` -> `eu-west-1`, `quotes`.
fn region_and_name(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let region = parts.nth(3)?;
    let name = parts.nth(1)?.strip_prefix("table/")?.split('/').next()?;
    (!region.is_empty() && !name.is_empty()).then_some((region, name))
}

/// Refuses a table that exists with another key than the schema's.
///
/// # Errors
/// [`CreateTableError::OtherKey`].
pub fn same_key(table: &str, has: &KeySchema, wanted: &KeySchema) -> Result<(), CreateTableError> {
    if has == wanted {
        return Ok(());
    }
    Err(CreateTableError::OtherKey { table: table.to_owned(), has: key_in_words(has), wanted: key_in_words(wanted) })
}

/// What making a table takes beside its request.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// How often the table is looked at.
    pub every: Duration,
    /// How often at most.
    pub times: u32,
}

impl Default for Waiting {
    /// Each second, for half an hour.
    fn default() -> Self {
        Self { every: Duration::from_secs(1), times: 1_800 }
    }
}

/// Makes a table and waits until it and each of its indexes is ACTIVE; `told` hears of each step, in words.
///
/// # Errors
/// AWS or the guard said no, or it took too long. Of a dry run the class is [`Class::DryRun`]: the request was printed.
pub async fn create(
    cloud: &Cloud,
    new: &NewTable,
    waiting: Waiting,
    told: &(dyn Fn(String) + Send + Sync),
) -> Result<(), CreateTableError> {
    let name = new.schema.name.as_str();
    let body = new.schema.request.to_string();
    cloud
        .dynamodb
        .create_table()
        // The table's name alone, for the SDK's endpoint rules; the body is the schema's own request.
        .table_name(name)
        .customize()
        .mutate_request(move |request| {
            request.headers_mut().insert("content-length", body.len().to_string());
            *request.body_mut() = SdkBody::from(body.clone());
        })
        .send()
        .await
        .map_err(|error| CloudError::of(&format!("create table {name}"), &error))?;
    told(format!("making table {name} as {} says", new.from));
    active(cloud, name, waiting).await?;
    told(format!("table {name} is ACTIVE"));
    for what in &new.left_out {
        told(format!("left out: {what}"));
    }
    let Some(attribute) = &new.expires else { return Ok(()) };
    let ttl = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build();
    let ttl = ttl.map_err(|error| CloudError::new(Class::Invalid, error.to_string(), ""))?;
    let before = serde_json::json!({ "TimeToLiveSpecification": { "Enabled": false, "AttributeName": attribute } });
    let request = cloud.dynamodb.update_time_to_live().table_name(name).time_to_live_specification(ttl);
    let set = guard::knowing(before, request.send()).await;
    match set {
        Ok(_) => told(format!("items of {name} expire by their attribute {attribute}, as in the original")),
        // The table is there and right but for this: a restore goes on, and says it.
        Err(error) => {
            let error = CloudError::of(&format!("let items of {name} expire by {attribute}"), &error);
            told(format!("{error}; set it later with aws dynamodb update-time-to-live"));
        }
    }
    Ok(())
}

async fn active(cloud: &Cloud, table: &str, waiting: Waiting) -> Result<(), CreateTableError> {
    let mut status = String::from("CREATING");
    for look in 0..waiting.times {
        if look > 0 {
            tokio::time::sleep(waiting.every).await;
        }
        match cloud.dynamodb.describe_table().table_name(table).send().await {
            Ok(output) => {
                let Some(described) = output.table else { continue };
                match waits_for(&described) {
                    None => return Ok(()),
                    Some(what) => status = what,
                }
            }
            Err(error) => {
                let error = CloudError::of(&format!("describe table {table}"), &error);
                // It was just made: not all of AWS knows it yet.
                if !error.class.is_retryable() && error.class != Class::NotFound {
                    return Err(error.into());
                }
            }
        }
    }
    let minutes = (waiting.every * waiting.times).as_secs() / 60;
    Err(CreateTableError::NotActive { table: table.to_owned(), status, minutes })
}

/// What a table still waits for; `None` once it and its indexes are ACTIVE.
fn waits_for(table: &TableDescription) -> Option<String> {
    let status = table.table_status().unwrap_or(&TableStatus::Active);
    if *status != TableStatus::Active {
        return Some(status.as_str().to_owned());
    }
    table.global_secondary_indexes().iter().find_map(|index| {
        let status = index.index_status().unwrap_or(&IndexStatus::Active);
        (*status != IndexStatus::Active)
            .then(|| format!("{} (index {})", status.as_str(), index.index_name().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::GlobalSecondaryIndexDescription;

    use super::*;
    use crate::item::{KeyAttr, KeyKind};

    #[test]
    fn export_is_the_exports_table_and_anything_else_a_file() {
        assert_eq!("export".parse(), Ok(SchemaSource::Export));
        assert_eq!("./export".parse(), Ok(SchemaSource::File("./export".into())));
    }

    #[test]
    fn an_arn_tells_region_and_name() {
        let arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/quotes";
        assert_eq!(region_and_name(arn), Some(("eu-west-1", "quotes")));
        for wrong in ["", "quotes", "arn:aws:dynamodb:eu-west-1:1:stream/x", "arn:aws:dynamodb::1:table/x"] {
            assert_eq!(region_and_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn another_key_is_an_error_that_shows_both() {
        let key = |name: &str, kind| KeySchema { partition: KeyAttr { name: name.into(), kind }, sort: None };
        assert!(same_key("t", &key("id", KeyKind::S), &key("id", KeyKind::S)).is_ok());
        let error = same_key("t", &key("id", KeyKind::S), &key("id", KeyKind::N)).unwrap_err().to_string();
        assert!(error.contains("it has id (S), the schema says id (N)"), "{error}");
    }

    #[test]
    fn a_table_waits_for_each_of_its_indexes() {
        let index = |status| GlobalSecondaryIndexDescription::builder().index_name("i").index_status(status).build();
        let table =
            |status, index| TableDescription::builder().table_status(status).global_secondary_indexes(index).build();
        let waiting = table(TableStatus::Creating, index(IndexStatus::Active));
        assert_eq!(waits_for(&waiting), Some("CREATING".into()));
        let waiting = table(TableStatus::Active, index(IndexStatus::Creating));
        assert_eq!(waits_for(&waiting), Some("CREATING (index i)".into()));
        assert_eq!(waits_for(&table(TableStatus::Active, index(IndexStatus::Active))), None);
    }

    #[test]
    fn a_ttl_description_in_the_same_file_is_heeded() {
        let text = r#"{"Table":{},"TimeToLiveDescription":{"TimeToLiveStatus":"ENABLED","AttributeName":"expires"}}"#;
        assert_eq!(expires_in(text).as_deref(), Some("expires"));
        assert_eq!(expires_in(r#"{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}"#), None);
        assert_eq!(expires_in(r#"{"Table":{}}"#), None);
    }
}
