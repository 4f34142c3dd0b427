"""Every job of one provider that has not settled, in one place: fresh, due later, or waiting for the service."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from bulkdel.engine.job import Job
from bulkdel.engine.looks import DueHeap, Look, Looks
from bulkdel.engine.stop import Stop
from bulkdel.model import Target

WINDOW = 8_192
"""Jobs that a schedule holds at most, those that wait included: about 400 bytes each, 3 MB in all (S18)."""

FRESH = 1_024
"""Jobs that wait for their first attempt at most, 0.1 s of the fastest service. The garbage collector walks through all that a
program holds each time it has grown by a quarter; jobs that live this shortly do not count for it."""


class Schedule:
    """Takes jobs in and gives each out when it is its turn: what is due comes before what is fresh.

    A job is ``pending`` from ``add`` to ``remove``. Meanwhile it is in one of three places, or in the hands of a worker:

    * ``_fresh``: it waits for its first attempt;
    * ``_due``: it is asked again at its time;
    * ``looks``: it waits for the service, and ``polling`` asks when it is ready.

    What waits holds no worker (S5). A target that comes in again while it is pending joins the first one (S4). Belongs to one
    event loop.
    """

    def __init__(self, stop: Stop) -> None:
        self.pending: dict[Target, Job] = {}
        self.looks = Looks()
        self.closed = False  # no more jobs come in
        self.window = WINDOW  # pending jobs at most; workers that keep more at work raise it
        self._joined = 0  # occurrences that joined a pending one: they count for the window, too
        self._fresh: deque[Job] = deque()
        self._due: DueHeap[Job] = DueHeap()
        self._workers = _IdleWorkers()
        self._room = asyncio.Event()  # it has room for another page
        self._look_changed = asyncio.Event()
        self._empty = asyncio.Event()  # everything that was taken in has settled
        self._stop = stop
        self._time = asyncio.get_running_loop().time
        stop.listen(self._wake_all)

    # ------------------------------------------------------------------ taking in

    async def add(self, jobs: Sequence[Job]) -> None:
        """Take a page in; waits while the window is full, unless a stop is set."""
        while self._full and self._stop.reason is None:
            self._room.clear()
            await self._room.wait()
        for job in jobs:
            first = self.pending.setdefault(job.target, job)
            if first is job:
                self._fresh.append(job)
            else:
                first.join(job)
                self._joined += 1
            if job.also is not None:
                self._joined += len(job.also)
        self._workers.wake(len(self._fresh))

    def close_input(self) -> None:
        """No more jobs will come."""
        self.closed = True
        self._wake_all()

    @property
    def _full(self) -> bool:
        return len(self._fresh) >= FRESH or len(self.pending) + self._joined >= self.window

    def _make_room(self) -> None:
        """Let the feeds go on once there is room for several pages."""
        if len(self._fresh) < FRESH // 2 and len(self.pending) + self._joined < self.window:
            self._room.set()

    async def wait_until_empty(self) -> None:
        """Wait until everything that was taken in has settled, or until a stop."""
        while self.pending and self._stop.reason is None:
            self._empty.clear()
            await self._empty.wait()

    def _wake_all(self) -> None:
        self._empty.set()
        self._workers.wake()
        self._look_changed.set()
        self._room.set()

    # ------------------------------------------------------------------ as others see it

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do."""
        return self._stop.reason is not None or (self.closed and not self.pending)

    @property
    def busy(self) -> bool:
        """Whether there is more to do than to ask again."""
        return bool(self._fresh) or not self.closed

    @property
    def fresh(self) -> int:
        """Jobs that wait for their first attempt."""
        return len(self._fresh)

    @property
    def waiting(self) -> int:
        """Jobs that wait, for a due time or for the service."""
        return len(self._due) + self.looks.waiting

    @property
    def needs_service(self) -> bool:
        """Whether a job waits for the service, or will when it is its turn: how long that takes is not known."""
        return bool(self.looks.indexing) or any(job.awaiting_indexing for job in self.pending.values())

    @property
    def next_due(self) -> float | None:
        """Loop time at which the next of them is asked again."""
        return min((due for due in (self._due.due, self.looks.due) if due is not None), default=None)

    # ------------------------------------------------------------------ giving out

    def __aiter__(self) -> Schedule:
        return self

    async def __anext__(self) -> Job:
        """Wait for the next job; ends when there will be none, or when a stop is set."""
        while not self.over:
            job = self.pop()
            if job is not None:
                return job
            await self._workers.rest(self._due.due)
        raise StopAsyncIteration

    async def next_page(self, most: int, least: int = 1) -> list[Job]:
        """Wait for ``least`` jobs and take up to ``most`` of them; fewer if no more come in for now. Empty when there will be none."""
        while not self.over:
            page: list[Job] = []
            if len(self._fresh) >= least or self.closed or self._full:
                while len(page) < most and (job := self.pop()) is not None:
                    page.append(job)
            if page:
                return page
            await self._workers.rest(self._due.due)
        return []

    def pop(self) -> Job | None:
        """The next job; None if none is due or fresh now."""
        job = self._due.pop_due(self._time())
        if job is not None:
            self._workers.alarm(self._due.due)
        elif self._fresh:
            job = self._fresh.popleft()
            if not self._room.is_set():
                self._make_room()
            if not self._fresh:
                self._look_changed.set()
        return job

    # ------------------------------------------------------------------ putting back, and taking out

    def later(self, job: Job, seconds: float = 0.0) -> None:
        """Ask a job again in so many seconds; it comes before all fresh ones then."""
        self._due.push(job, self._time() + seconds)
        if seconds <= 0.0:
            self._workers.wake(1)
        else:
            self._workers.alarm(self._due.due)

    def remove(self, job: Job) -> None:
        """The job settles.

        :raises KeyError: if it has settled before (S1)
        """
        del self.pending[job.target]
        if job.also is not None:
            self._joined -= len(job.also)
        if not self._room.is_set():
            self._make_room()
        if not self.pending:
            self._empty.set()
            if self.closed:
                self._wake_all()

    def drop(self, dataset: str) -> list[Job]:
        """Take out the jobs of a dataset that are not in the hands of a worker; they stay pending until they settle."""
        return self._take(lambda job: job.target.dataset == dataset)

    def take_doubtful(self) -> list[Job]:
        """Take out the jobs that wait for their due time and may have been carried out already."""
        return self._due.take(lambda job: job.doubt)

    def drain(self) -> list[Job]:
        """Take out all jobs that are not in the hands of a worker; they stay pending until they settle."""
        return self._take(lambda job: True)

    def _take(self, wanted: Callable[[Job], bool]) -> list[Job]:
        jobs = [*self._due.take(wanted), *self.looks.take(wanted)]
        left: deque[Job] = deque()
        for job in self._fresh:
            (jobs if wanted(job) else left).append(job)
        self._fresh = left
        return jobs

    # ------------------------------------------------------------------ waiting for the service

    def look_later(self, look: Look, due: float) -> None:
        """The jobs of a look wait for the service until a loop time."""
        self.looks.push(look, due)
        if self.looks.due == due:
            self._look_changed.set()

    def good_news(self) -> None:
        """A job that had waited turned out to be ready: ask for the next two at once.

        A batch that was uploaded together is ready together: two for each reach all of it, and one that is not ready yet ends
        the chain.
        """
        for _ in range(2):
            look = self.looks.pop_next()
            for job in look.jobs.values() if look is not None else ():
                self.later(job)

    async def next_look(self, cap: float) -> Look | None:
        """Wait until a look is due, and take it out; None if there will be none.

        As soon as nothing is left but waiting, each look comes ``cap`` seconds after the one before it at the latest, however
        late it was to come while there was other work.
        """
        while not self.over:
            if self.busy:
                self.looks.hastened = False
            elif not self.looks.hastened:
                self.looks.hasten(cap)
            look = self.looks.pop_due(self._time())
            if look is not None:
                return look
            await self._wait_for_look()
        return None

    async def _wait_for_look(self) -> None:
        self._look_changed.clear()
        due = self.looks.due
        loop = asyncio.get_running_loop()
        alarm = None if due is None else loop.call_at(due, self._look_changed.set)
        try:
            await self._look_changed.wait()
        finally:
            if alarm is not None:
                alarm.cancel()


class _IdleWorkers:
    """Workers without a job, the longest idle first; one timer wakes the first of them when a job is due."""

    def __init__(self) -> None:
        self._idle: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0  # uvloop's handle of a time that has come does not say when() it was for

    async def rest(self, due: float | None) -> None:
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
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        while n > 0 and self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                n -= 1

    def alarm(self, due: float | None) -> None:
        """Wake one worker at a loop time, if any is idle."""
        if due is None or not self._idle:
            return
        if self._timer is not None:
            if self._rings_at <= due:
                return
            self._timer.cancel()
        self._timer, self._rings_at = self._loop.call_at(due, self._ring), due

    def _ring(self) -> None:
        self._timer = None
        self.wake(1)  # the worker that takes the due job sets the alarm for the next one
