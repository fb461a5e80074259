"""The python-etcd package, over the keys API of etcd 2: its API against the store at 127.0.0.1:<port>."""
import base64
import json
import sys
import threading
import urllib.request

import etcd
from etcd.auth import EtcdRole

PORT = int(sys.argv[1])
# Long, for a machine that is busy with other things.
SECONDS = 60
client = etcd.Client(host="127.0.0.1", port=PORT, read_timeout=SECONDS)


def refused(kind, call, *arguments, **named):
    """That the store refuses it as that."""
    try:
        answer = call(*arguments, **named)
    except kind:
        return
    raise AssertionError(f"{call.__name__}{arguments} is answered: {answer}")


def put_by_three(key, value):
    """A put in version 3."""
    pair = {name: base64.b64encode(text.encode()).decode() for name, text in (("key", key), ("value", value))}
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/v3/kv/put", json.dumps(pair).encode())
    urllib.request.urlopen(request, timeout=SECONDS).read()


# Keys, conditions, directories, times to live.
made = client.write("/py/a", "one")
assert made.action == "set" and made.newKey, made
assert client.read("/py/a").value == "one"
assert client.get("/py/a").key == "/py/a"
refused(etcd.EtcdAlreadyExist, client.write, "/py/a", "two", prevExist=False)
refused(etcd.EtcdCompareFailed, client.test_and_set, "/py/a", "two", "other")
assert client.test_and_set("/py/a", "two", "one").value == "two"
refused(etcd.EtcdKeyNotFound, client.read, "/py/none")
refused(etcd.EtcdNotFile, client.write, "/py", "x")
client.write("/py/dir", None, dir=True)
assert client.read("/py/dir").dir
one = client.write("/py/queue", "1", append=True)
two = client.write("/py/queue", "2", append=True)
assert one.key < two.key
assert [node.value for node in client.read("/py/queue", sorted=True).children] == ["1", "2"]
assert {node.key for node in client.read("/py", recursive=True).leaves} >= {"/py/a", one.key, two.key}
client.write("/py/ttl", "x", ttl=500)
assert 0 < client.read("/py/ttl").ttl <= 500
client.refresh("/py/ttl", ttl=1000)
refreshed = client.read("/py/ttl")
assert refreshed.value == "x" and 500 < refreshed.ttl <= 1000, refreshed
kept = client.read("/py/a")
kept.value = "three"
assert client.update(kept).value == "three"
assert "/py/a" in client

# Waiting, for what version 3 writes too, and for what has been already.
before = client.read("/py/a").etcd_index
seen = []
waiting = threading.Thread(
    target=lambda: seen.append(client.read("/py", recursive=True, wait=True, waitIndex=before + 1, timeout=SECONDS))
)
waiting.start()
put_by_three("/py/three", "from three")
waiting.join()
assert (seen[0].key, seen[0].value) == ("/py/three", "from three"), seen
assert client.watch("/py/three", index=before + 1, timeout=SECONDS).value == "from three"
for event in client.eternal_watch("/py/three", index=before + 1):
    assert event.value == "from three"
    break

assert client.delete("/py/a").action == "delete"
refused(etcd.EtcdDirNotEmpty, client.delete, "/py", dir=True)
client.delete("/py", recursive=True, dir=True)
refused(etcd.EtcdKeyNotFound, client.read, "/py")

# The package's lock, on in-order keys with a time to live.
lock = etcd.Lock(client, "door")
assert lock.acquire(blocking=True, lock_ttl=SECONDS)
assert lock.is_acquired
other = etcd.Lock(client, "door")
assert not other.acquire(blocking=False, lock_ttl=SECONDS)
lock.release()

# The cluster.
assert client.machines == [f"http://127.0.0.1:{PORT}"], client.machines
assert len(client.members) == 1
assert client.leader["id"] in client.members, client.leader
assert client.stats["state"] == "StateLeader"
assert client.store_stats["setsSuccess"] > 0

# A role, made, read, changed and deleted.
role = EtcdRole(client, "py")
role.grant("/py/*", "RW")
role.grant("/see", "R")
role.write()
again = EtcdRole(client, "py")
again.read()
assert again.acls == {"/py/*": "RW", "/see": "R"}, again.acls
again.revoke("/see", "R")
again.write()
role.read()
assert role.acls == {"/py/*": "RW"}, role.acls
role.delete()
refused(etcd.EtcdKeyNotFound, role.read)

print("all is well")
