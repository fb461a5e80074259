#!/usr/bin/env bash
# Whether a store answers a put before the put is on disk: every fdatasync is held for 200 ms (strace), six puts are timed.
#
#   scripts/held-sync.sh etcd
#   scripts/held-sync.sh target/release/muster store
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: $0 PROGRAM [ARGUMENT...]" >&2; exit 2; }
for tool in strace curl; do
    command -v "$tool" >/dev/null || { echo "error: $tool is missing (Debian's package $tool)" >&2; exit 1; }
done

# Below the ephemeral ports; MUSTER_PORT takes another pair.
port=${MUSTER_PORT:-23910}
url=http://127.0.0.1:$port
peer=http://127.0.0.1:$((port + 1))
dir=$(mktemp -d)
strace -f -qq -e trace=fdatasync -e inject=fdatasync:delay_enter=200000 -o "$dir/trace" \
    "$@" --data-dir "$dir/data" --listen-client-urls "$url" --advertise-client-urls "$url" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
    >"$dir/log" 2>&1 &
tracer=$!
stop() {
    pkill -P "$tracer" 2>/dev/null || true
    wait "$tracer" 2>/dev/null || true
    rm -rf "$dir"
}
trap stop EXIT

for _ in $(seq 300); do
    curl -fs -X POST "$url/v3/kv/range" -d '{"key":"eA=="}' >/dev/null && break
    kill -0 "$tracer" 2>/dev/null || { tail -n 3 "$dir/log" >&2; exit 1; }
    sleep 0.1
done
for _ in 1 2 3 4 5 6; do
    # What the start has left to sync is not to be in the way.
    sleep 1
    curl -fs -o /dev/null -w '%{time_total} s\n' -X POST "$url/v3/kv/put" -d '{"key":"eA==","value":"eA=="}'
done
