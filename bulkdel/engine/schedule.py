"""Every job of one provider that has not settled, in one place: fresh, due later, or waiting for the service."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import anyio

from bulkdel.engine.job import Job
from bulkdel.engine.stop import Stop
from bulkdel.model import Target

WINDOW = 8_192
"""Jobs that a schedule holds at most, those that wait included: about 400 bytes each, 3 MB in all (S18)."""


class Due(NamedTuple):
    """A job that is asked again at a loop time; those of the same time keep their ``order``."""

    at: float
    order: int
    job: Job
    indexing: bool  # refused because it is being indexed: good news brings it forward


@dataclass(slots=True, eq=False)
class Look:
    """Jobs of one dataset that wait for the service and are asked about together, at a loop time.

    ``asks`` says how: ``state`` by a listing or a question for each, because no DELETE may be sent before that; ``gone`` in the
    same way, because the answers to their DELETEs were lost; a step's name by one request that asks this step for all of them.
    ``since`` is when the first of them began to wait. ``refused`` are those that a request for several was refused for, and whether
    they are left out of the next one.
    """

    dataset: str
    asks: str
    since: float
    due: float
    jobs: dict[Target, Job] = field(default_factory=dict)
    refused: dict[Target, bool] = field(default_factory=dict)


class Schedule:
    """Takes jobs in and gives each out when it is its turn: what is due comes before what is fresh.

    A job is ``pending`` from ``add`` to ``remove``. Meanwhile it is in one of three places, or in the hands of a worker:

    * ``_fresh``: it waits for its first attempt;
    * ``_due``, a min-heap: it is asked again at its time;
    * ``looks``: it waits for the service, and ``polling`` asks about it together with the others of its dataset.

    What waits holds no worker (S5). A target that comes in again while it is pending joins the first one (S4). Belongs to one
    event loop.

    :param look_cap: seconds to the next look at the latest as soon as nothing is left but waiting
    """

    def __init__(self, stop: Stop, look_cap: float) -> None:
        self.pending: dict[Target, Job] = {}
        self.looks: dict[tuple[str, str], Look] = {}  # by dataset and ``asks``
        self.window = WINDOW  # pending jobs at most; workers that keep more at work raise it
        self._closed = False  # no more jobs come in
        self._resting = False  # the only feed waits until nothing is pending
        self._joined = 0  # occurrences that joined a pending one: they count for the window, too
        self._fresh: deque[Job] = deque()
        self._due: list[Due] = []
        self._order = count()
        self._changed = asyncio.Event()  # wakes all that wait: feeds, workers and ``next_look``
        self._look_cap = look_cap
        self.stop = stop
        stop.listen(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()

    async def _change(self, until: float = math.inf) -> None:
        """Wait until something changes, until a loop time at the latest."""
        with anyio.CancelScope(deadline=until):
            await self._changed.wait()

    # ------------------------------------------------------------------ taking in

    async def add(self, jobs: Sequence[Job]) -> None:
        """Take a page in; waits while the window is full, unless a stop is set."""
        while self._full and self.stop.reason is None:
            await self._changed.wait()
        for job in jobs:
            first = self.pending.setdefault(job.target, job)
            if first is job:
                self._fresh.append(job)
            else:
                self._joined -= len(first.others or ())
                first.join(job)
            self._joined += len(first.others or ())
        self._wake()

    def close_input(self) -> None:
        """No more jobs will come."""
        self._closed = True
        self._hasten_if_idle()
        self._wake()

    async def wait_until_empty(self) -> None:
        """Wait until everything that was taken in has settled, or until a stop; meanwhile the only feed adds nothing."""
        self._resting = True
        self._hasten_if_idle()
        self._wake()
        while self.pending and self.stop.reason is None:
            await self._changed.wait()
        self._resting = False

    @property
    def _full(self) -> bool:
        return len(self.pending) + self._joined >= self.window

    # ------------------------------------------------------------------ as others see it

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do."""
        return self.stop.reason is not None or (self._closed and not self.pending)

    @property
    def busy(self) -> bool:
        """Whether there is more to do than to ask again."""
        return bool(self._fresh) or not (self._closed or self._resting)

    @property
    def refused_for_indexing(self) -> int:
        """Jobs whose DELETE was refused because they are being indexed."""
        return sum(due.indexing for due in self._due)

    @property
    def next_due(self) -> float:
        """Loop time at which the next job is asked again, or asked about; infinite if none is."""
        return min(self._job_due, self._look_due)

    @property
    def _job_due(self) -> float:
        return self._due[0].at if self._due else math.inf

    @property
    def _look_due(self) -> float:
        return min((look.due for look in self.looks.values()), default=math.inf)

    # ------------------------------------------------------------------ giving out

    def __aiter__(self) -> Schedule:
        return self

    async def __anext__(self) -> Job:
        """Wait for the next job; ends when there will be none, or when a stop is set."""
        while not self.over:
            if (job := self.pop()) is not None:
                return job
            await self._change(self._job_due)
        raise StopAsyncIteration

    async def next_page(self, most: int, least: int = 1) -> list[Job]:
        """Wait for ``least`` jobs and take up to ``most`` of them; fewer if no more come in for now. Empty when there will be none."""
        while not self.over:
            page: list[Job] = []
            if len(self._fresh) >= least or self._closed or self._resting or self._full:
                while len(page) < most and (job := self.pop()) is not None:
                    page.append(job)
            if page:
                return page
            await self._change(self._job_due)
        return []

    def pop(self) -> Job | None:
        """The next job; None if none is due or fresh now."""
        if self._due and self._due[0].at <= _now():
            job = heapq.heappop(self._due).job
            job.waits_for = ""
            return job
        if not self._fresh:
            return None
        job = self._fresh.popleft()
        if not self._fresh:
            self._hasten_if_idle()
        return job

    # ------------------------------------------------------------------ putting back, and taking out

    def later(self, job: Job, seconds: float = 0.0, *, indexing: bool = False) -> None:
        """Ask a job again in so many seconds; it comes before all fresh ones then.

        :param indexing: it waits to be indexed, and good news of another one brings it forward
        """
        if seconds <= 0.0 or not job.waits_for:
            job.waits_for = "retry"
        heapq.heappush(self._due, Due(_now() + seconds, next(self._order), job, indexing))
        self._wake()

    def remove(self, job: Job) -> None:
        """The job settles.

        :raises KeyError: if it has settled before (S1)
        """
        was_full = self._full
        del self.pending[job.target]
        if job.others is not None:
            self._joined -= len(job.others)
        if not self.pending or was_full != self._full:
            self._wake()

    def take(self, wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out the jobs that are ``wanted`` and not in the hands of a worker; they stay pending until they settle."""
        jobs = self._take_due(lambda due: wanted(due.job)) + list(filter(wanted, self._fresh))
        for look in self.looks.values():
            jobs += filter(wanted, look.jobs.values())
            look.jobs = {target: job for target, job in look.jobs.items() if not wanted(job)}
        self.looks = {key: look for key, look in self.looks.items() if look.jobs}
        self._fresh = deque(job for job in self._fresh if not wanted(job))
        self._wake()
        return jobs

    def take_doubtful(self) -> list[Job]:
        """Take out the jobs that wait for their due time and may have been carried out already."""
        return self._take_due(lambda due: due.job.doubt and not due.indexing)

    def _take_due(self, wanted: Callable[[Due], bool]) -> list[Job]:
        entries = sorted(self._due)
        self._due = [due for due in entries if not wanted(due)]  # a sorted list is a heap
        return [due.job for due in entries if wanted(due)]

    # ------------------------------------------------------------------ waiting for the service

    def look_later(self, job: Job, asks: str, due: float) -> None:
        """A job waits for the service until a loop time, together with those of its dataset about which the same is asked."""
        key = job.target.dataset, asks
        look = self.looks.get(key) or Look(*key, since=_now(), due=due)
        look.jobs[job.target] = job
        self.put_look(look)

    def put_look(self, look: Look) -> None:
        """The jobs of a look wait; those that came meanwhile join them."""
        key = look.dataset, look.asks
        if (known := self.looks.setdefault(key, look)) is not look:
            known.jobs |= look.jobs
            known.refused |= look.refused
            known.since, known.due = min(known.since, look.since), min(known.due, look.due)
        self._wake()

    def good_news(self) -> None:
        """A job that had waited turned out to be ready: ask for the next two at once.

        A batch that was uploaded together is ready together: two for each reach all of it, and one that is not ready yet ends
        the chain.
        """
        next_two = heapq.nsmallest(2, (due for due in self._due if due.indexing))
        for job in self._take_due(next_two.__contains__):
            self.later(job)

    def pop_look(self, asks: str = "", now: float = math.inf) -> Look | None:
        """Take out the first look that is due by ``now``, one that ``asks`` this if that is given."""
        looks = (look for look in self.looks.values() if look.due <= now and asks in ("", look.asks))
        look = min(looks, key=lambda look: look.due, default=None)
        return None if look is None else self.looks.pop((look.dataset, look.asks))

    async def next_look(self) -> Look | None:
        """Wait until a look is due, and take it out; None if there will be none."""
        while not self.over:
            if (look := self.pop_look(now=_now())) is not None:
                return look
            await self._change(self._look_due)
        return None

    def _hasten_if_idle(self) -> None:
        """As soon as nothing is left but waiting, looks come soon, however late they were to come beside other work."""
        if self.busy or not self.pending:
            return
        at = _now() + self._look_cap
        for look in self.looks.values():
            look.due = min(look.due, at)
        self._due = sorted(due._replace(at=min(due.at, at)) if due.indexing else due for due in self._due)
        self._wake()


def _now() -> float:
    return asyncio.get_running_loop().time()
