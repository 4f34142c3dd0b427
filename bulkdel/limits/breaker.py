"""When a service fails, how long to leave it alone, and when to give it up; pure: no clock, and randomness is passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bulkdel.backoff import ceiling

Trouble = Literal["unreachable", "service"]
"""``unreachable``: no connection came about. ``service``: a 5xx, or an answer that did not come."""


@dataclass(frozen=True, slots=True)
class Open:
    """Send nothing for ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Send nothing more; ``reason`` is one sentence for people."""

    reason: str


class Breaker:
    """Counts troubles in a row; a success (a rejected document and a refused rate too: the service lives) forgets them.

    Time (``now``, ``sent_at``) is any monotonic clock in seconds, the same for all calls; ``u`` is uniform in [0, 1).

    :param patience: seconds without a success after which a service that has worked is given up: an upgrade with a migration
        takes minutes
    """

    def __init__(self, patience: float = 600.0) -> None:
        self._patience = patience
        self._worked = False
        self._reached = False  # a service that has answered at all is at that address
        self._in_a_row = 0  # troubles since the last success
        self._since = self._last = 0.0  # when the first and the last of them came
        self._failing_s = 0.0  # for how long requests failed: the waits that others made long left out
        self._openings = 0  # since the last success
        self._opened_at = self._until = -math.inf

    def is_open(self, now: float) -> bool:
        """Whether the service is being left alone."""
        return now < self._until

    def success(self, now: float) -> None:
        """The service did what it should: the breaker closes, and all troubles are forgotten."""
        self._worked = True
        if self._in_a_row:
            self._in_a_row = self._openings = 0
            self._until = min(self._until, now)

    def trouble(
        self,
        now: float,
        u: float,
        *,
        sent_at: float | None = None,
        kind: Trouble = "service",
        why: str = "",
        what: str = "request",
    ) -> Open | GiveUp | None:
        """What to do about one more trouble; None for nothing.

        From the third in a row on, each opens the breaker for ``min(30, 2**k)`` seconds, k counting from 0, with full
        jitter over the upper half. While it is open, and for answers to what was sent before it opened (``sent_at``), a
        trouble is the same complaint. ``GiveUp`` comes with the first trouble, tolerated ones aside, after ``patience``
        seconds of nothing but trouble (less if nothing ever worked); pauses and slow rates do not count. ``why`` is the trouble in words,
        ``what`` what has not succeeded.
        """
        self._reached = self._reached or kind == "service"
        if not self._in_a_row:
            self._since = self._last = now
            self._failing_s = 0.0
        # Not longer than this breaker's own pauses: an hour's Retry-After or a rate of four an hour is no hour of failures.
        left_at = self._last if sent_at is None else max(self._last, sent_at)
        self._failing_s += now - left_at + min(left_at - self._last, 30.0)
        self._last = now
        self._in_a_row += 1
        # Two in a row mean nothing: one stale connection of a restarted database is one 500.
        if self._in_a_row <= 2:
            return None
        patience, sentence = self._limit(what)
        if self._failing_s >= patience:
            return GiveUp(f"{sentence} {now - self._since:.0f} s" + (f": {why}" if why else ""))
        if self.is_open(now) or (sent_at is not None and sent_at <= self._opened_at):
            return None
        self._openings += 1
        # A service that restarts needs some seconds, and a probe every 30 s disturbs no user.
        seconds = ceiling(self._openings, 1.0, 30.0) * (0.5 + 0.5 * u)
        self._opened_at, self._until = now, now + seconds
        return Open(seconds)

    def _limit(self, what: str) -> tuple[float, str]:
        """How many seconds of nothing but trouble are enough, and the sentence that ends in their number."""
        if self._worked:
            return self._patience, f"no {what} has succeeded for"
        # One that answers, but never well, may be starting up. One that never was reached has most likely another address, and the
        # user sits there waiting.
        if self._reached:
            return min(self._patience, 30.0), f"no {what} has succeeded, not even once in"
        return min(self._patience, 5.0), "the service could not be reached, not even once in"
