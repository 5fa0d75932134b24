//! Leases: how several hosts share the shards of a stream, through a `DynamoDB` table with the Kinesis Client Library's
//! own schema.
//!
//! ```text
//!   Leases ── each tick ──> list ─> renew what is ours ─> take what is free ─> ask for one of the most loaded
//!      │                      │             └─ the fence of each shard moves on: without it, its writes stop
//!      │                      └─ Sightings: whose counter stands still, by our own clock
//!      └─ standing ──> Consumer reads what is held, stops what is lost or asked for
//! ```
//!
//! A lease is taken, renewed, checkpointed and given up by conditional updates on its owner and counter, so that a worker
//! that lost it can't checkpoint. Nobody's time of day matters: a worker is dead when its counters did not move for
//! [`FAILOVER`] of the looker's monotonic clock.

mod change;
mod fence;
mod holder;
mod keeper;
mod row;
mod sightings;
mod table;
mod upkeep;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use change::{Change, Expected, Worker};
pub use fence::Fence;
pub use holder::{Held, LeaseOptions, LeaseStore, Leases, Standing};
pub use row::{Lease, LeaseCheckpoint};
pub use table::{AwsLeases, Look, create, list, look};

/// A lease whose counter did not move for so long may be taken (the Kinesis Client Library's `failoverTimeMillis`).
pub const FAILOVER: Duration = Duration::from_secs(10);
