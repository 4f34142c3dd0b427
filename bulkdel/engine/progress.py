"""A look at a run while it goes: numbers and the reason of the wait, as frozen values."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bulkdel.model import Rate
from bulkdel.report import Counts
from bulkdel.text import many

if TYPE_CHECKING:
    from bulkdel.engine.channel import Channel
    from bulkdel.engine.lane import Lane

Wait = Literal["", "rate", "pause", "indexing", "service", "backoff", "consumer", "confirm"]
"""What a provider waits for now: its rate, a pause, documents being indexed, answers in flight, a retry's due time, the reader
of the outcomes, or somebody's yes; empty where it waits for nothing."""


SETTLED = 20
"""Permits over which a speed is measured at least: of three in a row, one more or less is a third."""
CHANCE = 0.75
"""Share of the allowed speed above which a measured one is as good as it: twenty permits and the answers to them do scatter so."""
TRUSTED_S = 2.0
"""Seconds that a speed must have been measured for to replace the one before a pause."""


@dataclass(frozen=True, slots=True)
class DatasetProgress:
    """One dataset of a run that goes; ``selected`` is how many of its documents are to be deleted, as far as is known."""

    dataset: str
    name: str
    selected: int
    deleted: int
    rejected: int
    left: int


@dataclass(frozen=True, slots=True)
class Progress:
    """One provider of a run that goes.

    ``phase``: ``preflight``, ``listing``, ``deleting``, ``verifying``, ``done``. ``total`` is how many targets are known so
    far, ``complete`` whether that is all of them. ``requeued`` wait for a due time, ``indexing`` of them for the service to
    finish indexing. ``per_second`` is settled targets over the last seconds. ``wait`` says what it waits for, ``why`` in the
    service's words, for ``wait_s`` seconds more where that is known. ``eta_s`` is None where nothing can be said honestly.
    ``waited_s`` has the seconds so far by cause, as of the last second, as ``Report.waited_s`` has them in the end.
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


class Meter:
    """Measures one provider's progress over the last seconds; ``look`` is called a few times a second at most."""

    def __init__(self, span: float = 10.0) -> None:
        self._span = span
        self._samples: deque[tuple[float, int]] = deque()
        self._going = 0.0  # the speed when no pause held it back: a pause is counted as itself, not as slowness
        self._paused = False

    def look(
        self,
        *,
        channel: Channel,
        lane: Lane | None,
        phase: str,
        counts: Mapping[str, Counts],
        names: Mapping[str, str],
        sizes: Mapping[str, int],
        total: int | None,
        requests: int,
        waited_s: Mapping[str, float],
        now: float,
        asking: bool = False,
        asleep: bool = False,
    ) -> Progress:
        """What is so now; ``now`` is the loop's time, ``asking`` and ``asleep`` are as of ``waits_for``."""
        sums = Counts()
        for c in counts.values():
            sums.add(c)
        settled = sums.settled
        allowed = channel.pacing.allowed_per_second
        known = max(total if total is not None else sum(sizes.values()), sums.selected)
        left = known - settled
        wait, why, wait_s = waits_for(channel, lane, now, asking=asking, asleep=asleep)
        # What is left behind at a stop settles thousands a second, and is no speed.
        per_second = self._speed(now, settled - sums.not_attempted, allowed, paused=wait in ("pause", "confirm"))
        # Only the service knows how long its indexing takes; a look at it is no progress.
        unknowable = wait == "indexing" or (lane is not None and 0 < left <= lane.indexing)
        eta = None if unknowable else estimate(left, self._going, allowed, channel.pacing.paused_s)
        return Progress(
            provider=channel.provider.name,
            phase=phase,
            total=known,
            complete=total is not None,
            deleted=sums.deleted,
            already_gone=sums.already_gone,
            rejected=sums.rejected,
            not_attempted=sums.not_attempted,
            left=left,
            in_flight=channel.in_flight,
            requeued=lane.waiting if lane is not None else 0,
            indexing=lane.indexing if lane is not None else 0,
            requests=requests,
            concurrency=channel.slots.limit,
            rate=channel.pacing.rate,
            per_second=per_second,
            wait=wait,
            why=why,
            wait_s=wait_s,
            eta_s=eta,
            datasets=tuple(
                _dataset(dataset, names.get(dataset, ""), sizes.get(dataset, 0), counts.get(dataset, Counts()))
                for dataset in {**sizes, **counts}
            ),
            waited_s=waited_s,
            rate_is_anothers=channel.pacing.rate_is_anothers,
        )

    def _speed(self, now: float, settled: int, allowed: float | None, *, paused: bool) -> float:
        """Settled targets a second over the last seconds; at a slow rate over as many as twenty permits take."""
        if self._paused and not paused:
            self._samples.clear()  # what is measured from here on is the speed without the pause
        self._paused = paused
        span = max(self._span, SETTLED / allowed) if allowed else self._span
        samples = self._samples
        samples.append((now, settled))
        while len(samples) > 2 and samples[0][0] < now - span:
            samples.popleft()
        then, before = samples[0]
        per_second = (settled - before) / (now - then) if now > then else 0.0
        # Right after a pause the speed before it is known better than the one since.
        if not paused and (now - then >= TRUSTED_S or not self._going):
            self._going = per_second
        return per_second


def _dataset(dataset: str, name: str, size: int, c: Counts) -> DatasetProgress:
    selected = max(size, c.selected)  # of streamed targets only what has come in is known
    deleted = c.deleted + c.already_gone
    return DatasetProgress(
        dataset=dataset,
        name=name,
        selected=selected,
        deleted=deleted,
        rejected=c.rejected,
        left=selected - deleted - c.rejected - c.not_attempted,
    )


def estimate(left: int, per_second: float, allowed: float | None, paused_s: float) -> float | None:
    """Seconds until ``left`` documents are done, after the pause: at the speed that is allowed, or a measured one well below it.

    None where nothing was measured and no rate is known: a number would be a guess.
    """
    if left <= 0:
        return 0.0
    speed = allowed if allowed is not None and not 0 < per_second < CHANCE * allowed else per_second
    return None if not speed else paused_s + left / speed


def waits_for(
    channel: Channel, lane: Lane | None, now: float, *, asking: bool = False, asleep: bool = False
) -> tuple[Wait, str, float | None]:
    """What holds the provider back now, the gravest first; ``asking`` is whether somebody is asked whether to delete, ``asleep``
    whether a listing or another question waits to be asked again."""
    if asking:
        return "confirm", "nobody has said yes yet", None
    if (paused := channel.pacing.paused_s) > 0:
        return "pause", channel.pause_reason, paused
    if lane is not None and lane.results.full:
        return "consumer", "settled targets wait to be read", None
    if trouble := channel.pacing.trouble:
        return "pause", trouble, None
    if lane is not None and lane.told is not None:
        return lane.told
    if channel.in_flight >= channel.slots.limit:
        return "service", f"{many(channel.in_flight, 'answer')} in flight", None
    if channel.slots.in_flight > channel.in_flight:
        whose = ", as another process with this key wants" if channel.pacing.rate_is_anothers else ""
        return "rate", f"pacing at {channel.pacing.rate}{whose}", None
    if channel.in_flight:
        return "service", f"{many(channel.in_flight, 'answer')} in flight", None
    if lane is not None and lane.waiting:
        due = lane.next_due()
        if lane.indexing == lane.waiting:
            return "indexing", f"{lane.indexing} documents are still being indexed", None
        return (
            "backoff",
            f"{lane.waiting} documents wait to be asked again",
            None if due is None else max(0.0, due - now),
        )
    if asleep:
        return "backoff", "a listing or another question waits to be asked again", None
    return "", "", None
