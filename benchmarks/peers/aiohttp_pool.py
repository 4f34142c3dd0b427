"""The least that aiohttp can do it with: a fixed pool of workers, each asking for one document after another."""

from __future__ import annotations

import asyncio

import aiohttp

from benchmarks.peers.common import KEY, Options, Told, documents, run, url_of


async def work(given: Options) -> Told:
    told = Told()
    left = documents(given.documents)
    connector = aiohttp.TCPConnector(limit=given.connections)
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {KEY}"}) as session:

        async def worker() -> None:
            for document in left:
                async with session.delete(url_of(given, document)) as response:
                    await response.read()
                    if response.status == 204:
                        told.gone += 1
                    else:
                        told.failed += 1

        await asyncio.gather(*(worker() for _ in range(given.connections)))
    return told


if __name__ == "__main__":
    run(work)
