"""How many requests to keep in flight: up by one while it pays, down when it does not or when requests fail; pure, no clock.

The range is small (1 to 8), so the search keeps a table: how many requests a second each limit brought. By Little's law that is
``n / latency`` for ``n`` in flight.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Kind = Literal["ok", "overload", "neutral"]
"""``ok``: the service did the work. ``overload``: a 5xx, or no answer. ``neutral``: it answered, and it says nothing."""


class Sample(NamedTuple):
    """One request that ended: when it was sent and when it ended (any monotonic clock, seconds), how many were in flight when it
    was sent, itself included, and what its end says."""

    sent_at: float
    ended_at: float
    in_flight: int
    kind: Kind


class ConcurrencySearch:
    """Samples in, ``limit`` out: how many requests may be in flight.

    :param start: where the search begins
    :param most: what the limit never exceeds
    :raises ValueError: if not ``1 <= start <= most``
    """

    def __init__(self, start: int, most: int) -> None:
        if not 1 <= start <= most:
            raise ValueError(f"the search must begin between 1 and the most: {start!r} of {most!r}")
        self.limit = start
        self._most = most
        self._speeds = [0.0] * (most + 2)  # requests a second by limit; 0 if it was not tried
        self._decisions = 0  # since the limit was changed
        self._since = -math.inf  # when it was changed: what was sent before says nothing of it
        self._ended = 0  # good answers since the last decision, and their seconds
        self._seconds = 0.0
        self._strain = 0.0  # each failure adds 1, each good answer takes 0.2 off
        self._top, self._top_until = most, -math.inf  # above this limit requests failed; not tried again until then
        self._hold = 2.0  # seconds to leave it alone the next time
        self._fell = False  # the last change was for failures, and nothing was done well since

    def add(self, sample: Sample) -> int:
        """One request ended; returns ``limit``."""
        if sample.sent_at < self._since or sample.in_flight < self.limit:
            return self.limit  # so few at once say nothing of the limit, good or bad
        if sample.kind == "overload":
            self._strain += 1
            # One failure in six, and four at least: fewer are the documents' doing. A lone request says nothing of concurrency.
            if self.limit > 1 and self._strain >= 4:
                self._fall(sample.ended_at)
        elif sample.kind == "ok":
            self._fell = False
            self._strain = max(0.0, self._strain - 0.2)
            self._ended += 1
            self._seconds += sample.ended_at - sample.sent_at
            # So many are known to about a tenth, if one takes half as long again as another.
            if self._ended >= max(20, 4 * self.limit):
                self._decide(sample.ended_at)
        return self.limit

    def _fall(self, now: float) -> None:
        """Too many fail: go down, and do not come back for a while, which grows each time that coming back fails."""
        if self._fell:
            # Fewer at once did not help at all: the service is away, and how many it bears is not known by that.
            self._top, self._hold = self._most, 2.0
        else:
            self._top, self._top_until = self.limit - 1, now + self._hold
            self._hold = min(60.0, 4 * self._hold)
        self._fell = True
        self._change(max(1, int(0.7 * self.limit)), now)

    def _decide(self, now: float) -> None:
        limit, speeds = self.limit, self._speeds
        speed = limit * self._ended / self._seconds if self._seconds else math.inf
        if speeds[limit] and not 0.7 < speed / speeds[limit] < 1.4:
            self._speeds = speeds = [0.0] * (self._most + 2)  # the service has changed: what was measured holds no more
        speeds[limit] = (speeds[limit] + speed) / 2 if speeds[limit] else speed
        self._decisions += 1
        self._ended, self._seconds = 0, 0.0
        if limit > self._top:
            self._top, self._hold = self._most, 2.0  # what failed once was the service's trouble of that moment
        wanted = self._next(self._most if now >= self._top_until else self._top)
        if wanted != limit:
            self._change(wanted, now)

    def _next(self, top: int) -> int:
        """The limit to try or to keep."""
        limit, speeds = self.limit, self._speeds
        below, above = speeds[limit - 1], speeds[limit + 1]
        pays = not below or speeds[limit] >= below * (1 + 0.3 / (limit - 1))
        if pays and not above and limit < top:
            return limit + 1
        if not pays and self._decisions < 2:
            return limit  # chance may have spoken against it: measure once more
        # The fewest requests that bring nearly the most: what is above only waits, and is taken from others.
        enough = 0.95 * max(speeds)
        best = next(n for n, speed in enumerate(speeds) if speed >= enough)
        if best > 1 and not speeds[best - 1]:
            return best - 1
        if best == limit and self._decisions >= 20:
            # Look at a neighbour now and then, for the service may have changed.
            look = limit + 1 if speeds[limit - 1] > above and limit < top else max(1, limit - 1)
            speeds[look] = 0.0
            return look
        return min(best, top)

    def _change(self, limit: int, now: float) -> None:
        self.limit, self._since, self._decisions = limit, now, 0
        self._ended, self._seconds, self._strain = 0, 0.0, 0.0
