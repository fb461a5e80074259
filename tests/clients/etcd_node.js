// The node-etcd package of npm, over the keys API of etcd 2, at 127.0.0.1:<port>.
const assert = require("node:assert");
const Etcd = require("node-etcd");

// Long, for a machine that is busy with other things.
const SECONDS = 60;
const url = `http://127.0.0.1:${process.argv[2]}`;
const etcd = new Etcd(url, { timeout: SECONDS * 1000 });

/** A call of the package as a promise of the answer's body. */
function call(method, ...args) {
  return new Promise((done, failed) => {
    etcd[method](...args, (error, body) => (error ? failed(error) : done(body)));
  });
}

/** Refused with that code of etcd 2. */
async function refused(code, method, ...args) {
  await assert.rejects(call(method, ...args), (error) => (error.errorCode ?? error.error?.errorCode) === code);
}

async function putByThree(key, value) {
  const base64 = (text) => Buffer.from(text).toString("base64");
  const body = JSON.stringify({ key: base64(key), value: base64(value) });
  const answer = await fetch(`${url}/v3/kv/put`, { method: "POST", body });
  assert.equal(answer.status, 200);
}

async function main() {
  assert.equal((await call("set", "n/1", "one")).action, "set");
  assert.equal((await call("get", "n/1")).node.value, "one");
  assert.equal((await call("create", "n/queue", "x")).action, "create");
  await call("mkdir", "n/dir");
  await refused(105, "set", "n/1", "x", { prevExist: false });
  await refused(101, "compareAndSwap", "n/1", "two", "other");
  assert.equal((await call("compareAndSwap", "n/1", "two", "one")).action, "compareAndSwap");
  await refused(100, "get", "n/none");
  const listed = await call("get", "n", { recursive: true });
  assert.deepEqual(listed.node.nodes.map((node) => node.key).sort(), ["/n/1", "/n/dir", "/n/queue"]);
  const ttl = await call("set", "n/ttl", "x", { ttl: 500 });
  assert.ok(ttl.node.ttl > 400 && ttl.node.ttl <= 500);

  // A watcher of the package goes on by itself from one event to the next, whichever version wrote.
  const watcher = etcd.watcher("n/w", ttl.node.modifiedIndex + 1, { recursive: true });
  const seen = [];
  const all = new Promise((done, failed) => {
    watcher.on("error", failed);
    watcher.on("change", (event) => {
      seen.push(`${event.node.key}=${event.node.value}`);
      if (seen.length === 3) done();
    });
  });
  await call("set", "n/w/1", "a");
  await putByThree("/n/w/2", "b");
  await call("set", "n/w/3", "c");
  await all;
  watcher.stop();
  assert.deepEqual(seen, ["/n/w/1=a", "/n/w/2=b", "/n/w/3=c"]);

  await refused(101, "compareAndDelete", "n/1", "other");
  assert.equal((await call("compareAndDelete", "n/1", "two")).action, "compareAndDelete");
  await call("rmdir", "n", { recursive: true });
  await refused(100, "get", "n");
  assert.equal((await call("selfStats")).state, "StateLeader");
  console.log("all is well");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
