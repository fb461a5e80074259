"""The Python lines of docs/recipes.md, run as they stand there, against the store at 127.0.0.1:<port>."""
import functools
import json
import re
import sys
import threading

import etcd3

# The document's store is at the usual port.
etcd3.client = functools.partial(etcd3.client, port=int(sys.argv[1]), timeout=20)

document = sys.stdin.read()
blocks = re.findall(r"^```python\n(.*?)^```$", document, re.M | re.S)
sections = [re.findall(r"^## (.*)$", document[: document.index(block)], re.M)[-1:] for block in blocks]


def services_before(lines):
    lines["record"] = '{"service":"web"}'


def services_after(lines):
    store, lease = lines["store"], lines["lease"]
    assert store.get("/services/web/one")[0] == b'{"service":"web"}'
    assert lease.granted_ttl == 10 and lease.keys == [b"/services/web/one"], lease.keys


def balancing_before(lines):
    lines["instances"] = ["two", "one", "three"]
    lines["seen"] = lines.get("seen", [])


def balancing_after(lines):
    # In turn, whoever asks.
    seen = [lines["instance"]]
    for _ in range(3):
        exec(lines["block"], lines)
        seen.append(lines["instance"])
    assert seen == ["one", "three", "two", "one"], seen
    assert lines["store"].get("/balance/web")[0] == b"4"


def queues_before(lines):
    lines["store"].put("/queues/jobs/items/00000000000000000002", "second")
    lines["store"].put("/queues/jobs/items/00000000000000000001", "first")
    lines["lease"] = lines["store"].lease(60)


def queues_after(lines):
    assert lines["mine"] is True
    assert lines["store"].get("/queues/jobs/claims/00000000000000000001")[0] == b"me"
    # It is claimed once.
    exec(lines["block"], lines)
    assert lines["mine"] is False


class Alarmed(Exception):
    pass


def groups_before(lines):
    told = threading.Event()

    def alarm(key):
        told.set()
        raise Alarmed(key)

    def life():
        # The watch begins at some moment: somebody comes and goes until it is told.
        while not told.wait(0.05):
            lines["other"].put("/groups/crew/host-1", "x")
            lines["other"].delete("/groups/crew/host-1")

    lines["alarm"], lines["other"] = alarm, etcd3.client()
    threading.Thread(target=life, daemon=True).start()


def groups_after(lines):
    assert isinstance(lines["raised"], Alarmed) and lines["raised"].args == (b"/groups/crew/host-1",), lines["raised"]


def tasks_before(lines):
    store = lines["store"]
    store.put("/tasks/import/worker", "me")
    lines["token"] = store.get("/tasks/import/worker")[1].create_revision
    lines["report"] = json.dumps({"state": "running", "progress": "70%"})


def tasks_after(lines):
    store = lines["store"]
    assert json.loads(store.get("/tasks/import/report")[0])["progress"] == "70%"
    # Another worker took over: nothing is written.
    store.delete("/tasks/import/worker")
    store.put("/tasks/import/worker", "other")
    lines["report"] = "late"
    exec(lines["block"], lines)
    assert store.get("/tasks/import/report")[0] != b"late"


def nothing(lines):
    pass


around = {
    "": (nothing, nothing),
    "Services": (services_before, services_after),
    "Balancing": (balancing_before, balancing_after),
    "Queues": (queues_before, queues_after),
    "Groups: who is alive": (groups_before, groups_after),
    "Tasks and their progress": (tasks_before, tasks_after),
}
found = [section[0] if section else "" for section in sections]
assert sorted(found) == sorted(around), (found, sorted(around))
lines = {}
for name, block in zip(found, blocks):
    before, after = around[name]
    before(lines)
    lines["block"], lines["raised"] = block, None
    try:
        exec(compile(block, "docs/recipes.md: " + name, "exec"), lines)
    except Alarmed as alarmed:
        lines["raised"] = alarmed
    after(lines)
print("all is well")
