#!/usr/bin/env bash
# The event store's way in, measured against the embedded AWS without limits:
#   benches/peers/events.sh target/release/sluice [EVENTS]
# Prints the rate of load and of pump, and with wrk installed requests/s and latencies of track, and whether every 200 of
# track is in the store.
set -euo pipefail
sluice=$1 events=${2:-100000}
work=$(mktemp -d)
export SLUICE_STATE_DIR=$work/state
trap 'kill $server ${track:-} 2>/dev/null || true; rm -rf "$work"' EXIT

"$sluice" local --listen 127.0.0.1:0 --limits off >"$work/ready" 2>/dev/null &
server=$!
until [ -s "$work/ready" ]; do read -rt 0.1 <> <(:) || true; done
endpoint=$(sed 's/.*"endpoint":"\([^"]*\)".*/\1/' "$work/ready")
at=(--endpoint-url "$endpoint" --json)
python3 - "$endpoint" <<'PY'
import json, sys, time, urllib.request
def call(operation, **body):
    request = urllib.request.Request(sys.argv[1], json.dumps(body).encode(), {
        "X-Amz-Target": "Kinesis_20131202." + operation, "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0"})
    return json.loads(urllib.request.urlopen(request).read() or b"{}")
call("CreateStream", StreamName="es-stream", ShardCount=4)
while call("DescribeStreamSummary", StreamName="es-stream")["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
    time.sleep(0.1)
PY
echo "load:"
"$sluice" "${at[@]}" load -k es-stream --rate 50000 --count "$events" | tail -1
echo "pump:"
"$sluice" "${at[@]}" pump --store es --create-tables --once 2>/dev/null | tail -1

command -v wrk >/dev/null || { echo "wrk is not installed: track is not measured"; exit 0; }
"$sluice" "${at[@]}" track -k es-stream --listen 127.0.0.1:0 >"$work/track" 2>/dev/null &
track=$!
until [ -s "$work/track" ]; do read -rt 0.1 <> <(:) || true; done
address=$(head -1 "$work/track" | sed 's/.*"listening":"\([^"]*\)".*/\1/')
echo "track:"
wrk -t2 -c64 -d10s --latency "$address/track.gif?MessageType=Claps&EntityId=Claps-1-2"
kill -TERM $track; wait $track || true
answered=$(tail -1 "$work/track")
echo "$answered"
echo "pump of what track took:"
"$sluice" "${at[@]}" pump --store es --once 2>/dev/null | tail -1
