//! Capacity that is raised, remembered in the journal and given back.
//!
//! Remembered before it is sent: a crash between the two leaves a note of a raise that did not happen, never a raise
//! that nobody remembers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::journal::{Bump, Job, Journal, JournalError, now_ms};
use super::spec::{JobId, Raise};
use crate::capacity::give_back::{self, Settlement, Standing, Wait, Why, settle};
use crate::capacity::{Decreases, Resource, shards};
use crate::cloud::inventory::{self, Provisioned, Stream, Table};
use crate::cloud::{Class, Cloud, CloudError, Mode};

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

/// How often a table or stream that is being changed is looked at again.
const LOOK: Duration = Duration::from_millis(500);
/// How long a worker waits for a change that is under way before it raises or gives back.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Sets a table or an index from `from` to `to` WCU, or a stream to `to` shards, and remembers what was there. With a job,
/// its end gives it back.
///
/// # Errors
/// [`Class::Invalid`] when it has something else than `from` by now: a person who agreed to a raise from 130 to 195 did not
/// agree to lower what an autoscaler has set to 2000 meanwhile.
pub async fn set(
    cloud: &Cloud,
    journal: &Journal,
    resource: &Resource,
    (from, to): (u64, u64),
    job: Option<&JobId>,
) -> Result<(), BumpError> {
    match resource {
        Resource::Stream(name) => {
            let now = provisioned_shards(&inventory::stream(cloud, name).await?)?;
            still(resource, from, now)?;
            change_shards(cloud, Some(journal), name, from, to, job).await?;
        }
        Resource::Table(name) | Resource::Index { table: name, .. } => {
            let table = inventory::table(cloud, name).await?;
            let Some(now) = table.throughput(resource.index()) else { return Err(on_demand(resource).into()) };
            still(resource, from, now.write)?;
            change(cloud, Some(journal), &table, resource.index(), from, (now.read, to), job).await?;
        }
    }
    if let (Mode::Normal, Some(job)) = (cloud.guard.mode(), job) {
        let verb = if to > from { "raised" } else { "lowered" };
        // Only a raise is given back: what was lowered by hand stays so.
        let back = journal.open_bump(&cloud.place(), resource)?.filter(|bump| bump.before < to);
        let back = back.map(|b| format!("; it goes back to {} when this job ends", b.before)).unwrap_or_default();
        journal.note(job, "info", &format!("{verb} {resource} from {from} to {to} {}{back}", resource.unit()))?;
    }
    Ok(())
}

/// What was shown before a person agreed still holds.
fn still(resource: &Resource, shown: u64, now: u64) -> Result<(), CloudError> {
    if shown == now {
        return Ok(());
    }
    let unit = resource.unit();
    Err(CloudError::new(
        Class::Invalid,
        format!("{resource} has {now} {unit} by now, not {shown}: nothing was changed"),
        "somebody or something else set it meanwhile: look at it again, then decide",
    ))
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
    change_all(cloud, journal, table, &[(index, from, (rcu, wcu))], job).await
}

/// The same of a table and its indexes in one request: of each the index, the WCU until now, and (RCU, WCU) to set.
pub async fn change_all(
    cloud: &Cloud,
    journal: Option<&Journal>,
    table: &Table,
    changes: &[(Option<&str>, u64, (u64, u64))],
    job: Option<&JobId>,
) -> Result<(), BumpError> {
    let resource = |index: Option<&str>| Resource::of_table(&table.name, index);
    let notes: Vec<_> = changes.iter().map(|(index, from, (_, wcu))| (resource(*index), *from, *wcu)).collect();
    let wanted: Vec<_> = changes.iter().map(|(index, _, (rcu, wcu))| (*index, *rcu, *wcu)).collect();
    let note = Remembered::before(cloud, journal, &notes, job)?;
    note.or_forget(inventory::set_capacities(cloud, table, &wanted).await)
}

/// Takes a stream that has `from` open shards through `steps`, each once AWS is done with the one before, which may take
/// `patience`. `done` is told of each: from how many, to how many.
///
/// # Errors
/// With how many shards the stream had then.
pub async fn through_shards(
    cloud: &Cloud,
    journal: Option<&Journal>,
    stream: &str,
    from: u64,
    steps: &[u64],
    patience: Duration,
    done: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<(), (u64, BumpError)> {
    let mut at = from;
    for step in steps {
        change_shards(cloud, journal, stream, at, *step, None).await.map_err(|error| (at, error))?;
        let settled = settled_stream(cloud, stream, patience).await.map_err(|error| (at, error.into()))?;
        if settled.status != "ACTIVE" {
            let what = format!("stream {stream} is still {} on its way to {step} shards", settled.status);
            let hint = format!("run this again once it is ACTIVE: sluice streams {stream}");
            return Err((at, CloudError::new(Class::InUse, what, hint).into()));
        }
        done(at, *step);
        at = *step;
    }
    Ok(())
}

/// Asks for `to` shards of a stream that has `from`, and remembers what was there.
pub async fn change_shards(
    cloud: &Cloud,
    journal: Option<&Journal>,
    stream: &str,
    from: u64,
    to: u64,
    job: Option<&JobId>,
) -> Result<(), BumpError> {
    let resource = Resource::Stream(stream.to_owned());
    let note = Remembered::before(cloud, journal, &[(resource, from, to)], job)?;
    note.or_forget(inventory::set_shards(cloud, stream, from, to).await)
}

/// Raises what job `job` needs of `table` and its indexes, only upward, in one request. Returns what was done, in words.
///
/// # Errors
/// What AWS refuses: a job that was promised a capacity must not crawl along without it unseen.
pub async fn raise(
    cloud: &Cloud,
    journal: &Journal,
    job: &JobId,
    table: &str,
    raise: &Raise,
) -> Result<String, BumpError> {
    let table = settled_table(cloud, table, PATIENCE).await?;
    let wanted = std::iter::once((None, raise.table));
    let wanted = wanted.chain(raise.indexes.iter().map(|(name, wcu)| (Some(name.as_str()), *wcu)));
    let (mut changes, mut words) = (Vec::new(), Vec::new());
    for (index, to) in wanted {
        let resource = Resource::of_table(&table.name, index);
        match table.throughput(index) {
            Some(now) if now.write < to => {
                words.push(format!("raised {resource} from {} to {to} WCU", now.write));
                changes.push((index, now.write, (now.read, to)));
            }
            Some(now) => words.push(format!("{resource} has {} WCU already, {to} were wanted", now.write)),
            None => words.push(format!("{resource} is on demand: there is nothing to raise")),
        }
    }
    if !changes.is_empty() {
        change_all(cloud, Some(journal), &table, &changes, Some(job)).await?;
        words.push("given back when this job ends".to_owned());
    }
    Ok(words.join("; "))
}

/// What was written into the journal before a request was sent.
struct Remembered<'a> {
    journal: Option<&'a Journal>,
    cloud: &'a Cloud,
    job: Option<&'a JobId>,
    was: Vec<(Resource, Option<Bump>)>,
}

impl<'a> Remembered<'a> {
    fn before(
        cloud: &'a Cloud,
        journal: Option<&'a Journal>,
        changes: &[(Resource, u64, u64)],
        job: Option<&'a JobId>,
    ) -> Result<Self, BumpError> {
        let journal = journal.filter(|_| cloud.guard.mode() == Mode::Normal);
        let mut note = Self { journal, cloud, job, was: Vec::new() };
        for (resource, from, to) in changes.iter().filter(|(_, from, to)| from != to) {
            if let Some(journal) = journal {
                let was = journal.remember_bump(&cloud.place(), resource, *from, *to, job)?;
                note.was.push((resource.clone(), was));
            }
        }
        Ok(note)
    }

    /// Takes the note back when AWS surely did not do it. After a lost reply nobody knows: then the note stays.
    fn or_forget(self, sent: Result<(), CloudError>) -> Result<(), BumpError> {
        let Err(error) = sent else { return Ok(()) };
        let surely_not = !matches!(error.class, Class::Transient | Class::Unknown | Class::InUse);
        if let Some(journal) = self.journal.filter(|_| surely_not) {
            for (resource, was) in self.was.iter().rev() {
                journal.take_back(&self.cloud.place(), resource, self.job, was.as_ref())?;
            }
        }
        Err(error.into())
    }
}

fn on_demand(resource: &Resource) -> CloudError {
    CloudError::new(
        Class::Invalid,
        format!("{resource} is on demand"),
        "it has no capacity to set; AWS scales it by itself",
    )
}

/// How many open shards a stream with provisioned capacity has.
pub fn provisioned_shards(stream: &Stream) -> Result<u64, CloudError> {
    if stream.mode == "ON_DEMAND" {
        return Err(on_demand(&Resource::Stream(stream.name.clone())));
    }
    Ok(stream.open_shards())
}

/// The table once AWS is done changing it, or as it is after `patience`.
async fn settled_table(cloud: &Cloud, name: &str, patience: Duration) -> Result<Table, CloudError> {
    let began = tokio::time::Instant::now();
    loop {
        let table = inventory::table(cloud, name).await?;
        if table.is_active() || began.elapsed() >= patience {
            return Ok(table);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The stream once AWS is done changing it, or as it is after `patience`.
pub async fn settled_stream(cloud: &Cloud, name: &str, patience: Duration) -> Result<Stream, CloudError> {
    let began = tokio::time::Instant::now();
    loop {
        let stream = inventory::stream(cloud, name).await?;
        if stream.status == "ACTIVE" || began.elapsed() >= patience {
            return Ok(stream);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Capacity that a job raised and that nobody gave back, though no worker runs it any more.
#[derive(Clone, Debug)]
pub struct Debt {
    /// The raise.
    pub bump: Bump,
    /// The job.
    pub job: Job,
}

impl Debt {
    /// What is owed, by whom, and what ends it.
    pub fn in_words(&self) -> String {
        let Bump { resource, before, after, .. } = &self.bump;
        let Job { id, state, .. } = &self.job;
        format!(
            "{resource} still has the {after} {} that {id} ({}) raised it to, from {before}",
            resource.unit(),
            state.as_str()
        )
    }
}

/// What jobs owe that no worker runs any more, whatever their context.
pub fn owed_by_the_dead(journal: &Journal) -> Result<Vec<Debt>, JournalError> {
    let mut debts = Vec::new();
    for bump in journal.open_bumps()? {
        let Some(id) = &bump.job else { continue };
        match journal.job(id) {
            Ok(job) if !job.state.is_live() && !journal.is_alive(id) => debts.push(Debt { bump, job }),
            Ok(_) | Err(JournalError::NoSuchJob(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(debts)
}

/// What job `job` raised and nobody gave back.
pub fn owed(journal: &Journal, job: &JobId) -> Result<Vec<Bump>, JournalError> {
    Ok(journal.open_bumps()?.into_iter().filter(|bump| bump.job.as_ref() == Some(job)).collect())
}

/// What became of a debt.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The raise.
    pub bump: Bump,
    /// What became of it; `None` when AWS refused.
    pub settlement: Option<Settlement>,
    /// In words.
    pub words: String,
}

impl Settled {
    /// True when something is still owed.
    pub fn is_owed(&self) -> bool {
        matches!(self.settlement, None | Some(Settlement::Later(_)))
    }
}

/// Gives back what `bumps`, all of the context of `cloud`, took: sets each capacity to what was there before, never
/// below what somebody else has set since, within the decreases that are left. Waits up to `patience` for changes that
/// are under way.
pub async fn give_back(
    cloud: &Cloud,
    journal: &Journal,
    bumps: &[Bump],
    patience: Duration,
) -> Result<Vec<Settled>, BumpError> {
    let mut tables: BTreeMap<&str, Vec<&Bump>> = BTreeMap::new();
    let mut settled = Vec::new();
    for bump in bumps {
        match &bump.resource {
            Resource::Stream(stream) => settled.push(give_shards_back(cloud, journal, stream, bump, patience).await?),
            Resource::Table(table) | Resource::Index { table, .. } => tables.entry(table).or_default().push(bump),
        }
    }
    for (table, mut bumps) in tables {
        // The newest raise lies on top.
        bumps.sort_by_key(|bump| std::cmp::Reverse(bump.number));
        settled.extend(give_table_back(cloud, journal, table, &bumps, patience).await?);
    }
    Ok(settled)
}

async fn give_table_back(
    cloud: &Cloud,
    journal: &Journal,
    name: &str,
    bumps: &[&Bump],
    patience: Duration,
) -> Result<Vec<Settled>, BumpError> {
    let table = match settled_table(cloud, name, patience).await {
        Ok(table) => table,
        Err(error) if error.class == Class::NotFound => {
            let gone = bumps.iter().map(|bump| closed(journal, bump, Settlement::Nothing(Why::Gone)));
            return gone.collect();
        }
        Err(error) => return Err(error.into()),
    };
    let mut now: BTreeMap<Option<&str>, Provisioned> = BTreeMap::new();
    let mut judged = Vec::new();
    for bump in bumps {
        let index = bump.resource.index();
        let provisioned = table.throughput(index);
        let at = provisioned.map(|p| *now.entry(index).or_insert(p));
        let left = provisioned.map(|p| Decreases::from(p).left(now_ms()));
        let standing = Standing { now: at.map(|p| p.write), is_active: table.is_active(), left };
        let after = at.map(|p| p.write).filter(|write| bump.is_ours(*write)).unwrap_or(bump.after);
        let settlement = settle(bump.before, after, standing);
        if let (Settlement::Lower(to), Some(at)) = (settlement, now.get_mut(&index)) {
            at.write = to;
        }
        judged.push((*bump, settlement));
    }
    let changes: Vec<_> = now
        .iter()
        .filter(|(index, to)| table.throughput(**index).is_some_and(|from| from.write != to.write))
        .map(|(index, to)| (*index, to.read, to.write))
        .collect();
    let sent = if changes.is_empty() { Ok(()) } else { inventory::set_capacities(cloud, &table, &changes).await };
    if let Err(error) = &sent
        && matches!(error.class, Class::DryRun | Class::ReadOnly)
    {
        return Err(error.clone().into());
    }
    let settle = |(bump, settlement): (&Bump, Settlement)| match (&sent, settlement) {
        (Err(error), Settlement::Lower(_)) => {
            Ok(Settled { bump: bump.clone(), settlement: None, words: format!("{error}; it stays owed") })
        }
        _ => closed(journal, bump, settlement),
    };
    judged.into_iter().map(settle).collect()
}

async fn give_shards_back(
    cloud: &Cloud,
    journal: &Journal,
    stream: &str,
    bump: &Bump,
    patience: Duration,
) -> Result<Settled, BumpError> {
    let mut at = None;
    loop {
        let described = match settled_stream(cloud, stream, patience).await {
            Ok(described) => described,
            Err(error) if error.class == Class::NotFound => {
                return closed(journal, bump, Settlement::Nothing(Why::Gone));
            }
            Err(error) => return Err(error.into()),
        };
        let now = provisioned_shards(&described).ok();
        // Our own steps on the way down are ours.
        let after = now.filter(|now| bump.is_ours(*now) || at == Some(*now)).unwrap_or(bump.after);
        let standing = Standing { now, is_active: described.status == "ACTIVE", left: None };
        let settlement = settle(bump.before, after, standing);
        let Settlement::Lower(to) = settlement else {
            // Its last step was ours: given back, whatever the way.
            let done = if at == Some(bump.before) && now == at { Settlement::Lower(bump.before) } else { settlement };
            return closed(journal, bump, done);
        };
        let step = shards::steps(now.unwrap_or_default(), to)[0];
        match inventory::set_shards(cloud, stream, now.unwrap_or_default(), step).await {
            Ok(()) => at = Some(step),
            Err(error) if matches!(error.class, Class::DryRun | Class::ReadOnly) => return Err(error.into()),
            Err(error) => {
                let words = format!("{error}; it stays owed");
                return Ok(Settled { bump: bump.clone(), settlement: None, words });
            }
        }
        if step == to {
            return closed(journal, bump, settlement);
        }
    }
}

/// Closes what is owed no more; says what became of it.
fn closed(journal: &Journal, bump: &Bump, settlement: Settlement) -> Result<Settled, BumpError> {
    let mut words = give_back::in_words(&bump.resource, bump.before, bump.after, settlement);
    match settlement {
        Settlement::Later(Wait::BeingChanged | Wait::NoDecrease(_)) => {}
        Settlement::Nothing(Why::SetByAnother(now)) if journal.hand_on(bump)? => {
            words = format!(
                "{} was raised to {now} {} on top of this: both are given back together",
                bump.resource,
                bump.resource.unit()
            );
        }
        Settlement::Lower(_) | Settlement::Nothing(_) => journal.close_bump(bump.number)?,
    }
    Ok(Settled { bump: bump.clone(), settlement: Some(settlement), words })
}
