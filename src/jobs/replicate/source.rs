//! The stream of a table's changes: what it carries, and beginning it where it is off.

use std::time::Duration;

use aws_sdk_dynamodb::types::{StreamSpecification, StreamViewType, TableDescription};
use aws_sdk_dynamodbstreams::types::StreamStatus;

use serde_json::json;

use super::spec::ReplicateSpec;
use crate::cloud::{Class, Cloud, CloudError, guard};
use crate::flow::Clock;

/// How long a table may take to begin or end its stream.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// What a table's stream is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Its ARN, also of one that was ended and can be read for another 24 hours.
    pub arn: Option<String>,
    /// What it carries, while it is on.
    pub view: Option<String>,
}

/// What has to be done so that a table's changes can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Nothing.
    Nothing,
    /// It has no stream: one is begun.
    Begin {
        /// With this view.
        view: &'static str,
    },
    /// Its stream carries too little, and a stream's view can't be changed: it is ended, and another one begun.
    Switch {
        /// What it carries.
        from: String,
        /// What it has to carry.
        view: &'static str,
    },
}

impl Changes {
    /// The stream of `table`.
    ///
    /// # Errors
    /// The table can't be described.
    pub async fn of(cloud: &Cloud, table: &str) -> Result<Self, CloudError> {
        let described = cloud.dynamodb.describe_table().table_name(table).send().await;
        let described = described.map_err(|e| CloudError::of(&format!("describe table {table}"), &e))?;
        Ok(described.table.as_ref().map(Self::read).unwrap_or_default())
    }

    fn read(table: &TableDescription) -> Self {
        let on = table.stream_specification().filter(|stream| stream.stream_enabled());
        Self {
            arn: table.latest_stream_arn().map(str::to_owned),
            view: on.map(|on| on.stream_view_type().map_or("NEW_IMAGE", StreamViewType::as_str).to_owned()),
        }
    }

    /// What has to be done before `spec` can read it.
    pub fn needed(&self, spec: &ReplicateSpec) -> Needed {
        // Who won a conflict shows from what was there before.
        let wanted = if spec.two_way.is_some() { "NEW_AND_OLD_IMAGES" } else { "NEW_IMAGE" };
        match self.view.as_deref() {
            None => Needed::Begin { view: wanted },
            Some("NEW_AND_OLD_IMAGES") => Needed::Nothing,
            Some("NEW_IMAGE") if spec.two_way.is_none() => Needed::Nothing,
            Some(from) => Needed::Switch { from: from.to_owned(), view: wanted },
        }
    }
}

impl Needed {
    /// What would be done to `table`, in words; `None` when it is nothing.
    pub fn in_words(&self, table: &str) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Begin { view } => Some(format!(
                "{table} has no stream of its changes: one is begun with {view} (reading it is billed by the request, and it \
                 stays on when the replica ends)"
            )),
            Self::Switch { from, view } => Some(format!(
                "the stream of {table} carries {from}, and a replica needs {view}: a stream's view can't be changed, so it is \
                 ended and a new one is begun. Whatever else reads the old one (Lambda functions, other replicas) has to be \
                 pointed at the new one; what changes between the two is in neither, and a bootstrap copies it"
            )),
        }
    }
}

/// Does what is `needed` to `table`, and gives the ARN of its stream.
///
/// # Errors
/// AWS or the guard said no, or it took too long.
pub async fn make_ready(cloud: &Cloud, table: &str, needed: &Needed, clock: &dyn Clock) -> Result<String, CloudError> {
    match needed {
        Needed::Nothing => {}
        Needed::Begin { view } => set(cloud, table, (None, Some(view)), clock).await?,
        Needed::Switch { view, from } => {
            set(cloud, table, (Some(from), None), clock).await?;
            settled(cloud, table, false, clock).await?;
            set(cloud, table, (None, Some(view)), clock).await?;
        }
    }
    settled(cloud, table, true, clock).await
}

/// Begins the stream of `table`, or ends it: from one view to another, where `None` is no stream.
pub(in crate::jobs) async fn set(
    cloud: &Cloud,
    table: &str,
    (from, view): (Option<&str>, Option<&str>),
    clock: &dyn Clock,
) -> Result<(), CloudError> {
    let before = match from {
        Some(from) => json!({ "StreamSpecification": { "StreamEnabled": true, "StreamViewType": from } }),
        None => json!({ "StreamSpecification": { "StreamEnabled": false } }),
    };
    let stream = StreamSpecification::builder()
        .stream_enabled(view.is_some())
        .set_stream_view_type(view.map(StreamViewType::from))
        .build()
        .map_err(|e| CloudError::new(Class::Invalid, e.to_string(), ""))?;
    let action = format!("{} the stream of table {table}", if view.is_some() { "begin" } else { "end" });
    let began = clock.now();
    loop {
        let request = cloud.dynamodb.update_table().table_name(table).stream_specification(stream.clone());
        let set = guard::knowing(before.clone(), request.send()).await;
        match set.map_err(|e| CloudError::of(&action, &e)) {
            // Someone changes the table: one change at a time.
            Err(error) if error.class == Class::InUse && clock.now().saturating_sub(began) < PATIENCE => {
                clock.sleep(LOOK).await;
            }
            // The reply to our own request was lost, or another replica of the table did the same at the same time.
            Err(error) if error.class == Class::Invalid => {
                let described = cloud.dynamodb.describe_table().table_name(table).send().await;
                let now = described.ok().and_then(|reply| reply.table).map(|table| Changes::read(&table).view);
                return if now.is_some_and(|now| now.as_deref() == view) { Ok(()) } else { Err(error) };
            }
            other => return other.map(drop),
        }
    }
}

/// Waits until the table is ACTIVE and its stream is on or off; the stream's ARN, empty where it never had one.
pub(in crate::jobs) async fn settled(
    cloud: &Cloud,
    table: &str,
    on: bool,
    clock: &dyn Clock,
) -> Result<String, CloudError> {
    let began = clock.now();
    loop {
        let described = cloud.dynamodb.describe_table().table_name(table).send().await;
        let described = described.map_err(|e| CloudError::of(&format!("describe table {table}"), &e))?;
        if let Some(described) = &described.table {
            let changes = Changes::read(described);
            let active = described.table_status().is_none_or(|status| status.as_str() == "ACTIVE");
            match changes.arn {
                Some(arn) if active && on && changes.view.is_some() && can_be_read(cloud, &arn).await? => {
                    return Ok(arn);
                }
                arn if active && !on && changes.view.is_none() => return Ok(arn.unwrap_or_default()),
                _ => {}
            }
        }
        if clock.now().saturating_sub(began) > PATIENCE {
            return Err(CloudError::new(
                Class::Transient,
                format!("the stream of table {table} is not {} after five minutes", if on { "on" } else { "off" }),
                "start again when `sluice tables` shows the table ACTIVE",
            ));
        }
        clock.sleep(LOOK).await;
    }
}

async fn can_be_read(cloud: &Cloud, arn: &str) -> Result<bool, CloudError> {
    match cloud.table_streams.describe_stream().stream_arn(arn).limit(1).send().await {
        Ok(reply) => {
            let status = reply.stream_description.and_then(|description| description.stream_status);
            Ok(status.is_none_or(|status| status == StreamStatus::Enabled))
        }
        Err(error) => {
            let error = CloudError::of("describe the stream", &error);
            // It was just begun: not all of AWS knows it yet.
            if error.class.is_retryable() || error.class == Class::NotFound { Ok(false) } else { Err(error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::replicate::TwoWay;

    #[test]
    fn what_a_stream_lacks_is_said_before_anything_is_done() {
        let needed = |view: Option<&str>, two_way: bool| {
            let spec =
                ReplicateSpec { two_way: two_way.then(|| TwoWay::LastWriter("at".into())), ..ReplicateSpec::default() };
            Changes { arn: None, view: view.map(str::to_owned) }.needed(&spec)
        };
        assert_eq!(needed(Some("NEW_IMAGE"), false), Needed::Nothing);
        assert_eq!(needed(Some("NEW_AND_OLD_IMAGES"), true), Needed::Nothing);
        assert_eq!(needed(None, false), Needed::Begin { view: "NEW_IMAGE" });
        for (view, two_way) in [("KEYS_ONLY", false), ("OLD_IMAGE", false), ("NEW_IMAGE", true)] {
            let switch = needed(Some(view), two_way);
            assert!(matches!(&switch, Needed::Switch { from, .. } if from == view), "{switch:?}");
            assert!(switch.in_words("t").unwrap().contains(view));
        }
    }
}
