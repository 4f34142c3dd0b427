"""Jobs by the time at which each is due, and the looks at those that wait for the service."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bulkdel.engine.job import Job
from bulkdel.model import Target

T = TypeVar("T")


class DueHeap(Generic[T]):
    """Entries by the time at which each is due; those of the same time come out in the order in which they came in."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, T]] = []  # min-heap with (due time, order, entry)
        self._order = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        """The entries, in no order."""
        return (entry for _, _, entry in self._entries)

    @property
    def due(self) -> float | None:
        """When the first entry is due; None without an entry."""
        return self._entries[0][0] if self._entries else None

    def push(self, entry: T, due: float) -> None:
        self._order += 1
        heapq.heappush(self._entries, (due, self._order, entry))

    def pop_due(self, now: float) -> T | None:
        """Take out the first entry, if it is due."""
        if self._entries and self._entries[0][0] <= now:
            return heapq.heappop(self._entries)[2]
        return None

    def pop_next(self, wanted: Callable[[T], bool]) -> T | None:
        """Take out the first entry that is ``wanted``, due or not."""
        passed: list[tuple[float, int, T]] = []
        found: T | None = None
        while self._entries and found is None:
            entry = heapq.heappop(self._entries)
            if wanted(entry[2]):
                found = entry[2]
            else:
                passed.append(entry)
        for entry in passed:
            heapq.heappush(self._entries, entry)
        return found

    def take(self, wanted: Callable[[T], bool]) -> list[T]:
        """Take out every entry that is ``wanted``, in the order in which they are due."""
        taken: list[tuple[float, int, T]] = []
        left: list[tuple[float, int, T]] = []
        for entry in sorted(self._entries, key=lambda entry: entry[:2]):
            (taken if wanted(entry[2]) else left).append(entry)
        self._entries = left  # a sorted list is a heap
        return [entry for _, _, entry in taken]

    def hasten(self, latest: Callable[[T], float]) -> None:
        """Make each entry due at ``latest`` of it, if it was due later."""
        self._entries = [(min(due, latest(entry)), order, entry) for due, order, entry in self._entries]
        heapq.heapify(self._entries)


@dataclass(slots=True, eq=False)
class Look:
    """Jobs of one dataset that wait for the service and are asked about together.

    ``asks`` says how: ``state`` by a listing or a question for each, because no DELETE may be sent before that; ``gone`` in the
    same way, because the answers to their DELETEs were lost; a step's name by one request that asks this step for all of them.
    Empty: it is one job, and its own next step is the question.
    ``since`` is when it began to wait, ``asked_at`` when it was asked about last, ``until`` when the wait is over at the latest,
    None if only the service knows.
    """

    dataset: str
    jobs: dict[Target, Job]
    asks: str
    since: float
    asked_at: float
    until: float | None = None
    left_out: dict[Target, Job] = field(default_factory=dict)  # those that a request for several was refused for


class Looks:
    """The jobs that wait for the service, in the looks that are due for them."""

    def __init__(self) -> None:
        self.hastened = False  # all that were in it were made due sooner, because there is nothing else to do
        self._waiting = 0  # jobs in all looks of the heap
        self._in_doubt = 0  # those of them whose answers were lost
        self._asked: Look | None = None  # the look at several jobs that was taken out last: its jobs wait, too
        self._heap: DueHeap[Look] = DueHeap()
        self._shared: dict[tuple[str, str], Look] = {}  # by dataset and ``asks``: the looks that are for several jobs

    @property
    def waiting(self) -> int:
        """Jobs that wait for the service, those that are being asked about included."""
        return self._waiting + (0 if self._asked is None else len(self._asked.jobs))

    @property
    def indexing(self) -> int:
        """Those of them that wait until they are ready."""
        asked = self._asked
        return self.waiting - self._in_doubt - (len(asked.jobs) if asked is not None and asked.asks == "gone" else 0)

    @property
    def due(self) -> float | None:
        """When the next look is due; None without one."""
        return self._heap.due

    def push(self, look: Look, due: float) -> None:
        """Add a look. If the dataset has one already that asks the same, the jobs join that one."""
        if look is self._asked:
            self._asked = None
        self._waiting += len(look.jobs)
        self._in_doubt += len(look.jobs) if look.asks == "gone" else 0
        if look.asks:
            known = self._shared.setdefault((look.dataset, look.asks), look)
            if known is not look:
                known.jobs |= look.jobs
                known.until = max(known.until or 0.0, look.until or 0.0) or None
                return
        self._heap.push(look, due)

    def pop_due(self, now: float) -> Look | None:
        """Take out the first look, if it is due."""
        look = self._popped(self._heap.pop_due(now))
        if look is not None and look.asks:
            self._asked = look
        return look

    def forget(self, look: Look) -> None:
        """None of a look's jobs waits any more."""
        if look is self._asked:
            self._asked = None

    def pop_doubtful(self) -> Look | None:
        """Take out the next look at jobs whose answers were lost, due or not."""
        return self._popped(self._heap.pop_next(lambda look: look.asks == "gone"))

    def locked(self) -> tuple[int, float]:
        """How many of the jobs wait for what ends by itself, and when the last of it has ended."""
        looks = [look for look in (*self._heap, self._asked) if look is not None and look.until is not None]
        return sum(len(look.jobs) for look in looks), max((look.until or 0.0 for look in looks), default=0.0)

    def pop_next(self) -> Look | None:
        """Take out the next look at one job, due or not."""
        return self._popped(self._heap.pop_next(lambda look: not look.asks))

    def take(self, wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out the jobs that are ``wanted``; of a look either all are or none."""
        jobs: list[Job] = []
        for look in self._heap.take(lambda look: any(map(wanted, look.jobs.values()))):
            self._popped(look)
            jobs += look.jobs.values()
        return jobs

    def hasten(self, cap: float) -> None:
        """Make each look due at most ``cap`` seconds after the one before it."""
        self.hastened = True
        self._heap.hasten(lambda look: look.asked_at + cap)

    def _popped(self, look: Look | None) -> Look | None:
        if look is not None:
            self._waiting -= len(look.jobs)
            self._in_doubt -= len(look.jobs) if look.asks == "gone" else 0
            if look.asks:
                del self._shared[look.dataset, look.asks]
        return look
