#!/usr/bin/env python3
"""Measures playback on the embedded AWS: a store of 30 days with a million events at mixed rates.

    cargo build --release --bin sluice --example make_events
    python3 benches/peers/playback.py [--target DIR] [--events 1000000] [--days 30] [--moments 100]

It prints, as JSON lines: what was made; whether what is played equals what was made, and events/s at --speed max; the time
from the start of the command to the first event at random moments; the requests for a day with three events in it; and
how late events come at x1. Needs nothing beyond Python's own library.
"""
import argparse
import datetime
import json
import os
import random
import statistics
import subprocess
import tempfile
import time

END = datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc)


def say(**what):
    print(json.dumps(what), flush=True)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--target", default=os.environ.get("CARGO_TARGET_DIR", "target") + "/release")
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--moments", type=int, default=100)
    options.add_argument("--layout", default="ordered", choices=["ordered", "original"])
    options = options.parse_args()
    sluice = os.path.join(options.target, "sluice")
    make = os.path.join(options.target, "examples", "make_events")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    server = subprocess.Popen(
        [sluice, "local", "--listen", "127.0.0.1:0", "--limits", "off"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=clean, text=True,
    )
    try:
        endpoint = json.loads(server.stdout.readline())["endpoint"]
        with tempfile.TemporaryDirectory() as folder:
            environment = {**clean, "AWS_ENDPOINT_URL": endpoint, "SLUICE_STATE_DIR": os.path.join(folder, "state")}
            measure(options, sluice, make, folder, environment)
    finally:
        server.terminate()
        server.wait()


def measure(options, sluice, make, folder, environment):
    began = time.monotonic()
    made = subprocess.run(
        [make, "store", str(options.events), str(options.days), options.layout, folder], env=environment, check=True,
        capture_output=True, text=True,
    )
    say(what="made", seconds=round(time.monotonic() - began, 1), **json.loads(made.stdout))

    def playback(*args):
        ended = subprocess.run([sluice, "playback", "--events", "store", "--json", *args], env=environment, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(ended.stderr)
        return json.loads(ended.stdout.splitlines()[-1])

    start = END - datetime.timedelta(days=options.days)
    out = os.path.join(folder, "all.jsonl")
    began = time.monotonic()
    report = playback("--from", start.isoformat(), "--to", END.isoformat(), "--out", out)
    seconds = time.monotonic() - began
    equal = subprocess.run(["cmp", out, os.path.join(folder, "store.jsonl")]).returncode == 0
    say(what="max", events=report["written"], seconds=round(seconds, 2), per_second=round(report["written"] / seconds),
        requests=report["requests"], equal_in_order_and_bytes=equal)
    os.remove(out)

    chance = random.Random(11)
    waits = []
    for _ in range(options.moments):
        moment = start + datetime.timedelta(seconds=chance.uniform(0, options.days * 86_400 - 3_600))
        began = time.monotonic()
        child = subprocess.Popen(
            [sluice, "playback", "--events", "store", "--from", moment.isoformat(), "--out", "-"], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        first = json.loads(child.stdout.readline())
        waits.append((time.monotonic() - began) * 1000)
        child.kill()
        child.wait()
        assert first["time"] >= moment.isoformat()[:26], (first, moment)
    say(what="first event", moments=len(waits), median_ms=round(statistics.median(waits), 1), worst_ms=round(max(waits), 1))

    sparse(sluice, make, environment, playback)

    # A minute of what is busiest: bursts of hundreds of events within ten seconds.
    busiest = subprocess.run(
        [sluice, "playback", "--events", "store", "--histogram", "--buckets", str(options.days * 24 * 60), "--from",
         start.isoformat(), "--to", END.isoformat(), "--json"],
        env=environment, capture_output=True, text=True, check=True,
    )
    buckets = [json.loads(line) for line in busiest.stdout.splitlines()[:-1]]
    # Not the minute with the thousand events of one millisecond: a thousand at once can't be on time.
    busy = sorted(buckets, key=lambda bucket: -bucket["events"])[1]
    for speed in ("1", "10"):
        report = playback("--from", busy["from"], "--to", busy["to"], "--speed", speed, "--out", os.path.join(folder, f"paced{speed}"))
        say(what=f"pacing at x{speed}", events=report["written"], late_ms=report["late_ms"])


def sparse(sluice, make, environment, playback):
    """A day with three events in it: a store of its own."""
    subprocess.run([make, "sparse", "3", "1", "ordered"], env=environment, check=True, capture_output=True)
    ended = subprocess.run(
        [sluice, "playback", "--events", "sparse", "--json", "--from", (END - datetime.timedelta(days=1)).isoformat(), "--to",
         END.isoformat(), "--out", os.path.join(environment["SLUICE_STATE_DIR"], "sparse.jsonl")],
        env=environment, capture_output=True, text=True, check=True,
    )
    report = json.loads(ended.stdout.splitlines()[-1])
    say(what="a day with three events", events=report["written"], requests=report["requests"])


if __name__ == "__main__":
    main()
