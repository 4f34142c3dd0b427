"""Pacing as its users see it: permits, the pause, the rate that changes."""

from __future__ import annotations

import asyncio

import pytest

from bulkdel.limits import Pacing
from bulkdel.model import Rate
from tests import virtual
from tests.limits.departures import Departures, now, whole, worst

HOUR = 3600.0


async def turns(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize(
    ("rate", "seconds"),
    [
        (Rate(8, 60), HOUR),
        (Rate(10, 60), HOUR),
        (Rate(45, 60), 1200),
        (Rate(80, 60), 1200),
        (Rate(100, 60), 1200),
        (Rate(1000, 60), 300),
        (Rate(100), 30),
        (Rate(2000), 2),
        (Rate(0.5), 600),
        (Rate(1), 600),
    ],
    ids=str,
)
def test_under_demand_the_rate_is_kept_and_used(rate: Rate, seconds: float, workers: int) -> None:
    """Under lasting demand no window holds more than the limit, and at least 0.95 of what is allowed leaves."""

    async def main() -> list[float]:
        gone = Departures(Pacing(rate))
        tasks = [asyncio.create_task(gone.endless(0.0003)) for _ in range(workers)]
        _, pending = await asyncio.wait(tasks, timeout=seconds)
        for task in pending:
            task.cancel()
        await asyncio.wait(pending)
        return gone.times

    times = virtual.run(main())
    n, per = whole(rate)
    assert worst(times, per) <= n
    assert len(times) >= 0.95 * seconds * n / per


def test_without_a_rate_nothing_waits() -> None:
    """No known limit and no pause: every permit is there at once."""

    async def main() -> None:
        pacing, begun = Pacing(None), now()
        for _ in range(1000):
            assert pacing.try_acquire()
            await pacing.acquire()
        assert now() == begun
        assert (pacing.rate, pacing.allowed_per_second, pacing.waiting) == (None, None, 0)

    virtual.run(main())


def test_what_is_there_can_be_had_without_waiting() -> None:
    """A fresh pacing gives its burst to try_acquire, then nothing before it is earned; those who wait come first."""

    async def main() -> None:
        pacing = Pacing(Rate(100))
        assert [pacing.try_acquire() for _ in range(4)] == [True, True, True, False]
        waiter = asyncio.create_task(pacing.acquire())
        await turns()
        assert pacing.waiting == 1
        await waiter
        await asyncio.sleep(1)
        assert pacing.try_acquire()

    virtual.run(main())


def test_first_come_first_served() -> None:
    """Permits go to waiters in the order they asked, across leases."""

    async def main() -> list[int]:
        pacing, order = Pacing(Rate(2000)), list[int]()

        async def ask(i: int) -> None:
            await pacing.acquire()
            order.append(i)

        await asyncio.gather(*(ask(i) for i in range(200)))
        return order

    assert virtual.run(main()) == list(range(200))


def test_who_asks_again_goes_behind_those_who_wait() -> None:
    """A permit left of a lease goes to the next in the queue, not to the one that has just had one."""

    async def main() -> list[str]:
        pacing, order = Pacing(Rate(2000)), list[str]()
        while pacing.try_acquire():
            pass

        async def ask(name: str, times: int) -> None:
            for _ in range(times):
                await pacing.acquire()
                order.append(name)

        await asyncio.gather(ask("a", 3), ask("b", 1), ask("c", 1))
        return order

    assert virtual.run(main()) == ["a", "b", "c", "a", "a"]


def test_nothing_leaves_in_a_pause() -> None:
    """A pause stops those who wait already and those who come, and ends by itself."""

    async def main() -> None:
        pacing = Pacing(Rate(1))
        assert pacing.try_acquire()
        waiter = asyncio.create_task(pacing.acquire())  # stands in the limiter, due in about a second
        await asyncio.sleep(0.5)
        begun = now()
        assert pacing.paused_s == 0.0
        assert pacing.pause(60)
        assert pacing.paused_s == pytest.approx(60, abs=1e-3)
        assert not pacing.try_acquire()
        other = asyncio.create_task(pacing.acquire())
        await waiter
        assert now() - begun >= 60
        assert now() - begun == pytest.approx(60, abs=1e-3)
        await other
        assert pacing.paused_s == 0.0

    virtual.run(main())


def test_a_pause_costs_no_permit() -> None:
    """A permit that was earned during a pause leaves at its end."""

    async def main() -> None:
        pacing, begun = Pacing(Rate(8, 60)), now()
        assert pacing.try_acquire()
        waiter = asyncio.create_task(pacing.acquire())  # due at 0.84 / 0.97 * 7.5 = 6.5 s
        await asyncio.sleep(6)
        pacing.pause(1)
        await waiter
        assert now() - begun == pytest.approx(7, abs=1e-3)

    virtual.run(main())


@pytest.mark.parametrize("late", [-5e-10, 0.0, 5e-10, 1e-3])
@pytest.mark.parametrize("what", ["pause", "rate"])
def test_a_pause_or_a_new_rate_in_the_moment_of_a_permit(what: str, late: float) -> None:
    """Coming in the very turn of the loop in which the limiter lets a waiter go, both are obeyed by that waiter."""

    async def main() -> None:
        gone = Departures(Pacing(Rate(1)))
        pacing, loop = gone.pacing, asyncio.get_running_loop()
        assert pacing.try_acquire()
        begun, due = now(), now() + 0.98 / 0.97
        waiters = [asyncio.create_task(gone.one()) for _ in range(2)]
        if what == "pause":
            loop.call_at(due + late, pacing.pause, 60)
            await asyncio.wait(waiters)
            # A millisecond after the permit was due, its owner has left already.
            assert sum(t - begun < 60 for t in gone.times) == (late == 1e-3)
        else:
            loop.call_at(due + late, pacing.set_rate, Rate(1, HOUR))
            await asyncio.sleep(HOUR)
            assert len(gone.times) == 1  # not one of the old rate and one of the new
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters)

    virtual.run(main())


def test_a_pause_holds_without_a_rate_too() -> None:
    """A provider without a limit obeys Retry-After as well."""

    async def main() -> None:
        pacing, begun = Pacing(None), now()
        pacing.pause(5)
        assert not pacing.try_acquire()
        await asyncio.gather(*(pacing.acquire() for _ in range(3)))
        assert now() - begun == pytest.approx(5, abs=1e-3)

    virtual.run(main())


def test_a_pause_only_lengthens() -> None:
    """Of several pauses the one that ends last counts, and a shorter one changes nothing."""

    async def main() -> None:
        pacing, begun = Pacing(None), now()
        pacing.pause(10)
        waiter = asyncio.create_task(pacing.acquire())
        await turns()
        pacing.pause(1)
        assert pacing.paused_s == pytest.approx(10, abs=1e-3)
        pacing.pause(30)
        await waiter
        assert now() - begun == pytest.approx(30, abs=1e-3)

    virtual.run(main())


def test_one_strike_per_pause() -> None:
    """Eight workers told the same at once, or told late of what they sent before, are one complaint."""

    async def main() -> None:
        pacing = Pacing(Rate(100))
        sent = pacing.pauses
        assert [pacing.pause(2, since=sent) for _ in range(8)] == [True] + [False] * 7
        assert pacing.pauses == 1
        await asyncio.sleep(3)
        assert not pacing.pause(
            4, since=sent
        )  # an old request's answer: the floor is obeyed, the strike is not counted
        assert pacing.paused_s == pytest.approx(4, abs=1e-3)
        await asyncio.sleep(5)
        assert pacing.pause(1, since=pacing.pauses)
        assert pacing.pauses == 2
        with pytest.raises(ValueError, match="finite number of seconds: inf"):
            pacing.pause(float("inf"))

    virtual.run(main())


def test_a_new_rate_is_obeyed_at_once() -> None:
    """Who waits for a permit of one an hour gets one within a hundredth of a second when the rate becomes 100/s."""

    async def main() -> None:
        pacing = Pacing(Rate(1, HOUR))
        assert pacing.try_acquire()
        waiters = [asyncio.create_task(pacing.acquire()) for _ in range(3)]
        await asyncio.sleep(1)
        begun = now()
        pacing.set_rate(Rate(100))
        await waiters[0]
        assert now() - begun <= 1 / 97 + 1e-3
        pacing.set_rate(None)
        before = now()
        await asyncio.gather(*waiters)
        assert now() - before < 1e-3
        assert (pacing.rate, pacing.allowed_per_second) == (None, None)

    virtual.run(main())


def test_a_change_of_rate_grants_no_burst() -> None:
    """After its burst is spent, a hundred changes of rate in one moment let nothing more leave."""

    async def main() -> None:
        pacing = Pacing(Rate(2000))
        spent = sum(pacing.try_acquire() for _ in range(3000))
        assert spent <= 41
        for i in range(100):
            pacing.set_rate(Rate(100 + i))
            assert not pacing.try_acquire()
        pacing.set_rate(Rate(2000))
        await asyncio.sleep(1)
        assert pacing.try_acquire()  # 13 of a lease of 14 are left
        pacing.set_rate(None)
        pacing.set_rate(Rate(2000))
        assert not pacing.try_acquire()

    virtual.run(main())


def test_a_lease_does_not_outlive_its_rate() -> None:
    """Permits leased at a high rate are cut down to what the new rate may hold."""

    async def main() -> None:
        pacing = Pacing(Rate(2000))
        assert pacing.try_acquire()  # 13 of a lease of 14 are left
        pacing.set_rate(Rate(8, 60))
        await asyncio.sleep(HOUR)
        assert [pacing.try_acquire() for _ in range(3)] == [True, False, False]

    virtual.run(main())


def test_changes_of_rate_cost_no_progress() -> None:
    """A rate of 8/min that changes every second still lets about 8 a minute leave."""

    async def main() -> int:
        gone = Departures(Pacing(Rate(8, 60)))
        worker = asyncio.create_task(gone.endless(0.0))
        for i in range(1200):
            await asyncio.sleep(1)
            gone.pacing.set_rate(Rate(8 + i % 2, 60))
        worker.cancel()
        await asyncio.wait([worker])
        return len(gone.times)

    assert virtual.run(main()) >= 0.95 * 8 * 20


def test_a_cancelled_waiter_costs_nothing() -> None:
    """Waiters that come and are cancelled, at the head of the queue and behind, neither use permits nor stall the others."""

    async def main() -> None:
        pacing = Pacing(Rate(1))
        assert pacing.try_acquire()
        begun = now()
        for _ in range(5):
            crowd = [asyncio.create_task(pacing.acquire()) for _ in range(5)]
            await asyncio.sleep(0.1)
            for task in crowd:
                task.cancel()
            await asyncio.wait(crowd)
            assert all(task.cancelled() for task in crowd)
        assert pacing.waiting == 0
        await pacing.acquire()
        # The bucket holds 1.02: the first took 1, so 0.98 are still to come in at 0.97 a second.
        assert now() - begun == pytest.approx(0.98 / 0.97, abs=1e-3)

    virtual.run(main())


def test_an_outer_timeout_ends_the_wait() -> None:
    """A caller's own timeout stays a timeout, also when a pause and a new rate come in the same moment."""

    async def main() -> None:
        pacing = Pacing(Rate(1, HOUR))
        assert pacing.try_acquire()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await pacing.acquire()

        async def impatient() -> None:
            async with asyncio.timeout(5):
                await pacing.acquire()

        task = asyncio.create_task(impatient())
        await asyncio.sleep(1)
        pacing.pause(100)
        pacing.set_rate(Rate(2, HOUR))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert pacing.waiting == 0

    virtual.run(main())


def test_after_idling_the_first_leaves_at_once() -> None:
    """A permit earned while nobody asked is there when somebody does."""

    async def main() -> None:
        pacing = Pacing(Rate(8, 60))
        await pacing.acquire()
        await asyncio.sleep(60)
        begun = now()
        await pacing.acquire()
        assert now() == begun

    virtual.run(main())
