"""httpx with one task for each document; its pool is as large as everybody's."""

from __future__ import annotations

import asyncio

import httpx

from benchmarks.peers.common import KEY, Options, Told, documents, run, url_of


async def work(given: Options) -> Told:
    told = Told()
    limits = httpx.Limits(max_connections=given.connections, max_keepalive_connections=given.connections)
    headers = {"Authorization": f"Bearer {KEY}"}
    # pool=None: who waits for a connection of the pool has not been sent, and would time out for nothing.
    timeout = httpx.Timeout(given.timeout, pool=None)
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=timeout, trust_env=False) as client:

        async def delete(document: str) -> int:
            return (await client.delete(url_of(given, document))).status_code

        answers = await asyncio.gather(*map(delete, documents(given.documents)), return_exceptions=True)
    told.gone = sum(answer == 204 for answer in answers)
    told.failed = given.documents - told.gone
    return told


if __name__ == "__main__":
    run(work)
