//! The real binary, from outside: its commands, its exit codes, its terminal, and other people's tools beside it.
#![allow(clippy::unwrap_used)] // A test that can't go on says why by its line.
#![allow(clippy::float_cmp)] // What was counted comes back as it was counted.

mod aggregate;
mod autoscale;
#[cfg(unix)]
mod background;
mod backup;
#[cfg(all(feature = "bigquery", feature = "local"))]
mod bigquery;
mod capacity;
#[cfg(unix)]
mod credentials;
mod dead;
mod errors;
mod fan_out;
mod guardrails;
mod iam;
#[cfg(feature = "lambda")]
mod lambda;
mod leases;
mod local;
mod night;
mod out;
mod pacing;
mod peers;
mod plan;
mod playback;
mod pump;
mod replica_against_dynamodb_local;
mod replica_audit;
mod replicate;
mod restore;
mod running;
mod said;
#[cfg(unix)]
mod shells;
mod sources;
mod streams;
mod table_streams;
#[cfg(unix)]
mod terminal;
mod track;
mod twin;
mod verify;
mod work;
