//! A small BigQuery of our own, for tests and for trying a replica: REST and gRPC on loopback, rows in memory.
//!
//! Its rules are written from Google's documentation, not from a server, and it says no more than this of BigQuery:
//! - "Stream table updates with change data capture ingestion" (`bigquery/docs/change-data-capture`): `_CHANGE_TYPE`,
//!   `_CHANGE_SEQUENCE_NUMBER` and its order, the default stream, the primary key of at most 16 columns, no mixing of rows
//!   with and without a change type;
//! - "Supported protocol buffer and Arrow data types" (`bigquery/docs/supported-data-types`): which field goes into which
//!   column;
//! - "BigQuery Storage Write API best practices" (`bigquery/docs/write-api-best-practices`): unknown fields are refused with
//!   `SCHEMA_MISMATCH_EXTRA_FIELDS`, new columns are seen only after a while;
//! - the reference of `google.cloud.bigquery.storage.v1`: less than 10 MB a request, no offset on the default stream, row
//!   errors by index and then no row taken;
//! - "tabledata.insertAll" and "Error messages" (`bigquery/docs/reference/rest/v2/tabledata/insertAll`): `insertErrors`,
//!   the reasons `invalid` and `stopped`, insertId;
//! - "Specify a schema" and "Data types" (`bigquery/docs/schemas`): names of columns, ranges of the decimal types.
//!
//! Where the documentation says that an outcome can't be foretold (rows with and without a sequence in one table), it
//! refuses, so that a test would see it.

mod append;
mod decode;
mod rest;
mod rules;
mod table;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;

use self::append::AppendService;
use self::table::Tables;
use super::proto::LARGEST_APPEND;

/// What goes wrong on purpose, each a chance between 0 and 1.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A request is refused with UNAVAILABLE (503), and nothing is done.
    pub unavailable: f64,
    /// A request is done, and its reply is lost with the connection.
    pub lose_reply: f64,
    /// Rows that hold this text are refused, whatever they are.
    pub poison: Option<String>,
    /// So many requests after a column was added, it is still unknown to those who write.
    pub schema_lag: u32,
    /// Equal seeds make equal faults.
    pub seed: u64,
}

/// A BigQuery in this process. Dropped, it is gone.
#[derive(Debug)]
pub struct Double {
    rest: SocketAddr,
    grpc: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    tables: Mutex<Tables>,
    faults: Mutex<(Faults, SmallRng)>,
}

impl Shared {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self, of: impl Fn(&Faults) -> f64) -> bool {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let (faults, dice) = &mut *faults;
        of(faults) > dice.random_range(0.0..1.0)
    }

    fn faults(&self) -> Faults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Double {
    /// Serves on two free ports of loopback.
    pub async fn start(faults: Faults) -> std::io::Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), SocketAddr::from(([127, 0, 0, 1], 0)), faults).await
    }

    /// Serves REST and gRPC on these addresses.
    pub async fn start_on(rest: SocketAddr, grpc: SocketAddr, faults: Faults) -> std::io::Result<Self> {
        let dice = SmallRng::seed_from_u64(faults.seed);
        let shared = Arc::new(Shared { tables: Mutex::new(Tables::default()), faults: Mutex::new((faults, dice)) });
        let rest_listener = TcpListener::bind(rest).await?;
        let incoming = TcpIncoming::bind(grpc)?.with_nodelay(Some(true));
        let (rest, grpc) = (rest_listener.local_addr()?, incoming.local_addr()?);
        let mut tasks = JoinSet::new();
        let router = rest::router(Arc::clone(&shared));
        tasks.spawn(async move {
            if let Err(error) = axum::serve(rest_listener, router).await {
                tracing::warn!("the BigQuery double's REST API ended: {error}");
            }
        });
        let service = AppendService(Arc::clone(&shared));
        tasks.spawn(async move {
            // A window of many appends: an append of 10 MB else waits for its own acknowledgements.
            let server = tonic::transport::Server::builder()
                .initial_stream_window_size(LARGEST_APPEND as u32 * 2)
                .initial_connection_window_size(LARGEST_APPEND as u32 * 8);
            let mut server = server;
            if let Err(error) = server.add_service(service).serve_with_incoming(incoming).await {
                tracing::warn!("the BigQuery double's gRPC API ended: {error}");
            }
        });
        Ok(Self { rest, grpc, shared, _tasks: tasks })
    }

    /// The REST API's endpoint.
    pub fn rest_endpoint(&self) -> String {
        format!("http://{}", self.rest)
    }

    /// The Storage Write API's endpoint.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Other faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        let dice = SmallRng::seed_from_u64(faults.seed);
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = (faults, dice);
    }

    /// The rows of `PROJECT.DATASET.TABLE` as a query finds them: by primary key, or as they came where there is none.
    pub fn rows(&self, table: &str) -> Vec<Json> {
        self.shared.tables().get(table).map(|table| table.rows().map(Json::Object).collect()).unwrap_or_default()
    }

    /// The table's resource; `None` when there is none.
    pub fn table(&self, table: &str) -> Option<Json> {
        self.shared.tables().get(table).map(table::Table::resource)
    }

    /// Rows that were taken so far, those that came again too.
    pub fn taken(&self, table: &str) -> u64 {
        self.shared.tables().get(table).map_or(0, |table| table.taken)
    }

    /// Makes a dataset and a table of this resource, as somebody else would have.
    ///
    /// # Errors
    /// What BigQuery would say.
    pub fn make_table(&self, table: &str, resource: Json) -> Result<(), String> {
        self.shared.tables().make(table, resource).map_err(|refused| refused.message)
    }
}
