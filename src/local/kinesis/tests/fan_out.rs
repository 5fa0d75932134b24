//! Enhanced fan-out as the SDK sees it.

use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::types::{
    ConsumerStatus, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream as Pushed,
};

use super::*;

/// The ARN of a consumer `name` of stream `s`, once it is active.
async fn register(cloud: &Cloud, name: &str) -> String {
    let summary = cloud.kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    let stream = summary.stream_description_summary.unwrap().stream_arn;
    let made = cloud.kinesis.register_stream_consumer().stream_arn(&stream).consumer_name(name).send().await.unwrap();
    let arn = made.consumer.unwrap().consumer_arn;
    loop {
        let found = cloud.kinesis.describe_stream_consumer().consumer_arn(&arn).send().await.unwrap();
        let found = found.consumer_description.unwrap();
        assert_eq!((found.consumer_name.as_str(), &found.stream_arn), (name, &stream));
        if found.consumer_status == ConsumerStatus::Active {
            return arn;
        }
        tokio::task::yield_now().await;
    }
}

type Subscribed = Result<SubscribeToShardOutput, SdkError<SubscribeToShardError>>;

async fn subscribe(cloud: &Cloud, arn: &str, shard: &str, kind: ShardIteratorType, number: Option<&str>) -> Subscribed {
    let position = StartingPosition::builder().r#type(kind).set_sequence_number(number.map(str::to_owned)).build();
    let ask = cloud.bulk.kinesis.subscribe_to_shard().consumer_arn(arn).shard_id(shard);
    ask.starting_position(position.unwrap()).send().await
}

async fn from_horizon(cloud: &Cloud, arn: &str, shard: &str) -> SubscribeToShardOutput {
    subscribe(cloud, arn, shard, ShardIteratorType::TrimHorizon, None).await.unwrap()
}

async fn event(subscription: &mut SubscribeToShardOutput) -> Option<SubscribeToShardEvent> {
    let event = subscription.event_stream.recv().await.unwrap()?;
    let Pushed::SubscribeToShardEvent(event) = event else { panic!("{event:?}") };
    Some(event)
}

fn pushed(event: &SubscribeToShardEvent) -> Vec<usize> {
    event.records.iter().map(|r| std::str::from_utf8(r.data.as_ref()).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn a_subscription_gives_the_backlog_and_then_what_comes() {
    let (_local, cloud) = aws(true, "").await;
    stream(&cloud, "s", 1).await;
    put(&cloud, "s", &[0, 1, 2]).await;
    let arn = register(&cloud, "c").await;
    let mut subscription = from_horizon(&cloud, &arn, "shardId-000000000000").await;
    let backlog = event(&mut subscription).await.unwrap();
    assert_eq!((pushed(&backlog), backlog.millis_behind_latest), (vec![0, 1, 2], 0));
    assert_eq!(backlog.continuation_sequence_number, backlog.records[2].sequence_number);
    put(&cloud, "s", &[3]).await;
    let mut next = event(&mut subscription).await.unwrap();
    while next.records.is_empty() {
        assert_eq!(next.continuation_sequence_number, backlog.continuation_sequence_number);
        next = event(&mut subscription).await.unwrap();
    }
    assert_eq!(pushed(&next), [3]);
}

#[tokio::test]
async fn an_idle_shard_says_so_and_reading_goes_on_after_its_number() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let arn = register(&cloud, "c").await;
    let mut subscription = from_horizon(&cloud, &arn, "0").await;
    let idle = event(&mut subscription).await.unwrap();
    assert_eq!((idle.records.len(), idle.millis_behind_latest), (0, 0));
    let again = event(&mut subscription).await.unwrap();
    assert_eq!(again.continuation_sequence_number, idle.continuation_sequence_number);
    put(&cloud, "s", &[0, 1]).await;
    for kind in [ShardIteratorType::AfterSequenceNumber, ShardIteratorType::AtSequenceNumber] {
        let number = Some(idle.continuation_sequence_number.as_str());
        let mut subscription = subscribe(&cloud, &arn, "0", kind, number).await.unwrap();
        assert_eq!(pushed(&event(&mut subscription).await.unwrap()), [0, 1]);
    }
}

#[tokio::test]
async fn one_subscription_is_active_for_each_consumer_and_shard() {
    let (_local, cloud) = aws(true, "").await;
    stream(&cloud, "s", 2).await;
    let (one, other) = (register(&cloud, "one").await, register(&cloud, "other").await);
    let _first = from_horizon(&cloud, &one, "0").await;
    let soon = subscribe(&cloud, &one, "0", ShardIteratorType::TrimHorizon, None).await.unwrap_err();
    assert!(soon.into_service_error().is_resource_in_use_exception());
    // Neither another shard nor another consumer minds.
    let _shard = from_horizon(&cloud, &one, "1").await;
    let _consumer = from_horizon(&cloud, &other, "0").await;
}

#[tokio::test]
async fn a_later_subscription_takes_over() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let arn = register(&cloud, "c").await;
    let mut first = from_horizon(&cloud, &arn, "0").await;
    event(&mut first).await.unwrap();
    let mut second = from_horizon(&cloud, &arn, "0").await;
    let lost = loop {
        match first.event_stream.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(error) => break error,
        }
    };
    assert!(lost.into_service_error().is_resource_in_use_exception());
    event(&mut second).await.unwrap();
}

#[tokio::test]
async fn at_the_end_of_a_closed_shard_its_children_are_named_and_the_subscription_ends() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let arn = register(&cloud, "c").await;
    put(&cloud, "s", &[0, 1]).await;
    let mut subscription = from_horizon(&cloud, &arn, "0").await;
    assert_eq!(pushed(&event(&mut subscription).await.unwrap()), [0, 1]);
    let middle = (u128::MAX / 2 + 1).to_string();
    let split = cloud.kinesis.split_shard().stream_name("s").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key(middle).send().await.unwrap();
    active(&cloud, "s").await;
    let mut last = event(&mut subscription).await.unwrap();
    while last.child_shards().is_empty() {
        last = event(&mut subscription).await.unwrap();
    }
    assert_eq!((last.child_shards().len(), last.continuation_sequence_number.as_str()), (2, ""));
    assert_eq!(last.child_shards()[0].parent_shards, ["shardId-000000000000"]);
    assert_eq!(event(&mut subscription).await, None);
    // Whoever comes later is given all of it, and the same end.
    let mut late = from_horizon(&cloud, &arn, "0").await;
    let whole = event(&mut late).await.unwrap();
    assert_eq!((pushed(&whole), whole.child_shards().len()), (vec![0, 1], 2));
}

#[tokio::test]
async fn a_consumer_that_is_not_there_reads_nothing_and_one_that_goes_reads_no_more() {
    let (_local, cloud) = aws(true, "").await;
    stream(&cloud, "s", 1).await;
    let arn = register(&cloud, "c").await;
    let absent = arn.replace("/consumer/c:", "/consumer/d:");
    let refused = subscribe(&cloud, &absent, "0", ShardIteratorType::TrimHorizon, None).await.unwrap_err();
    assert!(refused.into_service_error().is_resource_not_found_exception());
    let mut subscription = from_horizon(&cloud, &arn, "0").await;
    let kept = cloud.kinesis.delete_stream().stream_name("s").send().await.unwrap_err();
    assert!(kept.into_service_error().is_resource_in_use_exception(), "it has a consumer");
    cloud.kinesis.deregister_stream_consumer().consumer_arn(&arn).send().await.unwrap();
    let lost = loop {
        match subscription.event_stream.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(error) => break error,
        }
    };
    assert!(lost.into_service_error().is_resource_not_found_exception());
}

#[tokio::test]
async fn a_connection_breaks_within_an_event_on_demand() {
    let (_local, cloud) = aws(true, "reset=100%").await;
    stream(&cloud, "s", 1).await;
    let arn = register(&cloud, "c").await;
    // Whether the beginning of the reply was on its way by then is chance.
    if let Ok(mut subscription) = subscribe(&cloud, &arn, "0", ShardIteratorType::TrimHorizon, None).await {
        assert!(subscription.event_stream.recv().await.is_err());
    }
}

#[tokio::test]
async fn a_number_of_an_earlier_stream_of_the_same_name_is_refused() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let old = put(&cloud, "s", &[0]).await.records[0].sequence_number.clone().unwrap();
    let made = SystemTime::now();
    cloud.kinesis.delete_stream().stream_name("s").send().await.unwrap();
    while cloud.kinesis.describe_stream_summary().stream_name("s").send().await.is_ok() {
        tokio::task::yield_now().await;
    }
    // Streams are told apart by the second in which they were made.
    let second = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    while second(SystemTime::now()) <= second(made) {
        tokio::task::yield_now().await;
    }
    stream(&cloud, "s", 1).await;
    let ask = cloud.kinesis.get_shard_iterator().stream_name("s").shard_id("0").starting_sequence_number(old);
    let refused = ask.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).send().await.unwrap_err();
    assert!(refused.into_service_error().is_invalid_argument_exception());
}

#[tokio::test]
async fn retention_has_a_longest_and_a_shortest() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let longer =
        |hours| cloud.kinesis.increase_stream_retention_period().stream_name("s").retention_period_hours(hours).send();
    assert!(longer(8_761).await.is_err());
    longer(8_760).await.unwrap();
    let shorter =
        |hours| cloud.kinesis.decrease_stream_retention_period().stream_name("s").retention_period_hours(hours).send();
    assert!(shorter(23).await.is_err());
    shorter(24).await.unwrap();
}

#[tokio::test]
async fn records_of_ten_mebibytes_are_taken_where_the_stream_is_told_to() {
    let (_local, cloud) = aws(false, "").await;
    stream(&cloud, "s", 1).await;
    let summary = cloud.kinesis.describe_stream_summary().stream_name("s").send().await.unwrap();
    let arn = summary.stream_description_summary.unwrap().stream_arn;
    let large = vec![7_u8; (10 << 20) - 1];
    let put_large = || {
        let put = cloud.bulk.kinesis.put_record().stream_name("s").partition_key("k");
        put.data(Blob::new(large.clone())).send()
    };
    assert!(put_large().await.is_err());
    let update = cloud.kinesis.update_max_record_size().stream_arn(&arn).max_record_size_in_kib(10_240);
    update.send().await.unwrap();
    put_large().await.unwrap();
    let horizon = iterator(&cloud, "s", "0", ShardIteratorType::TrimHorizon).await;
    assert_eq!(read(&cloud, &horizon).await.records[0].data.as_ref().len(), large.len());
    let consumer = register(&cloud, "c").await;
    let mut subscription = from_horizon(&cloud, &consumer, "0").await;
    assert_eq!(event(&mut subscription).await.unwrap().records[0].data.as_ref().len(), large.len());
}
