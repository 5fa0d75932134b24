//! The guard's witness: every change goes into the journal's audit, every dry run onto stdout.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;

use super::journal::{Journal, JournalError};
use super::spec::JobId;
use crate::cloud::guard::{Change, Outcome, Witness};
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
    fn sending(&self, change: &Change) -> Option<i64> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let written = journal.audit(&self.context, self.job.as_ref(), change);
        // The change itself goes on: a full disk must not stop a restore that is under way.
        let written = written.inspect_err(|error| {
            tracing::error!(%error, operation = change.operation, target = change.target, "a change could not be audited");
        });
        written.ok()
    }

    fn settled(&self, number: i64, outcome: &Outcome) {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = journal.audit_outcome(number, outcome) {
            tracing::error!(%error, number, outcome = outcome.name(), "what became of a change could not be audited");
        }
    }

    fn would_send(&self, change: &Change) {
        println!("{}", Unsent::of(change, &self.context));
    }
}

#[cfg(all(test, feature = "local"))]
mod tests {
    use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder as Transaction;
    use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};

    use super::*;
    use crate::cloud::Cloud;
    use crate::jobs::journal::AuditLine;
    use crate::local::testing::{bought, make_table};
    use crate::local::{Fault, Faults, Local, Options};

    /// An embedded AWS whose changes are audited.
    struct World {
        cloud: Cloud,
        journal: Journal,
        _local: Local,
        _folder: tempfile::TempDir,
    }

    async fn world(options: Options) -> World {
        let local = Local::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sqlite");
        let context = Context {
            region: Some("eu-west-1".into()),
            endpoint_url: Some(local.endpoint().into()),
            ..Context::default()
        };
        let cloud = Cloud::connect(&context, guard(&path, &context, None, Mode::Normal).unwrap()).await.unwrap();
        let journal = Journal::open(&path).unwrap();
        let world = World { cloud, journal, _local: local, _folder: folder };
        make_table(&world.cloud, "quotes", 10).await;
        world
    }

    impl World {
        /// The lines of what was sent after the table was made.
        fn lines(&self) -> Vec<AuditLine> {
            let mut lines = self.journal.audit_lines(100).unwrap();
            let made = lines.pop().unwrap();
            assert_eq!((made.change.operation.as_str(), made.outcome), ("CreateTable", Some(Outcome::Done)));
            lines
        }
    }

    /// An operation on items that is no bulk: faults strike it, and it is a line of its own.
    fn transaction(client: &aws_sdk_dynamodb::Client) -> Transaction {
        let put = Put::builder().table_name("quotes").item("id", AttributeValue::S("a".into())).build().unwrap();
        client.transact_write_items().transact_items(TransactWriteItem::builder().put(put).build())
    }

    #[tokio::test]
    async fn what_aws_refused_is_a_line_that_says_so_and_what_it_took_is_done() {
        let world = world(Options::default()).await;
        let update = |write| {
            let request = world.cloud.dynamodb.update_table().table_name("quotes");
            request.provisioned_throughput(bought(write)).send()
        };
        update(10).await.unwrap_err();
        update(20).await.unwrap();
        let lines = world.lines();
        let [done, refused] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(done.outcome, Some(Outcome::Done));
        let outcome = refused.outcome.as_ref().unwrap();
        assert_eq!(outcome.to_string(), "refused: ValidationException");
        assert!(outcome.words().unwrap().contains("will not change"), "{outcome:?}");
        let count = world.journal.audit_count(&world.cloud.place(), "UpdateTable", "quotes", 0).unwrap();
        assert_eq!(count, 1);
    }

    #[tokio::test]
    async fn an_operation_that_is_tried_again_is_one_line_with_the_outcome_of_the_last_try() {
        let faults: Faults = "error=50%".parse().unwrap();
        let first_fails = |seed: &u64| {
            let faults = faults.clone().seeded(*seed);
            faults.roll(Fault::Error) && !faults.roll(Fault::Error)
        };
        let seed = (0..1_000).find(first_fails).unwrap();
        let world = world(Options { faults: faults.clone(), seed, ..Options::default() }).await;
        let before = world.cloud.guard.requests();
        transaction(&world.cloud.dynamodb).send().await.unwrap();
        assert_eq!(world.cloud.guard.requests() - before, 2, "the first try failed");
        let lines = world.lines();
        assert_eq!(lines.iter().map(|line| line.outcome.clone()).collect::<Vec<_>>(), [Some(Outcome::Done)]);
    }

    #[tokio::test]
    async fn what_lost_its_reply_is_not_known_and_what_was_throttled_is_refused() {
        for (faults, name, is_refused) in [
            ("lose-reply=100%", "unknown", false),
            ("error=100%", "unknown", false),
            ("throttle=100%", "refused", true),
        ] {
            let world = world(Options { faults: faults.parse().unwrap(), ..Options::default() }).await;
            // The client that does not try again.
            transaction(&world.cloud.bulk.dynamodb).send().await.unwrap_err();
            let lines = world.lines();
            let [line] = &lines[..] else { panic!("{faults}: {lines:?}") };
            let outcome = line.outcome.as_ref().unwrap();
            assert_eq!((outcome.name(), line.is_refused()), (name, is_refused), "{faults}: {outcome:?}");
            assert!(outcome.words().is_some(), "{faults}");
        }
    }
}
