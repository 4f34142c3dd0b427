"""The time that is said to be left, against the time that it took: under pauses, slow rates and indexing waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

import pytest

from bulkdel import Policy, Rate, Report
from bulkdel.client import Client
from bulkdel.engine.progress import Progress
from bulkdel.providers.protocol import Reply, Request
from tests import virtual
from tests.engine.world import DATASET, Service, client, error, provider, targets


async def watched(c: Client, call: Coroutine[Any, Any, Report]) -> tuple[list[tuple[float, Progress]], float]:
    """What progress said every half second of a call, and when the call ended."""
    clock = asyncio.get_running_loop().time
    doing = asyncio.ensure_future(call)
    said: list[tuple[float, Progress]] = []
    while not doing.done():
        await asyncio.wait([doing], timeout=0.5)
        said += [(clock(), progress) for progress in c.progress() if progress.phase == "deleting"]
    assert (await doing).ok
    return said, clock()


@pytest.mark.parametrize("rate", [None, Rate(5)])
def test_a_pause_counts_as_itself(rate: Rate | None) -> None:
    """During a pause of ten minutes and ever after, what is said to be left is left, to a tenth and three seconds."""

    async def main() -> None:
        service = Service(latency=0.5)
        ids = service.fill(1_000)
        service.script(ids[300], ["429 long"])
        async with client(service, providers=[provider(rate=rate, concurrency=4)], rng=Random(5)) as c:
            said, ended = await watched(c, c.delete(targets(ids), policy=Policy(max_pause=600.0)))
        pauses = [at for at, progress in said if progress.wait == "pause"]
        assert len(pauses) > 1_000
        for at, progress in said:
            # A pause is not known of before it comes, nor how much slower the rate will be behind it.
            if at > pauses[0]:
                assert progress.eta_s is not None, (at, progress)
                assert abs(at + progress.eta_s - ended) <= 3.0 + 0.1 * (ended - at), (at, ended, progress)

    virtual.run(main())


def test_at_a_slow_rate_the_time_left_does_not_jump() -> None:
    """At eight a minute one document more or less in the last seconds makes no difference of half an hour."""

    async def main() -> None:
        service = Service(latency=0.1)
        ids = service.fill(200)
        async with client(service, providers=[provider(rate=Rate(8, per=60), concurrency=2)]) as c:
            said, ended = await watched(c, c.delete(targets(ids), policy=Policy(indexing="delete")))
        for at, progress in said[120:-1]:
            assert progress.eta_s is not None
            assert abs(at + progress.eta_s - ended) <= 10.0 + 0.1 * (ended - at), (at, ended, progress)

    virtual.run(main())


@pytest.mark.parametrize("rate", [None, Rate(60, per=60)])
def test_nothing_is_said_while_only_indexing_waits_are_left(rate: Rate | None) -> None:
    """How long a service will go on indexing is not known; a look at it, which does go on, says no more."""

    async def main() -> None:
        service = Service(latency=0.4)
        service.fill(20)
        service.fill(10, display_status="indexing", indexing_status="indexing")
        loop = asyncio.get_running_loop()

        def ready() -> None:
            for row in service.held.values():
                row["display_status"] = row["indexing_status"] = "completed"

        began = loop.time()
        loop.call_later(300.0, ready)
        async with client(service, providers=[provider(rate=rate, concurrency=2)]) as c:
            said, _ = await watched(c, c.purge("dify", DATASET))
        waiting = [(at, progress) for at, progress in said if progress.left == 10 and at < began + 300.0]
        assert len(waiting) > 400
        assert {progress.eta_s for _, progress in waiting} == {None}
        assert "indexing" in {progress.wait for _, progress in waiting}
        assert {progress.indexing for _, progress in waiting} == {10}

    virtual.run(main())


def test_nothing_is_said_if_indexing_documents_are_far_behind() -> None:
    """Documents that are being indexed come last; the time left is not known from the first delete on, also of a large dataset."""

    async def main() -> None:
        service = Service(latency=0.01)
        service.fill(4_000)
        service.fill(3, display_status="indexing", indexing_status="indexing")
        loop = asyncio.get_running_loop()

        def ready() -> None:
            for row in service.held.values():
                row["display_status"] = row["indexing_status"] = "completed"

        loop.call_later(60.0, ready)
        async with client(service) as c:
            said, _ = await watched(c, c.purge("dify", DATASET))
        before = [progress.eta_s for _, progress in said if progress.left > 1_000]
        assert len(before) >= 10
        assert set(before) == {None}

    virtual.run(main())


def test_a_stall_is_no_slowness() -> None:
    """A service that hangs for half a minute and goes on as before: two seconds later the time left is right again."""

    async def main() -> None:
        service = Service(latency=0.05)
        ids = service.fill(600)
        loop = asyncio.get_running_loop()
        over: list[float] = []

        def hang() -> None:
            service.latency = 30.0
            loop.call_later(0.2, setattr, service, "latency", 0.05)
            over.append(loop.time() + 30.0)

        service.when[200] = hang
        async with client(service, rng=Random(5)) as c:
            said, ended = await watched(c, c.delete(targets(ids), policy=Policy(indexing="delete")))
        after = [(at, progress) for at, progress in said if at >= over[0] + 2.0]
        assert len(after) >= 4
        for at, progress in after:
            assert progress.eta_s is not None
            assert abs(at + progress.eta_s - ended) <= 1.0, (at, ended, progress)

    virtual.run(main())


def test_what_was_asked_in_vain_is_no_measure() -> None:
    """Deletes that are carried out while every answer is lost settle all at once: nothing is said, or about the right time."""

    async def main() -> None:
        service = Service(latency=0.3)
        ids = service.fill(600)
        for one in ids:
            service.script(one, ["lost done"])
        async with client(service, rng=Random(5)) as c:
            said, ended = await watched(c, c.delete(targets(ids), policy=Policy(indexing="delete")))
        for at, progress in said:
            assert progress.eta_s is None or progress.eta_s <= 3.0 * (ended - at), (at, ended, progress)

    virtual.run(main())


def test_behind_a_used_up_window_a_whole_one_is_free() -> None:
    """A limit that is used up at once in each window: what goes in the next one takes no time behind the pause."""

    async def main() -> None:
        service = Service(latency=0.05)
        ids = service.fill(600)
        times: list[float] = []
        answer = service.answer

        def limited(request: Request, document: str) -> Reply:
            now = asyncio.get_running_loop().time()
            times[:] = [at for at in times if at > now - 60.0]
            if len(times) >= 100:
                return error(429, "too_many_requests", "slow down", retry_after="60")
            times.append(now)
            return answer(request, document)

        service.answer = limited  # type: ignore[method-assign]
        async with client(service, rng=Random(5)) as c:
            said, ended = await watched(c, c.delete(targets(ids), policy=Policy(indexing="delete")))
        waiting = [(at, progress) for at, progress in said if progress.wait == "rate" and at > ended - 120.0]
        assert len(waiting) > 200
        for at, progress in waiting:
            assert progress.eta_s is not None
            assert abs(at + progress.eta_s - ended) <= 5.0, (at, ended, progress)

    virtual.run(main())
