//! Who is told of a command's changes: the audit, or in a dry run the reader of stdout.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use serde_json::value::RawValue;

use super::print;
use crate::cloud::Context;
use crate::cloud::guard::{Change, Witness};
use crate::jobs::Journal;

/// Writes changes into the audit, and prints those of a dry run.
#[derive(Debug)]
pub struct CommandWitness {
    journal: PathBuf,
    context: Context,
    json: bool,
    // Opened with the first change: a command that only reads leaves no file behind.
    open: Mutex<Option<Journal>>,
}

impl CommandWitness {
    /// A witness for a command that acts in `context`.
    pub fn new(journal: PathBuf, context: Context, json: bool) -> Self {
        Self { journal, context, json, open: Mutex::default() }
    }
}

impl Witness for CommandWitness {
    fn sending(&self, change: &Change) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = Journal::open(&self.journal).inspect_err(|error| eprintln!("warning: no audit: {error}")).ok();
        }
        if let Some(journal) = open.as_ref()
            && let Err(error) = journal.audit(&self.context, None, change)
        {
            eprintln!("warning: no audit: {error}");
        }
    }

    fn would_send(&self, change: &Change) {
        // A reader that went away does not matter to a request that is not sent.
        let _ = if self.json { print::json(&as_json(change)) } else { print::line(&as_text(change)) };
    }
}

/// One dry-run request as one JSON object.
fn as_json(change: &Change) -> serde_json::Value {
    let request = RawValue::from_string(change.request.clone())
        .ok()
        .and_then(|raw| serde_json::to_value(raw).ok())
        .unwrap_or(serde_json::Value::Null);
    json!({
        "dry_run": true, "service": change.service, "operation": change.operation, "target": change.target,
        "request": request, "aws": change.as_aws_command(),
    })
}

fn as_text(change: &Change) -> String {
    let request = if change.request.is_empty() { "{}" } else { &change.request };
    format!("{} {}\n{}", change.operation, print::escaped(request), print::escaped(&change.as_aws_command()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_shows_the_request_as_json_and_as_the_aws_command() {
        let change = Change {
            service: "dynamodb".into(),
            operation: "UpdateTable".into(),
            target: "quotes".into(),
            request: r#"{"TableName":"quotes"}"#.into(),
        };
        let shown = as_json(&change);
        assert_eq!(shown["request"]["TableName"], "quotes");
        assert!(shown["aws"].as_str().unwrap().starts_with("aws dynamodb update-table --cli-input-json"));
        assert!(as_text(&change).contains(r#"UpdateTable {"TableName":"quotes"}"#));
    }
}
