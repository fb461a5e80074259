"""The aetcd package, asyncio over gRPC, at 127.0.0.1:<port>."""
import asyncio
import sys

import aetcd


async def main():
    async with aetcd.Client(host="127.0.0.1", port=int(sys.argv[1]), timeout=20) as client:
        await client.put(b"/b/1", b"one")
        found = await client.get(b"/b/1")
        assert (found.value, found.version) == (b"one", 1), found
        assert await client.get(b"/none") is None
        await client.put(b"/b/2", b"two")
        assert [pair.value for pair in await client.get_prefix(b"/b/")] == [b"one", b"two"]
        assert await client.replace(b"/b/1", b"one", b"uno")
        assert await client.delete(b"/b/2")

        ok, _ = await client.transaction(
            compare=[client.transactions.value(b"/b/1") == b"uno"],
            success=[client.transactions.put(b"/b/3", b"three")],
            failure=[],
        )
        assert ok

        lease = await client.lease(60)
        await client.put(b"/leased", b"x", lease=lease)
        assert (await lease.remaining_ttl()) > 0
        await lease.revoke()
        assert await client.get(b"/leased") is None

        watch = await client.watch_prefix(b"/v/")
        await client.put(b"/v/1", b"x")
        async for event in watch:
            assert (event.kind, event.kv.key) == (aetcd.rtypes.EventKind.PUT, b"/v/1"), event
            break
        await watch.cancel()

        async with client.lock(b"gate", ttl=30) as lock:
            assert await lock.is_acquired()
        assert (await client.status()).version.startswith("3.")
    print("all is well")


asyncio.run(main())
