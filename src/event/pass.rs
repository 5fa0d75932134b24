//! The pass: every row of the buffer into its slot of the event table.
//!
//! ```text
//!   scan in segments ─▶ event rows ─▶ stored ─▶ slots counted ─▶ directory ─▶ buffer rows deleted
//!                          │
//!                          └ a row that can't be an event: told, and left where it is
//! ```
//!
//! A row is deleted only after its event is stored and counted, and each step may be done again: a pass that dies costs
//! the next one repeated work. Any host may run one, also two at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::directory::{self, Directory};
use super::open::{Open, wait};
use super::row::{self, PARTITION_KEY};
use super::slot::{Slot, SlotLength};
use crate::cloud::{Class, CloudError};
use crate::flow::{Clock, Letter, Outcome, Receipt, ScanOptions, Scanner, Settle, TableScan, Ticket, Writer};
use crate::item::Checker;

/// Rows that are carried from the buffer to the event table before they are counted and deleted: some 100 bytes of
/// memory each.
const ROUND: usize = 200_000;
/// Rows that can't be read whose bytes a report keeps.
const MOST_LETTERS: usize = 1_000;

/// What a pass works on.
pub struct Pass {
    /// The buffer's name.
    pub buffer: String,
    /// Reads it.
    pub scan: Arc<dyn TableScan>,
    /// How many segments it is read in.
    pub segments: u32,
    /// Cap on what reading it consumes, RCU a second.
    pub read_budget: Option<f64>,
    /// Deletes from it.
    pub from: Arc<Writer>,
    /// Writes events, and the directory.
    pub into: Arc<Writer>,
    /// Counts slots.
    pub directory: Directory,
    /// Length of a slot.
    pub slots: SlotLength,
    /// The clock that waits go by.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("buffer", &self.buffer).field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What a pass did.
#[derive(Clone, Debug, Default)]
pub struct PassReport {
    /// Rows that it met in the buffer.
    pub met: u64,
    /// Events that it stored; repetitions of earlier passes count again.
    pub stored: u64,
    /// Rows that can't be events. They stay in the buffer.
    pub poison: u64,
    /// These rows, a thousand at most, with what is wrong.
    pub letters: Vec<Letter>,
    /// Slots that it counted.
    pub slots: u64,
}

/// A row on its way.
struct OnItsWay {
    key: String,
    slot: Slot,
    stored: bool,
}

/// The rows of a round, and what became of them.
struct Round {
    buffer: String,
    rows: Mutex<Rows>,
    all_settled: Notify,
}

#[derive(Default)]
struct Rows {
    on_their_way: Vec<OnItsWay>,
    open: usize,
    met: u64,
    poison: u64,
    letters: Vec<Letter>,
}

impl Round {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(self: &Arc<Self>, key: String, slot: Slot) -> Receipt {
        let mut rows = self.rows();
        rows.open += 1;
        rows.on_their_way.push(OnItsWay { key, slot, stored: false });
        Receipt::new(Arc::clone(self) as Arc<dyn Settle>, Ticket(rows.on_their_way.len() as u64 - 1))
    }

    fn poison(&self, key: Option<&str>, reason: &str, row: &Bytes) {
        let buffer = &self.buffer;
        let mut rows = self.rows();
        rows.poison += 1;
        if rows.letters.len() < MOST_LETTERS {
            let key = key.map_or_else(|| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(row)), str::to_owned);
            rows.letters.push(Letter {
                source: format!("{buffer}/{key}"),
                line: None,
                offset: None,
                shard: None,
                sequence: None,
                reason: format!("{reason}; the row stays in {buffer}"),
                payload: row.clone(),
            });
        }
    }
}

impl Settle for Round {
    fn settle(&self, ticket: Ticket, outcome: Outcome) {
        let at = usize::try_from(ticket.0).unwrap_or(usize::MAX);
        if let Outcome::Dead { reason, payload } = &outcome {
            let key = self.rows().on_their_way.get(at).map(|row| row.key.clone());
            self.poison(key.as_deref(), reason, payload);
        }
        // Last of all: whoever waits takes the rows as soon as none is open.
        let mut rows = self.rows();
        if let Some(row) = rows.on_their_way.get_mut(at) {
            row.stored = matches!(outcome, Outcome::Written | Outcome::Replaced);
        }
        rows.open -= 1;
        if rows.open == 0 {
            self.all_settled.notify_waiters();
        }
    }
}

/// Where a segment is.
#[derive(Clone, Debug)]
enum Cursor {
    At(Option<Bytes>),
    End,
}

impl Pass {
    /// Carries everything that is in the buffer now to the event table.
    ///
    /// # Errors
    /// What made it stop: what it did so far is done, and the next pass does the rest.
    pub async fn run(self: &Arc<Self>) -> Result<PassReport, CloudError> {
        let options = ScanOptions { table: self.buffer.clone(), segments: self.segments, consistent: true };
        let scanner =
            Arc::new(Scanner::new(Arc::clone(&self.scan), options, self.read_budget, Arc::clone(&self.clock)));
        let mut report = PassReport::default();
        let mut cursors = vec![Cursor::At(None); self.segments as usize];
        while cursors.iter().any(|cursor| matches!(cursor, Cursor::At(_))) {
            let round =
                Arc::new(Round { buffer: self.buffer.clone(), rows: Mutex::default(), all_settled: Notify::new() });
            let mut segments = JoinSet::new();
            for (number, cursor) in cursors.iter().enumerate() {
                let (pass, scanner, round) = (Arc::clone(self), Arc::clone(&scanner), Arc::clone(&round));
                let cursor = cursor.clone();
                segments.spawn(async move { (number, pass.segment(number, cursor, &scanner, &round).await) });
            }
            while let Some(ended) = segments.join_next().await {
                let broke_off =
                    |error| CloudError::new(Class::Unknown, format!("a segment's reader broke off: {error}"), "");
                let (number, cursor) = ended.map_err(broke_off)?;
                cursors[number] = cursor?;
            }
            wait(&round.all_settled, || round.rows().open, &self.into).await?;
            let rows = std::mem::take(&mut *round.rows());
            report.met += rows.met;
            report.poison += rows.poison;
            report.letters.extend(rows.letters);
            report.letters.truncate(MOST_LETTERS);
            let stored: Vec<OnItsWay> = rows.on_their_way.into_iter().filter(|row| row.stored).collect();
            report.stored += stored.len() as u64;
            let touched: BTreeSet<Slot> = stored.iter().map(|row| row.slot).collect();
            report.slots += touched.len() as u64;
            directory::count(&self.directory, &self.into, self.clock.as_ref(), touched, false).await?;
            self.delete(stored).await?;
        }
        Ok(report)
    }

    /// Carries the rows of a segment on from `cursor`, until the round is full.
    async fn segment(
        &self,
        number: usize,
        cursor: Cursor,
        scanner: &Scanner,
        round: &Arc<Round>,
    ) -> Result<Cursor, CloudError> {
        let Cursor::At(mut after) = cursor else { return Ok(Cursor::End) };
        let layout = self.directory.layout();
        let checker = Checker::new(layout.key());
        while round.rows().on_their_way.len() < ROUND {
            let page = scanner.page(number as u32, after.as_ref()).await?;
            round.rows().met += page.items.len() as u64;
            for item in page.items {
                let (key, event) = match row::read_buffer_row(&item) {
                    Ok(read) => read,
                    Err(bad) => {
                        round.poison(key_of(&item).as_deref(), &bad.to_string(), &item);
                        continue;
                    }
                };
                let (slot, row) = row::event_row(&event, layout, self.slots);
                match checker.check(row) {
                    Ok(row) => self.into.put(row, round.open(key, slot)).await?,
                    Err(refusal) => round.poison(Some(&key), &refusal.to_string(), &item),
                }
            }
            match page.after {
                None => return Ok(Cursor::End),
                next => after = next,
            }
        }
        Ok(Cursor::At(after))
    }

    async fn delete(&self, stored: Vec<OnItsWay>) -> Result<(), CloudError> {
        let open = Arc::new(Open::default());
        let checker = Checker::new(row::buffer_key_schema());
        for row in stored {
            let key = serde_json::json!({ PARTITION_KEY: { "S": row.key } }).to_string();
            let refused = |refusal| CloudError::new(Class::Invalid, format!("a key of the buffer: {refusal}"), "");
            let key = checker.check(Bytes::from(key)).map_err(refused)?.key;
            self.from.delete(key, open.receipt()).await?;
        }
        open.settled(&self.from).await
    }
}

/// The key of a row that can't be read otherwise.
fn key_of(row: &[u8]) -> Option<String> {
    let row: serde_json::Value = serde_json::from_slice(row).ok()?;
    row[PARTITION_KEY]["S"].as_str().map(str::to_owned)
}
