"""Where a call's time goes: every stretch of each provider's time is counted to what it waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bulkdel.engine.progress import Meter, Progress, waits_for
from bulkdel.engine.session import ProviderSession
from bulkdel.engine.timeline import Sample, Timeline, percentiles

if TYPE_CHECKING:
    from bulkdel.engine.call import Call


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
                in_flight=gate.take_peak() + session.remote.in_flight,
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
