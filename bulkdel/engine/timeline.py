"""Where a call's time goes, second by second: each stretch of a provider's time is counted to what it waited for."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import TYPE_CHECKING

from bulkdel.engine.progress import DatasetProgress, Progress, Waits, estimate, waits_for

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
    """At most ``MOST`` samples: as soon as there are so many, neighbours are merged and each stretch gets twice as long."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._every = 1  # looks that make one sample
        self._looks = 0

    def add(self, sample: Sample) -> None:
        if self._looks % self._every:
            self.samples[-1] = merge(self.samples[-1], sample)
        else:
            self.samples.append(sample)
        self._looks += 1
        if len(self.samples) == MOST and self._looks % self._every == 0:
            pairs = zip(self.samples[::2], self.samples[1::2], strict=True)
            self.samples = [merge(first, second) for first, second in pairs]
            self._every *= 2


class Watch:
    """One provider: its samples so far, the counts at the last look, and its speed over the last ten seconds."""

    def __init__(self, session: ProviderSession) -> None:
        self.session = session
        self.timeline = Timeline()
        self._counted = self._counts()
        self._speeds: deque[tuple[float, int]] = deque()  # loop time, and targets that had settled
        self._unpaused = 0.0  # the speed when no pause held it back: a pause is counted as itself, not as slowness
        self._settled = 0  # how many targets that speed was measured by
        self._paused = False

    def _counts(self) -> tuple[int, int, int]:
        account, counts = self.session.account, self.session.counts
        return account.requests, account.requeued.total(), counts.settled - counts.not_attempted

    def add(self, at: float, span: float, cause: str) -> None:
        """Count a stretch of ``span`` seconds that began ``at`` seconds after the call."""
        session, gate, before = self.session, self.session.gate, self._counted
        self._counted = requests, requeued, settled = self._counts()
        peak, gate.peak = gate.peak, gate.in_flight
        p50, p95 = percentiles(session.latencies)
        session.latencies.clear()
        waited = session.account.waited_s
        waited[cause] = waited.get(cause, 0.0) + span
        self.timeline.add(
            Sample(
                at=at,
                span_s=span,
                settled=settled - before[2],
                requests=requests - before[0],
                requeued=requeued - before[1],
                p50_s=p50,
                p95_s=p95,
                in_flight=peak + session.remote.in_flight,
                concurrency=int(gate.slots.total_tokens),
                rate=gate.pace.allowed_per_second,
                waited={cause: span},
            )
        )

    def progress(self, phase: str, now: float, *, total_known: bool) -> Progress:
        """Current snapshot; ``now`` is the loop's time."""
        session, gate, counts = self.session, self.session.gate, self.session.counts
        left, limiter = counts.selected - counts.settled, gate.limiter
        waits = Waits.of(session.schedule)
        wait, why, wait_s = waits_for(session, now, asking=phase == "confirming")
        # Behind a pause one request leaves at a time until one passes: that is no speed yet.
        paused = wait == "confirm" or limiter.paused_s > 0 or gate.health.one_by_one
        per_second = self._speed(now, gate.pace.allowed_per_second, paused=paused)
        eta_s = None
        # Only the service knows how long its indexing takes. If more was asked for in vain than has settled, what settles is no
        # measure either: a listing may settle all of it at once.
        if not (waits.unknown or session.indexing_ahead or waits.all > self._settled):
            pace = gate.pace
            eta_s = estimate(left, self._unpaused, pace.allowed_per_second, limiter.paused_s, pace.at_once)
        return Progress(
            provider=session.name,
            phase="listing" if phase == "confirming" else phase,
            total=counts.selected,
            complete=total_known,
            deleted=counts.deleted,
            already_gone=counts.already_gone,
            rejected=counts.rejected,
            not_attempted=counts.not_attempted,
            left=left,
            in_flight=session.in_flight,
            requeued=waits.all,
            indexing=waits.indexing + waits.locked,
            requests=session.account.requests,
            concurrency=int(gate.slots.total_tokens),
            rate=gate.pace.rate,
            per_second=per_second,
            wait=wait,
            why=why,
            wait_s=wait_s,
            eta_s=eta_s,
            datasets=tuple(map(DatasetProgress.of, session.datasets)),
            waited_s=dict(session.account.waited_s),
            rate_is_anothers=limiter.rate_is_anothers,
            locked=waits.locked,
            gives_up_s=max(0.0, waits.end_at - now) if waits.indexing or waits.locked else None,
        )

    def _speed(self, now: float, allowed: float | None, *, paused: bool) -> float:
        """Settled targets a second over the last seconds; at a slow rate over as many as twenty permits take."""
        if self._paused and not paused:
            self._speeds.clear()  # what is measured from here on is the speed without the pause
        self._paused = paused
        span = max(10.0, 20 / allowed) if allowed else 10.0
        samples = self._speeds
        # What is left behind at a stop settles thousands a second, and is no speed.
        done = self._counts()[2]
        stalls = bool(samples) and samples[-1][1] == done
        samples.append((now, done))
        while len(samples) > 2 and samples[0][0] < now - span:
            samples.popleft()
        then, before = samples[0]
        per_second = (done - before) / (now - then) if now > then else 0.0
        # A service that stalls for seconds is not slow behind it: the last twenty say how fast it is now, and none says nothing.
        if not paused and not (stalls and per_second):
            behind = (sample for sample in reversed(samples) if sample[0] <= now - 2.0 and sample[1] <= done - 20)
            since, settled = next(behind, samples[0])
            # Right after a pause the speed before it is known better than the one since.
            if now - since >= 2.0 or not self._unpaused:
                self._settled = done - settled
                self._unpaused = self._settled / (now - since) if now > since else 0.0
        return per_second


class TimeAccount:
    """Looks at a call again and again, and counts the time since the last look."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._watches = {name: Watch(session) for name, session in call.sessions.items()}
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
        now, asking = self._loop.time(), self._call.phase == "confirming"
        at, span = self._looked_at - self._began, now - self._looked_at
        self._looked_at = now
        idle = [self._idle(watch.session) for watch in self._watches.values()]
        for watch, is_idle in zip(self._watches.values(), idle, strict=True):
            own = "done" if is_idle and not all(idle) else "client"
            watch.add(at, span, waits_for(watch.session, now, asking=asking)[0] or own)

    def _idle(self, session: ProviderSession) -> bool:
        """Whether nothing of a provider is under way, nor anything to come, as far as is known."""
        if session.in_flight or session.schedule.pending:
            return False
        counts = session.counts
        return self._call.phase != "deleting" or session.schedule.over or counts.selected <= counts.settled

    def samples(self) -> dict[str, list[Sample]]:
        """How each provider's time went so far."""
        return {name: watch.timeline.samples for name, watch in self._watches.items()}

    def progress(self) -> tuple[Progress, ...]:
        """A look at each provider now, which counts nothing."""
        call, now = self._call, self._loop.time()
        return tuple(watch.progress(call.phase, now, total_known=call.total_known) for watch in self._watches.values())
