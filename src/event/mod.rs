//! The event store: events in time slots, complete up to a watermark, played back in order from any moment.
//!
//! ```text
//!   stream ──▶ buffer table ──pass──▶ event table: slot ▸ time#shard#sequence ──▶ playback, in that order
//!              (random keys)            └─ directory: a row an hour, counts per slot ──▶ histogram, empty hours skipped
//! ```
//!
//! Knows nothing of who calls it: a worker process, Lambda.

mod record;
pub mod row;
mod slot;

pub use record::{Event, EventId, Layout};
pub use slot::{Slot, SlotLength};
