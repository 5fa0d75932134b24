//! The consumers that are registered on a stream.

use crate::cloud::{Class, CloudError};

/// A consumer that is registered on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FanOutConsumer {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// `CREATING`, `ACTIVE` or `DELETING`.
    pub status: String,
    /// When it was registered, s since the epoch.
    pub created_s: i64,
}

/// The consumers registered on `stream`. Each costs by the hour and shard until it is deregistered.
pub async fn consumers(control: &aws_sdk_kinesis::Client, stream: &str) -> Result<Vec<FanOutConsumer>, CloudError> {
    let arn = stream_arn(control, stream).await?;
    let mut found = Vec::new();
    let mut pages = control.list_stream_consumers().stream_arn(arn).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|e| CloudError::of(&format!("list the consumers of stream {stream}"), &e))?;
        found.extend(page.consumers.unwrap_or_default().into_iter().map(|consumer| FanOutConsumer {
            name: consumer.consumer_name,
            arn: consumer.consumer_arn,
            status: consumer.consumer_status.as_str().to_owned(),
            created_s: consumer.consumer_creation_timestamp.secs(),
        }));
    }
    Ok(found)
}

/// The consumer `name` of `stream`, if it is registered.
pub async fn find_consumer(
    control: &aws_sdk_kinesis::Client,
    stream: &str,
    name: &str,
) -> Result<Option<FanOutConsumer>, CloudError> {
    find(control, &stream_arn(control, stream).await?, stream, name).await
}

pub(super) async fn find(
    control: &aws_sdk_kinesis::Client,
    arn: &str,
    stream: &str,
    name: &str,
) -> Result<Option<FanOutConsumer>, CloudError> {
    let found = control.describe_stream_consumer().stream_arn(arn).consumer_name(name).send().await;
    let found = match found {
        Ok(found) => found.consumer_description,
        Err(error) => {
            let error = CloudError::of(&format!("find consumer {name} of stream {stream}"), &error);
            return if error.class == Class::NotFound { Ok(None) } else { Err(error) };
        }
    };
    Ok(found.map(|consumer| FanOutConsumer {
        name: consumer.consumer_name,
        arn: consumer.consumer_arn,
        status: consumer.consumer_status.as_str().to_owned(),
        created_s: consumer.consumer_creation_timestamp.secs(),
    }))
}

/// Removes the consumer `name` from `stream`; what reads by it ends.
pub async fn deregister(control: &aws_sdk_kinesis::Client, stream: &str, name: &str) -> Result<(), CloudError> {
    let arn = stream_arn(control, stream).await?;
    let request = control.deregister_stream_consumer().stream_arn(arn).consumer_name(name);
    let action = || format!("deregister consumer {name} of stream {stream}");
    request.send().await.map(drop).map_err(|e| CloudError::of(&action(), &e))
}

pub(super) async fn stream_arn(control: &aws_sdk_kinesis::Client, stream: &str) -> Result<String, CloudError> {
    let summary = control.describe_stream_summary().stream_name(stream).send().await;
    let summary = summary.map_err(|e| CloudError::of(&format!("describe stream {stream}"), &e))?;
    let summary = summary.stream_description_summary;
    Ok(summary.map(|summary| summary.stream_arn).unwrap_or_default())
}
