"""A look at a run while it goes: numbers and the reason of the wait, as frozen values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bulkdel.model import Rate
from bulkdel.report import DatasetReport
from bulkdel.text import pluralize

if TYPE_CHECKING:
    from bulkdel.engine.schedule import Schedule
    from bulkdel.engine.session import ProviderSession

Wait = Literal["", "rate", "pause", "indexing", "locked", "service", "backoff", "consumer", "confirm"]
"""What a provider waits for now: its rate, a pause, documents being indexed, a lock of the service's, answers in flight, a retry's
due time, the reader of the outcomes, or the user's answer; empty if it waits for nothing."""


@dataclass(frozen=True, slots=True)
class DatasetProgress:
    """One dataset of a run that goes; ``selected`` is how many of its documents are to be deleted, as far as is known."""

    dataset: str
    name: str
    selected: int
    deleted: int
    rejected: int
    left: int

    @classmethod
    def of(cls, report: DatasetReport) -> DatasetProgress:
        c = report.counts
        gone = c.deleted + c.already_gone
        return cls(report.dataset, report.name, c.selected, gone, c.rejected, c.selected - c.settled)


@dataclass(frozen=True, slots=True)
class Progress:
    """One provider of a run that goes.

    ``phase``: ``preflight``, ``listing``, ``deleting``, ``verifying``, ``done``. ``total`` is how many targets are known so
    far, ``complete`` whether that is all of them. ``requeued`` wait for a due time, ``indexing`` of them for the service to
    finish indexing, ``locked`` of those for a lock of the service's, which ends by itself. ``per_second`` is settled targets
    over the last seconds. ``wait`` says what it waits for, ``why`` in the service's words, for ``wait_s`` seconds more if that is
    known. ``eta_s`` is None if nothing can be said honestly.
    ``waited_s`` has the seconds so far by cause, as of the last second, as ``Report.waited_s`` has them in the end.
    ``gives_up_s``: in so many seconds the last document that waits for the service is given up, or free if all of them are locked;
    None if none waits.
    ``rate_is_anothers``: another process with the same key wants the ``rate``, which is slower than this one's own.
    """

    provider: str
    phase: str
    total: int
    complete: bool
    deleted: int
    already_gone: int
    rejected: int
    not_attempted: int
    left: int
    in_flight: int
    requeued: int
    indexing: int
    requests: int
    concurrency: int
    rate: Rate | None
    per_second: float
    wait: Wait
    why: str
    wait_s: float | None
    eta_s: float | None
    datasets: tuple[DatasetProgress, ...] = ()
    waited_s: Mapping[str, float] = field(default_factory=dict)
    rate_is_anothers: bool = False
    locked: int = 0
    gives_up_s: float | None = None


@dataclass(frozen=True, slots=True)
class Waits:
    """How many jobs of a schedule wait now, those that are being asked about included: ``all`` of them, and what they wait for.

    ``end_at`` is the loop time at which the last of these waits is over at the latest. ``unknown``: a job waits for the service, or
    will when it is its turn, and how long that takes is not known.
    """

    all: int
    indexing: int
    locked: int
    end_at: float
    unknown: bool

    @classmethod
    def of(cls, schedule: Schedule) -> Waits:
        jobs = list(schedule.pending.values())
        counts = Counter(job.waits_for for job in jobs)
        indexing, locked = counts["indexing"], counts["locked"]
        kind = "indexing" if indexing else "locked"
        return cls(
            all=counts.total() - counts[""],
            indexing=indexing,
            locked=locked,
            end_at=max((job.wait_ends_at for job in jobs if job.waits_for == kind), default=0.0),
            unknown=bool(indexing or locked) or any(job.awaiting_indexing for job in jobs),
        )


def estimate(left: float, per_second: float, allowed: float | None, paused_s: float, at_once: float) -> float | None:
    """Seconds until ``left`` documents are done, after the pause: at the speed that is allowed, or a measured one well below it.

    ``at_once`` is how many may leave together behind a pause, because a whole window is free then.
    None if nothing was measured and no rate is known: a number would be a guess.
    """
    if left <= 0:
        return 0.0
    # A measured speed above three quarters of the allowed one is as good as it: twenty permits scatter so.
    speed = allowed if allowed is not None and not 0 < per_second < 0.75 * allowed else per_second
    return None if not speed else paused_s + (max(0.0, left - at_once) if paused_s > 0 else left) / speed


def waits_for(session: ProviderSession, now: float, *, asking: bool = False) -> tuple[Wait, str, float | None]:
    """What holds the provider back now, the gravest first: the cause, the words, and for how long if that is known.

    :param asking: whether the user is asked whether to delete
    """
    gate, schedule, limiter = session.gate, session.schedule, session.gate.limiter
    in_flight = session.in_flight
    if asking:
        return "confirm", "waiting for the answer whether to delete", None
    if (paused := limiter.paused_s) > 0:
        if not gate.pause_reason and gate.pace.rate is not None:
            return "rate", f"{gate.pace.rate} are used up", paused
        return "pause", gate.pause_reason or "another process with this key has begun it", paused
    if session.sink.pages.full:
        return "consumer", "settled targets wait to be read", None
    if limiter.trouble:
        return "pause", limiter.trouble, None
    if session.remote.waits_for is not None:
        return session.remote.waits_for
    if in_flight >= gate.slots.total_tokens:
        return "service", f"{pluralize(in_flight, 'answer')} in flight", None
    if gate.slots.borrowed_tokens > in_flight and limiter.rate is not None:
        whose = ", as another process with this key wants" if limiter.rate_is_anothers else ""
        return "rate", f"pacing at {limiter.rate}{whose}", None
    if in_flight:
        return "service", f"{pluralize(in_flight, 'answer')} in flight", None
    waits = Waits.of(schedule)
    if waits.all:
        if waits.locked == waits.all:
            return "locked", f"{pluralize(waits.all, 'document')} locked by the service", max(0.0, waits.end_at - now)
        if waits.indexing + waits.locked == waits.all:
            return "indexing", f"{pluralize(waits.all, 'document')} still being indexed", None
        due = schedule.next_due
        words = f"{pluralize(waits.all, 'document')} to be asked again"
        return "backoff", words, max(0.0, due - now) if due < math.inf else None
    if session.stop.sleeping:
        return "backoff", session.stop.sleeping[-1], None
    return "", "", None
