//! Capacity raised by hand, remembered in the journal and given back.

use super::journal::{Bump, Journal, JournalError};
use super::spec::JobId;
use crate::cloud::inventory::{self, Provisioned, Table};
use crate::cloud::{Class, Cloud, CloudError, Context, Mode};

/// Why capacity was not changed.
#[derive(Debug, thiserror::Error)]
pub enum BumpError {
    /// AWS or the guard said no.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The journal could not remember it, so it was not done.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What a change of capacity did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bumped {
    /// WCU before.
    pub from: u64,
    /// WCU asked for.
    pub to: u64,
}

/// The provisioned throughput of a table or one of its indexes.
fn provisioned(table: &Table, index: Option<&str>) -> Option<Provisioned> {
    match index {
        None => table.provisioned,
        Some(name) => table.indexes.iter().find(|i| i.name == name).and_then(|i| i.provisioned),
    }
}

/// Sets a table or an index to `to` WCU and remembers what was there. With a job, its end gives it back.
///
/// Remembered before it is sent: a crash between the two leaves a note of a raise that did not happen, never a raise
/// that nobody remembers.
pub async fn set(
    cloud: &Cloud,
    journal: &Journal,
    table: &str,
    index: Option<&str>,
    to: u64,
    job: Option<&JobId>,
) -> Result<Bumped, BumpError> {
    let described = inventory::table(cloud, table).await?;
    let Some(now) = provisioned(&described, index) else {
        return Err(on_demand(index.unwrap_or(table)).into());
    };
    let from = now.write;
    change(cloud, Some(journal), &described, index, from, (now.read, to), job).await?;
    if let (Mode::Normal, Some(job)) = (cloud.guard.mode(), job) {
        let resource = index.unwrap_or(table);
        let verb = if to > from { "raised" } else { "lowered" };
        // Only a raise is given back: what was lowered by hand stays so.
        let back = journal.open_bump(&cloud.context, table, index)?.filter(|bump| bump.before < to);
        let back = back.map(|b| format!("; it goes back to {} when this job ends", b.before)).unwrap_or_default();
        journal.note(job, "info", &format!("{verb} {resource} from {from} to {to} WCU{back}"))?;
    }
    Ok(Bumped { from, to })
}

/// Sets the capacity of `table` or an index, `from` WCU until now, to (RCU, WCU), and remembers in `journal` what was
/// there; with `None`, or where the guard lets nothing through, nothing is remembered.
pub async fn change(
    cloud: &Cloud,
    journal: Option<&Journal>,
    table: &Table,
    index: Option<&str>,
    from: u64,
    (rcu, wcu): (u64, u64),
    job: Option<&JobId>,
) -> Result<(), BumpError> {
    let journal = journal.filter(|_| cloud.guard.mode() == Mode::Normal && wcu != from);
    let remember = |from, to| match journal {
        Some(journal) => journal.remember_bump(&cloud.context, &table.name, index, from, to, job),
        None => Ok(()),
    };
    remember(from, wcu)?;
    let set = inventory::set_capacity(cloud, table, index, rcu, wcu).await;
    if set.is_err() {
        remember(wcu, from)?;
    }
    Ok(set?)
}

fn on_demand(resource: &str) -> CloudError {
    CloudError::new(
        Class::Invalid,
        format!("{resource} is on demand"),
        "it has no write capacity to set; AWS scales it by itself",
    )
}

/// The bumps of `context` that job `job` raised and nobody gave back.
pub fn owed(journal: &Journal, context: &Context, job: &JobId) -> Result<Vec<Bump>, JournalError> {
    Ok(journal.open_bumps()?.into_iter().filter(|b| b.context == *context && b.job.as_ref() == Some(job)).collect())
}

/// Gives back what `bump` took: sets the capacity to what was there before, unless somebody has changed it since.
/// Returns what was done, in words.
pub async fn give_back(cloud: &Cloud, journal: &Journal, bump: &Bump) -> Result<String, BumpError> {
    let described = inventory::table(cloud, &bump.table).await?;
    let resource = bump.index.as_deref().unwrap_or(&bump.table);
    let now = provisioned(&described, bump.index.as_deref()).map(|p| p.write);
    let words = match now {
        None => format!("{resource} is on demand now: nothing to give back"),
        Some(now) if now <= bump.before => format!("{resource} is at {now} WCU already: nothing to give back"),
        Some(now) if now != bump.after => {
            format!("{resource} was set to {now} WCU by somebody else (we left it at {}): left as it is", bump.after)
        }
        Some(now) => {
            inventory::set_write_capacity(cloud, &described, bump.index.as_deref(), bump.before).await?;
            format!("gave {resource} back from {now} to {} WCU", bump.before)
        }
    };
    journal.close_bump(bump.number)?;
    Ok(words)
}
