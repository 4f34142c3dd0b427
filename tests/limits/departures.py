"""When requests left, and the fullest window among them."""

from __future__ import annotations

import asyncio
import math

from bulkdel.limits import Pacing
from bulkdel.model import Rate


def now() -> float:
    return asyncio.get_running_loop().time()


def whole(rate: Rate) -> tuple[int, float]:
    """What a limit says in whole requests: at most so many in so many seconds."""
    return (math.floor(rate.n + 1e-9), rate.per) if rate.n >= 1 else (1, rate.per / rate.n)


def worst(times: list[float], window: float) -> int:
    """The most departures in any half-open window of ``window`` seconds."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


class Departures:
    """A pacing, and the times at which its permits were got."""

    def __init__(self, pacing: Pacing) -> None:
        self.pacing = pacing
        self.times: list[float] = []

    async def one(self) -> None:
        await self.pacing.acquire()
        self.times.append(now())

    async def endless(self, work: float) -> None:
        """A worker with always one more to send, each taking ``work`` seconds."""
        while True:
            await self.one()
            await asyncio.sleep(work)
