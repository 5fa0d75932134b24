//! The few messages of `google.cloud.bigquery.storage.v1` that appending rows takes, written by hand from
//! `google/cloud/bigquery/storage/v1/{storage,protobuf,table}.proto` and `google/rpc/status.proto` of Google's public API
//! definitions: field numbers and types are theirs.

use bytes::Bytes;
use prost::{Message, Oneof};
use prost_types::{Any, DescriptorProto};

/// The full name of the one method that is called.
pub const APPEND_ROWS: &str = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows";

/// The service's name.
pub const SERVICE: &str = "google.cloud.bigquery.storage.v1.BigQueryWrite";

/// Bytes of one `AppendRowsRequest` at most; it must be less ("The size of a single `AppendRowsRequest` must be less than
/// 10 MB"), so the smaller megabyte counts.
pub const LARGEST_APPEND: usize = 10_000_000;

/// Rows for a stream.
#[derive(Clone, PartialEq, Message)]
pub struct AppendRowsRequest {
    /// The stream; needed in the first request of a connection.
    #[prost(string, tag = "1")]
    pub write_stream: String,
    /// Not allowed on the default stream.
    #[prost(message, optional, tag = "2")]
    pub offset: Option<Int64Value>,
    /// The rows.
    #[prost(message, optional, tag = "4")]
    pub proto_rows: Option<ProtoData>,
    /// Who writes.
    #[prost(string, tag = "6")]
    pub trace_id: String,
}

/// `AppendRowsRequest.ProtoData`.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoData {
    /// How rows are to be read; needed in the first request of a connection.
    #[prost(message, optional, tag = "1")]
    pub writer_schema: Option<ProtoSchema>,
    /// The rows.
    #[prost(message, optional, tag = "2")]
    pub rows: Option<ProtoRows>,
}

/// The message that every row is.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoSchema {
    /// Its descriptor, which must hold all that it refers to.
    #[prost(message, optional, tag = "1")]
    pub proto_descriptor: Option<DescriptorProto>,
}

/// Rows, each a message of its own.
#[derive(Clone, PartialEq, Message)]
pub struct ProtoRows {
    /// The rows.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub serialized_rows: Vec<Bytes>,
}

/// `google.protobuf.Int64Value`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Int64Value {
    /// The number.
    #[prost(int64, tag = "1")]
    pub value: i64,
}

/// What became of one request.
#[derive(Clone, PartialEq, Message)]
pub struct AppendRowsResponse {
    /// The result.
    #[prost(oneof = "AppendResponse", tags = "1, 2")]
    pub response: Option<AppendResponse>,
    /// The table's schema (`TableSchema`), when it changed since the connection was opened; only its presence is read.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub updated_schema: Option<Bytes>,
    /// What is wrong with rows: when there are any, none of the request's rows was taken.
    #[prost(message, repeated, tag = "4")]
    pub row_errors: Vec<RowError>,
    /// The stream.
    #[prost(string, tag = "5")]
    pub write_stream: String,
}

/// The result of one request.
#[derive(Clone, PartialEq, Oneof)]
pub enum AppendResponse {
    /// The rows are in the table.
    #[prost(message, tag = "1")]
    AppendResult(AppendResult),
    /// No row was taken.
    #[prost(message, tag = "2")]
    Error(RpcStatus),
}

/// `AppendRowsResponse.AppendResult`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct AppendResult {
    /// Not set on the default stream.
    #[prost(message, optional, tag = "1")]
    pub offset: Option<Int64Value>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// In words.
    #[prost(string, tag = "2")]
    pub message: String,
    /// More, such as a [`StorageError`].
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// What is wrong with one row.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RowError {
    /// Its place in the request, from 0.
    #[prost(int64, tag = "1")]
    pub index: i64,
    /// 1: a field has an error.
    #[prost(int32, tag = "2")]
    pub code: i32,
    /// In words.
    #[prost(string, tag = "3")]
    pub message: String,
}

/// The details of an error that the Storage API gives.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StorageError {
    /// `StorageErrorCode`.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What failed.
    #[prost(string, tag = "2")]
    pub entity: String,
    /// In words.
    #[prost(string, tag = "3")]
    pub error_message: String,
}

impl StorageError {
    /// `SCHEMA_MISMATCH_EXTRA_FIELDS`: the rows have a field that the table does not have (yet).
    pub const EXTRA_FIELDS: i32 = 7;
    /// How an [`Any`] names it.
    pub const TYPE_URL: &'static str = "type.googleapis.com/google.cloud.bigquery.storage.v1.StorageError";
}

impl RpcStatus {
    /// The code of the [`StorageError`] in its details.
    pub fn storage_code(&self) -> Option<i32> {
        let detail = self.details.iter().find(|detail| detail.type_url == StorageError::TYPE_URL)?;
        StorageError::decode(detail.value.as_slice()).ok().map(|error| error.code)
    }
}
