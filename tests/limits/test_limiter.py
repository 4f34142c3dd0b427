"""The limiter as its callers see it, over each store: permits, the pause, the rate that changes."""

from __future__ import annotations

import asyncio

import pytest

from bulkdel.limits import Limiter, MemoryStore
from bulkdel.model import Rate
from tests import virtual
from tests.limits.departures import now, whole, worst
from tests.limits.stores import Make, client, demand, make, share

__all__ = ["client", "make", "share"]

HOUR = 3600.0


async def turns(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


# ---------------------------------------------------------------------- rate safety and liveness


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize(
    ("rate", "seconds"),
    [
        (Rate(8, 60), HOUR),
        (Rate(45, 60), 1200),
        (Rate(100, 60), 1200),
        (Rate(1000, 60), 300),
        (Rate(100), 30),
        (Rate(2000), 2),
        (Rate(0.5), 600),
        (Rate(1), 600),
    ],
    ids=str,
)
def test_the_rate_is_kept_and_used(rate: Rate, seconds: float, workers: int, make: Make) -> None:
    """Under lasting demand no window holds more than the limit, and at least 0.95 of what is allowed leaves."""

    async def main() -> list[float]:
        (times,) = await demand([make(rate)], seconds, workers, work=0.0003)
        return times

    times = virtual.run(main())
    n, per = whole(rate)
    assert worst(times, per) <= n
    assert len(times) >= 0.95 * seconds * n / per


@pytest.mark.parametrize("processes", [2, 5])
@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(Rate(8, 60), 1800), (Rate(100, 60), 600), (Rate(600, 60), 60), (Rate(10), 60), (Rate(200), 10), (Rate(2000), 2)],
)
def test_processes_keep_one_limit_and_share_it(rate: Rate, seconds: float, processes: int, share: Make) -> None:
    """All together keep the limit in any window, use 0.95 of it under demand, and none starves."""

    async def main() -> list[list[float]]:
        limiters = [share(rate) for _ in range(processes)]
        times = await demand(limiters, seconds)
        assert {limiter.processes for limiter in limiters} == {processes}
        for limiter in limiters:
            await limiter.aclose()
        return times

    times = virtual.run(main())
    together = sorted(time for each in times for time in each)
    assert worst(together, rate.per) <= rate.n
    assert len(together) >= 0.95 * rate.per_second * (seconds - 1 / rate.per_second) - 1
    assert min(map(len, times)) >= 0.6 * len(together) / processes


def test_the_rest_of_a_lease_is_lost_in_time(share: Make) -> None:
    """However many processes have a part of a lease lying, none of it leaves later in a window of its own."""

    async def main() -> list[float]:
        limiters = [share(Rate(1000)) for _ in range(12)]
        for limiter in limiters:
            await limiter.acquire()  # the first of a lease of several
        await asyncio.sleep(2)
        assert not any(limiter.try_acquire() for limiter in limiters)
        return sorted(time for each in await demand(limiters, 1.5, workers=1) for time in each)

    assert worst(virtual.run(main()), 1) <= 1000


def test_without_a_rate_nothing_waits(make: Make) -> None:
    """No known limit and no pause: a thousand permits are there within a few round trips to the store."""

    async def main() -> None:
        limiter, begun = make(None), now()
        for _ in range(1000):
            await limiter.acquire()
        assert now() - begun < 0.001
        assert (limiter.rate, limiter.allowed_per_second, limiter.waiting) == (None, None, 0)

    virtual.run(main())


# ---------------------------------------------------------------------- the queue


def test_first_come_first_served(make: Make) -> None:
    """Permits go to waiters in the order they asked, across leases."""

    async def main() -> list[int]:
        limiter, order = make(Rate(2000)), list[int]()

        async def ask(i: int) -> None:
            await limiter.acquire()
            order.append(i)

        await asyncio.gather(*(ask(i) for i in range(200)))
        return order

    assert virtual.run(main()) == list(range(200))


def test_who_asks_again_goes_behind_waiters(make: Make) -> None:
    """A permit left of a lease goes to the next in the queue, not to the one that has just had one."""

    async def main() -> list[str]:
        limiter, order = make(Rate(2000)), list[str]()
        for _ in range(100):  # the burst is spent
            await limiter.acquire()
        while limiter.try_acquire():
            pass

        async def ask(name: str, times: int) -> None:
            for _ in range(times):
                await limiter.acquire()
                order.append(name)

        await asyncio.gather(ask("a", 3), ask("b", 1), ask("c", 1))
        return order

    assert virtual.run(main()) == ["a", "b", "c", "a", "a"]


def test_a_cancelled_waiter_costs_nothing(make: Make) -> None:
    """Waiters that come and are cancelled, at the head of the queue and behind, neither use permits nor stall the others."""

    async def main() -> None:
        limiter = make(Rate(1))
        await limiter.acquire()
        begun = now()
        for _ in range(5):
            crowd = [asyncio.create_task(limiter.acquire()) for _ in range(5)]
            await asyncio.sleep(0.1)
            for task in crowd:
                task.cancel()
            await asyncio.wait(crowd)
            assert all(task.cancelled() for task in crowd)
        assert limiter.waiting == 0
        await limiter.acquire()
        assert now() - begun <= 1.1

    virtual.run(main())


def test_cancelled_at_any_moment_of_a_claim(make: Make) -> None:
    """Waiters are cancelled at every moment of a round trip to the store: the others go on."""

    async def main() -> None:
        limiter = make(Rate(100))
        for step in range(40):
            first, second = (asyncio.create_task(limiter.acquire()) for _ in range(2))
            await asyncio.sleep(step * 0.00005)
            first.cancel()
            await asyncio.wait([first])
            await asyncio.wait_for(second, 1.0)
        assert limiter.waiting == 0

    virtual.run(main())


def test_an_outer_timeout_ends_the_wait(make: Make) -> None:
    """A caller's own timeout stays a timeout, also when a pause and a new rate come in the same moment."""

    async def main() -> None:
        limiter = make(Rate(1, HOUR))

        async def impatient() -> None:
            async with asyncio.timeout(5):
                await limiter.acquire()
                await limiter.acquire()

        with pytest.raises(TimeoutError):
            await impatient()
        task = asyncio.create_task(impatient())
        await asyncio.sleep(1)
        limiter.pause(100)
        limiter.set_rate(Rate(2, HOUR))
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert limiter.waiting == 0

    virtual.run(main())


def test_an_earned_permit_is_there_at_once() -> None:
    """A permit that came in while no caller asked is there when a caller does, and a fresh bucket holds its burst."""

    async def main() -> None:
        limiter = Limiter(MemoryStore(), Rate(8, 60))
        begun = now()
        await limiter.acquire()
        await asyncio.sleep(60)
        await limiter.acquire()
        assert now() == pytest.approx(begun + 60, abs=1e-3)

    virtual.run(main())


# ---------------------------------------------------------------------- the pause


def test_nothing_leaves_in_a_pause(make: Make) -> None:
    """A pause stops those who wait already and those who come, and ends by itself."""

    async def main() -> None:
        limiter = make(Rate(1))
        await limiter.acquire()
        waiter = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.5)
        begun = now()
        assert limiter.paused_s == 0.0
        assert limiter.pause(60)
        assert limiter.paused_s == pytest.approx(60, abs=1e-3)
        assert not limiter.try_acquire()
        other = asyncio.create_task(limiter.acquire())
        await waiter
        assert now() - begun == pytest.approx(60, abs=0.01)
        assert now() >= begun + 60
        await other
        assert limiter.paused_s == 0.0

    virtual.run(main())


@pytest.mark.parametrize("late", [-5e-10, 0.0, 5e-10, 1e-3])
@pytest.mark.parametrize("what", ["pause", "rate"])
def test_a_change_in_the_moment_of_a_permit(what: str, late: float) -> None:
    """Coming in the very turn of the loop in which a waiter's permit is due, a pause and a new rate are obeyed."""

    async def main() -> None:
        limiter, loop = Limiter(MemoryStore(), Rate(1)), asyncio.get_running_loop()
        await limiter.acquire()
        begun, due, gone = now(), now() + 0.98 / 0.97, list[float]()

        async def one() -> None:
            await limiter.acquire()
            gone.append(now())

        waiters = [asyncio.create_task(one()) for _ in range(2)]
        if what == "pause":
            loop.call_at(due + late, limiter.pause, 60)
            await asyncio.wait(waiters)
            # A millisecond after the permit was due, its owner has left already.
            assert sum(t - begun < 60 for t in gone) <= (late > -5e-10)
        else:
            loop.call_at(due + late, limiter.set_rate, Rate(1, HOUR))
            await asyncio.sleep(HOUR)
            assert len(gone) == 1  # not one of the old rate and one of the new
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters)

    virtual.run(main())


def test_a_pause_holds_without_a_rate_too(make: Make) -> None:
    """A provider without a limit obeys Retry-After as well."""

    async def main() -> None:
        limiter, begun = make(None), now()
        await limiter.acquire()
        limiter.pause(5)
        assert not limiter.try_acquire()
        await asyncio.gather(*(limiter.acquire() for _ in range(3)))
        assert now() - begun == pytest.approx(5, abs=0.01)
        assert now() - begun >= 5

    virtual.run(main())


def test_a_pause_only_lengthens(make: Make) -> None:
    """Of several pauses the one that ends last counts, and a shorter one changes nothing."""

    async def main() -> None:
        limiter, begun = make(None), now()
        limiter.pause(10)
        waiter = asyncio.create_task(limiter.acquire())
        await turns()
        limiter.pause(1)
        assert limiter.paused_s == pytest.approx(10, abs=1e-3)
        limiter.pause(30)
        await waiter
        assert now() - begun == pytest.approx(30, abs=0.01)
        with pytest.raises(ValueError, match="finite number of seconds: inf"):
            limiter.pause(float("inf"))

    virtual.run(main())


def test_concurrent_refusals_count_as_one(make: Make) -> None:
    """Eight workers refused at once, or answered late for what they sent before, are one complaint."""

    async def main() -> None:
        limiter, sent = make(Rate(100)), now()
        await asyncio.sleep(0.05)
        assert [limiter.pause(2, sent) for _ in range(8)] == [True] + [False] * 7
        assert limiter.paused_since(sent)
        await asyncio.sleep(3)
        # An old request's answer: the pause is obeyed, and it is no new complaint.
        assert not limiter.pause(4, sent)
        assert limiter.paused_s == pytest.approx(4, abs=1e-3)
        await asyncio.sleep(5)
        assert not limiter.paused_since(now())
        assert limiter.pause(1, now())

    virtual.run(main())


def test_a_pause_is_heard_by_all(share: Make) -> None:
    """One process is refused: within the hold of a lease no process sends until the pause is over, then all go on."""

    async def main() -> None:
        limiters = [share(Rate(100)) for _ in range(3)]
        began = now()
        asyncio.get_running_loop().call_later(2.0, limiters[0].pause, 3.0)
        times = await demand(limiters, 8.0)
        for place, each in enumerate(times):
            late = 0.0 if place == 0 else 0.02
            assert not [time for time in each if began + 2.0 + late < time < began + 5.0]
            assert [time for time in each if time >= began + 5.0]
        assert all(limiter.paused_since(began + 4.9) for limiter in limiters)
        assert worst(sorted(time for each in times for time in each), 1.0) <= 100

    virtual.run(main())


def test_a_waiter_hears_of_the_others_pause(share: Make) -> None:
    """A caller that waits for a permit while another process is refused leaves only after the pause."""

    async def main() -> None:
        one, other = share(Rate(6, 60)), share(Rate(6, 60))
        await one.acquire()
        waiters = [asyncio.create_task(limiter.acquire()) for limiter in (one, other)]
        await asyncio.sleep(1)
        begun = now()
        one.pause(100)
        await asyncio.wait(waiters)
        assert now() >= begun + 100

    virtual.run(main())


def test_without_a_rate_a_pause_is_heard_soon(share: Make) -> None:
    """No known limit: permits cost no claim each, and another's pause is heard within half a second."""

    async def main() -> None:
        one, other = share(None), share(None)
        await one.acquire()
        other.pause(10)
        waiter = asyncio.create_task(other.acquire())
        await asyncio.sleep(0.51)
        assert not one.try_acquire()
        begun = now()
        await one.acquire()
        assert now() >= begun + 9.4
        await waiter

    virtual.run(main())


# ---------------------------------------------------------------------- the rate


def test_a_new_rate_is_obeyed_at_once(make: Make) -> None:
    """Who waits for a permit of one an hour gets one within moments when the rate becomes 100/s."""

    async def main() -> None:
        limiter = make(Rate(1, HOUR))
        waiters = [asyncio.create_task(limiter.acquire()) for _ in range(4)]
        await asyncio.sleep(1)
        begun = now()
        limiter.set_rate(Rate(100))
        assert limiter.rate == Rate(100)
        await asyncio.wait(waiters[:2])
        assert now() - begun <= 0.05
        limiter.set_rate(None)
        before = now()
        await asyncio.gather(*waiters)
        assert now() - before < 2e-3
        assert (limiter.rate, limiter.allowed_per_second) == (None, None)

    virtual.run(main())


def test_a_change_of_rate_grants_no_burst(make: Make) -> None:
    """After its burst is spent, a hundred changes of rate let no more leave than the rates allow."""

    async def main() -> int:
        limiter, got = make(Rate(2000)), 0

        async def worker() -> None:
            nonlocal got
            while True:
                await limiter.acquire()
                got += 1

        task = asyncio.create_task(worker())
        await asyncio.sleep(0.5)
        before = got
        for i in range(100):
            limiter.set_rate(Rate(100 + i) if i % 3 else None if i % 2 and i > 900 else Rate(2000))
            await turns(2)
        task.cancel()
        await asyncio.wait([task])
        return got - before

    assert virtual.run(main()) <= 43


def test_changes_of_rate_cost_no_progress(make: Make) -> None:
    """A rate of 8/min that changes every second still lets about 8 a minute leave."""

    async def main() -> int:
        limiter = make(Rate(8, 60))
        task = asyncio.create_task(demand([limiter], 1200, workers=1))
        for i in range(1199):
            await asyncio.sleep(1)
            limiter.set_rate(Rate(8 + i % 2, 60))
        ((times),) = await task
        return len(times)

    assert virtual.run(main()) >= 0.9 * 8 * 20


def test_the_slowest_rate_is_in_force_for_all(share: Make) -> None:
    """A limit that one process lowers holds the sum; each can expect half of it; it ends when that process leaves."""

    async def main() -> None:
        one, other = share(Rate(100)), share(Rate(100))
        await demand([one, other], 2)
        one.set_rate(Rate(20))
        await demand([one, other], 1.5)
        times = sorted(time for each in await demand([one, other], 10) for time in each)
        assert worst(times, 1) <= 20
        assert len(times) >= 0.9 * 200
        assert (other.rate, other.rate_is_anothers, one.rate_is_anothers) == (Rate(20), True, False)
        assert other.processes == 2
        assert other.allowed_per_second == pytest.approx(20 * 0.96 / 2, rel=0.01)
        await one.aclose()
        await demand([other], 1.5)
        assert (other.rate, other.processes) == (Rate(100), 1)
        (times,) = await demand([other], 5)
        assert len(times) >= 0.9 * 500

    virtual.run(main())


def test_a_silent_process_takes_part_no_longer(share: Make) -> None:
    """Within 15 s of a process' death the slower limit that it wanted lapses."""

    async def main() -> None:
        slow, other = share(Rate(1)), share(Rate(100))
        await demand([slow, other], 2)
        assert other.rate == Rate(1)
        await demand([other], 17)
        assert (other.rate, other.processes) == (Rate(100), 1)

    virtual.run(main())


def test_two_keys_do_not_disturb_each_other(share: Make) -> None:
    """Another key's limit is another limit."""

    async def main() -> list[int]:
        limiters = [share(Rate(50)), share(Rate(50), key="fedcba9876543210")]
        return [len(times) for times in await demand(limiters, 4)]

    assert min(virtual.run(main())) >= 0.9 * 200


def test_the_next_run_finds_no_fresh_burst(share: Make) -> None:
    """A run that begins right behind another one goes on with its bucket."""

    async def main() -> list[float]:
        times: list[float] = []
        for _ in range(6):
            limiter = share(Rate(50))
            (more,) = await demand([limiter], 0.2)
            times += more
            await limiter.aclose()
        return times

    assert worst(virtual.run(main()), 1) <= 50
