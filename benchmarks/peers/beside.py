"""bulkdel with a bare aiohttp pool beside it, by turns in one process: ``--mode settle`` or ``run``.

After every ``TURN`` requests of bulkdel's the pool deletes a few documents: how fast the machine's CPU is at that moment. A million
documents take two minutes, in which what else the machine does changes, and bulkdel is not to be blamed for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

import bulkdel.purging.session  # noqa: F401  imported before the clock runs
from benchmarks.peers.common import KEY, Options, Told, documents, run, url_of
from benchmarks.peers.ours import targets
from bulkdel import Client, Dify, Limits
from bulkdel.providers.protocol import Reply, Request, Wire
from bulkdel.wire import HttpWire

TURN = 5_000
POOL = 1_000
AFTERWARDS_S = 0.15
"""What was answered is written down and handed on within 0.1 s: that is still bulkdel's turn."""


class Turns:
    """A wire that stands still after every turn until the pool has had its own."""

    def __init__(self, given: Options, session: aiohttp.ClientSession) -> None:
        self.wire: Wire
        self.cpu_s = 0.0  # the pool's
        self.deleted = 0  # by the pool
        self._given = given
        self._session = session
        self._left = TURN
        self._flying = 0
        self._open = asyncio.Event()
        self._open.set()
        self._turn: asyncio.Task[None] | None = None

    async def send(self, request: Request, *, timeout: float, connect_timeout: float) -> Reply:
        while not self._left:
            await self._open.wait()
        self._left -= 1
        if not self._left:
            self._open.clear()
        self._flying += 1
        try:
            return await self.wire.send(request, timeout=timeout, connect_timeout=connect_timeout)
        finally:
            self._flying -= 1
            if not self._left and not self._flying:
                self._turn = asyncio.create_task(self._pools_turn())

    async def _pools_turn(self) -> None:
        await asyncio.sleep(AFTERWARDS_S)
        await self.pool()
        self._left = TURN
        self._open.set()

    async def pool(self) -> None:
        left = documents(POOL)

        async def worker() -> None:
            for document in left:
                async with self._session.delete(url_of(self._given, document)) as response:
                    await response.read()

        before = time.process_time()
        await asyncio.gather(*(worker() for _ in range(self._given.connections)))
        self.cpu_s += time.process_time() - before
        self.deleted += POOL


async def work(given: Options) -> Told:
    told = Told()
    connector = aiohttp.TCPConnector(limit=given.connections)
    dify = Dify(KEY, given.base_url, limits=Limits(concurrency=given.connections))
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {KEY}"}) as session:
        turns = Turns(given, session)

        @asynccontextmanager
        async def connect(_: object) -> AsyncIterator[Wire]:
            async with HttpWire(dify, connections=given.connections) as turns.wire:
                yield turns

        for _ in range(3):  # the first makes the connections
            turns.cpu_s, turns.deleted = 0.0, 0
            await turns.pool()
        before = time.process_time() - turns.cpu_s
        async with Client(dify, connect=connect) as client:
            if given.mode == "settle":
                async with client.settle(targets(given.documents)) as outcomes:
                    async for settled in outcomes:
                        told.gone += settled.status == "fulfilled"
            else:
                report = await client.delete(targets(given.documents), run=given.run)
                told.gone = report.deleted
        await turns.pool()
        told.failed = given.documents - told.gone
        ours = time.process_time() - before - turns.cpu_s
        told.words = {"ours_s": ours, "pool_us": turns.cpu_s / turns.deleted * 1e6}
    return told


if __name__ == "__main__":
    run(work)
