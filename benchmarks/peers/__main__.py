"""One peer, once: ``python -m benchmarks.peers NAME --base-url … --documents …``. Each imports its library before the clock runs."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from benchmarks.peers.common import DATASET, KEY, Work, documents, measured, options, url_of

HEADERS = {"Authorization": f"Bearer {KEY}"}


def aiohttp_pool() -> Work:
    """The least that aiohttp can do it with: a fixed pool of workers, each asking for one document after another."""
    import aiohttp

    async def work(given: argparse.Namespace) -> int:
        left, gone = documents(given.documents), 0
        connector = aiohttp.TCPConnector(limit=given.connections)
        async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

            async def worker() -> None:
                nonlocal gone
                for document in left:
                    async with session.delete(url_of(given, document)) as response:
                        await response.read()
                        gone += response.status == 204

            await asyncio.gather(*(worker() for _ in range(given.connections)))
        return gone

    return work


def aiohttp_gather() -> Work:
    """aiohttp as most people write it: one task for each document; with ``--rate``, an ``AsyncLimiter`` as its documentation shows."""
    import aiohttp
    from aiolimiter import AsyncLimiter

    async def work(given: argparse.Namespace) -> int:
        limiter: Any = nullcontext() if given.rate is None else AsyncLimiter(given.rate, 1)
        connector = aiohttp.TCPConnector(limit=given.connections)
        async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

            async def delete(document: str) -> int:
                async with limiter, session.delete(url_of(given, document)) as response:
                    await response.read()
                    return response.status

            answers = await asyncio.gather(*map(delete, documents(given.documents)), return_exceptions=True)
        return sum(answer == 204 for answer in answers)

    return work


def httpx_gather() -> Work:
    """httpx with one task for each document; its pool is as large as the others'."""
    import httpx

    async def work(given: argparse.Namespace) -> int:
        async with httpx_client(httpx, given) as client:

            async def delete(document: str) -> int:
                return int((await client.delete(url_of(given, document))).status_code)

            answers = await asyncio.gather(*map(delete, documents(given.documents)), return_exceptions=True)
        return sum(answer == 204 for answer in answers)

    return work


def aiometer_httpx() -> Work:
    """aiometer over httpx, as its documentation shows: bounded, and with ``--rate`` evenly spaced."""
    import aiometer
    import httpx

    async def work(given: argparse.Namespace) -> int:
        gone = 0
        async with httpx_client(httpx, given) as client:

            async def delete(document: str) -> int:
                return int((await client.delete(url_of(given, document))).status_code)

            every = list(documents(given.documents))
            async with aiometer.amap(
                delete, every, max_at_once=given.connections, max_per_second=given.rate
            ) as answers:
                async for answer in answers:
                    gone += answer == 204
        return gone

    return work


def httpx_client(httpx: Any, given: argparse.Namespace) -> Any:
    limits = httpx.Limits(max_connections=given.connections, max_keepalive_connections=given.connections)
    # pool=None: a request that waits for a connection of the pool has not been sent, and would time out for nothing.
    return httpx.AsyncClient(limits=limits, headers=HEADERS, timeout=httpx.Timeout(60.0, pool=None), trust_env=False)


def bulkdel() -> Work:
    """bulkdel itself: streamed, or with ``--run`` into a run file on disk."""
    import bulkdel.client
    import bulkdel.store.recorded
    import bulkdel.wire  # noqa: F401
    from bulkdel import Client, Dify, Limits, Policy, Rate, Target

    def targets(n: int) -> Iterator[Target]:
        for document in documents(n):
            yield Target("dify", DATASET, document)

    async def work(given: argparse.Namespace) -> int:
        rate = None if given.rate is None else Rate(given.rate)
        dify = Dify(KEY, given.base_url, limits=Limits(rate=rate, concurrency=given.connections))
        gone = 0
        async with Client(dify, policy=Policy(indexing="delete")) as client:
            if given.run:
                return (await client.delete(targets(given.documents), run=given.run)).deleted
            async with client.settle(targets(given.documents)) as outcomes:
                async for settled in outcomes:
                    gone += settled.status == "fulfilled"
        return gone

    return work


PEERS = {peer.__name__: peer for peer in (aiohttp_pool, aiohttp_gather, httpx_gather, aiometer_httpx, bulkdel)}

if __name__ == "__main__":
    parser = options()
    parser.add_argument("name", choices=PEERS)
    given = parser.parse_args()
    measured(PEERS[given.name](), given)
