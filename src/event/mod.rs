//! The event store: events in time slots, complete up to a watermark, played back in order from any moment.
//!
//! ```text
//!   stream ──▶ buffer table ──pass──▶ event table: slot ▸ time#shard#sequence ──▶ playback, in that order
//!              (random keys)            └─ directory: a row an hour, counts per slot ──▶ histogram, empty hours skipped
//! ```
//!
//! Knows nothing of who calls it: a worker process, Lambda. [`intake::checked_buffer_row`] makes a record's row in the
//! buffer, [`pass::Pass`] is the pass, [`watermark::read`] what playback waits behind.

pub mod directory;
pub mod intake;
mod open;
pub mod pass;
pub mod place;
pub mod plan;
mod record;
pub mod repair;
pub mod row;
mod slot;
pub mod tables;
pub mod track;
pub mod watermark;

pub use record::{Event, EventId, Layout};
pub use slot::{Slot, SlotLength};
