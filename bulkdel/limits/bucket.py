"""From a service's limit to the token bucket that keeps it in any window, and to a lower limit after a refusal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bulkdel.model import Rate

SPARE = 0.02
"""Share of the limit that may leave as a burst after idling. It is also what makes up for late timers: 20 ms of permits
at a window of one second, where uvloop's timers are 1 ms coarse and a busy loop runs them some ms late."""
MARGIN = 0.01
"""Share of the limit that is never used. A network delivers requests closer together than they left, and uvloop's clock
stands still while a callback runs: 1 % of the window (10 ms of a second, 600 ms of a minute) may be lost that way."""
LEAST_SPARE_S = 0.004
"""Seconds of permits that the spare must hold, however short the window: four ticks of uvloop's timers."""
LEASE_S = 0.01
"""Seconds of permits that one waiter takes at a time: at 2,000/s, one at a time costs 63 to 98 % of a core under uvloop."""
SLOWEST = 1 / 60
"""Requests a second that halving does not go below: a run that sends less than one a minute is not worth waiting for."""
NEVER, EVER, INSTANT = 1e-9, 10**9, 1e-6
"""Requests a second that count as none (one in 31 years), requests in a window that count as all, and the shortest window in
seconds: what lies beyond them differs in nothing that can be seen, and would overflow."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket: ``per_second`` permits come in, up to ``size`` are kept, ``lease`` are taken out at a time."""

    per_second: float
    size: float
    lease: int

    @property
    def burst(self) -> float:
        """Permits that can leave at once after idling: a full bucket, and what is left of the last lease."""
        return self.size + self.lease - 1


def bucket(rate: Rate) -> Bucket:
    """The bucket that lets at most ``rate.n`` permits leave in any half-open window of ``rate.per`` seconds.

    Requests are whole, so what counts is N = floor(n) in W = per seconds; a limit below one is one request in per/n seconds.

    Proof. Whoever takes a lease out of the bucket leaves with one permit of it in that very instant; the other
    ``lease - 1`` may lie for any time. So in a window of W seconds there leave at most ``lease - 1`` permits that lay
    there before, and what the bucket gives: at most ``size`` that it held, and ``per_second * W`` that came in. With
    ``burst = size + lease - 1 = 1 + spare`` and ``per_second * W = N - MARGIN * N - spare`` that is
    ``N + 1 - MARGIN * N``, less than N + 1, and as a whole number at most N.

    Liveness. With ``spare = SPARE * N`` permits come in at 0.97 of N/W. None overflows as long as the waiter for the next
    lease comes no later than the ``size - lease`` permits above it take to come in: a third of the spare or more.
    In windows below LEAST_SPARE_S / SPARE = 0.2 s the spare is larger, and the rate lower, so that this is never below
    what a timer is late.
    """
    # 1e-9: a share like 0.29 * 100 is 28.999999999999996 in floats, and meant to be 29.
    n = max(1, math.floor(min(rate.n, EVER) + 1e-9))
    window = max(INSTANT, rate.per if rate.n >= 1 else rate.per / rate.n)
    spare = n * min(0.49, max(SPARE, LEAST_SPARE_S / window))
    per_second = max(NEVER, (n - MARGIN * n - spare) / window)
    # With k = 1 + spare/3 the bucket holds two leases, so that a lease may be late by as long as the next one takes.
    lease = min(1 + math.floor(spare / 3), max(1, math.ceil(per_second * LEASE_S)))
    return Bucket(per_second, 2 + spare - lease, lease)


def lower(rate: Rate) -> Rate:
    """Half of ``rate``, not below one request a minute; a rate that is as slow as that already stays.

    In whole requests over the same window while there are at least 4 of them (so that rounding costs little), then over
    twice the window.
    """
    if rate.per_second <= SLOWEST:
        return rate
    half = math.floor(rate.n / 2)
    slower = Rate(half, rate.per) if half >= 4 else Rate(rate.n, 2 * rate.per)
    return slower if slower.per_second > SLOWEST else Rate(1, 1 / SLOWEST)
