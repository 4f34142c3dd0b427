"""One limit for several processes: the arithmetic on a simulated clock, the boundary on a virtual one, and real processes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkdel.limits import bucket
from bulkdel.limits.bucket import MARGIN
from bulkdel.limits.joint import (
    ABSENT_S,
    Joint,
    courtesy,
    elapse,
    from_text,
    grant,
    joint_bucket,
    leave,
    pause,
    take_part,
    to_text,
)
from bulkdel.limits.jointfile import NAME, JointFile
from bulkdel.limits.shared import Shared
from bulkdel.model import Rate
from bulkdel.process import process_space, this_process
from tests import virtual
from tests.limits.departures import now, worst

KEY = "0123456789abcdef"


# ---------------------------------------------------------------------- the arithmetic


@pytest.mark.parametrize(
    "rate", [Rate(1), Rate(8, 60), Rate(100, 60), Rate(1000, 60), Rate(100), Rate(2000), Rate(0.5)]
)
def test_the_joint_bucket_keeps_the_limit_in_any_window(rate: Rate) -> None:
    """What it held and what comes in during a window and the hold before it is less than one more than the limit, by the margin."""
    b = joint_bucket(rate)
    n, window = (rate.n, rate.per) if rate.n >= 1 else (1, rate.per / rate.n)
    assert b.size + b.per_second * (window + b.hold) <= n + 1 - MARGIN * n + 1e-6
    assert b.lease <= b.size
    assert b.per_second >= 0.94 * n / window


@dataclass
class Simulated:
    """Processes that take leases from one state, each leaving as late as it may; ``skew`` is how far the clocks are set off."""

    rate: Rate
    time: float = 1000.0
    ticks: float = 0.0
    wall: float = 0.0
    joint: Joint = field(default_factory=lambda: Joint(1000.0, 1000.0))
    next: dict[str, float] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    by: dict[str, int] = field(default_factory=dict)

    def look(self, name: str, late: float) -> None:
        joint = elapse(self.joint, self.time + self.ticks, self.time + self.wall)
        joint = take_part(joint, name, self.rate)
        self.joint, granted, wait = grant(joint)
        b = joint_bucket(self.rate)
        self.losses[name] = 0 if granted else self.losses.get(name, 0) + 1
        self.next[name] = self.time + wait + courtesy(b, self.losses[name]) + 1e-6
        self.times += [self.time + late * b.hold] * granted
        self.by[name] = self.by.get(name, 0) + granted

    def run(self, seconds: float, names: list[str], late: float = 0.0) -> None:
        end = self.time + seconds
        while True:
            name = min(names, key=lambda n: self.next.get(n, 0.0))
            due = max(self.time, self.next.get(name, 0.0))
            if due >= end:
                self.time = end
                return
            self.time = due
            self.look(name, late)


STEP = st.tuples(
    st.sampled_from(["run", "run", "idle", "ticks", "wall", "crash", "both"]),
    st.floats(0, 1.3),
    st.sampled_from([-1e6, -60.0, -0.5, 0.5, 60.0, 1e6]),
    st.floats(0, 1),
)


@settings(max_examples=120, deadline=None)
@given(
    rate=st.sampled_from([Rate(8, 60), Rate(100, 60), Rate(50), Rate(400), Rate(1000, 1)]),
    processes=st.integers(1, 5),
    steps=st.lists(STEP, max_size=10),
    forward=st.sampled_from(["ticks", "wall"]),  # both set forward at once is not to be told from time that passed
)
# A clock that is set forward again and again would fill the bucket each time.
@example(rate=Rate(100, 60), processes=1, steps=[("wall", 0.01, 60.0, 0.0)] * 100, forward="wall")
@example(rate=Rate(100, 60), processes=1, steps=[("ticks", 0.01, 60.0, 0.0)] * 100, forward="ticks")
def test_no_window_holds_more_than_the_limit_over_all_processes(
    rate: Rate, processes: int, steps: list[tuple[str, float, float, float]], forward: str
) -> None:
    """Idle times, crashes, one clock set at a time, both set back: the sum keeps the limit, and demand gets 0.9 of it."""
    world = Simulated(rate)
    names = [f"p{i}" for i in range(processes)]
    for what, share, offset, late in steps:
        match what:
            case "idle":
                world.time += share * rate.per
            case "ticks":
                world.ticks += offset if forward == "ticks" else -abs(offset)
            case "wall":
                world.wall += offset if forward == "wall" else -abs(offset)
            case "both":
                world.ticks -= abs(offset)
                world.wall -= abs(offset)
            case "crash":  # another one in its place; what it held is lost
                names[0] = f"again{world.time}{share}"
        world.run(share * rate.per, names, late)
    world.times.sort()
    assert worst(world.times, rate.per) <= rate.n
    before = len(world.times)
    world.run(2 * rate.per, names)
    lease = joint_bucket(rate).lease
    assert len(world.times) - before >= 0.9 * 2 * rate.n - 2 * lease - 2


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_nobody_starves(processes: int) -> None:
    """Processes that all want more than there is get shares that differ by no more than half."""
    world = Simulated(Rate(100, 60))
    world.run(600, [f"p{i}" for i in range(processes)])
    fair = sum(world.by.values()) / processes
    assert all(0.5 * fair <= got <= 1.5 * fair for got in world.by.values())


def test_the_slowest_limit_is_in_force_until_its_process_is_gone() -> None:
    """Two that want different limits keep the slower; it ends when its process leaves, or is silent for a minute."""
    joint = take_part(Joint(0, 0), "a", Rate(100, 60))
    joint = take_part(joint, "b", Rate(10, 60))
    assert take_part(joint, "a", Rate(100, 60)).rate == Rate(10, 60)
    assert take_part(leave(joint, "b"), "a", Rate(100, 60)).rate == Rate(100, 60)
    silent = take_part(elapse(joint, ABSENT_S - 1, ABSENT_S - 1), "a", Rate(100, 60))
    assert silent.rate == Rate(10, 60)
    assert take_part(elapse(silent, ABSENT_S + 1, ABSENT_S + 1), "a", Rate(100, 60)).rate == Rate(100, 60)


def test_a_shared_pause_only_lengthens() -> None:
    """A pause that ends earlier than the one that is on changes nothing, and while it lasts nobody is granted anything."""
    joint = pause(Joint(0, 0, rate=Rate(100)), 30, new=True)
    assert grant(joint)[1:] == (0, 30)
    assert grant(elapse(joint, 30, 30))[1] > 0
    assert pause(joint, 5, new=False).paused_s == 30
    assert pause(joint, 50, new=False).paused_s == 50


def test_a_limit_where_there_was_none_begins_empty() -> None:
    """What left without a limit is not known, so the first limit grants nothing at once."""
    joint = take_part(Joint(0, 0), "a", None)
    _, granted, wait = grant(take_part(joint, "a", Rate(10)))
    assert granted == 0
    assert wait > 0


@given(
    rate=st.one_of(st.none(), st.builds(Rate, st.floats(0.1, 1e4), st.floats(0.1, 1e4))),
    steps=st.lists(st.floats(0, 1e6), max_size=4),
)
def test_the_state_survives_being_written(rate: Rate | None, steps: list[float]) -> None:
    """What is written is what is read."""
    joint = take_part(Joint(1.5, 2.5), "a", rate)
    for seconds in steps:
        joint = pause(elapse(joint, joint.ticks + seconds, joint.wall + seconds), seconds, new=True)
    assert from_text(to_text(joint)) == joint


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"ticks": "x"}', to_text(Joint(0, 0)).replace("0", "true", 1)]
)
def test_a_state_that_is_none_is_refused(text: str) -> None:
    """Anything else than what is written is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        from_text(text)


# ---------------------------------------------------------------------- the boundary


def shared(rate: Rate | None, folder: Path, key: str = KEY) -> Shared:
    loop = asyncio.get_running_loop()
    return Shared(rate, folder, key, ticks=loop.time, wall=lambda: 1e9 + loop.time())


async def endless(pacing: Shared, times: list[float], own: list[float]) -> None:
    while True:
        await pacing.acquire()
        times.append(now())
        own.append(now())


async def together(pacings: list[Shared], seconds: float, workers: int = 2) -> tuple[list[float], list[int]]:
    """When permits were got by all, and how many by each."""
    times, own = list[float](), [list[float]() for _ in pacings]
    tasks = [
        asyncio.create_task(endless(pacing, times, mine))
        for pacing, mine in zip(pacings, own, strict=True)
        for _ in range(workers)
    ]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return times, [len(mine) for mine in own]


@pytest.mark.parametrize("rate", [Rate(8, 60), Rate(100, 60), Rate(50), Rate(1000)], ids=str)
def test_two_share_one_limit(rate: Rate, tmp_path: Path) -> None:
    """Two pacings of one key keep one limit in any window, use 0.9 of it, and each gets its share."""
    seconds = 20 * rate.per if rate.n < 60 else 3 * rate.per

    async def main() -> tuple[list[float], list[int]]:
        pacings = [shared(rate, tmp_path), shared(rate, tmp_path)]
        try:
            return await together(pacings, seconds)
        finally:
            for pacing in pacings:
                pacing.close()

    times, each = virtual.run(main())
    assert worst(times, rate.per) <= rate.n
    assert len(times) >= 0.9 * rate.n * seconds / rate.per
    assert min(each) >= 0.3 * len(times)


def test_what_lies_of_a_lease_is_lost_with_its_hold(tmp_path: Path) -> None:
    """However many processes have a part of a lease lying, none of it leaves later in a window of its own."""

    async def main() -> list[float]:
        pacings = [shared(Rate(1000), tmp_path) for _ in range(12)]
        for pacing in pacings:
            await pacing.acquire()  # the first of a lease of several
        await asyncio.sleep(2)
        times, _ = await together(pacings, 1.5, workers=1)
        for pacing in pacings:
            pacing.close()
        return times

    assert worst(virtual.run(main()), 1) <= 1000


def test_two_keys_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Another key's limit is another limit."""

    async def main() -> list[int]:
        pacings = [shared(Rate(50), tmp_path), shared(Rate(50), tmp_path, "fedcba9876543210")]
        _, each = await together(pacings, 4)
        for pacing in pacings:
            pacing.close()
        return each

    assert min(virtual.run(main())) >= 0.9 * 200


def test_a_pause_is_everybodys_and_only_lengthens(tmp_path: Path) -> None:
    """A pause that one is told of stops the other, counts as one for both, and a shorter one does not end it."""

    async def main() -> None:
        one, other = shared(Rate(10), tmp_path), shared(Rate(10), tmp_path)
        await one.acquire()
        await other.acquire()
        begun, seen = now(), other.pauses
        assert one.pause(30)
        assert not one.pause(5)
        assert one.paused_s == pytest.approx(30)
        assert not other.pause(1, since=seen)  # the same complaint, told to the other
        assert (one.pauses, other.pauses) == (1, seen + 1)
        assert other.paused_s == pytest.approx(30)
        await asyncio.gather(one.acquire(), other.acquire())
        assert now() >= begun + 30
        assert one.pause(1)
        for _ in range(20):
            await other.acquire()
        assert (one.pauses, other.pauses) == (2, seen + 2)  # a new complaint is told from one of before it
        one.close()
        other.close()

    virtual.run(main())


def test_a_waiter_hears_of_the_others_pause(tmp_path: Path) -> None:
    """Whoever waits for a permit while another process is told to pause leaves only after it."""

    async def main() -> None:
        one, other = shared(Rate(6, 60), tmp_path), shared(Rate(6, 60), tmp_path)
        while one.try_acquire():
            pass
        waiter = asyncio.create_task(other.acquire())
        await asyncio.sleep(1)
        begun = now()
        one.pause(100)
        await waiter
        assert now() >= begun + 100
        one.close()
        other.close()

    virtual.run(main())


def test_a_new_rate_is_in_force_for_both(tmp_path: Path) -> None:
    """A limit that one lowers holds the sum; each can expect half of it."""

    async def main() -> list[float]:
        one, other = shared(Rate(100), tmp_path), shared(Rate(100), tmp_path)
        await together([one, other], 2)
        one.set_rate(Rate(20))
        begun = now()
        times, _ = await together([one, other], 5)
        assert other.rate == Rate(20)
        assert other.processes == 2
        assert other.allowed_per_second == pytest.approx(joint_bucket(Rate(20)).per_second / 2)
        one.close()
        other.close()
        return [t - begun for t in times]

    times = virtual.run(main())
    assert worst(times, 1) <= 20
    assert len(times) >= 0.9 * 100


def test_who_leaves_leaves_the_limit_to_the_others(tmp_path: Path) -> None:
    """A process that ends takes its slower limit with it, and its share goes to those who stay, at their next look."""

    async def main() -> None:
        one, other = shared(Rate(20), tmp_path), shared(Rate(100), tmp_path)
        assert (one.rate, other.rate) == (Rate(20), Rate(100))  # before the first look, each its own
        await together([one, other], 2)
        assert (other.rate, other.processes) == (Rate(20), 2)
        one.close()
        begun = now()
        times, _ = await together([other], 5)
        assert (other.rate, other.processes) == (Rate(100), 1)
        other.close()
        assert worst([t - begun for t in times], 1) <= 100
        assert len(times) >= 0.8 * 100 * 5

    virtual.run(main())


def test_without_a_rate_nothing_waits_but_a_pause_is_heard_of(tmp_path: Path) -> None:
    """No known limit: permits are there at once, and within half a second of another's pause they are not."""

    async def main() -> None:
        one, other = shared(None, tmp_path), shared(None, tmp_path)
        assert all(one.try_acquire() and other.try_acquire() for _ in range(1000))
        assert one.allowed_per_second is None
        one.pause(10)
        await asyncio.sleep(0.5)
        assert not other.try_acquire()
        begun = now()
        await other.acquire()
        assert now() >= begun + 9.4
        one.set_rate(Rate(10))
        assert one.rate == Rate(10)
        await other.acquire()
        await asyncio.sleep(0.6)
        other.try_acquire()
        assert other.rate == Rate(10)
        one.close()
        other.close()

    virtual.run(main())


def test_without_a_rate_the_file_is_left_alone_for_half_a_second(tmp_path: Path) -> None:
    """Permits that nothing limits do not cost a write each: the file is looked at every half a second."""

    async def main() -> None:
        pacing = shared(None, tmp_path)
        assert pacing.try_acquire()
        file = sqlite3.connect(tmp_path / NAME, isolation_level=None)

        def writes() -> int:
            return int(file.execute("PRAGMA data_version").fetchone()[0])

        before = writes()
        for _ in range(4):
            await asyncio.sleep(0.1)
            assert pacing.try_acquire()
        assert writes() == before
        await asyncio.sleep(0.2)
        assert pacing.try_acquire()
        assert writes() != before
        file.close()
        pacing.close()

    virtual.run(main())


def test_without_a_rate_a_short_pause_is_no_longer_than_it_is(tmp_path: Path) -> None:
    """A pause of a fifth of a second is over after a fifth of a second, though the file is looked at more seldom."""

    async def main() -> None:
        one, other = shared(None, tmp_path), shared(None, tmp_path)
        begun = now()
        one.pause(0.2)
        await asyncio.gather(one.acquire(), other.acquire())
        assert 0.2 <= now() - begun < 0.25
        one.close()
        other.close()

    virtual.run(main())


def test_a_new_rate_brings_no_permit_with_it(tmp_path: Path) -> None:
    """However often the limit is changed, a bucket that was emptied stays empty: no change grants a request."""

    async def main() -> None:
        pacing = shared(Rate(8, 60), tmp_path)
        while pacing.try_acquire():
            pass
        for n in (7, 6, 5, 6, 7):
            pacing.set_rate(Rate(n, 60))
            assert not pacing.try_acquire()
        pacing.close()

    virtual.run(main())


def test_a_limit_is_left_before_it_was_looked_at(tmp_path: Path) -> None:
    """A pacing that is closed before its first permit says nothing and leaves nothing in the file."""

    async def main() -> None:
        shared(Rate(50), tmp_path).close()

    virtual.run(main())
    with sqlite3.connect(tmp_path / NAME) as file:
        assert file.execute("SELECT COUNT(*) FROM joint").fetchone() == (0,)
    file.close()


def test_cancelled_waiters_hold_up_nobody(tmp_path: Path) -> None:
    """Waiters that give up leave the queue, and those behind them get their permits."""

    async def main() -> None:
        pacing = shared(Rate(10), tmp_path)
        while pacing.try_acquire():
            pass
        waiters = [asyncio.create_task(pacing.acquire()) for _ in range(6)]
        await asyncio.sleep(0)
        assert pacing.waiting == 6
        for waiter in waiters[:4]:
            waiter.cancel()
        begun = now()
        await asyncio.gather(*waiters[4:])
        assert pacing.waiting == 0
        assert now() < begun + 0.5
        pacing.close()

    virtual.run(main())


def test_the_next_run_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    """A run that begins right behind another one finds no fresh burst."""

    async def main() -> list[float]:
        times: list[float] = []
        for _ in range(6):
            pacing = shared(Rate(50), tmp_path)
            more, _ = await together([pacing], 0.2)
            times += more
            pacing.close()
        return times

    assert worst(virtual.run(main()), 1) <= 50


def test_the_file_is_the_users_alone_and_holds_no_key(tmp_path: Path) -> None:
    """The file has mode 0600, its folder 0700, and what stands in it is the fingerprint."""
    folder = tmp_path / "state"

    async def main() -> None:
        pacing = shared(Rate(50), folder)
        await pacing.acquire()
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        pacing.close()
        pacing.close()

    virtual.run(main())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with sqlite3.connect(folder / NAME) as file:
        assert [row[0] for row in file.execute("SELECT fingerprint FROM joint")] == [KEY]
    file.close()


@pytest.mark.parametrize("what", ["garbage", "state", "version", "folder"])
def test_a_file_that_cannot_be_used_is_a_warning_and_a_pacing_of_ones_own(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Torn, foreign or impossible: one warning, and this process keeps the limit on its own."""
    path = tmp_path / NAME
    match what:
        case "garbage":
            path.write_bytes(b"no database" * 1000)
        case "folder":
            path.mkdir()
        case _:
            file = sqlite3.connect(path)
            file.execute("CREATE TABLE joint (fingerprint TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID")
            file.execute("INSERT INTO joint VALUES (?, 'torn')", (KEY,))
            file.execute(f"PRAGMA user_version={99 if what == 'version' else 1}")
            file.commit()
            file.close()

    async def main() -> list[float]:
        pacing = shared(Rate(50), tmp_path)
        times, _ = await together([pacing], 4)
        assert pacing.rate == Rate(50)
        assert pacing.allowed_per_second == bucket(Rate(50)).per_second
        assert pacing.pause(5)
        assert not pacing.pause(5)
        assert (pacing.pauses, pacing.processes) == (1, 1)
        assert pacing.paused_s == pytest.approx(5)
        await asyncio.sleep(6)
        assert not pacing.pause(5, since=0)  # of a request that was sent before the pause that is over
        assert (pacing.pauses, pacing.processes) == (1, 1)
        pacing.set_rate(Rate(20))
        assert pacing.rate == Rate(20)
        pacing.close()
        return times

    with caplog.at_level(logging.WARNING, "bulkdel"):
        times = virtual.run(main())
    assert worst(times, 1) <= 50
    assert len(times) >= 0.9 * 200
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_file_that_fails_midway_grants_no_second_burst(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the file is torn during a run, this process goes on alone, its pause kept and its bucket empty."""

    async def main() -> list[float]:
        pacing = shared(Rate(50), tmp_path)
        times, _ = await together([pacing], 2)
        pacing.pause(0.5)
        file = sqlite3.connect(tmp_path / NAME)
        file.execute("UPDATE joint SET state='torn'")
        file.commit()
        file.close()
        begun = now()
        more, _ = await together([pacing], 3)
        assert min(more) >= begun + 0.5
        assert pacing.pauses == 1
        pacing.close()
        return times + more

    with caplog.at_level(logging.WARNING, "bulkdel"):
        times = virtual.run(main())
    assert worst(times, 1) <= 50
    assert len(times) >= 0.9 * 50 * 4.5
    assert len(caplog.records) == 1


def test_going_on_alone_begins_with_nothing(tmp_path: Path) -> None:
    """What was taken from the file before it failed is not granted a second time."""

    async def main() -> None:
        pacing = shared(Rate(50), tmp_path)
        while pacing.try_acquire():
            pass
        file = sqlite3.connect(tmp_path / NAME)
        file.execute("UPDATE joint SET state='torn'")
        file.commit()
        file.close()
        await asyncio.sleep(0.1)
        assert not pacing.try_acquire()
        await pacing.acquire()
        pacing.close()

    virtual.run(main())


def test_a_file_that_another_holds_for_a_moment_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A lock held for a second delays leases; one held for long makes this process go on alone."""

    async def main() -> None:
        pacing = shared(Rate(50), tmp_path)
        await pacing.acquire()
        file = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        file.execute("BEGIN IMMEDIATE")
        while pacing.try_acquire():
            pass
        loop = asyncio.get_running_loop()
        loop.call_later(1, file.execute, "ROLLBACK")
        begun = now()
        await pacing.acquire()
        assert begun + 1 <= now() <= begun + 1.1
        assert not caplog.records
        file.execute("BEGIN IMMEDIATE")
        assert pacing.pause(2)  # not lost, although the file cannot be told now
        begun = now()
        await asyncio.gather(*(pacing.acquire() for _ in range(5)))
        assert now() >= begun + 10
        assert len(caplog.records) == 1
        file.close()
        pacing.close()

    with caplog.at_level(logging.WARNING, "bulkdel"):
        virtual.run(main())


# ---------------------------------------------------------------------- real processes

CHILD = """
import asyncio, sys, time
from pathlib import Path
from bulkdel.model import Rate
from bulkdel.limits.shared import Shared

async def main(folder, rate, seconds, loops):
    pacing = Shared(Rate(rate), Path(folder), "0123456789abcdef")
    times = []
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    async def worker():
        while time.monotonic() < end:
            await pacing.acquire()
            times.append(time.monotonic())
            if loops:
                print(times[-1], flush=True)
            await asyncio.sleep(0)
    await asyncio.gather(*(worker() for _ in range(3)))
    pacing.close()
    if not loops:
        print(*times, flush=True)

asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "told"))
"""


def child(folder: Path, rate: float, seconds: float, how: str = "end") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(rate), str(seconds), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def begin(children: list[subprocess.Popen[str]]) -> None:
    for process in children:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in children:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.parametrize("rate", [50, 500])
def test_real_processes_keep_one_limit_between_them(rate: int, tmp_path: Path) -> None:
    """Three processes that begin at once on no file at all: every window of a second holds at most the limit."""
    children = [child(tmp_path, rate, 1.5) for _ in range(3)]
    begin(children)
    said = [process.communicate()[0] for process in children]
    assert [process.returncode for process in children] == [0, 0, 0]
    times = sorted(float(word) for words in said for word in words.split())
    assert worst(times, 1.0) <= rate


def test_what_a_killed_process_wanted_lapses_at_once(tmp_path: Path) -> None:
    """After kill -9 of one that wanted 2 a second nobody keeps to that any more: its number and birth tell that it has ended."""
    slow = child(tmp_path, 2, 60, "told")
    begin([slow])
    assert slow.stdout is not None
    slow.stdout.readline()

    async def begun() -> tuple[Rate | None, bool]:
        pacing = shared(Rate(100), tmp_path)
        pacing.try_acquire()
        found = pacing.rate, pacing.rate_is_anothers
        pacing.close()
        return found

    assert virtual.run(begun()) == (Rate(2), True)
    os.kill(slow.pid, signal.SIGKILL)
    slow.communicate()
    assert virtual.run(begun()) == (Rate(100), False)


@pytest.mark.parametrize(
    ("host", "space", "lapses"),
    [("", "", True), ("elsewhere", "", False), ("", "elsewhere", False), (None, "", False)],
)
def test_only_who_is_known_to_have_ended_is_forgotten(
    tmp_path: Path, host: str | None, space: str, lapses: bool
) -> None:
    """A process of another machine or of another container may run: no number of ours says anything about it."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    words = ["00", ended.pid, "", host or this_process().host, space or process_space()]
    name = f"{ended.pid}-0011aabb" if host is None else json.dumps(words)
    file = JointFile(tmp_path)

    async def begun() -> Rate | None:
        loop = asyncio.get_running_loop()
        with file.locked(KEY) as change:
            change.after = take_part(Joint(loop.time(), loop.time()), name, Rate(2))
        file.close()
        pacing = shared(Rate(100), tmp_path)
        pacing.try_acquire()
        rate = pacing.rate
        pacing.close()
        return rate

    assert virtual.run(begun()) == (Rate(100) if lapses else Rate(2))


def test_a_killed_process_takes_nothing_with_it(tmp_path: Path) -> None:
    """After kill -9 of one the file is whole, the other goes on, and the two together never exceed the limit."""
    victim, survivor = child(tmp_path, 200, 60, "told"), child(tmp_path, 200, 1.5)
    begin([victim, survivor])
    assert victim.stdout is not None
    lines = [victim.stdout.readline() for _ in range(20)]
    os.kill(victim.pid, signal.SIGKILL)
    rest = victim.communicate()[0]
    said = survivor.communicate()[0]
    assert survivor.returncode == 0
    lines += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    theirs = [float(line) for line in lines]
    ours = [float(word) for word in said.split()]
    assert worst(sorted(theirs + ours), 1.0) <= 200
    assert ours[-1] > theirs[-1]

    async def alone() -> list[float]:
        pacing = Shared(
            Rate(200), tmp_path, KEY, ticks=asyncio.get_running_loop().time, wall=asyncio.get_running_loop().time
        )
        times, _ = await together([pacing], 5)
        pacing.close()
        return times

    assert len(virtual.run(alone())) >= 0.9 * 200 * 5
