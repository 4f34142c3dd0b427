"""What rate to keep when the service refuses one: derived from what it let through, raised slowly; no clock of its own."""

from __future__ import annotations

import math
from collections import deque

from bulkdel.model import Rate

WINDOWS = (1.0, 10.0, 60.0)
"""Seconds over which services count. A longer quota (an hour, a day) is kept by the pauses that the service asks for."""
REMEMBERED = 4_096
"""Requests let through that are remembered: a minute at 68/s, a second at 4,096/s, 130 KB."""
SHARE, SHARE_OF_GUESS = 0.9, 0.8
"""How much of what was let through is used from then on; less where the customer's own apps live on the same limit."""
STEP, EVERY_S, EVERY_MOST_S = 0.01, 60.0, 960.0
"""A derived rate is raised by this share of itself, each time after so many seconds without a refusal; the seconds double with
each refusal, up to the last number. To find a limit costs a refusal and a pause: 60 s in 15 minutes, then in hours."""
BACK = 0.05
"""A rate that was given and refused comes back by this share of itself a minute: from its half in ten minutes."""
GUESS_S, GROWTH = 300.0, 1.25
"""A rate that nobody knew and nobody refused for five minutes is raised by a quarter a minute: from 8 a minute to 1,000 in
half an hour, and at no time far above what was let through a minute ago."""
DEMAND = 0.7
"""Share of the rate that must have been used before it is raised: what was not tried was not allowed either."""


class RateControl:
    """Answers in, ``rate`` out: what pacing keeps.

    Times are any monotonic clock in seconds. ``given`` is the limit as it is known before anything was sent, None for none;
    it is never exceeded, unless it is a ``guess``. ``learned`` is what an earlier run learned, and ``found`` whether that was by
    a refusal; a limit that is known and not a guess overrides it.
    """

    def __init__(
        self, given: Rate | None, *, guess: bool = False, learned: Rate | None = None, found: bool = True
    ) -> None:
        self._given = given
        self._firm = given is not None and not guess
        self._share = SHARE_OF_GUESS if guess else SHARE
        start = given if learned is None or self._firm else learned
        self.rate = start
        """What to keep; None for no limit."""
        self.found = start is not given and found
        """Whether a refusal showed the limit, now or in the run that learned the rate."""
        self._passed: deque[float] = deque(maxlen=REMEMBERED)  # when what was let through was sent, as it ended
        self._last = float("-inf")  # when the last of them was sent
        self._window = 0.0  # seconds over which the service is known to count, at least
        self._refused_at: float | None = None  # when the last request that was complained of was sent
        self._struck_at = float("-inf")
        self._clean_since: float | None = None
        self._every = EVERY_S

    @property
    def learned(self) -> Rate | None:
        """What to remember of this key: the rate where answers made it another than it was given; None where not."""
        return None if self.rate == self._given else self.rate

    def passed(self, sent_at: float, now: float, times: int = 1) -> Rate | None:
        """A request was not refused, or several were that left at about the same time; returns ``rate``."""
        self._passed.append(sent_at)
        if times > 1:
            self._passed.extend([sent_at] * (times - 1))
        if sent_at > self._last:
            self._last = sent_at
        if self._clean_since is None:
            self._clean_since = now
        elif self.rate is not None and now - self._clean_since >= self._wait():
            self._clean_since = now
            if self._in_demand(now):
                self.rate = self._higher(self.rate)
        return self.rate

    def refused(self, sent_at: float, after: float | None) -> Rate | None:
        """The rate was refused, once for all that were refused together; returns ``rate``.

        ``after`` is how many seconds the service wants nothing, None where it does not say.
        """
        again = self._refused_at is not None and self._last <= self._refused_at
        self._refused_at = sent_at
        self._clean_since = None
        if again:
            # Nothing was let through since the last complaint, so it is the same one. It tells one thing: what was let
            # through before is still counted, so the window is no shorter than that is ago.
            if self._passed and self.found and self._widen(sent_at - self._last):
                self.rate = self._slower(self.rate, self._observed(self._struck_at))
            return self.rate
        self._widen(after or 0.0)
        soon = sent_at - self._struck_at < 2 * max(WINDOWS)
        self._struck_at = sent_at
        if self.found:
            self._every = min(EVERY_MOST_S, 2 * self._every)
        if self.rate is not None and self._firm:
            self.rate = lower(self.rate)
            return self.rate
        observed = self._observed(sent_at)
        if observed is None:
            return self.rate if self.rate is None else self._take(lower(self.rate))
        if self.rate is None:
            return self._take(observed)
        # A second complaint soon after the first: what was seen before the first one was seen under another limit.
        return self._take(self._slower(observed, lower(self.rate) if soon else self.rate) or observed)

    @staticmethod
    def _slower(one: Rate | None, other: Rate | None) -> Rate | None:
        if one is None or other is None:
            return one or other
        return one if one.per_second <= other.per_second else other

    def _take(self, rate: Rate) -> Rate:
        self.rate, self.found = rate, True
        return rate

    # ------------------------------------------------------------------ down

    def _widen(self, seconds: float) -> bool:
        """The service counts over ``seconds`` at least; True where that is news."""
        # A tenth less: what is told or waited is never exact, and never far above the window.
        window = next((window for window in WINDOWS if window >= 0.9 * seconds), WINDOWS[-1])
        if window <= self._window:
            return False
        self._window = window
        return True

    def _observed(self, until: float) -> Rate | None:
        """What was let through in the window before ``until``, less a margin; None where that was nothing."""
        count = sum(until - self._window < sent_at <= until for sent_at in self._passed)
        if not count:
            return None
        window = self._window
        if count == REMEMBERED:
            window = max(until - min(self._passed), 1e-3)  # more was let through than is remembered
        return Rate(count * self._share, per=window)

    # ------------------------------------------------------------------ up

    def _wait(self) -> float:
        """Seconds without a refusal before the rate is raised."""
        if self.found:
            return self._every
        return EVERY_S if self._firm or self.rate != self._given else GUESS_S

    def _in_demand(self, now: float) -> bool:
        """Whether the rate was used, and not just allowed."""
        assert self.rate is not None
        span = max(WINDOWS[-1], self.rate.per)
        if self._passed and len(self._passed) == REMEMBERED:
            span = min(span, now - self._passed[0])
        count = sum(sent_at >= now - span for sent_at in self._passed)
        return count >= DEMAND * self.rate.per_second * span

    def _higher(self, rate: Rate) -> Rate:
        if self._firm:
            assert self._given is not None
            step = BACK * self._given.per_second
            return self._given if rate.per_second + step >= self._given.per_second else _faster(rate, step)
        if self.found:
            return _faster(rate, STEP * rate.per_second)
        return _faster(rate, (GROWTH - 1.0) * rate.per_second)


def _faster(rate: Rate, per_second: float) -> Rate:
    """``rate`` and so much more, over the same window."""
    return Rate(rate.n + per_second * rate.per, per=rate.per)


def lower(rate: Rate) -> Rate:
    """Half of ``rate``, not below one request a minute; a rate that is as slow as that already stays.

    In whole requests over the same window while there are at least 4 of them (so that rounding costs little), then over
    twice the window.
    """
    slowest = 1 / 60
    if rate.per_second <= slowest:
        return rate
    half = math.floor(rate.n / 2)
    slower = Rate(half, rate.per) if half >= 4 else Rate(rate.n, 2 * rate.per)
    return slower if slower.per_second > slowest else Rate(1, 1 / slowest)
