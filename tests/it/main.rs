//! The real binary, from outside: its commands, its exit codes, its terminal, and other people's tools beside it.

mod errors;
mod local;
mod peers;
mod restore;
mod running;
#[cfg(unix)]
mod terminal;
