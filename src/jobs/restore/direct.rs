//! The straight way: source, check, writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::source::{Next, RecordPosition, Source};
use super::strand::Intent;
use super::{Begun, Drive, FeedWatch, Resume, Settled, Way, source_checkpoint, stage_of};
use crate::cloud::inventory::Table;
use crate::flow::{AwsTable, Counters, Ledger, Outcome, Writer, WriterOptions};
use crate::jobs::binding::Stages;
use crate::jobs::spec::RestoreSpec;
use crate::jobs::worker::{JobError, Session};

/// Records that may be open at once: enough to keep every lane busy, small beside the memory of their items.
const WINDOW: usize = 250_000;

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
    let feed = Arc::clone(&begun.feed);
    let drive = drive(source, Arc::clone(&feed), Arc::clone(&ledger), Arc::clone(&writer));
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
    watch: Arc<FeedWatch>,
    ledger: Arc<Ledger<RecordPosition>>,
    writer: Arc<Writer>,
) -> Result<(), JobError> {
    let feed = async {
        loop {
            let records = match source.next(BATCH).await {
                Ok(Next::Records(records)) => records,
                Ok(Next::StageEnds) => {
                    watch.all_read.store(true, Ordering::Relaxed);
                    ledger.drained().await;
                    watch.all_read.store(false, Ordering::Relaxed);
                    continue;
                }
                Ok(Next::End) => break,
                Err(error) => {
                    // What was read before is written first, so that the resume begins where reading stopped.
                    ledger.drained().await;
                    return Err(error.into());
                }
            };
            for (intent, position) in records {
                let Ok(receipt) = ledger.open(position).await else { return Ok(()) };
                match intent {
                    Intent::Put(item) => writer.put(item, receipt).await?,
                    Intent::Delete(key) => writer.delete(key, receipt).await?,
                    Intent::LeaveOut => receipt.settle(Outcome::Skipped),
                    Intent::Refuse(reason, raw) => receipt.dead(reason, raw),
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

    fn open_records(&self) -> usize {
        self.ledger.open_records()
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
