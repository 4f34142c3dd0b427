"""Whole runs whose limit is kept in Redis, on a virtual clock: two clients and one service, and a Redis that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from bulkdel import Client, Dify, Limits, Rate
from bulkdel.distributed.limit import RedisPacer
from bulkdel.limits import MakePacer
from bulkdel.limits.joint import joint_bucket
from bulkdel.providers.protocol import Provider
from bulkdel.simulator import DifySimulator, Faults
from tests import virtual
from tests.distributed.direct import DirectLink
from tests.distributed.redis_server import RedisServer
from tests.engine.world import Service, client, provider, targets
from tests.limits.departures import worst


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


def over(links: list[DirectLink], redis: Redis) -> MakePacer:
    """Pacers over the script in this Redis; their links are added to ``links``."""

    def make(provider: Provider, rate: Rate | None) -> RedisPacer:
        links.append(DirectLink(redis, provider.fingerprint))
        return RedisPacer(rate, links[-1])

    return make


def test_two_runs_and_one_service_with_a_limit(redis: Redis) -> None:
    """Two clients with one key purge a dataset each: the simulated Dify refuses nothing, and both end as fast as one may."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        faults = Faults(rate_limit=50, rate_window=1.0, latency=0.01)
        async with DifySimulator(documents=100, datasets=2, faults=faults) as simulator:

            async def purge(dataset: str) -> None:
                dify = Dify(simulator.key, simulator.base_url, limits=Limits(rate=Rate(50), concurrency=4))
                async with Client(dify, pacer=over([], redis)) as opened:
                    report = await opened.purge("dify", dataset)
                    assert report.ok
                    assert report.pauses == 0

            began = loop.time()
            await asyncio.gather(*map(purge, simulator.dataset_ids))
            took = loop.time() - began
            assert simulator.refused == 0
            assert worst([request.at for request in simulator.requests], 1.0) <= 50
            assert took <= len(simulator.requests) / (0.94 * 50) + 1

    virtual.run(main)


def test_redis_gone_stops_the_run_and_it_can_go_on(redis: Redis, tmp_path: Path) -> None:
    """Redis goes for good: no request leaves after the last lease, the run stops with exit 4, and a resume does the rest."""
    service, links, run = Service(), list[DirectLink](), tmp_path / "run.db"
    asked = targets(service.fill(400))
    gone_at, said = list[float](), list[str]()

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def goes() -> None:
            links[0].away = "connection refused"
            gone_at.append(loop.time())
            loop.call_later(30, lambda: said.append(opened.progress()[0].why))

        service.when[100] = goes
        async with client(service, providers=[provider(rate=Rate(50))], pacer=over(links, redis)) as opened:
            report = await opened.delete(asked, run=run)
        assert said == ["the limiter is away: the Redis at a test's Redis: connection refused"]
        assert (report.status, report.exit_status) == ("stopped", 4)
        assert report.counts.deleted + report.counts.not_attempted == 400
        assert report.counts.not_attempted > 200
        assert 60 <= loop.time() - gone_at[0] <= 70
        last = max(sent.at for sent in service.sent)
        assert last <= gone_at[0] + joint_bucket(Rate(50)).hold
        before = len(service.sent)
        async with client(service, providers=[provider(rate=Rate(50))], pacer=over(links, redis)) as opened:
            again = await opened.resume(run)
        assert again.ok
        assert len(service.sent) - before == report.counts.not_attempted

    virtual.run(main)
    assert service.held == {}


def test_refused_together_both_adapt_once(redis: Redis) -> None:
    """Nobody knows the limit: what one of two runs learns from a refusal is in force for both, and few requests are refused."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        faults = Faults(rate_limit=100, rate_window=1.0, rate_style="429-retry-after", latency=0.01)
        async with DifySimulator(documents=500, datasets=2, faults=faults) as simulator:
            links: list[DirectLink] = []

            async def purge(dataset: str) -> None:
                dify = Dify(simulator.key, simulator.base_url, limits=Limits(concurrency=4))
                async with Client(dify, pacer=over(links, redis)) as opened:
                    report = await opened.purge("dify", dataset)
                    assert report.ok

            await asyncio.gather(*map(purge, simulator.dataset_ids))
            assert 0 < simulator.refused <= 0.05 * len(simulator.requests)
            rates = [look.rate for link in links for look in link.looks if look.rate is not None]
            assert rates
            # One strike for what was refused together: a second one would have halved what was seen to pass.
            assert min(rate.per_second for rate in rates) >= 40
            assert loop.time() > virtual.START

    virtual.run(main)
