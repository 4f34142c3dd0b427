"""Processes with one key: what all of them send together, against the limit that they share in a file or in Redis.

For each case the fullest window (it must not exceed the limit), the share of the limit that left under lasting demand, each
process' share, and the CPU time that pacing cost. The span that counts is the one in which every process had begun.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.report import Options, Part
from bulkdel.limits import Limiter
from bulkdel.limits.file_store import FileStore
from bulkdel.limits.limiter import TokenStore
from bulkdel.limits.redis_store import RedisStore
from bulkdel.model import Rate
from tests import virtual
from tests.distributed.redis_server import RedisServer
from tests.limits.departures import worst

KEY = "0123456789abcdef"


@dataclass
class Found:
    """When the permits of each limiter were got, the demand's seconds, and the CPU seconds of all processes."""

    times: list[list[float]]
    seconds: float
    cpu_s: float

    @property
    def together(self) -> list[float]:
        return sorted(moment for each in self.times for moment in each)


async def demand(
    make: Callable[[], TokenStore], rate: Rate, limiters: int, seconds: float, clock: Callable[[], float]
) -> list[list[float]]:
    """Four workers of each limiter that always have one more to send, for so long; notes when they left."""
    made = [Limiter(make(), rate) for _ in range(limiters)]
    times: list[list[float]] = [[] for _ in made]

    async def worker(limiter: Limiter, got: list[float]) -> None:
        while True:
            await limiter.acquire()
            got.append(clock())
            await asyncio.sleep(0)

    # anyio cancels until a task has ended; a cancellation that Redis' client turns into an error of its own would be lost.
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as group:
            for limiter, got in zip(made, times, strict=True):
                for _ in range(4):
                    group.start_soon(worker, limiter, got)
    await asyncio.gather(*(limiter.aclose() for limiter in made))
    return times


def simulated(rate: Rate, seconds: float, processes: int) -> Found:
    """Several limiters on one file and one virtual clock."""

    async def main() -> list[list[float]]:
        clock = asyncio.get_running_loop().time
        with tempfile.TemporaryDirectory() as folder:
            return await demand(
                lambda: FileStore(Path(folder), KEY, monotonic=clock, wall=clock), rate, processes, seconds, clock
            )

    began = time.process_time()
    return Found(virtual.run(main()), seconds, time.process_time() - began)


def child(place: str, rate: Rate, limiters: int, seconds: float) -> None:
    """One real process: prints when its permits were got. ``place`` is a folder, or the address of a Redis."""

    def make() -> TokenStore:
        return RedisStore(place, KEY) if place.startswith("redis://") else FileStore(Path(place), KEY)

    print("ready", flush=True)
    sys.stdin.readline()
    began = time.process_time()
    times = asyncio.run(demand(make, rate, limiters, seconds, time.monotonic))
    print(json.dumps([times, time.process_time() - began]))


def real(place: str, rate: Rate, seconds: float, processes: int, *, limiters: int = 1, kill: bool = False) -> Found:
    """Several processes that begin together; with ``kill`` one more is killed after a tenth of the time."""
    command = [sys.executable, "-m", "benchmarks.shared", place, *map(str, (rate.n, rate.per, limiters, seconds))]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes + kill)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    if kill:
        time.sleep(0.1 * seconds)
        victim = started.pop()
        victim.kill()
        victim.communicate()
    said = [json.loads(process.communicate()[0]) for process in started]
    return Found([each for times, _ in said for each in times], seconds, sum(cpu for _, cpu in said))


def judge(part: Part, situation: str, rate: Rate, found: Found, more: str = "") -> None:
    """While every process was there: at most the limit in any window, and nearly all of it together."""
    together, limit = found.together, math.floor(rate.n)
    begun = [times for times in found.times if times]
    begin, end = max(times[0] for times in begun) + 0.5, min(times[-1] for times in begun)
    share = sum(begin <= moment < end for moment in together) / (end - begin) / rate.per_second
    least = min(map(len, found.times)) / (len(together) / len(found.times))
    fullest = worst(together, rate.per)
    measured = f"fullest window {fullest} of {limit}; {share:.3f} of the limit; least {least:.2f} of a fair share{more}"
    part.judge(f"{rate}, {situation}", measured, fullest <= limit and share >= 0.9)


def files(options: Options) -> Part:
    """An hour on a simulated clock, and some seconds of real processes."""
    part = Part("shared", "Several processes with one key")
    part.notes.append("target: never more than the limit in any window of its length; >= 0.9 of it together")
    minute, seconds = Rate(100, 60), 20.0 if options.full else 8.0
    for processes in (2, 5):
        judge(part, f"{processes} processes, 1 h on a simulated clock", minute, simulated(minute, 3600, processes))
    cases = [(Rate(n, per), 2, False) for n, per in ((100, 3), (50, 1), (500, 1), (2000, 1))]
    for rate, processes, kill in [*cases, (Rate(100, per=3), 1, True)]:
        with tempfile.TemporaryDirectory() as folder:
            found = real(folder, rate, seconds, processes, kill=kill)
        words = "1 real process, another killed after a tenth" if kill else f"{processes} real processes"
        cpu = f"; {found.cpu_s / seconds / processes:.1%} of a core each"
        judge(part, f"{words}, {seconds:g} s", rate, found, cpu)
    return part


def redis(options: Options) -> Part:
    """What a permit costs if the limit is kept in Redis: Redis' time is what its script takes (``INFO commandstats``)."""
    part = Part("permits", "Permits of a limit that is kept in Redis")
    part.notes.append(
        "target: never more than the limit in any window; >= 0.9 of it together; 100 limiters are 100 workers"
    )
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server, server.client() as client:
        for processes, limiters, rate in (
            (1, 1, Rate(2000)),
            (4, 1, Rate(2000)),
            (4, 25, Rate(2000)),
            (4, 25, Rate(200)),
        ):
            server.flush()
            client.config_resetstat()
            found = real(server.url, rate, 30.0 if options.full else 8.0, processes, limiters=limiters)
            commands, many = client.info("commandstats"), len(found.together)
            scripts = [commands[name] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in commands]
            looks, took = sum(one["calls"] for one in scripts), sum(one["usec"] for one in scripts)
            cost = f"; {looks / many:.2f} looks and {took / many:.1f} µs of Redis' time a permit; {1e6 * found.cpu_s / many:.0f} µs of the client's"
            judge(part, f"{processes} processes of {limiters}", rate, found, cost)
    return part


if __name__ == "__main__":
    place, n, per, limiters, seconds = sys.argv[1:]
    child(place, Rate(float(n), float(per)), int(limiters), float(seconds))
