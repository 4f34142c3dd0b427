"""Deadlines of requests, on one timer: each is held to its own, and a caller's cancellation is not taken for one."""

from __future__ import annotations

import asyncio

import pytest

from bulkdel.wire.deadlines import Deadlines
from tests import virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def held(deadlines: Deadlines, seconds: float, takes: float) -> float:
    """When a wait of ``takes`` seconds ended within a deadline of ``seconds``; negative if it was the deadline."""
    begun = now()
    try:
        with deadlines.within(seconds):
            await asyncio.sleep(takes)
    except TimeoutError:
        return begun - now()
    return now() - begun


def test_each_has_its_own_deadline() -> None:
    """A shorter deadline that begins after a longer one strikes first; what is done in time meets none."""

    async def main() -> list[float]:
        deadlines = Deadlines()
        waits = [(60.0, 100.0), (5.0, 100.0), (5.0, 4.0), (30.0, 29.0), (30.0, 100.0), (5.0, 100.0)]
        found = await asyncio.gather(*(held(deadlines, *wait) for wait in waits))
        assert await held(deadlines, 10.0, 20.0) == pytest.approx(-10, abs=1e-6)  # the timer had nothing left to do
        assert not deadlines.running
        deadlines.close()
        return found

    assert virtual.run(main()) == pytest.approx([-60, -5, 4, 29, -30, -5], abs=1e-6)


def test_later_one_on_an_earlier_timer() -> None:
    """One timer for all: a wait that begins while it runs for another ends at its own time."""

    async def main() -> float:
        deadlines = Deadlines()
        first = asyncio.create_task(held(deadlines, 10.0, 1.0))
        await asyncio.sleep(9.0)
        assert await first == pytest.approx(1, abs=1e-6)
        found = await held(deadlines, 10.0, 100.0)
        deadlines.close()
        return found

    assert virtual.run(main()) == pytest.approx(-10, abs=1e-6)


def test_cancellation_from_outside_stays_one() -> None:
    """A task that its caller cancels is cancelled, even if the deadline strikes in the same moment."""

    async def main() -> None:
        for at in (3.0, 5.0):
            deadlines = Deadlines()
            task = asyncio.create_task(held(deadlines, 5.0, 100.0))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_at(now() + at, task.cancel)
            await asyncio.wait([task])
            assert task.cancelled()
            deadlines.close()

    virtual.run(main())


def test_deadline_in_a_cancelled_task() -> None:
    """A deadline strikes a request made while a cancelled task cleans up, as any other."""

    async def main() -> None:
        deadlines = Deadlines()
        found: list[float] = []

        async def work() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                found.append(await held(deadlines, 5.0, 100.0))

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert found == pytest.approx([-5], abs=1e-6)
        deadlines.close()

    virtual.run(main())


def test_as_asyncio_timeout_does() -> None:
    """Errors pass, and a wait that ends as its time ends is what asyncio.timeout makes of it."""

    async def main() -> None:
        deadlines = Deadlines()
        with pytest.raises(KeyError), deadlines.within(5.0):
            raise KeyError
        with pytest.raises(TimeoutError) as raised, deadlines.within(5.0):
            await asyncio.sleep(100)
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(100)
        deadlines.close()

    virtual.run(main())
