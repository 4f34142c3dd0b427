"""Every job of one provider that has not settled, in one place: fresh, due later, or waiting for the service."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bulkdel.engine.job import Job
from bulkdel.engine.stop import Stop
from bulkdel.model import Target

WINDOW = 8_192
"""Jobs that a schedule holds at most, those that wait included: about 400 bytes each, 3 MB in all (S18)."""

FRESH = 1_024
"""Jobs that wait for their first attempt at most, 0.1 s of the fastest service. The garbage collector walks through all that a
program holds each time it has grown by a quarter; jobs that live this shortly do not count for it."""


class DueHeap(list[tuple[float, int, Job]]):
    """Jobs by the time at which each is due: a min-heap with (due time, order, job); those of the same time keep their order."""

    _order = 0

    @property
    def due(self) -> float:
        """When the first job is due; infinite without one."""
        return self[0][0] if self else math.inf

    def push(self, job: Job, due: float) -> None:
        self._order += 1
        heapq.heappush(self, (due, self._order, job))

    def pop_due(self, now: float) -> Job | None:
        """Take out the first job, if it is due."""
        return heapq.heappop(self)[2] if self and self[0][0] <= now else None

    def take(self, wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out every job that is ``wanted``, in the order in which they are due."""
        entries = sorted(self)
        self[:] = [entry for entry in entries if not wanted(entry[2])]  # a sorted list is a heap
        return [job for _, _, job in entries if wanted(job)]

    def hasten(self, due: float) -> None:
        """Make each job due at a time, if it was due later."""
        self[:] = sorted((min(entry[0], due), *entry[1:]) for entry in self)


@dataclass(slots=True, eq=False)
class Look:
    """Jobs of one dataset that wait for the service and are asked about together, at a loop time.

    ``asks`` says how: ``state`` by a listing or a question for each, because no DELETE may be sent before that; ``gone`` in the
    same way, because the answers to their DELETEs were lost; a step's name by one request that asks this step for all of them.
    ``since`` is when the first of them began to wait. ``left_out`` are those that a request for several was refused for.
    """

    dataset: str
    asks: str
    since: float
    due: float
    jobs: dict[Target, Job] = field(default_factory=dict)
    left_out: dict[Target, Job] = field(default_factory=dict)


class Schedule:
    """Takes jobs in and gives each out when it is its turn: what is due comes before what is fresh.

    A job is ``pending`` from ``add`` to ``remove``. Meanwhile it is in one of four places, or in the hands of a worker:

    * ``_fresh``: it waits for its first attempt;
    * ``_due``: it is asked again at its time;
    * ``_indexing``: so it is, because the service refused its DELETE until it is indexed; good news brings it forward;
    * ``looks``: it waits for the service, and ``polling`` asks about it together with the others of its dataset.

    What waits holds no worker (S5). A target that comes in again while it is pending joins the first one (S4). Belongs to one
    event loop.

    :param look_cap: seconds to the next look at the latest as soon as nothing is left but waiting
    """

    def __init__(self, stop: Stop, look_cap: float) -> None:
        self.pending: dict[Target, Job] = {}
        self.looks: dict[tuple[str, str], Look] = {}  # by dataset and ``asks``
        self.window = WINDOW  # pending jobs at most; workers that keep more at work raise it
        self._input = _Input()
        self._joined = 0  # occurrences that joined a pending one: they count for the window, too
        self._fresh: deque[Job] = deque()
        self._due = DueHeap()
        self._indexing = DueHeap()
        self._workers = _IdleWorkers()
        self._look_changed = asyncio.Event()
        self._look_cap = look_cap
        self._stop = stop
        stop.listen(self._wake_all)

    # ------------------------------------------------------------------ taking in

    async def add(self, jobs: Sequence[Job]) -> None:
        """Take a page in; waits while the window is full, unless a stop is set."""
        while self._full and self._stop.reason is None:
            await self._input.wait()
        for job in jobs:
            first = self.pending.setdefault(job.target, job)
            if first is job:
                self._fresh.append(job)
            else:
                self._joined -= len(first.others or ())
                first.join(job)
            self._joined += len(first.others or ())
        self._workers.wake(len(self._fresh))

    def close_input(self) -> None:
        """No more jobs will come."""
        self._input.closed = True
        self._wake_all()
        self._hasten_if_idle()

    async def wait_until_empty(self) -> None:
        """Wait until everything that was taken in has settled, or until a stop; meanwhile the only feed adds nothing."""
        while self.pending and self._stop.reason is None:
            self._input.resting = True
            self._hasten_if_idle()
            await self._input.wait()
        self._input.resting = False

    @property
    def _full(self) -> bool:
        return len(self._fresh) >= FRESH or len(self.pending) + self._joined >= self.window

    def _let_feeds_on(self) -> None:
        """Wake the feeds if the window is not full, or nothing is pending; called when there is room for several pages."""
        room = len(self.pending) + self._joined < self.window
        if not self.pending or (room and not self._input.resting):
            self._input.wake()

    def _wake_all(self) -> None:
        self._input.wake()
        self._workers.wake()
        self._look_changed.set()

    # ------------------------------------------------------------------ as others see it

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do."""
        return self._stop.reason is not None or (self._input.closed and not self.pending)

    @property
    def busy(self) -> bool:
        """Whether there is more to do than to ask again."""
        return bool(self._fresh) or not (self._input.closed or self._input.resting)

    @property
    def fresh(self) -> int:
        """Jobs that wait for their first attempt."""
        return len(self._fresh)

    @property
    def retries(self) -> int:
        """Jobs that wait for their due time, and for nothing else."""
        return sum(not job.waits_for for _, _, job in self._due)

    @property
    def refused_for_indexing(self) -> int:
        """Jobs whose DELETE was refused because they are being indexed."""
        return len(self._indexing)

    @property
    def next_due(self) -> float:
        """Loop time at which the next job is asked again, or asked about; infinite if none is."""
        return min(self._due.due, self._indexing.due, *(look.due for look in self.looks.values()))

    # ------------------------------------------------------------------ giving out

    def __aiter__(self) -> Schedule:
        return self

    async def __anext__(self) -> Job:
        """Wait for the next job; ends when there will be none, or when a stop is set."""
        while self._stop.reason is None:
            if (job := self.pop()) is not None:
                return job
            if self.over:
                break
            await self._workers.rest(min(self._due.due, self._indexing.due))
        raise StopAsyncIteration

    async def next_page(self, most: int, least: int = 1) -> list[Job]:
        """Wait for ``least`` jobs and take up to ``most`` of them; fewer if no more come in for now. Empty when there will be none."""
        while not self.over:
            page: list[Job] = []
            if len(self._fresh) >= least or self._input.closed or self._full:
                while len(page) < most and (job := self.pop()) is not None:
                    page.append(job)
            if page:
                return page
            await self._workers.rest(min(self._due.due, self._indexing.due))
        return []

    def pop(self) -> Job | None:
        """The next job; None if none is due or fresh now."""
        if self._due or self._indexing:
            now = _now()
            job = self._due.pop_due(now) or self._indexing.pop_due(now)
            if job is not None:
                job.waits_for = ""
                self._workers.alarm(min(self._due.due, self._indexing.due))
                return job
        if not self._fresh:
            return None
        job = self._fresh.popleft()
        if self._input.waits and len(self._fresh) < FRESH // 2:
            self._let_feeds_on()
        if not self._fresh:
            self._hasten_if_idle()
        return job

    # ------------------------------------------------------------------ putting back, and taking out

    def later(self, job: Job, seconds: float = 0.0) -> None:
        """Ask a job again in so many seconds; it comes before all fresh ones then."""
        self._due.push(job, _now() + seconds)
        if seconds <= 0.0:
            job.waits_for = ""
            self._workers.wake(1)
        else:
            self._workers.alarm(self._due.due)

    def remove(self, job: Job) -> None:
        """The job settles.

        :raises KeyError: if it has settled before (S1)
        """
        del self.pending[job.target]
        if job.others is not None:
            self._joined -= len(job.others)
        if self._input.waits and len(self._fresh) < FRESH // 2:
            self._let_feeds_on()
        if not self.pending and self._input.closed:
            self._wake_all()

    def take(self, wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out the jobs that are ``wanted`` and not in the hands of a worker; they stay pending until they settle."""
        jobs = [*self._due.take(wanted), *self._indexing.take(wanted), *filter(wanted, self._fresh)]
        for look in self.looks.values():
            jobs += filter(wanted, look.jobs.values())
            look.jobs = {target: job for target, job in look.jobs.items() if not wanted(job)}
        self.looks = {key: look for key, look in self.looks.items() if look.jobs}
        self._fresh = deque(job for job in self._fresh if not wanted(job))
        return jobs

    def take_doubtful(self) -> list[Job]:
        """Take out the jobs that wait for their due time and may have been carried out already."""
        return self._due.take(lambda job: job.doubt)

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
            known.left_out |= look.left_out
            known.since, known.due = min(known.since, look.since), min(known.due, look.due)
        self._look_changed.set()

    def ask_when_indexed(self, job: Job, due: float) -> None:
        """A job waits to be indexed; its DELETE at a loop time is the question."""
        self._indexing.push(job, due)
        self._workers.alarm(min(self._due.due, self._indexing.due))

    def good_news(self) -> None:
        """A job that had waited turned out to be ready: ask for the next two at once.

        A batch that was uploaded together is ready together: two for each reach all of it, and one that is not ready yet ends
        the chain.
        """
        for _ in range(2):
            if (job := self._indexing.pop_due(math.inf)) is not None:
                self.later(job)

    def pop_look(self, asks: str = "", now: float = math.inf) -> Look | None:
        """Take out the first look that is due by ``now``, one that ``asks`` this if that is given."""
        looks = (look for look in self.looks.values() if look.due <= now and asks in ("", look.asks))
        look = min(looks, key=lambda look: look.due, default=None)
        return None if look is None else self.looks.pop((look.dataset, look.asks))

    async def next_look(self) -> Look | None:
        """Wait until a look is due, and take it out; None if there will be none."""
        while not self.over:
            look = self.pop_look(now=_now())
            if look is not None:
                return look
            self._look_changed.clear()
            due = min((look.due for look in self.looks.values()), default=math.inf)
            loop = asyncio.get_running_loop()
            alarm = None if due == math.inf else loop.call_at(due, self._look_changed.set)
            try:
                await self._look_changed.wait()
            finally:
                if alarm is not None:
                    alarm.cancel()
        return None

    def _hasten_if_idle(self) -> None:
        """As soon as nothing is left but waiting, looks come soon, however late they were to come beside other work."""
        if self.busy or not self.pending:
            return
        due = _now() + self._look_cap
        for look in self.looks.values():
            look.due = min(look.due, due)
        if self._indexing.due < math.inf:
            self._indexing.hasten(due)
            self._workers.alarm(self._indexing.due)
        self._look_changed.set()


class _Input:
    """The feeds of a schedule: whether they are at their end, and those of them that wait for it."""

    def __init__(self) -> None:
        self.closed = False  # no more jobs come in
        self.resting = False  # the only feed waits until nothing is pending
        self.waits = False
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        self.waits = True
        self._changed.clear()
        await self._changed.wait()

    def wake(self) -> None:
        self.waits = False
        self._changed.set()


class _IdleWorkers:
    """Workers without a job, the longest idle first; one timer wakes the first of them when a job is due."""

    def __init__(self) -> None:
        self._idle: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    async def rest(self, due: float) -> None:
        """Wait until there may be a job, at a loop time at the latest."""
        idle = self._loop.create_future()
        self._idle.append(idle)
        self.alarm(due)
        try:
            await idle
        except asyncio.CancelledError:
            if idle.done() and not idle.cancelled():
                self.wake(1)  # the wake-up that this worker cannot use is another's
            raise

    def wake(self, n: int | None = None) -> None:
        """Wake ``n`` workers, or all."""
        if n is None:
            n = len(self._idle)
            self._disarm()
        while n > 0 and self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                n -= 1

    def alarm(self, due: float) -> None:
        """Wake one worker at a loop time, if any is idle."""
        if self._idle and due < self._rings_at:
            self._disarm()
            self._timer, self._rings_at = self._loop.call_at(due, self._ring), due

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._rings_at = None, math.inf

    def _ring(self) -> None:
        self._timer, self._rings_at = None, math.inf
        self.wake(1)  # the worker that takes the due job sets the alarm for the next one


def _now() -> float:
    return asyncio.get_running_loop().time()
