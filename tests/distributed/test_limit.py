"""The pacer over Redis: a real Redis and its script, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from redis import Redis

from bulkdel.distributed.limit import FREE_S, RedisPacer
from bulkdel.distributed.script import Ask, Look, keys
from bulkdel.limits import PacerLost
from bulkdel.limits.joint import joint_bucket
from bulkdel.model import Rate
from tests import virtual
from tests.distributed.direct import DirectLink
from tests.distributed.redis_server import RedisServer
from tests.limits.departures import now, worst


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

    virtual.run(main, limit=4 * 3600.0)
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


def test_a_permit_is_never_got_without_redis_having_granted_it(client: Redis) -> None:
    """What is got is no more than what was granted: without waiting only what is in hand, and never more than a lease."""
    link = DirectLink(client)

    async def body(pacers: list[RedisPacer]) -> None:
        (pacer,) = pacers
        assert not pacer.try_acquire()
        got = 0
        for _ in range(200):
            await pacer.acquire()
            got += 1
            while pacer.try_acquire():
                got += 1
        assert got <= sum(look.granted for look in link.looks)

    with_pacers([link], [Rate(1000)], body)


def test_what_lies_of_a_lease_is_lost_with_its_hold(client: Redis) -> None:
    """However many processes have a part of a lease lying, none of it leaves later in a window of its own."""
    links = [DirectLink(client) for _ in range(12)]

    async def body(pacers: list[RedisPacer]) -> None:
        for pacer in pacers:
            await pacer.acquire()  # the first of a lease of several
        await asyncio.sleep(2)
        assert not any(pacer.try_acquire() for pacer in pacers)
        times = await demand(pacers, 1.5)
        assert worst(sorted(time for each in times for time in each), 1.0) <= 1000

    with_pacers(links, [Rate(1000)] * 12, body)


def test_a_lease_that_comes_too_late_is_not_used_and_said(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis whose answers take longer than a lease may lie: nothing leaves, it is said in words, and the wait ends."""
    link = DirectLink(client, latency=0.02)

    async def body(pacers: list[RedisPacer]) -> None:
        (pacer,) = pacers
        with pytest.raises(PacerLost, match="answers take 40 ms, more than 10 ms"):
            await pacer.acquire()
        assert "a test's Redis" in pacer.trouble

    with_pacers([link], [Rate(100)], body, patience=30.0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_pause_is_heard_by_all_with_the_next_lease(client: Redis) -> None:
    """One is refused; within the hold of a lease nobody sends, until the pause is over; then all go on."""
    links = [DirectLink(client) for _ in range(3)]
    hold = joint_bucket(Rate(100)).hold

    async def body(pacers: list[RedisPacer]) -> None:
        loop = asyncio.get_running_loop()
        began = now()
        loop.call_later(2.0, pacers[0].pause, 3.0)
        times = await demand(pacers, 8.0)
        for place, each in enumerate(times):
            late = 0.0 if place == 0 else hold + 0.001
            assert not [time for time in each if began + 2.0 + late < time < began + 5.0]
            assert [time for time in each if time >= began + 5.0]
        assert [pacer.pauses for pacer in pacers] == [1, 1, 1]
        assert worst(sorted(time for each in times for time in each), 1.0) <= 100

    with_pacers(links, [Rate(100)] * 3, body)


def test_a_pause_outlives_a_flush(client: Redis) -> None:
    """Redis forgets everything in the midst of a pause: who knows of it tells it again, and who comes later hears it."""
    links = [DirectLink(client) for _ in range(3)]

    async def body(pacers: list[RedisPacer]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, pacers[0].pause, 60.0)
        loop.call_later(2.0, client.flushall)
        began = now()
        first, later = asyncio.create_task(demand(pacers[:2], 50.0)), pacers[2]
        await asyncio.sleep(10)
        assert await demand([later], 30.0) == [[]]
        for each in await first:
            assert each
            assert not [time for time in each if time > began + 1.1]

    with_pacers(links, [Rate(100)] * 3, body)


def test_refused_together_is_one_complaint(client: Redis) -> None:
    """A pause that another began is known to who heard of it, and counts once for who did not."""
    links = [DirectLink(client) for _ in range(2)]

    async def body(pacers: list[RedisPacer]) -> None:
        one, other = pacers
        for pacer in pacers:
            await pacer.acquire()
        assert one.pause(5.0, since=0)
        assert not one.pause(5.0, since=0)
        waiter = asyncio.create_task(other.acquire())
        await asyncio.sleep(1.0)
        assert other.pauses == 1
        assert other.paused_s > 0
        assert not other.pause(5.0, since=0)
        await asyncio.sleep(20)
        await waiter
        assert not other.pause(1.0, since=0)  # an answer to what was sent before
        await asyncio.sleep(5)
        assert other.pause(1.0, since=other.pauses)
        await asyncio.sleep(0.01)
        assert client.hget(keys("scope")[0], "pauses") == "2"

    with_pacers(links, [Rate(100)] * 2, body)


def test_a_slower_wish_is_kept_by_all(client: Redis) -> None:
    """One adapts its rate: what is in force is the slowest that anyone wants, for all, from the next look on, both ways."""
    links = [DirectLink(client) for _ in range(2)]

    async def body(pacers: list[RedisPacer]) -> None:
        await demand(pacers, 2)
        pacers[0].set_rate(Rate(20))
        await demand(pacers, 1)
        assert [pacer.rate for pacer in pacers] == [Rate(20)] * 2
        times = await demand(pacers, 10)
        assert 0.9 * 200 <= sum(map(len, times)) <= 200
        assert pacers[1].allowed_per_second == pytest.approx(joint_bucket(Rate(20)).per_second / 2)
        pacers[0].set_rate(None)
        await demand(pacers, 2)
        assert [pacer.rate for pacer in pacers] == [Rate(100)] * 2
        times = await demand(pacers, 10)
        assert sum(map(len, times)) >= 0.9 * 1000

    with_pacers(links, [Rate(100)] * 2, body)


def test_without_a_limit_nothing_waits_and_a_pause_is_heard_all_the_same(client: Redis) -> None:
    """Nobody knows a limit: permits cost no look each; another's pause is heard within half a second."""
    links = [DirectLink(client) for _ in range(2)]

    async def body(pacers: list[RedisPacer]) -> None:
        one, other = pacers
        await one.acquire()
        began, tries = now(), links[0].tries
        for _ in range(5000):
            await one.acquire()
            await asyncio.sleep(0.001)
        assert now() - began < 6
        assert links[0].tries - tries <= 12
        assert (one.rate, one.allowed_per_second) == (None, None)
        other.pause(10.0)
        for _ in range(800):
            if not one.try_acquire():
                break
            await asyncio.sleep(0.001)
        assert one.paused_s > 9

    with_pacers(links, [None, None], body)


@pytest.mark.parametrize("rate", [Rate(100), None], ids=["limit", "no limit"])
def test_while_redis_is_away_nothing_leaves(rate: Rate | None, client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Redis goes away and comes back: no permit in between, one warning, the reason in words; then it goes on."""
    link = DirectLink(client)
    seen: list[str] = []

    async def body(pacers: list[RedisPacer]) -> None:
        (pacer,) = pacers
        loop = asyncio.get_running_loop()
        began = now()

        def goes() -> None:
            link.away = "connection refused"

        def returns() -> None:
            seen.append(pacer.trouble)
            link.away = ""

        loop.call_later(5, goes)
        loop.call_later(45, returns)
        times: list[float] = []
        while now() < began + 60:
            await pacer.acquire()
            times.append(now() - began)
            await asyncio.sleep(0.003)
        assert not [time for time in times if 5 + FREE_S + 0.01 < time < 45]
        assert [time for time in times if 45 <= time < 48]
        assert pacer.trouble == ""

    with_pacers([link], [rate], body)
    assert seen == ["the limiter is away: the Redis at a test's Redis: connection refused"]
    assert [record.levelname for record in caplog.records if record.levelname == "WARNING"] == ["WARNING"]
    assert link.tries <= 60 / 0.5 + 60 * 100


def test_redis_gone_for_good_ends_the_wait(client: Redis) -> None:
    """After the patience every waiter hears that the limit is lost; who asks later waits anew, and goes on when it is back."""
    link = DirectLink(client)

    async def body(pacers: list[RedisPacer]) -> None:
        (pacer,) = pacers
        await pacer.acquire()
        link.away = "connection refused"
        await asyncio.sleep(1000)  # nobody waits: nothing is lost
        assert link.tries < 10
        began = now()
        ends = await asyncio.gather(*(pacer.acquire() for _ in range(5)), return_exceptions=True)
        assert [type(end) for end in ends] == [PacerLost] * 5
        assert 60 <= now() - began <= 65
        assert "could not be kept for 60 s: the Redis at a test's Redis: connection refused" in str(ends[0])
        assert not pacer.try_acquire()
        asyncio.get_running_loop().call_later(30, setattr, link, "away", "")
        await pacer.acquire()
        assert pacer.trouble == ""

    with_pacers([link], [Rate(100)], body)


def test_a_cancelled_waiter_holds_up_nobody_and_loses_no_permit(client: Redis) -> None:
    """Waiters are cancelled at every moment of a look: the others go on, and what was granted is got."""
    link = DirectLink(client, latency=0.001)

    async def body(pacers: list[RedisPacer]) -> None:
        (pacer,) = pacers
        got: list[float] = []

        async def one() -> None:
            await pacer.acquire()
            got.append(now())

        for step in range(40):
            first = asyncio.create_task(one())
            second = asyncio.create_task(one())
            await asyncio.sleep(step * 0.0005)
            first.cancel()
            await asyncio.wait([first])
            await asyncio.wait_for(second, 1.0)
        assert pacer.waiting == 0
        assert len(got) >= 40

    with_pacers([link], [Rate(100)], body)


def test_who_leaves_is_no_member_any_more(client: Redis) -> None:
    """Closing takes leave, twice does no harm, and a pacer that was never used has nothing to say."""
    links = [DirectLink(client) for _ in range(3)]

    async def body(pacers: list[RedisPacer]) -> None:
        used, other, _ = pacers
        await used.acquire()
        await other.acquire()
        assert client.hlen(keys("scope")[1]) == 2
        await used.aclose()
        await used.aclose()
        assert client.hlen(keys("scope")[1]) == 1

    with_pacers(links, [Rate(100)] * 3, body)
    assert links[2].tries == 0
    assert client.hlen(keys("scope")[1]) == 0


def test_a_pause_must_be_finite(client: Redis) -> None:
    """A pause without an end, or one that is no number, is a mistake of the caller."""

    async def body(pacers: list[RedisPacer]) -> None:
        for seconds in (float("inf"), float("nan")):
            with pytest.raises(ValueError, match="finite"):
                pacers[0].pause(seconds)

    with_pacers([DirectLink(client)], [Rate(1)], body)


def test_a_bug_in_the_conversation_leaves_nobody_waiting(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the link raises that it should not, waiters hear that the limit is lost."""

    class Broken(DirectLink):
        async def look(self, ask: Ask) -> Look:
            raise KeyError(ask.name)

    async def body(pacers: list[RedisPacer]) -> None:
        with pytest.raises(PacerLost, match="KeyError"):
            await pacers[0].acquire()

    with_pacers([Broken(client)], [Rate(1)], body)
    assert "a bug in the shared limiter" in caplog.text
