#!/usr/bin/env python3
"""What the console costs: until its first frame, while idle, and for each frame, with many tables and shards.

    console.py SLUICE [TABLES [SHARDS]]

Serves an embedded AWS with so many tables and a stream of so many shards, opens the console on it in a terminal of 120x40
(twice: the second time it knows the tables from before), goes through its screens, and leaves it alone for half a minute.
Then a put worker reads the whole stream beside it, which the stream's screens show shard by shard, and it is done again.
Prints one JSON line a measurement.
"""
import fcntl, json, os, pty, re, select, signal, struct, subprocess, sys, tempfile, termios, time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

SLUICE = os.path.abspath(sys.argv[1])
TABLES = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
SHARDS = int(sys.argv[3]) if len(sys.argv) > 3 else 10000
IDLE_S = 30
TICKS = os.sysconf("SC_CLK_TCK")


class Console:
    """A console in a terminal of its own, whose bytes are read as they come."""

    def __init__(self, state, endpoint, log, *args):
        self.began = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": os.environ["PATH"], "HOME": state,
                   "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}
            os.execve(SLUICE, [SLUICE, "--endpoint-url", endpoint, "--region", "eu-west-1", "--state-dir", state,
                               "--log-file", log, *args], env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.seen = b""
        self.bytes = 0

    def read(self, seconds):
        """Reads for so long, or until something came."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                got = os.read(self.fd, 65536)
            except OSError:
                return False
            self.seen = (self.seen + got)[-200_000:]
            self.bytes += len(got)
            return True
        return False

    def wait_for(self, words, seconds=60):
        """Seconds since the start until `words` were on the wire."""
        end = time.monotonic() + seconds
        while words not in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", self.seen):
            if time.monotonic() > end:
                raise SystemExit(f"never saw {words!r}: {self.seen[-2000:]!r}")
            self.read(0.01)
        return time.monotonic() - self.began

    def press(self, keys, pause=0.25):
        for key in keys:
            os.write(self.fd, key.encode())
            end = time.monotonic() + pause
            while time.monotonic() < end:
                self.read(0.02)

    def cpu(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def quit(self):
        os.write(self.fd, b"q")
        while self.read(1):
            pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def drawn(log):
    """What the console said of its frames when it ended."""
    with open(log) as lines:
        line = [line for line in lines if "drawn" in line][-1]
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)}


def say(**row):
    print(json.dumps(row), flush=True)


def main():
    with tempfile.TemporaryDirectory() as state:
        local = subprocess.Popen([SLUICE, "local", "--listen", "127.0.0.1:0", "--limits", "off"],
                                 stdout=subprocess.PIPE, text=True)
        try:
            endpoint = json.loads(local.stdout.readline())["endpoint"]
            measure(state, endpoint)
        finally:
            local.send_signal(signal.SIGTERM)
            local.wait()


def measure(state, endpoint):
    made = time.monotonic()
    options = dict(endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x",
                   config=Config(max_pool_connections=8, retries={"max_attempts": 10}))
    dynamodb, kinesis = boto3.client("dynamodb", **options), boto3.client("kinesis", **options)

    def table(n):
        dynamodb.create_table(TableName=f"table-{n:04}", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                              AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                              ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5 + n})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(table, range(TABLES)))
    kinesis.create_stream(StreamName="wide", ShardCount=SHARDS)
    kinesis.get_waiter("stream_exists").wait(StreamName="wide", WaiterConfig={"Delay": 1})
    say(what="made", tables=TABLES, shards=SHARDS, seconds=round(time.monotonic() - made, 1))

    # The first time nothing is known; later the tables are, from before.
    for opened in ["first"] + ["again"] * 5:
        log = os.path.join(state, f"{opened}.log")
        console = Console(state, endpoint, log)
        frame = console.wait_for(b"Tables")
        rows = console.wait_for(b"table-0000")
        say(what="opened", opened=opened, first_frame_ms=round(frame * 1000), tables_on_screen_ms=round(rows * 1000))
        if opened == "first":
            console.press(["j"] * 10)  # until they are described and kept
        console.quit()

    log = os.path.join(state, "work.log")
    console = Console(state, endpoint, log)
    console.wait_for(b"table-0000")
    console.press(["j"] * 20 + ["G", "s", "s", "/"] + list("table-00") + ["\r", "\r"])
    say(what="tables", **walk(console))
    console.press(["2"], 1)
    console.press(["\r"], 5)  # the shards are listed, a thousand a call
    console.press(["j"] * 40 + ["G", "s", "s"] + ["k"] * 20)
    say(what="shards", **walk(console))
    console.press(["1"], 5)
    for screen, keys in [("tables", []), ("streams", ["2"]), ("jobs", ["3"])]:
        console.press(keys, 5)
        say(what="idle", screen=screen, **alone(console))
    console.quit()
    say(what="frames", **drawn(log))
    with_a_reader(state, endpoint)


def with_a_reader(state, endpoint):
    """The same of the stream's screens while a job reads all its shards: a sample of each comes every second."""
    sluice = [SLUICE, "--endpoint-url", endpoint, "--region", "eu-west-1", "--state-dir", state]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}
    worker = subprocess.Popen([*sluice, "work", "-k", "wide"], env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        log = os.path.join(state, "read.log")
        console = Console(state, endpoint, log)
        console.wait_for(b"Tables")  # it opens where it was left
        console.press(["2"], 5)
        console.press(["\r"], 5)
        console.press(["G"], 1)
        jobs = subprocess.run([*sluice, "--json", "jobs"], env=environment, capture_output=True, check=True, text=True)
        reader = json.loads(jobs.stdout.splitlines()[0])["job"]
        # It stands in the row of the last shard once that is read.
        console.wait_for(reader.encode(), 300)
        console.press(["g", "g"] + ["j"] * 40 + ["G", "s", "s"] + ["k"] * 20)
        say(what="shards that are read", **walk(console))
        say(what="idle", screen="a stream that is read", **alone(console))
        console.press(["2"], 5)
        say(what="idle", screen="streams, one of which is read", **alone(console))
        console.quit()
        say(what="frames with a reader", **drawn(log))
    finally:
        worker.send_signal(signal.SIGINT)
        worker.wait()


def alone(console):
    """What it costs to be left alone."""
    before, bytes_before, began = console.cpu(), console.bytes, time.monotonic()
    while time.monotonic() - began < IDLE_S:
        console.read(0.5)
    took = time.monotonic() - began
    return {"cpu_percent": round((console.cpu() - before) / took * 100, 2),
            "bytes_per_second": round((console.bytes - bytes_before) / took)}


def walk(console):
    return {"cpu_seconds": round(console.cpu(), 2), "bytes": console.bytes}


main()
