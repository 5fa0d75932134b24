//! What AWS pushes, or what speaks like it.

use std::fmt;

use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use aws_smithy_types::DateTime;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::subscription::{Event, Events, Push};
use crate::cloud::{Class, CloudError};
use crate::flow::aws_stream::record;
use crate::flow::stream::{SequenceNumber, StartAt};

/// AWS, or what speaks like it.
#[derive(Debug)]
pub(super) struct AwsPush {
    pub bulk: aws_sdk_kinesis::Client,
    pub stream: String,
    pub consumer: String,
    pub arn: String,
}

impl Push for AwsPush {
    fn consumer(&self) -> &str {
        &self.consumer
    }

    fn open<'a>(&'a self, shard: &'a str, start: &'a StartAt) -> BoxFuture<'a, Result<Box<dyn Events>, CloudError>> {
        async move {
            let what = format!("subscribe to shard {shard} of stream {} as consumer {}", self.stream, self.consumer);
            let position = StartingPosition::builder();
            let position = match start {
                StartAt::TrimHorizon => position.r#type(ShardIteratorType::TrimHorizon),
                StartAt::Latest => position.r#type(ShardIteratorType::Latest),
                StartAt::Time(ms) => {
                    position.r#type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*ms))
                }
                StartAt::At(sequence) => {
                    position.r#type(ShardIteratorType::AtSequenceNumber).sequence_number(&sequence.0)
                }
                StartAt::After(sequence) => {
                    position.r#type(ShardIteratorType::AfterSequenceNumber).sequence_number(&sequence.0)
                }
            };
            let position = position.build().map_err(|e| CloudError::new(Class::Invalid, e.to_string(), ""))?;
            let request = self.bulk.subscribe_to_shard().consumer_arn(&self.arn).shard_id(shard);
            let reply = request.starting_position(position).send().await;
            let reply = reply.map_err(|e| CloudError::of(&what, &e))?;
            Ok(Box::new(AwsEvents { reply, what }) as Box<dyn Events>)
        }
        .boxed()
    }
}

struct AwsEvents {
    reply: aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput,
    what: String,
}

impl fmt::Debug for AwsEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AwsEvents").field(&self.what).finish()
    }
}

impl Events for AwsEvents {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Event>, CloudError>> {
        async move {
            loop {
                let event = self.reply.event_stream.recv().await;
                let event = event.map_err(|error| match error.as_service_error() {
                    Some(service) => said_in_stream(&self.what, service),
                    None => CloudError { class: Class::Transient, ..CloudError::of(&self.what, &error) },
                })?;
                match event {
                    Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => {
                        let ended = event.continuation_sequence_number.is_empty() || !event.child_shards().is_empty();
                        return Ok(Some(Event {
                            records: event.records.into_iter().map(record).collect(),
                            continuation: (!ended).then_some(SequenceNumber(event.continuation_sequence_number)),
                            behind_ms: u64::try_from(event.millis_behind_latest).unwrap_or_default(),
                        }));
                    }
                    // Some kind of event that is newer than we are.
                    Some(_) => {}
                    None => return Ok(None),
                }
            }
        }
        .boxed()
    }
}

/// An error that comes as an event: its kind is in the event's type, not in a code.
fn said_in_stream(what: &str, error: &SubscribeToShardEventStreamError) -> CloudError {
    use SubscribeToShardEventStreamError as E;
    let (class, code) = match error {
        E::ResourceNotFoundException(_) => (Class::NotFound, "not found"),
        E::ResourceInUseException(_) => (Class::InUse, "another subscription took its place"),
        E::KmsDisabledException(_)
        | E::KmsInvalidStateException(_)
        | E::KmsAccessDeniedException(_)
        | E::KmsNotFoundException(_)
        | E::KmsOptInRequired(_) => (Class::Auth, "its encryption key can't be used"),
        E::KmsThrottlingException(_) => (Class::Throttled, "its encryption key is used too often"),
        _ => (Class::Transient, "the service had a fault"),
    };
    CloudError::new(class, format!("could not {what}: {code}"), error.message().unwrap_or_default())
}
