#!/usr/bin/env python3
"""Put workers against `sluice local`: a stream that is split and merged while they run, and workers that are killed.

    leases.py SLUICE reshard [REQUESTS [SHARDS]]          one worker; five splits and five merges     (1,000,000, 20)
    leases.py SLUICE kill [REQUESTS [SHARDS [WORKERS]]]   a lease table; half the workers get SIGKILL  (200,000, 20, 10)

Needs boto3; starts and ends its own `sluice local --limits off`. Every tenth key's requests are conditional: they fail, and
count as skipped, unless they are newer than what is there, so that whatever comes twice or out of order is counted. The
others are plain puts, and the newest version of each must stay.
"""
import json, os, re, signal, subprocess, sys, tempfile, threading, time
import boto3
from botocore.config import Config

SLUICE, SCENARIO, *NUMBERS = sys.argv[1:]
ENV = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1",
       "AWS_DEFAULT_REGION": "us-east-1"}
os.environ.update(ENV)
KEYS = 10_000


def say(**what):
    print(json.dumps(what), flush=True)


class Scene:
    def __init__(self, shards):
        command = [SLUICE, "local", "--listen", "127.0.0.1:0", "--limits", "off"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENV)
        self.endpoint = json.loads(self.server.stdout.readline())["endpoint"]
        config = Config(retries={"max_attempts": 10}, max_pool_connections=20)
        self.kinesis = boto3.client("kinesis", endpoint_url=self.endpoint, config=config)
        self.db = boto3.client("dynamodb", endpoint_url=self.endpoint, config=config)
        self.kinesis.create_stream(StreamName="s", ShardCount=shards)
        self.settle()
        self.db.create_table(TableName="aaa", BillingMode="PAY_PER_REQUEST",
                             KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                             AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])

    def settle(self):
        summary = lambda: self.kinesis.describe_stream_summary(StreamName="s")["StreamDescriptionSummary"]
        while summary()["StreamStatus"] != "ACTIVE":
            time.sleep(0.05)

    def open_shards(self):
        shards = self.kinesis.list_shards(StreamName="s")["Shards"]
        shards = [s for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
        ranges = [(int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"]), s["ShardId"])
                  for s in shards]
        return sorted(ranges)

    def split(self):
        first, last, shard = max(self.open_shards(), key=lambda r: r[1] - r[0])
        self.kinesis.split_shard(StreamName="s", ShardToSplit=shard, NewStartingHashKey=str((first + last) // 2 + 1))
        self.settle()

    def merge(self):
        ranges = self.open_shards()
        left, right = min(zip(ranges, ranges[1:]), key=lambda pair: pair[1][1] - pair[0][0])
        self.kinesis.merge_shards(StreamName="s", ShardToMerge=left[2], AdjacentShardToMerge=right[2])
        self.settle()

    def produce(self, first, last):
        """Requests `first` to `last`: version n // KEYS + 1 of key n % KEYS, in order for each key."""
        for start in range(first, last, 500):
            records = []
            for n in range(start, min(start + 500, last)):
                key, version = n % KEYS, n // KEYS + 1
                request = {"TableName": "aaa", "Item": {"id": {"S": f"k{key}"}, "v": {"N": str(version)}}}
                if key % 10 == 0:
                    request["ConditionExpression"] = "attribute_not_exists(id) OR v < :v"
                    request["ExpressionAttributeValues"] = {":v": {"N": str(version)}}
                records.append({"Data": json.dumps(request, separators=(",", ":")), "PartitionKey": f"k{key}"})
            while records:
                reply = self.kinesis.put_records(StreamName="s", Records=records)["Records"]
                records = [record for record, sent in zip(records, reply) if "ErrorCode" in sent]

    def worker(self, *options):
        state = tempfile.mkdtemp(prefix="worker-")
        command = [SLUICE, "--endpoint-url", self.endpoint, "--state-dir", state, "work", "-k", "s", "--json", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV, text=True)
        worker = {"process": process, "state": state, "last": {}}

        def read():
            for line in process.stdout:
                worker["last"] = json.loads(line)

        worker["reader"] = threading.Thread(target=read)
        worker["reader"].start()
        return worker

    def newest(self, requests):
        """How many keys hold their newest version, and how many do not."""
        right = wrong = 0
        for page in self.db.get_paginator("scan").paginate(TableName="aaa", ConsistentRead=True):
            for item in page["Items"]:
                key = int(item["id"]["S"][1:])
                newest = (requests - 1 - key) // KEYS + 1
                right, wrong = (right + 1, wrong) if int(item["v"]["N"]) == newest else (right, wrong + 1)
        return right, wrong

    def until_newest(self, requests):
        keys = min(KEYS, requests)
        while self.newest(requests) != (keys, 0):
            time.sleep(0.5)

    def leases(self):
        return [item for page in self.db.get_paginator("scan").paginate(TableName="leases", ConsistentRead=True)
                for item in page["Items"] if item["checkpoint"]["S"] != "SHARD_END"]

    def owners(self):
        owners = {}
        for lease in self.leases():
            owner = lease.get("leaseOwner", {}).get("S") if "checkpointOwner" not in lease else None
            owners[owner] = owners.get(owner, 0) + 1
        return owners

    def end(self):
        self.server.send_signal(signal.SIGTERM)
        self.server.wait()


def stop(worker):
    worker["process"].send_signal(signal.SIGTERM)
    code = worker["process"].wait()
    worker["reader"].join()
    return code


def reshard(requests=1_000_000, shards=20):
    scene = Scene(shards)
    worker = scene.worker()
    began = time.time()
    parts = 11
    for part in range(parts):
        scene.produce(requests * part // parts, requests * (part + 1) // parts)
        if part < parts - 1:
            (scene.split if part % 2 == 0 else scene.merge)()
    produced = time.time() - began
    scene.until_newest(requests)
    took = time.time() - began
    code, last = stop(worker), worker["last"]
    right, wrong = scene.newest(requests)
    say(scenario="reshard", requests=requests, shards=shards, splits=5, merges=5, produced_s=round(produced, 1),
        written_s=round(took, 1), read=last["read"], written=last["written"], replaced=last["replaced"],
        skipped=last["skipped"], dead=last["dead"], keys_newest=right, keys_wrong=wrong, exit=code,
        shards_now=len(scene.open_shards()))
    scene.end()


def kill(requests=200_000, shards=20, workers=10):
    scene = Scene(shards)
    began = time.time()
    running = [scene.worker("--lease-table", "leases") for _ in range(workers)]
    fair = -(-shards // workers)
    while True:
        try:
            owners = scene.owners()
        except scene.db.exceptions.ResourceNotFoundException:
            owners = {}
        if None not in owners and len(owners) == workers and max(owners.values()) <= fair:
            break
        time.sleep(0.2)
    say(scenario="kill", balanced_s=round(time.time() - began, 1), leases=sorted(owners.values()))
    producer = threading.Thread(target=scene.produce, args=(0, requests))
    producer.start()
    time.sleep(3)
    dead = running[:workers // 2]
    for worker in dead:
        worker["process"].kill()
    killed = time.time()
    ids = [re.escape(worker["last"].get("job", "?")) for worker in dead]
    is_dead = re.compile("/(" + "|".join(ids) + ")/")
    held_by_dead = lambda: [o for o in scene.owners() if o is None or is_dead.search(o)]
    while held_by_dead():
        time.sleep(0.1)
    say(scenario="kill", killed=len(dead), all_taken_over_s=round(time.time() - killed, 1),
        leases=sorted(scene.owners().values()))
    producer.join()
    scene.until_newest(requests)
    took = time.time() - began
    codes = [stop(worker) for worker in running[workers // 2:]]
    for worker in dead:
        worker["process"].wait()
    right, wrong = scene.newest(requests)
    total = lambda field: sum(worker["last"].get(field, 0) for worker in running)
    say(scenario="kill", requests=requests, shards=shards, workers=workers, written_s=round(took, 1), read=total("read"),
        written=total("written"), skipped=total("skipped"), dead=total("dead"), keys_newest=right, keys_wrong=wrong,
        exits=codes, free_leases=scene.owners().get(None, 0))
    scene.end()


{"reshard": reshard, "kill": kill}[SCENARIO](*map(int, NUMBERS))
