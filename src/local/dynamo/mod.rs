//! `DynamoDB` and its Streams: dynoxide stores and checks, this folder adds the throughput that dynoxide leaves out.
//!
//! ```text
//!   handle ─┬─ items    reads and writes: admitted by table, run by engine, billed by what they came to
//!           ├─ batch    the same for batches, of which a part may come back
//!           ├─ control  tables made, changed and described
//!           ├─ streams  what writes changed, and those who read it
//!           └─ the rest goes straight to engine
//!   table   keys, indexes, throughput          engine  the thread with the database          wire  JSON and errors
//! ```
//!
//! `PartiQL` is passed on without limits or metrics; nothing in this house sends it. Its changes are on the streams.

mod batch;
mod control;
mod engine;
mod items;
mod streams;
mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use dynoxide::actions::TableDescription;
use dynoxide::actions::batch_execute_statement::BatchExecuteStatementRequest;
use dynoxide::actions::execute_statement::ExecuteStatementRequest;
use dynoxide::actions::execute_transaction::ExecuteTransactionRequest;
use dynoxide::{Database, DynoxideError};
use http::Response;

use self::control::Described;
use self::engine::Engine;
use self::streams::expiry::Sweep;
use self::streams::{Streams, View, statements};
use self::table::{Settings, Table, Throttle};
use self::wire::{Failure, Outcome, known, parse, respond, shown, written};
use super::faults::{Fault, Faults};
use super::metrics::Metrics;
use super::throughput::{Direction, Full, Millis};
use super::{Body, LocalError, Options};

const NAMESPACE: &str = "AWS/DynamoDB";
/// The file of settings beside the database.
const SETTINGS_FILE: &str = "tables.json";
const DATABASE_FILE: &str = "dynamodb.sqlite";

type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;
type Handle = Arc<Mutex<Table>>;

/// The embedded `DynamoDB`.
pub(super) struct Dynamo {
    engine: Engine,
    streams: Arc<Streams>,
    tables: RwLock<HashMap<String, Handle>>,
    /// The last description of each table that is costly to describe.
    described: Mutex<HashMap<String, Described>>,
    limits: bool,
    metrics: Arc<Metrics>,
    faults: Arc<Faults>,
    clock: Clock,
    /// Whether expired items are being looked for.
    sweeping: Arc<AtomicBool>,
    settings_file: Option<PathBuf>,
}

/// True for operations on items and stream records, which faults may hit.
pub(super) fn touches_data(operation: &str) -> bool {
    matches!(
        operation,
        "PutItem"
            | "GetItem"
            | "UpdateItem"
            | "DeleteItem"
            | "BatchWriteItem"
            | "BatchGetItem"
            | "TransactWriteItems"
            | "TransactGetItems"
            | "Query"
            | "Scan"
            | "ExecuteStatement"
            | "BatchExecuteStatement"
            | "ExecuteTransaction"
            | "DescribeStream"
            | "GetShardIterator"
            | "GetRecords"
    )
}

/// True for a path that asks for what AWS does in its own time.
pub(super) fn is_control(path: &str) -> bool {
    streams::control::is_meant(path)
}

impl Dynamo {
    /// Opens what is kept in the folder of `options`, or an empty one in memory.
    pub(super) async fn open(
        options: &Options,
        metrics: Arc<Metrics>,
        faults: Arc<Faults>,
    ) -> Result<Self, LocalError> {
        Self::open_at(options, metrics, faults, Arc::new(|| jiff::Timestamp::now().as_millisecond())).await
    }

    async fn open_at(
        options: &Options,
        metrics: Arc<Metrics>,
        faults: Arc<Faults>,
        clock: Clock,
    ) -> Result<Self, LocalError> {
        let failed = |error: DynoxideError| LocalError::DynamoDb(error.to_string());
        let folder = options.data.as_deref();
        let database = folder.map(|folder| folder.join(DATABASE_FILE));
        let engine = Engine::open(database.as_deref())?;
        let settings_file = folder.map(|folder| folder.join(SETTINGS_FILE));
        let mut kept = kept_settings(settings_file.as_deref())?;
        let now = clock();
        let streams = Streams::new(&options.table_streams, options.limits, Arc::clone(&clock));
        if let Some(folder) = folder {
            streams.take_kept(folder)?;
        }
        let mut tables = HashMap::new();
        for description in engine.run(control::all_descriptions).await.map_err(failed)? {
            let name = description.table_name.clone();
            let mut table = Table::new(&description, kept.remove(&name), now);
            if let Some(specification) = &description.stream_specification {
                // An earlier version left streams to dynoxide, or this one was killed amid a statement.
                table.settings.stream =
                    table.settings.stream.or(View::named(specification.stream_view_type.as_deref()));
                let name = name.clone();
                engine.run(move |database| statements::end(database, &name)).await.map_err(failed)?;
            }
            if let Some(view) = table.settings.stream.filter(|_| streams.live(&name).is_none()) {
                streams.enable(&name, view, description.key_schema, table.settings.partitions());
            }
            tables.insert(name, Arc::new(Mutex::new(table)));
        }
        Ok(Self {
            engine,
            streams,
            tables: RwLock::new(tables),
            described: Mutex::default(),
            limits: options.limits,
            metrics,
            faults,
            clock,
            sweeping: Arc::default(),
            settings_file,
        })
    }

    /// Answers one operation.
    pub(super) async fn handle(&self, operation: &str, body: Bytes) -> Response<Body> {
        // Streams are ours, and so are their ARNs.
        if touches_data(operation) || operation == "ListStreams" {
            return respond(self.outcome(operation, body).await);
        }
        // What is about tables and streams speaks of ARNs.
        let body = match std::str::from_utf8(&body) {
            Ok(text) => Bytes::from(known(text)),
            Err(_) => body,
        };
        let outcome = self.outcome(operation, body).await;
        respond(outcome.map(|reply| match String::from_utf8(reply) {
            Ok(text) => shown(&text).into_bytes(),
            Err(error) => error.into_bytes(),
        }))
    }

    async fn outcome(&self, operation: &str, body: Bytes) -> Outcome {
        macro_rules! pass_on {
            ($method:ident) => {{
                let request = parse(operation, &body)?;
                written(&self.engine.run(move |database| database.$method(request)).await?)
            }};
        }
        macro_rules! statements {
            ($method:ident, $statements:expr) => {{
                let request = parse(operation, &body)?;
                let statements = $statements(&request);
                let streams = Arc::clone(&self.streams);
                let call = move |database: &Database| {
                    statements::around(&streams, database, &statements, |database| database.$method(request))
                };
                written(&self.engine.run(call).await?)
            }};
        }
        match operation {
            "BatchWriteItem" => self.batch_write(&body).await,
            "BatchGetItem" => self.batch_get(&body).await,
            "PutItem" => self.put_item(&body).await,
            "UpdateItem" => self.update_item(&body).await,
            "DeleteItem" => self.delete_item(&body).await,
            "GetItem" => self.get_item(&body).await,
            "Query" => self.query(&body).await,
            "Scan" => self.scan(&body).await,
            "TransactWriteItems" => self.transact_write(&body).await,
            "TransactGetItems" => self.transact_get(&body).await,
            "CreateTable" => self.create_table(&body).await,
            "UpdateTable" => self.update_table(&body).await,
            "DescribeTable" => self.describe_table(&body).await,
            "DeleteTable" => self.delete_table(&body).await,
            "ListTables" => pass_on!(list_tables),
            "ListStreams" => self.streams.list(&body),
            "GetRecords" if self.faults.roll(Fault::ExpireIterators) => Err(Failure::expired_iterator()),
            "DescribeStream" | "GetShardIterator" | "GetRecords" if self.faults.roll(Fault::Throttle) => {
                Err(Failure::named("LimitExceededException", &format!("Rate of {operation} exceeded; try again later")))
            }
            "DescribeStream" => self.streams.describe_stream(&body),
            "GetShardIterator" => self.streams.shard_iterator(&body),
            "GetRecords" => self.get_records(&body),
            "UpdateTimeToLive" => pass_on!(update_time_to_live),
            "DescribeTimeToLive" => pass_on!(describe_time_to_live),
            "TagResource" => pass_on!(tag_resource),
            "UntagResource" => pass_on!(untag_resource),
            "ListTagsOfResource" => pass_on!(list_tags_of_resource),
            "ExecuteStatement" => {
                statements!(execute_statement, |it: &ExecuteStatementRequest| vec![it.statement.clone()])
            }
            "BatchExecuteStatement" => statements!(batch_execute_statement, |it: &BatchExecuteStatementRequest| {
                it.statements.iter().map(|it| it.statement.clone()).collect::<Vec<_>>()
            }),
            "ExecuteTransaction" => statements!(execute_transaction, |it: &ExecuteTransactionRequest| {
                it.transact_statements.iter().map(|it| it.statement.clone()).collect::<Vec<_>>()
            }),
            _ => Err(Failure::unknown_operation()),
        }
    }

    /// What happens without being asked for: expired items go, and the provisioned capacity is measured. Call it a few
    /// times a minute.
    pub(super) fn tick(&self) {
        self.sweep();
        let tables: Vec<Handle> = self.tables().values().cloned().collect();
        for table in tables {
            self.measure_provisions(&lock(&table));
        }
    }

    /// Deletes what has expired, a page at a time between other requests.
    fn sweep(&self) {
        if self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let sweeping = Arc::clone(&self.sweeping);
        let names = self.tables().keys().cloned().collect();
        let mut sweep = Sweep::new(&self.streams, names, self.now());
        let (metrics, clock) = (Arc::clone(&self.metrics), Arc::clone(&self.clock));
        self.engine.post_until_done(move |database| {
            let Some(swept) = sweep.page(database) else {
                sweeping.store(false, Ordering::Release);
                return false;
            };
            if swept.deleted > 0 {
                let dimensions = [("TableName", swept.table.as_str())];
                metrics.record(NAMESPACE, "TimeToLiveDeletedItemCount", &dimensions, clock(), swept.deleted as f64);
            }
            true
        });
    }

    fn get_records(&self, body: &[u8]) -> Outcome {
        let (reply, returned) = self.streams.get_records(body)?;
        let dimensions = [
            ("TableName", returned.table.as_str()),
            ("StreamLabel", returned.label.as_str()),
            ("Operation", "GetRecords"),
        ];
        self.metrics.record(NAMESPACE, "ReturnedRecordsCount", &dimensions, self.now(), returned.records as f64);
        self.metrics.record(NAMESPACE, "ReturnedBytes", &dimensions, self.now(), returned.bytes as f64);
        Ok(reply)
    }

    /// Does what a path asks that [`is_control`] knows.
    pub(super) fn control(&self, path: &str) -> Response<Body> {
        respond(self.streams.control(path))
    }

    /// Waits for what was begun and closes the database.
    pub(super) async fn close(&self) -> Result<(), LocalError> {
        self.keep_settings()?;
        self.engine.close().await;
        match self.settings_file.as_deref().and_then(Path::parent) {
            // With the database closed nothing is written any more.
            Some(folder) => self.streams.keep(folder),
            None => Ok(()),
        }
    }

    fn now(&self) -> Millis {
        (self.clock)()
    }

    fn tables(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Handle>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self, name: &str) -> Option<Handle> {
        self.tables().get(name).cloned()
    }

    fn add_table(&self, description: &TableDescription) -> Handle {
        let table = Arc::new(Mutex::new(Table::new(description, None, self.now())));
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.insert(description.table_name.clone(), Arc::clone(&table));
        table
    }

    /// Records a metric of the table or of one of its indexes.
    fn measure(&self, table: &str, index: Option<&str>, metric: &'static str, value: f64) {
        let at = self.now();
        match index {
            None => self.metrics.record(NAMESPACE, metric, &[("TableName", table)], at, value),
            Some(index) => {
                let dimensions = [("TableName", table), ("GlobalSecondaryIndexName", index)];
                self.metrics.record(NAMESPACE, metric, &dimensions, at, value);
            }
        }
    }

    fn measure_provisions(&self, table: &Table) {
        for (index, provision) in table.provisions() {
            self.measure(&table.name, index, "ProvisionedReadCapacityUnits", provision.read as f64);
            self.measure(&table.name, index, "ProvisionedWriteCapacityUnits", provision.write as f64);
        }
    }

    fn measure_throttle(&self, table: &str, direction: Direction, throttle: &Throttle) {
        let metric = match direction {
            Direction::Read => "ReadThrottleEvents",
            Direction::Write => "WriteThrottleEvents",
        };
        self.measure(table, throttle.index.as_deref(), metric, 1.0);
    }

    fn measure_refused_request(&self, table: &str, operation: &str) {
        let dimensions = [("TableName", table), ("Operation", operation)];
        self.metrics.record(NAMESPACE, "ThrottledRequests", &dimensions, self.now(), 1.0);
    }

    /// Writes the settings of all tables beside the database, if it is kept.
    fn keep_settings(&self) -> Result<(), LocalError> {
        let Some(file) = &self.settings_file else { return Ok(()) };
        let settings: BTreeMap<String, Settings> =
            self.tables().iter().map(|(name, table)| (name.clone(), lock(table).settled().clone())).collect();
        let text = serde_json::to_vec_pretty(&settings).expect("settings have text keys and plain values");
        // Whole or not at all: a reader never meets half a file.
        let fresh = file.with_extension("json.new");
        std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, file)).map_err(LocalError::folder(file))
    }
}

fn kept_settings(file: Option<&Path>) -> Result<HashMap<String, Settings>, LocalError> {
    let Some(file) = file.filter(|file| file.exists()) else { return Ok(HashMap::new()) };
    let text = std::fs::read(file).map_err(LocalError::folder(file))?;
    serde_json::from_slice(&text).map_err(|error| LocalError::folder(file)(error.into()))
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reply to a request that was refused in full.
fn throttled(direction: Direction, throttles: &[Throttle]) -> Failure {
    let mut reasons: Vec<(String, String)> = Vec::new();
    for throttle in throttles {
        let reason = (reason(direction, throttle), throttle.resource.clone());
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if throttles.iter().any(|throttle| throttle.on_demand) {
        return Failure::throttled("ThrottlingException", ON_DEMAND, &reasons);
    }
    let is_table = throttles.iter().any(|throttle| throttle.index.is_none());
    Failure::throttled(
        "ProvisionedThroughputExceededException",
        if is_table { TABLE_FULL } else { INDEX_FULL },
        &reasons,
    )
}

const TABLE_FULL: &str = "The level of configured provisioned throughput for the table was exceeded. Consider increasing \
                          your provisioning level with the UpdateTable API.";
const INDEX_FULL: &str = "The level of configured provisioned throughput for one or more global secondary indexes of the \
                          table was exceeded. Consider increasing your provisioning level for the under-provisioned \
                          global secondary indexes with the UpdateTable API";
const ON_DEMAND: &str = "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling \
                         your table or index so please try again shortly. If exceptions persist, check if you have a hot \
                         key: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html";

/// `TableWriteProvisionedThroughputExceeded` and its kin: resource, operation, limit.
fn reason(direction: Direction, throttle: &Throttle) -> String {
    let resource = if throttle.index.is_some() { "Index" } else { "Table" };
    let limit = match throttle.full {
        Full::Whole if !throttle.on_demand => "ProvisionedThroughputExceeded",
        // On demand has no provisioned level: what is full are partitions that have not split yet.
        _ => "KeyRangeThroughputExceeded",
    };
    format!("{resource}{direction:?}{limit}")
}
