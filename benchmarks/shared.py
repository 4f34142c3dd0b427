"""Two processes with one key: what both together send, against the limit that they share.

    python -m benchmarks.shared                  # real processes, 20 s of each case, and an hour on a simulated clock
    python -m benchmarks.shared --seconds 60

Prints one row for each case: the fullest window (it must not exceed the limit), the share of the limit that left under lasting
demand, each process's share, and the CPU time that pacing cost.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from typing import Any

from bulkdel.model import Rate
from bulkdel.pacing.shared import Shared
from tests import virtual
from tests.pacing.departures import worst

KEY = "0123456789abcdef"
WORKERS = 4


async def demand(pacing: Shared, seconds: float, clock: Any, times: list[float]) -> None:
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
            pacings = [Shared(rate, Path(folder), KEY, ticks=clock, wall=clock) for _ in range(processes)]
            times: list[list[float]] = [[] for _ in pacings]
            await asyncio.gather(*(demand(p, seconds, clock, t) for p, t in zip(pacings, times, strict=True)))
            for pacing in pacings:
                pacing.close()
        return times

    began = time.process_time()
    return virtual.run(main()), (time.process_time() - began) / seconds


def child(folder: str, n: float, per: float, seconds: float) -> None:
    """One real process: prints when its permits were got."""

    async def main() -> None:
        pacing = Shared(Rate(n, per), Path(folder), KEY)
        times: list[float] = []
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.process_time()
        with contextlib.suppress(asyncio.CancelledError):
            await demand(pacing, seconds, time.monotonic, times)
        print(json.dumps([times, (time.process_time() - began) / seconds]))
        pacing.close()

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


def row(case: str, rate: Rate, seconds: float, got: tuple[list[list[float]], float]) -> str:
    times, cpu = got
    together = sorted(t for each in times for t in each)
    limit = math.floor(rate.n)
    share = len(together) / (rate.per_second * seconds)
    each = " + ".join(f"{100 * len(t) / max(1, len(together)):.0f} %" for t in times)
    fullest = worst(together, rate.per)
    broken = "" if fullest <= limit else " BROKEN"
    return f"| {case} | {rate} | {fullest} of {limit}{broken} | {share:.3f} | {each} | {100 * cpu:.1f} % |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each case with real processes")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], *map(float, given.child[1:]))
        return
    print("| case | limit | fullest window | of the limit | each process | CPU of a core, each |")
    print("|---|---|---|---|---|---|")
    for processes in (1, 2, 5):
        rate = Rate(100, 60)
        print(row(f"{processes} on a simulated clock, 1 h", rate, 3600, simulated(rate, 3600, processes)), flush=True)
    for rate in (Rate(100, per=3), Rate(50), Rate(500), Rate(2000)):
        got = real(rate, given.seconds, 2, None)
        print(row(f"2 real processes, {given.seconds:g} s", rate, given.seconds, got), flush=True)
    rate = Rate(100, per=3)
    killed = real(rate, given.seconds, 1, 0.1 * given.seconds)
    print(row("1 real process, another killed after a tenth", rate, given.seconds, killed))


if __name__ == "__main__":
    main()
