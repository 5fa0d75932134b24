//! The REST API: datasets, tables, `tabledata.insertAll` and `tabledata.list`.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::{Value as Json, json};

use super::Shared;
use super::rules::{Came, stored};
use super::table::{Refused, Row, Table};

/// Bytes of an insertAll request at most.
const LARGEST: usize = 10_000_000;
/// Rows of an insertAll request at most.
const MOST_ROWS: usize = 50_000;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(serve).layer(axum::extract::DefaultBodyLimit::max(LARGEST * 2)).with_state(shared)
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if shared.chance(|faults| faults.unavailable) {
        return reply(Err(Refused::new(503, "backendError", "a fault of the double: nothing was done")));
    }
    let done = answer(&shared, &method, &uri, &headers, &body);
    if done.is_ok() && method == Method::POST && shared.chance(|faults| faults.lose_reply) {
        // A body that breaks off: the client can't tell what was done.
        let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("a fault of the double")) });
        return Response::new(Body::from_stream(broken));
    }
    reply(done)
}

fn reply(done: Result<Json, Refused>) -> Response {
    let (status, body) = match done {
        Ok(body) => (StatusCode::OK, body),
        Err(Refused { status, reason, message }) => {
            let error = json!({"code": status, "message": message, "errors": [{"reason": reason, "message": message, "domain": "global"}]});
            (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), json!({"error": error}))
        }
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn answer(shared: &Shared, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Json, Refused> {
    let not_found = |what: &str| Refused::new(404, "notFound", format!("Not found: {what}"));
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let ["bigquery", "v2", "projects", project, "datasets", rest @ ..] = path.as_slice() else {
        return Err(not_found(uri.path()));
    };
    let parsed = || -> Result<Json, Refused> {
        serde_json::from_slice(body).map_err(|error| Refused::new(400, "parseError", error.to_string()))
    };
    let mut tables = shared.tables();
    match (method.as_str(), rest) {
        ("POST", []) => {
            let body = parsed()?;
            let name = format!("{project}.{}", body["datasetReference"]["datasetId"].as_str().unwrap_or_default());
            if tables.datasets.contains_key(&name) {
                return Err(Refused::new(409, "duplicate", format!("Already Exists: Dataset {name}")));
            }
            tables.datasets.insert(name, body.clone());
            Ok(body)
        }
        ("GET", [dataset]) => {
            let name = format!("{project}.{dataset}");
            tables.datasets.get(&name).cloned().ok_or_else(|| not_found(&format!("Dataset {name}")))
        }
        ("POST", [dataset, "tables"]) => {
            let body = parsed()?;
            if !tables.datasets.contains_key(&format!("{project}.{dataset}")) {
                return Err(not_found(&format!("Dataset {project}.{dataset}")));
            }
            let table = body["tableReference"]["tableId"].as_str().unwrap_or_default();
            tables.make(&format!("{project}.{dataset}.{table}"), body.clone())?;
            Ok(body)
        }
        (verb, [dataset, "tables", table, rest @ ..]) => {
            let name = format!("{project}.{dataset}.{table}");
            let table = tables.get_mut(&name).ok_or_else(|| not_found(&format!("Table {name}")))?;
            match (verb, rest) {
                ("GET", []) => Ok(table.resource()),
                ("PATCH", []) => {
                    let if_match = headers.get("if-match").and_then(|value| value.to_str().ok());
                    table.patch(&parsed()?, if_match, shared.faults().schema_lag)?;
                    Ok(table.resource())
                }
                ("POST", ["insertAll"]) => {
                    if body.len() > LARGEST {
                        return Err(Refused::new(413, "invalid", "Request payload size exceeds the limit: 10 MB"));
                    }
                    insert_all(table, &parsed()?, shared.faults().poison.as_deref())
                }
                ("GET", ["data"]) => Ok(list(table)),
                _ => Err(not_found(uri.path())),
            }
        }
        _ => Err(not_found(uri.path())),
    }
}

/// Without `skipInvalidRows`, one invalid row stops all the others.
fn insert_all(table: &mut Table, body: &Json, poison: Option<&str>) -> Result<Json, Refused> {
    let rows = body["rows"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() || rows.len() > MOST_ROWS {
        return Err(Refused::new(400, "invalid", format!("{} rows: 1 to 50,000 are allowed", rows.len())));
    }
    let too_long = |row: &Json| row["insertId"].as_str().is_some_and(|id| id.len() > 128);
    if rows.iter().any(too_long) {
        return Err(Refused::new(400, "invalid", "insertId: at most 128 characters"));
    }
    table.asked();
    let read: Vec<Result<Row, String>> = rows.iter().map(|row| read(table, &row["json"], poison)).collect();
    if read.iter().all(Result::is_ok) {
        for (row, sent) in read.into_iter().flatten().zip(rows) {
            table.insert(row, sent["insertId"].as_str());
        }
        return Ok(json!({"kind": "bigquery#tableDataInsertAllResponse"}));
    }
    let errors = read.iter().enumerate().map(|(index, row)| match row {
        Ok(_) => json!({"index": index, "errors": [{"reason": "stopped", "location": "", "message": ""}]}),
        Err(message) => json!({"index": index, "errors": [{"reason": "invalid", "location": "", "message": message}]}),
    });
    Ok(json!({"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": errors.collect::<Vec<_>>()}))
}

fn read(table: &Table, row: &Json, poison: Option<&str>) -> Result<Row, String> {
    if poison.is_some_and(|poison| row.to_string().contains(poison)) {
        return Err("a fault of the double".into());
    }
    let mut cells = Row::new();
    for (name, value) in row.as_object().into_iter().flatten() {
        let column = table.seen(name).ok_or_else(|| format!("no such field: {name}."))?;
        let one = |value: &Json| -> Result<Json, String> {
            let came = match value {
                Json::String(text) => Came::Text(text.clone()),
                Json::Bool(value) => Came::Bool(*value),
                Json::Number(number) if number.is_i64() => Came::Int(number.as_i64().unwrap_or_default()),
                Json::Number(number) => Came::Float(number.as_f64().unwrap_or_default()),
                other => return Err(format!("{name}: {other} is no value")),
            };
            stored(&column.kind, came).map_err(|error| format!("{name}: {error}"))
        };
        let value = match (value, column.repeated) {
            (Json::Array(all), true) => all.iter().map(one).collect::<Result<Json, _>>()?,
            (Json::Null, false) => continue,
            (value, false) => one(value)?,
            (_, true) => return Err(format!("{name}: Array expected")),
        };
        cells.insert(column.name.clone(), value);
    }
    match table.lacks(&cells, None) {
        Some(lacking) => Err(lacking),
        None => Ok(cells),
    }
}

/// `tabledata.list`: cells in the order of the columns.
fn list(table: &Table) -> Json {
    let cell = |value: Option<&Json>| match value {
        Some(Json::Array(all)) => json!({"v": all.iter().map(|value| json!({"v": value})).collect::<Vec<_>>()}),
        Some(value @ (Json::Object(_) | Json::Bool(_))) => json!({"v": value.to_string()}),
        other => json!({"v": other}),
    };
    let rows: Vec<Json> = table
        .rows()
        .map(|row| json!({"f": table.fields.iter().map(|field| cell(row.get(&field.name))).collect::<Vec<_>>()}))
        .collect();
    json!({"kind": "bigquery#tableDataList", "totalRows": rows.len().to_string(), "rows": rows})
}
