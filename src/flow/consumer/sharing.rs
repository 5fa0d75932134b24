//! Reads the shards whose leases this worker holds, for as long as it holds them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::{AbortHandle, JoinSet};

use super::reader::read;
use super::shared::Shared;
use crate::cloud::{Class, CloudError};
use crate::flow::leases::{Held, Leases};

pub(super) async fn supervise(shared: &Arc<Shared>, leases: &Arc<Leases>) -> Result<(), CloudError> {
    let mut standing = leases.standing();
    let mut readers: JoinSet<(Held, Result<(), CloudError>)> = JoinSet::new();
    let mut reading: HashMap<String, (Held, AbortHandle)> = HashMap::new();
    let mut seed = 0;
    shared.all_listed();
    loop {
        let held = standing.borrow_and_update().held.clone();
        reading.retain(|shard, (was, reader)| {
            let Some(is) = held.iter().find(|held| held.shard == *shard && held.fence.is(&was.fence)) else {
                // Lost, handed over, or read to its end and stored.
                reader.abort();
                shared.retire(shard);
                return false;
            };
            if is.hand_over && !was.hand_over {
                was.hand_over = true;
                reader.abort();
                if let Some(hold) = shared.holds().get_mut(shard.as_str()) {
                    hold.hand_over = true;
                }
            }
            true
        });
        for held in held {
            if reading.contains_key(&held.shard) || held.hand_over {
                continue;
            }
            let alive = shared.reader();
            let state = shared.hold(&held, &alive);
            let (shared, read_as) = (Arc::clone(shared), held.clone());
            seed += 1;
            let reader = readers.spawn(async move {
                let outcome = read(&shared.course, &state, read_as.start.clone(), seed).await;
                if outcome.is_ok() {
                    state.done.store(true, Ordering::Release);
                }
                drop(alive);
                (read_as, outcome)
            });
            reading.insert(held.shard.clone(), (held, reader));
        }
        tokio::select! {
            error = shared.course.health.failed() => return Err(error),
            error = leases.failed() => return Err(error),
            changed = standing.changed() => {
                if changed.is_err() {
                    return Err(leases.failed().await);
                }
            }
            Some(ended) = readers.join_next() => match ended {
                Ok((held, outcome)) => {
                    // What fails once the shard is lost is nobody's concern.
                    if held.fence.holds() {
                        outcome?;
                    }
                }
                Err(stopped) if stopped.is_cancelled() => {}
                // A task that panicked ends the consumer as an error does.
                Err(broke) => {
                    return Err(CloudError::new(Class::Unknown, format!("a shard's reader broke off: {broke}"), ""));
                }
            },
        }
    }
}
