"""Jobs through Celery and the limit in Redis: ``python -m benchmarks.distributed`` (needs what the extra ``test`` brings).

Real workers, a real Redis and a simulated Dify with an answer time of 5 ms, all on this machine: if it has fewer cores than
there are workers, the case without a limit says what the machine does and not what more machines would.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks import shared
from benchmarks.report import Options, Part, main
from bulkdel.simulator import DifySimulator
from tests.cli.service import until
from tests.distributed.crew import Crew, account
from tests.distributed.redis_server import RedisServer
from tests.limits.departures import worst

DATASETS = 8
RATE = 200


def beside(server: RedisServer, work: Callable[[Crew], Awaitable[Any]], **simulated: Any) -> Any:
    async def main() -> Any:
        server.flush()
        with tempfile.TemporaryDirectory() as folder:
            async with DifySimulator(**simulated) as simulator:
                crew = Crew(simulator, server.url, Path(folder))
                try:
                    return await work(crew)
                finally:
                    crew.close()

    return asyncio.run(main())


def job(part: Part, server: RedisServer, workers: int, each: int, limited: bool) -> None:
    """One job: its row, and what was promised of the limit."""

    async def work(crew: Crew) -> float:
        crew.job(provider=f'rate = "{RATE}/s"' if limited else 'rate = "none"')
        crew.simulator.set_faults(latency=0.005)
        for _ in range(workers):
            await crew.worker(fresh=True).ready()
        began = time.monotonic()
        ended = account(await crew.submit().end())
        assert ended["status"] == "complete", ended
        requests.extend(crew.simulator.requests)
        return time.monotonic() - began

    requests: list[Any] = []
    with server.client() as client:
        client.config_resetstat()
        took = beside(server, work, documents=each, datasets=DATASETS)
        commands = client.info("stats")["total_commands_processed"] / (DATASETS * each)
    deletes = [one.at for one in requests if one.method == "DELETE"]
    speed, fullest = len(deletes) / (deletes[-1] - deletes[0]), worst([one.at for one in requests], 1.0)
    limit = f"{RATE}/s" if limited else "none"
    part.rows.append((
        str(workers), limit, str(DATASETS * each), f"{speed:.0f}", str(fullest), f"{took:.1f} s", f"{commands:.2f}",
    ))  # fmt: skip
    if limited:
        part.want(f"most in any second, {workers} workers", f"≤ {RATE}", str(fullest), fullest <= RATE)
        part.want(f"of the limit, {workers} workers", "≥ 0.95", f"{speed / RATE:.2f}", speed / RATE >= 0.95)


def redelivery(server: RedisServer) -> float:
    """Seconds from kill -9 of the only busy worker to the first request for what it had, by one that had nothing to do."""

    async def work(crew: Crew) -> float:
        crew.job()
        victim = crew.worker(fresh=True)
        await victim.ready()
        started = crew.submit()
        crew.simulator.set_faults(latency=600.0)
        await until(lambda: crew.asked)
        await crew.worker(fresh=True).ready()
        before = sum(crew.asked.values())
        victim.kill()
        began = time.monotonic()
        crew.simulator.set_faults(latency=0.0)
        await until(lambda: sum(crew.asked.values()) > before)
        took = time.monotonic() - began
        assert account(await started.end())["exit_status"] == 0
        return took

    took: float = beside(server, work, documents=50)
    return took


def workers(options: Options) -> Part:
    heads = (
        "workers",
        "limit",
        "documents",
        "a second",
        "most in any second",
        "whole job",
        "Redis commands a document",
    )
    part = Part("workers", f"Workers: {DATASETS} datasets of one key", heads)
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        for limited in (True, False):
            for many in (1, 2, 4):
                job(part, server, many, 1_000 if options.full else 100, limited)
        if options.full:
            took = redelivery(server)
            part.want("a killed worker's shard is asked for by another", "≤ 200 s", f"{took:.0f} s", took <= 200)
    return part


if __name__ == "__main__":
    main("benchmarks.distributed", __doc__, {"workers": workers, "permits": shared.redis})
