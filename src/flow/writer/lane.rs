//! One lane: takes what waits, asks the pacer, sends, and settles what came back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Shared;
use super::batch::{REQUESTS, Request, batch_body, delete_body, put_body};
use super::parked::Parked;
use super::queues::{Queues, Room};
use super::settle::After;
use super::waiting::{Waiting, Write, WriteKind};
use crate::cloud::CloudError;
use crate::flow::backoff::Backoff;
use crate::flow::lanes::INBOX;
use crate::flow::leases::Fence;
use crate::flow::table::{BatchReply, Consumed};

/// Waits after a refusal: short, since the pacer does the pacing.
const BASE: Duration = Duration::from_millis(25);
const CAP: Duration = Duration::from_secs(5);

/// How long a lane waits at most for the turn of a hot key's write before it looks again.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn lane(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Write>, n: u64) {
    let last_wins = !shared.options.if_not_exists;
    let room = shared.options.memory / 2 / shared.options.lanes.max(1);
    let mut queues = Queues {
        waiting: Waiting::new(last_wins),
        parked: Parked::new(last_wins, room),
        neighbours_at: Duration::ZERO,
        hot: Arc::default(),
    };
    let mut backoff = Backoff::new(BASE, CAP, shared.options.seed ^ n);
    let watch = &shared.health.watch;
    loop {
        queues.heat(shared.pacer.hot());
        if queues.waiting.is_empty() && queues.parked.is_empty() {
            let Some(write) = watch.idle.during(inbox.recv()).await else { return };
            queues.push(write);
        }
        while queues.waiting.len() < INBOX
            && !queues.parked.is_full()
            && let Ok(write) = inbox.try_recv()
        {
            queues.push(write);
        }
        if queues.parked.is_full() {
            shared.pacer.parked_full();
        }
        let batch = match shared.next(&mut queues) {
            Ok(batch) => batch,
            Err(wait) => {
                let clock = &shared.health.clock;
                // Waiting for the turn of a hot key is waiting by the pace.
                let _paced = watch.paced.enter();
                tokio::select! {
                    Some(write) = inbox.recv(), if !queues.parked.is_full() => queues.push(write),
                    () = clock.sleep(wait.min(LOOK)) => {}
                }
                if shared.health.is_over() {
                    return;
                }
                continue;
            }
        };
        let batch = Shared::still_ours(batch, &mut queues);
        if batch.is_empty() {
            continue;
        }
        watch.paced.during(shared.pacer.acquire(wcu_of(&batch), batch.len())).await;
        if shared.health.is_over() {
            return;
        }
        // The wait may have been long.
        let batch = Shared::still_ours(batch, &mut queues);
        if batch.is_empty() {
            continue;
        }
        let sent = shared.health.clock.now();
        let Some(reply) = watch.send(shared.send_while_ours(&batch)).await else {
            queues.put_back(batch);
            continue;
        };
        match shared.settle(sent, batch, reply, &mut queues) {
            // Others that got through say nothing of one that is waited for.
            After::Next if queues.waiting.holds_failed(REQUESTS + 1) => {}
            After::Next => backoff.reset(),
            After::BackOff => watch.backing_off.during(shared.health.clock.sleep(backoff.wait())).await,
            After::End => return,
        }
    }
}

impl Shared {
    /// Leaves out of `batch` what is no longer ours to write.
    fn still_ours(batch: Vec<Write>, queues: &mut Queues) -> Vec<Write> {
        if batch.iter().all(Write::is_ours) {
            return batch;
        }
        let (ours, lost): (Vec<Write>, Vec<Write>) = batch.into_iter().partition(Write::is_ours);
        queues.put_back(lost.into_iter().filter_map(Write::still_ours).collect());
        ours
    }

    /// Sends `batch`; `None` when it was broken off because a record in it is no longer ours to write.
    async fn send_while_ours(&self, batch: &[Write]) -> Option<Result<BatchReply, CloudError>> {
        let fences: Vec<&Fence> = batch.iter().filter_map(Write::fence).collect();
        if fences.is_empty() {
            return Some(self.send(batch).await);
        }
        let lapsed = async {
            while let Some(left) = fences.iter().map(|fence| fence.left()).min().flatten() {
                self.health.clock.sleep(left).await;
            }
        };
        tokio::select! {
            reply = self.send(batch) => Some(reply),
            () = lapsed => None,
        }
    }

    fn is_alone(&self, write: &Write) -> bool {
        write.alone || self.options.if_not_exists || !write.is_plain()
    }

    /// The next writes to send together, in order; none when only writes of hot keys wait, with how long they must.
    fn next(&self, queues: &mut Queues) -> Result<Vec<Write>, Duration> {
        if queues.waiting.front().is_some_and(|write| write.was_refused) && self.pacer.asks() {
            return Ok(queues.waiting.pop_front().into_iter().collect());
        }
        let now = self.health.clock.now();
        let (hot, neighbours_at) = (Arc::clone(&queues.hot), queues.neighbours_at);
        let is_neighbour = |partition: u64| !hot.contains(&partition);
        if now >= neighbours_at && queues.parked.any(is_neighbour) && self.pacer.asks() {
            let mut asked = false;
            return Ok(queues.parked.take(|next| is_neighbour(next.partition) && !std::mem::replace(&mut asked, true)));
        }
        let mut room = Room::new(self.pacer.batch_wcu());
        let mut wait = Duration::MAX;
        let mut batch = queues.parked.take(|next| {
            if now < neighbours_at && is_neighbour(next.partition) {
                wait = wait.min(neighbours_at.saturating_sub(now));
                return false;
            }
            room.fits(next, self.is_alone(next))
                && match self.pacer.take_hot(next.partition, next.wcu) {
                    Ok(()) => room.fill(next, self.is_alone(next)),
                    Err(longer) => {
                        wait = wait.min(longer);
                        false
                    }
                }
        });
        while queues
            .waiting
            .front()
            .is_some_and(|next| room.fits(next, self.is_alone(next)) && room.fill(next, self.is_alone(next)))
        {
            batch.extend(queues.waiting.pop_front());
        }
        if batch.is_empty() { Err(wait) } else { Ok(batch) }
    }

    async fn send(&self, batch: &[Write]) -> Result<BatchReply, CloudError> {
        let table = &self.options.table;
        if let [write] = batch
            && self.is_alone(write)
        {
            let absent = self.options.if_not_exists.then_some(self.options.partition_key.as_str());
            let consumed: Option<Consumed> = match &write.kind {
                WriteKind::Put(item) => self.put.put(put_body(table, item, absent)).await?,
                WriteKind::Delete(key) => self.put.delete(delete_body(table, key)).await?,
                WriteKind::Request { request, .. } => self.put.put(request.clone()).await?,
                WriteKind::Conditional { request, updates: false } => self.put.delete(request.clone()).await?,
                WriteKind::Conditional { request, updates: true } => self.put.update(request.clone()).await?,
            };
            return Ok(BatchReply { unprocessed: Vec::new(), consumed });
        }
        let requests = batch.iter().map(|write| match &write.kind {
            WriteKind::Put(item) | WriteKind::Request { item, .. } => Request::Put(item),
            WriteKind::Delete(key) => Request::Delete(key),
            WriteKind::Conditional { .. } => unreachable!("a write with a condition goes alone"),
        });
        self.put.batch(batch_body(table, requests)).await
    }
}

fn wcu_of(writes: &[Write]) -> f64 {
    writes.iter().map(|write| write.wcu).sum()
}
