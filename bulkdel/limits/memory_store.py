"""Tokens in this process: an ``AsyncLimiter`` is the bucket."""

from __future__ import annotations

import math

from aiolimiter import AsyncLimiter

from bulkdel.limits.bucket import Bucket, bucket
from bulkdel.limits.limiter import Lease
from bulkdel.model import Rate


class MemoryStore:
    """Leases of one process' own limit.

    :param empty: whether the first bucket begins empty, because its permits may have been spent elsewhere
    """

    def __init__(self, *, empty: bool = False) -> None:
        self._rate: Rate | None = None
        self._bucket: Bucket | None = None
        self._limiter: AsyncLimiter | None = None
        self._held = 0.0 if empty else math.inf  # what the next bucket begins with

    async def take(self, rate: Rate | None, pause_s: float) -> Lease:
        """A lease, if the bucket holds one."""
        if rate != self._rate:
            await self._keep(rate)
        self._held = 0.0
        if self._bucket is None or self._limiter is None:
            return Lease(0 if pause_s else math.inf, None, retry_s=pause_s)
        permits, lease = 0, self._bucket.lease
        # A lease taken in a pause would lie there while the bucket fills again: one permit more than the proof counts.
        if not pause_s and self._limiter.has_capacity(lease):
            await self._limiter.acquire(lease)  # it has room, so this never waits
            permits = lease
        wait = max(pause_s, (lease - held(self._limiter)) / self._bucket.per_second)
        return Lease(permits, self._rate, retry_s=wait, per_second=self._bucket.per_second)

    async def _keep(self, rate: Rate | None) -> None:
        """Keep another limit. What the old bucket held moves on as far as it fits: a change grants no burst and costs nothing."""
        if self._limiter is not None:
            self._held = held(self._limiter)
        self._rate, self._bucket, self._limiter = rate, None, None
        if rate is not None:
            self._bucket = b = bucket(rate)
            self._limiter = AsyncLimiter(b.size, b.size / b.per_second)
            await self._limiter.acquire(max(0.0, b.size - self._held))

    async def aclose(self) -> None:
        """Nothing to let go of."""


def held(limiter: AsyncLimiter) -> float:
    """How many permits are in the bucket, to 1/4096 of its size and never too many.

    ``AsyncLimiter`` answers only whether a given amount is there, so this bisects.
    """
    low, high = 0.0, limiter.max_rate
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if limiter.has_capacity(middle) else (low, middle)
    return low
