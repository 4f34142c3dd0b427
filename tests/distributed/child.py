"""A process with one key that takes permits for a while: ``python -m tests.distributed.child URL N PER SECONDS SKEW``.

``SKEW`` is how many seconds this host's clocks are off, the wall clock and the loop's. Says "ready", waits for a line, and then
prints when its permits were got, by the machine's monotonic clock, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from bulkdel.distributed.limit import RedisPacer
from bulkdel.distributed.link import RedisLink
from bulkdel.model import Rate

SCOPE = "0123456789abcdef"
WORKERS = 4


async def main(url: str, rate: Rate, seconds: float) -> list[float]:
    pacer = RedisPacer(rate, RedisLink(url, SCOPE))
    times: list[float] = []

    async def worker() -> None:
        while True:
            await pacer.acquire()
            times.append(TRUE())
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(worker()) for _ in range(WORKERS)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await pacer.aclose()
    return times


class Skewed(asyncio.SelectorEventLoop):
    """A loop on a clock that is off."""

    def time(self) -> float:
        return super().time() + SKEW


TRUE = time.monotonic
WALL = time.time
SKEW = 0.0

if __name__ == "__main__":
    url, n, per, seconds, skew = sys.argv[1:]
    SKEW = float(skew)
    time.time = lambda: WALL() + SKEW
    print("ready", flush=True)
    sys.stdin.readline()
    with asyncio.Runner(loop_factory=Skewed) as runner:
        print(json.dumps(runner.run(main(url, Rate(float(n), float(per)), float(seconds)))))
