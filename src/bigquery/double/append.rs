//! `BigQueryWrite.AppendRows` on default streams.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::{SinkExt as _, Stream, StreamExt as _};
use prost::Message as _;
use prost_types::Any;
use serde_json::Value as Json;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::Shared;
use super::decode::{WriterFields, goes_into, values, writer_fields};
use super::rules::{Came, stored};
use super::table::{ChangeType, Row, Table};
use crate::bigquery::proto::{
    APPEND_ROWS, AppendResponse, AppendResult, AppendRowsRequest, AppendRowsResponse, LARGEST_APPEND, RowError,
    RpcStatus, SERVICE, StorageError,
};
use crate::bigquery::row::{CHANGE_SEQUENCE, CHANGE_TYPE};
use crate::bigquery::sequence;

/// The gRPC service.
#[derive(Clone, Debug)]
pub(super) struct AppendService(pub Arc<Shared>);

impl NamedService for AppendService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for AppendService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            if request.uri().path() != APPEND_ROWS {
                return Ok(Status::unimplemented("only AppendRows").into_http());
            }
            let codec: ProstCodec<AppendRowsResponse, AppendRowsRequest> = ProstCodec::default();
            // Above the limit, so that the limit is told in words.
            let mut grpc = Grpc::new(codec).max_decoding_message_size(LARGEST_APPEND * 4);
            Ok(grpc.streaming(AppendRows(shared), request).await)
        })
    }
}

struct AppendRows(Arc<Shared>);

type Replies = Pin<Box<dyn Stream<Item = Result<AppendRowsResponse, Status>> + Send>>;

impl StreamingService<AppendRowsRequest> for AppendRows {
    type Response = AppendRowsResponse;
    type ResponseStream = Replies;
    type Future = BoxFuture<Response<Replies>, Status>;

    fn call(&mut self, request: Request<Streaming<AppendRowsRequest>>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        let mut requests = request.into_inner();
        Box::pin(async move {
            let (mut replies, stream) = mpsc::channel(16);
            tokio::spawn(async move {
                let mut connection = Writer { shared, opened: None };
                while let Some(Ok(request)) = requests.next().await {
                    let reply = connection.append(request);
                    let ends = reply.is_err();
                    if replies.send(reply).await.is_err() || ends {
                        return;
                    }
                }
            });
            Ok(Response::new(Box::pin(stream) as Replies))
        })
    }
}

/// A writer's connection.
struct Writer {
    shared: Arc<Shared>,
    opened: Option<Opened>,
}

struct Opened {
    stream: String,
    table: String,
    fields: WriterFields,
    /// Whether its rows carry a change type.
    changes: Option<bool>,
    version: String,
}

impl Writer {
    /// An error ends the connection.
    fn append(&mut self, request: AppendRowsRequest) -> Result<AppendRowsResponse, Status> {
        if self.shared.chance(|faults| faults.unavailable) {
            return Err(Status::unavailable("a fault of the double: nothing was done"));
        }
        let size = request.encoded_len();
        if size >= LARGEST_APPEND {
            return Err(Status::invalid_argument(format!(
                "AppendRows request of {size} bytes: less than 10 MB are allowed"
            )));
        }
        if self.opened.is_none() {
            self.open(&request)?;
        }
        let Some(opened) = &mut self.opened else { return Err(Status::internal("not opened")) };
        if !request.write_stream.is_empty() && request.write_stream != opened.stream {
            return Err(Status::invalid_argument("write_stream is another than the connection's"));
        }
        if request.offset.is_some() {
            return Err(Status::invalid_argument("offset is not allowed on the default stream"));
        }
        let rows = request.proto_rows.and_then(|data| data.rows).unwrap_or_default().serialized_rows;
        if rows.is_empty() {
            return Err(Status::invalid_argument("there are no rows in the request"));
        }
        let poison = self.shared.faults().poison;
        let mut tables = self.shared.tables();
        let Some(table) = tables.get_mut(&opened.table) else {
            return Err(Status::not_found(format!("Requested entity was not found: {}", opened.table)));
        };
        table.asked();
        let mut read = Vec::with_capacity(rows.len());
        let mut row_errors = Vec::new();
        for (index, row) in (0..).zip(&rows) {
            match decode(table, opened, row, poison.as_deref()) {
                Ok(row) => read.push(row),
                Err(message) => row_errors.push(RowError { index, code: 1, message }),
            }
        }
        let mut response = AppendRowsResponse { write_stream: opened.stream.clone(), ..AppendRowsResponse::default() };
        if table.etag() != opened.version {
            opened.version = table.etag();
            // An empty TableSchema: nobody here reads more of it than that it is there.
            response.updated_schema = Some(bytes::Bytes::new());
        }
        if !row_errors.is_empty() {
            let message =
                format!("Errors found while processing rows. There were {} rows with errors", row_errors.len());
            let code = Code::InvalidArgument as i32;
            response.row_errors = row_errors;
            response.response = Some(AppendResponse::Error(RpcStatus { code, message, details: Vec::new() }));
            return Ok(response);
        }
        for (row, change, sequence) in read {
            match change {
                Some(change) => table.change(row, change, sequence.as_deref()),
                None => table.insert(row, None),
            }
        }
        drop(tables);
        if self.shared.chance(|faults| faults.lose_reply) {
            return Err(Status::unavailable("a fault of the double: the reply was lost"));
        }
        response.response = Some(AppendResponse::AppendResult(AppendResult { offset: None }));
        Ok(response)
    }

    fn open(&mut self, request: &AppendRowsRequest) -> Result<(), Status> {
        let stream = request.write_stream.clone();
        let mut parts = stream.split('/');
        let mut next = |name: &str| if parts.next() == Some(name) { parts.next() } else { None };
        let named = (next("projects"), next("datasets"), next("tables"), next("streams"));
        let (Some(project), Some(dataset), Some(table), Some("_default")) = named else {
            return Err(Status::invalid_argument(format!("{stream:?} is no default stream")));
        };
        let table_name = format!("{project}.{dataset}.{table}");
        let descriptor = request.proto_rows.as_ref().and_then(|data| data.writer_schema.as_ref());
        let Some(descriptor) = descriptor.and_then(|schema| schema.proto_descriptor.as_ref()) else {
            return Err(Status::invalid_argument("the first request of a connection needs a writer schema"));
        };
        let fields = writer_fields(descriptor);
        let mut tables = self.shared.tables();
        let Some(table) = tables.get_mut(&table_name) else {
            return Err(Status::not_found(format!("Requested entity was not found: {table_name}")));
        };
        for field in fields.values() {
            if [CHANGE_TYPE, CHANGE_SEQUENCE].contains(&field.name.as_str()) {
                if table.key.is_empty() {
                    let message = format!("{} needs a primary key, and the table has none", field.name);
                    return Err(Status::invalid_argument(message));
                }
                continue;
            }
            let Some(column) = table.seen(&field.name) else {
                table.asked();
                return Err(extra_field(&stream, &field.name));
            };
            if column.repeated != field.repeated || !goes_into(field.kind, &column.kind) {
                let message = format!("Field {} can't be converted to {}", field.name, column.kind);
                return Err(Status::invalid_argument(message));
            }
        }
        let version = table.etag();
        self.opened = Some(Opened { stream, table: table_name, fields, changes: None, version });
        Ok(())
    }
}

/// The writer knows a column that the table does not have.
fn extra_field(stream: &str, field: &str) -> Status {
    let message = format!("Input schema has more fields than BigQuery schema, extra fields: '{field}'");
    let error =
        StorageError { code: StorageError::EXTRA_FIELDS, entity: stream.to_owned(), error_message: message.clone() };
    let detail = Any { type_url: StorageError::TYPE_URL.to_owned(), value: error.encode_to_vec() };
    let code = Code::InvalidArgument;
    let status = RpcStatus { code: code as i32, message: message.clone(), details: vec![detail] };
    Status::with_details(code, message, status.encode_to_vec().into())
}

type Decoded = (Row, Option<ChangeType>, Option<String>);

fn decode(table: &Table, opened: &mut Opened, row: &[u8], poison: Option<&str>) -> Result<Decoded, String> {
    let mut cells = Row::new();
    let (mut change, mut sequence) = (None, None);
    for (field, came) in values(row, &opened.fields)? {
        if let (Some(poison), Came::Text(text)) = (poison, &came)
            && text.contains(poison)
        {
            return Err(format!("Field {}: a fault of the double", field.name));
        }
        match (field.name.as_str(), came) {
            (CHANGE_TYPE, Came::Text(kind)) => {
                change = Some(match kind.as_str() {
                    "UPSERT" => ChangeType::Upsert,
                    "DELETE" => ChangeType::Delete,
                    _ => return Err("The given value is not a valid CHANGE_TYPE".into()),
                });
            }
            (CHANGE_SEQUENCE, Came::Text(text)) => {
                if sequence::read(&text).is_none() {
                    return Err(format!("The given value is not a valid CHANGE_SEQUENCE_NUMBER: {text}"));
                }
                sequence = Some(text);
            }
            (name, came) => {
                let Some(column) = table.fields.iter().find(|column| column.name.eq_ignore_ascii_case(name)) else {
                    return Err(format!("no such field: {name}"));
                };
                let value = stored(&column.kind, came).map_err(|error| format!("Field {name}: {error}"))?;
                if column.repeated {
                    let all = cells.entry(column.name.clone()).or_insert_with(|| Json::Array(Vec::new()));
                    all.as_array_mut().into_iter().for_each(|all| all.push(value.clone()));
                } else {
                    cells.insert(column.name.clone(), value);
                }
            }
        }
    }
    if *opened.changes.get_or_insert(change.is_some()) != change.is_some() {
        return Err("The given value is not a valid CHANGE_TYPE".into());
    }
    if change.is_some() && !table.may_follow(sequence.is_some()) {
        return Err("rows with and without _CHANGE_SEQUENCE_NUMBER in one table have no order".into());
    }
    match table.lacks(&cells, change) {
        Some(lacking) => Err(lacking),
        None => Ok((cells, change, sequence)),
    }
}
