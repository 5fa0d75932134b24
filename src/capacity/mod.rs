//! Provisioned throughput: what may be raised, lowered and given back, by how much, and when. Pure rules: no clients, no
//! journal, no clock.
//!
//! ```text
//!   step        + and -: by how much            decreases   how often AWS lets capacity come down
//!   shards      what UpdateShardCount allows    give_back   what a debt comes to, as things stand now
//!   rules       autoscale: load -> new capacity
//!   config      autoscale: which tables, within what, when not    window   the times when not
//! ```

pub mod config;
pub mod decreases;
pub mod give_back;
pub mod resource;
pub mod rules;
pub mod shards;
pub mod step;
pub mod window;

pub use decreases::{Decreases, Left};
pub use resource::Resource;
pub use step::Step;

/// The most WCU, and the most RCU, of one table or index.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
pub const LARGEST: u64 = 40_000;
