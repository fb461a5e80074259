"""The etcd3 package, over gRPC: its whole API against the store at 127.0.0.1:<port>."""
import io
import sys

import etcd3

client = etcd3.client(host="127.0.0.1", port=int(sys.argv[1]), timeout=20)

# Pairs.
client.put("/a/1", "one")
client.put("/a/2", "two")
value, meta = client.get("/a/1")
assert (value, meta.key, meta.version) == (b"one", b"/a/1", 1), (value, meta.key, meta.version)
assert client.get("/none") == (None, None)
assert [v for v, _ in client.get_prefix("/a/", sort_order="descend")] == [b"two", b"one"]
assert [v for v, _ in client.get_range("/a/1", "/a/2")] == [b"one"]
assert client.put_if_not_exists("/a/1", "other") is False
assert client.replace("/a/1", "one", "uno") is True
previous = client.put("/a/1", "eins", prev_kv=True).prev_kv
assert previous.value == b"uno", previous
assert client.delete("/none") is False and client.delete("/a/2") is True

# A transaction.
ok, answers = client.transaction(
    compare=[client.transactions.value("/a/1") == "eins", client.transactions.version("/a/1") > 0],
    success=[client.transactions.put("/t", "1"), client.transactions.get("/a/1")],
    failure=[client.transactions.delete("/a/1")],
)
assert ok and answers[1][0][0] == b"eins", (ok, answers)

# Leases.
lease = client.lease(60)
client.put("/leased", "x", lease=lease)
assert lease.granted_ttl == 60 and lease.keys == [b"/leased"], (lease.granted_ttl, lease.keys)
assert lease.refresh()[0].TTL == 60
lease.revoke()
assert client.get("/leased")[0] is None

# Watches.
events, cancel = client.watch_prefix("/w/")
client.put("/w/1", "x")
client.delete("/w/1")
first, second = next(events), next(events)
assert isinstance(first, etcd3.events.PutEvent) and first.value == b"x", first
assert isinstance(second, etcd3.events.DeleteEvent) and second.key == b"/w/1", second
cancel()

# A lock. (Waiting for one that is held does not work in this release of the package.)
with client.lock("door", ttl=30) as lock:
    assert lock.is_acquired()
assert not lock.is_acquired()

# Members, status, a snapshot, a compaction.
assert len(list(client.members)) == 1
assert client.status().leader.name == "default"
kept = io.BytesIO()
client.snapshot(kept)
assert len(kept.getvalue()) > 1000
revision = client.get("/a/1")[1].response_header.revision
client.compact(revision)
try:
    client.compact(revision)
    raise AssertionError("compacted twice")
except Exception as refused:
    assert "compacted" in str(refused), refused
assert list(client.list_alarms()) == []
print("all is well")
