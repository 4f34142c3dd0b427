"""aiometer over httpx, as its documentation shows: bounded, and with ``--rate`` evenly spaced."""

from __future__ import annotations

import aiometer
import httpx

from benchmarks.peers.common import KEY, Options, Told, documents, run, url_of


async def work(given: Options) -> Told:
    told = Told()
    limits = httpx.Limits(max_connections=given.connections, max_keepalive_connections=given.connections)
    headers = {"Authorization": f"Bearer {KEY}"}
    timeout = httpx.Timeout(given.timeout, pool=None)
    per_second = None if given.rate is None else given.rate[0] / given.rate[1]
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=timeout, trust_env=False) as client:

        async def delete(document: str) -> int:
            return (await client.delete(url_of(given, document))).status_code

        async with aiometer.amap(
            delete, list(documents(given.documents)), max_at_once=given.connections, max_per_second=per_second
        ) as answers:
            async for answer in answers:
                if answer == 204:
                    told.gone += 1
                else:
                    told.failed += 1
    return told


if __name__ == "__main__":
    run(work)
