#!/usr/bin/env python3
"""A replica under fire: random writes, updates and deletes of every type while the worker is killed, then compared by scan.

    cargo build --release
    target/peers/python/bin/python benches/peers/replica.py [--changes 200000] [--kills 5]
    … replica.py --source http://127.0.0.1:8000 --target http://127.0.0.1:8001     servers of your own, such as DynamoDB Local

Without --source and --target both tables are in one embedded AWS, started for this. With one of them, the other is in it.
It prints JSON lines; the last one says whether the replica equals its source, and the exit status is 1 if not. Needs boto3.
"""
import argparse
import concurrent.futures
import decimal
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import boto3
from botocore.config import Config

SOURCE, TARGET = "replica-source", "replica-target"
# DynamoDB Local tells an empty map on its stream as {}, without a type: as a source it is not given any.
FEWEST_IN_A_MAP = 0
LARGEST_BATCH = 25


def say(**what):
    print(json.dumps(what), flush=True)


def client(endpoint, threads):
    return boto3.client(
        "dynamodb", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 20, "mode": "standard"}, max_pool_connections=threads + 2),
    )


def key(chance, keys):
    number = chance.randrange(keys)
    return {"id": {"S": f"id-{number // 10}"}, "at": {"N": str(number % 10)}}


def value(chance, depth=0):
    """A value of any type that DynamoDB has."""
    kind = chance.randrange(10 if depth < 2 else 8)
    text = "".join(chance.choice("abcé😀\n\"\\ ") for _ in range(chance.randrange(12)))
    digits = lambda most: str(chance.randrange(10 ** chance.randrange(1, most)))
    number = chance.choice([digits(38), "-" + digits(20), "0." + digits(30), digits(5) + "e" + str(chance.randrange(-60, 60)), "1.50"])
    raw = lambda: chance.randbytes(chance.randrange(1, 20))
    return [
        lambda: {"S": text},
        lambda: {"N": number},
        lambda: {"B": raw()},
        lambda: {"BOOL": chance.random() < 0.5},
        lambda: {"NULL": True},
        lambda: {"SS": list({"x" + text, "y", "z"})},
        lambda: {"NS": [str(n) for n in {chance.randrange(1000) for _ in range(3)}]},
        lambda: {"BS": list({raw() for _ in range(3)})},
        lambda: {"L": [value(chance, depth + 1) for _ in range(chance.randrange(4))]},
        lambda: {"M": {f"m{n}": value(chance, depth + 1) for n in range(chance.randrange(FEWEST_IN_A_MAP, 4))}},
    ][kind]()


def attributes(chance):
    return {f"a{chance.randrange(12)}": value(chance) for _ in range(chance.randrange(6))}


def write(dynamodb, chance, changes, keys, done):
    """Makes `changes` changes: about half in batches, the rest one by one, a fifth of all deletes."""
    left = changes
    while left > 0:
        if chance.random() < 0.2:
            batch = {}
            for _ in range(min(LARGEST_BATCH, left)):
                at = key(chance, keys)
                delete = chance.random() < 0.2
                request = {"DeleteRequest": {"Key": at}} if delete else {"PutRequest": {"Item": {**attributes(chance), **at}}}
                batch[at["id"]["S"], at["at"]["N"]] = request
            left_over = {SOURCE: list(batch.values())}
            while left_over:
                left_over = dynamodb.batch_write_item(RequestItems=left_over).get("UnprocessedItems")
            made = len(batch)
        else:
            at, dice = key(chance, keys), chance.random()
            if dice < 0.25:
                dynamodb.delete_item(TableName=SOURCE, Key=at)
            elif dice < 0.5:
                dynamodb.put_item(TableName=SOURCE, Item={**attributes(chance), **at})
            elif dice < 0.9:
                names = random_names(chance)
                dynamodb.update_item(
                    TableName=SOURCE, Key=at, UpdateExpression=f"SET {names[0]} = :v REMOVE {names[1]} ADD #count :one",
                    ExpressionAttributeNames={"#count": "count"},
                    ExpressionAttributeValues={":v": value(chance), ":one": {"N": "1"}},
                )
            else:
                items = [{"Put": {"TableName": SOURCE, "Item": {**attributes(chance), **at}}}]
                other = key(chance, keys)
                if other != at:
                    items.append({"Delete": {"TableName": SOURCE, "Key": other}})
                try:
                    dynamodb.transact_write_items(TransactItems=items)
                except dynamodb.exceptions.TransactionCanceledException:
                    continue  # Another writer had one of them in hand.
            made = 1
        left -= made
        done(made)


def random_names(chance):
    return [f"a{n}" for n in chance.sample(range(12), 2)]


def canonical(value):
    """Sets compare as sets, and numbers by value."""
    (kind, held), = value.items()
    if kind == "N":
        return kind, decimal.Decimal(held)
    if kind in ("SS", "BS"):
        return kind, frozenset(held)
    if kind == "NS":
        return kind, frozenset(map(decimal.Decimal, held))
    if kind == "L":
        return kind, [canonical(it) for it in held]
    if kind == "M":
        return kind, {name: canonical(it) for name, it in held.items()}
    return kind, held


def scan(dynamodb, table):
    found, more = {}, {}
    while True:
        page = dynamodb.scan(TableName=table, ConsistentRead=True, **more)
        for item in page["Items"]:
            found[item["id"]["S"], item["at"]["N"]] = {name: canonical(it) for name, it in item.items()}
        if "LastEvaluatedKey" not in page:
            return found
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--sluice", default=os.environ.get("CARGO_TARGET_DIR", "target") + "/release/sluice")
    options.add_argument("--changes", type=int, default=200_000)
    options.add_argument("--keys", type=int, help="different keys; a tenth of the changes if not given")
    options.add_argument("--writers", type=int, default=8)
    options.add_argument("--kills", type=int, default=5)
    options.add_argument("--seed", type=int, default=11)
    options.add_argument("--source", metavar="URL")
    options.add_argument("--target", metavar="URL")
    options.add_argument("--faults", default="", help="of the embedded AWS, such as error=1%%,lose-reply=1%%")
    options = options.parse_args()
    global FEWEST_IN_A_MAP
    FEWEST_IN_A_MAP = 1 if options.source else 0
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    if options.source and options.target:
        return measure(options, clean, options.source, options.target, None)
    server = subprocess.Popen(
        [options.sluice, "local", "--listen", "127.0.0.1:0", "--limits", "off", "--table-stream-shards", "4",
         "--faults", options.faults, "--seed", str(options.seed)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean, text=True,
    )
    try:
        embedded = json.loads(server.stdout.readline())["endpoint"]
        return measure(options, clean, options.source or embedded, options.target or embedded, embedded)
    finally:
        server.terminate()
        server.wait()


def measure(options, clean, source, target, embedded):
    keys = options.keys or max(options.changes // 10, 1)
    dynamodb = client(source, options.writers)
    for endpoint, table in ((source, SOURCE), (target, TARGET)):
        there = client(endpoint, 1)
        if table in there.list_tables()["TableNames"]:
            there.delete_table(TableName=table)
            there.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    dynamodb.create_table(
        TableName=SOURCE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "at", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.get_waiter("table_exists").wait(TableName=SOURCE, WaiterConfig={"Delay": 1})
    # Some items are there before the stream is followed: the bootstrap's part.
    write(dynamodb, random.Random(options.seed), keys // 2, keys, lambda made: None)

    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **clean, "AWS_ENDPOINT_URL": source, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "us-east-1", "SLUICE_STATE_DIR": os.path.join(folder, "state"),
        }
        command = [
            options.sluice, "replicate", "-t", SOURCE, "--to", TARGET, "--to-endpoint-url", target, "--create",
            "--bootstrap", "scan", "--json", "-y",
        ]
        log = open(os.path.join(folder, "worker.log"), "w+")
        start = lambda *more: subprocess.Popen(command + list(more), env=environment, stdout=subprocess.DEVNULL, stderr=log)
        done, lock, moved = [0], threading.Lock(), threading.Event()

        def count(made):
            with lock:
                done[0] += made
            moved.set()

        began = time.monotonic()
        worker, kills, died = start(), 0, 0
        with concurrent.futures.ThreadPoolExecutor(options.writers) as pool:
            each = -(-options.changes // options.writers)
            writing = [
                pool.submit(write, dynamodb, random.Random(options.seed + n), each, keys, count)
                for n in range(1, options.writers + 1)
            ]
            while not all(it.done() for it in writing):
                moved.wait(1)
                moved.clear()
                if worker.poll() is not None:
                    died += 1
                    if died > 3:
                        break
                    worker = start()
                if kills < options.kills and done[0] >= options.changes * (kills + 1) // (options.kills + 1):
                    worker.kill()
                    worker.wait()
                    kills += 1
                    say(what="killed", after_changes=done[0], times=kills)
                    if embedded == source:
                        how = "split" if kills == 2 else "roll"
                        url = f"{source}/_sluice/table-streams/{SOURCE}/{how}"
                        urllib.request.urlopen(urllib.request.Request(url, method="POST")).read()
                    worker = start()
            for it in writing:
                it.result()
        written = time.monotonic() - began
        say(what="written", changes=done[0], seconds=round(written, 1), per_second=round(done[0] / written))
        worker.terminate()
        worker.wait()
        ended = subprocess.run(command + ["--until-caught-up"], env=environment, capture_output=True, text=True)
        caught_up = time.monotonic() - began - written
        log.seek(0)
        if ended.returncode not in (0, 3) or died:
            print(log.read()[-4_000:], ended.stderr[-4_000:], sep="\n", file=sys.stderr)
        last = (ended.stdout.splitlines() or [""])[-1]
        say(what="caught up", exit=ended.returncode, seconds=round(caught_up, 1), worker_ended_by_itself=died, last=last)

    here, there = scan(dynamodb, SOURCE), scan(client(target, 1), TARGET)
    missing, extra = here.keys() - there.keys(), there.keys() - here.keys()
    different = [at for at in here.keys() & there.keys() if here[at] != there[at]]
    equal = not missing and not extra and not different and ended.returncode == 0
    say(
        what="compared", items=len(here), replica=len(there), missing=len(missing), extra=len(extra), different=len(different),
        kills=kills, equal=equal, example=str([(at, here[at], there[at]) for at in different[:1]]),
    )
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
