"""How services count requests against a rate: a sliding window, a fixed one, or a leaky bucket."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class RateLimit(Protocol):
    """A rate of one key; times are any monotonic seconds."""

    def refuse(self, now: float) -> float | None:
        """Count a request at ``now``; None if it may pass, else the seconds after which one alone would pass."""


class SlidingWindow:
    """A request at ``t`` is refused if more than ``limit`` requests, itself included, fall in ``(t - per, t]``.

    With ``count_refused`` a refused request stays in the window, so a client that goes on asking stays locked out.
    """

    def __init__(self, limit: int, per: float, *, count_refused: bool = True) -> None:
        self.limit = limit
        self.per = per
        self.count_refused = count_refused
        # The last limit + 1 times decide everything: a window is full if the oldest of them is still inside it.
        self._times: deque[float] = deque(maxlen=limit + 1 if count_refused else limit)

    def refuse(self, now: float) -> float | None:
        times = self._times
        if self.count_refused:
            times.append(now)
            if len(times) <= self.limit or times[0] <= now - self.per:
                return None
            return max(0.0, times[1] + self.per - now)
        if len(times) < self.limit or times[0] <= now - self.per:
            times.append(now)
            return None
        return times[0] + self.per - now


class FixedWindow:
    """At most ``limit`` requests pass from each multiple of ``per`` seconds to the next."""

    def __init__(self, limit: int, per: float) -> None:
        self.limit = limit
        self.per = per
        self._window = 0.0
        self._passed = 0

    def refuse(self, now: float) -> float | None:
        window = now // self.per
        if window != self._window:
            self._window, self._passed = window, 0
        if self._passed < self.limit:
            self._passed += 1
            return None
        return (window + 1) * self.per - now


class LeakyBucket:
    """A request adds a drop, and ``rate`` drops leak each second; one that would make more than ``burst`` is refused."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._level = 0.0
        self._at = 0.0

    def refuse(self, now: float) -> float | None:
        self._level = max(0.0, self._level - (now - self._at) * self.rate)
        self._at = now
        over = self._level + 1 - self.burst
        if over > 1e-9:
            return over / self.rate
        self._level += 1
        return None
