"""aiohttp as most people write it: one task for each document, and ``asyncio.gather`` over all of them."""

from __future__ import annotations

import asyncio

import aiohttp
from aiolimiter import AsyncLimiter

from benchmarks.peers.common import KEY, Options, Told, documents, run, url_of


async def work(given: Options) -> Told:
    """With ``--rate`` each task takes a permit of an ``AsyncLimiter`` first, as its documentation shows."""
    told = Told()
    limiter = None if given.rate is None else AsyncLimiter(*given.rate)
    connector = aiohttp.TCPConnector(limit=given.connections)
    headers = {"Authorization": f"Bearer {KEY}"}
    timeout = aiohttp.ClientTimeout(total=given.timeout)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:

        async def delete(document: str) -> int:
            if limiter is not None:
                await limiter.acquire()
            async with session.delete(url_of(given, document)) as response:
                await response.read()
                return response.status

        answers = await asyncio.gather(*map(delete, documents(given.documents)), return_exceptions=True)
    told.gone = sum(answer == 204 for answer in answers)
    told.failed = given.documents - told.gone
    return told


if __name__ == "__main__":
    run(work)
