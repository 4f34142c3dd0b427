"""Limiters over each kind of store, on a virtual clock; a real Redis answers in virtual time and is given the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from redis import Redis

from bulkdel.limits import Limiter, MemoryStore
from bulkdel.limits.file_store import FileStore
from bulkdel.limits.redis_store import LUA, RedisStore, keys
from bulkdel.model import Rate
from tests.distributed.redis_server import RedisServer
from tests.limits.departures import now

Kind = Literal["memory", "file", "redis"]
KEY = "0123456789abcdef"
EPOCH_US = 1_700_000_000_000_000


class VirtualRedis(RedisStore):
    """A store whose Redis is asked directly. ``latency`` is in virtual seconds each way; ``away`` says why there is no answer."""

    def __init__(self, client: Redis, scope: str = KEY, *, latency: float = 0.0001, **options: Any) -> None:
        super().__init__("redis://redis.example", scope, **options)
        self._lua = client.register_script(LUA)
        self._client, self._scope = client, scope
        self.latency, self.away, self.tries, self.skew = latency, "", 0, 0.0

    async def run(self, arguments: list[str]) -> Any:
        self.tries += 1
        await asyncio.sleep(self.latency)
        if self.away:
            raise ConnectionError(self.away)
        now_us = EPOCH_US + round((now() + self.skew) * 1e6)
        reply = self._lua(keys=keys(self._scope), args=[*arguments[:-1], now_us])
        await asyncio.sleep(self.latency)
        return reply

    async def aclose(self) -> None:
        self._client.hdel(keys(self._scope)[1], self._name)


def file_store(folder: Path, key: str = KEY) -> FileStore:
    loop = asyncio.get_running_loop()
    return FileStore(folder, key, monotonic=loop.time, wall=lambda: 1e9 + loop.time())


Make = Callable[..., Limiter]
"""Makes one more limiter of the same limit, as another process would: ``make(rate, key=…)``."""


def maker(kind: Kind, folder: Path, client: Redis | None) -> Make:
    """Limiters that share one limit; those in memory are each alone."""

    def make(rate: Rate | None, key: str = KEY) -> Limiter:
        match kind:
            case "memory":
                return Limiter(MemoryStore(), rate)
            case "file":
                return Limiter(file_store(folder, key), rate)
            case "redis":
                assert client is not None
                return Limiter(VirtualRedis(client, key), rate)

    return make


@pytest.fixture
def client(redis_server: RedisServer) -> Any:
    with redis_server.client() as client:
        yield client


@pytest.fixture(params=["memory", "file", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A maker of limiters over each kind of store."""
    redis = request.getfixturevalue("client") if request.param == "redis" else None
    return maker(request.param, tmp_path, redis)


@pytest.fixture(params=["file", "redis"])
def share(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """A maker of limiters that share one limit."""
    redis = request.getfixturevalue("client") if request.param == "redis" else None
    return maker(request.param, tmp_path, redis)


async def demand(limiters: list[Limiter], seconds: float, workers: int = 2, work: float = 0.0) -> list[list[float]]:
    """When each got its permits under lasting demand; a worker is busy for ``work`` seconds behind each."""
    times: list[list[float]] = [[] for _ in limiters]

    async def worker(limiter: Limiter, got: list[float]) -> None:
        while True:
            if not limiter.try_acquire():
                await limiter.acquire()
            got.append(now())
            await asyncio.sleep(work)

    tasks = [
        asyncio.create_task(worker(limiter, got))
        for limiter, got in zip(limiters, times, strict=True)
        for _ in range(workers)
    ]
    _, pending = await asyncio.wait(tasks, timeout=seconds)
    for task in pending:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    return times
