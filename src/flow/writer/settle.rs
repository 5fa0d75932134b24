//! What a reply means for each write of a batch: settled, tried again, or refused for good.

use std::collections::HashSet;
use std::time::Duration;

use super::Shared;
use super::batch::REQUESTS;
use super::queues::Queues;
use super::waiting::{Write, WriteKind};
use crate::cloud::{Class, CloudError};
use crate::flow::counters::Outcome;
use crate::flow::pacer::{Answer, Cause};
use crate::flow::table::BatchReply;
use crate::item::Key;

/// So often may a batch fail in a row before its writes go alone, to find the one that is to blame.
const TOGETHER: u32 = 3;

/// So often may a write fail on its own while others get through before it is a dead letter: about half a minute, which
/// a fault of one partition may last, and as many tries as the original put function made.
const TRIES: u32 = 20;

/// What a lane does after a batch.
pub(super) enum After {
    /// Goes on.
    Next,
    /// Waits a moment first.
    BackOff,
    /// Ends: the writer failed.
    End,
}

impl Shared {
    /// Settles what `reply` says of `batch`, and puts the rest back in front.
    pub(super) fn settle(
        &self,
        sent: Duration,
        batch: Vec<Write>,
        reply: Result<BatchReply, CloudError>,
        queues: &mut Queues,
    ) -> After {
        let error = match reply {
            Ok(reply) => return self.settle_reply(sent, batch, &reply, queues),
            Err(error) => error,
        };
        match error.class {
            Class::Throttled => {
                self.health.patience.answered();
                self.health.throttled(batch.len());
                self.pacer.reply(sent, &answers(&[], &batch), Cause::of(&error), None);
                queues.heat(self.pacer.hot());
                let again = batch.into_iter().map(Write::refused_for_now).collect();
                queues.put_back_refused(self.health.clock.now(), again);
                After::BackOff
            }
            Class::Transient | Class::Unknown | Class::InUse => {
                if self.health.patience.is_over(sent, self.health.clock.now()) {
                    self.health.fail(error);
                    return After::End;
                }
                self.health.effort().retried += batch.len() as u64;
                self.put_back_failed(&error, batch, queues);
                After::BackOff
            }
            Class::NotFound if self.options.outlives_table => {
                self.health.patience.answered();
                if self.gone.is_over(sent, self.health.clock.now()) {
                    let reason = format!("there is no table {} any more", self.options.table);
                    for write in batch {
                        queues.put_back(self.refused(write, reason.clone()));
                    }
                    return After::Next;
                }
                self.health.effort().retried += batch.len() as u64;
                queues.put_back(batch);
                After::BackOff
            }
            Class::Invalid if batch.len() > 1 => {
                // One of them is bad, and the service does not say which: each goes alone.
                self.health.patience.answered();
                self.health.effort().retried += batch.len() as u64;
                queues.put_back(batch.into_iter().map(Write::on_its_own).collect());
                After::Next
            }
            Class::Invalid => {
                self.health.patience.answered();
                for write in batch {
                    // What it would have replaced is the last good version.
                    queues.put_back(self.refused(write, said(&error)));
                }
                After::Next
            }
            Class::Condition | Class::DryRun => {
                for write in batch {
                    self.done(write, &Outcome::Skipped);
                }
                After::Next
            }
            Class::Auth | Class::NotFound | Class::ReadOnly => {
                self.health.fail(error);
                After::End
            }
        }
    }

    /// Puts writes that failed back: those that fail again and again go alone, with others between their tries, and then
    /// no more.
    fn put_back_failed(&self, error: &CloudError, batch: Vec<Write>, queues: &mut Queues) {
        let now = self.health.patience.failed();
        let mut batch: Vec<Write> = batch.into_iter().map(|write| write.failed(now)).collect();
        if batch.len() > 1 {
            if batch.iter().any(|write| write.failures >= TOGETHER) {
                batch = batch.into_iter().map(Write::on_its_own).collect();
            }
            return queues.put_back(batch);
        }
        let (given_up, again) = batch.into_iter().partition(|write| write.own_failures >= TRIES);
        queues.put_back(again);
        queues.waiting.let_pass(REQUESTS);
        for write in given_up {
            let reason = format!("failed {TRIES} times while others got through: {error}");
            queues.put_back(self.refused(write, reason));
        }
    }

    fn settle_reply(&self, sent_at: Duration, batch: Vec<Write>, reply: &BatchReply, queues: &mut Queues) -> After {
        self.health.patience.worked();
        self.gone.answered();
        let sent_count = batch.len();
        let mut unprocessed: HashSet<u128> = reply.unprocessed.iter().map(|key| key.hash).collect();
        let sent: HashSet<u128> =
            if unprocessed.is_empty() { HashSet::new() } else { batch.iter().map(|write| write.key.hash).collect() };
        if !unprocessed.is_subset(&sent) {
            // A key that we did not send: the reply can't be read, and putting all of it again does no harm.
            unprocessed = sent;
        }
        let (again, done): (Vec<Write>, Vec<Write>) =
            batch.into_iter().partition(|write| unprocessed.contains(&write.key.hash));
        self.pacer.reply(sent_at, &answers(&done, &again), Cause::Unsaid, reply.consumed.as_ref());
        if let Some(consumed) = &reply.consumed {
            self.health.effort().wcu += consumed.total();
        }
        for write in done {
            let outcome = match write.kind {
                WriteKind::Put(_) | WriteKind::Request { .. } => Outcome::Written,
                WriteKind::Delete(_) | WriteKind::Conditional { updates: false, .. } => Outcome::Deleted,
                WriteKind::Conditional { updates: true, .. } => Outcome::Skipped,
            };
            self.done(write, &outcome);
        }
        if again.is_empty() {
            return After::Next;
        }
        self.health.throttled(again.len());
        // Where most got through, the pacer's word is enough: a lane that slept for one write of a full partition would
        // hold up those of all others.
        let after = if again.len() * 2 > sent_count { After::BackOff } else { After::Next };
        // Before they go back, so that those of a key that just turned hot go to its queue.
        queues.heat(self.pacer.hot());
        for write in again.iter().filter(|write| queues.hot.contains(&write.partition)) {
            self.pacer.call_hot(write.partition, || partition_value(&write.key, &self.options.partition_key));
        }
        let again = again.into_iter().map(Write::refused_for_now).collect();
        queues.put_back_refused(self.health.clock.now(), again);
        after
    }
}

/// What a pacer learns from a reply.
fn answers(done: &[Write], again: &[Write]) -> Vec<Answer> {
    let answer = |refused| {
        move |write: &Write| Answer { partition: write.partition, wcu: write.wcu, refused, again: write.was_refused }
    };
    done.iter().map(answer(false)).chain(again.iter().map(answer(true))).collect()
}

/// The value of `key`'s partition key, such as `user#1`.
fn partition_value(key: &Key, partition_key: &str) -> String {
    let key: serde_json::Value = serde_json::from_slice(&key.json).unwrap_or_default();
    let typed = key.get(partition_key).and_then(serde_json::Value::as_object).and_then(|typed| typed.values().next());
    typed.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

/// The service's own words, for a dead letter.
pub(in crate::flow) fn said(error: &CloudError) -> String {
    if error.hint.is_empty() { error.what.clone() } else { error.hint.clone() }
}
