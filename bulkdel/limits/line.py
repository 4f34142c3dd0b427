"""Those who wait for a permit: first come, first served, and the first rests until it is time or something has changed."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Line:
    """A line to stand in. Cancelling who stands in it holds up nobody. Made for one event loop and not for threads.

    async with line:                     # behind those who came before
        while not there_is_a_permit():
            await line.rest(seconds)     # here is only the first in line
    """

    def __init__(self) -> None:
        self.waiting = 0  # how many stand in it, the first included
        self._turn = asyncio.Lock()  # fair: first come, first served
        self._rest: asyncio.Future[None] | None = None  # of the first, while it rests

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self._turn.acquire()
        except BaseException:
            self.waiting -= 1
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turn.release()
        self.waiting -= 1

    async def rest(self, seconds: float | None) -> None:
        """Until ``seconds`` have passed (None: however long it takes), or ``wake`` is called."""
        loop = asyncio.get_running_loop()
        self._rest = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.wake)
        try:
            await self._rest
        finally:
            self._rest = None
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """Something has changed: let the first in line look again."""
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)
