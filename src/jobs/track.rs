//! The tracker: events that come over HTTP onto a stream, each answered once the stream has it.
//!
//! ```text
//!   connections ─▶ request ─▶ queue ─▶ batches (500 records, or what came within a few ms) ─▶ PutRecords
//!        │            └ 400 404 405 408 413        │ full: 503                    └ refused: again, then 503
//!        └ too many: 503                           └ drained at the end
//! ```

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::onto::{BYTES, Kept, Onto, RECORDS};
use crate::cloud::{Class, CloudError};
use crate::event::track::{self, LARGEST, PIXEL, Record, Refused, Reply, Wanted};

/// How a tracker works.
#[derive(Clone, Debug)]
pub struct TrackOptions {
    /// How long a record waits for others to go with it.
    pub linger: Duration,
    /// Records that wait at most; above, requests are answered 503.
    pub queue: usize,
    /// Connections at a time; above, they are answered 503 and closed.
    pub connections: usize,
    /// `PutRecords` at a time.
    pub in_flight: usize,
    /// How long a client may take to send the head of a request, and how long to send its body.
    pub client: Duration,
    /// How long the stream is tried before a request is answered 503.
    pub stream: Duration,
}

impl Default for TrackOptions {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(4),
            queue: 10_000,
            connections: 2_048,
            in_flight: 16,
            client: Duration::from_secs(10),
            stream: Duration::from_secs(5),
        }
    }
}

/// What a tracker did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tracked {
    /// Requests answered.
    pub requests: u64,
    /// Events that the stream has.
    pub stored: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests refused for a fault of the client's.
    pub refused: u64,
    /// Requests answered 503: the event may not be on the stream.
    pub unavailable: u64,
    /// Records that were put again.
    pub retried: u64,
    /// Connections open now.
    pub connections: u64,
    /// Records that wait now.
    pub waiting: u64,
    /// From request to answer, of events that the stream has: half are below, ms.
    pub p50_ms: f64,
    /// 99 of 100 are below, ms.
    pub p99_ms: f64,
}

/// The longest latency that is told apart, µs: a minute.
const LONGEST: u64 = 60_000_000;
/// What a client is asked to wait before it tries again, s.
const RETRY_AFTER: &str = "1";
/// Failing for so long, the tracker calls itself ill.
const ILL_AFTER: Duration = Duration::from_secs(10);
/// How long a client that is turned away may take to say what it wants.
const TURNED_AWAY: Duration = Duration::from_millis(200);
/// How long a connection without a request in hand stays open once the tracker ends.
const IDLE_FAREWELL: Duration = Duration::from_millis(250);
/// How long open connections are waited for at the end.
const FAREWELL: Duration = Duration::from_secs(15);

/// A record that waits for the stream.
struct Waiting {
    record: Record,
    since: Instant,
    answer: oneshot::Sender<Result<Kept, CloudError>>,
}

/// A tracker.
pub struct Tracker {
    options: TrackOptions,
    queue: mpsc::Sender<Waiting>,
    counts: Arc<Counts>,
}

struct Counts {
    requests: AtomicU64,
    stored: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
    retried: AtomicU64,
    connections: AtomicUsize,
    latency: Mutex<Histogram<u64>>,
    /// Since when nothing but failures came from the stream, with the last of them.
    failing: Mutex<Option<(Instant, String)>>,
}

impl Counts {
    fn latency(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracker").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Takes requests on `listener` until `stop` says so; then answers those that are in hand, and ends. What it did is told
/// to `told` each second.
///
/// # Panics
/// Never: the histogram's bounds are constants that hold.
pub async fn serve(
    listener: TcpListener,
    onto: Onto,
    options: TrackOptions,
    mut stop: watch::Receiver<bool>,
    told: watch::Sender<Tracked>,
) -> Tracked {
    let (queue, waiting) = mpsc::channel(options.queue);
    // One histogram for the life of a tracker; its bounds are constants that it takes.
    let latency = Histogram::new_with_bounds(1, LONGEST, 3).expect("1 to a minute with three digits is a histogram");
    let counts = Arc::new(Counts {
        requests: AtomicU64::new(0),
        stored: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        unavailable: AtomicU64::new(0),
        retried: AtomicU64::new(0),
        connections: AtomicUsize::new(0),
        latency: Mutex::new(latency),
        failing: Mutex::default(),
    });
    let batches = tokio::spawn(batches(waiting, onto, options.clone(), Arc::clone(&counts)));
    let tracker = Arc::new(Tracker { options, queue, counts: Arc::clone(&counts) });
    let mut connections = JoinSet::new();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let stopping = stop.clone();
    loop {
        tokio::select! {
            () = asked_to(&mut stop) => break,
            _ = second.tick() => drop(told.send_replace(tracker.tracked())),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if counts.connections.load(Ordering::Relaxed) >= tracker.options.connections {
                        counts.unavailable.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(turn_away(stream));
                    } else {
                        counts.connections.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(connection(Arc::clone(&tracker), stream, stopping.clone()));
                    }
                }
                // Out of file descriptors, as a rule: some come free when a connection ends.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    let goodbye = async { while connections.join_next().await.is_some() {} };
    if timeout(FAREWELL, goodbye).await.is_err() {
        tracing::warn!("{} connections did not end in time", counts.connections.load(Ordering::Relaxed));
        connections.shutdown().await;
    }
    let last = tracker.tracked();
    // The queue closes with the tracker; what is left in it is sent.
    drop(tracker);
    let _ = batches.await;
    told.send_replace(last);
    last
}

/// Ends when `stop` says so, or whoever could say it is gone.
async fn asked_to(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Tells a client that there is no room.
async fn turn_away(stream: TcpStream) {
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_AFTER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    // What it sent is read first: a socket that is closed with bytes unread takes the answer back.
    let _ = timeout(TURNED_AWAY, stream.readable()).await;
    let _ = stream.try_read(&mut [0; 16_384]);
    let _ = stream.try_write(head.as_bytes());
}

async fn connection(tracker: Arc<Tracker>, stream: TcpStream, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let in_hand = AtomicUsize::new(0);
    let service = service_fn(|request| {
        let (tracker, in_hand) = (Arc::clone(&tracker), &in_hand);
        async move {
            in_hand.fetch_add(1, Ordering::Relaxed);
            let answer = tracker.answer(request).await;
            in_hand.fetch_sub(1, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut served = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(tracker.options.client)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = asked_to(&mut stop) => {
            served.as_mut().graceful_shutdown();
            loop {
                tokio::select! {
                    ended = served.as_mut() => break ended,
                    () = tokio::time::sleep(IDLE_FAREWELL) => {
                        if in_hand.load(Ordering::Relaxed) == 0 {
                            break Ok(());
                        }
                    }
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
    tracker.counts.connections.fetch_sub(1, Ordering::Relaxed);
}

type Answer = Response<Full<Bytes>>;

fn answer(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    answer
}

fn problem(status: u16, words: &str) -> Answer {
    let body = serde_json::json!({ "error": words }).to_string();
    let mut answer = answer(status, "application/json", body);
    if status == 503 {
        answer.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static(RETRY_AFTER));
    }
    if matches!(status, 408 | 413) {
        // The rest of the body is not read.
        answer.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    answer
}

impl Tracker {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let since = Instant::now();
        let answer = match self.wanted(request).await {
            Ok(Wanted::Health) => self.health(),
            Ok(Wanted::Put(record, reply)) => self.put(record, reply, since).await,
            Err(Refused { status, words }) => problem(status, &words),
        };
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        match answer.status().as_u16() {
            503 => self.counts.unavailable.fetch_add(1, Ordering::Relaxed),
            400..=499 => self.counts.refused.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        answer
    }

    async fn wanted(&self, request: Request<Incoming>) -> Result<Wanted, Refused> {
        let (head, body) = request.into_parts();
        let refused = |status, words: String| Refused { status, words };
        let body = if track::takes_body(head.uri.path()) && head.method == http::Method::POST {
            match timeout(self.options.client, Limited::new(body, LARGEST).collect()).await {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(error)) if error.is::<LengthLimitError>() => {
                    return Err(refused(413, format!("an event may have {LARGEST} bytes")));
                }
                Ok(Err(error)) => return Err(refused(400, format!("the body broke off: {error}"))),
                Err(_) => return Err(refused(408, "the body came too slowly".to_owned())),
            }
        } else {
            Bytes::new()
        };
        track::wanted(head.method.as_str(), head.uri.path(), head.uri.query(), body)
    }

    async fn put(&self, record: Record, reply: Reply, since: Instant) -> Answer {
        let (answer_here, answered) = oneshot::channel();
        let size = record.data.len() as u64;
        if self.queue.try_send(Waiting { record, since, answer: answer_here }).is_err() {
            return problem(503, "too many events wait for the stream");
        }
        let Kept { shard, sequence } = match answered.await {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => return problem(503, &error.what),
            Err(_) => return problem(503, "the tracker is ending"),
        };
        self.counts.stored.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(size, Ordering::Relaxed);
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(LONGEST).max(1);
        self.counts.latency().saturating_record(micros);
        let mut kept = match reply {
            Reply::Pixel => answer(200, "image/gif", Bytes::from_static(PIXEL)),
            Reply::Json => answer(200, "application/json", track::kept(&shard, &sequence)),
        };
        for (name, value) in [("x-sequencenumber", sequence), ("x-shardid", shard)] {
            // What Kinesis names is plain text.
            if let Ok(value) = http::HeaderValue::try_from(value) {
                kept.headers_mut().insert(name, value);
            }
        }
        kept
    }

    fn health(&self) -> Answer {
        match &*self.counts.failing() {
            Some((since, why)) if since.elapsed() > ILL_AFTER => problem(503, why),
            _ => answer(200, "text/plain", "ok\n"),
        }
    }

    fn tracked(&self) -> Tracked {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let latency = self.counts.latency();
        let quantile = |at| latency.value_at_quantile(at) as f64 / 1000.0;
        Tracked {
            requests: of(&self.counts.requests),
            stored: of(&self.counts.stored),
            bytes: of(&self.counts.bytes),
            refused: of(&self.counts.refused),
            unavailable: of(&self.counts.unavailable),
            retried: of(&self.counts.retried),
            connections: self.counts.connections.load(Ordering::Relaxed) as u64,
            waiting: (self.queue.max_capacity() - self.queue.capacity()) as u64,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        }
    }
}

/// Sends what waits, in batches, until the queue is closed and empty.
async fn batches(mut queue: mpsc::Receiver<Waiting>, onto: Onto, options: TrackOptions, counts: Arc<Counts>) {
    let room = Arc::new(Semaphore::new(options.in_flight));
    let mut sending = JoinSet::new();
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => break,
            },
        };
        // A batch is closed when it may be sent: what comes while all are in flight goes with it. It is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let until = Instant::now() + options.linger;
        let mut size = Onto::size(&first.record);
        let mut batch = vec![first];
        while batch.len() < RECORDS {
            match timeout_at(until, queue.recv()).await {
                Ok(Some(next)) => {
                    size += Onto::size(&next.record);
                    if size > BYTES {
                        left = Some(next);
                        break;
                    }
                    batch.push(next);
                }
                // The queue is closed, or nothing more comes in time.
                Ok(None) | Err(_) => break,
            }
        }
        let (onto, counts, patience) = (onto.clone(), Arc::clone(&counts), options.stream);
        sending.spawn(async move {
            send(&onto, batch, patience, &counts).await;
            drop(permit);
        });
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
}

async fn send(onto: &Onto, batch: Vec<Waiting>, patience: Duration, counts: &Counts) {
    // The client that waits longest must be answered in time.
    let deadline = batch.first().map_or_else(Instant::now, |first| first.since) + patience;
    let (records, waiting): (Vec<Record>, Vec<_>) =
        batch.into_iter().map(|waiting| (waiting.record, waiting.answer)).unzip();
    let retried = |records: u64, _| {
        counts.retried.fetch_add(records, Ordering::Relaxed);
    };
    let answers = onto.put(&records, Some(deadline), &retried).await;
    let failure = answers.iter().find_map(|answer| answer.as_ref().err());
    match failure {
        Some(error) if answers.iter().all(Result::is_err) => {
            if error.class != Class::Throttled {
                tracing::warn!(%error, "events could not be put onto the stream");
            }
            let mut failing = counts.failing();
            let since = failing.as_ref().map_or_else(Instant::now, |(since, _)| *since);
            *failing = Some((since, error.to_string()));
        }
        _ => *counts.failing() = None,
    }
    for (waiting, answer) in waiting.into_iter().zip(answers) {
        // A client that went away misses its answer.
        let _ = waiting.send(answer);
    }
}
