#!/usr/bin/env python3
"""What goes through a stream, and what it takes of the processor: `sluice restore -k` and `sluice work` against
`sluice local`.

    stream.py SLUICE shard [SECONDS]     one shard under its limits, items of 300 B, with and without aggregation   (30)
    stream.py SLUICE cpu [ITEMS]         eight shards without limits: records/s, µs of processor time per record    (400,000)

Needs boto3. Processor time is user and system of the sluice process alone, the embedded AWS not included.
"""
import json, os, resource, subprocess, sys, tempfile, time
import boto3

SLUICE, SCENARIO, *NUMBERS = sys.argv[1:]
ENV = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1",
       "AWS_DEFAULT_REGION": "us-east-1"}
os.environ.update(ENV)
FOLDER = tempfile.mkdtemp(prefix="stream-")


def serve(*more):
    server = subprocess.Popen([SLUICE, "local", "--listen", "127.0.0.1:0", *more], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=ENV)
    endpoint = json.loads(server.stdout.readline())["endpoint"]
    return server, endpoint, boto3.client("kinesis", endpoint_url=endpoint), boto3.client("dynamodb", endpoint_url=endpoint)


def stream(kinesis, name, shards):
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.05)


def backup(count):
    path = os.path.join(FOLDER, "items.jsonl")
    with open(path, "w") as file:
        for n in range(count):
            file.write(json.dumps({"id": {"S": f"key-{n:09}"}, "payload": {"S": "x" * 215}}, separators=(",", ":")) + "\n")
    return path


def run(endpoint, *command):
    """Runs sluice; its last line, its time, and its processor time."""
    env = {**ENV, "AWS_ENDPOINT_URL": endpoint, "SLUICE_STATE_DIR": os.path.join(FOLDER, "state")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ended = subprocess.run([SLUICE, "--json", *command], env=env, capture_output=True, text=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        raise SystemExit(ended.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(ended.stdout.splitlines()[-1]), seconds, cpu


def say(**what):
    print(json.dumps(what), flush=True)


def main():
    server, endpoint, kinesis, db = serve(*(() if SCENARIO == "shard" else ("--limits", "off")))
    try:
        db.create_table(TableName="aaa", BillingMode="PAY_PER_REQUEST",
                        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])
        {"shard": shard, "cpu": cpu}[SCENARIO](endpoint, kinesis)
    finally:
        server.terminate()
        server.wait()
        subprocess.run(["rm", "-rf", FOLDER])


def shard(endpoint, kinesis):
    seconds = int(NUMBERS[0]) if NUMBERS else 30
    for name, rate, flags in (("aggregated", 3_000, []), ("single", 1_000, ["--no-aggregate"])):
        stream(kinesis, name, 1)
        count = rate * seconds
        report, took, _ = run(endpoint, "restore", backup(count), "-t", "aaa", "-k", name, "--no-workers", *flags)
        say(through="one shard", how=name, put_request_bytes=300, items=report["on_stream"], seconds=round(took, 1),
            items_per_second=round(count / took))


def cpu(endpoint, kinesis):
    count = int(NUMBERS[0]) if NUMBERS else 400_000
    path = backup(count)
    for name, flags in (("aggregated", []), ("single", ["--no-aggregate"])):
        stream(kinesis, name, 8)
        for who, command in (
            ("producer", ["restore", path, "-t", "aaa", "-k", name, "--no-workers", *flags]),
            ("put worker", ["work", "-k", name, "--drain"]),
        ):
            report, took, used = run(endpoint, *command)
            say(who=who, how=name, records=report["read"], seconds=round(took, 1), records_per_second=round(count / took),
                cpu_us_per_record=round(used / count * 1e6, 2))


main()
