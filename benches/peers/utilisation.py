#!/usr/bin/env python3
"""How well `sluice restore` holds a table at its write capacity, against `sluice local` with its limits on, and what
boto3's batch writer does with the same items on the same endpoint.

    utilisation.py SLUICE [SCENARIO...]     needs boto3; starts and ends its own `sluice local`

Tables are made with 1 WCU and raised just before the run, so that no capacity is saved up. A steady minute is seconds 15 to 75 of a run.
"""
import base64, json, os, random, signal, subprocess, sys, tempfile, threading, time
import boto3
from botocore.config import Config

SLUICE = sys.argv[1]
WORK = tempfile.mkdtemp(prefix="utilisation-")
ENV = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1",
       "AWS_DEFAULT_REGION": "us-east-1"}
os.environ.update(ENV)


def serve(*more):
    server = subprocess.Popen([SLUICE, "local", "--listen", "127.0.0.1:0", *more], stdout=subprocess.PIPE, env=ENV)
    return server, json.loads(server.stdout.readline())["endpoint"]


def client(endpoint, retries=10):
    return boto3.client("dynamodb", endpoint_url=endpoint, config=Config(retries={"max_attempts": retries}))


def settle(db, table):
    while db.describe_table(TableName=table)["Table"]["TableStatus"] != "ACTIVE":
        time.sleep(0.1)


def units(write):
    return {"ReadCapacityUnits": 1, "WriteCapacityUnits": write}


def make_table(db, table, wcu, sort=False, index=None, saved=False):
    keys = [{"AttributeName": "id", "KeyType": "HASH"}] + ([{"AttributeName": "n", "KeyType": "RANGE"}] if sort else [])
    attributes = [{"AttributeName": "id", "AttributeType": "S"}]
    attributes += [{"AttributeName": "n", "AttributeType": "N"}] if sort else []
    more = {}
    if index:
        attributes.append({"AttributeName": "tag", "AttributeType": "S"})
        more["GlobalSecondaryIndexes"] = [{"IndexName": "by-tag", "Projection": {"ProjectionType": "KEYS_ONLY"},
                                           "KeySchema": [{"AttributeName": "tag", "KeyType": "HASH"}],
                                           "ProvisionedThroughput": units(wcu if saved else 1)}]
    db.create_table(TableName=table, KeySchema=keys, AttributeDefinitions=attributes,
                    ProvisionedThroughput=units(wcu if saved else 1), **more)
    settle(db, table)
    if not saved:
        # What 1 WCU saves up is 300 units: gone within the first second.
        change = {"ProvisionedThroughput": units(wcu)} if wcu > 1 else {}
        if index:
            change["GlobalSecondaryIndexUpdates"] = [{"Update": {"IndexName": "by-tag", "ProvisionedThroughput": units(index)}}]
        db.update_table(TableName=table, **change)
        settle(db, table)


def items(count, size, sort=False, hot=0.0, index=False, seed=1):
    rng = random.Random(seed)
    for n in range(count):
        item = {"id": {"S": "hot" if rng.random() < hot else f"{seed}-{n}"}}
        if sort:
            item["n"] = {"N": str(n)}
        if index:
            item["tag"] = {"S": f"tag-{seed}-{n}"}
        item["payload"] = {"S": "x" * (size - 40)}
        yield item


def backup(name, records):
    path = os.path.join(WORK, name)
    with open(path, "w") as file:
        for record in records:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")
    return path


class Restore:
    """A running restore, and its progress line of each second."""

    def __init__(self, endpoint, path, table, *more):
        self.lines, state = [], tempfile.mkdtemp(dir=WORK)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [SLUICE, "--endpoint-url", endpoint, "--state-dir", state, "--json", "restore", path, "-t", table,
             "--format", "jsonl", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), json.loads(line)))

    def at(self, when):
        """The counters at a time of the monotonic clock, between two lines."""
        before, after = None, None
        for at, line in self.lines:
            if at <= when:
                before = (at, line)
            elif after is None:
                after = (at, line)
        before, after = before or after, after or before
        if before[0] == after[0]:
            return dict(before[1])
        part = (when - before[0]) / (after[0] - before[0])
        mix = lambda name: before[1][name] + (after[1][name] - before[1][name]) * part
        return {"written": mix("written"), "throttled": mix("throttled"), "wcu": mix("wcu"),
                "limit": before[1].get("limit")}

    def between(self, begin, end):
        first, last = self.at(begin), self.at(end)
        use = {name: last[name] - first[name] for name in ("written", "throttled", "wcu")}
        return {**use, "seconds": end - begin, "limit": last.get("limit")}

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.thread.join()


def say(name, **figures):
    print(json.dumps({"run": name, **figures}), flush=True)


def steady(restores, wcu, name, index_too=False, after=15, **more):
    begin = max(restore.began for restore in restores) + after
    time.sleep(max(0, begin + 61.5 - time.monotonic()))
    uses = [restore.between(begin, begin + 60) for restore in restores]
    wcus = sum(use["wcu"] for use in uses) / (2 if index_too else 1)
    throttled, written = sum(use["throttled"] for use in uses), sum(use["written"] for use in uses)
    say(name, used=round(wcus / 60 / wcu, 4), throttled=round(throttled / (throttled + written), 5),
        shares=[round(use["wcu"] / 60 / wcu, 3) for use in uses], limit=uses[0]["limit"], **more)
    return uses


def plain(endpoint, wcu, size):
    db, table = client(endpoint), f"plain-{wcu}"
    per_item = -(-size // 1024)
    path = backup(table, items(int(wcu / per_item * 90) + 2_000, size))
    make_table(db, table, wcu)
    restore = Restore(endpoint, path, table)
    steady([restore], wcu, f"{wcu} WCU, items of {size} B")
    restore.end()
    os.remove(path)


def hot(endpoint):
    db, wcu = client(endpoint), 4_000
    for share in (0.2, 0.0):
        table = f"hot-{int(share * 100)}"
        path = backup(table, items(wcu * 90, 300, sort=True, hot=share))
        make_table(db, table, wcu, sort=True)
        restore = Restore(endpoint, path, table)
        steady([restore], wcu, f"{wcu} WCU, hot key of {share:.0%}")
        restore.end()
        os.remove(path)


def feasible(wcu, share):
    """What a hot key's partition allows of a table, once no more can wait for it: it and its part of all other keys
    pass 1,000 WCU/s together, and everything else in step with them. The embedded AWS has a partition for each started
    1,000 WCU and 3,000 RCU together."""
    partitions = -(-(wcu / 1000 + 1 / 3000) // 1)
    return min(1.0, 1000 / (share + (1 - share) / partitions) / wcu)


def hot_long(endpoint):
    """The same for so long that the memory for records that wait is full: then the partition is the limit."""
    db, wcu, share = client(endpoint), 4_000, 0.2
    path = backup("hot-long", items(wcu * 240, 300, sort=True, hot=share))
    make_table(db, "hot-long", wcu, sort=True)
    restore = Restore(endpoint, path, "hot-long")
    steady([restore], wcu, f"{wcu} WCU, hot key of {share:.0%}, seconds 130 to 190", after=130,
           feasible=round(feasible(wcu, share), 3))
    restore.end()


def many(endpoint):
    db, wcu, count = client(endpoint), 1_700, 6
    paths = [backup(f"many-{n}", items(wcu * 40, 300, seed=n)) for n in range(count)]
    make_table(db, "many", wcu)
    restores = [Restore(endpoint, path, "many") for path in paths]
    steady(restores, wcu, f"{wcu} WCU, {count} workers", after=30)
    for restore in restores:
        restore.end()


def faults(endpoint):
    """Run by itself: its servers refuse at random."""
    for spec in ("throttle=1%", "throttle=3.5%", "error=2%,lose-reply=1%", "partial=3%"):
        server, there = serve("--faults", spec, "--seed", "7")
        db, wcu = client(there), 1_700
        path = backup("faults", items(wcu * 90, 300))
        make_table(db, "faults", wcu)
        restore = Restore(there, path, "faults")
        steady([restore], wcu, f"{wcu} WCU, {spec}")
        restore.end()
        server.send_signal(signal.SIGTERM)
        server.wait()


def leave(endpoint):
    """Another writer takes 300 WCU of 1,700; CloudWatch tells of it minutes later."""
    db, wcu = client(endpoint), 1_700
    path = backup("leave", items(wcu * 260, 300))
    make_table(db, "leave", wcu)
    done = threading.Event()

    def others():
        began, sent = time.monotonic(), 0
        while not done.is_set():
            batch = [{"PutRequest": {"Item": {"id": {"S": f"other-{sent + n}"}}}} for n in range(25)]
            db.batch_write_item(RequestItems={"leave": batch})
            sent += 25
            done.wait(max(0, began + sent / 300 - time.monotonic()))

    thread = threading.Thread(target=others)
    thread.start()
    restore = Restore(endpoint, path, "leave", "--leave", "20%")
    uses = steady([restore], wcu, "1,700 WCU, --leave 20%, others use 300", after=200, others=300 / wcu)
    say("ours and theirs together", used=round(uses[0]["wcu"] / 60 / wcu + 300 / wcu, 4), at_most=0.8)
    restore.end()
    done.set()
    thread.join()


def ondemand(endpoint):
    db = client(endpoint)
    path = backup("ondemand", items(4_000 * 90, 300))
    db.create_table(TableName="ondemand", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                    AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST")
    settle(db, "ondemand")
    restore = Restore(endpoint, path, "ondemand")
    steady([restore], 4_000, "a new on-demand table, 4,000 writes/s")
    restore.end()


def two(endpoint):
    db, wcu = client(endpoint), 1_700
    paths = [backup(f"two-{n}", items(wcu * 100, 300, seed=n)) for n in (1, 2)]
    make_table(db, "two", wcu)
    first = Restore(endpoint, paths[0], "two")
    time.sleep(5)
    second = Restore(endpoint, paths[1], "two")
    steady([first, second], wcu, f"{wcu} WCU, two workers")
    second.end()
    ended = time.monotonic()
    time.sleep(12)
    for after in (5, 10):
        use = first.between(ended + after - 5, ended + after)
        say(f"the other ended: seconds {after - 5} to {after}", used=round(use["wcu"] / 5 / wcu, 3))
    first.end()


def index(endpoint):
    db = client(endpoint)
    path = backup("index", items(500 * 100, 300, index=True))
    make_table(db, "index", 1_700, index=500)
    restore = Restore(endpoint, path, "index")
    steady([restore], 500, "index of 500 WCU on a table of 1,700", index_too=True)
    restore.end()


def change(endpoint):
    db = client(endpoint)
    path = backup("change", items(1_700 * 130, 300))
    make_table(db, "change", 1_700)
    restore = Restore(endpoint, path, "change")
    time.sleep(20)
    for wcu in (3_400, 1_700, 850):
        db.update_table(TableName="change", ProvisionedThroughput=units(wcu))
        settle(db, "change")
        changed = time.monotonic()
        time.sleep(17)
        bins = [restore.between(changed + n / 2, changed + n / 2 + 1) for n in range(31)]
        rates = [use["wcu"] for use in bins]
        refused = [use["throttled"] / max(1, use["throttled"] + use["written"]) for use in bins]
        good = [rate >= 0.95 * wcu and share < 0.05 for rate, share in zip(rates, refused)]
        follows = next((n / 2 for n, ok in enumerate(good) if ok), None)
        tail = restore.between(changed + 5, changed + 15)
        say(f"changed to {wcu} WCU", follows_after_s=follows, used_5_to_15_s=round(tail["wcu"] / 10 / wcu, 3),
            throttled_5_to_15_s=round(tail["throttled"] / max(1, tail["throttled"] + tail["written"]), 4))
    restore.end()


def burst(endpoint):
    """A rested table of 130 WCU, whose one partition takes 1,000 a second."""
    db = client(endpoint)
    make_table(db, "burst", 130, saved=True)
    path = backup("burst", items(50_000, 300))
    restore = Restore(endpoint, path, "burst")
    restore.process.wait()
    restore.thread.join()
    last = restore.lines[-1][1]
    say("50,000 records into a rested table of 130 WCU", seconds=round(last["seconds"], 1),
        throttled=round(last["throttled"] / (last["throttled"] + last["written"]), 5))


def boto(endpoint):
    count, wcu = 40_000, 500
    path = backup("boto", items(count, 300))
    for who in ("sluice", "boto3"):
        db = client(endpoint)
        make_table(db, who, wcu)
        if who == "sluice":
            restore = Restore(endpoint, path, who)
            restore.process.wait()
            restore.thread.join()
            last = restore.lines[-1][1]
            say(f"{count} items at {wcu} WCU, sluice", seconds=round(last["seconds"], 1),
                throttled_items=last["throttled"], throttled=round(last["throttled"] / (last["throttled"] + count), 4))
            continue
        seen = {"requests": 0, "throttled_requests": 0, "sent_items": 0, "unprocessed": 0}
        resource = boto3.resource("dynamodb", endpoint_url=endpoint)
        table = resource.Table(who)
        events = resource.meta.client.meta.events

        def sent(params, **_):
            body = json.loads(params["body"])
            seen["requests"] += 1
            seen["sent_items"] += sum(map(len, body["RequestItems"].values()))

        def answered(response, **_):
            if response is None:
                return
            if response[0].status_code == 400:
                seen["throttled_requests"] += 1
            elif response[1].get("UnprocessedItems"):
                seen["unprocessed"] += sum(map(len, response[1]["UnprocessedItems"].values()))
                seen["throttled_requests"] += 1

        events.register("before-call.dynamodb.BatchWriteItem", sent)
        events.register("needs-retry.dynamodb.BatchWriteItem", answered)
        began, failed = time.monotonic(), None
        try:
            with table.batch_writer() as batch:
                for line in open(path):
                    record = json.loads(line)
                    batch.put_item(Item={name: next(iter(value.values())) for name, value in record.items()})
        except Exception as error:
            failed = type(error).__name__ + ": " + str(error)[:80]
        say(f"{count} items at {wcu} WCU, boto3 batch_writer", seconds=round(time.monotonic() - began, 1), failed=failed, **seen)


SCENARIOS = {
    "100": lambda endpoint: plain(endpoint, 100, 300),
    "1700": lambda endpoint: plain(endpoint, 1_700, 300),
    "10000": lambda endpoint: plain(endpoint, 10_000, 2_900),
    "hot": hot, "hot-long": hot_long, "two": two, "many": many, "faults": faults, "leave": leave, "ondemand": ondemand, "index": index, "change": change, "burst": burst, "boto": boto,
}

if __name__ == "__main__":
    for name in sys.argv[2:] or SCENARIOS:
        server, endpoint = serve()
        try:
            SCENARIOS[name](endpoint)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    subprocess.run(["rm", "-rf", WORK])
