"""One timer for all requests in flight: who is overdue is cancelled, and hears that it was for that."""

from __future__ import annotations

import asyncio
import math
from typing import Any

Task = asyncio.Task[Any]


class Deadlines:
    """Gives each task that asks its seconds, one request at a time. aiohttp's own way, a timer for each request, is 8 % of what a
    request costs, and a context manager for each 2 %.

    A request is made between ``begin`` and ``end``; where that raises CancelledError, ``struck`` tells whether it was the
    deadline. Belongs to one event loop; ``close`` it at the end.
    """

    def __init__(self) -> None:
        self.waiting: dict[Task, float] = {}  # when they are due, in the loop's time; in the order in which they began
        self._struck: set[Task] = set()
        self._cancelled: dict[Task, int] = {}  # how often, before the request began: another's doing
        self._loop = asyncio.get_running_loop()
        self._rings_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings_at = None, math.inf

    def begin(self, task: Task, seconds: float) -> None:
        """``task`` is cancelled after so many seconds, unless it ends before."""
        self.waiting[task] = due = self._loop.time() + seconds
        if due < self._rings_at:
            self._arm(due)
        if n := task.cancelling():
            self._cancelled[task] = n

    def end(self, task: Task) -> None:
        """Whatever came of it, the request is over."""
        del self.waiting[task]
        if self._struck or self._cancelled:
            self.struck(task)
            self._cancelled.pop(task, None)

    def struck(self, task: Task) -> bool:
        """Whether the cancellation that ``task`` is under is the deadline's alone, which is taken back then; tells it once."""
        if task not in self._struck:
            return False
        self._struck.remove(task)
        return task.uncancel() <= self._cancelled.get(task, 0)

    def _arm(self, due: float) -> None:
        self.close()
        self._timer, self._rings_at = self._loop.call_at(due, self._ring), due

    def _ring(self) -> None:
        """Cancel who is overdue, and ring again for the next: once in a timeout, however many requests there are."""
        # The loop rings up to a tick of its clock early: who is due at the time it was to ring is due.
        now = max(self._loop.time(), self._rings_at)
        self._timer, self._rings_at = None, math.inf
        left = []
        for task, due in self.waiting.items():
            if task in self._struck:
                continue
            if due <= now:
                self._struck.add(task)
                task.cancel()
            else:
                left.append(due)
        if left:
            self._arm(min(left))
