"""Rate safety and liveness over generated schedules, for each store and several processes on one key: demand, pauses,
cancellations, stalls, idle times, changes of rate, processes that end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple, assert_never

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis

from bulkdel.limits import Limiter, MemoryStore, bucket
from bulkdel.model import Rate
from tests import virtual
from tests.limits.departures import now
from tests.limits.stores import Make, client, maker

__all__ = ["client"]

Act = Literal["worker", "cancel", "crowd", "pause", "rate", "stall", "try", "nothing"]


class Step(NamedTuple):
    """After ``gap`` windows and ``beats`` leases of waiting, do ``act`` with ``x`` from 0 to 1.

    ``ambush``: after ``gap`` lie in wait for the next permit, and act within the step in which it is got, or ``beats`` leases
    after that: in the very turn of the loop in which the limiter lets the next one go.
    """

    gap: float
    beats: int
    act: Act
    x: float
    ambush: bool


STEPS = st.builds(
    Step,
    gap=st.one_of(st.just(0.0), st.floats(0, 0.1), st.floats(0, 1.3)),
    beats=st.integers(0, 2),
    act=st.sampled_from(["worker", "worker", "cancel", "crowd", "pause", "rate", "stall", "try", "nothing"]),
    x=st.floats(0, 1),
    ambush=st.booleans(),
)
SIZES = st.one_of(st.integers(1, 10), st.integers(1, 120), st.sampled_from([160, 320, 600]))


@dataclass
class Schedule:
    """One limit under one script; notes when permits were got and which rate held when.

    ``limiters`` are the processes that share it; they begin with one rate, and changes come to all of them.
    """

    sizes: list[int]
    per: float
    make: Make
    processes: int = 1
    limiters: list[Limiter] = field(default_factory=list)
    turn: int = 0
    times: list[float] = field(default_factory=list)
    in_force: list[tuple[float, int]] = field(default_factory=list)
    workers: list[asyncio.Task[None]] = field(default_factory=list)
    ambushes: list[Step] = field(default_factory=list)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    floor: float = 0.0
    share: float = 0.95

    def __post_init__(self) -> None:
        self.limiters = [self.make(Rate(self.sizes[0], self.per)) for _ in range(self.processes)]
        self.in_force.append((0.0, self.sizes[0]))

    def next(self) -> Limiter:
        """Each process in turn."""
        self.turn += 1
        return self.limiters[self.turn % self.processes]

    @property
    def beat(self) -> float:
        b = bucket(Rate(self.in_force[-1][1], self.per))
        return b.lease / b.per_second

    def left(self) -> None:
        assert now() >= self.floor, "a request left during a pause"
        self.times.append(now())
        if self.ambushes:
            step = self.ambushes.pop()
            if step.beats:
                # Half a nanosecond: later than the limiter's own timer, and too soon for the loop to tell them apart.
                when = now() + step.beats * self.beat + 5e-10
                self.timers.append(asyncio.get_running_loop().call_at(when, self.act, step))
            else:
                self.act(step)

    async def work(self, limiter: Limiter, seconds: float) -> None:
        while True:
            await limiter.acquire()
            self.left()
            await asyncio.sleep(seconds)

    async def once(self) -> None:
        await self.next().acquire()
        self.left()

    def act(self, step: Step) -> None:
        match step.act:
            case "worker":
                self.workers.append(asyncio.create_task(self.work(self.next(), step.x * self.beat)))
            case "cancel" if self.workers:
                self.workers.pop(int(step.x * (len(self.workers) - 1))).cancel()
            case "crowd":
                crowd = [asyncio.create_task(self.once()) for _ in range(5)]
                for delay, task in enumerate(crowd):
                    asyncio.get_running_loop().call_later(delay * step.x * self.beat, task.cancel)
            case "pause":
                for limiter in self.limiters:  # all are refused at once; what one hears of another is tested elsewhere
                    limiter.pause(step.x * self.per)
                self.floor = max(self.floor, now() + step.x * self.per)
            case "rate":
                n = self.sizes[int(step.x * (len(self.sizes) - 1) + 0.5)]
                for limiter in self.limiters:
                    limiter.set_rate(Rate(n, self.per))
                self.in_force.append((now(), n))
            case "stall":
                loop = asyncio.get_running_loop()
                assert isinstance(loop, virtual.VirtualLoop)
                loop.stall(step.x * 3 * self.beat)
            case "try":
                for _ in range(1 + int(step.x * 50)):
                    if self.next().try_acquire():
                        self.left()
            case "cancel" | "nothing":
                pass
            case other:
                assert_never(other)

    async def play(self, script: list[Step]) -> None:
        for step in script:
            if wait := step.gap * self.per + (0 if step.ambush else step.beats * self.beat):
                await asyncio.sleep(wait)
            if step.ambush:
                self.ambushes.append(step)
            else:
                self.act(step)

    async def demand(self) -> None:
        """At the end: two workers ask for all there is."""
        self.ambushes.clear()
        for timer in self.timers:
            timer.cancel()
        await asyncio.sleep(self.limiters[0].paused_s)
        n = self.in_force[-1][1]
        lasting = self.per * max(0.2, 20 / n)
        before = len(self.times)
        self.workers += [asyncio.create_task(self.work(self.next(), 0.0)) for _ in range(2 * self.processes)]
        await asyncio.sleep(lasting)
        lease = bucket(Rate(n, self.per)).lease
        assert len(self.times) - before >= self.share * n * lasting / self.per - 2 * lease, "permits were lost"

    async def end(self) -> None:
        for worker in self.workers:
            worker.cancel()
        if self.workers:
            await asyncio.wait(self.workers)
        ended = (worker.exception() for worker in self.workers if not worker.cancelled())
        assert list(ended) == []

    def check(self) -> None:
        """S6: in any window of ``per`` seconds at most the highest limit that was in force in it."""
        first, ends = 0, [t for t, _ in self.in_force[1:]] + [float("inf")]
        for last, time in enumerate(self.times):
            while time - self.times[first] >= self.per:
                first += 1
            begun = self.times[first]
            held = [n for (start, n), end in zip(self.in_force, ends, strict=True) if start <= time and end >= begun]
            assert last - first + 1 <= max(held), f"{last - first + 1} left in the window from {begun} to {time}"


SCRIPTS = {
    "sizes": st.lists(SIZES, min_size=1, max_size=3),
    "per": st.sampled_from([0.25, 1.0, 60.0, 3600.0]),
    "script": st.lists(STEPS, max_size=16),
}
LYING = {
    # a lease left lying, a long idle time, then all at once
    "sizes": [600],
    "per": 0.25,
    "script": [Step(0, 0, "try", 0.0, False), Step(1.0, 0, "worker", 0.0, False), Step(1.0, 0, "nothing", 0, False)],
}
FRESH = count()


def play(make: Make, processes: int, sizes: list[int], per: float, script: list[Step]) -> None:
    """No window of ``per`` seconds holds more than the limit, pauses hold, and demand gets what is allowed."""
    key = f"{next(FRESH):016x}"

    async def main() -> Schedule:
        schedule = Schedule(sizes, per, partial(make, key=key), processes, share=0.95 if processes == 1 else 0.9)
        try:
            await schedule.play(script)
            await schedule.demand()
        finally:
            await schedule.end()
        return schedule

    virtual.run(main()).check()


@settings(max_examples=60, deadline=None)
@given(**SCRIPTS)
@example(**LYING)
def test_no_window_holds_too_many_in_memory(sizes: list[int], per: float, script: list[Step]) -> None:
    """S6 in a process, whatever happens."""
    play(maker("memory", Path(), None), 1, sizes, per, script)


@pytest.mark.parametrize("processes", [1, 2])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**SCRIPTS)
@example(**LYING)
def test_no_window_holds_too_many_in_a_file(
    tmp_path: Path, processes: int, sizes: list[int], per: float, script: list[Step]
) -> None:
    """S6 between the processes of a machine, whatever happens."""
    play(maker("file", tmp_path, None), processes, sizes, per, script)


@pytest.mark.parametrize("processes", [1, 2])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**SCRIPTS)
@example(**LYING)
@example(sizes=[600], per=60.0, script=[])  # a bucket that holds many leases
def test_no_window_holds_too_many_in_redis(
    client: Redis, tmp_path: Path, processes: int, sizes: list[int], per: float, script: list[Step]
) -> None:
    """S6 between machines, whatever happens."""
    play(maker("redis", tmp_path, client), processes, sizes, per, script)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([Rate(8, 60), Rate(45, 60), Rate(1000, 60), Rate(100), Rate(1)]), st.floats(0, 5)),
             min_size=2, max_size=8),
)  # fmt: skip
def test_changes_of_the_window_grant_no_burst(changes: list[tuple[Rate, float]]) -> None:
    """Between any two departures there are no more than the largest burst of all rates and what the rates let in."""

    async def main() -> tuple[list[float], list[tuple[float, float]]]:
        times, flow = list[float](), list[tuple[float, float]]()
        limiter = Limiter(MemoryStore(), changes[0][0])

        async def work() -> None:
            while True:
                await limiter.acquire()
                times.append(now())

        worker = asyncio.create_task(work())
        for rate, seconds in changes:
            limiter.set_rate(rate)
            flow.append((now(), bucket(rate).per_second))
            await asyncio.sleep(seconds)
        worker.cancel()
        await asyncio.wait([worker])
        return times, flow

    times, flow = virtual.run(main())
    burst = max(bucket(rate).burst for rate, _ in changes)

    def came_in(since: float, until: float) -> float:
        ends = [start for start, _ in flow[1:]] + [until]
        return sum(
            max(0.0, min(end, until) - max(start, since)) * per_second
            for (start, per_second), end in zip(flow, ends, strict=True)
        )

    for i in range(0, len(times), 7):
        for j in range(i, len(times), 5):
            assert j - i + 1 <= burst + came_in(times[i], times[j]) + 1e-6
