"""The Lambda host end to end: the binary as `bootstrap` under ministack, whose event source mappings invoke it.

usage: ministack_lambda.py ENDPOINT PATH_TO_SLUICE_LAMBDA
"""

import base64
import io
import json
import sys
import time
import uuid
import zipfile

import boto3
from botocore.config import Config

endpoint, binary = sys.argv[1:3]
run = uuid.uuid4().hex[:8]
session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, read_timeout=120)
dynamodb, kinesis, s3, functions = (
    session.client(name, endpoint_url=endpoint, config=config) for name in ("dynamodb", "kinesis", "s3", "lambda")
)


def until(what, look, seconds=90):
    """Looks until `look` finds something."""
    for _ in range(seconds * 10):
        found = look()
        if found:
            return found
        time.sleep(0.1)
    sys.exit(f"waited in vain until {what}")


def table(name, stream=False):
    more = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}} if stream else {}
    return dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )["TableDescription"]


def function(name, code, handler, source=None, batch=None, **environment):
    variables = {
        "SLUICE_HANDLER": handler,
        "SLUICE_DEAD_LETTERS": f"s3://{bucket}/{handler}",
        "AWS_ENDPOINT_URL": endpoint,
        **environment,
    }
    functions.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role="arn:aws:iam::000000000000:role/none",
        Code={"ZipFile": code},
        Timeout=60,
        Environment={"Variables": variables},
    )
    if source is None:
        return None
    return functions.create_event_source_mapping(
        FunctionName=name,
        EventSourceArn=source,
        StartingPosition="TRIM_HORIZON",
        BatchSize=batch,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=10,
    )["UUID"]


def items(name):
    found, after = {}, {}
    while True:
        page = dynamodb.scan(TableName=name, ConsistentRead=True, **after)
        found.update({item["id"]["S"]: item for item in page["Items"]})
        if "LastEvaluatedKey" not in page:
            return found
        after = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def letters(prefix):
    found = []
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
        body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()
        found += [json.loads(line) for line in body.splitlines()]
    return found


archive = io.BytesIO()
with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as code:
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    with open(binary, "rb") as program:
        code.writestr(entry, program.read(), zipfile.ZIP_DEFLATED, 1)
archive = archive.getvalue()

bucket = f"letters-{run}"
s3.create_bucket(Bucket=bucket)
origin, copy, stream = f"origin-{run}", f"copy-{run}", f"puts-{run}"
changes = table(origin, stream=True)["LatestStreamArn"]
table(copy)
kinesis.create_stream(StreamName=stream, ShardCount=2)
puts = until(
    "the stream is active",
    lambda: (lambda told: told["StreamStatus"] == "ACTIVE" and told["StreamARN"])(
        kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    ),
)

# put: 2,000 requests with two versions of each key, and two records that can never succeed.
total = 1_000
mappings = [function(f"put-{run}", archive, "put", puts, 500)]
records = []
for version in (1, 2):
    for n in range(total):
        item = {"id": {"S": f"k{n}"}, "v": {"N": str(version)}, "digits": {"N": "12345678901234567890.12345678"}}
        request = json.dumps({"TableName": origin, "Item": item}, separators=(",", ":"))
        records.append({"Data": request.encode(), "PartitionKey": f"k{n}"})
records.insert(700, {"Data": b"poison", "PartitionKey": "p"})
records.insert(900, {"Data": b'{"TableName":"nowhere","Item":{"id":{"S":"x"}}}', "PartitionKey": "p"})
for at in range(0, len(records), 500):
    assert kinesis.put_records(StreamName=stream, Records=records[at : at + 500])["FailedRecordCount"] == 0
began = time.monotonic()


def all_written(name):
    found = items(name)
    return found if len(found) == total and all(item["v"]["N"] == "2" for item in found.values()) else None


written = until("every key has its second version", lambda: all_written(origin))
assert all(item["digits"]["N"] == "12345678901234567890.12345678" for item in written.values()), "numbers stay what they were"
kept = until("both letters are kept", lambda: (lambda found: len(found) == 2 and found)(letters("put/")))
assert sorted(base64.b64decode(letter["bytes"])[:6] for letter in kept) == [b"poison", b'{"Tabl'], kept
assert all(letter["source"] == stream and letter["shard"].startswith("shardId-") for letter in kept), kept
print(f"put: {len(records)} records in {time.monotonic() - began:.1f} s, {len(written)} items, {len(kept)} dead letters")

# replicate: the table that was just written, deletes included, into the other one.
mappings.append(
    function(f"replicate-{run}", archive, "replicate", changes, 100, SLUICE_TARGET_TABLE=copy)
)
for n in range(10):
    dynamodb.delete_item(TableName=origin, Key={"id": {"S": f"k{n}"}})
began = time.monotonic()
wanted = items(origin)
until("the copy equals the origin", lambda: items(copy) == wanted)
assert len(wanted) == total - 10
print(f"replicate: {len(wanted)} items equal after {time.monotonic() - began:.1f} s, 10 deleted")

# track, pump, scan: requests become events of a stream, rows of the buffer, and rows of the event table.
events, buffer, stored = f"events-{run}", f"buffer-{run}", f"stored-{run}"
kinesis.create_stream(StreamName=events, ShardCount=1)
source = until(
    "the stream is active",
    lambda: (lambda told: told["StreamStatus"] == "ACTIVE" and told["StreamARN"])(
        kinesis.describe_stream_summary(StreamName=events)["StreamDescriptionSummary"]
    ),
)
for name, keys in ((buffer, ["partition_key"]), (stored, ["event_time_slot", "event_key"])):
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"))],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
tables = {"SLUICE_BUFFER_TABLE": buffer, "SLUICE_EVENT_TABLE": stored}
function(f"track-{run}", archive, "track", SLUICE_STREAM=events)
mappings.append(function(f"pump-{run}", archive, "pump", source, 100, **tables))
function(f"scan-{run}", archive, "scan", SLUICE_STREAM_ARN=source, **tables)


def invoke(name, event):
    reply = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    body = json.loads(reply["Payload"].read())
    assert "FunctionError" not in reply, body
    return body


began = time.monotonic()
bodies = [f'{{"id":12345678901234567890,"z":1.10,"n":{n}}}' for n in range(50)]
for body in bodies:
    request = {
        "rawPath": "/events",
        "rawQueryString": "",
        "requestContext": {"http": {"method": "POST", "path": "/events"}},
        "body": body,
        "isBase64Encoded": False,
    }
    assert invoke(f"track-{run}", request)["statusCode"] == 200


def payloads():
    invoke(f"scan-{run}", {"source": "aws.scheduler"})
    rows = dynamodb.scan(TableName=stored, ConsistentRead=True)["Items"]
    rows = [row for row in rows if not row["event_time_slot"]["S"].startswith("directory#")]
    return [row["record_payload"]["S"] for row in sorted(rows, key=lambda row: row["event_key"]["S"])]


until("every event is stored in order", lambda: payloads() == bodies)
assert dynamodb.scan(TableName=buffer, Select="COUNT")["Count"] == 0
print(f"track, pump, scan: {len(bodies)} events stored in order after {time.monotonic() - began:.1f} s")

for mapping in mappings:
    told = functions.get_event_source_mapping(UUID=mapping)
    print(f"mapping of {told['FunctionArn'].rsplit(':', 1)[1]}: {told.get('LastProcessingResult')}")
    functions.delete_event_source_mapping(UUID=mapping)
