//! The way through a stream: a producer puts requests onto it, a consumer runs them, both in this worker.
//!
//! Each record's partition key says its number within the job. The source's ledger never runs further ahead of its
//! stored mark than the shards' tallies remember, so each record counts once, however often it was sent.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::direct::{BATCH, with_effort, writer};
use super::source::{Next, RecordPosition, Source};
use super::strand::Intent;
use super::{Begun, Drive, FeedWatch, Resume, Settled, Way, source_checkpoint, stage_of};
use crate::cloud::inventory::Table;
use crate::cloud::{Class, CloudError};
use crate::flow::{
    AwsStream, Consumer, ConsumerOptions, Counters, Ledger, Outcome, Producer, ProducerOptions, Settled as Passed,
    Sink, StartAt, Tables, Tally,
};
use crate::item::Checker;
use crate::jobs::binding::{Stage, Stages};
use crate::jobs::consuming;
use crate::jobs::journal::ShardSample;
use crate::jobs::spec::RestoreSpec;
use crate::jobs::worker::{JobError, Session};

/// Shards are read from this long before the job was written down, since clocks differ; AWS refuses signatures that
/// are off by more than five minutes.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);

/// How long all shards may stay empty while records are missing before the job says that the stream lost them.
const LOST_AFTER: Duration = Duration::from_mins(2);

/// Put requests of a shard that are open at once: two seconds of what a shard takes one by one, half a second of packed
/// ones, so that a crash repeats little and the lag of a shard is what the operator sees of a table that is too slow.
const WINDOW: usize = 2_000;

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(100);

struct Through {
    watch: Arc<FeedWatch>,
    ledger: Arc<Ledger<RecordPosition>>,
    producer: Arc<Producer>,
    workers: Option<Arc<Workers>>,
    held: watch::Sender<bool>,
    /// What was taken last, until it is stored.
    taken: Mutex<Option<Passed<RecordPosition>>>,
}

/// The reading end.
struct Workers {
    consumer: Consumer,
    sink: Sink,
}

/// The one table that a restore's records name.
struct OneTable {
    table: String,
    sink: Sink,
}

impl Tables for OneTable {
    fn sink<'a>(&'a self, table: &'a str) -> BoxFuture<'a, Result<Sink, CloudError>> {
        let found = if table == self.table {
            Ok(self.sink.clone())
        } else {
            Err(CloudError::new(Class::NotFound, format!("this job writes {}, not {table}", self.table), ""))
        };
        Box::pin(std::future::ready(found))
    }
}

/// Starts putting `source` onto `stream` and the stream into `table`.
pub(super) async fn begin(
    session: &Session<'_>,
    spec: &RestoreSpec,
    table: &Table,
    stream: &str,
    source: Source,
    resume: &Resume,
    begun: &Begun,
) -> Result<(Arc<dyn Way>, Drive), JobError> {
    let job = &session.job;
    let ledger = Arc::new(Ledger::until_committed(Tally::WINDOW).resumed(resume.counters));
    let aws = Arc::new(AwsStream::new(session.cloud.kinesis.clone(), session.cloud.bulk.kinesis.clone(), stream));
    let options = ProducerOptions { aggregate: !spec.no_aggregate, ..ProducerOptions::new(stream, &job.id.0) };
    let producer = Arc::new(Producer::start(options, Arc::clone(&aws) as _, Arc::clone(&begun.clock)).await?);
    let workers =
        if spec.no_workers { None } else { Some(Arc::new(workers(session, spec, table, stream, aws, begun)?)) };
    let (held, holding) = watch::channel(false);
    let feed = Feed {
        source,
        table: table.name.clone(),
        partition_key: table.key.partition.name.clone(),
        if_not_exists: spec.if_not_exists,
        ledger: Arc::clone(&ledger),
        producer: Arc::clone(&producer),
        workers: workers.clone(),
        holding,
        watch: Arc::clone(&begun.feed),
    };
    let watch = Arc::clone(&begun.feed);
    let drive = drive(feed);
    Ok((Arc::new(Through { watch, ledger, producer, workers, held, taken: Mutex::default() }), Box::pin(drive)))
}

fn workers(
    session: &Session<'_>,
    spec: &RestoreSpec,
    table: &Table,
    stream: &str,
    aws: Arc<AwsStream>,
    begun: &Begun,
) -> Result<Workers, JobError> {
    let job = &session.job;
    let writer = Arc::new(writer(session, spec, table, begun));
    let sink = Sink { checker: Arc::new(Checker::new(table.key.clone())), writer };
    let mut options = ConsumerOptions::new(stream);
    options.job = Some(job.id.0.clone());
    options.from = StartAt::Time(job.created_ms - CLOCKS_DIFFER.as_millis() as i64);
    options.resume = consuming::checkpoints(&session.journal(), &job.id)?;
    options.window = WINDOW;
    let tables = OneTable { table: table.name.clone(), sink: sink.clone() };
    let consumer = Consumer::start(options, aws, Arc::new(tables), Arc::clone(&begun.clock));
    Ok(Workers { consumer, sink })
}

/// The producing end.
struct Feed {
    source: Source,
    table: String,
    /// The name of the table's, for the condition of `if_not_exists`.
    partition_key: String,
    if_not_exists: bool,
    ledger: Arc<Ledger<RecordPosition>>,
    producer: Arc<Producer>,
    workers: Option<Arc<Workers>>,
    holding: watch::Receiver<bool>,
    watch: Arc<FeedWatch>,
}

impl Feed {
    async fn run(mut self) -> Result<(), JobError> {
        loop {
            // The sender lives as long as the job: an error here is the end of it.
            if self.holding.wait_for(|held| !held).await.is_err() {
                return Ok(());
            }
            let records = match self.source.next(BATCH).await {
                Ok(Next::Records(records)) => records,
                Ok(Next::StageEnds) => {
                    self.settled().await?;
                    continue;
                }
                Ok(Next::End) => return self.settled().await,
                Err(error) => {
                    // What was sent is written first, so that the counts tell of the table. Why reading stopped is the
                    // job's reason, whatever becomes of that.
                    let _ = self.settled().await;
                    return Err(error.into());
                }
            };
            for (intent, position) in records {
                let ordinal = position.number();
                let Ok(receipt) = self.ledger.open(position).await else { return Ok(()) };
                match intent {
                    Intent::Put(item) if self.if_not_exists => {
                        self.producer.put_if_absent(&self.table, &self.partition_key, &item, ordinal, receipt).await?;
                    }
                    Intent::Put(item) => self.producer.put(&self.table, &item, ordinal, receipt).await?,
                    Intent::Delete(key) => self.producer.delete(&self.table, &key, ordinal, receipt).await?,
                    Intent::LeaveOut => receipt.settle(Outcome::Skipped),
                    Intent::Refuse(reason, raw) => receipt.dead(reason, raw),
                }
            }
        }
    }

    /// Ends once everything that was read is on the stream, came back from it, and is in the table.
    async fn settled(&self) -> Result<(), JobError> {
        self.watch.all_read.store(true, Ordering::Relaxed);
        self.ledger.drained().await;
        if let Some(workers) = &self.workers {
            workers.account_for(self.ledger.mark().0.on_stream).await?;
        }
        self.watch.all_read.store(false, Ordering::Relaxed);
        Ok(())
    }
}

async fn drive(feed: Feed) -> Result<(), JobError> {
    let (producer, workers) = (Arc::clone(&feed.producer), feed.workers.clone());
    let reading_fails = async {
        match &workers {
            Some(workers) => workers.consumer.failed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        done = feed.run() => done,
        error = producer.failed() => Err(error.into()),
        error = reading_fails => Err(error.into()),
    }
}

impl Workers {
    /// Ends once `wanted` records of the job came back from the stream and are settled below the shards' marks: what is
    /// settled above may be a repetition.
    async fn account_for(&self, wanted: u64) -> Result<(), JobError> {
        let (mut best, mut since) = (0, Instant::now());
        loop {
            let have = self.consumer.counted().settled();
            if have >= wanted {
                return Ok(());
            }
            let (live, progress) = (self.consumer.live(), self.consumer.progress());
            let idle = live.read == live.settled() && progress.iter().all(|shard| shard.done || shard.lag_ms == 0);
            if have > best || !idle {
                (best, since) = (have, Instant::now());
            } else if since.elapsed() > LOST_AFTER {
                return Err(JobError::Unfit(format!(
                    "{} of {wanted} records that the stream took never came back from it: was its retention shorter than the restore, \
                     or was it made anew? Verify, then restore again",
                    wanted - have
                )));
            }
            sleep(LOOK).await;
        }
    }
}

/// What the shards counted, without what the source's ledger counted already.
fn from_stream(mut counters: Counters) -> Counters {
    counters.read = 0;
    counters.bytes = 0;
    counters
}

impl Way for Through {
    fn take_settled(&self) -> Settled {
        let passed = self.ledger.take_settled();
        let mut settled = Settled {
            counters: passed.counters,
            checkpoints: source_checkpoint(&passed).into_iter().collect(),
            letters: passed.letters.clone(),
        };
        let effort = self.producer.effort();
        settled.counters.retried += effort.retried;
        settled.counters.throttled += effort.throttled;
        if let Some(workers) = &self.workers {
            let shards = workers.consumer.settled();
            settled.checkpoints.extend(consuming::rows(&shards));
            settled.letters.extend(shards.into_iter().flat_map(|shard| shard.letters));
            let counters = settled.counters + from_stream(workers.consumer.counted());
            settled.counters = with_effort(counters, &workers.sink.writer);
        }
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(passed);
        settled
    }

    fn committed(&self) {
        if let Some(passed) = self.taken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.ledger.committed(&passed);
        }
    }

    fn take_notes(&self) -> Vec<String> {
        self.workers.as_ref().map(|workers| workers.consumer.take_notes()).unwrap_or_default()
    }

    fn open_records(&self) -> usize {
        self.ledger.open_records()
    }

    fn live(&self) -> Counters {
        let mut live = self.ledger.live();
        let effort = self.producer.effort();
        live.retried += effort.retried;
        live.throttled += effort.throttled;
        match &self.workers {
            Some(workers) => with_effort(live + from_stream(workers.consumer.live()), &workers.sink.writer),
            None => live,
        }
    }

    fn stages(&self) -> Stages {
        let effort = self.producer.effort();
        let producer = Stage {
            times: self.producer.times(),
            held_back_by: self.producer.held_back_by(),
            sent: self.ledger.live().on_stream + effort.retried,
            refused: effort.throttled,
            ..Stage::default()
        };
        let into_table = self.workers.as_ref().map(|workers| stage_of(&workers.sink.writer));
        Stages {
            held: *self.held.borrow(),
            onto_stream: Some(producer),
            behind: self.workers.as_ref().map(|workers| consuming::behind(&workers.consumer)),
            into_table: into_table.map(|(_, stage)| stage),
            ..self.watch.stages()
        }
    }

    fn shards(&self) -> Vec<ShardSample> {
        self.workers.as_ref().map(|workers| consuming::samples(&workers.consumer)).unwrap_or_default()
    }

    fn hold(&self, held: bool) {
        self.held.send_replace(held);
        if let Some(workers) = &self.workers {
            workers.sink.writer.pacer().hold(held);
        }
    }
}
