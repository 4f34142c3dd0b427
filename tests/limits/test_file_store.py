"""The limit that processes of one machine share: a file that cannot be used, clocks that are set, and real processes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bulkdel.limits import Limiter, shared_bucket
from bulkdel.limits.bucket import fairness_delay
from bulkdel.limits.file_store import NAME, FileStore
from bulkdel.model import Rate
from tests import virtual
from tests.limits.departures import now, worst
from tests.limits.stores import KEY, demand, file_store

# ---------------------------------------------------------------------- clocks


class World:
    """Processes that take leases from one file, each leaving as late as it may, on clocks that can be set."""

    def __init__(self, folder: Path, rate: Rate) -> None:
        self.folder, self.rate = folder, rate
        self.time, self.monotonic, self.wall = 1000.0, 0.0, 1e9
        self.stores: dict[str, FileStore] = {}
        self.next: dict[str, float] = {}
        self.misses: dict[str, int] = {}
        self.times: list[float] = []

    async def take(self, name: str, late: float) -> None:
        if name not in self.stores:
            self.stores[name] = FileStore(
                self.folder,
                KEY,
                monotonic=lambda: self.time + self.monotonic,
                wall=lambda: self.time + self.wall,
            )
        lease = await self.stores[name].take(self.rate, 0.0)
        self.misses[name] = 0 if lease.permits else self.misses.get(name, 0) + 1
        self.next[name] = self.time + lease.retry_s + fairness_delay(lease.slack_s, self.misses[name]) + 1e-6
        self.times += [self.time + late * lease.use_within_s] * int(lease.permits)

    async def run(self, seconds: float, names: list[str], late: float = 0.0) -> None:
        end = self.time + seconds
        while True:
            name = min(names, key=lambda n: self.next.get(n, 0.0))
            due = max(self.time, self.next.get(name, 0.0))
            if due >= end:
                self.time = end
                return
            self.time = due
            await self.take(name, late)

    async def close(self) -> None:
        for store in self.stores.values():
            await store.aclose()


STEP = st.tuples(
    st.sampled_from(["run", "run", "idle", "monotonic", "wall", "crash", "both"]),
    st.floats(0, 1.3),
    st.sampled_from([-1e6, -60.0, -0.5, 0.5, 60.0, 1e6]),
    st.floats(0, 1),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([Rate(8, 60), Rate(100, 60), Rate(50), Rate(400)]),
    processes=st.integers(1, 4),
    steps=st.lists(STEP, max_size=8),
    forward=st.sampled_from(["monotonic", "wall"]),  # both set forward at once are not to be told from time that passed
)
# A clock that is set forward again and again would fill the bucket each time.
@example(rate=Rate(100, 60), processes=1, steps=[("wall", 0.01, 60.0, 0.0)] * 100, forward="wall")
@example(rate=Rate(100, 60), processes=1, steps=[("monotonic", 0.01, 60.0, 0.0)] * 100, forward="monotonic")
def test_no_clock_that_is_set_grants_anything(
    tmp_path_factory: pytest.TempPathFactory,
    rate: Rate,
    processes: int,
    steps: list[tuple[str, float, float, float]],
    forward: str,
) -> None:
    """Idle times, crashes, one clock set at a time, both set back: the sum keeps the limit, and demand gets most of it."""

    async def main() -> None:
        world = World(tmp_path_factory.mktemp("limit"), rate)
        names = [f"p{i}" for i in range(processes)]
        for what, share, offset, late in steps:
            match what:
                case "idle":
                    world.time += share * rate.per
                case "monotonic":
                    world.monotonic += offset if forward == "monotonic" else -abs(offset)
                case "wall":
                    world.wall += offset if forward == "wall" else -abs(offset)
                case "both":
                    world.monotonic -= abs(offset)
                    world.wall -= abs(offset)
                case "crash":  # another one in its place; what it held is lost
                    names[0] = f"again{world.time}{share}"
            await world.run(share * rate.per, names, late)
        world.times.sort()
        assert worst(world.times, rate.per) <= rate.n
        before = len(world.times)
        await world.run(2 * rate.per, names)
        assert len(world.times) - before >= 0.9 * 2 * rate.n - 2 * shared_bucket(rate).lease - 2
        await world.close()

    asyncio.run(main())


# ---------------------------------------------------------------------- the file


def test_the_file_is_the_users_alone_and_holds_no_key(tmp_path: Path) -> None:
    """The file has mode 0600, its folder 0700, and what stands in it is the fingerprint."""
    folder = tmp_path / "state"

    async def main() -> None:
        limiter = Limiter(file_store(folder), Rate(50))
        await limiter.acquire()
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await limiter.aclose()
        await limiter.aclose()

    virtual.run(main())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with sqlite3.connect(folder / NAME) as file:
        assert [row[0] for row in file.execute("SELECT fingerprint FROM bucket")] == [KEY]
        assert file.execute("SELECT COUNT(*) FROM process").fetchone() == (0,)
    file.close()


def test_without_a_rate_the_file_is_left_alone(tmp_path: Path) -> None:
    """Permits that nothing limits do not cost a write each: the file is looked at every half a second."""

    async def main() -> None:
        limiter = Limiter(file_store(tmp_path), None)
        await limiter.acquire()
        file = sqlite3.connect(tmp_path / NAME, isolation_level=None)

        def writes() -> int:
            return int(file.execute("PRAGMA data_version").fetchone()[0])

        before = writes()
        for _ in range(4):
            await asyncio.sleep(0.1)
            assert limiter.try_acquire()
        assert writes() == before
        await asyncio.sleep(0.2)
        await limiter.acquire()
        assert writes() != before
        file.close()
        await limiter.aclose()

    virtual.run(main())


@pytest.mark.parametrize("what", ["garbage", "state", "version", "folder"])
def test_an_unusable_file_is_a_warning(what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Torn, of a later version or impossible: one warning, and this process keeps the limit alone."""
    path = tmp_path / NAME
    match what:
        case "garbage":
            path.write_bytes(b"no database" * 1000)
        case "folder":
            path.mkdir()
        case "version":
            file = sqlite3.connect(path)
            file.execute("PRAGMA user_version=99")
            file.close()
        case _:
            _tear(tmp_path, make=True)

    async def main() -> list[float]:
        limiter = Limiter(file_store(tmp_path), Rate(50))
        (times,) = await demand([limiter], 4)
        assert (limiter.rate, limiter.processes) == (Rate(50), 1)
        assert limiter.pause(5)
        assert not limiter.pause(5)
        await asyncio.sleep(6)
        limiter.set_rate(Rate(20))
        assert limiter.rate == Rate(20)
        await limiter.aclose()
        return times

    with caplog.at_level(logging.WARNING, "bulkdel"):
        times = virtual.run(main())
    assert worst(times, 1) <= 50
    assert len(times) >= 0.9 * 200
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def _tear(folder: Path, *, make: bool = False) -> None:
    if make:

        async def one() -> None:
            limiter = Limiter(file_store(folder), Rate(50))
            await limiter.acquire()
            await limiter.aclose()

        virtual.run(one())
    file = sqlite3.connect(folder / NAME)
    file.execute("UPDATE bucket SET tokens='torn'")
    file.commit()
    file.close()


def test_a_file_that_fails_midway_grants_no_burst(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When the file is torn during a run, this process goes on alone, its pause kept and its bucket empty."""

    async def main() -> list[float]:
        limiter = Limiter(file_store(tmp_path), Rate(50))
        (times,) = await demand([limiter], 2)
        limiter.pause(0.5)
        _tear(tmp_path)
        begun = now()
        (more,) = await demand([limiter], 3)
        assert min(more) >= begun + 0.5
        await limiter.aclose()
        return times + more

    with caplog.at_level(logging.WARNING, "bulkdel"):
        times = virtual.run(main())
    assert worst(times, 1) <= 50
    assert len(times) >= 0.9 * 50 * 4.5
    assert len(caplog.records) == 1


def test_a_file_that_another_holds_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A lock held for a second delays leases; one held for long makes this process go on alone."""

    async def main() -> None:
        limiter = Limiter(file_store(tmp_path), Rate(50))
        for _ in range(5):
            await limiter.acquire()
        file = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        file.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(1, file.execute, "ROLLBACK")
        begun = now()
        await limiter.acquire()
        await limiter.acquire()
        assert begun + 1 <= now() <= begun + 1.1
        assert not caplog.records
        file.execute("BEGIN IMMEDIATE")
        assert limiter.pause(2)  # not lost, although the file cannot be changed now
        begun = now()
        await asyncio.gather(*(limiter.acquire() for _ in range(5)))
        assert now() >= begun + 10
        assert len(caplog.records) == 1
        file.close()
        await limiter.aclose()

    with caplog.at_level(logging.WARNING, "bulkdel"):
        virtual.run(main())


# ---------------------------------------------------------------------- real processes

CHILD = """
import asyncio, sys, time
from pathlib import Path
from bulkdel.model import Rate
from bulkdel.limits import Limiter
from bulkdel.limits.file_store import FileStore

async def main(folder, rate, seconds, at_once):
    limiter = Limiter(FileStore(Path(folder), "0123456789abcdef"), Rate(rate))
    times = []
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    async def worker():
        while time.monotonic() < end:
            await limiter.acquire()
            times.append(time.monotonic())
            if at_once:
                print(times[-1], flush=True)
            await asyncio.sleep(0)
    await asyncio.gather(*(worker() for _ in range(3)))
    await limiter.aclose()
    if not at_once:
        print(*times, flush=True)

asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "at once"))
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


OPENING = """
import sys
from pathlib import Path
from bulkdel.limits.file_store import FileStore
for k in range(40):
    print(k, flush=True)
    sys.stdin.readline()
    FileStore(Path(sys.argv[1]) / str(k), "0123456789abcdef")
"""


def test_files_that_are_opened_at_once_are_shared(tmp_path: Path) -> None:
    """Two processes open one file in one moment, again and again: none finds it locked and goes on alone."""
    words = [sys.executable, "-c", "import logging; logging.basicConfig()" + OPENING, str(tmp_path)]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for _ in range(40):
        for process in both:
            assert process.stdout is not None
            process.stdout.readline()
        for process in both:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
    assert [process.communicate()[1] for process in both] == ["", ""]


@pytest.mark.parametrize("rate", [50, 500])
def test_real_processes_keep_one_limit(rate: int, tmp_path: Path) -> None:
    """Three processes that begin at once on no file at all: every window of a second holds at most the limit."""
    children = [child(tmp_path, rate, 1.5) for _ in range(3)]
    begin(children)
    said = [process.communicate()[0] for process in children]
    assert [process.returncode for process in children] == [0, 0, 0]
    assert worst(sorted(float(word) for words in said for word in words.split()), 1.0) <= rate


def test_a_killed_process_takes_nothing_with_it(tmp_path: Path) -> None:
    """After kill -9 of one the file is whole, the other goes on, and the two together never exceed the limit."""
    victim, survivor = child(tmp_path, 200, 60, "at once"), child(tmp_path, 200, 1.5)
    begin([victim, survivor])
    assert victim.stdout is not None
    lines = [victim.stdout.readline() for _ in range(20)]
    os.kill(victim.pid, signal.SIGKILL)
    rest = victim.communicate()[0]
    said = survivor.communicate()[0]
    assert survivor.returncode == 0
    theirs = [float(line) for line in lines + [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]]
    ours = [float(word) for word in said.split()]
    assert worst(sorted(theirs + ours), 1.0) <= 200
    assert ours[-1] > theirs[-1]
