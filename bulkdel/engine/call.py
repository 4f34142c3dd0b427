"""One call of a client: which providers it uses, when it must stop, what it counted, and its report."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from bulkdel import events
from bulkdel.engine.channel import Channel
from bulkdel.engine.engine import Engine, Feed, LaneOf
from bulkdel.engine.lane import Lane
from bulkdel.engine.progress import Meter, Progress, waits_for
from bulkdel.engine.results import Consumer, Journal, Results
from bulkdel.engine.stop import Stop, StopReason
from bulkdel.engine.timeline import TICK_S, Sample, Timeline, percentiles
from bulkdel.model import Policy, RunStatus
from bulkdel.report import Account, Counts, RunEnd

FIRST_TICK_S = 0.05
"""Seconds to the first look at where the time goes."""


class _Watch:
    """What a provider's counts were at the last look."""

    def __init__(self, settled: int, requeued: int) -> None:
        self.settled = settled
        self.requeued = requeued
        self.requests = 0


class Call:
    """The state of one call, from its first request to its report. Use as a context manager."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        policy: Policy,
        *,
        on_event: events.OnEvent | None = None,
        journal: Journal | None = None,
        consumer: Consumer | None = None,
        lanes: LaneOf = Lane,
        account: Account | None = None,
    ) -> None:
        """
        :param account: what earlier sessions of the run counted, to count on; None for a new one
        """
        self._lanes = lanes
        self.channels = dict(channels)
        self.policy = policy
        self.account = Account() if account is None else account
        for name in self.channels:
            self.account.provider(name)
        self.results = Results(journal=journal, consumer=consumer, on_event=on_event, account=self.account)
        self.results.on_journal_lost = lambda why: self.stop(StopReason("stopped", why))
        self.stops = {name: Stop() for name in self.channels}
        self.signal: int | None = None
        self.phase = "preflight"
        self.engine: Engine | None = None
        self.meters = {name: Meter() for name in self.channels}
        self.names: dict[tuple[str, str], str] = {}
        self.totals: dict[str, int] = {}  # selected targets per provider, where a listing made them known
        self.sizes: dict[tuple[str, str], int] = {}  # the same per dataset; while one is listed, what was listed so far
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self._requests_before = {name: channel.requests for name, channel in self.channels.items()}
        self._deadline: asyncio.TimerHandle | None = None
        self.timelines = {name: Timeline() for name in self.channels}
        # Earlier sessions' counts are in the account already, and are no work of this one.
        self._watches = {
            name: _Watch(self.settled_of(name), self.account.provider(name).requeued.total()) for name in self.channels
        }
        self._looked_at = self.started
        self._tick: asyncio.TimerHandle | None = None
        self._resumes: dict[str, asyncio.TimerHandle] = {}
        self._asking = False  # somebody is asked whether to delete

    def __enter__(self) -> Call:
        for name, channel in self.channels.items():
            channel.attach(self.stops[name], self._heard)
        if self.policy.deadline is not None:
            self._deadline = self._loop.call_later(self.policy.deadline, self._deadline_came)
        self._tick = self._loop.call_later(FIRST_TICK_S, self._look_again)
        return self

    def __exit__(self, *_: object) -> None:
        if self._tick is not None:
            self._tick.cancel()
        for handle in (self._deadline, *self._resumes.values()):
            if handle is not None:
                handle.cancel()
        for name, channel in self.channels.items():
            channel.detach(self.stops[name])

    def _heard(self, event: events.Event) -> None:
        if isinstance(event, events.Paused):
            self.account.provider(event.provider).pauses += 1
            self._resume_later(event.provider, event.seconds)
        self.results.emit(event)

    def _deadline_came(self) -> None:
        """Stop, and say what held a lone provider back then: whoever reads of the deadline asks for that next."""
        words = f"the deadline of {self.policy.deadline:g} s came"
        if len(self.channels) == 1:
            (channel,) = self.channels.values()
            if channel.pacing.paused_s > 0:
                words += f" in a pause: {channel.pause_reason}"
        self.stop(StopReason("deadline", words))

    def _resume_later(self, name: str, seconds: float) -> None:
        if name in self._resumes:
            self._resumes[name].cancel()
        self._resumes[name] = self._loop.call_later(seconds, self._resumed, name)

    def _resumed(self, name: str) -> None:
        left = self.channels[name].pacing.paused_s
        if left > 0:  # it was made longer
            self._resume_later(name, left)
        else:
            self.results.emit(events.Resumed(name))

    # ------------------------------------------------------------------ where the time goes

    def _look(self) -> None:
        """Account for the time since the last look: each provider's stretch goes to what it waits for now."""
        now = self._loop.time()
        span, at = now - self._looked_at, self._looked_at - self.started
        self._looked_at = now
        idle = {name: self._idle(name) for name in self.channels}
        one_goes_on = not all(idle.values())
        for name in self.channels:
            ours = "done" if idle[name] and one_goes_on else "client"
            self.timelines[name].add(self._sample(name, at, span, now, ours))

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While somebody is asked whether to delete: how long that takes is nobody's work, and no provider's speed."""
        self._look()
        self._asking = True
        try:
            yield
        finally:
            self._look()
            self._asking = False

    def _idle(self, name: str) -> bool:
        """Whether nothing of a provider is under way, nor anything to come, as far as is known."""
        if self.channels[name].in_flight:
            return False
        lane = self.engine.lanes.get(name) if self.engine is not None else None
        if lane is None or lane.left:
            return lane is None
        datasets = self.account.datasets.values()
        settled = sum(dataset.counts.settled for dataset in datasets if dataset.provider == name)
        return lane.over or settled >= self.totals.get(name, math.inf)

    def _look_again(self) -> None:
        """Look, and again later; only the timer does this, so that there is never more than one."""
        self._look()
        # Short stretches at first: a run of seconds has a story too.
        took = self._looked_at - self.started
        self._tick = self._loop.call_later(min(TICK_S, max(FIRST_TICK_S, took / 20)), self._look_again)

    def _sample(self, name: str, at: float, span: float, now: float, ours: str) -> Sample:
        channel, watch = self.channels[name], self._watches[name]
        lane = self.engine.lanes.get(name) if self.engine is not None else None
        settled, requests = self.settled_of(name), self.requests_of(name)
        requeued = self.account.provider(name).requeued.total()
        p50, p95 = percentiles(lane.took if lane is not None else ())
        if lane is not None:
            lane.took.clear()
        sample = Sample(
            at=at,
            span_s=span,
            settled=settled - watch.settled,
            requests=requests - watch.requests,
            requeued=requeued - watch.requeued,
            p50_s=p50,
            p95_s=p95,
            in_flight=channel.take_peak(),
            concurrency=channel.slots.limit,
            rate=channel.pacing.allowed_per_second,
            waited={self._waits_for(name, now) or ours: span},
        )
        watch.settled, watch.requests, watch.requeued = settled, requests, requeued
        return sample

    def _waits_for(self, name: str, now: float) -> str:
        lane = self.engine.lanes.get(name) if self.engine is not None else None
        asleep = self.stops[name].asleep > 0
        return waits_for(self.channels[name], lane, now, asking=self._asking, asleep=asleep)[0]

    def settled_of(self, name: str) -> int:
        """Targets of one provider that have settled; those not attempted are work that was left, not work done."""
        counts = [dataset.counts for dataset in self.account.datasets.values() if dataset.provider == name]
        return sum(c.settled - c.not_attempted for c in counts)

    def account_for_time(self) -> dict[str, dict[str, float]]:
        """Seconds by cause of each provider up to now, the last look: they add up to the time that the call took, whatever is
        written down afterwards."""
        self._look()
        if self._tick is not None:
            self._tick.cancel()
        return {name: timeline.waited() for name, timeline in self.timelines.items()}

    # ------------------------------------------------------------------ stopping and settling

    def stop(self, reason: StopReason) -> None:
        """Send nothing more, let what is in flight end; what is left settles as not attempted."""
        for stop in self.stops.values():
            stop.set(reason)

    def bug(self, name: str, error: Exception) -> None:
        """A provider's code raised, or ours did with its answers: it is stopped, and the report says what happened."""
        self.results.bug(error)
        self.channels[name].stop_for_bug(error)

    async def settle(self, feeds: Sequence[Feed], providers: Iterable[str] | None = None) -> None:
        """Settle everything that the feeds offer."""
        names = list(self.channels) if providers is None else list(providers)
        self.phase = "deleting"
        self.engine = Engine(
            {name: self.channels[name] for name in names},
            self.policy,
            self.results,
            {name: self.stops[name] for name in names},
            self._lanes,
        )
        await self.engine.run(feeds)

    # ------------------------------------------------------------------ the account

    @property
    def requests(self) -> int:
        return sum(self.requests_of(name) for name in self.channels)

    def requests_of(self, name: str) -> int:
        """Requests that left to one provider since this call began; those of calls at the same time are among them."""
        return self.channels[name].requests - self._requests_before[name]

    def stop_reason(self) -> StopReason | None:
        """The gravest reason why a provider was stopped: interrupted, the deadline, the provider itself."""
        reasons = [stop.reason for stop in self.stops.values() if stop.reason is not None]
        order: list[RunStatus] = ["interrupted", "deadline", "stopped", "incomplete"]
        return min(reasons, key=lambda reason: order.index(reason.status), default=None)

    def _stopped_by(self, why: StopReason) -> tuple[str, str]:
        """The words and the hint of a stop; of several providers each one that stopped for itself is named, once."""
        if len(self.channels) == 1:
            return why.reason, why.hint
        stopped: dict[str, list[str]] = {}
        hints: dict[str, None] = {}
        for name, stop in self.stops.items():
            reason = stop.reason
            if reason is None or reason.status != why.status:
                continue
            own = reason == self.channels[name].stopped
            stopped.setdefault(reason.reason, []).extend([name] if own else [])
            hints |= {reason.hint: None} if reason.hint else {}
        words = (f"{', '.join(names)}: {reason}" if names else reason for reason, names in stopped.items())
        return "; ".join(words), "; ".join(hints)

    def close_account(self) -> RunEnd:
        """Count what the call took into the account, for the last time; how the call ended.

        A stop that came when there was nothing left to do changes nothing.
        """
        account, why, bugs = self.account, self.stop_reason(), self.results.bugs
        account.elapsed_s += self._loop.time() - self.started
        account.input_truncated |= self.results.unread
        for name, waited_s in self.account_for_time().items():
            provider = account.provider(name)
            provider.requests += self.requests_of(name)
            for cause, seconds in waited_s.items():
                provider.waited_s[cause] = provider.waited_s.get(cause, 0.0) + seconds
        bug = f"{type(bugs[0]).__name__} at {_where(bugs[0])}" if bugs else ""
        left = account.input_truncated or any(d.counts.not_attempted for d in account.datasets.values())
        if why is None or not (left or any(d.status == why.status for d in account.datasets.values())):
            return RunEnd(signal=self.signal, bug=bug)
        reason, hint = self._stopped_by(why)
        return RunEnd(why.status, reason, hint, self.signal, bug)

    def progress(self) -> tuple[Progress, ...]:
        """A look at each provider of this call now."""
        return tuple(self._progress(name) for name in self.channels)

    def _progress(self, name: str) -> Progress:
        lane = self.engine.lanes.get(name) if self.engine is not None else None
        counts = {d.dataset: d.counts for d in self.account.datasets.values() if d.provider == name}
        return self.meters[name].look(
            channel=self.channels[name],
            lane=lane,
            phase=self.phase,
            counts=counts,
            names={dataset: words for (provider, dataset), words in self.names.items() if provider == name},
            sizes={dataset: size for (provider, dataset), size in self.sizes.items() if provider == name},
            total=self.totals.get(name),
            requests=self.requests_of(name),
            waited_s=self.timelines[name].waited(),
            now=self._loop.time(),
            asking=self._asking,
            asleep=self.stops[name].asleep > 0,
        )


def dataset_status(counts: Counts, stop: StopReason | None, stopped: str) -> RunStatus:
    """A dataset's own word: stopped alone, ended by the run's stop, incomplete where something was rejected, or complete."""
    if stopped:
        return "stopped"
    if stop is not None and counts.not_attempted:
        return stop.status
    return "incomplete" if counts.rejected or counts.not_attempted else "complete"


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "an unknown place"
