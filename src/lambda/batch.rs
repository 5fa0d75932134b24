//! The records of one invocation: what each asks for, who wrote it, and what became of it.
//!
//! ```text
//!   records ──▶ parts ─┬─ dead, skipped: settled at once
//!                      └─ writes, by table and key ──▶ the last version of each key ──▶ Writer ──▶ outcome
//!                                                        └ refused for good? the version before it
//! ```
//!
//! Lambda hands the records from the first that was not settled on over once more. Of a key that several records write
//! only the last version is sent, so that a repetition never puts an older one over it, not even for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Notify;

use super::door::{Door, Doors, effort_since};
use crate::cloud::{Class, CloudError};
use crate::flow::{Clock, Counters, Outcome, Receipt, Settle, Ticket, Writer};
use crate::item::{Checked, Key};

/// What a part of a record asks for.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// An item is put.
    Put(Checked),
    /// An item is put by a whole `PutItem` with parameters of its own.
    Request(Checked, Bytes),
    /// An item is deleted.
    Delete(Key),
}

impl Intent {
    fn key(&self) -> &Key {
        match self {
            Self::Put(item) | Self::Request(item, _) => &item.key,
            Self::Delete(key) => key,
        }
    }

    /// True unless a condition may make its outcome depend on what was there.
    fn is_plain(&self) -> bool {
        !matches!(self, Self::Request(..))
    }

    async fn give(self, writer: &Writer, receipt: Receipt) -> Result<(), CloudError> {
        match self {
            Self::Put(item) => writer.put(item, receipt).await,
            Self::Request(item, request) => writer.request(item, request, receipt).await,
            Self::Delete(key) => writer.delete(key, receipt).await,
        }
    }
}

/// When an invocation must be over, by its clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// From then on nothing more is sent.
    pub stop: Duration,
    /// Until then what is on its way may come back.
    pub land: Duration,
}

/// One write: the record that it came in, and what it asks for.
#[derive(Debug)]
struct Asked {
    /// Which part of the batch it is.
    part: usize,
    intent: Intent,
}

/// All that is asked of one table, in order.
#[derive(Debug)]
struct OfTable {
    door: Arc<Door>,
    asked: Vec<Asked>,
}

/// Where a part is: its record's place in the invocation, and its own in an aggregated record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// The record, from 0.
    pub record: usize,
    /// Its place in it, from 0; `None` when it is all of it.
    pub sub: Option<u64>,
}

impl At {
    /// The whole of `record`.
    pub fn whole(record: usize) -> Self {
        Self { record, sub: None }
    }

    /// Part `sub` of `record`.
    pub fn part(record: usize, sub: u64) -> Self {
        Self { record, sub: Some(sub) }
    }
}

/// A part of a record: a whole one, or one of those that were aggregated into it.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it is.
    pub at: At,
    /// Its table, where it names one.
    pub table: Option<Arc<str>>,
    /// Its bytes, for a dead letter.
    pub payload: Bytes,
    /// What became of it; `None` while it is open.
    pub outcome: Option<Outcome>,
}

/// The records of one invocation.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// All parts, in order.
    pub parts: Vec<Part>,
    tables: Vec<OfTable>,
    by_name: HashMap<String, usize>,
}

/// What the writing of a batch came to.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// `retried`, `throttled` and `wcu`, for each table.
    pub effort: HashMap<String, Counters>,
    /// What made writers fail.
    pub failures: Vec<CloudError>,
}

impl Batch {
    /// Adds a part that is settled already.
    pub fn settled(&mut self, at: At, payload: Bytes, outcome: Outcome) {
        self.parts.push(Part { at, table: None, payload, outcome: Some(outcome) });
    }

    /// Adds a part that can never succeed.
    pub fn dead(&mut self, at: At, payload: &Bytes, reason: impl Into<String>) {
        let outcome = Outcome::Dead { reason: reason.into(), payload: payload.clone() };
        self.settled(at, payload.clone(), outcome);
    }

    /// Adds a part that is written through `door`.
    pub fn ask(&mut self, at: At, payload: Bytes, door: &Arc<Door>, intent: Intent) {
        let table = *self.by_name.entry(door.name.clone()).or_insert_with(|| {
            self.tables.push(OfTable { door: Arc::clone(door), asked: Vec::new() });
            self.tables.len() - 1
        });
        self.tables[table].asked.push(Asked { part: self.parts.len(), intent });
        let table = Some(Arc::from(door.name.as_str()));
        self.parts.push(Part { at, table, payload, outcome: None });
    }

    /// Writes what was asked for until all of it is settled or `deadline` comes. Afterwards nothing of it is under way.
    pub async fn write(&mut self, clock: &Arc<dyn Clock>, deadline: Deadline) -> Written {
        let of_tables = self.tables.iter().map(|table| table.write(clock, deadline));
        let mut written = Written::default();
        for (table, (outcomes, effort, failure)) in self.tables.iter().zip(join_all(of_tables).await) {
            for (asked, outcome) in table.asked.iter().zip(outcomes) {
                let part = &mut self.parts[asked.part];
                part.outcome = outcome.map(|outcome| match outcome {
                    // The record as it came, not only its item.
                    Outcome::Dead { reason, .. } => Outcome::Dead { reason, payload: part.payload.clone() },
                    other => other,
                });
            }
            written.effort.insert(table.door.name.clone(), effort);
            written.failures.extend(failure);
        }
        written
    }

    /// The first record with a part that is open.
    pub fn first_open(&self) -> Option<usize> {
        self.parts.iter().filter(|part| part.outcome.is_none()).map(|part| part.at.record).min()
    }
}

/// What became of the writes of one table.
#[derive(Debug)]
struct Outcomes {
    state: Mutex<State>,
    none_open: Notify,
}

#[derive(Debug)]
struct State {
    outcomes: Vec<Option<Outcome>>,
    /// Handed to the writer and not settled.
    open: usize,
}

impl Outcomes {
    fn new(count: usize) -> Self {
        Self { state: Mutex::new(State { outcomes: vec![None; count], open: 0 }), none_open: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn none_open(&self) {
        loop {
            let none_open = self.none_open.notified();
            tokio::pin!(none_open);
            none_open.as_mut().enable();
            if self.state().open == 0 {
                return;
            }
            none_open.await;
        }
    }
}

impl Settle for Outcomes {
    fn settle(&self, ticket: Ticket, outcome: Outcome) {
        let mut state = self.state();
        state.outcomes[ticket.0 as usize] = Some(outcome);
        state.open -= 1;
        let none_open = state.open == 0;
        drop(state);
        if none_open {
            self.none_open.notify_waiters();
        }
    }
}

impl OfTable {
    async fn write(
        &self,
        clock: &Arc<dyn Clock>,
        deadline: Deadline,
    ) -> (Vec<Option<Outcome>>, Counters, Option<CloudError>) {
        let outcomes = Arc::new(Outcomes::new(self.asked.len()));
        let warm = self.door.writer();
        let before = warm.writer.effort();
        let left = |until: Duration| until.saturating_sub(clock.now());
        let ended = tokio::select! {
            done = rounds(&self.asked, &warm.writer, &outcomes) => Some(done),
            error = warm.writer.failed() => Some(Err(error)),
            () = self.door.follow_capacity() => None,
            () = clock.sleep(left(deadline.stop)) => None,
        };
        let writer = Arc::clone(&warm.writer);
        drop(warm);
        let failure = ended.and_then(Result::err);
        let is_whole = outcomes.state().outcomes.iter().all(Option::is_some);
        if !is_whole || failure.is_some() {
            self.door.shut(left(deadline.land)).await;
        }
        let effort = effort_since(before, writer.effort());
        drop(writer);
        let found = outcomes.state().outcomes.clone();
        (found, effort, failure)
    }
}

/// Hands `writer` the last version of each key, and where that was refused for good the one before it.
async fn rounds(asked: &[Asked], writer: &Writer, outcomes: &Arc<Outcomes>) -> Result<(), CloudError> {
    let (mut round, mut earlier) = first_round(asked);
    while !round.is_empty() {
        outcomes.state().open += round.len();
        for at in &round {
            let receipt = Receipt::new(Arc::clone(outcomes) as _, Ticket(*at as u64));
            asked[*at].intent.clone().give(writer, receipt).await?;
        }
        outcomes.none_open().await;
        let mut state = outcomes.state();
        let mut next = Vec::new();
        for at in round {
            let Some(mut versions) = earlier.remove(&at) else { continue };
            let replaced = match &state.outcomes[at] {
                // What it would have replaced is the last good version.
                Some(Outcome::Dead { .. }) => {
                    if let Some(before) = versions.pop() {
                        earlier.insert(before, versions);
                        next.push(before);
                    }
                    continue;
                }
                Some(Outcome::Written | Outcome::Deleted) => Outcome::Replaced,
                Some(other) => other.clone(),
                None => continue,
            };
            for version in versions {
                state.outcomes[version] = Some(replaced.clone());
            }
        }
        round = next;
    }
    Ok(())
}

/// What is handed over first, by its place in `asked`, and for the last version of a key the earlier ones.
fn first_round(asked: &[Asked]) -> (Vec<usize>, HashMap<usize, Vec<usize>>) {
    let mut keys: HashMap<u128, Vec<usize>> = HashMap::with_capacity(asked.len());
    for (at, asked) in asked.iter().enumerate() {
        keys.entry(asked.intent.key().hash).or_default().push(at);
    }
    let (mut round, mut earlier) = (Vec::with_capacity(keys.len()), HashMap::new());
    // In the order in which keys are met, so that the first records are the first to be settled.
    for one in asked {
        let Some(mut versions) = keys.remove(&one.intent.key().hash) else { continue };
        // With a condition among them, each version counts.
        if versions.iter().any(|at| !asked[*at].intent.is_plain()) {
            round.append(&mut versions);
        } else if let Some(last) = versions.pop() {
            round.push(last);
            earlier.insert(last, versions);
        }
    }
    (round, earlier)
}

/// Whether an error of looking a table up makes dead letters of its records: it is not there.
pub(super) fn is_missing(error: &CloudError) -> bool {
    error.class == Class::NotFound
}

/// The doors that records of an invocation asked for, each looked up once.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    doors: &'a Doors,
    met: HashMap<String, Result<Arc<Door>, String>>,
}

impl<'a> Lookup<'a> {
    /// None looked up yet.
    pub fn new(doors: &'a Doors) -> Self {
        Self { doors, met: HashMap::new() }
    }

    /// The door to `table`; within, why there is none.
    ///
    /// # Errors
    /// It can't be known now.
    pub async fn door(&mut self, table: &str) -> Result<Result<Arc<Door>, String>, CloudError> {
        if let Some(met) = self.met.get(table) {
            return Ok(met.clone());
        }
        let met = match self.doors.door(table).await {
            Ok(door) => Ok(door),
            Err(error) if is_missing(&error) => Err(format!("there is no table {table}")),
            Err(error) => return Err(error),
        };
        self.met.insert(table.to_owned(), met.clone());
        Ok(met)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::*;
    use crate::flow::{BatchReply, Consumed, Pacer, SystemClock, TablePut, WriterOptions};
    use crate::item::{Checker, KeyAttr, KeyKind, KeySchema};

    /// A table that keeps the bodies that it took and refuses those with `bad` in them for good.
    #[derive(Default)]
    struct Table(Mutex<Vec<String>>);

    impl Table {
        fn take(&self, body: &Bytes) -> Result<(), CloudError> {
            let body = String::from_utf8(body.to_vec()).unwrap();
            if body.contains("bad") {
                return Err(CloudError::new(Class::Invalid, "refused", "one of its indexes wants another type"));
            }
            self.0.lock().unwrap().push(body);
            Ok(())
        }
    }

    impl TablePut for Table {
        fn batch(&self, body: Bytes) -> BoxFuture<'_, Result<BatchReply, CloudError>> {
            async move { self.take(&body).map(|()| BatchReply::default()) }.boxed()
        }
        fn put(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
            async move { self.take(&body).map(|()| None) }.boxed()
        }
        fn delete(&self, body: Bytes) -> BoxFuture<'_, Result<Option<Consumed>, CloudError>> {
            self.put(body)
        }
    }

    fn item(id: &str, v: &str) -> Checked {
        let partition = KeyAttr { name: "id".into(), kind: KeyKind::S };
        let json = format!(r#"{{"id":{{"S":"{id}"}},"v":{{"S":"{v}"}}}}"#);
        Checker::new(KeySchema { partition, sort: None }).check(json.into()).unwrap()
    }

    fn asked(intents: impl IntoIterator<Item = Intent>) -> Vec<Asked> {
        intents.into_iter().enumerate().map(|(part, intent)| Asked { part, intent }).collect()
    }

    async fn run(asked: &[Asked]) -> (Vec<Option<Outcome>>, Vec<String>) {
        let (table, clock) = (Arc::new(Table::default()), Arc::new(SystemClock::new()));
        let pacer = Arc::new(Pacer::new(Arc::clone(&clock) as _));
        let writer = Writer::start(WriterOptions::new("t", "id"), Arc::clone(&table) as _, pacer, clock);
        let outcomes = Arc::new(Outcomes::new(asked.len()));
        rounds(asked, &writer, &outcomes).await.unwrap();
        let found = outcomes.state().outcomes.clone();
        let sent = table.0.lock().unwrap().clone();
        (found, sent)
    }

    #[tokio::test]
    async fn of_a_key_only_the_last_version_is_sent() {
        let asked = asked([
            Intent::Put(item("a", "1")),
            Intent::Put(item("b", "1")),
            Intent::Put(item("a", "2")),
            Intent::Delete(item("b", "1").key),
        ]);
        let (outcomes, sent) = run(&asked).await;
        let replaced = || Some(Outcome::Replaced);
        assert_eq!(outcomes, [replaced(), replaced(), Some(Outcome::Written), Some(Outcome::Deleted)]);
        assert!(sent.iter().all(|body| !body.contains(r#"{"S":"1"}"#)), "{sent:?}");
    }

    #[tokio::test]
    async fn where_the_last_version_is_refused_for_good_the_one_before_it_is_written() {
        let versions = ["1", "2", "bad 3", "bad 4"].map(|v| Intent::Put(item("a", v)));
        let (outcomes, sent) = run(&asked(versions)).await;
        assert_eq!(outcomes[..2], [Some(Outcome::Replaced), Some(Outcome::Written)]);
        assert!(outcomes[2..].iter().all(|it| matches!(it, Some(Outcome::Dead { .. }))), "{outcomes:?}");
        assert_eq!(sent.len(), 1);
        assert!(sent[0].contains(r#"{"S":"2"}"#), "{sent:?}");
    }

    #[test]
    fn with_a_condition_among_them_each_version_of_a_key_is_sent_in_order() {
        let conditional = Intent::Request(item("a", "2"), Bytes::from_static(b"{}"));
        let asked =
            asked([Intent::Put(item("a", "1")), conditional, Intent::Put(item("b", "1")), Intent::Put(item("a", "3"))]);
        let (round, earlier) = first_round(&asked);
        assert_eq!(round, [0, 1, 3, 2]);
        assert!(earlier.values().all(Vec::is_empty));
    }
}
