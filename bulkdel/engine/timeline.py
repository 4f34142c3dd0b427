"""What a provider did, second by second: where the time went, how fast it was, and what it waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

MOST = 600
"""Samples kept of a provider: one for each pixel of a plot. A longer run keeps coarser ones, not more of them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A stretch of a provider's time.

    ``at`` is seconds since the call began, ``span_s`` how long the stretch is. ``settled``, ``requests`` and ``requeued`` are
    counts in it, ``p50_s`` and ``p95_s`` how long answers took in it (None without one). ``in_flight`` is the most at once,
    ``concurrency`` is as it ended, ``rate`` what pacing aimed at per second then (None: no known limit). ``waited`` has seconds
    by cause and adds up to ``span_s``; the cause ``client`` is time in which nothing outside held it back, ``done`` such in which
    another provider went on.
    """

    at: float
    span_s: float
    settled: int = 0
    requests: int = 0
    requeued: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    in_flight: int = 0
    concurrency: int = 0
    rate: float | None = None
    waited: Mapping[str, float] = field(default_factory=dict)


def merge(first: Sample, second: Sample) -> Sample:
    """Two neighbouring stretches as one: counts and waits add up, the slower latency and the most in flight stand, the later state holds."""
    waited = Counter(first.waited)
    waited.update(second.waited)
    weight = first.requests + second.requests
    p50 = first.p50_s if second.p50_s is None else second.p50_s
    if first.p50_s is not None and second.p50_s is not None and weight:
        p50 = (first.p50_s * first.requests + second.p50_s * second.requests) / weight
    return Sample(
        at=first.at,
        span_s=first.span_s + second.span_s,
        settled=first.settled + second.settled,
        requests=weight,
        requeued=first.requeued + second.requeued,
        p50_s=p50,
        p95_s=max((p for p in (first.p95_s, second.p95_s) if p is not None), default=None),
        in_flight=max(first.in_flight, second.in_flight),
        concurrency=second.concurrency,
        rate=second.rate,
        waited=dict(waited),
    )


def percentiles(latencies: Sequence[float]) -> tuple[float | None, float | None]:
    """The median and the 95th percentile; None without a value."""
    if not latencies:
        return None, None
    if len(latencies) == 1:
        return latencies[0], latencies[0]
    cuts = quantiles(latencies, n=20, method="inclusive")
    return cuts[9], cuts[18]


class Timeline:
    """At most ``MOST`` samples: if there are more, neighbours are merged and each stretch gets twice as long."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._every = 1  # looks that make one sample
        self._pending: Sample | None = None
        self._looks = 0

    def add(self, sample: Sample) -> None:
        self._pending = sample if self._pending is None else merge(self._pending, sample)
        self._looks += 1
        if self._looks < self._every:
            return
        self.samples.append(self._pending)
        self._pending, self._looks = None, 0
        if len(self.samples) >= MOST:
            pairs = zip(self.samples[::2], self.samples[1::2], strict=True)
            self.samples = [merge(first, second) for first, second in pairs]
            self._every *= 2

    def all(self) -> list[Sample]:
        """Every sample so far, the unfinished last one included."""
        return self.samples if self._pending is None else [*self.samples, self._pending]
