// The etcd3 package of npm, over gRPC, at 127.0.0.1:<port>.
const assert = require("node:assert");
const { Etcd3 } = require("etcd3");

async function main() {
  const client = new Etcd3({ hosts: `http://127.0.0.1:${process.argv[2]}` });
  await client.put("n/1").value("one");
  await client.put("n/2").value("two");
  assert.equal(await client.get("n/1").string(), "one");
  assert.equal(await client.get("none").string(), null);
  assert.deepEqual(await client.getAll().prefix("n/").strings(), { "n/1": "one", "n/2": "two" });
  assert.deepEqual(await client.getAll().prefix("n/").sort("Key", "Descend").keys(), ["n/2", "n/1"]);
  assert.equal(await client.getAll().prefix("n/").count(), 2);

  const outcome = await client
    .if("n/1", "Value", "==", "one")
    .then(client.put("n/3").value("three"))
    .else(client.delete().key("n/1"))
    .commit();
  assert.ok(outcome.succeeded);

  const lease = client.lease(30);
  await lease.put("n/leased").value("x");
  assert.equal(await client.get("n/leased").string(), "x");
  await lease.revoke();
  assert.equal(await client.get("n/leased").string(), null);

  const watcher = await client.watch().prefix("v/").create();
  const seen = new Promise((done) => watcher.on("put", done));
  await client.put("v/1").value("x");
  assert.equal((await seen).value.toString(), "x");
  await watcher.cancel();

  await client.lock("door").do(async () => {
    await assert.rejects(client.lock("door").ttl(5).acquire());
  });

  const election = client.election("chief", 30);
  const campaign = election.campaign("me");
  await campaign.wait();
  const observer = await election.observe();
  assert.equal(observer.leader(), "me");
  await observer.cancel();
  await campaign.resign();

  assert.equal((await client.cluster.memberList({})).members.length, 1);
  assert.ok((await client.maintenance.status()).version.startsWith("3."));
  assert.equal((await client.delete().prefix("n/")).deleted, "3");
  client.close();
  console.log("all is well");
}

main().then(() => process.exit(0), (cause) => { console.error(cause); process.exit(1); });
