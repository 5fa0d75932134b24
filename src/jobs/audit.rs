//! The guard's witness: every change goes into the journal's audit, every dry run onto stdout.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;

use super::journal::{Journal, JournalError};
use super::spec::JobId;
use crate::cloud::guard::{Change, Witness};
use crate::cloud::{Context, Guard, Mode};

/// Writes changes into the journal, prints those of a dry run.
#[derive(Debug)]
pub struct Audit {
    journal: Mutex<Journal>,
    context: Context,
    job: Option<JobId>,
}

/// A guard in `mode` whose changes are audited in the journal at `path`.
///
/// # Errors
/// When the journal can't be opened: then nothing may be changed either.
pub fn guard(path: &Path, context: &Context, job: Option<&JobId>, mode: Mode) -> Result<Arc<Guard>, JournalError> {
    let journal = Mutex::new(Journal::open(path)?);
    Ok(Guard::new(mode, Arc::new(Audit { journal, context: context.clone(), job: job.cloned() })))
}

/// A request that a dry run did not send.
#[derive(Serialize)]
pub struct Unsent<'a> {
    would_send: &'a str,
    service: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a RawValue>,
    aws: String,
}

impl Unsent<'_> {
    /// The line that is printed of `change`: JSON, with the `aws` command that equals it in `context`.
    pub fn of(change: &Change, context: &Context) -> String {
        super::journal::to_json(&Unsent {
            would_send: &change.operation,
            service: &change.service,
            target: &change.target,
            request: serde_json::from_str(&change.request).ok(),
            aws: change.as_aws_command_in(context),
        })
    }
}

impl Witness for Audit {
    fn sending(&self, change: &Change) {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = journal.audit(&self.context, self.job.as_ref(), change) {
            // The change itself goes on: a full disk must not stop a restore that is under way.
            tracing::error!(%error, operation = change.operation, target = change.target, "a change could not be audited");
        }
    }

    fn would_send(&self, change: &Change) {
        println!("{}", Unsent::of(change, &self.context));
    }
}
