//! How a put worker joins the others that share its stream through a lease table.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::position::Position;
use crate::cloud::{Class, CloudError, Mode};
use crate::flow::leases::{self, AwsLeases, LeaseOptions, Leases, Look};
use crate::flow::{Clock, StreamSource};
use crate::jobs::journal::{Journal, JournalError, to_json};
use crate::jobs::spec::{JobId, WorkSpec};
use crate::jobs::worker::{JobError, Session};

/// Who reads a shard, for screens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The shard.
    pub shard: String,
    /// The worker that reads it; `None` when nobody does.
    pub worker: Option<String>,
    /// The worker that still finishes what it began of it.
    #[serde(default)]
    pub leaving: Option<String>,
    /// It was read to its end.
    #[serde(default)]
    pub ended: bool,
    /// It is the job's own worker.
    #[serde(default)]
    pub mine: bool,
}

/// Name of the row in the journal.
const ROW: &str = "leases";

/// How long a lease table may take to be made.
const MADE_WITHIN: Duration = Duration::from_mins(2);

/// The leases as they stand, for the journal.
pub(super) fn row(leases: &Leases) -> (String, Vec<u8>) {
    let standing = leases.standing();
    let standing = standing.borrow();
    let holders: Vec<Holder> = standing
        .leases
        .iter()
        .map(|lease| Holder {
            shard: lease.shard.clone(),
            worker: lease.owner.clone(),
            leaving: lease.leaving.clone(),
            ended: lease.has_ended(),
            mine: standing.held.iter().any(|held| held.shard == lease.shard),
        })
        .collect();
    (ROW.to_owned(), to_json(&holders).into_bytes())
}

/// Who holds which shard, as the worker of job `id` saw it last; empty for one without a lease table.
///
/// # Errors
/// The journal's.
pub fn holders(journal: &Journal, id: &JobId) -> Result<Vec<Holder>, JournalError> {
    let stored = journal.checkpoint(id, ROW)?;
    Ok(stored.and_then(|stored| serde_json::from_slice(&stored).ok()).unwrap_or_default())
}

/// Joins the workers of the lease table, if one is asked for; makes it if it is not there.
pub(super) async fn join(
    session: &Session<'_>,
    spec: &WorkSpec,
    position: &Position,
    source: Arc<dyn StreamSource>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Leases>>, JobError> {
    let Some(table) = &spec.lease_table else { return Ok(None) };
    ready(session, table, clock).await?;
    let worker = worker_name(&session.job.id);
    session.note("info", &format!("shares {} through lease table {table}, as {worker}", spec.stream));
    let mut options = LeaseOptions::new(&spec.stream, worker);
    options.from = position.from.clone();
    let store = Arc::new(AwsLeases::new(session.cloud.bulk.dynamodb.clone(), table));
    Ok(Some(Arc::new(Leases::start(options, store, source, Arc::clone(clock)))))
}

async fn ready(session: &Session<'_>, table: &str, clock: &Arc<dyn Clock>) -> Result<(), JobError> {
    let dynamodb = &session.cloud.dynamodb;
    let began = clock.now();
    let mut made = false;
    loop {
        match leases::look(dynamodb, table).await? {
            Look::Ready { active: true } => return Ok(()),
            Look::Absent if !made => {
                if session.cloud.guard.mode() != Mode::Normal {
                    let what = format!("lease table {table} is not there, and read-only mode makes none");
                    return Err(CloudError::new(Class::ReadOnly, what, "start without --read-only").into());
                }
                session.note("info", &format!("lease table {table} is not there: making it, billed on demand"));
                leases::create(dynamodb, table).await?;
                made = true;
            }
            Look::Absent | Look::Ready { active: false } => {
                if clock.now().saturating_sub(began) > MADE_WITHIN {
                    return Err(JobError::Unfit(format!(
                        "lease table {table} is not ACTIVE after two minutes: start again when it is"
                    )));
                }
                clock.sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// A name that no other worker has or had.
fn worker_name(id: &JobId) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.map(|host| host.trim().to_owned()).filter(|host| !host.is_empty());
    format!("{}/{id}/{:06x}", host.as_deref().unwrap_or("host"), rand::random::<u32>() & 0x00ff_ffff)
}
