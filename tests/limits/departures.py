"""When requests left, and the fullest window among them."""

from __future__ import annotations

import asyncio
import math

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
