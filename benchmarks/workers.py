"""Jobs through Celery: 1, 2 and 4 workers under one limit and under none, and how long a killed worker's shard is nobody's.

Real workers, a real Redis and a simulated Dify with an answer time of 5 ms, all on this machine: where it has fewer cores than
there are workers, the case without a limit says what the machine does and not what more machines would.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Options, Part
from bulkdel.simulator import DifySimulator
from tests.cli.service import until
from tests.distributed.crew import Crew, account
from tests.distributed.redis_server import RedisServer
from tests.limits.departures import worst

DATASETS = 8
RATE = 200
LATENCY_S = 0.005


@dataclass
class Found:
    """What was measured of one job: ``deleting_s`` is from the first DELETE to the last, ``commands`` and ``redis_us`` a document."""

    documents: int
    job_s: float
    deleting_s: float
    fullest: int
    commands: float
    redis_us: float


def beside(server: RedisServer, work: Callable[[Crew], Awaitable[Any]], **simulated: Any) -> Any:
    async def main() -> Any:
        server.flush()
        with tempfile.TemporaryDirectory() as folder:
            async with DifySimulator(**simulated) as simulator:
                # The redelivery is the command's own default, not the tests' short one.
                crew = Crew(simulator, server.url, Path(folder), {"BULKDEL_REDELIVER_S": "100"})
                try:
                    return await work(crew)
                finally:
                    crew.close()

    return asyncio.run(main())


def job(server: RedisServer, workers: int, each: int, limited: bool) -> Found:
    async def work(crew: Crew) -> Found:
        crew.job(provider=f'rate = "{RATE}/s"' if limited else 'rate = "none"')
        crew.simulator.set_faults(latency=LATENCY_S)
        for _ in range(workers):
            await crew.worker().ready()
        with server.client() as client:
            client.config_resetstat()
            before = client.info("cpu")
            began = time.monotonic()
            told = account(await crew.submit().end())
            took = time.monotonic() - began
            after, commands = client.info("cpu"), client.info("stats")["total_commands_processed"]
        assert told["status"] == "complete", told
        asked = [one for one in crew.simulator.requests if one.method == "DELETE"]
        spent = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
        n = DATASETS * each
        return Found(
            documents=n,
            job_s=took,
            deleting_s=asked[-1].at - asked[0].at,
            fullest=worst([one.at for one in crew.simulator.requests], 1.0),
            commands=commands / n,
            redis_us=1e6 * spent / n,
        )

    found: Found = beside(server, work, documents=each, datasets=DATASETS)
    return found


def redelivery(server: RedisServer) -> float:
    """Seconds from kill -9 of the only busy worker to the first request for what it had, by one that had nothing to do."""

    async def work(crew: Crew) -> float:
        crew.job()
        victim = crew.worker()
        await victim.ready()
        started = crew.submit()
        with server.client() as client:
            await until(lambda: len(client.keys("celery-task-meta-*")) > 1)  # the job, and a shard
        crew.simulator.set_faults(latency=600.0)
        await until(lambda: crew.asked)
        await crew.worker().ready()
        before = sum(crew.asked.values())
        victim.kill()
        began = time.monotonic()
        crew.simulator.set_faults(latency=0.0)
        await until(lambda: sum(crew.asked.values()) > before)
        took = time.monotonic() - began
        assert account(await started.end())["exit_status"] == 0
        return took

    found: float = beside(server, work, documents=50)
    return found


def measure(options: Options) -> Part:
    part = Part(
        "workers",
        f"Workers: {DATASETS} datasets of one key",
        ("workers", "limit", "documents", "deleting", "of ideal", "a second", "most in any second", "whole job", "Redis commands a document", "Redis CPU a document"),
    )  # fmt: skip
    each = 1_000 if options.full else 250
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        for limited in (True, False):
            for workers in (1, 2, 4):
                found = job(server, workers, each, limited)
                limit = f"{RATE}/s" if limited else "none"
                speed = found.documents / found.deleting_s
                part.rows.append((
                    str(workers), limit, str(found.documents), f"{found.deleting_s:.2f} s", f"{speed / RATE:.2f}" if limited else "",
                    f"{speed:.0f}", str(found.fullest), f"{found.job_s:.1f} s", f"{found.commands:.2f}", f"{found.redis_us:.0f} µs",
                ))  # fmt: skip
                part.numbers[f"{workers} workers, {limit}"] = vars(found)
                if limited:
                    part.want(
                        f"most in any second, {workers} workers", f"≤ {RATE}", str(found.fullest), found.fullest <= RATE
                    )
                    share = speed / RATE
                    part.want(f"of the limit, {workers} workers", "≥ 0.95", f"{share:.2f}", share >= 0.95)
        took = redelivery(server)
        part.numbers["redelivery_s"] = took
        part.want("redelivery after kill -9", "≤ 200 s", f"{took:.0f} s", took <= 200)
        part.notes.append(
            f"a killed worker's shard is asked for by another after {took:.0f} s, with the default redelivery of 100 s"
        )
    return part
