//! Backups: the files that items come from and go to, on disk, in S3 or on standard input.
//!
//! ```text
//!   Location ──expand──> Input ──Reader::open──> a thread of its own:          the caller:
//!   file, folder, glob,          sniff gzip/zstd, detect the format            Reader::next_batch
//!   s3://bucket/prefix, -        chunk ─> lines ─> item bytes ──4 batches──>   Record { line, offset, json }
//! ```
//!
//! Memory is the chunks in flight, whatever the file's size. Writing is [`mod@write`]'s.

mod chain;
mod check;
mod error;
mod expand;
mod format;
mod lines;
mod location;
mod manifest;
mod piece;
mod reader;
pub mod sample;
mod set;
mod source;
#[cfg(all(test, feature = "local"))]
mod test_s3;
pub mod write;

pub use check::{Unfit, check};
pub use error::BackupError;
pub use expand::{Input, expand};
pub use format::{Format, detect};
pub use lines::LONGEST_LINE;
pub use location::Location;
pub use piece::{Piece, pieces};
pub use reader::{Change, Place, Reader, Record};
pub use set::{Export, Set, Stage, Wanted};
pub use write::{Csv64Writer, Written};
