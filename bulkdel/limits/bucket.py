"""From a service's limit to the token bucket that keeps it in any window; pure arithmetic, proven in README.md beside this file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bulkdel.model import Rate

SPARE = 0.02
"""Share of the limit that may leave as a burst after idling. It also makes up for late timers: it holds 20 ms of permits at a
window of one second, and uvloop's timers are 1 ms coarse."""
MARGIN = 0.01
"""Share of the limit that is never used. A network delivers requests closer together than they left, and uvloop's clock
stands still while a callback runs: 1 % of the window (10 ms of a second, 600 ms of a minute) may be lost that way."""
MIN_RATE, MAX_REQUESTS, MIN_WINDOW_S = 1e-9, 10**9, 1e-6
"""The slowest rate (requests a second, one in 31 years), the most requests in a window, and the shortest window in seconds.
Beyond them nothing differs that can be seen, and the arithmetic would overflow."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket: ``per_second`` permits come in, up to ``size`` are kept, and ``lease`` are taken out at a time.

    Between processes a lease must be used within ``hold_s`` of being asked for.
    """

    per_second: float
    size: float
    lease: int
    hold_s: float = math.inf

    @property
    def burst(self) -> float:
        """Permits that can leave at once after idling: a full bucket, and what one process has left of its last lease."""
        return self.size + self.lease - 1

    @property
    def slack_s(self) -> float:
        """Seconds that a lease may lie in the bucket before permits overflow and are lost; no more than two leases take to come in."""
        return min(self.size - self.lease, 2 * self.lease) / self.per_second


def bucket(rate: Rate) -> Bucket:
    """The bucket of one process that lets at most ``rate.n`` requests leave in any half-open window of ``rate.per`` seconds."""
    n, window = _whole(rate)
    # In a window below 0.2 s the spare is larger, so that it never holds less than 4 ms of permits: four ticks of uvloop's timers.
    spare = n * min(0.49, max(SPARE, 0.004 / window))
    per_second = max(MIN_RATE, (n - MARGIN * n - spare) / window)
    # One waiter takes 10 ms of permits at a time: one by one, 2,000 a second cost 63 to 98 % of a core under uvloop. A third of
    # the spare at most, so that the bucket holds two leases and one may be late by as long as the next one takes.
    lease = min(1 + math.floor(spare / 3), max(1, math.ceil(per_second * 0.01)))
    return Bucket(per_second, 2 + spare - lease, lease)


def shared_bucket(rate: Rate) -> Bucket:
    """The bucket that lets the requests of all processes together keep ``rate`` in any half-open window of ``rate.per`` seconds."""
    alone = bucket(rate)
    _, window = _whole(rate)
    # One percent of the window, and 5 ms at least: a busy machine takes some milliseconds from the store to the wire.
    hold_s = max(0.005, 0.01 * window)
    return Bucket(alone.per_second * window / (window + hold_s), alone.burst, alone.lease, hold_s)


def fairness_delay(slack_s: float, misses: int) -> float:
    """Seconds that a process adds to its wait, so that those who came away empty more often (``misses``) come first.

    It is at most a quarter of ``slack_s``, so no permit overflows meanwhile and it costs no rate.
    """
    return slack_s / 4 / (1 + misses)


def _whole(rate: Rate) -> tuple[int, float]:
    """The limit in whole requests and the window in seconds; a limit below one is one request in a longer window."""
    # 1e-9: a share like 0.29 * 100 is 28.999999999999996 in floats, and meant to be 29.
    n = max(1, math.floor(min(rate.n, MAX_REQUESTS) + 1e-9))
    return n, max(MIN_WINDOW_S, rate.per if rate.n >= 1 else rate.per / rate.n)
