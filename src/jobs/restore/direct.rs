//! The straight way: source, check, writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::source::{RecordPosition, Source};
use super::{Begun, Drive, FeedWatch, Resume, Settled, Way, source_checkpoint, stage_of};
use crate::backup::Record;
use crate::cloud::inventory::Table;
use crate::flow::{AwsTable, Counters, Ledger, Writer, WriterOptions};
use crate::item::Checker;
use crate::jobs::binding::Stages;
use crate::jobs::spec::RestoreSpec;
use crate::jobs::worker::{JobError, Session};

/// Records that may be open at once: enough to keep every lane busy, small beside the memory of their items.
const WINDOW: usize = 50_000;

/// Records read at a time.
pub(super) const BATCH: usize = 500;

struct Direct {
    feed: Arc<FeedWatch>,
    ledger: Arc<Ledger<RecordPosition>>,
    writer: Arc<Writer>,
}

/// Starts writing `source` into `table`.
pub(super) fn begin(
    session: &Session<'_>,
    spec: &RestoreSpec,
    table: &Table,
    source: Source,
    resume: &Resume,
    begun: &Begun,
) -> (Arc<dyn Way>, Drive) {
    let ledger = Arc::new(Ledger::new(WINDOW).resumed(resume.counters));
    let writer = Arc::new(writer(session, spec, table, begun));
    let checker = Checker::new(table.key.clone());
    let feed = Arc::clone(&begun.feed);
    let drive = drive(source, checker, Arc::clone(&feed), Arc::clone(&ledger), Arc::clone(&writer));
    (Arc::new(Direct { feed, ledger, writer }), Box::pin(drive))
}

/// The writer of a restore's table.
pub(super) fn writer(session: &Session<'_>, spec: &RestoreSpec, table: &Table, begun: &Begun) -> Writer {
    let mut options = WriterOptions::new(&table.name, &table.key.partition.name);
    options.if_not_exists = spec.if_not_exists;
    let put = AwsTable::new(session.cloud.bulk.dynamodb.clone(), &table.name, table.key.clone());
    Writer::start(options, Arc::new(put), Arc::clone(&begun.pacer), Arc::clone(&begun.clock))
}

async fn drive(
    mut source: Source,
    checker: Checker,
    watch: Arc<FeedWatch>,
    ledger: Arc<Ledger<RecordPosition>>,
    writer: Arc<Writer>,
) -> Result<(), JobError> {
    let feed = async {
        loop {
            let batch = match source.next_batch(BATCH).await {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => batch,
                Err(error) => {
                    // What was read before is written first, so that the resume begins where reading stopped.
                    ledger.drained().await;
                    return Err(error.into());
                }
            };
            for (Record { json, raw, .. }, position) in batch {
                let Ok(receipt) = ledger.open(position).await else { return Ok(()) };
                let checked = {
                    let _busy = watch.checking.enter();
                    json.and_then(|json| checker.check(json))
                };
                match checked {
                    Ok(item) => writer.put(item, receipt).await?,
                    Err(refusal) => receipt.dead(refusal.to_string(), raw),
                }
            }
        }
        watch.all_read.store(true, Ordering::Relaxed);
        ledger.drained().await;
        Ok(())
    };
    tokio::select! {
        done = feed => done,
        error = writer.failed() => Err(error.into()),
    }
}

impl Way for Direct {
    fn take_settled(&self) -> Settled {
        let settled = self.ledger.take_settled();
        Settled {
            checkpoints: source_checkpoint(&settled).into_iter().collect(),
            counters: with_effort(settled.counters, &self.writer),
            letters: settled.letters,
        }
    }

    fn committed(&self) {}

    fn live(&self) -> Counters {
        with_effort(self.ledger.live(), &self.writer)
    }

    fn stages(&self) -> Stages {
        let (held, writer) = stage_of(&self.writer);
        Stages { held, into_table: Some(writer), ..self.feed.stages() }
    }

    fn hold(&self, held: bool) {
        self.writer.pacer().hold(held);
    }
}

/// Counters of a ledger with what the writer took for them.
pub(super) fn with_effort(mut counters: Counters, writer: &Writer) -> Counters {
    let effort = writer.effort();
    counters.retried += effort.retried;
    counters.throttled += effort.throttled;
    counters.wcu += effort.wcu;
    counters
}
