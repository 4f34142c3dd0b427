"""How many requests may be in flight at once: slots that are taken, given back, and more or fewer at any time."""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """Up to ``limit`` slots, given out in the order they were asked for.

    The one place that concurrency is decided: whoever adapts it sets ``limit``. Cancelling a waiter loses no slot.
    """

    def __init__(self, limit: int) -> None:
        """:raises ValueError: where ``limit`` is below 1"""
        self._limit = _whole(limit)
        self.in_flight = 0  # how many slots are taken
        # One future for each that waits, in order; it gets its result together with the slot.
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many may be in flight. Raising it wakes waiters; lowering it lets what is in flight end."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = _whole(limit)
        self._hand_out()

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiters)

    def try_take(self) -> bool:
        """Take a slot if one is free; never waits. While somebody waits none is free: who waits is given it first."""
        if self.in_flight >= self._limit:
            return False
        self.in_flight += 1
        return True

    async def take(self) -> None:
        """Take a slot, after those who asked before."""
        if self.try_take():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # the slot came in the same moment as the cancellation
            elif turn in self._waiters:
                self._waiters.remove(turn)
            raise

    def release(self) -> None:
        """Give a slot back.

        :raises RuntimeError: where none is taken
        """
        if self.in_flight <= 0:
            raise RuntimeError("a slot was released that nobody had taken")
        self.in_flight -= 1
        if self._waiters:
            self._hand_out()

    def _hand_out(self) -> None:
        # A waiter is given its slot here, not when it runs: nobody can slip in between.
        while self._waiters and self.in_flight < self._limit:
            turn = self._waiters.popleft()
            if not turn.done():  # else cancelled in this very moment
                self.in_flight += 1
                turn.set_result(None)


def _whole(limit: int) -> int:
    if limit < 1:
        raise ValueError(f"at least one request must be able to be in flight: {limit!r}")
    return limit
