//! How a put worker joins the others that share its stream through a lease table.

use std::sync::Arc;
use std::time::Duration;

use super::position::Position;
use crate::cloud::{Class, CloudError, Mode};
use crate::flow::leases::{self, AwsLeases, LeaseOptions, Leases, Look};
use crate::flow::{Clock, StreamSource};
use crate::jobs::journal::Holder;
use crate::jobs::spec::{JobId, WorkSpec};
use crate::jobs::worker::{JobError, Session};

/// How long a lease table may take to be made.
const MADE_WITHIN: Duration = Duration::from_mins(2);

/// Who holds which shard now; those that were read to their end are left out.
pub(super) fn holders(leases: &Leases) -> Vec<Holder> {
    let standing = leases.standing();
    let standing = standing.borrow();
    let open = standing.leases.iter().filter(|lease| !lease.has_ended());
    open.map(|lease| Holder {
        shard: lease.shard.clone(),
        worker: lease.owner.clone(),
        leaving: lease.leaving.clone(),
        mine: standing.held.iter().any(|held| held.shard == lease.shard && !held.hand_over),
    })
    .collect()
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
    options.from_ms = position.begins_ms();
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
