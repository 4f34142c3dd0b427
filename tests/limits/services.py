"""Services that limit how many requests they let through, and a client without a clock that keeps what the search says."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bulkdel.limits import bucket
from bulkdel.limits.rate import RateSearch

LATENCY_S = 0.04


class Service(Protocol):
    """A limit: ``ask`` counts a request at that time; 0 if it is let through, else seconds until one would be."""

    per_second: float

    def ask(self, now: float) -> float: ...


@dataclass
class AnyWindow:
    """At most ``n`` in any ``per`` seconds; refused requests count, too."""

    n: int
    per: float
    counted: deque[float] = field(default_factory=deque)

    @property
    def per_second(self) -> float:
        return self.n / self.per

    def ask(self, now: float) -> float:
        while self.counted and self.counted[0] <= now - self.per:
            self.counted.popleft()
        self.counted.append(now)
        excess = len(self.counted) - self.n
        return 0.0 if excess <= 0 else self.counted[excess] + self.per - now


@dataclass
class FixedWindow:
    """At most ``n`` in each ``per`` seconds of a clock that is ``offset`` of a window ahead."""

    n: int
    per: float
    offset: float = 0.5
    window: float = -1.0
    count: int = 0

    @property
    def per_second(self) -> float:
        return self.n / self.per

    def ask(self, now: float) -> float:
        window = (now / self.per + self.offset) // 1
        if window != self.window:
            self.window, self.count = window, 0
        self.count += 1
        return 0.0 if self.count <= self.n else (window + 1 - self.offset) * self.per - now


@dataclass
class LeakyBucket:
    """``per_second`` come in, up to ``burst`` are kept."""

    per_second: float
    burst: int
    level: float = math.inf
    at: float = 0.0

    def ask(self, now: float) -> float:
        self.level = min(self.burst, self.level + (now - self.at) * self.per_second)
        self.at = now
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return (1 - self.level) / self.per_second


@dataclass
class Both:
    """Two limits at once, the other one from a time on; the slower one counts in the long run."""

    one: AnyWindow
    other: AnyWindow
    begin: float = -math.inf

    @property
    def per_second(self) -> float:
        return min(self.one.per_second, self.other.per_second)

    def ask(self, now: float) -> float:
        return max(self.one.ask(now), self.other.ask(now) if now >= self.begin else 0.0)


class NoLimit:
    """Lets everything through, except the ``odd`` requests, by number."""

    per_second = math.inf

    def __init__(self, odd: range = range(0)) -> None:
        self.odd, self.asked = odd, 0

    def ask(self, now: float) -> float:
        self.asked += 1
        return 60.0 if self.asked - 1 in self.odd else 0.0


SAYS: dict[str, Callable[[float, float], float | None]] = {
    "seconds": lambda now, wait: math.ceil(wait),
    # Whole seconds on both sides: the moment is rounded up, and what the service calls now is rounded down.
    "a date": lambda now, wait: float(math.ceil(now + wait) - math.floor(now)),
    "nothing": lambda now, wait: None,
    "always one": lambda now, wait: 1.0,
    "always a minute": lambda now, wait: 60.0,
    "exactly": lambda now, wait: wait,
}
"""How a service words how long it wants nothing, from the time and how long that is."""


@dataclass
class Outcome:
    """How a run went: ``share`` is of the ideal time after the first refusal."""

    seconds: float
    sent: int
    refused: int
    share: float
    search: RateSearch
    times: list[float]


def run(
    service: Service,
    says: str,
    *,
    documents: int = 600,
    workers: int = 8,
    search: RateSearch | None = None,
    seed: int = 1,
    begin: float = 1_000.0,
) -> Outcome:
    """So many documents, asked for by so many workers as fast as the search allows; refused ones are asked for again."""
    search = search or RateSearch(None)
    dice, now, paused = random.Random(seed), begin, begin
    tokens, filled_at = 0.0, begin
    flying: list[tuple[float, int, float, float]] = []  # ends, number, sent, how long it would have to wait
    left, sent, refused, times = documents, 0, 0, list[float]()
    first: float | None = None
    while left or flying:
        at = max(now, paused)
        if search.rate is not None:
            b = bucket(search.rate)
            tokens, filled_at = min(b.size, tokens + (now - filled_at) * b.per_second), now
            at = max(at, now + (1 - tokens) / b.per_second)
        if left and len(flying) < (1 if search.probing else workers) and not (flying and flying[0][0] < at):
            if search.rate is not None:
                tokens, filled_at = min(b.size, tokens + (at - now) * b.per_second) - 1, at
            now, left, sent = at, left - 1, sent + 1
            takes = LATENCY_S * dice.lognormvariate(-0.045, 0.3)
            heapq.heappush(flying, (now + takes, sent, now, service.ask(now)))
            continue
        ends, _, sent_at, wait = heapq.heappop(flying)
        now, rate = max(now, ends), search.rate
        if wait:
            first = now if first is None else first
            refused, left = refused + 1, left + 1
            paused = max(paused, now + search.refused(sent_at, now, SAYS[says](now, wait), dice.random()))
        else:
            times.append(now)
            search.passed(sent_at, now)
            paused = max(paused, now + search.rest_s(now, len(flying)))
        if rate is None and search.rate is not None:
            tokens, filled_at = 0.0, now
    after = [] if first is None else [time for time in times if time > first]
    share = 1.0 if first is None or not after else len(after) / service.per_second / (times[-1] - first)
    return Outcome(times[-1] - begin, sent, refused, share, search, times)
