"""bulkdel and a bare aiohttp pool by turns in one process and one loop: what else the machine does meets both alike.

Each holds its session over all turns, so that the documents are all that is measured. A turn of the bare pool comes before and
after each turn of another: that one is set against both. Prints one JSON line with the turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import aiohttp

from benchmarks.peers.common import DATASET, KEY, documents, options, runner, url_of
from bulkdel import Client, Dify, Limits, Policy, Target
from bulkdel.providers.protocol import Answer, Request
from bulkdel.wire import HttpWire


def targets(n: int) -> Iterator[Target]:
    for document in documents(n):
        yield Target("dify", DATASET, document)


async def duel(given: argparse.Namespace) -> list[tuple[str, float, float]]:
    """The turns of ``given.documents`` in their order, every second one the bare pool's: contender, wall and CPU seconds."""
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=given.connections)
        headers = {"Authorization": f"Bearer {KEY}"}
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, headers=headers))
        dify = Dify(KEY, given.base_url, limits=Limits(concurrency=given.connections))
        client = await stack.enter_async_context(Client(dify, policy=Policy(indexing="delete")))
        wire = await stack.enter_async_context(HttpWire(dify, connections=given.connections))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bulkdel-duel-"))

        async def pool(delete: Callable[[str], Awaitable[bool]]) -> int:
            left, gone = documents(given.documents), 0

            async def worker() -> None:
                nonlocal gone
                for document in left:
                    deleted = await delete(document)
                    gone += deleted

            await asyncio.gather(*(worker() for _ in range(given.connections)))
            return gone

        async def bare(document: str) -> bool:
            async with session.delete(url_of(given, document)) as response:
                await response.read()
                return response.status == 204

        async def wired(document: str) -> bool:
            request = Request("DELETE", f"/datasets/{DATASET}/documents/{document}")
            reply = await wire.send(request, timeout=60.0, connect_timeout=10.0)
            return isinstance(reply, Answer) and reply.status == 204

        async def settle() -> int:
            gone = 0
            async with client.settle(targets(given.documents)) as outcomes:
                async for settled in outcomes:
                    gone += settled.status == "fulfilled"
            return gone

        async def recorded() -> int:
            path = os.path.join(folder, f"{time.monotonic_ns()}.db")
            return (await client.delete(targets(given.documents), run=path)).deleted

        async def turn(name: str, work: Callable[[], Awaitable[int]]) -> tuple[str, float, float]:
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            gone = await work()
            took = time.perf_counter() - wall, time.process_time() - cpu
            if gone != given.documents:
                raise RuntimeError(f"{name}: {gone} of {given.documents} are gone")
            return (name, *took)

        others = (("wire", lambda: pool(wired)), ("settle", settle), ("run", recorded))
        turns = [await turn("bare", lambda: pool(bare))]
        for number in range(given.rounds + 1):
            for name, work in others:
                turns.append(await turn(name, work))
                turns.append(await turn("bare", lambda: pool(bare)))
            if number == 0:  # for warming up
                del turns[:-1]
        return turns


if __name__ == "__main__":
    parser = options()
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    with runner(given.loop) as loop:
        print(json.dumps(loop.run(duel(given))))
