"""The limit that machines share, on a virtual clock over a real Redis: a Redis that is away, slow, flushed, or has its clock set."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from bulkdel import Client, Dify, Limits
from bulkdel.errors import ConfigurationError
from bulkdel.limits import Limiter, LimiterUnavailable, MakeLimiter, shared_bucket
from bulkdel.limits.redis_store import RedisStore, address, keys, limit_words, read
from bulkdel.model import Rate
from bulkdel.providers.protocol import Provider
from bulkdel.simulator import DifySimulator, Faults
from tests import virtual
from tests.distributed.redis_server import RedisServer
from tests.engine.world import Service, provider, targets
from tests.engine.world import client as over_wire
from tests.limits.departures import now, worst
from tests.limits.stores import KEY, VirtualRedis, client, demand

__all__ = ["client"]


# ---------------------------------------------------------------------- Redis away


@pytest.mark.parametrize("rate", [Rate(100), None], ids=["limit", "no limit"])
def test_while_redis_is_away_nothing_leaves(rate: Rate | None, client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Redis goes away and comes back: no permit in between, one warning, the reason in words; then it goes on."""
    said: list[str] = []

    async def main() -> int:
        store = VirtualRedis(client)
        limiter, loop, began = Limiter(store, rate), asyncio.get_running_loop(), now()

        def returns() -> None:
            said.append(limiter.trouble)
            store.away = ""

        loop.call_later(5, setattr, store, "away", "connection refused")
        loop.call_later(45, returns)
        ((times),) = await demand([limiter], 60, workers=1, work=0.003)
        times = [time - began for time in times]
        assert not [time for time in times if 5.6 < time < 45]
        assert [time for time in times if 45 <= time < 48]
        assert limiter.trouble == ""
        await limiter.aclose()
        return store.tries

    assert virtual.run(main()) <= 60 / 0.5 + 60 * 100
    assert said == ["the limiter is away: the Redis at redis.example:6379: connection refused"]
    assert [record.levelname for record in caplog.records if record.levelname == "WARNING"] == ["WARNING"]


def test_redis_gone_for_good_ends_the_wait(client: Redis) -> None:
    """After the patience every waiter gets an error; a later caller waits anew, and goes on when Redis is back."""

    async def main() -> None:
        store = VirtualRedis(client)
        limiter = Limiter(store, Rate(100))
        await limiter.acquire()
        store.away, before = "connection refused", store.tries
        await asyncio.sleep(1000)  # no caller waits: nothing is lost
        assert store.tries - before < 10
        began = now()
        ends = await asyncio.gather(*(limiter.acquire() for _ in range(5)), return_exceptions=True)
        assert [type(end) for end in ends] == [LimiterUnavailable] * 5
        assert 60 <= now() - began <= 65
        assert "could not be kept for 60 s: the Redis at redis.example:6379: connection refused" in str(ends[0])
        await asyncio.sleep(15)
        asyncio.get_running_loop().call_later(30, setattr, store, "away", "")
        await limiter.acquire()
        assert limiter.trouble == ""

    virtual.run(main())


def test_answers_that_come_too_late_are_said(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis whose answers take longer than a lease may lie: nothing leaves, it is said in words, and the wait ends."""

    async def main() -> None:
        limiter = Limiter(VirtualRedis(client, latency=0.02, patience=30.0), Rate(100))
        with pytest.raises(LimiterUnavailable, match="answers take 40 ms, more than 10 ms"):
            await limiter.acquire()
        assert "redis.example" in limiter.trouble

    virtual.run(main())
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_redis_that_is_far_is_used(client: Redis) -> None:
    """With 4 ms to Redis and back, nineteen in twenty of 2,000 a second leave: the bucket holds what comes in meanwhile."""

    async def main() -> list[float]:
        (times,) = await demand([Limiter(VirtualRedis(client, latency=0.002), Rate(2000))], 2)
        return times

    times = virtual.run(main())
    assert worst(times, 1.0) <= 2000
    assert len(times) >= 0.94 * 4000


def test_a_pause_outlives_a_flush(client: Redis) -> None:
    """Redis forgets everything in the midst of a pause: a process that knows of it says it again, and one that comes later hears it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, later = (
            [Limiter(VirtualRedis(client), Rate(100)) for _ in range(2)],
            Limiter(VirtualRedis(client), Rate(100)),
        )
        began = now()
        loop.call_later(1.0, first[0].pause, 60.0)
        loop.call_later(2.0, client.flushall)
        task = asyncio.create_task(demand(first, 50.0))
        await asyncio.sleep(10)
        assert await demand([later], 30.0) == [[]]
        for each in await task:
            assert each
            assert not [time for time in each if time > began + 1.1]

    virtual.run(main())


def test_a_flush_grants_no_burst(client: Redis) -> None:
    """Redis forgets everything again and again while permits are taken: any window keeps the limit, and it goes on."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        for k in range(40):
            loop.call_later(0.25 * k, client.flushall)
        times = await demand([Limiter(VirtualRedis(client), Rate(100)) for _ in range(2)], 10)
        return sorted(time for each in times for time in each)

    times = virtual.run(main())
    assert worst(times, 1.0) <= 100
    assert len(times) >= 0.8 * 1000


@pytest.mark.parametrize("back", [0.5, 3600.0, 86_400.0 * 400])
def test_a_clock_that_is_set_back_stalls_nobody(back: float, client: Redis) -> None:
    """Redis' host sets its clock back: the pause grows by one claim's time at most, and permits come as after an empty bucket."""

    async def main() -> None:
        store = VirtualRedis(client)
        limiter = Limiter(store, Rate(100))
        await demand([limiter], 1)
        limiter.pause(30)
        waiter = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.01)
        store.skew -= back
        begun = now()
        await waiter
        assert 29.9 <= now() - begun <= 36
        (times,) = await demand([limiter], 5)
        assert len(times) >= 0.9 * 500
        assert limiter.processes == 1

    virtual.run(main())


def test_a_clock_set_forward_gives_one_bucket(client: Redis) -> None:
    """A day forward at once: what leaves in the window around it is at most one full bucket above the limit's own."""

    async def main() -> list[float]:
        store = VirtualRedis(client)
        asyncio.get_running_loop().call_later(1, setattr, store, "skew", 86_400.0)
        (times,) = await demand([Limiter(store, Rate(100))], 2)
        return times

    assert worst(virtual.run(main()), 1.0) <= 100 + shared_bucket(Rate(100)).size


def test_a_crowd_does_not_wear_redis_out(client: Redis) -> None:
    """Twenty processes under one limit: each gets its share, for few claims a permit."""

    async def main() -> tuple[list[int], int]:
        stores = [VirtualRedis(client) for _ in range(20)]
        times = await demand([Limiter(store, Rate(200)) for store in stores], 4, workers=1)
        return [len(each) for each in times], sum(store.tries for store in stores)

    each, tries = virtual.run(main())
    assert sum(each) >= 0.9 * 800
    assert min(each) >= 0.5 * 40
    assert tries <= 20 * sum(each)


# ---------------------------------------------------------------------- what is kept


def test_all_that_is_kept_is_forgotten_in_the_end(client: Redis) -> None:
    """Both keys of a scope have one tag and a time to live; a process that leaves is no longer in them."""

    async def main() -> None:
        store = VirtualRedis(client)
        limiter = Limiter(store, Rate(100))
        await limiter.acquire()
        bucket, processes = keys(KEY)
        assert set(client.keys()) == {bucket, processes}
        assert bucket.partition("}")[0] == processes.partition("}")[0] == f"{{bulkdel:{KEY}"
        assert min(client.pttl(bucket), client.pttl(processes)) > 0
        await limiter.aclose()
        assert client.hlen(processes) == 0

    virtual.run(main())


@pytest.mark.parametrize("rate", [None, Rate(0.1), Rate(1 / 3, 7.7), Rate(8, 60), Rate(123456.789)])
def test_a_limit_survives_being_written(rate: Rate | None) -> None:
    """The limit that is heard is the one that was said, to the last digit."""
    assert read([0, 0, 0, 1, limit_words(rate).encode()]).rate == rate


@pytest.mark.parametrize("reply", [[], None, 7, [0] * 4, [0, 0, 0, 1, "1"], [None] * 5, ["x"] * 5])
def test_a_reply_that_is_none_is_refused(reply: Any) -> None:
    """Anything else than what the script returns is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        read(reply)


@pytest.mark.parametrize("url", ["", "localhost", "http://:secret@localhost", "redis://:secret@localhost:port/0"])
def test_what_is_no_url_of_a_redis_is_refused(url: str) -> None:
    """Another scheme, or a port that is none, is the caller's mistake; a password in it is not repeated."""
    with pytest.raises(ConfigurationError) as error:
        RedisStore(url, "scope")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "localhost:6379"),
        ("redis://user:pass@[::1]:7000/3", "::1:7000/3"),
        ("rediss://:p%40ss@redis.example.com", "redis.example.com:6379"),
        ("unix://user:pass@/run/redis.sock?db=1", "/run/redis.sock"),
    ],
)
def test_an_address_shows_no_password(url: str, shown: str) -> None:
    """Where a Redis is, for messages."""
    assert address(url) == shown


# ---------------------------------------------------------------------- a real connection

STUCK_S = 120.0
"""What has not come by then never will; it measures nothing."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds: what happens in another process wakes no task here."""
    async with asyncio.timeout(STUCK_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("how", ["restarted", "frozen"])
def test_a_redis_that_comes_back_is_waited_for(
    how: str, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis is killed and started again, or answers nothing for a while: no permit meanwhile, a warning, then it goes on."""
    caplog.set_level(logging.INFO, "bulkdel")

    async def main() -> None:
        limiter, got = Limiter(RedisStore(own_redis.url, "scope"), Rate(200)), list[float]()
        for _ in range(20):
            await limiter.acquire()
        own_redis.stop() if how == "restarted" else own_redis.freeze()

        async def endless() -> None:
            while True:
                await limiter.acquire()
                got.append(now())

        waiter = asyncio.create_task(endless())
        await until(lambda: limiter.trouble)
        before = len(got)
        assert limiter.trouble.startswith(f"the limiter is away: the Redis at 127.0.0.1:{own_redis.port}/0: ")
        own_redis.start() if how == "restarted" else own_redis.thaw()
        await until(lambda: len(got) > before + 20)
        assert limiter.trouble == ""
        waiter.cancel()
        await asyncio.wait([waiter])
        await limiter.aclose()
        await limiter.aclose()

    asyncio.run(main())
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    # On a slow machine Redis may be away more than once: each time one warning, and one line when it is back.
    assert [level for level, _ in said] == ["WARNING", "INFO"] * max(1, len(said) // 2)
    assert said[0][1].startswith("nothing is sent until the limiter is back: ")


def test_closing_beside_a_redis_that_stands_still_ends(own_redis: RedisServer) -> None:
    """Redis answers nothing any more: taking leave is given up, and the limiter closes."""

    async def main() -> None:
        limiter = Limiter(RedisStore(own_redis.url, "scope"), Rate(200))
        await limiter.acquire()
        own_redis.freeze()
        async with asyncio.timeout(STUCK_S):
            await limiter.aclose()
        own_redis.thaw()

    asyncio.run(main())


def test_a_refused_password_is_said_and_not_shown(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Redis wants another password: no wait for what will not mend, and the password is in no message."""
    secret = "correct-horse-battery"
    with own_redis.client() as admin:
        admin.config_set("requirepass", "another")

    async def main() -> None:
        limiter = Limiter(RedisStore(f"redis://:{secret}@127.0.0.1:{own_redis.port}/0", "scope"), Rate(10))
        with pytest.raises(LimiterUnavailable, match="refuses the password") as lost:
            await limiter.acquire()
        shown = f"{lost.value} {lost.value.hint} {limiter.trouble} {limiter!r} {caplog.text}"
        assert f"127.0.0.1:{own_redis.port}" in shown
        assert secret not in shown
        await limiter.aclose()

    asyncio.run(main())


# ---------------------------------------------------------------------- whole runs


def over(stores: list[VirtualRedis], redis: Redis) -> MakeLimiter:
    """Limiters over the script in this Redis; their stores are added to ``stores``."""

    def make(provider: Provider, rate: Rate | None) -> Limiter:
        stores.append(VirtualRedis(redis, provider.fingerprint))
        return Limiter(stores[-1], rate)

    return make


def test_two_runs_and_one_service_with_a_limit(client: Redis) -> None:
    """Two clients with one key purge a dataset each: the simulated Dify refuses nothing, and both end as fast as one may."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        faults = Faults(rate_limit=50, rate_window=1.0, latency=0.01)
        async with DifySimulator(documents=100, datasets=2, faults=faults) as simulator:

            async def purge(dataset: str) -> None:
                dify = Dify(simulator.key, simulator.base_url, limits=Limits(rate=Rate(50), concurrency=4))
                async with Client(dify, limiter=over([], client)) as opened:
                    report = await opened.purge("dify", dataset)
                    assert report.ok
                    assert report.pauses == 0

            began = loop.time()
            await asyncio.gather(*map(purge, simulator.dataset_ids))
            took = loop.time() - began
            assert simulator.refused == 0
            assert worst([request.at for request in simulator.requests], 1.0) <= 50
            assert took <= len(simulator.requests) / (0.94 * 50) + 1.5
            with_key = [key for key in client.scan_iter() if simulator.key in repr((key, client.hgetall(key)))]
            assert with_key == []

    virtual.run(main)


def test_redis_gone_stops_the_run_and_it_can_go_on(client: Redis, tmp_path: Path) -> None:
    """Redis goes for good: no request leaves after the last lease, the run stops with exit 4, and a resume does the rest."""
    service, stores, path = Service(), list[VirtualRedis](), tmp_path / "run.db"
    asked = targets(service.fill(400))
    gone_at = list[float]()

    async def main() -> None:
        def goes() -> None:
            stores[0].away = "connection refused"
            gone_at.append(now())

        service.when[100] = goes
        async with over_wire(service, providers=[provider(rate=Rate(50))], limiter=over(stores, client)) as opened:
            report = await opened.delete(asked, run=path)
        assert (report.status, report.exit_status) == ("stopped", 4)
        assert report.counts.deleted + report.counts.not_attempted == 400
        assert report.counts.not_attempted > 200
        assert 60 <= now() - gone_at[0] <= 70
        assert max(sent.at for sent in service.sent) <= gone_at[0] + shared_bucket(Rate(50)).hold_s
        before = len(service.sent)
        async with over_wire(service, providers=[provider(rate=Rate(50))], limiter=over(stores, client)) as opened:
            again = await opened.resume(path)
        assert again.ok
        deletes = [sent for sent in service.sent[before:] if sent.method == "DELETE"]
        assert len(deletes) == report.counts.not_attempted

    virtual.run(main)
    assert service.held == {}
