//! A table of BigQuery as the replica of a job.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bootstrap::{renamed, renames};
use super::spec::{BigQueryTarget, ReplicateSpec};
use super::target::Opened;
use crate::bigquery::{self, Access, Keeps, Options, TableId};
use crate::cloud::inventory::Table;
use crate::cloud::{Class, Cloud, CloudError};
use crate::flow::{
    ChangeKind, Clock, Ledger, Letter, Position, Replica, ReplicaRow, RowOrigin, SequenceNumber, SystemClock,
};
use crate::item::{Checked, KeySchema, Shape, Shaped};
use crate::jobs::journal::DeadLetter;
use crate::jobs::verify::attribute;
use crate::jobs::worker::{JobError, Session};

/// Items that the types of columns are decided by, at most.
const SAMPLE: i32 = 1_000;

/// Opens the table of `target`, and makes it if it is not there.
pub(super) async fn open(
    session: &Session<'_>,
    spec: &ReplicateSpec,
    target: &BigQueryTarget,
    source: &Table,
    clock: &Arc<dyn Clock>,
) -> Result<Opened, JobError> {
    if spec.rebootstrap {
        return Err(JobError::Unfit(
            "a table of BigQuery can't be copied again: the rows would lose against those of earlier changes. Replicate into a \
             table of another name, and drop this one when that is through"
                .to_owned(),
        ));
    }
    let key = key_of(spec, &source.key);
    let replica = connect(&session.cloud, spec, target, key.clone(), clock).await?;
    Ok(Opened {
        replica: Arc::new(replica),
        table: None,
        key,
        name: format!("{}.{}.{}", target.project, target.dataset, target.table),
    })
}

/// The same for whoever has no running job.
pub(in crate::jobs) async fn connect(
    cloud: &Cloud,
    spec: &ReplicateSpec,
    target: &BigQueryTarget,
    key: KeySchema,
    clock: &Arc<dyn Clock>,
) -> Result<bigquery::BigQueryReplica, CloudError> {
    let table = TableId::new(&target.project, &target.dataset, &target.table)
        .map_err(|error| CloudError::new(Class::Invalid, error.to_string(), ""))?;
    let access = Access {
        rest: target.rest_endpoint.clone(),
        grpc: target.grpc_endpoint.clone(),
        credentials: target.credentials.clone(),
    };
    let options = Options {
        table,
        keeps: if target.append_only { Keeps::Log } else { Keeps::Rows },
        unknown_into: target.json_column.clone(),
        location: target.location.clone(),
        max_staleness: target.max_staleness_s.map(Duration::from_secs),
        source: spec.table.clone(),
        key,
        seed: u64::from(std::process::id()),
    };
    let guard = Arc::clone(&cloud.guard);
    bigquery::open(options, &access, guard, Arc::clone(clock), || sample(cloud, spec)).await
}

/// Some items of the source as the replica is to hold them.
async fn sample(cloud: &Cloud, spec: &ReplicateSpec) -> Result<Vec<Bytes>, CloudError> {
    let shape = Shape::new(&spec.shape).unwrap_or_default();
    let scan = cloud.dynamodb.scan().table_name(&spec.table).limit(SAMPLE);
    let page = scan.send().await.map_err(|e| CloudError::of(&format!("scan table {} for a sample", spec.table), &e))?;
    let shaped = |item| match shape.apply(Bytes::from(attribute::item_json(item).to_string())) {
        Ok(Shaped::Item(item)) => Some(item),
        _ => None,
    };
    Ok(page.items().iter().filter_map(shaped).collect())
}

/// What became of a dead letter that was sent once more.
pub(in crate::jobs) enum Once {
    /// The row is in BigQuery, or its deletion is.
    Written,
    /// It still can't be, and why.
    Unfit(String),
}

/// The place of a letter's row in a ledger of one.
#[derive(Clone, Debug)]
struct Single;

impl Position for Single {
    fn letter(&self, reason: String, payload: Bytes) -> Letter {
        let source = String::new();
        Letter { source, line: None, offset: None, shard: None, sequence: None, reason, payload }
    }
}

/// Sends one row into `replica` and waits until BigQuery has it. It needs no fence: its own sequence number says whether what
/// is there is newer.
pub(in crate::jobs) async fn once(replica: &dyn Replica, row: ReplicaRow) -> Result<Once, CloudError> {
    let ledger = Arc::new(Ledger::new(1));
    let Ok(receipt) = ledger.open(Single).await else {
        return Err(CloudError::new(Class::Unknown, "the work was stopped", ""));
    };
    replica.take(row, receipt).await?;
    tokio::select! {
        () = ledger.drained() => {}
        error = replica.failed() => return Err(error),
    }
    let settled = ledger.take_settled();
    match settled.letters.into_iter().next() {
        Some(letter) => Ok(Once::Unfit(letter.reason)),
        None if settled.counters.skipped > 0 => Err(CloudError::new(Class::DryRun, "dry run: printed, not sent", "")),
        None => Ok(Once::Written),
    }
}

/// The key of the replica of `spec`, whose source has `key`.
pub(in crate::jobs) fn key_of(spec: &ReplicateSpec, key: &KeySchema) -> KeySchema {
    renamed(key, &renames(&spec.shape))
}

/// The machine's clock.
pub(in crate::jobs) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// The row of a dead letter: as it was when it died, but for what an operator changed in it.
pub(in crate::jobs) fn row(dead: &DeadLetter, item: Checked, deletes: bool) -> ReplicaRow {
    let origin = match &dead.letter.sequence {
        None => RowOrigin::Scan,
        Some(sequence) => RowOrigin::Change {
            kind: if deletes { ChangeKind::Removed } else { ChangeKind::Modified },
            sequence: SequenceNumber(sequence.clone()),
            // The nearest that is known: a change dies soon after it was made.
            at_ms: dead.at_ms,
            by_ttl: false,
            old: None,
        },
    };
    ReplicaRow { key: item.key.json, image: (!deletes).then_some(item.json), origin }
}
