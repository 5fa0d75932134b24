//! Sluicegate moves records into and out of DynamoDB, and shows it happening.
//!
//! ```text
//!            console        cli            the two doors: a terminal, a command line
//!               └──────┬──────┘
//!                   report                 what a job was and did, as a page with its charts
//!                    jobs                  what can be started: a process each, meeting in the journal
//!                      │
//!                flow    event             writer, producer, consumer, pacer · slots, pump pass, playback order:
//!                      │                   both know nothing of who calls them
//!            ┌─────────┼─────────┐
//!          item      backup    cloud       bytes of items · files of items · clients, guard, error classes
//!          capacity                        rules of provisioned throughput: steps, decreases, autoscale
//!
//!          bigquery                        the sink of replicas in BigQuery, beside flow
//!          lambda                          the third door: flow and event as functions on AWS Lambda
//!          local                           the embedded AWS, started by cli and by tests; nothing else knows of it
//! ```
//!
//! Arrows point down only. `docs/` tells an operator what can't be guessed.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::float_cmp, clippy::unnecessary_wraps, clippy::type_complexity))]

pub mod backup;
#[cfg(feature = "bigquery")]
pub mod bigquery;
pub mod capacity;
pub mod cli;
pub mod cloud;
pub mod console;
pub mod event;
pub mod flow;
pub mod item;
pub mod jobs;
#[cfg(feature = "lambda")]
pub mod lambda;
#[cfg(feature = "local")]
pub mod local;
pub mod report;
