"""What a permit of the limit over Redis costs, and how near to the limit all processes together come.

Real processes and a real Redis on this machine. Redis' time is what its script takes (``INFO commandstats``); its CPU has the
sockets too (``INFO cpu``). The span that counts is the one in which every process had begun and none had ended.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Options, Part
from bulkdel.limits import Limiter
from bulkdel.limits.limiter import Claim
from bulkdel.limits.redis_store import RedisStore
from bulkdel.model import Rate
from tests.distributed.redis_server import RedisServer, there
from tests.limits.departures import worst

WORKERS = 4
BEGIN_S = 0.5
"""Seconds after the last process' first permit from which it counts: its bucket began empty."""
CASES = ((1, 1, Rate(2000)), (4, 1, Rate(2000)), (4, 25, Rate(2000)), (4, 1, Rate(200)), (4, 25, Rate(200)))
"""Processes, pacers in each, and the limit that all share: 100 pacers are 100 workers of one tenant."""


@dataclass
class Found:
    """What was measured of one case."""

    share: float
    fullest: int
    redis_us: float
    redis_cpu_us: float
    client_us: float
    looks: float  # a permit
    look_us: float  # of Redis' time
    fewest: float  # the least pacer's share of a fair one


async def child(url: str, rate: Rate, pacers: int, seconds: float) -> tuple[list[list[float]], float]:
    """Demand without end from several pacers, for so long: when each got its permits, and what CPU that took."""
    made = [Limiter(RedisStore(url, "benchmark"), rate) for _ in range(pacers)]
    times: list[list[float]] = [[] for _ in made]

    async def worker(pacer: Limiter, got: list[float]) -> None:
        while True:
            await pacer.acquire()
            got.append(time.monotonic())
            await asyncio.sleep(0)

    began = time.process_time()
    tasks = [asyncio.create_task(worker(p, t)) for p, t in zip(made, times, strict=True) for _ in range(WORKERS)]
    await asyncio.sleep(seconds)
    spent = time.process_time() - began
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.gather(*(pacer.aclose() for pacer in made))
    return times, spent


def case(server: RedisServer, processes: int, pacers: int, rate: Rate, seconds: float) -> Found:
    server.flush()
    words = [
        sys.executable,
        "-m",
        "benchmarks.permits",
        server.url,
        str(rate.n),
        str(rate.per),
        str(pacers),
        str(seconds),
    ]
    with server.client() as client:
        client.config_resetstat()
        cpu = client.info("cpu")
        started = [
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = [json.loads(process.communicate()[0]) for process in started]
        after, commands = client.info("cpu"), client.info("commandstats")
    each = [times for of_process, _ in said for times in of_process]
    together = sorted(moment for times in each for moment in times)
    first = max(times[0] for times in each) + BEGIN_S
    last = min(times[-1] for times in each)
    counted = sum(first <= moment < last for moment in together)
    scripts = [commands[name] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in commands]
    looks, took = sum(one["calls"] for one in scripts), sum(one["usec"] for one in scripts)
    spent = sum(after[name] - cpu[name] for name in ("used_cpu_user", "used_cpu_sys"))
    many = len(together)
    return Found(
        share=counted / (last - first) / rate.per_second,
        fullest=worst(together, rate.per),
        redis_us=took / many,
        redis_cpu_us=1e6 * spent / many,
        client_us=1e6 * sum(own for _, own in said) / many,
        looks=looks / many,
        look_us=took / looks,
        fewest=min(map(len, each)) / (many / len(each)),
    )


def round_trips(server: RedisServer, many: int = 2_000) -> list[float]:
    """Seconds that looks take as a process sees them, one after another."""

    async def main() -> list[float]:
        store = RedisStore(server.url, "round trips")
        took = []
        for _ in range(many):
            began = time.perf_counter()
            await store.take(Claim(Rate(2000)))
            took.append(time.perf_counter() - began)
        await store.aclose()
        return took

    return sorted(asyncio.run(main()))


def measure(options: Options) -> Part:
    part = Part(
        "permits",
        "Permits of a limit that is kept in Redis",
        ("processes × pacers", "limit", "fullest window", "of the limit", "least share", "looks a permit", "Redis a look",
         "Redis a permit", "with sockets", "client CPU a permit"),
    )  # fmt: skip
    if not there():
        part.notes.append("not measured: redis-server is not installed")
        return part
    seconds = 30.0 if options.full else 8.0
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        for processes, pacers, rate in CASES:
            found = case(server, processes, pacers, rate, seconds)
            name = f"{processes} × {pacers}"
            part.rows.append((
                name, str(rate), f"{found.fullest} of {math.floor(rate.n)}", f"{found.share:.3f}", f"{found.fewest:.2f}",
                f"{found.looks:.2f}", f"{found.look_us:.0f} µs", f"{found.redis_us:.1f} µs", f"{found.redis_cpu_us:.1f} µs",
                f"{found.client_us:.0f} µs",
            ))  # fmt: skip
            part.numbers[f"{name} at {rate}"] = vars(found)
            part.want(f"fullest window, {name} at {rate}", f"≤ {rate.n:g}", str(found.fullest), found.fullest <= rate.n)
            part.want(f"share, {name} at {rate}", "≥ 0.95", f"{found.share:.3f}", found.share >= 0.95)
            if rate.n == 2000:
                words = f"{found.redis_us:.1f} µs"
                part.want(f"Redis' time a permit, {name} at {rate}", "≤ 40 µs", words, found.redis_us <= 40)
        took = round_trips(server)
        middle, late = 1e6 * took[len(took) // 2], 1e6 * took[int(0.99 * len(took))]
        part.notes.append(f"a look as a process sees it: {middle:.0f} µs, in one of a hundred {late:.0f} µs or more")
        part.numbers["look_us"] = {"p50": middle, "p99": late}
    return part


if __name__ == "__main__":
    url, n, per, pacers, seconds = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asyncio.run(child(url, Rate(float(n), float(per)), int(pacers), float(seconds)))))
