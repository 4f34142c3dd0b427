"""A sliding window: at most so many requests in any so many seconds, the refused ones counted or not."""

from __future__ import annotations

from collections import deque


class SlidingWindow:
    """The window of one key; times are any monotonic seconds.

    A request at ``t`` is refused when more than ``limit`` requests, itself included, fall in ``(t - per, t]``. With
    ``count_refused`` a refused request stays in the window, so a client that goes on asking stays locked out.
    """

    def __init__(self, limit: int, per: float, *, count_refused: bool = True) -> None:
        self.limit = limit
        self.per = per
        self.count_refused = count_refused
        # The last limit + 1 times decide everything: a window is full when the oldest of them is still inside it.
        self._times: deque[float] = deque(maxlen=limit + 1 if count_refused else limit)

    def refuse(self, now: float) -> float | None:
        """Count a request at ``now``; None when it may pass, else the seconds after which one alone would pass."""
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
