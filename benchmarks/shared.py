"""Two processes with one key: what both together send, against the limit that they share: ``python -m benchmarks.shared``.

For each case the fullest window (it must not exceed the limit), the share of the limit that left under lasting demand, each
process's share, and the CPU time that pacing cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.table import Row
from bulkdel.limits import Limiter
from bulkdel.limits.file_store import FileStore
from bulkdel.model import Rate
from tests import virtual
from tests.limits.departures import worst

KEY = "0123456789abcdef"
WORKERS = 4


async def demand(pacing: Limiter, seconds: float, clock: Any, times: list[float]) -> None:
    """Workers that always have one more to send, for so long; notes when they left."""
    end = clock() + seconds

    async def worker() -> None:
        while clock() < end:
            await pacing.acquire()
            times.append(clock())
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(worker()) for _ in range(WORKERS)]
    _, pending = await asyncio.wait(tasks, timeout=seconds)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)


def simulated(rate: Rate, seconds: float, processes: int) -> tuple[list[list[float]], float]:
    """Several pacings on one file and one virtual clock."""

    async def main() -> list[list[float]]:
        clock = asyncio.get_running_loop().time
        with tempfile.TemporaryDirectory() as folder:
            pacings = [
                Limiter(FileStore(Path(folder), KEY, monotonic=clock, wall=clock), rate) for _ in range(processes)
            ]
            times: list[list[float]] = [[] for _ in pacings]
            await asyncio.gather(*(demand(p, seconds, clock, t) for p, t in zip(pacings, times, strict=True)))
            for pacing in pacings:
                await pacing.aclose()
        return times

    began = time.process_time()
    return virtual.run(main()), (time.process_time() - began) / seconds


def child(folder: str, n: float, per: float, seconds: float) -> None:
    """One real process: prints when its permits were got."""

    async def main() -> None:
        pacing = Limiter(FileStore(Path(folder), KEY), Rate(n, per))
        times: list[float] = []
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.process_time()
        with contextlib.suppress(asyncio.CancelledError):
            await demand(pacing, seconds, time.monotonic, times)
        print(json.dumps([times, (time.process_time() - began) / seconds]))
        await pacing.aclose()

    asyncio.run(main())


def real(rate: Rate, seconds: float, processes: int, kill_at: float | None) -> tuple[list[list[float]], float]:
    """Several processes on one file; with ``kill_at`` one more is killed after so many seconds, and its times are not known."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "benchmarks.shared", "--child", folder, str(rate.n), str(rate.per), str(seconds)]
        many = processes + (kill_at is not None)
        started = [
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(many)
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        if kill_at is not None:
            time.sleep(kill_at)
            victim = started.pop()
            os.kill(victim.pid, signal.SIGKILL)
            victim.communicate()
        said = [json.loads(process.communicate()[0]) for process in started]
        return [times for times, _ in said], sum(cpu for _, cpu in said) / len(said)


def row(case: str, rate: Rate, seconds: float, got: tuple[list[list[float]], float]) -> Row:
    times, cpu = got
    together = sorted(t for each in times for t in each)
    limit = math.floor(rate.n)
    share = len(together) / (rate.per_second * seconds)
    each = " + ".join(f"{100 * len(t) / max(1, len(together)):.0f} %" for t in times)
    fullest = worst(together, rate.per)
    return Row(
        f"{rate}, {case}",
        "never more than the limit in any window of its length; >= 0.9 of it together",
        f"fullest window {fullest} of {limit}; {share:.3f} of the limit ({each}); {100 * cpu:.1f} % of a core each",
        fullest <= limit and share >= 0.9,
    )


def rows(seconds: float = 20.0) -> Iterator[Row]:
    """An hour on a simulated clock, and so many seconds of real processes."""
    minute = Rate(100, 60)
    for processes in (2, 5):
        yield row(f"{processes} processes, 1 h on a simulated clock", minute, 3600, simulated(minute, 3600, processes))
    for rate in (Rate(100, per=3), Rate(50), Rate(500), Rate(2000)):
        yield row(f"2 real processes, {seconds:g} s", rate, seconds, real(rate, seconds, 2, None))
    rate = Rate(100, per=3)
    killed = real(rate, seconds, 1, 0.1 * seconds)
    yield row("1 real process, another killed after a tenth", rate, seconds, killed)


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        folder, *numbers = sys.argv[2:]
        child(folder, *map(float, numbers))
        return 0
    return table.run("Pacing", {"shared": rows}, table.arguments(__doc__ or "", ()))


if __name__ == "__main__":
    sys.exit(main())
