//! What makes counts exact and crashes harmless: tickets opened in source order, settled in any order, and counted
//! only once everything before them is settled too.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};

use super::counters::{Counters, Letter, Outcome};
use super::leases::Fence;
use super::tally::Tally;

/// Where a record is in its source: what a checkpoint stores, and what a dead letter says.
pub trait Position: Clone + Send + 'static {
    /// The dead letter of the record at this position.
    fn letter(&self, reason: String, payload: Bytes) -> Letter;

    /// Source bytes of the record.
    fn bytes(&self) -> u64 {
        0
    }

    /// Its number within our own job, when it may come twice: the ledger's [`Tally`] counts it once.
    fn ordinal(&self) -> Option<u64> {
        None
    }
}

/// A record that is open in a ledger, by its place in source order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The ledger was closed: the job is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger is closed")]
pub struct Closed;

/// Whoever takes outcomes; a [`Ledger`] of any position.
pub trait Settle: Send + Sync {
    /// Notes what became of the record of `ticket`.
    fn settle(&self, ticket: Ticket, outcome: Outcome);

    /// The right to write its records, where several workers share a stream; `None` where nobody else may.
    fn fence(&self) -> Option<&Fence> {
        None
    }
}

/// The right to settle one record, once. Dropped unsettled it holds the mark where it is, so that the record is read
/// again after a restart.
pub struct Receipt {
    ledger: Arc<dyn Settle>,
    ticket: Ticket,
}

impl Receipt {
    /// The right to settle `ticket` with whoever takes its outcome.
    pub fn new(ledger: Arc<dyn Settle>, ticket: Ticket) -> Self {
        Self { ledger, ticket }
    }

    /// Settles the record.
    pub fn settle(self, outcome: Outcome) {
        self.ledger.settle(self.ticket, outcome);
    }

    /// The right to write the record, where it is not ours for good.
    pub fn fence(&self) -> Option<&Fence> {
        self.ledger.fence()
    }

    /// Settles the record as one that can never succeed.
    pub fn dead(self, reason: impl Into<String>, payload: Bytes) {
        self.settle(Outcome::Dead { reason: reason.into(), payload });
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.ticket).finish()
    }
}

/// What passed the mark: store all of it in one transaction.
#[derive(Clone, Debug)]
pub struct Settled<P> {
    /// All that was counted since the ledger's beginning, with what it was resumed from.
    pub counters: Counters,
    /// The last record below the mark; `None` when none passed since the ledger was opened.
    pub position: Option<P>,
    /// Dead letters that passed the mark since the last time.
    pub letters: Vec<Letter>,
    /// The tally as of the mark, for ledgers that have one.
    pub tally: Option<Tally>,
    /// Records that passed the mark since the last time: 0 when there is nothing new to store.
    pub passed: u64,
}

/// When an open ticket's place in the window is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frees {
    /// Once it passed the mark.
    Settled,
    /// Once it passed the mark and the host stored that.
    Committed,
}

/// Tickets opened in source order and settled in any order.
///
/// The ledger counts a record when it and all before it are settled: `counters`, `position`, `letters` and `tally`
/// of [`Settled`] always tell of the same records. At most `window` tickets are open: [`Ledger::open`] waits.
#[derive(Debug)]
pub struct Ledger<P> {
    state: Mutex<State<P>>,
    room: Semaphore,
    frees: Frees,
    drained: Notify,
    fence: Option<Fence>,
}

#[derive(Debug)]
struct State<P> {
    /// The ticket of the first open record.
    first: u64,
    open: VecDeque<Open<P>>,
    counters: Counters,
    position: Option<P>,
    letters: Vec<Letter>,
    tally: Option<Tally>,
    passed: u64,
}

#[derive(Debug)]
struct Open<P> {
    position: P,
    outcome: Option<Outcome>,
}

impl<P: Position> Ledger<P> {
    /// A ledger with at most `window` records open.
    pub fn new(window: usize) -> Self {
        Self::with(window, Frees::Settled)
    }

    /// A ledger that never runs more than `window` records ahead of what the host stored and told
    /// [`Ledger::committed`]; what a [`super::Producer`]'s tallies rely on.
    pub fn until_committed(window: usize) -> Self {
        Self::with(window, Frees::Committed)
    }

    fn with(window: usize, frees: Frees) -> Self {
        Self {
            state: Mutex::new(State {
                first: 0,
                open: VecDeque::new(),
                counters: Counters::default(),
                position: None,
                letters: Vec::new(),
                tally: None,
                passed: 0,
            }),
            room: Semaphore::new(window.max(1)),
            frees,
            drained: Notify::new(),
            fence: None,
        }
    }

    /// Goes on counting from `counters` of a stored checkpoint.
    #[must_use]
    pub fn resumed(self, counters: Counters) -> Self {
        self.state().counters = counters;
        self
    }

    /// Counts each [`Position::ordinal`] once.
    #[must_use]
    pub fn tallied(self, tally: Tally) -> Self {
        self.state().tally = Some(tally);
        self
    }

    /// Its records may be written while `fence` holds.
    #[must_use]
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the next record in source order; waits while the window is full. One task opens, else there is no order.
    ///
    /// # Errors
    /// [`Closed`] after [`Ledger::close`].
    pub async fn open(self: &Arc<Self>, position: P) -> Result<Receipt, Closed>
    where
        P: Sync,
    {
        self.room.acquire().await.map_err(|_| Closed)?.forget();
        let mut state = self.state();
        let ticket = Ticket(state.first + state.open.len() as u64);
        state.open.push_back(Open { position, outcome: None });
        drop(state);
        Ok(Receipt { ledger: Arc::clone(self) as Arc<dyn Settle>, ticket })
    }

    /// Lets nothing more in: whoever waits in [`Ledger::open`] gets [`Closed`].
    pub fn close(&self) {
        self.room.close();
    }

    /// What a checkpoint stores now: counters and the last position below the mark.
    pub fn mark(&self) -> (Counters, Option<P>) {
        let state = self.state();
        (state.counters, state.position.clone())
    }

    /// Everything that passed the mark since the last call.
    pub fn take_settled(&self) -> Settled<P> {
        let mut state = self.state();
        let settled = Settled {
            counters: state.counters,
            position: state.position.clone(),
            letters: std::mem::take(&mut state.letters),
            tally: state.tally.clone().filter(|_| state.passed > 0),
            passed: std::mem::take(&mut state.passed),
        };
        drop(state);
        if self.frees == Frees::Settled {
            // Letters keep their place in the window until they are taken, so that a file of rubbish can't fill memory.
            self.room.add_permits(settled.letters.len());
        }
        settled
    }

    /// The host stored `settled`: its places in the window of an [`Ledger::until_committed`] ledger are free again.
    pub fn committed(&self, settled: &Settled<P>) {
        if self.frees == Frees::Committed {
            self.room.add_permits(usize::try_from(settled.passed).unwrap_or(usize::MAX));
        }
    }

    /// All that happened, also above the mark: for display, never for a checkpoint.
    pub fn live(&self) -> Counters {
        let state = self.state();
        let mut live = state.counters;
        // Two copies of one record may be open at once, before the tally knows either.
        let mut met = HashSet::new();
        for open in &state.open {
            let repeated = matches!(
                (&state.tally, open.position.ordinal()),
                (Some(tally), Some(ordinal)) if tally.seen(ordinal) || !met.insert(ordinal)
            );
            match &open.outcome {
                _ if repeated => {}
                Some(outcome) => outcome.count(open.position.bytes(), &mut live),
                None => {
                    live.read += 1;
                    live.bytes += open.position.bytes();
                }
            }
        }
        live
    }

    /// Records open now.
    pub fn open_records(&self) -> usize {
        self.state().open.len()
    }

    /// True when the record of `ordinal` was counted below the mark already.
    pub fn seen(&self, ordinal: u64) -> bool {
        self.state().tally.as_ref().is_some_and(|tally| tally.seen(ordinal))
    }

    /// The tally as of the mark.
    pub fn tally(&self) -> Option<Tally> {
        self.state().tally.clone()
    }

    /// Ends once no record is open.
    pub async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.open_records() == 0 {
                return;
            }
            drained.await;
        }
    }
}

impl<P: Position> Settle for Ledger<P> {
    fn fence(&self) -> Option<&Fence> {
        self.fence.as_ref()
    }

    fn settle(&self, ticket: Ticket, outcome: Outcome) {
        let mut state = self.state();
        let Some(open) = ticket.0.checked_sub(state.first).and_then(|at| state.open.get_mut(at as usize)) else {
            debug_assert!(false, "{ticket:?} was settled before");
            return;
        };
        open.outcome = Some(outcome);
        let mut freed = 0;
        while state.open.front().is_some_and(|open| open.outcome.is_some()) {
            freed += usize::from(state.pass());
        }
        let drained = state.open.is_empty();
        drop(state);
        if self.frees == Frees::Settled && freed > 0 {
            self.room.add_permits(freed);
        }
        if drained {
            self.drained.notify_waiters();
        }
    }
}

impl<P: Position> State<P> {
    /// Moves the mark over the first open record, which is settled. True when its place in the window is free.
    fn pass(&mut self) -> bool {
        let Some(Open { position, outcome: Some(outcome) }) = self.open.pop_front() else { return false };
        self.first += 1;
        self.passed += 1;
        let repeated = match (&mut self.tally, position.ordinal()) {
            (Some(tally), Some(ordinal)) => !tally.first(ordinal),
            _ => false,
        };
        let mut free = true;
        if !repeated {
            outcome.count(position.bytes(), &mut self.counters);
            if let Outcome::Dead { reason, payload } = outcome {
                self.letters.push(position.letter(reason, payload));
                free = false;
            }
        }
        self.position = Some(position);
        free
    }
}

#[cfg(test)]
pub(super) mod tests {
    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    /// Line n of a test's source.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Line(pub u64);

    impl Position for Line {
        fn letter(&self, reason: String, payload: Bytes) -> Letter {
            Letter {
                source: "test".into(),
                line: Some(self.0),
                offset: None,
                shard: None,
                sequence: None,
                reason,
                payload,
            }
        }
        fn bytes(&self) -> u64 {
            10
        }
    }

    /// Line n of a test's source, which may come twice.
    #[derive(Clone, Copy, Debug)]
    struct Numbered(u64);

    impl Position for Numbered {
        fn letter(&self, reason: String, payload: Bytes) -> Letter {
            Line(self.0).letter(reason, payload)
        }
        fn ordinal(&self) -> Option<u64> {
            Some(self.0)
        }
    }

    fn open<P: Position + Sync>(ledger: &Arc<Ledger<P>>, position: P) -> Receipt {
        ledger.open(position).now_or_never().expect("there is room").unwrap()
    }

    #[test]
    fn nothing_counts_before_everything_above_it_in_the_source_is_settled() {
        let ledger = Arc::new(Ledger::new(10));
        let (first, second) = (open(&ledger, Line(1)), open(&ledger, Line(2)));
        second.settle(Outcome::Written);
        assert_eq!(ledger.mark(), (Counters::default(), None));
        assert_eq!((ledger.live().read, ledger.live().written), (2, 1));
        first.settle(Outcome::Skipped);
        let (counters, position) = ledger.mark();
        assert_eq!((counters.read, counters.written, counters.skipped, counters.bytes), (2, 1, 1, 20));
        assert_eq!(position, Some(Line(2)));
    }

    #[test]
    fn opening_waits_while_the_window_is_full_and_ends_when_the_ledger_is_closed() {
        let ledger = Arc::new(Ledger::new(1));
        let receipt = open(&ledger, Line(1));
        assert!(ledger.open(Line(2)).now_or_never().is_none());
        receipt.settle(Outcome::Written);
        open(&ledger, Line(2));
        let mut waiting = Box::pin(ledger.open(Line(3)));
        assert!(waiting.as_mut().now_or_never().is_none());
        ledger.close();
        assert_eq!(waiting.now_or_never().unwrap().unwrap_err(), Closed);
    }

    #[test]
    fn a_committing_ledger_has_room_only_when_the_host_stored_what_passed() {
        let ledger = Arc::new(Ledger::until_committed(1));
        open(&ledger, Line(1)).settle(Outcome::OnStream);
        assert!(ledger.open(Line(2)).now_or_never().is_none());
        let settled = ledger.take_settled();
        assert!(ledger.open(Line(2)).now_or_never().is_none());
        ledger.committed(&settled);
        open(&ledger, Line(2));
    }

    #[test]
    fn letters_come_with_the_mark_that_covers_them_and_hold_their_place_until_taken() {
        let ledger = Arc::new(Ledger::new(2));
        let (first, second) = (open(&ledger, Line(1)), open(&ledger, Line(2)));
        second.dead("bad", Bytes::from_static(b"x"));
        assert!(ledger.take_settled().letters.is_empty());
        first.settle(Outcome::Written);
        open(&ledger, Line(3)).settle(Outcome::Passed);
        open(&ledger, Line(4)).settle(Outcome::Written);
        let settled = ledger.take_settled();
        assert_eq!(settled.letters.iter().map(|l| (l.line, l.reason.as_str())).collect::<Vec<_>>(), [(Some(2), "bad")]);
        assert_eq!((settled.counters.read, settled.counters.dead, settled.passed), (3, 1, 4));
        assert!(ledger.take_settled().letters.is_empty());
    }

    #[test]
    fn a_repetition_moves_the_mark_and_counts_nothing() {
        let ledger = Arc::new(Ledger::new(9).tallied(Tally::new(64)));
        for ordinal in [1, 2, 1, 3] {
            open(&ledger, Numbered(ordinal)).settle(Outcome::Written);
        }
        open(&ledger, Numbered(2)).dead("bad", Bytes::new());
        let settled = ledger.take_settled();
        assert_eq!((settled.counters.read, settled.counters.dead, settled.passed), (3, 0, 5));
        assert!(ledger.seen(3) && !ledger.seen(4));
    }

    #[test]
    fn two_copies_of_a_record_above_the_mark_are_one_in_the_live_count() {
        let ledger = Arc::new(Ledger::new(9).tallied(Tally::new(64)));
        let _before = open(&ledger, Numbered(0));
        open(&ledger, Numbered(1)).settle(Outcome::Written);
        open(&ledger, Numbered(1)).settle(Outcome::Written);
        assert_eq!((ledger.live().read, ledger.live().written), (2, 1));
    }

    #[test]
    fn a_ledger_is_drained_when_nothing_is_open() {
        let ledger = Arc::new(Ledger::new(9));
        let receipt = open(&ledger, Line(1));
        let mut drained = Box::pin(ledger.drained());
        assert!(drained.as_mut().now_or_never().is_none());
        receipt.settle(Outcome::Written);
        assert!(drained.now_or_never().is_some());
    }

    proptest! {
        /// Lines 1..=n go through; the process crashes after each of `crashes` settlements and goes on from the last
        /// checkpoint, which was taken some settlements before.
        #[test]
        fn whatever_the_order_and_wherever_it_crashes_nothing_is_lost_or_counted_twice(
            n in 1u64..60,
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..400),
            checkpoint_every in 1usize..7,
            crash_every in 5usize..40,
            bad in prop::collection::hash_set(1u64..60, 0..10),
        ) {
            let mut stored: (Counters, u64) = Default::default();
            let mut letters: Vec<u64> = Vec::new();
            let mut settled_lines = std::collections::HashSet::new();
            let mut picks = picks.iter().cycle();
            // The last life does not crash.
            for life in 0..5 {
                let ledger = Arc::new(Ledger::new(100).resumed(stored.0));
                let mut open_lines: Vec<(u64, Receipt)> =
                    (stored.1 + 1..=n).map(|line| (line, open(&ledger, Line(line)))).collect();
                let mut steps = 0;
                while !open_lines.is_empty() {
                    let (line, receipt) = open_lines.swap_remove(picks.next().unwrap().index(open_lines.len()));
                    settled_lines.insert(line);
                    if bad.contains(&line) {
                        receipt.dead("bad", Bytes::new());
                    } else {
                        receipt.settle(Outcome::Written);
                    }
                    steps += 1;
                    if steps % checkpoint_every == 0 || (open_lines.is_empty() && life == 4) {
                        let settled = ledger.take_settled();
                        letters.extend(settled.letters.iter().filter_map(|letter| letter.line));
                        stored = (settled.counters, settled.position.map_or(stored.1, |Line(line)| line));
                        // Below the mark everything is settled.
                        prop_assert!((1..=stored.1).all(|line| settled_lines.contains(&line)));
                    }
                    if life < 4 && steps % crash_every == 0 {
                        break;
                    }
                }
            }
            let dead = bad.iter().filter(|line| **line <= n).count() as u64;
            prop_assert_eq!((stored.0.read, stored.0.written, stored.0.dead), (n, n - dead, dead));
            letters.sort_unstable();
            let mut wanted: Vec<u64> = bad.into_iter().filter(|line| *line <= n).collect();
            wanted.sort_unstable();
            prop_assert_eq!(letters, wanted);
        }
    }
}
