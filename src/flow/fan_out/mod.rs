//! Reads a stream by enhanced fan-out: each shard pushes its records to a consumer that is registered by name.
//!
//! ```text
//!   FanOutStream::open ─ registers the consumer ─ ACTIVE ┐
//!   Subscription (one a shard) ── SubscribeToShard ──────┴─▶ event, event, … 5 min ─▶ subscribes again where it was
//! ```

mod aws;
mod registered;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::types::ConsumerStatus;
use futures::future::BoxFuture;

use super::aws_stream::AwsStream;
use super::clock::Clock;
use super::stream::{Page, ReadError, Shard, ShardPages, StartAt, StreamSource};
use crate::cloud::{Class, CloudError};
use aws::AwsPush;
pub use registered::{FanOutConsumer, consumers, deregister, find_consumer};
use registered::{find, stream_arn};
use subscription::{Push, Subscription};

/// How often a new consumer is looked at until it can read, and for how long: AWS takes seconds.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: u32 = 240;

/// A Kinesis stream that is read by enhanced fan-out.
#[derive(Clone, Debug)]
pub struct FanOutStream {
    polled: AwsStream,
    push: Arc<AwsPush>,
    registered: bool,
}

impl FanOutStream {
    /// Opens `stream` for the consumer `name`, registers it where it is not yet, and waits until it can read. `control`
    /// registers, `bulk` carries records.
    ///
    /// # Errors
    /// Also what the guard refuses: registering is a change, and costs.
    pub async fn open(
        control: aws_sdk_kinesis::Client,
        bulk: aws_sdk_kinesis::Client,
        stream: &str,
        name: &str,
    ) -> Result<Self, CloudError> {
        let arn = stream_arn(&control, stream).await?;
        let mut registered = false;
        for _ in 0..LOOKS {
            match find(&control, &arn, stream, name).await? {
                Some(consumer) if consumer.status == ConsumerStatus::Active.as_str() => {
                    let push = AwsPush {
                        bulk: bulk.clone(),
                        stream: stream.to_owned(),
                        consumer: name.to_owned(),
                        arn: consumer.arn,
                    };
                    let polled = AwsStream::new(control, bulk, stream);
                    return Ok(Self { polled, push: Arc::new(push), registered });
                }
                Some(_) => {}
                None if registered => {}
                None => {
                    let request = control.register_stream_consumer().stream_arn(&arn).consumer_name(name);
                    match request.send().await {
                        Ok(_) => registered = true,
                        Err(error) => {
                            let error = CloudError::of(&format!("register consumer {name} on stream {stream}"), &error);
                            // Another process was first.
                            if error.class != Class::InUse {
                                return Err(error);
                            }
                        }
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(CloudError::new(
            Class::InUse,
            format!("consumer {name} of stream {stream} did not become active within two minutes"),
            "try again, or read without --fan-out",
        ))
    }

    /// The consumer's name.
    pub fn consumer(&self) -> &str {
        &self.push.consumer
    }

    /// Whether [`FanOutStream::open`] registered the consumer, which costs from now on.
    pub fn was_registered(&self) -> bool {
        self.registered
    }
}

impl StreamSource for FanOutStream {
    fn shards(&self) -> BoxFuture<'_, Result<Vec<Shard>, CloudError>> {
        StreamSource::shards(&self.polled)
    }

    fn iterator<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<String, CloudError>> {
        self.polled.iterator(shard, start)
    }

    fn page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<Page, ReadError>> {
        self.polled.page(iterator)
    }

    fn subscribe(
        &self,
        shard: &str,
        start: &StartAt,
        clock: &Arc<dyn Clock>,
        seed: u64,
    ) -> Option<Box<dyn ShardPages>> {
        let push = Arc::clone(&self.push) as Arc<dyn Push>;
        Some(Box::new(Subscription::new(push, Arc::clone(clock), shard, start.clone(), seed)))
    }
}
