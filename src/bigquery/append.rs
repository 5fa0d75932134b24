//! One connection to the default stream of a table: rows out, acknowledgements and errors back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _};
use http::uri::PathAndQuery;
use prost::Message as _;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::column::Columns;
use super::proto::{
    APPEND_ROWS, AppendResponse, AppendRowsRequest, AppendRowsResponse, LARGEST_APPEND, ProtoData, ProtoRows,
    ProtoSchema, RpcStatus, StorageError,
};
use super::row::descriptor;
use super::service::Service;
use crate::cloud::{Class, CloudError};

const CONNECT: Duration = Duration::from_millis(2500);

/// What became of an append.
#[derive(Debug)]
pub(super) enum Appended {
    /// The rows are in the table.
    Taken {
        /// The table has another schema than when the connection was opened.
        schema_changed: bool,
    },
    /// None is: these, by their place, can never be, and why.
    BadRows(Vec<(usize, String)>),
    /// None is: BigQuery does not see all columns yet.
    ExtraFields(String),
    /// None is, as far as is known.
    Failed(CloudError),
}

/// A channel to the Storage Write API; connects when it is first used.
pub(super) fn channel(service: &Service) -> Result<Channel, CloudError> {
    let bad = |error: tonic::transport::Error| {
        CloudError::new(Class::Invalid, format!("{} is no endpoint for gRPC: {error}", service.grpc()), "")
    };
    let mut endpoint = Endpoint::from_shared(service.grpc().to_owned())
        .map_err(bad)?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_mins(1))
        .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
        .map_err(bad)?;
    if service.grpc().starts_with("https://") {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(bad)?;
    }
    Ok(endpoint.connect_lazy())
}

/// A connection, one append at a time.
pub(super) struct Connection {
    requests: mpsc::Sender<AppendRowsRequest>,
    replies: Streaming<AppendRowsResponse>,
    action: String,
    stream: String,
}

impl Connection {
    /// Opens a connection whose rows are under `columns`, and appends the first ones.
    pub async fn open(
        service: &Service,
        channel: &Channel,
        columns: &Arc<Columns>,
        rows: Vec<Bytes>,
    ) -> Result<(Self, Appended), Appended> {
        let action = format!("append rows to BigQuery {}", service.table());
        let stream = service.table().default_stream();
        let mut first = request(&stream, rows);
        concat!("sluicegate/", env!("CARGO_PKG_VERSION")).clone_into(&mut first.trace_id);
        if let Some(rows) = &mut first.proto_rows {
            rows.writer_schema = Some(ProtoSchema { proto_descriptor: Some(descriptor(columns)) });
        }
        let failed = |status: &Status| of_status(&action, status);
        let mut headers = service.identity().headers(service.grpc()).await.map_err(Appended::Failed)?;
        let routing = format!("write_stream={}", stream.replace(':', "%3A"));
        if let Ok(routing) = routing.parse() {
            headers.insert("x-goog-request-params", routing);
        }
        let (mut requests, outgoing) = mpsc::channel(1);
        // Before the call: a server may say nothing before it has heard something.
        if requests.send(first).await.is_err() {
            return Err(Appended::Failed(broken(&action)));
        }
        let mut grpc = Grpc::new(channel.clone())
            .max_encoding_message_size(LARGEST_APPEND * 2)
            .max_decoding_message_size(LARGEST_APPEND * 2);
        grpc.ready().await.map_err(|error| {
            let what = format!("could not {action}: {} did not answer ({error})", service.grpc());
            Appended::Failed(CloudError::new(Class::Transient, what, ""))
        })?;
        let mut call = Request::new(outgoing);
        *call.metadata_mut() = MetadataMap::from_headers(headers);
        let codec: ProstCodec<AppendRowsRequest, AppendRowsResponse> = ProstCodec::default();
        let replies = grpc
            .streaming(call, PathAndQuery::from_static(APPEND_ROWS), codec)
            .await
            .map_err(|status| failed(&status))?
            .into_inner();
        let mut connection = Self { requests, replies, action, stream };
        let appended = connection.reply().await;
        Ok((connection, appended))
    }

    /// Appends `rows`, under the columns that the connection was opened with.
    pub async fn append(&mut self, rows: Vec<Bytes>) -> Appended {
        if self.requests.send(request(&self.stream, rows)).await.is_err() {
            return Appended::Failed(broken(&self.action));
        }
        self.reply().await
    }

    async fn reply(&mut self) -> Appended {
        match self.replies.next().await {
            Some(Ok(response)) => of_response(&self.action, response),
            Some(Err(status)) => of_status(&self.action, &status),
            None => Appended::Failed(broken(&self.action)),
        }
    }
}

/// The stream is needed in the first request alone; a server that forgets it is served as well.
fn request(stream: &str, rows: Vec<Bytes>) -> AppendRowsRequest {
    let rows = Some(ProtoRows { serialized_rows: rows });
    let proto_rows = Some(ProtoData { writer_schema: None, rows });
    AppendRowsRequest { write_stream: stream.to_owned(), proto_rows, ..AppendRowsRequest::default() }
}

fn broken(action: &str) -> CloudError {
    CloudError::new(Class::Transient, format!("could not {action}: the connection ended"), "")
}

fn of_response(action: &str, response: AppendRowsResponse) -> Appended {
    if !response.row_errors.is_empty() {
        let rows = response.row_errors.into_iter();
        return Appended::BadRows(
            rows.map(|row| (usize::try_from(row.index).unwrap_or(usize::MAX), row.message)).collect(),
        );
    }
    match response.response {
        Some(AppendResponse::AppendResult(_)) => Appended::Taken { schema_changed: response.updated_schema.is_some() },
        Some(AppendResponse::Error(status)) => failed(action, &status),
        None => Appended::Failed(CloudError::new(Class::Transient, format!("could not {action}: an empty reply"), "")),
    }
}

fn of_status(action: &str, status: &Status) -> Appended {
    let mut told = RpcStatus::decode(status.details()).unwrap_or_default();
    told.code = status.code() as i32;
    status.message().clone_into(&mut told.message);
    // Of a connection that was not made, the layers above only say that it was not.
    let mut cause = std::error::Error::source(status);
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    if let Some(cause) = cause {
        told.message = format!("{}: {cause}", told.message);
    }
    failed(action, &told)
}

fn failed(action: &str, status: &RpcStatus) -> Appended {
    if status.storage_code() == Some(StorageError::EXTRA_FIELDS) {
        return Appended::ExtraFields(status.message.clone());
    }
    let code = Code::from_i32(status.code);
    let class = match code {
        // "Retryable errors" of the Storage Write API; the rest of them are answers to what was sent.
        Code::Unavailable | Code::Internal | Code::Aborted | Code::Cancelled | Code::DeadlineExceeded => {
            Class::Transient
        }
        Code::ResourceExhausted => Class::Throttled,
        Code::NotFound => Class::NotFound,
        Code::PermissionDenied | Code::Unauthenticated => Class::Auth,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::Unimplemented => Class::Invalid,
        _ => Class::Unknown,
    };
    let hint = if class == Class::Auth { "a replica needs roles/bigquery.dataEditor on the dataset" } else { "" };
    Appended::Failed(CloudError::new(class, format!("could not {action}: {} ({code:?})", status.message), hint))
}
