#!/usr/bin/env python3
"""Events at mixed rates through a pump that is killed again and again, and what playback makes of them.

    pumped.py SLUICE [EVENTS [KILLS]]      (1,000,000 events, 10 kills)

Needs boto3; starts and ends its own `sluice local --limits off`. Bursts and single events go onto four shards while the
pump runs with a pass every ten seconds; one record is aggregated and holds 1,000 events, which arrive in the same
millisecond. The pump gets SIGKILL and is begun again. At the end everything is played to a file, and that file must hold
every event that Kinesis acknowledged, once, in order of time, shard and sequence, byte for byte.
"""
import base64, hashlib, json, os, random, signal, subprocess, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
import boto3
from botocore.config import Config

SLUICE = sys.argv[1]
EVENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
KILLS = int(sys.argv[3]) if len(sys.argv) > 3 else 10
SHARDS = 4
ENV = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1",
       "AWS_DEFAULT_REGION": "us-east-1"}
os.environ.update(ENV)


def say(**what):
    print(json.dumps(what), flush=True)


def varint(number):
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def aggregated(key, payloads):
    """A record of the KPL: a table of one partition key, and a record for each payload."""
    body = field(1, key.encode()) + b"".join(field(3, b"\x08\x00" + field(3, payload)) for payload in payloads)
    return b"\xf3\x89\x9a\xc2" + body + hashlib.md5(body).digest()


class Sender:
    """Sends events, and keeps what Kinesis acknowledged: event ID to payload."""

    def __init__(self, endpoint):
        self.kinesis = boto3.client("kinesis", endpoint_url=endpoint,
                                    config=Config(retries={"max_attempts": 1}, max_pool_connections=8))
        self.acknowledged = {}
        self.lock = threading.Lock()
        self.sent = 0

    def put(self, payloads):
        records = [{"Data": payload, "PartitionKey": f"key-{hash(payload) % 997}"} for payload in payloads]
        reply = self.kinesis.put_records(StreamName="es-stream", Records=records)
        assert reply["FailedRecordCount"] == 0, reply
        with self.lock:
            for payload, done in zip(payloads, reply["Records"]):
                self.acknowledged[f"{done['ShardId']}:{int(done['SequenceNumber'])}"] = hashlib.md5(payload).digest()

    def together(self, payloads):
        data = aggregated("together", payloads)
        done = self.kinesis.put_record(StreamName="es-stream", Data=data, PartitionKey="together")
        for n, payload in enumerate(payloads):
            self.acknowledged[f"{done['ShardId']}:{int(done['SequenceNumber'])}:{n}"] = hashlib.md5(payload).digest()

    def send(self):
        chance, number = random.Random(3), 0
        with ThreadPoolExecutor(4) as pool:
            going = []
            while number < EVENTS:
                if number <= EVENTS // 2 < number + 1_000:
                    count, how = 1_000, self.together
                else:
                    count, how = chance.choice([1, 1, 7, 100, 500, 500, 500, 500]), self.put
                count = min(count, EVENTS - number)
                payloads = [b'{"id":1234567890123456789%d,"z":1.10, "a":%s}' % (n, b'"\xc3\xa9"' * (n % 3 == 0) or b"1")
                            for n in range(number, number + count)]
                number += count
                going.append(pool.submit(how, payloads))
                if len(going) > 50:
                    for one in going:
                        one.result()
                    going.clear()
                    if chance.random() < 0.1:
                        time.sleep(chance.random())
                self.sent = number
            for one in going:
                one.result()


def main():
    folder = tempfile.mkdtemp(prefix="pumped-")
    server = subprocess.Popen([SLUICE, "local", "--listen", "127.0.0.1:0", "--limits", "off"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=ENV)
    try:
        endpoint = json.loads(server.stdout.readline())["endpoint"]
        run(endpoint, {**ENV, "AWS_ENDPOINT_URL": endpoint, "SLUICE_STATE_DIR": os.path.join(folder, "state")}, folder)
    finally:
        server.terminate()
        server.wait()
        subprocess.run(["rm", "-rf", folder])


def run(endpoint, env, folder):
    sender = Sender(endpoint)
    sender.kinesis.create_stream(StreamName="es-stream", ShardCount=SHARDS)
    while sender.kinesis.describe_stream_summary(StreamName="es-stream")["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        time.sleep(0.1)
    began = time.monotonic()
    sending = threading.Thread(target=sender.send)
    sending.start()
    pump = [SLUICE, "pump", "--store", "es", "--json"]
    start = lambda *more: subprocess.Popen([*pump, *more], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chance = random.Random(5)
    for kill in range(KILLS):
        running = start("--create-tables", "--every", "10s")
        time.sleep(chance.uniform(4, 25))
        running.send_signal(signal.SIGKILL)
        running.wait()
        say(what="killed", number=kill + 1, sent=sender.sent, seconds=round(time.monotonic() - began, 1))
    sending.join()
    say(what="sent", events=len(sender.acknowledged), seconds=round(time.monotonic() - began, 1))
    ended = subprocess.run([*pump, "--once"], env=env, capture_output=True, text=True)
    report = json.loads(ended.stdout.splitlines()[-1])
    say(what="pumped to the end", exit=ended.returncode, seconds=round(time.monotonic() - began, 1), dead=report["dead"],
        watermark=report["watermark"])
    out = os.path.join(folder, "all.jsonl")
    played = subprocess.run([SLUICE, "playback", "--events", "es-event-table", "--from", "2h", "--out", out, "--json"], env=env,
                            capture_output=True, text=True)
    if played.returncode:
        raise SystemExit(played.stderr)
    compare(out, sender.acknowledged)


def compare(out, acknowledged):
    before, times, wrong, unknown = None, {}, 0, 0
    disorder = 0
    for line in open(out):
        event = json.loads(line)
        shard, sequence, *sub = event["event_id"].split(":")
        event_id = ":".join([shard, str(int(sequence)), *(str(int(n)) for n in sub)])
        order = (event["time"], shard, int(sequence), int(sub[0]) if sub else -1)
        disorder += before is not None and order <= before
        before = order
        times[event["time"][:23]] = times.get(event["time"][:23], 0) + 1
        payload = acknowledged.pop(event_id, None)
        if payload is None:
            unknown += 1
        elif payload != hashlib.md5(base64.b64decode(event["data"])).digest():
            wrong += 1
    # Within a shard the sequence is the order of sending; an event met again is unknown the second time.
    say(what="played", events=sum(times.values()), missing=len(acknowledged), unknown_or_twice=unknown, other_bytes=wrong,
        out_of_order=disorder, most_in_one_millisecond=max(times.values()))
    if acknowledged or unknown or wrong or disorder:
        raise SystemExit("playback is not what was sent")


main()
