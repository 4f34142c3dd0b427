"""Time limits for many requests on one timer."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any


class Deadlines:
    """``with deadlines.within(seconds):`` does what ``async with asyncio.timeout(seconds):`` does, on one timer for all.

    A timer for each request costs 6 µs on both loops, 6 % of a delete. Belongs to one event loop; ``close`` it at the end.
    """

    def __init__(self) -> None:
        self.running: dict[Deadline, None] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf

    def within(self, seconds: float) -> Deadline:
        """A context in which a wait ends with TimeoutError after so many seconds."""
        return Deadline(self, self._loop.time() + seconds)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._rings_at = None, math.inf

    def ring_by(self, due: float) -> None:
        """See that the timer rings no later than at ``due``, in the loop's time."""
        if due < self._rings_at:
            self.close()
            self._timer, self._rings_at = self._loop.call_at(due, self._ring), due

    def _ring(self) -> None:
        """Strike who is overdue, and ring again for the next: once in a timeout, however many requests there are."""
        # The loop rings up to a tick of its clock early: what is due at the time it was to ring is due.
        now = max(self._loop.time(), self._rings_at)
        self.close()
        left = [deadline for deadline in self.running if not deadline.struck]
        for deadline in left:
            if deadline.due <= now:
                deadline.strike()
        self.ring_by(min((deadline.due for deadline in left if not deadline.struck), default=math.inf))


class Deadline:
    """One wait of the current task."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "due", "struck")

    def __init__(self, deadlines: Deadlines, due: float) -> None:
        self._deadlines = deadlines
        self.due = due
        self.struck = False

    def strike(self) -> None:
        """End the wait: its time is over."""
        self.struck = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()  # how often others had cancelled it before
        self._deadlines.running[self] = None
        self._deadlines.ring_by(self.due)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del self._deadlines.running[self]
        # A cancellation by others in the same moment stays one.
        if self.struck and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
