"""The jobs that a lane's workers take: what is due before what is fresh, and one timer however many workers are idle."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque

from bulkdel.engine.job import Job


class Queue:
    """Jobs that wait for a worker, or for their time; what waits holds no worker. Belongs to one event loop."""

    def __init__(self) -> None:
        self.fresh: deque[Job] = deque()  # wait for their first attempt
        self._loop = asyncio.get_running_loop()
        self._due: list[tuple[float, int, Job]] = []  # min-heap with (due time, order, job)
        self._order = 0
        self._idle: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0  # uvloop's handle of a time that has come does not say when() it was for

    @property
    def waiting(self) -> int:
        """Jobs that wait for their time."""
        return len(self._due)

    @property
    def next_due(self) -> float | None:
        """Loop time at which the next of them is due."""
        return self._due[0][0] if self._due else None

    def push(self, job: Job, seconds: float = 0.0) -> None:
        """Put a job where it waits for its time; before all fresh ones then."""
        self._order += 1
        heapq.heappush(self._due, (self._loop.time() + seconds, self._order, job))
        if self._idle:
            if seconds <= 0.0:
                self.wake(1)
            else:
                self._arm()

    def pop(self) -> Job | None:
        """The next job: what is due, then what is fresh; None where there is neither now."""
        due = self._due
        if due and due[0][0] <= self._loop.time():
            job = heapq.heappop(due)[2]
            if due and self._idle:
                self._arm()
            return job
        return self.fresh.popleft() if self.fresh else None

    def drop(self, dataset: str) -> list[Job]:
        """Take out every job of one dataset."""
        dropped = [job for _, _, job in self._due if job.target.dataset == dataset]
        self._due = [entry for entry in self._due if entry[2].target.dataset != dataset]
        heapq.heapify(self._due)
        dropped += [job for job in self.fresh if job.target.dataset == dataset]
        self.fresh = deque(job for job in self.fresh if job.target.dataset != dataset)
        return dropped

    async def idle(self) -> None:
        """Wait until there may be something to pop, or until woken."""
        idle = self._loop.create_future()
        self._idle.append(idle)
        self._arm()
        try:
            await idle
        except asyncio.CancelledError:
            if idle.done() and not idle.cancelled():
                self.wake(1)  # the wake-up that this worker cannot use is another's
            raise

    def wake(self, n: int | None = None) -> None:
        """Wake ``n`` idle workers, or all."""
        n = len(self._idle) if n is None else n
        while n > 0 and self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                n -= 1

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        """One timer, at the earliest due time."""
        if not self._due:
            return
        due = self._due[0][0]
        if self._timer is not None:
            if self._rings_at <= due:
                return
            self._timer.cancel()
        self._timer, self._rings_at = self._loop.call_at(due, self._ring), due

    def _ring(self) -> None:
        self._timer = None
        self.wake(1)  # the worker that takes the due job arms the timer for the next one
