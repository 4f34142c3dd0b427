"""Where a call's time goes, second by second: each stretch of a provider's time is counted to what it waited for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import TYPE_CHECKING

from bulkdel.engine.progress import Meter, Progress, waits_for

if TYPE_CHECKING:
    from bulkdel.engine.call import Call
    from bulkdel.engine.session import ProviderSession

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


class _Watch:
    """One provider: its samples so far, its speed, and the account as it was at the last look."""

    def __init__(self, session: ProviderSession) -> None:
        self.session = session
        self.timeline = Timeline()
        self.meter = Meter()
        self._requests, self._requeued, self._settled = self._counts()

    def _counts(self) -> tuple[int, int, int]:
        account = self.session.account
        return account.requests, account.requeued.total(), self.session.done

    def add(self, at: float, span: float, cause: str) -> None:
        """Count a stretch of ``span`` seconds that began ``at`` seconds after the call."""
        session, gate = self.session, self.session.gate
        before = self._requests, self._requeued, self._settled
        self._requests, self._requeued, self._settled = self._counts()
        peak, gate.peak = gate.peak, gate.in_flight
        p50, p95 = percentiles(session.latencies)
        session.latencies.clear()
        waited = session.account.waited_s
        waited[cause] = waited.get(cause, 0.0) + span
        self.timeline.add(
            Sample(
                at=at,
                span_s=span,
                settled=self._settled - before[2],
                requests=self._requests - before[0],
                requeued=self._requeued - before[1],
                p50_s=p50,
                p95_s=p95,
                in_flight=peak + session.remote.in_flight,
                concurrency=int(gate.slots.total_tokens),
                rate=gate.limiter.allowed_per_second,
                waited={cause: span},
            )
        )


class TimeAccount:
    """Looks at a call again and again, and counts the time since the last look."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._watches = {name: _Watch(session) for name, session in call.sessions.items()}
        self._loop = asyncio.get_running_loop()
        self._began = self._looked_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return self._loop.time() - self._began

    def start(self) -> None:
        # Short stretches at first: a run of seconds has a story, too.
        self._timer = self._loop.call_later(min(1.0, max(0.05, self.elapsed_s / 20)), self._look_again)

    def stop(self) -> None:
        """The last look: what follows is not counted."""
        if self._timer is not None:
            self._timer.cancel()

    def _look_again(self) -> None:
        self.look()
        self.start()

    def look(self) -> None:
        """Count the time since the last look: each provider's goes to what it waits for now."""
        now = self._loop.time()
        at, span = self._looked_at - self._began, now - self._looked_at
        self._looked_at = now
        idle = {name: self._idle(watch.session) for name, watch in self._watches.items()}
        for name, watch in self._watches.items():
            own = "done" if idle[name] and not all(idle.values()) else "client"
            watch.add(at, span, self._waits_for(watch.session, now) or own)

    def _idle(self, session: ProviderSession) -> bool:
        """Whether nothing of a provider is under way, nor anything to come, as far as is known."""
        if session.in_flight or session.schedule.pending:
            return False
        return self._call.phase != "deleting" or session.schedule.over or session.left <= 0

    def _waits_for(self, session: ProviderSession, now: float) -> str:
        return waits_for(session, now, asking=self._call.phase == "confirming")[0]

    def samples(self) -> dict[str, list[Sample]]:
        """How each provider's time went so far."""
        return {name: watch.timeline.all() for name, watch in self._watches.items()}

    def progress(self, name: str) -> Progress:
        """A look at one provider now, which counts nothing."""
        watch = self._watches[name]
        return watch.meter.look(watch.session, self._call.phase, self._loop.time(), total_known=self._call.total_known)
