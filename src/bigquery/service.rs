//! The REST API of BigQuery, as far as a replica needs it: every request passes the guard, and an error gets its class.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::access::{Access, Identity};
use super::column::Columns;
use super::name::TableId;
use crate::cloud::guard::{Change, Mode, Outcome, Refused};
use crate::cloud::{Class, CloudError, Guard};

/// How long a connection may take, and a whole request.
const CONNECT: Duration = Duration::from_millis(2500);
const REQUEST: Duration = Duration::from_secs(30);

/// BigQuery, asked about one table.
#[derive(Clone, Debug)]
pub(super) struct Service {
    http: reqwest::Client,
    endpoint: String,
    grpc: String,
    identity: Identity,
    guard: Arc<Guard>,
    table: TableId,
}

/// What a table is made with beside its columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Making<'a> {
    pub description: String,
    /// `maxStaleness`, an INTERVAL.
    pub max_staleness: Option<&'a str>,
    /// A change log is partitioned by the day of this column.
    pub by_day_of: Option<&'a str>,
}

impl Service {
    pub fn new(access: &Access, table: TableId, guard: Arc<Guard>) -> Result<Self, CloudError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| CloudError::new(Class::Unknown, format!("could not make an HTTP client: {error}"), ""))?;
        let identity = Identity::of(access)?;
        Ok(Self { http, endpoint: access.rest(), grpc: access.grpc(), identity, guard, table })
    }

    pub fn table(&self) -> &TableId {
        &self.table
    }

    pub fn grpc(&self) -> &str {
        &self.grpc
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// True when requests are shown instead of sent.
    pub fn is_dry_run(&self) -> bool {
        self.guard.mode() == Mode::DryRun
    }

    fn datasets(&self) -> String {
        format!("projects/{}/datasets", self.table.project)
    }

    fn tables(&self) -> String {
        format!("{}/{}/tables", self.datasets(), self.table.dataset)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.tables(), self.table.table)
    }

    /// The dataset; `None` when there is none.
    pub async fn dataset(&self) -> Result<Option<Json>, CloudError> {
        let path = format!("{}/{}", self.datasets(), self.table.dataset);
        absent(self.send("GetDataset", Method::GET, &path, None, &[]).await)
    }

    /// Makes the dataset; one that another made meanwhile is as good.
    pub async fn make_dataset(&self, location: Option<&str>) -> Result<(), CloudError> {
        let TableId { project, dataset, .. } = &self.table;
        let mut body = json!({"datasetReference": {"projectId": project, "datasetId": dataset}});
        if let Some(location) = location {
            body["location"] = location.into();
        }
        there(self.send("InsertDataset", Method::POST, &self.datasets(), Some(&body), &[]).await)
    }

    /// The table as the REST API tells it; `None` when there is none.
    pub async fn get_table(&self) -> Result<Option<Json>, CloudError> {
        let found = absent(self.send("GetTable", Method::GET, &self.path(), None, &[]).await)?;
        Ok(found.map(|table| if self.endpoint.starts_with("http://") { remembered(table) } else { table }))
    }

    /// Makes the table; one that another made meanwhile is as good.
    pub async fn make_table(&self, columns: &Columns, making: &Making<'_>) -> Result<(), CloudError> {
        let TableId { project, dataset, table } = &self.table;
        let mut body = json!({
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
            "description": making.description,
            "schema": columns.to_json(),
        });
        let clustering = columns.clustering();
        if !clustering.is_empty() {
            body["clustering"] = json!({"fields": clustering});
        }
        if let Some(column) = making.by_day_of {
            body["timePartitioning"] = json!({"type": "DAY", "field": column});
        } else {
            body["tableConstraints"] = json!({"primaryKey": {"columns": columns.key()}});
        }
        if let Some(staleness) = making.max_staleness {
            body["maxStaleness"] = staleness.into();
        }
        there(self.send("InsertTable", Method::POST, &self.tables(), Some(&body), &[]).await)
    }

    /// Gives the table the columns of `columns`, which are those that it has and more. [`Class::Condition`] when it changed
    /// since it was read as `etag`.
    pub async fn set_columns(&self, columns: &Columns, etag: Option<&str>) -> Result<(), CloudError> {
        let body = json!({"schema": columns.to_json()});
        let headers: Vec<(&str, &str)> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
        self.send("PatchTable", Method::PATCH, &self.path(), Some(&body), &headers).await.map(drop)
    }

    /// `tabledata.insertAll`.
    pub async fn insert_all(&self, body: &Json) -> Result<Json, CloudError> {
        self.send("InsertAll", Method::POST, &self.path(), Some(body), &[]).await
    }

    /// Asks the guard about `operation`, which sends `request`, to be shown in a dry run.
    /// Returns what the guard is to be told under of what came of it.
    pub fn may(&self, operation: &str, target: &str, request: &dyn Fn() -> String) -> Result<Option<i64>, CloudError> {
        let change = |whole: bool| Change {
            service: "bigquery".to_owned(),
            operation: operation.to_owned(),
            target: target.to_owned(),
            request: if whole { request() } else { String::new() },
            ..Change::default()
        };
        let change: Option<&dyn Fn(bool) -> Change> = if operation.starts_with("Get") { None } else { Some(&change) };
        self.guard.outside(operation, change).map_err(|refused| {
            let class = match refused {
                Refused::ReadOnly => Class::ReadOnly,
                Refused::DryRun => Class::DryRun,
            };
            CloudError::new(class, format!("{operation} of BigQuery {target}: {refused}"), "")
        })
    }

    async fn send(
        &self,
        operation: &str,
        method: Method,
        path: &str,
        body: Option<&Json>,
        headers: &[(&str, &str)],
    ) -> Result<Json, CloudError> {
        let number = self.may(operation, path, &|| body.map(ToString::to_string).unwrap_or_default())?;
        let action = format!("{} of BigQuery {}", in_words(operation), self.table);
        let insert = if operation == "InsertAll" { "/insertAll" } else { "" };
        let url = format!("{}/bigquery/v2/{path}{insert}", self.endpoint);
        let identity = self.identity.headers(&self.endpoint).await;
        let identity = identity
            .inspect_err(|error| self.guard.settled(number, &Outcome::Refused(format!("not sent: {error}"))))?;
        let mut request = self.http.request(method, &url).headers(identity);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = async {
            let reply = request.send().await?;
            Ok((reply.status(), reply.bytes().await?))
        };
        let reply = reply.await.map_err(|error| unreached(&action, &self.endpoint, &error));
        self.guard.settled(number, &outcome(reply.as_ref()));
        let (status, bytes) = reply?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                CloudError::new(Class::Transient, format!("could not {action}: the reply is no JSON ({error})"), "")
            });
        }
        Err(refused(&action, status.as_u16(), &bytes))
    }
}

/// What a reply says became of a change.
fn outcome(reply: Result<&(StatusCode, Bytes), &CloudError>) -> Outcome {
    let (status, bytes) = match reply {
        Ok((status, _)) if status.is_success() => return Outcome::Done,
        Ok(answered) => answered,
        Err(error) => return Outcome::Unknown(error.to_string()),
    };
    let body: Json = serde_json::from_slice(bytes).unwrap_or_default();
    let words = body["error"]["message"].as_str().unwrap_or_default();
    let told = format!("{}: {words}", status.as_u16());
    if status.is_client_error() { Outcome::Refused(told) } else { Outcome::Unknown(told) }
}

/// How the description of a table begins that we made, for rows that are kept.
pub(super) const MADE: &str = "Replica of the DynamoDB table ";

/// `table` of an emulator: one that forgets a table's constraints is helped out where we made the table, for there the
/// columns of the primary key are those that are REQUIRED.
fn remembered(mut table: Json) -> Json {
    if table.get("tableConstraints").is_none()
        && table["description"].as_str().is_some_and(|text| text.starts_with(MADE))
    {
        let fields = table["schema"]["fields"].as_array().into_iter().flatten();
        let required: Vec<Json> =
            fields.filter(|field| field["mode"] == "REQUIRED").map(|field| field["name"].clone()).collect();
        table["tableConstraints"] = json!({"primaryKey": {"columns": required}});
    }
    table
}

fn in_words(operation: &str) -> &'static str {
    match operation {
        "GetDataset" => "look up the dataset",
        "InsertDataset" => "make the dataset",
        "GetTable" => "look up the table",
        "InsertTable" => "make the table",
        "PatchTable" => "add columns to the table",
        _ => "insert rows into the table",
    }
}

fn absent(reply: Result<Json, CloudError>) -> Result<Option<Json>, CloudError> {
    match reply {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.class == Class::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn there(reply: Result<Json, CloudError>) -> Result<(), CloudError> {
    match reply {
        Ok(_) => Ok(()),
        Err(error) if error.class == Class::InUse => Ok(()),
        Err(error) => Err(error),
    }
}

fn unreached(action: &str, endpoint: &str, error: &reqwest::Error) -> CloudError {
    let mut why = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        why = cause.to_string();
        next = cause.source();
    }
    CloudError::new(Class::Transient, format!("could not {action}: {endpoint} did not answer ({why})"), "")
}

/// The error of a reply ("Error messages" of BigQuery: the HTTP code, and the reason within).
fn refused(action: &str, status: u16, body: &[u8]) -> CloudError {
    let error: Json = serde_json::from_slice::<Json>(body).map(|body| body["error"].clone()).unwrap_or_default();
    let reason = error["errors"][0]["reason"].as_str().unwrap_or_default();
    let said = error["message"].as_str().unwrap_or_default();
    let class = match (status, reason) {
        (403, "rateLimitExceeded" | "quotaExceeded" | "jobRateLimitExceeded") | (429, _) => Class::Throttled,
        (401 | 403, _) => Class::Auth,
        (404, _) => Class::NotFound,
        (409, _) => Class::InUse,
        (412, _) => Class::Condition,
        (400, "backendError" | "internalError") | (408 | 500..=599, _) => Class::Transient,
        (400..=499, _) => Class::Invalid,
        _ => Class::Unknown,
    };
    let hint = match class {
        Class::Auth => {
            "a replica needs roles/bigquery.dataEditor on the dataset, and bigquery.datasets.create on the project to make it"
        }
        _ => "",
    };
    CloudError::new(class, format!("could not {action}: {said} ({status} {reason})"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_that_forgets_the_primary_key_is_helped_out_only_where_we_made_the_table() {
        let fields = json!([{"name": "id", "mode": "REQUIRED"}, {"name": "n"}]);
        let made = json!({"description": format!("{MADE}games, written"), "schema": {"fields": fields}});
        assert_eq!(remembered(made)["tableConstraints"]["primaryKey"]["columns"], json!(["id"]));
        let others = json!({"schema": {"fields": fields}});
        assert_eq!(remembered(others.clone()), others);
    }

    #[test]
    fn an_error_of_the_rest_api_gets_its_class_from_code_and_reason() {
        for (status, reason, class) in [
            (403, "accessDenied", Class::Auth),
            (403, "rateLimitExceeded", Class::Throttled),
            (403, "quotaExceeded", Class::Throttled),
            (401, "authError", Class::Auth),
            (404, "notFound", Class::NotFound),
            (409, "duplicate", Class::InUse),
            (412, "conditionNotMet", Class::Condition),
            (400, "invalid", Class::Invalid),
            (400, "backendError", Class::Transient),
            (503, "backendError", Class::Transient),
        ] {
            let body =
                json!({"error": {"code": status, "message": "said", "errors": [{"reason": reason}]}}).to_string();
            let error = refused("add columns", status, body.as_bytes());
            assert_eq!(error.class, class, "{status} {reason}");
            assert!(error.to_string().contains("said") && error.to_string().contains(reason), "{error}");
        }
        assert_eq!(refused("x", 502, b"<html>").class, Class::Transient);
    }
}
