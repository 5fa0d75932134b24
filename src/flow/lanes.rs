//! Lanes: tasks with bounded inboxes that work beside each other, and what they share: room, patience, effort, and the
//! one failure that ends them all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::clock::Clock;
use super::counters::Counters;
use super::patience::Patience;
use super::stopwatch::LaneWatch;
use crate::cloud::{Class, CloudError};

/// What waits in a lane's inbox at most; a lane may keep as much again in a queue of its own.
pub(super) const INBOX: usize = 64;

/// How a set of lanes fares.
#[derive(Debug)]
pub(super) struct Health {
    pub clock: Arc<dyn Clock>,
    pub patience: Patience,
    /// Where the lanes' time goes.
    pub watch: LaneWatch,
    memory: Arc<Semaphore>,
    most: usize,
    effort: Mutex<Counters>,
    failure: watch::Sender<Option<CloudError>>,
    /// When the source last found no room, microseconds of the clock: then the lanes are what is slow.
    full_at: AtomicU64,
}

impl Health {
    /// Lanes that hold at most `memory` bytes together.
    pub fn new(clock: Arc<dyn Clock>, memory: usize) -> Self {
        let most = memory.clamp(1, u32::MAX as usize);
        Self {
            watch: LaneWatch::new(&clock),
            clock,
            patience: Patience::default(),
            memory: Arc::new(Semaphore::new(most)),
            most,
            effort: Mutex::default(),
            failure: watch::Sender::new(None),
            full_at: AtomicU64::new(u64::MAX),
        }
    }

    /// What it took so far.
    pub fn effort(&self) -> MutexGuard<'_, Counters> {
        self.effort.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `records` are to be sent again because they were refused for want of capacity.
    pub fn throttled(&self, records: usize) {
        let mut effort = self.effort();
        effort.throttled += records as u64;
        effort.retried += records as u64;
    }

    /// What ended the lanes.
    pub fn error(&self) -> CloudError {
        self.failure.borrow().clone().unwrap_or_else(|| CloudError::new(Class::Unknown, "the work was stopped", ""))
    }

    /// True once they failed.
    pub fn is_over(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Ends the lanes with `error`, unless they failed before: whoever waits for room is told.
    pub fn fail(&self, error: CloudError) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(error);
            first
        });
        self.memory.close();
    }

    /// Ends when they fail.
    pub async fn failed(&self) -> CloudError {
        // The sender is `self`'s own, so the channel can't close meanwhile.
        let _ = self.failure.subscribe().wait_for(Option::is_some).await;
        self.error()
    }

    /// Room for `size` bytes; waits for it.
    pub async fn room(&self, size: usize) -> Result<OwnedSemaphorePermit, CloudError> {
        let size = size.clamp(1, self.most) as u32;
        if let Ok(room) = Arc::clone(&self.memory).try_acquire_many_owned(size) {
            return Ok(room);
        }
        self.is_full();
        let room = self.watch.full.during(Arc::clone(&self.memory).acquire_many_owned(size)).await;
        room.map_err(|_| self.error())
    }

    fn is_full(&self) {
        self.full_at.store(self.clock.now().as_micros() as u64, Ordering::Relaxed);
    }

    /// True when the source found no room within the last second.
    pub fn was_full(&self) -> bool {
        let full_at = Duration::from_micros(self.full_at.load(Ordering::Relaxed));
        self.clock.now().checked_sub(full_at).is_some_and(|ago| ago < Duration::from_secs(1))
    }
}

/// A set of lanes that take `T`. Dropped, it ends them where they are.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    inboxes: Vec<mpsc::Sender<T>>,
    health: Arc<Health>,
    tasks: JoinSet<()>,
}

impl<T: Send + 'static> Lanes<T> {
    /// Starts `count` lanes, each the task that `lane` makes of its number and an inbox of `room`.
    pub fn start<F>(
        count: usize,
        room: usize,
        health: Arc<Health>,
        mut lane: impl FnMut(u64, mpsc::Receiver<T>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let inboxes = (0..count.max(1))
            .map(|n| {
                let (sender, inbox) = mpsc::channel(room);
                tasks.spawn(lane(n as u64, inbox));
                sender
            })
            .collect();
        Self { inboxes, health, tasks }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inboxes.len()
    }

    /// Runs `task` beside the lanes, for as long as they live.
    pub fn beside(&mut self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::AbortHandle {
        self.tasks.spawn(task)
    }

    /// Gives `work` to `lane`; waits while its inbox is full.
    pub async fn give(&self, lane: usize, work: T) -> Result<(), CloudError> {
        match self.inboxes[lane].try_send(work) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(work)) => {
                self.health.is_full();
                let sent = self.health.watch.full.during(self.inboxes[lane].send(work)).await;
                sent.map_err(|_| self.health.error())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.health.error()),
        }
    }

    /// Lets the lanes finish what they were given.
    pub async fn finish(mut self) -> Result<(), CloudError> {
        self.inboxes.clear();
        while self.tasks.join_next().await.is_some() {}
        if self.health.is_over() { Err(self.health.error()) } else { Ok(()) }
    }
}
