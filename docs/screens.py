#!/usr/bin/env python3
"""Pictures of every screen of the console, at 120x40 and 80x24, from one that is driven by its keys.

    docs/screens.py SLUICE FOLDER

Serves an embedded AWS with a small world in it (a table under restore, a replica, an event store, dead letters, an
autoscaler), opens the console in tmux, goes to each screen as an operator would, and lets the console take the picture
itself (ctrl-p). Needs tmux and boto3.
"""
import base64, json, os, subprocess, sys, tempfile, time

import boto3
from botocore.config import Config

SLUICE, OUT = (os.path.abspath(path) for path in sys.argv[1:3])
SIZES = [(120, 40), (80, 24)]
STATE = tempfile.mkdtemp(prefix="screens-")
ENV = {**{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICE_"))},
       "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "eu-west-1",
       "AWS_DEFAULT_REGION": "eu-west-1", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
       "SLUICE_STATE_DIR": STATE, "SLUICE_THEME": "dark", "HOME": STATE, "LANG": "C.UTF-8", "TERM": "xterm-256color"}


def sluice(*args):
    done = subprocess.run([SLUICE, *args], env=ENV, cwd=STATE, capture_output=True, text=True)
    if done.returncode not in (0, 3, 4):
        sys.exit(f"sluice {' '.join(args)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def job(*args):
    """Starts a job beside, and says which."""
    return json.loads(sluice(*args, "--detach", "--json").splitlines()[-1])["job"]


def world():
    dynamodb, kinesis = boto3.client("dynamodb", endpoint_url=ENV["AWS_ENDPOINT_URL"]), boto3.client(
        "kinesis", endpoint_url=ENV["AWS_ENDPOINT_URL"])
    s3 = boto3.client("s3", endpoint_url=ENV["AWS_ENDPOINT_URL"], config=Config(s3={"addressing_style": "path"}))
    s3.create_bucket(Bucket="backups", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for name, wcu in [("historical", 130), ("quotes", 500), ("sessions", None), ("rates", 40)]:
        capacity = {"ProvisionedThroughput": {"ReadCapacityUnits": 50, "WriteCapacityUnits": wcu}} if wcu else {
            "BillingMode": "PAY_PER_REQUEST"}
        dynamodb.create_table(TableName=name, KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                              AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}], **capacity)
    for name, shards in [("restore", 4), ("clicks", 2), ("puts", 3)]:
        kinesis.create_stream(StreamName=name, ShardCount=shards)
        while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
            time.sleep(0.1)

    def backup(name, items):
        rows = "\n".join(base64.b64encode(json.dumps(item).encode()).decode() for item in items)
        s3.put_object(Bucket="backups", Key=name, Body=rows.encode())
        return f"s3://backups/{name}"

    items = [{"id": {"S": f"id-{n}"}, "updated_at": {"N": str(1447203612 + n)}, "rate": {"N": f"0.{n % 977}1"}}
             for n in range(60_000)]
    bad = [{**item, "rate": {"N": "ten"}} if n % 90 == 7 else item for n, item in enumerate(items[:500])]
    sluice("restore", backup("quotes_2026-11-19.csv", items[:3_000]), "-t", "quotes")
    letters = json.loads(sluice("restore", backup("rates_2026-11-19.csv", bad), "-t", "rates", "--json").splitlines()[-1])
    sluice("verify", "s3://backups/quotes_2026-11-19.csv", "-t", "quotes")
    sluice("load", "-k", "clicks", "--count", "900", "--rate", "300")
    sluice("pump", "-k", "clicks", "--buffer", "clicks-buffer", "--events", "clicks-events", "--create-tables", "--once")
    with open(os.path.join(STATE, "rules.toml"), "w") as rules:
        rules.write('[[table]]\nname = "quotes"\n[[table]]\nname = "rates"\n')
    restore = job("restore", backup("historical_2026-11-20.csv", items), "-t", "historical", "-k", "restore")
    replica = job("replicate", "-t", "sessions", "--to", "sessions_replica", "--create", "--yes")
    scaler = job("autoscale", "--config", os.path.join(STATE, "rules.toml"))
    return dict(restore=restore, replica=replica, scaler=scaler, letters=letters["job"])


class Screen:
    def __init__(self, columns, rows):
        self.size = f"{columns}x{rows}"
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "-s", "console", SLUICE)

    def tmux(self, *args):
        return subprocess.run(["tmux", "-L", f"screens-{self.size}", "-f", "/dev/null", *args], env=ENV, check=True,
                              capture_output=True, text=True).stdout

    def text(self):
        return self.tmux("capture-pane", "-p", "-t", "console")

    def wait_for(self, words):
        for _ in range(300):
            if words in self.text():
                return
            time.sleep(0.1)
        sys.exit(f"never saw {words!r}:\n{self.text()}")

    def press(self, *keys):
        for key in keys:
            self.tmux("send-keys", "-t", "console", key)
            time.sleep(0.15)

    def write(self, text):
        self.tmux("send-keys", "-t", "console", "-l", text)
        time.sleep(0.2)

    def command(self, line):
        self.press("Escape", "Escape", ":")
        self.write(line)
        self.press("Enter")
        time.sleep(1.5)

    def picture(self, name):
        """The console takes its own picture; over a question or a line that is typed, tmux's text is no less."""
        path = os.path.join(OUT, f"{name}-{self.size}.svg")
        if os.path.exists(path):
            os.remove(path)
        self.press("C-p", "C-u")
        self.write(path)
        self.press("Enter")
        for _ in range(100):
            if os.path.exists(path):
                return print(os.path.basename(path), flush=True)
            time.sleep(0.1)
        sys.exit(f"no picture of {name}:\n{self.text()}")

    def close(self):
        self.tmux("kill-server")


def walk(screen, jobs):
    screen.wait_for("palette")
    time.sleep(3)
    screen.press("1")  # also closes the tour
    screen.wait_for("quotes")
    time.sleep(3)
    screen.picture("tables")
    for name, line, words in [
        ("table", "table historical", "historical"),
        ("streams", "streams", "restore"),
        ("stream", "stream restore", "open of"),
        ("mappings", "lambda restore", ""),
        ("tail", "tail clicks", ""),
        ("jobs", "jobs", jobs["restore"]),
        ("job", f"job {jobs['restore']}", "records/s"),
        ("replica", f"job {jobs['replica']}", "replica"),
        ("dead-letters", f"letters {jobs['letters']}", "dead letters"),
        ("autoscale", f"job {jobs['scaler']}", "decisions"),
        ("restore-form", "restore into quotes", "source"),
        ("backup-form", "backup quotes", "to"),
        ("replica-form", "replicate quotes", "source"),
        ("event-tables", None, "clicks-events"),
        ("scrubber", "playback clicks-events", "playback"),
    ]:
        screen.command(line) if line else screen.press("Escape", "Escape", "4")
        screen.wait_for(words)
        time.sleep(1.5)
        screen.picture(name)


def main():
    os.makedirs(OUT, exist_ok=True)
    local = subprocess.Popen([SLUICE, "local", "--listen", "127.0.0.1:0"], env=ENV, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
    try:
        ENV["AWS_ENDPOINT_URL"] = json.loads(local.stdout.readline())["endpoint"]
        os.environ.update(ENV)
        jobs = world()
        for size in SIZES:
            screen = Screen(*size)
            try:
                walk(screen, jobs)
            finally:
                screen.close()
        for one in jobs.values():
            subprocess.run([SLUICE, "cancel", one, "--yes"], env=ENV, capture_output=True)
    finally:
        local.terminate()
        local.wait()


main()
