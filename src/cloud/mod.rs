//! AWS as the rest of the house sees it: a context gives clients, every change passes the guard, and an error gets
//! its class once.

pub mod budget;
pub mod cache;
mod change;
pub mod context;
pub mod error;
pub mod guard;
pub mod inventory;
pub mod mappings;
pub mod metrics;
mod outcome;
pub mod price;
pub mod profiles;
pub mod schema;
pub mod streams;

pub use budget::Budget;
pub use context::{Cloud, Context};
pub use error::{Class, CloudError, ThrottlingReason};
pub use guard::{Guard, Mode};
