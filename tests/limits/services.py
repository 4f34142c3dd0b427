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
    # A second more, in case a fraction is cut off the moment: as the simulators say it.
    "a late date": lambda now, wait: math.ceil(wait) + 1.0,
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
    """So many documents, asked for by so many workers as fast as the search allows; refused ones are asked for again.

    The service sees a request after a part of the latency that is never the same, one in fifty much later, and refuses at once.
    """
    search = search or RateSearch(None)
    dice, now, paused = random.Random(seed), begin, begin
    tokens, filled_at, rate = 0.0, begin, search.rate
    # When it happens, the request's number, when it was sent, and how long it would have to wait; None: it arrives.
    events: list[tuple[float, int, float, float | None]] = []
    left, flying, sent, refused, times = documents, 0, 0, 0, list[float]()
    first: float | None = None
    while left or flying:
        if search.rate is not rate:
            # What the bucket held stays; without a rate there was none.
            if rate is not None:
                tokens += (now - filled_at) * bucket(rate).per_second
            tokens, filled_at, rate = 0.0 if rate is None else tokens, now, search.rate
        at = max(now, paused)
        if rate is not None:
            b = bucket(rate)
            tokens, filled_at = min(b.size, tokens + (now - filled_at) * b.per_second), now
            at = max(at, now + (1 - tokens) / b.per_second)
        if left and flying < (1 if search.probing else workers) and not (events and events[0][0] < at):
            if rate is not None:
                tokens, filled_at = min(b.size, tokens + (at - now) * b.per_second) - 1, at
            now, left, flying, sent = at, left - 1, flying + 1, sent + 1
            way = LATENCY_S * (0.25 * dice.lognormvariate(-0.045, 0.3) + (dice.random() < 0.02))
            heapq.heappush(events, (now + way, sent, now, None))
            continue
        now, number, sent_at, wait = heapq.heappop(events)
        if wait is None:
            wait = service.ask(now)
            takes = 0.25 * LATENCY_S if wait else 0.75 * LATENCY_S * dice.lognormvariate(-0.045, 0.3)
            heapq.heappush(events, (now + takes, number, sent_at, wait))
            continue
        flying -= 1
        if wait:
            first = now if first is None else first
            refused, left = refused + 1, left + 1
            paused = max(paused, now + search.refused(sent_at, now, SAYS[says](now, wait), dice.random()))
        else:
            times.append(now)
            search.passed(sent_at, now)
            paused = max(paused, now + search.rest_s(now, flying))
    after = [] if first is None else [time for time in times if time > first]
    share = 1.0 if first is None or not after else len(after) / service.per_second / (times[-1] - first)
    return Outcome(times[-1] - begin, sent, refused, share, search, times)
