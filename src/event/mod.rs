//! The event store: events in time slots, complete up to a watermark, played back in order from any moment.
//!
//! ```text
//!   stream ──▶ buffer table ──pass──▶ event table: slot ▸ time#shard#sequence ──▶ playback, in that order
//!              (random keys)            └─ directory: a row an hour, counts per slot ──▶ histogram, empty hours skipped
//! ```
//!
//! Knows nothing of who calls it: a worker process, Lambda. [`intake::checked_buffer_row`] makes a record's row in the
//! buffer, [`pass::Pass`] is the pass, [`watermark::read`] what playback waits behind.

mod aws_read;
pub mod directory;
mod filter;
mod histogram;
pub mod intake;
mod open;
mod order;
pub mod pass;
pub mod place;
pub mod plan;
mod range;
pub mod read;
mod record;
pub mod repair;
pub mod row;
mod slot;
pub mod tables;
mod tempo;
pub mod track;
pub mod watermark;

pub use aws_read::{AwsEvents, layout_of};
pub use filter::Filter;
pub use histogram::{Histogram, histogram};
pub use order::{Around, Batch, Miscount, Place, Reach, Reading, around, slots};
pub use range::{MOMENTS, Range, moment};
pub use record::{Event, EventId, Layout};
pub use slot::{Slot, SlotLength};
pub use tempo::{Lateness, Tempo};
