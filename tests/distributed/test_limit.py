"""The pacer over Redis: a real Redis and its script, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from redis import Redis

from bulkdel.distributed.limit import RedisPacer
from bulkdel.model import Rate
from tests import virtual
from tests.distributed.direct import DirectLink
from tests.distributed.redis_server import RedisServer
from tests.pacing.departures import now, worst


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


Body = Callable[[list[RedisPacer]], Awaitable[None]]


def with_pacers(links: list[DirectLink], rates: list[Rate | None], body: Body, *, patience: float = 60.0) -> None:
    """Run ``body`` with a pacer for each link, on a virtual clock; all are closed behind it."""

    async def main() -> None:
        pacers = [RedisPacer(rate, link, patience=patience) for link, rate in zip(links, rates, strict=True)]
        try:
            await body(pacers)
        finally:
            for pacer in pacers:
                await pacer.aclose()

    virtual.run(main)
    assert [link.closed for link in links] == [1] * len(links)


async def demand(pacers: list[RedisPacer], seconds: float, workers: int = 2) -> list[list[float]]:
    """When permits were got by each under lasting demand."""
    times: list[list[float]] = [[] for _ in pacers]

    async def worker(pacer: RedisPacer, got: list[float]) -> None:
        while True:
            await pacer.acquire()
            got.append(now())

    tasks = [
        asyncio.create_task(worker(pacer, got))
        for pacer, got in zip(pacers, times, strict=True)
        for _ in range(workers)
    ]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return times


@pytest.mark.parametrize("latency", [0.0001, 0.002], ids=["near", "far"])
@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize(
    ("rate", "seconds"), [(Rate(8, 60), 1800), (Rate(100, 60), 600), (Rate(10), 60), (Rate(200), 10), (Rate(2000), 2)]
)
def test_all_together_keep_the_limit_and_use_it(
    rate: Rate, seconds: float, processes: int, latency: float, client: Redis
) -> None:
    """No window holds more than the limit, 0.95 of it leave under demand once the bucket is begun, and each gets its share."""
    links = [DirectLink(client, latency=latency) for _ in range(processes)]

    async def body(pacers: list[RedisPacer]) -> None:
        began = now()
        times = await demand(pacers, seconds)
        together = sorted(time for each in times for time in each)
        assert worst(together, rate.per) <= rate.n
        assert together[0] - began > 0
        assert len(together) - 1 >= 0.95 * rate.per_second * (began + seconds - together[0]) - 1
        assert min(map(len, times)) >= 0.7 * len(together) / processes
        assert {pacer.processes for pacer in pacers} == {processes}

    with_pacers(links, [rate] * processes, body)
