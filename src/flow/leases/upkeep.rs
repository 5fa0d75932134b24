//! Which leases a stream's shards should have: pure.

use std::collections::{HashMap, HashSet};

use super::row::{Lease, LeaseCheckpoint};
use crate::flow::stream::{Shard, StartAt};

/// The leases that `listing` lacks in `leases`, in the order in which they must be made. `from` is where workers were
/// told to begin a stream that nobody has read.
pub(super) fn missing(stream: &str, listing: &[Shard], leases: &[Lease], from: &StartAt) -> Vec<Lease> {
    let known: HashMap<&str, &Lease> = leases.iter().map(|lease| (lease.shard.as_str(), lease)).collect();
    let listed: HashSet<&str> = listing.iter().map(|shard| shard.id.as_str()).collect();
    let was_read =
        leases.iter().any(|lease| matches!(lease.checkpoint, LeaseCheckpoint::After(_) | LeaseCheckpoint::ShardEnd));
    let newest_only = *from == StartAt::Latest && leases.is_empty();
    // A child goes on where its parents ended; where all begin at a time, that may be after it was made.
    let of_child = || match from {
        StartAt::Time(_) => LeaseCheckpoint::AtTimestamp,
        _ => LeaseCheckpoint::TrimHorizon,
    };
    let checkpoint = |shard: &Shard| {
        if newest_only {
            // Closed before we came: nothing in it is newer than now.
            return Some(if shard.open { LeaseCheckpoint::Latest } else { LeaseCheckpoint::ShardEnd });
        }
        let mut parents = shard.parents.iter().filter(|parent| listed.contains(parent.as_str())).peekable();
        if parents.peek().is_none() {
            return Some(if was_read { of_child() } else { LeaseCheckpoint::of_start(from) });
        }
        parents.all(|parent| known.get(parent.as_str()).is_some_and(|lease| lease.has_ended())).then(of_child)
    };
    let mut missing: Vec<Lease> = listing
        .iter()
        .filter(|shard| !known.contains_key(shard.id.as_str()))
        .filter_map(|shard| Some(Lease::new(stream, shard, checkpoint(shard)?)))
        .collect();
    // Another worker that looks meanwhile must not take the stream for one that was read already.
    missing.sort_by_key(Lease::has_ended);
    missing
}

/// The leases of shards that left the stream: their records are gone.
pub(super) fn left<'a>(listing: &[Shard], leases: &'a [Lease]) -> Vec<&'a Lease> {
    let listed: HashSet<&str> = listing.iter().map(|shard| shard.id.as_str()).collect();
    if listing.is_empty() {
        return Vec::new();
    }
    leases.iter().filter(|lease| !listed.contains(lease.shard.as_str())).collect()
}

/// The shards that came from `shard`.
pub(super) fn children(listing: &[Shard], shard: &str) -> Vec<String> {
    listing.iter().filter(|child| child.parents.iter().any(|p| p == shard)).map(|child| child.id.clone()).collect()
}
