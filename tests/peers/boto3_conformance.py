"""boto3 against `sluice local`: a foreign client finds the AWS it expects. Usage: boto3_conformance.py ENDPOINT"""

import datetime
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ITEMS = 1_000


def client(service, endpoint, **config):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 10, "mode": "standard"}, **config),
    )


def expect(what, got, wanted):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


def table_holds_what_was_put(endpoint):
    dynamodb = client("dynamodb", endpoint)
    dynamodb.create_table(
        TableName="boto",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 500, "WriteCapacityUnits": 500},
    )
    dynamodb.get_waiter("table_exists").wait(TableName="boto", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    resource = boto3.resource(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    ).Table("boto")
    with resource.batch_writer() as batch:
        for n in range(ITEMS):
            batch.put_item(Item={"id": f"key-{n}", "n": n, "set": {n, n + 1}, "bytes": bytes([n % 256])})
    found, more = {}, {}
    while True:
        page = resource.scan(ConsistentRead=True, **more)
        found.update({item["id"]: item for item in page["Items"]})
        if "LastEvaluatedKey" not in page:
            break
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    expect("items", len(found), ITEMS)
    expect("a number", int(found["key-7"]["n"]), 7)
    expect("a set", {int(n) for n in found["key-7"]["set"]}, {7, 8})
    expect("binary", bytes(found["key-7"]["bytes"]), b"\x07")
    try:
        dynamodb.describe_table(TableName="absent")
        raise AssertionError("an absent table was described")
    except ClientError as error:
        expect("its error", error.response["Error"]["Code"], "ResourceNotFoundException")


def stream_gives_back_records_in_order(endpoint):
    kinesis = client("kinesis", endpoint)
    kinesis.create_stream(StreamName="boto", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="boto", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    sent = [str(n).encode() for n in range(100)]
    answer = kinesis.put_records(StreamName="boto", Records=[{"Data": data, "PartitionKey": "k"} for data in sent])
    expect("failed records", answer["FailedRecordCount"], 0)
    shard = kinesis.list_shards(StreamName="boto")["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(StreamName="boto", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    iterator, got = iterator["ShardIterator"], []
    for _ in range(10):
        page = kinesis.get_records(ShardIterator=iterator)
        got += [record["Data"] for record in page["Records"]]
        iterator = page["NextShardIterator"]
        if len(got) >= len(sent):
            break
    expect("records", got, sent)
    expect("lag at the tip", page["MillisBehindLatest"], 0)


def consumer_is_pushed_to(endpoint):
    kinesis = client("kinesis", endpoint)
    stream = kinesis.describe_stream_summary(StreamName="boto")["StreamDescriptionSummary"]["StreamARN"]
    arn = kinesis.register_stream_consumer(StreamARN=stream, ConsumerName="pushed")["Consumer"]["ConsumerARN"]
    for _ in range(100):
        described = kinesis.describe_stream_consumer(ConsumerARN=arn)["ConsumerDescription"]
        if described["ConsumerStatus"] == "ACTIVE":
            break
        time.sleep(0.1)
    expect("its stream", described["StreamARN"], stream)
    listed = kinesis.list_stream_consumers(StreamARN=stream)["Consumers"]
    expect("consumers", [consumer["ConsumerName"] for consumer in listed], ["pushed"])
    shard = kinesis.list_shards(StreamName="boto")["Shards"][0]["ShardId"]
    start = {"Type": "TRIM_HORIZON"}
    answer = kinesis.subscribe_to_shard(ConsumerARN=arn, ShardId=shard, StartingPosition=start)
    got = []
    for event in answer["EventStream"]:
        pushed = event["SubscribeToShardEvent"]
        got += [record["Data"] for record in pushed["Records"]]
        if len(got) >= 100:
            break
    expect("pushed records", got, [str(n).encode() for n in range(100)])
    expect("lag at the tip", pushed["MillisBehindLatest"], 0)
    expect("where to go on", pushed["ContinuationSequenceNumber"], pushed["Records"][-1]["SequenceNumber"])
    try:
        kinesis.subscribe_to_shard(ConsumerARN=arn, ShardId=shard, StartingPosition=start)
        raise AssertionError("a second subscription within five seconds")
    except ClientError as error:
        expect("its error", error.response["Error"]["Code"], "ResourceInUseException")
    answer["EventStream"].close()
    kinesis.deregister_stream_consumer(ConsumerARN=arn)


def table_stream_tells_what_changed(endpoint):
    dynamodb, streams = client("dynamodb", endpoint), client("dynamodbstreams", endpoint)
    dynamodb.create_table(
        TableName="streamed",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    arn = dynamodb.describe_table(TableName="streamed")["Table"]["LatestStreamArn"]
    expect("its streams", [s["StreamArn"] for s in streams.list_streams(TableName="streamed")["Streams"]], [arn])
    for n in range(100):
        key = {"id": {"S": f"key-{n % 10}"}}
        # Every version is put twice, and the second changes nothing.
        for _ in range(2):
            dynamodb.put_item(TableName="streamed", Item={**key, "n": {"N": str(n)}, "b": {"B": bytes([n])}})
    dynamodb.delete_item(TableName="streamed", Key=key)
    for _ in range(100):
        described = streams.describe_stream(StreamArn=arn)["StreamDescription"]
        if described["StreamStatus"] == "ENABLED":
            break
        time.sleep(0.2)
    expect("status", described["StreamStatus"], "ENABLED")
    changes, last = {}, {}
    for shard in described["Shards"]:
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        page = streams.get_records(ShardIterator=iterator["ShardIterator"])
        for record in page["Records"]:
            change = record["dynamodb"]
            key = change["Keys"]["id"]["S"]
            number = int(change["SequenceNumber"])
            assert last.get(key, 0) < number, f"{key}: {number} after {last[key]}"
            last[key] = number
            image = change.get("NewImage", {})
            if image:
                expect("binary", image["b"]["B"], bytes([int(image["n"]["N"])]))
            changes.setdefault(key, []).append((record["eventName"], image.get("n", {}).get("N")))
    for digit in range(10):
        versions = [str(n) for n in range(digit, 100, 10)]
        wanted = [("INSERT", versions[0])] + [("MODIFY", n) for n in versions[1:]]
        if digit == 9:
            wanted.append(("REMOVE", None))
        expect(f"changes of key-{digit}", changes[f"key-{digit}"], wanted)
    try:
        streams.describe_stream(StreamArn=arn + "x")
        raise AssertionError("an absent stream was described")
    except ClientError as error:
        expect("its error", error.response["Error"]["Code"], "ResourceNotFoundException")


def bucket_keeps_objects(endpoint):
    s3 = client("s3", endpoint, s3={"addressing_style": "path"})
    s3.create_bucket(Bucket="boto")
    body = bytes(range(256)) * 4_096
    s3.put_object(Bucket="boto", Key="folder/object", Body=body)
    expect("object", s3.get_object(Bucket="boto", Key="folder/object")["Body"].read(), body)
    part = s3.get_object(Bucket="boto", Key="folder/object", Range="bytes=10-19")["Body"].read()
    expect("range", part, body[10:20])
    listed = s3.list_objects_v2(Bucket="boto", Prefix="folder/")["Contents"]
    expect("listing", [(entry["Key"], entry["Size"]) for entry in listed], [("folder/object", len(body))])


def metrics_count_what_passed(endpoint):
    cloudwatch = client("cloudwatch", endpoint)
    now = datetime.datetime.now(datetime.timezone.utc)
    answer = cloudwatch.get_metric_data(
        StartTime=now - datetime.timedelta(minutes=30),
        EndTime=now + datetime.timedelta(minutes=2),
        MetricDataQueries=[
            {
                "Id": "consumed",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/DynamoDB",
                        "MetricName": "ConsumedWriteCapacityUnits",
                        "Dimensions": [{"Name": "TableName", "Value": "boto"}],
                    },
                    "Period": 60,
                    "Stat": "Sum",
                },
            }
        ],
    )
    expect("consumed WCU", sum(answer["MetricDataResults"][0]["Values"]), float(ITEMS))


def main(endpoint):
    for check in (
        table_holds_what_was_put,
        stream_gives_back_records_in_order,
        consumer_is_pushed_to,
        table_stream_tells_what_changed,
        bucket_keeps_objects,
        metrics_count_what_passed,
    ):
        check(endpoint)
        print(f"ok: {check.__name__.replace('_', ' ')}")


if __name__ == "__main__":
    main(sys.argv[1])
