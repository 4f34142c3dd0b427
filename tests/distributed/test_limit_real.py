"""The pacer over a real connection: processes on hosts with wrong clocks, a Redis that restarts, stands still, or refuses us."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import quote

import pytest

from bulkdel import Client, Dify, Limits
from bulkdel.distributed import redis_pacer
from bulkdel.distributed.limit import RedisPacer
from bulkdel.distributed.link import RedisLink, address
from bulkdel.errors import ConfigurationError
from bulkdel.limits import PacerLost
from bulkdel.model import Rate
from bulkdel.simulator import DifySimulator
from tests.distributed.redis_server import RedisServer
from tests.limits.departures import worst

STUCK_S = 120.0
"""What has not come by then never will; it measures nothing."""


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds: what happens in another process wakes nobody here."""
    async with asyncio.timeout(STUCK_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def test_processes_on_hosts_whose_clocks_are_off_keep_one_limit(redis_server: RedisServer) -> None:
    """Three processes, one a day ahead and one an hour behind: together they keep the limit in any window, and each gets some."""
    rate, seconds = Rate(60), 3.0
    words = [
        sys.executable,
        "-m",
        "tests.distributed.child",
        redis_server.url,
        str(rate.n),
        str(rate.per),
        str(seconds),
    ]
    started = [
        subprocess.Popen([*words, str(skew)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for skew in (0.0, 86_400.0, -3_600.0)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    times = [json.loads(process.communicate(timeout=STUCK_S)[0]) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert worst(sorted(time for each in times for time in each), rate.per) <= rate.n
    assert all(times)


@pytest.mark.parametrize("how", ["restarted", "frozen"])
def test_a_redis_that_comes_back_is_waited_for(
    how: str, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis is killed and started again, or answers nothing for a while: no permit meanwhile, one warning, then it goes on."""
    caplog.set_level(logging.INFO, "bulkdel")

    async def main() -> None:
        pacer = RedisPacer(Rate(200), RedisLink(own_redis.url, "scope"))
        for _ in range(20):
            await pacer.acquire()
        own_redis.stop() if how == "restarted" else own_redis.freeze()
        waiter = asyncio.create_task(_endless(pacer, got := []))
        await until(lambda: pacer.trouble)
        before = len(got)
        assert pacer.trouble.startswith(f"the limiter is away: the Redis at 127.0.0.1:{own_redis.port}/0: ")
        assert not pacer.try_acquire()
        own_redis.start() if how == "restarted" else own_redis.thaw()
        assert len(got) == before
        await until(lambda: len(got) > before + 20)
        assert pacer.trouble == ""
        waiter.cancel()
        await asyncio.wait([waiter])
        await pacer.aclose()

    asyncio.run(main())
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in said] == ["WARNING", "INFO"]
    assert said[0][1].startswith("nothing is sent until the limiter is back: ")


async def _endless(pacer: RedisPacer, got: list[None]) -> None:
    while True:
        await pacer.acquire()
        got.append(None)


def test_closing_beside_a_redis_that_stands_still_ends(own_redis: RedisServer) -> None:
    """Redis answers nothing any more: taking leave is given up, and the pacer closes."""

    async def main() -> None:
        pacer = RedisPacer(Rate(200), RedisLink(own_redis.url, "scope"))
        await pacer.acquire()
        own_redis.freeze()
        async with asyncio.timeout(STUCK_S):
            await pacer.aclose()
        own_redis.thaw()

    asyncio.run(main())


def test_a_redis_that_is_flushed_grants_no_burst(redis_server: RedisServer) -> None:
    """It forgets everything again and again while permits are taken: any window keeps the limit, and it goes on."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        pacers = [RedisPacer(Rate(100), RedisLink(redis_server.url, "scope")) for _ in range(2)]
        times: list[float] = []

        async def worker(pacer: RedisPacer) -> None:
            while True:
                await pacer.acquire()
                times.append(loop.time())

        tasks = [asyncio.create_task(worker(pacer)) for pacer in pacers]
        for count in range(20, 160, 20):
            await until(lambda count=count: len(times) >= count)  # type: ignore[misc]
            redis_server.flush()
        await until(lambda: len(times) >= 200)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for pacer in pacers:
            await pacer.aclose()
        return times

    assert worst(asyncio.run(main()), 1.0) <= 100


def test_a_refused_password_is_said_at_once_and_not_shown(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis wants another password: no wait for what will not mend, and the password is in no message."""
    secret = "correct-horse/battery?"
    with own_redis.client() as client:
        client.config_set("requirepass", "another")

    async def main() -> None:
        url = f"redis://:{quote(secret, safe='')}@127.0.0.1:{own_redis.port}/0"
        pacer = RedisPacer(Rate(10), RedisLink(url, "scope"))
        with pytest.raises(PacerLost, match="refuses the password") as lost:
            await pacer.acquire()
        shown = f"{lost.value} {lost.value.hint} {pacer.trouble} {pacer!r} {caplog.text}"
        assert f"127.0.0.1:{own_redis.port}" in shown
        assert secret not in shown
        assert quote(secret, safe="") not in shown
        await pacer.aclose()

    asyncio.run(main())


def test_nobody_there_ends_the_wait_after_the_patience() -> None:
    """No Redis at that address: the limit is lost after the patience, and closing is quick."""

    async def main() -> None:
        pacer = RedisPacer(None, RedisLink("redis://127.0.0.1:1/0", "scope"), patience=0.3)
        with pytest.raises(PacerLost, match=r"could not be kept for 0\.3 s: the Redis at 127\.0\.0\.1:1/0: "):
            await pacer.acquire()
        await pacer.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("url", ["", "localhost", "http://:secret@localhost", "redis://:secret@localhost:port/0"])
def test_what_is_no_url_of_a_redis_is_refused(url: str) -> None:
    """Another scheme, or a port that is none, is the caller's mistake; a password in it is not repeated."""
    with pytest.raises(ConfigurationError) as error:
        RedisLink(url, "scope")
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


def test_no_key_is_in_redis(redis_server: RedisServer) -> None:
    """After a purge whose limit was kept there, neither a name nor a value holds the provider's key; the scope is its fingerprint."""

    async def main() -> str:
        async with DifySimulator(documents=30) as simulator:
            dify = Dify(simulator.key, simulator.base_url, limits=Limits(rate=Rate(500), concurrency=4))
            async with Client(dify, pacer=redis_pacer(redis_server.url)) as client:
                report = await client.purge("dify", *simulator.dataset_ids)
                assert report.ok
                with redis_server.client() as redis:
                    held = {key: redis.hgetall(key) for key in redis.scan_iter()}
            assert sorted(held) == [
                f"{{bulkdel:{dify.fingerprint}}}:limit",
                f"{{bulkdel:{dify.fingerprint}}}:members",
            ]
            assert simulator.key not in repr(held)
            return repr(held)

    assert "500.0 1.0" in asyncio.run(main())
