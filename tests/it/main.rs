//! The real binary, from outside: its commands, its exit codes, its terminal, and other people's tools beside it.
#![allow(clippy::unwrap_used)] // A test that can't go on says why by its line.

mod backup;
mod errors;
mod local;
mod peers;
mod plan;
mod restore;
mod running;
mod sources;
#[cfg(unix)]
mod terminal;
