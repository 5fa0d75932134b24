//! Records pushed: `SubscribeToShard`, for consumers with enhanced fan-out.
//!
//! AWS pushes over HTTP/2; the frames are the same in a chunked HTTP/1.1 reply, which is what a plain-text port speaks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue as Value, Message};
use bytes::Bytes;
use ferrokinesis::types::{ConsumerStatus, Stream, StreamStatus};
use futures::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::Instant;

use super::get::Asked;
use super::log::{Ask, Batch, Log};
use super::topology;
use super::wire::{ReadRecord, Refusal, SubscribeToShardEvent, SubscribeToShardRequest, Wire};
use super::{Kinesis, kept_since_ms, locked, made, now_ms};
use crate::local::faults::Fault;
use crate::local::{Body, BoxError};

/// How long a subscription lasts, and how soon after a successful call the next one for the same consumer and shard is
/// refused. <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>
const LASTS: Duration = Duration::from_mins(5);
const AGAIN_MS: u64 = 5_000;
/// Bytes a second for each consumer and shard: 2 MiB.
const PUSHED_BYTES: f64 = 2.0 * 1024.0 * 1024.0;
/// Most bytes of one event, unless a single record is larger.
const EVENT_BYTES: usize = 1 << 20;
/// Most records of one event.
const EVENT_RECORDS: usize = 10_000;
/// How often an event says that nothing came. AWS does so every few seconds.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often the shard is looked at while nothing comes: it may be closed or gone.
const LOOK: Duration = Duration::from_millis(200);

/// The latest successful call for each consumer (its ARN) and shard.
pub(super) type Subscriptions = HashMap<(String, usize), Latest>;

/// A successful call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latest {
    /// How many there were: an earlier one has lost the shard.
    number: u64,
    at_ms: u64,
}

/// The connection breaks in the middle of an event.
#[derive(Debug, thiserror::Error)]
#[error("cut off on demand")]
struct CutOff;

impl Kinesis {
    pub(super) async fn subscribe_to_shard(&self, wire: Wire, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let request: SubscribeToShardRequest = wire.decode(body)?;
        if self.faults.roll(Fault::Error) {
            return Err(Refusal::new("InternalFailure", "Internal service failure."));
        }
        let arn = request.consumer_arn;
        let (_, rest) = arn.split_once(":stream/").ok_or_else(|| Refusal::invalid("ConsumerARN is not an ARN."))?;
        let (name, consumer) =
            rest.split_once("/consumer/").ok_or_else(|| Refusal::invalid("ConsumerARN is not a consumer's."))?;
        let stream = self.stream(name).await?;
        self.consumer_can_read(&arn).await?;
        if self.faults.roll(Fault::Throttle) {
            return Err(Refusal::new("LimitExceededException", "Rate exceeded for SubscribeToShard."));
        }
        let position = &request.starting_position;
        let asked = Asked {
            operation: "SubscribeToShard",
            kind_member: "startingPosition.type",
            shard_id: &request.shard_id,
            kind: &position.r#type,
            number: position.sequence_number.as_deref(),
            timestamp: position.timestamp,
        };
        let (shard, start) = self.start(&stream, &asked)?;
        let number = self.take_subscription(&arn, shard)?;
        let log = self.log(&stream);
        let (position, grown) = {
            let mut log = locked(&log);
            (log.position(shard, &start), log.grown())
        };
        let now = Instant::now();
        let subscription = Subscription {
            kinesis: self.clone(),
            wire,
            name: name.to_owned(),
            consumer: consumer.split(':').next().unwrap_or_default().to_owned(),
            arn: arn.clone(),
            made: made(&stream),
            shard,
            number,
            position,
            log,
            grown,
            ends: now + LASTS,
            paid_at: now,
            heartbeat_at: now,
            phase: Phase::Begins,
        };
        let frames = stream::unfold(subscription, Subscription::frame);
        let mut reply = Response::new(StreamBody::new(frames).boxed_unsync());
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.amazon.eventstream"));
        Ok(reply)
    }

    async fn consumer_can_read(&self, arn: &str) -> Result<(), Refusal> {
        let account = &self.store.aws_account_id;
        match self.store.get_consumer(arn).await.map(|consumer| consumer.consumer_status) {
            Some(ConsumerStatus::Active) => Ok(()),
            Some(ConsumerStatus::Creating) => Err(Refusal::new(
                "ResourceInUseException",
                format!("Consumer {arn} under account {account} is not ACTIVE."),
            )),
            Some(ConsumerStatus::Deleting) | None => Err(Refusal::new(
                "ResourceNotFoundException",
                format!("Consumer {arn} under account {account} not found."),
            )),
        }
    }

    /// Makes this call the one that has the shard for the consumer, and says which it is.
    fn take_subscription(&self, arn: &str, shard: usize) -> Result<u64, Refusal> {
        let now_ms = now_ms();
        let mut subscriptions = locked(&self.subscriptions);
        let before = subscriptions.get(&(arn.to_owned(), shard));
        if let Some(before) = before.filter(|before| self.limits && now_ms < before.at_ms + AGAIN_MS) {
            return Err(Refusal::new(
                "ResourceInUseException",
                format!(
                    "Another active subscription exists for this consumer: {arn}. It began {} ms ago.",
                    now_ms - before.at_ms
                ),
            ));
        }
        let number = before.map_or(1, |before| before.number + 1);
        subscriptions.insert((arn.to_owned(), shard), Latest { number, at_ms: now_ms });
        Ok(number)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begins,
    Pushes,
    Breaks,
    Over,
}

/// One reply of `SubscribeToShard`.
struct Subscription {
    kinesis: Kinesis,
    wire: Wire,
    name: String,
    consumer: String,
    arn: String,
    /// When the stream was made.
    made: u64,
    shard: usize,
    /// Which call for its consumer and shard this is.
    number: u64,
    /// Where the next event begins.
    position: u64,
    log: Arc<Mutex<Log>>,
    grown: watch::Receiver<()>,
    ends: Instant,
    /// When what was pushed is paid for, by the bytes a second.
    paid_at: Instant,
    heartbeat_at: Instant,
    phase: Phase,
}

impl Subscription {
    /// The next frame of the reply, and what comes after it.
    async fn frame(mut self) -> Option<(Result<Frame<Bytes>, BoxError>, Self)> {
        let frame = match self.phase {
            Phase::Over => return None,
            Phase::Breaks => {
                self.phase = Phase::Over;
                Err(BoxError::from(CutOff))
            }
            Phase::Begins => {
                self.phase = Phase::Pushes;
                Ok(message("event", ":event-type", "initial-response", self.wire, b"{}".to_vec()))
            }
            Phase::Pushes => Ok(match self.next().await {
                Ok(Some(event)) => self.pushed(event),
                Ok(None) => return None,
                Err(refusal) => {
                    self.phase = Phase::Over;
                    let said = serde_json::json!({ "message": refusal.message });
                    message("exception", ":exception-type", &refusal.code, self.wire, self.wire.encode(&said))
                }
            }),
        };
        Some((frame.map(Frame::data), self))
    }

    /// The frame of `event`, or half of it where the connection is to break.
    fn pushed(&mut self, event: Vec<u8>) -> Bytes {
        let frame = message("event", ":event-type", "SubscribeToShardEvent", self.wire, event);
        if self.kinesis.faults.roll(Fault::Reset) {
            self.phase = Phase::Breaks;
            return frame.slice(..frame.len() / 2);
        }
        if self.kinesis.faults.roll(Fault::ExpireIterators) {
            // Its time is up sooner than it should be.
            self.phase = Phase::Over;
        }
        frame
    }

    /// Waits for the next event; `None` when the time is up.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        loop {
            let now = Instant::now();
            if now >= self.ends {
                return Ok(None);
            }
            if self.kinesis.limits && now < self.paid_at {
                tokio::time::sleep_until(self.paid_at).await;
                continue;
            }
            // What comes from here on wakes the wait below.
            self.grown.borrow_and_update();
            let stream = self.stream().await?;
            let batch = self.read(&stream);
            if !batch.records.is_empty() || batch.ended || now >= self.heartbeat_at {
                self.heartbeat_at = now + HEARTBEAT;
                return Ok(Some(self.event(&stream, batch)));
            }
            let look = now + LOOK;
            tokio::select! {
                _ = self.grown.changed() => {}
                () = tokio::time::sleep_until(look.min(self.heartbeat_at)) => {}
            }
        }
    }

    /// The stream, while it is the same one and this subscription is still the one that has the shard.
    async fn stream(&self) -> Result<Stream, Refusal> {
        let latest = locked(&self.kinesis.subscriptions).get(&(self.arn.clone(), self.shard)).map(|s| s.number);
        if latest != Some(self.number) {
            return Err(Refusal::new(
                "ResourceInUseException",
                format!("Another subscription of consumer {} took over this shard.", self.arn),
            ));
        }
        self.kinesis.consumer_can_read(&self.arn).await?;
        let stream = self.kinesis.store.get_stream(&self.name).await?;
        if made(&stream) != self.made || stream.stream_status == StreamStatus::Deleting {
            return Err(self.kinesis.no_such_stream(&self.name));
        }
        Ok(stream)
    }

    fn read(&mut self, stream: &Stream) -> Batch {
        let now_ms = now_ms();
        let ask = Ask {
            now_ms,
            limit: EVENT_RECORDS,
            bytes: EVENT_BYTES,
            closed: topology::is_closed(&stream.shards[self.shard]),
            // A consumer of its own does not share what those have who poll.
            limits: false,
        };
        let mut log = locked(&self.log);
        log.trim(kept_since_ms(stream, now_ms));
        log.read(self.shard, self.position, &ask)
            .expect("only the limits of those who poll refuse a read, and they are off here")
    }

    fn event(&mut self, stream: &Stream, batch: Batch) -> Vec<u8> {
        let bytes: usize = batch.records.iter().map(|record| record.size()).sum();
        self.paid_at = Instant::now() + Duration::from_secs_f64(bytes as f64 / PUSHED_BYTES);
        self.measure("SubscribeToShardEvent.Records", batch.records.len() as f64);
        self.measure("SubscribeToShardEvent.Bytes", bytes as f64);
        self.measure("SubscribeToShardEvent.MillisBehindLatest", batch.millis_behind as f64);
        let created_ms = topology::created_ms(&stream.shards[self.shard]);
        let arrival_ms = batch.records.last().map_or_else(now_ms, |record| record.arrival_ms);
        self.position = batch.next;
        // The number of the last record before it, pushed or not; at the shard's very beginning that of the shard.
        let number = match batch.next.checked_sub(1) {
            Some(last) => topology::sequence_number(self.shard, created_ms, last, arrival_ms),
            None => stream.shards[self.shard].sequence_number_range.starting_sequence_number.clone(),
        };
        if batch.ended {
            self.phase = Phase::Over;
        }
        let read = |stored| ReadRecord { stored, shard: self.shard, shard_created_ms: created_ms };
        self.wire.encode(&SubscribeToShardEvent {
            records: batch.records.into_iter().map(read).collect(),
            continuation_sequence_number: (!batch.ended).then_some(number),
            millis_behind_latest: batch.millis_behind,
            child_shards: batch.ended.then(|| topology::children(&stream.shards, self.shard)),
        })
    }

    fn measure(&self, metric: &'static str, value: f64) {
        let dimensions = [("StreamName", self.name.as_str()), ("ConsumerName", self.consumer.as_str())];
        self.kinesis.metrics.record("AWS/Kinesis", metric, &dimensions, now_ms() as i64, value);
    }
}

/// One frame of an event stream.
fn message(kind: &'static str, type_member: &'static str, r#type: &str, wire: Wire, payload: Vec<u8>) -> Bytes {
    let text = |value: &str| Value::String(value.to_owned().into());
    let message = Message::new(Bytes::from(payload))
        .add_header(Header::new(":message-type", text(kind)))
        .add_header(Header::new(type_member, text(r#type)))
        .add_header(Header::new(":content-type", text(wire.content_type())));
    let mut frame = Vec::new();
    write_message_to(&message, &mut frame).expect("headers and payload are far below a frame's limits");
    frame.into()
}
