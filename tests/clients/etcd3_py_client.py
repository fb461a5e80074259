"""The etcd3-py package, JSON over HTTP: its API against the store at 127.0.0.1:<port>."""
import queue
import sys
import time
import warnings

import etcd3
from etcd3.errors import ErrKeyNotFound, ErrLeaseNotFound, Etcd3Exception
from etcd3.models import EventEventType, RangeRequestSortOrder

# The package names threads as Python did long ago.
warnings.simplefilter("ignore", DeprecationWarning)
# Long, for a machine that is busy with other things.
SECONDS = 60


def connect(**named):
    """A client. It asks for the version first and gives the store 0.3 s, which a busy machine may need longer for."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            return etcd3.Client(host="127.0.0.1", port=int(sys.argv[1]), timeout=SECONDS, **named)
        except AttributeError:
            assert time.monotonic() < until, "the version was never answered within 0.3 s"


client = connect()
assert client.api_prefix == "/v3", client.api_prefix
assert client.health() == "true"


def refused(call, *arguments, **named):
    """Why the store refuses that."""
    try:
        answer = call(*arguments, **named)
    except Etcd3Exception as error:
        return error
    raise AssertionError(f"{call.__name__}{arguments} is answered: {answer}")


# Pairs.
client.put("/a/1", "one")
client.put("/a/2", "two")
found = client.range("/a/1").kvs[0]
assert (found.key, found.value, found.version) == (b"/a/1", b"one", 1), found
assert client.range("/none").kvs is None
found = client.range("/a/", prefix=True, sort_order=RangeRequestSortOrder.DESCEND)
assert [pair.value for pair in found.kvs] == [b"two", b"one"], found
assert client.range("/a/", prefix=True, count_only=True).count == 2
assert client.put("/a/1", b"\x00\xff", prev_kv=True).prev_kv.value == b"one"
assert client.range("/a/1").kvs[0].value == b"\x00\xff"
assert client.delete_range("/a/", prefix=True).deleted == 2
assert client.range(all=True).kvs is None

# Transactions.
client.put("/t", "1")
txn = client.Txn()
txn.If(txn.key("/t").value == b"1").If(txn.key("/t").version > 0).If(txn.key("/none").create == 0)
txn.Then(txn.put("/t", "2")).Then(txn.range("/t")).Else(txn.delete("/t"))
done = txn.commit()
assert done.succeeded and done.responses[1].response_range.kvs[0].value == b"2", done
done = txn.commit()
assert not done.succeeded and done.responses[0].response_delete_range.deleted == 1, done

# Leases.
with client.Lease(ttl=60) as lease:
    client.put("/leased", "x", lease=lease.ID)
    assert 0 < lease.ttl() <= 60 and lease.time_to_live(keys=True).keys == [b"/leased"]
    assert lease.keepalive_once().TTL == 60
assert client.range("/leased").kvs is None
assert lease.ttl() == -1
assert isinstance(refused(client.lease_revoke, lease.ID), ErrLeaseNotFound)

# Watches: as they come, from a revision of the past, and once. The thread of a watcher is ended from within: `stop` from
# outside waits forever in this release of the package when it comes between two events.
events = queue.Queue()
watcher = client.Watcher(key="/w/", prefix=True, prev_kv=True)
watcher.onEvent(events.put)
watcher.onEvent(EventEventType.DELETE, lambda event: sys.exit())
watcher.runDaemon()
until = time.monotonic() + SECONDS
while watcher.start_revision is None:
    assert time.monotonic() < until, f"the watcher was never made: {watcher.errors}"
    time.sleep(0.01)
start = client.put("/w/1", "x").header.revision
client.put("/w/1", "y")
client.put("/v/1", "x")
client.delete_range("/w/1")
seen = [events.get(timeout=SECONDS) for _ in range(3)]
assert [(event.type.value, event.key, event.value) for event in seen] == [
    ("PUT", b"/w/1", b"x"),
    ("PUT", b"/w/1", b"y"),
    ("DELETE", b"/w/1", None),
], seen
assert seen[2].prev_kv.value == b"y", seen[2].prev_kv
watcher = client.Watcher(key="/w/1", start_revision=start)
assert watcher.watch_once(EventEventType.DELETE, timeout=SECONDS).mod_revision == start + 3
watcher = client.Watcher(key="/w/1", start_revision=start, no_put=True)
assert watcher.watch_once(timeout=SECONDS).type == EventEventType.DELETE
client.compact(start + 1)
late = client.Watcher(key="/w/1", start_revision=start)
assert "compacted" in str(refused(late.watch_once, timeout=SECONDS).error)
assert "compacted" in str(refused(client.range, "/w/1", revision=start))

# Locks: of the package, and of the store's own service.
with client.Lock("door", lock_ttl=30) as lock:
    assert lock.is_acquired
assert not lock.is_acquired
key = client.lock("gate").key
client.unlock(key)

# What operators ask.
assert len(client.member_list().members) == 1
assert client.status().version.startswith("3.")
assert client.hash().hash > 0
assert client.alarm_get(0, etcd3.models.etcdserverpbAlarmType.NONE).alarms is None
assert sum(len(piece.blob) for piece in client.snapshot()) > 1000

# Who may do what.
client.role_add("reader")
client.role_grant_permission("reader", key="/open/", prefix=True, permType=etcd3.models.authpbPermissionType.READ)
client.role_add("root")
for user, role in (("root", "root"), ("ann", "reader")):
    client.user_add(user, "secret")
    client.user_grant_role(user, role)
client.put("/open/1", "x")
client.auth_enable()
ann = connect(username="ann")
ann.auth(password="secret")
assert ann.range("/open/1").kvs[0].value == b"x"
assert "permission denied" in str(refused(ann.put, "/open/1", "y"))
assert "permission denied" in str(refused(ann.range, "/t"))
assert "user name is empty" in str(refused(client.put, "/open/1", "y"))
assert "authentication failed" in str(refused(ann.auth, password="guess"))
root = connect(username="root")
root.auth(password="secret")
assert root.user_get("ann").roles == ["reader"]
root.auth_disable()
print("all is well")
